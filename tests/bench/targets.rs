//! What nt wants to reach, and whether it does: each a figure of nt against that of another, in medians.

use super::book::whole;
use super::results::{FLOWS, Flow, Metric, Results};
use super::wan::{LINKS, PLAIN_TCP};

/// Where the figure is to be.
#[derive(Clone, Copy)]
pub enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

/// A line of the table.
pub struct Target {
    pub group: String,
    pub what: String,
    /// Whose figure it is, and over whose.
    pub who: String,
    pub wanted: Wanted,
    /// What follows the number: `×`, or a unit.
    pub unit: &'static str,
    /// `None` where one of two figures is missing.
    pub reached: Option<f64>,
}

impl Target {
    pub fn is_reached(&self) -> Option<bool> {
        self.reached.map(|reached| match self.wanted {
            Wanted::AtLeast(least) => reached >= least,
            Wanted::AtMost(most) => reached <= most,
        })
    }
}

/// One stream, both ways.
const ONE: [Flow; 2] = [FLOWS[0], FLOWS[1]];

struct Targets<'a> {
    results: &'a Results,
    list: Vec<Target>,
    group: String,
}

impl Targets<'_> {
    /// One figure is to be so many times another; each is a metric of a system.
    fn compare(
        &mut self,
        what: String,
        ours: (Metric, &'static str),
        theirs: (Metric, &'static str),
        wanted: Wanted,
    ) {
        let figures = [ours, theirs].map(|(metric, system)| self.results.median(metric, system));
        let reached = match figures {
            [None, None] => return,
            [Some(ours), Some(theirs)] => Some(ours / theirs),
            _ => None,
        };
        let who = match ours.1 == theirs.1 {
            true => ours.1.to_owned(),
            false => format!("{} / {}", ours.1, theirs.1),
        };
        self.list.push(Target { group: self.group.clone(), what, who, wanted, unit: "×", reached });
    }

    /// `ours` is to be so many times `theirs`.
    fn ratio(&mut self, metric: Metric, ours: &'static str, theirs: &'static str, wanted: Wanted) {
        self.compare(metric.to_string(), (metric, ours), (metric, theirs), wanted);
    }

    fn absolute(&mut self, metric: Metric, ours: &'static str, most: f64, unit: &'static str) {
        let Some(figure) = self.results.median(metric, ours) else { return };
        self.list.push(Target {
            group: self.group.clone(),
            what: metric.to_string(),
            who: ours.to_owned(),
            wanted: Wanted::AtMost(most),
            unit,
            reached: Some(figure),
        });
    }
}

/// All targets that something was measured for.
pub fn all(results: &Results) -> Vec<Target> {
    let mut targets = Targets { results, list: Vec::new(), group: String::new() };
    throughput(&mut targets);
    datagrams(&mut targets);
    requests(&mut targets);
    memory(&mut targets);
    bad_links(&mut targets);
    static_build(&mut targets);
    scale(&mut targets);
    targets.list
}

fn throughput(targets: &mut Targets<'_>) {
    use Wanted::{AtLeast, AtMost};
    targets.group = "throughput".to_owned();
    for flow in ONE {
        targets.ratio(Metric::Throughput(flow), "nt", "rathole", AtLeast(1.4));
        targets.ratio(Metric::Throughput(flow), "nt", "haproxy2", AtLeast(1.0));
        targets.ratio(Metric::CpuPerGb(flow), "nt", "rathole", AtMost(0.55));
        targets.ratio(Metric::CpuPerGb(flow), "nt", "haproxy2", AtMost(1.0));
        targets.ratio(Metric::Throughput(flow), "nt-tls", "rathole-noise", AtLeast(2.0));
        targets.ratio(Metric::CpuPerGb(flow), "nt-tls", "rathole-noise", AtMost(0.4));
    }
}

fn datagrams(targets: &mut Targets<'_>) {
    targets.group = "datagrams".to_owned();
    for (ours, theirs) in [("nt", "rathole"), ("nt-tls", "rathole-noise")] {
        targets.ratio(Metric::Datagrams, ours, theirs, Wanted::AtLeast(2.0));
    }
}

fn requests(targets: &mut Targets<'_>) {
    use Wanted::{AtLeast, AtMost};
    targets.group = "new connections".to_owned();
    targets.ratio(Metric::Connections, "nt", "rathole", AtLeast(1.5));
    targets.ratio(Metric::Connections, "nt-tls", "nt", AtLeast(0.8));
    targets.ratio(Metric::Connections, "nt-tls", "rathole-noise", AtLeast(6.0));
    targets.ratio(Metric::ConnectionsCpu, "nt", "rathole", AtMost(0.6));
    targets.group = "keep-alive".to_owned();
    targets.ratio(Metric::KeepAlive, "nt", "rathole", AtLeast(1.15));
    targets.ratio(Metric::KeepAlive, "nt-tls", "nt", AtLeast(0.85));
    for nt in ["nt", "nt-tls"] {
        let by_name = "keep-alive, by name / by port, requests/s".to_owned();
        targets.compare(by_name, (Metric::ByName, nt), (Metric::ByPort, nt), AtLeast(0.8));
    }
    targets.ratio(Metric::Added, "nt", "haproxy2", AtMost(1.0));
}

fn memory(targets: &mut Targets<'_>) {
    targets.group = "memory".to_owned();
    for (system, each) in [("nt", 1.0), ("nt-tls", 8.0), ("nt-static", 1.0), ("nt-static-tls", 8.0)] {
        targets.absolute(Metric::PerVisitor, system, each, "KiB");
        targets.absolute(Metric::Idle, system, 6.0, "MiB");
    }
    targets.group = "a crowd that is idle".to_owned();
    let crowds = targets.results.metrics().into_iter().filter_map(|metric| match metric {
        Metric::CrowdP99(idle) if idle > 0 => Some(idle),
        _ => None,
    });
    for idle in crowds {
        for system in ["nt", "nt-tls"] {
            let what = format!("echo, p99: beside {} idle / alone", whole(idle));
            let figures = [Metric::CrowdP99(idle), Metric::CrowdP99(0)].map(|metric| (metric, system));
            targets.compare(what, figures[0], figures[1], Wanted::AtMost(1.2));
            // Heartbeats go on: a hundredth of a core is nothing.
            targets.absolute(Metric::CrowdCpu, system, 1.0, "%");
        }
    }
}

fn bad_links(targets: &mut Targets<'_>) {
    for (number, link) in LINKS.iter().enumerate() {
        targets.group = format!("bad link: {}", link.name);
        for system in ["nt", "nt-tls"] {
            for flow in FLOWS {
                let goodput = Metric::LinkGoodput(number, flow);
                targets.ratio(goodput, system, PLAIN_TCP, Wanted::AtLeast(0.95));
            }
            for metric in [Metric::LinkMedian(number), Metric::LinkP90(number)] {
                targets.ratio(metric, system, PLAIN_TCP, Wanted::AtMost(1.2));
            }
        }
    }
}

fn static_build(targets: &mut Targets<'_>) {
    use Wanted::{AtLeast, AtMost};
    targets.group = "static build".to_owned();
    let pairs = [("nt-static", "nt"), ("nt-static-tls", "nt-tls")];
    for (ours, theirs) in pairs.into_iter().filter(|(ours, _)| targets.results.measured(ours)) {
        for flow in ONE {
            targets.ratio(Metric::Throughput(flow), ours, theirs, AtLeast(0.9));
            targets.ratio(Metric::CpuPerGb(flow), ours, theirs, AtMost(1.1));
        }
        for metric in [Metric::KeepAlive, Metric::Connections] {
            targets.ratio(metric, ours, theirs, AtLeast(0.9));
        }
        for metric in [Metric::KeepAliveCpu, Metric::ConnectionsCpu] {
            targets.ratio(metric, ours, theirs, AtMost(1.1));
        }
    }
}

fn scale(targets: &mut Targets<'_>) {
    targets.group = "scale".to_owned();
    let crowds = targets.results.crowds();
    let (Some(&few), Some(&many)) = (crowds.first(), crowds.last()) else { return };
    let beside = format!("beside {} idle / {} idle", whole(many), whole(few));
    for system in ["nt", "nt-tls"] {
        let rate = [many, few].map(|idle| (Metric::ScaleRate(idle), system));
        let what = format!("a connection each, requests/s: {beside}");
        targets.compare(what, rate[0], rate[1], Wanted::AtLeast(0.9));
        let cpu = [many, few].map(|idle| (Metric::ScaleCpu(idle), system));
        let what = format!("a connection each, CPU µs per request: {beside}");
        targets.compare(what, cpu[0], cpu[1], Wanted::AtMost(1.1));
    }
}
