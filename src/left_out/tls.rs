//! In the place of TLS: neither end speaks it. Both roles want the feature `tls`; without them there is little of nt.

#[path = "serving.rs"]
mod serving;

use crate::arena::{Arena, Window};
use crate::reason::Reason;
pub use serving::{Certificates, Peek};

/// Makes the TLS side of connections: of none.
#[derive(Clone, Debug, Default)]
pub struct Security;

/// The TLS side of a connection: there is none.
pub enum Tls {}

/// What [`Tls::process`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in `tls.rs`")]
pub enum Progress {
    Made,
    Need,
    Closed,
}

#[allow(missing_docs, clippy::missing_errors_doc, reason = "as in `tls.rs`")]
impl Security {
    pub fn connect(&self) -> Result<Tls, Reason> {
        Err(Reason::Tls)
    }
}

#[allow(missing_docs, clippy::missing_errors_doc, reason = "as in `tls.rs`")]
impl Tls {
    pub fn cipher(&mut self) -> &mut Window {
        match *self {}
    }

    pub fn is_open(&self) -> bool {
        match *self {}
    }

    pub fn binding(&mut self) -> Option<[u8; 32]> {
        match *self {}
    }

    pub fn process(&mut self, _: &mut Window, _: &mut Window, _: &mut Arena) -> Result<Progress, Reason> {
        match *self {}
    }

    pub fn seal(&mut self, _plain: &[u8], _: &mut Window, _: &mut Arena) -> Result<(), Reason> {
        match *self {}
    }

    pub fn close(&mut self, _: &mut Window, _: &mut Arena) {
        match *self {}
    }

    pub fn holds_buffer(&self) -> bool {
        match *self {}
    }

    pub fn has_unread(&self) -> bool {
        match *self {}
    }

    pub fn clear(&mut self, _: &mut Arena) {
        match *self {}
    }
}
