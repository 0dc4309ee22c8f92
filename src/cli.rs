//! The command line: from words to a command, or to what is said instead.
//!
//! The two roles are flags (`-s`, `-c`), everything else is a subcommand; which of the two a line is
//! shows in its first word. Nothing here reads a file: what refers to one says so ([`ServerWord`],
//! `--config`), and [`ClientArgs::settle`] and [`ServeArgs::settle`] take a closure that reads.

mod flags;
mod help;
#[cfg(feature = "install")]
mod install;
#[cfg(feature = "full")]
pub mod pages;
#[cfg(feature = "doctor")]
mod trial;

use std::path::PathBuf;

use crate::config::{self, Ca, ClientConfig, MapText, ServerConfig};
use crate::features;
use crate::mapping::{self, Mapping, Visiting};
use crate::note::Format;
use crate::policy::Allow;
use crate::role::ClientSettings;
use crate::server_ref::{ServerRef, ServerWord, Source};
use crate::text::{did_you_mean, hide_secrets, quote};
use crate::via::Via;

#[cfg(feature = "config")]
pub use flags::CheckArgs;
#[cfg(feature = "demo")]
pub use flags::DemoArgs;
#[cfg(feature = "admin")]
pub use flags::StatusArgs;
#[cfg(feature = "install")]
pub use flags::UninstallArgs;
#[cfg(feature = "server")]
pub use flags::{
    LicenseAdd, LicenseCommand, LicenseList, LicenseRemove, LicenseRevoke, LicenseRotate, LicenseSet,
    LicenseShow, MapAdd, MapCommand, MapList, MapRemove, PlanArgs, ReloadArgs,
};
#[cfg(feature = "install")]
pub use install::{InstallArgs, Line, Runs};
#[cfg(feature = "doctor")]
pub use trial::{BenchArgs, DoctorArgs, Examined};

/// What the words on the command line ask for.
#[derive(Debug)]
pub enum Command {
    /// `nt -s`: be the server.
    #[cfg(feature = "server")]
    Serve(ServeArgs),
    /// `nt -c`: be a client.
    #[cfg(feature = "client")]
    Client(ClientArgs),
    /// `nt license ...`: look after the licenses of a server.
    #[cfg(feature = "server")]
    License(LicenseCommand),
    /// `nt map ...`: look after the mappings that stand in a license.
    #[cfg(feature = "server")]
    Map(MapCommand),
    /// `nt plan`: what other licenses would change.
    #[cfg(feature = "server")]
    Plan(PlanArgs),
    /// `nt reload`: have a running server look at its files, or take others.
    #[cfg(feature = "server")]
    Reload(ReloadArgs),
    /// `nt status`: say how a running server is.
    #[cfg(feature = "admin")]
    Status(StatusArgs),
    /// `nt check FILE`: read a file of settings or licenses and say what is wrong with it.
    #[cfg(feature = "config")]
    Check(CheckArgs),
    /// `nt doctor`: say why a tunnel does not work.
    #[cfg(feature = "doctor")]
    Doctor(Box<DoctorArgs>),
    /// `nt bench`: say how much passes through one.
    #[cfg(feature = "doctor")]
    Bench(Box<BenchArgs>),
    /// `nt demo`: a server, a client and a service in one place.
    #[cfg(feature = "demo")]
    Demo(DemoArgs),
    /// `nt install`: have this machine run it at every boot.
    #[cfg(feature = "install")]
    Install(Box<InstallArgs>),
    /// `nt uninstall`: and no longer.
    #[cfg(feature = "install")]
    Uninstall(UninstallArgs),
    /// `nt version`.
    Version,
}

/// Why nt ends before it begins: help that was asked for, or what is wrong with the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// What to print, with a line end: on standard output when `code` is 0, else on standard error.
    pub text: String,
    /// The exit code: 0 or 1.
    pub code: i32,
}

impl Exit {
    fn help(text: &str) -> Self {
        Self { text: text.to_string(), code: 0 }
    }

    fn error(what: &str) -> Self {
        Self { text: format!("nt: {}\n", what.trim_end()), code: 1 }
    }
}

/// The words behind `nt -s`.
#[derive(Clone, Debug)]
pub struct ServeArgs {
    /// Where the settings are that the flags do not name.
    pub config: Option<PathBuf>,
    /// The flags.
    pub flags: ServerConfig,
}

impl ServeArgs {
    /// The settings of the file and the flags together; `read` gives the text of the file.
    ///
    /// # Errors
    /// What `read` says, what is wrong with the file, or what this version does not serve.
    pub fn settle(
        self,
        read: &mut dyn FnMut(Source<'_>) -> Result<String, String>,
    ) -> Result<ServerConfig, String> {
        let file = read_config(self.config.as_ref(), read, config::parse_server)?.unwrap_or_default();
        let settings = self.flags.over(file);
        settings.served()?;
        Ok(settings)
    }

    /// The same once more, while a server runs that was started with `first`.
    ///
    /// # Errors
    /// What is wrong with the file, or what of it counts only when the server is started again.
    pub fn again(
        &self,
        first: &ServerConfig,
        read: &mut dyn FnMut(Source<'_>) -> Result<String, String>,
    ) -> Result<ServerConfig, String> {
        let settings = self.clone().settle(read)?;
        match settings.counts_at_start(first) {
            None => Ok(settings),
            Some(setting) => {
                let place = self.place_of(setting, read);
                Err(format!("{place} has changed, and counts when nt is started again"))
            }
        }
    }

    /// Where a setting stands that has changed: what flags say cannot.
    pub fn place_of(
        &self,
        setting: &str,
        read: &mut dyn FnMut(Source<'_>) -> Result<String, String>,
    ) -> String {
        let Some(path) = &self.config else { return format!("`{setting}`") };
        let shown = path.display().to_string();
        let line = read(Source::File(&shown)).ok().and_then(|text| config::line_of(&text, setting));
        line.map_or_else(
            || format!("{shown}: `{setting}`"),
            |line| format!("{shown}, line {line}: `{setting}`"),
        )
    }
}

/// The words behind `nt -c`.
#[derive(Clone, Debug)]
pub struct ClientArgs {
    /// The server and license; `None` when they should be in the file.
    pub server: Option<ServerWord>,
    /// The mappings, each one checked.
    pub maps: Vec<MapText>,
    /// Whether to go to the unencrypted port.
    pub plain: bool,
    /// The proxy that the server is reached through.
    pub via: Option<Via>,
    /// Private mappings of other clients that are visited.
    pub visits: Vec<Visiting>,
    /// Which targets the server may choose.
    pub allow: Option<Allow>,
    /// Where the settings are that the flags do not name.
    pub config: Option<PathBuf>,
    /// By which roots to check the server's certificate.
    pub ca: Option<Ca>,
    /// Most memory for what is in transit, in bytes.
    pub memory: Option<u64>,
    /// How the log is written.
    pub log: Option<Format>,
}

/// What a client is to do, once every file that it refers to has been read.
#[derive(Debug)]
pub struct ClientPlan {
    /// The server and license.
    pub server: ServerRef,
    /// The client's own mappings, ranges expanded: first the file's, then those of the command line.
    pub maps: Vec<Mapping>,
    /// Whether to go to the unencrypted port.
    pub plain: bool,
    /// The proxy that the server is reached through.
    pub via: Option<Via>,
    /// Private mappings of other clients that are visited.
    pub visits: Vec<Visiting>,
    /// Which targets the server may choose.
    pub allow: Allow,
    /// By which roots to check the server's certificate.
    pub ca: Option<Ca>,
    /// Most visitors at once.
    pub visitors: Option<u32>,
    /// Most memory for what is in transit, in bytes.
    pub memory: Option<u64>,
    /// How the log is written.
    pub log: Format,
}

/// Most mappings that a client may declare, ranges expanded.
pub const CLIENT_MAPPINGS_MAX: usize = 1024;

impl ClientArgs {
    /// The settings of the file and the flags together; `read` gives the text of a file or of standard input.
    ///
    /// # Errors
    /// What `read` says, what is wrong with the file, the license or the mappings together, or what
    /// this version does not serve.
    pub fn settle(
        self,
        read: &mut dyn FnMut(Source<'_>) -> Result<String, String>,
    ) -> Result<ClientPlan, String> {
        let file: ClientConfig =
            read_config(self.config.as_ref(), read, config::parse_client)?.unwrap_or_default();
        let word =
            self.server.clone().or_else(|| file.server.clone()).ok_or_else(|| help::NO_SERVER.to_string())?;
        let server = word.resolve(read)?;
        let ClientSettings { mappings: maps, allow } = self.changeable(&file)?;
        let plain = self.plain || file.plain.unwrap_or(false);
        let (via, ca) = (self.via.or(file.via), self.ca.or(file.ca));
        let visits = file.visit.into_iter().chain(self.visits).collect();
        let log = self.log.or(file.log).unwrap_or_default();
        let (visitors, memory) = (file.visitors, self.memory.or(file.memory));
        Ok(ClientPlan { server, maps, visits, plain, via, allow, ca, visitors, memory, log })
    }

    /// What of the file's settings and of the words may change while the client runs.
    fn changeable(&self, file: &ClientConfig) -> Result<ClientSettings, String> {
        let mut mappings: Vec<Mapping> = Vec::new();
        for MapText(text) in file.map.iter().chain(&self.maps) {
            let mapping = mapping::parse(text).map_err(|error| error.to_string())?;
            mapping.served()?;
            if let Some(twice) = mappings.iter().find_map(|other| other.collision(&mapping)) {
                return Err(format!("{} is mapped twice", quote(&twice.to_string())));
            }
            mappings.push(mapping);
        }
        if mappings.iter().map(|mapping| usize::from(mapping.count())).sum::<usize>() > CLIENT_MAPPINGS_MAX {
            return Err(format!("a client has at most {CLIENT_MAPPINGS_MAX} mappings, or ports of them"));
        }
        let allow = self.allow.as_ref().or(file.allow.as_ref()).cloned().unwrap_or_default();
        Ok(ClientSettings { mappings, allow })
    }

    /// The same once more, of a file that may be another one since it was read as `first`.
    ///
    /// # Errors
    /// What is wrong with it, or what of it cannot change while the client runs.
    pub fn again(
        &self,
        first: &ClientConfig,
        read: &mut dyn FnMut(Source<'_>) -> Result<String, String>,
    ) -> Result<ClientSettings, String> {
        let file = self.read_file(read)?;
        let fixed = |file: &ClientConfig| ClientConfig { map: Vec::new(), allow: None, ..file.clone() };
        if fixed(&file) != fixed(first) {
            let place = self.config.as_ref().map_or_else(String::new, |path| format!("{}: ", path.display()));
            return Err(format!(
                "{place}something else than `map` and `allow` has changed, which counts when nt is started again"
            ));
        }
        self.changeable(&file)
    }

    /// The settings that stand in a file.
    ///
    /// # Errors
    /// What `read` says, or what is wrong with the file.
    pub fn read_file(
        &self,
        read: &mut dyn FnMut(Source<'_>) -> Result<String, String>,
    ) -> Result<ClientConfig, String> {
        Ok(read_config(self.config.as_ref(), read, config::parse_client)?.unwrap_or_default())
    }
}

/// What the words ask for: `args` without the program's name, `env_license` from `NT_LICENSE`.
///
/// # Errors
/// What to print and the code to exit with. No license is repeated in it.
#[cfg_attr(
    not(any(feature = "client", feature = "install")),
    expect(unused_variables, reason = "it is a client's")
)]
pub fn parse(args: &[String], env_license: Option<String>) -> Result<Command, Exit> {
    let args = split_equals(args);
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some((&first, rest)) = words.split_first() else {
        return Err(Exit { text: help::top(), code: 1 });
    };
    match first {
        #[cfg(feature = "server")]
        "-s" | "--server" => parse_serve(rest).map(Command::Serve),
        #[cfg(feature = "client")]
        "-c" | "--client" => parse_client(rest, env_license).map(Command::Client),
        #[cfg(feature = "install")]
        "install" => install::parse(rest, env_license).map(|args| Command::Install(Box::new(args))),
        #[cfg(feature = "doctor")]
        "doctor" => trial::doctor(rest, env_license).map(|args| Command::Doctor(Box::new(args))),
        #[cfg(feature = "doctor")]
        "bench" => trial::bench(rest, env_license).map(|args| Command::Bench(Box::new(args))),
        "-h" | "--help" => Err(Exit::help(&help::top())),
        "-V" | "--version" => Ok(Command::Version),
        // `nt help license` is `nt license --help`.
        "help" => match rest.split_first() {
            Some((&command, _)) => parse(&[command.to_string(), "--help".to_string()], None),
            None => Err(Exit::help(&help::top())),
        },
        _ => match left_out(first) {
            Some(what) => Err(Exit::error(&what)),
            None => parse_command(first, &words),
        },
    }
}

/// Why a first word means nothing to this build, though another has it.
fn left_out(first: &str) -> Option<String> {
    let feature = match first {
        "-s" | "--server" | "license" | "map" | "plan" | "reload" => "server",
        "-c" | "--client" => "client",
        "status" => "admin",
        "check" => "config",
        "install" | "uninstall" => "install",
        "doctor" | "bench" => "doctor",
        "demo" => "demo",
        _ => return None,
    };
    features::need(feature, &format!("`nt {first}`")).err()
}

#[cfg(feature = "server")]
fn parse_serve(words: &[&str]) -> Result<ServeArgs, Exit> {
    if asks_for_help(words) {
        return Err(Exit::help(help::SERVE));
    }
    let flags: flags::ServeFlags = by_argh(&["nt", "-s"], words)?;
    flags.settings().map_err(|what| Exit::error(&what))
}

#[cfg(feature = "client")]
fn parse_client(words: &[&str], env_license: Option<String>) -> Result<ClientArgs, Exit> {
    if asks_for_help(words) {
        return Err(Exit::help(help::CLIENT));
    }
    // To argh a lone hyphen is a flag that it does not know.
    let words: Vec<&str> = words.iter().map(|&word| if word == "-" { "@-" } else { word }).collect();
    let flags: flags::ClientFlags = by_argh(&["nt", "-c"], &words)?;
    client_args(flags, env_license).map_err(|what| Exit::error(&what))
}

#[cfg(feature = "client")]
fn client_args(flags: flags::ClientFlags, env_license: Option<String>) -> Result<ClientArgs, String> {
    let mut words = flags.words.as_slice();
    let env_license = env_license.filter(|text| !text.trim().is_empty());
    // Without another place for the server, the first word has to be it, whatever it looks like.
    let elsewhere = env_license.is_some() || flags.config.is_some();
    let server = match words.split_first() {
        Some((first, rest)) if ServerWord::is_meant_by(first) || !elsewhere => {
            words = rest;
            Some(ServerWord::parse(first).map_err(|what| no_server(first, &what))?)
        }
        _ => match env_license {
            Some(text) => {
                Some(ServerWord::parse(text.trim()).map_err(|what| format!("in NT_LICENSE: {what}"))?)
            }
            None if flags.config.is_none() => return Err(help::NO_SERVER.to_string()),
            None => None,
        },
    };
    let checked = |text: &String| {
        if ServerWord::is_meant_by(text) {
            return Err("LICENSE@HOST comes once, before the mappings".to_string());
        }
        mapping::parse(text).map_err(|error| error.to_string())?;
        Ok(MapText(text.clone()))
    };
    Ok(ClientArgs {
        server,
        maps: words.iter().map(checked).collect::<Result<_, String>>()?,
        plain: flags.plain,
        via: flags.via.as_deref().map(Via::parse).transpose()?,
        visits: flags.visit.iter().map(|text| Visiting::parse(text)).collect::<Result<_, _>>()?,
        allow: flags.allow.as_deref().map(Allow::parse).transpose()?,
        config: flags.config.map(PathBuf::from),
        ca: flags.ca.as_deref().map(Ca::parse).transpose()?,
        memory: flags::parse_memory(flags.memory)?,
        log: flags::parse_log(flags.log)?,
    })
}

/// Why the first word behind `-c` is no server, and what may have been meant.
#[cfg(feature = "client")]
fn no_server(word: &str, what: &str) -> String {
    match mapping::parse(word) {
        Ok(_) => format!(
            "{} is a mapping; before it goes LICENSE@HOST (or set \
            NT_LICENSE)",
            route_of(word)
        ),
        Err(_) if ServerWord::is_meant_by(word) => what.to_string(),
        // Not even quoted: it may be a license that lost its beginning.
        Err(_) => format!("{what} (see `nt -c --help`)"),
    }
}

fn parse_command(first: &str, words: &[&str]) -> Result<Command, Exit> {
    use flags::Word;
    if !flags::COMMANDS.contains(&first) {
        return Err(Exit::error(&no_command(first)));
    }
    let top: flags::Top = by_argh(&["nt"], words)?;
    match top.word {
        #[cfg(feature = "server")]
        Word::License(license) => Ok(Command::License(license.command)),
        #[cfg(feature = "config")]
        Word::Check(check) => Ok(Command::Check(check)),
        #[cfg(feature = "demo")]
        Word::Demo(demo) => Ok(Command::Demo(demo)),
        #[cfg(feature = "install")]
        Word::Uninstall(args) => Ok(Command::Uninstall(args)),
        Word::Version(_) => Ok(Command::Version),
        #[cfg(feature = "server")]
        Word::Map(map) => Ok(Command::Map(map.command)),
        #[cfg(feature = "admin")]
        Word::Status(status) => Ok(Command::Status(status)),
        #[cfg(feature = "server")]
        Word::Plan(plan) => Ok(Command::Plan(plan)),
        #[cfg(feature = "server")]
        Word::Reload(reload) => Ok(Command::Reload(reload)),
    }
}

fn no_command(word: &str) -> String {
    if ServerWord::is_meant_by(word) {
        return "the license comes behind -c: nt -c LICENSE@HOST [MAPPING...]".to_string();
    }
    if mapping::parse(word).is_ok() {
        return format!(
            "{} is a mapping; it comes behind a server: nt -c LICENSE@HOST [MAPPING...]",
            route_of(word)
        );
    }
    let what = match word.starts_with('-') {
        true => format!("begin with -s (server), -c (client) or a command, not with {}", quote(word)),
        false => format!("there is no command {}{}", quote(word), did_you_mean(word, &flags::COMMANDS)),
    };
    format!("{what}\nSee `nt --help`.")
}

/// A mapping as it may be shown: behind the first comma may be a password.
fn route_of(word: &str) -> String {
    quote(word.split(',').next().unwrap_or_default())
}

/// What argh makes of the words; its errors in nt's words, and without licenses.
fn by_argh<T: argh::FromArgs>(command: &[&str], words: &[&str]) -> Result<T, Exit> {
    T::from_args(command, words).map_err(|early| match early.status {
        Ok(()) => Exit::help(&early.output),
        Err(()) => {
            let output = hide_secrets(early.output.trim());
            let what = match output.strip_prefix("Unrecognized argument: ") {
                Some(word) => {
                    let license = words.first() == Some(&"license");
                    let meant = match word.starts_with('-') {
                        true => did_you_mean(word, &flags::FLAGS),
                        false if license => did_you_mean(word, &flags::LICENSE_COMMANDS),
                        false => String::new(),
                    };
                    format!("{} is not known here{meant}", quote(word))
                }
                None => output,
            };
            Exit::error(&format!("{what}\nSee `{} --help`.", shown_command(command, words)))
        }
    })
}

/// The command as far as it is made of known words, for a pointer to its help.
fn shown_command(command: &[&str], words: &[&str]) -> String {
    let known = words
        .iter()
        .take_while(|word| flags::COMMANDS.contains(word) || flags::LICENSE_COMMANDS.contains(word));
    command.iter().chain(known).copied().collect::<Vec<_>>().join(" ")
}

fn asks_for_help(words: &[&str]) -> bool {
    let flags = words.iter().take_while(|word| **word != "--");
    flags.into_iter().any(|word| matches!(*word, "-h" | "--help" | "help"))
}

/// `--flag=value` as two words, which is how argh wants it.
fn split_equals(args: &[String]) -> Vec<String> {
    let mut words = Vec::with_capacity(args.len());
    let mut open = true;
    for arg in args {
        open &= arg != "--";
        match arg.split_once('=') {
            Some((flag, value)) if open && flag.starts_with("--") => {
                words.extend([flag.to_string(), value.to_string()]);
            }
            _ => words.push(arg.clone()),
        }
    }
    words
}

fn read_config<T>(
    path: Option<&PathBuf>,
    read: &mut dyn FnMut(Source<'_>) -> Result<String, String>,
    parse: impl Fn(&str) -> Result<T, crate::table::FileError>,
) -> Result<Option<T>, String> {
    let Some(path) = path else {
        return Ok(None);
    };
    let shown = path.display().to_string();
    let text = read(Source::File(&shown))?;
    parse(&text).map(Some).map_err(|error| format!("{shown}, {error}"))
}
