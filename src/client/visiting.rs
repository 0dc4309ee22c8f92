//! The client visits private mappings of other clients: it listens on this machine, and brings each visitor to the
//! server on a tunnel connection of its own. From there on the visit is like any other, with the two sides swapped:
//! the raw side is a visitor's.

use std::net::SocketAddr;

use super::{Channel, Client, Cmd, Coming, ProxyChannel, Purpose, Stop};
use crate::channel::proxy::{self, Proxy};
use crate::channel::real::{Effect, Event, Real};
use crate::limits::{CONNECT_TIMEOUT, LOGIN_TIMEOUT, VISIT_TIMEOUT, VISITS_COMING_MAX};
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
        let Some(&which) = self.doors.get(door) else { return out.close(raw, Manner::Cut) };
        self.channels.insert(raw, Channel::Waiting(which));
        self.waiting.push_back(raw);
        self.bring_visitors(now, out);
    }

    /// Brings those who wait, so many at a time: to the server they are strangers until they have said whom they visit.
    pub(super) fn bring_visitors(&mut self, now: Time, out: &mut Outbox<'_>) {
        while self.visits_coming < VISITS_COMING_MAX {
            let Some(raw) = self.waiting.pop_front() else { return };
            if let Some(&Channel::Waiting(which)) = self.channels.get(raw) {
                self.bring_visitor(now, which, raw, out);
            }
        }
    }

    fn bring_visitor(&mut self, now: Time, which: usize, raw: Key, out: &mut Outbox<'_>) {
        let coming = match self.cmd {
            Cmd::Ready { address, .. } if self.stop == Stop::No && self.has_own_room() => {
                self.dial_out(address, out).ok_or(Reason::Busy)
            }
            Cmd::Ready { .. } => Err(Reason::Busy),
            _ => Err(Reason::ClientAway),
        };
        let key = match coming {
            Ok(key) => key,
            Err(reason) => {
                let target = self.config.visits[which].name.clone();
                out.note(Note::RealServerFailed { target, reason });
                self.channels.remove(raw);
                return out.close(raw, Manner::Cut);
            }
        };
        let deadline = now + CONNECT_TIMEOUT + LOGIN_TIMEOUT;
        let purpose = Purpose::Visit { which, raw };
        self.channels.insert(key, Channel::Coming(Coming { purpose, nonce: None, deadline }));
        self.channels.insert(raw, Channel::Real(key));
        (self.proxies, self.visits_coming) = (self.proxies + 1, self.visits_coming + 1);
        self.watch(deadline);
    }

    /// A visitor's tunnel connection is secured: the server is told whom it visits, and what it says follows.
    pub(super) fn ask_to_visit(
        &mut self,
        now: Time,
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
        let started = state.step(proxy::Event::Start(visit));
        assert!(started.is_ok(), "a connection that has just come was not idle");
        let deadline = now + VISIT_TIMEOUT;
        self.watch(deadline);
        let real = Some(Real::Dialing { key: raw, rest: Vec::new(), deadline });
        let proxy = ProxyChannel { state, real, visits: Some(which), ..ProxyChannel::idle() };
        self.channels.insert(key, Channel::Proxy(proxy));
        out.push(Verb::Join { raw, proxy: key });
        self.visits_coming -= 1;
        self.bring_visitors(now, out);
    }

    /// The far end of a visit that this client makes is there. `false` if that was known, or it makes none there.
    pub(super) fn visit_answered(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) -> bool {
        let Some(Channel::Proxy(ProxyChannel { visits: Some(_), real: Some(real), .. })) =
            self.channels.get_mut(key)
        else {
            return false;
        };
        let first = real.step(now, Event::Dialed) == Effect::Connected;
        if let Some(raw) = real.key().filter(|_| first) {
            out.push(Verb::Release(raw));
        }
        first
    }

    /// Whether the far end of a visit that this client makes may not have ended yet: it has not begun.
    pub(super) fn awaits_answer(&self, key: Key) -> bool {
        matches!(
            self.channels.get(key),
            Some(Channel::Proxy(ProxyChannel { visits: Some(_), real: Some(Real::Dialing { .. }), .. }))
        )
    }

    /// A visit that this client makes is cut by the far end.
    pub(super) fn note_visit_failed(&self, key: Key, reason: Reason, out: &mut Outbox<'_>) {
        if let Some(Channel::Proxy(ProxyChannel { visits: Some(which), .. })) = self.channels.get(key) {
            let target = self.config.visits[*which].name.clone();
            out.note(Note::RealServerFailed { target, reason });
        }
    }

    /// A tunnel connection that was being made is not to come; it is out of the books already.
    pub(super) fn forget_coming(&mut self, now: Time, coming: &Coming, out: &mut Outbox<'_>) {
        self.proxies -= 1;
        let (which, raw) = match coming.purpose {
            Purpose::Attach(_) => return,
            Purpose::Look => return self.first_lost(now, out),
            Purpose::Visit { which, raw } => (which, raw),
        };
        self.visits_coming -= 1;
        if self.channels.remove(raw).is_some() {
            let target = self.config.visits[which].name.clone();
            out.note(Note::RealServerFailed { target, reason: Reason::ChannelLost });
            out.close(raw, Manner::Cut);
        }
        self.bring_visitors(now, out);
    }
}
