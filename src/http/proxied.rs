//! The head of a request to a proxy: CONNECT (RFC 9110 section 9.3.6), or a request for a whole URI (RFC 9112 section
//! 3.2.2).

use super::request::{HeaderSpace, Request, basic, host_of, read};
use super::{Body, Scheme, Status};

/// What a visitor asks a proxy for.
#[derive(Debug)]
pub enum Proxied<'a> {
    /// A connection, on which it will speak as it likes.
    Connect {
        /// HOST:PORT, as it was written.
        authority: &'a str,
        /// The other headers.
        headers: &'a [httparse::Header<'a>],
    },
    /// An answer.
    Request(Request<'a>),
}

impl<'a> Proxied<'a> {
    /// Reads the head that `bytes` begin with, and how long it is; `None` where it is not whole yet.
    ///
    /// # Errors
    /// What to answer instead.
    pub fn parse(bytes: &'a [u8], space: &'a mut HeaderSpace<'a>) -> Result<Option<(Self, usize)>, Status> {
        // The words of a method are the first that are read, and the parser has judged them by then.
        if !b"CONNECT ".starts_with(&bytes[..bytes.len().min(8)]) {
            let Some((request, length)) = Request::parse(bytes, space)? else { return Ok(None) };
            // A visitor who takes the proxy for a web server, or wants TLS from it.
            let good = request.scheme == Some(Scheme::Http);
            return if good { Ok(Some((Self::Request(request), length))) } else { Err(Status::BadRequest) };
        }
        let Some((head, length)) = read(bytes, space)? else { return Ok(None) };
        let authority = head.path.unwrap_or_default();
        let has_port =
            authority.rsplit_once(':').is_some_and(|(_, port)| port.parse().is_ok_and(|port: u16| port > 0));
        if host_of(authority).is_none() || !has_port {
            return Err(Status::BadRequest);
        }
        Ok(Some((Self::Connect { authority, headers: head.headers }, length)))
    }

    fn authority(&self) -> &'a str {
        match self {
            Self::Connect { authority, .. } => authority,
            Self::Request(request) => request.authority,
        }
    }

    /// The host, as it was written; an IPv6 address in brackets.
    pub fn host(&self) -> &'a str {
        let authority = self.authority();
        let end = authority.find(']').map_or(0, |end| end + 1);
        authority[end..].find(':').map_or(authority, |colon| &authority[..end + colon])
    }

    /// The port, 80 where none was written; `None` where it is none.
    pub fn port(&self) -> Option<u16> {
        match self.authority()[self.host().len()..].trim_start_matches(':') {
            "" => Some(Scheme::Http.port()),
            port => port.parse().ok().filter(|&port| port > 0),
        }
    }

    /// What follows the head and is for the real server; `None` where everything is, until the end.
    pub fn body(&self) -> Option<Body> {
        match self {
            Self::Connect { .. } => None,
            Self::Request(request) => (!request.upgrade).then_some(request.body),
        }
    }

    /// Whether the answer has no body.
    pub fn is_head(&self) -> bool {
        matches!(self, Self::Request(request) if request.is_head())
    }

    /// Whether it brings what a proxy asks for (RFC 9110 section 11.7.2). Compared in constant time.
    pub fn knows(&self, user: &str, password: &str) -> bool {
        let headers = match self {
            Self::Connect { headers, .. } => headers,
            Self::Request(request) => request.headers,
        };
        basic(headers, "proxy-authorization", user, password)
    }

    /// The head that the real server gets; none where the visitor itself will speak.
    pub fn forward(&self) -> Option<Vec<u8>> {
        match self {
            Self::Connect { .. } => None,
            Self::Request(request) => {
                let mut head = Vec::new();
                request.forward_for_proxy(&mut head);
                Some(head)
            }
        }
    }
}
