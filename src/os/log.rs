//! The log: one line an event on standard error; a repeated cause is counted; nobody is ever waited for.

use std::collections::BTreeMap;
use std::io::Write;
use std::mem::{Discriminant, discriminant};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::limits::LOG_WINDOW;
use crate::note::{Level, Note};
use crate::time::Time;

pub(super) struct Log {
    level: Level,
    /// What was said about each subject lately.
    subjects: BTreeMap<String, Said>,
    /// Lines that found nobody reading.
    lost: u64,
    /// Lines left out because too many subjects were spoken of.
    unsaid: u64,
}

/// What was said about one subject.
struct Said {
    /// The last news: what kind, and which.
    last: (Discriminant<Note>, u64),
    /// When its present window began, and the lines printed in it.
    since: Time,
    lines: u32,
    /// News that was only counted.
    counted: u64,
}

/// Subjects remembered at once.
const SUBJECTS_MAX: usize = 1_024;
/// Lines about one subject in one window: a client that logs in and out all day does not fill a disk.
const LINES_MAX: u32 = 12;
/// Longest line; within what a pipe takes whole when it takes anything (PIPE_BUF, pipe(7)).
const LINE_BYTES_MAX: usize = 2_000;

impl Log {
    pub(super) fn new(level: Level) -> Self {
        Self { level, subjects: BTreeMap::new(), lost: 0, unsaid: 0 }
    }

    pub(super) fn note(&mut self, now: Time, note: &Note) {
        if note.level() > self.level {
            return;
        }
        let subject = note.subject();
        let last = (discriminant(note), note.detail());
        let before = self.subjects.get_mut(&subject).filter(|said| now.since(said.since) < LOG_WINDOW);
        if let Some(said) = before {
            if said.last == last || said.lines >= LINES_MAX {
                said.counted += 1;
            } else {
                (said.last, said.lines) = (last, said.lines + 1);
                self.line(note.level(), &note.to_string());
            }
            return;
        }
        let counted = self.subjects.remove(&subject).map_or(0, |said| said.counted);
        if self.subjects.len() >= SUBJECTS_MAX {
            self.subjects.retain(|_, said| now.since(said.since) < LOG_WINDOW);
        }
        if self.subjects.len() >= SUBJECTS_MAX {
            // Who can invent subjects must not be able to flood.
            self.unsaid += 1;
            return;
        }
        self.subjects.insert(subject, Said { last, since: now, lines: 1, counted: 0 });
        if self.unsaid > 0 {
            let text = format!("{} lines were left out: too many subjects in a minute", self.unsaid);
            self.unsaid = 0;
            self.line(Level::Warn, &text);
        }
        let again = if counted > 0 {
            format!(" (and {counted} times since it was last said)")
        } else {
            String::new()
        };
        self.line(note.level(), &format!("{note}{again}"));
    }

    fn line(&mut self, level: Level, text: &str) {
        let name = level.word();
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
