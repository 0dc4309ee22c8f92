//! The log: one line an event on standard error; a repeated cause is counted; nobody is ever waited for.
//!
//! Where standard error is the journal, each line says its level as syslog numbers it (sd-daemon(3)); the journal takes
//! that off. With `--log json` each line is an object.

use std::mem::{Discriminant, discriminant};

use super::system::Stderr;
use crate::limits::LOG_WINDOW;
use crate::note::{Format, Level, Note};
use crate::sorted::Sorted;
use crate::time::Time;

pub(super) struct Log {
    level: Level,
    format: Format,
    stderr: Stderr,
    /// Standard error is the journal.
    journal: bool,
    /// What was said about each subject lately.
    subjects: Sorted<String, Said>,
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
    pub(super) fn new(level: Level, format: Format) -> Self {
        let (stderr, journal) = (Stderr::new(), Stderr::is_journal());
        Self { level, format, stderr, journal, subjects: Sorted::new(), lost: 0, unsaid: 0 }
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
                self.say(note, 0);
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
            self.say(&Note::Plain(Level::Warn, text), 0);
        }
        self.say(note, counted);
    }

    /// Writes a note, which was `counted` so often since it was last written.
    fn say(&mut self, note: &Note, counted: u64) {
        if self.lost > 0 {
            let lost = Note::Plain(Level::Warn, format!("{} lines were lost: nobody was reading", self.lost));
            if !self.stderr.write(&self.line(&lost, 0)) {
                self.lost += 1;
                return;
            }
            self.lost = 0;
        }
        if !self.stderr.write(&self.line(note, counted)) {
            self.lost += 1;
        }
    }

    fn line(&self, note: &Note, counted: u64) -> String {
        let level = note.level();
        let mut line = match self.format {
            Format::Json => object(note, counted),
            Format::Text if counted > 0 => {
                format!("{:<5} {note} (and {counted} times since it was last said)", level.word())
            }
            Format::Text => format!("{:<5} {note}", level.word()),
        };
        // An object that lacks its end would be none.
        if line.len() > LINE_BYTES_MAX && self.format == Format::Text {
            let end = (0..=LINE_BYTES_MAX).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
            line.truncate(end);
        }
        if self.journal {
            let number = match level {
                Level::Error => 3,
                Level::Warn => 4,
                Level::Info => 6,
                Level::Debug => 7,
            };
            line.insert_str(0, &format!("<{number}>"));
        }
        line.push('\n');
        line
    }
}

/// A note as an object of JSON: `time`, `level`, `kind`, `text`, what it is about, and `counted` where it was.
#[cfg(feature = "admin")]
fn object(note: &Note, counted: u64) -> String {
    let mut text = note.to_string();
    if text.len() > LINE_BYTES_MAX / 2 {
        let end = (0..=LINE_BYTES_MAX / 2).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
    }
    let mut object = serde_json::json!({
        "time": super::sockets::day_clock().rfc3339(),
        "level": note.level().word(),
        "kind": note.kind(),
        "text": text,
    });
    for (name, value) in note.fields() {
        object[name] = value.into();
    }
    if counted > 0 {
        object["counted"] = counted.into();
    }
    object.to_string()
}

/// Nobody asks for it.
#[cfg(not(feature = "admin"))]
fn object(note: &Note, _counted: u64) -> String {
    note.to_string()
}
