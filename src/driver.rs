//! The driver: the one place where decisions meet an operating system.
//!
//! **After every input to a role, every one of its verbs is carried out before the next input.**
//!
//! A packet's path, and the order of the functions below:
//!  1. [`Driver::turn`] waits; readiness is noted on the link, and the link queued.  A stale token is dropped.
//!  2. `work` takes one link from the queue and does, by its phase, all it can within its budget.
//!  3. `accept`, `connect`, `secure` bring a connection up ([`coming`]).
//!  4. `pump` passes payload from a raw connection to its ProxyChannel ([`relay::outbound`]).
//!  5. `read_frames` fills a tunnel connection's window, decodes, and passes payload on ([`relay::inbound`]) …
//!  6. … or `feed`s a frame to the role, and carries out what it wants: `carry_out`, one arm per verb ([`verbs`]).
//!  7. `flush` sends; `fail` and `drop_link` are the only ways for a connection to go ([`going`]).
//!
//! [`pairs`] joins raw connections to ProxyChannels and parts them; [`flows`] has the datagrams, [`talks`] HTTP;
//! [`greeting`] hears who says first for whom it comes; [`meters`] counts what passes and holds it back, [`books`]
//! counts what there is, and [`holdings`] are what a server has beside it.
//!
//! Payload never passes through a role, and a role never sees a socket.

mod books;
mod coming;
#[cfg_attr(not(feature = "udp"), path = "left_out/flows.rs")]
mod flows;
mod going;
#[cfg_attr(not(feature = "server"), path = "left_out/greeting.rs")]
mod greeting;
#[cfg_attr(not(feature = "server"), path = "left_out/holdings.rs")]
mod holdings;
#[cfg_attr(not(feature = "server"), path = "left_out/meters.rs")]
mod meters;
mod pairs;
mod slot;
#[cfg_attr(not(feature = "http"), path = "left_out/talks.rs")]
mod talks;
mod verbs;

use std::collections::VecDeque;

use crate::arena::Arena;
use crate::flow::{self, Quiet};
use crate::gateway;
use crate::limits::{
    ARENA_REVIEW_EVERY, ARENA_REVIEW_MAX, CONTROL_FRAME_BYTES_MAX, EXIT_BYTES_MAX, FRAMES_PER_TURN,
    PUMP_BYTES_PER_TURN, ROLES_MAX, SPLICE_BYTES_MIN, TLS_PLAIN_BYTES_MAX,
};
use crate::link::{Fill, Incoming, Link, Payload, Phase};
use crate::net::{Event, Net, reason_of};
use crate::note::Note;
use crate::reason::Reason;
use crate::relay::{self, Delivery, Fault, Stop};
use crate::role::{Input, Manner, Role, Speech, Verb};
use crate::slots::{Key, Slots};
use crate::time::Time;
use crate::tls::Security;
use crate::via::Handshake;
use crate::wire::{self, Frame};
pub use books::Budget;
use greeting::Greetings;
use meters::{Meters, Passage};
use slot::{Door, Slot};

/// Runs roles on an operating system.
pub struct Driver<N: Net> {
    net: N,
    now: Time,
    roles: Vec<Box<dyn Role>>,
    slots: Slots<Slot<N>>,
    security: Security,
    arena: Arena,
    /// When the arena is looked over; nobody wakes up for it.
    review: Time,
    /// Plaintext on its way to TLS: lives for one call.
    scratch: Box<[u8]>,
    budget: Budget,
    used: Budget,
    /// Links with something to do in this turn …
    queue: VecDeque<Key>,
    /// … and those that have had their share of it, and go on in the next.
    later: Vec<Key>,
    events: Vec<Event>,
    /// Listeners that found the budget used up.
    starved: Vec<Key>,
    /// Listeners that rest because the system has no files left, and until when.
    resting: (Time, Vec<Key>),
    /// Links that are closed but for bytes that still leave, and when that must be over; oldest first.
    lingering: VecDeque<(Time, Key)>,
    /// Links whose bytes wait for what follows, and until when; oldest first.
    corked: VecDeque<(Time, Key)>,
    handshakes: usize,
    /// Flows of public ports, by when each is looked at for its silence.
    quiet: Quiet,
    meters: Meters,
    /// The datagram that came last; empty before the first.
    #[cfg_attr(not(feature = "udp"), expect(dead_code, reason = "none comes"))]
    datagram: Vec<u8>,
    /// ClientHellos that are not whole yet, and how much of what was said has been heard.
    greetings: Greetings,
    /// Conversations with proxies, of connections that are not the server's yet.
    vias: Vec<(Key, Box<Handshake>)>,
    verbs: Vec<Verb>,
    bytes: Vec<u8>,
    /// What carrying out verbs came to: inputs to come.
    outcomes: VecDeque<(usize, Input<'static>)>,
    /// The exit code, once a role has asked for the end, and until when last words may leave.
    exit: Option<(i32, Time)>,
}

impl<N: Net> Driver<N> {
    /// A driver for these roles; nothing happens before [`Self::start`].
    pub fn new(net: N, roles: Vec<Box<dyn Role>>, security: Security, budget: Budget) -> Self {
        Self::with_arena(net, roles, security, budget, Arena::new(budget.buffers()))
    }

    /// As [`Self::new`], with an arena of this budget that another driver has left ([`Self::into_arena`]).
    pub fn with_arena(
        mut net: N,
        roles: Vec<Box<dyn Role>>,
        security: Security,
        budget: Budget,
        arena: Arena,
    ) -> Self {
        assert_eq!(arena.total(), budget.buffers(), "the arena is made for another budget");
        assert!(roles.len() <= ROLES_MAX, "a connection could not tell whose it is");
        let now = net.now();
        Self {
            net,
            now,
            roles,
            slots: Slots::default(),
            security,
            arena,
            review: now + ARENA_REVIEW_EVERY,
            scratch: vec![0; TLS_PLAIN_BYTES_MAX].into(),
            budget,
            used: Budget::default(),
            queue: VecDeque::new(),
            later: Vec::new(),
            events: Vec::new(),
            starved: Vec::new(),
            resting: (Time::NEVER, Vec::new()),
            lingering: VecDeque::new(),
            corked: VecDeque::new(),
            handshakes: 0,
            quiet: Quiet::default(),
            meters: Meters::default(),
            datagram: Vec::new(),
            greetings: Greetings::default(),
            vias: Vec::new(),
            verbs: Vec::new(),
            bytes: Vec::new(),
            outcomes: VecDeque::new(),
            exit: None,
        }
    }

    /// Runs until a role asks to exit; its exit code.
    pub fn run(&mut self) -> i32 {
        self.start();
        self.net.started(self.exit.is_none());
        loop {
            if let Some(code) = self.turn() {
                return code;
            }
        }
    }

    /// Starts the roles.
    pub fn start(&mut self) {
        for role in 0..self.roles.len() {
            self.feed(role, Input::Start);
        }
    }

    /// When [`Self::turn`] has something to do without any event.
    pub fn deadline(&self) -> Time {
        if !self.queue.is_empty() {
            return self.now;
        }
        let roles = self.roles.iter().map(|role| role.deadline()).min().unwrap_or(Time::NEVER);
        let linger = self.lingering.front().map_or(Time::NEVER, |(at, _)| *at);
        let corked = self.corked.front().map_or(Time::NEVER, |(at, _)| *at);
        let exit = self.exit.map_or(Time::NEVER, |(_, at)| at);
        roles
            .min(linger)
            .min(corked)
            .min(self.resting.0)
            .min(exit)
            .min(self.quiet.next())
            .min(self.meters.next())
    }

    /// One turn of the loop: `Some` exit code when it was the last.
    pub fn turn(&mut self) -> Option<i32> {
        let until = self.deadline();
        let mut events = std::mem::take(&mut self.events);
        self.net.wait(until, &mut events);
        self.now = self.net.now();
        self.handshakes = 0;
        for event in events.drain(..) {
            self.happened(event);
        }
        self.events = events;
        // What came in is handled before any deadline: a process that was frozen must not take its own
        // absence for its peer's. What is sent because of a deadline leaves in the same turn.
        self.work_all();
        self.deadlines();
        self.work_all();
        self.queue.extend(self.later.drain(..));
        if self.review <= self.now {
            self.review = self.now + ARENA_REVIEW_EVERY;
            self.arena.review(ARENA_REVIEW_MAX, |bytes| self.net.forget(bytes));
        }
        let (code, until) = self.exit?;
        if self.now < until && self.speaks() {
            return None;
        }
        self.leave();
        Some(code)
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Ready(ready) => {
                let Some(key) = self.slots.from_token(ready.token) else { return };
                if let Some(Slot::Link(link)) = self.slots.get_mut(key) {
                    link.readable |= ready.read || ready.failed;
                    link.writable |= ready.write || ready.failed;
                    link.ending |= ready.ended;
                    link.failed |= ready.failed;
                    // A visitor who waits is not read, so only this tells that it has gone.
                    if ready.failed
                        && (link.phase == Phase::Up && matches!(link.speech, Speech::Raw | Speech::Http))
                        && let Err(error) = self.net.dialed(key, &mut link.stream)
                    {
                        return self.fail(key, reason_of(&error));
                    }
                }
                self.enqueue(key);
            }
            Event::PutBack(role, result) => self.feed(role, Input::PutBack(result)),
            Event::Edited(role, key, result) => self.feed(role, Input::Edited(key, result)),
            Event::Resolved(role, query, addresses) => self.feed(role, Input::Resolved(query, addresses)),
            Event::Reload => {
                for role in 0..self.roles.len() {
                    let settings = self.net.read_settings();
                    self.feed(role, Input::Reload(settings));
                }
            }
            Event::Stop => {
                let (buffers, connections) = self.counts();
                self.net.note(self.now, &Note::Held { buffers, connections });
                if let Some((_, until)) = &mut self.exit {
                    *until = self.now;
                }
                for role in 0..self.roles.len() {
                    self.feed(role, Input::Stop);
                }
            }
        }
    }

    fn deadlines(&mut self) {
        for role in 0..self.roles.len() {
            if self.roles[role].deadline() <= self.now {
                self.feed(role, Input::Timeout);
            }
        }
        if self.resting.0 <= self.now {
            self.resting.0 = Time::NEVER;
            for key in std::mem::take(&mut self.resting.1) {
                self.enqueue(key);
            }
        }
        while let Some(&(at, key)) = self.corked.front() {
            let corked = self.link(key).is_some_and(|link| link.corked);
            if corked && at > self.now {
                break;
            }
            self.corked.pop_front();
            if let Some(link) = self.link(key) {
                link.corked = false;
                self.enqueue(key);
            }
        }
        while let Some(&(_, key)) = self.lingering.front().filter(|(at, _)| *at <= self.now) {
            self.lingering.pop_front();
            self.drop_link(key, Manner::Cut);
        }
        self.end_quiet_flows();
        self.go_on();
        self.tell_spent();
    }

    /// There is something to do for a link, in this turn.
    fn enqueue(&mut self, key: Key) {
        if self.is_new_in_queue(key) {
            self.queue.push_back(key);
        }
    }

    /// A link has had its share of this turn: others first.
    fn postpone(&mut self, key: Key) {
        if self.is_new_in_queue(key) {
            self.later.push(key);
        }
    }

    fn is_new_in_queue(&mut self, key: Key) -> bool {
        let queued = match self.slots.get_mut(key) {
            Some(Slot::Link(link)) => &mut link.queued,
            Some(Slot::Door(door)) => &mut door.queued,
            Some(Slot::Port(port)) => &mut port.queued,
            Some(Slot::Flow(flow)) => &mut flow.queued,
            Some(Slot::Reserved | Slot::Meter(_)) | None => return false,
        };
        !std::mem::replace(queued, true)
    }

    fn link(&mut self, key: Key) -> Option<&mut Link<N>> {
        match self.slots.get_mut(key) {
            Some(Slot::Link(link)) => Some(link),
            _ => None,
        }
    }

    fn work_all(&mut self) {
        while let Some(key) = self.queue.pop_front() {
            self.work(key);
        }
    }

    // ── 2. Work ─────────────────────────────────────────────────────────────────────────────────────────────────

    fn work(&mut self, key: Key) {
        let (phase, speech, peer) = match self.slots.get_mut(key) {
            Some(Slot::Link(link)) => {
                link.queued = false;
                (link.phase, link.speech, link.peer)
            }
            Some(Slot::Door(door)) => {
                door.queued = false;
                return self.accept(key);
            }
            Some(Slot::Port(port)) => {
                port.queued = false;
                return self.receive(key);
            }
            Some(Slot::Flow(flow)) => {
                flow.queued = false;
                return self.receive(key);
            }
            Some(Slot::Reserved | Slot::Meter(_)) | None => return,
        };
        match (phase, speech) {
            (Phase::Connecting, _) => self.connect(key),
            (Phase::Asking, _) => self.ask(key),
            (Phase::Securing, _) => self.secure(key),
            (Phase::Greeting, _) => self.greet(key),
            (Phase::Announcing, _) => self.announce(key),
            (Phase::Lingering, _) => self.flush(key),
            (Phase::Leaving, _) => self.see_off(key),
            (Phase::Up, Speech::Http) => {
                self.hear(key);
                if let Some(proxy) = self.other_side(key) {
                    self.pump(key, proxy);
                    self.read_frames(proxy);
                    self.flush(proxy);
                }
                self.flush(key);
            }
            (Phase::Up, Speech::Raw) => {
                if let Some(proxy) = peer {
                    self.pump(key, proxy);
                    // Payload may have waited for this side to take it.
                    self.read_frames(proxy);
                    self.flush(proxy);
                }
                self.flush(key);
            }
            (Phase::Up, Speech::Tls | Speech::Plain) => {
                if let Some(raw) = peer {
                    self.pump(raw, key);
                }
                self.read_frames(key);
                self.flush(key);
            }
            (Phase::Up, Speech::Local) => {
                self.read_bytes(key);
                self.flush(key);
            }
        }
    }

    // ── 4. From a raw connection to the tunnel ──────────────────────────────────────────────────────────────────

    fn pump(&mut self, raw: Key, proxy: Key) {
        let mut passage = self.passage(raw, proxy);
        let (from, to) = match self.slots.pair_mut(raw, proxy) {
            // Payload may have waited for this side to take it.
            Some((Slot::Link(from), _)) if from.is_framed() => return self.read_frames(raw),
            Some((Slot::Link(from), Slot::Link(to))) if to.phase == Phase::Up => (from, to),
            Some((Slot::Flow(flow), Slot::Link(to))) if to.phase == Phase::Up => {
                let (net, arena, scratch) = (&mut self.net, &mut self.arena, &mut self.scratch);
                return match flow::outbound(flow, (proxy, to), net, arena, scratch) {
                    Ok(()) => {}
                    Err(reason) => self.fail(proxy, reason),
                };
            }
            _ => return,
        };
        let role = from.role();
        let pass = if from.exchange.is_some() { gateway::outbound } else { relay::outbound };
        let (net, arena, scratch) = (&mut self.net, &mut self.arena, &mut self.scratch);
        let stop = pass((raw, from), (proxy, to), net, arena, scratch, &mut passage.left);
        self.passed(&passage);
        match stop {
            Ok(Stop::Dry | Stop::Blocked | Stop::Spent) => {}
            Ok(Stop::Budget) => self.postpone(raw),
            Ok(Stop::Ended) => self.feed(role, Input::Ended(raw)),
            Err(Fault::Raw(reason)) => self.fail(raw, reason),
            Err(Fault::Proxy(reason)) => self.fail(proxy, reason),
        }
    }

    // ── 5. From the tunnel ──────────────────────────────────────────────────────────────────────────────────────

    fn read_frames(&mut self, key: Key) {
        let (mut frames, mut moved) = (0, 0);
        loop {
            if frames >= FRAMES_PER_TURN || moved >= PUMP_BYTES_PER_TURN {
                return self.postpone(key);
            }
            let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
            if link.phase != Phase::Up || link.incoming == Incoming::Ended {
                return;
            }
            match self.deliver(key) {
                Delivery::Some(n) => {
                    (moved, frames) = (moved + n, frames + usize::from(n == 0));
                    continue;
                }
                // Where nobody takes what came, the failure behind it would not be met for as long as that lasts.
                Delivery::Wait => return self.fail_if_failed(key),
                Delivery::Nothing => {}
            }
            let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
            // The window is taken out, so that a frame can be borrowed from it while the role is at work.
            let mut rx = std::mem::take(&mut link.rx);
            let decoded = wire::next(rx.bytes());
            let (payload, role) = (link.payload, link.role());
            match decoded {
                Ok(Some((Frame::Transfer(length), used))) => {
                    if matches!(payload, Payload::Passed | Payload::Told | Payload::Drained(_)) {
                        rx.consume(used, &mut self.arena);
                        link.transfer_left = length;
                        link.bulk = length as usize >= SPLICE_BYTES_MIN && link.tls.is_none();
                        frames += 1;
                    }
                    link.rx = rx;
                    match payload {
                        Payload::Refused => return self.fail(key, Reason::Protocol),
                        Payload::Awaited => return,
                        Payload::Passed | Payload::Told | Payload::Drained(_) => continue,
                    }
                }
                Ok(Some((Frame::Datagram(_) | Frame::Piece(_), _))) => {
                    link.rx = rx;
                    if !self.pass_datagram(key) {
                        return;
                    }
                    frames += 1;
                    continue;
                }
                Ok(Some((_, used))) => {
                    link.rx = rx;
                    frames += 1;
                    self.feed_frame(key, role, used);
                    continue;
                }
                Ok(None) => link.rx = rx,
                Err(_) => {
                    link.rx = rx;
                    return self.fail(key, Reason::Protocol);
                }
            }
            match link.fill(key, &mut self.net, &mut self.arena) {
                Ok(Fill::More) => frames += 1,
                Ok(Fill::Dry) => return,
                Ok(Fill::End) => {
                    link.incoming = Incoming::Ended;
                    return self.feed(role, Input::Ended(key));
                }
                Err(reason) => return self.fail(key, reason),
            }
        }
    }

    /// Gives the role the frame that a window begins with; copied, so that the connection holds no buffer that its end
    /// would not give back.
    fn feed_frame(&mut self, key: Key, role: usize, used: usize) {
        let mut copy = [0; CONTROL_FRAME_BYTES_MAX];
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        copy[..used].copy_from_slice(&link.rx.bytes()[..used]);
        link.rx.consume(used, &mut self.arena);
        if let Ok(Some((frame, _))) = wire::next(&copy[..used]) {
            self.feed(role, Input::Frame(key, frame, &copy[..used]));
        }
    }

    /// Moves payload of a ProxyChannel on.
    fn deliver(&mut self, key: Key) -> Delivery {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return Delivery::Wait };
        let n = link.rx.len().min(link.transfer_left as usize);
        match (link.payload, link.peer) {
            (Payload::Drained(left), _) if n > 0 => {
                link.rx.consume(n, &mut self.arena);
                link.transfer_left -= n as u32;
                match left.checked_sub(n as u32) {
                    Some(left) => link.payload = Payload::Drained(left),
                    // Dearer to drain than to dial anew.
                    None => self.fail(key, Reason::ChannelLost),
                }
                Delivery::Some(n)
            }
            (Payload::Told, _) if n > 0 => self.tell(key, n.min(EXIT_BYTES_MAX)),
            (_, Some(raw)) => {
                let pays = link.transfer_left > 0;
                let mut passage = if pays { self.passage(key, raw) } else { Passage::FREE };
                if passage.is_closed() {
                    return Delivery::Wait;
                }
                let delivery = self.deliver_to(raw, key, passage.left);
                if let Delivery::Some(n) = delivery {
                    passage.left = passage.left.saturating_sub(n);
                }
                self.passed(&passage);
                delivery
            }
            _ if n > 0 => Delivery::Wait,
            _ => Delivery::Nothing,
        }
    }

    fn deliver_to(&mut self, raw: Key, key: Key, most: usize) -> Delivery {
        match self.slots.pair_mut(raw, key) {
            Some((Slot::Link(to), _)) if to.exchange.is_some() => {
                return self.answer(raw, key, most).unwrap_or(Delivery::Some(0));
            }
            Some((Slot::Link(to), Slot::Link(from))) => {
                let (net, arena, scratch) = (&mut self.net, &mut self.arena, &mut self.scratch);
                match relay::inbound((raw, to), (key, from), net, arena, scratch, most) {
                    Ok(delivery) => return delivery,
                    Err(Fault::Raw(reason)) => self.fail(raw, reason),
                    Err(Fault::Proxy(reason)) => self.fail(key, reason),
                }
            }
            // A flow has datagrams, and no stream.
            Some((Slot::Flow(_), Slot::Link(from))) if from.transfer_left > 0 => {
                self.fail(key, Reason::Protocol);
            }
            Some((Slot::Flow(_), _)) => return Delivery::Nothing,
            _ => {}
        }
        Delivery::Wait
    }

    // ── 7. What was sent leaves ─────────────────────────────────────────────────────────────────────────────────

    fn flush(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        let (role, phase) = (link.role(), link.phase);
        match link.flush(key, &mut self.net, &mut self.arena) {
            Err(reason) => self.fail(key, reason),
            Ok(true) if phase == Phase::Lingering => self.say_goodbye(key),
            Ok(true) if phase == Phase::Up && std::mem::take(&mut link.shut_when_sent) => {
                self.net.shut(&mut link.stream);
            }
            Ok(true) if std::mem::take(&mut link.tell_drained) => self.feed(role, Input::Drained(key)),
            Ok(_) => {}
        }
    }

    /// The operating system.
    pub fn net(&mut self) -> &mut N {
        &mut self.net
    }
}
