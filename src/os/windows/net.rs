//! How sockets are made and accepted: by rustix, which has Winsock under the names of Unix; what it has not is asked of
//! Winsock itself.

use std::io;
use std::net::TcpListener;
use std::ptr::null_mut;
use std::sync::Once;

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{AddressFamily, Protocol, SocketAddrAny, SocketType, sockopt};
use windows_sys::Win32::Networking::WinSock::{
    SIO_UDP_CONNRESET, SO_EXCLUSIVEADDRUSE, SOCKET, SOL_SOCKET, WSAIoctl, setsockopt,
};

/// A connect that is under way says so.
pub(in crate::os) const CONNECTING: Errno = Errno::WOULDBLOCK;

/// The system has no sockets or memory left.
pub(in crate::os) fn is_exhausted(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NOBUFS)
}

/// A socket that nobody waits for. No other program inherits it, as Winsock makes none that would be inherited by a
/// program that nt starts: it starts none.
pub(in crate::os) fn socket(
    family: AddressFamily,
    kind: SocketType,
    protocol: Option<Protocol>,
) -> rustix::io::Result<OwnedFd> {
    /// std does it for its own sockets only.
    static WINSOCK: Once = Once::new();
    WINSOCK.call_once(|| {
        // Where it fails, so does what comes next, and says why.
        let _ = rustix::net::wsa_startup();
    });
    let socket = rustix::net::socket(family, kind, protocol)?;
    ioctl_fionbio(&socket, true)?;
    if kind == SocketType::DGRAM {
        be_deaf_to_refusals(&socket);
    }
    Ok(socket)
}

/// A connection that came in, and its far end. It is told the listener's options again: which of them Winsock hands on
/// is nowhere promised.
pub(in crate::os) fn accept(listener: &TcpListener) -> rustix::io::Result<(OwnedFd, Option<SocketAddrAny>)> {
    let (stream, peer) = rustix::net::acceptfrom(listener)?;
    ioctl_fionbio(&stream, true)?;
    if let Ok(no_delay) = sockopt::tcp_nodelay(listener) {
        let _ = sockopt::set_tcp_nodelay(&stream, no_delay);
    }
    if let Ok(linger) = sockopt::socket_linger(listener) {
        let _ = sockopt::set_socket_linger(&stream, linger);
    }
    if let Ok(true) = sockopt::socket_keepalive(listener) {
        let _ = sockopt::set_socket_keepalive(&stream, true);
        if let Ok(idle) = sockopt::tcp_keepidle(listener) {
            let _ = sockopt::set_tcp_keepidle(&stream, idle);
        }
        if let Ok(interval) = sockopt::tcp_keepintvl(listener) {
            let _ = sockopt::set_tcp_keepintvl(&stream, interval);
        }
        if let Ok(probes) = sockopt::tcp_keepcnt(listener) {
            let _ = sockopt::set_tcp_keepcnt(&stream, probes);
        }
    }
    Ok((stream, peer))
}

/// Nobody else gets the port. SO_REUSEADDR is not what it is elsewhere: with it any program could take the same port at
/// the same time, and without either one that asks for it could. A port whose connections have ended is free at once.
#[allow(unsafe_code)]
pub(in crate::os) fn claim(socket: impl AsFd) -> io::Result<()> {
    let on: i32 = 1;
    // SAFETY: the option is an int, and `on` lives over the call.
    let result = unsafe {
        setsockopt(
            socket.as_fd().as_raw_fd() as SOCKET,
            SOL_SOCKET,
            SO_EXCLUSIVEADDRUSE,
            (&raw const on).cast(),
            size_of_val(&on) as i32,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The same of a port for datagrams.
pub(in crate::os) fn claim_datagrams(socket: impl AsFd) -> io::Result<()> {
    claim(socket)
}

/// Winsock fails the next receive when a datagram that was sent before found nobody. It is nobody's end, but a public
/// port whose visitors have gone would hear of nothing else.
#[allow(unsafe_code)]
fn be_deaf_to_refusals(socket: &OwnedFd) {
    let (off, mut length): (i32, u32) = (0, 0);
    // SAFETY: the kernel reads a BOOL of the length that is said, and writes the length of an answer of none; nothing
    // is left for later, as there is no OVERLAPPED. A system that refuses works, and hears of them.
    let _ = unsafe {
        WSAIoctl(
            socket.as_raw_fd() as SOCKET,
            SIO_UDP_CONNRESET,
            (&raw const off).cast(),
            size_of_val(&off) as u32,
            null_mut(),
            0,
            &raw mut length,
            null_mut(),
            None,
        )
    };
}

/// The name of the congestion control that new connections have: it cannot be chosen for each.
pub(in crate::os) fn congestion() -> Option<String> {
    None
}

/// See above.
pub(in crate::os) fn unpace(_: impl AsFd) {}
