//! A role on a stage: it is told things, and what it wishes is written down. No driver, no network.

#![allow(dead_code, unreachable_pub)] // Each test uses what it needs.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use nt::client::{self, Client};
use nt::directory::{Directory, Entry};
use nt::entropy::Entropy;
use nt::license::{License, Transport};
use nt::meter::{Limits, Traffic};
use nt::policy::Allow;
use nt::role::{Input, Keys, Outbox, Place, Query, Role, Speech, Verb};
use nt::server::Server;
use nt::slots::{Key, Slots};
use nt::time::{Span, Time};
use nt::wire::{self, Frame, Hello, MAC_BYTES, SIGNATURE_BYTES, VERSION, Welcome};

/// What the two ends of a TLS connection share on a stage.
pub const BINDING: [u8; 32] = [0xB1; 32];

/// License number `n`.
pub fn license(n: u8) -> License {
    License::from_random([n; 28])
}

/// Nine licenses, each as `edit` makes it.
pub fn directory(edit: impl Fn(&mut Entry)) -> Directory {
    let mut directory = Directory::default();
    for n in 1..=9 {
        let mut entry = Entry::new(&format!("license{n}"), &license(n)).expect("a name");
        edit(&mut entry);
        directory.add(entry).expect("a new name");
    }
    directory
}

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
    /// Where it dialled, and to speak what.
    pub dials: Vec<(Key, Place, Speech)>,
    pub resolved: Vec<String>,
    pub queries: Vec<Query>,
    pub listening: Vec<(Key, SocketAddr)>,
    /// Those of them that take datagrams.
    pub ports: Vec<Key>,
    /// It asked what has passed …
    pub asked: bool,
    /// … and will hear this.
    pub passed: Vec<(Key, Traffic)>,
    /// Its meters, as they were set last.
    pub meters: BTreeMap<Key, (Limits, Option<Key>)>,
    /// What it had kept.
    pub kept: Vec<String>,
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
            dials: vec![],
            resolved: vec![],
            queries: vec![],
            listening: vec![],
            ports: vec![],
            asked: false,
            passed: vec![],
            meters: BTreeMap::new(),
            kept: vec![],
            subjects: vec![],
        }
    }

    pub fn step(&mut self, input: Input<'_>) {
        let (mut verbs, mut bytes) = (Vec::new(), Vec::new());
        self.role.step(self.now, input, &mut Outbox::new(&mut verbs, &mut bytes, &mut self.table));
        let (mut looks, mut reads, mut tries, mut drained) = (0, 0, Vec::new(), Vec::new());
        for verb in verbs {
            match verb {
                Verb::Send(key, range) | Verb::SendSoon(key, range) => {
                    self.sent.push((key, bytes[range].to_vec()))
                }
                Verb::Close(key, _) | Verb::SeeOff(key) => self.closed.push(key),
                Verb::Dial(key, address, speech, _) => {
                    self.dialed.push(key);
                    self.dials.push((key, Place::Ip(address), speech));
                }
                Verb::Reach { raw, place, .. } => {
                    self.dialed.push(raw);
                    self.dials.push((raw, place, Speech::Raw));
                }
                Verb::Resolve(query, name, _) => {
                    self.resolved.push(name);
                    self.queries.push(query);
                }
                Verb::Listen(key, address, _) => self.listening.push((key, address)),
                Verb::ListenUdp { key, address, .. } => {
                    self.listening.push((key, address));
                    self.ports.push(key);
                }
                Verb::Note(note) => self.subjects.push(note.subject()),
                Verb::TellDrained(key) => drained.push(key),
                Verb::LookAround => looks += 1,
                Verb::ReadSettings => reads += 1,
                Verb::TryPorts(ports) => tries.push(vec![None; ports.len()]),
                Verb::ReadMeters => self.asked = true,
                Verb::Meter { key, limits, within } => {
                    let within = within.or_else(|| self.meters.get(&key).and_then(|(_, within)| *within));
                    self.meters.insert(key, (limits, within));
                }
                Verb::KeepCounters(text) => self.kept.push(text),
                _ => {}
            }
        }
        for key in drained {
            self.step(Input::Drained(key));
        }
        for tried in tries {
            self.step(Input::Tried(tried));
        }
        for _ in 0..reads {
            self.step(Input::Reload(None));
        }
        for _ in 0..looks {
            self.step(Input::Licenses(None));
        }
        if std::mem::take(&mut self.asked) {
            let passed = std::mem::take(&mut self.passed);
            self.step(Input::Passed(passed));
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

    /// Wakes the role as it asks until it dials; how long that took.
    pub fn until_dial(&mut self) -> Span {
        let (begun, dials) = (self.now, self.dials.len());
        for _ in 0..1_000 {
            if self.dials.len() > dials {
                return self.now.since(begun);
            }
            self.now = self.now.max(self.role.deadline());
            self.step(Input::Timeout);
        }
        panic!("it does not dial");
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

impl Stage<Server> {
    /// A tunnel connection comes to the first listener, and is secured.
    pub fn stranger(&mut self, binding: [u8; 32]) -> Key {
        let key = self.table.reserve().expect("a key");
        let (peer, listener) = (SocketAddr::from(([192, 0, 2, 1], 1234)), self.listening[0].0);
        self.step(Input::Accepted { listener, key, peer });
        self.step(Input::Secured(key, Some(binding)));
        key
    }

    /// Logs in with license `n`, as the process of this instance; the CmdChannel.
    pub fn log_in(&mut self, n: u8, instance: u8, counter: u64, mappings: u16) -> Key {
        let key = self.stranger(BINDING);
        let mut hello = Hello {
            version: VERSION,
            license: license(n).id().0,
            instance: [instance; 16],
            counter,
            capabilities: 0,
            mappings,
            signature: [0; SIGNATURE_BYTES],
        };
        let encoded = Frame::Hello(hello).encode();
        let keys = license(n).client_keys();
        hello.signature = keys.sign_hello(Transport::Tls, &BINDING, encoded.unproved(SIGNATURE_BYTES));
        self.say(key, &Frame::Hello(hello));
        key
    }

    /// The session that a CmdChannel was welcomed to.
    pub fn session(&self, cmd: Key) -> [u8; 16] {
        let welcome = self.heard(cmd).into_iter().find_map(|frame| match frame {
            Frame::Welcome(welcome) => Some(welcome.session),
            _ => None,
        });
        welcome.expect("a WELCOME")
    }
}

impl Stage<Client> {
    /// A client of this license that has said HELLO over TLS, on the connection that is returned.
    pub fn greeting(license: &License, allow: Allow, mappings: &str, proxies_max: usize) -> (Self, Key) {
        Self::greets(Self::config(license, allow, mappings, proxies_max))
    }

    /// What such a client is made from.
    pub fn config(license: &License, allow: Allow, mappings: &str, proxies_max: usize) -> client::Config {
        client::Config {
            servers: vec![("192.0.2.1".into(), 9002)],
            via: None,
            transport: Transport::Tls,
            license: license.id(),
            keys: license.client_keys(),
            mappings: vec![nt::mapping::parse(mappings).expect("a mapping")],
            visits: vec![],
            allow,
            proxies_max,
            guest: false,
        }
    }

    fn greets(config: client::Config) -> (Self, Key) {
        let mut stage = Self::new(Client::new(config, Entropy::new([2; 32])));
        stage.step(Input::Start);
        let key = stage.dialed[0];
        stage.step(Input::Secured(key, Some(BINDING)));
        (stage, key)
    }

    /// The WELCOME of a server with this license and binding, for the HELLO that was said.
    pub fn welcome(&self, key: Key, license: &License, binding: &[u8; 32]) -> Welcome {
        let (_, hello) = self.sent.iter().find(|(to, _)| *to == key).expect("a HELLO");
        let mut welcome = Welcome {
            version: VERSION,
            session: [5; 16],
            generation: 1,
            capabilities: 0,
            resumed: false,
            mac: [0; MAC_BYTES],
        };
        let encoded = Frame::Welcome(welcome).encode();
        let hello = &hello[..hello.len() - SIGNATURE_BYTES];
        let verifier = license.verifier();
        welcome.mac = verifier.mac_answer(Transport::Tls, binding, hello, encoded.unproved(MAC_BYTES));
        welcome
    }

    /// As [`Self::greeting`], and welcomed.
    pub fn welcomed(license: &License, allow: Allow, mappings: &str, proxies_max: usize) -> (Self, Key) {
        Self::enters(license, Self::config(license, allow, mappings, proxies_max))
    }

    /// As [`Self::welcomed`], with what it is made from.
    pub fn enters(license: &License, config: client::Config) -> (Self, Key) {
        let (mut stage, key) = Self::greets(config);
        let welcome = stage.welcome(key, license, &BINDING);
        stage.say(key, &Frame::Welcome(welcome));
        assert!(stage.role.counts().0, "the client is logged in");
        (stage, key)
    }
}
