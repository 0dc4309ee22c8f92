//! Private mappings: one client visits another, by a door on its own machine.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::data::Pattern;
use super::harness::{BOTH, Backend, Folder, Kind, SOON, Server, echoes, port, visit};
use super::process::need;
use super::programs::{nginx, random_file, run, same};
use super::rest::{Nt, at_rest};

/// A client that serves these privately, ready.
fn owner(server: &Server, kind: Kind, maps: &[String]) -> Nt {
    let client = server.client(kind, maps);
    for map in maps {
        let name = map.split(':').next().unwrap_or_default();
        client.wait_for(&format!("{name}/private -> "), SOON);
    }
    client
}

/// A client of this license that visits these, by its own doors.
fn visitor(server: &Server, kind: Kind, license: &str, visits: &[String]) -> Nt {
    let client = server.client_with(kind, license, &[], |command| {
        visits.iter().for_each(|visit| _ = command.args(["--visit", visit]));
    });
    client.wait_for("logged in", SOON);
    client
}

#[test]
fn what_is_private_is_reached_by_a_client_that_may() {
    if !need(&["nginx", "curl"]) {
        return;
    }
    for kind in BOTH {
        let (folder, mut server, echo) = (Folder::new(), Server::start(), Backend::echo());
        let (_nginx, target) = nginx(&folder);
        let big = random_file(&folder, "www/big", 20_000_000, 64);
        let maps = [format!("web:{target}/private"), format!("echo:{}/private", echo.port)];
        let mut owner = owner(&server, kind, &maps);
        let license = server.license(&["add", "laptop", "--visit", "default/web,default/echo"]);
        let [web, talk] = [(); 2].map(|()| port());
        let visits = [format!("default/web:{web}"), format!("default/echo:127.0.0.1:{talk}")];
        let mut laptop = visitor(&server, kind, &license, &visits);

        let copy = folder.join("copy");
        let curl = || {
            let mut command = Command::new("curl");
            command.args(["--silent", "--show-error", "--fail", "--max-time", "60"]);
            command
        };
        run(curl().arg("--output").arg(&copy).arg(format!("http://127.0.0.1:{web}/big")));
        assert!(same(&big, &copy), "{kind:?}: the download differs");
        run(curl().arg("--upload-file").arg(&big).arg(format!("http://127.0.0.1:{web}/sent")));
        assert!(same(&big, &folder.join("www/sent")), "{kind:?}: the upload differs");
        // Each direction ends by itself, behind its last byte.
        let all: Vec<_> = (0..20)
            .map(|seed| {
                thread::spawn(move || {
                    let mut stream = visit(talk);
                    let mut up = stream.try_clone().unwrap();
                    let sent = thread::spawn(move || {
                        Pattern::new(seed).write(&mut up, 1_000_000).unwrap();
                        up.shutdown(Shutdown::Write).unwrap();
                    });
                    assert_eq!(Pattern::new(seed).read(&mut stream), (1_000_000, Ok(())));
                    sent.join().unwrap();
                })
            })
            .collect();
        all.into_iter().for_each(|one| one.join().unwrap());
        // Who says nothing has an end as well.
        let mut silent = visit(talk);
        silent.shutdown(Shutdown::Write).unwrap();
        assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0, "{kind:?}");
        at_rest([&mut server.process, &mut owner, &mut laptop]);
    }
}

/// Its ProxyChannels may all wait for visitors that its server brings: one more is left for those of its own machine.
#[test]
fn a_client_with_little_room_has_some_for_its_own_visitors() {
    let (server, echo) = (Server::start(), Backend::echo());
    let _owner = owner(&server, Kind::Tls, &[format!("echo:{}/private", echo.port)]);
    let license = server.license(&["add", "laptop", "--visit", "default/echo"]);
    let [public, door] = [(); 2].map(|()| port());
    let maps = [format!("{public}:{}", echo.port)];
    let laptop = server.client_with(Kind::Tls, &license, &maps, |command| {
        command.args(["--memory", "640K", "--visit", &format!("default/echo:{door}")]);
    });
    let room = laptop.wait_for("room for ", SOON);
    let room: usize = room.split("room for ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((2..8).contains(&room), "{room}");
    laptop.wait_for(" ready", SOON);
    for _ in 0..3 {
        let crowd: Vec<_> = (0..room).map(|_| thread::spawn(move || echoes(public))).collect();
        assert!(crowd.into_iter().all(|visitor| visitor.join().unwrap()));
    }
    assert!(echoes(door) && echoes(public));
}

#[test]
fn who_may_not_visit_is_told_so_and_who_is_revoked_is_cut() {
    let (mut server, echo) = (Server::start(), Backend::echo());
    let mut owner = owner(&server, Kind::Tls, &[format!("echo:{}/private", echo.port)]);
    let license = server.license(&["add", "laptop", "--visit", "default/other,default/echo"]);
    let stranger = server.license(&["add", "stranger"]);
    let [door, other, wrong] = [(); 3].map(|()| port());
    let visits = [format!("default/echo:{door}"), format!("default/other:{other}")];
    let mut laptop = visitor(&server, Kind::Tls, &license, &visits);
    let mut nobody = visitor(&server, Kind::Tls, &stranger, &[format!("default/echo:{wrong}")]);
    assert!(echoes(door));
    assert!(!echoes(other));
    laptop.wait_for("a visit to default/other failed: there is no such mapping", SOON);
    assert!(!echoes(wrong));
    nobody.wait_for("a visit to default/echo failed: the license does not permit this visit", SOON);

    let mut stream = visit(door);
    stream.write_all(b"still there?").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    server.license(&["revoke", "laptop"]);
    stream.set_read_timeout(Some(SOON)).unwrap();
    let cut = stream.read(&mut answer).unwrap_err();
    assert_eq!(cut.kind(), std::io::ErrorKind::ConnectionReset, "a cut looks like an end");
    at_rest([&mut server.process, &mut owner, &mut laptop, &mut nobody]);
}

#[test]
fn a_door_that_is_taken_is_said_and_ends_the_client() {
    let (server, echo) = (Server::start(), Backend::echo());
    let visits = format!("default/echo:{}", echo.port);
    let mut laptop = server.client_with(Kind::Tls, &server.license, &[], |command| {
        command.args(["--visit", &visits]);
    });
    laptop.wait_for("in use", SOON);
    assert_eq!(laptop.wait(Duration::from_secs(20)).code(), Some(1));
}
