//! Ports and folders that nobody else uses.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

/// A port that nobody uses: below those that the kernel gives out by itself.
pub fn port() -> u16 {
    ports(1)
}

/// So many of them in a row; the first.
pub fn ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let start = (std::process::id() % 180) as u16 * 100;
        let first = 12_000 + start.wrapping_add(NEXT.fetch_add(count, Ordering::Relaxed)) % 20_000;
        let free = |ip: &str, port: u16| TcpListener::bind((ip, port)).is_ok();
        if (first..first + count).all(|port| free("0.0.0.0", port) && free("::", port)) {
            return first;
        }
    }
}

/// A folder that goes with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("nt-e2e-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file, and returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
