//! Private mappings: one client visits another's. One story each.

use nt::license::Transport;
use nt::mapping::Visiting;
use nt::policy::Allow;
use nt::time::Span;

use crate::actors::{Asked, Endpoint, Outcome, Plan};
use crate::net::{Host, Nasty};
use crate::world::{CLIENT, REAL_PORT, SERVER, Sim, address};
use crate::{CALM, NASTY, at_rest, forbid_visits, name, revoke, seeds, whole};

/// A client's private mapping.
pub fn map(real: u16) -> String {
    format!("box:10.0.0.9:{real}/private")
}

/// The door of a host to the private mapping of license `owner`: this port and as many more.
pub fn door(host: Host, first: u16, owner: usize) -> Visiting {
    let at = address(host, first + owner as u16);
    Visiting { name: format!("{}/box", name(owner)), at }
}

/// Who visits whom: client 1 visits client 0, by this port of its own.
const DOOR: u16 = 9_100;
const VISITING: Host = CLIENT + 1;

fn up(seed: u64, nasty: Nasty, transport: Transport) -> Sim {
    let mut sim = Sim::new(seed, nasty, transport);
    sim.start_client(CLIENT, 0, &[&map(REAL_PORT), "8080:10.0.0.9:700"]);
    sim.visits.insert(VISITING, vec![door(VISITING, DOOR, 0)]);
    sim.start_client(VISITING, 1, &[]);
    sim.run_for(Span::from_secs(2));
    assert!(sim.log().contains("box/private -> 10.0.0.9:700 ready"), "{}", sim.log());
    sim
}

fn visit(sim: &mut Sim, plan: Plan) -> usize {
    sim.visit_at(VISITING, DOOR, REAL_PORT, plan)
}

#[test]
fn one_client_visits_another_and_no_byte_is_lost() {
    for seed in seeds(30) {
        for transport in [Transport::Plain, Transport::Tls] {
            let mut sim = up(seed, NASTY, transport);
            for n in 0..10 {
                let plan = sim.plan();
                match n % 5 {
                    0 => sim.visit(8080, plan),
                    _ => visit(&mut sim, plan),
                };
                sim.run_for(Span::from_millis(seed % 50));
            }
            sim.run_for(Span::from_secs(120));
            let is_whole = |one: &Endpoint| one.outcome == Outcome::Whole;
            assert!(sim.visitors.iter().all(is_whole), "seed {seed}: {:?}\n{}", sim.visitors, sim.log());
            assert!(sim.reals.iter().all(is_whole), "seed {seed}");
            at_rest(&mut sim);
        }
    }
}

#[test]
fn an_exit_that_is_private_asks_for_its_password_too() {
    let mut sim = Sim::new(7, CALM, Transport::Plain);
    sim.allow = Allow::parse("10.0.0.9:700").expect("a good list");
    sim.start_client(CLIENT, 0, &["box:socks5/private,auth=me:secret"]);
    sim.visits.insert(VISITING, vec![door(VISITING, DOOR, 0)]);
    sim.start_client(VISITING, 1, &[]);
    sim.run_for(Span::from_secs(2));
    let words = |login: &[u8]| {
        let place = [&[5, 1, 0, 1, 10, 0, 0, 9][..], &REAL_PORT.to_be_bytes()].concat();
        [&[5, 1, if login.is_empty() { 0 } else { 2 }], login, &place].concat()
    };
    let granted = [5, 2, 1, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let cases: [(&[u8], Outcome, &[u8]); 3] = [
        (b"", Outcome::Cut, &[5, 0xFF]),
        (b"\x01\x02me\x05wrong", Outcome::Cut, &[5, 2, 1, 1]),
        (b"\x01\x02me\x06secret", Outcome::Whole, &granted),
    ];
    for (login, outcome, heard) in cases {
        let plan = sim.plan();
        let visitor = visit(&mut sim, plan);
        let asked = Asked { says: words(login), waits: true, granted: granted.to_vec(), heard: Vec::new() };
        sim.visitors[visitor].asks(asked);
        sim.run_for(Span::from_secs(12));
        assert_eq!(sim.outcome(visitor), outcome, "{}: {}", login.escape_ascii(), sim.log());
        assert_eq!(sim.visitors[visitor].asked().expect("it asks").heard, heard, "{}", login.escape_ascii());
    }
    assert!(!sim.log().contains("secret"), "{}", sim.log());
    at_rest(&mut sim);
}

#[test]
fn a_cut_of_any_connection_is_a_cut_at_both_ends() {
    for seed in seeds(20) {
        for (a, b) in [(CLIENT, SERVER), (VISITING, SERVER)] {
            let mut sim = up(seed, CALM, Transport::Plain);
            let plan = sim.plan();
            let visitor = visit(&mut sim, Plan { up: 2_000_000, down: 2_000_000, ..plan });
            sim.run_for(Span::from_millis(200 + seed));
            assert_eq!(sim.outcome(visitor), Outcome::Running, "{}", sim.log());
            // All but the control connection.
            let control = sim.world.borrow().oldest(a, b).expect("it is logged in");
            sim.world.borrow_mut().forget_idle(a, b, Some(control));
            sim.run_for(Span::from_secs(40));
            assert_eq!(sim.outcome(visitor), Outcome::Cut, "{}", sim.log());
            assert!(sim.reals.iter().all(|real| real.outcome == Outcome::Cut), "seed {seed}");
            at_rest(&mut sim);
        }
    }
}

#[test]
fn who_is_revoked_is_on_no_visit_any_more() {
    // The owner, the visiting client, and one that does not do as it is told.
    for (revoked, frozen) in [(0, false), (1, false), (1, true)] {
        let mut sim = up(3, CALM, Transport::Plain);
        let plan = sim.plan();
        let visitor = visit(&mut sim, Plan { up: 50_000_000, ..whole(plan) });
        sim.run_for(Span::from_millis(300));
        assert_eq!(sim.outcome(visitor), Outcome::Running, "{}", sim.log());
        if frozen {
            sim.frozen.insert(VISITING);
        }
        sim.edit_licenses(|directory| revoke(directory, revoked));
        sim.run_for(Span::from_secs(5));
        assert_eq!(sim.reals[0].outcome, Outcome::Cut, "license {revoked}, frozen: {frozen}: {}", sim.log());
        sim.frozen.clear();
        sim.run_for(Span::from_secs(1));
        assert_eq!(sim.outcome(visitor), Outcome::Cut, "license {revoked}, frozen: {frozen}: {}", sim.log());
        at_rest(&mut sim);
    }
}

#[test]
fn who_may_not_visit_does_not() {
    let mut sim = up(6, CALM, Transport::Plain);
    sim.edit_licenses(|directory| forbid_visits(directory, 1));
    sim.run_for(Span::from_secs(5));
    let plan = sim.plan();
    let visitor = visit(&mut sim, whole(plan));
    sim.arrivals.forbid(plan.id);
    sim.run_for(Span::from_secs(1));
    assert_eq!(sim.outcome(visitor), Outcome::Cut, "{}", sim.log());
    assert!(sim.log().contains("the license does not permit this visit"), "{}", sim.log());
}

#[test]
fn a_visitor_waits_for_a_client_that_comes_back() {
    let mut sim = up(4, CALM, Transport::Plain);
    sim.world.borrow_mut().reset_all(CLIENT, SERVER);
    let plan = sim.plan();
    let visitor = visit(&mut sim, whole(plan));
    sim.run_for(Span::from_secs(9));
    assert_eq!(sim.outcome(visitor), Outcome::Whole, "{}", sim.log());
}

#[test]
fn a_client_that_stops_lets_its_visits_end() {
    let mut sim = up(5, CALM, Transport::Plain);
    let plan = sim.plan();
    let visitor = visit(&mut sim, Plan { up: 3_000_000, down: 3_000_000, ..plan });
    sim.run_for(Span::from_millis(300));
    sim.world.borrow_mut().stop(VISITING);
    sim.run_for(Span::from_secs(29));
    assert_eq!(sim.outcome(visitor), Outcome::Whole, "{}", sim.log());
    assert!(!sim.is_there(VISITING), "{}", sim.log());
}
