//! Datagrams there and back: a service that sends back what comes, and visitors each of whom has a few under way, so that
//! who is slow is asked slowly, and what is lost is seen.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::echo::this_program;
use super::process::Process;

/// The word that makes this program the service.
pub const SERVE: &str = "serve-datagrams";

/// Visitors, and datagrams that each has under way.
const VISITORS: usize = 16;
const UNDER_WAY: u64 = 16;
/// As large as what a VPN sends over Ethernet.
const DATAGRAM_BYTES: usize = 1_400;
/// What was not answered for so long is lost.
const LOST_AFTER: Duration = Duration::from_millis(200);

pub struct Echo {
    pub port: u16,
    _process: Process,
}

impl Echo {
    /// # Errors
    /// A sentence, where the service does not come up.
    pub fn start() -> Result<Self, String> {
        let process = Process::start(this_program(&[])?.arg(SERVE));
        let line =
            process.hears("port ", Duration::from_secs(10)).ok_or("the echo of datagrams does not start")?;
        let port = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        Ok(Self { port: port.ok_or("the echo of datagrams tells no port")?, _process: process })
    }
}

/// Serves until it is killed. It says its port on standard error.
///
/// # Errors
/// What the system refuses.
pub fn serve() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    eprintln!("port {} serves", socket.local_addr()?.port());
    let mut datagram = [0; 1 << 16];
    loop {
        if let Ok((length, from)) = socket.recv_from(&mut datagram) {
            let _ = socket.send_to(&datagram[..length], from);
        }
    }
}

/// Whether the service answers at this port.
pub fn answers(port: u16) -> bool {
    let asked = || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_read_timeout(Some(LOST_AFTER))?;
        socket.send(b"?")?;
        socket.recv(&mut [0; 8])
    };
    asked().is_ok()
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passed {
    pub answered: u64,
    pub lost: u64,
    pub seconds: f64,
}

struct Visitor {
    socket: UdpSocket,
    under_way: u64,
    heard: Instant,
}

impl Visitor {
    /// Hears what has come, and sends as much again.
    fn turn(&mut self, passed: &mut Passed) {
        let mut datagram = [0; 1 << 11];
        while self.socket.recv(&mut datagram).is_ok() {
            self.heard = Instant::now();
            passed.answered += u64::from(self.under_way > 0);
            self.under_way = self.under_way.saturating_sub(1);
        }
        if self.under_way > 0 && self.heard.elapsed() > LOST_AFTER {
            passed.lost += std::mem::take(&mut self.under_way);
            self.heard = Instant::now();
        }
        while self.under_way < UNDER_WAY && self.socket.send(&[7; DATAGRAM_BYTES]).is_ok() {
            self.under_way += 1;
        }
    }
}

/// Sends datagrams to this address for a while.
///
/// # Errors
/// What the system refuses.
pub fn exchange(to: SocketAddr, lasting: Duration) -> io::Result<Passed> {
    let poller = epoll::create(CreateFlags::CLOEXEC)?;
    let mut visitors = Vec::new();
    for n in 0..VISITORS {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(to)?;
        socket.set_nonblocking(true)?;
        epoll::add(&poller, &socket, EventData::new_u64(n as u64), EventFlags::IN)?;
        visitors.push(Visitor { socket, under_way: 0, heard: Instant::now() });
    }
    let (begun, mut passed) = (Instant::now(), Passed::default());
    let mut events = Vec::with_capacity(VISITORS);
    while begun.elapsed() < lasting {
        visitors.iter_mut().for_each(|visitor| visitor.turn(&mut passed));
        events.clear();
        let most = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        epoll::wait(&poller, spare_capacity(&mut events), Some(&most))?;
    }
    passed.seconds = begun.elapsed().as_secs_f64();
    Ok(passed)
}
