//! What the real server is told, and what it is not.

use std::net::IpAddr;

use nt::http::Scheme;
use nt::mapping;

use super::{good, with};

/// What the real server gets of a request.
fn forwarded(text: &str, options: &str, scheme: Scheme, visitor: &str) -> String {
    let mapping = mapping::parse(&format!("a.com:80{options}")).expect("a mapping");
    let visitor: IpAddr = visitor.parse().expect("an address");
    let mut out = Vec::new();
    good(text, |request| request.forward(&mapping.options, scheme, visitor, &mut out));
    String::from_utf8(out).expect("text")
}

#[test]
fn what_the_real_server_is_told() {
    let text = "POST http://A.com:80?q HTTP/1.1\r\nhost: a.com:80\r\nuser-agent:x  y \r\nContent-Length: 5\r\n\
        Expect: 100-continue\r\nX-Forwarded-For: 6.6.6.6\r\nA:\r\n\r\n";
    let golden = "POST /?q HTTP/1.1\r\nHost: A.com:80\r\nuser-agent: x  y\r\nContent-Length: 5\r\n\
        Expect: 100-continue\r\nA: \r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n\
        X-Forwarded-Host: A.com:80\r\nForwarded: for=192.0.2.7;host=\"A.com:80\";proto=http\r\n\r\n";
    assert_eq!(forwarded(text, "", Scheme::Http, "192.0.2.7"), golden);
    assert_eq!(forwarded(text, "", Scheme::Http, "::ffff:192.0.2.7"), golden);

    let text = "GET /x HTTP/1.1\r\nHost: a.com\r\nAuthorization: Basic bWU6cGFzc3dvcmQ=\r\nx_a: 1\r\nX-B: 2\r\n\
        Connection: close\r\n\r\n";
    let options = ",host=inner.lan:8080,auth=me:password,header=X-A:b c,header=Authorization:Bearer t";
    assert_eq!(
        forwarded(text, options, Scheme::Https, "2001:db8::1"),
        "GET /x HTTP/1.1\r\nHost: inner.lan:8080\r\nX-B: 2\r\nX-A: b c\r\nAuthorization: Bearer t\r\n\
         X-Forwarded-For: 2001:db8::1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a.com\r\n\
         Forwarded: for=\"[2001:db8::1]\";host=\"a.com\";proto=https\r\nConnection: close\r\n\r\n"
    );

    let text = "GET /chat HTTP/1.1\r\nHost: a.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";
    let golden = "GET /chat HTTP/1.1\r\nHost: a.com\r\nSec-WebSocket-Version: 13\r\nX-Forwarded-For: 192.0.2.7\r\n\
        X-Forwarded-Proto: http\r\nX-Forwarded-Host: a.com\r\nForwarded: for=192.0.2.7;host=\"a.com\";proto=http\r\n\
        Connection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(forwarded(text, "", Scheme::Http, "192.0.2.7"), golden);

    let text = "GET / HTTP/1.0\r\nHost: a.com\r\nConnection: keep-alive\r\n\r\n";
    let told = forwarded(text, "", Scheme::Http, "192.0.2.7");
    assert!(told.starts_with("GET / HTTP/1.0\r\nHost: a.com\r\n"), "{told}");
    assert!(told.ends_with("\r\nConnection: close\r\n\r\n"), "{told}");
    let told = forwarded("OPTIONS * HTTP/1.1\r\nHost: a.com\r\n\r\n", "", Scheme::Http, "192.0.2.7");
    assert!(told.starts_with("OPTIONS * HTTP/1.1\r\nHost: a.com\r\n"), "{told}");
}

/// The visitor's headers that reach the real server, beside those that nt writes.
fn travelling(headers: &str) -> String {
    let told = forwarded(&with(headers), "", Scheme::Http, "192.0.2.7");
    let own = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.com\r\n\
        Forwarded: for=192.0.2.7;host=\"a.com\";proto=http\r\n";
    let (before, behind) = told.split_once(own).unwrap_or_else(|| panic!("{told}"));
    let before = before.strip_prefix("GET / HTTP/1.1\r\nHost: a.com\r\n").unwrap_or_else(|| panic!("{told}"));
    format!("{before}{}", behind.strip_suffix("\r\n").expect("an empty line"))
}

#[test]
fn what_concerns_one_connection_stays_there() {
    for headers in [
        "Keep-Alive: timeout=5\r\n",
        "Proxy-Connection: keep-alive\r\n",
        "Proxy-Authorization: Basic eDp5\r\n",
        "TE: trailers\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
        "Connection: X-Secret\r\nX-Secret: 1\r\nx-secret: 2\r\n",
        "X-Secret: 1\r\nConnection: foo\r\nConnection: bar,\tx-SECRET ,\r\n",
        "Connection: authorization\r\nAuthorization: x\r\n",
        "Connection: host\r\n",
    ] {
        assert_eq!(travelling(headers), "", "{headers:?}");
    }
    assert_eq!(travelling("Connection: close, X-A\r\nX-A: b\r\n"), "Connection: close\r\n");
}

#[test]
fn nobody_says_who_visits_but_nt() {
    for name in [
        "X-Forwarded-For",
        "x-forwarded-proto",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Server",
        "Forwarded",
        "X-Real-IP",
        "X_Forwarded_For",
        "x_forwarded-proto",
        "X-Forwarded_Prefix",
        "x_real_ip",
        "FORWARDED",
    ] {
        for headers in [format!("{name}: 6.6.6.6\r\n"), format!("Connection: {name}\r\n{name}: 6.6.6.6\r\n")]
        {
            assert_eq!(travelling(&headers), "", "{headers:?}");
        }
    }
    // Nor can it be struck out.
    assert_eq!(travelling("Connection: X-Forwarded-For, X-Forwarded-Proto, forwarded\r\n"), "");
    for headers in ["X-Forwarded: 1\r\n", "X-Forwardedness: 1\r\n", "Not-X-Forwarded-For: 1\r\n"] {
        assert_eq!(travelling(headers), headers);
    }
}

/// Some programs serve the path that these name instead of the one whose password was asked for.
#[test]
fn nobody_asks_for_another_path_beside_its_own() {
    for name in ["X-Original-URL", "X-Rewrite-URL", "x-original-url", "X_Original_Url", "x_rewrite-url"] {
        assert_eq!(travelling(&format!("{name}: /admin\r\n")), "", "{name}");
    }
    for headers in ["X-Original-URLs: /\r\n", "Original-URL: /\r\n"] {
        assert_eq!(travelling(headers), headers);
    }
}

#[test]
fn where_a_body_ends_is_said_as_it_was_understood() {
    for headers in
        ["Content-Length: 5\r\n", "transfer-encoding: Chunked\r\nTrailer: X-A\r\n", "Content-Length: 0\r\n"]
    {
        assert_eq!(travelling(headers), headers);
    }
    // It cannot be struck out …
    for (name, value) in [("Content-Length", "5"), ("Transfer-Encoding", "chunked")] {
        let header = format!("{name}: {value}\r\n");
        assert_eq!(travelling(&format!("{header}Connection: {name}\r\n")), header);
        assert_eq!(travelling(&format!("Connection: close, {}\r\n{header}", name.to_lowercase())), {
            format!("{header}Connection: close\r\n")
        });
    }
    // … nor said in disguise to programs that take `_` for `-`.
    for headers in [
        "Content_Length: 5\r\n",
        "transfer_encoding: chunked\r\n",
        "Transfer_Encoding: x\r\n",
        "Ho_st: x\r\n",
    ] {
        let expected = if headers.starts_with("Ho_st") { headers } else { "" };
        assert_eq!(travelling(headers), expected);
    }
    assert_eq!(travelling("Content-Length: 5\r\nTransfer_Encoding: chunked\r\n"), "Content-Length: 5\r\n");
}
