//! What a server listens at of its own: for clients, for visitors who are told apart by name, for the operator.

use std::fmt;
use std::net::SocketAddr;

use crate::http::Scheme;
use crate::license::Transport;

/// A port that is to be tried: over UDP, or over TCP.
pub type Port = (SocketAddr, bool);

/// A listener of the server's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// For clients.
    Tunnel(SocketAddr, Transport),
    /// For visitors who are told apart by name.
    Names(SocketAddr, Scheme),
    /// For the operator: a Unix socket, which the file system guards.
    Socket(String),
    /// For the operator who knows this token.
    Admin(SocketAddr, Token),
}

impl Door {
    /// Its address, if it has one of the net.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tunnel(address, _) | Self::Names(address, _) | Self::Admin(address, _) => Some(*address),
            Self::Socket(_) => None,
        }
    }

    /// Whom it is for, in words.
    pub fn whom(&self) -> &'static str {
        match self {
            Self::Tunnel(..) => "clients",
            Self::Names(..) => "visitors by name",
            Self::Socket(_) | Self::Admin(..) => "the API",
        }
    }
}

/// What whoever comes by a port has to know. `Debug` leaves it out.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
