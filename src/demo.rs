//! What `nt demo` adds to a server and a client: a small web page behind the tunnel, and a visitor that
//! fetches it once.

use std::net::SocketAddr;

use crate::note::{Level, Note};
use crate::reason::Reason;
use crate::role::{Input, Manner, Outbox, Role, Speech, Verb};
use crate::slots::{Key, Table};
use crate::time::{Span, Time};

/// The sample page.
const PAGE: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>nt demo</title>\
<style>body{font:1.1rem/1.6 system-ui,sans-serif;max-width:36rem;margin:12vh auto;padding:0 1rem}\
code{background:#8882;padding:.1em .3em;border-radius:.2em}</style>\
<h1>It works.</h1><p>This page came from a server that listens on loopback only, through <code>nt -c</code>, \
over TLS, to <code>nt -s</code>, and from its public port to you.</p></html>\n";

/// Longest request head that the page's server reads.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// A connection to the page that says nothing is closed after this.
const PAGE_TIMEOUT: Span = Span::from_secs(10);
/// Pause before the visitor tries again: the mapping is not live at once.
const FETCH_PAUSE: Span = Span::from_millis(20);
/// The visitor gives up after this.
const FETCH_TIMEOUT: Span = Span::from_secs(10);

/// The web server behind the tunnel.
#[derive(Debug)]
pub struct Page {
    address: SocketAddr,
    /// What each connection has said, and since when it is open.
    heads: Table<(Vec<u8>, Time)>,
}

impl Page {
    /// A page that will be served at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, heads: Table::default() }
    }

    fn said(&mut self, key: Key, bytes: &[u8], out: &mut Outbox<'_>) {
        let Some((head, _)) = self.heads.get_mut(key) else { return };
        head.extend_from_slice(bytes);
        let whole = head.windows(4).any(|end| end == b"\r\n\r\n");
        if !whole && head.len() < HEAD_BYTES_MAX {
            return;
        }
        let (status, body) = if !whole {
            ("431 Request Header Fields Too Large", "")
        } else if head.starts_with(b"GET / ") || head.starts_with(b"HEAD / ") {
            ("200 OK", PAGE)
        } else {
            ("404 Not Found", "There is only one page here: /\n")
        };
        let kind = if body == PAGE { "text/html" } else { "text/plain" };
        let shown = if head.starts_with(b"HEAD ") { "" } else { body };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{shown}",
            body.len()
        );
        out.send_bytes(key, answer.as_bytes());
        out.close(key, Manner::End);
        self.heads.remove(key);
    }
}

impl Role for Page {
    fn step(&mut self, now: Time, input: Input<'_>, out: &mut Outbox<'_>) {
        match input {
            Input::Start => {
                out.listen(self.address, Speech::Local);
            }
            Input::BindFailed(_, reason) => {
                let text = format!("the sample page cannot be served on {}: {reason}", self.address);
                out.note(Note::Plain(Level::Error, text));
                out.push(Verb::Exit(1));
            }
            Input::Accepted { key, .. } => self.heads.insert(key, (Vec::new(), now)),
            Input::Bytes(key, bytes) => self.said(key, bytes, out),
            Input::Ended(key) => {
                self.heads.remove(key);
                out.close(key, Manner::End);
            }
            Input::Lost(key, _) => {
                self.heads.remove(key);
            }
            Input::Timeout => {
                let silent = self.heads.iter().filter(|(_, (_, since))| *since + PAGE_TIMEOUT <= now);
                let silent: Vec<Key> = silent.map(|(key, _)| key).collect();
                for key in silent {
                    self.heads.remove(key);
                    out.close(key, Manner::Cut);
                }
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Time {
        self.heads.iter().map(|(_, (_, since))| *since + PAGE_TIMEOUT).min().unwrap_or(Time::NEVER)
    }
}

/// The visitor that fetches the page once.
#[derive(Debug)]
pub struct Fetch {
    public: SocketAddr,
    /// End the program after the fetch.
    once: bool,
    state: Fetching,
    give_up: Time,
}

#[derive(Debug)]
enum Fetching {
    /// The next try is due.
    Pausing(Time),
    /// A connection is being made, or the answer comes in.
    Asking(Key, Vec<u8>),
    /// Done.
    Done,
}

impl Fetch {
    /// A visitor of `public`, who ends the program afterwards if `once`.
    pub fn new(public: SocketAddr, once: bool) -> Self {
        Self { public, once, state: Fetching::Pausing(Time::default()), give_up: Time::NEVER }
    }

    fn tried(&mut self, now: Time, reason: Reason, out: &mut Outbox<'_>) {
        self.state = Fetching::Pausing(now + FETCH_PAUSE);
        if now >= self.give_up {
            self.state = Fetching::Done;
            let text = format!("http://{}/ cannot be fetched through the tunnel: {reason}", self.public);
            out.note(Note::Plain(Level::Error, text));
            out.push(Verb::Exit(1));
        }
    }

    fn answered(&mut self, now: Time, answer: &[u8], out: &mut Outbox<'_>) {
        if !answer.starts_with(b"HTTP/1.1 200 ") || !answer.ends_with(PAGE.as_bytes()) {
            return self.tried(now, Reason::Ended, out);
        }
        self.state = Fetching::Done;
        let text = format!(
            "fetched http://{}/ through the tunnel: {} bytes, as they should be",
            self.public,
            PAGE.len()
        );
        out.note(Note::Plain(Level::Info, text));
        if self.once {
            out.push(Verb::Exit(0));
        } else {
            let text = format!("open http://{}/ in a browser; Ctrl-C ends the demo", self.public);
            out.note(Note::Plain(Level::Info, text));
        }
    }
}

impl Role for Fetch {
    fn step(&mut self, now: Time, input: Input<'_>, out: &mut Outbox<'_>) {
        match (input, &mut self.state) {
            (Input::Start, _) => {
                self.give_up = now + FETCH_TIMEOUT;
                self.state = Fetching::Pausing(now + FETCH_PAUSE);
            }
            (Input::Timeout, Fetching::Pausing(due)) if *due <= now => {
                match out.dial(self.public, Speech::Local, None) {
                    Some(key) => self.state = Fetching::Asking(key, Vec::new()),
                    None => self.tried(now, Reason::System, out),
                }
            }
            (Input::Dialed(key), Fetching::Asking(ours, _)) if key == *ours => {
                let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.public);
                out.send_bytes(key, request.as_bytes());
            }
            (Input::Bytes(key, bytes), Fetching::Asking(ours, answer)) if key == *ours => {
                answer.extend_from_slice(bytes);
                if answer.len() > 4 * PAGE.len() {
                    out.close(key, Manner::Cut);
                    self.tried(now, Reason::Protocol, out);
                }
            }
            (Input::Ended(key), Fetching::Asking(ours, answer)) if key == *ours => {
                out.close(key, Manner::End);
                let answer = std::mem::take(answer);
                self.answered(now, &answer, out);
            }
            (Input::Lost(key, reason), Fetching::Asking(ours, _)) if key == *ours => {
                self.tried(now, reason, out)
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Time {
        match self.state {
            Fetching::Pausing(due) => due,
            Fetching::Asking(..) | Fetching::Done => Time::NEVER,
        }
    }
}
