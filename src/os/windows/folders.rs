//! Folders are not served on Windows. A visitor must not be led out of one, and what keeps it inside elsewhere, names
//! that are opened below an open folder through no link, std has not here; and names mean more here than they say
//! (devices, streams, short names). So it is refused, and not tried by halves.

use super::super::stream::Stream;
use crate::mapping::Auth;
use crate::reason::Reason;

/// See the module's text.
#[derive(Default)]
pub(in crate::os) struct Folders;

impl Folders {
    /// Nobody serves this folder.
    pub(in crate::os) fn dial(&self, _path: &str, _: Option<&Auth>) -> Result<Stream, Reason> {
        Err(Reason::Refused)
    }
}

/// Why a folder cannot be served: none is.
pub fn folder_trouble(_path: &str) -> Option<String> {
    Some("nt does not serve folders on Windows; have a web server do it, and publish its port".to_owned())
}
