//! What the commands do that need no tunnel: the licenses of a server, a look at a file, a service, the version.

#[cfg(feature = "config")]
mod check;
#[cfg(feature = "server")]
mod dry;
#[cfg(feature = "install")]
mod install;
#[cfg(feature = "server")]
mod licenses;
#[cfg(feature = "server")]
mod live;
#[cfg(feature = "admin")]
mod status;

use std::fs::File;
use std::io::Read;

use crate::entropy::Entropy;
use crate::features;
use crate::license::{LICENSE_BYTES, License};
use crate::server_ref::Source;
use crate::text::quote;

#[cfg(feature = "config")]
pub use check::check;
#[cfg(feature = "install")]
pub use install::{Machine, Run, install, uninstall};
#[cfg(feature = "server")]
pub use licenses::{license, map};
#[cfg(feature = "server")]
pub use live::{plan, reload};
#[cfg(feature = "admin")]
pub use status::status;

/// Longest file that [`read_source`] reads, in bytes.
pub const SOURCE_BYTES_MAX: u64 = 1 << 20;

/// What a command says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// For standard output: what a program may want. **A new license is in here.**
    pub stdout: String,
    /// For standard error: prose, without secrets.
    pub stderr: String,
}

/// What `nt version` says.
pub fn version() -> String {
    format!(
        "nt {}\n\
         target: {}\n\
         commit: {}\n\
         features: {}\n\
         TLS: 1.3, rustls with ring\n",
        env!("CARGO_PKG_VERSION"),
        env!("NT_TARGET"),
        env!("NT_COMMIT"),
        features::built().collect::<Vec<_>>().join(", "),
    )
}

/// The text of a file, or what comes on standard input, up to [`SOURCE_BYTES_MAX`]: what the closures of
/// [`crate::cli`] ask for.
///
/// # Errors
/// A sentence that names the place.
pub fn read_source(source: Source<'_>) -> Result<String, String> {
    let mut bytes = Vec::new();
    let (place, read) = match source {
        Source::Stdin => {
            let read = std::io::stdin().lock().take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes);
            ("standard input", read)
        }
        Source::File(path) => {
            let read =
                File::open(path).and_then(|file| file.take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes));
            (path, read)
        }
    };
    let length = read.map_err(|error| format!("cannot read {}: {error}", quote(place)))?;
    if length as u64 > SOURCE_BYTES_MAX {
        return Err(format!("{} is longer than {SOURCE_BYTES_MAX} bytes", quote(place)));
    }
    String::from_utf8(bytes).map_err(|_| format!("{} is not text", quote(place)))
}

/// A license that nobody can guess.
pub fn new_license() -> License {
    let mut bytes = [0; LICENSE_BYTES];
    Entropy::from_os().fill(&mut bytes);
    License::from_random(bytes)
}
