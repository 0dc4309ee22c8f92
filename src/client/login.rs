//! The client's login: one attempt from top to bottom, and the pause after one that failed.
//!
//! Every step has its deadline; whichever way an attempt or a session ends, it ends in [`Client::rest`], so
//! that there is one place where a client waits, and nothing after which it does not try again.

use std::net::{IpAddr, SocketAddr};

use super::tunnel::OWN;
use super::{Channel, Client, Due, Purpose, Session};
use crate::channel::cmd::{Cmd, Pulse};
use crate::license::{Transport, plain_binding};
use crate::limits::{
    BACKOFF_FIRST, BACKOFF_MAX, BACKOFF_RESET_AFTER, CONNECT_TIMEOUT, REFUSED_BACKOFF_FIRST,
    REFUSED_BACKOFF_MAX, REPLACED_BACKOFF, RESOLVE_TIMEOUT,
};
use crate::names::bracketed;
use crate::note::{Level, Note};
use crate::reason::Reason;
use crate::role::{Manner, Outbox, Query, Speech, Verb};
use crate::slots::Key;
use crate::time::{Span, Time};
use crate::wire::{Frame, GUEST, Hello, MAC_BYTES, Reject, SIGNATURE_BYTES, VERSION, Welcome};

/// The address that a host is, where it is no name.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

impl Client {
    pub(super) fn attempt(&mut self, now: Time, out: &mut Outbox<'_>) {
        let (host, port) = self.place_of(self.server);
        let query = self.query();
        self.set_cmd(Cmd::Resolving { query: query.0, deadline: now + RESOLVE_TIMEOUT });
        match literal(&host) {
            Some(ip) => self.dial_server(now, vec![SocketAddr::new(ip, port)], Reason::Unreachable, out),
            None => out.push(Verb::Resolve(query, host, port)),
        }
    }

    /// Where a server is dialled, or the proxy in front of it.
    pub(super) fn place_of(&self, server: usize) -> (String, u16) {
        match &self.config.via {
            Some(via) => via.place().clone(),
            None => self.config.servers[server].clone(),
        }
    }

    pub(super) fn query(&mut self) -> Query {
        self.last_query += 1;
        Query(self.last_query)
    }

    pub(super) fn resolved(
        &mut self,
        now: Time,
        query: Query,
        addresses: Vec<SocketAddr>,
        out: &mut Outbox<'_>,
    ) {
        if let Some(name) = self.queries.remove(&query) {
            self.name_resolved(now, name, &addresses, out);
        } else if self.check_resolved(now, query, &addresses, out)
            || self.first_resolved(now, query, &addresses, out)
        {
            // It was for a check, or a look at the first server.
        } else if matches!(self.cmd, Cmd::Resolving { query: ours, .. } if ours == query.0) {
            self.dial_server(now, addresses, Reason::NoSuchHost, out);
        }
    }

    pub(super) fn dial_server(
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
        match self.dial_out(address, out) {
            Some(key) => self.set_cmd(Cmd::Dialing { key, address, rest, deadline: now + CONNECT_TIMEOUT }),
            None => self.rest(now, Reason::System, out),
        }
    }

    /// Begins a tunnel connection to the present server, at this address of its own or of the proxy's.
    pub(super) fn dial_out(&self, address: SocketAddr, out: &mut Outbox<'_>) -> Option<Key> {
        self.dial_server_of(self.server, address, out)
    }

    /// The same, to another one.
    pub(super) fn dial_server_of(
        &self,
        server: usize,
        address: SocketAddr,
        out: &mut Outbox<'_>,
    ) -> Option<Key> {
        let speech = match self.config.transport {
            Transport::Tls => Speech::Tls,
            Transport::Plain => Speech::Plain,
        };
        let (host, port) = &self.config.servers[server];
        out.dial(address, speech, self.config.via.as_ref().map(|via| via.begin(host, *port)))
    }

    pub(super) fn secured(&mut self, now: Time, key: Key, binding: Option<[u8; 32]>, out: &mut Outbox<'_>) {
        if let Some(Channel::Coming(coming)) = self.channels.get(key) {
            if matches!(coming.purpose, Purpose::Look) {
                return self.first_found(now, key, out);
            }
            return self.proxy_secured(now, key, binding, out);
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

    pub(super) fn send_nonce(&mut self, key: Key, out: &mut Outbox<'_>) -> [u8; 32] {
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
            capabilities: if self.config.guest { GUEST } else { 0 },
            mappings: self.mappings.range(OWN).count() as u16,
            signature: [0; SIGNATURE_BYTES],
        };
        let signed = Frame::Hello(hello).encode().unproved(SIGNATURE_BYTES).to_vec();
        hello.signature = self.config.keys.sign_hello(self.config.transport, &binding, &signed);
        out.send(key, &Frame::Hello(hello));
        self.set_cmd(Cmd::Greeting { key, address, binding, hello: signed, deadline: now + CONNECT_TIMEOUT });
    }

    /// A frame on the control connection.
    pub(super) fn cmd_spoke(&mut self, now: Time, frame: Frame<'_>, out: &mut Outbox<'_>) -> bool {
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
        if welcome.version != VERSION
            || !self.config.keys.check_welcome(transport, binding, hello, answer, &welcome.mac)
        {
            return false;
        }
        let attach = self.config.keys.attach_key(transport, binding, &welcome.session);
        // A session that was made for this client while it was not told is not the one that it remembers.
        let comes_back = self.session.is_none();
        let known = self.session.as_ref().is_some_and(|session| session.generation == welcome.generation);
        let resumed = welcome.resumed && known;
        self.session = Some(Session { id: welcome.session, generation: welcome.generation, attach });
        let pulse = Pulse::new(now);
        self.alive_until = pulse.dead_at();
        self.set_cmd(Cmd::Ready { key, address, pulse, since: now });
        out.note(Note::Connected { server: self.server_name(), resumed });
        let no_mapping = self.mappings.range(OWN).next().is_none();
        if no_mapping && self.config.visits.is_empty() && !resumed {
            let text =
                "no mapping is named here; what the license has on the server is published, if anything";
            out.note(Note::Plain(Level::Info, text.to_owned()));
        }
        // One who has come back to this server has left no session here, and its visits at the other one.
        self.drop_channels(now, !resumed && !comes_back, out);
        if !resumed {
            // Another session counts its visits anew.
            self.taken.clear();
            self.lost.clear();
        }
        self.declare_all(resumed, out);
        self.check_anew(now, out);
        self.watch_first(now);
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
            Frame::Mapped(mapped) => {
                let good = self.mapping_answered(mapped, out);
                self.remind_of_health(mapped.index, out);
                good
            }
            Frame::Map(map) => {
                let good = self.offered(&map, out);
                self.look_after(now, out);
                good
            }
            Frame::Open { first, count } => {
                self.bring_proxies(now, first, count, out);
                true
            }
            Frame::Goodbye { reason, .. } => {
                match reason {
                    Reason::Stopping => self.rest(now, reason, out),
                    Reason::Replaced => {
                        self.drop_channels(now, true, out);
                        self.rest_for(now, REPLACED_BACKOFF, reason, out);
                    }
                    _ => {
                        self.drop_channels(now, true, out);
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

    /// Pauses for a random while below the present bound.
    pub(super) fn rest(&mut self, now: Time, reason: Reason, out: &mut Outbox<'_>) {
        if let Cmd::Ready { since, .. } = self.cmd
            && now.since(since) >= BACKOFF_RESET_AFTER
        {
            (self.pause, self.refused_pause) = (BACKOFF_FIRST, REFUSED_BACKOFF_FIRST);
        }
        let pause = Span::from_micros(self.entropy.below(self.pause.as_micros() + 1));
        self.pause = self.pause.doubled(BACKOFF_MAX);
        self.rest_for(now, pause, reason, out);
    }

    /// Pauses for so long; the next server has its turn.
    fn rest_for(&mut self, now: Time, pause: Span, reason: Reason, out: &mut Outbox<'_>) {
        if let Some(key) = self.cmd.key() {
            out.close(key, Manner::Cut);
        }
        out.note(Note::Disconnected { server: self.server_name(), reason, retry: pause });
        self.server = (self.server + 1) % self.config.servers.len();
        self.set_cmd(Cmd::Resting { until: now + pause });
        self.timers.remind(self.alive_until.max(now), Due::Silence);
    }

    pub(super) fn set_cmd(&mut self, cmd: Cmd) {
        self.cmd = cmd;
        self.watch_cmd();
    }

    pub(super) fn server_name(&self) -> String {
        let (host, port) = &self.config.servers[self.server];
        let through = self.config.via.as_ref().map_or_else(String::new, |via| format!(" through {via}"));
        format!("{}:{port}{through}", bracketed(host))
    }
}
