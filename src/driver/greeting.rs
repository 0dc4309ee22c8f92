//! Visitors who are known by what they say first: a ClientHello, or the header of a front that comes for them.

use super::books::{has_room, kind};
use super::{Driver, Slot};
use crate::link::{Held, Phase};
use crate::net::Net;
use crate::reason::Reason;
use crate::role::{Input, Ours, Speech};
use crate::slots::Key;
use crate::sorted::Sorted;
use crate::tls::Peek;

/// ClientHellos that are not whole yet, and how much of what was said has been heard.
pub(super) type Greetings = Sorted<Key, (Peek, usize)>;

impl<N: Net> Driver<N> {
    /// A visitor will speak TLS. It may have begun to, behind a front's header.
    pub(super) fn await_greeting(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        if link.speech != Speech::Http {
            return self.lose(key, Reason::Protocol);
        }
        link.phase = Phase::Greeting;
        link.free_held(&mut self.arena);
        link.held = Held::Kept(None, 0);
        if !link.rx.is_empty() {
            link.held.push(link.rx.bytes(), &mut self.arena);
            link.rx.clear(&mut self.arena);
        }
        self.greetings.insert(key, Default::default());
        self.enqueue(key);
    }

    pub(super) fn greet(&mut self, key: Key) {
        loop {
            let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
            let Some((peek, heard)) = self.greetings.get_mut(&key) else { return };
            let all = match &link.held {
                Held::Kept(Some(buf), length) => &buf.bytes()[..usize::from(*length)],
                Held::Kept(None, _) | Held::Free => &[],
            };
            let greeted = peek.hear(&all[*heard..]);
            *heard = all.len();
            match greeted {
                Ok(Some(greeting)) => {
                    let role = link.role();
                    link.phase = Phase::Up;
                    self.greetings.remove(&key);
                    self.feed(role, Input::Greeted(key, greeting));
                    // Nobody reads who waits: a failure that was told meanwhile would not be met.
                    self.fail_if_failed(key);
                    return self.enqueue(key);
                }
                Ok(None) if !link.readable => return,
                Ok(None) => {}
                Err(reason) => return self.fail(key, reason),
            }
            match link.gather(key, &mut self.net, &mut self.arena) {
                Ok(true) => {}
                Ok(false) => return,
                Err(reason) => return self.fail(key, reason),
            }
        }
    }

    /// Whoever has greeted is answered: TLS begins with what was said first.
    pub(super) fn begin_tls(&mut self, key: Key, ours: Ours) {
        let tls = match ours {
            Ours::Tunnel if !self.recast(key, Speech::Tls) => return,
            Ours::Tunnel => self.security.accept(),
            Ours::Name => self.security.accept_visitor(),
        };
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        match tls {
            Ok(mut tls) => {
                if let Held::Kept(Some(buf), length) = std::mem::replace(&mut link.held, Held::Free) {
                    let fits = tls.cipher().push(&buf.bytes()[..usize::from(length)], &mut self.arena);
                    assert!(fits, "nothing was read before");
                    self.arena.give(buf);
                }
                (link.tls, link.phase) = (Some(Box::new(tls)), Phase::Securing);
                self.enqueue(key);
            }
            Err(reason) => self.lose(key, reason),
        }
    }

    /// A connection turns out to be of another kind, with other rights; whether there is room for it.
    pub(super) fn recast(&mut self, key: Key, speech: Speech) -> bool {
        if !has_room(self.used, self.budget, speech) {
            self.lose(key, Reason::Busy);
            return false;
        }
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return false };
        self.arena.release(link.rights());
        *kind(&mut self.used, link.speech) -= 1;
        (link.speech, link.exchange) = (speech, None);
        let granted = self.arena.reserve(link.rights());
        assert!(granted, "the arena is made for the whole budget");
        *kind(&mut self.used, speech) += 1;
        self.wake_starved();
        true
    }

    pub(super) fn announce(&mut self, key: Key) {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        match link.announced(key, &mut self.net, &mut self.arena) {
            Ok(Some(announced)) => {
                link.phase = Phase::Up;
                let role = link.role();
                if link.exchange.is_some()
                    && let Held::Kept(Some(buf), length) = std::mem::replace(&mut link.held, Held::Free)
                {
                    // What stood behind the header is a request, or the beginning of one.
                    let fits = link.rx.push(&buf.bytes()[..usize::from(length)], &mut self.arena);
                    assert!(fits, "nothing else was read before");
                    self.arena.give(buf);
                }
                self.feed(role, Input::Announced(key, announced));
                // Nobody reads who waits: a failure that was told meanwhile would not be met.
                self.fail_if_failed(key);
                self.enqueue(key);
            }
            Ok(None) => {}
            Err(reason) => self.fail(key, reason),
        }
    }
}
