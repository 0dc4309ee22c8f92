//! `nt install`: its own flags, and the command line that the service is to run.

use std::fmt;

use super::{ClientArgs, Command, Exit, ServeArgs, asks_for_help, help};
use crate::server_ref::ServerWord;
use crate::service::{System, check_name};

/// What a service is called where nothing else is said.
pub(super) const NAME: &str = "nt";

/// The words behind `nt install`.
#[derive(Debug)]
pub struct InstallArgs {
    /// What the service is called.
    pub name: String,
    /// Whether nothing is to be done.
    pub print: bool,
    /// Whether the manager is to open the server's ports.
    pub socket: bool,
    /// What manages services here, where it was said.
    pub system: Option<System>,
    /// The command line that the service runs, without the program, and without the word for the server.
    pub line: Line,
    /// What that command line means.
    pub runs: Runs,
}

/// What a service runs.
#[derive(Debug)]
pub enum Runs {
    /// `nt -s`.
    Server(ServeArgs),
    /// `nt -c`.
    Client(ClientArgs),
}

/// The words of a command line, the role first. `Debug` does not show them: there may be a password among them.
#[derive(Clone, PartialEq, Eq)]
pub struct Line(pub Vec<String>);

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({} words)", self.0.len())
    }
}

/// Reads `nt install`: its flags may stand anywhere before `--`.
pub(super) fn parse(words: &[&str], env_license: Option<String>) -> Result<InstallArgs, Exit> {
    if asks_for_help(words) {
        return Err(Exit::help(help::INSTALL));
    }
    let (mut name, mut print, mut socket, mut system) = (NAME.to_string(), false, false, None);
    let mut line: Vec<String> = Vec::new();
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| Exit::error(&format!("{word} needs a word behind it")));
        match word {
            "--name" => name = value()?.to_string(),
            "--print" => print = true,
            "--socket" => socket = true,
            "--system" => {
                let read = System::parse(value()?).map_err(|what| format!("--system: {what}"));
                system = Some(read.map_err(|what| Exit::error(&what))?);
            }
            "--" => {
                line.push(word.to_string());
                line.extend(words.by_ref().map(str::to_string));
            }
            _ => line.push(word.to_string()),
        }
    }
    check_name(&name).map_err(|what| Exit::error(&what))?;
    check_words(&line).map_err(|what| Exit::error(&what))?;
    let runs = match super::parse(&line, env_license)? {
        #[cfg(feature = "server")]
        Command::Serve(args) => Runs::Server(args),
        #[cfg(feature = "client")]
        Command::Client(args) => Runs::Client(args),
        _ => return Err(Exit::error(NO_ROLE)),
    };
    if let Runs::Client(ClientArgs { server: Some(server), .. }) = &runs {
        let is_server = |word: &String| {
            ServerWord::is_meant_by(word) && ServerWord::parse(word).is_ok_and(|read| read == *server)
        };
        // It may have come from the environment.
        if let Some(at) = line.iter().position(is_server) {
            line.remove(at);
        }
    }
    Ok(InstallArgs { name, print, socket, system, line: Line(line), runs })
}

const NO_ROLE: &str = "which command line should the service run? Write nt install -s ..., or nt install -c \
                       LICENSE@HOST ... (see `nt install --help`)";

/// What cannot be a word of any service.
fn check_words(line: &[String]) -> Result<(), String> {
    let role = line.first().map(String::as_str);
    if !matches!(role, Some("-s" | "--server" | "-c" | "--client")) {
        return Err(NO_ROLE.to_string());
    }
    // The files of services have lines, and no common way to write these.
    if line.iter().any(|word| word.chars().any(char::is_control)) {
        return Err(
            "a word with a line end or another control character cannot be put into a service".to_string()
        );
    }
    Ok(())
}
