//! Bodies of the fuzz targets, one for each decoder that meets bytes from outside. They stand here so that
//! every build compiles them; `tests/corpus.rs` replays their corpora, and `tests/fuzz` gives them to
//! libFuzzer.

use crate::directory::Directory;
use crate::license::License;
use crate::mapping;
use crate::wire::{self, Frame};

/// A target: its name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] =
    &[("wire", frames), ("license", license), ("mapping", mappings), ("licenses", licenses)];

/// A stream of frames: each decodes to what encodes to the same bytes, and no prefix of one is taken for
/// another.
pub fn frames(mut bytes: &[u8]) {
    while let Ok(Some((frame, used))) = wire::next(bytes) {
        assert!(used > 0 && used <= bytes.len());
        // What a newer peer means by an unknown reason is not kept, so such a frame need not come back the
        // same.
        let encoded = frame.encode();
        assert_eq!(encoded.bytes().len(), used);
        let again = wire::next(encoded.bytes());
        assert_eq!(again, Ok(Some((frame, used))));
        for cut in 0..used {
            assert_eq!(wire::next(&bytes[..cut]), Ok(None));
        }
        let payload = if let Frame::Transfer(length) = frame { length as usize } else { 0 };
        bytes = bytes.get(used + payload..).unwrap_or_default();
    }
}

/// A license's text: what is accepted is canonical.
pub fn license(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match License::parse(text) {
        Ok(license) => assert_eq!(license.text(), text.trim().to_lowercase()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A mapping's text: what is accepted prints as what parses to the same.
pub fn mappings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match mapping::parse(text) {
        Ok(mappings) => {
            for mapping in mappings {
                assert_eq!(mapping::parse(&mapping.to_string()).as_deref(), Ok([mapping].as_slice()));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// `licenses.toml`: what is accepted prints as what parses to the same.
pub fn licenses(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Directory::parse(text) {
        Ok(directory) => assert_eq!(Directory::parse(&directory.to_toml()), Ok(directory)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
