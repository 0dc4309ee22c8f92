//! Greeters: visitors who speak TLS, and whose ClientHello says to whom. Where TLS ends here they become callers; where
//! it ends behind, their bytes are passed on as they are; and whoever offers to speak nt is a client.

use super::arrivals::Arrival;
use super::arrivals::{Guest, Reach};
use super::callers::Caller;
use super::{Channel, Server};
use crate::http::Scheme;
use crate::license::Transport;
use crate::limits::HTTP_HEAD_TIMEOUT;
use crate::mapping::Kind;
use crate::role::{Greeting, Manner, Ours, Outbox, Verb};
use crate::slots::Key;
use crate::time::Time;

/// The alert unrecognized_name, fatal, in a record of its own (RFC 8446 sections 5.1 and 6.2).
const NOBODY: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// A visitor who has not said yet to whom it speaks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Greeter {
    pub(super) guest: Guest,
    pub(super) since: Time,
    pub(super) deadline: Time,
}

impl Server {
    /// A visitor came who will speak TLS.
    pub(super) fn greeter_came(&mut self, now: Time, key: Key, guest: Guest, out: &mut Outbox<'_>) {
        if self.take_in(now, key, out) {
            let deadline = now + HTTP_HEAD_TIMEOUT;
            self.watch(deadline);
            self.channels.insert(key, Channel::Greeter(Greeter { guest, since: now, deadline }));
            out.push(Verb::AwaitGreeting(key));
        }
    }

    /// It has said to whom it speaks.
    pub(super) fn greeted(&mut self, now: Time, key: Key, greeting: &Greeting, out: &mut Outbox<'_>) {
        let Some(&Channel::Greeter(Greeter { guest, .. })) = self.channels.get(key) else { return };
        self.channels.remove(key);
        self.visitors -= 1;
        if greeting.speaks_nt && guest.reach == Reach::Names {
            self.stranger_came(now, key, guest.peer, Transport::Tls, out);
            return out.push(Verb::Secure(key, Ours::Tunnel));
        }
        let named = || self.choose(self.names.get(&Scheme::Https)?.serving(greeting.name.as_deref()?)?);
        let to = match guest.reach {
            Reach::Only(session, mapping) => Some((session, mapping)),
            Reach::Names => named(),
            Reach::Nothing => None,
        };
        let Some((session, mapping)) = to else {
            out.send_bytes(key, &NOBODY);
            out.close(key, Manner::End);
            return self.stop_if_idle(out);
        };
        let found = self.sessions.get(session).and_then(|session| session.mappings.find(mapping));
        if found.is_some_and(|(mapping, _)| mapping.spec.kind == Kind::Https) {
            out.push(Verb::Secure(key, Ours::Name));
            return self.becomes_caller(key, Caller::new(now, guest, Scheme::Https));
        }
        out.push(Verb::PassOn(key));
        let arrival = Arrival { session, mapping, visitor: guest.peer, came_to: guest.came_to };
        self.visitor_came(now, key, arrival, out);
    }
}
