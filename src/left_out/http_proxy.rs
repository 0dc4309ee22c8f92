//! In the place of a proxy for HTTP: whoever comes is sent away. No mapping leads here.

use super::Next;
use crate::http::Body;
use crate::mapping::Auth;
use crate::reason::Reason;

#[derive(Default)]
pub(super) struct HttpProxy(());

impl HttpProxy {
    pub(super) fn hear(&mut self, _heard: &mut Vec<u8>, _: Option<&Auth>, _say: &mut Vec<u8>) -> Next {
        Next::End
    }

    pub(super) fn first(&self, _heard: &[u8]) -> Vec<u8> {
        Vec::new()
    }

    pub(super) fn granted(&self) -> Vec<u8> {
        Vec::new()
    }

    pub(super) fn rest(&self) -> Option<Body> {
        None
    }

    pub(super) fn refused(&self, _: Reason, _asked: bool) -> Vec<u8> {
        Vec::new()
    }
}
