//! What `nt version` says of the build: for which machine it is, and from which commit. And texts as they stand in the
//! binary: the API's description without what makes it readable to people, the dashboard's files packed.

use std::env::var;
use std::fs;
use std::path::Path;
use std::process::Command;

use miniz_oxide::deflate::compress_to_vec_zlib;

fn main() {
    // Whoever builds from an archive without a history says it.
    println!("cargo:rerun-if-env-changed=NT_COMMIT");
    let commit = var("NT_COMMIT").ok().or_else(commit).unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=NT_COMMIT={commit}");
    println!("cargo:rustc-env=NT_TARGET={}", var("TARGET").unwrap_or_default());

    keep("docs/openapi.json", |text| without_space(text).into());
    for file in ["page.html", "page.css", "page.js"] {
        keep(&format!("src/dashboard/{file}"), |text| compress_to_vec_zlib(text.as_bytes(), 10));
    }
}

/// Has a text stand in OUT_DIR, as it comes out of `made`.
fn keep(path: &str, made: impl FnOnce(&str) -> Vec<u8>) {
    println!("cargo:rerun-if-changed={path}");
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let kept =
        Path::new(&var("OUT_DIR").unwrap_or_default()).join(Path::new(path).file_name().unwrap_or_default());
    fs::write(&kept, made(&text)).unwrap_or_else(|error| panic!("{}: {error}", kept.display()));
}

/// JSON without the space between its words.
fn without_space(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let kept = |&c: &char| {
        let kept = quoted || !c.is_ascii_whitespace();
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        kept
    };
    json.chars().filter(kept).collect()
}

/// The commit that stands in the folder, as git says.
fn commit() -> Option<String> {
    let git = |words: &[&str]| {
        let output =
            Command::new("git").args(words).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    // An archive that was unpacked within somebody else's history has nothing of it.
    if !git(&["rev-parse", "--show-prefix"])?.is_empty() {
        return None;
    }
    // It moves with every commit and every change of branch.
    println!("cargo:rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    git(&["rev-parse", "--short=12", "HEAD"])
}
