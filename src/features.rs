//! What can be left out of a build, and what this one has.

/// Every feature that is a part of nt for its user, and whether it is built.
const ALL: [(&str, bool); 11] = [
    ("server", cfg!(feature = "server")),
    ("client", cfg!(feature = "client")),
    ("udp", cfg!(feature = "udp")),
    ("http", cfg!(feature = "http")),
    ("files", cfg!(feature = "files")),
    ("admin", cfg!(feature = "admin")),
    ("config", cfg!(feature = "config")),
    ("ca", cfg!(feature = "ca")),
    ("install", cfg!(feature = "install")),
    ("doctor", cfg!(feature = "doctor")),
    ("demo", cfg!(feature = "demo")),
];

/// The features of this build.
pub fn built() -> impl Iterator<Item = &'static str> {
    ALL.into_iter().filter(|(_, built)| *built).map(|(name, _)| name)
}

/// The features that this build has not.
pub fn left_out() -> impl Iterator<Item = &'static str> {
    ALL.into_iter().filter(|(_, built)| !*built).map(|(name, _)| name)
}

/// Whether a feature is built.
///
/// # Errors
/// A sentence: `what` is not in this build, and why.
pub fn need(feature: &str, what: &str) -> Result<(), String> {
    if built().any(|name| name == feature) { Ok(()) } else { Err(missing(feature, what)) }
}

/// That `what` is not in this build, and why.
pub fn missing(feature: &str, what: &str) -> String {
    format!("{what} is not in this nt, which was built without the feature `{feature}` (see `nt version`)")
}
