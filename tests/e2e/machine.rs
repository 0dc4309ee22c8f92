//! The machine itself, where it is short of something or wrong about it: clocks, memory, disk, permissions, signals.

use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::data::{Pattern, Random};
use super::harness::{BOTH, Backend, Folder, Kind, SOON, Server, Tunnel, nt, port, rounds};
use super::netns::Link;
use super::process::{Process, eventually, holds_soon, mortal, need, need_unshare, say};
use super::rest::Nt;
use super::wan::Conditions;

/// A command that becomes `inner`, by these words before it.
fn wrapped(words: &[&str], inner: &Command) -> Command {
    let mut command = mortal(words[0]);
    command.args(&words[1..]).arg(inner.get_program()).args(inner.get_args());
    command
}

#[test]
fn clocks_that_are_years_apart_are_no_matter() {
    if !need_unshare(&["--time", "--boottime", "1"]) {
        return;
    }
    let since_boot = |seconds| ["unshare", "--time", "--boottime", seconds, "--monotonic", seconds];
    for kind in BOTH {
        let mut tunnel = Tunnel::to(kind, port());
        tunnel.server.process.kill();
        tunnel.client.kill();
        let ports = tunnel.server.tunnel_ports();
        let server = Server::command(&tunnel.server.folder, ports[0], ports[1]);
        tunnel.server.process = Nt::start(&mut wrapped(&since_boot("100000000"), &server), &ports);
        tunnel.server.process.wait_for("WITHOUT", SOON);
        let ours = std::fs::read_link("/proc/self/ns/time").unwrap();
        if std::fs::read_link(format!("/proc/{}/ns/time", tunnel.server.process.id())).unwrap() == ours {
            return say("skipped: a program that is started does not take up its time namespace here");
        }
        tunnel.client =
            tunnel.server.client_with(kind, &tunnel.server.license, &tunnel.mappings, |command| {
                *command = wrapped(&since_boot("900000000"), command);
            });
        tunnel.client.wait_for(" ready", SOON);
        tunnel.echo_once();
    }
}

#[test]
fn whatever_address_space_there_is_it_serves_or_says_that_it_cannot() {
    let folder = Folder::new();
    let limited = |kib: u32, inner: &Command| {
        let script = format!("ulimit -v {kib} && exec \"$@\"");
        wrapped(&["sh", "-c", &script, "sh"], inner)
    };
    let mut version = Command::new(nt());
    version.arg("version");
    let (mut refused, mut served) = (0, 0);
    let limits = std::iter::successors(Some(4 * 1024), |kib| Some(kib + kib / 5));
    for kib in limits.take_while(|kib| *kib <= 256 * 1024) {
        // Below this not even the system's own loader can work.
        if !limited(kib, &version).status().unwrap().success() {
            continue;
        }
        let (tls, plain) = (port(), port());
        let mut server = Nt::start(&mut limited(kib, &Server::command(&folder, tls, plain)), &[tls, plain]);
        let serves = |server: &Nt| server.log().count("WITHOUT encryption") > 0;
        assert!(holds_soon(SOON, || serves(&server) || !server.runs()), "{kib} KiB");
        if serves(&server) {
            served += 1;
        } else {
            refused += 1;
            assert_eq!(server.wait(SOON).code(), Some(1), "{kib} KiB: {:?}", server.log().lines());
            server.wait_for("nt: ", SOON);
        }
    }
    println!("{refused} limits were too low, {served} were enough");
    assert!(served > 0);
}

#[test]
fn a_port_that_the_system_does_not_permit_is_said_and_served_once_it_does() {
    let Some(link) = Link::new(Conditions::default()).filter(|_| need(&["setpriv"])) else { return };
    let inside = |words: &[&str], inner: &Command| {
        let mut command = link.inside();
        command.args(words).arg(inner.get_program()).args(inner.get_args());
        command
    };
    let (folder, tls, plain) = (Folder::new(), port(), port());
    let server = Server::command(&folder, tls, plain);
    let unprivileged = ["setpriv", "--bounding-set", "-net_bind_service"];
    let server = Nt::start(&mut inside(&unprivileged, &server), &[tls, plain]);
    server.wait_for("WITHOUT", SOON);
    let state = folder.join("state");
    let add = ["license", "add", "low", "--ports", "1-65535", "--state"];
    let license = Command::new(nt()).args(add).arg(&state).output().unwrap().stdout;
    let license = String::from_utf8(license).unwrap().trim().to_owned();
    server.wait_for("2 licenses", SOON);
    let file = folder.write("license", format!("{license}@127.0.0.1:{tls}"));
    let mut client = Command::new(nt());
    client.arg("-c").arg(format!("@{}", file.display())).arg("80:9");
    let client = Nt::start(&mut inside(&[], &client), &[tls]);
    let line = client.wait_for("80 -> 127.0.0.1:9 not ready", SOON);
    assert!(line.contains("below 1024"), "{line}");
    let mut permit = Command::new("sh");
    permit.args(["-c", "echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start"]);
    assert!(inside(&[], &permit).status().unwrap().success());
    client.wait_for("80 -> 127.0.0.1:9 ready", SOON);
    assert_eq!(client.log().count("logged in"), 1, "{:?}", client.log().lines());
}

/// A disk of 64 KiB for the state folder, in a mount namespace of its own, which goes with its process.
struct Disk {
    holder: Process,
    state: PathBuf,
}

impl Disk {
    fn new(folder: &Folder) -> Option<Self> {
        if !need(&["nsenter", "mount"]) || !need_unshare(&["--mount"]) {
            return None;
        }
        let state = folder.join("state");
        std::fs::create_dir_all(&state).unwrap();
        let script = "mount -t tmpfs -o size=64k,mode=700 none \"$0\" && echo mounted >&2 && exec sleep 3600";
        let mut command = mortal("unshare");
        let holder = Process::start(command.args(["--mount", "sh", "-c", script]).arg(&state));
        holder.wait_for("mounted", SOON);
        Some(Self { holder, state })
    }

    /// The same command, on this disk.
    fn with(&self, inner: &Command) -> Command {
        wrapped(&["nsenter", &format!("--mount=/proc/{}/ns/mnt", self.holder.id())], inner)
    }

    /// A file of the disk, as it is reached from here.
    fn file(&self, name: &str) -> PathBuf {
        let inside = self.state.strip_prefix("/").unwrap();
        PathBuf::from(format!("/proc/{}/root", self.holder.id())).join(inside).join(name)
    }

    /// Leaves no byte of room.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.file("fill")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.file("fill")).unwrap();
    }
}

#[test]
fn a_full_disk_is_said_and_leaves_every_file_whole() {
    let folder = Folder::new();
    let Some(disk) = Disk::new(&folder) else { return };
    let (tls, plain) = (port(), port());
    let start = || Nt::start(&mut disk.with(&Server::command(&folder, tls, plain)), &[tls, plain]);
    let license = |words: &[&str]| {
        let mut command = Command::new(nt());
        command.arg("license").args(words).arg("--state").arg(&disk.state);
        disk.with(&command).stdout(std::process::Stdio::piped()).output().unwrap()
    };
    let files =
        || ["licenses.toml", "server.key", "server.crt"].map(|name| std::fs::read(disk.file(name)).unwrap());

    disk.fill();
    let mut server = start();
    assert_eq!(server.wait(SOON).code(), Some(1), "a first start without room: {:?}", server.log().lines());
    server.wait_for("nt: ", SOON);
    disk.free();
    let server = start();
    let line = server.wait_for("nt -c nt1", SOON);
    let text = line.split("nt -c ").nth(1).unwrap().split('@').next().unwrap().to_owned();

    let before = files();
    disk.fill();
    for words in
        [&["add", "late"][..], &["rotate", "default"], &["revoke", "default"], &["remove", "default"]]
    {
        let output = license(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{words:?}: a license that is not kept is told");
        assert!(files() == before, "{words:?}: a file has changed");
    }
    let (public, backend) = (port(), Backend::echo());
    let file = folder.write("license", format!("{text}@127.0.0.1:{tls}"));
    let mut client = mortal(nt());
    client.arg("-c").arg(format!("@{}", file.display())).arg(format!("{public}:127.0.0.1:{}", backend.port));
    let client = Nt::start(&mut client, &[tls]);
    client.wait_for(" ready", SOON);
    disk.free();
    assert!(license(&["add", "late"]).status.success());
    server.wait_for("2 licenses", SOON);
}

#[test]
fn a_limit_on_the_size_of_files_leaves_every_file_whole_and_the_server_running() {
    let mut tunnel = Tunnel::to(Kind::Tls, port());
    let limited = |inner: &Command| wrapped(&["sh", "-c", "ulimit -f 0 && exec \"$@\"", "sh"], inner);
    let state = tunnel.server.folder.join("state");
    let licenses = state.join("licenses.toml");
    let before = std::fs::read(&licenses).unwrap();
    // Where a server runs, it is the one that writes.
    tunnel.server.process.kill();
    let mut add = Command::new(nt());
    add.args(["license", "add", "late", "--state"]).arg(state);
    let output = limited(&add).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(std::fs::read(&licenses).unwrap() == before);

    let log = tunnel.server.folder.join("log");
    let ports = tunnel.server.tunnel_ports();
    let mut server = limited(&Server::command(&tunnel.server.folder, ports[0], ports[1]));
    tunnel.server.process = Nt::start_unheard(server.stderr(std::fs::File::create(&log).unwrap()), &ports);
    eventually("served with a log that may not grow", SOON, || tunnel.try_echo(SOON).is_ok());
    assert_eq!(std::fs::metadata(log).unwrap().len(), 0);
}

#[test]
fn a_bit_that_flipped_in_a_file_of_the_state_is_found_at_the_start_or_harms_nothing() {
    let mut server = Server::start();
    server.process.kill();
    let mut random = Random(44);
    let (mut refused, mut served) = (0, 0);
    for name in ["licenses.toml", "server.key", "server.crt"] {
        let path = server.folder.join("state").join(name);
        let whole = std::fs::read(&path).unwrap();
        for _ in 0..rounds(12, 200) {
            let mut flipped = whole.clone();
            flipped[random.below(whole.len() as u64) as usize] ^= 1 << random.below(8);
            std::fs::write(&path, &flipped).unwrap();
            server.again();
            let serves = |server: &Nt| server.log().count("WITHOUT encryption") > 0;
            assert!(holds_soon(SOON, || serves(&server.process) || !server.process.runs()));
            if server.process.runs() {
                served += 1;
                // A license may now be another one; but a key and a certificate either fit or are refused.
                if name != "licenses.toml" {
                    let client = server.client(Kind::Tls, &[format!("{}:9", port())]);
                    client.wait_for(" ready", SOON);
                }
                server.process.kill();
            } else {
                refused += 1;
                assert_eq!(server.process.wait(SOON).code(), Some(1), "{:?}", server.process.log().lines());
                server.process.wait_for(name, SOON);
            }
            assert!(std::fs::read(&path).unwrap() == flipped, "{name} was written");
        }
        std::fs::write(&path, &whole).unwrap();
    }
    println!("{refused} flips were refused, {served} harmed nothing");
    server.again();
    server.process.wait_for("WITHOUT", SOON);
}

#[test]
fn a_storm_of_signals_costs_no_byte() {
    const BYTES: u64 = 64 << 20;
    for kind in BOTH {
        let backend = Backend::echo();
        let tunnel = Tunnel::to(kind, backend.port);
        let (visitor, over) = (tunnel.visit(), AtomicBool::new(false));
        let sent = thread::scope(|scope| {
            let storm = scope.spawn(|| {
                let mut sent = 0;
                while !over.load(Ordering::Relaxed) {
                    for signal in [
                        Signal::STOP,
                        Signal::CONT,
                        Signal::WINCH,
                        Signal::PIPE,
                        Signal::URG,
                        Signal::CHILD,
                        Signal::HUP,
                    ] {
                        tunnel.server.process.signal(signal);
                        tunnel.client.signal(signal);
                        sent += 2;
                    }
                    thread::sleep(Duration::from_micros(200));
                }
                // Whatever came last, they go on.
                tunnel.server.process.signal(Signal::CONT);
                tunnel.client.signal(Signal::CONT);
                sent
            });
            let writer: TcpStream = visitor.try_clone().unwrap();
            scope.spawn(move || {
                Pattern::new(42).write(&writer, BYTES).unwrap();
                writer.shutdown(std::net::Shutdown::Write).unwrap();
            });
            let end = Pattern::new(42).read(&visitor);
            over.store(true, Ordering::Relaxed);
            assert_eq!(end, (BYTES, Ok(())), "{kind:?}");
            storm.join().unwrap()
        });
        println!("{kind:?}: {sent} signals");
        assert!(sent > 1_000, "only {sent} signals were sent");
    }
}
