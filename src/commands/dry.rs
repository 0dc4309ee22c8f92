//! Tries the ports that other licenses would publish, on the machine of a server that runs.

use std::net::SocketAddr;

use serde_json::Value;

use crate::control;
use crate::directory::Directory;
use crate::dry::{Found, Held, Trial};
use crate::mapping::{Kind, Ports};
use crate::os::{self, UnixStream, disk};
use crate::plan::Picture;
use crate::state::StateDir;

/// Tries the places that are new in `after`. Where no server runs, nothing is tried.
pub(super) fn try_places(state: &StateDir, before: &Picture, after: &Directory) -> Found {
    if before.new_places(after).next().is_none() {
        return Found::default();
    }
    let Some(held) = held(state) else { return Found::default() };
    let trial = Trial::new(before, after, &held);
    let tried = trial.ports().into_iter().map(|(address, udp)| os::try_port(address, udp).err());
    let tried = tried.collect();
    trial.found(tried, is_server(state))
}

/// What the server has open; `None` where none runs that could be asked.
fn held(state: &StateDir) -> Option<Vec<Held>> {
    let mappings = control::get(state, "/api/v1/mappings").ok()?;
    let status = control::get(state, "/api/v1/status").ok()?;
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let doors = items(&status["doors"]).into_iter().filter_map(|door| {
        let address: SocketAddr = door["address"].as_str()?.parse().ok()?;
        let (ip, ports) = (address.ip(), Ports::row(address.port(), 1));
        Some(Held { license: String::new(), mapping: None, udp: false, ip, ports, stands: false })
    });
    let live = items(&mappings["mappings"]).into_iter().filter_map(|mapping| {
        if mapping["places_live"].as_u64()? == 0 {
            return None;
        }
        let text = |field: &str| mapping[field].as_str().map(str::to_owned);
        let public = text("public")?;
        let (ip, ports) = public.split('/').next()?.rsplit_once(':')?;
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        Some(Held {
            license: text("license")?,
            mapping: Some(text("mapping")?),
            udp: mapping["kind"] == Kind::Udp.word(),
            ip: ip.trim_matches(['[', ']']).parse().ok()?,
            ports: Ports::new(first.parse().ok()?, last.parse().ok()?)?,
            stands: mapping["declared_by"] == "server",
        })
    });
    Some(doors.chain(live).collect())
}

/// Whether what this user may not open the server may not either.
fn is_server(state: &StateDir) -> bool {
    let owner = || std::fs::metadata(state.admin_socket()).is_ok_and(|about| disk::is_mine(&about));
    // A service manager may have given the server more than its user has.
    let server = UnixStream::connect(state.admin_socket()).ok();
    server
        .and_then(|server| os::peer_may_bind(&server))
        .map_or_else(|| disk::is_root() || owner(), |may| !may)
}
