//! What a service manager is told: no manager here asks.

use crate::note::Note;
use crate::time::Time;

/// A word with nobody.
pub(in crate::os) struct Notify;

impl Notify {
    pub(in crate::os) fn of_system() -> Self {
        Self
    }

    pub(in crate::os) fn ready(&self) {}

    pub(in crate::os) fn stopping(&self) {}

    pub(in crate::os) fn turns(&mut self, _: Time, until: Time) -> Time {
        until
    }

    pub(in crate::os) fn note(&self, _: &Note) {}
}
