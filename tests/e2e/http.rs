//! Names over HTTP: whose each request is, what is refused and how, and what the real server is told.

use std::io::Read;
use std::net::Ipv4Addr;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::harness::{BOTH, Backend, Kind, SOON, Server, port, visit};
use super::process::eventually;
use super::web::{Site, Talk, backend, mirror, reflect};

#[test]
fn each_request_of_a_connection_goes_where_it_belongs() {
    for kind in BOTH {
        let (blog, shop) = (mirror("blog"), mirror("shop"));
        let site = Site::new(
            kind,
            &[format!("blog.example.com:{}", blog.port), format!("shop.example.com:{}", shop.port)],
        );
        let mut visitor = site.visit();
        for n in 0..20 {
            for name in ["blog", "shop"] {
                let body = format!("{name} {n}").repeat(n * n);
                visitor.say(format!(
                    "POST /{n} HTTP/1.1\r\nHost: {name}.example.com\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                ));
                let answer = visitor.hear().unwrap();
                assert_eq!((answer.line(), answer.from()), ("200 OK", name), "{kind:?}");
                assert!(
                    answer.text().starts_with(&format!("POST /{n} HTTP/1.1\r\nHost: {name}.example.com\r\n"))
                );
                assert!(answer.text().ends_with(&format!("\r\n\r\n{body}")));
            }
            assert_eq!(visitor.get("other.example.com", "/").line(), "404 Not Found", "{kind:?}");
        }
    }
}

#[test]
fn the_most_specific_name_and_the_longest_path_win() {
    let [exact, wild, deep, root, api, v1] = ["exact", "wild", "deep", "root", "api", "v1"].map(mirror);
    let site = Site::new(
        Kind::Tls,
        &[
            format!("blog.example.com:{}", exact.port),
            format!("*.example.com:{}", wild.port),
            format!("*.deep.example.com:{}", deep.port),
            format!("example.com:{}", root.port),
            format!("example.com/api:{}", api.port),
            format!("example.com/api/v1:{}", v1.port),
        ],
    );
    let mut visitor = site.visit();
    for (host, path, from) in [
        ("blog.example.com", "/", "exact"),
        ("BLOG.Example.COM", "/", "exact"),
        ("blog.example.com.", "/", "exact"),
        ("blog.example.com:8080", "/", "exact"),
        ("Blog.example.com.:80", "/", "exact"),
        ("shop.example.com", "/", "wild"),
        ("a.b.c.example.com", "/", "wild"),
        ("x.blog.example.com", "/", "wild"),
        ("deep.example.com", "/", "wild"),
        ("x.deep.example.com", "/", "deep"),
        ("a.b.Deep.example.com.", "/api", "deep"),
        ("example.com", "/", "root"),
        ("example.com", "/apix", "root"),
        ("example.com", "/x/api", "root"),
        ("example.com", "/?/api", "root"),
        ("example.com", "/api", "api"),
        ("example.com", "/api/", "api"),
        ("example.com", "/api?q", "api"),
        ("example.com", "/api/v1x", "api"),
        ("example.com", "/api/v1", "v1"),
        ("EXAMPLE.com.:1", "/api/v1/x?y", "v1"),
        ("evilexample.com", "/", "nobody"),
        ("example.com.evil.com", "/", "nobody"),
        ("example.org", "/", "nobody"),
        ("com", "/", "nobody"),
        ("127.0.0.1", "/", "nobody"),
        ("[::1]", "/", "nobody"),
        ("", "/", "nobody"),
    ] {
        let answer = visitor.get(host, path);
        assert_eq!(answer.from(), from, "{host} {path}");
        if from == "nobody" {
            assert_eq!(answer.line(), "404 Not Found", "{host} {path}");
        } else {
            // The path is not stripped.
            let told = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
            assert!(answer.text().starts_with(&told), "{}", answer.text());
        }
    }
}

#[test]
fn a_path_that_nobody_serves_is_not_found() {
    let api = mirror("api");
    let site = Site::new(Kind::Tls, &[format!("example.com/api:{}", api.port)]);
    let mut visitor = site.visit();
    for path in ["/", "/apix", "/API", "/x/api", "/?/api", "/api;x"] {
        assert_eq!(visitor.get("example.com", path).line(), "404 Not Found", "{path}");
    }
    // What the real server could take for another path is nobody's.
    for path in ["/api/../admin", "/api/%2E%2e/admin", "/api/..%2fadmin", "/api/..;/x", "//api", "/%61pi"] {
        assert_eq!(site.visit().get("example.com", path).line(), "400 Bad Request", "{path}");
    }
    assert_eq!(visitor.get("example.com", "/api/x").from(), "api");
}

#[test]
fn what_is_ambiguous_is_refused_and_the_connection_closed() {
    for kind in BOTH {
        let (tell, told) = mpsc::channel();
        let real = backend(move |talk| {
            while let Ok(asked) = talk.hear() {
                tell.send(asked.head.clone()).unwrap();
                reflect(talk, "real", &asked)?;
            }
            Ok(())
        });
        let site = Site::new(kind, &[format!("a.example.com:{}", real.port)]);
        let with = |headers: &str| format!("POST /x HTTP/1.1\r\nHost: a.example.com\r\n{headers}\r\n");
        let long = format!("X: {}\r\n", "y".repeat(9000));
        for (bytes, line) in [
            (with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n", "400 Bad Request"),
            (with("Content-Length: 5\r\nContent-Length: 6\r\n") + "hello", "400 Bad Request"),
            (with("Content-Length: +5\r\n") + "hello", "400 Bad Request"),
            (with("Host: b.example.com\r\n"), "400 Bad Request"),
            (with("A: b\nC: d\r\n"), "400 Bad Request"),
            (with("A: b\r\n folded\r\n"), "400 Bad Request"),
            (with("A : b\r\n"), "400 Bad Request"),
            (with("A: \0\r\n"), "400 Bad Request"),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400 Bad Request"),
            ("GET / HTTP/1.1\r\nHost: me@a.example.com\r\n\r\n".to_owned(), "400 Bad Request"),
            (
                "CONNECT a.example.com:80 HTTP/1.1\r\nHost: a.example.com:80\r\n\r\n".to_owned(),
                "400 Bad Request",
            ),
            (
                "GET http://b.example.com/ HTTP/1.1\r\nHost: a.example.com\r\n\r\n".to_owned(),
                "400 Bad Request",
            ),
            ("\x16\x03\x01\x02\0\x01\0".to_owned(), "400 Bad Request"),
            (with(&long), "431 Request Header Fields Too Large"),
            (with(&"X: y\r\n".repeat(64)), "431 Request Header Fields Too Large"),
            ("X".repeat(9000), "431 Request Header Fields Too Large"),
            (with("Transfer-Encoding: gzip, chunked\r\n"), "501 Not Implemented"),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "505 HTTP Version Not Supported"),
        ] {
            // What stands behind it is not read as another request.
            let behind = "GET /smuggled HTTP/1.1\r\nHost: a.example.com\r\n\r\n";
            let (answer, end) = site.told(bytes.clone() + behind);
            assert_eq!(answer.line(), line, "{kind:?}: {bytes:?}");
            assert_eq!(answer.values("connection"), ["close"], "{bytes:?}");
            assert_eq!(end.map_err(|error| error.kind()), Ok(Vec::new()), "{bytes:?}");
        }
        assert_eq!(site.visit().get("a.example.com", "/last").from(), "real");
        let asked = told.recv_timeout(SOON).unwrap();
        assert!(asked.starts_with("GET /last "), "{asked}");
    }
}

#[test]
fn a_body_that_two_programs_end_differently_goes_no_further() {
    let (tell, told) = mpsc::channel();
    let real = backend(move |talk| {
        let head = talk.head()?;
        let mut rest = Vec::new();
        let end = talk.stream().read_to_end(&mut rest).map_err(|error| error.kind());
        tell.send((head, end.is_ok())).unwrap();
        Ok(())
    });
    let site = Site::new(Kind::Tls, &[format!("a.example.com:{}", real.port)]);
    for body in ["5\nhello\n0\n\n", "0x5\r\nhello\r\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "+5\r\nhello\r\n"] {
        let mut visitor = site.visit();
        visitor.say("POST / HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: chunked\r\n\r\n");
        let _ = visitor.stream();
        visitor.say(body);
        // Refused, or cut: served it is not.
        let answer = visitor.hear().map(|answer| answer.line().to_owned());
        assert!(answer.as_deref().map_or(true, |line| line == "400 Bad Request"), "{body:?}: {answer:?}");
        let (_, ended_well) = told.recv_timeout(SOON).unwrap();
        assert!(!ended_well, "{body:?}: the real server takes a cut for an end");
    }
}

#[test]
fn who_must_log_in_is_asked_to() {
    for kind in BOTH {
        let real = mirror("real");
        let site = Site::new(kind, &[format!("a.example.com:{},auth=me:pass:word", real.port)]);
        let mut visitor = site.visit();
        let refused = visitor.get("a.example.com", "/");
        assert_eq!(refused.line(), "401 Unauthorized", "{kind:?}");
        let realm = "Basic realm=\"a.example.com\", charset=\"UTF-8\"";
        assert_eq!(refused.values("www-authenticate"), [realm], "it tells nobody the name");
        let ask = |token: &str| {
            format!("GET / HTTP/1.1\r\nHost: a.example.com\r\nAuthorization: Basic {token}\r\n\r\n")
        };
        // printf 'me:pass:wordy' | base64; printf 'me:pass:word' | base64
        let mut visitor = site.visit();
        visitor.say(ask("bWU6cGFzczp3b3JkeQ=="));
        assert_eq!(visitor.hear().unwrap().line(), "401 Unauthorized");
        let mut visitor = site.visit();
        visitor.say(ask("bWU6cGFzczp3b3Jk"));
        let served = visitor.hear().unwrap();
        assert_eq!(served.from(), "real");
        assert!(!served.text().to_lowercase().contains("authorization"), "the password is nt's to know");
        // A body that nobody wants is not read as the next request.
        let body =
            "GET /smuggled HTTP/1.1\r\nHost: a.example.com\r\nAuthorization: Basic bWU6cGFzczp3b3Jk\r\n\r\n";
        let (answer, rest) = site.told(format!(
            "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(answer.line(), "401 Unauthorized");
        assert!(!rest.is_ok_and(|rest| rest.starts_with(b"HTTP/1.1 200")), "it was smuggled");
    }
}

#[test]
fn a_real_server_that_is_down_is_a_bad_gateway() {
    for kind in BOTH {
        let down = port();
        let site = Site::new(kind, &[format!("a.example.com:{down}")]);
        let mut visitor = site.visit();
        for _ in 0..3 {
            let answer = visitor.get("a.example.com", "/");
            assert_eq!(answer.line(), "502 Bad Gateway", "{kind:?}");
            assert!(answer.text().contains("<h1>502 Bad Gateway</h1>"));
            if answer.values("connection") == ["close"] {
                visitor = site.visit();
            }
        }
        visitor.say("HEAD / HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n");
        assert!(visitor.head().unwrap().starts_with("HTTP/1.1 502 "));
        assert_eq!(visitor.rest().unwrap(), b"", "HEAD has no body");
        let _up = Backend::at((Ipv4Addr::LOCALHOST, down).into(), |stream| {
            let mut talk = Talk::new(stream);
            while let Ok(asked) = talk.hear() {
                if asked.is_end() || reflect(&talk, "up", &asked).is_err() {
                    return;
                }
            }
        });
        assert_eq!(site.visit().get("a.example.com", "/").from(), "up", "{kind:?}");
    }
}

#[test]
fn a_real_server_that_speaks_no_http_is_a_bad_gateway() {
    const NONSENSE: [&str; 5] = [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "",
    ];
    let real = backend(move |talk| {
        let asked = talk.hear()?;
        talk.say(NONSENSE[asked.number()]);
        Ok(())
    });
    let site = Site::new(Kind::Tls, &[format!("a.example.com:{}", real.port)]);
    for (n, nonsense) in NONSENSE.iter().enumerate() {
        let mut visitor = site.visit();
        visitor.say(format!("POST /{n} HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 0\r\n\r\n"));
        let answer = visitor.hear().map(|answer| answer.line().to_owned());
        assert_eq!(answer.as_deref().map_err(|error| error.kind()), Ok("502 Bad Gateway"), "{nonsense:?}");
        assert_eq!(visitor.rest().unwrap(), b"", "{nonsense:?}");
    }
}

#[test]
fn the_real_server_is_told_who_visits() {
    let real = mirror("real");
    let name = |options: &str, n: usize| format!("a{n}.example.com:{}{options}", real.port);
    let options =
        ["", ",host=inner.lan:8080", ",header=X-Key:s e,header=Authorization:Bearer t", ",auth=me:password"];
    let mappings: Vec<_> = options.iter().enumerate().map(|(n, options)| name(options, n)).collect();
    let site = Site::new(Kind::Tls, &mappings);
    let mut visitor = site.visit();
    let visitors_own = "X-Forwarded-For: 6.6.6.6\r\nx_forwarded_proto: https\r\nX-Forwarded-Host: evil.com\r\n\
        X-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Key: mine\r\nX_Key: mine\r\nConnection: X-Forwarded-For, X-Drop\r\n\
        X-Drop: 1\r\nTE: trailers\r\nUpgrade: h2c\r\nCookie: a=b\r\n";
    let word = "bWU6cGFzc3dvcmQ=";
    for (n, host, own) in [
        (
            0,
            "A0.example.com:80",
            format!("X-Key: mine\r\nX_Key: mine\r\nCookie: a=b\r\nAuthorization: Basic {word}\r\n"),
        ),
        (
            1,
            "inner.lan:8080",
            format!("X-Key: mine\r\nX_Key: mine\r\nCookie: a=b\r\nAuthorization: Basic {word}\r\n"),
        ),
        (2, "A2.example.com:80", "Cookie: a=b\r\nX-Key: s e\r\nAuthorization: Bearer t\r\n".to_owned()),
        (3, "A3.example.com:80", "X-Key: mine\r\nX_Key: mine\r\nCookie: a=b\r\n".to_owned()),
    ] {
        let shown = format!("A{n}.example.com:80");
        visitor.say(format!(
            "GET /x?y HTTP/1.1\r\nHost: {shown}\r\n{visitors_own}Authorization: Basic {word}\r\n\r\n"
        ));
        let told = visitor.hear().unwrap().text();
        let expected = format!(
            "GET /x?y HTTP/1.1\r\nHost: {host}\r\n{own}X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n\
             X-Forwarded-Host: {shown}\r\nForwarded: for=127.0.0.1;host=\"{shown}\";proto=http\r\n\r\n"
        );
        assert_eq!(told, expected);
    }
}

#[test]
fn the_proxy_protocol_comes_first_on_each_connection() {
    for (kind, version) in [(Kind::Tls, "v1"), (Kind::Plain, "v2")] {
        let real = backend(move |talk| {
            // The head of version 1 ends as a line does; that of version 2 is as long as it says.
            let header = if version == "v1" { talk.line()?.into_bytes() } else { talk.bytes(28)? };
            loop {
                let mut asked = talk.hear()?;
                if asked.is_end() {
                    return Ok(());
                }
                asked.body = header.clone();
                reflect(talk, "real", &asked)?;
            }
        });
        let site = Site::new(kind, &[format!("a.example.com:{},proxy={version}", real.port)]);
        let [mut first, mut second] = [site.visit(), site.visit()];
        for visitor in [&mut first, &mut second] {
            let own = visitor.stream().local_addr().unwrap().port();
            for _ in 0..3 {
                let answer = visitor.get("a.example.com", "/");
                let said = &answer.body[answer.text().find("\r\n\r\n").unwrap() + 4..];
                if version == "v1" {
                    let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own} {}", site.port());
                    assert_eq!(said, line.as_bytes());
                } else {
                    assert_eq!(said[..16], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C");
                    assert_eq!(said[24..], [own.to_be_bytes(), site.port().to_be_bytes()].concat());
                }
            }
        }
    }
}

#[test]
fn a_port_may_be_read_as_http_too() {
    let (real, public) = (mirror("real"), port());
    let site = Site::new(Kind::Tls, &[format!("{public}:127.0.0.1:{}/http,header=X-Key:s", real.port)]);
    let mut visitor = Talk::new(visit(public));
    for host in ["127.0.0.1", "whoever.example.com", "[::1]:80"] {
        let answer = visitor.get(host, "/");
        assert_eq!(answer.from(), "real");
        assert!(
            answer.text().contains("\r\nX-Key: s\r\nX-Forwarded-For: 127.0.0.1\r\n"),
            "{}",
            answer.text()
        );
    }
    visitor.say("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(visitor.hear().unwrap().line(), "400 Bad Request");
    drop(site);
}

#[test]
fn what_the_license_does_not_permit_is_not_served() {
    let real = mirror("real");
    let server = Server::start_with_names();
    // It permits every name, and might come.
    server.license(&["remove", "default"]);
    let license = server.license(&["add", "blog", "--hosts", "blog.example.com,*.example.org"]);
    let names =
        ["blog.example.com", "shop.example.com", "x.blog.example.com", "*.example.com", "example.org"];
    let mappings = names.map(|name| format!("{name}:{}", real.port));
    let client = server.client_with(Kind::Tls, &license, &mappings, |_| {});
    client.wait_for(&format!("-> 127.0.0.1:{} ready", real.port), SOON);
    for name in &names[1..] {
        let refused = |line: &String| line.contains(name) && line.contains("does not permit");
        eventually(&format!("the client says that {name} is not permitted"), SOON, || {
            client.log().lines().iter().any(refused)
        });
    }
    let mut visitor = Talk::new(visit(server.names.unwrap()));
    assert_eq!(visitor.get("blog.example.com", "/").from(), "real");
    for name in ["shop.example.com", "x.blog.example.com", "example.org"] {
        assert_eq!(visitor.get(name, "/").line(), "404 Not Found", "{name}");
    }
    drop(visitor);
}

#[test]
fn who_comes_second_to_a_name_gets_it_when_the_first_goes() {
    let (one, other) = (mirror("one"), mirror("other"));
    let mut site = Site::new(Kind::Tls, &[format!("a.example.com:{}", one.port)]);
    let license = site.server.license(&["add", "second", "--hosts", "a.example.com"]);
    let mapping = [format!("a.example.com:{}", other.port)];
    let second = site.server.client_with(Kind::Plain, &license, &mapping, |_| {});
    second.wait_for("another mapping serves this name", SOON);
    assert_eq!(site.visit().get("a.example.com", "/").from(), "one");
    site.server.process.sessions = 2;
    site.client.signal(rustix::process::Signal::TERM);
    site.client.wait(SOON);
    second.wait_for(&format!("-> 127.0.0.1:{} ready", other.port), Duration::from_secs(90));
    let answer = site.visit().get("a.example.com", "/");
    assert_eq!(answer.from(), "other", "{}", answer.head);
}

#[test]
fn many_visitors_each_get_their_own() {
    for kind in BOTH {
        let reals = ["a", "b", "c"].map(mirror);
        let names: Vec<_> = reals
            .iter()
            .zip(["a", "b", "c"])
            .map(|(real, name)| format!("{name}.example.com:{}", real.port))
            .collect();
        let site = Arc::new(Site::new(kind, &names));
        let visitors: Vec<_> = (0..60)
            .map(|n: usize| {
                let site = Arc::clone(&site);
                thread::spawn(move || {
                    let mut visitor = site.visit();
                    for round in 0..20 {
                        let name = ["a", "b", "c"][(n + round) % 3];
                        let answer = visitor.get(&format!("{name}.example.com"), &format!("/{n}/{round}"));
                        assert_eq!(answer.from(), name);
                        assert!(answer.text().starts_with(&format!("GET /{n}/{round} ")));
                    }
                })
            })
            .collect();
        visitors.into_iter().for_each(|visitor| visitor.join().unwrap());
    }
}
