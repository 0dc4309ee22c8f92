//! In the place of the module `files`: folders are not served on Windows. A visitor must not be led out of one, and
//! what keeps it inside elsewhere, names that are opened below an open folder through no link, std has not here; and
//! names mean more here than they say (devices, streams, short names). So it is refused, and not tried by halves.

use std::io::{self, ErrorKind, Read, Write};

use crate::mapping::Auth;

/// A folder that is served: there is none.
#[derive(Debug)]
pub struct Folder(());

impl Folder {
    /// Says so.
    ///
    /// # Errors
    /// Always.
    pub fn open(_: &str) -> io::Result<Self> {
        Err(io::Error::new(
            ErrorKind::Unsupported,
            "nt does not serve folders on Windows; have a web server do it, and publish its port",
        ))
    }
}

/// Serves nobody.
pub fn serve<S: Read + Write>(_: &mut S, _: &Folder, _: Option<&Auth>, _: &dyn Fn() -> u64) {}
