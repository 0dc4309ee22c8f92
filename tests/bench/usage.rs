//! What processes use: read from `/proc`, for them and for what they started.

use std::fs;

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
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
    let whole = (ticks(11) + ticks(12)) / TICKS_PER_SECOND;
    living.sum::<f64>().max(whole)
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
