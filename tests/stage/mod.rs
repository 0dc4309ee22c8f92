//! A role on a stage: it is told things, and what it wishes is written down. No driver, no network.

#![allow(dead_code, unreachable_pub)] // Each test uses what it needs.

use std::net::SocketAddr;

use nt::role::{Input, Keys, Outbox, Role, Verb};
use nt::slots::{Key, Slots};
use nt::time::{Span, Time};
use nt::wire::{self, Frame};

pub struct Table(Slots<()>);

impl Keys for Table {
    fn reserve(&mut self) -> Option<Key> {
        self.0.insert(())
    }
}

/// A role, its clock, and what it wished so far.
pub struct Stage<R> {
    pub role: R,
    pub now: Time,
    pub table: Table,
    pub sent: Vec<(Key, Vec<u8>)>,
    pub closed: Vec<Key>,
    pub dialed: Vec<Key>,
    pub resolved: Vec<String>,
    pub listening: Vec<(Key, SocketAddr)>,
    /// What was news about what.
    pub subjects: Vec<String>,
}

impl<R: Role> Stage<R> {
    pub fn new(role: R) -> Self {
        Self {
            role,
            now: Time::from_micros(1_000_000),
            table: Table(Slots::default()),
            sent: vec![],
            closed: vec![],
            dialed: vec![],
            resolved: vec![],
            listening: vec![],
            subjects: vec![],
        }
    }

    pub fn step(&mut self, input: Input<'_>) {
        let (mut verbs, mut bytes) = (Vec::new(), Vec::new());
        self.role.step(self.now, input, &mut Outbox::new(&mut verbs, &mut bytes, &mut self.table));
        let mut looks = 0;
        for verb in verbs {
            match verb {
                Verb::Send(key, range) | Verb::SendSoon(key, range) => {
                    self.sent.push((key, bytes[range].to_vec()))
                }
                Verb::Close(key, _) => self.closed.push(key),
                Verb::Dial(key, ..) => self.dialed.push(key),
                Verb::Resolve(_, name, _) => self.resolved.push(name),
                Verb::Listen(key, address, _) => self.listening.push((key, address)),
                Verb::Note(note) => self.subjects.push(note.subject()),
                Verb::PollLicenses => looks += 1,
                _ => {}
            }
        }
        for _ in 0..looks {
            self.step(Input::Licenses(None));
        }
        self.role.check();
    }

    /// A frame comes in.
    pub fn say(&mut self, key: Key, frame: &Frame<'_>) {
        self.raw(key, frame.encode().bytes());
    }

    /// A frame comes in, as bytes.
    pub fn raw(&mut self, key: Key, bytes: &[u8]) {
        let (frame, used) = wire::next(bytes).expect("a frame").expect("a whole frame");
        assert_eq!(used, bytes.len());
        self.step(Input::Frame(key, frame, bytes));
    }

    /// All that went to a connection.
    pub fn heard(&self, key: Key) -> Vec<Frame<'_>> {
        let to = self.sent.iter().filter(|(to, _)| *to == key);
        to.map(|(_, bytes)| wire::next(bytes).expect("a frame").expect("a whole frame").0).collect()
    }

    /// What went to a connection last.
    pub fn answer(&self, key: Key) -> Option<Frame<'_>> {
        self.heard(key).pop()
    }

    /// Time passes; the role is woken as it asks, up to `most` times.
    pub fn pass(&mut self, span: Span, most: usize) {
        let until = self.now + span;
        for _ in 0..most {
            let next = self.role.deadline();
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            self.step(Input::Timeout);
        }
        self.now = until;
    }
}
