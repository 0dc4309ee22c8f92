//! The arena: one allocation at start, cut into buffers of [`BUFFER_BYTES`].
//!
//! What is reserved at admission is the *right* to buffers; a buffer itself is borrowed while bytes are in
//! it and comes back when they have gone. Rights never exceed buffers, so whoever holds a right always gets
//! its buffer, and no set of half-served connections can wait for each other. Untouched buffers cost no
//! resident memory: the allocation is zeroed by the kernel page by page, and the last buffer returned is
//! the first lent. What a crowd has touched and nobody needed since goes back to the kernel ([`Arena::review`]).

use crate::limits::{BUFFER_BYTES, DATAGRAM_BYTES_MAX, LARGES_KEPT, LARGES_MAX};

/// One buffer: moved, never copied; it is in exactly one place.
pub struct Buf(&'static mut [u8; BUFFER_BYTES]);

impl Buf {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0
    }

    /// The bytes, to fill them.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.0
    }
}

impl std::fmt::Debug for Buf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Buf")
    }
}

/// A buffer for one large datagram, which may come in pieces.
#[derive(Debug)]
pub struct Large {
    bytes: Box<[u8]>,
    len: usize,
    group: usize,
}

impl Large {
    /// What was put into it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Drops what was put into it.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Puts bytes before what it holds; `false`, and nothing put, where there is no room.
    #[must_use]
    pub fn prepend(&mut self, head: &[u8]) -> bool {
        let len = self.len + head.len();
        if len > self.bytes.len() {
            return false;
        }
        self.bytes.copy_within(..self.len, head.len());
        self.bytes[..head.len()].copy_from_slice(head);
        self.len = len;
        true
    }

    /// Drops the first `n` bytes.
    pub fn strip(&mut self, n: usize) {
        self.bytes.copy_within(n..self.len, 0);
        self.len -= n;
    }

    /// Appends bytes; `false`, and nothing appended, where there is no room.
    #[must_use]
    pub fn push(&mut self, piece: &[u8]) -> bool {
        let Some(space) = self.bytes.get_mut(self.len..self.len + piece.len()) else { return false };
        space.copy_from_slice(piece);
        self.len += piece.len();
        true
    }
}

/// All buffers of the program.
#[derive(Debug)]
pub struct Arena {
    untouched: &'static mut [u8],
    free: Vec<Buf>,
    /// Of `free`, the first so many were free all the time since the last review …
    unneeded: usize,
    /// … and the first so many have been emptied.
    empty: usize,
    total: usize,
    reserved: usize,
    lent: usize,
    /// Large ones that nobody has, and the groups of those who have one.
    larges: Vec<Large>,
    larges_of: Vec<usize>,
}

impl Arena {
    /// Allocates `buffers` buffers, for the life of the process: an arena is made once.
    pub fn new(buffers: usize) -> Self {
        let memory = vec![0_u8; buffers * BUFFER_BYTES].leak();
        Self {
            untouched: memory,
            free: Vec::new(),
            unneeded: 0,
            empty: 0,
            total: buffers,
            reserved: 0,
            lent: 0,
            larges: Vec::new(),
            larges_of: Vec::new(),
        }
    }

    /// Grants the right to `buffers` buffers, or says no.
    #[must_use]
    pub fn reserve(&mut self, buffers: usize) -> bool {
        let granted = self.reserved + buffers <= self.total;
        if granted {
            self.reserved += buffers;
        }
        granted
    }

    /// Takes back rights that [`Self::reserve`] granted.
    pub fn release(&mut self, buffers: usize) {
        assert!(buffers <= self.reserved, "rights released that nobody held");
        self.reserved -= buffers;
    }

    /// Lends a buffer to the holder of a right.
    pub fn take(&mut self) -> Buf {
        self.lent += 1;
        assert!(self.lent <= self.reserved, "a buffer was taken without a right to it");
        let last = self.free.pop();
        self.unneeded = self.unneeded.min(self.free.len());
        self.empty = self.empty.min(self.free.len());
        last.unwrap_or_else(|| {
            let untouched = std::mem::take(&mut self.untouched);
            let (first, rest) = untouched.split_first_chunk_mut().expect("rights never exceed buffers");
            self.untouched = rest;
            Buf(first)
        })
    }

    /// Takes a buffer back.
    pub fn give(&mut self, buf: Buf) {
        self.lent -= 1;
        self.free.push(buf);
    }

    /// Lends an empty large buffer, if there is one left and this group has fewer than `most`: nobody has a right to
    /// them.
    pub fn take_large(&mut self, group: usize, most: usize) -> Option<Large> {
        let of_group = self.larges_of.iter().filter(|&&other| other == group).count();
        if self.larges_of.len() >= LARGES_MAX || of_group >= most {
            return None;
        }
        self.larges_of.push(group);
        let bytes = self.larges.pop().map_or_else(|| vec![0; DATAGRAM_BYTES_MAX].into(), |large| large.bytes);
        Some(Large { bytes, len: 0, group })
    }

    /// Takes a large buffer back; few are kept.
    pub fn give_large(&mut self, large: Large) {
        if let Some(at) = self.larges_of.iter().position(|&group| group == large.group) {
            self.larges_of.swap_remove(at);
        }
        if self.larges.len() < LARGES_KEPT {
            self.larges.push(large);
        }
    }

    /// Empties buffers that nobody needed since the last review, once, and so many at most: what is in them may be
    /// forgotten.
    pub fn review(&mut self, most: usize, mut forget: impl FnMut(&mut [u8])) {
        let until = self.unneeded.min(self.empty + most);
        for buf in self.free.get_mut(self.empty..until).into_iter().flatten() {
            forget(buf.bytes_mut());
        }
        self.empty = self.empty.max(until);
        self.unneeded = self.free.len();
    }

    /// Buffers that somebody holds now.
    pub fn lent(&self) -> usize {
        self.lent
    }

    /// Large buffers that somebody holds now.
    pub fn larges_lent(&self) -> usize {
        self.larges_of.len()
    }

    /// Rights that somebody holds now.
    pub fn reserved(&self) -> usize {
        self.reserved
    }

    /// Buffers there are.
    pub fn total(&self) -> usize {
        self.total
    }
}

/// Bytes on their way: a window into a buffer that is held only while there are any.
#[derive(Debug, Default)]
pub struct Window {
    buf: Option<Buf>,
    start: u16,
    end: u16,
}

impl Window {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.buf {
            Some(buf) => &buf.bytes()[usize::from(self.start)..usize::from(self.end)],
            None => &[],
        }
    }

    /// The bytes, to decrypt them in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.buf {
            Some(buf) => &mut buf.bytes_mut()[usize::from(self.start)..usize::from(self.end)],
            None => &mut [],
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        usize::from(self.end - self.start)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether a buffer is held.
    pub fn holds_buffer(&self) -> bool {
        self.buf.is_some()
    }

    /// Space behind the bytes, borrowing a buffer if none is held; older bytes move to the front to make it
    /// whole.
    pub fn space(&mut self, arena: &mut Arena) -> &mut [u8] {
        let buf = self.buf.get_or_insert_with(|| arena.take());
        if self.start > 0 {
            buf.bytes_mut().copy_within(usize::from(self.start)..usize::from(self.end), 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut buf.bytes_mut()[usize::from(self.end)..]
    }

    /// Space that [`Self::space`] would give.
    pub fn room(&self) -> usize {
        BUFFER_BYTES - self.len()
    }

    /// Counts `n` bytes that were put into [`Self::space`].
    pub fn filled(&mut self, n: usize) {
        let end = usize::from(self.end) + n;
        assert!(end <= BUFFER_BYTES, "more bytes than the buffer has");
        self.end = end as u16;
    }

    /// Appends bytes; `false`, and nothing appended, where there is no room.
    #[must_use]
    pub fn push(&mut self, bytes: &[u8], arena: &mut Arena) -> bool {
        if bytes.len() > self.room() {
            return false;
        }
        self.space(arena)[..bytes.len()].copy_from_slice(bytes);
        self.filled(bytes.len());
        true
    }

    /// Drops the first `n` bytes, and the buffer with the last of them.
    pub fn consume(&mut self, n: usize, arena: &mut Arena) {
        assert!(n <= self.len(), "more bytes consumed than there are");
        self.start += n as u16;
        if self.is_empty() {
            self.clear(arena);
        }
    }

    /// Drops everything.
    pub fn clear(&mut self, arena: &mut Arena) {
        (self.start, self.end) = (0, 0);
        if let Some(buf) = self.buf.take() {
            arena.give(buf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_bounded_and_buffers_come_back() {
        let mut arena = Arena::new(2);
        assert!(arena.reserve(2));
        assert!(!arena.reserve(1));
        let mut first = arena.take();
        first.bytes_mut()[0] = 7;
        let second = arena.take();
        assert_eq!(arena.lent(), 2);
        arena.give(second);
        arena.give(first);
        assert_eq!(arena.take().bytes()[0], 7, "the last returned is the first lent");
        arena.release(2);
        assert!(arena.reserve(1));
    }

    #[test]
    fn what_a_crowd_has_touched_is_emptied_once() {
        let mut arena = Arena::new(8);
        assert!(arena.reserve(8));
        let crowd: Vec<Buf> = (0..8)
            .map(|n| {
                let mut buf = arena.take();
                buf.bytes_mut()[0] = n;
                buf
            })
            .collect();
        crowd.into_iter().for_each(|buf| arena.give(buf));
        let review = |arena: &mut Arena, most| {
            let mut forgotten = Vec::new();
            arena.review(most, |bytes| forgotten.push(bytes[0]));
            forgotten
        };
        assert_eq!(review(&mut arena, 3), [0; 0], "all were in use just now");
        let two = [arena.take(), arena.take()];
        two.into_iter().for_each(|buf| arena.give(buf));
        assert_eq!(review(&mut arena, 4), [0, 1, 2, 3]);
        assert_eq!(review(&mut arena, 4), [4, 5, 7, 6], "the rest, and who was used since has not been");
        assert_eq!(review(&mut arena, 4), [0; 0], "once is enough");
        let seven: Vec<Buf> = (0..7).map(|_| arena.take()).collect();
        seven.into_iter().for_each(|buf| arena.give(buf));
        assert_eq!(review(&mut arena, 8), [0; 0]);
        assert_eq!(review(&mut arena, 8).len(), 7, "what was touched again");
    }

    #[test]
    #[should_panic(expected = "without a right")]
    fn nobody_takes_without_a_right() {
        Arena::new(1).take();
    }

    #[test]
    fn a_window_holds_a_buffer_only_while_it_has_bytes() {
        let mut arena = Arena::new(1);
        assert!(arena.reserve(1));
        let mut window = Window::default();
        assert!(window.push(b"abcdef", &mut arena));
        window.consume(2, &mut arena);
        assert_eq!((window.bytes(), arena.lent()), (&b"cdef"[..], 1));
        assert_eq!(window.space(&mut arena).len(), BUFFER_BYTES - 4, "older bytes moved to the front");
        assert_eq!(window.bytes(), b"cdef");
        assert!(!window.push(&[0; BUFFER_BYTES], &mut arena), "refused whole");
        window.consume(4, &mut arena);
        assert_eq!((window.is_empty(), arena.lent()), (true, 0));
    }
}
