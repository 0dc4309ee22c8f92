//! What the commands do that need no tunnel: the licenses of a server, a look at a file, a service, the version.

mod dry;
mod install;
mod live;

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};

use crate::api;
use crate::cli::{CheckArgs, LicenseAdd, LicenseCommand, MapCommand, StatusArgs};
use crate::clients;
use crate::config::{self, Config, MapText};
use crate::control;
use crate::directory::{Directory, Entry, SETTINGS};
use crate::edit::{self, Edit, Edited, NotEdited};
use crate::entropy::Entropy;
use crate::ledger::Account;
use crate::license::{LICENSE_BYTES, License};
use crate::mapping;
use crate::meter::Traffic;
use crate::os;
use crate::policy::{Quota, Rates};
use crate::server_ref::Source;
use crate::state::StateDir;
use crate::status::{Seen, client_text};
use crate::text::{did_you_mean, quote, show_bytes};

pub use install::{Machine, Run, install, uninstall};
pub use live::{plan, reload};

/// Longest file that [`read_source`] reads, in bytes.
pub const SOURCE_BYTES_MAX: u64 = 1 << 20;

/// What a command says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// For standard output: what a program may want. **A new license is in here.**
    pub stdout: String,
    /// For standard error: prose, without secrets.
    pub stderr: String,
}

/// Does what `nt license ...` asks for. `terminal` is whether standard output is a terminal: then the line to
/// paste has the new license in it, which a person sees anyway. Otherwise standard error may be a log.
///
/// # Errors
/// What went wrong and what to do; then nothing was changed.
pub fn license(command: &LicenseCommand, terminal: bool) -> Result<Output, String> {
    match command {
        LicenseCommand::Add(args) => add(args, terminal),
        LicenseCommand::List(args) => list(&open(args.state.as_ref())?),
        LicenseCommand::Show(args) => show(&open(args.state.as_ref())?, &args.name),
        LicenseCommand::Set(args) => {
            let settings = args.settings.iter().map(|word| setting(word)).collect::<Result<_, _>>()?;
            change(args.state.as_ref(), Edit::Set { name: args.name.clone(), settings }, terminal)
        }
        LicenseCommand::Rotate(args) => {
            let edit = Edit::Rotate { name: args.name.clone(), now: args.now };
            change(args.state.as_ref(), edit, terminal)
        }
        LicenseCommand::Revoke(args) => {
            change(args.state.as_ref(), Edit::Revoke { name: args.name.clone() }, terminal)
        }
        LicenseCommand::Remove(args) => {
            change(args.state.as_ref(), Edit::Remove { name: args.name.clone() }, terminal)
        }
    }
}

fn open(state: Option<&String>) -> Result<StateDir, String> {
    StateDir::open(state.map(Path::new))
}

/// Makes a change, and says so.
fn change(state: Option<&String>, edit: Edit, terminal: bool) -> Result<Output, String> {
    let state = open(state)?;
    let edited = match control::runs(&state) {
        true => changed_by_server(&state, &edit),
        false => state.edit(&edit, &new_license(), os::day_clock().today()),
    };
    let edited = edited.map_err(|trouble| {
        // As the flag that said so.
        let flag = trouble.setting.map(|setting| format!("--{}: ", setting.replace('_', "-")));
        flag.unwrap_or_default() + &trouble.what
    })?;
    let added = matches!(edit, Edit::Add { .. });
    Ok(match (edited.license, edited.entry) {
        (Some(license), Some(entry)) => {
            let place = || format!("License `{}` is in {}.", entry.name, state.path().display());
            let what = if added { place() } else { edited.what };
            handed_out(&state, &what, &license, &entry, terminal)
        }
        _ => said(&state, &edited.what),
    })
}

/// Has the running server make a change, after a look at what is wrong with it.
fn changed_by_server(state: &StateDir, edit: &Edit) -> Result<Edited, NotEdited> {
    let mut after = state.load_licenses()?;
    let edited = edit.apply(&mut after, &new_license(), os::day_clock().today())?;
    let (method, target, body) = api::request_of(edit);
    let answer = control::ask(state, method, &target, &body)?;
    let license = match answer["text"].as_str() {
        Some(text) => {
            Some(License::parse(text).map_err(|_| "the server's answer has no license in it".to_owned())?)
        }
        None => None,
    };
    let what = answer["message"].as_str().map_or(edited.what, str::to_owned);
    Ok(Edited { license, what, ..edited })
}

/// A word such as `rate=2M`.
fn setting(word: &str) -> Result<(&'static str, String), String> {
    let (name, text) = word.split_once('=').unwrap_or((word, ""));
    let known = SETTINGS.into_iter().find(|known| *known == name);
    match known {
        Some(known) if !text.is_empty() => Ok((known, text.to_owned())),
        Some(_) => Err(format!("{} has no value: write {name}=VALUE", quote(word))),
        None => {
            let all = SETTINGS.join(", ");
            Err(format!(
                "{} is no setting of a license ({all}){}",
                quote(name),
                did_you_mean(name, &SETTINGS)
            ))
        }
    }
}

/// Does what `nt map ...` asks for.
///
/// # Errors
/// What went wrong and what to do; then nothing was changed.
pub fn map(command: &MapCommand) -> Result<Output, String> {
    match command {
        MapCommand::Add(args) => {
            let edit = Edit::AddMap { name: args.name.clone(), mapping: args.mapping.clone() };
            change(args.state.as_ref(), edit, false)
        }
        MapCommand::Remove(args) => {
            let edit = Edit::RemoveMap { name: args.name.clone(), mapping: args.mapping.clone() };
            change(args.state.as_ref(), edit, false)
        }
        MapCommand::List(args) => {
            let directory = open(args.state.as_ref())?.load_licenses()?;
            let maps = directory.find(&args.name)?.maps.iter();
            let stdout = maps.map(|mapping| format!("{}\n", mapping.route())).collect();
            Ok(Output { stdout, stderr: String::new() })
        }
    }
}

/// What `nt status` shows.
///
/// # Errors
/// Neither a server runs nor a client, or none answers.
pub fn status(args: &StatusArgs) -> Result<String, String> {
    let clients = if args.state.is_some() { Vec::new() } else { clients::all() };
    let state = StateDir::existing(args.state.as_ref().map(Path::new));
    let server = match state.and_then(|state| seen(&state)) {
        Ok(server) => Some(server),
        Err(what) if clients.is_empty() => {
            let hint = if !os::HAS_UNIX_SOCKETS || os::disk::is_root() {
                ""
            } else {
                "; what runs as a service says to root alone how it is"
            };
            return Err(format!("{what}{hint}"));
        }
        Err(_) => None,
    };
    if args.json {
        let mut value = server.map_or_else(|| json!({}), |server| server.to_json());
        if !clients.is_empty() {
            value["clients"] = Value::Array(clients);
        }
        return Ok(format!("{value:#}\n"));
    }
    let texts = server.iter().map(Seen::to_text).chain(clients.iter().map(client_text));
    Ok(texts.collect::<Vec<_>>().join("\n"))
}

/// What a running server says of itself.
fn seen(state: &StateDir) -> Result<Seen, String> {
    let get = |what: &str| control::get(state, &format!("/api/v1/{what}"));
    Ok(Seen {
        status: get("status")?,
        licenses: get("licenses")?,
        sessions: get("sessions")?,
        mappings: get("mappings")?,
    })
}

/// Does what `nt check FILE` asks for: reads it as whatever it is, and says what that is.
///
/// # Errors
/// What is wrong with it, with the line.
pub fn check(args: &CheckArgs) -> Result<Output, String> {
    let text = read_source(Source::File(&args.file))?;
    let wrong = |error: crate::table::FileError| format!("{}, {error}", args.file);
    let named = Path::new(&args.file).file_name().is_some_and(|name| name == "licenses.toml");
    let what = if named || text.lines().any(|line| line.trim() == "[[license]]") {
        let directory = Directory::parse(&text).map_err(wrong)?;
        for entry in directory.iter() {
            edit::check(entry).map_err(|what| format!("{}: {what}", args.file))?;
        }
        match directory.len() {
            1 => "1 license".to_string(),
            count => format!("{count} licenses"),
        }
    } else {
        match config::parse_either(&text).map_err(wrong)? {
            Config::Server(config) => {
                config.served().map_err(|what| format!("{}: {what}", args.file))?;
                "the settings of a server".to_string()
            }
            Config::Client(config) => {
                for MapText(text) in &config.map {
                    let mapping = mapping::parse(text).map_err(|error| format!("{}: {error}", args.file))?;
                    let served = mapping.served();
                    served.map_err(|what| format!("{}: {what}", args.file))?;
                }
                "the settings of a client".to_string()
            }
        }
    };
    Ok(Output { stdout: format!("{} is good: {what}\n", args.file), stderr: String::new() })
}

/// What `nt version` says.
pub fn version() -> String {
    let environment = if cfg!(target_env = "musl") {
        "-musl"
    } else if cfg!(target_env = "gnu") {
        "-gnu"
    } else {
        ""
    };
    format!(
        "nt {}\n\
         target: {}-{}{environment}\n\
         TLS: 1.3, rustls with ring\n\
         serves: tcp, udp, http, https, tls, private; socks5, http-proxy, files\n\
         reads, but does not serve yet: the option check of mappings\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS,
    )
}

/// The text of a file, or what comes on standard input, up to [`SOURCE_BYTES_MAX`]: what the closures of
/// [`crate::cli`] ask for.
///
/// # Errors
/// A sentence that names the place.
pub fn read_source(source: Source<'_>) -> Result<String, String> {
    let mut bytes = Vec::new();
    let (place, read) = match source {
        Source::Stdin => {
            let read = std::io::stdin().lock().take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes);
            ("standard input", read)
        }
        Source::File(path) => {
            let read =
                File::open(path).and_then(|file| file.take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes));
            (path, read)
        }
    };
    let length = read.map_err(|error| format!("cannot read {}: {error}", quote(place)))?;
    if length as u64 > SOURCE_BYTES_MAX {
        return Err(format!("{} is longer than {SOURCE_BYTES_MAX} bytes", quote(place)));
    }
    String::from_utf8(bytes).map_err(|_| format!("{} is not text", quote(place)))
}

/// A license that nobody can guess.
pub fn new_license() -> License {
    let mut bytes = [0; LICENSE_BYTES];
    Entropy::from_os().fill(&mut bytes);
    License::from_random(bytes)
}

fn add(args: &LicenseAdd, terminal: bool) -> Result<Output, String> {
    let flags = [
        ("ports", &args.ports),
        ("hosts", &args.hosts),
        ("visit", &args.visit),
        ("visitors", &args.visitors),
        ("clients", &args.clients),
        ("max_mappings", &args.max_mappings),
        ("max_visitors", &args.max_visitors),
        ("rate", &args.rate),
        ("quota", &args.quota),
        ("quota_day", &args.quota_day),
        ("over_quota", &args.over_quota),
        ("connects", &args.connects),
        ("expires", &args.expires),
    ];
    let settings = flags.into_iter().filter_map(|(setting, text)| Some((setting, text.clone()?))).collect();
    let edit = Edit::Add { name: args.name.clone(), settings, maps: args.map.clone() };
    change(args.state.as_ref(), edit, terminal)
}

/// A new license, and how it is used.
fn handed_out(state: &StateDir, what: &str, license: &License, entry: &Entry, terminal: bool) -> Output {
    let text = license.text();
    let shown = if terminal { &text } else { "LICENSE" };
    let mapping = if entry.maps.is_empty() { " 8080" } else { "" };
    let mut output = said(state, what);
    output.stderr.push_str(
        "Keep the line below secret: it is the license, and it is not kept here.\n\
         On the machine behind NAT, with this server's name or address for HOST:\n",
    );
    // Writing to a string cannot fail.
    let _ = writeln!(output.stderr, "  nt -c {shown}@HOST{mapping}");
    let _ = writeln!(output.stdout, "{text}");
    output
}

/// Prose, and what a person should mend about the files.
fn said(state: &StateDir, what: &str) -> Output {
    let mut stderr = format!("{what}\n");
    for warning in state.warnings() {
        let _ = writeln!(stderr, "Warning: {warning}");
    }
    Output { stdout: String::new(), stderr }
}

fn list(state: &StateDir) -> Result<Output, String> {
    let directory = state.load_licenses()?;
    if directory.is_empty() {
        let what = format!(
            "There are no licenses in {}; `nt license add NAME` makes \
                one.",
            state.path().display()
        );
        return Ok(said(state, &what));
    }
    let held = Held::of(state);
    let mut rows = vec![["NAME", "STATE", "PORTS", "HOSTS", "MAPPINGS"].map(str::to_string)];
    rows.extend(directory.iter().map(|entry| {
        [
            entry.name.clone(),
            state_of(entry).to_owned() + &held.online(&entry.name),
            entry.ports.to_string(),
            entry.hosts.to_string(),
            entry.maps.len().to_string(),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut output = Output { stderr: held.warning(), ..Output::default() };
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        output.stdout.push_str(cells.join("  ").trim_end());
        output.stdout.push('\n');
    }
    Ok(output)
}

fn show(state: &StateDir, name: &str) -> Result<Output, String> {
    let directory = state.load_licenses()?;
    let entry = directory.find(name)?;
    let held = Held::of(state);
    let bound = |bound: Option<u32>| bound.map_or_else(|| "no bound".to_owned(), |bound| bound.to_string());
    let mut lines = vec![
        ("name", entry.name.clone()),
        ("id", entry.id.to_string()),
        ("state", state_of(entry).to_owned() + &held.online(name)),
        ("ports", entry.ports.to_string()),
        ("hosts", entry.hosts.to_string()),
        ("visits", entry.visits.to_string()),
        ("visitors from", entry.visitors.to_string()),
        ("clients at once", entry.clients.to_string()),
        ("mappings at most", bound(entry.max_mappings)),
        ("visitors at most", bound(entry.max_visitors)),
    ];
    let kept = state.load_counters().0;
    lines.extend(bounds(entry, held.counted(name).as_ref().or_else(|| kept.get(name))));
    // Behind the first comma may be a password.
    lines.extend(entry.map_texts.iter().map(|text| match text.split_once(',') {
        Some((route, _)) => ("maps", format!("{route},...")),
        None => ("maps", text.clone()),
    }));
    let mut output = Output { stderr: held.warning(), ..Output::default() };
    for (key, value) in lines {
        let _ = writeln!(output.stdout, "{key:<18}{value}");
    }
    Ok(output)
}

/// What a running server tells of the licenses that it holds; nothing where none runs that could be asked.
struct Held {
    status: Value,
    licenses: Value,
}

impl Held {
    fn of(state: &StateDir) -> Self {
        let told = |target| control::get(state, target).unwrap_or_default();
        Self { status: told("/api/v1/status"), licenses: told("/api/v1/licenses") }
    }

    fn license(&self, name: &str) -> Option<&Value> {
        self.licenses["licenses"].as_array()?.iter().find(|license| license["name"] == name)
    }

    /// Whether its clients are there, to be put behind what else is said of a license.
    fn online(&self, name: &str) -> String {
        match self.license(name).map(|license| license["clients_online"].as_u64().unwrap_or(0)) {
            None => String::new(),
            Some(0) => ", offline".to_owned(),
            Some(1) => ", online".to_owned(),
            Some(count) => format!(", {count} online"),
        }
    }

    /// What has passed, until now.
    fn counted(&self, name: &str) -> Option<Account> {
        let license = self.license(name)?;
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let total = Traffic { down: number(&license["down"]), up: number(&license["up"]) };
        Some(Account { total, month: number(&license["quota"]["used"]), ..Account::default() })
    }

    /// What is shown is not what holds.
    fn warning(&self) -> String {
        let trouble = self.status["licenses_trouble"].as_str();
        let says = |why| format!("Warning: the server goes on with the licenses of before: {why}\n");
        trouble.map_or_else(String::new, says)
    }
}

/// What is said of how much may pass, and has, where something is.
fn bounds(entry: &Entry, account: Option<&Account>) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if entry.rates != Rates::FREE {
        lines.push(("bytes a second", entry.rates.to_string()));
    }
    if let Some(Quota { bytes, day, beyond }) = entry.quota {
        let beyond = beyond.map_or_else(|| "nothing".to_owned(), |rates| format!("{rates} a second"));
        lines.push(("bytes a month", format!("{}, from day {day}; then {beyond}", show_bytes(bytes))));
        let used = account.map_or(0, |account| account.month);
        lines.push(("used of them", used.to_string()));
    }
    if let Some(pace) = entry.pace {
        lines.push(("visits of one", pace.to_string()));
    }
    if let Some(day) = entry.expires {
        lines.push(("good until", day.to_string()));
    }
    if let Some(account) = account {
        lines.push(("bytes down, up", format!("{}, {}", account.total.down, account.total.up)));
    }
    lines
}

fn state_of(entry: &Entry) -> &'static str {
    match () {
        () if entry.revoked => "revoked",
        () if entry.is_expired(os::day_clock().today()) => "expired",
        () if entry.old.is_some() => "rotated",
        () => "good",
    }
}
