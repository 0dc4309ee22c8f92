//! One story each of visitors who speak HTTP, told in a calm world.

use nt::driver::Budget;
use nt::license::Transport;
use nt::time::{Span, Time};

use crate::CALM;
use crate::actors::Outcome;
use crate::callers::{Asking, Name, Parting};
use crate::messages::{GET, How, Matter};
use crate::world::{BUDGET, CLIENT, NAMES_PORT, REAL_PORT, SERVER, Sim, VISITOR};

const POST: Matter = Matter { method: "POST", up: 3_000, ..GET };

/// Two clients with a name each; the second serves a path of the first one's name, too.
fn up(seed: u64, visitors: usize) -> Sim {
    let mut sim = Sim::with_names(seed, CALM, Transport::Plain, visitors);
    sim.speakers = (REAL_PORT..REAL_PORT + 3).collect();
    sim.open(REAL_PORT + 1);
    sim.open(REAL_PORT + 2);
    sim.budget = Budget { raws: 40, callers: 0, ..BUDGET };
    sim.start_client(CLIENT, 0, &["one.example.com:10.0.0.9:700"]);
    let second = ["two.example.com:10.0.0.9:701", "one.example.com/api:10.0.0.9:702"];
    sim.start_client(CLIENT + 1, 1, &second);
    sim.run_for(Span::from_secs(2));
    assert!(sim.log().contains("http://one.example.com:9003/api -> 10.0.0.9:702 ready"), "{}", sim.log());
    sim
}

fn one() -> Name {
    Name { host: "one.example.com".to_owned(), prefix: "", reals: vec![REAL_PORT] }
}

fn two() -> Name {
    Name { host: "two.example.com".to_owned(), prefix: "", reals: vec![REAL_PORT + 1] }
}

fn path() -> Name {
    Name { host: "one.example.com".to_owned(), prefix: "/api", reals: vec![REAL_PORT + 2] }
}

fn after(millis: u64, name: Name, matter: Matter) -> Asking {
    Asking::Request { name, matter, closes: false, pause: Span::from_millis(millis) }
}

fn ask(name: Name, matter: Matter) -> Asking {
    after(0, name, matter)
}

/// A caller who asks for all this; its place among all callers.
fn call(sim: &mut Sim, asked: Vec<Asking>) -> usize {
    sim.call(VISITOR, NAMES_PORT, asked);
    sim.callers.len() - 1
}

/// What it has been answered.
fn statuses(sim: &Sim, caller: usize) -> Vec<u16> {
    sim.callers[caller].answers.iter().map(|(status, _)| *status).collect()
}

/// A caller must be served, now.
fn served(sim: &mut Sim, name: Name) {
    let caller = call(sim, vec![ask(name.clone(), GET), ask(name, POST)]);
    sim.callers[caller].parting = Parting::Ends;
    sim.run_for(Span::from_secs(5));
    assert_eq!(statuses(sim, caller), [200, 200], "{}", sim.log());
}

/// The real server ends a connection that was idle, at any moment about which the next request comes.
#[test]
fn a_request_that_meets_an_end_is_made_again_where_it_may_be() {
    let (mut again, mut failed) = (0, 0);
    for millis in 0..90 {
        for (matter, idle) in [(GET, 400), (GET, 3_000), (POST, 400), (POST, 3_000)] {
            let mut sim = up(60 + millis, 40);
            let caller = call(&mut sim, vec![ask(one(), GET), after(idle, one(), matter)]);
            while sim.callers[caller].answers.is_empty() {
                sim.run_for(Span::from_millis(1));
            }
            let service = sim.services.last_mut().expect("the one that has answered");
            service.leaves_at = sim.world.borrow().now + Span::from_millis(idle + millis - 10);
            sim.run_for(Span::from_secs(8));
            let said = statuses(&sim, caller);
            let twice = sim.services.len() == 2;
            match (matter.method, idle) {
                ("POST", 400) if said == [200, 502] => failed += 1,
                // An idle connection is not trusted with what cannot be made again.
                ("POST", 3_000) => assert!(said == [200, 200] && twice, "{millis}: {said:?}\n{}", sim.log()),
                _ => assert_eq!(said, [200, 200], "{millis}: {}", sim.log()),
            }
            again += usize::from(twice && matter.method == "GET");
        }
    }
    assert!(again > 20 && failed > 5, "made again {again} times, failed {failed}");
}

#[test]
fn an_answer_that_is_cut_never_looks_whole() {
    for how in [How::Reset, How::Short] {
        for down in [100, 20_000, 400_000] {
            let mut sim = up(61, 40);
            let caller = call(&mut sim, vec![ask(one(), Matter { how, down, ..GET }), ask(one(), GET)]);
            sim.run_for(Span::from_secs(9));
            assert_eq!(sim.callers[caller].outcome, Outcome::Cut, "{how:?}: {}", sim.log());
            assert!(sim.callers[caller].answers.is_empty());
            served(&mut sim, one());
        }
    }
}

#[test]
fn who_asked_a_client_that_is_killed_is_told_or_cut() {
    for how in [How::Late, How::Length, How::Chunked, How::UntilEnd] {
        for matter in [GET, POST] {
            let mut sim = up(62, 40);
            let caller = call(&mut sim, vec![ask(one(), Matter { how, down: 5_000_000, ..matter })]);
            sim.run_for(Span::from_millis(300));
            sim.kill_client(CLIENT);
            sim.run_for(Span::from_secs(1));
            let (caller, said) = (&sim.callers[caller], statuses(&sim, caller));
            if how == How::Late {
                assert!(said == [502] || said == [503], "{said:?}: {}", sim.log());
                assert_eq!(caller.outcome, Outcome::Whole);
            } else {
                assert_eq!((caller.outcome, said), (Outcome::Cut, vec![]), "{how:?}: {}", sim.log());
            }
            // Nobody is there, and then somebody is.
            let late = call(&mut sim, vec![ask(one(), GET)]);
            sim.run_for(Span::from_secs(11));
            assert_eq!(statuses(&sim, late), [503], "{}", sim.log());
            sim.start_client(CLIENT, 0, &["one.example.com:10.0.0.9:700"]);
            sim.run_for(Span::from_secs(2));
            served(&mut sim, one());
        }
    }
}

#[test]
fn another_process_serves_who_waits_and_nobody_twice() {
    let mut sim = up(63, 60);
    sim.frozen.insert(CLIENT);
    let callers: Vec<usize> =
        (0..30).map(|n| call(&mut sim, vec![ask(one(), if n % 2 == 0 { GET } else { POST })])).collect();
    sim.run_for(Span::from_secs(3));
    sim.start_client(CLIENT + 2, 0, &["one.example.com:10.0.0.9:700"]);
    sim.run_for(Span::from_secs(5));
    let said: Vec<Vec<u16>> = callers.iter().map(|&caller| statuses(&sim, caller)).collect();
    assert!(said.iter().all(|said| *said == [200] || *said == [503]), "{said:?}\n{}", sim.log());
    let whole = said.iter().filter(|said| **said == [200]).count();
    assert!((15..30).contains(&whole), "{whole} were served\n{}", sim.log());
    // What the old process was told it may do yet, but not for these.
    sim.frozen.clear();
    sim.run_for(Span::from_secs(30));
    served(&mut sim, one());
}

#[test]
fn a_server_that_stops_answers_who_has_asked_and_lets_the_others_go() {
    let mut sim = up(64, 40);
    let busy = call(&mut sim, vec![ask(one(), Matter { down: 3_000_000, ..GET }), after(100, one(), GET)]);
    let late = call(&mut sim, vec![ask(two(), Matter { how: How::Late, ..POST })]);
    let idle = [
        call(&mut sim, vec![ask(one(), GET)]),
        call(&mut sim, vec![after(5_000, one(), GET)]),
        call(&mut sim, vec![Asking::Unfinished(b"GET / HT"[..].to_vec())]),
    ];
    sim.run_for(Span::from_millis(300));
    for service in &mut sim.services {
        service.silent_until = service.silent_until.min(Time::default() + Span::from_secs(10));
    }
    sim.world.borrow_mut().stop(SERVER);
    sim.run_for(Span::from_millis(100));
    for caller in idle {
        assert_eq!(sim.callers[caller].outcome, Outcome::Whole, "{:?} {}", sim.callers[caller], sim.log());
    }
    sim.run_for(Span::from_secs(20));
    assert_eq!((statuses(&sim, busy), statuses(&sim, late)), (vec![200], vec![200]), "{}", sim.log());
    assert_eq!(sim.callers[busy].outcome, Outcome::Whole);
    assert_eq!(sim.exits, [(SERVER, 0)], "{}", sim.log());
}

#[test]
fn who_reads_slowly_stalls_nobody_else() {
    let mut sim = up(65, 40);
    let hows = [How::Length, How::Chunked, How::UntilEnd];
    let slow: Vec<usize> = (0..20)
        .map(|n| {
            let matter = Matter { how: hows[n % 3], down: 2_000_000, ..GET };
            let caller = call(&mut sim, vec![ask(one(), matter)]);
            sim.callers[caller].stalled = u32::MAX;
            caller
        })
        .collect();
    sim.run_for(Span::from_secs(100));
    for name in [one(), two(), path()] {
        served(&mut sim, name);
    }
    for &caller in &slow {
        assert_eq!(sim.callers[caller].outcome, Outcome::Running, "who pauses may pause");
        sim.callers[caller].stalled = 0;
    }
    sim.run_for(Span::from_secs(60));
    assert!(slow.iter().all(|&caller| statuses(&sim, caller) == [200]), "{}", sim.log());
}

#[test]
fn who_asks_for_nothing_is_let_go_in_time() {
    let mut sim = up(66, 40);
    let began = sim.now();
    let idle = call(&mut sim, vec![ask(one(), GET)]);
    let silent = call(&mut sim, vec![after(1_000_000, one(), GET)]);
    let unfinished =
        call(&mut sim, vec![ask(one(), GET), Asking::Unfinished(b"GET / HTTP/1.1\r\nHo"[..].to_vec())]);
    sim.run_for(Span::from_secs(90));
    for (caller, said, secs) in
        [(idle, vec![200], 75), (silent, vec![], 10), (unfinished, vec![200, 408], 10)]
    {
        assert_eq!(
            (sim.callers[caller].outcome, statuses(&sim, caller)),
            (Outcome::Whole, said),
            "{}",
            sim.log()
        );
        let lasted = sim.callers[caller].over_at.since(began);
        let promised = Span::from_secs(secs)..Span::from_secs(secs + 1);
        assert!(promised.contains(&lasted), "{lasted:?}, which is not in {promised:?}");
    }
}

#[test]
fn a_name_that_goes_is_served_no_longer_though_a_visit_is_on() {
    let mut sim = up(67, 40);
    let asks = vec![ask(two(), GET), after(5_000, Name { reals: Vec::new(), ..two() }, GET), ask(one(), GET)];
    let caller = call(&mut sim, asks);
    sim.run_for(Span::from_secs(1));
    assert_eq!(statuses(&sim, caller), [200], "{}", sim.log());
    sim.edit_licenses(|directory| crate::take_names(directory, 1));
    sim.run_for(Span::from_secs(9));
    assert_eq!(statuses(&sim, caller), [200, 404, 200], "{}", sim.log());
}

/// Its own place is not in the way of a caller: neither the last one of all nor the only one of its license.
#[test]
fn the_last_place_is_a_place() {
    let mut sim = up(68, 1);
    sim.edit_licenses(|directory| crate::limit(directory, 1, Some(1)));
    sim.run_for(Span::from_secs(3));
    let asks = vec![ask(two(), GET), ask(path(), GET), ask(one(), POST), ask(path(), POST)];
    let caller = call(&mut sim, asks);
    sim.run_for(Span::from_secs(5));
    assert_eq!(statuses(&sim, caller), [200; 4], "{}", sim.log());
}
