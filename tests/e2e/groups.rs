//! Several clients of one license: who gets which visitor, and who gets none. And real servers that are checked.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::harness::{BOTH, Backend, Kind, SOON, Server, nt, port, visit};
use super::process::eventually;
use super::rest::Nt;
use super::web;

/// A real server that says who it is, and then echoes.
fn named(name: u8) -> Backend {
    Backend::new(move |mut stream| {
        if stream.write_all(&[name]).is_ok() {
            let _ = std::io::copy(&mut &stream, &mut &stream);
        }
    })
}

/// A visitor, and who serves it.
fn who(public: u16) -> std::io::Result<(u8, TcpStream)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, public))?;
    stream.set_read_timeout(Some(SOON))?;
    let mut name = [0];
    stream.read_exact(&mut name)?;
    Ok((name[0], stream))
}

fn served(visitors: &[(u8, TcpStream)], name: u8) -> usize {
    visitors.iter().filter(|(served, _)| *served == name).count()
}

/// A server and the clients `a` and `b` of one license, each with a real server of its own.
struct Group {
    server: Server,
    license: String,
    clients: Vec<Nt>,
    public: u16,
    kind: Kind,
}

impl Group {
    fn of(kind: Kind, names: &[u8], backends: &[Backend]) -> Self {
        let (server, public) = (Server::start(), port());
        let license = server.license(&["add", "farm", "--clients", "2"]);
        let mut group = Self { server, license, clients: Vec::new(), public, kind };
        assert_eq!(names.len(), backends.len());
        backends.iter().for_each(|backend| group.join(backend.port, ""));
        group
    }

    fn join(&mut self, target: u16, options: &str) {
        let map = format!("{}:127.0.0.1:{target}{options}", self.public);
        let client = self.server.client_with(self.kind, &self.license, &[map], |_| {});
        client.wait_for(" ready", SOON);
        self.clients.push(client);
    }

    fn who(&self) -> (u8, TcpStream) {
        who(self.public).expect("somebody serves the visitor")
    }
}

#[test]
fn visitors_are_divided_and_go_on_when_a_client_has_gone() {
    for kind in BOTH {
        let backends = [named(b'a'), named(b'b')];
        let mut group = Group::of(kind, b"ab", &backends);
        let mut visitors: Vec<_> = (0..10).map(|_| group.who()).collect();
        assert_eq!((served(&visitors, b'a'), served(&visitors, b'b')), (5, 5), "{kind:?}");
        // Who has the fewest gets the next ones.
        visitors.retain(|(name, _)| *name == b'b');
        eventually("those of `a` have gone", SOON, || {
            let (name, stream) = group.who();
            visitors.push((name, stream));
            name == b'a'
        });
        let before = visitors.iter().position(|(name, _)| *name == b'a').unwrap();
        assert!(before <= 10, "{kind:?}: the visitors of `a` were never counted out");
        // One is killed: what the other serves goes on, and it gets all that come.
        group.clients.remove(0).kill();
        for (_, stream) in visitors.iter_mut().filter(|(name, _)| *name == b'b') {
            stream.write_all(b"?").unwrap();
            stream.read_exact(&mut [0]).unwrap();
        }
        eventually("the server knows", SOON, || {
            group.server.process.log().count("the control connection is lost") > 0
        });
        assert!((0..10).all(|_| group.who().0 == b'b'), "{kind:?}");
        // Another one takes the place, and its share.
        let other = named(b'c');
        group.join(other.port, "");
        eventually("it is given visitors", SOON, || group.who().0 == b'c');
        // The listener was the same all the time: it was neither closed nor bound again.
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, group.public));
        assert!(other.is_err());
    }
}

#[test]
fn whoever_waits_for_a_client_that_has_gone_is_served_by_another() {
    let backends = [named(b'a'), named(b'b')];
    let mut group = Group::of(Kind::Tls, b"ab", &backends);
    for round in 0..5 {
        let mut one = group.clients.remove(0);
        // They come in the very moment in which it goes.
        let public = group.public;
        let come = || thread::spawn(move || (0..20).filter_map(|_| who(public).ok()).count());
        let visitors: Vec<_> = (0..4).map(|_| come()).collect();
        one.signal(rustix::process::Signal::TERM);
        let count: usize = visitors.into_iter().map(|visitor| visitor.join().unwrap()).sum();
        assert_eq!(count, 80, "round {round}: some were lost");
        one.wait(SOON);
        group.join(backends[round % 2].port, "");
    }
}

#[test]
fn there_are_as_many_clients_as_the_license_permits() {
    let backends = [named(b'a'), named(b'b')];
    let mut group = Group::of(Kind::Tls, b"ab", &backends);
    let third = named(b'c');
    group.join(third.port, "");
    group.clients[0].wait_for("a newer login of the same license took over", SOON);
    let names: Vec<u8> = (0..20).map(|_| group.who().0).collect();
    assert!(!names.contains(&b'a') && names.contains(&b'b') && names.contains(&b'c'), "{names:?}");
    // Both are told of.
    let told = |words: &[&str]| {
        let state = group.server.folder.join("state");
        let output = std::process::Command::new(nt()).args(words).arg("--state").arg(state).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let status = told(&["status"]);
    let rows = status.lines().filter(|line| line.starts_with("farm ") && line.contains(" 127.0.0.1:"));
    assert_eq!(rows.filter(|line| line.contains(" live ") || line.contains("online")).count(), 2, "{status}");
    assert!(told(&["license", "list"]).contains("good, 2 online"));
    // What the license may is for all together.
    group.server.license(&["set", "farm", "max_visitors=3"]);
    let held: Vec<_> = (0..3).map(|_| group.who()).collect();
    eventually("no more come in", SOON, || who(group.public).is_err());
    drop(held);
}

#[test]
fn names_and_datagrams_are_divided_too() {
    let server = Server::start_with_names();
    let license = server.license(&["add", "farm", "--clients", "2", "--hosts", "a.example.com"]);
    let (http, udp) = ([web::mirror("one"), web::mirror("two")], port());
    let echoes: Vec<UdpSocket> = (0..2).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    let mut clients = Vec::new();
    for (name, (backend, socket)) in (b"ab".iter().copied()).zip(http.iter().zip(&echoes)) {
        let at = socket.local_addr().unwrap().port();
        let maps = [format!("a.example.com:127.0.0.1:{}", backend.port), format!("{udp}:127.0.0.1:{at}/udp")];
        let client = server.client_with(Kind::Tls, &license, &maps, |_| {});
        eventually("both are ready", SOON, || client.log().count(" ready") == 2);
        clients.push(client);
        let socket = socket.try_clone().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        thread::spawn(move || {
            while let Ok((_, from)) = socket.recv_from(&mut [0; 16]) {
                if socket.send_to(&[name], from).is_err() {
                    return;
                }
            }
        });
    }
    let names = server.names.unwrap();
    let mut talks: Vec<web::Talk> = (0..4).map(|_| web::Talk::new(visit(names))).collect();
    let by: Vec<String> =
        talks.iter_mut().map(|talk| talk.get("a.example.com", "/").from().to_owned()).collect();
    assert_eq!(by.iter().filter(|by| *by == "one").count(), 2, "{by:?}");
    // Who is there stays there.
    let again: Vec<String> =
        talks.iter_mut().map(|talk| talk.get("a.example.com", "/").from().to_owned()).collect();
    assert_eq!(by, again);
    let flows: Vec<u8> = (0..4)
        .map(|_| {
            let flow = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            flow.set_read_timeout(Some(SOON)).unwrap();
            flow.send_to(b"?", (Ipv4Addr::LOCALHOST, udp)).unwrap();
            let mut answer = [0];
            flow.recv(&mut answer).unwrap();
            answer[0]
        })
        .collect();
    assert_eq!(flows.iter().filter(|name| **name == b'a').count(), 2, "{flows:?}");
    drop(talks);
    clients.into_iter().for_each(super::udp::stop);
}

/// A real server that can be ill: what it answers is said by a file of its own.
fn moody(answer: &Arc<Mutex<&'static str>>) -> Backend {
    let answer = Arc::clone(answer);
    web::backend(move |talk| {
        let asked = talk.hear()?;
        let status =
            if asked.line().starts_with("GET /health ") { *answer.lock().unwrap() } else { "200 OK" };
        talk.say(format!("HTTP/1.1 {status}\r\nServer: moody\r\nContent-Length: 0\r\n\r\n"));
        Ok(())
    })
}

#[test]
fn a_real_server_that_is_not_well_gets_no_visitors() {
    let answer = Arc::new(Mutex::new("503 Service Unavailable"));
    let (sick, well) = (moody(&answer), web::mirror("well"));
    let mut group = Group::of(Kind::Tls, b"", &[]);
    group.join(well.port, ",check=tcp");
    group.join(sick.port, ",check=http:/health");
    group.clients[1].wait_for("fails its check, and gets no visitors", SOON);
    eventually("the server knows", SOON, || group.server.process.log().count("fails its check") > 0);
    let ask = |group: &Group| {
        let mut talk = web::Talk::new(visit(group.public));
        talk.get("127.0.0.1", "/").values("server").first().map(|by| (*by).to_owned())
    };
    assert!((0..10).all(|_| ask(&group).as_deref() != Some("moody")));
    // It recovers, and is given visitors again.
    *answer.lock().unwrap() = "204 No Content";
    group.clients[1].wait_for("passes its check again", SOON * 2);
    eventually("it is given visitors", SOON, || ask(&group).as_deref() == Some("moody"));
}

#[test]
fn whoever_comes_where_nobody_is_well_is_turned_away() {
    for kind in BOTH {
        let answer = Arc::new(Mutex::new("503 Service Unavailable"));
        let backend = moody(&answer);
        let mut group = Group::of(kind, b"", &[]);
        group.join(backend.port, ",check=http:/health");
        group.clients[0]
            .wait_for("fails its check, and gets no visitors: its answer is none of success", SOON);
        group.server.process.wait_for("fails its check (`check=` of the mapping)", SOON);
        // It would answer whoever came to it.
        let served = |group: &Group| {
            let mut talk = web::Talk::new(visit(group.public));
            // Who is turned away at once may be cut before it has asked.
            talk.stream().write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").is_ok() && talk.hear().is_ok()
        };
        assert!((0..3).all(|_| !served(&group)), "{kind:?}");
        *answer.lock().unwrap() = "200 OK";
        group.clients[0].wait_for("passes its check again", SOON * 2);
        eventually("visitors are let in", SOON, || served(&group));
    }
}
