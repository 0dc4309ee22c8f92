//! Connections go: closed by their role, failed, or left over at the end of the program. Every one of them goes through
//! [`Driver::drop_link`], where all that it holds is given back.

use std::io;

use super::books::kind;
use super::{Driver, Slot};
use crate::limits::{DRAIN_BYTES_MAX, LINGER_TIMEOUT};
use crate::link::{Link, Payload, Phase};
use crate::net::{Net, reason_of};
use crate::reason::Reason;
use crate::role::{Input, Manner, Speech};
use crate::slots::Key;

impl<N: Net> Driver<N> {
    pub(super) fn close(&mut self, key: Key, manner: Manner) {
        self.unlink(key);
        match self.slots.get_mut(key) {
            Some(Slot::Link(link)) => {
                if let Some(tls) = link.tls.as_mut().filter(|tls| manner == Manner::End && tls.is_open())
                    && link.speech == Speech::Http
                {
                    tls.close(&mut link.tx, &mut self.arena);
                }
                let lingers = !link.is_flushed() || link.is_seen_off();
                if manner == Manner::End && link.phase == Phase::Up && lingers {
                    link.phase = Phase::Lingering;
                    self.lingering.push_back((self.now + LINGER_TIMEOUT, key));
                    self.enqueue(key);
                } else {
                    self.drop_link(key, manner);
                }
            }
            Some(Slot::Door(_)) => {
                if let Some(Slot::Door(door)) = self.slots.remove(key) {
                    self.net.close_listener(key, door.listener);
                }
            }
            Some(Slot::Port(_)) => self.drop_port(key),
            Some(Slot::Flow(_)) => _ = self.drop_flow(key),
            Some(Slot::Meter(_)) => self.drop_meter(key),
            // A visitor who was not there.
            Some(Slot::Reserved) => _ = self.slots.remove(key),
            None => {}
        }
    }

    /// Closes a connection whose peer has the last word.
    pub(super) fn close_patiently(&mut self, key: Key) {
        if let Some(link) = self.link(key) {
            link.patient = true;
        }
        self.close(key, Manner::End);
    }

    /// All that was sent to a connection which its role has closed has left.
    pub(super) fn say_goodbye(&mut self, key: Key) {
        match self.link(key) {
            Some(link) if link.is_seen_off() => {
                (link.phase, link.payload) = (Phase::Leaving, Payload::Drained(DRAIN_BYTES_MAX));
                if let Some(Slot::Link(link)) = self.slots.get_mut(key) {
                    self.net.shut(&mut link.stream);
                }
                self.enqueue(key);
            }
            _ => self.drop_link(key, Manner::End),
        }
    }

    /// What a visitor who was let go still says is thrown away until its end: to close over it would be a reset, and
    /// the reset could overtake the answer.
    pub(super) fn see_off(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        while link.readable {
            match self.net.read(key, &mut link.stream, &mut self.scratch) {
                Ok(0) => return self.drop_link(key, Manner::End),
                Ok(n) => {
                    link.readable = n == self.scratch.len() || link.ending;
                    match link.payload {
                        Payload::Drained(left) if left > n as u32 => {
                            link.payload = Payload::Drained(left - n as u32)
                        }
                        _ => return self.drop_link(key, Manner::Cut),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => link.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.drop_link(key, Manner::Cut),
            }
        }
    }

    /// A connection failed: it goes, and its role is told.
    pub(super) fn fail(&mut self, key: Key, reason: Reason) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        let (role, told) = (link.role(), !matches!(link.phase, Phase::Lingering | Phase::Leaving));
        self.drop_link(key, Manner::Cut);
        if told {
            self.feed(role, Input::Lost(key, reason));
        }
    }

    /// A connection that is not read now goes, if it has failed.
    pub(super) fn fail_if_failed(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        if std::mem::take(&mut link.failed)
            && let Err(error) = self.net.dialed(key, &mut link.stream)
        {
            self.fail(key, reason_of(&error));
        }
    }

    /// As [`Self::fail`], while verbs are being carried out: the role is told after them.
    pub(super) fn lose(&mut self, key: Key, reason: Reason) {
        if let Some(role) = self.link(key).map(|link| link.role()) {
            self.drop_link(key, Manner::Cut);
            self.outcomes.push_back((role, Input::Lost(key, reason)));
        }
    }

    pub(super) fn drop_link(&mut self, key: Key, manner: Manner) {
        self.unlink(key);
        if !matches!(self.slots.get(key), Some(Slot::Link(_))) {
            return;
        }
        let Some(Slot::Link(mut link)) = self.slots.remove(key) else { return };
        link.clear(&mut self.net, &mut self.arena);
        self.arena.release(link.rights());
        *kind(&mut self.used, link.speech) -= 1;
        self.net.close(key, link.stream, manner);
        self.vias.retain(|(of, _)| *of != key);
        self.greetings.remove(&key);
        self.wake_starved();
    }

    /// There is room again, perhaps.
    pub(super) fn wake_starved(&mut self) {
        for door in std::mem::take(&mut self.starved) {
            self.enqueue(door);
        }
    }

    /// Whether something that was sent has not left yet.
    pub(super) fn speaks(&self) -> bool {
        let speaks =
            |link: &Link<_>| matches!(link.phase, Phase::Up | Phase::Lingering) && !link.is_flushed();
        self.slots.iter().any(|(_, slot)| matches!(slot, Slot::Link(link) if speaks(link)))
    }

    /// The program ends: visits that are still on are cut.
    pub(super) fn leave(&mut self) {
        let all: Vec<Key> = self.slots.iter().map(|(key, _)| key).collect();
        for key in all {
            match self.slots.get(key) {
                // It has all that it was to get: a reset could overtake that.
                Some(Slot::Link(link)) if link.phase == Phase::Leaving => self.drop_link(key, Manner::End),
                Some(Slot::Link(link)) if matches!(link.speech, Speech::Raw | Speech::Http) => {
                    self.drop_link(key, Manner::Cut);
                }
                Some(Slot::Link(_)) => self.drop_link(key, Manner::End),
                Some(Slot::Flow(_)) => _ = self.drop_flow(key),
                Some(Slot::Reserved | Slot::Door(_) | Slot::Port(_) | Slot::Meter(_)) | None => {}
            }
        }
    }
}
