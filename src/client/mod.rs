//! The client: logs in, declares mappings, brings ProxyChannels, dials real servers.
//!
//! In reading order: this file routes inputs; [`login`] logs in and comes back, [`failback`] goes back to the first of
//! several servers, [`reload`] takes other settings, [`report`] says how it is; [`tunnel`] keeps mappings and
//! ProxyChannels; [`checks`] looks after real servers, [`visits`] dials them; [`exits`] hears from visitors which;
//! [`visiting`] brings visitors of this machine to other clients.
//!
//! Losing the CmdChannel costs nothing by itself: the client logs in again with the same instance, and
//! visits go on over their own connections. Only when the server was silent for too long, or no longer
//! knows the instance, are they cut.

mod checks;
mod exits;
mod failback;
mod login;
mod reload;
#[cfg_attr(not(feature = "admin"), path = "../left_out/report.rs")]
mod report;
mod tunnel;
mod visiting;
mod visits;

use std::collections::VecDeque;

use crate::channel::cmd::{Beat, Cmd};
use crate::channel::proxy::Proxy;
use crate::channel::real::Real;
use crate::entropy::Entropy;
use crate::exit::Talk;
use crate::license::{AttachKey, ClientKeys, LicenseId, Transport};
use crate::limits::{BACKOFF_FIRST, PARTING_TIMEOUT, REFUSED_BACKOFF_FIRST, STOP_TIMEOUT, own_proxies};
use crate::mapping::{Host, Indexed, Mapping, Target, Visiting};
use crate::note::Note;
use crate::policy::Allow;
use crate::reason::Reason;
use crate::role::{Input, Manner, Outbox, Query, Role, Verb};
use crate::slots::{Key, Table};
use crate::sorted::Sorted;
use crate::time::{Span, Time};
use crate::timers::{Earliest, Timers};
use crate::via::Via;
use crate::wire::Frame;
use checks::Checked;
use failback::Failback;
use tunnel::Known;
use visits::Name;

/// What a client is made from.
#[derive(Debug)]
pub struct Config {
    /// Servers, tried in turn.
    pub servers: Vec<(String, u16)>,
    /// The proxy that they are reached through, if any.
    pub via: Option<Via>,
    /// Over TLS, or plainly.
    pub transport: Transport,
    /// The license's public name.
    pub license: LicenseId,
    /// The license's keys.
    pub keys: ClientKeys,
    /// Mappings to declare; each is served by this version, and all together have at most
    /// [`crate::limits::MAPPINGS_MAX`] ports.
    pub mappings: Vec<Mapping>,
    /// Private mappings of other clients that are visited.
    pub visits: Vec<Visiting>,
    /// Targets that the server may ask for.
    pub allow: Allow,
    /// ProxyChannels at once, of those that the server orders; those of its own come on top ([`own_proxies`]).
    pub proxies_max: usize,
    /// Whether it comes beside the other clients of its license, and replaces none.
    pub guest: bool,
}

/// The client role.
#[derive(Debug)]
pub struct Client {
    config: Config,
    entropy: Entropy,
    timers: Timers<Due>,
    /// Of all channels' deadlines.
    earliest: Earliest,
    /// When the CmdChannel is looked at next.
    cmd_earliest: Earliest,
    cmd: Cmd,
    channels: Table<Channel>,
    instance: [u8; 16],
    logins: u64,
    /// Which server is tried.
    server: usize,
    /// Longest pause before the next attempt; refused ones are slower.
    pause: Span,
    refused_pause: Span,
    session: Option<Session>,
    /// The mappings: this client's own, and, with indexes above, those that the server declared and it took.
    mappings: Indexed<Known>,
    /// Index of the next to be declared.
    next_map: u16,
    /// How many the server has offered.
    offers: u64,
    /// Visits whose end the server may not know of: on a living ProxyChannel until the next begins there …
    taken: Sorted<u64, ()>,
    /// … or, on one that was lost, for as long as it may be remembered. Oldest first.
    lost: VecDeque<u64>,
    /// What is known of real servers that are looked after, by the first index of their mapping.
    checks: Sorted<u16, Checked>,
    checks_due: Earliest,
    /// Names of targets: being looked up, or known for a while.
    names: Sorted<(String, u16), Name>,
    queries: Sorted<Query, (String, u16)>,
    last_query: u64,
    proxies: usize,
    /// The listeners for visitors of this machine: which mapping each leads to.
    doors: Table<usize>,
    /// Visitors of this machine who wait to be brought, and how many are being brought.
    waiting: VecDeque<Key>,
    visits_coming: usize,
    /// Visits that were made for them.
    visits: u64,
    /// When the visits of a session without CmdChannel are given up.
    alive_until: Time,
    failback: Failback,
    /// Where whoever asks is told how the client is.
    #[cfg_attr(not(feature = "admin"), expect(dead_code, reason = "nobody is told"))]
    status_at: Option<String>,
    status_door: Option<Key>,
    stop: Stop,
}

/// Whether the client goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// It does.
    No,
    /// It ends when the server has taken its ProxyChannels back: what was on the way to them has been answered then,
    /// and went to another client perhaps.
    Parting,
    /// It ends with its last visit.
    Draining,
}

/// What a login gave.
#[derive(Debug)]
struct Session {
    id: [u8; 16],
    generation: u64,
    attach: AttachKey,
}

/// What a connection is to the client. The CmdChannel is [`Client::cmd`] itself.
#[derive(Debug)]
enum Channel {
    /// A tunnel connection that is being made.
    Coming(Coming),
    /// A ProxyChannel.
    Proxy(ProxyChannel),
    /// The real server's side of this ProxyChannel, or the visitor's.
    Real(Key),
    /// A visitor of this machine, of this mapping, who waits to be brought.
    Waiting(usize),
    /// A check of a mapping's real server.
    Check(u16),
}

impl Channel {
    /// When it has had its time, in its present state.
    fn deadline(&self) -> Time {
        match self {
            Self::Coming(coming) => coming.deadline,
            Self::Proxy(proxy) => proxy.real.as_ref().map_or(proxy.deadline, Real::deadline),
            Self::Real(_) | Self::Waiting(_) | Self::Check(_) => Time::NEVER,
        }
    }
}

/// A tunnel connection that is being made.
#[derive(Debug)]
struct Coming {
    purpose: Purpose,
    /// Ours, on a plain one.
    nonce: Option<[u8; 32]>,
    deadline: Time,
}

/// What a tunnel connection will be for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    /// A ProxyChannel that the server has ordered under this number.
    Attach(u64),
    /// A visit of a private mapping, by a visitor of this machine.
    Visit { which: usize, raw: Key },
    /// To see whether the first server is there again.
    Look,
}

#[derive(Debug)]
struct ProxyChannel {
    state: Proxy,
    /// The visit's other side, while one is on.
    real: Option<Real>,
    /// The visitor has yet to be taken where it wants to go.
    talk: Option<Box<Talk>>,
    /// What the visit is for, and whether it carries datagrams.
    mapping: u16,
    flow: bool,
    /// The last visit, over or not.
    visit: u64,
    /// The private mapping that is visited on it, which it was made for alone.
    visits: Option<usize>,
    /// When a drain is given up.
    deadline: Time,
}

impl ProxyChannel {
    /// One that carries nothing.
    fn idle() -> Self {
        Self {
            state: Proxy::Idle,
            real: None,
            talk: None,
            mapping: 0,
            flow: false,
            visit: 0,
            visits: None,
            deadline: Time::NEVER,
        }
    }
}

/// What a reminder is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The control connection.
    Cmd,
    /// A ProxyChannel that is being made, dials, or drains may have had its time.
    Channels,
    /// Real servers are to be checked.
    Checks,
    /// Visits without a session.
    Silence,
    /// The first server is to be looked for.
    Failback,
    /// The server had its time to take the ProxyChannels back.
    Parted,
    /// Visits had their time to end.
    Stop,
}

impl Role for Client {
    fn step(&mut self, now: Time, input: Input<'_>, out: &mut Outbox<'_>) {
        match input {
            Input::Start => {
                out.note(Note::Connecting { server: self.server_name() });
                self.open_doors(out);
                self.open_status(out);
                self.attempt(now, out);
            }
            Input::Bound(key, address) => self.door_opened(key, address, out),
            Input::BindFailed(key, reason) => self.door_failed(key, reason, out),
            Input::Accepted { listener, key, .. } if self.status_door == Some(listener) => {
                self.say_status(now, key, out);
            }
            Input::Accepted { listener, key, .. } => self.visitor_came(now, listener, key, out),
            Input::Timeout => self.timeout(now, out),
            Input::Resolved(query, addresses) => self.resolved(now, query, addresses, out),
            Input::Dialed(key) => match self.channels.get(key) {
                Some(&Channel::Check(index)) => self.check_dialed(now, key, index, out),
                _ => self.real_dialed(now, key, out),
            },
            Input::Secured(key, binding) => self.secured(now, key, binding, out),
            Input::Frame(key, frame, _) => self.frame(now, key, frame, out),
            Input::Bytes(key, bytes) => match self.channels.get(key) {
                Some(&Channel::Check(index)) => self.check_heard(now, index, bytes, out),
                _ => self.visitor_spoke(now, key, bytes, out),
            },
            Input::Ended(key) => self.ended(now, key, out),
            Input::Lost(key, reason) => self.lost(now, key, reason, out),
            Input::Drained(key) => self.drained(key, out),
            Input::Stop => self.stop(now, out),
            Input::Talk(key, talk) => self.body_passed(now, key, &talk, out),
            Input::Over(_) | Input::Greeted(..) | Input::Announced(..) | Input::Licenses(_) => {}
            Input::Reload(settings) => self.reload(now, settings, out),
            Input::Passed(_) | Input::Spent(_) | Input::Clock(_) => {}
            Input::Edited(..) | Input::PutBack(_) | Input::Tried(_) => {}
        }
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

impl Client {
    /// A client that has not started.
    pub fn new(mut config: Config, mut entropy: Entropy) -> Self {
        let mut instance = [0; 16];
        entropy.fill(&mut instance);
        let (mut mappings, mut next) = (Indexed::default(), 0);
        for mapping in std::mem::take(&mut config.mappings) {
            let count = mapping.count();
            mappings.insert(next, Known::new(mapping, 0));
            next += count;
        }
        Self {
            config,
            entropy,
            timers: Timers::default(),
            earliest: Earliest::default(),
            cmd_earliest: Earliest::default(),
            cmd: Cmd::Resting { until: Time::default() },
            channels: Table::default(),
            instance,
            logins: 0,
            server: 0,
            pause: BACKOFF_FIRST,
            refused_pause: REFUSED_BACKOFF_FIRST,
            session: None,
            mappings,
            next_map: 0,
            offers: 0,
            taken: Sorted::new(),
            lost: VecDeque::new(),
            checks: Sorted::new(),
            checks_due: Earliest::default(),
            names: Sorted::new(),
            queries: Sorted::new(),
            last_query: 0,
            proxies: 0,
            doors: Table::default(),
            waiting: VecDeque::new(),
            visits_coming: 0,
            visits: 0,
            alive_until: Time::NEVER,
            failback: Failback::default(),
            status_at: None,
            status_door: None,
            stop: Stop::No,
        }
    }

    /// Whether it is logged in, and how many ProxyChannels and visits there are: for status and tests.
    pub fn counts(&self) -> (bool, usize, usize) {
        let visits =
            self.channels.iter().filter(|(_, c)| matches!(c, Channel::Proxy(p) if p.real.is_some())).count();
        (matches!(self.cmd, Cmd::Ready { .. }), self.proxies, visits)
    }

    /// Whether it may have another ProxyChannel for a purpose of its own.
    fn has_own_room(&self) -> bool {
        self.proxies < self.config.proxies_max + own_proxies(self.config.proxies_max)
    }

    // ── Routing ─────────────────────────────────────────────────────────────────────────────────────────────────

    fn frame(&mut self, now: Time, key: Key, frame: Frame<'_>, out: &mut Outbox<'_>) {
        let good = if self.cmd.key() == Some(key) {
            self.cmd_spoke(now, frame, out)
        } else {
            match self.channels.get(key) {
                None => return,
                Some(Channel::Coming(_)) => self.coming_spoke(now, key, frame, out),
                Some(Channel::Proxy(_)) => self.proxy_spoke(now, key, frame, out),
                Some(Channel::Real(_) | Channel::Waiting(_) | Channel::Check(_)) => false,
            }
        };
        if !good {
            out.close(key, Manner::Cut);
            self.lost(now, key, Reason::Protocol, out);
        }
    }

    fn ended(&mut self, now: Time, key: Key, out: &mut Outbox<'_>) {
        if let Some(&Channel::Real(proxy)) = self.channels.get(key) {
            self.real_ended(now, proxy, out);
        } else {
            out.close(key, Manner::Cut);
            self.lost(now, key, Reason::Ended, out);
        }
    }

    fn lost(&mut self, now: Time, key: Key, reason: Reason, out: &mut Outbox<'_>) {
        if self.cmd.key() == Some(key) {
            // Another address of the server may be better.
            if let Cmd::Dialing { rest, .. } = &mut self.cmd
                && !rest.is_empty()
            {
                let rest = std::mem::take(rest);
                return self.dial_server(now, rest, reason, out);
            }
            return self.rest(now, reason, out);
        }
        match self.channels.remove(key) {
            None => {}
            Some(Channel::Waiting(_)) => {}
            Some(Channel::Coming(coming)) => self.forget_coming(now, &coming, out),
            Some(Channel::Proxy(proxy)) => self.proxy_lost(proxy, out),
            Some(Channel::Real(proxy)) => self.real_lost(now, key, proxy, reason, out),
            Some(Channel::Check(index)) => self.check_lost(now, index, reason, out),
        }
        self.stop_if_idle(out);
    }

    fn timeout(&mut self, now: Time, out: &mut Outbox<'_>) {
        while let Some(due) = self.timers.due(now) {
            match due {
                Due::Cmd => self.cmd_due(now, out),
                Due::Channels => self.channels_due(now, out),
                Due::Checks => self.checks_due(now, out),
                Due::Silence => {
                    if !matches!(self.cmd, Cmd::Ready { .. }) && self.alive_until <= now {
                        self.alive_until = Time::NEVER;
                        self.drop_channels(now, true, out);
                    }
                }
                Due::Failback => self.failback_due(now, out),
                Due::Parted => {
                    self.stop = Stop::Draining;
                    self.stop_if_idle(out);
                }
                Due::Stop => self.quit(out),
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
            self.proxy_due(now, key, out);
        }
        let next = self.channels.iter().map(|(_, channel)| channel.deadline()).min();
        self.watch(next.unwrap_or(Time::NEVER));
    }

    /// The CmdChannel has a deadline: it will be looked at then.
    fn watch_cmd(&mut self) {
        let deadline = self.cmd.deadline();
        if self.cmd_earliest.lower(deadline) {
            self.timers.remind(deadline, Due::Cmd);
        }
    }

    fn cmd_due(&mut self, now: Time, out: &mut Outbox<'_>) {
        if !self.cmd_earliest.reached(now) {
            return;
        }
        if self.cmd.deadline() <= now {
            self.cmd_timeout(now, out);
        }
        // Who rests and is to stop has nothing more to do.
        if self.cmd.deadline() > now {
            self.watch_cmd();
        }
    }

    fn cmd_timeout(&mut self, now: Time, out: &mut Outbox<'_>) {
        match &mut self.cmd {
            Cmd::Resting { .. } => {
                if self.stop == Stop::No {
                    self.attempt(now, out);
                }
            }
            Cmd::Resolving { .. } => self.rest(now, Reason::NoSuchHost, out),
            Cmd::Dialing { key, .. } => {
                let key = *key;
                out.close(key, Manner::Cut);
                self.lost(now, key, Reason::TimedOut, out);
            }
            Cmd::Noncing { .. } | Cmd::Greeting { .. } => self.rest(now, Reason::TimedOut, out),
            Cmd::Ready { key, pulse, .. } => match pulse.beat(now) {
                Beat::Dead => {
                    self.drop_channels(now, true, out);
                    self.rest(now, Reason::Silent, out);
                }
                Beat::Speak => out.send(*key, &Frame::Heartbeat),
                Beat::Rest => {}
            },
        }
    }

    // ── Stopping ────────────────────────────────────────────────────────────────────────────────────────────────

    fn stop(&mut self, now: Time, out: &mut Outbox<'_>) {
        if self.stop != Stop::No {
            return self.quit(out);
        }
        self.stop = if matches!(self.cmd, Cmd::Ready { .. }) { Stop::Parting } else { Stop::Draining };
        out.note(Note::Stopping { visits: self.counts().2 });
        self.timers.remind(now + STOP_TIMEOUT, Due::Stop);
        self.timers.remind(now + PARTING_TIMEOUT, Due::Parted);
        self.end_flows(now, out);
        self.leave(now, out);
        self.stop_if_idle(out);
    }

    /// Says goodbye while visits end: the server sends nobody any more, and ends those in which nothing is asked for.
    fn leave(&mut self, now: Time, out: &mut Outbox<'_>) {
        if let Cmd::Ready { key, .. } = self.cmd {
            out.send(key, &Frame::Goodbye { reason: Reason::Stopping, retry_millis: 0 });
            out.see_off(key);
            self.alive_until = now + STOP_TIMEOUT;
            self.set_cmd(Cmd::Resting { until: Time::NEVER });
        }
    }

    fn stop_if_idle(&mut self, out: &mut Outbox<'_>) {
        let may_end = match self.stop {
            Stop::No => false,
            Stop::Parting => self.proxies == 0,
            Stop::Draining => true,
        };
        if may_end && self.counts().2 == 0 {
            self.quit(out);
        }
    }

    fn quit(&mut self, out: &mut Outbox<'_>) {
        if let Cmd::Ready { key, .. } = self.cmd {
            out.send(key, &Frame::Goodbye { reason: Reason::Stopping, retry_millis: 0 });
        }
        out.push(Verb::Exit(0));
    }

    /// The books agree with each other; for tests, after every step.
    fn check_books(&self) {
        let (mut proxies, mut visits) = (0, 0);
        for (key, channel) in self.channels.iter() {
            match channel {
                Channel::Coming(coming) => {
                    proxies += 1;
                    if let Purpose::Visit { raw, .. } = coming.purpose {
                        visits += 1;
                        assert!(matches!(self.channels.get(raw), Some(&Channel::Real(back)) if back == key));
                    }
                }
                Channel::Proxy(proxy) => {
                    proxies += 1;
                    assert!(
                        proxy.real.is_none() || matches!(proxy.state, Proxy::Visit { .. }),
                        "{key:?}: a real server without a visit"
                    );
                    if let Some(real) = proxy.real.as_ref().and_then(Real::key) {
                        assert!(matches!(self.channels.get(real), Some(&Channel::Real(back)) if back == key));
                    }
                }
                Channel::Waiting(_) => {}
                Channel::Check(index) => assert!(self.checks.contains_key(index), "a check of nothing"),
                Channel::Real(proxy) => {
                    let other = match self.channels.get(*proxy) {
                        Some(Channel::Proxy(proxy)) => proxy.real.as_ref().and_then(Real::key),
                        Some(Channel::Coming(Coming { purpose: Purpose::Visit { raw, .. }, .. })) => {
                            Some(*raw)
                        }
                        _ => None,
                    };
                    assert_eq!(other, Some(key), "real server and ProxyChannel disagree");
                }
            }
        }
        assert_eq!((proxies, visits), (self.proxies, self.visits_coming));
        // Whatever has a deadline will be looked at by then.
        let cmd = if self.stop != Stop::No { Time::NEVER } else { self.cmd.deadline() };
        let deadline = self.channels.iter().map(|(_, channel)| channel.deadline()).fold(cmd, Time::min);
        assert!(self.timers.next() <= deadline, "a deadline that nobody looks at");
    }
}
