//! Targets that are bound on demand.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::api::{ask, get};
use super::harness::{BOTH, Backend, Kind, SOON, Server, echoes, port, visit};
use super::process::eventually;
use super::rest::Nt;

/// A server, and a client that lets itself be asked for these ports of loopback.
fn willing(kind: Kind, allow: &str) -> (Server, Nt) {
    let server = Server::start();
    let client = server.client_with(kind, &server.license, &[], |command| {
        command.args(["--allow", allow]);
    });
    client.wait_for("logged in", SOON);
    eventually("the server knows", SOON, || get(&server, "/api/v1/status")["sessions"] == 1);
    (server, client)
}

/// What is answered to a wish for this target.
fn bind(server: &Server, target: u16, more: &str) -> (u16, Value) {
    let answer =
        ask(server, "POST", "/api/v1/bind", &format!("{{\"host\":\"127.0.0.1\",\"port\":{target}{more}}}"));
    (answer.status, answer.json())
}

fn bound(server: &Server, target: u16) -> u16 {
    let (status, value) = bind(server, target, "");
    assert_eq!((status, &value["host"]), (200, &json!("127.0.0.1")), "{value}");
    value["port"].as_u64().unwrap() as u16
}

fn opens(public: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, public)).is_ok()
}

#[test]
fn a_target_is_bound_when_it_answers_and_the_same_one_at_the_same_port() {
    for kind in BOTH {
        let (server, client) = willing(kind, "127.0.0.1:1-65535");
        let (echo, greeter) =
            (Backend::echo(), Backend::new(|mut stream| _ = stream.write_all(b"SSH-2.0-x\r\n")));
        let first = bound(&server, echo.port);
        assert!(echoes(first), "{kind:?}");
        assert_eq!(bound(&server, echo.port), first);
        // By the short form, whatever the method; a real server that speaks first spoils nothing.
        for method in ["GET", "PUT", "POST"] {
            let target = format!("/route/bind/127.0.0.1/{}?license=default&ttl=60", greeter.port);
            let answer = ask(&server, method, &target, "");
            assert_eq!(answer.status, 200, "{}", answer.body);
            let mut visitor = visit(answer.json()["port"].as_u64().unwrap() as u16);
            let mut said = String::new();
            visitor.read_to_string(&mut said).unwrap();
            assert_eq!(said, "SSH-2.0-x\r\n", "{kind:?} {method}");
        }
        let binds = get(&server, "/route/queryServerBindStat");
        let all = binds["binds"].as_array().unwrap();
        assert_eq!(all.len(), 2, "{binds}");
        assert_eq!(all[0]["target"], json!({ "host": "127.0.0.1", "port": echo.port }));
        assert_eq!(all[0]["public"]["port"], first);
        assert_eq!((&all[0]["ttl"], &all[1]["ttl"]), (&json!(300), &json!(60)));
        // Many who ask at once get one and the same.
        let third = Backend::echo();
        let ports: Vec<u16> = thread::scope(|scope| {
            let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| bound(&server, third.port))).collect();
            asked.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(ports.iter().all(|port| *port == ports[0]) && echoes(ports[0]), "{ports:?}");
        assert!(client.log().count("Panic") == 0);
    }
}

#[test]
fn what_may_not_be_or_does_not_answer_is_not_bound() {
    let (server, _client) = willing(Kind::Tls, "127.0.0.1:1-65000");
    let listens = |server: &Server| get(server, "/api/v1/binds")["binds"].as_array().unwrap().len();
    // Nobody listens there.
    let (status, value) = bind(&server, port(), "");
    assert!(status == 502 && value["error"].as_str().unwrap().contains("refused the connection"), "{value}");
    // The client does not allow it.
    let (status, value) = bind(&server, 65_001, "");
    assert!(
        status == 409 && value["error"].as_str().unwrap().contains("does not allow this target"),
        "{value}"
    );
    for (body, status, what) in [
        (r#"{"host":"127.0.0.1"}"#, 400, "`port` has to be a number from 1 to 65535"),
        (r#"{"host":"127.0.0.1","port":0}"#, 400, "`port` has to be a number from 1 to 65535"),
        (r#"{"host":"a b","port":1}"#, 400, "a b"),
        (r#"{"host":"unix","port":1,"tll":3}"#, 400, "there is no field `tll` here; did you mean `ttl`?"),
        (
            r#"{"host":"127.0.0.1","port":1,"ttl":9}"#,
            400,
            "`ttl` has to be a number of seconds from 10 to 86400",
        ),
        (r#"{"host":"127.0.0.1","port":1,"license":"nas"}"#, 404, "there is no license `nas`"),
    ] {
        let answer = ask(&server, "POST", "/api/v1/bind", body);
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert!(answer.body.contains(what), "{body}: {}", answer.body);
    }
    // What the commands have changed counts at once when the server is told so.
    let license = |words: &[&str]| {
        server.license(words);
        assert_eq!(ask(&server, "POST", "/api/v1/reload", "").status, 200);
    };
    license(&["add", "idle"]);
    let echo = Backend::echo();
    let (status, value) = bind(&server, echo.port, ",\"license\":\"idle\"");
    assert!(status == 409 && value["error"] == "license `idle` is not online", "{value}");
    // What the license may is not more for being asked for so.
    license(&["set", "default", "ports=none"]);
    let (status, value) = bind(&server, echo.port, "");
    assert!(status == 409 && value["error"].as_str().unwrap().contains("may publish no ports"), "{value}");
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let only = taken.local_addr().unwrap().port();
    license(&["set", "default", &format!("ports={only}")]);
    let (status, value) = bind(&server, echo.port, "");
    assert!(status == 409 && value["error"].as_str().unwrap().contains("in use"), "{value}");
    drop(taken);
    license(&["set", "default", "max_mappings=1"]);
    assert_eq!(bound(&server, echo.port), only);
    let other = Backend::echo();
    let (status, value) = bind(&server, other.port, "");
    assert!(status == 409 && value["error"].as_str().unwrap().contains("max_mappings"), "{value}");
    assert_eq!(listens(&server), 1);
}

#[test]
fn a_bound_target_stays_while_it_is_used_and_its_client_may_come_back() {
    let (server, mut client) = willing(Kind::Tls, "127.0.0.1:1-65535");
    let echo = Backend::echo();
    let (status, value) = bind(&server, echo.port, ",\"ttl\":10");
    assert_eq!(status, 200, "{value}");
    let public = value["port"].as_u64().unwrap() as u16;
    // The client is started again: the same target is there again, at the same port.
    client.signal(Signal::KILL);
    client.wait(SOON);
    let again = server.client_with(Kind::Tls, &server.license, &[], |command| {
        command.args(["--allow", "127.0.0.1:1-65535"]);
    });
    again.wait_for("logged in", SOON);
    eventually("it is served again", SOON, || opens(public) && echoes(public));
    assert_eq!(bound(&server, echo.port), public);
    let (status, _) = bind(&server, echo.port, ",\"ttl\":10");
    assert_eq!(status, 200);
    // Somebody stays longer than the ttl.
    let mut visitor = visit(public);
    let used = || get(&server, "/api/v1/binds")["binds"][0]["unused"].as_u64();
    let mut most = 0;
    for _ in 0..12 {
        visitor.write_all(b"?").unwrap();
        visitor.read_exact(&mut [0]).unwrap();
        thread::sleep(std::time::Duration::from_secs(1));
        most = most.max(used().expect("it is gone though it is used"));
    }
    assert!(most <= 3, "{most}: a visit that is on counts as use");
    drop(visitor);
    eventually("nobody uses it: it goes", SOON, || used().is_none());
    eventually("its port is closed", SOON, || !opens(public));
}
