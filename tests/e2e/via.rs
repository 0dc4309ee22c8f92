//! Clients that reach their server through a proxy.

use super::harness::{BOTH, Backend, Folder, Kind, SOON, Server, echoes, nt, port};
use super::process::{mortal, need};
use super::rest::Nt;
use super::servers::{microsocks, tinyproxy};

/// A client of this server through a proxy, not ready yet, and its public port.
pub fn client(server: &Server, license: &str, host: &str, kind: Kind, via: &str, target: u16) -> (Nt, u16) {
    let (public, word) = (port(), format!("{license}@{host}:{}", server.port(kind)));
    let mut command = mortal(nt());
    command.args(["-c", "--via", via, &format!("{public}:127.0.0.1:{target}")]).env("NT_LICENSE", word);
    if kind == Kind::Plain {
        command.arg("--plain");
    }
    let proxy = via.rsplit(':').next().and_then(|port| port.parse().ok());
    (Nt::start(&mut command, &proxy.map_or([0], |port| [port])), public)
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
            let (nt, public) = client(&server, &server.license, "localhost", kind, &via, backend.port);
            nt.wait_for(" ready", SOON);
            assert!(echoes(public));
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
        let (nt, _) = client(&server, &server.license, "127.0.0.1", Kind::Tls, &via, echo);
        assert!(!nt.wait_for(why, SOON).contains("wrong"));
    }
}
