//! Real servers that are told who visits them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;

use super::harness::{BOTH, Backend, Folder, Kind, SOON, Server, port, visit};
use super::process::{Process, need};
use super::rest::Nt;
use super::servers;

/// A client that publishes one mapping, and where.
fn publish(server: &Server, kind: Kind, target: u16, options: &str) -> (Nt, u16) {
    let public = port();
    let client = server.client(kind, &[format!("{public}:127.0.0.1:{target}{options}")]);
    client.wait_for(" ready", SOON);
    (client, public)
}

/// What an HTTP server answers at this address, and from which address it was asked.
fn ask(address: SocketAddr) -> (String, SocketAddr) {
    let mut stream = TcpStream::connect_timeout(&address, SOON).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let own = stream.local_addr().unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split_once("\r\n\r\n").expect("an answer").1.trim().to_owned(), own)
}

/// nginx, which says who asked and where.
fn nginx(folder: &Folder) -> (Process, u16) {
    let said =
        "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port";
    servers::nginx(folder, "proxy_protocol", &format!("location / {{ return 200 \"{said}\"; }}"))
}

/// haproxy, which says the same.
fn haproxy(folder: &Folder) -> (Process, u16) {
    let answer = "status 200 content-type text/plain lf-string \"%[src] %[src_port] %[dst] %[dst_port]\"";
    servers::haproxy(folder, "http", "accept-proxy", &format!(" http-request return {answer}"))
}

/// haproxy before a public port, where it says for whom it speaks.
fn haproxy_before(folder: &Folder, public: u16, word: &str) -> (Process, u16) {
    let behind = format!(" default_backend b\nbackend b\n server s 127.0.0.1:{public} {word}");
    servers::haproxy(folder, "tcp", "", &behind)
}

#[test]
fn nginx_and_haproxy_see_the_visitor_s_own_address() {
    if !need(&["nginx", "haproxy"]) {
        return;
    }
    let (folder, server) = (Folder::new(), Server::start());
    let (_nginx, nginx) = nginx(&folder);
    let (_haproxy, haproxy) = haproxy(&folder);
    for (target, version) in [(nginx, "v1"), (nginx, "v2"), (haproxy, "v1"), (haproxy, "v2")] {
        let (_client, public) = publish(&server, Kind::Tls, target, &format!(",proxy={version}"));
        let mut addresses = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, public))];
        // What a wildcard listener was reached at, not what it listens at.
        addresses.push((Ipv4Addr::new(127, 0, 0, 2), public).into());
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            addresses.push((Ipv6Addr::LOCALHOST, public).into());
        }
        for address in addresses {
            let (said, own) = ask(address);
            let expected = format!("{} {} {} {public}", own.ip(), own.port(), address.ip());
            assert_eq!(said, expected, "{version} at {address}");
        }
    }
}

#[test]
fn a_real_server_is_told_before_anybody_speaks() {
    for kind in BOTH {
        let (tell, told) = mpsc::channel();
        // It speaks first, as SSH servers do, once it knows to whom.
        let backend = Backend::new(move |mut stream: TcpStream| {
            let (mut header, mut byte) = (Vec::new(), [0]);
            while !header.ends_with(b"\r\n") && stream.read(&mut byte).unwrap() == 1 {
                header.push(byte[0]);
            }
            stream.write_all(b"welcome").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
            tell.send((String::from_utf8(header).unwrap(), rest)).unwrap();
        });
        let server = Server::start();
        let (_client, public) = publish(&server, kind, backend.port, ",proxy=v1");
        for words in [&b""[..], b"words"] {
            let mut visitor = visit(public);
            let own = visitor.local_addr().unwrap().port();
            let mut welcome = String::new();
            if !words.is_empty() {
                visitor.write_all(words).unwrap();
            }
            visitor.read_to_string(&mut welcome).unwrap();
            visitor.shutdown(Shutdown::Write).unwrap();
            let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own} {public}\r\n");
            assert_eq!(told.recv_timeout(SOON).unwrap(), (line, words.to_vec()), "{kind:?}");
            assert_eq!(welcome, "welcome");
        }
    }
}

#[test]
fn a_mapping_of_the_license_tells_too() {
    let (tell, told) = mpsc::channel();
    let backend = Backend::new(move |mut stream: TcpStream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        tell.send(all).unwrap();
    });
    let (server, public) = (Server::start(), port());
    let mapping = format!("{public}:127.0.0.1:{},proxy=v2", backend.port);
    let license = server.license(&["add", "given", "--map", &mapping]);
    let client = server.client_with(Kind::Tls, &license, &[], |_| {});
    client.wait_for(" ready", SOON);
    let visitor = visit(public);
    let own = visitor.local_addr().unwrap().port();
    visitor.shutdown(Shutdown::Write).unwrap();
    let mut expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\x7F\0\0\x01\x7F\0\0\x01".to_vec();
    expected.extend(own.to_be_bytes());
    expected.extend(public.to_be_bytes());
    assert_eq!(told.recv_timeout(SOON).unwrap(), expected);
    drop(visitor);
}

#[test]
fn a_front_says_whom_it_speaks_for() {
    if !need(&["nginx", "haproxy"]) {
        return;
    }
    let (folder, server) = (Folder::new(), Server::start());
    let (_nginx, nginx) = nginx(&folder);
    for (kind, word) in [(Kind::Tls, "send-proxy"), (Kind::Plain, "send-proxy-v2")] {
        let (client, public) = publish(&server, kind, nginx, ",proxy=v2,accept-proxy=127.0.0.1");
        let (front, port) = haproxy_before(&folder, public, word);
        for _ in 0..3 {
            let (said, own) = ask((Ipv4Addr::LOCALHOST, port).into());
            assert_eq!(said, format!("127.0.0.1 {} 127.0.0.1 {port}", own.port()), "{word}");
        }
        // Who is not trusted speaks for itself.
        let (other, elsewhere) = publish(&server, kind, nginx, ",proxy=v1,accept-proxy=192.0.2.0/24");
        let (said, own) = ask((Ipv4Addr::LOCALHOST, elsewhere).into());
        assert_eq!(said, format!("127.0.0.1 {} 127.0.0.1 {elsewhere}", own.port()));
        drop(other);
        drop((front, client));
    }
}

#[test]
fn who_is_trusted_to_say_it_must_say_it() {
    let backend = Backend::echo();
    let server = Server::start();
    let (client, public) = publish(&server, Kind::Tls, backend.port, ",accept-proxy=127.0.0.1");
    let echoed = |pieces: &[&[u8]]| {
        let mut front = visit(public);
        front.set_nodelay(true).unwrap();
        for piece in pieces {
            front.write_all(piece).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let mut answer = Vec::new();
        let _ = front.shutdown(Shutdown::Write);
        front.read_to_end(&mut answer).map(|_| answer).map_err(|error| error.kind())
    };
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n";
    assert_eq!(echoed(&[header, b"words"]), Ok(b"words".to_vec()));
    assert_eq!(echoed(&[&[&header[..], b"words"].concat()]), Ok(b"words".to_vec()), "in one piece");
    assert_eq!(echoed(&[&header[..1], &header[1..30], &header[30..], b"w", b"ords"]), Ok(b"words".to_vec()));
    assert_eq!(echoed(&[b"PROXY UNKNOWN\r\n", b"words"]), Ok(b"words".to_vec()));
    let reset = Err(std::io::ErrorKind::ConnectionReset);
    assert_eq!(echoed(&[b"GET / HTTP/1.1\r\n\r\n"]), reset);
    assert_eq!(echoed(&[b"PROXY TCP4 192.0.2.7"]), reset, "it ends in the midst of its header");
    assert_eq!(echoed(&[&[b'\r'; 3000]]), reset);
    server.process.wait_for("no header of the PROXY protocol", SOON);
    // Nor does who says nothing hold anything for long.
    assert_eq!(
        visit(public).read(&mut [0]).map_err(|error| error.kind()),
        Err(std::io::ErrorKind::ConnectionReset)
    );
    drop(client);
}
