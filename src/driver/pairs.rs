//! Pairs: a raw connection and the ProxyChannel that carries it, joined for a visit and parted after it.

use super::{Driver, Slot};
use crate::limits::DRAIN_BYTES_MAX;
use crate::link::{Held, Payload, Phase};
use crate::net::Net;
use crate::relay;
use crate::role::{Place, Speech};
use crate::slots::Key;

impl<N: Net> Driver<N> {
    pub(super) fn join(&mut self, raw_key: Key, proxy_key: Key) {
        // Nothing of an answer reaches the visitor before CONNECTED: else another ProxyChannel might answer
        // again.
        self.pair(raw_key, proxy_key, Payload::Awaited);
        let Some((Slot::Link(raw), Slot::Link(proxy))) = self.slots.pair_mut(raw_key, proxy_key) else {
            return;
        };
        if matches!(raw.held, Held::Free) {
            raw.held = Held::Kept(None, 0);
        }
        if let Err(reason) = relay::repeat(&raw.held, proxy, &mut self.arena, &mut self.scratch) {
            self.lose(proxy_key, reason);
        }
    }

    pub(super) fn reach(&mut self, role: usize, raw: Key, place: &Place, proxy: Key) {
        let speaks = self.link(proxy).is_some_and(|link| link.has_unread());
        self.dial(role, raw, place, Speech::Raw, speaks);
        self.pair(raw, proxy, Payload::Passed);
    }

    pub(super) fn pair(&mut self, raw_key: Key, proxy_key: Key, payload: Payload) {
        let Some((Slot::Link(raw), Slot::Link(proxy))) = self.slots.pair_mut(raw_key, proxy_key) else {
            return;
        };
        (raw.peer, proxy.peer, proxy.payload) = (Some(proxy_key), Some(raw_key), payload);
        self.enqueue(raw_key);
        self.enqueue(proxy_key);
    }

    pub(super) fn release(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        link.free_held(&mut self.arena);
        let peer = link.peer;
        if let Some(proxy) = peer.and_then(|peer| self.link(peer)) {
            proxy.payload = Payload::Passed;
        }
        self.enqueue(key);
    }

    pub(super) fn shut(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        if link.phase == Phase::Connecting {
            link.shut_when_up = true;
        } else {
            self.net.shut(&mut link.stream);
        }
        let peer = link.peer;
        if let Some(proxy) = peer.and_then(|peer| self.link(peer)) {
            proxy.payload = Payload::Refused;
        }
    }

    pub(super) fn part(&mut self, key: Key, drain: bool) {
        self.unlink(key);
        if let Some(link) = self.link(key) {
            link.payload = if drain { Payload::Drained(DRAIN_BYTES_MAX) } else { Payload::Refused };
        }
        self.enqueue(key);
    }

    /// Parts a connection from its other side, which waits for what its role decides.
    pub(super) fn unlink(&mut self, key: Key) {
        let Some(peer) = self.link(key).and_then(|link| link.peer.take()) else { return };
        if let Some(link) = self.link(peer) {
            link.peer = None;
            if link.payload == Payload::Passed {
                link.payload = Payload::Awaited;
            }
        }
    }
}
