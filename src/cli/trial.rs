//! `nt doctor` and `nt bench`: the words of `nt -c`, and a few of their own.

use std::path::PathBuf;

use super::{ClientArgs, Exit, asks_for_help, help, parse_client};
use crate::limits::{BENCH_SECONDS, BENCH_SECONDS_MAX, BENCH_STREAMS, BENCH_STREAMS_MAX};
use crate::text::{number, quote};

/// The words behind `nt doctor`.
#[derive(Debug)]
pub struct DoctorArgs {
    /// What is looked at.
    pub examined: Examined,
    /// For programs.
    pub json: bool,
}

/// What `nt doctor` looks at.
#[derive(Debug)]
pub enum Examined {
    /// A client's way to its server, and its mappings.
    Client(Box<ClientArgs>),
    /// The server with this state directory.
    Server(Option<PathBuf>),
}

/// The words behind `nt bench`.
#[derive(Debug)]
pub struct BenchArgs {
    /// The tunnel.
    pub client: ClientArgs,
    /// How long a figure is measured.
    pub seconds: u32,
    /// How many streams flow at once.
    pub streams: u32,
    /// For programs.
    pub json: bool,
}

/// Flags of these commands' own, which may stand anywhere before `--`; the other words are left.
#[derive(Default)]
struct Own<'a> {
    json: bool,
    values: Vec<(&'a str, &'a str)>,
    rest: Vec<&'a str>,
}

impl<'a> Own<'a> {
    fn take(words: &[&'a str], valued: &[&str]) -> Result<Self, Exit> {
        let mut own = Self::default();
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            match word {
                "--json" => own.json = true,
                flag if valued.contains(&flag) => {
                    let value = words.next();
                    let value =
                        value.ok_or_else(|| Exit::error(&format!("{flag} needs a word behind it")))?;
                    own.values.push((flag, value));
                }
                "--" => {
                    own.rest.push(word);
                    own.rest.extend(words.by_ref());
                }
                _ => own.rest.push(word),
            }
        }
        Ok(own)
    }

    fn value(&self, flag: &str) -> Option<&'a str> {
        self.values.iter().rev().find(|(name, _)| *name == flag).map(|(_, value)| *value)
    }

    fn number(&self, flag: &str, otherwise: u32, most: u32) -> Result<u32, Exit> {
        let Some(text) = self.value(flag) else { return Ok(otherwise) };
        let read = number(text).filter(|number| (1..=most).contains(number));
        read.ok_or_else(|| Exit::error(&format!("{flag}: {} is not a number from 1 to {most}", quote(text))))
    }
}

/// Reads `nt doctor`: of a server, unless a license is named.
pub(super) fn doctor(words: &[&str], env_license: Option<String>) -> Result<DoctorArgs, Exit> {
    if asks_for_help(words) {
        return Err(Exit::help(help::DOCTOR));
    }
    let own = Own::take(words, &["--state"])?;
    let state = own.value("--state").map(PathBuf::from);
    let named = env_license.as_ref().is_some_and(|text| !text.trim().is_empty());
    let examined = match (state, own.rest.is_empty()) {
        (Some(_), false) => {
            return Err(Exit::error(
                "--state names a server of this machine, and the other words a client: look at one of them",
            ));
        }
        (Some(state), true) => Examined::Server(Some(state)),
        (None, true) if !named => Examined::Server(None),
        (None, _) => Examined::Client(Box::new(client("nt doctor", &own.rest, env_license)?)),
    };
    Ok(DoctorArgs { examined, json: own.json })
}

/// Reads `nt bench`.
pub(super) fn bench(words: &[&str], env_license: Option<String>) -> Result<BenchArgs, Exit> {
    if asks_for_help(words) {
        return Err(Exit::help(help::BENCH));
    }
    let own = Own::take(words, &["--seconds", "--streams"])?;
    let seconds = own.number("--seconds", BENCH_SECONDS, BENCH_SECONDS_MAX)?;
    let streams = own.number("--streams", BENCH_STREAMS, BENCH_STREAMS_MAX)?;
    let client = client("nt bench", &own.rest, env_license)?;
    if !client.maps.is_empty() || !client.visits.is_empty() {
        return Err(Exit::error("nt bench brings a mapping of its own: name none"));
    }
    Ok(BenchArgs { client, seconds, streams, json: own.json })
}

/// The words of `nt -c`; what is wrong with them is said of this command.
fn client(command: &str, words: &[&str], env_license: Option<String>) -> Result<ClientArgs, Exit> {
    parse_client(words, env_license)
        .map_err(|exit| Exit { text: exit.text.replace("nt -c", command), ..exit })
}
