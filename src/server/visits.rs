//! Visits: a visitor comes, gets a ProxyChannel, and gives it back.
//!
//! ProxyChannels are ordered from the client when visitors wait or the pool is short, and kept while demand
//! lasts: a visitor who finds the pool empty doubles what is kept spare, and what nobody needed between two
//! reviews is closed.

use std::net::SocketAddr;

use super::arrivals::Arrival;
use super::places::flows_among;
use super::session::{Opening, Session};
use super::{Carries, Channel, Due, ProxyChannel, Server, VisitorChannel};
use crate::channel::proxy::{Effect, Event, Local, Proxy, Send};
use crate::channel::visitor::{self, Visitor};
use crate::limits::{
    CHANNEL_TIMEOUT, DRAIN_TIMEOUT, DRAINING_MAX, FLOWS_WAITING_MAX, POOL_MAX, POOL_MIN, WAITING_MAX,
};
use crate::mapping::{Kind, Mapping as Spec};
use crate::note::Note;
use crate::reason::Reason;
use crate::role::{Manner, Outbox, Verb};
use crate::slots::Key;
use crate::sorted::Sorted;
use crate::time::Time;
use crate::wire::{Connect, Frame};

impl Server {
    /// A visitor came to a port. What its license permits is asked again now, not only when the port was
    /// bound.
    pub(super) fn visitor_came(&mut self, now: Time, key: Key, arrival: Arrival, out: &mut Outbox<'_>) {
        let Arrival { session: owner, mapping, visitor: peer, .. } = arrival;
        if let Some(reason) = self.visit_trouble(owner, mapping, Some(peer), None) {
            out.note(Note::VisitFailed { visitor: peer, place: self.session_name(owner), reason });
            return out.close(key, Manner::Cut);
        }
        if self.comes_too_often(now, owner, peer, out).is_some() {
            return out.close(key, Manner::Cut);
        }
        let found = self.sessions.get(owner).and_then(|session| session.mappings.find(mapping));
        let flow = found.is_some_and(|(mapping, _)| mapping.spec.kind == Kind::Udp);
        let carries = if flow { Carries::Datagrams } else { Carries::Bytes };
        self.begin_visit(now, key, arrival, carries, out);
    }

    /// A visit begins, to which nothing is in the way.
    pub(super) fn begin_visit(
        &mut self,
        now: Time,
        key: Key,
        arrival: Arrival,
        carries: Carries,
        out: &mut Outbox<'_>,
    ) {
        let Arrival { session: owner, mapping, visitor: peer, came_to } = arrival;
        let Some(session) = self.sessions.get_mut(owner) else { return };
        session.last_visit += 1;
        session.last_chosen = self.events.tally.visits + 1;
        let (visit, state) = (session.last_visit, Visitor::accepted(now));
        let visitor = VisitorChannel { session: owner, mapping, visit, peer, carries, state };
        let flow = visitor.is_flow();
        session.visitors += 1;
        session.flows += usize::from(flow);
        session.waiting.push(key, flow, false);
        let found = session.mappings.find(mapping);
        if let Some(version) = found.and_then(|(mapping, _)| mapping.spec.options.proxy) {
            out.push(Verb::Introduce { raw: key, version, visitor: peer, came_to });
        }
        self.watch(visitor.deadline());
        self.channels.insert(key, Channel::Visitor(visitor));
        self.visitors += 1;
        self.events.tally.visits += 1;
        self.use_demand(now, (owner, mapping));
        self.measure(key, owner, mapping, out);
        self.serve(now, owner, out);
    }

    /// What is in the way of whoever would come to a mapping now: it or its client is not there, or not permitted, or
    /// not for visitors from there. Other clients come from nowhere; so does a front that has not said for whom.
    pub(super) fn mapping_trouble(
        &self,
        owner: Key,
        mapping: u16,
        from: Option<SocketAddr>,
    ) -> Option<Reason> {
        if self.stopping.is_some() {
            return Some(Reason::Stopping);
        }
        let Some(session) = self.sessions.get(owner) else {
            return Some(Reason::ClientAway);
        };
        let found = session.mappings.find(mapping);
        let Some((mapping, offset)) = found.filter(|(m, offset)| m.place(*offset).is_served()) else {
            return Some(Reason::NoSuchMapping);
        };
        let Some(entry) = self.config.directory.by_id(session.login.license) else {
            return Some(Reason::Revoked);
        };
        let lists = [&mapping.spec.options.allow, &entry.visitors];
        let welcome = |from: SocketAddr| lists.iter().all(|list| list.welcome(from.ip()));
        self.license_trouble(entry, session.login.license).or_else(|| match () {
            () if self.accounts.is_spent(entry) => Some(Reason::QuotaUsed),
            () if !mapping.is_live(offset, entry) => Some(Reason::NotPermitted),
            () if mapping.sick => Some(Reason::Sick),
            () if from.is_some_and(|from| !welcome(from)) => Some(Reason::NotWelcome),
            () => None,
        })
    }

    /// What is in the way of a visit: that, or there is no place. A `caller` has its place already, perhaps in another
    /// visit, which it leaves for this one.
    pub(super) fn visit_trouble(
        &self,
        owner: Key,
        mapping: u16,
        from: Option<SocketAddr>,
        caller: Option<Key>,
    ) -> Option<Reason> {
        if let Some(reason) = self.mapping_trouble(owner, mapping, from) {
            return Some(reason);
        }
        let session = self.sessions.get(owner)?;
        let name = &session.login.name;
        let permitted = self.config.directory.by_id(session.login.license)?.max_visitors;
        let flow = session.mappings.find(mapping)?.0.spec.kind == Kind::Udp;
        let comes_from = caller.and_then(|key| self.visit_of(key));
        let moves = comes_from.is_some_and(|(from, _)| self.sessions_of(name).any(|(key, _)| key == from));
        let of_all =
            |count: fn(&Session) -> usize| self.sessions_of(name).map(|(_, one)| count(one)).sum::<usize>();
        let (visitors, flows) = session.waiting.len();
        let (waiting, most) = if flow { (flows, FLOWS_WAITING_MAX) } else { (visitors, WAITING_MAX) };
        let full = permitted.is_some_and(|most| {
            let visitors = of_all(|one| one.visitors) - usize::from(moves);
            visitors >= most as usize || (flow && of_all(|one| one.flows) >= flows_among(most))
        });
        let all_full = caller.is_none() && self.visitors >= self.config.visitors_max;
        (full || waiting >= most || all_full).then_some(Reason::Busy)
    }

    /// Takes out who waits in a session that another process of the same license ends, with the address that each came
    /// to: a client that was started again serves them. Not those who may have reached the real server: the new process
    /// knows nothing of the old one's visits, and would let them reach it twice.
    pub(super) fn take_waiting(
        &mut self,
        owner: Key,
        out: &mut Outbox<'_>,
    ) -> Vec<(Key, Spec, VisitorChannel)> {
        let Some(session) = self.sessions.get_mut(owner) else { return Vec::new() };
        let inherited: Sorted<Key, Spec> = std::mem::take(&mut session.inherited).into_iter().collect();
        let waiting = std::mem::take(&mut session.waiting);
        let mut taken = Vec::new();
        for key in waiting.iter().chain(inherited.keys().copied()) {
            let Some(Channel::Visitor(visitor)) = self.channels.remove(key) else { continue };
            self.count_out(visitor.session, visitor.carries);
            let mappings = self.sessions.get(owner).map(|session| &session.mappings);
            let found = mappings.and_then(|mappings| mappings.find(visitor.mapping));
            let came_to = || found.map(|(mapping, offset)| mapping.spec.part(offset, 1));
            match inherited.get(&key).cloned().or_else(came_to) {
                Some(spec) if visitor.state.is_untried() => taken.push((key, spec, visitor)),
                Some(_) | None => self.cut_off(key, visitor.carries, Reason::Replaced, out),
            }
        }
        taken
    }

    /// They wait in this session now.
    pub(super) fn inherit(&mut self, owner: Key, mut heirs: Vec<(Key, Spec, VisitorChannel)>) {
        for (_, _, visitor) in &mut heirs {
            // The session that has ended may be the visitor's, too.
            if let Carries::Frames(fellow) = &mut visitor.carries
                && self.sessions.get(fellow.by()).is_none()
            {
                fellow.ends(Reason::Replaced);
                self.watch(Time::default());
            }
        }
        let Some(session) = self.sessions.get_mut(owner) else { return };
        session.visitors += heirs.len();
        session.flows += heirs.iter().filter(|(_, _, visitor)| visitor.is_flow()).count();
        self.visitors += heirs.len();
        self.fellows += heirs.iter().filter(|(_, _, visitor)| visitor.is_fellow()).count();
        for (key, spec, visitor) in heirs {
            session.inherited.push((key, spec));
            self.channels.insert(key, Channel::Visitor(VisitorChannel { session: owner, ..visitor }));
        }
    }

    /// A port is open: who came to the same mapping in the session before waits for it. To the very same: what a real
    /// server is told of its visitor stands before the visitor's own words, and those of port 0 differ by their target.
    pub(super) fn adopt(&mut self, now: Time, owner: Key, mapping: u16, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(owner) else { return };
        if session.inherited.is_empty() {
            return self.serve(now, owner, out);
        }
        let Some((new, offset)) = session.mappings.find(mapping) else { return };
        let new = new.spec.part(offset, 1);
        for (key, spec) in std::mem::take(&mut session.inherited) {
            match self.channels.get_mut(key) {
                Some(Channel::Visitor(visitor)) if spec == new => {
                    if let Carries::Exchanges(caller) = &mut visitor.carries {
                        caller.moves(owner, mapping);
                    }
                    session.last_visit += 1;
                    (visitor.mapping, visitor.visit) = (mapping, session.last_visit);
                    session.waiting.push(key, visitor.is_flow(), false);
                }
                _ => session.inherited.push((key, spec)),
            }
        }
        self.serve(now, owner, out);
    }

    /// Gives free ProxyChannels to waiting visitors, and orders what is short.
    pub(super) fn serve(&mut self, now: Time, owner: Key, out: &mut Outbox<'_>) {
        while let Some((visitor, proxy)) = self.sessions.get_mut(owner).and_then(|session| {
            let proxy = *session.pool.idle.last()?;
            let visitor = session.waiting.pop()?;
            session.pool.idle.pop();
            session.pool.unneeded = session.pool.unneeded.min(session.pool.idle.len());
            Some((visitor, proxy))
        }) {
            self.grant(now, visitor, proxy, out);
        }
        self.order(now, owner, out);
    }

    fn grant(&mut self, now: Time, key: Key, proxy_key: Key, out: &mut Outbox<'_>) {
        // Once more: who has waited may have come to be another session's.
        if let Some((owner, mapping)) = self.visit_of(key) {
            self.measure(key, owner, mapping, out);
        }
        let Some(Channel::Visitor(visitor)) = self.channels.get_mut(key) else { return };
        let visitor::Effect::Ask { ended } = visitor.state.step(now, visitor::Event::Granted(proxy_key))
        else {
            return;
        };
        let connect = Connect { visit: visitor.visit, mapping: visitor.mapping, visitor: visitor.peer };
        let deadline = visitor.state.deadline();
        self.watch(deadline);
        let Some(Channel::Proxy(proxy)) = self.channels.get_mut(proxy_key) else { return };
        proxy.visitor = Some(key);
        let started = proxy.state.step(Event::Start(connect.visit));
        assert!(started.is_ok(), "a ProxyChannel of the pool was not idle");
        out.send(proxy_key, &Frame::Connect(connect));
        out.push(Verb::Join { raw: key, proxy: proxy_key });
        if ended {
            self.proxy_event(now, proxy_key, Event::LocalEnd, out);
        }
    }

    /// Orders what is short, unless an order is still on its way out: many visitors who come at once share one.
    pub(super) fn order(&mut self, now: Time, owner: Key, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(owner) else { return };
        let Some(cmd) = session.cmd else { return };
        if session.opening != Opening::Left {
            session.opening = Opening::MoreWanted;
            return;
        }
        let waiting = session.waiting.count();
        if waiting > 0 {
            session.pool.spare = (session.pool.spare * 2).min(POOL_MAX);
        }
        let coming = session.pool.orders.len();
        // Half of what is kept spare may be in use before more are made: a crowd that comes and goes is served
        // by the same channels.
        let (idle, spare) = (session.pool.idle.len(), session.pool.spare);
        let short = if idle < (spare / 2).max(POOL_MIN) { spare - idle } else { 0 };
        let count = (waiting + short).saturating_sub(coming);
        let awaited = waiting.saturating_sub(coming);
        if count == 0 || self.stopping.is_some() {
            return;
        }
        // What others have ordered is on its way too.
        let all_coming: usize = self.sessions.iter().map(|(_, session)| session.pool.orders.len()).sum();
        let room =
            (self.config.visitors_max + POOL_MAX).saturating_sub(self.proxies + self.fellows + all_coming);
        let count = count.min(room + self.reclaim(owner, awaited.saturating_sub(room), out));
        let Some(session) = self.sessions.get_mut(owner).filter(|_| count > 0) else { return };
        let deadline = now + CHANNEL_TIMEOUT;
        let first = session.pool.last_order + 1;
        for _ in 0..count {
            session.pool.last_order += 1;
            session.pool.orders.insert(session.pool.last_order, deadline);
        }
        if session.pool.orders_due.lower(deadline) {
            self.timers.remind(deadline, Due::Orders(owner));
        }
        out.send(cmd, &Frame::Open { first, count: u16::try_from(count).unwrap_or(u16::MAX) });
        session.opening = Opening::Leaving;
        out.push(Verb::TellDrained(cmd));
    }

    /// Orders that did not come in time are given up, and made again if they are still needed.
    pub(super) fn orders_due(&mut self, now: Time, owner: Key, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(owner) else { return };
        if !session.pool.orders_due.reached(now) {
            return;
        }
        session.pool.orders.retain(|_, deadline| *deadline > now);
        if let Some(&next) = session.pool.orders.values().min()
            && session.pool.orders_due.lower(next)
        {
            self.timers.remind(next, Due::Orders(owner));
        }
        self.order(now, owner, out);
    }

    /// Closes what nobody needed since the last review, half of it at a time, oldest first.
    pub(super) fn review_pool(&mut self, owner: Key, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(owner) else { return };
        let surplus = session.pool.unneeded.min(session.pool.idle.len().saturating_sub(POOL_MIN)).div_ceil(2);
        if session.pool.unneeded > 0 {
            session.pool.spare = (session.pool.spare / 2).max(POOL_MIN);
        }
        session.pool.unneeded = session.pool.idle.len() - surplus;
        self.close_idle(owner, surplus, out);
    }

    /// Closes up to `wanted` ProxyChannels that other sessions keep spare, those of the richest first: a
    /// visitor who waits needs them more. How many.
    fn reclaim(&mut self, owner: Key, wanted: usize, out: &mut Outbox<'_>) -> usize {
        let mut closed = 0;
        while closed < wanted {
            let others = self.sessions.iter().filter(|(key, _)| *key != owner);
            let idle = others.map(|(key, session)| (session.pool.idle.len(), key)).max();
            let Some((idle, richest)) = idle.filter(|(idle, _)| *idle > POOL_MIN) else { break };
            let count = (idle - POOL_MIN).min(wanted - closed);
            self.close_idle(richest, count, out);
            closed += count;
        }
        closed
    }

    /// Closes so many free ProxyChannels of a session, oldest first.
    fn close_idle(&mut self, owner: Key, count: usize, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(owner) else { return };
        let closed: Vec<Key> = session.pool.idle.drain(..count).collect();
        session.pool.unneeded = session.pool.unneeded.min(session.pool.idle.len());
        for key in closed {
            self.channels.remove(key);
            self.proxies -= 1;
            out.close(key, Manner::End);
        }
    }

    /// A frame on a ProxyChannel. `false` if the peer broke the protocol.
    pub(super) fn proxy_spoke(
        &mut self,
        now: Time,
        key: Key,
        frame: Frame<'_>,
        out: &mut Outbox<'_>,
    ) -> bool {
        let event = match frame {
            Frame::Connected => return self.answered(now, key, out),
            Frame::Fin if self.is_asked(key) => return false,
            Frame::Fin => Event::PeerFin,
            Frame::Disconnect { visit, reason } => Event::PeerCut(visit, reason),
            _ => return false,
        };
        self.proxy_event(now, key, event, out)
    }

    /// Whether the visit on a ProxyChannel was not answered yet.
    fn is_asked(&self, key: Key) -> bool {
        let Some(Channel::Proxy(ProxyChannel { visitor: Some(visitor), .. })) = self.channels.get(key) else {
            return false;
        };
        matches!(self.channels.get(*visitor), Some(Channel::Visitor(v)) if matches!(v.state, Visitor::Asked { .. }))
    }

    fn answered(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) -> bool {
        let Some(Channel::Proxy(proxy)) = self.channels.get(key) else { return false };
        match (proxy.state, proxy.visitor) {
            (Proxy::Visit { got_fin: false, .. }, Some(visitor_key)) => {
                let Some(Channel::Visitor(visitor)) = self.channels.get_mut(visitor_key) else {
                    return false;
                };
                if visitor.state.step(now, visitor::Event::Connected) == visitor::Effect::Release {
                    if visitor.is_fellow() {
                        out.send(visitor_key, &Frame::Connected);
                    }
                    out.push(Verb::Release(visitor_key));
                }
                true
            }
            // The answer to a visit that was cut meanwhile, or a flow that is over.
            (Proxy::Drain { .. }, _) | (Proxy::Visit { .. }, None) => true,
            _ => false,
        }
    }

    /// Carries an event through a ProxyChannel to its visitor, the peer and the pool.
    pub(super) fn proxy_event(&mut self, now: Time, key: Key, event: Event, out: &mut Outbox<'_>) -> bool {
        let Some(Channel::Proxy(proxy)) = self.channels.get_mut(key) else { return false };
        let drained = matches!(proxy.state, Proxy::Drain { .. });
        let Ok(Effect { send, local, free }) = proxy.state.step(event) else { return false };
        let (owner, visitor) = (proxy.session, proxy.visitor);
        let visit = visitor.and_then(|visitor| self.visit_of(visitor));
        let Some(Channel::Proxy(proxy)) = self.channels.get_mut(key) else { return false };
        let draining = matches!(proxy.state, Proxy::Drain { .. });
        if let Some(session) = self.sessions.get_mut(owner) {
            session.pool.draining = session.pool.draining + usize::from(draining) - usize::from(drained);
        }
        match send {
            Send::Nothing => {}
            Send::Fin => out.send(key, &Frame::Fin),
            Send::Cut(visit, reason) => out.send(key, &Frame::Disconnect { visit, reason }),
        }
        let elsewhere = match (local, visitor) {
            (Local::Cut(reason), Some(visitor)) => self.try_elsewhere(now, visitor, reason),
            _ => None,
        };
        match (local, visitor) {
            (Local::Cut(_), Some(_)) if elsewhere.is_some() => {}
            // Nothing is under way that the end could be the end of.
            (Local::Shut, Some(visitor)) if self.is_idle_caller(visitor) => {
                return self.proxy_event(now, key, Event::LocalEnd, out);
            }
            (Local::Shut, Some(visitor)) => self.end_direction(visitor, out),
            (Local::End, Some(visitor)) => self.forget_visitor(visitor, Ok(()), out),
            (Local::Cut(reason), Some(visitor)) => {
                self.note_failure(visitor, reason, out);
                self.forget_visitor(visitor, Err(reason), out);
            }
            (Local::Leave, _) | (_, None) => {}
        }
        if draining && self.sessions.get(owner).is_some_and(|session| session.pool.draining > DRAINING_MAX) {
            // It would stand where a visitor's could.
            out.close(key, Manner::End);
            self.lost(now, key, Reason::Busy, out);
            return true;
        }
        if free || draining {
            out.push(Verb::Part(key, draining));
            let Some(Channel::Proxy(proxy)) = self.channels.get_mut(key) else { return false };
            proxy.visitor = None;
            proxy.deadline = if draining { now + DRAIN_TIMEOUT } else { Time::NEVER };
            let (deadline, ended) = (proxy.deadline, std::mem::take(&mut proxy.ended));
            self.watch(deadline);
            if let Some(session) = self.sessions.get_mut(owner) {
                session.pool.ended -= usize::from(ended);
            }
        }
        if free {
            self.pool(now, owner, key, out);
        }
        if let Some(to) = elsewhere {
            self.serve(now, to, out);
        }
        match (local, visitor.zip(visit).filter(|_| elsewhere.is_none())) {
            (Local::End, Some((caller, visit))) => self.ask_again(now, caller, visit, Reason::Ended, out),
            (Local::Cut(reason), Some((caller, visit))) => self.ask_again(now, caller, visit, reason, out),
            (Local::Leave | Local::Shut, _) | (_, None) => {}
        }
        self.settle(owner, out);
        true
    }

    /// Session and mapping of a visitor.
    pub(super) fn visit_of(&self, key: Key) -> Option<(Key, u16)> {
        match self.channels.get(key) {
            Some(Channel::Visitor(visitor)) => Some((visitor.session, visitor.mapping)),
            _ => None,
        }
    }

    /// Whether a visitor speaks HTTP, and is told nothing by an end of its real server's.
    fn is_idle_caller(&self, key: Key) -> bool {
        matches!(self.channels.get(key), Some(Channel::Visitor(visitor))
            if matches!(&visitor.carries, Carries::Exchanges(caller) if !caller.is_answering()))
    }

    /// Puts a free ProxyChannel into the pool, or closes it where the pool is full.
    pub(super) fn pool(&mut self, now: Time, owner: Key, key: Key, out: &mut Outbox<'_>) {
        let Some(session) = self.sessions.get_mut(owner) else { return };
        if session.pool.idle.len() >= POOL_MAX && session.waiting.count() == 0 {
            self.channels.remove(key);
            self.proxies -= 1;
            out.close(key, Manner::End);
        } else {
            session.pool.idle.push(key);
            self.serve(now, owner, out);
        }
    }
}
