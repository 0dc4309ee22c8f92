//! RealServerChannel: the client's connection to the service behind NAT.
//!
//! ```text
//!   Talking ──Asked──► Resolving ──Begun──► Dialing ──Dialed──► Joined
//!      │                   │                 │   ▲ │
//!      │                   │ no address      │   └─┘ Failed, another address is left
//!      │                   └───► refuse ◄────┘ Failed (none left), Timeout
//!      └──Parted──► Parting ──Timeout──► refuse
//! ```
//!
//! A visit of an exit begins with Talking: the client itself hears where the visitor wants to go. Where it cannot be
//! taken there it is told so, and its end is awaited in Parting. Any other visit begins with Resolving.
//!
//! The visitor's first bytes wait in the tunnel connection while this one is made.

use std::net::SocketAddr;

use crate::limits::{DRAIN_TIMEOUT, REAL_SERVER_TIMEOUT};
use crate::reason::Reason;
use crate::slots::Key;
use crate::time::Time;

/// The state of a connection to a real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Real {
    /// The visitor has not said yet where it wants to go.
    Talking {
        /// When to give up.
        deadline: Time,
    },
    /// It has been told that it cannot be taken there.
    Parting {
        /// When to give up.
        deadline: Time,
    },
    /// The target's name is being looked up.
    Resolving {
        /// When to give up.
        deadline: Time,
    },
    /// A connect is under way.
    Dialing {
        /// The connection.
        key: Key,
        /// Addresses to try when it fails.
        rest: Vec<SocketAddr>,
        /// When to give up.
        deadline: Time,
    },
    /// It is up.
    Joined {
        /// The connection.
        key: Key,
    },
}

/// What happens to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The visitor has said where it wants to go.
    Asked,
    /// It was told that it cannot be taken there.
    Parted,
    /// A connect was begun, with these addresses left to try.
    Begun(Key, Vec<SocketAddr>),
    /// The connect succeeded.
    Dialed,
    /// The connect failed.
    Failed(Reason),
    /// A deadline may have come.
    Timeout,
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Tell the server CONNECTED.
    Connected,
    /// Try the next of these.
    TryNext(Vec<SocketAddr>),
    /// Tell the server why not.
    Refuse(Reason),
}

impl Real {
    /// A visitor who has yet to say what it wants.
    pub fn asked_for(now: Time) -> Self {
        Self::Talking { deadline: now + REAL_SERVER_TIMEOUT }
    }

    /// A connection that is wanted from `now` on.
    pub fn wanted(now: Time) -> Self {
        Self::Resolving { deadline: now + REAL_SERVER_TIMEOUT }
    }

    /// Takes one event. What cannot happen in a state does nothing.
    pub fn step(&mut self, now: Time, event: Event) -> Effect {
        match (&mut *self, event) {
            (Self::Talking { .. }, Event::Asked) => {
                *self = Self::wanted(now);
                Effect::Nothing
            }
            (Self::Talking { .. } | Self::Resolving { .. } | Self::Dialing { .. }, Event::Parted) => {
                *self = Self::Parting { deadline: now + DRAIN_TIMEOUT };
                Effect::Nothing
            }
            (Self::Resolving { deadline } | Self::Dialing { deadline, .. }, Event::Begun(key, rest)) => {
                *self = Self::Dialing { key, rest, deadline: *deadline };
                Effect::Nothing
            }
            (Self::Dialing { key, .. }, Event::Dialed) => {
                *self = Self::Joined { key: *key };
                Effect::Connected
            }
            (Self::Dialing { rest, .. }, Event::Failed(_)) if !rest.is_empty() => {
                Effect::TryNext(std::mem::take(rest))
            }
            (Self::Resolving { .. } | Self::Dialing { .. }, Event::Failed(reason)) => Effect::Refuse(reason),
            (state, Event::Timeout) if state.deadline() <= now => Effect::Refuse(Reason::TimedOut),
            (
                Self::Talking { .. }
                | Self::Parting { .. }
                | Self::Resolving { .. }
                | Self::Dialing { .. }
                | Self::Joined { .. },
                _,
            ) => Effect::Nothing,
        }
    }

    /// When [`Event::Timeout`] is due.
    pub fn deadline(&self) -> Time {
        match self {
            Self::Talking { deadline }
            | Self::Parting { deadline }
            | Self::Resolving { deadline }
            | Self::Dialing { deadline, .. } => *deadline,
            Self::Joined { .. } => Time::NEVER,
        }
    }

    /// The connection, once there is one.
    pub fn key(&self) -> Option<Key> {
        match self {
            Self::Talking { .. } | Self::Parting { .. } | Self::Resolving { .. } => None,
            Self::Dialing { key, .. } | Self::Joined { key } => Some(*key),
        }
    }
}
