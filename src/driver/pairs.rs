//! Pairs: a raw connection and the ProxyChannel that carries it, joined for a visit and parted after it. And what a
//! role hears of them itself.

use super::{Driver, Slot};
use crate::http::Ending;
use crate::limits::{DRAIN_BYTES_MAX, FRAMES_PER_TURN};
use crate::link::{Fill, Held, Incoming, Payload, Phase};
use crate::net::Net;
use crate::reason::Reason;
use crate::relay::{self, Delivery};
use crate::role::{Input, Place, Speech, Talk};
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
        if let Place::Udp(address) = *place {
            self.dial_udp(role, raw, address);
        } else {
            let speaks = self.link(proxy).is_some_and(|link| link.has_unread());
            self.dial(role, raw, place, Speech::Raw, speaks);
        }
        self.pair(raw, proxy, Payload::Passed);
    }

    pub(super) fn pair(&mut self, raw_key: Key, proxy_key: Key, payload: Payload) {
        let Some((raw, Slot::Link(proxy))) = self.slots.pair_mut(raw_key, proxy_key) else { return };
        let Some(joined) = raw.joined() else { return };
        (*joined, proxy.peer, proxy.payload) = (Some(proxy_key), Some(raw_key), payload);
        self.enqueue(raw_key);
        self.enqueue(proxy_key);
    }

    /// Payload of a ProxyChannel is the role's from now on.
    pub(super) fn hear_payload(&mut self, key: Key) {
        if let Some(peer) = self.other_side(key).and_then(|peer| self.link(peer)) {
            peer.exchange = None;
        }
        if let Some(link) = self.link(key) {
            link.payload = Payload::Told;
        }
        self.enqueue(key);
    }

    /// Tells the role so much of a ProxyChannel's payload. It is copied, as frames are: the role may have done with the
    /// connection.
    pub(super) fn tell(&mut self, key: Key, length: usize) -> Delivery {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return Delivery::Wait };
        let bytes = link.rx.bytes()[..length].to_vec();
        link.rx.consume(length, &mut self.arena);
        link.transfer_left -= length as u32;
        let role = link.role();
        self.feed(role, Input::Bytes(key, &bytes));
        Delivery::Some(length)
    }

    /// Bytes of a local connection go to its role.
    pub(super) fn read_bytes(&mut self, key: Key) {
        for _ in 0..FRAMES_PER_TURN {
            let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
            let role = link.role();
            match link.fill(key, &mut self.net, &mut self.arena) {
                Ok(Fill::More) => {
                    // Copied, as frames are: the role may close the connection over them.
                    let bytes = link.rx.bytes().to_vec();
                    link.rx.clear(&mut self.arena);
                    self.feed(role, Input::Bytes(key, &bytes));
                }
                Ok(Fill::Dry) => return,
                Ok(Fill::End) => {
                    link.incoming = Incoming::Ended;
                    link.readable = false;
                    return self.feed(role, Input::Ended(key));
                }
                Err(reason) => return self.fail(key, reason),
            }
        }
        self.postpone(key);
    }

    /// What a connection or flow is joined to.
    pub(super) fn other_side(&mut self, key: Key) -> Option<Key> {
        *self.slots.get_mut(key)?.joined()?
    }

    pub(super) fn release(&mut self, key: Key) {
        if let Some(Slot::Link(link)) = self.slots.get_mut(key) {
            link.free_held(&mut self.arena);
            if link.payload == Payload::Awaited {
                link.payload = Payload::Passed;
            }
        }
        if let Some(proxy) = self.other_side(key).and_then(|proxy| self.link(proxy))
            && proxy.payload == Payload::Awaited
        {
            proxy.payload = Payload::Passed;
        }
        self.enqueue(key);
    }

    pub(super) fn shut(&mut self, key: Key) {
        match self.slots.get_mut(key) {
            // Who speaks in frames is told by one.
            Some(Slot::Link(link)) if link.is_framed() => {}
            Some(Slot::Link(link))
                if link.phase == Phase::Connecting || (link.exchange.is_none() && !link.is_flushed()) =>
            {
                link.shut_when_sent = true;
            }
            Some(Slot::Link(link)) => match link.exchange.as_ref().map(|exchange| exchange.end()) {
                None | Some(Ending::Ours) => match &mut link.tls {
                    // What TLS says is the end, for who speaks it.
                    Some(tls) => {
                        tls.close(&mut link.tx, &mut self.arena);
                        self.enqueue(key);
                    }
                    None => self.net.shut(&mut link.stream),
                },
                Some(Ending::Answer) => {
                    let talk = Talk::Answered { last: true };
                    self.outcomes.push_back((link.role(), Input::Talk(key, talk)));
                }
                // Nothing of the answer has been passed on: there can be another.
                Some(Ending::Early)
                    if link.exchange.as_ref().is_some_and(|exchange| !exchange.has_begun()) =>
                {
                    let talk = Talk::Nonsense { begun: false };
                    self.outcomes.push_back((link.role(), Input::Talk(key, talk)));
                }
                Some(Ending::Early) => return self.lose(key, Reason::ChannelLost),
            },
            // Datagrams have no end that could be told: both directions are over.
            Some(Slot::Flow(flow)) => self.outcomes.push_back((flow.role, Input::Ended(key))),
            _ => return,
        }
        if let Some(proxy) = self.other_side(key).and_then(|proxy| self.link(proxy)) {
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

    /// Parts a connection or flow from its other side, which waits for what its role decides.
    pub(super) fn unlink(&mut self, key: Key) {
        let joined = self.slots.get_mut(key).and_then(Slot::joined);
        let Some(peer) = joined.and_then(Option::take) else { return };
        if let Some(joined) = self.slots.get_mut(peer).and_then(Slot::joined) {
            *joined = None;
        }
        for side in [key, peer] {
            if let Some(Slot::Flow(flow)) = self.slots.get_mut(side) {
                flow.part(&mut self.arena);
            }
        }
        if let Some(link) = self.link(peer).filter(|link| link.payload == Payload::Passed) {
            link.payload = Payload::Awaited;
        }
    }
}
