//! HTTP by hand: visitors and real servers that say exactly what a test wants, and a site of names for them.

use std::io::{BufRead, BufReader, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::thread;

use super::harness::{Backend, Kind, SOON, Server, visit};
use super::process::eventually;
use super::rest::{Nt, at_rest, end};

/// One end of a connection that speaks HTTP.
pub struct Talk<S = TcpStream>(BufReader<S>);

/// A head as it came, and the body behind it, out of its chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// With its empty line; empty where the connection ended instead.
    pub head: String,
    pub body: Vec<u8>,
}

impl Message {
    /// The values of a header, in their order.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(':'));
        headers.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    pub fn is_end(&self) -> bool {
        self.head.is_empty()
    }

    /// The first line; of an answer without its version.
    pub fn line(&self) -> &str {
        let line = self.head.lines().next().unwrap_or("");
        line.strip_prefix("HTTP/1.1 ").unwrap_or(line)
    }

    /// Which of many cases is asked for: by a path that is a number.
    pub fn number(&self) -> usize {
        self.head.split(' ').nth(1).unwrap_or("").trim_start_matches('/').parse().unwrap_or(0)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Which [`mirror`] has answered.
    pub fn from(&self) -> &str {
        self.values("x-from").first().copied().unwrap_or("nobody")
    }
}

impl Talk {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    pub fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }

    pub fn say(&self, bytes: impl AsRef<[u8]>) {
        self.stream().write_all(bytes.as_ref()).unwrap();
    }

    /// Asks for a path of a name, and hears the answer.
    pub fn get(&mut self, host: &str, path: &str) -> Message {
        self.say(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        self.hear().unwrap()
    }
}

impl<S: Read> Talk<S> {
    pub fn over(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    /// What has come is heard before what comes.
    pub fn reader(&mut self) -> &mut impl Read {
        &mut self.0
    }

    #[allow(dead_code, reason = "the soak says by it what it has to say over TLS")]
    pub fn writer(&mut self) -> &mut S {
        self.0.get_mut()
    }

    /// The next head; empty where the connection ends.
    pub fn head(&mut self) -> Result<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if self.0.read_until(b'\n', &mut head)? == 0 {
                assert!(head.is_empty(), "it ends within a head: {}", head.escape_ascii());
                break;
            }
        }
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    /// The next message, whole; not the answer to HEAD.
    pub fn hear(&mut self) -> Result<Message> {
        let mut message = Message { head: self.head()?, body: Vec::new() };
        let mut body = Vec::new();
        self.body(&message).read_to_end(&mut body)?;
        message.body = body;
        Ok(message)
    }

    /// The body behind a head.
    pub fn body(&mut self, message: &Message) -> Body<'_, S> {
        let is_answer = message.head.starts_with("HTTP/");
        let status = message.head.split(' ').nth(1).unwrap_or("");
        let bare = is_answer && (status.starts_with('1') || status == "204" || status == "304");
        let bare = bare || message.is_end();
        let chunked = message.values("transfer-encoding") == ["chunked"];
        let length = message.values("content-length").first().map(|length| length.parse().unwrap());
        let until_end = is_answer && !chunked && length.is_none();
        let left = if until_end { u64::MAX } else { length.unwrap_or(0) };
        Body {
            talk: self,
            left: if bare || chunked { 0 } else { left },
            chunked: chunked && !bare,
            until_end,
        }
    }

    pub fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The next line, without its end.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(line.strip_suffix("\r\n").ok_or(ErrorKind::UnexpectedEof)?.to_owned())
    }

    /// All that still comes, and how it ends: that it does is waited for.
    pub fn rest(&mut self) -> Result<Vec<u8>> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("it does not end behind {}", rest.escape_ascii())
            }
            end => end.map(|_| rest),
        }
    }
}

/// A body that is heard piece by piece, out of its chunks.
pub struct Body<'a, S> {
    talk: &'a mut Talk<S>,
    /// Bytes left of it, or of the present chunk.
    left: u64,
    /// A chunk more follows.
    chunked: bool,
    /// It is as long as the connection.
    until_end: bool,
}

impl<S: Read> Body<'_, S> {
    fn next_chunk(&mut self) -> Result<()> {
        let line = self.talk.line()?;
        let size = u64::from_str_radix(line.split(';').next().unwrap_or(""), 16);
        self.left = size.map_err(|_| ErrorKind::InvalidData)?;
        if self.left == 0 {
            self.chunked = false;
            while !self.talk.line()?.is_empty() {}
        }
        Ok(())
    }
}

impl<S: Read> Read for Body<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.left == 0 && self.chunked {
            self.next_chunk()?;
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let count = self.talk.0.read(&mut buffer[..most])?;
        if count == 0 && !self.until_end {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        if self.left == 0 && self.chunked {
            assert_eq!(self.talk.line()?, "", "behind a chunk");
        }
        Ok(count)
    }
}

/// A real server that gives each connection to `serve`.
pub fn backend(serve: impl Fn(&mut Talk) -> Result<()> + Send + Sync + 'static) -> Backend {
    // A connection that is cut is the visitor's to see.
    Backend::new(move |stream| drop(serve(&mut Talk::new(stream))))
}

/// A real server that answers each request with what it was: the head that it got, and the body behind it.
pub fn mirror(name: &'static str) -> Backend {
    backend(move |talk| {
        loop {
            let asked = talk.hear()?;
            if asked.is_end() {
                return Ok(());
            }
            reflect(talk, name, &asked)?;
        }
    })
}

/// Answers one request as [`mirror`] does.
pub fn reflect(talk: &Talk, name: &str, asked: &Message) -> Result<()> {
    let length = asked.head.len() + asked.body.len();
    let head = format!("HTTP/1.1 200 OK\r\nX-From: {name}\r\nContent-Length: {length}\r\n\r\n");
    let mut answer = head.into_bytes();
    if !asked.head.starts_with("HEAD ") {
        answer.extend_from_slice(asked.head.as_bytes());
        answer.extend_from_slice(&asked.body);
    }
    talk.stream().write_all(&answer)
}

/// A server with a port for names, and a client that publishes some.
pub struct Site {
    pub client: Nt,
    pub server: Server,
    pub kind: Kind,
    pub mappings: Vec<String>,
}

impl Site {
    pub fn new(kind: Kind, mappings: &[String]) -> Self {
        let server = Server::start_with_names();
        let client = server.client(kind, mappings);
        let site = Self { client, server, kind, mappings: mappings.to_vec() };
        site.is_ready();
        site
    }

    /// Every mapping is served.
    pub fn is_ready(&self) {
        eventually("all mappings are ready", SOON, || {
            let lines = self.client.log().lines();
            lines.iter().filter(|line| line.ends_with(" ready") && line.contains("info")).count()
                >= self.mappings.len()
        });
    }

    /// Starts the client again, with the same words.
    pub fn client_again(&mut self) {
        self.client = self.server.client(self.kind, &self.mappings);
        self.is_ready();
    }

    /// The port that visitors come to.
    pub fn port(&self) -> u16 {
        self.server.names.expect("was started with it")
    }

    pub fn visit(&self) -> Talk {
        Talk::new(visit(self.port()))
    }

    /// What comes to who says these bytes and then listens; and how it ends.
    pub fn told(&self, bytes: impl AsRef<[u8]>) -> (Message, Result<Vec<u8>>) {
        let mut visitor = self.visit();
        // It may be sent away before it has said all.
        let _ = visitor.stream().write_all(bytes.as_ref());
        let answer = visitor.hear();
        let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", bytes.as_ref().escape_ascii()));
        (answer, visitor.rest())
    }

    /// What a test may rely on in its midst.
    pub fn at_rest(&mut self) {
        at_rest([&mut self.server.process, &mut self.client]);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let both = [&mut self.server.process, &mut self.client];
        if !thread::panicking() && both.into_iter().all(|nt| nt.is_awake()) {
            end([&mut self.client, &mut self.server.process]);
        }
    }
}
