//! The results as text: on standard output, and between the markers of `docs/BENCHMARKS.md`.

use super::book::{Book, Table, figure, machine, whole, write};
use super::knobs::Knobs;
use super::loads::{CROWD_MAX, IDLE_VISITORS, largest_crowd};
use super::results::{Metric, Results};
use super::services::versions;
use super::systems::System;
use super::targets::{Target, Wanted, all};
use super::wan::{LINK_MBIT, LINKS, PLAIN_TCP};

const BOOK: Book = Book {
    name: "BENCHMARKS.md",
    begin: "<!-- generated: make bench -->",
    end: "<!-- end of generated -->",
    fresh: "# Benchmarks\n\n",
};

pub struct Report<'a> {
    pub knobs: &'a Knobs,
    pub systems: &'a [System],
    /// What is missing, and how to get it.
    pub skipped: Vec<String>,
    pub results: &'a Results,
    /// Files that a process may open.
    pub files: usize,
}

impl Report<'_> {
    /// What stands between the markers.
    pub fn text(&self) -> String {
        let mut text = self.circumstances();
        let rows = self.rows(|metric| metric < Metric::CrowdP99(0));
        if !rows.is_empty() {
            text += "\n## Figures\n\nMedians. Up is from the visitor to the service, down from the service to the \
                     visitor. Memory and CPU are those of both ends together, and not the kernel's buffers.";
            let (of_nt, of_others) = (largest_crowd(self.files), IDLE_VISITORS);
            text += &format!(" Idle visitors: {of_nt} of nt, {of_others} of the others.\n\n");
            text += &self.figures(&rows);
        }
        text += &self.targets();
        text += &self.links();
        text += &self.crowds();
        for (title, lines) in [
            ("Went wrong", self.results.remarks().map(str::to_owned).collect()),
            ("Not measured, and how to get it", self.skipped.clone()),
        ] {
            if !lines.is_empty() {
                let lines: String = lines.iter().map(|line| format!("- {line}\n")).collect();
                text += &format!("\n## {title}\n\n{lines}");
            }
        }
        text
    }

    fn circumstances(&self) -> String {
        let (others, others_most) = self.results.disturbance();
        let rounds = match self.knobs.rounds {
            1 => "One round".to_owned(),
            rounds => format!("{rounds} rounds"),
        };
        let ours = self.systems.iter().filter(|system| !system.version.is_empty());
        let ours = ours.map(|system| format!("{} {}", system.name, system.version));
        let loads = versions().into_iter().map(|(name, version)| format!("{name} {version}"));
        let versions: Vec<String> = ours.chain(loads).collect();
        format!(
            "{}. {rounds}, {} s a load. Other processes used {:.0} % of \
             the processors meanwhile (during one load {:.0} %): the less, the better what follows can be \
             believed.\n\n{}.\n",
            machine(),
            self.knobs.seconds,
            others * 100.0,
            others_most * 100.0,
            versions.join(", ")
        )
    }

    /// What was measured of these metrics.
    fn rows(&self, wanted: impl Fn(Metric) -> bool) -> Vec<Metric> {
        self.results.metrics().into_iter().filter(|&metric| wanted(metric)).collect()
    }

    /// Medians, and between what they lie.
    fn figures(&self, rows: &[Metric]) -> String {
        let mut text = self.table(rows, |metric, system| self.results.median(metric, system).map(figure));
        if self.knobs.rounds > 1 {
            text += "\n<details><summary>Least and greatest of the rounds</summary>\n\n";
            text += &self.table(rows, |metric, system| {
                let (least, greatest) = self.results.spread(metric, system)?;
                Some(format!("{} – {}", figure(least), figure(greatest)))
            });
            text += "\n</details>\n";
        }
        text
    }

    /// Metrics as rows, systems as columns.
    fn table(&self, rows: &[Metric], cell: impl Fn(Metric, &'static str) -> Option<String>) -> String {
        // Bad links have plain TCP to compare with, even where nobody asked for it.
        let others = self.systems.iter().filter(|system| !system.is_direct()).map(|system| system.name);
        let measured = |name: &&'static str| rows.iter().any(|&metric| cell(metric, name).is_some());
        let systems: Vec<&str> = [PLAIN_TCP].into_iter().chain(others).filter(measured).collect();
        let head = systems.iter().map(|&name| name.to_owned());
        let mut table = Table::new([String::new()].into_iter().chain(head));
        for &metric in rows {
            let cells = systems.iter().map(|name| cell(metric, name).unwrap_or_default());
            table.row([metric.to_string()].into_iter().chain(cells));
        }
        table.text()
    }

    fn targets(&self) -> String {
        let mut targets = all(self.results);
        if !self.knobs.is_whole() {
            targets.retain(|target| target.reached.is_some());
        }
        if targets.is_empty() {
            return String::new();
        }
        let mut table = Table::new(["", "of", "wanted", "reached", ""].map(str::to_owned));
        let mut group = "";
        for target in &targets {
            if target.group != group {
                group = &target.group;
                table.row([format!("**{group}**")].into_iter().chain([const { String::new() }; 4]));
            }
            table.row(target.cells());
        }
        let reached = targets.iter().filter(|target| target.is_reached() == Some(true)).count();
        format!("\n## Targets\n\n{reached} of {} reached.\n\n{}", targets.len(), table.text())
    }

    fn links(&self) -> String {
        let mut text = String::new();
        for (number, link) in LINKS.iter().enumerate() {
            let rows = self.rows(|metric| metric.link() == Some(number));
            if rows.is_empty() {
                continue;
            }
            if text.is_empty() {
                text = format!(
                    "\n## Bad links\n\nThe ends of nt on two hosts, {LINK_MBIT} Mbit/s between them; `direct` is plain \
                     TCP over the same link. The echo is timed while one stream up fills the link.\n"
                );
            }
            text += &format!("\n{}:\n\n{}", link.name, self.figures(&rows));
        }
        text
    }

    fn crowds(&self) -> String {
        use Metric::{CrowdCpu, CrowdP99, ScaleCpu, ScaleRate};
        let rows = self.rows(|metric| matches!(metric, CrowdP99(_) | CrowdCpu | ScaleRate(_) | ScaleCpu(_)));
        if rows.is_empty() {
            return String::new();
        }
        let (fits, wanted) = (largest_crowd(self.files), CROWD_MAX);
        let cut = if fits < wanted {
            let (files, fits, wanted) = (whole(self.files), whole(fits), whole(wanted));
            format!(
                "A process may open {files} files here: enough for {fits} visitors instead of {wanted}.\n\n"
            )
        } else {
            String::new()
        };
        format!("\n## Scale\n\n{cut}{}", self.figures(&rows))
    }

    /// Writes the book and its picture.
    ///
    /// # Errors
    /// A sentence, where a file cannot be written.
    pub fn write(&self, text: &str, picture: &str) -> Result<(), String> {
        BOOK.write(text)?;
        write("benchmarks.svg", picture)
    }
}

impl Target {
    fn cells(&self) -> [String; 5] {
        let (sign, number) = match self.wanted {
            Wanted::AtLeast(number) => ("≥", number),
            Wanted::AtMost(number) => ("≤", number),
        };
        let reached = self.reached.map_or_else(|| "not measured".to_owned(), |n| self.with_unit(figure(n)));
        let verdict = match self.is_reached() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        let wanted = format!("{sign} {}", self.with_unit(number.to_string()));
        [self.what.clone(), self.who.clone(), wanted, reached, verdict.to_owned()]
    }

    fn with_unit(&self, number: String) -> String {
        format!("{number} {}", self.unit)
    }
}
