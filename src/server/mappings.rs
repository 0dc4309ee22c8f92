//! Mappings of a session on the server: declared, bound, told about, and bound again when that failed.
//!
//! ```text
//!             permitted                Bound
//!   Down ───────────────► Binding ───────────► Live
//!    ▲  BIND_RETRY_EVERY     │ BindFailed        │ not permitted any more
//!    └───────────────────────┴───────────────────┘
//! ```

use std::net::SocketAddr;

use super::names::Route;
use super::{Door, Due, Server};
use crate::directory::Entry;
use crate::http::Scheme;
use crate::limits::{BIND_RETRY_EVERY, FLOWS_SHARE, MAPPINGS_MAX, MAPS_PER_BATCH, SERVER_MAPPING_BIT};
use crate::mapping::{Kind, Mapping as Spec, Public};
use crate::note::Note;
use crate::reason::Reason;
use crate::role::{Manner, Outbox, Speech, Verb};
use crate::slots::Key;
use crate::time::Time;
use crate::wire::{Frame, Map, Mapped, NO_ADDRESS};

/// One mapping of a session.
#[derive(Debug)]
pub(super) struct Mapping {
    /// What was asked for.
    pub(super) spec: Spec,
    pub(super) state: State,
    /// This login has declared it.
    pub(super) declared: bool,
    /// What the client must still be told.
    news: News,
    /// Tries left to find a free port for port 0.
    draws: u8,
}

/// Where a mapping stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It stands in the license and is offered; the client has not taken it.
    Offered,
    /// The client does not take it.
    Declined,
    /// Not bound, and why; tried again.
    Down(Reason),
    /// A listener is being made.
    Binding(Key),
    /// Visitors can come to its port.
    Live(Key, SocketAddr),
    /// Visitors can come to its name, at this door; other clients, where it is private.
    Named(SocketAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    None,
    Offer,
    State,
}

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

/// Ports that are drawn before a mapping with port 0 gives up for this time.
const DRAWS: u8 = 16;

impl Mapping {
    fn new(spec: Spec, state: State) -> Self {
        Self { spec, state, declared: true, news: News::None, draws: DRAWS }
    }

    /// The public side as it was asked for, in an answer: port 0 is any, and a name has no address of its own.
    fn wanted(&self) -> SocketAddr {
        self.spec.public.address().unwrap_or(NO_ADDRESS)
    }

    fn down(&self, name: &str, reason: Reason) -> Note {
        let (public, target) = (self.spec.shown_at(self.wanted(), None), self.spec.target.to_string());
        Note::MappingDown { name: name.to_owned(), public, target, reason }
    }

    fn listen(&self, session: Key, port: u16, entry: Option<&Entry>, out: &mut Outbox<'_>) -> Option<Key> {
        let address = SocketAddr::new(self.wanted().ip(), port);
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

    /// Whether it is served where its license permits it to be.
    pub(super) fn is_live(&self, entry: &Entry) -> bool {
        match (self.state, &self.spec.public) {
            (State::Live(_, address), _) => entry.ports.contains(address.port()),
            (State::Named(_), Public::Name { name, .. }) => {
                self.spec.kind == Kind::Private || entry.hosts.contains(name)
            }
            _ => false,
        }
    }

    pub(super) fn listener(&self) -> Option<Key> {
        match self.state {
            State::Binding(key) | State::Live(key, _) => Some(key),
            State::Offered | State::Declined | State::Down(_) | State::Named(_) => None,
        }
    }
}

impl Server {
    /// Puts the mappings that stand in the license into the session, to be offered to the client; what
    /// stands there no longer goes.
    pub(super) fn offer_mappings(&mut self, key: Key, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(entry) = self.config.directory.by_id(session.login.license) else { return };
        let served = entry.maps.iter().filter(|spec| spec.served().is_ok());
        let mut old = session.mappings.split_off(&SERVER_MAPPING_BIT);
        for spec in served.take(MAPPINGS_MAX) {
            // One that is the same keeps its index, is offered again, and serves on meanwhile. No index is
            // used for another: a visitor who waits came for what it stood for.
            let same = old.iter().find(|(_, old)| old.spec == *spec).map(|(&index, _)| index);
            let (index, mapping) = match same.and_then(|index| old.remove_entry(&index)) {
                Some(same) => same,
                None => {
                    session.last_offer = session.last_offer.saturating_add(1);
                    (session.last_offer, Mapping::new(spec.clone(), State::Offered))
                }
            };
            session.mappings.insert(index, Mapping { declared: true, news: News::Offer, ..mapping });
        }
        for (index, mapping) in old {
            self.drop_place(key, index, mapping.state, out);
        }
    }

    /// The client declares a mapping.
    pub(super) fn map_declared(&mut self, now: Time, key: Key, map: &Map<'_>, out: &mut Outbox<'_>) -> bool {
        let Some(session) = self.sessions.get_mut(key) else { return false };
        if map.index & SERVER_MAPPING_BIT != 0 || session.maps_to_come == 0 {
            return false;
        }
        session.maps_to_come -= 1;
        let permitted =
            self.config.directory.by_id(session.login.license).and_then(|entry| entry.max_mappings);
        let most = permitted.map_or(MAPPINGS_MAX, |most| most as usize).min(MAPPINGS_MAX);
        let room = session.mappings.len() < most || session.mappings.contains_key(&map.index);
        match Spec::from_wire(map.mapping) {
            Some(spec) if room => {
                match session.mappings.get_mut(&map.index) {
                    Some(old) if old.spec.public == spec.public && old.spec.kind == spec.kind => {
                        let same = old.spec == spec;
                        (old.spec, old.declared, old.news) = (spec, true, News::State);
                        if !same {
                            self.cut_waiting(key, map.index, out);
                        }
                    }
                    _ => {
                        let state = State::Down(Reason::ClientAway);
                        let old = session.mappings.insert(map.index, Mapping::new(spec, state));
                        if let Some(old) = old {
                            self.drop_place(key, map.index, old.state, out);
                        }
                    }
                }
                self.bind(now, key, map.index, out);
            }
            refused => {
                let reason = if room { Reason::NotServed } else { Reason::TooMany };
                // What could not be read may hold a password.
                let unread = || (NO_ADDRESS, NO_ADDRESS.to_string(), "?".to_owned());
                let (public, shown, target) = refused.map_or_else(unread, |spec| {
                    let wanted = spec.public.address().unwrap_or(NO_ADDRESS);
                    (wanted, spec.shown_at(wanted, None), spec.target.to_string())
                });
                let name = session.login.name.clone();
                out.note(Note::MappingDown { name, public: shown, target, reason });
                if let Some(cmd) = session.cmd {
                    out.send(cmd, &Frame::Mapped(Mapped { index: map.index, trouble: Some(reason), public }));
                }
            }
        }
        self.mappings_declared(now, key, out);
        self.announce(key, out);
        true
    }

    /// When all MAP frames of a login have come, what they did not name again goes.
    pub(super) fn mappings_declared(&mut self, _now: Time, key: Key, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.maps_to_come > 0 {
            return;
        }
        let gone: Vec<u16> =
            session.mappings.iter().filter(|(_, m)| !m.declared).map(|(&index, _)| index).collect();
        for index in gone {
            let Some(session) = self.sessions.get_mut(key) else { return };
            if let Some(mapping) = session.mappings.remove(&index) {
                self.drop_place(key, index, mapping.state, out);
            }
        }
    }

    /// A mapping is served no longer; who waits for it goes.
    fn drop_place(&mut self, session: Key, mapping: u16, state: State, out: &mut Outbox<'_>) {
        if self.close_place(session, mapping, state, out) {
            self.cut_waiting(session, mapping, out);
        }
    }

    /// The client of a mapping has gone.
    pub(super) fn leave_place(&mut self, session: Key, mapping: u16, state: State, out: &mut Outbox<'_>) {
        self.names.values_mut().for_each(|names| names.leave(session, mapping));
        self.close_place(session, mapping, state, out);
    }

    /// Nobody can come to a mapping any more; whether anybody could.
    pub(super) fn close_place(
        &mut self,
        session: Key,
        mapping: u16,
        state: State,
        out: &mut Outbox<'_>,
    ) -> bool {
        match state {
            State::Binding(listener) | State::Live(listener, _) => {
                out.close(listener, Manner::Cut);
                self.ports.remove(listener).is_some()
            }
            State::Named(_) => {
                self.names.values_mut().for_each(|names| names.remove(session, mapping));
                true
            }
            State::Offered | State::Declined | State::Down(_) => false,
        }
    }

    /// The client says whether it takes a mapping that was offered.
    pub(super) fn offer_answered(
        &mut self,
        now: Time,
        key: Key,
        mapped: Mapped,
        out: &mut Outbox<'_>,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(key) else { return false };
        let Some(mapping) = session.mappings.get_mut(&mapped.index) else { return true };
        if mapped.index & SERVER_MAPPING_BIT == 0 {
            return false;
        }
        if let Some(reason) = mapped.trouble {
            let state = std::mem::replace(&mut mapping.state, State::Declined);
            out.note(mapping.down(&session.login.name, reason));
            self.drop_place(key, mapped.index, state, out);
        } else {
            if matches!(mapping.state, State::Offered | State::Declined) {
                mapping.state = State::Down(Reason::ClientAway);
            }
            mapping.news = News::State;
            self.bind(now, key, mapped.index, out);
            self.announce(key, out);
        }
        true
    }

    /// Binds a mapping that is down, if its license permits.
    fn bind(&mut self, now: Time, key: Key, index: u16, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(mapping) = session.mappings.get_mut(&index) else { return };
        if !matches!(mapping.state, State::Down(_)) {
            return;
        }
        let entry = self.config.directory.by_id(session.login.license);
        if let Public::Name { .. } = mapping.spec.public {
            return self.bind_name(now, key, index, out);
        }
        let has_door = scheme_of(mapping.spec.kind).is_none_or(|scheme| self.names.contains_key(&scheme));
        let port = match (mapping.wanted().port(), entry) {
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
            Ok(port) => match mapping.listen(key, port, entry, out) {
                Some(listener) => {
                    mapping.state = State::Binding(listener);
                    self.ports.insert(listener, (key, index));
                }
                None => self.mapping_down(now, key, index, Reason::System, out),
            },
            Err(reason) => self.mapping_down(now, key, index, reason, out),
        }
    }

    /// Has a mapping serve its name, at the door where its kind is spoken.
    fn bind_name(&mut self, now: Time, key: Key, index: u16, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(mapping) = session.mappings.get_mut(&index) else { return };
        let Public::Name { name, path } = &mapping.spec.public else { return };
        let door = scheme_of(mapping.spec.kind).and_then(|scheme| {
            let door = self.doors.iter().find(|(_, (door, _))| *door == Door::Names(scheme));
            door.map(|(_, &(_, address))| (address, scheme))
        });
        let entry = self.config.directory.by_id(session.login.license);
        let named = match (entry, door) {
            (None, _) => Err(Reason::Revoked),
            (Some(_), _) if mapping.spec.kind == Kind::Private => Ok(NO_ADDRESS),
            (Some(_), None) => Err(Reason::NoDoor),
            (Some(entry), _) if !entry.hosts.contains(name) => Err(Reason::NameNotPermitted),
            (Some(entry), Some((address, scheme))) => {
                let names = self.names.entry(scheme).or_default();
                let route = Route {
                    path: path.clone(),
                    whole: mapping.spec.kind == Kind::Tls,
                    named: entry.hosts.iter().any(|host| host == name),
                    session: key,
                    mapping: index,
                };
                let added = names.add(name, route);
                if added { Ok(address) } else { Err(Reason::NameTaken) }
            }
        };
        match named {
            Ok(address) => {
                mapping.state = State::Named(address);
                self.place_found(now, key, index, address, out);
            }
            Err(reason) => self.mapping_down(now, key, index, reason, out),
        }
    }

    /// Tries again whatever is down.
    pub(super) fn bind_all(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if !session.binds_due.reached(now) {
            return;
        }
        let down: Vec<u16> = session
            .mappings
            .iter_mut()
            .filter(|(_, mapping)| matches!(mapping.state, State::Down(_)))
            .map(|(&index, mapping)| {
                mapping.draws = DRAWS;
                index
            })
            .collect();
        for index in down {
            self.bind(now, key, index, out);
        }
        self.announce(key, out);
    }

    pub(super) fn port_bound(&mut self, now: Time, listener: Key, address: SocketAddr, out: &mut Outbox<'_>) {
        let Some(&(key, index)) = self.ports.get(listener) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(mapping) = session.mappings.get_mut(&index) else { return };
        mapping.state = State::Live(listener, address);
        self.place_found(now, key, index, address, out);
    }

    /// Visitors can come to a mapping.
    fn place_found(&mut self, now: Time, key: Key, index: u16, address: SocketAddr, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(mapping) = session.mappings.get_mut(&index) else { return };
        mapping.news = News::State;
        let (name, target) = (session.login.name.clone(), mapping.spec.target.to_string());
        out.note(Note::MappingUp { name, public: mapping.spec.shown_at(address, None), target });
        self.announce(key, out);
        self.adopt(now, key, index, out);
    }

    pub(super) fn port_failed(&mut self, now: Time, listener: Key, reason: Reason, out: &mut Outbox<'_>) {
        let Some((key, index)) = self.ports.remove(listener) else { return };
        let Some(mapping) = self.sessions.get(key).and_then(|session| session.mappings.get(&index)) else {
            return;
        };
        let has = |other: &Mapping| {
            let port = matches!(other.state, State::Live(_, live) if live.port() == mapping.wanted().port());
            port && (other.spec.kind == Kind::Udp) == (mapping.spec.kind == Kind::Udp)
        };
        let others = self.sessions.iter().filter(|(other, _)| *other != key);
        let ours = others.flat_map(|(_, session)| session.mappings.values()).any(has);
        let reason = if reason == Reason::InUse && ours { Reason::Taken } else { reason };
        self.mapping_down(now, key, index, reason, out);
        self.announce(key, out);
    }

    fn mapping_down(&mut self, now: Time, key: Key, index: u16, reason: Reason, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(mapping) = session.mappings.get_mut(&index) else { return };
        let again = mapping.wanted().port() == 0 && reason == Reason::InUse && mapping.draws > 0;
        let fresh = !matches!(mapping.state, State::Down(old) if old == reason);
        mapping.state = State::Down(reason);
        if again {
            mapping.draws -= 1;
            return self.bind(now, key, index, out);
        }
        if fresh {
            mapping.news = News::State;
            out.note(mapping.down(&session.login.name, reason));
        }
        // One reminder for all that are down: each of them being tried would remind of all of them again.
        if session.binds_due.lower(now + BIND_RETRY_EVERY) {
            self.timers.remind(now + BIND_RETRY_EVERY, Due::Bind(key));
        }
    }

    /// Closes the ports that the license does not permit any more.
    pub(super) fn enforce_ports(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get(key) else { return };
        let Some(entry) = self.config.directory.by_id(session.login.license) else { return };
        let live = |mapping: &Mapping| matches!(mapping.state, State::Live(..) | State::Named(_));
        let closed = session.mappings.iter().filter(|(_, mapping)| live(mapping) && !mapping.is_live(entry));
        let closed: Vec<(u16, State)> = closed.map(|(&index, mapping)| (index, mapping.state)).collect();
        for (index, state) in closed {
            self.drop_place(key, index, state, out);
            let named = matches!(state, State::Named(_));
            let reason = if named { Reason::NameNotPermitted } else { Reason::NotPermitted };
            self.mapping_down(now, key, index, reason, out);
        }
        self.announce(key, out);
    }

    /// Tells the client what it does not know yet of its mappings: as much as surely fits, the rest when
    /// that has left.
    pub(super) fn announce(&mut self, key: Key, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(cmd) = session.cmd.filter(|_| !session.telling) else { return };
        let mut left = MAPS_PER_BATCH;
        for (&index, mapping) in &mut session.mappings {
            let text;
            let frame = match (mapping.news, mapping.state) {
                (News::None, _) | (News::State, State::Offered | State::Declined | State::Binding(_)) => {
                    continue;
                }
                (News::Offer, _) => {
                    text = mapping.spec.to_string();
                    Frame::Map(Map { index, mapping: &text })
                }
                (News::State, State::Down(reason)) => {
                    Frame::Mapped(Mapped { index, trouble: Some(reason), public: mapping.wanted() })
                }
                (News::State, State::Live(_, public) | State::Named(public)) => {
                    Frame::Mapped(Mapped { index, trouble: None, public })
                }
            };
            if left == 0 {
                break;
            }
            left -= 1;
            out.send(cmd, &frame);
            mapping.news = News::None;
        }
        if left < MAPS_PER_BATCH {
            session.telling = true;
            out.push(Verb::TellDrained(cmd));
        }
    }
}
