//! How sockets are made and accepted: ready for a loop, in one call where the system has one.

use std::io;
use std::net::TcpListener;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{SocketAddrAny, sockopt};

pub(in crate::os) use made::{accept, pair, socket};

/// A connect that is under way says so.
pub(in crate::os) const CONNECTING: Errno = Errno::INPROGRESS;

/// The system has no files or memory left.
pub(in crate::os) fn is_exhausted(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

/// A port is free again as soon as nobody listens there, whatever connections are left of before.
pub(in crate::os) fn claim(socket: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseaddr(socket, true)?)
}

/// Nobody else gets a port for datagrams without being asked to.
pub(in crate::os) fn claim_datagrams(_: impl AsFd) -> io::Result<()> {
    Ok(())
}

/// Whether a socket listens.
#[cfg(not(target_vendor = "apple"))]
pub(in crate::os) fn listens(socket: impl AsFd) -> bool {
    sockopt::socket_acceptconn(socket).unwrap_or(false)
}

/// macOS does not tell: the first accept does.
#[cfg(target_vendor = "apple")]
pub(in crate::os) fn listens(_: impl AsFd) -> bool {
    true
}

#[cfg(not(target_vendor = "apple"))]
mod made {
    use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType};

    use super::*;

    const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

    /// A socket that nobody waits for, and no other program inherits.
    pub(in crate::os) fn socket(
        family: AddressFamily,
        kind: SocketType,
        protocol: Option<Protocol>,
    ) -> rustix::io::Result<OwnedFd> {
        rustix::net::socket_with(family, kind, FLAGS, protocol)
    }

    /// A connection that came in, and its far end. It has the listener's options.
    pub(in crate::os) fn accept(
        listener: &TcpListener,
    ) -> rustix::io::Result<(OwnedFd, Option<SocketAddrAny>)> {
        rustix::net::acceptfrom_with(listener, FLAGS)
    }

    /// Two ends of one connection within this process; it is waited for them.
    pub(in crate::os) fn pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
    }
}

/// What flags do elsewhere, calls do here. nt starts no program while it serves: none is there to inherit what is not
/// marked yet.
#[cfg(target_vendor = "apple")]
mod made {
    use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};
    use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType};

    use super::*;

    fn ready(socket: OwnedFd) -> rustix::io::Result<OwnedFd> {
        fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
        ioctl_fionbio(&socket, true)?;
        Ok(socket)
    }

    /// A socket that nobody waits for, and no other program inherits.
    pub(in crate::os) fn socket(
        family: AddressFamily,
        kind: SocketType,
        protocol: Option<Protocol>,
    ) -> rustix::io::Result<OwnedFd> {
        ready(rustix::net::socket(family, kind, protocol)?)
    }

    /// A connection that came in, and its far end. It has the listener's options: of those that the kernel might not
    /// hand on, it is told again.
    pub(in crate::os) fn accept(
        listener: &TcpListener,
    ) -> rustix::io::Result<(OwnedFd, Option<SocketAddrAny>)> {
        let (stream, peer) = rustix::net::acceptfrom(listener)?;
        let stream = ready(stream)?;
        if let Ok(idle) = sockopt::tcp_keepidle(listener) {
            let _ = sockopt::set_tcp_keepidle(&stream, idle);
        }
        if let Ok(no_delay) = sockopt::tcp_nodelay(listener) {
            let _ = sockopt::set_tcp_nodelay(&stream, no_delay);
        }
        Ok((stream, peer))
    }

    /// Two ends of one connection within this process; it is waited for them.
    pub(in crate::os) fn pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None)?;
        fcntl_setfd(&one, FdFlags::CLOEXEC)?;
        fcntl_setfd(&other, FdFlags::CLOEXEC)?;
        Ok((one, other))
    }
}

/// The name of the congestion control that new connections have, where it can be chosen for each.
pub(in crate::os) fn congestion() -> Option<String> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::net::{AddressFamily, SocketType, ipproto};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::TCP)).ok()?;
        sockopt::tcp_congestion(socket).ok()
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    None
}

/// Gives a connection a congestion control that does not pace.
pub(in crate::os) fn unpace(socket: impl AsFd) {
    // Reno is in every kernel; a connection that stays paced works as well.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = sockopt::set_tcp_congestion(socket, "reno");
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = socket;
}
