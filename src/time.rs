//! The program's clock: microseconds since an arbitrary start, handed to whoever needs it.
//!
//! Only `os` reads a real clock (one that goes on while the machine sleeps, so that a suspended laptop
//! finds its session dead at once instead of half a minute later); everything else is told the time.

use std::ops::{Add, Sub};

/// A moment, in microseconds since the clock's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

/// A length of time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u64);

impl Time {
    /// A moment that never comes: a deadline for what has none.
    pub const NEVER: Self = Self(u64::MAX);

    /// A moment by its count of microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the clock's start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time gone by since `earlier`; nothing where that lies ahead.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A length in seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1_000_000)
    }

    /// A length in milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000)
    }

    /// A length in microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// In microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// In milliseconds, as the wire counts, capped at 32 bits (49 days).
    pub const fn as_millis(self) -> u32 {
        let millis = self.0 / 1_000;
        if millis > u32::MAX as u64 { u32::MAX } else { millis as u32 }
    }

    /// In whole seconds, rounded up: for people.
    pub const fn as_secs_up(self) -> u64 {
        self.0.div_ceil(1_000_000)
    }

    /// Twice as long, but at most `max`.
    pub fn doubled(self, max: Self) -> Self {
        Self(self.0.saturating_mul(2).min(max.0))
    }
}

impl Add<Span> for Time {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Time {
    type Output = Self;

    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}
