//! The state directory: where a server keeps its licenses and its identity.
//!
//! ```text
//! licenses.toml   what the server knows of its licenses, see `directory`
//! counters.toml   what has passed, see `ledger`
//! admin.sock      where a running server can be asked, see `api`
//! admin.token     what whoever asks by a port has to know, secret
//! licenses.lock   held while one of the files is changed
//! licenses.before what licenses.toml was, while others are on trial
//! server.key      the server's private key, Ed25519, PEM
//! server.crt      its certificate, signed by itself, PEM
//! ```
//!
//! A file is written under another name, synced, and renamed, so that a full disk or a lost
//! machine leaves the old one or the new one, whole. Whoever waits for the lock does so for at most 10 s;
//! a running server changes `counters.toml` alone, which nobody else does.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::calendar::Date;
use crate::directory::{Directory, Entry};
use crate::edit::{Edit, Edited, NotEdited};
use crate::entropy::Entropy;
use crate::ledger::Ledger;
use crate::license::License;
use crate::os::disk::{self, Stamp};
use crate::policy::HostSet;
use crate::text::hex;

const LICENSES: &str = "licenses.toml";
const BEFORE: &str = "licenses.before";
const COUNTERS: &str = "counters.toml";
const ADMIN_TOKEN: &str = "admin.token";
/// Shortest token that is believed to be secret.
const ADMIN_TOKEN_CHARS_MIN: usize = 24;
const LOCK: &str = "licenses.lock";
/// The private key of the server's identity.
pub(crate) const KEY_FILE: &str = "server.key";

/// Longest `licenses.toml` that is read, in bytes.
const LICENSES_BYTES_MAX: u64 = 16 << 20;

/// How often the lock is tried, and the pause between: 10 s in all.
const LOCK_TRIES: u32 = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A state directory that exists.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// The state directory: `arg` (`--state`), else the first of `$STATE_DIRECTORY`, else `/var/lib/nt` for
    /// root, else `nt` in `$XDG_STATE_HOME`, `%LOCALAPPDATA%` or `~/.local/state`. It is made, for its owner
    /// alone, if it is not there.
    ///
    /// # Errors
    /// A sentence when there is no such place, or it cannot be made.
    pub fn open(arg: Option<&Path>) -> Result<Self, String> {
        let path = Self::choose(arg, |name| std::env::var_os(name), disk::is_root())?;
        disk::make_folder(&path, 0o700)
            .map_err(|error| explain("make the state directory", &path, &error))?;
        Ok(Self { path })
    }

    /// The same, of a server that has been started; none is made.
    ///
    /// # Errors
    /// A sentence when there is none.
    pub fn existing(arg: Option<&Path>) -> Result<Self, String> {
        let path = Self::choose(arg, |name| std::env::var_os(name), disk::is_root())?;
        match path.join(LICENSES).exists() {
            true => Ok(Self { path }),
            false => Err(format!(
                "no server has its state in {}: start one with `nt -s`, or say another --state DIR",
                path.display()
            )),
        }
    }

    /// Which directory [`StateDir::open`] takes, for these variables and this user.
    ///
    /// # Errors
    /// A sentence when nothing says where.
    pub fn choose(
        arg: Option<&Path>,
        variable: impl Fn(&str) -> Option<OsString>,
        root: bool,
    ) -> Result<PathBuf, String> {
        if let Some(path) = arg {
            return Ok(path.to_path_buf());
        }
        // systemd gives a list with colons between when there is more than one.
        let listed = variable("STATE_DIRECTORY")
            .and_then(|list| std::env::split_paths(&list).next())
            .filter(|path| path.is_absolute());
        if let Some(path) = listed {
            return Ok(path);
        }
        if root {
            return Ok(PathBuf::from("/var/lib/nt"));
        }
        // A relative path is to be ignored (XDG Base Directory Specification 0.8, "Environment variables").
        let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        // No path of Windows is absolute elsewhere.
        absolute("XDG_STATE_HOME")
            .or_else(|| absolute("LOCALAPPDATA"))
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .map(|base| base.join("nt"))
            .ok_or_else(|| "there is no $HOME to keep state in: say where with --state DIR".to_string())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the server knows of its licenses; nothing when there is no file.
    ///
    /// # Errors
    /// A sentence that names the file, the line and what to do.
    pub fn load_licenses(&self) -> Result<Directory, String> {
        self.open_licenses().map(|(directory, _)| directory)
    }

    /// The licenses, and the means to see when they change.
    ///
    /// # Errors
    /// As [`StateDir::load_licenses`].
    pub fn open_licenses(&self) -> Result<(Directory, LicenseFile), String> {
        let path = self.path.join(LICENSES);
        match read_licenses(&path)? {
            Some((directory, stamp)) => Ok((directory, LicenseFile { path, seen: Seen::At(stamp) })),
            None => Ok((Directory::default(), LicenseFile { path, seen: Seen::Missing })),
        }
    }

    /// What has passed, as a server kept it; nothing when there is no file. What cannot be read is set aside, under the
    /// name that the sentence beside says: a server that counts anew is better than none.
    pub fn load_counters(&self) -> (Ledger, Option<String>) {
        let path = self.path.join(COUNTERS);
        let read = match fs::read_to_string(&path) {
            Ok(text) => Ledger::parse(&text).map_err(|error| error.to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound => return (Ledger::default(), None),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(ledger) => (ledger, None),
            Err(what) => {
                let (aside, shown) = (self.path.join(format!("{COUNTERS}.bad")), path.display());
                let moved = match fs::rename(&path, &aside) {
                    Ok(()) => format!("it is {} now", aside.display()),
                    Err(error) => format!("it will be replaced ({error})"),
                };
                (Ledger::default(), Some(format!("{shown}, {what}: traffic is counted anew; {moved}")))
            }
        }
    }

    /// Where the licenses are.
    pub fn licenses(&self) -> PathBuf {
        self.path.join(LICENSES)
    }

    /// Where a running server can be asked.
    pub fn admin_socket(&self) -> PathBuf {
        self.path.join("admin.sock")
    }

    /// What whoever asks by a port has to know; it is made where there is none.
    ///
    /// # Errors
    /// A sentence, where it cannot be read or made.
    pub fn admin_token(&self) -> Result<String, String> {
        let path = self.path.join(ADMIN_TOKEN);
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().len() >= ADMIN_TOKEN_CHARS_MIN => return Ok(text.trim().to_owned()),
            Ok(_) => {
                let shown = path.display();
                return Err(format!(
                    "{shown} is too short to be secret: write {ADMIN_TOKEN_CHARS_MIN} characters or more, or remove it"
                ));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(explain("read", &path, &error)),
        }
        let mut bytes = [0; 24];
        Entropy::from_os().fill(&mut bytes);
        let token = hex(&bytes);
        self.write(ADMIN_TOKEN, format!("{token}\n").as_bytes())?;
        Ok(token)
    }

    /// Keeps what has passed.
    ///
    /// # Errors
    /// Why it could not be written; then the old file is whole.
    pub fn keep_counters(&self, text: &str) -> Result<(), String> {
        self.write(COUNTERS, text.as_bytes())
    }

    /// Changes the licenses, while nobody else does. When `edit` fails, nothing is changed.
    ///
    /// # Errors
    /// What `edit` says, or why the file could not be read or written; then the old one is whole.
    pub fn edit_licenses<T>(
        &self,
        edit: impl FnOnce(&mut Directory) -> Result<T, String>,
    ) -> Result<T, String> {
        let _lock = self.lock()?;
        let before = self.load_licenses()?;
        let mut directory = before.clone();
        let result = edit(&mut directory)?;
        if directory != before {
            self.write(LICENSES, directory.to_toml().as_bytes())?;
        }
        Ok(result)
    }

    /// Changes the licenses as [`Edit::apply`] does, while nobody else does.
    ///
    /// # Errors
    /// What is wrong, or why the file could not be read or written; then the old one is whole.
    pub fn edit(&self, edit: &Edit, fresh: &License, today: Option<Date>) -> Result<Edited, NotEdited> {
        let _lock = self.lock()?;
        let before = self.load_licenses()?;
        let mut directory = before.clone();
        let edited = edit.apply(&mut directory, fresh, today)?;
        if directory != before {
            self.write(LICENSES, directory.to_toml().as_bytes())?;
        }
        Ok(edited)
    }

    /// Puts these licenses in the place of those in the file, while nobody else changes it: as they were written before
    /// a trial, if they were.
    ///
    /// # Errors
    /// Why it could not be written; then the old file is whole.
    pub fn put_licenses(&self, directory: &Directory) -> Result<(), String> {
        let _lock = self.lock()?;
        let before = fs::read_to_string(self.path.join(BEFORE)).ok();
        let before = before.filter(|text| Directory::parse(text).is_ok_and(|of_text| of_text == *directory));
        self.write(LICENSES, before.unwrap_or_else(|| directory.to_toml()).as_bytes())?;
        self.forget_before();
        Ok(())
    }

    /// What is in `licenses.toml` is there to stay.
    pub fn forget_before(&self) {
        // Where it cannot be removed, it is of no use and does no harm: it is looked into only to be put back.
        let _ = fs::remove_file(self.path.join(BEFORE));
    }

    /// Puts a text in the place of `licenses.toml`, while nobody else changes it: `before` is asked first, and `after`
    /// when it is there. When that fails, the old file is put back as it was.
    ///
    /// # Errors
    /// What they say, or why the file could not be written.
    pub fn swap_licenses<T>(
        &self,
        text: &str,
        before: impl FnOnce() -> Result<(), String>,
        after: impl FnOnce() -> Result<T, String>,
    ) -> Result<T, String> {
        let _lock = self.lock()?;
        let path = self.path.join(LICENSES);
        let old = match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(explain("read", &path, &error)),
        };
        before()?;
        if let Some(bytes) = &old {
            self.write(BEFORE, bytes)?;
        }
        self.write(LICENSES, text.as_bytes())?;
        after().map_err(|why| {
            let undone = match old {
                Some(bytes) => self.write(LICENSES, &bytes),
                None => fs::remove_file(&path).map_err(|error| explain("remove", &path, &error)),
            };
            self.forget_before();
            match undone {
                Ok(()) => why,
                Err(trouble) => format!("{why}; and the old file is not back: {trouble}"),
            }
        })
    }

    /// What a first start does: makes `license` the license `default`, unless there is a `licenses.toml`
    /// already. Says whether it did.
    ///
    /// # Errors
    /// Why the file could not be written.
    pub fn add_default(&self, license: &License) -> Result<bool, String> {
        let _lock = self.lock()?;
        let path = self.path.join(LICENSES);
        if path.try_exists().map_err(|error| explain("look for", &path, &error))? {
            return Ok(false);
        }
        let mut directory = Directory::default();
        // The license of whoever runs the server: any name may be published with it, as any port from 1024 may.
        directory.add(Entry { hosts: HostSet::all(), ..Entry::new("default", license)? })?;
        self.write(LICENSES, directory.to_toml().as_bytes())?;
        Ok(true)
    }

    /// What a person should mend about the files here: secrets that others can read or replace.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Ok(about) = fs::metadata(&self.path)
            && disk::mode(&about).is_some_and(|mode| mode & 0o022 != 0)
        {
            let path = self.path.display();
            warnings.push(format!("{path} can be written by others than its owner: chmod go-w {path}"));
        }
        let files = [LICENSES, KEY_FILE, ADMIN_TOKEN].map(|name| self.path.join(name));
        warnings.extend(files.iter().filter_map(|path| secrecy_warning(path)));
        warnings
    }

    /// Keeps others from changing the files here until the returned value is dropped.
    pub(crate) fn lock(&self) -> Result<File, String> {
        let path = self.path.join(LOCK);
        let file = self.open_lock(&path).map_err(|error| explain("open", &path, &error))?;
        for _ in 0..LOCK_TRIES {
            match disk::try_lock(&file) {
                Ok(()) => return Ok(file),
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(LOCK_PAUSE),
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => return Err(explain("lock", &path, &error)),
            }
        }
        Err(format!("another nt command has been holding {} for 10 s: see which one hangs", path.display()))
    }

    /// Opens the lock, or makes it. Whoever owns the directory could put a link there, and have root open
    /// or give away another file: so no link is followed, and only what was just made is given away.
    fn open_lock(&self, path: &Path) -> io::Result<File> {
        match disk::open_itself(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => (),
            opened => return opened,
        }
        match disk::make_file(path, 0o600) {
            Ok(file) => disk::give_to_owner_of(&self.path, &file).map(|()| file),
            // Another command was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => disk::open_itself(path),
            Err(error) => Err(error),
        }
    }

    /// Puts `bytes` in the place of the file `name`, whole or not at all.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let path = self.path.join(name);
        let new = self.path.join(format!("{name}.new"));
        let written = self
            .write_new(&new, bytes)
            .and_then(|()| fs::rename(&new, &path).map_err(|error| explain("replace", &path, &error)));
        if written.is_err() {
            // It may be the very file that could not be made, so that this may fail as well.
            let _ = fs::remove_file(&new);
            return written;
        }
        disk::sync_folder(&self.path).map_err(|error| explain("sync", &self.path, &error))
    }

    fn write_new(&self, new: &Path, bytes: &[u8]) -> Result<(), String> {
        match fs::remove_file(new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(explain("remove", new, &error)),
            _ => (),
        }
        let mut file = disk::make_file(new, 0o600).map_err(|error| explain("make", new, &error))?;
        // A file that root makes for a server of another user is that user's, or the server could not read it.
        disk::give_to_owner_of(&self.path, &file)
            .and_then(|()| file.write_all(bytes))
            .and_then(|()| file.sync_all())
            .map_err(|error| explain("write", new, &error))
    }
}

/// `licenses.toml` as it was last seen. To look again costs one system call when nothing changed.
#[derive(Debug)]
pub struct LicenseFile {
    path: PathBuf,
    seen: Seen,
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Missing,
    Hidden(ErrorKind),
    At(Stamp),
}

impl LicenseFile {
    /// What the file says now, if it changed since it was last seen; an error is reported once, and
    /// what was known before should stay in force. A file that is gone is an error: it would end every
    /// session, and is more likely a mistake.
    pub fn changed(&mut self) -> Option<Result<Directory, String>> {
        let seen = match fs::metadata(&self.path) {
            Ok(about) => Seen::At(Stamp::of(&about)),
            Err(error) if error.kind() == ErrorKind::NotFound => Seen::Missing,
            Err(error) => Seen::Hidden(error.kind()),
        };
        if seen == self.seen {
            return None;
        }
        self.seen = seen;
        match read_licenses(&self.path) {
            Ok(Some((directory, stamp))) => {
                // It may have been replaced once more between the look and the reading.
                self.seen = Seen::At(stamp);
                Some(Ok(directory))
            }
            Ok(None) => {
                let path = self.path.display();
                Some(Err(format!("{path} is gone: restore it, or write an empty one to have no licenses")))
            }
            Err(error) => {
                // A file that is wrong stays so until it changes; one that could not be read may be read
                // next time.
                if File::open(&self.path).is_err() {
                    self.seen = Seen::Hidden(ErrorKind::Other);
                }
                Some(Err(error))
            }
        }
    }
}

/// What a person should mend if others than its owner can read this secret file.
pub fn secrecy_warning(path: &Path) -> Option<String> {
    let mode = disk::mode(&fs::metadata(path).ok()?)? & 0o777;
    let shown = path.display();
    (mode & 0o077 != 0).then(|| {
        format!(
            "{shown} is secret, but others than its owner have access (mode {mode:o}): chmod \
            600 {shown}"
        )
    })
}

/// Some licenses in a file, wherever that is: its text, and what it says.
///
/// # Errors
/// A sentence that names the file, the line and what to do.
pub fn read_licenses_at(path: &Path) -> Result<(String, Directory), String> {
    let missing = || format!("there is no file {}", path.display());
    let (text, _) = read_text(path)?.ok_or_else(missing)?;
    let directory = parse_licenses(path, &text)?;
    Ok((text, directory))
}

/// The directory that `path` holds and the stamp of just what was read; `None` without such a file.
fn read_licenses(path: &Path) -> Result<Option<(Directory, Stamp)>, String> {
    let Some((text, stamp)) = read_text(path)? else { return Ok(None) };
    Ok(Some((parse_licenses(path, &text)?, stamp)))
}

fn parse_licenses(path: &Path, text: &str) -> Result<Directory, String> {
    Directory::parse(text).map_err(|error| format!("{}, {error}", path.display()))
}

fn read_text(path: &Path) -> Result<Option<(String, Stamp)>, String> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| explain("read", path, &error))?,
    };
    let about = file.metadata().map_err(|error| explain("read", path, &error))?;
    if about.len() > LICENSES_BYTES_MAX {
        return Err(format!("{} is longer than {LICENSES_BYTES_MAX} bytes", path.display()));
    }
    let mut bytes = Vec::new();
    (&mut file)
        .take(LICENSES_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| explain("read", path, &error))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| format!("{} is damaged: it is not text; restore it from a copy", path.display()))?;
    Ok(Some((text, Stamp::of(&about))))
}

/// What could not be done, and what a person can do about it.
pub(crate) fn explain(action: &str, path: &Path, error: &io::Error) -> String {
    let advice = match error.kind() {
        ErrorKind::PermissionDenied => {
            ": run nt as the owner of that place, or say another with \
            --state DIR"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ": make room; the old file is as it was",
        ErrorKind::ReadOnlyFilesystem => ": say another place with --state DIR",
        _ => "",
    };
    format!("cannot {action} {}: {error}{advice}", path.display())
}
