//! In the place of TLS that ends here: none does.

use super::{Security, Tls};
use crate::reason::Reason;
use crate::role::Greeting;

/// With whom: with nobody.
#[derive(Clone, Debug, Default)]
pub(super) struct Serving;

/// Certificates for names: there are none.
#[derive(Debug)]
pub enum Certificates {}

#[allow(missing_docs, clippy::missing_errors_doc, reason = "as in `tls/visitors.rs`")]
impl Certificates {
    pub fn len(&self) -> usize {
        match *self {}
    }

    pub fn is_empty(&self) -> bool {
        match *self {}
    }
}

/// Reads a ClientHello: none comes.
#[derive(Debug, Default)]
pub struct Peek;

#[allow(missing_docs, clippy::missing_errors_doc, reason = "as in `tls/visitors.rs`")]
impl Peek {
    pub fn hear(&mut self, _: &[u8]) -> Result<Option<Greeting>, Reason> {
        Err(Reason::Tls)
    }
}

#[allow(missing_docs, clippy::missing_errors_doc, reason = "as in `tls/serving.rs`")]
impl Security {
    pub fn serve(&mut self, certificates: Certificates) -> Result<(), String> {
        match certificates {}
    }

    pub fn accept(&self) -> Result<Tls, Reason> {
        Err(Reason::Tls)
    }

    pub fn accept_visitor(&self) -> Result<Tls, Reason> {
        Err(Reason::Tls)
    }
}
