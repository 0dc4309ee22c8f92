//! `nt doctor`: why a tunnel does not work. A program of its own that waits for each answer and ends, one check after
//! the other, each a function that returns a [`report::Finding`]. What the tunnel itself has for it is used as it is.
//!
//! In reading order: [`client`] and [`mappings`] look from behind NAT, [`server`] from the server's machine; [`tunnel`]
//! makes the connections, [`words`] has what is said of those that fail, [`report`] writes.

mod client;
mod mappings;
mod report;
mod server;
mod tunnel;
mod words;

use std::io::Write;

use crate::cli::{DoctorArgs, Examined};
use crate::server_ref::Source;
use crate::state::StateDir;
use report::{Form, Report};

pub(crate) use tunnel::duration;
pub(crate) use words::millis;

/// Looks, and writes what it finds to `to`; the exit code. `read` gives the text of a file.
///
/// # Errors
/// What is wrong with the words, or that there is nothing to look at.
pub fn run(
    args: DoctorArgs,
    read: &mut dyn FnMut(Source<'_>) -> Result<String, String>,
    colour: bool,
    to: &mut dyn Write,
) -> Result<i32, String> {
    let form = if args.json { Form::Json } else { Form::Lines { colour } };
    let mut report = Report::new(to, form);
    match args.examined {
        Examined::Client(args) => client::examine(&args.settle(read)?, &mut report)?,
        Examined::Server(state) => {
            let state = StateDir::existing(state.as_deref()).map_err(|what| {
                format!("{what}; on a client's machine write nt doctor LICENSE@HOST [MAPPING...]")
            })?;
            server::examine(&state, &mut report)?;
        }
    }
    Ok(report.end())
}
