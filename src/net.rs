//! Everything that the driver may ask of an operating system. `os` answers with a real one, `tests/sim`
//! with a made-up one; the driver and the relay above are the same.
//!
//! **Readiness is told once**: [`Ready`] says that a direction may have become ready, and is not repeated
//! until a call has found it dry. It may be told without need. So whoever is told keeps the fact, and asks
//! until the answer is no: [`WouldBlock`](io::ErrorKind::WouldBlock), a write that took less than it was
//! given, or a read that brought less than it had room for, unless [`Ready::ended`] was told.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::calendar::Clock;
use crate::directory::Directory;
use crate::edit::{Edit, Edited, NotEdited};
use crate::note::Note;
use crate::reason::Reason;
use crate::role::{Manner, Place, Query, Settings, Speech};
use crate::slots::Key;
use crate::time::Time;
use crate::tls::Certificates;

/// What [`Net::wait`] woke up for.
#[derive(Debug)]
pub enum Event {
    /// Readiness of the connection or listener with this token (see [`Key::token`]).
    Ready(Ready),
    /// The resolver's answer to the role with this number.
    Resolved(usize, Query, Vec<SocketAddr>),
    /// What came of a change of the licenses, for a connection of the role with this number.
    Edited(usize, Key, Result<Box<Edited>, NotEdited>),
    /// What came of writing the licenses of before, for the role with this number.
    PutBack(usize, Result<(), String>),
    /// The operator wants the settings read again.
    Reload,
    /// The operator asks to stop.
    Stop,
}

/// Directions that may have become ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Whose.
    pub token: usize,
    /// A read, or an accept.
    pub read: bool,
    /// A write, or the end of a connect.
    pub write: bool,
    /// The peer's end may stand behind what can be read: only a read that finds it knows.
    pub ended: bool,
    /// The connection has failed; reading or writing will say how.
    pub failed: bool,
}

/// An answer of [`Net::accept`].
#[derive(Debug)]
pub enum Accept<S> {
    /// A connection and its far end.
    Came(S, SocketAddr),
    /// One that went again, or a hiccup: ask once more.
    Again,
    /// None is waiting.
    Empty,
    /// The system has no files or memory left: rest before asking again.
    Exhausted(Reason),
}

/// The two ends of a flow that shares its socket with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ends {
    /// The visitor.
    pub peer: SocketAddr,
    /// Which address of this machine it wrote to; `None` where the socket has but one, or the system does not say.
    pub local: Option<IpAddr>,
}

/// An operating system.
pub trait Net {
    /// A connected, or connecting, stream socket.
    type Stream;
    /// A listening socket.
    type Listener;
    /// A pipe in the kernel, through which payload passes without being copied.
    type Pipe;
    /// A socket for datagrams.
    type Socket;

    /// The present time.
    fn now(&mut self) -> Time;

    /// Sleeps until something happens or `until` comes, and adds what happened to `events`.
    fn wait(&mut self, until: Time, events: &mut Vec<Event>);

    /// Listens. With the unspecified IPv6 address on every address of both families.
    ///
    /// # Errors
    /// A reason that a person can act on.
    fn listen(
        &mut self,
        key: Key,
        address: SocketAddr,
        speech: Speech,
    ) -> Result<(Self::Listener, SocketAddr), Reason>;

    /// Listens at a path of the file system.
    ///
    /// # Errors
    /// A reason that a person can act on.
    fn listen_unix(&mut self, _key: Key, _path: &str) -> Result<Self::Listener, Reason> {
        Err(Reason::NotServed)
    }

    /// Takes a connection that came in; it is not watched before [`Self::watch`].
    fn accept(&mut self, key: Key, listener: &mut Self::Listener) -> Accept<Self::Stream>;

    /// The address that an accepted connection came to; `None` where the system does not say.
    fn came_to(&mut self, _stream: &Self::Stream) -> Option<SocketAddr> {
        None
    }

    /// Begins to tell the readiness of an accepted connection.
    ///
    /// # Errors
    /// The system's memory for it is used up.
    fn watch(&mut self, key: Key, stream: &Self::Stream) -> Result<(), Reason>;

    /// Begins to connect; readiness to write is told when it is decided. With `speaks` the first bytes follow at
    /// once, and may share a segment with the handshake's last.
    ///
    /// # Errors
    /// A reason, where it fails at once.
    fn dial(&mut self, key: Key, place: &Place, speech: Speech, speaks: bool)
    -> Result<Self::Stream, Reason>;

    /// Whether a connect has succeeded; `WouldBlock` while it is under way.
    ///
    /// # Errors
    /// What the system says.
    fn dialed(&mut self, key: Key, stream: &mut Self::Stream) -> io::Result<()>;

    /// Reads; 0 is the end.
    ///
    /// # Errors
    /// What the system says.
    fn read(&mut self, key: Key, stream: &mut Self::Stream, into: &mut [u8]) -> io::Result<usize>;

    /// Writes. With `more` it may wait for what follows at once, to leave together with it.
    ///
    /// # Errors
    /// What the system says.
    fn write(&mut self, key: Key, stream: &mut Self::Stream, from: &[u8], more: bool) -> io::Result<usize>;

    /// Lends an empty pipe; `None` where there is none to be had, and payload must be copied: everywhere, where
    /// this and the next three are left as they are.
    fn lend_pipe(&mut self) -> Option<Self::Pipe> {
        None
    }

    /// Takes a pipe back, which may still hold bytes.
    fn take_pipe(&mut self, _pipe: Self::Pipe, _empty: bool) {}

    /// Moves what a connection has to say into an empty pipe; 0 is the end. Only `WouldBlock` means dry.
    ///
    /// # Errors
    /// What the system says.
    fn splice_in(
        &mut self,
        _key: Key,
        _stream: &mut Self::Stream,
        _pipe: &mut Self::Pipe,
        _most: usize,
    ) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Moves `most` bytes, or fewer, out of a pipe. Only `WouldBlock` means dry.
    ///
    /// # Errors
    /// What the system says.
    fn splice_out(
        &mut self,
        _key: Key,
        _pipe: &mut Self::Pipe,
        _stream: &mut Self::Stream,
        _most: usize,
    ) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Takes datagrams. With the unspecified IPv6 address at every address of both families. A system without datagrams
    /// leaves this and the next four as they are.
    ///
    /// # Errors
    /// A reason that a person can act on.
    fn listen_udp(&mut self, _key: Key, _address: SocketAddr) -> Result<(Self::Socket, SocketAddr), Reason> {
        Err(Reason::NotServed)
    }

    /// A socket of its own, for datagrams from and to one address.
    ///
    /// # Errors
    /// A reason, where there is none to be had.
    fn dial_udp(&mut self, _key: Key, _address: SocketAddr) -> Result<Self::Socket, Reason> {
        Err(Reason::NotServed)
    }

    /// Takes one datagram, with who sent it where that is not known. `into` holds any.
    ///
    /// # Errors
    /// What the system says; other news than `WouldBlock` is about a datagram that was sent before.
    fn receive(
        &mut self,
        _key: Key,
        _socket: &mut Self::Socket,
        _into: &mut [u8],
    ) -> io::Result<(usize, Option<Ends>)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Sends datagrams, each whole or not at all; `to` whom where the socket has not one peer alone. They are of one
    /// length, but the last may be shorter. How many were sent.
    fn send(
        &mut self,
        _key: Key,
        _socket: &mut Self::Socket,
        _to: Option<Ends>,
        _datagrams: &[&[u8]],
    ) -> usize {
        0
    }

    /// Stops watching and closes.
    fn close_socket(&mut self, _key: Key, _socket: Self::Socket) {}

    /// Whole pages of these bytes may go back to the system: what stands in them is not needed any more.
    fn forget(&mut self, _bytes: &mut [u8]) {}

    /// Ends the direction towards the peer.
    fn shut(&mut self, stream: &mut Self::Stream);

    /// Stops watching and closes.
    fn close(&mut self, key: Key, stream: Self::Stream, manner: Manner);

    /// Stops watching and closes.
    fn close_listener(&mut self, key: Key, listener: Self::Listener);

    /// Looks a name up, and tells the role with this number.
    fn resolve(&mut self, role: usize, query: Query, host: &str, port: u16);

    /// The clock of the day.
    fn clock(&mut self) -> Clock {
        Clock::default()
    }

    /// Keeps what was counted, without waiting for a disk. Whoever cannot says so to the operator.
    fn keep_counters(&mut self, _text: String) {}

    /// Changes the licenses, without waiting for a disk: [`Event::Edited`] tells what came of it.
    fn edit(&mut self, _role: usize, _key: Key, _edit: Edit) {}

    /// Writes these licenses in the place of those in the file, without waiting for a disk: [`Event::PutBack`] tells
    /// what came of it.
    fn put_back(&mut self, _role: usize, _directory: Directory) {}

    /// The settings, read again; `None` where there is nothing to read.
    /// Whether visitors could be served at this address, over UDP or over TCP.
    ///
    /// # Errors
    /// Why not.
    fn try_port(&mut self, _address: SocketAddr, _udp: bool) -> Result<(), Reason> {
        Ok(())
    }

    fn read_settings(&mut self) -> Option<Result<Settings, String>> {
        None
    }

    /// The license file, if it has changed since the last look.
    fn poll_licenses(&mut self) -> Option<Result<Directory, String>>;

    /// The certificates for visitors, if they have changed since the last look.
    fn poll_certificates(&mut self) -> Option<Result<Certificates, String>> {
        None
    }

    /// Says something to the operator. Never waits for whoever should read it.
    fn note(&mut self, now: Time, note: &Note);

    /// The roles have started, and all that they listened on is open; unless it is not `well`, and the program ends.
    fn started(&mut self, _well: bool) {}
}

/// Why a system call failed, as a person is told.
pub fn reason_of(error: &io::Error) -> Reason {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => Reason::Refused,
        Kind::ConnectionReset | Kind::BrokenPipe | Kind::ConnectionAborted | Kind::NotConnected => {
            Reason::Reset
        }
        Kind::TimedOut => Reason::TimedOut,
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => Reason::Unreachable,
        Kind::AddrInUse => Reason::InUse,
        Kind::AddrNotAvailable => Reason::NoSuchAddress,
        Kind::PermissionDenied => Reason::NoPrivilege,
        _ => Reason::System,
    }
}
