//! Settings that change while nt runs: what is the same is not touched.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Output};

use rustix::process::Signal;

use super::harness::{BOTH, Backend, Kind, SOON, Server, nt, port, visit};
use super::operator::{download, unhurried};
use super::process::eventually;

fn opens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn nt_reload(server: &Server) -> Output {
    Command::new(nt()).arg("reload").arg("--state").arg(server.folder.join("state")).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A client whose mappings stand in a file, and a way to have another one read.
#[test]
fn a_client_takes_other_mappings_and_loses_no_byte_of_the_same() {
    for kind in BOTH {
        let (server, echo, source) = (Server::start(), Backend::echo(), unhurried());
        let [kept, gone, new, changed] = [port(), port(), port(), port()];
        let write = |maps: &[String]| {
            let maps: Vec<String> = maps.iter().map(|map| format!("{map:?}")).collect();
            server.folder.write("client.toml", format!("map = [{}]\n", maps.join(", ")))
        };
        let to = |public: u16, target: u16| format!("{public}:127.0.0.1:{target}");
        let file = write(&[to(gone, echo.port), to(kept, source.port), to(changed, source.port)]);
        let client = server.client_with(kind, &server.license, &[], |command| {
            command.arg("--config").arg(&file);
        });
        eventually("all are ready", SOON, || client.log().count(" ready") == 3);
        let visits: Vec<_> = (0..100).map(|_| download(kept)).collect();
        // What is the same stands elsewhere in the list, and one leads elsewhere.
        write(&[to(new, echo.port), to(changed, echo.port), to(kept, source.port)]);
        client.signal(Signal::HUP);
        client.wait_for("settings read: 2 mappings added, 2 removed", SOON);
        eventually("the new one is there", SOON, || opens(new));
        eventually("the old one is gone", SOON, || !opens(gone));
        for public in [new, changed] {
            let mut visitor = visit(public);
            visitor.write_all(b"?").unwrap();
            visitor.read_exact(&mut [0]).unwrap();
        }
        assert_eq!(server.process.log().count(&format!("{kept} -> ")), 1, "{kind:?}: it was bound again");
        for visit in visits {
            assert_eq!(visit.recv_timeout(SOON).unwrap(), (40 * 100 * 1024, Ok(())), "{kind:?}");
        }
    }
}

#[test]
fn a_file_that_is_wrong_or_cannot_count_yet_changes_nothing() {
    let (server, echo, public) = (Server::start(), Backend::echo(), port());
    let map = format!("map = [\"{public}:127.0.0.1:{}\"]\n", echo.port);
    let file = server.folder.write("client.toml", &map);
    let mut client = server.client_with(Kind::Tls, &server.license, &[], |command| {
        command.arg("--config").arg(&file);
    });
    client.wait_for(" ready", SOON);
    for (text, what) in [
        (
            "\n\nmpa = []\n".to_owned(),
            "client.toml, line 3: there is no setting `mpa` here; did you mean `map`?",
        ),
        ("map = [\"80:x:y\"]\n".to_owned(), "client.toml, line 1: in `80:x:y`: port `y` is not in 1..65535"),
        (format!("via = \"http://127.0.0.1:1\"\n{map}"), "something else than `map` and `allow` has changed"),
    ] {
        server.folder.write("client.toml", text);
        client.signal(Signal::HUP);
        let line = client.wait_for(what, SOON);
        assert!(line.contains("the settings of before still hold"), "{line}");
        assert!(super::harness::echoes(public));
    }
    // Without a difference nobody logs in again.
    server.folder.write("client.toml", map);
    client.signal(Signal::HUP);
    client.wait_for("settings read: no mapping has changed", SOON);
    assert_eq!(client.log().count("logged in"), 1);
    assert!(client.runs());
}

#[test]
fn a_server_looks_at_its_files_when_it_is_told_to_and_says_what_is_wrong() {
    let mut server = Server::start();
    let output = nt_reload(&server);
    assert!(output.status.success() && said(&output) == "nothing has changed\n", "{}", said(&output));
    let path = server.folder.join("state/licenses.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    server.folder.write("state/licenses.toml", format!("{good}\nprots = 1\n"));
    for _ in 0..2 {
        // It is said for as long as it is so.
        let output = nt_reload(&server);
        let line = good.lines().count() + 2;
        let what =
            format!("licenses.toml, line {line}: there is no setting `prots` here; did you mean `ports`?");
        assert!(!output.status.success() && said(&output).contains(&what), "{}", said(&output));
    }
    server.folder.write("state/licenses.toml", good.replace("default", "other"));
    let output = nt_reload(&server);
    assert_eq!(said(&output), "licenses.toml read: 1 licenses\n");
    server.process.signal(Signal::HUP);
    assert!(server.process.runs(), "it is no wish to end");
    server.process.signal(Signal::TERM);
    server.process.wait(SOON);
    assert!(said(&nt_reload(&server)).contains("no server runs with the state in"));
}
