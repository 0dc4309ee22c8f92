//! The books agree with each other: asked by tests, after every step.

use super::mappings::State;
use super::names::Names;
use super::session::Session;
use super::{Channel, ProxyChannel, Server};
use crate::channel::proxy::Proxy;
use crate::slots::Key;
use crate::time::Time;

/// What there is of all that is counted elsewhere.
#[derive(Default)]
struct Found {
    strangers: usize,
    visitors: usize,
    /// Visitors of no session.
    callers: usize,
    flows: usize,
    fellows: usize,
    proxies: usize,
    draining: usize,
    ended: usize,
}

impl Server {
    /// What sessions count is what there is; for tests.
    fn check_counts(&self, found: &Found) {
        let sum =
            |count: fn(&Session) -> usize| self.sessions.iter().map(|(_, session)| count(session)).sum();
        let (draining, ended): (usize, usize) = (sum(|one| one.pool.draining), sum(|one| one.pool.ended));
        assert_eq!(draining, found.draining, "drained ProxyChannels were miscounted");
        assert_eq!(ended, found.ended, "ProxyChannels of flows that are over were miscounted");
        let (flows, visitors): (usize, usize) = (sum(|one| one.flows), sum(|one| one.visitors));
        assert_eq!(flows, found.flows, "flows were miscounted");
        assert_eq!(found.fellows, self.fellows, "visitors that are clients were miscounted");
        assert_eq!(visitors + found.callers, self.visitors, "visitors of sessions were miscounted");
        let there = (found.strangers, found.visitors, found.proxies);
        assert_eq!(there, (self.strangers.len(), self.visitors, self.proxies));
    }

    /// Whether each channel stands in a list of its session's, by its place in the table: free ProxyChannels in
    /// the pool, visitors among those who wait. It is made once: to look for each channel in its list would take
    /// far longer.
    fn listed(&self) -> Vec<bool> {
        let mut listed = Vec::new();
        let mut note = |key: Key| {
            if listed.len() <= key.index() {
                listed.resize(key.index() + 1, false);
            }
            listed[key.index()] = true;
        };
        for (owner, session) in self.sessions.iter() {
            let channel = |key: &Key| self.channels.get(*key);
            let free = |key: &Key| matches!(channel(key), Some(Channel::Proxy(one)) if one.session == owner);
            session.pool.idle.iter().copied().filter(free).for_each(&mut note);
            let waits =
                |key: &Key| matches!(channel(key), Some(Channel::Visitor(one)) if one.session == owner);
            let waiting = session.waiting.iter().chain(session.inherited.iter().map(|(key, _)| *key));
            waiting.filter(waits).for_each(&mut note);
        }
        listed
    }

    fn check_proxy(&self, key: Key, proxy: &ProxyChannel, listed: bool) {
        assert!(self.sessions.get(proxy.session).is_some(), "a ProxyChannel of no session");
        assert_eq!(proxy.state.is_idle(), listed, "{key:?} and the pool disagree");
        if let Some(visitor) = proxy.visitor {
            let Some(Channel::Visitor(visitor)) = self.channels.get(visitor) else {
                panic!("{key:?} carries a visitor who has gone");
            };
            assert_eq!(visitor.state.proxy(), Some(key), "visitor and ProxyChannel disagree");
        }
    }

    /// The books agree with each other; for tests, after every step.
    pub(super) fn check_books(&self) {
        let (mut found, mut deadline) = (Found::default(), Time::NEVER);
        let listed = self.listed();
        for (key, channel) in self.channels.iter() {
            let listed = listed.get(key.index()).is_some_and(|listed| *listed);
            deadline = deadline.min(channel.deadline());
            match channel {
                Channel::Stranger(_) => found.strangers += 1,
                Channel::Front(_) => found.visitors += 1,
                Channel::Admin(_) => {}
                Channel::Caller(_) | Channel::Greeter(_) => {
                    found.visitors += 1;
                    found.callers += 1;
                }
                Channel::Cmd(session) => {
                    let cmd = self.sessions.get(*session).and_then(|s| s.cmd);
                    assert_eq!(cmd, Some(key), "a CmdChannel of nobody");
                }
                Channel::Proxy(proxy) => {
                    found.proxies += 1;
                    found.draining += usize::from(matches!(proxy.state, Proxy::Drain { .. }));
                    found.ended += usize::from(proxy.ended);
                    self.check_proxy(key, proxy, listed);
                }
                Channel::Visitor(visitor) => {
                    found.visitors += 1;
                    found.flows += usize::from(visitor.is_flow());
                    found.fellows += usize::from(visitor.is_fellow());
                    assert!(self.sessions.get(visitor.session).is_some(), "a visitor of no session");
                    assert_eq!(visitor.state.proxy().is_none(), listed, "queue and visitor disagree");
                }
            }
        }
        self.check_counts(&found);
        for (key, session) in self.sessions.iter() {
            assert_eq!(self.by_id.get(&session.login.id), Some(&key), "a session that nobody can attach to");
            let of_license = self.sessions_of(&session.login.name).filter(|(other, _)| *other == key);
            assert_eq!(of_license.count(), 1, "a session that its license does not know");
        }
        // Whatever has a deadline will be looked at by then.
        let pulses = self.sessions.iter().map(|(_, session)| session.pulse.dead_at());
        let orders = self.sessions.iter().flat_map(|(_, session)| session.pool.orders.values().copied());
        let deadline = pulses.chain(orders).fold(deadline, Time::min);
        assert!(self.timers.next() <= deadline, "a deadline that nobody looks at");
        let ports = self.ports.iter().flat_map(|(listener, all)| all.iter().map(move |one| (listener, *one)));
        for (listener, (session, mapping)) in ports {
            let session = self.sessions.get(session).expect("a port of no session");
            let (mapping, offset) = session.mappings.find(mapping).expect("a port of no mapping");
            assert_eq!(mapping.place(offset).listener(), Some(listener), "a port of another place");
        }
        for (session, mapping) in self.names.values().flat_map(Names::iter) {
            let session = self.sessions.get(session).expect("a name of no session");
            let named = matches!(session.mappings[&mapping].place(0).state, State::Named(_));
            assert!(named, "a name of no mapping");
        }
    }
}
