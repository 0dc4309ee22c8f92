//! Datagrams of the simulated network: late, lost, overtaken, and never answered where nobody listens.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use nt::net::Ends;
use nt::time::{Span, Time};

use super::{Host, World};

/// Datagrams that a socket keeps for whoever does not read.
const INBOX_MAX: usize = 64;

/// No two sockets have the same one, ever.
pub type SocketId = usize;

struct Mailbox {
    host: Host,
    token: Option<usize>,
    address: SocketAddr,
    /// The only one who is heard, if there is one.
    peer: Option<SocketAddr>,
    inbox: VecDeque<(Vec<u8>, Ends)>,
    /// It was found empty: news are told.
    dry: bool,
}

struct Letter {
    from: (Host, SocketAddr),
    to: (Host, SocketAddr),
    bytes: Vec<u8>,
}

#[derive(Default)]
pub struct Post {
    /// By [`SocketId`]; `None` where one was closed.
    boxes: Vec<Option<Mailbox>>,
    flight: BTreeMap<(Time, u64), Letter>,
    posted: u64,
    ports: u16,
}

impl Post {
    pub fn next(&self) -> Time {
        self.flight.first_key_value().map_or(Time::NEVER, |((at, _), _)| *at)
    }
}

impl World {
    /// A socket for datagrams; `None` where another one has this address.
    pub fn mailbox(
        &mut self,
        host: Host,
        address: SocketAddr,
        peer: Option<SocketAddr>,
        token: Option<usize>,
    ) -> Option<SocketId> {
        let same = |other: &Mailbox| {
            other.host == host && other.address.port() == address.port() && other.peer == peer
        };
        if self.post.boxes.iter().flatten().any(same) {
            return None;
        }
        let inbox = VecDeque::new();
        self.post.boxes.push(Some(Mailbox { host, token, address, peer, inbox, dry: true }));
        Some(self.post.boxes.len() - 1)
    }

    pub fn unbox(&mut self, socket: SocketId) {
        self.post.boxes[socket] = None;
    }

    /// All that a host's process has.
    pub fn unbox_all(&mut self, host: Host) {
        for place in &mut self.post.boxes {
            place.take_if(|one| one.host == host);
        }
    }

    /// The only one that a socket hears, if there is one.
    pub fn box_peer(&self, socket: SocketId) -> Option<SocketAddr> {
        self.post.boxes[socket].as_ref().and_then(|one| one.peer)
    }

    /// An address that a host has for one socket.
    pub fn own_address(&mut self, host: Host) -> SocketAddr {
        self.post.ports = (self.post.ports + 1) % 40_000;
        crate::world::address(host, 20_000 + self.post.ports)
    }

    /// Sends a datagram to this address of that host.
    pub fn letter(&mut self, socket: SocketId, to: (Host, SocketAddr), bytes: &[u8]) {
        let sender = self.post.boxes[socket].as_ref().expect("a socket that was not closed");
        let from = (sender.host, sender.address);
        self.post.posted += 1;
        let jitter = self.rng.below(self.nasty.delay_micros + 1);
        let at = self.now + Span::from_micros(self.nasty.delay_micros + jitter);
        self.post.flight.insert((at, self.post.posted), Letter { from, to, bytes: bytes.to_vec() });
    }

    /// The oldest that has come.
    pub fn open_letter(&mut self, socket: SocketId) -> Option<(Vec<u8>, Ends)> {
        let mailbox = self.post.boxes[socket].as_mut()?;
        let came = mailbox.inbox.pop_front();
        mailbox.dry = came.is_none();
        came
    }

    /// Delivers what arrives by now; whether there was anything.
    pub(super) fn deliver_letters(&mut self) -> bool {
        let mut arrived = false;
        while self.post.next() <= self.now {
            let Some((_, letter)) = self.post.flight.pop_first() else { break };
            arrived = true;
            let Letter { from, to, bytes } = letter;
            let loss = self.letter_loss;
            if self.cuts.contains(&(from.0, to.0)) || self.rng.chance(loss) {
                continue;
            }
            let fits = |mailbox: &&mut Mailbox| {
                mailbox.host == to.0
                    && mailbox.address.port() == to.1.port()
                    && mailbox.peer.is_none_or(|peer| peer == from.1)
            };
            let Some(mailbox) = self.post.boxes.iter_mut().flatten().find(fits) else { continue };
            if mailbox.inbox.len() >= INBOX_MAX {
                continue;
            }
            mailbox.inbox.push_back((bytes, Ends { peer: from.1, local: Some(to.1.ip()) }));
            if let (true, Some(token)) = (std::mem::take(&mut mailbox.dry), mailbox.token) {
                self.tell(to.0, token, true, false, false, false);
            }
        }
        arrived
    }
}
