//! A service of the machine's own manager that runs nt: its file, and the commands that start and stop it.
//!
//! Nothing is done here: words go in, texts come out. What is right for a word in one of these formats is wrong in the
//! next, so each has its own way to quote, and every word goes through it.

mod launchd;
mod scripts;
mod systemd;

use std::net::SocketAddr;

use crate::text::{did_you_mean, quote};

/// What stands in the first two lines of a file that `nt install` wrote, and in no other.
pub const MARK: &str = "Written by `nt install`; `nt uninstall` removes it.";

/// Where license files are put, and state where nothing else outlives a restart.
const FOLDER: &str = "/etc/nt";

/// Open files that a service may have.
const OPEN_FILES: u32 = 65_536;

/// How long it is waited for one that was asked to stop, in seconds: visits may take 30 to end.
const STOP_SECS: u32 = 40;

/// Longest name of a service.
const NAME_BYTES_MAX: usize = 64;

/// A manager of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// systemd, from 247 on.
    Systemd,
    /// OpenRC, with its supervise-daemon.
    OpenRc,
    /// procd, of OpenWrt.
    Procd,
    /// launchd, of macOS.
    Launchd,
}

impl System {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Systemd, Self::OpenRc, Self::Procd, Self::Launchd];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::OpenRc => "openrc",
            Self::Procd => "procd",
            Self::Launchd => "launchd",
        }
    }

    /// Reads its word.
    ///
    /// # Errors
    /// A sentence that names all of them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::word);
        Self::ALL.into_iter().find(|system| system.word() == text).ok_or_else(|| {
            format!("{} is none of {}{}", quote(text), known.join(", "), did_you_mean(text, &known))
        })
    }

    /// The file that makes the service with this name known.
    pub fn file(self, name: &str) -> String {
        match self {
            Self::Systemd => format!("/etc/systemd/system/{name}.service"),
            Self::OpenRc | Self::Procd => format!("/etc/init.d/{name}"),
            Self::Launchd => format!("/Library/LaunchDaemons/{name}.plist"),
        }
    }

    /// The file's mode: scripts are run.
    pub fn mode(self) -> u32 {
        match self {
            Self::Systemd | Self::Launchd => 0o644,
            Self::OpenRc | Self::Procd => 0o755,
        }
    }

    /// The file that has its ports opened before it runs, where the manager does that.
    pub fn socket_file(self, name: &str) -> Option<String> {
        match self {
            Self::Systemd => Some(format!("/etc/systemd/system/{name}.socket")),
            Self::OpenRc | Self::Procd | Self::Launchd => None,
        }
    }

    /// What has the service run, now and at every boot, once its files are there; also where an older one runs.
    /// `socket`: its ports are opened before.
    pub fn start(self, name: &str, socket: bool) -> Vec<Act> {
        let init = self.file(name);
        match self {
            Self::Systemd if socket => {
                let (port, service) = (format!("{name}.socket"), format!("{name}.service"));
                vec![
                    Act::must(&["systemctl", "daemon-reload"]),
                    Act::must(&["systemctl", "enable", &port, &service]),
                    // Ports are not opened for a service that runs, and may have them itself.
                    Act::must(&["systemctl", "stop", &port, &service]),
                    Act::must(&["systemctl", "start", &port, &service]),
                ]
            }
            Self::Systemd => vec![
                Act::must(&["systemctl", "daemon-reload"]),
                Act::must(&["systemctl", "enable", name]),
                Act::must(&["systemctl", "restart", name]),
            ],
            Self::OpenRc => vec![
                Act::must(&["rc-update", "add", name, "default"]),
                Act::must(&["rc-service", name, "restart"]),
            ],
            Self::Procd => vec![Act::must(&[&init, "enable"]), Act::must(&[&init, "restart"])],
            Self::Launchd => vec![
                Act::may(&["launchctl", "bootout", &format!("system/{name}")]),
                Act::must(&["launchctl", "bootstrap", "system", &init]),
            ],
        }
    }

    /// What has systemd close the ports of a service that from now on opens them itself; that ends with them.
    pub fn close(self, name: &str) -> Vec<Act> {
        vec![Act::may(&["systemctl", "disable", "--now", &format!("{name}.socket")])]
    }

    /// What ends the service, now and for ever, while its files are still there.
    pub fn stop(self, name: &str, socket: bool) -> Vec<Act> {
        let init = self.file(name);
        match self {
            Self::Systemd if socket => {
                let (port, service) = (format!("{name}.socket"), format!("{name}.service"));
                vec![Act::may(&["systemctl", "disable", "--now", &port, &service])]
            }
            Self::Systemd => vec![Act::may(&["systemctl", "disable", "--now", name])],
            Self::OpenRc => {
                vec![Act::may(&["rc-service", name, "stop"]), Act::may(&["rc-update", "delete", name])]
            }
            Self::Procd => vec![Act::may(&[&init, "stop"]), Act::may(&[&init, "disable"])],
            Self::Launchd => vec![Act::may(&["launchctl", "bootout", &format!("system/{name}")])],
        }
    }

    /// What has the manager forget it, once its file is gone.
    pub fn forget(self) -> Vec<Act> {
        match self {
            Self::Systemd => vec![Act::may(&["systemctl", "daemon-reload"])],
            Self::OpenRc | Self::Procd | Self::Launchd => Vec::new(),
        }
    }

    /// Where a server keeps its state, if its command line does not say.
    pub fn state(self, name: &str) -> String {
        match self {
            // There, /var is memory.
            Self::Procd => format!("{FOLDER}/{name}.state"),
            Self::Systemd | Self::OpenRc | Self::Launchd => format!("/var/lib/{name}"),
        }
    }

    /// How its operator reads what the service logs.
    pub fn log(self, name: &str) -> String {
        match self {
            Self::Systemd => format!("journalctl -u {name}"),
            Self::OpenRc | Self::Launchd => format!("tail {}", log_file(name)),
            Self::Procd => "logread -e nt".to_owned(),
        }
    }

    /// The file that is its log, where the manager keeps none: at a server's first start a license comes into it.
    pub fn log_file(self, name: &str) -> Option<String> {
        match self {
            Self::Systemd | Self::Procd => None,
            Self::OpenRc | Self::Launchd => Some(log_file(name)),
        }
    }
}

/// Where what a service says goes, where no manager keeps it.
fn log_file(name: &str) -> String {
    format!("/var/log/{name}.log")
}

/// Where `nt install` puts a license that it was given as text.
pub fn license_file(name: &str) -> String {
    format!("{FOLDER}/{name}.license")
}

/// Checks the name of a service, which comes to be the name of a file.
///
/// # Errors
/// A sentence that quotes it.
pub fn check_name(name: &str) -> Result<(), String> {
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if letters && (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with('-') {
        return Ok(());
    }
    Err(format!(
        "--name: {} is not 1 to {NAME_BYTES_MAX} letters, digits, hyphens and underscores",
        quote(name)
    ))
}

/// A command to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// The program and its words.
    pub words: Vec<String>,
    /// Whether its failure is one of the whole.
    pub must: bool,
}

impl Act {
    fn must(words: &[&str]) -> Self {
        Self { words: words.iter().map(ToString::to_string).collect(), must: true }
    }

    fn may(words: &[&str]) -> Self {
        Self { must: false, ..Self::must(words) }
    }
}

/// A word of the command line that a service runs.
#[derive(Clone, PartialEq, Eq)]
pub enum Word {
    /// Itself.
    Plain(String),
    /// A file that is read at start, and that may be root's alone: a manager that can hand files to a program does so.
    File {
        /// What stands before the path.
        before: &'static str,
        /// The path.
        path: String,
        /// What the file is called when it is handed over.
        id: &'static str,
    },
}

impl Word {
    /// The word as a shell would hand it over.
    fn text(&self) -> String {
        match self {
            Self::Plain(text) => text.clone(),
            Self::File { before, path, .. } => format!("{before}{path}"),
        }
    }
}

/// Which end of the tunnel it is, and what it needs of the machine for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// `nt -s`.
    Server {
        /// Where its state is, if its command line says.
        state: Option<String>,
        /// Files of others that it reads again while it runs: certificates and their keys.
        certificates: Vec<String>,
        /// Addresses at which systemd listens for it; none where nobody wished that.
        sockets: Vec<SocketAddr>,
    },
    /// `nt -c`.
    Client {
        /// Sockets and folders that visitors are taken to.
        paths: Vec<String>,
        /// Sockets and folders may be named by the server, too.
        offered: bool,
        /// It listens below port 1024.
        low_ports: bool,
    },
}

/// A service, whatever manages it.
pub struct Service {
    /// What it is called.
    pub name: String,
    /// The path of nt.
    pub program: String,
    /// What it is run with.
    pub words: Vec<Word>,
    /// Which end it is.
    pub end: End,
}

impl Service {
    /// The text of [`System::file`].
    pub fn text(&self, system: System) -> String {
        match system {
            System::Systemd => systemd::unit(self),
            System::OpenRc => scripts::openrc(self),
            System::Procd => scripts::procd(self),
            System::Launchd => launchd::plist(self),
        }
    }

    /// The text of [`System::socket_file`], where its ports are to be opened before it runs.
    pub fn socket_text(&self) -> Option<String> {
        match &self.end {
            End::Server { sockets, .. } if !sockets.is_empty() => {
                Some(systemd::socket_unit(&self.name, sockets))
            }
            End::Server { .. } | End::Client { .. } => None,
        }
    }

    /// Where its state is; a client has none.
    pub fn state(&self, system: System) -> Option<String> {
        match &self.end {
            End::Server { state, .. } => Some(state.clone().unwrap_or_else(|| system.state(&self.name))),
            End::Client { .. } => None,
        }
    }

    /// What its operator should know about it, where that manager runs it.
    pub fn warnings(&self, system: System) -> Vec<String> {
        let mut warnings = Vec::new();
        if is_below(&self.program, &["/home", "/root", "/tmp", "/var/tmp", "/Users"]) {
            warnings.push(format!(
                "the service runs {}, which is in a folder of a person or of temporary files: better copy nt to \
                 /usr/local/bin, and install the service from there",
                self.program
            ));
        }
        if self.words.iter().any(|word| shows_password(&word.text())) {
            warnings.push(
                "everybody on this machine can read the password on this command line: better put it into a file, mode \
                 600, and name that by --config"
                    .to_owned(),
            );
        }
        let End::Client { paths, .. } = &self.end else { return warnings };
        for path in paths.iter().filter(|path| system == System::Systemd && is_below(path, TEMPORARY)) {
            warnings
                .push(format!("{path} is not there for the service, which has a /tmp of its own: move it"));
        }
        warnings
    }

    fn title(&self) -> &'static str {
        match self.end {
            End::Server { .. } => "nt, the server of a tunnel",
            End::Client { .. } => "nt, the client of a tunnel",
        }
    }
}

const TEMPORARY: &[&str] = &["/tmp", "/var/tmp"];
const OF_PEOPLE: &[&str] = &["/home", "/root", "/run/user"];

/// Whether a service may not see what is there, whatever its mode.
pub fn is_hidden(path: &str) -> bool {
    is_below(path, TEMPORARY) || is_below(path, OF_PEOPLE)
}

fn is_below(path: &str, folders: &[&str]) -> bool {
    let below =
        |folder| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    folders.iter().any(below)
}

/// Whether a word has a password in it: an option of a mapping, or a login at a proxy.
fn shows_password(word: &str) -> bool {
    let login = word.split_once("://").is_some_and(|(_, rest)| rest.contains('@'));
    login || word.contains(",auth=")
}
