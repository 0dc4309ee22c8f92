//! What is measured: tunnels of several makes, each started for some ports of loopback, and no tunnel at all.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::echo::within;
use super::knobs::Knobs;
use super::process::{Process, mortal};
use super::programs::{find, run, version};
use super::scratch::{Folder, port};
use super::services::{listens, until};

/// How long a tunnel may take to come up.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// bore cannot be told another.
const BORE_CONTROL_PORT: u16 = 7835;

pub struct System {
    pub name: &'static str,
    /// As the docs should name it.
    pub version: String,
    make: Make,
}

enum Make {
    Direct,
    Nt { binary: PathBuf, tls: bool },
    Rathole { program: PathBuf, noise: bool },
    Frp { server: PathBuf, client: PathBuf },
    Bore(PathBuf),
    Haproxy(PathBuf),
    Openssh { server: PathBuf, client: PathBuf },
}

/// What a tunnel's ports are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Serves {
    Streams,
    Datagrams,
    /// The first for streams, the second for whoever asks for [`NAME`]; both lead to the one target.
    Name,
}

/// The public name of what is served by name.
const NAME: &str = "page.example.com";

/// A system that runs, until this is dropped.
pub struct Tunnel {
    /// The public ports, in the order of the targets.
    pub ports: Vec<u16>,
    serves: Serves,
    processes: Vec<Process>,
    folder: Folder,
}

impl Tunnel {
    fn new(targets: &[u16]) -> Self {
        let ports = targets.iter().map(|_| port()).collect();
        Self { ports, serves: Serves::Streams, processes: Vec::new(), folder: Folder::new() }
    }

    fn run(&mut self, command: &mut Command) -> &Process {
        self.processes.push(Process::start(command));
        self.processes.last().expect("one was pushed")
    }

    pub fn ids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::id).collect()
    }

    /// Waits until it carries something.
    ///
    /// # Errors
    /// A sentence with what its processes said last.
    pub fn ready(&self, answers: impl Fn() -> bool) -> Result<(), String> {
        until(PATIENCE, "its public port answers", answers).map_err(|why| {
            let last = self.processes.iter().filter_map(|process| process.log().lines().pop());
            [why].into_iter().chain(last).collect::<Vec<_>>().join("; ")
        })
    }

    /// What a visitor of this port must ask for.
    pub fn name_at(&self, port: u16) -> Option<&'static str> {
        (self.serves == Serves::Name && port == self.ports[1]).then_some(NAME)
    }

    /// Public port and target of each mapping, with its number.
    fn mappings(&self, targets: &[u16]) -> Vec<(usize, u16, u16)> {
        let pairs = self.ports.iter().zip(targets);
        pairs.enumerate().map(|(n, (&public, &target))| (n, public, target)).collect()
    }
}

/// Where the two ends of a tunnel run.
pub struct Ends {
    /// The server's address, as the client knows it.
    pub host: String,
    /// What the command lines of both ends begin with, such as `ip netns exec NAME`.
    pub server: Vec<String>,
    pub client: Vec<String>,
}

impl Ends {
    pub fn loopback() -> Self {
        Self { host: "127.0.0.1".to_owned(), server: Vec::new(), client: Vec::new() }
    }
}

/// All systems that can be measured here and are wanted, and a sentence for each that cannot.
///
/// # Errors
/// A sentence, where one is asked for that does not exist.
pub fn all(knobs: &Knobs) -> Result<(Vec<System>, Vec<String>), String> {
    let ours = |binary: &Path, tls| Some(Make::Nt { binary: binary.to_owned(), tls });
    let more = |binary: &Option<PathBuf>, tls| binary.as_deref().and_then(|binary| ours(binary, tls));
    let rathole = |noise| find("rathole").map(|program| Make::Rathole { program, noise });
    let pair = |server, client| find(server).zip(find(client));
    let frp = pair("frps", "frpc").map(|(server, client)| Make::Frp { server, client });
    let openssh = pair("sshd", "ssh").map(|(server, client)| Make::Openssh { server, client });
    let get_rathole = "cargo install rathole --no-default-features --features server,client,noise,hot-reload";
    let get_frp = "https://github.com/fatedier/frp/releases, with frps and frpc on the path";
    let makes = [
        ("direct", Some(Make::Direct), ""),
        ("nt", ours(&knobs.nt, false), ""),
        ("nt-tls", ours(&knobs.nt, true), ""),
        ("nt-static", more(&knobs.fixed, false), "NT_BENCH_STATIC is the path of a static musl build"),
        ("nt-static-tls", more(&knobs.fixed, true), "NT_BENCH_STATIC is the path of a static musl build"),
        ("nt-base", more(&knobs.base, false), ""),
        ("nt-base-tls", more(&knobs.base, true), ""),
        ("rathole", rathole(false), get_rathole),
        ("rathole-noise", rathole(true), get_rathole),
        ("frp", frp, get_frp),
        ("bore", find("bore").map(Make::Bore), "cargo install bore-cli"),
        ("haproxy2", find("haproxy").map(Make::Haproxy), "apt install haproxy"),
        ("openssh", openssh, "apt install openssh-server"),
    ];
    knobs.check_systems(&makes.iter().map(|(name, ..)| *name).collect::<Vec<_>>())?;
    let (mut systems, mut skipped) = (Vec::new(), Vec::new());
    for (name, make, get) in makes.into_iter().filter(|(name, ..)| knobs.wants_system(name)) {
        match make {
            Some(make) => systems.push(System { name, version: make.version(), make }),
            None if get.is_empty() => {}
            None => skipped.push(format!("{name}: {get}")),
        }
    }
    Ok((systems, skipped))
}

impl Make {
    fn version(&self) -> String {
        match self {
            Self::Direct => String::new(),
            Self::Nt { binary, .. } => version(binary, "version"),
            Self::Rathole { program, .. } => version_of_rathole(program),
            Self::Frp { server, .. } => version(server, "--version"),
            Self::Bore(program) => version(program, "--version"),
            Self::Haproxy(program) => version(program, "-v"),
            Self::Openssh { client, .. } => version(client, "-V"),
        }
    }
}

/// It tells the time it was built first.
fn version_of_rathole(program: &Path) -> String {
    let said = run(Command::new(program).arg("--version"), PATIENCE).unwrap_or_default();
    let line =
        said.lines().find_map(|line| line.strip_prefix("Build Version:")).unwrap_or("of unknown version");
    line.trim().to_owned()
}

impl System {
    pub fn is_direct(&self) -> bool {
        matches!(self.make, Make::Direct)
    }

    pub fn is_nt(&self) -> bool {
        matches!(self.make, Make::Nt { .. })
    }

    /// Whether it encrypts, as it is measured.
    pub fn encrypts(&self) -> bool {
        match self.make {
            Make::Nt { tls, .. } => tls,
            Make::Rathole { noise, .. } => noise,
            Make::Frp { .. } | Make::Openssh { .. } => true,
            Make::Direct | Make::Bore(_) | Make::Haproxy(_) => false,
        }
    }

    /// Starts it on this machine. It may not be ready yet.
    ///
    /// # Errors
    /// A sentence, where it does not start.
    pub fn start(&self, targets: &[u16]) -> Result<Tunnel, String> {
        self.start_at(&Ends::loopback(), targets)
    }

    /// Whether it can carry datagrams.
    pub fn carries_datagrams(&self) -> bool {
        matches!(self.make, Make::Direct | Make::Nt { .. } | Make::Rathole { .. } | Make::Frp { .. })
    }

    /// As [`System::start`], for ports of UDP.
    ///
    /// # Errors
    /// As [`System::start`].
    pub fn start_datagrams(&self, targets: &[u16]) -> Result<Tunnel, String> {
        self.start_tunnel(
            Tunnel { serves: Serves::Datagrams, ..Tunnel::new(targets) },
            &Ends::loopback(),
            targets,
        )
    }

    /// As [`System::start`], for one target that is served at a port and by name.
    ///
    /// # Errors
    /// As [`System::start`].
    pub fn start_named(&self, target: u16) -> Result<Tunnel, String> {
        let tunnel = Tunnel { serves: Serves::Name, ..Tunnel::new(&[target, target]) };
        self.start_tunnel(tunnel, &Ends::loopback(), &[target])
    }

    /// As [`System::start`]; only nt can have its ends apart.
    ///
    /// # Errors
    /// As [`System::start`].
    pub fn start_at(&self, ends: &Ends, targets: &[u16]) -> Result<Tunnel, String> {
        self.start_tunnel(Tunnel::new(targets), ends, targets)
    }

    fn start_tunnel(&self, mut tunnel: Tunnel, ends: &Ends, targets: &[u16]) -> Result<Tunnel, String> {
        match &self.make {
            Make::Direct => tunnel.ports = targets.to_vec(),
            Make::Nt { binary, tls } => start_nt(&mut tunnel, binary, *tls, ends, targets)?,
            Make::Rathole { program, noise } => start_rathole(&mut tunnel, program, *noise, targets)?,
            Make::Frp { server, client } => start_frp(&mut tunnel, server, client, targets),
            Make::Bore(program) => start_bore(&mut tunnel, program, targets)?,
            Make::Haproxy(program) => start_haproxy(&mut tunnel, program, targets),
            Make::Openssh { server, client } => start_openssh(&mut tunnel, server, client, targets)?,
        }
        Ok(tunnel)
    }
}

fn start_nt(
    tunnel: &mut Tunnel,
    binary: &Path,
    tls: bool,
    ends: &Ends,
    targets: &[u16],
) -> Result<(), String> {
    let state = tunnel.folder.join("state");
    let entrances = [port(), port()];
    let [listen, plain] = entrances.map(|port| format!("{}:{port}", ends.host));
    let mut server = within(&ends.server, binary);
    server.arg("-s").arg("--state").arg(state).args(["--listen", &listen, "--plain", &plain]);
    if tunnel.serves == Serves::Name {
        server.arg("--http").arg(format!("{}:{}", ends.host, tunnel.ports[1]));
    }
    let server = tunnel.run(&mut server);
    let line = server.hears("nt -c nt1", PATIENCE).ok_or("nt -s prints no license")?;
    server.hears("WITHOUT encryption", PATIENCE).ok_or("nt -s does not listen")?;
    let word = line.split("nt -c ").nth(1).and_then(|rest| rest.split('@').next()).unwrap_or("");
    let license = tunnel.folder.write("license", format!("{word}@{}\n", if tls { &listen } else { &plain }));
    let mut client = within(&ends.client, binary);
    client.arg("-c").arg(format!("@{}", license.display())).args((!tls).then_some("--plain"));
    if let (Serves::Name, [target]) = (tunnel.serves, targets) {
        client.arg(format!("{NAME}:{target}"));
    }
    for (_, public, target) in tunnel.mappings(targets) {
        let kind = if tunnel.serves == Serves::Datagrams { "/udp" } else { "" };
        client.arg(format!("127.0.0.1:{public}:127.0.0.1:{target}{kind}"));
    }
    tunnel.run(&mut client);
    Ok(())
}

fn start_rathole(tunnel: &mut Tunnel, program: &Path, noise: bool, targets: &[u16]) -> Result<(), String> {
    let control = port();
    let mut server = format!("[server]\nbind_addr = \"127.0.0.1:{control}\"\ndefault_token = \"bench\"\n");
    let mut client = format!("[client]\nremote_addr = \"127.0.0.1:{control}\"\ndefault_token = \"bench\"\n");
    if noise {
        let said = run(Command::new(program).arg("--genkey"), PATIENCE)?;
        let keys: Vec<&str> = said.lines().map(str::trim).filter(|line| line.len() > 40).collect();
        let [private, public] = keys[..] else { return Err(format!("rathole --genkey said {said}")) };
        let pattern = "pattern = \"Noise_NK_25519_ChaChaPoly_BLAKE2s\"";
        for (file, end, key) in [
            (&mut server, "server", format!("local_private_key = \"{private}\"")),
            (&mut client, "client", format!("remote_public_key = \"{public}\"")),
        ] {
            *file +=
                &format!("[{end}.transport]\ntype = \"noise\"\n[{end}.transport.noise]\n{pattern}\n{key}\n");
        }
    }
    let kind = if tunnel.serves == Serves::Datagrams { "type = \"udp\"\n" } else { "" };
    for (n, public, target) in tunnel.mappings(targets) {
        server += &format!("[server.services.s{n}]\n{kind}bind_addr = \"127.0.0.1:{public}\"\n");
        client += &format!("[client.services.s{n}]\n{kind}local_addr = \"127.0.0.1:{target}\"\n");
    }
    for (end, text) in [("--server", server), ("--client", client)] {
        let file = tunnel.folder.write(end, text);
        tunnel.run(mortal(program).arg(end).arg(file));
    }
    Ok(())
}

/// As its manual has it: TLS and multiplexing are on unless they are turned off.
fn start_frp(tunnel: &mut Tunnel, server: &Path, client: &Path, targets: &[u16]) {
    let control = port();
    let local = "127.0.0.1";
    let serve = format!("bindAddr = \"{local}\"\nproxyBindAddr = \"{local}\"\nbindPort = {control}\n");
    let mut publish = format!("serverAddr = \"{local}\"\nserverPort = {control}\n");
    let kind = if tunnel.serves == Serves::Datagrams { "udp" } else { "tcp" };
    for (n, public, target) in tunnel.mappings(targets) {
        publish += &format!("[[proxies]]\nname = \"s{n}\"\ntype = \"{kind}\"\nlocalIP = \"{local}\"\n");
        publish += &format!("localPort = {target}\nremotePort = {public}\n");
    }
    for (program, name, text) in [(server, "frps.toml", serve), (client, "frpc.toml", publish)] {
        let file = tunnel.folder.write(name, text);
        tunnel.run(mortal(program).arg("-c").arg(file));
    }
}

/// Its client has one target; each further one is a client of its own.
fn start_bore(tunnel: &mut Tunnel, program: &Path, targets: &[u16]) -> Result<(), String> {
    if listens(BORE_CONTROL_PORT) {
        return Err(format!("port {BORE_CONTROL_PORT}, which bore needs, is in use"));
    }
    let mut server = mortal(program);
    tunnel.run(server.args(["server", "--min-port", "1024", "--bind-addr", "127.0.0.1"]));
    until(PATIENCE, "bore server listens", || listens(BORE_CONTROL_PORT))?;
    for (_, public, target) in tunnel.mappings(targets) {
        let (public, target) = (public.to_string(), target.to_string());
        let mut client = mortal(program);
        client.args(["local", &target, "--local-host", "127.0.0.1", "--to", "127.0.0.1", "--port", &public]);
        tunnel.run(&mut client);
    }
    Ok(())
}

/// Two in a row, which pass bytes on and nothing else: as little as a pair of proxies can do.
fn start_haproxy(tunnel: &mut Tunnel, program: &Path, targets: &[u16]) {
    let between: Vec<u16> = targets.iter().map(|_| port()).collect();
    let hops = [("first", tunnel.ports.clone(), between.clone()), ("second", between, targets.to_vec())];
    for (name, from, to) in hops {
        // Without a bound it takes memory at start for as many connections as the system permits.
        let mut text =
            "global\n    nbthread 1\n    maxconn 4000\ndefaults\n    mode tcp\n    option splice-auto\n"
                .to_owned();
        text += "    timeout connect 10s\n    timeout client 1h\n    timeout server 1h\n";
        for (n, (from, to)) in from.iter().zip(to).enumerate() {
            text += &format!("listen s{n}\n    bind 127.0.0.1:{from}\n    server s 127.0.0.1:{to}\n");
        }
        let file = tunnel.folder.write(name, text);
        tunnel.run(mortal(program).arg("-db").arg("-f").arg(file));
    }
}

/// A server with keys of its own, and a client that forwards back.
fn start_openssh(tunnel: &mut Tunnel, server: &Path, client: &Path, targets: &[u16]) -> Result<(), String> {
    let keygen = find("ssh-keygen").ok_or("ssh-keygen is missing: apt install openssh-client")?;
    let (listen, path) = (port(), tunnel.folder.path().display().to_string());
    for name in ["host", "user"] {
        let mut make = Command::new(&keygen);
        make.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(tunnel.folder.join(name));
        run(&mut make, PATIENCE)?;
    }
    // sshd wants this folder where root runs it, and any other user does without.
    let _ = std::fs::create_dir_all("/run/sshd");
    let config = format!(
        "Port {listen}\nListenAddress 127.0.0.1\nHostKey {path}/host\nAuthorizedKeysFile {path}/user.pub\n\
         StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nPermitRootLogin yes\n"
    );
    let config = tunnel.folder.write("sshd.conf", config);
    let server = tunnel.run(mortal(server).args(["-D", "-e", "-f"]).arg(config));
    server.hears("Server listening", PATIENCE).ok_or("sshd does not listen")?;
    let mut client = mortal(client);
    client.args(["-N", "-F", "none", "-p", &listen.to_string(), "-i"]).arg(tunnel.folder.join("user"));
    for option in ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes"] {
        client.args(["-o", option]);
    }
    for (_, public, target) in tunnel.mappings(targets) {
        client.arg("-R").arg(format!("127.0.0.1:{public}:127.0.0.1:{target}"));
    }
    tunnel.run(client.args(["-o", "ExitOnForwardFailure=yes", "127.0.0.1"]));
    Ok(())
}
