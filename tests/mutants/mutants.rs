//! Proof that the simulator finds mistakes: `make mutants`.
//!
//! Each mutant of the list is made in a copy of the source, built, and left to the simulator: first to the swarm, with so
//! many seeds, then to all its stories. What found it is printed, and written to `docs/TESTING.md`. One that nobody
//! finds fails the run. Set by environment: `NT_MUTANTS=3,17` (these alone, and nothing is written), `NT_SIM_SEEDS=10000`.

#![allow(unreachable_pub, clippy::disallowed_methods, clippy::unwrap_used)]

#[path = "../bench/book.rs"]
#[allow(dead_code, reason = "what is measured needs more of it")]
mod book;
mod list;
#[path = "../e2e/process.rs"]
#[allow(dead_code, reason = "the end-to-end tests use more of it")]
mod process;
#[path = "../bench/programs.rs"]
#[allow(dead_code, reason = "the benchmark uses more of it")]
mod programs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::Instant;

use book::Book;
use list::{Edit, MUTANTS, Mutant};
use process::say;

const BOOK: Book = Book {
    name: "TESTING.md",
    begin: "<!-- generated: make mutants -->",
    end: "<!-- end: make mutants -->",
    fresh: "# Testing\n",
};

/// Of what was said when it was found.
const WORDS_CHARS_MAX: usize = 80;

/// Seeds of the swarm that a mutant may survive.
const SEEDS: &str = "10000";

fn main() -> ExitCode {
    match mutants() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            say(&why);
            ExitCode::FAILURE
        }
    }
}

/// Whether all were found.
fn mutants() -> Result<bool, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lab = Lab::new(root)?;
    let wanted = std::env::var("NT_MUTANTS").ok();
    let is_wanted =
        |n: usize| wanted.as_ref().is_none_or(|list| list.split(',').any(|one| one == n.to_string()));
    let mut table = "| mistake | found by |\n|---|---|\n".to_owned();
    let mut survivors = 0;
    for (n, mutant) in MUTANTS.iter().enumerate().map(|(n, mutant)| (n + 1, mutant)) {
        if !is_wanted(n) {
            continue;
        }
        let begun = Instant::now();
        let found = lab.find(mutant)?;
        survivors += usize::from(found.is_none());
        let found = found.unwrap_or_else(|| "**nobody**".to_owned());
        say(&format!("{n}. {}: {found} ({} s)", mutant.name, begun.elapsed().as_secs()));
        table += &format!("| {} | {found} |\n", mutant.name);
    }
    println!("{table}");
    if wanted.is_none() {
        BOOK.write(&table)?;
    }
    Ok(survivors == 0)
}

/// A copy of the source, with a folder for what is built of it.
struct Lab {
    root: PathBuf,
    tree: PathBuf,
}

impl Lab {
    fn new(root: &Path) -> Result<Self, String> {
        let tree = root.join("target/mutants/tree");
        let _ = fs::remove_dir_all(&tree);
        for name in ["Cargo.toml", "Cargo.lock", "src", "tests"] {
            copy(&root.join(name), &tree.join(name))?;
        }
        Ok(Self { root: root.to_owned(), tree })
    }

    /// What finds a mutant.
    fn find(&self, mutant: &Mutant) -> Result<Option<String>, String> {
        let sources = mutant.edits.iter().map(|edit| self.edit(edit)).collect::<Result<Vec<_>, _>>()?;
        let built = self.cargo(&["--no-run"], SEEDS)?;
        if !built.status.success() {
            let why = String::from_utf8_lossy(&built.stderr);
            return Err(format!("{}: it cannot be built:\n{why}", mutant.name));
        }
        let seeds = std::env::var("NT_SIM_SEEDS").unwrap_or_else(|_| SEEDS.to_owned());
        let mut found = None;
        for (tests, seeds) in [("swarm::whatever", seeds.as_str()), ("", "20")] {
            let told = self.cargo(&["--", "--nocapture", tests], seeds)?;
            if !told.status.success() {
                found = Some(what_failed(&told));
                break;
            }
        }
        for (path, source) in sources.into_iter().rev() {
            fs::write(&path, source).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(found)
    }

    /// Makes one change; the file, and what it held.
    fn edit(&self, Edit(file, from, to): &Edit) -> Result<(PathBuf, String), String> {
        let path = self.tree.join("src").join(file);
        let fault = |error| format!("{}: {error}", path.display());
        let source = fs::read_to_string(&path).map_err(fault)?;
        if source.matches(from).count() != 1 {
            return Err(format!("{file} should have once what a mutant changes:\n{from}"));
        }
        fs::write(&path, source.replace(from, to)).map_err(fault)?;
        Ok((path, source))
    }

    fn cargo(&self, words: &[&str], seeds: &str) -> Result<Output, String> {
        let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
        cargo.args(["test", "--locked", "--test", "sim"]).args(words).current_dir(&self.tree);
        cargo.env("CARGO_TARGET_DIR", self.root.join("target/mutants/build"));
        cargo.env("NT_SIM_SEEDS", seeds).env("RUST_BACKTRACE", "0").env_remove("NT_SIM_SEED");
        cargo.output().map_err(|error| format!("{cargo:?}: {error}"))
    }
}

/// The seed that failed, with what it said; or the story.
fn what_failed(told: &Output) -> String {
    let told = [&told.stdout, &told.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    let mut lines = told.lines();
    let panicked = lines.find(|line| line.contains("panicked at")).and_then(|_| lines.next()).unwrap_or("");
    let seed = told.lines().find_map(|line| line.strip_prefix("again: NT_SIM_SEED=")?.split(' ').next());
    let story = told.lines().find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    let by = match (seed, story) {
        (Some(seed), _) => format!("seed {seed}"),
        (None, story) => format!("`{}`", story.unwrap_or("the end of the process")),
    };
    let what = panicked.trim().trim_start_matches("assertion `left == right` failed: ");
    let what = what.trim_start_matches("assertion `left != right` failed: ").replace('|', "/");
    format!("{by}: {}", what.chars().take(WORDS_CHARS_MAX).collect::<String>())
}

/// Copies a file or a folder.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let fault = |error| format!("{}: {error}", from.display());
    if !from.is_dir() {
        let folder = to.parent().unwrap_or(to);
        return fs::create_dir_all(folder).and_then(|()| fs::copy(from, to)).map(drop).map_err(fault);
    }
    for entry in fs::read_dir(from).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        if entry.file_name() != "target" {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
