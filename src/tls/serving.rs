//! TLS that ends here: that of clients, and of visitors.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, UnbufferedServerConnection};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};

use super::{ALPN, Conn, Security, Tls, provider, visitors};
use crate::reason::Reason;
pub use visitors::{Certificates, Peek};

/// With whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Serving {
    clients: Option<Arc<ServerConfig>>,
    visitors: Option<Arc<ServerConfig>>,
}

impl Security {
    /// Adds the server's end.
    ///
    /// # Errors
    /// The key does not fit the certificate.
    pub fn with_server(
        mut self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, String> {
        let certified = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|e| format!("the server's certificate and key cannot be used: {e}"))?;
        self.serve_clients(Arc::new(certified))?;
        Ok(self)
    }

    /// Has TLS of clients end here, with this certificate from now on.
    fn serve_clients(&mut self, own: Arc<CertifiedKey>) -> Result<(), String> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|e| e.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Shy(own)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.key_log = self.tap.clone();
        self.serving.clients = Some(Arc::new(config));
        Ok(())
    }

    /// Has TLS end here with these certificates from now on: that of visitors with the one for their name, that of
    /// clients with the last, which is the server's own.
    ///
    /// # Errors
    /// There is none.
    pub fn serve(&mut self, certificates: Certificates) -> Result<(), String> {
        let own = certificates.last().ok_or("there is no certificate of the server's own")?;
        self.serve_clients(own)?;
        self.serving.visitors = Some(visitors::config(certificates, self.tap.clone())?);
        Ok(())
    }

    /// TLS for a connection that came in: a client's.
    ///
    /// # Errors
    /// [`Reason::Tls`] where this process has no server's end.
    pub fn accept(&self) -> Result<Tls, Reason> {
        self.accept_by(self.serving.clients.as_ref())
    }

    /// TLS for a connection that came in: a visitor's.
    ///
    /// # Errors
    /// [`Reason::Tls`] where this process has no certificates for visitors.
    pub fn accept_visitor(&self) -> Result<Tls, Reason> {
        self.accept_by(self.serving.visitors.as_ref())
    }

    fn accept_by(&self, config: Option<&Arc<ServerConfig>>) -> Result<Tls, Reason> {
        let config = config.cloned().ok_or(Reason::Tls)?;
        let conn = UnbufferedServerConnection::new(config).map_err(|_| Reason::Tls)?;
        Ok(Tls::new(Conn::Server(conn), self.tap.clone()))
    }
}

/// Shows the certificate to those alone who offer to speak nt: to others there is nothing here.
#[derive(Debug)]
struct Shy(Arc<CertifiedKey>);

impl ResolvesServerCert for Shy {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        visitors::speaks(&hello, ALPN).then(|| self.0.clone())
    }
}
