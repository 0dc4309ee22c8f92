//! What a visitor asks a proxy for: where to, and what is no place.

use nt::exit::{Next, Talk};
use nt::mapping::Exit;

/// Where a visitor goes who says this, or how the answer begins that it gets.
fn asked(line: &str, host: &str) -> String {
    let mut talk = Talk::new(Exit::HttpProxy, None);
    let heard = talk.hear(format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    match heard.next {
        Next::Ask(host, port) => format!("{host} {port}"),
        Next::End => String::from_utf8_lossy(&heard.say).chars().take("HTTP/1.1 400".len()).collect(),
        next => format!("{next:?}"),
    }
}

#[test]
fn where_a_proxy_is_to_lead() {
    for (line, host, expected) in [
        ("GET http://a.com/x", "a.com", "a.com 80"),
        ("GET http://a.com:8080/x", "a.com:8080", "a.com 8080"),
        ("GET http://a.com:65535/", "a.com:65535", "a.com 65535"),
        ("GET http://[fd00::5]:81/", "[fd00::5]:81", "[fd00::5] 81"),
        ("CONNECT a.com:443", "a.com:443", "a.com 443"),
        ("CONNECT 10.0.0.1:443", "10.0.0.1:443", "10.0.0.1 443"),
        // No port, and ports that are none.
        ("GET http://a.com:65536/", "a.com:65536", "HTTP/1.1 400"),
        ("GET http://a.com:99999/", "a.com:99999", "HTTP/1.1 400"),
        ("GET http://a.com:0/", "a.com:0", "HTTP/1.1 400"),
        ("CONNECT a.com", "a.com", "HTTP/1.1 400"),
        ("CONNECT a.com:0", "a.com:0", "HTTP/1.1 400"),
        ("CONNECT a.com:99999", "a.com:99999", "HTTP/1.1 400"),
        ("CONNECT :443", ":443", "HTTP/1.1 400"),
        // For a web server.
        ("GET /x", "a.com", "HTTP/1.1 400"),
        ("GET https://a.com/", "a.com", "HTTP/1.1 400"),
    ] {
        assert_eq!(asked(line, host), expected, "{line}");
    }
}
