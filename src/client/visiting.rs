//! The client visits private mappings of other clients: it listens on this machine, and brings each visitor to the
//! server on a tunnel connection of its own. From there on the visit is like any other, with the two sides swapped:
//! the raw side is a visitor's.

use std::net::SocketAddr;

use super::{Channel, Client, Cmd, Coming, ProxyChannel, Purpose};
use crate::channel::proxy::{Event, Proxy};
use crate::channel::real::Real;
use crate::limits::{CONNECT_TIMEOUT, LOGIN_TIMEOUT};
use crate::note::Note;
use crate::reason::Reason;
use crate::role::{Manner, Outbox, Speech, Verb};
use crate::slots::Key;
use crate::time::Time;
use crate::wire::{Frame, Visit};

impl Client {
    /// Listens for visitors of each mapping that is visited.
    pub(super) fn open_doors(&mut self, out: &mut Outbox<'_>) {
        for (which, visiting) in self.config.visits.iter().enumerate() {
            if let Some(key) = out.listen(visiting.at, Speech::Raw) {
                self.doors.insert(key, which);
            }
        }
    }

    pub(super) fn door_opened(&self, key: Key, address: SocketAddr, out: &mut Outbox<'_>) {
        if let Some(&which) = self.doors.get(key) {
            out.note(Note::VisitingAt { address, name: self.config.visits[which].name.clone() });
        }
    }

    pub(super) fn door_failed(&mut self, key: Key, reason: Reason, out: &mut Outbox<'_>) {
        if let Some(which) = self.doors.remove(key) {
            out.note(Note::NotListening { whom: "visitors", address: self.config.visits[which].at, reason });
            out.push(Verb::Exit(1));
        }
    }

    /// Somebody on this machine visits.
    pub(super) fn visitor_came(&mut self, now: Time, door: Key, raw: Key, out: &mut Outbox<'_>) {
        let ready = match (self.doors.get(door), &self.cmd) {
            (Some(&which), &Cmd::Ready { address, .. })
                if !self.stopping && self.proxies < self.config.proxies_max =>
            {
                self.dial_out(address, out).map(|key| (which, key))
            }
            _ => None,
        };
        let Some((which, key)) = ready else { return out.close(raw, Manner::Cut) };
        let deadline = now + CONNECT_TIMEOUT + LOGIN_TIMEOUT;
        let purpose = Purpose::Visit { which, raw };
        self.channels.insert(key, Channel::Coming(Coming { purpose, nonce: None, deadline }));
        self.channels.insert(raw, Channel::Real(key));
        self.proxies += 1;
        self.watch(deadline);
    }

    /// A visitor's tunnel connection is secured: the server is told whom it visits, and what it says follows.
    pub(super) fn ask_to_visit(
        &mut self,
        key: Key,
        binding: &[u8; 32],
        (which, raw): (usize, Key),
        out: &mut Outbox<'_>,
    ) {
        let Some(session) = &self.session else { return };
        self.visits += 1;
        let (visit, name) = (self.visits, &self.config.visits[which].name);
        let mac = session.attach.mac_visit(self.config.transport, binding, visit, name);
        out.send(key, &Frame::Visit(Visit { session: session.id, visit, name, mac }));
        let mut state = Proxy::Idle;
        let started = state.step(Event::Start(visit));
        assert!(started.is_ok(), "a connection that has just come was not idle");
        let real = Some(Real::Joined { key: raw });
        let proxy = ProxyChannel { state, real, visits: Some(which), ..ProxyChannel::idle() };
        self.channels.insert(key, Channel::Proxy(proxy));
        out.push(Verb::Join { raw, proxy: key });
    }

    /// The far end of a visit that this client makes has spoken first. `false` if it makes none there.
    pub(super) fn visit_answered(&self, key: Key, out: &mut Outbox<'_>) -> bool {
        let Some(Channel::Proxy(ProxyChannel { visits: Some(_), real: Some(real), .. })) =
            self.channels.get(key)
        else {
            return false;
        };
        if let Some(raw) = real.key() {
            out.push(Verb::Release(raw));
        }
        true
    }

    /// A visit that this client makes is cut by the far end.
    pub(super) fn note_visit_failed(&self, key: Key, reason: Reason, out: &mut Outbox<'_>) {
        if let Some(Channel::Proxy(ProxyChannel { visits: Some(which), .. })) = self.channels.get(key) {
            let target = self.config.visits[*which].name.clone();
            out.note(Note::RealServerFailed { target, reason });
        }
    }

    /// A tunnel connection that was being made is not to come; it is out of the books already.
    pub(super) fn forget_coming(&mut self, coming: &Coming, out: &mut Outbox<'_>) {
        self.proxies -= 1;
        if let Purpose::Visit { raw, .. } = coming.purpose
            && self.channels.remove(raw).is_some()
        {
            out.close(raw, Manner::Cut);
        }
    }
}
