//! A map that is a sorted row: a search halves it, and what is put in or taken out moves what stands behind.
//!
//! For what is little or seldom changes it is as quick as the BTreeMap of the standard library, in order as that is,
//! and a tenth of the code: that one comes to five kilobytes for each pair of types, which is much to a router. Where
//! tens of thousands come and go, as flows do, that one is right.

use std::borrow::Borrow;
use std::ops::{Bound, Index, Range, RangeBounds};

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sorted<K, V>(Vec<(K, V)>);

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> Sorted<K, V> {
    /// Where a key stands, or would.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(other, _)| other.borrow().cmp(key))
    }

    /// The value of this key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|at| &self.0[at].1)
    }

    /// The value of this key, to change it.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|at| &mut self.0[at].1)
    }

    /// The value of this key, made if there is none.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let at = match self.find(&key) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (key, make()));
                at
            }
        };
        &mut self.0[at].1
    }

    /// The value of this key, the usual one if there is none.
    pub fn get_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.get_or_insert_with(key, V::default)
    }

    /// Whether there is a value of this key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    /// Puts a value in; the one that was there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    /// Takes a value out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.remove_entry(key).map(|(_, value)| value)
    }

    /// Takes a value out, and its key.
    pub fn remove_entry<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|at| self.0.remove(at))
    }

    /// Takes out what stands from this key on.
    pub fn split_off(&mut self, key: &K) -> Self {
        Self(self.0.split_off(self.span(key..).start))
    }

    /// Where the keys of a range stand.
    fn span(&self, range: impl RangeBounds<K>) -> Range<usize> {
        let start = match range.start_bound() {
            Bound::Included(key) => self.0.partition_point(|(other, _)| other < key),
            Bound::Excluded(key) => self.0.partition_point(|(other, _)| other <= key),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(key) => self.0.partition_point(|(other, _)| other <= key),
            Bound::Excluded(key) => self.0.partition_point(|(other, _)| other < key),
            Bound::Unbounded => self.0.len(),
        };
        start..end.max(start)
    }

    /// What stands in a range, in order.
    pub fn range(&self, range: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.0[self.span(range)].iter().map(|(key, value)| (key, value))
    }

    /// As [`Self::range`], to change the values.
    pub fn range_mut(&mut self, range: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &mut V)> {
        let span = self.span(range);
        self.0[span].iter_mut().map(|(key, value)| (&*key, value))
    }
}

impl<K, V> Sorted<K, V> {
    /// One with nothing in it.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + ExactSizeIterator + Clone {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// All, in order, to change the values.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator + Clone {
        self.0.iter().map(|(key, _)| key)
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + ExactSizeIterator + Clone {
        self.0.iter().map(|(_, value)| value)
    }

    /// The values, in the order of their keys, to change them.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// Drops all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Keeps those for which this is so.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain_mut(|(key, value)| keep(key, value));
    }
}

impl<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for Sorted<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the key is there")
    }
}

impl<K, V> IntoIterator for Sorted<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Of two values for one key the last one stays.
impl<K: Ord, V> FromIterator<(K, V)> for Sorted<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(all: I) -> Self {
        let mut map = Self::new();
        map.extend(all);
        map
    }
}

/// A value for a key that is there takes the place of the one before.
impl<K: Ord, V> Extend<(K, V)> for Sorted<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, all: I) {
        all.into_iter().for_each(|(key, value)| _ = self.insert(key, value));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_does_as_the_map_of_the_standard_library() {
        let (mut ours, mut theirs) = (Sorted::new(), BTreeMap::new());
        let mut word = 1_u32;
        for _ in 0..20_000 {
            word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (key, value) = ((word >> 8) as u16 % 200, word);
            match word >> 30 {
                0 => assert_eq!(ours.remove(&key), theirs.remove(&key)),
                1 => {
                    let made = || value / 2;
                    assert_eq!(ours.get_or_insert_with(key, made), theirs.entry(key).or_insert_with(made));
                }
                _ => assert_eq!(ours.insert(key, value), theirs.insert(key, value)),
            }
            assert_eq!(ours.get(&key), theirs.get(&key));
            assert!(ours.range(..=key).next_back() == theirs.range(..=key).next_back());
            assert!(ours.range(key..).eq(theirs.range(key..)));
            let far = key.saturating_add(20);
            assert!(ours.range(key..far).eq(theirs.range(key..far)));
        }
        ours.retain(|key, _| key % 3 != 0);
        theirs.retain(|key, _| key % 3 != 0);
        assert!(ours.iter().eq(theirs.iter()) && ours.len() == theirs.len() && ours.len() > 50);
        assert!(theirs.into_iter().rev().collect::<Sorted<_, _>>() == ours);
    }
}
