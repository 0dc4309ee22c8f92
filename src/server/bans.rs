//! Bans: who visits a license's mappings too often is turned away, for longer each time.
//!
//! ```text
//!             more than its pace           the ban's time
//!   Welcome ──────────────────────► Banned ──────────────► Welcome
//! ```
//!
//! A ban is twice as long as the last one, and that is forgotten step by step while nothing happens.

use std::net::SocketAddr;

use super::Server;
use super::session::Home;
use crate::license::LicenseId;
use crate::limits::{BAN_FIRST, BAN_FORGOTTEN_AFTER, BAN_MAX, BANS_MAX};
use crate::note::Note;
use crate::policy::Pace;
use crate::reason::Reason;
use crate::role::Outbox;
use crate::slots::Key;
use crate::sorted::Sorted;
use crate::time::{Span, Time};

/// Visitors of licenses that have a pace, by their address.
#[derive(Debug, Default)]
pub(super) struct Bans {
    visitors: Sorted<(LicenseId, Home), Visitor>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Visitor {
    /// Until then its visits have used its pace up.
    used_until: Time,
    /// It is banned until then …
    banned_until: Time,
    /// … and was so often before, as far as that is not forgotten.
    bans: u32,
}

/// What is done about a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Welcome,
    /// It is one too many.
    BannedNow(Span),
    Banned,
}

impl Visitor {
    fn comes(&mut self, now: Time, pace: Pace) -> Verdict {
        if now < self.banned_until {
            return Verdict::Banned;
        }
        let whole = Span::from_secs(u64::from(pace.seconds));
        let each = Span::from_micros(whole.as_micros() / u64::from(pace.times));
        let used_until = self.used_until.max(now) + each;
        if used_until <= now + whole {
            self.used_until = used_until;
            return Verdict::Welcome;
        }
        let forgotten = now.since(self.banned_until).as_micros() / BAN_FORGOTTEN_AFTER.as_micros();
        self.bans = self.bans.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX));
        let span = (0..self.bans).fold(BAN_FIRST, |span, _| span.doubled(BAN_MAX));
        (self.banned_until, self.bans) = (now + span, (self.bans + 1).min(u32::BITS));
        Verdict::BannedNow(span)
    }

    /// When nothing of it is worth to be remembered.
    fn forgotten_at(&self) -> Time {
        let bans = (0..self.bans).fold(self.banned_until, |time, _| time + BAN_FORGOTTEN_AFTER);
        bans.max(self.used_until)
    }
}

impl Bans {
    fn comes(&mut self, now: Time, license: LicenseId, home: Home, pace: Pace) -> Verdict {
        let key = (license, home);
        if self.visitors.len() >= BANS_MAX && !self.visitors.contains_key(&key) {
            self.visitors.retain(|_, visitor| visitor.forgotten_at() > now);
            let first = self.visitors.iter().min_by_key(|(_, visitor)| visitor.forgotten_at());
            if let Some((&first, _)) = first.filter(|_| self.visitors.len() >= BANS_MAX) {
                self.visitors.remove(&first);
            }
        }
        self.visitors.get_or_default(key).comes(now, pace)
    }
}

impl Server {
    /// Whether somebody visits a session's mappings too often; it is counted.
    pub(super) fn comes_too_often(
        &mut self,
        now: Time,
        owner: Key,
        visitor: SocketAddr,
        out: &mut Outbox<'_>,
    ) -> Option<Reason> {
        let session = self.sessions.get(owner)?;
        let entry = self.config.directory.by_id(session.login.license)?;
        let pace = entry.pace?;
        match self.bans.comes(now, entry.id, Home::of(visitor), pace) {
            Verdict::Welcome => return None,
            Verdict::BannedNow(span) => {
                let (visitor, name) = (visitor.ip().to_canonical(), entry.name.clone());
                out.note(Note::Banned { visitor, name, pace: pace.to_string(), span });
            }
            Verdict::Banned => {}
        }
        Some(Reason::TooOften)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { times: 3, seconds: 6 };

    fn at(secs: u64) -> Time {
        Time::default() + Span::from_secs(1_000 + secs)
    }

    fn home(n: u16) -> Home {
        Home::of(([10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]], 1).into())
    }

    fn banned(secs: u64) -> Verdict {
        Verdict::BannedNow(Span::from_secs(secs))
    }

    #[test]
    fn whoever_keeps_to_the_pace_is_welcome() {
        let mut visitor = Visitor::default();
        for round in 0..1_000 {
            assert_eq!(visitor.comes(at(2 * round), PACE), Verdict::Welcome, "{round}");
        }
        let mut visitor = Visitor::default();
        for round in 0..100 {
            for _ in 0..3 {
                assert_eq!(visitor.comes(at(6 * round), PACE), Verdict::Welcome, "a burst of a pace");
            }
        }
    }

    #[test]
    fn bans_grow_and_are_forgotten() {
        let mut visitor = Visitor::default();
        let (mut now, mut spans) = (0, Vec::new());
        for _ in 0..12 {
            let verdict = (0..4).map(|_| visitor.comes(at(now), PACE)).last();
            let Some(Verdict::BannedNow(span)) = verdict else { panic!("{verdict:?}") };
            spans.push(span.as_secs_up());
            assert_eq!(visitor.comes(at(now), PACE), Verdict::Banned);
            assert_eq!(visitor.comes(at(now + span.as_secs_up() - 1), PACE), Verdict::Banned);
            now += span.as_secs_up();
        }
        assert_eq!(spans, [10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600, 3_600]);
        // Six hours later it is a stranger again.
        now += 6 * 3_600;
        assert_eq!((0..4).map(|_| visitor.comes(at(now), PACE)).last(), Some(banned(10)));
    }

    #[test]
    fn each_address_and_license_counts_for_itself() {
        let mut bans = Bans::default();
        let (one, other) = (LicenseId([1; 8]), LicenseId([2; 8]));
        let last = (0..4).map(|_| bans.comes(at(0), one, home(1), PACE)).last();
        assert_eq!(last, Some(banned(10)));
        assert_eq!(bans.comes(at(0), other, home(1), PACE), Verdict::Welcome);
        assert_eq!(bans.comes(at(0), one, home(2), PACE), Verdict::Welcome);
        // Thousands of others do not wash it away.
        for n in 0..3 * BANS_MAX as u16 {
            bans.comes(at(1), one, home(1_000 + n), PACE);
        }
        assert_eq!(bans.visitors.len(), BANS_MAX);
        assert_eq!(bans.comes(at(2), one, home(1), PACE), Verdict::Banned);
    }
}
