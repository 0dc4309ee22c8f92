//! Signals as bytes in a pipe: the handler does nothing but write one.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};

/// A file that may not grow further (`ulimit -f`), the log perhaps, fails its write; it does not end the program.
pub fn outlive_full_files() {
    // A handler that only notes it. It fails for signals that cannot be handled, which this is not.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

pub(super) struct Signals {
    pipe: UnixStream,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        let (pipe, handler) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        handler.set_nonblocking(true)?;
        for signal in [SIGINT, SIGTERM] {
            signal_hook::low_level::pipe::register(signal, handler.try_clone()?)?;
        }
        Ok(Self { pipe })
    }

    pub(super) fn pipe(&self) -> &UnixStream {
        &self.pipe
    }

    /// Whether a signal came since the last call.
    pub(super) fn taken(&mut self) -> bool {
        let mut bytes = [0; 64];
        let mut any = false;
        while matches!(self.pipe.read(&mut bytes), Ok(1..)) {
            any = true;
        }
        any
    }
}
