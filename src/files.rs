//! A folder of this machine, served read-only over HTTP/1.1 (RFC 9110, RFC 9112).
//!
//! To a visitor, what is there is what stands below the folder, is a regular file or a folder, and is reached by
//! names of which none begins with a dot, through no symbolic link. Everything else is not found, whatever it
//! is; what is there but may not be read is forbidden: a page that lists it has told its name already.
//!
//! It blocks, so it has a stream and a thread of its own. It costs 8 KiB while a visitor is idle, and one piece
//! of [`FILE_PIECE_BYTES`] while a file is sent, however large that is.

mod condition;
mod page;
mod path;
mod tree;
mod types;

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::{Duration, UNIX_EPOCH};

use crate::http::{Body, Request, Status, header_space};
use crate::limits::{DRAIN_BYTES_MAX, FILE_PIECE_BYTES, HTTP_HEAD_BYTES_MAX, HTTP_HEAD_TIMEOUT};
use crate::mapping::Auth;
use condition::Choice;
use path::Path;
pub use tree::Folder;
use tree::{Document, Found};

/// What is answered instead, and its detail as in [`Status::write`].
type Refusal = (Status, String);

/// Speaks HTTP/1.1 on `stream` until the visitor ends, is idle for too long, or breaks the protocol.
///
/// Who has set time-outs on the stream decides how long "too long" is: any failure of the stream is the end. The
/// head of a request must be whole within [`HTTP_HEAD_TIMEOUT`] all the same, however often a byte of it comes.
/// `now` tells seconds since 1970.
pub fn serve<S: Read + Write>(stream: &mut S, folder: &Folder, auth: Option<&Auth>, now: &dyn Fn() -> u64) {
    // Nobody is left who could be told why it ended.
    let _ = Visit { stream, folder, auth, now }.run();
}

/// One visitor's connection.
struct Visit<'a, S> {
    stream: &'a mut S,
    folder: &'a Folder,
    auth: Option<&'a Auth>,
    now: &'a dyn Fn() -> u64,
}

impl<S: Read + Write> Visit<'_, S> {
    /// Answers one request after the other; those that came early wait in `bytes` (RFC 9112 section 9.3.2).
    fn run(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut begun = None;
        loop {
            let mut space = header_space();
            match Request::parse(&bytes, &mut space) {
                Ok(Some((request, length))) => {
                    // What follows a body that nobody wanted is not worth finding.
                    let last = request.last || request.body != Body::NONE;
                    self.answer(&request, last)?;
                    if last {
                        return self.drain(request.body, &bytes[length..]);
                    }
                    bytes.drain(..length);
                    begun = None;
                }
                Ok(None) => match self.read(&mut bytes, &mut begun) {
                    Ok(true) => {}
                    Ok(false) => return Ok(()),
                    Err(status) => {
                        self.refuse((status, String::new()), false, true)?;
                        return self.drain(Body::UntilEnd, &[]);
                    }
                },
                Err(status) => return self.refuse((status, String::new()), false, true),
            }
        }
    }

    /// Reads more of a head, which began to come at `begun`; false where no more comes.
    fn read(&mut self, bytes: &mut Vec<u8>, begun: &mut Option<u64>) -> Result<bool, Status> {
        let kept = bytes.len();
        if kept >= HTTP_HEAD_BYTES_MAX {
            return Err(Status::HeadTooLarge);
        }
        if kept > 0 && self.is_late(*begun.get_or_insert_with(self.now)) {
            return Err(Status::TimedOut);
        }
        bytes.resize(HTTP_HEAD_BYTES_MAX, 0);
        let read = again(|| self.stream.read(&mut bytes[kept..])).unwrap_or(0);
        bytes.truncate(kept + read);
        Ok(read > 0)
    }

    fn is_late(&self, begun: u64) -> bool {
        (self.now)().saturating_sub(begun) > HTTP_HEAD_TIMEOUT.as_micros() / 1_000_000
    }

    /// Lets the rest of a request pass, in bounds: to close on bytes that were not read resets the connection, and the
    /// answer may be lost with it.
    fn drain(&mut self, mut body: Body, first: &[u8]) -> io::Result<()> {
        let begun = (self.now)();
        let mut left = u64::from(DRAIN_BYTES_MAX);
        let mut piece = [0; 4096];
        let mut clear = body.pass(first).is_ok();
        while clear && !body.is_over() && left > 0 && !self.is_late(begun) {
            let read = again(|| self.stream.read(&mut piece))?;
            clear = read > 0 && body.pass(&piece[..read]).is_ok();
            left = left.saturating_sub(read as u64);
        }
        Ok(())
    }

    /// Answers one request; the `last` one with the word that the connection ends.
    fn answer(&mut self, request: &Request<'_>, last: bool) -> io::Result<()> {
        match self.find(request) {
            Ok(Found::File(document)) => self.send_file(request, &document, last),
            Ok(Found::Page(page)) => {
                let mut head = Head::new("200 OK", (self.now)());
                head.put("Content-Type", "text/html; charset=utf-8");
                head.put("X-Content-Type-Options", "nosniff");
                // The page needs no script, no picture and no frame: so none gets in by a name.
                head.put("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
                head.put("Cache-Control", "no-cache");
                head.put("Content-Length", &page.len().to_string());
                let mut answer = head.end(last);
                if !request.is_head() {
                    answer.extend_from_slice(page.as_bytes());
                }
                self.stream.write_all(&answer)
            }
            Err(refusal) => self.refuse(refusal, request.is_head(), last),
        }
    }

    /// What a request is for. Who must log in learns nothing before, not even which paths are good.
    fn find(&self, request: &Request<'_>) -> Result<Found, Refusal> {
        if let Some(auth) = self.auth
            && !request.knows(&auth.user, &auth.password)
        {
            return Err((Status::Unauthorized, request.host.to_string()));
        }
        if !matches!(request.method(), "GET" | "HEAD") {
            return Err((Status::MethodNotAllowed, String::new()));
        }
        let path = Path::read(request.path()).map_err(|status| (status, String::new()))?;
        self.folder.find(&path)
    }

    fn send_file(&mut self, request: &Request<'_>, document: &Document, last: bool) -> io::Result<()> {
        let now = (self.now)();
        let size = document.size;
        // A file of tomorrow has changed now (RFC 9110 section 8.8.2.1).
        let modified = document.modified.min(now);
        let told = |line| {
            let mut head = Head::new(line, now);
            head.put("ETag", &document.tag);
            head.put("Last-Modified", &date(modified));
            head
        };
        let (mut head, range) = match condition::choose(request, &document.tag, modified, size) {
            Choice::Whole => (told("200 OK"), 0..size),
            Choice::Part(range) => {
                let mut head = told("206 Partial Content");
                head.put("Content-Range", &format!("bytes {}-{}/{size}", range.start, range.end - 1));
                (head, range)
            }
            Choice::Unchanged => return self.stream.write_all(&told("304 Not Modified").end(last)),
            Choice::Refused(status) => {
                return self.refuse((status, format!("bytes */{size}")), request.is_head(), last);
            }
        };
        head.put("Accept-Ranges", "bytes");
        head.put("Content-Type", document.kind);
        head.put("X-Content-Type-Options", "nosniff");
        head.put("Content-Length", &(range.end - range.start).to_string());
        let range = if request.is_head() { 0..0 } else { range };
        send(self.stream, &head.end(last), &document.file, range)
    }

    fn refuse(&mut self, (status, detail): Refusal, to_head: bool, last: bool) -> io::Result<()> {
        let mut answer = Vec::new();
        status.write(to_head, last, &detail, &mut answer);
        // Who passes answers on has no date to give; who makes them has (RFC 9110 section 6.6.1).
        let line = answer.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        answer.splice(line..line, format!("Date: {}\r\n", date((self.now)())).into_bytes());
        self.stream.write_all(&answer)
    }
}

/// The head of an answer that is being written.
struct Head(String);

impl Head {
    fn new(line: &str, now: u64) -> Self {
        Self(format!("HTTP/1.1 {line}\r\nDate: {}\r\n", date(now)))
    }

    fn put(&mut self, name: &str, value: &str) {
        for part in [name, ": ", value, "\r\n"] {
            self.0.push_str(part);
        }
    }

    fn end(mut self, last: bool) -> Vec<u8> {
        if last {
            self.put("Connection", "close");
        }
        self.0.push_str("\r\n");
        self.0.into_bytes()
    }
}

/// Sends a head, and this range of a file: the first piece in one write with the head.
///
/// # Errors
/// The stream's, and the file's. A file that has become shorter is an error too: what was announced cannot come
/// any more, and only an early end tells the visitor so (RFC 9112 section 8).
fn send(stream: &mut impl Write, head: &[u8], file: &File, range: Range<u64>) -> io::Result<()> {
    let all = (range.end - range.start).saturating_add(head.len() as u64);
    let mut piece = vec![0; all.min(FILE_PIECE_BYTES as u64) as usize];
    piece[..head.len()].copy_from_slice(head);
    let (mut filled, mut at) = (head.len(), range.start);
    loop {
        let room = (range.end - at).min((piece.len() - filled) as u64) as usize;
        let read = again(|| file.read_at(&mut piece[filled..filled + room], at))?;
        if read == 0 && room > 0 {
            stream.write_all(&piece[..filled])?;
            return Err(ErrorKind::UnexpectedEof.into());
        }
        stream.write_all(&piece[..filled + read])?;
        (filled, at) = (0, at + read as u64);
        if at == range.end {
            return Ok(());
        }
    }
}

/// Does what a signal may have interrupted.
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Seconds since 1970 as HTTP writes them (RFC 9110 section 5.6.7); whatever is later than the year 9999 is its end.
fn date(secs: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(secs.min(LAST)))
}
