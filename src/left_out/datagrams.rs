//! In the place of sockets for datagrams: there are none.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use rustix::fd::BorrowedFd;

use crate::net::Ends;

/// A socket for datagrams: there is none.
#[derive(Debug)]
pub enum Socket {}

impl Socket {
    pub(super) fn listen(_: SocketAddr) -> io::Result<Self> {
        Err(ErrorKind::Unsupported.into())
    }

    pub(super) fn dial(_: SocketAddr) -> io::Result<Self> {
        Err(ErrorKind::Unsupported.into())
    }

    pub(super) fn handle(&self) -> BorrowedFd<'_> {
        match *self {}
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        match *self {}
    }

    pub(super) fn receive(&self, _into: &mut [u8]) -> io::Result<(usize, Option<Ends>)> {
        match *self {}
    }

    pub(super) fn send(&mut self, _: Option<Ends>, _datagrams: &[&[u8]]) -> usize {
        match *self {}
    }
}
