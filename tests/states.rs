//! Every frame in every state of a tunnel connection, on both ends: taken, or the end of the connection. The whole
//! matrix stands in `tests/golden/states.txt`; `NT_BLESS=1 cargo test --test states` writes it.

#[path = "stage/mod.rs"]
mod stage;

use std::fmt::Write as _;
use std::net::SocketAddr;

use nt::client::Client;
use nt::directory::{Directory, Entry};
use nt::door::Door;
use nt::entropy::Entropy;
use nt::license::{License, Transport};
use nt::policy::Allow;
use nt::role::{Input, Keys, Role};
use nt::server::{self, Server};
use nt::slots::Key;
use nt::wire::{self, Attach, Frame, Hello, SIGNATURE_BYTES, VERSION};
use stage::{BINDING, Stage};

fn license() -> License {
    License::from_random([42; 28])
}

/// A server with a stranger whose TLS is up if `known`.
fn stranger(known: bool) -> (Stage<Server>, Key) {
    let mut directory = Directory::default();
    directory.add(Entry::new("one", &license()).expect("a name")).expect("a new name");
    let doors = vec![Door::Tunnel(SocketAddr::from(([127, 0, 0, 1], 9002)), Transport::Tls)];
    let config = server::Config { doors, directory, visitors_max: 10, sessions_max: 10 };
    let mut stage = Stage::new(Server::new(config, Entropy::new([1; 32])));
    stage.step(Input::Start);
    let key = another(&mut stage, known);
    (stage, key)
}

fn another(stage: &mut Stage<Server>, known: bool) -> Key {
    let key = stage.table.reserve().expect("a key");
    let peer = SocketAddr::from(([192, 0, 2, 1], 1234));
    stage.step(Input::Accepted { listener: stage.listening[0].0, key, peer });
    if known {
        stage.step(Input::Secured(key, Some(BINDING)));
    }
    key
}

fn server_cmd() -> (Stage<Server>, Key) {
    let (mut stage, key) = stranger(true);
    let mut hello = Hello {
        version: VERSION,
        license: license().id().0,
        instance: [7; 16],
        counter: 1,
        capabilities: 0,
        mappings: 2,
        signature: [0; SIGNATURE_BYTES],
    };
    let encoded = Frame::Hello(hello).encode();
    hello.signature =
        license().client_keys().sign_hello(Transport::Tls, &BINDING, encoded.unproved(SIGNATURE_BYTES));
    stage.say(key, &Frame::Hello(hello));
    (stage, key)
}

fn server_proxy() -> (Stage<Server>, Key) {
    let (mut stage, cmd) = server_cmd();
    let (mut id, mut first) = ([0; 16], 0);
    for frame in stage.heard(cmd) {
        match frame {
            Frame::Welcome(welcome) => id = welcome.session,
            Frame::Open { first: number, .. } => first = number,
            _ => {}
        }
    }
    let key = another(&mut stage, true);
    let attach = license().client_keys().attach_key(Transport::Tls, &BINDING, &id);
    let mac = attach.mac(Transport::Tls, &BINDING, first);
    stage.say(key, &Frame::Attach(Attach { session: id, channel: first, mac }));
    (stage, key)
}

/// A client that has said HELLO.
fn greeting() -> (Stage<Client>, Key) {
    Stage::greeting(&license(), Allow::default(), "8080-8091", 4)
}

fn client_cmd() -> (Stage<Client>, Key) {
    Stage::welcomed(&license(), Allow::default(), "8080-8091", 4)
}

fn coming() -> (Stage<Client>, Key) {
    let (mut stage, cmd) = client_cmd();
    stage.say(cmd, &Frame::Open { first: 1, count: 1 });
    let key = stage.dialed[1];
    (stage, key)
}

fn client_proxy() -> (Stage<Client>, Key) {
    let (mut stage, key) = coming();
    stage.step(Input::Secured(key, Some(BINDING)));
    (stage, key)
}

/// What each frame comes to in the state that `make` makes.
fn rows<R: Role>(matrix: &mut String, state: &str, make: impl Fn() -> (Stage<R>, Key)) {
    for (name, frame) in wire::samples() {
        // The driver keeps the payload of TRANSFER from the roles.
        if matches!(frame, Frame::Transfer(_)) {
            continue;
        }
        let (mut stage, key) = make();
        let before = stage.heard(key).len();
        stage.say(key, &frame);
        let kind = |frame: &Frame<'_>| format!("{frame:?}").split(['(', ' ']).next().unwrap_or("").to_owned();
        let answers: Vec<String> = stage.heard(key)[before..].iter().map(kind).collect();
        let fate = if stage.closed.contains(&key) { "closed" } else { "kept" };
        writeln!(matrix, "{state} + {name} = {fate} {}", answers.join(" ")).expect("a string takes all");
    }
}

#[test]
fn every_frame_in_every_state() {
    let mut matrix = String::new();
    rows(&mut matrix, "server, TLS under way", || stranger(false));
    rows(&mut matrix, "server, stranger", || stranger(true));
    rows(&mut matrix, "server, CmdChannel", server_cmd);
    rows(&mut matrix, "server, idle ProxyChannel", server_proxy);
    rows(&mut matrix, "client, HELLO sent", greeting);
    rows(&mut matrix, "client, CmdChannel", client_cmd);
    rows(&mut matrix, "client, ProxyChannel not attached", coming);
    rows(&mut matrix, "client, idle ProxyChannel", client_proxy);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/states.txt");
    if std::env::var_os("NT_BLESS").is_some() {
        std::fs::write(path, &matrix).expect("the golden file can be written");
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    for (actual, expected) in matrix.lines().zip(expected.lines()) {
        assert_eq!(actual, expected);
    }
    assert_eq!(matrix.lines().count(), expected.lines().count());
}
