//! Accounts: what has passed of each license and mapping, and what of its quota is left.
//!
//! The driver's meters count, and hold to the rates. A license has one, for as long as the server runs; each of its
//! mappings that somebody visits has one within it, for as long as the session. A quota is a mark of the license's
//! meter, which nothing passes before it was decided what then:
//!
//! ```text
//!           80 %               100 %
//!   Within ──────► Near ──────────────► Over: visits are cut, or go on slowly
//!     ▲              │                    │
//!     └──────────────┴────────────────────┘ a month begins, or the license has a larger quota
//! ```

use super::history::History;
use super::{Due, Server};
use crate::calendar::{Clock, Date};
use crate::directory::Entry;
use crate::ledger::{Account, Ledger};
use crate::license::LicenseId;
use crate::limits::{COUNTERS_KEPT_EVERY, MAPPINGS_COUNTED_MAX, METERS_MAX};
use crate::meter::{Limits, Traffic};
use crate::note::Note;
use crate::policy::Rates;
use crate::reason::Reason;
use crate::role::{Manner, Outbox, Verb};
use crate::slots::{Key, Table};
use crate::sorted::Sorted;
use crate::time::Time;

/// The books of all licenses.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    ledger: Ledger,
    today: Option<Date>,
    licenses: Sorted<String, Metered>,
    /// License and mapping of each meter.
    whose: Table<(String, Option<String>)>,
    meters: usize,
    /// What has passed lately.
    pub(super) history: History,
    /// Something stands in the ledger that is not kept yet.
    changed: bool,
    /// When the meters have been read, it is to be kept …
    keep: bool,
    /// … and what each license is held to looked at, though nothing may have passed.
    review: bool,
    /// The program ends then, with this code.
    exit: Option<i32>,
}

/// A license's meter, and those of its mappings.
#[derive(Debug)]
struct Metered {
    meter: Key,
    mappings: Sorted<String, (Key, Rates)>,
    held: Held,
}

/// What a license is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    rates: Rates,
    /// What of the month may have passed before it is looked at again.
    until: u64,
    stage: Stage,
    began: Option<Date>,
}

/// How much of a quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Less than four fifths; or there is none.
    Within,
    /// More.
    Near,
    /// All of it; and nothing passes any more, where `stop` is said.
    Over { stop: bool },
}

impl Held {
    fn of(entry: &Entry, account: &Account) -> Self {
        let free = Self { rates: entry.rates, until: u64::MAX, stage: Stage::Within, began: account.began };
        let Some(quota) = entry.quota else { return free };
        let near = quota.bytes - quota.bytes / 5;
        match account.month {
            month if month < near => Self { until: near, ..free },
            month if month < quota.bytes => Self { until: quota.bytes, stage: Stage::Near, ..free },
            _ => match quota.beyond {
                Some(beyond) => {
                    let rates = slower(entry.rates, beyond);
                    Self { rates, stage: Stage::Over { stop: false }, ..free }
                }
                None => Self { until: 0, stage: Stage::Over { stop: true }, ..free },
            },
        }
    }

    fn limits(self, month: u64) -> Limits {
        let mark = if self.until == u64::MAX { u64::MAX } else { self.until.saturating_sub(month) };
        Limits { down: self.rates.down, up: self.rates.up, mark }
    }
}

fn slower(one: Rates, other: Rates) -> Rates {
    let slower = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
    Rates { down: slower(one.down, other.down), up: slower(one.up, other.up) }
}

impl Accounts {
    /// The books as they were kept.
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { ledger, ..Self::default() }
    }

    pub(super) fn today(&self) -> Option<Date> {
        self.today
    }

    /// What has passed of a license, if anything.
    pub(super) fn account_of(&self, license: &str) -> Option<&Account> {
        self.ledger.get(license)
    }

    /// Whether a license is not good any more, since the one after it has been used.
    pub(super) fn is_replaced(&self, entry: &Entry, license: LicenseId) -> bool {
        license != entry.id
            && self.ledger.get(&entry.name).is_some_and(|account| account.met == Some(entry.id))
    }

    /// Whether nothing of a license may pass before its month is over.
    pub(super) fn is_spent(&self, entry: &Entry) -> bool {
        let account = self.ledger.get(&entry.name);
        entry.quota.is_some_and(|quota| {
            quota.beyond.is_none() && account.is_some_and(|account| account.month >= quota.bytes)
        })
    }

    /// The account of a license, in the month that it is.
    fn account(&mut self, entry: &Entry) -> &Account {
        let today = self.today;
        let account = self.ledger.account(&entry.name);
        if let Some((quota, today)) = entry.quota.zip(today) {
            let began = today.month_began(quota.day);
            // A clock that is set back begins no month; nor does one that was a long way ahead keep it from beginning.
            if account.began.is_none_or(|before| before < began) {
                (account.began, account.month, self.changed) = (Some(began), 0, true);
            } else if account.began > Some(today.plus(31)) {
                (account.began, self.changed) = (Some(began), true);
            }
        }
        account
    }
}

impl Server {
    /// The server goes on with what was counted before.
    #[must_use]
    pub fn with_ledger(self, ledger: Ledger) -> Self {
        Self { accounts: Accounts::new(ledger), ..self }
    }

    /// What passes a visitor counts for its mapping, and the mapping's license.
    pub(super) fn measure(&mut self, visitor: Key, owner: Key, index: u16, out: &mut Outbox<'_>) {
        let found = self.sessions.get(owner).and_then(|session| session.mappings.find(index));
        let known = found.and_then(|(mapping, _)| mapping.meter);
        let known = known.filter(|meter| self.accounts.whose.get(*meter).is_some());
        if let Some(meter) = known.or_else(|| self.meter_of(owner, index, out)) {
            out.push(Verb::Measure { raw: visitor, meter });
        }
    }

    /// The rate of a mapping may be another now: those who visit it are held to that, too.
    pub(super) fn mapping_changed(&mut self, owner: Key, index: u16, out: &mut Outbox<'_>) {
        let session = self.sessions.get(owner);
        if session
            .and_then(|session| session.mappings.get(&index))
            .is_some_and(|mapping| mapping.meter.is_some())
        {
            self.meter_of(owner, index, out);
        }
    }

    /// The meter of a mapping, held to its rate.
    fn meter_of(&mut self, owner: Key, index: u16, out: &mut Outbox<'_>) -> Option<Key> {
        let session = self.sessions.get(owner)?;
        let (mapping, _) = session.mappings.find(index)?;
        let (name, route) = (session.login.name.clone(), mapping.spec.route().to_string());
        if session.login.guest || self.is_on_demand(&name, &mapping.spec) {
            // Its mappings are others each time: the license alone counts them.
            return self.license_meter(&name, out);
        }
        let meter = self.mapping_meter(&name, route, mapping.spec.options.rate, out);
        let (mapping, _) = self.sessions.get_mut(owner)?.mappings.find_mut(index)?;
        mapping.meter = meter;
        meter
    }

    /// The meter of a mapping, with this rate; its license's, where there are too many.
    fn mapping_meter(
        &mut self,
        name: &str,
        route: String,
        rates: Rates,
        out: &mut Outbox<'_>,
    ) -> Option<Key> {
        let license = self.license_meter(name, out)?;
        let metered = self.accounts.licenses.get_mut(name)?;
        let limits = Limits { down: rates.down, up: rates.up, ..Limits::default() };
        if let Some((meter, before)) = metered.mappings.get_mut(&route) {
            if std::mem::replace(before, rates) != rates {
                out.push(Verb::Meter { key: *meter, limits, within: Some(license) });
            }
            return Some(*meter);
        }
        if metered.mappings.len() >= MAPPINGS_COUNTED_MAX || self.accounts.meters >= METERS_MAX {
            return Some(license);
        }
        let Some(meter) = out.meter(limits, Some(license)) else { return Some(license) };
        metered.mappings.insert(route.clone(), (meter, rates));
        self.accounts.whose.insert(meter, (name.to_owned(), Some(route)));
        self.accounts.meters += 1;
        Some(meter)
    }

    fn license_meter(&mut self, name: &str, out: &mut Outbox<'_>) -> Option<Key> {
        if let Some(metered) = self.accounts.licenses.get(name) {
            return Some(metered.meter);
        }
        let entry = self.config.directory.by_name(name)?;
        let account = self.accounts.account(entry);
        let (held, month) = (Held::of(entry, account), account.month);
        let meter = out.meter(held.limits(month), None)?;
        self.accounts.whose.insert(meter, (name.to_owned(), None));
        self.accounts.licenses.insert(name.to_owned(), Metered { meter, mappings: Sorted::new(), held });
        Some(meter)
    }

    /// A session is over, and all its visits: its mappings are counted no longer.
    pub(super) fn close_meters(&mut self, name: &str, out: &mut Outbox<'_>) {
        if let Some(metered) = self.accounts.licenses.get_mut(name) {
            for (_, (meter, _)) in std::mem::take(&mut metered.mappings) {
                self.accounts.meters -= 1;
                out.push(Verb::Close(meter, Manner::End));
            }
        }
    }

    /// What has passed the meters is told.
    pub(super) fn passed(&mut self, now: Time, passed: &[(Key, Traffic)], out: &mut Outbox<'_>) {
        let accounts = &mut self.accounts;
        for &(meter, traffic) in passed {
            let Some((name, mapping)) = accounts.whose.get(meter) else { continue };
            // What passes a mapping's meter passes its license's, too.
            if mapping.is_none() {
                accounts.history.add(traffic);
            }
            // What a license that is forgotten has had is forgotten, too.
            if traffic != Traffic::default() && self.config.directory.by_name(name).is_some() {
                accounts.ledger.account(name).pass(mapping.as_deref(), traffic);
                accounts.changed = true;
            }
            let metered = accounts.licenses.get(name);
            let there = metered.is_some_and(|metered| match mapping {
                Some(route) => metered.mappings.get(route).is_some_and(|(key, _)| *key == meter),
                None => metered.meter == meter,
            });
            if !there {
                accounts.whose.remove(meter);
            }
        }
        accounts.history.read(now);
        if std::mem::take(&mut accounts.review) || !passed.is_empty() {
            let metered: Vec<String> = accounts.licenses.keys().cloned().collect();
            metered.iter().for_each(|name| self.review(now, name, out));
        }
        self.show_all(now, out);
        let exit = self.accounts.exit;
        if (std::mem::take(&mut self.accounts.keep) || exit.is_some())
            && std::mem::take(&mut self.accounts.changed)
        {
            out.push(Verb::KeepCounters(self.accounts.ledger.to_toml()));
        }
        if let Some(code) = exit {
            out.push(Verb::Exit(code));
        }
    }

    /// Holds a license to what it may, as far as that is another thing now.
    fn review(&mut self, now: Time, name: &str, out: &mut Outbox<'_>) {
        let Some(entry) = self.config.directory.by_name(name) else { return };
        let account = self.accounts.account(entry);
        let (held, month) = (Held::of(entry, account), account.month);
        let Some(metered) = self.accounts.licenses.get_mut(name) else { return };
        let before = std::mem::replace(&mut metered.held, held);
        if before == held {
            return;
        }
        out.push(Verb::Meter { key: metered.meter, limits: held.limits(month), within: None });
        if before.stage == held.stage {
            return;
        }
        let name = name.to_owned();
        match held.stage {
            Stage::Within => out.note(Note::QuotaFresh { name }),
            Stage::Near => out.note(Note::QuotaNear { name }),
            Stage::Over { stop } => {
                let sessions: Vec<Key> = self.sessions_of(&name).map(|(key, _)| key).collect();
                out.note(Note::QuotaUsed { name, stop });
                for session in sessions.into_iter().filter(|_| stop) {
                    self.cut_visits(now, session, Reason::QuotaUsed, out);
                }
            }
        }
    }

    /// The directory is another one: licenses that are gone have no account, the others perhaps other limits.
    pub(super) fn review_all(&mut self, out: &mut Outbox<'_>) {
        let directory = &self.config.directory;
        let is_gone = |name: &String| directory.by_name(name).is_none();
        let gone: Vec<String> = self.accounts.licenses.keys().filter(|name| is_gone(name)).cloned().collect();
        self.accounts.changed |= self.accounts.ledger.retain(|name| directory.by_name(name).is_some());
        for name in gone {
            self.close_meters(&name, out);
            if let Some(metered) = self.accounts.licenses.remove(&name) {
                self.accounts.whose.remove(metered.meter);
                out.push(Verb::Close(metered.meter, Manner::End));
            }
        }
        self.review_soon(out);
    }

    /// What is left of a quota is known when what has passed is.
    fn review_soon(&mut self, out: &mut Outbox<'_>) {
        self.accounts.review = true;
        out.push(Verb::ReadMeters);
    }

    /// It is this time of day: licenses expire, and months begin.
    pub(super) fn clock(&mut self, now: Time, clock: Clock, out: &mut Outbox<'_>) {
        self.events.set_clock(now, clock);
        let today = clock.today();
        if today != self.accounts.today {
            self.accounts.today = today;
            self.enforce(now, out);
            self.review_soon(out);
        }
    }

    /// A license was proved: the one before it is not good any more. That is kept at once.
    pub(super) fn met(&mut self, name: &str, license: LicenseId, out: &mut Outbox<'_>) {
        let account = self.accounts.ledger.account(name);
        if account.met.replace(license) != Some(license) {
            (self.accounts.changed, self.accounts.keep) = (true, true);
            out.push(Verb::ReadMeters);
        }
    }

    /// What was counted is to be kept, and again a while later.
    pub(super) fn keep_counters(&mut self, now: Time, out: &mut Outbox<'_>) {
        self.accounts.keep = true;
        self.accounts.history.end_minute();
        out.push(Verb::ReadMeters);
        self.timers.remind(now + COUNTERS_KEPT_EVERY, Due::Counters);
    }

    /// The program ends as soon as what was counted is kept.
    pub(super) fn leave(&mut self, code: i32, out: &mut Outbox<'_>) {
        if self.accounts.exit.replace(code).is_none() {
            out.push(Verb::ReadMeters);
        }
    }
}
