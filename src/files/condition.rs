//! What a visitor that has a file already, or a part of it, still needs (RFC 9110 sections 13 and 14).

use std::ops::Range;
use std::time::UNIX_EPOCH;

use crate::http::{Request, Status};

/// How much of a file is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Whole,
    /// These bytes, of which there is one at least.
    Part(Range<u64>),
    /// None: the visitor's copy is good.
    Unchanged,
    Refused(Status),
}

/// Weighs the conditions of a GET or HEAD in their order (RFC 9110 section 13.2.2). `tag` is the file's entity
/// tag, and `modified` what is told of it as its date, in seconds since 1970.
pub(super) fn choose(request: &Request<'_>, tag: &str, modified: u64, size: u64) -> Choice {
    let has = |name| request.values(name).next().is_some();
    if has("if-match") {
        if !names(request, "if-match", |given| given == tag.as_bytes()) {
            return Choice::Refused(Status::PreconditionFailed);
        }
    } else if date(request, "if-unmodified-since").is_some_and(|given| modified > given) {
        return Choice::Refused(Status::PreconditionFailed);
    }
    if has("if-none-match") {
        // A weak tag does for a copy (RFC 9110 section 8.8.3.2).
        if names(request, "if-none-match", |given| {
            given.strip_prefix(b"W/").unwrap_or(given) == tag.as_bytes()
        }) {
            return Choice::Unchanged;
        }
    } else if date(request, "if-modified-since").is_some_and(|given| modified <= given) {
        return Choice::Unchanged;
    }
    // A part of what has changed since would be pasted into what was before.
    let same = !has("if-range")
        || only(request, "if-range") == Some(tag.as_bytes())
        || date(request, "if-range") == Some(modified);
    // Only GET knows ranges (RFC 9110 section 14.2).
    let range = only(request, "range").filter(|_| same && !request.is_head());
    range.and_then(|range| part(range, size)).unwrap_or(Choice::Whole)
}

/// Whether a list of tags has one that is `good`, or is `*`. It may be cut within a tag that has a comma: none
/// of ours has.
fn names(request: &Request<'_>, header: &str, good: impl Fn(&[u8]) -> bool) -> bool {
    let mut given = request.values(header).flat_map(|value| value.split(|&byte| byte == b','));
    given.any(|tag| tag.trim_ascii() == b"*" || good(tag.trim_ascii()))
}

/// The value of a header that must come once.
fn only<'a>(request: &Request<'a>, name: &str) -> Option<&'a [u8]> {
    let mut values = request.values(name);
    values.next().filter(|_| values.next().is_none())
}

/// A header's date, in seconds since 1970; `None` where it is none, and so to be ignored.
fn date(request: &Request<'_>, name: &str) -> Option<u64> {
    let text = std::str::from_utf8(only(request, name)?).ok()?;
    let date = httpdate::parse_http_date(text).ok()?;
    date.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// The part of `size` bytes that a Range asks for (RFC 9110 section 14.1.2). `None` where it is to be ignored:
/// what is no range, and more than one, which nobody needs and which made servers send far more than they have.
fn part(range: &[u8], size: u64) -> Option<Choice> {
    const NOTHING: Option<Choice> = Some(Choice::Refused(Status::RangeNotSatisfiable));
    let (unit, range) = std::str::from_utf8(range).ok()?.split_once('=')?;
    let (first, last) = range.split_once('-')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (start, end) = match (first, last) {
        ("", length) => match number(length)? {
            0 => return NOTHING,
            // The end of an empty file is all of it, and has no first byte to be told.
            _ if size == 0 => return None,
            length => (size.saturating_sub(length), size),
        },
        (first, "") => (number(first)?, size),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            (first, size.min(last.saturating_add(1)))
        }
    };
    if start < size { Some(Choice::Part(start..end)) } else { NOTHING }
}

/// Digits and nothing else; what is too large to be counted is as large as can be.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::header_space;

    const TAG: &str = "\"0a\"";
    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const MODIFIED: u64 = 784_111_777;

    fn chosen(method: &str, headers: &str) -> Choice {
        let text = format!("{method} / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let mut space = header_space();
        match Request::parse(text.as_bytes(), &mut space) {
            Ok(Some((request, _))) => choose(&request, TAG, MODIFIED, 100),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_range_is_one_range() {
        for (text, start, end) in [
            ("bytes=0-0", 0, 1),
            ("bytes=0-99", 0, 100),
            ("bytes=0-", 0, 100),
            ("bytes=10-19", 10, 20),
            ("bytes=99-", 99, 100),
            ("bytes=99-99", 99, 100),
            ("bytes=50-1000", 50, 100),
            ("bytes=50-18446744073709551615", 50, 100),
            ("bytes=50-99999999999999999999999999", 50, 100),
            ("bytes=-1", 99, 100),
            ("bytes=-100", 0, 100),
            ("bytes=-101", 0, 100),
            ("bytes=-99999999999999999999999999", 0, 100),
            ("BYTES=007-008", 7, 9),
        ] {
            assert_eq!(part(text.as_bytes(), 100), Some(Choice::Part(start..end)), "{text}");
        }
    }

    #[test]
    fn a_range_of_nothing_is_told() {
        let nothing = Some(Choice::Refused(Status::RangeNotSatisfiable));
        for text in [
            "bytes=100-",
            "bytes=100-100",
            "bytes=100-200",
            "bytes=-0",
            "bytes=-000",
            "bytes=18446744073709551615-",
            "bytes=18446744073709551616-18446744073709551617",
        ] {
            assert_eq!(part(text.as_bytes(), 100), nothing, "{text}");
        }
        for text in ["bytes=0-", "bytes=0-0", "bytes=-0"] {
            assert_eq!(part(text.as_bytes(), 0), nothing, "{text}");
        }
        assert_eq!(part(b"bytes=-1", 0), None);
        let most = u64::MAX;
        assert_eq!(part(format!("bytes=0-{most}").as_bytes(), most), Some(Choice::Part(0..most)));
    }

    #[test]
    fn what_is_no_range_is_ignored() {
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=--1",
            "bytes=1",
            "bytes=a-b",
            "bytes=1-b",
            "bytes=+1-2",
            "bytes=1-+2",
            "bytes=2-1",
            "bytes= 1-2",
            "bytes=1 - 2",
            "bytes=1-2 ",
            "bytes =1-2",
            "bytes=0x1-2",
            "bytes=1-2-3",
            "bytes=0-0,1-1",
            "bytes=0-0,",
            "bytes=,0-0",
            "bytes=0-,0-,0-",
            "lines=1-2",
            "bytes:1-2",
            "=1-2",
        ] {
            assert_eq!(part(text.as_bytes(), 100), None, "{text:?}");
        }
        assert_eq!(part(b"bytes=\xff-1", 100), None);
    }

    #[test]
    fn conditions_are_weighed_in_their_order() {
        const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
        let failed = || Choice::Refused(Status::PreconditionFailed);
        for (headers, choice) in [
            ("".to_owned(), Choice::Whole),
            (format!("If-None-Match: {TAG}\r\n"), Choice::Unchanged),
            (format!("If-None-Match: W/{TAG}\r\n"), Choice::Unchanged),
            (format!("If-None-Match: \"x\", {TAG}\r\n"), Choice::Unchanged),
            (format!("If-None-Match: \"x\"\r\nIf-None-Match: {TAG}\r\n"), Choice::Unchanged),
            ("If-None-Match: *\r\n".to_owned(), Choice::Unchanged),
            ("If-None-Match: 0a\r\n".to_owned(), Choice::Whole),
            (format!("If-Modified-Since: {DATE}\r\n"), Choice::Unchanged),
            ("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n".to_owned(), Choice::Unchanged),
            (format!("If-Modified-Since: {BEFORE}\r\n"), Choice::Whole),
            ("If-Modified-Since: tomorrow\r\n".to_owned(), Choice::Whole),
            (format!("If-Modified-Since: {DATE}\r\nIf-Modified-Since: {DATE}\r\n"), Choice::Whole),
            // A tag says more than a date.
            (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {DATE}\r\n"), Choice::Whole),
            (format!("If-None-Match: {TAG}\r\nIf-Modified-Since: {BEFORE}\r\n"), Choice::Unchanged),
            (format!("If-None-Match: {TAG}\r\nRange: bytes=0-0\r\n"), Choice::Unchanged),
            (format!("If-Match: {TAG}\r\n"), Choice::Whole),
            ("If-Match: *\r\n".to_owned(), Choice::Whole),
            ("If-Match: \"x\"\r\n".to_owned(), failed()),
            (format!("If-Match: W/{TAG}\r\n"), failed()),
            (format!("If-Match: \"x\"\r\nIf-None-Match: {TAG}\r\n"), failed()),
            (format!("If-Unmodified-Since: {BEFORE}\r\n"), failed()),
            (format!("If-Unmodified-Since: {DATE}\r\n"), Choice::Whole),
            (format!("If-Match: {TAG}\r\nIf-Unmodified-Since: {BEFORE}\r\n"), Choice::Whole),
            ("Range: bytes=0-0\r\n".to_owned(), Choice::Part(0..1)),
            ("Range: bytes=0-0\r\nRange: bytes=1-1\r\n".to_owned(), Choice::Whole),
            (format!("Range: bytes=0-0\r\nIf-Range: {TAG}\r\n"), Choice::Part(0..1)),
            (format!("Range: bytes=0-0\r\nIf-Range: W/{TAG}\r\n"), Choice::Whole),
            ("Range: bytes=0-0\r\nIf-Range: \"x\"\r\n".to_owned(), Choice::Whole),
            (format!("Range: bytes=0-0\r\nIf-Range: {DATE}\r\n"), Choice::Part(0..1)),
            (format!("Range: bytes=0-0\r\nIf-Range: {BEFORE}\r\n"), Choice::Whole),
            ("Range: bytes=900-\r\nIf-Range: \"x\"\r\n".to_owned(), Choice::Whole),
        ] {
            assert_eq!(chosen("GET", &headers), choice, "{headers}");
        }
        assert_eq!(chosen("HEAD", "Range: bytes=0-0\r\n"), Choice::Whole);
        assert_eq!(chosen("HEAD", "Range: bytes=900-\r\n"), Choice::Whole);
        assert_eq!(chosen("HEAD", &format!("If-None-Match: {TAG}\r\n")), Choice::Unchanged);
    }
}
