//! Links that lose everything, without a word: the client has a network namespace of its own.
//!
//! ```text
//!            this namespace                              the client's namespace
//!   visitor ── nt -s ── 10.N.N.1 ═══ tunnel ═══ 10.N.N.2 ── nt -c
//!   real server ─────── 10.N.N.5 ─── always up ─ 10.N.N.6 ───┘
//! ```
//! A direction of the tunnel's link is cut by a wrong hardware address in its sender's neighbour table: frames leave, and
//! nobody takes them. Neither end is told anything, as on the internet.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::data::Pattern;
use super::harness::{Backend, Folder, Kind, SOON, Server, nt, port, visit};
use super::process::{Process, eventually, mortal, need, need_root, say};
use super::rest::{keeps_secrets, rests};

/// Two links to a namespace.
struct Link {
    namespace: String,
    net: (u8, u8),
}

/// Cuts of a link.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Both,
    /// What the client sends is lost.
    Up,
    /// What the server sends is lost.
    Down,
}

fn ip(words: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(words.split_whitespace()).stdin(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

impl Link {
    /// `None`, and a line that says so, where that cannot be had.
    fn new() -> Option<Self> {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        if !need(&["ip"]) || !need_root() {
            return None;
        }
        let net = ((std::process::id() % 200) as u8 + 20, NEXT.fetch_add(1, Ordering::Relaxed));
        let link = Self { namespace: format!("nt-e2e-{}-{}", std::process::id(), net.1), net };
        let name = &link.namespace;
        let (tunnel, steady) = (link.device("t"), link.device("s"));
        let made = ip(&format!("netns add {name}"))
            && ip(&format!("-n {name} link set lo up"))
            && [(&tunnel, 1), (&steady, 5)].into_iter().all(|(device, host)| {
                ip(&format!("link add {device} type veth peer name {device} netns {name}"))
                    && ip(&format!("addr add {}/30 dev {device}", link.address(host)))
                    && ip(&format!("-n {name} addr add {}/30 dev {device}", link.address(host + 1)))
                    && ip(&format!("link set {device} up"))
                    && ip(&format!("-n {name} link set {device} up"))
            });
        if !made {
            say("skipped: no network namespace with a veth link can be made here");
        }
        made.then_some(link)
    }

    fn device(&self, role: &str) -> String {
        format!("nt{role}{}-{}", self.net.0, self.net.1)
    }

    fn address(&self, host: u8) -> IpAddr {
        Ipv4Addr::new(10, self.net.0, self.net.1, host).into()
    }

    fn cut(&self, cut: Cut) {
        let device = self.device("t");
        let nobody = "lladdr 02:00:00:00:00:01 nud permanent";
        if cut != Cut::Up {
            assert!(ip(&format!("neigh replace {} {nobody} dev {device}", self.address(2))));
        }
        if cut != Cut::Down {
            let name = &self.namespace;
            assert!(ip(&format!("-n {name} neigh replace {} {nobody} dev {device}", self.address(1))));
        }
    }

    fn heal(&self) {
        let device = self.device("t");
        let _ = ip(&format!("neigh del {} dev {device}", self.address(2)));
        let _ = ip(&format!("-n {} neigh del {} dev {device}", self.namespace, self.address(1)));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = ip(&format!("link del {}", self.device("t")));
        let _ = ip(&format!("link del {}", self.device("s")));
        let _ = ip(&format!("netns del {}", self.namespace));
    }
}

/// A server here, and a client behind the link.
struct Far {
    server: Server,
    client: Process,
    public: u16,
    echo: u16,
    kind: Kind,
    mappings: [String; 2],
    _echo: Backend,
    link: Link,
}

impl Far {
    fn new(kind: Kind, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Option<(Self, Backend)> {
        let link = Link::new()?;
        let here = |host| SocketAddr::new(link.address(host), 0);
        let echo = Backend::echo_at(here(5));
        let backend = Backend::at(here(5), serve);
        let (public, echo_public) = (port(), port());
        let server = Server::start_at(&link.address(1).to_string());
        let mappings = [(public, backend.port), (echo_public, echo.port)]
            .map(|(public, port)| format!("{public}:{}:{port}", link.address(5)));
        let client = Self::client(&link, &server, kind, &mappings);
        let far = Self { server, client, public, echo: echo_public, kind, mappings, _echo: echo, link };
        far.client.wait_for(&format!("{public} -> "), SOON);
        eventually("served", SOON, || far.try_echo(SOON));
        Some((far, backend))
    }

    fn client(link: &Link, server: &Server, kind: Kind, mappings: &[String]) -> Process {
        let host = link.address(1);
        let file = server.folder.write("far", format!("{}@{host}:{}\n", server.license, server.port(kind)));
        let mut command = mortal("ip");
        command.args(["netns", "exec", &link.namespace]).arg(nt());
        command.arg("-c").arg(format!("@{}", file.display())).args(mappings);
        if kind == Kind::Plain {
            command.arg("--plain");
        }
        Process::start(&mut command)
    }

    fn try_echo(&self, timeout: Duration) -> bool {
        let Ok(mut visitor) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.echo)) else { return false };
        visitor.set_read_timeout(Some(timeout)).unwrap();
        let mut answer = [0; 2];
        visitor.write_all(b"??").is_ok() && visitor.read_exact(&mut answer).is_ok() && answer == *b"??"
    }

    fn at_rest(&self) {
        eventually("a fresh visitor is served", SOON, || self.try_echo(SOON));
        rests(&[&self.server.process, &self.client]);
        keeps_secrets(&self.server.process, &[&self.server.license]);
        keeps_secrets(&self.client, &[&self.server.license]);
    }
}

/// 100 KiB ten times a second for 20 s, from a real server that then ends.
fn trickle(stream: &TcpStream) {
    let mut pattern = Pattern::new(21);
    for _ in 0..200 {
        if pattern.write(stream, 100 * 1024).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    let _ = stream.shutdown(Shutdown::Write);
    let _ = (&mut &*stream).read(&mut [0]);
}

fn for_both(test: impl Fn(Kind) + Send + Sync) {
    super::faults::for_both_at_once(test);
}

pub fn a_partition_of_8_s_heals_and_no_byte_is_lost() {
    for_both(|kind| {
        let Some((far, _backend)) = Far::new(kind, |stream| trickle(&stream)) else { return };
        let visitor = visit(far.public);
        let read = thread::spawn(move || Pattern::new(21).read(&visitor));
        thread::sleep(Duration::from_secs(3));
        far.link.cut(Cut::Both);
        thread::sleep(Duration::from_secs(8));
        far.link.heal();
        assert_eq!(read.join().unwrap(), (200 * 100 * 1024, Ok(())), "{kind:?}");
        for (process, told) in [(&far.client, "trying again"), (&far.server.process, "control connection")] {
            assert_eq!(process.log().count(told), 0, "{kind:?}: 8 s are taken for an end");
        }
        far.at_rest();
    });
}

/// The peer is dead after 30 s without a word; the last one may have come up to 10 s before the cut.
const FOUND: std::ops::Range<Duration> = Duration::from_secs(18)..Duration::from_secs(34);

/// A silent visit: when its visitor and its real server are cut.
struct Held {
    visitor: mpsc::Receiver<(Instant, ErrorKind)>,
    server: mpsc::Receiver<(Instant, ErrorKind)>,
}

fn hold(kind: Kind) -> Option<(Far, Backend, Held)> {
    fn end(mut stream: impl Read) -> (Instant, ErrorKind) {
        let result = stream.read(&mut [0]);
        (Instant::now(), result.map_or_else(|error| error.kind(), |_| ErrorKind::UnexpectedEof))
    }
    let (ended, server) = mpsc::channel();
    let (far, backend) = Far::new(kind, move |mut stream| {
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(b"!").unwrap();
        let _ = ended.send(end(stream));
    })?;
    let (ended, visitor) = mpsc::channel();
    let mut stream = visit(far.public);
    stream.write_all(b"?").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    thread::spawn(move || ended.send(end(stream)));
    Some((far, backend, Held { visitor, server }))
}

fn is_cut_in_time(what: &str, ends: &mpsc::Receiver<(Instant, ErrorKind)>, begun: Instant) {
    let (at, how) = ends.recv_timeout(FOUND.end.saturating_sub(begun.elapsed())).expect(what);
    assert_eq!(how, ErrorKind::ConnectionReset, "{what}");
    assert!(FOUND.contains(&(at - begun)), "{what} after {:?}", at - begun);
}

pub fn a_partition_of_40_s_is_found_by_both_ends_and_healed() {
    for_both(|kind| {
        let Some((far, _backend, held)) = hold(kind) else { return };
        let begun = Instant::now();
        far.link.cut(Cut::Both);
        is_cut_in_time("the visitor is cut", &held.visitor, begun);
        is_cut_in_time("the real server is cut", &held.server, begun);
        thread::sleep(Duration::from_secs(40).saturating_sub(begun.elapsed()));
        far.link.heal();
        let healed = Instant::now();
        eventually("served again", Duration::from_secs(30), || far.try_echo(Duration::from_secs(2)));
        // The longest pause between two attempts, and a little for the attempt.
        assert!(healed.elapsed() < Duration::from_secs(25), "{kind:?}: back after {:?}", healed.elapsed());
        far.at_rest();
    });
}

pub fn a_one_way_partition_is_found_by_the_end_that_hears_nothing() {
    for_both(|kind| {
        let cut = if kind == Kind::Tls { Cut::Up } else { Cut::Down };
        let Some((far, _backend, held)) = hold(kind) else { return };
        let begun = Instant::now();
        far.link.cut(cut);
        is_cut_in_time("the visitor is cut", &held.visitor, begun);
        is_cut_in_time("the real server is cut", &held.server, begun);
        thread::sleep(Duration::from_secs(40).saturating_sub(begun.elapsed()));
        far.link.heal();
        eventually("served again", Duration::from_secs(30), || far.try_echo(Duration::from_secs(2)));
        far.at_rest();
    });
}

/// The client's machine is switched off and another takes its place: the server cannot know that the first is gone.
pub fn a_vanished_client_is_found_dead_and_replaced() {
    for_both(|kind| {
        let Some((mut far, _backend, held)) = hold(kind) else { return };
        far.link.cut(Cut::Both);
        far.client.kill();
        thread::sleep(Duration::from_secs(2));
        far.link.heal();
        // The dead client's kernel would reset what the server sends; from now on it cannot be heard.
        let begun = Instant::now();
        far.client = Far::client(&far.link, &far.server, kind, &far.mappings);
        far.client.wait_for(" ready", Duration::from_secs(6));
        eventually("served", Duration::from_secs(6), || far.try_echo(SOON));
        assert!(
            begun.elapsed() < Duration::from_secs(6),
            "{:?}: taken over after {:?}",
            far.kind,
            begun.elapsed()
        );
        let (_, how) = held.visitor.recv_timeout(SOON).expect("the old visit is cut");
        assert_eq!(how, ErrorKind::ConnectionReset);
        for process in [&far.server.process, &far.client] {
            assert_eq!(process.log().count("in use"), 0);
        }
        far.at_rest();
    });
}

pub fn a_real_server_that_is_a_black_hole_is_given_up_after_10_s() {
    let Some((far, _backend)) = Far::new(Kind::Tls, drop) else { return };
    // An address of the steady link behind which nobody takes frames.
    let device = far.link.device("s");
    let (name, nobody) = (&far.link.namespace, far.link.address(9));
    assert!(ip(&format!("-n {name} route add {nobody}/32 dev {device}")));
    assert!(ip(&format!(
        "-n {name} neigh replace {nobody} lladdr 02:00:00:00:00:01 nud permanent dev {device}"
    )));
    let (public, folder) = (port(), Folder::new());
    let license = far.server.license(&["add", "hole"]);
    let file = folder.write("l", format!("{license}@{}:{}", far.link.address(1), far.server.tls));
    let mut command = mortal("ip");
    command.args(["netns", "exec", name]).arg(nt()).arg("-c").arg(format!("@{}", file.display()));
    let client = Process::start(command.arg(format!("{public}:{nobody}:80")));
    client.wait_for(" ready", SOON);
    let begun = Instant::now();
    let end = visit(public).read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    let took = begun.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(14)).contains(&took), "{took:?}");
}
