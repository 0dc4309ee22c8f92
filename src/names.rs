//! Names of hosts as people write them: checked, and brought to the one form that is compared.

use crate::text::quote;

/// Longest name in bytes, without the root's dot (RFC 1035 section 2.3.4, as text).
pub const NAME_BYTES_MAX: usize = 253;

/// Longest label of a name in bytes (RFC 1035 section 2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;

/// What a name is for; it decides which names are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A name that is looked up: one label is enough, and `_` is taken, which container networks
    /// are fond of.
    Dial,
    /// A name that visitors ask for: two labels or more, with `*.` before them for all below.
    Publish,
}

/// `text` in lower case and without the root's dot, if it is a name: letters, digits and hyphens
/// (RFC 1123 section 2.1) in labels of 1 to 63, at most 253 in all. The last label is not all digits, or a
/// mistyped address would be a name. Other alphabets are not converted (RFC 5891): they are to be
/// written in their `xn--` form.
///
/// # Errors
/// A sentence that begins with the name.
pub fn host_name(text: &str, used: Use) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let wrong = |what: &str| Err(format!("name {} {what}", quote(text)));
    let labels = match name.strip_prefix("*.") {
        Some(below) if used == Use::Publish => below,
        _ => &name,
    };
    if labels.is_empty() {
        return wrong("is empty");
    }
    if !labels.is_ascii() {
        return wrong("has letters outside ASCII: write its xn-- form");
    }
    if labels.contains('*') {
        return wrong(match used {
            Use::Dial => "has a `*`: a target is one host",
            Use::Publish => "has a `*` that is not its whole first label, as in `*.example.com`",
        });
    }
    if name.len() > NAME_BYTES_MAX {
        return wrong("is longer than 253 characters");
    }
    for label in labels.split('.') {
        if let Some(what) = label_fault(label, used) {
            return wrong(&what);
        }
    }
    if labels.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return wrong("ends in a number, but is no IPv4 address");
    }
    if used == Use::Publish && !labels.contains('.') {
        return wrong(match name.len() == labels.len() {
            true => "has no dot: a public name looks like `blog.example.com`",
            false => "covers a whole top-level domain: write more of it, as in `*.example.com`",
        });
    }
    Ok(name)
}

/// Whether `pattern` covers `name`, both as [`host_name`] returns them: equal, or `*.` before a name
/// that `name` is below, at any depth. A `name` that is itself a wildcard is covered when all below
/// it is.
pub fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix('*') {
        // What follows the star begins with a dot, so that `evilexample.com` is not below `example.com`.
        Some(suffix) => name == pattern || (name.len() > suffix.len() && name.ends_with(suffix)),
        None => name == pattern,
    }
}

/// A host as it stands before its port: an IPv6 address in brackets (RFC 3986 section 3.2.2).
pub fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

fn label_fault(label: &str, used: Use) -> Option<String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || (b == b'_' && used == Use::Dial);
    if label.is_empty() {
        return Some("has two dots in a row or begins with one".to_string());
    }
    if label.len() > LABEL_BYTES_MAX {
        return Some("has a part longer than 63 characters".to_string());
    }
    if let Some(found) = label.bytes().find(|&b| !good(b)) {
        return Some(format!("contains {:?}: a name has letters, digits and hyphens", char::from(found)));
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Some("has a part that begins or ends with a hyphen".to_string());
    }
    None
}

/// Longest name of a license that can stand before a private mapping's, in bytes.
const OWNER_BYTES_MAX: usize = 64;

/// OWNER/NAME: a private mapping, by the license of whoever serves it, in the form in which such are compared.
pub fn private_place(text: &str) -> Option<String> {
    let (owner, name) = text.split_once('/')?;
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let fits = (1..=OWNER_BYTES_MAX).contains(&owner.len()) && owner.bytes().all(good);
    let name = host_name(name, Use::Dial).ok().filter(|name| fits && !name.contains('.'))?;
    Some(format!("{owner}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_brought_to_one_form() {
        for (text, used, name) in [
            ("Blog.Example.COM.", Use::Publish, "blog.example.com"),
            ("*.example.com", Use::Publish, "*.example.com"),
            ("xn--bcher-kva.example", Use::Publish, "xn--bcher-kva.example"),
            ("nas", Use::Dial, "nas"),
            ("my_app", Use::Dial, "my_app"),
            ("3com.com", Use::Dial, "3com.com"),
            ("a--b.c", Use::Dial, "a--b.c"),
        ] {
            assert_eq!(host_name(text, used).as_deref(), Ok(name));
        }
        let long = format!("{}.com", "a".repeat(63));
        assert_eq!(host_name(&long, Use::Dial).as_ref(), Ok(&long));
        let whole = [&*"a".repeat(63), &"b".repeat(63), &"c".repeat(63), &"d".repeat(61)].join(".");
        assert_eq!(whole.len(), 253);
        assert!(host_name(&whole, Use::Dial).is_ok() && host_name(&format!("{whole}d"), Use::Dial).is_err());
    }

    #[test]
    fn what_is_no_name_is_named() {
        for (text, used, error) in [
            ("", Use::Dial, "name `` is empty"),
            (".", Use::Dial, "name `.` is empty"),
            (
                "*.",
                Use::Publish,
                "name `*.` has a `*` that is not its whole first label, as in `*.example.com`",
            ),
            (
                "a.*.b",
                Use::Publish,
                "name `a.*.b` has a `*` that is not its whole first label, as in `*.example.com`",
            ),
            ("*.b.c", Use::Dial, "name `*.b.c` has a `*`: a target is one host"),
            ("a..b", Use::Dial, "name `a..b` has two dots in a row or begins with one"),
            (".b", Use::Dial, "name `.b` has two dots in a row or begins with one"),
            ("a.b..", Use::Dial, "name `a.b..` has two dots in a row or begins with one"),
            ("-a.b", Use::Dial, "name `-a.b` has a part that begins or ends with a hyphen"),
            ("a-.b", Use::Dial, "name `a-.b` has a part that begins or ends with a hyphen"),
            ("a b.c", Use::Dial, "name `a b.c` contains ' ': a name has letters, digits and hyphens"),
            ("a_b.c", Use::Publish, "name `a_b.c` contains '_': a name has letters, digits and hyphens"),
            ("bücher.de", Use::Publish, "name `bücher.de` has letters outside ASCII: write its xn-- form"),
            ("10.0.0.256", Use::Dial, "name `10.0.0.256` ends in a number, but is no IPv4 address"),
            ("22", Use::Dial, "name `22` ends in a number, but is no IPv4 address"),
            ("nas", Use::Publish, "name `nas` has no dot: a public name looks like `blog.example.com`"),
            (
                "*.com",
                Use::Publish,
                "name `*.com` covers a whole top-level domain: write more of it, as in `*.example.com`",
            ),
        ] {
            assert_eq!(host_name(text, used), Err(error.to_string()));
        }
        assert!(host_name(&format!("{}.com", "a".repeat(64)), Use::Dial).is_err());
    }

    #[test]
    fn a_wildcard_covers_what_is_below() {
        for (pattern, name, covered) in [
            ("example.com", "example.com", true),
            ("example.com", "a.example.com", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "evilexample.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "*.example.com", true),
            ("*.example.com", "*.a.example.com", true),
            ("*.a.example.com", "*.example.com", false),
            ("a.example.com", "*.example.com", false),
        ] {
            assert_eq!(covers(pattern, name), covered, "{pattern} {name}");
        }
    }
}
