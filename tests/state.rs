//! The state directory, on a real file system: what is written is whole, secret and not lost.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nt::directory::{Directory, Entry};
use nt::license::License;
use nt::state::{StateDir, secrecy_warning};
use rustls::pki_types::PrivateKeyDer;

/// A directory of its own for a test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("nt-state-{}-{count}", std::process::id()));
        fs::create_dir(&path).expect("a directory of its own");
        Self(path)
    }

    fn state(&self) -> StateDir {
        StateDir::open(Some(&self.0.join("deep/state"))).expect("a state directory")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn license(first: u8) -> License {
    License::from_random(std::array::from_fn(|i| first.wrapping_add(u8::try_from(i).expect("short"))))
}

fn add(directory: &mut Directory, name: &str, first: u8) -> Result<(), String> {
    directory.add(Entry::new(name, &license(first))?)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").mode() & 0o777
}

#[test]
fn the_place_is_chosen_as_documented() {
    type Variables<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Option<&str>, Variables<'_>, bool, &str); 10] = [
        (Some("/x"), &[("STATE_DIRECTORY", "/y")], true, "/x"),
        (Some("x"), &[], false, "x"),
        (None, &[("STATE_DIRECTORY", "/y"), ("XDG_STATE_HOME", "/z")], true, "/y"),
        (None, &[("STATE_DIRECTORY", "/y:/z")], false, "/y"),
        (None, &[("XDG_STATE_HOME", "/z")], true, "/var/lib/nt"),
        (None, &[("XDG_STATE_HOME", "/z"), ("HOME", "/h")], false, "/z/nt"),
        (None, &[("XDG_STATE_HOME", "z"), ("HOME", "/h")], false, "/h/.local/state/nt"),
        (None, &[("XDG_STATE_HOME", ""), ("HOME", "/h")], false, "/h/.local/state/nt"),
        (None, &[("STATE_DIRECTORY", ""), ("HOME", "/h")], false, "/h/.local/state/nt"),
        (None, &[("HOME", "")], false, "there is no $HOME to keep state in: say where with --state DIR"),
    ];
    for (arg, variables, root, chosen) in cases {
        let variable = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        let path = StateDir::choose(arg.map(Path::new), variable, root);
        assert_eq!(path.unwrap_or_else(PathBuf::from), PathBuf::from(chosen));
    }
}

#[test]
fn licenses_are_kept_whole_and_secret() {
    let scratch = Scratch::new();
    let state = scratch.state();
    assert_eq!(mode(state.path()), 0o700);
    assert_eq!(state.load_licenses(), Ok(Directory::default()));
    state.edit_licenses(|directory| add(directory, "a", 1)).expect("written");
    state.edit_licenses(|directory| add(directory, "b", 2)).expect("written");
    let error = state.edit_licenses(|directory| {
        directory.remove("a")?;
        add(directory, "b", 3)
    });
    assert!(error.expect_err("taken").contains("already"));
    let names: Vec<_> = state.load_licenses().expect("good").iter().map(|e| e.name.clone()).collect();
    assert_eq!(names, ["a", "b"], "a failed edit changes nothing");
    let file = state.path().join("licenses.toml");
    assert_eq!((mode(&file), mode(&state.path().join("licenses.lock"))), (0o600, 0o600));
    assert_eq!(state.warnings(), [""; 0]);

    // What changes nothing does not write.
    let before = fs::metadata(&file).expect("a file").ino();
    state.edit_licenses(|_| Ok(())).expect("nothing to do");
    assert_eq!(fs::metadata(&file).expect("a file").ino(), before);

    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("mine");
    fs::set_permissions(state.path(), fs::Permissions::from_mode(0o777)).expect("mine");
    let warnings = state.warnings();
    assert!(warnings[0].ends_with(&format!(": chmod go-w {}", state.path().display())), "{warnings:?}");
    assert!(warnings[1].ends_with(&format!("(mode 640): chmod 600 {}", file.display())), "{warnings:?}");
    assert_eq!(secrecy_warning(Path::new("/nonexistent")), None);
    // The next change mends it.
    state.edit_licenses(|directory| add(directory, "c", 3)).expect("written");
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let scratch = Scratch::new();
    let state = scratch.state();
    state.edit_licenses(|directory| add(directory, "a", 1)).expect("written");
    let file = state.path().join("licenses.toml");
    let before = fs::read(&file).expect("a file");

    // The new file cannot be made: a directory that is not empty stands in its place.
    let new = state.path().join("licenses.toml.new");
    fs::create_dir_all(new.join("x")).expect("mine");
    let error = state.edit_licenses(|directory| add(directory, "b", 2)).expect_err("cannot be written");
    assert!(error.starts_with(&format!("cannot remove {}: ", new.display())), "{error}");
    assert_eq!(fs::read(&file).expect("a file"), before);
    fs::remove_dir_all(&new).expect("mine");

    // What a lost machine left half written is no obstacle.
    fs::write(&new, "half").expect("mine");
    state.edit_licenses(|directory| add(directory, "b", 2)).expect("written");
    assert!(!new.exists());

    // A damaged file is not written over.
    for damage in [&b"[[license]]\nname = 1\n"[..], b"\xff\xfe"] {
        fs::write(&file, damage).expect("mine");
        let error = state.edit_licenses(|directory| add(directory, "c", 3)).expect_err("damaged");
        assert!(error.starts_with(&file.display().to_string()), "{error}");
        assert_eq!(fs::read(&file).expect("a file"), damage);
    }
    fs::write(&file, vec![b'#'; (16 << 20) + 1]).expect("mine");
    assert!(state.load_licenses().expect_err("too long").ends_with("is longer than 16777216 bytes"));
}

#[test]
fn places_that_cannot_be_are_named() {
    let scratch = Scratch::new();
    let file = scratch.0.join("file");
    fs::write(&file, "").expect("mine");
    for path in [file.clone(), file.join("below")] {
        let error = StateDir::open(Some(&path)).expect_err("no directory");
        let shown = format!("cannot make the state directory {}: ", path.display());
        assert!(error.starts_with(&shown), "{error}");
    }
}

#[test]
fn no_link_is_followed() {
    let scratch = Scratch::new();
    let state = scratch.state();
    let other = scratch.0.join("other");
    fs::write(&other, "other").expect("mine");
    for name in ["licenses.lock", "licenses.toml.new", "server.key.new", "server.crt.new"] {
        std::os::unix::fs::symlink(&other, state.path().join(name)).expect("mine");
    }
    let error = state.edit_licenses(|directory| add(directory, "a", 1)).expect_err("a link");
    assert!(
        error.starts_with(&format!(
            "cannot open {}/licenses.lock: \
        ",
            state.path().display()
        )),
        "{error}"
    );
    fs::remove_file(state.path().join("licenses.lock")).expect("mine");
    state.edit_licenses(|directory| add(directory, "a", 1)).expect("the others are in the way of nothing");
    state.identity(None).expect("made");
    assert_eq!(fs::read_to_string(&other).expect("a file"), "other");
    assert!(!state.path().join("server.key").is_symlink());
}

/// Files that root makes are the directory's owner's, as a server of another user has to read them.
#[test]
fn files_belong_to_the_directorys_owner() {
    let scratch = Scratch::new();
    let state = scratch.state();
    let owner = if std::os::unix::fs::chown(state.path(), Some(12345), Some(12346)).is_ok() {
        (12345, 12346)
    } else {
        let about = fs::metadata(state.path()).expect("mine");
        (about.uid(), about.gid())
    };
    state.edit_licenses(|directory| add(directory, "a", 1)).expect("written");
    state.identity(None).expect("made");
    for name in ["licenses.toml", "licenses.lock", "server.key", "server.crt"] {
        let about = fs::metadata(state.path().join(name)).expect("a file");
        assert_eq!((about.uid(), about.gid()), owner, "{name}");
    }
}

#[test]
fn commands_at_once_lose_nothing() {
    let scratch = Scratch::new();
    let state = scratch.state();
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let state = &state;
            scope.spawn(move || {
                for turn in 0..8 {
                    let number = thread * 8 + turn;
                    let name = format!("n{number}");
                    state.edit_licenses(|directory| add(directory, &name, number)).expect("written");
                }
            });
        }
    });
    assert_eq!(state.load_licenses().expect("good").len(), 64);
}

#[test]
fn a_change_is_seen_once() {
    let scratch = Scratch::new();
    let state = scratch.state();
    let (directory, mut file) = state.open_licenses().expect("nothing yet");
    assert!(directory.is_empty());
    assert_eq!(file.changed(), None);
    state.edit_licenses(|directory| add(directory, "a", 1)).expect("written");
    assert_eq!(file.changed().expect("a change").expect("good").len(), 1);
    assert_eq!(file.changed(), None);

    // By hand, in place.
    let path = state.path().join("licenses.toml");
    let good = fs::read_to_string(&path).expect("a file");
    fs::write(&path, good.replace("ports", "prots")).expect("mine");
    let error = file.changed().expect("a change").expect_err("damaged");
    assert!(
        error.contains("licenses.toml, line 9: ")
            && error.contains(
                "did you mean \
        `ports`?"
            ),
        "{error}"
    );
    assert_eq!(file.changed(), None, "an error is said once");
    fs::write(&path, good).expect("mine");
    assert_eq!(file.changed().expect("a change").expect("good").len(), 1);

    fs::remove_file(&path).expect("mine");
    assert!(file.changed().expect("a change").expect_err("gone").contains("is gone"));
    assert_eq!(file.changed(), None);
    fs::write(&path, "").expect("mine");
    assert_eq!(file.changed(), Some(Ok(Directory::default())));
}

#[test]
fn licenses_are_swapped_whole_or_not_at_all() {
    let scratch = Scratch::new();
    let state = scratch.state();
    let path = state.licenses();
    let read = || fs::read_to_string(&path).ok();
    let swap = |text: &str, before: Result<(), String>, after: Result<(), String>| {
        let seen = || {
            assert_eq!(
                (read().as_deref(), mode(&path)),
                (Some(text), 0o600),
                "it is there when it is asked for"
            );
            after
        };
        state.swap_licenses(text, || before, seen)
    };
    let no = |why: &str| Err(why.to_owned());
    // Where there was none, there is none again.
    assert_eq!((swap("# one\n", no("early"), Ok(())), read()), (no("early"), None));
    assert_eq!((swap("# one\n", Ok(()), no("late")), read()), (no("late"), None));
    let mine = "# mine\n\n";
    fs::write(&path, mine).expect("mine");
    assert_eq!((swap("# one\n", no("early"), Ok(())), read().as_deref()), (no("early"), Some(mine)));
    assert_eq!((swap("# one\n", Ok(()), no("late")), read().as_deref()), (no("late"), Some(mine)));
    assert_eq!((swap("# one\n", Ok(()), Ok(())), read().as_deref()), (Ok(()), Some("# one\n")));
}

#[test]
fn the_first_start_makes_a_default() {
    let scratch = Scratch::new();
    let state = scratch.state();
    assert_eq!(state.add_default(&license(1)), Ok(true));
    assert_eq!(state.add_default(&license(2)), Ok(false));
    let directory = state.load_licenses().expect("good");
    assert_eq!(directory.by_name("default").map(|entry| entry.id), Some(license(1).id()));
    state.edit_licenses(|directory| directory.remove("default").map(drop)).expect("written");
    assert_eq!(state.add_default(&license(3)), Ok(false), "no license is a decision");
}

#[test]
fn the_identity_is_made_once() {
    let scratch = Scratch::new();
    let state = scratch.state();
    let first = state.identity(None).expect("made");
    assert_eq!(first.chain.len(), 1);
    assert!(matches!(first.key, PrivateKeyDer::Pkcs8(_)));
    assert!(!format!("{first:?}").contains(&format!("{:?}", &first.key.secret_der()[16..20])));
    let (key, cert) = (state.path().join("server.key"), state.path().join("server.crt"));
    assert_eq!((mode(&key), mode(&cert)), (0o600, 0o600));
    let again = state.identity(None).expect("read");
    assert_eq!((first.chain, first.key), (again.chain.clone(), again.key.clone_key()));

    // A start that ended between the two files.
    fs::remove_file(&cert).expect("mine");
    let mended = state.identity(None).expect("mended");
    assert_eq!((mended.key, mended.chain), (again.key, again.chain));

    fs::remove_file(&key).expect("mine");
    let error = state.identity(None).expect_err("no key");
    assert!(error.ends_with("restore the key, or remove the certificate for a new pair"), "{error}");
}

#[test]
fn a_pair_of_ones_own_is_taken() {
    let scratch = Scratch::new();
    let state = scratch.state();
    let ours = StateDir::open(Some(&scratch.0.join("other"))).expect("a state directory");
    let made = ours.identity(None).expect("made");
    state.identity(None).expect("made");
    let (cert, key) = (ours.path().join("server.crt"), ours.path().join("server.key"));
    assert_eq!(state.identity(Some((&cert, &key))).expect("read").chain, made.chain);

    let other = state.path().join("server.key");
    let error = state.identity(Some((&cert, &other))).expect_err("two servers'");
    assert!(error.ends_with("name two files that belong together"), "{error}");
    for (cert, key, shown) in [
        (&key, &key, "has no certificate in PEM in it"),
        (&cert, &cert, "is not a private key in PEM"),
        (&scratch.0.join("none"), &key, "cannot read"),
    ] {
        let error = state.identity(Some((cert, key))).expect_err("wrong files");
        assert!(error.contains(shown) && !error.contains("PRIVATE KEY"), "{error}");
    }
    fs::write(&key, fs::read_to_string(&key).expect("a file").replace('M', "*")).expect("mine");
    assert!(state.identity(Some((&cert, &key))).is_err());
}
