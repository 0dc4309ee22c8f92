//! Real servers that speak HTTP, and what they hold against nt: each request must be one that was made, whole, of the
//! visitor that is said, at the real server that serves its name, and no more often than it may be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::{fmt, io};

use nt::proxy_protocol::{self, Announced};
use nt::role::Manner;
use nt::time::{Span, Time};

use crate::actors::Outcome;
use crate::callers::Name;
use crate::messages::{Framing, Head, How, Matter, Reader, Told};
use crate::net::{EndId, World};

/// A request that was made.
struct Made {
    matter: Matter,
    from: IpAddr,
    host: String,
    /// The real servers that may be asked.
    reals: Vec<u16>,
    forbidden: BTreeSet<u16>,
    arrived: u8,
}

/// All requests.
#[derive(Default)]
pub struct Requests {
    made: BTreeMap<(u32, u32), Made>,
}

impl Requests {
    /// A request of the visitor at this address, for this name.
    pub fn expect(&mut self, matter: Matter, from: IpAddr, name: &Name) {
        let Name { host, reals, .. } = name.clone();
        let made = Made { matter, from, host, reals, forbidden: BTreeSet::new(), arrived: 0 };
        self.made.insert((matter.id, matter.number), made);
    }

    /// Nobody permits at present that a visitor's requests reach this real server.
    pub fn forbid(&mut self, id: u32, real: u16) {
        self.made.range_mut((id, 0)..(id + 1, 0)).for_each(|(_, made)| _ = made.forbidden.insert(real));
    }

    /// What was forbidden and has not arrived may arrive yet.
    pub fn permit_all(&mut self) {
        self.made.values_mut().for_each(|made| made.forbidden.clear());
    }

    /// How often a request has arrived.
    pub fn arrived(&self, id: u32, number: u32) -> u8 {
        self.made[&(id, number)].arrived
    }

    fn arrives(&mut self, head: &Head, port: u16, announced: Option<IpAddr>) -> Matter {
        let matter = Matter::of(head);
        let which = (matter.id, matter.number);
        let made = self.made.get_mut(&which).unwrap_or_else(|| panic!("{which:?} was never asked: {head:?}"));
        assert_eq!(matter, made.matter, "a request was changed");
        assert!(made.reals.contains(&port), "request {which:?} came to {port}, not to {:?}", made.reals);
        assert!(!made.forbidden.contains(&port), "request {which:?} came by a license that forbids it");
        made.arrived += 1;
        let most = if matter.may_be_repeated() { 2 } else { 1 };
        assert!(made.arrived <= most, "request {which:?} came once too often: {matter:?}");
        let from = made.from.to_string();
        assert_eq!(head.get("x-forwarded-for"), Some(&*from), "request {which:?} is somebody else's");
        assert!(head.get("forwarded").is_some_and(|value| value.starts_with(&format!("for={from};"))));
        assert_eq!(head.get("x-real-ip"), None, "what a visitor says of itself was believed");
        assert_eq!([head.get("host"), head.get("x-forwarded-host")], [Some(&*made.host); 2]);
        assert!(
            announced.is_none_or(|ip| ip == made.from),
            "request {which:?} came in somebody else's visit"
        );
        matter
    }
}

/// What a real server does when it has said what it has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Listen,
    End,
    Reset,
}

/// A connection of a real server's.
pub struct Service {
    pub end: EndId,
    port: u16,
    /// What came of a PROXY header that must come first; `None` where it has, or none is wanted.
    header: Option<Vec<u8>>,
    announced: Option<IpAddr>,
    reader: Reader,
    /// What is being asked, and how much of its body has come.
    asked: Option<(Matter, u64)>,
    out: Vec<u8>,
    sent: usize,
    then: Then,
    /// The present request is said to be the last.
    closes: bool,
    /// Until then it does not say what it has to say.
    pub silent_until: Time,
    /// It ends the connection then, if nothing else happens.
    pub leaves_at: Time,
    peer_ended: bool,
    pub outcome: Outcome,
    /// It does not read for so many steps.
    pub stalled: u32,
    /// It was so at the last look.
    waited: bool,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, reader, asked, sent, then, silent_until, leaves_at, peer_ended, outcome, .. } = self;
        let all = self.out.len();
        write!(
            f,
            "{port}: asked {asked:?} at {reader:?}, {sent} of {all} bytes sent, {then:?} at {silent_until:?}, "
        )?;
        write!(f, "leaves at {leaves_at:?}, peer ended: {peer_ended}, {outcome:?}, stalled {}", self.stalled)
    }
}

impl Service {
    /// With `told` it wants to know first who visits.
    pub fn new(end: EndId, port: u16, told: bool) -> Self {
        Self {
            end,
            port,
            header: told.then(Vec::new),
            announced: None,
            reader: Reader::default(),
            asked: None,
            out: Vec::new(),
            sent: 0,
            then: Then::Listen,
            closes: false,
            silent_until: Time::default(),
            leaves_at: Time::NEVER,
            peer_ended: false,
            outcome: Outcome::Running,
            stalled: 0,
            waited: false,
        }
    }

    /// When it does something by itself.
    pub fn next(&self) -> Time {
        match self.outcome {
            Outcome::Running if self.speaks() => self.silent_until,
            Outcome::Running => self.leaves_at,
            Outcome::Whole | Outcome::Cut => Time::NEVER,
        }
    }

    fn speaks(&self) -> bool {
        self.sent < self.out.len() || self.then != Then::Listen
    }

    /// Does what can be done now; whether anything could.
    pub fn poke(&mut self, world: &mut World, requests: &mut Requests) -> bool {
        self.waited = false;
        if self.outcome != Outcome::Running {
            return false;
        }
        let wrote = self.write(world);
        let read = self.read(world, requests);
        let idle = self.outcome == Outcome::Running && !self.speaks();
        if idle && (self.peer_ended || self.leaves_at <= world.now && self.asked.is_none()) {
            return self.finish(world, Manner::End);
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
            self.finish(world, Manner::Cut);
        }
    }

    fn finish(&mut self, world: &mut World, manner: Manner) -> bool {
        world.close(self.end, manner);
        self.outcome = if manner == Manner::End { Outcome::Whole } else { Outcome::Cut };
        true
    }

    fn write(&mut self, world: &mut World) -> bool {
        if !self.speaks() || self.silent_until > world.now {
            return false;
        }
        if self.sent < self.out.len() {
            let n = (self.out.len() - self.sent)
                .min(1 + world.rng.below(6_000) as usize)
                .min(world.room(self.end));
            if n == 0 {
                return false;
            }
            match world.write(self.end, &self.out[self.sent..self.sent + n]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => return self.finish(world, Manner::Cut),
            }
            return true;
        }
        match self.then {
            Then::Listen => false,
            Then::End => self.finish(world, Manner::End),
            Then::Reset => self.finish(world, Manner::Cut),
        }
    }

    fn read(&mut self, world: &mut World, requests: &mut Requests) -> bool {
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
                let early = self.asked.is_some_and(|(matter, _)| matter.how == How::Early) && !self.speaks();
                assert!(self.reader.is_between() || early, "a request ends in its middle: {self:?}");
                true
            }
            Ok(n) => {
                self.take_all(&buffer[..n], world, requests);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(_) => self.finish(world, Manner::Cut),
        }
    }

    fn take_all(&mut self, mut bytes: &[u8], world: &mut World, requests: &mut Requests) {
        while let [first, rest @ ..] = bytes {
            let body = if self.header.is_none() { self.reader.body(bytes) } else { &[] };
            if body.is_empty() {
                self.take(*first, world, requests);
                bytes = rest;
            } else {
                self.take_body(body, world);
                bytes = &bytes[body.len()..];
            }
        }
    }

    fn take_body(&mut self, bytes: &[u8], world: &mut World) {
        let Some((matter, got)) = &mut self.asked else { panic!("a body of nothing: {self:?}") };
        let wrong = matter.first_wrong(false, *got, bytes);
        assert_eq!(wrong, None, "this byte of a request is wrong: {matter:?}");
        *got += bytes.len() as u64;
        if self.reader.is_over() {
            self.asked_whole(world);
        }
    }

    fn take(&mut self, byte: u8, world: &mut World, requests: &mut Requests) {
        if let Some(header) = &mut self.header {
            header.push(byte);
            match proxy_protocol::parse(header) {
                Ok(Some((Announced::Visitor { from, .. }, _))) => {
                    (self.header, self.announced) = (None, Some(from.ip()));
                }
                Ok(None) => {}
                other => panic!("a real server was told {other:?}: {}", header.escape_ascii()),
            }
            return;
        }
        match self.reader.take(byte) {
            Told::Nothing => {}
            Told::Head(head) => {
                assert!(!self.speaks() && self.asked.is_none(), "asked before it has answered: {self:?}");
                let matter = requests.arrives(&head, self.port, self.announced);
                self.asked = Some((matter, 0));
                self.closes = head.get("connection") == Some("close");
                self.leaves_at = Time::NEVER;
                if matter.how == How::Early {
                    self.answer(world);
                }
                if self.reader.expect(head.framing(Framing::Data(0, false))) {
                    self.asked_whole(world);
                }
            }
            Told::Over => self.asked_whole(world),
        }
    }

    fn asked_whole(&mut self, world: &mut World) {
        let Some((matter, got)) = self.asked else { panic!("an end of nothing: {self:?}") };
        assert_eq!(got, u64::from(matter.up), "the body of a request is cut: {matter:?}");
        if matter.how != How::Early {
            self.answer(world);
        }
        self.asked = None;
    }

    /// Begins to answer.
    fn answer(&mut self, world: &mut World) {
        let Some((matter, _)) = self.asked else { return };
        (self.out, self.sent) = (matter.answer(self.port), 0);
        self.then = match matter.how {
            How::UntilEnd | How::Last | How::Short | How::Hangup => Then::End,
            How::Reset | How::Slam => Then::Reset,
            // Whose body is still to come is read to its end.
            _ if self.closes && matter.how != How::Early => Then::End,
            _ => Then::Listen,
        };
        match matter.how {
            How::Late => {
                self.silent_until = world.now + Span::from_millis(1_000 + world.rng.below(40_000));
            }
            How::Tired => self.leaves_at = world.now + Span::from_millis(world.rng.below(3_000)),
            _ => {}
        }
    }
}
