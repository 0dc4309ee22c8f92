//! Fronts: connections of somebody, such as a load balancer, who visits for others and says for whom by the PROXY
//! protocol before anything else. Whom a mapping trusts with that stands in its `accept-proxy`; all others speak for
//! themselves, whatever they say.

use super::arrivals::{Arrival, Guest, Reach};
use super::{Carries, Channel, Server};
use crate::http::Scheme;
use crate::limits::ANNOUNCE_TIMEOUT;
use crate::mapping::Kind;
use crate::note::Note;
use crate::proxy_protocol::Announced;
use crate::reason::Reason;
use crate::role::{Manner, Outbox, Verb};
use crate::slots::Key;
use crate::time::Time;

/// A front that has not said yet whom it speaks for.
#[derive(Debug)]
pub(super) struct Front {
    /// With the front's own address for the visitor's.
    pub(super) arrival: Arrival,
    pub(super) deadline: Time,
}

impl Server {
    /// Somebody came to a mapping's port.
    pub(super) fn somebody_came(&mut self, now: Time, key: Key, arrival: Arrival, out: &mut Outbox<'_>) {
        let session = self.sessions.get(arrival.session);
        let found = session.and_then(|session| session.mappings.find(arrival.mapping));
        let fronts = found.map_or(&[][..], |(mapping, _)| &mapping.spec.options.accept_proxy);
        if !fronts.iter().any(|net| net.contains(arrival.visitor.ip())) {
            return self.arrived(now, key, arrival, out);
        }
        if let Some(reason) = self.visit_trouble(arrival.session, arrival.mapping, None, None) {
            self.front_failed(&arrival, reason, out);
            return out.close(key, Manner::Cut);
        }
        // A visitor like others, as far as numbers go.
        self.visitors += 1;
        if let Some(session) = self.sessions.get_mut(arrival.session) {
            session.visitors += 1;
        }
        let deadline = now + ANNOUNCE_TIMEOUT;
        self.watch(deadline);
        self.channels.insert(key, Channel::Front(Front { arrival, deadline }));
        out.push(Verb::AwaitHeader(key));
    }

    /// A front has said whom it speaks for.
    pub(super) fn announced(&mut self, now: Time, key: Key, announced: Announced, out: &mut Outbox<'_>) {
        let Some(&Channel::Front(Front { arrival, .. })) = self.channels.get(key) else { return };
        self.channels.remove(key);
        self.count_out(arrival.session, Carries::Bytes);
        let arrival = match announced {
            Announced::Itself => arrival,
            Announced::Visitor { from, to } => Arrival { visitor: from, came_to: Some(to), ..arrival },
        };
        self.arrived(now, key, arrival, out);
    }

    /// Somebody is here who speaks for itself, or has said for whom.
    fn arrived(&mut self, now: Time, key: Key, arrival: Arrival, out: &mut Outbox<'_>) {
        let Arrival { session, mapping, visitor, came_to } = arrival;
        let found = self.sessions.get(session).and_then(|session| session.mappings.find(mapping));
        let guest = Guest { peer: visitor, came_to, reach: Reach::Only(session, mapping) };
        match found.map(|(mapping, _)| mapping.spec.kind) {
            Some(Kind::Http) => self.caller_came(now, key, guest, Scheme::Http, out),
            Some(Kind::Https) => self.greeter_came(now, key, guest, out),
            Some(Kind::Tcp | Kind::Udp | Kind::Tls | Kind::Private) | None => {
                self.visitor_came(now, key, arrival, out)
            }
        }
    }

    /// A front has gone, or had its time.
    pub(super) fn front_lost(&mut self, front: &Front, reason: Reason, out: &mut Outbox<'_>) {
        self.count_out(front.arrival.session, Carries::Bytes);
        let reason = if reason == Reason::TimedOut { Reason::NoHeader } else { reason };
        self.front_failed(&front.arrival, reason, out);
    }

    fn front_failed(&self, arrival: &Arrival, reason: Reason, out: &mut Outbox<'_>) {
        let place = self.session_name(arrival.session);
        out.note(Note::VisitFailed { visitor: arrival.visitor, place, reason });
    }
}
