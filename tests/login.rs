//! The login, attacked: whoever does not hold the license, on this very connection, gets nothing.

use std::mem::discriminant;
use std::net::SocketAddr;

use nt::client::Client;
use nt::directory::{Directory, Entry};
use nt::door::Door;
use nt::entropy::Entropy;
use nt::license::{License, Transport, plain_binding};
use nt::limits::{HEADER_BYTES, REFUSED_BACKOFF_FIRST};
use nt::policy::Allow;
use nt::reason::Reason;
use nt::role::{Input, Keys, Speech};
use nt::server::{self, Server};
use nt::slots::Key;
use nt::time::Span;
use nt::wire::{self, Attach, Connect, Frame, Hello, MAC_BYTES, Reject, SIGNATURE_BYTES, VERSION, Welcome};

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
    directory.add(Entry::new("two", &neighbour()).expect("a name")).expect("a new name");
    let here = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let doors = vec![Door::Tunnel(here(9002), Transport::Tls), Door::Tunnel(here(9000), Transport::Plain)];
    let config = server::Config { doors, directory, visitors_max: 10, sessions_max: 10 };
    let mut stage = Stage::new(Server::new(config, Entropy::new([1; 32])));
    stage.step(Input::Start);
    stage
}

/// The other license of the same server.
fn neighbour() -> License {
    License::from_random([44; 28])
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

/// One bit of a header makes another frame of it, or none.
#[test]
fn every_bit_of_a_header_counts() {
    let has_fields =
        |frame: &Frame<'_>| !matches!(frame, Frame::Transfer(_) | Frame::Datagram(_) | Frame::Piece(_));
    for (name, frame) in wire::samples().into_iter().filter(|(_, frame)| has_fields(frame)) {
        let mut bytes = frame.encode().bytes().to_vec();
        for bit in 0..8 * HEADER_BYTES {
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(Some((other, _))) = wire::next(&bytes) {
                assert_ne!(discriminant(&other), discriminant(&frame), "{name}: bit {bit} does not count");
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn every_bit_of_a_login_counts() {
    let good = hello(&license(), Transport::Tls, &BINDING);
    for bit in 8 * HEADER_BYTES..good.len() * 8 {
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

// ── What was recorded, stolen or guessed ────────────────────────────────────────────────────────────────────────────

/// A connection to the plain port that has said this nonce; the server's.
fn plain_stranger(stage: &mut Stage<Server>, nonce: [u8; 32]) -> (Key, [u8; 32]) {
    let key = stage.table.reserve().expect("a key");
    let peer = SocketAddr::from(([192, 0, 2, 1], 1234));
    stage.step(Input::Accepted { listener: stage.listening[1].0, key, peer });
    stage.step(Input::Secured(key, None));
    stage.say(key, &Frame::Nonce(nonce));
    match stage.answer(key) {
        Some(Frame::Nonce(theirs)) => (key, theirs),
        other => panic!("a nonce was answered by {other:?}"),
    }
}

/// Who listens on the plain port has every byte of a login, and repeats it there and on the TLS port.
#[test]
fn a_login_stolen_from_the_plain_port_is_good_nowhere() {
    let mut stage = server();
    let (key, theirs) = plain_stranger(&mut stage, [9; 32]);
    let binding = plain_binding(&[9; 32], &theirs);
    let stolen = hello(&license(), Transport::Plain, &binding);
    stage.raw(key, &stolen);
    assert_eq!(stage.role.counts().0, 1, "the client itself is let in");

    let (again, fresh) = plain_stranger(&mut stage, [9; 32]);
    assert_ne!(fresh, theirs);
    // What the server said is said back, too.
    let (reflected, _) = plain_stranger(&mut stage, theirs);
    let over_tls = stranger(&mut stage, binding);
    for key in [again, reflected, over_tls] {
        stage.raw(key, &stolen);
        assert!(is_denied(&stage, key), "{:?}", stage.answer(key));
    }
    assert!(!stage.closed.contains(&key), "and the client notices nothing");
}

/// Who has read `licenses.toml` signs with whatever stands in it, and with nothing at all.
#[test]
fn what_the_server_keeps_logs_nobody_in() {
    let row = license().verifier();
    let mut stage = server();
    let good = hello(&license(), Transport::Tls, &BINDING);
    let (unsigned, _) = good.split_at(good.len() - SIGNATURE_BYTES);
    let sign = |seed: &[u8; 32]| {
        let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed");
        let hash = ring::digest::digest(&ring::digest::SHA256, unsigned);
        let text = [&b"nt/1 C\0tls\0"[..], &BINDING, hash.as_ref()].concat();
        pair.sign(&text).as_ref().to_vec()
    };
    let mac = row.mac_answer(Transport::Tls, &BINDING, unsigned, unsigned);
    // The neutral point and zero satisfy the equation for a key of small order; none of nt's is.
    let neutral = [&[1][..], &[0; 63]].concat();
    for signature in
        [sign(&row.mac), sign(&row.public), [mac, mac].concat(), neutral, vec![0; 64], vec![255; 64]]
    {
        let key = stranger(&mut stage, BINDING);
        stage.raw(key, &[unsigned, &signature].concat());
        assert!(is_denied(&stage, key), "{:?}", stage.answer(key));
    }
    let own = stranger(&mut stage, BINDING);
    stage.raw(own, &[unsigned, &sign(&signing_seed(&license()))].concat());
    assert_eq!(stage.role.counts().0, 1, "the seed itself would");
}

/// The Ed25519 seed of a license, as docs/PROTOCOL.md section 3 has it.
fn signing_seed(license: &License) -> [u8; 32] {
    let bytes = [42; 28];
    assert_eq!(*license, License::from_random(bytes));
    let prk = ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, b"nt/1 license").extract(&bytes);
    let mut seed = [0; 32];
    prk.expand(&[b"nt/1 client sign"], ring::hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut seed))
        .expect("32");
    seed
}

/// What the row is good for: with its mac key one is the server, for clients that ask no more than the license.
/// docs/SECURITY.md says so, and what to do about it.
#[test]
fn what_the_server_keeps_proves_the_server_and_must_be_kept_secret() {
    let (mut stage, key) = client();
    let row = license().verifier();
    let (_, said) = &stage.sent[0];
    let mut forged = Welcome { mac: [0; MAC_BYTES], ..stage.welcome(key, &license(), &BINDING) };
    let unsigned = Frame::Welcome(forged).encode();
    let hello = &said[..said.len() - SIGNATURE_BYTES];
    forged.mac = row.mac_answer(Transport::Tls, &BINDING, hello, unsigned.unproved(MAC_BYTES));
    stage.say(key, &Frame::Welcome(forged));
    assert!(stage.role.counts().0);
}

/// A license of the same server opens no ProxyChannel in the session of another.
#[test]
fn a_neighbour_does_not_attach_to_a_session_that_is_not_its_own() {
    let mut stage = server();
    let (id, first) = session(&mut stage);
    let theirs = stranger(&mut stage, OTHER_BINDING);
    stage.raw(theirs, &hello(&neighbour(), Transport::Tls, &OTHER_BINDING));
    assert_eq!(stage.role.counts().0, 2);
    for cmd in [BINDING, OTHER_BINDING] {
        let data = [0xDA; 32];
        let key = stranger(&mut stage, data);
        let mac =
            neighbour().client_keys().attach_key(Transport::Tls, &cmd, &id).mac(Transport::Tls, &data, first);
        stage.say(key, &Frame::Attach(Attach { session: id, channel: first, mac }));
        assert!(stage.closed.contains(&key));
    }
    assert_eq!(stage.role.counts().2, 0);
}

// ── A client, and whoever poses as its server ───────────────────────────────────────────────────────────────────────

/// A REJECT for the HELLO that was said; proved by the license where `proved`.
fn reject(stage: &Stage<Client>, reason: Reason, proved: bool) -> Vec<u8> {
    let mut reject = Reject { reason, retry_millis: u32::MAX, mac: [0; MAC_BYTES] };
    if proved {
        let (_, hello) = &stage.sent[0];
        let hello = &hello[..hello.len() - SIGNATURE_BYTES];
        let unsigned = Frame::Reject(reject).encode();
        reject.mac =
            license().verifier().mac_answer(Transport::Tls, &BINDING, hello, unsigned.unproved(MAC_BYTES));
    }
    Frame::Reject(reject).encode().bytes().to_vec()
}

/// How long a client pauses after this answer to its HELLO.
fn pause_after(bytes: &[u8]) -> Span {
    let (mut stage, key) = client();
    if let Ok(Some((frame, _))) = wire::next(bytes) {
        stage.step(Input::Frame(key, frame, bytes));
    }
    assert!(stage.closed.contains(&key) && !stage.role.counts().0);
    stage.until_dial()
}

/// A proved "stopping" has the client back soon; every bit of it counts, and what does not prove itself is "denied".
#[test]
fn every_bit_of_a_reject_counts() {
    let (stage, _) = client();
    let good = reject(&stage, Reason::Stopping, true);
    assert!(pause_after(&good) < REFUSED_BACKOFF_FIRST);
    for bit in 8 * HEADER_BYTES..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(pause_after(&bytes), REFUSED_BACKOFF_FIRST, "bit {bit} does not count");
    }
    // Nor does a stranger say how long: not by a reason, not by a number.
    for reason in Reason::ALL {
        assert_eq!(pause_after(&reject(&stage, *reason, false)), REFUSED_BACKOFF_FIRST, "{reason:?}");
    }
}

/// Whatever is done to its connections, a client that was told to use TLS dials for nothing else.
#[test]
fn a_client_never_falls_back_to_plain() {
    let (mut stage, _) = client();
    for reason in
        [Reason::Refused, Reason::Reset, Reason::TimedOut, Reason::Tls, Reason::Certificate].repeat(20)
    {
        let key = *stage.dialed.last().expect("an attempt");
        stage.step(Input::Lost(key, reason));
        stage.until_dial();
    }
    assert_eq!(stage.dials.len(), 101);
    assert!(stage.dials.iter().all(|(_, _, speech)| *speech == Speech::Tls));
}

/// A server that was taken over names mappings that the client does not have.
#[test]
fn a_server_reaches_nothing_but_what_the_client_has() {
    let (mut stage, cmd) = Stage::welcomed(&license(), Allow::default(), "8080:10.0.0.1:80", 64);
    let before = stage.dials.len();
    for index in (1..64).chain([0x7FFF, 0x8000, 0x8001, 0xFFFF]) {
        stage.say(cmd, &Frame::Open { first: 1, count: 1 });
        let key = *stage.dialed.last().expect("a ProxyChannel");
        stage.step(Input::Secured(key, Some(OTHER_BINDING)));
        let visitor = SocketAddr::from(([10, 0, 0, 9], 22));
        stage.say(key, &Frame::Connect(Connect { visit: u64::from(index), mapping: index, visitor }));
        let refused =
            matches!(stage.answer(key), Some(Frame::Disconnect { reason: Reason::NoSuchMapping, .. }));
        assert!(refused, "{index}: {:?}", stage.answer(key));
        stage.step(Input::Lost(key, Reason::Reset));
    }
    assert!(stage.dials[before..].iter().all(|(_, _, speech)| *speech == Speech::Tls), "{:?}", stage.dials);
}
