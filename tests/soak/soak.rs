//! nt under churn for as long as you like: `make soak MINUTES=60`.
//!
//! One server and five clients, over TLS and plainly, as they were built; visitors of every kind, by port, by name,
//! by exits and by other clients' doors; and faults: processes killed, stopped and frozen, links cut and stalled, licenses revoked, strangers at the door.
//! All is drawn from one seed. Each visit has to end whole, or visibly cut by a fault of that moment; every byte is
//! checked. Datagrams may be lost, but a visitor who asks again is answered, unless there is a fault. Who asks for a
//! name is answered by its real server, once; or is told that it is not there, if there is a fault. Afterwards all
//! must be at rest, neither memory nor open files may have grown, and whoever is asked to stop holds no buffer.
//!
//! - `NT_SOAK_MINUTES=60`: how long.
//! - `NT_SOAK_SEED=17`: plays the same dice again; what happens at the same moment does so in another order each time.
//! - `NT_E2E_BIN=PATH`: the nt that is soaked.
//!
//! `docs/TESTING.md` and `docs/soak.svg` are written by a good run of an hour or more; a shorter one prints, and draws for itself.

#![cfg(target_os = "linux")]
#![allow(unreachable_pub, clippy::disallowed_methods, clippy::unwrap_used)]

#[path = "../bench/book.rs"]
mod book;
mod callers;
#[path = "../e2e/certificates.rs"]
mod certificates;
#[path = "../bench/chart.rs"]
mod chart;
#[path = "../e2e/data.rs"]
mod data;
mod datagrams;
mod detours;
#[path = "../dice/mod.rs"]
mod dice;
mod faults;
#[path = "../e2e/harness.rs"]
#[allow(dead_code, reason = "the end-to-end tests use more of it")]
mod harness;
mod ledger;
mod link;
mod names;
#[path = "../e2e/process.rs"]
#[allow(dead_code, reason = "the end-to-end tests use more of it")]
mod process;
#[path = "../bench/programs.rs"]
#[allow(dead_code, reason = "the benchmark uses more of it")]
mod programs;
mod real;
mod report;
mod requests;
#[path = "../e2e/rest.rs"]
#[allow(dead_code, reason = "the end-to-end tests use more of it")]
mod rest;
mod samples;
#[path = "../e2e/scratch.rs"]
#[allow(dead_code, reason = "the benchmark uses more of it")]
mod scratch;
mod stage;
#[path = "../bench/usage.rs"]
#[allow(dead_code, reason = "the benchmark uses more of it")]
mod usage;
mod visitors;
#[path = "../e2e/web.rs"]
#[allow(dead_code, reason = "the end-to-end tests use more of it")]
mod web;
/// Nothing waits beside the soak.
mod waiting {
    pub fn begin() {}
}

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use book::write;
use dice::Random;
use ledger::Ledger;
use nt::entropy::Entropy;
use process::{Process, eventually, holds_soon, say};
use report::{BOOK, PICTURE, Report};
use rest::{Files, rests};
use samples::{Samples, Trend};
use stage::Stage;

/// Visitors of each client, who come again and again.
const VISITORS: u64 = 6;
/// A run that is written down lasts at least so long.
const MINUTES_MIN: u64 = 60;
/// What a process said last is shown after a failure.
const LINES_SHOWN: usize = 60;
/// The last real servers learn of the end of their visits.
const LAST_ENDS: Duration = Duration::from_secs(60);
/// The last flows are forgotten: a minute after their last datagram.
const LAST_FLOWS: Duration = Duration::from_secs(60 + 20);
/// How long the picture shows that nothing happens any more.
const REST: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say(&why);
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let number = |name: &str| match env::var(name).ok().filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(value) => value.parse().map(Some).map_err(|_| format!("{name} is to be a whole number")),
    };
    let minutes: u64 = number("NT_SOAK_MINUTES")?.unwrap_or(MINUTES_MIN);
    let seed = number("NT_SOAK_SEED")?.unwrap_or_else(|| Entropy::from_os().below(1_000_000));
    let churn = Duration::from_secs(minutes * 60);
    let ledger = Arc::new(Ledger::new(seed, churn));
    // A thread that panics, such as one that was sent a wrong byte, has found something.
    let (found, usual) = (Arc::clone(&ledger), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        found.fail(info.to_string());
    }));
    nt::os::raise_open_files();
    say(&format!("{minutes} minutes, seed {seed}, {}", harness::nt().display()));
    let samples = soak(&ledger);
    let report = Report { ledger: &ledger, samples: &samples, churn };
    let grows = |trend: &Trend| trend.is_judged() && !trend.is_level();
    for (what, name, trend) in report.trends().iter().filter(|(_, _, trend)| grows(trend)) {
        ledger.fail(format!("{what} of {name} grows: {trend:?}"));
    }
    let (text, picture) = (report.text(), report.picture());
    println!("{text}");
    let sketch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PICTURE);
    std::fs::write(&sketch, &picture).map_err(|error| format!("{}: {error}", sketch.display()))?;
    say(&format!("the curves are in {}", sketch.display()));
    match ledger.failure() {
        Some(why) => Err(format!("FAILED {why}")),
        None if minutes < MINUTES_MIN => Ok(()),
        None => BOOK.write(&text).and_then(|()| write(PICTURE, &picture)),
    }
}

/// The whole run, from the first start to the rest.
fn soak(ledger: &Arc<Ledger>) -> Samples {
    let stage = Stage::start(ledger);
    // Nobody has visited yet.
    let baseline = stage.others();
    let all_serve = || stage.clients.iter().all(|client| visitors::probe(ledger, client));
    eventually("all serve", harness::SOON, all_serve);
    let samples = Mutex::new(Samples::default());
    let mut random = Random(ledger.seed);
    let mut dice = || Random(random.next());
    thread::scope(|scope| {
        let (stage, samples) = (&stage, &samples);
        scope.spawn(|| samples::watch(ledger, stage, samples));
        let mut visits = Vec::new();
        for client in &stage.clients {
            let dice_of_faults = dice();
            scope.spawn(move || faults::befall(ledger, stage, client, dice_of_faults));
            for _ in 0..VISITORS {
                let dice = dice();
                visits.push(scope.spawn(move || visitors::visit(ledger, &stage.clients, client, dice)));
            }
        }
        let (restarts, operators, strangers) = (dice(), dice(), dice());
        scope.spawn(move || faults::restart(ledger, stage, restarts));
        visits.push(scope.spawn(move || faults::operate(ledger, stage, operators)));
        visits.push(scope.spawn(move || faults::intrude(ledger, stage, strangers)));
        for visit in visits {
            let _ = visit.join();
        }
        if !ledger.has_failed() {
            // A panic in here must not keep the others waiting for the end.
            let _ = thread::Builder::new()
                .spawn_scoped(scope, || rest(ledger, stage, &baseline))
                .map(|rest| rest.join());
        }
        if ledger.has_failed() {
            tell_logs(stage);
        }
        ledger.end();
    });
    samples.into_inner().unwrap_or_default()
}

/// Nobody visits any more: nothing is left, and nothing runs.
fn rest(ledger: &Ledger, stage: &Stage, baseline: &[usize]) {
    let all_serve = || stage.clients.iter().all(|client| visitors::probe(ledger, client));
    eventually("every client serves", ledger::BACK, all_serve);
    eventually("every real server is alone", LAST_ENDS, || stage.real.open() == 0);
    let mut baseline = baseline.iter();
    stage.each(|name, process, doors| {
        let sessions = if name == "server" { stage.clients.len() } else { 1 };
        let others = *baseline.next().unwrap();
        let at_rest = || Files::of(process, &doors).are_at_rest(others, sessions);
        let (files, odd) = match holds_soon(LAST_FLOWS, at_rest) {
            true => return,
            false => Files::told(process, &doors),
        };
        panic!(
            "{name} has no visit's file, and {others} others, not within {LAST_FLOWS:?}: {files:?}, {odd:?}"
        );
    });
    {
        let (server, clients) = (stage.server(), stage.clients.iter().map(stage::Client::process));
        let clients: Vec<_> = clients.collect();
        let all = clients.iter().map(|client| (&***client, 1));
        let all = all.chain([(&*server.process, stage.clients.len())]);
        rests(&all.collect::<Vec<(&Process, usize)>>());
    }
    thread::sleep(REST);
    stage.stop();
}

/// What the processes of now said last.
fn tell_logs(stage: &Stage) {
    stage.each(|name, process, _| {
        let lines = process.log().lines();
        let shown = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
        say(&format!("--- {name}\n{shown}"));
    });
}
