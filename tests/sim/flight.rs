//! Packets on their way, soonest first.

use std::cmp::Ordering;

use nt::time::Time;

use super::{EndId, Packet};

/// A packet on its way. Those that arrive at one moment do so in the order in which they were posted.
pub struct Flying {
    pub at: Time,
    pub posted: u64,
    pub to: EndId,
    /// Its number among all that came from the other end.
    pub number: u64,
    pub packet: Packet,
}

impl Flying {
    fn order(&self) -> (Time, u64) {
        (self.at, self.posted)
    }
}

impl PartialEq for Flying {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Flying {}

impl PartialOrd for Flying {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flying {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}
