//! How much may pass, and how often one visitor may come.

use std::fmt;

use crate::text::{number, parse_bytes, quote, show_bytes};

/// Most bytes a second that a rate can be: what it takes for as much as any machine moves.
const RATE_MAX: u64 = 1_000_000_000_000;

/// Bytes a second, each way; no bound where `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// From visitors to the client.
    pub down: Option<u64>,
    /// From the client to visitors.
    pub up: Option<u64>,
}

impl Rates {
    /// No bound.
    pub const FREE: Self = Self { down: None, up: None };

    /// Reads `2M`, which counts each way, or `10M/2M`: down to the client, and up from it; `-` for no bound.
    ///
    /// # Errors
    /// A sentence that quotes the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rate = |part: &str| match part.trim() {
            "-" => Ok(None),
            part => match parse_bytes(part) {
                Ok(bytes) if bytes <= RATE_MAX => Ok(Some(bytes)),
                Ok(_) => Err(format!("{} is more than any machine moves", quote(part))),
                Err(what) => Err(format!("{} {what}", quote(part))),
            },
        };
        let (down, up) = text.split_once('/').unwrap_or((text, text));
        let rates = Self { down: rate(down)?, up: rate(up)? };
        if rates == Self::FREE {
            return Err(format!("{} is no bound: leave it out", quote(text)));
        }
        Ok(rates)
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |rate: Option<u64>| rate.map_or_else(|| "-".to_owned(), show_bytes);
        if self.down == self.up {
            return f.write_str(&show(self.down));
        }
        write!(f, "{}/{}", show(self.down), show(self.up))
    }
}

/// What may pass in a month, both ways together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// So many bytes.
    pub bytes: u64,
    /// On this day of the month, 1 to 28, it begins anew.
    pub day: u8,
    /// What passes when it is used up: nothing where `None`.
    pub beyond: Option<Rates>,
}

impl Quota {
    /// Reads its day.
    ///
    /// # Errors
    /// When it is none that each month has.
    pub fn check_day(day: u32) -> Result<u8, String> {
        let fault = || "a month's day is from 1 to 28, which each month has".to_owned();
        u8::try_from(day).ok().filter(|day| (1..=28).contains(day)).ok_or_else(fault)
    }

    /// Reads what passes beyond it: `stop`, or a rate.
    ///
    /// # Errors
    /// As [`Rates::parse`].
    pub fn parse_beyond(text: &str) -> Result<Option<Rates>, String> {
        if text.trim() == "stop" { Ok(None) } else { Rates::parse(text).map(Some) }
    }
}

/// How often one visitor's address may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// So many times …
    pub times: u32,
    /// … in so many seconds.
    pub seconds: u32,
}

impl Pace {
    /// Reads `30/10s`, `600/h`: a number, and a time in s, m or h.
    ///
    /// # Errors
    /// A sentence that quotes the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read = || {
            let (times, time) = text.split_once('/')?;
            let (length, unit) = time.trim().split_at_checked(time.trim().len().checked_sub(1)?)?;
            let unit = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3_600,
                _ => return None,
            };
            let length = if length.is_empty() { 1 } else { number(length)? };
            Some(Self { times: number(times.trim())?, seconds: length.checked_mul(unit)? })
        };
        let good =
            |pace: &Self| (1..=1_000_000).contains(&pace.times) && (1..=86_400).contains(&pace.seconds);
        read().filter(good).ok_or_else(|| {
            format!("{} is not a number in a time (up to a day) such as 30/10s, 100/m or 600/h", quote(text))
        })
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (length, unit) = match self.seconds {
            seconds if seconds.is_multiple_of(3_600) => (seconds / 3_600, "h"),
            seconds if seconds.is_multiple_of(60) => (seconds / 60, "m"),
            seconds => (seconds, "s"),
        };
        match length {
            1 => write!(f, "{}/{unit}", self.times),
            _ => write!(f, "{}/{length}{unit}", self.times),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_shown() {
        let rates = |down, up| Rates { down, up };
        for (text, read, shown) in [
            ("2M", rates(Some(2_000_000), Some(2_000_000)), "2M"),
            ("10M/2M", rates(Some(10_000_000), Some(2_000_000)), "10M/2M"),
            ("-/500K", rates(None, Some(500_000)), "-/500K"),
            ("1500/-", rates(Some(1_500), None), "1500/-"),
            ("3K / 3000", rates(Some(3_000), Some(3_000)), "3K"),
        ] {
            let found = Rates::parse(text).expect(text);
            assert_eq!((found, found.to_string().as_str()), (read, shown));
            assert_eq!(Rates::parse(shown), Ok(read));
        }
        for text in ["", "-", "-/-", "0", "2M/", "/2M", "2M/3M/4M", "2MB", "-1", "1001G", "2 M"] {
            assert!(Rates::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paces_are_read_and_shown() {
        for (text, times, seconds, shown) in [
            ("30/10s", 30, 10, "30/10s"),
            ("100/m", 100, 60, "100/m"),
            ("100/60s", 100, 60, "100/m"),
            ("5/90s", 5, 90, "5/90s"),
            ("600 / 2h", 600, 7_200, "600/2h"),
        ] {
            let pace = Pace::parse(text).expect(text);
            assert_eq!((pace, pace.to_string().as_str()), (Pace { times, seconds }, shown));
        }
        for text in
            ["", "30", "30/", "30/s10", "0/s", "1/0s", "1/25h", "-1/s", "30/10d", "30/10ß", "1/99999999h"]
        {
            assert!(Pace::parse(text).is_err(), "{text}");
        }
        assert_eq!(Quota::check_day(28), Ok(28));
        assert!(
            Quota::check_day(0).is_err() && Quota::check_day(29).is_err() && Quota::check_day(257).is_err()
        );
        assert_eq!(Quota::parse_beyond("stop"), Ok(None));
        assert_eq!(Quota::parse_beyond("64K"), Ok(Some(Rates { down: Some(64_000), up: Some(64_000) })));
    }
}
