//! In the place of visitors who are known by what they say first: none comes.

use super::Driver;
use crate::net::Net;
use crate::role::{Ours, Speech};
use crate::slots::Key;

/// What has been heard: nothing.
#[derive(Default)]
pub(super) struct Greetings;

impl Greetings {
    pub(super) fn remove(&mut self, _: &Key) {}
}

impl<N: Net> Driver<N> {
    pub(super) fn await_greeting(&mut self, _: Key) {}

    pub(super) fn greet(&mut self, _: Key) {}

    pub(super) fn begin_tls(&mut self, _: Key, _: Ours) {}

    pub(super) fn recast(&mut self, _: Key, _: Speech) -> bool {
        false
    }

    pub(super) fn announce(&mut self, _: Key) {}
}
