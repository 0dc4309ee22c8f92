//! Other licenses: shown first, taken or refused as a whole, and taken back unless somebody confirms them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use super::api::{ask, get};
use super::harness::{BOTH, Backend, Kind, SOON, Server, echoes, nt, port, visit};
use super::process::eventually;

/// `nt WORDS --state …`.
fn run(server: &Server, words: &[&str]) -> Output {
    let mut command = Command::new(nt());
    command.args(words).arg("--state").arg(server.folder.join("state")).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// It fails, for this reason; what it says.
fn refused(output: &Output, what: &str) -> String {
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains(what), "{what:?} is not said in {said:?}");
    said
}

/// It succeeds; what it tells.
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn licenses(server: &Server) -> String {
    std::fs::read_to_string(server.folder.join("state/licenses.toml")).unwrap()
}

/// Writes a file beside the state, and says where.
fn file(server: &Server, text: &str) -> String {
    server.folder.write("new.toml", text).display().to_string()
}

fn unconfirmed(server: &Server) -> Value {
    get(server, "/api/v1/status")["unconfirmed"].clone()
}

fn events(server: &Server, text: &str) -> usize {
    let events = get(server, "/api/v1/events");
    let has = |event: &&Value| event["text"].as_str().unwrap().contains(text);
    events["events"].as_array().unwrap().iter().filter(has).count()
}

#[test]
fn a_plan_shows_each_difference_and_no_secret_and_changes_nothing() {
    let server = Server::start();
    let map = |public: u16| format!("{public}:127.0.0.1:9");
    let [one, two, three] = [port(), port(), port()];
    server.license(&["add", "box"]);
    server.license(&["add", "nas", "--map", &format!("{},rate=2M", map(one)), "--map", &map(two)]);
    server.license(&["add", "old"]);
    let now = licenses(&server);
    assert_eq!(done(&run(&server, &["plan", &file(&server, &now)])), "nothing would change\n");
    // What it has not seen yet would change; it looks by itself, or when it is told.
    done(&run(&server, &["reload"]));
    assert_eq!(done(&run(&server, &["plan"])), "nothing would change\n");

    // What others are is made by the commands themselves, on another state.
    let other = server.folder.join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("licenses.toml"), &now).unwrap();
    let change = |words: &[&str]| {
        let output = Command::new(nt()).args(words).arg("--state").arg(&other).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    change(&["license", "remove", "box"]);
    change(&["license", "revoke", "old"]);
    change(&["license", "rotate", "default"]);
    change(&["license", "set", "nas", "rate=5M"]);
    change(&["map", "remove", "nas", &two.to_string()]);
    change(&["map", "add", "nas", &format!("{three}:socks5,auth=eve:hunter2")]);
    change(&["map", "remove", "nas", &one.to_string()]);
    change(&["map", "add", "nas", &format!("{},rate=4M", map(one))]);
    change(&["license", "add", "cam"]);
    let new = other.join("licenses.toml").display().to_string();
    let told = done(&run(&server, &["plan", &new]));
    let wanted = format!(
        "- license box\n+ license cam\n~ license default: rotated\n~ license nas: rate none -> 5M\n\
         ~ license nas: - mapping {two}:9\n\
         ~ license nas: mapping {one}:9: other options -rate=2M +rate=4M\n\
         ~ license nas: + mapping {three}:socks5,...\n~ license old: revoked\n"
    );
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&told), sorted(&wanted));
    let json: Value = serde_json::from_str(&done(&run(&server, &["plan", &new, "--json"]))).unwrap();
    assert_eq!(json["changes"].as_array().unwrap().len(), 8);
    assert_eq!(json["changes"][0], json!({ "license": "box", "change": "removed" }));
    assert!(!format!("{told}{json}").contains("hunter2"), "{told}{json}");
    assert_eq!(licenses(&server), now);
}

#[test]
fn a_file_that_is_wrong_is_refused_with_its_line_and_changes_nothing() {
    let mut server = Server::start();
    let now = licenses(&server);
    let line = now.lines().count() + 1;
    let new = file(&server, &format!("{now}prots = \"80\"\n"));
    let what = format!("new.toml, line {line}: there is no setting `prots` here; did you mean `ports`?");
    let forbidden = file_named(&server, "forbidden.toml", &now.replace("map = []", "map = [\"22:22\"]"));
    for (words, what) in [
        (vec!["plan", &new], what.as_str()),
        (vec!["reload", &new], &what),
        (vec!["reload", &new, "--confirm", "5"], &what),
        (vec!["reload", &forbidden], "license `default` may not publish port 22"),
        (vec!["reload", "/nowhere.toml"], "there is no file /nowhere.toml"),
        (vec!["reload", &new, "--confirm", "4"], "--confirm: `4` is not a number of seconds from 5 to 3600"),
        (vec!["reload", "--confirm", "5"], "--confirm needs a FILE"),
    ] {
        refused(&run(&server, &words), what);
    }
    assert_eq!((licenses(&server), unconfirmed(&server)), (now.clone(), Value::Null));
    assert_eq!(server.process.log().count("licenses.toml, line"), 0, "the server has not seen it");
    // What is refused in its place is still what the server holds something else than.
    server.folder.write("state/licenses.toml", format!("{now}prots = \"80\"\n"));
    refused(&run(&server, &["plan"]), &format!("licenses.toml, line {line}: there is no setting `prots`"));
    // A good file mends it.
    done(&run(&server, &["reload", &file(&server, &now)]));
    assert_eq!(licenses(&server), now);
    server.process.signal(rustix::process::Signal::TERM);
    server.process.wait(SOON);
    refused(&run(&server, &["plan"]), "there is nothing to compare with: no server runs");
    refused(&run(&server, &["reload", &file(&server, &now)]), "no server runs");
    assert_eq!(done(&run(&server, &["plan", &file(&server, &now)])), "nothing would change\n");
}

fn file_named(server: &Server, name: &str, text: &str) -> String {
    server.folder.write(name, text).display().to_string()
}

#[test]
fn a_port_that_cannot_be_had_is_refused_with_who_has_it() {
    let (server, echo) = (Server::start(), Backend::echo());
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let datagrams = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (taken, datagrams_port) = (
        taken.local_addr().map(|address| (taken, address.port())).unwrap(),
        datagrams.local_addr().unwrap().port(),
    );
    let live = port();
    let license = server.license(&["add", "shop", "--map", &format!("{live}:127.0.0.1:{}", echo.port)]);
    let client = server.client_with(Kind::Tls, &license, &[], |_| {});
    client.wait_for(" ready", SOON);
    let now = licenses(&server);
    let tls = server.tls;
    for (mapping, what) in [
        (format!("{}:9", taken.1), format!("mapping {0}:9: port {0} is in use by another program", taken.1)),
        (format!("{datagrams_port}:9/udp"), format!("port {datagrams_port} is in use by another program")),
        (format!("{live}:9"), format!("port {live} is in use by license `shop` (its mapping {live}:")),
        (format!("127.0.0.1:{tls}:9"), format!("port {tls} is in use by the server itself")),
        ("203.0.113.7:8080:9".to_owned(), "203.0.113.7 is no address of this machine".to_owned()),
    ] {
        let new = file(&server, &now.replacen("map = []", &format!("map = [\"{mapping}\"]"), 1));
        let whole = format!("license `default`, mapping {}", mapping.split('/').next().unwrap());
        for words in [
            &["reload", &new][..],
            &["plan", &new],
            &["map", "add", "default", &mapping],
            &["license", "add", "other", "--map", &mapping],
        ] {
            let said = refused(&run(&server, words), &what);
            assert!(words[0] == "license" || said.contains(&whole), "{said}");
        }
    }
    assert_eq!(licenses(&server), now);
    // The same port of the same license is no fault, nor one that is given up, nor the other protocol's.
    let moved = now.replace(&format!("map = [\"{live}:"), "map = []\n# ").replacen(
        "map = []",
        &format!("map = [\"{live}:9\", \"{}:9/udp\"]", taken.1),
        1,
    );
    let told = done(&run(&server, &["plan", &file(&server, &moved)]));
    assert!(told.contains(&format!("~ license default: + mapping {live}:9\n")), "{told}");
    done(&run(&server, &["map", "remove", "shop", &live.to_string()]));
    eventually("the port is closed", SOON, || TcpStream::connect((Ipv4Addr::LOCALHOST, live)).is_err());
    done(&run(&server, &["map", "add", "shop", &format!("{live}:127.0.0.1:{}", echo.port)]));
    eventually("it is open again", SOON, || echoes(live));
}

#[test]
fn what_an_editor_writes_or_a_program_asks_for_is_tried_before_it_holds() {
    let (mut server, echo, public) = (Server::start(), Backend::echo(), port());
    let client = server.client(Kind::Tls, &[format!("{public}:127.0.0.1:{}", echo.port)]);
    client.wait_for(" ready", SOON);
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let busy = taken.local_addr().unwrap().port();
    let steady = Steady::visit(public);
    let before = licenses(&server);
    for (method, target, body) in [
        ("POST", "/api/v1/licenses/default/mappings", json!({ "mapping": format!("{busy}:9") })),
        ("POST", "/api/v1/licenses", json!({ "name": "box", "map": [format!("{busy}:9")] })),
    ] {
        let answer = ask(&server, method, target, &body.to_string());
        let why = format!("port {busy} is in use by another program");
        assert!(answer.status == 409 && answer.body.contains(&why), "{target}: {}", answer.body);
        assert_eq!(licenses(&server), before);
    }

    // A license more, with one port that can be had and one that cannot: it is not there.
    server.license(&["add", "first"]);
    let (head, tail) =
        licenses(&server).rsplit_once("map = []").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    server.license(&["remove", "first"]);
    let with = format!("{head}map = [\n\"{}:9\",\n\"{busy}:9\"\n]{tail}", port());
    let line = with.lines().position(|line| line == format!("\"{busy}:9\"")).unwrap() + 1;
    server.folder.write("state/licenses.toml", &with);
    let what = format!(
        "licenses.toml, line {line}: license `first`, mapping {busy}:9: port {busy} is in use by another program; the \
         licenses of before still hold"
    );
    server.process.wait_for(&what, SOON);
    for _ in 0..2 {
        refused(&run(&server, &["reload"]), &what);
        assert!(
            get(&server, "/api/v1/licenses")["licenses"].as_array().unwrap().len() == 1 && echoes(public)
        );
    }
    let status = done(&run(&server, &["status"]));
    assert!(status.contains(&format!("does not count: licenses.toml, line {line}: ")), "{status}");
    let listed = run(&server, &["license", "list"]);
    assert!(
        text(&listed.stderr).contains("the server goes on with the licenses of before: licenses.toml, line")
    );
    assert!(text(&listed.stdout).contains("good, online"), "{}", text(&listed.stdout));
    drop(taken);
    assert_eq!(text(&run(&server, &["reload"]).stderr), "licenses.toml read: 2 licenses\n");
    assert_eq!(text(&run(&server, &["reload"]).stderr), "nothing has changed\n");
    assert!(steady.end() > 0);
    assert_eq!(client.log().count("logged in"), 1);
    assert!(server.process.runs());
}

/// A license with a mapping that stays, and a file in which another one stands as well.
struct Stage {
    server: Server,
    new: String,
    old: String,
    kept: u16,
    added: u16,
    license: String,
    _echo: Backend,
}

fn stage() -> Stage {
    let (server, echo) = (Server::start(), Backend::echo());
    let (kept, added) = (port(), port());
    let license = server.license(&["add", "nas", "--map", &format!("{kept}:127.0.0.1:{}", echo.port)]);
    let old = licenses(&server) + "\n# A comment of somebody's own.\n";
    server.folder.write("state/licenses.toml", &old);
    let more = format!("map = [\"{added}:127.0.0.1:{}\", \"{kept}:", echo.port);
    let new = old.replace(&format!("map = [\"{kept}:"), &more);
    assert_ne!(new, old);
    let new = file(&server, &new);
    Stage { server, new, old, kept, added, license, _echo: echo }
}

/// A visitor of an echo who goes on until it is told to end, and says how much came back as it was.
struct Steady {
    over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Steady {
    fn visit(public: u16) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (ended, mut stream) = (Arc::clone(&over), visit(public));
        let thread = thread::spawn(move || {
            let mut count = 0_u64;
            while !ended.load(Ordering::Relaxed) {
                let said = count.to_be_bytes().repeat(128);
                let mut heard = vec![0; said.len()];
                stream.write_all(&said).unwrap();
                stream.read_exact(&mut heard).unwrap();
                assert_eq!(heard, said, "message {count}");
                count += 1;
                thread::sleep(Duration::from_millis(5));
            }
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it ends as it should");
            count
        });
        Self { over, thread }
    }

    fn end(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[test]
fn what_nobody_confirms_goes_back_by_itself_and_no_byte_is_lost() {
    for kind in BOTH {
        let Stage { server, new, old, kept, added, license, _echo } = stage();
        let client = server.client_with(kind, &license, &[], |_| {});
        client.wait_for(" ready", SOON);
        let steady = Steady::visit(kept);
        let output = run(&server, &["reload", &new, "--confirm", "8"]);
        assert!(done(&output).contains("~ license nas: + mapping "), "{}", text(&output.stdout));
        assert!(text(&output.stderr).contains("unless `nt reload` confirms it within 8 s"));
        eventually("the new mapping is there", SOON, || echoes(added));
        eventually("it is gone again", SOON, || TcpStream::connect((Ipv4Addr::LOCALHOST, added)).is_err());
        eventually("the file is as it was", SOON, || licenses(&server) == old);
        eventually("nothing waits", SOON, || unconfirmed(&server).is_null());
        assert!(!server.folder.join("state/licenses.before").exists());
        let what = "not confirmed within 8 s: the licenses of before hold again";
        server.process.wait_for(what, SOON);
        assert_eq!(events(&server, what), 1, "{kind:?}");
        assert!(echoes(kept), "{kind:?}");
        assert!(steady.end() > 0, "{kind:?}");
        // It is as if nothing had been.
        done(&run(&server, &["license", "set", "nas", "rate=9M"]));
        assert_eq!(get(&server, "/api/v1/licenses/nas")["map"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn what_is_confirmed_stays_and_nothing_else_changes_meanwhile() {
    let Stage { server, new, added, license, _echo, .. } = stage();
    let _client = server.client_with(Kind::Tls, &license, &[], |_| {});
    done(&run(&server, &["reload", &new, "--confirm", "3600"]));
    let tried = licenses(&server);
    assert_eq!(tried, std::fs::read_to_string(&new).unwrap());
    let left = unconfirmed(&server).as_u64().unwrap();
    assert!((1..=3600).contains(&left), "{left}");
    let what = "a change waits to be confirmed: `nt reload` keeps it";
    for words in [
        &["license", "add", "more"][..],
        &["license", "set", "nas", "rate=1M"],
        &["license", "revoke", "nas"],
        &["license", "rotate", "nas"],
        &["license", "remove", "nas"],
        &["map", "add", "nas", "9999:9"],
        &["map", "remove", "nas", &added.to_string()],
        &["reload", &new],
        &["reload", &new, "--confirm", "60"],
    ] {
        refused(&run(&server, words), what);
    }
    for (method, target, body) in [
        ("POST", "/api/v1/licenses", r#"{"name":"more"}"#),
        ("PATCH", "/api/v1/licenses/nas", r#"{"rate":"1M"}"#),
        ("DELETE", "/api/v1/licenses/nas", ""),
    ] {
        let answer = ask(&server, method, target, body);
        assert!(answer.status == 409 && answer.body.contains(what), "{} {}", answer.status, answer.body);
    }
    assert_eq!(licenses(&server), tried);
    // It can be given another time, and is kept when that is said.
    assert_eq!(ask(&server, "POST", "/api/v1/reload", r#"{"confirm":60}"#).status, 200);
    assert!(unconfirmed(&server).as_u64().unwrap() <= 60);
    let output = run(&server, &["reload"]);
    done(&output);
    assert!(text(&output.stderr).contains("confirmed: what holds now stays"), "{}", text(&output.stderr));
    assert_eq!((unconfirmed(&server), licenses(&server)), (Value::Null, tried));
    assert_eq!(events(&server, "the licenses that were tried out are confirmed"), 1);
    eventually("the new mapping is there", SOON, || echoes(added));
    // Nothing is left that could go back: a trial that is begun anew goes back to what was confirmed.
    assert_eq!(ask(&server, "POST", "/api/v1/reload", r#"{"confirm":5}"#).status, 200);
    eventually("it is over", SOON, || unconfirmed(&server).is_null());
    done(&run(&server, &["license", "set", "nas", "rate=9M"]));
    assert!(echoes(added));
}

#[test]
fn a_server_that_is_killed_meanwhile_leaves_a_good_file() {
    let Stage { mut server, new, added, license, _echo, .. } = stage();
    let _client = server.client_with(Kind::Tls, &license, &[], |_| {});
    done(&run(&server, &["reload", &new, "--confirm", "3600"]));
    server.process.kill();
    let path = server.folder.join("state/licenses.toml");
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(Path::new(&new)).unwrap());
    done(&Command::new(nt()).arg("check").arg(&path).output().unwrap());
    // What stands in the file is what holds.
    server.again();
    eventually("the new mapping is there", SOON, || echoes(added));
    assert_eq!(unconfirmed(&server), Value::Null);
    done(&run(&server, &["license", "set", "nas", "rate=9M"]));
}
