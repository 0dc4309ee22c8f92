//! Exits: a visitor tells the client where it wants to go, and the client takes it there if `--allow` covers it.
//!
//! ```text
//!   hear ──► More ──► … ──► Ask ──┬──► granted: the real server is there, and has heard `first`
//!     └───────────────────► End   └──► refused: the last word
//! ```
//!
//! Until the real server is there the visitor speaks to the client alone: these are the words of both, without any
//! socket.

#[cfg_attr(not(feature = "http"), path = "left_out/http_proxy.rs")]
mod http_proxy;
mod socks;

use std::fmt;
use std::net::IpAddr;

use crate::http::Body;
use crate::limits::EXIT_BYTES_MAX;
use crate::mapping::{Auth, Exit, Host};
use crate::names::{Use, host_name};
use crate::reason::Reason;
use http_proxy::HttpProxy;
use socks::Socks;

/// A conversation with one visitor.
pub struct Talk {
    /// What was heard and not understood yet.
    heard: Vec<u8>,
    auth: Option<Auth>,
    spoken: Spoken,
    /// Where the visitor wants to go, once it has said so.
    wanted: Option<(Host, u16)>,
}

enum Spoken {
    Socks(Socks),
    Http(HttpProxy),
}

/// What is to be done after something was heard.
#[derive(Debug, PartialEq, Eq)]
pub struct Heard {
    /// To be said to the visitor first.
    pub say: Vec<u8>,
    /// And then?
    pub next: Next,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// More must be heard.
    More,
    /// It wants to go there: [`Talk::granted`] or [`Talk::refused`] answers. Nothing more is heard before.
    Ask(Host, u16),
    /// It is no visitor of this exit: nothing more is said.
    End,
    /// Nor to one who does not know the password.
    Deny,
}

impl Talk {
    /// A conversation that has not begun, with whoever knows user and password, if there are any.
    pub fn new(exit: Exit, auth: Option<Auth>) -> Self {
        let spoken = match exit {
            Exit::Socks5 => Spoken::Socks(Socks::default()),
            Exit::HttpProxy => Spoken::Http(HttpProxy::default()),
        };
        Self { heard: Vec::new(), auth, spoken, wanted: None }
    }

    /// Takes what the visitor says, [`EXIT_BYTES_MAX`] at most.
    pub fn hear(&mut self, bytes: &[u8]) -> Heard {
        debug_assert!(bytes.len() <= EXIT_BYTES_MAX, "what was heard must fit into one buffer");
        self.heard.extend_from_slice(bytes);
        let mut say = Vec::new();
        let next = match &mut self.spoken {
            Spoken::Socks(socks) => socks.hear(&mut self.heard, self.auth.as_ref(), &mut say),
            Spoken::Http(http) => http.hear(&mut self.heard, self.auth.as_ref(), &mut say),
        };
        if let Next::Ask(host, port) = &next {
            self.wanted = Some((host.clone(), *port));
        }
        Heard { say, next }
    }

    /// Where the visitor wants to go, once it has said so.
    pub fn wanted(&self) -> Option<&(Host, u16)> {
        self.wanted.as_ref()
    }

    /// What the real server hears first.
    pub fn first(&self) -> Vec<u8> {
        match &self.spoken {
            Spoken::Socks(_) => self.heard.clone(),
            Spoken::Http(http) => http.first(&self.heard),
        }
    }

    /// What the real server may hear of all that follows: a body, and then nothing more. `None`: everything.
    pub fn rest(&self) -> Option<Body> {
        match &self.spoken {
            Spoken::Socks(_) => None,
            Spoken::Http(http) => http.rest(),
        }
    }

    /// The real server is there: what the visitor is told.
    pub fn granted(&self) -> Vec<u8> {
        match &self.spoken {
            Spoken::Socks(_) => socks::reply(None),
            Spoken::Http(http) => http.granted(),
        }
    }

    /// What the visitor is told where it cannot be taken there, or has not said in time where to.
    pub fn refused(&self, reason: Reason) -> Vec<u8> {
        match &self.spoken {
            // There are words for an answer alone.
            Spoken::Socks(_) if self.wanted.is_none() => Vec::new(),
            Spoken::Socks(_) => socks::reply(Some(reason)),
            Spoken::Http(_) if self.heard.is_empty() && self.wanted.is_none() => Vec::new(),
            Spoken::Http(http) => http.refused(reason, self.wanted.is_some()),
        }
    }
}

/// Without what was heard, which may be a password.
impl fmt::Debug for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Talk({self})")
    }
}

impl fmt::Display for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exit = match self.spoken {
            Spoken::Socks(_) => Exit::Socks5,
            Spoken::Http(_) => Exit::HttpProxy,
        };
        match &self.wanted {
            Some((host, port)) => write!(f, "{host}:{port} by {}", exit.word()),
            None => f.write_str(exit.word()),
        }
    }
}

/// The host that a visitor has named: an address, or a name that could be looked up.
fn host(text: &str) -> Option<Host> {
    match text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) => Some(Host::Ip(address.to_canonical())),
        Err(_) => host_name(text, Use::Dial).ok().map(Host::Name),
    }
}
