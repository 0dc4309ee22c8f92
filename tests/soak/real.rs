//! Real servers: one does what its visitor orders, one speaks first, one never speaks, one echoes datagrams, and each
//! name has one.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use rustls::ServerConfig;

use super::data::Pattern;
use super::datagrams;
use super::harness::Backend;
use super::ledger::{End, Ledger};
use super::names::{Door, NAMES};
use super::{names, requests};

/// What a real server is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Send back what comes.
    Echo,
    /// Hear the visitor to its end, then speak.
    Answer,
    /// Speak to the end, then hear.
    Tell,
    /// Speak and hear at once.
    Talk,
    /// Hear so much, then reset the connection.
    Reset,
}

const ACTS: [Act; 5] = [Act::Echo, Act::Answer, Act::Tell, Act::Talk, Act::Reset];

/// The first bytes of a visit.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub visit: u64,
    pub act: Act,
    /// Bytes from the visitor that follow.
    pub up: u64,
    /// Bytes that it wants.
    pub down: u64,
}

const ORDER_BYTES: usize = 32;

impl Order {
    pub fn send(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let words = [self.visit, self.act as u64, self.up, self.down];
        stream.write_all(&words.map(u64::to_le_bytes).concat())
    }

    pub fn hear(mut stream: &TcpStream) -> std::io::Result<Self> {
        let mut bytes = [0; ORDER_BYTES];
        stream.read_exact(&mut bytes)?;
        let word = |n: usize| u64::from_le_bytes(std::array::from_fn(|at| bytes[8 * n + at]));
        let act = usize::try_from(word(1)).ok().and_then(|n| ACTS.get(n).copied());
        let act = act.ok_or_else(|| std::io::Error::other("these are not the bytes of an order"))?;
        Ok(Self { visit: word(0), act, up: word(2), down: word(3) })
    }

    /// What the visitor says.
    pub fn words_up(&self) -> Pattern {
        Pattern::new(self.visit)
    }

    /// What the real server says.
    pub fn words_down(&self) -> Pattern {
        Pattern::new(!self.visit)
    }
}

/// From now on to close is to reset.
pub fn reset(stream: TcpStream) {
    let _ = set_socket_linger(&stream, Some(Duration::ZERO));
}

/// Whether an error can be taken for nothing but a cut.
pub fn is_cut(error: &std::io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionRefused | ConnectionReset | NotConnected
    )
}

/// How a stream of which so many bytes were wanted has ended, or what is wrong with that.
pub fn end_of(wanted: u64, (came, end): (u64, Result<(), ErrorKind>)) -> Result<End, String> {
    match end {
        Ok(()) if came == wanted => Ok(End::Whole),
        Ok(()) => Err(format!("an end after {came} of {wanted} bytes, which nobody sent")),
        Err(kind) if is_cut(&kind.into()) => Ok(End::Cut),
        Err(kind) => Err(format!("after {came} of {wanted} bytes: {kind}")),
    }
}

pub struct RealServers {
    pub obedient: Backend,
    pub first: Backend,
    pub mute: Backend,
    /// One for each of [`NAMES`].
    pub named: Vec<Backend>,
    /// The port of the one that echoes datagrams.
    pub datagrams: u16,
    /// A port that nobody listens on.
    pub nobody: u16,
    /// It is bound there, so that no other program comes to listen.
    _bound: OwnedFd,
    open: Arc<AtomicUsize>,
}

/// One connection more, for as long as this lives.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn one(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl RealServers {
    pub fn start(ledger: &Arc<Ledger>, tls: &Arc<ServerConfig>) -> Self {
        let open = Arc::new(AtomicUsize::new(0));
        let named = |number: usize| {
            let tls = (NAMES[number].door == Door::PassedOn).then(|| Arc::clone(tls));
            counted(ledger, &open, move |ledger, stream| {
                requests::serve(ledger, number, names::accept(tls.as_ref(), stream));
            })
        };
        let named = (0..NAMES.len()).map(named).collect();
        // Not for the processes that are started: what they have open is counted.
        let bound =
            net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        net::bind(&bound, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let nobody = SocketAddr::try_from(net::getsockname(&bound).unwrap()).unwrap().port();
        Self {
            obedient: counted(ledger, &open, obey),
            first: counted(ledger, &open, speak_first),
            mute: counted(ledger, &open, keep_silent),
            named,
            datagrams: datagrams::echo(ledger),
            nobody,
            _bound: bound,
            open,
        }
    }

    /// Connections that have not ended.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// A real server whose connections are counted.
fn counted(
    ledger: &Arc<Ledger>,
    open: &Arc<AtomicUsize>,
    serve: impl Fn(&Ledger, TcpStream) + Send + Sync + 'static,
) -> Backend {
    let (ledger, open) = (Arc::clone(ledger), Arc::clone(open));
    Backend::new(move |stream| {
        let _open = Open::one(&open);
        serve(&ledger, stream);
    })
}

fn obey(ledger: &Ledger, stream: TcpStream) {
    match Order::hear(&stream) {
        Ok(order) => ledger.judge(order.visit, carry_out(&order, stream)),
        Err(error) if is_cut(&error) => {}
        // Every visitor gives an order, in one piece.
        Err(error) => ledger.fail(format!("at the real server, instead of an order: {error}")),
    }
}

fn carry_out(order: &Order, stream: TcpStream) -> Result<End, String> {
    let hear = || end_of(order.up, order.words_up().read(&stream));
    let speak = || match order.words_down().write(&stream, order.down) {
        Ok(()) => stream.shutdown(Shutdown::Write).map_or(End::Cut, |()| End::Whole),
        Err(_) => End::Cut,
    };
    match order.act {
        Act::Echo => {
            let end = match std::io::copy(&mut &stream, &mut &stream) {
                Ok(count) => (count, Ok(())),
                Err(error) => (0, Err(error.kind())),
            };
            let end = end_of(order.up, end)?;
            let _ = stream.shutdown(Shutdown::Write);
            Ok(end)
        }
        Act::Answer => match hear()? {
            End::Whole => Ok(speak()),
            End::Cut => Ok(End::Cut),
        },
        Act::Tell => match speak() {
            End::Whole => hear(),
            End::Cut => Ok(End::Cut),
        },
        Act::Talk => thread::scope(|scope| {
            let speaking = scope.spawn(speak);
            let heard = hear();
            // A reset is told once: where the speaker was told, the listener takes it for an end.
            match speaking.join().unwrap_or_else(|panic| resume_unwind(panic)) {
                End::Whole => heard,
                End::Cut => Ok(End::Cut),
            }
        }),
        Act::Reset => {
            let end = end_of(order.up, order.words_up().read_some(&stream, order.up));
            reset(stream);
            end
        }
    }
}

/// Says what it will say, says it, and hears its visitor to the end.
fn speak_first(ledger: &Ledger, stream: TcpStream) {
    let visit = ledger.number();
    let order = Order { visit, act: Act::Tell, up: 0, down: 1 + visit % 100_000 };
    if order.send(&stream).is_ok() {
        ledger.judge(visit, carry_out(&order, stream));
    }
}

fn keep_silent(_: &Ledger, stream: TcpStream) {
    let _ = std::io::copy(&mut &stream, &mut std::io::sink());
}
