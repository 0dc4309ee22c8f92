//! Mappings, PUBLIC to TARGET, and the one grammar of their text: command line, files and API.
//!
//! ```text
//! mapping  = route [ "/" kind ] { "," option } ;
//! route    = ports                                  (* 8080, 6000-6010: same port of 127.0.0.1 *)
//!          | [ address ":" ] ports ":" target       (* 2222:22, 127.0.0.1:8081:80, 0:22 *)
//!          | name [ path ] ":" target               (* blog.example.com:3000, example.com/api:4000 *)
//!          | label ":" target ;                     (* ssh:22/private *)
//! target   = [ host ":" ] ports | "unix:" path      (* 22, nas.lan:22, [fd00::5]:22 *)
//!          | "socks5" | "http-proxy"                (* the client's own network, held to its --allow *)
//!          | "files:" path ;                        (* a folder of the client's, read-only *)
//! ports    = port [ "-" port ] ;                    (* ascending; both sides of one length *)
//! address  = IPv4 | "[" IPv6 "]" ;
//! host     = address | label { "." label } ;
//! name     = [ "*." ] label "." label { "." label } ;
//! kind     = "tcp" | "udp" | "http" | "https" | "tls" | "private" ;
//! option   = "proxy=" ( "v1" | "v2" )               (* PROXY protocol towards the target *)
//!          | "allow=" cidrs                         (* visitors from elsewhere are refused *)
//!          | "rate=" bytes [ "/" bytes ]            (* a second: 2M each way, 10M/2M to the client and from it *)
//!          | "host=" name                           (* Host that the target sees *)
//!          | "auth=" user ":" password
//!          | "header=" name ":" value               (* may come again *)
//!          | "accept-proxy=" cidrs                  (* PROXY protocol from these visitors *)
//!          | "check=" ( "tcp" | "http:" path ) ;
//! cidrs    = cidr { "+" cidr } ;
//! ```
//!
//! A port is 1 to 65535, or, as the whole public side, 0: any free port that the license allows. A
//! range is one mapping of as many ports, each to its own. Without a kind, a port is tcp and a name is http. What
//! people know from `ssh -L` and `docker -p` decides the rest: first the public side, and when three
//! parts begin with an address, it is the public one. `127.0.0.1:80` could be either side and is
//! refused. The path of a Unix socket or folder has no comma or space; when it ends in `/` and a kind, that is the
//! kind, so `/run/tcp` is written `unix:/run/tcp/tcp`. Names are letters, digits and hyphens; other
//! alphabets are not converted (write the `xn--` form).

mod indexed;
mod options;
mod parse;
mod ports;
mod visiting;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::features;
use crate::limits::MAPPING_BYTES_MAX;
pub use indexed::Indexed;
pub use options::{Auth, Check, Header, Options};
pub use parse::{MAPPING_PORTS_MAX, MappingError, parse};
pub use ports::Ports;
pub use visiting::Visiting;

/// What is carried, and who looks into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A stream of bytes that nobody looks into.
    Tcp,
    /// Datagrams.
    Udp,
    /// HTTP, told apart by its Host.
    Http,
    /// HTTP over TLS, which ends on the server.
    Https,
    /// TLS, told apart by its server name (RFC 6066 section 3) and passed through.
    Tls,
    /// A stream that nobody looks into, for other clients alone: it has a name, and no public place.
    Private,
}

impl Kind {
    /// Every kind, in the order in which errors list them.
    pub const ALL: [Self; 6] = [Self::Tcp, Self::Udp, Self::Http, Self::Https, Self::Tls, Self::Private];

    /// Whether the server understands HTTP of it.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    /// The word for it in a mapping's text.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Http => "http",
            Self::Https => "https",
            Self::Tls => "tls",
            Self::Private => "private",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Where visitors come, on the server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Public {
    /// A port of the server's, or a range of them.
    Ports {
        /// At this address only, otherwise at all of them.
        addr: Option<IpAddr>,
        /// The ports; 0 is any free one that the license allows.
        ports: Ports,
    },
    /// A name, at the server's common port for the kind; for other clients, where that is private.
    Name {
        /// In lower case, without the root's dot; `*.` before it stands for all below it. One label, where it is
        /// private.
        name: String,
        /// What the request's path begins with: `/` and more, without a `/` at its end.
        path: Option<String>,
    },
}

impl Public {
    /// The first address that is listened on, with the unspecified IPv6 one for every address; `None` for a name.
    pub fn address(&self) -> Option<SocketAddr> {
        match *self {
            Self::Ports { addr, ports } => {
                Some(SocketAddr::new(addr.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), ports.first()))
            }
            Self::Name { .. } => None,
        }
    }

    /// What of it `other` asks for, too; port 0 is another one each time.
    fn shared(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (&Self::Ports { addr, ports }, Self::Ports { addr: of_other, ports: others }) => {
                let shared = ports.shared(*others).filter(|_| addr == *of_other && !ports.is_any());
                shared.map(|ports| Self::Ports { addr, ports })
            }
            _ => (self == other).then(|| self.clone()),
        }
    }
}

impl fmt::Display for Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports { addr: None, ports } => write!(f, "{ports}"),
            Self::Ports { addr: Some(IpAddr::V4(v4)), ports } => write!(f, "{v4}:{ports}"),
            Self::Ports { addr: Some(IpAddr::V6(v6)), ports } => write!(f, "[{v6}]:{ports}"),
            Self::Name { name, path } => write!(f, "{name}{}", path.as_deref().unwrap_or("")),
        }
    }
}

/// A machine as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address; IPv4-mapped ones are IPv4 here.
    Ip(IpAddr),
    /// A name, in lower case and without the root's dot, that the client looks up.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(v4)) => write!(f, "{v4}"),
            Self::Ip(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The real server, as the client dials it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A port of a host: TCP, or UDP when the mapping's kind is; as many as the public side has.
    Tcp {
        /// The host.
        host: Host,
        /// Its ports, never 0.
        ports: Ports,
    },
    /// A Unix stream socket, by its absolute path.
    Unix(String),
    /// Whatever each visitor asks for, if `--allow` covers it: the client itself is the proxy.
    Exit(Exit),
    /// A folder, by its absolute path, that the client serves read-only.
    Files(String),
}

/// How visitors tell the client where they want to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// SOCKS5 (RFC 1928).
    Socks5,
    /// As a proxy for HTTP: CONNECT, or requests for a whole URI (RFC 9110 section 9.3.6, RFC 9112 section 3.2.2).
    HttpProxy,
}

impl Exit {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Socks5, Self::HttpProxy];

    /// The word for it in a mapping's text.
    pub fn word(self) -> &'static str {
        match self {
            Self::Socks5 => "socks5",
            Self::HttpProxy => "http-proxy",
        }
    }
}

impl Target {
    /// `count` of its ports, from the one at `offset` on; the whole of it where it has none.
    pub fn part(&self, offset: u16, count: u16) -> Self {
        match self {
            Self::Tcp { host, ports } => Self::Tcp { host: host.clone(), ports: ports.part(offset, count) },
            Self::Unix(_) | Self::Exit(_) | Self::Files(_) => self.clone(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, ports } => write!(f, "{host}:{ports}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Exit(exit) => f.write_str(exit.word()),
            Self::Files(path) => write!(f, "files:{path}"),
        }
    }
}

/// One public place and the one real server behind it; or a range of ports, and as many behind it.
///
/// `Display` writes the text that [`parse()`] reads back as this mapping, **with any password in it**;
/// for a log or an error there is [`Mapping::route`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// What is carried.
    pub kind: Kind,
    /// Where visitors come.
    pub public: Public,
    /// Where they are taken.
    pub target: Target,
    /// What else is wanted.
    pub options: Options,
}

/// A mapping's text without its options; see [`Mapping::route`].
#[derive(Clone, Copy, Debug)]
pub struct Route<'a>(&'a Mapping);

impl Mapping {
    /// How many ports it has; 1 for a name. At most [`MAPPING_PORTS_MAX`].
    pub fn count(&self) -> u16 {
        match self.public {
            Public::Ports { ports, .. } => ports.count() as u16,
            Public::Name { .. } => 1,
        }
    }

    /// That which is left of it with `count` of its ports, from the one at `offset` on.
    pub fn part(&self, offset: u16, count: u16) -> Self {
        let public = match self.public {
            Public::Ports { addr, ports } => Public::Ports { addr, ports: ports.part(offset, count) },
            Public::Name { .. } => self.public.clone(),
        };
        Self {
            public,
            target: self.target.part(offset, count),
            kind: self.kind,
            options: self.options.clone(),
        }
    }

    /// The public place that both ask for, if there is one.
    pub fn collision(&self, other: &Self) -> Option<Public> {
        self.public.shared(&other.public).filter(|_| self.kind == other.kind)
    }

    /// The mapping's text without its options: nothing in it is secret.
    pub fn route(&self) -> Route<'_> {
        Route(self)
    }

    /// The text that a MAP frame carries. What the client itself asks visitors for is not the server's to know.
    pub fn to_wire(&self) -> String {
        match self.target {
            Target::Exit(_) | Target::Files(_) if !self.kind.is_http() => {
                let options = Options { auth: None, ..self.options.clone() };
                Self { options, ..self.clone() }.to_string()
            }
            _ => self.to_string(),
        }
    }

    /// The same at this port, at whatever address it was to be.
    pub fn at_port(&self, port: u16) -> Self {
        let mut mapping = self.clone();
        if let Public::Ports { ports, .. } = &mut mapping.public {
            *ports = Ports::row(port, 1);
        }
        mapping
    }

    /// The mapping that a MAP frame carries; `None` where this version does not serve it, or its text is of a newer
    /// one.
    pub fn from_wire(text: &str) -> Option<Self> {
        parse(text).ok().filter(|mapping| mapping.served().is_ok())
    }

    /// Where visitors come, as a person is told: `public` is the address that this mapping has come to (the first,
    /// where it has several), and `server` what the server is called where that is every address of it.
    pub fn shown_at(&self, public: SocketAddr, server: Option<&str>) -> String {
        let place = match (&self.public, server) {
            (Public::Name { name, .. }, _) if self.kind == Kind::Private => name.clone(),
            (Public::Name { name, path }, _) => {
                let (scheme, common) = if self.kind == Kind::Http { ("http", 80) } else { ("https", 443) };
                let port = public.port();
                let port = if port == common || port == 0 { String::new() } else { format!(":{port}") };
                format!("{scheme}://{name}{port}{}", path.as_deref().unwrap_or(""))
            }
            (Public::Ports { .. }, server) => {
                let ports = Ports::row(public.port(), self.count());
                match server.filter(|_| public.ip().to_canonical().is_unspecified()) {
                    Some(server) => format!("{server}:{ports}"),
                    None => Public::Ports { addr: Some(public.ip()), ports }.to_string(),
                }
            }
        };
        let plain = match &self.public {
            Public::Ports { .. } => self.kind == Kind::Tcp,
            Public::Name { .. } => !matches!(self.kind, Kind::Tls | Kind::Private),
        };
        if plain { place } else { format!("{place}/{}", self.kind) }
    }

    /// Whether this version serves such a mapping, and its options with it.
    ///
    /// # Errors
    /// A sentence that names the mapping, what about it is not served, and what to do instead.
    pub fn served(&self) -> Result<(), String> {
        let feature = match (&self.kind, &self.target) {
            (Kind::Udp, _) => Some("udp"),
            (_, Target::Files(_)) => Some("files"),
            (_, Target::Exit(Exit::HttpProxy)) => Some("http"),
            _ => None,
        };
        if let Some(feature) = feature {
            features::need(feature, &self.route().to_string())?;
        }
        if matches!(self.public, Public::Name { .. }) && !self.options.accept_proxy.is_empty() {
            return Err(format!(
                "{}: `accept-proxy` does not go with a name, which is known too late for it; leave it out",
                self.route()
            ));
        }
        // What was left out stands in the text that the other end is sent.
        if self.to_string().len() > MAPPING_BYTES_MAX {
            return Err(format!("{}: a mapping has at most {MAPPING_BYTES_MAX} characters", self.route()));
        }
        Ok(())
    }

    /// What whoever starts it should know, though it is served.
    pub fn warning(&self) -> Option<String> {
        let open = matches!(self.target, Target::Exit(_)) && self.options.auth.is_none();
        let text = "anybody who finds it may go wherever --allow leads; `,auth=USER:PASSWORD` behind it asks who comes";
        open.then(|| format!("{}: {text}", self.route()))
    }

    /// The kind of a text that names none.
    fn kind_by_default(public: &Public) -> Kind {
        match public {
            Public::Ports { .. } => Kind::Tcp,
            Public::Name { .. } => Kind::Http,
        }
    }
}

impl AsRef<Self> for Mapping {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.route(), self.options)
    }
}

impl fmt::Display for Route<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mapping { kind, public, target, .. } = self.0;
        write!(f, "{public}:")?;
        match target {
            Target::Tcp { host: Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)), ports } => write!(f, "{ports}")?,
            _ => write!(f, "{target}")?,
        }
        // A path may end in what would be read as the kind.
        let mistaken =
            matches!(target, Target::Unix(path) | Target::Files(path) if parse::split_kind(path).1.is_some());
        if *kind != Mapping::kind_by_default(public) || mistaken {
            write!(f, "/{kind}")?;
        }
        Ok(())
    }
}
