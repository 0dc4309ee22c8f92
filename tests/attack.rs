//! What bad clients and visitors, or bad luck, can make of a server: one test each, named for what must not happen.

#![allow(clippy::type_complexity, clippy::unwrap_used)]

use std::net::SocketAddr;

use nt::directory::{Directory, Entry};
use nt::door::Door;
use nt::entropy::Entropy;
use nt::license::Transport;
use nt::limits::{ANNOUNCE_TIMEOUT, SERVER_MAPPING_BIT};
use nt::proxy_protocol::Announced;
use nt::reason::Reason;
use nt::role::{Input, Keys, Role};
use nt::server::{self, Server};
use nt::slots::Key;
use nt::time::Span;
use nt::wire::{Attach, Frame, Map, Mapped};

#[path = "stage/mod.rs"]
mod stage;

use stage::{BINDING, Stage, directory, license};

fn server(directory: Directory, visitors_max: usize, sessions_max: usize) -> Stage<Server> {
    let doors = vec![Door::Tunnel(SocketAddr::from(([127, 0, 0, 1], 9002)), Transport::Tls)];
    let config = server::Config { doors, directory, visitors_max, sessions_max };
    let mut stage = Stage::new(Server::new(config, Entropy::new([1; 32])));
    stage.step(Input::Start);
    stage
}

/// Logs in with license `n`; the CmdChannel.
fn log_in(stage: &mut Stage<Server>, n: u8, counter: u64, mappings: u16) -> Key {
    log_in_as(stage, n, n, counter, mappings)
}

/// By another process of the same license, where the instance is another.
fn log_in_as(stage: &mut Stage<Server>, n: u8, instance: u8, counter: u64, mappings: u16) -> Key {
    stage.log_in(n, instance, counter, mappings)
}

fn map(stage: &mut Stage<Server>, cmd: Key, index: u16, port: u16) {
    stage.say(cmd, &Frame::Map(Map { index, mapping: &format!("127.0.0.1:{port}:80") }));
}

/// The listener wished last comes up.
fn bound(stage: &mut Stage<Server>) -> Key {
    let (key, address) = *stage.listening.last().expect("a listener");
    stage.step(Input::Bound(key, address));
    key
}

fn visit(stage: &mut Stage<Server>, listener: Key) -> Key {
    let key = stage.table.reserve().expect("a key");
    let peer = SocketAddr::from(([192, 0, 2, 9], 999));
    stage.step(Input::Accepted { listener, key, peer });
    key
}

/// Brings every ProxyChannel that was ordered on `cmd` and did not come yet.
fn attach_all(stage: &mut Stage<Server>, n: u8, cmd: Key, from: &mut u64) -> Vec<Key> {
    let (mut id, mut last) = ([0; 16], 0);
    for frame in stage.heard(cmd) {
        match frame {
            Frame::Welcome(welcome) => id = welcome.session,
            Frame::Open { first, count } => last = first + u64::from(count) - 1,
            _ => {}
        }
    }
    let key = license(n).client_keys().attach_key(Transport::Tls, &BINDING, &id);
    let mut keys = Vec::new();
    while *from < last {
        *from += 1;
        let channel = stage.stranger(BINDING);
        let mac = key.mac(Transport::Tls, &BINDING, *from);
        stage.say(channel, &Frame::Attach(Attach { session: id, channel: *from, mac }));
        keys.push(channel);
    }
    keys
}

/// Two mappings that the license does not permit are tried again every 5 s. Each try of all of them leaves
/// one reminder a mapping, and each reminder tries all: 2, 4, 8 … after 100 s a million.
#[test]
fn mappings_that_are_not_permitted_do_not_multiply_reminders() {
    let mut stage = server(directory(|_| {}), 10, 10);
    let cmd = log_in(&mut stage, 1, 1, 2);
    map(&mut stage, cmd, 0, 80);
    map(&mut stage, cmd, 1, 81);
    for _ in 0..11 {
        stage.say(cmd, &Frame::Heartbeat);
        stage.pass(Span::from_secs(5), 10_000);
    }
    let reminders = format!("{:?}", stage.role).matches("Bind(#").count();
    assert!(reminders <= 4, "{reminders} reminders to bind two mappings after 55 s");
}

/// As above where the system says no: mappings declared at different moments are each tried again at every
/// one of these moments.
#[test]
fn mappings_in_use_are_tried_once_in_five_seconds_each() {
    let mut stage = server(directory(|_| {}), 10, 10);
    let cmd = log_in(&mut stage, 1, 1, 50);
    let refuse_all = |stage: &mut Stage<Server>| {
        for (key, _) in stage.listening.split_off(1) {
            stage.step(Input::BindFailed(key, Reason::InUse));
        }
    };
    for index in 0..50 {
        map(&mut stage, cmd, index, 2000 + index);
        refuse_all(&mut stage);
        stage.now = stage.now + Span::from_millis(20);
    }
    stage.say(cmd, &Frame::Heartbeat);
    let until = stage.now + Span::from_secs(5);
    let mut tries = 0;
    while stage.role.deadline() <= until {
        stage.now = stage.role.deadline();
        stage.step(Input::Timeout);
        tries += stage.listening.len() - 1;
        refuse_all(&mut stage);
    }
    assert!(tries <= 100, "50 mappings were tried {tries} times in 5 s");
}

/// A client that loses its CmdChannel and resumes leaves a chain of pulses behind each time, for the life of
/// its session.
#[test]
fn resuming_a_session_does_not_add_a_pulse() {
    let mut stage = server(directory(|_| {}), 10, 10);
    let mut cmd = log_in(&mut stage, 1, 1, 0);
    for counter in 2..102 {
        stage.step(Input::Lost(cmd, Reason::Reset));
        cmd = log_in(&mut stage, 1, counter, 0);
    }
    for _ in 0..24 {
        stage.say(cmd, &Frame::Heartbeat);
        stage.pass(Span::from_secs(5), 10_000);
    }
    assert_eq!(stage.role.counts().0, 1);
    let pulses = format!("{:?}", stage.role).matches("Pulse(#").count();
    assert!(pulses <= 2, "{pulses} pulses of one session, two minutes later");
}

/// Whose session stands in the full table is no newcomer.
#[test]
fn a_full_table_of_sessions_does_not_refuse_those_who_are_in_it() {
    let mut stage = server(directory(|_| {}), 10, 1);
    let cmd = log_in(&mut stage, 1, 1, 0);
    stage.step(Input::Lost(cmd, Reason::Reset));
    let cmd = log_in(&mut stage, 1, 2, 0);
    let first = stage.heard(cmd).into_iter().next();
    assert!(matches!(first, Some(Frame::Welcome(welcome)) if welcome.resumed), "{first:?}");
}

/// A license that may have one visitor at once takes every ProxyChannel there is: each visit that is cut
/// leaves one draining for 10 s, and nobody counts it.
#[test]
fn one_license_s_drained_channels_do_not_starve_another_license() {
    let directory = directory(|entry| entry.max_visitors = Some(1));
    let mut stage = server(directory, 100, 10);
    let (bad, mut bad_last) = (log_in(&mut stage, 1, 1, 1), 0);
    map(&mut stage, bad, 0, 2001);
    let port = bound(&mut stage);
    for _ in 0..600 {
        attach_all(&mut stage, 1, bad, &mut bad_last);
        let visitor = visit(&mut stage, port);
        stage.step(Input::Lost(visitor, Reason::Reset));
    }
    assert_eq!(stage.role.counts().1, 0, "no visitor is there");
    let (good, mut good_last) = (log_in(&mut stage, 2, 1, 1), 0);
    map(&mut stage, good, 0, 2002);
    let port = bound(&mut stage);
    visit(&mut stage, port);
    let channels = attach_all(&mut stage, 2, good, &mut good_last);
    let (_, _, proxies) = stage.role.counts();
    assert!(!channels.is_empty(), "nothing is ordered for the other license: {proxies} are taken");
}

/// What other sessions have ordered is on its way too. Together they bring more than was planned for, and
/// these stand where logins would.
#[test]
fn orders_of_all_sessions_together_keep_within_the_plan() {
    let mut stage = server(directory(|_| {}), 16, 20);
    let planned = 16 + nt::limits::POOL_MAX;
    let mut clients = Vec::new();
    // Each has had its rush, so that 64 are to be kept spare.
    for n in 1..=8 {
        let cmd = log_in(&mut stage, n, 1, 1);
        map(&mut stage, cmd, 0, 2000 + u16::from(n));
        let port = bound(&mut stage);
        for _ in 0..6 {
            let visitor = visit(&mut stage, port);
            stage.step(Input::Lost(visitor, Reason::Reset));
        }
        clients.push((n, cmd));
    }
    let mut came = 0;
    for (n, cmd) in clients {
        came += attach_all(&mut stage, n, cmd, &mut 0).len();
    }
    assert!(
        stage.role.counts().2 <= planned,
        "{} ProxyChannels of {planned}, {came} came",
        stage.role.counts().2
    );
}

/// Whoever had a rush keeps ProxyChannels spare. All that there are, perhaps; and another license's visitor waits.
#[test]
fn channels_that_others_keep_spare_do_not_starve_a_visitor() {
    let mut stage = server(directory(|entry| entry.max_visitors = Some(1)), 4, 10);
    for n in 1..=2 {
        let (cmd, mut last) = (log_in(&mut stage, n, 1, 1), 0);
        map(&mut stage, cmd, 0, 2000 + u16::from(n));
        let port = bound(&mut stage);
        for _ in 0..6 {
            let visitor = visit(&mut stage, port);
            stage.step(Input::Lost(visitor, Reason::Reset));
        }
        attach_all(&mut stage, n, cmd, &mut last);
    }
    let planned = 4 + nt::limits::POOL_MAX;
    assert_eq!(
        stage.role.counts(),
        (2, 0, planned),
        "two sessions keep all that were planned, and nobody visits"
    );
    let (cmd, mut last) = (log_in(&mut stage, 3, 1, 1), 0);
    map(&mut stage, cmd, 0, 2003);
    let port = bound(&mut stage);
    visit(&mut stage, port);
    assert!(
        !attach_all(&mut stage, 3, cmd, &mut last).is_empty(),
        "nothing is ordered for a visitor who waits"
    );
    assert!(stage.role.counts().2 <= planned, "{:?}", stage.role.counts());
}

/// Listeners take open files that visitors and tunnel connections were promised.
#[test]
fn mappings_take_no_more_files_than_are_there_for_them() {
    let doors = vec![Door::Tunnel(SocketAddr::from(([127, 0, 0, 1], 9002)), Transport::Tls)];
    let config = server::Config { doors, directory: directory(|_| {}), visitors_max: 10, sessions_max: 10 };
    let mut stage = Stage::new(Server::new(config, Entropy::new([1; 32])).within(3));
    stage.step(Input::Start);
    let cmd = log_in(&mut stage, 1, 1, 5);
    for index in 0..5 {
        map(&mut stage, cmd, index, 2000 + index);
    }
    assert_eq!(stage.listening.len(), 1 + 3);
    let refused = stage
        .heard(cmd)
        .into_iter()
        .filter(|frame| matches!(frame, Frame::Mapped(Mapped { trouble: Some(Reason::TooMany), .. })));
    assert_eq!(refused.count(), 2, "and the client is told");
}

/// Strangers who have come through TLS fill the place, and more of them come, one after the other. A client needs
/// a moment to come through TLS as well.
#[test]
fn a_newcomer_has_the_time_that_tls_takes_among_strangers_who_have_done_it() {
    let mut stage = server(directory(|_| {}), 10, 10);
    let listener = stage.listening[0].0;
    let mut came = 0_u16;
    let mut come = |stage: &mut Stage<Server>| {
        let key = stage.table.reserve().expect("a key");
        came += 1;
        // No two are of one address, and none of the client's.
        let peer = SocketAddr::from(([198, 51, (came >> 8) as u8, came as u8], 1));
        stage.step(Input::Accepted { listener, key, peer });
        key
    };
    for _ in 0..nt::limits::STRANGERS_MAX {
        let key = come(&mut stage);
        stage.step(Input::Secured(key, Some([7; 32])));
    }
    let newcomer = stage.table.reserve().expect("a key");
    let peer = SocketAddr::from(([192, 0, 2, 1], 1));
    stage.step(Input::Accepted { listener, key: newcomer, peer });
    for _ in 0..nt::limits::STRANGERS_MAX / 4 {
        come(&mut stage);
    }
    assert!(!stage.closed.contains(&newcomer), "it was closed for strangers who came after it");
}

/// The place of a mapping in the license is not what a visitor came for.
#[test]
fn a_visitor_who_waits_does_not_get_another_mapping_s_service() {
    let entry = |maps: &[&str]| {
        let mut directory = Directory::default();
        let mut entry = Entry::new("license1", &license(1)).expect("a name");
        for map in maps {
            entry.add_map(map).expect("a mapping");
        }
        directory.add(entry).expect("a new name");
        directory
    };
    let mut stage = server(entry(&["2001:10.0.0.1:80", "2002:10.0.0.2:22"]), 10, 10);
    let cmd = log_in(&mut stage, 1, 1, 0);
    let take = |stage: &mut Stage<Server>, index: u16| {
        let public = SocketAddr::from(([0; 16], 0));
        stage.say(cmd, &Frame::Mapped(Mapped { index, count: 1, trouble: None, public }));
    };
    take(&mut stage, SERVER_MAPPING_BIT);
    let web = bound(&mut stage);
    let visitor = visit(&mut stage, web);
    // The first mapping is taken out of the license while its visitor waits; the second moves up.
    stage.step(Input::Licenses(Some(Ok(entry(&["2002:10.0.0.2:22"])))));
    take(&mut stage, SERVER_MAPPING_BIT);
    bound(&mut stage);
    let channels = attach_all(&mut stage, 1, cmd, &mut 0);
    for channel in channels {
        for frame in stage.heard(channel) {
            let Frame::Connect(connect) = frame else { continue };
            assert!(
                stage.closed.contains(&visitor),
                "a visitor of 2001 is sent to 2002's service: {connect:?}"
            );
        }
    }
}

/// A front is nobody's visitor before it has said whose: it must not wait for ever, nor outlive whom it came to.
#[test]
fn a_front_has_its_time_and_no_more() {
    let mut stage = server(directory(|_| {}), 10, 10);
    let cmd = log_in(&mut stage, 1, 1, 1);
    let mapping = "127.0.0.1:2000:80,accept-proxy=192.0.2.0/24";
    stage.say(cmd, &Frame::Map(Map { index: 0, mapping }));
    let listener = bound(&mut stage);
    let [silent, good, late] = [(); 3].map(|()| visit(&mut stage, listener));
    let visitor = SocketAddr::from(([203, 0, 113, 5], 5));
    stage.step(Input::Announced(good, Announced::Visitor { from: visitor, to: visitor }));
    assert_eq!(stage.role.counts().1, 3, "fronts count, and once");
    stage.pass(ANNOUNCE_TIMEOUT, 100);
    assert!(stage.closed.contains(&silent) && stage.closed.contains(&late) && !stage.closed.contains(&good));
    // What the driver had told already when it was closed.
    stage.step(Input::Announced(late, Announced::Itself));
    assert_eq!(stage.role.counts().1, 1);
    let last = visit(&mut stage, listener);
    stage.say(cmd, &Frame::Goodbye { reason: Reason::Stopping, retry_millis: 0 });
    stage.pass(Span::from_secs(60), 100);
    assert!(stage.closed.contains(&last));
    assert_eq!(stage.role.counts(), (0, 0, 0));
}

/// Who connects and says nothing is let wait for its header; as many as the license has visitors, and no more.
#[test]
fn fronts_are_visitors_as_far_as_numbers_go() {
    let mut stage = server(directory(|entry| entry.max_visitors = Some(2)), 10, 10);
    let cmd = log_in(&mut stage, 1, 1, 1);
    let mapping = "127.0.0.1:2000:80,accept-proxy=192.0.2.0/24";
    stage.say(cmd, &Frame::Map(Map { index: 0, mapping }));
    let listener = bound(&mut stage);
    let fronts: Vec<Key> = (0..50).map(|_| visit(&mut stage, listener)).collect();
    assert_eq!(fronts.iter().filter(|front| !stage.closed.contains(front)).count(), 2);
    stage.step(Input::Stop);
    stage.step(Input::Announced(fronts[0], Announced::Itself));
    assert!(stage.closed.contains(&fronts[0]), "a visitor that came after all was to end");
}

/// A mapping that tells its real server who visits puts that before what the visitor says. Who came before it did must
/// not be served by it: the visitor's own words would be believed.
#[test]
fn who_waits_is_served_by_the_very_same_mapping_alone() {
    for (old, new, same) in [
        ("2000:80", "2000:80", true),
        ("2000:80", "2000:80,proxy=v1", false),
        ("2000:80,proxy=v1", "2000:80", false),
        ("0:80", "0:22", false),
    ] {
        // The same process comes back, or another is started in its place.
        for instance in [1, 9] {
            let mut stage = server(directory(|_| {}), 10, 10);
            let cmd = log_in(&mut stage, 1, 1, 1);
            stage.say(cmd, &Frame::Map(Map { index: 0, mapping: old }));
            let listener = bound(&mut stage);
            visit(&mut stage, listener);
            let cmd = log_in_as(&mut stage, 1, instance, 2, 1);
            stage.say(cmd, &Frame::Map(Map { index: 0, mapping: new }));
            bound(&mut stage);
            let channels = attach_all(&mut stage, 1, cmd, &mut 0);
            let asked = channels.iter().flat_map(|&channel| stage.heard(channel));
            let asked = asked.filter(|frame| matches!(frame, Frame::Connect(_))).count();
            assert_eq!(asked, usize::from(same), "{old}, then {new}, instance {instance}");
        }
    }
}

/// A datagram costs nobody an answered packet: who sends one waits behind whoever has a connection, though he came first.
#[test]
fn a_visitor_does_not_queue_behind_flows() {
    let mut stage = server(directory(|_| {}), 100, 10);
    let cmd = log_in(&mut stage, 1, 1, 2);
    let listeners = ["2000:80/udp", "2001:80"].map(|mapping| {
        let index = u16::from(mapping == "2001:80");
        stage.say(cmd, &Frame::Map(Map { index, mapping }));
        bound(&mut stage)
    });
    for listener in [0, 0, 0, 1, 0] {
        visit(&mut stage, listeners[listener]);
    }
    let channels = attach_all(&mut stage, 1, cmd, &mut 0);
    let asked = |channel: &Key| match stage.heard(*channel)[..] {
        [Frame::Connect(connect), ..] => Some(connect.mapping),
        _ => None,
    };
    let order: Vec<u16> = channels.iter().filter_map(asked).collect();
    assert_eq!(order[..2], [1, 0], "of {order:?}");
}

/// What a client is told of its mappings waits until what was told has left, however long that takes.
#[test]
fn many_long_offers_fit_behind_each_other() {
    let nets: Vec<String> = (0..32).map(|n| format!("2001:db8:0:{n:x}::/64")).collect();
    let options = format!(",accept-proxy={}", nets.join("+"));
    let text = |n: u16| format!("{n}:{n}{options}");
    let maps = (3000..3200).map(|n| nt::mapping::parse(&text(n)).expect("a good mapping"));
    let maps: Vec<_> = maps.collect();
    let mut stage = server(directory(|entry| entry.maps = maps.clone()), 10, 10);
    let cmd = log_in(&mut stage, 1, 1, 0);
    let told = |stage: &Stage<Server>| stage.heard(cmd).iter().filter(|f| matches!(f, Frame::Map(_))).count();
    assert_eq!(told(&stage), 200, "all of them, once each batch has left");
    let frames = stage.sent.iter().filter(|(to, _)| *to == cmd).map(|(_, bytes)| bytes.len());
    let batches: Vec<usize> = frames.collect::<Vec<_>>().chunks(16).map(|batch| batch.iter().sum()).collect();
    assert!(batches.iter().all(|&bytes| bytes < 18_000), "{batches:?}");
}

/// The log counts what it has said about a subject instead of repeating it. Whoever could invent subjects would
/// write as many lines as it sends frames.
#[test]
fn a_client_cannot_invent_causes_for_the_server_s_log() {
    let mut stage = server(directory(|_| {}), 10, 10);
    let cmd = log_in(&mut stage, 1, 1, 5_000);
    for n in 0..5_000_u32 {
        for public in [80, 81 + n % 900] {
            let mapping = format!("127.0.0.1:{public}:a{n}.example:80");
            stage.say(cmd, &Frame::Map(Map { index: (n % 2) as u16, mapping: &mapping }));
        }
        // And what this version does not read.
        stage.say(cmd, &Frame::Map(Map { index: 2, mapping: &format!("{n}:unheard of") }));
    }
    let subjects: std::collections::BTreeSet<&String> = stage.subjects.iter().collect();
    assert!(subjects.len() < 1_000, "{} lines, each its own cause, from one login", subjects.len());
}
