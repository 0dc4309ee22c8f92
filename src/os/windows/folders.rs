//! Folders that are served: none, as `files` says where one is opened.

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
