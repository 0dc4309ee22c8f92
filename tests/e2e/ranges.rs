//! Ranges of ports, on addresses of loopback that no other test has.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};

use super::faults::for_both_at_once;
use super::harness::{Backend, Kind, SOON, Server};
use super::process::say;
use super::rest::end;
use super::udp::stop;

/// The last byte of the public address; the targets' is one more.
fn host(kind: Kind) -> u8 {
    if kind == Kind::Plain { 1 } else { 3 }
}

/// A real server that says which port it has, and whatever it is told.
fn named(at: SocketAddr) -> Backend {
    Backend::at(at, move |mut stream| {
        let _ = write!(stream, "{} ", at.port());
        let _ = std::io::copy(&mut &stream, &mut &stream);
        let _ = stream.shutdown(Shutdown::Write);
    })
}

fn answer(public: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&public, SOON)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(b"hello")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_thousand_ports_are_one_mapping() {
    for_both_at_once(|kind| {
        let [public, target] = [host(kind), host(kind) + 1].map(|n| Ipv4Addr::new(127, 0, 7, n));
        let mut server = Server::start();
        let _others = [7000, 7500, 7999].map(|port| named((target, port).into()));
        // One port is taken.
        let taken = TcpListener::bind((public, 6500)).unwrap();
        let before = server.process.memory_kib();
        let client_words = [format!("{public}:6000-6999:{target}:7000-7999")];
        let mut client = server.client(kind, &client_words);
        for (ports, targets) in [("6000-6499", "7000-7499"), ("6501-6999", "7501-7999")] {
            client.wait_for(&format!("{public}:{ports} -> {target}:{targets} ready"), SOON);
        }
        assert_eq!(client.log().count(" ready"), 3, "one line each, and one that a port is not ready");
        say(&format!("a thousand ports cost the server {} KiB", server.process.memory_kib() - before));
        for (port, expected) in [(6000, "7000 hello"), (6999, "7999 hello")] {
            assert_eq!(answer((public, port).into()).unwrap(), expected);
        }
        assert!(answer((public, 6001).into()).is_err(), "nobody listens behind it");
        drop(taken);
        client.wait_for(&format!("{public}:6500 -> {target}:7500 ready"), SOON);
        assert_eq!(answer((public, 6500).into()).unwrap(), "7500 hello");
        end([&mut client, &mut server.process]);
        assert!(answer((public, 6000).into()).is_err());
    });
}

#[test]
fn a_range_may_carry_datagrams() {
    for_both_at_once(|kind| {
        let [public, target] = [host(kind) + 4, host(kind) + 5].map(|n| Ipv4Addr::new(127, 0, 7, n));
        let server = Server::start();
        let client = server.client(kind, &[format!("{public}:6000-6099:{target}:7000-7099/udp")]);
        client.wait_for(&format!("{public}:6000-6099/udp -> {target}:7000-7099 ready"), SOON);
        for offset in [0, 42, 99] {
            let real = UdpSocket::bind((target, 7000 + offset)).unwrap();
            let visitor = UdpSocket::bind((public, 0)).unwrap();
            for socket in [&real, &visitor] {
                socket.set_read_timeout(Some(SOON)).unwrap();
            }
            let mut bytes = [0; 16];
            visitor.send_to(b"ping", (public, 6000 + offset)).unwrap();
            let (len, from) = real.recv_from(&mut bytes).unwrap();
            assert_eq!(&bytes[..len], b"ping");
            real.send_to(b"pong", from).unwrap();
            let (len, from) = visitor.recv_from(&mut bytes).unwrap();
            assert_eq!((&bytes[..len], from), (&b"pong"[..], (public, 6000 + offset).into()));
        }
        stop(client);
    });
}
