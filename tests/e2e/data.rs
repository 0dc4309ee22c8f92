//! Streams whose every byte is known beforehand: a receiver checks what comes without keeping anything.

use std::io::{ErrorKind, Read, Write};

pub use super::dice::Random;

/// Bytes of one block of a pattern.
const BLOCK: usize = 64 * 1024;

/// A stream of bytes, told from all others by its seed. Blocks differ by their number, which stands in them eight times.
pub struct Pattern {
    block: Vec<u8>,
    number: u64,
    /// Bytes of the present block that are used up.
    used: usize,
}

impl Pattern {
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let block = (0..BLOCK / 8).flat_map(|_| random.next().to_le_bytes()).collect();
        let mut pattern = Self { block, number: 0, used: 0 };
        pattern.stamp();
        pattern
    }

    fn stamp(&mut self) {
        for at in (0..BLOCK).step_by(BLOCK / 8) {
            self.block[at..at + 8].copy_from_slice(&self.number.to_le_bytes());
        }
    }

    fn advance(&mut self, count: usize) {
        self.used += count;
        if self.used == BLOCK {
            (self.number, self.used) = (self.number + 1, 0);
            self.stamp();
        }
    }

    /// Writes the next `total` bytes.
    pub fn write(&mut self, mut stream: impl Write, mut total: u64) -> std::io::Result<()> {
        while total > 0 {
            let rest = &self.block[self.used..];
            let length = rest.len().min(usize::try_from(total).unwrap_or(usize::MAX));
            let count = stream.write(&rest[..length])?;
            self.advance(count);
            total -= count as u64;
        }
        Ok(())
    }

    /// Reads up to the end of the stream, and returns how many bytes came and how it ended.
    pub fn read(&mut self, stream: impl Read) -> (u64, Result<(), ErrorKind>) {
        self.read_some(stream, u64::MAX)
    }

    /// Reads the next `most` bytes, or fewer where the stream ends.
    pub fn read_some(&mut self, mut stream: impl Read, most: u64) -> (u64, Result<(), ErrorKind>) {
        let (mut total, mut buffer) = (0, vec![0; BLOCK]);
        while total < most {
            let room = (BLOCK - self.used).min(usize::try_from(most - total).unwrap_or(usize::MAX));
            match stream.read(&mut buffer[..room]) {
                Ok(0) => return (total, Ok(())),
                Ok(count) => {
                    assert!(
                        buffer[..count] == self.block[self.used..self.used + count],
                        "bytes after {total} are not those that were sent"
                    );
                    self.advance(count);
                    total += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (total, Err(error.kind())),
            }
        }
        (total, Ok(()))
    }
}
