//! Names: `getaddrinfo` blocks, so each question has a thread of its own, for as long as it takes. The only
//! threads.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::poll::Bell;
use crate::role::Query;

type Answer = (usize, Query, Vec<SocketAddr>);

pub(super) struct Resolver {
    answers: Receiver<Answer>,
    answer: Sender<Answer>,
    /// Threads that have not answered yet; a resolver that hangs must not gather more of them for ever.
    asking: usize,
}

/// Questions at once; more are answered with "no address" and asked again by whoever retries.
const ASKING_MAX: usize = 16;
/// Stack of such a thread.
const STACK_BYTES: usize = 256 * 1024;

impl Default for Resolver {
    fn default() -> Self {
        let (answer, answers) = channel();
        Self { answers, answer, asking: 0 }
    }
}

impl Resolver {
    pub(super) fn ask(&mut self, role: usize, query: Query, host: &str, port: u16, bell: Bell) {
        let (answer, ring, host) = (self.answer.clone(), bell.clone(), host.to_owned());
        self.asking += 1;
        let ask = move || {
            let mut addresses: Vec<SocketAddr> =
                (host.as_str(), port).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
            addresses.dedup();
            // It fails only when the program is ending.
            let _ = answer.send((role, query, addresses));
            ring.ring();
        };
        let asked = self.asking <= ASKING_MAX
            && thread::Builder::new().name("resolver".into()).stack_size(STACK_BYTES).spawn(ask).is_ok();
        if !asked {
            let _ = self.answer.send((role, query, Vec::new()));
            bell.ring();
        }
    }

    pub(super) fn answer(&mut self) -> Option<Answer> {
        let answer = self.answers.try_recv().ok()?;
        self.asking -= 1;
        Some(answer)
    }
}
