//! What a program is told of its machine, and may have of it.

use std::io::{self, ErrorKind};
use std::process::Command;
use std::sync::OnceLock;

use windows_sys::Win32::System::ErrorReporting::{WER_FAULT_REPORTING_FLAG_NOHEAP, WerSetFlags};
use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};
use windows_sys::Win32::System::SystemInformation::{GlobalMemoryStatusEx, MEMORYSTATUSEX};

use crate::time::Time;

/// The clock that goes on while the machine sleeps, as this counter does ("Acquiring high-resolution time stamps"):
/// whoever wakes up finds its session dead at once.
#[allow(unsafe_code)]
pub fn clock() -> Time {
    static PER_SECOND: OnceLock<u64> = OnceLock::new();
    let per_second = *PER_SECOND.get_or_init(|| {
        let mut frequency = 0;
        // SAFETY: it writes one number where it is told. It never fails, from Windows XP on.
        unsafe { QueryPerformanceFrequency(&raw mut frequency) };
        u64::try_from(frequency).unwrap_or(0).max(1)
    });
    let mut count = 0;
    // SAFETY: as above.
    unsafe { QueryPerformanceCounter(&raw mut count) };
    let count = u64::try_from(count).unwrap_or(0);
    // In two parts, which do not overflow in the lifetime of a machine.
    Time::from_micros(count / per_second * 1_000_000 + count % per_second * 1_000_000 / per_second)
}

/// There is no limit on open sockets but memory.
pub fn raise_open_files() -> usize {
    usize::MAX
}

/// Secrets stay out of reports of crashes: they come without the heap. Where the operator has whole dumps kept
/// (`LocalDumps`), they are kept.
#[allow(unsafe_code)]
pub fn no_core_dumps() {
    // SAFETY: it takes a number.
    let _ = unsafe { WerSetFlags(WER_FAULT_REPORTING_FLAG_NOHEAP) };
}

/// Bytes of memory that the machine has.
#[allow(unsafe_code)]
pub fn memory_bytes() -> usize {
    // A small machine, where it does not say.
    const SMALL: u64 = 1 << 30;
    let mut status =
        MEMORYSTATUSEX { dwLength: size_of::<MEMORYSTATUSEX>() as u32, ..MEMORYSTATUSEX::default() };
    // SAFETY: it writes a structure of the length that stands in it.
    let said = unsafe { GlobalMemoryStatusEx(&raw mut status) } != 0;
    usize::try_from(if said { status.ullTotalPhys } else { SMALL }).unwrap_or(usize::MAX)
}

/// No program takes the place of another here. A command line that hides nothing is less of a matter: other users than
/// this one and administrators do not see it.
pub fn replaced_by(_: &mut Command) -> io::Error {
    ErrorKind::Unsupported.into()
}
