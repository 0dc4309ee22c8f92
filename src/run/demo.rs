//! Runs both roles at once, to be looked at.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::start_os;
use crate::client::{self, Client};
use crate::commands::new_license;
use crate::demo::{Fetch, Page};
use crate::directory::{Directory, Entry};
use crate::door::Door;
use crate::driver::{Budget, Driver};
use crate::entropy::Entropy;
use crate::identity::Identity;
use crate::license::Transport;
use crate::limits::POOL_MAX;
use crate::mapping;
use crate::note::Format;
use crate::policy::Allow;
use crate::role::Role;
use crate::server::{self, Server};
use crate::tls::{Security, Trust};

/// Runs a server, a client and a web page in one loop, and fetches the page through the tunnel; the exit
/// code.
///
/// # Errors
/// A sentence for the person who started it.
pub fn demo(once: bool) -> Result<i32, String> {
    let license = new_license();
    let mut directory = Directory::default();
    directory.add(Entry::new("demo", &license)?)?;
    let Identity { chain, key, .. } = Identity::fresh()?;
    let security = Security::default().with_server(chain, key)?.with_client("nt.invalid", Trust::License)?;
    let (page, door) = (free_port(None)?, free_port(None)?);
    let public = free_port(Some(8080))?;
    let mapping = format!("{}:{}:{}", public.ip(), public.port(), page.port());
    let server = server::Config {
        doors: vec![Door::Tunnel(door, Transport::Tls)],
        directory,
        visitors_max: 64,
        sessions_max: 1,
    };
    let client = client::Config {
        servers: vec![(door.ip().to_string(), door.port())],
        via: None,
        transport: Transport::Tls,
        license: license.id(),
        keys: license.client_keys(),
        mappings: vec![mapping::parse(&mapping).map_err(|error| error.to_string())?],
        visits: Vec::new(),
        allow: Allow::default(),
        proxies_max: 64 + POOL_MAX,
        guest: false,
    };
    let roles: Vec<Box<dyn Role>> = vec![
        Box::new(Page::new(page)),
        Box::new(Server::new(server, Entropy::from_os())),
        Box::new(Client::new(client, Entropy::from_os())),
        Box::new(Fetch::new(public, once)),
    ];
    // Both ends of each visit are in this process.
    let budget = Budget { raws: 2 * 64, locals: 64, tunnels: 4 * (64 + POOL_MAX), callers: 0 };
    Ok(Driver::new(start_os(Format::Text, Box::new(()))?, roles, security, budget).run())
}

/// A port of loopback that is free now: this one, if it is.
fn free_port(wish: Option<u16>) -> Result<SocketAddr, String> {
    let bind =
        |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    wish.and_then(|port| bind(port).ok())
        .map_or_else(|| bind(0), Ok)
        .map_err(|error| format!("no port of 127.0.0.1 can be had: {error}"))
}
