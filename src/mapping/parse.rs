//! From a mapping's text to the mapping. Every error quotes the route it is in, never the options.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Exit, Host, Kind, Mapping, Options, Ports, Public, Target};
use crate::limits::MAPPING_BYTES_MAX;
use crate::names::{self, Use};
use crate::policy::parse_port;
use crate::text::{did_you_mean, quote};

/// Most ports of one range.
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

/// Reads a mapping. The grammar stands at the top of [`crate::mapping`].
///
/// # Errors
/// What is wrong with which part. Passwords and values of headers are never repeated.
pub fn parse(text: &str) -> Result<Mapping, MappingError> {
    let text = text.trim();
    let (route, options) = match text.split_once(',') {
        Some((route, options)) => (route, Some(options)),
        None => (text, None),
    };
    parse_parts(text, route, options).map_err(|what| MappingError { route: quote(route), what })
}

fn parse_parts(text: &str, route: &str, options: Option<&str>) -> Result<Mapping, String> {
    if text.len() > MAPPING_BYTES_MAX {
        return Err(format!("a mapping has at most {MAPPING_BYTES_MAX} characters"));
    }
    if route.is_empty() {
        return Err("there is no mapping; the simplest is a port, as in `8080`".to_string());
    }
    let route = Route::parse(route)?;
    let kind = route.kind()?;
    let options = match options {
        Some(options) => Options::parse(options, kind, route.is_ours())?,
        None => Options::default(),
    };
    let (public, target) = route.ends()?;
    Ok(Mapping { kind, public, target, options })
}

/// The route as it is written; without a target, that is the same ports of this machine.
struct Route {
    kind: Option<Kind>,
    public: Public,
    target: Option<Target>,
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
        let (public, rest) = parse_public(&parts, kind)?;
        let target = parse_target(rest, &parts)?;
        Ok(Self { kind, public, target })
    }

    /// The kind that was written or goes without saying, if it suits the public side.
    fn kind(&self) -> Result<Kind, String> {
        match (&self.public, self.kind) {
            (Public::Ports { .. }, None) => Ok(Kind::Tcp),
            (Public::Name { .. }, None) => Ok(Kind::Http),
            (Public::Ports { .. }, Some(Kind::Tls)) => {
                Err("/tls tells visitors apart by name: write a public name, or /tcp for all of a port"
                    .to_string())
            }
            (Public::Name { .. }, Some(kind @ (Kind::Tcp | Kind::Udp))) => {
                Err(format!("/{kind} carries no name: write a public port, or /http, /https or /tls"))
            }
            (Public::Name { .. }, Some(Kind::Private)) => Ok(Kind::Private),
            (Public::Name { path: Some(_), .. }, Some(Kind::Tls)) => {
                Err("/tls cannot see a path: leave it out, or let the server end TLS with \
                    /https"
                    .to_string())
            }
            (_, Some(Kind::Udp)) if !matches!(self.target, None | Some(Target::Tcp { .. })) => {
                Err("it takes no datagrams: /udp needs a target HOST:PORT".to_string())
            }
            (_, Some(Kind::Tls)) if self.is_ours() => {
                Err("TLS does not end at the client: /tls needs a target that speaks it".to_string())
            }
            (_, Some(kind @ (Kind::Http | Kind::Https))) if self.is_exit() => {
                Err(format!("a proxy is not /{kind}: leave the kind out"))
            }
            (_, Some(kind)) => Ok(kind),
        }
    }

    /// Whether the client itself answers.
    fn is_ours(&self) -> bool {
        matches!(self.target, Some(Target::Exit(_) | Target::Files(_)))
    }

    fn is_exit(&self) -> bool {
        matches!(self.target, Some(Target::Exit(_)))
    }

    /// Both ends, which suit each other.
    fn ends(self) -> Result<(Public, Target), String> {
        let is_exit = self.is_exit();
        let ports = match self.public {
            Public::Ports { ports, .. } => ports,
            Public::Name { .. } if is_exit && self.kind != Some(Kind::Private) => {
                return Err("a proxy has no name: write a public port".to_string());
            }
            Public::Name { .. } => match self.target {
                Some(Target::Tcp { ports, .. }) if ports.count() > 1 => {
                    return Err("a name goes to one port, not to a range".to_string());
                }
                Some(target) => return Ok((self.public, target)),
                None => return Err("a name needs a target".to_string()),
            },
        };
        if ports.count() > MAPPING_PORTS_MAX {
            let count = ports.count();
            return Err(format!(
                "{count} ports are more than the {MAPPING_PORTS_MAX} that one range may have"
            ));
        }
        let target = match self.target {
            Some(Target::Tcp { ports: to, .. }) if to.count() != ports.count() => {
                return Err(format!(
                    "{ports} is {}, {to} is {}: both sides need as many",
                    plural(ports.count()),
                    plural(to.count())
                ));
            }
            Some(target) if ports.count() > 1 && !matches!(target, Target::Tcp { .. }) => {
                return Err(format!("a range of ports cannot go to {target}"));
            }
            Some(target) => target,
            None if ports.is_any() => {
                return Err("0 is any public port, but of no target: write `0:22`".to_string());
            }
            None => Target::Tcp { host: HERE, ports },
        };
        Ok((self.public, target))
    }
}

/// This machine, where no host is named.
const HERE: Host = Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// The public side at the beginning of `parts`, and the parts behind it.
fn parse_public<'a, 'b>(parts: &'b [&'a str], kind: Option<Kind>) -> Result<(Public, &'b [&'a str]), String> {
    let (&first, rest) = parts.split_first().expect("a text splits into one part or more");
    if kind == Some(Kind::Private) {
        let name = private_name(first)?;
        return Ok((Public::Name { name, path: None }, rest));
    }
    if looks_like_ports(first) {
        return Ok((Public::Ports { addr: None, ports: parse_ports(first, true)? }, rest));
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
        let ports = parse_ports(port, true)?;
        if rest.is_empty() {
            let target = if port == "0" { "22" } else { port };
            return Err(format!(
                "this could be the public side or the target: \
                 write `{first}:{port}:{target}` or `{target}:{first}:{target}`"
            ));
        }
        return Ok((Public::Ports { addr: Some(addr), ports }, rest));
    }
    Ok((parse_name(first, rest)?, rest))
}

fn parse_name(text: &str, rest: &[&str]) -> Result<Public, String> {
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
    Ok(Public::Name { name: checked, path })
}

/// The target that `rest` is, which are the last of `parts`; `None` where nothing is left for one.
fn parse_target(rest: &[&str], parts: &[&str]) -> Result<Option<Target>, String> {
    if let [word] = *rest
        && let Some(exit) = exit(word)
    {
        return Ok(Some(Target::Exit(exit)));
    }
    match *rest {
        [] => Ok(None),
        [one] if one.starts_with(PATHS[0]) => {
            let path = parse_path_of("a Unix socket", &one[PATHS[0].len()..], SOCKET_PATH_BYTES_MAX)?;
            Ok(Some(Target::Unix(path)))
        }
        [one] if one.starts_with(PATHS[1]) => {
            let path = parse_path_of("a folder", &one[PATHS[1].len()..], FOLDER_PATH_BYTES_MAX)?;
            Ok(Some(Target::Files(path)))
        }
        [ports] if looks_like_ports(ports) => {
            Ok(Some(Target::Tcp { host: HERE, ports: parse_ports(ports, false)? }))
        }
        [host] => {
            parse_host(host)?;
            let meant = if looks_like_ports(parts[0]) && parts[0] != "0" { parts[0] } else { "22" };
            Err(format!("the target {} has no port, as in `{host}:{meant}`", quote(host)))
        }
        [ports, host] if looks_like_ports(ports) && !looks_like_ports(host) => {
            Err(format!("the target's host comes before its port: `{host}:{ports}`"))
        }
        [host, ports] => Ok(Some(Target::Tcp { host: parse_host(host)?, ports: parse_ports(ports, false)? })),
        _ => Err("there are too many parts; a mapping is PUBLIC:HOST:PORT, an IPv6 address in brackets"
            .to_string()),
    }
}

/// The ports that `text` is, on the public side or the other.
fn parse_ports(text: &str, public: bool) -> Result<Ports, String> {
    if public && text == "0" {
        return Ok(Ports::from(0));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| match text.bytes().all(|b| b == b'0') && !text.is_empty() {
        true if public => Err("0 (any free port) cannot be part of a range".to_string()),
        true => Err("only the public port may be 0".to_string()),
        false => parse_port(text),
    };
    Ports::new(port(first)?, port(last)?).ok_or_else(|| format!("the range {} runs backwards", quote(text)))
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
