//! The client: logs in, declares mappings, brings ProxyChannels, dials real servers.
//!
//! In reading order: this file routes inputs and logs in; [`tunnel`] keeps mappings and ProxyChannels;
//! [`visits`] dials real servers.
//!
//! Losing the CmdChannel costs nothing by itself: the client logs in again with the same instance, and
//! visits go on over their own connections. Only when the server was silent for too long, or no longer
//! knows the instance, are they cut.

mod tunnel;
mod visits;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use crate::channel::cmd::{Beat, Cmd, Pulse};
use crate::channel::proxy::Proxy;
use crate::channel::real::Real;
use crate::entropy::Entropy;
use crate::license::{AttachKey, ClientKeys, LicenseId, Transport};
use crate::limits::{
    BACKOFF_FIRST, BACKOFF_MAX, BACKOFF_RESET_AFTER, CONNECT_TIMEOUT, REFUSED_BACKOFF_FIRST,
    REFUSED_BACKOFF_MAX, REPLACED_BACKOFF, RESOLVE_TIMEOUT, STOP_TIMEOUT,
};
use crate::mapping::{Host, Mapping, Public, Target};
use crate::note::Note;
use crate::policy::Allow;
use crate::reason::Reason;
use crate::role::{Input, Manner, Outbox, Query, Role, Speech, Verb};
use crate::server::plain_binding;
use crate::slots::{Key, Table};
use crate::time::{Span, Time};
use crate::timers::Timers;
use crate::wire::{Frame, Hello, MAC_BYTES, Reject, SIGNATURE_BYTES, VERSION, Welcome};
use tunnel::MapState;

/// What a client is made from.
#[derive(Debug)]
pub struct Config {
    /// Servers, tried in turn.
    pub servers: Vec<(String, u16)>,
    /// Over TLS, or plainly.
    pub transport: Transport,
    /// The license's public name.
    pub license: LicenseId,
    /// The license's keys.
    pub keys: ClientKeys,
    /// Mappings to declare; each is served by this version.
    pub mappings: Vec<Mapping>,
    /// Targets that the server may ask for.
    pub allow: Allow,
    /// ProxyChannels at once.
    pub proxies_max: usize,
}

/// The client role.
#[derive(Debug)]
pub struct Client {
    config: Config,
    entropy: Entropy,
    timers: Timers<Due>,
    cmd: Cmd,
    channels: Table<Channel>,
    instance: [u8; 16],
    logins: u64,
    /// Which server is tried.
    server: usize,
    /// Longest pause before the next attempt; refused ones are slower.
    pause: Span,
    refused_pause: Span,
    session: Option<Session>,
    /// State of the declared mappings, by index.
    states: Vec<MapState>,
    next_map: usize,
    /// Mappings that the server declared and this client took, by index.
    offers: BTreeMap<u16, (Target, MapState)>,
    /// Visits taken lately.
    taken: VecDeque<u64>,
    queries: BTreeMap<Query, Key>,
    last_query: u64,
    proxies: usize,
    /// When the visits of a session without CmdChannel are given up.
    alive_until: Time,
    stopping: bool,
}

/// What a login gave.
#[derive(Debug)]
struct Session {
    id: [u8; 16],
    attach: AttachKey,
}

/// What a connection is to the client. The CmdChannel is [`Client::cmd`] itself.
#[derive(Debug)]
enum Channel {
    /// A ProxyChannel that is being made; it will attach under this number.
    Coming { number: u64, nonce: Option<[u8; 32]>, deadline: Time },
    /// A ProxyChannel.
    Proxy(ProxyChannel),
    /// The real server's side of this ProxyChannel.
    Real(Key),
}

#[derive(Debug)]
struct ProxyChannel {
    state: Proxy,
    /// The visit's other side, while one is on.
    real: Option<Real>,
    /// What the visit is for.
    mapping: u16,
    /// When a drain is given up.
    deadline: Time,
}

/// What a reminder is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The control connection.
    Cmd,
    /// A ProxyChannel: being made, dialling, or draining.
    Proxy(Key),
    /// Visits without a session.
    Silence,
    /// Visits had their time to end.
    Stop,
}

impl Role for Client {
    fn step(&mut self, now: Time, input: Input<'_>, out: &mut Outbox<'_>) {
        match input {
            Input::Start => {
                out.note(Note::Connecting { server: self.server_name() });
                self.attempt(now, out);
            }
            Input::Timeout => self.timeout(now, out),
            Input::Resolved(query, addresses) => self.resolved(now, query, addresses, out),
            Input::Dialed(key) => self.real_dialed(now, key, out),
            Input::Secured(key, binding) => self.secured(now, key, binding, out),
            Input::Frame(key, frame, _) => self.frame(now, key, frame, out),
            Input::Ended(key) => self.ended(now, key, out),
            Input::Lost(key, reason) => self.lost(now, key, reason, out),
            Input::Drained(key) => self.drained(key, out),
            Input::Stop => self.stop(now, out),
            Input::Bound(..)
            | Input::BindFailed(..)
            | Input::Accepted { .. }
            | Input::Bytes(..)
            | Input::Licenses(_) => {}
        }
    }

    fn deadline(&self) -> Time {
        self.timers.next()
    }

    fn check(&self) {
        self.check_books();
    }
}

impl Client {
    /// A client that has not started.
    pub fn new(config: Config, mut entropy: Entropy) -> Self {
        let mut instance = [0; 16];
        entropy.fill(&mut instance);
        let states = config.mappings.iter().map(|_| MapState::default()).collect();
        Self {
            config,
            entropy,
            timers: Timers::default(),
            cmd: Cmd::Resting { until: Time::default() },
            channels: Table::default(),
            instance,
            logins: 0,
            server: 0,
            pause: BACKOFF_FIRST,
            refused_pause: REFUSED_BACKOFF_FIRST,
            session: None,
            states,
            next_map: 0,
            offers: BTreeMap::new(),
            taken: VecDeque::new(),
            queries: BTreeMap::new(),
            last_query: 0,
            proxies: 0,
            alive_until: Time::NEVER,
            stopping: false,
        }
    }

    /// Whether it is logged in, and how many ProxyChannels and visits there are: for status and tests.
    pub fn counts(&self) -> (bool, usize, usize) {
        let visits =
            self.channels.iter().filter(|(_, c)| matches!(c, Channel::Proxy(p) if p.real.is_some())).count();
        (matches!(self.cmd, Cmd::Ready { .. }), self.proxies, visits)
    }

    // ── One attempt to log in, from top to bottom ───────────────────────────────────────────────────────────────

    fn attempt(&mut self, now: Time, out: &mut Outbox<'_>) {
        let (host, port) = self.config.servers[self.server].clone();
        let query = self.query();
        self.set_cmd(Cmd::Resolving { query: query.0, deadline: now + RESOLVE_TIMEOUT });
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(ip) => self.dial_server(now, vec![SocketAddr::new(ip, port)], Reason::Unreachable, out),
            Err(_) => out.push(Verb::Resolve(query, host, port)),
        }
    }

    fn query(&mut self) -> Query {
        self.last_query += 1;
        Query(self.last_query)
    }

    fn resolved(&mut self, now: Time, query: Query, addresses: Vec<SocketAddr>, out: &mut Outbox<'_>) {
        if let Some(proxy) = self.queries.remove(&query) {
            self.target_resolved(now, proxy, addresses, out);
        } else if matches!(self.cmd, Cmd::Resolving { query: ours, .. } if ours == query.0) {
            self.dial_server(now, addresses, Reason::NoSuchHost, out);
        }
    }

    fn dial_server(
        &mut self,
        now: Time,
        mut addresses: Vec<SocketAddr>,
        otherwise: Reason,
        out: &mut Outbox<'_>,
    ) {
        if addresses.is_empty() {
            return self.rest(now, otherwise, out);
        }
        let rest = addresses.split_off(1);
        let address = addresses[0];
        match out.dial(address, self.speech()) {
            Some(key) => self.set_cmd(Cmd::Dialing { key, address, rest, deadline: now + CONNECT_TIMEOUT }),
            None => self.rest(now, Reason::System, out),
        }
    }

    fn speech(&self) -> Speech {
        match self.config.transport {
            Transport::Tls => Speech::Tls,
            Transport::Plain => Speech::Plain,
        }
    }

    fn secured(&mut self, now: Time, key: Key, binding: Option<[u8; 32]>, out: &mut Outbox<'_>) {
        if let Some(Channel::Coming { .. }) = self.channels.get(key) {
            return self.proxy_secured(key, binding, out);
        }
        let Cmd::Dialing { key: ours, address, .. } = self.cmd else { return };
        if ours != key {
            return;
        }
        match binding {
            Some(binding) => self.greet(now, key, address, binding, out),
            None => {
                let nonce = self.send_nonce(key, out);
                self.set_cmd(Cmd::Noncing { key, address, nonce, deadline: now + CONNECT_TIMEOUT });
            }
        }
    }

    fn send_nonce(&mut self, key: Key, out: &mut Outbox<'_>) -> [u8; 32] {
        let mut nonce = [0; 32];
        self.entropy.fill(&mut nonce);
        out.send(key, &Frame::Nonce(nonce));
        nonce
    }

    fn greet(&mut self, now: Time, key: Key, address: SocketAddr, binding: [u8; 32], out: &mut Outbox<'_>) {
        self.logins += 1;
        let mut hello = Hello {
            version: VERSION,
            license: self.config.license.0,
            instance: self.instance,
            counter: self.logins,
            capabilities: 0,
            mappings: u16::try_from(self.config.mappings.len()).unwrap_or(u16::MAX),
            signature: [0; SIGNATURE_BYTES],
        };
        let signed = Frame::Hello(hello).encode().unproved(SIGNATURE_BYTES).to_vec();
        hello.signature = self.config.keys.sign_hello(self.config.transport, &binding, &signed);
        out.send(key, &Frame::Hello(hello));
        self.set_cmd(Cmd::Greeting { key, address, binding, hello: signed, deadline: now + CONNECT_TIMEOUT });
    }

    /// A frame on the control connection.
    fn cmd_spoke(&mut self, now: Time, frame: Frame<'_>, out: &mut Outbox<'_>) -> bool {
        match (&mut self.cmd, frame) {
            (&mut Cmd::Noncing { key, address, nonce, .. }, Frame::Nonce(theirs)) => {
                self.greet(now, key, address, plain_binding(&nonce, &theirs), out);
                true
            }
            (Cmd::Greeting { .. }, Frame::Welcome(welcome)) => self.welcomed(now, &welcome, out),
            (Cmd::Greeting { .. }, Frame::Reject(reject)) => {
                self.rejected(now, &reject, out);
                true
            }
            (Cmd::Ready { pulse, .. }, frame) => {
                pulse.heard(now);
                self.alive_until = pulse.dead_at();
                self.session_spoke(now, frame, out)
            }
            _ => false,
        }
    }

    fn welcomed(&mut self, now: Time, welcome: &Welcome, out: &mut Outbox<'_>) -> bool {
        let Cmd::Greeting { key, address, binding, hello, .. } = &self.cmd else { return false };
        let (key, address, transport) = (*key, *address, self.config.transport);
        let encoded = Frame::Welcome(*welcome).encode();
        let answer = encoded.unproved(MAC_BYTES);
        // Before this holds, nothing that came from the other end is believed.
        if !self.config.keys.check_welcome(transport, binding, hello, answer, &welcome.mac) {
            return false;
        }
        let attach = self.config.keys.attach_key(transport, binding, &welcome.session);
        self.session = Some(Session { id: welcome.session, attach });
        let pulse = Pulse::new(now);
        self.alive_until = pulse.dead_at();
        self.set_cmd(Cmd::Ready { key, address, pulse, since: now });
        out.note(Note::Connected { server: self.server_name(), resumed: welcome.resumed });
        self.drop_channels(!welcome.resumed, out);
        self.declare_all(out);
        true
    }

    fn rejected(&mut self, now: Time, reject: &Reject, out: &mut Outbox<'_>) {
        let Cmd::Greeting { binding, hello, .. } = &self.cmd else { return };
        let encoded = Frame::Reject(*reject).encode();
        let answer = encoded.unproved(MAC_BYTES);
        let proved =
            self.config.keys.check_welcome(self.config.transport, binding, hello, answer, &reject.mac);
        // Whoever cannot prove the license may only be told "denied".
        let reason = if proved { reject.reason } else { Reason::Denied };
        match reason {
            Reason::Stopping | Reason::Busy | Reason::Stale => self.rest(now, reason, out),
            _ => {
                let pause = self.refused_pause;
                if proved {
                    self.refused_pause = pause.doubled(REFUSED_BACKOFF_MAX);
                }
                self.rest_for(now, pause, reason, out);
            }
        }
    }

    /// A frame of a session that is up.
    fn session_spoke(&mut self, now: Time, frame: Frame<'_>, out: &mut Outbox<'_>) -> bool {
        match frame {
            Frame::Heartbeat => true,
            Frame::Mapped(mapped) => self.mapping_answered(&mapped, out),
            Frame::Map(map) => self.offered(&map, out),
            Frame::Open { first, count } => {
                self.bring_proxies(now, first, count, out);
                true
            }
            Frame::Goodbye { reason, .. } => {
                match reason {
                    Reason::Stopping => self.rest(now, reason, out),
                    Reason::Replaced => {
                        self.drop_channels(true, out);
                        self.rest_for(now, REPLACED_BACKOFF, reason, out);
                    }
                    _ => {
                        self.drop_channels(true, out);
                        let pause = self.refused_pause;
                        self.refused_pause = pause.doubled(REFUSED_BACKOFF_MAX);
                        self.rest_for(now, pause, reason, out);
                    }
                }
                true
            }
            _ => false,
        }
    }

    // ── The end of an attempt or a session ──────────────────────────────────────────────────────────────────────

    /// Pauses for a random while below the present bound; the next server has its turn.
    fn rest(&mut self, now: Time, reason: Reason, out: &mut Outbox<'_>) {
        if let Cmd::Ready { since, .. } = self.cmd
            && now.since(since) >= BACKOFF_RESET_AFTER
        {
            (self.pause, self.refused_pause) = (BACKOFF_FIRST, REFUSED_BACKOFF_FIRST);
        }
        let pause = Span::from_micros(self.entropy.below(self.pause.as_micros() + 1));
        self.pause = self.pause.doubled(BACKOFF_MAX);
        self.server = (self.server + 1) % self.config.servers.len();
        self.rest_for(now, pause, reason, out);
    }

    fn rest_for(&mut self, now: Time, pause: Span, reason: Reason, out: &mut Outbox<'_>) {
        if let Some(key) = self.cmd.key() {
            out.close(key, Manner::Cut);
        }
        out.note(Note::Disconnected { server: self.server_name(), reason, retry: pause });
        self.set_cmd(Cmd::Resting { until: now + pause });
        self.timers.remind(self.alive_until.max(now), Due::Silence);
    }

    fn set_cmd(&mut self, cmd: Cmd) {
        self.timers.remind(cmd.deadline(), Due::Cmd);
        self.cmd = cmd;
    }

    fn server_name(&self) -> String {
        let (host, port) = &self.config.servers[self.server];
        format!("{host}:{port}")
    }

    // ── Routing ─────────────────────────────────────────────────────────────────────────────────────────────────

    fn frame(&mut self, now: Time, key: Key, frame: Frame<'_>, out: &mut Outbox<'_>) {
        let good = if self.cmd.key() == Some(key) {
            self.cmd_spoke(now, frame, out)
        } else {
            match self.channels.get(key) {
                None => return,
                Some(Channel::Coming { .. }) => self.coming_spoke(key, frame, out),
                Some(Channel::Proxy(_)) => self.proxy_spoke(now, key, frame, out),
                Some(Channel::Real(_)) => false,
            }
        };
        if !good {
            out.close(key, Manner::Cut);
            self.lost(now, key, Reason::Protocol, out);
        }
    }

    fn ended(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        if let Some(&Channel::Real(proxy)) = self.channels.get(key) {
            self.real_ended(now, proxy, out);
        } else {
            out.close(key, Manner::Cut);
            self.lost(now, key, Reason::Ended, out);
        }
    }

    fn lost(&mut self, now: Time, key: Key, reason: Reason, out: &mut Outbox<'_>) {
        if self.cmd.key() == Some(key) {
            // Another address of the server may be better.
            if let Cmd::Dialing { rest, .. } = &mut self.cmd
                && !rest.is_empty()
            {
                let rest = std::mem::take(rest);
                return self.dial_server(now, rest, reason, out);
            }
            return self.rest(now, reason, out);
        }
        match self.channels.remove(key) {
            None => {}
            Some(Channel::Coming { .. }) => self.proxies -= 1,
            Some(Channel::Proxy(proxy)) => self.proxy_lost(proxy, out),
            Some(Channel::Real(proxy)) => self.real_lost(now, key, proxy, reason, out),
        }
        self.stop_if_idle(out);
    }

    fn timeout(&mut self, now: Time, out: &mut Outbox<'_>) {
        while let Some(due) = self.timers.due(now) {
            match due {
                Due::Cmd => self.cmd_due(now, out),
                Due::Proxy(key) => self.proxy_due(now, key, out),
                Due::Silence => {
                    if !matches!(self.cmd, Cmd::Ready { .. }) && self.alive_until <= now {
                        self.alive_until = Time::NEVER;
                        self.drop_channels(true, out);
                    }
                }
                Due::Stop => self.quit(out),
            }
        }
    }

    fn cmd_due(&mut self, now: Time, out: &mut Outbox<'_>) {
        if self.cmd.deadline() > now {
            return;
        }
        match &mut self.cmd {
            Cmd::Resting { .. } => {
                if !self.stopping {
                    self.attempt(now, out);
                }
            }
            Cmd::Resolving { .. } => self.rest(now, Reason::NoSuchHost, out),
            Cmd::Dialing { key, .. } => {
                let key = *key;
                out.close(key, Manner::Cut);
                self.lost(now, key, Reason::TimedOut, out);
            }
            Cmd::Noncing { .. } | Cmd::Greeting { .. } => self.rest(now, Reason::TimedOut, out),
            Cmd::Ready { key, pulse, .. } => match pulse.beat(now) {
                Beat::Dead => {
                    self.drop_channels(true, out);
                    self.rest(now, Reason::Silent, out);
                }
                Beat::Speak => {
                    out.send(*key, &Frame::Heartbeat);
                    self.timers.remind(self.cmd.deadline(), Due::Cmd);
                }
                Beat::Rest => self.timers.remind(self.cmd.deadline(), Due::Cmd),
            },
        }
    }

    // ── Stopping ────────────────────────────────────────────────────────────────────────────────────────────────

    fn stop(&mut self, now: Time, out: &mut Outbox<'_>) {
        if self.stopping {
            return self.quit(out);
        }
        self.stopping = true;
        out.note(Note::Stopping { visits: self.counts().2 });
        self.timers.remind(now + STOP_TIMEOUT, Due::Stop);
        self.stop_if_idle(out);
    }

    fn stop_if_idle(&mut self, out: &mut Outbox<'_>) {
        if self.stopping && self.counts().2 == 0 {
            self.quit(out);
        }
    }

    fn quit(&mut self, out: &mut Outbox<'_>) {
        if let Cmd::Ready { key, .. } = self.cmd {
            out.send(key, &Frame::Goodbye { reason: Reason::Stopping, retry_millis: 0 });
        }
        out.push(Verb::Exit(0));
    }

    /// The books agree with each other; for tests, after every step.
    fn check_books(&self) {
        let mut proxies = 0;
        for (key, channel) in self.channels.iter() {
            match channel {
                Channel::Coming { .. } => proxies += 1,
                Channel::Proxy(proxy) => {
                    proxies += 1;
                    assert!(
                        proxy.real.is_none() || matches!(proxy.state, Proxy::Visit { .. }),
                        "{key:?}: a real server without a visit"
                    );
                    if let Some(real) = proxy.real.as_ref().and_then(Real::key) {
                        assert!(matches!(self.channels.get(real), Some(&Channel::Real(back)) if back == key));
                    }
                }
                Channel::Real(proxy) => {
                    let Some(Channel::Proxy(proxy)) = self.channels.get(*proxy) else {
                        panic!("a real server of nobody")
                    };
                    assert_eq!(
                        proxy.real.as_ref().and_then(Real::key),
                        Some(key),
                        "real server and ProxyChannel disagree"
                    );
                }
            }
        }
        assert_eq!(proxies, self.proxies);
    }
}
