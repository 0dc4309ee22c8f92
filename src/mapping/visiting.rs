//! Private mappings as a client names them that visits: `--visit OWNER/NAME:PORT`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::names::private_place;
use crate::policy::parse_port;
use crate::text::quote;

/// A private mapping that is visited, and where it is found on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visiting {
    /// OWNER/NAME: a license, and what it calls its mapping.
    pub name: String,
    /// Where it is listened for visitors; loopback, if nothing else was said.
    pub at: SocketAddr,
}

impl Visiting {
    /// Reads `nas/ssh:2222`, or `nas/ssh:192.168.1.2:2222` for others on this network.
    ///
    /// # Errors
    /// A sentence that quotes the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = || format!("{} is not OWNER/NAME:PORT, as in `nas/ssh:2222`", quote(text));
        let (name, place) = text.split_once(':').ok_or_else(form)?;
        let name = private_place(name).ok_or_else(form)?;
        let at = match place.parse() {
            Ok(at) => at,
            Err(_) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), parse_port(place)?),
        };
        Ok(Self { name, at })
    }
}
