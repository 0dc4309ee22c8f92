//! ProxyChannel: carries one visit at a time, and is free again after it. The same machine on both ends.
//!
//! ```text
//!            Start                      mark sent and mark got
//!   Idle ───────────► Visit{sent,got} ─────────────────────────► Idle
//!                        │
//!                        │ LocalCut, the peer's mark still to come
//!                        ▼                    PeerFin, PeerCut
//!                      Drain ──────────────────────────────────► Idle
//! ```
//!
//! Each end closes its direction of a visit with exactly one *mark*: FIN where its own side ended cleanly,
//! DISCONNECT where it was cut. Whoever has sent its mark and has got the peer's is free, with no further
//! word: the stream is ordered, so a CONNECT behind a mark cannot overtake it. A DISCONNECT may follow the
//! sender's own FIN when its side is cut later; the peer may be free by then, which is why DISCONNECT names
//! its visit.

use crate::reason::Reason;

/// The state of a ProxyChannel that is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// In the pool.
    Idle,
    /// Carries a visit.
    Visit {
        /// Which.
        visit: u64,
        /// Our direction has ended with FIN.
        sent_fin: bool,
        /// The peer's direction has ended with FIN.
        got_fin: bool,
    },
    /// We cut the visit; payload is thrown away until the peer's mark comes.
    Drain {
        /// Which.
        visit: u64,
    },
}

/// What happens to a ProxyChannel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A visit begins.
    Start(u64),
    /// The local side (visitor or real server) ended its direction.
    LocalEnd,
    /// The local side failed.
    LocalCut(Reason),
    /// FIN came.
    PeerFin,
    /// DISCONNECT came, for this visit.
    PeerCut(u64, Reason),
}

/// What goes to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Send {
    /// Nothing.
    Nothing,
    /// FIN.
    Fin,
    /// DISCONNECT, for this visit.
    Cut(u64, Reason),
}

/// What is done with the local side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// Nothing.
    Leave,
    /// Its write direction ends: FIN after the last byte.
    Shut,
    /// Both directions have ended: it closes.
    End,
    /// It is reset.
    Cut(Reason),
}

/// What must be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// For the peer.
    pub send: Send,
    /// For the local side.
    pub local: Local,
    /// The channel goes back to the pool.
    pub free: bool,
}

/// The peer did what no peer may do in this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation;

impl Proxy {
    /// Takes one event.
    ///
    /// # Errors
    /// [`Violation`] where the protocol forbids the event; the state is unchanged and the connection must go.
    pub fn step(&mut self, event: Event) -> Result<Effect, Violation> {
        let nothing = Effect { send: Send::Nothing, local: Local::Leave, free: false };
        let (next, effect) = match (*self, event) {
            (Self::Idle, Event::Start(visit)) => {
                (Self::Visit { visit, sent_fin: false, got_fin: false }, nothing)
            }
            // A visit that is over already: its DISCONNECT crossed our mark on the way.
            (Self::Idle, Event::PeerCut(..)) => (Self::Idle, nothing),
            (Self::Visit { visit, .. } | Self::Drain { visit }, Event::PeerCut(other, _))
                if other != visit =>
            {
                (*self, nothing)
            }

            (Self::Visit { visit, sent_fin: false, got_fin }, Event::LocalEnd) => {
                let local = if got_fin { Local::End } else { Local::Leave };
                (Self::visit_or_idle(visit, true, got_fin), Effect { send: Send::Fin, local, free: got_fin })
            }
            (Self::Visit { visit, sent_fin, got_fin: false }, Event::PeerFin) => {
                let local = if sent_fin { Local::End } else { Local::Shut };
                (Self::visit_or_idle(visit, sent_fin, true), Effect { local, free: sent_fin, ..nothing })
            }
            (Self::Visit { visit, got_fin, .. }, Event::LocalCut(reason)) => {
                let next = if got_fin { Self::Idle } else { Self::Drain { visit } };
                (next, Effect { send: Send::Cut(visit, reason), free: got_fin, ..nothing })
            }
            (Self::Visit { visit, sent_fin, .. }, Event::PeerCut(_, reason)) => {
                let send = if sent_fin { Send::Nothing } else { Send::Cut(visit, reason) };
                (Self::Idle, Effect { send, local: Local::Cut(reason), free: true })
            }
            (Self::Drain { .. }, Event::PeerFin | Event::PeerCut(..)) => {
                (Self::Idle, Effect { free: true, ..nothing })
            }

            (Self::Idle, Event::LocalEnd | Event::LocalCut(_) | Event::PeerFin)
            | (Self::Visit { .. }, Event::Start(_) | Event::LocalEnd | Event::PeerFin)
            | (Self::Drain { .. }, Event::Start(_) | Event::LocalEnd | Event::LocalCut(_)) => {
                return Err(Violation);
            }
        };
        *self = next;
        Ok(effect)
    }

    /// Whether it is in the pool.
    pub fn is_idle(&self) -> bool {
        *self == Self::Idle
    }

    fn visit_or_idle(visit: u64, sent_fin: bool, got_fin: bool) -> Self {
        if sent_fin && got_fin { Self::Idle } else { Self::Visit { visit, sent_fin, got_fin } }
    }
}
