//! What other users of the same machine can make of the program.

#![cfg(target_os = "linux")]

use nt::directory::Entry;
use nt::license::License;
use nt::state::StateDir;

fn license() -> License {
    License::from_random([1; 28])
}

/// `--client=LICENSE@HOST` is taken like `-c LICENSE@HOST`, but is not moved out of everybody's sight.
#[test]
fn a_license_leaves_the_command_line_however_it_was_written() {
    let text = license().text();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_nt"))
        .args([&format!("--client={text}@127.0.0.1:1"), "8080"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program");
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let line = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
    let _ = child.kill();
    let _ = child.wait();
    assert!(!line.is_empty(), "it still runs");
    assert!(!String::from_utf8_lossy(&line).contains(&text), "everybody can read the license");
}

/// Root looks after the licenses of a server that runs as somebody else, who owns the directory: a link in
/// the place of the lock must not have root give away what it points to.
#[test]
fn root_does_not_give_away_what_a_link_points_to() {
    use std::os::unix::fs::{MetadataExt, chown, symlink};
    let place = std::env::temp_dir().join(format!("nt-attack-{}", std::process::id()));
    let state = place.join("state");
    std::fs::create_dir_all(&state).expect("a directory");
    let victim = place.join("victim");
    std::fs::write(&victim, "root's").expect("a file");
    let owner = std::fs::metadata(&victim).expect("a file").uid();
    if owner != 0 || chown(&state, Some(65_534), Some(65_534)).is_err() {
        println!("only root can try this");
    } else {
        symlink(&victim, state.join("licenses.lock")).expect("a link");
        let dir = StateDir::open(Some(&state)).expect("a state directory");
        let _ = dir.edit_licenses(|directory| directory.add(Entry::new("one", &license())?));
    }
    let after = std::fs::metadata(&victim).expect("a file").uid();
    let _ = std::fs::remove_dir_all(&place);
    assert_eq!(after, owner, "root gave its file to the owner of the directory");
}
