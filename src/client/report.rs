//! What the operator is shown of a client: as it is at this moment, to whoever connects to its socket.

use serde_json::{Value, json};

use super::tunnel::Known;
use super::{Channel, Client, Cmd};
use crate::role::{Manner, Outbox};
use crate::slots::Key;
use crate::time::Time;
use crate::wire::Mapped;

impl Client {
    /// The same client, which says how it is at this path.
    #[must_use]
    pub fn with_status_at(self, path: Option<String>) -> Self {
        Self { status_at: path, ..self }
    }

    pub(super) fn open_status(&mut self, out: &mut Outbox<'_>) {
        self.status_door = self.status_at.as_ref().and_then(|path| out.listen_unix(path));
    }

    /// Somebody wants to know.
    pub(super) fn say_status(&self, now: Time, key: Key, out: &mut Outbox<'_>) {
        out.send_bytes(key, format!("{}\n", self.status(now)).as_bytes());
        out.close(key, Manner::End);
    }

    fn status(&self, now: Time) -> Value {
        let (state, since) = match &self.cmd {
            Cmd::Ready { since, .. } => ("online", Some(*since)),
            Cmd::Resting { .. } => ("waiting", None),
            Cmd::Resolving { .. } | Cmd::Dialing { .. } | Cmd::Noncing { .. } | Cmd::Greeting { .. } => {
                ("connecting", None)
            }
        };
        let mappings = self.mappings.iter().map(|(&index, known)| self.mapping_report(index, known));
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "role": "client",
            "license": self.config.license.to_string(),
            "server": self.server_name(),
            "state": if self.stop == super::Stop::No { state } else { "stopping" },
            "age": since.map(|since| now.since(since).as_micros() / 1_000_000),
            "logins": self.logins,
            "visits": self.counts().2,
            "proxy_channels": self.proxies,
            "mappings": mappings.collect::<Vec<_>>(),
        })
    }

    /// A mapping, as the server said last, of its worst part.
    fn mapping_report(&self, index: u16, known: &Known) -> Value {
        let online = matches!(self.cmd, Cmd::Ready { .. });
        let worst = known.told.iter().max_by_key(|told| told.trouble.is_some());
        let down = |told: &Mapped| ("down", told.trouble.map(|reason| reason.to_string()));
        let (state, reason) = match (worst, self.sickness(index)) {
            _ if !online => ("away", None),
            (Some(told), _) if told.trouble.is_some() => down(told),
            (_, Some(reason)) => ("sick", Some(reason.to_string())),
            (Some(_), None) => ("live", None),
            (None, None) => ("asked", None),
        };
        let visits = self.channels.iter().filter(|(_, channel)| match channel {
            Channel::Proxy(proxy) => {
                proxy.real.is_some()
                    && self.mappings.find(proxy.mapping).is_some_and(|(one, _)| std::ptr::eq(one, known))
            }
            _ => false,
        });
        json!({
            "mapping": known.mapping.route().to_string(),
            "declared_by": if super::tunnel::OWN.contains(&index) { "client" } else { "server" },
            "public": worst.map(|told| known.mapping.shown_at(told.public, None)),
            "target": known.mapping.target.to_string(),
            "state": state,
            "reason": reason,
            "visits": visits.count(),
        })
    }
}
