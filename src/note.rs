//! What a person is told: every message of a running nt, in one place.
//!
//! Each names what happened, where, and what to do where there is something to do. Two notes with one
//! [`Note::cause`] are repetitions of each other for the log, which prints the first and counts the rest.

mod fields;
mod trial;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::reason::Reason;
use crate::time::Span;
pub use fields::Format;
pub use trial::Trial;

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A person must act.
    Error,
    /// Something is wrong, and nt copes.
    Warn,
    /// The life of sessions and mappings.
    Info,
    /// Each visit.
    Debug,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The server accepts clients.
    Listening {
        /// Here.
        address: SocketAddr,
        /// Over TLS, or plainly.
        tls: bool,
    },
    /// The server accepts visitors who are told apart by name.
    ListeningForNames {
        /// Here.
        address: SocketAddr,
        /// `http` or `https`.
        scheme: &'static str,
    },
    /// The server cannot accept anybody here.
    NotListening {
        /// Clients, or visitors by name.
        whom: &'static str,
        /// Here.
        address: SocketAddr,
        /// Why.
        reason: Reason,
    },
    /// A client logged in.
    SessionUp {
        /// Its license's name.
        name: String,
        /// Its address.
        peer: SocketAddr,
        /// Its visits of before go on.
        resumed: bool,
    },
    /// A session lost its CmdChannel; its visits go on for now.
    SessionAway {
        /// Its license's name.
        name: String,
        /// Why.
        reason: Reason,
    },
    /// A session is over, and all that it made is gone.
    SessionOver {
        /// Its license's name.
        name: String,
        /// Why.
        reason: Reason,
    },
    /// A login was refused.
    LoginRefused {
        /// From here.
        peer: SocketAddr,
        /// Why.
        reason: Reason,
    },
    /// A connection that proved nothing was closed.
    StrangerClosed {
        /// From here.
        peer: SocketAddr,
        /// Why.
        reason: Reason,
    },
    /// More strangers than are kept at once: the oldest goes.
    StrangerEvicted {
        /// From here.
        peer: SocketAddr,
    },
    /// A mapping is served (server's side).
    MappingUp {
        /// License.
        name: String,
        /// Public side.
        public: String,
        /// Target, as the client tells it.
        target: String,
    },
    /// A mapping cannot be served (server's side).
    MappingDown {
        /// License.
        name: String,
        /// Public side.
        public: String,
        /// Target, as the client tells it.
        target: String,
        /// Why.
        reason: Reason,
    },
    /// A visit failed.
    VisitFailed {
        /// Who came.
        visitor: SocketAddr,
        /// License or target.
        place: String,
        /// Why.
        reason: Reason,
    },
    /// A visitor's datagrams have ended.
    FlowOver {
        /// Who sent them.
        visitor: SocketAddr,
        /// How many came from the visitor …
        taken: u64,
        /// … and how many went there.
        sent: u64,
        /// Of both, those that were dropped.
        dropped: u64,
    },
    /// The system ran out of open files or memory; accepting rests.
    AcceptPaused {
        /// What the system said.
        reason: Reason,
    },
    /// A license's month has begun, or its quota is larger.
    QuotaFresh {
        /// Its name.
        name: String,
    },
    /// Four fifths of a license's quota are used up.
    QuotaNear {
        /// Its name.
        name: String,
    },
    /// All of it is.
    QuotaUsed {
        /// Its name.
        name: String,
        /// Nothing passes any more.
        stop: bool,
    },
    /// A visitor comes too often, and is turned away for a while.
    Banned {
        /// Its address.
        visitor: IpAddr,
        /// The license whose mappings it visits.
        name: String,
        /// How often it may.
        pace: String,
        /// For so long.
        span: Span,
    },
    /// The operator can ask here.
    AdminAt {
        /// An address, or a path.
        place: String,
    },
    /// Somebody asked at the operator's port who does not know the token.
    AdminRefused {
        /// Its address.
        peer: SocketAddr,
    },
    /// What has passed could not be kept.
    CountersNotKept(String),
    /// The license file was read anew.
    LicensesRead {
        /// How many stand in it.
        count: usize,
    },
    /// The license file cannot be read; the licenses of before hold.
    LicensesBad(String),
    /// Other licenses are tried out.
    Trial(Trial),
    /// The settings were read again, and cannot be taken; those of before hold.
    SettingsKept(String),
    /// The settings were read again.
    SettingsRead {
        /// How many mappings came …
        added: usize,
        /// … and went.
        removed: usize,
    },
    /// The settings of a server were read again, and are others.
    ServerSettingsRead {
        /// How many of its own listeners came …
        opened: usize,
        /// … and went.
        closed: usize,
    },
    /// The certificates were read anew.
    CertificatesRead {
        /// How many there are.
        count: usize,
    },
    /// They cannot be read; those of before hold.
    CertificatesBad(String),
    /// The client tries to log in.
    Connecting {
        /// Where.
        server: String,
    },
    /// The client is logged in.
    Connected {
        /// Where.
        server: String,
        /// Visits of before go on.
        resumed: bool,
    },
    /// The client could not log in, or lost its session.
    Disconnected {
        /// Where.
        server: String,
        /// Why.
        reason: Reason,
        /// The pause before the next attempt.
        retry: Span,
    },
    /// A mapping is live: the line a person waits for.
    Ready {
        /// Where visitors go.
        public: String,
        /// Where they end up.
        target: String,
        /// Which login it is: after another one it is news again.
        login: u64,
    },
    /// A mapping is not live, and why.
    NotReady {
        /// Where visitors would go.
        public: String,
        /// Where they would end up.
        target: String,
        /// Why.
        reason: Reason,
    },
    /// The server offered a mapping that `--allow` does not cover.
    OfferRefused {
        /// Its target.
        target: String,
        /// What to add to `--allow`.
        word: String,
    },
    /// Visitors on this machine are brought to a private mapping of another client.
    VisitingAt {
        /// Where they come.
        address: SocketAddr,
        /// OWNER/NAME.
        name: String,
    },
    /// A visitor of an exit wants to go where `--allow` does not lead.
    ExitRefused {
        /// Where, and by which exit.
        target: String,
        /// What `--allow` would have to be.
        word: String,
    },
    /// Somebody does not know the password of an exit.
    ExitDenied {
        /// Which.
        exit: String,
    },
    /// A visitor of an exit could not be taken where it wants to go.
    ExitFailed {
        /// Where, and by which exit.
        target: String,
        /// Why.
        reason: Reason,
    },
    /// A real server cannot be reached.
    RealServerFailed {
        /// The target.
        target: String,
        /// Why.
        reason: Reason,
    },
    /// The first server is there again: the client goes there.
    GoingBack {
        /// That server.
        server: String,
    },
    /// A real server fails its check: the server takes no visitors there.
    RealServerSick {
        /// The target.
        target: String,
        /// Why.
        reason: Reason,
    },
    /// It passes it again.
    RealServerWell {
        /// The target.
        target: String,
    },
    /// The program ends after its visits.
    Stopping {
        /// Visits in flight.
        visits: usize,
    },
    /// What the driver holds when it is asked to stop: nothing is lent where nobody is served.
    Held {
        /// Buffers lent.
        buffers: usize,
        /// Connections and listeners.
        connections: usize,
    },
    /// A sentence from the edge of the program.
    Plain(Level, String),
}

impl Level {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl Note {
    /// How much it matters.
    pub fn level(&self) -> Level {
        match self {
            Self::NotListening { .. } => Level::Error,
            Self::SessionAway { .. }
            | Self::LoginRefused { .. }
            | Self::StrangerEvicted { .. }
            | Self::MappingDown { .. }
            | Self::AcceptPaused { .. }
            | Self::QuotaNear { .. }
            | Self::QuotaUsed { .. }
            | Self::Banned { .. }
            | Self::CountersNotKept(_)
            | Self::AdminRefused { .. }
            | Self::LicensesBad(_)
            | Self::SettingsKept(_)
            | Self::CertificatesBad(_)
            | Self::Disconnected { .. }
            | Self::NotReady { .. }
            | Self::OfferRefused { .. }
            | Self::ExitRefused { .. }
            | Self::ExitFailed { .. }
            | Self::ExitDenied { .. }
            | Self::RealServerSick { .. }
            | Self::RealServerFailed { .. } => Level::Warn,
            Self::RealServerWell { .. }
            | Self::GoingBack { .. }
            | Self::Listening { .. }
            | Self::ListeningForNames { .. }
            | Self::VisitingAt { .. }
            | Self::SessionUp { .. }
            | Self::SessionOver { .. }
            | Self::MappingUp { .. }
            | Self::QuotaFresh { .. }
            | Self::AdminAt { .. }
            | Self::SettingsRead { .. }
            | Self::ServerSettingsRead { .. }
            | Self::LicensesRead { .. }
            | Self::CertificatesRead { .. }
            | Self::Connecting { .. }
            | Self::Connected { .. }
            | Self::Ready { .. }
            | Self::Stopping { .. } => Level::Info,
            // Somebody was turned away, and can be helped.
            Self::VisitFailed { reason: Reason::Busy, .. } => Level::Warn,
            Self::StrangerClosed { .. }
            | Self::VisitFailed { .. }
            | Self::FlowOver { .. }
            | Self::Held { .. } => Level::Debug,
            Self::Trial(trial) => trial.level(),
            Self::Plain(level, _) => *level,
        }
    }

    /// What it is news about. News that follows other news about the same thing is told; the same news
    /// again is only counted. The far end's address is no part of it: a flood of strangers can choose that.
    pub fn subject(&self) -> String {
        match self {
            Self::Connecting { server }
            | Self::Connected { server, .. }
            | Self::Disconnected { server, .. } => {
                format!("server {server}")
            }
            Self::SessionUp { name, .. }
            | Self::SessionAway { name, .. }
            | Self::SessionOver { name, .. } => {
                format!("session {name}")
            }
            Self::QuotaFresh { name } | Self::QuotaNear { name } | Self::QuotaUsed { name, .. } => {
                format!("quota {name}")
            }
            // Other programs may act upon each (fail2ban): a crowd is told of for longer than others are.
            Self::Banned { name, .. } => format!("bans {name} {}", self.detail() % 16),
            Self::MappingUp { name, public, .. } | Self::MappingDown { name, public, .. } => {
                let port = public.rsplit(':').next().unwrap_or(public);
                format!("mapping {name} {port}")
            }
            Self::Ready { public, .. } | Self::NotReady { public, .. } => format!("mapping {public}"),
            Self::LoginRefused { reason, .. } => format!("login {reason:?}"),
            Self::AdminRefused { .. } => "admin".into(),
            Self::StrangerClosed { reason, .. } => format!("stranger {reason:?}"),
            Self::StrangerEvicted { .. } => "evicted".into(),
            // The server chooses the targets: a few are told, the rest counted.
            Self::OfferRefused { .. } => "offers".into(),
            // Anybody may ask for anything.
            Self::ExitRefused { .. } | Self::ExitFailed { .. } => "exits".into(),
            Self::ExitDenied { exit } => format!("logins of {exit}"),
            Self::VisitFailed { place, reason, .. } => format!("visit {place} {reason:?}"),
            // A few are told, the rest counted.
            Self::FlowOver { .. } => "flows".into(),
            Self::LicensesRead { .. } => "licenses".into(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening { address, tls: true } => write!(f, "clients are served on {address} (TLS)"),
            Self::Listening { address, tls: false } => write!(
                f,
                "clients are served on {address} WITHOUT encryption: whoever is on the way can read and \
                 change what visitors send; use it on a trusted network only"
            ),
            Self::ListeningForNames { address, scheme } => {
                write!(f, "visitors of {scheme} names are served on {address}")
            }
            Self::NotListening { whom, address, reason: Reason::InUse } => {
                write!(
                    f,
                    "cannot serve {whom} on {address}: the port is in use; stop the other program, or choose another \
                     port"
                )
            }
            Self::NotListening { whom, address, reason } => {
                write!(f, "cannot serve {whom} on {address}: {reason}")
            }
            Self::SessionUp { name, peer, resumed: false } => write!(f, "{name}: logged in from {peer}"),
            Self::SessionUp { name, peer, resumed: true } => {
                write!(f, "{name}: logged in again from {peer}; its visits go on")
            }
            Self::SessionAway { name, reason } => {
                write!(
                    f,
                    "{name}: the control connection is lost: {reason}; its visits go on while it comes back"
                )
            }
            Self::SessionOver { name, reason } => write!(f, "{name}: logged out: {reason}"),
            Self::LoginRefused { peer, reason: Reason::Denied } => {
                write!(f, "login from {peer} refused: no license of this server proves it")
            }
            Self::LoginRefused { peer, reason } => write!(f, "login from {peer} refused: {reason}"),
            Self::StrangerClosed { peer, reason } => {
                write!(f, "connection from {peer} closed before login: {reason}")
            }
            Self::StrangerEvicted { peer } => write!(
                f,
                "more connections without a login than are kept at once; the oldest, from {peer}, was closed"
            ),
            Self::MappingUp { name, public, target } => write!(f, "{name}: {public} -> {target} ready"),
            Self::MappingDown { name, public, target, reason } => {
                let final_word = matches!(reason, Reason::NotServed | Reason::TooMany | Reason::NoDoor);
                let then = if final_word { "" } else { "; it is tried again" };
                write!(f, "{name}: {public} -> {target} not served: {reason}{then}")
            }
            Self::VisitFailed { visitor, place, reason } => {
                write!(f, "visit of {visitor} to {place} failed: {reason}")
            }
            Self::FlowOver { visitor, taken, sent, dropped } => write!(
                f,
                "datagrams of {visitor} over: {taken} from there, {sent} to there, {dropped} dropped"
            ),
            Self::AcceptPaused { reason } => write!(
                f,
                "no new connections for a moment: {reason}; raise the limit on open files (ulimit -n) to serve more"
            ),
            Self::AdminAt { place } => write!(f, "the API is served on {place}"),
            Self::AdminRefused { peer } => {
                write!(f, "request from {peer} refused: it does not bring the token")
            }
            Self::QuotaFresh { name } => write!(f, "{name}: less than 80 % of its quota is used again"),
            Self::QuotaNear { name } => write!(f, "{name}: 80 % of its quota for this month are used"),
            Self::QuotaUsed { name, stop: true } => {
                write!(f, "{name}: its quota for this month is used up; nothing passes until the next")
            }
            Self::QuotaUsed { name, stop: false } => {
                write!(f, "{name}: its quota for this month is used up; it goes on slowly until the next")
            }
            Self::Banned { visitor, name, pace, span } => write!(
                f,
                "visitor {visitor} of {name} banned for {} s: more connections than {pace}",
                span.as_secs_up()
            ),
            Self::CountersNotKept(why) => write!(f, "{why}; traffic of this minute is lost if nt ends now"),
            Self::LicensesRead { count } => write!(f, "licenses.toml read: {count} licenses"),
            Self::LicensesBad(why) => write!(f, "{why}; the licenses of before still hold"),
            Self::SettingsKept(why) => write!(f, "{why}; the settings of before still hold"),
            Self::SettingsRead { added: 0, removed: 0 } => write!(f, "settings read: no mapping has changed"),
            Self::SettingsRead { added, removed } => {
                write!(
                    f,
                    "settings read: {added} mappings added, {removed} removed; the others go on as they are"
                )
            }
            Self::ServerSettingsRead { opened, closed } => {
                write!(f, "settings read: {opened} listeners opened, {closed} closed")
            }
            Self::CertificatesRead { count } => write!(f, "certificates read: {count}"),
            Self::CertificatesBad(why) => write!(f, "{why}; the certificates of before still hold"),
            Self::Connecting { server } => write!(f, "connecting to {server}"),
            Self::Connected { server, resumed: false } => write!(f, "logged in to {server}"),
            Self::Connected { server, resumed: true } => {
                write!(f, "logged in to {server} again; visits go on")
            }
            Self::Disconnected { server, reason: Reason::Refused, retry } => write!(
                f,
                "{server}: no nt server answers there (the connection was refused): is `nt -s` running, on this port? \
                 Trying again within {} s",
                retry.as_secs_up()
            ),
            Self::Disconnected { server, reason, retry } => {
                write!(f, "{server}: {reason}; trying again within {} s", retry.as_secs_up())
            }
            Self::Ready { public, target, .. } => write!(f, "{public} -> {target} ready"),
            Self::NotReady { public, target, reason } => {
                write!(f, "{public} -> {target} not ready: {reason}; it is tried again")
            }
            Self::OfferRefused { target, word } => write!(
                f,
                "the server asks for a mapping to {target}, which --allow does not cover; to permit it too, \
                 add --allow {word}"
            ),
            Self::VisitingAt { address, name } => write!(f, "{address} leads to {name}"),
            Self::ExitRefused { target, word } => write!(
                f,
                "a visitor wants to go to {target}, which --allow does not cover; to permit it too, start with \
                 --allow {word}"
            ),
            Self::ExitDenied { exit } => write!(f, "a visitor of {exit} does not know its user and password"),
            Self::ExitFailed { target, reason } => write!(f, "a visit to {target} failed: {reason}"),
            Self::RealServerFailed { target, reason } => write!(f, "a visit to {target} failed: {reason}"),
            Self::RealServerSick { target, reason: Reason::Sick } => {
                write!(f, "{target} fails its check, and gets no visitors: its answer is none of success")
            }
            Self::RealServerSick { target, reason } => {
                write!(f, "{target} fails its check, and gets no visitors: {reason}")
            }
            Self::GoingBack { server } => write!(f, "{server} is there again: going back to it"),
            Self::RealServerWell { target } => write!(f, "{target} passes its check again"),
            Self::Stopping { visits: 0 } => write!(f, "stopping"),
            Self::Stopping { visits } => {
                write!(
                    f,
                    "stopping when {visits} visits have ended, in 30 s at the latest; once more stops at once"
                )
            }
            Self::Held { buffers, connections } => {
                write!(
                    f,
                    "asked to stop with {buffers} buffers lent and {connections} connections and listeners open"
                )
            }
            Self::Trial(trial) => trial.fmt(f),
            Self::Plain(_, text) => f.write_str(text),
        }
    }
}
