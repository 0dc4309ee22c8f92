//! What bad visitors of names, bad clients or bad luck can make of a server: one test each, named for what must not happen.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use nt::directory::{Directory, Entry};
use nt::door::Door;
use nt::entropy::Entropy;
use nt::http::Scheme;
use nt::license::Transport;
use nt::limits::ANNOUNCE_TIMEOUT;
use nt::policy::HostSet;
use nt::proxy_protocol::Announced;
use nt::reason::Reason;
use nt::role::{Greeting, Input, Keys};
use nt::server::{self, Server};
use nt::slots::Key;
use nt::time::Span;
use nt::wire::{Frame, Map, Mapped};

#[path = "stage/mod.rs"]
mod stage;

use stage::Stage;

/// Nine licenses that may publish every name.
fn directory() -> Directory {
    stage::directory(|entry: &mut Entry| {
        entry.hosts = HostSet::from_names(["*.ex.test"]).expect("a good name");
    })
}

/// A server with a door for clients, and one for each of these schemes.
fn server(schemes: &[Scheme], visitors_max: usize) -> Stage<Server> {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let names = schemes
        .iter()
        .map(|&scheme| Door::Names(local(if scheme == Scheme::Http { 80 } else { 443 }), scheme));
    let doors = [Door::Tunnel(local(9002), Transport::Tls)].into_iter().chain(names).collect();
    let config = server::Config { doors, directory: directory(), visitors_max, sessions_max: 10 };
    let server = Server::new(config, Entropy::new([1; 32]));
    let mut stage = Stage::new(server);
    stage.step(Input::Start);
    for (key, address) in stage.listening.clone() {
        stage.step(Input::Bound(key, address));
    }
    stage
}

const BOTH: [Scheme; 2] = [Scheme::Http, Scheme::Https];

/// Somebody comes to a listener.
fn visit(stage: &mut Stage<Server>, listener: Key) -> Key {
    let key = stage.table.reserve().expect("a key");
    let peer = SocketAddr::from(([192, 0, 2, 9], 999));
    stage.step(Input::Accepted { listener, key, peer });
    key
}

/// Logs in with license `n`; the CmdChannel.
fn log_in(stage: &mut Stage<Server>, n: u8, counter: u64, mappings: u16) -> Key {
    stage.log_in(n, n, counter, mappings)
}

/// Declares a mapping; its listener, which comes up, if it has one of its own.
fn map(stage: &mut Stage<Server>, cmd: Key, index: u16, mapping: &str) -> Option<Key> {
    let listeners = stage.listening.len();
    stage.say(cmd, &Frame::Map(Map { index, mapping }));
    let &(key, address) = stage.listening.get(listeners)?;
    stage.step(Input::Bound(key, address));
    Some(key)
}

/// What a client was told of a mapping last.
fn told(stage: &Stage<Server>, cmd: Key, index: u16) -> Option<Result<(), Reason>> {
    let heard = stage.heard(cmd).into_iter().rev();
    let mut mapped = heard.filter_map(|frame| match frame {
        Frame::Mapped(mapped @ Mapped { index: other, .. }) if other == index => Some(mapped.trouble),
        _ => None,
    });
    mapped.next().map(|trouble| trouble.map_or(Ok(()), Err))
}

/// Where a connection leads depends on what its mapping was when it came. A front that came to a port of bytes would
/// bring a visitor who speaks HTTP or TLS on a connection that was made for neither.
#[test]
fn a_front_does_not_outlive_the_mapping_that_it_came_to() {
    let front = ",accept-proxy=192.0.2.0/24";
    for old in ["2000:80", "2000:80/http", "2000:80/https"] {
        for new in [
            "2000:80",
            "2001:80",
            "2000:80/http",
            "2000:80/https",
            "a.ex.test:80/tls",
            "2001:80/http",
            "a.ex.test:80",
        ] {
            let mut stage = server(&BOTH, 10);
            let cmd = log_in(&mut stage, 1, 1, 1);
            let listener = map(&mut stage, cmd, 0, &format!("{old}{front}")).expect("a listener");
            let [waiting, speaking] = [(); 2].map(|()| visit(&mut stage, listener));
            assert!(!stage.closed.contains(&waiting), "{old}");
            // The same process comes back, and means something else by the same number.
            stage.step(Input::Lost(cmd, Reason::Reset));
            let cmd = log_in(&mut stage, 1, 2, 1);
            map(&mut stage, cmd, 0, new);
            for front in [waiting, speaking] {
                assert!(stage.closed.contains(&front), "{old}, then {new}: it is still waited for");
            }
            // What was read of it already means nothing.
            let visitor = SocketAddr::from(([203, 0, 113, 5], 5));
            stage.step(Input::Announced(speaking, Announced::Visitor { from: visitor, to: visitor }));
            assert_eq!(stage.role.counts().1, 0, "{old}, then {new}");
            stage.pass(ANNOUNCE_TIMEOUT, 100);
            assert_eq!(stage.role.counts().1, 0, "{old}, then {new}");
        }
    }
}

/// The same of who has come to a port to speak TLS, and has not said a word.
#[test]
fn a_greeter_does_not_outlive_the_mapping_that_it_came_to() {
    for new in ["2000:80", "2000:80/http", "a.ex.test:80/tls", "2001:80/https", "a.ex.test:80/https"] {
        let mut stage = server(&BOTH, 10);
        let cmd = log_in(&mut stage, 1, 1, 1);
        let listener = map(&mut stage, cmd, 0, "2000:80/https").expect("a listener");
        let greeter = visit(&mut stage, listener);
        assert!(!stage.closed.contains(&greeter));
        let cmd = log_in(&mut stage, 1, 2, 1);
        map(&mut stage, cmd, 0, new);
        assert!(stage.closed.contains(&greeter), "{new}");
        let greeting = Greeting { name: Some("a.ex.test".into()), speaks_nt: false };
        stage.step(Input::Greeted(greeter, greeting));
        assert_eq!(stage.role.counts().1, 0, "{new}");
    }
}

/// Whoever holds many connections open, and asks for nothing, is in nobody's way; whoever comes is not sent away in its
/// place.
#[test]
fn who_asks_for_nothing_the_longest_gives_way_and_not_the_newcomer() {
    for scheme in BOTH {
        let mut stage = server(&BOTH, 16);
        let doors = stage.listening.clone();
        let door = doors[1 + usize::from(scheme == Scheme::Https)].0;
        let come = |stage: &mut Stage<Server>| {
            stage.now = stage.now + Span::from_millis(10);
            visit(stage, door)
        };
        let mut idle: Vec<Key> = (0..14).map(|_| come(&mut stage)).collect();
        assert_eq!(stage.closed, [], "{scheme:?}: there is room");
        for n in 0..20 {
            let newcomer = come(&mut stage);
            assert_eq!(stage.closed[n..], [idle.remove(0)], "{scheme:?}: newcomer {n}");
            idle.push(newcomer);
        }
        assert_eq!(stage.role.counts().1, 14, "{scheme:?}");
    }
}

/// Whoever serves a part of a name is trusted with all that visitors say to it: their cookies, their passwords.
#[test]
fn a_license_does_not_take_a_path_of_another_one_s_name() {
    for (mine, theirs) in [
        ("blog.ex.test:80", "blog.ex.test/login:81"),
        ("blog.ex.test/x:80", "blog.ex.test:81"),
        ("blog.ex.test/x:80", "blog.ex.test/y:81"),
        ("blog.ex.test:80/https", "blog.ex.test/login:81/https"),
        ("blog.ex.test:80/tls", "blog.ex.test/login:81/https"),
    ] {
        let mut stage = server(&BOTH, 10);
        let first = log_in(&mut stage, 1, 1, 2);
        map(&mut stage, first, 0, mine);
        assert_eq!(told(&stage, first, 0), Some(Ok(())), "{mine}");
        let second = log_in(&mut stage, 2, 1, 1);
        map(&mut stage, second, 0, theirs);
        assert_eq!(told(&stage, second, 0), Some(Err(Reason::NameTaken)), "{theirs} beside {mine}");
        // Its own license may, unless all of it goes to one place.
        map(&mut stage, first, 1, theirs);
        let whole = mine.ends_with("/tls");
        assert_eq!(told(&stage, first, 1).map(|told| told.is_ok()), Some(!whole), "{theirs} beside {mine}");
    }
    // What both licenses were given by that very name, they share.
    let mut stage = server(&BOTH, 10);
    for (license, mapping) in [(1, "*.ex.test:80"), (2, "*.ex.test/login:81")] {
        let client = log_in(&mut stage, license, 1, 1);
        map(&mut stage, client, 0, mapping);
        assert_eq!(told(&stage, client, 0), Some(Ok(())), "{mapping}");
    }
}

/// "Ready" is said of what visitors can come to.
#[test]
fn nobody_is_ready_for_http_where_none_is_spoken() {
    for (schemes, mapping, ready) in [
        (&[][..], "2000:80/http", false),
        (&[], "2000:80/https", false),
        (&[], "2000:80", true),
        (&[Scheme::Http], "2000:80/http", true),
        (&[Scheme::Http], "2000:80/https", false),
        (&[Scheme::Https], "2000:80/http", false),
        (&BOTH, "2000:80/https", true),
    ] {
        let mut stage = server(schemes, 10);
        let cmd = log_in(&mut stage, 1, 1, 1);
        map(&mut stage, cmd, 0, mapping);
        let expected = if ready { Ok(()) } else { Err(Reason::NoDoor) };
        assert_eq!(told(&stage, cmd, 0), Some(expected), "{mapping} where {schemes:?} is served");
    }
}
