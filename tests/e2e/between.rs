//! What may happen to the connections between client and server while the two themselves are well.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use nt::limits::PEER_SILENCE_MAX;
use rustix::process::Signal;

use super::data::Pattern;
use super::harness::{BOTH, Backend, Kind, SOON, Server, port, visit};
use super::process::{eventually, holds_soon};
use super::relay::{End, Mischief, Relay};
use super::rest::{Nt, end};

/// A client that reaches its server through a relay.
struct Relayed {
    client: Nt,
    relay: Relay,
    server: Server,
    public: u16,
}

impl Relayed {
    fn to(kind: Kind, target: u16) -> Self {
        Self::with(kind, target, Mischief::default())
    }

    fn with(kind: Kind, target: u16, mischief: Mischief) -> Self {
        let server = Server::start();
        let relay = Relay::with(server.port(kind), mischief);
        let public = port();
        let mapping = [format!("{public}:127.0.0.1:{target}")];
        let client = server.client_at("127.0.0.1", relay.port(), kind, &server.license, &mapping, |_| {});
        client.wait_for(" ready", SOON);
        // The CmdChannel, and the pool.
        eventually("a pool", SOON, || relay.said().len() > nt::limits::POOL_MIN);
        thread::sleep(Duration::from_millis(300));
        Self { server, relay, client, public }
    }

    fn echo(&self) -> TcpStream {
        let mut visitor = visit(self.public);
        visitor.write_all(b"?").unwrap();
        visitor.read_exact(&mut [0]).unwrap();
        visitor
    }

    /// A visitor of the echo with so many bytes: what came back, and how it ended.
    fn echo_of(&self, seed: u64, bytes: u64) -> (u64, Result<(), ErrorKind>) {
        let visitor = visit(self.public);
        let writer = visitor.try_clone().unwrap();
        let write = thread::spawn(move || {
            Pattern::new(seed).write(&writer, bytes).and_then(|()| writer.shutdown(Shutdown::Write))
        });
        let (total, end) = Pattern::new(seed).read(&visitor);
        // Whoever writes and reads may be told of a reset by either call; the other then looks like an end.
        let wrote = write.join().unwrap().map_err(|error| error.kind());
        (total, end.and(wrote))
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        if !thread::panicking() && self.client.is_awake() {
            self.relay.pass_whole();
            end([&mut self.client, &mut self.server.process]);
        }
    }
}

#[test]
fn visits_go_on_while_a_lost_control_connection_comes_back() {
    for kind in BOTH {
        for end in [End::Close, End::Reset, End::HalfClose] {
            let backend = Backend::echo();
            let relayed = Relayed::to(kind, backend.port);
            let mut visitor = relayed.echo();
            relayed.relay.end(..1, end);
            for _ in 0..30 {
                visitor.write_all(b"still there?").unwrap();
                visitor.read_exact(&mut [0; 12]).unwrap();
                thread::sleep(Duration::from_millis(50));
            }
            relayed.client.wait_for("again; visits go on", SOON);
            drop(relayed.echo());
            visitor.shutdown(Shutdown::Write).unwrap();
            assert_eq!(visitor.read(&mut [0]).unwrap(), 0, "{kind:?}: a clean end");
        }
    }
}

#[test]
fn a_visitor_who_finds_every_idle_channel_dead_is_served_all_the_same() {
    for kind in BOTH {
        for end in [End::Close, End::Reset] {
            let backend = Backend::echo();
            let relayed = Relayed::to(kind, backend.port);
            for _ in 0..5 {
                relayed.relay.end(1.., end);
                drop(relayed.echo());
            }
            assert_eq!(relayed.client.log().count("trying again"), 0, "{kind:?}");
        }
    }
}

#[test]
fn a_channel_that_dies_under_a_visit_that_begins_is_replaced_unnoticed() {
    for kind in BOTH {
        let backend = Backend::echo();
        let relayed = Relayed::to(kind, backend.port);
        relayed.relay.trap_idle_channels();
        let visitor = relayed.echo();
        let writer = visitor.try_clone().unwrap();
        let write = thread::spawn(move || {
            Pattern::new(5).write(&writer, 1 << 20).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        assert_eq!(Pattern::new(5).read(&visitor), (1 << 20, Ok(())), "{kind:?}");
        write.join().unwrap();
    }
}

#[test]
fn however_many_idle_channels_died_unnoticed_the_next_visitor_is_served() {
    for kind in BOTH {
        let backend = Backend::echo();
        let relayed = Relayed::to(kind, backend.port);
        drop((0..24).map(|_| relayed.echo()).collect::<Vec<_>>());
        relayed.relay.trap_idle_channels();
        drop(relayed.echo());
    }
}

/// A download whose ProxyChannel meets with something after 5 MiB or so; what came, and how it ended.
fn download(kind: Kind, mishap: impl Fn(&Relay)) -> (u64, Result<(), ErrorKind>) {
    let backend = Backend::new(|stream| {
        let mut pattern = Pattern::new(77);
        if pattern.write(&stream, 5 << 20).is_ok() {
            thread::sleep(Duration::from_millis(800));
            let _ = pattern.write(&stream, 5 << 20);
            let _ = stream.shutdown(Shutdown::Write);
        }
    });
    let relayed = Relayed::to(kind, backend.port);
    let visitor = visit(relayed.public);
    let read = thread::spawn(move || Pattern::new(77).read(&visitor));
    thread::sleep(Duration::from_millis(400));
    mishap(&relayed.relay);
    read.join().unwrap()
}

#[test]
fn a_download_whose_tunnel_connection_is_closed_is_no_end() {
    for kind in BOTH {
        for how in [End::Close, End::Reset] {
            let (total, end) = download(kind, |relay| relay.end(1.., how));
            assert_eq!(end, Err(ErrorKind::ConnectionReset), "{kind:?} {how:?}: after {total} bytes");
        }
    }
}

#[test]
fn a_changed_bit_under_tls_is_found_and_no_byte_of_it_reaches_the_visitor() {
    let backend = Backend::new(|stream| {
        let _ = Pattern::new(78).write(&stream, 20 << 20);
        let _ = stream.shutdown(Shutdown::Write);
    });
    let server = Server::start();
    let relay = Relay::to(server.tls);
    let public = port();
    let mapping = [format!("{public}:127.0.0.1:{}", backend.port)];
    let client = server.client_at("127.0.0.1", relay.port(), Kind::Tls, &server.license, &mapping, |_| {});
    client.wait_for(" ready", SOON);
    for more in [20_000, 3_000_000] {
        relay.flip_up_after(more);
        let (total, end) = Pattern::new(78).read(&visit(public));
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "after {total} bytes");
        assert!(total < 20 << 20);
    }
    // Before the answer it depends on what was hit: a ProxyChannel that attaches is replaced, and the visitor does not
    // notice; a visit that the client has taken must not be taken twice, so it is cut. Never is there a piece of it.
    relay.flip_up_after(10);
    let (total, end) = Pattern::new(78).read(&visit(public));
    let cut = (total, end) == (0, Err(ErrorKind::ConnectionReset));
    assert!(cut || (total, end) == (20 << 20, Ok(())), "before the answer: {total} bytes, {end:?}");
    assert_eq!(Pattern::new(78).read(&visit(public)), (20 << 20, Ok(())), "the next visit");
}

#[test]
fn a_login_that_comes_byte_by_byte_is_a_login() {
    super::faults::for_both_at_once(|kind| {
        let backend = Backend::echo();
        let relayed = Relayed::with(kind, backend.port, Mischief { one_by_one: true, ..Mischief::default() });
        assert_eq!(relayed.echo_of(3, 3_000), (3_000, Ok(())), "{kind:?}");
        assert_eq!(
            relayed.client.log().count("trying again"),
            0,
            "{kind:?}: {:?}",
            relayed.client.log().lines()
        );
    });
}

#[test]
fn data_connections_that_die_early_cut_their_visits_and_no_others() {
    for kind in BOTH {
        let backend = Backend::echo();
        let relayed = &Relayed::to(kind, backend.port);
        relayed.relay.reset_half_after(20_000);
        let whole = (60_000, Ok(()));
        let visits = thread::scope(|scope| {
            let visits: Vec<_> =
                (0..40).map(|seed| scope.spawn(move || relayed.echo_of(seed, 60_000))).collect();
            visits.into_iter().map(|visit| visit.join().unwrap()).collect::<Vec<_>>()
        });
        let cut = |visit: &&(u64, Result<(), ErrorKind>)| visit.1.is_err();
        let (served, cut) =
            (visits.iter().filter(|visit| **visit == whole).count(), visits.iter().filter(cut).count());
        println!("{kind:?}: {served} served, {cut} cut");
        assert!(served > 0 && cut > 0 && served + cut == visits.len(), "{kind:?}: {visits:?}");
        relayed.relay.reset_half_after(0);
        for seed in 0..20 {
            assert_eq!(relayed.echo_of(seed, 60_000), whole, "{kind:?}: it recovers by itself");
        }
        assert_eq!(
            relayed.client.log().count("trying again"),
            0,
            "{kind:?}: the control connection was well"
        );
    }
}

/// Twelve clients over TLS and twelve plainly, each with a license and a relay of its own, which cuts the first
/// connections wherever the dice say: in the handshake, in the login, among mappings and ProxyChannels.
pub fn wherever_its_connections_are_cut_a_client_gets_in() {
    const CLIENTS: usize = 24;
    let (mut server, backend) = (Server::start(), Backend::echo());
    server.process.sessions = CLIENTS;
    let clients = (0..CLIENTS).map(|n| {
        let kind = BOTH[n % 2];
        // About what the client says before the tunnel is up.
        let cut_within = if kind == Kind::Tls { 800 } else { 200 };
        let mischief = Mischief { cuts: 6, cut_within, seed: n as u64, ..Mischief::default() };
        let relay = Relay::with(server.port(kind), mischief);
        let license = server.license(&["add", &format!("cut{n}")]);
        let public = port();
        let mapping = [format!("{public}:127.0.0.1:{}", backend.port)];
        let client = server.client_at("127.0.0.1", relay.port(), kind, &license, &mapping, |_| {});
        (public, client, relay)
    });
    let clients: Vec<_> = clients.collect();
    for (public, client, _) in &clients {
        let echoes = || {
            let Ok(mut visitor) = TcpStream::connect(("127.0.0.1", *public)) else { return false };
            visitor.set_read_timeout(Some(SOON)).unwrap();
            visitor.write_all(b"?").is_ok() && visitor.read_exact(&mut [0]).is_ok()
        };
        assert!(holds_soon(Duration::from_secs(60), echoes), "not served: {:?}", client.log().lines());
    }
    let cut: usize = clients.iter().map(|(_, _, relay)| relay.cut()).sum();
    println!("{cut} connections were cut");
    assert!(cut > clients.len(), "only {cut} connections were cut");
}

/// Its kernel lives and says that it has said all; the process hangs.
pub fn a_client_that_hangs_after_half_closing_loses_its_ports() {
    super::faults::for_both_at_once(|kind| {
        let backend = Backend::echo();
        let mut relayed = Relayed::to(kind, backend.port);
        let visitor = relayed.echo();
        relayed.client.signal(Signal::STOP);
        relayed.relay.end(.., End::HalfClose);
        let lease = Duration::from_micros(PEER_SILENCE_MAX.as_micros()) + SOON;
        relayed.server.process.wait_for("logged out", lease);
        assert!(TcpStream::connect(("127.0.0.1", relayed.public)).is_err(), "{kind:?}: its port is open");
        assert_eq!((&visitor).read(&mut [0]).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
        relayed.client.kill();
    });
}
