//! Listeners that a service manager has opened, and hands over (sd_listen_fds(3)): the machine takes connections before
//! nt runs and while it is started again, and nt needs no privilege for its ports.
//!
//! They are kept for as long as the process lives: what is listened at is a second handle of the same socket.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use rustix::net::{SocketType, sockopt};

use super::net;

/// The first of them (SD_LISTEN_FDS_START).
const FIRST: RawFd = 3;
/// More than anybody hands over.
const MOST: RawFd = 1_024;

/// What was handed over.
#[derive(Clone, Debug, Default)]
pub struct Handed(Rc<Vec<(SocketAddr, TcpListener)>>);

impl Handed {
    /// What was handed to this very process. To be called once, before the process opens files of its own: what stands
    /// there later is not what was handed over.
    ///
    /// # Errors
    /// A sentence where something was that cannot be listened at.
    pub fn take() -> Result<Self, String> {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
        if number("LISTEN_PID") != Some(std::process::id()) {
            return Ok(Self::default());
        }
        let count = number("LISTEN_FDS").and_then(|count| RawFd::try_from(count).ok()).unwrap_or(0).min(MOST);
        (FIRST..FIRST + count).map(listener).collect::<Result<_, _>>().map(|all| Self(Rc::new(all)))
    }

    /// The listener for this address, if it was handed over.
    pub(in crate::os) fn find(&self, address: SocketAddr) -> Option<io::Result<TcpListener>> {
        self.0.iter().find(|(at, _)| is_for(*at, address)).map(|(_, listener)| listener.try_clone())
    }

    /// Whether there is one for this address.
    pub fn has(&self, address: SocketAddr) -> bool {
        self.0.iter().any(|(at, _)| is_for(*at, address))
    }
}

/// Whether a listener is for what was asked for: every address is one, in either family.
fn is_for(at: SocketAddr, wanted: SocketAddr) -> bool {
    let same = at.ip() == wanted.ip() || (at.ip().is_unspecified() && wanted.ip().is_unspecified());
    same && at.port() == wanted.port()
}

#[allow(unsafe_code)]
fn listener(fd: RawFd) -> Result<(SocketAddr, TcpListener), String> {
    let wrong = |what: &dyn std::fmt::Display| {
        format!("the service manager has handed over file {fd}, at which nt cannot listen: {what}")
    };
    // SAFETY: whoever started this process says that it is open and meant for it; nobody else here knows it. If that is
    // not so, the first call says it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let kind = sockopt::socket_type(&socket).map_err(|error| wrong(&error))?;
    if kind != SocketType::STREAM || !net::listens(&socket) {
        return Err(wrong(&"it is no listening stream socket (ListenStream=)"));
    }
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).map_err(|error| wrong(&error))?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true).map_err(|error| wrong(&error))?;
    let address = listener.local_addr().map_err(|_| wrong(&"it has no address of the net"))?;
    Ok((address, listener))
}
