//! Exits: what visitors say there, and what they must be told; one story each.

use nt::license::Transport;
use nt::policy::Allow;
use nt::time::Span;

use crate::actors::{Asked, Endpoint, Outcome, Plan};
use crate::world::{CLIENT, REAL, REAL_PORT, Sim};
use crate::{CALM, NASTY, at_rest, seeds};

/// Where one can want to go: the same machine, by address and by name.
pub const PLACES: [&str; 2] = ["10.0.0.9", "nas.lan"];

/// Two exits at these ports of the server.
pub fn maps(first: u16) -> Vec<String> {
    vec![format!("{first}:socks5"), format!("{}:http-proxy", first + 1)]
}

/// The words of a visitor who comes to the exit of this number.
pub fn ask(exit: usize, host: &str, port: u16, waits: bool) -> Asked {
    let (says, granted) = match exit {
        0 => {
            let place = match host.parse::<std::net::Ipv4Addr>() {
                Ok(ip) => [&[1][..], &ip.octets()].concat(),
                Err(_) => [&[3, host.len() as u8], host.as_bytes()].concat(),
            };
            let says = [&[5, 2, 0, 2, 5, 1, 0], &place[..], &port.to_be_bytes()].concat();
            (says, vec![5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
        }
        _ => {
            let says = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
            (says.into_bytes(), b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec())
        }
    };
    Asked { says, waits, granted, heard: Vec::new() }
}

fn up(seed: u64, nasty: crate::net::Nasty, transport: Transport) -> Sim {
    let mut sim = Sim::new(seed, nasty, transport);
    sim.allow = Allow::parse("10.0.0.9:700-710").expect("a good list");
    let maps = maps(8080);
    sim.start_client(CLIENT, 0, &maps.iter().map(String::as_str).collect::<Vec<_>>());
    sim.run_for(Span::from_secs(2));
    sim
}

/// A visitor of exit `which` who says this.
fn come(sim: &mut Sim, which: usize, asked: Asked, plan: Plan) -> usize {
    let visitor = sim.visit_to(8080 + which as u16, REAL_PORT, plan);
    sim.visitors[visitor].asks(asked);
    visitor
}

fn heard(sim: &Sim, visitor: usize) -> &[u8] {
    sim.visitors[visitor].asked().map_or(&[], |asked| &asked.heard)
}

#[test]
fn whoever_asks_an_exit_is_taken_there_and_no_byte_is_lost() {
    for seed in seeds(20) {
        for transport in [Transport::Plain, Transport::Tls] {
            let mut sim = up(seed, NASTY, transport);
            for n in 0..8 {
                let plan = sim.plan();
                let asked = ask(n % 2, PLACES[n / 2 % 2], REAL_PORT, n < 4);
                come(&mut sim, n % 2, asked, plan);
            }
            sim.run_for(Span::from_secs(120));
            let whole = |one: &Endpoint| one.outcome == Outcome::Whole;
            assert!(sim.visitors.iter().all(whole), "seed {seed}: {:?}\n{}", sim.visitors, sim.log());
            at_rest(&mut sim);
        }
    }
}

#[test]
fn who_may_not_go_there_is_told_so_in_the_words_of_the_exit() {
    let mut sim = up(1, CALM, Transport::Plain);
    sim.world.borrow_mut().cuts.insert((CLIENT, REAL));
    let cases = [
        // Not allowed; allowed, but nobody is there; and no answer.
        (0, 730, &[5, 0, 5, 2][..]),
        (1, 730, b"HTTP/1.1 403 Forbidden"),
        (0, 700, &[5, 0, 5, 6]),
        (1, 700, b"HTTP/1.1 504 Gateway Timeout"),
    ];
    for (which, port, answer) in cases {
        let plan = sim.plan();
        let visitor = come(&mut sim, which, ask(which, PLACES[0], port, true), plan);
        sim.run_for(Span::from_secs(11));
        assert_eq!(sim.outcome(visitor), Outcome::Cut, "{}", sim.log());
        assert!(heard(&sim, visitor).starts_with(answer), "{}", heard(&sim, visitor).escape_ascii());
    }
    sim.world.borrow_mut().cuts.clear();
    for (which, answer) in [(0, &[5, 0, 5, 5][..]), (1, b"HTTP/1.1 502 Bad Gateway")] {
        let plan = sim.plan();
        let visitor = come(&mut sim, which, ask(which, PLACES[1], 709, true), plan);
        sim.run_for(Span::from_secs(1));
        assert!(heard(&sim, visitor).starts_with(answer), "{}", heard(&sim, visitor).escape_ascii());
    }
    assert_eq!(sim.world.borrow().lookups, 1, "what may not be reached is not looked up");
    at_rest(&mut sim);
}

#[test]
fn who_says_nothing_that_can_be_understood_is_let_go_within_its_time() {
    let never =
        |says: &[u8]| Asked { says: says.to_vec(), waits: true, granted: vec![0xEE], heard: Vec::new() };
    let mut sim = up(2, CALM, Transport::Plain);
    let cases: [(usize, &[u8], &[u8], bool); 8] = [
        // At once: nonsense, the wrong version, no method that would do, what no proxy does, and too much.
        (0, b"GET / HTTP/1.1\r\n\r\n", b"", true),
        (0, &[4, 1, 0, 80, 10, 0, 0, 9, 0], b"", true),
        (0, &[5, 1, 2], &[5, 0xFF], true),
        (0, &[5, 1, 0, 5, 2, 0, 1, 10, 0, 0, 9, 0, 80], &[5, 0, 5, 7], true),
        (1, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 400", true),
        (1, &[b'a'; 9_000], b"HTTP/1.1 431", true),
        // After ten seconds.
        (0, &[5], b"", false),
        (1, b"CONNECT 10.0.0.9:700 HTTP/1.1\r\n", b"HTTP/1.1 408", false),
    ];
    for (which, says, answer, at_once) in cases {
        let plan = sim.plan();
        let visitor = come(&mut sim, which, never(says), plan);
        sim.run_for(Span::from_secs(1));
        assert_eq!(sim.outcome(visitor) == Outcome::Cut, at_once, "{}: {}", says.escape_ascii(), sim.log());
        sim.run_for(Span::from_secs(10));
        assert_eq!(sim.outcome(visitor), Outcome::Cut, "{}: {}", says.escape_ascii(), sim.log());
        let heard = heard(&sim, visitor);
        assert!(heard.starts_with(answer), "{}: {}", says.escape_ascii(), heard.escape_ascii());
        assert_eq!(heard.is_empty(), answer.is_empty(), "{}", heard.escape_ascii());
    }
    at_rest(&mut sim);
}
