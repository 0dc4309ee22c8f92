//! In the place of what the operator is shown of a client: nothing.

use super::Client;
use crate::role::Outbox;
use crate::slots::Key;
use crate::time::Time;

impl Client {
    pub(super) fn open_status(&mut self, _: &mut Outbox<'_>) {}

    pub(super) fn say_status(&self, _: Time, _: Key, _: &mut Outbox<'_>) {}
}
