//! The options that follow a mapping's route, each after a comma.

use std::fmt;
use std::net::Ipv4Addr;

use super::Kind;
use crate::names::{self, Use};
use crate::policy::{Cidr, Networks, Rates, parse_port};
use crate::proxy_protocol::ProxyVersion;
use crate::text::{did_you_mean, is_token, quote};

/// Most networks, and most headers, of one mapping.
const ITEMS_MAX: usize = 32;

const WORDS: [&str; 8] = ["proxy", "allow", "rate", "host", "auth", "header", "accept-proxy", "check"];

/// Headers that say how a message is framed or where it goes: to set them from outside would make two
/// programs read one message differently (RFC 9112 section 11.2).
const HEADERS_RESERVED: [&str; 7] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"];

/// What a mapping wants beyond being reachable. `Display` writes what the parser reads, each option
/// with its comma, **passwords included**; `Debug` leaves these out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `proxy=v1|v2`: tell the target the visitor's address by the PROXY protocol.
    pub proxy: Option<ProxyVersion>,
    /// `allow=CIDR[+CIDR...]`: who may visit.
    pub allow: Networks,
    /// `rate=DOWN/UP`: bytes a second of all its visitors together; K, M and G are decimal.
    pub rate: Rates,
    /// `host=NAME[:PORT]`: the Host that the target sees.
    pub host: Option<String>,
    /// `auth=USER:PASSWORD`: what a visitor must know (RFC 7617, RFC 1929).
    pub auth: Option<Auth>,
    /// `header=NAME:VALUE`: added to every request, in this order.
    pub headers: Vec<Header>,
    /// `accept-proxy=CIDR[+CIDR...]`: which visitors may say by the PROXY protocol whom they stand for.
    pub accept_proxy: Vec<Cidr>,
    /// `check=tcp|http:/PATH`: how to find out whether the target is well.
    pub check: Option<Check>,
}

/// A user's name and password. `Debug` leaves the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// The name: not empty, no colon.
    pub user: String,
    /// The password: not empty, no comma. **Secret.**
    pub password: String,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Auth({:?}, ..)", self.user)
    }
}

/// A header of HTTP. `Debug` leaves its value out, which may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    /// A token (RFC 9110 section 5.6.2), as it was written.
    pub name: String,
    /// Visible ASCII and spaces between, no comma; not empty.
    pub value: String,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({:?}, ..)", self.name)
    }
}

/// How to find out whether a target is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// It takes a connection.
    Tcp,
    /// It answers a request for this path with success.
    Http(String),
}

impl Options {
    /// Reads what follows the first comma of a mapping, and checks that it suits the kind, and a target that is the
    /// client itself (`ours`).
    ///
    /// # Errors
    /// A sentence that names the option. It repeats no value that may be a secret.
    pub(super) fn parse(text: &str, kind: Kind, ours: bool) -> Result<Self, String> {
        let mut options = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for option in text.split(',').map(str::trim) {
            let (word, value) = option.split_once('=').unwrap_or((option, ""));
            if !WORDS.contains(&word) {
                return Err(no_option(word));
            }
            if seen.contains(&word) && word != "header" {
                return Err(format!("option `{word}` comes twice"));
            }
            seen.push(word);
            if value.is_empty() {
                return Err(format!("option `{word}` has no value"));
            }
            options.set(word, value)?;
            suits(word, kind, ours, &options)?;
        }
        Ok(options)
    }

    fn set(&mut self, word: &str, value: &str) -> Result<(), String> {
        let wrong = |what: String| Err(format!("option `{word}`: {what}"));
        match word {
            "proxy" => match value {
                "v1" => self.proxy = Some(ProxyVersion::V1),
                "v2" => self.proxy = Some(ProxyVersion::V2),
                _ => return wrong(format!("{} is not v1 or v2", quote(value))),
            },
            "allow" => self.allow = networks(word, value)?,
            "accept-proxy" => self.accept_proxy = networks(word, value)?.iter().collect(),
            "rate" => match Rates::parse(value) {
                Ok(rates) => self.rate = rates,
                Err(what) => return wrong(what),
            },
            "host" => match host_header(value) {
                Ok(host) => self.host = Some(host),
                Err(what) => return wrong(what),
            },
            "auth" => match parse_auth(value) {
                Some(auth) => self.auth = Some(auth),
                None => return wrong("write USER:PASSWORD, without spaces or commas".to_string()),
            },
            "header" => match parse_header(value) {
                Ok(_) if self.headers.len() == ITEMS_MAX => {
                    return wrong(format!("comes more than {ITEMS_MAX} times"));
                }
                Ok(header) => self.headers.push(header),
                Err(what) => return wrong(what),
            },
            _ => match value.strip_prefix("http:") {
                _ if value == "tcp" => self.check = Some(Check::Tcp),
                Some(path) if path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic()) => {
                    self.check = Some(Check::Http(path.to_string()));
                }
                _ => return wrong(format!("{} is not tcp or http:/PATH", quote(value))),
            },
        }
        Ok(())
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.proxy {
            Some(ProxyVersion::V1) => f.write_str(",proxy=v1")?,
            Some(ProxyVersion::V2) => f.write_str(",proxy=v2")?,
            None => (),
        }
        write_networks(f, "allow", self.allow.iter())?;
        if self.rate != Rates::FREE {
            write!(f, ",rate={}", self.rate)?;
        }
        if let Some(host) = &self.host {
            write!(f, ",host={host}")?;
        }
        if let Some(auth) = &self.auth {
            write!(f, ",auth={}:{}", auth.user, auth.password)?;
        }
        for header in &self.headers {
            write!(f, ",header={}:{}", header.name, header.value)?;
        }
        write_networks(f, "accept-proxy", self.accept_proxy.iter().copied())?;
        match &self.check {
            Some(Check::Tcp) => f.write_str(",check=tcp"),
            Some(Check::Http(path)) => write!(f, ",check=http:{path}"),
            None => Ok(()),
        }
    }
}

/// The text before `=` alone: what is behind it may be a password after a mistyped `auth`.
fn no_option(word: &str) -> String {
    let known = WORDS.join(", ");
    format!("{} is not an option ({known}){}", quote(word), did_you_mean(word, &WORDS))
}

/// Whether an option means something for this kind, and this target.
fn suits(word: &str, kind: Kind, ours: bool, options: &Options) -> Result<(), String> {
    let http = kind.is_http();
    match word {
        "auth" if ours => Ok(()),
        "proxy" | "check" if ours => {
            Err(format!("option `{word}` is for a target that is not the client itself"))
        }
        "host" | "auth" | "header" if !http => {
            Err(format!("option `{word}` needs /http or /https: nothing else is looked into"))
        }
        "proxy" if kind == Kind::Private => {
            Err("option `proxy` does not go with /private: the other client alone knows who visits"
                .to_owned())
        }
        "allow" if kind == Kind::Private => {
            Err("option `allow` does not go with /private: who may visit is \
             said by the `visit` of the licenses"
                .to_owned())
        }
        "check" | "accept-proxy" if kind == Kind::Udp => {
            Err(format!("option `{word}` does not go with /udp"))
        }
        "proxy" if kind == Kind::Udp && options.proxy == Some(ProxyVersion::V1) => {
            Err("option `proxy`: /udp needs v2, v1 knows no datagrams".to_owned())
        }
        _ => Ok(()),
    }
}

fn networks(word: &str, value: &str) -> Result<Networks, String> {
    let networks =
        Networks::from_items(value.split('+')).map_err(|what| format!("option `{word}`: {what}"))?;
    if networks.iter().count() > ITEMS_MAX {
        return Err(format!("option `{word}` has more than {ITEMS_MAX} networks"));
    }
    Ok(networks)
}

fn write_networks(
    f: &mut fmt::Formatter<'_>,
    word: &str,
    networks: impl Iterator<Item = Cidr>,
) -> fmt::Result {
    for (index, network) in networks.enumerate() {
        match index {
            0 => write!(f, ",{word}={network}")?,
            _ => write!(f, "+{network}")?,
        }
    }
    Ok(())
}

fn host_header(value: &str) -> Result<String, String> {
    let (name, port) = match value.split_once(':') {
        Some((name, port)) => (name, Some(parse_port(port)?)),
        None => (value, None),
    };
    let name = match name.parse::<Ipv4Addr>() {
        Ok(address) => address.to_string(),
        Err(_) => names::host_name(name, Use::Dial)?,
    };
    Ok(port.map_or_else(|| name.clone(), |port| format!("{name}:{port}")))
}

fn parse_auth(value: &str) -> Option<Auth> {
    let (user, password) = value.split_once(':')?;
    let bad = value.chars().any(|c| c.is_whitespace() || c.is_control());
    if user.is_empty() || password.is_empty() || bad {
        return None;
    }
    Some(Auth { user: user.to_string(), password: password.to_string() })
}

fn parse_header(value: &str) -> Result<Header, String> {
    const SHAPE: &str = "write NAME:VALUE, in visible ASCII and without commas";
    let (name, value) = value.split_once(':').ok_or(SHAPE)?;
    let value = value.trim_matches(' ');
    let visible = |b: u8| b.is_ascii_graphic() || b == b' ';
    if name.is_empty() || !name.bytes().all(is_token) || value.is_empty() || !value.bytes().all(visible) {
        return Err(SHAPE.to_string());
    }
    if HEADERS_RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(format!("{} is not for you to set", quote(name)));
    }
    Ok(Header { name: name.to_string(), value: value.to_string() })
}
