//! Files. Who may use one is said by lists that it has from its folder: what is in a user's profile is its own. So
//! modes are neither set nor known.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::ERROR_LOCK_VIOLATION;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_OPEN_REPARSE_POINT, GetDiskFreeSpaceExW, LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY,
    LockFileEx,
};
use windows_sys::Win32::System::IO::OVERLAPPED;

/// Nobody is root: the places that are root's elsewhere are not here.
pub fn is_root() -> bool {
    false
}

/// Whether a file belongs to this user, which is not looked at: nobody asks but of a Unix socket.
pub fn is_mine(_: &Metadata) -> bool {
    false
}

/// Who may use a file: said otherwise.
pub fn mode(_: &Metadata) -> Option<u32> {
    None
}

/// Makes a folder and those above it, where they are not there.
///
/// # Errors
/// The system's.
pub fn make_folder(path: &Path, _mode: u32) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Makes a file that must not be there, to be written.
///
/// # Errors
/// The system's.
pub fn make_file(path: &Path, _mode: u32) -> io::Result<File> {
    OpenOptions::new().create_new(true).write(true).open(path)
}

/// Opens a file to be written at its end, and makes it if it is not there.
///
/// # Errors
/// The system's.
pub fn append_to(path: &Path, _mode: u32) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Changes nothing.
///
/// # Errors
/// None.
pub fn set_mode(_: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// Changes nothing.
///
/// # Errors
/// None.
pub fn set_mode_of(_: &File, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// Opens what stands at a path itself, to be written: no link is followed.
///
/// # Errors
/// The system's.
pub fn open_itself(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path)
}

/// Locks a file for whoever has it open, until it is closed.
///
/// # Errors
/// `WouldBlock` where somebody else has it locked, and the system's.
#[allow(unsafe_code)]
pub fn try_lock(file: &File) -> io::Result<()> {
    let how = LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY;
    let mut at = OVERLAPPED::default();
    // SAFETY: the handle is open, and `at` lives over the call, which ends at once: the file was not opened for
    // overlapped calls.
    let locked = unsafe { LockFileEx(file.as_raw_handle(), how, 0, u32::MAX, u32::MAX, &raw mut at) } != 0;
    if locked {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    let is_held =
        error.raw_os_error().and_then(|code| u32::try_from(code).ok()) == Some(ERROR_LOCK_VIOLATION);
    Err(if is_held { ErrorKind::WouldBlock.into() } else { error })
}

/// Changes nothing: a file has its owner's rights from the folder that it is made in.
///
/// # Errors
/// None.
pub fn give_to_owner_of(_: &Path, _: &File) -> io::Result<()> {
    Ok(())
}

/// Does nothing: a folder cannot be synced, and NTFS keeps a journal of names.
///
/// # Errors
/// None.
pub fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Bytes that this user can still write to the disk of a folder.
///
/// # Errors
/// The system's.
#[allow(unsafe_code)]
pub fn bytes_free(path: &Path) -> io::Result<u64> {
    let path: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    let mut free = 0;
    // SAFETY: the path ends with a zero, and one number is written where it is told.
    let said = unsafe { GetDiskFreeSpaceExW(path.as_ptr(), &raw mut free, null_mut(), null_mut()) } != 0;
    if said { Ok(free) } else { Err(io::Error::last_os_error()) }
}

/// What tells one version of a file from another without reading it. std does not say which file it is: two of one
/// length that were written in the same tenth of a microsecond are taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    made: u64,
    length: u64,
    modified: u64,
}

impl Stamp {
    /// Of the file that this is about.
    pub fn of(about: &Metadata) -> Self {
        Self { made: about.creation_time(), length: about.len(), modified: about.last_write_time() }
    }
}
