//! What a bad server, or bad luck, can make of a client: one test each, named for what must not happen.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use nt::client::Client;
use nt::entropy::Entropy;
use nt::license::Transport;
use nt::limits::{
    EXIT_LOOKUPS_MAX, MAPPINGS_MAX, REFUSED_BACKOFF_FIRST, SERVER_MAPPING_BIT, VISIT_TIMEOUT,
    VISITS_COMING_MAX,
};
use nt::mapping::Visiting;
use nt::policy::Allow;
use nt::reason::Reason;
use nt::role::{Input, Keys, Place};
use nt::slots::Key;
use nt::time::Span;
use nt::wire::{Connect, Frame, MAC_BYTES, Map, Reject};

#[path = "stage/mod.rs"]
mod stage;

use stage::{BINDING, Stage, license};

fn client(allow: Allow, mappings: &str) -> (Stage<Client>, Key) {
    Stage::welcomed(&license(1), allow, mappings, 400)
}

fn offer(stage: &mut Stage<Client>, cmd: Key, index: u16, target: &str) {
    stage.say(cmd, &Frame::Map(Map { index: SERVER_MAPPING_BIT | index, mapping: &format!("80:{target}") }));
}

/// `count` ProxyChannels, attached.
fn channels(stage: &mut Stage<Client>, cmd: Key, count: u16) -> Vec<Key> {
    let before = stage.dialed.len();
    stage.say(cmd, &Frame::Open { first: 1, count });
    let keys = stage.dialed[before..].to_vec();
    for &key in &keys {
        stage.step(Input::Secured(key, Some(BINDING)));
    }
    keys
}

fn connect(visit: u64, mapping: u16) -> Frame<'static> {
    Frame::Connect(Connect { visit, mapping, visitor: SocketAddr::from(([192, 0, 2, 9], 999)) })
}

/// A license with as many mappings as may be: every change of the license file offers them all again.
#[test]
fn a_full_list_of_offers_may_be_offered_again() {
    let (mut stage, cmd) = client(Allow::parse("any").expect("a word"), "8080");
    for index in 0..MAPPINGS_MAX as u16 {
        offer(&mut stage, cmd, index, "10.0.0.1:80");
    }
    assert!(!stage.closed.contains(&cmd));
    offer(&mut stage, cmd, 0, "10.0.0.1:80");
    assert!(!stage.closed.contains(&cmd), "the session is broken off, and so is each after it");
}

/// An offer that is changed to something that is not allowed is refused, and not served as before either.
#[test]
fn a_refused_offer_replaces_the_one_before_it() {
    let (mut stage, cmd) = client(Allow::parse("10.0.0.1:80").expect("a word"), "8080");
    let proxies = channels(&mut stage, cmd, 1);
    offer(&mut stage, cmd, 0, "10.0.0.1:80");
    offer(&mut stage, cmd, 0, "10.0.0.2:22");
    let before = stage.dialed.len();
    stage.say(proxies[0], &connect(1, SERVER_MAPPING_BIT));
    assert_eq!(stage.dialed.len(), before, "a mapping that was refused is served");
}

/// Without `--allow` for anything but loopback, a server has no business to learn which names this network
/// knows.
#[test]
fn a_server_cannot_have_a_client_look_up_names_it_may_not_reach() {
    let (mut stage, cmd) = client(Allow::parse("10.0.0.1:80").expect("a word"), "8080");
    let proxies = channels(&mut stage, cmd, 20);
    offer(&mut stage, cmd, 0, "payroll.corp.internal:22");
    for (visit, &proxy) in (1..).zip(&proxies) {
        stage.say(proxy, &connect(visit, SERVER_MAPPING_BIT));
    }
    assert!(stage.resolved.is_empty(), "asked the resolver {} times", stage.resolved.len());
}

/// A ProxyChannel dies on the way back: the client has dialled, the server does not know and repeats the visit
/// on another within 15 s. A busy port has 256 visits in less.
#[test]
fn a_repeated_visit_is_recognised_on_a_busy_port() {
    let (mut stage, cmd) = client(Allow::default(), "8080");
    let proxies = channels(&mut stage, cmd, 300);
    stage.say(proxies[0], &connect(1, 0));
    let dialed = stage.dialed.len();
    stage.step(Input::Dialed(stage.dialed[dialed - 1]));
    stage.step(Input::Lost(proxies[0], Reason::Reset));
    for (visit, &proxy) in (2..258).zip(&proxies[1..]) {
        stage.say(proxy, &connect(visit, 0));
    }
    let dialed = stage.dialed.len();
    stage.say(proxies[299], &connect(1, 0));
    assert_eq!(stage.dialed.len(), dialed, "visit 1 reaches the real server twice");
}

/// A server that offers one name after the other, each of which resolves.
#[test]
fn a_server_cannot_fill_a_client_s_memory_with_names() {
    let (mut stage, cmd) = client(Allow::parse("any").expect("a word"), "8080");
    let proxies = channels(&mut stage, cmd, 300);
    for (n, &proxy) in proxies.iter().enumerate() {
        offer(&mut stage, cmd, 0, &format!("a{n}.example:80"));
        stage.say(proxy, &connect(n as u64, SERVER_MAPPING_BIT));
        let query = *stage.queries.last().expect("a question");
        stage.step(Input::Resolved(query, vec![SocketAddr::from(([192, 0, 2, 80], 80))]));
        stage.say(cmd, &Frame::Heartbeat);
        stage.pass(Span::from_secs(1), 1_000);
    }
    assert_eq!(stage.queries.len(), 300, "each was looked up");
    let known = format!("{:?}", stage.role).matches("Known(").count();
    assert!(known <= 20, "{known} names are remembered");
}

/// Whoever stands where a server stood says no to everybody, without a proof. The other server was never asked.
#[test]
fn a_refusal_without_a_proof_does_not_hold_a_client_to_one_server() {
    let config = nt::client::Config {
        servers: vec![("192.0.2.1".into(), 9002), ("192.0.2.2".into(), 9002)],
        via: None,
        transport: Transport::Tls,
        license: license(1).id(),
        keys: license(1).client_keys(),
        mappings: vec![],
        visits: vec![],
        allow: Allow::default(),
        proxies_max: 4,
        guest: false,
    };
    let mut stage = Stage::new(Client::new(config, Entropy::new([2; 32])));
    stage.step(Input::Start);
    for _ in 0..4 {
        let key = *stage.dialed.last().expect("an attempt");
        stage.step(Input::Secured(key, Some(BINDING)));
        let reject = Reject { reason: Reason::Revoked, retry_millis: u32::MAX, mac: [0; MAC_BYTES] };
        stage.say(key, &Frame::Reject(reject));
        assert_eq!(stage.until_dial(), REFUSED_BACKOFF_FIRST, "the pause does not grow without a proof");
    }
    let asked: Vec<u8> = stage
        .dials
        .iter()
        .map(|(_, place, _)| match place {
            Place::Ip(SocketAddr::V4(address)) => address.ip().octets()[3],
            Place::Ip(_) | Place::Unix(_) | Place::Udp(_) | Place::Files(..) => 0,
        })
        .collect();
    assert_eq!(asked, [1, 2, 1, 2, 1]);
}

/// The log counts what it has said about a subject instead of repeating it. Whoever could invent subjects would write as
/// many lines as it sends frames.
#[test]
fn a_server_cannot_invent_causes_for_the_client_s_log() {
    let (mut stage, cmd) = client(Allow::default(), "8080");
    for n in 0..5_000 {
        offer(&mut stage, cmd, 0, &format!("10.{}.{}.1:80", n / 250, n % 250));
    }
    let subjects: std::collections::BTreeSet<&String> = stage.subjects.iter().collect();
    assert!(subjects.len() < 1_000, "{} lines, each its own cause, from one session", subjects.len());
}

/// Every visitor of an exit wants to go to another name, none of which is found for a while: the client has names of
/// its own to look up.
#[test]
fn visitors_of_an_exit_do_not_use_up_what_is_looked_up_at_once() {
    let (mut stage, cmd) = client(Allow::parse("any").expect("a word"), "1080:socks5");
    let proxies = channels(&mut stage, cmd, 20);
    for (n, &proxy) in proxies.iter().enumerate() {
        stage.say(proxy, &connect(n as u64, 0));
        stage.step(Input::Bytes(proxy, &[5, 1, 0]));
        let name = format!("a{n}.example");
        let words = [&[5, 1, 0, 3, name.len() as u8], name.as_bytes(), &[0, 80]].concat();
        stage.step(Input::Bytes(proxy, &words));
    }
    assert_eq!(stage.resolved.len(), EXIT_LOOKUPS_MAX);
    let ended = |key: &Key| stage.heard(*key).iter().any(|frame| matches!(frame, Frame::Fin));
    assert_eq!(proxies.iter().filter(|key| ended(key)).count(), 20 - EXIT_LOOKUPS_MAX, "the others are told");
}

/// A client that visits a private mapping of another: with its CmdChannel, so many visitors of this machine have come;
/// here are they, and the tunnel connections that are to bring them.
fn visiting(visitors: usize) -> (Stage<Client>, Key, Vec<Key>, Vec<Key>) {
    let mut config = Stage::config(&license(1), Allow::default(), "8080", 400);
    config.visits.push(Visiting::parse("nas/ssh:2222").expect("a place"));
    let (mut stage, cmd) = Stage::enters(&license(1), config);
    let (door, address) = stage.listening[0];
    stage.step(Input::Bound(door, address));
    let before = stage.dialed.len();
    let came = (0..visitors).map(|_| {
        let key = stage.table.reserve().expect("a key");
        stage.step(Input::Accepted { listener: door, key, peer: SocketAddr::from(([127, 0, 0, 1], 999)) });
        key
    });
    let came = came.collect();
    let tunnels = stage.dialed[before..].to_vec();
    (stage, cmd, came, tunnels)
}

#[test]
fn who_visits_by_this_client_waits_its_turn() {
    let (mut stage, _, came, tunnels) = visiting(VISITS_COMING_MAX + 8);
    assert_eq!(tunnels.len(), VISITS_COMING_MAX, "more would crowd out each other as strangers");
    let before = stage.dialed.len();
    stage.step(Input::Secured(tunnels[0], Some(BINDING)));
    assert_eq!(stage.dialed.len(), before + 1, "one has said whom it visits: another may come");
    stage.step(Input::Lost(tunnels[1], Reason::Reset));
    assert_eq!(stage.dialed.len(), before + 2, "one has gone: another may come");
    assert!(stage.closed.contains(&came[1]) && !stage.closed.contains(&came[0]));
}

#[test]
fn a_visit_that_is_not_answered_is_given_up() {
    let (mut stage, cmd, came, tunnels) = visiting(1);
    stage.step(Input::Secured(tunnels[0], Some(BINDING)));
    for _ in 0..VISIT_TIMEOUT.as_micros() / 1_000_000 - 1 {
        stage.say(cmd, &Frame::Heartbeat);
        stage.pass(Span::from_secs(1), 100);
    }
    assert!(!stage.closed.contains(&came[0]), "it is given time");
    stage.say(cmd, &Frame::Heartbeat);
    stage.pass(Span::from_secs(1), 100);
    assert!(stage.closed.contains(&came[0]), "it waits for ever");
}

#[test]
fn a_server_says_once_that_a_visit_has_begun() {
    let (mut stage, _, came, tunnels) = visiting(1);
    stage.step(Input::Secured(tunnels[0], Some(BINDING)));
    stage.say(tunnels[0], &Frame::Connected);
    assert!(!stage.closed.contains(&came[0]));
    stage.say(tunnels[0], &Frame::Connected);
    assert!(stage.closed.contains(&came[0]) && stage.closed.contains(&tunnels[0]));
}
