//! What packages hold beside the program, made of nt's own definitions: man pages, completions, units of systemd.
//! `cargo run --example pages -- FOLDER` writes them there; the date on them is that of `SOURCE_DATE_EPOCH`.

mod completions;
mod man;
mod units;

use std::path::Path;

use nt::calendar::Clock;
use nt::cli::pages::pages;

/// Files by name, and their texts. `epoch`: what counts as today, in seconds.
#[must_use]
pub fn files(epoch: u64) -> Vec<(&'static str, String)> {
    let pages = pages();
    let date = Clock(epoch).rfc3339()[..10].to_owned();
    vec![
        ("nt.1", man::page(&pages, &date)),
        ("nt.toml.5", man::settings(&date)),
        ("nt.bash", completions::bash(&pages)),
        ("_nt", completions::zsh(&pages)),
        ("nt.fish", completions::fish(&pages)),
        ("nt.service", units::server()),
        ("nt@.service", units::client()),
    ]
}

#[allow(dead_code, reason = "a test takes the files alone")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).ok_or("which folder? cargo run --example pages -- FOLDER")?;
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().map_or(Ok(0), |text| text.parse())?;
    std::fs::create_dir_all(&folder)?;
    for (name, text) in files(epoch) {
        std::fs::write(Path::new(&folder).join(name), text)?;
    }
    Ok(())
}
