//! TLS of visitors: what a ClientHello asks for, and certificates by name.

use std::fmt;
use std::io::Read;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{Acceptor, ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};

use super::{ALPN, Tap, provider};
use crate::reason::Reason;
use crate::role::Greeting;

/// What visitors speak over TLS, in ALPN (RFC 7301 section 6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// Reads a ClientHello, in whatever pieces it comes. Boxed: they stand in a row that is moved.
#[derive(Default)]
pub struct Peek(Box<Acceptor>);

impl Peek {
    /// Takes what has come since the last time; what it asks for, once that is whole.
    ///
    /// # Errors
    /// It is no ClientHello.
    pub fn hear(&mut self, mut bytes: &[u8]) -> Result<Option<Greeting>, Reason> {
        while !bytes.is_empty() {
            if self.0.read_tls(&mut bytes as &mut dyn Read).map_err(|_| Reason::Tls)? == 0 {
                break;
            }
            if let Some(accepted) = self.0.accept().map_err(|_| Reason::Tls)? {
                let hello = accepted.client_hello();
                let name = hello.server_name().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
                return Ok(Some(Greeting { name, speaks_nt: speaks(&hello, ALPN) }));
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for Peek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Peek")
    }
}

pub(super) fn speaks(hello: &ClientHello<'_>, protocol: &[u8]) -> bool {
    hello.alpn().is_some_and(|mut names| names.any(|name| name == protocol))
}

/// Certificates and their keys, each for the names that stand in it.
#[derive(Clone, Debug, Default)]
pub struct Certificates(Vec<Arc<CertifiedKey>>);

impl Certificates {
    /// Adds a certificate, with any between it and a root, and its key.
    ///
    /// # Errors
    /// They do not belong together, or are of a kind that is not known here.
    pub fn add(
        &mut self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), rustls::Error> {
        self.0.push(Arc::new(CertifiedKey::from_der(chain, key, &provider())?));
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one that was added last.
    pub(super) fn last(&self) -> Option<Arc<CertifiedKey>> {
        self.0.last().cloned()
    }

    /// The one for this name: the first in which it stands, else the last of all.
    fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let wanted = ServerName::try_from(name).ok();
        let is_for = |key: &&Arc<CertifiedKey>| {
            let leaf = key.end_entity_cert().ok().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
            leaf.zip(wanted.as_ref()).is_some_and(|(leaf, wanted)| verify_server_name(&leaf, wanted).is_ok())
        };
        self.0.iter().find(is_for).or_else(|| self.0.last()).cloned()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name().unwrap_or_default())
    }
}

/// How TLS of visitors ends here.
pub(super) fn config(certificates: Certificates, tap: Arc<Tap>) -> Result<Arc<ServerConfig>, String> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.key_log = tap;
    Ok(Arc::new(config))
}
