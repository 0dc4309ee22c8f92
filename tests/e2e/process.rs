//! Processes under test: started, listened to, measured in `/proc`, and never left behind.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What a process has said so far, line by line.
#[derive(Default)]
pub struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Log {
    fn follow(source: impl Read + Send + 'static) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                writer.lines.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
                writer.more.notify_all();
            }
        });
        log
    }

    /// All lines of now.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// How many lines contain `text`.
    pub fn count(&self, text: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    /// The first line from the `from`th on that contains `text`, waited for.
    fn find(&self, text: &str, from: usize, timeout: Duration) -> Option<String> {
        let end = Instant::now() + timeout;
        let mut lines = self.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().skip(from).find(|line| line.contains(text)) {
                return Some(line.clone());
            }
            let left = end.checked_duration_since(Instant::now())?;
            lines = self.more.wait_timeout(lines, left).unwrap().0;
        }
    }
}

/// A command whose process does not outlive the thread that starts it, even where that has no time to clean up.
pub fn mortal(program: impl AsRef<OsStr>) -> Command {
    let mut command = if is_installed("setpriv") {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// A process that is killed when the test is over.
pub struct Process {
    child: Child,
    log: Arc<Log>,
    /// Lines before this one are past: see [`Process::forget`].
    seen: usize,
}

impl Process {
    /// Starts `command`, with standard error followed.
    pub fn start(command: &mut Command) -> Self {
        command.stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let log = child.stderr.take().map(Log::follow).unwrap_or_default();
        Self { child, log, seen: 0 }
    }

    /// Starts `command` with its standard error as it is, so that nothing of it can be waited for.
    pub fn start_unheard(command: &mut Command) -> Self {
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log: Arc::default(), seen: 0 }
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What was said until now does not count for [`Process::wait_for`].
    pub fn forget(&mut self) {
        self.seen = self.log.lines().len();
    }

    /// The next line with `text`, if it comes in time.
    pub fn hears(&self, text: &str, timeout: Duration) -> Option<String> {
        self.log.find(text, self.seen, timeout)
    }

    /// Waits for a line with `text`, and returns it.
    pub fn wait_for(&self, text: &str, timeout: Duration) -> String {
        self.hears(text, timeout).unwrap_or_else(|| {
            panic!("no {text:?} within {timeout:?} in:\n{}", self.log.lines().join("\n"));
        })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        // A process that has ended already cannot take it, and needs not.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Killed as by `kill -9`, and gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How the process ended, waited for.
    pub fn wait(&mut self, timeout: Duration) -> ExitStatus {
        let end = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "{} runs on:\n{}", self.id(), self.log.lines().join("\n"));
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn proc_file(&self, name: &str) -> String {
        let bytes = std::fs::read(format!("/proc/{}/{name}", self.id())).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Processor time used so far, in ticks of 10 ms.
    pub fn ticks(&self) -> u64 {
        let stat = self.proc_file("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// How often it has waited for something to happen.
    pub fn waits(&self) -> u64 {
        self.status_number("voluntary_ctxt_switches:")
    }

    /// Resident memory, in KiB.
    pub fn memory_kib(&self) -> u64 {
        self.status_number("VmRSS:")
    }

    /// A number of `/proc/PID/status`; 0 where the process has ended.
    fn status_number(&self, name: &str) -> u64 {
        let status = self.proc_file("status");
        let rest = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
        rest.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Process {
    /// Resident memory without the pages of shared libraries, which all programs of a system share, in KiB.
    pub fn own_memory_kib(&self) -> u64 {
        let (mut own, mut shared) = (0, false);
        for line in self.proc_file("smaps").lines() {
            if let Some(size) = line.strip_prefix("Rss:") {
                let size: u64 = size.trim_end_matches("kB").trim().parse().unwrap();
                own += if shared { 0 } else { size };
            } else if line.contains('-') && line.split(' ').count() > 4 {
                shared = line.contains(".so");
            }
        }
        own
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            let name = self.proc_file("cmdline").replace('\0', " ");
            let lines = self.log.lines();
            let shown = &lines[lines.len().saturating_sub(40)..];
            say(&format!("--- {} {name}\n{}", self.id(), shown.join("\n")));
        }
        self.kill();
    }
}

/// Says something to the person who runs the tests, whether or not the test passes.
pub fn say(text: &str) {
    // Unlike `println!`, this is not held back by the test harness.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Waits until `done`, looking often.
pub fn eventually(what: &str, timeout: Duration, done: impl FnMut() -> bool) {
    assert!(holds_soon(timeout, done), "not within {timeout:?}: {what}");
}

/// Whether `done` comes to be true in time, looking often.
pub fn holds_soon(timeout: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + timeout;
    loop {
        if done() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn is_installed(program: &str) -> bool {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin"];
    folders.iter().any(|folder| std::path::Path::new(folder).join(program).exists())
}

/// Whether the programs are there; says which one is not.
pub fn need(programs: &[&str]) -> bool {
    for program in programs {
        if !is_installed(program) {
            say(&format!("skipped: {program} is not installed"));
            return false;
        }
    }
    true
}

/// Whether a program can be given namespaces of its own by `unshare` with these words; says so if it cannot.
pub fn need_unshare(words: &[&str]) -> bool {
    let tried = || Command::new("unshare").args(words).arg("true").stderr(Stdio::null()).status();
    let can = need(&["unshare"]) && tried().is_ok_and(|status| status.success());
    if !can {
        say(&format!("skipped: no namespace can be had here: unshare {}", words.join(" ")));
    }
    can
}

/// Whether this is root; says so if it is not.
pub fn need_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        say("skipped: it needs root");
    }
    root
}
