//! Signals as bytes in a pipe, and a flag for what each asks: the handler does nothing but raise one and write one.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

use super::super::poll::{Interest, Poll};

/// A file that may not grow further (`ulimit -f`), the log perhaps, fails its write; it does not end the program.
pub fn outlive_full_files() {
    // A handler that only notes it. It fails for signals that cannot be handled, which this is not.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

pub(in crate::os) struct Signals {
    pipe: UnixStream,
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

/// What signals ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::os) struct Wishes {
    /// The program is to end (SIGTERM, SIGINT).
    pub(in crate::os) stop: bool,
    /// Its settings are to be read again (SIGHUP).
    pub(in crate::os) reload: bool,
}

impl Signals {
    /// Takes signals over; the loop is told of them with this token.
    pub(in crate::os) fn new(poll: &Poll, token: usize) -> io::Result<Self> {
        let (pipe, handler) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        handler.set_nonblocking(true)?;
        let (stop, reload) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        for (signal, flag) in [(SIGINT, &stop), (SIGTERM, &stop), (SIGHUP, &reload)] {
            // In this order: whoever is woken finds the flag up.
            signal_hook::flag::register(signal, Arc::clone(flag))?;
            signal_hook::low_level::pipe::register(signal, handler.try_clone()?)?;
        }
        poll.add(&pipe, token, Interest::Read)?;
        Ok(Self { pipe, stop, reload })
    }

    /// What was asked for since the last call, when the loop was told with this token.
    pub(in crate::os) fn taken(&mut self, poll: &Poll, told: Option<usize>) -> Wishes {
        let Some(token) = told else { return Wishes::default() };
        let mut bytes = [0; 64];
        while matches!(self.pipe.read(&mut bytes), Ok(1..)) {}
        let take = |flag: &AtomicBool| flag.swap(false, Ordering::Relaxed);
        let wishes = Wishes { stop: take(&self.stop), reload: take(&self.reload) };
        poll.rearm(&self.pipe, token, Interest::Read);
        wishes
    }
}
