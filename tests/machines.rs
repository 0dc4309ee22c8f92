//! Every event in every state, for each channel machine; the whole matrix stands in `tests/golden`.
//!
//! `NT_BLESS=1 cargo test --test machines` writes what the machines do now; read the difference before it is committed.

use std::fmt::Write as _;

use nt::channel::proxy::{self, Proxy};
use nt::channel::real::{self, Real};
use nt::channel::visitor::{self, Visitor};
use nt::limits::VISIT_TRIES_MAX;
use nt::reason::Reason;
use nt::slots::{Key, Slots};
use nt::time::{Span, Time};

/// Compares `actual` with a golden file, or writes it.
fn golden(name: &str, actual: &str) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("NT_BLESS").is_some() {
        std::fs::write(&path, actual).expect("the golden file can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    for (n, (actual, expected)) in actual.lines().zip(expected.lines()).enumerate() {
        assert_eq!(actual, expected, "{name}, line {}", n + 1);
    }
    assert_eq!(actual.lines().count(), expected.lines().count(), "{name} has another number of lines");
}

fn keys() -> [Key; 2] {
    let mut slots = Slots::default();
    [slots.insert(()).expect("a slot"), slots.insert(()).expect("a slot")]
}

#[test]
fn proxy_channel() {
    let visit = |sent_fin, got_fin| Proxy::Visit { visit: 7, sent_fin, got_fin };
    let states =
        [Proxy::Idle, visit(false, false), visit(true, false), visit(false, true), Proxy::Drain { visit: 7 }];
    let events = [
        proxy::Event::Start(8),
        proxy::Event::LocalEnd,
        proxy::Event::LocalCut(Reason::Reset),
        proxy::Event::PeerFin,
        proxy::Event::PeerCut(7, Reason::Refused),
        proxy::Event::PeerCut(6, Reason::Refused),
    ];
    let mut matrix = String::new();
    for state in states {
        for event in events {
            let mut next = state;
            let result = next.step(event);
            assert!(result.is_ok() || next == state, "a violation changes nothing");
            let does = match result {
                Ok(effect) => format!(
                    "{next:?}  send {:?}, local {:?}, free {}",
                    effect.send, effect.local, effect.free
                ),
                Err(violation) => format!("{violation:?}"),
            };
            writeln!(matrix, "{state:?} + {event:?} = {does}").expect("a string takes all");
        }
    }
    golden("proxy.txt", &matrix);
}

/// Whatever two ends do, and however their marks cross, both are free in the end and agree on it.
#[test]
fn two_ends_of_a_visit_always_come_free() {
    // Each end does its local events at any of the moments between the deliveries of the other's marks.
    let endings: [&[proxy::Event]; 4] = [
        &[proxy::Event::LocalEnd],
        &[proxy::Event::LocalCut(Reason::Reset)],
        &[proxy::Event::LocalEnd, proxy::Event::LocalCut(Reason::Reset)],
        &[],
    ];
    let mut stories = 0;
    for left in endings {
        for right in endings {
            // 0: left acts, 1: right acts, 2: left hears, 3: right hears; every order of eight such steps.
            for order in 0..4_u32.pow(8) {
                stories += usize::from(story(left, right, order));
            }
        }
    }
    assert!(stories > 10_000, "only {stories} stories came to an end");
}

/// Plays one story; whether both ends came to rest in it.
fn story(left: &[proxy::Event], right: &[proxy::Event], order: u32) -> bool {
    let mut ends = [Proxy::Visit { visit: 1, sent_fin: false, got_fin: false }; 2];
    let mut marks: [Vec<proxy::Event>; 2] = [Vec::new(), Vec::new()];
    let mut acts = [left.iter().rev().copied().collect::<Vec<_>>(), right.iter().rev().copied().collect()];
    let mut gone = [false; 2];
    for step in 0..8 {
        let what = (order >> (2 * step)) & 3;
        let (end, event) = match what {
            0 | 1 => {
                let end = what as usize;
                // A side that is gone, or was told to close, does nothing more.
                match acts[end].pop().filter(|_| !gone[end] && matches!(ends[end], Proxy::Visit { .. })) {
                    Some(event) => (end, event),
                    None => continue,
                }
            }
            _ => {
                let end = (what - 2) as usize;
                if marks[end].is_empty() {
                    continue;
                }
                (end, marks[end].remove(0))
            }
        };
        let effect = match ends[end].step(event) {
            Ok(effect) => effect,
            // The local side's end after its direction has ended already is not told by any driver.
            Err(_) if matches!(event, proxy::Event::LocalEnd | proxy::Event::LocalCut(_)) => continue,
            Err(_) => panic!("{:?} does not bear {event:?}", ends[end]),
        };
        gone[end] |= matches!(effect.local, proxy::Local::End | proxy::Local::Cut(_));
        match effect.send {
            proxy::Send::Nothing => {}
            proxy::Send::Fin => marks[1 - end].push(proxy::Event::PeerFin),
            proxy::Send::Cut(visit, reason) => marks[1 - end].push(proxy::Event::PeerCut(visit, reason)),
        }
    }
    let rest = ends.iter().all(Proxy::is_idle) && marks.iter().all(Vec::is_empty);
    if marks.iter().all(Vec::is_empty) && !rest {
        // Nothing is on its way, so whoever is not free waits for a mark that its peer still owes.
        for end in 0..2 {
            let owes = matches!(ends[1 - end], Proxy::Visit { sent_fin: false, .. });
            assert!(ends[end].is_idle() || owes || !ends[1 - end].is_idle(), "{ends:?} wait for each other");
            assert!(
                !ends[end].is_idle() || ends[1 - end].is_idle(),
                "{ends:?}: one is free, the other is not"
            );
        }
    }
    rest
}

#[test]
fn visitor_channel() {
    let [proxy, other] = keys();
    let now = Time::from_micros(100_000_000);
    let (early, late) = (now + Span::from_secs(1), now - Span::from_secs(1));
    let states = [
        Visitor::Waiting { deadline: early, tries: 0, ended: false },
        Visitor::Waiting { deadline: late, tries: 0, ended: true },
        Visitor::Asked { proxy, deadline: early, tries: 0, ended: false },
        Visitor::Asked { proxy, deadline: late, tries: 1, ended: true },
        Visitor::Asked { proxy, deadline: early, tries: VISIT_TRIES_MAX - 1, ended: false },
        Visitor::Joined { proxy },
    ];
    let events = [
        visitor::Event::Granted(other),
        visitor::Event::Connected,
        visitor::Event::Ended,
        visitor::Event::ChannelLost,
        visitor::Event::Timeout,
    ];
    let mut matrix = String::new();
    for state in states {
        for event in events {
            let mut next = state;
            let effect = next.step(now, event);
            writeln!(matrix, "{state:?} + {event:?} = {next:?}  {effect:?}").expect("a string takes all");
        }
    }
    golden("visitor.txt", &matrix);
}

#[test]
fn real_server_channel() {
    let [key, other] = keys();
    let now = Time::from_micros(100_000_000);
    let (early, late) = (now + Span::from_secs(1), now - Span::from_secs(1));
    let address = std::net::SocketAddr::from(([192, 0, 2, 1], 80));
    let states = [
        Real::Talking { deadline: early },
        Real::Talking { deadline: late },
        Real::Parting { deadline: early },
        Real::Parting { deadline: late },
        Real::Resolving { deadline: early },
        Real::Resolving { deadline: late },
        Real::Dialing { key, rest: vec![], deadline: early },
        Real::Dialing { key, rest: vec![address], deadline: late },
        Real::Joined { key },
    ];
    let events = [
        real::Event::Asked,
        real::Event::Parted,
        real::Event::Begun(other, vec![address]),
        real::Event::Dialed,
        real::Event::Failed(Reason::Refused),
        real::Event::Timeout,
    ];
    let mut matrix = String::new();
    for state in states {
        for event in &events {
            let mut next = state.clone();
            let effect = next.step(now, event.clone());
            writeln!(matrix, "{state:?} + {event:?} = {next:?}  {effect:?}").expect("a string takes all");
        }
    }
    golden("real.txt", &matrix);
}

#[test]
fn frames() {
    let mut golden_bytes = String::new();
    for (name, frame) in nt::wire::samples() {
        let hex: String = frame.encode().bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(golden_bytes, "{name}: {hex}").expect("a string takes all");
    }
    golden("frames.txt", &golden_bytes);
}
