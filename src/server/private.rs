//! Private mappings: they have no public place. Another client visits them, whose license is permitted: on a tunnel
//! connection of its own, which brings the stream in frames. To the client that serves it, such a visit is like any
//! other.
//!
//! ```text
//!   visitor ── nt -c --visit ══ VISIT, frames ══ nt -s ══ CONNECT, frames ══ nt -c ── real server
//! ```

use super::arrivals::Arrival;
use super::groups::Member;
use super::session::Session;
use super::{Carries, Channel, Server, Stranger, VisitorChannel};
use crate::channel::proxy::{Event, Local, Proxy, Send};
use crate::limits::POOL_MAX;
use crate::mapping::{Kind, Public};
use crate::note::Note;
use crate::reason::Reason;
use crate::role::{Manner, Outbox, Verb};
use crate::slots::Key;
use crate::time::Time;
use crate::wire::{Frame, Visit};

/// A visitor that is another client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fellow {
    /// Its session.
    by: Key,
    /// Its connection, as this end has it.
    state: Proxy,
    /// Its session is over: it has no time left.
    over: Option<Reason>,
}

impl Fellow {
    /// Its session.
    pub(super) fn by(&self) -> Key {
        self.by
    }

    /// Its session is over.
    pub(super) fn ends(&mut self, reason: Reason) {
        self.over = Some(reason);
    }

    /// Why it has no time left, if so.
    pub(super) fn over(&self) -> Option<Reason> {
        self.over
    }
}

/// Carries one event through a fellow's connection; what else must be done.
fn tell(fellow: &mut Fellow, key: Key, event: Event, out: &mut Outbox<'_>) -> Option<Local> {
    let effect = fellow.state.step(event).ok()?;
    match effect.send {
        Send::Nothing => {}
        Send::Fin => out.send(key, &Frame::Fin),
        Send::Cut(visit, reason) => out.send(key, &Frame::Disconnect { visit, reason }),
    }
    Some(effect.local)
}

impl Server {
    /// A client visits another one's mapping. `false` if it does not prove who it is.
    pub(super) fn fellow_came(
        &mut self,
        now: Time,
        key: Key,
        binding: &[u8; 32],
        visit: &Visit<'_>,
        out: &mut Outbox<'_>,
    ) -> bool {
        let Some(&Stranger { transport, peer, .. }) = self.stranger(key) else { return false };
        let Some(&by) = self.by_id.get(&visit.session) else { return false };
        let proved = self.sessions.get(by).is_some_and(|session| {
            session.login.attach.check_visit(transport, binding, (visit.visit, visit.name), &visit.mac)
        });
        if !proved {
            return false;
        }
        self.strangers.retain(|&other| other != key);
        self.channels.remove(key);
        match self.private_place(by, visit.name) {
            Ok((session, mapping)) => {
                let mut state = Proxy::Idle;
                let started = state.step(Event::Start(visit.visit));
                assert!(started.is_ok(), "a connection that has just come was not idle");
                // What it says waits until the real server has answered: no second try need repeat it.
                out.push(Verb::Expect(key));
                self.fellows += 1;
                let arrival = Arrival { session, mapping, visitor: peer, came_to: None };
                self.begin_visit(now, key, arrival, Carries::Frames(Fellow { by, state, over: None }), out);
            }
            Err(reason) => {
                let place = format!("a private mapping, by {},", self.session_name(by));
                out.note(Note::VisitFailed { visitor: peer, place, reason });
                out.send(key, &Frame::Disconnect { visit: visit.visit, reason });
                out.close(key, Manner::End);
            }
        }
        true
    }

    /// The mapping that is called so, for the client of this session. One who may not visit it does not learn whether
    /// it is there.
    fn private_place(&self, by: Key, name: &str) -> Result<(Key, u16), Reason> {
        let directory = &self.config.directory;
        let license = self.sessions.get(by).map(|session| session.login.license);
        let visitor = license.and_then(|license| Some((directory.by_id(license)?, license)));
        let is_good = |entry, license| self.license_trouble(entry, license).is_none();
        if !visitor.is_some_and(|(entry, license)| is_good(entry, license) && entry.visits.contains(name)) {
            return Err(Reason::VisitNotPermitted);
        }
        let (owner, wanted) = name.split_once('/').ok_or(Reason::NoSuchMapping)?;
        let owner = directory.by_name(owner).ok_or(Reason::NoSuchMapping)?;
        let is_it = |public: &Public| matches!(public, Public::Name { name, .. } if name == wanted);
        let mapping_of = |session: &Session| {
            let mut mappings = session.mappings.iter();
            let found = mappings.find(|(_, m)| m.spec.kind == Kind::Private && is_it(&m.spec.public));
            found.map(|(&index, _)| index)
        };
        self.clients_of(&owner.name).next().ok_or(Reason::ClientAway)?;
        let clients = self.clients_of(&owner.name);
        let members: Vec<Member> = clients.filter_map(|(key, one)| Some((key, mapping_of(one)?))).collect();
        let (key, mapping) = self.choose(&members).ok_or(Reason::NoSuchMapping)?;
        // A tunnel connection that carries nobody from the net stands where a ProxyChannel could.
        if self.proxies + self.fellows >= self.config.visitors_max + POOL_MAX {
            return Err(Reason::Busy);
        }
        self.visit_trouble(key, mapping, None, None).map_or(Ok((key, mapping)), Err)
    }

    /// A fellow's frame. `false` if it broke the protocol.
    pub(super) fn fellow_spoke(
        &mut self,
        now: Time,
        key: Key,
        frame: Frame<'_>,
        out: &mut Outbox<'_>,
    ) -> bool {
        let event = match frame {
            Frame::Fin => Event::PeerFin,
            Frame::Disconnect { visit, reason } => Event::PeerCut(visit, reason),
            _ => return false,
        };
        let Some(Channel::Visitor(VisitorChannel { carries: Carries::Frames(fellow), state, .. })) =
            self.channels.get_mut(key)
        else {
            return false;
        };
        match tell(fellow, key, event, out) {
            None => return false,
            Some(Local::Leave) => {}
            Some(Local::Shut | Local::End) => {
                // Nothing more may come.
                match state.proxy() {
                    Some(proxy) => out.push(Verb::Shut(proxy)),
                    None => out.push(Verb::Part(key, false)),
                }
                self.visitor_ended(now, key, out);
            }
            Some(Local::Cut(reason)) => {
                out.close(key, Manner::End);
                self.lost(now, key, reason, out);
            }
        }
        true
    }

    /// The direction towards a visitor ends, behind its last byte.
    pub(super) fn end_direction(&mut self, key: Key, out: &mut Outbox<'_>) {
        if let Some(Channel::Visitor(VisitorChannel { carries: Carries::Frames(fellow), .. })) =
            self.channels.get_mut(key)
        {
            tell(fellow, key, Event::LocalEnd, out);
        }
        out.push(Verb::Shut(key));
    }

    /// A fellow's visit is over, in peace or for a reason, which it is told.
    pub(super) fn dismiss(
        &self,
        key: Key,
        mut fellow: Fellow,
        end: Result<(), Reason>,
        out: &mut Outbox<'_>,
    ) {
        tell(&mut fellow, key, end.map_or_else(Event::LocalCut, |()| Event::LocalEnd), out);
        out.close(key, Manner::End);
    }

    /// Whether the client of a session is on a visit.
    pub(super) fn visits_others(&self, by: Key) -> bool {
        let fellow = |channel: &Channel| match channel {
            Channel::Visitor(VisitorChannel { carries: Carries::Frames(fellow), .. }) => Some(fellow.by),
            _ => None,
        };
        self.channels.iter().any(|(_, channel)| fellow(channel) == Some(by))
    }

    /// A session is over, and so are the visits that its client makes.
    pub(super) fn end_fellows(&mut self, by: Key, reason: Reason) {
        let mut ended = false;
        for channel in self.channels.values_mut() {
            if let Channel::Visitor(VisitorChannel { carries: Carries::Frames(fellow), .. }) = channel
                && fellow.by == by
            {
                (fellow.over, ended) = (Some(reason), true);
            }
        }
        if ended {
            self.watch(Time::default());
        }
    }
}
