//! A server, clients, visitors and real servers in one simulated world.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::OnceLock;

use nt::arena::Arena;
use nt::client::{self, Client};
use nt::directory::Directory;
use nt::door::Door;
use nt::driver::{Budget, Driver};
use nt::entropy::Entropy;
use nt::http::Scheme;
use nt::license::{License, Transport};
use nt::mapping::{self, Visiting};
use nt::policy::Allow;
use nt::role::Role;
use nt::server::{self, Server};
use nt::time::{Span, Time};
use nt::tls::{Security, Trust};

use super::actors::{Arrivals, Endpoint, Outcome, Plan, Stranger};
use super::callers::{Asking, Caller, Saying, Words};
use super::letters::{Answerer, Correspondent};
use super::meter::{self, Cost};
use super::net::{Host, Nasty, World};
use super::os::SimNet;
use super::services::{Requests, Service};

#[path = "accounts.rs"]
mod accounts;

pub const SERVER: Host = 1;
pub const VISITOR: Host = 2;
pub const REAL: Host = 9;
pub const CLIENT: Host = 3;
/// No machine has this address.
pub const NOBODY: Host = 13;
pub const TUNNEL_PORT: u16 = 9002;
/// Where visitors are told apart by the names that they ask for.
pub const NAMES_PORT: u16 = 9003;
/// Real servers have the ports from here on; those that a story uses listen.
pub const REAL_PORT: u16 = 700;

/// Rounds in which everybody does what can be done at one moment.
const ROUNDS_MAX: usize = 50_000;

pub const BUDGET: Budget = Budget { raws: 120, locals: 0, tunnels: 220, callers: 0 };

pub struct Sim {
    pub world: Rc<RefCell<World>>,
    pub server: Option<Driver<SimNet>>,
    /// Clients by host.
    pub clients: Vec<(Host, Driver<SimNet>)>,
    pub visitors: Vec<Endpoint>,
    pub reals: Vec<Endpoint>,
    pub strangers: Vec<Stranger>,
    pub arrivals: Arrivals,
    /// Visitors who send datagrams, the real servers that answer, and which is meant by whom.
    pub correspondents: Vec<Correspondent>,
    pub answerers: Vec<Answerer>,
    meant: BTreeMap<u32, u16>,
    /// Visitors who speak HTTP, their real servers' connections, and all that is asked.
    pub callers: Vec<Caller>,
    pub services: Vec<Service>,
    pub requests: Requests,
    /// Whether there is a door for names.
    pub names: bool,
    pub transport: Transport,
    pub budget: Budget,
    /// What the clients of some hosts visit.
    pub visits: BTreeMap<Host, Vec<Visiting>>,
    /// What clients allow.
    pub allow: Allow,
    directory: Directory,
    licenses: Vec<License>,
    lives: u64,
    next_visit: u32,
    /// Real servers that listen …
    pub real_ports: Vec<u16>,
    /// Real servers that are told who visits.
    pub told: BTreeSet<u16>,
    /// Real servers that speak HTTP.
    pub speakers: BTreeSet<u16>,
    /// … and do not accept.
    pub idle_ports: BTreeSet<u16>,
    /// Hosts that do nothing, and whose clocks go on: frozen, or asleep.
    pub frozen: BTreeSet<Host>,
    /// Processes that ended by themselves, and their exit codes.
    pub exits: Vec<(Host, i32)>,
    gone: usize,
    /// Turns of all processes.
    pub turns: u64,
    /// The last look at everybody, where nothing at all came of it.
    idle: Option<Idle>,
}

/// A look at everybody of which nothing came. As long as nothing arrives, is due or is changed, nothing will come of
/// another one either: it would only draw the same dice, and whoever is stalled would count it.
#[derive(Clone, Copy)]
struct Idle {
    /// What it has added to the state of the dice.
    drawn: u64,
    /// As many more of them leave everybody stalled who is.
    looks: u32,
}

/// Where an address leads: the server's ports lie above 1000, the client's own network below.
fn route(_from: Host, to: SocketAddr) -> Host {
    match to.port() {
        port if to == address(NOBODY, port) => NOBODY,
        ..1000 => REAL,
        _ => SERVER,
    }
}

/// A port of a host.
pub fn address(host: Host, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host as u8], port))
}

/// Whose address it is.
pub fn host_of(address: SocketAddr) -> Host {
    match address.ip() {
        IpAddr::V4(ip) => Host::from(ip.octets()[3]),
        IpAddr::V6(_) => NOBODY,
    }
}

/// How many licenses the server knows at first.
const LICENSES: usize = 4;

/// License number `n`.
pub fn license(n: usize) -> License {
    License::from_random([n as u8 + 1; 28])
}

/// One self-signed identity for all runs: making keys is slow.
fn identity() -> &'static (Vec<u8>, Vec<u8>) {
    static IDENTITY: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let params = rcgen::CertificateParams::new(vec!["nt.invalid".into()]).expect("parameters");
        let cert = params.self_signed(&key).expect("a certificate");
        (cert.der().to_vec(), key.serialize_der())
    })
}

impl Sim {
    pub fn new(seed: u64, nasty: Nasty, transport: Transport) -> Self {
        let licenses: Vec<License> = (0..LICENSES).map(license).collect();
        let directory = super::directory(&licenses);
        let world = World::new(seed, nasty);
        let mut sim = Self {
            world,
            server: None,
            clients: Vec::new(),
            visitors: Vec::new(),
            reals: Vec::new(),
            strangers: Vec::new(),
            arrivals: Arrivals::default(),
            correspondents: Vec::new(),
            answerers: Vec::new(),
            meant: BTreeMap::new(),
            callers: Vec::new(),
            services: Vec::new(),
            requests: Requests::default(),
            names: false,
            transport,
            budget: BUDGET,
            visits: BTreeMap::new(),
            allow: Allow::default(),
            directory,
            licenses,
            lives: 0,
            next_visit: 0,
            real_ports: vec![REAL_PORT],
            told: BTreeSet::new(),
            speakers: BTreeSet::new(),
            idle_ports: BTreeSet::new(),
            frozen: BTreeSet::new(),
            exits: Vec::new(),
            gone: 0,
            turns: 0,
            idle: None,
        };
        sim.world.borrow_mut().listen(REAL, REAL_PORT, usize::MAX);
        sim.start_server();
        sim
    }

    /// With a door for names, and so many visitors at once.
    pub fn with_names(seed: u64, nasty: Nasty, transport: Transport, visitors: usize) -> Self {
        let mut sim = Self::new(seed, nasty, transport);
        sim.kill_server();
        sim.names = true;
        sim.budget = Budget { raws: visitors, callers: visitors, ..BUDGET };
        sim.start_server();
        sim
    }

    fn entropy(&mut self) -> Entropy {
        self.lives += 1;
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&self.lives.to_be_bytes());
        Entropy::new(seed)
    }

    fn net(&self, host: Host) -> SimNet {
        SimNet { world: self.world.clone(), host, route }
    }

    /// Who speaks no TLS needs none: to make it takes longer than many a turn.
    fn security(&self) -> Security {
        if self.transport == Transport::Plain {
            return Security::default();
        }
        let (cert, key) = identity().clone();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key).into();
        Security::default()
            .with_server(vec![cert.into()], key)
            .and_then(|security| security.with_client("nt.invalid", Trust::License))
            .expect("the identity is good")
    }

    pub fn start_server(&mut self) {
        let address = |port| SocketAddr::from(([0, 0, 0, 0], port));
        let names = self.names.then(|| Door::Names(address(NAMES_PORT), Scheme::Http));
        let tunnel = Door::Tunnel(address(TUNNEL_PORT), self.transport);
        let config = server::Config {
            doors: [tunnel].into_iter().chain(names).collect(),
            directory: self.directory.clone(),
            visitors_max: self.budget.raws,
            sessions_max: 4,
        };
        let role = Box::new(Server::new(config, self.entropy()));
        self.server = Some(self.start(SERVER, role));
    }

    /// The names and keys that no log may tell.
    pub fn secrets(&self) -> Vec<String> {
        self.licenses.iter().map(|license| license.text()).collect()
    }

    /// A client with the license of this number and these mappings.
    pub fn start_client(&mut self, host: Host, license: usize, maps: &[&str]) {
        let mappings = maps.iter().map(|map| mapping::parse(map).expect("a good mapping")).collect();
        let config = client::Config {
            servers: vec![("10.0.0.1".into(), TUNNEL_PORT)],
            via: None,
            transport: self.transport,
            license: self.licenses[license].id(),
            keys: self.licenses[license].client_keys(),
            mappings,
            visits: self.visits.get(&host).cloned().unwrap_or_default(),
            allow: self.allow.clone(),
            proxies_max: self.budget.raws + nt::limits::POOL_MAX,
            guest: false,
        };
        let role = Box::new(Client::new(config, self.entropy()));
        let driver = self.start(host, role);
        self.bury(host);
        self.clients.push((host, driver));
    }

    fn start(&mut self, host: Host, role: Box<dyn Role>) -> Driver<SimNet> {
        let arenas = ARENAS.take();
        let (mut fitting, others): (Vec<_>, Vec<_>) =
            arenas.into_iter().partition(|arena| arena.total() == self.budget.buffers());
        let arena = fitting.pop().unwrap_or_else(|| Arena::new(self.budget.buffers()));
        ARENAS.set(fitting.into_iter().chain(others).collect());
        let mut driver = Driver::with_arena(self.net(host), vec![role], self.security(), self.budget, arena);
        driver.start();
        driver
    }

    /// A process is no more; of its memory another will be made.
    fn bury(&mut self, host: Host) {
        let client = self.clients.iter().position(|(other, _)| *other == host);
        let client = client.map(|n| self.clients.remove(n).1);
        let server = if host == SERVER { self.server.take() } else { None };
        for driver in client.into_iter().chain(server) {
            ARENAS.set(ARENAS.take().into_iter().chain([driver.into_arena()]).collect());
        }
    }

    /// Whether the process of this host runs.
    pub fn is_there(&self, host: Host) -> bool {
        self.server.is_some() && host == SERVER || self.clients.iter().any(|(other, _)| *other == host)
    }

    pub fn kill_server(&mut self) {
        self.bury(SERVER);
        self.world.borrow_mut().crash(SERVER);
    }

    pub fn kill_client(&mut self, host: Host) {
        self.bury(host);
        self.world.borrow_mut().crash(host);
    }

    /// The license file is edited: what `change` makes of the directory holds from the next look on.
    pub fn edit_licenses(&mut self, change: impl FnOnce(&mut Directory)) {
        change(&mut self.directory);
        self.world.borrow_mut().licenses = Some(self.directory.clone());
    }

    /// Whether the server has read what the license file holds.
    pub fn server_knows_licenses(&self) -> bool {
        self.server.is_some() && self.world.borrow().licenses.is_none()
    }

    pub fn visit(&mut self, port: u16, plan: Plan) -> usize {
        self.visit_to(port, REAL_PORT, plan)
    }

    /// A visitor of this public port, which leads to the real server of that one.
    pub fn visit_to(&mut self, port: u16, real: u16, plan: Plan) -> usize {
        self.visit_at(SERVER, port, real, plan)
    }

    /// A visitor of this port of this host.
    pub fn visit_at(&mut self, host: Host, port: u16, real: u16, plan: Plan) -> usize {
        self.arrivals.expect(plan.id, real);
        let end = self.world.borrow_mut().connect(VISITOR, host, address(host, port));
        self.visitors.push(Endpoint::visitor(end, port, plan));
        self.visitors.len() - 1
    }

    /// A visitor on this host who speaks HTTP at this port of the server's.
    pub fn call(&mut self, from: Host, port: u16, asked: Vec<Asking>) -> &mut Caller {
        self.next_visit += 1;
        let id = self.next_visit;
        let said = asked.into_iter().zip(0..).map(|(asking, number)| asking.say(id, number));
        let sayings: Vec<Saying> = said.collect();
        for saying in &sayings {
            if let Words::Request(matter, name) = &saying.words {
                self.requests.expect(*matter, address(from, 0).ip(), name);
            }
        }
        let end = self.world.borrow_mut().connect(from, SERVER, address(SERVER, port));
        self.callers.push(Caller::new(end, id, self.now(), sayings));
        self.callers.last_mut().expect("the one that came just now")
    }

    /// A visitor who will send datagrams to this public port, which leads to the real server of that one.
    pub fn correspond(&mut self, port: u16, real: u16) -> &mut Correspondent {
        self.next_visit += 1;
        self.meant.insert(self.next_visit, real);
        let one =
            Correspondent::new(&mut self.world.borrow_mut(), self.next_visit, port).expect("an own address");
        self.correspondents.push(one);
        self.correspondents.last_mut().expect("the one that came just now")
    }

    /// A real server answers datagrams at this port.
    pub fn answer(&mut self, port: u16) {
        let answerer = Answerer::new(&mut self.world.borrow_mut(), port);
        self.answerers.push(answerer);
    }

    /// The real server of this port serves.
    pub fn open(&mut self, port: u16) {
        self.idle_ports.remove(&port);
        if !self.real_ports.contains(&port) {
            assert!(self.world.borrow_mut().listen(REAL, port, usize::MAX), "nobody else is there");
            self.real_ports.push(port);
        }
    }

    /// It is not there any more, but for those it has.
    pub fn shut_down(&mut self, port: u16) {
        self.real_ports.retain(|other| *other != port);
        self.world.borrow_mut().unlisten(port);
    }

    /// Those who visit or are visited.
    pub fn everybody(&self) -> usize {
        self.visitors.len() + self.reals.len() + self.callers.len() + self.services.len()
    }

    /// Whose story is over is not looked at again.
    pub fn forget_the_dead(&mut self) {
        for endpoints in [&mut self.visitors, &mut self.reals] {
            if endpoints.len() > 16 {
                endpoints.retain(|endpoint| endpoint.outcome == Outcome::Running);
            }
        }
        if self.callers.len() + self.services.len() > 16 {
            self.callers.retain(|caller| caller.outcome == Outcome::Running);
            self.services.retain(|service| service.outcome == Outcome::Running);
        }
    }

    /// A plan of sizes that the dice choose.
    pub fn plan(&mut self) -> Plan {
        self.next_visit += 1;
        let mut world = self.world.borrow_mut();
        let size = |world: &mut World| match world.rng.below(4) {
            0 => 0,
            1 => world.rng.below(200) as u32,
            2 => world.rng.below(20_000) as u32,
            _ => world.rng.below(120_000) as u32,
        };
        let (up, down) = (size(&mut world), size(&mut world));
        let visitor_ends_first = world.rng.chance(50);
        Plan { id: self.next_visit, up, down, visitor_ends_first, reset_at: None, message: 0 }
    }

    pub fn now(&self) -> Time {
        self.world.borrow().now
    }

    /// Runs until nothing can happen before `until`, then lets the clock stand there.
    pub fn run_until(&mut self, until: Time) {
        loop {
            self.settle();
            self.wait(until);
            if self.now() >= until {
                return self.settle();
            }
        }
    }

    /// Lets the clock jump to where somebody has something to do, or to `until`. What is cut off and sent again on its
    /// way is nothing to anybody: who would be looked at each time is spared that, and all is as if it had been so.
    fn wait(&mut self, until: Time) {
        let (due, mut looks) = (self.due(), 0);
        loop {
            let mut world = self.world.borrow_mut();
            let next = due.min(world.next()).max(world.now + Span::from_micros(1)).min(until);
            let arrived = world.advance(next);
            let Some(idle) = self.idle.filter(|idle| !arrived && next < due.min(until) && looks < idle.looks)
            else {
                break;
            };
            world.rng.0 = world.rng.0.wrapping_add(idle.drawn);
            looks += 1;
        }
        if looks > 0 {
            self.visitors.iter_mut().chain(&mut self.reals).for_each(|endpoint| endpoint.skip(looks));
            self.callers.iter_mut().for_each(|caller| caller.skip(looks));
            self.services.iter_mut().for_each(|service| service.skip(looks));
        }
    }

    pub fn run_for(&mut self, span: Span) {
        self.run_until(self.now() + span);
    }

    /// When something happens next, if nobody does anything now.
    pub fn next(&self) -> Time {
        self.due().min(self.world.borrow().next())
    }

    /// When somebody does something next, if nothing arrives.
    fn due(&self) -> Time {
        let processes = self.server.iter().map(|server| (SERVER, server));
        let processes = processes.chain(self.clients.iter().map(|(host, client)| (*host, client)));
        let awake = processes.filter(|(host, _)| !self.frozen.contains(host));
        let deadlines = awake.map(|(_, driver)| driver.deadline());
        let callers = self.callers.iter().map(Caller::next);
        // Who could have spoken by now waits for something else.
        let now = self.now();
        let speakers = callers.chain(self.services.iter().map(Service::next)).filter(|at| *at > now);
        deadlines.chain(speakers).fold(Time::NEVER, Time::min)
    }

    /// Everybody does what can be done at this moment.
    pub fn settle(&mut self) {
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "the world spins: no end of things to do at {:?}", self.now());
            let mut busy = false;
            let now = self.now();
            let processes = self.server.iter_mut().map(|server| (SERVER, server));
            let processes = processes.chain(self.clients.iter_mut().map(|(host, client)| (*host, client)));
            for (host, driver) in processes.filter(|(host, _)| !self.frozen.contains(host)) {
                if self.world.borrow().has_events(host) || driver.deadline() <= now {
                    self.exits.extend(turn(host, driver, &self.world));
                    self.turns += 1;
                    busy = true;
                }
            }
            for host in self.exits[self.gone..].iter().map(|(host, _)| *host).collect::<Vec<_>>() {
                self.bury(host);
                self.world.borrow_mut().crash(host);
            }
            self.gone = self.exits.len();
            busy |= self.poke();
            if !busy {
                return;
            }
        }
    }

    fn poke(&mut self) -> bool {
        let world = self.world.clone();
        let mut world = world.borrow_mut();
        let mut busy = false;
        world.patience = u32::MAX;
        let (before, drawn) = ((world.happened(), self.strangers.len()), world.rng.0);
        // Who waits at a port that is idle has knocked already.
        let knocked = std::mem::replace(&mut world.knocked, !self.idle_ports.is_empty());
        let open = |port: &&u16| knocked && !self.idle_ports.contains(port);
        for port in self.real_ports.iter().filter(open) {
            while let Some((end, _)) = world.accept(*port) {
                let told = self.told.contains(port);
                if self.speakers.contains(port) {
                    self.services.push(Service::new(end, *port, told));
                } else {
                    self.reals.push(Endpoint::real(end, *port, told));
                }
                busy = true;
            }
        }
        for visitor in &mut self.visitors {
            busy |= visitor.poke(&mut world);
        }
        for caller in &mut self.callers {
            busy |= caller.poke(&mut world);
        }
        for service in &mut self.services {
            busy |= service.poke(&mut world, &mut self.requests);
        }
        for correspondent in &mut self.correspondents {
            busy |= correspondent.poke(&mut world);
        }
        for answerer in &mut self.answerers {
            busy |= answerer.poke(&mut world, &self.meant);
        }
        self.strangers.retain_mut(|stranger| stranger.poke(&mut world));
        for real in &mut self.reals {
            let unknown = real.plan.is_none();
            busy |= real.poke(&mut world);
            if let (true, Some(plan)) = (unknown, real.plan) {
                self.arrivals.count(plan.id, real.port);
                let of_plan = |visitor: &&Endpoint| visitor.plan.is_some_and(|other| other.id == plan.id);
                if let (Some((from, to)), Some(visitor)) =
                    (real.announced, self.visitors.iter().find(of_plan))
                {
                    assert_eq!(
                        Some(from),
                        world.seen_as(visitor.end),
                        "visit {} is somebody else's",
                        plan.id
                    );
                    assert_eq!(to.port(), visitor.port, "visit {} came elsewhere", plan.id);
                }
            }
        }
        let idle = !busy && before == (world.happened(), self.strangers.len());
        let drawn = world.rng.0.wrapping_sub(drawn);
        self.idle = idle.then_some(Idle { drawn, looks: world.patience });
        busy
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let hosts: Vec<Host> = self.clients.iter().map(|(host, _)| *host).chain([SERVER]).collect();
        hosts.into_iter().for_each(|host| self.bury(host));
    }
}

thread_local! {
    /// What processes have left.
    static ARENAS: Cell<Vec<Arena>> = const { Cell::new(Vec::new()) };
}

/// One turn of a host's process, with what it allocates itself; its exit code, if it was the last.
fn turn(host: Host, driver: &mut Driver<SimNet>, world: &RefCell<World>) -> Option<(Host, i32)> {
    let (code, allocations) = meter::allocations(|| driver.turn());
    world.borrow_mut().costs_of(host).add(Cost::Allocation, allocations);
    driver.check();
    if code.is_none() {
        let (held, counted) = (world.borrow().sockets(host), driver.counts().1);
        assert_eq!(held, counted, "host {host} has more or fewer sockets than it knows of");
    }
    code.map(|code| (host, code))
}
