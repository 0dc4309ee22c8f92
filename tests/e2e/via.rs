//! Clients that reach their server through a proxy.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};

use super::harness::{BOTH, Backend, Folder, Kind, SOON, Server, nt, port, visit};
use super::process::{Process, eventually, mortal, need};
use super::rest::Nt;

fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// tinyproxy, which speaks HTTP; it connects to these ports alone.
fn tinyproxy(folder: &Folder, ports: &[u16], more: &str) -> (Process, u16) {
    let port = port();
    let permitted: String = ports.iter().map(|port| format!("ConnectPort {port}\n")).collect();
    let config = format!("Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 500\n{permitted}{more}\n");
    let config = folder.write(&format!("tinyproxy-{port}"), config);
    let process = Process::start(mortal("tinyproxy").arg("-d").arg("-c").arg(config));
    eventually("tinyproxy listens", SOON, || listens(port));
    (process, port)
}

/// microsocks, which speaks SOCKS5.
fn microsocks(words: &[&str]) -> (Process, u16) {
    let port = port();
    let process =
        Process::start(mortal("microsocks").args(["-i", "127.0.0.1", "-p", &port.to_string()]).args(words));
    eventually("microsocks listens", SOON, || listens(port));
    (process, port)
}

/// A client of this server through a proxy, not ready yet, and its public port.
fn client(server: &Server, host: &str, kind: Kind, via: &str, target: u16) -> (Nt, u16) {
    let (public, word) = (port(), format!("{}@{host}:{}", server.license, server.port(kind)));
    let mut command = mortal(nt());
    command.args(["-c", "--via", via, &format!("{public}:127.0.0.1:{target}")]).env("NT_LICENSE", word);
    if kind == Kind::Plain {
        command.arg("--plain");
    }
    let proxy = via.rsplit(':').next().and_then(|port| port.parse().ok());
    (Nt::start(&mut command, &proxy.map_or([0], |port| [port])), public)
}

fn echoes(public: u16) {
    let mut visitor = visit(public);
    visitor.write_all(b"Is anybody there?").unwrap();
    visitor.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    visitor.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"Is anybody there?");
}

#[test]
fn a_server_is_reached_through_a_proxy() {
    if !need(&["tinyproxy", "microsocks"]) {
        return;
    }
    let (folder, server, backend) = (Folder::new(), Server::start(), Backend::echo());
    let ports = server.tunnel_ports();
    let (_http, http) = tinyproxy(&folder, &ports, "");
    let (_known, known) = tinyproxy(&folder, &ports, "BasicAuth me hunter2");
    let (_socks, socks) = microsocks(&[]);
    let (_asks, asks) = microsocks(&["-u", "me", "-P", "hunter2"]);
    for kind in BOTH {
        for via in [
            format!("http://127.0.0.1:{http}"),
            format!("http://me:hunter2@localhost:{known}"),
            format!("socks5://127.0.0.1:{socks}"),
            format!("socks5://me:hunter2@localhost:{asks}"),
        ] {
            // The server's name is the proxy's to look up.
            let (nt, public) = client(&server, "localhost", kind, &via, backend.port);
            nt.wait_for(" ready", SOON);
            echoes(public);
            assert!(!nt.log().lines().concat().contains("hunter2"), "{kind:?}, {via}");
        }
    }
}

#[test]
fn a_proxy_that_does_not_connect_is_told_apart() {
    if !need(&["tinyproxy", "microsocks"]) {
        return;
    }
    let (folder, server, backend) = (Folder::new(), Server::start(), Backend::echo());
    let (_http, http) = tinyproxy(&folder, &[1], "");
    let (_known, known) = tinyproxy(&folder, &server.tunnel_ports(), "BasicAuth me hunter2");
    let (_asks, asks) = microsocks(&["-u", "me", "-P", "hunter2"]);
    let (_socks, socks) = microsocks(&[]);
    let echo = backend.port;
    for (via, why) in [
        (format!("http://127.0.0.1:{http}"), "does not connect to the server"),
        (format!("http://me:wrong@127.0.0.1:{known}"), "wants a user and password"),
        (format!("socks5://me:wrong@127.0.0.1:{asks}"), "wants a user and password"),
        (format!("socks5://127.0.0.1:{asks}"), "wants a user and password"),
        (format!("http://127.0.0.1:{socks}"), "no such proxy"),
        (format!("socks5://127.0.0.1:{echo}"), "no such proxy"),
    ] {
        let (nt, _) = client(&server, "127.0.0.1", Kind::Tls, &via, echo);
        assert!(!nt.wait_for(why, SOON).contains("wrong"));
    }
}
