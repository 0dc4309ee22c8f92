//! What is set by environment; the header of `bench.rs` tells what each is for.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// Rounds below which no median deserves its name: nothing is written to the docs.
const ROUNDS_MIN: usize = 3;

/// What a round consists of, in this order.
pub const LOADS: [&str; 9] = ["bulk", "udp", "http", "names", "echo", "memory", "crowd", "scale", "wan"];

pub struct Knobs {
    pub rounds: usize,
    pub seconds: u64,
    only: Option<Vec<String>>,
    loads: Option<Vec<String>>,
    pub nt: PathBuf,
    pub fixed: Option<PathBuf>,
    pub base: Option<PathBuf>,
}

impl Knobs {
    /// # Errors
    /// A sentence, where one is set to what it cannot be.
    pub fn read() -> Result<Self, String> {
        let text = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let number = |name: &str, default: u64| match text(name).map(|value| value.parse()) {
            None => Ok(default),
            Some(Ok(value)) if value > 0 => Ok(value),
            Some(_) => Err(format!("{name} is to be a whole number above 0")),
        };
        let list = |name: &str| {
            text(name).map(|value| value.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>())
        };
        let built = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/release/nt"));
        let knobs = Self {
            rounds: number("NT_BENCH_ROUNDS", ROUNDS_MIN as u64)? as usize,
            seconds: number("NT_BENCH_SECONDS", 3)?,
            only: list("NT_BENCH_ONLY"),
            loads: list("NT_BENCH_LOADS"),
            nt: text("NT_BENCH_BIN").map_or_else(built, PathBuf::from),
            fixed: text("NT_BENCH_STATIC").map(PathBuf::from),
            base: text("NT_BENCH_BASE").map(PathBuf::from),
        };
        for load in knobs.loads.iter().flatten() {
            if !LOADS.contains(&load.as_str()) {
                return Err(format!("NT_BENCH_LOADS: {load} is none of {}", LOADS.join(", ")));
            }
        }
        for binary in [Some(&knobs.nt), knobs.fixed.as_ref(), knobs.base.as_ref()].into_iter().flatten() {
            if !binary.is_file() {
                return Err(format!("{} is missing: `make build` makes it", binary.display()));
            }
        }
        Ok(knobs)
    }

    pub fn wants_system(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|wanted| wanted == name))
    }

    pub fn wants_load(&self, name: &str) -> bool {
        self.loads.as_ref().is_none_or(|loads| loads.iter().any(|wanted| wanted == name))
    }

    /// How long one load lasts.
    pub fn load(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Whether this run measures everything, and often enough to be written down.
    pub fn is_whole(&self) -> bool {
        self.only.is_none() && self.loads.is_none() && self.base.is_none() && self.rounds >= ROUNDS_MIN
    }

    /// Refuses a system that is asked for and does not exist.
    ///
    /// # Errors
    /// A sentence that names those that exist.
    pub fn check_systems(&self, known: &[&str]) -> Result<(), String> {
        match self.only.iter().flatten().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(format!("NT_BENCH_ONLY: {name} is none of {}", known.join(", "))),
        }
    }
}
