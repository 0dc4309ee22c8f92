//! CmdChannel: the control connection, from the first byte of a stranger to the heartbeat of a session.
//!
//! The server's end, and that of every tunnel connection until it has proved what it is:
//! ```text
//!            Secured(binding)            ┌─HELLO──► CmdChannel of a session
//!   Entering ────────────────► Known ────┤
//!      │  NONCE (plain port)             └─ATTACH─► ProxyChannel of a session
//!      └─────────────────────► Known         anything else, or LOGIN_TIMEOUT: closed without a word
//! ```
//! The client's end:
//! ```text
//!   Resting ──► Resolving ──► Dialing ──► Noncing ──► Greeting ──WELCOME──► Ready
//!      ▲                         (plain only)            │                    │
//!      └──────── any failure, REJECT, silence, GOODBYE ──┴────────────────────┘
//! ```
//! Once up, both ends send HEARTBEAT and judge each other by what they receive: see [`Pulse`].

use std::net::SocketAddr;

use crate::limits::{HEARTBEAT_EVERY, PEER_SILENCE_MAX};
use crate::slots::Key;
use crate::time::Time;

/// A tunnel connection on the server that has not proved what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// TLS is being negotiated, or NONCE is awaited.
    Entering,
    /// HELLO or ATTACH may come; its proof must be over this binding.
    Known([u8; 32]),
}

/// The client's control connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cmd {
    /// No connection; the next attempt is due.
    Resting {
        /// When.
        until: Time,
    },
    /// The server's name is being looked up.
    Resolving {
        /// The question that was asked.
        query: u64,
        /// When to give up.
        deadline: Time,
    },
    /// TCP and TLS are under way.
    Dialing {
        /// The connection.
        key: Key,
        /// The server's address.
        address: SocketAddr,
        /// Addresses to try when it fails.
        rest: Vec<SocketAddr>,
        /// When to give up this address.
        deadline: Time,
    },
    /// Plain port: our NONCE is sent, the server's is awaited.
    Noncing {
        /// The connection.
        key: Key,
        /// The server's address.
        address: SocketAddr,
        /// Our half.
        nonce: [u8; 32],
        /// When to give up.
        deadline: Time,
    },
    /// HELLO is sent.
    Greeting {
        /// The connection.
        key: Key,
        /// The server's address.
        address: SocketAddr,
        /// What the proofs are bound to.
        binding: [u8; 32],
        /// HELLO without its proof, which WELCOME answers.
        hello: Vec<u8>,
        /// When to give up.
        deadline: Time,
    },
    /// Logged in.
    Ready {
        /// The connection.
        key: Key,
        /// The server's address: ProxyChannels dial it too.
        address: SocketAddr,
        /// The heartbeat.
        pulse: Pulse,
        /// When the login succeeded.
        since: Time,
    },
}

impl Cmd {
    /// The connection, while there is one.
    pub fn key(&self) -> Option<Key> {
        match self {
            Self::Resting { .. } | Self::Resolving { .. } => None,
            Self::Dialing { key, .. }
            | Self::Noncing { key, .. }
            | Self::Greeting { key, .. }
            | Self::Ready { key, .. } => Some(*key),
        }
    }

    /// When something is due.
    pub fn deadline(&self) -> Time {
        match self {
            Self::Resting { until } => *until,
            Self::Resolving { deadline, .. }
            | Self::Dialing { deadline, .. }
            | Self::Noncing { deadline, .. }
            | Self::Greeting { deadline, .. } => *deadline,
            Self::Ready { pulse, .. } => pulse.next(),
        }
    }
}

/// The heartbeat of one end: when it last spoke, and when it last heard anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    spoke: Time,
    heard: Time,
}

/// What a heartbeat asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Nothing yet.
    Rest,
    /// Send HEARTBEAT.
    Speak,
    /// The peer is dead.
    Dead,
}

impl Pulse {
    /// A peer that was heard at `now`.
    pub fn new(now: Time) -> Self {
        Self { spoke: now, heard: now }
    }

    /// Any frame came.
    pub fn heard(&mut self, now: Time) {
        self.heard = now;
    }

    /// What is due at `now`; [`Beat::Speak`] counts as spoken.
    pub fn beat(&mut self, now: Time) -> Beat {
        if self.dead_at() <= now {
            Beat::Dead
        } else if self.spoke + HEARTBEAT_EVERY <= now {
            self.spoke = now;
            Beat::Speak
        } else {
            Beat::Rest
        }
    }

    /// When the peer counts as dead unless it is heard before.
    pub fn dead_at(&self) -> Time {
        self.heard + PEER_SILENCE_MAX
    }

    /// When [`Self::beat`] will ask for something.
    pub fn next(&self) -> Time {
        self.dead_at().min(self.spoke + HEARTBEAT_EVERY)
    }
}
