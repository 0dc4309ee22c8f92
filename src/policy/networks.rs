//! Networks, and lists of them: who may come.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{LIST_ITEMS_MAX, items, write_list};
use crate::text::{number, quote};

/// A network: an address and how many of its first bits count (RFC 4632 section 3.1, RFC 4291 section 2.3).
/// IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2) are IPv4 here, as visitors of a dual-stack socket
/// are. An IPv4 network has no IPv6 address in it and the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl Cidr {
    /// Reads `10.0.0.0/8`, `fd00::/8`, or an address, which is a network of one.
    ///
    /// # Errors
    /// A sentence that quotes the text, also when bits stand behind the prefix (`10.1.0.0/8`): one of the
    /// two is wrong, and only a person knows which.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let Ok(written) = address.parse::<IpAddr>() else {
            return Err(format!("{} is not a network such as 10.0.0.0/8 or fd00::/8", quote(text)));
        };
        let width = width(written);
        let bits = match bits {
            None => width,
            Some(bits) => match number(bits).and_then(|bits| u8::try_from(bits).ok()) {
                Some(bits) if bits <= width => bits,
                _ => return Err(format!("{} has a prefix that is not in 0..{width}", quote(text))),
            },
        };
        let network = masked(written, bits);
        if network != written {
            return Err(format!(
                "{} has bits behind its prefix: write {network}/{bits}, \
                 or {written}/{width} for this one address",
                quote(text)
            ));
        }
        // A mapped address keeps its prefix `::ffff:0:0/96` here, or the check above had refused it.
        match network.to_canonical() {
            v4 @ IpAddr::V4(_) if written.is_ipv6() => Ok(Self { address: v4, bits: bits - 96 }),
            address => Ok(Self { address, bits }),
        }
    }

    /// The network of one address.
    pub fn from_address(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, bits: width(address) }
    }

    /// Whether `address` is in this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.bits) == self.address
    }

    pub(super) fn is_v4(&self) -> bool {
        self.address.is_ipv4()
    }

    pub(super) const fn v4(a: u8, b: u8, bits: u8) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, 0, 0)), bits }
    }

    pub(super) const fn v6(first: u16, last: u16, bits: u8) -> Self {
        Self { address: IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last)), bits }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.bits < width(self.address) { write!(f, "/{}", self.bits) } else { Ok(()) }
    }
}

/// Networks whose visitors may come. Everybody may where nothing was said; nobody where the list has nothing in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    nets: Option<Vec<Cidr>>,
}

impl Networks {
    /// Reads `10.0.0.0/8,fd00::/8`, `any` or `none`.
    ///
    /// # Errors
    /// A sentence that quotes the item that is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "any" => Ok(Self::default()),
            "none" => Self::from_items([]),
            _ => Self::from_items(items(text, "networks")?),
        }
    }

    /// The list of these.
    ///
    /// # Errors
    /// A sentence that quotes the item that is wrong.
    pub fn from_items<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let nets = texts.into_iter().map(Cidr::parse).collect::<Result<Vec<_>, _>>()?;
        if nets.len() > LIST_ITEMS_MAX {
            return Err(format!("there are more than {LIST_ITEMS_MAX} networks"));
        }
        Ok(Self { nets: Some(nets) })
    }

    /// Whether a visitor from `address` may come.
    pub fn welcome(&self, address: IpAddr) -> bool {
        self.nets.as_ref().is_none_or(|nets| nets.iter().any(|net| net.contains(address)))
    }

    /// The networks, as they were written; nothing where everybody may come.
    pub fn iter(&self) -> impl Iterator<Item = Cidr> + '_ {
        self.nets.iter().flatten().copied()
    }

    /// Whether everybody may come.
    pub fn is_everybody(&self) -> bool {
        self.nets.is_none()
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nets.as_deref() {
            None => f.write_str("any"),
            Some([]) => f.write_str("none"),
            Some(nets) => write_list(f, nets),
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// `address` with all but its first `bits` bits 0.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}
