//! HTTP as the visitors and real servers of the simulation speak it, written and read by other code than nt's. The path of a
//! request says all that it is about: whose it is and which, how long its body is, and what is to be answered.

use std::ops::Range;

use crate::actors::{fill, first_wrong};
use crate::dice::Random;

/// How a real server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// With a length.
    Length,
    /// In chunks.
    Chunked,
    /// Until the connection ends.
    UntilEnd,
    /// 204, without a body.
    Empty,
    /// 100 first.
    Interim,
    /// With a length and the word that the connection ends, and so it does.
    Last,
    /// With a length; then it ends the connection without a word, sooner or later.
    Tired,
    /// With a length, as soon as it has the head; what is left of the request is read and forgotten.
    Early,
    /// With a length, after a long silence.
    Late,
    /// Half, then it resets.
    Reset,
    /// Half, then it ends.
    Short,
    /// Not at all: it ends the connection …
    Hangup,
    /// … or resets it …
    Slam,
    /// … or says what is no HTTP.
    Nonsense,
}

impl How {
    /// The first of these are whole answers …
    pub const ALL: [Self; 14] = [
        Self::Length,
        Self::Chunked,
        Self::UntilEnd,
        Self::Empty,
        Self::Interim,
        Self::Last,
        Self::Tired,
        Self::Early,
        Self::Late,
        Self::Reset,
        Self::Short,
        Self::Hangup,
        Self::Slam,
        Self::Nonsense,
    ];
    /// … so many.
    pub const WHOLE: usize = 9;

    fn number(self) -> usize {
        Self::ALL.iter().position(|how| *how == self).unwrap_or(0)
    }

    fn is_whole(self) -> bool {
        self.number() < Self::WHOLE
    }
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matter {
    /// Whose it is, and the how manieth.
    pub id: u32,
    pub number: u32,
    pub method: &'static str,
    /// Bytes of its body, and whether they come in chunks.
    pub up: u32,
    pub chunked: bool,
    /// What is to be answered, and bytes of that.
    pub how: How,
    pub down: u32,
}

/// What may be made again where nobody knows whether it has arrived, and what may not.
pub const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "PATCH"];

/// Asked for 2,000 bytes.
pub const GET: Matter =
    Matter { id: 0, number: 0, method: "GET", up: 0, chunked: false, how: How::Length, down: 2_000 };

impl Matter {
    pub fn may_be_repeated(&self) -> bool {
        matches!(self.method, "GET" | "HEAD") && self.up == 0 && !self.chunked
    }

    /// Whether the answer, be it whole, has a body.
    fn is_answered_by_bytes(&self) -> bool {
        self.method != "HEAD" && self.how != How::Empty
    }

    /// Whether a whole answer to it may come.
    pub fn may_be_answered(&self) -> bool {
        let cut = matches!(self.how, How::Reset | How::Short);
        self.how.is_whole() || cut && self.answer_bytes() == 0
    }

    /// Bytes of the answer's body.
    pub fn answer_bytes(&self) -> u32 {
        if self.is_answered_by_bytes() { self.down } else { 0 }
    }

    /// The stream that its body is, and the answer's.
    fn stream(&self) -> u32 {
        1 << 22 | self.id << 4 | self.number
    }

    /// The first of these bytes that is not the one of its body, or of the answer's, from byte `k` on.
    pub fn first_wrong(&self, down: bool, k: u64, bytes: &[u8]) -> Option<u64> {
        first_wrong(self.stream(), down, k, bytes)
    }

    /// More of its body, or of the answer's.
    fn extend(&self, down: bool, range: Range<u64>, bytes: &mut Vec<u8>) {
        let before = bytes.len();
        bytes.resize(before + (range.end - range.start) as usize, 0);
        fill(self.stream(), down, range.start, &mut bytes[before..]);
    }

    fn path(&self) -> String {
        let Self { id, number, up, chunked, how, down, .. } = self;
        format!("/{id}/{number}/{up}/{}/{}/{down}", u8::from(*chunked), how.number())
    }

    /// What stands in the head of a request that was written like [`Self::request`].
    pub fn of(head: &Head) -> Self {
        let [method, target, "HTTP/1.1"] = head.first[..].split(' ').collect::<Vec<_>>()[..] else {
            panic!("a real server was told {:?}", head.first);
        };
        let path = target.strip_prefix("/api").unwrap_or(target);
        let numbers: Vec<u32> = path[1..].split('/').map(|n| n.parse().expect("a number")).collect();
        let &[id, number, up, chunked, how, down] = &numbers[..] else {
            panic!("a real server was told {target}")
        };
        let method = METHODS.into_iter().find(|known| *known == method).expect("a known method");
        Self { id, number, method, up, chunked: chunked == 1, how: How::ALL[how as usize], down }
    }

    /// The request: at this host and path, and with these headers.
    pub fn request(&self, host: &str, prefix: &str, headers: &str) -> Vec<u8> {
        let framing = match self.chunked {
            true => "Transfer-Encoding: chunked\r\n".to_owned(),
            false if self.up > 0 || self.method == "POST" => format!("Content-Length: {}\r\n", self.up),
            false => String::new(),
        };
        let path = self.path();
        let head =
            format!("{} {prefix}{path} HTTP/1.1\r\nHost: {host}\r\n{headers}{framing}\r\n", self.method);
        let mut bytes = head.into_bytes();
        self.body(false, self.up, self.chunked, &mut bytes);
        bytes
    }

    /// The answer of the real server of this port, as far as it comes.
    pub fn answer(&self, port: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (status, framing) = match self.how {
            How::Hangup | How::Slam => return bytes,
            How::Nonsense => return b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(),
            How::Empty => ("204 No Content", String::new()),
            How::Chunked => ("200 OK", "Transfer-Encoding: chunked\r\n".to_owned()),
            How::UntilEnd => ("200 OK", String::new()),
            How::Last => ("200 OK", format!("Content-Length: {}\r\nConnection: close\r\n", self.down)),
            _ => ("200 OK", format!("Content-Length: {}\r\n", self.down)),
        };
        if self.how == How::Interim {
            bytes.extend(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let words = format!("X-Answers: {}/{}\r\nX-By: {port}\r\n", self.id, self.number);
        bytes.extend(format!("HTTP/1.1 {status}\r\n{words}{framing}\r\n").into_bytes());
        let head = bytes.len();
        if self.is_answered_by_bytes() {
            self.body(true, self.down, self.how == How::Chunked, &mut bytes);
        }
        if matches!(self.how, How::Reset | How::Short) && bytes.len() > head {
            bytes.truncate(head + (bytes.len() - head) / 2);
        }
        bytes
    }

    fn body(&self, down: bool, all: u32, chunked: bool, bytes: &mut Vec<u8>) {
        let all = u64::from(all);
        if !chunked {
            return self.extend(down, 0..all, bytes);
        }
        let mut dice = Random(u64::from(self.id << 4 | self.number));
        let mut at = 0;
        while at < all {
            let n = (1 + dice.below(4_000)).min(all - at);
            let line = match dice.below(3) {
                0 => format!("{n:x}\r\n"),
                1 => format!("00{n:X};name=\"value\"\r\n"),
                _ => format!("{n:X}\r\n"),
            };
            bytes.extend(line.into_bytes());
            self.extend(down, at..at + n, bytes);
            bytes.extend(b"\r\n");
            at += n;
        }
        bytes.extend(if dice.chance(30) { &b"0\r\nChecksum: 0\r\n\r\n"[..] } else { b"0\r\n\r\n" });
    }
}

/// The head of a message.
#[derive(Debug)]
pub struct Head {
    pub first: String,
    headers: Vec<(String, String)>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).expect("text");
        let mut lines = text.split_terminator("\r\n");
        let first = lines.next().unwrap_or("").to_owned();
        let headers = lines.filter(|line| !line.is_empty()).map(|line| {
            let (name, value) =
                line.split_once(": ").unwrap_or_else(|| panic!("no header: {line:?} in {text:?}"));
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Self { headers: headers.collect(), first }
    }

    /// A header; `None` where it is missing.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(other, _)| other == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands twice in {self:?}");
        value
    }

    pub fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status")
    }

    /// What follows it; `otherwise` where it does not say.
    pub fn framing(&self, otherwise: Framing) -> Framing {
        match (self.get("content-length"), self.get("transfer-encoding")) {
            (Some(length), None) => Framing::Data(length.parse().expect("a length"), false),
            (None, Some("chunked")) => Framing::Size,
            (None, None) => otherwise,
            _ => panic!("two lengths: {self:?}"),
        }
    }
}

/// A place in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Head,
    /// So many bytes, of a chunk or of all.
    Data(u64, bool),
    /// In the line of a chunk's size, or the one behind its data …
    Size,
    Gap,
    /// … or the last ones.
    Trailer,
    UntilEnd,
}

/// What a byte was.
pub enum Told {
    Nothing,
    /// The last one of a head: what follows must be said.
    Head(Head),
    /// One behind the body, which is over by that.
    Over,
}

/// Reads messages.
#[derive(Debug)]
pub struct Reader {
    line: Vec<u8>,
    at: Framing,
}

impl Default for Reader {
    fn default() -> Self {
        Self { line: Vec::new(), at: Framing::Head }
    }
}

impl Reader {
    /// Nothing of a message has come, or the last one is over.
    pub fn is_between(&self) -> bool {
        self.at == Framing::Head && self.line.is_empty()
    }

    /// The connection's end is the message's.
    pub fn ends_with_connection(&self) -> bool {
        self.at == Framing::UntilEnd
    }

    /// Those of these bytes that are the next of the body, and come at once; none where another follows first.
    pub fn body<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match self.at {
            Framing::Data(left, chunk) => {
                let n = left.min(bytes.len() as u64);
                self.after_data(left - n, chunk);
                &bytes[..n as usize]
            }
            Framing::UntilEnd => bytes,
            Framing::Head | Framing::Size | Framing::Gap | Framing::Trailer => &[],
        }
    }

    /// Bytes of the body were told; so many are left.
    fn after_data(&mut self, left: u64, chunk: bool) {
        self.at = match (left, chunk) {
            (0, true) => Framing::Gap,
            (0, false) => Framing::Head,
            (left, chunk) => Framing::Data(left, chunk),
        };
    }

    /// What follows the head that was told; whether that is nothing.
    pub fn expect(&mut self, framing: Framing) -> bool {
        self.at = if framing == Framing::Data(0, false) { Framing::Head } else { framing };
        self.at == Framing::Head
    }

    /// Whether the message is over.
    pub fn is_over(&self) -> bool {
        self.at == Framing::Head
    }

    /// What the next byte is; those of the body are asked for first ([`Self::body`]).
    pub fn take(&mut self, byte: u8) -> Told {
        match self.at {
            Framing::Data(..) | Framing::UntilEnd => unreachable!("a byte of the body"),
            Framing::Head => {
                self.line.push(byte);
                if !self.line.ends_with(b"\r\n\r\n") {
                    return Told::Nothing;
                }
                return Told::Head(Head::parse(&std::mem::take(&mut self.line)));
            }
            Framing::Size | Framing::Gap | Framing::Trailer => self.line.push(byte),
        }
        if !self.line.ends_with(b"\r\n") {
            return Told::Nothing;
        }
        let line = std::mem::take(&mut self.line);
        let text = std::str::from_utf8(&line[..line.len() - 2]).expect("text");
        self.at = match self.at {
            Framing::Gap => {
                assert!(text.is_empty(), "behind a chunk stands {text:?}");
                Framing::Size
            }
            Framing::Size => {
                let size = text.split(';').next().and_then(|size| u64::from_str_radix(size, 16).ok());
                let size = size.unwrap_or_else(|| panic!("the size of a chunk is {text:?}"));
                if size == 0 { Framing::Trailer } else { Framing::Data(size, true) }
            }
            Framing::Trailer if text.is_empty() => Framing::Head,
            other => other,
        };
        if self.at == Framing::Head { Told::Over } else { Told::Nothing }
    }
}
