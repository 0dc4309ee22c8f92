//! Where a message's body ends (RFC 9112 sections 6 and 7): counted, never changed, and never held.
//!
//! ```text
//!            size CRLF                   all of it
//!   Size ─────────────────► Data{left} ───────────► Gap ── CRLF ──► Size
//!     │ 0 CRLF
//!     ▼          empty line
//!   Trailer ─────────────────► Over
//! ```
//!
//! Whoever passes a body on asks [`Body::pass`] how much of what is at hand belongs to it. What is opaque in it
//! ([`Body::opaque`]) need not even be looked at.

use super::Malformed;
use crate::limits::{CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX};
use crate::text::is_token;

/// What is left of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes; none, where it is over or there never was one.
    Length(u64),
    /// Chunks.
    Chunked(Chunk),
    /// Everything, until the connection ends.
    UntilEnd,
}

/// A place in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// In the line of a chunk's size.
    Size {
        /// The size so far.
        size: u64,
        /// Bytes of the line so far.
        seen: u16,
        /// What comes next in the line.
        at: Line,
    },
    /// In a chunk's data: so much is left.
    Data(u64),
    /// Behind a chunk's data, where a line ends that is empty; whether its CR has come.
    Gap(bool),
    /// In the trailer section.
    Trailer {
        /// Bytes of it so far.
        seen: u16,
        /// What comes next in it.
        at: Field,
    },
    /// Behind the last byte.
    Over,
}

/// A place in the lines of a trailer section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// A name, or the empty line's CR.
    Start,
    /// More of the name, or its colon.
    Name,
    /// The value, or the line's CR.
    Value,
    /// The line's LF.
    Lf,
    /// The empty line's LF.
    LastLf,
}

/// A place in the line of a chunk's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Digits, or what may follow them.
    Digits,
    /// Extensions, which mean nothing to anybody here.
    Extension,
    /// The LF.
    Lf,
}

impl Body {
    /// No body.
    pub const NONE: Self = Self::Length(0);
    /// A chunked body, from its first byte.
    pub const CHUNKED: Self = Self::Chunked(Chunk::START);

    /// Whether its last byte has passed.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Over))
    }

    /// So many of the next bytes belong to it whatever they are.
    pub fn opaque(self) -> u64 {
        match self {
            Self::Length(left) | Self::Chunked(Chunk::Data(left)) => left,
            Self::UntilEnd => u64::MAX,
            Self::Chunked(_) => 0,
        }
    }

    /// Counts bytes of [`Self::opaque`] that have passed unseen.
    pub fn skip(&mut self, count: u64) {
        match self {
            Self::Length(left) => *left -= count,
            Self::Chunked(chunk @ Chunk::Data(_)) => chunk.skip(count),
            Self::Chunked(_) | Self::UntilEnd => {}
        }
    }

    /// How many of these bytes, from the first, belong to it; they are counted as passed.
    ///
    /// # Errors
    /// [`Malformed`]: from there on two programs could read it differently.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut passed = 0;
        while passed < bytes.len() && !self.is_over() {
            let rest = &bytes[passed..];
            let opaque = self.opaque();
            if opaque > 0 {
                let count = usize::try_from(opaque).unwrap_or(usize::MAX).min(rest.len());
                self.skip(count as u64);
                passed += count;
            } else if let Self::Chunked(chunk) = self {
                *chunk = chunk.step(rest[0])?;
                passed += 1;
            }
        }
        Ok(passed)
    }
}

impl Chunk {
    const START: Self = Self::Size { size: 0, seen: 0, at: Line::Digits };

    fn skip(&mut self, count: u64) {
        if let Self::Data(left) = self {
            *left -= count;
            if *left == 0 {
                *self = Self::Gap(false);
            }
        }
    }

    /// One byte of what is not data.
    fn step(self, byte: u8) -> Result<Self, Malformed> {
        match (self, byte) {
            (Self::Size { size, seen, at }, _) => Self::in_size(size, seen + 1, at, byte),
            (Self::Gap(false), b'\r') => Ok(Self::Gap(true)),
            (Self::Gap(true), b'\n') => Ok(Self::START),
            (Self::Trailer { at: Field::LastLf, .. }, b'\n') => Ok(Self::Over),
            (Self::Trailer { seen, .. }, _) if seen == TRAILER_BYTES_MAX => Err(Malformed),
            (Self::Trailer { seen, at }, _) => {
                let at = match (at, byte) {
                    (Field::Start, b'\r') => Field::LastLf,
                    (Field::Start | Field::Name, _) if is_token(byte) => Field::Name,
                    (Field::Name, b':') | (Field::Value, 0x20.. | b'\t') => Field::Value,
                    (Field::Value, b'\r') => Field::Lf,
                    (Field::Lf, b'\n') => Field::Start,
                    // Such as folding (RFC 9112 section 5.2), and what some programs would take for a request.
                    _ => return Err(Malformed),
                };
                Ok(Self::Trailer { seen: seen + 1, at })
            }
            (Self::Gap(_) | Self::Data(_) | Self::Over, _) => Err(Malformed),
        }
    }

    fn in_size(size: u64, seen: u16, at: Line, byte: u8) -> Result<Self, Malformed> {
        let digit = char::from(byte).to_digit(16);
        match (at, byte) {
            (Line::Lf, b'\n') if size > 0 => Ok(Self::Data(size)),
            (Line::Lf, b'\n') => Ok(Self::Trailer { seen: 0, at: Field::Start }),
            _ if seen > CHUNK_LINE_BYTES_MAX => Err(Malformed),
            (Line::Digits | Line::Extension, b'\r') if seen > 1 => {
                Ok(Self::Size { size, seen, at: Line::Lf })
            }
            (Line::Digits, b';') if seen > 1 => Ok(Self::Size { size, seen, at: Line::Extension }),
            (Line::Extension, 0x20.. | b'\t') => Ok(Self::Size { size, seen, at }),
            (Line::Digits, _) => {
                let digit = digit.filter(|_| size >> 60 == 0).ok_or(Malformed)?;
                Ok(Self::Size { size: size << 4 | u64::from(digit), seen, at })
            }
            (Line::Extension | Line::Lf, _) => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes `bytes` in pieces of `step`; how many belong to the body, and what it is then.
    fn passed(mut body: Body, bytes: &[u8], step: usize) -> Result<(usize, Body), Malformed> {
        let mut passed = 0;
        for piece in bytes.chunks(step) {
            let count = body.pass(piece)?;
            passed += count;
            if count < piece.len() {
                break;
            }
        }
        Ok((passed, body))
    }

    #[test]
    fn a_body_ends_where_it_should_in_whatever_pieces_it_comes() {
        for (body, bytes, length) in [
            (Body::NONE, "GET", 0),
            (Body::Length(5), "hello GET", 5),
            (Body::CHUNKED, "0\r\n\r\nGET", 5),
            (Body::CHUNKED, "5\r\nhello\r\n0\r\n\r\nGET", 15),
            (Body::CHUNKED, "A;name=\"v\"\r\n0123456789\r\n00\r\nTrailer: 1\r\nX: 2\r\n\r\nGET", 48),
        ] {
            for step in 1..=bytes.len() {
                let (passed, end) = passed(body, bytes.as_bytes(), step).unwrap();
                assert_eq!((passed, end.is_over()), (length, true), "{bytes:?} by {step}");
            }
        }
        assert_eq!(passed(Body::UntilEnd, b"whatever\r\n", 3), Ok((10, Body::UntilEnd)));
        assert_eq!(passed(Body::Length(7), b"short", 2), Ok((5, Body::Length(2))));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for bytes in [
            "5\nhello\r\n",
            "5\rhello",
            "\r\n",
            ";x\r\n",
            "0x5\r\nhello\r\n",
            "+5\r\nhello\r\n",
            " 5\r\nhello\r\n",
            "5 \r\nhello\r\n",
            "-1\r\n",
            "10000000000000000\r\n",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "0\r\nX: 1\n\r\n",
            "0\r\nGET / HTTP/1.1\r\n\r\n",
            "0\r\nX: 1\r\n folded\r\n\r\n",
            "0\r\n\rX",
            "0\r\n\n",
            "5;a\0\r\nhello\r\n",
        ] {
            for step in 1..=bytes.len() {
                assert_eq!(passed(Body::CHUNKED, bytes.as_bytes(), step), Err(Malformed), "{bytes:?}");
            }
        }
    }

    #[test]
    fn lines_have_an_end() {
        let long = format!("5;{}\r\nhello\r\n", "x".repeat(usize::from(CHUNK_LINE_BYTES_MAX)));
        assert_eq!(passed(Body::CHUNKED, long.as_bytes(), 7), Err(Malformed));
        let zeros = "0".repeat(usize::from(CHUNK_LINE_BYTES_MAX) + 1);
        assert_eq!(passed(Body::CHUNKED, zeros.as_bytes(), 7), Err(Malformed));
        let trailer = format!("0\r\nX: {}\r\n\r\n", "x".repeat(usize::from(TRAILER_BYTES_MAX)));
        assert_eq!(passed(Body::CHUNKED, trailer.as_bytes(), 7), Err(Malformed));
    }

    #[test]
    fn the_largest_size_is_counted() {
        let mut body = Body::CHUNKED;
        assert_eq!(body.pass(b"ffffffffffffffff\r\n"), Ok(18));
        assert_eq!(body.opaque(), u64::MAX);
        body.skip(u64::MAX);
        assert_eq!(body, Body::Chunked(Chunk::Gap(false)));
    }
}
