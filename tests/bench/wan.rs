//! Bad links: nt with its ends on two hosts, beside plain TCP between the same hosts.
//!
//! ```text
//!          namespace A                  the wire                     namespace B
//!   iperf3 -c ── nt -s ── 10.9.0.1 ═══ the link ═══ 10.9.0.2 ── nt -c ── iperf3 -s
//!       └─────────────────────────── plain TCP ───────────────────────────┘
//! ```

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use super::echo::{Echo, PING, this_program};
use super::knobs::Knobs;
use super::link::{Conditions, Wire, ip, plug};
use super::process::say;
use super::programs::run;
use super::results::{FLOWS, Flow, LinkNumber, Metric, Results, Way};
use super::services::{Bulk, Iperf3};
use super::systems::{Ends, PATIENCE, System, Tunnel};

/// A link between the two hosts.
pub struct Link {
    pub name: &'static str,
    /// What it adds each way.
    delay: Duration,
    /// Of a thousand packets, so many are lost.
    lost: u64,
}

pub const LINKS: [Link; 2] = [
    Link { name: "20 ms there and back", delay: Duration::from_millis(10), lost: 0 },
    Link {
        name: "80 ms there and back, 0.5 % of the packets lost",
        delay: Duration::from_millis(40),
        lost: 5,
    },
];

/// What every link lets through; it queues 256 KiB.
pub const LINK_MBIT: u32 = 50;
/// A link takes longer than loopback to find its pace: so many times the time of a load.
const LONGER: u32 = 3;
/// So long after a load the link's queue is empty, and iperf3, which serves one visitor at a time, knows that it went.
const SETTLE: Duration = Duration::from_millis(500);
const ADDRESSES: [&str; 2] = ["10.9.0.1", "10.9.0.2"];
/// The name that plain TCP goes by.
pub const PLAIN_TCP: &str = "direct";

/// Two hosts and the link between them, until this is dropped.
struct Hosts {
    conditions: Conditions,
    wire: Option<Wire>,
    names: [String; 2],
    taps: [String; 2],
}

impl Hosts {
    fn join(link: &Link) -> Result<Self, String> {
        let id = std::process::id();
        let names = ["a", "b"].map(|host| format!("nt-bench-{host}-{id}"));
        let taps = ["a", "b"].map(|host| format!("nb{host}{id}"));
        let conditions = Conditions {
            delay: link.delay,
            lost: link.lost,
            bytes_per_second: Some(u64::from(LINK_MBIT) * 1_000_000 / 8),
            ..Conditions::default()
        };
        let hosts = Self { conditions, wire: None, names, taps };
        for (host, address) in ADDRESSES.iter().enumerate() {
            let (name, tap) = (&hosts.names[host], &hosts.taps[host]);
            let made = ip(&format!("netns add {name}"))
                && ip(&format!("-n {name} link set lo up"))
                && plug(Some(name), "wire", &format!("{address}/24"), tap);
            if !made {
                return Err(
                    "two network namespaces cannot be made here: is it root, and is `ip` installed?".into()
                );
            }
        }
        Ok(hosts)
    }

    /// A link of its own for a load, once that before is empty: what it loses is drawn from the seed, so that each
    /// system meets the same.
    fn connect(&mut self, seed: u64) -> Result<(), String> {
        self.wire = None;
        let wire = Wire::between(self.taps.each_ref().map(String::as_str), self.conditions.clone(), seed);
        self.wire =
            Some(wire.map_err(|error| format!("the frames between them cannot be carried: {error}"))?);
        Ok(())
    }

    /// What command lines of each host begin with.
    fn inside(&self) -> [Vec<String>; 2] {
        self.names.each_ref().map(|name| ["ip", "netns", "exec", name].map(str::to_owned).to_vec())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.wire = None;
        for host in 0..2 {
            let _ = ip(&format!("link del {}", self.taps[host]));
            let _ = ip(&format!("netns del {}", self.names[host]));
        }
    }
}

/// A way from a visitor in A to the services in B.
struct Route {
    name: &'static str,
    host: &'static str,
    /// Ports of iperf3 and of the echo.
    ports: [u16; 2],
    _tunnel: Option<Tunnel>,
}

/// Measures each link once.
pub fn measure(round: u64, systems: &[System], knobs: &Knobs, results: &mut Results) {
    for (number, link) in LINKS.iter().enumerate() {
        say(&format!("  link: {}", link.name));
        if let Err(why) = measure_link((number, round), link, systems, knobs, results) {
            results.remark(format!("wan, {}: {why}", link.name));
        }
    }
}

fn measure_link(
    (number, round): (LinkNumber, u64),
    link: &Link,
    systems: &[System],
    knobs: &Knobs,
    results: &mut Results,
) -> Result<(), String> {
    let mut hosts = Hosts::join(link)?;
    hosts.connect(round)?;
    let [a, b] = &hosts.inside();
    let (iperf3, echo) = (Iperf3::start(b, "0.0.0.0")?, Echo::start(b, "0.0.0.0")?);
    let ports = [iperf3.port, echo.port];
    let mut routes = vec![Route { name: PLAIN_TCP, host: ADDRESSES[1], ports, _tunnel: None }];
    for system in systems.iter().filter(|system| system.is_nt()) {
        match route(system, &hosts, ports) {
            Ok(route) => routes.push(route),
            Err(why) => results.remark(format!("{}, wan: {why}", system.name)),
        }
    }
    let lasting = knobs.load() * LONGER;
    for flow in FLOWS {
        for route in &routes {
            thread::sleep(SETTLE);
            hosts.connect(round)?;
            let bulk = Bulk::start(a, route.host, route.ports[0], flow, lasting)?;
            match bulk.moved() {
                Ok(moved) => {
                    let goodput = Metric::LinkGoodput(number, flow);
                    results.add(goodput, route.name, moved.gbit_per_second * 1e3);
                }
                Err(why) => results.remark(format!("{}, wan, {}, {flow}: {why}", route.name, link.name)),
            }
        }
    }
    for route in &routes {
        thread::sleep(SETTLE);
        hosts.connect(round)?;
        match press_keys(a, route, lasting) {
            Ok((median, p90)) => {
                results.add(Metric::LinkMedian(number), route.name, median / 1e3);
                results.add(Metric::LinkP90(number), route.name, p90 / 1e3);
            }
            Err(why) => results.remark(format!("{}, wan, {}, echo: {why}", route.name, link.name)),
        }
    }
    Ok(())
}

/// nt with its server in A and its client in B, once it carries something.
fn route(system: &System, hosts: &Hosts, targets: [u16; 2]) -> Result<Route, String> {
    let [server, client] = hosts.inside();
    let ends = Ends { host: ADDRESSES[0].to_owned(), server, client };
    let tunnel = system.start_at(&ends, &targets)?;
    let (host, ports) = ("127.0.0.1", [tunnel.ports[0], tunnel.ports[1]]);
    tunnel.ready(|| Iperf3::answers(&hosts.inside()[0], host, ports[0]))?;
    Ok(Route { name: system.name, host, ports, _tunnel: Some(tunnel) })
}

/// Median and p90 of an echo beside one stream that fills the link, in microseconds: where 0.5 % of the packets are
/// lost, each hundredth echo is, and beyond p90 luck is measured.
fn press_keys(inside: &[String], route: &Route, lasting: Duration) -> Result<(f64, f64), String> {
    let warm_up = Duration::from_secs(2);
    let flow = Flow { streams: 1, way: Way::Up };
    let bulk = Bulk::start(inside, route.host, route.ports[0], flow, warm_up + lasting)?;
    thread::sleep(warm_up);
    let mut command = this_program(inside)?;
    command.args([PING, &format!("{}:{}", route.host, route.ports[1]), &lasting.as_secs().to_string()]);
    let said = run(command.stdout(Stdio::piped()), lasting + PATIENCE * 2)?;
    bulk.moved()?;
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [median, p90] => Ok((median, p90)),
        _ => Err(format!("{}: the echo said {said}", route.name)),
    }
}
