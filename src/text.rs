//! Words about words: how what a person wrote is shown back to them, and what they may have meant.
//!
//! Every error in nt that quotes something a person or a file said goes through [`quote`], so that
//! no control character reaches a terminal and no license reaches a log.

/// Longest stretch of a person's text that an error shows, in characters.
pub const QUOTE_CHARS_MAX: usize = 80;

/// A run of letters and digits that begins with `nt1` and is this long is taken for a license,
/// even one with a typing error; so is any run of [`SECRET_RUN`].
const LICENSE_RUN: usize = 20;

/// A run of letters and digits this long is taken for some secret (a license with its prefix
/// mistyped, a key in hexadecimal).
const SECRET_RUN: usize = 40;

/// `text` between back quotes, fit for a terminal and a log: control characters escaped, licenses
/// hidden, cut after [`QUOTE_CHARS_MAX`] characters.
pub fn quote(text: &str) -> String {
    let hidden = hide_secrets(text);
    let mut shown = String::with_capacity(hidden.len().min(QUOTE_CHARS_MAX) + 2);
    shown.push('`');
    for (count, letter) in hidden.chars().enumerate() {
        if count == QUOTE_CHARS_MAX {
            shown.push_str("...");
            break;
        }
        if letter.is_control() {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown.push('`');
    shown
}

/// `text` with whatever looks like a license or a key replaced by its first letters and dots.
pub fn hide_secrets(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let run = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(run);
        let license = word.len() >= LICENSE_RUN && word[..3].eq_ignore_ascii_case("nt1");
        if license || word.len() >= SECRET_RUN {
            shown.push_str(&word[..3]);
            shown.push_str("...");
        } else {
            shown.push_str(word);
        }
        let separator = after.chars().next().map_or(0, char::len_utf8);
        shown.push_str(&after[..separator]);
        rest = &after[separator..];
    }
    shown
}

/// Which of `known` was probably meant by `word`: the nearest one by insertions, deletions,
/// substitutions and swaps of neighbours, when a third of the word or less is wrong.
pub fn closest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(QUOTE_CHARS_MAX).flat_map(char::to_lowercase).collect();
    let best = known.iter().map(|&candidate| (distance(&word, candidate), candidate)).min()?;
    let allowed = (word.len().max(best.1.len()) / 3).max(1);
    (best.0 <= allowed && best.0 < word.len()).then_some(best.1)
}

/// `, did you mean X?` for the nearest of `known`, or nothing: to be put behind an error.
pub fn did_you_mean(word: &str, known: &[&str]) -> String {
    closest(word, known).map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"))
}

/// Reads a port, 1 to 65535.
///
/// # Errors
/// A sentence that quotes the port.
pub fn parse_port(text: &str) -> Result<u16, String> {
    match number(text).and_then(|port| u16::try_from(port).ok()) {
        Some(port) if port > 0 => Ok(port),
        _ => Err(format!("port {} is not in 1..65535", quote(text))),
    }
}

/// A number of 1 to 9 digits and nothing else: `from_str` would take a sign as well.
pub fn number(text: &str) -> Option<u32> {
    let digits = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// A number of bytes: digits and an optional `K`, `M` or `G`, which are decimal (1 K = 1000).
///
/// # Errors
/// A sentence without its subject ("is not ...") when `text` is no such number, is 0, or exceeds
/// 64 bits.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    const SHAPE: &str = "is not a number of bytes such as 500K, 2M or 1G (K is 1000)";
    let (digits, unit) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 1_000),
        Some((at, 'M' | 'm')) => (&text[..at], 1_000_000),
        Some((at, 'G' | 'g')) => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SHAPE.to_string());
    }
    match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)) {
        Some(0) => Err("is nothing: leave it out for no bound".to_string()),
        Some(bytes) => Ok(bytes),
        None => Err("is too large".to_string()),
    }
}

/// The shortest text that [`parse_bytes`] reads as `bytes`.
pub fn show_bytes(bytes: u64) -> String {
    for (unit, letter) in [(1_000_000_000, 'G'), (1_000_000, 'M'), (1_000, 'K')] {
        if bytes != 0 && bytes.is_multiple_of(unit) {
            return format!("{}{letter}", bytes / unit);
        }
    }
    bytes.to_string()
}

/// Hexadecimal digits of bytes, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hexadecimal digits stand for; `None` where they are not so many.
pub fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Edit distance with swaps of neighbours (optimal string alignment), in letters.
fn distance(word: &[char], candidate: &str) -> usize {
    let other: Vec<char> = candidate.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, &a) in word.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &b) in other.iter().enumerate() {
            let mut cost = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a == other[j - 1] && word[i - 1] == b {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

/// Whether a byte may stand in the name of a header (RFC 9110 section 5.6.2).
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether both are the same. How long it takes depends on their lengths alone.
pub fn alike(one: &[u8], other: &[u8]) -> bool {
    let differs = |differs: u8, (one, other): (&u8, &u8)| differs | (one ^ other);
    one.len() == other.len() && one.iter().zip(other).fold(0, differs) == 0
}

/// `bytes` in base64 (RFC 4648 section 4).
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for symbol in 0..4 {
            let value = (bits >> (18 - 6 * symbol)) & 63;
            let padding = symbol > group.len();
            text.push(if padding { '=' } else { char::from(ALPHABET[value as usize]) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_is_safe_to_print() {
        assert_eq!(quote("a\x1b[31m\n"), "`a\\u{1b}[31m\\n`");
        assert_eq!(quote("nt1aaaabbbbccccddddeeee@host:1"), "`nt1...@host:1`");
        assert_eq!(quote("x NT1aaaabbbbccccdd0deeee"), "`x NT1...`");
        assert_eq!(quote("nt1.example.com"), "`nt1.example.com`");
        assert_eq!(quote(&"é".repeat(200)).chars().count(), QUOTE_CHARS_MAX + 5);
        assert_eq!(quote(&"a".repeat(40)), "`aaa...`");
        assert_eq!(quote(""), "``");
    }

    #[test]
    fn the_nearest_word_is_found_when_it_is_near() {
        let known = ["listen", "plain", "http", "https", "admin"];
        for (typed, meant) in [
            ("lisen", Some("listen")),
            ("litsen", Some("listen")),
            ("htps", Some("https")),
            ("Plain", Some("plain")),
            ("plian", Some("plain")),
            ("x", None),
            ("", None),
            ("certificate", None),
        ] {
            assert_eq!(closest(typed, &known), meant, "{typed}");
        }
        assert_eq!(closest("a", &[]), None);
        assert_eq!(closest(&"x".repeat(100_000), &known), None);
    }

    #[test]
    fn bytes_are_read_and_shown() {
        for (text, bytes) in [("1", 1), ("1500", 1500), ("2M", 2_000_000), ("3g", 3_000_000_000)] {
            assert_eq!(parse_bytes(text), Ok(bytes));
            assert_eq!(parse_bytes(&show_bytes(bytes)), Ok(bytes));
        }
        for text in ["", "K", "-1", "+1", "1.5M", "2MB", "0", "0K", "99999999999G", "é", "1é"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    /// The vectors of RFC 4648 section 10.
    #[test]
    fn base64_as_in_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }
}
