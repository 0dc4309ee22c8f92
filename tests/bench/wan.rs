//! Bad links: nt with its ends on two hosts, beside plain TCP between the same hosts.
//!
//! ```text
//!          namespace A                    wan.py                     namespace B
//!   iperf3 -c ── nt -s ── 10.9.0.1 ═══ the link ═══ 10.9.0.2 ── nt -c ── iperf3 -s
//!       └─────────────────────────── plain TCP ───────────────────────────┘
//! ```

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::echo::{Echo, PING, this_program};
use super::knobs::Knobs;
use super::process::{Process, say};
use super::programs::run;
use super::results::{FLOWS, Flow, LinkNumber, Metric, Results, Way};
use super::services::{Bulk, Iperf3, until};
use super::systems::{Ends, PATIENCE, System, Tunnel};

/// A link that `wan.py` makes.
pub struct Link {
    pub name: &'static str,
    /// What it adds each way.
    delay_ms: u32,
    /// Share of the packets that are lost.
    loss: f64,
}

pub const LINKS: [Link; 2] = [
    Link { name: "20 ms there and back", delay_ms: 10, loss: 0.0 },
    Link { name: "80 ms there and back, 0.5 % of the packets lost", delay_ms: 40, loss: 0.005 },
];

/// What every link lets through; it queues 256 KiB.
pub const LINK_MBIT: u32 = 50;
/// A link takes longer than loopback to find its pace: so many times the time of a load.
const LONGER: u32 = 2;
/// So long after a load the link's queue is empty, and iperf3, which serves one visitor at a time, knows that it went.
const SETTLE: Duration = Duration::from_millis(500);
const ADDRESSES: [&str; 2] = ["10.9.0.1", "10.9.0.2"];
/// The name that plain TCP goes by.
pub const PLAIN_TCP: &str = "direct";

/// Two hosts and the link between them, until this is dropped.
struct Hosts {
    carrier: Process,
    /// What command lines of each host begin with.
    inside: [Vec<String>; 2],
}

impl Hosts {
    fn join(link: &Link) -> Result<Self, String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/wan.py");
        let mut command = Command::new("python3");
        command.arg(script).args(["--delay", &link.delay_ms.to_string(), "--loss", &link.loss.to_string()]);
        command.args(["--mbit", &LINK_MBIT.to_string()]);
        // It ends when its standard input does, so it takes its namespaces away even if this process is killed.
        let carrier = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::null()));
        let line = carrier.hears("hosts ", PATIENCE).ok_or_else(|| carrier.log().lines().join(" "))?;
        let names: Vec<&str> = line.split_whitespace().collect();
        let [_, a, b] = names[..] else { return Err(format!("wan.py said {line}")) };
        let inside = [a, b].map(|name| ["ip", "netns", "exec", name].map(str::to_owned).to_vec());
        Ok(Self { carrier, inside })
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.carrier.signal(Signal::TERM);
        let _ = until(PATIENCE, "wan.py ends", || !self.carrier.runs());
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
pub fn measure(systems: &[System], knobs: &Knobs, results: &mut Results) {
    for (number, link) in LINKS.iter().enumerate() {
        say(&format!("  link: {}", link.name));
        if let Err(why) = measure_link(number, link, systems, knobs, results) {
            results.remark(format!("wan, {}: {why}", link.name));
        }
    }
}

fn measure_link(
    number: LinkNumber,
    link: &Link,
    systems: &[System],
    knobs: &Knobs,
    results: &mut Results,
) -> Result<(), String> {
    let hosts = Hosts::join(link)?;
    let [a, b] = &hosts.inside;
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
        match press_keys(a, route, lasting) {
            Ok((median, p99)) => {
                results.add(Metric::LinkMedian(number), route.name, median / 1e3);
                results.add(Metric::LinkP99(number), route.name, p99 / 1e3);
            }
            Err(why) => results.remark(format!("{}, wan, {}, echo: {why}", route.name, link.name)),
        }
    }
    Ok(())
}

/// nt with its server in A and its client in B, once it carries something.
fn route(system: &System, hosts: &Hosts, targets: [u16; 2]) -> Result<Route, String> {
    let [server, client] = hosts.inside.clone();
    let ends = Ends { host: ADDRESSES[0].to_owned(), server, client };
    let tunnel = system.start_at(&ends, &targets)?;
    let (host, ports) = ("127.0.0.1", [tunnel.ports[0], tunnel.ports[1]]);
    tunnel.ready(|| Iperf3::answers(&hosts.inside[0], host, ports[0]))?;
    Ok(Route { name: system.name, host, ports, _tunnel: Some(tunnel) })
}

/// Median and p99 of an echo beside one stream that fills the link, in microseconds.
fn press_keys(inside: &[String], route: &Route, lasting: Duration) -> Result<(f64, f64), String> {
    thread::sleep(SETTLE);
    let warm_up = Duration::from_secs(1);
    let flow = Flow { streams: 1, way: Way::Up };
    let bulk = Bulk::start(inside, route.host, route.ports[0], flow, warm_up + lasting)?;
    thread::sleep(warm_up);
    let mut command = this_program(inside)?;
    command.args([PING, &format!("{}:{}", route.host, route.ports[1]), &lasting.as_secs().to_string()]);
    let said = run(command.stdout(Stdio::piped()), lasting + PATIENCE * 2)?;
    bulk.moved()?;
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [median, p99] => Ok((median, p99)),
        _ => Err(format!("{}: the echo said {said}", route.name)),
    }
}
