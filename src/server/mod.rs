//! The server: strangers, logins, sessions, mappings and visits.
//!
//! In reading order: this file routes inputs; [`doors`] are what it listens at; [`entrance`] lets strangers in;
//! [`session`] keeps what one login made; [`mappings`] knows what is published, [`places`] binds its ports and
//! [`names`]; [`visits`] pairs visitors with ProxyChannels, which [`ends`]; [`callers`] takes those who speak HTTP
//! from visit to visit; [`fronts`] and [`greeters`] have to say first for whom they come, or to whom; [`private`]
//! lets clients visit each other, [`groups`] lets several serve one license. [`accounts`] counts what passes,
//! [`history`] in each minute, and [`bans`] who comes too often. The operator asks at [`admin`], sees a [`report`],
//! has a [`demand`] bound, and may have other [`licenses`] on [`trial`].
//!
//! Everything that a login made hangs on its [`Session`], which a generational key names. Whatever outlives
//! a session (a timer, an event in flight) holds a stale key and finds nothing, so no login can be cleaned
//! away by the end of an older one.

mod accounts;
mod admin;
mod arrivals;
mod bans;
mod books;
mod callers;
mod demand;
mod doors;
mod ends;
mod entrance;
mod events;
mod fronts;
mod greeters;
mod groups;
mod history;
mod licenses;
mod mappings;
mod names;
mod places;
mod private;
mod report;
mod session;
mod trial;
mod visits;

use std::net::SocketAddr;

use crate::channel::cmd::Entrance;
use crate::channel::proxy::Proxy;
use crate::channel::visitor::Visitor;
use crate::directory::Directory;
use crate::door::Door;
use crate::entropy::Entropy;
use crate::http::Scheme;
use crate::license::Transport;
use crate::limits::{COUNTERS_KEPT_EVERY, LICENSES_POLL_EVERY, STOP_TIMEOUT};
use crate::note::Note;
use crate::reason::Reason;
use crate::role::{Input, Manner, Outbox, Role, Verb};
use crate::slots::{Key, Slots, Table};
use crate::sorted::Sorted;
use crate::time::Time;
use crate::timers::{Earliest, Timers};
use crate::wire::Frame;
use accounts::Accounts;
use admin::Admin;
use bans::Bans;
use callers::Caller;
use demand::Demands;
use doors::OpenDoor;
use events::Events;
use fronts::Front;
use greeters::Greeter;
use groups::Member;
use licenses::Licenses;
use names::Names;
use private::Fellow;
use session::{Home, Session};
use trial::Trial;

/// What a server is made from.
#[derive(Debug)]
pub struct Config {
    /// What it listens at of its own.
    pub doors: Vec<Door>,
    /// Who may log in.
    pub directory: Directory,
    /// Visitors at once, in all.
    pub visitors_max: usize,
    /// Clients at once.
    pub sessions_max: usize,
}

/// The server role.
#[derive(Debug)]
pub struct Server {
    config: Config,
    entropy: Entropy,
    timers: Timers<Due>,
    /// Of all channels' deadlines.
    earliest: Earliest,
    /// Every connection, by its key.
    channels: Table<Channel>,
    /// The listeners of its own.
    doors: Table<OpenDoor>,
    /// What the line to paste calls this machine, where the operator has said so.
    public_host: Option<String>,
    /// Who serves which name, by what is spoken at the door.
    names: Sorted<Scheme, Names>,
    /// The listeners for visitors, and who serves them: clients of one license.
    ports: Table<Vec<Member>>,
    /// Listeners for visitors at once.
    ports_max: usize,
    sessions: Slots<Session>,
    /// By the names of licenses: a license that was rotated is the same one.
    by_license: Sorted<String, Vec<Key>>,
    by_id: Sorted<[u8; 16], Key>,
    strangers: Vec<Key>,
    /// HELLOs of licenses that are not known yet, while the license file is looked at.
    unknown: Vec<(Key, Vec<u8>)>,
    visitors: usize,
    /// Those of them that are other clients.
    fellows: usize,
    proxies: usize,
    accounts: Accounts,
    bans: Bans,
    demands: Demands,
    events: Events,
    licenses: Licenses,
    /// What came of reading the settings again: what has changed, or why they do not count.
    settings_read: Result<Option<String>, String>,
    /// Whether the licenses that hold are there to stay.
    trial: Trial,
    started: Time,
    stopping: Option<Time>,
}

/// What a connection is to the server.
#[derive(Debug)]
enum Channel {
    /// A tunnel connection that has not proved what it is.
    Stranger(Stranger),
    /// The CmdChannel of a session.
    Cmd(Key),
    /// A ProxyChannel.
    Proxy(ProxyChannel),
    /// What will be a VisitorChannel.
    Front(Front),
    /// A VisitorChannel.
    Visitor(VisitorChannel),
    /// A visitor who speaks HTTP and is in no visit.
    Caller(Caller),
    /// A visitor who has not said yet to whom it speaks TLS.
    Greeter(Greeter),
    /// The operator.
    Admin(Admin),
}

impl Stranger {
    fn home(&self) -> Home {
        Home::of(self.peer)
    }
}

impl Channel {
    /// When it has had its time, in its present state.
    fn deadline(&self) -> Time {
        match self {
            Self::Stranger(stranger) => stranger.deadline,
            Self::Cmd(_) => Time::NEVER,
            Self::Proxy(proxy) => proxy.deadline,
            Self::Front(front) => front.deadline,
            Self::Visitor(visitor) => visitor.deadline(),
            Self::Caller(caller) => caller.deadline(),
            Self::Greeter(greeter) => greeter.deadline,
            Self::Admin(admin) => admin.deadline,
        }
    }
}

#[derive(Debug)]
struct Stranger {
    state: Entrance,
    peer: SocketAddr,
    transport: Transport,
    deadline: Time,
}

#[derive(Debug)]
struct ProxyChannel {
    session: Key,
    state: Proxy,
    /// The visitor, while a visit is on.
    visitor: Option<Key>,
    /// When a drain is given up, or the client's word that a flow is over.
    deadline: Time,
    /// The flow that it carried is over, and the client has not said so yet.
    ended: bool,
}

#[derive(Debug)]
struct VisitorChannel {
    session: Key,
    mapping: u16,
    visit: u64,
    peer: SocketAddr,
    carries: Carries,
    state: Visitor,
}

/// What a visit carries.
#[derive(Clone, Copy, Debug)]
enum Carries {
    /// A stream, both ways.
    Bytes,
    /// Datagrams.
    Datagrams,
    /// A stream that comes in frames, from another client.
    Frames(Fellow),
    /// Exchanges of HTTP, which may be followed by others elsewhere.
    Exchanges(Caller),
}

impl VisitorChannel {
    /// Whether it sends datagrams.
    fn is_flow(&self) -> bool {
        matches!(self.carries, Carries::Datagrams)
    }

    /// Whether it is another client.
    fn is_fellow(&self) -> bool {
        matches!(self.carries, Carries::Frames(_))
    }

    fn deadline(&self) -> Time {
        match &self.carries {
            Carries::Frames(fellow) if fellow.over().is_some() => Time::default(),
            Carries::Bytes | Carries::Frames(_) | Carries::Datagrams => self.state.deadline(),
            Carries::Exchanges(caller) => self.state.deadline().min(caller.deadline()),
        }
    }
}

/// What a reminder is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A stranger, a visitor or a drained ProxyChannel may have had its time.
    Channels,
    /// A session's heartbeat, and the review of its pool.
    Pulse(Key),
    /// A session has mappings to bind again.
    Bind(Key),
    /// A session has ordered ProxyChannels that did not come.
    Orders(Key),
    /// The license file is to be looked at.
    Licenses,
    /// Licenses that are tried out have had their time.
    Trial,
    /// What has passed is to be kept.
    Counters,
    /// What is bound on demand may not be used any more.
    Demands,
    /// Visits had their time to end.
    Stop,
}

impl Due {
    /// The session that it is about.
    fn session(self) -> Option<Key> {
        match self {
            Self::Pulse(session) | Self::Bind(session) | Self::Orders(session) => Some(session),
            Self::Channels | Self::Licenses | Self::Trial | Self::Counters | Self::Demands | Self::Stop => {
                None
            }
        }
    }
}

impl Role for Server {
    fn step(&mut self, now: Time, input: Input<'_>, out: &mut Outbox<'_>) {
        let wishes = out.wishes();
        self.hear(now, input, out);
        self.pursue_demands(now, out);
        out.notes_behind(wishes).for_each(|note| self.events.remember(now, note));
    }

    fn deadline(&self) -> Time {
        self.timers.next()
    }

    fn check(&self) {
        if cfg!(debug_assertions) {
            self.check_books();
        }
    }
}

impl Server {
    fn hear(&mut self, now: Time, input: Input<'_>, out: &mut Outbox<'_>) {
        match input {
            Input::Start => self.start(now, out),
            Input::Timeout => self.timeout(now, out),
            Input::Bound(key, address) => self.bound(now, key, address, out),
            Input::BindFailed(key, reason) => self.bind_failed(now, key, reason, out),
            Input::Accepted { listener, key, peer } => self.accepted(now, listener, key, peer, out),
            Input::Announced(key, announced) => self.announced(now, key, announced, out),
            Input::Secured(key, binding) => self.secured(key, binding, out),
            Input::Greeted(key, greeting) => self.greeted(now, key, &greeting, out),
            Input::Talk(key, talk) => self.talk(now, key, talk, out),
            Input::Frame(key, frame, bytes) => self.frame(now, key, frame, bytes, out),
            Input::Ended(key) => self.ended(now, key, out),
            Input::Over(key) => self.flow_over(now, key, out),
            Input::Lost(key, reason) => self.lost(now, key, reason, out),
            Input::Drained(key) => self.drained(now, key, out),
            Input::Clock(clock) => self.clock(now, clock, out),
            Input::Licenses(result) => self.licenses(now, result, out),
            Input::Tried(results) => self.tried(now, results, out),
            Input::Passed(passed) => self.passed(now, &passed, out),
            // What has passed tells whose mark it was, and what then.
            Input::Spent(_) => out.push(Verb::ReadMeters),
            Input::Stop => self.stop(now, out),
            Input::Reload(settings) => self.reload(now, settings, out),
            Input::Bytes(key, bytes) => self.admin_said(now, key, bytes, out),
            Input::PutBack(result) => self.put_back(now, result, out),
            Input::Edited(key, result) => self.edited(now, key, result, out),
            Input::Dialed(_) | Input::Resolved(..) => {}
        }
    }

    /// A server that has not started.
    pub fn new(config: Config, entropy: Entropy) -> Self {
        Self {
            config,
            entropy,
            timers: Timers::default(),
            earliest: Earliest::default(),
            channels: Table::default(),
            doors: Table::default(),
            public_host: None,
            names: Sorted::new(),
            ports: Table::default(),
            ports_max: usize::MAX,
            sessions: Slots::default(),
            by_license: Sorted::new(),
            by_id: Sorted::new(),
            strangers: Vec::new(),
            unknown: Vec::new(),
            visitors: 0,
            fellows: 0,
            proxies: 0,
            accounts: Accounts::default(),
            bans: Bans::default(),
            demands: Demands::default(),
            events: Events::default(),
            licenses: Licenses::default(),
            settings_read: Ok(None),
            trial: Trial::Nothing,
            started: Time::default(),
            stopping: None,
        }
    }

    /// The same with at most so many listeners for visitors: what open files there are for them.
    #[must_use]
    pub fn within(self, ports_max: usize) -> Self {
        Self { ports_max, ..self }
    }

    /// The same, called so in the line to paste.
    #[must_use]
    pub fn with_public_host(self, public_host: Option<String>) -> Self {
        Self { public_host, ..self }
    }

    /// Sessions, visitors and ProxyChannels there are: for status and tests.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.sessions.len(), self.visitors, self.proxies)
    }

    fn start(&mut self, now: Time, out: &mut Outbox<'_>) {
        self.started = now;
        self.open_doors(out);
        out.push(Verb::LookAround);
        self.timers.remind(now + LICENSES_POLL_EVERY, Due::Licenses);
        self.timers.remind(now + COUNTERS_KEPT_EVERY, Due::Counters);
    }

    fn timeout(&mut self, now: Time, out: &mut Outbox<'_>) {
        while let Some(due) = self.timers.due(now) {
            match due {
                Due::Channels => self.channels_due(now, out),
                Due::Pulse(session) => self.pulse_due(now, session, out),
                Due::Bind(session) => self.bind_due(now, session, out),
                Due::Orders(session) => self.orders_due(now, session, out),
                Due::Licenses => {
                    out.push(Verb::LookAround);
                    self.timers.remind(now + LICENSES_POLL_EVERY, Due::Licenses);
                }
                Due::Trial => self.trial_due(now, out),
                Due::Counters => self.keep_counters(now, out),
                Due::Demands => self.demands_due(now, out),
                Due::Stop => self.leave(0, out),
            }
        }
    }

    /// A channel has a deadline: it will be looked for then.
    fn watch(&mut self, deadline: Time) {
        if self.earliest.lower(deadline) {
            self.timers.remind(deadline, Due::Channels);
        }
    }

    fn channels_due(&mut self, now: Time, out: &mut Outbox<'_>) {
        if !self.earliest.reached(now) {
            return;
        }
        let due: Vec<Key> =
            self.channels.iter().filter(|(_, c)| c.deadline() <= now).map(|(key, _)| key).collect();
        for key in due {
            match self.channels.get(key) {
                Some(Channel::Visitor(_)) => self.visitor_due(now, key, out),
                Some(
                    Channel::Stranger(_)
                    | Channel::Proxy(_)
                    | Channel::Front(_)
                    | Channel::Greeter(_)
                    | Channel::Admin(_),
                ) => {
                    out.close(key, Manner::Cut);
                    self.lost(now, key, Reason::TimedOut, out);
                }
                Some(Channel::Caller(_)) => self.caller_due(now, key, out),
                Some(Channel::Cmd(_)) | None => {}
            }
        }
        let next = self.channels.iter().map(|(_, channel)| channel.deadline()).min();
        self.watch(next.unwrap_or(Time::NEVER));
    }

    fn frame(&mut self, now: Time, key: Key, frame: Frame<'_>, bytes: &[u8], out: &mut Outbox<'_>) {
        let good = match self.channels.get(key) {
            None => return,
            Some(Channel::Stranger(_)) => self.stranger_spoke(now, key, frame, bytes, out),
            Some(&Channel::Cmd(session)) => self.cmd_spoke(now, session, frame, out),
            Some(Channel::Proxy(_)) => self.proxy_spoke(now, key, frame, out),
            Some(Channel::Visitor(_)) => self.fellow_spoke(now, key, frame, out),
            Some(Channel::Front(_) | Channel::Caller(_) | Channel::Greeter(_) | Channel::Admin(_)) => false,
        };
        if !good {
            out.close(key, Manner::Cut);
            self.lost(now, key, Reason::Protocol, out);
        }
    }

    fn ended(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        match self.channels.get(key) {
            Some(
                Channel::Caller(_) | Channel::Visitor(VisitorChannel { carries: Carries::Exchanges(_), .. }),
            ) => {
                self.let_caller_go(now, key, out);
            }
            Some(Channel::Visitor(VisitorChannel {
                carries: Carries::Bytes | Carries::Datagrams, ..
            })) => self.visitor_ended(now, key, out),
            Some(Channel::Admin(_)) => self.admin_ended(key, out),
            // Tunnel connections end with a word, or not at all.
            _ => {
                out.close(key, Manner::Cut);
                self.lost(now, key, Reason::Ended, out);
            }
        }
    }

    fn lost(&mut self, now: Time, key: Key, reason: Reason, out: &mut Outbox<'_>) {
        match self.channels.remove(key) {
            None => {}
            Some(Channel::Stranger(stranger)) => {
                self.strangers.retain(|&other| other != key);
                out.note(Note::StrangerClosed { peer: stranger.peer, reason });
            }
            Some(Channel::Cmd(session)) => self.cmd_lost(now, session, key, reason, out),
            Some(Channel::Proxy(proxy)) => self.proxy_lost(now, key, &proxy, out),
            Some(Channel::Front(front)) => self.front_lost(&front, reason, out),
            Some(Channel::Visitor(visitor)) => self.visitor_lost(now, key, &visitor, reason, out),
            Some(Channel::Admin(_)) => {}
            Some(Channel::Caller(_) | Channel::Greeter(_)) => {
                self.visitors -= 1;
                self.stop_if_idle(out);
            }
        }
    }

    /// No new visitors, no new clients; those there are may end.
    fn stop(&mut self, now: Time, out: &mut Outbox<'_>) {
        if self.stopping.is_some() {
            return self.leave(0, out);
        }
        out.note(Note::Stopping { visits: self.visitors });
        self.stopping = Some(now + STOP_TIMEOUT);
        for listener in self.doors.iter().map(|(key, _)| key).chain(self.ports.iter().map(|(key, _)| key)) {
            out.close(listener, Manner::End);
        }
        (self.doors, self.ports) = (Table::default(), Table::default());
        for (_, session) in self.sessions.iter() {
            if let Some(cmd) = session.cmd {
                out.send(cmd, &Frame::Goodbye { reason: Reason::Stopping, retry_millis: 0 });
            }
        }
        self.dismiss_callers(now, out);
        self.timers.remind(now + STOP_TIMEOUT, Due::Stop);
        self.stop_if_idle(out);
    }

    fn stop_if_idle(&mut self, out: &mut Outbox<'_>) {
        if self.stopping.is_some() && self.visitors == 0 {
            self.leave(0, out);
        }
    }
}
