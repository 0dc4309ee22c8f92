//! What Unix has its own ways for. `windows` has the same names.

pub mod disk;
#[cfg_attr(not(feature = "files"), path = "../../left_out/folders.rs")]
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
pub const HAS_UNIX_SOCKETS: bool = true;

/// Why nt cannot be a service here, where that is known.
pub const NO_SERVICE: Option<&str> = if cfg!(target_os = "freebsd") {
    Some(
        "nt writes no service for FreeBSD: have /etc/rc.local run the same line by daemon(8), without `install` (as in \
         `daemon -r -o /var/log/nt.log nt -s`); --print with --system shows the file of another system",
    )
} else if cfg!(target_os = "android") {
    Some(
        "nt writes no service for Android: have a script of Termux:Boot run the same line, without `install`; --print \
         with --system shows the file of another system",
    )
} else {
    None
};
