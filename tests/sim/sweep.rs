//! Every call fails once: one small story is told again and again, and each time another of its calls to the operating
//! system fails, in each way that it can. Whatever that was, everybody is served a minute later, and nothing is held.

use nt::license::Transport;
use nt::time::Span;

use crate::actors::{Outcome, Plan};
use crate::callers::{Asking, Name, Parting};
use crate::messages::{GET, How, Matter};
use crate::net::{Nasty, Trouble};
use crate::world::{CLIENT, NAMES_PORT, REAL_PORT, Sim, VISITOR};
use crate::{CALM, all_cores, at_rest, told};

/// Room enough for payload to be spliced.
const WIDE: Nasty = Nasty { delay_micros: 2_000, window: 200_000, ..CALM };

/// The story; how many failures there could have been: of each call, in each of its ways.
fn story(transport: Transport, trouble: Trouble) -> u64 {
    let mut sim = Sim::new(50, WIDE, transport);
    sim.open(REAL_PORT + 1);
    {
        let mut world = sim.world.borrow_mut();
        (world.trouble, world.fallible) = (trouble, 0);
    }
    sim.start_client(CLIENT, 0, &["8080:10.0.0.9:700", "8081:nas.lan:701", "8082:10.0.0.9:702"]);
    sim.run_for(Span::from_millis(500));
    for (n, (up, down)) in [(30_000, 300), (0, 150_000), (150_000, 0), (10, 10)].into_iter().enumerate() {
        let plan = Plan { up, down, visitor_ends_first: n % 2 == 0, ..sim.plan() };
        sim.visit_to(8080, 700, plan);
        let plan = Plan { up: 100, down: 200, ..sim.plan() };
        sim.visit_to(8081, 701, plan);
        // Nobody is there.
        let plan = sim.plan();
        sim.visit_to(8082, 702, plan);
        sim.run_for(Span::from_millis(100));
    }
    sim.run_for(Span::from_secs(2));
    let failures = sim.world.borrow().fallible;

    // The rest may take as many as it likes.
    sim.world.borrow_mut().trouble = Trouble::Never;
    sim.run_for(Span::from_secs(60));
    for visitor in &sim.visitors {
        assert_ne!(visitor.outcome, Outcome::Running, "{:?} never ends\n{}", visitor.plan, sim.log());
    }
    for (port, real) in [(8080, 700), (8081, 701)] {
        let plan = Plan { up: 100, down: 100, ..sim.plan() };
        let visitor = sim.visit_to(port, real, plan);
        sim.run_for(Span::from_secs(9));
        assert_eq!(sim.outcome(visitor), Outcome::Whole, "{port} is not served afterwards\n{}", sim.log());
    }
    at_rest(&mut sim);
    assert!(sim.exits.is_empty(), "a process gave up\n{}", sim.log());
    failures
}

/// The same with a caller who asks for two names on one connection.
fn calls(transport: Transport, trouble: Trouble) -> u64 {
    let mut sim = Sim::with_names(51, WIDE, transport, 40);
    let names = [("two.example.com", "", REAL_PORT + 1), ("one.example.com", "/api", REAL_PORT + 2)];
    for (_, _, real) in names {
        sim.speakers.insert(real);
        sim.open(real);
    }
    let asks = |down| {
        names.map(|(host, prefix, real)| {
            let name = Name { host: host.to_owned(), prefix, reals: vec![real] };
            let matter = if prefix.is_empty() { GET } else { Matter { method: "POST", up: 30_000, ..GET } };
            let matter = Matter { down, how: How::Chunked, ..matter };
            Asking::Request { name, matter, closes: false, pause: Span::ZERO }
        })
    };
    {
        let mut world = sim.world.borrow_mut();
        (world.trouble, world.fallible) = (trouble, 0);
    }
    sim.start_client(CLIENT, 1, &["two.example.com:10.0.0.9:701", "one.example.com/api:nas.lan:702"]);
    sim.run_for(Span::from_millis(500));
    sim.call(VISITOR, NAMES_PORT, asks(60_000).to_vec());
    sim.run_for(Span::from_secs(2));
    let failures = sim.world.borrow().fallible;

    sim.world.borrow_mut().trouble = Trouble::Never;
    // Whoever asks for nothing more is let go within 75 s.
    sim.run_for(Span::from_secs(90));
    let caller = &sim.callers[0];
    assert_ne!(caller.outcome, Outcome::Running, "{caller:?} never ends\n{}", sim.log());
    sim.call(VISITOR, NAMES_PORT, asks(100).to_vec()).parting = Parting::Ends;
    sim.run_for(Span::from_secs(9));
    let caller = &sim.callers[1];
    assert!(caller.is_served(), "{caller:?} is not served afterwards\n{}", sim.log());
    at_rest(&mut sim);
    assert!(sim.services.iter().all(|service| service.outcome != Outcome::Running), "{:?}", sim.services);
    assert!(sim.exits.is_empty(), "a process gave up\n{}", sim.log());
    failures
}

/// Tells a story for each of its calls and each way in which that can fail.
fn sweep(story: fn(Transport, Trouble) -> u64) {
    for transport in [Transport::Plain, Transport::Tls] {
        let failures = story(transport, Trouble::Never);
        assert!(failures > 300, "there could be only {failures} failures");
        all_cores(0..failures, |n| {
            told(
                || format!("{transport:?}: failure {n} of {failures}"),
                || {
                    story(transport, Trouble::Once(n));
                },
            );
        });
    }
}

#[test]
fn any_call_may_fail() {
    sweep(story);
}

#[test]
fn any_call_may_fail_while_somebody_asks_for_names() {
    sweep(calls);
}
