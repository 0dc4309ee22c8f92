//! Tries the ports that other licenses would publish, on the machine of a server that runs.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;

use serde_json::Value;

use crate::control;
use crate::directory::Directory;
use crate::dry::{Found, Held, Trial};
use crate::mapping::{Kind, Ports};
use crate::os;
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
    let user = rustix::process::geteuid();
    let owner = || std::fs::metadata(state.admin_socket()).is_ok_and(|about| about.uid() == user.as_raw());
    // A service manager may have given the server more than its user has.
    server_may(state).map_or_else(|| user.is_root() || owner(), |may| !may)
}

/// Whether the running server has CAP_NET_BIND_SERVICE, where that can be told (capabilities(7), proc(5)).
#[cfg(target_os = "linux")]
fn server_may(state: &StateDir) -> Option<bool> {
    const NET_BIND_SERVICE: u32 = 10;
    let socket = std::os::unix::net::UnixStream::connect(state.admin_socket()).ok()?;
    let server = rustix::net::sockopt::socket_peercred(&socket).ok()?.pid;
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.as_raw_nonzero())).ok()?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    Some(u64::from_str_radix(effective.trim(), 16).ok()? & 1 << NET_BIND_SERVICE != 0)
}

#[cfg(not(target_os = "linux"))]
fn server_may(_state: &StateDir) -> Option<bool> {
    None
}
