//! A server's certificate, checked by roots.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{Error, RootCertStore};

use super::provider;

/// Roots, and the names for one of which a certificate must be good.
#[derive(Debug)]
pub struct Roots {
    verifier: Arc<WebPkiServerVerifier>,
    names: Vec<ServerName<'static>>,
}

impl Roots {
    /// These roots, for these names.
    ///
    /// # Errors
    /// The roots cannot be used.
    pub fn new(roots: RootCertStore, names: Vec<ServerName<'static>>) -> Result<Self, String> {
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|e| format!("the certificates given to --ca cannot be used: {e}"))?;
        Ok(Self { verifier, names })
    }

    pub(super) fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut result = Err(Error::General("no name to check".into()));
        for name in &self.names {
            result = self.verifier.verify_server_cert(end_entity, intermediates, name, ocsp, now);
            if result.is_ok() {
                break;
            }
        }
        result
    }
}
