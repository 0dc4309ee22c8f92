//! Bodies of the fuzz targets, one for each decoder that meets bytes from outside. They stand here so that
//! every build compiles them; `tests/corpus.rs` replays their corpora, and `tests/fuzz` gives them to
//! libFuzzer, beside the targets that play with whole roles (`tests/fuzz/roles`).

use crate::config;
use crate::directory::Directory;
use crate::license::License;
use crate::mapping;
use crate::policy::Allow;
use crate::proxy_protocol::{self, Announced, ProxyVersion};
use crate::server_ref::{ServerRef, ServerWord};
use crate::via::{Step, Via};
use crate::wire::{self, Frame};

/// A target: its name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets that are a decoder.
pub const TARGETS: &[Target] = &[
    ("wire", frames),
    ("license", license),
    ("server_ref", server_ref),
    ("mapping", mappings),
    ("allow", allow),
    ("config", configuration),
    ("licenses", licenses),
    ("proxy_protocol", headers),
    ("via", proxies),
];

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

/// `LICENSE@HOST`, as it stands on a command line or in a file: what is accepted prints as what parses to
/// the same, and shows the license nowhere but in its place.
pub fn server_ref(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match ServerRef::parse(text) {
        Ok(server) => {
            let shown = format!("{}@{}", server.license.text(), server.hosts_text());
            assert_eq!(ServerRef::parse(&shown).as_ref(), Ok(&server));
            assert!(!format!("{server:?}").contains(&server.license.text()));
        }
        Err(error) => assert!(!error.is_empty()),
    }
    let _ = ServerWord::is_meant_by(text);
    if let Ok(word) = ServerWord::parse("@file") {
        let _ = word.resolve(&mut |_| Ok(text.to_owned()));
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

/// What `--allow` takes: what is accepted prints as what parses to the same.
pub fn allow(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Allow::parse(text) {
        Ok(allow) => assert_eq!(Allow::parse(&allow.to_string()), Ok(allow)),
        Err(error) => assert!(!error.is_empty()),
    }
}

/// `nt.toml`, of a server or a client.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for error in [config::parse_server(text).err(), config::parse_client(text).err()].into_iter().flatten() {
        assert!(!error.to_string().is_empty());
    }
    let _ = config::parse_either(text);
}

/// `licenses.toml`: what is accepted prints as what parses to the same.
pub fn licenses(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Directory::parse(text) {
        Ok(directory) => assert_eq!(Directory::parse(&directory.to_toml()), Ok(directory)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A header of the PROXY protocol: no prefix of one is one, and what it says can be said again.
pub fn headers(bytes: &[u8]) {
    let Ok(Some((announced, used))) = proxy_protocol::parse(bytes) else { return };
    for cut in 0..used {
        assert_eq!(proxy_protocol::parse(&bytes[..cut]), Ok(None));
    }
    let Announced::Visitor { from, to } = announced else { return };
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let header = proxy_protocol::header(version, proxy_protocol::Transport::Stream, from, Some(to));
        let again = if from.is_ipv4() == to.is_ipv4() { announced } else { Announced::Itself };
        assert_eq!(proxy_protocol::parse(&header), Ok(Some((again, header.len()))));
    }
}

/// What a proxy says, at once and byte by byte: an answer is taken when it is whole, whatever stands behind it.
pub fn proxies(bytes: &[u8]) {
    for text in ["http://me:secret@proxy:1", "socks5://proxy:1", "socks5://me:secret@proxy:1"] {
        let Ok(via) = Via::parse(text) else { return };
        let (mut whole, mut slow) = (via.begin("server", 9002), via.begin("server", 9002));
        let mut rest = bytes;
        loop {
            let step = whole.hear(rest);
            let first =
                (0..=rest.len()).map(|cut| slow.hear(&rest[..cut])).find(|step| *step != Ok(Step::Wait));
            assert_eq!(first.unwrap_or(Ok(Step::Wait)), step);
            match step {
                Ok(Step::Say(used, said)) => {
                    assert!(!said.is_empty());
                    rest = &rest[used..];
                }
                Ok(Step::Done(used)) => break assert!(used <= rest.len()),
                Ok(Step::Wait) | Err(_) => break,
            }
        }
    }
}
