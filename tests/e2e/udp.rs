//! Datagrams: whole or not at all, to the right one, with real programs and real servers.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::harness::{BOTH, Backend, Folder, Kind, SOON, Server, echoes, port};
use super::process::{Process, eventually, mortal, need};
use super::rest::Nt;
use rustix::process::Signal;

/// A service that answers each datagram, and remembers who asked.
struct Answers {
    port: u16,
    sources: Arc<Mutex<BTreeSet<SocketAddr>>>,
    heard: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Answers {
    /// Sends back what comes.
    fn echo() -> Self {
        Self::new(|socket, datagram, source| _ = socket.send_to(datagram, source))
    }

    fn new(answer: impl Fn(&UdpSocket, &[u8], SocketAddr) + Send + 'static) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let (sources, heard, over) = Default::default();
        let answers = Self { port, sources, heard, over };
        let (sources, heard, over) = (answers.sources.clone(), answers.heard.clone(), answers.over.clone());
        thread::spawn(move || {
            let mut datagram = vec![0; 1 << 16];
            while !over.load(Ordering::Relaxed) {
                let Ok((length, source)) = socket.recv_from(&mut datagram) else { continue };
                sources.lock().unwrap().insert(source);
                heard.fetch_add(1, Ordering::Relaxed);
                answer(&socket, &datagram[..length], source);
            }
        });
        answers
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|socket| socket.send_to(b"over", (Ipv4Addr::LOCALHOST, self.port)));
    }
}

fn publish(server: &Server, kind: Kind, target: u16) -> (Nt, u16) {
    let public = port();
    let client = server.client(kind, &[format!("{public}:127.0.0.1:{target}/udp")]);
    client.wait_for(&format!("{public}/udp -> 127.0.0.1:{target} ready"), SOON);
    (client, public)
}

/// A client that is asked to stop ends its flows, which else would be there for a while.
pub fn stop(mut client: Nt) {
    client.signal(Signal::TERM);
    assert_eq!(client.wait(SOON).code(), Some(0), "asked to stop");
}

/// A visitor of a public port of this machine.
fn visitor(to: impl Into<SocketAddr>) -> UdpSocket {
    visitor_at((Ipv4Addr::UNSPECIFIED, 0), to)
}

fn visitor_at(from: impl Into<SocketAddr>, to: impl Into<SocketAddr>) -> UdpSocket {
    let to = to.into();
    let from = if to.is_ipv6() { (Ipv6Addr::UNSPECIFIED, 0).into() } else { from.into() };
    let socket = UdpSocket::bind(from).unwrap();
    // Only what comes from the very address that was written to is heard.
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket
}

/// What is answered; asked again where it, or the answer, was lost.
fn ask(visitor: &UdpSocket, datagram: &[u8]) -> Vec<u8> {
    let mut answer = vec![0; 1 << 16];
    for _ in 0..10 {
        visitor.send(datagram).unwrap();
        match visitor.recv(&mut answer) {
            Ok(length) => return answer[..length].to_vec(),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused))
            }
        }
    }
    panic!("{} bytes are not answered", datagram.len())
}

fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 + seed * 7 + n / 251) as u8).collect()
}

#[test]
fn datagrams_of_every_size_pass_whole() {
    for kind in BOTH {
        let (server, backend) = (Server::start(), Answers::echo());
        let (client, public) = publish(&server, kind, backend.port);
        let mut all =
            vec![visitor((Ipv4Addr::LOCALHOST, public)), visitor((Ipv4Addr::new(127, 0, 0, 5), public))];
        if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            all.push(visitor((Ipv6Addr::LOCALHOST, public)));
        }
        for (seed, visitor) in all.iter().enumerate() {
            for length in [0, 1, 1_472, 2_044, 2_045, 2_048, 2_049, 9_000, 16_380, 20_000, 65_507] {
                let datagram = pattern(length, seed);
                assert_eq!(ask(visitor, &datagram), datagram, "{kind:?}: {length} bytes");
            }
        }
        // The first datagram of somebody may be the largest there is.
        let datagram = pattern(65_507, 9);
        assert_eq!(ask(&visitor((Ipv4Addr::LOCALHOST, public)), &datagram), datagram);
        assert_eq!(backend.sources.lock().unwrap().len(), all.len() + 1, "each has a source port of its own");
        stop(client);
    }
}

#[test]
fn one_port_carries_both() {
    let (server, datagrams, stream) = (Server::start(), Answers::echo(), Backend::echo());
    let public = port();
    let mappings =
        [format!("{public}:127.0.0.1:{}/udp", datagrams.port), format!("{public}:127.0.0.1:{}", stream.port)];
    let client = server.client(Kind::Tls, &mappings);
    client.wait_for(&format!("-> 127.0.0.1:{} ready", datagrams.port), SOON);
    client.wait_for(&format!("-> 127.0.0.1:{} ready", stream.port), SOON);
    assert_eq!(ask(&visitor((Ipv4Addr::LOCALHOST, public)), b"both"), b"both");
    assert!(echoes(public));
    server.process.wait_for(&format!("{public}/udp -> 127.0.0.1:{} ready", datagrams.port), SOON);
    // Who else wants the port is told who has it; TCP of another license does not stand in the way of UDP.
    let other = server.license(&["add", "other"]);
    let late = server.client_with(Kind::Tls, &other, &mappings[..1], |_| {});
    late.wait_for("another license has this port", SOON);
    drop(late);
    stop(client);
}

/// As WireGuard would: each of a thousand peers sends and hears on its own, for a while.
#[test]
fn a_thousand_flows_are_kept_apart() {
    for kind in BOTH {
        let (server, backend) = (Server::start(), Answers::echo());
        let (client, public) = publish(&server, kind, backend.port);
        let all: Vec<UdpSocket> = (0..1_000).map(|_| visitor((Ipv4Addr::LOCALHOST, public))).collect();
        let (mut answer, mut answered) = (vec![0; 2_000], BTreeSet::new());
        for round in 0..4 {
            for (n, visitor) in all.iter().enumerate() {
                visitor.send(&pattern(148, n)).unwrap();
                // They are not all heard in one moment, by anybody.
                if n % 50 == 49 {
                    thread::sleep(Duration::from_millis(20));
                }
            }
            thread::sleep(Duration::from_millis(500));
            for (n, visitor) in all.iter().enumerate() {
                visitor.set_nonblocking(true).unwrap();
                while let Ok(length) = visitor.recv(&mut answer) {
                    assert_eq!(answer[..length], pattern(148, n), "{kind:?}: round {round}, visitor {n}");
                    answered.insert(n);
                }
            }
        }
        assert_eq!(answered.len(), 1_000, "{kind:?}: some are never answered");
        assert_eq!(backend.sources.lock().unwrap().len(), 1_000, "each is one source, from first to last");
        stop(client);
    }
}

/// Each of 100,000 addresses sends once and is not heard of again. A visitor who was there before is served all the time.
#[test]
fn a_hundred_thousand_sources_leave_room_for_who_stays() {
    let (server, backend, stream) = (Server::start(), Answers::echo(), Backend::echo());
    let (public, tcp) = (port(), port());
    let mappings =
        [format!("{public}:127.0.0.1:{}/udp", backend.port), format!("{tcp}:127.0.0.1:{}", stream.port)];
    let client = server.client(Kind::Tls, &mappings);
    client.wait_for(&format!("-> 127.0.0.1:{} ready", backend.port), SOON);
    let stays = visitor((Ipv4Addr::LOCALHOST, public));
    assert_eq!(ask(&stays, b"first"), b"first");
    for n in 0..100_000_u32 {
        let [_, a, b, c] = (0x7F10_0000 + n).to_be_bytes();
        let source = UdpSocket::bind((Ipv4Addr::new(127, a, b, c), 0)).unwrap();
        source.send_to(b"once", (Ipv4Addr::LOCALHOST, public)).unwrap();
        if n % 10_000 == 0 {
            assert_eq!(ask(&stays, &n.to_be_bytes()), n.to_be_bytes(), "after {n} others");
            assert!(echoes(tcp), "after {n} others");
        }
    }
    assert_eq!(ask(&stays, b"last"), b"last");
    assert!(backend.heard.load(Ordering::Relaxed) > 1_000, "next to nobody was served");
    stop(client);
}

#[test]
fn a_dead_real_server_ends_nothing() {
    let server = Server::start();
    // Not one that the kernel gives to somebody else while nobody is there.
    let target = port();
    let (client, public) = publish(&server, Kind::Tls, target);
    let early = visitor((Ipv4Addr::LOCALHOST, public));
    for _ in 0..20 {
        early.send(b"Is anybody there?").unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    assert!(early.recv(&mut [0; 100]).is_err(), "nobody answers, and nobody says so");
    // It comes to life: the same visitor is served, over the same flow.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, target)).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let ended = over.clone();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let serving = thread::spawn(move || {
        let mut datagram = [0; 100];
        while !ended.load(Ordering::Relaxed) {
            if let Ok((length, source)) = socket.recv_from(&mut datagram) {
                let _ = socket.send_to(&datagram[..length], source);
            }
        }
    });
    assert_eq!(ask(&early, b"alive"), b"alive");
    over.store(true, Ordering::Relaxed);
    serving.join().unwrap();
    assert_eq!(client.log().count("logged in"), 1);
    stop(client);
}

/// Nothing is left of a flow that was quiet for a minute, at either end; nor of one that was never answered, after 5 s.
#[test]
fn a_quiet_flow_is_over() {
    let (server, backend) = (
        Server::start(),
        Answers::new(|socket, datagram, source| {
            if datagram == b"answer" {
                let _ = socket.send_to(datagram, source);
            }
        }),
    );
    let (mut client, public) = publish(&server, Kind::Tls, backend.port);
    let others = client.files().others;
    let flows = |client: &Nt| {
        let files = client.files();
        // The list of sockets is not made in one moment: one that it lacks is among the others.
        files.visits + files.others - others
    };
    let [known, unanswered] = [(); 2].map(|()| visitor((Ipv4Addr::LOCALHOST, public)));
    assert_eq!(ask(&known, b"answer"), b"answer");
    unanswered.send(b"nothing").unwrap();
    eventually("both are flows", SOON, || flows(&client) == 2);
    eventually("who is not answered is forgotten", SOON, || flows(&client) == 1);
    assert_eq!(ask(&known, b"answer"), b"answer");
    assert_eq!(backend.sources.lock().unwrap().len(), 2, "the other one is the same to the real server");
    eventually("a minute is enough", Duration::from_secs(90), || flows(&client) == 0);
    server.process.wait_for(": 2 from there, 2 to there, 0 dropped", SOON);
    client.signal(Signal::TERM);
    assert_eq!(client.wait(SOON).code(), Some(0));
}

/// An answer may be several, late, or unasked.
#[test]
fn any_number_of_answers_finds_the_visitor() {
    let (server, backend) = (
        Server::start(),
        Answers::new(|socket, datagram, source| {
            for n in 0..datagram[0] {
                let _ = socket.send_to(&[n], source);
            }
        }),
    );
    let (client, public) = publish(&server, Kind::Plain, backend.port);
    let [many, one] = [(); 2].map(|()| visitor((Ipv4Addr::LOCALHOST, public)));
    let mut answer = [0; 10];
    assert_eq!(ask(&one, &[1]), [0]);
    many.send(&[200]).unwrap();
    let heard: Vec<u8> = (0..200).map(|_| many.recv(&mut answer).map(|_| answer[0]).unwrap()).collect();
    assert_eq!(heard, (0..200).collect::<Vec<u8>>());
    one.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(one.recv(&mut answer).is_err(), "an answer of somebody else");
    stop(client);
}

/// The first datagram of a visitor is told apart by its header (haproxy's proxy-protocol.txt, section 2.2), be it small or
/// as large as leaves room for one; what follows has none.
#[test]
fn a_real_server_is_told_who_sends() {
    for kind in BOTH {
        let (server, backend) = (Server::start(), Answers::echo());
        let public = port();
        let client = server.client(kind, &[format!("{public}:127.0.0.1:{}/udp,proxy=v2", backend.port)]);
        client.wait_for(" ready", SOON);
        for (length, to) in
            [(5, Ipv4Addr::LOCALHOST), (15_000, Ipv4Addr::new(127, 0, 0, 3)), (60_000, Ipv4Addr::LOCALHOST)]
        {
            let visitor = visitor((to, public));
            let own = visitor.local_addr().unwrap().port();
            let SocketAddr::V4(from) = visitor.local_addr().unwrap() else { panic!("an IPv4 visitor") };
            let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0C".to_vec();
            header.extend(from.ip().octets());
            header.extend(to.octets());
            header.extend(own.to_be_bytes());
            header.extend(public.to_be_bytes());
            let datagram = pattern(length, 1);
            assert_eq!(ask(&visitor, &datagram), [&header[..], &datagram].concat(), "{kind:?}: {length}");
            assert_eq!(ask(&visitor, &datagram), datagram);
        }
        stop(client);
    }
}

#[test]
fn dig_asks_a_dns_server() {
    if !need(&["dnsmasq", "dig"]) {
        return;
    }
    for kind in BOTH {
        let (folder, target, server) = (Folder::new(), port(), Server::start());
        let mut dnsmasq = mortal("dnsmasq");
        dnsmasq.args([
            "--keep-in-foreground",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
            "--pid-file=",
        ]);
        dnsmasq.args([
            "--listen-address=127.0.0.1",
            "--user=root",
            "--address=/nas.test/192.0.2.7",
            "--edns-packet-max=4096",
        ]);
        dnsmasq.arg(format!("--conf-file={}", folder.write("empty", "").display()));
        let long = "x".repeat(250);
        (0..12).for_each(|n| _ = dnsmasq.arg(format!("--txt-record=long.test,{n}{long}")));
        let _dnsmasq = Process::start(dnsmasq.arg(format!("--port={target}")));
        let public = port();
        let mappings = ["", "/udp"].map(|kind| format!("{public}:127.0.0.1:{target}{kind}"));
        let client = server.client(kind, &mappings);
        client.wait_for("udp -> ", SOON);
        let dig = |words: &[&str]| {
            let at = ["@127.0.0.1", "-p", &public.to_string(), "+short", "+tries=5", "+time=2"];
            let output = Command::new("dig").args(at).args(words).output().unwrap();
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        eventually("dnsmasq answers", SOON, || dig(&["nas.test"]) == "192.0.2.7");
        let long = dig(&["+bufsize=4096", "+ignore", "long.test", "TXT"]);
        assert_eq!(long.lines().count(), 12, "{kind:?}: an answer of 3,100 bytes: {long}");
        assert_eq!(dig(&["+tcp", "nas.test"]), "192.0.2.7", "the port is TCP's as well");
        stop(client);
    }
}

#[test]
fn iperf3_counts_what_it_sends() {
    if !need(&["iperf3"]) {
        return;
    }
    for kind in BOTH {
        let (server, target) = (Server::start(), port());
        // After each test it closes the port that it listens at, and opens it again: a connection in between would be cut.
        let words = format!("exec iperf3 -s -B 127.0.0.1 -p {target} --forceflush >&2");
        let iperf = Process::start(mortal("sh").args(["-c", &words]));
        let public = port();
        let mappings = ["", "/udp"].map(|kind| format!("{public}:127.0.0.1:{target}{kind}"));
        let client = server.client(kind, &mappings);
        client.wait_for("udp -> ", SOON);
        client.wait_for(&format!("{public} -> "), SOON);
        let tests = [(&["-l", "1400", "-b", "20M"][..], 2_000), (&["-l", "1400", "-b", "20M", "-R"], 2_000)];
        for (nth, (words, least)) in tests.into_iter().enumerate() {
            eventually("iperf3 listens", SOON, || iperf.log().count("Server listening") == nth + 1);
            let to = ["-u", "-c", "127.0.0.1", "-p", &public.to_string(), "-t", "2", "-J"];
            let output = Command::new("iperf3").args(to).args(words).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let number = |name: &str| {
                let sum = said.rsplit("\"sum\"").next().unwrap_or("");
                let value = sum.split(&format!("\"{name}\":")).nth(1).unwrap_or("");
                value.trim_start().chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u64>()
            };
            let (packets, lost) = (number("packets").expect(&said), number("lost_packets").expect(&said));
            assert!(packets > least && lost * 20 < packets, "{kind:?} {words:?}: {lost} of {packets} lost");
        }
        stop(client);
    }
}
