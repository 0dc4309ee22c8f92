//! One story each: what a person was promised, told once in a calm world.

use nt::license::Transport;
use nt::limits::STRANGERS_MAX;
use nt::mapping;
use nt::role::Manner;
use nt::time::Span;

use crate::actors::{Outcome, Plan};
use crate::world::{CLIENT, REAL, REAL_PORT, SERVER, Sim, TUNNEL_PORT, VISITOR};
use crate::{CALM, at_rest, up, whole};

/// A visit that must come through, now.
fn served(sim: &mut Sim, port: u16) {
    let plan = sim.plan();
    let visitor = sim.visit(port, whole(plan));
    sim.run_for(Span::from_secs(9));
    assert_eq!(sim.outcome(visitor), Outcome::Whole, "{}", sim.log());
}

#[test]
fn a_silent_real_server_is_given_ten_seconds() {
    let mut sim = up(10, CALM, Transport::Plain);
    sim.world.borrow_mut().cuts.insert((CLIENT, REAL));
    let plan = sim.plan();
    let visitor = sim.visit(8080, whole(plan));
    sim.run_for(Span::from_millis(9_900));
    assert_eq!(sim.outcome(visitor), Outcome::Running, "{}", sim.log());
    sim.run_for(Span::from_millis(400));
    assert_eq!(sim.outcome(visitor), Outcome::Cut, "{}", sim.log());
    sim.world.borrow_mut().cuts.clear();
    served(&mut sim, 8080);
}

#[test]
fn a_pool_that_died_while_idle_is_replaced_without_the_visitor_noticing() {
    for seed in 0..20 {
        for transport in [Transport::Plain, Transport::Tls] {
            let mut sim = up(seed, CALM, transport);
            served(&mut sim, 8080);
            // Both ends' kernels forget every idle ProxyChannel; the server hears of it only when it uses one.
            let control = sim.world.borrow().oldest(CLIENT, SERVER);
            sim.world.borrow_mut().forget_idle(CLIENT, SERVER, control);
            served(&mut sim, 8080);
            at_rest(&mut sim);
        }
    }
}

#[test]
fn visitors_wait_for_a_client_that_comes_back() {
    let mut sim = up(11, CALM, Transport::Plain);
    sim.world.borrow_mut().reset_all(CLIENT, SERVER);
    let plan = sim.plan();
    let visitor = sim.visit(8080, whole(plan));
    sim.run_for(Span::from_secs(9));
    assert_eq!(sim.outcome(visitor), Outcome::Whole, "{}", sim.log());
}

#[test]
fn a_stalled_visitor_stalls_itself_alone() {
    let mut sim = up(12, CALM, Transport::Tls);
    let stalled: Vec<usize> = (0..20)
        .map(|_| {
            let plan = sim.plan();
            let visitor = sim.visit(8080, Plan { down: 5_000_000, ..plan });
            sim.visitors[visitor].stalled = u32::MAX;
            visitor
        })
        .collect();
    sim.run_for(Span::from_secs(100));
    for _ in 0..5 {
        served(&mut sim, 8080);
    }
    for &visitor in &stalled {
        assert_eq!(sim.outcome(visitor), Outcome::Running, "who pauses may pause\n{}", sim.log());
        sim.visitors[visitor].stalled = 0;
    }
    sim.run_for(Span::from_secs(200));
    for visitor in stalled {
        assert_eq!(sim.outcome(visitor), Outcome::Whole, "{}", sim.log());
    }
    at_rest(&mut sim);
}

#[test]
fn a_port_in_use_is_said_and_taken_when_it_is_free() {
    let mut sim = Sim::new(13, CALM, Transport::Plain);
    sim.world.borrow_mut().listen(SERVER, 8081, usize::MAX);
    sim.start_client(CLIENT, 0, &["8080:10.0.0.9:700", "8081:10.0.0.9:700"]);
    sim.run_for(Span::from_secs(2));
    assert!(sim.log().contains("8081 -> 10.0.0.9:700 not ready: the public port is in use"), "{}", sim.log());
    served(&mut sim, 8080);
    sim.world.borrow_mut().unlisten(8081);
    sim.run_for(Span::from_secs(6));
    served(&mut sim, 8081);
}

#[test]
fn a_port_that_the_license_does_not_permit_is_refused_alone() {
    let mut sim = Sim::new(14, CALM, Transport::Plain);
    sim.start_client(CLIENT, 0, &["80:10.0.0.9:700", "8080:10.0.0.9:700"]);
    sim.run_for(Span::from_secs(2));
    assert!(
        sim.log().contains(":80 -> 10.0.0.9:700 not ready: the license does not permit this port"),
        "{}",
        sim.log()
    );
    served(&mut sim, 8080);
}

#[test]
fn a_port_goes_from_one_license_to_another_when_it_is_given_up() {
    let mut sim = up(15, CALM, Transport::Plain);
    sim.start_client(CLIENT + 1, 1, &["8080:10.0.0.9:700"]);
    sim.run_for(Span::from_secs(2));
    assert!(sim.log().contains("not ready: another license has this port"), "{}", sim.log());
    sim.world.borrow_mut().stop(CLIENT);
    sim.run_for(Span::from_secs(7));
    assert_eq!(sim.exits, [(CLIENT, 0)], "{}", sim.log());
    served(&mut sim, 8080);
}

#[test]
fn any_free_port_is_found() {
    let mut sim = Sim::new(16, CALM, Transport::Plain);
    sim.start_client(CLIENT, 0, &["0:10.0.0.9:700"]);
    sim.run_for(Span::from_secs(2));
    let log = sim.log();
    let line = log.lines().find(|line| line.contains("10.0.0.1:") && line.ends_with("ready")).expect(&log);
    let port = line.split("10.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()).expect("a port");
    served(&mut sim, port.parse().expect("a number"));
}

#[test]
fn a_name_is_looked_up_once_for_many_visits() {
    let mut sim = Sim::new(28, CALM, Transport::Plain);
    sim.start_client(CLIENT, 0, &["8080:nas.lan:700"]);
    sim.run_for(Span::from_secs(2));
    let visitors: Vec<usize> = (0..30)
        .map(|_| {
            let plan = sim.plan();
            sim.visit(8080, whole(plan))
        })
        .collect();
    sim.run_for(Span::from_secs(9));
    assert!(visitors.iter().all(|&visitor| sim.outcome(visitor) == Outcome::Whole), "{}", sim.log());
    assert_eq!(sim.world.borrow().lookups, 1);
    sim.run_for(Span::from_secs(3));
    served(&mut sim, 8080);
    assert_eq!(sim.world.borrow().lookups, 2, "an address is not believed for ever");
    at_rest(&mut sim);
}

#[test]
fn a_mapping_of_the_license_is_served_where_the_client_allows_it() {
    let mut sim = Sim::new(17, CALM, Transport::Tls);
    sim.edit_licenses(|directory| {
        super::give_maps(directory, 0, &["8082:10.0.0.9:700", "8083:127.0.0.1:700"]);
    });
    sim.start_client(CLIENT, 0, &["8080:10.0.0.9:700"]);
    sim.run_for(Span::from_secs(3));
    let log = sim.log();
    assert!(log.contains("asks for a mapping to 10.0.0.9:700, which --allow does not cover"), "{log}");
    assert!(log.contains("8083 -> 127.0.0.1:700 ready"), "{log}");
    served(&mut sim, 8083);
    let plan = sim.plan();
    let refused = sim.visit(8082, plan);
    sim.run_for(Span::from_secs(1));
    assert_eq!(sim.outcome(refused), Outcome::Cut);
}

#[test]
fn a_revoked_license_is_cut_within_five_seconds_and_keeps_away() {
    let mut sim = up(18, CALM, Transport::Tls);
    let plan = sim.plan();
    let visitor = sim.visit(8080, Plan { up: 50_000_000, ..plan });
    sim.run_for(Span::from_secs(1));
    sim.edit_licenses(|directory| super::revoke(directory, 0));
    sim.run_for(Span::from_secs(5));
    assert_eq!(sim.outcome(visitor), Outcome::Cut, "{}", sim.log());
    sim.run_for(Span::from_secs(300));
    let logins = sim.log().matches("login from").count();
    assert!((1..=12).contains(&logins), "{logins} logins in 300 s\n{}", sim.log());
}

#[test]
fn a_license_that_was_just_added_is_known_at_once() {
    let mut sim = Sim::new(19, CALM, Transport::Tls);
    sim.edit_licenses(|directory| super::take_away(directory, 0));
    sim.run_for(Span::from_secs(3));
    sim.edit_licenses(|directory| super::give_back(directory, 0));
    sim.start_client(CLIENT, 0, &["8080:10.0.0.9:700"]);
    sim.run_for(Span::from_millis(500));
    assert!(sim.log().contains("8080 -> 10.0.0.9:700 ready"), "{}", sim.log());
}

#[test]
fn stopping_lets_visits_end() {
    for host in [SERVER, CLIENT] {
        let mut sim = up(20, CALM, Transport::Plain);
        let plan = sim.plan();
        let visitor = sim.visit(8080, Plan { up: 3_000_000, down: 3_000_000, ..plan });
        sim.run_for(Span::from_millis(300));
        sim.world.borrow_mut().stop(host);
        sim.run_for(Span::from_secs(29));
        assert_eq!(sim.outcome(visitor), Outcome::Whole, "{}", sim.log());
        assert_eq!(sim.exits, [(host, 0)], "{}", sim.log());
    }
}

#[test]
fn stopping_ends_after_thirty_seconds_or_when_asked_again() {
    for (host, twice) in [(SERVER, false), (SERVER, true), (CLIENT, false), (CLIENT, true)] {
        let mut sim = up(21, CALM, Transport::Plain);
        let plan = sim.plan();
        let visitor = sim.visit(8080, Plan { up: 500_000_000, ..plan });
        sim.run_for(Span::from_millis(300));
        sim.world.borrow_mut().stop(host);
        sim.run_for(Span::from_secs(1));
        assert!(sim.exits.is_empty());
        if twice {
            sim.world.borrow_mut().stop(host);
        }
        sim.run_for(Span::from_secs(if twice { 1 } else { 30 }));
        assert_eq!(sim.exits, [(host, 0)], "{}", sim.log());
        sim.run_for(Span::from_secs(1));
        assert_eq!(sim.outcome(visitor), Outcome::Cut, "a cut must not look like an end\n{}", sim.log());
    }
}

#[test]
fn silent_strangers_do_not_keep_a_client_out() {
    let mut sim = Sim::new(22, CALM, Transport::Tls);
    let address = std::net::SocketAddr::from(([10, 0, 0, 1], TUNNEL_PORT));
    for _ in 0..5_000 {
        sim.world.borrow_mut().connect(VISITOR, SERVER, address);
    }
    sim.run_for(Span::from_millis(100));
    sim.start_client(CLIENT, 0, &["8080:10.0.0.9:700"]);
    sim.run_for(Span::from_secs(1));
    assert!(sim.log().contains("8080 -> 10.0.0.9:700 ready"), "{}", sim.log());
    assert!(sim.counts()[0].1 <= STRANGERS_MAX + 10, "strangers are bounded");
    sim.run_for(Span::from_secs(6));
    assert!(sim.counts()[0].1 <= 10, "no stranger stays longer than 5 s");
    served(&mut sim, 8080);
}

#[test]
fn garbage_is_cut_without_a_word() {
    for transport in [Transport::Tls, Transport::Plain] {
        let mut sim = up(23, CALM, transport);
        let address = std::net::SocketAddr::from(([10, 0, 0, 1], TUNNEL_PORT));
        let mut ends = Vec::new();
        for (_, frame) in nt::wire::samples() {
            for cut in [1, 4, usize::MAX] {
                let end = sim.world.borrow_mut().connect(VISITOR, SERVER, address);
                sim.run_for(Span::from_millis(40));
                let encoded = frame.encode();
                let bytes = encoded.bytes();
                // Whether it is taken does not matter: a stranger may be gone already.
                let _ = sim.world.borrow_mut().write(end, &bytes[..bytes.len().min(cut)]);
                ends.push((end, frame, cut));
            }
        }
        sim.run_for(Span::from_secs(6));
        for (end, frame, cut) in ends {
            let mut answer = [0; 64];
            let result = sim.world.borrow_mut().read(end, &mut answer);
            let nonce =
                transport == Transport::Plain && matches!(frame, nt::wire::Frame::Nonce(_)) && cut > 4;
            assert!(nonce || result.is_err(), "{frame:?} cut at {cut} was answered: {result:?}");
            sim.world.borrow_mut().close(end, Manner::Cut);
        }
        served(&mut sim, 8080);
        at_rest(&mut sim);
    }
}

#[test]
fn many_mappings_are_all_told() {
    let mut sim = Sim::new(24, CALM, Transport::Tls);
    let maps: Vec<String> = (0..300).map(|n| format!("{}:10.0.0.9:700", 20_000 + n)).collect();
    assert!(maps.iter().all(|map| mapping::parse(map).is_ok()));
    sim.start_client(CLIENT, 0, &maps.iter().map(String::as_str).collect::<Vec<_>>());
    sim.run_for(Span::from_secs(3));
    assert_eq!(sim.log().matches("10.0.0.1:2").count(), 300, "{}", sim.log());
    served(&mut sim, 20_299);
}

#[test]
fn a_thousand_ports_in_a_row_are_told_at_once_and_served_each() {
    let mut sim = Sim::new(24, CALM, Transport::Tls);
    // One is another program's.
    sim.world.borrow_mut().listen(SERVER, 20_500, usize::MAX);
    sim.start_client(CLIENT, 0, &["20000-20999:10.0.0.9:100-1099"]);
    sim.run_for(Span::from_secs(3));
    let log = sim.log();
    for ports in ["20000-20499", "20500", "20501-20999"] {
        assert_eq!(log.matches(&format!("10.0.0.1:{ports} ")).count(), 1, "{log}");
    }
    served(&mut sim, 20_600);
    sim.world.borrow_mut().unlisten(20_500);
    sim.run_for(Span::from_secs(6));
    assert!(sim.log().contains("10.0.0.1:20500 -> 10.0.0.9:600 ready"), "{}", sim.log());
    at_rest(&mut sim);
}

#[test]
fn a_real_server_that_was_down_is_served_when_it_is_up() {
    let mut sim = up(25, CALM, Transport::Plain);
    sim.world.borrow_mut().unlisten(REAL_PORT);
    for _ in 0..30 {
        let plan = sim.plan();
        sim.visit(8080, plan);
        sim.run_for(Span::from_millis(30));
    }
    sim.run_for(Span::from_secs(1));
    assert!(sim.visitors.iter().all(|visitor| visitor.outcome == Outcome::Cut), "{}", sim.log());
    sim.world.borrow_mut().listen(REAL, REAL_PORT, usize::MAX);
    served(&mut sim, 8080);
    at_rest(&mut sim);
}

#[test]
fn a_torrent_that_came_before_its_channel_flows_on_by_itself() {
    let mut sim = up(26, torrent(), Transport::Plain);
    let plan = sim.plan();
    let visitor = sim.visit(8080, Plan { up: 3_000_000, down: 0, visitor_ends_first: true, ..plan });
    sim.run_for(Span::from_secs(9));
    assert_eq!(sim.outcome(visitor), Outcome::Whole, "{}", sim.log());
}

/// Windows so large that everything is there before it is asked for: no event comes to help.
fn torrent() -> crate::net::Nasty {
    crate::net::Nasty { window: 16 << 20, ..CALM }
}

#[test]
fn a_channel_that_is_not_given_back_is_given_up() {
    let mut sim = up(27, CALM, Transport::Plain);
    let plan = sim.plan();
    let visitor = sim.visit(8080, Plan { up: 100, down: 5_000_000, ..plan });
    sim.run_for(Span::from_millis(300));
    let before = sim.counts()[0].1;
    // The visitor goes, and nothing more comes from the client, not even the mark that would free the ProxyChannel.
    sim.world.borrow_mut().cuts.insert((CLIENT, SERVER));
    let end = sim.visitors[visitor].end;
    sim.world.borrow_mut().close(end, Manner::Cut);
    sim.run_for(Span::from_millis(9_000));
    assert_eq!(sim.counts()[0].1, before - 1, "the visitor has gone, its ProxyChannel drains");
    sim.run_for(Span::from_millis(1_500));
    assert_eq!(sim.counts()[0].1, before - 2, "ten seconds are enough");
    sim.world.borrow_mut().cuts.clear();
    served(&mut sim, 8080);
    at_rest(&mut sim);
}

#[test]
fn mappings_that_stay_down_cost_little() {
    let mut sim = Sim::new(29, CALM, Transport::Plain);
    sim.world.borrow_mut().listen(SERVER, 20_000, usize::MAX);
    // Not permitted, and in use.
    let maps: Vec<String> = (0..60).map(|n| format!("{}:10.0.0.9:700", 500 + n)).collect();
    let maps: Vec<&str> = maps.iter().map(String::as_str).chain(["20000:10.0.0.9:700"]).collect();
    sim.start_client(CLIENT, 0, &maps);
    // Were each of them to remind of all of them, this would not end.
    sim.run_for(Span::from_secs(120));
    assert_eq!(sim.log().matches("not ready").count(), 61, "said once, not each time\n{}", sim.log());
    sim.world.borrow_mut().unlisten(20_000);
    sim.run_for(Span::from_secs(6));
    served(&mut sim, 20_000);
}

#[test]
fn a_burst_of_visitors_is_served_whole_and_leaves_a_pool_within_its_bound() {
    let mut sim = up(30, CALM, Transport::Tls);
    for _ in 0..3 {
        let visitors: Vec<usize> = (0..crate::world::BUDGET.raws)
            .map(|_| {
                let plan = sim.plan();
                sim.visit(8080, Plan { down: 10, up: 10, ..plan })
            })
            .collect();
        sim.run_for(Span::from_secs(9));
        assert!(visitors.iter().all(|&visitor| sim.outcome(visitor) == Outcome::Whole), "{}", sim.log());
        // The listener, the port, the CmdChannel, and the pool.
        assert!(sim.counts()[0].1 <= 3 + nt::limits::POOL_MAX);
    }
    assert!(!sim.log().contains("more connections without a login"), "{}", sim.log());
    at_rest(&mut sim);
}

#[test]
fn a_nat_that_forgets_everything_costs_half_a_minute_at_most() {
    for transport in [Transport::Plain, Transport::Tls] {
        let mut sim = up(31, CALM, transport);
        let plan = sim.plan();
        let visitor = sim.visit(8080, Plan { up: 30_000_000, down: 30_000_000, ..plan });
        sim.run_for(Span::from_secs(1));
        sim.world.borrow_mut().forget(CLIENT, SERVER);
        sim.run_for(Span::from_secs(33));
        assert_eq!(sim.outcome(visitor), Outcome::Cut, "{}", sim.log());
        served(&mut sim, 8080);
        sim.run_for(Span::from_secs(30));
        at_rest(&mut sim);
    }
}

#[test]
fn a_client_that_slept_finds_its_session_dead_and_comes_back() {
    let mut sim = up(32, CALM, Transport::Tls);
    let (host, sleeper) = sim.clients.remove(0);
    sim.run_for(Span::from_secs(120));
    assert!(sim.log().contains("logged out: nothing was heard from it for 30 s"), "{}", sim.log());
    sim.clients.push((host, sleeper));
    sim.run_for(Span::from_secs(2));
    served(&mut sim, 8080);
    at_rest(&mut sim);
}

/// The client's deadline moves when it hears the server again: it must still be looked at afterwards.
#[test]
fn a_way_that_was_lost_for_nearly_too_long_may_be_lost_again() {
    for millis in (18_000..32_000).step_by(500) {
        let mut sim = up(33, CALM, Transport::Plain);
        sim.world.borrow_mut().cuts.extend([(CLIENT, SERVER), (SERVER, CLIENT)]);
        sim.run_for(Span::from_millis(millis));
        sim.world.borrow_mut().cuts.clear();
        sim.run_for(Span::from_secs(1));
        sim.world.borrow_mut().forget(CLIENT, SERVER);
        sim.run_for(Span::from_secs(90));
        served(&mut sim, 8080);
    }
}

/// The server is another one, made a session, and could not say so: what the client remembers is of none of its visits.
#[test]
fn a_session_that_the_client_was_not_told_of_is_not_the_one_it_remembers() {
    let mut sim = up(34, CALM, Transport::Plain);
    for _ in 0..3 {
        let plan = sim.plan();
        sim.visit(8080, Plan { up: 50_000_000, ..plan });
    }
    sim.run_for(Span::from_secs(1));
    sim.kill_server();
    sim.run_for(Span::from_millis(100));
    sim.start_server();
    while sim.log().matches("host 1: license0: logged in from").count() < 2 {
        sim.run_for(Span::from_millis(1));
    }
    // WELCOME is on its way.
    sim.world.borrow_mut().reset_all(CLIENT, SERVER);
    sim.run_for(Span::from_secs(20));
    assert!(sim.log().contains("license0: logged in again"), "{}", sim.log());
    for _ in 0..3 {
        served(&mut sim, 8080);
    }
}

#[test]
fn visitors_wait_for_a_client_that_is_started_again() {
    for transport in [Transport::Plain, Transport::Tls] {
        let mut sim = up(35, CALM, transport);
        sim.kill_client(CLIENT);
        sim.run_for(Span::from_millis(100));
        let plan = sim.plan();
        let visitor = sim.visit(8080, whole(plan));
        sim.run_for(Span::from_millis(2_000));
        // It fails twice before it is up for good.
        for _ in 0..2 {
            sim.start_client(CLIENT, 0, &["8080:10.0.0.9:700"]);
            sim.run_for(Span::from_millis(35));
            sim.kill_client(CLIENT);
            sim.run_for(Span::from_millis(500));
        }
        sim.start_client(CLIENT, 0, &["8081:10.0.0.9:700", "8080:10.0.0.9:700"]);
        sim.run_for(Span::from_secs(5));
        assert_eq!(sim.outcome(visitor), Outcome::Whole, "{}", sim.log());
        at_rest(&mut sim);
    }
}
