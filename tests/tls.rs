//! TLS by itself: both ends agree on the binding, OpenSSL agrees too, and a certificate without its key is nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use nt::arena::{Arena, Window};
use nt::identity::Identity;
use nt::reason::Reason;
use nt::tls::{ALPN, Progress, Security, Tls, Trust};

/// One end, and its bytes.
struct End {
    tls: Tls,
    plain: Window,
    out: Window,
    arena: Arena,
}

impl End {
    fn new(tls: Tls) -> Self {
        let mut arena = Arena::new(3);
        assert!(arena.reserve(3));
        Self { tls, plain: Window::default(), out: Window::default(), arena }
    }

    /// Takes bytes from the network, as many at a time as `chunk`.
    fn take(&mut self, bytes: &[u8], chunk: usize) -> Result<(), Reason> {
        for bytes in bytes.chunks(chunk) {
            assert!(self.tls.cipher().push(bytes, &mut self.arena), "the window is large enough");
            self.go()?;
        }
        Ok(())
    }

    fn go(&mut self) -> Result<(), Reason> {
        while self.tls.process(&mut self.plain, &mut self.out, &mut self.arena)? == Progress::Made {}
        Ok(())
    }

    fn said(&mut self) -> Vec<u8> {
        let bytes = self.out.bytes().to_vec();
        self.out.clear(&mut self.arena);
        bytes
    }
}

fn security() -> Security {
    let Identity { chain, key } = Identity::fresh().expect("an identity");
    let security = Security::default().with_server(chain, key).expect("a good identity");
    security.with_client("nt.invalid", Trust::License).expect("a client")
}

/// Lets two ends talk until both are silent.
fn talk(client: &mut End, server: &mut End, chunk: usize) -> Result<(), Reason> {
    client.go()?;
    loop {
        let (up, down) = (client.said(), server.said());
        if up.is_empty() && down.is_empty() {
            return Ok(());
        }
        server.take(&up, chunk)?;
        client.take(&down, chunk)?;
    }
}

#[test]
fn both_ends_share_a_binding_and_no_two_connections_do() {
    let security = security();
    let mut seen = Vec::new();
    for chunk in [1, 7, 1_000, 16_000] {
        let mut client = End::new(security.connect().expect("a client"));
        let mut server = End::new(security.accept().expect("a server"));
        talk(&mut client, &mut server, chunk).expect("a handshake");
        assert!(client.tls.is_open() && server.tls.is_open());
        let binding = client.tls.binding().expect("a binding");
        assert_eq!(server.tls.binding(), Some(binding));
        assert_eq!(client.tls.binding(), None, "told once");
        assert!(!seen.contains(&binding));
        seen.push(binding);

        client.tls.seal(b"a visitor's first bytes", &mut client.out, &mut client.arena).expect("sealed");
        let sealed = client.said();
        server.take(&sealed, chunk).expect("opened");
        assert_eq!(server.plain.bytes(), b"a visitor's first bytes");
    }
}

#[test]
fn what_is_not_tls_is_an_error_and_nothing_else() {
    let security = security();
    for garbage in
        [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0xFF; 600], &[0x16, 3, 1, 0xFF, 0xFF, 1, 2, 3], &[0; 64]]
    {
        let mut server = End::new(security.accept().expect("a server"));
        // An error, or silence until the deadline.
        if server.take(garbage, 100).is_ok() {
            assert!(!server.tls.is_open() && server.out.is_empty());
        }
    }
}

/// rustls checks that a key fits its certificate; this server does not.
#[derive(Debug)]
struct Mismatch(Arc<rustls::sign::CertifiedKey>);

impl rustls::server::ResolvesServerCert for Mismatch {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(self.0.clone())
    }
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    let (theirs, ours) = (Identity::fresh().expect("one"), Identity::fresh().expect("another"));
    let key = rustls::crypto::ring::sign::any_eddsa_type(&match ours.key {
        rustls::pki_types::PrivateKeyDer::Pkcs8(key) => key,
        _ => unreachable!("an identity's key is PKCS #8"),
    });
    let certified = rustls::sign::CertifiedKey::new(theirs.chain, key.expect("a key"));
    let mut config = rustls::ServerConfig::builder_with_provider(far_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Mismatch(Arc::new(certified))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    let mut server = rustls::ServerConnection::new(Arc::new(config)).expect("a server");
    let mut client = End::new(security().connect().expect("a client"));
    client.go().expect("a ClientHello");
    server.read_tls(&mut client.said().as_slice()).expect("read");
    server.process_new_packets().expect("the ClientHello is good");
    let mut flight = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut flight).expect("written");
    }
    assert_eq!(client.take(&flight, 16_000), Err(Reason::Certificate));
    assert!(!client.tls.is_open());
}

/// rustls as others use it, with tickets and early data wherever it can, at the far end.
fn far_provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Lets one end of nt and one of rustls talk until both are silent.
fn meet<D>(near: &mut End, far: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<D>>) {
    near.go().expect("a step");
    for _ in 0..8 {
        let mut said = Vec::new();
        while far.wants_write() {
            far.write_tls(&mut said).expect("written");
        }
        near.take(&said, 16_000).expect("taken");
        let mut said = &near.said()[..];
        while !said.is_empty() {
            far.read_tls(&mut said).expect("read");
            far.process_new_packets().expect("good");
        }
    }
    assert!(near.tls.is_open() && !far.is_handshaking());
}

#[test]
fn a_server_gives_no_ticket() {
    let Identity { chain, key } = Identity::fresh().expect("an identity");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(chain[0].clone()).expect("a root");
    let security = Security::default().with_server(chain, key).expect("a good identity");
    let mut config = rustls::ClientConfig::builder_with_provider(far_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_early_data = true;
    let config = Arc::new(config);
    for _ in 0..2 {
        let name = "nt.invalid".try_into().expect("a name");
        let mut far = rustls::ClientConnection::new(config.clone(), name).expect("a client");
        assert!(far.early_data().is_none(), "it could send early data");
        meet(&mut End::new(security.accept().expect("a server")), &mut far);
        assert_eq!(far.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(far.tls13_tickets_received(), 0);
    }
}

#[test]
fn a_client_takes_no_ticket_and_sends_nothing_early() {
    let Identity { chain, key } = Identity::fresh().expect("an identity");
    let mut config = rustls::ServerConfig::builder_with_provider(far_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a good identity");
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.max_early_data_size = 1_000;
    config.ticketer = rustls::crypto::ring::Ticketer::new().expect("a ticketer");
    let config = Arc::new(config);
    let security = Security::default().with_client("nt.invalid", Trust::License).expect("a client");
    for _ in 0..2 {
        let mut far = rustls::ServerConnection::new(config.clone()).expect("a server");
        meet(&mut End::new(security.connect().expect("a client")), &mut far);
        assert_eq!(far.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert!(far.early_data().is_none());
    }
}

#[test]
fn openssl_exports_the_same_binding() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: openssl is not installed");
        return;
    }
    let folder = std::env::temp_dir().join(format!("nt-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (key, cert) = (folder.join("key.pem"), folder.join("cert.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=nt", "-keyout"])
        .args([&key, &std::path::PathBuf::from("-out"), &cert])
        .stderr(Stdio::null())
        .status();
    assert!(made.is_ok_and(|status| status.success()), "openssl makes a certificate");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let mut openssl = Command::new("openssl")
        .args(["s_server", "-tls1_3", "-alpn", "nt/1", "-num_tickets", "0", "-naccept", "1"])
        .args(["-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32", "-accept"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("-key")
        .arg(&key)
        .arg("-cert")
        .arg(&cert)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl s_server");
    let mut socket = (0..200)
        .find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(25));
            TcpStream::connect(("127.0.0.1", port)).ok()
        })
        .expect("s_server listens");
    let mut client = End::new(security().connect().expect("a client"));
    client.go().expect("a ClientHello");
    let mut buffer = [0; 4096];
    while !client.tls.is_open() {
        socket.write_all(&client.said()).expect("sent");
        let n = socket.read(&mut buffer).expect("received");
        client.take(&buffer[..n], 4096).expect("a handshake");
    }
    socket.write_all(&client.said()).expect("sent");
    let binding: String =
        client.tls.binding().expect("a binding").iter().map(|byte| format!("{byte:02X}")).collect();
    let lines = BufReader::new(openssl.stdout.take().expect("piped")).lines();
    let exported = lines
        .map_while(Result::ok)
        .find_map(|line| line.trim().strip_prefix("Keying material: ").map(str::to_owned));
    drop(socket);
    openssl.kill().expect("killed");
    openssl.wait().expect("gone");
    std::fs::remove_dir_all(&folder).expect("removed");
    assert_eq!(exported.as_deref(), Some(binding.as_str()));
}
