//! A server's certificate, checked by roots.

use rustls::client::danger::ServerCertVerified;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{Error, RootCertStore};

use super::provider;

/// Roots, and the names for one of which a certificate must be good.
#[derive(Debug)]
pub struct Roots {
    roots: RootCertStore,
    names: Vec<ServerName<'static>>,
}

impl Roots {
    /// These roots, for these names.
    pub const fn new(roots: RootCertStore, names: Vec<ServerName<'static>>) -> Self {
        Self { roots, names }
    }

    /// Whether one of the roots has signed for one of the names, and still does. Nobody is asked for revocations.
    pub(super) fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let cert = ParsedCertificate::try_from(end_entity)?;
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&cert, &self.roots, intermediates, now, algorithms)?;
        let mut result = Err(Error::General("no name to check".into()));
        for name in &self.names {
            result = verify_server_name(&cert, name);
            if result.is_ok() {
                break;
            }
        }
        result.map(|()| ServerCertVerified::assertion())
    }
}
