//! Binding on demand: whoever may ask the API has a client's target published for as long as it is used.
//!
//! ```text
//!            the client has taken it,       the target answers
//!            and its port is open
//!   Offered ──────────────────────► Proving ────────────────► Resting ──nobody came for its ttl──► gone
//!      │                               │                        │  ▲
//!      └──── refused, or too late ─────┴──► gone, and told why  └──┘ asked for again: proved again
//! ```
//!
//! To a client it is a mapping like those of its license: it takes it where its `--allow` covers the target. The port
//! is one that the license permits; it stays the same for as long as somebody comes, whichever client serves it. What
//! is proved is that the client reaches the target: by a visit whose visitor is nobody.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::admin::Answer;
use super::arrivals::Arrival;
use super::groups::Member;
use super::mappings::State;
use super::{Carries, Channel, Due, Server};
use crate::api::{Refusal, Wish};
use crate::channel::proxy::Event;
use crate::channel::visitor::Visitor;
use crate::directory::Entry;
use crate::limits::{DEMAND_TIMEOUT, DEMANDS_MAX, SERVER_MAPPING_BIT};
use crate::mapping::{self, Kind, Mapping as Spec, Target};
use crate::reason::Reason;
use crate::role::{Manner, Outbox};
use crate::slots::Key;
use crate::time::{Span, Time};
use crate::timers::Earliest;
use crate::wire::NO_ADDRESS;

/// All that is bound on demand.
#[derive(Debug, Default)]
pub(super) struct Demands {
    all: Vec<Demand>,
    /// Some of them are not at rest: after each step it is seen how far they are.
    under_way: bool,
    due: Earliest,
}

/// One target of a license.
#[derive(Debug)]
struct Demand {
    license: String,
    /// With the port that it has come to, once it has.
    spec: Spec,
    ttl: Span,
    /// When somebody was last seen to use it …
    used: Time,
    /// … and when that was looked at.
    looked: Time,
    stage: Stage,
    /// Its target has answered once.
    proved: bool,
    /// Who waits to hear of it.
    askers: Vec<Key>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The client has to take it, and its port to be opened.
    Offered { deadline: Time },
    /// The target has to answer; why it has not, once that is known.
    Proving { visitor: Key, deadline: Time, failed: Option<Reason> },
    /// Visitors can come.
    Resting,
}

impl Stage {
    fn deadline(self) -> Time {
        match self {
            Self::Offered { deadline } | Self::Proving { deadline, .. } => deadline,
            Self::Resting => Time::NEVER,
        }
    }
}

/// How a demand goes on.
#[derive(Debug)]
enum Step {
    /// Its port is open, at this address.
    Prove(Member, SocketAddr),
    /// Its target has answered.
    Proved,
    Failed(Reason),
}

impl Demand {
    /// When it is to be looked at without anything having happened.
    fn due(&self) -> Time {
        let look = Span::from_micros((self.ttl.as_micros() / 8).max(Span::from_secs(1).as_micros()));
        (self.looked + look).min(self.stage.deadline())
    }
}

impl Server {
    /// Somebody wants a client's target bound.
    pub(super) fn bind_on_demand(&mut self, now: Time, asker: Key, wish: &Wish, out: &mut Outbox<'_>) {
        match self.demand(now, wish, out) {
            Ok(demand) => demand.askers.push(asker),
            Err(refusal) => self.answer_admin(now, asker, refusal.into(), out),
        }
        self.demands.under_way = true;
        self.watch_demands();
    }

    /// The demand that this wish is about, new or not.
    fn demand(&mut self, now: Time, wish: &Wish, out: &mut Outbox<'_>) -> Result<&mut Demand, Refusal> {
        let (entry, client) = self.demanded_of(wish.license.as_deref())?;
        let spec = wanted(wish)?;
        let license = entry.name.clone();
        let known =
            self.demands.all.iter().position(|one| one.license == license && one.spec.target == spec.target);
        if known.is_none() {
            self.room_for_demand(entry)?;
        }
        let ttl = Span::from_secs(u64::from(wish.ttl));
        let stage = Stage::Offered { deadline: now + DEMAND_TIMEOUT };
        let at = known.unwrap_or(self.demands.all.len());
        if known.is_none() {
            let askers = Vec::new();
            self.demands.all.push(Demand {
                license,
                spec,
                ttl,
                used: now,
                looked: now,
                stage,
                proved: false,
                askers,
            });
            self.offer_mappings(client, out);
            self.announce(client, out);
        }
        let demand = &mut self.demands.all[at];
        (demand.ttl, demand.used) = (ttl, now);
        if demand.stage == Stage::Resting {
            demand.stage = stage;
        }
        Ok(demand)
    }

    /// The license that is meant, and a client of it that is there.
    fn demanded_of(&self, name: Option<&str>) -> Result<(&Entry, Key), Refusal> {
        let there = |entry: &Entry| {
            let mut clients = self.clients_of(&entry.name);
            clients.find(|(_, session)| session.cmd.is_some()).map(|(key, _)| key)
        };
        let Some(name) = name else {
            let mut all = self.config.directory.iter().filter_map(|entry| Some((entry, there(entry)?)));
            return match (all.next(), all.next()) {
                (Some(only), None) => Ok(only),
                (Some(_), Some(_)) => {
                    Err(Refusal::new(400, "several licenses are online: say which, by `license`"))
                }
                (None, _) => Err(Refusal::new(409, "no license is online")),
            };
        };
        let entry = self.config.directory.find(name).map_err(|what| Refusal::new(404, what))?;
        let offline = || Refusal::new(409, format!("license `{}` is not online", entry.name));
        there(entry).map(|client| (entry, client)).ok_or_else(offline)
    }

    fn room_for_demand(&self, entry: &Entry) -> Result<(), Refusal> {
        let of_license = self.demands.all.iter().filter(|demand| demand.license == entry.name).count();
        let declared =
            self.clients_of(&entry.name).map(|(_, session)| session.mappings.count(0..u16::MAX)).max();
        let most = entry.max_mappings.map_or(usize::MAX, |most| most as usize);
        match () {
            () if entry.ports.count() == 0 => {
                Err(Refusal::new(409, format!("license `{}` may publish no ports", entry.name)))
            }
            () if self.demands.all.len() >= DEMANDS_MAX => {
                Err(Refusal::new(409, format!("at most {DEMANDS_MAX} targets are bound on demand at once")))
            }
            () if of_license.max(declared.unwrap_or(0)) >= most => Err(Refusal::new(
                409,
                format!("license `{}` has as many mappings as it may (max_mappings)", entry.name),
            )),
            () => Ok(()),
        }
    }

    /// What is bound on demand for a license, to be offered to its clients.
    pub(super) fn demands_of(&self, license: &str) -> impl Iterator<Item = &Spec> {
        self.demands.all.iter().filter(move |demand| demand.license == license).map(|demand| &demand.spec)
    }

    /// Whether a mapping is there on demand.
    pub(super) fn is_on_demand(&self, license: &str, spec: &Spec) -> bool {
        self.demands_of(license).any(|one| one == spec)
    }

    /// A visit of a mapping begins: if that is there on demand, it is used.
    pub(super) fn use_demand(&mut self, now: Time, (key, index): Member) {
        if self.demands.all.is_empty() {
            return;
        }
        let Some(session) = self.sessions.get(key) else { return };
        let Some((mapping, _)) = session.mappings.find(index) else { return };
        let is_it = |one: &&mut Demand| one.license == session.login.name && one.spec == mapping.spec;
        if let Some(demand) = self.demands.all.iter_mut().find(is_it) {
            demand.used = now;
        }
    }

    /// The visit of nobody has failed.
    pub(super) fn proof_failed(&mut self, key: Key, reason: Reason) {
        for demand in &mut self.demands.all {
            if let Stage::Proving { visitor, failed, .. } = &mut demand.stage
                && *visitor == key
            {
                *failed = Some(reason);
            }
        }
    }

    /// Something has happened: demands that are under way go on, perhaps.
    pub(super) fn pursue_demands(&mut self, now: Time, out: &mut Outbox<'_>) {
        while self.demands.under_way
            && let Some((at, step)) = self.next_step(now)
        {
            match step {
                Step::Prove(member, address) => self.prove(now, at, member, address, out),
                Step::Proved => self.proved(now, at, out),
                Step::Failed(reason) => self.demand_failed(now, at, reason, out),
            }
            self.demands.under_way = self.demands.all.iter().any(|demand| demand.stage != Stage::Resting);
            self.watch_demands();
        }
    }

    fn next_step(&self, now: Time) -> Option<(usize, Step)> {
        let late = |deadline: Time| (deadline <= now).then_some(Step::Failed(Reason::TimedOut));
        let step = |demand: &Demand| match demand.stage {
            Stage::Resting => None,
            Stage::Offered { deadline } => self.offer_of(demand).or_else(|| late(deadline)),
            Stage::Proving { visitor, deadline, failed } => match self.channels.get(visitor) {
                Some(Channel::Visitor(visitor)) if matches!(visitor.state, Visitor::Joined { .. }) => {
                    Some(Step::Proved)
                }
                Some(_) => late(deadline),
                None => Some(Step::Failed(failed.unwrap_or(Reason::ClientAway))),
            },
        };
        self.demands.all.iter().enumerate().find_map(|(at, demand)| Some((at, step(demand)?)))
    }

    /// How what was offered stands.
    fn offer_of(&self, demand: &Demand) -> Option<Step> {
        let mut failed = Some(Reason::ClientAway);
        for member in self.members_of(demand) {
            let (mapping, offset) = self.sessions.get(member.0)?.mappings.find(member.1)?;
            match mapping.place(offset).state {
                State::Live(_, address) => return Some(Step::Prove(member, address)),
                State::Down(Reason::ClientAway) | State::Offered | State::Binding(..) => failed = None,
                State::Down(reason) if mapping.is_settled() => failed = Some(reason),
                State::Down(_) | State::Named(_) => {}
                State::Declined => failed = Some(Reason::NotAllowed),
            }
        }
        failed.map(Step::Failed)
    }

    /// Who serves a demand.
    fn members_of(&self, demand: &Demand) -> Vec<Member> {
        let clients = self.clients_of(&demand.license);
        let of = |session: &super::Session| {
            let mut offered = session.mappings.iter().filter(|(index, _)| *index & SERVER_MAPPING_BIT != 0);
            offered.find(|(_, mapping)| mapping.spec == demand.spec).map(|(&index, _)| index)
        };
        clients.filter_map(|(key, session)| Some((key, of(session)?))).collect()
    }

    /// The port is open: it is the demand's from now on, and the target is asked.
    fn prove(&mut self, now: Time, at: usize, member: Member, address: SocketAddr, out: &mut Outbox<'_>) {
        let fixed = self.demands.all[at].spec.at_port(address.port());
        let session = self.sessions.get_mut(member.0);
        if let Some((mapping, _)) = session.and_then(|session| session.mappings.find_mut(member.1)) {
            mapping.spec = fixed.clone();
        }
        self.demands.all[at].spec = fixed;
        let trouble = self.visit_trouble(member.0, member.1, None, None);
        let (Some(visitor), None) = (out.nobody(), trouble) else {
            return self.demand_failed(now, at, trouble.unwrap_or(Reason::System), out);
        };
        let deadline = self.demands.all[at].stage.deadline();
        self.demands.all[at].stage = Stage::Proving { visitor, deadline, failed: None };
        let arrival = Arrival { session: member.0, mapping: member.1, visitor: NO_ADDRESS, came_to: None };
        self.begin_visit(now, visitor, arrival, Carries::Bytes, out);
    }

    /// The target has answered: whoever asked is told where it is.
    fn proved(&mut self, now: Time, at: usize, out: &mut Outbox<'_>) {
        self.end_proof(now, at, out);
        let demand = &mut self.demands.all[at];
        (demand.stage, demand.proved) = (Stage::Resting, true);
        let (askers, license) = (std::mem::take(&mut demand.askers), demand.license.clone());
        let place = self.place_of(&self.demands.all[at]);
        for asker in askers {
            self.answer_admin(now, asker, Answer::json(200, &place), out);
        }
        // Whoever else serves the license has the same, at the same port.
        self.offer_again(&license, out);
    }

    /// It did not come to be, or its target does not answer any more.
    fn demand_failed(&mut self, now: Time, at: usize, reason: Reason, out: &mut Outbox<'_>) {
        self.end_proof(now, at, out);
        let demand = &mut self.demands.all[at];
        demand.stage = Stage::Resting;
        let askers = std::mem::take(&mut demand.askers);
        let status = match reason {
            Reason::TimedOut => 504,
            Reason::Refused | Reason::Unreachable | Reason::Reset | Reason::NoSuchHost | Reason::Ended => 502,
            _ => 409,
        };
        let what = format!("{}: {reason}", demand.spec.target);
        if !demand.proved {
            let license = self.demands.all.remove(at).license;
            self.offer_again(&license, out);
        }
        for asker in askers {
            self.answer_admin(now, asker, Refusal::new(status, what.clone()).into(), out);
        }
    }

    /// The visit of nobody has done what it was for.
    fn end_proof(&mut self, now: Time, at: usize, out: &mut Outbox<'_>) {
        let Stage::Proving { visitor: key, .. } = self.demands.all[at].stage else { return };
        self.demands.all[at].stage = Stage::Resting;
        if let Some(Channel::Visitor(visitor)) = self.channels.remove(key) {
            self.visitor_gone(now, key, &visitor, Event::LocalCut(Reason::Ended), out);
            out.close(key, Manner::Cut);
        }
    }

    fn offer_again(&mut self, license: &str, out: &mut Outbox<'_>) {
        for key in self.clients_of(license).map(|(key, _)| key).collect::<Vec<_>>() {
            self.offer_mappings(key, out);
            self.announce(key, out);
        }
    }

    /// Some may not be used any more.
    pub(super) fn demands_due(&mut self, now: Time, out: &mut Outbox<'_>) {
        if !self.demands.due.reached(now) {
            return;
        }
        for at in (0..self.demands.all.len()).rev() {
            let used = self.visitors_of(&self.demands.all[at]) > 0;
            let demand = &mut self.demands.all[at];
            demand.looked = now;
            if used {
                demand.used = now;
            } else if demand.stage == Stage::Resting && demand.used + demand.ttl <= now {
                let license = self.demands.all.remove(at).license;
                self.offer_again(&license, out);
            }
        }
        self.watch_demands();
    }

    fn visitors_of(&self, demand: &Demand) -> usize {
        let members = self.members_of(demand);
        let visits = |channel: &Channel| match channel {
            Channel::Visitor(visitor) => members.contains(&(visitor.session, visitor.mapping)),
            _ => false,
        };
        self.channels.iter().filter(|(_, channel)| visits(channel)).count()
    }

    fn watch_demands(&mut self) {
        let next = self.demands.all.iter().map(Demand::due).min();
        if let Some(next) = next.filter(|&next| self.demands.due.lower(next)) {
            self.timers.remind(next, Due::Demands);
        }
    }

    /// Where visitors reach it: by the name that the operator has given this machine, else as it is seen from itself.
    fn place_of(&self, demand: &Demand) -> Value {
        let port = demand.spec.public.address().map_or(0, |address| address.port());
        let host = self.public_host.as_deref().unwrap_or("127.0.0.1");
        json!({ "host": host.trim_matches(['[', ']']), "port": port })
    }

    /// All that is bound on demand.
    pub(super) fn binds(&self, now: Time) -> Value {
        let one = |demand: &Demand| {
            let (target, port) = match &demand.spec.target {
                Target::Tcp { host, ports } => (host.to_string(), ports.first()),
                other => (other.to_string(), 0),
            };
            json!({
                "license": demand.license,
                "target": { "host": target, "port": port },
                "public": if demand.proved { self.place_of(demand) } else { Value::Null },
                "state": if demand.stage == Stage::Resting { "bound" } else { "proving" },
                "ttl": demand.ttl.as_micros() / 1_000_000,
                "unused": now.since(demand.used).as_micros() / 1_000_000,
                "visitors": self.visitors_of(demand),
            })
        };
        json!({ "binds": self.demands.all.iter().map(one).collect::<Vec<_>>() })
    }
}

/// The mapping that a wish is for: any port, to one of a host.
fn wanted(wish: &Wish) -> Result<Spec, Refusal> {
    let host = match wish.host.contains(':') && !wish.host.starts_with('[') {
        true => format!("[{}]", wish.host),
        false => wish.host.clone(),
    };
    let text = format!("0:{host}:{}", wish.port);
    let spec = mapping::parse(&text).map_err(|error| Refusal::new(400, error.to_string()))?;
    match (&spec.target, spec.kind, spec.count(), spec.options == mapping::Options::default()) {
        (Target::Tcp { .. }, Kind::Tcp, 1, true) => Ok(spec),
        _ => Err(Refusal::new(400, format!("`{text}` is no host and port"))),
    }
}
