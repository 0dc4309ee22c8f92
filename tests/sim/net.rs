//! The simulated network: sockets as bounded queues, a clock that jumps, and an operating system that is as nasty as a
//! real one may be. Everything follows from one seed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::rc::Rc;

use nt::directory::Directory;
use nt::net::{Event, Ready};
use nt::role::Manner;
use nt::time::{Span, Time};

use crate::dice::Random;

#[path = "datagrams.rs"]
mod datagrams;
#[path = "faults.rs"]
mod faults;
#[path = "flight.rs"]
mod flight;
#[path = "processes.rs"]
mod processes;

pub use datagrams::{Post, SocketId};
pub use faults::{SNAPS, Trouble};
use flight::{Flight, Flying};
use processes::{HOSTS, Process};

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
    /// What was dialled …
    dialed: SocketAddr,
    /// … and whom the far host took it for.
    seen_as: Option<SocketAddr>,
    state: State,
    token: Option<usize>,
    keepalive: bool,
    /// So many bytes more are passed on as they are; nothing before its first.
    spared: Option<usize>,
    /// The way between forgot this connection: nothing that is sent arrives, and nobody is told.
    forgotten: bool,
    inbox: VecDeque<u8>,
    fin: bool,
    /// Bytes on their way to the peer, or in its inbox.
    outstanding: usize,
    last_arrival: Time,
    /// Packets sent, those that arrived in turn, and those that came before their turn.
    sent: u64,
    arrived: u64,
    early: BTreeMap<u64, Packet>,
    read_blocked: bool,
    write_blocked: bool,
    /// Last time anything came from the peer's host.
    alive: Time,
}

pub enum Packet {
    Syn(SocketAddr),
    SynAck,
    Refused,
    Data(Vec<u8>),
    Fin,
    Rst,
}

/// A kernel looks so often at whom it probes.
const PROBE_EVERY: Span = Span::from_millis(100);

/// First words that are kept.
const RECORDED_MAX: usize = 64;

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
    flight: Flight,
    /// By host.
    processes: Vec<Process>,
    /// Somebody has come to a listener, and may be waiting there.
    pub knocked: bool,
    /// So many more looks leave everybody stalled who was at the last one.
    pub patience: u32,
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
    pub trouble: Trouble,
    /// So many failures there could have been so far: of each call that may fail, in each of its ways.
    pub fallible: u64,
    /// Hosts of whose bytes some are changed on their way.
    pub corrupt: BTreeSet<Host>,
    /// Not of what they say first.
    pub spares_first: bool,
    /// What was said first on some connections: for those who say it again.
    pub recorded: Vec<Vec<u8>>,
    /// Ends that their kernel probes.
    probed: Vec<EndId>,
    probe_at: Time,
    next_port: u16,
    post: Post,
    /// So many of a hundred datagrams are lost.
    pub letter_loss: u64,
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
            flight: Flight::default(),
            processes: (0..HOSTS).map(|_| Process::default()).collect(),
            knocked: false,
            patience: u32::MAX,
            cuts: BTreeSet::new(),
            notes: Vec::new(),
            lookups: 0,
            pipes: 0,
            spliced: 0,
            licenses: None,
            trouble: Trouble::Never,
            fallible: 0,
            corrupt: BTreeSet::new(),
            spares_first: false,
            recorded: Vec::new(),
            probed: Vec::new(),
            probe_at: Time::default(),
            next_port: 40_000,
            post: Post::default(),
            letter_loss: 0,
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
        let number = self.ends[from].sent;
        self.ends[from].sent += 1;
        self.flight.send(at, to, number, packet);
    }

    /// When the next packet or datagram arrives.
    pub fn next(&self) -> Time {
        self.flight.next().min(self.post.next())
    }

    /// What differs whenever somebody has sent or read anything in between.
    pub fn happened(&self) -> (u64, u64) {
        (self.flight.posted(), self.trace)
    }

    /// Lets the clock jump to `at` and delivers what arrives by then; whether anything did.
    pub fn advance(&mut self, at: Time) -> bool {
        self.now = self.now.max(at);
        let mut arrived = self.deliver_letters();
        while let Some(Flying { to, number, packet, .. }) = self.flight.arrived(self.now) {
            let from = self.ends[to].peer;
            if self.is_cut(from) {
                let again = self.flight.send_again(self.now, to, number, packet);
                self.ends[from].last_arrival = self.ends[from].last_arrival.max(again);
                continue;
            }
            arrived = true;
            // What overtook another waits for it.
            if number != self.ends[from].arrived {
                self.ends[from].early.insert(number, packet);
                continue;
            }
            self.ends[from].arrived += 1;
            self.deliver(to, packet);
            while let Some(packet) = self.in_turn(from) {
                self.deliver(to, packet);
            }
        }
        arrived
    }

    /// The next packet of what an end has sent, if it is there.
    fn in_turn(&mut self, from: EndId) -> Option<Packet> {
        let end = &mut self.ends[from];
        let packet = end.early.remove(&end.arrived)?;
        end.arrived += 1;
        Some(packet)
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
                self.ends[from].seen_as = Some(peer);
                match self.listeners.get_mut(&address.port()).filter(|l| l.host == host) {
                    Some(listener) => {
                        listener.backlog.push_back((to, peer));
                        self.knocked = true;
                        let (token, blocked) =
                            (listener.token, std::mem::replace(&mut listener.blocked, false));
                        if blocked {
                            self.tell(host, token, true, false, false, false);
                        }
                        self.come_up(to);
                        self.send(to, Packet::SynAck);
                    }
                    None => {
                        self.ends[to].state = State::Closed;
                        self.send(to, Packet::Refused);
                    }
                }
            }
            Packet::SynAck => match self.ends[to].state {
                State::Connecting => {
                    self.come_up(to);
                    self.wake(to, false, true, false);
                }
                // Whoever asked has gone meanwhile.
                State::Closed | State::Failed(_) => self.send(to, Packet::Rst),
                State::Up => {}
            },
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

    fn come_up(&mut self, end: EndId) {
        self.ends[end].state = State::Up;
        if self.ends[end].keepalive {
            self.probed.push(end);
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

    /// The kernel's keepalive: a connection that heard nothing for 30 s while its path is cut fails.
    fn probe(&mut self) {
        if self.now < self.probe_at {
            return;
        }
        self.probe_at = self.now + PROBE_EVERY;
        let mut probed = std::mem::take(&mut self.probed);
        probed.retain(|&end| {
            let e = &self.ends[end];
            let (peer, alive) = (e.peer, e.alive);
            let up = e.state == State::Up;
            if up && !self.is_cut(end) && !self.is_cut(peer) {
                self.ends[end].alive = self.now;
            } else if up && self.now.since(alive) >= Span::from_secs(30) {
                self.fail(end, io::ErrorKind::TimedOut);
            }
            !matches!(self.ends[end].state, State::Closed | State::Failed(_))
        });
        self.probed = probed;
    }

    // ── Sockets as actors and drivers use them ──────────────────────────────────────────────────────────────────

    pub fn connect(&mut self, host: Host, target: Host, address: SocketAddr) -> EndId {
        let id = self.ends.len();
        for (host, peer, state) in [(host, id + 1, State::Connecting), (target, id, State::Closed)] {
            self.ends.push(End {
                host,
                peer,
                dialed: address,
                seen_as: None,
                state,
                token: None,
                keepalive: false,
                spared: None,
                forgotten: false,
                inbox: VecDeque::new(),
                fin: false,
                outstanding: 0,
                last_arrival: Time::default(),
                sent: 0,
                arrived: 0,
                early: BTreeMap::new(),
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

    /// The address that was dialled when the connection was made.
    pub fn came_to(&self, end: EndId) -> SocketAddr {
        self.ends[end].dialed
    }

    /// The address that the far end was told of this one.
    pub fn seen_as(&self, end: EndId) -> Option<SocketAddr> {
        self.ends[end].seen_as
    }

    /// Tells what happens at this end under a token, and the end that has come before.
    pub fn watch(&mut self, end: EndId, token: usize) {
        self.ends[end].token = Some(token);
        if self.ends[end].fin {
            self.tell(self.ends[end].host, token, true, true, true, false);
        }
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

    /// Whether a read has anything to tell.
    pub fn has_news(&self, end: EndId) -> bool {
        let end = &self.ends[end];
        !end.inbox.is_empty() || end.fin || matches!(end.state, State::Failed(_))
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
        self.ends[end].inbox.read_exact(&mut into[..n]).expect("so many are there");
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

    /// Bytes that could be written now; one that has failed will say so at the first.
    pub fn room(&self, end: EndId) -> usize {
        match self.ends[end].state {
            State::Up => self.nasty.window.saturating_sub(self.ends[end].outstanding),
            State::Connecting | State::Failed(_) | State::Closed => 1,
        }
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
        let mut bytes = from[..n].to_vec();
        let first = self.ends[end].spared.is_none();
        let spared = self.ends[end].spared.unwrap_or(if self.spares_first { from.len() } else { 0 });
        self.ends[end].spared = Some(spared.saturating_sub(n));
        if first && self.ends[end].keepalive && self.recorded.len() < RECORDED_MAX {
            self.recorded.push(bytes.clone());
        }
        if spared == 0 && self.corrupt.contains(&self.ends[end].host) && self.rng.chance(10) {
            let at = self.rng.below(n as u64) as usize;
            bytes[at] ^= 1 << self.rng.below(8);
        }
        self.send(end, Packet::Data(bytes));
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
}
