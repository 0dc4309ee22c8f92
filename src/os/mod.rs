//! The real operating system: readiness, std sockets, the clock, the resolver, signals. The only place with
//! `unsafe`, and the only one that knows which system it is: what Unix and Windows do in ways of their own stands in
//! `unix` and `windows`, under the same names.

mod attempt;
#[cfg_attr(not(feature = "server"), path = "../left_out/clerk.rs")]
mod clerk;
#[cfg_attr(not(feature = "udp"), path = "../left_out/datagrams.rs")]
mod datagrams;
#[cfg(any(target_env = "musl", test))]
mod heap;
mod log;
mod looks;
#[cfg(all(target_arch = "x86_64", any(target_env = "musl", test)))]
mod memmove;
mod memory;
#[cfg(nt_no_unwinding)]
mod no_unwinding;
mod pipes;
mod poll;
mod resolver;
mod sockets;
mod stream;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::calendar::Clock;
use crate::directory::Directory;
use crate::edit::Edit;
use crate::net::{Accept, Ends, Event, Net, reason_of};
use crate::note::{Format, Level, Note};
use crate::reason::Reason;
use crate::role::{Manner, Place, Query, Settings, Speech};
use crate::slots::Key;
use crate::time::Time;
use crate::tls::Certificates;
use clerk::{Clerk, Done};
use datagrams::Socket;
use log::Log;
use pipes::{Pipe, Pipes};
use poll::{Bell, Interest, Poll};
use resolver::Resolver;
use sockets::Pace;
use stream::Stream;
use system::{Folders, Notify, Signals, Wishes};
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub use attempt::try_port;
pub use clerk::Files;
#[cfg(any(target_env = "musl", test))]
pub use heap::Heap;
pub use looks::{clock_is_steered, resent};
pub use sockets::day_clock;
pub use system::{
    HAS_UNIX_SOCKETS, Handed, NO_SERVICE, UnixStream, clock, disk, folder_trouble, memory_bytes,
    no_core_dumps, outlive_full_files, peer_may_bind, raise_open_files, replaced_by, takes_orders, unserved,
};

/// The files that nt is told by what to do, looked at while it runs. An error is a sentence about the file.
pub trait Sources {
    /// The licenses, if they have changed since the last look.
    fn licenses(&mut self) -> Option<Result<Directory, String>> {
        None
    }

    /// The certificates, if they have changed since the last look.
    fn certificates(&mut self) -> Option<Result<Certificates, String>> {
        None
    }

    /// The settings, where there are any, that may change while nt runs; or why they cannot be taken.
    fn settings(&mut self) -> Option<Result<Settings, String>> {
        None
    }
}

/// No files at all.
impl Sources for () {}

/// Hears every note, in the place of the log.
pub type Ear = Box<dyn FnMut(&Note)>;

/// Asks a loop in another thread to stop, as SIGTERM does.
#[derive(Clone)]
pub struct Stopper {
    asked: Arc<AtomicBool>,
    bell: Bell,
}

impl Stopper {
    /// Asks.
    pub fn stop(&self) {
        self.asked.store(true, Ordering::Release);
        self.bell.ring();
    }
}

/// The operating system that nt runs on.
pub struct Os {
    poll: Poll,
    pipes: Pipes,
    pace: Pace,
    folders: Folders,
    resolver: Resolver,
    signals: Signals,
    sources: Box<dyn Sources>,
    clerk: Clerk,
    log: Log,
    ear: Option<Ear>,
    notify: Notify,
    handed: Handed,
    /// Somebody with a [`Stopper`] asked.
    asked: Arc<AtomicBool>,
}

/// The signal pipe's token: no slot has it.
const SIGNALS: usize = usize::MAX - 1;

impl Os {
    /// A handle on the operating system, with signals taken over.
    ///
    /// # Errors
    /// The poller or the signals cannot be had.
    pub fn new(level: Level, format: Format, sources: Box<dyn Sources>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let signals = Signals::new(&poll, SIGNALS)?;
        let (pipes, resolver, log) =
            (Pipes::new(memory_bytes()), Resolver::default(), Log::new(level, format));
        Ok(Self {
            poll,
            pipes,
            pace: Pace::of_system(),
            folders: Folders::default(),
            resolver,
            signals,
            sources,
            clerk: Clerk::default(),
            log,
            ear: None,
            notify: Notify::of_system(),
            handed: Handed::default(),
            asked: Arc::default(),
        })
    }

    /// The same with listeners that are there already.
    #[must_use]
    pub fn with_handed(self, handed: Handed) -> Self {
        Self { handed, ..self }
    }

    /// The same with somebody who hears what the log would.
    #[must_use]
    pub fn with_ear(self, ear: Ear) -> Self {
        Self { ear: Some(ear), ..self }
    }

    /// What another thread can have the loop stop by.
    pub fn stopper(&self) -> Stopper {
        Stopper { asked: Arc::clone(&self.asked), bell: self.poll.bell() }
    }

    /// The same with files that can be changed.
    #[must_use]
    pub fn with_files(self, files: Box<dyn Files>) -> Self {
        Self { clerk: Clerk::new(files), ..self }
    }
}

fn blocked<T>(result: &io::Result<T>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

impl Net for Os {
    type Stream = Stream;
    type Listener = TcpListener;
    type Pipe = Pipe;
    type Socket = Socket;

    fn now(&mut self) -> Time {
        clock()
    }

    fn wait(&mut self, until: Time, events: &mut Vec<Event>) {
        let now = clock();
        let until = self.notify.turns(now, until);
        let timeout = (until < Time::NEVER).then(|| until.since(now));
        let mut signalled = None;
        let waited = self.poll.wait(timeout, |ready| {
            if ready.token == SIGNALS {
                signalled = Some(SIGNALS);
            } else {
                events.push(Event::Ready(ready));
            }
        });
        match waited {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                self.log.note(now, &Note::Plain(Level::Error, format!("waiting for events failed: {error}")))
            }
            Ok(()) | Err(_) => {}
        }
        let Wishes { stop, reload } = self.signals.taken(&self.poll, signalled);
        if reload {
            events.push(Event::Reload);
        }
        if stop {
            self.notify.stopping();
            events.push(Event::Stop);
        }
        if self.asked.load(Ordering::Acquire) && self.asked.swap(false, Ordering::Acquire) {
            events.push(Event::Stop);
        }
        while let Some((role, query, addresses)) = self.resolver.answer() {
            events.push(Event::Resolved(role, query, addresses));
        }
        while let Some(done) = self.clerk.done() {
            match done {
                Done::NotKept(why) => self.log.note(now, &Note::CountersNotKept(why)),
                Done::PutBack(role, result) => events.push(Event::PutBack(role, result)),
                Done::Edited(role, key, result) => events.push(Event::Edited(role, key, result)),
            }
        }
    }

    fn listen(
        &mut self,
        key: Key,
        address: SocketAddr,
        speech: Speech,
    ) -> Result<(TcpListener, SocketAddr), Reason> {
        let listener = match self.handed.find(address) {
            Some(handed) => sockets::adopt(handed, speech),
            None => sockets::listen(address, speech),
        };
        let listener = listener.map_err(|error| reason_of(&error))?;
        let address = listener.local_addr().map_err(|error| reason_of(&error))?;
        self.poll.add(&listener, key.token(), Interest::Read).map_err(|error| reason_of(&error))?;
        Ok((listener, address))
    }

    fn listen_unix(&mut self, key: Key, path: &str) -> Result<TcpListener, Reason> {
        let listener = system::listen(path)?;
        self.poll.add(&listener, key.token(), Interest::Read).map_err(|error| reason_of(&error))?;
        Ok(listener)
    }

    fn accept(&mut self, key: Key, listener: &mut TcpListener) -> Accept<Stream> {
        let result = sockets::accept(listener, self.pace);
        if blocked(&result) {
            self.poll.rearm(&*listener, key.token(), Interest::Read);
        }
        match result {
            Ok((stream, peer)) => Accept::Came(stream, peer),
            Err(error) => sockets::accept_failed(&error),
        }
    }

    fn came_to(&mut self, stream: &Stream) -> Option<SocketAddr> {
        stream.came_to()
    }

    fn watch(&mut self, key: Key, stream: &Stream) -> Result<(), Reason> {
        self.poll.add(stream.socket(), key.token(), Interest::Both).map_err(|error| reason_of(&error))
    }

    fn dial(&mut self, key: Key, place: &Place, speech: Speech, speaks: bool) -> Result<Stream, Reason> {
        let stream = match place {
            Place::Ip(address) => {
                sockets::dial(*address, speech, speaks, self.pace).map_err(|error| reason_of(&error))?
            }
            Place::Unix(path) => system::dial(path)?,
            Place::Files(path, auth) => self.folders.dial(path, auth.as_ref())?,
            Place::Udp(_) => return Err(Reason::System),
        };
        self.watch(key, &stream)?;
        Ok(stream)
    }

    fn dialed(&mut self, key: Key, stream: &mut Stream) -> io::Result<()> {
        let result = stream.dialed();
        if blocked(&result) {
            self.poll.rearm(stream.socket(), key.token(), Interest::Both);
        }
        result
    }

    fn read(&mut self, key: Key, stream: &mut Stream, into: &mut [u8]) -> io::Result<usize> {
        let result = stream.read(into);
        if blocked(&result) {
            self.poll.rearm(stream.socket(), key.token(), Interest::Read);
        }
        result
    }

    fn write(&mut self, key: Key, stream: &mut Stream, from: &[u8], more: bool) -> io::Result<usize> {
        let result = stream.write(from, more);
        if blocked(&result) || matches!(result, Ok(n) if n < from.len()) {
            self.poll.rearm(stream.socket(), key.token(), Interest::Write);
        }
        result
    }

    fn lend_pipe(&mut self) -> Option<Pipe> {
        self.pipes.lend()
    }

    fn take_pipe(&mut self, pipe: Pipe, empty: bool) {
        self.pipes.take(pipe, empty);
    }

    fn splice_in(&mut self, _: Key, stream: &mut Stream, pipe: &mut Pipe, most: usize) -> io::Result<usize> {
        pipes::splice_in(stream, pipe, most)
    }

    fn splice_out(&mut self, _: Key, pipe: &mut Pipe, stream: &mut Stream, most: usize) -> io::Result<usize> {
        pipes::splice_out(pipe, stream, most)
    }

    fn listen_udp(&mut self, key: Key, address: SocketAddr) -> Result<(Socket, SocketAddr), Reason> {
        let open = || {
            let socket = Socket::listen(address)?;
            self.poll.add(socket.handle(), key.token(), Interest::Read)?;
            let address = socket.address()?;
            Ok((socket, address))
        };
        open().map_err(|error: io::Error| reason_of(&error))
    }

    fn dial_udp(&mut self, key: Key, address: SocketAddr) -> Result<Socket, Reason> {
        let open = || {
            let socket = Socket::dial(address)?;
            self.poll.add(socket.handle(), key.token(), Interest::Read)?;
            Ok(socket)
        };
        open().map_err(|error: io::Error| reason_of(&error))
    }

    fn receive(
        &mut self,
        key: Key,
        socket: &mut Socket,
        into: &mut [u8],
    ) -> io::Result<(usize, Option<Ends>)> {
        let result = socket.receive(into);
        // More may stand behind what could not be taken, and whoever asks gives up after some of that.
        if result.is_err() {
            self.poll.rearm(socket.handle(), key.token(), Interest::Read);
        }
        result
    }

    fn send(&mut self, _key: Key, socket: &mut Socket, to: Option<Ends>, datagrams: &[&[u8]]) -> usize {
        socket.send(to, datagrams)
    }

    fn close_socket(&mut self, _key: Key, socket: Socket) {
        self.poll.forget(socket.handle());
    }

    fn forget(&mut self, bytes: &mut [u8]) {
        memory::forget(bytes);
    }

    fn shut(&mut self, stream: &mut Stream) {
        stream.shut();
    }

    fn close(&mut self, _key: Key, stream: Stream, manner: Manner) {
        self.poll.forget(stream.socket());
        stream.close(manner);
    }

    fn close_listener(&mut self, _key: Key, listener: TcpListener) {
        self.poll.forget(&listener);
    }

    fn resolve(&mut self, role: usize, query: Query, host: &str, port: u16) {
        self.resolver.ask(role, query, host, port, self.poll.bell());
    }

    fn poll_certificates(&mut self) -> Option<Result<Certificates, String>> {
        self.sources.certificates()
    }

    fn clock(&mut self) -> Clock {
        day_clock()
    }

    fn keep_counters(&mut self, text: String) {
        self.clerk.keep(text, &self.poll.bell());
    }

    fn edit(&mut self, role: usize, key: Key, edit: Edit) {
        self.clerk.edit(role, key, edit, &self.poll.bell());
    }

    fn put_back(&mut self, role: usize, directory: Directory) {
        self.clerk.put_back(role, directory, &self.poll.bell());
    }

    fn try_port(&mut self, address: SocketAddr, udp: bool) -> Result<(), Reason> {
        try_port(address, udp)
    }

    fn read_settings(&mut self) -> Option<Result<Settings, String>> {
        self.sources.settings()
    }

    fn poll_licenses(&mut self) -> Option<Result<Directory, String>> {
        self.sources.licenses()
    }

    fn note(&mut self, now: Time, note: &Note) {
        // Not a matter of the log and its level.
        self.notify.note(note);
        match &mut self.ear {
            Some(ear) => ear(note),
            None => self.log.note(now, note),
        }
    }

    fn started(&mut self, well: bool) {
        if well {
            self.notify.ready();
        }
    }
}
