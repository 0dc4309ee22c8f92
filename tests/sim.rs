//! Whole servers and clients, unmodified, in a simulated world: one seed, one story.

#![allow(unreachable_pub)]

#[path = "sim/actors.rs"]
mod actors;
#[path = "sim/callers.rs"]
mod callers;
#[path = "sim/costs.rs"]
mod costs;
#[path = "dice/mod.rs"]
mod dice;
#[path = "sim/exchanges.rs"]
mod exchanges;
#[path = "sim/exits.rs"]
mod exits;
#[path = "sim/floods.rs"]
mod floods;
#[path = "sim/letters.rs"]
mod letters;
#[path = "sim/messages.rs"]
mod messages;
#[path = "sim/meter.rs"]
mod meter;
#[path = "sim/net.rs"]
mod net;
#[path = "sim/os.rs"]
mod os;
#[path = "sim/privates.rs"]
mod privates;
#[path = "sim/services.rs"]
mod services;
#[path = "sim/stories.rs"]
mod stories;
#[path = "sim/swarm.rs"]
mod swarm;
#[path = "sim/sweep.rs"]
mod sweep;
#[path = "sim/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use actors::{Outcome, Plan};
use net::Nasty;
use nt::directory::{Directory, Entry};
use nt::license::{License, Transport};
use nt::policy::{HostSet, Rates, VisitSet};
use nt::time::Span;
use world::{CLIENT, SERVER, Sim};

const CALM: Nasty = Nasty { short: 0, spurious: 0, pipeless: 0, delay_micros: 10_000, window: 64 * 1024 };
const NASTY: Nasty = Nasty { short: 60, spurious: 20, pipeless: 10, delay_micros: 3_000, window: 5_000 };

/// Much at once, so that payload is spliced; and no less nasty.
const BULKY: Nasty = Nasty { short: 20, spurious: 20, pipeless: 10, delay_micros: 3_000, window: 150_000 };

/// What the server knows of these licenses; each may take any port from 1024.
pub fn directory(licenses: &[License]) -> Directory {
    let mut directory = Directory::default();
    for n in 0..licenses.len() {
        give_back(&mut directory, n);
    }
    directory
}

/// The name of license `n`.
fn name(n: usize) -> String {
    format!("license{n}")
}

/// License `n`, with the names that its client serves.
fn entry(n: usize) -> Entry {
    let hosts = HostSet::parse(swarm::calls::hosts(n)).expect("good names");
    let visits = VisitSet::parse("*").expect("all of them");
    Entry { hosts, visits, ..Entry::new(&name(n), &world::license(n)).expect("a good name") }
}

fn give_back(directory: &mut Directory, n: usize) {
    directory.add(entry(n)).expect("a new name");
}

fn take_away(directory: &mut Directory, n: usize) {
    directory.remove(&name(n)).expect("a known name");
}

fn revoke(directory: &mut Directory, n: usize) {
    directory.revoke(&name(n)).expect("a known name");
}

/// The license as it was at first, with these mappings.
fn declare(directory: &mut Directory, n: usize, maps: &[&str]) {
    directory.replace(entry(n)).expect("a known name");
    give_maps(directory, n, maps);
}

/// The license as it was at first, but that it permits no names.
fn take_names(directory: &mut Directory, n: usize) {
    let entry = Entry { hosts: HostSet::default(), ..entry(n) };
    directory.replace(entry).expect("a known name");
}

/// The license as it was at first, but that it permits no visits.
fn forbid_visits(directory: &mut Directory, n: usize) {
    let entry = Entry { visits: VisitSet::default(), ..entry(n) };
    directory.replace(entry).expect("a known name");
}

/// The license permits so many visitors.
fn limit(directory: &mut Directory, n: usize, visitors: Option<u32>) {
    let mut entry = directory.by_name(&name(n)).expect("a known name").clone();
    entry.max_visitors = visitors;
    directory.replace(entry).expect("a known name");
}

/// The license as it was at first, but that its visitors share these rates.
fn hold(directory: &mut Directory, n: usize) {
    let rates = Rates { down: Some(20_000), up: Some(60_000) };
    directory.replace(Entry { rates, ..entry(n) }).expect("a known name");
}

fn give_maps(directory: &mut Directory, n: usize, maps: &[&str]) {
    let mut entry = directory.by_name(&name(n)).expect("a known name").clone();
    for map in maps {
        entry.add_map(map).expect("a good mapping");
    }
    directory.replace(entry).expect("a known name");
}

/// So many seeds; `NT_SIM_SEEDS` asks for more, `NT_SIM_SEED` for one alone.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    match number("NT_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("NT_SIM_SEEDS").unwrap_or(usual),
    }
}

/// Works through a range on all processors.
fn all_cores(range: std::ops::Range<u64>, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(range.start);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(n) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| range.contains(n)) {
                    work(n);
                }
            });
        }
    });
}

/// Tells a story; where it fails, `again` is told too.
fn told(again: impl FnOnce() -> String, story: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(story)) {
        eprintln!("{}", again());
        resume_unwind(panic);
    }
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn up(seed: u64, nasty: Nasty, transport: Transport) -> Sim {
    let mut sim = Sim::new(seed, nasty, transport);
    sim.start_client(CLIENT, 0, &["8080:10.0.0.9:700"]);
    sim.run_for(Span::from_secs(2));
    assert!(sim.log().contains("8080 -> 10.0.0.9:700 ready"), "no mapping:\n{}", sim.log());
    sim
}

fn whole(plan: Plan) -> Plan {
    Plan { up: 40_000, down: 70_000, ..plan }
}

/// Nothing is left: buffers, visitors, real servers.
fn at_rest(sim: &mut Sim) {
    sim.run_for(Span::from_secs(60));
    for (lent, _) in sim.counts() {
        assert_eq!(lent, 0, "a buffer is held at rest\n{}", sim.log());
    }
    assert_eq!(sim.world.borrow().pipes, 0, "a pipe is held at rest\n{}", sim.log());
}

#[test]
fn bytes_arrive_exactly_and_in_order() {
    for seed in seeds(40) {
        for transport in [Transport::Plain, Transport::Tls] {
            let mut sim = up(seed, NASTY, transport);
            for _ in 0..12 {
                let plan = sim.plan();
                sim.visit(8080, plan);
                sim.run_for(Span::from_millis(seed % 50));
            }
            sim.run_for(Span::from_secs(120));
            for (n, visitor) in sim.visitors.iter().enumerate() {
                assert_eq!(
                    visitor.outcome,
                    Outcome::Whole,
                    "seed {seed}, visitor {n} {:?}\n{}",
                    visitor.plan,
                    sim.log()
                );
            }
            assert!(sim.reals.iter().all(|real| real.outcome == Outcome::Whole));
            at_rest(&mut sim);
        }
    }
}

#[test]
fn bulk_is_spliced_and_arrives_exactly() {
    for seed in seeds(20) {
        let mut sim = up(seed, BULKY, Transport::Plain);
        for _ in 0..6 {
            let plan = sim.plan();
            sim.visit(8080, Plan { up: plan.up + 500_000, down: plan.down + 800_000, ..plan });
            sim.run_for(Span::from_millis(seed % 50));
        }
        sim.run_for(Span::from_secs(120));
        for visitor in &sim.visitors {
            assert_eq!(visitor.outcome, Outcome::Whole, "seed {seed} {:?}\n{}", visitor.plan, sim.log());
        }
        assert!(sim.reals.iter().all(|real| real.outcome == Outcome::Whole));
        assert!(sim.world.borrow().spliced > 1_000_000, "seed {seed}: nearly nothing was spliced");
        at_rest(&mut sim);
    }
}

#[test]
fn a_lost_control_connection_cuts_nobody() {
    let mut sim = up(1, CALM, Transport::Plain);
    let plan = sim.plan();
    let visitor = sim.visit(8080, Plan { up: 3_000_000, down: 3_000_000, ..plan });
    sim.run_for(Span::from_millis(300));
    let control = sim.world.borrow().oldest(CLIENT, SERVER).expect("the control connection is the oldest");
    sim.world.borrow_mut().reset(control);
    sim.run_for(Span::from_secs(60));
    assert_eq!(sim.outcome(visitor), Outcome::Whole, "{}", sim.log());
    assert!(sim.log().contains("logged in again"), "{}", sim.log());
}

#[test]
fn a_refused_visit_is_cut_within_a_round_trip() {
    let mut sim = up(2, CALM, Transport::Plain);
    sim.world.borrow_mut().unlisten(world::REAL_PORT);
    let plan = sim.plan();
    let visitor = sim.visit(8080, whole(plan));
    // One way and back for each: visitor to server, server to client, client to real server; 10 to 15 ms a way.
    sim.run_for(Span::from_millis(95));
    assert_eq!(sim.outcome(visitor), Outcome::Cut, "{}", sim.log());
    assert!(sim.log().contains("refused the connection"), "{}", sim.log());
    at_rest(&mut sim);
}

#[test]
fn a_cut_never_looks_like_an_end() {
    for seed in seeds(60) {
        for transport in [Transport::Plain, Transport::Tls] {
            let bulky = seed % 2 == 1;
            let mut sim = up(seed, if bulky { BULKY } else { NASTY }, transport);
            for _ in 0..10 {
                let mut plan = sim.plan();
                if bulky {
                    (plan.up, plan.down) = (plan.up + 300_000, plan.down + 300_000);
                }
                let reset_at = sim.world.borrow_mut().rng.chance(20).then_some(plan.down / 2);
                sim.visit(8080, Plan { reset_at, ..plan });
                sim.run_for(Span::from_millis(20));
                if sim.world.borrow_mut().rng.chance(60) {
                    sim.world.borrow_mut().reset_one(CLIENT, SERVER);
                }
                if sim.world.borrow_mut().rng.chance(20) {
                    sim.world.borrow_mut().reset_one(world::VISITOR, SERVER);
                }
            }
            sim.run_for(Span::from_secs(120));
            for (n, visitor) in sim.visitors.iter().enumerate() {
                assert_ne!(
                    visitor.outcome,
                    Outcome::Running,
                    "seed {seed}: visitor {n} hangs\n{}",
                    sim.log()
                );
            }
            let plan = sim.plan();
            let last = sim.visit(8080, Plan { up: 100, down: 100, ..plan });
            sim.run_for(Span::from_secs(30));
            assert_eq!(
                sim.outcome(last),
                Outcome::Whole,
                "seed {seed}: no service afterwards\n{}",
                sim.log()
            );
            at_rest(&mut sim);
        }
    }
}

#[test]
fn a_dead_peer_is_found_in_30_seconds_and_service_comes_back() {
    let mut sim = up(3, CALM, Transport::Plain);
    let plan = sim.plan();
    let visitor = sim.visit(8080, Plan { up: 30_000_000, down: 30_000_000, ..plan });
    sim.run_for(Span::from_millis(500));
    sim.world.borrow_mut().cuts.extend([(CLIENT, SERVER), (SERVER, CLIENT)]);
    // The last heartbeat was heard up to 10 s before the cut.
    sim.run_for(Span::from_millis(19_000));
    assert_eq!(sim.outcome(visitor), Outcome::Running, "it may come back until then");
    sim.run_for(Span::from_millis(11_500));
    assert_eq!(sim.outcome(visitor), Outcome::Cut, "{}", sim.log());
    sim.world.borrow_mut().cuts.clear();
    sim.run_for(Span::from_secs(30));
    let plan = sim.plan();
    let again = sim.visit(8080, whole(plan));
    sim.run_for(Span::from_secs(20));
    assert_eq!(sim.outcome(again), Outcome::Whole, "{}", sim.log());
    at_rest(&mut sim);
}

#[test]
fn a_newer_login_is_served_at_once_while_the_old_one_is_a_black_hole() {
    let mut sim = up(4, CALM, Transport::Tls);
    sim.world.borrow_mut().cuts.extend([(CLIENT, SERVER), (SERVER, CLIENT)]);
    sim.start_client(CLIENT + 1, 0, &["8080:10.0.0.9:700"]);
    sim.run_for(Span::from_millis(700));
    let plan = sim.plan();
    let visitor = sim.visit(8080, whole(plan));
    sim.run_for(Span::from_secs(10));
    assert_eq!(sim.outcome(visitor), Outcome::Whole, "{}", sim.log());
    // The old one comes back, is told, and keeps away.
    sim.world.borrow_mut().cuts.clear();
    sim.run_for(Span::from_secs(50));
    let plan = sim.plan();
    let visitor = sim.visit(8080, whole(plan));
    sim.run_for(Span::from_secs(10));
    assert_eq!(sim.outcome(visitor), Outcome::Whole, "{}", sim.log());
}

#[test]
fn killed_and_restarted_it_serves_again() {
    let mut sim = up(5, CALM, Transport::Tls);
    for round in 0..6 {
        let plan = sim.plan();
        let cut = sim.visit(8080, Plan { up: 30_000_000, ..plan });
        sim.run_for(Span::from_millis(300));
        if round % 2 == 0 {
            sim.kill_server();
            sim.run_for(Span::from_millis(200));
            sim.start_server();
        } else {
            sim.kill_client(CLIENT);
            sim.run_for(Span::from_millis(200));
            sim.start_client(CLIENT, 0, &["8080:10.0.0.9:700"]);
        }
        sim.run_for(Span::from_secs(35));
        assert_eq!(sim.outcome(cut), Outcome::Cut, "round {round}\n{}", sim.log());
        let plan = sim.plan();
        let again = sim.visit(8080, whole(plan));
        sim.run_for(Span::from_secs(10));
        assert_eq!(sim.outcome(again), Outcome::Whole, "round {round}\n{}", sim.log());
    }
    at_rest(&mut sim);
}

#[test]
fn one_seed_is_one_story() {
    let story = |seed| {
        let mut sim = up(seed, NASTY, Transport::Plain);
        for _ in 0..5 {
            let plan = sim.plan();
            sim.visit(8080, plan);
        }
        sim.run_for(Span::from_secs(60));
        sim.world.borrow().trace
    };
    for seed in 0..5 {
        assert_eq!(story(seed), story(seed));
    }
    assert_ne!(story(1), story(2));
}
