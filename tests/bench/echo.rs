//! A service that sends back what comes, for any number of visitors; one visitor that times it, and a crowd that idles.
//!
//! The service is a process of its own, since its connections would otherwise count against the same limit on open
//! files as the visitors do: this program started again, with the word [`SERVE`] and an address.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, recv, send, socket_with,
};

use super::dice::Random;
use super::process::{Process, mortal};

/// The word that makes this program the service.
pub const SERVE: &str = "serve-echo";
/// The word that makes this program one visitor: `ping ADDRESS:PORT SECONDS`.
pub const PING: &str = "ping-echo";

/// A key press and its answer.
const MESSAGE_BYTES: usize = 64;
/// How long anything may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// Visitors that arrive at once, when a crowd does.
const ARRIVE_TOGETHER: usize = 64;
/// Visitors from one address: far fewer than the kernel has ports for.
const VISITORS_PER_ADDRESS: usize = 4_096;

pub struct Echo {
    pub port: u16,
    _process: Process,
}

impl Echo {
    /// Starts the service at this address; `inside` is what the command line begins with, such as `ip netns exec NAME`.
    ///
    /// # Errors
    /// A sentence, where it does not come up.
    pub fn start(inside: &[String], host: &str) -> Result<Self, String> {
        let process = Process::start(this_program(inside)?.args([SERVE, host]));
        let line = process.hears("port ", PATIENCE).ok_or("the echo service does not start")?;
        let port = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        Ok(Self { port: port.ok_or("the echo service tells no port")?, _process: process })
    }
}

/// This program, to be started again.
///
/// # Errors
/// A sentence, where the system does not say which it is.
pub fn this_program(inside: &[String]) -> Result<Command, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    Ok(within(inside, program))
}

/// A command whose words begin with `inside`.
pub fn within(inside: &[String], program: impl AsRef<std::ffi::OsStr>) -> Command {
    match inside.split_first() {
        None => mortal(program),
        Some((first, rest)) => {
            let mut command = mortal(first);
            command.args(rest).arg(program);
            command
        }
    }
}

/// Serves until it is killed. It says its port on standard error.
///
/// # Errors
/// What the system refuses.
pub fn serve(host: &str) -> io::Result<()> {
    let listener = TcpListener::bind((host, 0))?;
    eprintln!("port {} serves", listener.local_addr()?.port());
    serve_on(&listener)
}

/// Serves for ever.
///
/// # Errors
/// What the system refuses.
pub fn serve_on(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    rustix::net::listen(listener, 4_096)?;
    let poller = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poller, listener, EventData::new_u64(0), EventFlags::IN)?;
    let mut visitors = BTreeMap::new();
    let mut events = Vec::with_capacity(256);
    for id in 1.. {
        // One arrival, or one turn without any.
        events.clear();
        epoll::wait(&poller, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            match event.data.u64() {
                0 => accept(listener, &poller, id, &mut visitors)?,
                ready => answer(ready, &mut visitors),
            }
        }
    }
    Ok(())
}

fn accept(
    listener: &TcpListener,
    poller: &impl std::os::fd::AsFd,
    id: u64,
    visitors: &mut BTreeMap<u64, TcpStream>,
) -> io::Result<()> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            epoll::add(poller, &stream, EventData::new_u64(id), EventFlags::IN)?;
            visitors.insert(id, stream);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sends back what has come. Messages are far smaller than a socket's buffer: what does not fit at once has no reader.
fn answer(id: u64, visitors: &mut BTreeMap<u64, TcpStream>) {
    let mut buffer = [0; 4_096];
    let Some(stream) = visitors.get(&id) else { return };
    let answered = match recv(stream, &mut buffer, RecvFlags::empty()) {
        Ok((0, _)) => false,
        Ok((got, _)) => send(stream, &buffer[..got], SendFlags::NOSIGNAL) == Ok(got),
        Err(error) => error == Errno::AGAIN,
    };
    if !answered {
        visitors.remove(&id);
    }
}

/// How long answers took, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    pub median: f64,
    pub p90: f64,
    pub p99: f64,
}

/// Times one message after another for so long.
///
/// # Errors
/// What went wrong; an answer that takes [`PATIENCE`] is an error too.
pub fn ping(to: SocketAddr, lasting: Duration) -> io::Result<Latency> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let (mut answer, mut times) = ([0; MESSAGE_BYTES], Vec::new());
    let begun = Instant::now();
    while begun.elapsed() < lasting {
        let sent = Instant::now();
        stream.write_all(&[b'?'; MESSAGE_BYTES])?;
        stream.read_exact(&mut answer)?;
        times.push(sent.elapsed());
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    Ok(Latency { median: at(0.5), p90: at(0.9), p99: at(0.99) })
}

/// Whether an echo answers behind this port.
pub fn answers(port: u16) -> bool {
    let short = Duration::from_secs(1);
    let visit = || -> io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), short)?;
        stream.set_read_timeout(Some(short))?;
        stream.write_all(b"?")?;
        stream.read_exact(&mut [0])
    };
    visit().is_ok()
}

/// Visitors that came, were answered once, and stay without a word.
#[derive(Default)]
pub struct Crowd {
    visitors: Vec<TcpStream>,
}

impl Crowd {
    /// Lets visitors come until there are `count`.
    ///
    /// # Errors
    /// A sentence that says how many came.
    pub fn grow(&mut self, port: u16, count: usize) -> Result<(), String> {
        while self.visitors.len() < count {
            let here = self.visitors.len();
            let arrive = ARRIVE_TOGETHER.min(count - here);
            self.arrive(port, arrive).map_err(|error| format!("{here} of {count} visitors came: {error}"))?;
        }
        Ok(())
    }

    fn arrive(&mut self, port: u16, count: usize) -> io::Result<()> {
        let first = self.visitors.len();
        for n in first..first + count {
            let stream = connect_from(2 + n / VISITORS_PER_ADDRESS, port)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            (&stream).write_all(&words_of(n))?;
            self.visitors.push(stream);
        }
        self.hear(first)
    }

    /// Lets all speak at once, and hear their own words.
    ///
    /// # Errors
    /// What went wrong; to hear the words of another is an error too.
    pub fn speak(&self) -> io::Result<()> {
        for (n, mut stream) in self.visitors.iter().enumerate() {
            stream.write_all(&words_of(n))?;
        }
        self.hear(0)
    }

    /// From this visitor on, each hears its own words.
    fn hear(&self, first: usize) -> io::Result<()> {
        for (n, mut stream) in self.visitors.iter().enumerate().skip(first) {
            let mut heard = [0; MESSAGE_BYTES];
            stream.read_exact(&mut heard)?;
            if heard != words_of(n) {
                return Err(io::Error::other(format!("visitor {n} heard what it did not say")));
            }
        }
        Ok(())
    }
}

/// What only this visitor says.
fn words_of(visitor: usize) -> [u8; MESSAGE_BYTES] {
    let mut random = Random(visitor as u64);
    let mut words = [0; MESSAGE_BYTES];
    words.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&random.next().to_le_bytes()));
    words
}

/// A connection from 127.0.0.`host`, as an address has too few ports for a crowd.
fn connect_from(host: usize, port: u16) -> io::Result<TcpStream> {
    // The programs that load the tunnel meanwhile are not to inherit it.
    let stream = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // It bounds the connect too.
    set_socket_timeout(&stream, Timeout::Send, Some(PATIENCE))?;
    bind(&stream, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, host as u8), 0))?;
    connect(&stream, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    Ok(stream.into())
}
