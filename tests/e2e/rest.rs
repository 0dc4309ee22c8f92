//! What must hold when a test is over, whatever it did: nothing is left, nothing spins, nothing was told that is secret.
//!
//! It is asked in one place, of every nt that still runs when its test lets go of it: see [`Nt`].

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::harness::SOON;
use super::process::{Process, eventually, holds_soon};

/// Most tunnel connections of one session at rest: the CmdChannel, and a pool that only shrinks by and by.
const TUNNELS_MAX: usize = 1 + nt::limits::POOL_MAX;
/// Pipes have two ends.
const PIPES_MAX: usize = 2 * nt::limits::PIPES_MAX;
/// A look at whether a process rests.
const LOOK: Duration = Duration::from_millis(500);
/// In one look: two ticks of 10 ms; and so many waits, of which a look at the license file and a review of the pool
/// are one each. A loop that finds itself something to do all the time comes to thousands.
const TICKS_AT_REST: u64 = 2;
const WAITS_AT_REST: u64 = 20;
const HEARTBEAT_EVERY_MILLIS: u64 = nt::limits::HEARTBEAT_EVERY.as_micros() / 1_000;
/// Lines of a whole test, for each session. A cause that comes again is counted, not told.
const LINES_MAX: usize = 150;
/// The longest run of letters that a line may have: longer than a license's public name, shorter than any secret.
const RUN_CHARS_MAX: usize = 24;

/// A process of nt. One that still runs when the test drops it must be at rest, and when asked to stop must end well and
/// hold no buffer.
pub struct Nt {
    process: Process,
    /// Its connections from and to these ports are the tunnel's; all others are visits.
    tunnel_ports: Vec<u16>,
    heard: bool,
    /// Sessions that it may have at rest.
    pub sessions: usize,
}

impl Nt {
    /// Starts `command`, which runs nt.
    pub fn start(command: &mut Command, tunnel_ports: &[u16]) -> Self {
        let process = Process::start(command.env("NT_LOG", "debug"));
        Self { process, tunnel_ports: tunnel_ports.to_vec(), heard: true, sessions: 1 }
    }

    /// The same with its standard error as it is, so that nothing of it can be waited for.
    pub fn start_unheard(command: &mut Command, tunnel_ports: &[u16]) -> Self {
        let process = Process::start_unheard(command.env("NT_LOG", "debug"));
        Self { process, tunnel_ports: tunnel_ports.to_vec(), heard: false, sessions: 1 }
    }

    /// Its open files of now.
    pub fn files(&self) -> Files {
        Files::of(&self.process, &self.tunnel_ports)
    }

    /// It is a server that has served nobody yet: what it has open beside sockets is what every nt has open at rest.
    pub fn note_untouched(&self) {
        OTHERS.get_or_init(|| self.files().others);
    }

    /// Whether it runs, and is not stopped by a signal.
    pub fn is_awake(&mut self) -> bool {
        self.process.runs() && !self.process.proc_file("stat").contains(") T ")
    }

    /// Every file of a visit comes to be closed.
    fn lets_go(&self) {
        let mut seen = Files::default();
        let closed = || {
            seen = self.files();
            seen.are_at_rest(OTHERS.get().copied().unwrap_or(seen.others), self.sessions)
        };
        let closes = holds_soon(SOON, closed);
        assert!(closes, "{} holds {seen:?}, and an untouched one {:?} others", self.id(), OTHERS.get());
    }

    /// It was asked to stop, and held no buffer then.
    pub fn has_ended_well(&mut self) {
        let status = self.wait(SOON);
        assert_eq!(status.code(), Some(0), "asked to stop: {}", self.log().lines().join("\n"));
        // One with many sessions has said so much that its log is bounded.
        if self.heard && self.sessions == 1 {
            let held = "asked to stop with ";
            eventually("it says what it holds", SOON, || self.log().count(held) > 0);
            let lines = self.log().lines();
            let last = lines.iter().rfind(|line| line.contains(held)).unwrap();
            assert!(last.contains(" 0 buffers"), "{last}");
        }
    }
}

/// Files of an nt at rest that are neither sockets of TCP or UDP nor pipes to splice through: the same for every one.
static OTHERS: OnceLock<usize> = OnceLock::new();

/// All that is true of processes at rest, asked of all of them at the same time.
pub fn at_rest<const N: usize>(mut all: [&mut Nt; N]) {
    all.iter().for_each(|nt| nt.lets_go());
    rests(&all.each_ref().map(|nt| (&nt.process, nt.sessions)));
    for nt in &mut all {
        keeps_secrets(nt);
        let lines = nt.log().lines();
        assert!(
            lines.len() <= LINES_MAX * nt.sessions,
            "{} lines in the log of one test:\n{}",
            lines.len(),
            lines.join("\n")
        );
    }
}

/// They are at rest, and asked to stop they end well: all at the same time, so that none has to do with another's end.
pub fn end<const N: usize>(mut all: [&mut Nt; N]) {
    at_rest(all.each_mut().map(|nt| &mut **nt));
    all.iter().for_each(|nt| nt.process.signal(Signal::TERM));
    all.iter_mut().for_each(|nt| nt.has_ended_well());
}

impl Drop for Nt {
    fn drop(&mut self) {
        if !thread::panicking() && self.is_awake() {
            end([self]);
        }
    }
}

impl Deref for Nt {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Nt {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Open files of a process, by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Connections between client and server: the pool of them follows demand.
    pub tunnels: usize,
    /// Connections of visitors and to real servers.
    pub visits: usize,
    /// Ports that are listened on.
    pub listeners: usize,
    /// Both ends of pipes that bulk is spliced through: kept for the next, within a bound.
    pub pipes: usize,
    /// All others: standard streams, the poller, signals; and any socket that was forgotten.
    pub others: usize,
}

impl Files {
    /// Whether nothing is left of any visit, with so many other files and sessions at rest.
    pub fn are_at_rest(&self, others: usize, sessions: usize) -> bool {
        let bounded = self.tunnels <= sessions * TUNNELS_MAX && self.pipes <= PIPES_MAX;
        bounded && self.visits == 0 && self.others == others
    }

    /// The open files of now; tunnel connections are those from or to one of these ports.
    pub fn of(process: &Process, tunnel_ports: &[u16]) -> Self {
        Self::told(process, tunnel_ports).0
    }

    /// The same, and what those are that are of a visit, or of nobody knows what.
    pub fn told(process: &Process, tunnel_ports: &[u16]) -> (Self, Vec<String>) {
        let mut odd = Vec::new();
        let sockets = sockets(process);
        let mut files = Self::default();
        let Ok(folder) = std::fs::read_dir(format!("/proc/{}/fd", process.id())) else {
            return (files, odd);
        };
        let links: Vec<_> =
            folder.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
        for path in &links {
            let link = path.to_string_lossy();
            let inode = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            let is_tunnel = |port: u16| tunnel_ports.contains(&port);
            match inode.and_then(|inode| sockets.get(inode)) {
                Some(Socket { listens: true, .. }) => files.listeners += 1,
                Some(Socket { own, far, .. }) if is_tunnel(*own) || is_tunnel(*far) => files.tunnels += 1,
                Some(Socket { own, far, state, .. }) => {
                    files.visits += 1;
                    odd.push(format!("port {own} to {far} in state {state}"));
                }
                None if link.starts_with("pipe:")
                    && links.iter().filter(|other| *other == path).count() == 2 =>
                {
                    files.pipes += 1;
                }
                None => {
                    files.others += 1;
                    odd.push(link.into_owned());
                }
            }
        }
        (files, odd)
    }
}

/// A socket: its own port, the far end's, its state as the kernel numbers it, and whether it is a listener.
struct Socket {
    own: u16,
    far: u16,
    state: String,
    listens: bool,
}

/// The sockets that the process can see, by inode.
fn sockets(process: &Process) -> BTreeMap<String, Socket> {
    let mut sockets = BTreeMap::new();
    for table in ["net/tcp", "net/tcp6", "net/udp", "net/udp6"] {
        for line in process.proc_file(table).lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let port = |field: &str| u16::from_str_radix(field.rsplit(':').next().unwrap_or("0"), 16);
            if let (Some(inode), Ok(own), Ok(far)) = (fields.get(9), port(fields[1]), port(fields[2])) {
                let listens = fields[3] == "0A" || table.starts_with("net/udp") && far == 0;
                let state = fields[3].to_owned();
                sockets.insert((*inode).to_owned(), Socket { own, far, state, listens });
            }
        }
    }
    // The operator's door: a Unix socket that listens (linux/net.h, __SO_ACCEPTCON).
    for line in process.proc_file("net/unix").lines().skip(1) {
        if let [_, _, _, "00010000", _, state, inode, ..] = line.split_whitespace().collect::<Vec<_>>()[..] {
            let socket = Socket { own: 0, far: 0, state: state.to_owned(), listens: true };
            sockets.insert(inode.to_owned(), socket);
        }
    }
    sockets
}

/// The processes, with so many sessions each, use no processor time, and wait for something to happen. Deadlines that are
/// served meanwhile may cost a little, for as long as last words may take to leave: the best of a dozen looks counts.
pub fn rests(processes: &[(&Process, usize)]) {
    let spent = |before: &[(u64, u64)]| -> Vec<(u64, u64)> {
        let now = processes.iter().map(|(process, _)| (process.ticks(), process.waits()));
        now.zip(before).map(|(now, before)| (now.0 - before.0, now.1 - before.1)).collect()
    };
    let nothing = vec![(0, 0); processes.len()];
    let mut used = Vec::new();
    for _ in 0..12 {
        let before = spent(&nothing);
        thread::sleep(LOOK);
        used = spent(&before);
        // Of each session a heartbeat comes, and one goes.
        let beats = |sessions: usize| 2 * sessions as u64 * LOOK.as_millis() as u64 / HEARTBEAT_EVERY_MILLIS;
        let is_little = |(&(ticks, waits), (_, sessions)): (&(u64, u64), &(&Process, usize))| {
            ticks <= TICKS_AT_REST && waits <= WAITS_AT_REST + beats(*sessions)
        };
        if used.iter().zip(processes).all(is_little) {
            return;
        }
    }
    panic!("at rest, but ticks used and waits ended in {LOOK:?}: {used:?}");
}

/// Nothing that looks like a secret stands in the log or on the command line. The first start of a server, which has to
/// tell its license once, is left out.
fn keeps_secrets(process: &Process) {
    let lines = process.log().lines();
    let shown = process.proc_file("cmdline");
    for line in lines.iter().map(String::as_str).filter(|line| !line.contains("nt -c nt1")).chain([&*shown]) {
        assert!(!looks_secret(line), "a secret, by its looks: {line}");
    }
}

/// Whether there are bytes in a line, in hexadecimal, base32 or base64, or as a list of numbers.
fn looks_secret(line: &str) -> bool {
    let runs = line.split(|c: char| !c.is_ascii_alphanumeric());
    let numbers = line.split(", ").filter(|word| word.trim_matches(['[', ']']).parse::<u8>().is_ok());
    runs.map(str::len).max() > Some(RUN_CHARS_MAX) || numbers.count() > 8
}
