//! Roles: each is given one input at a time, and what it wants is carried out before the next.

use super::{Driver, Slot};
use crate::http::Exchange;
use crate::limits::{LINGER_TIMEOUT, SEND_SOON};
use crate::link::{Held, Payload, Phase};
use crate::net::Net;
use crate::proxy_protocol::{self, Transport};
use crate::role::{Input, Outbox, Place, Speech, Verb};
use crate::slots::Key;

impl<N: Net> Driver<N> {
    /// Gives a role one input, carries out what it wants, and gives it what came of that.
    pub(super) fn feed(&mut self, role: usize, input: Input<'_>) {
        self.step(role, input);
        while let Some((role, outcome)) = self.outcomes.pop_front() {
            self.step(role, outcome);
        }
    }

    pub(super) fn step(&mut self, role: usize, input: Input<'_>) {
        let mut out = Outbox::new(&mut self.verbs, &mut self.bytes, &mut self.slots);
        self.roles[role].step(self.now, input, &mut out);
        let (mut verbs, mut bytes) = (std::mem::take(&mut self.verbs), std::mem::take(&mut self.bytes));
        for verb in verbs.drain(..) {
            self.carry_out(role, verb, &bytes);
        }
        bytes.clear();
        (self.verbs, self.bytes) = (verbs, bytes);
    }

    pub(super) fn carry_out(&mut self, role: usize, verb: Verb, bytes: &[u8]) {
        match verb {
            Verb::Listen(key, address, speech) => self.listen(role, key, address, speech),
            Verb::ListenUnix(key, path) => self.listen_unix(role, key, &path),
            // Whoever dials a server has the first word there.
            Verb::Dial(key, address, speech, via) => {
                self.dial(role, key, &Place::Ip(address), speech, true);
                if let (Some(via), Some(_)) = (via, self.link(key)) {
                    self.vias.push((key, via));
                }
            }
            Verb::ListenUdp { key, address, group, most } => {
                self.listen_udp(role, key, address, (group, most))
            }
            Verb::Resolve(query, host, port) => self.net.resolve(role, query, &host, port),
            Verb::Send(key, range) => self.send(key, &bytes[range], false),
            Verb::SendSoon(key, range) => self.send(key, &bytes[range], true),
            Verb::TellDrained(key) => self.tell_drained(key),
            Verb::Join { raw, proxy } => self.join(raw, proxy),
            Verb::Forward { raw, head, keep } => self.forward(raw, &bytes[head], keep),
            Verb::NextRequest(key) => self.next_request(key),
            Verb::AwaitGreeting(key) => self.await_greeting(key),
            Verb::Secure(key, ours) => self.begin_tls(key, ours),
            Verb::PassOn(key) => _ = self.recast(key, Speech::Raw),
            Verb::AwaitHeader(key) => {
                if let Some(link) = self.link(key) {
                    (link.phase, link.held) = (Phase::Announcing, Held::Kept(None, 0));
                }
            }
            Verb::Introduce { raw, version, visitor, came_to } => {
                if let Some(Slot::Link(link)) = self.slots.get_mut(raw) {
                    let came_to = came_to.or_else(|| self.net.came_to(&link.stream));
                    let header = proxy_protocol::header(version, Transport::Stream, visitor, came_to);
                    link.introduce(&header, &mut self.arena);
                }
                self.introduce_flow(raw, version, visitor);
            }
            Verb::Reach { raw, place, proxy } => self.reach(role, raw, &place, proxy),
            Verb::Probe(key, place) => self.dial(role, key, &place, Speech::Local, true),
            Verb::Expect(key) => {
                if let Some(link) = self.link(key) {
                    link.payload = Payload::Awaited;
                }
            }
            Verb::Limit(key, body) => {
                if let Some(link) = self.link(key) {
                    link.exchange = Some(Box::new(Exchange::of_body(body)));
                }
            }
            Verb::Hear(key) => self.hear_payload(key),
            Verb::Release(key) => self.release(key),
            Verb::Shut(key) => self.shut(key),
            Verb::Part(key, drain) => self.part(key, drain),
            Verb::Close(key, manner) => self.close(key, manner),
            Verb::SeeOff(key) => self.close_patiently(key),
            Verb::Meter { key, limits, within } => self.set_meter(role, key, limits, within),
            Verb::Measure { raw, meter } => self.measure(raw, meter),
            Verb::ReadMeters => self.read_meters(role),
            Verb::Edit(..)
            | Verb::PutBack(_)
            | Verb::KeepCounters(_)
            | Verb::LookAround
            | Verb::TryPorts(_) => {
                self.look_after(role, verb);
            }
            Verb::ReadSettings => self.read_settings(role),
            Verb::Note(note) => self.net.note(self.now, &note),
            Verb::Exit(code) => _ = self.exit.get_or_insert((code, self.now + LINGER_TIMEOUT)),
        }
    }

    fn read_settings(&mut self, role: usize) {
        let settings = self.net.read_settings();
        self.outcomes.push_back((role, Input::Reload(settings)));
    }

    fn tell_drained(&mut self, key: Key) {
        if let Some(link) = self.link(key) {
            link.tell_drained = true;
        }
        self.enqueue(key);
    }

    /// Sends bytes of a role; with `soon` they may wait a moment for what follows, unless others wait already.
    pub(super) fn send(&mut self, key: Key, bytes: &[u8], soon: bool) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        let alone = link.is_flushed();
        match link.send(bytes, &mut self.arena) {
            Ok(()) if soon && alone => {
                link.corked = true;
                self.corked.push_back((self.now + SEND_SOON, key));
            }
            Ok(()) => self.enqueue(key),
            Err(reason) => self.lose(key, reason),
        }
    }
}
