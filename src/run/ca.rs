//! Whom `--ca` trusts.

use std::fmt::Display;
use std::fs;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::config::Ca;
use crate::tls::Roots;

/// The certificates that `--ca` names, for servers of these names.
pub(super) fn roots(ca: &Ca, servers: &[(String, u16)]) -> Result<Roots, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Ca::Webpki => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Ca::File(path) => {
            let place = path.display();
            let wrong = |error: &dyn Display| {
                format!("--ca {place}: {error}; it must be a PEM file of certificates, or `webpki`")
            };
            let text = fs::read(path).map_err(|error| wrong(&error))?;
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
            let certificates = certificates.map_err(|error| wrong(&error))?;
            if roots.add_parsable_certificates(certificates).0 == 0 {
                return Err(format!("--ca {place}: no certificate in it can be used"));
            }
        }
    }
    let name = |(host, _): &(String, u16)| {
        ServerName::try_from(host.clone()).map_err(|_| {
            format!("{host} is no name that a certificate could have; with --ca, use the server's DNS name")
        })
    };
    Ok(Roots::new(roots, servers.iter().map(name).collect::<Result<_, _>>()?))
}
