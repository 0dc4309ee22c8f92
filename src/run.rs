//! Runs a server, a client or the demo: puts settings, state and roles together, and starts the loop.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::budget::{End, Means, Plan, plan, sessions};
use crate::certificates::CertificateFolder;
use crate::cli::ClientPlan;
use crate::client::{self, Client};
use crate::clients;
use crate::commands::new_license;
use crate::config::{Ca, ServerConfig};
use crate::demo::{Fetch, Page};
use crate::directory::{Directory, Entry};
use crate::driver::{Budget, Driver};
use crate::edit::{Edit, Edited, NotEdited};
use crate::entropy::Entropy;
use crate::files::Folder;
use crate::http::Scheme;
use crate::identity::Identity;
use crate::license::{License, Transport};
use crate::limits::POOL_MAX;
use crate::mapping::{self, Mapping, Target};
use crate::names::bracketed;
use crate::net::Net;
use crate::note::{Format, Level, Note};
use crate::os::{self, Handed, LicenseFile, Os, SettingsFiles};
use crate::policy::Allow;
use crate::role::Role;
use crate::server::{self, AdminDoor, Server, Token};
use crate::server_ref::{PLAIN_PORT, ServerRef, TLS_PORT};
use crate::state::StateDir;
use crate::tls::{Security, Trust};

/// Runs a server until it is asked to stop; its exit code. `again` reads its settings once more.
///
/// # Errors
/// A sentence for the person who started it.
pub fn serve(settings: &ServerConfig, again: SettingsFiles) -> Result<i32, String> {
    let handed = Handed::take()?;
    let plan = means(
        End::Server { http: settings.http.is_some() || settings.https.is_some() },
        settings.visitors,
        settings.memory,
    )?;
    let listen = settings.tunnel();
    let listen = if handed.has(listen) { listen } else { free_address(listen)? };
    let state = StateDir::open(settings.state.as_deref())?;
    let cert = match (&settings.cert, &settings.key) {
        (Some(cert), Some(key)) => Some((cert.as_path(), key.as_path())),
        (None, None) => None,
        _ => return Err("`cert` and `key` belong together: name both, or neither".to_owned()),
    };
    let own = state.identity(cert)?;
    let mut security = Security::default().with_server(own.chain.clone(), own.key.clone_key())?;
    let mut certificates = CertificateFolder::new(settings.certs.clone(), own);
    if settings.https.is_some()
        && let Some(found) = certificates.changed()
    {
        security.serve_visitors(found?)?;
    }
    if let Some(license) = first_license(&state)? {
        // Not a matter of the log and its level: without this text the license is lost.
        let text = welcome(&license, settings, listen, state.path());
        let _ = writeln!(std::io::stderr(), "{text}");
    }
    let (directory, mut file) = state.open_licenses()?;
    let os = start_os(settings.log.unwrap_or_default(), Some(Box::new(move || file.changed())))?;
    let mut os = match settings.https {
        Some(_) => os.with_certificates(Box::new(move || certificates.changed())),
        None => os,
    };
    let (ledger, trouble) = state.load_counters();
    for warning in state.warnings().into_iter().chain(trouble) {
        tell(&mut os, Level::Warn, warning);
    }
    let admin = admin_doors(&state, settings.admin)?;
    let mut os = os.with_files(Box::new(StateFiles(state))).with_settings(again).with_handed(handed);
    tell(&mut os, Level::Info, plan.to_string());
    // Where names over TLS are served on the same port, clients are told apart by what they offer to speak.
    let tls = (settings.https != Some(listen)).then_some((listen, Transport::Tls));
    let doors = tls.into_iter().chain(settings.plain.map(|address| (address, Transport::Plain))).collect();
    let (visitors_max, sessions_max) = (plan.visitors, sessions(plan.visitors));
    let config = server::Config { doors, directory, visitors_max, sessions_max };
    let names = [(settings.http, Scheme::Http), (settings.https, Scheme::Https)];
    let names = names.into_iter().filter_map(|(address, scheme)| Some((address?, scheme))).collect();
    let server = Server::new(config, Entropy::from_os())
        .within(plan.ports)
        .with_names(names)
        .with_ledger(ledger)
        .with_admin(admin)
        .with_public_host(settings.public_host.clone());
    let role: Box<dyn Role> = Box::new(server);
    Ok(Driver::new(os, vec![role], security, plan.budget).run())
}

/// The state directory, for a server that runs.
struct StateFiles(StateDir);

impl os::Files for StateFiles {
    fn keep_counters(&mut self, text: &str) -> Result<(), String> {
        self.0.keep_counters(text)
    }

    fn edit(&mut self, edit: &Edit) -> Result<Box<Edited>, NotEdited> {
        self.0.edit(edit, &new_license(), os::day_clock().today()).map(Box::new)
    }

    fn put_back(&mut self, directory: &Directory) -> Result<(), String> {
        self.0.put_licenses(directory)
    }
}

/// Where the operator can ask: always on a socket in the state directory, and on a port where that is wanted.
fn admin_doors(state: &StateDir, port: Option<SocketAddr>) -> Result<Vec<AdminDoor>, String> {
    let mut doors = vec![AdminDoor::Unix(state.admin_socket().display().to_string())];
    if let Some(address) = port {
        doors.push(AdminDoor::Port(address, Token(state.admin_token()?)));
    }
    Ok(doors)
}

/// The address that clients will be served on, with its true port: whether it can be had is known before a
/// license is made.
fn free_address(wish: SocketAddr) -> Result<SocketAddr, String> {
    let bound = TcpListener::bind(wish).and_then(|listener| listener.local_addr());
    match bound {
        Ok(address) => Ok(address),
        // Without IPv6, every address is every IPv4 address; the loop will find that out as well.
        Err(_) if wish.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            free_address(SocketAddr::from((Ipv4Addr::UNSPECIFIED, wish.port())))
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(format!(
            "cannot serve clients on {wish}: the port is in use; stop the other program, or choose another port with \
             --listen"
        )),
        Err(error) => {
            Err(format!("cannot serve clients on {wish}: {error}; choose another address with --listen"))
        }
    }
}

/// The first start of a server makes a license `default`, so that one line on the other machine is enough.
fn first_license(state: &StateDir) -> Result<Option<License>, String> {
    if !state.load_licenses()?.is_empty() {
        return Ok(None);
    }
    let license = new_license();
    Ok(state.add_default(&license)?.then_some(license))
}

/// What the very first start tells; the only time that a license is printed by a server.
fn welcome(license: &License, settings: &ServerConfig, listen: SocketAddr, state: &Path) -> String {
    let guessed = settings.public_host.is_none() && listen.ip().to_canonical().is_unspecified();
    let host = match &settings.public_host {
        Some(host) => host.clone(),
        None if guessed => own_address().map_or_else(|| "SERVER".to_owned(), |ip| ip.to_string()),
        None => listen.ip().to_string(),
    };
    let host = bracketed(&host);
    let port = if listen.port() == TLS_PORT { String::new() } else { format!(":{}", listen.port()) };
    let name = if guessed {
        format!("Put this server's public name or address for {host} if that is another. ")
    } else {
        String::new()
    };
    let flag =
        settings.state.as_ref().map_or_else(String::new, |state| format!(" --state {}", state.display()));
    format!(
        "First start: there is a license `default` now, in {}.\n\n  \
         On the machine behind NAT, to publish its port 22 as port 2222 here, paste\n\n    \
         nt -c {}@{host}{port} 2222:22\n\n  \
         {name}Open TCP port {} and the public ports in its firewall.\n  \
         This license is not shown again; `nt license rotate default{flag}` makes a new one.\n",
        state.display(),
        license.text(),
        listen.port(),
    )
}

/// The address that this machine uses towards others: the kernel's choice of a route; nothing is sent.
pub fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// Runs a client until it is asked to stop; its exit code. `again` reads its settings once more.
///
/// # Errors
/// A sentence for the person who started it.
pub fn connect(settings: ClientPlan, again: SettingsFiles) -> Result<i32, String> {
    let ClientPlan { server, maps: mappings, visits, plain, via, allow, ca, log } = settings;
    let folders = mappings.iter().filter_map(|mapping| match &mapping.target {
        Target::Files(path) => Some(path),
        Target::Tcp { .. } | Target::Unix(_) | Target::Exit(_) => None,
    });
    let folders: Vec<&String> = folders.collect();
    let plan = means(End::Client { folders: !folders.is_empty() || allow.permits_folders() }, None, None)?;
    let (transport, servers, security) = ways(&server, plain, ca.as_ref())?;
    let mut os = start_os(log, None)?.with_settings(again);
    tell(&mut os, Level::Info, plan.to_string());
    if plain {
        let text = "the tunnel is NOT encrypted (--plain): whoever is on the way can read and change \
                    what visitors send";
        tell(&mut os, Level::Warn, text.to_owned());
    }
    for warning in mappings.iter().filter_map(Mapping::warning) {
        tell(&mut os, Level::Warn, warning);
    }
    for folder in folders {
        if let Err(error) = Folder::open(folder) {
            tell(&mut os, Level::Warn, format!("the folder {folder} cannot be served now: {error}"));
        }
    }
    let config = client::Config {
        servers,
        via,
        transport,
        license: server.license.id(),
        keys: server.license.client_keys(),
        mappings,
        visits,
        allow,
        proxies_max: plan.visitors + POOL_MAX,
        guest: false,
    };
    let status = clients::socket();
    let client = Client::new(config, Entropy::from_os());
    let client = client.with_status_at(status.as_ref().map(|path| path.display().to_string()));
    let code = Driver::new(os, vec![Box::new(client) as Box<dyn Role>], security, plan.budget).run();
    if let Some(path) = status {
        let _ = std::fs::remove_file(path);
    }
    Ok(code)
}

/// How a client goes to its servers: by which of their ports, and what TLS it speaks there.
///
/// # Errors
/// What is wrong with `--ca`.
pub fn ways(server: &ServerRef, plain: bool, ca: Option<&Ca>) -> Result<Ways, String> {
    let (transport, port) = if plain { (Transport::Plain, PLAIN_PORT) } else { (Transport::Tls, TLS_PORT) };
    let servers: Vec<(String, u16)> =
        server.addresses(port).map(|(host, port)| (host.to_owned(), port)).collect();
    let security = if plain {
        Security::default()
    } else {
        Security::default().with_client(&servers[0].0, trust(ca, &servers)?)?
    };
    Ok((transport, servers, security))
}

/// What [`ways`] finds: the kind of port, the hosts with theirs, and TLS.
pub type Ways = (Transport, Vec<(String, u16)>, Security);

/// A client that comes beside those of its license, with one mapping, until it is asked to stop. `ear` hears what it
/// has to say, `ready` gets what stops it.
///
/// # Errors
/// A sentence for the person who started it.
pub fn connect_beside(
    plan: &ClientPlan,
    mapping: Mapping,
    ear: os::Ear,
    ready: impl FnOnce(os::Stopper),
) -> Result<i32, String> {
    let means = means(End::Client { folders: false }, None, None)?;
    let (transport, servers, security) = ways(&plan.server, plan.plain, plan.ca.as_ref())?;
    let os = start_os(plan.log, None)?.with_ear(ear);
    ready(os.stopper());
    let config = client::Config {
        servers,
        via: plan.via.clone(),
        transport,
        license: plan.server.license.id(),
        keys: plan.server.license.client_keys(),
        mappings: vec![mapping],
        visits: Vec::new(),
        allow: Allow::default(),
        proxies_max: means.visitors + POOL_MAX,
        guest: true,
    };
    let role: Box<dyn Role> = Box::new(Client::new(config, Entropy::from_os()));
    Ok(Driver::new(os, vec![role], security, means.budget).run())
}

/// Whom `--ca` trusts.
fn trust(ca: Option<&Ca>, servers: &[(String, u16)]) -> Result<Trust, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => return Ok(Trust::License),
        Some(Ca::Webpki) => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(Ca::File(path)) => {
            let place = path.display();
            let certificates =
                CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let certificates = certificates.map_err(|error| {
                format!("--ca {place}: {error}; it must be a PEM file of certificates, or `webpki`")
            })?;
            if roots.add_parsable_certificates(certificates).0 == 0 {
                return Err(format!("--ca {place}: no certificate in it can be used"));
            }
        }
    }
    let name = |(host, _): &(String, u16)| {
        ServerName::try_from(host.clone()).map_err(|_| {
            format!("{host} is no name that a certificate could have; with --ca, use the server's DNS name")
        })
    };
    Ok(Trust::Roots(roots, servers.iter().map(name).collect::<Result<_, _>>()?))
}

/// Runs a server, a client and a web page in one loop, and fetches the page through the tunnel; the exit
/// code.
///
/// # Errors
/// A sentence for the person who started it.
pub fn demo(once: bool) -> Result<i32, String> {
    let license = new_license();
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
        via: None,
        transport: Transport::Tls,
        license: license.id(),
        keys: license.client_keys(),
        mappings: vec![mapping::parse(&mapping).map_err(|error| error.to_string())?],
        visits: Vec::new(),
        allow: Allow::default(),
        proxies_max: 64 + POOL_MAX,
        guest: false,
    };
    let roles: Vec<Box<dyn Role>> = vec![
        Box::new(Page::new(page)),
        Box::new(Server::new(server, Entropy::from_os())),
        Box::new(Client::new(client, Entropy::from_os())),
        Box::new(Fetch::new(public, once)),
    ];
    // Both ends of each visit are in this process.
    let budget = Budget { raws: 2 * 64, locals: 64, tunnels: 4 * (64 + POOL_MAX), callers: 0 };
    Ok(Driver::new(start_os(Format::Text, None)?, roles, security, budget).run())
}

/// A port of loopback that is free now: this one, if it is.
fn free_port(wish: Option<u16>) -> Result<SocketAddr, String> {
    let bind =
        |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    wish.and_then(|port| bind(port).ok())
        .map_or_else(|| bind(0), Ok)
        .map_err(|error| format!("no port of 127.0.0.1 can be had: {error}"))
}

fn means(end: End, visitors: Option<u32>, buffer_bytes: Option<u64>) -> Result<Plan, String> {
    let (files, memory_bytes) = (os::raise_open_files(), os::memory_bytes());
    let visitors = visitors.map(|visitors| visitors as usize);
    let buffer_bytes = buffer_bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    plan(end, Means { files, memory_bytes, visitors, buffer_bytes })
}

/// How much is logged: `NT_LOG`, or everything but single visits.
fn level() -> Result<Level, String> {
    match std::env::var("NT_LOG").as_deref() {
        Err(_) | Ok("" | "info") => Ok(Level::Info),
        Ok("error") => Ok(Level::Error),
        Ok("warn") => Ok(Level::Warn),
        Ok("debug") => Ok(Level::Debug),
        Ok(other) => Err(format!("NT_LOG is {other:?}, which is none of error, warn, info, debug")),
    }
}

fn start_os(format: Format, licenses: Option<LicenseFile>) -> Result<Os, String> {
    Os::new(level()?, format, licenses)
        .map_err(|error| format!("the operating system gives no poller or signals: {error}"))
}

fn tell(os: &mut Os, level: Level, text: String) {
    let now = os.now();
    os.note(now, &Note::Plain(level, text));
}
