//! Runs a server, a client or the demo: puts settings, state and roles together, and starts the loop.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::budget::{End, Means, Plan, plan, sessions};
use crate::client::{self, Client};
use crate::demo::{Fetch, Page};
use crate::directory::{Directory, Entry};
use crate::driver::{Budget, Driver};
use crate::entropy::Entropy;
use crate::identity::Identity;
use crate::license::{License, Transport};
use crate::limits::{MAPPINGS_MAX, POOL_MAX};
use crate::mapping::{self, Mapping};
use crate::net::Net;
use crate::note::{Level, Note};
use crate::os::{self, LicenseFile, Os};
use crate::policy::Allow;
use crate::role::Role;
use crate::server::{self, Server};
use crate::state::StateDir;
use crate::tls::{Security, Trust};

/// What `nt -s` was told, by its command line and `nt.toml`.
#[derive(Debug)]
pub struct Serve<'a> {
    /// Where clients are served over TLS.
    pub listen: SocketAddr,
    /// Where clients are served plainly, if anywhere.
    pub plain: Option<SocketAddr>,
    /// The state directory, if not the usual one.
    pub state: Option<&'a Path>,
    /// Certificate and key, if not the server's own.
    pub cert: Option<(&'a Path, &'a Path)>,
    /// What clients call this server, for the line to paste.
    pub public_host: Option<&'a str>,
    /// Visitors at once, at most.
    pub visitors: Option<usize>,
    /// Bytes of buffers, at most.
    pub buffer_bytes: Option<usize>,
}

/// What `nt -c` was told.
#[derive(Debug)]
pub struct Connect<'a> {
    /// The license.
    pub license: &'a License,
    /// Servers, tried in turn.
    pub servers: Vec<(String, u16)>,
    /// Over TLS, or plainly.
    pub transport: Transport,
    /// Texts of mappings.
    pub maps: &'a [String],
    /// Targets that the server may ask for.
    pub allow: Allow,
    /// `webpki`, or a file of certificates, to check the server's by.
    pub ca: Option<&'a str>,
    /// Bytes of buffers, at most.
    pub buffer_bytes: Option<usize>,
}

/// Runs a server until it is asked to stop; its exit code.
///
/// # Errors
/// A sentence for the person who started it.
pub fn serve(settings: &Serve<'_>) -> Result<i32, String> {
    let plan = means(End::Server, settings.visitors, settings.buffer_bytes)?;
    let state = StateDir::open(settings.state)?;
    let Identity { chain, key, .. } = state.identity(settings.cert)?;
    let security = Security::default().with_server(chain, key)?;
    let first = first_license(&state)?;
    let (directory, mut file) = state.open_licenses()?;
    let mut os = start_os(Some(Box::new(move || file.changed())))?;
    for warning in state.warnings() {
        tell(&mut os, Level::Warn, warning);
    }
    tell(&mut os, Level::Info, plan.to_string());
    if let Some(license) = first {
        tell(&mut os, Level::Info, welcome(&license, settings, state.path()));
    }
    let tls = (settings.listen, Transport::Tls);
    let doors =
        std::iter::once(tls).chain(settings.plain.map(|address| (address, Transport::Plain))).collect();
    let (visitors_max, sessions_max) = (plan.visitors, sessions(plan.visitors));
    let config = server::Config { doors, directory, visitors_max, sessions_max };
    let role: Box<dyn Role> = Box::new(Server::new(config, Entropy::from_os()));
    Ok(Driver::new(os, vec![role], security, plan.budget).run())
}

/// The first start of a server makes a license `default`, so that one line on the other machine is enough.
fn first_license(state: &StateDir) -> Result<Option<License>, String> {
    if !state.load_licenses()?.is_empty() {
        return Ok(None);
    }
    let license = random_license();
    Ok(state.add_default(&license)?.then_some(license))
}

/// What the very first start tells; the only time that a license is printed by a server.
fn welcome(license: &License, settings: &Serve<'_>, state: &Path) -> String {
    let host = settings.public_host.map_or_else(own_address, str::to_owned);
    let port = match settings.listen.port() {
        9002 => String::new(),
        port => format!(":{port}"),
    };
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    format!(
        "first start: made a key and a license `default`, in {}\n\n  \
         On the machine behind NAT, to publish its port 22 as port 2222 here, paste\n\n    \
         nt -c {}@{host}{port} 2222:22\n\n  \
         Put this server's public name or address for {host} if that is another, and open TCP port {} and the public ports \
         in its firewall.\n  This license is not shown again: `nt license rotate default` makes a new one.\n",
        state.display(),
        license.text(),
        settings.listen.port(),
    )
}

/// The address that this machine uses towards others: the kernel's choice of a route; nothing is sent.
fn own_address() -> String {
    let route = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    route().map_or_else(|| "SERVER".to_owned(), |ip: IpAddr| ip.to_string())
}

/// Runs a client until it is asked to stop; its exit code.
///
/// # Errors
/// A sentence for the person who started it.
pub fn connect(settings: Connect<'_>) -> Result<i32, String> {
    let plan = means(End::Client, None, settings.buffer_bytes)?;
    let mappings = mappings(settings.maps)?;
    let security = match settings.transport {
        Transport::Tls => {
            let names = settings.servers.iter().map(|(host, _)| host.as_str());
            Security::default().with_client(&settings.servers[0].0, trust(settings.ca, names)?)?
        }
        Transport::Plain => Security::default(),
    };
    let mut os = start_os(None)?;
    tell(&mut os, Level::Info, plan.to_string());
    if settings.transport == Transport::Plain {
        let text = "the tunnel is NOT encrypted (--plain): whoever is on the way can read and change what visitors send";
        tell(&mut os, Level::Warn, text.to_owned());
    }
    let config = client::Config {
        servers: settings.servers,
        transport: settings.transport,
        license: settings.license.id(),
        keys: settings.license.client_keys(),
        mappings,
        allow: settings.allow,
        proxies_max: plan.visitors + POOL_MAX,
    };
    let role: Box<dyn Role> = Box::new(Client::new(config, Entropy::from_os()));
    Ok(Driver::new(os, vec![role], security, plan.budget).run())
}

fn mappings(texts: &[String]) -> Result<Vec<Mapping>, String> {
    let mut mappings = Vec::new();
    for text in texts {
        for mapping in mapping::parse(text).map_err(|error| error.to_string())? {
            mapping.served()?;
            mappings.push(mapping);
        }
    }
    if mappings.len() > MAPPINGS_MAX {
        return Err(format!(
            "{} mappings are more than the {MAPPINGS_MAX} that one client may have; run a second client with its own license",
            mappings.len()
        ));
    }
    Ok(mappings)
}

/// Whom `--ca` trusts.
fn trust<'a>(ca: Option<&str>, hosts: impl Iterator<Item = &'a str>) -> Result<Trust, String> {
    let Some(ca) = ca else { return Ok(Trust::License) };
    let mut roots = RootCertStore::empty();
    if ca == "webpki" {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    } else {
        let certificates = CertificateDer::pem_file_iter(ca).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certificates = certificates
            .map_err(|error| format!("--ca {ca}: {error}; it must be a PEM file, or `webpki`"))?;
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(format!("--ca {ca}: no certificate in it can be used"));
        }
    }
    let name = |host: &str| {
        ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|_| {
            format!(
                "{host} is no name that a certificate could have; with --ca, name the server by its DNS name"
            )
        })
    };
    Ok(Trust::Roots(roots, hosts.map(name).collect::<Result<_, _>>()?))
}

/// Runs a server, a client and a web page in one loop, and fetches the page through the tunnel; the exit
/// code.
///
/// # Errors
/// A sentence for the person who started it.
pub fn demo(once: bool) -> Result<i32, String> {
    let license = random_license();
    let mut directory = Directory::default();
    directory.add(Entry::new("demo", &license)?)?;
    let Identity { chain, key, .. } = Identity::fresh()?;
    let security = Security::default().with_server(chain, key)?.with_client("nt.invalid", Trust::License)?;
    let (page, door) = (free_port(None)?, free_port(None)?);
    let public = free_port(Some(8080))?;
    let mapping = format!("{}:{}:{}", public.ip(), public.port(), page.port());
    let server =
        server::Config { doors: vec![(door, Transport::Tls)], directory, visitors_max: 64, sessions_max: 1 };
    let client = client::Config {
        servers: vec![(door.ip().to_string(), door.port())],
        transport: Transport::Tls,
        license: license.id(),
        keys: license.client_keys(),
        mappings: mappings(&[mapping])?,
        allow: Allow::default(),
        proxies_max: 64 + POOL_MAX,
    };
    let roles: Vec<Box<dyn Role>> = vec![
        Box::new(Page::new(page)),
        Box::new(Server::new(server, Entropy::from_os())),
        Box::new(Client::new(client, Entropy::from_os())),
        Box::new(Fetch::new(public, once)),
    ];
    // Both ends of each visit are in this process.
    let budget = Budget { raws: 2 * 64, locals: 64, tunnels: 4 * (64 + POOL_MAX) };
    Ok(Driver::new(start_os(None)?, roles, security, budget).run())
}

/// A port of loopback that is free now: this one, if it is.
fn free_port(wish: Option<u16>) -> Result<SocketAddr, String> {
    let bind =
        |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    wish.and_then(|port| bind(port).ok())
        .map_or_else(|| bind(0), Ok)
        .map_err(|error| format!("no port of 127.0.0.1 can be had: {error}"))
}

/// A new license, from the operating system's randomness.
pub fn random_license() -> License {
    let mut bytes = [0; 28];
    Entropy::from_os().fill(&mut bytes);
    License::from_random(bytes)
}

fn means(end: End, visitors: Option<usize>, buffer_bytes: Option<usize>) -> Result<Plan, String> {
    let (files, memory_bytes) = (os::raise_open_files(), os::memory_bytes());
    plan(end, Means { files, memory_bytes, visitors, buffer_bytes })
}

/// How much is logged: `NT_LOG`, or everything but single visits.
fn level() -> Result<Level, String> {
    match std::env::var("NT_LOG").as_deref() {
        Err(_) | Ok("" | "info") => Ok(Level::Info),
        Ok("error") => Ok(Level::Error),
        Ok("warn") => Ok(Level::Warn),
        Ok("debug") => Ok(Level::Debug),
        Ok(_) => Err("NT_LOG is none of error, warn, info, debug".to_owned()),
    }
}

fn start_os(licenses: Option<LicenseFile>) -> Result<Os, String> {
    Os::new(level()?, licenses)
        .map_err(|error| format!("the operating system gives no poller or signals: {error}"))
}

fn tell(os: &mut Os, level: Level, text: String) {
    let now = os.now();
    os.note(now, &Note::Plain(level, text));
}
