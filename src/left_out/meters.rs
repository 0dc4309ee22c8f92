//! In the place of what counts and holds back: a client does neither.

use super::Driver;
use crate::meter::Limits;
use crate::net::Net;
use crate::slots::Key;
use crate::time::Time;

/// All meters: there are none.
#[derive(Debug, Default)]
pub(super) struct Meters;

impl Meters {
    pub(super) fn len(&self) -> usize {
        0
    }

    pub(super) fn next(&self) -> Time {
        Time::NEVER
    }
}

/// What may pass from one side of a pair to the other: all.
pub(super) struct Passage {
    pub(super) left: usize,
}

impl Passage {
    pub(super) const FREE: Self = Self { left: usize::MAX };

    pub(super) fn is_closed(&self) -> bool {
        false
    }
}

impl<N: Net> Driver<N> {
    pub(super) fn set_meter(&mut self, _role: usize, _: Key, _: Limits, _within: Option<Key>) {}

    pub(super) fn measure(&mut self, _visitor: Key, _meter: Key) {}

    pub(super) fn read_meters(&mut self, _role: usize) {}

    pub(super) fn drop_meter(&mut self, _: Key) {}

    pub(super) fn passage(&mut self, _from: Key, _to: Key) -> Passage {
        Passage::FREE
    }

    pub(super) fn passed(&mut self, _: &Passage) {}

    #[cfg(feature = "http")]
    pub(super) fn passed_anyhow(&mut self, _visitor: Key, _: crate::meter::Way, _bytes: usize) {}

    #[cfg(feature = "udp")]
    pub(super) fn may_pass_whole(&mut self, _visitor: Key, _: crate::meter::Way, _bytes: usize) -> bool {
        true
    }

    pub(super) fn go_on(&mut self) {}

    pub(super) fn check_held(&self) {}

    pub(super) fn tell_spent(&mut self) {}
}
