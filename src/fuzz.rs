//! Bodies of the fuzz targets, one for each decoder that meets bytes from outside. They stand here so that
//! every build compiles them; `tests/corpus.rs` replays their corpora, and `tests/fuzz` gives them to
//! libFuzzer, beside the targets that play with whole roles (`tests/fuzz/roles`).

use crate::api::{self, Call};
use crate::calendar::Date;
use crate::config;
use crate::directory::{Directory, Entry};
use crate::exit::{Next, Talk};
use crate::http::{Answer, AnswerKind, Body, Malformed, Request, Scheme, Status, header_space};
use crate::ledger::Ledger;
use crate::license::License;
use crate::limits::{EXIT_BYTES_MAX, HTTP_HEADERS_MAX};
use crate::mapping::{self, Exit};
use crate::policy::Allow;
use crate::proxy_protocol::{self, Announced, ProxyVersion};
use crate::server_ref::{ServerRef, ServerWord};
use crate::via::{Step, Via};
use crate::wire::{self, Frame};

/// A target: its name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets that are a decoder.
pub const TARGETS: &[Target] = &[
    ("wire", frames),
    ("license", license),
    ("server_ref", server_ref),
    ("mapping", mappings),
    ("allow", allow),
    ("config", configuration),
    ("licenses", licenses),
    ("counters", counters),
    ("api", calls),
    ("proxy_protocol", headers),
    ("via", proxies),
    ("exit", exits),
    ("http", requests),
    ("answer", answers),
    ("body", bodies),
];

/// A stream of frames: each decodes to what encodes to the same bytes, and no prefix of one is taken for
/// another.
pub fn frames(mut bytes: &[u8]) {
    while let Ok(Some((frame, used))) = wire::next(bytes) {
        assert!(used > 0 && used <= bytes.len());
        // What a newer peer means by an unknown reason is not kept, so such a frame need not come back the
        // same.
        let encoded = match frame {
            // These may be longer than a control frame; who sends one writes its header alone.
            Frame::Datagram(piece) | Frame::Piece(piece) => {
                [&wire::datagram_header(piece.len(), matches!(frame, Frame::Piece(_))), piece].concat()
            }
            frame => frame.encode().bytes().to_vec(),
        };
        assert_eq!(encoded.len(), used);
        let again = wire::next(&encoded);
        assert_eq!(again, Ok(Some((frame, used))));
        for cut in 0..used {
            assert_eq!(wire::next(&bytes[..cut]), Ok(None));
        }
        let payload = if let Frame::Transfer(length) = frame { length as usize } else { 0 };
        bytes = bytes.get(used + payload..).unwrap_or_default();
    }
}

/// A license's text: what is accepted is canonical.
pub fn license(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match License::parse(text) {
        Ok(license) => assert_eq!(license.text(), text.trim().to_lowercase()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// `LICENSE@HOST`, as it stands on a command line or in a file: what is accepted prints as what parses to
/// the same, and shows the license nowhere but in its place.
pub fn server_ref(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match ServerRef::parse(text) {
        Ok(server) => {
            let shown = format!("{}@{}", server.license.text(), server.hosts_text());
            assert_eq!(ServerRef::parse(&shown).as_ref(), Ok(&server));
            assert!(!format!("{server:?}").contains(&server.license.text()));
        }
        Err(error) => assert!(!error.is_empty()),
    }
    let _ = ServerWord::is_meant_by(text);
    if let Ok(word) = ServerWord::parse("@file") {
        let _ = word.resolve(&mut |_| Ok(text.to_owned()));
    }
}

/// A mapping's text: what is accepted prints as what parses to the same.
pub fn mappings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match mapping::parse(text) {
        Ok(mapping) => assert_eq!(mapping::parse(&mapping.to_string()), Ok(mapping)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What `--allow` takes: what is accepted prints as what parses to the same.
pub fn allow(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Allow::parse(text) {
        Ok(allow) => assert_eq!(Allow::parse(&allow.to_string()), Ok(allow)),
        Err(error) => assert!(!error.is_empty()),
    }
}

/// `nt.toml`, of a server or a client.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for error in [config::parse_server(text).err(), config::parse_client(text).err()].into_iter().flatten() {
        assert!(!error.to_string().is_empty());
    }
    let _ = config::parse_either(text);
}

/// `licenses.toml`: what is accepted prints as what parses to the same.
pub fn licenses(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Directory::parse(text) {
        Ok(directory) => assert_eq!(Directory::parse(&directory.to_toml()), Ok(directory)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// `counters.toml`.
pub fn counters(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Ledger::parse(text) {
        Ok(ledger) => assert_eq!(Ledger::parse(&ledger.to_toml()), Ok(ledger)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What the API is asked: a method and a target in the first line, then a body. What it would change of the licenses
/// can be written and read.
pub fn calls(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let Ok(line) = std::str::from_utf8(&bytes[..end]) else { return };
    let (method, target) = line.split_once(' ').unwrap_or((line, ""));
    match api::call(method, target, bytes.get(end + 1..).unwrap_or_default()) {
        Ok(Call::Edit(edit)) => {
            let mut directory = Directory::default();
            for n in 1..=2 {
                let entry = Entry::new(["nas", "box"][n - 1], &License::from_random([n as u8; 28]));
                directory.add(entry.expect("a name")).expect("a new one");
            }
            let before = directory.clone();
            match edit.apply(&mut directory, &License::from_random([9; 28]), Date::parse("2026-11-29").ok()) {
                Ok(edited) => assert!(!edited.what.is_empty()),
                Err(trouble) => assert!(!trouble.what.is_empty() && directory == before),
            }
            assert_eq!(Directory::parse(&directory.to_toml()), Ok(directory));
        }
        Ok(Call::Bind(wish)) => assert!(wish.port > 0),
        Ok(Call::View(_) | Call::Cut(_) | Call::Reload { .. }) => {}
        Err(refusal) => assert!((400..500).contains(&refusal.status) && !refusal.what.is_empty()),
    }
}

/// A header of the PROXY protocol: no prefix of one is one, and what it says can be said again.
pub fn headers(bytes: &[u8]) {
    let Ok(Some((announced, used))) = proxy_protocol::parse(bytes) else { return };
    for cut in 0..used {
        assert_eq!(proxy_protocol::parse(&bytes[..cut]), Ok(None));
    }
    let Announced::Visitor { from, to } = announced else { return };
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let header = proxy_protocol::header(version, proxy_protocol::Transport::Stream, from, Some(to));
        let again = if from.is_ipv4() == to.is_ipv4() { announced } else { Announced::Itself };
        assert_eq!(proxy_protocol::parse(&header), Ok(Some((again, header.len()))));
    }
}

/// What a proxy says, at once and byte by byte: an answer is taken when it is whole, whatever stands behind it.
pub fn proxies(bytes: &[u8]) {
    for text in ["http://me:secret@proxy:1", "socks5://proxy:1", "socks5://me:secret@proxy:1"] {
        let Ok(via) = Via::parse(text) else { return };
        let (mut whole, mut slow) = (via.begin("server", 9002), via.begin("server", 9002));
        let mut rest = bytes;
        loop {
            let step = whole.hear(rest);
            let first =
                (0..=rest.len()).map(|cut| slow.hear(&rest[..cut])).find(|step| *step != Ok(Step::Wait));
            assert_eq!(first.unwrap_or(Ok(Step::Wait)), step);
            match step {
                Ok(Step::Say(used, said)) => {
                    assert!(!said.is_empty());
                    rest = &rest[used..];
                }
                Ok(Step::Done(used)) => break assert!(used <= rest.len()),
                Ok(Step::Wait) | Err(_) => break,
            }
        }
    }
}

/// What a visitor of an exit says, at once and byte by byte: it is answered the same, and nothing of what is for the
/// real server is lost.
pub fn exits(bytes: &[u8]) {
    let auth = mapping::parse("1:socks5,auth=me:secret").ok().and_then(|mapping| mapping.options.auth);
    for exit in Exit::ALL {
        for auth in [None, auth.clone()] {
            let tell = |pieces: usize| {
                let (mut talk, mut said, mut told) = (Talk::new(exit, auth.clone()), Vec::new(), 0);
                for piece in bytes.chunks(pieces) {
                    told += piece.len();
                    let heard = talk.hear(piece);
                    said.extend(heard.say);
                    if heard.next != Next::More {
                        return (heard.next, said, talk.first(), told);
                    }
                }
                (Next::More, said, Vec::new(), told)
            };
            let (whole, slow) = (tell(EXIT_BYTES_MAX), tell(1));
            let asks = matches!(slow.0, Next::Ask(..));
            if asks && exit == Exit::HttpProxy && whole.0 == Next::End && whole.3 > slow.3 {
                // What stood behind the request was more than its body.
                continue;
            }
            assert_eq!((&whole.0, &whole.1), (&slow.0, &slow.1));
            if asks {
                assert_eq!(whole.2, [&slow.2[..], &bytes[slow.3..whole.3]].concat());
            }
        }
    }
}

/// The head of a request: no prefix of one is one; and what the real server gets of it is one request too, of the same
/// length and for the same server.
pub fn requests(bytes: &[u8]) {
    let mut space = header_space();
    let Ok(Some((request, length))) = Request::parse(bytes, &mut space) else { return };
    for cut in 0..length {
        assert!(matches!(Request::parse(&bytes[..cut], &mut header_space()), Ok(None)));
    }
    assert!(request.over_tls(8443).bytes().all(|b| b > b' '), "it stands in a line of an answer");
    let _ = (request.knows("me", "secret"), request.is_below("/api"), request.may_be_repeated());
    for text in ["a.b:1", "a.b:1,host=inner.lan:8080,auth=me:secret,header=X-A:b,header=Cookie:c"] {
        let Ok(mapping) = mapping::parse(text) else { return };
        let write = |request: &Request<'_>| {
            let mut head = Vec::new();
            request.forward(&mapping.options, Scheme::Http, [192, 0, 2, 7].into(), &mut head);
            head
        };
        let head = write(&request);
        let mut space = header_space();
        let (again, used) = match Request::parse(&head, &mut space) {
            Ok(Some(again)) => again,
            // What nt says of the visitor comes on top of as many headers as a visitor may send.
            Err(Status::HeadTooLarge) => {
                assert!(head.split(|&b| b == b'\n').count() > HTTP_HEADERS_MAX + 2);
                continue;
            }
            other => panic!("{}: {other:?}", head.escape_ascii()),
        };
        assert_eq!(used, head.len());
        assert_eq!((again.body, again.upgrade), (request.body, request.upgrade));
        assert_eq!(again.last, request.last && !request.upgrade);
        assert_eq!((again.path(), again.is_head()), (request.path(), request.is_head()));
        assert_eq!(again.host, mapping.options.host.as_ref().map_or(&*request.host, |_| "inner.lan"));
        if mapping.options.host.is_none() {
            assert_eq!(write(&again), head, "what was left out or written is left as it is");
        }
    }
}

/// The head of an answer: no prefix of one is one; and only to HEAD has it no body that it would have.
pub fn answers(bytes: &[u8]) {
    for (to_head, to_upgrade) in [(false, false), (true, false), (false, true), (true, true)] {
        let Ok(Some(answer)) = Answer::parse(bytes, to_head, to_upgrade) else { continue };
        assert!(answer.length > 0 && answer.length <= bytes.len());
        for cut in 0..answer.length {
            assert_eq!(Answer::parse(&bytes[..cut], to_head, to_upgrade), Ok(None));
        }
        match answer.kind {
            AnswerKind::Final { body, last } => {
                assert!(!to_head || body == Body::NONE);
                assert!(last || body != Body::UntilEnd);
            }
            AnswerKind::Switched => assert!(to_upgrade),
            AnswerKind::Interim => {}
        }
    }
}

/// Bodies, in different pieces: the same belongs to them, or the same is wrong. Where a chunked one is over, it is over
/// for a plain reader too.
pub fn bodies(bytes: &[u8]) {
    let length = bytes.first().map_or(Body::UntilEnd, |&first| Body::Length(first.into()));
    for body in [Body::CHUNKED, length, Body::UntilEnd] {
        let whole = passed(body, bytes, bytes.len().max(1), false);
        for step in [1, 2, 3, 7, 64] {
            for unseen in [false, true] {
                assert_eq!(passed(body, bytes, step, unseen), whole, "by {step}");
            }
        }
        if let (Body::Chunked(_), Ok((passed, end))) = (body, whole) {
            assert!(!end.is_over() || dechunked(bytes) == Some(passed));
        }
    }
}

/// How much of `bytes` belongs to a body, given in pieces, and what is left of it then. What is opaque may be skipped
/// `unseen`.
fn passed(mut body: Body, bytes: &[u8], step: usize, unseen: bool) -> Result<(usize, Body), Malformed> {
    let mut passed = 0;
    for piece in bytes.chunks(step) {
        let skipped = if unseen { body.opaque().min(piece.len() as u64) } else { 0 };
        body.skip(skipped);
        let count = skipped as usize + body.pass(&piece[skipped as usize..])?;
        passed += count;
        if count < piece.len() {
            assert!(body.is_over());
            break;
        }
    }
    Ok((passed, body))
}

/// How long a chunked body is for a reader that has all of it at hand.
fn dechunked(bytes: &[u8]) -> Option<usize> {
    let line = |at: usize| {
        let length = bytes.get(at..)?.windows(2).position(|two| two == b"\r\n")?;
        Some((&bytes[at..at + length], at + length + 2))
    };
    let mut at = 0;
    loop {
        let (size, behind) = line(at)?;
        let digits = std::str::from_utf8(size.split(|&b| b == b';').next()?).ok()?;
        let size = usize::from_str_radix(digits, 16).ok()?;
        at = behind;
        if size == 0 {
            break;
        }
        at = at.checked_add(size)?.checked_add(2)?;
    }
    loop {
        let (trailer, behind) = line(at)?;
        at = behind;
        if trailer.is_empty() {
            return Some(at);
        }
    }
}
