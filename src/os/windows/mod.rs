//! What Windows has its own ways for. `unix` has the same names.

pub mod disk;
mod folders;
mod handed;
mod local;
mod machine;
#[cfg_attr(
    not(all(feature = "udp", feature = "files")),
    allow(dead_code, unused_imports, reason = "a build may have no use for some")
)]
pub(super) mod net;
mod notify;
mod signals;
mod stderr;

pub(super) use folders::Folders;
pub use folders::folder_trouble;
pub use handed::Handed;
pub use local::{UnixStream, peer_may_bind, unserved};
pub(super) use local::{dial, listen};
pub use machine::{clock, memory_bytes, no_core_dumps, raise_open_files, replaced_by};
pub(super) use notify::Notify;
pub use signals::outlive_full_files;
pub(super) use signals::{Signals, Wishes};
pub(super) use stderr::Stderr;
pub use stderr::takes_orders;

/// Whether a running server and clients can be asked at Unix sockets.
pub const HAS_UNIX_SOCKETS: bool = false;

/// Why nt cannot be a service here, where that is known.
pub const NO_SERVICE: Option<&str> = Some(
    "nt is no service of Windows: have the Task Scheduler run the same line at startup, without `install` (as in \
     `schtasks /create /tn nt /sc onstart /ru SYSTEM /tr \"C:\\nt.exe -s\"`); --print with --system shows the file of \
     another system",
);
