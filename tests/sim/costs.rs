//! What a message costs, counted and never timed: system calls and allocations of the server and the client together.
//!
//! Most numbers are exact, since every packet takes equally long here. Whoever makes one smaller writes the smaller one
//! down; whoever makes one larger has to say why. `NT_SIM_WHERE=1` tells where each allocation is made.

use nt::license::Transport;
use nt::time::Span;

use crate::actors::{Outcome, Plan};
use crate::callers::{Asking, Name, Parting};
use crate::messages::GET;
use crate::meter::{Cost, Costs, held};
use crate::net::Nasty;
use crate::world::{CLIENT, NAMES_PORT, REAL_PORT, Sim, VISITOR};
use crate::{CALM, at_rest, up};

/// No jitter, so that equal visits cost equally much; and so fast that no visit lasts until a heartbeat.
const EVEN: Nasty = Nasty { delay_micros: 1, ..CALM };

/// The same, with room for all that is on its way: how it is moved is then for nt alone to decide.
const WIDE: Nasty = Nasty { window: 16 << 20, ..EVEN };

const MESSAGE: u32 = 64;
const MIB: u32 = 1 << 20;

/// Nothing but messages to and fro.
fn talk(sim: &mut Sim, messages: u32) -> Plan {
    let all = MESSAGE * messages;
    Plan { up: all, down: all, message: MESSAGE, visitor_ends_first: false, ..sim.plan() }
}

fn spent(sim: &mut Sim, span: Span) -> Costs {
    let before = sim.costs();
    sim.run_for(span);
    sim.costs().since(&before)
}

/// What a whole visit costs. It is over long before the license file is looked at again.
fn visit(sim: &mut Sim, plan: Plan) -> Costs {
    let visitor = sim.visit(8080, plan);
    let costs = spent(sim, Span::from_millis(100));
    assert_eq!(sim.outcome(visitor), Outcome::Whole, "{}", sim.log());
    costs
}

/// A pool that has served before, so that whatever grows once has grown.
fn warm(seed: u64, nasty: Nasty, transport: Transport) -> Sim {
    let mut sim = up(seed, nasty, transport);
    let plan = talk(&mut sim, 1);
    visit(&mut sim, plan);
    sim
}

#[test]
fn a_message_costs_one_read_and_one_write_at_each_end() {
    const TIMES: u64 = 200;
    // rustls allocates for every record, once where it is sealed and once where it is opened; nt itself never does.
    for (transport, allocations) in [(Transport::Plain, 0), (Transport::Tls, 4)] {
        let mut sim = warm(40, EVEN, transport);
        // Where the first message is the last, the visit's begin and end share a turn.
        let (short, long) = (talk(&mut sim, 2), talk(&mut sim, 2 + TIMES as u32));
        let (short, long) = (visit(&mut sim, short), visit(&mut sim, long));
        // Each message passes the client and the server, and so does its answer: four times something comes.
        let each = [(Cost::Wait, 4), (Cost::Read, 4), (Cost::Write, 4), (Cost::Allocation, allocations)];
        assert_eq!(
            long.since(&short),
            Costs::from_iter(each.map(|(kind, times)| (kind, TIMES * times))),
            "{transport:?}: what {TIMES} messages and their answers cost"
        );
    }
}

#[test]
fn a_visit_on_a_warm_pool_costs_few_calls_and_no_allocation() {
    // Over TLS six records are sealed and opened, by rustls.
    for (transport, allocations) in [(Transport::Plain, 0), (Transport::Tls, 12)] {
        let mut sim = warm(41, EVEN, transport);
        let plan = talk(&mut sim, 1);
        let expected = [
            (Cost::Wait, 9),
            // The visitor, and that nobody else is waiting.
            (Cost::Accept, 2),
            (Cost::Watch, 1),
            // Asked at once whether it is decided, and when it is.
            // The visitor's words are not at hand: CONNECT was in no need to wait for them.
            (Cost::Dial, 1),
            (Cost::Dialed, 2),
            (Cost::Read, 9),
            (Cost::Write, 6),
            (Cost::Shut, 1),
            (Cost::Close, 2),
            (Cost::Allocation, allocations),
        ];
        assert_eq!(visit(&mut sim, plan), Costs::from_iter(expected), "{transport:?}: what a visit costs");
    }
}

#[test]
fn words_at_hand_share_a_segment_with_the_handshake() {
    const CROWD: u64 = 16;
    for transport in [Transport::Plain, Transport::Tls] {
        let mut sim = warm(45, EVEN, transport);
        let before = sim.costs();
        // More than the pool holds: those who wait have spoken before they have a ProxyChannel.
        let visitors = (0..CROWD).map(|_| {
            let plan = talk(&mut sim, 1);
            sim.visit(8080, plan)
        });
        let visitors: Vec<_> = visitors.collect();
        sim.run_for(Span::from_millis(100));
        let costs = sim.costs().since(&before);
        assert!(visitors.iter().all(|&visitor| sim.outcome(visitor) == Outcome::Whole), "{}", sim.log());
        assert!(
            costs.of(Cost::Dial) < CROWD,
            "{transport:?}: all real servers were dialled without: {costs:?}"
        );
    }
}

#[test]
fn a_request_by_name_costs_what_a_message_does() {
    const TIMES: u64 = 50;
    let [few, many] = [2, 2 + TIMES].map(|times| {
        let mut sim = Sim::with_names(47, EVEN, Transport::Plain, 20);
        sim.speakers.insert(REAL_PORT);
        sim.start_client(CLIENT, 0, &["one.example.com:10.0.0.9:700"]);
        sim.run_for(Span::from_secs(2));
        let name = Name { host: "one.example.com".to_owned(), prefix: "", reals: vec![REAL_PORT] };
        let ask = || Asking::Request { name: name.clone(), matter: GET, closes: false, pause: Span::ZERO };
        let before = sim.costs();
        let asked = (0..times).map(|_| ask()).collect();
        sim.call(VISITOR, NAMES_PORT, asked).parting = Parting::Ends;
        sim.run_for(Span::from_millis(900));
        let caller = sim.callers.last().expect("the one that came just now");
        assert!(caller.is_served(), "{caller:?}");
        sim.costs().since(&before)
    });
    // The request and its answer pass the client and the server. They are read, and written anew, without an allocation.
    let each = [(Cost::Wait, 4), (Cost::Read, 4), (Cost::Write, 4)];
    let expected = Costs::from_iter(each.map(|(kind, times)| (kind, TIMES * times)));
    assert_eq!(many.since(&few), expected, "what {TIMES} requests and their answers cost");
}

#[test]
fn bulk_costs_few_calls_for_each_mebibyte() {
    const MIBS: u32 = 10;
    for (up, down) in [(MIBS * MIB, 0), (0, MIBS * MIB)] {
        let mut sim = warm(42, WIDE, Transport::Plain);
        let plan = Plan { up, down, visitor_ends_first: false, ..sim.plan() };
        let costs = visit(&mut sim, plan);
        let (spliced, all) = (sim.world.borrow().spliced, 2 * (MIBS * MIB) as usize);
        assert!(spliced > all / 100 * 99, "{spliced} of {all} bytes at both ends were spliced");
        // At each end two pieces of 512 KiB: in and out, and a header that is written here and read there.
        assert!(costs.calls() <= u64::from(MIBS) * 15, "more than 15 calls for each MiB: {costs:?}");
        // And for each piece the place where it is kept until it has left; and a queue that grows once.
        let bound = u64::from(MIBS) * 4 + 2;
        assert!(costs.of(Cost::Allocation) <= bound, "more than 4 allocations for each MiB: {costs:?}");
    }
}

#[test]
fn who_is_idle_costs_nothing() {
    for (transport, allocations) in [(Transport::Plain, 0), (Transport::Tls, 24)] {
        let expected = Costs::from_iter([
            // Every two seconds the license file; every ten a heartbeat from each end, which the other reads.
            (Cost::PollLicenses, 30),
            (Cost::Write, 12),
            (Cost::Read, 12),
            // A turn for each look and three for two heartbeats: the client's is due when the server's comes.
            (Cost::Wait, 48),
            // By rustls, for each heartbeat that is sealed and opened.
            (Cost::Allocation, allocations),
        ]);
        for visitors in [0, 100] {
            let mut sim = up(43, EVEN, transport);
            for _ in 0..visitors {
                let plan = talk(&mut sim, 2);
                let visitor = sim.visit(8080, plan);
                // The first answer is not read, so nobody says anything any more.
                sim.visitors[visitor].stalled = u32::MAX;
            }
            // Until the pool has become small again, and what was touched has been given back.
            sim.run_for(Span::from_secs(240));
            let costs = spent(&mut sim, Span::from_secs(60));
            assert_eq!(costs, expected, "{transport:?}: what {visitors} idle visitors cost in a minute");
            sim.visitors.iter_mut().for_each(|visitor| visitor.stalled = 0);
            at_rest(&mut sim);
            let whole = sim.visitors.iter().all(|visitor| visitor.outcome == Outcome::Whole);
            assert!(whole, "they were idle, not gone\n{}", sim.log());
        }
    }
}

#[test]
fn memory_of_a_crowd_that_has_gone_goes_back_once() {
    let mut sim = up(46, EVEN, Transport::Tls);
    let visitors: Vec<_> = (0..64)
        .map(|_| {
            let plan = talk(&mut sim, 20);
            sim.visit(8080, plan)
        })
        .collect();
    sim.run_for(Span::from_secs(1));
    assert!(visitors.iter().all(|&visitor| sim.outcome(visitor) == Outcome::Whole), "{}", sim.log());
    let forgotten = spent(&mut sim, Span::from_secs(240)).of(Cost::Forget);
    assert!(forgotten > 16, "{forgotten} buffers of both ends were given back");
    assert_eq!(spent(&mut sim, Span::from_secs(240)).of(Cost::Forget), 0, "what was given back once");
}

#[test]
fn keys_of_who_is_idle_are_small() {
    const VISITORS: usize = 64;
    let [plain, tls] = [Transport::Plain, Transport::Tls].map(|transport| {
        let mut sim = up(44, EVEN, transport);
        let before = held();
        for _ in 0..VISITORS {
            let plan = talk(&mut sim, 2);
            let visitor = sim.visit(8080, plan);
            sim.visitors[visitor].stalled = u32::MAX;
        }
        sim.run_for(Span::from_secs(120));
        (held() - before) / VISITORS as isize
    });
    // 5,000 of rustls's, with the pool's spare connections; four keys of 544 bytes, expanded, would be 2,000 more.
    let more = tls - plain;
    assert!((1..6_000).contains(&more), "an idle visitor over TLS holds {more} bytes more than a plain one");
}
