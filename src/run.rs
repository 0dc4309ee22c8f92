//! Runs a server, a client or the demo: puts settings, state and roles together, and starts the loop.

mod server;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::budget::{End, Means, Plan, plan};
use crate::cli::{ClientArgs, ClientPlan};
use crate::client::{self, Client};
use crate::clients;
use crate::commands::new_license;
use crate::config::{Ca, ClientConfig};
use crate::demo::{Fetch, Page};
use crate::directory::{Directory, Entry};
use crate::door::Door;
use crate::driver::{Budget, Driver};
use crate::entropy::Entropy;
use crate::files::Folder;
use crate::identity::Identity;
use crate::license::Transport;
use crate::limits::POOL_MAX;
use crate::mapping::{self, Mapping, Target};
use crate::net::Net;
use crate::note::{Format, Level, Note};
use crate::os::{self, Os, Sources};
use crate::policy::Allow;
use crate::role::{Role, Settings};
use crate::server::Server;
use crate::server_ref::{PLAIN_PORT, ServerRef, Source, TLS_PORT};
use crate::tls::{Security, Trust};
pub use server::serve;

/// The address that this machine uses towards others: the kernel's choice of a route; nothing is sent.
pub fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// Runs a client until it is asked to stop; its exit code. `read` gives the text of a file.
///
/// # Errors
/// A sentence for the person who started it.
pub fn connect(args: ClientArgs, mut read: impl Read + 'static) -> Result<i32, String> {
    let (settings, first) = (args.clone().settle(&mut read)?, args.read_file(&mut read)?);
    let ClientPlan { server, maps: mappings, visits, plain, via, allow, ca, log } = settings;
    let folders = mappings.iter().filter_map(|mapping| match &mapping.target {
        Target::Files(path) => Some(path),
        Target::Tcp { .. } | Target::Unix(_) | Target::Exit(_) => None,
    });
    let folders: Vec<&String> = folders.collect();
    let plan = means(End::Client { folders: !folders.is_empty() || allow.permits_folders() }, None, None)?;
    let (transport, servers, security) = ways(&server, plain, ca.as_ref())?;
    let mut os = start_os(log, Box::new(ClientSources { args, read, first }))?;
    tell(&mut os, Level::Info, plan.to_string());
    if plain {
        let text = "the tunnel is NOT encrypted (--plain): whoever is on the way can read and change \
                    what visitors send";
        tell(&mut os, Level::Warn, text.to_owned());
    }
    let unserved = mappings.iter().filter_map(|mapping| os::unserved(&mapping.target));
    for warning in mappings.iter().filter_map(Mapping::warning).chain(unserved) {
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

/// Gives the text of a file, or of standard input.
pub trait Read: FnMut(Source<'_>) -> Result<String, String> {}

impl<R: FnMut(Source<'_>) -> Result<String, String>> Read for R {}

/// The files of a client.
struct ClientSources<R> {
    args: ClientArgs,
    read: R,
    /// What they said at the start.
    first: ClientConfig,
}

impl<R: Read> Sources for ClientSources<R> {
    fn settings(&mut self) -> Option<Result<Settings, String>> {
        Some(self.args.again(&self.first, &mut self.read).map(Settings::Client))
    }
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
    let os = start_os(plan.log, Box::new(()))?.with_ear(ear);
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
    let server = crate::server::Config {
        doors: vec![Door::Tunnel(door, Transport::Tls)],
        directory,
        visitors_max: 64,
        sessions_max: 1,
    };
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
    Ok(Driver::new(start_os(Format::Text, Box::new(()))?, roles, security, budget).run())
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

fn start_os(format: Format, sources: Box<dyn Sources>) -> Result<Os, String> {
    Os::new(level()?, format, sources)
        .map_err(|error| format!("the operating system gives no poller or signals: {error}"))
}

fn tell(os: &mut Os, level: Level, text: String) {
    let now = os.now();
    os.note(now, &Note::Plain(level, text));
}
