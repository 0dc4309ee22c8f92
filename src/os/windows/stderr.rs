//! The console, and standard error as the log writes to it. A console stands still while somebody marks text in it, and
//! whoever writes to it as well: so lines are written by a thread of their own.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use windows_sys::Win32::System::Console::{
    ENABLE_VIRTUAL_TERMINAL_PROCESSING, GetConsoleMode, GetStdHandle, STD_OUTPUT_HANDLE, SetConsoleMode,
};

/// Lines that wait to be written; more find nobody reading.
const LINES_MAX: usize = 1_024;
/// How long it is waited for the last ones.
const PATIENCE: Duration = Duration::from_millis(10);
const TRIES: u32 = 50;
/// Stack of the thread.
const STACK_BYTES: usize = 64 * 1024;

/// Whether the console that is standard output follows orders (ECMA-48): from Windows 10 on, when it is asked to.
#[allow(unsafe_code)]
pub fn takes_orders() -> bool {
    let mut mode = 0;
    // SAFETY: the handle is of this process, or none, which the calls refuse; one number is written where it is told.
    unsafe {
        let console = GetStdHandle(STD_OUTPUT_HANDLE);
        GetConsoleMode(console, &raw mut mode) != 0
            && SetConsoleMode(console, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING) != 0
    }
}

/// Standard error.
pub(in crate::os) struct Stderr {
    writing: Option<(SyncSender<String>, JoinHandle<()>)>,
}

fn write(lines: &Receiver<String>) {
    for line in lines {
        // Nobody is left who could be told.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

impl Stderr {
    pub(in crate::os) fn new() -> Self {
        let (lines, written) = sync_channel(LINES_MAX);
        let write = move || write(&written);
        let thread = thread::Builder::new().name("log".into()).stack_size(STACK_BYTES).spawn(write);
        Self { writing: thread.ok().map(|thread| (lines, thread)) }
    }

    /// There is no journal.
    pub(in crate::os) fn is_journal() -> bool {
        false
    }

    /// Has one line written, if there is room for it.
    pub(in crate::os) fn write(&self, line: &str) -> bool {
        match &self.writing {
            Some((lines, _)) => lines.try_send(line.to_owned()).is_ok(),
            None => std::io::stderr().lock().write_all(line.as_bytes()).is_ok(),
        }
    }
}

impl Drop for Stderr {
    /// What was said is written, before the program ends; unless nobody reads.
    fn drop(&mut self) {
        let Some((lines, thread)) = self.writing.take() else { return };
        drop(lines);
        for _ in 0..TRIES {
            if thread.is_finished() {
                return;
            }
            thread::sleep(PATIENCE);
        }
    }
}
