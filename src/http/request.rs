//! The head of a request: read strictly, and written anew for the real server.
//!
//! Strictly, because two programs that read one message differently are how a visitor gets past the first of them
//! (RFC 9112 section 11.2): what has two lengths, two hosts, folded lines or bare line feeds is refused, and what is
//! passed on has one reading.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::mem::MaybeUninit;
use std::net::IpAddr;

use httparse::Header;

use super::{Body, Scheme, Status};
use crate::limits::HTTP_HEADERS_MAX;
use crate::mapping::Options;
use crate::names::NAME_BYTES_MAX;
use crate::text::{alike, base64};

/// Room for the headers of a message while it is read.
pub type HeaderSpace<'a> = [MaybeUninit<Header<'a>>; HTTP_HEADERS_MAX];

/// Room that nothing was put into.
pub const fn header_space<'a>() -> HeaderSpace<'a> {
    [const { MaybeUninit::uninit() }; HTTP_HEADERS_MAX]
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    method: &'a str,
    /// From the path on; it need not begin with `/` where the whole URI was written.
    target: &'a str,
    /// Host and port as the visitor wrote them.
    pub(super) authority: &'a str,
    /// That of the whole URI, where it was written.
    pub(super) scheme: Option<Scheme>,
    /// The host alone, in lower case and without the root's dot.
    pub host: Cow<'a, str>,
    minor: u8,
    pub(super) headers: &'a [Header<'a>],
    /// What follows the head.
    pub body: Body,
    /// The visitor wants no other request on this connection.
    pub last: bool,
    /// It asks for a WebSocket (RFC 6455 section 4.1).
    pub upgrade: bool,
}

impl<'a> Request<'a> {
    /// Reads the head that `bytes` begin with, and how long it is; `None` where it is not whole yet.
    ///
    /// # Errors
    /// What to answer instead of serving it.
    pub fn parse(bytes: &'a [u8], space: &'a mut HeaderSpace<'a>) -> Result<Option<(Self, usize)>, Status> {
        let Some((request, length)) = read(bytes, space)? else { return Ok(None) };
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
        else {
            return Err(Status::BadRequest);
        };
        if method == "CONNECT" {
            return Err(Status::BadRequest);
        }
        let headers: &[Header<'_>] = request.headers;
        let (scheme, authority, target) = authority_and_target(method, target, minor, headers)?;
        let body = body(minor, headers)?;
        let connection = |word| lists(headers, "connection", word);
        let upgrade = minor == 1
            && body == Body::NONE
            && connection("upgrade")
            && values(headers, "upgrade").map(<[u8]>::to_ascii_lowercase).eq([b"websocket"]);
        let last = minor == 0 || connection("close");
        let host = host_of(authority).ok_or(Status::BadRequest)?;
        let request = Self { method, target, authority, scheme, host, minor, headers, body, last, upgrade };
        Ok(Some((request, length)))
    }

    /// The method, as it was written (RFC 9110 section 9.1).
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The values of a header, without the spaces around them.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        values(self.headers, name)
    }

    /// Path and query, as they were written.
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The path, as it was written: neither decoded nor resolved.
    pub fn path(&self) -> &'a str {
        match self.target.split('?').next() {
            None | Some("") => "/",
            Some(path) => path,
        }
    }

    /// The URI of the same over TLS, at this port.
    pub fn over_tls(&self, port: u16) -> String {
        let port = if port == 443 { String::new() } else { format!(":{port}") };
        let slash = if self.target.starts_with('/') { "" } else { "/" };
        format!("https://{}{port}{slash}{}", self.host, self.target.trim_start_matches('*'))
    }

    /// Whether its path is `prefix`, or below it. A path that leads back up is below nothing.
    pub fn is_below(&self, prefix: &str) -> bool {
        let path = self.path();
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            && !leads_up(path)
    }

    /// Whether its path could be read as another one by whoever serves it. Where names are divided by path, such a
    /// request is nobody's.
    pub fn may_mean_another_path(&self) -> bool {
        let path = self.path();
        path.contains("//") || leads_up(path) || encodes_what_needs_none(path)
    }

    /// Whether the answer has no body, whatever its head says (RFC 9110 section 9.3.2).
    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// Whether it may be made again where nobody knows if it has arrived (RFC 9110 section 9.2.2).
    pub fn may_be_repeated(&self) -> bool {
        let idempotent = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].contains(&self.method);
        idempotent && self.body == Body::NONE && !self.upgrade
    }

    /// Whether it brings what `auth=` asks for (RFC 7617). Compared in constant time.
    pub fn knows(&self, user: &str, password: &str) -> bool {
        basic(self.headers, "authorization", user, password)
    }

    /// Writes the head that the real server gets.
    ///
    /// What concerns this connection alone stays here (RFC 9110 section 7.6.1), and who visits is said as it is, not
    /// as the visitor says it: `X-Forwarded-For`, `-Proto`, `-Host`, and `Forwarded` (RFC 7239).
    pub fn forward(&self, options: &Options, scheme: Scheme, visitor: IpAddr, out: &mut Vec<u8>) {
        let authority = self.authority;
        let mut head = self.begin(options, out);
        for header in &options.headers {
            head.put(format_args!("{}: {}\r\n", header.name, header.value));
        }
        let (visitor, scheme) = (visitor.to_canonical(), scheme.word());
        let [open, close] = if visitor.is_ipv6() { ["\"[", "]\""] } else { ["", ""] };
        head.put(format_args!(
            "X-Forwarded-For: {visitor}\r\nX-Forwarded-Proto: {scheme}\r\nX-Forwarded-Host: {authority}\r\n\
             Forwarded: for={open}{visitor}{close};host=\"{authority}\";proto={scheme}\r\n"
        ));
        head.put(format_args!(
            "{}",
            match (self.upgrade, self.last) {
                (true, _) => "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                (false, true) => "Connection: close\r\n\r\n",
                (false, false) => "\r\n",
            }
        ));
    }

    /// Writes the head that a real server gets which the visitor itself has chosen: nobody is said to have come, and
    /// the connection is for this request alone.
    pub(super) fn forward_for_proxy(&self, out: &mut Vec<u8>) {
        let mut head = self.begin(&Options::default(), out);
        head.put(format_args!(
            "{}",
            if self.upgrade {
                "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
            } else {
                "Connection: close\r\n\r\n"
            }
        ));
    }

    /// The request line, and what of the visitor's headers goes on.
    fn begin<'o>(&self, options: &Options, out: &'o mut Vec<u8>) -> Head<'o> {
        let Self { method, target, authority, minor, .. } = self;
        let mut head = Head(out);
        let slash = if target.starts_with(['/', '*']) { "" } else { "/" };
        let host = options.host.as_deref().unwrap_or(authority);
        head.put(format_args!("{method} {slash}{target} HTTP/1.{minor}\r\nHost: {host}\r\n"));
        for header in self.headers.iter().filter(|header| self.travels(header.name, options)) {
            head.put(format_args!("{}: ", header.name));
            // Not every value is text.
            head.0.extend_from_slice(header.value);
            head.put(format_args!("\r\n"));
        }
        head
    }

    /// Whether a header of the visitor's goes on to the real server.
    fn travels(&self, name: &str, options: &Options) -> bool {
        const HERE: [&str; 13] = [
            "host",
            // In disguise: with `_` for `-`, where the real server may take one for the other.
            "content-length",
            "transfer-encoding",
            "connection",
            "keep-alive",
            "proxy-connection",
            "proxy-authorization",
            "te",
            "upgrade",
            "forwarded",
            "x-real-ip",
            // Some programs serve this path instead of the one that was asked for.
            "x-original-url",
            "x-rewrite-url",
        ];
        let begins = |start: &str| name.get(..start.len()).is_some_and(|first| same_name(first, start));
        // What says where the message ends cannot be struck out by naming it.
        let framing = ["content-length", "transfer-encoding"].iter().any(|it| name.eq_ignore_ascii_case(it));
        framing
            || !(HERE.iter().any(|here| same_name(name, here))
                || begins("x-forwarded-")
                || options.headers.iter().any(|header| same_name(name, &header.name))
                || (options.auth.is_some() && same_name(name, "authorization"))
                || lists(self.headers, "connection", name))
    }
}

/// The head that `bytes` begin with, if it is whole, and how long it is.
pub(super) fn read<'a>(
    bytes: &'a [u8],
    space: &'a mut HeaderSpace<'a>,
) -> Result<Option<(httparse::Request<'a, 'a>, usize)>, Status> {
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, space) {
        Ok(httparse::Status::Complete(length)) if has_bare_line_feed(&bytes[..length]) => {
            Err(Status::BadRequest)
        }
        Ok(httparse::Status::Complete(length)) => Ok(Some((request, length))),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(Status::HeadTooLarge),
        Err(httparse::Error::Version) => Err(Status::NotThisVersion),
        Err(_) => Err(Status::BadRequest),
    }
}

/// Whether a header brings user and password (RFC 7617). Compared in constant time.
pub(super) fn basic(headers: &[Header<'_>], header: &str, user: &str, password: &str) -> bool {
    let wanted = base64(format!("{user}:{password}").as_bytes());
    let mut given = values(headers, header);
    let (Some(value), None) = (given.next(), given.next()) else { return false };
    let Some((scheme, token)) = value.split_at_checked(6) else { return false };
    scheme.eq_ignore_ascii_case(b"basic ") && alike(token, wanted.as_bytes())
}

/// A head that is being written.
struct Head<'a>(&'a mut Vec<u8>);

impl Head<'_> {
    fn put(&mut self, what: fmt::Arguments<'_>) {
        let written = self.write_fmt(what);
        assert!(written.is_ok(), "memory takes whatever is written");
    }
}

impl Write for Head<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Whether a server could resolve a path to another one: some decode before they look for `..`, some take `\` for `/`,
/// and some leave out what stands behind a `;`.
fn leads_up(path: &str) -> bool {
    let path = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    path.split(['/', '\\']).any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

/// Whether something is percent-encoded that means the same as it is, or divides the path (RFC 3986 section 2.3).
fn encodes_what_needs_none(path: &str) -> bool {
    let encoded = path.split('%').skip(1).map(|rest| rest.get(..2).map(|hex| u8::from_str_radix(hex, 16)));
    encoded.into_iter().any(|byte| match byte {
        Some(Ok(byte)) => byte.is_ascii_alphanumeric() || b"-._~/\\".contains(&byte),
        Some(Err(_)) | None => true,
    })
}

/// Whether two names of headers are one, as they are to the many programs that take `_` for `-`.
fn same_name(one: &str, other: &str) -> bool {
    let fold = |b: u8| if b == b'_' { b'-' } else { b.to_ascii_lowercase() };
    one.len() == other.len() && one.bytes().map(fold).eq(other.bytes().map(fold))
}

fn has_bare_line_feed(head: &[u8]) -> bool {
    let before = std::iter::once(&b' ').chain(head);
    before.zip(head).fold(false, |bare, (&before, &byte)| bare | (byte == b'\n' && before != b'\r'))
}

/// The values of a header, without the spaces around them.
pub(super) fn values<'a>(headers: &'a [Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    let found = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    found.map(|header| header.value.trim_ascii())
}

/// Whether a word stands in a header that is a list of such (RFC 9110 section 5.6.1).
pub(super) fn lists(headers: &[Header<'_>], name: &str, word: &str) -> bool {
    values(headers, name)
        .flat_map(|value| value.split(|&b| b == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

/// Whom a request is for, and what of it is for that one alone.
fn authority_and_target<'a>(
    method: &str,
    target: &'a str,
    minor: u8,
    headers: &'a [Header<'a>],
) -> Result<(Option<Scheme>, &'a str, &'a str), Status> {
    let mut hosts = values(headers, "host");
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => std::str::from_utf8(host).map_err(|_| Status::BadRequest)?,
        (None, None) if minor == 0 => "",
        _ => return Err(Status::BadRequest),
    };
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return if target.contains('#') { Err(Status::BadRequest) } else { Ok((None, host, target)) };
    }
    let (scheme, rest) = target.split_once("://").ok_or(Status::BadRequest)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let agree = host.is_empty() || host.eq_ignore_ascii_case(authority);
    let known =
        [Scheme::Http, Scheme::Https].into_iter().find(|known| scheme.eq_ignore_ascii_case(known.word()));
    if agree && known.is_some() && !path.contains('#') {
        Ok((known, authority, path))
    } else {
        Err(Status::BadRequest)
    }
}

/// The host of an authority, in the form in which names are compared; `None` where it is none.
pub(super) fn host_of(authority: &str) -> Option<Cow<'_, str>> {
    if authority.starts_with('[') {
        let (address, port) = authority.split_once(']')?;
        let port = if port.is_empty() { port } else { port.strip_prefix(':')? };
        let good = |b: u8| b.is_ascii_hexdigit() || b":.".contains(&b);
        let good = address.len() <= NAME_BYTES_MAX && address[1..].bytes().all(good) && is_port(port);
        return good.then_some(Cow::Borrowed(authority));
    }
    let (name, port) = authority.split_once(':').unwrap_or((authority, ""));
    let name = name.strip_suffix('.').unwrap_or(name);
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if name.len() > NAME_BYTES_MAX || !name.bytes().all(good) || !is_port(port) {
        return None;
    }
    let lower = !name.bytes().any(|b| b.is_ascii_uppercase());
    Some(if lower { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) })
}

/// Whether this is a port, or nothing. It goes on with the host, three times: its length must have a bound.
fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit())
}

/// What follows the head (RFC 9112 section 6.3).
fn body(minor: u8, headers: &[Header<'_>]) -> Result<Body, Status> {
    let (mut lengths, mut codings) =
        (values(headers, "content-length"), values(headers, "transfer-encoding"));
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Body::NONE),
        (Some(length), None) if lengths.next().is_none() => {
            super::length(length).map(Body::Length).ok_or(Status::BadRequest)
        }
        (None, Some(coding)) if minor == 1 && codings.next().is_none() => {
            if coding.eq_ignore_ascii_case(b"chunked") {
                Ok(Body::CHUNKED)
            } else {
                Err(Status::NotImplemented)
            }
        }
        _ => Err(Status::BadRequest),
    }
}
