//! The certificates with which TLS ends here: PEM files, looked at again when they change.
//!
//! A certificate and its key are `NAME.crt` (or `NAME.pem`) and `NAME.key`, or `fullchain.pem` and `privkey.pem` in a
//! folder of their own, as ACME clients leave them. For which names one is stands in it. The server's own comes last:
//! it is what clients are shown, and visitors for names that stand in none; browsers warn of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::identity::{Identity, read_identity};
use crate::tls::Certificates;

/// Most certificates of one folder.
const CERTIFICATES_MAX: usize = 1_000;

/// Where certificates are.
#[derive(Debug)]
pub struct CertificateFiles {
    folder: Option<PathBuf>,
    own: (PathBuf, PathBuf),
    /// What was there when it was looked at last; nothing before the first time.
    seen: Option<Vec<Pair>>,
}

/// The files of a certificate and its key, and when each was changed last.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    certificate: (PathBuf, Option<SystemTime>),
    key: (PathBuf, Option<SystemTime>),
}

impl CertificateFiles {
    /// A folder, if there is one, and the server's own certificate and key.
    pub fn new(folder: Option<PathBuf>, own: (PathBuf, PathBuf)) -> Self {
        Self { folder, own, seen: None }
    }

    /// The certificates, if they have changed since the last time.
    ///
    /// # Errors
    /// A sentence that names the file, what is wrong with it and what to do.
    pub fn changed(&mut self) -> Option<Result<Certificates, String>> {
        let pairs = match self.pairs() {
            Ok(pairs) => pairs,
            Err(what) => return Some(Err(what)),
        };
        if self.seen.as_ref() == Some(&pairs) {
            return None;
        }
        let certificates = read(&pairs);
        // What is wrong is said once, and looked at again when it has changed.
        self.seen = Some(pairs);
        Some(certificates)
    }

    /// Whether they can be read, as they are now; they have been seen no more than before.
    ///
    /// # Errors
    /// As [`Self::changed`].
    pub fn check(&self) -> Result<(), String> {
        read(&self.pairs()?).map(drop)
    }

    /// What is there now, the server's own last.
    fn pairs(&self) -> Result<Vec<Pair>, String> {
        let mut pairs = self.folder.as_deref().map_or(Ok(Vec::new()), pairs)?;
        let (certificate, key) = self.own.clone();
        pairs.push(Pair { certificate: stamped(certificate), key: stamped(key) });
        Ok(pairs)
    }
}

fn read(pairs: &[Pair]) -> Result<Certificates, String> {
    let mut certificates = Certificates::default();
    for Pair { certificate: (certificate, _), key: (key, _) } in pairs {
        let Identity { chain, key: secret } = read_identity(certificate, key)?;
        certificates
            .add(chain, secret)
            .map_err(|error| format!("{} cannot be used: {error}", certificate.display()))?;
    }
    Ok(certificates)
}

/// A file, and when it was changed last.
fn stamped(path: PathBuf) -> (PathBuf, Option<SystemTime>) {
    let changed = fs::metadata(&path).and_then(|about| about.modified()).ok();
    (path, changed)
}

fn pairs(folder: &Path) -> Result<Vec<Pair>, String> {
    let fault = |error| format!("cannot read the folder of certificates {}: {error}", folder.display());
    let mut pairs = Vec::new();
    for entry in fs::read_dir(folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let (certificate, key) = match extension {
            Some("crt" | "pem") => (path.clone(), path.with_extension("key")),
            _ => (path.join("fullchain.pem"), path.join("privkey.pem")),
        };
        if certificate.is_file() && key.is_file() {
            pairs.push(Pair { certificate: stamped(certificate), key: stamped(key) });
        }
    }
    if pairs.len() > CERTIFICATES_MAX {
        return Err(format!("{} has more than {CERTIFICATES_MAX} certificates", folder.display()));
    }
    // In whatever order the system lists them.
    pairs.sort();
    Ok(pairs)
}
