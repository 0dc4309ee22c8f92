//! Greeters: visitors who speak TLS, and whose ClientHello says to whom. Where TLS ends here they become callers; where
//! it ends behind, their bytes are passed on as they are; and whoever offers to speak nt is a client.

use std::net::SocketAddr;

use super::fronts::Arrival;
use super::{Channel, Server};
use crate::http::Scheme;
use crate::license::Transport;
use crate::mapping::Kind;
use crate::role::{Greeting, Manner, Ours, Outbox, Verb};
use crate::slots::Key;
use crate::time::Time;

/// The alert unrecognized_name, fatal, in a record of its own (RFC 8446 sections 5.1 and 6.2).
const NOBODY: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// A visitor who has not said yet to whom it speaks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Greeter {
    peer: SocketAddr,
    came_to: Option<SocketAddr>,
    /// The one mapping that it can reach.
    only: Option<(Key, u16)>,
    pub(super) deadline: Time,
}

impl Server {
    /// A visitor came who will speak TLS; `only` to this mapping, where the port is the mapping's own.
    pub(super) fn greeter_came(
        &mut self,
        now: Time,
        key: Key,
        (peer, came_to): (SocketAddr, Option<SocketAddr>),
        only: Option<(Key, u16)>,
        out: &mut Outbox<'_>,
    ) {
        let Some(deadline) = self.take_in(now, key, out) else { return };
        self.channels.insert(key, Channel::Greeter(Greeter { peer, came_to, only, deadline }));
        out.push(Verb::AwaitGreeting(key));
    }

    /// It has said to whom it speaks.
    pub(super) fn greeted(&mut self, now: Time, key: Key, greeting: &Greeting, out: &mut Outbox<'_>) {
        let Some(&Channel::Greeter(Greeter { peer, came_to, only, .. })) = self.channels.get(key) else {
            return;
        };
        self.channels.remove(key);
        self.visitors -= 1;
        if greeting.speaks_nt && only.is_none() {
            self.stranger_came(now, key, peer, Transport::Tls, out);
            return out.push(Verb::Secure(key, Ours::Tunnel));
        }
        let named = || self.names.get(&Scheme::Https)?.serving(greeting.name.as_deref()?);
        let Some((session, mapping)) = only.or_else(named) else {
            out.send_bytes(key, &NOBODY);
            return out.close(key, Manner::End);
        };
        let spec = self.sessions.get(session).and_then(|session| session.mappings.get(&mapping));
        if spec.is_some_and(|mapping| mapping.spec.kind == Kind::Https) {
            out.push(Verb::Secure(key, Ours::Name));
            return self.caller_came(now, key, (peer, came_to), Scheme::Https, only, out);
        }
        out.push(Verb::PassOn(key));
        let arrival = Arrival { session, mapping, visitor: peer, came_to };
        self.visitor_came(now, key, arrival, out);
    }
}
