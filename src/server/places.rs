//! Places, where visitors come: the ports of a mapping, or its name.
//!
//! ```text
//!             permitted                Bound
//!   Down ───────────────► Binding ───────────► Live
//!    ▲  BIND_RETRY_EVERY     │ BindFailed        │ not permitted any more
//!    └───────────────────────┴───────────────────┘
//! ```
//!
//! All that are down are tried in rounds, few at a time: a range of a thousand ports holds up nobody. A name needs no
//! listener of its own, and is `Named` at once.

use std::net::SocketAddr;

use super::doors::names_at;
use super::mappings::{DRAWS, Mapping, News, Place, State};
use super::names::Route;
use super::{Due, Server};
use crate::directory::Entry;
use crate::http::Scheme;
use crate::limits::{BIND_PAUSE, BIND_RETRY_EVERY, BINDS_PER_TURN, FLOWS_SHARE};
use crate::mapping::{Indexed, Kind, Public};
use crate::reason::Reason;
use crate::role::{Manner, Outbox, Speech};
use crate::slots::Key;
use crate::time::Time;
use crate::wire::NO_ADDRESS;

/// Of so many visitors so many may send datagrams: who needs a connection is not shut out by who needs none.
pub(super) fn flows_among(visitors: u32) -> usize {
    (visitors as usize / FLOWS_SHARE).max(1)
}

/// What is spoken at the door where such a mapping's name is served.
fn scheme_of(kind: Kind) -> Option<Scheme> {
    match kind {
        Kind::Http => Some(Scheme::Http),
        Kind::Https | Kind::Tls => Some(Scheme::Https),
        Kind::Tcp | Kind::Udp | Kind::Private => None,
    }
}

/// The next place that is down and has not been tried in this round.
fn next_untried(mappings: &mut Indexed<Mapping>) -> Option<u16> {
    mappings.iter_mut().find_map(|(&first, mapping)| {
        while mapping.tried < mapping.spec.count() {
            let offset = mapping.tried;
            mapping.tried += 1;
            if matches!(mapping.place(offset).state, State::Down(_)) {
                return Some(first + offset);
            }
        }
        None
    })
}

impl Mapping {
    /// Whether a place is served where the license permits it to be.
    pub(super) fn is_live(&self, offset: u16, entry: &Entry) -> bool {
        match (self.place(offset).state, &self.spec.public) {
            (State::Live(_, address), _) => entry.ports.contains(address.port()),
            (State::Named(_), Public::Name { name, .. }) => {
                self.spec.kind == Kind::Private || entry.hosts.contains(name)
            }
            _ => false,
        }
    }

    fn listen(
        &self,
        session: Key,
        address: SocketAddr,
        entry: Option<&Entry>,
        out: &mut Outbox<'_>,
    ) -> Option<Key> {
        match self.spec.kind {
            Kind::Udp => {
                let visitors = entry.and_then(|entry| entry.max_visitors);
                out.listen_udp(address, session, visitors.map_or(usize::MAX, flows_among))
            }
            Kind::Http | Kind::Https => out.listen(address, Speech::Http),
            Kind::Tcp | Kind::Tls => out.listen(address, Speech::Raw),
            Kind::Private => None,
        }
    }
}

impl Place {
    pub(super) fn listener(&self) -> Option<Key> {
        match self.state {
            State::Binding(key, _) | State::Live(key, _) => Some(key),
            State::Offered | State::Declined | State::Down(_) | State::Named(_) => None,
        }
    }

    pub(super) fn is_served(&self) -> bool {
        matches!(self.state, State::Live(..) | State::Named(_))
    }
}

impl Server {
    // ── Binding ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Tries what is down and has not been tried in this round: so much now, the rest soon.
    pub(super) fn bind_more(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        // Whoever asks for more before that does not get more.
        let soon = now + BIND_PAUSE;
        let goes_on = self.sessions.get(key).is_some_and(|session| session.binds_due.is_by(soon));
        let mut left = if goes_on { 0 } else { BINDS_PER_TURN };
        while left > 0
            && let Some(session) = self.sessions.get_mut(key)
            && let Some(index) = next_untried(&mut session.mappings)
        {
            self.bind(now, key, index, out);
            left -= 1;
        }
        let again = if left == 0 { soon } else { Time::NEVER };
        self.remind_to_bind(key, again);
        self.announce(key, out);
    }

    /// It is gone on with at this time; and with the next round, once this one is over.
    fn remind_to_bind(&mut self, key: Key, at: Time) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let at = if session.round_is_over() { at.min(session.next_round) } else { at };
        if session.binds_due.lower(at) {
            self.timers.remind(at, Due::Bind(key));
        }
    }

    /// It is time to go on with a round, or for the next one.
    pub(super) fn bind_due(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key).filter(|session| session.leaving.is_none()) else {
            return;
        };
        if !session.binds_due.reached(now) {
            return;
        }
        if session.next_round <= now && session.round_is_over() {
            session.next_round = Time::NEVER;
            session.mappings.values_mut().for_each(|mapping| (mapping.tried, mapping.draws) = (0, DRAWS));
        }
        self.bind_more(now, key, out);
    }

    /// Binds a place that is down, if its license permits.
    fn bind(&mut self, now: Time, key: Key, index: u16, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some((mapping, offset)) = session.mappings.find_mut(index) else { return };
        let State::Down(was) = mapping.place(offset).state else { return };
        let entry = self.config.directory.by_id(session.login.license);
        if let Public::Name { .. } = mapping.spec.public {
            return self.bind_name(now, key, index, out);
        }
        let has_door =
            scheme_of(mapping.spec.kind).is_none_or(|scheme| names_at(&self.doors, scheme).is_some());
        let mut wanted = mapping.wanted(offset);
        let port = match (wanted.port(), entry) {
            (_, None) => Err(Reason::Revoked),
            (_, Some(_)) if self.ports.len() >= self.ports_max => Err(Reason::TooMany),
            // Where names are not served there is no place for whoever speaks HTTP.
            (_, Some(_)) if !has_door => Err(Reason::NoDoor),
            (0, Some(entry)) => {
                let ports = u64::from(entry.ports.count());
                entry.ports.nth(self.entropy.below(ports.max(1)) as u32).ok_or(Reason::NoFreePort)
            }
            (port, Some(entry)) if entry.ports.contains(port) => Ok(port),
            (_, Some(_)) => Err(Reason::NotPermitted),
        };
        match port {
            Ok(port) => {
                wanted.set_port(port);
                if let Some((listener, state)) = self.bound_by_twin(key, index) {
                    return self.share(now, key, index, (listener, state), out);
                }
                let Some(session) = self.sessions.get_mut(key) else { return };
                let Some((mapping, offset)) = session.mappings.find_mut(index) else { return };
                match mapping.listen(key, wanted, entry, out) {
                    Some(listener) => {
                        mapping.place_mut(offset).state = State::Binding(listener, was);
                        self.ports.insert(listener, vec![(key, index)]);
                    }
                    None => self.place_down(now, key, index, Reason::System, out),
                }
            }
            Err(reason) => self.place_down(now, key, index, reason, out),
        }
    }

    /// Has a mapping serve its name, at the door where its kind is spoken.
    fn bind_name(&mut self, now: Time, key: Key, index: u16, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(mapping) = session.mappings.get_mut(&index) else { return };
        let Public::Name { name, path } = &mapping.spec.public else { return };
        let door =
            scheme_of(mapping.spec.kind).and_then(|scheme| Some((names_at(&self.doors, scheme)?, scheme)));
        let entry = self.config.directory.by_id(session.login.license);
        let named = match (entry, door) {
            (None, _) => Err(Reason::Revoked),
            (Some(_), _) if mapping.spec.kind == Kind::Private => Ok(NO_ADDRESS),
            (Some(_), None) => Err(Reason::NoDoor),
            (Some(entry), _) if !entry.hosts.contains(name) => Err(Reason::NameNotPermitted),
            (Some(entry), Some((address, scheme))) => {
                let names = self.names.get_or_default(scheme);
                let route = Route {
                    path: path.clone(),
                    whole: mapping.spec.kind == Kind::Tls,
                    named: entry.hosts.iter().any(|host| host == name),
                    license: session.login.name.clone(),
                    members: vec![(key, index)],
                };
                let added = !session.login.guest && names.add(name, route);
                if added { Ok(address) } else { Err(Reason::NameTaken) }
            }
        };
        match named {
            Ok(address) => self.place_found(now, key, index, State::Named(address), out),
            Err(reason) => self.place_down(now, key, index, reason, out),
        }
    }

    pub(super) fn port_bound(&mut self, now: Time, listener: Key, address: SocketAddr, out: &mut Outbox<'_>) {
        let Some(members) = self.ports.get(listener).cloned() else { return };
        let session = members.first().and_then(|(key, _)| self.sessions.get(*key));
        let entry = session.and_then(|session| self.config.directory.by_id(session.login.license));
        if !entry.is_some_and(|entry| entry.ports.contains(address.port())) {
            // The license has changed meanwhile.
            out.close(listener, Manner::Cut);
            return self.port_failed(now, listener, Reason::NotPermitted, out);
        }
        for (key, index) in members {
            self.place_found(now, key, index, State::Live(listener, address), out);
            self.remind_to_bind(key, Time::NEVER);
            self.announce(key, out);
        }
    }

    /// Visitors can come to a place.
    fn place_found(&mut self, now: Time, key: Key, index: u16, state: State, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some((mapping, offset)) = session.mappings.find_mut(index) else { return };
        *mapping.place_mut(offset) = Place { state, news: News::Fresh };
        self.adopt(now, key, index, out);
    }

    pub(super) fn port_failed(&mut self, now: Time, listener: Key, reason: Reason, out: &mut Outbox<'_>) {
        for (key, index) in self.ports.remove(listener).unwrap_or_default() {
            let Some((mapping, offset)) = self.sessions.get(key).and_then(|s| s.mappings.find(index)) else {
                continue;
            };
            let taken = reason == Reason::InUse
                && self.others_have(key, mapping.wanted(offset).port(), mapping.spec.kind);
            self.place_down(now, key, index, if taken { Reason::Taken } else { reason }, out);
            self.remind_to_bind(key, Time::NEVER);
            self.announce(key, out);
        }
    }

    /// Has a place share the listener of another client of its license.
    fn share(
        &mut self,
        now: Time,
        key: Key,
        index: u16,
        (listener, state): (Key, State),
        out: &mut Outbox<'_>,
    ) {
        if let Some(members) = self.ports.get_mut(listener) {
            members.push((key, index));
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some((mapping, offset)) = session.mappings.find_mut(index) else { return };
        match (state, &mut mapping.place_mut(offset).state) {
            (State::Binding(..), own @ &mut State::Down(was)) => *own = State::Binding(listener, was),
            _ => self.place_found(now, key, index, state, out),
        }
    }

    /// Whether another client publishes this port, in the same of TCP and UDP.
    fn others_have(&self, key: Key, port: u16, kind: Kind) -> bool {
        let has = |other: &Mapping| {
            let live = |place: &Place| matches!(place.state, State::Live(_, live) if live.port() == port);
            (other.spec.kind == Kind::Udp) == (kind == Kind::Udp) && other.places.iter().any(live)
        };
        let others = self.sessions.iter().filter(|(other, _)| *other != key);
        others.flat_map(|(_, session)| session.mappings.values()).any(has)
    }

    /// Nobody can come to a place; it is tried again in the next round.
    fn place_down(&mut self, now: Time, key: Key, index: u16, reason: Reason, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some((mapping, offset)) = session.mappings.find_mut(index) else { return };
        let again = mapping.wanted(offset).port() == 0 && reason == Reason::InUse && mapping.draws > 0;
        let place = mapping.place_mut(offset);
        if !matches!(place.state, State::Down(was) | State::Binding(_, was) if was == reason) {
            place.news = News::Fresh;
        }
        place.state = State::Down(reason);
        if again {
            mapping.draws -= 1;
            return self.bind(now, key, index, out);
        }
        session.next_round = session.next_round.min(now + BIND_RETRY_EVERY);
    }

    // ── Closing ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Closes the places that the license does not permit any more, or that have lost their door.
    pub(super) fn enforce_ports(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get(key) else { return };
        let Some(entry) = self.config.directory.by_id(session.login.license) else { return };
        let places = session.mappings.iter().flat_map(|(&first, mapping)| {
            (0..mapping.spec.count()).map(move |offset| (first + offset, mapping, offset))
        });
        let closed: Vec<(u16, State, Reason)> = places
            .filter(|&(_, mapping, offset)| mapping.place(offset).is_served())
            .filter_map(|(index, mapping, offset)| {
                Some((index, mapping.place(offset).state, self.trouble_of(mapping, offset, entry)?))
            })
            .collect();
        for &(index, state, reason) in &closed {
            self.close_place(key, index, state, out);
            self.place_down(now, key, index, reason, out);
        }
        if !closed.is_empty() {
            let is_closed = |index: u16| closed.binary_search_by_key(&index, |&(index, ..)| index).is_ok();
            self.cut_waiting(key, is_closed, out);
        }
        self.remind_to_bind(key, Time::NEVER);
        self.announce(key, out);
    }

    /// Why a place that is served is not to be any more.
    fn trouble_of(&self, mapping: &Mapping, offset: u16, entry: &Entry) -> Option<Reason> {
        let door = scheme_of(mapping.spec.kind).map(|scheme| names_at(&self.doors, scheme));
        match mapping.place(offset).state {
            _ if door == Some(None) => Some(Reason::NoDoor),
            // It is another door, whose address the client is to be told.
            State::Named(address) if door.is_some_and(|door| door != Some(address)) => Some(Reason::NoDoor),
            _ if mapping.is_live(offset, entry) => None,
            State::Named(_) => Some(Reason::NameNotPermitted),
            _ => Some(Reason::NotPermitted),
        }
    }

    /// What is down may be had now: all of it is tried without delay.
    pub(super) fn try_all(&mut self, now: Time) {
        let keys: Vec<Key> = self.sessions.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(session) = self.sessions.get_mut(key) {
                session.next_round = now;
            }
            self.remind_to_bind(key, now);
        }
    }

    /// Mappings, by their indexes, are served no longer; who waits for one goes. All at once: to look for those takes
    /// long where there are many visitors.
    pub(super) fn drop_places(&mut self, session: Key, gone: &[(u16, Mapping)], out: &mut Outbox<'_>) {
        let mut closed = Vec::new();
        for (first, mapping) in gone {
            if self.close_places(session, *first, &mapping.places, out) {
                closed.push(*first..*first + mapping.spec.count());
            }
        }
        if !closed.is_empty() {
            let is_closed = |index: u16| closed.iter().any(|indexes| indexes.contains(&index));
            self.cut_waiting(session, is_closed, out);
        }
    }

    /// The client of these places has gone.
    pub(super) fn leave_places(&mut self, session: Key, first: u16, places: &[Place], out: &mut Outbox<'_>) {
        self.names.values_mut().for_each(|names| names.leave(session, first));
        self.close_places(session, first, places, out);
    }

    /// Nobody can come to these places any more; whether anybody could.
    pub(super) fn close_places(
        &mut self,
        session: Key,
        first: u16,
        places: &[Place],
        out: &mut Outbox<'_>,
    ) -> bool {
        let indexed = places.iter().enumerate().map(|(offset, place)| (first + offset as u16, place.state));
        indexed.fold(false, |any, (index, state)| self.close_place(session, index, state, out) || any)
    }

    fn close_place(&mut self, session: Key, index: u16, state: State, out: &mut Outbox<'_>) -> bool {
        match state {
            State::Binding(listener, _) | State::Live(listener, _) => {
                let Some(members) = self.ports.get_mut(listener) else { return false };
                members.retain(|member| *member != (session, index));
                if members.is_empty() {
                    out.close(listener, Manner::Cut);
                    self.ports.remove(listener);
                }
                true
            }
            State::Named(_) => {
                self.names.values_mut().for_each(|names| names.remove(session, index));
                true
            }
            State::Offered | State::Declined | State::Down(_) => false,
        }
    }
}
