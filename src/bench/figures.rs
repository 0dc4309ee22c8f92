//! What was measured: a line for each figure as it is there, or an object for programs.

use serde_json::{Value, json};

use super::measure::{Passed, SetUp, Way};
use crate::doctor::millis;
use crate::limits::BENCH_ECHO_BYTES;
use crate::time::Span;

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Figure {
    /// Times of echoes, the shortest first.
    Latency(Vec<Span>),
    /// So many streams at once.
    Throughput(Way, u32, Passed),
    /// So many visitors at once, each with one connection after the other.
    SetUps(u32, SetUp),
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Up => "up",
        }
    }
}

impl Figure {
    /// A line of the table.
    pub(super) fn line(&self) -> String {
        let (what, value) = match self {
            Self::Latency(times) => (
                format!("latency, {BENCH_ECHO_BYTES} bytes there and back"),
                format!("{} (99 of 100 within {})", millis(share(times, 50)), millis(share(times, 99))),
            ),
            Self::Throughput(way, streams, passed) => {
                let way = if *way == Way::Down { "to the client" } else { "from the client" };
                let streams =
                    if *streams == 1 { "1 stream".to_owned() } else { format!("{streams} streams") };
                (format!("{way}, {streams}"), bits(per_second(passed.bytes * 8, passed.span)))
            }
            Self::SetUps(at_once, set_up) => {
                let how = if *at_once == 1 { "one by one".to_owned() } else { format!("{at_once} at once") };
                (
                    format!("connections, {how}"),
                    format!("{:.0} a second", per_second(set_up.count, set_up.span)),
                )
            }
        };
        format!("{what:<36}{value}\n")
    }
}

/// All of them, for programs.
pub(super) fn to_json(public: &str, figures: &[Figure]) -> Value {
    let mut all = json!({ "public": public, "throughput": [], "connections": [] });
    for figure in figures {
        match figure {
            Figure::Latency(times) => {
                let micros = |percent| share(times, percent).as_micros();
                all["latency"] = json!({
                    "bytes": BENCH_ECHO_BYTES, "echoes": times.len(),
                    "median_micros": micros(50), "p99_micros": micros(99),
                });
            }
            Figure::Throughput(way, streams, passed) => push(
                &mut all["throughput"],
                json!({
                    "way": way.word(), "streams": streams, "bytes": passed.bytes,
                    "bits_per_second": per_second(passed.bytes * 8, passed.span).round(),
                }),
            ),
            Figure::SetUps(at_once, set_up) => push(
                &mut all["connections"],
                json!({
                    "at_once": at_once, "count": set_up.count,
                    "per_second": (per_second(set_up.count, set_up.span) * 10.0).round() / 10.0,
                }),
            ),
        }
    }
    all
}

fn push(list: &mut Value, value: Value) {
    if let Some(list) = list.as_array_mut() {
        list.push(value);
    }
}

/// The time within which so many of a hundred were back; the shortest is first.
fn share(times: &[Span], percent: usize) -> Span {
    let at = (times.len() * percent).div_ceil(100).max(1) - 1;
    times.get(at).copied().unwrap_or(Span::ZERO)
}

fn per_second(count: u64, span: Span) -> f64 {
    count as f64 * 1e6 / span.as_micros().max(1) as f64
}

/// A number of bits a second in three digits.
fn bits(per_second: f64) -> String {
    match per_second {
        bits if bits >= 999.5e6 => format!("{:.2} Gbit/s", bits / 1e9),
        bits if bits >= 99.95e6 => format!("{:.0} Mbit/s", bits / 1e6),
        bits if bits >= 9.995e6 => format!("{:.1} Mbit/s", bits / 1e6),
        bits => format!("{:.2} Mbit/s", bits / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_have_their_units() {
        for (figure, line) in [
            (
                Figure::Latency((1..=200).map(|n| Span::from_micros(n * 100)).collect()),
                "latency, 64 bytes there and back    10.0 ms (99 of 100 within 19.8 ms)\n",
            ),
            (
                Figure::Throughput(Way::Down, 1, Passed { bytes: 1 << 20, span: Span::from_secs(1) }),
                "to the client, 1 stream             8.39 Mbit/s\n",
            ),
            (
                Figure::Throughput(Way::Up, 4, Passed { bytes: 3_000_000_000, span: Span::from_secs(3) }),
                "from the client, 4 streams          8.00 Gbit/s\n",
            ),
            (
                Figure::SetUps(16, SetUp { count: 4_000, span: Span::from_secs(2) }),
                "connections, 16 at once             2000 a second\n",
            ),
        ] {
            assert_eq!(figure.line(), line);
        }
        let digits = [123.4e6, 12.34e6, 1.234e6, 999.6e6].map(bits);
        assert_eq!(digits, ["123 Mbit/s", "12.3 Mbit/s", "1.23 Mbit/s", "1.00 Gbit/s"]);
    }

    #[test]
    fn shares_are_of_what_there_is() {
        let times: Vec<Span> = [1, 2, 3].map(Span::from_millis).to_vec();
        assert_eq!((share(&times, 50), share(&times, 99)), (times[1], times[2]));
        assert_eq!((share(&times[..1], 50), share(&[], 50)), (times[0], Span::ZERO));
    }
}
