//! News of licenses that are tried out.

use std::fmt;

use super::Level;
use crate::time::Span;

/// What has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It begins.
    Begins {
        /// So long it may last.
        span: Span,
    },
    /// What is tried out stays.
    Kept,
    /// What held before holds again.
    Over {
        /// So long it has lasted.
        span: Span,
    },
    /// What held before could not be written.
    NotWritten(String),
}

impl Trial {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Begins { .. } | Self::Kept => Level::Info,
            Self::Over { .. } | Self::NotWritten(_) => Level::Warn,
        }
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begins { span } => write!(
                f,
                "licenses are tried out: unless `nt reload` confirms them within {} s, those of before hold again",
                span.as_secs_up()
            ),
            Self::Kept => f.write_str("the licenses that were tried out are confirmed"),
            Self::Over { span } => {
                write!(f, "not confirmed within {} s: the licenses of before hold again", span.as_secs_up())
            }
            Self::NotWritten(why) => {
                write!(
                    f,
                    "{why}: the licenses of before hold, but are not in licenses.toml; it is tried again"
                )
            }
        }
    }
}
