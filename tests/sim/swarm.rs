//! The swarm: visitors, operators, strangers and bad luck, as the dice fall; then peace, in which everything must come
//! right by itself.
//!
//! A story is `steps` acts. Each seed draws how often each act occurs, never at all included, and how large the world is.
//! After every turn of a process its books are checked (`Driver::check`), and its sockets counted; every byte that an
//! endpoint reads is compared with what its stream should hold. In peace, within the times that nt promises, everybody
//! is served again, everything older has ended, and nothing is held.

#[path = "acts.rs"]
mod acts;
#[path = "calls.rs"]
pub mod calls;
#[path = "detours.rs"]
mod detours;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use acts::{ACTS, ALWAYS, Act};
use nt::driver::Budget;
use nt::license::Transport;
use nt::policy::Allow;
use nt::time::Span;

use crate::actors::{Outcome, Plan, Stranger};
use crate::letters::SIZES;
use crate::net::{Host, Nasty, Trouble};
use crate::world::{CLIENT, REAL, REAL_PORT, SERVER, Sim, TUNNEL_PORT, VISITOR, address};
use crate::{all_cores, exits, number, privates, seeds, told};

/// Clients that are served: as many licenses, two mappings each; the first one's are a range.
const CLIENTS: usize = 3;
/// Another machine with the first client's license.
const TWIN: Host = CLIENT + 3;
/// Somebody with a license of his own whose bytes are changed on their way.
const ROGUE: Host = CLIENT + 4;
const ROGUE_PORT: u16 = 8_099;
/// Whose sockets take public ports away.
const OTHERS: Host = 12;
const STRANGER: Host = 11;

/// Public ports from here on belong to the clients, by turns.
const PUBLIC: u16 = 8_080;

/// No real server has this port.
const NOBODYS: u16 = REAL_PORT + 90;

/// From here on the clients' exits: SOCKS5 and HTTP by turns.
const EXITS: u16 = 8_110;

/// From here on the clients' doors to each other's private mappings.
const VISITS: u16 = 8_120;

/// Seeds below are told twice, to see that they are the same story.
const REPEATED: u64 = 6;
/// And these, of which bytes are changed under TLS.
const REPEATED_TOO: [u64; 2] = [29, 53];

struct Swarm {
    sim: Sim,
    weights: Vec<(Act, u64)>,
    taken: Vec<u16>,
    /// Clients whose licenses are revoked.
    revoked: BTreeSet<usize>,
    /// Clients whose licenses permit no names.
    nameless: BTreeSet<usize>,
}

impl Swarm {
    fn new(seed: u64) -> Self {
        let transport = if seed % 12 == 5 { Transport::Tls } else { Transport::Plain };
        let mut dice = crate::dice::Random(seed ^ 0x5EED);
        let mut one_of = |choices: &[usize]| choices[dice.below(choices.len() as u64) as usize];
        let nasty = Nasty {
            short: one_of(&[0, 20, 60]) as u64,
            spurious: one_of(&[0, 20]) as u64,
            pipeless: one_of(&[0, 30]) as u64,
            delay_micros: one_of(&[500, 3_000, 30_000]) as u64,
            window: one_of(&[2_000, 5_000, 64 << 10, 150_000]),
        };
        let raws = one_of(&[4, 20, 120]);
        let mut sim = Sim::new(seed, nasty, transport);
        sim.budget = Budget { raws, locals: 0, tunnels: raws + 100, callers: raws };
        calls::prepare(&mut sim);
        sim.kill_server();
        sim.start_server();
        all_reals().for_each(|port| sim.open(port));
        (0..CLIENTS).for_each(|client| sim.answer(real(client, 0)));
        sim.world.borrow_mut().letter_loss = one_of(&[0, 0, 10]) as u64;
        sim.told.extend((1..CLIENTS).map(|client| real(client, 1)));
        let weights = ACTS.iter().map(|&(act, most)| {
            let weight = match ALWAYS.contains(&act) {
                true => most / 2 + dice.below(most),
                false if dice.chance(40) => 0,
                false => 1 + dice.below(most),
            };
            (act, weight)
        });
        let weights = weights.collect();
        let (taken, revoked, nameless) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let mut swarm = Self { sim, weights, taken, revoked, nameless };
        swarm.start_all();
        if dice.chance(30) {
            let mut world = swarm.sim.world.borrow_mut();
            world.corrupt.insert(ROGUE);
            // What a changed byte of a ClientHello does depends on the order of its extensions, which rustls shuffles.
            world.spares_first = transport == Transport::Tls;
            drop(world);
            swarm.sim.start_client(ROGUE, CLIENTS, &[&format!("{ROGUE_PORT}:10.0.0.9:{}", REAL_PORT + 99)]);
        }
        swarm
    }

    fn below(&self, bound: usize) -> usize {
        self.sim.world.borrow_mut().rng.below(bound as u64) as usize
    }

    fn chance(&self, percent: u64) -> bool {
        self.sim.world.borrow_mut().rng.chance(percent)
    }

    fn a_client(&self) -> Host {
        CLIENT + self.below(CLIENTS)
    }

    fn start_client(&mut self, host: Host) {
        let n = if host == TWIN { 0 } else { host - CLIENT };
        let [ip, name] = [0, 1].map(|which| (public(n, which), real(n, which)));
        let maps = match n {
            0 => vec![format!("{}-{}:10.0.0.9:{}-{}", ip.0, name.0, ip.1, name.1)],
            _ => {
                vec![format!("{}:10.0.0.9:{}", ip.0, ip.1), format!("{}:nas.lan:{},proxy=v2", name.0, name.1)]
            }
        };
        let datagrams = format!("{}:10.0.0.9:{}/udp", ip.0, ip.1);
        let (named, exits) = (calls::maps(n), exits::maps(EXITS + 2 * n as u16));
        let private = privates::map(real(n, 0));
        let maps = maps.iter().chain([&datagrams, &private]).chain(&named).chain(&exits).map(String::as_str);
        // Each visits the next one's private mapping; two machines of one license cannot have the same door here.
        let doors = (host < TWIN).then(|| privates::door(host, VISITS, (n + 1) % CLIENTS));
        self.sim.visits.insert(host, doors.into_iter().collect());
        // Where its exits lead: to its own real servers, and where nobody is.
        let allow = format!("loopback,10.0.0.9:{}-{},10.0.0.9:{NOBODYS}", real(n, 0), real(n, 1));
        self.sim.allow = Allow::parse(&allow).expect("a good list");
        self.sim.start_client(host, n, &maps.collect::<Vec<_>>());
    }

    /// Whoever is away comes.
    fn start_all(&mut self) {
        // Who cannot even listen, or be a client, at the start says so and ends; that is not what is told here.
        let trouble = std::mem::take(&mut self.sim.world.borrow_mut().trouble);
        if !self.sim.is_there(SERVER) {
            self.sim.start_server();
        }
        for host in (CLIENT..).take(CLIENTS) {
            if !self.sim.is_there(host) {
                self.start_client(host);
            }
        }
        self.sim.world.borrow_mut().trouble = trouble;
    }

    /// It is asked to stop, if it is there.
    fn stop(&mut self, host: Host) {
        if self.sim.is_there(host) {
            self.sim.world.borrow_mut().stop(host);
        }
    }

    fn kill(&mut self, host: Host) {
        self.sim.frozen.remove(&host);
        if host == SERVER { self.sim.kill_server() } else { self.sim.kill_client(host) }
    }

    /// One act, and all that follows from it at this moment.
    fn step(&mut self) {
        if self.chance(75) {
            let soon = self.sim.now() + Span::from_micros(1 + self.below(50_000) as u64);
            let next = self.sim.next().max(self.sim.now() + Span::from_micros(1));
            return self.sim.run_until(next.min(soon));
        }
        let all: u64 = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut left = self.below(all as usize) as u64;
        let chosen = self.weights.iter().find(|(_, weight)| match left.checked_sub(*weight) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        let (act, _) = *chosen.expect("the dice fall within the sum of the weights");
        self.act(act);
        self.sim.settle();
        self.sim.forget_the_dead();
        assert!(self.sim.exits.iter().all(|(_, code)| *code == 0), "a process gave up: {:?}", self.sim.exits);
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Visit => self.visit(),
            Act::Call => self.call(),
            Act::Write => self.write(),
            Act::Stall => self.stall(),
            Act::Leave => self.leave(),
            Act::RealServer => self.real_server(),
            Act::Pass => {
                let millis = [100, 1_000, 12_000, 40_000][self.below(4).min(self.below(4))];
                self.sim.run_for(Span::from_millis(self.below(millis) as u64));
            }
            Act::Cut => self.cut(),
            Act::Forget => {
                let client = self.a_client();
                self.sim.world.borrow_mut().forget(client, SERVER);
            }
            Act::Reset => self.reset(),
            Act::Crash if self.chance(30) => self.kill(SERVER),
            Act::Crash => self.kill(self.a_client()),
            Act::Stop => {
                let host = if self.chance(30) { SERVER } else { self.a_client() };
                self.stop(host);
            }
            Act::Start => self.start_all(),
            Act::Freeze => {
                let host = if self.chance(30) { SERVER } else { self.a_client() };
                if self.sim.frozen.pop_last().is_none() {
                    self.sim.frozen.insert(host);
                }
            }
            Act::Stranger => self.stranger(),
            Act::License => self.license(),
            Act::TakePort => self.take_port(),
            Act::Twin if self.sim.is_there(TWIN) => self.kill(TWIN),
            Act::Twin => self.start_client(TWIN),
            Act::Trouble => {
                let often = [0, 1, 5, 40][self.below(4).min(self.below(4))];
                self.sim.world.borrow_mut().trouble = Trouble::Sometimes(often);
            }
        }
    }

    fn visit(&mut self) {
        let (client, which) = (self.below(CLIENTS), self.below(2));
        let plan = self.sim.plan();
        let size = |n: u32| if n > 20_000 && self.chance(80) { n % 20_000 } else { n };
        let mut plan = Plan { up: size(plan.up), down: size(plan.down), ..plan };
        match self.below(10) {
            0 => plan.reset_at = Some(plan.down / 2),
            1 => {
                let all = 64 * (1 + self.below(20) as u32);
                plan = Plan { up: all, down: all, message: 64, visitor_ends_first: false, ..plan };
            }
            _ => {}
        }
        if self.chance(15) {
            self.visit_by_exit(client, plan);
        } else if self.chance(15) {
            // By the client before.
            let by = (client + CLIENTS - 1) % CLIENTS;
            self.sim.visit_at(CLIENT + by, VISITS + client as u16, real(client, 0), plan);
            if self.revoked.contains(&by) && self.sim.server_knows_licenses() {
                self.sim.arrivals.forbid(plan.id);
            }
        } else {
            self.sim.visit_to(public(client, which), real(client, which), plan);
        }
        if self.revoked.contains(&client) && self.sim.server_knows_licenses() {
            self.sim.arrivals.forbid(plan.id);
        }
    }

    fn write(&mut self) {
        let (client, known) = (self.below(CLIENTS), self.sim.correspondents.len());
        let n = if known < 12 && (known == 0 || self.chance(40)) {
            self.sim.correspond(public(client, 0), real(client, 0));
            known
        } else {
            self.below(known)
        };
        for _ in 0..1 + self.below(5) {
            let size = SIZES[self.below(SIZES.len()).min(self.below(SIZES.len()))];
            self.sim.correspondents[n].say(&mut self.sim.world.borrow_mut(), size);
        }
        if self.chance(10) {
            let gone = self.sim.correspondents.swap_remove(n);
            gone.leave(&mut self.sim.world.borrow_mut());
        }
    }

    fn stall(&mut self) {
        let stalled = [0, 100, u32::MAX][self.below(3)];
        let n = self.below(self.sim.everybody() + 1);
        let visitors = self.sim.visitors.iter_mut().chain(&mut self.sim.reals).map(|one| &mut one.stalled);
        let callers = self.sim.callers.iter_mut().map(|caller| &mut caller.stalled);
        let services = self.sim.services.iter_mut().map(|service| &mut service.stalled);
        if let Some(its) = visitors.chain(callers).chain(services).nth(n) {
            *its = stalled;
        }
    }

    fn leave(&mut self) {
        let n = self.below(self.sim.everybody() + 1);
        let Sim { visitors, reals, callers, services, world, .. } = &mut self.sim;
        let (mut world, before) = (world.borrow_mut(), visitors.len() + reals.len());
        if let Some(endpoint) = visitors.iter_mut().chain(reals).nth(n) {
            endpoint.leave(&mut world);
        } else if let Some(caller) = callers.get_mut(n - before) {
            caller.leave(&mut world);
        } else if let Some(service) = services.get_mut(n - before - callers.len()) {
            service.leave(&mut world);
        }
    }

    fn real_server(&mut self) {
        let ports: Vec<u16> = all_reals().collect();
        let port = ports[self.below(ports.len())];
        match self.below(5) {
            0 if self.sim.real_ports.contains(&port) => self.sim.shut_down(port),
            1 => _ = self.sim.idle_ports.insert(port),
            _ => ports.into_iter().for_each(|port| self.sim.open(port)),
        }
    }

    fn cut(&mut self) {
        let (client, way) = (self.a_client(), self.below(6));
        let mut world = self.sim.world.borrow_mut();
        match way {
            0 => world.cuts.extend([(client, SERVER), (SERVER, client)]),
            1 => _ = world.cuts.insert((client, SERVER)),
            2 => _ = world.cuts.insert((SERVER, client)),
            _ => world.cuts.clear(),
        }
        if way == 0 && world.rng.chance(30) {
            world.cuts.insert((client, REAL));
        }
    }

    fn reset(&mut self) {
        let (client, way) = (self.a_client(), self.below(4));
        let mut world = self.sim.world.borrow_mut();
        match way {
            0 => world.reset_all(client, SERVER),
            1 => _ = world.reset_one(VISITOR, SERVER),
            2 => _ = world.reset_one(client, REAL),
            _ => _ = world.reset_one(client, SERVER),
        }
    }

    fn stranger(&mut self) {
        let ports = [TUNNEL_PORT, TUNNEL_PORT, TUNNEL_PORT, ROGUE_PORT];
        let port = ports[self.below(ports.len())];
        let (kind, length) = (self.below(6), 1 + self.below(300));
        let mut world = self.sim.world.borrow_mut();
        let samples = nt::wire::samples();
        let sample = samples[world.rng.below(samples.len() as u64) as usize].1.encode().bytes().to_vec();
        let words = match kind {
            0 => Vec::new(),
            1 => (0..length).map(|_| world.rng.below(256) as u8).collect(),
            2 => sample[..length.min(sample.len())].to_vec(),
            3 => sample.repeat(20),
            4 => vec![world.rng.below(32) as u8, 0xFF, 0xFF, 0xFF],
            // What somebody said who was let in.
            _ => {
                let known = world.recorded.len() as u64;
                let n = world.rng.below(1 + known) as usize;
                world.recorded.get(n).cloned().unwrap_or_default()
            }
        };
        let end = world.connect(STRANGER, SERVER, address(SERVER, port));
        drop(world);
        self.sim.strangers.push(Stranger::new(end, words));
    }

    fn license(&mut self) {
        let (n, way) = (self.below(CLIENTS), self.below(6));
        if way == 0 {
            self.revoked.insert(n);
        } else if self.revoked.remove(&n) {
            self.permit_all();
        }
        if way == 2 {
            self.nameless.insert(n);
        } else if way > 0 && self.nameless.remove(&n) {
            self.permit_all();
        }
        self.sim.edit_licenses(|directory| match way {
            0 => super::revoke(directory, n),
            2 => super::take_names(directory, n),
            4 => super::hold(directory, n),
            1 => super::declare(directory, n, &[&format!("{}:127.0.0.1:{}", public(n, 10), real(n, 0))]),
            _ => super::declare(directory, n, &[]),
        });
    }

    /// What was forbidden and has not arrived may arrive yet.
    fn permit_all(&mut self) {
        self.sim.arrivals.permit_all();
        self.sim.requests.permit_all();
    }

    fn take_port(&mut self) {
        let port = public(self.below(CLIENTS), self.below(2));
        let mut world = self.sim.world.borrow_mut();
        match self.taken.pop() {
            Some(port) => world.unlisten(port),
            None if world.listen(OTHERS, port, usize::MAX) => self.taken.push(port),
            None => {}
        }
    }

    /// All faults stop, whoever was away comes back.
    fn peace(&mut self) {
        {
            let mut world = self.sim.world.borrow_mut();
            (world.trouble, world.corrupt) = (Trouble::Never, Default::default());
            world.cuts.clear();
            world.letter_loss = 0;
            self.taken.drain(..).for_each(|port| world.unlisten(port));
        }
        self.sim.frozen.clear();
        self.kill(TWIN);
        self.kill(ROGUE);
        self.revoked.clear();
        self.nameless.clear();
        self.permit_all();
        self.sim.edit_licenses(|directory| (0..CLIENTS).for_each(|n| super::declare(directory, n, &[])));
        all_reals().for_each(|port| self.sim.open(port));
        self.sim.callers.iter_mut().for_each(|caller| caller.stalled = 0);
        self.sim.services.iter_mut().for_each(|service| service.stalled = 0);
        self.sim.visitors.iter_mut().chain(&mut self.sim.reals).for_each(|endpoint| endpoint.stalled = 0);
        // Whoever was asked to stop is gone after 30 s, and his last bytes 5 s later.
        self.sim.run_for(Span::from_secs(40));
        self.start_all();
        assert!(self.sim.strangers.is_empty(), "strangers were not thrown out");
        // A client whose license was refused, or that was replaced, keeps away for up to 300 s.
        self.sim.run_for(Span::from_secs(310));
        for (client, which) in mappings() {
            let plan = self.sim.plan();
            let plan = Plan { up: 3_000, down: 3_000, ..plan };
            let visitor = self.sim.visit_to(public(client, which), real(client, which), plan);
            self.sim.run_for(Span::from_secs(10));
            let outcome = self.sim.outcome(visitor);
            assert_eq!(outcome, Outcome::Whole, "port {} is not served in peace", public(client, which));
        }
        self.call_in_peace();
        self.detours_in_peace();
        for client in 0..CLIENTS {
            self.sim.correspond(public(client, 0), real(client, 0));
            for _ in 0..10 {
                let last = self.sim.correspondents.last_mut().expect("the one that came just now");
                last.say(&mut self.sim.world.borrow_mut(), 500);
                self.sim.run_for(Span::from_secs(1));
            }
            let answers = self.sim.correspondents.last().map_or(0, |one| one.answers);
            assert!(answers > 0, "datagrams to {} are not answered in peace", public(client, 0));
        }
        self.sim.run_for(Span::from_secs(46));
        self.all_have_called();
        for endpoint in self.sim.visitors.iter().chain(&self.sim.reals) {
            assert_ne!(endpoint.outcome, Outcome::Running, "it never ends: {endpoint:?}");
        }
    }

    /// Nothing is held by whoever has nothing to do, and next to nothing done.
    fn rest(&mut self) {
        self.sim.run_for(Span::from_secs(60));
        let before = self.sim.turns;
        self.sim.run_for(Span::from_secs(60));
        let turns = self.sim.turns - before;
        assert!(turns < 300, "{turns} turns in a minute in which nothing happens");
        // Half a heartbeat may be there, and the rest of it on its way.
        let lent = |sim: &Sim| sim.counts().iter().map(|(lent, _)| lent).sum::<usize>();
        for _ in 0..1_000 {
            if lent(&self.sim) > 0 {
                self.sim.run_for(Span::from_millis(1));
            }
        }
        assert_eq!(lent(&self.sim), 0, "a buffer is held at rest");
        assert_eq!(self.sim.world.borrow().pipes, 0, "a pipe is held at rest");
        let log = self.sim.log();
        assert!(self.sim.secrets().iter().all(|secret| !log.contains(secret)), "the log tells a license");
    }

    /// Everybody is asked to stop.
    fn end(&mut self) {
        let hosts = (CLIENT..).take(CLIENTS).chain([SERVER]);
        hosts.for_each(|host| self.stop(host));
        self.sim.run_for(Span::from_secs(40));
        assert!(self.sim.server.is_none() && self.sim.clients.is_empty(), "who is asked to stop stays");
        assert!(self.sim.exits.iter().all(|(_, code)| *code == 0), "exit codes: {:?}", self.sim.exits);
    }
}

/// Both mappings of each client: to an address, and to a name.
fn mappings() -> impl Iterator<Item = (usize, usize)> {
    (0..CLIENTS).flat_map(|client| [(client, 0), (client, 1)])
}

/// All real servers.
fn all_reals() -> impl Iterator<Item = u16> {
    mappings().map(|(client, which)| real(client, which)).chain(calls::reals())
}

fn public(client: usize, which: usize) -> u16 {
    PUBLIC + (2 * client + which) as u16
}

fn real(client: usize, which: usize) -> u16 {
    REAL_PORT + (2 * client + which) as u16
}

/// One story; a fingerprint of all that happened. What fails says how to see it again.
fn story(seed: u64, steps: u64) -> u64 {
    let swarm = RefCell::new(Swarm::new(seed));
    let step = Cell::new(0);
    let again = || {
        let log = swarm.try_borrow().map_or_else(|_| String::new(), |swarm| swarm.sim.log());
        let last: Vec<&str> = log.lines().rev().take(number("NT_LINES").unwrap_or(40) as usize).collect();
        let log = last.into_iter().rev().collect::<Vec<_>>().join("\n");
        format!("{log}\nagain: NT_SIM_SEED={seed} NT_SIM_STEPS={} cargo test --test sim swarm", step.get())
    };
    told(again, || {
        let mut swarm = swarm.borrow_mut();
        for n in 1..=steps {
            step.set(n);
            swarm.step();
        }
        swarm.peace();
        swarm.rest();
        swarm.end();
    });
    swarm.into_inner().sim.fingerprint()
}

#[test]
fn whatever_happens_comes_right_in_peace() {
    let steps = number("NT_SIM_STEPS").unwrap_or(3_000);
    all_cores(seeds(300), |seed| _ = story(seed, steps));
}

#[test]
fn one_seed_is_one_swarm() {
    for seed in (0..REPEATED).chain(REPEATED_TOO) {
        assert_eq!(story(seed, 400), story(seed, 400), "seed {seed}");
    }
    assert_ne!(story(1, 400), story(2, 400));
}
