//! Days and months, in UTC and in the Gregorian calendar, as licenses count them.

use std::fmt;

use crate::text::quote;

const DAY_SECS: u64 = 86_400;

/// Before this a clock is not believed: a board without a battery begins in 1970, until it has asked somebody.
const BELIEVED_FROM: Date = Date { year: 2025, month: 1, day: 1 };

/// Seconds since 1970-01-01, without leap seconds (POSIX.1-2017, 4.16).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clock(pub u64);

impl Clock {
    /// The time as programs write it, in UTC (RFC 3339 section 5.6).
    pub fn rfc3339(self) -> String {
        let (date, second) = (Date::from_days(self.0 / DAY_SECS), self.0 % DAY_SECS);
        format!("{date}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
    }

    /// The day that it is; `None` where the clock was never set.
    pub fn today(self) -> Option<Date> {
        let today = Date::from_days(self.0 / DAY_SECS);
        (today >= BELIEVED_FROM).then_some(today)
    }
}

/// A day, from 1970-01-01 to 9999-12-31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// Reads `2027-01-31` (RFC 3339, full-date).
    ///
    /// # Errors
    /// A sentence that quotes the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let digits = |part: &str, length: usize| {
            let good = part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
            good.then(|| part.parse::<u16>().ok()).flatten()
        };
        let mut parts = text.splitn(3, '-');
        let mut next = |length| parts.next().and_then(|part| digits(part, length));
        let read = next(4).zip(next(2)).zip(next(2));
        let date = read.map(|((year, month), day)| Self { year, month: month as u8, day: day as u8 });
        let real = |date: &Self| {
            date.year >= 1970
                && (1..=12).contains(&date.month)
                && (1..=month_days(date.year, date.month)).contains(&date.day)
        };
        date.filter(real).ok_or_else(|| format!("{} is not a day such as 2027-01-31", quote(text)))
    }

    /// The day that is so many after 1970-01-01.
    fn from_days(days: u64) -> Self {
        let mut left = days;
        let mut year = 1970;
        while year < 9999 && left >= year_days(year) {
            left -= year_days(year);
            year += 1;
        }
        let mut month = 1;
        while month < 12 && left >= u64::from(month_days(year, month)) {
            left -= u64::from(month_days(year, month));
            month += 1;
        }
        Self { year, month, day: (left.min(30) + 1) as u8 }
    }

    /// How many days it is after 1970-01-01.
    fn days(self) -> u64 {
        let years: u64 = (1970..self.year).map(year_days).sum();
        let months: u64 = (1..self.month).map(|month| u64::from(month_days(self.year, month))).sum();
        years + months + u64::from(self.day) - 1
    }

    /// The day that is so many later.
    #[must_use]
    pub fn plus(self, days: u32) -> Self {
        Self::from_days(self.days() + u64::from(days))
    }

    /// The last day, today included, that was this day of its month: 1 to 28.
    #[must_use]
    pub fn month_began(self, day: u8) -> Self {
        match (self.day >= day, self.month) {
            (true, _) => Self { day, ..self },
            (false, 1) => Self { year: self.year - 1, month: 12, day },
            (false, month) => Self { month: month - 1, day, ..self },
        }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn year_days(year: u16) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn month_days(year: u16, month: u8) -> u8 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        Date::parse(text).expect("a day")
    }

    #[test]
    fn days_and_dates_are_the_same() {
        // Of `date -u -d @SECONDS +%F`.
        for (seconds, day) in [
            (1_735_689_600, "2025-01-01"),
            (1_709_164_800, "2024-02-29"),
            (1_795_823_999, "2026-11-27"),
            (4_107_542_400, "2100-03-01"),
            (253_402_300_799, "9999-12-31"),
        ] {
            assert_eq!(Date::from_days(seconds / DAY_SECS), date(day));
            assert_eq!(date(day).days(), seconds / DAY_SECS, "{day}");
        }
        for days in (0..60_000).step_by(7) {
            let day = Date::from_days(days);
            assert_eq!((day.days(), date(&day.to_string())), (days, day));
        }
        assert_eq!(Clock(1_709_164_800 + 3_661).rfc3339(), "2024-02-29T01:01:01Z");
        assert_eq!(Clock(1_735_689_599).today(), None, "nobody set it");
        assert_eq!(Clock(1_735_689_600).today(), Some(date("2025-01-01")));
    }

    #[test]
    fn a_day_is_written_in_one_way() {
        for text in ["", "2027", "2027-1-1", "2027-02-29", "2027-13-01", "2027-00-10", "1969-12-31"] {
            assert!(Date::parse(text).is_err(), "{text}");
        }
        for text in ["2027-01-01T00:00:00Z", "+027-01-01", "2027-01-32", "2027-01-00", "27-01-01"] {
            assert!(Date::parse(text).is_err(), "{text}");
        }
        assert_eq!(date("2028-02-28").plus(2), date("2028-03-01"));
        assert_eq!(date("9999-12-30").plus(u32::MAX), date("9999-12-31"));
    }

    #[test]
    fn months_begin_when_they_are_to() {
        for (today, day, began) in [
            ("2026-11-29", 1, "2026-11-01"),
            ("2026-11-29", 28, "2026-11-28"),
            ("2026-11-05", 5, "2026-11-05"),
            ("2026-11-04", 5, "2026-10-05"),
            ("2026-01-04", 5, "2025-12-05"),
            ("2026-03-01", 28, "2026-02-28"),
        ] {
            assert_eq!(date(today).month_began(day), date(began), "{today}, {day}");
        }
    }
}
