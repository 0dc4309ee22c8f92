//! The driver: the one place where decisions meet an operating system.
//!
//! **After every input to a role, every one of its verbs is carried out before the next input.**
//!
//! A packet's path, and the order of the functions below:
//!  1. [`Driver::turn`] waits; readiness is noted on the link, and the link queued.  A stale token is dropped.
//!  2. `work` takes one link from the queue and does, by its phase, all it can within its budget.
//!  3. `accept`, `connect`, `secure` bring a connection up.
//!  4. `pump` passes payload from a raw connection to its ProxyChannel ([`relay::outbound`]).
//!  5. `read_frames` fills a tunnel connection's window, decodes, and passes payload on ([`relay::inbound`]) …
//!  6. … or `feed`s a frame to the role, and carries out what it wants: `carry_out`, one arm per verb.
//!  7. `flush` sends; `fail` and `drop_link` are the only ways for a connection to go.
//!
//! Payload never passes through a role, and a role never sees a socket.

use std::collections::VecDeque;
use std::io;

use crate::arena::Arena;
use crate::limits::{
    ACCEPT_PAUSE, ACCEPTS_PER_TURN, ARENA_REVIEW_EVERY, ARENA_REVIEW_MAX, CONTROL_FRAME_BYTES_MAX,
    DRAIN_BYTES_MAX, FRAMES_PER_TURN, HANDSHAKES_PER_TURN, LINGER_TIMEOUT, PUMP_BYTES_PER_TURN, ROLES_MAX,
    SEND_SOON, SPLICE_BYTES_MIN, TLS_PLAIN_BYTES_MAX,
};
use crate::link::{Fill, Held, Incoming, Link, Payload, Phase, rights};
use crate::net::{Accept, Event, Net, reason_of};
use crate::note::Note;
use crate::proxy_protocol;
use crate::reason::Reason;
use crate::relay::{self, Delivery, Fault, Stop};
use crate::role::{Input, Keys, Manner, Outbox, Place, Role, Speech, Verb};
use crate::slots::{Key, Slots};
use crate::time::Time;
use crate::tls::Security;
use crate::via::Handshake;
use crate::wire::{self, Frame};

/// Connections at once, by kind. The arena is made for exactly these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Visitors and real servers.
    pub raws: usize,
    /// Connections that a role reads and writes itself.
    pub locals: usize,
    /// Tunnel connections.
    pub tunnels: usize,
}

impl Budget {
    /// Buffers that so many connections have a right to.
    pub const fn buffers(self) -> usize {
        self.raws * rights(Speech::Raw)          // what each visitor may hold back
            + self.locals * rights(Speech::Local) // what each local connection may have under way
            + self.tunnels * rights(Speech::Tls) // what each tunnel connection may have under way
    }
}

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
    /// Conversations with proxies, of connections that are not the server's yet.
    vias: Vec<(Key, Box<Handshake>)>,
    verbs: Vec<Verb>,
    bytes: Vec<u8>,
    /// What carrying out verbs came to: inputs to come.
    outcomes: VecDeque<(usize, Input<'static>)>,
    /// The exit code, once a role has asked for the end, and until when last words may leave.
    exit: Option<(i32, Time)>,
}

enum Slot<N: Net> {
    /// A key that a role has, and whose verb is still to be carried out.
    Reserved,
    /// A listener.
    Door(Door<N::Listener>),
    /// A connection.
    Link(Link<N>),
}

struct Door<L> {
    listener: L,
    role: usize,
    speech: Speech,
    queued: bool,
}

impl<N: Net> Keys for Slots<Slot<N>> {
    fn reserve(&mut self) -> Option<Key> {
        self.insert(Slot::Reserved)
    }
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
        roles.min(linger).min(corked).min(self.resting.0).min(exit)
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
                        && (link.phase, link.speech) == (Phase::Up, Speech::Raw)
                        && let Err(error) = self.net.dialed(key, &mut link.stream)
                    {
                        return self.fail(key, reason_of(&error));
                    }
                }
                self.enqueue(key);
            }
            Event::Resolved(role, query, addresses) => self.feed(role, Input::Resolved(query, addresses)),
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
            Some(Slot::Reserved) | None => return false,
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
            Some(Slot::Reserved) | None => return,
        };
        match (phase, speech) {
            (Phase::Connecting, _) => self.connect(key),
            (Phase::Asking, _) => self.ask(key),
            (Phase::Securing, _) => self.secure(key),
            (Phase::Announcing, _) => self.announce(key),
            (Phase::Lingering, _) => self.flush(key),
            (Phase::Up, Speech::Raw) => {
                if let Some(proxy) = peer {
                    self.pump(key, proxy);
                    // Payload may have waited for this side to take it.
                    self.read_frames(proxy);
                    self.flush(proxy);
                }
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

    // ── 3. Connections come up ──────────────────────────────────────────────────────────────────────────────────

    fn accept(&mut self, key: Key) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(Slot::Door(door)) = self.slots.get_mut(key) else { return };
            let (role, speech) = (door.role, door.speech);
            // Who cannot be served waits in the kernel's queue: overload delays, it does not break.
            if !has_room(self.used, self.budget, speech) {
                self.starved.push(key);
                return;
            }
            match self.net.accept(key, &mut door.listener) {
                Accept::Came(stream, peer) => self.came(key, role, speech, stream, peer),
                Accept::Again => {}
                Accept::Empty => return,
                Accept::Exhausted(reason) => {
                    self.net.note(self.now, &Note::AcceptPaused { reason });
                    self.resting.0 = self.resting.0.min(self.now + ACCEPT_PAUSE);
                    self.resting.1.push(key);
                    return;
                }
            }
        }
        self.postpone(key);
    }

    fn came(
        &mut self,
        listener: Key,
        role: usize,
        speech: Speech,
        stream: N::Stream,
        peer: std::net::SocketAddr,
    ) {
        let tls = match speech {
            Speech::Tls => self.security.accept().map(|tls| Some(Box::new(tls))),
            Speech::Plain | Speech::Raw | Speech::Local => Ok(None),
        };
        let phase = if speech == Speech::Tls { Phase::Securing } else { Phase::Up };
        let Some(key) = self.slots.insert(Slot::Reserved) else {
            return; // The budget keeps within the table; the socket closes by itself.
        };
        match tls.and_then(|tls| self.net.watch(key, &stream).map(|()| tls)) {
            Ok(tls) => {
                let mut link = Link::new(stream, role, speech, phase, tls);
                (link.readable, link.writable) = (true, true);
                self.admit(key, link);
            }
            Err(reason) => {
                self.slots.remove(key);
                self.net.close(key, stream, Manner::Cut);
                return self.net.note(self.now, &Note::AcceptPaused { reason });
            }
        }
        self.feed(role, Input::Accepted { listener, key, peer });
        if phase == Phase::Up && speech == Speech::Plain {
            self.feed(role, Input::Secured(key, None));
        }
        self.enqueue(key);
    }

    /// Counts a connection and reserves its buffers: the budget was asked before.
    fn admit(&mut self, key: Key, link: Link<N>) {
        let granted = self.arena.reserve(link.rights());
        assert!(granted, "the arena is made for the whole budget");
        *kind(&mut self.used, link.speech) += 1;
        if let Some(slot) = self.slots.get_mut(key) {
            *slot = Slot::Link(link);
        }
    }

    fn connect(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        if !link.writable {
            return;
        }
        match self.net.dialed(key, &mut link.stream) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                link.writable = false;
                return;
            }
            Err(error) => return self.fail(key, reason_of(&error)),
        }
        if let Some((_, via)) = self.vias.iter().find(|(of, _)| *of == key) {
            link.phase = Phase::Asking;
            if !link.tx.push(&via.greeting(), &mut self.arena) {
                return self.fail(key, Reason::NoProxy);
            }
            return self.enqueue(key);
        }
        self.connected(key);
    }

    /// The conversation with a proxy goes on, until it has connected.
    fn ask(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        let Some(at) = self.vias.iter().position(|(of, _)| *of == key) else { return };
        let (net, arena) = (&mut self.net, &mut self.arena);
        match link.converse(key, &mut self.vias[at].1, net, arena) {
            Ok(false) => {}
            Ok(true) => {
                self.vias.swap_remove(at);
                self.connected(key);
            }
            Err(reason) => self.fail(key, reason),
        }
    }

    fn connected(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        let (role, speech) = (link.role(), link.speech);
        link.phase = if speech == Speech::Tls { Phase::Securing } else { Phase::Up };
        if link.shut_when_up {
            self.net.shut(&mut link.stream);
        }
        match speech {
            Speech::Tls => {}
            Speech::Plain => self.feed(role, Input::Secured(key, None)),
            Speech::Raw | Speech::Local => self.feed(role, Input::Dialed(key)),
        }
        self.enqueue(key);
    }

    fn secure(&mut self, key: Key) {
        if self.handshakes >= HANDSHAKES_PER_TURN {
            return self.postpone(key);
        }
        self.handshakes += 1;
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        let result = link.fill(key, &mut self.net, &mut self.arena);
        let flushed = link.flush(key, &mut self.net, &mut self.arena);
        match (result, flushed) {
            (Err(reason), _) | (_, Err(reason)) => return self.fail(key, reason),
            // Whoever goes away before it has come in gets no further word.
            (Ok(Fill::End), _) => return self.fail(key, Reason::Ended),
            (Ok(Fill::More | Fill::Dry), Ok(_)) => {}
        }
        if let Some(tls) = link.tls.as_mut().filter(|tls| tls.is_open()) {
            let binding = tls.binding();
            link.phase = Phase::Up;
            let role = link.role();
            self.feed(role, Input::Secured(key, binding));
            self.enqueue(key);
        } else if result == Ok(Fill::More) {
            self.postpone(key);
        }
    }

    fn announce(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        match link.announced(key, &mut self.net, &mut self.arena) {
            Ok(Some(announced)) => {
                link.phase = Phase::Up;
                let role = link.role();
                self.feed(role, Input::Announced(key, announced));
                // Nobody reads who waits: a failure that was told meanwhile would not be met.
                self.fail_if_failed(key);
                self.enqueue(key);
            }
            Ok(None) => {}
            Err(reason) => self.fail(key, reason),
        }
    }

    // ── 4. From a raw connection to the tunnel ──────────────────────────────────────────────────────────────────

    fn pump(&mut self, raw: Key, proxy: Key) {
        let Some((Slot::Link(from), Slot::Link(to))) = self.slots.pair_mut(raw, proxy) else { return };
        if to.phase != Phase::Up {
            return;
        }
        let role = from.role();
        match relay::outbound((raw, from), (proxy, to), &mut self.net, &mut self.arena, &mut self.scratch) {
            Ok(Stop::Dry | Stop::Blocked) => {}
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
                    moved += n;
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
                    if matches!(payload, Payload::Passed | Payload::Drained(_)) {
                        rx.consume(used, &mut self.arena);
                        link.transfer_left = length;
                        link.bulk = length as usize >= SPLICE_BYTES_MIN && link.tls.is_none();
                        frames += 1;
                    }
                    link.rx = rx;
                    match payload {
                        Payload::Refused => return self.fail(key, Reason::Protocol),
                        Payload::Awaited => return,
                        Payload::Passed | Payload::Drained(_) => continue,
                    }
                }
                Ok(Some((_, used))) => {
                    // Copied, so that the connection holds no buffer that its end would not give back.
                    let mut copy = [0; CONTROL_FRAME_BYTES_MAX];
                    copy[..used].copy_from_slice(&rx.bytes()[..used]);
                    rx.consume(used, &mut self.arena);
                    link.rx = rx;
                    frames += 1;
                    if let Ok(Some((frame, _))) = wire::next(&copy[..used]) {
                        self.feed(role, Input::Frame(key, frame, &copy[..used]));
                    }
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
            (_, Some(raw)) => {
                let Some((Slot::Link(to), Slot::Link(from))) = self.slots.pair_mut(raw, key) else {
                    return Delivery::Wait;
                };
                match relay::inbound((raw, to), (key, from), &mut self.net, &mut self.arena) {
                    Ok(delivery) => return delivery,
                    Err(Fault::Raw(reason)) => self.fail(raw, reason),
                    Err(Fault::Proxy(reason)) => self.fail(key, reason),
                }
                Delivery::Wait
            }
            _ if n > 0 => Delivery::Wait,
            _ => Delivery::Nothing,
        }
    }

    /// Bytes of a local connection go to its role.
    fn read_bytes(&mut self, key: Key) {
        for _ in 0..FRAMES_PER_TURN {
            let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
            let role = link.role();
            match link.fill(key, &mut self.net, &mut self.arena) {
                Ok(Fill::More) => {
                    // Copied, as frames are: the role may close the connection over them.
                    let bytes = link.rx.bytes().to_vec();
                    link.rx.clear(&mut self.arena);
                    self.feed(role, Input::Bytes(key, &bytes));
                }
                Ok(Fill::Dry) => return,
                Ok(Fill::End) => {
                    link.incoming = Incoming::Ended;
                    link.readable = false;
                    return self.feed(role, Input::Ended(key));
                }
                Err(reason) => return self.fail(key, reason),
            }
        }
        self.postpone(key);
    }

    // ── 6. Roles ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Gives a role one input, carries out what it wants, and gives it what came of that.
    fn feed(&mut self, role: usize, input: Input<'_>) {
        self.step(role, input);
        while let Some((role, outcome)) = self.outcomes.pop_front() {
            self.step(role, outcome);
        }
    }

    fn step(&mut self, role: usize, input: Input<'_>) {
        let mut out = Outbox::new(&mut self.verbs, &mut self.bytes, &mut self.slots);
        self.roles[role].step(self.now, input, &mut out);
        let (mut verbs, mut bytes) = (std::mem::take(&mut self.verbs), std::mem::take(&mut self.bytes));
        for verb in verbs.drain(..) {
            self.carry_out(role, verb, &bytes);
        }
        bytes.clear();
        (self.verbs, self.bytes) = (verbs, bytes);
    }

    fn carry_out(&mut self, role: usize, verb: Verb, bytes: &[u8]) {
        match verb {
            Verb::Listen(key, address, speech) => self.listen(role, key, address, speech),
            // Whoever dials a server has the first word there.
            Verb::Dial(key, address, speech, via) => {
                self.dial(role, key, &Place::Ip(address), speech, true);
                if let (Some(via), Some(_)) = (via, self.link(key)) {
                    self.vias.push((key, via));
                }
            }
            Verb::Resolve(query, host, port) => self.net.resolve(role, query, &host, port),
            Verb::Send(key, range) => self.send(key, &bytes[range], false),
            Verb::SendSoon(key, range) => self.send(key, &bytes[range], true),
            Verb::TellDrained(key) => {
                if let Some(link) = self.link(key) {
                    link.tell_drained = true;
                }
                self.enqueue(key);
            }
            Verb::Join { raw, proxy } => self.join(raw, proxy),
            Verb::AwaitHeader(key) => {
                if let Some(link) = self.link(key) {
                    (link.phase, link.held) = (Phase::Announcing, Held::Kept(None, 0));
                }
            }
            Verb::Introduce { raw, version, visitor, came_to } => {
                if let Some(Slot::Link(link)) = self.slots.get_mut(raw) {
                    let came_to = came_to.or_else(|| self.net.came_to(&link.stream));
                    link.introduce(&proxy_protocol::header(version, visitor, came_to), &mut self.arena);
                }
            }
            Verb::Reach { raw, place, proxy } => self.reach(role, raw, &place, proxy),
            Verb::Expect(key) => {
                if let Some(link) = self.link(key) {
                    link.payload = Payload::Awaited;
                }
            }
            Verb::Release(key) => self.release(key),
            Verb::Shut(key) => self.shut(key),
            Verb::Part(key, drain) => self.part(key, drain),
            Verb::Close(key, manner) => self.close(key, manner),
            Verb::PollLicenses => {
                let licenses = self.net.poll_licenses();
                self.outcomes.push_back((role, Input::Licenses(licenses)));
            }
            Verb::Note(note) => self.net.note(self.now, &note),
            Verb::Exit(code) => _ = self.exit.get_or_insert((code, self.now + LINGER_TIMEOUT)),
        }
    }

    /// Sends bytes of a role; with `soon` they may wait a moment for what follows, unless others wait already.
    fn send(&mut self, key: Key, bytes: &[u8], soon: bool) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        let alone = link.is_flushed();
        match link.send(bytes, &mut self.arena) {
            Ok(()) if soon && alone => {
                link.corked = true;
                self.corked.push_back((self.now + SEND_SOON, key));
            }
            Ok(()) => self.enqueue(key),
            Err(reason) => self.lose(key, reason),
        }
    }

    fn listen(&mut self, role: usize, key: Key, address: std::net::SocketAddr, speech: Speech) {
        match self.net.listen(key, address, speech) {
            Ok((listener, address)) => {
                if let Some(slot) = self.slots.get_mut(key) {
                    *slot = Slot::Door(Door { listener, role, speech, queued: false });
                }
                self.outcomes.push_back((role, Input::Bound(key, address)));
            }
            Err(reason) => {
                self.slots.remove(key);
                self.outcomes.push_back((role, Input::BindFailed(key, reason)));
            }
        }
    }

    fn dial(&mut self, role: usize, key: Key, place: &Place, speech: Speech, speaks: bool) {
        let tls = match speech {
            Speech::Tls => self.security.connect().map(|tls| Some(Box::new(tls))),
            Speech::Plain | Speech::Raw | Speech::Local => Ok(None),
        };
        let room = has_room(self.used, self.budget, speech);
        let dialed = tls.and_then(|tls| {
            if !room {
                return Err(Reason::Busy);
            }
            self.net.dial(key, place, speech, speaks).map(|stream| (stream, tls))
        });
        match dialed {
            Ok((stream, tls)) => {
                // Asked at once: on one machine the connection is up already, and no event need be waited for.
                let mut link = Link::new(stream, role, speech, Phase::Connecting, tls);
                link.writable = true;
                self.admit(key, link);
                self.enqueue(key);
            }
            Err(reason) => {
                self.slots.remove(key);
                self.outcomes.push_back((role, Input::Lost(key, reason)));
            }
        }
    }

    fn join(&mut self, raw_key: Key, proxy_key: Key) {
        // Nothing of an answer reaches the visitor before CONNECTED: else another ProxyChannel might answer
        // again.
        self.pair(raw_key, proxy_key, Payload::Awaited);
        let Some((Slot::Link(raw), Slot::Link(proxy))) = self.slots.pair_mut(raw_key, proxy_key) else {
            return;
        };
        if matches!(raw.held, Held::Free) {
            raw.held = Held::Kept(None, 0);
        }
        if let Err(reason) = relay::repeat(&raw.held, proxy, &mut self.arena, &mut self.scratch) {
            self.lose(proxy_key, reason);
        }
    }

    fn reach(&mut self, role: usize, raw: Key, place: &Place, proxy: Key) {
        let speaks = self.link(proxy).is_some_and(|link| link.has_unread());
        self.dial(role, raw, place, Speech::Raw, speaks);
        self.pair(raw, proxy, Payload::Passed);
    }

    fn pair(&mut self, raw_key: Key, proxy_key: Key, payload: Payload) {
        let Some((Slot::Link(raw), Slot::Link(proxy))) = self.slots.pair_mut(raw_key, proxy_key) else {
            return;
        };
        (raw.peer, proxy.peer, proxy.payload) = (Some(proxy_key), Some(raw_key), payload);
        self.enqueue(raw_key);
        self.enqueue(proxy_key);
    }

    fn release(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        link.free_held(&mut self.arena);
        let peer = link.peer;
        if let Some(proxy) = peer.and_then(|peer| self.link(peer)) {
            proxy.payload = Payload::Passed;
        }
        self.enqueue(key);
    }

    fn shut(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        if link.phase == Phase::Connecting {
            link.shut_when_up = true;
        } else {
            self.net.shut(&mut link.stream);
        }
        let peer = link.peer;
        if let Some(proxy) = peer.and_then(|peer| self.link(peer)) {
            proxy.payload = Payload::Refused;
        }
    }

    fn part(&mut self, key: Key, drain: bool) {
        self.unlink(key);
        if let Some(link) = self.link(key) {
            link.payload = if drain { Payload::Drained(DRAIN_BYTES_MAX) } else { Payload::Refused };
        }
        self.enqueue(key);
    }

    /// Parts a connection from its other side, which waits for what its role decides.
    fn unlink(&mut self, key: Key) {
        let Some(peer) = self.link(key).and_then(|link| link.peer.take()) else { return };
        if let Some(link) = self.link(peer) {
            link.peer = None;
            if link.payload == Payload::Passed {
                link.payload = Payload::Awaited;
            }
        }
    }

    // ── 7. Connections go ───────────────────────────────────────────────────────────────────────────────────────

    fn flush(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        let (role, phase) = (link.role(), link.phase);
        match link.flush(key, &mut self.net, &mut self.arena) {
            Err(reason) => self.fail(key, reason),
            Ok(true) if phase == Phase::Lingering => self.drop_link(key, Manner::End),
            Ok(true) if std::mem::take(&mut link.tell_drained) => self.feed(role, Input::Drained(key)),
            Ok(_) => {}
        }
    }

    fn close(&mut self, key: Key, manner: Manner) {
        self.unlink(key);
        match self.slots.get_mut(key) {
            Some(Slot::Link(link)) => {
                if manner == Manner::End && link.phase == Phase::Up && !link.is_flushed() {
                    link.phase = Phase::Lingering;
                    self.lingering.push_back((self.now + LINGER_TIMEOUT, key));
                    self.enqueue(key);
                } else {
                    self.drop_link(key, manner);
                }
            }
            Some(Slot::Door(_)) => {
                if let Some(Slot::Door(door)) = self.slots.remove(key) {
                    self.net.close_listener(key, door.listener);
                }
            }
            Some(Slot::Reserved) | None => {}
        }
    }

    /// A connection failed: it goes, and its role is told.
    fn fail(&mut self, key: Key, reason: Reason) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        let (role, told) = (link.role(), link.phase != Phase::Lingering);
        self.drop_link(key, Manner::Cut);
        if told {
            self.feed(role, Input::Lost(key, reason));
        }
    }

    /// A connection that is not read now goes, if it has failed.
    fn fail_if_failed(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        if std::mem::take(&mut link.failed)
            && let Err(error) = self.net.dialed(key, &mut link.stream)
        {
            self.fail(key, reason_of(&error));
        }
    }

    /// As [`Self::fail`], while verbs are being carried out: the role is told after them.
    fn lose(&mut self, key: Key, reason: Reason) {
        if let Some(role) = self.link(key).map(|link| link.role()) {
            self.drop_link(key, Manner::Cut);
            self.outcomes.push_back((role, Input::Lost(key, reason)));
        }
    }

    fn drop_link(&mut self, key: Key, manner: Manner) {
        self.unlink(key);
        if !matches!(self.slots.get(key), Some(Slot::Link(_))) {
            return;
        }
        let Some(Slot::Link(mut link)) = self.slots.remove(key) else { return };
        link.clear(&mut self.net, &mut self.arena);
        self.arena.release(link.rights());
        *kind(&mut self.used, link.speech) -= 1;
        self.net.close(key, link.stream, manner);
        self.vias.retain(|(of, _)| *of != key);
        for door in std::mem::take(&mut self.starved) {
            self.enqueue(door);
        }
    }

    /// Whether something that was sent has not left yet.
    fn speaks(&self) -> bool {
        let speaks =
            |link: &Link<_>| matches!(link.phase, Phase::Up | Phase::Lingering) && !link.is_flushed();
        self.slots.iter().any(|(_, slot)| matches!(slot, Slot::Link(link) if speaks(link)))
    }

    /// The program ends: visits that are still on are cut.
    fn leave(&mut self) {
        let links: Vec<(Key, Speech)> = self
            .slots
            .iter()
            .filter_map(|(key, slot)| match slot {
                Slot::Link(link) => Some((key, link.speech)),
                Slot::Reserved | Slot::Door(_) => None,
            })
            .collect();
        for (key, speech) in links {
            let manner = if speech == Speech::Raw { Manner::Cut } else { Manner::End };
            self.drop_link(key, manner);
        }
    }

    // ── For tests and status ────────────────────────────────────────────────────────────────────────────────────

    /// The operating system.
    pub fn net(&mut self) -> &mut N {
        &mut self.net
    }

    /// What is left of a driver that ends in the middle of its work, for the next one: an arena is for the life of the
    /// process, and tests have thousands of drivers in one.
    pub fn into_arena(mut self) -> Arena {
        let links: Vec<Key> = self.slots.iter().map(|(key, _)| key).collect();
        for key in links {
            if let Some(Slot::Link(link)) = self.slots.get_mut(key) {
                link.clear(&mut self.net, &mut self.arena);
                self.arena.release(link.rights());
            }
        }
        self.arena
    }

    /// Buffers lent, connections and listeners there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.arena.lent(), self.slots.len())
    }

    /// Panics where the driver's books, or those of a role, do not agree.
    pub fn check(&self) {
        let (mut lent, mut used) = (0, Budget::default());
        for (key, slot) in self.slots.iter() {
            let Slot::Link(link) = slot else { continue };
            *kind(&mut used, link.speech) += 1;
            lent += usize::from(link.rx.holds_buffer()) + usize::from(link.tx.holds_buffer());
            lent += link.tls.as_ref().map_or(0, |tls| usize::from(tls.holds_buffer()));
            lent += usize::from(matches!(link.held, Held::Kept(Some(_), _)));
            if let Some(peer) = link.peer {
                let Some(Slot::Link(other)) = self.slots.get(peer) else {
                    panic!("{key:?} is joined to nobody")
                };
                assert_eq!(other.peer, Some(key), "{key:?} and {peer:?} disagree");
            }
        }
        assert_eq!(lent, self.arena.lent(), "a buffer has no owner, or two");
        assert_eq!(used, self.used, "connections were miscounted");
        assert_eq!(self.arena.reserved(), used.buffers(), "rights were miscounted");
        for role in &self.roles {
            role.check();
        }
    }
}

fn kind(budget: &mut Budget, speech: Speech) -> &mut usize {
    match speech {
        Speech::Tls | Speech::Plain => &mut budget.tunnels,
        Speech::Raw => &mut budget.raws,
        Speech::Local => &mut budget.locals,
    }
}

fn has_room(mut used: Budget, mut budget: Budget, speech: Speech) -> bool {
    *kind(&mut used, speech) < *kind(&mut budget, speech)
}
