//! Visitors from networks that a mapping or its license wants, and from others.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use super::harness::{BOTH, Backend, Kind, SOON, Server, port};
use super::process::eventually;
use super::udp::stop;
use super::web::{Site, Talk, mirror};

const HOME: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 1);
const AWAY: Ipv4Addr = Ipv4Addr::new(127, 8, 0, 1);

/// A visitor from this address.
fn visitor(from: Ipv4Addr, port: u16) -> TcpStream {
    // No program that another test starts is to have it too.
    let stream = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    bind(&stream, &SocketAddrV4::new(from, 0)).unwrap();
    connect(&stream, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).unwrap();
    let stream = TcpStream::from(stream);
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// Whether an echo answers a visitor from there; if not, it is cut.
fn echoes(from: Ipv4Addr, port: u16, words: &[u8]) -> bool {
    let mut visitor = visitor(from, port);
    // The reset may come first.
    let end = visitor.write_all(words).and_then(|()| visitor.read(&mut [0]));
    match end {
        Ok(1) => true,
        Err(error) if [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind()) => false,
        other => panic!("{from}: neither an answer nor a reset: {other:?}"),
    }
}

#[test]
fn only_visitors_from_the_networks_of_a_mapping_come_to_it() {
    for kind in BOTH {
        let (server, real, public) = (Server::start(), Backend::echo(), port());
        let mapping = format!("{public}:127.0.0.1:{},allow=127.9.0.0/16+2001:db8::/32", real.port);
        let client = server.client(kind, &[mapping]);
        client.wait_for(" ready", SOON);
        assert!(echoes(HOME, public, b"?"), "{kind:?}");
        assert!(!echoes(AWAY, public, b"?"), "{kind:?}");
        server.process.wait_for("failed: visitors from there are not wanted", SOON);
        // Nobody believes what a visitor says of itself, where no front is trusted.
        let claim = format!("PROXY TCP4 {HOME} 127.0.0.1 5000 {public}\r\n?");
        assert!(!echoes(AWAY, public, claim.as_bytes()), "{kind:?}");
    }
}

#[test]
fn a_front_s_visitors_are_told_apart_by_the_addresses_that_it_tells() {
    let (server, real, public) = (Server::start(), Backend::echo(), port());
    let mapping = format!("{public}:127.0.0.1:{},accept-proxy=127.0.0.1,allow=127.9.0.0/16", real.port);
    let client = server.client(Kind::Tls, &[mapping]);
    client.wait_for(" ready", SOON);
    let told = |whom: Ipv4Addr| format!("PROXY TCP4 {whom} 127.0.0.1 5000 {public}\r\n?");
    assert!(echoes(Ipv4Addr::LOCALHOST, public, told(HOME).as_bytes()));
    assert!(!echoes(Ipv4Addr::LOCALHOST, public, told(AWAY).as_bytes()));
}

#[test]
fn datagrams_from_elsewhere_are_not_answered() {
    let (server, public) = (Server::start(), port());
    let real = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    real.set_read_timeout(Some(SOON)).unwrap();
    let mapping = format!("{public}:127.0.0.1:{}/udp,allow=127.9.0.0/16", real.local_addr().unwrap().port());
    let client = server.client(Kind::Tls, &[mapping]);
    client.wait_for(" ready", SOON);
    let from = |address: Ipv4Addr| {
        let visitor = UdpSocket::bind((address, 0)).unwrap();
        visitor.connect((Ipv4Addr::LOCALHOST, public)).unwrap();
        visitor
    };
    let (home, away) = (from(HOME), from(AWAY));
    for _ in 0..100 {
        away.send(b"away").unwrap();
    }
    server.process.wait_for("failed: visitors from there are not wanted", SOON);
    home.send(b"home").unwrap();
    // What is sent in order from one machine comes in order, so nothing of the others has been passed on before.
    let mut datagram = [0; 16];
    let (length, _) = real.recv_from(&mut datagram).unwrap();
    assert_eq!(&datagram[..length], b"home");
    real.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(real.recv_from(&mut datagram).is_err(), "a datagram from elsewhere has come");
    stop(client);
}

#[test]
fn requests_from_elsewhere_are_forbidden_whatever_they_claim() {
    let real = mirror("real");
    let site = Site::new(Kind::Tls, &[format!("a.example.com:{},allow=127.9.0.0/16", real.port)]);
    let visit = |from| Talk::new(visitor(from, site.port()));
    assert_eq!(visit(HOME).get("a.example.com", "/").from(), "real");
    let mut away = visit(AWAY);
    away.say(format!(
        "GET / HTTP/1.1\r\nHost: a.example.com\r\nX-Forwarded-For: {HOME}\r\nForwarded: for={HOME}\r\n\r\n"
    ));
    assert_eq!(away.hear().unwrap().line(), "403 Forbidden");
}

/// The license's list counts beside the mapping's own, from its next request on, for whoever is there already.
#[test]
fn a_license_s_networks_can_be_changed_while_visitors_are_there() {
    let (real, echo, public) = (mirror("real"), Backend::echo(), port());
    let server = Server::start_with_names();
    let words = ["add", "shop", "--hosts", "a.example.com", "--visitors", "127.8.0.0/16,127.9.0.0/16"];
    let license = server.license(&words);
    let maps = [
        format!("a.example.com:127.0.0.1:{}", real.port),
        format!("{public}:127.0.0.1:{},allow=127.9.0.0/16", echo.port),
    ];
    let client = server.client_with(Kind::Tls, &license, &maps, |_| {});
    eventually("both are ready", SOON, || client.log().count(" ready") == 2);
    assert!(!echoes(AWAY, public, b"?"), "the license permits it, the mapping does not");
    let visit = |from| Talk::new(visitor(from, server.names.unwrap()));
    let (mut home, mut away) = (visit(HOME), visit(AWAY));
    for talk in [&mut home, &mut away] {
        assert_eq!(talk.get("a.example.com", "/").from(), "real");
    }
    assert_eq!(visit(Ipv4Addr::LOCALHOST).get("a.example.com", "/").line(), "403 Forbidden");
    let file = server.folder.join("state/licenses.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"127.8.0.0/16\", ", "")).unwrap();
    eventually("the change counts", SOON, || away.get("a.example.com", "/").line() == "403 Forbidden");
    assert_eq!(home.get("a.example.com", "/").from(), "real");
    assert_eq!(client.log().count("logged in"), 1, "nobody had to log in again");
}
