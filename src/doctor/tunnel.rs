//! A tunnel connection of a program that waits: TCP, through a proxy where there is one, TLS, and frames, one after
//! the other, each within its time. TLS and frames are those of a client; only the loop is not.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::arena::{Arena, Window};
use crate::entropy::Entropy;
use crate::license::plain_binding;
use crate::limits::{BUFFERS_PER_TUNNEL, CONNECT_TIMEOUT, FOREIGN_WORDS_SHOWN, RESOLVE_TIMEOUT};
use crate::os::clock;
use crate::reason::Reason;
use crate::time::{Span, Time};
use crate::tls::{Progress, Security, Tls};
use crate::via::{Handshake, Step};
use crate::wire::{self, Frame, Malformed};

/// Why a connection is of no use.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing came in time.
    Silent,
    /// The other end hung up.
    Closed,
    /// TLS came to nothing.
    Tls(Reason),
    /// The proxy did not help.
    Proxy(Reason),
    /// What came is no frame.
    Frame(Malformed),
    /// The system refused.
    System(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Silent,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::System(error),
        }
    }
}

/// Why a name leads nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotFound {
    /// There is no such name, or it has no address.
    Name,
    /// Nobody could be asked.
    Resolver(String),
    /// The answer did not come in time.
    Silent,
}

/// A length of time, as std has it; at least a microsecond, because 0 would be for ever.
pub(crate) fn duration(span: Span) -> Duration {
    Duration::from_micros(span.as_micros().max(1))
}

/// The addresses of a host, each once.
pub(super) fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, NotFound> {
    let (answer, answered) = channel();
    let name = host.to_owned();
    // `getaddrinfo` takes as long as it likes.
    let ask = move || {
        // It fails only where nobody waits any more.
        let _ = answer.send((name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    };
    let asked = thread::Builder::new().name("resolver".into()).spawn(ask);
    asked.map_err(|error| NotFound::Resolver(error.to_string()))?;
    match answered.recv_timeout(duration(RESOLVE_TIMEOUT)) {
        Ok(Ok(mut addresses)) => {
            addresses.sort_unstable();
            addresses.dedup();
            if addresses.is_empty() { Err(NotFound::Name) } else { Ok(addresses) }
        }
        Ok(Err(error)) => Err(blame(&error.to_string())),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(NotFound::Silent),
    }
}

/// The system's resolver has no codes in std, only words: EAI_AGAIN and EAI_SYSTEM as glibc, musl and others say them.
fn blame(words: &str) -> NotFound {
    let trouble = ["emporary failure", "ry again", "System error", "non-recoverable", "Unrecoverable"];
    match trouble.iter().any(|word| words.contains(word)) {
        true => NotFound::Resolver(words.rsplit(": ").next().unwrap_or(words).to_owned()),
        false => NotFound::Name,
    }
}

/// Connects, and says how long that took.
pub(super) fn connect(address: SocketAddr, patience: Span) -> io::Result<(TcpStream, Span)> {
    let begun = clock();
    let stream = TcpStream::connect_timeout(&address, duration(patience))?;
    let took = clock().since(begun);
    // A connection that refuses it works as well.
    let _ = stream.set_nodelay(true);
    Ok((stream, took))
}

/// A connection to a tunnel port.
pub(super) struct Tunnel {
    stream: TcpStream,
    tls: Option<Tls>,
    arena: Arena,
    rx: Window,
    tx: Window,
    /// The first bytes that came, for whoever asks what speaks there.
    heard: Vec<u8>,
    until: Time,
}

impl Tunnel {
    /// Takes a connection that is made.
    pub(super) fn new(stream: TcpStream) -> Self {
        let mut arena = Arena::new(BUFFERS_PER_TUNNEL);
        assert!(arena.reserve(BUFFERS_PER_TUNNEL), "an arena has the buffers that it was made with");
        let (rx, tx) = <(Window, Window)>::default();
        Self { stream, tls: None, arena, rx, tx, heard: Vec::new(), until: Time::NEVER }
    }

    /// Has the proxy that answers here connect to the server.
    pub(super) fn pass(&mut self, mut via: Handshake) -> Result<(), Failure> {
        self.until = clock() + CONNECT_TIMEOUT;
        let greeting = via.greeting();
        self.push(&greeting)?;
        loop {
            self.flush()?;
            match via.hear(self.rx.bytes()).map_err(Failure::Proxy)? {
                Step::Done(used) => {
                    self.rx.consume(used, &mut self.arena);
                    // The server says nothing before it is spoken to.
                    self.heard.clear();
                    return if self.rx.is_empty() { Ok(()) } else { Err(Failure::Proxy(Reason::NoProxy)) };
                }
                Step::Say(used, said) => {
                    self.rx.consume(used, &mut self.arena);
                    self.push(&said)?;
                }
                Step::Wait => self.read()?,
            }
        }
    }

    /// Speaks TLS from here on; what both ends of this connection share.
    pub(super) fn secure(&mut self, security: &Security) -> Result<[u8; 32], Failure> {
        self.until = clock() + CONNECT_TIMEOUT;
        self.tls = Some(security.connect().map_err(Failure::Tls)?);
        loop {
            match self.advance()? {
                Progress::Made => {}
                Progress::Closed => return Err(Failure::Closed),
                Progress::Need => match self.tls.as_mut().and_then(Tls::binding) {
                    Some(binding) => return Ok(binding),
                    None => self.read()?,
                },
            }
        }
    }

    /// Exchanges nonces, on the unencrypted port; what both ends of this connection share.
    pub(super) fn exchange_nonces(&mut self, entropy: &mut Entropy) -> Result<[u8; 32], Failure> {
        self.until = clock() + CONNECT_TIMEOUT;
        let mut ours = [0; 32];
        entropy.fill(&mut ours);
        self.send(&Frame::Nonce(ours))?;
        self.hear(|frame| match frame {
            Frame::Nonce(theirs) => Some(plain_binding(&ours, theirs)),
            _ => None,
        })
    }

    /// Sends a frame.
    pub(super) fn send(&mut self, frame: &Frame<'_>) -> Result<(), Failure> {
        let frame = frame.encode();
        match &mut self.tls {
            Some(tls) => tls.seal(frame.bytes(), &mut self.tx, &mut self.arena).map_err(Failure::Tls)?,
            None => self.push(frame.bytes())?,
        }
        self.flush()
    }

    /// The next frame, as `take` has it; another than it takes is a fault.
    pub(super) fn hear<T>(&mut self, take: impl Fn(&Frame<'_>) -> Option<T>) -> Result<T, Failure> {
        self.until = clock() + CONNECT_TIMEOUT;
        loop {
            if let Some((frame, used)) = wire::next(self.rx.bytes()).map_err(Failure::Frame)? {
                let taken = take(&frame).ok_or(Failure::Frame(Malformed::Value));
                self.rx.consume(used, &mut self.arena);
                return taken;
            }
            match if self.tls.is_some() { self.advance()? } else { Progress::Need } {
                Progress::Made => {}
                Progress::Closed => return Err(Failure::Closed),
                Progress::Need => self.read()?,
            }
        }
    }

    /// Ends it in good order, as far as that still can be.
    pub(super) fn close(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close(&mut self.tx, &mut self.arena);
        }
        let _ = self.flush();
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// What the other end said first.
    pub(super) fn heard(&self) -> &[u8] {
        &self.heard
    }

    /// A step of TLS, and what it has to say is said, even where it is the last.
    fn advance(&mut self) -> Result<Progress, Failure> {
        let Some(tls) = &mut self.tls else { return Ok(Progress::Need) };
        let step = tls.process(&mut self.rx, &mut self.tx, &mut self.arena);
        let flushed = self.flush();
        let progress = step.map_err(Failure::Tls)?;
        flushed.map(|()| progress)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self.tx.push(bytes, &mut self.arena) {
            true => Ok(()),
            false => Err(Failure::System(ErrorKind::OutOfMemory.into())),
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if !self.tx.is_empty() {
            self.stream.set_write_timeout(Some(duration(self.left()?)))?;
            self.stream.write_all(self.tx.bytes())?;
            self.tx.clear(&mut self.arena);
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), Failure> {
        self.stream.set_read_timeout(Some(duration(self.left()?)))?;
        let window = match &mut self.tls {
            Some(tls) => tls.cipher(),
            None => &mut self.rx,
        };
        let space = window.space(&mut self.arena);
        if space.is_empty() {
            return Err(Failure::Frame(Malformed::TooLong));
        }
        let count = loop {
            match self.stream.read(space) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        let more = FOREIGN_WORDS_SHOWN.saturating_sub(self.heard.len()).min(count);
        self.heard.extend_from_slice(&space[..more]);
        window.filled(count);
        if count == 0 { Err(Failure::Closed) } else { Ok(()) }
    }

    /// The time that is left of the present step's.
    fn left(&self) -> Result<Span, Failure> {
        let left = self.until.since(clock());
        if left == Span::ZERO { Err(Failure::Silent) } else { Ok(left) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_that_is_away_is_told_from_a_name_that_is_not() {
        let failed = |words: &str| blame(&format!("failed to lookup address information: {words}"));
        for words in
            ["Name or service not known", "Name does not resolve", "No address associated with hostname"]
        {
            assert_eq!(failed(words), NotFound::Name, "{words}");
        }
        for words in ["Temporary failure in name resolution", "Try again", "System error"] {
            assert_eq!(failed(words), NotFound::Resolver(words.to_owned()));
        }
    }

    #[test]
    fn an_address_is_found_without_being_asked_for() {
        assert_eq!(resolve("127.0.0.1", 7), Ok(vec!["127.0.0.1:7".parse().unwrap()]));
        assert_eq!(resolve("::1", 7), Ok(vec!["[::1]:7".parse().unwrap()]));
    }
}
