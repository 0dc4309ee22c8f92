//! A folder that is served: what visitors are told, what they cannot get at, and what costs nothing to try.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "files/attacks.rs"]
mod attacks;
#[allow(dead_code, unreachable_pub, reason = "the ports are for others")]
#[path = "e2e/scratch.rs"]
mod scratch;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, UNIX_EPOCH};

use nt::files::{Folder, serve};
use nt::limits::{FILES_LISTED_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEAD_TIMEOUT};
use nt::mapping::Auth;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};

/// Far behind the date of every file.
const NOW: u64 = 4_000_000_000;
const SECRET: &str = "what nobody may see";

/// `www` in it is served, and beside it lies what is not.
struct Site {
    scratch: scratch::Folder,
}

impl Site {
    fn new() -> Self {
        let scratch = scratch::Folder::new();
        fs::create_dir(scratch.join("www")).unwrap();
        fs::create_dir(scratch.join("outside")).unwrap();
        scratch.write("secret.txt", SECRET);
        scratch.write("outside/secret.txt", SECRET);
        Self { scratch }
    }

    fn with(files: &[(&str, &str)]) -> Self {
        let site = Self::new();
        for (name, content) in files {
            site.write(name, content);
        }
        site
    }

    /// Writes a file below `www`, and the folders it stands in.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.scratch.join("www").join(name)
    }

    fn visit(&self) -> Visitor {
        self.visit_at(None, &NOW_ALWAYS)
    }

    fn visit_at(&self, auth: Option<Auth>, now: &'static AtomicU64) -> Visitor {
        Visitor::new(&self.scratch.join("www"), auth, now)
    }

    /// Asks for one thing, as a visitor of its own.
    fn get(&self, target: &str) -> Answer {
        self.visit().ask(&get(target, ""))
    }

    fn get_with(&self, target: &str, headers: &str) -> Answer {
        self.visit().ask(&get(target, headers))
    }
}

static NOW_ALWAYS: AtomicU64 = AtomicU64::new(NOW);

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a.com\r\n{headers}\r\n")
}

/// One end of a connection, at whose other end a folder is served.
struct Visitor {
    stream: UnixStream,
    server: JoinHandle<()>,
    /// No answer may have this in it.
    place: String,
}

impl Visitor {
    fn new(www: &Path, auth: Option<Auth>, now: &'static AtomicU64) -> Self {
        let (stream, mut other) = UnixStream::pair().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        other.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        other.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        let folder = Folder::open(www.to_str().unwrap()).unwrap();
        let server = thread::spawn(move || {
            serve(&mut other, &folder, auth.as_ref(), &|| now.load(Ordering::Relaxed));
        });
        Self { stream, server, place: www.parent().unwrap().to_str().unwrap().to_owned() }
    }

    fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).unwrap();
    }

    fn ask(&mut self, request: &str) -> Answer {
        self.send(request);
        self.answer(request.starts_with("HEAD"))
    }

    /// Reads one answer, and no byte of the next.
    fn answer(&mut self, to_head: bool) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let mut answer = Answer { head, body: Vec::new() };
        if !to_head && answer.status() != 304 {
            let length = answer.header("Content-Length").expect("a length").parse().unwrap();
            answer.body = vec![0; length];
            self.stream.read_exact(&mut answer.body).expect("a whole body");
        }
        assert!(answer.header("Date").is_some() && answer.header("Server").is_none(), "{}", answer.head);
        let all = format!("{}{}", answer.head, answer.text());
        assert!(!all.contains(&self.place) && !all.contains(SECRET), "{all}");
        answer
    }

    /// Waits until the other side has ended, and returns what came before.
    fn end(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        self.server.join().expect("no panic");
        rest
    }

    /// Whether the other side still answers; then ends.
    fn goes_on(mut self) -> bool {
        let asked = self.stream.write_all(get("/", "").as_bytes()).is_ok();
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
        !self.end().is_empty() && asked
    }
}

struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head.get(9..12).unwrap().parse().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let value = found.next();
        assert!(found.next().is_none(), "{name} twice: {}", self.head);
        value
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

// ── What is served ──────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_file_is_told_whole() {
    let site = Site::with(&[("a.txt", "hello"), ("a b/\u{e4}.PNG", "x"), ("empty", "")]);
    let long_ago = UNIX_EPOCH + Duration::from_secs(784_111_777);
    fs::File::options().append(true).open(site.path("a.txt")).unwrap().set_modified(long_ago).unwrap();
    let answer = site.get("/a.txt?whatever=/../x");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
    for (name, value) in [
        ("Content-Length", "5"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("X-Content-Type-Options", "nosniff"),
        ("Accept-Ranges", "bytes"),
        ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Date", "Tue, 02 Oct 2096 07:06:40 GMT"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert!(
        answer.header("Connection").is_none() && answer.header("ETag").is_some_and(|tag| tag.len() == 18)
    );
    let answer = site.get("/a%20b/%C3%A4.PNG");
    assert_eq!((answer.status(), answer.header("Content-Type")), (200, Some("image/png")));
    let answer = site.get("/empty");
    assert_eq!((answer.status(), answer.body.len()), (200, 0));
    assert_eq!(answer.header("Content-Type"), Some("application/octet-stream"));
}

#[test]
fn a_file_of_many_pieces_and_every_part_of_it() {
    let site = Site::new();
    let content: Vec<u8> = (0..300_007_u32).map(|n| (n % 251) as u8).collect();
    site.write("big", &content);
    assert!(site.get("/big").body == content);
    for (range, start, end) in
        [("0-0", 0, 1), ("65000-200000", 65_000, 200_001), ("1-", 1, 300_007), ("-70000", 230_007, 300_007)]
    {
        let answer = site.get_with("/big", &format!("Range: bytes={range}\r\n"));
        assert_eq!(answer.status(), 206);
        assert!(answer.body == content[start..end], "{range}");
        let told = format!("bytes {start}-{}/300007", end - 1);
        assert_eq!(answer.header("Content-Range"), Some(told.as_str()));
    }
    for range in ["300007-", "-0", "18446744073709551615-", "99999999999999999999999-"] {
        let answer = site.get_with("/big", &format!("Range: bytes={range}\r\n"));
        assert_eq!(
            (answer.status(), answer.header("Content-Range")),
            (416, Some("bytes */300007")),
            "{range}"
        );
    }
    for range in ["bytes=0-0,2-3", "bytes=9-1", "bytes=x", "lines=1-2"] {
        let answer = site.get_with("/big", &format!("Range: {range}\r\n"));
        assert_eq!((answer.status(), answer.body.len()), (200, 300_007), "{range}");
        assert!(answer.header("Content-Range").is_none());
    }
}

#[test]
fn a_copy_that_is_good_is_not_sent_again() {
    let site = Site::with(&[("a", "hello")]);
    let first = site.get("/a");
    let (tag, date) = (first.header("ETag").unwrap(), first.header("Last-Modified").unwrap());
    for headers in [format!("If-None-Match: {tag}\r\n"), format!("If-Modified-Since: {date}\r\n")] {
        let mut visitor = site.visit();
        let answer = visitor.ask(&get("/a", &headers));
        assert_eq!((answer.status(), answer.header("ETag")), (304, Some(tag)));
        assert_eq!(visitor.ask(&get("/a", "")).text(), "hello", "nothing stands behind a 304");
    }
    assert_eq!(site.get_with("/a", "If-Match: \"x\"\r\n").status(), 412);
    // As long, and its date put back: all the same it is another file.
    let modified = fs::metadata(site.path("a")).unwrap().modified().unwrap();
    thread::sleep(Duration::from_millis(20));
    site.write("a", "HELLO");
    fs::File::options().append(true).open(site.path("a")).unwrap().set_modified(modified).unwrap();
    let answer = site.get_with("/a", &format!("Range: bytes=1-\r\nIf-Range: {tag}\r\n"));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "HELLO"));
    assert_eq!(answer.header("Last-Modified"), Some(date));
}

#[test]
fn dates_that_nobody_can_write_are_harmless() {
    static EARLY: AtomicU64 = AtomicU64::new(1_000_000_000);
    static NEVER: AtomicU64 = AtomicU64::new(u64::MAX);
    let site = Site::with(&[("a", "x"), ("old", "y")]);
    let before = UNIX_EPOCH - Duration::from_secs(1_000_000_000);
    fs::File::options().append(true).open(site.path("old")).unwrap().set_modified(before).unwrap();
    let answer = site.visit_at(None, &EARLY).ask(&get("/a", ""));
    assert_eq!(answer.header("Last-Modified"), answer.header("Date"), "a file of tomorrow is of now");
    assert_eq!(site.get("/old").header("Last-Modified"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    let answer = site.visit_at(None, &NEVER).ask(&get("/", ""));
    assert_eq!(answer.header("Date"), Some("Fri, 31 Dec 9999 23:59:59 GMT"));
}

#[test]
fn head_tells_the_same_without_the_body() {
    let site = Site::with(&[("a", "hello"), ("d/x", "y")]);
    let mut visitor = site.visit();
    for target in ["/a", "/d/", "/d", "/nothing", "/.git", "/%", "/.."] {
        let whole = visitor.ask(&get(target, "Range: bytes=x\r\n"));
        let head = visitor.ask(&get(target, "Range: bytes=0-0\r\n").replace("GET", "HEAD"));
        assert_eq!(whole.head, head.head, "{target}");
    }
    assert_eq!(visitor.ask(&get("/a", "")).text(), "hello", "no body stood behind a HEAD");
}

#[test]
fn a_folder_shows_its_page_or_a_list() {
    let site =
        Site::with(&[("with/index.html", "<p>mine"), ("without/b.txt", "123"), ("without/.hidden", "x")]);
    fs::create_dir(site.path("without/z")).unwrap();
    site.write("without/<i>&\"'", "x");
    site.write("without/bad\nname", "x");
    site.write("without/bad\\name", "x");
    symlink(site.path("without/b.txt"), site.path("without/link")).unwrap();
    fifo(&site.path("without/pipe"));
    let answer = site.get("/with/");
    assert_eq!(
        (answer.text().as_str(), answer.header("Content-Type")),
        ("<p>mine", Some("text/html; charset=utf-8"))
    );
    let answer = site.get("/without/");
    assert_eq!((answer.status(), answer.header("Content-Type")), (200, Some("text/html; charset=utf-8")));
    assert!(
        answer
            .header("Content-Security-Policy")
            .is_some_and(|policy| policy.starts_with("default-src 'none'"))
    );
    let page = answer.text();
    let links: Vec<&str> = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(links, ["../", "z/", "%3Ci%3E%26%22%27", "b.txt"]);
    assert!(page.contains("<td>3 B<td>") && !page.contains("<i>") && !page.contains("more here"), "{page}");
    for link in &links[1..] {
        assert_eq!(site.get(&format!("/without/{link}")).status(), 200, "{link}");
    }
    // The folder that is served has no link upwards, and one that is empty says so.
    assert!(!site.get("/").text().contains("../"));
    assert!(site.get("/without/z/").text().contains("Nothing is here"));
}

#[test]
fn a_list_has_an_end() {
    let site = Site::new();
    for n in 0..FILES_LISTED_MAX + 10 {
        fs::write(site.path(&n.to_string()), "").unwrap();
    }
    let page = site.get("/").text();
    let listed = page.matches("<tr><td>").count();
    assert!(listed > FILES_LISTED_MAX - 3 && listed <= FILES_LISTED_MAX, "{listed}");
    assert!(page.contains("There is more here than is shown."));
}

#[test]
fn the_address_of_a_folder_ends_with_a_slash() {
    let site = Site::with(&[("a b%/\u{e4}/x", ""), ("evil.com/x", "")]);
    for (target, location) in [
        ("/a%20b%25", "/a%20b%25/"),
        ("/a%20b%25/%c3%a4?x=y", "/a%20b%25/%C3%A4/"),
        ("/evil.com", "/evil.com/"),
        ("http://a.com/evil.com", "/evil.com/"),
    ] {
        let answer = site.get(target);
        assert_eq!((answer.status(), answer.header("Location")), (301, Some(location)), "{target}");
    }
    // No way to have a visitor sent to another host.
    for target in
        ["//evil.com", "///evil.com", "/%2fevil.com", "/%5cevil.com", "/\\evil.com", "http://a.com//evil.com"]
    {
        let answer = site.get(target);
        assert!(matches!(answer.status(), 400 | 404) && answer.header("Location").is_none(), "{target}");
    }
    assert_eq!(site.get("/evil.com/x/").status(), 404, "a file is no folder");
    assert_eq!(site.get("/evil.com/x/y").status(), 404);
}

// ── How it is asked for ─────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn requests_that_come_together_are_answered_in_turn() {
    let site = Site::with(&[("1", "one"), ("2", "two"), ("3", "three")]);
    let mut visitor = site.visit();
    visitor.send(&["/1", "/2", "/3"].map(|target| get(target, "")).concat());
    for content in ["one", "two", "three"] {
        assert_eq!(visitor.answer(false).text(), content);
    }
    assert!(visitor.goes_on());
}

#[test]
fn a_connection_ends_when_the_visitor_says_so() {
    let site = Site::with(&[("a", "hello")]);
    for request in ["GET /a HTTP/1.0\r\n\r\n", "GET /a HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"] {
        let mut visitor = site.visit();
        let answer = visitor.ask(request);
        assert_eq!((answer.text().as_str(), answer.header("Connection")), ("hello", Some("close")));
        assert!(visitor.end().is_empty());
    }
    // One that ends within a head is owed nothing.
    let mut visitor = site.visit();
    visitor.send("GET /a HTT");
    visitor.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(visitor.end().is_empty());
}

#[test]
fn whole_uris_are_understood() {
    let site = Site::with(&[("a", "hello")]);
    assert_eq!(site.get("http://a.com/a").text(), "hello");
    assert_eq!(site.get("HTTPS://A.com/a?b").text(), "hello");
    assert_eq!(site.get("http://a.com").status(), 200);
    for target in ["http://b.com/a", "file:///etc/passwd", "ftp://a.com/a", "a.com/a", "a", "http:/a"] {
        assert_eq!(site.get(target).status(), 400, "{target}");
    }
}

#[test]
fn a_head_may_dribble_but_not_for_ever() {
    static CLOCK: AtomicU64 = AtomicU64::new(NOW);
    let site = Site::with(&[("a", "hello")]);
    let mut visitor = site.visit_at(None, &CLOCK);
    for _ in 0..2 {
        for byte in get("/a", "").chars() {
            visitor.send(&byte.to_string());
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(visitor.answer(false).text(), "hello");
        // It has all the time until it begins anew.
        CLOCK.fetch_add(1_000, Ordering::Relaxed);
    }
    visitor.send("GET /a");
    thread::sleep(Duration::from_millis(100));
    CLOCK.fetch_add(HTTP_HEAD_TIMEOUT.as_micros() / 1_000_000 + 1, Ordering::Relaxed);
    visitor.send(" ");
    let answer = visitor.answer(false);
    assert_eq!((answer.status(), answer.header("Connection")), (408, Some("close")));
    visitor.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(visitor.end().is_empty());
}

#[test]
fn what_is_no_request_ends_the_connection() {
    let site = Site::new();
    for (request, status) in [
        ("GET / HTTP/2.0\r\n\r\n".to_owned(), 505),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\nHost: a\n\n".to_owned(), 400),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            400,
        ),
        ("\0".to_owned(), 400),
        (get("/", &"X: y\r\n".repeat(100)), 431),
        (get("/", &format!("X: {}\r\n", "y".repeat(3 * HTTP_HEAD_BYTES_MAX))), 431),
        ("\r\n".repeat(HTTP_HEAD_BYTES_MAX), 431),
    ] {
        let mut visitor = site.visit();
        let answer = visitor.ask(&request);
        let name = &request[..request.len().min(60)];
        assert_eq!((answer.status(), answer.header("Connection")), (status, Some("close")), "{name:?}");
        assert!(!visitor.goes_on(), "{name:?}");
    }
    // The longest that is read.
    let rest = HTTP_HEAD_BYTES_MAX - get("/", "X: \r\n").len();
    let longest = get("/", &format!("X: {}\r\n", "y".repeat(rest)));
    assert_eq!((longest.len(), site.visit().ask(&longest).status()), (HTTP_HEAD_BYTES_MAX, 200));
}

#[test]
fn nothing_can_be_done_but_reading() {
    let site = Site::with(&[("a", "hello")]);
    let mut visitor = site.visit();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "get", "BREW"] {
        let answer = visitor.ask(&get("/a", "").replace("GET", method));
        assert_eq!((answer.status(), answer.header("Allow")), (405, Some("GET, HEAD")), "{method}");
    }
    assert_eq!(visitor.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").status(), 405);
    assert_eq!(visitor.ask(&get("/a", "")).text(), "hello");
    // What comes in a body is never taken for a request.
    let inner = get("/a", "");
    for (method, status) in [("POST", 405), ("GET", 200)] {
        for body in [
            format!("Content-Length: {}\r\n\r\n{inner}", inner.len()),
            format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len()),
        ] {
            let mut visitor = site.visit();
            let answer = visitor.ask(&format!("{method} /a HTTP/1.1\r\nHost: a\r\n{body}"));
            assert_eq!((answer.status(), answer.header("Connection")), (status, Some("close")));
            assert!(visitor.end().is_empty(), "{body}");
        }
    }
}

#[test]
fn an_answer_is_not_lost_with_the_body_that_nobody_read() {
    let site = Site::new();
    let mut visitor = site.visit();
    visitor.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
    assert_eq!(visitor.answer(false).status(), 405);
    for _ in 0..200 {
        visitor.send(&"x".repeat(1_000));
    }
    let mut rest = Vec::new();
    assert!(visitor.stream.read_to_end(&mut rest).is_ok(), "an end, and no reset");
}

// ── Who may ask ─────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn who_must_log_in_learns_nothing_before() {
    let site = Site::with(&[("a", "hello"), ("d/x", "")]);
    let auth = || Some(Auth { user: "ann".into(), password: "s3cret:x".into() });
    let mut visitor = site.visit_at(auth(), &NOW_ALWAYS);
    let first = visitor.ask(&get("/a", ""));
    assert_eq!(
        (first.status(), first.header("WWW-Authenticate")),
        (401, Some("Basic realm=\"a.com\", charset=\"UTF-8\""))
    );
    for target in ["/", "/nothing", "/d", "/.git", "/../x", "/%00", "/a"] {
        for headers in
            ["", "Range: bytes=900-\r\n", "If-None-Match: *\r\n", "Authorization: Basic YW5uOng=\r\n"]
        {
            let answer = visitor.ask(&get(target, headers));
            assert_eq!((&answer.head, &answer.body), (&first.head, &first.body), "{target}");
        }
    }
    assert_eq!(visitor.ask(&get("/a", "").replace("GET", "POST")).head, first.head);
    let token = nt::text::base64(b"ann:s3cret:x");
    assert_eq!(visitor.ask(&get("/a", &format!("Authorization: basic {token}\r\n"))).text(), "hello");
    assert_eq!(visitor.ask(&get("/a", "")).status(), 401, "each request says it anew");
    let twice = format!("Authorization: Basic {token}\r\n").repeat(2);
    assert_eq!(visitor.ask(&get("/a", &twice)).status(), 401);
}

// ── What changes meanwhile ──────────────────────────────────────────────────────────────────────────────────────────

const LARGE: usize = 16 << 20;

#[test]
fn a_file_that_shrinks_ends_the_connection() {
    let site = Site::new();
    site.write("big", vec![b'x'; LARGE]);
    let mut visitor = site.visit();
    visitor.send(&get("/big", ""));
    let mut first = [0; 1_000];
    visitor.stream.read_exact(&mut first).unwrap();
    fs::File::options().write(true).open(site.path("big")).unwrap().set_len(LARGE as u64 / 2).unwrap();
    let rest = visitor.end();
    let told = format!("Content-Length: {LARGE}\r\n");
    assert!(String::from_utf8_lossy(&first).contains(&told));
    assert!(rest.len() < LARGE * 3 / 4 && rest.iter().all(|&byte| byte == b'x'), "{}", rest.len());
}

#[test]
fn a_file_that_grows_is_sent_as_announced() {
    let site = Site::with(&[("a", "hello")]);
    site.write("big", vec![b'x'; LARGE]);
    let mut visitor = site.visit();
    visitor.send(&get("/big", ""));
    visitor.send(&get("/a", ""));
    let mut first = [0; 1];
    visitor.stream.read_exact(&mut first).unwrap();
    fs::File::options().append(true).open(site.path("big")).unwrap().write_all(&[b'y'; 100_000]).unwrap();
    let mut head = first.to_vec();
    while !head.ends_with(b"\r\n\r\n") {
        visitor.stream.read_exact(&mut first).unwrap();
        head.push(first[0]);
    }
    let mut body = vec![0; LARGE];
    visitor.stream.read_exact(&mut body).unwrap();
    assert!(body.iter().all(|&byte| byte == b'x'));
    assert_eq!(visitor.answer(false).text(), "hello");
}
