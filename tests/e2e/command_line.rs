//! The command line as it is written down: the ways to give a license, and every kind of mapping that is served.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use super::harness::{Backend, Folder, Kind, SOON, Server, echoes, echoes_at, nt, port};
use super::process::{Process, mortal};
use super::rest::Nt;
use super::scratch::ports;

#[test]
fn a_license_may_come_by_the_environment_and_by_standard_input() {
    let (server, backend, public) = (Server::start(), Backend::echo(), port());
    let word = format!("{}@127.0.0.1:{}", server.license, server.tls);
    let mapping = format!("{public}:127.0.0.1:{}", backend.port);
    let client = Nt::start(mortal(nt()).args(["-c", &mapping]).env("NT_LICENSE", &word), &[server.tls]);
    client.wait_for(" ready", SOON);
    assert!(echoes(public));
    drop(client);

    let file = server.folder.write("stdin", &word);
    let stdin = Stdio::from(std::fs::File::open(file).unwrap());
    let client = Nt::start(mortal(nt()).args(["-c", "-", &mapping]).stdin(stdin), &[server.tls]);
    client.wait_for(" ready", SOON);
    assert!(echoes(public));
}

#[test]
fn every_kind_of_mapping_is_served_where_it_says() {
    let (server, backend) = (Server::start(), Backend::echo());
    let (one, any) = (port(), port());
    let (first, public) = (ports(3), ports(3));
    let row: Vec<Backend> =
        (0..3).map(|n| Backend::echo_at((Ipv4Addr::LOCALHOST, first + n).into())).collect();
    let target = backend.port;
    let mappings = [
        format!("127.0.0.1:{one}:127.0.0.1:{target}"),
        format!("{any}:localhost:{target}"),
        format!("0:{target}"),
        format!("{public}-{}:{first}-{}", public + 2, first + 2),
    ];
    let client = server.client(Kind::Tls, &mappings);
    client.wait_for(&format!("{any} -> localhost:{target} ready"), SOON);
    client.wait_for(&format!("{public}-{} -> 127.0.0.1:{first}-{} ready", public + 2, first + 2), SOON);
    assert!(echoes(one) && echoes(any));
    assert!(echoes_at((Ipv6Addr::LOCALHOST, any)), "a port without an address is served over IPv6 as well");
    assert!(
        !echoes_at((Ipv4Addr::new(127, 0, 0, 2), one)),
        "an address was asked for, and another is served"
    );
    assert!(echoes_at((Ipv4Addr::new(127, 0, 0, 2), any)));
    assert!((0..3).all(|n| echoes(public + n)));
    drop(row);
    let free = client.log().lines().into_iter().find_map(|line| {
        let (public, rest) = line.split_once(" -> ")?;
        let number: u16 = public.rsplit(':').next()?.parse().ok()?;
        (rest == format!("127.0.0.1:{target} ready") && number != one && number != any).then_some(number)
    });
    let free = free.unwrap_or_else(|| panic!("no line says which port is free: {:?}", client.log().lines()));
    assert!(free >= 1024 && echoes(free));
}

#[test]
fn ipv6_all_the_way() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return super::process::say("skipped: no IPv6 here");
    }
    let (server, public) = (Server::start_at("[::1]"), port());
    let backend = Backend::echo_at((Ipv6Addr::LOCALHOST, 0).into());
    let mapping = [format!("[::1]:{public}:[::1]:{}", backend.port)];
    let client = server.client_at("[::1]", server.tls, Kind::Tls, &server.license, &mapping, |_| {});
    client.wait_for(" ready", SOON);
    assert!(echoes_at((Ipv6Addr::LOCALHOST, public)));
    assert!(!echoes(public), "only [::1] was asked for");
}

#[test]
fn the_second_of_two_servers_is_used_when_the_first_is_not_there() {
    let (server, backend, public) = (Server::start(), Backend::echo(), port());
    let word = format!("{}@127.0.0.1:{},localhost:{}", server.license, port(), server.tls);
    let file = server.folder.write("two", word);
    let mut command = mortal(nt());
    command.arg("-c").arg(format!("@{}", file.display()));
    let client = Nt::start(command.arg(format!("{public}:127.0.0.1:{}", backend.port)), &[server.tls]);
    client.wait_for(" ready", SOON);
    assert!(echoes(public));
}

#[test]
fn a_mapping_that_stands_in_the_license_is_taken_where_the_client_allows_it() {
    let (server, backend) = (Server::start(), Backend::echo());
    let (taken, refused) = (port(), port());
    let good = format!("{taken}:127.0.0.1:{}", backend.port);
    let bad = format!("{refused}:192.0.2.9:22");
    let license = server.license(&["add", "given", "--map", &good, "--map", &bad]);
    let client = server.client_with(Kind::Tls, &license, &[], |_| {});
    client.wait_for("ready", SOON);
    let line = client.wait_for("--allow", SOON);
    assert!(line.contains("192.0.2.9"), "{line}");
    assert!(echoes(taken));
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, refused)).is_err(), "{refused} is open");
}

#[test]
fn what_a_person_must_mend_ends_the_program_with_1() {
    let folder = Folder::new();
    let license = Server::start().license;
    let word = folder.write("word", format!("{license}@127.0.0.1:1"));
    let word = format!("@{}", word.display());
    let missing = format!("@{}", folder.join("missing").display());
    let cases: [&[&str]; 6] = [
        &["-c", &missing, "8080"],
        &["-c", &word, "8080:99999999"],
        &["-c", &word, "--no-such-flag"],
        &["-c", "nt1abc@127.0.0.1", "8080"],
        &["-s", "--listen", "nonsense"],
        &["license", "revoke", "nobody", "--state", "/nonexistent/nt"],
    ];
    for words in cases {
        let mut process = Process::start(mortal(nt()).args(words));
        assert_eq!(process.wait(SOON).code(), Some(1), "{words:?}: {:?}", process.log().lines());
        process.wait_for("nt: ", SOON);
    }
}

#[test]
fn secrets_on_disk_are_for_their_owner_alone() {
    let server = Server::start();
    server.license(&["add", "other"]);
    let state = server.folder.join("state");
    for entry in std::fs::read_dir(&state).unwrap().flatten() {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{:?} has mode {mode:o}", entry.path());
        if !entry.file_type().unwrap().is_file() {
            continue;
        }
        let content = String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned();
        assert!(!content.contains(&server.license[3..]), "{:?} holds the license", entry.path());
    }
}
