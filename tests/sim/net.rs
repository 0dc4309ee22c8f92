//! The simulated network: sockets as bounded queues, a clock that jumps, and an operating system that is as nasty as a
//! real one may be. Everything follows from one seed.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use nt::directory::Directory;
use nt::net::{Event, Ready};
use nt::role::Manner;
use nt::time::{Span, Time};

use crate::dice::Random;
use crate::meter::Costs;

/// How nasty the world is: percentages.
#[derive(Clone, Copy, Default)]
pub struct Nasty {
    pub short: u64,
    pub spurious: u64,
    /// No pipe is to be had.
    pub pipeless: u64,
    pub delay_micros: u64,
    pub window: usize,
}

pub type EndId = usize;
pub type Host = usize;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Connecting,
    Up,
    Failed(io::ErrorKind),
    Closed,
}

struct End {
    host: Host,
    peer: EndId,
    state: State,
    token: Option<usize>,
    keepalive: bool,
    /// The way between forgot this connection: nothing that is sent arrives, and nobody is told.
    forgotten: bool,
    inbox: VecDeque<u8>,
    fin: bool,
    /// Bytes on their way to the peer, or in its inbox.
    outstanding: usize,
    last_arrival: Time,
    read_blocked: bool,
    write_blocked: bool,
    /// Last time anything came from the peer's host.
    alive: Time,
}

enum Packet {
    Syn(SocketAddr),
    SynAck,
    Refused,
    Data(Vec<u8>),
    Fin,
    Rst,
}

struct Listener {
    host: Host,
    token: usize,
    backlog: VecDeque<(EndId, SocketAddr)>,
    blocked: bool,
}

pub struct World {
    pub now: Time,
    pub rng: Random,
    pub nasty: Nasty,
    ends: Vec<End>,
    listeners: BTreeMap<u16, Listener>,
    flight: BinaryHeap<Reverse<(Time, u64, usize)>>,
    packets: Vec<Option<(EndId, Packet)>>,
    sequence: u64,
    events: BTreeMap<Host, Vec<Event>>,
    /// Directions between hosts that carry nothing.
    pub cuts: BTreeSet<(Host, Host)>,
    pub notes: Vec<(Time, Host, String)>,
    /// Names that were looked up.
    pub lookups: usize,
    /// Pipes that are lent, and bytes that went through any.
    pub pipes: usize,
    pub spliced: usize,
    /// What the license file holds since it was changed.
    pub licenses: Option<Directory>,
    /// What each host's process has cost.
    pub costs: BTreeMap<Host, Costs>,
    next_port: u16,
    /// A fingerprint of everything that happened.
    pub trace: u64,
}

impl World {
    pub fn new(seed: u64, nasty: Nasty) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            now: Time::from_micros(1_000_000),
            rng: Random(seed),
            nasty,
            ends: Vec::new(),
            listeners: BTreeMap::new(),
            flight: BinaryHeap::new(),
            packets: Vec::new(),
            sequence: 0,
            events: BTreeMap::new(),
            cuts: BTreeSet::new(),
            notes: Vec::new(),
            lookups: 0,
            pipes: 0,
            spliced: 0,
            licenses: None,
            costs: BTreeMap::new(),
            next_port: 40_000,
            trace: 0,
        }))
    }

    fn stamp(&mut self, what: u64) {
        self.trace = (self.trace ^ what).wrapping_mul(0x100_0000_01B3).rotate_left(17) ^ self.now.as_micros();
    }

    fn send(&mut self, from: EndId, packet: Packet) {
        let to = self.ends[from].peer;
        let jitter = self.rng.below(self.nasty.delay_micros / 2 + 1);
        let at = (self.now + Span::from_micros(self.nasty.delay_micros + jitter))
            .max(self.ends[from].last_arrival);
        self.ends[from].last_arrival = at;
        self.post(at, to, packet);
    }

    fn post(&mut self, at: Time, to: EndId, packet: Packet) {
        self.sequence += 1;
        self.packets.push(Some((to, packet)));
        self.flight.push(Reverse((at, self.sequence, self.packets.len() - 1)));
    }

    /// When the next packet arrives.
    pub fn next(&self) -> Time {
        self.flight.peek().map_or(Time::NEVER, |Reverse((at, ..))| *at)
    }

    /// Whether events wait for a host.
    pub fn has_events(&self, host: Host) -> bool {
        self.events.get(&host).is_some_and(|events| !events.is_empty())
    }

    /// Lets an event wait for a host.
    pub fn inform(&mut self, host: Host, event: Event) {
        self.events.entry(host).or_default().push(event);
    }

    /// Takes the events that wait for a host. Nobody promises an order within a batch.
    pub fn take_events(&mut self, host: Host) -> Vec<Event> {
        self.probe();
        let mut told = self.events.remove(&host).unwrap_or_default();
        for i in (1..told.len()).rev() {
            let j = self.rng.below(i as u64 + 1) as usize;
            told.swap(i, j);
        }
        told
    }

    /// Lets the clock jump to `at` and delivers what arrives by then.
    pub fn advance(&mut self, at: Time) {
        self.now = self.now.max(at);
        while self.next() <= self.now {
            let Some(Reverse((_, _, index))) = self.flight.pop() else { return };
            let Some((to, packet)) = self.packets[index].take() else { continue };
            let from = self.ends[to].peer;
            if self.is_cut(from) {
                // TCP sends it again, until it gives up.
                let later = self.now + Span::from_millis(400);
                self.ends[from].last_arrival = self.ends[from].last_arrival.max(later);
                self.post(later, to, packet);
                continue;
            }
            self.deliver(to, packet);
        }
        if self.flight.is_empty() {
            self.packets.clear();
        }
    }

    fn deliver(&mut self, to: EndId, packet: Packet) {
        let from = self.ends[to].peer;
        self.stamp(to as u64);
        self.ends[to].alive = self.now;
        match packet {
            Packet::Syn(address) => {
                let host = self.ends[to].host;
                let peer_port = self.next_port;
                self.next_port = self.next_port.wrapping_add(1).max(20_000);
                let peer = SocketAddr::from(([10, 0, 0, self.ends[from].host as u8], peer_port));
                match self.listeners.get_mut(&address.port()).filter(|l| l.host == host) {
                    Some(listener) => {
                        listener.backlog.push_back((to, peer));
                        let (token, blocked) =
                            (listener.token, std::mem::replace(&mut listener.blocked, false));
                        if blocked {
                            self.tell(host, token, true, false, false, false);
                        }
                        self.ends[to].state = State::Up;
                        self.send(to, Packet::SynAck);
                    }
                    None => {
                        self.ends[to].state = State::Closed;
                        self.send(to, Packet::Refused);
                    }
                }
            }
            Packet::SynAck => {
                if self.ends[to].state == State::Connecting {
                    self.ends[to].state = State::Up;
                    self.wake(to, false, true, false);
                }
            }
            Packet::Refused => self.fail(to, io::ErrorKind::ConnectionRefused),
            Packet::Data(bytes) => match self.ends[to].state {
                State::Up => {
                    self.ends[to].inbox.extend(bytes);
                    self.wake(to, true, false, false);
                }
                State::Closed => {
                    // Data for a socket that has gone is answered with RST.
                    self.ends[from].outstanding = self.ends[from].outstanding.saturating_sub(bytes.len());
                    self.send(to, Packet::Rst);
                }
                State::Connecting | State::Failed(_) => {}
            },
            Packet::Fin => {
                // As epoll does: the end is told in any case, and with whatever is told from now on.
                (self.ends[to].fin, self.ends[to].read_blocked) = (true, true);
                self.wake(to, true, false, false);
            }
            Packet::Rst => self.fail(to, io::ErrorKind::ConnectionReset),
        }
    }

    /// RST discards what was not read.
    fn fail(&mut self, end: EndId, kind: io::ErrorKind) {
        if matches!(self.ends[end].state, State::Up | State::Connecting) {
            self.ends[end].state = State::Failed(kind);
            self.ends[end].inbox.clear();
            self.wake(end, true, true, true);
        }
    }

    fn wake(&mut self, end: EndId, read: bool, write: bool, failed: bool) {
        let spurious = self.rng.chance(self.nasty.spurious);
        let e = &mut self.ends[end];
        let read = (read && std::mem::take(&mut e.read_blocked)) || spurious || failed;
        let write = (write && std::mem::take(&mut e.write_blocked)) || spurious || failed;
        if let (Some(token), true) = (e.token, read || write) {
            let (host, ended) = (e.host, e.fin);
            self.tell(host, token, read, write, ended, failed);
        }
    }

    pub fn tell(&mut self, host: Host, token: usize, read: bool, write: bool, ended: bool, failed: bool) {
        self.inform(host, Event::Ready(Ready { token, read, write, ended, failed }));
    }

    /// Whether what this end sends is lost.
    fn is_cut(&self, from: EndId) -> bool {
        let end = &self.ends[from];
        end.forgotten || self.cuts.contains(&(end.host, self.ends[end.peer].host))
    }

    /// A NAT between two hosts forgets all their connections; new ones pass.
    pub fn forget(&mut self, a: Host, b: Host) {
        for end in 0..self.ends.len() {
            let peer = self.ends[end].peer;
            if self.ends[end].host == a && self.ends[peer].host == b {
                (self.ends[end].forgotten, self.ends[peer].forgotten) = (true, true);
            }
        }
    }

    /// The kernel's keepalive: a connection that heard nothing for 30 s while its path is cut fails.
    fn probe(&mut self) {
        for end in 0..self.ends.len() {
            let e = &self.ends[end];
            if e.keepalive && e.state == State::Up && self.ends[e.peer].state == State::Up {
                let (peer, alive) = (e.peer, e.alive);
                if self.is_cut(end) || self.is_cut(peer) {
                    if self.now.since(alive) >= Span::from_secs(30) {
                        self.fail(end, io::ErrorKind::TimedOut);
                    }
                } else {
                    self.ends[end].alive = self.now;
                }
            }
        }
    }

    // ── Sockets as actors and drivers use them ──────────────────────────────────────────────────────────────────

    pub fn connect(&mut self, host: Host, target: Host, address: SocketAddr) -> EndId {
        let id = self.ends.len();
        for (host, peer, state) in [(host, id + 1, State::Connecting), (target, id, State::Closed)] {
            self.ends.push(End {
                host,
                peer,
                state,
                token: None,
                keepalive: false,
                forgotten: false,
                inbox: VecDeque::new(),
                fin: false,
                outstanding: 0,
                last_arrival: Time::default(),
                read_blocked: true,
                write_blocked: true,
                alive: self.now,
            });
        }
        self.send(id, Packet::Syn(address));
        id
    }

    /// Both ends of a connection are probed by their kernels.
    pub fn keep_alive(&mut self, end: EndId) {
        let peer = self.ends[end].peer;
        (self.ends[end].keepalive, self.ends[peer].keepalive) = (true, true);
    }

    /// Tells what happens at this end under a token.
    pub fn watch(&mut self, end: EndId, token: usize) {
        self.ends[end].token = Some(token);
    }

    pub fn token(&self, end: EndId) -> Option<usize> {
        self.ends[end].token
    }

    /// As [`Self::connected`]; who is told no will be told when it is decided.
    pub fn dialed(&mut self, end: EndId) -> io::Result<()> {
        let result = self.connected(end);
        if result.is_err() {
            self.ends[end].write_blocked = true;
        }
        result
    }

    pub fn connected(&self, end: EndId) -> io::Result<()> {
        match self.ends[end].state {
            State::Connecting => Err(io::ErrorKind::WouldBlock.into()),
            State::Failed(kind) => Err(kind.into()),
            State::Up | State::Closed => Ok(()),
        }
    }

    pub fn listen(&mut self, host: Host, port: u16, token: usize) -> bool {
        if self.listeners.contains_key(&port) {
            return false;
        }
        self.listeners.insert(port, Listener { host, token, backlog: VecDeque::new(), blocked: true });
        true
    }

    pub fn accept(&mut self, port: u16) -> Option<(EndId, SocketAddr)> {
        let listener = self.listeners.get_mut(&port)?;
        let came = listener.backlog.pop_front();
        listener.blocked = came.is_none();
        came
    }

    pub fn unlisten(&mut self, port: u16) {
        if let Some(listener) = self.listeners.remove(&port) {
            for (end, _) in listener.backlog {
                self.close(end, Manner::Cut);
            }
        }
    }

    pub fn read(&mut self, end: EndId, into: &mut [u8]) -> io::Result<usize> {
        if let State::Failed(kind) = self.ends[end].state {
            return Err(kind.into());
        }
        let mut n = into.len().min(self.ends[end].inbox.len());
        if n == 0 {
            if self.ends[end].fin {
                return Ok(0);
            }
            self.ends[end].read_blocked = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.rng.chance(self.nasty.short) {
            n = 1 + self.rng.below(n as u64) as usize;
        }
        for (slot, byte) in into.iter_mut().zip(self.ends[end].inbox.drain(..n)) {
            *slot = byte;
        }
        if n < into.len() {
            // Dry, as far as the reader can know; what is left came just now.
            self.ends[end].read_blocked = true;
            if !self.ends[end].inbox.is_empty() {
                self.wake(end, true, false, false);
            }
        }
        let peer = self.ends[end].peer;
        self.ends[peer].outstanding -= n;
        self.wake(peer, false, true, false);
        self.stamp(n as u64);
        Ok(n)
    }

    pub fn write(&mut self, end: EndId, from: &[u8]) -> io::Result<usize> {
        match self.ends[end].state {
            State::Failed(kind) => return Err(kind.into()),
            State::Closed => return Err(io::ErrorKind::BrokenPipe.into()),
            State::Connecting => return Err(io::ErrorKind::WouldBlock.into()),
            State::Up => {}
        }
        let mut n = from.len().min(self.nasty.window.saturating_sub(self.ends[end].outstanding));
        if n == 0 {
            self.ends[end].write_blocked = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.rng.chance(self.nasty.short) {
            n = 1 + self.rng.below(n as u64) as usize;
        }
        self.ends[end].outstanding += n;
        if n < from.len() {
            self.ends[end].write_blocked = true;
            if self.ends[end].outstanding < self.nasty.window {
                self.wake(end, false, true, false);
            }
        }
        self.send(end, Packet::Data(from[..n].to_vec()));
        Ok(n)
    }

    pub fn shut(&mut self, end: EndId) {
        if self.ends[end].state == State::Up {
            self.send(end, Packet::Fin);
        }
    }

    pub fn close(&mut self, end: EndId, manner: Manner) {
        let unread = !self.ends[end].inbox.is_empty();
        match self.ends[end].state {
            State::Up if manner == Manner::Cut || unread => self.send(end, Packet::Rst),
            State::Up => self.send(end, Packet::Fin),
            State::Connecting | State::Failed(_) | State::Closed => {}
        }
        self.ends[end].state = State::Closed;
        self.ends[end].token = None;
        self.ends[end].inbox.clear();
    }

    /// Cuts a living connection of these hosts, chosen by the dice; nothing is said about which.
    pub fn reset_one(&mut self, a: Host, b: Host) -> bool {
        let living: Vec<EndId> = (0..self.ends.len())
            .filter(|&e| {
                let end = &self.ends[e];
                end.state == State::Up && end.host == a && self.ends[end.peer].host == b
            })
            .collect();
        if living.is_empty() {
            return false;
        }
        let end = living[self.rng.below(living.len() as u64) as usize];
        self.reset(end);
        true
    }

    /// Resets every connection between two hosts.
    pub fn reset_all(&mut self, a: Host, b: Host) {
        for end in 0..self.ends.len() {
            let peer = self.ends[end].peer;
            if self.ends[end].state == State::Up && self.ends[end].host == a && self.ends[peer].host == b {
                self.reset(end);
            }
        }
    }

    /// The far ends of all connections between two hosts but one are gone, and nobody was told: whoever sends on one
    /// gets RST.
    pub fn forget_idle(&mut self, a: Host, b: Host, but: Option<EndId>) {
        for end in 0..self.ends.len() {
            let peer = self.ends[end].peer;
            let living =
                self.ends[end].state == State::Up && self.ends[end].host == a && self.ends[peer].host == b;
            if living && Some(end) != but {
                self.fail(end, io::ErrorKind::ConnectionReset);
                self.ends[end].state = State::Closed;
            }
        }
    }

    pub fn reset(&mut self, end: EndId) {
        let peer = self.ends[end].peer;
        self.fail(end, io::ErrorKind::ConnectionReset);
        self.fail(peer, io::ErrorKind::ConnectionReset);
    }

    /// Asks the process of a host to stop.
    pub fn stop(&mut self, host: Host) {
        self.inform(host, Event::Stop);
    }

    /// The oldest living connection between two hosts.
    pub fn oldest(&self, a: Host, b: Host) -> Option<EndId> {
        (0..self.ends.len()).find(|&e| {
            let end = &self.ends[e];
            end.state == State::Up && end.host == a && self.ends[end.peer].host == b
        })
    }

    /// The process of a host is gone: the kernel ends its connections.
    pub fn crash(&mut self, host: Host) {
        let ports: Vec<u16> =
            self.listeners.iter().filter(|(_, l)| l.host == host).map(|(port, _)| *port).collect();
        ports.into_iter().for_each(|port| self.unlisten(port));
        for end in 0..self.ends.len() {
            if self.ends[end].host == host && self.ends[end].token.is_some() {
                // Tunnel connections end with FIN, raw ones with RST (they linger for no time).
                let manner = if self.ends[end].keepalive { Manner::End } else { Manner::Cut };
                self.close(end, manner);
            }
        }
        self.events.remove(&host);
    }
}
