//! Opens a port for a moment, as a server would, to see whether it could.

use std::net::SocketAddr;

use super::datagrams::Socket;
use super::sockets;
use crate::net::reason_of;
use crate::reason::Reason;
use crate::role::Speech;

/// Whether visitors could be served at this address: over UDP, or over TCP.
///
/// # Errors
/// Why not.
pub fn try_port(address: SocketAddr, udp: bool) -> Result<(), Reason> {
    let tried =
        if udp { Socket::listen(address).map(drop) } else { sockets::listen(address, Speech::Raw).map(drop) };
    tried.map_err(|error| reason_of(&error))
}
