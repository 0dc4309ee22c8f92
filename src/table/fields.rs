//! What reads TOML.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{FileError, Found};
use crate::text::{did_you_mean, hide_secrets, quote};

/// A text and the tables in it, not yet looked into.
pub struct Document<'t> {
    lines: Lines,
    root: Spanned<DeTable<'t>>,
}

impl<'t> Document<'t> {
    /// Reads TOML (version 1.1).
    ///
    /// # Errors
    /// Where `text` stops being TOML.
    pub fn parse(text: &'t str) -> Result<Self, FileError> {
        let lines = Lines::of(text);
        match DeTable::parse(text) {
            Ok(root) => Ok(Self { lines, root }),
            Err(error) => {
                let line = error.span().map_or(1, |span| lines.at(span.start));
                let first = error.message().lines().next().unwrap_or_default();
                Err(FileError { line, what: format!("this is not TOML: {}", hide_secrets(first)) })
            }
        }
    }

    /// The fields outside of any table, of which there may be `known` ones.
    ///
    /// # Errors
    /// The first field that is not known.
    pub fn fields(&self, known: &[&str]) -> Result<Fields<'_>, FileError> {
        Fields::new(&self.lines, 1, self.root.get_ref(), known)
    }

    /// Whether there is a field or table `key` outside of any table.
    pub fn has(&self, key: &str) -> bool {
        self.root.get_ref().contains_key(key)
    }

    /// The line of the field or table `key` outside of any table.
    pub fn line_of(&self, key: &str) -> Option<usize> {
        let (name, _) = self.root.get_ref().get_key_value(key)?;
        Some(self.lines.at(name.span().start))
    }
}

/// The fields of one table.
pub struct Fields<'d> {
    lines: &'d Lines,
    line: usize,
    table: &'d DeTable<'d>,
}

impl<'d> Fields<'d> {
    /// Whether something is said of `key`.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn new(lines: &'d Lines, line: usize, table: &'d DeTable<'d>, known: &[&str]) -> Result<Self, FileError> {
        let unknown = table.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        if let Some(key) = unknown.min_by_key(|key| key.span().start) {
            let name = key.get_ref();
            let what = format!("there is no setting {} here{}", quote(name), did_you_mean(name, known));
            return Err(FileError { line: lines.at(key.span().start), what });
        }
        Ok(Self { lines, line, table })
    }

    /// The line at which this table begins.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The string `key`, if it is there.
    ///
    /// # Errors
    /// When it is no string.
    pub fn string(&self, key: &str) -> Result<Option<Found<&'d str>>, FileError> {
        self.find(key, "a string in quotes", DeValue::as_str)
    }

    /// The string `key`, which has to be there.
    ///
    /// # Errors
    /// When it is not, or is no string.
    pub fn need(&self, key: &str) -> Result<Found<&'d str>, FileError> {
        let missing = || FileError { line: self.line, what: format!("`{key}` is missing here") };
        self.string(key)?.ok_or_else(missing)
    }

    /// The truth value `key`, if it is there.
    ///
    /// # Errors
    /// When it is neither true nor false.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, FileError> {
        Ok(self.find(key, "true or false", DeValue::as_bool)?.map(|found| found.value))
    }

    /// The number `key`, if it is there: 0 to 2^32 - 1.
    ///
    /// # Errors
    /// When it is no such number.
    pub fn number(&self, key: &str) -> Result<Option<u32>, FileError> {
        let read = |value: &'d DeValue<'d>| {
            let number = value.as_integer()?;
            u32::from_str_radix(number.as_str(), number.radix()).ok()
        };
        Ok(self.find(key, "a number from 0 to 4294967295", read)?.map(|found| found.value))
    }

    /// The number `key`, if it is there: 0 to 2^64 - 1.
    ///
    /// # Errors
    /// When it is no such number.
    pub fn count(&self, key: &str) -> Result<Option<u64>, FileError> {
        let read = |value: &'d DeValue<'d>| {
            let number = value.as_integer()?;
            u64::from_str_radix(number.as_str(), number.radix()).ok()
        };
        Ok(self.find(key, "a number from 0 to 18446744073709551615", read)?.map(|found| found.value))
    }

    /// The strings of the array `key`; none when it is not there.
    ///
    /// # Errors
    /// When it is no array, or one of strings and other things.
    pub fn strings(&self, key: &str) -> Result<Vec<Found<&'d str>>, FileError> {
        const EXPECTED: &str = "strings in brackets, as in [\"8080\"]";
        let Some(array) = self.find(key, EXPECTED, DeValue::as_array)? else {
            return Ok(Vec::new());
        };
        let string = |value: &'d Spanned<DeValue<'d>>| {
            let line = self.lines.at(value.span().start);
            match value.get_ref().as_str() {
                Some(text) => Ok(Found { value: text, line }),
                None => Err(FileError { line, what: format!("`{key}` has to be {EXPECTED}") }),
            }
        };
        array.value.iter().map(string).collect()
    }

    /// The table `key`, if it is there, of which there may be `known` fields.
    ///
    /// # Errors
    /// When it is no table, or has a field that is not known.
    pub fn table(&self, key: &str, known: &[&str]) -> Result<Option<Self>, FileError> {
        match self.find(key, "a table, as in [limits]", DeValue::as_table)? {
            None => Ok(None),
            Some(table) => Self::new(self.lines, table.line, table.value, known).map(Some),
        }
    }

    /// The tables of the array `key`; none when it is not there.
    ///
    /// # Errors
    /// When it is no array of tables, or one of them has a field that is not `known`.
    pub fn tables(&self, key: &str, known: &[&str]) -> Result<Vec<Self>, FileError> {
        let Some(array) = self.find(key, "tables, as in [[license]]", DeValue::as_array)? else {
            return Ok(Vec::new());
        };
        let table = |value: &'d Spanned<DeValue<'d>>| {
            let line = self.lines.at(value.span().start);
            match value.get_ref().as_table() {
                Some(table) => Self::new(self.lines, line, table, known),
                None => Err(FileError { line, what: format!("`{key}` has to be tables, as in [[{key}]]") }),
            }
        };
        array.value.iter().map(table).collect()
    }

    fn find<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'d DeValue<'d>) -> Option<T>,
    ) -> Result<Option<Found<T>>, FileError> {
        let Some(value) = self.table.get(key) else {
            return Ok(None);
        };
        let line = self.lines.at(value.span().start);
        match read(value.get_ref()) {
            Some(value) => Ok(Some(Found { value, line })),
            None => Err(FileError { line, what: format!("`{key}` has to be {expected}") }),
        }
    }
}

/// Where lines end in a text: it is asked for the line of every value of a file that may have a hundred thousand.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    /// The line of what begins there, counted from 1.
    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|&end| end < offset) + 1
    }
}
