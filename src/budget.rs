//! How many visitors a run can serve: computed at start from what the machine gives, never found out by
//! failing.

use std::fmt;

use crate::driver::Budget;
use crate::limits::{
    ADMIN_MAX, BUFFER_BYTES, CHECKS_AT_ONCE, FILES_PER_FOLDER_VISIT, FILES_RESERVED, FOLDER_VISITS_MAX,
    POOL_MAX, SESSIONS_MAX, STATUS_AT_ONCE, STRANGERS_MAX, VISITORS_MAX, own_proxies,
};

/// Which end the budget is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Sessions and strangers come on top of visitors.
    Server {
        /// Any of them may speak HTTP.
        http: bool,
    },
    /// One CmdChannel comes on top of visits.
    Client {
        /// Some of them may be of folders, which it serves itself.
        folders: bool,
    },
}

/// What the machine gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means {
    /// Open files that the process may have.
    pub files: usize,
    /// Bytes of memory; a quarter of it may become buffers.
    pub memory_bytes: usize,
    /// Visitors that the operator wants at most.
    pub visitors: Option<usize>,
    /// Bytes of buffers that the operator wants at most, instead of a quarter of the memory.
    pub buffer_bytes: Option<usize>,
}

/// What a run can serve, and what keeps it from more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Visitors at once.
    pub visitors: usize,
    /// Connections by kind.
    pub budget: Budget,
    /// Listeners for visitors at once, one for each mapped port.
    pub ports: usize,
    /// Open files that the process may have.
    files: usize,
    bound: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Files,
    Memory,
    Operator,
    Program,
}

/// Makes the plan: as many visitors as fit.
///
/// # Errors
/// A sentence, where not one visitor fits.
pub fn plan(end: End, means: Means) -> Result<Plan, String> {
    let buffer_bytes = means.buffer_bytes.unwrap_or(means.memory_bytes / 4);
    let ports = means.files / 16;
    let files = means.files.saturating_sub(FILES_RESERVED + ports);
    let fits_files = |visitors| connections(end, visitors) <= files;
    // The most that nt serves take more bytes than a word of 32 bits can count.
    let fits_memory = |visitors| budget(end, visitors).buffers().saturating_mul(BUFFER_BYTES) <= buffer_bytes;
    let most = means.visitors.unwrap_or(VISITORS_MAX).min(VISITORS_MAX);
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if fits_files(middle) && fits_memory(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    if low == 0 {
        return Err(format!(
            "not one visitor fits: {} open files and {buffer_bytes} bytes for buffers are too few; raise the limit on \
             open files (ulimit -n), or the memory (--memory)",
            means.files
        ));
    }
    let bound = match low {
        _ if low < most && !fits_files(low + 1) => Bound::Files,
        _ if low < most && means.buffer_bytes.is_some() => Bound::Operator,
        _ if low < most => Bound::Memory,
        _ if means.visitors.is_some() => Bound::Operator,
        _ => Bound::Program,
    };
    Ok(Plan { visitors: low, budget: budget(end, low), ports, files: means.files, bound })
}

/// The connections that `visitors` visitors call for.
fn budget(end: End, visitors: usize) -> Budget {
    let (others, callers, locals) = match end {
        // A pool of ProxyChannels waits for the next visitors.
        End::Server { http } => {
            (POOL_MAX + STRANGERS_MAX + sessions(visitors), if http { visitors } else { 0 }, ADMIN_MAX)
        }
        // The CmdChannel of before may still have its last words. The pool is among the ProxyChannels of visitors:
        // whoever comes when all of them are in use waits at the server for one, and is not turned away here.
        End::Client { .. } => (own_proxies(visitors) + 2, 0, CHECKS_AT_ONCE + STATUS_AT_ONCE),
    };
    Budget { raws: visitors, locals, tunnels: visitors + others, callers }
}

/// Files that are open for them.
fn connections(end: End, visitors: usize) -> usize {
    // A visitor is of one kind or the other.
    let Budget { raws, locals, tunnels, callers: _ } = budget(end, visitors);
    let folders = if matches!(end, End::Client { folders: true }) { FOLDER_VISITS_MAX } else { 0 };
    raws + locals + tunnels + folders * FILES_PER_FOLDER_VISIT
}

/// Clients at once: there is room for one in four visitors, and for a few in any case.
pub fn sessions(visitors: usize) -> usize {
    (visitors / 4 + 16).min(SESSIONS_MAX)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { visitors, budget, ports: _, files, bound } = self;
        // Tenths of a million bytes, as they are written in settings.
        let tenths = budget.buffers() * BUFFER_BYTES / 100_000;
        let bound = match bound {
            Bound::Files => "open files (raise them with ulimit -n, or LimitNOFILE in a systemd unit)",
            Bound::Memory => "memory (a quarter of it may become buffers)",
            Bound::Operator => "its settings (--memory, or [limits] in nt.toml)",
            Bound::Program => "the program itself",
        };
        write!(
            f,
            "room for {visitors} visitors at once: buffers may grow to {}.{} MB, ",
            tenths / 10,
            tenths % 10
        )?;
        match *files {
            usize::MAX => write!(f, "open files without a bound; what bounds it is {bound}"),
            files => write!(f, "open files to {files}; what bounds it is {bound}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOMY: Means = Means { files: 1 << 20, memory_bytes: 64 << 30, visitors: None, buffer_bytes: None };

    #[test]
    fn each_bound_is_named() {
        let plan = |means| plan(End::Server { http: false }, means).unwrap();
        assert_eq!(plan(ROOMY).visitors, VISITORS_MAX);
        assert!(plan(ROOMY).to_string().ends_with("the program itself"));
        assert!(
            plan(Means { files: usize::MAX, ..ROOMY }).to_string().contains("open files without a bound")
        );
        assert!(plan(Means { files: 1024, ..ROOMY }).to_string().contains("ulimit"));
        assert!(plan(Means { memory_bytes: 256 << 20, ..ROOMY }).to_string().contains("memory ("));
        assert_eq!(plan(Means { visitors: Some(7), ..ROOMY }).visitors, 7);
    }

    #[test]
    fn whatever_is_planned_fits() {
        for end in
            [End::Server { http: false }, End::Client { folders: false }, End::Client { folders: true }]
        {
            for files in [500, 1024, 20_000, 1 << 20] {
                for memory_bytes in [128 << 20, 1 << 30, 64 << 30] {
                    let Ok(plan) = plan(end, Means { files, memory_bytes, ..ROOMY }) else { continue };
                    assert!(connections(end, plan.visitors) + plan.ports + FILES_RESERVED <= files);
                    assert!(plan.budget.buffers() * BUFFER_BYTES <= memory_bytes / 4);
                }
            }
        }
    }

    #[test]
    fn too_little_is_said() {
        assert!(
            plan(End::Server { http: false }, Means { files: 100, ..ROOMY }).unwrap_err().contains("ulimit")
        );
    }
}
