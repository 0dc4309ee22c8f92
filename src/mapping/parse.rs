//! From a mapping's text to mappings. Every error quotes the route it is in, never the options.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Exit, Host, Kind, Mapping, Options, Public, Target};
use crate::limits::MAPPING_BYTES_MAX;
use crate::names::{self, Use};
use crate::policy::parse_port;
use crate::text::{did_you_mean, quote};

/// Most ports, hence mappings, that one text may stand for.
pub const MAPPING_PORTS_MAX: usize = 1024;

/// Longest path of a Unix socket in bytes: `sun_path` has 108 on Linux, 104 elsewhere, with a zero at its
/// end.
const SOCKET_PATH_BYTES_MAX: usize = 103;

/// Longest path of a folder in bytes.
const FOLDER_PATH_BYTES_MAX: usize = 512;

/// What a target begins with that is a path.
const PATHS: [&str; 2] = ["unix:", "files:"];

/// Why a text is no mapping: where, what, and what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingError {
    /// As it is shown, so that not even `Debug` has more of it.
    route: String,
    what: String,
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in {}: {}", self.route, self.what)
    }
}

impl std::error::Error for MappingError {}

/// Reads a mapping; a range of ports is one for each of them, at most [`MAPPING_PORTS_MAX`]. The grammar
/// stands at the top of [`crate::mapping`].
///
/// # Errors
/// What is wrong with which part. Passwords and values of headers are never repeated.
pub fn parse(text: &str) -> Result<Vec<Mapping>, MappingError> {
    let text = text.trim();
    let (route, options) = match text.split_once(',') {
        Some((route, options)) => (route, Some(options)),
        None => (text, None),
    };
    parse_parts(text, route, options).map_err(|what| MappingError { route: quote(route), what })
}

/// The mapping of a text that stands for one; a range is not even expanded.
pub(super) fn parse_one(text: &str) -> Option<Mapping> {
    let route = Route::parse(text.split(',').next()?).ok()?;
    let ports = match route.public {
        PublicSide::Ports { ports, .. } => ports.count(),
        PublicSide::Name { .. } => 1,
    };
    if ports == 1 { parse(text).ok()?.pop() } else { None }
}

fn parse_parts(text: &str, route: &str, options: Option<&str>) -> Result<Vec<Mapping>, String> {
    if text.len() > MAPPING_BYTES_MAX {
        return Err(format!("a mapping has at most {MAPPING_BYTES_MAX} characters"));
    }
    if route.is_empty() {
        return Err("there is no mapping; the simplest is a port, as in `8080`".to_string());
    }
    let route = Route::parse(route)?;
    let kind = route.kind()?;
    let options = match options {
        Some(options) => Options::parse(options, kind, route.target.is_ours())?,
        None => Options::default(),
    };
    let ends = route.expand()?;
    let whole = |(public, target)| Mapping { kind, public, target, options: options.clone() };
    Ok(ends.into_iter().map(whole).collect())
}

/// The route as it is written: ranges not yet expanded.
struct Route {
    kind: Option<Kind>,
    public: PublicSide,
    target: TargetSide,
}

enum PublicSide {
    Ports { addr: Option<IpAddr>, ports: Ports },
    Name { name: String, path: Option<String> },
}

enum TargetSide {
    Same,
    Ports {
        host: Host,
        ports: Ports,
    },
    /// No port of any host.
    One(Target),
}

/// A port, or a range of them: first and last.
#[derive(Clone, Copy)]
struct Ports {
    first: u16,
    last: u16,
}

impl Route {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = split(text)?;
        let kind = take_kind(&mut parts)?;
        if parts.iter().any(|part| part.is_empty()) {
            return Err(match text.contains("::") {
                true => "an IPv6 address stands in brackets, as in `2222:[fd00::5]:22`",
                false => "a part is empty; a mapping is PUBLIC:TARGET, as in `2222:22`",
            }
            .to_string());
        }
        let (public, rest) = PublicSide::parse(&parts, kind)?;
        let target = TargetSide::parse(rest, &parts)?;
        Ok(Self { kind, public, target })
    }

    /// The kind that was written or goes without saying, if it suits the public side.
    fn kind(&self) -> Result<Kind, String> {
        match (&self.public, self.kind) {
            (PublicSide::Ports { .. }, None) => Ok(Kind::Tcp),
            (PublicSide::Name { .. }, None) => Ok(Kind::Http),
            (PublicSide::Ports { .. }, Some(Kind::Tls)) => {
                Err("/tls tells visitors apart by name: write a public name, or /tcp for all of a port"
                    .to_string())
            }
            (PublicSide::Name { .. }, Some(kind @ (Kind::Tcp | Kind::Udp))) => {
                Err(format!("/{kind} carries no name: write a public port, or /http, /https or /tls"))
            }
            (PublicSide::Name { .. }, Some(Kind::Private)) => Ok(Kind::Private),
            (PublicSide::Name { path: Some(_), .. }, Some(Kind::Tls)) => {
                Err("/tls cannot see a path: leave it out, or let the server end TLS with \
                    /https"
                    .to_string())
            }
            (_, Some(Kind::Udp)) if matches!(self.target, TargetSide::One(_)) => {
                Err("it takes no datagrams: /udp needs a target HOST:PORT".to_string())
            }
            (_, Some(Kind::Tls)) if self.target.is_ours() => {
                Err("TLS does not end at the client: /tls needs a target that speaks it".to_string())
            }
            (_, Some(kind @ (Kind::Http | Kind::Https))) if self.target.is_exit() => {
                Err(format!("a proxy is not /{kind}: leave the kind out"))
            }
            (_, Some(kind)) => Ok(kind),
        }
    }

    /// Both ends of every mapping that this route stands for.
    fn expand(self) -> Result<Vec<(Public, Target)>, String> {
        let (addr, public) = match self.public {
            PublicSide::Ports { addr, ports } => (addr, ports),
            PublicSide::Name { .. } if self.target.is_exit() && self.kind != Some(Kind::Private) => {
                return Err("a proxy has no name: write a public port".to_string());
            }
            PublicSide::Name { name, path } => {
                let target = self.target.single()?;
                return Ok(vec![(Public::Name { name, path }, target)]);
            }
        };
        if public.count() > MAPPING_PORTS_MAX {
            return Err(format!(
                "{} ports are more than the {MAPPING_PORTS_MAX} that one range may have",
                public.count()
            ));
        }
        let (host, target) = match self.target {
            TargetSide::Ports { host, ports } => (host, ports),
            TargetSide::Same if public.first == 0 => {
                return Err("0 is any public port, but of no target: write `0:22`".to_string());
            }
            TargetSide::Same => (Host::Ip(Ipv4Addr::LOCALHOST.into()), public),
            TargetSide::One(target) if public.count() == 1 => {
                return Ok(vec![(Public::Port { addr, port: public.first }, target)]);
            }
            TargetSide::One(target) => return Err(format!("a range of ports cannot go to {target}")),
        };
        if public.count() != target.count() {
            return Err(format!(
                "{public} is {}, {target} is {}: both sides need as many",
                plural(public.count()),
                plural(target.count())
            ));
        }
        let pair = |(port, to)| (Public::Port { addr, port }, Target::Tcp { host: host.clone(), port: to });
        Ok((public.first..=public.last).zip(target.first..=target.last).map(pair).collect())
    }
}

impl PublicSide {
    /// The public side at the beginning of `parts`, and the parts behind it.
    fn parse<'a, 'b>(parts: &'b [&'a str], kind: Option<Kind>) -> Result<(Self, &'b [&'a str]), String> {
        let (&first, rest) = parts.split_first().expect("a text splits into one part or more");
        if kind == Some(Kind::Private) {
            let name = private_name(first)?;
            return Ok((Self::Name { name, path: None }, rest));
        }
        if looks_like_ports(first) {
            return Ok((Self::Ports { addr: None, ports: Ports::parse(first, true)? }, rest));
        }
        if let Some((ports, kind)) = first.split_once('/').filter(|(ports, _)| looks_like_ports(ports)) {
            return Err(format!("the kind stands at the end: `{ports}:{}/{kind}`", rest.join(":")));
        }
        if let Some(addr) = parse_address(first)? {
            let Some((&port, rest)) = rest.split_first() else {
                return Err(format!(
                    "a public address needs its port and a target, as in \
                    `{first}:8081:80`"
                ));
            };
            let ports = Ports::parse(port, true)?;
            if rest.is_empty() {
                let target = if port == "0" { "22" } else { port };
                return Err(format!(
                    "this could be the public side or the target: \
                     write `{first}:{port}:{target}` or `{target}:{first}:{target}`"
                ));
            }
            return Ok((Self::Ports { addr: Some(addr), ports }, rest));
        }
        Ok((Self::parse_name(first, rest)?, rest))
    }

    fn parse_name(text: &str, rest: &[&str]) -> Result<Self, String> {
        let (name, path) = match text.find('/') {
            Some(at) => (&text[..at], parse_path(&text[at..])?),
            None => (text, None),
        };
        let checked = names::host_name(name, Use::Publish).map_err(|what| match rest {
            // One label and one port is what a target looks like.
            [port] if names::host_name(name, Use::Dial).is_ok() && looks_like_ports(port) => {
                format!("{what}; for a target write `{port}:{name}:{port}`")
            }
            _ => what,
        })?;
        if rest.is_empty() {
            return Err(format!("a public name needs a target, as in `{text}:3000`"));
        }
        Ok(Self::Name { name: checked, path })
    }
}

impl TargetSide {
    /// The target that `rest` is, which are the last of `parts`.
    fn parse(rest: &[&str], parts: &[&str]) -> Result<Self, String> {
        let here = Host::Ip(Ipv4Addr::LOCALHOST.into());
        if let [word] = *rest
            && let Some(exit) = exit(word)
        {
            return Ok(Self::One(Target::Exit(exit)));
        }
        match *rest {
            [] => Ok(Self::Same),
            [one] if one.starts_with(PATHS[0]) => {
                let path = parse_path_of("a Unix socket", &one[PATHS[0].len()..], SOCKET_PATH_BYTES_MAX)?;
                Ok(Self::One(Target::Unix(path)))
            }
            [one] if one.starts_with(PATHS[1]) => {
                let path = parse_path_of("a folder", &one[PATHS[1].len()..], FOLDER_PATH_BYTES_MAX)?;
                Ok(Self::One(Target::Files(path)))
            }
            [ports] if looks_like_ports(ports) => {
                Ok(Self::Ports { host: here, ports: Ports::parse(ports, false)? })
            }
            [host] => {
                parse_host(host)?;
                let meant = if looks_like_ports(parts[0]) && parts[0] != "0" { parts[0] } else { "22" };
                Err(format!("the target {} has no port, as in `{host}:{meant}`", quote(host)))
            }
            [ports, host] if looks_like_ports(ports) && !looks_like_ports(host) => {
                Err(format!("the target's host comes before its port: `{host}:{ports}`"))
            }
            [host, ports] => Ok(Self::Ports { host: parse_host(host)?, ports: Ports::parse(ports, false)? }),
            _ => Err("there are too many parts; a mapping is PUBLIC:HOST:PORT, an IPv6 address in brackets"
                .to_string()),
        }
    }

    /// Whether the client itself answers.
    fn is_ours(&self) -> bool {
        matches!(self, Self::One(Target::Exit(_) | Target::Files(_)))
    }

    fn is_exit(&self) -> bool {
        matches!(self, Self::One(Target::Exit(_)))
    }

    /// The one target of a name.
    fn single(self) -> Result<Target, String> {
        match self {
            Self::One(target) => Ok(target),
            Self::Ports { host, ports } if ports.count() == 1 => Ok(Target::Tcp { host, port: ports.first }),
            Self::Same | Self::Ports { .. } => Err("a name goes to one port, not to a range".to_string()),
        }
    }
}

impl Ports {
    fn parse(text: &str, public: bool) -> Result<Self, String> {
        if public && text == "0" {
            return Ok(Self { first: 0, last: 0 });
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| match text.bytes().all(|b| b == b'0') && !text.is_empty() {
            true if public => Err("0 (any free port) cannot be part of a range".to_string()),
            true => Err("only the public port may be 0".to_string()),
            false => parse_port(text),
        };
        let ports = Self { first: port(first)?, last: port(last)? };
        if ports.first > ports.last {
            return Err(format!("the range {} runs backwards", quote(text)));
        }
        Ok(ports)
    }

    fn count(self) -> usize {
        usize::from(self.last - self.first) + 1
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.last > self.first { write!(f, "-{}", self.last) } else { Ok(()) }
    }
}

fn plural(ports: usize) -> String {
    if ports == 1 { "1 port".to_string() } else { format!("{ports} ports") }
}

/// The parts between colons. Colons within brackets belong to an IPv6 address; those behind `unix:` and `files:`,
/// to a path.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let mut parts = Vec::new();
    let (mut start, mut open) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' if !open && at == start => open = true,
            b']' if open => open = false,
            b'[' | b']' => {
                return Err("brackets stand around an IPv6 address, as in \
                `[fd00::5]`"
                    .to_string());
            }
            b':' if !open => {
                parts.push(&text[start..at]);
                start = at + 1;
                if PATHS.iter().any(|begin| text[start..].starts_with(begin)) {
                    break;
                }
            }
            _ => (),
        }
    }
    if open {
        return Err("a bracket is not closed".to_string());
    }
    parts.push(&text[start..]);
    match parts[0] {
        "unix" => Err("a Unix socket can only be a target: write the public port first, \
                       as in `2222:unix:/run/app.sock`"
            .to_string()),
        "files" => Err("a folder can only be a target: write the public port first, \
                        as in `8080:files:/srv/www`"
            .to_string()),
        _ => Ok(parts),
    }
}

/// Takes the kind from the end of the last part.
fn take_kind(parts: &mut [&str]) -> Result<Option<Kind>, String> {
    let named = !parts[0].starts_with(|c: char| c.is_ascii_digit() || c == '[');
    let alone = parts.len() == 1;
    let last = parts.last_mut().expect("a text splits into one part or more");
    if PATHS.iter().any(|begin| last.starts_with(begin)) {
        let (path, kind) = split_kind(last);
        *last = path;
        return Ok(kind);
    }
    // A single part that is no port has a path, if anything, and lacks a target.
    let Some((before, word)) = last.split_once('/').filter(|_| !(alone && named)) else {
        return Ok(None);
    };
    *last = before;
    match Kind::ALL.into_iter().find(|kind| kind.word() == word) {
        Some(kind) => Ok(Some(kind)),
        None if named => Err(format!(
            "{} is not a kind; a path stands behind the public name: `{}/{word}:{before}`",
            quote(word),
            parts[0]
        )),
        None => {
            let words = Kind::ALL.map(Kind::word);
            Err(format!(
                "{} is not a kind ({}){}",
                quote(word),
                words.join(
                    ", \
                "
                ),
                did_you_mean(word, &words)
            ))
        }
    }
}

/// What stands before a kind at the end of `text`, and the kind.
pub(super) fn split_kind(text: &str) -> (&str, Option<Kind>) {
    let of = |kind: Kind| Some((text.strip_suffix(kind.word())?.strip_suffix('/')?, kind));
    Kind::ALL.into_iter().find_map(of).map_or((text, None), |(before, kind)| (before, Some(kind)))
}

/// Whether a person who wrote this meant a port or a range of them.
fn looks_like_ports(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'-')
}

/// The address that `text` is, if it is one; an error only where it is in brackets and none.
fn parse_address(text: &str) -> Result<Option<IpAddr>, String> {
    if let Some(inner) = text.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
        return match address {
            Some(address) => Ok(Some(IpAddr::V6(address).to_canonical())),
            None => Err(format!("{} is not an IPv6 address", quote(text))),
        };
    }
    Ok(text.parse::<Ipv4Addr>().ok().map(IpAddr::V4))
}

fn parse_host(text: &str) -> Result<Host, String> {
    match parse_address(text)? {
        Some(address) => Ok(Host::Ip(address)),
        None => match names::host_name(text, Use::Dial)?.as_str() {
            // It would be written as it is read: as a socket.
            name @ ("unix" | "files") => Err(format!("a host cannot be called `{name}`: write its address")),
            name => Ok(Host::Name(name.to_string())),
        },
    }
}

/// The beginning of a request's path (RFC 3986 section 3.3), which has no `/` at its end and nothing in it
/// that a server could resolve to another path.
fn parse_path(text: &str) -> Result<Option<String>, String> {
    let path = text.trim_end_matches('/');
    if path.is_empty() {
        return Ok(None);
    }
    let good = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+;=@/".contains(c);
    if let Some(found) = path.chars().find(|&c| !good(c)) {
        return Err(format!("the path {} contains {found:?}, which a path here may not", quote(text)));
    }
    if path.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(format!("the path {} has an empty part, `.` or `..` in it", quote(text)));
    }
    Ok(Some(path.to_string()))
}

/// What a private mapping is called: one label.
fn private_name(text: &str) -> Result<String, String> {
    match names::host_name(text, Use::Dial) {
        Ok(name) if !name.contains('.') => Ok(name),
        _ => Err(format!(
            "{} is no name of a private mapping: letters, digits and hyphens, as in `ssh:22/private`",
            quote(text)
        )),
    }
}

/// The exit that goes by this word.
fn exit(word: &str) -> Option<Exit> {
    Exit::ALL.into_iter().find(|exit| exit.word() == word)
}

fn parse_path_of(what: &str, path: &str, most: usize) -> Result<String, String> {
    if !path.starts_with('/') {
        return Err(format!("the path of {what} begins with /, {} does not", quote(path)));
    }
    if path.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("the path {} contains a space", quote(path)));
    }
    if path.len() > most {
        return Err(format!("the path of {what} has at most {most} characters"));
    }
    Ok(path.to_string())
}
