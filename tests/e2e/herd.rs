//! Crowds: a thousand clients who all come back at once, and ten thousand visitors who are there at once; or as many as the
//! machine lets a process have open files for, which is said.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nt::budget::sessions;
use nt::client::{Client, Config};
use nt::commands::new_license;
use nt::directory::Entry;
use nt::driver::{Budget, Driver};
use nt::entropy::Entropy;
use nt::license::{License, Transport};
use nt::limits::ROLES_MAX;
use nt::note::{Format, Level};
use nt::os::{Os, raise_open_files};
use nt::policy::Allow;
use nt::role::{Input, Outbox, Role};
use nt::state::StateDir;
use nt::time::Time;
use nt::tls::{Security, Trust};

use super::data::Pattern;
use super::echo::{Crowd, answers, serve_on};
use super::harness::{Backend, Kind, SOON, Server, Tunnel, port, visit};
use super::process::{Process, eventually, say};

/// Promised to the last of the herd.
const BACK: Duration = Duration::from_secs(60);
const CLIENTS: usize = 1_000;
const VISITORS: usize = 10_000;

/// Those who are back first, and are visited while the rest come.
const EARLY: usize = 16;
/// Tunnel connections that a client who is seldom visited has, and some to spare.
const TUNNELS_PER_CLIENT: usize = 8;
/// What an early visitor says before it pauses.
const SAID_AT_ONCE: u64 = 16 * 1024;
/// Files of this process that other tests need meanwhile.
const SPARE_FILES: usize = 512;

/// How many of the wanted ones fit; says so if they are not all.
fn fitting(what: &str, wanted: usize, bounds: &[usize]) -> usize {
    let fit = bounds.iter().copied().fold(wanted, usize::min);
    if fit < wanted {
        say(&format!("{fit} {what} instead of {wanted}: open files are too few for more (ulimit -Hn)"));
    }
    fit
}

/// Visitors at once that a process has room for, as its start line promises.
fn room(process: &Process) -> usize {
    let line = process.wait_for("room for ", SOON);
    let count = line.split("room for ").nth(1).and_then(|rest| rest.split(' ').next());
    count.and_then(|count| count.parse().ok()).unwrap()
}

/// A client of the library, and whether it is logged in.
struct Member {
    client: Client,
    is_in: Arc<AtomicBool>,
}

impl Role for Member {
    fn step(&mut self, now: Time, input: Input<'_>, out: &mut Outbox<'_>) {
        self.client.step(now, input, out);
        self.is_in.store(self.client.counts().0, Ordering::Relaxed);
    }

    fn deadline(&self) -> Time {
        self.client.deadline()
    }
}

/// Clients in one process, each with a license and a mapping of its own.
struct Herd {
    /// Who is logged in.
    roll: Vec<Arc<AtomicBool>>,
    /// The public port of each.
    ports: Vec<u16>,
    over: Arc<AtomicBool>,
    /// As many loops as it takes: a loop runs only so many roles.
    loops: Vec<JoinHandle<()>>,
}

impl Herd {
    /// So many clients of this server, all with the same service.
    fn of(count: usize, server: &Server, target: u16) -> Self {
        let licenses: Vec<License> = (0..count).map(|_| new_license()).collect();
        let state = StateDir::open(Some(&server.folder.join("state"))).unwrap();
        let written = state.edit_licenses(|directory| {
            licenses
                .iter()
                .enumerate()
                .try_for_each(|(n, license)| directory.add(Entry::new(&format!("client-{n}"), license)?))
        });
        written.unwrap();
        let ports: Vec<u16> = licenses.iter().map(|_| port()).collect();
        let roll: Vec<Arc<AtomicBool>> = licenses.iter().map(|_| Arc::default()).collect();
        let config = |(license, public): (&License, &u16)| Config {
            servers: vec![("127.0.0.1".to_owned(), server.tls)],
            via: None,
            transport: Transport::Tls,
            license: license.id(),
            keys: license.client_keys(),
            mappings: vec![nt::mapping::parse(&format!("{public}:127.0.0.1:{target}")).unwrap()],
            visits: vec![],
            allow: Allow::default(),
            proxies_max: TUNNELS_PER_CLIENT,
            guest: false,
        };
        let mut members = licenses.iter().zip(&ports).map(config).zip(roll.clone());
        let over = Arc::new(AtomicBool::new(false));
        let loops = (0..count.div_ceil(ROLES_MAX)).map(|_| {
            let members: Vec<_> = members.by_ref().take(ROLES_MAX).collect();
            let over = Arc::clone(&over);
            thread::spawn(move || run(members, &over))
        });
        let loops = loops.collect();
        Self { roll, ports, over, loops }
    }

    fn is_in(&self, member: usize) -> bool {
        self.roll[member].load(Ordering::Relaxed)
    }

    fn present(&self) -> usize {
        (0..self.roll.len()).filter(|&member| self.is_in(member)).count()
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Heartbeats wake the loops.
        for thread in self.loops.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Runs clients in one driver.
fn run(members: Vec<(Config, Arc<AtomicBool>)>, over: &AtomicBool) {
    let tunnels = members.len() * TUNNELS_PER_CLIENT;
    let roles = members.into_iter().map(|(config, is_in)| {
        Box::new(Member { client: Client::new(config, Entropy::from_os()), is_in }) as Box<dyn Role>
    });
    let os = Os::new(Level::Error, Format::Text, Box::new(())).unwrap();
    // It has taken the signals over: whoever wants the tests to end must still be able to end them.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, Arc::new(AtomicBool::new(true))).unwrap();
    }
    let security = Security::default().with_client("127.0.0.1", Trust::License).unwrap();
    let budget = Budget { raws: tunnels, locals: 0, tunnels, callers: 0 };
    let mut driver = Driver::new(os, roles.collect(), security, budget);
    driver.start();
    while !over.load(Ordering::Relaxed) {
        driver.turn();
    }
}

/// A visitor who speaks from when it is served until `over`; how much it said, and heard of that.
fn stream(
    public: u16,
    seed: u64,
    served: &AtomicBool,
    over: &AtomicBool,
) -> (u64, u64, Result<(), ErrorKind>) {
    eventually("an early client serves", BACK, || answers(public));
    let visitor = visit(public);
    served.store(true, Ordering::Relaxed);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut pattern, mut said) = (Pattern::new(seed), 0);
            while !over.load(Ordering::Relaxed) {
                if pattern.write(&visitor, SAID_AT_ONCE).is_err() {
                    return said;
                }
                said += SAID_AT_ONCE;
                thread::sleep(Duration::from_millis(20));
            }
            let _ = visitor.shutdown(Shutdown::Write);
            said
        });
        let (heard, end) = Pattern::new(seed).read(&visitor);
        (writer.join().unwrap(), heard, end)
    })
}

#[test]
fn a_thousand_clients_are_back_after_a_restart_of_the_server_and_hurt_nobody() {
    let files = raise_open_files().saturating_sub(SPARE_FILES);
    let mut server = Server::start();
    // A server sets a part of its open files aside for listeners, one for each of these clients.
    let listeners = files / 16;
    let bounds = [sessions(room(&server.process)), listeners, files / TUNNELS_PER_CLIENT];
    let count = fitting("clients", CLIENTS, &bounds);
    server.process.sessions = count;
    let service = Backend::echo();
    let herd = Herd::of(count, &server, service.port);
    eventually("all are in", BACK, || herd.present() == count);

    server.process.kill();
    eventually("all have noticed", SOON, || herd.present() == 0);
    server.again();
    server.process.sessions = count;
    let restarted = Instant::now();
    let (served, over) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let (mut early, mut away) = (Vec::new(), None);
        eventually("all are back", BACK, || {
            for member in 0..count {
                if early.len() < EARLY && herd.is_in(member) && !early.iter().any(|(n, _)| *n == member) {
                    let (public, served, over) = (herd.ports[member], &served, &over);
                    let visit = scope.spawn(move || stream(public, member as u64, served, over));
                    early.push((member, visit));
                }
            }
            if served.load(Ordering::Relaxed) {
                away.get_or_insert_with(|| count - herd.present());
            }
            herd.present() == count
        });
        let back = restarted.elapsed();
        let left = BACK.saturating_sub(back);
        eventually("each serves", left, || herd.ports.iter().all(|&public| answers(public)));
        over.store(true, Ordering::Relaxed);
        say(&format!(
            "{count} clients are back {:.1} s after the start of the server, and all served after {:.1} s; {} of them \
             were away when the first was visited",
            back.as_secs_f64(),
            restarted.elapsed().as_secs_f64(),
            away.unwrap_or(0),
        ));
        for (member, visit) in early {
            let (said, heard, end) = visit.join().unwrap();
            assert!(said > 0);
            assert_eq!((heard, end), (said, Ok(())), "the stream of client {member}: heard of what was said");
        }
    });
}

#[test]
fn ten_thousand_visitors_at_once_are_all_served_and_leave_nothing() {
    let files = raise_open_files().saturating_sub(SPARE_FILES);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let service = listener.local_addr().unwrap().port();
    thread::spawn(move || serve_on(&listener).unwrap());
    let tunnel = Tunnel::to(Kind::Tls, service);
    // Both the visitors and the service behind the tunnel are in this process.
    let bounds = [room(&tunnel.server.process), room(&tunnel.client), files / 2];
    // One more is to be served meanwhile.
    let count = fitting("visitors", VISITORS, &bounds.map(|bound| bound - 1));
    let begun = Instant::now();
    let mut crowd = Crowd::default();
    crowd.grow(tunnel.public, count).unwrap();
    let came = begun.elapsed();
    crowd.speak().unwrap();
    tunnel.echo_once();
    say(&format!("{count} visitors came within {:.1} s, and spoke all at once", came.as_secs_f64()));
    drop(crowd);
}
