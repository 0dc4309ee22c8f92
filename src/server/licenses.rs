//! The licenses that hold, and others that may: what would be published anew is tried first, and what cannot be had is
//! refused, as a whole.
//!
//! ```text
//!            another file                      all can be had
//!   Hold ───────────────────► being tried ─────────────────────► Hold
//!    ▲                             │ some cannot                   ▲
//!    │ another file, or reload     ▼                               │
//!    └───────────────────────── Refused          (those of before go on holding)
//! ```

use std::collections::VecDeque;

use super::mappings::{Place, State};
use super::{Key, Server};
use crate::api::Refusal;
use crate::directory::Directory;
use crate::dry::{Held, Trial};
use crate::edit::Edit;
use crate::license::{LICENSE_BYTES, License};
use crate::limits::SERVER_MAPPING_BIT;
use crate::mapping::{Kind, Ports};
use crate::note::Note;
use crate::plan::Picture;
use crate::reason::Reason;
use crate::role::{Outbox, Verb};
use crate::time::Time;

/// How it stands with the license file.
#[derive(Debug, Default)]
pub(super) struct Licenses {
    /// Why it does not count, as it is now …
    trouble: Option<String>,
    /// … and what it says, where nothing is wrong with it but that a port cannot be had.
    refused: Option<Box<Directory>>,
    /// What is being tried, in the order in which it was asked for.
    tried: VecDeque<(Wanted, Trial)>,
}

/// Who wants other licenses.
#[derive(Debug)]
enum Wanted {
    /// The file says so.
    File(Box<Directory>),
    /// The operator, on this connection.
    Edit(Key, Box<Edit>),
}

impl Licenses {
    /// Why the file, as it is now, does not count.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    fn tries_file(&self) -> bool {
        self.tried.iter().any(|(wanted, _)| matches!(wanted, Wanted::File(_)))
    }
}

impl Server {
    /// The file was looked at: what it says, if that has changed.
    pub(super) fn licenses(
        &mut self,
        now: Time,
        result: Option<Result<Directory, String>>,
        out: &mut Outbox<'_>,
    ) {
        match result {
            Some(Ok(directory)) => self.try_file(now, Box::new(directory), out),
            Some(Err(why)) => {
                self.licenses.refused = None;
                self.refuse_licenses(now, why, out);
            }
            // Whoever waits hears what comes of it.
            None if self.licenses.tries_file() => {}
            None => self.looked(now, false, out),
        }
    }

    /// What was refused may do now.
    pub(super) fn try_refused(&mut self, now: Time, out: &mut Outbox<'_>) {
        if let Some(directory) = self.licenses.refused.take() {
            self.try_file(now, directory, out);
        }
    }

    fn try_file(&mut self, now: Time, directory: Box<Directory>, out: &mut Outbox<'_>) {
        let trial = self.trial_of(&directory);
        self.try_ports(now, Wanted::File(directory), trial, out);
    }

    /// Makes a change of the licenses once its ports were tried.
    pub(super) fn edit(&mut self, now: Time, key: Key, edit: Edit, out: &mut Outbox<'_>) {
        let mut after = self.config.directory.clone();
        // Which license it makes is of no matter here; what is wrong with it is found where it is made.
        let anyone = License::from_random([0; LICENSE_BYTES]);
        let applied = edit.apply(&mut after, &anyone, self.events.clock(now).today());
        let trial = applied.map_or_else(|_| Trial::default(), |_| self.trial_of(&after));
        self.try_ports(now, Wanted::Edit(key, Box::new(edit)), trial, out);
    }

    fn trial_of(&self, after: &Directory) -> Trial {
        let before = Picture::of(&self.config.directory);
        let is_new = before.new_places(after).next().is_some();
        let held = if is_new { self.held() } else { Vec::new() };
        Trial::new(&before, after, &held)
    }

    fn try_ports(&mut self, now: Time, wanted: Wanted, trial: Trial, out: &mut Outbox<'_>) {
        let ports = trial.ports();
        if ports.is_empty() {
            return self.judge_trial(now, wanted, trial, Vec::new(), out);
        }
        self.licenses.tried.push_back((wanted, trial));
        out.push(Verb::TryPorts(ports));
    }

    /// Ports were tried: what came of the first that were asked for.
    pub(super) fn tried(&mut self, now: Time, results: Vec<Option<Reason>>, out: &mut Outbox<'_>) {
        if let Some((wanted, trial)) = self.licenses.tried.pop_front() {
            self.judge_trial(now, wanted, trial, results, out);
        }
    }

    fn judge_trial(
        &mut self,
        now: Time,
        wanted: Wanted,
        trial: Trial,
        tried: Vec<Option<Reason>>,
        out: &mut Outbox<'_>,
    ) {
        let faults = trial.found(tried, true).faults;
        match (wanted, faults.is_empty()) {
            (Wanted::File(directory), true) => {
                out.note(Note::LicensesRead { count: directory.len() });
                self.hold(now, *directory, out);
                self.looked(now, true, out);
            }
            (Wanted::File(directory), false) => {
                self.licenses.refused = Some(directory);
                self.refuse_licenses(now, format!("licenses.toml, {}", faults.join("; ")), out);
            }
            (Wanted::Edit(key, edit), true) => out.push(Verb::Edit(key, edit)),
            (Wanted::Edit(key, _), false) => {
                let refusal = Refusal::new(409, faults.join("; "));
                self.answer_admin(now, key, refusal.into(), out);
            }
        }
    }

    /// From now on these licenses hold.
    pub(super) fn hold(&mut self, now: Time, directory: Directory, out: &mut Outbox<'_>) {
        (self.licenses.trouble, self.licenses.refused) = (None, None);
        self.config.directory = directory;
        self.enforce(now, out);
        self.review_all(out);
    }

    fn refuse_licenses(&mut self, now: Time, why: String, out: &mut Outbox<'_>) {
        self.licenses.trouble = Some(why.clone());
        out.note(Note::LicensesBad(why));
        self.looked(now, false, out);
    }

    /// It is known what holds: whoever waits for that hears it.
    fn looked(&mut self, now: Time, changed: bool, out: &mut Outbox<'_>) {
        self.reloaded(now, changed, out);
        for (key, hello) in std::mem::take(&mut self.unknown) {
            self.judge_unknown(now, key, &hello, out);
        }
    }

    /// What the server listens at for visitors, and of its own.
    fn held(&self) -> Vec<Held> {
        let doors = self.doors.iter().filter_map(|(_, open)| {
            let address = open.door.address()?;
            let (ip, ports) = (address.ip(), Ports::row(address.port(), 1));
            Some(Held { license: String::new(), mapping: None, udp: false, ip, ports, stands: false })
        });
        let live = |place: &Place| match place.state {
            State::Live(_, address) => Some(address),
            _ => None,
        };
        let places = self.sessions.iter().flat_map(move |(_, session)| {
            session.mappings.iter().flat_map(move |(index, mapping)| {
                let addresses = mapping.places.iter().filter_map(live);
                addresses.map(move |address| Held {
                    license: session.login.name.clone(),
                    mapping: Some(mapping.spec.route().to_string()),
                    udp: mapping.spec.kind == Kind::Udp,
                    ip: address.ip(),
                    ports: Ports::row(address.port(), 1),
                    stands: index & SERVER_MAPPING_BIT != 0,
                })
            })
        });
        doors.chain(places).collect()
    }
}
