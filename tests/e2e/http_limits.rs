//! Names over HTTP: what one visitor, one real server or one license may take, and what stops.

use std::io::Write;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::harness::{BOTH, Kind, SOON, Server, visit};
use super::process::eventually;
use super::web::{Site, Talk, backend, mirror, reflect};

#[test]
fn a_visitor_who_asks_and_never_listens_holds_little() {
    let real = mirror("real");
    let mut site = Site::new(Kind::Tls, &[format!("a.example.com:{}", real.port)]);
    for host in ["a.example.com", "nobody.example.org"] {
        let before = site.server.process.memory_kib();
        let visitors: Vec<_> = (0..4).map(|_| site.visit()).collect();
        let ask = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").repeat(1000);
        for visitor in &visitors {
            visitor.stream().set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            // Until nothing more goes: what the kernels hold, and what nt does.
            let blocked = (0..2000).any(|_| visitor.stream().write_all(ask.as_bytes()).is_err());
            assert!(blocked, "{host}: it took {} MB of requests unanswered", 2000 * ask.len() / 1_000_000);
        }
        let grown = site.server.process.memory_kib().saturating_sub(before);
        assert!(grown < 8 * 1024, "{host}: {grown} KiB for four visitors");
        assert_eq!(site.visit().get("a.example.com", "/").from(), "real", "others are served");
        drop(visitors);
        site.at_rest();
    }
}

#[test]
fn heads_have_a_bound_both_ways() {
    let real = backend(|talk| {
        loop {
            let asked = talk.hear()?;
            let Some(path) = asked.head.split(' ').nth(1) else { return Ok(()) };
            match path.strip_prefix("/answer/").map(|size| size.parse().unwrap()) {
                Some(size) => {
                    let header = format!("X-Long: {}\r\n", "y".repeat(size));
                    talk.say(format!("HTTP/1.1 200 OK\r\nX-From: real\r\nContent-Length: 0\r\n{header}\r\n"));
                }
                None => reflect(talk, "real", &asked)?,
            }
        }
    });
    let site = Site::new(Kind::Tls, &[format!("a.example.com:{},header=X-Key:secret", real.port)]);
    // As long as it may be, to the byte; and one more.
    for (length, from) in
        [(nt::limits::HTTP_HEAD_BYTES_MAX, "real"), (nt::limits::HTTP_HEAD_BYTES_MAX + 1, "nobody")]
    {
        let (start, end) = ("GET / HTTP/1.1\r\nHost: a.example.com\r\nX-Long: ", "\r\n\r\n");
        let long = "y".repeat(length - start.len() - end.len());
        let mut visitor = site.visit();
        visitor.say(format!("{start}{long}{end}"));
        let answer = visitor.hear().unwrap();
        assert_eq!(answer.from(), from, "{length} bytes: {}", answer.line());
        assert!(
            from == "nobody" || answer.text().contains(&format!("\r\nX-Long: {long}\r\nX-Key: secret\r\n"))
        );
    }
    let mut visitor = site.visit();
    let answer = visitor.get("a.example.com", "/answer/7000");
    assert_eq!((answer.from(), answer.values("x-long")[0].len()), ("real", 7000));
    let answer = visitor.get("a.example.com", "/answer/1000000");
    assert_eq!(answer.line(), "502 Bad Gateway");
}

#[test]
fn a_stopping_server_ends_what_is_under_way_and_nothing_else() {
    for kind in BOTH {
        let real = backend(|talk| {
            loop {
                let asked = talk.hear()?;
                if asked.is_end() {
                    return Ok(());
                }
                if asked.head.starts_with("GET /slow ") {
                    talk.say("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n");
                    for _ in 0..30 {
                        talk.say("x");
                        thread::sleep(Duration::from_millis(100));
                    }
                } else {
                    reflect(talk, "real", &asked)?;
                }
            }
        });
        let mut site = Site::new(kind, &[format!("a.example.com:{}", real.port)]);
        let (mut resting, mut slow, mut fresh) = (site.visit(), site.visit(), site.visit());
        assert_eq!(resting.get("a.example.com", "/").from(), "real");
        slow.say("GET /slow HTTP/1.1\r\nHost: a.example.com\r\n\r\n");
        assert!(slow.head().unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
        site.server.process.signal(Signal::TERM);
        assert_eq!(resting.rest().unwrap(), b"", "{kind:?}: who rests is let go");
        assert_eq!(fresh.rest().unwrap(), b"", "{kind:?}: who has asked for nothing is let go");
        assert_eq!(slow.bytes(30).unwrap(), [b'x'; 30], "{kind:?}: what is under way comes to its end");
        assert_eq!(slow.rest().unwrap(), b"", "{kind:?}");
        assert_eq!(site.server.process.wait(SOON).code(), Some(0));
    }
}

#[test]
fn a_stopping_client_ends_what_is_under_way() {
    for kind in BOTH {
        let real = backend(|talk| {
            talk.hear()?;
            talk.say("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n");
            for _ in 0..30 {
                talk.say("x");
                thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        });
        let mut site = Site::new(kind, &[format!("a.example.com:{}", real.port)]);
        let mut slow = site.visit();
        slow.say("GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n");
        assert!(slow.head().unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
        site.client.signal(Signal::TERM);
        assert_eq!(slow.bytes(30).unwrap(), [b'x'; 30], "{kind:?}");
        assert_eq!(site.client.wait(SOON).code(), Some(0));
    }
}

#[test]
fn a_revoked_license_publishes_nothing() {
    let real = mirror("real");
    let server = Server::start_with_names();
    let license = server.license(&["add", "blog", "--hosts", "blog.example.com"]);
    let client =
        server.client_with(Kind::Tls, &license, &[format!("blog.example.com:{}", real.port)], |_| {});
    client.wait_for(&format!("-> 127.0.0.1:{} ready", real.port), SOON);
    let mut visitor = Talk::new(visit(server.names.unwrap()));
    assert_eq!(visitor.get("blog.example.com", "/").from(), "real");
    server.license(&["revoke", "blog"]);
    eventually("it is served no more", SOON, || {
        Talk::new(visit(server.names.unwrap())).get("blog.example.com", "/").from() == "nobody"
    });
    // Who was there is sent away too, in whatever way.
    visitor.stream().set_read_timeout(Some(SOON)).unwrap();
    let _ = visitor.stream().write_all(b"GET / HTTP/1.1\r\nHost: blog.example.com\r\n\r\n");
    assert!(visitor.hear().is_ok_and(|answer| answer.from() == "nobody") || visitor.hear().is_err());
    drop((visitor, client));
}

#[test]
fn names_may_stand_in_the_license() {
    let real = mirror("real");
    let server = Server::start_with_names();
    let mapping = format!("blog.example.com:{},host=inner.lan", real.port);
    let license = server.license(&["add", "blog", "--hosts", "*.example.com", "--map", &mapping]);
    let client = server.client_with(Kind::Plain, &license, &[], |_| {});
    client.wait_for(&format!("-> 127.0.0.1:{} ready", real.port), SOON);
    let answer = Talk::new(visit(server.names.unwrap())).get("blog.example.com", "/");
    assert!(answer.text().starts_with("GET / HTTP/1.1\r\nHost: inner.lan\r\n"), "{}", answer.text());
}

#[test]
fn a_server_without_a_door_for_names_says_so() {
    let (real, server) = (mirror("real"), Server::start());
    let client = server.client(Kind::Tls, &[format!("blog.example.com:{}", real.port)]);
    client.wait_for("--http ADDR:PORT", SOON);
}

#[test]
fn an_answer_that_nobody_asked_for_is_nobody_s() {
    for kind in BOTH {
        let real = backend(|talk| {
            loop {
                let asked = talk.hear()?;
                if asked.is_end() {
                    return Ok(());
                }
                let good = "HTTP/1.1 200 OK\r\nX-From: real\r\nContent-Length: 0\r\n\r\n";
                let evil = "HTTP/1.1 200 OK\r\nX-From: evil\r\nContent-Length: 0\r\n\r\n";
                talk.say(if asked.head.starts_with("GET /evil ") {
                    [good, evil].concat()
                } else {
                    good.into()
                });
            }
        });
        let site = Site::new(kind, &[format!("a.example.com:{}", real.port)]);
        let mut visitor = site.visit();
        assert_eq!(visitor.get("a.example.com", "/").from(), "real");
        assert_eq!(visitor.get("a.example.com", "/evil").from(), "real");
        thread::sleep(Duration::from_millis(300));
        let _ = visitor.stream().write_all(b"GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n");
        // Cut or served, but not with that.
        let answer = visitor.hear().map(|answer| answer.from().to_owned());
        assert!(!answer.as_ref().is_ok_and(|from| from == "evil"), "{kind:?}");
        assert_eq!(site.visit().get("a.example.com", "/").from(), "real");
    }
}

#[test]
fn who_is_answered_before_it_has_said_all_is_asked_nothing_more() {
    for kind in BOTH {
        let real = backend(|talk| {
            talk.head()?;
            talk.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!");
            talk.rest().map(drop)
        });
        let site = Site::new(kind, &[format!("a.example.com:{}", real.port)]);
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: nobody.example.org\r\n\r\n";
        for length in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
            let mut visitor = site.visit();
            visitor.say(format!("PUT / HTTP/1.1\r\nHost: a.example.com\r\n{length}\r\n\r\n"));
            let answer = visitor.hear().unwrap();
            assert_eq!((answer.line(), answer.text().as_str()), ("413 Content Too Large", "no!"), "{kind:?}");
            // The rest of its body is not the next request.
            let _ = visitor.stream().write_all(smuggled.as_bytes());
            let rest = visitor.rest().unwrap_or_default();
            assert!(rest.is_empty(), "{kind:?}: {}", rest.escape_ascii());
        }
    }
}

#[test]
fn a_real_server_that_breaks_off_an_upload_is_seen_to() {
    for kind in BOTH {
        let real = backend(|talk| {
            talk.head()?;
            talk.bytes(100_000)?;
            rustix::net::sockopt::set_socket_linger(talk.stream(), Some(Duration::ZERO))?;
            Ok(())
        });
        let mut site = Site::new(kind, &[format!("a.example.com:{}", real.port)]);
        let mut visitor = site.visit();
        visitor.say("PUT / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 1000000000\r\n\r\n");
        let piece = [b'x'; 10_000];
        let stopped = (0..10_000).any(|_| visitor.stream().write_all(&piece).is_err());
        // Told or cut, and at once.
        let answer = visitor.hear().map(|answer| answer.line().to_owned());
        assert!(answer.as_ref().map_or(stopped, |line| line == "502 Bad Gateway"), "{kind:?}: {answer:?}");
        drop(visitor);
        site.at_rest();
    }
}
