//! TLS 1.3 by rustls' unbuffered interface: arena to arena, nothing kept between records but keys. This folder is the
//! only place that speaks TLS.
//!
//! Certificates prove nothing here unless `--ca` asks for it: both ends prove the license over the
//! connection's exporter (RFC 9266), which a man in the middle cannot share. What is never skipped is the
//! signature that ties the handshake to the certificate's key.

mod keys;
#[cfg_attr(not(feature = "ca"), path = "left_out/roots.rs")]
mod roots;
#[cfg_attr(not(feature = "server"), path = "left_out/serving.rs")]
mod serving;
#[cfg(not(feature = "server"))]
#[path = "left_out/signing.rs"]
mod signing;
#[cfg(feature = "server")]
mod visitors;

use std::sync::{Arc, Mutex};

use ring::{digest, hkdf};
use rustls::client::UnbufferedClientConnection;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
#[cfg(feature = "server")]
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, KeyLog, SignatureScheme, SupportedCipherSuite, version,
};

use crate::arena::{Arena, Window};
use crate::limits::TLS_PLAIN_BYTES_MAX;
use crate::reason::Reason;
pub use roots::Roots;
use serving::Serving;
pub use serving::{Certificates, Peek};

/// The protocol's name in ALPN (RFC 7301): nothing else is spoken on a tunnel port.
pub const ALPN: &[u8] = b"nt/1";

/// Makes the TLS side of connections, for one end or both.
#[derive(Clone, Debug, Default)]
pub struct Security {
    client: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    #[cfg_attr(not(feature = "server"), expect(dead_code, reason = "with nobody"))]
    serving: Serving,
    tap: Arc<Tap>,
}

/// Whom a client trusts, besides the license.
#[derive(Debug)]
pub enum Trust {
    /// The license is enough.
    License,
    /// The certificate must also be good by these.
    Roots(Roots),
}

impl Security {
    /// Adds the client's end. `host` is the name that is asked for.
    ///
    /// # Errors
    /// The roots cannot be used.
    pub fn with_client(mut self, host: &str, trust: Trust) -> Result<Self, String> {
        let verifier = Verifier::new(trust);
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|e| e.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_early_data = false;
        config.key_log = self.tap.clone();
        let name = ServerName::try_from(host.to_owned())
            .or_else(|_| ServerName::try_from("nt.invalid"))
            .map_err(|e| e.to_string())?;
        self.client = Some((Arc::new(config), name));
        Ok(self)
    }

    /// TLS for a connection that was dialled.
    ///
    /// # Errors
    /// [`Reason::Tls`] where this process has no client's end.
    pub fn connect(&self) -> Result<Tls, Reason> {
        let (config, name) = self.client.clone().ok_or(Reason::Tls)?;
        let conn = UnbufferedClientConnection::new(config, name).map_err(|_| Reason::Tls)?;
        Ok(Tls::new(Conn::Client(conn), self.tap.clone()))
    }
}

/// ring, with the two suites whose exporter is 32 bytes; the faster one on this processor first.
fn provider() -> Arc<CryptoProvider> {
    let mut cipher_suites =
        [&keys::AES_128_GCM, &keys::CHACHA20_POLY1305].map(SupportedCipherSuite::Tls13).to_vec();
    if !has_aes() {
        cipher_suites.reverse();
    }
    let provider = CryptoProvider { cipher_suites, ..rustls::crypto::ring::default_provider() };
    // Who only dials signs nothing, and meets nobody but nt.
    #[cfg(not(feature = "server"))]
    let provider = CryptoProvider {
        kx_groups: vec![rustls::crypto::ring::kx_group::X25519],
        key_provider: &signing::NoKeys,
        ..provider
    };
    Arc::new(provider)
}

/// Whether the processor has instructions for AES.
fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
    return false;
}

/// The TLS side of one connection.
pub struct Tls {
    conn: Conn,
    /// Records, and the piece of one, that came in.
    cipher: Window,
    /// The binding, until [`Tls::binding`] takes it.
    binding: Option<[u8; 32]>,
    open: bool,
    tap: Arc<Tap>,
}

enum Conn {
    #[cfg(feature = "server")]
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What [`Tls::process`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Something was decrypted or is to be sent; there may be more.
    Made,
    /// More bytes are needed.
    Need,
    /// The peer closed TLS.
    Closed,
}

impl Tls {
    fn new(conn: Conn, tap: Arc<Tap>) -> Self {
        Self { conn, cipher: Window::default(), binding: None, open: false, tap }
    }

    /// Bytes from the network go here.
    pub fn cipher(&mut self) -> &mut Window {
        &mut self.cipher
    }

    /// Whether the handshake is over.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The 32 bytes that only the two ends of this connection share (RFC 9266), once.
    pub fn binding(&mut self) -> Option<[u8; 32]> {
        self.binding.take_if(|_| self.open)
    }

    /// Takes one step: decrypts one record into `plain`, or writes what the handshake has to say into `out`.
    ///
    /// # Errors
    /// [`Reason::Tls`] or [`Reason::Certificate`]; an alert may stand in `out`.
    pub fn process(
        &mut self,
        plain: &mut Window,
        out: &mut Window,
        arena: &mut Arena,
    ) -> Result<Progress, Reason> {
        // Once it is open, rustls has nothing to say but to what comes: it need not be asked.
        if (self.open && self.cipher.is_empty()) || plain.room() < plaintext_at_most(self.cipher.bytes()) {
            return Ok(Progress::Need);
        }
        let cipher = self.cipher.bytes_mut();
        let (discard, result) = match &mut self.conn {
            #[cfg(feature = "server")]
            Conn::Server(conn) => advance(conn.process_tls_records(cipher), plain, out, arena),
            Conn::Client(conn) => advance(conn.process_tls_records(cipher), plain, out, arena),
        };
        self.cipher.consume(discard.min(self.cipher.len()), arena);
        // The secret is told in the middle of the handshake, during the one call that makes it.
        if let Some(secret) = self.tap.take() {
            self.binding = Some(channel_binding(&secret));
        }
        let (progress, open) = result?;
        self.open |= open && self.binding.is_some();
        // A post-handshake message in pieces would leave rustls in the middle of it; nobody here sends one.
        if progress == Progress::Need && self.open && starts_with_record(self.cipher.bytes()) {
            return Err(Reason::Tls);
        }
        Ok(progress)
    }

    /// Encrypts `plain` behind what stands in `out`.
    ///
    /// # Errors
    /// [`Reason::Tls`]: the connection is of no use any more, or there was no room.
    pub fn seal(&mut self, plain: &[u8], out: &mut Window, arena: &mut Arena) -> Result<(), Reason> {
        loop {
            let sealed = match &mut self.conn {
                #[cfg(feature = "server")]
                Conn::Server(conn) => encrypt(conn.process_tls_records(&mut []), plain, out, arena),
                Conn::Client(conn) => encrypt(conn.process_tls_records(&mut []), plain, out, arena),
            }?;
            if sealed {
                return Ok(());
            }
        }
    }

    /// Says that nothing follows (RFC 8446 section 6.1), where it can still be said.
    pub fn close(&mut self, out: &mut Window, arena: &mut Arena) {
        match &mut self.conn {
            #[cfg(feature = "server")]
            Conn::Server(conn) => close(conn.process_tls_records(&mut []), out, arena),
            Conn::Client(conn) => close(conn.process_tls_records(&mut []), out, arena),
        }
    }

    /// Whether it holds a buffer.
    pub fn holds_buffer(&self) -> bool {
        self.cipher.holds_buffer()
    }

    /// Whether ciphertext has come that was not decrypted yet.
    pub fn has_unread(&self) -> bool {
        !self.cipher.is_empty()
    }

    /// Gives its buffer back.
    pub fn clear(&mut self, arena: &mut Arena) {
        self.cipher.clear(arena);
    }
}

/// One step of rustls: how many bytes to discard, and what happened, with whether data may be sent.
fn advance<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: &mut Window,
    out: &mut Window,
    arena: &mut Arena,
) -> (usize, Result<(Progress, bool), Reason>) {
    let mut discard = status.discard;
    let result = match status.state {
        Err(error) => Err(blame(&error)),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut result = Ok((Progress::Made, true));
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        if !plain.push(record.payload, arena) {
                            result = Err(Reason::Tls);
                        }
                    }
                    Err(error) => result = Err(blame(&error)),
                }
            }
            result
        }
        Ok(ConnectionState::EncodeTlsData(mut data)) => match data.encode(out.space(arena)) {
            Ok(n) => {
                out.filled(n);
                Ok((Progress::Made, false))
            }
            Err(_) => Err(Reason::Tls),
        },
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok((Progress::Made, false))
        }
        Ok(ConnectionState::BlockedHandshake) => Ok((Progress::Need, false)),
        Ok(ConnectionState::WriteTraffic(_)) => Ok((Progress::Need, true)),
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok((Progress::Closed, false)),
        Ok(_) => Err(Reason::Tls),
    };
    if out.is_empty() {
        out.clear(arena);
    }
    (discard, result)
}

/// Encrypts when rustls is ready for it; `false` when it had to send something of its own first.
fn encrypt<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: &[u8],
    out: &mut Window,
    arena: &mut Arena,
) -> Result<bool, Reason> {
    match status.state.map_err(|error| blame(&error))? {
        ConnectionState::WriteTraffic(mut traffic) => {
            let n = traffic.encrypt(plain, out.space(arena)).map_err(|_| Reason::Tls)?;
            out.filled(n);
            Ok(true)
        }
        ConnectionState::EncodeTlsData(mut data) => {
            let n = data.encode(out.space(arena)).map_err(|_| Reason::Tls)?;
            out.filled(n);
            Ok(false)
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(false)
        }
        _ => Err(Reason::Tls),
    }
}

fn close<D>(status: UnbufferedStatus<'_, '_, D>, out: &mut Window, arena: &mut Arena) {
    if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
        let said = traffic.queue_close_notify(out.space(arena));
        out.filled(said.unwrap_or(0));
    }
    if out.is_empty() {
        out.clear(arena);
    }
}

fn blame(error: &Error) -> Reason {
    match error {
        Error::InvalidCertificate(_) => Reason::Certificate,
        _ => Reason::Tls,
    }
}

/// How much plaintext the record at the front has at the most.
fn plaintext_at_most(bytes: &[u8]) -> usize {
    match bytes {
        [_, _, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])).min(TLS_PLAIN_BYTES_MAX),
        _ => 0,
    }
}

/// Whether a whole record stands at the front (RFC 8446 5.1).
fn starts_with_record(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, _, high, low, rest @ ..] if rest.len() >= usize::from(u16::from_be_bytes([*high, *low])))
}

// ── The exporter ────────────────────────────────────────────────────────────────────────────────────────────────────

/// Catches the exporter secret: the unbuffered interface of rustls 0.23 has no exporter call, and the key
/// log is where the secret passes. The program has one thread, so what was caught last belongs to the
/// connection just served.
#[derive(Debug, Default)]
struct Tap(Mutex<Option<Vec<u8>>>);

impl Tap {
    fn take(&self) -> Option<Vec<u8>> {
        self.0.lock().ok()?.take()
    }
}

impl KeyLog for Tap {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if self.will_log(label)
            && let Ok(mut slot) = self.0.lock()
        {
            *slot = Some(secret.to_vec());
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == "EXPORTER_SECRET"
    }
}

/// `EXPORTER-Channel-Binding` without context, 32 bytes (RFC 9266 section 2).
fn channel_binding(secret: &[u8]) -> [u8; 32] {
    export(secret, b"EXPORTER-Channel-Binding", b"")
}

/// TLS-Exporter of RFC 8446 section 7.5, for SHA-256 and 32 bytes.
fn export(secret: &[u8], label: &[u8], context: &[u8]) -> [u8; 32] {
    let empty = digest::digest(&digest::SHA256, b"");
    let derived = expand_label(secret, label, empty.as_ref());
    expand_label(&derived, b"exporter", digest::digest(&digest::SHA256, context).as_ref())
}

/// HKDF-Expand-Label of RFC 8446 section 7.1, for SHA-256 and 32 bytes.
fn expand_label(secret: &[u8], label: &[u8], context: &[u8]) -> [u8; 32] {
    let parts: [&[u8]; 6] =
        [&32_u16.to_be_bytes(), &[6 + label.len() as u8], b"tls13 ", label, &[context.len() as u8], context];
    let mut output = [0; 32];
    hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, secret)
        .expand(&parts, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut output))
        .expect("32 bytes are within what HKDF-SHA256 gives");
    output
}

// ── Certificates ────────────────────────────────────────────────────────────────────────────────────────────────────

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    roots: Option<Roots>,
}

impl Verifier {
    fn new(trust: Trust) -> Self {
        let roots = match trust {
            Trust::License => None,
            Trust::Roots(roots) => Some(roots),
        };
        Self { provider: provider(), roots }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.roots {
            None => Ok(ServerCertVerified::assertion()),
            Some(roots) => roots.verify(end_entity, intermediates, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
