//! What happens in a run: faults and for how long each of them excuses a cut, visits by their ends, and what went wrong.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::dice::Random;
use super::process::say;

/// Promised to everyone once the last fault is healed.
pub const BACK: Duration = Duration::from_secs(60);
/// Who was silent for nearly as long as is permitted may still be given up a moment after it serves again.
const AFTERMATH: Duration = Duration::from_secs(5);
/// Servers restart in the first third, so that the life after it is long.
const RESTARTS_SHARE: u32 = 3;
/// Verdicts of visits that nobody asks for are forgotten beyond so many.
const VERDICTS_KEPT: usize = 4_096;

/// How one side saw the end of a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every byte came, and then the end.
    Whole,
    /// It broke off, and could not be taken for an end.
    Cut,
}

/// Why a visit did not go as planned.
#[derive(Debug)]
pub enum Trouble {
    /// It was cut, visibly: right, if there was a fault.
    Cut(String),
    /// There was no answer, and nt said so: right, if there was a fault.
    Told(String),
    /// What must never happen.
    Wrong(String),
}

impl Trouble {
    /// The same, with what it was about.
    pub fn of(self, what: &impl Debug) -> Self {
        match self {
            Self::Cut(why) => Self::Cut(format!("{why}: {what:?}")),
            Self::Told(why) => Self::Told(format!("{why}: {what:?}")),
            Self::Wrong(why) => Self::Wrong(format!("{why}: {what:?}")),
        }
    }
}

/// One client's share of a fault.
struct Fault {
    client: usize,
    /// When it was undone …
    healed: Option<Instant>,
    /// … and a moment after the client served again: nothing after that is its doing.
    over: Option<Instant>,
}

pub struct Ledger {
    pub seed: u64,
    begun: Instant,
    lasting: Duration,
    next_visit: AtomicU64,
    faults: Mutex<Vec<Fault>>,
    fault_kinds: Mutex<BTreeMap<&'static str, u64>>,
    /// Visits that ended whole, and cut, by kind.
    visits: Mutex<BTreeMap<&'static str, [u64; 2]>>,
    /// Datagrams that waited for an answer, and those that had one.
    datagrams: [AtomicU64; 2],
    /// Requests by name that were answered, told that they will not be, and cut, by kind of name.
    requests: Mutex<BTreeMap<&'static str, [u64; 3]>>,
    verdicts: Mutex<BTreeMap<u64, End>>,
    judged: Condvar,
    failure: Mutex<Option<String>>,
    failed: AtomicBool,
    ended: AtomicBool,
}

impl Ledger {
    pub fn new(seed: u64, lasting: Duration) -> Self {
        Self {
            seed,
            begun: Instant::now(),
            lasting,
            next_visit: AtomicU64::new(1),
            faults: Mutex::default(),
            fault_kinds: Mutex::default(),
            visits: Mutex::default(),
            datagrams: Default::default(),
            requests: Mutex::default(),
            verdicts: Mutex::default(),
            judged: Condvar::new(),
            failure: Mutex::default(),
            failed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    // ── Time ────────────────────────────────────────────────────────────────────────────────────────────────────

    pub fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whether visitors come.
    pub fn churns(&self) -> bool {
        !self.has_failed() && self.now() < self.lasting
    }

    /// Whether faults are made: not so late that nobody could see them healed.
    pub fn makes_faults(&self) -> bool {
        !self.has_failed() && self.now() + BACK.min(self.lasting / 4) < self.lasting
    }

    /// Whether the server is restarted.
    pub fn makes_restarts(&self) -> bool {
        self.makes_faults() && self.now() < self.lasting / RESTARTS_SHARE
    }

    /// Sleeps for a while from this range of milliseconds, while `go_on`.
    pub fn pause(&self, random: &mut Random, millis: std::ops::Range<u64>, go_on: impl Fn(&Self) -> bool) {
        let length = millis.start + random.below(millis.end - millis.start);
        let end = Instant::now() + Duration::from_millis(length);
        while go_on(self) && Instant::now() < end {
            thread::sleep(Duration::from_millis(50).min(end.saturating_duration_since(Instant::now())));
        }
    }

    /// The processes of the run may go.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Waits for that: who started a process must outlive it.
    pub fn wait_for_end(&self) {
        while !self.ended.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    // ── Failure ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// The run has failed; the first reason counts.
    pub fn fail(&self, why: impl Into<String>) {
        let mut failure = self.failure.lock().unwrap();
        if failure.is_none() {
            let why = format!("after {} s, seed {}: {}", self.now().as_secs(), self.seed, why.into());
            say(&format!("FAILED {why}"));
            *failure = Some(why);
        }
        self.failed.store(true, Ordering::Relaxed);
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap().clone()
    }

    // ── Faults ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// A fault begins that these clients may suffer from; it is told by number.
    pub fn fault(&self, kind: &'static str, clients: impl IntoIterator<Item = usize>) -> Vec<usize> {
        *self.fault_kinds.lock().unwrap().entry(kind).or_default() += 1;
        let mut faults = self.faults.lock().unwrap();
        let first = faults.len();
        faults.extend(clients.into_iter().map(|client| Fault { client, healed: None, over: None }));
        (first..faults.len()).collect()
    }

    /// Something happened that nobody may suffer from.
    pub fn harmless(&self, kind: &'static str) {
        self.fault(kind, []);
    }

    pub fn healed(&self, numbers: &[usize]) {
        let mut faults = self.faults.lock().unwrap();
        numbers.iter().for_each(|&number| faults[number].healed = Some(Instant::now()));
    }

    pub fn over(&self, number: usize) {
        self.faults.lock().unwrap()[number].over = Some(Instant::now() + AFTERMATH);
    }

    /// Whether a visit of this client that began then may have been cut.
    fn explains(&self, client: usize, since: Instant) -> bool {
        let faults = self.faults.lock().unwrap();
        let suffers = |fault: &&Fault| fault.client == client;
        faults.iter().filter(suffers).any(|fault| fault.over.is_none_or(|over| over >= since))
    }

    /// Whether the client should have been back by now: all its faults are healed, and the last for so long.
    pub fn is_overdue(&self, client: usize) -> bool {
        let faults = self.faults.lock().unwrap();
        let mut healed = faults.iter().filter(|fault| fault.client == client).map(|fault| fault.healed);
        healed.all(|healed| healed.is_some_and(|healed| healed.elapsed() > BACK))
    }

    pub fn fault_kinds(&self) -> BTreeMap<&'static str, u64> {
        self.fault_kinds.lock().unwrap().clone()
    }

    // ── Visits ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// A number for a visit.
    pub fn number(&self) -> u64 {
        self.next_visit.fetch_add(1, Ordering::Relaxed)
    }

    /// A visit in which these clients took part, and which began then, has ended so.
    pub fn visited(
        &self,
        kind: &'static str,
        clients: impl IntoIterator<Item = usize>,
        begun: Instant,
        end: Result<(), Trouble>,
    ) {
        let clients: Vec<usize> = clients.into_iter().collect();
        let explained = || clients.iter().any(|&client| self.explains(client, begun));
        let lasted = begun.elapsed().as_secs_f64();
        let end = match end {
            Ok(()) => End::Whole,
            Err(Trouble::Cut(_) | Trouble::Told(_)) if explained() => End::Cut,
            Err(Trouble::Cut(why) | Trouble::Told(why)) => {
                return self
                    .fail(format!("{kind}, clients {clients:?}, {lasted:.1} s: cut without a fault: {why}"));
            }
            Err(Trouble::Wrong(why)) => {
                return self.fail(format!("{kind}, clients {clients:?}, {lasted:.1} s: {why}"));
            }
        };
        self.visits.lock().unwrap().entry(kind).or_default()[end as usize] += 1;
    }

    pub fn visits(&self) -> BTreeMap<&'static str, [u64; 2]> {
        self.visits.lock().unwrap().clone()
    }

    pub fn visit_count(&self) -> u64 {
        self.visits.lock().unwrap().values().flatten().sum()
    }

    /// So many datagrams waited for an answer, and so many had one.
    pub fn talked(&self, said: u64, answered: u64) {
        for (count, more) in self.datagrams.iter().zip([said, answered]) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    pub fn datagrams(&self) -> [u64; 2] {
        self.datagrams.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// A request by a name of this kind has ended so.
    pub fn requested(&self, kind: &'static str, end: &Result<(), Trouble>) {
        let column = match end {
            Ok(()) => 0,
            Err(Trouble::Told(_)) => 1,
            Err(Trouble::Cut(_) | Trouble::Wrong(_)) => 2,
        };
        self.requests.lock().unwrap().entry(kind).or_default()[column] += 1;
    }

    pub fn requests(&self) -> BTreeMap<&'static str, [u64; 3]> {
        self.requests.lock().unwrap().clone()
    }

    pub fn request_count(&self) -> u64 {
        self.requests.lock().unwrap().values().flatten().sum()
    }

    /// How the real server saw the end of a visit.
    pub fn judge(&self, visit: u64, end: Result<End, String>) {
        match end {
            Err(why) => self.fail(format!("visit {visit}, at the real server: {why}")),
            Ok(end) => {
                let mut verdicts = self.verdicts.lock().unwrap();
                verdicts.insert(visit, end);
                if verdicts.len() > VERDICTS_KEPT {
                    verdicts.pop_first();
                }
                self.judged.notify_all();
            }
        }
    }

    /// What the real server says of a visit, waited for.
    pub fn verdict(&self, visit: u64, patience: Duration) -> Option<End> {
        let unjudged =
            |verdicts: &mut BTreeMap<u64, End>| !verdicts.contains_key(&visit) && !self.has_failed();
        let verdicts = self.verdicts.lock().unwrap();
        let (mut verdicts, _) = self.judged.wait_timeout_while(verdicts, patience, unjudged).unwrap();
        verdicts.remove(&visit)
    }
}
