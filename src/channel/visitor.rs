//! VisitorChannel: a visitor's connection on the server, from the accept until it is joined and gone.
//!
//! ```text
//!              Granted                    Connected
//!   Waiting ─────────────► Asked ─────────────────────► Joined
//!      ▲ ▲                  │ │                            │
//!      │ └── ChannelLost ───┘ │ Timeout, ChannelLost       │ ChannelLost
//!      │     (tries left)     │ (no tries left)            │
//!      └── Timeout ──► cut ◄──┴────────────────────────────┘
//! ```
//!
//! In `Asked` the visitor's first bytes are on their way already; they are kept until the far end has
//! answered, so that a ProxyChannel which turns out to be dead is replaced without the visitor noticing.

use crate::limits::{ANSWER_TIMEOUT, CHANNEL_TIMEOUT, VISIT_TRIES_MAX};
use crate::reason::Reason;
use crate::slots::Key;
use crate::time::Time;

/// The state of a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visitor {
    /// No ProxyChannel yet.
    Waiting {
        /// When to give up.
        deadline: Time,
        /// ProxyChannels that failed under it.
        tries: u8,
        /// The visitor has ended its direction already; the next ProxyChannel must be told.
        ended: bool,
    },
    /// CONNECT is sent.
    Asked {
        /// On this ProxyChannel.
        proxy: Key,
        /// When to give up.
        deadline: Time,
        /// As in `Waiting`.
        tries: u8,
        /// As in `Waiting`.
        ended: bool,
    },
    /// The real server answered.
    Joined {
        /// On this ProxyChannel.
        proxy: Key,
    },
}

/// What happens to a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A ProxyChannel is free for it.
    Granted(Key),
    /// CONNECTED came.
    Connected,
    /// The visitor ended its direction.
    Ended,
    /// The ProxyChannel's connection failed.
    ChannelLost,
    /// A deadline may have come.
    Timeout,
}

/// What must be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Send CONNECT and join; where the visitor has ended, FIN follows what was held.
    Ask {
        /// The visitor has ended its direction.
        ended: bool,
    },
    /// What was held is not needed again.
    Release,
    /// Wait for another ProxyChannel.
    WaitAgain,
    /// Reset the visitor.
    Cut(Reason),
}

impl Visitor {
    /// A visitor that was accepted at `now`.
    pub fn accepted(now: Time) -> Self {
        Self::Waiting { deadline: now + CHANNEL_TIMEOUT, tries: 0, ended: false }
    }

    /// Takes one event. What cannot happen in a state does nothing: the peer cannot cause it.
    pub fn step(&mut self, now: Time, event: Event) -> Effect {
        let (next, effect) = match (*self, event) {
            (Self::Waiting { tries, ended, .. }, Event::Granted(proxy)) => {
                (Self::Asked { proxy, deadline: now + ANSWER_TIMEOUT, tries, ended }, Effect::Ask { ended })
            }
            (Self::Asked { proxy, .. }, Event::Connected) => (Self::Joined { proxy }, Effect::Release),
            (Self::Waiting { deadline, tries, .. }, Event::Ended) => {
                (Self::Waiting { deadline, tries, ended: true }, Effect::Nothing)
            }
            (Self::Asked { proxy, deadline, tries, .. }, Event::Ended) => {
                (Self::Asked { proxy, deadline, tries, ended: true }, Effect::Nothing)
            }
            (Self::Asked { tries, ended, .. }, Event::ChannelLost) if tries + 1 < VISIT_TRIES_MAX => {
                let deadline = now + CHANNEL_TIMEOUT;
                (Self::Waiting { deadline, tries: tries + 1, ended }, Effect::WaitAgain)
            }
            (Self::Asked { .. } | Self::Joined { .. }, Event::ChannelLost) => {
                (*self, Effect::Cut(Reason::ChannelLost))
            }
            (Self::Waiting { deadline, .. }, Event::Timeout) if deadline <= now => {
                (*self, Effect::Cut(Reason::ClientAway))
            }
            (Self::Asked { deadline, .. }, Event::Timeout) if deadline <= now => {
                (*self, Effect::Cut(Reason::TimedOut))
            }
            (Self::Waiting { .. } | Self::Asked { .. } | Self::Joined { .. }, _) => (*self, Effect::Nothing),
        };
        *self = next;
        effect
    }

    /// When [`Event::Timeout`] is due.
    pub fn deadline(&self) -> Time {
        match *self {
            Self::Waiting { deadline, .. } | Self::Asked { deadline, .. } => deadline,
            Self::Joined { .. } => Time::NEVER,
        }
    }

    /// Whether no client was ever asked for it: whoever serves it is the first.
    pub fn is_untried(&self) -> bool {
        matches!(self, Self::Waiting { tries: 0, .. })
    }

    /// The ProxyChannel that carries it.
    pub fn proxy(&self) -> Option<Key> {
        match *self {
            Self::Waiting { .. } => None,
            Self::Asked { proxy, .. } | Self::Joined { proxy } => Some(proxy),
        }
    }
}
