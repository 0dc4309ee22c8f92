//! Meters: how much has passed, and how much more may pass now.
//!
//! A meter counts for many connections at once, and may count with another one: a mapping's with its license's. What
//! passes has to be within both.
//!
//! A rate is kept as a moment: until then, what has passed has used the rate up (a leaky bucket turned round, known as
//! GCRA from ITU-T I.371). So a meter that rests costs nothing, and nothing need be filled up.

use crate::limits::{RATE_BURST, RATE_BURST_BYTES_MIN, RATE_SLICE, RATE_SLICE_BYTES_MAX};
use crate::slots::Key;
use crate::time::{Span, Time};

/// Which way payload passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From a visitor to the client.
    Down,
    /// From the client to a visitor.
    Up,
}

/// Bytes that have passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From visitors to the client.
    pub down: u64,
    /// From the client to visitors.
    pub up: u64,
}

impl Traffic {
    /// Both ways together.
    pub fn sum(self) -> u64 {
        self.down.saturating_add(self.up)
    }

    /// More has passed.
    pub fn add(&mut self, more: Self) {
        self.down = self.down.saturating_add(more.down);
        self.up = self.up.saturating_add(more.up);
    }
}

/// What a meter lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes a second down; any number where `None`.
    pub down: Option<u64>,
    /// Bytes a second up.
    pub up: Option<u64>,
    /// Bytes until the next mark, both ways together: nothing passes beyond it before its owner has said what next.
    pub mark: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { down: None, up: None, mark: u64::MAX }
    }
}

/// Counts, and holds back.
#[derive(Debug)]
pub struct Meter {
    /// The role that is told of its mark.
    pub role: usize,
    /// It counts with this one.
    pub within: Option<Key>,
    down: Lane,
    up: Lane,
    mark: u64,
}

/// One way.
#[derive(Debug, Default)]
struct Lane {
    /// Since it was last read.
    passed: u64,
    rate: Option<u64>,
    /// Nanoseconds of the program's clock: what has passed has used the rate up until then.
    used_until: u64,
}

fn nanos(time: Time) -> u64 {
    time.since(Time::default()).as_micros().saturating_mul(1_000)
}

impl Lane {
    /// Bytes that may pass at once, after a while without any.
    fn burst(rate: u64) -> u64 {
        share(rate, RATE_BURST).max(RATE_BURST_BYTES_MIN)
    }

    fn room(&self, now: Time) -> u64 {
        let Some(rate) = self.rate else { return u64::MAX };
        let used = self.used_until.saturating_sub(nanos(now));
        let used = (u128::from(used) * u128::from(rate)).div_ceil(1_000_000_000);
        Self::burst(rate).saturating_sub(u64::try_from(used).unwrap_or(u64::MAX))
    }

    fn pass(&mut self, now: Time, bytes: u64) {
        self.passed = self.passed.saturating_add(bytes);
        if let Some(rate) = self.rate {
            let cost = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(rate));
            let cost = u64::try_from(cost).unwrap_or(u64::MAX);
            self.used_until = self.used_until.max(nanos(now)).saturating_add(cost);
        }
    }
}

/// What a rate lets pass in a time.
fn share(rate: u64, time: Span) -> u64 {
    let bytes = u128::from(rate) * u128::from(time.as_micros()) / 1_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl Meter {
    /// A meter that nothing has passed.
    pub fn new(role: usize, limits: Limits, within: Option<Key>) -> Self {
        let mut meter = Self { role, within, down: Lane::default(), up: Lane::default(), mark: u64::MAX };
        meter.limit(limits);
        meter
    }

    /// From now on other limits hold.
    pub fn limit(&mut self, limits: Limits) {
        (self.down.rate, self.up.rate, self.mark) = (limits.down, limits.up, limits.mark);
    }

    fn lane(&mut self, way: Way) -> &mut Lane {
        match way {
            Way::Down => &mut self.down,
            Way::Up => &mut self.up,
        }
    }

    /// So much may pass now.
    pub fn room(&mut self, now: Time, way: Way) -> u64 {
        let mark = self.mark;
        self.lane(way).room(now).min(mark)
    }

    /// Whether so much may pass at once, be it the last before the mark, or more than ever is saved up: that is paid
    /// for later.
    pub fn has_room_for(&mut self, now: Time, way: Way, bytes: u64) -> bool {
        let mark = self.mark;
        let lane = self.lane(way);
        let saved_up = lane.rate.map_or(u64::MAX, Lane::burst);
        mark > 0 && lane.room(now) >= bytes.min(saved_up)
    }

    /// Room for so much is worth to be told of, once there was none.
    pub fn slice(&mut self, way: Way) -> u64 {
        let rate = self.lane(way).rate.unwrap_or(u64::MAX);
        share(rate, RATE_SLICE).clamp(1, RATE_SLICE_BYTES_MAX)
    }

    /// So much has passed. Whether the mark is reached with it.
    pub fn pass(&mut self, now: Time, way: Way, bytes: u64) -> bool {
        self.lane(way).pass(now, bytes);
        let before = self.mark;
        if before < u64::MAX {
            self.mark = before.saturating_sub(bytes);
        }
        before > 0 && self.mark == 0
    }

    /// What has passed since this was last asked.
    pub fn take(&mut self) -> Traffic {
        let take = |lane: &mut Lane| std::mem::take(&mut lane.passed);
        Traffic { down: take(&mut self.down), up: take(&mut self.up) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::default() + Span::from_millis(millis)
    }

    fn meter(limits: Limits) -> Meter {
        Meter::new(0, limits, None)
    }

    /// What passes within these milliseconds, of whoever asks once in `every` of them and takes all there is.
    fn passes(meter: &mut Meter, from: u64, until: u64, every: usize) -> u64 {
        let mut passed = 0;
        for time in (from..until).step_by(every).map(at) {
            let room = meter.room(time, Way::Down);
            meter.pass(time, Way::Down, room);
            passed += room;
        }
        passed
    }

    #[test]
    fn a_rate_is_kept_whatever_it_is() {
        for rate in [1, 999, 64_000, 3_333_333, 1_000_000_000, 1_000_000_000_000] {
            let mut meter = meter(Limits { down: Some(rate), ..Limits::default() });
            let burst = passes(&mut meter, 0, 1, 1);
            assert_eq!(burst, Lane::burst(rate), "{rate}: what is saved up");
            // Each time that is asked may lose less than a byte.
            for every in [1, 10, 200] {
                let start = 100_000 * every as u64;
                passes(&mut meter, start, start + 1, 1);
                let passed = passes(&mut meter, start + 1, start + 60_001, every);
                let due = rate * 60;
                assert!(
                    passed <= due && due - passed <= rate * every as u64 / 1_000 + 60_001,
                    "{rate}: {passed}"
                );
            }
            assert_eq!(meter.room(at(1), Way::Up), u64::MAX, "the other way is free");
        }
    }

    #[test]
    fn rest_saves_up_a_burst_and_no_more() {
        let mut meter = meter(Limits { down: Some(1_000_000), ..Limits::default() });
        assert_eq!(meter.room(at(0), Way::Down), 250_000);
        meter.pass(at(0), Way::Down, 250_000);
        assert_eq!(meter.room(at(0), Way::Down), 0);
        assert_eq!(meter.room(at(100), Way::Down), 100_000);
        assert_eq!(meter.room(at(1_000_000), Way::Down), 250_000);
        // Whoever takes more than there is pays for it later.
        meter.pass(at(1_000_000), Way::Down, 1_250_000);
        assert_eq!(meter.room(at(1_001_000), Way::Down), 0);
        assert_eq!(meter.room(at(1_001_100), Way::Down), 100_000);
        assert_eq!(meter.take(), Traffic { down: 1_500_000, up: 0 });
        assert_eq!(meter.take(), Traffic::default());
    }

    /// A datagram passes whole, or never.
    #[test]
    fn what_cannot_be_divided_is_not_held_back_for_ever() {
        let mut meter = meter(Limits { down: Some(1_000), mark: 70_000, ..Limits::default() });
        assert!(meter.has_room_for(at(0), Way::Down, 65_507), "more than is saved up");
        assert!(!meter.pass(at(0), Way::Down, 65_507));
        assert!(!meter.has_room_for(at(0), Way::Down, 1));
        assert!(!meter.has_room_for(at(49_000), Way::Down, 1_000), "it is paid for");
        assert!(meter.has_room_for(at(51_000), Way::Down, 1_000));
        assert!(meter.has_room_for(at(0), Way::Up, 9_000), "more than there is before the mark");
        assert!(meter.pass(at(0), Way::Up, 9_000));
        assert!(!meter.has_room_for(at(0), Way::Up, 1));
    }

    #[test]
    fn nothing_passes_a_mark() {
        let mut meter = meter(Limits { mark: 1_000, ..Limits::default() });
        assert_eq!((meter.room(at(0), Way::Down), meter.room(at(0), Way::Up)), (1_000, 1_000));
        assert!(!meter.pass(at(0), Way::Up, 999));
        assert_eq!(meter.room(at(0), Way::Down), 1);
        assert!(meter.pass(at(0), Way::Down, 1), "that was the last");
        assert!(!meter.pass(at(0), Way::Down, 1), "it is told once");
        assert_eq!(meter.room(at(9_999_999), Way::Up), 0);
        meter.limit(Limits::default());
        assert_eq!(meter.room(at(0), Way::Up), u64::MAX);
        assert!(!meter.pass(at(0), Way::Up, u64::MAX) && !meter.pass(at(0), Way::Up, u64::MAX), "it is none");
        assert_eq!(meter.take(), Traffic { down: 2, up: u64::MAX });
    }
}
