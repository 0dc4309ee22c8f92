//! Frames: what travels on a tunnel connection once it is secured. `docs/PROTOCOL.md` is the specification;
//! golden bytes of every frame stand in `tests/golden/frames.txt`.
//!
//! A frame is one byte of type, three bytes of body length, and the body; numbers are big-endian. Decoding
//! borrows, consumes a frame exactly or not at all, and checks every length before it is used. The payload
//! of TRANSFER is not part of the decoded frame: it is streamed past the codec.

mod samples;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::limits::{
    CONTROL_BODY_BYTES_MAX, CONTROL_FRAME_BYTES_MAX, HEADER_BYTES, MAPPING_BYTES_MAX, PIECE_BYTES_MAX,
};
use crate::reason::Reason;

pub use samples::samples;

/// The version that HELLO and WELCOME name.
pub const VERSION: u8 = 1;
/// A capability of HELLO: the client comes beside the others of its license, and replaces none.
pub const GUEST: u32 = 1;
/// Length of the proof at the end of HELLO.
pub const SIGNATURE_BYTES: usize = 64;
/// Length of the proof at the end of WELCOME, REJECT and ATTACH.
pub const MAC_BYTES: usize = 32;

/// One frame, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A client's first frame on its CmdChannel.
    Hello(Hello),
    /// The server accepts the login.
    Welcome(Welcome),
    /// The server refuses the login.
    Reject(Reject),
    /// Plain connections only, both ways, before anything else: randomness that every proof is bound to.
    Nonce([u8; 32]),
    /// A client's first frame on a ProxyChannel.
    Attach(Attach),
    /// A client's first frame on a connection of its own: it visits a mapping of another client's.
    Visit(Visit<'a>),
    /// Declares a mapping: by the client its own, by the server one that stands in the license.
    Map(Map<'a>),
    /// How a declared mapping stands.
    Mapped(Mapped),
    /// The server orders ProxyChannels.
    Open {
        /// Number of the first; the others follow.
        first: u64,
        /// How many.
        count: u16,
    },
    /// Says nothing but that the sender lives.
    Heartbeat,
    /// The last frame of a CmdChannel: the session ends on purpose.
    Goodbye {
        /// Why.
        reason: Reason,
        /// The client is asked not to come back earlier.
        retry_millis: u32,
    },
    /// A visit begins on this ProxyChannel.
    Connect(Connect),
    /// The real server accepted the connection.
    Connected,
    /// So many bytes of payload follow.
    Transfer(u32),
    /// This direction of the visit ended cleanly.
    Fin,
    /// The visit is cut: nothing more of it comes from the sender.
    Disconnect {
        /// Which visit: one that is over already is not meant.
        visit: u64,
        /// Why.
        reason: Reason,
    },
    /// A datagram of the visit, or the last piece of one.
    Datagram(&'a [u8]),
    /// A piece of a datagram: more of it follows at once.
    Piece(&'a [u8]),
}

/// Login, part one: who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Highest version that the client speaks.
    pub version: u8,
    /// The license's public name.
    pub license: [u8; 8],
    /// Random at the client's start: tells a client that comes back from another one.
    pub instance: [u8; 16],
    /// Logins of this instance so far: a delayed one is recognised.
    pub counter: u64,
    /// What the client can do beyond this version, and wants: [`GUEST`].
    pub capabilities: u32,
    /// MAP frames that will follow.
    pub mappings: u16,
    /// Ed25519 signature over all of the above and the connection itself.
    pub signature: [u8; SIGNATURE_BYTES],
}

/// Login, part two: the server's proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version that will be spoken.
    pub version: u8,
    /// Names the session when ProxyChannels attach.
    pub session: [u8; 16],
    /// The session's own number, drawn when it was made: a resumed one has the same again.
    pub generation: u64,
    /// What the server can do beyond this version; none is defined yet.
    pub capabilities: u32,
    /// The server still has this instance's visits and ProxyChannels: they go on.
    pub resumed: bool,
    /// HMAC over HELLO, all of the above and the connection itself.
    pub mac: [u8; MAC_BYTES],
}

/// Login refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why; [`Reason::Denied`] says nothing on purpose.
    pub reason: Reason,
    /// The client is asked not to come back earlier.
    pub retry_millis: u32,
    /// HMAC as in WELCOME where the license was proved; else zeros, and the client must not believe it.
    pub mac: [u8; MAC_BYTES],
}

/// Makes a connection a ProxyChannel of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attach {
    /// The session, as WELCOME named it.
    pub session: [u8; 16],
    /// A number that OPEN gave; good once.
    pub channel: u64,
    /// HMAC over the number and the connection itself.
    pub mac: [u8; MAC_BYTES],
}

/// Makes a connection a visit of a mapping that has no public place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit<'a> {
    /// The visiting client's session, as WELCOME named it.
    pub session: [u8; 16],
    /// The visit's number, the client's own.
    pub visit: u64,
    /// OWNER/NAME: the license that publishes it, and what it is called there.
    pub name: &'a str,
    /// HMAC over number, name and the connection itself.
    pub mac: [u8; MAC_BYTES],
}

/// A mapping, as one end tells it to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map<'a> {
    /// Names the mapping in MAPPED and CONNECT; the top bit tells the server's from the client's. A range has as many
    /// indexes, from this one on, as it has ports.
    pub index: u16,
    /// The mapping's text: one grammar for people, files and the wire. The server never uses its target.
    pub mapping: &'a str,
}

/// Stands for no address, in MAPPED about a mapping that could not be read.
pub const NO_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

/// The state of a mapping. From the client, about a mapping that the server declared, `live` means that it
/// is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Which mapping, or which port of it …
    pub index: u16,
    /// … and so many ports behind it, itself among them; 0 is all, of a mapping that could not be read.
    pub count: u16,
    /// Why it is not live; `None` if it is.
    pub trouble: Option<Reason>,
    /// Where visitors reach it: the first of them, the others follow.
    pub public: SocketAddr,
}

/// A visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Unique in the session.
    pub visit: u64,
    /// Which mapping; the client looks its target up and never dials what came over the wire.
    pub mapping: u16,
    /// The visitor's address.
    pub visitor: SocketAddr,
}

/// Why bytes are not a frame. The peer's fault; the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// No frame has this type.
    Type(u8),
    /// The body is longer than any of its type.
    TooLong,
    /// The body ends early.
    TooShort,
    /// The body goes on after its last field.
    Trailing,
    /// A field holds what it must not.
    Value,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(kind) => write!(f, "unknown frame type {kind:#04x}"),
            Self::TooLong => f.write_str("a frame is too long"),
            Self::TooShort => f.write_str("a frame is too short"),
            Self::Trailing => f.write_str("a frame has bytes after its end"),
            Self::Value => f.write_str("a frame has a field with a forbidden value"),
        }
    }
}

mod kind {
    pub(super) const HELLO: u8 = 0x01;
    pub(super) const WELCOME: u8 = 0x02;
    pub(super) const REJECT: u8 = 0x03;
    pub(super) const NONCE: u8 = 0x04;
    pub(super) const ATTACH: u8 = 0x05;
    pub(super) const MAP: u8 = 0x06;
    pub(super) const MAPPED: u8 = 0x07;
    pub(super) const OPEN: u8 = 0x08;
    pub(super) const HEARTBEAT: u8 = 0x09;
    pub(super) const GOODBYE: u8 = 0x0A;
    pub(super) const VISIT: u8 = 0x0B;
    pub(super) const CONNECT: u8 = 0x10;
    pub(super) const CONNECTED: u8 = 0x11;
    pub(super) const TRANSFER: u8 = 0x12;
    pub(super) const FIN: u8 = 0x13;
    pub(super) const DISCONNECT: u8 = 0x14;
    pub(super) const DATAGRAM: u8 = 0x15;
    pub(super) const PIECE: u8 = 0x16;
}

/// The first frame in `bytes` and how many bytes it takes; for TRANSFER that is the header alone. `None`
/// while more bytes are needed.
///
/// # Errors
/// [`Malformed`] as soon as the bytes that are there cannot become a frame: an oversize length is refused
/// by its header, before any of its body is waited for.
pub fn next(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Malformed> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let [kind, length @ ..] = *header;
    let length = usize::from(length[0]) << 16 | usize::from(length[1]) << 8 | usize::from(length[2]);
    if kind == kind::TRANSFER {
        // An empty TRANSFER carries nothing and would be work for free.
        let length = u32::try_from(length).map_err(|_| Malformed::TooLong)?;
        return if length == 0 {
            Err(Malformed::Value)
        } else {
            Ok(Some((Frame::Transfer(length), HEADER_BYTES)))
        };
    }
    let most = match kind {
        kind::HELLO..=kind::VISIT | kind::CONNECT..=kind::DISCONNECT => CONTROL_BODY_BYTES_MAX,
        kind::DATAGRAM | kind::PIECE => PIECE_BYTES_MAX,
        _ => return Err(Malformed::Type(kind)),
    };
    if length > most {
        return Err(Malformed::TooLong);
    }
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let mut reader = Reader(body);
    let frame = decode(kind, &mut reader)?;
    if !reader.0.is_empty() {
        return Err(Malformed::Trailing);
    }
    Ok(Some((frame, HEADER_BYTES + length)))
}

/// Whether a FIN is the next frame.
pub fn begins_with_fin(bytes: &[u8]) -> bool {
    bytes.starts_with(&[kind::FIN, 0, 0, 0])
}

fn decode<'a>(kind: u8, r: &mut Reader<'a>) -> Result<Frame<'a>, Malformed> {
    Ok(match kind {
        kind::HELLO => Frame::Hello(Hello {
            version: r.u8()?,
            license: r.array()?,
            instance: r.array()?,
            counter: r.u64()?,
            capabilities: r.u32()?,
            mappings: r.u16()?,
            signature: r.array()?,
        }),
        kind::WELCOME => Frame::Welcome(Welcome {
            version: r.u8()?,
            session: r.array()?,
            generation: r.u64()?,
            capabilities: r.u32()?,
            resumed: r.bool()?,
            mac: r.array()?,
        }),
        kind::REJECT => {
            Frame::Reject(Reject { reason: r.reason()?, retry_millis: r.u32()?, mac: r.array()? })
        }
        kind::NONCE => Frame::Nonce(r.array()?),
        kind::ATTACH => Frame::Attach(Attach { session: r.array()?, channel: r.u64()?, mac: r.array()? }),
        kind::VISIT => {
            Frame::Visit(Visit { session: r.array()?, visit: r.u64()?, name: r.text()?, mac: r.array()? })
        }
        kind::MAP => Frame::Map(Map { index: r.u16()?, mapping: r.text()? }),
        kind::MAPPED => {
            let (index, count) = (r.u16()?, r.u16()?);
            Frame::Mapped(Mapped { index, count, trouble: r.trouble()?, public: r.address()? })
        }
        kind::OPEN => Frame::Open { first: r.u64()?, count: r.u16()? },
        kind::HEARTBEAT => Frame::Heartbeat,
        kind::GOODBYE => Frame::Goodbye { reason: r.reason()?, retry_millis: r.u32()? },
        kind::CONNECT => {
            Frame::Connect(Connect { visit: r.u64()?, mapping: r.u16()?, visitor: r.address()? })
        }
        kind::CONNECTED => Frame::Connected,
        kind::FIN => Frame::Fin,
        kind::DISCONNECT => Frame::Disconnect { visit: r.u64()?, reason: r.reason()? },
        kind::DATAGRAM => Frame::Datagram(r.rest()),
        // An empty one would be work for free.
        kind::PIECE if r.0.is_empty() => return Err(Malformed::Value),
        kind::PIECE => Frame::Piece(r.rest()),
        kind => return Err(Malformed::Type(kind)),
    })
}

/// Takes fields from the front of a body.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (field, rest) = self.0.split_at_checked(n).ok_or(Malformed::TooShort)?;
        self.0 = rest;
        Ok(field)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed::TooShort)?;
        self.0 = rest;
        Ok(*field)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Value),
        }
    }

    fn reason(&mut self) -> Result<Reason, Malformed> {
        self.u8().map(Reason::from_code)
    }

    /// 255 stands for "none": every other byte is a reason.
    fn trouble(&mut self) -> Result<Option<Reason>, Malformed> {
        self.u8().map(|code| (code != NO_TROUBLE).then(|| Reason::from_code(code)))
    }

    fn address(&mut self) -> Result<SocketAddr, Malformed> {
        let ip = match self.u8()? {
            4 => IpAddr::V4(Ipv4Addr::from(self.array::<4>()?)),
            6 => IpAddr::V6(Ipv6Addr::from(self.array::<16>()?)),
            _ => return Err(Malformed::Value),
        };
        Ok(SocketAddr::new(ip, self.u16()?))
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::from(self.u16()?);
        if length > MAPPING_BYTES_MAX {
            return Err(Malformed::TooLong);
        }
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| Malformed::Value)?;
        // It ends up on somebody's terminal.
        if text.chars().any(char::is_control) { Err(Malformed::Value) } else { Ok(text) }
    }
}

const NO_TROUBLE: u8 = 255;

/// The header of a TRANSFER frame, to be put in front of its payload.
pub fn transfer_header(payload: usize) -> [u8; HEADER_BYTES] {
    header(kind::TRANSFER, payload)
}

/// The header of a DATAGRAM frame, or of a PIECE where `more` of the datagram follows.
pub fn datagram_header(piece: usize, more: bool) -> [u8; HEADER_BYTES] {
    header(if more { kind::PIECE } else { kind::DATAGRAM }, piece)
}

fn header(kind: u8, body: usize) -> [u8; HEADER_BYTES] {
    let [.., a, b, c] = (body as u32).to_be_bytes();
    [kind, a, b, c]
}

/// One encoded control frame, on the stack.
#[derive(Clone)]
pub struct Encoded {
    bytes: [u8; CONTROL_FRAME_BYTES_MAX],
    len: usize,
}

impl Encoded {
    /// The whole frame.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The frame without the proof of `proof` bytes at its end: what the proof is over.
    pub fn unproved(&self, proof: usize) -> &[u8] {
        &self.bytes[..self.len - proof]
    }

    fn put(&mut self, field: &[u8]) -> &mut Self {
        self.bytes[self.len..self.len + field.len()].copy_from_slice(field);
        self.len += field.len();
        self
    }

    fn put_text(&mut self, text: &str) -> &mut Self {
        assert!(text.len() <= MAPPING_BYTES_MAX, "a text is longer than a frame may carry");
        self.put(&(text.len() as u16).to_be_bytes()).put(text.as_bytes())
    }

    fn put_address(&mut self, address: SocketAddr) -> &mut Self {
        match address.ip() {
            IpAddr::V4(ip) => self.put(&[4]).put(&ip.octets()),
            IpAddr::V6(ip) => self.put(&[6]).put(&ip.octets()),
        };
        self.put(&address.port().to_be_bytes())
    }
}

impl Frame<'_> {
    /// The frame's bytes; for TRANSFER the header alone.
    ///
    /// # Panics
    /// Where a mapping is longer than [`MAPPING_BYTES_MAX`], or a piece of a datagram than a control frame's body (for
    /// those there is [`datagram_header`]): whoever builds a frame keeps to the bounds.
    pub fn encode(&self) -> Encoded {
        let mut e = Encoded { bytes: [0; CONTROL_FRAME_BYTES_MAX], len: HEADER_BYTES };
        let kind = self.encode_body(&mut e);
        let body = match self {
            Frame::Transfer(length) => *length as usize,
            _ => e.len - HEADER_BYTES,
        };
        e.bytes[..HEADER_BYTES].copy_from_slice(&header(kind, body));
        e
    }

    fn encode_body(&self, e: &mut Encoded) -> u8 {
        match self {
            Frame::Hello(h) => {
                e.put(&[h.version]).put(&h.license).put(&h.instance).put(&h.counter.to_be_bytes());
                e.put(&h.capabilities.to_be_bytes()).put(&h.mappings.to_be_bytes()).put(&h.signature);
                kind::HELLO
            }
            Frame::Welcome(w) => {
                e.put(&[w.version]).put(&w.session).put(&w.generation.to_be_bytes());
                e.put(&w.capabilities.to_be_bytes()).put(&[u8::from(w.resumed)]).put(&w.mac);
                kind::WELCOME
            }
            Frame::Reject(r) => {
                e.put(&[r.reason.code()]).put(&r.retry_millis.to_be_bytes()).put(&r.mac);
                kind::REJECT
            }
            Frame::Nonce(nonce) => {
                e.put(nonce);
                kind::NONCE
            }
            Frame::Attach(a) => {
                e.put(&a.session).put(&a.channel.to_be_bytes()).put(&a.mac);
                kind::ATTACH
            }
            Frame::Visit(v) => {
                e.put(&v.session).put(&v.visit.to_be_bytes()).put_text(v.name).put(&v.mac);
                kind::VISIT
            }
            Frame::Map(m) => {
                e.put(&m.index.to_be_bytes()).put_text(m.mapping);
                kind::MAP
            }
            Frame::Mapped(m) => {
                e.put(&m.index.to_be_bytes())
                    .put(&m.count.to_be_bytes())
                    .put(&[m.trouble.map_or(NO_TROUBLE, Reason::code)])
                    .put_address(m.public);
                kind::MAPPED
            }
            Frame::Open { first, count } => {
                e.put(&first.to_be_bytes()).put(&count.to_be_bytes());
                kind::OPEN
            }
            Frame::Heartbeat => kind::HEARTBEAT,
            Frame::Goodbye { reason, retry_millis } => {
                e.put(&[reason.code()]).put(&retry_millis.to_be_bytes());
                kind::GOODBYE
            }
            Frame::Connect(c) => {
                e.put(&c.visit.to_be_bytes()).put(&c.mapping.to_be_bytes()).put_address(c.visitor);
                kind::CONNECT
            }
            Frame::Connected => kind::CONNECTED,
            Frame::Transfer(_) => kind::TRANSFER,
            Frame::Fin => kind::FIN,
            Frame::Disconnect { visit, reason } => {
                e.put(&visit.to_be_bytes()).put(&[reason.code()]);
                kind::DISCONNECT
            }
            Frame::Datagram(bytes) => {
                e.put(bytes);
                kind::DATAGRAM
            }
            Frame::Piece(bytes) => {
                e.put(bytes);
                kind::PIECE
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_prefixes_wait() {
        for (name, frame) in samples() {
            let encoded = frame.encode();
            let mut bytes = encoded.bytes().to_vec();
            assert_eq!(next(&bytes), Ok(Some((frame, bytes.len()))), "{name}");
            for cut in 0..bytes.len() {
                assert_eq!(next(&bytes[..cut]), Ok(None), "{name} cut at {cut}");
            }
            bytes.extend_from_slice(b"next");
            assert_eq!(next(&bytes), Ok(Some((frame, bytes.len() - 4))), "{name} followed by another");
        }
    }

    #[test]
    fn bodies_of_another_length_are_refused() {
        for (name, frame) in samples() {
            if matches!(frame, Frame::Transfer(_) | Frame::Datagram(_) | Frame::Piece(_)) {
                continue;
            }
            let mut longer = frame.encode().bytes().to_vec();
            longer[3] += 1;
            longer.push(0);
            assert_eq!(next(&longer), Err(Malformed::Trailing), "{name}");
            let mut shorter = frame.encode().bytes().to_vec();
            if shorter[3] > 0 {
                shorter[3] -= 1;
                assert!(next(&shorter).is_err(), "{name}");
            }
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_by_its_header() {
        assert_eq!(next(&[kind::HELLO, 0xFF, 0xFF, 0xFF]), Err(Malformed::TooLong));
        assert_eq!(next(&[kind::TRANSFER, 0, 0, 0]), Err(Malformed::Value));
        assert_eq!(next(&[0, 0, 0, 0]), Err(Malformed::Type(0)));
        assert_eq!(next(&[0x17, 0, 0, 0]), Err(Malformed::Type(0x17)));
        assert_eq!(next(&[kind::DATAGRAM, 0, 0x07, 0xFD]), Err(Malformed::TooLong));
        assert_eq!(next(&[kind::PIECE, 0, 0, 0]), Err(Malformed::Value));
        assert_eq!(next(b"GET / HTTP/1.1"), Err(Malformed::Type(b'G')));
        assert_eq!(next(&[0x16, 3, 1, 2]), Err(Malformed::TooLong), "a TLS ClientHello on the plain port");
        assert_eq!(next(&[kind::MAP, 0, 0, 5, 0, 0, 0, 1, 7]), Err(Malformed::Value), "a bell");
    }
}
