//! What a service manager is told, by the protocol of systemd.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::time::Instant;

use rustix::process::Signal;

use super::harness::{Folder, SOON, Server, nt, port};
use super::process::{Process, mortal};

/// Any license; nobody accepts it.
const LICENSE: &str = "nt1aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwqxykjaq";

/// A service manager: what processes are started with, and what it has been told.
struct Manager {
    socket: UnixDatagram,
    variable: String,
}

impl Manager {
    fn at_path(folder: &Folder) -> Self {
        let path = folder.join("notify");
        Self { socket: UnixDatagram::bind(&path).unwrap(), variable: path.display().to_string() }
    }

    fn abstract_one() -> Self {
        let name = format!("nt-e2e-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self { socket: UnixDatagram::bind_addr(&address).unwrap(), variable: format!("@{name}") }
    }

    fn start(&self, command: &mut Command) -> Process {
        Process::start(command.env("NOTIFY_SOCKET", &self.variable))
    }

    /// Waits for a message that is, or begins with, these words; what was told before it.
    fn hears(&self, words: &str) -> Vec<String> {
        let (end, mut before) = (Instant::now() + SOON, Vec::new());
        loop {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {words}, but {before:?}");
            self.socket.set_read_timeout(Some(left)).unwrap();
            let mut bytes = [0; 4096];
            let Ok(n) = self.socket.recv(&mut bytes) else { continue };
            let told = String::from_utf8(bytes[..n].to_vec()).unwrap();
            if told.starts_with(words) {
                return before;
            }
            before.push(told);
        }
    }

    /// What else was told; asked when nobody is left to tell anything.
    fn rest(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut bytes = [0; 4096];
        std::iter::from_fn(|| self.socket.recv(&mut bytes).ok().map(|n| bytes[..n].to_vec()))
            .map(|told| String::from_utf8(told).unwrap())
            .collect()
    }
}

fn server(folder: &Folder) -> Command {
    let mut command = Server::command(folder, port(), port());
    // What is told to a manager is no matter of what is logged.
    command.env("NT_LOG", "error");
    command
}

/// Started, running, stopped: each is told.
fn tells_its_life(manager: &Manager, command: &mut Command) {
    let mut process = manager.start(command.env("WATCHDOG_USEC", "200000"));
    let before = manager.hears("READY=1");
    assert!(!before.iter().any(|told| told.starts_with("STOPPING")), "{before:?}");
    for _ in 0..3 {
        let before = manager.hears("WATCHDOG=1");
        assert!(!before.contains(&"READY=1".to_owned()), "it is told once");
    }
    process.signal(Signal::TERM);
    manager.hears("STOPPING=1");
    assert_eq!(process.wait(SOON).code(), Some(0));
    assert!(!manager.rest().contains(&"READY=1".to_owned()), "it is told once");
}

#[test]
fn a_server_tells_that_it_listens_that_it_runs_and_that_it_stops() {
    let folder = Folder::new();
    tells_its_life(&Manager::at_path(&folder), &mut server(&folder));
}

#[test]
fn a_client_is_ready_whether_or_not_its_server_is_there() {
    let folder = Folder::new();
    let license = folder.write("license", format!("{LICENSE}@127.0.0.1:{}", port()));
    let mut client = mortal(nt());
    client.arg("-c").arg(format!("@{}", license.display())).arg(format!("{}:9", port()));
    tells_its_life(&Manager::abstract_one(), &mut client);
}

#[test]
fn the_ports_are_open_when_a_server_says_that_it_is_ready() {
    let (folder, names) = (Folder::new(), port());
    let manager = Manager::at_path(&folder);
    let _server = manager.start(server(&folder).arg("--http").arg(format!("127.0.0.1:{names}")));
    manager.hears("READY=1");
    assert!(TcpStream::connect(("127.0.0.1", names)).is_ok());
}

#[test]
fn a_server_that_cannot_listen_is_never_ready() {
    let folder = Folder::new();
    let manager = Manager::at_path(&folder);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server =
        manager.start(server(&folder).arg("--http").arg(taken.local_addr().unwrap().to_string()));
    assert_eq!(server.wait(SOON).code(), Some(1));
    let told = manager.rest();
    assert!(!told.iter().any(|told| told.starts_with("READY")), "{told:?}");
}

#[test]
fn a_manager_that_is_told_how_it_goes_learns_no_secret() {
    let folder = Folder::new();
    let manager = Manager::at_path(&folder);
    let license = folder.write("license", format!("{LICENSE}@127.0.0.1:{}", port()));
    let mut command = mortal(nt());
    let _client = manager.start(command.arg("-c").arg(format!("@{}", license.display())));
    let before = manager.hears("STATUS=");
    assert!(before.iter().all(|told| !told.contains(&LICENSE[3..])), "{before:?}");
}

// ── Listeners that are handed over ──────────────────────────────────────────────────────────────────────────────────

/// A server that is started as a service manager does it: with this listener as its third file, for its own process.
fn handed(folder: &Folder, socket: &impl AsFd, port: u16) -> Process {
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::empty()).unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket.as_fd());
    let mut command = mortal("sh");
    let words = format!("exec 3<&{fd}; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"");
    command.arg("-c").arg(words).arg(nt()).args(["-s", "--listen", &format!("127.0.0.1:{port}")]);
    command.arg("--state").arg(folder.join("state"));
    let process = Process::start(&mut command);
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC).unwrap();
    process
}

#[test]
fn clients_come_to_a_listener_that_was_there_before() {
    let folder = Folder::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    // Who comes before the server runs waits for it.
    let mut early = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let mut server = handed(&folder, &listener, port);
    server.wait_for(&format!("clients are served on 127.0.0.1:{port} (TLS)"), SOON);
    early.set_read_timeout(Some(SOON)).unwrap();
    early.write_all(b"no TLS at all").unwrap();
    let answer = early.read(&mut [0; 64]).map_err(|error| error.kind());
    assert_ne!(answer, Err(ErrorKind::WouldBlock), "somebody answers, by an alert, the end or a reset");
    let line = server.wait_for("nt -c nt1", SOON);
    let license = line.split("nt -c ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let mut command = mortal(nt());
    let client = Process::start(command.arg("-c").arg(license).arg("0:9"));
    client.wait_for("logged in", SOON);
    // It is started again: nobody is refused meanwhile.
    server.kill();
    let waits = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    assert!(waits.is_ok(), "the manager's listener is there all the time");
    let again = handed(&folder, &listener, port);
    again.wait_for("logged in", SOON);
}

#[test]
fn what_nobody_can_listen_at_is_said() {
    let folder = Folder::new();
    let wrong = UnixDatagram::unbound().unwrap();
    let server = handed(&folder, &wrong, port());
    server.wait_for(
        "has handed over file 3, at which nt cannot listen: it is no listening stream socket",
        SOON,
    );
}
