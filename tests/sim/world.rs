//! A server, clients, visitors and real servers in one simulated world.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::OnceLock;

use nt::client::{self, Client};
use nt::directory::Directory;
use nt::driver::{Budget, Driver};
use nt::entropy::Entropy;
use nt::license::{License, Transport};
use nt::mapping;
use nt::policy::Allow;
use nt::role::Role;
use nt::server::{self, Server};
use nt::time::{Span, Time};
use nt::tls::{Security, Trust};

use super::actors::{Arrivals, Endpoint, Outcome, Plan};
use super::meter::{self, Cost, Costs};
use super::net::{Host, Nasty, World};
use super::os::SimNet;

pub const SERVER: Host = 1;
pub const VISITOR: Host = 2;
pub const REAL: Host = 9;
pub const CLIENT: Host = 3;
pub const TUNNEL_PORT: u16 = 9002;
pub const REAL_PORT: u16 = 700;

pub const BUDGET: Budget = Budget { raws: 120, locals: 0, tunnels: 220 };

pub struct Sim {
    pub world: Rc<RefCell<World>>,
    pub server: Option<Driver<SimNet>>,
    /// Clients by host.
    pub clients: Vec<(Host, Driver<SimNet>)>,
    pub visitors: Vec<Endpoint>,
    pub reals: Vec<Endpoint>,
    pub arrivals: Arrivals,
    pub transport: Transport,
    directory: Directory,
    licenses: Vec<License>,
    lives: u64,
    next_visit: u32,
    /// Real servers accept.
    pub real_up: bool,
    /// Processes that ended by themselves, and their exit codes.
    pub exits: Vec<(Host, i32)>,
    gone: usize,
}

/// Where an address leads: the server's ports lie above 1000, the client's own network below.
fn route(_from: Host, address: SocketAddr) -> Host {
    if address.port() < 1000 { REAL } else { SERVER }
}

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
        let licenses: Vec<License> = (0..2).map(license).collect();
        let directory = super::directory(&licenses);
        let world = World::new(seed, nasty);
        let mut sim = Self {
            world,
            server: None,
            clients: Vec::new(),
            visitors: Vec::new(),
            reals: Vec::new(),
            arrivals: Arrivals::default(),
            transport,
            directory,
            licenses,
            lives: 0,
            next_visit: 0,
            real_up: true,
            exits: Vec::new(),
            gone: 0,
        };
        sim.world.borrow_mut().listen(REAL, REAL_PORT, usize::MAX);
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

    fn security(&self) -> Security {
        let (cert, key) = identity().clone();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key).into();
        Security::default()
            .with_server(vec![cert.into()], key)
            .and_then(|security| security.with_client("nt.invalid", Trust::License))
            .expect("the identity is good")
    }

    pub fn start_server(&mut self) {
        let config = server::Config {
            doors: vec![(SocketAddr::from(([0, 0, 0, 0], TUNNEL_PORT)), self.transport)],
            directory: self.directory.clone(),
            visitors_max: BUDGET.raws,
            sessions_max: 4,
        };
        let role: Box<dyn Role> = Box::new(Server::new(config, self.entropy()));
        let mut driver = Driver::new(self.net(SERVER), vec![role], self.security(), BUDGET);
        driver.start();
        self.server = Some(driver);
    }

    /// A client with the license of this number and these mappings.
    pub fn start_client(&mut self, host: Host, license: usize, maps: &[&str]) {
        let mappings = maps.iter().flat_map(|map| mapping::parse(map).expect("a good mapping")).collect();
        let config = client::Config {
            servers: vec![("10.0.0.1".into(), TUNNEL_PORT)],
            transport: self.transport,
            license: self.licenses[license].id(),
            keys: self.licenses[license].client_keys(),
            mappings,
            allow: Allow::default(),
            proxies_max: BUDGET.raws + nt::limits::POOL_MAX,
        };
        let role: Box<dyn Role> = Box::new(Client::new(config, self.entropy()));
        let mut driver = Driver::new(self.net(host), vec![role], self.security(), BUDGET);
        driver.start();
        self.clients.retain(|(other, _)| *other != host);
        self.clients.push((host, driver));
    }

    pub fn kill_server(&mut self) {
        self.server = None;
        self.world.borrow_mut().crash(SERVER);
    }

    pub fn kill_client(&mut self, host: Host) {
        self.clients.retain(|(other, _)| *other != host);
        self.world.borrow_mut().crash(host);
    }

    /// The license file is edited: what `change` makes of the directory holds from the next look on.
    pub fn edit_licenses(&mut self, change: impl FnOnce(&mut Directory)) {
        change(&mut self.directory);
        self.world.borrow_mut().licenses = Some(self.directory.clone());
    }

    pub fn visit(&mut self, port: u16, plan: Plan) -> usize {
        let end = self.world.borrow_mut().connect(VISITOR, SERVER, SocketAddr::from(([10, 0, 0, 1], port)));
        self.visitors.push(Endpoint::visitor(end, plan));
        self.visitors.len() - 1
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
        let mut steps = 0_u64;
        loop {
            self.settle(&mut steps);
            let mut next = self.world.borrow().next();
            if let Some(server) = &self.server {
                next = next.min(server.deadline());
            }
            for (_, client) in &self.clients {
                next = next.min(client.deadline());
            }
            let now = self.now();
            self.world.borrow_mut().advance(next.max(now + Span::from_micros(1)).min(until));
            if self.now() >= until {
                return self.settle(&mut steps);
            }
        }
    }

    pub fn run_for(&mut self, span: Span) {
        self.run_until(self.now() + span);
    }

    /// Everybody does what can be done at this moment.
    fn settle(&mut self, steps: &mut u64) {
        loop {
            *steps += 1;
            assert!(*steps < 3_000_000, "the world spins: no end of things to do at {:?}", self.now());
            let mut busy = false;
            let now = self.now();
            if let Some(server) = &mut self.server
                && (self.world.borrow().has_events(SERVER) || server.deadline() <= now)
            {
                self.exits.extend(turn(SERVER, server, &self.world));
                busy = true;
            }
            for (host, client) in &mut self.clients {
                if self.world.borrow().has_events(*host) || client.deadline() <= now {
                    self.exits.extend(turn(*host, client, &self.world));
                    busy = true;
                }
            }
            for (host, _) in self.exits.iter().skip(self.gone) {
                if *host == SERVER {
                    self.server = None;
                }
                self.clients.retain(|(other, _)| other != host);
                self.world.borrow_mut().crash(*host);
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
        if self.real_up {
            while let Some((end, _)) = world.accept(REAL_PORT) {
                self.reals.push(Endpoint::real(end));
                busy = true;
            }
        }
        for visitor in &mut self.visitors {
            busy |= visitor.poke(&mut world);
        }
        for real in &mut self.reals {
            let unknown = real.plan.is_none();
            busy |= real.poke(&mut world);
            if let (true, Some(plan)) = (unknown, real.plan) {
                self.arrivals.count(plan.id);
            }
        }
        busy
    }

    pub fn outcome(&self, visitor: usize) -> Outcome {
        self.visitors[visitor].outcome
    }

    /// Buffers and connections of the server and each client.
    pub fn counts(&self) -> Vec<(usize, usize)> {
        self.server.iter().map(Driver::counts).chain(self.clients.iter().map(|(_, c)| c.counts())).collect()
    }

    /// What the processes of all hosts have cost together.
    pub fn costs(&self) -> Costs {
        let world = self.world.borrow();
        world.costs.values().fold(Costs::default(), |sum, costs| sum.plus(costs))
    }

    /// What people were told, for a failing test to print.
    pub fn log(&self) -> String {
        let world = self.world.borrow();
        world
            .notes
            .iter()
            .map(|(at, host, text)| format!("{:>12} host {host}: {text}\n", at.as_micros()))
            .collect()
    }
}

/// One turn of a host's process, with what it allocates itself; its exit code, if it was the last.
fn turn(host: Host, driver: &mut Driver<SimNet>, world: &RefCell<World>) -> Option<(Host, i32)> {
    let (code, allocations) = meter::allocations(|| driver.turn());
    world.borrow_mut().costs.entry(host).or_default().add(Cost::Allocation, allocations);
    driver.check();
    code.map(|code| (host, code))
}
