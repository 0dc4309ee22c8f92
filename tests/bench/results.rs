//! What was measured: a sample each round, and what stands for all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::book::whole;
use super::process::say;

/// Which end sends, as seen by the visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Up,
    Down,
}

/// One of the ways in which iperf3 loads a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    pub streams: usize,
    pub way: Way,
}

pub const FLOWS: [Flow; 4] = [
    Flow { streams: 1, way: Way::Up },
    Flow { streams: 1, way: Way::Down },
    Flow { streams: 8, way: Way::Up },
    Flow { streams: 8, way: Way::Down },
];

/// A bad link, by its number in [`super::wan::LINKS`].
pub type LinkNumber = usize;

/// What a figure says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    Throughput(Flow),
    CpuPerGb(Flow),
    Datagrams,
    DatagramsCpu,
    /// In % of all.
    DatagramsLost,
    KeepAlive,
    KeepAliveCpu,
    /// Of visitors who ask for a name, and of those of the same tunnel who come to a port.
    ByName,
    ByNameCpu,
    ByPort,
    ByPortCpu,
    Connections,
    ConnectionsCpu,
    Median,
    P99,
    /// Median over what it is without a tunnel, in the same round.
    Added,
    Idle,
    IdleShared,
    PerVisitor,
    /// Of one active visitor beside that many idle ones.
    CrowdP99(usize),
    CrowdCpu,
    ScaleRate(usize),
    ScaleCpu(usize),
    LinkGoodput(LinkNumber, Flow),
    LinkMedian(LinkNumber),
    LinkP90(LinkNumber),
}

impl Metric {
    /// The bad link that it was measured on, if it was.
    pub fn link(self) -> Option<LinkNumber> {
        match self {
            Self::LinkGoodput(link, _) | Self::LinkMedian(link) | Self::LinkP90(link) => Some(link),
            _ => None,
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let streams = if self.streams == 1 { "stream" } else { "streams" };
        let way = if self.way == Way::Up { "up" } else { "down" };
        write!(f, "{} {streams} {way}", self.streams)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Throughput(flow) => write!(f, "{flow}, Gbit/s"),
            Self::CpuPerGb(flow) => write!(f, "{flow}, CPU s per GB"),
            Self::Datagrams => f.write_str("datagrams there and back, a second"),
            Self::DatagramsCpu => f.write_str("datagrams there and back, CPU µs each"),
            Self::DatagramsLost => f.write_str("datagrams lost, %"),
            Self::KeepAlive => f.write_str("keep-alive, requests/s"),
            Self::KeepAliveCpu => f.write_str("keep-alive, CPU µs per request"),
            Self::ByName => f.write_str("keep-alive, by name, requests/s"),
            Self::ByNameCpu => f.write_str("keep-alive, by name, CPU µs per request"),
            Self::ByPort => f.write_str("keep-alive, by port, requests/s"),
            Self::ByPortCpu => f.write_str("keep-alive, by port, CPU µs per request"),
            Self::Connections => f.write_str("a connection each, requests/s"),
            Self::ConnectionsCpu => f.write_str("a connection each, CPU µs per request"),
            Self::Median => f.write_str("echo, median µs"),
            Self::P99 => f.write_str("echo, p99 µs"),
            Self::Added => f.write_str("echo, median µs added"),
            Self::Idle => f.write_str("at rest, RSS, MiB"),
            Self::IdleShared => f.write_str("at rest, PSS, MiB"),
            Self::PerVisitor => f.write_str("each idle visitor, RSS, KiB"),
            Self::CrowdP99(idle) => write!(f, "echo beside {} idle, p99 µs", whole(*idle)),
            Self::CrowdCpu => f.write_str("all idle, CPU in % of a core"),
            Self::ScaleRate(idle) => write!(f, "a connection each beside {} idle, requests/s", whole(*idle)),
            Self::ScaleCpu(idle) => {
                write!(f, "a connection each beside {} idle, CPU µs per request", whole(*idle))
            }
            Self::LinkGoodput(_, flow) => write!(f, "{flow}, Mbit/s"),
            Self::LinkMedian(_) => f.write_str("echo beside bulk, median ms"),
            Self::LinkP90(_) => f.write_str("echo beside bulk, p90 ms"),
        }
    }
}

#[derive(Default)]
pub struct Results {
    samples: BTreeMap<(Metric, &'static str), Vec<f64>>,
    /// What went wrong, said once each.
    remarks: BTreeSet<String>,
    /// Shares of the processors that others used, load by load.
    others: Vec<f64>,
}

impl Results {
    pub fn add(&mut self, metric: Metric, system: &'static str, value: f64) {
        self.samples.entry((metric, system)).or_default().push(value);
    }

    pub fn remark(&mut self, text: String) {
        say(&format!("  {text}"));
        self.remarks.insert(text);
    }

    pub fn others_used(&mut self, share: f64) {
        self.others.push(share);
    }

    /// Median and greatest share of the processors that others used during a load.
    pub fn disturbance(&self) -> (f64, f64) {
        let sorted = sorted(&self.others);
        (median(&sorted).unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0))
    }

    pub fn remarks(&self) -> impl Iterator<Item = &str> {
        self.remarks.iter().map(String::as_str)
    }

    /// Whether there is anything to tell of a system.
    pub fn measured(&self, system: &str) -> bool {
        self.samples.keys().any(|(_, measured)| *measured == system)
    }

    /// The sample of this round, if there is one.
    pub fn latest(&self, metric: Metric, system: &'static str) -> Option<f64> {
        self.samples.get(&(metric, system))?.last().copied()
    }

    pub fn median(&self, metric: Metric, system: &'static str) -> Option<f64> {
        median(&sorted(self.samples.get(&(metric, system))?))
    }

    /// The least and the greatest sample.
    pub fn spread(&self, metric: Metric, system: &'static str) -> Option<(f64, f64)> {
        let sorted = sorted(self.samples.get(&(metric, system))?);
        Some((*sorted.first()?, *sorted.last()?))
    }

    /// Everything that was measured, in the order of [`Metric`].
    pub fn metrics(&self) -> BTreeSet<Metric> {
        self.samples.keys().map(|(metric, _)| *metric).collect()
    }

    /// The numbers of idle visitors beside which connections were counted.
    pub fn crowds(&self) -> Vec<usize> {
        let crowd = |metric| if let Metric::ScaleRate(idle) = metric { Some(idle) } else { None };
        self.metrics().into_iter().filter_map(crowd).collect()
    }
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median(sorted: &[f64]) -> Option<f64> {
    let (low, high) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some((low + high) / 2.0)
}
