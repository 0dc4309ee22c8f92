//! What a role is told and what it asks for.
//!
//! A role (server, client, and the two small ones of the demo) decides everything and touches nothing: it
//! is given one [`Input`] at a time with the present time, and puts its wishes into the [`Outbox`] as a
//! closed list of verbs. The driver carries them out in order, and only then gives the next input.

use std::net::SocketAddr;
use std::ops::Range;

use crate::calendar::Clock;
use crate::directory::Directory;
use crate::door::{Door, Port};
use crate::edit::{Edit, Edited, NotEdited};
use crate::http::{Body, Request, Status};
use crate::mapping::{Auth, Mapping};
use crate::meter::{Limits, Traffic};
use crate::note::Note;
use crate::policy::Allow;
use crate::proxy_protocol::{Announced, ProxyVersion};
use crate::reason::Reason;
use crate::slots::Key;
use crate::time::Time;
use crate::via::Handshake;
use crate::wire::{Frame, transfer_header};

/// Decisions without side effects.
pub trait Role {
    /// Takes one input at `now`, and says what is to be done.
    fn step(&mut self, now: Time, input: Input<'_>, out: &mut Outbox<'_>);

    /// When [`Input::Timeout`] is due. Strictly later than `now` after a step that handled one.
    fn deadline(&self) -> Time;

    /// Panics where the role's own books do not agree with each other. For tests, which have debug assertions: a
    /// program without them would only carry it around.
    fn check(&self) {}
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// The loop begins.
    Start,
    /// [`Role::deadline`] has come. May come late or without need.
    Timeout,
    /// A listener listens, at this address.
    Bound(Key, SocketAddr),
    /// A listener could not be had; its key is dead.
    BindFailed(Key, Reason),
    /// A connection came in.
    Accepted {
        /// The listener.
        listener: Key,
        /// The new connection.
        key: Key,
        /// Its far end.
        peer: SocketAddr,
    },
    /// A visitor's front has said whom it speaks for.
    Announced(Key, Announced),
    /// A raw connection that the role dialled is up.
    Dialed(Key),
    /// A tunnel connection can carry frames; over TLS with the 32 bytes that only its two ends share.
    Secured(Key, Option<[u8; 32]>),
    /// A visitor's ClientHello has come.
    Greeted(Key, Greeting),
    /// News of a visitor who speaks HTTP.
    Talk(Key, Talk<'a>),
    /// A frame came in; with it the bytes it was decoded from.
    Frame(Key, Frame<'a>, &'a [u8]),
    /// Bytes came in on a local connection, or payload on a ProxyChannel that is listened to.
    Bytes(Key, &'a [u8]),
    /// The peer ended its direction; all its bytes were handed on before.
    Ended(Key),
    /// The connection failed or was never made; its key is dead, and so is its link to another.
    Lost(Key, Reason),
    /// A visitor's flow was quiet for too long, made room for another, or lost its port; its key is dead.
    Over(Key),
    /// All that was sent has left.
    Drained(Key),
    /// The addresses of a name, or none.
    Resolved(Query, Vec<SocketAddr>),
    /// What has passed each meter since it was last asked for, and what one that goes had counted.
    Passed(Vec<(Key, Traffic)>),
    /// A meter has reached its mark: nothing passes it before it has another.
    Spent(Key),
    /// The clock of the day, as it was when [`Verb::LookAround`] asked.
    Clock(Clock),
    /// What came of [`Verb::Edit`], for the same connection.
    Edited(Key, Result<Box<Edited>, NotEdited>),
    /// What came of [`Verb::PutBack`].
    PutBack(Result<(), String>),
    /// The operator wants what may change read again: the settings, where there are any that can change, or why they
    /// cannot be taken.
    Reload(Option<Result<Settings, String>>),
    /// The operator asks to stop; the second time at once.
    Stop,
    /// What came of [`Verb::TryPorts`]: of each port why it cannot be had, if so.
    Tried(Vec<Option<Reason>>),
    /// The license file was looked at; what it holds now if that changed, or why it cannot be read.
    Licenses(Option<Result<Directory, String>>),
}

/// Settings that may change while nt runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settings {
    /// A client's.
    Client(ClientSettings),
    /// A server's.
    Server(ServerSettings),
}

/// What of a client's settings may change while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// The mappings, ranges whole.
    pub mappings: Vec<Mapping>,
    /// Which targets the server may choose.
    pub allow: Allow,
}

/// What of a server's settings may change while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSettings {
    /// What it listens at of its own.
    pub doors: Vec<Door>,
    /// What the line to paste calls this machine, where the operator has said so.
    pub public_host: Option<String>,
}

/// What a ClientHello asks for (RFC 8446 section 4.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The server's name (RFC 6066 section 3), in lower case and without the root's dot.
    pub name: Option<String>,
    /// It offers to speak nt.
    pub speaks_nt: bool,
}

/// What a visitor who speaks HTTP has said, or its real server. An exchange begins with [`Talk::Asked`]; the next one
/// waits for its end, which is [`Talk::Answered`] or the role's own [`Verb::NextRequest`].
#[derive(Debug)]
pub enum Talk<'a> {
    /// A request has begun, and its head is not whole yet.
    Begun,
    /// The head of a request.
    Asked(&'a Request<'a>),
    /// What came is no request.
    Malformed(Status),
    /// The answer has begun.
    Answering,
    /// From here on both speak a protocol of their own.
    Switched,
    /// The answer is over; nothing may follow on this connection if `last`.
    Answered {
        /// The connection is over with it.
        last: bool,
    },
    /// The real server speaks without being asked, or its answer has no end that could be told.
    Nonsense {
        /// Some of the answer has been passed on.
        begun: bool,
    },
}

/// Tells answers of the resolver apart; the role's own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Query(pub u64);

/// How a connection is spoken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// Frames over TLS.
    Tls,
    /// Frames over plain TCP.
    Plain,
    /// Somebody else's bytes: a visitor or a real server. Not read before it is joined to a ProxyChannel.
    Raw,
    /// Bytes that the role itself reads and writes.
    Local,
    /// HTTP: a visitor who is told apart by what it asks for.
    Http,
}

/// As whom we speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ours {
    /// As the end of a tunnel.
    Tunnel,
    /// As the name that the visitor asked for; HTTP follows.
    Name,
}

/// How a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// FIN, after everything that was sent.
    End,
    /// RST: a cut must not look like an end.
    Cut,
}

/// Where a connection is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A TCP port of an address.
    Ip(SocketAddr),
    /// A Unix stream socket, by its absolute path.
    Unix(String),
    /// A UDP port of an address.
    Udp(SocketAddr),
    /// A folder that this program itself serves, by its absolute path, and what its visitors must know.
    Files(String, Option<Auth>),
}

/// A wish.
#[derive(Debug)]
pub enum Verb {
    /// Listen at an address, and accept connections of this speech.
    Listen(Key, SocketAddr, Speech),
    /// Listen at a path of the file system, and accept local connections.
    ListenUnix(Key, String),
    /// Take datagrams at an address; each visitor's are a flow, which comes as a connection does.
    ListenUdp {
        /// The port.
        key: Key,
        /// Where.
        address: SocketAddr,
        /// Ports of one group share what flows may have …
        group: Key,
        /// … and have so many of them at most; the longest quiet one makes room.
        most: usize,
    },
    /// Connect to an address; a proxy there is talked to first.
    Dial(Key, SocketAddr, Speech, Option<Box<Handshake>>),
    /// Look a name up.
    Resolve(Query, String, u16),
    /// Send bytes, framed already: a range of the outbox's own.
    Send(Key, Range<usize>),
    /// As [`Verb::Send`], but in no hurry: it may wait a moment for what follows, to leave together with it.
    SendSoon(Key, Range<usize>),
    /// Tell [`Input::Drained`] once when all that was sent has left.
    TellDrained(Key),
    /// Pass payload between a visitor and a ProxyChannel, both ways; what the visitor says is kept until
    /// [`Verb::Release`], so that a second join can repeat it.
    Join {
        /// The visitor.
        raw: Key,
        /// The ProxyChannel.
        proxy: Key,
    },
    /// Pass this head on for the one that was asked with, and its body behind it: to the ProxyChannel that the visitor
    /// is joined to, or the next one.
    Forward {
        /// The visitor.
        raw: Key,
        /// The head: a range of the outbox's own bytes.
        head: Range<usize>,
        /// It is kept until the answer begins, so that it can be said once more elsewhere.
        keep: bool,
    },
    /// The request at hand has been answered by the role itself, and had no body: the next one may come.
    NextRequest(Key),
    /// A visitor will speak TLS: [`Input::Greeted`] tells to whom.
    AwaitGreeting(Key),
    /// It will speak it with us.
    Secure(Key, Ours),
    /// It will speak it with somebody behind: all that it has said is passed on as it is.
    PassOn(Key),
    /// A visitor is a front: [`Input::Announced`] tells whom it speaks for.
    AwaitHeader(Key),
    /// Put the PROXY header before what a visitor says, as if it had said so itself.
    Introduce {
        /// The visitor's connection.
        raw: Key,
        /// How.
        version: ProxyVersion,
        /// The visitor's address.
        visitor: SocketAddr,
        /// The address it came to; `None` for that of the connection.
        came_to: Option<SocketAddr>,
    },
    /// Connect to a real server, and give the role what it answers.
    Probe(Key, Place),
    /// Connect to a real server, and pass payload between it and a ProxyChannel, both ways.
    Reach {
        /// The real server.
        raw: Key,
        /// Where it is.
        place: Place,
        /// The ProxyChannel.
        proxy: Key,
    },
    /// Payload may come on a ProxyChannel: it stays where it is until the join.
    Expect(Key),
    /// Pass this body on to a real server, and nothing behind it: [`Talk::Answered`] tells when that was all.
    Limit(Key, Body),
    /// Payload of a ProxyChannel is for the role, and no more of it for whoever it is joined to: [`Input::Bytes`] tells
    /// it, [`EXIT_BYTES_MAX`] at a time.
    ///
    /// [`EXIT_BYTES_MAX`]: crate::limits::EXIT_BYTES_MAX
    Hear(Key),
    /// The far end has answered: what was held is not needed again, and its payload may pass.
    Release(Key),
    /// End the direction towards a raw connection: FIN, after the last byte.
    Shut(Key),
    /// A ProxyChannel's visit is over; the payload that still comes is thrown away if `drain`, else a
    /// violation.
    Part(Key, bool),
    /// Close a connection, and do not let what its peer still says reset it before the last word has come there.
    SeeOff(Key),
    /// Close a connection, listener or meter.
    Close(Key, Manner),
    /// Make a meter, or change it.
    Meter {
        /// The meter.
        key: Key,
        /// What passes it.
        limits: Limits,
        /// A meter that it counts with, from the beginning on.
        within: Option<Key>,
    },
    /// What passes this visitor's connection counts with this meter.
    Measure {
        /// The visitor.
        raw: Key,
        /// The meter.
        meter: Key,
    },
    /// Tell what has passed: [`Input::Passed`].
    ReadMeters,
    /// Change the licenses, for a connection of the role's.
    Edit(Key, Box<Edit>),
    /// Write these licenses into the license file, in the place of what is there: [`Input::PutBack`].
    PutBack(Box<Directory>),
    /// Keep this text where traffic is counted over restarts.
    KeepCounters(String),
    /// Look at the clock and at the license file: [`Input::Clock`], then [`Input::Licenses`].
    LookAround,
    /// Each of these ports is opened for a moment, to see whether it could be had.
    TryPorts(Vec<Port>),
    /// The settings are read again: [`Input::Reload`].
    ReadSettings,
    /// Say something to the operator.
    Note(Note),
    /// End the program with this exit code.
    Exit(i32),
}

/// Hands out keys; the driver's table.
pub trait Keys {
    /// A new key, or `None` when no more connections can be had.
    fn reserve(&mut self) -> Option<Key>;
}

/// The wishes of one step, in order.
pub struct Outbox<'a> {
    verbs: &'a mut Vec<Verb>,
    bytes: &'a mut Vec<u8>,
    keys: &'a mut dyn Keys,
}

impl<'a> Outbox<'a> {
    /// An outbox that fills `verbs` and `bytes`.
    pub fn new(verbs: &'a mut Vec<Verb>, bytes: &'a mut Vec<u8>, keys: &'a mut dyn Keys) -> Self {
        Self { verbs, bytes, keys }
    }

    /// Listens; the answer is [`Input::Bound`] or [`Input::BindFailed`]. `None` when the table is full.
    pub fn listen(&mut self, address: SocketAddr, speech: Speech) -> Option<Key> {
        let key = self.keys.reserve()?;
        self.push(Verb::Listen(key, address, speech));
        Some(key)
    }

    /// Listens at a path; the answer is [`Input::Bound`] or [`Input::BindFailed`]. `None` when the table is full.
    pub fn listen_unix(&mut self, path: &str) -> Option<Key> {
        let key = self.keys.reserve()?;
        self.push(Verb::ListenUnix(key, path.to_owned()));
        Some(key)
    }

    /// A key for a visitor who is not there; closing it gives it back. `None` when the table is full.
    pub fn nobody(&mut self) -> Option<Key> {
        self.keys.reserve()
    }

    /// Takes datagrams; the answer is [`Input::Bound`] or [`Input::BindFailed`]. `None` when the table is full.
    pub fn listen_udp(&mut self, address: SocketAddr, group: Key, most: usize) -> Option<Key> {
        let key = self.keys.reserve()?;
        self.push(Verb::ListenUdp { key, address, group, most });
        Some(key)
    }

    /// Dials, or has the proxy at this address do so. The answer is [`Input::Dialed`], [`Input::Secured`] or
    /// [`Input::Lost`]. `None` when the table is full.
    pub fn dial(&mut self, address: SocketAddr, speech: Speech, via: Option<Handshake>) -> Option<Key> {
        let key = self.keys.reserve()?;
        self.push(Verb::Dial(key, address, speech, via.map(Box::new)));
        Some(key)
    }

    /// Dials a real server for a ProxyChannel; the answer is [`Input::Dialed`] or [`Input::Lost`]. `None` when
    /// the table is full.
    pub fn reach(&mut self, place: Place, proxy: Key) -> Option<Key> {
        let raw = self.keys.reserve()?;
        self.push(Verb::Reach { raw, place, proxy });
        Some(raw)
    }

    /// Dials a real server to see whether it is well, and to hear what it answers to the role itself. Told as
    /// [`Self::reach`]; `None` when the table is full.
    pub fn probe(&mut self, place: Place) -> Option<Key> {
        let key = self.keys.reserve()?;
        self.push(Verb::Probe(key, place));
        Some(key)
    }

    /// Makes a meter. `None` when the table is full.
    pub fn meter(&mut self, limits: Limits, within: Option<Key>) -> Option<Key> {
        let key = self.keys.reserve()?;
        self.push(Verb::Meter { key, limits, within });
        Some(key)
    }

    /// Closes a connection behind a last word that has to arrive.
    pub fn see_off(&mut self, key: Key) {
        self.push(Verb::SeeOff(key));
    }

    /// Sends a control frame.
    pub fn send(&mut self, key: Key, frame: &Frame<'_>) {
        self.send_bytes(key, frame.encode().bytes());
    }

    /// Sends a control frame together with what follows it within [`SEND_SOON`](crate::limits::SEND_SOON).
    pub fn send_soon(&mut self, key: Key, frame: &Frame<'_>) {
        let range = self.keep(frame.encode().bytes());
        self.push(Verb::SendSoon(key, range));
    }

    /// Sends payload on a ProxyChannel.
    pub fn send_payload(&mut self, key: Key, payload: &[u8]) {
        if !payload.is_empty() {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(&transfer_header(payload.len()));
            self.bytes.extend_from_slice(payload);
            let range = start..self.bytes.len();
            self.push(Verb::Send(key, range));
        }
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, key: Key, bytes: &[u8]) {
        let range = self.keep(bytes);
        self.push(Verb::Send(key, range));
    }

    /// Passes on a head that `write` composes.
    pub fn forward(&mut self, raw: Key, keep: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(self.bytes);
        let head = start..self.bytes.len();
        self.push(Verb::Forward { raw, head, keep });
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Closes a connection or listener.
    pub fn close(&mut self, key: Key, manner: Manner) {
        self.push(Verb::Close(key, manner));
    }

    /// Says something to the operator.
    pub fn note(&mut self, note: Note) {
        self.push(Verb::Note(note));
    }

    /// How many wishes there are.
    pub fn wishes(&self) -> usize {
        self.verbs.len()
    }

    /// What was said to the operator behind so many wishes.
    pub fn notes_behind(&self, wishes: usize) -> impl Iterator<Item = &Note> {
        self.verbs[wishes..].iter().filter_map(|verb| match verb {
            Verb::Note(note) => Some(note),
            _ => None,
        })
    }

    /// Any other wish.
    pub fn push(&mut self, verb: Verb) {
        self.verbs.push(verb);
    }
}
