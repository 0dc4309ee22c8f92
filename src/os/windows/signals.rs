//! The console, in the place of signals: Ctrl-C, Ctrl-Break, a window that is closed, a user who logs off and a machine
//! that goes down ask nt to stop. There is no SIGHUP: settings are read again when the API is asked to.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT,
    SetConsoleCtrlHandler,
};

use super::super::poll::{Bell, Poll};

/// A full disk fails a write, and nothing else.
pub fn outlive_full_files() {}

/// Loops that want to know.
static LOOPS: Mutex<Vec<(Arc<AtomicBool>, Bell)>> = Mutex::new(Vec::new());

/// The system ends the program when the handler of a closing window comes back, or 5 s later.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

/// Called in a thread of its own, so that it may lock and wait.
#[allow(unsafe_code)]
unsafe extern "system" fn handler(kind: u32) -> i32 {
    match kind {
        CTRL_C_EVENT | CTRL_BREAK_EVENT | CTRL_CLOSE_EVENT | CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT => {}
        _ => return 0,
    }
    let loops = LOOPS.lock().unwrap_or_else(PoisonError::into_inner);
    if loops.is_empty() {
        // A command that serves nobody ends as the system has it end.
        return 0;
    }
    for (stop, bell) in loops.iter() {
        stop.store(true, Ordering::Release);
        bell.ring();
    }
    drop(loops);
    if !matches!(kind, CTRL_C_EVENT | CTRL_BREAK_EVENT) {
        // The program ends by itself before, or is ended.
        thread::sleep(LAST_MOMENTS);
    }
    1
}

pub(in crate::os) struct Signals {
    stop: Arc<AtomicBool>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::os) struct Wishes {
    /// The program is to end.
    pub(in crate::os) stop: bool,
    /// Its settings are to be read again.
    pub(in crate::os) reload: bool,
}

impl Signals {
    /// Takes the console over. No token is needed: the loop is woken by its bell.
    #[allow(unsafe_code)]
    pub(in crate::os) fn new(poll: &Poll, _token: usize) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut loops = LOOPS.lock().unwrap_or_else(PoisonError::into_inner);
        if loops.is_empty() {
            // SAFETY: the handler is a function of this program. Where there is no console it may fail, and nobody
            // would be heard.
            let _ = unsafe { SetConsoleCtrlHandler(Some(handler), 1) };
        }
        loops.push((Arc::clone(&stop), poll.bell()));
        Ok(Self { stop })
    }

    /// What was asked for since the last call.
    pub(in crate::os) fn taken(&mut self, _: &Poll, _told: Option<usize>) -> Wishes {
        let asked = self.stop.load(Ordering::Acquire) && self.stop.swap(false, Ordering::Acquire);
        Wishes { stop: asked, reload: false }
    }
}

impl Drop for Signals {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        let mut loops = LOOPS.lock().unwrap_or_else(PoisonError::into_inner);
        loops.retain(|(stop, _)| !Arc::ptr_eq(stop, &self.stop));
        if loops.is_empty() {
            // SAFETY: as above; one that runs in its thread meanwhile goes on.
            let _ = unsafe { SetConsoleCtrlHandler(Some(handler), 0) };
        }
    }
}
