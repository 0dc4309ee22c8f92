//! What a process costs, counted and never timed: its system calls by kind, and its allocations.
//!
//! Allocations are counted while a flag of the thread is up: it is up while a driver has its turn and down while the
//! simulated world answers it, which may allocate as it likes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::fmt;
use std::sync::OnceLock;

/// A kind of system call, or an allocation, be it new memory or more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    Wait,
    Listen,
    Accept,
    Watch,
    Dial,
    /// With the first words at hand.
    DialSpeaking,
    Dialed,
    Read,
    Write,
    SpliceIn,
    SpliceOut,
    Shut,
    Close,
    Resolve,
    PollLicenses,
    Note,
    Forget,
    Allocation,
}

impl Cost {
    const ALL: [Self; 18] = [
        Self::Wait,
        Self::Listen,
        Self::Accept,
        Self::Watch,
        Self::Dial,
        Self::DialSpeaking,
        Self::Dialed,
        Self::Read,
        Self::Write,
        Self::SpliceIn,
        Self::SpliceOut,
        Self::Shut,
        Self::Close,
        Self::Resolve,
        Self::PollLicenses,
        Self::Note,
        Self::Forget,
        Self::Allocation,
    ];
}

/// How often each occurred, in the order of their kinds: it is counted at every call.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Costs([u64; Cost::ALL.len()]);

impl fmt::Debug for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.listed().filter(|(_, times)| *times > 0)).finish()
    }
}

impl Costs {
    fn listed(&self) -> impl Iterator<Item = (Cost, u64)> {
        Cost::ALL.into_iter().map(|kind| (kind, self.of(kind)))
    }

    pub fn add(&mut self, kind: Cost, times: u64) {
        self.0[kind as usize] += times;
    }

    pub fn of(&self, kind: Cost) -> u64 {
        self.0[kind as usize]
    }

    pub fn plus(mut self, other: &Self) -> Self {
        other.listed().for_each(|(kind, times)| self.add(kind, times));
        self
    }

    /// What came on top of `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        self.listed().map(|(kind, times)| (kind, times - earlier.of(kind))).collect()
    }

    /// System calls of every kind but waits.
    pub fn calls(&self) -> u64 {
        let called = |kind: Cost| !matches!(kind, Cost::Wait | Cost::Allocation);
        self.listed().filter(|(kind, _)| called(*kind)).map(|(_, times)| times).sum()
    }
}

impl FromIterator<(Cost, u64)> for Costs {
    fn from_iter<T: IntoIterator<Item = (Cost, u64)>>(costs: T) -> Self {
        let mut sum = Self::default();
        costs.into_iter().for_each(|(kind, times)| sum.add(kind, times));
        sum
    }
}

// ── Allocations ─────────────────────────────────────────────────────────────────────────────────────────────────────

thread_local! {
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// Allocations are counted, or not, as long as it lives.
pub struct Counting {
    before: bool,
}

impl Counting {
    pub fn set(on: bool) -> Self {
        Self { before: COUNTING.replace(on) }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        COUNTING.set(self.before);
    }
}

/// What `f` returns, and how often it allocated.
pub fn allocations<T>(f: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOCATIONS.get();
    let counting = Counting::set(true);
    let result = f();
    drop(counting);
    (result, ALLOCATIONS.get() - before)
}

/// Bytes that were allocated and not freed while the flag was up.
pub fn held() -> isize {
    HELD.get()
}

fn hold(more: usize, less: usize) {
    if COUNTING.get() {
        HELD.set(HELD.get() + more as isize - less as isize);
    }
}

fn count() {
    if COUNTING.get() {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        tell_where();
    }
}

/// With `NT_SIM_WHERE=1` every allocation that is counted tells where in nt it was made, innermost first.
fn tell_where() {
    static WANTED: OnceLock<bool> = OnceLock::new();
    let _uncounted = Counting::set(false);
    if *WANTED.get_or_init(|| std::env::var_os("NT_SIM_WHERE").is_some()) {
        let trace = Backtrace::force_capture().to_string();
        let lines = trace.lines().filter_map(|line| line.trim().strip_prefix("at ./src/"));
        eprintln!("allocation: {}", lines.take(4).collect::<Vec<_>>().join(" < "));
    }
}

struct Counted;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

// SAFETY: every request goes on to the system's allocator as it came. What is done besides touches cells of the thread
// that have no destructor, and allocates only with the flag down, so that it does not come back to itself.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        hold(layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        hold(layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        hold(size, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        hold(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}
