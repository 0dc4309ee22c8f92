//! Bytes as a script.

use nt::wire::{self, Frame};

pub struct Script<'a>(pub &'a [u8]);

impl<'a> Script<'a> {
    /// The next byte; `None` at the end of the script.
    pub fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    /// The next byte; 0 behind the end.
    pub fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// One of these, if there are any.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let at = usize::from(self.byte());
        (!from.is_empty()).then(|| from[at % from.len()])
    }

    /// Up to 255 bytes as they stand in the script.
    pub fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }

    /// The frame that stands next in the script, and its bytes; `None` where none does.
    pub fn frame(&mut self) -> Option<(Frame<'a>, &'a [u8])> {
        let (frame, used) = wire::next(self.0).ok().flatten()?;
        let (bytes, rest) = self.0.split_at(used);
        self.0 = rest;
        Some((frame, bytes))
    }
}
