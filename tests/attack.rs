//! What an adversary, or bad luck, can make of the program: one test each, named for what must not happen.

#![allow(clippy::type_complexity, clippy::unwrap_used)]

use std::net::SocketAddr;

use nt::client::{self, Client};
use nt::directory::{Directory, Entry};
use nt::entropy::Entropy;
use nt::license::{License, Transport};
use nt::limits::{MAPPINGS_MAX, SERVER_MAPPING_BIT};
use nt::policy::Allow;
use nt::reason::Reason;
use nt::role::{Input, Keys, Role};
use nt::server::{self, Server};
use nt::slots::Key;
use nt::time::Span;
use nt::wire::{
    Attach, Connect, Frame, Hello, MAC_BYTES, Map, MapKind, Mapped, SIGNATURE_BYTES, VERSION, Welcome,
};

#[path = "stage/mod.rs"]
mod stage;

use stage::Stage;

const BINDING: [u8; 32] = [0xB1; 32];

fn license(n: u8) -> License {
    License::from_random([n; 28])
}

fn directory(edit: impl Fn(&mut Entry)) -> Directory {
    let mut directory = Directory::default();
    for n in 1..=9 {
        let mut entry = Entry::new(&format!("license{n}"), &license(n)).expect("a name");
        edit(&mut entry);
        directory.add(entry).expect("a new name");
    }
    directory
}

fn server(directory: Directory, visitors_max: usize, sessions_max: usize) -> Stage<Server> {
    let doors = vec![(SocketAddr::from(([127, 0, 0, 1], 9002)), Transport::Tls)];
    let config = server::Config { doors, directory, visitors_max, sessions_max };
    let mut stage = Stage::new(Server::new(config, Entropy::new([1; 32])));
    stage.step(Input::Start);
    stage
}

fn stranger(stage: &mut Stage<Server>, binding: [u8; 32]) -> Key {
    let key = stage.table.reserve().expect("a key");
    let peer = SocketAddr::from(([192, 0, 2, 1], 1234));
    let listener = stage.listening[0].0;
    stage.step(Input::Accepted { listener, key, peer });
    stage.step(Input::Secured(key, Some(binding)));
    key
}

/// Logs in with license `n`; the CmdChannel.
fn log_in(stage: &mut Stage<Server>, n: u8, counter: u64, mappings: u16) -> Key {
    let key = stranger(stage, BINDING);
    let mut hello = Hello {
        version: VERSION,
        license: license(n).id().0,
        instance: [n; 16],
        counter,
        capabilities: 0,
        mappings,
        signature: [0; SIGNATURE_BYTES],
    };
    let encoded = Frame::Hello(hello).encode();
    let keys = license(n).client_keys();
    hello.signature = keys.sign_hello(Transport::Tls, &BINDING, encoded.unproved(SIGNATURE_BYTES));
    stage.say(key, &Frame::Hello(hello));
    key
}

fn map(stage: &mut Stage<Server>, cmd: Key, index: u16, port: u16) {
    let public = SocketAddr::from(([127, 0, 0, 1], port));
    stage.say(cmd, &Frame::Map(Map { index, kind: MapKind::Tcp, public, target: "127.0.0.1:80" }));
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
        let channel = stranger(stage, BINDING);
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
        stage.say(cmd, &Frame::Mapped(Mapped { index, trouble: None, public }));
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

// ── A bad server, or bad luck, against a client ─────────────────────────────────────────────────────────────────────

fn client(allow: Allow, mappings: &str) -> (Stage<Client>, Key) {
    let config = client::Config {
        servers: vec![("192.0.2.1".into(), 9002)],
        transport: Transport::Tls,
        license: license(1).id(),
        keys: license(1).client_keys(),
        mappings: nt::mapping::parse(mappings).expect("mappings"),
        allow,
        proxies_max: 400,
    };
    let mut stage = Stage::new(Client::new(config, Entropy::new([2; 32])));
    stage.step(Input::Start);
    let key = stage.dialed[0];
    stage.step(Input::Secured(key, Some(BINDING)));
    let hello = stage.sent[0].1.clone();
    let mut welcome = Welcome {
        version: VERSION,
        session: [5; 16],
        generation: 1,
        capabilities: 0,
        resumed: false,
        mac: [0; MAC_BYTES],
    };
    let encoded = Frame::Welcome(welcome).encode();
    let hello = &hello[..hello.len() - SIGNATURE_BYTES];
    let verifier = license(1).verifier();
    welcome.mac = verifier.mac_answer(Transport::Tls, &BINDING, hello, encoded.unproved(MAC_BYTES));
    stage.say(key, &Frame::Welcome(welcome));
    assert!(stage.role.counts().0);
    (stage, key)
}

fn offer(stage: &mut Stage<Client>, cmd: Key, index: u16, target: &str) {
    let public = SocketAddr::from(([0; 16], 80));
    stage
        .say(cmd, &Frame::Map(Map { index: SERVER_MAPPING_BIT | index, kind: MapKind::Tcp, public, target }));
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

// ── Log lines ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// The log counts what it has said about a subject instead of repeating it. Whoever could invent subjects would
/// write as many lines as it sends frames.
#[test]
fn a_client_cannot_invent_causes_for_the_server_s_log() {
    let mut stage = server(directory(|_| {}), 10, 10);
    let cmd = log_in(&mut stage, 1, 1, 5_000);
    for n in 0..5_000_u32 {
        let public = SocketAddr::from(([127, 0, 0, 1], 80));
        let target = format!("a{n}.example:80");
        stage.say(
            cmd,
            &Frame::Map(Map { index: (n % 2) as u16, kind: MapKind::Tcp, public, target: &target }),
        );
        let public = SocketAddr::from(([127, 0, 0, 1], 81 + (n % 900) as u16));
        stage.say(
            cmd,
            &Frame::Map(Map { index: (n % 2) as u16, kind: MapKind::Tcp, public, target: &target }),
        );
    }
    let subjects: std::collections::BTreeSet<&String> = stage.subjects.iter().collect();
    assert!(subjects.len() < 1_000, "{} lines, each its own cause, from one login", subjects.len());
}

/// As above, the other way.
#[test]
fn a_server_cannot_invent_causes_for_the_client_s_log() {
    let (mut stage, cmd) = client(Allow::default(), "8080");
    for n in 0..5_000 {
        offer(&mut stage, cmd, 0, &format!("10.{}.{}.1:80", n / 250, n % 250));
    }
    let subjects: std::collections::BTreeSet<&String> = stage.subjects.iter().collect();
    assert!(subjects.len() < 1_000, "{} lines, each its own cause, from one session", subjects.len());
}

// ── A stranger's TLS ────────────────────────────────────────────────────────────────────────────────────────────────

mod tls {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, VecDeque};
    use std::io::{self, Cursor};
    use std::net::SocketAddr;
    use std::rc::Rc;
    use std::sync::{Arc, Mutex};

    use nt::arena::Arena;
    use nt::directory::Directory;
    use nt::driver::{Budget, Driver};
    use nt::entropy::Entropy;
    use nt::identity::Identity;
    use nt::license::Transport;
    use nt::limits::PUMP_BYTES_PER_TURN;
    use nt::link::{Fill, Link, Phase};
    use nt::net::{Accept, Event, Net};
    use nt::note::Note;
    use nt::reason::Reason;
    use nt::role::{Manner, Query, Role, Speech};
    use nt::server::{self, Server};
    use nt::slots::{Key, Slots};
    use nt::time::Time;
    use nt::tls::{ALPN, Security};
    use nt::wire::{self, Attach, Frame, Hello, Map, MapKind, SIGNATURE_BYTES, VERSION};
    use ring::{aead, hmac};

    use super::license;

    /// A socket that always has something to read.
    struct Socket {
        input: Box<dyn FnMut(&mut [u8]) -> io::Result<usize>>,
        output: Vec<u8>,
    }

    struct One;

    impl Net for One {
        type Stream = Socket;
        type Listener = ();
        type Pipe = ();

        fn now(&mut self) -> Time {
            Time::default()
        }
        fn wait(&mut self, _: Time, _: &mut Vec<Event>) {}
        fn listen(&mut self, _: Key, _: SocketAddr, _: Speech) -> Result<((), SocketAddr), Reason> {
            Err(Reason::System)
        }
        fn accept(&mut self, _: Key, (): &mut ()) -> Accept<Socket> {
            Accept::Empty
        }
        fn watch(&mut self, _: Key, _: &Socket) -> Result<(), Reason> {
            Ok(())
        }
        fn dial(&mut self, _: Key, _: SocketAddr, _: Speech) -> Result<Socket, Reason> {
            Err(Reason::System)
        }
        fn dialed(&mut self, _: Key, _: &mut Socket) -> io::Result<()> {
            Ok(())
        }
        fn read(&mut self, _: Key, stream: &mut Socket, into: &mut [u8]) -> io::Result<usize> {
            (stream.input)(into)
        }
        fn write(&mut self, _: Key, stream: &mut Socket, from: &[u8], _: bool) -> io::Result<usize> {
            stream.output.extend_from_slice(from);
            Ok(from.len())
        }
        fn lend_pipe(&mut self) -> Option<()> {
            None
        }
        fn take_pipe(&mut self, (): (), _: bool) {}
        fn splice_in(&mut self, _: Key, _: &mut Socket, _: &mut (), _: usize) -> io::Result<usize> {
            unreachable!("no pipe was lent")
        }
        fn splice_out(&mut self, _: Key, _: &mut (), _: &mut Socket, _: usize) -> io::Result<usize> {
            unreachable!("no pipe was lent")
        }
        fn shut(&mut self, _: &mut Socket) {}
        fn close(&mut self, _: Key, _: Socket, _: Manner) {}
        fn close_listener(&mut self, _: Key, (): ()) {}
        fn resolve(&mut self, _: usize, _: Query, _: &str, _: u16) {}
        fn poll_licenses(&mut self) -> Option<Result<Directory, String>> {
            None
        }
        fn note(&mut self, _: Time, _: &Note) {}
    }

    /// The client's traffic secret, from the key log.
    #[derive(Debug, Default)]
    struct Secret(Mutex<Vec<u8>>);

    impl rustls::KeyLog for Secret {
        fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
            if label == "CLIENT_TRAFFIC_SECRET_0" {
                *self.0.lock().unwrap() = secret.to_vec();
            }
        }
    }

    /// A client's end that trusts anybody, and tells its secrets.
    fn client_config(secret: Arc<Secret>) -> rustls::ClientConfig {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.retain(|s| s.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Any))
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.key_log = secret;
        config
    }

    /// HKDF-Expand-Label of RFC 8446 section 7.1, up to 32 bytes, without context.
    fn expand(secret: &[u8], label: &str, length: usize) -> Vec<u8> {
        let mut info = vec![0, length as u8, 6 + label.len() as u8];
        info.extend_from_slice(b"tls13 ");
        info.extend_from_slice(label.as_bytes());
        info.extend_from_slice(&[0, 1]);
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &info).as_ref()[..length].to_vec()
    }

    /// One record of this inner type.
    fn record(secret: &[u8], sequence: u8, inner: &[u8]) -> Vec<u8> {
        let key = aead::UnboundKey::new(&aead::AES_128_GCM, &expand(secret, "key", 16)).unwrap();
        let mut nonce: [u8; 12] = expand(secret, "iv", 12).try_into().unwrap();
        nonce[11] ^= sequence;
        let header = [23, 3, 3, 0, inner.len() as u8 + 16];
        let mut body = inner.to_vec();
        aead::LessSafeKey::new(key)
            .seal_in_place_append_tag(
                aead::Nonce::assume_unique_for_key(nonce),
                aead::Aad::from(header),
                &mut body,
            )
            .unwrap();
        [&header[..], &body].concat()
    }

    /// Who has come through TLS sends records that carry nothing: an empty one, a change of keys, an empty
    /// one … rustls bounds each kind by itself, and each resets the other's count. As long as they come, one
    /// call of `Link::fill` goes on: no other connection is served, and no deadline either.
    #[test]
    fn records_that_carry_nothing_do_not_keep_the_loop() {
        let Identity { chain, key } = Identity::fresh().unwrap();
        let security = Security::default().with_server(chain, key).unwrap();
        let secret = Arc::new(Secret::default());
        let config = client_config(secret.clone());
        let name = rustls::pki_types::ServerName::try_from("nt.invalid").unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();

        let mut arena = Arena::new(3);
        assert!(arena.reserve(3));
        let socket = Socket { input: Box::new(|_| Ok(0)), output: vec![] };
        let tls = Box::new(security.accept().unwrap());
        let mut link = Link::<One>::new(socket, 0, Speech::Tls, Phase::Securing, Some(tls));
        let key = Slots::default().insert(()).unwrap();
        for _ in 0..4 {
            let mut said = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut said).unwrap();
            }
            let mut said = Cursor::new(said);
            link.stream.input = Box::new(move |into| match io::Read::read(&mut said, into)? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                n => Ok(n),
            });
            (link.readable, link.writable) = (true, true);
            while link.fill(key, &mut One, &mut arena).expect("a handshake") == Fill::More {}
            link.flush(key, &mut One, &mut arena).unwrap();
            let mut answer = Cursor::new(std::mem::take(&mut link.stream.output));
            while client.read_tls(&mut answer).unwrap() > 0 {
                client.process_new_packets().unwrap();
            }
        }
        assert!(link.tls.as_ref().unwrap().is_open());

        let mut traffic = secret.0.lock().unwrap().clone();
        let (mut ready, total) = (Vec::new(), Arc::new(Mutex::new(0)));
        let counter = total.clone();
        link.stream.input = Box::new(move |into| {
            let mut total = counter.lock().unwrap();
            // The peer would go on; this test does not.
            if *total > 16 * PUMP_BYTES_PER_TURN {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            while ready.len() < into.len() {
                ready.extend(record(&traffic, 0, &[23]));
                ready.extend(record(&traffic, 1, &[24, 0, 0, 1, 0, 22]));
                traffic = expand(&traffic, "traffic upd", 32);
            }
            let n = into.len();
            into.copy_from_slice(&ready[..n]);
            ready.drain(..n);
            *total += n;
            Ok(n)
        });
        (link.readable, link.writable) = (true, true);
        let filled = link.fill(key, &mut One, &mut arena);
        let total = *total.lock().unwrap();
        assert!(
            total <= PUMP_BYTES_PER_TURN || filled.is_err(),
            "one call took {total} bytes without a byte of plaintext, and came to {filled:?}"
        );
    }

    // ── A whole server, its sockets in the hand of one client ───────────────────────────────────────────────────

    #[derive(Clone, Default)]
    struct Pipe(Rc<RefCell<Ends>>);

    #[derive(Default)]
    struct Ends {
        input: VecDeque<u8>,
        output: Vec<u8>,
        full: bool,
    }

    #[derive(Clone, Default)]
    struct Hand {
        coming: Rc<RefCell<BTreeMap<usize, Vec<Pipe>>>>,
        tokens: Rc<RefCell<Vec<usize>>>,
        doors: Rc<RefCell<Vec<usize>>>,
    }

    impl Net for Hand {
        type Stream = Pipe;
        type Listener = usize;
        type Pipe = ();

        fn now(&mut self) -> Time {
            Time::from_micros(1_000_000)
        }
        fn wait(&mut self, _: Time, events: &mut Vec<Event>) {
            for &token in self.tokens.borrow().iter() {
                events.push(Event::Ready(nt::net::Ready {
                    token,
                    read: true,
                    write: true,
                    ended: true,
                    failed: false,
                }));
            }
        }
        fn listen(&mut self, key: Key, at: SocketAddr, _: Speech) -> Result<(usize, SocketAddr), Reason> {
            self.tokens.borrow_mut().push(key.token());
            self.doors.borrow_mut().push(key.token());
            Ok((self.doors.borrow().len() - 1, at))
        }
        fn accept(&mut self, _: Key, door: &mut usize) -> Accept<Pipe> {
            match self.coming.borrow_mut().get_mut(door).and_then(Vec::pop) {
                Some(pipe) => Accept::Came(pipe, SocketAddr::from(([192, 0, 2, 1], 1))),
                None => Accept::Empty,
            }
        }
        fn watch(&mut self, key: Key, _: &Pipe) -> Result<(), Reason> {
            self.tokens.borrow_mut().push(key.token());
            Ok(())
        }
        fn dial(&mut self, _: Key, _: SocketAddr, _: Speech) -> Result<Pipe, Reason> {
            Err(Reason::System)
        }
        fn dialed(&mut self, _: Key, _: &mut Pipe) -> io::Result<()> {
            Ok(())
        }
        fn read(&mut self, _: Key, stream: &mut Pipe, into: &mut [u8]) -> io::Result<usize> {
            match io::Read::read(&mut stream.0.borrow_mut().input, into)? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                n => Ok(n),
            }
        }
        fn write(&mut self, _: Key, stream: &mut Pipe, from: &[u8], _: bool) -> io::Result<usize> {
            if stream.0.borrow().full {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            stream.0.borrow_mut().output.extend_from_slice(from);
            Ok(from.len())
        }
        fn lend_pipe(&mut self) -> Option<()> {
            None
        }
        fn take_pipe(&mut self, (): (), _: bool) {}
        fn splice_in(&mut self, _: Key, _: &mut Pipe, _: &mut (), _: usize) -> io::Result<usize> {
            unreachable!("no pipe was lent")
        }
        fn splice_out(&mut self, _: Key, _: &mut (), _: &mut Pipe, _: usize) -> io::Result<usize> {
            unreachable!("no pipe was lent")
        }
        fn shut(&mut self, _: &mut Pipe) {}
        fn close(&mut self, _: Key, _: Pipe, _: Manner) {}
        fn close_listener(&mut self, _: Key, _: usize) {}
        fn resolve(&mut self, _: usize, _: Query, _: &str, _: u16) {}
        fn poll_licenses(&mut self) -> Option<Result<Directory, String>> {
            None
        }
        fn note(&mut self, _: Time, note: &Note) {
            println!("{note}");
        }
    }

    /// One of the client's tunnel connections.
    struct Tunnel {
        pipe: Pipe,
        tls: rustls::ClientConnection,
        heard: Vec<u8>,
    }

    impl Tunnel {
        fn say(&mut self, bytes: &[u8]) {
            io::Write::write_all(&mut self.tls.writer(), bytes).unwrap();
        }

        fn turn(&mut self, driver: &mut Driver<Hand>) {
            for _ in 0..6 {
                let mut said = Vec::new();
                while self.tls.wants_write() {
                    self.tls.write_tls(&mut said).unwrap();
                }
                self.pipe.0.borrow_mut().input.extend(said);
                driver.turn();
                let answer = std::mem::take(&mut self.pipe.0.borrow_mut().output);
                let mut answer = Cursor::new(answer);
                while self.tls.read_tls(&mut answer).unwrap() > 0 {
                    self.tls.process_new_packets().unwrap();
                }
                let _ = io::Read::read_to_end(&mut self.tls.reader(), &mut self.heard);
            }
        }

        fn binding(&self) -> [u8; 32] {
            let label = b"EXPORTER-Channel-Binding";
            self.tls.export_keying_material([0; 32], label, Some(b"")).unwrap()
        }
    }

    /// A client holds every buffer that its connections have a right to, and breaks the protocol on the
    /// ProxyChannel of a visit. The window of that connection is still out with the frame while its rights
    /// are given back, and the next ProxyChannel takes its last buffer.
    #[test]
    fn a_connection_that_breaks_the_protocol_gives_its_buffers_back_before_its_rights() {
        let Identity { chain, key } = Identity::fresh().unwrap();
        let security = Security::default().with_server(chain, key).unwrap();
        let config = Arc::new(client_config(Arc::default()));
        let doors = vec![(SocketAddr::from(([127, 0, 0, 1], 9002)), Transport::Tls)];
        let server =
            server::Config { doors, directory: super::directory(|_| {}), visitors_max: 4, sessions_max: 4 };
        let role: Box<dyn Role> = Box::new(Server::new(server, Entropy::new([1; 32])));
        let hand = Hand::default();
        let budget = Budget { raws: 4, locals: 0, tunnels: 80 };
        let mut driver = Driver::new(hand.clone(), vec![role], security, budget);
        driver.start();
        let arrive = |door: usize| {
            let pipe = Pipe::default();
            hand.coming.borrow_mut().entry(door).or_default().push(pipe.clone());
            pipe
        };
        let tunnel = |driver: &mut Driver<Hand>| {
            let name = rustls::pki_types::ServerName::try_from("nt.invalid").unwrap();
            let tls = rustls::ClientConnection::new(config.clone(), name).unwrap();
            let mut tunnel = Tunnel { pipe: arrive(0), tls, heard: vec![] };
            tunnel.turn(driver);
            tunnel
        };

        let mut cmd = tunnel(&mut driver);
        let keys = license(1).client_keys();
        let mut hello = Hello {
            version: VERSION,
            license: license(1).id().0,
            instance: [1; 16],
            counter: 1,
            capabilities: 0,
            mappings: 1,
            signature: [0; SIGNATURE_BYTES],
        };
        let encoded = Frame::Hello(hello).encode();
        hello.signature = keys.sign_hello(Transport::Tls, &cmd.binding(), encoded.unproved(SIGNATURE_BYTES));
        cmd.say(Frame::Hello(hello).encode().bytes());
        let public = SocketAddr::from(([127, 0, 0, 1], 2000));
        let map = Map { index: 0, kind: MapKind::Tcp, public, target: "127.0.0.1:80" };
        cmd.say(Frame::Map(map).encode().bytes());
        cmd.turn(&mut driver);
        let Ok(Some((Frame::Welcome(welcome), _))) = wire::next(&cmd.heard) else { panic!("no WELCOME") };
        let attach = keys.attach_key(Transport::Tls, &cmd.binding(), &welcome.session);
        let mut proxies: Vec<Tunnel> = (1..=2)
            .map(|channel| {
                let mut proxy = tunnel(&mut driver);
                let mac = attach.mac(Transport::Tls, &proxy.binding(), channel);
                let session = welcome.session;
                proxy.say(Frame::Attach(Attach { session, channel, mac }).encode().bytes());
                proxy.turn(&mut driver);
                proxy
            })
            .collect();
        // A piece of a frame, and a piece of a record; and what the server says is not taken.
        for tunnel in [&mut cmd, &mut proxies[0]] {
            tunnel.say(&[9, 0]);
            tunnel.turn(&mut driver);
            tunnel.pipe.0.borrow_mut().input.extend([23, 3, 3, 1]);
            tunnel.pipe.0.borrow_mut().full = true;
        }
        let visitor = arrive(1);
        visitor.0.borrow_mut().input.extend(b"GET / HTTP/1.1");
        proxies[1].turn(&mut driver);
        driver.check();
        proxies[1].say(Frame::Heartbeat.encode().bytes());
        proxies[1].turn(&mut driver);
        driver.check();
    }

    #[derive(Debug)]
    struct Any;

    impl rustls::client::danger::ServerCertVerifier for Any {
        fn verify_server_cert(
            &self,
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &[rustls::pki_types::CertificateDer<'_>],
            _: &rustls::pki_types::ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            vec![rustls::SignatureScheme::ED25519, rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }
}

// ── Local users ─────────────────────────────────────────────────────────────────────────────────────────────────────

/// `--client=LICENSE@HOST` is taken like `-c LICENSE@HOST`, but is not moved out of everybody's sight.
#[test]
fn a_license_leaves_the_command_line_however_it_was_written() {
    let text = license(1).text();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_nt"))
        .args([&format!("--client={text}@127.0.0.1:1"), "8080"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program");
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let line = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
    let _ = child.kill();
    let _ = child.wait();
    assert!(!line.is_empty(), "it still runs");
    assert!(!String::from_utf8_lossy(&line).contains(&text), "everybody can read the license");
}

/// Root looks after the licenses of a server that runs as somebody else, who owns the directory: a link in
/// the place of the lock must not have root give away what it points to.
#[test]
fn root_does_not_give_away_what_a_link_points_to() {
    use std::os::unix::fs::{MetadataExt, chown, symlink};
    let place = std::env::temp_dir().join(format!("nt-attack-{}", std::process::id()));
    let state = place.join("state");
    std::fs::create_dir_all(&state).expect("a directory");
    let victim = place.join("victim");
    std::fs::write(&victim, "root's").expect("a file");
    let owner = std::fs::metadata(&victim).expect("a file").uid();
    if owner != 0 || chown(&state, Some(65_534), Some(65_534)).is_err() {
        println!("only root can try this");
    } else {
        symlink(&victim, state.join("licenses.lock")).expect("a link");
        let dir = nt::state::StateDir::open(Some(&state)).expect("a state directory");
        let _ = dir.edit_licenses(|directory| directory.add(Entry::new("one", &license(1))?));
    }
    let after = std::fs::metadata(&victim).expect("a file").uid();
    let _ = std::fs::remove_dir_all(&place);
    assert_eq!(after, owner, "root gave its file to the owner of the directory");
}
