//! Mappings of a session on the server: offered or declared, told about, and gone.
//!
//! What a visitor comes to is a *place*: a port of a mapping, or its name. A range is one mapping that has as many of
//! them as ports; how each comes to be is told in [`super::places`].

use std::net::SocketAddr;
use std::ops::Range;

use super::Server;
use crate::limits::{MAPPINGS_MAX, MAPS_PER_BATCH, SERVER_MAPPING_BIT};
use crate::mapping::{Indexed, Mapping as Spec};
use crate::note::Note;
use crate::reason::Reason;
use crate::role::{Outbox, Verb};
use crate::slots::Key;
use crate::time::Time;
use crate::wire::{Frame, Map, Mapped, NO_ADDRESS};

/// One mapping of a session.
#[derive(Debug)]
pub(super) struct Mapping {
    /// What was asked for.
    pub(super) spec: Spec,
    /// Where visitors come: one for each of its ports.
    pub(super) places: Box<[Place]>,
    /// So many of them have been tried in this round; the others are still to be.
    pub(super) tried: u16,
    /// Tries left to find a free port for port 0.
    pub(super) draws: u8,
    /// What counts its visitors' payload, once somebody has come.
    pub(super) meter: Option<Key>,
    /// Its client says that its real server is not well.
    pub(super) sick: bool,
    /// This login has declared it.
    pub(super) declared: bool,
    /// It is still to be offered to the client.
    to_offer: bool,
}

/// A port of a mapping, or its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) state: State,
    pub(super) news: News,
}

/// Where a place stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It stands in the license and is offered; the client has not taken it.
    Offered,
    /// The client does not take it.
    Declined,
    /// Not bound, and why; tried again.
    Down(Reason),
    /// A listener is being made; it was down, and why.
    Binding(Key, Reason),
    /// Visitors can come to its port.
    Live(Key, SocketAddr),
    /// Visitors can come to its name, at this door; other clients, where it is private.
    Named(SocketAddr),
}

/// Who has not heard how a place stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Nobody: it has been told.
    None,
    /// The client.
    Untold,
    /// Neither the client nor who reads the log.
    Fresh,
}

/// Places of a mapping that follow each other, and of which the same is to be said.
struct Run {
    places: Range<u16>,
    trouble: Option<Reason>,
    /// The first one's.
    public: SocketAddr,
}

impl Run {
    /// Whether this place is the next of it.
    fn goes_on(&self, offset: u16, trouble: Option<Reason>, public: SocketAddr) -> bool {
        let port = self.public.port().saturating_add(offset - self.places.start);
        let next = (self.places.end, self.trouble, SocketAddr::new(self.public.ip(), port));
        next == (offset, trouble, public)
    }
}

/// Ports that are drawn before a mapping with port 0 gives up for this time.
pub(super) const DRAWS: u8 = 16;

impl Mapping {
    fn new(spec: Spec, state: State) -> Self {
        let places = vec![Place { state, news: News::None }; usize::from(spec.count())].into();
        Self {
            spec,
            places,
            tried: 0,
            draws: DRAWS,
            meter: None,
            sick: false,
            declared: true,
            to_offer: false,
        }
    }

    /// The place at an offset that was found together with this mapping.
    pub(super) fn place(&self, offset: u16) -> &Place {
        &self.places[usize::from(offset)]
    }

    /// See [`Self::place`].
    pub(super) fn place_mut(&mut self, offset: u16) -> &mut Place {
        &mut self.places[usize::from(offset)]
    }

    /// A place as it was asked for, in an answer: port 0 is any, and a name has no address of its own.
    pub(super) fn wanted(&self, offset: u16) -> SocketAddr {
        let mut address = wanted(&self.spec);
        address.set_port(address.port() + offset);
        address
    }

    /// Nobody comes to any place any more, nor is one bound again; where they were.
    pub(super) fn close(&mut self) -> Box<[Place]> {
        let down = Place { state: State::Down(Reason::ClientAway), news: News::None };
        self.tried = self.spec.count();
        let places = vec![down; self.places.len()].into();
        std::mem::replace(&mut self.places, places)
    }

    /// The client is told of all places again.
    fn tell_again(&mut self) {
        let told = self.places.iter_mut().filter(|place| place.news == News::None);
        told.for_each(|place| place.news = News::Untold);
    }

    /// Whether each place that is to be bound has been tried in this round, with success or without.
    pub(super) fn is_settled(&self) -> bool {
        self.places.iter().enumerate().rev().all(|(offset, place)| match place.state {
            State::Binding(..) => false,
            State::Down(_) => offset < usize::from(self.tried),
            State::Offered | State::Declined | State::Live(..) | State::Named(_) => true,
        })
    }

    /// What is to be said of a place.
    fn answer(&self, offset: u16) -> Option<(Option<Reason>, SocketAddr)> {
        match self.place(offset).state {
            State::Down(reason) => Some((Some(reason), self.wanted(offset))),
            State::Live(_, public) | State::Named(public) => Some((None, public)),
            State::Offered | State::Declined | State::Binding(..) => None,
        }
    }

    /// The places whose news is such, as far as the same can be said of those that follow each other. None before all
    /// have been tried: until then who knows what will be said of a place's neighbours?
    fn runs(&self, such: impl Fn(News) -> bool) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let offsets = if self.is_settled() { 0..self.spec.count() } else { 0..0 };
        for offset in offsets.filter(|&offset| such(self.place(offset).news)) {
            let Some((trouble, public)) = self.answer(offset) else { continue };
            match runs.last_mut() {
                Some(last) if last.goes_on(offset, trouble, public) => last.places.end += 1,
                _ => runs.push(Run { places: offset..offset + 1, trouble, public }),
            }
        }
        runs
    }

    fn set_news(&mut self, places: Range<u16>, news: News) {
        places.for_each(|offset| self.place_mut(offset).news = news);
    }
}

impl AsRef<Spec> for Mapping {
    fn as_ref(&self) -> &Spec {
        &self.spec
    }
}

/// The public side as it was asked for, its first port at least.
fn wanted(spec: &Spec) -> SocketAddr {
    spec.public.address().unwrap_or(NO_ADDRESS)
}

/// What the log says of a mapping, or of a part of one.
fn note(name: &str, spec: &Spec, trouble: Option<Reason>, public: SocketAddr) -> Note {
    let (name, target) = (name.to_owned(), spec.target.to_string());
    let public = spec.shown_at(public, None);
    match trouble {
        None => Note::MappingUp { name, public, target },
        Some(reason) => Note::MappingDown { name, public, target, reason },
    }
}

/// An index for an offer of so many places: from `next` on, or, when tens of thousands have been used up, the first
/// that is free.
fn free_index(mappings: &Indexed<Mapping>, next: u16, count: u16) -> Option<u16> {
    [next, SERVER_MAPPING_BIT + 1].into_iter().find_map(|start| {
        let mut index = start;
        while let Some(&other) = mappings.overlapping(index..index.checked_add(count)?).last() {
            index = other + mappings[&other].spec.count();
        }
        Some(index)
    })
}

impl Server {
    /// Puts the mappings that stand in the license into the session, to be offered to the client; what
    /// stands there no longer goes.
    pub(super) fn offer_mappings(&mut self, key: Key, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get(key) else { return };
        let Some(entry) = self.config.directory.by_id(session.login.license) else { return };
        if session.login.guest {
            return;
        }
        let on_demand: Vec<Spec> = self.demands_of(&entry.name).cloned().collect();
        let Some(session) = self.sessions.get_mut(key) else { return };
        let mut old = session.mappings.split_off(&SERVER_MAPPING_BIT);
        let mut new = Vec::new();
        for spec in entry.maps.iter().filter(|spec| spec.served().is_ok()).chain(&on_demand) {
            // One that is the same keeps its index, is offered again, and serves on meanwhile.
            let same = old.iter().find(|(_, old)| old.spec == *spec).map(|(&index, _)| index);
            match same.and_then(|index| old.remove_entry(&index)) {
                Some((index, mapping)) => {
                    let offered = Mapping { declared: true, to_offer: true, ..mapping };
                    session.mappings.insert(index, offered);
                }
                None => new.push(spec.clone()),
            }
        }
        // No index is used for another, or not soon: a visitor who waits came for what it stood for.
        for spec in new {
            let Some(index) = free_index(&session.mappings, session.next_offer, spec.count()) else {
                // Nobody changes a license so often while a client is logged in.
                out.note(note(&session.login.name, &spec, Some(Reason::TooMany), wanted(&spec)));
                continue;
            };
            session.next_offer = index + spec.count();
            session.mappings.insert(index, Mapping { to_offer: true, ..Mapping::new(spec, State::Offered) });
        }
        self.drop_places(key, &old.into_iter().collect::<Vec<_>>(), out);
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
        let sick = mapped.trouble == Some(Reason::Sick);
        if std::mem::replace(&mut mapping.sick, sick) != sick {
            out.note(note(&session.login.name, &mapping.spec, mapped.trouble, wanted(&mapping.spec)));
        }
        if mapped.index & SERVER_MAPPING_BIT == 0 {
            return mapped.trouble.is_none_or(|reason| reason == Reason::Sick);
        }
        if sick {
            return true;
        }
        if let Some(reason) = mapped.trouble {
            let declined = Mapping::new(mapping.spec.clone(), State::Declined);
            let before = std::mem::replace(mapping, declined);
            out.note(note(&session.login.name, &before.spec, Some(reason), wanted(&before.spec)));
            self.drop_places(key, &[(mapped.index, before)], out);
        } else {
            // It says so as often as it likes: what is down is tried again in its time.
            if matches!(mapping.place(0).state, State::Offered | State::Declined) {
                mapping.places.iter_mut().for_each(|place| place.state = State::Down(Reason::ClientAway));
                mapping.tried = 0;
            }
            mapping.tell_again();
        }
        self.bind_more(now, key, out);
        true
    }

    /// The client declares a mapping.
    pub(super) fn map_declared(&mut self, now: Time, key: Key, map: &Map<'_>, out: &mut Outbox<'_>) -> bool {
        let Some(session) = self.sessions.get_mut(key) else { return false };
        let spec = Spec::from_wire(map.mapping);
        let count = spec.as_ref().map_or(1, Spec::count);
        let indexes = map.index..map.index.saturating_add(count);
        if indexes.end > SERVER_MAPPING_BIT || session.maps_to_come == 0 {
            return false;
        }
        session.maps_to_come -= 1;
        // One with the same public side serves on; whatever else had these indexes has gone.
        let same = |old: &Mapping, new: &Spec| old.spec.public == new.public && old.spec.kind == new.kind;
        let old = session.mappings.get(&map.index).zip(spec.as_ref());
        let stays = old.is_some_and(|(old, new)| same(old, new));
        if !stays {
            let others = session.mappings.overlapping(indexes.clone());
            self.drop_mappings(key, &others, out);
        }
        let Some(session) = self.sessions.get_mut(key) else { return false };
        let entry = self.config.directory.by_id(session.login.license);
        let most = entry.and_then(|entry| entry.max_mappings).map_or(MAPPINGS_MAX, |most| most as usize);
        let held = session.mappings.count(0..u16::MAX);
        let room = stays || held + usize::from(count) <= most.min(MAPPINGS_MAX);
        match spec {
            Some(spec) if room => {
                let new = || Mapping::new(spec.clone(), State::Down(Reason::ClientAway));
                let mapping = session.mappings.get_or_insert_with(map.index, new);
                let changed = mapping.spec != spec;
                (mapping.spec, mapping.declared, mapping.tried, mapping.sick) = (spec, true, 0, false);
                mapping.tell_again();
                if changed {
                    self.mapping_changed(key, map.index, out);
                    self.cut_waiting(key, |index| indexes.contains(&index), out);
                }
            }
            refused => {
                let reason = if refused.is_some() { Reason::TooMany } else { Reason::NotServed };
                let public = refused.as_ref().map_or(NO_ADDRESS, wanted);
                let count = if refused.is_some() { count } else { 0 };
                let name = &session.login.name;
                out.note(match &refused {
                    Some(spec) => note(name, spec, Some(reason), public),
                    // What could not be read may hold a password.
                    None => Note::MappingDown {
                        name: name.clone(),
                        public: NO_ADDRESS.to_string(),
                        target: "?".to_owned(),
                        reason,
                    },
                });
                if let Some(cmd) = session.cmd {
                    let trouble = Some(reason);
                    out.send(cmd, &Frame::Mapped(Mapped { index: map.index, count, trouble, public }));
                }
            }
        }
        self.bind_more(now, key, out);
        self.mappings_declared(key, out);
        true
    }

    /// When all MAP frames of a login have come, what they did not name again goes.
    pub(super) fn mappings_declared(&mut self, key: Key, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get(key).filter(|session| session.maps_to_come == 0) else {
            return;
        };
        let gone = session.mappings.iter().filter(|(_, mapping)| !mapping.declared);
        let gone: Vec<u16> = gone.map(|(&index, _)| index).collect();
        self.drop_mappings(key, &gone, out);
    }

    /// The mappings with these first indexes are served no longer.
    fn drop_mappings(&mut self, key: Key, gone: &[u16], out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let gone = gone.iter().filter_map(|index| session.mappings.remove_entry(index));
        let gone: Vec<(u16, Mapping)> = gone.collect();
        self.drop_places(key, &gone, out);
    }

    /// Says what is new of the mappings: in the log, and to the client, who is told as much as surely fits, and the
    /// rest when that has left.
    pub(super) fn announce(&mut self, key: Key, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let cmd = session.cmd.filter(|_| !session.telling);
        let mut left = MAPS_PER_BATCH;
        for (&index, mapping) in session.mappings.iter_mut() {
            for Run { places, trouble, public } in mapping.runs(|news| news == News::Fresh) {
                let part = mapping.spec.part(places.start, places.len() as u16);
                out.note(note(&session.login.name, &part, trouble, public));
                mapping.set_news(places, News::Untold);
            }
            let Some(cmd) = cmd else { continue };
            if mapping.to_offer && left > 0 {
                let text = mapping.spec.to_string();
                out.send(cmd, &Frame::Map(Map { index, mapping: &text }));
                // How it stands is told when the client has taken it.
                let untold = mapping.places.iter_mut().filter(|place| place.news == News::Untold);
                untold.for_each(|place| place.news = News::None);
                (mapping.to_offer, left) = (false, left - 1);
            }
            for Run { places, trouble, public } in
                mapping.runs(|news| news != News::None).into_iter().take(left)
            {
                let (index, count) = (index + places.start, places.len() as u16);
                out.send(cmd, &Frame::Mapped(Mapped { index, count, trouble, public }));
                mapping.set_news(places, News::None);
                left -= 1;
            }
        }
        if let Some(cmd) = cmd.filter(|_| left < MAPS_PER_BATCH) {
            session.telling = true;
            out.push(Verb::TellDrained(cmd));
        }
    }
}
