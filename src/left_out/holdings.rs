//! In the place of what a server keeps beside its connections: nothing.

use super::Driver;
use crate::net::Net;
use crate::role::Verb;

impl<N: Net> Driver<N> {
    pub(super) fn look_after(&mut self, _role: usize, _: Verb) {}
}
