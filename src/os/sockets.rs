//! Sockets, with what std does not offer: by rustix, without `unsafe`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, SocketType, ipproto, sockopt};

use super::stream::Stream;
use super::system::net;
use crate::calendar::Clock;
use crate::limits::{BACKLOG, Keepalive, TUNNEL_KEEPALIVE, VISITOR_KEEPALIVE};
use crate::net::Accept;
use crate::reason::Reason;
use crate::role::Speech;

/// The clock of the day.
#[allow(clippy::disallowed_methods)]
pub fn day_clock() -> Clock {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Clock(since.map_or(0, |since| since.as_secs()))
}

fn socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(net::socket(family, SocketType::STREAM, Some(ipproto::TCP))?)
}

/// Listens; the unspecified IPv6 address stands for every address of both families, or of IPv4 where there
/// is no IPv6.
pub(super) fn listen(address: SocketAddr, speech: Speech) -> io::Result<TcpListener> {
    let any = address.ip().is_unspecified() && address.is_ipv6();
    let listener = match bind(address, any) {
        Err(error)
            if any
                && error.kind() != io::ErrorKind::AddrInUse
                && error.kind() != io::ErrorKind::PermissionDenied =>
        {
            bind(SocketAddr::from(([0, 0, 0, 0], address.port())), false)?
        }
        result => result?,
    };
    // Accepted connections inherit it: no call is spent on each of them.
    tune(&listener, speech, false);
    Ok(listener)
}

/// Listens by a handle of a listener that is there already.
pub(super) fn adopt(listener: io::Result<TcpListener>, speech: Speech) -> io::Result<TcpListener> {
    let listener = listener?;
    tune(&listener, speech, false);
    Ok(listener)
}

fn bind(address: SocketAddr, dual: bool) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    net::claim(&socket)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, !dual)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

pub(super) fn accept(listener: &TcpListener, pace: Pace) -> io::Result<(Stream, SocketAddr)> {
    let (stream, peer) = net::accept(listener)?;
    let peer = peer.ok_or(rustix::io::Errno::CONNABORTED)?;
    if peer.address_family() == AddressFamily::UNIX {
        return Ok((stream.into(), SocketAddr::from(([0, 0, 0, 0], 0))));
    }
    let peer = SocketAddr::try_from(peer).map_err(|_| rustix::io::Errno::CONNABORTED)?;
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    pace.lift(&stream, peer);
    Ok((stream.into(), peer))
}

/// What an accept that failed means: accept(2) lists errors of the connection that went, which are nobody's
/// fault.
pub(super) fn accept_failed(error: &io::Error) -> Accept<Stream> {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::AGAIN) => Accept::Empty,
        Some(errno) if net::is_exhausted(errno) => Accept::Exhausted(Reason::System),
        _ => Accept::Again,
    }
}

/// Begins to connect.
pub(super) fn dial(address: SocketAddr, speech: Speech, speaks: bool, pace: Pace) -> io::Result<Stream> {
    let socket = socket(address)?;
    pace.lift(&socket, address);
    tune(&socket, speech, address.ip().is_loopback());
    // The last segment of the handshake waits for the first bytes (tcp(7), TCP_QUICKACK): the listener hears of the
    // connection and of them at once. Should they fail to come, the kernel sends it by itself, within 200 ms.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if speaks {
        let _ = sockopt::set_tcp_quickack(&socket, false);
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = speaks;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(net::CONNECTING) => Ok(socket.into()),
        Err(error) => Err(error.into()),
    }
}

/// Whether the system's congestion control paces what is sent, as BBR does. Between two programs of one machine
/// that only makes them wait: nothing there can be congested but the two themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace(bool);

impl Pace {
    pub(super) fn of_system() -> Self {
        Self(net::congestion().is_some_and(|name| name.starts_with("bbr")))
    }

    /// Lets a connection within this machine send as fast as it can.
    fn lift(self, socket: impl AsFd, peer: SocketAddr) {
        if self.0 && peer.ip().is_loopback() {
            net::unpace(socket);
        }
    }
}

/// Small frames leave at once. Tunnel connections are probed by the kernel while they are idle, so that NAT
/// keeps them and a dead one is found without a byte of ours. A raw one goes with RST until it is closed on
/// purpose, even when the process is killed: its peer must not take a cut for an end; and it is probed, so
/// that one that vanished is found, which on this machine (`near`) nobody does without a word.
fn tune(socket: impl AsFd, speech: Speech, near: bool) {
    let socket = socket.as_fd();
    // A socket that refuses an option still works.
    let _ = sockopt::set_tcp_nodelay(socket, true);
    match speech {
        Speech::Tls | Speech::Plain => probe(socket, TUNNEL_KEEPALIVE),
        Speech::Raw | Speech::Http => {
            let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
            if !near {
                probe(socket, VISITOR_KEEPALIVE);
            }
        }
        Speech::Local => {}
    }
}

/// The kernel's keepalive (RFC 9293 section 3.8.4).
fn probe(socket: BorrowedFd<'_>, keepalive: Keepalive) {
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, Duration::from_secs(keepalive.idle_secs));
    let _ = sockopt::set_tcp_keepintvl(socket, Duration::from_secs(keepalive.interval_secs));
    let _ = sockopt::set_tcp_keepcnt(socket, keepalive.probes);
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[test]
    fn who_has_words_at_hand_is_heard_of_when_they_come() {
        // A test that is not run for 200 ms would find that the kernel has waited long enough: one is enough.
        let joined = (0..20).filter(|_| {
            let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)), Speech::Local).unwrap();
            let address = listener.local_addr().unwrap();
            let mut stream = dial(address, Speech::Raw, true, Pace(false)).unwrap();
            stream.dialed().unwrap();
            let early = accept(&listener, Pace(false)).map_err(|error| error.kind());
            assert_eq!(stream.write(b"words", false).unwrap(), 5);
            let hidden = early.is_err_and(|kind| kind == io::ErrorKind::WouldBlock);
            hidden
                && accept(&listener, Pace(false)).is_ok_and(|(mut came, _)| {
                    let mut words = [0; 5];
                    came.read(&mut words).is_ok_and(|n| n == 5)
                })
        });
        assert!(joined.count() > 0, "the handshake ended without the first words");
    }
}
