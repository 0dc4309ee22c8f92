//! A relay between client and server that keeps what the client says, and does what a bad network or a bad person does.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::harness::Backend;

/// Bytes of one connection that are kept.
const KEPT: usize = 64 * 1024;

/// Relays TCP connections; the first is the CmdChannel of the first login.
pub struct Relay {
    backend: Backend,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    connections: Mutex<Vec<Connection>>,
    /// Connections up to this number end at the next word of the server, which is lost.
    trapped: AtomicUsize,
    /// The byte with this number, counted over all connections from the client, is changed; 0 for none.
    flip: AtomicU64,
    /// Bytes from the client so far.
    passed: AtomicU64,
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    said: Vec<u8>,
}

impl Relay {
    pub fn to(target: u16) -> Self {
        let shared = Arc::new(Shared::default());
        let inner = Arc::clone(&shared);
        let backend = Backend::new(move |client| {
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { return };
            client.set_read_timeout(None).unwrap();
            let number = {
                let mut all = inner.connections.lock().unwrap();
                let (client, server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                all.push(Connection { client, server, said: Vec::new() });
                all.len() - 1
            };
            let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let back = Arc::clone(&inner);
            thread::spawn(move || {
                pass(&from, &to, |_| {
                    let trapped = (1..=back.trapped.load(Ordering::Relaxed)).contains(&number);
                    if trapped {
                        back.connections.lock().unwrap()[number].end(true);
                    }
                    !trapped
                });
            });
            pass(&client, &server, |bytes| {
                inner.spoil(bytes);
                let said = &mut inner.connections.lock().unwrap()[number].said;
                let room = KEPT.saturating_sub(said.len()).min(bytes.len());
                said.extend_from_slice(&bytes[..room]);
                true
            });
        });
        Self { backend, shared }
    }

    pub fn port(&self) -> u16 {
        self.backend.port
    }

    /// What the client said on each connection.
    pub fn said(&self) -> Vec<Vec<u8>> {
        self.shared.connections.lock().unwrap().iter().map(|connection| connection.said.clone()).collect()
    }

    /// Ends these connections at both ends: by FIN, or by RST.
    pub fn end(&self, numbers: impl std::ops::RangeBounds<usize>, reset: bool) {
        let all = self.shared.connections.lock().unwrap();
        all.iter().enumerate().filter(|(n, _)| numbers.contains(n)).for_each(|(_, one)| one.end(reset));
    }

    /// Every ProxyChannel of now will be found dead by the first who uses it.
    pub fn trap_idle_channels(&self) {
        let last = self.shared.connections.lock().unwrap().len() - 1;
        self.shared.trapped.store(last, Ordering::Relaxed);
    }

    /// Changes one bit of the byte that the client sends after this many more.
    pub fn flip_up_after(&self, more: u64) {
        self.shared.flip.store(self.shared.passed.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }
}

impl Connection {
    fn end(&self, reset: bool) {
        for stream in [&self.client, &self.server] {
            if reset {
                let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
            }
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn spoil(&self, bytes: &mut [u8]) {
        let (flip, count) = (self.flip.load(Ordering::Relaxed), bytes.len() as u64);
        let before = self.passed.fetch_add(count, Ordering::Relaxed);
        if (before..before + count).contains(&flip) && flip > 0 {
            bytes[(flip - before) as usize] ^= 0x10;
        }
    }
}

/// Passes bytes on, up to the end, or until `see` does not want them to be passed.
fn pass(mut from: &TcpStream, mut to: &TcpStream, mut see: impl FnMut(&mut [u8]) -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !see(&mut buffer[..count]) || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
