//! The real operating system: `polling`, std sockets, the clock, the resolver, signals. The only place with
//! `unsafe`.
//!
//! Connections are watched edge by edge where the poller can (epoll, kqueue): they are registered once, and
//! no call is spent on arming them again. Elsewhere a direction is armed anew when a call on it answers
//! `WouldBlock`. Either way the driver sees the contract of [`Net`].

mod log;
mod resolver;
mod signals;
mod sockets;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use polling::{Event as PollEvent, Events, PollMode, Poller};

use crate::directory::Directory;
use crate::limits::EVENTS_PER_WAIT;
use crate::net::{Accept, Event, Net, Ready, reason_of};
use crate::note::{Level, Note};
use crate::reason::Reason;
use crate::role::{Manner, Query, Speech};
use crate::slots::Key;
use crate::time::Time;
use log::Log;
use resolver::Resolver;
use signals::Signals;

pub use sockets::{memory_bytes, no_core_dumps, raise_open_files};

/// Looks at the license file: what it holds, if that has changed since the last look.
pub type LicenseFile = Box<dyn FnMut() -> Option<Result<Directory, String>>>;

/// The operating system that nt runs on.
pub struct Os {
    poller: Arc<Poller>,
    events: Events,
    edge: bool,
    resolver: Resolver,
    signals: Signals,
    licenses: Option<LicenseFile>,
    log: Log,
}

/// The signal pipe's token: no slot has it.
const SIGNALS: usize = usize::MAX - 1;

impl Os {
    /// A handle on the operating system, with signals taken over. `licenses` looks at the license file.
    ///
    /// # Errors
    /// The poller or the signals cannot be had.
    pub fn new(level: Level, licenses: Option<LicenseFile>) -> io::Result<Self> {
        let poller = Arc::new(Poller::new()?);
        let signals = Signals::new()?;
        let edge = poller.supports_edge();
        let os = Self {
            poller,
            events: Events::with_capacity(NonZeroUsize::new(EVENTS_PER_WAIT).unwrap_or(NonZeroUsize::MIN)),
            edge,
            resolver: Resolver::default(),
            signals,
            licenses,
            log: Log::new(level),
        };
        os.add(os.signals.pipe(), PollEvent::readable(SIGNALS))?;
        Ok(os)
    }

    fn mode(&self) -> PollMode {
        if self.edge { PollMode::Edge } else { PollMode::Oneshot }
    }

    #[allow(unsafe_code)]
    fn add(&self, source: &impl std::os::fd::AsRawFd, interest: PollEvent) -> io::Result<()> {
        // SAFETY: whatever is added is deleted before it is closed: connections and listeners by `forget`,
        // which `close` and `close_listener` call; the signal pipe lives as long as the poller, which is
        // dropped before it.
        unsafe { self.poller.add_with_mode(source.as_raw_fd(), interest, self.mode()) }
    }

    /// Stops watching. Fails only for what was never watched.
    fn forget(&self, source: impl std::os::fd::AsFd) {
        let _ = self.poller.delete(source);
    }

    /// Arms a direction that answered `WouldBlock`, where the poller does not do so by itself.
    fn rearm(&self, source: impl std::os::fd::AsFd, interest: PollEvent) {
        if !self.edge {
            // It fails only for a closed socket, which the next call reports.
            let _ = self.poller.modify(source, interest);
        }
    }
}

fn blocked<T>(result: &io::Result<T>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

impl Net for Os {
    type Stream = TcpStream;
    type Listener = TcpListener;

    fn now(&mut self) -> Time {
        sockets::clock()
    }

    fn wait(&mut self, until: Time, events: &mut Vec<Event>) {
        let now = sockets::clock();
        let timeout = (until < Time::NEVER).then(|| Duration::from_micros(until.since(now).as_micros()));
        self.events.clear();
        match self.poller.wait(&mut self.events, timeout) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                self.log.note(now, &Note::Plain(Level::Error, format!("waiting for events failed: {error}")))
            }
        }
        for event in self.events.iter() {
            if event.key == SIGNALS {
                if self.signals.taken() {
                    events.push(Event::Stop);
                }
                continue;
            }
            let failed = event.is_err().unwrap_or(false);
            events.push(Event::Ready(Ready {
                token: event.key,
                read: event.readable,
                write: event.writable,
                failed,
            }));
        }
        self.rearm(self.signals.pipe(), PollEvent::readable(SIGNALS));
        while let Some((role, query, addresses)) = self.resolver.answer() {
            events.push(Event::Resolved(role, query, addresses));
        }
    }

    fn listen(
        &mut self,
        key: Key,
        address: SocketAddr,
        speech: Speech,
    ) -> Result<(TcpListener, SocketAddr), Reason> {
        let listener = sockets::listen(address, speech).map_err(|error| reason_of(&error))?;
        let address = listener.local_addr().map_err(|error| reason_of(&error))?;
        self.add(&listener, PollEvent::readable(key.token())).map_err(|error| reason_of(&error))?;
        Ok((listener, address))
    }

    fn accept(&mut self, key: Key, listener: &mut TcpListener) -> Accept<TcpStream> {
        let result = sockets::accept(listener);
        if blocked(&result) {
            self.rearm(&*listener, PollEvent::readable(key.token()));
        }
        match result {
            Ok((stream, peer)) => Accept::Came(stream, peer),
            Err(error) => sockets::accept_failed(&error),
        }
    }

    fn watch(&mut self, key: Key, stream: &TcpStream, speech: Speech) -> Result<(), Reason> {
        sockets::tune(stream, speech);
        self.add(stream, PollEvent::all(key.token())).map_err(|error| reason_of(&error))
    }

    fn dial(&mut self, key: Key, address: SocketAddr, speech: Speech) -> Result<TcpStream, Reason> {
        let stream = sockets::dial(address).map_err(|error| reason_of(&error))?;
        if speech == Speech::Raw {
            sockets::cut_by_default(&stream);
        }
        self.watch(key, &stream, speech)?;
        Ok(stream)
    }

    fn dialed(&mut self, key: Key, stream: &mut TcpStream) -> io::Result<()> {
        let result = sockets::dialed(stream);
        if blocked(&result) {
            self.rearm(&*stream, PollEvent::writable(key.token()));
        }
        result
    }

    fn read(&mut self, key: Key, stream: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
        let result = io::Read::read(stream, into);
        if blocked(&result) {
            self.rearm(&*stream, PollEvent::all(key.token()));
        }
        result
    }

    fn write(&mut self, key: Key, stream: &mut TcpStream, from: &[u8]) -> io::Result<usize> {
        let result = io::Write::write(stream, from);
        if blocked(&result) {
            self.rearm(&*stream, PollEvent::all(key.token()));
        }
        result
    }

    fn shut(&mut self, stream: &mut TcpStream) {
        // It fails only where the connection has failed, which the next read reports.
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }

    fn close(&mut self, _key: Key, stream: TcpStream, manner: Manner) {
        self.forget(&stream);
        sockets::close(stream, manner);
    }

    fn close_listener(&mut self, _key: Key, listener: TcpListener) {
        self.forget(&listener);
    }

    fn resolve(&mut self, role: usize, query: Query, host: &str, port: u16) {
        self.resolver.ask(role, query, host, port, &self.poller);
    }

    fn poll_licenses(&mut self) -> Option<Result<Directory, String>> {
        self.licenses.as_mut()?()
    }

    fn note(&mut self, now: Time, note: &Note) {
        self.log.note(now, note);
    }
}
