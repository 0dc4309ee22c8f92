//! What must hold at the end of every test: nothing is left, nothing spins, nothing was told that is secret.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use super::harness::{SOON, Tunnel};
use super::process::{Process, eventually};

/// Open files of a process, by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Connections between client and server: the pool of them follows demand.
    pub tunnels: usize,
    /// Both ends of pipes that bulk is spliced through: kept for the next, within a bound.
    pub pipes: usize,
    /// All others: listeners, visitors, real servers, standard streams, the poller.
    pub others: usize,
}

/// Most tunnel connections of one session at rest: the CmdChannel, and a pool that only shrinks by and by.
const TUNNELS_MAX: usize = 1 + nt::limits::POOL_MAX;
/// Pipes have two ends.
const PIPES_MAX: usize = 2 * nt::limits::PIPES_MAX;
/// Two heartbeats and a look at a file take less than this in 2 s: two ticks of 10 ms.
const TICKS_AT_REST: u64 = 2;

impl Files {
    /// The open files of now; tunnel connections are those from or to one of these ports.
    pub fn of(process: &Process, tunnel_ports: [u16; 2]) -> Self {
        let sockets = connections(process);
        let mut files = Self::default();
        let Ok(folder) = std::fs::read_dir(format!("/proc/{}/fd", process.id())) else {
            return files;
        };
        let links: Vec<_> =
            folder.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
        for path in &links {
            let link = path.to_string_lossy();
            let inode = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            let ends = inode.and_then(|inode| sockets.get(inode)).copied().unwrap_or((0, 0));
            let is_tunnel = |port: u16| tunnel_ports.contains(&port);
            if ends.1 != 0 && (is_tunnel(ends.0) || is_tunnel(ends.1)) {
                files.tunnels += 1;
            } else if link.starts_with("pipe:") && links.iter().filter(|other| *other == path).count() == 2 {
                files.pipes += 1;
            } else {
                files.others += 1;
            }
        }
        files
    }
}

/// Ports of the TCP sockets that the process can see, by inode: its own and the far end's, 0 for a listener.
fn connections(process: &Process) -> BTreeMap<String, (u16, u16)> {
    let mut sockets = BTreeMap::new();
    for table in ["net/tcp", "net/tcp6"] {
        for line in process.proc_file(table).lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let port = |field: &str| u16::from_str_radix(field.rsplit(':').next().unwrap_or("0"), 16);
            if let (Some(inode), Ok(own), Ok(far)) = (fields.get(9), port(fields[1]), port(fields[2])) {
                sockets.insert((*inode).to_owned(), (own, far));
            }
        }
    }
    sockets
}

impl Tunnel {
    /// The end of a test: a fresh visitor is served; then every file of a visit is closed, neither end uses the
    /// processor, and no secret was told.
    pub fn at_rest(&mut self) {
        self.echo_once();
        let tunnels = [self.server.tls, self.server.plain];
        closes(&self.server.process, tunnels, self.baseline.0, 1);
        closes(&self.client, tunnels, self.baseline.1, 1);
        rests(&[&self.server.process, &self.client]);
        let secrets = [self.server.license.as_str()];
        keeps_secrets(&self.server.process, &secrets);
        keeps_secrets(&self.client, &secrets);
    }
}

/// Every file of a visit is closed soon; so many sessions may keep their tunnel connections.
pub fn closes(process: &Process, tunnel_ports: [u16; 2], baseline: Files, sessions: usize) {
    eventually(&format!("{baseline:?} again"), SOON, || {
        let now = Files::of(process, tunnel_ports);
        let fits = now.tunnels <= sessions * TUNNELS_MAX && now.pipes <= PIPES_MAX;
        let closed = now.others == baseline.others && fits;
        if !closed {
            println!("{} has {now:?}, not {baseline:?}", process.id());
            thread::sleep(Duration::from_millis(300));
        }
        closed
    });
}

/// The processes use no processor time for 2 s. A deadline that is served meanwhile may cost one look: the best of
/// three counts.
pub fn rests(processes: &[&Process]) {
    let mut used = Vec::new();
    for _ in 0..3 {
        let before: Vec<u64> = processes.iter().map(|process| process.ticks()).collect();
        thread::sleep(Duration::from_secs(2));
        used = processes.iter().zip(before).map(|(process, before)| process.ticks() - before).collect();
        if used.iter().all(|&ticks| ticks <= TICKS_AT_REST) {
            return;
        }
    }
    panic!("at rest, but ticks used in 2 s: {used:?}");
}

/// None of these secrets, nor the greater part of one, stands in the log or on the command line; nor anything else that
/// could be a key, a signature or another proof. The first start of a server, which has to tell the license once, is left
/// out.
pub fn keeps_secrets(process: &Process, secrets: &[&str]) {
    let lines = process.log().lines();
    let told = lines.iter().filter(|line| !line.contains("nt -c nt1"));
    for line in told {
        assert!(!looks_secret(line), "a line tells bytes: {line}");
        let part = halves(secrets).find(|part| line.contains(part));
        assert_eq!(part, None, "a line tells the license");
    }
    let shown = process.proc_file("cmdline");
    assert!(!halves(secrets).any(|part| shown.contains(part)), "the command line shows the license");
}

/// The halves of each license's secret letters.
fn halves<'a>(secrets: &'a [&str]) -> impl Iterator<Item = &'a str> {
    secrets.iter().flat_map(|secret| {
        let (first, second) = secret[3..].split_at((secret.len() - 3) / 2);
        [first, second]
    })
}

/// Longer than a license's public name, the longest run of letters that a line may have.
const RUN_CHARS_MAX: usize = 24;

/// Whether there are bytes in a line, in hexadecimal, base32 or base64, or as a list of numbers.
fn looks_secret(line: &str) -> bool {
    let runs = line.split(|c: char| !c.is_ascii_alphanumeric());
    let numbers = line.split(", ").filter(|word| word.trim_matches(['[', ']']).parse::<u8>().is_ok());
    runs.map(str::len).max() > Some(RUN_CHARS_MAX) || numbers.count() > 8
}
