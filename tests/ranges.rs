//! Ranges of ports: one mapping, one frame, one line in the log, however many ports, and each by itself all the same.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use nt::client::Client;
use nt::directory::{Directory, Entry};
use nt::door::Door;
use nt::entropy::Entropy;
use nt::license::Transport;
use nt::limits::SERVER_MAPPING_BIT;
use nt::policy::{Allow, PortSet};
use nt::reason::Reason;
use nt::role::{Input, Keys, Place};
use nt::server::{self, Server};
use nt::slots::Key;
use nt::time::Span;
use nt::wire::{Attach, Connect, Frame, Map, Mapped, NO_ADDRESS};

#[path = "stage/mod.rs"]
mod stage;

use stage::{BINDING, Stage, license};

fn directory(edit: impl Fn(&mut Entry)) -> Directory {
    stage::directory(|entry| {
        entry.ports = PortSet::parse("1-65535").expect("ports");
        edit(entry);
    })
}

fn server(directory: Directory) -> Stage<Server> {
    let doors = vec![Door::Tunnel(SocketAddr::from(([127, 0, 0, 1], 9002)), Transport::Tls)];
    let config = server::Config { doors, directory, visitors_max: 100, sessions_max: 10 };
    let mut stage = Stage::new(Server::new(config, Entropy::new([1; 32])));
    stage.step(Input::Start);
    stage
}

/// A server with one client, which declares these.
fn declared(directory: Directory, mappings: &[(u16, &str)]) -> (Stage<Server>, Key) {
    let mut stage = server(directory);
    let cmd = stage.log_in(1, 1, 1, mappings.len() as u16);
    for &(index, mapping) in mappings {
        stage.say(cmd, &Frame::Map(Map { index, mapping }));
    }
    (stage, cmd)
}

/// The system binds all ports that are asked for but these, until nothing more is asked for at once; how many it was
/// asked for.
fn bind_all_but(stage: &mut Stage<Server>, taken: &[u16]) -> usize {
    let mut asked = 0;
    while stage.listening.len() > 1 {
        let listening = stage.listening.split_off(1);
        assert!(listening.len() <= 32, "{} ports are bound at once", listening.len());
        asked += listening.len();
        for (key, address) in listening {
            stage.step(match taken.contains(&address.port()) {
                true => Input::BindFailed(key, Reason::InUse),
                false => Input::Bound(key, address),
            });
        }
        stage.pass(Span::from_millis(1), 10);
    }
    asked
}

/// What the client was told of its mappings: the first index, how many, what is wrong, and the first port.
fn told(stage: &Stage<Server>, cmd: Key) -> Vec<(u16, u16, Option<Reason>, u16)> {
    let frames = stage.heard(cmd).into_iter().filter_map(|frame| match frame {
        Frame::Mapped(Mapped { index, count, trouble, public }) => {
            Some((index, count, trouble, public.port()))
        }
        _ => None,
    });
    frames.collect()
}

fn mappings_in_log(subjects: &[String]) -> Vec<&str> {
    subjects.iter().filter_map(|subject| subject.strip_prefix("mapping ")).collect()
}

#[test]
fn a_thousand_ports_are_one_frame_and_one_line() {
    let (mut stage, cmd) = declared(directory(|_| {}), &[(0, "3000-3999:10.0.0.9:7000-7999")]);
    assert_eq!(bind_all_but(&mut stage, &[]), 1000);
    assert_eq!(told(&stage, cmd), [(0, 1000, None, 3000)]);
    assert_eq!(mappings_in_log(&stage.subjects), ["license1 3000-3999"]);
}

#[test]
fn ports_that_are_taken_are_told_apart_and_tried_again_alone() {
    let (mut stage, cmd) = declared(directory(|_| {}), &[(0, "3000-3099:80-179")]);
    assert_eq!(bind_all_but(&mut stage, &[3000, 3050, 3051]), 100);
    let in_use = Some(Reason::InUse);
    let first = [(0, 1, in_use, 3000), (1, 49, None, 3001), (50, 2, in_use, 3050), (52, 48, None, 3052)];
    assert_eq!(told(&stage, cmd), first);
    let lines = ["3000", "3001-3049", "3050-3051", "3052-3099"].map(|ports| format!("license1 {ports}"));
    assert_eq!(mappings_in_log(&stage.subjects), lines);
    // They are still taken: nobody is told again.
    stage.pass(Span::from_secs(6), 10);
    assert_eq!(bind_all_but(&mut stage, &[3000, 3050, 3051]), 3);
    assert_eq!((told(&stage, cmd).len(), mappings_in_log(&stage.subjects).len()), (4, 4));
    stage.pass(Span::from_secs(6), 10);
    assert_eq!(bind_all_but(&mut stage, &[3051]), 3);
    assert_eq!(told(&stage, cmd)[4..], [(0, 1, None, 3000), (50, 1, None, 3050)]);
}

fn visit(stage: &mut Stage<Server>, listener: Key) -> Key {
    let key = stage.table.reserve().expect("a key");
    stage.step(Input::Accepted { listener, key, peer: SocketAddr::from(([192, 0, 2, 9], 999)) });
    key
}

#[test]
fn a_visitor_is_announced_by_the_index_of_its_port() {
    let (mut stage, cmd) = declared(directory(|_| {}), &[(0, "80"), (1, "3000-3009:80-89")]);
    let listeners = stage.listening[1..].to_vec();
    bind_all_but(&mut stage, &[]);
    let at = |port: u16| listeners.iter().find(|(_, address)| address.port() == port).expect("a listener").0;
    visit(&mut stage, at(3004));
    let key = license(1).client_keys().attach_key(Transport::Tls, &BINDING, &stage.session(cmd));
    let channel = stage.stranger(BINDING);
    let mac = key.mac(Transport::Tls, &BINDING, 1);
    stage.say(channel, &Frame::Attach(Attach { session: stage.session(cmd), channel: 1, mac }));
    assert!(matches!(stage.answer(channel), Some(Frame::Connect(Connect { mapping: 5, .. }))));
}

#[test]
fn a_license_counts_every_port() {
    let ten = || directory(|entry| entry.max_mappings = Some(10));
    let (mut stage, cmd) =
        declared(ten(), &[(0, "3000-3010:80-90"), (11, "4000-4008:80-88"), (20, "80"), (21, "81")]);
    assert_eq!(bind_all_but(&mut stage, &[]), 10);
    let too_many = Some(Reason::TooMany);
    let all = [(0, 11, too_many, 3000), (21, 1, too_many, 81), (11, 9, None, 4000), (20, 1, None, 80)];
    let mut told = told(&stage, cmd);
    told.sort_by_key(|&(index, _, trouble, _)| (trouble.is_none(), index));
    assert_eq!(told, all);
}

/// No client of ours does so; whatever one says, an index stands for one thing.
#[test]
fn indexes_that_overlap_belong_to_the_last() {
    let mappings = [(0, "3000-3009:80-89"), (20, "80"), (5, "4000-4001:80-81")];
    let (mut stage, cmd) = declared(directory(|_| {}), &mappings);
    let first: Vec<Key> = stage.listening.iter().map(|(key, _)| *key).collect();
    assert!(first[1..=10].iter().all(|key| stage.closed.contains(key)), "the first range goes");
    bind_all_but(&mut stage, &[]);
    assert_eq!(told(&stage, cmd).last(), Some(&(5, 2, None, 4000)));
    for (index, mapping) in [(SERVER_MAPPING_BIT - 1, "3000-3001"), (SERVER_MAPPING_BIT, "80")] {
        let (stage, cmd) = declared(directory(|_| {}), &[(index, mapping)]);
        assert!(stage.closed.contains(&cmd), "{index}: the indexes above are the server's");
    }
}

#[test]
fn a_license_that_changes_closes_what_it_does_not_permit() {
    let permits = |ports: &str| directory(|entry| entry.ports = PortSet::parse(ports).expect("ports"));
    let (mut stage, cmd) = declared(permits("2000-2002"), &[(0, "2000-2004:80-84")]);
    let listeners: Vec<Key> = stage.listening[1..].iter().map(|(key, _)| *key).collect();
    assert_eq!(bind_all_but(&mut stage, &[]), 3);
    let not_permitted = Some(Reason::NotPermitted);
    assert_eq!(told(&stage, cmd), [(0, 3, None, 2000), (3, 2, not_permitted, 2003)]);
    let waiting: Vec<Key> = listeners.iter().map(|&listener| visit(&mut stage, listener)).collect();
    stage.step(Input::Licenses(Some(Ok(permits("2001-2001")))));
    assert_eq!(
        listeners.iter().map(|key| stage.closed.contains(key)).collect::<Vec<_>>(),
        [true, false, true]
    );
    assert_eq!(waiting.iter().map(|key| stage.closed.contains(key)).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(told(&stage, cmd)[2..], [(0, 1, not_permitted, 2000), (2, 1, not_permitted, 2002)]);
}

/// A range stands in a license that is changed again and again, until all indexes were used once.
#[test]
fn offers_never_run_out_of_indexes() {
    let with = |n: u16| {
        directory(|entry| {
            if entry.name == "license1" {
                entry.add_map(&format!("{n}-{}", n + 999)).expect("a mapping");
            }
        })
    };
    let mut stage = server(with(1));
    let cmd = stage.log_in(1, 1, 1, 0);
    for n in 2..=40 {
        stage.step(Input::Licenses(Some(Ok(with(n)))));
    }
    let offers: Vec<u16> = stage
        .heard(cmd)
        .into_iter()
        .filter_map(|frame| match frame {
            Frame::Map(map) => Some(map.index),
            _ => None,
        })
        .collect();
    assert_eq!(offers.len(), 40);
    assert!(offers.iter().all(|&index| index > SERVER_MAPPING_BIT && index <= u16::MAX - 1000), "{offers:?}");
    assert!(
        offers.windows(2).all(|pair| pair[0].abs_diff(pair[1]) >= 1000),
        "the next is not the one before"
    );
}

/// Offers these to a client that is logged in; the indexes of all offers so far, and their texts.
fn offers(stage: &Stage<Server>, cmd: Key) -> Vec<(u16, String)> {
    let offer = |frame| match frame {
        Frame::Map(Map { index, mapping }) => Some((index, mapping.to_owned())),
        _ => None,
    };
    stage.heard(cmd).into_iter().filter_map(offer).collect()
}

fn with_maps(maps: &[&str]) -> Directory {
    directory(|entry| maps.iter().for_each(|map| entry.add_map(map).expect("a mapping")))
}

fn take(stage: &mut Stage<Server>, cmd: Key, index: u16) {
    stage.say(cmd, &Frame::Mapped(Mapped { index, count: 0, trouble: None, public: NO_ADDRESS }));
}

const OFFER: u16 = SERVER_MAPPING_BIT + 1;

/// A client may say as often as it likes that it takes an offer, or declare one range for another.
#[test]
fn frames_do_not_buy_binds() {
    let mut stage = server(with_maps(&["3000-3999"]));
    let cmd = stage.log_in(1, 1, 1, 64);
    take(&mut stage, cmd, OFFER);
    assert_eq!(bind_all_but(&mut stage, &(3000..=3999).collect::<Vec<_>>()), 1000);
    for _ in 0..64 {
        take(&mut stage, cmd, OFFER);
    }
    assert_eq!(stage.listening.len(), 1, "each is tried again in its time");
    for n in 0..64 {
        stage.say(cmd, &Frame::Map(Map { index: 0, mapping: &format!("{}-{}", 4000 + n, 4020 + n) }));
    }
    assert!(stage.listening.len() <= 33, "{} are bound at once", stage.listening.len() - 1);
}

/// A server so busy that a round takes longer than the pause between two.
#[test]
fn every_port_is_tried_however_slowly() {
    let (mut stage, cmd) = declared(directory(|_| {}), &[(0, "3000-3999:3000-3999")]);
    let mut highest = 0;
    for _ in 0..200 {
        for (key, address) in stage.listening.split_off(1) {
            highest = highest.max(address.port());
            stage.step(Input::BindFailed(key, Reason::InUse));
        }
        stage.now = stage.now + Span::from_millis(100);
        stage.step(Input::Timeout);
    }
    assert_eq!((highest, told(&stage, cmd)), (3999, vec![(0, 1000, Some(Reason::InUse), 3000)]));
}

#[test]
fn a_port_that_comes_up_when_it_is_not_permitted_any_more_goes_again() {
    let permits = |ports: &str| directory(|entry| entry.ports = PortSet::parse(ports).expect("ports"));
    let (mut stage, cmd) = declared(permits("2000-2002"), &[(0, "2000-2002:80-82")]);
    let listeners: Vec<Key> = stage.listening[1..].iter().map(|(key, _)| *key).collect();
    stage.step(Input::Licenses(Some(Ok(permits("2001-2001")))));
    bind_all_but(&mut stage, &[]);
    let no = Some(Reason::NotPermitted);
    assert_eq!(told(&stage, cmd), [(0, 1, no, 2000), (1, 1, None, 2001), (2, 1, no, 2002)]);
    assert_eq!(
        listeners.iter().map(|key| stage.closed.contains(key)).collect::<Vec<_>>(),
        [true, false, true]
    );
}

/// The license file changes while the ports of a range come up.
#[test]
fn what_is_offered_again_meanwhile_is_logged_all_the_same() {
    let mut stage = server(with_maps(&["3000-3099"]));
    let cmd = stage.log_in(1, 1, 1, 0);
    take(&mut stage, cmd, OFFER);
    for (key, address) in stage.listening.split_off(1) {
        stage.step(Input::Bound(key, address));
    }
    stage.step(Input::Licenses(Some(Ok(with_maps(&["3000-3099", "80"])))));
    take(&mut stage, cmd, OFFER);
    stage.pass(Span::from_millis(1), 10);
    bind_all_but(&mut stage, &[]);
    assert_eq!(mappings_in_log(&stage.subjects), ["license1 3000-3099"]);
}

/// Of a license that changes, a client keeps what it was offered last, in whatever order that came.
#[test]
fn an_offer_that_stays_outlives_one_that_is_replaced() {
    let mut stage = server(with_maps(&["80", "3000-3599"]));
    let cmd = stage.log_in(1, 1, 1, 0);
    stage.step(Input::Licenses(Some(Ok(with_maps(&["80", "3000-3599:4000-4599"])))));
    let offers = offers(&stage, cmd);
    let (mut stage, cmd) = client("loopback");
    for (index, mapping) in &offers {
        stage.say(cmd, &Frame::Map(Map { index: *index, mapping }));
    }
    assert_eq!(dialed_for(&mut stage, cmd, OFFER), Some(80));
    let (last, _) = offers.last().expect("an offer");
    let (mut stage, cmd) = client("loopback");
    for (index, mapping) in &offers {
        stage.say(cmd, &Frame::Map(Map { index: *index, mapping }));
    }
    assert_eq!(dialed_for(&mut stage, cmd, *last + 5), Some(4005));
}

// ── The client ──────────────────────────────────────────────────────────────────────────────────────────────────────

fn client(allow: &str) -> (Stage<Client>, Key) {
    Stage::welcomed(&license(1), Allow::parse(allow).expect("a list"), "3000-3099:10.0.0.9:7000-7099", 4)
}

fn say(stage: &mut Stage<Client>, cmd: Key, index: u16, count: u16, trouble: Option<Reason>, port: u16) {
    let public = SocketAddr::from(([0; 16], port));
    stage.say(cmd, &Frame::Mapped(Mapped { index, count, trouble, public }));
}

#[test]
fn a_client_says_once_how_each_part_stands() {
    let (mut stage, cmd) = client("loopback");
    let maps = stage.heard(cmd).into_iter().filter(|frame| matches!(frame, Frame::Map(_)));
    assert_eq!(maps.count(), 1);
    for _ in 0..2 {
        say(&mut stage, cmd, 0, 50, None, 3000);
        say(&mut stage, cmd, 50, 50, Some(Reason::InUse), 3050);
    }
    let parts = ["192.0.2.1:3000-3049", "192.0.2.1:3050-3099"];
    assert_eq!(mappings_in_log(&stage.subjects), parts);
    say(&mut stage, cmd, 50, 50, None, 3050);
    say(&mut stage, cmd, 50, 50, Some(Reason::InUse), 3050);
    assert_eq!(mappings_in_log(&stage.subjects)[2..], [parts[1]; 2], "that it changed is news, too");
    // A server that could not read the mapping cannot count it.
    stage.say(
        cmd,
        &Frame::Mapped(Mapped { index: 0, count: 0, trouble: Some(Reason::NotServed), public: NO_ADDRESS }),
    );
    assert_eq!(mappings_in_log(&stage.subjects).last(), Some(&"192.0.2.1:3000-3099"));
    assert!(!stage.closed.contains(&cmd));
    say(&mut stage, cmd, 50, 51, None, 3050);
    assert!(stage.closed.contains(&cmd), "more ports than there are");
}

/// A client is told again, in other pieces, what it knows.
#[test]
fn what_is_known_is_not_said_again() {
    let (mut stage, cmd) = client("loopback");
    say(&mut stage, cmd, 0, 100, None, 3000);
    say(&mut stage, cmd, 50, 1, Some(Reason::InUse), 3050);
    assert_eq!(mappings_in_log(&stage.subjects).len(), 2);
    for (index, count, trouble) in [(0, 50, None), (50, 1, Some(Reason::InUse)), (51, 49, None)] {
        say(&mut stage, cmd, index, count, trouble, 3000 + index);
    }
    assert_eq!(mappings_in_log(&stage.subjects).len(), 2, "nothing is new");
    say(&mut stage, cmd, 0, 100, None, 3000);
    say(&mut stage, cmd, 20, 30, None, 3020);
    assert_eq!(mappings_in_log(&stage.subjects).len(), 3, "that port 3050 is back");
}

/// The port of the real server that is dialled for a visitor of this index.
fn dialed_for(stage: &mut Stage<Client>, cmd: Key, mapping: u16) -> Option<u16> {
    stage.say(cmd, &Frame::Open { first: 1, count: 1 });
    let channel = *stage.dialed.last().expect("a ProxyChannel");
    stage.step(Input::Secured(channel, Some(BINDING)));
    let (before, visitor) = (stage.dials.len(), SocketAddr::from(([192, 0, 2, 9], 999)));
    stage.say(channel, &Frame::Connect(Connect { visit: 1, mapping, visitor }));
    match stage.dials[before..] {
        [(_, Place::Ip(to), _)] => Some(to.port()),
        _ => None,
    }
}

#[test]
fn a_client_dials_the_target_s_port_that_belongs_to_the_public_one() {
    let (mut stage, cmd) = client("loopback");
    assert_eq!(dialed_for(&mut stage, cmd, 42), Some(7042));
    let (mut stage, cmd) = client("loopback");
    assert_eq!(dialed_for(&mut stage, cmd, 100), None);
}

/// What a client answers to the offer of this mapping.
fn answer(allow: &str, index: u16, mapping: &str) -> Option<(u16, Option<Reason>)> {
    let (mut stage, cmd) = client(allow);
    stage.say(cmd, &Frame::Map(Map { index, mapping }));
    match stage.answer(cmd) {
        Some(Frame::Mapped(mapped)) if mapped.index == index => Some((mapped.count, mapped.trouble)),
        _ => None,
    }
}

#[test]
fn a_range_is_taken_where_all_of_it_is_allowed() {
    let refused = |count| Some((count, Some(Reason::NotAllowed)));
    let first = SERVER_MAPPING_BIT + 1;
    assert_eq!(answer("10.0.0.9:80-89", first, "5000-5009:10.0.0.9:80-89"), Some((10, None)));
    assert_eq!(answer("10.0.0.9:80-88", first, "5000-5009:10.0.0.9:80-89"), refused(10));
    assert_eq!(answer("loopback", first, "5000-5009:nas.lan:80-89"), refused(10));
    assert_eq!(answer("loopback", first, "5000-5009:nonsense"), Some((0, Some(Reason::NotServed))));
    assert_eq!(answer("loopback", u16::MAX, "5000-5009:80-89"), None, "there are no such indexes");
    let client: RangeInclusive<u16> = 0..=99;
    assert!(client.into_iter().all(|index| answer("loopback", index, "5000:80").is_none()));
}
