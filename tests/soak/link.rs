//! A link between a client and the server that can be cut, stall, refuse, and heal.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::harness::Backend;
use super::real::reset;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Passes,
    /// Takes bytes, and keeps them.
    Stalls,
    /// Takes no connection.
    Refuses,
}

pub struct Link {
    backend: Backend,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    mood: Mood,
    next: u64,
    /// Both ends of each connection.
    pairs: BTreeMap<u64, [TcpStream; 2]>,
}

impl Link {
    pub fn to(server: u16) -> Self {
        let state = State { mood: Mood::Passes, next: 0, pairs: BTreeMap::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let inner = Arc::clone(&shared);
        let backend = Backend::new(move |client| {
            let _ = client.set_read_timeout(None);
            // What fails here is a connection that has gone already.
            let _ = inner.carry(client, server);
        });
        Self { backend, shared }
    }

    pub fn port(&self) -> u16 {
        self.backend.port
    }

    pub fn set(&self, mood: Mood) {
        self.shared.state.lock().unwrap().mood = mood;
        self.shared.changed.notify_all();
    }

    /// Ends every connection: by RST, or by FIN.
    pub fn cut(&self, by_reset: bool) {
        for end in std::mem::take(&mut self.shared.state.lock().unwrap().pairs).into_values().flatten() {
            let _ = end.shutdown(Shutdown::Both);
            if by_reset {
                reset(end);
            }
        }
    }
}

impl Shared {
    fn carry(&self, client: TcpStream, server: u16) -> std::io::Result<()> {
        let far = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
        let ends = [client.try_clone()?, far.try_clone()?];
        let number = {
            let mut state = self.state.lock().unwrap();
            if state.mood == Mood::Refuses {
                return Ok(());
            }
            state.next += 1;
            let number = state.next;
            state.pairs.insert(number, ends);
            number
        };
        thread::scope(|scope| {
            scope.spawn(|| self.pass(&far, &client));
            self.pass(&client, &far);
        });
        self.state.lock().unwrap().pairs.remove(&number);
        Ok(())
    }

    /// Passes bytes on up to the end, which it passes on too.
    fn pass(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = from.read(&mut buffer).unwrap_or(0);
            let state = self.state.lock().unwrap();
            drop(self.changed.wait_while(state, |state| state.mood == Mood::Stalls).unwrap());
            if count == 0 || to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        // Tunnel connections do not end by halves.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
