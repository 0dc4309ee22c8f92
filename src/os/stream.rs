//! A connection's socket, of std, whatever its family.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::sockopt;

use crate::role::Manner;

/// A connected, or connecting, stream socket.
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix stream socket. It has no reset: a peer takes a cut for an end.
    Unix(UnixStream),
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Stream {
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }

    /// Writes; with `more`, what follows at once may leave in the same segment.
    pub(super) fn write(&mut self, from: &[u8], more: bool) -> io::Result<usize> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if more {
            let flags = rustix::net::SendFlags::MORE | rustix::net::SendFlags::NOSIGNAL;
            return Ok(rustix::net::send(self, from, flags)?);
        }
        let _ = more;
        match self {
            Self::Tcp(stream) => stream.write(from),
            Self::Unix(stream) => stream.write(from),
        }
    }

    /// The address that it was accepted at.
    pub(super) fn came_to(&self) -> Option<SocketAddr> {
        let Self::Tcp(stream) = self else { return None };
        let address = stream.local_addr().ok()?;
        Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    /// Whether a connect has succeeded. Readiness may be told without need, so the peer is asked for as well.
    pub(super) fn dialed(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => match stream.peer_addr() {
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    Err(stream.take_error()?.unwrap_or_else(|| io::ErrorKind::WouldBlock.into()))
                }
                result => result.map(drop),
            },
            // Decided by the call itself.
            Self::Unix(_) => Ok(()),
        }
    }

    pub(super) fn shut(&self) {
        // It fails only where the connection has failed, which the next read reports.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    pub(super) fn close(self, manner: Manner) {
        let linger = match manner {
            Manner::End => None,
            Manner::Cut => Some(Duration::ZERO),
        };
        if let Self::Tcp(stream) = self {
            let _ = sockopt::set_socket_linger(&stream, linger);
        }
    }
}
