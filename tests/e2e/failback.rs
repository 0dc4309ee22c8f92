//! Two servers: a client goes to the second when the first is not there, and comes back.

use std::fs;
use std::io::{Read, Write};

use rustix::process::Signal;

use super::harness::{BOTH, Backend, Kind, SOON, Server, echoes, nt, port, visit};
use super::process::{eventually, mortal};
use super::rest::Nt;

/// Two servers that know the same license, and a client of both.
fn pair(kind: Kind, map: &str) -> (Server, Server, Nt) {
    let (first, second) = (Server::start(), Server::start());
    let known = first.folder.join("state/licenses.toml");
    fs::copy(known, second.folder.join("state/licenses.toml")).unwrap();
    second.process.wait_for("1 license", SOON);
    let place = format!("{}@127.0.0.1:{},127.0.0.1:{}\n", first.license, first.port(kind), second.port(kind));
    let file = first.folder.write("both", place);
    let mut command = mortal(nt());
    command.arg("-c").arg(format!("@{}", file.display())).arg(map);
    if kind == Kind::Plain {
        command.arg("--plain");
    }
    let client = Nt::start(&mut command, &[first.port(kind), second.port(kind)]);
    (first, second, client)
}

#[test]
fn a_client_comes_back_to_its_first_server_and_cuts_nobody() {
    for kind in BOTH {
        let (echo, public) = (Backend::echo(), port());
        let (mut first, second, client) = pair(kind, &format!("{public}:127.0.0.1:{}", echo.port));
        client.wait_for(" ready", SOON);
        assert!(echoes(public));
        first.process.signal(Signal::KILL);
        first.process.wait(SOON);
        second.process.wait_for("logged in", SOON);
        eventually("the second serves", SOON, || echoes(public));
        let mut visitor = visit(public);
        visitor.write_all(b"a").unwrap();
        visitor.read_exact(&mut [0]).unwrap();
        first.again();
        client.wait_for("is there again: going back to it", SOON * 2);
        first.process.wait_for("logged in", SOON);
        eventually("the first serves", SOON, || {
            first.process.log().count(&format!("{public} -> ")) > 0 && echoes(public)
        });
        // Who came by the second is still there, and stays.
        for _ in 0..3 {
            visitor.write_all(b"b").unwrap();
            visitor.read_exact(&mut [0]).unwrap();
        }
        visitor.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(visitor.read(&mut [0]).unwrap(), 0, "{kind:?}: its end is its own");
        second.process.wait_for("it has gone back to its first server", SOON);
    }
}
