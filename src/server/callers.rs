//! Callers: visitors who speak HTTP. Each request is routed by itself, and those for one mapping that follow each other
//! share a visit.
//!
//! ```text
//!              Asked                   Answering                Answered
//!   Resting ─────────────► Asked ─────────────────► Answering ───────────► Resting
//!      │ ▲                  │  │ the visit fails         │ the visit fails
//!      │ └── own answer ────┘  ├──► once more, where     └──► cut
//!      │                       │    nobody can tell
//!      └──► time-out           └──► 502, 503, 504
//! ```

use super::arrivals::{Arrival, Guest, Reach};
use super::doors::names_at;
use super::groups::Member;
use super::names::Served;
use super::{Carries, Channel, Server, VisitorChannel};
use crate::channel::proxy::Event;
use crate::http::{Request, Scheme, Status};
use crate::limits::{HTTP_FRESH, HTTP_HEAD_TIMEOUT, HTTP_IDLE_TIMEOUT};
use crate::mapping::Options;
use crate::reason::Reason;
use crate::role::{Manner, Outbox, Talk, Verb};
use crate::slots::Key;
use crate::time::Time;

/// A visitor who speaks HTTP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    guest: Guest,
    scheme: Scheme,
    stage: Stage,
}

/// How far an exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// None is under way.
    Resting {
        since: Time,
        /// When it is let go.
        deadline: Time,
        /// A request has begun.
        begun: bool,
    },
    /// The answer has not begun.
    Asked {
        /// The request may go to another connection of the real server's, if this one ends now.
        again: bool,
        to_head: bool,
    },
    /// It has.
    Answering { to_head: bool },
}

/// What nt answers itself.
#[derive(Clone, Copy, Debug)]
struct Page<'a> {
    status: Status,
    to_head: bool,
    /// As in [`Status::write`].
    detail: &'a str,
}

impl Page<'_> {
    fn of(status: Status, to_head: bool) -> Self {
        Self { status, to_head, detail: "" }
    }

    fn write(self, last: bool) -> Vec<u8> {
        let mut page = Vec::new();
        self.status.write(self.to_head, last, self.detail, &mut page);
        page
    }
}

impl Caller {
    /// One who has said nothing yet.
    pub(super) fn new(now: Time, guest: Guest, scheme: Scheme) -> Self {
        let stage = Stage::Resting { since: now, deadline: now + HTTP_HEAD_TIMEOUT, begun: false };
        Self { guest, scheme, stage }
    }

    /// When it has had its time.
    pub(super) fn deadline(&self) -> Time {
        match self.stage {
            Stage::Resting { deadline, .. } => deadline,
            Stage::Asked { .. } | Stage::Answering { .. } => Time::NEVER,
        }
    }

    pub(super) fn is_resting(&self) -> bool {
        matches!(self.stage, Stage::Resting { .. })
    }

    /// How far the answer is: whether the real server's end is one that the visitor must be told.
    pub(super) fn is_answering(&self) -> bool {
        matches!(self.stage, Stage::Answering { .. })
    }

    /// The mapping that it waits for is this one now.
    pub(super) fn moves(&mut self, session: Key, mapping: u16) {
        if self.guest.reach != Reach::Names {
            self.guest.reach = Reach::Only(session, mapping);
        }
    }

    fn rest(&mut self, now: Time) {
        self.stage = Stage::Resting { since: now, deadline: now + HTTP_IDLE_TIMEOUT, begun: false };
    }
}

impl Server {
    /// A visitor came to a door where HTTP is spoken.
    pub(super) fn caller_came(
        &mut self,
        now: Time,
        key: Key,
        guest: Guest,
        scheme: Scheme,
        out: &mut Outbox<'_>,
    ) {
        if self.take_in(now, key, out) {
            self.visitors -= 1;
            self.becomes_caller(key, Caller::new(now, guest, scheme));
        }
    }

    /// Takes in one more who has not said yet to whom it comes, if there is a place.
    pub(super) fn take_in(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) -> bool {
        if self.stopping.is_some() || self.visitors >= self.config.visitors_max {
            out.close(key, Manner::Cut);
            return false;
        }
        // Where places run short, whoever has asked for nothing the longest gives way to who may ask for something.
        if self.visitors >= self.config.visitors_max * 7 / 8 {
            let resting =
                self.channels.iter().filter_map(|(key, channel)| Some((channel.asks_nothing()?, key)));
            if let Some((_, longest)) = resting.min() {
                self.let_caller_go(now, longest, out);
            }
        }
        self.visitors += 1;
        true
    }

    fn caller(&mut self, key: Key) -> Option<&mut Caller> {
        match self.channels.get_mut(key)? {
            Channel::Caller(caller) => Some(caller),
            Channel::Visitor(visitor) => match &mut visitor.carries {
                Carries::Exchanges(caller) => Some(caller),
                Carries::Bytes | Carries::Frames(_) | Carries::Datagrams => None,
            },
            _ => None,
        }
    }

    /// News of a caller, or of its real server.
    pub(super) fn talk(&mut self, now: Time, key: Key, talk: Talk<'_>, out: &mut Outbox<'_>) {
        let Some(caller) = self.caller(key) else { return };
        match talk {
            Talk::Begun => {
                if let Stage::Resting { deadline, begun: begun @ false, .. } = &mut caller.stage {
                    (*deadline, *begun) = (now + HTTP_HEAD_TIMEOUT, true);
                    let deadline = *deadline;
                    self.watch(deadline);
                }
            }
            Talk::Asked(request) => self.asked(now, key, request, out),
            Talk::Malformed(status) => self.turn_away(now, key, Page::of(status, false), out),
            Talk::Answering => {
                if let Stage::Asked { to_head, .. } = caller.stage {
                    caller.stage = Stage::Answering { to_head };
                }
            }
            Talk::Switched => {
                if let Some(Channel::Visitor(visitor)) = self.channels.get_mut(key) {
                    visitor.carries = Carries::Bytes;
                }
            }
            Talk::Answered { last } => {
                caller.rest(now);
                let deadline = caller.deadline();
                self.watch(deadline);
                if last || self.stopping.is_some() {
                    self.let_caller_go(now, key, out);
                }
            }
            Talk::Nonsense { begun } => {
                if let (Stage::Answering { to_head }, false) = (caller.stage, begun) {
                    caller.stage = Stage::Asked { again: false, to_head };
                }
                self.break_off(now, key, Reason::Nonsense, out);
            }
        }
    }

    /// A request: who serves it?
    fn asked(&mut self, now: Time, key: Key, request: &Request<'_>, out: &mut Outbox<'_>) {
        let Some(&mut caller) = self.caller(key) else { return };
        let visit = self.visit_of(key);
        let again = request.may_be_repeated();
        let rested = matches!(caller.stage, Stage::Resting { since, .. } if since + HTTP_FRESH <= now);
        let found = self.destination(&caller, visit, request).and_then(|to| {
            let stays = visit == Some(to) && (again || !rested);
            // What its license permits is asked for each request; whether there is a place, for each visit.
            let from = Some(caller.guest.peer);
            let trouble = if stays {
                self.mapping_trouble(to.0, to.1, from)
            } else {
                self.visit_trouble(to.0, to.1, from, Some(key))
            };
            trouble.map_or(Ok((to, stays)), |reason| Err((status_of(reason), String::new())))
        });
        let (to, stays) = match found {
            Ok(found) => found,
            Err((status, detail)) => return self.refuse(now, key, request, status, &detail, out),
        };
        let Some(options) = self.options(to) else { return };
        if options.auth.as_ref().is_some_and(|auth| !request.knows(&auth.user, &auth.password)) {
            // The name of who may come in is half of what a visitor must know.
            return self.refuse(now, key, request, Status::Unauthorized, &request.host, out);
        }
        if !stays {
            if let Some(reason) = self.comes_too_often(now, to.0, caller.guest.peer, out) {
                return self.refuse(now, key, request, status_of(reason), "", out);
            }
            self.leave_visit(now, key, out);
            // The head is the first that counts.
            self.measure(key, to.0, to.1, out);
        }
        let stage = Stage::Asked { again: stays && again, to_head: request.is_head() };
        let caller = Caller { stage, ..caller };
        if let Some(present) = self.caller(key) {
            *present = caller;
        }
        // Who leaves the last visit of a session that ends, ends it.
        let Some(options) = self.options(to) else {
            return self.turn_away(now, key, Page::of(Status::Unavailable, request.is_head()), out);
        };
        out.forward(key, stays && again, |head| {
            request.forward(options, caller.scheme, caller.guest.peer.ip(), head);
        });
        if !stays {
            self.begin_exchanges(now, key, caller, to, out);
        }
    }

    /// Whose a request is, or what is answered instead.
    fn destination(
        &self,
        caller: &Caller,
        visit: Option<Member>,
        request: &Request<'_>,
    ) -> Result<Member, (Status, String)> {
        let found = match caller.guest.reach {
            Reach::Only(session, mapping) => return Ok((session, mapping)),
            Reach::Nothing => Served::Not,
            Reach::Names => self.names.get(&caller.scheme).map_or(Served::Not, |names| names.find(request)),
        };
        match found {
            Served::By(members) => {
                // Whoever is at one of them already stays there.
                let stays = visit.filter(|visit| members.contains(visit) && !self.is_sick(*visit));
                return stays.or_else(|| self.choose(members)).ok_or((Status::Unavailable, String::new()));
            }
            Served::Unclear => return Err((Status::BadRequest, String::new())),
            Served::Not => {}
        }
        let port = if caller.scheme == Scheme::Http { self.served_over_tls(request) } else { None };
        Err(match port {
            Some(port) => (Status::Moved, request.over_tls(port)),
            None if self.may_come_back(caller.scheme, &request.host) => (Status::Unavailable, String::new()),
            None => (Status::NotFound, String::new()),
        })
    }

    /// The port where the same would be answered over TLS, which ends here.
    fn served_over_tls(&self, request: &Request<'_>) -> Option<u16> {
        let served = self.names.get(&Scheme::Https)?.find(request);
        let door = names_at(&self.doors, Scheme::Https);
        door.filter(|_| served != Served::Not).map(|address| address.port())
    }

    fn options(&self, (session, mapping): (Key, u16)) -> Option<&Options> {
        let (mapping, _) = self.sessions.get(session)?.mappings.find(mapping)?;
        Some(&mapping.spec.options)
    }

    /// Whether somebody who is not online now has served this name, or has a license for it.
    fn may_come_back(&self, scheme: Scheme, host: &str) -> bool {
        let offline = |name: &str| self.clients_of(name).next().is_none();
        let mut entries = self.config.directory.iter();
        self.names.get(&scheme).is_some_and(|names| names.is_away(host))
            || entries.any(|entry| !entry.revoked && offline(&entry.name) && entry.hosts.has(host))
    }

    /// A caller who is in no visit gets one, for the request that it has made.
    fn begin_exchanges(
        &mut self,
        now: Time,
        key: Key,
        caller: Caller,
        (session, mapping): (Key, u16),
        out: &mut Outbox<'_>,
    ) {
        self.channels.remove(key);
        self.visitors -= 1;
        let Guest { peer: visitor, came_to, .. } = caller.guest;
        let arrival = Arrival { session, mapping, visitor, came_to };
        self.begin_visit(now, key, arrival, Carries::Exchanges(caller), out);
    }

    /// nt answers a request itself, and goes on to the next one where it can tell where that begins.
    fn refuse(
        &mut self,
        now: Time,
        key: Key,
        request: &Request<'_>,
        status: Status,
        detail: &str,
        out: &mut Outbox<'_>,
    ) {
        let page = Page { detail, ..Page::of(status, request.is_head()) };
        // Who can reach one mapping alone has no other to ask for, unless it is to log in.
        let names = self.caller(key).is_some_and(|caller| caller.guest.reach == Reach::Names);
        let stays = names || status == Status::Unauthorized;
        if request.last || !request.body.is_over() || !stays {
            return self.turn_away(now, key, page, out);
        }
        let Some(caller) = self.caller(key) else { return };
        caller.rest(now);
        let deadline = caller.deadline();
        self.watch(deadline);
        out.send_bytes(key, &page.write(false));
        out.push(Verb::NextRequest(key));
    }

    /// A last answer, and the end.
    fn turn_away(&mut self, now: Time, key: Key, page: Page<'_>, out: &mut Outbox<'_>) {
        self.leave_visit(now, key, out);
        self.close_caller(key, Err(page), out);
    }

    /// A caller goes.
    pub(super) fn let_caller_go(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        self.leave_visit(now, key, out);
        self.close_caller(key, Ok(Manner::End), out);
    }

    /// Closes the connection of a caller who is in no visit: as it is, or with a last answer.
    fn close_caller(&mut self, key: Key, how: Result<Manner, Page<'_>>, out: &mut Outbox<'_>) {
        if !matches!(self.channels.get(key), Some(Channel::Caller(_) | Channel::Greeter(_))) {
            return;
        }
        let manner = how.unwrap_or_else(|page| {
            out.send_bytes(key, &page.write(true));
            Manner::End
        });
        out.close(key, manner);
        self.channels.remove(key);
        self.visitors -= 1;
        self.stop_if_idle(out);
    }

    /// A caller has had its time.
    pub(super) fn caller_due(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        match self.caller(key).map(|caller| caller.stage) {
            Some(Stage::Resting { begun: true, deadline, .. }) if deadline <= now => {
                self.turn_away(now, key, Page::of(Status::TimedOut, false), out);
            }
            Some(Stage::Resting { deadline, .. }) if deadline <= now => {
                self.let_caller_go(now, key, out);
            }
            _ => {}
        }
    }

    /// A caller leaves the visit that it is in, if any, and stays.
    fn leave_visit(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        if let Some(Channel::Visitor(visitor)) = self.channels.get(key)
            && let Carries::Exchanges(caller) = visitor.carries
        {
            let Some(Channel::Visitor(visitor)) = self.channels.remove(key) else { return };
            self.becomes_caller(key, caller);
            self.let_go(now, key, &visitor, out);
        }
    }

    /// A caller's visit is of no use any more: it is cut, and the request of this moment with it.
    pub(super) fn break_off(&mut self, now: Time, key: Key, reason: Reason, out: &mut Outbox<'_>) {
        let Some(Channel::Visitor(visitor)) = self.channels.get(key) else { return };
        let Carries::Exchanges(caller) = visitor.carries else { return };
        let Some(Channel::Visitor(visitor)) = self.channels.remove(key) else { return };
        self.becomes_caller(key, caller);
        self.visitor_gone(now, key, &visitor, Event::LocalCut(reason), out);
        self.unserved(key, reason, out);
    }

    /// A caller is in no visit any more.
    pub(super) fn becomes_caller(&mut self, key: Key, caller: Caller) {
        self.visitors += 1;
        self.watch(caller.deadline());
        self.channels.insert(key, Channel::Caller(caller));
    }

    /// A caller's visit is over, which it was not to be: whoever had asked for something is told that it will not come.
    pub(super) fn unserved(&mut self, key: Key, reason: Reason, out: &mut Outbox<'_>) {
        let Some(Channel::Caller(caller)) = self.channels.get(key) else { return };
        match caller.stage {
            Stage::Resting { .. } => {}
            Stage::Asked { to_head, .. } => {
                self.close_caller(key, Err(Page::of(status_of(reason), to_head)), out);
            }
            Stage::Answering { .. } => self.close_caller(key, Ok(Manner::Cut), out),
        }
    }

    /// The same, where the request may be made once more: on a connection of its own this time. A real server may close
    /// one that was idle at the very moment in which a request goes there.
    pub(super) fn ask_again(
        &mut self,
        now: Time,
        key: Key,
        to: (Key, u16),
        reason: Reason,
        out: &mut Outbox<'_>,
    ) {
        match self.caller(key) {
            Some(caller) if matches!(caller.stage, Stage::Asked { again: true, .. }) => {
                if let Stage::Asked { again, .. } = &mut caller.stage {
                    *again = false;
                }
                let caller = *caller;
                if self.visit_trouble(to.0, to.1, Some(caller.guest.peer), Some(key)).is_none() {
                    return self.begin_exchanges(now, key, caller, to, out);
                }
            }
            _ => {}
        }
        self.unserved(key, reason, out);
    }

    /// Nobody is asked any more: those who rest go.
    pub(super) fn dismiss_callers(&mut self, now: Time, out: &mut Outbox<'_>) {
        for key in self.callers_at_rest(None) {
            self.let_caller_go(now, key, out);
        }
    }

    /// A client leaves: those who rest in a visit of its session do not hold it up.
    pub(super) fn end_rests(&mut self, now: Time, session: Key, out: &mut Outbox<'_>) {
        for key in self.callers_at_rest(Some(session)) {
            self.leave_visit(now, key, out);
        }
    }

    fn callers_at_rest(&self, session: Option<Key>) -> Vec<Key> {
        let wanted = |channel: &Channel| session.is_none() || channel.session() == session;
        let resting = self.channels.iter().filter(|(_, channel)| channel.asks_nothing().is_some());
        resting.filter(|(_, channel)| wanted(channel)).map(|(key, _)| key).collect()
    }

    /// Mappings are others now, or gone. Whoever came to a port of theirs, and has not been taken to it yet, goes;
    /// callers hear so when they ask for something more.
    pub(super) fn forget_reach(&mut self, session: Key, gone: impl Fn(u16) -> bool, out: &mut Outbox<'_>) {
        let only = |reach| matches!(reach, Reach::Only(owner, mapping) if owner == session && gone(mapping));
        let is_bound = |channel: &Channel| match channel {
            Channel::Front(front) => front.arrival.session == session && gone(front.arrival.mapping),
            Channel::Greeter(greeter) => only(greeter.guest.reach),
            Channel::Caller(caller) => only(caller.guest.reach),
            Channel::Visitor(VisitorChannel { carries: Carries::Exchanges(caller), .. }) => {
                only(caller.guest.reach)
            }
            Channel::Visitor(_)
            | Channel::Stranger(_)
            | Channel::Cmd(_)
            | Channel::Proxy(_)
            | Channel::Admin(_) => false,
        };
        let bound: Vec<Key> =
            self.channels.iter().filter(|(_, channel)| is_bound(channel)).map(|(key, _)| key).collect();
        for key in bound {
            match self.channels.get(key) {
                Some(Channel::Front(_)) => {
                    self.channels.remove(key);
                    self.count_out(session, Carries::Bytes);
                    out.close(key, Manner::Cut);
                }
                Some(Channel::Greeter(_)) => self.close_caller(key, Ok(Manner::Cut), out),
                _ => {
                    if let Some(caller) = self.caller(key) {
                        caller.guest.reach = Reach::Nothing;
                    }
                }
            }
        }
    }
}

impl Channel {
    /// Since when it has asked for nothing: a caller between two requests, or one that has not said yet to whom it
    /// speaks.
    fn asks_nothing(&self) -> Option<Time> {
        let since = |caller: &Caller| match caller.stage {
            Stage::Resting { since, .. } => Some(since),
            Stage::Asked { .. } | Stage::Answering { .. } => None,
        };
        match self {
            Self::Caller(caller) => since(caller),
            Self::Visitor(VisitorChannel { carries: Carries::Exchanges(caller), .. }) => since(caller),
            Self::Greeter(greeter) => Some(greeter.since),
            Self::Visitor(_)
            | Self::Stranger(_)
            | Self::Cmd(_)
            | Self::Proxy(_)
            | Self::Front(_)
            | Self::Admin(_) => None,
        }
    }
}

/// What a visitor is told of a failure.
fn status_of(reason: Reason) -> Status {
    match reason {
        Reason::TimedOut => Status::GatewayTimedOut,
        Reason::ClientAway
        | Reason::Busy
        | Reason::Stopping
        | Reason::Replaced
        | Reason::Silent
        | Reason::QuotaUsed
        | Reason::Sick => Status::Unavailable,
        Reason::NoSuchMapping
        | Reason::Revoked
        | Reason::Denied
        | Reason::Expired
        | Reason::Rotated
        | Reason::NotPermitted => Status::NotFound,
        Reason::NotWelcome => Status::Forbidden,
        Reason::TooOften => Status::TooMany,
        _ => Status::BadGateway,
    }
}
