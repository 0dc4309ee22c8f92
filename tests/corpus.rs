//! Replays the corpus of every fuzz target; and those of the decoders also with every bit flipped and cut at every
//! length.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nt::license::License;

#[path = "fuzz/roles/mod.rs"]
mod roles;

fn folder(inside: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(inside)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("the corpus can be read").path())
        .collect();
    files.sort();
    files
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let files = files(&folder("corpus").join(target));
    files.iter().map(|file| std::fs::read(file).expect("a file of the corpus can be read")).collect()
}

/// The names of what lies in a folder, without what is behind a dot.
fn names(inside: &str) -> BTreeSet<String> {
    let stem = |path: &PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    files(&folder(inside)).iter().filter_map(stem).collect()
}

#[test]
fn every_target_is_built_and_has_a_corpus() {
    let targets = nt::fuzz::TARGETS.iter().chain(roles::TARGETS);
    let targets: BTreeSet<String> = targets.map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), targets, "programs for libFuzzer");
    assert_eq!(names("corpus"), targets, "corpora");
    let manifest = std::fs::read_to_string(folder("Cargo.toml")).expect("the manifest can be read");
    let mut make = std::process::Command::new("make");
    make.args(["--dry-run", "--no-print-directory", "-C", env!("CARGO_MANIFEST_DIR"), "fuzz"]);
    let make = make.env_remove("MAKEFLAGS").output().expect("make can be run");
    let fuzzed = String::from_utf8_lossy(&make.stdout).into_owned();
    for target in targets {
        assert!(
            fuzzed.split([' ', ';']).any(|word| word == target),
            "make fuzz leaves out {target}: {fuzzed}"
        );
        assert!(manifest.contains(&format!("name = \"{target}\"\n")), "{target} is not in Cargo.toml");
        assert!(!corpus(&target).is_empty(), "{target} has no corpus");
    }
}

#[test]
fn every_decoder_bears_its_corpus_and_all_near_it() {
    for (name, run) in nt::fuzz::TARGETS {
        for file in corpus(name) {
            run(&file);
            for cut in 0..file.len() {
                run(&file[..cut]);
            }
            let mut flipped = file.clone();
            for bit in 0..file.len() * 8 {
                flipped[bit / 8] ^= 1 << (bit % 8);
                run(&flipped);
                flipped[bit / 8] = file[bit / 8];
            }
        }
    }
}

#[test]
fn every_role_bears_its_corpus() {
    for (name, run) in roles::TARGETS {
        for file in corpus(name) {
            run(&file);
        }
    }
}

/// The corpora hold what is accepted, so that the targets go deep.
#[test]
fn the_corpora_are_good() {
    let holds = |target: &str, good: &dyn Fn(&str) -> bool| {
        let files = corpus(target);
        let good = files.iter().any(|file| std::str::from_utf8(file).is_ok_and(good));
        assert!(good, "none of the {} files of {target} is accepted", files.len());
    };
    holds("license", &|text| License::parse(text).is_ok());
    holds("server_ref", &|text| nt::server_ref::ServerRef::parse(text).is_ok());
    holds("mapping", &|text| nt::mapping::parse(text).is_ok());
    holds("allow", &|text| nt::policy::Allow::parse(text).is_ok());
    holds("config", &|text| nt::config::parse_server(text).is_ok());
    holds("config", &|text| nt::config::parse_client(text).is_ok());
    holds("licenses", &|text| nt::directory::Directory::parse(text).is_ok_and(|d| !d.is_empty()));
    let is_request = |text: &str| {
        let mut space = nt::http::header_space();
        matches!(nt::http::Request::parse(text.as_bytes(), &mut space), Ok(Some(_)))
    };
    assert!(corpus("http").iter().all(|file| std::str::from_utf8(file).is_ok_and(is_request)));
    let is_answer = |file: &Vec<u8>| matches!(nt::http::Answer::parse(file, false, true), Ok(Some(_)));
    assert!(corpus("answer").iter().all(is_answer));
    let headers = corpus("proxy_protocol");
    assert!(headers.iter().all(|file| matches!(nt::proxy_protocol::parse(file), Ok(Some(_)))));
    let wire = corpus("wire");
    let begun = wire.iter().filter(|file| matches!(nt::wire::next(file), Ok(Some(_))));
    let kinds: BTreeSet<u8> = begun.map(|file| file[0]).collect();
    let samples = nt::wire::samples().into_iter().map(|(_, frame)| frame.encode().bytes()[0]);
    assert_eq!(kinds, samples.collect(), "kinds of frames that the corpus of wire begins with");
    // A frame within a script that is not one any more is passed over, and what it would lead to is never reached.
    for target in ["server", "client"] {
        let mapping = |bytes: &[u8]| match nt::wire::next(bytes) {
            Ok(Some((nt::wire::Frame::Map(map), _))) => nt::mapping::parse(map.mapping).is_ok(),
            _ => false,
        };
        let mut files = corpus(target).into_iter();
        let declares = files.any(|file| (0..file.len()).any(|at| mapping(&file[at..])));
        assert!(declares, "no script of {target} declares a mapping");
    }
}
