//! Whether the ports that other licenses would publish can be had: each is opened for a moment, as the server would.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;

use serde_json::Value;

use crate::control;
use crate::directory::{Directory, Entry};
use crate::limits::TRIED_PORTS_MAX;
use crate::mapping::{Kind, Mapping, Ports, Public};
use crate::os;
use crate::plan::Picture;
use crate::reason::Reason;
use crate::state::StateDir;

/// What was found out.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Ports that cannot be had, and why.
    pub(super) faults: Vec<String>,
    /// What cannot be told from here.
    pub(super) warnings: Vec<String>,
}

/// A place that the running server has open, or a mapping that is about to be tried.
struct Held {
    license: String,
    /// The mapping, or what else the server has there.
    mapping: Option<String>,
    udp: bool,
    ip: IpAddr,
    ports: Ports,
    /// It is there because the license says so, not the client.
    stands: bool,
}

/// Tries the places that are new in `after`, on the machine of a server that runs. Where none does, nothing is tried.
pub(super) fn try_places(state: &StateDir, before: &Picture, after: &Directory) -> Found {
    let mut found = Found::default();
    let new = before.new_places(after);
    if new.is_empty() {
        return found;
    }
    let Some(held) = held(state) else { return found };
    let mut trial = Trial { state, after, held, claimed: BTreeMap::new(), left: TRIED_PORTS_MAX };
    for (entry, mapping) in new {
        trial.mapping(entry, mapping, &mut found);
    }
    if trial.left == 0 {
        found.warnings.push(format!("only the first {TRIED_PORTS_MAX} new ports were tried"));
    }
    found
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

struct Trial<'a> {
    state: &'a StateDir,
    after: &'a Directory,
    held: Vec<Held>,
    /// The ports that were tried, and the licenses that want them.
    claimed: BTreeMap<(bool, u16), Vec<(IpAddr, &'a str)>>,
    left: usize,
}

impl<'a> Trial<'a> {
    /// Tries each port of a mapping; the first that cannot be had is told.
    fn mapping(&mut self, entry: &'a Entry, mapping: &'a Mapping, found: &mut Found) {
        let Public::Ports { ports, .. } = mapping.public else { return };
        let Some(first) = mapping.public.address().filter(|_| !ports.is_any()) else { return };
        let udp = mapping.kind == Kind::Udp;
        let mut wrong = Vec::new();
        for port in ports.iter() {
            let Some(left) = self.left.checked_sub(1) else { break };
            self.left = left;
            let address = SocketAddr::new(first.ip(), port);
            if let Err(why) = self.port(entry, address, udp) {
                wrong.push((port, why));
            }
        }
        let Some((port, why)) = wrong.first() else { return };
        let more = match wrong.len() {
            1 => String::new(),
            count => format!(" (and so with {} more of its ports)", count - 1),
        };
        let what = |why: &str| format!("license `{}`, mapping {}: {why}{more}", entry.name, mapping.route());
        match why {
            Wrong::Unknown => {
                let why = format!("port {port} is below 1024, and could not be tried by this user");
                found.warnings.push(what(&why));
            }
            Wrong::Taken(by) => found.faults.push(what(&format!("port {port} {by}"))),
            Wrong::NoSuchAddress => {
                found.faults.push(what(&format!("{} is no address of this machine", first.ip())));
            }
            Wrong::NoPrivilege => found.faults.push(what(&format!(
                "port {port} is below 1024: run the server with CAP_NET_BIND_SERVICE to open it"
            ))),
            Wrong::Other(reason) => found.faults.push(what(&format!("port {port}: {reason}"))),
        }
    }

    fn port(&mut self, entry: &'a Entry, address: SocketAddr, udp: bool) -> Result<(), Wrong> {
        let claimed = self.claimed.entry((udp, address.port())).or_default();
        let other = claimed.iter().find(|(ip, name)| *name != entry.name && meet(*ip, address.ip()));
        let other = other.map(|(_, name)| Wrong::Taken(format!("is wanted by license `{name}` as well")));
        claimed.push((address.ip(), &entry.name));
        if let Some(other) = other {
            return Err(other);
        }
        let holder = self.held.iter().find(|held| {
            held.udp == udp
                && held.ports.iter().any(|port| port == address.port())
                && meet(held.ip, address.ip())
        });
        // What the license has itself, or another gives up, can be had when it comes to that.
        if holder.is_some_and(|held| held.license == entry.name || self.gives_up(held)) {
            return Ok(());
        }
        os::try_port(address, udp).map_err(|reason| match (reason, holder) {
            (Reason::InUse, Some(Held { license, mapping: Some(mapping), .. })) => {
                Wrong::Taken(format!("is in use by license `{license}` (its mapping {mapping})"))
            }
            (Reason::InUse, Some(_)) => Wrong::Taken("is in use by the server itself".to_owned()),
            (Reason::InUse, None) => Wrong::Taken("is in use by another program".to_owned()),
            (Reason::NoPrivilege, _) if !self.is_server() => Wrong::Unknown,
            (Reason::NoPrivilege, _) => Wrong::NoPrivilege,
            (Reason::NoSuchAddress, _) => Wrong::NoSuchAddress,
            (reason, _) => Wrong::Other(reason),
        })
    }

    /// Whether what is open now would not be any more.
    fn gives_up(&self, held: &Held) -> bool {
        let Some(mapping) = &held.mapping else { return false };
        let Some(entry) = self.after.by_name(&held.license).filter(|entry| !entry.revoked) else {
            return true;
        };
        held.stands && !entry.maps.iter().any(|map| map.route().to_string() == *mapping)
    }

    /// Whether what this user may not open the server may not either.
    fn is_server(&self) -> bool {
        let user = rustix::process::geteuid();
        let owner =
            || std::fs::metadata(self.state.admin_socket()).is_ok_and(|about| about.uid() == user.as_raw());
        // A service manager may have given the server more than its user has.
        server_may(self.state).map_or_else(|| user.is_root() || owner(), |may| !may)
    }
}

/// Why a port cannot be had.
enum Wrong {
    /// Somebody has it.
    Taken(String),
    NoSuchAddress,
    NoPrivilege,
    /// This user may not open it; the server, perhaps.
    Unknown,
    Other(Reason),
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

/// Whether two sockets at these addresses are in each other's way.
fn meet(one: IpAddr, other: IpAddr) -> bool {
    one == other || one.is_unspecified() || other.is_unspecified()
}
