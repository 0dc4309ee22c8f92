//! The picture: `docs/benchmarks.svg`.
//!
//! ```text
//!   bars    bars    bars
//!   bars    bars    curve
//! ```

use super::book::{figure, whole};
use super::chart::Picture;
use super::results::{FLOWS, Metric, Results};
use super::systems::System;

const PANEL_WIDTH: f64 = 270.0;
const PANELS_ACROSS: usize = 3;
const GAP: f64 = 36.0;
const MARGIN: f64 = 16.0;
/// From the top of a panel to its first line: two lines of heading.
const HEAD_HEIGHT: f64 = 44.0;
const ROW_HEIGHT: f64 = 18.0;
const BAR_HEIGHT: f64 = 11.0;
const NAME_WIDTH: f64 = 88.0;
/// What the longest bar leaves for its figure.
const FIGURE_WIDTH: f64 = 50.0;
/// Below the panels: a line of words.
const FOOT_HEIGHT: f64 = 46.0;

/// A panel of bars.
struct Bars {
    title: &'static str,
    about: &'static str,
    metric: Metric,
}

const BARS: [Bars; 5] = [
    Bars {
        title: "Throughput",
        about: "Gbit/s, one stream; more is better",
        metric: Metric::Throughput(FLOWS[0]),
    },
    Bars { title: "CPU", about: "seconds per GB; less is better", metric: Metric::CpuPerGb(FLOWS[0]) },
    Bars { title: "Memory", about: "KiB for each idle visitor; less is better", metric: Metric::PerVisitor },
    Bars {
        title: "Requests, keep-alive",
        about: "a second, 64 visitors; more is better",
        metric: Metric::KeepAlive,
    },
    Bars {
        title: "Requests, a connection each",
        about: "a second, 32 visitors; more is better",
        metric: Metric::Connections,
    },
];

/// What the others are compared with, and so coloured.
const OURS: [&str; 2] = ["nt", "nt-tls"];

/// Draws what was measured; builds of nt that are there to be compared with each other are left out.
pub fn draw(systems: &[System], results: &Results) -> String {
    let shown = |system: &&System| !system.is_direct() && (!system.is_nt() || OURS.contains(&system.name));
    let (encrypted, plain): (Vec<&System>, Vec<&System>) =
        systems.iter().filter(shown).partition(|system| system.encrypts());
    let groups = [("not encrypted", plain), ("encrypted", encrypted)];
    let rows = groups.iter().map(|(_, group)| group.len() + 1).sum::<usize>();
    let panel_height = HEAD_HEIGHT + rows as f64 * ROW_HEIGHT;
    let place = |n: usize| {
        let (column, row) = ((n % PANELS_ACROSS) as f64, (n / PANELS_ACROSS) as f64);
        (MARGIN + column * (PANEL_WIDTH + GAP), MARGIN + row * (panel_height + GAP))
    };
    let mut picture = Picture::default();
    for (n, bars) in BARS.iter().enumerate() {
        draw_bars(&mut picture, place(n), bars, &groups, results);
    }
    draw_scale(&mut picture, place(BARS.len()), panel_height, results);
    let (_, below) = place(BARS.len() + 1);
    let (width, height) = (place(PANELS_ACROSS - 1).0 + PANEL_WIDTH + MARGIN, below + FOOT_HEIGHT - GAP);
    let words = "Both ends of each on one machine, over loopback: medians. haproxy2 is two haproxies in a row, \
                 openssh is ssh -R.";
    picture.text((MARGIN, height - MARGIN), "small", "start", words);
    picture.svg((width, height), "nt measured beside other tunnels", "")
}

fn draw_bars(
    picture: &mut Picture,
    (x, y): (f64, f64),
    bars: &Bars,
    groups: &[(&str, Vec<&System>)],
    results: &Results,
) {
    picture.heading((x, y), bars.title, bars.about);
    let value = |system: &System| results.median(bars.metric, system.name);
    let values = groups.iter().flat_map(|(_, group)| group).filter_map(|system| value(system));
    let most = values.fold(f64::MIN_POSITIVE, f64::max);
    let mut row = y + HEAD_HEIGHT;
    for (name, group) in groups {
        picture.text((x, row + 12.0), "small", "start", name);
        row += ROW_HEIGHT;
        for system in group {
            let class = if OURS.contains(&system.name) { " ours" } else { "" };
            let base = row + 12.0;
            picture.text((x + NAME_WIDTH, base), class.trim(), "end", system.name);
            if let Some(value) = value(system) {
                let (left, top) = (x + NAME_WIDTH + 8.0, row + (ROW_HEIGHT - BAR_HEIGHT) / 2.0 - 1.0);
                let width = (value / most * (PANEL_WIDTH - NAME_WIDTH - FIGURE_WIDTH)).max(1.0);
                picture.line(format_args!(
                    "<rect x=\"{left:.0}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" \
                     rx=\"2\" class=\"bar{class}\"/>"
                ));
                picture.text((left + width + 6.0, base), class.trim(), "start", figure(value));
            }
            row += ROW_HEIGHT;
        }
    }
}

/// New connections beside more and more idle ones: a line that should be level.
fn draw_scale(picture: &mut Picture, (x, y): (f64, f64), height: f64, results: &Results) {
    let crowds = results.crowds();
    let (Some(&few), Some(&many)) = (crowds.first(), crowds.last()) else { return };
    picture.heading((x, y), "Scale", "the same beside idle visitors; level is better");
    let (left, right) = (x + 20.0, x + PANEL_WIDTH - 44.0);
    let (top, bottom) = (y + HEAD_HEIGHT + 18.0, y + height - 34.0);
    let value = |system, idle| results.median(Metric::ScaleRate(idle), system);
    let values = OURS.iter().flat_map(|system| crowds.iter().filter_map(|&idle| value(system, idle)));
    let most = values.fold(f64::MIN_POSITIVE, f64::max);
    let across = |idle: usize| {
        let share = (idle as f64 / few as f64).ln() / (many as f64 / few as f64).ln().max(f64::MIN_POSITIVE);
        left + share * (right - left)
    };
    picture.level(bottom, (left, right + 24.0));
    for &idle in &crowds {
        picture.text((across(idle), bottom + 15.0), "small", "middle", whole(idle));
    }
    picture.text(((left + right) / 2.0, bottom + 30.0), "small", "middle", "idle visitors");
    // The lower curve has its figures below, so that the two do not run into each other.
    for (system, class, aside) in [(OURS[0], "", -9.0), (OURS[1], " tls", 18.0)] {
        let points = crowds.iter().filter_map(|&idle| Some((across(idle), value(system, idle)?)));
        let points: Vec<(f64, f64)> = points.collect();
        let down = |value: f64| bottom - value / most * (bottom - top);
        let places: Vec<(f64, f64)> = points.iter().map(|&(x, value)| (x, down(value))).collect();
        picture.curve(class, &places);
        for (&(x, y), &(_, value)) in places.iter().zip(&points) {
            picture.line(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" class=\"point\"/>"));
            picture.text((x, y + aside), "small", "middle", figure(value));
        }
        if let Some(&(x, value)) = points.last() {
            picture.text((x + 8.0, down(value) + 4.0 + aside / 3.0), "ours", "start", system);
        }
    }
}
