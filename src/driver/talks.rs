//! Visitors who speak HTTP: their requests are read for the role, one after the other, and its answer carried out. What
//! passes in between is the [`gateway`]'s.

use super::{Driver, Slot};
use crate::gateway::{self, Next, Passed};
use crate::http::{Exchange, header_space};
use crate::limits::{FRAMES_PER_TURN, GREETING_BYTES_MAX};
use crate::link::{Fill, Incoming};
use crate::meter::Way;
use crate::net::Net;
use crate::reason::Reason;
use crate::relay::{self, Delivery, Fault};
use crate::role::{Input, Talk};
use crate::slots::Key;

/// What [`Driver::hear_once`] came to.
enum Heard {
    /// The role was told something: there may be more.
    Something,
    /// Nothing more for now.
    Nothing,
}

impl<N: Net> Driver<N> {
    /// Reads requests, for as long as the one before is answered.
    pub(super) fn hear(&mut self, key: Key) {
        for _ in 0..FRAMES_PER_TURN {
            if matches!(self.hear_once(key), Heard::Nothing) {
                return;
            }
        }
        self.postpone(key);
    }

    fn hear_once(&mut self, key: Key) -> Heard {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return Heard::Nothing };
        let (role, open) = (link.role(), link.incoming == Incoming::Open);
        // Whoever does not take its answers is not heard on.
        match link.flush(key, &mut self.net, &mut self.arena) {
            Ok(true) => {}
            Ok(false) => return Heard::Nothing,
            Err(reason) => {
                self.fail(key, reason);
                return Heard::Nothing;
            }
        }
        let Some(exchange) = link.exchange.as_mut().filter(|exchange| exchange.listens()) else {
            return Heard::Nothing;
        };
        // The window is taken out, so that the head can be borrowed from it while the role is at work.
        let mut rx = std::mem::take(&mut link.rx);
        let mut space = header_space();
        let request;
        let (talk, used) = match gateway::next(exchange, rx.bytes(), &mut space) {
            Next::Request(asked, length) => {
                request = asked;
                (Talk::Asked(&request), length)
            }
            Next::Malformed(status) => (Talk::Malformed(status), 0),
            Next::Unfinished(begun) => {
                link.rx = rx;
                return if open { self.hear_more(key, begun) } else { Heard::Nothing };
            }
        };
        self.feed(role, Input::Talk(key, talk));
        match self.slots.get_mut(key) {
            Some(Slot::Link(link)) => {
                link.rx = rx;
                link.rx.consume(used, &mut self.arena);
            }
            _ => rx.clear(&mut self.arena),
        }
        if used > 0 { Heard::Something } else { Heard::Nothing }
    }

    /// Brings more of a head that is not whole.
    fn hear_more(&mut self, key: Key, begun: bool) -> Heard {
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return Heard::Nothing };
        let role = link.role();
        match link.fill(key, &mut self.net, &mut self.arena) {
            Ok(Fill::More) => return Heard::Something,
            Ok(Fill::Dry) if begun => self.feed(role, Input::Talk(key, Talk::Begun)),
            Ok(Fill::Dry) => {}
            Ok(Fill::End) => {
                link.incoming = Incoming::Ended;
                self.feed(role, Input::Ended(key));
            }
            Err(reason) => self.fail(key, reason),
        }
        Heard::Nothing
    }

    /// A request goes on to the real server, or waits for a ProxyChannel that leads there.
    pub(super) fn forward(&mut self, key: Key, head: &[u8], keep: bool) {
        if head.len() > GREETING_BYTES_MAX {
            return self.lose(key, Reason::Protocol);
        }
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        link.free_held(&mut self.arena);
        if let Some(exchange) = &mut link.exchange {
            exchange.forwarded();
        }
        let proxy = link.peer;
        self.passed_anyhow(key, Way::Down, head.len());
        let Some(Slot::Link(link)) = self.slots.get_mut(key) else { return };
        if keep || proxy.is_none() {
            link.held.push(head, &mut self.arena);
        }
        if let Some(proxy_key) = proxy
            && let Some(Slot::Link(proxy)) = self.slots.get_mut(proxy_key)
        {
            match relay::transfer(proxy, head, &mut self.arena, &mut self.scratch) {
                Ok(()) => self.enqueue(proxy_key),
                Err(reason) => self.lose(proxy_key, reason),
            }
        }
    }

    /// The role has answered a request itself: the next one may come.
    pub(super) fn next_request(&mut self, key: Key) {
        if let Some(exchange) = self.link(key).and_then(|link| link.exchange.as_mut()) {
            **exchange = Exchange::default();
        }
        self.enqueue(key);
    }

    /// Moves `most` of what a ProxyChannel brings on to a visitor who speaks HTTP; `None` where the role was told
    /// something.
    pub(super) fn answer(&mut self, raw: Key, proxy: Key, most: usize) -> Option<Delivery> {
        let (Slot::Link(to), Slot::Link(from)) = self.slots.pair_mut(raw, proxy)? else { return None };
        let (role, aside) = (to.role(), !to.held.is_empty());
        match gateway::inbound((raw, to), (proxy, from), &mut self.net, &mut self.arena, most) {
            Ok(Passed::Delivered(delivery)) => {
                // A head that was put aside has left: what the visitor had to wait with may go on.
                if aside && to.held.is_empty() {
                    self.enqueue(raw);
                }
                return Some(delivery);
            }
            Ok(Passed::Told(talk)) => {
                let nonsense = matches!(talk, Talk::Nonsense { .. });
                self.feed(role, Input::Talk(raw, talk));
                if nonsense && self.other_side(proxy) == Some(raw) {
                    self.fail(proxy, Reason::Nonsense);
                }
                // What the visitor asks next may stand there already.
                self.enqueue(raw);
            }
            Err(Fault::Raw(reason)) => self.fail(raw, reason),
            Err(Fault::Proxy(reason)) => self.fail(proxy, reason),
        }
        None
    }
}
