//! The path of a request, decoded once and for all (RFC 3986 section 2).
//!
//! Whatever could be read as another path by a program before or behind is refused: bad escapes, dot segments, and
//! separators or control characters in disguise.

use crate::http::Status;

/// The one folder that is shown though its name begins with a dot (RFC 8615). At the top alone.
const WELL_KNOWN: &[u8] = b".well-known";

/// A path that names a file or a folder below the one that is served. It begins with `/`; no name in it is
/// empty, is `.` or `..`, begins with a dot, or has a byte that [`is_plain`] refuses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path(Vec<u8>);

impl Path {
    /// Reads the path of a request, without its query.
    ///
    /// # Errors
    /// [`Status::BadRequest`] where it has no reading, or could have two; [`Status::NotFound`] where nothing
    /// is ever served.
    pub(super) fn read(text: &str) -> Result<Self, Status> {
        let path = decode(text.as_bytes()).filter(|path| path.starts_with(b"/")).ok_or(Status::BadRequest)?;
        let names = || path[1..].split(|&byte| byte == b'/');
        if names().any(|name| matches!(name, b"." | b"..")) {
            return Err(Status::BadRequest);
        }
        let last = names().count() - 1;
        // The name behind the last slash is empty in every folder's path.
        let is_nothing = |(at, name): (usize, &[u8])| {
            (name.is_empty() && at < last) || (is_hidden(name) && (at, name) != (0, WELL_KNOWN))
        };
        if names().enumerate().any(is_nothing) { Err(Status::NotFound) } else { Ok(Self(path)) }
    }

    /// Its names, from the top.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|name| !name.is_empty())
    }

    /// Whether it can only mean a folder.
    pub(super) fn is_folder(&self) -> bool {
        self.0.ends_with(b"/")
    }

    /// The bytes it stands for.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Whether a name is kept from visitors: what begins with a dot was not put there for them.
pub(super) fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".")
}

/// Whether a byte may stand in a name: no control character, and nothing that some take for a separator.
pub(super) fn is_plain(byte: u8) -> bool {
    !byte.is_ascii_control() && byte != b'\\'
}

/// Writes a path, or a name, as it stands in a URI: all but unreserved characters and `/` as escapes (RFC 3986
/// section 2.3). So no colon makes a scheme of a name, and nothing needs escaping in HTML or in a header.
pub(super) fn encode(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// Resolves the escapes of a path, each once; `None` where one is bad, or hides what may not be hidden.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        let (byte, behind) = if first == b'%' {
            let (digits, behind) = behind.split_at_checked(2)?;
            (hex(digits[0])? << 4 | hex(digits[1])?, behind)
        } else {
            (first, behind)
        };
        if !is_plain(byte) || (byte == b'/' && first == b'%') {
            return None;
        }
        decoded.push(byte);
        rest = behind;
    }
    Some(decoded)
}

/// What a digit stands for.
fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once() {
        for (text, bytes) in [
            ("/", &b"/"[..]),
            ("/a", b"/a"),
            ("/a/", b"/a/"),
            ("/a/b.txt", b"/a/b.txt"),
            ("/a%20b+c", b"/a b+c"),
            ("/%61%2D%2d", b"/a--"),
            ("/%C3%A4/\u{e4}", b"/\xc3\xa4/\xc3\xa4"),
            ("/%ff%80", b"/\xff\x80"),
            ("/%2561", b"/%61"),
            ("/%252e%252e/x", b"/%2e%2e/x"),
            ("/a..b/c.", b"/a..b/c."),
            ("/a;b=c:d@e", b"/a;b=c:d@e"),
            ("/.well-known", b"/.well-known"),
            ("/%2ewell-known/acme", b"/.well-known/acme"),
        ] {
            assert_eq!(Path::read(text), Ok(Path(bytes.to_vec())), "{text}");
        }
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        for text in [
            "",
            "a",
            "%2fa",
            "*",
            "/%",
            "/%4",
            "/%zz",
            "/%+1",
            "/% 1",
            "/%u0041",
            "/a%",
            "/a%2",
            "/%00",
            "/a%00.txt",
            "/%0a",
            "/%0d%0aX: y",
            "/%1f",
            "/%7f",
            "/\t",
            "/%2f",
            "/a%2Fb",
            "/%5c",
            "/a%5Cb",
            "/..%5c",
            "/\\",
            "/a\\b",
            "/.",
            "/..",
            "/./",
            "/../",
            "/a/.",
            "/a/..",
            "/a/../b",
            "/%2e",
            "/%2e%2e",
            "/.%2e/",
            "/%2E./x",
            "/..%2f",
            "/%2e%2e%2fetc",
            "/.git/../a",
            "/x/%2e%2e/.env",
        ] {
            assert_eq!(Path::read(text), Err(Status::BadRequest), "{text:?}");
        }
    }

    #[test]
    fn what_is_hidden_or_empty_is_not_found() {
        for text in [
            "//",
            "///",
            "//a",
            "//etc/passwd",
            "/a//",
            "/a//b",
            "/.git",
            "/.git/config",
            "/a/.env",
            "/%2ehtpasswd",
            "/...",
            "/.well-known/.x",
            "/a/.well-known",
            "/a/.well-known/x",
            "/.well-known2",
            "/.Well-Known",
            "//.well-known",
        ] {
            assert_eq!(Path::read(text), Err(Status::NotFound), "{text:?}");
        }
    }

    #[test]
    fn a_path_has_its_names() {
        let names = |text| Path::read(text).map(|path| path.names().map(<[u8]>::to_vec).collect::<Vec<_>>());
        assert_eq!(names("/"), Ok(vec![]));
        assert_eq!(names("/a/b%20c"), Ok(vec![b"a".to_vec(), b"b c".to_vec()]));
        assert_eq!(names("/a/b/"), Ok(vec![b"a".to_vec(), b"b".to_vec()]));
    }

    #[test]
    fn what_is_encoded_reads_the_same() {
        let all: Vec<u8> = (0..=u8::MAX).filter(|&byte| is_plain(byte) && byte != b'/').collect();
        let path = [b"/a/b".as_slice(), &all, b"/"].concat();
        let mut text = String::new();
        encode(&path, &mut text);
        assert_eq!(Path::read(&text), Ok(Path(path)));
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/%".contains(&byte)), "{text}");
    }
}
