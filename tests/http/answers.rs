//! Where an answer ends, and what nt itself answers.

use nt::http::{Answer, AnswerKind, BadAnswer, Body, Status};

/// What an answer is, to a request of this kind.
fn answer(text: &str, to_head: bool, to_upgrade: bool) -> Result<AnswerKind, BadAnswer> {
    let whole = Answer::parse(text.as_bytes(), to_head, to_upgrade)?.expect("a whole head");
    assert_eq!(whole.length, text.len(), "{text:?}");
    for cut in 0..text.len() {
        assert_eq!(
            Answer::parse(&text.as_bytes()[..cut], to_head, to_upgrade),
            Ok(None),
            "{cut} of {text:?}"
        );
    }
    Ok(whole.kind)
}

#[test]
fn where_an_answer_ends() {
    let until_end = (Body::UntilEnd, true);
    for (line, headers, expected) in [
        ("1.1 200 OK", "Content-Length: 5", (Body::Length(5), false)),
        ("1.1 200 OK", "Content-Length: 5\r\ncontent-length: 5", (Body::Length(5), false)),
        ("1.1 200 OK", "Content-Length: 0\r\nConnection: close", (Body::NONE, true)),
        ("1.1 200 OK", "Content-Length: 5\r\nConnection: foo, CLOSE", (Body::Length(5), true)),
        ("1.1 200 OK", "Transfer-Encoding: chunked", (Body::CHUNKED, false)),
        ("1.1 200 OK", "Transfer-Encoding: gzip, Chunked", (Body::CHUNKED, false)),
        ("1.1 200 OK", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", (Body::CHUNKED, false)),
        ("1.1 200 OK", "Transfer-Encoding: gzip", until_end),
        ("1.1 200 OK", "Transfer-Encoding: chunked, gzip", until_end),
        ("1.1 200 OK", "Transfer-Encoding: xchunked", until_end),
        ("1.1 200", "Server: x", until_end),
        ("1.1 200 ", "Connection: keep-alive", until_end),
        ("1.0 200 OK", "Content-Length: 5\r\nConnection: keep-alive", (Body::Length(5), true)),
        ("1.0 200 OK", "Server: x", until_end),
        ("1.1 500 \u{e9}", "Content-Length: 5", (Body::Length(5), false)),
        ("1.1 999 x", "Content-Length: 5", (Body::Length(5), false)),
        ("1.1 204 No Content", "Server: x", (Body::NONE, false)),
        ("1.1 204 No Content", "Content-Length: 5", (Body::NONE, false)),
        ("1.1 304 Not Modified", "Content-Length: 5", (Body::NONE, false)),
        ("1.1 304 Not Modified", "Transfer-Encoding: chunked\r\nConnection: close", (Body::NONE, true)),
    ] {
        let text = format!("HTTP/{line}\r\n{headers}\r\n\r\n");
        let (body, last) = expected;
        assert_eq!(answer(&text, false, false), Ok(AnswerKind::Final { body, last }), "{text:?}");
        assert_eq!(
            answer(&text, false, true),
            Ok(AnswerKind::Final { body, last }),
            "{text:?} to an upgrade"
        );
        let last = line.starts_with("1.0") || headers.to_lowercase().contains("close");
        let to_head = Ok(AnswerKind::Final { body: Body::NONE, last });
        assert_eq!(answer(&text, true, false), to_head, "{text:?} to HEAD");
    }
}

#[test]
fn words_meanwhile_and_other_protocols() {
    for status in ["100 Continue", "102 Processing", "103 Early Hints", "199 x"] {
        let text = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n");
        for (to_head, to_upgrade) in [(false, false), (true, false), (false, true)] {
            assert_eq!(answer(&text, to_head, to_upgrade), Ok(AnswerKind::Interim), "{text:?}");
        }
    }
    let switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    assert_eq!(answer(switching, false, true), Ok(AnswerKind::Switched));
    assert_eq!(answer(switching, false, false), Err(BadAnswer), "to who did not ask");
    assert_eq!(answer(switching, true, false), Err(BadAnswer), "to who did not ask");
}

#[test]
fn answers_that_cannot_be_passed_on() {
    let head = |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n");
    for text in [
        head("Content-Length: 5\r\nTransfer-Encoding: chunked"),
        head("Transfer-Encoding: gzip\r\nContent-Length: 5"),
        head("Content-Length: 5\r\nContent-Length: 6"),
        head("Content-Length: 5, 5"),
        head("Content-Length: +5"),
        head("Content-Length: 0x5"),
        head("Content-Length:"),
        head("Content-Length: 18446744073709551616"),
        head("A: b\r\n folded"),
        head("A : b"),
        head("A: \0"),
        head("A: b\rC: d"),
        head(&vec!["X: y"; 65].join("\r\n")),
        "HTTP/2.0 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 20 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 2000 OK\r\n\r\n".to_owned(),
        "HTTP/1.1  200 OK\r\n\r\n".to_owned(),
        "hello".to_owned(),
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        "\x15\x03\x03\0\x02\x02\x46".to_owned(),
    ] {
        assert_eq!(Answer::parse(text.as_bytes(), false, false), Err(BadAnswer), "{text:?}");
    }
}

#[test]
fn what_nt_itself_answers() {
    use Status::*;
    for (status, line) in [
        (BadRequest, "400 Bad Request"),
        (Unauthorized, "401 Unauthorized"),
        (Moved, "308 Permanent Redirect"),
        (NotFound, "404 Not Found"),
        (TimedOut, "408 Request Timeout"),
        (HeadTooLarge, "431 Request Header Fields Too Large"),
        (NotImplemented, "501 Not Implemented"),
        (BadGateway, "502 Bad Gateway"),
        (Unavailable, "503 Service Unavailable"),
        (GatewayTimedOut, "504 Gateway Timeout"),
        (NotThisVersion, "505 HTTP Version Not Supported"),
    ] {
        for last in [false, true] {
            let write = |to_head| {
                let mut out = Vec::new();
                status.write(to_head, last, "a.com", &mut out);
                String::from_utf8(out).expect("text")
            };
            let (whole, head) = (write(false), write(true));
            let page = whole.strip_prefix(&head).expect("HEAD gets the same head");
            assert!(head.starts_with(&format!("HTTP/1.1 {line}\r\n")), "{head}");
            assert!(page.contains(&format!("<h1>{line}</h1>")), "{page}");
            let body = Body::Length(page.len() as u64);
            assert_eq!(answer(&head, false, false), Ok(AnswerKind::Final { body, last }), "{head}");
            let asks = head.contains("\r\nWWW-Authenticate: Basic realm=\"a.com\", charset=\"UTF-8\"\r\n");
            assert_eq!(asks, status == Unauthorized, "{head}");
            assert_eq!(head.contains("\r\nLocation: a.com\r\n"), status == Moved, "{head}");
            assert_eq!(head.contains("\r\nRetry-After: "), status == Unavailable, "{head}");
        }
    }
}
