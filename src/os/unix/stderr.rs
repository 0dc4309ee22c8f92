//! The terminal, and standard error as the log writes to it.

use std::io::Write;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Whether the terminal that is standard output follows orders (ECMA-48).
pub fn takes_orders() -> bool {
    true
}

/// Standard error.
pub(in crate::os) struct Stderr;

impl Stderr {
    pub(in crate::os) fn new() -> Self {
        Self
    }

    /// Whether it goes to the journal (`$JOURNAL_STREAM`, systemd.exec(5)).
    pub(in crate::os) fn is_journal() -> bool {
        let stream = std::env::var("JOURNAL_STREAM").ok();
        let here =
            rustix::fs::fstat(std::io::stderr()).map(|about| format!("{}:{}", about.st_dev, about.st_ino));
        stream.is_some() && stream == here.ok()
    }

    /// Writes one line if that cannot block.
    pub(in crate::os) fn write(&self, line: &str) -> bool {
        let stderr = std::io::stderr();
        let fd = stderr.as_fd();
        let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
        let ready = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        if ready != Ok(1) || !fds[0].revents().contains(PollFlags::OUT) {
            return false;
        }
        stderr.lock().write_all(line.as_bytes()).is_ok()
    }
}
