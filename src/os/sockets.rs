//! Sockets and the few other things that std does not offer: by rustix, without `unsafe`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, ipproto, sockopt};

use super::stream::Stream;
use crate::calendar::Clock;
use crate::limits::{BACKLOG, Keepalive, TUNNEL_KEEPALIVE, VISITOR_KEEPALIVE};
use crate::net::{Accept, reason_of};
use crate::reason::Reason;
use crate::role::Speech;
use crate::time::Time;

/// The clock that goes on while the machine sleeps: whoever wakes up finds its session dead at once.
#[allow(clippy::disallowed_methods)]
pub fn clock() -> Time {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let id = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let id = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(id);
    Time::from_micros((time.tv_sec as u64) * 1_000_000 + (time.tv_nsec as u64) / 1_000)
}

/// The clock of the day.
#[allow(clippy::disallowed_methods)]
pub fn day_clock() -> Clock {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Clock(since.map_or(0, |since| since.as_secs()))
}

fn socket(address: SocketAddr) -> io::Result<std::os::fd::OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?)
}

/// Listens; the unspecified IPv6 address stands for every address of both families, or of IPv4 where there
/// is no IPv6.
pub(super) fn listen(address: SocketAddr, speech: Speech) -> io::Result<TcpListener> {
    let any = address.ip().is_unspecified() && address.is_ipv6();
    let listener = match bind(address, any) {
        Err(error)
            if any
                && error.kind() != io::ErrorKind::AddrInUse
                && error.kind() != io::ErrorKind::PermissionDenied =>
        {
            bind(SocketAddr::from(([0, 0, 0, 0], address.port())), false)?
        }
        result => result?,
    };
    // Accepted connections inherit it: no call is spent on each of them.
    tune(&listener, speech, false);
    Ok(listener)
}

/// Listens by a handle of a listener that is there already.
pub(super) fn adopt(listener: io::Result<TcpListener>, speech: Speech) -> io::Result<TcpListener> {
    let listener = listener?;
    tune(&listener, speech, false);
    Ok(listener)
}

fn bind(address: SocketAddr, dual: bool) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, !dual)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Listens at a path, for its owner alone. What a program that has gone left there gives way; where one still answers,
/// it is in use. (A listening socket is a listening socket: std has no type for both families.)
pub(super) fn listen_unix(path: &str) -> Result<TcpListener, Reason> {
    use rustix::io::Errno;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let listen = || {
        let address = SocketAddrUnix::new(path)?;
        let somebody = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        if rustix::net::connect(&somebody, &address).is_ok() {
            return Err(Errno::ADDRINUSE);
        }
        drop(somebody);
        let _ = rustix::fs::unlink(path);
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::bind(&socket, &address)?;
        rustix::fs::chmod(path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    listen().map_err(|error| reason_of(&error.into()))
}

pub(super) fn accept(listener: &TcpListener, pace: Pace) -> io::Result<(Stream, SocketAddr)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (stream, peer) = rustix::net::acceptfrom_with(listener, flags)?;
    let peer = peer.ok_or(rustix::io::Errno::CONNABORTED)?;
    if peer.address_family() == AddressFamily::UNIX {
        return Ok((stream.into(), SocketAddr::from(([0, 0, 0, 0], 0))));
    }
    let peer = SocketAddr::try_from(peer).map_err(|_| rustix::io::Errno::CONNABORTED)?;
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    pace.lift(&stream, peer);
    Ok((stream.into(), peer))
}

/// What an accept that failed means: accept(2) lists errors of the connection that went, which are nobody's
/// fault.
pub(super) fn accept_failed(error: &io::Error) -> Accept<Stream> {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::AGAIN) => Accept::Empty,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Accept::Exhausted(Reason::System),
        _ => Accept::Again,
    }
}

/// Begins to connect.
pub(super) fn dial(address: SocketAddr, speech: Speech, speaks: bool, pace: Pace) -> io::Result<Stream> {
    let socket = socket(address)?;
    pace.lift(&socket, address);
    tune(&socket, speech, address.ip().is_loopback());
    // The last segment of the handshake waits for the first bytes (tcp(7), TCP_QUICKACK): the listener hears of the
    // connection and of them at once. Should they fail to come, the kernel sends it by itself, within 200 ms.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if speaks {
        let _ = sockopt::set_tcp_quickack(&socket, false);
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = speaks;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error.into()),
    }
}

/// Connects to a Unix socket, which is decided at once.
pub(super) fn dial_unix(path: &str) -> Result<Stream, Reason> {
    use rustix::io::Errno;
    let connect = || {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Stream::from(socket))
    };
    connect().map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::PROTOTYPE => Reason::NoSuchSocket,
        Errno::ACCESS | Errno::PERM => Reason::Forbidden,
        // Nobody tells when a full queue has room again; other systems call it refused as well.
        Errno::AGAIN => Reason::Refused,
        errno => reason_of(&errno.into()),
    })
}

/// Whether the system's congestion control paces what is sent, as BBR does. Between two programs of one machine
/// that only makes them wait: nothing there can be congested but the two themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace(bool);

impl Pace {
    pub(super) fn of_system() -> Self {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let name = socket(SocketAddr::from(([0, 0, 0, 0], 0)))
            .and_then(|socket| Ok(sockopt::tcp_congestion(socket)?));
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let name: io::Result<String> = Err(io::ErrorKind::Unsupported.into());
        Self(name.is_ok_and(|name| name.starts_with("bbr")))
    }

    /// Lets a connection within this machine send as fast as it can.
    fn lift(self, socket: impl AsFd, peer: SocketAddr) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.0 && peer.ip().is_loopback() {
            // Reno is in every kernel; a connection that stays paced works as well.
            let _ = sockopt::set_tcp_congestion(socket, "reno");
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = (socket, peer);
    }
}

/// Small frames leave at once. Tunnel connections are probed by the kernel while they are idle, so that NAT
/// keeps them and a dead one is found without a byte of ours. A raw one goes with RST until it is closed on
/// purpose, even when the process is killed: its peer must not take a cut for an end; and it is probed, so
/// that one that vanished is found, which on this machine (`near`) nobody does without a word.
fn tune(socket: impl AsFd, speech: Speech, near: bool) {
    let socket = socket.as_fd();
    // A socket that refuses an option still works.
    let _ = sockopt::set_tcp_nodelay(socket, true);
    match speech {
        Speech::Tls | Speech::Plain => probe(socket, TUNNEL_KEEPALIVE),
        Speech::Raw | Speech::Http => {
            let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
            if !near {
                probe(socket, VISITOR_KEEPALIVE);
            }
        }
        Speech::Local => {}
    }
}

/// The kernel's keepalive (RFC 9293 section 3.8.4).
fn probe(socket: BorrowedFd<'_>, keepalive: Keepalive) {
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, Duration::from_secs(keepalive.idle_secs));
    let _ = sockopt::set_tcp_keepintvl(socket, Duration::from_secs(keepalive.interval_secs));
    let _ = sockopt::set_tcp_keepcnt(socket, keepalive.probes);
}

/// Raises the limit on open files to what the system permits, and says what it is.
pub fn raise_open_files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = getrlimit(Resource::Nofile).current;
    now.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// Secrets stay out of core files.
pub fn no_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Bytes of memory that the machine has, or that its address-space limit leaves.
pub fn memory_bytes() -> usize {
    use rustix::process::{Resource, getrlimit};
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let machine = {
        let info = rustix::system::sysinfo();
        let machine = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit));
        // A container has less than its machine (cgroup v2, memory.max: a number, or "max").
        let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max");
        container
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .map_or(machine, |most: u64| machine.min(most))
    };
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let machine = 1 << 30;
    let limit = getrlimit(Resource::As).current.unwrap_or(u64::MAX);
    usize::try_from(machine.min(limit)).unwrap_or(usize::MAX)
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[test]
    fn who_has_words_at_hand_is_heard_of_when_they_come() {
        // A test that is not run for 200 ms would find that the kernel has waited long enough: one is enough.
        let joined = (0..20).filter(|_| {
            let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)), Speech::Local).unwrap();
            let address = listener.local_addr().unwrap();
            let mut stream = dial(address, Speech::Raw, true, Pace(false)).unwrap();
            stream.dialed().unwrap();
            let early = accept(&listener, Pace(false)).map_err(|error| error.kind());
            assert_eq!(stream.write(b"words", false).unwrap(), 5);
            let hidden = early.is_err_and(|kind| kind == io::ErrorKind::WouldBlock);
            hidden
                && accept(&listener, Pace(false)).is_ok_and(|(mut came, _)| {
                    let mut words = [0; 5];
                    came.read(&mut words).is_ok_and(|n| n == 5)
                })
        });
        assert!(joined.count() > 0, "the handshake ended without the first words");
    }
}
