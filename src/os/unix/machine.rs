//! What a program is told of its machine, and may have of it.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::time::Time;

/// The clock that goes on while the machine sleeps: whoever wakes up finds its session dead at once.
#[allow(clippy::disallowed_methods)]
pub fn clock() -> Time {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let id = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let id = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(id);
    Time::from_micros((time.tv_sec as u64) * 1_000_000 + (time.tv_nsec as u64) / 1_000)
}

/// Raises the limit on open files to what the system permits, and says what it is.
pub fn raise_open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    // macOS says that there is no limit, and refuses more than OPEN_MAX (its setrlimit(2)).
    #[cfg(target_vendor = "apple")]
    let raised = raised.or_else(|_| {
        let most = limit.current.unwrap_or(0).max(10_240);
        setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum })
    });
    let _ = raised;
    let now = getrlimit(Resource::Nofile).current;
    now.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// Secrets stay out of core files.
pub fn no_core_dumps() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Bytes of memory that the machine has, or that its address-space limit leaves.
pub fn memory_bytes() -> usize {
    let limit = getrlimit(Resource::As).current.unwrap_or(u64::MAX);
    usize::try_from(machine_bytes().min(limit)).unwrap_or(usize::MAX)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn machine_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    let machine = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit));
    // A container has less than its machine (cgroup v2, memory.max: a number, or "max").
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max");
    container.ok().and_then(|text| text.trim().parse().ok()).map_or(machine, |most: u64| machine.min(most))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[allow(unsafe_code)]
fn machine_bytes() -> u64 {
    // SAFETY: it takes a number and gives one.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    match u64::try_from(pages) {
        Ok(pages @ 1..) => pages.saturating_mul(rustix::param::page_size() as u64),
        // A small machine, where it does not say.
        Ok(0) | Err(_) => 1 << 30,
    }
}

/// Starts another program in the place of this one, in the same process; it returns only where that fails.
pub fn replaced_by(command: &mut Command) -> io::Error {
    command.exec()
}
