//! What has happened, for whoever asks later: the last notes, and how often each kind came.

use std::collections::VecDeque;

use crate::calendar::Clock;
use crate::limits::EVENTS_KEPT;
use crate::note::{Level, Note};
use crate::reason::Reason;
use crate::sorted::Sorted;
use crate::time::Time;

/// The last events.
#[derive(Debug, Default)]
pub(super) struct Events {
    kept: VecDeque<Event>,
    /// Number of the last one.
    last: u64,
    /// The clock of the day, and when it was read.
    clock: (Clock, Time),
    pub(super) tally: Tally,
}

/// One event.
#[derive(Debug)]
pub(super) struct Event {
    /// Ascending; it has another one when it happens again.
    pub(super) number: u64,
    /// Seconds since 1970, as far as the clock was set.
    pub(super) at: u64,
    pub(super) level: Level,
    pub(super) text: String,
    /// How often it happened in a row.
    pub(super) times: u64,
}

/// How often what has happened since the start.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) visits: u64,
    pub(super) logins: u64,
    pub(super) logins_refused: u64,
    pub(super) visits_failed: Sorted<Reason, u64>,
    pub(super) bans: u64,
}

impl Events {
    /// It is this time of day.
    pub(super) fn set_clock(&mut self, now: Time, clock: Clock) {
        self.clock = (clock, now);
    }

    /// The clock of the day.
    pub(super) fn clock(&self, now: Time) -> Clock {
        let (Clock(clock), read) = self.clock;
        Clock(clock + now.since(read).as_micros() / 1_000_000)
    }

    pub(super) fn remember(&mut self, now: Time, note: &Note) {
        match note {
            Note::SessionUp { .. } => self.tally.logins += 1,
            Note::LoginRefused { .. } => self.tally.logins_refused += 1,
            Note::VisitFailed { reason, .. } => *self.tally.visits_failed.get_or_default(*reason) += 1,
            Note::Banned { .. } => self.tally.bans += 1,
            _ => {}
        }
        if note.level() > Level::Info {
            return;
        }
        let (text, Clock(at)) = (note.to_string(), self.clock(now));
        self.last += 1;
        match self.kept.back_mut() {
            Some(before) if before.text == text => {
                (before.number, before.at, before.times) = (self.last, at, before.times + 1);
            }
            _ => {
                if self.kept.len() >= EVENTS_KEPT {
                    self.kept.pop_front();
                }
                self.kept.push_back(Event { number: self.last, at, level: note.level(), text, times: 1 });
            }
        }
    }

    /// Those behind this one, oldest first.
    pub(super) fn after(&self, number: u64) -> impl Iterator<Item = &Event> {
        self.kept.iter().filter(move |event| event.number > number)
    }
}
