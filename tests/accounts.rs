//! What a server counts, keeps and permits over days and months: its role on a stage, where time is a number.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use nt::calendar::{Clock, Date};
use nt::directory::{Directory, Entry};
use nt::door::{Door, Token};
use nt::entropy::Entropy;
use nt::ledger::Ledger;
use nt::license::Transport;
use nt::limits::COUNTERS_KEPT_EVERY;
use nt::meter::{Limits, Traffic};
use nt::policy::{Quota, Rates};
use nt::reason::Reason;
use nt::role::{Input, Keys, Role};
use nt::server::{self, Server};
use nt::slots::Key;
use nt::time::Span;
use nt::wire::{Frame, Map};

#[path = "stage/mod.rs"]
mod stage;

use stage::{Stage, directory};

const DAY: u64 = 86_400;
/// 2026-11-10.
const TODAY: u64 = 20_767 * DAY;

fn server(directory: Directory, ledger: Ledger) -> Stage<Server> {
    let doors = vec![Door::Tunnel(SocketAddr::from(([127, 0, 0, 1], 9002)), Transport::Tls)];
    let admin = Door::Admin(SocketAddr::from(([127, 0, 0, 1], 9001)), Token("token".to_owned()));
    let doors = doors.into_iter().chain([admin]).collect();
    let config = server::Config { doors, directory, visitors_max: 100, sessions_max: 10 };
    let server = Server::new(config, Entropy::new([1; 32])).with_ledger(ledger);
    let mut stage = Stage::new(server);
    stage.step(Input::Start);
    stage.step(Input::Clock(Clock(TODAY)));
    stage
}

/// A client of license 1 with one mapping, and its port.
fn client(stage: &mut Stage<Server>, mapping: &str) -> (Key, Key) {
    let cmd = stage.log_in(1, 1, 1, 1);
    stage.say(cmd, &Frame::Map(Map { index: 1, mapping }));
    let (listener, address) = *stage.listening.last().unwrap();
    stage.step(Input::Bound(listener, address));
    (cmd, listener)
}

/// Whether a visitor is let in.
fn visits(stage: &mut Stage<Server>, listener: Key) -> bool {
    let key = stage.table.reserve().unwrap();
    stage.step(Input::Accepted { listener, key, peer: ([192, 0, 2, 9], 999).into() });
    !stage.closed.contains(&key)
}

/// What the operator is answered at the port.
fn asked(stage: &mut Stage<Server>, target: &str) -> serde_json::Value {
    let (listener, _) = *stage.listening.iter().find(|(_, address)| address.port() == 9001).unwrap();
    let key = stage.table.reserve().unwrap();
    stage.step(Input::Accepted { listener, key, peer: ([127, 0, 0, 1], 999).into() });
    let request = format!("GET {target} HTTP/1.1\r\nHost: nt\r\nAuthorization: Bearer token\r\n\r\n");
    stage.step(Input::Bytes(key, request.as_bytes()));
    let (_, answer) = stage.sent.iter().rfind(|(to, _)| *to == key).unwrap();
    let answer = String::from_utf8_lossy(answer);
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// The meters of the license, and of its mapping.
fn meters(stage: &Stage<Server>) -> (Key, Key) {
    let of = |inner: bool| *stage.meters.iter().find(|(_, (_, within))| within.is_some() == inner).unwrap().0;
    (of(false), of(true))
}

/// So much passes the meters, which counts with a license as with its mapping, and the server reads them.
fn pass(stage: &mut Stage<Server>, up: u64) {
    let (license, mapping) = meters(stage);
    let traffic = Traffic { down: 0, up };
    stage.passed = vec![(license, traffic), (mapping, traffic)];
    stage.step(Input::Spent(license));
}

fn mark(stage: &Stage<Server>) -> u64 {
    stage.meters[&meters(stage).0].0.mark
}

fn with_quota(beyond: Option<Rates>) -> Directory {
    directory(|entry| entry.quota = Some(Quota { bytes: 1_000, day: 5, beyond }))
}

/// Wakes the server as it asks until its counters may have been kept once more, with a client that is there.
fn a_while(stage: &mut Stage<Server>, cmd: Key) {
    for _ in 0..6 {
        let until = stage.now + Span::from_micros(COUNTERS_KEPT_EVERY.as_micros() / 6);
        while stage.role.deadline() <= until {
            stage.now = stage.role.deadline();
            stage.step(Input::Timeout);
        }
        stage.now = until;
        stage.say(cmd, &Frame::Heartbeat);
    }
}

#[test]
fn what_passed_in_each_minute_is_told_once() {
    let mut stage = server(directory(|_| ()), Ledger::default());
    let (cmd, listener) = client(&mut stage, "8080");
    assert!(visits(&mut stage, listener));
    a_while(&mut stage, cmd);
    for up in [70, 0, 5] {
        pass(&mut stage, up);
        asked(&mut stage, "/api/v1/counters");
        a_while(&mut stage, cmd);
    }
    pass(&mut stage, 9);
    let history = asked(&mut stage, "/api/v1/history");
    assert_eq!(history["up"], serde_json::json!([0, 70, 0, 5]), "the minute that is open is not over");
    assert_eq!(
        (&history["down"], &history["step"]),
        (&serde_json::json!([0, 0, 0, 0]), &serde_json::json!(60))
    );
    let since = stage.now.since(nt::time::Time::default()).as_micros() / 1_000_000;
    assert!(history["time"].as_u64().unwrap() <= TODAY + since, "{history}");
}

#[test]
fn counters_are_kept_once_a_minute_where_something_passed() {
    let mut stage = server(directory(|_| ()), Ledger::default());
    let (cmd, listener) = client(&mut stage, "127.0.0.1:2001:80,rate=7K");
    assert!(visits(&mut stage, listener));
    let (_, mapping) = meters(&stage);
    let rates = Limits { down: Some(7_000), up: Some(7_000), ..Limits::default() };
    assert_eq!(stage.meters[&mapping].0, rates);
    // Which license was proved is kept at once.
    let before = stage.kept.len();
    assert!(stage.kept.last().unwrap().contains("met = "));
    for round in 0..30 {
        pass(&mut stage, 10);
        a_while(&mut stage, cmd);
        assert_eq!(stage.kept.len() - before, round + 1, "once for each minute");
        a_while(&mut stage, cmd);
        assert_eq!(stage.kept.len() - before, round + 1, "nothing has passed");
    }
    let kept = Ledger::parse(stage.kept.last().unwrap()).unwrap();
    let account = kept.get("license1").unwrap();
    assert_eq!(account.total, Traffic { down: 0, up: 300 });
    assert_eq!(account.mappings["127.0.0.1:2001:80"], Traffic { down: 0, up: 300 });
    // And once more at the end.
    pass(&mut stage, 1);
    stage.step(Input::Stop);
    stage.step(Input::Stop);
    let kept = Ledger::parse(stage.kept.last().unwrap()).unwrap();
    assert_eq!(kept.get("license1").unwrap().total.up, 301);
}

#[test]
fn a_quota_is_looked_at_at_four_fifths_and_at_its_end() {
    for beyond in [None, Some(Rates { down: Some(9), up: None })] {
        let mut stage = server(with_quota(beyond), Ledger::default());
        let (_, listener) = client(&mut stage, "127.0.0.1:2001:80");
        assert!(visits(&mut stage, listener));
        assert_eq!(mark(&stage), 800);
        pass(&mut stage, 100);
        assert_eq!(mark(&stage), 800, "it is not set anew for what the driver has counted already");
        assert!(!stage.subjects.contains(&"quota license1".to_owned()));
        pass(&mut stage, 700);
        assert_eq!((mark(&stage), stage.subjects.last().unwrap().as_str()), (200, "quota license1"));
        let closed = stage.closed.len();
        pass(&mut stage, 200);
        match beyond {
            None => {
                assert_eq!(mark(&stage), 0);
                assert_eq!(stage.closed.len(), closed + 1, "who was there is cut");
                assert!(!visits(&mut stage, listener));
            }
            Some(_) => {
                let limits = stage.meters[&meters(&stage).0].0;
                assert_eq!(limits, Limits { down: Some(9), up: None, mark: u64::MAX });
                assert_eq!(stage.closed.len(), closed);
                assert!(visits(&mut stage, listener));
            }
        }
        // On its day, and not before.
        stage.step(Input::Clock(Clock(TODAY + 24 * DAY)));
        assert_eq!(visits(&mut stage, listener), beyond.is_some());
        stage.step(Input::Clock(Clock(TODAY + 25 * DAY)));
        assert!(visits(&mut stage, listener));
        assert_eq!(mark(&stage), 800);
        // A clock that is set back begins no month, nor does one that nobody has set.
        pass(&mut stage, 500);
        for clock in [TODAY, TODAY + 25 * DAY, 0, TODAY + 25 * DAY] {
            stage.step(Input::Clock(Clock(clock)));
        }
        pass(&mut stage, 300);
        assert_eq!(mark(&stage), 200);
    }
}

#[test]
fn what_was_used_is_remembered_and_a_license_that_is_removed_is_not() {
    let mut ledger = Ledger::default();
    let account = ledger.account("license1");
    account.pass(None, Traffic { down: 950, up: 0 });
    account.began = Some(Date::parse("2026-11-05").unwrap());
    let mut stage = server(with_quota(None), ledger);
    let (_, listener) = client(&mut stage, "127.0.0.1:2001:80");
    assert!(visits(&mut stage, listener));
    assert_eq!(mark(&stage), 50);
    // More of it counts at once.
    let more = directory(|entry| entry.quota = Some(Quota { bytes: 10_000, day: 5, beyond: None }));
    stage.step(Input::Licenses(Some(Ok(more))));
    assert_eq!(mark(&stage), 7_050);
    stage.step(Input::Licenses(Some(Ok(Directory::default()))));
    stage.step(Input::Stop);
    stage.step(Input::Stop);
    assert_eq!(Ledger::parse(stage.kept.last().unwrap()).unwrap().get("license1"), None);
}

#[test]
fn a_license_ends_with_its_last_day() {
    let last = |day: &str| {
        let day = Date::parse(day).unwrap();
        directory(|entry: &mut Entry| entry.expires = Some(day))
    };
    let mut stage = server(last("2026-11-10"), Ledger::default());
    let (cmd, listener) = client(&mut stage, "127.0.0.1:2001:80");
    assert!(visits(&mut stage, listener));
    stage.step(Input::Clock(Clock(TODAY + DAY - 1)));
    assert!(visits(&mut stage, listener));
    stage.step(Input::Clock(Clock(TODAY + DAY)));
    assert!(matches!(stage.answer(cmd), Some(Frame::Goodbye { reason: Reason::Expired, .. })));
    assert!(stage.closed.contains(&listener) && stage.closed.contains(&cmd));
    let late = stage.log_in(1, 2, 1, 1);
    assert!(matches!(stage.answer(late), Some(Frame::Reject(reject)) if reject.reason == Reason::Expired));
}
