//! The server, the clients and what stands behind them.

use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::harness::{Kind, SOON, Server};
use super::ledger::Ledger;
use super::link::Link;
use super::names::{self, Doors};
use super::process::Process;
use super::real::RealServers;
use super::rest::{Files, Nt};
use super::scratch::port;

/// Looks at the open files before anybody visits, and the pause before each.
const LOOKS: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// What a thread held that panicked is still told of: the run has failed by then.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What may befall a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing but what befalls the server: so its life is as long as the run.
    None,
    /// Its process is killed, stopped, frozen; its license is revoked.
    Process,
    /// Its link to the server is cut, stalls, refuses.
    Link,
}

/// Names and ways of the clients.
const CLIENTS: [(&str, Kind, Fate); 5] = [
    ("steady", Kind::Tls, Fate::None),
    ("mortal", Kind::Tls, Fate::Process),
    ("cut off", Kind::Tls, Fate::Link),
    ("mortal, plain", Kind::Plain, Fate::Process),
    ("cut off, plain", Kind::Plain, Fate::Link),
];

/// Public ports of one client, by what is behind them.
pub struct Ports {
    pub obedient: u16,
    pub first: u16,
    pub mute: u16,
    /// The target that nobody listens on.
    pub nobody: u16,
    /// Those of datagrams: to their real server, and to nobody.
    pub datagrams: u16,
    pub datagrams_to_nobody: u16,
    /// Its exits.
    pub socks: u16,
    pub http_proxy: u16,
    /// Its door to the next client's private mapping.
    pub door: u16,
}

pub struct Client {
    pub number: usize,
    pub name: &'static str,
    pub fate: Fate,
    pub link: Option<Link>,
    pub ports: Ports,
    pub names: Arc<Doors>,
    /// Ports of the real servers that its exits may lead to.
    pub obedient: u16,
    pub first: u16,
    /// Where it finds the server.
    door: u16,
    kind: Kind,
    /// Its mappings, and whom it visits.
    words: Vec<String>,
    license: Mutex<String>,
    process: Mutex<Nt>,
}

pub struct Stage {
    server: Mutex<Server>,
    pub clients: Vec<Client>,
    pub real: RealServers,
}

impl Stage {
    pub fn start(ledger: &Arc<Ledger>) -> Self {
        let server = Server::start_with_certificates(names::certify);
        let [http, https] = [server.names, server.https].map(|port| port.expect("was started with it"));
        let names = Arc::new(Doors::new(&server.folder, http, https));
        let (real, clients) = (RealServers::start(ledger, &names.real), CLIENTS.iter().enumerate());
        let start = |(number, about): (usize, &_)| Client::start(number, *about, &server, &real, &names);
        let clients = clients.map(start).collect();
        Self { server: Mutex::new(server), clients, real }
    }

    pub fn server(&self) -> MutexGuard<'_, Server> {
        held(&self.server)
    }

    /// The tunnel ports of the server.
    pub fn doors(&self) -> [u16; 2] {
        let server = self.server();
        [server.tls, server.plain]
    }

    /// Does something with each process, by name.
    pub fn each<T>(&self, mut with: impl FnMut(&'static str, &Process, [u16; 2]) -> T) -> Vec<T> {
        let server = self.server();
        let mut all = vec![with("server", &server.process, [server.tls, server.plain])];
        drop(server);
        all.extend(self.clients.iter().map(|client| {
            let process = client.process();
            with(client.name, &process, [client.door; 2])
        }));
        all
    }

    /// Asks all to stop: they end well, and hold no buffer.
    pub fn stop(&self) {
        let mut server = self.server();
        let mut clients: Vec<_> = self.clients.iter().map(Client::process).collect();
        let mut all: Vec<&mut Nt> = clients.iter_mut().map(|client| &mut **client).collect();
        all.push(&mut server.process);
        all.iter().for_each(|nt| nt.signal(Signal::TERM));
        all.iter_mut().for_each(|nt| nt.has_ended_well());
    }

    /// How many files each has open that are of no visit, in the order of [`Stage::each`]: the fewest of some looks, for
    /// a license file that is read just now, or a socket that is closed just now, is no part of it.
    pub fn others(&self) -> Vec<usize> {
        let look = || self.each(|_, process, doors| Files::of(process, &doors).others);
        let mut fewest = look();
        for _ in 0..LOOKS {
            thread::sleep(BETWEEN_LOOKS);
            fewest.iter_mut().zip(look()).for_each(|(least, now)| *least = now.min(*least));
        }
        fewest
    }
}

impl Drop for Stage {
    /// What each of them has at rest was looked at before; they have told more in an hour than a test may.
    fn drop(&mut self) {
        self.clients.iter().for_each(|client| client.process().kill());
        self.server().process.kill();
    }
}

impl Client {
    fn start(
        number: usize,
        (name, kind, fate): (&'static str, Kind, Fate),
        server: &Server,
        real: &RealServers,
        names: &Arc<Doors>,
    ) -> Self {
        let link = (fate == Fate::Link).then(|| Link::to(server.port(kind)));
        let ports = Ports {
            obedient: port(),
            first: port(),
            mute: port(),
            nobody: port(),
            datagrams: port(),
            datagrams_to_nobody: port(),
            socks: port(),
            http_proxy: port(),
            door: port(),
        };
        let targets = [
            (ports.obedient, real.obedient.port, ""),
            (ports.first, real.first.port, ""),
            (ports.mute, real.mute.port, ""),
            (ports.nobody, real.nobody, ""),
            (ports.datagrams, real.datagrams, "/udp"),
            (ports.datagrams_to_nobody, port(), "/udp"),
        ];
        let mappings = targets.map(|(public, target, kind)| format!("{public}:127.0.0.1:{target}{kind}"));
        let detours = [
            format!("{}:socks5", ports.socks),
            format!("{}:http-proxy", ports.http_proxy),
            format!("obedient:127.0.0.1:{}/private", real.obedient.port),
        ];
        let visits = format!("client-{}/obedient", (number + 1) % CLIENTS.len());
        let door_word = ["--visit".to_owned(), format!("{visits}:{}", ports.door)];
        let named = names::mappings(number, &real.named);
        let words = [&mappings[..], &detours, &named, &door_word].concat();
        let (name_of_license, hosts) = (format!("client-{number}"), names::hosts(number));
        let license = server.license(&["add", &name_of_license, "--hosts", &hosts, "--visit", &visits]);
        let door = link.as_ref().map_or_else(|| server.port(kind), Link::port);
        let process = server.client_at("127.0.0.1", door, kind, &license, &words, |_| {});
        for (_, target, _) in targets {
            process.wait_for(&format!("-> 127.0.0.1:{target} ready"), SOON);
        }
        let (license, process, names) = (Mutex::new(license), Mutex::new(process), Arc::clone(names));
        let (obedient, first) = (real.obedient.port, real.first.port);
        Self { number, name, fate, link, ports, names, obedient, first, door, kind, words, license, process }
    }

    pub fn process(&self) -> MutexGuard<'_, Nt> {
        held(&self.process)
    }

    /// Starts it again with the same words; the old process must have ended, or is killed.
    pub fn again(&self, stage: &Stage) {
        let license = self.license.lock().unwrap().clone();
        let adapt = |_: &mut Command| {};
        let process =
            stage.server().client_at("127.0.0.1", self.door, self.kind, &license, &self.words, adapt);
        let mut place = self.process();
        place.kill();
        *place = process;
    }

    /// Its license is revoked.
    pub fn revoke(&self, stage: &Stage) {
        stage.server().license(&["revoke", &self.license_name()]);
    }

    /// It has a new license, which it will use when it is started again.
    pub fn rotate(&self, stage: &Stage) {
        let license = stage.server().license(&["rotate", &self.license_name()]);
        *self.license.lock().unwrap() = license;
    }

    fn license_name(&self) -> String {
        format!("client-{}", self.number)
    }
}
