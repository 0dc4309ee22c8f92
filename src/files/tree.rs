//! What stands below the folder, found name by name.
//!
//! Each name is opened below the folder before it, and no link is followed: so whoever moves folders and links
//! about meanwhile cannot lead a visitor out. A name is looked at before it is opened, as it can have effects to
//! open a device or a pipe; and what was opened is looked at again, as it may have been changed between.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, open, openat, statat};
use rustix::io::Errno;

use super::path::{Path, encode};
use super::{Refusal, page, types};
use crate::http::Status;

/// What a folder's own address shows, where it is there.
const INDEX: &[u8] = b"index.html";

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Nothing that a name stands for makes an open wait, or becomes the terminal of this program.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// A folder that is served. It is the folder itself and not its name: who puts another one in its place opens it anew.
#[derive(Debug)]
pub struct Folder {
    root: OwnedFd,
}

/// What a request is for.
pub(super) enum Found {
    File(Document),
    /// A folder's list, as a page.
    Page(String),
}

/// A file to be sent.
pub(super) struct Document {
    pub(super) file: File,
    /// Its type (RFC 9110 section 8.3).
    pub(super) kind: &'static str,
    /// Bytes, when it was opened.
    pub(super) size: u64,
    /// Seconds since 1970.
    pub(super) modified: u64,
    /// Its entity tag, in quotes (RFC 9110 section 8.8.3).
    pub(super) tag: String,
}

impl Folder {
    /// Opens it. The path may lead through symbolic links, as the operator wrote it; what stands below may not.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn open(path: &str) -> io::Result<Self> {
        Ok(Self { root: open(path, FOLDER, Mode::empty())? })
    }

    /// What stands at a path, opened.
    pub(super) fn find(&self, path: &Path) -> Result<Found, Refusal> {
        let refusal = |errno| (status(errno), String::new());
        let mut above: Option<OwnedFd> = None;
        let mut names = path.names().peekable();
        while let Some(name) = names.next() {
            let folder = above.as_ref().unwrap_or(&self.root);
            let named_as_file = names.peek().is_none() && !path.is_folder();
            match (kind(folder, name).map_err(refusal)?, named_as_file) {
                (FileType::RegularFile, true) => {
                    return Document::open(folder, name).map(Found::File).map_err(refusal);
                }
                (FileType::Directory, false) => {
                    above = Some(openat(folder, name, FOLDER | FILE, Mode::empty()).map_err(refusal)?);
                }
                (FileType::Directory, true) => return Err((Status::MovedToFolder, with_slash(path))),
                _ => return Err(refusal(Errno::NOENT)),
            }
        }
        show(above.as_ref().unwrap_or(&self.root), path).map_err(refusal)
    }
}

/// A folder's page: its own, or a list. Where its own is a link, or may not be read, there is no list in its stead.
fn show(folder: &OwnedFd, path: &Path) -> Result<Found, Errno> {
    match kind(folder, INDEX) {
        Ok(FileType::RegularFile) => Document::open(folder, INDEX).map(Found::File),
        Ok(FileType::Directory) | Err(Errno::NOENT) => page::list(folder, path).map(Found::Page),
        Ok(_) => Err(Errno::NOENT),
        Err(errno) => Err(errno),
    }
}

/// What a name stands for; a link stands for itself.
fn kind(folder: &OwnedFd, name: &[u8]) -> Result<FileType, Errno> {
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| FileType::from_raw_mode(stat.st_mode))
}

impl Document {
    fn open(folder: &OwnedFd, name: &[u8]) -> Result<Self, Errno> {
        let file = File::from(openat(folder, name, FILE, Mode::empty())?);
        let seen = file.metadata().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        if !seen.is_file() {
            return Err(Errno::NOENT);
        }
        // Hashed, as what it is made of is nobody's business. The time of the last change of any kind is
        // in it for those who put a file's date back.
        let mut hasher = DefaultHasher::new();
        (seen.ino(), seen.size(), seen.mtime(), seen.mtime_nsec(), seen.ctime(), seen.ctime_nsec())
            .hash(&mut hasher);
        Ok(Self {
            kind: types::of(name),
            size: seen.size(),
            modified: u64::try_from(seen.mtime()).unwrap_or(0),
            tag: format!("\"{:016x}\"", hasher.finish()),
            file,
        })
    }
}

/// The address of a folder that was asked for without its slash. It begins with one slash and not with two, as
/// no name in a path is empty: it never leads to another host (RFC 3986 section 4.2).
fn with_slash(path: &Path) -> String {
    let mut address = String::new();
    encode(path.bytes(), &mut address);
    address.push('/');
    address
}

/// What is answered where a name cannot be opened.
fn status(errno: Errno) -> Status {
    match errno {
        Errno::NOENT | Errno::NOTDIR => Status::NotFound,
        // A link shows as LOOP, and as MLINK on FreeBSD; a socket as NXIO.
        Errno::LOOP | Errno::MLINK | Errno::NXIO => Status::NotFound,
        // No file of this system has such a name.
        Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ => Status::NotFound,
        Errno::ACCESS | Errno::PERM => Status::Forbidden,
        // Out of files or memory, or a disk that fails.
        _ => Status::Unavailable,
    }
}
