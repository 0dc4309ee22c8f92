//! Visits end: in peace or not, by the visitor, by its mapping, by time, or with the connection that carried them.

use super::{Carries, Channel, ProxyChannel, Server, VisitorChannel};
use crate::channel::proxy::{Event, Proxy};
use crate::channel::visitor;
use crate::limits::{DRAIN_TIMEOUT, ENDED_MAX};
use crate::note::Note;
use crate::reason::Reason;
use crate::role::{Manner, Outbox, Verb};
use crate::slots::Key;
use crate::time::Time;

impl Server {
    /// Mappings have gone, or are others now: so do those who wait for them, since nobody may be taken elsewhere.
    pub(super) fn cut_waiting(&mut self, owner: Key, gone: impl Fn(u16) -> bool, out: &mut Outbox<'_>) {
        self.forget_reach(owner, &gone, out);
        let Some(session) = self.sessions.get_mut(owner) else { return };
        let waits =
            |key: &Key| matches!(self.channels.get(*key), Some(Channel::Visitor(v)) if gone(v.mapping));
        let cut: Vec<Key> = session.waiting.iter().filter(waits).collect();
        session.waiting.retain(|key| !cut.contains(&key));
        for key in cut {
            self.note_failure(key, Reason::NoSuchMapping, out);
            self.cut_visitor(key, Reason::NoSuchMapping, out);
        }
    }

    /// Cuts a visitor, who is told why where its protocol has words for it.
    pub(super) fn cut_visitor(&mut self, key: Key, reason: Reason, out: &mut Outbox<'_>) {
        self.forget_visitor(key, Err(reason), out);
        self.unserved(key, reason, out);
    }

    pub(super) fn note_failure(&mut self, key: Key, reason: Reason, out: &mut Outbox<'_>) {
        self.proof_failed(key, reason);
        if let Some(Channel::Visitor(visitor)) = self.channels.get(key) {
            let session = self.sessions.get(visitor.session);
            // Who was inherited came to a mapping of the session before.
            let inherited = session.and_then(|s| s.inherited.iter().find(|(other, _)| *other == key));
            let found = session.and_then(|session| session.mappings.find(visitor.mapping));
            let target = inherited.map(|(_, spec)| spec.target.clone());
            let target =
                target.or_else(|| found.map(|(mapping, offset)| mapping.spec.target.part(offset, 1)));
            let target = target.map_or_else(|| "?".into(), |target| target.to_string());
            let place = format!("{target} of {}", session.map_or("?", |s| s.login.name.as_str()));
            out.note(Note::VisitFailed { visitor: visitor.peer, place, reason });
        }
    }

    /// A visitor's visit is over, and so is its connection, unless it speaks HTTP: then something may be left to be
    /// said.
    pub(super) fn forget_visitor(&mut self, key: Key, end: Result<(), Reason>, out: &mut Outbox<'_>) {
        if let Some(Channel::Visitor(visitor)) = self.channels.remove(key) {
            self.count_out(visitor.session, visitor.carries);
            match visitor.carries {
                Carries::Exchanges(caller) => self.becomes_caller(key, caller),
                Carries::Frames(fellow) => {
                    self.dismiss(key, fellow, end, out);
                    self.settle(fellow.by(), out);
                }
                Carries::Bytes | Carries::Datagrams => {
                    out.close(key, if end.is_ok() { Manner::End } else { Manner::Cut })
                }
            }
        }
    }

    /// Cuts a visitor who is out of the books.
    pub(super) fn cut_off(&mut self, key: Key, carries: Carries, reason: Reason, out: &mut Outbox<'_>) {
        match carries {
            Carries::Exchanges(caller) => {
                self.becomes_caller(key, caller);
                self.unserved(key, reason, out);
            }
            Carries::Frames(fellow) => self.dismiss(key, fellow, Err(reason), out),
            Carries::Bytes | Carries::Datagrams => out.close(key, Manner::Cut),
        }
    }

    pub(super) fn count_out(&mut self, session: Key, carries: Carries) {
        self.visitors -= 1;
        self.fellows -= usize::from(matches!(carries, Carries::Frames(_)));
        if let Some(session) = self.sessions.get_mut(session) {
            session.visitors -= 1;
            session.flows -= usize::from(matches!(carries, Carries::Datagrams));
        }
    }

    pub(super) fn visitor_ended(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        let Some(Channel::Visitor(visitor)) = self.channels.get_mut(key) else { return };
        visitor.state.step(now, visitor::Event::Ended);
        if let Some(proxy) = visitor.state.proxy() {
            self.proxy_event(now, proxy, Event::LocalEnd, out);
        }
    }

    /// The visitor's connection failed; it is out of the books already.
    pub(super) fn visitor_lost(
        &mut self,
        now: Time,
        key: Key,
        visitor: &VisitorChannel,
        reason: Reason,
        out: &mut Outbox<'_>,
    ) {
        match visitor.carries {
            // It had all that it asked for.
            Carries::Exchanges(caller) if caller.is_resting() => self.let_go(now, key, visitor, out),
            Carries::Exchanges(_) | Carries::Bytes | Carries::Frames(_) | Carries::Datagrams => {
                self.visitor_gone(now, key, visitor, Event::LocalCut(reason), out);
            }
        }
    }

    /// A visitor's flow is over: nobody is cut off. The ProxyChannel is free when the client has said its last word.
    pub(super) fn flow_over(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        if !matches!(self.channels.get(key), Some(Channel::Visitor(_))) {
            return;
        }
        let Some(Channel::Visitor(visitor)) = self.channels.remove(key) else { return };
        self.let_go(now, key, &visitor, out);
    }

    /// A visitor leaves its visit in peace.
    pub(super) fn let_go(&mut self, now: Time, key: Key, visitor: &VisitorChannel, out: &mut Outbox<'_>) {
        let proxy_key = visitor.state.proxy();
        self.visitor_gone(now, key, visitor, Event::LocalEnd, out);
        // A client that does not say it must not keep the ProxyChannel from others, nor many of them.
        let Some(proxy_key) = proxy_key else { return };
        let Some(Channel::Proxy(proxy)) = self.channels.get_mut(proxy_key) else { return };
        if !matches!(proxy.state, Proxy::Visit { .. }) || proxy.visitor.is_some() {
            return;
        }
        (proxy.deadline, proxy.ended) = (now + DRAIN_TIMEOUT, true);
        out.push(Verb::Part(proxy_key, true));
        let Some(session) = self.sessions.get_mut(visitor.session) else { return };
        session.pool.ended += 1;
        if session.pool.ended > ENDED_MAX {
            out.close(proxy_key, Manner::End);
            return self.lost(now, proxy_key, Reason::Busy, out);
        }
        self.watch(now + DRAIN_TIMEOUT);
    }

    pub(super) fn visitor_gone(
        &mut self,
        now: Time,
        key: Key,
        visitor: &VisitorChannel,
        event: Event,
        out: &mut Outbox<'_>,
    ) {
        self.count_out(visitor.session, visitor.carries);
        match visitor.state.proxy() {
            Some(proxy) => {
                if let Some(Channel::Proxy(proxy)) = self.channels.get_mut(proxy) {
                    proxy.visitor = None;
                }
                self.proxy_event(now, proxy, event, out);
            }
            None => {
                if let Some(session) = self.sessions.get_mut(visitor.session) {
                    session.waiting.retain(|other| other != key);
                    session.inherited.retain(|(other, _)| *other != key);
                }
            }
        }
        self.settle(visitor.session, out);
        if let Carries::Frames(fellow) = visitor.carries {
            self.settle(fellow.by(), out);
        }
    }

    /// The ProxyChannel's connection failed; it is out of the books already.
    pub(super) fn proxy_lost(&mut self, now: Time, key: Key, proxy: &ProxyChannel, out: &mut Outbox<'_>) {
        self.proxies -= 1;
        if let Some(session) = self.sessions.get_mut(proxy.session) {
            session.pool.idle.retain(|&other| other != key);
            session.pool.unneeded = session.pool.unneeded.min(session.pool.idle.len());
            session.pool.draining -= usize::from(matches!(proxy.state, Proxy::Drain { .. }));
            session.pool.ended -= usize::from(proxy.ended);
        }
        let mut again = None;
        if let Some(visitor_key) = proxy.visitor
            && let Some(Channel::Visitor(visitor)) = self.channels.get_mut(visitor_key)
        {
            match visitor.state.step(now, visitor::Event::ChannelLost) {
                visitor::Effect::WaitAgain => {
                    let (deadline, flow) = (visitor.state.deadline(), visitor.is_flow());
                    self.watch(deadline);
                    if let Some(session) = self.sessions.get_mut(proxy.session) {
                        session.waiting.push(visitor_key, flow, true);
                    }
                }
                visitor::Effect::Cut(reason) => {
                    self.note_failure(visitor_key, reason, out);
                    let visit = self.visit_of(visitor_key);
                    self.forget_visitor(visitor_key, Err(reason), out);
                    again = visit.map(|visit| (visitor_key, visit, reason));
                }
                visitor::Effect::Nothing | visitor::Effect::Ask { .. } | visitor::Effect::Release => {}
            }
        }
        if let Some((caller, visit, reason)) = again {
            self.ask_again(now, caller, visit, reason, out);
        }
        self.serve(now, proxy.session, out);
        self.settle(proxy.session, out);
    }

    /// A visitor's deadline may have come.
    pub(super) fn visitor_due(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        let Some(Channel::Visitor(visitor)) = self.channels.get_mut(key) else { return };
        let carries = visitor.carries;
        let reason = match (carries, visitor.state.step(now, visitor::Event::Timeout)) {
            (Carries::Frames(fellow), _) if fellow.over().is_some() => fellow.over().unwrap_or(Reason::Ended),
            (_, visitor::Effect::Cut(reason)) => reason,
            _ => return self.caller_due(now, key, out),
        };
        self.end_visit(now, key, reason, out);
    }

    /// Cuts all visits of a session, which goes on.
    pub(super) fn cut_visits(&mut self, now: Time, owner: Key, reason: Reason, out: &mut Outbox<'_>) {
        let of_it = |channel: &Channel| matches!(channel, Channel::Visitor(one) if one.session == owner);
        let visits = self.channels.iter().filter(|(_, channel)| of_it(channel));
        let visits: Vec<Key> = visits.map(|(key, _)| key).collect();
        visits.into_iter().for_each(|key| self.end_visit(now, key, reason, out));
    }

    /// Cuts a visit.
    pub(super) fn end_visit(&mut self, now: Time, key: Key, reason: Reason, out: &mut Outbox<'_>) {
        let Some(Channel::Visitor(visitor)) = self.channels.get(key) else { return };
        let carries = visitor.carries;
        self.note_failure(key, reason, out);
        match carries {
            Carries::Exchanges(_) => return self.break_off(now, key, reason, out),
            Carries::Frames(fellow) => self.dismiss(key, fellow, Err(reason), out),
            Carries::Bytes | Carries::Datagrams => out.close(key, Manner::Cut),
        }
        self.lost(now, key, reason, out);
    }
}
