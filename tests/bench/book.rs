//! What the docs are written with: tables, figures, and the part of a book that is generated.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::say;
use super::programs::asked;

/// A book of `docs/`, a part of which is generated.
pub struct Book {
    pub name: &'static str,
    /// The line before that part.
    pub begin: &'static str,
    /// The line after it.
    pub end: &'static str,
    /// What stands above it where there is no book yet.
    pub fresh: &'static str,
}

impl Book {
    /// Puts `text` in the place of what was generated before; below all else, where nothing was.
    ///
    /// # Errors
    /// A sentence, where the file cannot be written.
    pub fn write(&self, text: &str) -> Result<(), String> {
        let old = std::fs::read_to_string(docs().join(self.name)).unwrap_or_else(|_| self.fresh.to_owned());
        let parts = old.split_once(self.begin);
        let around = parts.and_then(|(before, rest)| Some((before, rest.split_once(self.end)?.1)));
        let apart = format!("{}\n\n", old.trim_end());
        let (before, after) = around.unwrap_or((&apart, "\n"));
        write(self.name, &format!("{before}{}\n\n{text}\n{}{after}", self.begin, self.end))
    }
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// Writes a file of `docs/`.
///
/// # Errors
/// A sentence, where it cannot be written.
pub fn write(name: &str, content: &str) -> Result<(), String> {
    let path = docs().join(name);
    std::fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?;
    say(&format!("wrote {}", path.display()));
    Ok(())
}

/// What was measured on, and when.
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = asked(Command::new("uname").arg("-r"));
    let date = asked(Command::new("date").arg("+%Y-%m-%d"));
    let congestion = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
    format!(
        "{}, {cores} cores, Linux {} (TCP: {}), {date}",
        model.trim_start_matches([' ', '\t', ':']),
        kernel.split('-').next().unwrap_or(""),
        congestion.trim()
    )
}

/// A table in Markdown, its columns aligned so that it reads well as it is.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: impl IntoIterator<Item = String>) -> Self {
        Self { rows: vec![head.into_iter().collect()] }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The first column is text, the others are numbers.
    pub fn text(&self) -> String {
        let columns = self.rows[0].len();
        let size = |row: &Vec<String>, column: usize| row[column].chars().count();
        let width = |column| self.rows.iter().map(|row| size(row, column)).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (n, row) in self.rows.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let _ = if column == 0 {
                    write!(text, "| {cell:<width$} |")
                } else {
                    write!(text, " {cell:>width$} |")
                };
            }
            text.push('\n');
            if n == 0 {
                let rule = |(column, width): (usize, &usize)| match column {
                    0 => format!("|{}|", "-".repeat(width + 2)),
                    _ => format!("{}:|", "-".repeat(width + 1)),
                };
                text.extend(widths.iter().enumerate().map(rule));
                text.push('\n');
            }
        }
        text
    }
}

/// A figure with three digits that count, or all of them before the point.
pub fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => thousands(value),
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn thousands(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", whole(value.abs().round() as usize))
}

/// A whole number with its thousands apart.
pub fn whole(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
