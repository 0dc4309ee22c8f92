//! What a person changes of the licenses, whether by a command, by the API or by a page: one set of words for all.

use crate::calendar::Date;
use crate::directory::{Directory, Entry, check_clients};
use crate::license::License;
use crate::policy::{HostSet, Networks, Pace, PortSet, Quota, Rates, VisitSet};
use crate::text::{number, parse_bytes, quote};

/// Settings of a license that are to be others: each of [`SETTINGS`](crate::directory::SETTINGS), and its text.
pub type Settings = Vec<(&'static str, String)>;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// One more license.
    Add {
        /// Its name.
        name: String,
        /// What it may; the rest as is usual.
        settings: Settings,
        /// What it publishes without being asked.
        maps: Vec<String>,
    },
    /// Other settings of one.
    Set {
        /// Its name.
        name: String,
        /// What it may from now on; the rest stays.
        settings: Settings,
    },
    /// A new text for one.
    Rotate {
        /// Its name.
        name: String,
        /// The old one stops at once.
        now: bool,
    },
    /// One is refused from now on.
    Revoke {
        /// Its name.
        name: String,
    },
    /// One is forgotten.
    Remove {
        /// Its name.
        name: String,
    },
    /// A mapping more in one.
    AddMap {
        /// Its name.
        name: String,
        /// The mapping.
        mapping: String,
    },
    /// A mapping fewer.
    RemoveMap {
        /// Its name.
        name: String,
        /// The mapping, or its public side.
        mapping: String,
    },
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// The license as it is now; `None` when it is forgotten.
    pub entry: Option<Entry>,
    /// Its new text, where it has one. **Secret**, and to be had this once.
    pub license: Option<License>,
    /// A sentence about it.
    pub what: String,
}

/// Why a change was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotEdited {
    /// The setting that is wrong, where it is one.
    pub setting: Option<&'static str>,
    /// A sentence.
    pub what: String,
}

impl From<String> for NotEdited {
    fn from(what: String) -> Self {
        Self { setting: None, what }
    }
}

impl Edit {
    /// Makes the change; `fresh` is a license that nobody has, for those that need one.
    ///
    /// # Errors
    /// What is wrong; then nothing is to be kept of it.
    pub fn apply(
        &self,
        directory: &mut Directory,
        fresh: &License,
        today: Option<Date>,
    ) -> Result<Edited, NotEdited> {
        let (name, license, what) = match self {
            Self::Add { name, settings, maps } => {
                let mut entry = Entry::new(name, fresh)?;
                set_all(&mut entry, settings, today)?;
                for map in maps {
                    entry.add_map(map).map_err(|what| NotEdited { setting: Some("map"), what })?;
                }
                check(&entry)?;
                directory.add(entry)?;
                (name, Some(fresh), format!("License `{name}` is there."))
            }
            Self::Set { name, settings } => {
                let mut entry = directory.find(name)?.clone();
                set_all(&mut entry, settings, today)?;
                check(&entry)?;
                directory.replace(entry)?;
                (name, None, format!("License `{name}` has changed."))
            }
            Self::Rotate { name, now } => {
                directory.rotate(name, fresh, *now)?;
                let old = if directory.find(name)?.old.is_some() {
                    "the old one is good until the new one is used (--now would stop it at once)"
                } else {
                    "the old one is refused from now on"
                };
                (name, Some(fresh), format!("License `{name}` has a new text; {old}."))
            }
            Self::Revoke { name } => {
                directory.revoke(name)?;
                (name, None, format!("License `{name}` is refused from now on."))
            }
            Self::Remove { name } => {
                directory.remove(name)?;
                (name, None, format!("License `{name}` is forgotten."))
            }
            Self::AddMap { name, mapping } => {
                let mut entry = directory.find(name)?.clone();
                entry.add_map(mapping)?;
                check(&entry)?;
                let route = entry.maps.last().map_or_else(String::new, |mapping| mapping.route().to_string());
                directory.replace(entry)?;
                (name, None, format!("License `{name}` publishes {route} now."))
            }
            Self::RemoveMap { name, mapping } => {
                let mut entry = directory.find(name)?.clone();
                let route = entry.remove_map(mapping)?;
                directory.replace(entry)?;
                (name, None, format!("License `{name}` does not publish {route} any more."))
            }
        };
        let entry = directory.by_name(name).cloned();
        Ok(Edited { entry, license: license.cloned(), what })
    }
}

fn set_all(entry: &mut Entry, settings: &Settings, today: Option<Date>) -> Result<(), NotEdited> {
    for (setting, text) in settings {
        set(entry, setting, text, today).map_err(|what| NotEdited { setting: Some(setting), what })?;
    }
    Ok(())
}

fn set(entry: &mut Entry, setting: &str, text: &str, today: Option<Date>) -> Result<(), String> {
    const NO_QUOTA: &str = "says nothing without a quota";
    match setting {
        "ports" => entry.ports = PortSet::parse(text)?,
        "hosts" => entry.hosts = HostSet::parse(text)?,
        "visit" => entry.visits = VisitSet::parse(text)?,
        "visitors" => entry.visitors = Networks::parse(text)?,
        "clients" => {
            entry.clients = if is_none(text) { 1 } else { check_clients(number(text).unwrap_or(0))? }
        }
        "max_mappings" => entry.max_mappings = bound(text)?,
        "max_visitors" => entry.max_visitors = bound(text)?,
        "rate" => entry.rates = if is_none(text) { Rates::FREE } else { Rates::parse(text)? },
        "quota" if is_none(text) => entry.quota = None,
        "quota" => {
            let bytes = parse_bytes(text).map_err(|what| format!("{} {what}", quote(text)))?;
            let before = entry.quota.unwrap_or(Quota { bytes, day: 1, beyond: None });
            entry.quota = Some(Quota { bytes, ..before });
        }
        "quota_day" => {
            entry.quota.as_mut().ok_or(NO_QUOTA)?.day = Quota::check_day(number(text).unwrap_or(0))?;
        }
        "over_quota" => entry.quota.as_mut().ok_or(NO_QUOTA)?.beyond = Quota::parse_beyond(text)?,
        "connects" => entry.pace = if is_none(text) { None } else { Some(Pace::parse(text)?) },
        "expires" => entry.expires = expiry(text, today)?,
        _ => return Err("is no setting of a license".to_owned()),
    }
    Ok(())
}

/// What takes a bound away again. Where a set of something is none of it, that says so itself.
fn is_none(text: &str) -> bool {
    text.trim() == "none"
}

fn bound(text: &str) -> Result<Option<u32>, String> {
    if is_none(text) {
        return Ok(None);
    }
    number(text).map(Some).ok_or_else(|| format!("write a number from 0 to {}, or none", u32::MAX))
}

/// The last day: itself, or so many from now on.
fn expiry(text: &str, today: Option<Date>) -> Result<Option<Date>, String> {
    match (text.strip_suffix('d').and_then(number), today) {
        _ if is_none(text) => Ok(None),
        (Some(days), Some(today)) => Ok(Some(today.plus(days))),
        (Some(_), None) => Err("this machine's clock is not set: write the day itself".to_owned()),
        (None, _) => Date::parse(text).map(Some),
    }
}

/// Whether the mappings that stand in a license are such as it may have, and as this version serves.
///
/// # Errors
/// The first that is not.
pub fn check(entry: &Entry) -> Result<(), String> {
    for mapping in &entry.maps {
        mapping.served()?;
        entry.permits(mapping)?;
    }
    Ok(())
}
