//! The server's own listeners: for clients, for visitors by name, for the operator.

use std::net::SocketAddr;

use super::arrivals::{Arrival, Guest, Reach};
use super::{AdminDoor, Server};
use crate::http::Scheme;
use crate::license::Transport;
use crate::note::Note;
use crate::reason::Reason;
use crate::role::{Manner, Outbox, Speech, Verb};
use crate::slots::Key;
use crate::time::Time;
use crate::wire::NO_ADDRESS;

/// Who comes to a listener of the server's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Clients.
    Tunnel(Transport),
    /// Visitors who are told apart by name.
    Names(Scheme),
    /// The operator, by one of its doors.
    Admin(usize),
}

impl Server {
    pub(super) fn open_doors(&mut self, out: &mut Outbox<'_>) {
        for &(address, transport) in &self.config.doors {
            let speech = match transport {
                Transport::Tls => Speech::Tls,
                Transport::Plain => Speech::Plain,
            };
            if let Some(key) = out.listen(address, speech) {
                self.doors.insert(key, (Door::Tunnel(transport), address));
            }
        }
        for &(address, scheme) in &self.name_doors {
            if let Some(key) = out.listen(address, Speech::Http) {
                self.doors.insert(key, (Door::Names(scheme), address));
                self.names.insert(scheme, super::Names::default());
            }
        }
        for (index, door) in self.admin_doors.iter().enumerate() {
            let (key, address) = match door {
                AdminDoor::Unix(path) => (out.listen_unix(path), NO_ADDRESS),
                AdminDoor::Port(address, _) => (out.listen(*address, Speech::Local), *address),
            };
            if let Some(key) = key {
                self.doors.insert(key, (Door::Admin(index), address));
            }
        }
    }

    pub(super) fn bound(&mut self, now: Time, key: Key, address: SocketAddr, out: &mut Outbox<'_>) {
        if let Some((door, bound)) = self.doors.get_mut(key) {
            *bound = address;
            out.note(match *door {
                Door::Tunnel(transport) => Note::Listening { address, tls: transport == Transport::Tls },
                Door::Names(scheme) => Note::ListeningForNames { address, scheme: scheme.word() },
                Door::Admin(index) => Note::AdminAt {
                    place: match &self.admin_doors[index] {
                        AdminDoor::Unix(path) => path.clone(),
                        AdminDoor::Port(..) => format!("http://{address}"),
                    },
                },
            });
        } else {
            self.port_bound(now, key, address, out);
        }
    }

    pub(super) fn bind_failed(&mut self, now: Time, key: Key, reason: Reason, out: &mut Outbox<'_>) {
        if let Some((door, address)) = self.doors.remove(key) {
            let whom = match door {
                Door::Tunnel(_) => "clients",
                Door::Names(_) => "visitors by name",
                Door::Admin(_) => "the API",
            };
            out.note(Note::NotListening { whom, address, reason });
            out.push(Verb::Exit(1));
        } else {
            self.port_failed(now, key, reason, out);
        }
    }

    pub(super) fn accepted(
        &mut self,
        now: Time,
        listener: Key,
        key: Key,
        peer: SocketAddr,
        out: &mut Outbox<'_>,
    ) {
        if let Some(&(door, _)) = self.doors.get(listener) {
            match door {
                Door::Tunnel(transport) => self.stranger_came(now, key, peer, transport, out),
                Door::Admin(index) => {
                    let token = match &self.admin_doors[index] {
                        AdminDoor::Unix(_) => None,
                        AdminDoor::Port(_, token) => Some(token.clone()),
                    };
                    self.admin_came(now, key, peer, token, out);
                }
                Door::Names(scheme) => {
                    let guest = Guest { peer, came_to: None, reach: Reach::Names };
                    match scheme {
                        Scheme::Http => self.caller_came(now, key, guest, scheme, out),
                        Scheme::Https => self.greeter_came(now, key, guest, out),
                    }
                }
            }
        } else if let Some((session, mapping)) =
            self.ports.get(listener).and_then(|members| self.choose(members))
        {
            let arrival = Arrival { session, mapping, visitor: peer, came_to: None };
            self.somebody_came(now, key, arrival, out);
        } else {
            out.close(key, Manner::Cut);
        }
    }
}
