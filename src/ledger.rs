//! What has passed of each license and mapping, over restarts: `counters.toml`, which a running server writes and a
//! person can read.
//!
//! ```text
//! [[license]]
//! name = "nas"
//! down = 1234                           bytes from visitors to the client, ever
//! up = 56789                            … and from the client to visitors
//! month = 5000                          both, since …
//! began = "2026-11-01"                  … the day on which its quota began anew
//! met = "0001020304050607"              the license that its client proved last
//! mappings = ["1234 56789 2222:127.0.0.1:22"]     down, up, and which
//! ```

use crate::calendar::Date;
use crate::license::LicenseId;
use crate::limits::MAPPINGS_COUNTED_MAX;
use crate::meter::Traffic;
use crate::sorted::Sorted;
use crate::table::{Document, Fields, FileError, quoted};
use crate::text::quote;

const FIELDS: [&str; 7] = ["name", "down", "up", "month", "began", "met", "mappings"];

const HEADING: &str = "\
# What has passed of each license and mapping, in bytes. Written by a running server, once a minute where something
# passes; remove it while no server runs to begin anew.
";

/// What has passed of one license.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Ever.
    pub total: Traffic,
    /// Both ways since the quota's month began …
    pub month: u64,
    /// … which was here, for a license that has one.
    pub began: Option<Date>,
    /// The license that its client proved last: an older one is not good any more.
    pub met: Option<LicenseId>,
    /// Of each mapping, by its public side and target.
    pub mappings: Sorted<String, Traffic>,
}

impl Account {
    /// Something has passed, of a mapping where one is named.
    pub fn pass(&mut self, mapping: Option<&str>, traffic: Traffic) {
        let Some(mapping) = mapping else {
            self.total.add(traffic);
            self.month = self.month.saturating_add(traffic.sum());
            return;
        };
        if let Some(passed) = self.mappings.get_mut(mapping) {
            return passed.add(traffic);
        }
        // Who changes its mappings for ever is counted as a whole for ever, and by those that matter.
        if self.mappings.len() >= MAPPINGS_COUNTED_MAX {
            let least = self.mappings.iter().min_by_key(|(_, passed)| passed.sum());
            let least = least.map(|(name, _)| name.clone());
            least.and_then(|name| self.mappings.remove(&name));
        }
        self.mappings.insert(mapping.to_owned(), traffic);
    }

    fn read(fields: &Fields<'_>) -> Result<Self, FileError> {
        let count = |key| Ok(fields.count(key)?.unwrap_or(0));
        let mut account = Self {
            total: Traffic { down: count("down")?, up: count("up")? },
            month: count("month")?,
            ..Self::default()
        };
        match fields.string("began")? {
            Some(began) => account.began = Some(began.read(Date::parse)?),
            // Nobody knows since when.
            None => account.month = 0,
        }
        if let Some(met) = fields.string("met")? {
            account.met = Some(met.read(LicenseId::parse)?);
        }
        for line in fields.strings("mappings")? {
            let (name, traffic) = line.read(read_mapping)?;
            account.mappings.insert(name, traffic);
        }
        Ok(account)
    }

    fn write(&self, name: &str, toml: &mut String) {
        let Traffic { down, up } = self.total;
        toml.push_str(&format!("\n[[license]]\nname = {}\ndown = {down}\nup = {up}\n", quoted(name)));
        if let Some(began) = self.began {
            toml.push_str(&format!("month = {}\nbegan = \"{began}\"\n", self.month));
        }
        if let Some(met) = self.met {
            toml.push_str(&format!("met = \"{met}\"\n"));
        }
        if !self.mappings.is_empty() {
            let lines = self.mappings.iter();
            let lines = lines.map(|(name, Traffic { down, up })| quoted(&format!("{down} {up} {name}")));
            toml.push_str(&format!("mappings = [\n  {},\n]\n", lines.collect::<Vec<_>>().join(",\n  ")));
        }
    }
}

fn read_mapping(line: &str) -> Result<(String, Traffic), String> {
    let mut parts = line.splitn(3, ' ');
    let mut count = || parts.next().and_then(|part| part.parse::<u64>().ok());
    match (count(), count(), parts.next()) {
        (Some(down), Some(up), Some(name)) => Ok((name.to_owned(), Traffic { down, up })),
        _ => Err(format!("{} is not two numbers of bytes and a mapping", quote(line))),
    }
}

/// What has passed of all licenses, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    accounts: Sorted<String, Account>,
}

impl Ledger {
    /// Reads `counters.toml`.
    ///
    /// # Errors
    /// The line, and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let document = Document::parse(text)?;
        let mut ledger = Self::default();
        for fields in document.fields(&["license"])?.tables("license", &FIELDS)? {
            let name = fields.need("name")?.value.to_owned();
            ledger.accounts.insert(name, Account::read(&fields)?);
        }
        Ok(ledger)
    }

    /// The text of `counters.toml`, which [`Ledger::parse`] reads.
    pub fn to_toml(&self) -> String {
        let mut toml = HEADING.to_owned();
        for (name, account) in self.accounts.iter() {
            account.write(name, &mut toml);
        }
        toml
    }

    /// What has passed of a license, if anything.
    pub fn get(&self, license: &str) -> Option<&Account> {
        self.accounts.get(license)
    }

    /// The account of a license; a new one if there was none.
    pub fn account(&mut self, license: &str) -> &mut Account {
        self.accounts.get_or_default(license.to_owned())
    }

    /// Forgets the licenses that are not among these any more; whether there were any.
    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool) -> bool {
        let before = self.accounts.len();
        self.accounts.retain(|name, _| is_there(name));
        self.accounts.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut ledger = Ledger::default();
        assert_eq!(Ledger::parse(&ledger.to_toml()), Ok(Ledger::default()));
        let much = Traffic { down: u64::MAX, up: 7 };
        let nas = ledger.account("nas");
        nas.pass(None, much);
        nas.pass(Some("2222:127.0.0.1:22"), much);
        nas.pass(Some("81:unix:/run/a \"b\".sock"), Traffic { down: 1, up: 2 });
        nas.pass(Some("81:unix:/run/a \"b\".sock"), much);
        (nas.began, nas.met) = (Some(Date::parse("2026-11-05").expect("a day")), Some(LicenseId([7; 8])));
        ledger.account("quiet");
        let read = Ledger::parse(&ledger.to_toml()).expect("our own");
        assert_eq!(read, ledger);
        let nas = read.get("nas").expect("it is there");
        assert_eq!((nas.total, nas.month), (much, u64::MAX));
        assert_eq!(nas.mappings["81:unix:/run/a \"b\".sock"], Traffic { down: u64::MAX, up: 9 });
        let mut read = read;
        assert!(read.retain(|name| name != "nas") && !read.retain(|name| name != "nas"));
        assert!(read.get("nas").is_none() && read.get("quiet").is_some());
    }

    #[test]
    fn faults_are_named_with_their_line() {
        for (text, line) in [
            ("[[license]]\nname = \"a\"\ndown = -1", 3),
            ("[[license]]\nname = \"a\"\n\nup = 18446744073709551616", 4),
            ("[[license]]\ndown = 1", 1),
            ("[[license]]\nname = \"a\"\nmappings = [\"1 2\"]", 3),
            ("[[license]]\nname = \"a\"\nbegan = \"2026-02-30\"", 3),
            ("[[license]]\nname = \"a\"\nmet = \"xy\"", 3),
            ("[[licence]]\nname = \"a\"", 1),
        ] {
            assert_eq!(Ledger::parse(text).expect_err(text).line, line, "{text}");
        }
    }

    #[test]
    fn the_least_makes_room() {
        let mut account = Account::default();
        let passed = |up| Traffic { down: 1, up };
        for n in 0..MAPPINGS_COUNTED_MAX as u64 + 1 {
            account.pass(Some(&format!("{n}")), passed(1_000 - n % 1_000));
        }
        assert_eq!(account.mappings.len(), MAPPINGS_COUNTED_MAX);
        assert!(!account.mappings.contains_key("999") && account.mappings.contains_key("0"));
    }
}
