//! Files of settings: tables of TOML read field by field, so that every error names the line, and
//! none repeats a value that may be a secret.

#[cfg_attr(not(feature = "config"), path = "left_out/fields.rs")]
mod fields;

use std::fmt;

pub use fields::{Document, Fields};

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

#[cfg(all(test, feature = "config"))]
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
