//! Deadlines of a role: a heap of moments and what they are for.
//!
//! An entry is a reminder, not the truth: the truth is the deadline that its owner keeps. Whoever is
//! reminded looks at its own state, does what is due, and asks to be reminded again if its deadline has
//! moved. So a late, early or repeated reminder does nothing, and moving a deadline costs nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Time;

/// Reminders of kind `R`, each for one moment.
#[derive(Debug)]
pub struct Timers<R> {
    heap: BinaryHeap<Reverse<(Time, u64, R)>>,
    count: u64,
}

impl<R: Ord> Default for Timers<R> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), count: 0 }
    }
}

impl<R: Ord> Timers<R> {
    /// Asks to be reminded of `what` at `at`. Reminders of one moment come in the order in which they were
    /// asked for.
    pub fn remind(&mut self, at: Time, what: R) {
        if at < Time::NEVER {
            self.count += 1;
            self.heap.push(Reverse((at, self.count, what)));
        }
    }

    /// Drops the reminders that nobody has a use for any more: each would wake the loop for nothing.
    pub fn forget(&mut self, is_stale: impl Fn(&R) -> bool) {
        self.heap.retain(|Reverse((_, _, what))| !is_stale(what));
    }

    /// The next reminder that is due at `now`.
    pub fn due(&mut self, now: Time) -> Option<R> {
        if self.next() > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, what))| what)
    }

    /// When the next one is due; [`Time::NEVER`] if there is none.
    pub fn next(&self) -> Time {
        self.heap.peek().map_or(Time::NEVER, |Reverse((at, _, _))| *at)
    }

    /// How many there are, stale ones included.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

/// The earliest of many deadlines that are kept elsewhere, so that thousands of short-lived owners need one
/// reminder between them: whoever gets a deadline says so here, and is looked for when the earliest has
/// come.
#[derive(Clone, Copy, Debug)]
pub struct Earliest(Time);

impl Default for Earliest {
    fn default() -> Self {
        Self(Time::NEVER)
    }
}

impl Earliest {
    /// Somebody has a deadline: whether a reminder must be asked for, because it is earlier than all before.
    #[must_use]
    pub fn lower(&mut self, deadline: Time) -> bool {
        let earlier = deadline < self.0;
        if earlier {
            self.0 = deadline;
        }
        earlier
    }

    /// Whether there is a reminder by then.
    pub fn is_by(&self, time: Time) -> bool {
        self.0 <= time
    }

    /// A reminder came: whether it is the one that counts. If so all deadlines must be looked at, and told
    /// anew.
    #[must_use]
    pub fn reached(&mut self, now: Time) -> bool {
        let reached = self.0 <= now;
        if reached {
            self.0 = Time::NEVER;
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reminders_come_in_order() {
        let mut timers = Timers::default();
        for (at, what) in [(30, 'c'), (10, 'a'), (30, 'b'), (20, 'x')] {
            timers.remind(Time::from_micros(at), what);
        }
        timers.remind(Time::NEVER, 'n');
        assert_eq!(timers.next(), Time::from_micros(10));
        let mut got = String::new();
        while let Some(what) = timers.due(Time::from_micros(29)) {
            got.push(what);
        }
        assert_eq!((got.as_str(), timers.len()), ("ax", 2));
        assert_eq!(timers.due(Time::from_micros(30)), Some('c'));
        assert_eq!(timers.due(Time::from_micros(30)), Some('b'));
        assert_eq!(timers.next(), Time::NEVER);
    }
}
