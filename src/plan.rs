//! What would change of the licenses if others took their place: two pictures, and each difference in a line.
//!
//! A picture is made of a [`Directory`], or of what a running server tells of its own, in which there are no secrets
//! and no options of mappings: what is not told is not compared.

use std::fmt;

use serde_json::{Value, json};

use crate::directory::{Directory, Entry};
use crate::license::Verifier;
use crate::mapping::{self, Kind, Mapping, Public};
use crate::policy::{Quota, Rates};
use crate::reason::Reason;
use crate::sorted::Sorted;
use crate::text::show_bytes;

/// Options whose values nobody has to keep secret; of the others only the name is shown.
const SHOWN: [&str; 6] = ["proxy", "allow", "rate", "host", "accept-proxy", "check"];

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The license's name.
    pub license: String,
    /// What of it.
    pub what: What,
}

/// What is different of a license.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It comes.
    Added,
    /// It is forgotten.
    Removed,
    /// It is refused from then on …
    Revoked,
    /// … or no longer.
    Restored,
    /// It has another text.
    Rotated,
    /// The text of before, which was good until the new one was used, is refused.
    OldEnds,
    /// A setting has another value.
    Set {
        /// By its name in the file.
        setting: &'static str,
        /// Now.
        from: String,
        /// Then.
        to: String,
    },
    /// A mapping comes; without the values of its options.
    Mapped(String),
    /// A mapping goes.
    Unmapped(String),
    /// A mapping has other options.
    Options {
        /// Its route.
        mapping: String,
        /// Those that go, with a hyphen before, and those that come, with a plus.
        options: Vec<String>,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.what {
            What::Added => '+',
            What::Removed => '-',
            _ => '~',
        };
        write!(f, "{sign} license {}", self.license)?;
        match &self.what {
            What::Added | What::Removed => Ok(()),
            What::Revoked => f.write_str(": revoked"),
            What::Restored => f.write_str(": no longer revoked"),
            What::Rotated => f.write_str(": rotated"),
            What::OldEnds => f.write_str(": the text of before is refused"),
            What::Set { setting, from, to } => write!(f, ": {setting} {from} -> {to}"),
            What::Mapped(mapping) => write!(f, ": + mapping {mapping}"),
            What::Unmapped(mapping) => write!(f, ": - mapping {mapping}"),
            What::Options { mapping, options } => {
                write!(f, ": mapping {mapping}: other options {}", options.join(" "))
            }
        }
    }
}

impl Change {
    /// The same for programs.
    pub fn to_json(&self) -> Value {
        let mut value = match &self.what {
            What::Added => json!({ "change": "added" }),
            What::Removed => json!({ "change": "removed" }),
            What::Revoked => json!({ "change": "revoked" }),
            What::Restored => json!({ "change": "restored" }),
            What::Rotated => json!({ "change": "rotated" }),
            What::OldEnds => json!({ "change": "old_ends" }),
            What::Set { setting, from, to } => {
                json!({ "change": "set", "setting": setting, "from": from, "to": to })
            }
            What::Mapped(mapping) => json!({ "change": "mapped", "mapping": mapping }),
            What::Unmapped(mapping) => json!({ "change": "unmapped", "mapping": mapping }),
            What::Options { mapping, options } => {
                json!({ "change": "options", "mapping": mapping, "options": options })
            }
        };
        value["license"] = json!(self.license);
        value
    }
}

/// Licenses, as far as they can be compared.
#[derive(Clone, Default)]
pub struct Picture(Sorted<String, Sketch>);

#[derive(Clone)]
struct Sketch {
    id: String,
    /// What recognises it, where that is known.
    verifier: Option<Verifier>,
    /// The license before it is good as well.
    has_old: bool,
    revoked: bool,
    settings: Vec<(&'static str, String)>,
    maps: Vec<Sketched>,
}

/// A mapping of a picture.
#[derive(Clone, PartialEq, Eq)]
struct Sketched {
    route: String,
    place: Option<(Kind, Public)>,
    /// The words of its options, where they are known.
    options: Option<Vec<String>>,
}

impl Picture {
    /// Of what a file holds.
    pub fn of(directory: &Directory) -> Self {
        Self(directory.iter().map(|entry| (entry.name.clone(), Sketch::of(entry))).collect())
    }

    /// Of what a running server tells: the answer to `GET /api/v1/licenses`.
    pub fn seen(answer: &Value) -> Self {
        let licenses = answer["licenses"].as_array().into_iter().flatten();
        let named = licenses.filter_map(|seen| Some((seen["name"].as_str()?.to_owned(), Sketch::seen(seen))));
        Self(named.collect())
    }

    /// What is different in `after`.
    pub fn changes(&self, after: &Self) -> Vec<Change> {
        let names: Sorted<&String, ()> = self.0.keys().chain(after.0.keys()).map(|name| (name, ())).collect();
        let mut changes = Vec::new();
        for (license, ()) in names {
            let what = match (self.0.get(license), after.0.get(license)) {
                (Some(before), Some(after)) => before.changes(after),
                (None, Some(added)) => {
                    let maps = added.maps.iter().map(|mapping| What::Mapped(mapping.shown()));
                    [What::Added].into_iter().chain(maps).collect()
                }
                (_, None) => vec![What::Removed],
            };
            changes.extend(what.into_iter().map(|what| Change { license: license.clone(), what }));
        }
        changes
    }

    /// The mappings of `after` that have a place which their license has not here; and their lines, where they were
    /// read from a text.
    pub fn new_places<'a>(
        &'a self,
        after: &'a Directory,
    ) -> impl Iterator<Item = (&'a Entry, &'a Mapping, Option<usize>)> {
        let has = |entry: &Entry, mapping: &Mapping| {
            let is_it = |(kind, public): &(Kind, Public)| *kind == mapping.kind && *public == mapping.public;
            let sketch = self.0.get(&entry.name);
            sketch.is_some_and(|sketch| sketch.maps.iter().any(|map| map.place.as_ref().is_some_and(is_it)))
        };
        let all = after.iter().flat_map(|entry| {
            let lined = entry.maps.iter().enumerate();
            lined.map(move |(n, mapping)| (entry, mapping, entry.map_lines.get(n)))
        });
        all.filter(move |(entry, mapping, _)| !entry.revoked && !has(entry, mapping))
    }
}

impl Sketch {
    fn of(entry: &Entry) -> Self {
        Self {
            id: entry.id.to_string(),
            verifier: Some(entry.verifier.clone()),
            has_old: entry.old.is_some(),
            revoked: entry.revoked,
            settings: settings_of(entry),
            maps: entry.maps.iter().map(Sketched::of).collect(),
        }
    }

    fn seen(seen: &Value) -> Self {
        let text = |field: &str| seen[field].as_str().unwrap_or_default().to_owned();
        Self {
            id: text("id"),
            verifier: None,
            has_old: seen["rotated"] == true,
            revoked: seen["trouble"] == Reason::Revoked.to_string(),
            settings: settings_seen(seen),
            maps: seen["map"].as_array().into_iter().flatten().filter_map(Sketched::seen).collect(),
        }
    }

    fn changes(&self, after: &Self) -> Vec<What> {
        let mut what = Vec::new();
        let same_key = match (&self.verifier, &after.verifier) {
            (Some(before), Some(after)) => before == after,
            _ => true,
        };
        match (self.id == after.id && same_key, self.has_old, after.has_old) {
            (false, ..) => what.push(What::Rotated),
            (true, true, false) => what.push(What::OldEnds),
            (true, ..) => {}
        }
        match (self.revoked, after.revoked) {
            (false, true) => what.push(What::Revoked),
            (true, false) => what.push(What::Restored),
            _ => {}
        }
        for ((setting, from), (_, to)) in self.settings.iter().zip(&after.settings) {
            if from != to {
                what.push(What::Set { setting, from: from.clone(), to: to.clone() });
            }
        }
        let find = |maps: &[Sketched], route: &str| maps.iter().find(|map| map.route == route).cloned();
        for gone in self.maps.iter().filter(|map| find(&after.maps, &map.route).is_none()) {
            what.push(What::Unmapped(gone.shown()));
        }
        for mapping in &after.maps {
            match find(&self.maps, &mapping.route) {
                None => what.push(What::Mapped(mapping.shown())),
                Some(before) => what.extend(before.other_options(mapping)),
            }
        }
        what
    }
}

impl Sketched {
    fn of(mapping: &Mapping) -> Self {
        let options = mapping.options.to_string();
        Self {
            route: mapping.route().to_string(),
            place: Some((mapping.kind, mapping.public.clone())),
            // Each word has its comma before it, and none in it.
            options: Some(options.split(',').skip(1).map(str::to_owned).collect()),
        }
    }

    fn seen(route: &Value) -> Option<Self> {
        let route = route.as_str()?.to_owned();
        let place = mapping::parse(&route).ok().map(|mapping| (mapping.kind, mapping.public));
        Some(Self { route, place, options: None })
    }

    /// Behind the first comma may be a password.
    fn shown(&self) -> String {
        let more = if self.options.as_ref().is_some_and(|options| !options.is_empty()) { ",..." } else { "" };
        format!("{}{more}", self.route)
    }

    fn other_options(&self, after: &Self) -> Option<What> {
        let (before, then) = (self.options.as_ref()?, after.options.as_ref()?);
        let only = |these: &[String], those: &[String], sign: char| -> Vec<String> {
            let words = these.iter().filter(|word| !those.contains(word));
            words.map(|word| format!("{sign}{}", shown_option(word))).collect()
        };
        let mut options = only(before, then, '-');
        options.extend(only(then, before, '+'));
        if options.is_empty() && before != then {
            options.push("in another order".to_owned());
        }
        (!options.is_empty()).then(|| What::Options { mapping: self.route.clone(), options })
    }
}

fn shown_option(word: &str) -> String {
    let name = word.split('=').next().unwrap_or_default();
    if SHOWN.contains(&name) { word.to_owned() } else { format!("{name}=...") }
}

/// What a license may, each setting by its name and as it is written. A quota is one, with all that belongs to it.
fn settings_of(entry: &Entry) -> Vec<(&'static str, String)> {
    let bound = |bound: Option<u32>| or_none(bound.map(|bound| bound.to_string()));
    let rate = (entry.rates != Rates::FREE).then(|| entry.rates.to_string());
    let quota = entry.quota.map(|Quota { bytes, day, beyond }| {
        let beyond = beyond.map_or_else(|| "stop".to_owned(), |rates| rates.to_string());
        quota_text(&show_bytes(bytes), u64::from(day), &beyond)
    });
    vec![
        ("ports", entry.ports.to_string()),
        ("hosts", entry.hosts.to_string()),
        ("visit", entry.visits.to_string()),
        ("visitors", entry.visitors.to_string()),
        ("clients", entry.clients.to_string()),
        ("max_mappings", bound(entry.max_mappings)),
        ("max_visitors", bound(entry.max_visitors)),
        ("rate", or_none(rate)),
        ("quota", or_none(quota)),
        ("connects", or_none(entry.pace.map(|pace| pace.to_string()))),
        ("expires", or_none(entry.expires.map(|day| day.to_string()))),
    ]
}

/// The same, in the same order, of what a server tells.
fn settings_seen(seen: &Value) -> Vec<(&'static str, String)> {
    let text = |value: &Value| match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    let visitors = if seen["visitors"].is_null() { "any".to_owned() } else { text(&seen["visitors"]) };
    let quota = match &seen["quota"] {
        Value::Null => "none".to_owned(),
        quota => {
            quota_text(&text(&quota["text"]), quota["day"].as_u64().unwrap_or(1), &text(&quota["beyond"]))
        }
    };
    let of = |name: &'static str| (name, text(&seen[name]));
    vec![
        of("ports"),
        of("hosts"),
        of("visit"),
        ("visitors", visitors),
        of("clients"),
        of("max_mappings"),
        of("max_visitors"),
        of("rate"),
        ("quota", quota),
        of("connects"),
        of("expires"),
    ]
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "none".to_owned())
}

fn quota_text(bytes: &str, day: u64, beyond: &str) -> String {
    format!("{bytes} a month from day {day}, then {beyond}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::Edit;
    use crate::license::License;

    fn directory(edits: &[Edit]) -> Directory {
        let mut directory = Directory::default();
        for (n, edit) in edits.iter().enumerate() {
            let fresh = License::from_random([n as u8 + 1; crate::license::LICENSE_BYTES]);
            edit.apply(&mut directory, &fresh, None).expect("an edit that can be");
        }
        directory
    }

    fn add(name: &str, settings: &[(&'static str, &str)], maps: &[&str]) -> Edit {
        let settings = settings.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        Edit::Add {
            name: name.to_owned(),
            settings,
            maps: maps.iter().map(|map| (*map).to_owned()).collect(),
        }
    }

    fn lines(before: &Directory, after: &Directory) -> Vec<String> {
        let changes = Picture::of(before).changes(&Picture::of(after));
        changes.iter().map(Change::to_string).collect()
    }

    #[test]
    fn each_difference_is_a_line() {
        let set = |name: &str, setting, text: &str| Edit::Set {
            name: name.to_owned(),
            settings: vec![(setting, text.to_owned())],
        };
        let first = [add("box", &[], &["8080"]), add("nas", &[], &["2222:22"])];
        let name = || "nas".to_owned();
        let map = |mapping: &str| Edit::AddMap { name: name(), mapping: mapping.to_owned() };
        let unmap = |mapping: &str| Edit::RemoveMap { name: name(), mapping: mapping.to_owned() };
        for (more, told) in [
            (vec![], vec![]),
            (vec![add("cam", &[], &["8000:80"])], vec!["+ license cam", "~ license cam: + mapping 8000:80"]),
            (vec![Edit::Remove { name: name() }], vec!["- license nas"]),
            (vec![Edit::Revoke { name: name() }], vec!["~ license nas: revoked"]),
            (vec![Edit::Rotate { name: name(), now: false }], vec!["~ license nas: rotated"]),
            (vec![set("nas", "ports", "2222")], vec!["~ license nas: ports 1024-65535 -> 2222"]),
            (vec![set("nas", "hosts", "a.com,*.b.com")], vec!["~ license nas: hosts none -> *.b.com,a.com"]),
            (vec![set("nas", "visit", "box/ssh")], vec!["~ license nas: visit none -> box/ssh"]),
            (vec![set("nas", "visitors", "10.0.0.0/8")], vec!["~ license nas: visitors any -> 10.0.0.0/8"]),
            (vec![set("nas", "clients", "3")], vec!["~ license nas: clients 1 -> 3"]),
            (vec![set("nas", "max_mappings", "3")], vec!["~ license nas: max_mappings none -> 3"]),
            (vec![set("nas", "max_visitors", "0")], vec!["~ license nas: max_visitors none -> 0"]),
            (vec![set("nas", "rate", "10M/2M")], vec!["~ license nas: rate none -> 10M/2M"]),
            (
                vec![set("nas", "quota", "1G")],
                vec!["~ license nas: quota none -> 1G a month from day 1, then stop"],
            ),
            (vec![set("nas", "connects", "30/10s")], vec!["~ license nas: connects none -> 30/10s"]),
            (vec![set("nas", "expires", "2027-01-31")], vec!["~ license nas: expires none -> 2027-01-31"]),
            (
                vec![unmap("2222"), map("2222:23")],
                vec!["~ license nas: - mapping 2222:22", "~ license nas: + mapping 2222:23"],
            ),
        ] {
            let after = directory(&[&first[..], &more].concat());
            assert_eq!(lines(&directory(&first), &after), told);
        }
        let mut revoked = directory(&first);
        revoked.revoke("nas").expect("there");
        assert_eq!(lines(&revoked, &directory(&first)), ["~ license nas: no longer revoked"]);
        let rotated = directory(&[&first[..], &[Edit::Rotate { name: name(), now: false }]].concat());
        let ended = directory(&[&first[..], &[Edit::Rotate { name: name(), now: true }]].concat());
        assert_eq!(lines(&rotated, &ended), ["~ license nas: the text of before is refused"]);
    }

    #[test]
    fn options_differ_without_their_secrets() {
        let of = |map: &str| directory(&[add("web", &[("hosts", "a.example.com")], &[map])]);
        let route = "a.example.com:3000";
        let before = of(&format!("{route},auth=eve:hunter2,rate=2M,header=X-Key:s3cret"));
        let after = of(&format!("{route},auth=eve:hunter3,rate=4M,header=X-Key:s3cret"));
        let told = lines(&before, &after);
        assert_eq!(
            told,
            [
                "~ license web: mapping a.example.com:3000: other options -rate=2M -auth=... +rate=4M +auth=..."
            ]
        );
        let gone = lines(&before, &of("a.example.com:4000,auth=eve:hunter2"));
        assert_eq!(
            gone,
            [
                "~ license web: - mapping a.example.com:3000,...",
                "~ license web: + mapping a.example.com:4000,..."
            ]
        );
        let all = format!("{told:?}{gone:?}");
        assert!(!all.contains("hunter") && !all.contains("s3cret"), "{all}");
    }

    #[test]
    fn what_a_server_tells_is_compared_as_far_as_it_tells() {
        let held = directory(&[add(
            "nas",
            &[("visitors", "10.0.0.0/8"), ("quota", "1G"), ("over_quota", "64K")],
            &["2222:22"],
        )]);
        let entry = held.by_name("nas").expect("there");
        let told = json!({ "licenses": [{
            "name": "nas", "id": entry.id.to_string(), "trouble": null, "rotated": false, "clients": 1,
            "ports": "1024-65535", "hosts": [], "visit": [], "visitors": ["10.0.0.0/8"], "max_mappings": null,
            "max_visitors": null, "rate": null, "connects": null, "expires": null,
            "quota": { "text": "1G", "day": 1, "beyond": "64K" }, "map": ["2222:22"],
        }] });
        assert_eq!(Picture::seen(&told).changes(&Picture::of(&held)), []);
        let mut other = told;
        other["licenses"][0]["trouble"] = json!(Reason::Revoked.to_string());
        other["licenses"][0]["map"] = json!([]);
        let lines: Vec<String> =
            Picture::seen(&other).changes(&Picture::of(&held)).iter().map(Change::to_string).collect();
        assert_eq!(lines, ["~ license nas: no longer revoked", "~ license nas: + mapping 2222:22"]);
    }

    #[test]
    fn new_places_are_those_that_the_license_has_not() {
        let before = directory(&[add("nas", &[], &["2222:22", "5300:53/udp"])]);
        let after =
            directory(&[add("nas", &[], &["2222:23", "53000:53/udp"]), add("box", &[], &["2222:22"])]);
        let before = Picture::of(&before);
        let new = before.new_places(&after);
        let shown: Vec<String> =
            new.map(|(entry, mapping, _)| format!("{} {}", entry.name, mapping.route())).collect();
        assert_eq!(shown, ["box 2222:22", "nas 53000:53/udp"]);
    }
}
