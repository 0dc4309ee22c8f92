//! Connections come up: listened for and accepted, or dialled; then a proxy, TLS or a front's header, each in its phase
//! (see [`Phase`]), until the role is told that they are there.

use std::io;
use std::net::SocketAddr;

use super::books::{has_room, kind};
use super::{Door, Driver, Slot};
use crate::limits::{ACCEPT_PAUSE, ACCEPTS_PER_TURN, HANDSHAKES_PER_TURN};
use crate::link::{Fill, Link, Phase};
use crate::net::{Accept, Net, reason_of};
use crate::note::Note;
use crate::reason::Reason;
use crate::role::{Input, Manner, Place, Speech};
use crate::slots::Key;
use crate::wire::NO_ADDRESS;

impl<N: Net> Driver<N> {
    pub(super) fn listen(&mut self, role: usize, key: Key, address: SocketAddr, speech: Speech) {
        let listener = self.net.listen(key, address, speech);
        self.open_door(role, key, speech, listener);
    }

    /// Where it is has no address of the net.
    pub(super) fn listen_unix(&mut self, role: usize, key: Key, path: &str) {
        let listener = self.net.listen_unix(key, path);
        self.open_door(role, key, Speech::Local, listener.map(|listener| (listener, NO_ADDRESS)));
    }

    fn open_door(
        &mut self,
        role: usize,
        key: Key,
        speech: Speech,
        listener: Result<(N::Listener, SocketAddr), Reason>,
    ) {
        match listener {
            Ok((listener, address)) => {
                if let Some(slot) = self.slots.get_mut(key) {
                    *slot = Slot::Door(Door { listener, role, speech, queued: false });
                }
                self.outcomes.push_back((role, Input::Bound(key, address)));
            }
            Err(reason) => {
                self.slots.remove(key);
                self.outcomes.push_back((role, Input::BindFailed(key, reason)));
            }
        }
    }

    pub(super) fn dial(&mut self, role: usize, key: Key, place: &Place, speech: Speech, speaks: bool) {
        let tls = match speech {
            Speech::Tls => self.security.connect().map(|tls| Some(Box::new(tls))),
            Speech::Plain | Speech::Raw | Speech::Local | Speech::Http => Ok(None),
        };
        let room = has_room(self.used, self.budget, speech);
        let dialed = tls.and_then(|tls| {
            if !room {
                return Err(Reason::Busy);
            }
            self.net.dial(key, place, speech, speaks).map(|stream| (stream, tls))
        });
        match dialed {
            Ok((stream, tls)) => {
                // Asked at once: on one machine the connection is up already, and no event need be waited for.
                let mut link = Link::new(stream, role, speech, Phase::Connecting, tls);
                link.writable = true;
                self.admit(key, link);
                self.enqueue(key);
            }
            Err(reason) => {
                self.slots.remove(key);
                self.outcomes.push_back((role, Input::Lost(key, reason)));
            }
        }
    }

    pub(super) fn accept(&mut self, key: Key) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(Slot::Door(door)) = self.slots.get_mut(key) else { return };
            let (role, speech) = (door.role, door.speech);
            // Who cannot be served waits in the kernel's queue: overload delays, it does not break.
            if !has_room(self.used, self.budget, speech) {
                self.starved.push(key);
                return;
            }
            match self.net.accept(key, &mut door.listener) {
                Accept::Came(stream, peer) => self.came(key, role, speech, stream, peer),
                Accept::Again => {}
                Accept::Empty => return,
                Accept::Exhausted(reason) => {
                    self.net.note(self.now, &Note::AcceptPaused { reason });
                    self.resting.0 = self.resting.0.min(self.now + ACCEPT_PAUSE);
                    self.resting.1.push(key);
                    return;
                }
            }
        }
        self.postpone(key);
    }

    pub(super) fn came(
        &mut self,
        listener: Key,
        role: usize,
        speech: Speech,
        stream: N::Stream,
        peer: SocketAddr,
    ) {
        let tls = match speech {
            Speech::Tls => self.security.accept().map(|tls| Some(Box::new(tls))),
            Speech::Plain | Speech::Raw | Speech::Local | Speech::Http => Ok(None),
        };
        let phase = if speech == Speech::Tls { Phase::Securing } else { Phase::Up };
        let Some(key) = self.slots.insert(Slot::Reserved) else {
            return; // The budget keeps within the table; the socket closes by itself.
        };
        match tls.and_then(|tls| self.net.watch(key, &stream).map(|()| tls)) {
            Ok(tls) => {
                let mut link = Link::new(stream, role, speech, phase, tls);
                (link.readable, link.writable) = (true, true);
                self.admit(key, link);
            }
            Err(reason) => {
                self.slots.remove(key);
                self.net.close(key, stream, Manner::Cut);
                return self.net.note(self.now, &Note::AcceptPaused { reason });
            }
        }
        self.feed(role, Input::Accepted { listener, key, peer });
        if phase == Phase::Up && speech == Speech::Plain {
            self.feed(role, Input::Secured(key, None));
        }
        self.enqueue(key);
    }

    /// Counts a connection and reserves its buffers: the budget was asked before.
    pub(super) fn admit(&mut self, key: Key, link: Link<N>) {
        let granted = self.arena.reserve(link.rights());
        assert!(granted, "the arena is made for the whole budget");
        *kind(&mut self.used, link.speech) += 1;
        if let Some(slot) = self.slots.get_mut(key) {
            *slot = Slot::Link(link);
        }
    }

    pub(super) fn connect(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        if !link.writable {
            return;
        }
        match self.net.dialed(key, &mut link.stream) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                link.writable = false;
                return;
            }
            Err(error) => return self.fail(key, reason_of(&error)),
        }
        if let Some((_, via)) = self.vias.iter().find(|(of, _)| *of == key) {
            link.phase = Phase::Asking;
            if !link.tx.push(&via.greeting(), &mut self.arena) {
                return self.fail(key, Reason::NoProxy);
            }
            return self.enqueue(key);
        }
        self.connected(key);
    }

    /// The conversation with a proxy goes on, until it has connected.
    pub(super) fn ask(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        let Some(at) = self.vias.iter().position(|(of, _)| *of == key) else { return };
        let (net, arena) = (&mut self.net, &mut self.arena);
        match link.converse(key, &mut self.vias[at].1, net, arena) {
            Ok(false) => {}
            Ok(true) => {
                self.vias.swap_remove(at);
                self.connected(key);
            }
            Err(reason) => self.fail(key, reason),
        }
    }

    pub(super) fn connected(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        let (role, speech) = (link.role(), link.speech);
        link.phase = if speech == Speech::Tls { Phase::Securing } else { Phase::Up };
        match speech {
            Speech::Tls => {}
            Speech::Plain => self.feed(role, Input::Secured(key, None)),
            Speech::Raw | Speech::Local | Speech::Http => {
                self.feed(role, Input::Dialed(key));
                self.flush(key);
            }
        }
        self.enqueue(key);
    }

    pub(super) fn secure(&mut self, key: Key) {
        if self.handshakes >= HANDSHAKES_PER_TURN {
            return self.postpone(key);
        }
        self.handshakes += 1;
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        let result = link.fill(key, &mut self.net, &mut self.arena);
        let flushed = link.flush(key, &mut self.net, &mut self.arena);
        match (result, flushed) {
            (Err(reason), _) | (_, Err(reason)) => return self.fail(key, reason),
            // Whoever goes away before it has come in gets no further word.
            (Ok(Fill::End), _) => return self.fail(key, Reason::Ended),
            (Ok(Fill::More | Fill::Dry), Ok(_)) => {}
        }
        if let Some(tls) = link.tls.as_mut().filter(|tls| tls.is_open()) {
            let binding = tls.binding();
            link.phase = Phase::Up;
            let role = link.role();
            self.feed(role, Input::Secured(key, binding));
            self.enqueue(key);
        } else if result == Ok(Fill::More) {
            self.postpone(key);
        }
    }
}
