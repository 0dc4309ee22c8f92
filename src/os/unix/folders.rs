//! Folders that are served: files block, so whoever visits one has a thread of its own, at the far end of a pair of
//! sockets. To the loop it is a real server like any other.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::super::stream::Stream;
use super::net;
use crate::files::{Folder, serve};
use crate::limits::{FOLDER_IDLE_TIMEOUT, FOLDER_VISITS_MAX, HTTP_IDLE_TIMEOUT};
use crate::mapping::Auth;
use crate::net::reason_of;
use crate::reason::Reason;

/// Stack of such a thread.
const STACK_BYTES: usize = 256 * 1024;

/// Visits of folders: as many as there are others who hold this.
#[derive(Default)]
pub(in crate::os) struct Folders(Arc<()>);

impl Folders {
    /// A connection to whoever serves this folder.
    pub(in crate::os) fn dial(&self, path: &str, auth: Option<&Auth>) -> Result<Stream, Reason> {
        if Arc::strong_count(&self.0) > FOLDER_VISITS_MAX {
            return Err(Reason::Busy);
        }
        let (ours, theirs) = net::pair().map_err(|errno| reason_of(&errno.into()))?;
        rustix::io::ioctl_fionbio(&ours, true).map_err(|errno| reason_of(&errno.into()))?;
        let mut visitor = UnixStream::from(theirs);
        let [idle, slow] = [FOLDER_IDLE_TIMEOUT, HTTP_IDLE_TIMEOUT]
            .map(|span| Some(Duration::from_micros(span.as_micros())));
        let set = visitor.set_read_timeout(idle).and_then(|()| visitor.set_write_timeout(slow));
        set.map_err(|error| reason_of(&error))?;
        let (visit, path, auth) = (self.0.clone(), path.to_owned(), auth.cloned());
        let attend = move || {
            // One that cannot be opened now may be there for the next visitor.
            if let Ok(folder) = Folder::open(&path) {
                serve(&mut visitor, &folder, auth.as_ref(), &now);
            }
            drop(visit);
        };
        let attended = thread::Builder::new().name("folder".into()).stack_size(STACK_BYTES).spawn(attend);
        attended.map(|_| Stream::from(ours)).map_err(|_| Reason::System)
    }
}

/// Why a folder cannot be served now, if so.
pub fn folder_trouble(path: &str) -> Option<String> {
    Folder::open(path).err().map(|error| error.to_string())
}

/// Seconds since 1970.
fn now() -> u64 {
    u64::try_from(clock_gettime(ClockId::Realtime).tv_sec).unwrap_or(0)
}
