//! What there may be at once, and what there is: counted, and checked by tests after every turn.

use super::{Driver, Slot};
use crate::arena::Arena;
use crate::link::{Held, rights};
use crate::net::Net;
use crate::role::Speech;
use crate::slots::Key;

/// Connections at once, by kind. The arena is made for exactly these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Visitors and real servers.
    pub raws: usize,
    /// Connections that a role reads and writes itself.
    pub locals: usize,
    /// Tunnel connections.
    pub tunnels: usize,
}

impl Budget {
    /// Buffers that so many connections have a right to.
    pub const fn buffers(self) -> usize {
        self.raws * rights(Speech::Raw)          // what each visitor may hold back
            + self.locals * rights(Speech::Local) // what each local connection may have under way
            + self.tunnels * rights(Speech::Tls) // what each tunnel connection may have under way
    }
}

pub(super) fn kind(budget: &mut Budget, speech: Speech) -> &mut usize {
    match speech {
        Speech::Tls | Speech::Plain => &mut budget.tunnels,
        Speech::Raw => &mut budget.raws,
        Speech::Local => &mut budget.locals,
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
            if let Some(Slot::Link(link)) = self.slots.get_mut(key) {
                link.clear(&mut self.net, &mut self.arena);
                self.arena.release(link.rights());
            }
        }
        self.arena
    }

    /// Buffers lent, connections and listeners there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.arena.lent(), self.slots.len())
    }

    /// Panics where the driver's books, or those of a role, do not agree.
    pub fn check(&self) {
        let (mut lent, mut used) = (0, Budget::default());
        for (key, slot) in self.slots.iter() {
            let Slot::Link(link) = slot else { continue };
            *kind(&mut used, link.speech) += 1;
            lent += usize::from(link.rx.holds_buffer()) + usize::from(link.tx.holds_buffer());
            lent += link.tls.as_ref().map_or(0, |tls| usize::from(tls.holds_buffer()));
            lent += usize::from(matches!(link.held, Held::Kept(Some(_), _)));
            if let Some(peer) = link.peer {
                let Some(Slot::Link(other)) = self.slots.get(peer) else {
                    panic!("{key:?} is joined to nobody")
                };
                assert_eq!(other.peer, Some(key), "{key:?} and {peer:?} disagree");
            }
        }
        assert_eq!(lent, self.arena.lent(), "a buffer has no owner, or two");
        assert_eq!(used, self.used, "connections were miscounted");
        assert_eq!(self.arena.reserved(), used.buffers(), "rights were miscounted");
        for role in &self.roles {
            role.check();
        }
    }
}
