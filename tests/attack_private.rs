//! What bad clients can make of private mappings, their own and others': one test each, named for what must not happen.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use nt::door::Door;
use nt::entropy::Entropy;
use nt::license::Transport;
use nt::policy::VisitSet;
use nt::reason::Reason;
use nt::role::{Input, Role};
use nt::server::{self, Server};
use nt::slots::Key;
use nt::wire::{Attach, Frame, Map, Visit};

#[path = "stage/mod.rs"]
mod stage;

use stage::{BINDING, Stage, directory, license};

/// A server whose license 1 has a private mapping, and license 2 may visit it; both are logged in, and here are their
/// CmdChannels.
fn server() -> (Stage<Server>, Key, Key) {
    let directory = directory(|entry| {
        if entry.name == "license2" {
            entry.visits = VisitSet::parse("license1/box,license1/nobody,license9/box").unwrap();
        }
    });
    let doors = vec![Door::Tunnel(SocketAddr::from(([127, 0, 0, 1], 9002)), Transport::Tls)];
    let config = server::Config { doors, directory, visitors_max: 10, sessions_max: 10 };
    let mut stage = Stage::new(Server::new(config, Entropy::new([1; 32])));
    stage.step(Input::Start);
    let owner = stage.log_in(1, 1, 1, 1);
    stage.say(owner, &Frame::Map(Map { index: 0, mapping: "box:22/private" }));
    let visitor = stage.log_in(2, 2, 1, 0);
    (stage, owner, visitor)
}

/// What license `n` says to visit `name`, in this session, on a connection of this binding.
fn words<'a>(n: u8, session: [u8; 16], name: &'a str, binding: &[u8; 32]) -> Visit<'a> {
    let attach = license(n).client_keys().attach_key(Transport::Tls, &BINDING, &session);
    Visit { session, visit: 1, name, mac: attach.mac_visit(Transport::Tls, binding, 1, name) }
}

/// What came of it: closed without a word, refused for a reason, or neither.
fn outcome(stage: &Stage<Server>, key: Key) -> Option<Option<Reason>> {
    let refused = stage.heard(key).into_iter().find_map(|frame| match frame {
        Frame::Disconnect { reason, .. } => Some(reason),
        _ => None,
    });
    stage.closed.contains(&key).then_some(refused)
}

#[test]
fn nobody_visits_without_a_proof_of_this_very_connection() {
    let (mut stage, owner, visitor) = server();
    let session = stage.session(visitor);
    let good = words(2, session, "license1/box", &[3; 32]);
    // By another license; in another's session; on another connection; under another name or number.
    let others = [
        words(1, session, "license1/box", &[3; 32]),
        Visit { session: stage.session(owner), ..good },
        words(2, session, "license1/box", &BINDING),
        Visit { name: "license9/box", ..good },
        Visit { visit: 2, ..good },
        Visit { session: [0; 16], ..good },
    ];
    for bad in others {
        let key = stage.stranger([3; 32]);
        stage.say(key, &Frame::Visit(bad));
        assert_eq!(outcome(&stage, key), Some(None), "{bad:?}");
    }
    for bit in 0..good.mac.len() * 8 {
        let mut bad = good;
        bad.mac[bit / 8] ^= 1 << (bit % 8);
        let key = stage.stranger([3; 32]);
        stage.say(key, &Frame::Visit(bad));
        assert_eq!(outcome(&stage, key), Some(None), "bit {bit}");
    }
    // A proof for a ProxyChannel is none for a visit, and the other way round.
    let attach = license(2).client_keys().attach_key(Transport::Tls, &BINDING, &session);
    let key = stage.stranger([3; 32]);
    stage.say(key, &Frame::Visit(Visit { mac: attach.mac(Transport::Tls, &[3; 32], 1), ..good }));
    assert_eq!(outcome(&stage, key), Some(None));
    let key = stage.stranger([3; 32]);
    stage.say(key, &Frame::Attach(Attach { session, channel: 1, mac: good.mac }));
    assert_eq!(outcome(&stage, key), Some(None));

    let key = stage.stranger([3; 32]);
    stage.say(key, &Frame::Visit(good));
    assert_eq!((outcome(&stage, key), stage.role.counts().1), (None, 1), "the good one waits");
}

#[test]
fn a_visitor_learns_nothing_of_what_it_may_not_visit() {
    let (mut stage, owner, visitor) = server();
    let mut asks = |n: u8, cmd: Key, name: &str| {
        let key = stage.stranger([3; 32]);
        stage.say(key, &Frame::Visit(words(n, stage.session(cmd), name, &[3; 32])));
        outcome(&stage, key)
    };
    let refused = Some(Some(Reason::VisitNotPermitted));
    // Whether it is there or not.
    for name in [
        "license1/other",
        "license3/box",
        "license7/box",
        "nobody/box",
        "license1",
        "/",
        "license1/box/",
        "*",
    ] {
        assert_eq!(asks(2, visitor, name), refused, "{name}");
    }
    assert_eq!(asks(1, owner, "license1/box"), refused, "not even its own");
    // Of what it may, it does.
    assert_eq!(asks(2, visitor, "license1/nobody"), Some(Some(Reason::NoSuchMapping)));
    assert_eq!(asks(2, visitor, "license9/box"), Some(Some(Reason::ClientAway)));
}

#[test]
fn visits_do_not_take_more_places_than_there_are() {
    let (mut stage, _, visitor) = server();
    let session = stage.session(visitor);
    let mut waiting = 0;
    for _ in 0..200 {
        let key = stage.stranger([3; 32]);
        stage.say(key, &Frame::Visit(words(2, session, "license1/box", &[3; 32])));
        match outcome(&stage, key) {
            None => waiting += 1,
            Some(why) => assert_eq!(why, Some(Reason::Busy)),
        }
    }
    assert_eq!((waiting, stage.role.counts().1), (10, 10));
}

#[test]
fn a_visitor_that_breaks_the_protocol_is_cut_and_nobody_else() {
    let (mut stage, _, visitor) = server();
    let session = stage.session(visitor);
    for frame in nt::wire::samples().into_iter().map(|(_, frame)| frame) {
        let [key, other] = [(); 2].map(|()| {
            let key = stage.stranger([3; 32]);
            stage.say(key, &Frame::Visit(words(2, session, "license1/box", &[3; 32])));
            key
        });
        stage.say(key, &frame);
        stage.role.check();
        // That DISCONNECT is of another visit.
        let good = matches!(frame, Frame::Fin | Frame::Disconnect { .. });
        assert_eq!(stage.closed.contains(&key), !good, "{frame:?}");
        assert!(!stage.closed.contains(&other), "{frame:?}");
        for key in [key, other] {
            if !stage.closed.contains(&key) {
                stage.step(Input::Lost(key, Reason::Reset));
            }
        }
        stage.role.check();
        assert_eq!(stage.role.counts().1, 0, "{frame:?}");
    }
}
