//! A server by itself: strangers, clients and visitors do what the script says, in any order. Whoever proves nothing
//! gets nothing, and no order of events breaks the books.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use nt::door::Door;
use nt::entropy::Entropy;
use nt::http::Scheme;
use nt::license::Transport;
use nt::limits::STRANGERS_MAX;
use nt::reason::Reason;
use nt::role::{Input, Keys, Role, ServerSettings, Settings};
use nt::server::{Config, Server};
use nt::slots::Key;
use nt::time::Span;
use nt::wire::{Attach, Frame, Hello, MAC_BYTES, SIGNATURE_BYTES, VERSION};

use super::script::Script;
use super::stage::{Stage, directory, license};

const VISITORS_MAX: usize = 6;

struct Play {
    stage: Stage<Server>,
    /// Connections that came to the tunnel port, each with its binding.
    tunnels: Vec<(Key, [u8; 32])>,
    visitors: Vec<Key>,
    /// Visitors that send datagrams: they have no connection that could end.
    flows: Vec<Key>,
    /// Licenses that logged in, and the connections that proved something.
    licenses: BTreeSet<u8>,
    proved: BTreeSet<Key>,
    attaches: usize,
}

pub fn play(bytes: &[u8]) {
    let doors = doors(0);
    let directory = directory(|entry| {
        entry.max_visitors = Some(4);
        entry.max_mappings = Some(4);
    });
    let config = Config { doors, directory, visitors_max: VISITORS_MAX, sessions_max: 4 };
    let mut stage = Stage::new(Server::new(config, Entropy::new([1; 32])));
    stage.step(Input::Start);
    let mut play = Play {
        stage,
        tunnels: vec![],
        visitors: vec![],
        flows: vec![],
        licenses: BTreeSet::new(),
        proved: BTreeSet::new(),
        attaches: 0,
    };
    let mut script = Script(bytes);
    while let Some(action) = script.next() {
        play.act(action, &mut script);
    }
    play.strangers_learned_nothing();
}

/// A door for clients, and others that come and go.
fn doors(kinds: u8) -> Vec<Door> {
    let here = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let others = [
        Door::Names(here(80), Scheme::Http),
        Door::Names(here(81), Scheme::Http),
        Door::Names(here(443), Scheme::Https),
    ];
    let others = others.into_iter().enumerate().filter(|(bit, _)| kinds & 1 << bit != 0);
    [Door::Tunnel(here(9002), Transport::Tls)].into_iter().chain(others.map(|(_, door)| door)).collect()
}

impl Play {
    fn act(&mut self, action: u8, script: &mut Script<'_>) {
        match action % 16 {
            0 | 1 => self.stranger(script),
            2 => self.log_in(script),
            3 => self.attach(script),
            4 => self.visitor(script),
            5 => {
                if let Some((key, address)) = script.pick(&self.stage.listening) {
                    let good = script.byte() & 3 > 0;
                    self.stage.step(if good {
                        Input::Bound(key, address)
                    } else {
                        Input::BindFailed(key, Reason::InUse)
                    });
                }
            }
            6 => self.pass(script),
            7 => self.either(script, Input::Ended),
            8 => self.either(script, |key| Input::Lost(key, Reason::Reset)),
            9 => self.either(script, Input::Drained),
            10 => {
                let revoked = script.byte();
                let licenses = directory(|entry| {
                    entry.revoked = entry.name.ends_with(['1', '2', '3']) && revoked & 3 == 0
                });
                self.stage.step(Input::Licenses(Some(Ok(licenses))));
            }
            11 => match script.byte() {
                0 => self.stage.step(Input::Stop),
                1..100 => self.over(script),
                kinds @ 100..108 => {
                    let settings = ServerSettings { doors: doors(kinds - 100), public_host: None };
                    self.stage.step(Input::Reload(Some(Ok(Settings::Server(settings)))));
                }
                _ => self.frame(script),
            },
            _ => self.frame(script),
        }
        self.keep_open();
        let (sessions, visitors, proxies) = self.stage.role.counts();
        assert!(sessions <= self.licenses.len() && proxies <= self.attaches && visitors <= VISITORS_MAX);
        assert!(self.tunnels.len() <= STRANGERS_MAX + self.proved.len());
    }

    fn keep_open(&mut self) {
        let closed = std::mem::take(&mut self.stage.closed);
        self.tunnels.retain(|(key, _)| !closed.contains(key));
        self.visitors.retain(|key| !closed.contains(key));
        self.flows.retain(|key| !closed.contains(key));
        self.stage.listening.retain(|(key, _)| !closed.contains(key));
    }

    fn stranger(&mut self, script: &mut Script<'_>) {
        let key = self.stage.table.reserve().expect("a key");
        let peer = SocketAddr::from(([192, 0, 2, script.byte()], 1));
        let Some(&(listener, _)) = self.stage.listening.first() else { return };
        self.stage.step(Input::Accepted { listener, key, peer });
        // No two connections share a binding.
        let mut binding = [0xB1; 32];
        binding[..8].copy_from_slice(&key.index().to_be_bytes());
        self.stage.step(Input::Secured(key, Some(binding)));
        self.tunnels.push((key, binding));
    }

    fn log_in(&mut self, script: &mut Script<'_>) {
        let Some((key, binding)) = script.pick(&self.tunnels) else { return };
        let n = script.byte() % 4 + 1;
        let mut hello = Hello {
            version: VERSION,
            license: license(n).id().0,
            instance: [script.byte() % 2; 16],
            counter: u64::from(script.byte()),
            capabilities: 0,
            mappings: u16::from(script.byte() % 8),
            signature: [0; SIGNATURE_BYTES],
        };
        let unsigned = Frame::Hello(hello).encode();
        hello.signature =
            license(n).client_keys().sign_hello(Transport::Tls, &binding, unsigned.unproved(SIGNATURE_BYTES));
        self.licenses.insert(n);
        self.proved.insert(key);
        self.stage.say(key, &Frame::Hello(hello));
    }

    /// A good ATTACH to the last session of a license, for a number that may have been ordered.
    fn attach(&mut self, script: &mut Script<'_>) {
        let (Some((key, binding)), n) = (script.pick(&self.tunnels), script.byte() % 4 + 1) else { return };
        let welcomes: Vec<(Key, [u8; 16])> = self
            .stage
            .sent
            .iter()
            .filter_map(|(to, bytes)| match nt::wire::next(bytes) {
                Ok(Some((Frame::Welcome(welcome), _))) => Some((*to, welcome.session)),
                _ => None,
            })
            .collect();
        let Some((cmd, session)) = script.pick(&welcomes) else { return };
        let Some(&(_, theirs)) = self.tunnels.iter().find(|(key, _)| *key == cmd) else { return };
        let channel = u64::from(script.byte() % 32);
        let keys = license(n).client_keys();
        let mac = keys.attach_key(Transport::Tls, &theirs, &session).mac(Transport::Tls, &binding, channel);
        self.attaches += 1;
        self.proved.insert(key);
        self.stage.say(key, &Frame::Attach(Attach { session, channel, mac }));
    }

    fn visitor(&mut self, script: &mut Script<'_>) {
        let Some((listener, _)) = self.stage.listening.get(1..).and_then(|ports| script.pick(ports)) else {
            return;
        };
        let key = self.stage.table.reserve().expect("a key");
        let sends = self.stage.ports.contains(&listener);
        if sends { &mut self.flows } else { &mut self.visitors }.push(key);
        self.stage.step(Input::Accepted { listener, key, peer: SocketAddr::from(([192, 0, 2, 9], 9)) });
    }

    /// A flow was quiet for too long.
    fn over(&mut self, script: &mut Script<'_>) {
        if let Some(key) = script.pick(&self.flows) {
            self.stage.closed.push(key);
            self.stage.step(Input::Over(key));
        }
    }

    fn pass(&mut self, script: &mut Script<'_>) {
        self.stage.pass(Span::from_millis(u64::from(script.byte()) * 200), 10_000);
        assert!(self.stage.role.deadline() > self.stage.now, "a reminder that never rests");
    }

    /// Something happens to a tunnel connection or a visitor.
    fn either(&mut self, script: &mut Script<'_>, input: impl Fn(Key) -> Input<'static>) {
        let keys: Vec<Key> =
            self.tunnels.iter().map(|(key, _)| *key).chain(self.visitors.iter().copied()).collect();
        if let Some(key) = script.pick(&keys) {
            let input = input(key);
            if let Input::Lost(..) = input {
                self.stage.closed.push(key);
            }
            self.stage.step(input);
        }
    }

    /// What stands in the script is said on a tunnel connection.
    fn frame(&mut self, script: &mut Script<'_>) {
        let Some((key, _)) = script.pick(&self.tunnels) else { return };
        if let Some((frame, bytes)) = script.frame()
            && !matches!(frame, Frame::Transfer(_))
        {
            self.stage.step(Input::Frame(key, frame, bytes));
        }
    }

    /// To whoever proved nothing, nothing was said but a REJECT that says nothing.
    fn strangers_learned_nothing(&self) {
        for (key, bytes) in self.stage.sent.iter().filter(|(key, _)| !self.proved.contains(key)) {
            let said = nt::wire::next(bytes).expect("a frame").expect("a whole frame").0;
            let nothing =
                matches!(said, Frame::Reject(r) if r.reason == Reason::Denied && r.mac == [0; MAC_BYTES]);
            assert!(nothing, "{key:?} was told {said:?}");
        }
    }
}
