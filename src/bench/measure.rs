//! What a visitor measures: echoes, streams in either direction, connections. Each figure has its time, and ends early
//! where the measuring is over.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::service::{PIECE_BYTES, Wish, read};
use crate::doctor::duration;
use crate::limits::{BENCH_DRAIN_TIMEOUT, BENCH_ECHO_BYTES, BENCH_ECHO_TIMEOUT, TRY_TIMEOUT};
use crate::os::clock;
use crate::time::{Span, Time};

/// How often a stream that stands looks whether it is over.
const LOOK_EVERY: Span = Span::from_millis(200);

/// Which way a stream flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the client.
    Down,
    /// From it.
    Up,
}

/// What has passed, and how long that took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) bytes: u64,
    pub(super) span: Span,
}

/// How many connections were set up, and how long that took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SetUp {
    pub(super) count: u64,
    pub(super) span: Span,
}

/// Why nothing can be measured.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The public port lets nobody in.
    NotIn(io::Error),
    /// A visit came to nothing.
    Lost(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// The visitor of one public place.
#[derive(Clone, Copy)]
pub(super) struct Visitor<'a> {
    pub(super) public: SocketAddr,
    /// How long a figure is measured.
    pub(super) span: Span,
    /// Nothing more is to be measured.
    pub(super) over: &'a AtomicBool,
}

impl Visitor<'_> {
    fn goes_on(&self, until: Time) -> bool {
        clock() < until && !self.over.load(Ordering::Relaxed)
    }

    fn until(&self) -> Time {
        clock() + self.span
    }

    /// A connection through the tunnel, on which this was wished for.
    fn come(&self, wish: Wish, more: &[u8], patience: Span) -> Result<TcpStream, Trouble> {
        let mut stream =
            TcpStream::connect_timeout(&self.public, duration(TRY_TIMEOUT)).map_err(Trouble::NotIn)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(duration(patience)))?;
        stream.set_write_timeout(Some(duration(patience)))?;
        stream.write_all(&[&[wish as u8], more].concat())?;
        Ok(stream)
    }

    /// Times of echoes, one after the other on one connection.
    pub(super) fn echoes(&self) -> Result<Vec<Span>, Trouble> {
        let (mut said, mut heard) = ([7; BENCH_ECHO_BYTES], [0; BENCH_ECHO_BYTES]);
        let mut stream = self.come(Wish::Echo, &said, BENCH_ECHO_TIMEOUT)?;
        // The first one waits for the visit to be made.
        stream.read_exact(&mut heard)?;
        let (until, mut times) = (self.until(), Vec::new());
        while times.is_empty() || self.goes_on(until) {
            said[0] = said[0].wrapping_add(1);
            let begun = clock();
            stream.write_all(&said)?;
            stream.read_exact(&mut heard)?;
            times.push(clock().since(begun));
            if said != heard {
                return Err(io::Error::other("another echo came than was sent").into());
            }
        }
        Ok(times)
    }

    /// So many streams at once.
    pub(super) fn streams(&self, way: Way, count: u32) -> Result<Passed, Trouble> {
        let all = self.at_once(count, |visitor| match way {
            Way::Down => visitor.says(),
            Way::Up => visitor.hears(),
        })?;
        let longest = all.iter().map(|passed| passed.span).max().unwrap_or(Span::ZERO);
        Ok(Passed { bytes: all.iter().map(|passed| passed.bytes).sum(), span: longest })
    }

    /// Says as much as it can, and counts what arrived, until the last of it has.
    fn says(&self) -> Result<Passed, Trouble> {
        let mut stream = self.come(Wish::Sink, &[], LOOK_EVERY)?;
        let (piece, begun, until) = (vec![0; PIECE_BYTES], clock(), self.until());
        while self.goes_on(until) {
            match stream.write(&piece) {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(_) => {}
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        stream.shutdown(Shutdown::Write)?;
        stream.set_read_timeout(Some(duration(BENCH_DRAIN_TIMEOUT)))?;
        let mut heard = [0; 8];
        stream.read_exact(&mut heard)?;
        Ok(Passed { bytes: u64::from_be_bytes(heard), span: clock().since(begun) })
    }

    /// Hears as much as it can.
    fn hears(&self) -> Result<Passed, Trouble> {
        let stream = self.come(Wish::Source, &[], LOOK_EVERY)?;
        let (mut piece, mut bytes, begun, until) = (vec![0; PIECE_BYTES], 0, clock(), self.until());
        while self.goes_on(until) {
            match read(&stream, &mut piece) {
                Ok(0) => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
                Ok(count) => bytes += count as u64,
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Passed { bytes, span: clock().since(begun) })
    }

    /// Connections with one byte there and back, by so many visitors who each make one after the other.
    pub(super) fn set_ups(&self, at_once: u32) -> Result<SetUp, Trouble> {
        let begun = clock();
        let counts = self.at_once(at_once, |visitor| {
            let (until, mut count) = (visitor.until(), 0);
            while count == 0 || visitor.goes_on(until) {
                let mut stream = visitor.come(Wish::Echo, &[7], BENCH_ECHO_TIMEOUT)?;
                stream.read_exact(&mut [0])?;
                count += 1;
            }
            Ok(count)
        })?;
        Ok(SetUp { count: counts.iter().sum(), span: clock().since(begun) })
    }

    /// The same by so many threads.
    fn at_once<T: Send>(
        &self,
        count: u32,
        work: impl Fn(&Self) -> Result<T, Trouble> + Sync,
    ) -> Result<Vec<T>, Trouble> {
        let done = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| {
                    let result = work(self);
                    // Nobody panics while it is held.
                    if let Ok(mut done) = done.lock() {
                        done.push(result);
                    }
                });
            }
        });
        done.into_inner().unwrap_or_default().into_iter().collect()
    }
}

/// The stream stands: that is no failure, and has been waited for.
fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::service;

    fn with<T>(over: bool, work: impl Fn(&Visitor<'_>) -> T) -> T {
        let public = SocketAddr::from(([127, 0, 0, 1], service::start().unwrap()));
        work(&Visitor { public, span: Span::from_millis(50), over: &AtomicBool::new(over) })
    }

    #[test]
    fn every_figure_counts_something() {
        with(false, |visitor| {
            assert!(!visitor.echoes().unwrap().is_empty());
            for way in [Way::Down, Way::Up] {
                for streams in [1, 3] {
                    let Passed { bytes, span } = visitor.streams(way, streams).unwrap();
                    assert!(bytes > 0 && span > Span::ZERO, "{way:?}, {streams} streams");
                }
            }
            assert!(visitor.set_ups(1).unwrap().count > 0 && visitor.set_ups(16).unwrap().count >= 16);
        });
    }

    #[test]
    fn what_is_over_ends_early_and_what_is_gone_is_an_error() {
        with(true, |visitor| {
            let visitor = Visitor { span: Span::from_secs(3_600), ..*visitor };
            assert_eq!(visitor.echoes().unwrap().len(), 1);
            assert_eq!(visitor.set_ups(2).unwrap().count, 2);
            assert!(visitor.streams(Way::Down, 1).is_ok() && visitor.streams(Way::Up, 1).is_ok());
        });
        let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let over = AtomicBool::new(false);
        let visitor = Visitor { public: closed, span: Span::from_millis(50), over: &over };
        assert!(matches!(visitor.echoes(), Err(Trouble::NotIn(_))));
        assert!(matches!(visitor.set_ups(4), Err(Trouble::NotIn(_))));
    }
}
