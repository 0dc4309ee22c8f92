//! Style that is a test: who may import whom, what nobody may call, how long things may be. A rule that is not enforced is
//! a wish; `docs/CONTRIBUTING.md` gives each rule's reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each module and the modules of this crate that it may import; a line may name only what stands above it, which keeps
/// the arrows pointing one way.
const LAYERS: &[(&str, &[&str])] = &[
    // Words.
    ("features", &[]),
    ("time", &[]),
    ("limits", &["time"]),
    ("reason", &[]),
    ("proxy_protocol", &[]),
    ("wire", &["limits", "reason"]),
    // Stores.
    ("slots", &[]),
    ("sorted", &[]),
    ("arena", &["limits"]),
    ("meter", &["limits", "slots", "time"]),
    ("timers", &["time"]),
    ("entropy", &[]),
    // What the operator says.
    ("text", &[]),
    ("calendar", &["text"]),
    ("names", &["text"]),
    ("table", &["text"]),
    ("license", &["text"]),
    ("policy", &["names", "text"]),
    ("via", &["names", "reason", "text"]),
    ("mapping", &["features", "limits", "names", "policy", "proxy_protocol", "text", "sorted"]),
    ("http", &["limits", "mapping", "names", "text"]),
    ("exit", &["http", "limits", "mapping", "names", "reason", "text"]),
    ("directory", &["calendar", "license", "mapping", "policy", "sorted", "table", "text"]),
    ("ledger", &["calendar", "license", "limits", "meter", "sorted", "table", "text"]),
    ("edit", &["calendar", "directory", "license", "policy", "text"]),
    ("door", &["http", "license"]),
    ("dashboard", &[]),
    ("plan", &["directory", "license", "mapping", "policy", "reason", "sorted", "text"]),
    ("dry", &["directory", "door", "limits", "mapping", "plan", "reason", "sorted"]),
    ("api", &["dashboard", "directory", "edit", "limits", "text", "time"]),
    ("server_ref", &["license", "names", "policy", "text"]),
    ("note", &["features", "reason", "text", "time"]),
    ("config", &["license", "mapping", "names", "note", "policy", "server_ref", "table", "text", "via"]),
    // Decisions.
    (
        "role",
        &[
            "calendar",
            "directory",
            "door",
            "dry",
            "edit",
            "http",
            "mapping",
            "meter",
            "note",
            "policy",
            "proxy_protocol",
            "reason",
            "slots",
            "time",
            "via",
            "wire",
        ],
    ),
    ("channel", &["limits", "reason", "slots", "time"]),
    (
        "server",
        &[
            "api",
            "calendar",
            "channel",
            "dashboard",
            "directory",
            "door",
            "dry",
            "edit",
            "entropy",
            "http",
            "ledger",
            "license",
            "limits",
            "mapping",
            "meter",
            "names",
            "note",
            "plan",
            "policy",
            "proxy_protocol",
            "reason",
            "role",
            "slots",
            "text",
            "time",
            "timers",
            "wire",
            "sorted",
        ],
    ),
    (
        "client",
        &[
            "channel", "entropy", "exit", "license", "limits", "mapping", "names", "note", "policy",
            "reason", "role", "slots", "time", "timers", "via", "wire", "sorted",
        ],
    ),
    ("demo", &["note", "reason", "role", "slots", "time"]),
    (
        "fuzz",
        &[
            "api",
            "calendar",
            "config",
            "directory",
            "edit",
            "exit",
            "http",
            "ledger",
            "license",
            "limits",
            "mapping",
            "policy",
            "proxy_protocol",
            "server_ref",
            "via",
            "wire",
        ],
    ),
    // The world.
    ("tls", &["arena", "limits", "reason", "role"]),
    ("net", &["calendar", "directory", "edit", "note", "reason", "role", "slots", "time", "tls"]),
    ("link", &["arena", "http", "limits", "net", "proxy_protocol", "reason", "role", "slots", "tls", "via"]),
    ("flow", &["arena", "limits", "link", "net", "reason", "slots", "sorted", "time", "wire"]),
    ("relay", &["arena", "limits", "link", "net", "reason", "slots", "wire"]),
    ("gateway", &["arena", "http", "limits", "link", "net", "reason", "relay", "role"]),
    (
        "driver",
        &[
            "arena",
            "flow",
            "gateway",
            "door",
            "http",
            "limits",
            "link",
            "meter",
            "net",
            "note",
            "proxy_protocol",
            "reason",
            "relay",
            "role",
            "slots",
            "time",
            "tls",
            "via",
            "wire",
            "sorted",
        ],
    ),
    ("files", &["http", "limits", "mapping"]),
    (
        "os",
        &[
            "calendar",
            "directory",
            "edit",
            "files",
            "limits",
            "mapping",
            "net",
            "note",
            "reason",
            "role",
            "slots",
            "time",
            "tls",
            "sorted",
        ],
    ),
    ("budget", &["driver", "limits"]),
    // The edge.
    ("state", &["calendar", "directory", "edit", "entropy", "ledger", "license", "os", "policy", "text"]),
    ("identity", &["entropy", "state", "text"]),
    ("certificates", &["identity", "tls"]),
    ("service", &["text"]),
];

/// Modules at the edge, which may import everything and be imported by nobody but `main`.
const EDGE: &[&str] =
    &["bench", "cli", "clients", "control", "commands", "doctor", "left_out", "status", "run", "main", "lib"];

/// What must not be called, by whom it may be all the same, and what to do instead.
const BANNED: &[(&str, &[&str], &str)] = &[
    (
        "std::fs",
        &["os", "files", "state", "identity", "certificates", "clients", "commands", "run", "cli"],
        "files belong to the edge",
    ),
    ("TcpStream", &["os", "bench", "doctor"], "sockets belong to os; above it they are Net::Stream"),
    ("TcpListener", &["os", "run", "bench"], "sockets belong to os; above it they are Net::Listener"),
    ("polling::", &["os"], "the poller belongs to os"),
    (
        "rustls::",
        &["tls", "left_out", "identity", "run"],
        "TLS belongs to tls; identity and run read certificates",
    ),
    ("Instant::now", &[], "time is handed in"),
    ("SystemTime::now", &["os"], "time is handed in"),
    ("clock_gettime", &["os"], "only os reads a clock"),
    ("unsafe {", &["os"], "unsafe belongs to os"),
    ("HashMap", &[], "iteration order must not matter: BTreeMap, Table or Vec"),
    ("HashSet", &[], "iteration order must not matter: BTreeSet or Vec"),
    ("mac ==", &[], "proofs are compared by hmac::verify, in constant time"),
    ("mac !=", &[], "proofs are compared by hmac::verify, in constant time"),
    ("signature ==", &[], "proofs are checked by ring"),
    ("complete_io", &[], "it loops (RUSTSEC-2024-0336)"),
    ("println!", &["commands", "main", "run"], "messages are notes; commands print"),
    ("todo!", &[], "unfinished work is an issue"),
    ("unimplemented!", &[], "unfinished work is an issue"),
];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 120;

/// Functions that are longer, and why.
const LONG_FUNCTIONS: &[(&str, &str)] =
    &[("fn fmt(&self, f: &mut fmt::Formatter<'_>)", "one arm for each message, and nothing else")];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("src can be read") {
            let path = entry.expect("an entry of src can be read").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| (path.clone(), std::fs::read_to_string(path).expect("a source can be read")))
        .collect()
}

/// The module of this crate that a file belongs to: its first folder, or its own name.
fn module(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("a path in src");
    let first = inside.components().next().expect("a path has a first part");
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// Code without comments and without the unit tests at the end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    lines.enumerate().map(|(n, line)| (n + 1, line.split("//").next().unwrap_or("")))
}

#[test]
fn imports_point_one_way() {
    let position: BTreeMap<&str, usize> =
        LAYERS.iter().enumerate().map(|(n, (name, _))| (*name, n)).collect();
    for (n, (name, uses)) in LAYERS.iter().enumerate() {
        for used in *uses {
            assert!(position[used] < n, "LAYERS: {name} may not name {used}, which stands below it");
        }
    }
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = module(&path);
        if EDGE.contains(&module.as_str()) {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{module} does not stand in LAYERS"));
            continue;
        };
        let imported: BTreeSet<&str> = text
            .lines()
            .take_while(|line| line.trim() != "#[cfg(test)]")
            .filter(|line| !line.trim_start().starts_with("//"))
            .flat_map(|line| line.match_indices("crate::").map(move |(at, _)| &line[at + 7..]))
            .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(""))
            .collect();
        for import in imported {
            if import != module && !allowed.contains(&import) {
                wrong.push(format!("{} imports {import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that LAYERS does not allow:\n{}", wrong.join("\n"));
}

#[test]
fn channels_do_not_know_each_other() {
    for (path, text) in sources().into_iter().filter(|(path, _)| module(path) == "channel") {
        for (n, line) in code(&text) {
            assert!(!line.contains("channel::"), "{}:{n}: channels meet in a role", path.display());
        }
    }
}

#[test]
fn nobody_calls_what_is_banned() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = module(&path);
        for (n, line) in code(&text) {
            for (call, allowed, instead) in BANNED {
                if line.contains(call) && !allowed.contains(&module.as_str()) {
                    wrong.push(format!("{}:{n}: {call}: {instead}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_functions_and_lines_are_short() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", path.display()));
        }
        for (n, line) in text.lines().enumerate() {
            if line.chars().count() > LINE_CHARS_MAX {
                wrong.push(format!("{}:{}: longer than {LINE_CHARS_MAX} characters", path.display(), n + 1));
            }
        }
        for (start, length) in functions(&text) {
            let head = text.lines().nth(start - 1).unwrap_or("").trim();
            if length > FUNCTION_LINES_MAX && !LONG_FUNCTIONS.iter().any(|(long, _)| head.starts_with(long)) {
                wrong.push(format!("{}:{start}: a function of {length} lines", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where functions start, and how many lines they take: rustfmt closes each at the indentation of its head.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        let head = line.trim_start();
        let is_head = ["fn ", "pub fn ", "pub(super) fn ", "pub(crate) fn ", "const fn ", "pub const fn "]
            .iter()
            .any(|start| head.starts_with(start));
        // A declaration without a body ends with a semicolon.
        let body =
            lines[n..].iter().find(|line| line.ends_with('{') || line.ends_with(';') || line.ends_with('}'));
        if is_head && body.is_some_and(|line| line.ends_with('{')) {
            let indent = line.len() - head.len();
            let close = format!("{}}}", " ".repeat(indent));
            if let Some(length) = lines[n..].iter().position(|line| *line == close) {
                found.push((n + 1, length + 1));
            }
        }
    }
    found
}

#[path = "mutants/list.rs"]
#[allow(dead_code, unreachable_pub, reason = "`make mutants` tells their names")]
mod mutants;

#[test]
fn every_mutant_still_fits_the_source() {
    for mutants::Edit(file, from, _) in mutants::MUTANTS.iter().flat_map(|mutant| mutant.edits) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
        let source = std::fs::read_to_string(&path).expect("a mutant's file can be read");
        assert_eq!(source.matches(from).count(), 1, "{file} should have once what a mutant changes:\n{from}");
    }
}
