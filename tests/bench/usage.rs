//! What processes use: read from `/proc`, for them and for what they started.

use std::fs;
use std::thread;
use std::time::Instant;

/// Ticks a second in which `/proc/PID/stat` counts: what the kernel tells user space, whatever it uses itself.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory of some processes together, in KiB.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    /// Resident, shared pages counted for each process.
    pub resident: f64,
    /// Resident, each shared page divided by those that share it; 0 where the kernel does not tell.
    pub proportional: f64,
}

/// These processes and all that descends from them.
fn family(roots: &[u32]) -> Vec<u32> {
    let mut found = roots.to_vec();
    let mut next = 0;
    while let Some(&id) = found.get(next) {
        for task in tasks(id) {
            let children = fs::read_to_string(format!("{task}/children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
        }
        next += 1;
    }
    found
}

/// The folders of a process's threads.
fn tasks(id: u32) -> Vec<String> {
    let Ok(folder) = fs::read_dir(format!("/proc/{id}/task")) else { return Vec::new() };
    folder.flatten().map(|entry| entry.path().to_string_lossy().into_owned()).collect()
}

/// Processor time that these processes and their descendants have used, in seconds.
pub fn cpu_seconds(roots: &[u32]) -> f64 {
    family(roots).into_iter().map(cpu_seconds_of).sum()
}

/// `schedstat` counts nanoseconds, but only of threads that live; `stat` counts those that ended too, but in ticks.
/// The greater of the two is right to a tick in any case, and to a nanosecond where no thread ends.
fn cpu_seconds_of(id: u32) -> f64 {
    let living = tasks(id).into_iter().map(|task| {
        let text = fs::read_to_string(format!("{task}/schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
    });
    let whole = Stat::of(id).map_or(0.0, |stat| stat.own);
    living.sum::<f64>().max(whole)
}

/// What `/proc/PID/stat` tells of a process.
struct Stat {
    parent: u32,
    /// Seconds that it used itself.
    own: f64,
    /// Seconds that its children used which have ended.
    children: f64,
}

impl Stat {
    fn of(id: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
        let seconds = |n: usize| Some(fields.get(n)?.parse::<f64>().ok()? / TICKS_PER_SECOND);
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: seconds(11)? + seconds(12)?,
            children: seconds(13)? + seconds(14)?,
        })
    }
}

/// A stretch of time in which others may have disturbed what was measured.
pub struct Watch {
    begun: Instant,
    others: f64,
}

impl Watch {
    pub fn begin() -> Self {
        Self { begun: Instant::now(), others: others_cpu_seconds() }
    }

    /// The share of all processors that others have used since.
    pub fn others_share(&self) -> f64 {
        let all = self.begun.elapsed().as_secs_f64()
            * thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
        (others_cpu_seconds() - self.others).max(0.0) / all
    }
}

/// Processor time of all processes but this one and its descendants. What has ended counts for its parent. Threads of
/// the kernel are left out: they work for us too.
fn others_cpu_seconds() -> f64 {
    const KERNEL_THREADS: u32 = 2;
    let ours = family(&[std::process::id()]);
    let Ok(folder) = fs::read_dir("/proc") else { return 0.0 };
    let ids = folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let others = ids.filter(|id| !ours.contains(id)).filter_map(Stat::of);
    others.filter(|stat| stat.parent != KERNEL_THREADS).map(|stat| stat.own + stat.children).sum()
}

pub fn memory(roots: &[u32]) -> Memory {
    let mut sum = Memory::default();
    for id in family(roots) {
        sum.resident += kib(&format!("/proc/{id}/status"), "VmRSS:");
        sum.proportional += kib(&format!("/proc/{id}/smaps_rollup"), "Pss:");
    }
    sum
}

/// The number on the line of a file of `/proc` that starts with `name`.
fn kib(file: &str, name: &str) -> f64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}
