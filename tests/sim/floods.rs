//! Datagrams from nobody: what strangers send at no cost must cost others next to nothing.

use nt::driver::Budget;
use nt::license::Transport;
use nt::time::Span;

use crate::CALM;
use crate::actors::{Outcome, Plan};
use crate::letters::Correspondent;
use crate::world::{CLIENT, REAL_PORT, SERVER, Sim};

fn sim(seed: u64, raws: usize) -> Sim {
    let mut sim = Sim::new(seed, CALM, Transport::Tls);
    sim.kill_server();
    sim.budget = Budget { raws, locals: 0, tunnels: raws + 400, callers: 0 };
    sim.start_server();
    sim
}

/// Each of so many new sources sends one datagram to this port.
fn flood(sim: &mut Sim, port: u16, sources: u32) {
    let mut world = sim.world.borrow_mut();
    for n in 0..sources {
        let one = Correspondent::new(&mut world, u32::from(port) << 16 | n, port);
        one.expect("a free address").say(&mut world, 1);
    }
}

/// As many orders as there were visitors filled the control connection within one turn of the loop: 513 were enough.
#[test]
fn a_burst_of_visitors_keeps_the_control_connection() {
    for kind in ["/udp", ""] {
        let mut sim = sim(40, 4_000);
        let ports: Vec<u16> = (0..40).map(|n| 8_080 + n).collect();
        let maps: Vec<String> =
            ports.iter().map(|port| format!("{port}:10.0.0.9:{REAL_PORT}{kind}")).collect();
        sim.start_client(CLIENT, 0, &maps.iter().map(String::as_str).collect::<Vec<_>>());
        sim.run_for(Span::from_secs(2));
        // The server is not run for a moment in which they all come.
        sim.frozen.insert(SERVER);
        for port in ports {
            if kind.is_empty() {
                let plans: Vec<Plan> = (0..16).map(|_| Plan { up: 10, down: 10, ..sim.plan() }).collect();
                plans.into_iter().for_each(|plan| _ = sim.visit(port, plan));
            } else {
                flood(&mut sim, port, 16);
            }
        }
        sim.run_for(Span::from_millis(300));
        sim.frozen.remove(&SERVER);
        sim.run_for(Span::from_secs(20));
        assert!(!sim.log().contains("control connection is lost"), "{kind}: {}", sim.log());
        assert!(sim.visitors.iter().all(|visitor| visitor.outcome == Outcome::Whole), "{}", sim.log());
    }
}

#[test]
fn large_datagrams_of_one_license_do_not_starve_another() {
    let mut sim = sim(41, 400);
    sim.start_client(CLIENT, 0, &["8080:10.0.0.9:701/udp"]);
    sim.start_client(CLIENT + 1, 1, &["8090:10.0.0.9:702/udp"]);
    sim.answer(701);
    sim.answer(702);
    sim.run_for(Span::from_secs(2));
    // The client of the first is there, and does nothing for a moment.
    sim.frozen.insert(CLIENT);
    let world = sim.world.clone();
    for _ in 0..80 {
        sim.correspond(8080, 701).say(&mut world.borrow_mut(), 17_000);
    }
    sim.run_for(Span::from_millis(100));
    for _ in 0..5 {
        sim.correspond(8090, 702).say(&mut world.borrow_mut(), 9_000);
        sim.run_for(Span::from_millis(200));
    }
    let last = &sim.correspondents[sim.correspondents.len() - 5..];
    assert!(last.iter().all(|one| one.answers > 0), "{}", sim.log());
}

/// A visitor with a connection does not stand behind those who sent one datagram, nor do they take its license's places.
#[test]
fn flows_do_not_stand_in_the_way_of_visitors() {
    for most in [None, Some(40)] {
        let mut sim = sim(42, 800);
        sim.edit_licenses(|directory| crate::limit(directory, 0, most));
        sim.run_for(Span::from_secs(3));
        let tcp = format!("8080:10.0.0.9:{REAL_PORT}");
        sim.start_client(CLIENT, 0, &[&tcp, "8081:10.0.0.9:701/udp"]);
        sim.run_for(Span::from_secs(2));
        for _ in 0..5 {
            flood(&mut sim, 8081, 300);
            let plan = sim.plan();
            let visitor = sim.visit(8080, Plan { up: 500, down: 500, ..plan });
            sim.run_for(Span::from_secs(1));
            assert_eq!(sim.outcome(visitor), Outcome::Whole, "at most {most:?}: {}", sim.log());
        }
    }
}
