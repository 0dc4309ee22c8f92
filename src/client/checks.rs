//! Whether real servers are well: what a mapping's `check=` asks for, now and then, while the client is logged in.
//!
//! ```text
//!              due              addresses             dialled
//!   Resting ────────► Resolving ──────────► Dialing ───────────► Answering (http)
//!      ▲                  │                    │  tcp: well          │ its status
//!      └──────────────────┴────────────────────┴─────────────────────┘
//! ```
//!
//! The first check tells at once; later on one that fails is made again soon, and only what fails then, too, is sick.
//! The server is told of each change, and takes no visitors there meanwhile: they go to another client of the license,
//! where there is one.

use std::net::SocketAddr;

use super::{Channel, Client, Cmd, Due, Stop};
use crate::limits::{
    CHECK_AGAIN, CHECK_EVERY, CHECK_HEARD_BYTES, CHECK_TIMEOUT, CHECKS_AT_ONCE, SERVER_MAPPING_BIT,
};
use crate::mapping::{Check, Host, Target};
use crate::note::Note;
use crate::reason::Reason;
use crate::role::{Manner, Outbox, Place, Query, Verb};
use crate::slots::Key;
use crate::time::Time;
use crate::wire::{Frame, Mapped, NO_ADDRESS};

/// What is known of the real server of a mapping.
#[derive(Debug)]
pub(super) struct Checked {
    target: Target,
    check: Check,
    stage: Stage,
    /// When the next check begins; of one that is under way, when it has had its time.
    due: Time,
    found: Found,
}

/// What the checks have found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Nothing yet.
    Unknown,
    /// It is well; the last check has failed, perhaps.
    Well { failed: bool },
    /// It is not, and why.
    Sick(Reason),
}

/// How far a check is.
#[derive(Debug)]
enum Stage {
    Resting,
    Resolving(Query),
    Dialing { key: Key, rest: Vec<SocketAddr> },
    Answering { key: Key, heard: Vec<u8> },
}

impl Checked {
    fn new(now: Time, target: Target, check: Check) -> Self {
        Self { target, check, stage: Stage::Resting, due: now, found: Found::Unknown }
    }

    fn key(&self) -> Option<Key> {
        match self.stage {
            Stage::Dialing { key, .. } | Stage::Answering { key, .. } => Some(key),
            Stage::Resting | Stage::Resolving(_) => None,
        }
    }

    /// What the last check means.
    fn conclude(&self, result: Result<(), Reason>) -> Found {
        match (self.found, result) {
            (_, Ok(())) => Found::Well { failed: false },
            (Found::Well { failed: false }, Err(_)) => Found::Well { failed: true },
            (_, Err(reason)) => Found::Sick(reason),
        }
    }

    /// The request of HTTP that asks whether it is well (RFC 9110 section 9.3.1).
    fn request(&self, host: Option<&str>) -> Option<String> {
        let Check::Http(path) = &self.check else { return None };
        let target = match &self.target {
            Target::Tcp { .. } => self.target.to_string(),
            _ => "localhost".to_owned(),
        };
        let host = host.unwrap_or(&target);
        Some(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: nt\r\nConnection: close\r\n\r\n"))
    }
}

impl Client {
    /// The client has logged in: what is under way is of a session before this one, and all is checked again at once.
    pub(super) fn check_anew(&mut self, now: Time, out: &mut Outbox<'_>) {
        for index in self.checks.keys().copied().collect::<Vec<_>>() {
            self.give_up_check(index, out);
        }
        self.checks.values_mut().for_each(|checked| (checked.stage, checked.due) = (Stage::Resting, now));
        self.look_after(now, out);
    }

    /// The mappings may be others: what is to be checked is, from now on, and nothing else.
    pub(super) fn look_after(&mut self, now: Time, out: &mut Outbox<'_>) {
        for index in self.checks.keys().copied().filter(|&index| !self.is_wanted(index)).collect::<Vec<_>>() {
            self.give_up_check(index, out);
            self.checks.remove(&index);
        }
        for (&index, known) in self.mappings.iter() {
            if let Some(check) = &known.mapping.options.check {
                let target = known.mapping.target.part(0, 1);
                self.checks.get_or_insert_with(index, || Checked::new(now, target, check.clone()));
            }
        }
        self.watch_checks();
    }

    /// Whether a mapping still asks for the check that there is of it.
    fn is_wanted(&self, index: u16) -> bool {
        let Some((checked, known)) = self.checks.get(&index).zip(self.mappings.get(&index)) else {
            return false;
        };
        let (mapping, check) = (&known.mapping, &checked.check);
        mapping.options.check.as_ref() == Some(check) && mapping.target.part(0, 1) == checked.target
    }

    /// A check is due then: it will be looked for.
    fn watch_checks(&mut self) {
        let next = self.checks.values().map(|checked| checked.due).min();
        if let Some(next) = next.filter(|&next| self.checks_due.lower(next)) {
            self.timers.remind(next, Due::Checks);
        }
    }

    pub(super) fn checks_due(&mut self, now: Time, out: &mut Outbox<'_>) {
        if !self.checks_due.reached(now) || self.stop != Stop::No || !matches!(self.cmd, Cmd::Ready { .. }) {
            return;
        }
        let due: Vec<u16> =
            self.checks.iter().filter(|(_, checked)| checked.due <= now).map(|(&index, _)| index).collect();
        for index in due {
            let Some(checked) = self.checks.get(&index) else { continue };
            if !matches!(checked.stage, Stage::Resting) {
                self.checked(now, index, Err(Reason::TimedOut), out);
                continue;
            }
            let under_way = self.checks.values().filter(|one| !matches!(one.stage, Stage::Resting)).count();
            if under_way < CHECKS_AT_ONCE {
                self.begin_check(now, index, out);
            } else if let Some(checked) = self.checks.get_mut(&index) {
                checked.due = now + CHECK_AGAIN;
            }
        }
        self.watch_checks();
    }

    fn begin_check(&mut self, now: Time, index: u16, out: &mut Outbox<'_>) {
        let Some(checked) = self.checks.get_mut(&index) else { return };
        checked.due = now + CHECK_TIMEOUT;
        match checked.target.clone() {
            Target::Tcp { host: Host::Ip(ip), ports } => {
                self.dial_check(now, index, &[SocketAddr::new(ip, ports.first())], out);
            }
            Target::Tcp { host: Host::Name(name), ports } => {
                let query = self.query();
                if let Some(checked) = self.checks.get_mut(&index) {
                    checked.stage = Stage::Resolving(query);
                }
                out.push(Verb::Resolve(query, name, ports.first()));
            }
            Target::Unix(path)
                if index & SERVER_MAPPING_BIT == 0 || self.config.allow.permits_unix(&path) =>
            {
                self.probe(now, index, Place::Unix(path), Vec::new(), out);
            }
            Target::Unix(_) | Target::Files(_) | Target::Exit(_) => {
                self.checked(now, index, Err(Reason::NotAllowed), out);
            }
        }
    }

    /// A name was looked up, for a check. `false` if it was for something else.
    pub(super) fn check_resolved(
        &mut self,
        now: Time,
        query: Query,
        addresses: &[SocketAddr],
        out: &mut Outbox<'_>,
    ) -> bool {
        let is_it = |one: &Checked| matches!(one.stage, Stage::Resolving(ours) if ours == query);
        let found = self.checks.iter().find(|(_, one)| is_it(one)).map(|(&index, _)| index);
        let Some(index) = found else { return false };
        self.dial_check(now, index, addresses, out);
        true
    }

    /// What the server has chosen must be allowed, now as ever.
    fn dial_check(&mut self, now: Time, index: u16, addresses: &[SocketAddr], out: &mut Outbox<'_>) {
        let chosen = index & SERVER_MAPPING_BIT != 0;
        let allow = &self.config.allow;
        let permitted = |to: &&SocketAddr| !chosen || allow.permits(to.ip(), to.port());
        let mut rest: Vec<SocketAddr> = addresses.iter().filter(permitted).copied().collect();
        if rest.is_empty() {
            let reason = if addresses.is_empty() { Reason::NoSuchHost } else { Reason::NotAllowed };
            return self.checked(now, index, Err(reason), out);
        }
        let first = Place::Ip(rest.remove(0));
        self.probe(now, index, first, rest, out);
    }

    fn probe(&mut self, now: Time, index: u16, place: Place, rest: Vec<SocketAddr>, out: &mut Outbox<'_>) {
        match (out.probe(place), self.checks.get_mut(&index)) {
            (Some(key), Some(checked)) => {
                checked.stage = Stage::Dialing { key, rest };
                self.channels.insert(key, Channel::Check(index));
            }
            _ => self.checked(now, index, Err(Reason::Busy), out),
        }
    }

    /// The real server has taken the connection.
    pub(super) fn check_dialed(&mut self, now: Time, key: Key, index: u16, out: &mut Outbox<'_>) {
        let host = self.mappings.get(&index).and_then(|known| known.mapping.options.host.clone());
        let Some(checked) = self.checks.get_mut(&index) else { return };
        match checked.request(host.as_deref()) {
            None => self.checked(now, index, Ok(()), out),
            Some(request) => {
                checked.stage = Stage::Answering { key, heard: Vec::new() };
                out.send_bytes(key, request.as_bytes());
            }
        }
    }

    /// The real server answers.
    pub(super) fn check_heard(&mut self, now: Time, index: u16, bytes: &[u8], out: &mut Outbox<'_>) {
        let Some(Checked { stage: Stage::Answering { heard, .. }, .. }) = self.checks.get_mut(&index) else {
            return;
        };
        heard.extend_from_slice(&bytes[..bytes.len().min(CHECK_HEARD_BYTES - heard.len())]);
        match is_success(heard) {
            None => {}
            Some(true) => self.checked(now, index, Ok(()), out),
            Some(false) => self.checked(now, index, Err(Reason::Sick), out),
        }
    }

    /// A check's connection failed; it is out of the books already.
    pub(super) fn check_lost(&mut self, now: Time, index: u16, reason: Reason, out: &mut Outbox<'_>) {
        let Some(checked) = self.checks.get_mut(&index) else { return };
        match std::mem::replace(&mut checked.stage, Stage::Resting) {
            Stage::Dialing { mut rest, .. } if !rest.is_empty() => {
                let next = Place::Ip(rest.remove(0));
                self.probe(now, index, next, rest, out);
            }
            _ => self.checked(now, index, Err(reason), out),
        }
    }

    /// A check is over.
    fn checked(&mut self, now: Time, index: u16, result: Result<(), Reason>, out: &mut Outbox<'_>) {
        self.give_up_check(index, out);
        let Some(checked) = self.checks.get_mut(&index) else { return };
        let found = checked.conclude(result);
        // Nobody is to wait long for one that is well again.
        let again = if found == (Found::Well { failed: false }) { CHECK_EVERY } else { CHECK_AGAIN };
        (checked.stage, checked.due) = (Stage::Resting, now + again);
        let before = std::mem::replace(&mut checked.found, found);
        let target = checked.target.to_string();
        match (before, found) {
            (Found::Sick(before), Found::Sick(reason)) if before == reason => {}
            (_, Found::Sick(reason)) => {
                out.note(Note::RealServerSick { target, reason });
                self.tell_health(index, out);
            }
            (Found::Sick(_), Found::Well { .. }) => {
                out.note(Note::RealServerWell { target });
                self.tell_health(index, out);
            }
            _ => {}
        }
        self.watch_checks();
    }

    /// The server has said something of a mapping, and may have forgotten that its real server is sick.
    pub(super) fn remind_of_health(&self, index: u16, out: &mut Outbox<'_>) {
        let Some((_, offset)) = self.mappings.find(index) else { return };
        let first = index - offset;
        if self.sickness(first).is_some() {
            self.tell_health(first, out);
        }
    }

    /// Why a mapping's real server gets no visitors, if so.
    pub(super) fn sickness(&self, index: u16) -> Option<Reason> {
        match self.checks.get(&index)?.found {
            Found::Sick(reason) => Some(reason),
            Found::Unknown | Found::Well { .. } => None,
        }
    }

    fn tell_health(&self, index: u16, out: &mut Outbox<'_>) {
        let Cmd::Ready { key, .. } = self.cmd else { return };
        let Some(known) = self.mappings.get(&index) else { return };
        let trouble = self.sickness(index).map(|_| Reason::Sick);
        let count = known.mapping.count();
        out.send(key, &Frame::Mapped(Mapped { index, count, trouble, public: NO_ADDRESS }));
    }

    /// Closes the connection of a check, if it has one.
    fn give_up_check(&mut self, index: u16, out: &mut Outbox<'_>) {
        let key = self.checks.get(&index).and_then(Checked::key);
        if let Some(key) = key.filter(|key| self.channels.remove(*key).is_some()) {
            out.close(key, Manner::Cut);
        }
    }
}

/// Whether an answer that begins so is one of success (RFC 9110 section 15); `None` while that cannot be told.
fn is_success(heard: &[u8]) -> Option<bool> {
    const LINE: &[u8] = b"HTTP/1.x 200";
    if heard.len() < LINE.len() {
        // What is no answer of HTTP need not be waited for.
        let begins = heard.iter().zip(LINE).take(7).all(|(one, other)| one == other);
        return (!begins).then_some(false);
    }
    Some(heard.starts_with(b"HTTP/1.") && matches!(heard[8..10], [b' ', b'2' | b'3']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_far_as_it_is_there() {
        for (heard, success) in [
            ("", None),
            ("HTTP/1", None),
            ("HTTP/1.1 20", None),
            ("HTTP/1.1 200", Some(true)),
            ("HTTP/1.0 302 Found\r\n", Some(true)),
            ("HTTP/1.1 503 Service Unavailable", Some(false)),
            ("HTTP/1.1 404", Some(false)),
            ("SSH-2.0", Some(false)),
            ("HTTP/2.0 200", Some(false)),
        ] {
            assert_eq!(is_success(heard.as_bytes()), success, "{heard}");
        }
    }

    #[test]
    fn one_failure_is_no_sickness_but_of_who_was_never_well() {
        let target = Target::Unix("/run/a".to_owned());
        let mut checked = Checked::new(Time::default(), target, Check::Tcp);
        let mut after = |result| {
            checked.found = checked.conclude(result);
            checked.found
        };
        assert_eq!(after(Err(Reason::Refused)), Found::Sick(Reason::Refused));
        assert_eq!(after(Ok(())), Found::Well { failed: false });
        assert_eq!(after(Err(Reason::TimedOut)), Found::Well { failed: true });
        assert_eq!(after(Ok(())), Found::Well { failed: false });
        assert_eq!(after(Err(Reason::TimedOut)), Found::Well { failed: true });
        assert_eq!(after(Err(Reason::Refused)), Found::Sick(Reason::Refused));
    }
}
