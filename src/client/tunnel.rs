//! The client's mappings and ProxyChannels.

use std::net::{Ipv4Addr, SocketAddr};

use super::{Channel, Client, Cmd, Coming, Host, Mapping, ProxyChannel, Purpose, Target};
use crate::license::plain_binding;
use crate::limits::{CONNECT_TIMEOUT, LOGIN_TIMEOUT, MAPPINGS_MAX, MAPS_PER_BATCH, SERVER_MAPPING_BIT};
use crate::names::bracketed;
use crate::note::Note;
use crate::policy::Allow;
use crate::reason::Reason;
use crate::role::{Manner, Outbox, Verb};
use crate::slots::Key;
use crate::time::Time;
use crate::wire::{Attach, Frame, MAC_BYTES, Map, Mapped, NO_ADDRESS};

/// What the client last said about a mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MapState {
    /// Where it is served, or why not. `None` before the server's first answer.
    told: Option<Result<SocketAddr, Reason>>,
}

impl Client {
    // ── Mappings ────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn declare_all(&mut self, resumed: bool, out: &mut Outbox<'_>) {
        self.next_map = 0;
        if !resumed {
            self.states.iter_mut().for_each(|state| state.told = None);
        }
        self.declare_more(out);
    }

    fn declare_more(&mut self, out: &mut Outbox<'_>) {
        let Some(cmd) = self.cmd.key() else { return };
        let end = (self.next_map + MAPS_PER_BATCH).min(self.config.mappings.len());
        for index in self.next_map..end {
            let mapping = &self.config.mappings[index];
            let text = mapping.to_wire();
            out.send(cmd, &Frame::Map(Map { index: index as u16, mapping: &text }));
        }
        self.next_map = end;
        if end < self.config.mappings.len() {
            out.push(Verb::TellDrained(cmd));
        }
    }

    pub(super) fn drained(&mut self, key: Key, out: &mut Outbox<'_>) {
        if self.cmd.key() == Some(key) && matches!(self.cmd, Cmd::Ready { .. }) {
            self.declare_more(out);
        }
    }

    /// The server says how a mapping stands. `false` if there is no such mapping.
    pub(super) fn mapping_answered(&mut self, mut mapped: Mapped, out: &mut Outbox<'_>) -> bool {
        let (mapping, state) = if mapped.index & SERVER_MAPPING_BIT != 0 {
            match self.offers.get_mut(&mapped.index) {
                Some((mapping, state)) => (&*mapping, state),
                None => return true,
            }
        } else {
            match (
                self.config.mappings.get(usize::from(mapped.index)),
                self.states.get_mut(usize::from(mapped.index)),
            ) {
                (Some(mapping), Some(state)) => {
                    // A server that could not read it does not know where it was to be.
                    if mapped.public == NO_ADDRESS {
                        mapped.public = mapping.public.address().unwrap_or(NO_ADDRESS);
                    }
                    (mapping, state)
                }
                _ => return false,
            }
        };
        let told = mapped.trouble.map_or(Ok(mapped.public), Err);
        if state.told == Some(told) {
            return true;
        }
        state.told = Some(told);
        let target = mapping.target.to_string();
        let host = bracketed(&self.config.servers[self.server].0);
        let public = mapping.shown_at(mapped.public, Some(&host));
        out.note(match mapped.trouble {
            None => Note::Ready { public, target, login: self.logins },
            Some(reason) => Note::NotReady { public, target, reason },
        });
        true
    }

    /// The server offers a mapping that stands in the license: taken only where `--allow` covers it.
    pub(super) fn offered(&mut self, map: &Map<'_>, out: &mut Outbox<'_>) -> bool {
        let Some(cmd) = self.cmd.key() else { return false };
        if map.index & SERVER_MAPPING_BIT == 0 {
            return false;
        }
        // Whatever comes of this one, the one before it is not meant any more; and the oldest make room.
        self.offers.remove(&map.index);
        while self.offers.len() >= MAPPINGS_MAX {
            self.offers.pop_first();
        }
        let offer = Mapping::from_wire(map.mapping);
        let public = offer.as_ref().and_then(|offer| offer.public.address()).unwrap_or(NO_ADDRESS);
        let refused = |target: &Target, word: String| {
            let word = format!("{},{word}", self.config.allow);
            Note::OfferRefused { target: target.to_string(), word }
        };
        let trouble = match offer.as_ref().map(|offer| &offer.target) {
            None => Some(Reason::NotServed),
            Some(to @ Target::Tcp { host: Host::Ip(ip), port }) if !self.config.allow.permits(*ip, *port) => {
                out.note(refused(to, Allow::word_for(*ip, *port)));
                Some(Reason::NotAllowed)
            }
            // What may not be reached in any case is not even looked up: whether a name exists is not the
            // server's business. Else it is checked when it is dialled, by the address that it has then.
            Some(to @ Target::Tcp { host: Host::Name(name), port }) if !self.may_look_up(name, *port) => {
                out.note(refused(to, "lan".into()));
                Some(Reason::NotAllowed)
            }
            Some(to @ Target::Unix(path)) if !self.config.allow.permits_unix(path) => {
                out.note(refused(to, Allow::word_for_unix(path)));
                Some(Reason::NotAllowed)
            }
            Some(to @ Target::Files(path)) if !self.config.allow.permits_folder(path) => {
                out.note(refused(to, Allow::word_for_folder(path)));
                Some(Reason::NotAllowed)
            }
            // What an exit's visitors want is checked when they want it.
            Some(Target::Tcp { .. } | Target::Unix(_) | Target::Files(_) | Target::Exit(_)) => None,
        };
        if let (Some(offer), None) = (offer, trouble) {
            self.offers.insert(map.index, (offer, MapState::default()));
        }
        out.send(cmd, &Frame::Mapped(Mapped { index: map.index, trouble, public }));
        true
    }

    /// Whether any address of this name might be allowed.
    pub(super) fn may_look_up(&self, name: &str, port: u16) -> bool {
        let here = name == "localhost" && self.config.allow.permits(Ipv4Addr::LOCALHOST.into(), port);
        here || self.config.allow.may_permit(port)
    }

    // ── ProxyChannels ───────────────────────────────────────────────────────────────────────────────────────────

    /// Brings the ProxyChannels that the server ordered, within this client's own bound.
    pub(super) fn bring_proxies(&mut self, now: Time, first: u64, count: u16, out: &mut Outbox<'_>) {
        let Cmd::Ready { address, .. } = self.cmd else { return };
        for number in (0..u64::from(count)).map(|n| first.saturating_add(n)) {
            if self.proxies >= self.config.proxies_max {
                return;
            }
            let Some(key) = self.dial_out(address, out) else { return };
            let deadline = now + CONNECT_TIMEOUT + LOGIN_TIMEOUT;
            let purpose = Purpose::Attach(number);
            self.channels.insert(key, Channel::Coming(Coming { purpose, nonce: None, deadline }));
            self.watch(deadline);
            self.proxies += 1;
        }
    }

    pub(super) fn proxy_secured(
        &mut self,
        now: Time,
        key: Key,
        binding: Option<[u8; 32]>,
        out: &mut Outbox<'_>,
    ) {
        if let Some(binding) = binding {
            self.attach(now, key, &binding, out);
        } else {
            let ours = self.send_nonce(key, out);
            if let Some(Channel::Coming(coming)) = self.channels.get_mut(key) {
                coming.nonce = Some(ours);
            }
        }
    }

    pub(super) fn coming_spoke(
        &mut self,
        now: Time,
        key: Key,
        frame: Frame<'_>,
        out: &mut Outbox<'_>,
    ) -> bool {
        match (self.channels.get(key), frame) {
            (Some(&Channel::Coming(Coming { nonce: Some(ours), .. })), Frame::Nonce(theirs)) => {
                self.attach(now, key, &plain_binding(&ours, &theirs), out);
                true
            }
            _ => false,
        }
    }

    fn attach(&mut self, now: Time, key: Key, binding: &[u8; 32], out: &mut Outbox<'_>) {
        let (Some(session), Some(Channel::Coming(coming))) = (&self.session, self.channels.get(key)) else {
            return;
        };
        let number = match coming.purpose {
            Purpose::Attach(number) => number,
            Purpose::Visit { which, raw } => return self.ask_to_visit(now, key, binding, (which, raw), out),
        };
        let mac: [u8; MAC_BYTES] = session.attach.mac(self.config.transport, binding, number);
        out.send(key, &Frame::Attach(Attach { session: session.id, channel: number, mac }));
        self.channels.insert(key, Channel::Proxy(ProxyChannel::idle()));
    }

    /// Drops ProxyChannels that belong to an older login; with `all`, also those with visits, which are cut.
    pub(super) fn drop_channels(&mut self, now: Time, all: bool, out: &mut Outbox<'_>) {
        let doomed: Vec<Key> = self
            .channels
            .iter()
            .filter(|(_, channel)| all || matches!(channel, Channel::Coming(_)))
            .map(|(key, _)| key)
            .collect();
        for key in doomed {
            match self.channels.remove(key) {
                // The server may have kept the session: a visit that was taken is not taken again.
                Some(Channel::Proxy(proxy)) => self.count_out(&proxy),
                Some(Channel::Coming(coming)) => self.forget_coming(now, &coming, out),
                Some(Channel::Real(_) | Channel::Waiting(_)) | None => {}
            }
            out.close(key, Manner::Cut);
        }
        if all {
            self.queries.clear();
            self.names.clear();
            self.offers.clear();
        }
    }
}
