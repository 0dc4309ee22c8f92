//! `nt status`: how what runs on this machine is.

use serde_json::{Value, json};

use crate::cli::StatusArgs;
use crate::clients;
use crate::os;
use crate::status::{Seen, client_text};

/// What `nt status` shows.
///
/// # Errors
/// Neither a server runs nor a client, or none answers.
pub fn status(args: &StatusArgs) -> Result<String, String> {
    let clients = if args.state.is_some() { Vec::new() } else { clients::all() };
    let server = match server(args.state.as_ref()) {
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
#[cfg(feature = "server")]
fn server(state: Option<&String>) -> Result<Seen, String> {
    let state = crate::state::StateDir::existing(state.map(std::path::Path::new))?;
    let get = |what: &str| crate::control::get(&state, &format!("/api/v1/{what}"));
    Ok(Seen {
        status: get("status")?,
        licenses: get("licenses")?,
        sessions: get("sessions")?,
        mappings: get("mappings")?,
    })
}

/// There is none.
#[cfg(not(feature = "server"))]
fn server(_: Option<&String>) -> Result<Seen, String> {
    Err("no client runs here, and this nt can be no server".to_owned())
}
