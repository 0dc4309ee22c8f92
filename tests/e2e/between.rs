//! What may happen to the connections between client and server while the two themselves are well.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use super::data::Pattern;
use super::harness::{BOTH, Backend, Kind, SOON, Server, port, visit};
use super::process::{Process, eventually};
use super::relay::Relay;

/// A client that reaches its server through a relay.
struct Relayed {
    _server: Server,
    relay: Relay,
    client: Process,
    public: u16,
}

impl Relayed {
    fn to(kind: Kind, target: u16) -> Self {
        let server = Server::start();
        let relay = Relay::to(server.port(kind));
        let public = port();
        let mapping = [format!("{public}:127.0.0.1:{target}")];
        let client = server.client_at("127.0.0.1", relay.port(), kind, &server.license, &mapping, |_| {});
        client.wait_for(" ready", SOON);
        // The CmdChannel, and the pool.
        eventually("a pool", SOON, || relay.said().len() > nt::limits::POOL_MIN);
        thread::sleep(Duration::from_millis(300));
        Self { _server: server, relay, client, public }
    }

    fn echo(&self) -> TcpStream {
        let mut visitor = visit(self.public);
        visitor.write_all(b"?").unwrap();
        visitor.read_exact(&mut [0]).unwrap();
        visitor
    }
}

#[test]
fn visits_go_on_while_a_lost_control_connection_comes_back() {
    for kind in BOTH {
        for reset in [false, true] {
            let backend = Backend::echo();
            let relayed = Relayed::to(kind, backend.port);
            let mut visitor = relayed.echo();
            relayed.relay.end(..1, reset);
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
        for reset in [false, true] {
            let backend = Backend::echo();
            let relayed = Relayed::to(kind, backend.port);
            for _ in 0..5 {
                relayed.relay.end(1.., reset);
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
        for reset in [false, true] {
            let (total, end) = download(kind, |relay| relay.end(1.., reset));
            assert_eq!(end, Err(ErrorKind::ConnectionReset), "{kind:?} {reset}: after {total} bytes");
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
