//! A connection as the driver keeps it: a socket, TLS perhaps, bytes that came and bytes that go.
//!
//! What goes leaves in this order: the spliced payload that is under way, with its header; then `tx`.

use std::io;

use crate::arena::{Arena, Buf, Window};
use crate::http::Exchange;
use crate::limits::{
    ANNOUNCE_BYTES_MAX, BUFFERS_PER_HTTP, BUFFERS_PER_LOCAL, BUFFERS_PER_RAW, BUFFERS_PER_TUNNEL,
    GREETING_BYTES_MAX, HEADER_BYTES, PAYLOAD_BYTES_MAX,
};
use crate::net::{Net, reason_of};
use crate::proxy_protocol::{self, Announced};
use crate::reason::Reason;
use crate::role::Speech;
use crate::slots::Key;
use crate::tls::{Progress, Tls};
use crate::via::{Handshake, Step};

/// One connection.
pub struct Link<N: Net> {
    /// The socket.
    pub stream: N::Stream,
    /// Whose it is.
    role: u8,
    /// What is spoken on it.
    pub speech: Speech,
    /// How far it is.
    pub phase: Phase,
    /// TLS, if it is spoken.
    pub tls: Option<Box<Tls>>,
    /// Plaintext that came and has not been handled.
    pub rx: Window,
    /// Bytes that have not left yet.
    pub tx: Window,
    /// Payload in a pipe, which leaves before `tx`.
    pub spliced: Option<Box<Spliced<N::Pipe>>>,
    /// The last payload was large: the next is spliced, if it can be. Never over TLS.
    pub bulk: bool,
    /// What stands in `tx` waits for what follows, but not for long.
    pub corked: bool,
    /// When it is closed, its peer has the last word.
    pub patient: bool,
    /// The socket may have something to read.
    pub readable: bool,
    /// The socket may take bytes.
    pub writable: bool,
    /// The peer's end may stand behind what can be read.
    pub ending: bool,
    /// The connection has failed; what came before may still stand to be read.
    pub failed: bool,
    /// The peer's direction.
    pub incoming: Incoming,
    /// The other side, for a connection that is joined.
    pub peer: Option<Key>,
    /// ProxyChannel: where payload goes.
    pub payload: Payload,
    /// ProxyChannel: bytes of the present TRANSFER that are still to come.
    pub transfer_left: u32,
    /// Visitor: what it said first, until the far end has answered.
    pub held: Held,
    /// Visitor who speaks HTTP: what is under way.
    pub exchange: Option<Box<Exchange>>,
    /// The direction to the peer is to end as soon as the connection is up, and what was sent has left.
    pub shut_when_sent: bool,
    /// Visitor: what counts what it says and is told …
    pub meter: Option<Key>,
    /// … and holds it back, each way by itself (see [`Way`](crate::meter::Way)).
    pub held_back: [bool; 2],
    /// The role wants to know when everything has left.
    pub tell_drained: bool,
    /// It stands in the run queue.
    pub queued: bool,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// TCP connect under way.
    Connecting,
    /// A proxy is asked to connect.
    Asking,
    /// TLS handshake under way.
    Securing,
    /// Accepted from a visitor, whose ClientHello is awaited.
    Greeting,
    /// Accepted from a front, whose PROXY header is awaited.
    Announcing,
    /// Up.
    Up,
    /// Closed by its role; what was sent still leaves.
    Lingering,
    /// All has left, and our end is told; what the peer still says is thrown away until its own.
    Leaving,
}

/// The direction from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// Open.
    Open,
    /// Ended, and the role knows.
    Ended,
}

/// Where the payload of a ProxyChannel goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// None may come.
    Refused,
    /// It waits for a join.
    Awaited,
    /// To the peer.
    Passed,
    /// To the role.
    Told,
    /// Nowhere: so many bytes may still be thrown away.
    Drained(u32),
}

/// What a visitor said before the far end answered.
#[derive(Debug)]
pub enum Held {
    /// Nothing is held any more, or ever was.
    Free,
    /// Kept, and its length.
    Kept(Option<Buf>, u16),
}

impl Held {
    /// How much is held.
    pub fn len(&self) -> usize {
        match self {
            Self::Free => 0,
            Self::Kept(_, length) => usize::from(*length),
        }
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Holds these bytes behind what is held already. There must be room.
    pub fn push(&mut self, bytes: &[u8], arena: &mut Arena) {
        if matches!(self, Self::Free) {
            *self = Self::Kept(None, 0);
        }
        if let Self::Kept(buf, length) = self {
            let kept = buf.get_or_insert_with(|| arena.take()).bytes_mut();
            kept[usize::from(*length)..][..bytes.len()].copy_from_slice(bytes);
            *length += bytes.len() as u16;
        }
    }
}

/// Payload in a pipe, on its way to a connection.
#[derive(Debug)]
pub struct Spliced<P> {
    pipe: P,
    /// How much is in the pipe.
    left: usize,
    head: [u8; HEADER_BYTES],
    /// How much of the head has not left yet.
    head_left: usize,
}

impl<P> Spliced<P> {
    /// Payload of this length, under this header if it has one.
    pub fn new(pipe: P, length: usize, head: Option<[u8; HEADER_BYTES]>) -> Box<Self> {
        let head_left = head.map_or(0, |head| head.len());
        Box::new(Self { pipe, left: length, head: head.unwrap_or_default(), head_left })
    }
}

impl<N: Net> Link<N> {
    /// A connection in its first phase.
    pub fn new(stream: N::Stream, role: usize, speech: Speech, phase: Phase, tls: Option<Box<Tls>>) -> Self {
        Self {
            stream,
            role: role as u8,
            speech,
            phase,
            tls,
            rx: Window::default(),
            tx: Window::default(),
            spliced: None,
            bulk: false,
            corked: false,
            patient: false,
            readable: false,
            writable: false,
            ending: false,
            failed: false,
            incoming: Incoming::Open,
            peer: None,
            payload: Payload::Refused,
            transfer_left: 0,
            held: Held::Free,
            exchange: Exchange::begun_with(speech == Speech::Http),
            shut_when_sent: false,
            meter: None,
            held_back: [false; 2],
            tell_drained: false,
            queued: false,
        }
    }

    /// The role that it belongs to.
    pub fn role(&self) -> usize {
        usize::from(self.role)
    }

    /// Buffers that it has a right to.
    pub fn rights(&self) -> usize {
        rights(self.speech)
    }

    /// Whether it is a tunnel connection, which speaks in frames.
    pub fn is_framed(&self) -> bool {
        matches!(self.speech, Speech::Tls | Speech::Plain)
    }

    /// Whether all that was sent has left.
    pub fn is_flushed(&self) -> bool {
        self.spliced.is_none() && self.tx.is_empty()
    }

    /// Whether it is closed with patience: what its peer still says must not meet a closed socket, whose reset could
    /// overtake the last answer.
    pub fn is_seen_off(&self) -> bool {
        (self.patient || self.speech == Speech::Http) && self.incoming == Incoming::Open
    }

    /// Whether more of what a visitor says may be taken: what is held has room for it, and is not the head of an
    /// answer.
    pub fn may_say_more(&self) -> bool {
        let in_head = self.exchange.as_ref().is_some_and(|exchange| exchange.is_in_head());
        self.held.len() < PAYLOAD_BYTES_MAX && (!in_head || self.held.is_empty())
    }

    /// Whether something has come that was not handled yet.
    pub fn has_unread(&self) -> bool {
        !self.rx.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.has_unread())
    }

    /// Talks to a proxy; whether it has connected, so that all that follows is the server's.
    ///
    /// # Errors
    /// Why it has not.
    pub fn converse(
        &mut self,
        key: Key,
        via: &mut Handshake,
        net: &mut N,
        arena: &mut Arena,
    ) -> Result<bool, Reason> {
        loop {
            self.flush(key, net, arena)?;
            let heard = match &mut self.tls {
                Some(tls) => tls.cipher(),
                None => &mut self.rx,
            };
            match via.hear(heard.bytes())? {
                Step::Done(used) => {
                    heard.consume(used, arena);
                    return Ok(true);
                }
                Step::Say(used, said) => {
                    heard.consume(used, arena);
                    if !self.tx.push(&said, arena) {
                        return Err(Reason::NoProxy);
                    }
                    continue;
                }
                Step::Wait if !self.readable => return Ok(false),
                Step::Wait => {}
            }
            let (stream, readable) = (&mut self.stream, &mut self.readable);
            match read_once(key, net, stream, heard.space(arena), readable, self.ending)? {
                Some(0) => return Err(Reason::ProxyRefused),
                came => heard.filled(came.unwrap_or_default()),
            }
            if heard.is_empty() {
                heard.clear(arena);
            }
        }
    }

    /// Reads the PROXY header. What stands behind it is kept, as all that a visitor says first is.
    ///
    /// # Errors
    /// Why the connection failed.
    pub fn announced(
        &mut self,
        key: Key,
        net: &mut N,
        arena: &mut Arena,
    ) -> Result<Option<Announced>, Reason> {
        while self.readable {
            let Held::Kept(kept, length) = &mut self.held else { return Err(Reason::Protocol) };
            let bytes = kept.get_or_insert_with(|| arena.take()).bytes_mut();
            let space = &mut bytes[usize::from(*length)..ANNOUNCE_BYTES_MAX];
            match read_once(key, net, &mut self.stream, space, &mut self.readable, self.ending)? {
                Some(0) => return Err(Reason::NoHeader),
                came => *length += came.unwrap_or_default() as u16,
            }
            let all = usize::from(*length);
            match proxy_protocol::parse(&bytes[..all]) {
                Ok(Some((announced, used))) => {
                    bytes.copy_within(used..all, 0);
                    *length -= used as u16;
                    return Ok(Some(announced));
                }
                Ok(None) if all < ANNOUNCE_BYTES_MAX => {}
                Ok(None) | Err(_) => return Err(Reason::NoHeader),
            }
        }
        Ok(None)
    }

    /// Brings more of what a visitor says first, which is kept whole; the end is a failure.
    ///
    /// # Errors
    /// Why the connection failed.
    pub fn gather(&mut self, key: Key, net: &mut N, arena: &mut Arena) -> Result<bool, Reason> {
        if matches!(self.held, Held::Free) {
            self.held = Held::Kept(None, 0);
        }
        let Held::Kept(kept, length) = &mut self.held else { return Ok(false) };
        let space = &mut kept.get_or_insert_with(|| arena.take()).bytes_mut()
            [usize::from(*length)..GREETING_BYTES_MAX];
        if space.is_empty() {
            return Err(Reason::Tls);
        }
        match read_once(key, net, &mut self.stream, space, &mut self.readable, self.ending)? {
            Some(0) => Err(Reason::Ended),
            came => {
                *length += came.unwrap_or_default() as u16;
                Ok(came.is_some())
            }
        }
    }

    /// Puts a header before what a visitor has said so far.
    pub fn introduce(&mut self, header: &[u8], arena: &mut Arena) {
        let (kept, length) = match std::mem::replace(&mut self.held, Held::Free) {
            Held::Free => (None, 0),
            Held::Kept(kept, length) => (kept, length),
        };
        let mut kept = kept.unwrap_or_else(|| arena.take());
        let bytes = kept.bytes_mut();
        bytes.copy_within(..usize::from(length), header.len());
        bytes[..header.len()].copy_from_slice(header);
        self.held = Held::Kept(Some(kept), length + header.len() as u16);
    }

    /// Gives all its buffers back.
    pub fn clear(&mut self, net: &mut N, arena: &mut Arena) {
        if let Some(spliced) = self.spliced.take() {
            net.take_pipe(spliced.pipe, false);
        }
        self.rx.clear(arena);
        self.tx.clear(arena);
        if let Some(tls) = &mut self.tls {
            tls.clear(arena);
        }
        self.free_held(arena);
    }

    /// Nothing need be held any more.
    pub fn free_held(&mut self, arena: &mut Arena) {
        if let Held::Kept(Some(buf), _) = std::mem::replace(&mut self.held, Held::Free) {
            arena.give(buf);
        }
    }

    /// Sends what is to be sent, as far as the socket takes it. `Ok(true)` when all has left.
    ///
    /// # Errors
    /// Why the connection failed.
    pub fn flush(&mut self, key: Key, net: &mut N, arena: &mut Arena) -> Result<bool, Reason> {
        while !self.is_flushed() {
            if !self.writable || self.corked {
                return Ok(false);
            }
            let result = match &mut self.spliced {
                Some(spliced) if spliced.head_left > 0 => {
                    let head = &spliced.head[HEADER_BYTES - spliced.head_left..];
                    net.write(key, &mut self.stream, head, true).map(|n| spliced.head_left -= n)
                }
                Some(spliced) => net
                    .splice_out(key, &mut spliced.pipe, &mut self.stream, spliced.left)
                    .map(|n| spliced.left -= n),
                None => net.write(key, &mut self.stream, self.tx.bytes(), false).map(|n| {
                    self.writable = n == self.tx.len();
                    self.tx.consume(n, arena);
                }),
            };
            match result {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(reason_of(&error)),
            }
            if let Some(spliced) = self.spliced.take_if(|spliced| spliced.left == 0) {
                net.take_pipe(spliced.pipe, true);
            }
        }
        Ok(true)
    }

    /// Queues bytes behind what stands in `tx`, encrypted where TLS is spoken.
    ///
    /// # Errors
    /// [`Reason::Busy`] where the peer does not read: the bytes do not fit.
    pub fn send(&mut self, bytes: &[u8], arena: &mut Arena) -> Result<(), Reason> {
        self.corked = false;
        let fits = match &mut self.tls {
            Some(tls) => return tls.seal(bytes, &mut self.tx, arena),
            None => self.tx.push(bytes, arena),
        };
        if fits { Ok(()) } else { Err(Reason::Busy) }
    }

    /// Brings more plaintext into `rx`.
    ///
    /// # Errors
    /// Why the connection failed.
    pub fn fill(&mut self, key: Key, net: &mut N, arena: &mut Arena) -> Result<Fill, Reason> {
        if let Some(tls) = &mut self.tls {
            match tls.process(&mut self.rx, &mut self.tx, arena)? {
                Progress::Made => return Ok(Fill::More),
                Progress::Closed => return Ok(Fill::End),
                Progress::Need => {}
            }
        }
        if !self.readable {
            return Ok(Fill::Dry);
        }
        let window = match &mut self.tls {
            Some(tls) => tls.cipher(),
            None => &mut self.rx,
        };
        // Behind a large payload no more is read than the next header, so that what follows is spliced whole.
        let ahead = self.transfer_left as usize + HEADER_BYTES;
        let bulk = self.bulk && window.is_empty();
        let space = window.space(arena);
        if space.is_empty() {
            // A frame or record that cannot fit is refused by its header; there is no other way to be full.
            return Err(Reason::Protocol);
        }
        let room = if bulk { ahead.min(space.len()) } else { space.len() };
        let (stream, readable) = (&mut self.stream, &mut self.readable);
        let result = read_once(key, net, stream, &mut space[..room], readable, self.ending);
        if let Ok(Some(n)) = result {
            window.filled(n);
        }
        if window.is_empty() {
            window.clear(arena);
        }
        Ok(match result? {
            None => Fill::Dry,
            Some(0) => Fill::End,
            // Also where no plaintext comes of it: whoever sends empty records has its turn, and no more.
            Some(_) => Fill::More,
        })
    }
}

/// Reads once: how many bytes came, 0 at the end; `None` where there are none for now.
fn read_once<N: Net>(
    key: Key,
    net: &mut N,
    stream: &mut N::Stream,
    space: &mut [u8],
    readable: &mut bool,
    ending: bool,
) -> Result<Option<usize>, Reason> {
    loop {
        match net.read(key, stream, space) {
            Ok(n) => {
                *readable = n == space.len() || ending;
                return Ok(Some(n));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                *readable = false;
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(reason_of(&error)),
        }
    }
}

/// Buffers that a connection of this speech has a right to.
pub const fn rights(speech: Speech) -> usize {
    match speech {
        Speech::Tls | Speech::Plain => BUFFERS_PER_TUNNEL,
        Speech::Raw => BUFFERS_PER_RAW,
        Speech::Local => BUFFERS_PER_LOCAL,
        Speech::Http => BUFFERS_PER_HTTP,
    }
}

/// What [`Link::fill`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Plaintext, or a step of TLS: there may be more.
    More,
    /// Nothing for now.
    Dry,
    /// The end.
    End,
}
