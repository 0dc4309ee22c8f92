//! What a run has shown: a part of `docs/TESTING.md`, and `docs/soak.svg`.
//!
//! ```text
//!   memory      curves of the server and of each client,
//!   open files  over the time of the run, one above the other
//!   CPU
//!   visits
//!   requests by name
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use super::book::{Book, Table, figure, machine, whole};
use super::chart::Picture;
use super::ledger::Ledger;
use super::samples::{CHANCE, GROWTH_MAX, JUDGED_SECONDS_MIN, Sample, Samples, Trend, average};

pub const BOOK: Book = Book {
    name: "TESTING.md",
    begin: "<!-- generated: make soak -->",
    end: "<!-- end: make soak -->",
    fresh: "# Testing\n",
};
pub const PICTURE: &str = "soak.svg";

const WIDTH: f64 = 880.0;
const PANEL_HEIGHT: f64 = 150.0;
const HEAD_HEIGHT: f64 = 44.0;
const LEGEND_HEIGHT: f64 = 40.0;
const GAP: f64 = 30.0;
const MARGIN: f64 = 16.0;
/// Left of the curves: figures of the axis.
const FIGURES_WIDTH: f64 = 44.0;
/// Points of a curve: more than can be told apart would only make the file larger.
const POINTS: f64 = 240.0;

/// Colours of the processes, in the order of the stage; the server has that of every curve.
const STYLE: &str = "
  .k1 { stroke: #1a7f37 } .k2 { stroke: #9a6700 } .k3 { stroke: #8250df } .k4 { stroke: #bf3989 } .k5 { stroke: #6e7781 }
  .thin { stroke-width: 1.2 }
  @media (prefers-color-scheme: dark) {
    .k1 { stroke: #3fb950 } .k2 { stroke: #d29922 } .k3 { stroke: #a371f7 } .k4 { stroke: #f778ba } .k5 { stroke: #8d96a0 }
  }
";

/// What a sample tells of something.
type Value = fn(&Sample) -> f64;

/// What is judged of each process.
const JUDGED: [(&str, Value); 2] =
    [("resident memory, MiB", |sample| sample.resident / 1024.0), ("open files", |sample| sample.files)];

/// Curves of one process or of all, each broken where a life ended.
type Curves = Vec<Vec<(f64, f64)>>;

pub struct Report<'a> {
    pub ledger: &'a Ledger,
    pub samples: &'a Samples,
    pub churn: Duration,
}

impl Report<'_> {
    /// Trends of all that lived long enough, by what is judged.
    pub fn trends(&self) -> Vec<(&'static str, &'static str, Trend)> {
        let all = JUDGED.iter().flat_map(|(what, value)| {
            let processes = self.samples.processes.iter();
            processes.filter_map(move |(name, samples)| {
                Some((*what, *name, Trend::of(samples, self.churn, value)?))
            })
        });
        all.collect()
    }

    pub fn text(&self) -> String {
        let [wholes, cuts] =
            self.ledger.visits().values().fold([0, 0], |sum, ends| [sum[0] + ends[0], sum[1] + ends[1]]);
        let [said, answered] = self.ledger.datagrams().map(|count| whole(count as usize));
        let served: u64 = self.ledger.requests().values().map(|[served, ..]| served).sum();
        let [requests, served] = [self.ledger.request_count(), served].map(|count| whole(count as usize));
        format!(
            "## Soak\n\n![Memory, open files and CPU over the run]({PICTURE})\n\n\
             {}. {} minutes, seed {}: {} visits, of which {} ended whole, and {} were cut by a fault of that moment. Every \
             byte was checked; no stream that was cut looked like one that ended, none hung, every tunnel was back within \
             60 s, and at the end every file of a visit was closed and no process used the processor. Of {said} datagrams \
             that waited for an answer {answered} had one; none was changed, cut, doubled or brought to another, \
             and without a fault nobody asked in vain. Of {requests} requests by name {served} were answered, each \
             by the real server that was meant; the others were cut, or told 404, 502, 503 or 504, by a fault of \
             that moment. Asked to stop, all ended well, and held no buffer.\n\n\
             {}\n{}\n{}\n{}",
            machine(),
            self.churn.as_secs() / 60,
            self.ledger.seed,
            whole(wholes as usize + cuts as usize),
            whole(wholes as usize),
            whole(cuts as usize),
            self.slopes(),
            self.visits(),
            self.requests(),
            self.faults(),
        )
    }

    fn slopes(&self) -> String {
        let mut table = Table::new(
            ["", "of", "minutes", "mean", "peak", "an hour", "growth", "chance"].map(str::to_owned),
        );
        let percent = |share: f64| format!("{:+.1} %", share * 100.0);
        for (what, name, trend) in self.trends() {
            table.row([
                what.to_owned(),
                name.to_owned(),
                format!("{:.0}", trend.lasting / 60.0),
                figure(trend.mean),
                figure(trend.peak),
                figure(trend.per_hour()),
                percent(trend.growth),
                format!("± {:.1} %", trend.chance * 100.0),
            ]);
        }
        format!(
            "Slopes, by least squares through the means of short stretches, over the longest life of each process \
             without its first third. The run fails where growth over that time, less what may be chance ({CHANCE} \
             standard errors), is above {:.0} % of the mean; less than {:.0} minutes are shown and not judged.\n\n{}\n{}",
            GROWTH_MAX * 100.0,
            JUDGED_SECONDS_MIN / 60.0,
            table.text(),
            self.rest()
        )
    }

    /// The last sample of each, after the rest.
    fn rest(&self) -> String {
        let mut table = Table::new(
            ["at rest, at the end", "resident, MiB", "proportional, MiB", "open files", "CPU, %"]
                .map(str::to_owned),
        );
        for (name, samples) in &self.samples.processes {
            let Some(last) = samples.last() else { continue };
            let mib = [last.resident, last.proportional].map(|kib| figure(kib / 1024.0));
            let [resident, proportional] = mib;
            table.row([
                (*name).to_owned(),
                resident,
                proportional,
                format!("{}", last.files),
                figure(last.cpu),
            ]);
        }
        table.text()
    }

    fn visits(&self) -> String {
        let mut table = Table::new(["visits", "whole", "cut"].map(str::to_owned));
        for (kind, [wholes, cuts]) in self.ledger.visits() {
            table.row([kind.to_owned(), whole(wholes as usize), whole(cuts as usize)]);
        }
        table.text()
    }

    fn requests(&self) -> String {
        let mut table = Table::new(["requests by", "answered", "told", "cut"].map(str::to_owned));
        for (kind, counts) in self.ledger.requests() {
            let [answered, told, cut] = counts.map(|count| whole(count as usize));
            table.row([kind.to_owned(), answered, told, cut]);
        }
        table.text()
    }

    fn faults(&self) -> String {
        let mut table = Table::new(["faults", "times"].map(str::to_owned));
        for (kind, times) in self.ledger.fault_kinds() {
            table.row([kind.to_owned(), whole(times as usize)]);
        }
        table.text()
    }

    pub fn picture(&self) -> String {
        let mut picture = Picture::default();
        let mut x = MARGIN;
        for (n, (name, _)) in self.samples.processes.iter().enumerate() {
            picture.curve(&class(n), &[(x, MARGIN + 8.0), (x + 24.0, MARGIN + 8.0)]);
            picture.text((x + 30.0, MARGIN + 12.0), "", "start", name);
            x += WIDTH / self.samples.processes.len() as f64;
        }
        let of_all = |value: &dyn Fn(&Sample) -> f64| -> Vec<Curves> {
            let processes = self.samples.processes.iter();
            processes.map(|(_, samples)| self.curves(samples, value)).collect()
        };
        let [visits, requests] = [&self.samples.visits, &self.samples.requests].map(|all| self.thin(all));
        let panels = [
            ("Memory", "resident, MiB", of_all(&|sample| sample.resident / 1024.0)),
            ("Open files", "", of_all(&|sample| sample.files)),
            ("CPU", "percent of one core", of_all(&|sample| sample.cpu)),
            ("Visits", "a second", vec![vec![visits]]),
            ("Requests by name", "a second", vec![vec![requests]]),
        ];
        let mut y = MARGIN + LEGEND_HEIGHT;
        for (title, about, curves) in &panels {
            self.panel(&mut picture, y, (title, about), curves);
            y += HEAD_HEIGHT + PANEL_HEIGHT + GAP;
        }
        picture.text((WIDTH / 2.0, y - 4.0), "small", "middle", "minutes");
        picture.svg((WIDTH, y + MARGIN), "What nt used while it was soaked", STYLE)
    }

    fn panel(&self, picture: &mut Picture, y: f64, (title, about): (&str, &str), curves: &[Curves]) {
        picture.heading((MARGIN, y), title, about);
        let (left, right) = (MARGIN + FIGURES_WIDTH, WIDTH - MARGIN);
        let (top, bottom) = (y + HEAD_HEIGHT, y + HEAD_HEIGHT + PANEL_HEIGHT);
        let points = curves.iter().flatten().flatten();
        let most = points.map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
        let whole_time = self.ledger.now().as_secs_f64();
        for share in [0.0, 0.5, 1.0] {
            let level = bottom - share * PANEL_HEIGHT;
            picture.level(level, (left, right));
            picture.text((left - 6.0, level + 4.0), "small", "end", figure(most * share));
        }
        let minutes = self.churn.as_secs() / 60;
        for minute in (0..=minutes).step_by(minutes.div_ceil(6) as usize) {
            let x = left + minute as f64 * 60.0 / whole_time * (right - left);
            picture.text((x, bottom + 15.0), "small", "middle", minute);
        }
        // The server comes last, above the others.
        for (n, lives) in curves.iter().enumerate().rev() {
            for life in lives.iter().filter(|life| life.len() > 1) {
                let place = |(at, value): &(f64, f64)| {
                    (left + at / whole_time * (right - left), bottom - value / most * (bottom - top))
                };
                picture.curve(&class(n), &life.iter().map(place).collect::<Vec<_>>());
            }
        }
    }

    /// One curve for each life.
    fn curves(&self, samples: &[Sample], value: &dyn Fn(&Sample) -> f64) -> Curves {
        let lives = samples.chunk_by(|one, next| one.life == next.life);
        lives
            .map(|life| self.thin(&life.iter().map(|sample| (sample.at, value(sample))).collect::<Vec<_>>()))
            .collect()
    }

    /// Means of what lies close together.
    fn thin(&self, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let mut buckets: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
        for point in points {
            let bucket = point.0 / self.ledger.now().as_secs_f64() * POINTS;
            buckets.entry(bucket as u64).or_default().push(*point);
        }
        buckets.into_values().map(|points| average(&points)).collect()
    }
}

/// The class of a process's curves.
fn class(number: usize) -> String {
    if number == 0 { String::new() } else { format!(" thin k{number}") }
}
