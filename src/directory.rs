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
//! max_mappings = 10         no bound when left out
//! max_visitors = 100
//! revoked = true            known, but refused
//! ```
//!
//! The license itself is not in there: whoever reads the file cannot log in with it.

use std::collections::BTreeMap;
use std::fmt;

use crate::license::{License, LicenseId, Verifier};
use crate::mapping::{self, Kind, Mapping, Public};
use crate::policy::{HostSet, Networks, PortSet, VisitSet};
use crate::table::{Document, Fields, FileError, quoted};
use crate::text::{did_you_mean, quote};

/// Longest name of a license in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Most licenses of one server.
pub const LICENSES_MAX: usize = 10_000;

/// Most mappings that stand in one license, a range counting once per port.
pub const LICENSE_MAPPINGS_MAX: usize = 1024;

const FIELDS: [&str; 12] = [
    "name",
    "id",
    "public",
    "mac",
    "ports",
    "hosts",
    "map",
    "visit",
    "visitors",
    "max_mappings",
    "max_visitors",
    "revoked",
];

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
    /// The private mappings that it may visit.
    pub visits: VisitSet,
    /// Where visitors of its mappings may come from, whatever these say themselves.
    pub visitors: Networks,
    /// Most mappings of one session; no bound of its own when `None`.
    pub max_mappings: Option<u32>,
    /// Most visitors at once; no bound of its own when `None`.
    pub max_visitors: Option<u32>,
    /// Known, but refused.
    pub revoked: bool,
}

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
            visits: VisitSet::default(),
            visitors: Networks::default(),
            max_mappings: None,
            max_visitors: None,
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

    fn read(fields: &Fields<'_>) -> Result<Self, FileError> {
        let mut entry = Self {
            name: fields.need("name")?.read(check_name)?,
            id: LicenseId(fields.need("id")?.read(|text| hex_decode("id", text))?),
            verifier: Verifier {
                public: fields.need("public")?.read(|text| hex_decode("public", text))?,
                mac: fields.need("mac")?.read(|text| hex_decode("mac", text))?,
            },
            ports: match fields.string("ports")? {
                Some(ports) => ports.read(PortSet::parse)?,
                None => PortSet::default(),
            },
            hosts: HostSet::default(),
            maps: Vec::new(),
            map_texts: Vec::new(),
            visits: VisitSet::default(),
            visitors: Networks::default(),
            max_mappings: fields.number("max_mappings")?,
            max_visitors: fields.number("max_visitors")?,
            revoked: fields.bool("revoked")?.unwrap_or(false),
        };
        entry.hosts = read_set(fields, "hosts", HostSet::from_names)?;
        entry.visits = read_set(fields, "visit", VisitSet::from_items)?;
        if fields.has("visitors") {
            entry.visitors = read_set(fields, "visitors", Networks::from_items)?;
        }
        for map in fields.strings("map")? {
            map.read(|text| entry.add_map(text))?;
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
        if let Some(bound) = self.max_mappings {
            field("max_mappings", bound.to_string());
        }
        if let Some(bound) = self.max_visitors {
            field("max_visitors", bound.to_string());
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
    entries: BTreeMap<String, Entry>,
    names: BTreeMap<LicenseId, String>,
}

impl Directory {
    /// The license that a client names, revoked or not.
    pub fn by_id(&self, id: LicenseId) -> Option<&Entry> {
        self.entries.get(self.names.get(&id)?)
    }

    /// The license that a person names, revoked or not.
    pub fn by_name(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// All licenses, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
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
        let mut directory = Self::default();
        for fields in document.fields(&["license"])?.tables("license", &FIELDS)? {
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
        if let Some(other) = self.names.get(&entry.id) {
            return Err(format!("license `{}` has the id {} of `{other}`", entry.name, entry.id));
        }
        if self.entries.len() == LICENSES_MAX {
            return Err(format!("a server has at most {LICENSES_MAX} licenses"));
        }
        self.names.insert(entry.id, entry.name.clone());
        self.entries.insert(entry.name.clone(), entry);
        Ok(())
    }

    /// Puts `entry` in the place of the license of its name, and returns what was there.
    ///
    /// # Errors
    /// When there is none, or the id is another license's.
    pub fn replace(&mut self, entry: Entry) -> Result<Entry, String> {
        let old = self.find(&entry.name)?.clone();
        if let Some(other) = self.names.get(&entry.id).filter(|&other| *other != entry.name) {
            return Err(format!("license `{}` has the id {} of `{other}`", entry.name, entry.id));
        }
        self.names.remove(&old.id);
        self.names.insert(entry.id, entry.name.clone());
        self.entries.insert(entry.name.clone(), entry);
        Ok(old)
    }

    /// Forgets a license: its client is then a stranger.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn remove(&mut self, name: &str) -> Result<Entry, String> {
        self.find(name)?;
        let entry = self.entries.remove(name).expect("the license was found");
        self.names.remove(&entry.id);
        Ok(entry)
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

    /// Puts a new license under an old name and policy. The old one stops at once: this version has no time
    /// in which both are good, since the point of most rotations is that the old one leaked. A revoked
    /// license is good again by this, as only the new one is.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn rotate(&mut self, name: &str, license: &License) -> Result<(), String> {
        let mut entry = self.find(name)?.clone();
        (entry.id, entry.verifier, entry.revoked) = (license.id(), license.verifier(), false);
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

/// A set that stands in the file as a list: one item at a time for the line of what is wrong, all together for the set.
fn read_set<'a, T>(
    fields: &'a Fields<'_>,
    key: &str,
    of: impl Fn(Vec<&'a str>) -> Result<T, String>,
) -> Result<T, FileError> {
    let mut texts = Vec::new();
    for item in fields.strings(key)? {
        texts.push(item.value);
        item.read(|text| of(vec![text]))?;
    }
    of(texts).map_err(|what| FileError { line: fields.line(), what })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hex_decode<const N: usize>(key: &str, text: &str) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    let good = text.len() == 2 * N && text.bytes().all(|b| b.is_ascii_hexdigit());
    for (at, byte) in bytes.iter_mut().enumerate().take_while(|_| good) {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("two hexadecimal digits");
    }
    let fault =
        || format!("`{key}` is not {} hexadecimal digits: restore the file, or rotate this license", 2 * N);
    if good { Ok(bytes) } else { Err(fault()) }
}
