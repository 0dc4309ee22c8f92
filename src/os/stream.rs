//! A connection's socket, whatever its family: TCP, or a Unix stream, which has no reset, so that a peer takes a cut
//! for an end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, sockopt};

use crate::role::Manner;

/// A connected, or connecting, stream socket.
pub struct Stream(OwnedFd);

impl From<OwnedFd> for Stream {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl Stream {
    /// Its handle, as the poller knows it.
    pub(super) fn socket(&self) -> &OwnedFd {
        &self.0
    }

    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(&self.0, into, RecvFlags::empty())?.0)
    }

    /// Writes; with `more`, what follows at once may leave in the same segment.
    pub(super) fn write(&mut self, from: &[u8], more: bool) -> io::Result<usize> {
        // SIGPIPE is ignored by every program of Rust.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let flags = if more { SendFlags::MORE } else { SendFlags::empty() };
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let (flags, _) = (SendFlags::empty(), more);
        Ok(rustix::net::send(&self.0, from, flags)?)
    }

    /// The address that it was accepted at.
    pub(super) fn came_to(&self) -> Option<SocketAddr> {
        let address = SocketAddr::try_from(rustix::net::getsockname(&self.0).ok()?).ok()?;
        Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    /// Whether a connect has succeeded. Readiness may be told without need, so the peer is asked for as well.
    pub(super) fn dialed(&self) -> io::Result<()> {
        match rustix::net::getpeername(&self.0) {
            // One that has failed already is invalid to macOS; what failed says more.
            Err(errno @ (Errno::NOTCONN | Errno::INVAL)) => match sockopt::socket_error(&self.0)? {
                Ok(()) if errno == Errno::NOTCONN => Err(io::ErrorKind::WouldBlock.into()),
                Ok(()) => Err(errno.into()),
                Err(error) => Err(error.into()),
            },
            result => Ok(result.map(drop)?),
        }
    }

    pub(super) fn shut(&self) {
        // It fails only where the connection has failed, which the next read reports.
        let _ = rustix::net::shutdown(&self.0, Shutdown::Write);
    }

    pub(super) fn close(self, manner: Manner) {
        let linger = match manner {
            Manner::End => None,
            Manner::Cut => Some(Duration::ZERO),
        };
        let _ = sockopt::set_socket_linger(&self.0, linger);
    }
}
