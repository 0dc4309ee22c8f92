//! Clients that run on this machine, each of which says how it is at a Unix socket of its own. Sockets stand in a
//! folder that is gone with the machine's run: nothing is written to a disk.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::os::{self, UnixStream, disk};

/// A client that does not answer for so long hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Where this user's clients have their sockets: as a service, `$RUNTIME_DIRECTORY` (systemd.exec(5)).
fn folder() -> Option<PathBuf> {
    if !os::HAS_UNIX_SOCKETS {
        return None;
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let nt = |base: PathBuf| base.join("nt");
    let of_user = || match disk::is_root() {
        // There is no /run where macOS runs, nor in every OpenWrt.
        true => ["/run", "/var/run"].map(PathBuf::from).into_iter().find(|base| base.is_dir()).map(nt),
        false => absolute("XDG_RUNTIME_DIR").map(nt),
    };
    absolute("RUNTIME_DIRECTORY").or_else(of_user)
}

/// Where this process says how it is; `None` where there is no such place. Sockets of those that were killed go.
pub fn socket() -> Option<PathBuf> {
    let folder = folder()?;
    disk::make_folder(&folder, 0o700).ok()?;
    if disk::is_root() {
        // Services that are other users have their folders in this one. The sockets are their owners' alone.
        disk::set_mode(&folder, 0o755).ok()?;
    }
    for socket in sockets(&folder) {
        if UnixStream::connect(&socket)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
        {
            let _ = fs::remove_file(socket);
        }
    }
    Some(folder.join(format!("client-{}.sock", std::process::id())))
}

/// What each client says of itself: of this user, and, for root, of services too.
pub fn all() -> Vec<Value> {
    let Some(folder) = folder() else { return Vec::new() };
    let below = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = below.filter(|path| path.is_dir()).chain([folder]);
    folders.flat_map(|folder| sockets(&folder)).filter_map(|socket| ask(&socket)).collect()
}

fn sockets(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("client-") && name.ends_with(".sock")
    };
    let mut sockets: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_ours).collect();
    sockets.sort();
    sockets
}

fn ask(socket: &Path) -> Option<Value> {
    let stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).ok()?;
    serde_json::from_slice(&answer).ok()
}
