//! An nt for another kind of machine and ours, on one wire: word sizes and byte orders meet there, and other libraries
//! keep the time.
//!
//! `NT_CROSS="qemu-mips-static -cpu 24Kc dist/nt-mips"` is how the other one is run; `make cross-check` tries each of
//! `dist/` so. Without it both ends are the one that cargo has just built, so that this test itself stays right. Every
//! test has the other one as the client of our server, and as the server of our client, as far as it was built to be
//! that.

#![cfg(target_os = "linux")]
#![allow(unreachable_pub, clippy::disallowed_methods, clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use data::Pattern;
use process::{Process, mortal};
use scratch::{Folder, port};

#[path = "e2e/data.rs"]
#[allow(dead_code, reason = "the end-to-end tests use more of it")]
mod data;
#[path = "dice/mod.rs"]
mod dice;
#[path = "e2e/process.rs"]
#[allow(dead_code, reason = "the end-to-end tests use more of it")]
mod process;
#[path = "e2e/scratch.rs"]
#[allow(dead_code, reason = "the end-to-end tests use more of it")]
mod scratch;

/// What takes no time on a machine of one's own may take this long in an emulated one.
const SOON: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// The other nt and ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Make {
    Other,
    Ours,
}

/// Which one is the client, and which one the server.
fn meetings() -> impl Iterator<Item = (Make, Make)> {
    let both = [(Make::Other, Make::Ours), (Make::Ours, Make::Other)];
    both.into_iter().filter(|(_, server)| *server == Make::Ours || Make::other_has("server"))
}

impl Make {
    /// Whether the other one was built with this feature, as it says itself.
    fn other_has(feature: &str) -> bool {
        static SAID: OnceLock<String> = OnceLock::new();
        let said = SAID.get_or_init(|| {
            let said = Self::Other.command().arg("version").stdout(Stdio::piped()).output().unwrap();
            String::from_utf8(said.stdout).unwrap()
        });
        let features = said.lines().find_map(|line| line.strip_prefix("features: ")).unwrap();
        features.split(", ").any(|one| one == feature)
    }

    fn command(self) -> Command {
        match std::env::var("NT_CROSS") {
            Ok(words) if self == Self::Other => {
                let mut words = words.split_whitespace();
                let mut command = mortal(words.next().unwrap());
                command.args(words);
                command
            }
            _ => mortal(
                std::env::var_os("NT_E2E_BIN").map_or_else(|| env!("CARGO_BIN_EXE_nt").into(), PathBuf::from),
            ),
        }
    }
}

/// A server with a state of its own, and the way to it.
struct Server {
    process: Process,
    folder: Folder,
    tls: u16,
    plain: u16,
    names: u16,
    license: String,
}

impl Server {
    fn start(make: Make) -> Self {
        Self::start_at(make, port())
    }

    fn start_at(make: Make, tls: u16) -> Self {
        let (folder, plain, names) = (Folder::new(), port(), port());
        let mut command = make.command();
        command.arg("-s").arg("--state").arg(folder.join("state")).env("NT_LOG", "debug");
        for (flag, port) in [("--listen", tls), ("--plain", plain), ("--http", names)] {
            command.args([flag, &format!("127.0.0.1:{port}")]);
        }
        let process = Process::start(&mut command);
        let line = process.wait_for("nt -c nt1", SOON);
        let license = line.split("nt -c ").nth(1).unwrap().split('@').next().unwrap().to_owned();
        process.wait_for("the API is served on", SOON);
        Self { process, folder, tls, plain, names, license }
    }

    /// A client of it, over TLS or plainly.
    fn client(&self, make: Make, plain: bool, mappings: &[String]) -> Process {
        let port = if plain { self.plain } else { self.tls };
        let mut command = client(make, &self.folder, &self.license, port, mappings);
        if plain {
            command.arg("--plain");
        }
        Process::start(&mut command)
    }
}

fn client(make: Make, folder: &Folder, license: &str, port: u16, mappings: &[String]) -> Command {
    let file = folder.write(&format!("license-{port}"), format!("{license}@127.0.0.1:{port}\n"));
    let mut command = make.command();
    command.arg("-c").arg(format!("@{}", file.display())).args(mappings).env("NT_LOG", "debug");
    command
}

/// An echo behind the tunnel; it goes on for as long as the test.
fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let _ = std::io::copy(&mut &stream, &mut &stream);
                let _ = stream.shutdown(Shutdown::Write);
            });
        }
    });
    port
}

fn visit(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream
}

/// So many bytes go there and come back, each as it was, and the end after them.
fn comes_back(port: u16, bytes: u64) {
    comes_back_on(&visit(port), bytes);
}

/// The same of a visitor who is there.
fn comes_back_on(visitor: &TcpStream, bytes: u64) {
    let writer = visitor.try_clone().unwrap();
    let write = thread::spawn(move || {
        Pattern::new(bytes).write(&writer, bytes).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(Pattern::new(bytes).read(visitor), (bytes, Ok(())));
    write.join().unwrap();
}

/// Asked to stop it says so, and ends well.
fn ends_well(mut process: Process) {
    process.signal(Signal::TERM);
    assert_eq!(process.wait(SOON).code(), Some(0), "{}", process.log().lines().join("\n"));
}

#[test]
fn the_demo_works_by_itself() {
    if !Make::other_has("demo") {
        return;
    }
    let mut demo = Process::start(Make::Other.command().args(["demo", "--once"]));
    assert_eq!(demo.wait(SOON).code(), Some(0), "{}", demo.log().lines().join("\n"));
    demo.wait_for("fetched http://", SOON);
}

#[test]
fn a_mebibyte_goes_there_and_comes_back() {
    for (client, server) in meetings() {
        let server = Server::start(server);
        for plain in [false, true] {
            let public = port();
            let client = server.client(client, plain, &[format!("{public}:127.0.0.1:{}", echo())]);
            client.wait_for(" ready", SOON);
            comes_back(public, MIB);
            // Whoever comes next finds connections that were opened beforehand.
            (1..=20).for_each(|bytes| comes_back(public, bytes));
            ends_well(client);
        }
        ends_well(server.process);
    }
}

/// 256 at once: those who say little and wait, those who move much, and those who come and go.
#[test]
fn two_hundred_and_fifty_six_visitors_are_served_at_once() {
    const VISITORS: usize = 256;
    let server = Server::start(Make::Ours);
    let public = port();
    let client = server.client(Make::Other, false, &[format!("{public}:127.0.0.1:{}", echo())]);
    client.wait_for(" ready", SOON);
    let all_here = Barrier::new(VISITORS);
    thread::scope(|scope| {
        for number in 0..VISITORS {
            let all_here = &all_here;
            scope.spawn(move || {
                let visitor = visit(public);
                let mut word = [0; 4];
                (&visitor).write_all(b"here").unwrap();
                (&visitor).read_exact(&mut word).unwrap();
                assert_eq!(&word, b"here");
                all_here.wait();
                match number % 3 {
                    0 => comes_back_on(&visitor, 100_000),
                    1 => (1..=8).for_each(|bytes| comes_back(public, bytes * 100)),
                    _ => {}
                }
                if number % 3 != 0 {
                    comes_back_on(&visitor, 10);
                }
            });
        }
    });
    ends_well(client);
    ends_well(server.process);
}

/// A machine with little memory: 16 MB of address space beyond the file itself, of which 4 MB are told to be for what is
/// in transit. Only of an nt that is one file, run by this machine itself: qemu and libraries take what they like.
#[test]
fn sixteen_megabytes_are_enough() {
    let Some(nt) = std::env::var("NT_CROSS").ok().filter(|words| !words.contains("qemu")) else { return };
    let server = Server::start(Make::Ours);
    let public = port();
    let file = server.folder.write("license", format!("{}@127.0.0.1:{}\n", server.license, server.tls));
    let most = std::fs::metadata(nt.trim()).unwrap().len() / 1024 + 16_000_000 / 1024;
    let script = format!(
        "ulimit -v {most} && exec {nt} -c @{} --memory 4M {public}:127.0.0.1:{}",
        file.display(),
        echo()
    );
    let client = Process::start(mortal("sh").args(["-c", &script]));
    let room = client.wait_for("room for ", SOON);
    let visitors: usize = room.split("room for ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(visitors >= 16 && room.contains("grow to 3.") && room.contains("--memory"), "{room}");
    client.wait_for(" ready", SOON);
    // More than there is room for: some wait for others.
    thread::scope(|scope| {
        for number in 0..2 * visitors as u64 {
            scope.spawn(move || (0..4).for_each(|n| comes_back(public, 1 + number * 2_000 * n)));
        }
    });
    comes_back(public, MIB);
    ends_well(client);
    ends_well(server.process);
}

#[test]
fn datagrams_go_there_and_come_back() {
    for (client, server) in meetings().filter(|_| Make::other_has("udp")) {
        let server = Server::start(server);
        let service = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = service.local_addr().unwrap().port();
        thread::spawn(move || {
            let mut datagram = vec![0; 1 << 16];
            while let Ok((length, visitor)) = service.recv_from(&mut datagram) {
                let _ = service.send_to(&datagram[..length], visitor);
            }
        });
        let public = port();
        let client = server.client(client, false, &[format!("{public}:127.0.0.1:{target}/udp")]);
        client.wait_for(" ready", SOON);
        let visitor = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        visitor.connect((Ipv4Addr::LOCALHOST, public)).unwrap();
        visitor.set_read_timeout(Some(SOON)).unwrap();
        for length in [0, 1, 500, 1_400, 9_000] {
            let sent: Vec<u8> = (0..length).map(|at| (at * 7 % 251) as u8).collect();
            visitor.send(&sent).unwrap();
            let mut came = vec![0; 1 << 16];
            let count = visitor.recv(&mut came).unwrap();
            assert!(came[..count] == sent, "of {length} bytes");
        }
        ends_well(client);
        ends_well(server.process);
    }
}

#[test]
fn a_name_leads_to_its_service() {
    for (client, server) in meetings() {
        let server = Server::start(server);
        let site = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mapping = format!("blog.example.com:127.0.0.1:{}", site.local_addr().unwrap().port());
        thread::spawn(move || {
            for mut stream in site.incoming().map_while(Result::ok) {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                    head.push(byte[0]);
                }
                let body = "a page of the blog\n".repeat(5_000);
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            }
        });
        let client = server.client(client, false, &[mapping]);
        client.wait_for(" ready", SOON);
        for (name, status, end) in
            [("blog", "HTTP/1.1 200 ", "page of the blog\n"), ("shop", "HTTP/1.1 404 ", "")]
        {
            let mut visitor = visit(server.names);
            write!(visitor, "GET / HTTP/1.1\r\nHost: {name}.example.com\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            visitor.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with(status) && answer.ends_with(end), "{answer}");
        }
        ends_well(client);
        ends_well(server.process);
    }
}

#[test]
fn a_wrong_license_is_refused() {
    for (make, server) in meetings() {
        let (server, stranger) = (Server::start(server), Server::start(Make::Ours));
        for (port, plain) in [(server.tls, false), (server.plain, true)] {
            let mut command =
                client(make, &server.folder, &stranger.license, port, &[format!("{}:9", scratch::port())]);
            let client = Process::start(command.args(plain.then_some("--plain")));
            client.wait_for("does not accept this license", SOON);
            server.process.wait_for("no license of this server proves it", SOON);
            assert_eq!(server.process.log().count("logged in"), 0);
            ends_well(client);
        }
    }
}

/// Nothing but the client's clock brings it in: the server comes after the first attempts have failed.
#[test]
fn a_pause_between_attempts_ends_by_itself() {
    for (make, server) in meetings() {
        let gone = Server::start(server);
        let (folder, license, tls, public) = (gone.folder, gone.license, gone.tls, port());
        ends_well(gone.process);
        let mappings = [format!("{public}:127.0.0.1:{}", echo())];
        let client = Process::start(&mut client(make, &folder, &license, tls, &mappings));
        client.wait_for("rying again within", SOON);
        thread::sleep(Duration::from_secs(4));
        let mut command = server.command();
        command.args(["-s", "--listen", &format!("127.0.0.1:{tls}"), "--state"]).arg(folder.join("state"));
        let server = Process::start(&mut command);
        client.wait_for(" ready", SOON);
        comes_back(public, 1);
        ends_well(client);
        ends_well(server);
    }
}

/// Each end says every 10 s that it is there, and knows after 30 s that the other one is not. It takes more than a
/// minute, and is known of ours by the simulator: only another machine's clock is tried so.
#[test]
fn a_silent_peer_is_given_up_and_no_other() {
    if std::env::var_os("NT_CROSS").is_none() {
        return;
    }
    thread::scope(|scope| {
        for (client, server) in meetings() {
            scope.spawn(move || {
                let server = Server::start(server);
                let public = port();
                let mappings = [format!("{public}:127.0.0.1:{}", echo())];
                let process = server.client(client, false, &mappings);
                process.wait_for(" ready", SOON);
                // Longer than any silence may last.
                thread::sleep(Duration::from_secs(35));
                for process in [&process, &server.process] {
                    assert_eq!(process.log().count("nothing was heard"), 0, "{:?}", process.log().lines());
                }
                let (frozen, other) = match client {
                    Make::Other => (&server.process, &process),
                    Make::Ours => (&process, &server.process),
                };
                frozen.signal(Signal::STOP);
                other.wait_for("nothing was heard from it for 30 s", SOON);
            });
        }
    });
}
