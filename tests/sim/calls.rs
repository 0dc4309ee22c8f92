//! What the swarm's callers do, and what they must be answered in peace.

use nt::time::Span;

use super::Swarm;
use crate::actors::Outcome;
use crate::callers::{Asking, Name, Parting};
use crate::messages::{GET, How, METHODS, Matter};
use crate::net::Host;
use crate::world::{NAMES_PORT, REAL_PORT, Sim, VISITOR};

/// A mapping whose visitors speak HTTP.
struct Named {
    client: usize,
    /// Its public side, and its options.
    public: &'static str,
    options: &'static str,
    /// What a visitor asks for.
    host: &'static str,
    prefix: &'static str,
}

const NAMED: [Named; 6] = [
    named(0, "one.example.com", "", "One.Example.com:80", ""),
    named(1, "two.example.com", "", "two.example.com", ""),
    named(2, "three.example.com", ",proxy=v2", "three.example.com.", ""),
    // Of another client's name, a path.
    named(1, "one.example.com/api", "", "one.example.com", "/api"),
    named(2, "*.wild.example.com", "", "a.b.wild.example.com", ""),
    // A port of its own.
    named(0, "8090", "", "whatever.example.org", ""),
];

/// Whoever asks for this path of the first name is served by that one where nobody has the path.
const PATH: usize = 3;
const PORT: usize = 5;

const fn named(
    client: usize,
    public: &'static str,
    options: &'static str,
    host: &'static str,
    prefix: &'static str,
) -> Named {
    Named { client, public, options, host, prefix }
}

/// The names that a license permits.
pub fn hosts(client: usize) -> &'static str {
    ["one.example.com", "two.example.com,one.example.com", "three.example.com,*.wild.example.com"]
        .get(client)
        .unwrap_or(&"none")
}

/// The mappings of a client, as it declares them.
pub fn maps(client: usize) -> Vec<String> {
    let of_client = NAMED.iter().enumerate().filter(|(_, named)| named.client == client);
    let maps =
        of_client.map(|(n, named)| format!("{}:10.0.0.9:{}/http{}", named.public, real(n), named.options));
    maps.collect()
}

/// The real servers that speak HTTP.
pub fn reals() -> impl Iterator<Item = u16> {
    (0..NAMED.len()).map(real)
}

fn real(n: usize) -> u16 {
    REAL_PORT + 20 + n as u16
}

fn port(n: usize) -> u16 {
    if n == PORT { 8_090 } else { NAMES_PORT }
}

/// What is asked for there; nobody serves the one behind the last.
fn name(n: usize) -> Name {
    match NAMED.get(n) {
        Some(named) => {
            let otherwise = (n == PATH).then(|| real(0));
            let reals = std::iter::once(real(n)).chain(otherwise).collect();
            Name { host: named.host.to_owned(), prefix: named.prefix, reals }
        }
        None => Name { host: "nobody.example.net".to_owned(), prefix: "", reals: Vec::new() },
    }
}

/// Real servers and a budget for callers.
pub fn prepare(sim: &mut Sim) {
    sim.names = true;
    sim.speakers = reals().collect();
    sim.told.insert(real(2));
}

impl Swarm {
    /// A visitor comes who speaks HTTP.
    pub(super) fn call(&mut self) {
        let own = self.chance(10);
        let count = 1 + self.below(4);
        let mut asked: Vec<Asking> = (0..count).map(|n| self.asking(own, n + 1 == count)).collect();
        match self.below(20) {
            0 => asked.push(Asking::Garbage(self.garbage())),
            1 => asked.push(Asking::Unfinished(b"GET /unfinished HTTP/1.1\r\nHost: one.exam"[..].to_vec())),
            _ => {}
        }
        let all = self.below(3_000);
        let parting = match self.below(20) {
            0 => Parting::ResetsAt(all),
            1 => Parting::ResetsHaving(all),
            2 => Parting::EndsAt(all),
            3..8 => Parting::HalfCloses,
            8..16 => Parting::Ends,
            _ => Parting::Stays,
        };
        let (pipelines, dribbles) = (self.chance(25), self.chance(10));
        let from: Host = if self.chance(50) { VISITOR } else { 20 + self.below(5) };
        let caller = self.sim.call(from, if own { port(PORT) } else { NAMES_PORT }, asked);
        (caller.parting, caller.pipelines, caller.dribbles) = (parting, pipelines, dribbles);
        let id = caller.id;
        self.forbid(id);
    }

    /// What the server knows not to be permitted must not reach a real server.
    fn forbid(&mut self, id: u32) {
        if !self.sim.server_knows_licenses() {
            return;
        }
        for (n, named) in NAMED.iter().enumerate() {
            let nameless = n != PORT && self.nameless.contains(&named.client);
            if nameless || self.revoked.contains(&named.client) {
                self.sim.requests.forbid(id, real(n));
            }
        }
    }

    fn asking(&self, own: bool, last: bool) -> Asking {
        let name = match own {
            true => name(PORT),
            // That port has no name.
            false => name([0, 1, 2, 3, 4, 6][self.below(6)]),
        };
        let size = [0, 50, 3_000, 3_000, 20_000, 100_000];
        let [up, down] = [(); 2].map(|()| self.below(size[self.below(size.len())] + 1) as u32);
        let method = METHODS[self.below(METHODS.len())];
        let up = if matches!(method, "GET" | "HEAD") { 0 } else { up };
        let chunked = method == "PATCH" && self.chance(70);
        let how = if self.chance(60) { How::Length } else { How::ALL[self.below(How::ALL.len())] };
        let matter = Matter { method, up, chunked, how, down, ..GET };
        let pause = [0, 0, 0, 50, 1_500, 4_000, 20_000][self.below(7)];
        let pause = Span::from_millis(self.below(pause + 1) as u64);
        Asking::Request { name, matter, closes: last && self.chance(20), pause }
    }

    fn garbage(&self) -> Vec<u8> {
        let choices: [&[u8]; 5] = [
            b"\x16\x03\x01\x00\xC8\x01\x00\x00",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: one.example.com\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: one.example.com\n\r\n",
        ];
        choices[self.below(choices.len())].to_vec()
    }

    /// In peace each name is served, to the letter.
    pub(super) fn call_in_peace(&mut self) {
        let post = Matter { method: "POST", up: 3_000, ..GET };
        let asks = |n| {
            let request = |matter, millis| {
                let (name, pause) = (name(n), Span::from_millis(millis));
                Asking::Request { name, matter, closes: false, pause }
            };
            let chunks = Matter { how: How::Chunked, ..GET };
            vec![request(GET, 0), request(post, 0), request(chunks, 1_500)]
        };
        for n in 0..NAMED.len() {
            self.sim.call(VISITOR, port(n), asks(n)).parting = Parting::Ends;
            self.sim.run_for(Span::from_secs(4));
            let caller = self.sim.callers.last().expect("the one that came just now");
            let statuses: Vec<u16> = caller.answers.iter().map(|(status, _)| *status).collect();
            assert_eq!((caller.is_served(), statuses), (true, vec![200; 3]), "name {n} in peace: {caller:?}");
            let [first, second] = [0, 1].map(|number| self.sim.requests.arrived(caller.id, number));
            assert_eq!((first, second), (1, 1), "asked more often than need be: {caller:?}");
        }
        // From name to name, without a pause, and to nobody.
        let all = (0..PORT).chain([6, 0]).map(|n| asks(n).swap_remove(0)).collect();
        self.sim.call(VISITOR, NAMES_PORT, all).pipelines = true;
        self.sim.call(VISITOR, NAMES_PORT, vec![Asking::Unfinished(b"GET / HTT"[..].to_vec())]);
        self.sim.run_for(Span::from_secs(11));
        let [all, unfinished] = &self.sim.callers[self.sim.callers.len() - 2..] else { unreachable!() };
        let statuses: Vec<u16> = all.answers.iter().map(|(status, _)| *status).collect();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 404, 200], "in peace: {all:?}");
        assert_eq!(unfinished.answers, [(408, true)], "a head that is never whole: {unfinished:?}");
    }

    /// Nobody who spoke HTTP is left, 75 s later.
    pub(super) fn all_have_called(&self) {
        for caller in &self.sim.callers {
            assert_ne!(caller.outcome, Outcome::Running, "it is never let go: {caller:?}");
        }
        for service in &self.sim.services {
            assert_ne!(service.outcome, Outcome::Running, "it never ends: {service:?}");
        }
    }
}
