//! `nt.toml`: the settings of a server or of a client, which nt reads and never writes.
//!
//! ```text
//! # nt -s --config nt.toml              # nt -c --config nt.toml
//! listen = "[::]:9002"                  server = "@/etc/nt/license"   # or LICENSE@HOST itself
//! plain = "127.0.0.1:9000"              map = ["2222:22", "8080"]
//! http = "[::]:80"                      plain = false
//! https = "[::]:443"                    allow = "loopback"
//! admin = "127.0.0.1:9001"              ca = "webpki"                 # or a file in PEM
//! state = "/var/lib/nt"
//! certs = "/etc/nt/certs"               # of public names, for /https
//! cert = "/etc/nt/cert.pem"
//! key = "/etc/nt/key.pem"
//! public_host = "vps.example.com"       # in the line to paste on the client
//! [limits]                              [limits]
//! visitors = 1000                       visitors = 50
//! memory = "64M"                        memory = "4M"                 # 4000000 bytes
//! ```
//!
//! The names are those of the flags, and a flag on the command line counts more. A path that does not begin
//! with `/` begins where nt was started.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::mapping::{self, Visiting};
use crate::names::{self, Use};
use crate::note::Format;
use crate::policy::{Allow, parse_port};
use crate::server_ref::{ServerWord, TLS_PORT};
use crate::table::{Document, Fields, FileError};
use crate::text::{parse_bytes, quote};
use crate::via::Via;

const SERVER: [&str; 12] = [
    "listen",
    "plain",
    "http",
    "https",
    "certs",
    "admin",
    "state",
    "cert",
    "key",
    "public_host",
    "log",
    "limits",
];
const LIMITS: [&str; 2] = ["visitors", "memory"];
const CLIENT: [&str; 9] = ["server", "map", "visit", "plain", "via", "allow", "ca", "log", "limits"];

/// A server's settings; `None` is what was not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerConfig {
    /// The tunnel port under TLS.
    pub listen: Option<SocketAddr>,
    /// The unencrypted tunnel port.
    pub plain: Option<SocketAddr>,
    /// The common port of public names over HTTP.
    pub http: Option<SocketAddr>,
    /// The common port of public names over TLS.
    pub https: Option<SocketAddr>,
    /// The folder of the certificates of public names.
    pub certs: Option<PathBuf>,
    /// Where to ask how it goes.
    pub admin: Option<SocketAddr>,
    /// The state directory.
    pub state: Option<PathBuf>,
    /// The certificate in PEM, and its `key`, instead of those that nt makes.
    pub cert: Option<PathBuf>,
    /// The private key of `cert` in PEM.
    pub key: Option<PathBuf>,
    /// What clients call this server, for the line to paste: a name or an address.
    pub public_host: Option<String>,
    /// How the log is written.
    pub log: Option<Format>,
    /// Most visitors at once, of all licenses.
    pub visitors: Option<u32>,
    /// Most memory for what is in transit, in bytes.
    pub memory: Option<u64>,
}

impl ServerConfig {
    /// These settings where they say something, `below` elsewhere.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            listen: self.listen.or(below.listen),
            plain: self.plain.or(below.plain),
            http: self.http.or(below.http),
            https: self.https.or(below.https),
            certs: self.certs.or(below.certs),
            admin: self.admin.or(below.admin),
            state: self.state.or(below.state),
            cert: self.cert.or(below.cert),
            key: self.key.or(below.key),
            public_host: self.public_host.or(below.public_host),
            log: self.log.or(below.log),
            visitors: self.visitors.or(below.visitors),
            memory: self.memory.or(below.memory),
        }
    }

    /// Whether visitors are told apart by name.
    pub fn serves_names(&self) -> bool {
        self.http.is_some() || self.https.is_some()
    }

    /// Where a server listens for clients.
    pub fn tunnel(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| (Ipv6Addr::UNSPECIFIED, TLS_PORT).into())
    }

    /// Each address at which a server listens by itself, beside those of mappings.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses = vec![self.tunnel()];
        for address in [self.plain, self.http, self.https, self.admin].into_iter().flatten() {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    /// The first setting that is another one than in `first`, and counts only when a server is started.
    pub fn counts_at_start(&self, first: &Self) -> Option<&'static str> {
        // Memory for visitors by name is set aside at the start, or not at all.
        let new = self.serves_names() && !first.serves_names();
        let changed = [
            ("state", self.state != first.state),
            ("log", self.log != first.log),
            ("limits", (self.visitors, self.memory) != (first.visitors, first.memory)),
            ("http", new && self.http.is_some()),
            ("https", new),
        ];
        changed.into_iter().find(|(_, changed)| *changed).map(|(setting, _)| setting)
    }

    /// Whether this version does what is asked.
    ///
    /// # Errors
    /// A sentence that names what it does not do yet.
    pub fn served(&self) -> Result<(), String> {
        if self.admin.is_some_and(|address| !address.ip().to_canonical().is_loopback()) {
            return Err("`admin` has to be an address of loopback, as in 127.0.0.1:9001: it is not encrypted; reach it \
                        through a tunnel"
                .to_owned());
        }
        Ok(())
    }
}

/// By which roots a client checks the server's certificate, beyond what the license proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ca {
    /// Those of the browsers, by `webpki-roots`.
    Webpki,
    /// Those in this file, in PEM.
    File(PathBuf),
}

impl Ca {
    /// Reads `webpki` or a path.
    ///
    /// # Errors
    /// When there is nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("the certificate authority is `webpki` or a file".to_string()),
            "webpki" => Ok(Self::Webpki),
            path => Ok(Self::File(PathBuf::from(path))),
        }
    }
}

/// A client's settings; `None` is what was not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientConfig {
    /// The server and license, or where they are written.
    pub server: Option<ServerWord>,
    /// The mappings, each one checked.
    pub map: Vec<MapText>,
    /// Whether to go to the unencrypted port.
    pub plain: Option<bool>,
    /// The proxy that the server is reached through.
    pub via: Option<Via>,
    /// Which targets the server may choose.
    pub allow: Option<Allow>,
    /// Private mappings of other clients that are visited.
    pub visit: Vec<Visiting>,
    /// By which roots to check the server's certificate.
    pub ca: Option<Ca>,
    /// How the log is written.
    pub log: Option<Format>,
    /// Most visitors at once.
    pub visitors: Option<u32>,
    /// Most memory for what is in transit, in bytes.
    pub memory: Option<u64>,
}

/// A mapping's text. `Debug` leaves its options out, among which may be a password.
#[derive(Clone, PartialEq, Eq)]
pub struct MapText(pub String);

impl std::fmt::Debug for MapText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&quote(self.0.split(',').next().unwrap_or_default()))
    }
}

/// Reads a server's `nt.toml`.
///
/// # Errors
/// The line, what is wrong there and what was probably meant.
pub fn parse_server(text: &str) -> Result<ServerConfig, FileError> {
    let document = Document::parse(text)?;
    if is_client(&document) {
        return Err(about_all("these are the settings of a client: start it with nt -c"));
    }
    let fields = document.fields(&SERVER)?;
    let address = |key: &str| match fields.string(key)? {
        Some(found) => found.read(parse_listen).map(Some),
        None => Ok(None),
    };
    let path = |key: &str| match fields.string(key)? {
        Some(found) => found.read(|text| parse_path(key, text)).map(Some),
        None => Ok(None),
    };
    let mut config = ServerConfig {
        listen: address("listen")?,
        plain: address("plain")?,
        http: address("http")?,
        https: address("https")?,
        certs: path("certs")?,
        admin: address("admin")?,
        state: path("state")?,
        cert: path("cert")?,
        key: path("key")?,
        ..ServerConfig::default()
    };
    if config.cert.is_some() != config.key.is_some() {
        return Err(about_all("`cert` and `key` go together: name both, or none"));
    }
    if let Some(host) = fields.string("public_host")? {
        config.public_host = Some(host.read(parse_public_host)?);
    }
    config.log = read_log(&fields)?;
    (config.visitors, config.memory) = read_limits(&fields)?;
    Ok(config)
}

/// Reads a client's `nt.toml`.
///
/// # Errors
/// The line, what is wrong there and what was probably meant. No license is repeated in it.
pub fn parse_client(text: &str) -> Result<ClientConfig, FileError> {
    let document = Document::parse(text)?;
    if is_server(&document) {
        return Err(about_all("these are the settings of a server: start it with nt -s"));
    }
    let fields = document.fields(&CLIENT)?;
    let mut config = ClientConfig { plain: fields.bool("plain")?, ..ClientConfig::default() };
    if let Some(server) = fields.string("server")? {
        config.server = Some(server.read(ServerWord::parse)?);
    }
    if let Some(via) = fields.string("via")? {
        config.via = Some(via.read(Via::parse)?);
    }
    for visit in fields.strings("visit")? {
        config.visit.push(visit.read(Visiting::parse)?);
    }
    if let Some(allow) = fields.string("allow")? {
        config.allow = Some(allow.read(Allow::parse)?);
    }
    if let Some(ca) = fields.string("ca")? {
        config.ca = Some(ca.read(Ca::parse)?);
    }
    config.log = read_log(&fields)?;
    (config.visitors, config.memory) = read_limits(&fields)?;
    for map in fields.strings("map")? {
        config.map.push(map.read(|text| {
            mapping::parse(text).map_err(|error| error.to_string())?;
            Ok(MapText(text.to_string()))
        })?);
    }
    Ok(config)
}

/// The settings of whichever role they are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// A server's.
    Server(ServerConfig),
    /// A client's.
    Client(ClientConfig),
}

/// Reads an `nt.toml` of either role, told apart by the settings that only one has.
///
/// # Errors
/// As [`parse_server`] and [`parse_client`].
pub fn parse_either(text: &str) -> Result<Config, FileError> {
    if is_client(&Document::parse(text)?) {
        parse_client(text).map(Config::Client)
    } else {
        parse_server(text).map(Config::Server)
    }
}

/// Reads where to listen: `ADDR:PORT`, or `:PORT` or `PORT` for all addresses.
///
/// # Errors
/// A sentence that quotes the text.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let digits = text.strip_prefix(':').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, parse_port(digits)?)));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    Err(format!("{} is not ADDRESS:PORT, as in `[::]:9002` or `127.0.0.1:9002`", quote(text)))
}

/// The line of a setting outside of any table, or of a table's head, where the text has it.
pub fn line_of(text: &str, setting: &str) -> Option<usize> {
    Document::parse(text).ok()?.line_of(setting)
}

fn read_log(fields: &Fields<'_>) -> Result<Option<Format>, FileError> {
    match fields.string("log")? {
        Some(log) => log.read(Format::parse).map(Some),
        None => Ok(None),
    }
}

/// Most visitors, and most memory.
fn read_limits(fields: &Fields<'_>) -> Result<(Option<u32>, Option<u64>), FileError> {
    let Some(limits) = fields.table("limits", &LIMITS)? else { return Ok((None, None)) };
    let bytes = |text: &str| parse_bytes(text).map_err(|what| format!("{} {what}", quote(text)));
    let memory = limits.string("memory")?.map(|memory| memory.read(bytes)).transpose()?;
    Ok((limits.number("visitors")?, memory))
}

fn parse_path(key: &str, text: &str) -> Result<PathBuf, String> {
    match text.is_empty() || text.contains('\0') {
        true => Err(format!("`{key}` is not a path")),
        false => Ok(PathBuf::from(text)),
    }
}

/// A name or an address, as it is put behind the `@`: IPv6 in brackets.
fn parse_public_host(text: &str) -> Result<String, String> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        let shown = address.to_canonical();
        return Ok(if shown.is_ipv6() { format!("[{shown}]") } else { shown.to_string() });
    }
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) if inner.parse::<Ipv6Addr>().is_ok() => parse_public_host(inner),
        _ => names::host_name(text, Use::Dial),
    }
}

/// Whether a setting is there that only a client has.
fn is_client(document: &Document<'_>) -> bool {
    CLIENT.iter().any(|key| !SERVER.contains(key) && document.has(key))
}

fn is_server(document: &Document<'_>) -> bool {
    !is_client(document) && SERVER.iter().any(|key| !CLIENT.contains(key) && document.has(key))
}

/// An error about the file as a whole.
fn about_all(what: &str) -> FileError {
    FileError { line: 1, what: what.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER_TOML: &str = r#"
listen = "[::]:9002"
plain = "127.0.0.1:9000"
http = ":80"
https = "443"
admin = "127.0.0.1:9001"
state = "/var/lib/nt"
cert = "/etc/nt/cert.pem"
key = "key.pem"
public_host = "VPS.example.com"
[limits]
visitors = 1000
memory = "64M"
"#;

    const CLIENT_TOML: &str = r#"
server = "nt1aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwqxykjaq@vps.example.com"
map = ["2222:22", "8080", "a.example:80,auth=me:hunter2"]
plain = true
via = "socks5://proxy.lan:1080"
allow = "lan,10.0.0.1:80"
ca = "webpki"
"#;

    #[test]
    fn a_server_is_read() {
        let config = parse_server(SERVER_TOML).expect("good");
        assert_eq!(config.listen, Some("[::]:9002".parse().expect("an address")));
        assert_eq!(config.http, Some("[::]:80".parse().expect("an address")));
        assert_eq!(config.https, Some("[::]:443".parse().expect("an address")));
        assert_eq!(config.key, Some(PathBuf::from("key.pem")));
        assert_eq!(config.public_host.as_deref(), Some("vps.example.com"));
        assert_eq!((config.visitors, config.memory), (Some(1000), Some(64_000_000)));
        assert_eq!(parse_server(""), Ok(ServerConfig::default()));
        assert_eq!(parse_either(SERVER_TOML), Ok(Config::Server(config)));
    }

    #[test]
    fn a_client_is_read() {
        let config = parse_client(CLIENT_TOML).expect("good");
        let Some(ServerWord::Here(server)) = &config.server else { panic!("{config:?}") };
        assert_eq!(server.hosts_text(), "vps.example.com");
        assert_eq!((config.map.len(), config.plain), (3, Some(true)));
        assert_eq!(config.allow.as_ref().map(ToString::to_string).as_deref(), Some("lan,10.0.0.1:80"));
        assert_eq!(config.via.as_ref().map(ToString::to_string).as_deref(), Some("socks5://proxy.lan:1080"));
        assert_eq!(config.ca, Some(Ca::Webpki));
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("aaaqeay"), "{shown}");
        assert_eq!(parse_either(CLIENT_TOML), Ok(Config::Client(config)));
        let at = parse_client("server = \"@/etc/nt/license\"").expect("good");
        assert_eq!(at.server, Some(ServerWord::File("/etc/nt/license".to_string())));
        assert_eq!(parse_client("ca = \"/x.pem\"").expect("good").ca, Some(Ca::File("/x.pem".into())));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, what) in [
            ("\nlisten = 9002", "line 2: `listen` has to be a string in quotes"),
            ("lisen = \"x\"", "line 1: there is no setting `lisen` here; did you mean `listen`?"),
            (
                "listen = \"vps:1\"",
                "line 1: `vps:1` is not ADDRESS:PORT, as in `[::]:9002` or `127.0.0.1:9002`",
            ),
            ("listen = \"0\"", "line 1: port `0` is not in 1..65535"),
            ("cert = \"x\"", "line 1: `cert` and `key` go together: name both, or none"),
            ("state = \"\"", "line 1: `state` is not a path"),
            (
                "public_host = \"a b\"",
                "line 1: name `a b` contains ' ': a name has letters, digits and hyphens",
            ),
            (
                "[limits]\nvisitor = 1",
                "line 2: there is no setting `visitor` here; did you mean \
                `visitors`?",
            ),
            ("[limits]\nmemory = 64", "line 2: `memory` has to be a string in quotes"),
            (
                "[limits]\nmemory = \"64MB\"",
                "line 2: `64MB` is not a number of bytes such as 500K, 2M or 1G (K is 1000)",
            ),
            ("limits = 1", "line 1: `limits` has to be a table, as in [limits]"),
            ("map = []", "line 1: these are the settings of a client: start it with nt -c"),
        ] {
            assert_eq!(parse_server(text).expect_err(text).to_string(), what);
        }
        for (text, what) in [
            ("serve = \"x\"", "line 1: there is no setting `serve` here; did you mean `server`?"),
            (
                "server = \"vps\"",
                "line 1: a server is written LICENSE@HOST, with a license that begins with `nt1`",
            ),
            (
                "map = [\n\"8080\",\n\"x\"]",
                "line 3: in `x`: name `x` has no dot: a public name looks like `blog.example.com`",
            ),
            ("map = \"8080\"", "line 1: `map` has to be strings in brackets, as in [\"8080\"]"),
            ("plain = \"yes\"", "line 1: `plain` has to be true or false"),
            (
                "allow = \"none\"",
                "line 1: `none` is not loopback, lan, any, a network (10.0.0.0/8), one with a port \
                 (192.168.1.5:22), unix:/path or files:/path (names do not count here)",
            ),
            ("visit = [\"nas/ssh\"]", "line 1: `nas/ssh` is not OWNER/NAME:PORT, as in `nas/ssh:2222`"),
            ("visit = [\"nas/ssh:x\"]", "line 1: port `x` is not in 1..65535"),
            ("ca = \"\"", "line 1: the certificate authority is `webpki` or a file"),
            ("listen = \"x\"", "line 1: these are the settings of a server: start it with nt -s"),
        ] {
            assert_eq!(parse_client(text).expect_err(text).to_string(), what);
        }
        let wrong = CLIENT_TOML.replace("nt1aaaq", "nt1aaab");
        let error = parse_client(&wrong).expect_err("a mistyped license").to_string();
        assert_eq!(error, "line 2: a letter of the license was mistyped: its checksum does not match");
    }

    #[test]
    fn flags_count_more() {
        let file = parse_server(SERVER_TOML).expect("good");
        // Every value another one.
        let text = SERVER_TOML.replace('0', "1").replace('4', "5").replace("pem", "crt");
        let flags = parse_server(&text.replace("/lib", "/run").replace("VPS", "vps2")).expect("good");
        assert_eq!(flags.clone().over(file.clone()), flags);
        assert_eq!(file.clone().over(flags), file);
        assert_eq!(ServerConfig::default().over(file.clone()), file);
        assert_eq!(file.served(), Ok(()));
        let everywhere = ServerConfig { admin: "[::]:9001".parse().ok(), ..file };
        assert!(
            everywhere
                .served()
                .is_err_and(|what| what.starts_with("`admin` has to be an address of loopback"))
        );
    }
}
