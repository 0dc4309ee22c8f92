//! What the processes use, every few seconds; and whether that grows.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::dice::Random;
use super::ledger::Ledger;
use super::stage::Stage;
use super::usage::{cpu_seconds, memory};

/// Between two samples.
const EVERY_MILLIS: u64 = 5_000;
/// Of a life, this share is taken for warming up.
const WARM_UP: f64 = 1.0 / 3.0;
/// Fewer samples than these make no line.
const SAMPLES_MIN: usize = 20;
/// Less than this is shown, and not judged: the most that was ever in use at once, which memory follows, still rises.
pub const JUDGED_SECONDS_MIN: f64 = 1_200.0;
/// Growth that is allowed over the judged time, as a share of the mean …
pub const GROWTH_MAX: f64 = 0.05;
/// … after what may be chance is taken off: so many standard errors.
pub const CHANCE: f64 = 3.0;
/// The line is drawn through the means of so many stretches: two samples that follow each other are much alike, and
/// would make chance look smaller than it is.
const STRETCHES: usize = 24;

/// One process at one time.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Seconds since the beginning.
    pub at: f64,
    /// Which life of it: its process id.
    pub life: u32,
    /// Resident memory, in KiB.
    pub resident: f64,
    /// The same, shared pages divided by those that share them.
    pub proportional: f64,
    pub files: f64,
    /// Processor time since the sample before, in percent of one core.
    pub cpu: f64,
    /// Processor time of this life, in seconds.
    used: f64,
}

#[derive(Default)]
pub struct Samples {
    /// By process, in the order of the stage.
    pub processes: Vec<(&'static str, Vec<Sample>)>,
    /// Visits a second, and when.
    pub visits: Vec<(f64, f64)>,
    /// The same of requests by name.
    pub requests: Vec<(f64, f64)>,
    counted: (f64, [u64; 2]),
}

impl Samples {
    fn take(&mut self, ledger: &Ledger, stage: &Stage) {
        let at = ledger.now().as_secs_f64();
        let processes = stage.each(|name, process, _| (name, process.id()));
        if self.processes.is_empty() {
            self.processes = processes.iter().map(|(name, _)| (*name, Vec::new())).collect();
        }
        for ((_, samples), (_, life)) in self.processes.iter_mut().zip(processes) {
            let (memory, used) = (memory(&[life]), cpu_seconds(&[life]));
            let files = std::fs::read_dir(format!("/proc/{life}/fd")).map_or(0, Iterator::count);
            // It was killed a moment ago.
            if memory.resident == 0.0 {
                continue;
            }
            let before = samples.last().filter(|before| before.life == life);
            let cpu = before.map_or(0.0, |before| (used - before.used) / (at - before.at) * 100.0);
            let (resident, proportional) = (memory.resident, memory.proportional);
            samples.push(Sample { at, life, resident, proportional, files: files as f64, cpu, used });
        }
        let counts = [ledger.visit_count(), ledger.request_count()];
        let (since, before) = std::mem::replace(&mut self.counted, (at, counts));
        for (n, curve) in [&mut self.visits, &mut self.requests].into_iter().enumerate() {
            curve.push((at, (counts[n] - before[n]) as f64 / (at - since).max(1.0)));
        }
    }
}

/// Takes samples up to the end of the run.
pub fn watch(ledger: &Ledger, stage: &Stage, samples: &Mutex<Samples>) {
    let mut random = Random(ledger.seed);
    while !ledger.has_ended() {
        samples.lock().unwrap().take(ledger, stage);
        ledger.pause(&mut random, EVERY_MILLIS..EVERY_MILLIS + 1, |ledger| !ledger.has_ended());
    }
}

/// A straight line through the samples of the longest life, without its warm-up and what comes after the churn.
#[derive(Clone, Copy, Debug)]
pub struct Trend {
    /// Seconds that are judged.
    pub lasting: f64,
    pub mean: f64,
    pub peak: f64,
    /// Over the judged time, as a share of the mean.
    pub growth: f64,
    /// What of that may be chance.
    pub chance: f64,
}

impl Trend {
    /// `None` where there are too few samples.
    pub fn of(samples: &[Sample], churn: Duration, value: impl Fn(&Sample) -> f64) -> Option<Self> {
        let mut lives: BTreeMap<u32, Vec<(f64, f64)>> = BTreeMap::new();
        for sample in samples.iter().filter(|sample| sample.at < churn.as_secs_f64()) {
            lives.entry(sample.life).or_default().push((sample.at, value(sample)));
        }
        let life = lives.into_values().max_by_key(Vec::len)?;
        let points = &life[(life.len() as f64 * WARM_UP) as usize..];
        if points.len() < SAMPLES_MIN {
            return None;
        }
        let lasting = points[points.len() - 1].0 - points[0].0;
        let points: Vec<(f64, f64)> = points.chunks(points.len().div_ceil(STRETCHES)).map(average).collect();
        let (count, (middle, mean)) = (points.len() as f64, average(&points));
        let spread = points.iter().map(|(at, _)| (at - middle).powi(2)).sum::<f64>();
        let slope = points.iter().map(|(at, value)| (at - middle) * (value - mean)).sum::<f64>() / spread;
        let rest = |(at, value): &(f64, f64)| (value - mean - slope * (at - middle)).powi(2);
        let error = (points.iter().map(rest).sum::<f64>() / (count - 2.0) / spread).sqrt();
        let share = lasting / mean;
        let peak = life.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        Some(Self { lasting, mean, peak, growth: slope * share, chance: CHANCE * error * share })
    }

    pub fn per_hour(&self) -> f64 {
        self.growth * self.mean / self.lasting * 3_600.0
    }

    pub fn is_judged(&self) -> bool {
        self.lasting >= JUDGED_SECONDS_MIN
    }

    pub fn is_level(&self) -> bool {
        self.growth - self.chance <= GROWTH_MAX
    }
}

/// The middle of some points.
pub fn average(points: &[(f64, f64)]) -> (f64, f64) {
    let (count, sum) =
        (points.len() as f64, |sum: (f64, f64), point: &(f64, f64)| (sum.0 + point.0, sum.1 + point.1));
    let (at, value) = points.iter().fold((0.0, 0.0), sum);
    (at / count, value / count)
}
