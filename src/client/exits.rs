//! Exits on the client: the visitor says to the client itself where it wants to go, and is taken there if `--allow`
//! covers it. From then on its visit is like any other.

use std::net::SocketAddr;

use super::{Channel, Client, ProxyChannel};
use crate::channel::proxy::Event;
use crate::channel::real;
use crate::exit::{Next, Talk};
use crate::limits::EXIT_LOOKUPS_MAX;
use crate::mapping::Host;
use crate::note::Note;
use crate::policy::Allow;
use crate::reason::Reason;
use crate::role::{self, Manner, Outbox, Verb};
use crate::slots::Key;
use crate::time::Time;
use crate::wire::Frame;

impl ProxyChannel {
    /// The conversation with a visitor who has not been taken anywhere yet.
    fn talk(&mut self) -> Option<&mut Talk> {
        self.talk.as_deref_mut()
    }
}

impl Client {
    /// A visit of an exit begins: the client is the real server for now.
    pub(super) fn hear_visitor(&mut self, key: Key, talk: Talk, out: &mut Outbox<'_>) {
        if let Some(Channel::Proxy(proxy)) = self.channels.get_mut(key) {
            proxy.talk = Some(Box::new(talk));
            out.send(key, &Frame::Connected);
            out.push(Verb::Hear(key));
        }
    }

    /// The visitor of an exit has said something.
    pub(super) fn visitor_spoke(&mut self, now: Time, key: Key, bytes: &[u8], out: &mut Outbox<'_>) {
        let Some(Channel::Proxy(proxy)) = self.channels.get_mut(key) else { return };
        let visit = proxy.visit;
        let Some(talk) = proxy.talk() else {
            // Its one request was passed on already.
            self.proxy_event(now, key, Event::LocalCut(Reason::Protocol), out);
            return;
        };
        let heard = talk.hear(bytes);
        out.send_payload(key, &heard.say);
        match heard.next {
            Next::More => {}
            Next::End => self.part_with(now, key, out),
            Next::Deny => {
                out.note(Note::ExitDenied { exit: talk.to_string() });
                self.part_with(now, key, out);
            }
            Next::Ask(host, port) => {
                // What it says next is for the real server.
                out.push(Verb::Expect(key));
                if let Some(real) = &mut proxy.real {
                    real.step(now, real::Event::Asked);
                    let deadline = real.deadline();
                    self.watch(deadline);
                }
                match host {
                    Host::Ip(ip) => {
                        self.target_resolved(now, key, visit, &[SocketAddr::new(ip, port)], out);
                    }
                    // Those that visitors ask for leave room for the client's own.
                    Host::Name(_) if self.queries.len() >= EXIT_LOOKUPS_MAX => {
                        _ = self.refuse(now, key, Reason::Busy, out);
                    }
                    Host::Name(name) if self.may_look_up(&name, port) => {
                        self.look_up(now, key, visit, (name, port), out);
                    }
                    Host::Name(_) => _ = self.refuse(now, key, Reason::NotAllowed, out),
                }
            }
        }
    }

    /// All that the real server was to hear of a visitor has passed, or cannot.
    pub(super) fn body_passed(&mut self, now: Time, raw: Key, news: &role::Talk<'_>, out: &mut Outbox<'_>) {
        let Some(&Channel::Real(key)) = self.channels.get(raw) else { return };
        match news {
            role::Talk::Answered { .. } => out.push(Verb::Hear(key)),
            _ => _ = self.proxy_event(now, key, Event::LocalCut(Reason::Protocol), out),
        }
    }

    /// A visitor of an exit has been taken where it wants to go.
    pub(super) fn granted(&self, key: Key, raw: Key, talk: &Talk, out: &mut Outbox<'_>) {
        out.send_payload(key, &talk.granted());
        match talk.rest() {
            None => {}
            Some(body) if body.is_over() => out.push(Verb::Hear(key)),
            Some(body) => out.push(Verb::Limit(raw, body)),
        }
    }

    /// The visitor has said its last word, and it is not known where it wants to go.
    pub(super) fn visitor_is_silent(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        if let Some(Channel::Proxy(ProxyChannel { real: Some(real::Real::Talking { .. }), .. })) =
            self.channels.get(key)
        {
            self.part_with(now, key, out);
        }
    }

    /// The visitor of an exit cannot be taken where it wants to go, and is told so in the words of its protocol.
    /// `false` where nobody waits for words.
    pub(super) fn decline(&mut self, now: Time, key: Key, reason: Reason, out: &mut Outbox<'_>) -> bool {
        let Some(Channel::Proxy(proxy)) = self.channels.get_mut(key) else { return false };
        let Some(talk) = proxy.talk() else { return false };
        out.send_payload(key, &talk.refused(reason));
        self.part_with(now, key, out);
        true
    }

    /// Nothing more is said to the visitor: its own end is awaited.
    fn part_with(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        let Some(Channel::Proxy(proxy)) = self.channels.get_mut(key) else { return };
        proxy.talk = None;
        if let Some(real) = &mut proxy.real {
            // A connect that is still under way has nobody to go to.
            let raw = real.key();
            real.step(now, real::Event::Parted);
            let deadline = real.deadline();
            self.watch(deadline);
            if let Some(raw) = raw.filter(|raw| self.channels.remove(*raw).is_some()) {
                out.close(raw, Manner::Cut);
            }
        }
        // Before the mark: it may be the last, and what is drained then is of the next visit.
        out.push(Verb::Part(key, true));
        self.proxy_event(now, key, Event::LocalEnd, out);
    }

    /// The operator is told where the visitor of an exit could not be taken, and why. One who never said where to is
    /// nobody's news.
    pub(super) fn note_declined(&self, talk: &Talk, reason: Reason, out: &mut Outbox<'_>) {
        let (target, word) = match (talk.wanted(), reason) {
            (None, _) => return,
            (Some((Host::Ip(ip), port)), Reason::NotAllowed) => {
                (talk.to_string(), Allow::word_for(*ip, *port, *port))
            }
            (Some((Host::Name(_), _)), Reason::NotAllowed) => {
                (talk.to_string(), "lan (any, if that is beyond this network)".to_owned())
            }
            (Some(_), _) => return out.note(Note::ExitFailed { target: talk.to_string(), reason }),
        };
        self.note_not_allowed(target, &word, out);
    }

    /// With the word that would let visitors go there.
    pub(super) fn note_not_allowed(&self, target: String, word: &str, out: &mut Outbox<'_>) {
        out.note(Note::ExitRefused { target, word: format!("{},{word}", self.config.allow) });
    }
}
