//! Runs a client.

use super::{Read, means, start_os, tell};
use crate::budget::End;
use crate::cli::{ClientArgs, ClientPlan};
use crate::client::{self, Client};
use crate::clients;
use crate::config::{Ca, ClientConfig};
use crate::driver::Driver;
use crate::entropy::Entropy;
use crate::license::Transport;
use crate::mapping::{Mapping, Target};
use crate::note::Level;
use crate::os::{self, Sources};
use crate::role::{Role, Settings};
use crate::server_ref::{PLAIN_PORT, ServerRef, TLS_PORT};
use crate::tls::{Security, Trust};

/// Runs a client until it is asked to stop; its exit code. `read` gives the text of a file.
///
/// # Errors
/// A sentence for the person who started it.
pub fn connect(args: ClientArgs, mut read: impl Read + 'static) -> Result<i32, String> {
    let (settings, first) = (args.clone().settle(&mut read)?, args.read_file(&mut read)?);
    let ClientPlan { server, maps: mappings, visits, plain, via, allow, ca, visitors, memory, log } =
        settings;
    let folders = mappings.iter().filter_map(|mapping| match &mapping.target {
        Target::Files(path) => Some(path),
        Target::Tcp { .. } | Target::Unix(_) | Target::Exit(_) => None,
    });
    let folders: Vec<&String> = folders.collect();
    let plan =
        means(End::Client { folders: !folders.is_empty() || allow.permits_folders() }, visitors, memory)?;
    let (transport, servers, security) = ways(&server, plain, ca.as_ref())?;
    let mut os = start_os(log, Box::new(ClientSources { args, read, first }))?;
    tell(&mut os, Level::Info, plan.to_string());
    if plain {
        let text = "the tunnel is NOT encrypted (--plain): whoever is on the way can read and change \
                    what visitors send";
        tell(&mut os, Level::Warn, text.to_owned());
    }
    let unserved = mappings.iter().filter_map(|mapping| os::unserved(&mapping.target));
    for warning in mappings.iter().filter_map(Mapping::warning).chain(unserved) {
        tell(&mut os, Level::Warn, warning);
    }
    for folder in folders {
        if let Some(error) = os::folder_trouble(folder) {
            tell(&mut os, Level::Warn, format!("the folder {folder} cannot be served now: {error}"));
        }
    }
    let config = client::Config {
        servers,
        via,
        transport,
        license: server.license.id(),
        keys: server.license.client_keys(),
        mappings,
        visits,
        allow,
        proxies_max: plan.visitors,
        guest: false,
    };
    let status = clients::socket();
    let client = Client::new(config, Entropy::from_os());
    let client = client.with_status_at(status.as_ref().map(|path| path.display().to_string()));
    let code = Driver::new(os, vec![Box::new(client) as Box<dyn Role>], security, plan.budget).run();
    if let Some(path) = status {
        let _ = std::fs::remove_file(path);
    }
    Ok(code)
}

/// The files of a client.
struct ClientSources<R> {
    args: ClientArgs,
    read: R,
    /// What they said at the start.
    first: ClientConfig,
}

impl<R: Read> Sources for ClientSources<R> {
    fn settings(&mut self) -> Option<Result<Settings, String>> {
        Some(self.args.again(&self.first, &mut self.read).map(Settings::Client))
    }
}

/// How a client goes to its servers: by which of their ports, and what TLS it speaks there.
///
/// # Errors
/// What is wrong with `--ca`.
pub fn ways(server: &ServerRef, plain: bool, ca: Option<&Ca>) -> Result<Ways, String> {
    let (transport, port) = if plain { (Transport::Plain, PLAIN_PORT) } else { (Transport::Tls, TLS_PORT) };
    let servers: Vec<(String, u16)> =
        server.addresses(port).map(|(host, port)| (host.to_owned(), port)).collect();
    let security = if plain {
        Security::default()
    } else {
        Security::default().with_client(
            &servers[0].0,
            match ca {
                None => Trust::License,
                Some(ca) => Trust::Roots(super::ca::roots(ca, &servers)?),
            },
        )?
    };
    Ok((transport, servers, security))
}

/// What [`ways`] finds: the kind of port, the hosts with theirs, and TLS.
pub type Ways = (Transport, Vec<(String, u16)>, Security);

/// A client that comes beside those of its license, with one mapping, until it is asked to stop. `ear` hears what it
/// has to say, `ready` gets what stops it.
///
/// # Errors
/// A sentence for the person who started it.
#[cfg(feature = "doctor")]
pub fn connect_beside(
    plan: &ClientPlan,
    mapping: Mapping,
    ear: os::Ear,
    ready: impl FnOnce(os::Stopper),
) -> Result<i32, String> {
    let means = means(End::Client { folders: false }, plan.visitors, plan.memory)?;
    let (transport, servers, security) = ways(&plan.server, plan.plain, plan.ca.as_ref())?;
    let os = start_os(plan.log, Box::new(()))?.with_ear(ear);
    ready(os.stopper());
    let config = client::Config {
        servers,
        via: plan.via.clone(),
        transport,
        license: plan.server.license.id(),
        keys: plan.server.license.client_keys(),
        mappings: vec![mapping],
        visits: Vec::new(),
        allow: Default::default(),
        proxies_max: means.visitors,
        guest: true,
    };
    let role: Box<dyn Role> = Box::new(Client::new(config, Entropy::from_os()));
    Ok(Driver::new(os, vec![role], security, means.budget).run())
}
