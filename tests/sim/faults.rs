//! What goes wrong in the simulated network: calls that fail, connections that break, NATs that forget, processes that crash.

use std::io;

use nt::role::Manner;

use super::{EndId, Host, Packet, State, World};

/// Calls of a process to its operating system that fail without any reason of this world.
#[derive(Clone, Copy, Default)]
pub enum Trouble {
    #[default]
    Never,
    /// So many of a thousand.
    Sometimes(u64),
    /// One, in one of its ways: the failure of this number among all that there could be, from 0.
    Once(u64),
}

/// How connections break by themselves.
pub const SNAPS: [io::ErrorKind; 4] = [
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::TimedOut,
    io::ErrorKind::HostUnreachable,
    io::ErrorKind::BrokenPipe,
];

impl World {
    /// Whether a call fails now that can do so in so many ways, and in which.
    pub fn fails(&mut self, ways: u64) -> Option<u64> {
        let before = self.fallible;
        self.fallible += ways;
        match self.trouble {
            Trouble::Never => None,
            Trouble::Sometimes(of_thousand) => {
                (self.rng.below(1_000) < of_thousand).then(|| self.rng.below(1 << 32) % ways)
            }
            Trouble::Once(n) => n.checked_sub(before).filter(|way| *way < ways),
        }
    }

    /// A NAT between two hosts forgets all their connections; new ones pass.
    pub fn forget(&mut self, a: Host, b: Host) {
        for end in 0..self.ends.len() {
            let peer = self.ends[end].peer;
            if self.ends[end].host == a && self.ends[peer].host == b {
                (self.ends[end].forgotten, self.ends[peer].forgotten) = (true, true);
            }
        }
    }

    /// A connection that breaks by itself, in one of [`SNAPS`] ways: the peer is told, by and by.
    pub fn snap(&mut self, end: EndId, way: u64) -> io::Error {
        let kind = SNAPS[way as usize];
        if self.ends[end].state == State::Up {
            self.send(end, Packet::Rst);
        }
        self.fail(end, kind);
        kind.into()
    }

    /// Cuts a living connection of these hosts, chosen by the dice; nothing is said about which.
    pub fn reset_one(&mut self, a: Host, b: Host) -> bool {
        let living: Vec<EndId> = (0..self.ends.len())
            .filter(|&e| {
                let end = &self.ends[e];
                end.state == State::Up && end.host == a && self.ends[end.peer].host == b
            })
            .collect();
        if living.is_empty() {
            return false;
        }
        let end = living[self.rng.below(living.len() as u64) as usize];
        self.reset(end);
        true
    }

    /// Resets every connection between two hosts.
    pub fn reset_all(&mut self, a: Host, b: Host) {
        for end in 0..self.ends.len() {
            let peer = self.ends[end].peer;
            if self.ends[end].state == State::Up && self.ends[end].host == a && self.ends[peer].host == b {
                self.reset(end);
            }
        }
    }

    /// The far ends of all connections between two hosts but one are gone, and nobody was told: whoever sends on one
    /// gets RST.
    pub fn forget_idle(&mut self, a: Host, b: Host, but: Option<EndId>) {
        for end in 0..self.ends.len() {
            let peer = self.ends[end].peer;
            let living =
                self.ends[end].state == State::Up && self.ends[end].host == a && self.ends[peer].host == b;
            if living && Some(end) != but {
                self.fail(end, io::ErrorKind::ConnectionReset);
                self.ends[end].state = State::Closed;
            }
        }
    }

    pub fn reset(&mut self, end: EndId) {
        let peer = self.ends[end].peer;
        self.fail(end, io::ErrorKind::ConnectionReset);
        self.fail(peer, io::ErrorKind::ConnectionReset);
    }

    /// The process of a host is gone: the kernel ends its connections.
    pub fn crash(&mut self, host: Host) {
        let ports: Vec<u16> =
            self.listeners.iter().filter(|(_, l)| l.host == host).map(|(port, _)| *port).collect();
        ports.into_iter().for_each(|port| self.unlisten(port));
        for end in 0..self.ends.len() {
            if self.ends[end].host == host && self.ends[end].token.is_some() {
                // Tunnel connections end with FIN, raw ones with RST (they linger for no time).
                let manner = if self.ends[end].keepalive { Manner::End } else { Manner::Cut };
                self.close(end, manner);
            }
        }
        self.unbox_all(host);
        let process = &mut self.processes[host];
        process.events.clear();
        process.sockets = 0;
    }
}
