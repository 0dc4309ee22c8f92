//! Keys with a generation, the table that hands them out, and tables beside it.
//!
//! A key guards poll events, timers and links between connections: whoever holds one for a connection that
//! has gone finds nothing, never its successor. The free list is last-in first-out, so that a warm slot is
//! used again.

use std::num::NonZeroU32;

/// Names one connection or listener, for as long as it lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    /// Never 0, so that a key which may be missing takes no more room.
    generation: NonZeroU32,
}

/// Bits of a packed key that count generations on machines with 32-bit tokens; the rest is the index.
const NARROW_GENERATION_BITS: u32 = 14;
/// Keys that exist at once: what a narrow token can tell apart.
pub const SLOTS_MAX: usize = 1 << (32 - NARROW_GENERATION_BITS);

impl Key {
    /// The key as one word for the poller: the whole key where a word has 64 bits, else the low bits of
    /// both parts.
    pub const fn token(self) -> usize {
        if usize::BITS >= 64 {
            ((self.generation.get() as u64) << 32 | self.index as u64) as usize
        } else {
            ((self.generation.get() << (32 - NARROW_GENERATION_BITS)) | self.index) as usize
        }
    }

    /// Position in a table.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}.{}", self.index, self.generation)
    }
}

/// Hands out keys and keeps one `T` for each that is in use.
#[derive(Debug)]
pub struct Slots<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry<T> {
    generation: NonZeroU32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Keeps `value` under a new key. `None` when [`SLOTS_MAX`] are in use.
    pub fn insert(&mut self, value: T) -> Option<Key> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.entries.len() < SLOTS_MAX => {
                self.entries.push(Entry { generation: NonZeroU32::MAX, value: None });
                (self.entries.len() - 1) as u32
            }
            None => return None,
        };
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        entry.value = Some(value);
        Some(Key { index, generation: entry.generation })
    }

    /// What `key` names, if it still lives.
    pub fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(key.index())?;
        if entry.generation == key.generation { entry.value.as_ref() } else { None }
    }

    /// What `key` names, to change it.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index())?;
        if entry.generation == key.generation { entry.value.as_mut() } else { None }
    }

    /// Two different ones at once; `None` unless both live.
    pub fn pair_mut(&mut self, a: Key, b: Key) -> Option<(&mut T, &mut T)> {
        let [x, y] = self.entries.get_disjoint_mut([a.index(), b.index()]).ok()?;
        if x.generation != a.generation || y.generation != b.generation {
            return None;
        }
        Some((x.value.as_mut()?, y.value.as_mut()?))
    }

    /// Takes out what `key` names; the key is dead from now on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.index())?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        self.free.push(key.index);
        Some(value)
    }

    /// The living key that a poller's token stands for; `None` for a stale one.
    pub fn from_token(&self, token: usize) -> Option<Key> {
        let index = if usize::BITS >= 64 {
            token as u64 as u32
        } else {
            token as u32 & ((1 << (32 - NARROW_GENERATION_BITS)) - 1)
        };
        let entry = self.entries.get(index as usize)?;
        let key = Key { index, generation: entry.generation };
        (entry.value.is_some() && key.token() == token).then_some(key)
    }

    /// How many are in use.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether none is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All that live, by index.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let key = Key { index: index as u32, generation: entry.generation };
            entry.value.as_ref().map(|value| (key, value))
        })
    }
}

/// One `T` beside some of the keys that a [`Slots`] handed out.
#[derive(Debug)]
pub struct Table<T> {
    entries: Vec<Option<(NonZeroU32, T)>>,
    len: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), len: 0 }
    }
}

impl<T> Table<T> {
    /// Keeps `value` beside `key`; what an older generation left there is dropped.
    pub fn insert(&mut self, key: Key, value: T) {
        if self.entries.len() <= key.index() {
            self.entries.resize_with(key.index() + 1, || None);
        }
        if self.entries[key.index()].replace((key.generation, value)).is_none() {
            self.len += 1;
        }
    }

    /// What stands beside `key`.
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.entries.get(key.index())? {
            Some((generation, value)) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// What stands beside `key`, to change it.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.entries.get_mut(key.index())? {
            Some((generation, value)) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// Takes out what stands beside `key`.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        self.len -= 1;
        self.entries[key.index()].take().map(|(_, value)| value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them, by index, to change them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().flatten().map(|(_, value)| value)
    }

    /// All of them, by index.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            entry
                .as_ref()
                .map(|(generation, value)| (Key { index: index as u32, generation: *generation }, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut slots = Slots::default();
        let first = slots.insert("first").unwrap();
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second").unwrap();
        assert_eq!(first.index(), second.index(), "the free slot is used again");
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.from_token(first.token()), None);
        assert_eq!(slots.from_token(second.token()), Some(second));
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn a_table_follows_generations() {
        let mut slots = Slots::default();
        let mut table = Table::default();
        let old = slots.insert(()).unwrap();
        table.insert(old, 1);
        slots.remove(old);
        let new = slots.insert(()).unwrap();
        assert_eq!(table.get(new), None);
        table.insert(new, 2);
        assert_eq!((table.get(old), table.get(new), table.len()), (None, Some(&2), 1));
        assert_eq!((table.remove(old), table.remove(new), table.len()), (None, Some(2), 0));
    }

    #[test]
    fn a_pair_is_two_living_ones() {
        let mut slots = Slots::default();
        let (a, b) = (slots.insert(1).unwrap(), slots.insert(2).unwrap());
        let (x, y) = slots.pair_mut(a, b).unwrap();
        std::mem::swap(x, y);
        assert_eq!((slots.get(a), slots.get(b)), (Some(&2), Some(&1)));
        assert!(slots.pair_mut(a, a).is_none());
        slots.remove(b);
        assert!(slots.pair_mut(a, b).is_none());
    }
}
