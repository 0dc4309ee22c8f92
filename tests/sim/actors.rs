//! Visitors and real servers, and the oracle: byte `k` of a stream is a pure function of the stream and `k`, so any prefix
//! is checked without being kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;

use nt::proxy_protocol::{self, Announced};
use nt::role::Manner;

use super::net::{EndId, World};
use crate::dice::Random;

/// Eight bytes of stream `id` in one direction, from byte `8 * n` on. No stream holds a piece of another, so that none can
/// pass for one.
fn word(id: u32, down: bool, n: u64) -> [u8; 8] {
    let stream = u64::from(id) << 1 | u64::from(down);
    Random(stream << 40 ^ n).next().to_le_bytes()
}

/// The bytes of a stream from byte `k` on. Most of what is simulated is bytes: they are made, and looked at, by the word.
pub fn fill(id: u32, down: bool, k: u64, bytes: &mut [u8]) {
    let mut n = k / 8;
    let (first, rest) = bytes.split_at_mut(((n + 1) * 8 - k).min(bytes.len() as u64) as usize);
    first.copy_from_slice(&word(id, down, n)[(k % 8) as usize..][..first.len()]);
    for bytes in rest.chunks_mut(8) {
        n += 1;
        bytes.copy_from_slice(&word(id, down, n)[..bytes.len()]);
    }
}

/// The first of these bytes that is not the one of the stream, where they should be those from byte `k` on.
pub fn first_wrong(id: u32, down: bool, k: u64, bytes: &[u8]) -> Option<u64> {
    let mut n = k / 8;
    let (first, rest) = bytes.split_at(((n + 1) * 8 - k).min(bytes.len() as u64) as usize);
    let mut good = *first == word(id, down, n)[(k % 8) as usize..][..first.len()];
    for bytes in rest.chunks(8) {
        n += 1;
        good &= *bytes == word(id, down, n)[..bytes.len()];
    }
    let right = |k: u64| word(id, down, k / 8)[(k % 8) as usize];
    if good { None } else { (k..).zip(bytes).find(|&(k, byte)| *byte != right(k)).map(|(k, _)| k) }
}

/// What a visit does. It stands in the first bytes that the visitor sends, so that the real server knows it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub id: u32,
    pub up: u32,
    pub down: u32,
    /// The visitor ends its direction as soon as it has said everything; else only after it has got everything.
    pub visitor_ends_first: bool,
    /// The real server resets after this many bytes of its own.
    pub reset_at: Option<u32>,
    /// Both say this many bytes at a time, the visitor first, and wait for as many in return; 0 if they do not wait.
    pub message: u32,
}

pub const PLAN_BYTES: usize = 21;

impl Plan {
    pub fn encode(&self) -> [u8; PLAN_BYTES] {
        let mut bytes = [0; PLAN_BYTES];
        bytes[..4].copy_from_slice(&self.id.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.up.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.down.to_be_bytes());
        bytes[12] = u8::from(self.visitor_ends_first);
        bytes[13..17].copy_from_slice(&self.reset_at.unwrap_or(u32::MAX).to_be_bytes());
        bytes[17..].copy_from_slice(&self.message.to_be_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Self {
        let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let reset_at = Some(number(13)).filter(|&at| at != u32::MAX);
        Self {
            id: number(0),
            up: number(4),
            down: number(8),
            visitor_ends_first: bytes[12] == 1,
            reset_at,
            message: number(17),
        }
    }
}

/// How an endpoint's story ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Running,
    /// Both directions ended cleanly and whole.
    Whole,
    /// It was reset, or refused.
    Cut,
}

/// One endpoint: a visitor, or the real server's side of a visit.
#[derive(Debug)]
pub struct Endpoint {
    pub end: EndId,
    /// The port that a visitor came to, or that a real server has.
    pub port: u16,
    pub plan: Option<Plan>,
    visitor: bool,
    /// What came of a PROXY header that must come first; `None` where it has, or none is wanted.
    header: Option<Vec<u8>>,
    /// What it said: the visitor's address, and the one it came to.
    pub announced: Option<(SocketAddr, SocketAddr)>,
    /// What a visitor of an exit and the exit say first.
    asked: Option<Asked>,
    head: Vec<u8>,
    sent: u64,
    got: u64,
    shut: bool,
    peer_ended: bool,
    pub outcome: Outcome,
    /// It does not read for so many steps.
    pub stalled: u32,
    /// It was so at the last look.
    waited: bool,
}

/// What is said at an exit before a stream begins.
#[derive(Clone, Debug)]
pub struct Asked {
    /// By the visitor, and whether it waits for the answer then.
    pub says: Vec<u8>,
    pub waits: bool,
    /// By the exit, where it takes the visitor there. Whoever hears anything else was refused.
    pub granted: Vec<u8>,
    pub heard: Vec<u8>,
}

impl Asked {
    pub fn is_granted(&self) -> bool {
        self.heard == self.granted
    }

    /// It has heard something else than it hoped for.
    pub fn is_refused(&self) -> bool {
        !self.granted.starts_with(&self.heard)
    }
}

impl Endpoint {
    /// Asks an exit first.
    pub fn asks(&mut self, asked: Asked) {
        self.asked = Some(asked);
    }

    /// What it asked an exit for, and what it has heard.
    pub fn asked(&self) -> Option<&Asked> {
        self.asked.as_ref()
    }

    pub fn visitor(end: EndId, port: u16, plan: Plan) -> Self {
        Self::new(end, port, Some(plan), true, false)
    }

    /// With `told` it wants to know first who visits.
    pub fn real(end: EndId, port: u16, told: bool) -> Self {
        Self::new(end, port, None, false, told)
    }

    fn new(end: EndId, port: u16, plan: Option<Plan>, visitor: bool, told: bool) -> Self {
        let (head, outcome) = (Vec::new(), Outcome::Running);
        Self {
            end,
            port,
            plan,
            visitor,
            header: told.then(Vec::new),
            announced: None,
            asked: None,
            head,
            sent: 0,
            got: 0,
            shut: false,
            peer_ended: false,
            outcome,
            stalled: 0,
            waited: false,
        }
    }

    /// Does what can be done now; whether anything could.
    pub fn poke(&mut self, world: &mut World) -> bool {
        self.waited = false;
        if self.outcome != Outcome::Running {
            return false;
        }
        match world.connected(self.end) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(_) => return self.finish(world, Outcome::Cut),
        }
        let wrote = self.write(world);
        let read = self.read(world);
        let refused = self.asked.as_ref().is_some_and(|asked| !asked.is_granted());
        if refused && self.peer_ended {
            return self.finish(world, Outcome::Cut);
        }
        if self.outcome == Outcome::Running && self.shut && self.peer_ended {
            let plan = self.plan.expect("an end came before the plan");
            let all = u64::from(if self.visitor { plan.down } else { plan.up });
            assert_eq!(self.got, all, "visit {}: FIN before the last byte", plan.id);
            world.close(self.end, Manner::End);
            self.outcome = Outcome::Whole;
        }
        wrote || read
    }

    /// It was looked at so often, as at the last time, and did nothing.
    pub fn skip(&mut self, looks: u32) {
        if self.waited {
            self.stalled -= looks;
        }
    }

    /// It resets, if its story goes on.
    pub fn leave(&mut self, world: &mut World) {
        if self.outcome == Outcome::Running {
            self.finish(world, Outcome::Cut);
        }
    }

    fn finish(&mut self, world: &mut World, outcome: Outcome) -> bool {
        world.close(self.end, Manner::Cut);
        self.outcome = outcome;
        true
    }

    fn write(&mut self, world: &mut World) -> bool {
        let Some(plan) = self.plan else { return false };
        let asked = self.asked.as_ref();
        let says = asked.map_or(&[][..], |asked| &asked.says);
        // Whoever waits for an answer says nothing of its own until it has it.
        let waits = asked.is_some_and(|asked| asked.waits && !asked.is_granted());
        let head = (says.len() + if self.visitor && !waits { PLAN_BYTES } else { 0 }) as u64;
        let body = if self.visitor { plan.up } else { plan.down };
        let all = head + if waits { 0 } else { u64::from(body) };
        if waits && self.sent == all {
            return false;
        }
        if self.sent < all {
            let n = match u64::from(plan.message) {
                0 => (all - self.sent).min(1 + world.rng.below(6000)),
                message => {
                    let turns = self.got / message + u64::from(self.visitor);
                    all.min(head + turns * message) - self.sent
                }
            };
            let n = n.min(world.room(self.end) as u64);
            if n == 0 {
                return false;
            }
            let mut bytes = vec![0; n as usize];
            let first = head.saturating_sub(self.sent).min(n) as usize;
            if first > 0 {
                let words = [says, &plan.encode()].concat();
                bytes[..first].copy_from_slice(&words[self.sent as usize..][..first]);
            }
            let k = (self.sent + first as u64).saturating_sub(head);
            fill(plan.id, !self.visitor, k, &mut bytes[first..]);
            match world.write(self.end, &bytes) {
                Ok(n) => self.sent += n as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => return self.finish(world, Outcome::Cut),
            }
            if !self.visitor && plan.reset_at.is_some_and(|at| self.sent >= u64::from(at)) {
                return self.finish(world, Outcome::Cut);
            }
            return true;
        }
        let may_end = !self.visitor || plan.visitor_ends_first || self.got == u64::from(plan.down);
        if !self.shut && may_end {
            world.shut(self.end);
            self.shut = true;
            return true;
        }
        false
    }

    fn read(&mut self, world: &mut World) -> bool {
        if self.outcome != Outcome::Running || self.peer_ended {
            return false;
        }
        if self.stalled > 0 {
            self.stalled -= 1;
            self.waited = true;
            world.patience = world.patience.min(self.stalled);
            return false;
        }
        if !world.has_news(self.end) {
            return false;
        }
        let mut buffer = [0; 4096];
        match world.read(self.end, &mut buffer) {
            Ok(0) => {
                self.peer_ended = true;
                if self.plan.is_none() {
                    // A visitor that was cut before it said anything must not look like one that ended.
                    panic!("FIN before any byte");
                }
                true
            }
            Ok(n) => {
                self.take(&buffer[..n]);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(_) => self.finish(world, Outcome::Cut),
        }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        if let Some(mut header) = self.header.take() {
            header.extend(bytes);
            match proxy_protocol::parse(&header) {
                Ok(Some((Announced::Visitor { from, to }, used))) => {
                    self.announced = Some((from, to));
                    self.take(&header[used..]);
                }
                Ok(None) => self.header = Some(header),
                other => panic!("a real server was told {other:?}: {}", header.escape_ascii()),
            }
            return;
        }
        if let Some(asked) = self.asked.as_mut().filter(|asked| !asked.is_granted()) {
            let n = asked.granted.len().saturating_sub(asked.heard.len()).min(bytes.len());
            asked.heard.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if asked.is_refused() {
                asked.heard.extend_from_slice(bytes);
                return;
            }
        }
        if !self.visitor && self.head.len() < PLAN_BYTES {
            let n = bytes.len().min(PLAN_BYTES - self.head.len());
            self.head.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.head.len() == PLAN_BYTES {
                self.plan = Some(Plan::decode(&self.head));
            }
        }
        if bytes.is_empty() {
            return;
        }
        let plan = self.plan.expect("payload comes after the plan");
        let wrong = first_wrong(plan.id, self.visitor, self.got, bytes);
        assert_eq!(wrong, None, "visit {}: this byte is wrong", plan.id);
        self.got += bytes.len() as u64;
        let all = u64::from(if self.visitor { plan.down } else { plan.up });
        assert!(self.got <= all, "visit {}: more bytes than were sent", plan.id);
    }
}

/// Somebody from the net who says what they like, and waits until they are thrown out.
pub struct Stranger {
    pub end: EndId,
    words: Vec<u8>,
}

impl Stranger {
    pub fn new(end: EndId, words: Vec<u8>) -> Self {
        Self { end, words }
    }

    /// Says what can be said now; whether the connection still stands.
    pub fn poke(&mut self, world: &mut World) -> bool {
        let mut answer = [0; 512];
        let stands = world.connected(self.end).and_then(|()| {
            if !self.words.is_empty() {
                let n = world.write(self.end, &self.words)?;
                self.words.drain(..n);
            }
            if world.has_news(self.end) { world.read(self.end, &mut answer) } else { Ok(1) }
        });
        let stands = match stands {
            Ok(n) => n > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        if !stands {
            world.close(self.end, Manner::Cut);
        }
        stands
    }
}

/// Where visits may arrive: once, at the real server that is meant. More often would be a request that ran twice, elsewhere
/// one that somebody else got.
#[derive(Default)]
pub struct Arrivals {
    expected: BTreeMap<u32, u16>,
    /// Visits of those that may not arrive.
    forbidden: BTreeSet<u32>,
}

impl Arrivals {
    /// A visit that is meant for the real server of this port.
    pub fn expect(&mut self, id: u32, port: u16) {
        self.expected.insert(id, port);
    }

    /// Nobody permits it at present.
    pub fn forbid(&mut self, id: u32) {
        self.forbidden.insert(id);
    }

    /// What was forbidden and has not arrived may arrive yet.
    pub fn permit_all(&mut self) {
        self.forbidden.clear();
    }

    /// It arrived.
    pub fn count(&mut self, id: u32, port: u16) {
        let expected = self.expected.remove(&id);
        assert_eq!(expected, Some(port), "visit {id} came twice, or to the wrong real server: {port}");
        assert!(!self.forbidden.contains(&id), "visit {id} came by a license that was revoked before");
    }
}
