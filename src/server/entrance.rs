//! The entrance: tunnel connections that have not proved what they are.
//!
//! They are few at a time, have one small frame and five seconds, and are told nothing. Who proves first is
//! the client: a scanner learns no more than that something speaks TLS here.

use std::net::SocketAddr;

use super::session::{Entering, Home, Login, Session};
use super::{Channel, ProxyChannel, Server, Stranger};
use crate::channel::cmd::Entrance;
use crate::channel::proxy::Proxy;
use crate::directory::Entry;
use crate::license::{LicenseId, Transport, Verifier, plain_binding};
use crate::limits::{LOGIN_TIMEOUT, REFUSED_BACKOFF_FIRST, STRANGERS_MAX, STRANGERS_PER_ADDRESS_MAX};
use crate::note::Note;
use crate::reason::Reason;
use crate::role::{Manner, Outbox, Verb};
use crate::slots::Key;
use crate::time::Time;
use crate::wire::{self, Attach, Frame, Hello, MAC_BYTES, Reject, SIGNATURE_BYTES, Welcome};

impl Server {
    pub(super) fn stranger_came(
        &mut self,
        now: Time,
        key: Key,
        peer: SocketAddr,
        transport: Transport,
        out: &mut Outbox<'_>,
    ) {
        self.make_room(peer, out);
        let deadline = now + LOGIN_TIMEOUT;
        let stranger = Stranger { state: Entrance::Entering, peer, transport, deadline };
        self.channels.insert(key, Channel::Stranger(stranger));
        self.strangers.push(key);
        self.watch(deadline);
    }

    /// Evicts the oldest stranger where there are too many: of the same address first, and of the kind that
    /// there are more of, those that have not come through TLS yet or those that have. So whoever holds
    /// connections open in silence loses them to whoever speaks; and whoever fills the place with speakers
    /// does not take the time that a newcomer needs to become one.
    fn make_room(&mut self, peer: SocketAddr, out: &mut Outbox<'_>) {
        let home = Home::of(peer);
        let ordered = |wanted: &dyn Fn(&Session) -> bool| -> usize {
            self.sessions
                .iter()
                .filter(|(_, s)| wanted(s))
                .map(|(_, session)| session.pool.orders.len())
                .sum()
        };
        let is_neighbour = |key: &Key| self.stranger(*key).is_some_and(|s| s.home() == home);
        let too_many = |count: usize, most: usize, ordered: &dyn Fn() -> usize| {
            count >= most && count >= most + ordered()
        };
        let neighbours = self.strangers.iter().filter(|key| is_neighbour(key)).count();
        let of_home = || ordered(&|session| session.login.home == home);
        let crowded_home = too_many(neighbours, STRANGERS_PER_ADDRESS_MAX, &of_home);
        if !crowded_home && !too_many(self.strangers.len(), STRANGERS_MAX, &|| ordered(&|_| true)) {
            return;
        }
        let is_silent = |key: &Key| self.stranger(*key).is_some_and(|s| s.state == Entrance::Entering);
        let crowd = self.strangers.iter().filter(|key| !crowded_home || is_neighbour(key));
        let (silent, speaking): (Vec<Key>, Vec<Key>) = crowd.partition(|key| is_silent(key));
        let more = if silent.len() >= speaking.len() { silent } else { speaking };
        let Some(&oldest) = more.first() else { return };
        if let Some(Channel::Stranger(stranger)) = self.channels.remove(oldest) {
            out.note(Note::StrangerEvicted { peer: stranger.peer });
        }
        self.strangers.retain(|&key| key != oldest);
        out.close(oldest, Manner::Cut);
    }

    pub(super) fn stranger(&self, key: Key) -> Option<&Stranger> {
        match self.channels.get(key) {
            Some(Channel::Stranger(stranger)) => Some(stranger),
            _ => None,
        }
    }

    /// TLS is up: its exporter is what proofs are bound to. On the plain port the binding comes with NONCE.
    pub(super) fn secured(&mut self, key: Key, binding: Option<[u8; 32]>, _out: &mut Outbox<'_>) {
        if let (Some(Channel::Stranger(stranger)), Some(binding)) = (self.channels.get_mut(key), binding) {
            stranger.state = Entrance::Known(binding);
        }
    }

    /// A stranger's frame. `false` if it is none that a stranger may send.
    pub(super) fn stranger_spoke(
        &mut self,
        now: Time,
        key: Key,
        frame: Frame<'_>,
        bytes: &[u8],
        out: &mut Outbox<'_>,
    ) -> bool {
        let Some(Channel::Stranger(stranger)) = self.channels.get_mut(key) else {
            return false;
        };
        match (stranger.state, frame) {
            (Entrance::Entering, Frame::Nonce(theirs)) if stranger.transport == Transport::Plain => {
                let mut ours = [0; 32];
                self.entropy.fill(&mut ours);
                out.send(key, &Frame::Nonce(ours));
                stranger.state = Entrance::Known(plain_binding(&theirs, &ours));
                true
            }
            (Entrance::Known(_), Frame::Hello(hello)) => {
                if self.config.directory.by_id(LicenseId(hello.license)).is_some() {
                    self.judge(now, key, &hello, bytes, out);
                } else if !self.unknown.iter().any(|(other, _)| *other == key) {
                    // The license may have been added a moment ago: look before saying no.
                    self.unknown.push((key, bytes.to_vec()));
                    out.push(Verb::LookAround);
                }
                true
            }
            (Entrance::Known(binding), Frame::Attach(attach)) => {
                self.attach(now, key, &binding, &attach, out)
            }
            (Entrance::Known(binding), Frame::Visit(visit)) => {
                self.fellow_came(now, key, &binding, &visit, out)
            }
            _ => false,
        }
    }

    /// Judges a HELLO that had to wait for a look at the license file.
    pub(super) fn judge_unknown(&mut self, now: Time, key: Key, bytes: &[u8], out: &mut Outbox<'_>) {
        if let Ok(Some((Frame::Hello(hello), _))) = wire::next(bytes) {
            self.judge(now, key, &hello, bytes, out);
        }
    }

    fn judge(&mut self, now: Time, key: Key, hello: &Hello, bytes: &[u8], out: &mut Outbox<'_>) {
        let Some(&Stranger { state: Entrance::Known(binding), transport, peer, .. }) = self.stranger(key)
        else {
            return;
        };
        let signed = &bytes[..bytes.len() - SIGNATURE_BYTES];
        let license = LicenseId(hello.license);
        let entry = self.config.directory.by_id(license);
        // An unknown license costs the same time as a known one.
        let verifier = entry.map_or_else(Verifier::dummy, |entry| entry.verifier_of(license).clone());
        let proved = verifier.check_hello(transport, &binding, signed, &hello.signature);
        let Some(entry) = entry.filter(|_| proved) else {
            out.note(Note::LoginRefused { peer, reason: Reason::Denied });
            return self.reject(now, key, Reason::Denied, |_| [0; MAC_BYTES], out);
        };
        let prove = |answer: &[u8]| verifier.mac_answer(transport, &binding, signed, answer);
        let guest = hello.capabilities & wire::GUEST != 0;
        let entering = self.entering(entry, &hello.instance, guest);
        let trouble = self.login_trouble(entry, license, hello, entering);
        if let Some(reason) = trouble {
            out.note(Note::LoginRefused { peer, reason });
            return self.reject(now, key, reason, prove, out);
        }

        let mut id = [0; 16];
        self.entropy.fill(&mut id);
        let attach = verifier.attach_key(transport, &binding, &id);
        let (name, instance, counter) = (entry.name.clone(), hello.instance, hello.counter);
        let login = Login {
            name: name.clone(),
            guest,
            license,
            instance,
            peer,
            since: now,
            home: Home::of(peer),
            counter,
            id,
            attach,
            mappings: hello.mappings,
        };
        self.strangers.retain(|&other| other != key);
        self.channels.remove(key);
        let Some((session, resumed)) = self.log_in(now, key, login, entering, out) else {
            return out.close(key, Manner::Cut);
        };
        let mut welcome = Welcome {
            version: wire::VERSION,
            session: id,
            generation: self.sessions.get(session).map_or(0, |session| session.generation),
            capabilities: 0,
            resumed,
            mac: [0; MAC_BYTES],
        };
        welcome.mac = prove(Frame::Welcome(welcome).encode().unproved(MAC_BYTES));
        out.send(key, &Frame::Welcome(welcome));
        // Whoever only looks whether a new license is good does not use it.
        if !guest {
            self.met(&name, license, out);
        }
        out.note(Note::SessionUp { name, peer, resumed });
        self.offer_mappings(session, out);
        self.mappings_declared(session, out);
        self.announce(session, out);
        self.serve(now, session, out);
    }

    /// Why a client that has proved its license is not let in, if so.
    fn login_trouble(
        &self,
        entry: &Entry,
        license: LicenseId,
        hello: &Hello,
        entering: Entering,
    ) -> Option<Reason> {
        let stale = match entering {
            Entering::Resumes(old) => {
                self.sessions.get(old).is_some_and(|old| old.login.counter >= hello.counter)
            }
            Entering::Beside | Entering::Replaces(_) => false,
        };
        let full = entering == Entering::Beside && self.sessions.len() >= self.config.sessions_max;
        self.license_trouble(entry, license).or_else(|| match () {
            () if hello.version < wire::VERSION => Some(Reason::Version),
            () if stale => Some(Reason::Stale),
            () if self.stopping.is_some() => Some(Reason::Stopping),
            () if full => Some(Reason::Busy),
            () => None,
        })
    }

    fn reject(
        &mut self,
        now: Time,
        key: Key,
        reason: Reason,
        prove: impl Fn(&[u8]) -> [u8; MAC_BYTES],
        out: &mut Outbox<'_>,
    ) {
        let mut reject =
            Reject { reason, retry_millis: REFUSED_BACKOFF_FIRST.as_millis(), mac: [0; MAC_BYTES] };
        reject.mac = prove(Frame::Reject(reject).encode().unproved(MAC_BYTES));
        out.send(key, &Frame::Reject(reject));
        out.close(key, Manner::End);
        self.lost(now, key, reason, out);
    }

    /// A ProxyChannel comes: it must name a session, an order of it, and prove that it is the client's.
    fn attach(
        &mut self,
        now: Time,
        key: Key,
        binding: &[u8; 32],
        attach: &Attach,
        out: &mut Outbox<'_>,
    ) -> bool {
        let Some(transport) = self.stranger(key).map(|stranger| stranger.transport) else {
            return false;
        };
        let Some(&owner) = self.by_id.get(&attach.session) else { return false };
        let Some(session) = self.sessions.get_mut(owner) else { return false };
        if !session.login.attach.check(transport, binding, attach.channel, &attach.mac)
            || session.pool.orders.remove(&attach.channel).is_none()
        {
            return false;
        }
        self.strangers.retain(|&other| other != key);
        let proxy = ProxyChannel {
            session: owner,
            state: Proxy::Idle,
            visitor: None,
            deadline: Time::NEVER,
            ended: false,
        };
        self.channels.insert(key, Channel::Proxy(proxy));
        self.proxies += 1;
        self.pool(now, owner, key, out);
        true
    }
}
