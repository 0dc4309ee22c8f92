//! What a server's commands take.

use argh::{ArgsInfo, FromArgs};

use super::{parse_log, parse_memory};
use crate::cli::ServeArgs;
use crate::config::{ServerConfig, parse_listen};

/// Be the server.
#[derive(FromArgs, ArgsInfo)]
#[argh(help_triggers("-h", "--help"))]
pub(in crate::cli) struct ServeFlags {
    /// settings that the flags do not name
    #[argh(option)]
    config: Option<String>,
    /// the tunnel port under TLS
    #[argh(option)]
    listen: Option<String>,
    /// the unencrypted tunnel port
    #[argh(option)]
    plain: Option<String>,
    /// public names over HTTP
    #[argh(option)]
    http: Option<String>,
    /// public names over TLS
    #[argh(option)]
    https: Option<String>,
    /// where to ask how it goes
    #[argh(option)]
    admin: Option<String>,
    /// most memory for what is in transit
    #[argh(option)]
    memory: Option<String>,
    /// how the log is written
    #[argh(option)]
    log: Option<String>,
    /// the state directory
    #[argh(option)]
    state: Option<String>,
}

impl ServeFlags {
    pub(in crate::cli) fn settings(self) -> Result<ServeArgs, String> {
        let address = |flag: &str, text: Option<String>| {
            let read = |text: String| parse_listen(&text).map_err(|what| format!("--{flag}: {what}"));
            text.map(read).transpose()
        };
        let flags = ServerConfig {
            listen: address("listen", self.listen)?,
            plain: address("plain", self.plain)?,
            http: address("http", self.http)?,
            https: address("https", self.https)?,
            admin: address("admin", self.admin)?,
            memory: parse_memory(self.memory)?,
            log: parse_log(self.log)?,
            state: self.state.map(Into::into),
            ..ServerConfig::default()
        };
        flags.served().map_err(|what| what.replacen('`', "`--", 1))?;
        Ok(ServeArgs { config: self.config.map(Into::into), flags })
    }
}

/// Looks after the licenses of a server. It works whether the server runs or not, and a running
/// server honours every change at once.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "license",
    help_triggers("-h", "--help"),
    example = "nt license add nas\n\
               nt license add blog --ports none --hosts blog.example.com\n\
               nt license add cam --ports 8000-8099 --map 8000:192.168.1.7:80\n\
               nt license revoke nas",
    note = "The licenses are in licenses.toml in the state directory: --state, else $STATE_DIRECTORY,\n\
            else /var/lib/nt for root, else $XDG_STATE_HOME/nt, else ~/.local/state/nt."
)]
pub(in crate::cli) struct LicenseArgs {
    #[argh(subcommand)]
    pub(in crate::cli) command: LicenseCommand,
}

/// What to do with licenses.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand)]
#[allow(clippy::large_enum_variant, reason = "made once, from a command line")]
pub enum LicenseCommand {
    /// Makes one.
    Add(LicenseAdd),
    /// Shows all.
    List(LicenseList),
    /// Shows one.
    Show(LicenseShow),
    /// Gives one other settings.
    Set(LicenseSet),
    /// Has one refused.
    Revoke(LicenseRevoke),
    /// Puts a new one in the place of one.
    Rotate(LicenseRotate),
    /// Forgets one.
    Remove(LicenseRemove),
}

/// Makes a license and prints it, alone on the last line of standard output. It cannot be shown again.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "add",
    help_triggers("-h", "--help"),
    example = "nt license add nas\nnt license add web --ports 80,443,8000-8099 --max-visitors 200"
)]
pub struct LicenseAdd {
    /// what you call it: letters, digits, dots, underscores, hyphens
    #[argh(positional)]
    pub name: String,
    /// ports it may publish, such as 80,443,8000-8099, or none (1024-65535 when left out)
    #[argh(option)]
    pub ports: Option<String>,
    /// names it may publish, such as blog.example.com,*.dev.example.com (none when left out)
    #[argh(option)]
    pub hosts: Option<String>,
    /// private mappings of other licenses that it may visit, such as nas/ssh,box/* (none when left out)
    #[argh(option)]
    pub visit: Option<String>,
    /// networks that its visitors may come from, such as 10.0.0.0/8,fd00::/8, or none (any when left out)
    #[argh(option)]
    pub visitors: Option<String>,
    /// bytes a second of all its visitors together, such as 2M, or 10M/2M for to the client and from it
    #[argh(option)]
    pub rate: Option<String>,
    /// bytes a month, both ways, such as 100G
    #[argh(option)]
    pub quota: Option<String>,
    /// the day of the month on which the quota begins anew, 1 to 28 (1 when left out)
    #[argh(option)]
    pub quota_day: Option<String>,
    /// what passes when the quota is used up: stop (when left out), or a rate such as 64K
    #[argh(option)]
    pub over_quota: Option<String>,
    /// how often one address may visit, such as 30/10s; who comes more often is banned for a while
    #[argh(option)]
    pub connects: Option<String>,
    /// the last day on which it is good, such as 2027-01-31, or 30d for thirty days from now
    #[argh(option)]
    pub expires: Option<String>,
    /// a mapping that the server asks of the client; may come again
    #[argh(option)]
    pub map: Vec<String>,
    /// clients that serve it at once, between which its visitors are divided (1 when left out)
    #[argh(option)]
    pub clients: Option<String>,
    /// most mappings of a session
    #[argh(option)]
    pub max_mappings: Option<String>,
    /// most visitors at once
    #[argh(option)]
    pub max_visitors: Option<String>,
    /// the state directory
    #[argh(option)]
    pub state: Option<String>,
}

/// Shows all licenses.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "list", help_triggers("-h", "--help"))]
pub struct LicenseList {
    /// the state directory
    #[argh(option)]
    pub state: Option<String>,
}

/// Shows what a license may and does. The license itself is not kept and cannot be shown.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "show", help_triggers("-h", "--help"))]
pub struct LicenseShow {
    /// which license
    #[argh(positional)]
    pub name: String,
    /// the state directory
    #[argh(option)]
    pub state: Option<String>,
}

/// Gives a license other settings; what is not named stays.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "set",
    help_triggers("-h", "--help"),
    example = "nt license set nas rate=10M/2M quota=100G\nnt license set nas expires=none ports=80,443",
    note = "Settings are those of licenses.toml: ports, hosts, visit, visitors, clients, max_mappings, max_visitors,\n\
            rate, quota, quota_day, over_quota, connects, expires."
)]
pub struct LicenseSet {
    /// which license
    #[argh(positional)]
    pub name: String,
    /// SETTING=VALUE, or SETTING=none
    #[argh(positional, arg_name = "settings")]
    pub settings: Vec<String>,
    /// the state directory
    #[argh(option)]
    pub state: Option<String>,
}

/// Has a license refused from now on; its session ends. It stays known, so that its client is told why.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "revoke", help_triggers("-h", "--help"))]
pub struct LicenseRevoke {
    /// which license
    #[argh(positional)]
    pub name: String,
    /// the state directory
    #[argh(option)]
    pub state: Option<String>,
}

/// Makes a new license with the name and policy of an old one, and prints it as `nt license add` does. The old one is
/// good until the new one is used; --now stops it at once.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "rotate", help_triggers("-h", "--help"))]
pub struct LicenseRotate {
    /// which license
    #[argh(positional)]
    pub name: String,
    /// the old one leaked: stop it at once
    #[argh(switch)]
    pub now: bool,
    /// the state directory
    #[argh(option)]
    pub state: Option<String>,
}

/// Forgets a license; its session ends, and its client is then a stranger.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "remove", help_triggers("-h", "--help"))]
pub struct LicenseRemove {
    /// which license
    #[argh(positional)]
    pub name: String,
    /// the state directory
    #[argh(option)]
    pub state: Option<String>,
}

/// Changes the mappings that stand in a license: what the server asks of its client. It works whether the server runs
/// or not, and a running one honours every change at once.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "map",
    help_triggers("-h", "--help"),
    example = "nt map add nas 2222:22\nnt map list nas\nnt map remove nas 2222"
)]
pub(in crate::cli) struct MapArgs {
    #[argh(subcommand)]
    pub(in crate::cli) command: MapCommand,
}

/// What to do with the mappings of a license.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand)]
pub enum MapCommand {
    /// Adds one.
    Add(MapAdd),
    /// Takes one out.
    Remove(MapRemove),
    /// Shows all.
    List(MapList),
}

/// Adds a mapping to a license.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "add", help_triggers("-h", "--help"))]
pub struct MapAdd {
    /// the license's name
    #[argh(positional)]
    pub name: String,
    /// the mapping
    #[argh(positional)]
    pub mapping: String,
    /// the state directory
    #[argh(option)]
    pub state: Option<String>,
}

/// Takes a mapping out of a license.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "remove", help_triggers("-h", "--help"))]
pub struct MapRemove {
    /// the license's name
    #[argh(positional)]
    pub name: String,
    /// the mapping, or its public side: 2222, 53/udp, blog.example.com
    #[argh(positional)]
    pub mapping: String,
    /// the state directory
    #[argh(option)]
    pub state: Option<String>,
}

/// Shows the mappings of a license, without their options, which may have passwords in them.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "list", help_triggers("-h", "--help"))]
pub struct MapList {
    /// the license's name
    #[argh(positional)]
    pub name: String,
    /// the state directory
    #[argh(option)]
    pub state: Option<String>,
}

/// Shows what would change if FILE took the place of licenses.toml, a line for each difference, and what is wrong with
/// it: lines that cannot be read, ports that cannot be had. Nothing is changed. Exit 0 when it could be taken.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "plan",
    help_triggers("-h", "--help"),
    example = "nt plan /root/licenses.new\nnt plan",
    note = "Without FILE: what licenses.toml would change of what the running server holds."
)]
pub struct PlanArgs {
    /// the file
    #[argh(positional)]
    pub file: Option<String>,
    /// for programs
    #[argh(switch)]
    pub json: bool,
    /// the state directory
    #[argh(option)]
    pub state: Option<String>,
}

/// Has a running server look at its licenses and certificates now, and says what is wrong with them, with the line. By
/// itself it looks every two seconds. With FILE: that takes the place of licenses.toml, or is refused as a whole. What
/// was tried out with --confirm is confirmed by `nt reload` alone.
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "reload",
    help_triggers("-h", "--help"),
    example = "nt reload\nnt reload /root/licenses.new --confirm 60"
)]
pub struct ReloadArgs {
    /// licenses that are to take the place of licenses.toml
    #[argh(positional)]
    pub file: Option<String>,
    /// go back by itself after so many seconds, 5 to 3600, unless it is confirmed
    #[argh(option)]
    pub confirm: Option<String>,
    /// the state directory
    #[argh(option)]
    pub state: Option<String>,
}
