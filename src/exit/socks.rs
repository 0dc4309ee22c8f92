//! SOCKS5 (RFC 1928) as its server, with user and password (RFC 1929).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Next;
use crate::mapping::{Auth, Host};
use crate::reason::Reason;
use crate::text::alike;

/// What the visitor says next.
#[derive(Default)]
pub(super) enum Socks {
    /// The methods by which it can log in.
    #[default]
    Methods,
    /// User and password.
    Login,
    /// What it wants.
    Request,
}

const VERSION: u8 = 5;
/// Of the login's own negotiation.
const LOGIN_VERSION: u8 = 1;
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xFF;
const CONNECT: u8 = 1;

/// Replies other than success (RFC 1928 section 6).
const FAILURE: u8 = 1;
const NOT_ALLOWED: u8 = 2;
const NETWORK_UNREACHABLE: u8 = 3;
const HOST_UNREACHABLE: u8 = 4;
const REFUSED: u8 = 5;
const EXPIRED: u8 = 6;
const NO_SUCH_COMMAND: u8 = 7;
const NO_SUCH_ADDRESS: u8 = 8;

impl Socks {
    /// Takes as many of the visitor's messages as are whole: it may not wait for the answers.
    pub(super) fn hear(&mut self, heard: &mut Vec<u8>, auth: Option<&Auth>, say: &mut Vec<u8>) -> Next {
        loop {
            let (used, next) = match self {
                Self::Methods => self.methods(heard, auth, say),
                Self::Login => self.login(heard, auth, say),
                Self::Request => request(heard, say),
            };
            heard.drain(..used);
            if used == 0 || next != Next::More {
                return next;
            }
        }
    }

    fn methods(&mut self, heard: &[u8], auth: Option<&Auth>, say: &mut Vec<u8>) -> (usize, Next) {
        let (count, methods) = match heard {
            [] | [VERSION] => return (0, Next::More),
            [VERSION, count, methods @ ..] => (usize::from(*count), methods),
            _ => return (0, Next::End),
        };
        let Some(methods) = methods.get(..count) else { return (0, Next::More) };
        let wanted = if auth.is_some() { PASSWORD } else { NO_LOGIN };
        if !methods.contains(&wanted) {
            say.extend([VERSION, NO_METHOD]);
            return (0, Next::End);
        }
        say.extend([VERSION, wanted]);
        *self = if auth.is_some() { Self::Login } else { Self::Request };
        (2 + count, Next::More)
    }

    fn login(&mut self, heard: &[u8], auth: Option<&Auth>, say: &mut Vec<u8>) -> (usize, Next) {
        let Some((&version, rest)) = heard.split_first() else { return (0, Next::More) };
        if version != LOGIN_VERSION {
            return (0, Next::End);
        }
        let Some((user, password, left)) =
            text(rest).and_then(|(user, rest)| text(rest).map(|(password, left)| (user, password, left)))
        else {
            return (0, Next::More);
        };
        // Both are compared: how long it takes tells nothing of either.
        let known = auth.is_some_and(|auth| {
            alike(user, auth.user.as_bytes()) & alike(password, auth.password.as_bytes())
        });
        say.extend([LOGIN_VERSION, u8::from(!known)]);
        *self = Self::Request;
        (heard.len() - left.len(), if known { Next::More } else { Next::Deny })
    }
}

/// A text with its length before it, and what stands behind it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

fn request(heard: &[u8], say: &mut Vec<u8>) -> (usize, Next) {
    let mut end = |code| {
        say.extend(answer(code));
        (0, Next::End)
    };
    let (command, kind, rest) = match heard {
        [VERSION, command, 0, kind, rest @ ..] => (*command, *kind, rest),
        [] | [VERSION] | [VERSION, _] | [VERSION, _, 0] => return (0, Next::More),
        _ => return (0, Next::End),
    };
    if command != CONNECT {
        return end(NO_SUCH_COMMAND);
    }
    let named = |(name, rest): (&'_ [u8], _)| {
        let host = std::str::from_utf8(name).ok().and_then(super::host);
        (host, rest)
    };
    let found = match kind {
        1 => rest
            .split_first_chunk::<4>()
            .map(|(ip, rest)| (Some(Host::Ip(IpAddr::V4(Ipv4Addr::from(*ip)))), rest)),
        3 => text(rest).map(|(name, rest)| named((name, rest))),
        4 => rest
            .split_first_chunk::<16>()
            .map(|(ip, rest)| (Some(Host::Ip(IpAddr::V6(Ipv6Addr::from(*ip)).to_canonical())), rest)),
        _ => return end(NO_SUCH_ADDRESS),
    };
    let Some((host, rest)) = found else { return (0, Next::More) };
    let Some((port, rest)) = rest.split_first_chunk::<2>() else { return (0, Next::More) };
    match (host, u16::from_be_bytes(*port)) {
        (Some(host), port @ 1..) => (heard.len() - rest.len(), Next::Ask(host, port)),
        _ => end(HOST_UNREACHABLE),
    }
}

/// The answer to a request: it is granted, or why not.
pub(super) fn reply(refused: Option<Reason>) -> Vec<u8> {
    answer(match refused {
        None => 0,
        Some(Reason::NotAllowed) => NOT_ALLOWED,
        Some(Reason::Unreachable) => NETWORK_UNREACHABLE,
        Some(Reason::NoSuchHost) => HOST_UNREACHABLE,
        Some(Reason::Refused) => REFUSED,
        Some(Reason::TimedOut) => EXPIRED,
        Some(_) => FAILURE,
    })
    .to_vec()
}

/// An answer says from which address the proxy connects, too; that is nobody's business.
fn answer(code: u8) -> [u8; 10] {
    [VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0]
}
