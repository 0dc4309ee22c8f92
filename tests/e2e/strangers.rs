//! Whoever has no license: silent crowds, garbage, a man in the middle, what was recorded before. And that those who
//! have one do not notice.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nt::wire::Frame;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};

use super::data::Random;
use super::harness::{BOTH, Backend, Kind, SOON, Server, Tunnel, port};
use super::process::{Process, eventually, need};
use super::relay::Relay;

/// A connection from one of the many addresses of loopback.
fn from(address: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, ipproto, socket_with};
    // Not for the processes that are started meanwhile.
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    bind(&socket, &SocketAddr::from((address, 0)))?;
    connect(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(TcpStream::from(socket))
}

/// A client logs in, and the time that took: the best of a few, since the machine does other things as well.
fn login_time(tunnel: &mut Tunnel) -> Duration {
    (0..3)
        .map(|_| {
            tunnel.client.kill();
            tunnel.server.process.forget();
            let begun = Instant::now();
            tunnel.client_again();
            tunnel.client.wait_for(" ready", SOON);
            begun.elapsed()
        })
        .min()
        .unwrap()
}

/// Lines that differ in the stranger's address only are one cause, which may be said once a minute.
fn says_each_cause_once(process: &Process) {
    let mut causes = std::collections::BTreeMap::<String, u32>::new();
    for line in process.log().lines() {
        if ["login from", "without a login", "before login"].iter().any(|text| line.contains(text)) {
            let words = line.split(' ').filter(|word| !word.contains("127.0."));
            *causes.entry(words.collect::<Vec<_>>().join(" ")).or_default() += 1;
        }
    }
    causes.retain(|_, count| *count > 1);
    assert!(causes.is_empty(), "said more than once in a minute: {causes:?}");
}

#[test]
fn five_thousand_silent_connections_do_not_keep_a_client_out() {
    for kind in BOTH {
        let mut tunnel = Tunnel::to(kind, port());
        let door = tunnel.server.port(kind);
        let begun = Instant::now();
        let crowd: Vec<TcpStream> =
            (0..5000u32).filter_map(|n| from(Ipv4Addr::from(0x7F00_0002 + n / 50), door).ok()).collect();
        assert!(crowd.len() > 4900, "only {} could connect", crowd.len());
        eventually("the bound on strangers is kept", SOON, || {
            tunnel.server.process.files().tunnels <= nt::limits::STRANGERS_MAX + 16
        });
        let took = login_time(&mut tunnel);
        println!("{kind:?}: {} came in {:?}; a login took {took:?}", crowd.len(), begun.elapsed());
        assert!(took < Duration::from_secs(1), "{kind:?}: a login among strangers took {took:?}");
        tunnel.echo_once();
        let memory = tunnel.server.process.memory_kib();
        assert!(memory < 32 * 1024, "{kind:?}: {memory} KiB for {} strangers", crowd.len());
        says_each_cause_once(&tunnel.server.process);
        // The last of them are put out when their five seconds are over, and are told nothing.
        thread::sleep(Duration::from_secs(6).saturating_sub(begun.elapsed()));
        let mut last = crowd.last().unwrap();
        last.set_read_timeout(Some(SOON)).unwrap();
        assert!(
            matches!(last.read(&mut [0]), Ok(0) | Err(_)),
            "{kind:?}: a silent stranger is told something"
        );
        drop(crowd);
    }
}

/// What strangers say: nothing that is a login.
fn garbage() -> Vec<Vec<u8>> {
    let mut random = Random(99);
    let mut all: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: nt\r\n\r\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        vec![0; 4096],
        vec![0xFF; 70_000],
        // Oversize and empty frames of every type.
        vec![0x01, 0xFF, 0xFF, 0xFF],
        vec![0x12, 0, 0, 0],
        vec![0x16, 3, 1, 0xFF, 0xFF],
        [&[0x16, 3, 1, 0x40, 0][..], &[1; 16_384]].concat(),
    ];
    for (_, frame) in nt::wire::samples() {
        let bytes = frame.encode().bytes().to_vec();
        all.push(bytes[..bytes.len() / 2].to_vec());
        all.push([bytes.clone(), bytes.clone()].concat());
        all.push(bytes);
    }
    for size in [1, 3, 4, 5, 100, 1024, 5000] {
        all.push((0..size).map(|_| random.next() as u8).collect());
    }
    all
}

/// What the far end says to these bytes, until it closes.
fn answer_to(address: Ipv4Addr, port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = from(address, port).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    // A reset is as good an end as any here.
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "kept for {SOON:?}: {bytes:02x?}");
    }
    answer
}

#[test]
fn garbage_gets_no_answer_and_harms_nobody() {
    let mut tunnel = Tunnel::to(Kind::Tls, port());
    let doors = [tunnel.server.tls, tunnel.server.plain];
    let senders: Vec<_> = garbage()
        .into_iter()
        .enumerate()
        .flat_map(|(n, bytes)| doors.map(|door| (n, door, bytes.clone())))
        .map(|(n, door, bytes)| {
            let address = Ipv4Addr::new(127, 0, 1, n as u8 + 1);
            thread::spawn(move || (answer_to(address, door, &bytes), bytes, door))
        })
        .collect();
    let took = login_time(&mut tunnel);
    assert!(took < Duration::from_secs(1), "a login beside garbage took {took:?}");
    for sender in senders {
        let (answer, bytes, door) = sender.join().unwrap();
        let is_alert = answer.len() == 7 && answer[0] == 0x15;
        // A good NONCE on the plain port is answered by a nonce, and a proof that fails by a REJECT that says nothing.
        let is_frame = door == doors[1] && matches!(answer.first(), Some(0x03 | 0x04));
        assert!(answer.is_empty() || is_alert || is_frame, "{door}: {bytes:02x?} was answered {answer:02x?}");
    }
    says_each_cause_once(&tunnel.server.process);
}

#[test]
fn one_byte_a_second_is_not_enough_to_stay() {
    let tunnel = Tunnel::to(Kind::Tls, port());
    let frame = Frame::Nonce([7; 32]).encode().bytes().to_vec();
    let begun = Instant::now();
    let mut stream = from(Ipv4Addr::new(127, 0, 0, 9), tunnel.server.plain).unwrap();
    let sent = frame.iter().take_while(|byte| {
        thread::sleep(Duration::from_secs(1));
        stream.write_all(&[**byte]).is_ok()
    });
    let sent = sent.count();
    assert!(sent < 12 && begun.elapsed() < Duration::from_secs(15), "{sent} bytes in {:?}", begun.elapsed());
}

/// What openssl says of a handshake with the TLS port.
fn openssl(port: u16, words: &[&str]) -> String {
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-connect", &format!("127.0.0.1:{port}")]).args(words).stdin(Stdio::null());
    let output = openssl.output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn tls_1_2_and_other_protocols_are_refused() {
    if !need(&["openssl"]) {
        return;
    }
    let tunnel = Tunnel::to(Kind::Tls, port());
    for words in [&["-tls1_2"][..], &["-tls1_3", "-alpn", "h2"]] {
        let said = openssl(tunnel.server.tls, words);
        assert!(said.contains("Cipher is (NONE)") && !said.contains("BEGIN CERT"), "{words:?}: {said}");
    }
    let right = openssl(tunnel.server.tls, &["-tls1_3", "-alpn", "nt/1"]);
    assert!(right.contains("ALPN protocol: nt/1") && right.contains("TLSv1.3"), "{right}");
}

#[test]
fn tls_without_the_name_of_nt_is_refused() {
    if !need(&["openssl"]) {
        return;
    }
    let tunnel = Tunnel::to(Kind::Tls, port());
    let said = openssl(tunnel.server.tls, &["-tls1_3"]);
    assert!(said.contains("Cipher is (NONE)") && !said.contains("BEGIN CERT"), "{said}");
}

#[test]
fn what_was_recorded_cannot_be_played_again() {
    for kind in BOTH {
        let server = Server::start();
        let relay = Relay::to(server.port(kind));
        let echo = Backend::echo();
        let mapping = [format!("{}:127.0.0.1:{}", port(), echo.port)];
        let client = server.client_at("127.0.0.1", relay.port(), kind, &server.license, &mapping, |_| {});
        client.wait_for(" ready", SOON);
        eventually("a ProxyChannel was made", SOON, || relay.said().len() >= 2);
        thread::sleep(Duration::from_millis(500));
        for (n, said) in relay.said().into_iter().enumerate() {
            let answer = answer_to(Ipv4Addr::new(127, 0, 0, 7), server.port(kind), &said);
            if kind == Kind::Plain {
                // A nonce, and then REJECT or nothing at all; WELCOME is type 2, CONNECT 16.
                assert!(matches!(answer.first(), None | Some(0x04)), "{n}: {answer:02x?}");
                assert!(matches!(answer.get(36), None | Some(0x03)), "{n}: {answer:02x?}");
            }
        }
        assert_eq!(
            server.process.log().count("logged in"),
            1,
            "{kind:?}: {:?}",
            server.process.log().lines()
        );
        assert_eq!(client.log().count("trying again"), 0, "{kind:?}: the client noticed");
        if kind == Kind::Plain {
            server.process.wait_for("no license of this server proves it", SOON);
        }
        let seed = nt_bytes(&server.license);
        let told = relay
            .said()
            .iter()
            .any(|said| contains(said, &seed) || contains(said, server.license.as_bytes()));
        assert!(!told, "{kind:?}: the license went over the wire");
    }
}

/// The seed of a license: its bytes after the public name, without the checksum.
fn nt_bytes(license: &str) -> Vec<u8> {
    let mut bits = 0u32;
    let mut count = 0;
    let mut bytes = Vec::new();
    for letter in license[3..].bytes() {
        let value = match letter {
            b'a'..=b'z' => letter - b'a',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => continue,
        };
        bits = bits << 5 | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes[8..28].to_vec()
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

/// Passes what one end says to the other, in both directions, with TLS ended on both sides.
fn splice(
    mut client: rustls::StreamOwned<rustls::ServerConnection, TcpStream>,
    mut server: rustls::StreamOwned<rustls::ClientConnection, TcpStream>,
    seen: &Mutex<Vec<u8>>,
) {
    let wait = Some(Duration::from_millis(20));
    let (mut buffer, begun) = ([0; 16_384], Instant::now());
    client.sock.set_read_timeout(wait).unwrap();
    server.sock.set_read_timeout(wait).unwrap();
    while begun.elapsed() < SOON {
        for to_server in [true, false] {
            let result = if to_server { client.read(&mut buffer) } else { server.read(&mut buffer) };
            let passed = match result {
                Ok(0) => return,
                Ok(count) if to_server => {
                    seen.lock().unwrap().extend_from_slice(&buffer[..count]);
                    server.write_all(&buffer[..count]).and_then(|()| server.flush())
                }
                Ok(count) => client.write_all(&buffer[..count]).and_then(|()| client.flush()),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
                Err(_) => return,
            };
            if passed.is_err() {
                return;
            }
        }
    }
}

/// Ends TLS with a certificate of its own, and speaks TLS with the server: what any proxy that is trusted could do.
fn man_in_the_middle(target: u16) -> (Backend, Arc<Mutex<Vec<u8>>>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"nt/1".to_vec()];
    let config = Arc::new(config);
    let outward = Arc::new(trusting(provider));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let backend = Backend::new(move |client| {
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).unwrap();
        let inward = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let outward = rustls::ClientConnection::new(Arc::clone(&outward), name).unwrap();
        splice(rustls::StreamOwned::new(inward, client), rustls::StreamOwned::new(outward, server), &keep);
    });
    (backend, seen)
}

/// A TLS client that takes any certificate.
fn trusting(provider: Arc<rustls::crypto::CryptoProvider>) -> rustls::ClientConfig {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};

    #[derive(Debug)]
    struct Anything(Arc<rustls::crypto::CryptoProvider>);
    impl ServerCertVerifier for Anything {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }

    let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"nt/1".to_vec()];
    config
}

#[test]
fn a_man_in_the_middle_of_tls_gets_nobody_in() {
    let server = Server::start();
    let (middle, seen) = man_in_the_middle(server.tls);
    let public = port();
    let mapping = [format!("{public}:127.0.0.1:9")];
    let client = server.client_at("127.0.0.1", middle.port, Kind::Tls, &server.license, &mapping, |_| {});
    client.wait_for("trying again", SOON);
    server.process.wait_for("no license of this server proves it", SOON);
    thread::sleep(Duration::from_secs(2));
    assert_eq!(server.process.log().count("logged in"), 0);
    assert_eq!(client.log().count("ready") + client.log().count("logged in"), 0);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.first(), Some(&0x01), "the relay saw no HELLO: {seen:02x?}");
    assert!(!contains(&seen, &nt_bytes(&server.license)), "the man in the middle saw the license");
}

#[test]
fn a_client_in_front_of_the_wrong_port_says_so_and_never_falls_back() {
    let server = Server::start();
    let mapping = [format!("{}:127.0.0.1:9", port())];
    for (kind, wrong) in [(Kind::Tls, server.plain), (Kind::Plain, server.tls)] {
        let mut client = server.client_at("127.0.0.1", wrong, kind, &server.license, &mapping, |_| {});
        client.wait_for("trying again", SOON);
        thread::sleep(Duration::from_secs(1));
        assert_eq!(client.log().count("logged in"), 0, "{kind:?}");
        assert!(client.runs(), "{kind:?}");
    }
    assert_eq!(server.process.log().count("logged in"), 0);
}

#[test]
fn ten_thousand_bad_logins_leave_nothing() {
    let mut tunnel = Tunnel::to(Kind::Tls, port());
    let login: Vec<u8> = [Frame::Nonce([7; 32]), stranger_s_hello()]
        .iter()
        .flat_map(|frame| frame.encode().bytes().to_vec())
        .collect();
    let storm = |logins: u32| {
        thread::scope(|scope| {
            for part in 0..8 {
                let (login, door) = (&login, tunnel.server.plain);
                scope.spawn(move || {
                    for n in (part..logins).step_by(8) {
                        let address = Ipv4Addr::from(0x7F00_0102 + n % 5_000);
                        let answer = answer_to(address, door, login);
                        // A nonce, and REJECT; or nothing, where too many came at once.
                        assert!(matches!(answer.get(36), None | Some(0x03)), "{answer:02x?}");
                    }
                });
            }
        });
    };
    storm(2_000);
    let before = tunnel.server.process.memory_kib();
    storm(8_000);
    let after = tunnel.server.process.memory_kib();
    assert!(after < before + 512, "from {before} to {after} KiB in 8,000 bad logins");
    tunnel.server.process.wait_for("no license of this server proves it", SOON);
    says_each_cause_once(&tunnel.server.process);
    let took = login_time(&mut tunnel);
    assert!(took < Duration::from_secs(1), "a login after them took {took:?}");
}

/// A HELLO in good form that proves nothing.
fn stranger_s_hello() -> Frame<'static> {
    let (_, hello) =
        nt::wire::samples().into_iter().find(|(_, frame)| matches!(frame, Frame::Hello(_))).unwrap();
    hello
}
