//! A server, a client and what stands behind them, for one test.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::process::{mortal, say};
use super::rest::{Nt, at_rest, end};
pub use super::scratch::{Folder, port};

/// How long anything may take that should take no time at all, on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// Over TLS, or plainly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tls,
    Plain,
}

pub const BOTH: [Kind; 2] = [Kind::Tls, Kind::Plain];

/// The binary under test.
pub fn nt() -> PathBuf {
    std::env::var_os("NT_E2E_BIN").map_or_else(|| env!("CARGO_BIN_EXE_nt").into(), PathBuf::from)
}

/// Whether the binary under test is optimised; says so if it is not.
pub fn need_release() -> bool {
    let release = nt().components().any(|part| part.as_os_str() == "release");
    if !release {
        say("skipped: it needs a release binary in NT_E2E_BIN");
    }
    release
}

/// How often something is done: as usual, or, with `NT_E2E_LONG` (`make faults`), for as long as it is worth.
pub fn rounds(usual: usize, long: usize) -> usize {
    if std::env::var_os("NT_E2E_LONG").is_some() { long } else { usual }
}

/// A TCP service that gives each connection a thread.
pub struct Backend {
    pub port: u16,
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Backend {
    pub fn new(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), serve)
    }

    pub fn at(address: SocketAddr, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let (ended, serve) = (Arc::clone(&over), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(stream));
            }
        });
        Self { port: address.port(), address, over }
    }

    /// Sends back what comes, and ends when the visitor does.
    pub fn echo() -> Self {
        Self::echo_at("127.0.0.1:0".parse().unwrap())
    }

    pub fn echo_at(address: SocketAddr) -> Self {
        Self::at(address, |stream| {
            let _ = std::io::copy(&mut &stream, &mut &stream);
            let _ = stream.shutdown(std::net::Shutdown::Write);
        })
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

/// `nt -s`, with a state folder of its own.
pub struct Server {
    pub folder: Arc<Folder>,
    pub process: Nt,
    pub tls: u16,
    pub plain: u16,
    /// The port for visitors of names, where there is one.
    pub names: Option<u16>,
    /// The same over TLS.
    pub https: Option<u16>,
    /// The license `default`.
    pub license: String,
}

impl Server {
    /// The first start, which makes a license.
    pub fn start() -> Self {
        Self::start_at("127.0.0.1")
    }

    /// The first start, at another address.
    pub fn start_at(host: &str) -> Self {
        Self::start_as(host, Arc::new(Folder::new()), [None; 2])
    }

    /// The first start, with a port for visitors of names.
    pub fn start_with_names() -> Self {
        Self::start_as("127.0.0.1", Arc::new(Folder::new()), [Some(port()), None])
    }

    /// The first start, with such a port over TLS too; `make` puts certificates into a folder.
    #[allow(dead_code, reason = "the soak starts it so")]
    pub fn start_with_certificates(make: impl FnOnce(&Folder)) -> Self {
        let folder = Arc::new(Folder::new());
        make(&folder);
        folder.write("nt.toml", format!("certs = \"{}\"\n", folder.path().display()));
        Self::start_as("127.0.0.1", folder, [Some(port()), Some(port())])
    }

    fn start_as(host: &str, folder: Arc<Folder>, [names, https]: [Option<u16>; 2]) -> Self {
        super::waiting::begin();
        let (tls, plain) = (port(), port());
        let command = &mut Self::command_at(host, &folder, tls, plain);
        command.args(Self::doors(&folder, [names, https]));
        let process = Nt::start(command, &[tls, plain]);
        let line = process.wait_for("nt -c nt1", SOON);
        let license = line.split("nt -c ").nth(1).unwrap().split('@').next().unwrap().to_owned();
        process.wait_for("the API is served on", SOON);
        process.note_untouched();
        Self { folder, process, tls, plain, names, https, license }
    }

    /// What the command line says of visitors of names.
    fn doors(folder: &Folder, [names, https]: [Option<u16>; 2]) -> Vec<String> {
        let settings = https.map(|_| folder.join("nt.toml").display().to_string());
        let address = |port: Option<u16>| port.map(|port| format!("127.0.0.1:{port}"));
        let words = [("--http", address(names)), ("--https", address(https)), ("--config", settings)];
        words.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?])).flatten().collect()
    }

    pub fn command(folder: &Folder, tls: u16, plain: u16) -> Command {
        Self::command_at("127.0.0.1", folder, tls, plain)
    }

    fn command_at(host: &str, folder: &Folder, tls: u16, plain: u16) -> Command {
        let mut command = mortal(nt());
        command.arg("-s").arg("--state").arg(folder.join("state"));
        command.arg("--listen").arg(format!("{host}:{tls}"));
        command.arg("--plain").arg(format!("{host}:{plain}"));
        command
    }

    /// Starts again on the same state; the old process must have ended.
    pub fn again(&mut self) {
        self.again_at("127.0.0.1");
    }

    /// The same at another address.
    pub fn again_at(&mut self, host: &str) {
        let command = &mut Self::command_at(host, &self.folder, self.tls, self.plain);
        command.args(Self::doors(&self.folder, [self.names, self.https]));
        self.process = Nt::start(command, &self.tunnel_ports());
    }

    /// The ports that clients come to.
    pub fn tunnel_ports(&self) -> [u16; 2] {
        [self.tls, self.plain]
    }

    pub fn port(&self, kind: Kind) -> u16 {
        match kind {
            Kind::Tls => self.tls,
            Kind::Plain => self.plain,
        }
    }

    /// `nt license WORDS --state …`; the last line of its output.
    pub fn license(&self, words: &[&str]) -> String {
        let mut command = Command::new(nt());
        let output =
            command.arg("license").args(words).arg("--state").arg(self.folder.join("state")).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().lines().last().unwrap_or("").to_owned()
    }

    /// A client of this server, with the license `default`.
    pub fn client(&self, kind: Kind, mappings: &[String]) -> Nt {
        self.client_with(kind, &self.license, mappings, |_| {})
    }

    /// A client of this server. Its license stands in a file, as it does wherever others can see the command line.
    pub fn client_with(
        &self,
        kind: Kind,
        license: &str,
        mappings: &[String],
        adapt: impl Fn(&mut Command),
    ) -> Nt {
        self.client_at("127.0.0.1", self.port(kind), kind, license, mappings, adapt)
    }

    /// A client that finds this server at another address.
    pub fn client_at(
        &self,
        host: &str,
        port: u16,
        kind: Kind,
        license: &str,
        mappings: &[String],
        adapt: impl Fn(&mut Command),
    ) -> Nt {
        let name = format!("license-{}-{port}", &license[3..11.min(license.len())]);
        let file = self.folder.write(&name, format!("{license}@{host}:{port}\n"));
        let mut command = mortal(nt());
        command.arg("-c").arg(format!("@{}", file.display())).args(mappings);
        if kind == Kind::Plain {
            command.arg("--plain");
        }
        adapt(&mut command);
        Nt::start(&mut command, &[port])
    }
}

/// A server and a client with two mappings: one to the target of the test, one to an echo.
pub struct Tunnel {
    pub client: Nt,
    pub server: Server,
    pub kind: Kind,
    /// Public port of the target.
    pub public: u16,
    /// Public port of the echo, for visitors who must be served whatever the target does.
    pub echo: u16,
    pub mappings: Vec<String>,
    _echo: Backend,
}

impl Tunnel {
    /// A tunnel to this port of loopback.
    pub fn to(kind: Kind, target: u16) -> Self {
        Self::with(kind, target, Server::start(), |_| {})
    }

    /// A tunnel to this port, of this server, by a client that is started in a way of its own.
    pub fn with(kind: Kind, target: u16, server: Server, adapt: impl Fn(&mut Command)) -> Self {
        let (echo, public, echo_public) = (Backend::echo(), port(), port());
        let mappings =
            vec![format!("{public}:127.0.0.1:{target}"), format!("{echo_public}:127.0.0.1:{}", echo.port)];
        let client = server.client_with(kind, &server.license, &mappings, adapt);
        client.wait_for(&format!("-> 127.0.0.1:{target} ready"), SOON);
        client.wait_for(&format!("-> 127.0.0.1:{} ready", echo.port), SOON);
        let tunnel = Self { server, client, kind, public, echo: echo_public, mappings, _echo: echo };
        tunnel.echo_once();
        tunnel
    }

    /// A visitor of the target.
    pub fn visit(&self) -> TcpStream {
        visit(self.public)
    }

    /// A visitor of the echo, served or not.
    pub fn try_echo(&self, timeout: Duration) -> std::io::Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.echo));
        let mut stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.write_all(b"Is anybody there?")?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        if answer == b"Is anybody there?" { Ok(()) } else { Err(std::io::ErrorKind::InvalidData.into()) }
    }

    pub fn echo_once(&self) {
        self.try_echo(SOON).expect("a fresh visitor is served");
    }

    /// Starts the client again, with the same words.
    pub fn client_again(&mut self) {
        self.client = self.server.client(self.kind, &self.mappings);
    }

    /// What a test may rely on in its midst, and what is asked of it at its end.
    pub fn at_rest(&mut self) {
        self.echo_once();
        at_rest([&mut self.server.process, &mut self.client]);
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let both = [&mut self.server.process, &mut self.client];
        if !thread::panicking() && both.into_iter().all(|nt| nt.is_awake()) {
            self.echo_once();
            end([&mut self.client, &mut self.server.process]);
        }
    }
}

/// A connection to a public port, whose reads and writes give up in the end.
pub fn visit(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Whether an echo is served at this port of loopback.
pub fn echoes(port: u16) -> bool {
    echoes_at((Ipv4Addr::LOCALHOST, port))
}

/// Whether an echo is served at this address.
pub fn echoes_at(address: impl Into<SocketAddr>) -> bool {
    let Ok(mut visitor) = TcpStream::connect_timeout(&address.into(), SOON) else { return false };
    visitor.set_read_timeout(Some(SOON)).unwrap();
    visitor.write_all(b"?").is_ok() && visitor.read_exact(&mut [0]).is_ok()
}
