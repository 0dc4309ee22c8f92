//! What there may be at once, and what there is: counted, and checked by tests after every turn.

use super::{Driver, Slot};
use crate::arena::Arena;
use crate::flow::{self, End};
use crate::link::{Held, rights};
use crate::net::Net;
use crate::role::Speech;
use crate::slots::Key;

/// Connections at once, by kind. The arena is made for exactly these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Visitors and real servers, be it by a connection or by datagrams.
    pub raws: usize,
    /// Connections that a role reads and writes itself.
    pub locals: usize,
    /// Tunnel connections.
    pub tunnels: usize,
    /// Visitors who speak HTTP.
    pub callers: usize,
}

impl Budget {
    /// Buffers that so many connections have a right to.
    pub const fn buffers(self) -> usize {
        self.raws * rights(Speech::Raw)          // what each visitor may hold back
            + self.locals * rights(Speech::Local) // what each local connection may have under way
            + self.tunnels * rights(Speech::Tls) // what each tunnel connection may have under way
            + self.callers * rights(Speech::Http) // what each exchange may have under way, and hold back
    }
}

pub(super) fn kind(budget: &mut Budget, speech: Speech) -> &mut usize {
    match speech {
        Speech::Tls | Speech::Plain => &mut budget.tunnels,
        Speech::Raw => &mut budget.raws,
        Speech::Local => &mut budget.locals,
        Speech::Http => &mut budget.callers,
    }
}

pub(super) fn has_room(mut used: Budget, mut budget: Budget, speech: Speech) -> bool {
    *kind(&mut used, speech) < *kind(&mut budget, speech)
}

impl<N: Net> Driver<N> {
    /// What is left of a driver that ends in the middle of its work, for the next one: an arena is for the life of the
    /// process, and tests have thousands of drivers in one.
    pub fn into_arena(mut self) -> Arena {
        let links: Vec<Key> = self.slots.iter().map(|(key, _)| key).collect();
        for key in links {
            match self.slots.get_mut(key) {
                Some(Slot::Link(link)) => {
                    link.clear(&mut self.net, &mut self.arena);
                    self.arena.release(link.rights());
                }
                Some(Slot::Flow(flow)) => {
                    flow.clear(&mut self.arena);
                    self.arena.release(flow::RIGHTS);
                }
                Some(Slot::Reserved | Slot::Door(_) | Slot::Port(_) | Slot::Meter(_)) | None => {}
            }
        }
        self.arena
    }

    /// Buffers lent; sockets there are, of connections, listeners and real servers' flows.
    pub fn counts(&self) -> (usize, usize) {
        (self.arena.lent(), self.slots.len() - self.quiet.len() - self.meters.len())
    }

    /// Panics where the driver's books, or those of a role, do not agree.
    pub fn check(&self) {
        let (mut lent, mut larges, mut used) = (0, 0, Budget::default());
        let joined = |key| match self.slots.get(key) {
            Some(Slot::Link(link)) => link.peer,
            Some(Slot::Flow(flow)) => flow.proxy,
            _ => None,
        };
        for (key, slot) in self.slots.iter() {
            let mut peer = None;
            match slot {
                Slot::Link(link) => {
                    peer = link.peer;
                    *kind(&mut used, link.speech) += 1;
                    lent += usize::from(link.rx.holds_buffer()) + usize::from(link.tx.holds_buffer());
                    lent += link.tls.as_ref().map_or(0, |tls| usize::from(tls.holds_buffer()));
                    lent += usize::from(matches!(link.held, Held::Kept(Some(_), _)));
                }
                Slot::Flow(flow) => {
                    peer = flow.proxy;
                    used.raws += 1;
                    let (small, large) = flow.holds();
                    (lent, larges) = (lent + usize::from(small), larges + large);
                    if let End::Shared(port, ends, at) = &flow.end {
                        let Some(Slot::Port(port)) = self.slots.get(*port) else {
                            panic!("{key:?} has no port")
                        };
                        assert_eq!(port.flows.get(ends), Some(&key), "{key:?} is not its port's");
                        assert!(self.quiet.has(port.group, *at, key), "{key:?} is never over");
                    }
                }
                Slot::Reserved | Slot::Door(_) | Slot::Port(_) | Slot::Meter(_) => {}
            }
            if let Some(peer) = peer {
                assert_eq!(joined(peer), Some(key), "{key:?} and {peer:?} disagree");
            }
        }
        assert_eq!(larges, self.arena.larges_lent(), "a large buffer has no owner, or two");
        assert_eq!(lent, self.arena.lent(), "a buffer has no owner, or two");
        assert_eq!(used, self.used, "connections were miscounted");
        assert_eq!(self.arena.reserved(), used.buffers(), "rights were miscounted");
        self.check_held();
        for role in &self.roles {
            role.check();
        }
    }
}
