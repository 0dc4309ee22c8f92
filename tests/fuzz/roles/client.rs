//! A client by itself, and a server that does what the script says: before it has proved the license it is not
//! believed, and after that it cannot have anything dialled but the client's own targets and what `--allow` covers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nt::client::Client;
use nt::policy::Allow;
use nt::reason::Reason;
use nt::role::{Input, Place, Role, Speech};
use nt::slots::Key;
use nt::time::Span;
use nt::wire::{Frame, MAC_BYTES, Reject, SIGNATURE_BYTES, Welcome};

use super::script::Script;
use super::stage::{BINDING, Stage, license};

const PROXIES_MAX: usize = 6;
/// The client's own mappings lead to these ports of its own machine.
const OWN: &str = "6000-6003:7000-7003";

struct Play {
    stage: Stage<Client>,
    allow: Allow,
    /// Connections that are open, and how each is spoken on.
    open: Vec<(Key, Speech)>,
    /// Dials that were looked at.
    seen: usize,
    /// A server that holds the license has spoken.
    welcomed: bool,
}

pub fn play(bytes: &[u8]) {
    let mut script = Script(bytes);
    let allow = ["loopback", "lan", "any", "10.0.0.0/8:80-90"][usize::from(script.byte() % 4)];
    let allow = Allow::parse(allow).expect("a good list");
    let (stage, _) = Stage::greeting(&license(1), allow.clone(), OWN, PROXIES_MAX);
    let mut play = Play { stage, allow, open: vec![], seen: 0, welcomed: false };
    play.look();
    while let Some(action) = script.next() {
        play.act(action, &mut script);
        play.look();
    }
}

impl Play {
    fn act(&mut self, action: u8, script: &mut Script<'_>) {
        let Some((key, speech)) = script.pick(&self.open) else {
            return self.pass(script);
        };
        match action % 12 {
            0 if speech == Speech::Tls => self.stage.step(Input::Secured(key, Some(BINDING))),
            0 => self.stage.step(Input::Dialed(key)),
            1 => self.stage.step(Input::Ended(key)),
            2 => {
                self.stage.closed.push(key);
                self.stage.step(Input::Lost(key, Reason::Reset));
            }
            3 => self.stage.step(Input::Drained(key)),
            4 => self.pass(script),
            5 => self.welcome(key, script.byte() & 1 == 0),
            6 => self.reject(key, script.byte()),
            7 => {
                if let Some(query) = script.pick(&self.stage.queries) {
                    let addresses = (0..script.byte() % 3).map(|_| {
                        let ip = Ipv4Addr::new([127, 10, 192, 8][usize::from(script.byte() % 4)], 0, 0, 1);
                        SocketAddr::from((ip, 80))
                    });
                    let addresses = addresses.collect();
                    self.stage.step(Input::Resolved(query, addresses));
                }
            }
            8 if script.byte() == 0 => self.stage.step(Input::Stop),
            _ => {
                if let Some((frame, bytes)) = script.frame()
                    && speech == Speech::Tls
                    && !matches!(frame, Frame::Transfer(_))
                {
                    self.stage.step(Input::Frame(key, frame, bytes));
                }
            }
        }
    }

    fn pass(&mut self, script: &mut Script<'_>) {
        self.stage.pass(Span::from_millis(u64::from(script.byte()) * 200), 10_000);
        assert!(self.stage.role.deadline() > self.stage.now, "a reminder that never rests");
    }

    /// WELCOME of the right server, where HELLO was said.
    fn welcome(&mut self, key: Key, resumed: bool) {
        if !self.has_greeted(key) {
            return;
        }
        let mut welcome = Welcome { resumed, ..self.stage.welcome(key, &license(1), &BINDING) };
        welcome.mac = self.proof(key, &Frame::Welcome(welcome));
        self.welcomed = true;
        self.stage.say(key, &Frame::Welcome(welcome));
    }

    /// REJECT of the right server, where HELLO was said.
    fn reject(&mut self, key: Key, code: u8) {
        if self.has_greeted(key) {
            let reason = Reason::from_code(code);
            let mut reject = Reject { reason, retry_millis: u32::MAX, mac: [0; MAC_BYTES] };
            reject.mac = self.proof(key, &Frame::Reject(reject));
            self.stage.say(key, &Frame::Reject(reject));
        }
    }

    fn has_greeted(&self, key: Key) -> bool {
        self.stage.heard(key).first().is_some_and(|first| matches!(first, Frame::Hello(_)))
    }

    fn proof(&self, key: Key, answer: &Frame<'_>) -> [u8; MAC_BYTES] {
        let (_, hello) = self.stage.sent.iter().find(|(to, _)| *to == key).expect("a HELLO");
        let hello = &hello[..hello.len() - SIGNATURE_BYTES];
        let encoded = answer.encode();
        let verifier = license(1).verifier();
        verifier.mac_answer(nt::license::Transport::Tls, &BINDING, hello, encoded.unproved(MAC_BYTES))
    }

    /// Whatever the server said: what was dialled is the server, an own target, or allowed.
    fn look(&mut self) {
        for (key, place, speech) in &self.stage.dials[self.seen..] {
            let permitted = match place {
                Place::Ip(address) if *speech == Speech::Tls => {
                    *address == SocketAddr::from(([192, 0, 2, 1], 9002))
                }
                Place::Ip(address) | Place::Udp(address) => {
                    let (ip, port) = (address.ip(), address.port());
                    let own = ip == IpAddr::V4(Ipv4Addr::LOCALHOST) && (7000..7004).contains(&port);
                    own || self.allow.permits(ip, port)
                }
                Place::Unix(path) => self.allow.permits_unix(path),
                Place::Files(path, _) => self.allow.permits_folder(path),
            };
            assert!(permitted, "{place:?} was dialled");
            assert!(self.welcomed || *speech == Speech::Tls, "{place:?} was dialled for a stranger");
            self.open.push((*key, *speech));
        }
        self.seen = self.stage.dials.len();
        let closed = std::mem::take(&mut self.stage.closed);
        self.open.retain(|(key, _)| !closed.contains(key));
        let (ready, proxies, _) = self.stage.role.counts();
        assert!(proxies <= PROXIES_MAX && (self.welcomed || !ready));
        assert!(self.open.len() <= 2 * PROXIES_MAX + 1);
    }
}
