//! What a stranger's TLS, or a tunnel connection, can make of the driver: one test each, named for what must not happen.

#![allow(clippy::type_complexity, clippy::unwrap_used)]

use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use nt::arena::Arena;
use nt::directory::Directory;
use nt::door::Door;
use nt::driver::{Budget, Driver};
use nt::entropy::Entropy;
use nt::identity::Identity;
use nt::license::Transport;
use nt::limits::PUMP_BYTES_PER_TURN;
use nt::link::{Fill, Link, Phase};
use nt::net::{Accept, Event, Net};
use nt::note::Note;
use nt::reason::Reason;
use nt::role::{Manner, Place, Query, Role, Speech};
use nt::server::{self, Server};
use nt::slots::{Key, Slots};
use nt::time::Time;
use nt::tls::{ALPN, Security};
use nt::wire::{self, Attach, Frame, Hello, Map, SIGNATURE_BYTES, VERSION};
use ring::{aead, hmac};

#[path = "stage/hand.rs"]
mod hand;
#[path = "stage/mod.rs"]
mod stage;

use hand::{Hand, Pipe};
use stage::{directory, license};

/// A socket that always has something to read.
struct Socket {
    input: Box<dyn FnMut(&mut [u8]) -> io::Result<usize>>,
    output: Vec<u8>,
}

struct One;

impl Net for One {
    type Stream = Socket;
    type Listener = ();
    type Socket = ();
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
    fn dial(&mut self, _: Key, _: &Place, _: Speech, _: bool) -> Result<Socket, Reason> {
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

/// A server with a TLS port, and the world that it stands in.
fn tls_server(visitors_max: usize) -> (Hand, Driver<Hand>) {
    let Identity { chain, key } = Identity::fresh().unwrap();
    let security = Security::default().with_server(chain, key).unwrap();
    let doors = vec![Door::Tunnel(SocketAddr::from(([127, 0, 0, 1], 9002)), Transport::Tls)];
    let server = server::Config { doors, directory: directory(|_| {}), visitors_max, sessions_max: 4 };
    let role: Box<dyn Role> = Box::new(Server::new(server, Entropy::new([1; 32])));
    let hand = Hand::default();
    let budget = Budget { raws: visitors_max, locals: 0, tunnels: 80, callers: 0 };
    let mut driver = Driver::new(hand.clone(), vec![role], security, budget);
    driver.start();
    (hand, driver)
}

/// A tunnel connection whose TLS is up.
fn tunnel(hand: &Hand, driver: &mut Driver<Hand>, config: &Arc<rustls::ClientConfig>) -> Tunnel {
    let name = rustls::pki_types::ServerName::try_from("nt.invalid").unwrap();
    let tls = rustls::ClientConnection::new(config.clone(), name).unwrap();
    let mut tunnel = Tunnel { pipe: hand.arrive(0), tls, heard: vec![] };
    tunnel.turn(driver);
    tunnel
}

/// A handshake record without a byte of a handshake (RFC 8446 5.1 forbids it), and behind it anything that is
/// answered: rustls took it for the beginning of a message, and looked for the rest in the next bytes it was
/// given, even where these were none. A panic, for whoever could connect.
#[test]
fn an_empty_handshake_record_does_not_end_the_program() {
    let secret = Arc::new(Secret::default());
    let (hand, mut driver) = tls_server(4);
    let stranger = tunnel(&hand, &mut driver, &Arc::new(client_config(secret.clone())));
    let traffic = secret.0.lock().unwrap().clone();
    let (_, hello) = wire::samples().into_iter().find(|(_, f)| matches!(f, Frame::Hello(_))).unwrap();
    let said = [hello.encode().bytes(), &[23]].concat();
    let records = [record(&traffic, 0, &[22]), record(&traffic, 1, &said)].concat();
    stranger.pipe.0.borrow_mut().input.extend(records);
    driver.turn();
    driver.turn();
    assert!(stranger.pipe.0.borrow().closed, "it is cut");
    driver.check();
}

/// A client holds every buffer that its connections have a right to, and breaks the protocol on the
/// ProxyChannel of a visit. The window of that connection is still out with the frame while its rights
/// are given back, and the next ProxyChannel takes its last buffer.
#[test]
fn a_connection_that_breaks_the_protocol_gives_its_buffers_back_before_its_rights() {
    let config = Arc::new(client_config(Arc::default()));
    let (hand, mut driver) = tls_server(4);

    let mut cmd = tunnel(&hand, &mut driver, &config);
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
    let map = Map { index: 0, mapping: "127.0.0.1:2000:80" };
    cmd.say(Frame::Map(map).encode().bytes());
    cmd.turn(&mut driver);
    let Ok(Some((Frame::Welcome(welcome), _))) = wire::next(&cmd.heard) else { panic!("no WELCOME") };
    let attach = keys.attach_key(Transport::Tls, &cmd.binding(), &welcome.session);
    let mut proxies: Vec<Tunnel> = (1..=2)
        .map(|channel| {
            let mut proxy = tunnel(&hand, &mut driver, &config);
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
    let visitor = hand.arrive(1);
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
