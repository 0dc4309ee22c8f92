//! `nt doctor` and `nt bench`: what they find on tunnels that are well, and on those that are not, each in one way.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use super::harness::{BOTH, Backend, Kind, SOON, Server, echoes, nt, port, visit};
use super::process::{Process, eventually, mortal};

/// What a program has said, which must not be secret.
fn run(server: &Server, words: &[&str]) -> Output {
    let output = Command::new(nt()).args(words).stdin(Stdio::null()).output().unwrap();
    for said in [&output.stdout, &output.stderr] {
        let said = String::from_utf8_lossy(said);
        assert!(!said.contains("nt1") && !said.contains(&server.license[16..]), "a license is told: {said}");
    }
    output
}

/// All findings of `nt doctor`, and the exit code.
fn findings(server: &Server, words: &[&str]) -> (Vec<Value>, Option<i32>) {
    let output = run(server, &[&["doctor", "--json"], words].concat());
    let said = String::from_utf8_lossy(&output.stdout);
    let all: Value = serde_json::from_str(&said)
        .unwrap_or_else(|error| panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr)));
    (all.as_array().unwrap().clone(), output.status.code())
}

/// The bad ones of them: what was looked at, what was found, what to do.
fn bad(server: &Server, words: &[&str]) -> Vec<[String; 3]> {
    let (all, code) = findings(server, words);
    let bad: Vec<[String; 3]> = all
        .iter()
        .filter(|finding| finding["ok"] == false)
        .map(|finding| ["check", "says", "do"].map(|key| finding[key].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(code, Some(i32::from(!bad.is_empty())), "{all:?}");
    bad
}

/// The one bad finding, of this check, with these words in what is said and in what to do.
fn one_bad(server: &Server, words: &[&str], check: &str, says: &str, advice: &str) {
    let all = bad(server, words);
    let [[found, said, advised]] = all.as_slice() else { panic!("not one is bad: {all:?}") };
    assert!(found == check && said.contains(says) && advised.contains(advice), "{all:?}");
}

/// A file with a license and a server, as it stands behind `-c`.
fn at(server: &Server, license: &str, port: u16) -> String {
    let name = format!("doctor-{}-{port}", &license[3..11]);
    format!("@{}", server.folder.write(&name, format!("{license}@127.0.0.1:{port}\n")).display())
}

fn state(server: &Server) -> String {
    server.folder.join("state").display().to_string()
}

/// A server, a client that runs with one mapping to an echo, and the words of both.
struct Well {
    server: Server,
    client: super::rest::Nt,
    public: u16,
    /// `@FILE` and the mapping.
    words: [String; 2],
    _echo: Backend,
}

impl Well {
    fn new(kind: Kind) -> Self {
        let (server, echo, public) = (Server::start(), Backend::echo(), port());
        let mapping = format!("{public}:127.0.0.1:{}", echo.port);
        let client = server.client(kind, std::slice::from_ref(&mapping));
        client.wait_for(" ready", SOON);
        let words = [at(&server, &server.license, server.port(kind)), mapping];
        Self { server, client, public, words, _echo: echo }
    }

    fn words(&self, kind: Kind) -> Vec<&str> {
        let flag = (kind == Kind::Plain).then_some("--plain");
        self.words.iter().map(String::as_str).chain(flag).collect()
    }
}

#[test]
fn a_tunnel_that_is_well_is_found_well_and_not_touched() {
    for kind in BOTH {
        let well = Well::new(kind);
        let mut stream = visit(well.public);
        stream.write_all(b"before").unwrap();
        stream.read_exact(&mut [0; 6]).unwrap();
        let (all, code) = findings(&well.server, &well.words(kind));
        let checks: Vec<&str> = all.iter().map(|finding| finding["check"].as_str().unwrap()).collect();
        let security = if kind == Kind::Tls { "tls" } else { "plain" };
        assert_eq!(checks, ["clock", "tcp", security, "login", "trip", "loss", "backend", "public"]);
        assert!(code == Some(0) && all.iter().all(|finding| finding["ok"] == true), "{all:?}");
        // Who came before is still there, on the same connection and the same login.
        stream.write_all(b"after").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        assert!(echoes(well.public));
        assert_eq!(well.client.log().count("logged in"), 1, "{kind:?}");
        assert_eq!(well.server.process.log().count("took over"), 0, "{kind:?}");
    }
}

#[test]
fn lines_are_for_people() {
    let well = Well::new(Kind::Tls);
    let output = run(&well.server, &[&["doctor"], &*well.words(Kind::Tls)].concat());
    let said = String::from_utf8(output.stdout).unwrap();
    let tls = format!("ok    tls     127.0.0.1:{}: TLS 1.3 in ", well.server.tls);
    assert!(said.contains(&tls) && !said.contains('\x1b'), "{said}");
    assert!(said.lines().all(|line| line.starts_with("ok    ")), "{said}");
    // By the environment as well, where nobody sees it.
    let word = format!("{}@127.0.0.1:{}", well.server.license, well.server.tls);
    let output = Command::new(nt()).args(["doctor", "--json"]).env("NT_LICENSE", word).output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("\"login\""));
}

#[test]
fn a_port_that_is_another_is_told_by_what_answers_there() {
    let server = Server::start();
    let license = &server.license;
    one_bad(&server, &[&at(&server, license, port())], "tcp", "nothing listens there", "start the server");
    one_bad(&server, &[&at(&server, license, server.plain)], "tls", "hangs up at the first words", "--plain");
    let tls = at(&server, license, server.tls);
    one_bad(&server, &[&tls, "--plain"], "plain", "", "leave --plain out");
    let ssh = Backend::new(|mut stream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n");
        let _ = stream.read(&mut [0; 1024]);
    });
    let words = at(&server, license, ssh.port);
    one_bad(&server, &[&words], "tls", "it does not speak TLS; it says `SSH-2.0-OpenSSH_9.9`", "tunnel port");
    one_bad(&server, &[&words, "--plain"], "plain", "`SSH-2.0-OpenSSH_9.9`", "unencrypted port");
    let web = Backend::new(|mut stream| {
        // handshake_failure (RFC 8446 section 6), which a web server says to an ALPN that it does not know.
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 40]);
    });
    one_bad(&server, &[&at(&server, license, web.port)], "tls", "(alert 40)", "web server");
    let words = format!("@{}", server.folder.write("name", format!("{license}@nt-e2e.invalid")).display());
    let all = bad(&server, &[&words]);
    assert!(all.len() == 1 && all[0][0] == "dns", "{all:?}");
}

#[test]
fn a_license_that_is_not_let_in_is_told_why() {
    let (server, other) = (Server::start(), Server::start());
    let words = |license: &str| at(&server, license, server.tls);
    one_bad(&server, &[&words(&other.license)], "login", "does not accept this license", "another server");
    let gone = server.license(&["add", "gone"]);
    server.license(&["remove", "gone"]);
    one_bad(&server, &[&words(&gone)], "login", "does not accept this license", "removed");
    let revoked = server.license(&["add", "revoked"]);
    server.license(&["revoke", "revoked"]);
    one_bad(&server, &[&words(&revoked)], "login", "revoked", "nt license rotate");
    let expired = server.license(&["add", "expired", "--expires", "2026-01-01"]);
    one_bad(&server, &[&words(&expired)], "login", "expired", "expires");
}

#[test]
fn a_backend_or_public_port_that_does_not_answer_is_named() {
    let server = Server::start();
    let (word, absent, public) = (at(&server, &server.license, server.tls), port(), port());
    let mapping = format!("{public}:127.0.0.1:{absent}");
    let all = bad(&server, &[&word, &mapping]);
    let [backend, visitors] = all.as_slice() else { panic!("{all:?}") };
    assert!(backend[0] == "backend" && backend[1] == "refused", "{all:?}");
    assert!(visitors[0] == "public" && visitors[2].contains("start the client"), "{all:?}");
    // The same from a file.
    let file = server.folder.write("nt.toml", format!("map = [\"{mapping}\"]\n"));
    assert_eq!(bad(&server, &[&word, "--config", file.to_str().unwrap()]), all);
}

#[test]
fn a_server_is_looked_at_where_it_runs() {
    let mut well = Well::new(Kind::Tls);
    let state = state(&well.server);
    let words = ["--state", &state];
    let (all, code) = findings(&well.server, &words);
    let found = |check: &str| all.iter().filter(|finding| finding["check"] == check).count();
    assert_eq!(code, Some(0), "{all:?}");
    assert_eq!((found("server"), found("door"), found("license")), (1, 2, 1), "{all:?}");
    assert!(found("mapping") >= 1 && found("state") == 2, "{all:?}");
    // A mapping whose port is somebody else's.
    let taken = Backend::echo_at("0.0.0.0:0".parse().unwrap());
    let mapping = format!("0.0.0.0:{}:127.0.0.1:1", taken.port);
    let license = well.server.license(&["add", "second"]);
    let second = well.server.client_with(Kind::Tls, &license, std::slice::from_ref(&mapping), |_| {});
    second.wait_for("in use by another program", SOON);
    one_bad(&well.server, &words, "mapping", "the public port is in use by another program", "stop it");
    drop(second);
    // A secret that others can read.
    let file = well.server.folder.join("state/licenses.toml");
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(&file, mode(0o644)).unwrap();
    one_bad(&well.server, &words, "state", "", "chmod");
    std::fs::set_permissions(&file, mode(0o600)).unwrap();
    drop(well.client);
    well.server.process.signal(Signal::TERM);
    well.server.process.wait(SOON);
    one_bad(&well.server, &words, "server", "no server runs", "nt -s");
}

#[test]
fn where_there_is_neither_it_says_what_to_write() {
    let server = Server::start();
    let nowhere = server.folder.join("nowhere");
    let output = run(&server, &["doctor", "--state", nowhere.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("nt doctor LICENSE@HOST"), "{said}");
    assert!(!nowhere.exists(), "it made a state directory");
}

#[test]
fn a_tunnel_is_measured_beside_its_client() {
    for kind in BOTH {
        let well = Well::new(kind);
        let mut stream = visit(well.public);
        stream.write_all(b"before").unwrap();
        stream.read_exact(&mut [0; 6]).unwrap();
        let word = &well.words[0];
        let mut words = vec!["bench", word, "--seconds", "1", "--streams", "2", "--json"];
        words.extend((kind == Kind::Plain).then_some("--plain"));
        let output = run(&well.server, &words);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{error}");
        let all: Value = serde_json::from_slice(&output.stdout).unwrap();
        let positive = |value: &Value| value.as_f64().is_some_and(|number| number > 0.0);
        let latency = &all["latency"];
        assert!(positive(&latency["median_micros"]) && positive(&latency["p99_micros"]), "{all}");
        let of = |list: &str, key: &str| -> Vec<Value> {
            all[list].as_array().unwrap().iter().map(|figure| figure[key].clone()).collect()
        };
        assert_eq!(of("throughput", "way"), ["down", "down", "up", "up"]);
        assert_eq!(of("throughput", "streams"), [1, 2, 1, 2]);
        assert!(of("throughput", "bits_per_second").iter().all(positive), "{all}");
        assert_eq!(of("connections", "at_once"), [1, 16]);
        assert!(of("connections", "per_second").iter().all(positive), "{all}");
        stream.write_all(b"after").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        assert!(echoes(well.public));
        assert_eq!(well.client.log().count("logged in"), 1, "{kind:?}");
        // It has gone, and what it opened with it.
        let public = all["public"].as_str().unwrap().to_owned();
        eventually("its port is closed", SOON, || TcpStream::connect(&public).is_err());
    }
}

#[test]
fn what_cannot_be_measured_is_told_why() {
    let server = Server::start();
    let license = server.license(&["add", "none", "--ports", "none"]);
    let used = server.license(&["add", "used", "--quota", "100000"]);
    for (word, what) in [
        (at(&server, &license, server.tls), "no port is free for this license"),
        (at(&server, &server.license, port()), "`nt doctor` with the same words says more"),
        (at(&server, &used, server.tls), ": the license's quota may be used up"),
    ] {
        let output = run(&server, &["bench", &word, "--seconds", "1"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(what), "{said}");
    }
}

#[test]
fn a_measurement_ends_when_it_is_asked_to() {
    let server = Server::start();
    let word = at(&server, &server.license, server.tls);
    let mut bench = Process::start(mortal(nt()).args(["bench", &word, "--seconds", "60"]));
    let state = state(&server);
    let measures = || {
        let status = run(&server, &["status", "--json", "--state", &state]);
        serde_json::from_slice::<Value>(&status.stdout).is_ok_and(|status| status["visitors"] == 1)
    };
    eventually("it is visited", SOON, measures);
    bench.signal(Signal::INT);
    assert_eq!(bench.wait(SOON).code(), Some(1));
    bench.wait_for("it was stopped before all was measured", SOON);
    server.process.wait_for("logged out: it is stopping", SOON);
}
