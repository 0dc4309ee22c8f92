//! The flags and subcommands, as argh reads them. Every value is a string here: what is wrong with one is
//! said in nt's words, not in argh's.

#[cfg(feature = "server")]
mod server;

use argh::{ArgsInfo, FromArgs};

use crate::note::Format;
use crate::text::{parse_bytes, quote};
#[cfg(feature = "server")]
pub use server::{
    LicenseAdd, LicenseCommand, LicenseList, LicenseRemove, LicenseRevoke, LicenseRotate, LicenseSet,
    LicenseShow, MapAdd, MapCommand, MapList, MapRemove, PlanArgs, ReloadArgs,
};
#[cfg(feature = "server")]
pub(super) use server::{LicenseArgs, MapArgs, ServeFlags};

/// Every first word but the two roles.
pub(super) const COMMANDS: [&str; 12] = [
    "license",
    "map",
    "status",
    "plan",
    "reload",
    "check",
    "doctor",
    "bench",
    "demo",
    "install",
    "uninstall",
    "version",
];

pub(super) const LICENSE_COMMANDS: [&str; 7] = ["add", "list", "show", "set", "revoke", "rotate", "remove"];

/// Every flag, for what a mistyped one may have been.
pub(super) const FLAGS: [&str; 30] = [
    "--config",
    "--listen",
    "--plain",
    "--http",
    "--https",
    "--admin",
    "--state",
    "--allow",
    "--visit",
    "--via",
    "--ca",
    "--ports",
    "--hosts",
    "--visitors",
    "--map",
    "--max-mappings",
    "--max-visitors",
    "--memory",
    "--confirm",
    "--json",
    "--log",
    "--once",
    "--seconds",
    "--streams",
    "--name",
    "--print",
    "--system",
    "--socket",
    "--version",
    "--help",
];

/// What `--memory` says.
pub(super) fn parse_memory(text: Option<String>) -> Result<Option<u64>, String> {
    let read = |text: String| parse_bytes(&text).map_err(|what| format!("--memory: {} {what}", quote(&text)));
    text.map(read).transpose()
}

/// What `--log` says.
pub(super) fn parse_log(text: Option<String>) -> Result<Option<Format>, String> {
    text.map(|text| Format::parse(&text).map_err(|what| format!("--log: {what}"))).transpose()
}

/// Be a client.
#[cfg(feature = "client")]
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help"))]
pub(super) struct ClientFlags {
    /// the server and mappings
    #[argh(positional)]
    pub(super) words: Vec<String>,
    /// go to the unencrypted port
    #[argh(switch)]
    pub(super) plain: bool,
    /// most memory for what is in transit
    #[argh(option)]
    pub(super) memory: Option<String>,
    /// how the log is written
    #[argh(option)]
    pub(super) log: Option<String>,
    /// the proxy to go through
    #[argh(option)]
    pub(super) via: Option<String>,
    /// a private mapping to visit; may come again
    #[argh(option)]
    pub(super) visit: Vec<String>,
    /// which targets the server may choose
    #[argh(option)]
    pub(super) allow: Option<String>,
    /// settings that the flags do not name
    #[argh(option)]
    pub(super) config: Option<String>,
    /// roots for the server's certificate
    #[argh(option)]
    pub(super) ca: Option<String>,
}

/// nt publishes services that live behind NAT.
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help"))]
pub(super) struct Top {
    #[argh(subcommand)]
    pub(super) word: Word,
}

#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand)]
#[allow(clippy::large_enum_variant, reason = "made once, from a command line")]
pub(super) enum Word {
    #[cfg(feature = "server")]
    License(LicenseArgs),
    #[cfg(feature = "server")]
    Map(MapArgs),
    #[cfg(feature = "admin")]
    Status(StatusArgs),
    #[cfg(feature = "server")]
    Plan(PlanArgs),
    #[cfg(feature = "server")]
    Reload(ReloadArgs),
    #[cfg(feature = "config")]
    Check(CheckArgs),
    #[cfg(feature = "demo")]
    Demo(DemoArgs),
    #[cfg(feature = "install")]
    Uninstall(UninstallArgs),
    Version(VersionArgs),
}

/// Says how what runs on this machine is: a server, its clients, their mappings and what has passed; a client and its
/// mappings. In a terminal it goes on until Ctrl-C.
#[cfg(feature = "admin")]
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "status", help_triggers("-h", "--help"))]
pub struct StatusArgs {
    /// for programs
    #[argh(switch)]
    pub json: bool,
    /// the state directory of the one server that is meant
    #[argh(option)]
    pub state: Option<String>,
}

/// Reads nt.toml or licenses.toml and says what is wrong with it, with the line. Exit 0 when it is good.
#[cfg(feature = "config")]
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "check",
    help_triggers("-h", "--help"),
    example = "nt check /etc/nt/nt.toml\nnt check /var/lib/nt/licenses.toml"
)]
pub struct CheckArgs {
    /// the file
    #[argh(positional)]
    pub file: String,
}

/// Runs a server, a client and a small service on this machine, to see a tunnel work.
#[cfg(feature = "demo")]
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "demo", help_triggers("-h", "--help"))]
pub struct DemoArgs {
    /// visit it once, say whether that worked, and end
    #[argh(switch)]
    pub once: bool,
}

/// Stops a service that `nt install` made, and removes it. The server's state and license files are kept.
#[cfg(feature = "install")]
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "uninstall", help_triggers("-h", "--help"))]
pub struct UninstallArgs {
    /// what the service is called (nt when left out)
    #[argh(option, default = "super::install::NAME.to_string()")]
    pub name: String,
}

/// Says which version this is and what is in it.
#[derive(FromArgs, ArgsInfo)]
#[argh(subcommand, name = "version", help_triggers("-h", "--help"))]
pub(super) struct VersionArgs {}
