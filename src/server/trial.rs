//! Other licenses on trial: those of before hold again unless the operator says in time that what holds is to stay.
//!
//! ```text
//!          reload, "confirm": N           the time is up               written
//!   Nothing ──────────────────► Waiting ────────────────► GoingBack ───────────► Nothing
//!      ▲      again: later deadline │                        │ not written: tried again
//!      └─────────── reload ─────────┘                        └─────────►┘
//! ```
//!
//! Whoever tries something out asks once before the file is changed, and once when it is: it is looked at every two
//! seconds anyway. While a trial is on nobody else changes the licenses: it would be lost.

use super::{Due, Server};
use crate::api::Refusal;
use crate::directory::Directory;
use crate::limits::PUT_BACK_RETRY_EVERY;
use crate::note::{Note, Trial as News};
use crate::role::{Outbox, Verb};
use crate::time::{Span, Time};

/// How it stands with what is tried out.
#[derive(Debug, Default)]
pub(super) enum Trial {
    /// What holds is there to stay.
    #[default]
    Nothing,
    /// What holds is there for so long.
    Waiting {
        /// What held before.
        before: Box<Directory>,
        /// Until then.
        deadline: Time,
        /// How long that was, when it was said last.
        span: Span,
    },
    /// What held before holds again, and is being written.
    GoingBack {
        /// What held before.
        before: Box<Directory>,
        /// It is tried again then: never, while it is under way.
        again: Time,
    },
}

impl Trial {
    /// Seconds that are left to confirm what holds.
    pub(super) fn seconds_left(&self, now: Time) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::Waiting { deadline, .. } => Some(deadline.since(now).as_secs_up()),
            Self::GoingBack { .. } => Some(0),
        }
    }

    /// Whether, and why, the licenses are not to be changed now.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Nothing => None,
            Self::Waiting { .. } => Some(Refusal::new(409, crate::api::UNCONFIRMED)),
            Self::GoingBack { .. } => Some(going_back()),
        }
    }
}

fn going_back() -> Refusal {
    Refusal::new(409, "the licenses of before are just being written back: try again in a moment")
}

impl Server {
    /// The files were looked at for somebody who wants what holds to be kept, or to be tried out for so long. What to
    /// say of that, if anything.
    pub(super) fn keep_or_try(
        &mut self,
        now: Time,
        confirm: Option<Span>,
        out: &mut Outbox<'_>,
    ) -> Result<Option<String>, Refusal> {
        let before = match (std::mem::take(&mut self.trial), confirm) {
            (Trial::Nothing, None) => return Ok(None),
            (Trial::Waiting { .. }, None) => {
                out.note(Note::Trial(News::Kept));
                return Ok(Some("confirmed: what holds now stays".to_owned()));
            }
            (trial @ Trial::GoingBack { .. }, _) => {
                self.trial = trial;
                return confirm.map_or(Ok(None), |_| Err(going_back()));
            }
            (Trial::Nothing, Some(span)) => {
                out.note(Note::Trial(News::Begins { span }));
                Box::new(self.config.directory.clone())
            }
            (Trial::Waiting { before, .. }, Some(_)) => before,
        };
        let span = confirm.unwrap_or_default();
        let deadline = now + span;
        self.trial = Trial::Waiting { before, deadline, span };
        self.timers.remind(deadline, Due::Trial);
        let seconds = span.as_secs_up();
        Ok(Some(format!("unless it is confirmed within {seconds} s, the licenses of before hold again")))
    }

    /// The time may be up; or what held before is to be written once more.
    pub(super) fn trial_due(&mut self, now: Time, out: &mut Outbox<'_>) {
        match &mut self.trial {
            Trial::Waiting { before, deadline, span } if *deadline <= now => {
                out.note(Note::Trial(News::Over { span: *span }));
                let before = std::mem::take(before);
                out.push(Verb::PutBack(before.clone()));
                self.trial = Trial::GoingBack { before: before.clone(), again: Time::NEVER };
                self.hold(now, *before, out);
            }
            Trial::GoingBack { before, again } if *again <= now => {
                *again = Time::NEVER;
                out.push(Verb::PutBack(before.clone()));
            }
            Trial::Nothing | Trial::Waiting { .. } | Trial::GoingBack { .. } => {}
        }
    }

    /// What held before is in the file again, or why not.
    pub(super) fn put_back(&mut self, now: Time, result: Result<(), String>, out: &mut Outbox<'_>) {
        let Trial::GoingBack { again, .. } = &mut self.trial else { return };
        match result {
            Ok(()) => {
                self.trial = Trial::Nothing;
                // What was known of the file is not true any more.
                out.push(Verb::LookAround);
            }
            Err(why) => {
                *again = now + PUT_BACK_RETRY_EVERY;
                self.timers.remind(*again, Due::Trial);
                out.note(Note::Trial(News::NotWritten(why)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Entry;
    use crate::entropy::{Entropy, SEED_BYTES};
    use crate::license::{LICENSE_BYTES, License};
    use crate::role::{Input, Keys, Role};
    use crate::server::Config;
    use crate::slots::Key;

    struct NoKeys;

    impl Keys for NoKeys {
        fn reserve(&mut self) -> Option<Key> {
            None
        }
    }

    fn licenses(count: u8) -> Directory {
        let mut directory = Directory::default();
        for n in 0..count {
            let license = License::from_random([n; LICENSE_BYTES]);
            directory.add(Entry::new(&format!("l{n}"), &license).expect("a name")).expect("room");
        }
        directory
    }

    /// A server at a time that is a number, and what it wants to be done.
    struct Stage(Server, Time);

    impl Stage {
        fn new() -> Self {
            let directory = licenses(1);
            let config = Config { doors: vec![], directory, visitors_max: 1, sessions_max: 1 };
            Self(Server::new(config, Entropy::new([0; SEED_BYTES])), Time::from_micros(1))
        }

        fn with<T>(&mut self, work: impl FnOnce(&mut Server, Time, &mut Outbox<'_>) -> T) -> (T, Vec<Verb>) {
            let (mut verbs, mut bytes) = (Vec::new(), Vec::new());
            let done = work(&mut self.0, self.1, &mut Outbox::new(&mut verbs, &mut bytes, &mut NoKeys));
            (done, verbs)
        }

        fn ask(&mut self, seconds: Option<u64>) -> Result<Option<String>, Refusal> {
            self.with(|server, now, out| server.keep_or_try(now, seconds.map(Span::from_secs), out)).0
        }

        fn read(&mut self, directory: Directory) {
            self.with(|server, now, out| server.step(now, Input::Licenses(Some(Ok(directory))), out));
        }

        /// So much later; how many licenses it wants to have written.
        fn wait(&mut self, seconds: u64) -> Vec<usize> {
            self.1 = self.1 + Span::from_secs(seconds);
            let (_, verbs) = self.with(|server, now, out| server.step(now, Input::Timeout, out));
            let written = verbs.iter().filter_map(|verb| match verb {
                Verb::PutBack(directory) => Some(directory.len()),
                _ => None,
            });
            written.collect()
        }

        fn written(&mut self, result: Result<(), String>) {
            self.with(|server, now, out| server.step(now, Input::PutBack(result), out));
        }

        fn holds(&self) -> usize {
            self.0.config.directory.len()
        }
    }

    #[test]
    fn it_goes_back_when_the_time_is_up_and_not_before() {
        let mut stage = Stage::new();
        stage.ask(Some(60)).expect("it begins");
        stage.read(licenses(3));
        stage.ask(Some(60)).expect("once more");
        assert!(stage.wait(59).is_empty() && stage.holds() == 3);
        assert_eq!(stage.0.trial.seconds_left(stage.1), Some(1));
        assert_eq!((stage.wait(1), stage.holds()), (vec![1], 1));
        // Until it is written nothing else is, whatever is said of what has gone.
        assert!(stage.0.trial.refusal().is_some() && stage.ask(Some(60)).is_err());
        assert_eq!(stage.ask(None), Ok(None));
        assert_eq!(stage.0.trial.seconds_left(stage.1), Some(0));
        stage.written(Ok(()));
        assert!(stage.0.trial.refusal().is_none() && stage.wait(3600).is_empty());
    }

    #[test]
    fn what_is_confirmed_stays_and_the_old_reminder_does_nothing() {
        let mut stage = Stage::new();
        stage.ask(Some(60)).expect("it begins");
        stage.read(licenses(3));
        stage.wait(59);
        assert!(stage.ask(None).is_ok_and(|said| said.is_some()));
        assert!(stage.wait(1).is_empty() && stage.holds() == 3);
        // The next one goes back to what was confirmed.
        stage.ask(Some(5)).expect("it begins");
        stage.read(licenses(4));
        assert_eq!((stage.wait(5), stage.holds()), (vec![3], 3));
    }

    #[test]
    fn a_later_deadline_counts_and_so_does_an_earlier_one() {
        let mut stage = Stage::new();
        stage.ask(Some(10)).expect("it begins");
        stage.read(licenses(2));
        stage.ask(Some(100)).expect("later");
        assert!(stage.wait(99).is_empty());
        stage.ask(Some(600)).expect("later");
        stage.ask(Some(5)).expect("earlier");
        assert!(stage.wait(4).is_empty());
        assert_eq!(stage.wait(1), [1], "what held at first");
    }

    #[test]
    fn what_could_not_be_written_is_tried_again() {
        let mut stage = Stage::new();
        stage.ask(Some(5)).expect("it begins");
        stage.read(licenses(2));
        assert_eq!(stage.wait(5), [1]);
        assert!(stage.wait(3600).is_empty(), "it is under way");
        for _ in 0..3 {
            stage.written(Err("the disk is full".to_owned()));
            assert!(stage.wait(9).is_empty() && stage.0.trial.refusal().is_some());
            assert_eq!((stage.wait(1), stage.holds()), (vec![1], 1));
        }
        stage.written(Ok(()));
        stage.written(Err("late".to_owned()));
        assert!(stage.0.trial.refusal().is_none() && stage.wait(3600).is_empty());
    }
}
