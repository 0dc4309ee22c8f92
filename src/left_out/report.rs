//! In the place of what the operator is shown of a client: nothing.

use super::Client;
use crate::role::Outbox;
use crate::slots::Key;
use crate::time::Time;

impl Client {
    /// The same client.
    #[must_use]
    pub fn with_status_at(self, _path: Option<String>) -> Self {
        self
    }

    pub(super) fn open_status(&mut self, _: &mut Outbox<'_>) {}

    pub(super) fn say_status(&self, _: Time, _: Key, _: &mut Outbox<'_>) {}
}
