//! The server's own listeners: for clients, for visitors by name, for the operator. Other ones may be wanted while it
//! runs: those that are the same stay open, and whoever has come in stays whatever is closed.

use std::net::SocketAddr;

use super::Server;
use super::arrivals::{Arrival, Guest, Reach};
use crate::door::Door;
use crate::http::Scheme;
use crate::license::Transport;
use crate::note::Note;
use crate::reason::Reason;
use crate::role::{Manner, Outbox, ServerSettings, Settings, Speech, Verb};
use crate::slots::{Key, Table};
use crate::time::Time;
use crate::wire::NO_ADDRESS;

/// A listener that is open, or about to be.
#[derive(Debug)]
pub(super) struct OpenDoor {
    pub(super) door: Door,
    /// With its true port, once it is open.
    pub(super) address: SocketAddr,
    /// Without it there is no server.
    must: bool,
}

/// Where visitors who speak this are told apart by name, if anywhere.
pub(super) fn names_at(doors: &Table<OpenDoor>, scheme: Scheme) -> Option<SocketAddr> {
    let is_for = |open: &OpenDoor| matches!(open.door, Door::Names(_, other) if other == scheme);
    doors.iter().find(|(_, open)| is_for(open)).map(|(_, open)| open.address)
}

impl Server {
    pub(super) fn open_doors(&mut self, out: &mut Outbox<'_>) {
        for door in self.config.doors.clone() {
            self.open_door(door, true, out);
        }
    }

    fn open_door(&mut self, door: Door, must: bool, out: &mut Outbox<'_>) {
        let key = match &door {
            Door::Tunnel(address, Transport::Tls) => out.listen(*address, Speech::Tls),
            Door::Tunnel(address, Transport::Plain) => out.listen(*address, Speech::Plain),
            Door::Names(address, _) => out.listen(*address, Speech::Http),
            Door::Admin(address, _) => out.listen(*address, Speech::Local),
            Door::Socket(path) => out.listen_unix(path),
        };
        if let Some(key) = key {
            let address = door.address().unwrap_or(NO_ADDRESS);
            self.doors.insert(key, OpenDoor { door, address, must });
        }
    }

    /// The settings were read again; then the other files are looked at.
    pub(super) fn reload(
        &mut self,
        now: Time,
        settings: Option<Result<Settings, String>>,
        out: &mut Outbox<'_>,
    ) {
        self.settings_read = match settings {
            Some(Ok(Settings::Server(settings))) => Ok(self.take_settings(now, settings, out)),
            Some(Err(why)) => {
                out.note(Note::SettingsKept(why.clone()));
                Err(why)
            }
            Some(Ok(Settings::Client(_))) | None => Ok(None),
        };
        self.try_refused(now, out);
        out.push(Verb::LookAround);
    }

    /// From now on these settings hold; what that changes.
    fn take_settings(&mut self, now: Time, settings: ServerSettings, out: &mut Outbox<'_>) -> Option<String> {
        let ServerSettings { doors, public_host } = settings;
        let renamed = std::mem::replace(&mut self.public_host, public_host) != self.public_host;
        let gone = self.doors.iter().filter(|(_, open)| !doors.contains(&open.door));
        let gone: Vec<Key> = gone.map(|(key, _)| key).collect();
        let is_open = |door: &Door| self.doors.iter().any(|(_, open)| open.door == *door);
        let new: Vec<Door> = doors.iter().filter(|door| !is_open(door)).cloned().collect();
        let (opened, closed) = (new.len(), gone.len());
        if self.stopping.is_some() || (opened, closed, renamed) == (0, 0, false) {
            return None;
        }
        // Where one moves to another address of the same port, the old one is in its way.
        for key in gone {
            self.doors.remove(key);
            out.close(key, Manner::End);
        }
        for door in new {
            self.open_door(door, false, out);
        }
        self.config.doors = doors;
        self.enforce(now, out);
        let news = Note::ServerSettingsRead { opened, closed };
        let said = news.to_string();
        out.note(news);
        Some(said)
    }

    pub(super) fn bound(&mut self, now: Time, key: Key, address: SocketAddr, out: &mut Outbox<'_>) {
        let Some(open) = self.doors.get_mut(key) else {
            return self.port_bound(now, key, address, out);
        };
        open.address = address;
        match &open.door {
            Door::Tunnel(_, transport) => {
                out.note(Note::Listening { address, tls: *transport == Transport::Tls });
            }
            Door::Names(_, scheme) => {
                out.note(Note::ListeningForNames { address, scheme: scheme.word() });
                // What waited for this door is served.
                self.try_all(now);
            }
            Door::Socket(path) => out.note(Note::AdminAt { place: path.clone() }),
            Door::Admin(..) => out.note(Note::AdminAt { place: format!("http://{address}") }),
        }
    }

    pub(super) fn bind_failed(&mut self, now: Time, key: Key, reason: Reason, out: &mut Outbox<'_>) {
        let Some(OpenDoor { door, address, must }) = self.doors.remove(key) else {
            return self.port_failed(now, key, reason, out);
        };
        out.note(Note::NotListening { whom: door.whom(), address, reason });
        if must {
            out.push(Verb::Exit(1));
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
        let by_name = Guest { peer, came_to: None, reach: Reach::Names };
        match self.doors.get(listener).map(|open| &open.door) {
            Some(&Door::Tunnel(_, transport)) => self.stranger_came(now, key, peer, transport, out),
            Some(Door::Names(_, Scheme::Http)) => self.caller_came(now, key, by_name, Scheme::Http, out),
            Some(Door::Names(_, Scheme::Https)) => self.greeter_came(now, key, by_name, out),
            Some(Door::Socket(_)) => self.admin_came(now, key, peer, None, out),
            Some(Door::Admin(_, token)) => {
                let token = Some(token.clone());
                self.admin_came(now, key, peer, token, out);
            }
            None => self.came_to_port(now, listener, key, peer, out),
        }
    }

    /// A visitor has come to a port of a mapping.
    fn came_to_port(
        &mut self,
        now: Time,
        listener: Key,
        key: Key,
        visitor: SocketAddr,
        out: &mut Outbox<'_>,
    ) {
        match self.ports.get(listener).and_then(|members| self.choose(members)) {
            Some((session, mapping)) => {
                let arrival = Arrival { session, mapping, visitor, came_to: None };
                self.somebody_came(now, key, arrival, out);
            }
            None => out.close(key, Manner::Cut),
        }
    }
}
