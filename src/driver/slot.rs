//! What a key of the driver's stands for.

use crate::flow::{Flow, Port};
use crate::link::Link;
use crate::meter::Meter;
use crate::net::Net;
use crate::role::{Keys, Speech};
use crate::slots::{Key, Slots};

#[cfg_attr(
    not(all(feature = "server", feature = "udp")),
    expect(dead_code, reason = "a build may have no use for some")
)]
pub(super) enum Slot<N: Net> {
    /// A key that a role has, and whose verb is still to be carried out.
    Reserved,
    /// A listener.
    Door(Door<N::Listener>),
    /// A connection.
    Link(Link<N>),
    /// A public port for datagrams.
    Port(Box<Port<N::Socket>>),
    /// One visitor's datagrams, or those of a real server.
    Flow(Box<Flow<N::Socket>>),
    /// What counts the payload of visitors.
    Meter(Box<Meter>),
}

impl<N: Net> Slot<N> {
    /// Where it stands what this one is joined to, for those that can be.
    pub(super) fn joined(&mut self) -> Option<&mut Option<Key>> {
        match self {
            Self::Link(link) => Some(&mut link.peer),
            Self::Flow(flow) => Some(&mut flow.proxy),
            Self::Reserved | Self::Door(_) | Self::Port(_) | Self::Meter(_) => None,
        }
    }
}

pub(super) struct Door<L> {
    pub(super) listener: L,
    pub(super) role: usize,
    pub(super) speech: Speech,
    pub(super) queued: bool,
}

impl<N: Net> Keys for Slots<Slot<N>> {
    fn reserve(&mut self) -> Option<Key> {
        self.insert(Slot::Reserved)
    }
}
