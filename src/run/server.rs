//! Runs a server: what its words and files come to, at the start and again while it runs.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use super::{Read, means, start_os, tell};
use crate::budget::{End, sessions};
use crate::certificates::CertificateFiles;
use crate::cli::ServeArgs;
use crate::commands::new_license;
use crate::config::ServerConfig;
use crate::directory::Directory;
use crate::door::{Door, Token};
use crate::driver::Driver;
use crate::dry;
use crate::edit::{Edit, Edited, NotEdited};
use crate::entropy::Entropy;
use crate::http::Scheme;
use crate::license::{License, Transport};
use crate::names::bracketed;
use crate::note::{Level, Note};
use crate::os::{self, Handed, Sources};
use crate::role::{Role, ServerSettings, Settings};
use crate::server::{self, Server};
use crate::server_ref::TLS_PORT;
use crate::state::{LicenseFile, StateDir};
use crate::tls::{Certificates, Security};

/// Runs a server until it is asked to stop; its exit code. `read` gives the text of a file.
///
/// # Errors
/// A sentence for the person who started it.
pub fn serve(args: ServeArgs, mut read: impl Read + 'static) -> Result<i32, String> {
    let settings = args.clone().settle(&mut read)?;
    let handed = Handed::take()?;
    let plan = means(End::Server { http: settings.serves_names() }, settings.visitors, settings.memory)?;
    let listen = settings.tunnel();
    let listen = if handed.has(listen) { listen } else { free_address(listen)? };
    let state = StateDir::open(settings.state.as_deref())?;
    let mut certificates = certificate_files(&settings, &state)?;
    let mut security = Security::default();
    if let Some(found) = certificates.changed() {
        security.serve(found?)?;
    }
    if let Some(license) = first_license(&state)? {
        // Not a matter of the log and its level: without this text the license is lost.
        let text = welcome(&license, &settings, listen, state.path());
        let _ = writeln!(std::io::stderr(), "{text}");
    }
    let (directory, licenses) = state.open_licenses()?;
    let doors = doors(&settings, listen, &state)?;
    let sources = ServerSources {
        args,
        read,
        first: settings.clone(),
        holds: settings.clone(),
        listen,
        doors: doors.clone(),
        handed: handed.clone(),
        state: state.clone(),
        licenses,
        certificates,
    };
    let mut os = start_os(settings.log.unwrap_or_default(), Box::new(sources))?;
    let (ledger, trouble) = state.load_counters();
    for warning in state.warnings().into_iter().chain(trouble) {
        tell(&mut os, Level::Warn, warning);
    }
    let mut os = os.with_files(Box::new(StateFiles(state))).with_handed(handed);
    tell(&mut os, Level::Info, plan.to_string());
    let (visitors_max, sessions_max) = (plan.visitors, sessions(plan.visitors));
    let config = server::Config { doors, directory, visitors_max, sessions_max };
    let server = Server::new(config, Entropy::from_os())
        .within(plan.ports)
        .with_ledger(ledger)
        .with_public_host(settings.public_host);
    let role: Box<dyn Role> = Box::new(server);
    Ok(Driver::new(os, vec![role], security, plan.budget).run())
}

/// What a server with these settings listens at of its own; clients under TLS come to `listen`.
fn doors(settings: &ServerConfig, listen: SocketAddr, state: &StateDir) -> Result<Vec<Door>, String> {
    // Where names over TLS are served on the same port, clients are told apart by what they offer to speak.
    let tls = (settings.https != Some(listen)).then_some(Door::Tunnel(listen, Transport::Tls));
    let plain = settings.plain.map(|address| Door::Tunnel(address, Transport::Plain));
    let http = settings.http.map(|address| Door::Names(address, Scheme::Http));
    let https = settings.https.map(|address| Door::Names(address, Scheme::Https));
    let socket = || Door::Socket(state.admin_socket().display().to_string());
    let admin = match settings.admin {
        Some(address) => Some(Door::Admin(address, Token(state.admin_token()?))),
        None => None,
    };
    Ok([tls, plain, http, https, os::HAS_UNIX_SOCKETS.then(socket), admin].into_iter().flatten().collect())
}

/// The setting by which a server has this door.
fn setting_of(door: &Door) -> &'static str {
    match door {
        Door::Tunnel(_, Transport::Tls) => "listen",
        Door::Tunnel(_, Transport::Plain) => "plain",
        Door::Names(_, scheme) => scheme.word(),
        Door::Socket(_) => "state",
        Door::Admin(..) => "admin",
    }
}

fn certificate_files(settings: &ServerConfig, state: &StateDir) -> Result<CertificateFiles, String> {
    let cert = match (&settings.cert, &settings.key) {
        (Some(cert), Some(key)) => Some((cert.as_path(), key.as_path())),
        (None, None) => None,
        _ => return Err("`cert` and `key` belong together: name both, or neither".to_owned()),
    };
    Ok(CertificateFiles::new(settings.certs.clone(), state.identity_files(cert)?))
}

/// The files of a server that runs.
struct ServerSources<R> {
    args: ServeArgs,
    read: R,
    /// What it was started with …
    first: ServerConfig,
    /// … and what holds now.
    holds: ServerConfig,
    listen: SocketAddr,
    doors: Vec<Door>,
    handed: Handed,
    state: StateDir,
    licenses: LicenseFile,
    certificates: CertificateFiles,
}

impl<R: Read> Sources for ServerSources<R> {
    fn licenses(&mut self) -> Option<Result<Directory, String>> {
        self.licenses.changed()
    }

    fn certificates(&mut self) -> Option<Result<Certificates, String>> {
        self.certificates.changed()
    }

    fn settings(&mut self) -> Option<Result<Settings, String>> {
        Some(self.read_again().map(Settings::Server))
    }
}

impl<R: Read> ServerSources<R> {
    /// Reads the settings again, and tries whatever of them is new, before any of it holds.
    fn read_again(&mut self) -> Result<ServerSettings, String> {
        let wanted = self.args.again(&self.first, &mut self.read)?;
        // The true address of before stays what it is.
        let listen = if wanted.listen == self.holds.listen { self.listen } else { wanted.tunnel() };
        let doors = doors(&wanted, listen, &self.state)?;
        for (n, door) in doors.iter().enumerate() {
            if let Err(what) = self.try_door(door, &doors[..n]) {
                let place = self.args.place_of(setting_of(door), &mut self.read);
                return Err(format!("{place}: {what}"));
            }
        }
        let paths = |settings: &ServerConfig| -> [Option<PathBuf>; 3] {
            [settings.certs.clone(), settings.cert.clone(), settings.key.clone()]
        };
        if paths(&wanted) != paths(&self.holds) {
            let certificates = certificate_files(&wanted, &self.state)?;
            certificates.check()?;
            // They are read once more when the files are looked at, and hold then.
            self.certificates = certificates;
        }
        let settings = ServerSettings { doors: doors.clone(), public_host: wanted.public_host.clone() };
        (self.holds, self.listen, self.doors) = (wanted, listen, doors);
        Ok(settings)
    }

    /// Whether a door could be opened beside `others`.
    fn try_door(&self, door: &Door, others: &[Door]) -> Result<(), String> {
        let Some(address) = door.address() else { return Ok(()) };
        let meets = |other: &Door| {
            let is_one =
                |other: SocketAddr| other.port() == address.port() && dry::meet(other.ip(), address.ip());
            other.address().is_some_and(is_one)
        };
        if let Some(other) = others.iter().find(|other| meets(other)) {
            return Err(format!("{address} is where `{}` is as well", setting_of(other)));
        }
        // What nt has open itself is open, or out of the way when it comes to that.
        if self.doors.iter().any(meets) || self.handed.has(address) {
            return Ok(());
        }
        let whom = door.whom();
        os::try_port(address, false)
            .map_err(|reason| Note::NotListening { whom, address, reason }.to_string())
    }
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
