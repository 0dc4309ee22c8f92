//! HTTP as nt reads it: what is taken, what is refused and how, what the real server is told, and where each message ends.

use nt::http::{Body, Request, Status, header_space};

#[path = "http/answers.rs"]
mod answers;
#[path = "http/forward.rs"]
mod forward;
#[path = "http/proxied.rs"]
mod proxied;

/// Reads the head of a request, and looks at it.
fn read<T>(bytes: &[u8], look: impl FnOnce(Request<'_>, usize) -> T) -> Result<Option<T>, Status> {
    let mut space = header_space();
    Ok(Request::parse(bytes, &mut space)?.map(|(request, length)| look(request, length)))
}

/// Looks at the head of a request that is whole and good.
fn good<T>(text: &str, look: impl FnOnce(Request<'_>) -> T) -> T {
    match read(text.as_bytes(), |request, length| (look(request), length)) {
        Ok(Some((seen, length))) => {
            assert_eq!(length, text.len(), "{text:?}");
            seen
        }
        Ok(None) => panic!("{text:?} is not whole"),
        Err(status) => panic!("{text:?}: {status:?}"),
    }
}

/// A request of version 1.1 with these headers, each with its line end.
fn with(headers: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a.com\r\n{headers}\r\n")
}

/// What is refused whatever the rest is like: how the request begins, how it goes on, and what is answered.
fn assert_refused(cases: &[(&str, Status)]) {
    for (text, status) in cases {
        assert_eq!(read(text.as_bytes(), |_, _| ()), Err(*status), "{text:?}");
    }
}

fn assert_headers_refused(cases: &[(&str, Status)]) {
    for (headers, status) in cases {
        assert_eq!(read(with(headers).as_bytes(), |_, _| ()), Err(*status), "{headers:?}");
    }
}

#[test]
fn whom_a_request_is_for() {
    for (text, host, path) in [
        ("GET / HTTP/1.1\r\nHost: a.com\r\n\r\n", "a.com", "/"),
        ("GET /x?y=/../z HTTP/1.1\r\nhost:a.com\r\n\r\n", "a.com", "/x"),
        ("GET /?x HTTP/1.1\r\nHOST: \t a.com \t\r\n\r\n", "a.com", "/"),
        ("GET /x HTTP/1.1\r\nHost: A.CoM.:8080\r\n\r\n", "a.com", "/x"),
        ("GET /x HTTP/1.1\r\nHost: a.com:\r\n\r\n", "a.com", "/x"),
        ("GET /x HTTP/1.1\r\nHost: a_b.com\r\n\r\n", "a_b.com", "/x"),
        ("GET /x HTTP/1.1\r\nHost: 10.0.0.1:80\r\n\r\n", "10.0.0.1", "/x"),
        ("GET /x HTTP/1.1\r\nHost: [FD00::5]:80\r\n\r\n", "[FD00::5]:80", "/x"),
        ("GET /x HTTP/1.1\r\nHost:\r\n\r\n", "", "/x"),
        ("GET /x HTTP/1.0\r\n\r\n", "", "/x"),
        ("GET /x HTTP/1.0\r\nHost: a.com\r\n\r\n", "a.com", "/x"),
        ("GET http://a.com/x?y HTTP/1.1\r\nHost: a.com\r\n\r\n", "a.com", "/x"),
        ("GET HTTP://A.com:80/x HTTP/1.1\r\nHost: a.COM:80\r\n\r\n", "a.com", "/x"),
        ("GET https://a.com HTTP/1.1\r\nHost: a.com\r\n\r\n", "a.com", "/"),
        ("GET http://a.com?y HTTP/1.1\r\nHost: a.com\r\n\r\n", "a.com", "/"),
        ("GET http://a.com/ HTTP/1.1\r\nHost:\r\n\r\n", "a.com", "/"),
        ("GET http://a.com/ HTTP/1.0\r\n\r\n", "a.com", "/"),
        ("OPTIONS * HTTP/1.1\r\nHost: a.com\r\n\r\n", "a.com", "*"),
        ("get / HTTP/1.1\r\nHost: a.com\r\n\r\n", "a.com", "/"),
        ("M-SEARCH /%zz\u{e9} HTTP/1.1\r\nHost: a.com\r\n\r\n", "a.com", "/%zz\u{e9}"),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a.com\r\n\r\n", "a.com", "/"),
    ] {
        let seen = good(text, |request| (request.host.clone().into_owned(), request.path().to_owned()));
        assert_eq!((seen.0.as_str(), seen.1.as_str()), (host, path), "{text:?}");
    }
}

#[test]
fn what_is_no_request() {
    use Status::{BadRequest as Bad, HeadTooLarge, NotThisVersion};
    assert_refused(&[
        ("CONNECT a.com:443 HTTP/1.1\r\nHost: a.com:443\r\n\r\n", Bad),
        ("CONNECT / HTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        ("connect a.com:443 HTTP/1.1\r\nHost: a.com:443\r\n\r\n", Bad),
        ("GET * HTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        ("OPTIONS *x HTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        ("GET x HTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        ("GET ?x HTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        ("GET a.com/x HTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        ("GET /#x HTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        ("GET /?x#y HTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        ("GET http://a.com/#x HTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        ("GET http://a.com#x HTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        ("GET ftp://a.com/ HTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        ("GET ://a.com/ HTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        ("GET http:/a.com/ HTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        ("GET /\r\n", Bad),
        ("GET / x HTTP/1.1\r\nHost: a.com\r\n\r\n", NotThisVersion),
        ("GET  / HTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        ("GET /  HTTP/1.1\r\nHost: a.com\r\n\r\n", NotThisVersion),
        ("GET\t/\tHTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        (" GET / HTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        ("G\u{e9}T / HTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        ("GET / HTTP/1.1 \r\nHost: a.com\r\n\r\n", Bad),
        ("GET /\0 HTTP/1.1\r\nHost: a.com\r\n\r\n", Bad),
        ("GET / http/1.1\r\nHost: a.com\r\n\r\n", NotThisVersion),
        ("GET / HTTP/1.2\r\nHost: a.com\r\n\r\n", NotThisVersion),
        ("GET / HTTP/2.0\r\nHost: a.com\r\n\r\n", NotThisVersion),
        ("GET / HTTP/01.1\r\nHost: a.com\r\n\r\n", NotThisVersion),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NotThisVersion),
        ("\x16\x03\x01\x02\0\x01\0\x01\x7c\x03\x03", Bad),
        ("SSH-2.0-x\r\n", Bad),
    ]);
    assert_eq!(read(b"GET /\xff HTTP/1.1\r\nHost: a.com\r\n\r\n", |_, _| ()), Err(Bad));
    // The Host is one of them.
    good(&with(&"X: y\r\n".repeat(63)), |_| ());
    assert_headers_refused(&[(&"X: y\r\n".repeat(64), HeadTooLarge)]);
}

#[test]
fn a_host_that_is_none_or_two() {
    for hosts in [
        "",
        "Host: a.com\r\nHost: a.com\r\n",
        "Host: a.com\r\nhOST: b.com\r\n",
        "Host:\r\nHost: b.com\r\n",
        "Host: a.com, b.com\r\n",
        "Host: a.com b.com\r\n",
        "Host: me@a.com\r\n",
        "Host: me:word@a.com\r\n",
        "Host: http://a.com\r\n",
        "Host: a.com/\r\n",
        "Host: a.com/x\r\n",
        "Host: a.com\\x\r\n",
        "Host: a.com?x\r\n",
        "Host: a.com#x\r\n",
        "Host: a.com:80:80\r\n",
        "Host: a.com:http\r\n",
        "Host: a.com:-1\r\n",
        "Host: a.com:+80\r\n",
        "Host: a%2ecom\r\n",
        "Host: \"a.com\"\r\n",
        "Host: a.com;x\r\n",
        "Host: b\u{fc}cher.de\r\n",
        "Host: ::1\r\n",
        "Host: [::1\r\n",
        "Host: [::1]x\r\n",
        "Host: [::1]80\r\n",
        "Host: [::1]:x\r\n",
        "Host: [::1%eth0]\r\n",
        "Host: [a.com]\r\n",
        "Host: a.com:000080\r\n",
        "Host: [::1]:000080\r\n",
    ] {
        for text in [
            format!("GET / HTTP/1.1\r\n{hosts}\r\n"),
            format!("GET / HTTP/1.1\r\nA: b\r\n{hosts}C: d\r\n\r\n"),
            format!("GET http://a.com/ HTTP/1.1\r\n{hosts}\r\n"),
        ] {
            assert_eq!(read(text.as_bytes(), |_, _| ()), Err(Status::BadRequest), "{text:?}");
        }
    }
    assert_refused(&[
        ("GET / HTTP/1.0\r\nHost: a.com\r\nHost: a.com\r\n\r\n", Status::BadRequest),
        ("GET http://b.com/ HTTP/1.1\r\nHost: a.com\r\n\r\n", Status::BadRequest),
        ("GET http://a.com:80/ HTTP/1.1\r\nHost: a.com\r\n\r\n", Status::BadRequest),
        ("GET http://a.com./ HTTP/1.1\r\nHost: a.com\r\n\r\n", Status::BadRequest),
        ("GET http://a.com@b.com/ HTTP/1.1\r\nHost: a.com\r\n\r\n", Status::BadRequest),
        ("GET http://me@a.com/ HTTP/1.1\r\nHost: me@a.com\r\n\r\n", Status::BadRequest),
        ("GET http://a.com\\@b.com/ HTTP/1.1\r\nHost: b.com\r\n\r\n", Status::BadRequest),
        ("GET http://me@a.com/ HTTP/1.0\r\n\r\n", Status::BadRequest),
    ]);
}

/// The head that the real server gets says the host more often than the visitor does, and has its room.
#[test]
fn a_host_has_a_bound() {
    let (name, address) = ("a".repeat(253), format!("[{}]", ":".repeat(252)));
    let ask = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for host in [format!("{name}:65535"), format!("{name}."), format!("{address}:65535")] {
        good(&ask(&host), |_| ());
    }
    for host in [
        format!("a{name}"),
        format!("a{name}:80"),
        "a".repeat(8000),
        "a.".repeat(4000),
        format!("[:{}", &address[1..]),
        format!("[{}]", ":".repeat(8000)),
        format!("a.com:{}", "0".repeat(8000)),
        format!("{address}:{}", "0".repeat(7000)),
    ] {
        let whole = format!("GET http://{host}/ HTTP/1.0\r\n\r\n");
        for text in [ask(&host), whole] {
            assert_eq!(read(text.as_bytes(), |_, _| ()), Err(Status::BadRequest), "{text:?}");
        }
    }
}

#[test]
fn lines_that_two_programs_read_differently() {
    let bad = |headers| (headers, Status::BadRequest);
    assert_headers_refused(&[
        bad("A: b\nC: d\r\n"),
        bad("A: b\n"),
        bad("\n"),
        bad("A: b\rC: d\r\n"),
        bad("A: b\r\r\n"),
        bad("A: b\r\n folded\r\n"),
        bad("A: b\r\n\tfolded\r\n"),
        bad(" A: b\r\n"),
        bad("A : b\r\n"),
        bad("A\t: b\r\n"),
        bad("A\r\n"),
        bad(": b\r\n"),
        bad("A(: b\r\n"),
        bad("A\0: b\r\n"),
        bad("A: b\0\r\n"),
        bad("A: b\x01\r\n"),
        bad("A: b\x7f\r\n"),
        bad("A\u{e9}: b\r\n"),
        bad("Content-Length : 5\r\n"),
        bad("Transfer-Encoding\t: chunked\r\n"),
        bad("Transfer-Encoding:\r\n chunked\r\n"),
    ]);
    assert_refused(&[
        ("GET / HTTP/1.1\nHost: a.com\n\n", Status::BadRequest),
        ("GET / HTTP/1.1\nHost: a.com\r\n\r\n", Status::BadRequest),
        ("GET / HTTP/1.1\r\nHost: a.com\r\n\n", Status::BadRequest),
        ("GET / HTTP/1.1\r\nHost: a.com\n\r\n", Status::BadRequest),
        ("GET / HTTP/1.1\rHost: a.com\r\n\r\n", Status::BadRequest),
        ("GET / HTTP/1.1\r\n Host: a.com\r\n\r\n", Status::BadRequest),
        ("\nGET / HTTP/1.1\r\nHost: a.com\r\n\r\n", Status::BadRequest),
        ("\rGET / HTTP/1.1\r\nHost: a.com\r\n\r\n", Status::BadRequest),
    ]);
    // Values may hold what people write.
    good(&with("A:\r\nB: \u{e9}\t x, y;\"z\" \r\n"), |_| ());
}

#[test]
fn where_the_body_of_a_request_ends() {
    for (headers, body) in [
        ("", Body::NONE),
        ("Content-Length: 0\r\n", Body::NONE),
        ("content-length:5\r\n", Body::Length(5)),
        ("Content-Length: \t 005 \t\r\n", Body::Length(5)),
        ("Content-Length: 18446744073709551615\r\n", Body::Length(u64::MAX)),
        ("Transfer-Encoding: chunked\r\n", Body::CHUNKED),
        ("TRANSFER-ENCODING:  Chunked \r\n", Body::CHUNKED),
        // In disguise they are none, and do not travel.
        ("Content_Length: 5\r\n", Body::NONE),
        ("Content-Length: 5\r\nTransfer_Encoding: chunked\r\n", Body::Length(5)),
    ] {
        assert_eq!(good(&with(headers), |request| request.body), body, "{headers:?}");
    }
}

#[test]
fn bodies_that_two_programs_end_differently() {
    use Status::{BadRequest as Bad, NotImplemented as No};
    assert_headers_refused(&[
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Bad),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Bad),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", Bad),
        ("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", Bad),
        ("Transfer-Encoding: chunked\r\nConnection: content-length\r\nContent-Length: 5\r\n", Bad),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", Bad),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Bad),
        ("Content-Length: 5\r\ncontent-length: 5\r\n", Bad),
        ("Content-Length: 5,5\r\n", Bad),
        ("Content-Length: 5, 6\r\n", Bad),
        ("Content-Length: +5\r\n", Bad),
        ("Content-Length: -5\r\n", Bad),
        ("Content-Length: 0x5\r\n", Bad),
        ("Content-Length: 5x\r\n", Bad),
        ("Content-Length: 5 5\r\n", Bad),
        ("Content-Length: 5.0\r\n", Bad),
        ("Content-Length: 1e3\r\n", Bad),
        ("Content-Length: 1_000\r\n", Bad),
        ("Content-Length: \"5\"\r\n", Bad),
        ("Content-Length: \u{665}\r\n", Bad),
        ("Content-Length:\r\n", Bad),
        ("Content-Length: 18446744073709551616\r\n", Bad),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Bad),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Bad),
        ("Transfer-Encoding: chunked, chunked\r\n", No),
        ("Transfer-Encoding: gzip, chunked\r\n", No),
        ("Transfer-Encoding: chunked, identity\r\n", No),
        ("Transfer-Encoding: identity\r\n", No),
        ("Transfer-Encoding: xchunked\r\n", No),
        ("Transfer-Encoding: chunked;x\r\n", No),
        ("Transfer-Encoding: \"chunked\"\r\n", No),
        ("Transfer-Encoding: ,chunked\r\n", No),
        ("Transfer-Encoding: chunked\u{a0}\r\n", No),
        ("Transfer-Encoding:\r\n", No),
    ]);
    assert_refused(&[
        ("POST / HTTP/1.0\r\nHost: a.com\r\nTransfer-Encoding: chunked\r\n\r\n", Bad),
        ("POST / HTTP/1.0\r\nHost: a.com\r\nTransfer-Encoding: x\r\n\r\n", Bad),
        ("POST / HTTP/1.0\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Bad),
    ]);
}

#[test]
fn a_head_is_whole_when_its_empty_line_is() {
    let head = b"POST /x?y HTTP/1.1\r\nHost: a.com\r\nContent-Length: 5\r\n\r\n";
    for cut in 0..head.len() {
        assert_eq!(read(&head[..cut], |_, _| ()), Ok(None), "{cut} bytes");
    }
    for behind in [&b"hello"[..], b"\r\n", b"\0", b"GET / HTTP/1.1\n"] {
        let length = read(&[head, behind].concat(), |request, length| (request.body, length));
        assert_eq!(length, Ok(Some((Body::Length(5), head.len()))), "{behind:?} stands behind it");
    }
}

#[test]
fn which_request_is_the_last() {
    for (headers, last) in [
        ("", false),
        ("Connection: keep-alive\r\n", false),
        ("Connection: close\r\n", true),
        ("Connection: foo, Close\r\n", true),
        ("Connection: foo\r\nconnection:\tclose\r\n", true),
        ("Connection: closed\r\n", false),
        ("X-Connection: close\r\n", false),
    ] {
        assert_eq!(good(&with(headers), |request| request.last), last, "{headers:?}");
    }
    let old = "GET / HTTP/1.0\r\nHost: a.com\r\nConnection: keep-alive\r\n\r\n";
    assert!(good(old, |request| request.last));
}

#[test]
fn who_asks_for_a_websocket() {
    for (headers, upgrade) in [
        ("Connection: Upgrade\r\nUpgrade: websocket\r\n", true),
        ("connection: keep-alive, upgrade\r\nupgrade: WebSocket\r\n", true),
        ("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n", true),
        ("Upgrade: websocket\r\n", false),
        ("Connection: upgrade\r\n", false),
        ("Connection: Upgrade\r\nUpgrade: h2c\r\n", false),
        ("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", false),
        ("Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n", false),
        ("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n", false),
        ("Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n", false),
    ] {
        assert_eq!(good(&with(headers), |request| request.upgrade), upgrade, "{headers:?}");
    }
    let old = "GET / HTTP/1.0\r\nHost: a.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(!good(old, |request| request.upgrade));
}

#[test]
fn what_may_be_asked_twice() {
    for (line, head, repeated) in [
        ("GET", false, true),
        ("HEAD", true, true),
        ("OPTIONS", false, true),
        ("DELETE", false, true),
        ("PUT", false, true),
        ("POST", false, false),
        ("PATCH", false, false),
        ("get", false, false),
        ("FOO", false, false),
    ] {
        let text = format!("{line} / HTTP/1.1\r\nHost: a.com\r\n\r\n");
        let seen = good(&text, |request| (request.is_head(), request.may_be_repeated()));
        assert_eq!(seen, (head, repeated), "{line}");
        let text = format!("{line} / HTTP/1.1\r\nHost: a.com\r\nContent-Length: 1\r\n\r\n");
        assert!(!good(&text, |request| request.may_be_repeated()), "{line} with a body");
    }
    assert!(
        !good(&with("Connection: upgrade\r\nUpgrade: websocket\r\n"), |request| request.may_be_repeated())
    );
}

#[test]
fn which_paths_are_below_a_prefix() {
    let is_below = |target: &str, prefix: &str| {
        good(&format!("GET {target} HTTP/1.1\r\nHost: a.com\r\n\r\n"), |request| request.is_below(prefix))
    };
    for target in [
        "/api",
        "/api/",
        "/api/x",
        "/api?q",
        "/api/x?y=/../..",
        "/api//x",
        "/api/...",
        "/api/.x",
        "/api/x.",
        "/api/..x",
        "/api/%2e%2e%2e",
        "/api/a;..",
        "http://a.com/api",
        "http://a.com/api?x",
    ] {
        assert!(is_below(target, "/api"), "{target}");
    }
    for target in [
        "/",
        "/apix",
        "/ap",
        "/API",
        "/%61pi",
        "//api",
        "/x/api",
        "/?/api",
        "/api%2fx",
        "/api;x",
        "/api\\x",
        "http://a.com",
        "http://a.com?/api",
    ] {
        assert!(!is_below(target, "/api"), "{target}");
    }
    for up in [
        "..",
        ".",
        "%2e%2e",
        "%2E.",
        ".%2e",
        "%2e",
        "..%2fx",
        "..%2Fx",
        "x%2f..",
        "..\\x",
        "x\\..\\",
        "..%5Cx",
        "%2e%2e%5cx",
        "..;",
        "..;x=y",
        "..;/x",
        "%2e%2e;x",
        ".;",
    ] {
        for target in [format!("/api/{up}"), format!("/api/{up}/admin"), format!("/api/x/{up}/{up}")] {
            assert!(!is_below(&target, "/api"), "{target}");
            assert!(!is_below(&target, "/"), "{target}");
        }
    }
}

/// Where a name is divided by path, nobody is to guess what the real server makes of one.
#[test]
fn which_paths_may_be_read_as_others() {
    let unclear = |target: &str| {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a.com\r\n\r\n");
        good(&text, |request| request.may_mean_another_path())
    };
    for target in [
        "/%61dmin",
        "/%41dmin",
        "/x/../admin",
        "/x/%2e%2E/admin",
        "/./admin",
        "//admin",
        "/x//admin",
        "/admin%2f",
        "/admin%2Fx",
        "/x\\..\\admin",
        "/admin%5Cx",
        "/..;/admin",
        "/%7eme",
        "/a%2Db",
        "/x%",
        "/x%2",
        "/%zz",
        "/%%61dmin",
        "http://a.com//admin",
    ] {
        assert!(unclear(target), "{target}");
    }
    for target in [
        "/",
        "/admin",
        "/admin/",
        "/x%20y/b%C3%BCcher",
        "/x%3By",
        "/a.b-c_d~e/...",
        "/?x=//../%61",
        "http://a.com",
        "http://a.com/x",
        "/*",
    ] {
        assert!(!unclear(target), "{target}");
    }
}

#[test]
fn which_paths_could_be_read_as_others() {
    let may = |target: &str| {
        good(&format!("GET {target} HTTP/1.1\r\nHost: a.com\r\n\r\n"), |request| {
            request.may_mean_another_path()
        })
    };
    for target in [
        "/",
        "/a/b.c",
        "/a%20b",
        "/%C3%A9",
        "/a...b",
        "/.well-known/x",
        "/a?b=/../c//%61",
        "/a%3Fb",
        "/a;b=c",
    ] {
        assert!(!may(target), "{target}");
    }
    for target in [
        "//",
        "/a//b",
        "/a/../b",
        "/a/.",
        "/%2e%2e/a",
        "/%61",
        "/%2D",
        "/a%2fb",
        "/a%5Cb",
        "/a%",
        "/a%2",
        "/a%zz",
    ] {
        assert!(may(target), "{target}");
    }
}

#[test]
fn who_knows_the_password() {
    // printf 'me:pass:word' | base64
    const TOKEN: &str = "bWU6cGFzczp3b3Jk";
    let knows = |headers: &str| good(&with(headers), |request| request.knows("me", "pass:word"));
    for headers in [
        format!("Authorization: Basic {TOKEN}\r\n"),
        format!("authorization:basic {TOKEN} \r\n"),
        format!("X: y\r\nAuthorization: BASIC {TOKEN}\r\n"),
    ] {
        assert!(knows(&headers), "{headers:?}");
    }
    for headers in [
        String::new(),
        "Authorization:\r\n".to_owned(),
        "Authorization: Basic\r\n".to_owned(),
        "Authorization: Basic \r\n".to_owned(),
        format!("Authorization: Basic{TOKEN}\r\n"),
        format!("Authorization: Bearer {TOKEN}\r\n"),
        format!("Authorization: {TOKEN}\r\n"),
        format!("Authorization: Basic {}\r\n", TOKEN.to_lowercase()),
        format!("Authorization: Basic {TOKEN}=\r\n"),
        format!("Authorization: Basic {}\r\n", &TOKEN[..15]),
        "Authorization: Basic me:pass:word\r\n".to_owned(),
        format!("Authorization: Basic {TOKEN}\r\nAuthorization: Basic {TOKEN}\r\n"),
        format!("Proxy-Authorization: Basic {TOKEN}\r\n"),
        format!("Authorization_: Basic {TOKEN}\r\n"),
    ] {
        assert!(!knows(&headers), "{headers:?}");
    }
}
