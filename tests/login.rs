//! The login, attacked: whoever does not hold the license, on this very connection, gets nothing.

use std::net::SocketAddr;

use nt::client::Client;
use nt::directory::{Directory, Entry};
use nt::entropy::Entropy;
use nt::license::{License, Transport};
use nt::policy::Allow;
use nt::reason::Reason;
use nt::role::{Input, Keys};
use nt::server::{self, Server};
use nt::slots::Key;
use nt::wire::{self, Attach, Frame, Hello, MAC_BYTES, SIGNATURE_BYTES, VERSION};

#[path = "stage/mod.rs"]
mod stage;

use stage::{BINDING, Stage};

const OTHER_BINDING: [u8; 32] = [0xB2; 32];

fn license() -> License {
    License::from_random([42; 28])
}

fn server() -> Stage<Server> {
    let mut directory = Directory::default();
    directory.add(Entry::new("one", &license()).expect("a name")).expect("a new name");
    let doors = vec![(SocketAddr::from(([127, 0, 0, 1], 9002)), Transport::Tls)];
    let config = server::Config { doors, directory, visitors_max: 10, sessions_max: 10 };
    let mut stage = Stage::new(Server::new(config, Entropy::new([1; 32])));
    stage.step(Input::Start);
    stage
}

/// A stranger whose TLS is up, with this binding.
fn stranger(stage: &mut Stage<Server>, binding: [u8; 32]) -> Key {
    let key = stage.table.reserve().expect("a key");
    let peer = SocketAddr::from(([192, 0, 2, 1], 1234));
    stage.step(Input::Accepted { listener: stage.listening[0].0, key, peer });
    stage.step(Input::Secured(key, Some(binding)));
    key
}

fn hello(license: &License, transport: Transport, binding: &[u8; 32]) -> Vec<u8> {
    let mut hello = Hello {
        version: VERSION,
        license: license.id().0,
        instance: [7; 16],
        counter: 1,
        capabilities: 0,
        mappings: 0,
        signature: [0; SIGNATURE_BYTES],
    };
    let encoded = Frame::Hello(hello).encode();
    hello.signature = license.client_keys().sign_hello(transport, binding, encoded.unproved(SIGNATURE_BYTES));
    Frame::Hello(hello).encode().bytes().to_vec()
}

fn is_denied(stage: &Stage<Server>, key: Key) -> bool {
    let denied = matches!(stage.answer(key), Some(Frame::Reject(r)) if r.reason == Reason::Denied && r.mac == [0; MAC_BYTES]);
    denied && stage.closed.contains(&key)
}

#[test]
fn the_license_logs_in() {
    let mut stage = server();
    let key = stranger(&mut stage, BINDING);
    stage.raw(key, &hello(&license(), Transport::Tls, &BINDING));
    assert!(matches!(stage.answer(key), Some(Frame::Welcome(_) | Frame::Open { .. })));
    assert_eq!(stage.role.counts().0, 1);
}

#[test]
fn a_login_that_was_relayed_replayed_or_made_for_another_port_is_refused() {
    let mut stage = server();
    for bytes in [
        hello(&license(), Transport::Tls, &OTHER_BINDING),
        hello(&license(), Transport::Plain, &BINDING),
        hello(&License::from_random([43; 28]), Transport::Tls, &BINDING),
    ] {
        let key = stranger(&mut stage, BINDING);
        stage.raw(key, &bytes);
        assert!(is_denied(&stage, key), "{:?}", stage.answer(key));
    }
    assert_eq!(stage.role.counts().0, 0);
}

#[test]
fn every_bit_of_a_login_counts() {
    let good = hello(&license(), Transport::Tls, &BINDING);
    for bit in 8 * wire::transfer_header(0).len()..good.len() * 8 {
        let mut stage = server();
        let key = stranger(&mut stage, BINDING);
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        stage.raw(key, &bytes);
        assert!(is_denied(&stage, key), "bit {bit}: {:?}", stage.answer(key));
        assert_eq!(stage.role.counts().0, 0);
    }
}

#[test]
fn a_late_login_of_the_same_client_does_not_replace_a_newer_one() {
    let mut stage = server();
    let first = stranger(&mut stage, BINDING);
    stage.raw(first, &hello(&license(), Transport::Tls, &BINDING));
    let late = stranger(&mut stage, OTHER_BINDING);
    stage.raw(late, &hello(&license(), Transport::Tls, &OTHER_BINDING));
    assert!(
        matches!(stage.answer(late), Some(Frame::Reject(r)) if r.reason == Reason::Stale && r.mac != [0; MAC_BYTES])
    );
    assert!(!stage.closed.contains(&first), "the newer session lives");
}

/// Logs in, and returns what a ProxyChannel needs: session, first number, and the key that proves.
fn session(stage: &mut Stage<Server>) -> ([u8; 16], u64) {
    let key = stranger(stage, BINDING);
    stage.raw(key, &hello(&license(), Transport::Tls, &BINDING));
    let frames = stage.sent.iter().filter(|(to, _)| *to == key).map(|(_, bytes)| bytes);
    let (mut id, mut first) = (None, None);
    for bytes in frames {
        match wire::next(bytes) {
            Ok(Some((Frame::Welcome(welcome), _))) => id = Some(welcome.session),
            Ok(Some((Frame::Open { first: number, .. }, _))) => first = Some(number),
            other => panic!("{other:?}"),
        }
    }
    (id.expect("a session"), first.expect("an order"))
}

fn attach(id: [u8; 16], channel: u64, binding: &[u8; 32]) -> Vec<u8> {
    let key = license().client_keys().attach_key(Transport::Tls, &BINDING, &id);
    let mac = key.mac(Transport::Tls, binding, channel);
    Frame::Attach(Attach { session: id, channel, mac }).encode().bytes().to_vec()
}

#[test]
fn a_proxy_channel_attaches_once_and_proves_itself() {
    let mut stage = server();
    let (id, first) = session(&mut stage);
    let data = [0xDA; 32];
    let good = attach(id, first, &data);
    for bit in 8 * 4..good.len() * 8 {
        let key = stranger(&mut stage, data);
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        stage.raw(key, &bytes);
        assert!(stage.closed.contains(&key), "bit {bit} does not count");
    }
    let relayed = stranger(&mut stage, OTHER_BINDING);
    stage.raw(relayed, &good);
    assert!(stage.closed.contains(&relayed), "made for another connection");
    let unordered = stranger(&mut stage, data);
    stage.raw(unordered, &attach(id, first + 1_000, &data));
    assert!(stage.closed.contains(&unordered), "a number that nobody ordered");
    assert_eq!(stage.role.counts().2, 0);

    let key = stranger(&mut stage, data);
    stage.raw(key, &good);
    assert!(!stage.closed.contains(&key));
    assert_eq!(stage.role.counts().2, 1);
    let again = stranger(&mut stage, data);
    stage.raw(again, &good);
    assert!(stage.closed.contains(&again), "a number is good once");
}

#[test]
fn a_stranger_may_say_nothing_but_hello_and_attach() {
    for (name, frame) in wire::samples() {
        if matches!(frame, Frame::Hello(_) | Frame::Transfer(_)) {
            continue;
        }
        let mut stage = server();
        let key = stranger(&mut stage, BINDING);
        stage.raw(key, frame.encode().bytes());
        assert!(stage.closed.contains(&key) && stage.answer(key).is_none(), "{name} was answered");
    }
}

fn client() -> (Stage<Client>, Key) {
    Stage::greeting(&license(), Allow::default(), "8080", 4)
}

/// WELCOME for the HELLO that a client sent, by a server with this license and binding.
fn welcome(stage: &Stage<Client>, key: Key, license: &License, binding: &[u8; 32]) -> Vec<u8> {
    Frame::Welcome(stage.welcome(key, license, binding)).encode().bytes().to_vec()
}

#[test]
fn a_client_believes_only_a_server_that_proves_the_license() {
    let (mut stage, key) = client();
    let good = welcome(&stage, key, &license(), &BINDING);
    stage.raw(key, &good);
    assert!(stage.role.counts().0, "the right server is believed");

    for bit in 8 * 4..good.len() * 8 {
        let (mut stage, key) = client();
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // One bit makes `resumed` a forbidden value, which the codec refuses already.
        if let Ok(Some((frame, _))) = wire::next(&bytes) {
            stage.step(Input::Frame(key, frame, &bytes));
            assert!(!stage.role.counts().0 && stage.closed.contains(&key), "bit {bit} does not count");
        }
    }
    for (license, binding) in [(License::from_random([9; 28]), BINDING), (license(), OTHER_BINDING)] {
        let (mut stage, key) = client();
        let bytes = welcome(&stage, key, &license, &binding);
        stage.raw(key, &bytes);
        assert!(!stage.role.counts().0 && stage.closed.contains(&key));
    }
}

#[test]
fn a_client_takes_nothing_before_welcome() {
    for (name, frame) in wire::samples() {
        if matches!(frame, Frame::Transfer(_) | Frame::Reject(_)) {
            continue;
        }
        let (mut stage, key) = client();
        let before = stage.sent.len();
        stage.raw(key, frame.encode().bytes());
        assert!(stage.closed.contains(&key) && stage.sent.len() == before, "{name} was taken");
    }
}

#[test]
fn a_client_s_own_words_sent_back_prove_nothing() {
    let (mut stage, key) = client();
    let hello = stage.sent[0].1.clone();
    stage.raw(key, &hello);
    assert!(stage.closed.contains(&key) && !stage.role.counts().0);
    // And a server takes no WELCOME.
    let mut server = server();
    let stranger = stranger(&mut server, BINDING);
    let bytes = welcome(&stage, key, &license(), &BINDING);
    server.raw(stranger, &bytes);
    assert!(server.closed.contains(&stranger));
}
