//! Mappings by index, as MAP, MAPPED and CONNECT count them: a range has as many indexes in a row as it has ports.

use std::ops::{Deref, DerefMut, Range};

use super::Mapping;
use crate::sorted::Sorted;

/// What there is to know of each mapping, by its first index.
#[derive(Debug)]
pub struct Indexed<T>(Sorted<u16, T>);

impl<T> Default for Indexed<T> {
    fn default() -> Self {
        Self(Sorted::new())
    }
}

impl<T: AsRef<Mapping>> Indexed<T> {
    /// The mapping that has this index, and which of its ports that stands for.
    pub fn find(&self, index: u16) -> Option<(&T, u16)> {
        let (&first, found) = self.0.range(..=index).next_back()?;
        (index - first < found.as_ref().count()).then_some((found, index - first))
    }

    /// As [`Self::find`].
    pub fn find_mut(&mut self, index: u16) -> Option<(&mut T, u16)> {
        let (&first, found) = self.0.range_mut(..=index).next_back()?;
        (index - first < found.as_ref().count()).then_some((found, index - first))
    }

    /// The first indexes of the mappings that have any of these.
    pub fn overlapping(&self, indexes: Range<u16>) -> Vec<u16> {
        let before = self.find(indexes.start).map(|(_, offset)| indexes.start - offset);
        let start = before.unwrap_or(indexes.start);
        self.0.range(start..indexes.end.max(start)).map(|(&first, _)| first).collect()
    }

    /// The ports, and names, of all those with such indexes together.
    pub fn count(&self, indexes: Range<u16>) -> usize {
        self.0.range(indexes).map(|(_, mapping)| usize::from(mapping.as_ref().count())).sum()
    }
}

impl<T> Deref for Indexed<T> {
    type Target = Sorted<u16, T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> DerefMut for Indexed<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
