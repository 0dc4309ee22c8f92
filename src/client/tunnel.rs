//! The client's mappings and ProxyChannels.

use std::net::Ipv4Addr;
use std::ops::Range;

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

/// Indexes of the client's own mappings, and of those that the server declares.
pub(super) const OWN: Range<u16> = 0..SERVER_MAPPING_BIT;
pub(super) const OFFERED: Range<u16> = SERVER_MAPPING_BIT..u16::MAX;

/// A mapping, and what the client last said about it: run by run, as the server did.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) mapping: Mapping,
    pub(super) told: Vec<Mapped>,
    /// The how many-th offer it was; 0 is of the client's own.
    pub(super) offer: u64,
}

impl Known {
    pub(super) fn new(mapping: Mapping, offer: u64) -> Self {
        Self { mapping, told: Vec::new(), offer }
    }

    /// Whether anything of this is news; it is not the next time.
    fn is_news(&mut self, mapped: Mapped) -> bool {
        let new = mapped.index..mapped.index + mapped.count;
        let known = self.told.iter().filter_map(|old| clip(old, &new));
        let known =
            known.filter(|old| clip(&mapped, &(old.index..old.index + old.count)).as_ref() == Some(old));
        if known.map(|old| old.count).sum::<u16>() == mapped.count {
            return false;
        }
        let apart = |old: &Mapped| [clip(old, &(0..new.start)), clip(old, &(new.end..u16::MAX))];
        self.told = self.told.iter().flat_map(apart).flatten().chain([mapped]).collect();
        true
    }
}

/// What was said of these indexes, of all that was said at once.
fn clip(said: &Mapped, indexes: &Range<u16>) -> Option<Mapped> {
    let start = said.index.max(indexes.start);
    let end = (said.index + said.count).min(indexes.end);
    let mut public = said.public;
    public.set_port(public.port().wrapping_add(start - said.index));
    (start < end).then(|| Mapped { index: start, count: end - start, trouble: said.trouble, public })
}

impl AsRef<Mapping> for Known {
    fn as_ref(&self) -> &Mapping {
        &self.mapping
    }
}

impl Client {
    // ── Mappings ────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn declare_all(&mut self, resumed: bool, out: &mut Outbox<'_>) {
        self.next_map = 0;
        if !resumed {
            self.mappings.range_mut(OWN).for_each(|(_, known)| known.told.clear());
        }
        self.declare_more(out);
    }

    fn declare_more(&mut self, out: &mut Outbox<'_>) {
        let Some(cmd) = self.cmd.key() else { return };
        let mut rest = self.mappings.range(self.next_map..OWN.end);
        for (&index, known) in rest.by_ref().take(MAPS_PER_BATCH) {
            let text = known.mapping.to_wire();
            out.send(cmd, &Frame::Map(Map { index, mapping: &text }));
        }
        if let Some((&next, _)) = rest.next() {
            self.next_map = next;
            out.push(Verb::TellDrained(cmd));
        } else {
            self.next_map = OWN.end;
        }
    }

    pub(super) fn drained(&mut self, key: Key, out: &mut Outbox<'_>) {
        if self.cmd.key() == Some(key) && matches!(self.cmd, Cmd::Ready { .. }) {
            self.declare_more(out);
        }
    }

    /// The server says how a mapping stands, or some ports of it. `false` if there is no such mapping.
    pub(super) fn mapping_answered(&mut self, mut mapped: Mapped, out: &mut Outbox<'_>) -> bool {
        let Some((known, offset)) = self.mappings.find_mut(mapped.index) else {
            return mapped.index & SERVER_MAPPING_BIT != 0;
        };
        let most = known.mapping.count() - offset;
        if mapped.count == 0 {
            mapped.count = most;
        }
        if mapped.count > most {
            return false;
        }
        let part = known.mapping.part(offset, mapped.count);
        // A server that could not read it does not know where it was to be.
        if mapped.public == NO_ADDRESS {
            mapped.public = part.public.address().unwrap_or(NO_ADDRESS);
        }
        if !known.is_news(mapped) {
            return true;
        }
        let target = part.target.to_string();
        let host = bracketed(&self.config.servers[self.server].0);
        let public = part.shown_at(mapped.public, Some(&host));
        out.note(match mapped.trouble {
            None => Note::Ready { public, target, login: self.logins },
            Some(reason) => Note::NotReady { public, target, reason },
        });
        true
    }

    /// The server offers a mapping that stands in the license: taken only where `--allow` covers it.
    pub(super) fn offered(&mut self, map: &Map<'_>, out: &mut Outbox<'_>) -> bool {
        let Some(cmd) = self.cmd.key() else { return false };
        let offer = Mapping::from_wire(map.mapping);
        let count = offer.as_ref().map_or(1, Mapping::count);
        let Some(end) = map.index.checked_add(count).filter(|_| OFFERED.contains(&map.index)) else {
            return false;
        };
        // Whatever comes of this one, those before it are not meant any more; and the oldest make room.
        for index in self.mappings.overlapping(map.index..end) {
            self.mappings.remove(&index);
        }
        while self.mappings.count(OFFERED) + usize::from(count) > MAPPINGS_MAX {
            let oldest = self.mappings.range(OFFERED).min_by_key(|(_, known)| known.offer);
            let Some((&oldest, _)) = oldest else { break };
            self.mappings.remove(&oldest);
        }
        self.offers += 1;
        let public = offer.as_ref().and_then(|offer| offer.public.address()).unwrap_or(NO_ADDRESS);
        let trouble = match &offer {
            None => Some(Reason::NotServed),
            Some(offer) => self.permission_lacking(&offer.target).map(|word| {
                let word = format!("{},{word}", self.config.allow);
                out.note(Note::OfferRefused { target: offer.target.to_string(), word });
                Reason::NotAllowed
            }),
        };
        let count = if offer.is_some() { count } else { 0 };
        if let (Some(offer), None) = (offer, trouble) {
            self.mappings.insert(map.index, Known::new(offer, self.offers));
        }
        out.send(cmd, &Frame::Mapped(Mapped { index: map.index, count, trouble, public }));
        true
    }

    /// What `--allow` would have to say, too, for the server to send visitors to `target`; `None` where it covers it.
    fn permission_lacking(&self, target: &Target) -> Option<String> {
        let allow = &self.config.allow;
        match target {
            Target::Tcp { host: Host::Ip(ip), ports } => {
                let refused = ports.iter().any(|port| !allow.permits(*ip, port));
                refused.then(|| Allow::word_for(*ip, ports.first(), ports.last()))
            }
            // What may not be reached in any case is not even looked up: whether a name exists is not the
            // server's business. Else it is checked when it is dialled, by the address that it has then.
            Target::Tcp { host: Host::Name(name), ports } => {
                let refused = ports.iter().any(|port| !self.may_look_up(name, port));
                refused.then(|| "lan".into())
            }
            Target::Unix(path) => (!allow.permits_unix(path)).then(|| Allow::word_for_unix(path)),
            Target::Files(path) => (!allow.permits_folder(path)).then(|| Allow::word_for_folder(path)),
            // What an exit's visitors want is checked when they want it.
            Target::Exit(_) => None,
        }
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
            Purpose::Look => return,
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
                Some(Channel::Real(_) | Channel::Waiting(_) | Channel::Check(_)) | None => {}
            }
            out.close(key, Manner::Cut);
        }
        if all {
            self.queries.clear();
            self.names.clear();
            self.mappings.retain(|index, _| OWN.contains(index));
        }
    }
}
