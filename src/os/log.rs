//! The log: one line an event on standard error; a repeated cause is counted; nobody is ever waited for.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::limits::LOG_WINDOW;
use crate::note::{Level, Note};
use crate::time::Time;

pub(super) struct Log {
    level: Level,
    /// When each cause was last printed, and how often it came since.
    causes: BTreeMap<String, (Time, u64)>,
    /// Lines that found nobody reading.
    lost: u64,
}

/// Causes remembered at once: what comes beyond is printed without being counted.
const CAUSES_MAX: usize = 256;
/// Longest line; within what a pipe takes whole when it takes anything (PIPE_BUF, pipe(7)).
const LINE_BYTES_MAX: usize = 2_000;

impl Log {
    pub(super) fn new(level: Level) -> Self {
        Self { level, causes: BTreeMap::new(), lost: 0 }
    }

    pub(super) fn note(&mut self, now: Time, note: &Note) {
        if note.level() > self.level {
            return;
        }
        let cause = note.cause();
        let mut more = 0;
        if let Some((printed, count)) = self.causes.get_mut(&cause) {
            if now.since(*printed) < LOG_WINDOW {
                *count += 1;
                return;
            }
            more = *count;
        } else if self.causes.len() >= CAUSES_MAX {
            self.causes.retain(|_, (printed, _)| now.since(*printed) < LOG_WINDOW);
        }
        if self.causes.len() < CAUSES_MAX || more > 0 {
            self.causes.insert(cause, (now, 0));
        }
        let again =
            if more > 0 { format!(" ({more} times more since it was last said)") } else { String::new() };
        self.line(note.level(), &format!("{note}{again}"));
    }

    fn line(&mut self, level: Level, text: &str) {
        let name = match level {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        };
        if self.lost > 0 {
            let lost = format!("warn  {} lines were lost: nobody was reading\n", self.lost);
            if !write(&lost) {
                self.lost += 1;
                return;
            }
            self.lost = 0;
        }
        let mut line = format!("{name:<5} {text}");
        if line.len() > LINE_BYTES_MAX {
            let end = (0..=LINE_BYTES_MAX).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
            line.truncate(end);
        }
        line.push('\n');
        if !write(&line) {
            self.lost += 1;
        }
    }
}

/// Writes one line if that cannot block.
fn write(line: &str) -> bool {
    let stderr = std::io::stderr();
    let fd = stderr.as_fd();
    let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
    let ready = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    if ready != Ok(1) || !fds[0].revents().contains(PollFlags::OUT) {
        return false;
    }
    stderr.lock().write_all(line.as_bytes()).is_ok()
}
