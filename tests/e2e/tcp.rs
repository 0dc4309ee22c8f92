//! TCP as it must come through: every byte, both ends of every stream, and no cut that looks like an end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::data::{Pattern, Random};
use super::harness::{BOTH, Backend, Kind, SOON, Server, Tunnel, need_release, port, visit};

/// Up and down, whole: the backend reads everything and writes everything at once, as the visitor does.
fn both_ways(kind: Kind, seed: u64, up: u64, down: u64) {
    let (ended, ends) = mpsc::channel();
    let backend = Backend::new(move |stream| {
        let reader = stream.try_clone().unwrap();
        let read = thread::spawn(move || Pattern::new(seed).read(&reader));
        Pattern::new(seed + 1).write(&stream, down).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        ended.send(read.join().unwrap()).unwrap();
    });
    let tunnel = Tunnel::to(kind, backend.port);
    let visitor = tunnel.visit();
    let writer = visitor.try_clone().unwrap();
    let write = thread::spawn(move || {
        Pattern::new(seed).write(&writer, up).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(Pattern::new(seed + 1).read(&visitor), (down, Ok(())), "{kind:?}, down");
    write.join().unwrap();
    assert_eq!(ends.recv_timeout(SOON).unwrap(), (up, Ok(())), "{kind:?}, up");
}

#[test]
fn bytes_are_exact_both_ways_over_tls() {
    both_ways(Kind::Tls, 1, 32 << 20, 32 << 20);
}

#[test]
fn bytes_are_exact_both_ways_plain() {
    both_ways(Kind::Plain, 2, 32 << 20, 32 << 20);
}

#[test]
fn streams_of_every_size_are_exact_over_the_same_channels() {
    for kind in BOTH {
        let backend = Backend::echo();
        let tunnel = Tunnel::to(kind, backend.port);
        let mut random = Random(7);
        let edges = [0, 1, 2, 3, 16_379, 16_380, 16_381, 16_384, 65_535, 65_536, 65_537, 1 << 20];
        let drawn: Vec<u64> = (0..40).map(|n| random.below(1 << (1 + n % 21)) + 1).collect();
        for (seed, &size) in edges.iter().chain(&drawn).enumerate() {
            let visitor = tunnel.visit();
            let writer = visitor.try_clone().unwrap();
            let write = thread::spawn(move || {
                Pattern::new(seed as u64).write(&writer, size).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            assert_eq!(Pattern::new(seed as u64).read(&visitor), (size, Ok(())), "{kind:?} {size}");
            write.join().unwrap();
        }
    }
}

#[test]
fn more_than_4_gib_go_through_one_stream() {
    if need_release() {
        both_ways(Kind::Tls, 3, 5 << 30, 1000);
        both_ways(Kind::Plain, 4, 1000, 5 << 30);
    }
}

/// What one end does in a visit, in order: `w` writes, `f` ends its direction, `r` reads to the end.
fn act(stream: &TcpStream, plan: &str, seed: u64, size: u64, peer_size: u64) {
    for step in plan.chars() {
        match step {
            'w' => Pattern::new(seed).write(stream, size).unwrap(),
            'f' => stream.shutdown(Shutdown::Write).unwrap(),
            'r' => assert_eq!(Pattern::new(seed ^ 1).read(stream), (peer_size, Ok(())), "{plan}"),
            _ => unreachable!(),
        }
    }
}

#[test]
fn each_direction_ends_on_its_own_whoever_is_first() {
    // Visitor and real server; the first writes and ends, and the second answers only then; or both at once; or one of
    // them says nothing at all.
    let orders =
        [("wfr", "rwf"), ("rwf", "wfr"), ("wfr", "wfr"), ("fr", "wfr"), ("wfr", "fr"), ("fr", "rwf")];
    for kind in BOTH {
        for size in [1, 1 << 20] {
            for (visitor_plan, server_plan) in orders {
                let said = |plan: &str| if plan.contains('w') { size } else { 0 };
                let (up, down) = (said(visitor_plan), said(server_plan));
                let (ended, ends) = mpsc::channel();
                let backend = Backend::new(move |stream| {
                    act(&stream, server_plan, 11, down, up);
                    ended.send(()).unwrap();
                });
                let tunnel = Tunnel::to(kind, backend.port);
                act(&tunnel.visit(), visitor_plan, 10, up, down);
                ends.recv_timeout(SOON).unwrap_or_else(|_| panic!("{kind:?} {visitor_plan} {server_plan}"));
            }
        }
    }
}

#[test]
fn an_end_passes_at_once_and_the_other_way_lives_on() {
    for kind in BOTH {
        let backend = Backend::new(|mut stream| {
            let mut said = Vec::new();
            stream.read_to_end(&mut said).unwrap();
            thread::sleep(Duration::from_secs(3));
            stream.write_all(&said).unwrap();
        });
        let tunnel = Tunnel::to(kind, backend.port);
        let mut visitor = tunnel.visit();
        visitor.write_all(b"a long job").unwrap();
        visitor.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        visitor.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"a long job");
    }
}

#[test]
fn a_real_server_that_speaks_first_is_heard() {
    for kind in BOTH {
        let backend = Backend::new(|mut stream| {
            stream.write_all(b"220 at your service\r\n").unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let tunnel = Tunnel::to(kind, backend.port);
        let mut visitor = tunnel.visit();
        let mut greeting = [0; 21];
        visitor.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"220 at your service\r\n");
        drop(visitor);
    }
}

/// A stream without end in one direction; how it ended for its reader after `cut`. The writer only writes: whoever does
/// both may be told of the cut by either call, and the other then looks like an end.
fn cut_mid_stream(kind: Kind, down: bool, cut: impl Fn(&mut Tunnel)) -> Result<(), ErrorKind> {
    let (ended, ends) = mpsc::channel();
    let backend_ended = ended.clone();
    let side = move |stream: TcpStream, writes: bool, ended: mpsc::Sender<_>| {
        if writes {
            assert!(Pattern::new(5).write(&stream, u64::MAX).is_err());
        } else {
            let (total, end) = Pattern::new(5).read(&stream);
            assert!(total > 100_000, "cut after {total} bytes");
            ended.send(end).unwrap();
        }
    };
    let backend = Backend::new(move |stream| side(stream, down, backend_ended.clone()));
    let mut tunnel = Tunnel::to(kind, backend.port);
    let visitor = tunnel.visit();
    thread::spawn(move || side(visitor, !down, ended));
    thread::sleep(Duration::from_millis(500));
    cut(&mut tunnel);
    ends.recv_timeout(SOON).unwrap()
}

/// The same with nobody saying anything when the cut comes: a silent connection is cut like a busy one.
fn cut_in_silence(kind: Kind, cut: impl Fn(&mut Tunnel)) -> (Result<(), ErrorKind>, Result<(), ErrorKind>) {
    let (ended, ends) = mpsc::channel();
    let backend = Backend::new(move |mut stream| {
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(b"!").unwrap();
        let result = stream.read(&mut [0]).map(|count| assert_eq!(count, 0)).map_err(|error| error.kind());
        ended.send(result).unwrap();
    });
    let mut tunnel = Tunnel::to(kind, backend.port);
    let mut visitor = tunnel.visit();
    visitor.write_all(b"?").unwrap();
    visitor.read_exact(&mut [0]).unwrap();
    cut(&mut tunnel);
    let result = visitor.read(&mut [0]).map(|count| assert_eq!(count, 0)).map_err(|error| error.kind());
    (result, ends.recv_timeout(SOON).unwrap())
}

const RESET: Result<(), ErrorKind> = Err(ErrorKind::ConnectionReset);

#[test]
fn a_killed_client_cuts_both_ends_of_every_visit() {
    for kind in BOTH {
        let kill = |tunnel: &mut Tunnel| tunnel.client.kill();
        assert_eq!(cut_mid_stream(kind, true, kill), RESET, "{kind:?}: visitor");
        assert_eq!(cut_mid_stream(kind, false, kill), RESET, "{kind:?}: real server");
        assert_eq!(cut_in_silence(kind, kill), (RESET, RESET), "{kind:?}: visitor, real server");
    }
}

#[test]
fn a_killed_server_cuts_both_ends_of_every_visit() {
    for kind in BOTH {
        let kill = |tunnel: &mut Tunnel| tunnel.server.process.kill();
        assert_eq!(cut_mid_stream(kind, true, kill), RESET, "{kind:?}: visitor");
        assert_eq!(cut_mid_stream(kind, false, kill), RESET, "{kind:?}: real server");
        assert_eq!(cut_in_silence(kind, kill), (RESET, RESET), "{kind:?}: visitor, real server");
    }
}

/// Closes with RST.
fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_reset_at_one_end_is_a_reset_at_the_other() {
    for kind in BOTH {
        let (ended, ends) = mpsc::channel();
        let backend = Backend::new(move |mut stream| {
            stream.write_all(b"!").unwrap();
            let mut order = [0];
            stream.read_exact(&mut order).unwrap();
            if order == *b"R" {
                return reset(stream);
            }
            ended.send(stream.read(&mut [0]).map_err(|error| error.kind())).unwrap();
        });
        let tunnel = Tunnel::to(kind, backend.port);
        let mut visitor = tunnel.visit();
        visitor.write_all(b"w").unwrap();
        visitor.read_exact(&mut [0]).unwrap();
        reset(visitor);
        assert_eq!(ends.recv_timeout(SOON).unwrap(), Err(ErrorKind::ConnectionReset), "{kind:?}");
        let mut visitor = tunnel.visit();
        visitor.write_all(b"R").unwrap();
        let end = visitor.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "{kind:?}");
    }
}

/// A hundred visitors of an echo at once, each with bytes of its own.
fn a_hundred_visits(public: u16) {
    let visits = (0..100).map(|seed| {
        thread::spawn(move || {
            let visitor = visit(public);
            let writer = visitor.try_clone().unwrap();
            let write = thread::spawn(move || {
                Pattern::new(seed).write(&writer, 100_000 + seed).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            assert_eq!(Pattern::new(seed).read(&visitor), (100_000 + seed, Ok(())));
            write.join().unwrap();
        })
    });
    for visit in visits.collect::<Vec<_>>() {
        visit.join().unwrap();
    }
}

#[test]
fn a_hundred_visitors_at_once_get_their_own_bytes() {
    for kind in BOTH {
        let backend = Backend::echo();
        let tunnel = Tunnel::to(kind, backend.port);
        a_hundred_visits(tunnel.public);
    }
}

#[test]
fn a_burst_leaves_no_more_idle_channels_than_the_bound() {
    let backend = Backend::echo();
    let tunnel = Tunnel::to(Kind::Tls, backend.port);
    for _ in 0..3 {
        a_hundred_visits(tunnel.public);
        thread::sleep(Duration::from_millis(500));
        let now = tunnel.server.process.files().tunnels;
        let most = 1 + nt::limits::POOL_MAX;
        assert!(now <= most, "{now} tunnel connections of one session at rest; at most {most} are promised");
    }
}

#[test]
fn a_real_server_that_refuses_resets_the_visitor_at_once() {
    for kind in BOTH {
        let tunnel = Tunnel::to(kind, port());
        let begun = Instant::now();
        let mut visitor = tunnel.visit();
        let end = visitor.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "{kind:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{kind:?}: {:?}", begun.elapsed());
        tunnel.client.wait_for("failed: the real server refused the connection", SOON);
    }
}

#[test]
fn a_real_server_that_never_answers_is_given_up_after_10_s() {
    // A listener whose queue is full drops every further SYN.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let queued: Vec<_> =
        (0..3).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(300))).collect();
    assert!(queued.last().unwrap().is_err(), "the queue is not full");
    let tunnel = Tunnel::with(Kind::Tls, address.port(), Server::start(), |_| {});
    let begun = Instant::now();
    let end = tunnel.visit().read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    let took = begun.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(14)).contains(&took), "{took:?}");
}
