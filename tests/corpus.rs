//! Replays the corpus of every fuzz target, and each of its files with every bit flipped and cut at every length.

use std::path::Path;

use nt::fuzz::TARGETS;
use nt::license::License;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("the corpus can be read").path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("a file of the corpus can be read")).collect()
}

#[test]
fn every_decoder_bears_its_corpus_and_all_near_it() {
    for (name, run) in TARGETS {
        let files = corpus(name);
        assert!(!files.is_empty(), "{name} has no corpus");
        for file in files {
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

/// The corpora hold what is accepted, so that the targets go deep.
#[test]
fn the_corpora_are_good() {
    for file in corpus("mapping") {
        let text = String::from_utf8(file).expect("text");
        assert!(nt::mapping::parse(&text).is_ok(), "{text}");
    }
    for file in corpus("license") {
        assert!(License::parse(std::str::from_utf8(&file).expect("text")).is_ok());
    }
    for file in corpus("licenses") {
        let directory = nt::directory::Directory::parse(std::str::from_utf8(&file).expect("text"));
        assert!(directory.is_ok_and(|directory| !directory.is_empty()));
    }
    for file in corpus("wire") {
        assert!(matches!(nt::wire::next(&file), Ok(Some(_))));
    }
}
