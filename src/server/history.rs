//! What has passed in each minute of the last day, for a chart: a ring, which is there from the start and never grows.
//!
//! Whenever the meters are read, what they say belongs to the minute that is open; it is closed when the counters are
//! kept, once a minute. Minutes in which the machine slept are there, and empty.

use serde_json::{Value, json};

use crate::calendar::Clock;
use crate::limits::{HISTORY_SAMPLES, HISTORY_STEP};
use crate::meter::Traffic;
use crate::time::Time;

/// The minutes of the last day.
#[derive(Debug)]
pub(super) struct History {
    ring: Box<[Traffic]>,
    /// The place of the next minute.
    next: usize,
    /// Minutes that there are.
    count: usize,
    /// What has passed in the minute that is open.
    open: Traffic,
    /// It is closed when the meters have been read.
    due: bool,
    /// When the last one was closed.
    closed: Option<Time>,
}

impl Default for History {
    fn default() -> Self {
        let ring = vec![Traffic::default(); HISTORY_SAMPLES].into_boxed_slice();
        Self { ring, next: 0, count: 0, open: Traffic::default(), due: false, closed: None }
    }
}

impl History {
    /// The minute is over, as soon as the meters have been read.
    pub(super) fn end_minute(&mut self) {
        self.due = true;
    }

    /// Something has passed.
    pub(super) fn add(&mut self, traffic: Traffic) {
        self.open.add(traffic);
    }

    /// The meters have been read.
    pub(super) fn read(&mut self, now: Time) {
        if !std::mem::take(&mut self.due) {
            return;
        }
        let step = HISTORY_STEP.as_micros();
        let gone = self.closed.map_or(1, |closed| (now.since(closed).as_micros() + step / 2) / step);
        let asleep = usize::try_from(gone).unwrap_or(usize::MAX).saturating_sub(1).min(HISTORY_SAMPLES);
        (0..asleep).for_each(|_| self.close(Traffic::default()));
        let passed = std::mem::take(&mut self.open);
        self.close(passed);
        self.closed = Some(now);
    }

    fn close(&mut self, minute: Traffic) {
        self.ring[self.next] = minute;
        self.next = (self.next + 1) % HISTORY_SAMPLES;
        self.count = (self.count + 1).min(HISTORY_SAMPLES);
    }

    /// The minutes that there are, oldest first.
    fn minutes(&self) -> impl Iterator<Item = Traffic> {
        let first = self.next + HISTORY_SAMPLES - self.count;
        (first..first + self.count).map(|at| self.ring[at % HISTORY_SAMPLES])
    }

    /// As the API shows it; `clock` is the time of day of now.
    pub(super) fn report(&self, now: Time, Clock(clock): Clock) -> Value {
        let ago = self.closed.map_or(0, |closed| now.since(closed).as_micros() / 1_000_000);
        json!({
            "time": clock.saturating_sub(ago),
            "step": HISTORY_STEP.as_micros() / 1_000_000,
            "down": self.minutes().map(|minute| minute.down).collect::<Vec<_>>(),
            "up": self.minutes().map(|minute| minute.up).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    /// A minute ends now, in which so much came down.
    fn minute(history: &mut History, now: Time, down: u64) {
        history.add(Traffic { down, up: 1 });
        history.end_minute();
        history.read(now);
    }

    fn down(history: &History) -> Vec<u64> {
        history.minutes().map(|minute| minute.down).collect()
    }

    #[test]
    fn minutes_come_oldest_first_and_only_when_they_are_over() {
        let (mut history, start) = (History::default(), Time::from_micros(1 << 40));
        assert_eq!(history.report(start, Clock(1_000))["down"], json!([]));
        for n in 1..=3 {
            history.add(Traffic { down: 100, up: 0 });
            history.read(start);
            minute(&mut history, start + Span::from_secs(60 * n), n);
        }
        assert_eq!(down(&history), [101, 102, 103]);
        let later = start + Span::from_secs(60 * 3 + 7);
        let expected = json!({ "time": 993, "step": 60, "down": [101, 102, 103], "up": [1, 1, 1] });
        assert_eq!(history.report(later, Clock(1_000)), expected);
    }

    #[test]
    fn minutes_asleep_are_empty_and_late_ones_are_not() {
        let (mut history, start) = (History::default(), Time::from_micros(5));
        for (secs, bytes) in [(60, 1), (121, 2), (190, 3), (430, 4), (430, 5), (0, 6)] {
            minute(&mut history, start + Span::from_secs(secs), bytes);
        }
        assert_eq!(down(&history), [1, 2, 3, 0, 0, 0, 4, 5, 6], "time that goes back is no time");
    }

    #[test]
    fn a_day_is_all_that_is_kept() {
        let (mut history, mut now) = (History::default(), Time::default());
        let before = history.ring.as_ptr();
        for n in 0..HISTORY_SAMPLES as u64 + 2 {
            now = now + HISTORY_STEP;
            minute(&mut history, now, n);
        }
        let expected: Vec<u64> = (2..HISTORY_SAMPLES as u64 + 2).collect();
        assert_eq!(down(&history), expected);
        minute(&mut history, now + Span::from_secs(1_000_000_000), 7);
        let expected: Vec<u64> = (1..HISTORY_SAMPLES).map(|_| 0).chain([7]).collect();
        assert_eq!(down(&history), expected, "after years asleep");
        assert_eq!(history.ring.as_ptr(), before, "it stays where it is");
    }
}
