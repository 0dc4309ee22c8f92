//! A proxy for HTTP: CONNECT, and requests for a whole URI, one for each connection: a real server need not do as it is
//! asked and close it, and would get what is meant for another one.

use super::Next;
use crate::http::{Body, Malformed, Proxied, Status, header_space};
use crate::limits::HTTP_HEAD_BYTES_MAX;
use crate::mapping::Auth;
use crate::reason::Reason;

/// What the visitor wants, once it has said so.
#[derive(Default)]
pub(super) struct HttpProxy {
    /// The head for the real server; nothing where the visitor speaks to it as it likes.
    head: Option<Vec<u8>>,
    to_head: bool,
    /// What is left of the request's body.
    body: Option<Body>,
}

/// What a visitor is told who must log in: nothing about this machine.
const REALM: &str = "proxy";

impl HttpProxy {
    pub(super) fn hear(&mut self, heard: &mut Vec<u8>, auth: Option<&Auth>, say: &mut Vec<u8>) -> Next {
        let mut space = header_space();
        let (proxied, used) = match Proxied::parse(heard, &mut space) {
            Ok(Some((_, used))) if used > HTTP_HEAD_BYTES_MAX => return end(Status::HeadTooLarge, say),
            Ok(Some(read)) => read,
            Ok(None) if heard.len() > HTTP_HEAD_BYTES_MAX => return end(Status::HeadTooLarge, say),
            Ok(None) => return Next::More,
            Err(status) => return end(status, say),
        };
        if auth.is_some_and(|auth| !proxied.knows(&auth.user, &auth.password)) {
            end(Status::ProxyLogin, say);
            return Next::Deny;
        }
        let (Some(host), Some(port)) = (super::host(proxied.host()), proxied.port()) else {
            return end(Status::BadRequest, say);
        };
        (self.to_head, self.head, self.body) = (proxied.is_head(), proxied.forward(), proxied.body());
        heard.drain(..used);
        if let Some(body) = &mut self.body {
            // What stands behind it is another request, and perhaps for somebody else.
            match body.pass(heard) {
                Ok(length) if length == heard.len() => {}
                Ok(_) | Err(Malformed) => return end(Status::BadRequest, say),
            }
        }
        Next::Ask(host, port)
    }

    pub(super) fn first(&self, heard: &[u8]) -> Vec<u8> {
        [self.head.as_deref().unwrap_or_default(), heard].concat()
    }

    /// Where the visitor asked for an answer, that is the real server's.
    pub(super) fn granted(&self) -> Vec<u8> {
        match self.head {
            Some(_) => Vec::new(),
            None => b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec(),
        }
    }

    /// What the real server may hear yet of what the visitor says, if not all of it.
    pub(super) fn rest(&self) -> Option<Body> {
        self.body
    }

    /// With `asked`, it is known where to.
    pub(super) fn refused(&self, reason: Reason, asked: bool) -> Vec<u8> {
        let status = match reason {
            _ if !asked => Status::TimedOut,
            Reason::NotAllowed => Status::Forbidden,
            Reason::TimedOut => Status::GatewayTimedOut,
            Reason::Busy | Reason::Stopping => Status::Unavailable,
            _ => Status::BadGateway,
        };
        let mut page = Vec::new();
        status.write(self.to_head, true, "", &mut page);
        page
    }
}

fn end(status: Status, say: &mut Vec<u8>) -> Next {
    status.write(false, true, REALM, say);
    Next::End
}
