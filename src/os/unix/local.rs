//! Unix sockets: real servers that have one, and where a server and clients of this machine are asked.

use std::io;
use std::net::TcpListener;
pub use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use super::super::stream::Stream;
use super::net;
use crate::limits::BACKLOG;
use crate::mapping::Target;
use crate::net::reason_of;
use crate::reason::Reason;

/// Why real servers of this kind cannot be had here, where that is so.
pub fn unserved(_: &Target) -> Option<String> {
    None
}

fn socket() -> rustix::io::Result<rustix::fd::OwnedFd> {
    net::socket(AddressFamily::UNIX, SocketType::STREAM, None)
}

/// Listens at a path, for its owner alone. What a program that has gone left there gives way; where one still answers,
/// it is in use. (A listening socket is a listening socket: std has no type for both families.)
pub(in crate::os) fn listen(path: &str) -> Result<TcpListener, Reason> {
    let listen = || {
        let address = SocketAddrUnix::new(path)?;
        let somebody = socket()?;
        if rustix::net::connect(&somebody, &address).is_ok() {
            return Err(Errno::ADDRINUSE);
        }
        drop(somebody);
        let _ = rustix::fs::unlink(path);
        let socket = socket()?;
        rustix::net::bind(&socket, &address)?;
        rustix::fs::chmod(path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    listen().map_err(|error| reason_of(&error.into()))
}

/// Connects to a Unix socket, which is decided at once.
pub(in crate::os) fn dial(path: &str) -> Result<Stream, Reason> {
    let connect = || {
        let socket = socket()?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Stream::from(socket))
    };
    connect().map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::PROTOTYPE => Reason::NoSuchSocket,
        Errno::ACCESS | Errno::PERM => Reason::Forbidden,
        // Nobody tells when a full queue has room again; other systems call it refused as well.
        Errno::AGAIN => Reason::Refused,
        errno => reason_of(&io::Error::from(errno)),
    })
}

/// Whether the program at the far end of a socket has CAP_NET_BIND_SERVICE, where that can be told (capabilities(7),
/// proc(5)).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn peer_may_bind(socket: &UnixStream) -> Option<bool> {
    const NET_BIND_SERVICE: u32 = 10;
    let peer = rustix::net::sockopt::socket_peercred(socket).ok()?.pid;
    let status = std::fs::read_to_string(format!("/proc/{}/status", peer.as_raw_nonzero())).ok()?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    Some(u64::from_str_radix(effective.trim(), 16).ok()? & 1 << NET_BIND_SERVICE != 0)
}

/// There is no such thing.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn peer_may_bind(_: &UnixStream) -> Option<bool> {
    None
}
