//! The loads that every system is put under, one at a time.

use std::thread;
use std::time::Duration;

use super::datagrams;
use super::echo::{Crowd, Echo, answers, ping};
use super::programs::find;
use super::results::{FLOWS, Metric, Results};
use super::services::{Asking, Bulk, Iperf3, Nginx, wrk};
use super::systems::{System, Tunnel};
use super::usage::{cpu_seconds, memory};

/// Visitors that are busy at once.
const KEEP_ALIVE_VISITORS: usize = 64;
const CLOSE_VISITORS: usize = 32;
/// Visitors over which the memory of one is taken.
pub const IDLE_VISITORS: usize = 2_000;
/// Beside so many idle visitors new ones are counted; the last number is cut to what the machine permits.
const CROWDS: [usize; 3] = [100, 1_000, CROWD_MAX];
pub const CROWD_MAX: usize = 10_000;
/// Files that a process may open for each visitor of a crowd: two, and a quarter for what else nt keeps room for.
const FILES_PER_VISITOR: f64 = 2.5;
/// For so long a crowd is watched doing nothing.
const WATCH: Duration = Duration::from_secs(3);

/// What the loads share.
pub struct Stage {
    /// Where a load [`asks_nginx`].
    pub nginx: Option<Nginx>,
    pub echo: Echo,
    pub lasting: Duration,
    /// Files that a process may open.
    pub files: usize,
}

/// The largest crowd, cut to what the machine permits.
pub fn largest_crowd(files: usize) -> usize {
    let fits = (files as f64 / FILES_PER_VISITOR) as usize / 100 * 100;
    fits.min(CROWD_MAX)
}

/// Runs one load on one system.
///
/// # Errors
/// A sentence that says what did not work.
pub fn run(load: &str, system: &System, stage: &Stage, results: &mut Results) -> Result<(), String> {
    match load {
        "bulk" => bulk(system, stage, results),
        "udp" => udp(system, stage, results),
        "http" => http(system, stage, results),
        "names" => names(system, stage, results),
        "echo" => echo(system, stage, results),
        "memory" => idle(system, stage, results),
        "crowd" => crowd(system, stage, results),
        "scale" => scale(system, stage, results),
        _ => unreachable!("a load that no knob permits"),
    }
}

pub fn asks_nginx(load: &str) -> bool {
    matches!(load, "http" | "names" | "scale")
}

/// Why a load cannot be put on anything here, if it cannot.
pub fn obstacle(load: &str) -> Option<String> {
    // Programs and their packages.
    let needs: &[(&str, &str)] = match load {
        "bulk" => &[("iperf3", "iperf3")],
        "wan" => &[("iperf3", "iperf3"), ("ip", "iproute2")],
        _ if asks_nginx(load) => &[("nginx", "nginx-light"), ("wrk", "wrk")],
        _ => &[],
    };
    if load == "wan" && !rustix::process::geteuid().is_root() {
        return Some("wan: it needs root, to make network namespaces".to_owned());
    }
    let missing = needs.iter().find(|(program, _)| find(program).is_none());
    missing.map(|(_, package)| format!("{load}: apt install {package}"))
}

/// Whether a load tells something of a system: crowds are a promise of nt's own.
pub fn applies(load: &str, system: &System) -> bool {
    match load {
        "memory" => !system.is_direct(),
        "udp" => system.carries_datagrams(),
        "names" | "crowd" | "scale" => system.is_nt(),
        _ => true,
    }
}

fn bulk(system: &System, stage: &Stage, results: &mut Results) -> Result<(), String> {
    let host = "127.0.0.1";
    let iperf3 = Iperf3::start(&[], host)?;
    let tunnel = system.start(&[iperf3.port])?;
    tunnel.ready(|| Iperf3::answers(&[], host, tunnel.ports[0]))?;
    for flow in FLOWS {
        let before = cpu_seconds(&tunnel.ids());
        let moved = Bulk::start(&[], host, tunnel.ports[0], flow, stage.lasting)?.moved()?;
        let used = cpu_seconds(&tunnel.ids()) - before;
        results.add(Metric::Throughput(flow), system.name, moved.gbit_per_second);
        if !system.is_direct() {
            results.add(Metric::CpuPerGb(flow), system.name, used / (moved.bytes / 1e9));
        }
    }
    Ok(())
}

fn udp(system: &System, stage: &Stage, results: &mut Results) -> Result<(), String> {
    let echo = datagrams::Echo::start()?;
    let tunnel = system.start_datagrams(&[echo.port])?;
    tunnel.ready(|| datagrams::answers(tunnel.ports[0]))?;
    let before = cpu_seconds(&tunnel.ids());
    let passed = datagrams::exchange(([127, 0, 0, 1], tunnel.ports[0]).into(), stage.lasting);
    let used = cpu_seconds(&tunnel.ids()) - before;
    let passed = passed.map_err(|error| format!("datagrams: {error}"))?;
    let answered = passed.answered as f64;
    results.add(Metric::Datagrams, system.name, answered / passed.seconds);
    if !system.is_direct() {
        let lost = passed.lost as f64;
        results.add(Metric::DatagramsCpu, system.name, used / answered * 1e6);
        results.add(Metric::DatagramsLost, system.name, lost / (answered + lost) * 100.0);
    }
    Ok(())
}

/// Requests a second, and what each cost the tunnel; what went wrong meanwhile is remarked.
fn requests(
    system: &System,
    tunnel: &Tunnel,
    port: u16,
    asking: Asking,
    stage: &Stage,
    results: &mut Results,
) -> Result<(f64, f64), String> {
    let visitors = if asking == Asking::KeepAlive { KEEP_ALIVE_VISITORS } else { CLOSE_VISITORS };
    let before = cpu_seconds(&tunnel.ids());
    let requests = wrk(port, tunnel.name_at(port), visitors, asking, stage.lasting)?;
    let used = cpu_seconds(&tunnel.ids()) - before;
    for error in requests.errors {
        let how = if asking == Asking::KeepAlive { "keep-alive" } else { "a connection each" };
        results.remark(format!("{}: {how}: {error}", system.name));
    }
    Ok((requests.per_second, used / requests.count * 1e6))
}

fn http(system: &System, stage: &Stage, results: &mut Results) -> Result<(), String> {
    let nginx = stage.nginx.as_ref().ok_or("nginx does not run")?;
    let tunnel = system.start(&[nginx.port])?;
    tunnel.ready(|| Nginx::answers(tunnel.ports[0]))?;
    for (asking, rate, cpu) in [
        (Asking::KeepAlive, Metric::KeepAlive, Metric::KeepAliveCpu),
        (Asking::Close, Metric::Connections, Metric::ConnectionsCpu),
    ] {
        let (per_second, micros) = requests(system, &tunnel, tunnel.ports[0], asking, stage, results)?;
        results.add(rate, system.name, per_second);
        if !system.is_direct() {
            results.add(cpu, system.name, micros);
        }
    }
    Ok(())
}

/// The same service by name and by port: what it costs to read every head.
fn names(system: &System, stage: &Stage, results: &mut Results) -> Result<(), String> {
    let nginx = stage.nginx.as_ref().ok_or("nginx does not run")?;
    let tunnel = system.start_named(nginx.port)?;
    tunnel.ready(|| Nginx::answers(tunnel.ports[0]))?;
    for (place, rate, cpu) in [
        (tunnel.ports[0], Metric::ByPort, Metric::ByPortCpu),
        (tunnel.ports[1], Metric::ByName, Metric::ByNameCpu),
    ] {
        let (per_second, micros) = requests(system, &tunnel, place, Asking::KeepAlive, stage, results)?;
        results.add(rate, system.name, per_second);
        results.add(cpu, system.name, micros);
    }
    Ok(())
}

fn echo(system: &System, stage: &Stage, results: &mut Results) -> Result<(), String> {
    let tunnel = system.start(&[stage.echo.port])?;
    tunnel.ready(|| answers(tunnel.ports[0]))?;
    let latency = latency(&tunnel, stage)?;
    results.add(Metric::Median, system.name, latency.median);
    results.add(Metric::P99, system.name, latency.p99);
    // No tunnel at all comes first in a round.
    if let (false, Some(direct)) = (system.is_direct(), results.latest(Metric::Median, "direct")) {
        results.add(Metric::Added, system.name, latency.median - direct);
    }
    Ok(())
}

fn latency(tunnel: &Tunnel, stage: &Stage) -> Result<super::echo::Latency, String> {
    let address = ([127, 0, 0, 1], tunnel.ports[0]).into();
    ping(address, stage.lasting).map_err(|error| format!("an echo is lost: {error}"))
}

fn idle(system: &System, stage: &Stage, results: &mut Results) -> Result<(), String> {
    let tunnel = system.start(&[stage.echo.port])?;
    tunnel.ready(|| answers(tunnel.ports[0]))?;
    let before = memory(&tunnel.ids());
    let mut crowd = Crowd::default();
    let visitors = if system.is_nt() { largest_crowd(stage.files) } else { IDLE_VISITORS };
    crowd.grow(tunnel.ports[0], visitors)?;
    let after = memory(&tunnel.ids());
    results.add(Metric::Idle, system.name, before.resident / 1024.0);
    if before.proportional > 0.0 {
        results.add(Metric::IdleShared, system.name, before.proportional / 1024.0);
    }
    let each = (after.resident - before.resident) / visitors as f64;
    results.add(Metric::PerVisitor, system.name, each);
    Ok(())
}

/// One active visitor, alone and beside many.
fn crowd(system: &System, stage: &Stage, results: &mut Results) -> Result<(), String> {
    let tunnel = system.start(&[stage.echo.port])?;
    tunnel.ready(|| answers(tunnel.ports[0]))?;
    let mut crowd = Crowd::default();
    for size in [0, largest_crowd(stage.files)] {
        crowd.grow(tunnel.ports[0], size)?;
        results.add(Metric::CrowdP99(size), system.name, latency(&tunnel, stage)?.p99);
    }
    let before = cpu_seconds(&tunnel.ids());
    thread::sleep(WATCH);
    let used = cpu_seconds(&tunnel.ids()) - before;
    results.add(Metric::CrowdCpu, system.name, used / WATCH.as_secs_f64() * 100.0);
    Ok(())
}

/// New visitors beside more and more idle ones.
fn scale(system: &System, stage: &Stage, results: &mut Results) -> Result<(), String> {
    let nginx = stage.nginx.as_ref().ok_or("nginx does not run")?;
    let tunnel = system.start(&[stage.echo.port, nginx.port])?;
    tunnel.ready(|| answers(tunnel.ports[0]))?;
    tunnel.ready(|| Nginx::answers(tunnel.ports[1]))?;
    let mut crowd = Crowd::default();
    for size in CROWDS.map(|size| size.min(largest_crowd(stage.files))) {
        crowd.grow(tunnel.ports[0], size)?;
        let (per_second, micros) = requests(system, &tunnel, tunnel.ports[1], Asking::Close, stage, results)?;
        results.add(Metric::ScaleRate(size), system.name, per_second);
        results.add(Metric::ScaleCpu(size), system.name, micros);
    }
    Ok(())
}
