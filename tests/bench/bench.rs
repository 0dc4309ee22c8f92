//! nt measured beside other tunnels, on this machine: `make bench`.
//!
//! Each load is put on each system in turn, and all of that again each round, so that what else the machine does hits
//! all alike; medians over the rounds are printed as one table, and written to `docs/BENCHMARKS.md` and
//! `docs/benchmarks.svg`. Systems: no tunnel at all, nt (plainly and over TLS), rathole (plainly and over Noise), frp,
//! bore, two haproxies in a row, and `ssh -R`; those whose programs are missing are named. Set by environment:
//!
//! - `NT_BENCH_ROUNDS=3`, `NT_BENCH_SECONDS=3`: how often, and how long each load lasts.
//! - `NT_BENCH_ONLY=nt,rathole`, `NT_BENCH_LOADS=bulk,udp,http,names,echo,memory,crowd,scale,wan`: these alone.
//! - `NT_BENCH_BIN=PATH`: the nt that is measured instead of `target/release/nt`.
//! - `NT_BENCH_BASE=PATH`: another nt beside it, to compare two: adds `nt-base` and `nt-base-tls`.
//! - `NT_BENCH_STATIC=PATH`: a static musl build beside it: adds `nt-static` and `nt-static-tls`.
//!
//! With `ONLY`, `LOADS` or `BASE`, or in fewer than three rounds, it prints and writes nothing.

#![cfg(target_os = "linux")]
#![allow(unreachable_pub, clippy::disallowed_methods, clippy::unwrap_used)]

mod book;
mod chart;
mod datagrams;
#[path = "../dice/mod.rs"]
mod dice;
#[allow(dead_code, reason = "the end-to-end tests use more of it")]
mod echo;
mod knobs;
#[path = "../wan/mod.rs"]
#[allow(dead_code, reason = "the end-to-end tests use more of it")]
mod link;
mod loads;
mod panels;
#[path = "../e2e/process.rs"]
#[allow(dead_code, reason = "the end-to-end tests use more of it")]
mod process;
mod programs;
mod report;
mod results;
#[path = "../e2e/scratch.rs"]
mod scratch;
mod services;
mod systems;
mod targets;
mod usage;
mod wan;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use echo::Echo;
use knobs::{Knobs, LOADS};
use loads::Stage;
use process::say;
use results::Results;
use services::Nginx;
use usage::Watch;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        [echo::SERVE, host] => serve(host),
        [echo::PING, to, seconds] => ping(to, seconds),
        [datagrams::SERVE] => datagrams::serve().map_err(|error| format!("the echo of datagrams: {error}")),
        _ => bench(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say(&why);
            ExitCode::FAILURE
        }
    }
}

fn serve(host: &str) -> Result<(), String> {
    open_files();
    echo::serve(host).map_err(|error| format!("the echo service: {error}"))
}

fn ping(to: &str, seconds: &str) -> Result<(), String> {
    let to = to.parse().map_err(|error| format!("{to}: {error}"))?;
    let seconds = seconds.parse().map_err(|error| format!("{seconds}: {error}"))?;
    let latency = echo::ping(to, Duration::from_secs(seconds)).map_err(|error| format!("{to}: {error}"))?;
    println!("{} {}", latency.median, latency.p90);
    Ok(())
}

/// Lets this process, and those it starts, open as many files as the system permits; says how many that are.
fn open_files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| files as usize)
}

fn bench() -> Result<(), String> {
    let begun = Instant::now();
    let knobs = Knobs::read()?;
    let files = open_files();
    let (systems, mut skipped) = systems::all(&knobs)?;
    let mut loads: Vec<&str> = LOADS.into_iter().filter(|load| knobs.wants_load(load)).collect();
    skipped.extend(loads.iter().filter_map(|load| loads::obstacle(load)));
    loads.retain(|load| loads::obstacle(load).is_none());
    let nginx = if loads.iter().any(|load| loads::asks_nginx(load)) { Some(Nginx::start()?) } else { None };
    let stage = Stage { nginx, echo: Echo::start(&[], "127.0.0.1")?, lasting: knobs.load(), files };
    let mut results = Results::default();
    for round in 1..=knobs.rounds {
        for &load in &loads {
            say(&format!("round {round} of {}: {load}", knobs.rounds));
            if load == "wan" {
                let watch = Watch::begin();
                wan::measure(round as u64, &systems, &knobs, &mut results);
                results.others_used(watch.others_share());
                continue;
            }
            for system in systems.iter().filter(|system| loads::applies(load, system)) {
                let watch = Watch::begin();
                if let Err(why) = loads::run(load, system, &stage, &mut results) {
                    results.remark(format!("{}, {load}: {why}", system.name));
                }
                results.others_used(watch.others_share());
            }
        }
    }
    let report = report::Report { knobs: &knobs, systems: &systems, skipped, results: &results, files };
    let text = report.text();
    println!("{text}");
    say(&format!("took {} s", begun.elapsed().as_secs()));
    if knobs.is_whole() { report.write(&text, &panels::draw(&systems, &results)) } else { Ok(()) }
}
