//! Back to the first server: a client that had to go to another one looks now and then whether that is there again.
//!
//! ```text
//!             due                addresses             TLS is up
//!   Waiting ───────► Resolving ───────────► Dialing ────────────► at the first server again
//!      ▲                 │                     │
//!      └─────────────────┴─────────────────────┘ not there: later, and each time twice as long
//! ```
//!
//! Nobody is cut for it. The client takes its leave of the server that it is at, which sends no visitors any more;
//! those who are on a visit stay on the connections that carry them, until they have done.

use std::net::SocketAddr;

use super::login::literal;
use super::tunnel::OWN;
use super::{Channel, Client, Cmd, Coming, Due, ProxyChannel, Purpose, Stop};
use crate::limits::{CONNECT_TIMEOUT, FAILBACK_FIRST, FAILBACK_MAX, PEER_SILENCE_MAX, RESOLVE_TIMEOUT};
use crate::note::Note;
use crate::reason::Reason;
use crate::role::{Manner, Outbox, Query, Verb};
use crate::slots::Key;
use crate::time::{Span, Time};
use crate::wire::Frame;

/// Whether the first server is there again.
#[derive(Debug)]
pub(super) struct Failback {
    stage: Stage,
    /// When to go on, or to give up this time.
    due: Time,
    pause: Span,
}

#[derive(Debug)]
enum Stage {
    Waiting,
    Resolving(Query),
    Dialing { key: Key, rest: Vec<SocketAddr> },
}

impl Default for Failback {
    fn default() -> Self {
        Self { stage: Stage::Waiting, due: Time::NEVER, pause: FAILBACK_FIRST }
    }
}

impl Client {
    /// The client has logged in: at the first server, or at one that stands in for it.
    pub(super) fn watch_first(&mut self, now: Time) {
        match self.server {
            0 => self.failback = Failback::default(),
            _ => self.look_later(now),
        }
    }

    fn look_later(&mut self, now: Time) {
        let pause = self.failback.pause;
        self.failback =
            Failback { stage: Stage::Waiting, due: now + pause, pause: pause.doubled(FAILBACK_MAX) };
        self.timers.remind(now + pause, Due::Failback);
    }

    fn until(&mut self, stage: Stage, due: Time) {
        (self.failback.stage, self.failback.due) = (stage, due);
        self.timers.remind(due, Due::Failback);
    }

    pub(super) fn failback_due(&mut self, now: Time, out: &mut Outbox<'_>) {
        if self.failback.due > now || self.server == 0 || self.stop != Stop::No {
            return;
        }
        match std::mem::replace(&mut self.failback.stage, Stage::Waiting) {
            Stage::Waiting if matches!(self.cmd, Cmd::Ready { .. }) => self.look_for_first(now, out),
            // It is tried in its turn anyway.
            Stage::Waiting => {}
            Stage::Resolving(_) => self.look_later(now),
            Stage::Dialing { key, .. } => {
                self.channels.remove(key);
                self.proxies -= 1;
                out.close(key, Manner::Cut);
                self.look_later(now);
            }
        }
    }

    fn look_for_first(&mut self, now: Time, out: &mut Outbox<'_>) {
        let (host, port) = self.place_of(0);
        match literal(&host) {
            Some(ip) => self.dial_first(now, vec![SocketAddr::new(ip, port)], out),
            None => {
                let query = self.query();
                self.until(Stage::Resolving(query), now + RESOLVE_TIMEOUT);
                out.push(Verb::Resolve(query, host, port));
            }
        }
    }

    /// A name was looked up. `false` if it was not the first server's.
    pub(super) fn first_resolved(
        &mut self,
        now: Time,
        query: Query,
        addresses: &[SocketAddr],
        out: &mut Outbox<'_>,
    ) -> bool {
        let ours = matches!(self.failback.stage, Stage::Resolving(asked) if asked == query);
        if ours {
            self.dial_first(now, addresses.to_vec(), out);
        }
        ours
    }

    fn dial_first(&mut self, now: Time, mut addresses: Vec<SocketAddr>, out: &mut Outbox<'_>) {
        if addresses.is_empty() || !self.has_own_room() {
            return self.look_later(now);
        }
        let first = addresses.remove(0);
        let Some(key) = self.dial_server_of(0, first, out) else { return self.look_later(now) };
        let deadline = now + CONNECT_TIMEOUT;
        let coming = Coming { purpose: Purpose::Look, nonce: None, deadline: Time::NEVER };
        self.channels.insert(key, Channel::Coming(coming));
        self.proxies += 1;
        self.until(Stage::Dialing { key, rest: addresses }, deadline);
    }

    /// The connection to the first server has failed.
    pub(super) fn first_lost(&mut self, now: Time, out: &mut Outbox<'_>) {
        match std::mem::replace(&mut self.failback.stage, Stage::Waiting) {
            Stage::Dialing { rest, .. } => self.dial_first(now, rest, out),
            _ => self.look_later(now),
        }
    }

    /// The first server is there again: the client goes there.
    pub(super) fn first_found(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        self.channels.remove(key);
        self.proxies -= 1;
        out.close(key, Manner::Cut);
        let Cmd::Ready { key: cmd, .. } = self.cmd else { return self.look_later(now) };
        if self.stop != Stop::No {
            return;
        }
        // If it does not let the client in, it is asked again much later.
        self.look_later(now);
        out.send(cmd, &Frame::Goodbye { reason: Reason::Moved, retry_millis: 0 });
        out.see_off(cmd);
        self.leave_visits_behind(now, out);
        (self.server, self.session) = (0, None);
        self.alive_until = now + PEER_SILENCE_MAX;
        out.note(Note::GoingBack { server: self.server_name() });
        self.attempt(now, out);
    }

    /// Visits go on where they are; what carries none goes. The next session counts its visits anew.
    fn leave_visits_behind(&mut self, now: Time, out: &mut Outbox<'_>) {
        let is_idle = |channel: &Channel| match channel {
            Channel::Coming(_) => true,
            Channel::Proxy(proxy) => proxy.real.is_none(),
            Channel::Real(_) | Channel::Waiting(_) | Channel::Check(_) => false,
        };
        let idle: Vec<Key> =
            self.channels.iter().filter(|(_, channel)| is_idle(channel)).map(|(key, _)| key).collect();
        for key in idle {
            match self.channels.remove(key) {
                Some(Channel::Coming(coming)) => self.forget_coming(now, &coming, out),
                _ => self.proxies -= 1,
            }
            out.close(key, Manner::End);
        }
        for channel in self.channels.values_mut() {
            if let Channel::Proxy(ProxyChannel { visit, .. }) = channel {
                *visit = 0;
            }
        }
        self.taken.clear();
        self.lost.clear();
        self.mappings.retain(|index, _| OWN.contains(index));
    }
}
