//! Bad links: the client has a network namespace of its own, and the link to it is a [`Wire`].
//!
//! ```text
//!            this namespace                              the client's namespace
//!   visitor ── nt -s ── 10.N.N.1 ═══ the wire ═══ 10.N.N.2 ── nt -c
//!   real server ─────── 10.N.N.5 ─── always up ─── 10.N.N.6 ───┘
//! ```
//! What is lost is lost without a word: neither end is told anything, as on the internet.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::data::Pattern;
use super::harness::{Backend, Kind, SOON, Server, nt, port, visit};
use super::process::{eventually, mortal, need, need_root, say};
use super::rest::{Nt, end};
use super::wan::{Amnesia, Conditions, Wire, ip, plug};

/// A namespace, and two links to it.
pub struct Link {
    namespace: String,
    net: (u8, u8),
    wire: Option<Wire>,
}

impl Link {
    /// `None`, and a line that says so, where that cannot be had.
    pub fn new(conditions: Conditions) -> Option<Self> {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        if !need(&["ip"]) || !need_root() {
            return None;
        }
        let net = ((std::process::id() % 200) as u8 + 20, NEXT.fetch_add(1, Ordering::Relaxed));
        let namespace = format!("nt-e2e-{}-{}", std::process::id(), net.1);
        let mut link = Self { namespace, net, wire: None };
        link.wire = link.make(conditions);
        if link.wire.is_none() {
            say("skipped: no network namespace with a veth link can be made here");
        }
        link.wire.is_some().then_some(link)
    }

    fn make(&self, conditions: Conditions) -> Option<Wire> {
        let name = &self.namespace;
        let (tunnel, steady) = (self.device("t"), self.device("s"));
        let taps = [self.device("a"), self.device("b")];
        let made = ip(&format!("netns add {name}"))
            && ip(&format!("-n {name} link set lo up"))
            && plug(None, &tunnel, &format!("{}/30", self.address(1)), &taps[0])
            && plug(Some(name), &tunnel, &format!("{}/30", self.address(2)), &taps[1])
            && ip(&format!("link add {steady} type veth peer name {steady} netns {name}"))
            && ip(&format!("addr add {}/30 dev {steady}", self.address(5)))
            && ip(&format!("-n {name} addr add {}/30 dev {steady}", self.address(6)))
            && ip(&format!("link set {steady} up"))
            && ip(&format!("-n {name} link set {steady} up"));
        // A host knows what its own device takes.
        let mtu = conditions.packet_bytes_max.min(1500);
        let made = made && ip(&format!("-n {name} link set {tunnel} mtu {mtu}"));
        let wire = || Wire::between(taps.each_ref().map(String::as_str), conditions, u64::from(self.net.1));
        made.then(wire)?.ok()
    }

    fn device(&self, role: &str) -> String {
        format!("nt{role}{}-{}", self.net.0, self.net.1)
    }

    pub fn address(&self, host: u8) -> IpAddr {
        Ipv4Addr::new(10, self.net.0, self.net.1, host).into()
    }

    /// A command whose program runs in the client's namespace.
    pub fn inside(&self) -> Command {
        let mut command = mortal("ip");
        command.args(["netns", "exec", &self.namespace]);
        command
    }

    /// What the link is from now on.
    pub fn change(&self, change: impl FnOnce(&mut Conditions)) {
        self.wire.as_ref().unwrap().change(change);
    }

    fn cut(&self) {
        self.change(|now| (now.a_to_b_cut, now.b_to_a_cut) = (true, true));
    }

    pub fn heal(&self) {
        self.change(|now| *now = Conditions::default());
    }

    /// The NAT between client and server forgets every connection of now.
    pub fn forget(&self, amnesia: Amnesia) {
        self.wire.as_ref().unwrap().forget(amnesia);
    }

    /// Frames that were lost so far.
    pub fn lost(&self) -> u64 {
        self.wire.as_ref().unwrap().lost()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.wire = None;
        for role in ["a", "b", "s"] {
            let _ = ip(&format!("link del {}", self.device(role)));
        }
        let _ = ip(&format!("netns del {}", self.namespace));
    }
}

/// A server here, and a client behind the link.
pub struct Far {
    pub client: Nt,
    pub server: Server,
    pub public: u16,
    echo: u16,
    kind: Kind,
    mappings: [String; 2],
    _echo: Backend,
    pub link: Link,
}

impl Far {
    pub fn new(kind: Kind, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Option<(Self, Backend)> {
        Self::with(kind, Conditions::default(), serve)
    }

    pub fn with(
        kind: Kind,
        conditions: Conditions,
        serve: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> Option<(Self, Backend)> {
        let link = Link::new(conditions)?;
        let here = |host| SocketAddr::new(link.address(host), 0);
        let echo = Backend::echo_at(here(5));
        let backend = Backend::at(here(5), serve);
        let (public, echo_public) = (port(), port());
        let server = Server::start_at(&link.address(1).to_string());
        let mappings = [(public, backend.port), (echo_public, echo.port)]
            .map(|(public, port)| format!("{public}:{}:{port}", link.address(5)));
        let client = Self::client(&link, &server, kind, &server.license, &mappings);
        let far = Self { server, client, public, echo: echo_public, kind, mappings, _echo: echo, link };
        far.client.wait_for(&format!("{public} -> "), SOON);
        eventually("served", SOON, || far.try_echo(SOON));
        Some((far, backend))
    }

    fn client(link: &Link, server: &Server, kind: Kind, license: &str, mappings: &[String]) -> Nt {
        let (host, port) = (link.address(1), server.port(kind));
        let file = server.folder.write(&license[3..11], format!("{license}@{host}:{port}\n"));
        let mut command = link.inside();
        command.arg(nt()).arg("-c").arg(format!("@{}", file.display())).args(mappings);
        if kind == Kind::Plain {
            command.arg("--plain");
        }
        Nt::start(&mut command, &[port])
    }

    pub fn try_echo(&self, timeout: Duration) -> bool {
        let Ok(mut visitor) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.echo)) else { return false };
        visitor.set_read_timeout(Some(timeout)).unwrap();
        let mut answer = [0; 2];
        visitor.write_all(b"??").is_ok() && visitor.read_exact(&mut answer).is_ok() && answer == *b"??"
    }

    /// No end took the bad link for a dead one.
    pub fn never_lost_its_session(&self) {
        for (process, told) in [(&self.client, "trying again"), (&self.server.process, "control connection")]
        {
            assert_eq!(process.log().count(told), 0, "{:?}", process.log().lines());
        }
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        if !thread::panicking() {
            eventually("a fresh visitor is served", SOON, || self.try_echo(SOON));
            end([&mut self.client, &mut self.server.process]);
        }
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

pub fn partitions_of_1_and_10_s_heal_and_no_byte_is_lost() {
    for_both(|kind| {
        let Some((far, _backend)) = Far::new(kind, |stream| trickle(&stream)) else { return };
        let visitor = visit(far.public);
        let read = thread::spawn(move || Pattern::new(21).read(&visitor));
        for seconds in [1, 10] {
            thread::sleep(Duration::from_secs(3));
            far.link.cut();
            thread::sleep(Duration::from_secs(seconds));
            far.link.heal();
        }
        assert_eq!(read.join().unwrap(), (200 * 100 * 1024, Ok(())), "{kind:?}");
        far.never_lost_its_session();
    });
}

/// The peer is dead after 30 s without a word; the last one may have come up to 10 s before the cut.
pub const FOUND: std::ops::Range<Duration> = Duration::from_secs(18)..Duration::from_secs(34);

/// A silent visit: when its visitor and its real server are cut.
pub struct Held {
    pub visitor: mpsc::Receiver<(Instant, ErrorKind)>,
    pub server: mpsc::Receiver<(Instant, ErrorKind)>,
}

pub fn hold(kind: Kind) -> Option<(Far, Backend, Held)> {
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
        far.link.cut();
        is_cut_in_time("the visitor is cut", &held.visitor, begun);
        is_cut_in_time("the real server is cut", &held.server, begun);
        far.server.process.wait_for("logged out", SOON);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, far.public)).is_err(), "{kind:?}: its port is open");
        thread::sleep(Duration::from_secs(40).saturating_sub(begun.elapsed()));
        far.link.heal();
        let healed = Instant::now();
        eventually("served again", Duration::from_secs(30), || far.try_echo(Duration::from_secs(2)));
        // The longest pause between two attempts, and a little for the attempt.
        assert!(healed.elapsed() < Duration::from_secs(25), "{kind:?}: back after {:?}", healed.elapsed());
    });
}

pub fn a_one_way_partition_is_found_by_the_end_that_hears_nothing() {
    fn is_found(kind: Kind, cut: fn(&mut Conditions)) {
        let Some((far, _backend, held)) = hold(kind) else { return };
        let begun = Instant::now();
        far.link.change(cut);
        is_cut_in_time("the visitor is cut", &held.visitor, begun);
        is_cut_in_time("the real server is cut", &held.server, begun);
        thread::sleep(Duration::from_secs(40).saturating_sub(begun.elapsed()));
        far.link.heal();
        eventually("served again", Duration::from_secs(30), || far.try_echo(Duration::from_secs(2)));
    }
    // Both directions of the link, over TLS and plainly: all four at once.
    for_both(|kind| {
        thread::scope(|scope| {
            let up = scope.spawn(move || is_found(kind, |now| now.b_to_a_cut = true));
            is_found(kind, |now| now.a_to_b_cut = true);
            up.join().unwrap();
        });
    });
}

/// The client's machine is switched off and another takes its place: the server cannot know that the first is gone.
pub fn a_vanished_client_is_found_dead_and_replaced() {
    for_both(|kind| {
        let Some((mut far, _backend, held)) = hold(kind) else { return };
        far.link.cut();
        far.client.kill();
        thread::sleep(Duration::from_secs(2));
        far.link.heal();
        // The dead client's kernel would reset what the server sends; from now on it cannot be heard.
        let begun = Instant::now();
        far.client = Far::client(&far.link, &far.server, kind, &far.server.license, &far.mappings);
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
    let public = port();
    let license = far.server.license(&["add", "hole"]);
    let mapping = [format!("{public}:{nobody}:80")];
    let client = Far::client(&far.link, &far.server, Kind::Tls, &license, &mapping);
    client.wait_for(" ready", SOON);
    let begun = Instant::now();
    let end = visit(public).read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    let took = begun.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(14)).contains(&took), "{took:?}");
}
