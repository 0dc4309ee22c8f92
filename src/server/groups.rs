//! Groups: the clients of one license, which serve the same places together.
//!
//! There is one, unless the license permits more. A place that several of them publish is one listener, or one name;
//! whoever comes is taken to the client that is there, is well, and has the fewest visitors. A guest is a client that
//! comes beside those, to measure or to look: it replaces nobody, and shares no place.

use super::mappings::{Mapping, State};
use super::session::{Entering, Session};
use super::{Carries, Channel, Server};
use crate::channel::visitor::{Effect, Event, Visitor};
use crate::directory::Entry;
use crate::mapping::Public;
use crate::reason::Reason;
use crate::role::Outbox;
use crate::slots::Key;
use crate::time::Time;

/// A place as a client has it: its session, and the place's index there.
pub(super) type Member = (Key, u16);

impl Server {
    /// All sessions of a license, in the order of their first login.
    pub(super) fn sessions_of(&self, license: &str) -> impl Iterator<Item = (Key, &Session)> {
        let keys = self.by_license.get(license).into_iter().flatten();
        keys.filter_map(|&key| Some((key, self.sessions.get(key)?)))
    }

    /// Those of them that serve its visitors.
    pub(super) fn clients_of(&self, license: &str) -> impl Iterator<Item = (Key, &Session)> {
        self.sessions_of(license).filter(|(_, session)| !session.login.guest)
    }

    /// What it means that this process of a license logs in. Where there are as many clients as there may be, the new
    /// one replaces one that is not there at this moment, else the one that has been longest.
    pub(super) fn entering(&self, entry: &Entry, instance: &[u8; 16], guest: bool) -> Entering {
        if let Some((key, _)) = self.sessions_of(&entry.name).find(|(_, s)| s.login.instance == *instance) {
            return Entering::Resumes(key);
        }
        let peers = || self.sessions_of(&entry.name).filter(|(_, session)| session.login.guest == guest);
        let most = if guest { 1 } else { entry.clients as usize };
        if peers().count() < most {
            return Entering::Beside;
        }
        let away = peers().find(|(_, session)| session.cmd.is_none());
        away.or_else(|| peers().next()).map_or(Entering::Beside, |(key, _)| Entering::Replaces(key))
    }

    /// The one of those who serve a place that the next visitor is taken to; of equals each in its turn.
    pub(super) fn choose(&self, members: &[Member]) -> Option<Member> {
        if let [only] = members {
            return Some(*only);
        }
        let rank = |&(key, index): &Member| {
            let session = self.sessions.get(key)?;
            Some((self.is_sick((key, index)), session.cmd.is_none(), session.visitors, session.last_chosen))
        };
        let there = members.iter().filter_map(|member| Some((rank(member)?, *member)));
        there.min_by_key(|(rank, _)| *rank).map(|(_, member)| member)
    }

    /// Whether the client says that the real server is not well.
    pub(super) fn is_sick(&self, (key, index): Member) -> bool {
        let found = self.sessions.get(key).and_then(|session| session.mappings.find(index));
        found.is_some_and(|(mapping, _)| mapping.sick)
    }

    /// Where the other clients of a session's license serve the same place.
    pub(super) fn twins(&self, key: Key, index: u16) -> Vec<Member> {
        let Some(session) = self.sessions.get(key).filter(|session| !session.login.guest) else {
            return Vec::new();
        };
        let Some((mapping, offset)) = session.mappings.find(index) else { return Vec::new() };
        let others = self.clients_of(&session.login.name).filter(|(other, _)| *other != key);
        let same = others.filter_map(|(other, session)| {
            session.mappings.iter().find_map(|(&first, other_mapping)| {
                let offset = mapping.same_place(offset, other_mapping)?;
                Some((other, first + offset))
            })
        });
        same.collect()
    }

    /// How a place stands that another client of the license has bound, or is binding.
    pub(super) fn bound_by_twin(&self, key: Key, index: u16) -> Option<(Key, State)> {
        self.twins(key, index).into_iter().find_map(|(other, index)| {
            let (mapping, offset) = self.sessions.get(other)?.mappings.find(index)?;
            let place = mapping.place(offset);
            Some((place.listener()?, place.state))
        })
    }

    /// Those who wait for this client, which has gone, are served by others of its license that serve the same place,
    /// where there are such. Not those who may have reached its real server.
    pub(super) fn pass_on_waiting(&mut self, now: Time, from: Key, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get(from) else { return };
        if self.clients_of(&session.login.name).nth(1).is_none() {
            return;
        }
        let untried = |key: &Key| match self.channels.get(*key) {
            Some(Channel::Visitor(visitor)) => visitor.state.is_untried(),
            _ => false,
        };
        for visitor in session.waiting.iter().filter(untried).collect::<Vec<_>>() {
            let Some(to) = self.next_member(visitor) else { continue };
            self.move_visitor(visitor, to);
            self.serve(now, to.0, out);
        }
    }

    /// A client says that a visit has failed: where the real server was not reached, another client of the license may
    /// reach its own. The session where the visitor waits now, if so; each client is asked once at most.
    pub(super) fn try_elsewhere(&mut self, now: Time, key: Key, reason: Reason) -> Option<Key> {
        let to = self.next_member(key).filter(|_| is_before_all(reason))?;
        let Some(Channel::Visitor(visitor)) = self.channels.get_mut(key) else { return None };
        let Visitor::Asked { tries, .. } = visitor.state else { return None };
        let license = &self.sessions.get(visitor.session)?.login.name;
        let clients = self.by_license.get(license).map_or(0, Vec::len);
        if usize::from(tries) + 1 >= clients
            || visitor.state.step(now, Event::ChannelLost) != Effect::WaitAgain
        {
            return None;
        }
        let deadline = visitor.state.deadline();
        self.watch(deadline);
        self.move_visitor(key, to);
        Some(to.0)
    }

    /// Who else serves the place that a visitor has come to.
    fn next_member(&self, key: Key) -> Option<Member> {
        let Some(Channel::Visitor(visitor)) = self.channels.get(key) else { return None };
        let mut others = self.twins(visitor.session, visitor.mapping);
        others.retain(|&(to, index)| self.visit_trouble(to, index, Some(visitor.peer), Some(key)).is_none());
        self.choose(&others)
    }

    fn move_visitor(&mut self, key: Key, (to, index): Member) {
        let Some(Channel::Visitor(visitor)) = self.channels.get_mut(key) else { return };
        let from = visitor.session;
        if let Carries::Exchanges(caller) = &mut visitor.carries {
            caller.moves(to, index);
        }
        let flow = visitor.is_flow();
        if let Some(session) = self.sessions.get_mut(from) {
            session.visitors -= 1;
            session.flows -= usize::from(flow);
            session.waiting.retain(|other| other != key);
        }
        let Some(session) = self.sessions.get_mut(to) else { return };
        session.visitors += 1;
        session.flows += usize::from(flow);
        session.last_visit += 1;
        (visitor.session, visitor.mapping, visitor.visit) = (to, index, session.last_visit);
        session.waiting.push(key, flow, false);
    }

    /// The session is over.
    pub(super) fn leave_group(&mut self, license: &str, key: Key) {
        if let Some(keys) = self.by_license.get_mut(license) {
            keys.retain(|&other| other != key);
            if keys.is_empty() {
                self.by_license.remove(license);
            }
        }
    }
}

/// Whether a client that says so has not reached its real server.
fn is_before_all(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Refused
            | Reason::Unreachable
            | Reason::NoSuchHost
            | Reason::NoSuchSocket
            | Reason::Forbidden
            | Reason::NotAllowed
            | Reason::NoSuchMapping
            | Reason::Stopping
    )
}

impl Mapping {
    /// Which place of `other` is the same as this one, if any: the same kind at the same name or port. Port 0 is each
    /// time another.
    fn same_place(&self, offset: u16, other: &Self) -> Option<u16> {
        if self.spec.kind != other.spec.kind {
            return None;
        }
        match (&self.spec.public, &other.spec.public) {
            (one @ Public::Name { .. }, another) => (one == another).then_some(0),
            (_, Public::Name { .. }) => None,
            _ => {
                let (wanted, first) = (self.wanted(offset), other.wanted(0));
                let offset = wanted.port().checked_sub(first.port())?;
                let same = wanted.ip() == first.ip() && wanted.port() != 0 && first.port() != 0;
                (same && offset < other.spec.count()).then_some(offset)
            }
        }
    }
}
