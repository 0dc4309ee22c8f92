//! Datagrams: public ports and their flows, and the flows of real servers.

use std::io;
use std::net::SocketAddr;

use super::books::has_room;
use super::{Driver, Slot};
use crate::flow::{self, Counts, End, Flow, Port, Whole};
use crate::limits::{
    DATAGRAMS_PER_SEND, DATAGRAMS_PER_TURN, DRAIN_BYTES_MAX, FLOWS_MAX, FLOWS_PER_ADDRESS_MAX, FLOWS_SHARE,
    HEADER_BYTES,
};
use crate::link::Payload;
use crate::meter::Way;
use crate::net::{Ends, Net};
use crate::note::Note;
use crate::proxy_protocol::{self, ProxyVersion, Transport};
use crate::reason::Reason;
use crate::role::{Input, Speech};
use crate::slots::Key;
use crate::wire::{self, Frame};

/// Holds any datagram, with room to see that one is longer than it may be.
const SPACE: usize = 1 << 16;

/// Datagrams at the front of a ProxyChannel's window that can be sent at once: of one length, but the last may be
/// shorter; or one piece.
struct Run<'a> {
    datagrams: [&'a [u8]; DATAGRAMS_PER_SEND],
    count: usize,
    /// It is a piece, and more of its datagram follows.
    more: bool,
    /// Length of them with their headers.
    used: usize,
}

impl<'a> Run<'a> {
    /// `bytes` begin with a whole frame of this kind.
    fn of(bytes: &'a [u8]) -> Self {
        let mut run = Self { datagrams: [&[]; DATAGRAMS_PER_SEND], count: 0, more: false, used: 0 };
        while run.count < DATAGRAMS_PER_SEND {
            let (datagram, more) = match wire::next(&bytes[run.used..]) {
                Ok(Some((Frame::Datagram(datagram), _))) => (datagram, false),
                Ok(Some((Frame::Piece(piece), _))) if run.count == 0 => (piece, true),
                _ => break,
            };
            // Nothing stands behind a shorter one, nor an empty one behind others.
            let first = if run.count == 0 { datagram.len() } else { run.datagrams[0].len() };
            if datagram.len() > first || (run.count > 0 && datagram.is_empty()) {
                break;
            }
            run.datagrams[run.count] = datagram;
            (run.count, run.more) = (run.count + 1, more);
            run.used += HEADER_BYTES + datagram.len();
            if more || datagram.len() < first || first == 0 {
                break;
            }
        }
        run
    }

    fn cut_to_one(&mut self) {
        (self.count, self.used) = (1, HEADER_BYTES + self.datagrams[0].len());
    }
}

impl<N: Net> Driver<N> {
    pub(super) fn listen_udp(
        &mut self,
        role: usize,
        key: Key,
        address: SocketAddr,
        (group, most): (Key, usize),
    ) {
        match self.net.listen_udp(key, address) {
            Ok((socket, address)) => {
                let flows = Default::default();
                let port = Port { socket, address, role, group, most, flows, queued: false };
                if let Some(slot) = self.slots.get_mut(key) {
                    *slot = Slot::Port(Box::new(port));
                }
                self.outcomes.push_back((role, Input::Bound(key, address)));
            }
            Err(reason) => {
                self.slots.remove(key);
                self.outcomes.push_back((role, Input::BindFailed(key, reason)));
            }
        }
    }

    pub(super) fn dial_udp(&mut self, role: usize, key: Key, address: SocketAddr) {
        let room = has_room(self.used, self.budget, Speech::Raw);
        let dialed = if room { self.net.dial_udp(key, address) } else { Err(Reason::Busy) };
        let outcome = match dialed {
            Ok(socket) => {
                self.admit_flow(key, Flow::new(role, End::Own(socket), None, self.now));
                Input::Dialed(key)
            }
            Err(reason) => {
                self.slots.remove(key);
                Input::Lost(key, reason)
            }
        };
        self.outcomes.push_back((role, outcome));
    }

    /// The real server of a flow is to be told who sends it.
    pub(super) fn introduce_flow(&mut self, key: Key, version: ProxyVersion, visitor: SocketAddr) {
        let Some(Slot::Flow(flow)) = self.slots.get(key) else { return };
        let &End::Shared(port, Ends { local, .. }, _) = &flow.end else { return };
        let Some(Slot::Port(port)) = self.slots.get(port) else { return };
        let came_to = SocketAddr::new(local.unwrap_or_else(|| port.address.ip()), port.address.port());
        let header = proxy_protocol::header(version, Transport::Datagrams, visitor, Some(came_to));
        if let Some(Slot::Flow(flow)) = self.slots.get_mut(key) {
            flow.introduce(header);
        }
    }

    fn admit_flow(&mut self, key: Key, flow: Flow<N::Socket>) {
        let granted = self.arena.reserve(flow::RIGHTS);
        assert!(granted, "the arena is made for the whole budget");
        self.used.raws += 1;
        if let Some(slot) = self.slots.get_mut(key) {
            *slot = Slot::Flow(Box::new(flow));
        }
    }

    // ── Towards the tunnel ──────────────────────────────────────────────────────────────────────────────────────

    /// Takes datagrams from a socket: that of a public port, or a flow's own.
    pub(super) fn receive(&mut self, key: Key) {
        self.datagram.resize(SPACE, 0);
        let mut taken = 0;
        for _ in 0..DATAGRAMS_PER_TURN {
            let socket = match self.slots.get_mut(key) {
                Some(Slot::Port(port)) => &mut port.socket,
                Some(Slot::Flow(flow)) => match &mut flow.end {
                    End::Own(socket) => socket,
                    End::Shared(..) => return,
                },
                _ => return,
            };
            match self.net.receive(key, socket, &mut self.datagram) {
                Ok((length, ends)) => {
                    taken += 1;
                    self.take_datagram(key, ends, length);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // What was sent before has not arrived: nobody's end. The socket is asked on.
                Err(_) => {}
            }
        }
        if taken > 0 {
            self.postpone(key);
        }
    }

    /// The datagram that came last goes to its flow, which may be a new one.
    fn take_datagram(&mut self, socket: Key, ends: Option<Ends>, length: usize) {
        let known = match (self.slots.get(socket), ends) {
            (Some(Slot::Port(port)), Some(ends)) => port.flows.get(&ends).copied(),
            _ => Some(socket),
        };
        let Some(key) = known.or_else(|| self.newcomer(socket, ends?)) else { return };
        if !self.may_pass_whole(key, Way::Down, length) {
            if let Some(Slot::Flow(flow)) = self.slots.get_mut(key) {
                (flow.counts.taken, flow.counts.dropped) = (flow.counts.taken + 1, flow.counts.dropped + 1);
            }
            return;
        }
        let Some(Slot::Flow(flow)) = self.slots.get_mut(key) else { return };
        let proxy = flow.proxy;
        if let Some(proxy) = proxy.filter(|_| !flow.has_room(length)) {
            self.pump(key, proxy);
        }
        let Some(Slot::Flow(flow)) = self.slots.get_mut(key) else { return };
        flow.hold(self.now, &self.datagram[..length], &mut self.arena);
        // What else comes in this turn leaves together with it.
        if let Some(proxy) = proxy {
            self.enqueue(proxy);
        }
    }

    /// A flow for somebody new; `None` where there is no place for it.
    fn newcomer(&mut self, port_key: Key, ends: Ends) -> Option<Key> {
        self.make_room_for(port_key, ends);
        if !has_room(self.used, self.budget, Speech::Raw) {
            return None;
        }
        let key = self.slots.insert(Slot::Reserved)?;
        let Some(Slot::Port(port)) = self.slots.get_mut(port_key) else {
            self.slots.remove(key);
            return None;
        };
        port.flows.insert(ends, key);
        let (role, group) = (port.role, port.group);
        let mut flow = Flow::new(role, End::Shared(port_key, ends, self.now), Some(group), self.now);
        let at = flow.deadline();
        flow.end = End::Shared(port_key, ends, at);
        self.quiet.insert(group, at, key);
        self.admit_flow(key, flow);
        self.feed(role, Input::Accepted { listener: port_key, key, peer: ends.peer });
        Some(key)
    }

    /// Where one address has too many flows, its own longest quiet one makes room; else that of the group which has too
    /// many, or most. There may be none, where others have all the room.
    fn make_room_for(&mut self, port: Key, ends: Ends) {
        let Some(Slot::Port(port)) = self.slots.get(port) else { return };
        let deadline = |key: &Key| match self.slots.get(*key) {
            Some(Slot::Flow(flow)) => Some(flow.deadline()),
            _ => None,
        };
        let all = FLOWS_MAX.min(self.budget.raws / FLOWS_SHARE).max(1);
        let full = self.quiet.len() >= all || !has_room(self.used, self.budget, Speech::Raw);
        let goes = if port.of(ends.peer.ip()).count() >= FLOWS_PER_ADDRESS_MAX {
            port.of(ends.peer.ip()).min_by_key(deadline)
        } else if self.quiet.count(port.group) >= port.most {
            let group = Some(port.group);
            self.longest_quiet(group)
        } else if full {
            let group = self.quiet.richest();
            self.longest_quiet(group)
        } else {
            None
        };
        if let Some(goes) = goes {
            self.end_flow(goes);
        }
    }

    // ── From the tunnel ─────────────────────────────────────────────────────────────────────────────────────────

    /// Passes on the datagram, or piece of one, that a ProxyChannel's window begins with; `false` where the channel is
    /// not to be read on.
    pub(super) fn pass_datagram(&mut self, key: Key) -> bool {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return false };
        let (payload, peer) = (link.payload, link.peer);
        if payload == Payload::Awaited {
            return false;
        }
        // The window is taken out, so that datagrams can be sent from where they stand.
        let mut rx = std::mem::take(&mut link.rx);
        let mut run = Run::of(rx.bytes());
        let passed = match (payload, peer) {
            (Payload::Passed, Some(flow)) => self.send_run(flow, &mut run).map(|()| payload),
            // Dearer to drain than to dial anew, in the end.
            (Payload::Drained(left), _) => {
                left.checked_sub(run.used as u32).map(Payload::Drained).ok_or(Reason::ChannelLost)
            }
            _ => Err(Reason::Protocol),
        };
        let used = run.used;
        rx.consume(used, &mut self.arena);
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else {
            rx.clear(&mut self.arena);
            return false;
        };
        link.rx = rx;
        match passed {
            Ok(payload) => link.payload = payload,
            Err(reason) => self.fail(key, reason),
        }
        passed.is_ok()
    }

    fn send_run(&mut self, key: Key, run: &mut Run<'_>) -> Result<(), Reason> {
        let Some(Slot::Flow(flow)) = self.slots.get_mut(key) else { return Err(Reason::Protocol) };
        if flow.is_assembling() {
            run.cut_to_one();
        }
        let large = match flow.assemble(self.now, run.more, run.datagrams[0], &mut self.arena)? {
            Whole::NotYet => return Ok(()),
            Whole::Piece => None,
            Whole::Large(large) => Some(large),
        };
        let one = large.as_ref().map(|large| [large.bytes()]);
        let datagrams = one.as_ref().map_or(&run.datagrams[..run.count], |one| &one[..]);
        let length = datagrams.iter().map(|datagram| datagram.len()).sum();
        let passes = self.may_pass_whole(key, Way::Up, length);
        let Some(Slot::Flow(flow)) = self.slots.get_mut(key) else { return Err(Reason::Protocol) };
        let sent = match &mut flow.end {
            _ if !passes => 0,
            End::Own(socket) => self.net.send(key, socket, None, datagrams),
            &mut End::Shared(port_key, ends, _) => match self.slots.get_mut(port_key) {
                Some(Slot::Port(port)) => self.net.send(port_key, &mut port.socket, Some(ends), datagrams),
                _ => 0,
            },
        };
        if let Some(Slot::Flow(flow)) = self.slots.get_mut(key) {
            flow.counts.sent += sent as u64;
            flow.counts.dropped += (datagrams.len() - sent) as u64;
        }
        if let Some(large) = large {
            self.arena.give_large(large);
        }
        Ok(())
    }

    // ── Flows go ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Ends the flows that were quiet for too long.
    pub(super) fn end_quiet_flows(&mut self) {
        while self.quiet.next() <= self.now {
            let Some(key) = self.longest_quiet(None) else { return };
            let over = matches!(self.slots.get(key), Some(Slot::Flow(flow)) if flow.deadline() <= self.now);
            if over {
                self.end_flow(key);
            }
        }
    }

    /// The flow whose silence is over first, of a group or of all. Each stands under a time that was right once: it is
    /// not later than the one that is right now.
    fn longest_quiet(&mut self, group: Option<Key>) -> Option<Key> {
        loop {
            let key = self.quiet.first(group)?;
            let Some(Slot::Flow(flow)) = self.slots.get(key) else { return None };
            let &End::Shared(port, ends, listed) = &flow.end else { return None };
            let deadline = flow.deadline();
            if deadline == listed {
                return Some(key);
            }
            let group = flow.group?;
            self.quiet.remove(group, listed, key);
            self.quiet.insert(group, deadline, key);
            if let Some(Slot::Flow(flow)) = self.slots.get_mut(key) {
                flow.end = End::Shared(port, ends, deadline);
            }
        }
    }

    fn end_flow(&mut self, key: Key) {
        if let Some(role) = self.drop_flow(key) {
            self.feed(role, Input::Over(key));
        }
    }

    /// A public port goes, and all its flows with it, while verbs are being carried out: the role is told after them.
    pub(super) fn drop_port(&mut self, key: Key) {
        let Some(Slot::Port(port)) = self.slots.remove(key) else { return };
        for flow in port.flows.into_values() {
            if let Some(role) = self.drop_flow(flow) {
                self.outcomes.push_back((role, Input::Over(flow)));
            }
        }
        self.net.close_socket(key, port.socket);
    }

    /// The only way for a flow to go; whose it was.
    pub(super) fn drop_flow(&mut self, key: Key) -> Option<usize> {
        let Some(Slot::Flow(flow)) = self.slots.get(key) else { return None };
        let proxy = flow.proxy;
        self.unlink(key);
        // Datagrams that are still on their way are nobody's.
        if let Some(link) = proxy.and_then(|proxy| self.link(proxy)) {
            link.payload = Payload::Drained(DRAIN_BYTES_MAX);
        }
        if let Some(proxy) = proxy {
            self.enqueue(proxy);
        }
        let Some(Slot::Flow(mut flow)) = self.slots.remove(key) else { return None };
        flow.clear(&mut self.arena);
        self.arena.release(flow::RIGHTS);
        self.used.raws -= 1;
        match flow.end {
            End::Own(socket) => self.net.close_socket(key, socket),
            End::Shared(port, ends, at) => {
                if let Some(group) = flow.group {
                    self.quiet.remove(group, at, key);
                }
                if let Some(Slot::Port(port)) = self.slots.get_mut(port) {
                    port.flows.remove(&ends);
                }
                let Counts { taken, sent, dropped } = flow.counts;
                self.net.note(self.now, &Note::FlowOver { visitor: ends.peer, taken, sent, dropped });
            }
        }
        self.wake_starved();
        Some(flow.role)
    }
}
