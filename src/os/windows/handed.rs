//! Listeners that a service manager hands over: no manager here does.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// What was handed over: nothing.
#[derive(Clone, Debug, Default)]
pub struct Handed;

impl Handed {
    /// Nothing was handed to this process.
    ///
    /// # Errors
    /// None.
    pub fn take() -> Result<Self, String> {
        Ok(Self)
    }

    /// The listener for this address: none.
    pub(in crate::os) fn find(&self, _: SocketAddr) -> Option<io::Result<TcpListener>> {
        None
    }

    /// Whether there is one for this address.
    pub fn has(&self, _: SocketAddr) -> bool {
        false
    }
}
