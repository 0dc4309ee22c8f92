//! Visits on the client: CONNECT comes, the real server is dialled, and both are joined.

use std::net::SocketAddr;

use super::{Channel, Client, Coming, Host, Known, ProxyChannel, Stop, Target};
use crate::channel::proxy::{Effect, Event, Local, Proxy, Send};
use crate::channel::real::{self, Real};
use crate::exit::Talk;
use crate::limits::{DRAIN_TIMEOUT, NAME_LIFE, SERVER_MAPPING_BIT, VISITS_REMEMBERED};
use crate::mapping::Kind;
use crate::note::Note;
use crate::policy::Allow;
use crate::reason::Reason;
use crate::role::{Manner, Outbox, Place, Verb};
use crate::slots::Key;
use crate::time::Time;
use crate::wire::{Connect, Frame};

/// What is known of a target's name.
#[derive(Debug)]
pub(super) enum Name {
    /// It is being looked up, for these visits.
    Asked(Vec<(Key, u64)>),
    /// Its addresses, and until when they are believed.
    Known(Time, Vec<SocketAddr>),
}

impl ProxyChannel {
    /// Whether this visit is on, and waits for its target's addresses.
    fn awaits(&self, visit: u64) -> bool {
        let on = matches!(self.state, Proxy::Visit { visit: present, .. } if present == visit);
        on && matches!(self.real, Some(Real::Resolving { .. }))
    }
}

impl Client {
    /// A frame on a ProxyChannel. `false` if the peer broke the protocol.
    pub(super) fn proxy_spoke(
        &mut self,
        now: Time,
        key: Key,
        frame: Frame<'_>,
        out: &mut Outbox<'_>,
    ) -> bool {
        match frame {
            Frame::Connect(connect) => self.visit(now, key, &connect, out),
            Frame::Connected => self.visit_answered(now, key, out),
            Frame::Fin if self.awaits_answer(key) => false,
            Frame::Fin => {
                let good = self.proxy_event(now, key, Event::PeerFin, out);
                self.visitor_is_silent(now, key, out);
                good
            }
            Frame::Disconnect { visit, reason } => {
                self.note_visit_failed(key, reason, out);
                self.proxy_event(now, key, Event::PeerCut(visit, reason), out)
            }
            _ => false,
        }
    }

    /// A visit begins: its mapping is looked up here, and nothing that came with it is ever dialled.
    fn visit(&mut self, now: Time, key: Key, connect: &Connect, out: &mut Outbox<'_>) -> bool {
        let Some(Channel::Proxy(proxy)) = self.channels.get_mut(key) else { return false };
        if proxy.visits.is_some() || proxy.state.step(Event::Start(connect.visit)).is_err() {
            return false;
        }
        out.push(Verb::Expect(key));
        // That it begins another visit here proves that the server knows how the last one ended.
        let last = std::mem::replace(&mut proxy.visit, connect.visit);
        self.taken.remove(&last);
        if self.lost.contains(&connect.visit) || self.taken.insert(connect.visit, ()).is_some() {
            return self.proxy_event(now, key, Event::LocalCut(Reason::Repeated), out);
        }
        if self.stop != Stop::No {
            return self.proxy_event(now, key, Event::LocalCut(Reason::Stopping), out);
        }
        let Some((Known { mapping, .. }, offset)) = self.mappings.find(connect.mapping) else {
            return self.proxy_event(now, key, Event::LocalCut(Reason::NoSuchMapping), out);
        };
        let (target, flow) = (mapping.target.part(offset, 1), mapping.kind == Kind::Udp);
        // Who comes by HTTP has said it to the server.
        let auth = mapping.options.auth.clone().filter(|_| !mapping.kind.is_http());
        let real = if matches!(target, Target::Exit(_)) { Real::asked_for(now) } else { Real::wanted(now) };
        self.watch(real.deadline());
        let Some(Channel::Proxy(proxy)) = self.channels.get_mut(key) else { return false };
        (proxy.real, proxy.mapping, proxy.flow) = (Some(real), connect.mapping, flow);
        match target {
            Target::Tcp { host: Host::Ip(ip), ports } => {
                self.target_resolved(now, key, connect.visit, &[SocketAddr::new(ip, ports.first())], out);
            }
            Target::Tcp { host: Host::Name(name), ports } => {
                self.look_up(now, key, connect.visit, (name, ports.first()), out)
            }
            Target::Unix(path) if self.may_open(connect.mapping, |allow| allow.permits_unix(&path)) => {
                self.dial_real(now, key, Place::Unix(path), Vec::new(), out);
            }
            Target::Files(path) if self.may_open(connect.mapping, |allow| allow.permits_folder(&path)) => {
                self.dial_real(now, key, Place::Files(path, auth), Vec::new(), out);
            }
            Target::Unix(_) | Target::Files(_) => return self.refuse(now, key, Reason::NotAllowed, out),
            Target::Exit(exit) => self.hear_visitor(key, Talk::new(exit, auth), out),
        }
        true
    }

    /// The client stops: datagrams have no end that could be waited for.
    pub(super) fn end_flows(&mut self, now: Time, out: &mut Outbox<'_>) {
        let is_flow = |channel: &Channel| matches!(channel, Channel::Proxy(p) if p.real.is_some() && p.flow);
        let flows: Vec<Key> =
            self.channels.iter().filter(|(_, channel)| is_flow(channel)).map(|(key, _)| key).collect();
        for key in flows {
            self.proxy_event(now, key, Event::LocalCut(Reason::Stopping), out);
        }
    }

    /// Whether a mapping's visits may reach what it names: a server-declared one needs permission, now as ever.
    fn may_open(&self, mapping: u16, permits: impl FnOnce(&Allow) -> bool) -> bool {
        mapping & SERVER_MAPPING_BIT == 0 || permits(&self.config.allow)
    }

    /// Looks a target's name up, once for all visits that want it at this time.
    pub(super) fn look_up(
        &mut self,
        now: Time,
        key: Key,
        visit: u64,
        name: (String, u16),
        out: &mut Outbox<'_>,
    ) {
        match self.names.get_mut(&name) {
            Some(Name::Known(until, addresses)) if *until > now => {
                let addresses = addresses.clone();
                self.target_resolved(now, key, visit, &addresses, out);
            }
            Some(Name::Asked(visits)) => visits.push((key, visit)),
            Some(Name::Known(..)) | None => {
                let query = self.query();
                out.push(Verb::Resolve(query, name.0.clone(), name.1));
                self.names.insert(name.clone(), Name::Asked(vec![(key, visit)]));
                self.queries.insert(query, name);
            }
        }
    }

    pub(super) fn name_resolved(
        &mut self,
        now: Time,
        name: (String, u16),
        addresses: &[SocketAddr],
        out: &mut Outbox<'_>,
    ) {
        let Some(Name::Asked(visits)) = self.names.remove(&name) else { return };
        // A server that may offer names may offer new ones for ever.
        self.names.retain(|_, name| !matches!(name, Name::Known(until, _) if *until <= now));
        if !addresses.is_empty() {
            self.names.insert(name, Name::Known(now + NAME_LIFE, addresses.to_vec()));
        }
        for (key, visit) in visits {
            self.target_resolved(now, key, visit, addresses, out);
        }
    }

    /// The target's addresses are known; those that the server or a visitor has chosen must be allowed, now as ever.
    pub(super) fn target_resolved(
        &mut self,
        now: Time,
        key: Key,
        visit: u64,
        addresses: &[SocketAddr],
        out: &mut Outbox<'_>,
    ) {
        // The visit that asked may be over, and another one be on.
        let chosen = match self.channels.get(key) {
            Some(Channel::Proxy(proxy)) if proxy.awaits(visit) => {
                proxy.mapping & SERVER_MAPPING_BIT != 0 || proxy.talk.is_some()
            }
            _ => return,
        };
        let place = if self.carries_datagrams(key) { Place::Udp } else { Place::Ip };
        let allow = &self.config.allow;
        let mut permitted = addresses
            .iter()
            .filter(|address| !chosen || allow.permits(address.ip(), address.port()))
            .copied();
        if let Some(first) = permitted.next() {
            let rest = permitted.collect();
            self.dial_real(now, key, place(first), rest, out);
        } else {
            let reason = if addresses.is_empty() { Reason::NoSuchHost } else { Reason::NotAllowed };
            if let (Some(Channel::Proxy(ProxyChannel { talk: Some(talk), .. })), Some(first)) =
                (self.channels.get(key), addresses.first())
            {
                self.note_not_allowed(
                    talk.to_string(),
                    &Allow::word_for(first.ip(), first.port(), first.port()),
                    out,
                );
                self.decline(now, key, reason, out);
                return;
            }
            self.refuse(now, key, reason, out);
        }
    }

    /// Whether a ProxyChannel's visit is a flow.
    fn carries_datagrams(&self, key: Key) -> bool {
        matches!(self.channels.get(key), Some(Channel::Proxy(proxy)) if proxy.flow)
    }

    fn dial_real(&mut self, now: Time, key: Key, place: Place, rest: Vec<SocketAddr>, out: &mut Outbox<'_>) {
        let Some(raw) = out.reach(place, key) else {
            self.refuse(now, key, Reason::Busy, out);
            return;
        };
        let Some(Channel::Proxy(proxy)) = self.channels.get_mut(key) else { return };
        if let Some(real) = &mut proxy.real {
            real.step(now, real::Event::Begun(raw, rest));
        }
        let first = proxy.talk.as_ref().map(|talk| talk.first());
        if let Some(first) = first.filter(|first| !first.is_empty()) {
            out.send_bytes(raw, &first);
        }
        self.channels.insert(raw, Channel::Real(key));
        if matches!(
            self.channels.get(key),
            Some(Channel::Proxy(ProxyChannel { state: Proxy::Visit { got_fin: true, .. }, .. }))
        ) {
            out.push(Verb::Shut(raw));
        }
    }

    pub(super) fn real_dialed(&mut self, now: Time, raw: Key, out: &mut Outbox<'_>) {
        let Some(&Channel::Real(key)) = self.channels.get(raw) else { return };
        let Some(Channel::Proxy(ProxyChannel { real: Some(real), talk, .. })) = self.channels.get_mut(key)
        else {
            return;
        };
        if real.step(now, real::Event::Dialed) == real::Effect::Connected {
            match talk.take() {
                // The real server's first words are likely to follow at once.
                None => out.send_soon(key, &Frame::Connected),
                Some(talk) => self.granted(key, raw, &talk, out),
            }
        }
    }

    pub(super) fn real_ended(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        self.proxy_event(now, key, Event::LocalEnd, out);
    }

    /// The real server's connection failed; it is out of the books already.
    pub(super) fn real_lost(&mut self, now: Time, raw: Key, key: Key, reason: Reason, out: &mut Outbox<'_>) {
        if let Some(Channel::Coming(_)) = self.channels.get(key) {
            out.close(key, Manner::Cut);
            return self.lost(now, key, reason, out);
        }
        let Some(Channel::Proxy(ProxyChannel { real: Some(real), visits, .. })) = self.channels.get_mut(key)
        else {
            return;
        };
        if real.key() != Some(raw) {
            return;
        }
        // A visitor who has gone before anybody answered is nobody's news.
        if visits.is_some() {
            self.proxy_event(now, key, Event::LocalCut(reason), out);
            return;
        }
        match real.step(now, real::Event::Failed(reason)) {
            real::Effect::TryNext(mut addresses) => {
                let place = if self.carries_datagrams(key) { Place::Udp } else { Place::Ip };
                let first = place(addresses.remove(0));
                self.dial_real(now, key, first, addresses, out);
            }
            real::Effect::Refuse(reason) => {
                self.refuse(now, key, reason, out);
            }
            real::Effect::Nothing | real::Effect::Connected => {
                self.proxy_event(now, key, Event::LocalCut(reason), out);
            }
        }
    }

    /// Tells the server why a visit cannot be served, and the operator once.
    pub(super) fn refuse(&mut self, now: Time, key: Key, reason: Reason, out: &mut Outbox<'_>) -> bool {
        if let Some(Channel::Proxy(proxy)) = self.channels.get(key) {
            match (&proxy.talk, &proxy.real) {
                (Some(talk), _) => self.note_declined(talk, reason, out),
                // It has been told of.
                (None, Some(Real::Parting { .. })) => {}
                (None, _) if proxy.visits.is_some() => self.note_visit_failed(key, reason, out),
                (None, _) => {
                    let found = self.mappings.find(proxy.mapping);
                    let target = found.map(|(known, offset)| known.mapping.target.part(offset, 1));
                    let target = target.map_or_else(String::new, |target| target.to_string());
                    out.note(Note::RealServerFailed { target, reason });
                }
            }
        }
        if self.decline(now, key, reason, out) {
            return true;
        }
        self.proxy_event(now, key, Event::LocalCut(reason), out)
    }

    /// Carries an event through a ProxyChannel to its real server and the peer.
    pub(super) fn proxy_event(&mut self, now: Time, key: Key, event: Event, out: &mut Outbox<'_>) -> bool {
        let Some(Channel::Proxy(proxy)) = self.channels.get_mut(key) else { return false };
        let Ok(Effect { send, local, free }) = proxy.state.step(event) else { return false };
        match send {
            Send::Nothing => {}
            Send::Fin => out.send(key, &Frame::Fin),
            Send::Cut(visit, reason) => out.send(key, &Frame::Disconnect { visit, reason }),
        }
        let raw = proxy.real.as_ref().and_then(Real::key);
        match (local, raw) {
            (Local::Shut, Some(raw)) => out.push(Verb::Shut(raw)),
            (Local::End, Some(raw)) => {
                self.channels.remove(raw);
                out.close(raw, Manner::End);
            }
            (Local::Cut(_), Some(raw)) => {
                self.channels.remove(raw);
                out.close(raw, Manner::Cut);
            }
            _ => {}
        }
        let draining = matches!(event, Event::LocalCut(_)) && !free;
        if free || draining {
            // A connect that is still under way has nobody to go to.
            if let (Local::Leave, Some(raw)) = (local, raw)
                && self.channels.remove(raw).is_some()
            {
                out.close(raw, Manner::Cut);
            }
            out.push(Verb::Part(key, draining));
            let Some(Channel::Proxy(proxy)) = self.channels.get_mut(key) else { return false };
            (proxy.real, proxy.talk) = (None, None);
            proxy.deadline = if draining { now + DRAIN_TIMEOUT } else { Time::NEVER };
            let (deadline, ours) = (proxy.deadline, proxy.visits.is_some());
            self.watch(deadline);
            if ours {
                // It was made for this visit alone; what was said last still leaves.
                self.channels.remove(key);
                self.proxies -= 1;
                out.close(key, Manner::End);
            }
        }
        self.stop_if_idle(out);
        true
    }

    /// A ProxyChannel's connection failed; it is out of the books already.
    pub(super) fn proxy_lost(&mut self, proxy: ProxyChannel, out: &mut Outbox<'_>) {
        self.count_out(&proxy);
        if let Some(raw) = proxy.real.as_ref().and_then(Real::key)
            && self.channels.remove(raw).is_some()
        {
            out.close(raw, Manner::Cut);
        }
    }

    /// A ProxyChannel has gone; its visit's number is remembered.
    pub(super) fn count_out(&mut self, proxy: &ProxyChannel) {
        self.proxies -= 1;
        if self.taken.remove(&proxy.visit).is_some() {
            self.lost.push_back(proxy.visit);
            if self.lost.len() > VISITS_REMEMBERED {
                self.lost.pop_front();
            }
        }
    }

    /// A ProxyChannel's deadline may have come: it is not attached, its real server is not up, or it drains
    /// too long.
    pub(super) fn proxy_due(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        match self.channels.get_mut(key) {
            Some(Channel::Proxy(ProxyChannel { real: Some(real), .. })) => {
                if let real::Effect::Refuse(reason) = real.step(now, real::Event::Timeout) {
                    self.refuse(now, key, reason, out);
                }
            }
            Some(
                &mut (Channel::Coming(Coming { deadline, .. })
                | Channel::Proxy(ProxyChannel { deadline, .. })),
            ) => {
                if deadline <= now {
                    out.close(key, Manner::Cut);
                    self.lost(now, key, Reason::TimedOut, out);
                }
            }
            Some(Channel::Real(_) | Channel::Waiting(_) | Channel::Check(_)) | None => {}
        }
    }
}
