//! What the operator is shown: the server as it is, for programs.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::admin::Answer;
use super::mappings::{Mapping, State};
use super::session::Session;
use super::{Carries, Channel, Server};
use crate::api::{OPENAPI, Refusal, View};
use crate::calendar::Clock;
use crate::directory::Entry;
use crate::door::Door;
use crate::http::Scheme;
use crate::license::Transport;
use crate::meter::Traffic;
use crate::policy::{Quota, Rates};
use crate::text::show_bytes;
use crate::time::Time;

impl Server {
    /// What is to be seen of this.
    pub(super) fn report(&self, now: Time, view: &View) -> Answer {
        let value = match view {
            View::Status => self.status(now),
            View::Licenses => {
                let all = self.config.directory.iter().map(|entry| self.license_report(entry));
                json!({ "licenses": all.collect::<Vec<_>>() })
            }
            View::License(name) => match self.config.directory.find(name) {
                Ok(entry) => self.license_report(entry),
                Err(what) => return Refusal::new(404, what).into(),
            },
            View::Sessions => {
                let all = self.sessions.iter().map(|(_, session)| session_report(now, session));
                json!({ "sessions": all.collect::<Vec<_>>() })
            }
            View::Mappings => {
                json!({ "mappings": self.sessions.iter().flat_map(|(_, s)| self.mappings_of(s)).collect::<Vec<_>>() })
            }
            View::Visitors => json!({ "visitors": self.visitors_report() }),
            View::Binds => self.binds(now),
            View::Counters => self.counters(),
            View::History => self.accounts.history.report(now, self.events.clock(now)),
            View::Events(after) => json!({ "events": self.events_report(*after) }),
            View::OpenApi => return Answer::new(200, "application/json", OPENAPI),
            View::Metrics => {
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                return Answer::new(200, kind, self.metrics(now));
            }
            View::Page(part) => return Answer::page(*part),
            View::Health => return Answer::text(200, "ok\n"),
            View::Ready if self.is_ready() => return Answer::text(200, "ready\n"),
            View::Ready => {
                return Answer::text(503, "not ready: it is stopping, or clients cannot come in\n");
            }
        };
        Answer::json(200, &value)
    }

    /// Whether clients can come in.
    fn is_ready(&self) -> bool {
        let tunnel = |door: &Door| matches!(door, Door::Tunnel(..) | Door::Names(_, Scheme::Https));
        self.stopping.is_none() && self.doors.iter().any(|(_, open)| tunnel(&open.door))
    }

    fn status(&self, now: Time) -> Value {
        let doors = self.doors.iter().filter_map(|(_, open)| {
            let kind = match &open.door {
                Door::Tunnel(_, Transport::Tls) => "tls",
                Door::Tunnel(_, Transport::Plain) => "plain",
                Door::Names(_, scheme) => scheme.word(),
                Door::Socket(_) | Door::Admin(..) => return None,
            };
            Some(json!({ "kind": kind, "address": open.address.to_string() }))
        });
        let Clock(clock) = self.events.clock(now);
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "role": "server",
            "time": clock,
            "uptime": now.since(self.started).as_micros() / 1_000_000,
            "ready": self.is_ready(),
            "stopping": self.stopping.is_some(),
            "unconfirmed": self.trial.seconds_left(now),
            "licenses_trouble": self.licenses.trouble(),
            "doors": doors.collect::<Vec<_>>(),
            "public_host": self.public_host,
            "licenses": self.config.directory.len(),
            "sessions": self.sessions.len(),
            "visitors": self.visitors,
            "visitors_max": self.config.visitors_max,
            "proxy_channels": self.proxies,
            "visits": self.events.tally.visits,
        })
    }

    pub(super) fn license_report(&self, entry: &Entry) -> Value {
        let online = self.clients_of(&entry.name).filter(|(_, session)| session.cmd.is_some()).count();
        let account = self.accounts.account_of(&entry.name);
        let Traffic { down, up } = account.map_or_else(Traffic::default, |account| account.total);
        let trouble = self.license_trouble(entry, entry.id);
        let rates = (entry.rates != Rates::FREE).then(|| entry.rates.to_string());
        let quota = entry.quota.map(|Quota { bytes, day, beyond }| {
            json!({
                "bytes": bytes,
                "text": show_bytes(bytes),
                "day": day,
                "beyond": beyond.map_or_else(|| "stop".to_owned(), |rates| rates.to_string()),
                "used": account.map_or(0, |account| account.month),
            })
        });
        let visitors: Option<Vec<String>> = (!entry.visitors.is_everybody())
            .then(|| entry.visitors.iter().map(|network| network.to_string()).collect());
        json!({
            "name": entry.name,
            "id": entry.id.to_string(),
            "good": trouble.is_none(),
            "trouble": trouble.map(|reason| reason.to_string()),
            "rotated": entry.old.is_some(),
            "online": online > 0,
            "clients": entry.clients,
            "clients_online": online,
            "ports": entry.ports.to_string(),
            "hosts": entry.hosts.iter().collect::<Vec<_>>(),
            // Behind the first comma may be a password.
            "map": entry.maps.iter().map(|mapping| mapping.route().to_string()).collect::<Vec<_>>(),
            "visit": entry.visits.iter().collect::<Vec<_>>(),
            "visitors": visitors,
            "max_mappings": entry.max_mappings,
            "max_visitors": entry.max_visitors,
            "rate": rates,
            "quota": quota,
            "connects": entry.pace.map(|pace| pace.to_string()),
            "expires": entry.expires.map(|day| day.to_string()),
            "down": down,
            "up": up,
        })
    }

    /// The mappings of a session, one for each of its places that is another than its neighbour.
    fn mappings_of<'a>(&'a self, session: &'a Session) -> impl Iterator<Item = Value> + 'a {
        let account = self.accounts.account_of(&session.login.name);
        session.mappings.iter().map(move |(&index, mapping)| {
            let route = mapping.spec.route().to_string();
            let traffic = account.and_then(|account| account.mappings.get(&route)).copied().unwrap_or_default();
            let (state, reason, address) = standing(mapping);
            json!({
                "license": session.login.name,
                "index": index,
                "mapping": route,
                "kind": mapping.spec.kind.word(),
                "declared_by": if index & crate::limits::SERVER_MAPPING_BIT == 0 { "client" } else { "server" },
                "public": mapping.spec.shown_at(address, None),
                "target": mapping.spec.target.to_string(),
                "state": state,
                "reason": reason,
                "places": mapping.places.len(),
                "places_live": mapping.places.iter().filter(|place| place.is_served()).count(),
                "down": traffic.down,
                "up": traffic.up,
            })
        })
    }

    fn visitors_report(&self) -> Vec<Value> {
        let all = self.channels.iter().filter_map(|(key, channel)| match channel {
            Channel::Visitor(visitor) => Some((key, visitor)),
            _ => None,
        });
        let shown = all.filter_map(|(key, visitor)| {
            let session = self.sessions.get(visitor.session)?;
            let found = session.mappings.find(visitor.mapping);
            let carries = match visitor.carries {
                Carries::Bytes => "stream",
                Carries::Datagrams => "datagrams",
                Carries::Frames(_) => "client",
                Carries::Exchanges(_) => "http",
            };
            Some(json!({
                "id": (key.token() as u64).to_string(),
                "address": visitor.peer.to_string(),
                "license": session.login.name,
                "mapping": found.map(|(mapping, _)| mapping.spec.route().to_string()),
                "carries": carries,
                "waits": visitor.state.proxy().is_none(),
            }))
        });
        shown.collect()
    }

    fn counters(&self) -> Value {
        let of = |Traffic { down, up }: Traffic| json!({ "down": down, "up": up });
        let licenses: Map<String, Value> = self
            .config
            .directory
            .iter()
            .filter_map(|entry| {
                let account = self.accounts.account_of(&entry.name)?;
                let mappings: Map<String, Value> =
                    account.mappings.iter().map(|(name, traffic)| (name.clone(), of(*traffic))).collect();
                let mut value = of(account.total);
                value["mappings"] = Value::Object(mappings);
                Some((entry.name.clone(), value))
            })
            .collect();
        json!({ "licenses": licenses })
    }

    fn events_report(&self, after: u64) -> Vec<Value> {
        let shown = self.events.after(after).map(|event| {
            json!({
                "number": event.number,
                "time": event.at,
                "level": event.level.word(),
                "text": event.text,
                "times": event.times,
            })
        });
        shown.collect()
    }

    /// All figures, in Prometheus' text format (exposition format 0.0.4).
    fn metrics(&self, now: Time) -> String {
        let mut text = Metrics::default();
        let tally = &self.events.tally;
        text.one(
            "nt_build_info",
            "gauge",
            "Which version this is.",
            &[("version", env!("CARGO_PKG_VERSION"))],
            1,
        );
        let figures = [
            (
                "nt_uptime_seconds",
                "gauge",
                "Since it was started.",
                now.since(self.started).as_micros() / 1_000_000,
            ),
            (
                "nt_sessions",
                "gauge",
                "Clients that are logged in, or may come back.",
                self.sessions.len() as u64,
            ),
            ("nt_visitors", "gauge", "Visitors at this moment.", self.visitors as u64),
            ("nt_visitors_max", "gauge", "Visitors that there is room for.", self.config.visitors_max as u64),
            ("nt_proxy_channels", "gauge", "ProxyChannels, in use or idle.", self.proxies as u64),
            ("nt_strangers", "gauge", "Connections without a login yet.", self.strangers.len() as u64),
            ("nt_visits_total", "counter", "Visits since the start.", tally.visits),
            ("nt_logins_total", "counter", "Logins since the start.", tally.logins),
            ("nt_logins_refused_total", "counter", "Logins that were refused.", tally.logins_refused),
            ("nt_bans_total", "counter", "Visitors who came too often.", tally.bans),
        ];
        for (name, kind, help, value) in figures {
            text.one(name, kind, help, &[], value);
        }
        text.head("nt_visits_failed_total", "counter", "Visits that failed, by reason.");
        for (reason, count) in tally.visits_failed.iter() {
            text.line("nt_visits_failed_total", &[("reason", &format!("{reason:?}"))], *count);
        }
        text.head("nt_license_online", "gauge", "Clients of the license that are there.");
        for entry in self.config.directory.iter() {
            let online = self.clients_of(&entry.name).filter(|(_, session)| session.cmd.is_some());
            text.line("nt_license_online", &[("license", &entry.name)], online.count() as u64);
        }
        text.head("nt_mapping_up", "gauge", "Whether visitors can come to all places of a mapping.");
        for (_, session) in self.sessions.iter() {
            for mapping in session.mappings.values() {
                let labels = [
                    ("license", session.login.name.as_str()),
                    ("mapping", &mapping.spec.route().to_string()),
                ];
                text.line("nt_mapping_up", &labels, u64::from(standing(mapping).0 == "live"));
            }
        }
        self.traffic_metrics(&mut text);
        text.text
    }

    fn traffic_metrics(&self, text: &mut Metrics) {
        let accounts = || {
            let entries = self.config.directory.iter();
            entries.filter_map(|entry| Some((entry.name.as_str(), self.accounts.account_of(&entry.name)?)))
        };
        let ways = |Traffic { down, up }: Traffic| [("down", down), ("up", up)];
        text.head("nt_license_bytes_total", "counter", "Payload, down to the client and up from it, ever.");
        for (name, account) in accounts() {
            for (way, bytes) in ways(account.total) {
                text.line("nt_license_bytes_total", &[("license", name), ("direction", way)], bytes);
            }
        }
        text.head("nt_mapping_bytes_total", "counter", "The same of each mapping.");
        for (name, account) in accounts() {
            for (mapping, traffic) in account.mappings.iter() {
                for (way, bytes) in ways(*traffic) {
                    let labels = [("license", name), ("mapping", mapping), ("direction", way)];
                    text.line("nt_mapping_bytes_total", &labels, bytes);
                }
            }
        }
    }
}

fn session_report(now: Time, session: &Session) -> Value {
    let state = match (session.cmd, session.leaving) {
        (_, Some(_)) => "leaving",
        (Some(_), None) if session.login.guest => "guest",
        (Some(_), None) => "online",
        (None, None) => "away",
    };
    json!({
        "license": session.login.name,
        "address": session.login.peer.to_string(),
        "state": state,
        "age": now.since(session.login.since).as_micros() / 1_000_000,
        "visitors": session.visitors,
        "waiting": session.waiting.count(),
        "mappings": session.mappings.values().count(),
        "idle_channels": session.pool.idle.len(),
    })
}

/// How a mapping stands, why, and where: its worst place tells.
fn standing(mapping: &Mapping) -> (&'static str, Option<String>, SocketAddr) {
    let state = |state: State| match state {
        State::Live(_, address) | State::Named(address) => (4, "live", None, Some(address)),
        State::Binding(_, reason) => (3, "binding", Some(reason), None),
        State::Offered => (2, "offered", None, None),
        State::Down(reason) => (1, "down", Some(reason), None),
        State::Declined => (0, "declined", Some(crate::reason::Reason::NotAllowed), None),
    };
    let worst = mapping.places.iter().map(|place| state(place.state)).min_by_key(|(rank, ..)| *rank);
    let first = mapping.places.first().and_then(|place| state(place.state).3);
    let (_, word, reason, _) = match worst {
        Some((4, ..)) if mapping.sick => (4, "sick", Some(crate::reason::Reason::Sick), None),
        worst => worst.unwrap_or((1, "down", None, None)),
    };
    (word, reason.map(|reason| reason.to_string()), first.unwrap_or_else(|| mapping.wanted(0)))
}

/// Lines of Prometheus' text format.
#[derive(Default)]
struct Metrics {
    text: String,
}

impl Metrics {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.head(name, kind, help);
        self.line(name, labels, value);
    }
}
