//! Packets on their way, soonest first.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

use nt::time::{Span, Time};

use super::{EndId, Packet};

/// After so long TCP sends again what did not arrive, until it gives up.
const AGAIN_AFTER: Span = Span::from_millis(400);

/// All packets that are on their way.
#[derive(Default)]
pub struct Flight {
    first: BinaryHeap<Reverse<Flying>>,
    /// Those that are sent again, all after the same time: they arrive in this order. Of what a cut leaves on its way
    /// there may be much, and for long.
    again: VecDeque<Flying>,
    posted: u64,
}

impl Flight {
    pub fn send(&mut self, at: Time, to: EndId, number: u64, packet: Packet) {
        self.posted += 1;
        self.first.push(Reverse(Flying { at, posted: self.posted, to, number, packet }));
    }

    /// A packet did not arrive now, but will in a while, if it can then; when.
    pub fn send_again(&mut self, now: Time, to: EndId, number: u64, packet: Packet) -> Time {
        self.posted += 1;
        let at = now + AGAIN_AFTER;
        self.again.push_back(Flying { at, posted: self.posted, to, number, packet });
        at
    }

    /// Packets posted so far.
    pub fn posted(&self) -> u64 {
        self.posted
    }

    /// When the next one arrives.
    pub fn next(&self) -> Time {
        let [first, again] = self.firsts();
        first.min(again).0
    }

    /// The next one, if it has arrived by now.
    pub fn arrived(&mut self, now: Time) -> Option<Flying> {
        let [first, again] = self.firsts();
        match first.min(again).0 > now {
            true => None,
            false if again < first => self.again.pop_front(),
            false => self.first.pop().map(|Reverse(flying)| flying),
        }
    }

    /// The place in time of the first of either kind.
    fn firsts(&self) -> [(Time, u64); 2] {
        let first = self.first.peek().map(|Reverse(flying)| flying.order());
        [first, self.again.front().map(Flying::order)].map(|order| order.unwrap_or((Time::NEVER, 0)))
    }
}

/// A packet on its way. Those that arrive at one moment do so in the order in which they were posted.
pub struct Flying {
    at: Time,
    posted: u64,
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
