//! `nt check`: what is wrong with a file of settings or licenses.

use std::path::Path;

use super::{Output, read_source};
use crate::cli::CheckArgs;
use crate::config::{self, Config, MapText};
use crate::directory::Directory;
use crate::edit;
use crate::mapping;
use crate::server_ref::Source;

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
