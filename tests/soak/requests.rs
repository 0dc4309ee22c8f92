//! Requests by name, at both ends. The path of each says all that it is about: whose it is, how long its body is, and
//! what is to be answered. So whoever gets one can tell whether it was changed, cut, brought to another, or made
//! twice.

use std::collections::BTreeSet;
use std::io::{BufWriter, Error, Result, Write};
use std::sync::Mutex;

use super::data::{Pattern, Random};
use super::ledger::{End, Ledger};
use super::names::{Door, Line, NAMES};
use super::real::{end_of, is_cut, reset};
use super::web::{Message, Talk};

/// Most bytes of a chunk.
const CHUNK_MAX: u64 = 20_000;

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// With a length.
    Length,
    Chunked,
    /// Without a body.
    Empty,
    /// Up to the end of the connection.
    UntilEnd,
    /// Bytes follow, both ways.
    Switch,
    /// Half of it, then the end …
    Short,
    /// … or a reset.
    Reset,
}

const HOWS: [How; 7] =
    [How::Length, How::Chunked, How::Empty, How::UntilEnd, How::Switch, How::Short, How::Reset];

#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub client: usize,
    /// Its place in [`NAMES`].
    pub name: usize,
    pub visit: u64,
    pub method: &'static str,
    /// Bytes of its body; behind [`How::Switch`], of what the visitor says.
    pub up: u64,
    pub chunked: bool,
    pub how: How,
    /// Bytes of the answer's.
    pub down: u64,
}

const METHODS: [&str; 3] = ["GET", "HEAD", "POST"];

impl Request {
    /// Its bytes up to its body.
    pub fn head(&self, more: &str) -> String {
        let Self { client, name, visit, method, up, how, down, .. } = *self;
        let framing = match (how, method) {
            (How::Switch, _) => "Connection: Upgrade\r\nUpgrade: websocket\r\n".to_owned(),
            (_, "POST") if self.chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
            (_, "POST") => format!("Content-Length: {up}\r\n"),
            _ => String::new(),
        };
        let (prefix, host) = (NAMES[name].path(client), NAMES[name].host(client));
        let path = format!("{prefix}/{client}/{name}/{visit}/{up}/{}/{down}", how as u64);
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}{framing}\r\n")
    }

    /// Says all of it.
    pub fn say(&self, mut line: impl Write, more: &str) -> Result<()> {
        line.write_all(self.head(more).as_bytes())?;
        if self.method == "POST" {
            self.body(&mut line, self.words_up(), self.up, self.chunked)?;
        }
        line.flush()
    }

    /// The request that begins with this head, at its real server.
    fn of(asked: &Message) -> Option<Self> {
        let mut words = asked.line().split(' ');
        let method = words.next()?;
        let method = METHODS.into_iter().find(|known| *known == method)?;
        let numbers: Option<Vec<u64>> = words.next()?.rsplit('/').take(6).map(|n| n.parse().ok()).collect();
        let [down, how, up, visit, name, client] = numbers?.try_into().ok()?;
        let chunked = asked.values("transfer-encoding") == ["chunked"];
        let (client, name, how) = (client as usize, name as usize, *HOWS.get(how as usize)?);
        Some(Self { client, name, visit, method, up, chunked, how, down })
    }

    /// What the visitor says.
    pub fn words_up(&self) -> Pattern {
        Pattern::new(self.visit)
    }

    /// What the real server says.
    pub fn words_down(&self) -> Pattern {
        Pattern::new(!self.visit)
    }

    /// Whether the answer has bytes behind its head.
    pub fn is_answered_by_bytes(&self) -> bool {
        self.method != "HEAD" && !matches!(self.how, How::Empty | How::Switch)
    }

    fn body(&self, mut line: impl Write, mut words: Pattern, total: u64, chunked: bool) -> Result<()> {
        if !chunked {
            return words.write(line, total);
        }
        let (mut line, mut dice, mut left) = (BufWriter::new(&mut line), Random(self.visit), total);
        while left > 0 {
            let count = (1 + dice.below(CHUNK_MAX)).min(left);
            write!(line, "{count:x}\r\n")?;
            words.write(&mut line, count)?;
            line.write_all(b"\r\n")?;
            left -= count;
        }
        line.write_all(b"0\r\n\r\n")?;
        line.flush()
    }

    /// The answer, or the half of it that is to come.
    fn answer(&self, line: &mut dyn Line) -> Result<()> {
        let (status, framing) = match self.how {
            How::Empty => ("204 No Content", String::new()),
            How::Switch => {
                ("101 Switching Protocols", "Connection: Upgrade\r\nUpgrade: websocket\r\n".to_owned())
            }
            How::Chunked => ("200 OK", "Transfer-Encoding: chunked\r\n".to_owned()),
            How::UntilEnd => ("200 OK", String::new()),
            How::Length | How::Short | How::Reset => ("200 OK", format!("Content-Length: {}\r\n", self.down)),
        };
        let head = format!("HTTP/1.1 {status}\r\nX-Answers: {}\r\n{framing}\r\n", self.visit);
        line.write_all(head.as_bytes())?;
        if self.is_answered_by_bytes() {
            let half = matches!(self.how, How::Short | How::Reset);
            let total = if half { self.down / 2 } else { self.down };
            self.body(&mut *line, self.words_down(), total, self.how == How::Chunked)?;
        }
        line.flush()
    }

    /// Behind an upgrade: hears the visitor out, speaks to the end, and hears the visitor's.
    fn switch(&self, talk: &mut Talk<Box<dyn Line>>) -> std::result::Result<End, String> {
        let mut words = self.words_up();
        if end_of(self.up, words.read_some(talk.reader(), self.up))? == End::Cut {
            return Ok(End::Cut);
        }
        let said = self.words_down().write(talk.writer(), self.down);
        match said.and_then(|()| talk.writer().end()) {
            Ok(()) => end_of(0, words.read(talk.reader())),
            Err(_) => Ok(End::Cut),
        }
    }
}

/// Requests that must not come twice.
static POSTED: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// The real server of this name, for one connection.
pub fn serve(ledger: &Ledger, name: usize, line: Box<dyn Line>) {
    let mut talk = Talk::over(line);
    loop {
        match exchange(ledger, name, &mut talk) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) if is_cut(&error) => return,
            Err(error) => return ledger.fail(format!("at the real server of a name: {error}")),
        }
    }
}

/// Hears a request and answers; whether another may follow.
fn exchange(ledger: &Ledger, name: usize, talk: &mut Talk<Box<dyn Line>>) -> Result<bool> {
    let asked = Message { head: talk.head()?, ..Message::default() };
    if asked.is_end() {
        return Ok(false);
    }
    let Some(request) = Request::of(&asked) else {
        return Err(Error::other(format!("nobody asks {:?}", asked.head)));
    };
    if request.name != name {
        return Err(Error::other(format!("what was for name {} came to {name}: {request:?}", request.name)));
    }
    let by = match NAMES[request.name].door {
        Door::PassedOn => vec![],
        Door::Plain | Door::Ended => vec![format!("{}.{}", request.client, request.name)],
    };
    if asked.values("x-by") != by {
        return Err(Error::other(format!("visit {} is not by {by:?}: {:?}", request.visit, asked.head)));
    }
    if request.method == "POST" && !POSTED.lock().unwrap().insert(request.visit) {
        return Err(Error::other(format!("visit {} came twice", request.visit)));
    }
    if !asked.values("expect").is_empty() {
        talk.writer().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        talk.writer().flush()?;
    }
    if request.how == How::Switch {
        request.answer(talk.writer().as_mut())?;
        ledger.judge(request.visit, request.switch(talk));
        return Ok(false);
    }
    let up = if request.method == "POST" { request.up } else { 0 };
    let heard = end_of(up, request.words_up().read(talk.body(&asked)));
    let whole = heard == Ok(End::Whole);
    ledger.judge(request.visit, heard);
    if !whole {
        return Ok(false);
    }
    request.answer(talk.writer().as_mut())?;
    // What is passed on ends as the visitor wishes; else nt sees to that.
    let last = asked.values("connection") == ["close"];
    match request.how {
        How::Length | How::Chunked | How::Empty if !last => return Ok(true),
        How::Length | How::Chunked | How::Empty | How::UntilEnd | How::Short => {
            talk.writer().end()?;
            std::io::copy(talk.reader(), &mut std::io::sink())?;
        }
        How::Reset => reset(talk.writer().tcp().try_clone()?),
        How::Switch => {}
    }
    Ok(false)
}
