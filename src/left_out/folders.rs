//! In the place of folders that are served: there are none.

use super::super::stream::Stream;
use crate::mapping::Auth;
use crate::reason::Reason;

#[derive(Default)]
pub(in crate::os) struct Folders;

impl Folders {
    pub(in crate::os) fn dial(&self, _path: &str, _: Option<&Auth>) -> Result<Stream, Reason> {
        Err(Reason::NotServed)
    }
}

/// Why a folder cannot be served now: it is not asked for.
pub fn folder_trouble(_path: &str) -> Option<String> {
    None
}
