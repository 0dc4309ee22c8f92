//! How visitors come, whatever they speak.

use std::net::SocketAddr;

use crate::slots::Key;

/// How a visitor comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) session: Key,
    pub(super) mapping: u16,
    pub(super) visitor: SocketAddr,
    /// The address it came to, where that is not this server's own.
    pub(super) came_to: Option<SocketAddr>,
}

/// Who visits, and whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guest {
    pub(super) peer: SocketAddr,
    /// The address it came to, where that is not this server's own.
    pub(super) came_to: Option<SocketAddr>,
    pub(super) reach: Reach,
}

/// What a visitor can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Whatever it names.
    Names,
    /// The one mapping whose port it came to.
    Only(Key, u16),
    /// That was another one's, or is gone.
    Nothing,
}
