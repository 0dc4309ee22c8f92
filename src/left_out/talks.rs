//! In the place of visitors who speak HTTP: there are none.

use super::Driver;
use crate::net::Net;
use crate::relay::Delivery;
use crate::slots::Key;

impl<N: Net> Driver<N> {
    pub(super) fn hear(&mut self, _: Key) {}

    pub(super) fn forward(&mut self, _: Key, _: &[u8], _keep: bool) {}

    pub(super) fn next_request(&mut self, _: Key) {}

    pub(super) fn answer(&mut self, _raw: Key, _proxy: Key, _most: usize) -> Option<Delivery> {
        None
    }
}
