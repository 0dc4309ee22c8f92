//! A whole server, driver and all, on connections that carry what the script says: bytes that are no frames, in any
//! pieces, on a plain port, under the name of TLS and from visitors, with connections and with datagrams, among logins and
//! ProxyChannels that are good.

use std::cell::RefCell;
use std::net::SocketAddr;

use nt::door::Door;
use nt::driver::{Budget, Driver};
use nt::entropy::Entropy;
use nt::identity::Identity;
use nt::license::{Transport, plain_binding};
use nt::limits::{POOL_MAX, STRANGERS_MAX};
use nt::server::{Config, Server};
use nt::time::Span;
use nt::tls::Security;
use nt::wire::{self, Attach, Frame, Hello, Map, SIGNATURE_BYTES, VERSION, samples, transfer_header};

use super::hand::{Hand, Pipe};
use super::script::Script;
use super::stage::{directory, license};

/// Flows have a quarter of these places.
const VISITORS_MAX: usize = 8;
const SESSIONS_MAX: usize = 4;
/// The listeners that are not of a mapping: plain, and TLS.
const DOORS: usize = 2;
const NONCE: [u8; 32] = [7; 32];

thread_local! {
    /// One for all scripts: an arena is for the life of a process. Each script leaves it at rest.
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

struct World {
    hand: Hand,
    driver: Driver<Hand>,
}

impl World {
    fn new() -> Self {
        let Identity { chain, key } = Identity::fresh().expect("an identity");
        let security = Security::default().with_server(chain, key).expect("a good identity");
        let here = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let doors =
            vec![Door::Tunnel(here(9000), Transport::Plain), Door::Tunnel(here(9002), Transport::Tls)];
        let config = Config {
            doors,
            directory: directory(|_| {}),
            visitors_max: VISITORS_MAX,
            sessions_max: SESSIONS_MAX,
        };
        let server = Box::new(Server::new(config, Entropy::new([1; 32])));
        let tunnels = VISITORS_MAX + POOL_MAX + STRANGERS_MAX + SESSIONS_MAX;
        let budget = Budget { raws: VISITORS_MAX, tunnels, ..Budget::default() };
        let hand = Hand::default();
        let mut driver = Driver::new(hand.clone(), vec![server], security, budget);
        driver.start();
        Self { hand, driver }
    }

    fn turn(&mut self) {
        assert_eq!(self.driver.turn(), None, "nothing that came ends the program");
        self.driver.check();
    }
}

/// A connection, and what is known of it.
struct Connection {
    pipe: Pipe,
    /// The login that was made on it: whose, its binding and its session.
    login: Option<(u8, [u8; 32], [u8; 16])>,
}

pub fn play(bytes: &[u8]) {
    WORLD.with_borrow_mut(|world| {
        let mut script = Script(bytes);
        let mut connections = Vec::new();
        while let Some(action) = script.next() {
            act(world, &mut connections, action, &mut script);
            world.turn();
        }
        end(world, &connections);
    });
}

fn act(world: &mut World, connections: &mut Vec<Connection>, action: u8, script: &mut Script<'_>) {
    let doors = world.hand.doors.borrow().clone();
    let ports: Vec<usize> = (DOORS..doors.len()).filter(|&door| doors[door]).collect();
    let mut arrive = |door| connections.push(Connection { pipe: world.hand.arrive(door), login: None });
    match action % 14 {
        0 => return arrive(0),
        1 => return arrive(1),
        2 => {
            return match script.pick(&ports) {
                Some(door) if world.hand.takes_datagrams(door) => post(&world.hand, door, script),
                Some(door) => arrive(door),
                None => {}
            };
        }
        3 => return world.hand.pass(Span::from_millis(u64::from(script.byte()) * 100)),
        _ => {}
    }
    let at = usize::from(script.byte());
    if connections.is_empty() {
        return;
    }
    let at = at % connections.len();
    let pipe = connections[at].pipe.clone();
    let say = |bytes: &[u8]| pipe.0.borrow_mut().input.extend(bytes);
    match action % 14 {
        4 => pipe.0.borrow_mut().ended = true,
        5 => {
            let mut ends = pipe.0.borrow_mut();
            ends.full = !ends.full;
        }
        6 => log_in(world, &mut connections[at], script),
        7 => attach(world, connections, at, script),
        8 => {
            let samples = samples();
            let at = usize::from(script.byte()) % samples.len();
            say(samples[at].1.encode().bytes());
        }
        9 => {
            let payload = usize::from(script.byte()) * 256;
            say(&transfer_header(payload));
            say(&vec![0x5A; payload]);
        }
        10 => say(Frame::Connected.encode().bytes()),
        11 => say(Frame::Fin.encode().bytes()),
        _ => say(script.bytes()),
    }
}

/// One of a few visitors sends a datagram, be it large.
fn post(hand: &Hand, door: usize, script: &mut Script<'_>) {
    let from = SocketAddr::from(([192, 0, 2, script.byte() % 4], 1));
    let length = usize::from(script.byte()) * 256;
    hand.post(door, from, vec![0x5A; length]);
}

/// What the server says on a connection from here on, decoded as far as it goes.
fn heard<T>(pipe: &Pipe, find: impl Fn(&Frame<'_>) -> Option<T>) -> Option<T> {
    let output = std::mem::take(&mut pipe.0.borrow_mut().output);
    let mut rest = output.as_slice();
    while let Ok(Some((frame, used))) = wire::next(rest) {
        if let Some(found) = find(&frame) {
            return Some(found);
        }
        rest = &rest[used..];
    }
    None
}

/// NONCE both ways: the binding of a plain connection.
fn nonce(world: &mut World, pipe: &Pipe) -> Option<[u8; 32]> {
    pipe.0.borrow_mut().input.extend(Frame::Nonce(NONCE).encode().bytes());
    world.turn();
    heard(pipe, |frame| match frame {
        Frame::Nonce(theirs) => Some(plain_binding(&NONCE, theirs)),
        _ => None,
    })
}

fn log_in(world: &mut World, connection: &mut Connection, script: &mut Script<'_>) {
    let Some(binding) = nonce(world, &connection.pipe) else { return };
    let n = script.byte() % 3 + 1;
    let mappings = script.byte() % 3;
    let mut hello = Hello {
        version: VERSION,
        license: license(n).id().0,
        instance: [script.byte() % 2; 16],
        counter: u64::from(script.byte()),
        capabilities: 0,
        mappings: mappings.into(),
        signature: [0; SIGNATURE_BYTES],
    };
    let unsigned = Frame::Hello(hello).encode();
    let keys = license(n).client_keys();
    hello.signature = keys.sign_hello(Transport::Plain, &binding, unsigned.unproved(SIGNATURE_BYTES));
    let say = |frame: &Frame<'_>| connection.pipe.0.borrow_mut().input.extend(frame.encode().bytes());
    say(&Frame::Hello(hello));
    for index in 0..u16::from(mappings) {
        let kind = if index == 0 { "" } else { "/udp" };
        say(&Frame::Map(Map { index, mapping: &format!("127.0.0.1:{}:80{kind}", 2000 + index) }));
    }
    world.turn();
    connection.login = heard(&connection.pipe, |frame| match frame {
        Frame::Welcome(welcome) => Some((n, binding, welcome.session)),
        _ => None,
    });
}

fn attach(world: &mut World, connections: &[Connection], at: usize, script: &mut Script<'_>) {
    let logins: Vec<_> = connections.iter().filter_map(|connection| connection.login).collect();
    let Some((n, theirs, session)) = script.pick(&logins) else { return };
    let pipe = &connections[at].pipe;
    let Some(binding) = nonce(world, pipe) else { return };
    let channel = u64::from(script.byte() % 8);
    let key = license(n).client_keys().attach_key(Transport::Plain, &theirs, &session);
    let mac = key.mac(Transport::Plain, &binding, channel);
    let attach = Frame::Attach(Attach { session, channel, mac });
    pipe.0.borrow_mut().input.extend(attach.encode().bytes());
}

/// All leave, and time passes: nothing is left of them.
fn end(world: &mut World, connections: &[Connection]) {
    for connection in connections {
        let mut ends = connection.pipe.0.borrow_mut();
        (ends.full, ends.ended) = (false, true);
    }
    // Who said nothing to the end goes first; then the sessions, which outlive their connections for a while.
    for _ in 0..60 {
        world.turn();
        world.hand.pass(Span::from_secs(1));
    }
    world.turn();
    assert_eq!(world.driver.counts(), (0, DOORS), "buffers, connections and listeners that are left");
    assert!(connections.iter().all(|connection| connection.pipe.0.borrow().closed), "one is still open");
    world.hand.doors.borrow_mut().truncate(DOORS);
}
