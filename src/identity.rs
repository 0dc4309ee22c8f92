//! The server's identity towards TLS: a key and a certificate.
//!
//! No client trusts the certificate by itself, unless told to (`--ca`): what proves the server is
//! the license. So nt makes one that says nothing and does not run out.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::InconsistentKeys;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use crate::entropy::Entropy;
use crate::state::{KEY_FILE, StateDir, explain};
use crate::text::base64;

const CERT_FILE: &str = "server.crt";

/// Longest PEM file that is read, in bytes.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// The certificates and the private key with which a server speaks TLS. They belong together.
#[derive(Debug)]
pub struct Identity {
    /// The server's certificate, and any between it and a root.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key. `Debug` leaves it out.
    pub key: PrivateKeyDer<'static>,
}

impl StateDir {
    /// The identity in the PEM files `cert` and key, else the server's own, which is made at the first
    /// start: Ed25519 (RFC 8410), self-signed, CN `nt`, `nt.invalid` (RFC 2606 section 2).
    ///
    /// # Errors
    /// A sentence that names the file, what is wrong with it and what to do.
    pub fn identity(&self, cert: Option<(&Path, &Path)>) -> Result<Identity, String> {
        let (cert, key) = self.identity_files(cert)?;
        read_identity(&cert, &key)
    }

    /// The files of that identity.
    ///
    /// # Errors
    /// A sentence, where they cannot be made.
    pub fn identity_files(&self, cert: Option<(&Path, &Path)>) -> Result<(PathBuf, PathBuf), String> {
        if let Some((cert, key)) = cert {
            return Ok((cert.to_path_buf(), key.to_path_buf()));
        }
        let (cert, key) = (self.path().join(CERT_FILE), self.path().join(KEY_FILE));
        let _lock = self.lock()?;
        match (exists(&cert)?, exists(&key)?) {
            (true, true) => (),
            (true, false) => {
                return Err(format!(
                    "{} is there, but not {}: restore the key, or remove the certificate for a new pair",
                    cert.display(),
                    key.display()
                ));
            }
            // The key comes first: a start that ended in between is taken up here.
            (false, true) => self.make_certificate(&key_pair_of(&key)?)?,
            (false, false) => {
                self.write(KEY_FILE, pem("PRIVATE KEY", &new_key()).as_bytes())?;
                self.make_certificate(&key_pair_of(&key)?)?;
            }
        }
        Ok((cert, key))
    }

    fn make_certificate(&self, pair: &KeyPair) -> Result<(), String> {
        self.write(CERT_FILE, pem("CERTIFICATE", &certificate(pair)?).as_bytes())
    }
}

impl Identity {
    /// A new one that is kept nowhere.
    ///
    /// # Errors
    /// A sentence, which nobody has seen yet.
    pub fn fresh() -> Result<Self, String> {
        let key = PrivatePkcs8KeyDer::from(new_key());
        let pair = KeyPair::try_from(&key).map_err(|error| format!("cannot make a key: {error}"))?;
        Ok(Self { chain: vec![certificate(&pair)?], key: key.into() })
    }
}

fn certificate(pair: &KeyPair) -> Result<CertificateDer<'static>, String> {
    let fault = |error: rcgen::Error| format!("cannot make the server's certificate: {error}");
    let mut params = CertificateParams::new(["nt.invalid".to_string()]).map_err(fault)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "nt");
    Ok(params.self_signed(pair).map_err(fault)?.into())
}

/// Reads a certificate, with any between it and a root, and its private key.
///
/// # Errors
/// A sentence that names the file, what is wrong with it and what to do.
pub fn read_identity(cert: &Path, key: &Path) -> Result<Identity, String> {
    let text = read(cert)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| wrong(cert, "certificates in PEM", &error))?;
    if chain.is_empty() {
        return Err(format!("{} has no certificate in PEM in it", cert.display()));
    }
    let key_der = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| wrong(key, "a private key in PEM", &error))?;
    let provider = rustls::crypto::ring::default_provider();
    match CertifiedKey::from_der(chain.clone(), key_der.clone_key(), &provider) {
        Ok(_) => Ok(Identity { chain, key: key_der }),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(format!(
            "the key in {} is not the one of the certificate in {}: name two files that belong together",
            key.display(),
            cert.display()
        )),
        Err(error) => Err(format!("{} and {} cannot be used: {error}", cert.display(), key.display())),
    }
}

/// A new Ed25519 key in the first version of PKCS #8 (RFC 8410 section 7, RFC 5958 section 2). ring and rcgen
/// write the second, which OpenSSL 3.0 cannot read.
fn new_key() -> Vec<u8> {
    const HEAD: [u8; 16] =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    let mut seed = [0; 32];
    Entropy::from_os().fill(&mut seed);
    [&HEAD[..], &seed].concat()
}

fn key_pair_of(path: &Path) -> Result<KeyPair, String> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(&read(path)?)
        .map_err(|error| wrong(path, "a private key in PEM", &error))?;
    KeyPair::try_from(&key).map_err(|error| wrong(path, "a key that can be used", &error))
}

fn wrong(path: &Path, what: &str, error: &dyn fmt::Display) -> String {
    format!("{} is not {what}: {error}", path.display())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let length = fs::metadata(path).map_err(|error| explain("read", path, &error))?.len();
    if length > PEM_BYTES_MAX {
        return Err(format!("{} is longer than {PEM_BYTES_MAX} bytes", path.display()));
    }
    fs::read(path).map_err(|error| explain("read", path, &error))
}

fn exists(path: &PathBuf) -> Result<bool, String> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(explain("look for", path, &error)),
    }
}

/// `der` in PEM (RFC 7468 section 2).
fn pem(label: &str, der: &[u8]) -> String {
    let body = base64(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|&b| char::from(b)));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
