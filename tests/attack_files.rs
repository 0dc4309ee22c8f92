//! Alone in its process, because it takes away all open files.

use nt::directory::Entry;
use nt::license::License;
use nt::state::StateDir;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A license is revoked in the very moment in which the server has no file to open left. It must look again,
/// or the revoked license is good until somebody changes the file once more.
#[test]
fn a_change_that_could_not_be_read_is_read_later() {
    let place = std::env::temp_dir().join(format!("nt-attack-files-{}", std::process::id()));
    let state = StateDir::open(Some(&place)).expect("a state directory");
    let add = |name: &str, n| {
        let entry = Entry::new(name, &License::from_random([n; 28])).expect("a name");
        state.edit_licenses(|directory| directory.add(entry)).expect("an edit");
    };
    add("one", 1);
    let (_, mut file) = state.open_licenses().expect("licenses");
    add("two", 2);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: limit.maximum }).expect("a lower limit");
    let during = file.changed();
    setrlimit(Resource::Nofile, limit).expect("the limit of before");
    let after = file.changed();
    let _ = std::fs::remove_dir_all(&place);
    assert!(matches!(during, Some(Err(_))), "it could not be read: {during:?}");
    assert!(matches!(after, Some(Ok(_))), "the change is never read: {after:?}");
}
