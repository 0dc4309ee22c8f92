//! Meters: what passes between a visitor and the client is counted, and held back where a rate or a mark says so.
//!
//! Who is held back stands in the queue of the meter that is short, one queue for each way, and takes its turn: so
//! visitors who share a rate share it evenly, and none of them goes before another by being quicker. Datagrams are
//! never held back: what is too much is dropped, as on any line.

use std::collections::VecDeque;

use super::{Driver, Slot};
use crate::limits::{RATE_LOOK_EVERY, RATE_SLICE_BYTES_MAX};
use crate::meter::{Limits, Meter, Traffic, Way};
use crate::net::Net;
use crate::role::Input;
use crate::slots::Key;
use crate::sorted::Sorted;
use crate::time::Time;

/// One way of one meter.
type Lane = (Key, Way);

/// All meters.
#[derive(Debug)]
pub(super) struct Meters {
    all: Sorted<Key, ()>,
    /// Visitors who are held back, in the order in which they go on.
    held: Sorted<Lane, VecDeque<Key>>,
    /// When they are looked at.
    look: Time,
    /// The one that goes on now, past those who are held back.
    turn: Option<(Key, Way)>,
    /// Meters that have reached their mark, whose roles are still to be told.
    spent: Vec<Key>,
}

impl Default for Meters {
    fn default() -> Self {
        let (all, held) = (Sorted::new(), Sorted::new());
        Self { all, held, look: Time::NEVER, turn: None, spent: Vec::new() }
    }
}

impl Meters {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// When those who are held back are looked at.
    pub(super) fn next(&self) -> Time {
        self.look
    }
}

/// What may pass from one side of a pair to the other now.
pub(super) struct Passage {
    /// The visitor, its meter, and the way; none where nobody counts.
    of: Option<(Key, Key, Way)>,
    /// So much is left.
    pub(super) left: usize,
    /// So much was there.
    whole: usize,
}

impl Passage {
    /// Nobody counts.
    pub(super) const FREE: Self = Self { of: None, left: usize::MAX, whole: usize::MAX };

    /// Nothing may pass.
    pub(super) fn is_closed(&self) -> bool {
        self.left == 0
    }
}

impl<N: Net> Driver<N> {
    /// Makes a meter, or has it keep to other limits.
    pub(super) fn set_meter(&mut self, role: usize, key: Key, limits: Limits, within: Option<Key>) {
        match self.slots.get_mut(key) {
            Some(Slot::Meter(meter)) => {
                meter.limit(limits);
                self.meters.look = self.meters.look.min(self.now);
            }
            Some(slot) => {
                *slot = Slot::Meter(Box::new(Meter::new(role, limits, within)));
                self.meters.all.insert(key, ());
            }
            None => {}
        }
    }

    /// What passes a visitor's connection counts with this meter.
    pub(super) fn measure(&mut self, visitor: Key, meter: Key) {
        let held = match self.slots.get_mut(visitor) {
            Some(Slot::Link(link)) if link.meter == Some(meter) => return,
            Some(Slot::Link(link)) => {
                link.meter = Some(meter);
                std::mem::take(&mut link.held_back) != [false; 2]
            }
            Some(Slot::Flow(flow)) => {
                flow.meter = Some(meter);
                false
            }
            _ => false,
        };
        // Who goes elsewhere does not wait for what was short before.
        if held {
            self.meters.held.values_mut().for_each(|queue| queue.retain(|key| *key != visitor));
            self.enqueue(visitor);
        }
    }

    /// What has passed each meter since this was last asked.
    pub(super) fn read_meters(&mut self, role: usize) {
        let mut passed = Vec::new();
        for &key in self.meters.all.keys() {
            if let Some(Slot::Meter(meter)) = self.slots.get_mut(key)
                && meter.role == role
            {
                let traffic = meter.take();
                if traffic != Traffic::default() {
                    passed.push((key, traffic));
                }
            }
        }
        self.outcomes.push_back((role, Input::Passed(passed)));
    }

    /// A meter goes; what it has counted is told.
    pub(super) fn drop_meter(&mut self, key: Key) {
        let Some(Slot::Meter(mut meter)) = self.slots.remove(key) else { return };
        self.meters.all.remove(&key);
        self.outcomes.push_back((meter.role, Input::Passed(vec![(key, meter.take())])));
    }

    fn meter_of(&self, key: Key) -> Option<Key> {
        match self.slots.get(key)? {
            Slot::Link(link) => link.meter,
            Slot::Flow(flow) => flow.meter,
            _ => None,
        }
    }

    fn meter(&mut self, key: Key) -> Option<&mut Meter> {
        match self.slots.get_mut(key)? {
            Slot::Meter(meter) => Some(meter),
            _ => None,
        }
    }

    /// A meter and the one that it counts with.
    fn chain(&self, meter: Key) -> impl Iterator<Item = Key> + use<N> {
        let within = match self.slots.get(meter) {
            Some(Slot::Meter(meter)) => meter.within,
            _ => None,
        };
        std::iter::once(meter).chain(within)
    }

    /// How much may pass a meter, and which one is the narrowest.
    fn room(&mut self, meter: Key, way: Way) -> (u64, Key) {
        let now = self.now;
        let mut narrowest = (u64::MAX, meter);
        for key in self.chain(meter) {
            let room = self.meter(key).map_or(u64::MAX, |meter| meter.room(now, way));
            if room < narrowest.0 {
                narrowest = (room, key);
            }
        }
        narrowest
    }

    fn count(&mut self, meter: Key, way: Way, bytes: u64) {
        let now = self.now;
        for key in self.chain(meter) {
            if self.meter(key).is_some_and(|meter| meter.pass(now, way, bytes)) {
                self.meters.spent.push(key);
            }
        }
    }

    /// What may pass between the two sides of a pair now.
    pub(super) fn passage(&mut self, from: Key, to: Key) -> Passage {
        let metered = |key, way| self.meter_of(key).map(|meter| (key, meter, way));
        let Some(of) = metered(from, Way::Down).or_else(|| metered(to, Way::Up)) else {
            return Passage::FREE;
        };
        let (visitor, meter, way) = of;
        let (mut room, narrowest) = self.room(meter, way);
        if room < u64::MAX {
            let turn = self.meters.turn == Some((visitor, way));
            let crowd = self.chain(meter).find(|&key| self.meters.held.contains_key(&(key, way)));
            match crowd {
                // Others were here before.
                Some(first) if !turn => {
                    room = 0;
                    self.hold_back(visitor, (first, way));
                }
                Some(_) => room = room.min(RATE_SLICE_BYTES_MAX),
                None => {}
            }
            if room == 0 {
                self.hold_back(visitor, (narrowest, way));
            }
        }
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        Passage { of: Some(of), left: room, whole: room }
    }

    /// What has passed is counted. Who has used up what there was goes on in the next turn, or is held back.
    pub(super) fn passed(&mut self, passage: &Passage) {
        let Some((visitor, meter, way)) = passage.of else { return };
        let bytes = passage.whole - passage.left;
        if bytes > 0 {
            self.count(meter, way, bytes as u64);
        }
        if passage.is_closed() && bytes > 0 {
            let (room, narrowest) = self.room(meter, way);
            if room > 0 && !self.meters.held.contains_key(&(narrowest, way)) {
                self.postpone(visitor);
            } else {
                self.hold_back(visitor, (narrowest, way));
            }
        }
    }

    /// Bytes that pass whatever the limits say, and count.
    #[cfg(feature = "http")]
    pub(super) fn passed_anyhow(&mut self, visitor: Key, way: Way, bytes: usize) {
        if let Some(meter) = self.meter_of(visitor) {
            self.count(meter, way, bytes as u64);
        }
    }

    /// Whether so much may pass at once; then it is counted.
    #[cfg(feature = "udp")]
    pub(super) fn may_pass_whole(&mut self, visitor: Key, way: Way, bytes: usize) -> bool {
        let Some(meter) = self.meter_of(visitor) else { return true };
        let (now, bytes) = (self.now, bytes as u64);
        let passes = self
            .chain(meter)
            .all(|key| self.meter(key).is_none_or(|meter| meter.has_room_for(now, way, bytes)));
        if passes {
            self.count(meter, way, bytes);
        }
        passes
    }

    fn hold_back(&mut self, visitor: Key, lane: Lane) {
        let Some(link) = self.link(visitor) else { return };
        if std::mem::replace(&mut link.held_back[lane.1 as usize], true) {
            return;
        }
        let queue = self.meters.held.get_or_default(lane);
        // Those who have gone meanwhile are not looked for each time.
        if queue.len() >= 2 * (self.used.raws + self.used.callers + self.used.tunnels) {
            let slots = &self.slots;
            queue.retain(|key| matches!(slots.get(*key), Some(Slot::Link(_))));
        }
        queue.push_back(visitor);
        self.meters.look = self.meters.look.min(self.now + RATE_LOOK_EVERY);
    }

    /// Those who were held back go on, one after the other, as far as there is room again.
    pub(super) fn go_on(&mut self) {
        if self.meters.look > self.now {
            return;
        }
        self.meters.look = self.now + RATE_LOOK_EVERY;
        let lanes: Vec<Lane> = self.meters.held.keys().copied().collect();
        for lane in lanes {
            let length = self.meters.held.get(&lane).map_or(0, VecDeque::len);
            for _ in 0..length {
                let now = self.now;
                let Some(visitor) = self.first_held(lane) else { break };
                if self.meter(lane.0).is_some_and(|meter| meter.room(now, lane.1) < meter.slice(lane.1)) {
                    break;
                }
                self.release_first(lane);
                self.meters.look = self.now;
                self.meters.turn = Some((visitor, lane.1));
                self.work(visitor);
                self.meters.turn = None;
            }
        }
        self.meters.held.retain(|_, queue| !queue.is_empty());
        if self.meters.held.is_empty() {
            self.meters.look = Time::NEVER;
        }
    }

    /// The first of a queue; those who have gone are nobody.
    fn first_held(&mut self, lane: Lane) -> Option<Key> {
        loop {
            let queue = self.meters.held.get_mut(&lane)?;
            let visitor = *queue.front()?;
            if matches!(self.slots.get(visitor), Some(Slot::Link(_))) {
                return Some(visitor);
            }
            queue.pop_front();
        }
    }

    fn release_first(&mut self, lane: Lane) {
        let Some(queue) = self.meters.held.get_mut(&lane) else { return };
        let visitor = queue.pop_front();
        // Whoever is alone need not stand in a queue.
        if queue.is_empty() {
            self.meters.held.remove(&lane);
        }
        if let Some(link) = visitor.and_then(|visitor| self.link(visitor)) {
            link.held_back[lane.1 as usize] = false;
        }
    }

    /// Panics where who is held back and the queues do not agree.
    pub(super) fn check_held(&self) {
        let mut waiting = std::collections::BTreeSet::new();
        for (&(_, way), queue) in self.meters.held.iter() {
            assert!(self.meters.look < Time::NEVER, "nobody looks at those who are held back");
            for &key in queue {
                if let Some(Slot::Link(link)) = self.slots.get(key) {
                    assert!(link.held_back[way as usize], "{key:?} stands in a queue, and goes on");
                    assert!(waiting.insert((key, way)), "{key:?} stands in two queues");
                }
            }
        }
        for (key, slot) in self.slots.iter() {
            let Slot::Link(link) = slot else { continue };
            for way in [Way::Down, Way::Up] {
                let held = link.held_back[way as usize];
                assert!(!held || waiting.contains(&(key, way)), "{key:?} is held back for ever");
            }
        }
    }

    /// Roles hear which of their meters have reached their marks.
    pub(super) fn tell_spent(&mut self) {
        for key in std::mem::take(&mut self.meters.spent) {
            if let Some(role) = self.meter(key).map(|meter| meter.role) {
                self.feed(role, Input::Spent(key));
            }
        }
    }
}
