//! Notes for programs: their kind, what they are about, each by a name of its own, and what tells them apart.

use super::Note;
use crate::features;
use crate::text::{did_you_mean, quote};

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A line for people.
    #[default]
    Text,
    /// An object of JSON in a line.
    Json,
}

impl Format {
    /// Reads its word.
    ///
    /// # Errors
    /// A sentence that quotes the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => features::need("admin", "a log in JSON").map(|()| Self::Json),
            _ => Err(format!(
                "{} is neither text nor json{}",
                quote(text),
                did_you_mean(text, &["text", "json"])
            )),
        }
    }
}

impl Note {
    /// What kind of note it is, in lower case and with underscores.
    pub fn kind(&self) -> String {
        let name = format!("{self:?}");
        let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        let mut kind = String::new();
        for (at, letter) in name.chars().enumerate() {
            if letter.is_ascii_uppercase() && at > 0 {
                kind.push('_');
            }
            kind.push(letter.to_ascii_lowercase());
        }
        kind
    }

    /// What it is about.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let license = |name: &String| ("license", name.clone());
        match self {
            Self::SessionUp { name, peer, .. } => vec![license(name), ("address", peer.to_string())],
            Self::SessionAway { name, reason } | Self::SessionOver { name, reason } => {
                vec![license(name), ("reason", format!("{reason:?}"))]
            }
            Self::LoginRefused { peer, reason } | Self::StrangerClosed { peer, reason } => {
                vec![("address", peer.to_string()), ("reason", format!("{reason:?}"))]
            }
            Self::StrangerEvicted { peer } | Self::AdminRefused { peer } => {
                vec![("address", peer.to_string())]
            }
            Self::MappingUp { name, public, target } => {
                vec![license(name), ("public", public.clone()), ("target", target.clone())]
            }
            Self::MappingDown { name, public, target, reason } => vec![
                license(name),
                ("public", public.clone()),
                ("target", target.clone()),
                ("reason", format!("{reason:?}")),
            ],
            Self::VisitFailed { visitor, reason, .. } => {
                vec![("visitor", visitor.to_string()), ("reason", format!("{reason:?}"))]
            }
            Self::FlowOver { visitor, .. } => vec![("visitor", visitor.to_string())],
            Self::QuotaFresh { name } | Self::QuotaNear { name } | Self::QuotaUsed { name, .. } => {
                vec![license(name)]
            }
            Self::Banned { visitor, name, span, .. } => {
                vec![
                    license(name),
                    ("visitor", visitor.to_string()),
                    ("seconds", span.as_secs_up().to_string()),
                ]
            }
            Self::Connecting { server } | Self::Connected { server, .. } => vec![("server", server.clone())],
            Self::Disconnected { server, reason, .. } => {
                vec![("server", server.clone()), ("reason", format!("{reason:?}"))]
            }
            Self::Ready { public, target, .. } => {
                vec![("public", public.clone()), ("target", target.clone())]
            }
            Self::NotReady { public, target, reason } => {
                vec![
                    ("public", public.clone()),
                    ("target", target.clone()),
                    ("reason", format!("{reason:?}")),
                ]
            }
            Self::RealServerWell { target } => vec![("target", target.clone())],
            Self::RealServerFailed { target, reason }
            | Self::RealServerSick { target, reason }
            | Self::ExitFailed { target, reason } => {
                vec![("target", target.clone()), ("reason", format!("{reason:?}"))]
            }
            _ => Vec::new(),
        }
    }

    /// What tells two notes of one kind apart: the reason, or the login.
    pub fn detail(&self) -> u64 {
        match self {
            Self::Ready { login, .. } => *login,
            Self::OfferRefused { target, .. }
            | Self::ExitRefused { target, .. }
            | Self::ExitFailed { target, .. } => {
                target.bytes().fold(0, |sum, byte| (sum * 31 + u64::from(byte)) & 0xFF_FFFF_FFFF)
            }
            Self::FlowOver { visitor, .. } => u64::from(visitor.port()),
            Self::LicensesRead { count } => *count as u64,
            Self::Banned { visitor, .. } => {
                visitor.to_string().bytes().fold(0, |sum, byte| (sum * 31 + u64::from(byte)) & 0xFF_FFFF_FFFF)
            }
            Self::NotListening { reason, .. }
            | Self::SessionAway { reason, .. }
            | Self::SessionOver { reason, .. }
            | Self::LoginRefused { reason, .. }
            | Self::StrangerClosed { reason, .. }
            | Self::MappingDown { reason, .. }
            | Self::VisitFailed { reason, .. }
            | Self::AcceptPaused { reason }
            | Self::Disconnected { reason, .. }
            | Self::NotReady { reason, .. }
            | Self::RealServerFailed { reason, .. } => u64::from(reason.code()),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::Level;

    #[test]
    fn kinds_are_words() {
        assert_eq!(Note::Stopping { visits: 1 }.kind(), "stopping");
        assert_eq!(Note::LicensesRead { count: 1 }.kind(), "licenses_read");
        assert_eq!(Note::Plain(Level::Info, "AbC".into()).kind(), "plain");
    }
}
