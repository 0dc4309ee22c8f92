//! Files: whose they are, who may use them, and which is which.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};

/// Whether this user may do everything.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a file belongs to this user.
pub fn is_mine(about: &Metadata) -> bool {
    about.uid() == rustix::process::geteuid().as_raw()
}

/// Who may use a file (chmod(2)); `None` where the system says it otherwise.
pub fn mode(about: &Metadata) -> Option<u32> {
    Some(about.mode() & 0o7777)
}

/// Makes a folder and those above it, with this mode, where they are not there.
///
/// # Errors
/// The system's.
pub fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Makes a file that must not be there, to be written, with this mode from the start.
///
/// # Errors
/// The system's.
pub fn make_file(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().create_new(true).write(true).mode(mode).open(path)
}

/// Opens a file to be written at its end, and makes it with this mode if it is not there.
///
/// # Errors
/// The system's.
pub fn append_to(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(mode).open(path)
}

/// Changes who may use a file or folder.
///
/// # Errors
/// The system's.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Changes who may use an open file.
///
/// # Errors
/// The system's.
pub fn set_mode_of(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// Opens what stands at a path itself, to be written: no link is followed.
///
/// # Errors
/// The system's.
pub fn open_itself(path: &Path) -> io::Result<File> {
    let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).map_err(io::Error::other)?;
    OpenOptions::new().write(true).custom_flags(nofollow).open(path)
}

/// Locks a file for whoever has it open, until it is closed.
///
/// # Errors
/// `WouldBlock` where somebody else has it locked, and the system's.
pub fn try_lock(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}

/// A file that root makes in another user's folder is that user's.
///
/// # Errors
/// The system's.
pub fn give_to_owner_of(folder: &Path, file: &File) -> io::Result<()> {
    if !is_root() {
        return Ok(());
    }
    let owner = fs::metadata(folder)?;
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

/// Has the names in a folder outlive a machine that loses its power.
///
/// # Errors
/// The system's.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some file systems cannot sync a directory; the rename is then as safe as it gets.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

/// Bytes that this user can still write to the disk of a folder.
///
/// # Errors
/// The system's.
pub fn bytes_free(path: &Path) -> io::Result<u64> {
    let about = rustix::fs::statvfs(path)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

/// What tells one version of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: (u64, u64),
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// Of the file that this is about.
    pub fn of(about: &Metadata) -> Self {
        Self {
            inode: (about.dev(), about.ino()),
            length: about.len(),
            modified: (about.mtime(), about.mtime_nsec()),
        }
    }
}
