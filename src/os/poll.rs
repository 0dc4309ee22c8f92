//! Readiness. Everywhere it is `polling`'s; on Linux its epoll descriptor is asked directly.
//!
//! polling's timed wait is five system calls on epoll (it sets and arms a timer, and arms its notifier
//! again), and it does not subscribe to the peer's end. Asked directly it is one call, and who is told that
//! no end stands behind what can be read need not read once more to find out. Its notifier is still what
//! wakes the loop from another thread.
//!
//! Elsewhere connections are watched edge by edge where polling can (kqueue), else one event at a time (IOCP).

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;

use polling::{Events, Poller};
use rustix::fd::AsFd;

use crate::limits::EVENTS_PER_WAIT;
use crate::net::Ready;
use crate::time::Span;

/// What to be told about a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    Read,
    Write,
    Both,
}

pub(super) struct Poll {
    poller: Arc<Poller>,
    events: Events,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    told: Vec<rustix::event::epoll::Event>,
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    mode: polling::PollMode,
    /// What each source is still to be told, where an event for one direction disarms both.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    armed: here::Armed,
}

/// Wakes the loop from another thread.
#[derive(Clone)]
pub(super) struct Bell(Arc<Poller>);

impl Bell {
    pub(super) fn ring(&self) {
        // It fails only when the program is ending.
        let _ = self.0.notify();
    }
}

impl Poll {
    pub(super) fn bell(&self) -> Bell {
        Bell(Arc::clone(&self.poller))
    }

    /// What polling itself has to tell, without more than it knows.
    fn tell_polled(&self, tell: &mut impl FnMut(Ready)) {
        for event in self.events.iter() {
            tell(Ready {
                token: event.key,
                read: event.readable,
                write: event.writable,
                ended: event.readable,
                failed: event.is_err().unwrap_or(false),
            });
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod here {
    use rustix::buffer::spare_capacity;
    use rustix::event::{Timespec, epoll};

    use super::*;

    /// polling's own token: its notifier.
    const NOTIFIER: u64 = usize::MAX as u64;

    impl Poll {
        pub(in crate::os) fn new() -> io::Result<Self> {
            Ok(Self {
                poller: Arc::new(Poller::new()?),
                events: Events::with_capacity(NonZeroUsize::MIN),
                told: Vec::with_capacity(EVENTS_PER_WAIT),
            })
        }

        /// Begins to watch, edge by edge: for as long as the source is open.
        pub(in crate::os) fn add(
            &self,
            source: impl AsFd,
            token: usize,
            interest: Interest,
        ) -> io::Result<()> {
            let mut flags = epoll::EventFlags::ET | epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
            if interest != Interest::Read {
                flags |= epoll::EventFlags::OUT;
            }
            Ok(epoll::add(&self.poller, source, epoll::EventData::new_u64(token as u64), flags)?)
        }

        /// Stops watching: the kernel does so when the source is closed (epoll(7), question 6), and no
        /// descriptor of nt is ever duplicated.
        pub(in crate::os) fn forget(&self, _source: impl AsFd) {}

        /// Nothing to do: edges go on.
        pub(in crate::os) fn rearm(&self, _source: impl AsFd, _token: usize, _interest: Interest) {}

        pub(in crate::os) fn wait(
            &mut self,
            timeout: Option<Span>,
            mut tell: impl FnMut(Ready),
        ) -> io::Result<()> {
            // Whole milliseconds, and none too few: a deadline is never met early.
            let timeout = timeout.map(|span| {
                let millis = span.as_micros().div_ceil(1_000);
                Timespec { tv_sec: (millis / 1_000) as _, tv_nsec: (millis % 1_000 * 1_000_000) as _ }
            });
            self.told.clear();
            epoll::wait(&self.poller, spare_capacity(&mut self.told), timeout.as_ref())?;
            let mut notified = false;
            for event in &self.told {
                let (token, flags) = (event.data.u64(), event.flags);
                notified |= token == NOTIFIER;
                let failed = flags.contains(epoll::EventFlags::ERR);
                let ended = flags.intersects(epoll::EventFlags::RDHUP | epoll::EventFlags::HUP);
                tell(Ready {
                    token: token as usize,
                    read: flags.contains(epoll::EventFlags::IN) || ended,
                    write: flags.intersects(epoll::EventFlags::OUT | epoll::EventFlags::HUP),
                    ended,
                    failed,
                });
            }
            if notified {
                // polling takes its notification back, and may have other news.
                self.events.clear();
                self.poller.wait(&mut self.events, Some(std::time::Duration::ZERO))?;
                self.tell_polled(&mut tell);
            }
            Ok(())
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod here {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::time::Duration;

    use polling::{Event, PollMode};
    use rustix::fd::{AsRawFd, BorrowedFd, RawFd};

    use super::*;

    /// By token: the source, and whether its reads and writes are to be told.
    pub(super) type Armed = RefCell<BTreeMap<usize, (RawFd, bool, bool)>>;

    fn directions(interest: Interest) -> (bool, bool) {
        (interest != Interest::Write, interest != Interest::Read)
    }

    impl Poll {
        pub(in crate::os) fn new() -> io::Result<Self> {
            let poller = Arc::new(Poller::new()?);
            let mode = if poller.supports_edge() { PollMode::Edge } else { PollMode::Oneshot };
            let capacity = NonZeroUsize::new(EVENTS_PER_WAIT).unwrap_or(NonZeroUsize::MIN);
            Ok(Self { poller, events: Events::with_capacity(capacity), mode, armed: Armed::default() })
        }

        #[allow(unsafe_code)]
        pub(in crate::os) fn add(
            &self,
            source: impl AsFd,
            token: usize,
            interest: Interest,
        ) -> io::Result<()> {
            let (read, write) = directions(interest);
            let event = Event::new(token, read, write);
            // SAFETY: whatever is added is deleted before it is closed: connections and listeners by
            // `forget`, which `close` and `close_listener` call; the signal pipe lives as long as the poller,
            // which is dropped before it.
            unsafe { self.poller.add_with_mode(&source.as_fd(), event, self.mode)? };
            if self.mode == PollMode::Oneshot {
                self.armed.borrow_mut().insert(token, (source.as_fd().as_raw_fd(), read, write));
            }
            Ok(())
        }

        /// Stops watching. Fails only for what was never watched.
        pub(in crate::os) fn forget(&self, source: impl AsFd) {
            let source = source.as_fd();
            if self.mode == PollMode::Oneshot {
                self.armed.borrow_mut().retain(|_, (raw, ..)| *raw != source.as_raw_fd());
            }
            let _ = self.poller.delete(source);
        }

        /// Arms a direction that is dry, where the poller does not do so by itself.
        pub(in crate::os) fn rearm(&self, source: impl AsFd, token: usize, interest: Interest) {
            if self.mode == PollMode::Oneshot
                && let Some((_, read, write)) = self.armed.borrow_mut().get_mut(&token)
            {
                let (reads, writes) = directions(interest);
                (*read, *write) = (*read || reads, *write || writes);
                // It fails only for a closed socket, which the next call reports.
                let _ = self.poller.modify(source.as_fd(), Event::new(token, *read, *write));
            }
        }

        /// An event for one direction has disarmed the other as well, which was not told.
        #[allow(unsafe_code)]
        fn keep_armed(&self) {
            let mut armed = self.armed.borrow_mut();
            for event in self.events.iter() {
                let Some((raw, read, write)) = armed.get_mut(&event.key) else { continue };
                (*read, *write) = (*read && !event.readable, *write && !event.writable);
                if *read || *write {
                    // SAFETY: a source is forgotten before it is closed, and would not stand here.
                    let source = unsafe { BorrowedFd::borrow_raw(*raw) };
                    let _ = self.poller.modify(source, Event::new(event.key, *read, *write));
                }
            }
        }

        pub(in crate::os) fn wait(
            &mut self,
            timeout: Option<Span>,
            mut tell: impl FnMut(Ready),
        ) -> io::Result<()> {
            self.events.clear();
            self.poller
                .wait(&mut self.events, timeout.map(|span| Duration::from_micros(span.as_micros())))?;
            if self.mode == PollMode::Oneshot {
                self.keep_armed();
            }
            self.tell_polled(&mut tell);
            Ok(())
        }
    }
}
