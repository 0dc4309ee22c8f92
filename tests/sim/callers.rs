//! Callers: visitors who speak HTTP, one request after the other on one connection. What is answered must be the answer to
//! that very request, of a real server that serves it, whole; or a page of nt's own that this request may get.

use std::{fmt, io};

use nt::role::Manner;
use nt::time::{Span, Time};

use crate::actors::Outcome;
use crate::messages::{Framing, Head, Matter, Reader, Told};
use crate::net::{EndId, World};

/// Where a request is for.
#[derive(Clone, Debug)]
pub struct Name {
    pub host: String,
    pub prefix: &'static str,
    /// The real servers that may be asked; nobody serves it where there are none.
    pub reals: Vec<u16>,
}

/// What a caller is to say, and how long it waits before.
#[derive(Clone, Debug)]
pub enum Asking {
    /// A request; it is the last one if it `closes`.
    Request { name: Name, matter: Matter, closes: bool, pause: Span },
    /// What is no HTTP.
    Garbage(Vec<u8>),
    /// The head of a request, without its end.
    Unfinished(Vec<u8>),
}

/// What is said of whom a request comes from, and not true.
const FORGED: &str = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nx_forwarded_for: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n";

impl Asking {
    /// What caller `id` says as its saying of this number.
    pub fn say(self, id: u32, number: u32) -> Saying {
        match self {
            Self::Request { name, matter, closes, pause } => {
                let matter = Matter { id, number, ..matter };
                let forged = if id.is_multiple_of(3) { FORGED } else { "" };
                let headers = format!("{forged}{}", if closes { "Connection: close\r\n" } else { "" });
                let bytes = matter.request(&name.host, name.prefix, &headers);
                Saying { words: Words::Request(matter, name), bytes, pause }
            }
            Self::Garbage(bytes) => Saying { words: Words::Garbage, bytes, pause: Span::ZERO },
            Self::Unfinished(bytes) => Saying { words: Words::Unfinished, bytes, pause: Span::ZERO },
        }
    }
}

/// What a caller says.
#[derive(Clone, Debug)]
pub enum Words {
    /// A request, and where it is for.
    Request(Matter, Name),
    /// What is no HTTP.
    Garbage,
    /// The head of a request, without its end.
    Unfinished,
}

/// One thing that it says, and how long it waits before.
#[derive(Clone)]
pub struct Saying {
    pub words: Words,
    pub bytes: Vec<u8>,
    pub pause: Span,
}

/// How it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// It ends the connection when it has all answers …
    Ends,
    /// … or its own direction as soon as it has said everything …
    HalfCloses,
    /// … or stays until it is let go.
    Stays,
    /// In the middle: it resets after so many bytes of its own, or of answers …
    ResetsAt(usize),
    ResetsHaving(usize),
    /// … or ends its direction after so many of its own.
    EndsAt(usize),
}

impl fmt::Debug for Saying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} after {:?}", self.words, self.pause)
    }
}

/// A visitor who speaks HTTP.
pub struct Caller {
    pub end: EndId,
    pub id: u32,
    sayings: Vec<Saying>,
    /// It does not wait for answers.
    pub pipelines: bool,
    /// It sends each byte alone.
    pub dribbles: bool,
    pub parting: Parting,
    /// So many of them stand in `out`, or did.
    said: usize,
    out: Vec<u8>,
    sent: usize,
    speaks_at: Time,
    shut: bool,
    reader: Reader,
    /// What is being answered with which status, and bytes of that; `None` where nt itself does.
    answer: Option<(Option<Matter>, u16, u64)>,
    /// The status of each answer that is whole, and whether it is nt's own.
    pub answers: Vec<(u16, bool)>,
    /// No answer may follow.
    last: bool,
    got: usize,
    pub outcome: Outcome,
    /// When it was over.
    pub over_at: Time,
    /// It does not read for so many steps.
    pub stalled: u32,
    /// It was so at the last look.
    waited: bool,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, said, sent, got, shut, answer, answers, last, outcome, reader, .. } = self;
        write!(f, "caller {id}: {:?}, pipelines: {}, {:?}, ", self.sayings, self.pipelines, self.parting)?;
        write!(
            f,
            "said {said}, {sent} bytes sent and {got} got, shut: {shut}, {outcome:?}, stalled {}, ",
            self.stalled
        )?;
        write!(f, "answers {answers:?}, last: {last}, now {answer:?} at {reader:?}")
    }
}

impl Caller {
    pub fn new(end: EndId, id: u32, now: Time, sayings: Vec<Saying>) -> Self {
        Self {
            end,
            id,
            speaks_at: now + sayings[0].pause,
            sayings,
            pipelines: false,
            dribbles: false,
            parting: Parting::Stays,
            said: 0,
            out: Vec::new(),
            sent: 0,
            shut: false,
            reader: Reader::default(),
            answer: None,
            answers: Vec::new(),
            last: false,
            got: 0,
            outcome: Outcome::Running,
            over_at: Time::NEVER,
            stalled: 0,
            waited: false,
        }
    }

    /// When it does something by itself.
    pub fn next(&self) -> Time {
        if self.outcome == Outcome::Running && self.may_say_more() { self.speaks_at } else { Time::NEVER }
    }

    fn may_say_more(&self) -> bool {
        let ready = self.pipelines || self.said == self.answers.len();
        self.said < self.sayings.len() && ready && !self.last && !self.shut
    }

    /// Whether all of them were answered by a real server.
    pub fn is_served(&self) -> bool {
        self.answers.len() == self.sayings.len() && self.answers.iter().all(|(_, own)| !own)
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
        world.close(self.end, if outcome == Outcome::Whole { Manner::End } else { Manner::Cut });
        (self.outcome, self.over_at) = (outcome, world.now);
        true
    }

    fn write(&mut self, world: &mut World) -> bool {
        if self.may_say_more() && self.speaks_at <= world.now {
            self.out.extend(&self.sayings[self.said].bytes);
            self.said += 1;
            let next = self.sayings.get(self.said).map_or(Span::ZERO, |saying| saying.pause);
            self.speaks_at = world.now + next;
        }
        if self.shut {
            return false;
        }
        let most = match self.parting {
            Parting::ResetsAt(at) if self.sent >= at => return self.finish(world, Outcome::Cut),
            Parting::EndsAt(at) if self.sent >= at => return self.shut(world),
            Parting::ResetsAt(at) | Parting::EndsAt(at) => at,
            _ => usize::MAX,
        };
        let end = self.out.len().min(most);
        if self.sent == end {
            let all = self.said == self.sayings.len();
            let answered = all && self.answers.len() == self.said;
            return match self.parting {
                Parting::Ends if answered => self.shut(world),
                Parting::HalfCloses if all => self.shut(world),
                _ => false,
            };
        }
        let most = if self.dribbles { 1 } else { 1 + world.rng.below(6_000) as usize };
        let mut wrote = false;
        for _ in 0..16 {
            let n = most.min(end - self.sent).min(world.room(self.end));
            if n == 0 {
                break;
            }
            match world.write(self.end, &self.out[self.sent..self.sent + n]) {
                Ok(n) => (self.sent, wrote) = (self.sent + n, true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return self.finish(world, Outcome::Cut),
            }
        }
        wrote
    }

    fn shut(&mut self, world: &mut World) -> bool {
        world.shut(self.end);
        self.shut = true;
        true
    }

    fn read(&mut self, world: &mut World) -> bool {
        if self.outcome != Outcome::Running {
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
                if self.reader.ends_with_connection() {
                    self.answered(world.now);
                }
                assert!(self.reader.is_between(), "an answer is cut, and looks whole: {self:?}");
                self.finish(world, Outcome::Whole)
            }
            Ok(n) => {
                self.got += n;
                self.take_all(&buffer[..n], world.now);
                if matches!(self.parting, Parting::ResetsHaving(at) if self.got >= at) {
                    self.finish(world, Outcome::Cut);
                }
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(_) => self.finish(world, Outcome::Cut),
        }
    }

    fn take_all(&mut self, mut bytes: &[u8], now: Time) {
        while let [first, rest @ ..] = bytes {
            let body = self.reader.body(bytes);
            if body.is_empty() {
                self.take(*first, now);
                bytes = rest;
            } else {
                self.take_body(body, now);
                bytes = &bytes[body.len()..];
            }
        }
    }

    fn take_body(&mut self, bytes: &[u8], now: Time) {
        let Some((matter, _, got)) = &mut self.answer else { panic!("a body of nothing: {self:?}") };
        let wrong = matter.and_then(|matter| matter.first_wrong(true, *got, bytes));
        assert_eq!(wrong, None, "this byte of the answer to {matter:?} is wrong");
        *got += bytes.len() as u64;
        if self.reader.is_over() {
            self.answered(now);
        }
    }

    fn take(&mut self, byte: u8, now: Time) {
        assert!(!self.last || !self.reader.is_between(), "an answer behind the last one: {self:?}");
        match self.reader.take(byte) {
            Told::Nothing => {}
            Told::Head(head) if head.status() == 100 => {}
            Told::Head(head) => {
                if self.begin(&head) {
                    self.answered(now);
                }
            }
            Told::Over => self.answered(now),
        }
    }

    /// An answer begins; whether that is all of it.
    fn begin(&mut self, head: &Head) -> bool {
        let saying = self.sayings.get(self.answers.len()).filter(|_| self.answers.len() < self.said);
        let Some(saying) = saying else { panic!("an answer to nothing: {head:?}, {self:?}") };
        self.last = head.get("connection") == Some("close");
        let own = head.get("x-answers").is_none();
        let framing = match (&saying.words, own) {
            (Words::Request(matter, name), false) => {
                let which = format!("{}/{}", matter.id, matter.number);
                assert_eq!(head.get("x-answers"), Some(&*which), "the answer to another request");
                let by = head.get("x-by").and_then(|by| by.parse().ok()).expect("whose it is");
                assert!(name.reals.contains(&by), "{by} has answered {matter:?}, which is for {name:?}");
                self.answer = Some((Some(*matter), head.status(), 0));
                let empty = matter.method == "HEAD" || head.status() == 204;
                if empty { Framing::Data(0, false) } else { head.framing(Framing::UntilEnd) }
            }
            (words, false) => panic!("a real server has answered {words:?}"),
            (words, true) => {
                let known: &[u16] = match words {
                    // That may have been within a head.
                    _ if matches!(self.parting, Parting::EndsAt(_)) => &[400, 404, 408, 502, 503, 504],
                    Words::Request(_, name) if name.reals.is_empty() => &[404],
                    Words::Request(..) => &[404, 502, 503, 504],
                    Words::Garbage => &[400],
                    Words::Unfinished => &[408],
                };
                assert!(known.contains(&head.status()), "{words:?} is answered by {}", head.first);
                self.answer = Some((None, head.status(), 0));
                let to_head = matches!(words, Words::Request(matter, _) if matter.method == "HEAD");
                if to_head { Framing::Data(0, false) } else { head.framing(Framing::UntilEnd) }
            }
        };
        self.last |= framing == Framing::UntilEnd;
        self.reader.expect(framing)
    }

    /// An answer is over.
    fn answered(&mut self, now: Time) {
        let Some((matter, status, got)) = self.answer.take() else { panic!("an end of nothing: {self:?}") };
        if let Some(matter) = matter {
            assert!(matter.may_be_answered(), "half an answer looks whole: {matter:?}");
            assert_eq!(
                got,
                u64::from(matter.answer_bytes()),
                "an answer is cut, and looks whole: {matter:?}"
            );
        }
        self.answers.push((status, matter.is_none()));
        self.reader = Reader::default();
        let pause = self.sayings.get(self.said).map_or(Span::ZERO, |saying| saying.pause);
        self.speaks_at = now + pause;
    }
}
