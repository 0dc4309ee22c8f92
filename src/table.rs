//! Files of settings: tables of TOML read field by field, so that every error names the line, and
//! none repeats a value that may be a secret.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::text::{did_you_mean, hide_secrets, quote};

/// What is wrong with a file: where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The line, counted from 1.
    pub line: usize,
    /// A sentence about it.
    pub what: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for FileError {}

/// A text and the tables in it, not yet looked into.
pub struct Document<'t> {
    text: &'t str,
    root: Spanned<DeTable<'t>>,
}

impl<'t> Document<'t> {
    /// Reads TOML (version 1.1).
    ///
    /// # Errors
    /// Where `text` stops being TOML.
    pub fn parse(text: &'t str) -> Result<Self, FileError> {
        match DeTable::parse(text) {
            Ok(root) => Ok(Self { text, root }),
            Err(error) => {
                let line = error.span().map_or(1, |span| line_of(text, span.start));
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
        Fields::new(self.text, 1, self.root.get_ref(), known)
    }

    /// Whether there is a field or table `key` outside of any table.
    pub fn has(&self, key: &str) -> bool {
        self.root.get_ref().contains_key(key)
    }

    /// The line of the field or table `key` outside of any table.
    pub fn line_of(&self, key: &str) -> Option<usize> {
        let (name, _) = self.root.get_ref().get_key_value(key)?;
        Some(line_of(self.text, name.span().start))
    }
}

/// The fields of one table.
pub struct Fields<'d> {
    text: &'d str,
    line: usize,
    table: &'d DeTable<'d>,
}

/// A value and the line it is on.
pub struct Found<T> {
    /// The value.
    pub value: T,
    /// Its line, counted from 1.
    pub line: usize,
}

impl<T> Found<T> {
    /// What `read` makes of the value.
    ///
    /// # Errors
    /// What `read` says, with the line.
    pub fn read<U>(self, read: impl FnOnce(T) -> Result<U, String>) -> Result<U, FileError> {
        read(self.value).map_err(|what| FileError { line: self.line, what })
    }
}

impl<'d> Fields<'d> {
    /// Whether something is said of `key`.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn new(text: &'d str, line: usize, table: &'d DeTable<'d>, known: &[&str]) -> Result<Self, FileError> {
        let unknown = table.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        if let Some(key) = unknown.min_by_key(|key| key.span().start) {
            let name = key.get_ref();
            let what = format!("there is no setting {} here{}", quote(name), did_you_mean(name, known));
            return Err(FileError { line: line_of(text, key.span().start), what });
        }
        Ok(Self { text, line, table })
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
            let line = line_of(self.text, value.span().start);
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
            Some(table) => Self::new(self.text, table.line, table.value, known).map(Some),
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
            let line = line_of(self.text, value.span().start);
            match value.get_ref().as_table() {
                Some(table) => Self::new(self.text, line, table, known),
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
        let line = line_of(self.text, value.span().start);
        match read(value.get_ref()) {
            Some(value) => Ok(Some(Found { value, line })),
            None => Err(FileError { line, what: format!("`{key}` has to be {expected}") }),
        }
    }
}

/// `text` as a TOML string (TOML 1.0, "basic string").
pub fn quoted(text: &str) -> String {
    let mut string = String::with_capacity(text.len() + 2);
    string.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => string.extend(['\\', letter]),
            control if control.is_control() => string.push_str(&format!("\\u{:04x}", u32::from(control))),
            _ => string.push(letter),
        }
    }
    string.push('"');
    string
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(result: Result<impl Sized, FileError>) -> String {
        result.err().expect("an error").to_string()
    }

    #[test]
    fn fields_are_found_with_their_lines() {
        let text =
            "a = \"x\"\nb = [\n  \"1\",\n  \"2\",\n]\nc = true\nd = 0x10\n\n[t]\ne = 1\n[[u]]\n[[u]]\n";
        let document = Document::parse(text).expect("TOML");
        let fields = document.fields(&["a", "b", "c", "d", "t", "u"]).expect("known");
        let a = fields.need("a").expect("a string");
        assert_eq!((a.value, a.line), ("x", 1));
        let b: Vec<_> = fields.strings("b").expect("strings").iter().map(|s| (s.value, s.line)).collect();
        assert_eq!(b, [("1", 3), ("2", 4)]);
        assert_eq!(fields.bool("c"), Ok(Some(true)));
        assert_eq!(fields.number("d"), Ok(Some(16)));
        assert_eq!(fields.bool("x"), Ok(None));
        let table = fields.table("t", &["e"]).expect("a table").expect("there");
        assert_eq!((table.line(), table.number("e")), (9, Ok(Some(1))));
        let lines: Vec<_> = fields.tables("u", &[]).expect("tables").iter().map(Fields::line).collect();
        assert_eq!(lines, [11, 12]);
        assert!(document.has("t") && !document.has("e"));
        assert_eq!(error(fields.number("a")), "line 1: `a` has to be a number from 0 to 4294967295");
        assert_eq!(error(fields.string("c")), "line 6: `c` has to be a string in quotes");
        assert_eq!(error(fields.tables("b", &[])), "line 3: `b` has to be tables, as in [[b]]");
        assert_eq!(error(fields.table("a", &[])), "line 1: `a` has to be a table, as in [limits]");
        assert_eq!(error(fields.need("x")), "line 1: `x` is missing here");
    }

    #[test]
    fn what_is_wrong_is_named_by_line() {
        for (text, what) in [
            ("\n\nlisen = 1", "line 3: there is no setting `lisen` here; did you mean `listen`?"),
            ("zzz = 1\naaa = 1", "line 1: there is no setting `zzz` here"),
            ("listen = [1]", "line 1: `listen` has to be strings in brackets, as in [\"8080\"]"),
        ] {
            let document = Document::parse(text).expect("TOML");
            let read = document.fields(&["listen"]).and_then(|fields| fields.strings("listen").map(drop));
            assert_eq!(error(read), what);
        }
        for text in ["a = ", "a", "[a", "a = 1\na = 2", "a = \"\\x\"", "= 1", "a = 99999999999999999999"] {
            let read = Document::parse(text).and_then(|d| d.fields(&["a"]).and_then(|f| f.number("a")));
            assert!(read.is_err(), "{text}");
        }
        for number in ["-1", "4294967296", "1.0", "1e3", "true"] {
            let text = format!("a = {number}");
            let read = Document::parse(&text).expect("TOML");
            assert!(read.fields(&["a"]).expect("known").number("a").is_err(), "{number}");
        }
        let deep = "a = ".to_string() + &"[".repeat(100_000);
        assert!(Document::parse(&deep).is_err());
    }

    #[test]
    fn strings_survive_quoting() {
        for text in ["", "plain", "a\"b\\c", "tab\tnew\nline\u{7f}\u{85}é", "'"] {
            let file = format!("a = {}", quoted(text));
            let document = Document::parse(&file).expect("TOML");
            let fields = document.fields(&["a"]).expect("known");
            assert_eq!(fields.need("a").expect("a string").value, text);
        }
    }
}
