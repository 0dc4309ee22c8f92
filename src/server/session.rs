//! A session: one login of one license, and everything it made.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::mappings::Mapping;
use super::{Channel, Due, Server};
use crate::channel::cmd::{Beat, Pulse};
use crate::directory::Entry;
use crate::license::{AttachKey, LicenseId};
use crate::limits::{POOL_MIN, SERVER_MAPPING_BIT};
use crate::mapping::{Indexed, Mapping as Spec};
use crate::note::Note;
use crate::reason::Reason;
use crate::role::{Manner, Outbox};
use crate::slots::Key;
use crate::sorted::Sorted;
use crate::time::Time;
use crate::timers::Earliest;
use crate::wire::Frame;

/// One login of one license.
#[derive(Debug)]
pub(super) struct Session {
    /// Drawn for it, so that a client knows whether it is the one it remembers.
    pub(super) generation: u64,
    /// The present login.
    pub(super) login: Login,
    /// The CmdChannel; `None` while the client is away.
    pub(super) cmd: Option<Key>,
    pub(super) pulse: Pulse,
    pub(super) mappings: Indexed<Mapping>,
    /// MAP frames of this login that are still to come; what they do not name again goes.
    pub(super) maps_to_come: u16,
    /// Visitors without a ProxyChannel.
    pub(super) waiting: Waiting,
    /// Those who waited in the session before this one, until the mapping that each came to is served again.
    pub(super) inherited: Vec<(Key, Spec)>,
    pub(super) pool: Pool,
    /// When the heartbeat is due.
    pub(super) pulse_due: Earliest,
    /// When the next places that are down are tried …
    pub(super) binds_due: Earliest,
    /// … and when all of them are tried once more.
    pub(super) next_round: Time,
    pub(super) last_visit: u64,
    /// When a visitor was last taken here, by the count of all.
    pub(super) last_chosen: u64,
    /// Index of the next mapping that is offered.
    pub(super) next_offer: u16,
    /// Visitors at once …
    pub(super) visitors: usize,
    /// … and those of them who send datagrams.
    pub(super) flows: usize,
    /// What the client was told of its mappings has not left yet: the rest waits for that.
    pub(super) telling: bool,
    /// The last order of ProxyChannels, until it has left: the next waits for that.
    pub(super) opening: Opening,
    /// The client has said goodbye: only the visits there are go on.
    pub(super) leaving: Option<Reason>,
}

/// The ProxyChannels of a session that carry no visit, and those that are to come.
#[derive(Debug)]
pub(super) struct Pool {
    /// Free ones, last used last: it is the next to be used.
    pub(super) idle: Vec<Key>,
    /// Ordered ones that have not come, by number, and when they are given up.
    pub(super) orders: Sorted<u64, Time>,
    pub(super) last_order: u64,
    /// When ordered ones are to be looked for.
    pub(super) orders_due: Earliest,
    /// So many are being drained of a visit that was cut …
    pub(super) draining: usize,
    /// … and so many wait for the client's word that a flow is over.
    pub(super) ended: usize,
    /// So many free ones demand calls for.
    pub(super) spare: usize,
    /// Fewest free ones since the last review: so many nobody needed.
    pub(super) unneeded: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            idle: Vec::new(),
            orders: Sorted::new(),
            last_order: 0,
            orders_due: Earliest::default(),
            draining: 0,
            ended: 0,
            spare: POOL_MIN,
            unneeded: 0,
        }
    }
}

/// An order of ProxyChannels on its way out. Many visitors who come at once share the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// It has left, or there was none.
    Left,
    /// It has not.
    Leaving,
    /// It has not, and more is wanted.
    MoreWanted,
}

/// Visitors without a ProxyChannel, longest waiting first. Whoever sends datagrams, which costs nobody an answered
/// packet, stands behind all others.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    visitors: VecDeque<Key>,
    flows: VecDeque<Key>,
}

impl Waiting {
    /// Behind all of its kind, or before them.
    pub(super) fn push(&mut self, key: Key, flow: bool, first: bool) {
        let queue = if flow { &mut self.flows } else { &mut self.visitors };
        if first { queue.push_front(key) } else { queue.push_back(key) }
    }

    pub(super) fn pop(&mut self) -> Option<Key> {
        self.visitors.pop_front().or_else(|| self.flows.pop_front())
    }

    /// Visitors, and flows.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.visitors.len(), self.flows.len())
    }

    /// How many there are in all.
    pub(super) fn count(&self) -> usize {
        self.visitors.len() + self.flows.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Key> {
        self.visitors.iter().chain(&self.flows).copied()
    }

    pub(super) fn retain(&mut self, stays: impl Fn(Key) -> bool) {
        self.visitors.retain(|&key| stays(key));
        self.flows.retain(|&key| stays(key));
    }
}

/// What a login means for those that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entering {
    /// It comes beside them.
    Beside,
    /// It is one of them, again.
    Resumes(Key),
    /// It is another one in the place of this.
    Replaces(Key),
}

/// What a login brings.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) name: String,
    /// It comes beside the license's clients.
    pub(super) guest: bool,
    pub(super) license: LicenseId,
    pub(super) instance: [u8; 16],
    pub(super) peer: SocketAddr,
    pub(super) since: Time,
    /// Where the client is: its ProxyChannels come from there too, most likely.
    pub(super) home: Home,
    pub(super) counter: u64,
    pub(super) id: [u8; 16],
    pub(super) attach: AttachKey,
    pub(super) mappings: u16,
}

impl Session {
    fn new(now: Time, cmd: Key, login: Login, generation: u64) -> Self {
        Self {
            generation,
            cmd: Some(cmd),
            pulse: Pulse::new(now),
            pulse_due: Earliest::default(),
            mappings: Indexed::default(),
            maps_to_come: login.mappings,
            next_offer: SERVER_MAPPING_BIT + 1,
            binds_due: Earliest::default(),
            next_round: Time::NEVER,
            waiting: Waiting::default(),
            inherited: Vec::new(),
            telling: false,
            opening: Opening::Left,
            visitors: 0,
            flows: 0,
            leaving: None,
            last_visit: 0,
            last_chosen: 0,
            pool: Pool::default(),
            login,
        }
    }

    /// Whether every place that is to be bound has been tried in this round.
    pub(super) fn round_is_over(&self) -> bool {
        self.mappings.values().all(Mapping::is_settled)
    }

    /// Takes up a new login of the same instance: visits and ProxyChannels go on, mappings are declared anew.
    fn resume(&mut self, now: Time, cmd: Key, login: Login) {
        (self.cmd, self.pulse) = (Some(cmd), Pulse::new(now));
        self.maps_to_come = login.mappings;
        self.login = login;
        self.leaving = None;
        (self.telling, self.opening) = (false, Opening::Left);
        self.pool.orders.clear();
        for mapping in self.mappings.values_mut() {
            mapping.declared = false;
        }
    }
}

impl Server {
    /// The connection `key` is the CmdChannel of a proven login. Returns the session, and whether it is an
    /// old one.
    pub(super) fn log_in(
        &mut self,
        now: Time,
        key: Key,
        login: Login,
        entering: Entering,
        out: &mut Outbox<'_>,
    ) -> Option<(Key, bool)> {
        let mut heirs = Vec::new();
        match entering {
            Entering::Beside => {}
            Entering::Resumes(old) => {
                self.resume(now, old, key, login, out);
                return Some((old, true));
            }
            Entering::Replaces(old) => {
                if let Some(cmd) = self.sessions.get(old).and_then(|session| session.cmd) {
                    let retry_millis = crate::limits::REPLACED_BACKOFF.as_millis();
                    out.send(cmd, &Frame::Goodbye { reason: Reason::Replaced, retry_millis });
                }
                heirs = self.take_waiting(old, out);
                self.end_session(old, Reason::Replaced, out);
            }
        }
        let (name, id) = (login.name.clone(), login.id);
        let generation = self.entropy.u64();
        let Some(session) = self.sessions.insert(Session::new(now, key, login, generation)) else {
            heirs.iter().for_each(|(visitor, ..)| out.close(*visitor, Manner::Cut));
            return None;
        };
        self.by_license.get_or_default(name).push(session);
        self.by_id.insert(id, session);
        self.channels.insert(key, Channel::Cmd(session));
        self.watch_pulse(session);
        self.inherit(session, heirs);
        Some((session, false))
    }

    /// The client of a session is back.
    fn resume(&mut self, now: Time, key: Key, cmd: Key, login: Login, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let ghost = session.cmd;
        self.by_id.remove(&session.login.id);
        self.by_id.insert(login.id, key);
        session.resume(now, cmd, login);
        self.channels.insert(cmd, Channel::Cmd(key));
        if let Some(ghost) = ghost {
            self.channels.remove(ghost);
            out.close(ghost, Manner::Cut);
        }
    }

    /// A session is over: its ports close, its visitors are cut, its connections go. At once, and by key: a
    /// newer session of the same license is not touched.
    pub(super) fn end_session(&mut self, key: Key, reason: Reason, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.remove(key) else {
            return;
        };
        self.timers.forget(|due| due.session() == Some(key));
        self.leave_group(&session.login.name, key);
        self.by_id.remove(&session.login.id);
        for (&index, mapping) in session.mappings.iter() {
            match reason {
                Reason::Revoked | Reason::Denied | Reason::Expired | Reason::Rotated => {
                    self.close_places(key, index, &mapping.places, out);
                }
                _ => self.leave_places(key, index, &mapping.places, out),
            }
        }
        let members: Vec<Key> =
            self.channels.iter().filter(|(_, c)| c.session() == Some(key)).map(|(k, _)| k).collect();
        for member in members {
            match self.channels.remove(member) {
                // What was said last, GOODBYE perhaps, still leaves.
                Some(Channel::Cmd(_)) => out.see_off(member),
                Some(Channel::Visitor(visitor)) => {
                    self.visitors -= 1;
                    self.fellows -= usize::from(visitor.is_fellow());
                    self.cut_off(member, visitor.carries, reason, out);
                }
                Some(Channel::Front(_)) => {
                    self.visitors -= 1;
                    out.close(member, Manner::Cut);
                }
                Some(Channel::Proxy(_)) => {
                    self.proxies -= 1;
                    out.close(member, Manner::Cut);
                }
                Some(Channel::Stranger(_) | Channel::Caller(_) | Channel::Greeter(_) | Channel::Admin(_))
                | None => {}
            }
        }
        self.end_fellows(key, reason);
        if self.sessions_of(&session.login.name).next().is_none() {
            self.close_meters(&session.login.name, out);
        }
        out.note(Note::SessionOver { name: session.login.name, reason });
        self.stop_if_idle(out);
    }

    /// A frame on the CmdChannel. `false` if the peer broke the protocol.
    pub(super) fn cmd_spoke(&mut self, now: Time, key: Key, frame: Frame<'_>, out: &mut Outbox<'_>) -> bool {
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        session.pulse.heard(now);
        match frame {
            Frame::Heartbeat => true,
            Frame::Map(map) => self.map_declared(now, key, &map, out),
            Frame::Mapped(mapped) => self.offer_answered(now, key, mapped, out),
            Frame::Goodbye { reason, .. } => {
                self.depart(now, key, reason, out);
                true
            }
            _ => false,
        }
    }

    /// All that a client was told has left: it may be told more.
    pub(super) fn drained(&mut self, now: Time, cmd: Key, out: &mut Outbox<'_>) {
        self.go_on_saying(now, cmd, out);
        if let Some(&Channel::Cmd(key)) = self.channels.get(cmd) {
            let Some(session) = self.sessions.get_mut(key) else { return };
            session.telling = false;
            let opening = std::mem::replace(&mut session.opening, Opening::Left);
            self.announce(key, out);
            if opening == Opening::MoreWanted {
                self.order(now, key, out);
            }
        }
    }

    /// The client leaves. Its last payload may still be on the way, on other connections than its goodbye: so
    /// its ports close, and its visits end by themselves or when it was silent for too long.
    fn depart(&mut self, now: Time, key: Key, reason: Reason, out: &mut Outbox<'_>) {
        self.pass_on_waiting(now, key, out);
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.leaving = Some(reason);
        session.pool.orders.clear();
        let cmd = session.cmd.take();
        let inherited = std::mem::take(&mut session.inherited).into_iter().map(|(visitor, _)| visitor);
        let waiting: Vec<Key> = std::mem::take(&mut session.waiting).iter().chain(inherited).collect();
        // What each mapping was is still known: a visit that the client does not take may go to another one.
        let left: Vec<_> =
            session.mappings.iter_mut().map(|(&index, mapping)| (index, mapping.close())).collect();
        for (index, places) in left {
            self.leave_places(key, index, &places, out);
        }
        if let Some(cmd) = cmd {
            self.channels.remove(cmd);
            out.close(cmd, Manner::End);
        }
        for visitor in waiting {
            self.cut_visitor(visitor, Reason::ClientAway, out);
        }
        self.end_rests(now, key, out);
        self.watch_pulse(key);
        self.settle(key, out);
    }

    /// After a visit has ended: whoever waited for that goes.
    pub(super) fn settle(&mut self, key: Key, out: &mut Outbox<'_>) {
        match self.sessions.get(key) {
            Some(&Session { leaving: Some(reason), visitors: 0, .. }) if !self.visits_others(key) => {
                self.end_session(key, reason, out);
            }
            _ => self.stop_if_idle(out),
        }
    }

    /// The CmdChannel is lost. Visits go on, visitors wait, until the client is back or its silence is too
    /// long.
    pub(super) fn cmd_lost(&mut self, now: Time, key: Key, cmd: Key, reason: Reason, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key).filter(|session| session.cmd == Some(cmd)) else {
            return;
        };
        if reason == Reason::Protocol {
            self.end_session(key, reason, out);
            return;
        }
        session.cmd = None;
        session.opening = Opening::Left;
        session.pool.orders.clear();
        out.note(Note::SessionAway { name: session.login.name.clone(), reason });
        self.pass_on_waiting(now, key, out);
        self.watch_pulse(key);
    }

    /// Asks to be reminded of a session's heartbeat, once.
    fn watch_pulse(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let next = match session.cmd {
            Some(_) => session.pulse.next(),
            None => session.pulse.dead_at(),
        };
        if session.pulse_due.lower(next) {
            self.timers.remind(next, Due::Pulse(key));
        }
    }

    pub(super) fn pulse_due(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if !session.pulse_due.reached(now) {
            return;
        }
        match (session.cmd, session.pulse.dead_at() <= now) {
            (_, true) => return self.end_session(key, Reason::Silent, out),
            (Some(cmd), false) if session.pulse.beat(now) == Beat::Speak => {
                out.send(cmd, &Frame::Heartbeat);
                self.review_pool(key, out);
            }
            (Some(_) | None, false) => {}
        }
        self.watch_pulse(key);
    }

    /// The licenses have changed: sessions of those that are gone or revoked end, ports that are not
    /// permitted close.
    pub(super) fn enforce(&mut self, now: Time, out: &mut Outbox<'_>) {
        let live: Vec<(Key, LicenseId)> =
            self.sessions.iter().map(|(key, session)| (key, session.login.license)).collect();
        for (key, license) in live {
            match self.config.directory.by_id(license) {
                Some(entry) if self.license_trouble(entry, license).is_none() => {
                    self.offer_mappings(key, out);
                    self.enforce_ports(now, key, out);
                }
                gone => {
                    let trouble = gone.and_then(|entry| self.license_trouble(entry, license));
                    let reason = trouble.unwrap_or(Reason::Denied);
                    if let Some(cmd) = self.sessions.get(key).and_then(|session| session.cmd) {
                        let retry_millis = crate::limits::REFUSED_BACKOFF_FIRST.as_millis();
                        out.send(cmd, &Frame::Goodbye { reason, retry_millis });
                    }
                    self.end_session(key, reason, out);
                }
            }
        }
    }

    /// Why a license of the directory is not good.
    pub(super) fn license_trouble(&self, entry: &Entry, license: LicenseId) -> Option<Reason> {
        match () {
            () if entry.revoked => Some(Reason::Revoked),
            () if entry.is_expired(self.accounts.today()) => Some(Reason::Expired),
            () if self.accounts.is_replaced(entry, license) => Some(Reason::Rotated),
            () => None,
        }
    }

    /// The license of a session, for messages.
    pub(super) fn session_name(&self, key: Key) -> String {
        self.sessions.get(key).map_or_else(String::new, |session| session.login.name.clone())
    }
}

impl Channel {
    /// The session that made it.
    pub(super) fn session(&self) -> Option<Key> {
        match self {
            Self::Stranger(_) | Self::Caller(_) | Self::Greeter(_) | Self::Admin(_) => None,
            Self::Cmd(session) => Some(*session),
            Self::Proxy(proxy) => Some(proxy.session),
            Self::Front(front) => Some(front.arrival.session),
            Self::Visitor(visitor) => Some(visitor.session),
        }
    }
}

/// `/32` of an IPv4 address, `/64` of an IPv6 one: what one stranger can easily have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Home(u128);

impl Home {
    pub(super) fn of(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => Self(u128::from(u32::from(ip))),
            IpAddr::V6(ip) => Self(u128::from(ip) >> 64 << 64),
        }
    }
}
