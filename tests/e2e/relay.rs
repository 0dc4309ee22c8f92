//! A relay between client and server that keeps what the client says, and does what a bad network or a bad person does.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::data::Random;
use super::harness::Backend;

/// Bytes of one connection that are kept.
const KEPT: usize = 64 * 1024;

/// Relays TCP connections; the first is the CmdChannel of the first login.
pub struct Relay {
    backend: Backend,
    shared: Arc<Shared>,
}

/// How a connection is ended at both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Close,
    Reset,
    /// Only what the client says ends; it can still be spoken to.
    HalfClose,
}

/// What a relay does to every connection from the first on.
#[derive(Default)]
pub struct Mischief {
    /// Bytes pass one by one.
    pub one_by_one: bool,
    /// So many connections are cut …
    pub cuts: usize,
    /// … somewhere in so many bytes of one of their directions.
    pub cut_within: u64,
    pub seed: u64,
}

#[derive(Default)]
struct Shared {
    mischief: Mischief,
    /// All bytes pass at once after all.
    gentle: AtomicBool,
    connections: Mutex<Vec<Connection>>,
    /// Connections up to this number end at the next word of the server, which is lost.
    trapped: AtomicUsize,
    /// Every second ProxyChannel is reset when the server has said this much on it; 0 for none.
    half_reset_after: AtomicUsize,
    /// The byte with this number, counted over all connections from the client, is changed; 0 for none.
    flip: AtomicU64,
    /// Bytes from the client so far.
    passed: AtomicU64,
    /// Connections that were cut.
    cut: AtomicUsize,
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    said: Vec<u8>,
}

impl Relay {
    pub fn to(target: u16) -> Self {
        Self::with(target, Mischief::default())
    }

    pub fn with(target: u16, mischief: Mischief) -> Self {
        let shared = Arc::new(Shared { mischief, ..Shared::default() });
        let inner = Arc::clone(&shared);
        let backend = Backend::new(move |client| {
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { return };
            client.set_read_timeout(None).unwrap();
            for stream in [&client, &server] {
                stream.set_nodelay(true).unwrap();
            }
            let number = inner.keep(&client, &server);
            let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let back = Arc::clone(&inner);
            let cuts = inner.cuts(number);
            thread::spawn(move || {
                let mut said = 0;
                pass(
                    &from,
                    &to,
                    || back.piece(),
                    |bytes| {
                        said += bytes.len();
                        back.passes_back(number, said, cuts[1])
                    },
                );
            });
            let mut said = 0;
            pass(
                &client,
                &server,
                || inner.piece(),
                |bytes| {
                    said += bytes.len();
                    inner.spoil(bytes);
                    inner.keep_said(number, bytes);
                    inner.cut_after(number, said, cuts[0])
                },
            );
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

    /// From now on bytes pass as they come.
    pub fn pass_whole(&self) {
        self.shared.gentle.store(true, Ordering::Relaxed);
    }

    /// How many of the first connections were cut.
    pub fn cut(&self) -> usize {
        self.shared.cut.load(Ordering::Relaxed)
    }

    /// Ends these connections.
    pub fn end(&self, numbers: impl std::ops::RangeBounds<usize>, end: End) {
        let all = self.shared.connections.lock().unwrap();
        all.iter().enumerate().filter(|(n, _)| numbers.contains(n)).for_each(|(_, one)| one.end(end));
    }

    /// Every ProxyChannel of now will be found dead by the first who uses it.
    pub fn trap_idle_channels(&self) {
        let last = self.shared.connections.lock().unwrap().len() - 1;
        self.shared.trapped.store(last, Ordering::Relaxed);
    }

    /// From now on every second ProxyChannel is reset when the server has said so much on it; with 0, none is.
    pub fn reset_half_after(&self, bytes: usize) {
        self.shared.half_reset_after.store(bytes, Ordering::Relaxed);
    }

    /// Changes one bit of the byte that the client sends after this many more.
    pub fn flip_up_after(&self, more: u64) {
        self.shared.flip.store(self.shared.passed.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    }
}

impl Connection {
    fn end(&self, end: End) {
        if end == End::HalfClose {
            let _ = self.server.shutdown(Shutdown::Write);
            return;
        }
        for stream in [&self.client, &self.server] {
            if end == End::Reset {
                let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
            }
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn keep(&self, client: &TcpStream, server: &TcpStream) -> usize {
        let (client, server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let mut all = self.connections.lock().unwrap();
        all.push(Connection { client, server, said: Vec::new() });
        all.len() - 1
    }

    fn keep_said(&self, number: usize, bytes: &[u8]) {
        let said = &mut self.connections.lock().unwrap()[number].said;
        let room = KEPT.saturating_sub(said.len()).min(bytes.len());
        said.extend_from_slice(&bytes[..room]);
    }

    /// Bytes that pass at once.
    fn piece(&self) -> usize {
        if self.mischief.one_by_one && !self.gentle.load(Ordering::Relaxed) { 1 } else { usize::MAX }
    }

    fn end(&self, number: usize, end: End) {
        self.connections.lock().unwrap()[number].end(end);
    }

    /// After how many bytes each way of a connection is cut: one of the two, if it is to be cut at all.
    fn cuts(&self, number: usize) -> [usize; 2] {
        let mut cuts = [usize::MAX; 2];
        if number < self.mischief.cuts {
            let mut dice = Random(self.mischief.seed << 8 | number as u64);
            cuts[dice.below(2) as usize] = dice.below(self.mischief.cut_within) as usize;
        }
        cuts
    }

    /// Cuts a connection that has said enough; whether it goes on.
    fn cut_after(&self, number: usize, said: usize, most: usize) -> bool {
        if said > most {
            self.cut.fetch_add(1, Ordering::Relaxed);
            self.end(number, if said.is_multiple_of(2) { End::Close } else { End::Reset });
        }
        said <= most
    }

    fn passes_back(&self, number: usize, said: usize, most: usize) -> bool {
        let half_reset_after = self.half_reset_after.load(Ordering::Relaxed);
        let trapped = (1..=self.trapped.load(Ordering::Relaxed)).contains(&number);
        let worn = number % 2 == 1 && half_reset_after > 0 && said > half_reset_after;
        if trapped || worn {
            self.end(number, End::Reset);
        }
        !trapped && !worn && self.cut_after(number, said, most)
    }

    fn spoil(&self, bytes: &mut [u8]) {
        let (flip, count) = (self.flip.load(Ordering::Relaxed), bytes.len() as u64);
        let before = self.passed.fetch_add(count, Ordering::Relaxed);
        if (before..before + count).contains(&flip) && flip > 0 {
            bytes[(flip - before) as usize] ^= 0x10;
        }
    }
}

/// Passes bytes on, up to the end, or until `see` does not want them to be passed; `piece` of them at once.
fn pass(
    mut from: &TcpStream,
    mut to: &TcpStream,
    piece: impl Fn() -> usize,
    mut see: impl FnMut(&mut [u8]) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !see(&mut buffer[..count]) {
            break;
        }
        let passed = buffer[..count].chunks(piece()).try_for_each(|piece| {
            // For the other end to take each alone, most of the time.
            thread::yield_now();
            to.write_all(piece)
        });
        if passed.is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
