//! What a server knows of its licenses: `licenses.toml`, which nt writes and a person can read.
//!
//! ```text
//! [[license]]
//! name = "nas"              1 to 64 of A-Z a-z 0-9 . _ -, not first a -
//! id = "0001020304050607"   the license's public name
//! public = "80abc5.."       Ed25519 public key of the client, 64 hexadecimal digits
//! mac = "ee9166.."          key of the server's own proof, secret, 64 hexadecimal digits
//! ports = "1024-65535"      what it may publish; `none` for none
//! hosts = ["*.example.com"] and under which names
//! map = ["2222:22"]         what it publishes without being asked
//! visit = ["box/ssh"]       which private mappings of other licenses it may visit
//! visitors = ["10.0.0.0/8"] networks that its own visitors may come from; any when left out, none when empty
//! clients = 3               at once, between which its visitors are divided; 1 when left out
//! max_mappings = 10         no bound when left out
//! max_visitors = 100
//! rate = "10M/2M"           bytes a second of all its visitors together: to the client, and from it; 2M is each way
//! quota = "100G"            bytes a month, both ways
//! quota_day = 5             on which it begins anew, 1 to 28 (1 when left out), UTC
//! over_quota = "64K"        what passes then: so many bytes a second, or "stop" (when left out)
//! connects = "30/10s"       visits of one address to its mappings, in a time; who makes more is banned for a while
//! expires = "2027-01-31"    the last day on which it is good, UTC
//! old_id, old_public, old_mac   of the license before it was rotated: good until the new one is used
//! revoked = true            known, but refused
//! ```
//!
//! The license itself is not in there: whoever reads the file cannot log in with it.

mod fields;

use std::fmt;

use crate::calendar::Date;
use crate::license::{License, LicenseId, Verifier};
use crate::mapping::{self, Kind, Mapping, Public};
use crate::policy::{HostSet, Networks, Pace, PortSet, Quota, Rates, VisitSet};
use crate::sorted::Sorted;
use crate::table::{Document, Fields, FileError, quoted};
use crate::text::{did_you_mean, hex, quote, show_bytes};
use fields::{read_key, read_old, read_quota, read_set};

/// Longest name of a license in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Most licenses of one server.
pub const LICENSES_MAX: usize = 10_000;

/// Most mappings that stand in one license, a range counting once per port.
pub const LICENSE_MAPPINGS_MAX: usize = 1024;

/// Most clients that serve one license at once.
pub const LICENSE_CLIENTS_MAX: u32 = 64;

/// What a license may, by the names that it has in the file. What depends on another one stands behind it.
pub const SETTINGS: [&str; 13] = [
    "ports",
    "hosts",
    "visit",
    "visitors",
    "clients",
    "max_mappings",
    "max_visitors",
    "rate",
    "quota",
    "quota_day",
    "over_quota",
    "connects",
    "expires",
];

/// What else stands there, of every license.
const OTHER_FIELDS: [&str; 6] = ["name", "id", "public", "mac", "map", "revoked"];

/// … and of one that was rotated.
const OLD_FIELDS: [&str; 3] = ["old_id", "old_public", "old_mac"];

const HEADING: &str = "\
# The licenses of this server. Secret: it lets one pose as the server. It lets nobody log in.
# Written by `nt license ...`; comments of your own are lost then. Read again when it changes.
";

/// Why a text is no directory.
pub type DirectoryError = FileError;

/// What is known of one license.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, as [`check_name`] takes it.
    pub name: String,
    /// Its public name, sent by the client.
    pub id: LicenseId,
    /// What recognises it.
    pub verifier: Verifier,
    /// The ports it may publish.
    pub ports: PortSet,
    /// The names it may publish.
    pub hosts: HostSet,
    /// What it publishes without being asked.
    pub maps: Vec<Mapping>,
    /// The same as it was written.
    pub map_texts: Vec<String>,
    /// Where they stand in the text that they were read from.
    pub map_lines: Lines,
    /// The private mappings that it may visit.
    pub visits: VisitSet,
    /// Where visitors of its mappings may come from, whatever these say themselves.
    pub visitors: Networks,
    /// Clients that serve it at once, at least 1.
    pub clients: u32,
    /// Most mappings of one session; no bound of its own when `None`.
    pub max_mappings: Option<u32>,
    /// Most visitors at once; no bound of its own when `None`.
    pub max_visitors: Option<u32>,
    /// What passes of all its visitors together, in a second …
    pub rates: Rates,
    /// … and in a month.
    pub quota: Option<Quota>,
    /// How often one visitor's address may come.
    pub pace: Option<Pace>,
    /// The last day on which it is good.
    pub expires: Option<Date>,
    /// The license before this one, which is good until this one is used.
    pub old: Option<(LicenseId, Verifier)>,
    /// Known, but refused.
    pub revoked: bool,
}

/// Lines of a text, counted from 1. They are no part of what it says: one as another is equal.
#[derive(Clone, Debug, Default)]
pub struct Lines(Vec<usize>);

impl Lines {
    /// The line of the item with this index, where that is known.
    pub fn get(&self, index: usize) -> Option<usize> {
        self.0.get(index).copied()
    }
}

impl PartialEq for Lines {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Lines {}

impl Entry {
    /// The entry of `license` under `name`, with the policy of a license for which nothing was said: any
    /// port from 1024, no names, no mappings, no bounds.
    ///
    /// # Errors
    /// A sentence when the name cannot be one.
    pub fn new(name: &str, license: &License) -> Result<Self, String> {
        Ok(Self {
            name: check_name(name)?,
            id: license.id(),
            verifier: license.verifier(),
            ports: PortSet::default(),
            hosts: HostSet::default(),
            maps: Vec::new(),
            map_texts: Vec::new(),
            map_lines: Lines::default(),
            visits: VisitSet::default(),
            visitors: Networks::default(),
            clients: 1,
            max_mappings: None,
            max_visitors: None,
            rates: Rates::FREE,
            quota: None,
            pace: None,
            expires: None,
            old: None,
            revoked: false,
        })
    }

    /// Adds a mapping that stands in the license.
    ///
    /// # Errors
    /// What is wrong with `text`, or why it cannot be added.
    pub fn add_map(&mut self, text: &str) -> Result<(), String> {
        let mapping = mapping::parse(text).map_err(|error| error.to_string())?;
        let held: usize = self.maps.iter().map(|mapping| usize::from(mapping.count())).sum();
        if held + usize::from(mapping.count()) > LICENSE_MAPPINGS_MAX {
            return Err(format!("a license has at most {LICENSE_MAPPINGS_MAX} mappings, or ports of them"));
        }
        if let Some(twice) = self.maps.iter().find_map(|other| other.collision(&mapping)) {
            return Err(format!("{} is published twice by this license", quote(&twice.to_string())));
        }
        self.maps.push(mapping);
        self.map_texts.push(text.trim().to_string());
        Ok(())
    }

    /// Takes a mapping out that stands in the license; `text` is all of it, or its public side. Its route.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn remove_map(&mut self, text: &str) -> Result<String, String> {
        let wanted = mapping::parse(text).ok();
        let is_it = |mapping: &Mapping| {
            let public = mapping.public.to_string();
            let named = text == public || text == format!("{public}/{}", mapping.kind);
            let same = |wanted: &Mapping| wanted.public == mapping.public && wanted.kind == mapping.kind;
            named || wanted.as_ref().is_some_and(same)
        };
        let found: Vec<usize> = (0..self.maps.len()).filter(|&at| is_it(&self.maps[at])).collect();
        match found[..] {
            [at] => {
                self.map_texts.remove(at);
                self.map_lines = Lines::default();
                Ok(self.maps.remove(at).route().to_string())
            }
            [] => {
                let route = text.split(',').next().unwrap_or_default();
                let name = &self.name;
                Err(format!(
                    "license `{name}` has no mapping {} (`nt map list {name}` shows all)",
                    quote(route)
                ))
            }
            _ => Err(format!("{} is more than one mapping: write /tcp or /udp behind it", quote(text))),
        }
    }

    /// Whether this license may publish `mapping`. To be asked at every bind, not only at login.
    ///
    /// # Errors
    /// A sentence that names the license, what it may not, and what it may.
    pub fn permits(&self, mapping: &Mapping) -> Result<(), String> {
        let name = &self.name;
        match &mapping.public {
            Public::Ports { ports, .. } if ports.is_any() && self.ports.count() > 0 => Ok(()),
            Public::Ports { ports, .. } if ports.is_any() => {
                Err(format!("license `{name}` may publish no ports"))
            }
            Public::Ports { ports, .. } => match ports.iter().find(|&port| !self.ports.contains(port)) {
                Some(port) => {
                    Err(format!("license `{name}` may not publish port {port}; its ports: {}", self.ports))
                }
                None => Ok(()),
            },
            // It has no public place.
            Public::Name { .. } if mapping.kind == Kind::Private => Ok(()),
            Public::Name { name: host, .. } if self.hosts.contains(host) => Ok(()),
            Public::Name { name: host, .. } => {
                Err(format!("license `{name}` may not publish {host}; its names: {}", self.hosts))
            }
        }
    }

    /// The ids of its licenses: of this one, and of the one before.
    pub fn ids(&self) -> impl Iterator<Item = LicenseId> {
        [Some(self.id), self.old.as_ref().map(|(id, _)| *id)].into_iter().flatten()
    }

    /// What recognises the license of this id, which is one of [`Self::ids`].
    pub fn verifier_of(&self, id: LicenseId) -> &Verifier {
        match &self.old {
            Some((old, verifier)) if *old == id => verifier,
            _ => &self.verifier,
        }
    }

    /// Whether it is not good any more on this day.
    pub fn is_expired(&self, today: Option<Date>) -> bool {
        self.expires.zip(today).is_some_and(|(last, today)| last < today)
    }

    fn read(fields: &Fields<'_>) -> Result<Self, FileError> {
        let mut entry = Self {
            name: fields.need("name")?.read(check_name)?,
            id: LicenseId(read_key(fields, "id")?),
            verifier: Verifier { public: read_key(fields, "public")?, mac: read_key(fields, "mac")? },
            ports: match fields.string("ports")? {
                Some(ports) => ports.read(PortSet::parse)?,
                None => PortSet::default(),
            },
            hosts: HostSet::default(),
            maps: Vec::new(),
            map_texts: Vec::new(),
            map_lines: Lines::default(),
            visits: VisitSet::default(),
            visitors: Networks::default(),
            clients: 1,
            max_mappings: fields.number("max_mappings")?,
            max_visitors: fields.number("max_visitors")?,
            rates: Rates::FREE,
            quota: read_quota(fields)?,
            pace: None,
            expires: None,
            old: read_old(fields)?,
            revoked: fields.bool("revoked")?.unwrap_or(false),
        };
        if let Some(clients) = fields.number("clients")? {
            let fault = |what| FileError { line: fields.line(), what: format!("`clients`: {what}") };
            entry.clients = check_clients(clients).map_err(fault)?;
        }
        entry.hosts = read_set(fields, "hosts", HostSet::from_names)?;
        entry.visits = read_set(fields, "visit", VisitSet::from_items)?;
        if fields.has("visitors") {
            entry.visitors = read_set(fields, "visitors", Networks::from_items)?;
        }
        if let Some(rate) = fields.string("rate")? {
            entry.rates = rate.read(Rates::parse)?;
        }
        if let Some(pace) = fields.string("connects")? {
            entry.pace = Some(pace.read(Pace::parse)?);
        }
        if let Some(expires) = fields.string("expires")? {
            entry.expires = Some(expires.read(Date::parse)?);
        }
        for map in fields.strings("map")? {
            let line = map.line;
            map.read(|text| entry.add_map(text))?;
            entry.map_lines.0.push(line);
        }
        Ok(entry)
    }

    fn write(&self, toml: &mut String) {
        let mut field = |key: &str, value: String| {
            toml.push_str(key);
            toml.push_str(" = ");
            toml.push_str(&value);
            toml.push('\n');
        };
        let list = |items: Vec<String>| format!("[{}]", items.join(", "));
        field("name", quoted(&self.name));
        field("id", quoted(&self.id.to_string()));
        field("public", quoted(&hex(&self.verifier.public)));
        field("mac", quoted(&hex(&self.verifier.mac)));
        field("ports", quoted(&self.ports.to_string()));
        field("hosts", list(self.hosts.iter().map(quoted).collect()));
        field("map", list(self.map_texts.iter().map(|text| quoted(text)).collect()));
        if self.visits != VisitSet::default() {
            field("visit", list(self.visits.iter().map(quoted).collect()));
        }
        if !self.visitors.is_everybody() {
            field(
                "visitors",
                list(self.visitors.iter().map(|network| quoted(&network.to_string())).collect()),
            );
        }
        if self.clients != 1 {
            field("clients", self.clients.to_string());
        }
        if let Some(bound) = self.max_mappings {
            field("max_mappings", bound.to_string());
        }
        if let Some(bound) = self.max_visitors {
            field("max_visitors", bound.to_string());
        }
        if self.rates != Rates::FREE {
            field("rate", quoted(&self.rates.to_string()));
        }
        if let Some(Quota { bytes, day, beyond }) = self.quota {
            field("quota", quoted(&show_bytes(bytes)));
            field("quota_day", day.to_string());
            field("over_quota", quoted(&beyond.map_or_else(|| "stop".to_owned(), |rates| rates.to_string())));
        }
        if let Some(pace) = self.pace {
            field("connects", quoted(&pace.to_string()));
        }
        if let Some(day) = self.expires {
            field("expires", quoted(&day.to_string()));
        }
        if let Some((id, verifier)) = &self.old {
            let values = [id.to_string(), hex(&verifier.public), hex(&verifier.mac)];
            OLD_FIELDS.into_iter().zip(values).for_each(|(key, value)| field(key, quoted(&value)));
        }
        if self.revoked {
            field("revoked", "true".to_string());
        }
    }
}

impl fmt::Debug for Entry {
    /// Without the texts of the mappings, which may have passwords in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .field("id", &self.id)
            .field("verifier", &self.verifier)
            .field("ports", &self.ports)
            .field("hosts", &self.hosts)
            .field("maps", &self.maps)
            .field("visits", &self.visits)
            .field("visitors", &self.visitors)
            .field("rates", &self.rates)
            .field("quota", &self.quota)
            .field("pace", &self.pace)
            .field("expires", &self.expires)
            .field("old", &self.old)
            .field("clients", &self.clients)
            .field("max_mappings", &self.max_mappings)
            .field("max_visitors", &self.max_visitors)
            .field("revoked", &self.revoked)
            .finish_non_exhaustive()
    }
}

/// The licenses of a server, by id and by name. Equal directories are equal in every entry, so that a
/// server can see what changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Boxed: what stands behind a new one is moved.
    entries: Sorted<String, Box<Entry>>,
    names: Sorted<LicenseId, String>,
}

impl Directory {
    /// The license that a client names, revoked or not; the one of before by its own id, too.
    pub fn by_id(&self, id: LicenseId) -> Option<&Entry> {
        self.by_name(self.names.get(&id)?)
    }

    /// The license that a person names, revoked or not.
    pub fn by_name(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name).map(Box::as_ref)
    }

    /// All licenses, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(Box::as_ref)
    }

    /// How many licenses there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reads `licenses.toml`.
    ///
    /// # Errors
    /// The line, what is wrong there and what to do. No key is repeated in it.
    pub fn parse(text: &str) -> Result<Self, DirectoryError> {
        let document = Document::parse(text)?;
        let known = [&OTHER_FIELDS[..], &SETTINGS, &OLD_FIELDS].concat();
        let mut directory = Self::default();
        for fields in document.fields(&["license"])?.tables("license", &known)? {
            let entry = Entry::read(&fields)?;
            directory.add(entry).map_err(|what| FileError { line: fields.line(), what })?;
        }
        Ok(directory)
    }

    /// The text of `licenses.toml`, which [`Directory::parse`] reads. **Has secrets in it.**
    pub fn to_toml(&self) -> String {
        let mut toml = HEADING.to_string();
        for entry in self.iter() {
            toml.push_str("\n[[license]]\n");
            entry.write(&mut toml);
        }
        toml
    }

    /// Adds a license.
    ///
    /// # Errors
    /// When its name or id is taken, or there are [`LICENSES_MAX`] already.
    pub fn add(&mut self, entry: Entry) -> Result<(), String> {
        if self.entries.contains_key(&entry.name) {
            return Err(format!(
                "there is a license `{0}` already; `nt license rotate {0}` makes a new one in its place",
                entry.name
            ));
        }
        if self.entries.len() == LICENSES_MAX {
            return Err(format!("a server has at most {LICENSES_MAX} licenses"));
        }
        self.insert(entry)
    }

    /// Keeps an entry whose name is free, unless one of its ids is another's.
    fn insert(&mut self, entry: Entry) -> Result<(), String> {
        let ids: Vec<LicenseId> = entry.ids().collect();
        let taken = ids.iter().find_map(|id| Some((id, self.names.get(id)?)));
        if let Some((id, other)) = taken {
            return Err(format!("license `{}` has the id {id} of `{other}`", entry.name));
        }
        self.names.extend(ids.into_iter().map(|id| (id, entry.name.clone())));
        self.entries.insert(entry.name.clone(), entry.into());
        Ok(())
    }

    /// Puts `entry` in the place of the license of its name, and returns what was there.
    ///
    /// # Errors
    /// When there is none, or the id is another license's.
    pub fn replace(&mut self, entry: Entry) -> Result<Entry, String> {
        let old = self.remove(&entry.name)?;
        match self.insert(entry) {
            Ok(()) => Ok(old),
            Err(what) => {
                self.insert(old)?;
                Err(what)
            }
        }
    }

    /// Forgets a license: its client is then a stranger.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn remove(&mut self, name: &str) -> Result<Entry, String> {
        self.find(name)?;
        let entry = self.entries.remove(name).expect("the license was found");
        entry.ids().for_each(|id| _ = self.names.remove(&id));
        Ok(*entry)
    }

    /// Has a license refused from now on, but remembers it, so that its client is told why.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn revoke(&mut self, name: &str) -> Result<(), String> {
        let mut entry = self.find(name)?.clone();
        entry.revoked = true;
        self.replace(entry).map(drop)
    }

    /// Puts a new license under an old name and policy. The old one is good until the new one is used, so that no
    /// client is cut off while the new text is on its way to it; unless it is to stop `at_once`, since it leaked,
    /// or is revoked: then the new one alone is good.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn rotate(&mut self, name: &str, license: &License, at_once: bool) -> Result<(), String> {
        let mut entry = self.find(name)?.clone();
        let old = (entry.id, std::mem::replace(&mut entry.verifier, license.verifier()));
        entry.old = (!at_once && !entry.revoked).then_some(old);
        (entry.id, entry.revoked) = (license.id(), false);
        self.replace(entry).map(drop)
    }

    /// The license that a person names.
    ///
    /// # Errors
    /// When there is none of this name; a sentence with the nearest one.
    pub fn find(&self, name: &str) -> Result<&Entry, String> {
        let known: Vec<&str> = self.entries.keys().map(String::as_str).collect();
        let unknown = || {
            let meant = did_you_mean(name, &known);
            format!("there is no license {}{meant} (`nt license list` shows all)", quote(name))
        };
        self.by_name(name).ok_or_else(unknown)
    }
}

/// `name`, if a license can have it: 1 to 64 of A-Z, a-z, 0-9, dot, underscore and hyphen, and no hyphen
/// first, which a command would take for a flag.
///
/// # Errors
/// A sentence that quotes the name.
pub fn check_name(name: &str) -> Result<String, String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with('-');
    if fits && name.bytes().all(good) {
        return Ok(name.to_string());
    }
    Err(format!(
        "the name {} is not 1 to {NAME_BYTES_MAX} letters, digits, dots, underscores and hyphens",
        quote(name)
    ))
}

/// How many clients may serve a license at once.
///
/// # Errors
/// When it is none, or more than [`LICENSE_CLIENTS_MAX`].
pub fn check_clients(clients: u32) -> Result<u32, String> {
    let fault = || format!("a license has from 1 to {LICENSE_CLIENTS_MAX} clients at once");
    Some(clients).filter(|clients| (1..=LICENSE_CLIENTS_MAX).contains(clients)).ok_or_else(fault)
}
