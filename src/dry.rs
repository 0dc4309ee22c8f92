//! Whether the ports that other licenses would publish can be had: which are to be tried before those hold, and what
//! came of it. Who tries opens each for a moment, as the server would.

use std::net::{IpAddr, SocketAddr};

use crate::directory::{Directory, Entry};
use crate::door::Port;
use crate::limits::TRIED_PORTS_MAX;
use crate::mapping::{Kind, Ports, Public};
use crate::plan::Picture;
use crate::reason::Reason;
use crate::sorted::Sorted;

/// What was found out.
#[derive(Debug, Default)]
pub struct Found {
    /// Ports that cannot be had, and why; with the line of the mapping, where it was read from a text.
    pub faults: Vec<String>,
    /// What cannot be told.
    pub warnings: Vec<String>,
}

/// A place that the running server has open.
#[derive(Clone, Debug)]
pub struct Held {
    /// Whose it is.
    pub license: String,
    /// The mapping; none where the server has it for itself.
    pub mapping: Option<String>,
    /// Whether it is for datagrams.
    pub udp: bool,
    /// Its address …
    pub ip: IpAddr,
    /// … and ports.
    pub ports: Ports,
    /// It is there because the license says so, not the client.
    pub stands: bool,
}

/// What is to be tried.
#[derive(Debug, Default)]
pub struct Trial {
    mappings: Vec<Tried>,
    /// There is more than is tried.
    cut_short: bool,
}

/// The licenses that want a port of UDP, or of TCP, and at which addresses.
type Claims<'a> = Sorted<(bool, u16), Vec<(IpAddr, &'a str)>>;

/// A mapping whose place is new.
#[derive(Debug)]
struct Tried {
    license: String,
    route: String,
    line: Option<usize>,
    ip: IpAddr,
    udp: bool,
    ports: Vec<(u16, Standing)>,
}

/// What is known of a port without opening it.
#[derive(Debug)]
enum Standing {
    /// It can be had when it comes to that.
    Free,
    /// It cannot, because of another license.
    Wanted(String),
    /// It is to be tried; whoever seems to have it is named.
    Untried(Option<String>),
}

impl Trial {
    /// Looks at the places that are new in `after`, on a server that has `held` open.
    pub fn new(before: &Picture, after: &Directory, held: &[Held]) -> Self {
        let mut claimed = Claims::new();
        let mut holders: Sorted<(bool, u16), Vec<&Held>> = Sorted::new();
        for one in held {
            one.ports.iter().for_each(|port| holders.get_or_default((one.udp, port)).push(one));
        }
        let (mut trial, mut left) = (Self::default(), TRIED_PORTS_MAX);
        for (entry, mapping, line) in before.new_places(after) {
            let Public::Ports { ports, .. } = mapping.public else { continue };
            let Some(first) = mapping.public.address().filter(|_| !ports.is_any()) else { continue };
            let (ip, udp) = (first.ip(), mapping.kind == Kind::Udp);
            let few: Vec<u16> = ports.iter().take(left).collect();
            left -= few.len();
            trial.cut_short |= few.len() < usize::from(mapping.count());
            let ports = few.into_iter().map(|port| {
                let claims = claimed.get_or_default((udp, port));
                let other = claims.iter().find(|(other, name)| *name != entry.name && meet(*other, ip));
                let holder =
                    holders.get(&(udp, port)).and_then(|held| held.iter().find(|held| meet(held.ip, ip)));
                let standing = match other {
                    Some((_, name)) => Standing::Wanted(format!("is wanted by license `{name}` as well")),
                    None => standing(after, entry, holder.copied()),
                };
                claims.push((ip, &entry.name));
                (port, standing)
            });
            let ports = ports.collect();
            let (license, route) = (entry.name.clone(), mapping.route().to_string());
            trial.mappings.push(Tried { license, route, line, ip, udp, ports });
        }
        trial
    }

    /// The ports to try, in the order in which [`Self::found`] hears of them.
    pub fn ports(&self) -> Vec<Port> {
        let of = |tried: &Tried| {
            let untried = tried.ports.iter().filter(|(_, standing)| matches!(standing, Standing::Untried(_)));
            let (ip, udp) = (tried.ip, tried.udp);
            untried.map(|(port, _)| (SocketAddr::new(ip, *port), udp)).collect::<Vec<_>>()
        };
        self.mappings.iter().flat_map(of).collect()
    }

    /// What came of it: `tried` says of each port why it could not be opened, if so. `knows` says whether what whoever
    /// tried may not do the server may not either.
    pub fn found(self, tried: Vec<Option<Reason>>, knows: bool) -> Found {
        let mut found = Found::default();
        let mut tried = tried.into_iter();
        for mapping in self.mappings {
            let mut wrong = Vec::new();
            for (port, standing) in &mapping.ports {
                let why = match standing {
                    Standing::Free => None,
                    Standing::Wanted(by) => Some(format!("port {port} {by}")),
                    Standing::Untried(holder) => match tried.next().flatten() {
                        Some(Reason::NoPrivilege) if !knows => {
                            let why =
                                format!("port {port} is below 1024, and could not be tried by this user");
                            found.warnings.push(mapping.says(&why));
                            None
                        }
                        reason => {
                            reason.map(|reason| wrong_with(*port, mapping.ip, reason, holder.as_deref()))
                        }
                    },
                };
                wrong.extend(why);
            }
            match &wrong[..] {
                [] => {}
                [why] => found.faults.push(mapping.says(why)),
                [why, more @ ..] => {
                    let why = format!("{why} (and so with {} more of its ports)", more.len());
                    found.faults.push(mapping.says(&why));
                }
            }
        }
        if self.cut_short {
            found.warnings.push(format!("only the first {TRIED_PORTS_MAX} new ports were tried"));
        }
        found
    }
}

impl Tried {
    fn says(&self, why: &str) -> String {
        let line = self.line.map_or_else(String::new, |line| format!("line {line}: "));
        format!("{line}license `{}`, mapping {}: {why}", self.license, self.route)
    }
}

/// What is known of a port that nobody else wants, and that `holder` has open.
fn standing(after: &Directory, entry: &Entry, holder: Option<&Held>) -> Standing {
    match holder {
        // What the license has itself, or another gives up, can be had when it comes to that.
        Some(held) if held.license == entry.name || held.is_given_up(after) => Standing::Free,
        Some(Held { license, mapping: Some(mapping), .. }) => {
            Standing::Untried(Some(format!("license `{license}` (its mapping {mapping})")))
        }
        Some(_) => Standing::Untried(Some("the server itself".to_owned())),
        None => Standing::Untried(None),
    }
}

impl Held {
    /// Whether what is open now would not be any more.
    fn is_given_up(&self, after: &Directory) -> bool {
        let Some(mapping) = &self.mapping else { return false };
        let Some(entry) = after.by_name(&self.license).filter(|entry| !entry.revoked) else {
            return true;
        };
        self.stands && !entry.maps.iter().any(|map| map.route().to_string() == *mapping)
    }
}

fn wrong_with(port: u16, ip: IpAddr, reason: Reason, holder: Option<&str>) -> String {
    match reason {
        Reason::InUse => format!("port {port} is in use by {}", holder.unwrap_or("another program")),
        Reason::NoSuchAddress => format!("{ip} is no address of this machine"),
        Reason::NoPrivilege => {
            format!("port {port} is below 1024: run the server with CAP_NET_BIND_SERVICE to open it")
        }
        reason => format!("port {port}: {reason}"),
    }
}

/// Whether two listeners on one port of these addresses are in each other's way.
pub fn meet(one: IpAddr, other: IpAddr) -> bool {
    one == other || one.is_unspecified() || other.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::{LICENSE_BYTES, License};

    fn directory(licenses: &[(&str, &[&str])]) -> Directory {
        let mut directory = Directory::default();
        for (n, (name, maps)) in licenses.iter().enumerate() {
            let license = License::from_random([n as u8; LICENSE_BYTES]);
            let mut entry = Entry::new(name, &license).expect("a name");
            maps.iter().for_each(|map| entry.add_map(map).expect("a mapping"));
            directory.add(entry).expect("room");
        }
        Directory::parse(&directory.to_toml()).expect("what was written is read")
    }

    fn held(license: &str, mapping: Option<&str>, port: u16) -> Held {
        let (license, mapping) = (license.to_owned(), mapping.map(str::to_owned));
        let (ip, ports) = (IpAddr::from([0, 0, 0, 0]), Ports::row(port, 1));
        Held { license, mapping, udp: false, ip, ports, stands: true }
    }

    #[test]
    fn what_needs_no_try_is_not_tried_and_every_fault_names_its_line() {
        let before = directory(&[("box", &["7000:1"]), ("nas", &["7001:1"])]);
        let after = directory(&[
            ("box", &["7001:9", "9002:9", "7100-7102:9-11"]),
            ("cam", &["7002:9", "127.0.0.1:7100:9"]),
            ("nas", &["7001:1", "7003:9/udp"]),
        ]);
        let open = [
            held("box", Some("7000:1"), 7000),
            held("box", Some("7002:1"), 7002),
            held("nas", Some("7001:1"), 7001),
            held("", None, 9002),
        ];
        let trial = Trial::new(&Picture::of(&before), &after, &open);
        let tried: Vec<(u16, bool)> =
            trial.ports().iter().map(|(address, udp)| (address.port(), *udp)).collect();
        // 7002 is given up by its license; 7100 is wanted twice, and the first may have it.
        let tcp = [7001, 9002, 7100, 7101, 7102].map(|port| (port, false));
        assert_eq!(tried, [&tcp[..], &[(7003, true)]].concat());
        let in_use = Some(Reason::InUse);
        let tried = vec![in_use, in_use, None, in_use, in_use, Some(Reason::NoPrivilege)];
        let found = trial.found(tried, false);
        let line = |map: &str| {
            let text = after.to_toml();
            text.lines().position(|line| line.contains(map)).expect("it is there") + 1
        };
        let (first, second) = (line("7100-7102"), line("127.0.0.1:7100"));
        assert_eq!(
            found.faults,
            [
                format!(
                    "line {first}: license `box`, mapping 7001:9: port 7001 is in use by license `nas` (its \
                     mapping 7001:1)"
                ),
                format!(
                    "line {first}: license `box`, mapping 9002:9: port 9002 is in use by the server itself"
                ),
                format!(
                    "line {first}: license `box`, mapping 7100-7102:9-11: port 7101 is in use by another program \
                     (and so with 1 more of its ports)"
                ),
                format!(
                    "line {second}: license `cam`, mapping 127.0.0.1:7100:9: port 7100 is wanted by license `box` \
                     as well"
                ),
            ]
        );
        assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
    }

    #[test]
    fn more_than_can_be_tried_is_said() {
        let after = directory(&[("box", &["1024-2023:1024-2023"])]);
        let trial = Trial::new(&Picture::default(), &after, &[]);
        assert_eq!(trial.ports().len(), 1000);
        assert!(!trial.cut_short);
        let maps: Vec<String> =
            (0..5).map(|n| format!("{0}-{1}:{0}-{1}", 2000 + n * 1000, 2999 + n * 1000)).collect();
        let licenses = ["a", "b", "c", "d", "e"].iter().zip(&maps).map(|(name, map)| (*name, [map.as_str()]));
        let licenses: Vec<(&str, [&str; 1])> = licenses.collect();
        let licenses: Vec<(&str, &[&str])> = licenses.iter().map(|(name, maps)| (*name, &maps[..])).collect();
        let trial = Trial::new(&Picture::default(), &directory(&licenses), &[]);
        let ports = trial.ports();
        assert_eq!(ports.len(), TRIED_PORTS_MAX);
        let found = trial.found(vec![None; ports.len()], true);
        assert_eq!((found.faults.len(), found.warnings.len()), (0, 1));
    }
}
