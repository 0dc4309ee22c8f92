//! Ports in a row: those of a range, or the one that a mapping without a range has.

use std::fmt;

/// A port, or several in a row: first and last, ascending. Port 0, any free one, stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// From one port to another; `None` where they run backwards.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// `count` of them, 1 at least, from `first` on; the last port there is ends the row.
    pub fn row(first: u16, count: u16) -> Self {
        Self { first, last: first.saturating_add(count.saturating_sub(1)) }
    }

    /// The lowest.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The highest.
    pub fn last(self) -> u16 {
        self.last
    }

    /// How many they are: 1 or more.
    pub fn count(self) -> usize {
        usize::from(self.last - self.first) + 1
    }

    /// Whether it is any free port.
    pub fn is_any(self) -> bool {
        self.first == 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }

    /// `count` of them, from the one at `offset` on; no further than they go.
    pub fn part(self, offset: u16, count: u16) -> Self {
        let part = Self::row(self.first.saturating_add(offset).min(self.last), count);
        Self { last: part.last.min(self.last), ..part }
    }

    /// Those that belong to both.
    pub fn shared(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }
}

impl From<u16> for Ports {
    fn from(port: u16) -> Self {
        Self { first: port, last: port }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.last > self.first { write!(f, "-{}", self.last) } else { Ok(()) }
    }
}
