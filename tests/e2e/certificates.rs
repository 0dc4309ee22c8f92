//! Certificates for names, as an operator would have them.

use std::path::PathBuf;
use std::process::Command;

use super::scratch::Folder;

/// A certificate for these names, and its key, as `NAME.crt` and `NAME.key` in this folder.
pub fn certificate(folder: &Folder, name: &str, hosts: &[&str]) -> PathBuf {
    let alternatives: Vec<String> = hosts.iter().map(|host| format!("DNS:{host}")).collect();
    let (certificate, key) = (folder.join(&format!("{name}.crt")), folder.join(&format!("{name}.key")));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    openssl.args(["-days", "9", "-subj", &format!("/CN={name}"), "-addext", "basicConstraints=CA:FALSE"]);
    openssl.arg("-addext").arg(format!("subjectAltName={}", alternatives.join(",")));
    let made = openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate).output().unwrap();
    assert!(made.status.success(), "{openssl:?}: {}", String::from_utf8_lossy(&made.stderr));
    certificate
}
