//! What the operator does: licenses, signals, files that are damaged, logs that nobody reads.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::data::Pattern;
use super::harness::{BOTH, Backend, Folder, Kind, SOON, Server, Tunnel, nt, port, visit};
use super::process::{eventually, mortal, say};
use super::rest::Nt;

#[test]
fn a_port_that_the_license_does_not_permit_is_not_served_and_the_client_says_why() {
    let server = Server::start();
    let backend = Backend::echo();
    let (good, bad) = (port(), port());
    let license = server.license(&["add", "narrow", "--ports", &format!("{good}-{good}")]);
    let mappings = [good, bad].map(|public| format!("{public}:127.0.0.1:{}", backend.port));
    let client = server.client_with(Kind::Tls, &license, &mappings, |_| {});
    let line = client.wait_for("not ready: the license does not permit this port", SOON);
    assert!(line.contains(&bad.to_string()), "{line}");
    client.wait_for(&format!("{good} -> 127.0.0.1:{} ready", backend.port), SOON);
    assert!(std::net::TcpStream::connect(("127.0.0.1", bad)).is_err(), "{bad} is open");
    let mut visitor = visit(good);
    visitor.write_all(b"?").unwrap();
    visitor.read_exact(&mut [0]).unwrap();
}

#[test]
fn a_license_added_and_revoked_while_the_server_runs_counts_at_once() {
    for kind in BOTH {
        let server = Server::start();
        let backend = Backend::echo();
        let public = port();
        let license = server.license(&["add", "brief"]);
        let mapping = [format!("{public}:127.0.0.1:{}", backend.port)];
        let mut client = server.client_with(kind, &license, &mapping, |_| {});
        client.wait_for(" ready", SOON);
        let mut visitor = visit(public);
        visitor.write_all(b"?").unwrap();
        visitor.read_exact(&mut [0]).unwrap();
        let begun = Instant::now();
        server.license(&["revoke", "brief"]);
        let end = visitor.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset), "{kind:?}: the visit goes on");
        assert!(begun.elapsed() < Duration::from_secs(6), "{kind:?}: {:?}", begun.elapsed());
        client.wait_for("this license was revoked", SOON);
        assert!(std::net::TcpStream::connect(("127.0.0.1", public)).is_err(), "{public} is open");
        assert!(client.runs(), "a refused client tries again, slowly");
        server.process.wait_for("brief: logged out", SOON);
    }
}

#[test]
fn licenses_that_come_change_and_go_leave_the_visits_of_others_alone() {
    for kind in BOTH {
        let backend = unhurried();
        let tunnel = Tunnel::to(kind, backend.port);
        let visits: Vec<_> = (0..100).map(|_| download(tunnel.public)).collect();
        for name in ["one", "two", "three"] {
            tunnel.server.license(&["add", name]);
            tunnel.server.license(&["rotate", name]);
            tunnel.server.process.wait_for("licenses.toml read", SOON);
            tunnel.server.license(&["revoke", name]);
            thread::sleep(Duration::from_millis(700));
        }
        for visit in visits {
            assert_eq!(visit.recv_timeout(SOON).unwrap(), (40 * 100 * 1024, Ok(())), "{kind:?}");
        }
        assert_eq!(tunnel.client.log().count("logged in"), 1);
    }
}

#[test]
fn a_wrong_license_is_refused_slowly_and_told_nothing() {
    for kind in BOTH {
        let (server, other) = (Server::start(), Server::start());
        let mapping = [format!("{}:127.0.0.1:9", port())];
        let mut client = server.client_with(kind, &other.license, &mapping, |_| {});
        client.wait_for("does not accept this license", SOON);
        server.process.wait_for("no license of this server proves it", SOON);
        thread::sleep(Duration::from_secs(3));
        assert_eq!(server.process.log().count("logged in"), 0);
        assert_eq!(client.log().count("connecting"), 1);
        assert!(client.runs(), "{kind:?}");
    }
}

#[test]
fn a_mistyped_license_is_found_before_anything_is_sent() {
    let server = Server::start();
    let mut typed = server.license.clone();
    let last = typed.pop().unwrap();
    typed.push(if last == 'a' { 'b' } else { 'a' });
    let mut client = server.client_with(Kind::Tls, &typed, &["8080".to_owned()], |_| {});
    assert_eq!(client.wait(SOON).code(), Some(1));
    // The line to paste and the two ports; of a connection it would say more.
    assert_eq!(server.process.log().count("127.0.0.1:"), 3, "{:?}", server.process.log().lines());
}

/// A backend that takes about 4 s for 4 MiB, and then ends.
pub fn unhurried() -> Backend {
    Backend::new(|stream| {
        let mut pattern = Pattern::new(3);
        for _ in 0..40 {
            if pattern.write(&stream, 100 * 1024).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = (&stream).read(&mut [0]);
    })
}

pub fn download(public: u16) -> mpsc::Receiver<(u64, Result<(), std::io::ErrorKind>)> {
    let (ended, ends) = mpsc::channel();
    let visitor = visit(public);
    // It has begun when this returns.
    visitor.peek(&mut [0]).unwrap();
    thread::spawn(move || ended.send(Pattern::new(3).read(&visitor)));
    ends
}

#[test]
fn an_asked_stop_of_the_server_lets_a_transfer_finish() {
    for kind in BOTH {
        let backend = unhurried();
        let mut tunnel = Tunnel::to(kind, backend.port);
        let ends = download(tunnel.public);
        tunnel.server.process.signal(Signal::TERM);
        tunnel.server.process.wait_for("stopping when 1 visits", SOON);
        assert!(tunnel.try_echo(SOON).is_err(), "{kind:?}: a new visitor is served by a server that stops");
        assert_eq!(ends.recv_timeout(SOON).unwrap(), (40 * 100 * 1024, Ok(())), "{kind:?}");
        assert_eq!(tunnel.server.process.wait(SOON).code(), Some(0), "{kind:?}");
    }
}

#[test]
fn an_asked_stop_of_the_client_lets_a_transfer_finish() {
    for kind in BOTH {
        let backend = unhurried();
        let mut tunnel = Tunnel::to(kind, backend.port);
        let ends = download(tunnel.public);
        tunnel.client.signal(Signal::TERM);
        tunnel.client.wait_for("stopping when 1 visits", SOON);
        assert_eq!(ends.recv_timeout(SOON).unwrap(), (40 * 100 * 1024, Ok(())), "{kind:?}");
        assert_eq!(tunnel.client.wait(SOON).code(), Some(0), "{kind:?}");
        tunnel.server.process.wait_for("logged out", SOON);
    }
}

#[test]
fn asked_twice_to_stop_both_stop_at_once_and_cut() {
    for kind in BOTH {
        for of_server in [true, false] {
            let backend = unhurried();
            let mut tunnel = Tunnel::to(kind, backend.port);
            let ends = download(tunnel.public);
            let process = if of_server { &mut tunnel.server.process } else { &mut tunnel.client };
            process.signal(Signal::TERM);
            process.wait_for("stopping when 1 visits", SOON);
            assert!(process.runs());
            let begun = Instant::now();
            process.signal(Signal::TERM);
            assert_eq!(process.wait(SOON).code(), Some(0), "{kind:?}");
            assert!(begun.elapsed() < Duration::from_secs(2), "{kind:?}: {:?}", begun.elapsed());
            let (total, end) = ends.recv_timeout(SOON).unwrap();
            assert!(total < 40 * 100 * 1024);
            assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset), "{kind:?}: a cut looks like an end");
        }
    }
}

#[test]
fn an_idle_nt_stops_at_once_when_asked() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut tunnel = Tunnel::to(Kind::Tls, port());
        tunnel.client.signal(signal);
        assert_eq!(tunnel.client.wait(SOON).code(), Some(0));
        tunnel.server.process.signal(signal);
        assert_eq!(tunnel.server.process.wait(SOON).code(), Some(0));
    }
}

#[test]
fn a_damaged_license_file_stops_a_start_and_not_a_running_server() {
    let mut tunnel = Tunnel::to(Kind::Tls, port());
    let file = tunnel.server.folder.join("state/licenses.toml");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let line = tunnel.server.process.wait_for("the licenses of before still hold", SOON);
    assert!(line.contains("licenses.toml"), "{line}");
    tunnel.client.kill();
    tunnel.client_again();
    tunnel.client.wait_for(" ready", SOON);
    tunnel.at_rest();
    tunnel.server.process.kill();
    tunnel.server.again();
    assert_eq!(tunnel.server.process.wait(SOON).code(), Some(1));
    tunnel.server.process.wait_for("licenses.toml", SOON);
    assert_eq!(std::fs::read(&file).unwrap(), &whole[..whole.len() / 2], "the damaged file is left as it is");
    std::fs::write(&file, whole).unwrap();
    tunnel.server.again();
    tunnel.server.process.wait_for("clients are served on", SOON);
    eventually("served", SOON, || tunnel.try_echo(SOON).is_ok());
}

#[test]
fn a_tunnel_port_in_use_is_said_and_ends_the_program() {
    let server = Server::start();
    let folder = Folder::new();
    let mut second = Nt::start(&mut Server::command(&folder, server.tls, port()), &server.tunnel_ports());
    assert_eq!(second.wait(SOON).code(), Some(1));
    second.wait_for("the port is in use", SOON);
}

/// The write end of a pipe that is full, and the read end that keeps it open.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // What a pipe takes by default (pipe(7)).
    writer.write_all(&vec![b'\n'; 65_536]).unwrap();
    (reader, writer)
}

/// A place for the log that takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sink {
    /// A pipe that nobody reads.
    Stuck,
    /// A pipe that nobody can read any more.
    Closed,
    /// A disk without room.
    Full,
}

#[test]
fn a_log_that_nobody_takes_holds_up_nothing() {
    let mut tunnel = Tunnel::to(Kind::Tls, port());
    for sink in [Sink::Stuck, Sink::Closed, Sink::Full] {
        let ports = tunnel.server.tunnel_ports();
        let (reader, writer) = full_pipe();
        let stderr = || match sink {
            Sink::Full => Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap()),
            Sink::Stuck | Sink::Closed => Stdio::from(writer.try_clone().unwrap()),
        };
        let reader = (sink == Sink::Stuck).then_some(reader);
        tunnel.server.process.kill();
        tunnel.client.kill();
        let mut server = Server::command(&tunnel.server.folder, ports[0], ports[1]);
        tunnel.server.process = Nt::start_unheard(server.stderr(stderr()), &ports);
        let license = format!("{}@127.0.0.1:{}", tunnel.server.license, tunnel.server.tls);
        let license = tunnel.server.folder.write("l", license);
        let mut client = mortal(nt());
        client.arg("-c").arg(format!("@{}", license.display())).args(&tunnel.mappings);
        tunnel.client = Nt::start_unheard(client.stderr(stderr()), &ports);
        eventually(&format!("{sink:?}: served"), SOON, || tunnel.try_echo(SOON).is_ok());
        for _ in 0..10 {
            tunnel.echo_once();
        }
        tunnel.at_rest();
        drop(reader);
        tunnel.echo_once();
    }
}

#[test]
fn a_closed_standard_error_holds_up_nothing() {
    let server = Server::start();
    let mut tunnel = Tunnel::with(Kind::Tls, port(), server, |_| {});
    tunnel.server.process.kill();
    tunnel.client.kill();
    let folder = tunnel.server.folder.path().to_owned();
    let ports = tunnel.server.tunnel_ports();
    let closed = |arguments: &str| {
        let mut command = mortal("sh");
        let script = format!("exec {} {arguments} 2>&- >&- <&-", nt().display());
        Nt::start_unheard(command.arg("-c").arg(script).stdin(Stdio::null()), &ports)
    };
    let (tls, plain) = (tunnel.server.tls, tunnel.server.plain);
    tunnel.server.process = closed(&format!(
        "-s --state {}/state --listen 127.0.0.1:{tls} --plain 127.0.0.1:{plain}",
        folder.display()
    ));
    let license = tunnel.server.folder.write("l", format!("{}@127.0.0.1:{tls}", tunnel.server.license));
    tunnel.client = closed(&format!("-c @{} {}", license.display(), tunnel.mappings.join(" ")));
    eventually("served without a log", SOON, || tunnel.try_echo(SOON).is_ok());
    tunnel.at_rest();
    // The descriptors 0 to 2 must not have become connections, into which a message would be written.
    for process in [&tunnel.server.process, &tunnel.client] {
        for fd in 0..3 {
            let target = std::fs::read_link(format!("/proc/{}/fd/{fd}", process.id()));
            let target = target.map(|path| path.display().to_string()).unwrap_or_default();
            assert!(!target.contains("socket"), "fd {fd} is {target}");
        }
    }
}

#[test]
fn the_demo_works_by_itself() {
    let output = Command::new(nt()).args(["demo", "--once"]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("fetched http://"), "{said}");
    if said.contains("nt1") {
        say("the demo tells its license");
    }
}

/// Whether a client that was started with these words, in which `LICENSE` and `HOST` stand for what they are called,
/// shows its license to other users.
fn shows_license(server: &Server, license: &str, words: &str) -> bool {
    let words = words.replace("LICENSE", license).replace("HOST", &format!("127.0.0.1:{}", server.tls));
    let client = Nt::start(mortal(nt()).args(words.split('|')).arg(format!("{}:9", port())), &[server.tls]);
    client.wait_for(" ready", SOON);
    client.proc_file("cmdline").to_lowercase().contains(&server.license[3..])
}

#[test]
fn a_license_on_the_command_line_is_not_shown_to_other_users() {
    let server = Server::start();
    for words in ["-c|LICENSE@HOST", "--client|LICENSE@HOST"] {
        assert!(!shows_license(&server, &server.license, words), "{words}");
    }
}

#[test]
fn a_license_anywhere_on_the_command_line_is_not_shown_to_other_users() {
    let server = Server::start();
    let capitals = server.license.to_uppercase();
    let shown = [
        ("-c|--allow|lan|LICENSE@HOST", &server.license),
        ("-c| LICENSE@HOST", &server.license),
        ("-c|LICENSE@HOST", &capitals),
    ];
    let shown = shown.iter().filter(|(words, license)| shows_license(&server, license, words));
    assert_eq!(shown.map(|(words, _)| *words).collect::<Vec<_>>(), [""; 0], "forms that show the license");
}

#[test]
fn a_log_for_programs_is_an_object_in_each_line() {
    let mut server = Server::start();
    server.process.signal(Signal::TERM);
    server.process.wait(SOON);
    let mut command = Server::command(&server.folder, server.tls, server.plain);
    server.process = Nt::start(command.args(["--log", "json"]), &server.tunnel_ports());
    let (echo, public) = (Backend::echo(), port());
    let mapping = [format!("{public}:127.0.0.1:{}", echo.port)];
    let client = server.client_with(Kind::Tls, &server.license, &mapping, |command| {
        command.args(["--log", "json"]);
    });
    let line = client.wait_for("\"kind\":\"ready\"", SOON);
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&ready["level"], &ready["target"]),
        (&"info".into(), &mapping[0].split_once(':').unwrap().1.into())
    );
    server.process.wait_for("\"kind\":\"mapping_up\"", SOON);
    for process in [&server.process, &client] {
        for line in process.log().lines() {
            let object: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            assert!(object["text"].is_string() && object["time"].as_str().unwrap().ends_with('Z'), "{line}");
        }
    }
}

/// To the journal each line says its level, as syslog numbers it; to anybody else it does not.
#[test]
fn the_journal_is_told_the_level_of_each_line() {
    use std::os::unix::fs::MetadataExt;
    let folder = Folder::new();
    let path = folder.write("journal", "");
    let about = std::fs::metadata(&path).unwrap();
    let license = Server::start().license;
    let file = folder.write("license", format!("{license}@127.0.0.1:1\n"));
    for is_journal in [true, false] {
        let to = std::fs::File::create(&path).unwrap();
        let mut command = mortal(nt());
        command.arg("-c").arg(format!("@{}", file.display())).arg("8080");
        command
            .env("JOURNAL_STREAM", format!("{}:{}", about.dev(), if is_journal { about.ino() } else { 0 }));
        let mut client = command.stderr(to).spawn().unwrap();
        let said = || std::fs::read_to_string(&path).unwrap();
        eventually("it has tried", SOON, || said().contains("no nt server answers"));
        client.kill().unwrap();
        client.wait().unwrap();
        let warns = said().lines().any(|line| line.starts_with("<4>warn "));
        assert_eq!((warns, said().starts_with("<6>info ")), (is_journal, is_journal), "{}", said());
    }
}
