//! The books agree with each other: asked by tests, after every step.

use super::mappings::State;
use super::names::Names;
use super::{Channel, Server};
use crate::channel::proxy::Proxy;
use crate::time::Time;

impl Server {
    /// What sessions count is what there is; for tests.
    fn check_counts(&self) {
        let drains = |channel: &Channel| matches!(channel, Channel::Proxy(p) if matches!(p.state, Proxy::Drain { .. }));
        let draining: usize = self.sessions.iter().map(|(_, session)| session.pool.draining).sum();
        let drained = self.channels.iter().filter(|(_, channel)| drains(channel)).count();
        assert_eq!(draining, drained, "drained ProxyChannels were miscounted");
        let ended: usize = self.sessions.iter().map(|(_, session)| session.pool.ended).sum();
        let awaited = |channel: &Channel| matches!(channel, Channel::Proxy(proxy) if proxy.ended);
        let proxies = self.channels.iter().filter(|(_, channel)| awaited(channel)).count();
        assert_eq!(ended, proxies, "ProxyChannels of flows that are over were miscounted");
        let flows: usize = self.sessions.iter().map(|(_, session)| session.flows).sum();
        let is_flow = |channel: &Channel| matches!(channel, Channel::Visitor(visitor) if visitor.is_flow());
        let visitors = self.channels.iter().filter(|(_, channel)| is_flow(channel)).count();
        assert_eq!(flows, visitors, "flows were miscounted");
        let is_fellow = |channel: &Channel| matches!(channel, Channel::Visitor(v) if v.is_fellow());
        let fellows = self.channels.iter().filter(|(_, channel)| is_fellow(channel)).count();
        assert_eq!(fellows, self.fellows, "visitors that are clients were miscounted");
        let of_no_session = |channel: &Channel| matches!(channel, Channel::Caller(_) | Channel::Greeter(_));
        let callers = self.channels.iter().filter(|(_, channel)| of_no_session(channel)).count();
        let visitors: usize = self.sessions.iter().map(|(_, session)| session.visitors).sum();
        assert_eq!(visitors + callers, self.visitors, "visitors of sessions were miscounted");
    }

    /// The books agree with each other; for tests, after every step.
    pub(super) fn check_books(&self) {
        let (mut strangers, mut visitors, mut proxies) = (0, 0, 0);
        for (key, channel) in self.channels.iter() {
            match channel {
                Channel::Stranger(_) => strangers += 1,
                Channel::Front(_) | Channel::Caller(_) | Channel::Greeter(_) => visitors += 1,
                Channel::Cmd(session) => {
                    assert_eq!(
                        self.sessions.get(*session).and_then(|s| s.cmd),
                        Some(key),
                        "a CmdChannel of nobody"
                    );
                }
                Channel::Proxy(proxy) => {
                    proxies += 1;
                    let session = self.sessions.get(proxy.session).expect("a ProxyChannel of no session");
                    assert_eq!(
                        proxy.state.is_idle(),
                        session.pool.idle.contains(&key),
                        "{key:?} and the pool disagree"
                    );
                    if let Some(visitor) = proxy.visitor {
                        let Some(Channel::Visitor(visitor)) = self.channels.get(visitor) else {
                            panic!("{key:?} carries a visitor who has gone");
                        };
                        assert_eq!(visitor.state.proxy(), Some(key), "visitor and ProxyChannel disagree");
                    }
                }
                Channel::Visitor(visitor) => {
                    visitors += 1;
                    let session = self.sessions.get(visitor.session).expect("a visitor of no session");
                    assert_eq!(
                        visitor.state.proxy().is_none(),
                        session.waiting.iter().any(|other| other == key)
                            || session.inherited.iter().any(|(other, _)| *other == key),
                        "queue and visitor disagree"
                    );
                }
            }
        }
        assert_eq!((strangers, visitors, proxies), (self.strangers.len(), self.visitors, self.proxies));
        self.check_counts();
        for (key, session) in self.sessions.iter() {
            assert_eq!(self.by_id.get(&session.login.id), Some(&key), "a session that nobody can attach to");
            assert_eq!(
                self.by_license.get(&session.login.license),
                Some(&key),
                "two sessions of one license"
            );
        }
        // Whatever has a deadline will be looked at by then.
        let pulses = self.sessions.iter().map(|(_, session)| session.pulse.dead_at());
        let orders = self.sessions.iter().flat_map(|(_, session)| session.pool.orders.values().copied());
        let deadlines =
            self.channels.iter().map(|(_, channel)| channel.deadline()).chain(pulses).chain(orders);
        assert!(
            self.timers.next() <= deadlines.min().unwrap_or(Time::NEVER),
            "a deadline that nobody looks at"
        );
        for (listener, &(session, mapping)) in self.ports.iter() {
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
