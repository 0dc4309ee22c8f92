//! What is allowed: the ports and names that a license may publish, the networks that an option
//! names, the targets that a client lets the server choose, and how much may pass.
//!
//! All of these are lists that people write, so each one parses from text, shows itself as text that
//! parses back, and says what is wrong with a text in a sentence.

mod networks;
mod traffic;

use std::fmt;
use std::net::IpAddr;

use crate::names::{self, Use};
use crate::text::{did_you_mean, number, quote};

pub use crate::text::parse_port;
pub use networks::{Cidr, Networks};
pub use traffic::{Pace, Quota, Rates};

/// Most items that a list of ports, names, networks or targets may have.
pub const LIST_ITEMS_MAX: usize = 256;

/// A set of TCP or UDP ports, 1 to 65535.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSet {
    /// First and last of each stretch: ascending, and with a gap between any two.
    ranges: Vec<(u16, u16)>,
}

impl PortSet {
    /// Reads `80,443,1024-65535`, or `none`.
    ///
    /// # Errors
    /// A sentence that quotes the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "none" {
            return Ok(Self { ranges: Vec::new() });
        }
        let mut ranges = Vec::new();
        for item in items(text, "ports")? {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let range = (parse_port(first.trim())?, parse_port(last.trim())?);
            if range.0 > range.1 {
                return Err(format!("ports {} run backwards: write {}-{}", quote(item), range.1, range.0));
            }
            ranges.push(range);
        }
        ranges.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::new();
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Ok(Self { ranges: merged })
    }

    /// Whether `port` is in the set. Port 0 never is.
    pub fn contains(&self, port: u16) -> bool {
        self.ranges.iter().any(|&(first, last)| (first..=last).contains(&port))
    }

    /// How many ports there are, 0 to 65535.
    pub fn count(&self) -> u32 {
        self.ranges.iter().map(|&(first, last)| u32::from(last - first) + 1).sum()
    }

    /// The port number `index` of the set in ascending order, if it has that many. To try the ports
    /// for a free one, begin at a random index and go on until [`PortSet::count`].
    pub fn nth(&self, index: u32) -> Option<u16> {
        let mut left = index;
        for &(first, last) in &self.ranges {
            let size = u32::from(last - first) + 1;
            if left < size {
                return u16::try_from(u32::from(first) + left).ok();
            }
            left -= size;
        }
        None
    }

    /// All ports of the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.ranges.iter().flat_map(|&(first, last)| first..=last)
    }
}

/// The ports of a license for which nothing else was said: those that need no privilege.
impl Default for PortSet {
    fn default() -> Self {
        Self { ranges: vec![(1024, 65535)] }
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ranges.is_empty() {
            return f.write_str("none");
        }
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            f.write_str(if index > 0 { "," } else { "" })?;
            write!(f, "{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
        }
        Ok(())
    }
}

/// RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3.
const LOOPBACK: [Cidr; 2] = [Cidr::v4(127, 0, 8), Cidr::v6(0, 1, 128)];

/// Private (RFC 1918 section 3), unique local (RFC 4193 section 3.1) and link-local addresses (RFC
/// 3927 section 2.1, RFC 4291 section 2.5.6).
const LAN: [Cidr; 6] = [
    Cidr::v4(10, 0, 8),
    Cidr::v4(172, 16, 12),
    Cidr::v4(192, 168, 16),
    Cidr::v4(169, 254, 16),
    Cidr::v6(0xfc00, 0, 7),
    Cidr::v6(0xfe80, 0, 10),
];

/// Which targets a client lets the server choose: its `--allow LIST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    items: Vec<AllowItem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum AllowItem {
    Loopback,
    Lan,
    Any,
    Net { net: Cidr, first: u16, last: u16 },
    Unix(String),
    Files(String),
}

impl Allow {
    /// Reads a list of `loopback`, `lan` (which includes it), `any`, networks (`CIDR`,
    /// `CIDR:PORT`, `CIDR:PORT-PORT`, IPv6 in brackets before a port), `unix:/path` and `files:/path`.
    ///
    /// # Errors
    /// A sentence that quotes the item that is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let items = items(text, "allowed targets")?.into_iter().map(AllowItem::parse);
        Ok(Self { items: items.collect::<Result<_, _>>()? })
    }

    /// Whether the server may have the client connect to `address` and `port`.
    pub fn permits(&self, address: IpAddr, port: u16) -> bool {
        let within = |nets: &[Cidr]| nets.iter().any(|net| net.contains(address));
        self.items.iter().any(|item| match item {
            AllowItem::Loopback => within(&LOOPBACK),
            AllowItem::Lan => within(&LOOPBACK) || within(&LAN),
            AllowItem::Any => true,
            AllowItem::Net { net, first, last } => net.contains(address) && (*first..=*last).contains(&port),
            AllowItem::Unix(_) | AllowItem::Files(_) => false,
        })
    }

    /// Whether the server may have the client connect to the Unix socket at `path`.
    pub fn permits_unix(&self, path: &str) -> bool {
        self.items.iter().any(|item| match item {
            AllowItem::Any => true,
            AllowItem::Unix(allowed) => allowed == path,
            AllowItem::Loopback | AllowItem::Lan | AllowItem::Net { .. } | AllowItem::Files(_) => false,
        })
    }

    /// Whether the server may have the client publish the folder at `path`: `any` is of what can be connected to.
    pub fn permits_folder(&self, path: &str) -> bool {
        self.items.iter().any(|item| matches!(item, AllowItem::Files(allowed) if allowed == path))
    }

    /// The word that, added to the list, permits these ports of an address and nothing else (for an address of
    /// this machine, `loopback`).
    pub fn word_for(address: IpAddr, first: u16, last: u16) -> String {
        let address = address.to_canonical();
        if LOOPBACK.iter().any(|net| net.contains(address)) {
            return "loopback".to_string();
        }
        AllowItem::Net { net: Cidr::from_address(address), first, last }.to_string()
    }

    /// Whether any address beyond this machine is permitted at `port`: if not, a name need not be looked up.
    pub fn may_permit(&self, port: u16) -> bool {
        self.items.iter().any(|item| match item {
            AllowItem::Lan | AllowItem::Any => true,
            AllowItem::Net { first, last, .. } => (*first..=*last).contains(&port),
            AllowItem::Loopback | AllowItem::Unix(_) | AllowItem::Files(_) => false,
        })
    }

    /// The word that, added to the list, permits this Unix socket and nothing else.
    pub fn word_for_unix(path: &str) -> String {
        AllowItem::Unix(path.to_string()).to_string()
    }

    /// Whether any folder is permitted.
    pub fn permits_folders(&self) -> bool {
        self.items.iter().any(|item| matches!(item, AllowItem::Files(_)))
    }

    /// The word that, added to the list, permits this folder and nothing else.
    pub fn word_for_folder(path: &str) -> String {
        AllowItem::Files(path.to_string()).to_string()
    }
}

/// What a client allows when nothing was said: the services of its own machine.
impl Default for Allow {
    fn default() -> Self {
        Self { items: vec![AllowItem::Loopback] }
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, &self.items)
    }
}

impl AllowItem {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "loopback" => return Ok(Self::Loopback),
            "lan" => return Ok(Self::Lan),
            "any" => return Ok(Self::Any),
            _ => (),
        }
        let path = |path: &str| match path.starts_with('/') && !path.chars().any(char::is_control) {
            true => Ok(path.to_string()),
            false => Err(format!("{} is not a path that begins with /", quote(text))),
        };
        if let Some(socket) = text.strip_prefix("unix:") {
            return path(socket).map(Self::Unix);
        }
        if let Some(folder) = text.strip_prefix("files:") {
            return path(folder).map(Self::Files);
        }
        let (net, ports) = Self::split_ports(text)?;
        let Ok(net) = Cidr::parse(net) else {
            return Err(Self::no_target(text, net));
        };
        let (first, last) = match ports {
            None => (0, u16::MAX),
            Some(ports) => {
                let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
                (parse_port(first)?, parse_port(last)?)
            }
        };
        if first > last {
            return Err(format!("the ports of {} run backwards", quote(text)));
        }
        Ok(Self::Net { net, first, last })
    }

    /// The network and, behind it, what should be ports. IPv6 has colons of its own.
    fn split_ports(text: &str) -> Result<(&str, Option<&str>), String> {
        if let Some(inner) = text.strip_prefix('[') {
            return match inner.split_once(']') {
                Some((net, "")) => Ok((net, None)),
                Some((net, rest)) if rest.starts_with(':') => Ok((net, Some(&rest[1..]))),
                _ => Err(format!("{} has brackets that are not like [fd00::/8]:22", quote(text))),
            };
        }
        match text.split_once(':') {
            Some((net, ports)) if !ports.contains(':') => Ok((net, Some(ports))),
            _ => Ok((text, None)),
        }
    }

    /// Whether `net` is an address with something behind it that was meant as a prefix.
    fn has_prefix(net: &str) -> bool {
        net.split_once('/').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok())
    }

    fn no_target(text: &str, net: &str) -> String {
        // The reason of the network itself is the better one where it is nearly one.
        if let (true, Err(reason)) = (Self::has_prefix(net), Cidr::parse(net)) {
            return reason;
        }
        if number(text).is_some() {
            return format!("{} is a port: write where it is, as in 127.0.0.1:{text}", quote(text));
        }
        format!(
            "{} is not loopback, lan, any, a network (10.0.0.0/8), one with a port \
             (192.168.1.5:22), unix:/path or files:/path (names do not count here){}",
            quote(text),
            did_you_mean(text, &["loopback", "lan", "any"])
        )
    }
}

impl fmt::Display for AllowItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("loopback"),
            Self::Lan => f.write_str("lan"),
            Self::Any => f.write_str("any"),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Files(path) => write!(f, "files:{path}"),
            Self::Net { net, first: 0, .. } => write!(f, "{net}"),
            Self::Net { net, first, last } => {
                if net.is_v4() {
                    write!(f, "{net}:{first}")?
                } else {
                    write!(f, "[{net}]:{first}")?
                }
                if last > first { write!(f, "-{last}") } else { Ok(()) }
            }
        }
    }
}

/// The public names that a license may publish: names, and `*.` before a name for all below it.
/// Empty when nothing was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSet {
    patterns: Vec<String>,
}

impl HostSet {
    /// Reads `blog.example.com,*.dev.example.com`, `*` for every name, or `none`.
    ///
    /// # Errors
    /// A sentence that quotes the name that is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "none" {
            return Ok(Self::default());
        }
        Self::from_names(items(text, "names")?)
    }

    /// The set of these names and wildcards.
    ///
    /// # Errors
    /// A sentence that quotes the name that is wrong.
    pub fn from_names<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut patterns = Vec::new();
        for text in texts {
            patterns.push(if text == "*" { "*".to_owned() } else { names::host_name(text, Use::Publish)? });
        }
        if patterns.len() > LIST_ITEMS_MAX {
            return Err(format!("there are more than {LIST_ITEMS_MAX} names"));
        }
        patterns.sort_unstable();
        patterns.dedup();
        Ok(Self { patterns })
    }

    /// Whether `name`, as [`names::host_name`] returns it, may be published. A wildcard may when all
    /// that it stands for may.
    pub fn contains(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| names::covers(pattern, name))
    }

    /// Whether `name` is permitted by more than that every name is.
    pub fn has(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern != "*" && names::covers(pattern, name))
    }

    /// Every name.
    pub fn all() -> Self {
        Self { patterns: vec!["*".to_owned()] }
    }

    /// Whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The names and wildcards, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(String::as_str)
    }
}

impl fmt::Display for HostSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.patterns.is_empty() { f.write_str("none") } else { write_list(f, &self.patterns) }
    }
}

/// The private mappings of other licenses that a license may visit: `OWNER/NAME`, `OWNER/*` for all of one, `*` for
/// every one. Empty when nothing was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VisitSet {
    patterns: Vec<String>,
}

impl VisitSet {
    /// Reads `nas/ssh,box/*`, `*`, or `none`.
    ///
    /// # Errors
    /// A sentence that quotes the item that is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "none" {
            return Ok(Self::default());
        }
        Self::from_items(items(text, "visits")?)
    }

    /// The set of these.
    ///
    /// # Errors
    /// A sentence that quotes the item that is wrong.
    pub fn from_items<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut patterns = Vec::new();
        for text in texts {
            let read = match text.strip_suffix("/*") {
                Some(owner) => names::private_place(&format!("{owner}/all")).map(|_| text.to_owned()),
                None if text == "*" => Some(text.to_owned()),
                None => names::private_place(text),
            };
            let wrong = || format!("{} is not OWNER/NAME, OWNER/* or *", quote(text));
            patterns.push(read.ok_or_else(wrong)?);
        }
        if patterns.len() > LIST_ITEMS_MAX {
            return Err(format!("there are more than {LIST_ITEMS_MAX} visits"));
        }
        patterns.sort_unstable();
        patterns.dedup();
        Ok(Self { patterns })
    }

    /// Whether `name`, an OWNER/NAME, may be visited.
    pub fn contains(&self, name: &str) -> bool {
        let all_of = |pattern: &str| {
            let owner = pattern.strip_suffix("/*");
            owner.is_some_and(|owner| name.split_once('/').is_some_and(|(of, _)| of == owner))
        };
        self.patterns.iter().any(|pattern| pattern == "*" || pattern == name || all_of(pattern))
    }

    /// The items, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(String::as_str)
    }
}

impl fmt::Display for VisitSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.patterns.is_empty() { f.write_str("none") } else { write_list(f, &self.patterns) }
    }
}

fn items<'a>(text: &'a str, what: &str) -> Result<Vec<&'a str>, String> {
    let items: Vec<&str> = text.split(',').map(str::trim).collect();
    if items.iter().any(|item| item.is_empty()) {
        return Err(format!("the list of {what} {} has an empty part", quote(text)));
    }
    if items.len() > LIST_ITEMS_MAX {
        return Err(format!("the list of {what} has more than {LIST_ITEMS_MAX} parts"));
    }
    Ok(items)
}

fn write_list(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        f.write_str(if index > 0 { "," } else { "" })?;
        write!(f, "{item}")?;
    }
    Ok(())
}
