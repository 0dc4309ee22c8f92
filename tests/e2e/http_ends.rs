//! Names over HTTP: where messages end, and how; and what takes its time.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::data::Pattern;
use super::harness::{BOTH, Backend, Kind, SOON};
use super::web::{Message, Site, backend, mirror, reflect};

const ASK: &str = "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n";
const UPGRADE: &str =
    "GET /chat HTTP/1.1\r\nHost: a.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

/// A site with one name, a.example.com.
fn site(kind: Kind, real: &Backend) -> Site {
    Site::new(kind, &[format!("a.example.com:{}", real.port)])
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    for kind in BOTH {
        let (real, other) = (mirror("real"), mirror("other"));
        let site = Site::new(
            kind,
            &[format!("a.example.com:{}", real.port), format!("b.example.com:{}", other.port)],
        );
        let mut visitor = site.visit();
        let mut all = String::new();
        for n in 0..10 {
            all += &format!("GET /{n} HTTP/1.1\r\nHost: a.example.com\r\n\r\n");
            all += &format!("POST /{n} HTTP/1.1\r\nHost: b.example.com\r\nContent-Length: 3\r\n\r\nabc");
            all += &format!("GET /{n} HTTP/1.1\r\nHost: c.example.com\r\n\r\n");
            all += "PUT / HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
        }
        visitor.say(all);
        for n in 0..10 {
            for (from, line, end) in [
                ("real", format!("GET /{n} "), ""),
                ("other", format!("POST /{n} "), "abc"),
                ("nobody", "<!doctype html>".to_owned(), ""),
                ("real", "PUT / ".to_owned(), "ab"),
            ] {
                let answer = visitor.hear().unwrap();
                assert_eq!(answer.from(), from, "{kind:?}");
                assert!(answer.text().starts_with(&line), "{}", answer.text());
                assert!(from == "nobody" || answer.text().ends_with(&format!("\r\n\r\n{end}")));
            }
        }
    }
}

#[test]
fn bodies_pass_as_they_are_in_whatever_pieces() {
    for kind in BOTH {
        // What comes behind the head, as it comes.
        const BODY: &str = "5;x=\"y\"\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n";
        const HEAD: &str = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (tell, told) = mpsc::channel();
        let real = backend(move |talk| {
            while !talk.head()?.is_empty() {
                tell.send(talk.bytes(BODY.len())?).unwrap();
                for piece in [HEAD, BODY].concat().as_bytes().chunks(7) {
                    talk.say(piece);
                    thread::sleep(Duration::from_millis(2));
                }
            }
            Ok(())
        });
        let site = site(kind, &real);
        let mut visitor = site.visit();
        let ask =
            format!("PUT / HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: chunked\r\n\r\n{BODY}");
        for size in [1, 5, ask.len()] {
            for piece in ask.as_bytes().chunks(size) {
                visitor.say(piece);
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(told.recv_timeout(SOON).unwrap(), BODY.as_bytes(), "{kind:?}");
            assert_eq!(visitor.head().unwrap(), HEAD);
            assert_eq!(visitor.bytes(BODY.len()).unwrap(), BODY.as_bytes());
        }
    }
}

#[test]
fn who_expects_100_continue_gets_it_from_the_real_server() {
    for kind in BOTH {
        let real = backend(|talk| {
            loop {
                let head = talk.head()?;
                let refused = head.starts_with("PUT /refused ");
                if head.is_empty() {
                    return Ok(());
                }
                assert!(head.contains("\r\nExpect: 100-continue\r\n"), "{head}");
                if refused {
                    talk.say(
                        "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    );
                    return Ok(());
                }
                talk.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
                let body = talk.bytes(5)?;
                reflect(talk, "real", &Message { head: String::new(), body })?;
            }
        });
        let site = site(kind, &real);
        let mut visitor = site.visit();
        let ask = |path: &str| {
            format!(
                "PUT {path} HTTP/1.1\r\nHost: a.example.com\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
            )
        };
        for body in ["hello", "again"] {
            visitor.say(ask("/"));
            assert_eq!(visitor.hear().unwrap().line(), "103 Early Hints", "{kind:?}");
            assert_eq!(visitor.hear().unwrap().line(), "100 Continue", "{kind:?}");
            visitor.say(body);
            assert_eq!(visitor.hear().unwrap().text(), body);
        }
        visitor.say(ask("/refused"));
        assert_eq!(visitor.hear().unwrap().line(), "417 Expectation Failed", "{kind:?}");
    }
}

#[test]
fn a_real_server_that_closes_when_idle_is_called_again_unnoticed() {
    for kind in BOTH {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        // Nothing in its answer says that it closes.
        let real = backend(move |talk| {
            counted.fetch_add(1, Ordering::Relaxed);
            let asked = talk.hear()?;
            reflect(talk, "real", &asked)
        });
        let site = site(kind, &real);
        let mut visitor = site.visit();
        for pause in [0, 200, 0, 1500] {
            for n in 0..3 {
                assert_eq!(
                    visitor.get("a.example.com", "/").from(),
                    "real",
                    "{kind:?}: {n} after {pause} ms"
                );
                thread::sleep(Duration::from_millis(pause));
            }
        }
        // What may not be made twice is asked where nobody is about to leave.
        thread::sleep(Duration::from_millis(300));
        visitor.say("POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 2\r\n\r\nok");
        let answer = visitor.hear().unwrap();
        assert!(answer.text().ends_with("\r\n\r\nok"));
        assert_eq!(calls.load(Ordering::Relaxed), 13, "{kind:?}: calls for as many requests");
    }
}

#[test]
fn an_answer_that_says_it_is_the_last_is_whole() {
    // A head, and how long the body is; the connection ends behind it.
    const CASES: [(&str, usize); 5] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n", 100_000),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", 100_000),
        ("HTTP/1.1 200 OK\r\n\r\n", 0),
        ("HTTP/1.0 200 OK\r\n\r\n", 100_000),
        ("HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n", 10),
    ];
    for kind in BOTH {
        let real = backend(move |talk| {
            let (head, body) = CASES[talk.hear()?.number()];
            talk.say(head);
            talk.stream().write_all(&vec![b'x'; body])
        });
        let site = site(kind, &real);
        for (n, (head, body)) in CASES.iter().enumerate() {
            for version in ["1.1", "1.0"] {
                let mut visitor = site.visit();
                visitor.say(format!("GET /{n} HTTP/{version}\r\nHost: a.example.com\r\n\r\n"));
                let answer = visitor.hear().unwrap();
                assert_eq!(answer.body.len(), *body, "{kind:?}: {head:?}");
                assert_eq!(visitor.rest().unwrap(), b"", "{kind:?}: {head:?}");
            }
        }
    }
}

#[test]
fn who_speaks_http_1_0_is_served_once() {
    for kind in BOTH {
        let real = mirror("real");
        let site = site(kind, &real);
        let (answer, end) =
            site.told("GET /x HTTP/1.0\r\nHost: a.example.com\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(answer.from(), "real", "{kind:?}");
        assert!(answer.text().starts_with("GET /x HTTP/1.0\r\n"), "{}", answer.text());
        assert_eq!(end.unwrap(), b"");
        let (answer, end) = site.told("GET /x HTTP/1.0\r\n\r\n");
        assert_eq!(answer.line(), "404 Not Found");
        assert_eq!(end.unwrap(), b"");
    }
}

#[test]
fn what_has_no_body_does_not_hold_up_what_comes_next() {
    for kind in BOTH {
        let real = backend(|talk| {
            loop {
                let asked = talk.hear()?;
                let status = match asked.head.split(' ').nth(1) {
                    Some("/204") => "204 No Content",
                    Some("/304") => "304 Not Modified\r\nContent-Length: 1000",
                    Some(_) if asked.head.starts_with("HEAD ") => "200 OK\r\nContent-Length: 1000",
                    Some(_) => "200 OK\r\nX-From: real\r\nContent-Length: 0",
                    None => return Ok(()),
                };
                talk.say(format!("HTTP/1.1 {status}\r\n\r\n"));
            }
        });
        let site = site(kind, &real);
        let mut visitor = site.visit();
        for _ in 0..3 {
            visitor.say("HEAD / HTTP/1.1\r\nHost: a.example.com\r\n\r\n");
            assert_eq!(
                visitor.head().unwrap(),
                "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
                "{kind:?}"
            );
            assert_eq!(visitor.get("a.example.com", "/204").line(), "204 No Content");
            assert_eq!(visitor.get("a.example.com", "/304").line(), "304 Not Modified");
            assert_eq!(visitor.get("a.example.com", "/").from(), "real");
            visitor.say("HEAD / HTTP/1.1\r\nHost: nobody.example.com\r\n\r\n");
            assert!(visitor.head().unwrap().starts_with("HTTP/1.1 404 Not Found\r\n"));
        }
    }
}

#[test]
fn an_answer_that_is_cut_never_looks_whole() {
    // A head, what comes of the rest, and whether a reset is its end.
    const CASES: [(&str, &str, bool); 9] = [
        ("1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "xyz", false),
        ("1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n", "xyz", false),
        ("1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "xyz", true),
        ("1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nxyz", false),
        ("1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nxyz\r\n0\r\n", false),
        ("1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nxyz\r\n", true),
        ("1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "+1\r\n", false),
        ("1.1 200 OK\r\n\r\n", "xyz", true),
        ("1.0 200 OK\r\n\r\n", "xyz", true),
    ];
    for kind in BOTH {
        let real = backend(move |talk| {
            let cut_head = ("1.1 200 OK\r\nContent-Le", "", false);
            let (head, rest, reset) = *CASES.get(talk.hear()?.number()).unwrap_or(&cut_head);
            // The visitor has had its head before the rest: what a reset overtakes is lost.
            for piece in [format!("HTTP/{head}").as_str(), rest] {
                talk.say(piece);
                thread::sleep(Duration::from_millis(300));
            }
            if reset {
                rustix::net::sockopt::set_socket_linger(talk.stream(), Some(Duration::ZERO))?;
            }
            Ok(())
        });
        let site = site(kind, &real);
        for (n, case) in CASES.iter().enumerate() {
            let mut visitor = site.visit();
            visitor.say(format!("GET /{n} HTTP/1.1\r\nHost: a.example.com\r\n\r\n"));
            assert!(visitor.head().unwrap().starts_with("HTTP/1."), "{kind:?}: {case:?}");
            let end = visitor.rest().map_err(|error| error.kind());
            assert_eq!(end, Err(ErrorKind::ConnectionReset), "{kind:?}: {case:?}");
        }
        // Of a head that is cut nothing has been passed on: who asked may be told so.
        let mut visitor = site.visit();
        visitor.say(format!("GET /{} HTTP/1.1\r\nHost: a.example.com\r\n\r\n", CASES.len()));
        let end = visitor.hear().map(|answer| answer.line().to_owned()).map_err(|error| error.kind());
        let told = end.as_deref() == Ok("502 Bad Gateway");
        assert!(told || end == Err(ErrorKind::ConnectionReset), "{kind:?}: {end:?}");
    }
}

#[test]
fn the_client_s_death_is_a_cut() {
    for kind in BOTH {
        let real = backend(|talk| {
            talk.hear()?;
            talk.say("HTTP/1.0 200 OK\r\n\r\n");
            loop {
                talk.stream().write_all(&[b'x'; 1000])?;
                thread::sleep(Duration::from_millis(1));
            }
        });
        let mut site = site(kind, &real);
        let mut visitor = site.visit();
        visitor.say(ASK);
        visitor.head().unwrap();
        visitor.bytes(10_000).unwrap();
        site.client.kill();
        let end = visitor.rest().map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "{kind:?}");
    }
}

#[test]
fn behind_an_upgrade_bytes_pass_both_ways() {
    for kind in BOTH {
        let real = backend(|talk| {
            let asked = talk.hear()?;
            assert!(
                asked.head.ends_with("\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
                "{}",
                asked.head
            );
            // It speaks at once, and in the same piece.
            talk.say([SWITCHING, "welcome"].concat());
            while let [byte] = talk.bytes(1)?[..] {
                talk.say([byte]);
            }
            Ok(())
        });
        let mut site = site(kind, &real);
        let mut visitor = site.visit();
        // What a visitor says before the 101 is for the other protocol, if it is one.
        visitor.say([UPGRADE, "GET / HTTP/1.1\r\n\r\n"].concat());
        assert_eq!(visitor.head().unwrap(), SWITCHING, "{kind:?}");
        assert_eq!(visitor.bytes(7).unwrap(), b"welcome");
        assert_eq!(visitor.bytes(18).unwrap(), b"GET / HTTP/1.1\r\n\r\n");
        for word in ["a", "\0\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
            visitor.say(word);
            assert_eq!(visitor.bytes(word.len()).unwrap(), word.as_bytes());
        }
        drop(visitor);
        site.at_rest();
    }
}

#[test]
fn behind_an_upgrade_much_passes_and_each_direction_has_its_own_end() {
    const BYTES: u64 = 8_000_000;
    for kind in BOTH {
        let (tell, told) = mpsc::channel();
        let real = backend(move |talk| {
            talk.hear()?;
            talk.say(SWITCHING);
            let to_visitor = talk.stream().try_clone()?;
            let writer = thread::spawn(move || {
                Pattern::new(2).write(&to_visitor, BYTES).unwrap();
                to_visitor.shutdown(Shutdown::Write).unwrap();
            });
            tell.send(Pattern::new(1).read(talk.stream())).unwrap();
            writer.join().unwrap();
            Ok(())
        });
        let site = site(kind, &real);
        let mut visitor = site.visit();
        visitor.say(UPGRADE);
        assert_eq!(visitor.head().unwrap(), SWITCHING);
        let to_real = visitor.stream().try_clone().unwrap();
        let writer = thread::spawn(move || {
            Pattern::new(1).write(&to_real, BYTES).unwrap();
            to_real.shutdown(Shutdown::Write).unwrap();
        });
        let came = Pattern::new(2).read(visitor.reader());
        assert_eq!(came, (BYTES, Ok(())), "{kind:?}");
        assert_eq!(told.recv_timeout(SOON).unwrap(), (BYTES, Ok(())), "{kind:?}");
        writer.join().unwrap();
    }
}

#[test]
fn an_upgrade_that_is_not_granted_changes_nothing() {
    for kind in BOTH {
        let real = mirror("real");
        let site = site(kind, &real);
        let mut visitor = site.visit();
        visitor.say(
            [UPGRADE, "GET /next HTTP/1.1\r\nHost: a.example.com\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"]
                .concat(),
        );
        let answer = visitor.hear().unwrap();
        assert!(answer.text().starts_with("GET /chat "), "{kind:?}: {}", answer.text());
        let answer = visitor.hear().unwrap();
        assert!(answer.text().starts_with("GET /next "), "{kind:?}: {}", answer.text());
        assert!(!answer.text().contains("6.6.6.6"), "{kind:?}: {}", answer.text());
        assert_eq!(visitor.get("a.example.com", "/").from(), "real");
        assert_eq!(visitor.get("b.example.com", "/").line(), "404 Not Found");
    }
}

#[test]
fn visitors_who_leave_in_the_midst_leave_nothing_behind() {
    for kind in BOTH {
        let (tell, told) = mpsc::channel();
        let real = backend(move |talk| {
            let head = talk.head()?;
            if head.starts_with("GET ") {
                talk.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
                let end = std::iter::repeat_with(|| talk.stream().write_all(&[b'x'; 10_000]))
                    .find(|it| it.is_err());
                tell.send(end.is_some()).unwrap();
            } else {
                let end = std::io::copy(&mut talk.stream(), &mut std::io::sink());
                tell.send(end.is_err()).unwrap();
            }
            Ok(())
        });
        let mut site = site(kind, &real);
        let mut visitors: Vec<_> = (0..6).map(|_| site.visit()).collect();
        for (n, visitor) in visitors.iter_mut().enumerate() {
            match n % 3 {
                0 => {
                    visitor.say(ASK);
                    visitor.head().unwrap();
                    visitor.bytes(50_000).unwrap();
                }
                1 => visitor.say("PUT / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 1000\r\n\r\nabc"),
                _ => visitor.say(
                    "PUT / HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
                ),
            }
        }
        thread::sleep(Duration::from_millis(300));
        drop(visitors);
        for _ in 0..6 {
            assert_eq!(told.recv_timeout(SOON), Ok(true), "{kind:?}: a real server takes a cut for an end");
        }
        // Who goes before the answer, or in the midst of a head.
        site.visit().say(ASK);
        site.visit().say("GET / HTT");
        drop(site.visit());
        site.at_rest();
    }
}

#[test]
fn who_has_said_all_may_close_its_end_and_still_hears() {
    for kind in BOTH {
        let real = backend(|talk| {
            let asked = talk.hear()?;
            thread::sleep(Duration::from_millis(300));
            reflect(talk, "real", &asked)
        });
        let site = site(kind, &real);
        let mut visitor = site.visit();
        visitor.say(ASK);
        visitor.stream().shutdown(Shutdown::Write).unwrap();
        assert_eq!(visitor.hear().unwrap().from(), "real", "{kind:?}");
        assert_eq!(visitor.rest().unwrap(), b"");
    }
}

/// Who begins a request must end it; who begins none is let go in silence.
pub fn visitors_who_say_too_little_are_let_go() {
    let real = mirror("real");
    let mut site = site(Kind::Tls, &real);
    let (mut silent, mut slow, mut served) = (site.visit(), site.visit(), site.visit());
    slow.say("GET / HTTP/1.1\r\n");
    let mut late = site.visit();
    assert_eq!(served.get("a.example.com", "/").from(), "real");
    late.say(ASK);
    assert_eq!(late.hear().unwrap().from(), "real");
    late.say("GET / HTT");
    let begun = Instant::now();
    for visitor in [&mut slow, &mut late] {
        let answer = visitor.hear().unwrap();
        assert_eq!(answer.line(), "408 Request Timeout");
        assert_eq!(answer.values("connection"), ["close"]);
        assert_eq!(visitor.rest().unwrap(), b"");
    }
    let end = silent.rest().map_err(|error| error.kind());
    assert!(matches!(end.as_deref(), Ok([]) | Err(ErrorKind::ConnectionReset)), "{end:?}");
    // Between two requests there is more time.
    thread::sleep(Duration::from_secs(30));
    assert_eq!(served.get("a.example.com", "/").from(), "real");
    served.stream().set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let asked = begun.elapsed();
    assert_eq!(served.rest().unwrap(), b"");
    let idle = begun.elapsed() - asked;
    assert!(idle > Duration::from_secs(60), "let go after {idle:?}");
    drop((silent, slow, late, served));
    site.at_rest();
}

/// While a client is away its visitors wait; for 10 s.
pub fn visitors_of_a_client_that_is_away_wait_for_it() {
    let real = mirror("real");
    let mut site = site(Kind::Tls, &real);
    let mut kept = site.visit();
    assert_eq!(kept.get("a.example.com", "/").from(), "real");
    site.client.kill();
    let mut waiting = [site.visit(), kept];
    for visitor in &mut waiting {
        visitor.say("POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 2\r\n\r\nok");
    }
    thread::sleep(Duration::from_secs(3));
    site.client_again();
    for visitor in &mut waiting {
        let answer = visitor.hear().unwrap();
        assert_eq!(answer.from(), "real");
        assert!(answer.text().ends_with("\r\n\r\nok"));
    }
    site.client.kill();
    let mut waiting = [site.visit(), site.visit()];
    for visitor in &mut waiting {
        visitor.say(ASK);
    }
    for visitor in &mut waiting {
        let answer = visitor.hear().unwrap();
        assert_eq!(answer.line(), "503 Service Unavailable");
        assert_eq!(answer.values("retry-after").len(), 1);
    }
    drop(waiting);
    site.server.process.wait_for("logged out: nothing was heard", Duration::from_secs(60));
    // Its license may come back, so this is not the 404 of a name that nobody knows.
    assert_eq!(site.visit().get("a.example.com", "/").line(), "503 Service Unavailable");
}

/// A queue that is full takes no connection and refuses none.
pub fn a_real_server_that_never_answers_a_call_is_a_gateway_timeout() {
    let hole = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    rustix::net::listen(&hole, 0).unwrap();
    let address: SocketAddr = hole.local_addr().unwrap();
    let _queued: Vec<_> =
        (0..3).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(300))).collect();
    let site = Site::new(Kind::Tls, &[format!("a.example.com:{}", address.port())]);
    let mut visitor = site.visit();
    visitor.say(ASK);
    assert_eq!(visitor.hear().unwrap().line(), "504 Gateway Timeout");
}
