//! Unix sockets, which std has none of on Windows: each use of one says so.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use super::super::stream::Stream;
use crate::mapping::Target;
use crate::reason::Reason;

/// Why real servers of this kind cannot be had here, where that is so.
pub fn unserved(target: &Target) -> Option<String> {
    match target {
        Target::Unix(_) => Some(format!(
            "{target} cannot be reached: nt has no Unix sockets on Windows; have the real server listen at a port of \
             127.0.0.1"
        )),
        Target::Tcp { .. } | Target::Files(_) | Target::Exit(_) => None,
    }
}

/// A connection to a Unix socket: there is none.
#[derive(Debug)]
pub enum UnixStream {}

impl UnixStream {
    /// Says that there are none.
    ///
    /// # Errors
    /// Always.
    pub fn connect(_: impl AsRef<Path>) -> io::Result<Self> {
        Err(io::Error::new(
            ErrorKind::Unsupported,
            "nt has no Unix sockets on Windows: start the server with --admin 127.0.0.1:PORT, and ask there over HTTP \
             (docs/API.md) with what is in admin.token",
        ))
    }

    /// See [`std::net::TcpStream::set_read_timeout`].
    ///
    /// # Errors
    /// None.
    pub fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        match *self {}
    }

    /// See [`std::net::TcpStream::set_write_timeout`].
    ///
    /// # Errors
    /// None.
    pub fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        match *self {}
    }
}

impl Read for UnixStream {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}

impl Write for UnixStream {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match *self {}
    }
}

/// Listens at a path: not here. Nobody asks, as [`super::HAS_UNIX_SOCKETS`] says so before.
pub(in crate::os) fn listen(_: &str) -> Result<TcpListener, Reason> {
    Err(Reason::NotServed)
}

/// Connects to a Unix socket: there is no such.
pub(in crate::os) fn dial(_: &str) -> Result<Stream, Reason> {
    Err(Reason::NoSuchSocket)
}

/// There is no such thing.
pub fn peer_may_bind(socket: &UnixStream) -> Option<bool> {
    match *socket {}
}
