//! Visitors by name. Each answer is whole and what was asked for; or it is visibly cut, or a page of nt's says that
//! there is none, by a fault of the client whose name it is.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use super::ledger::{End, Ledger, Trouble};
use super::names::{Door, Line, NAMES};
use super::real::end_of;
use super::requests::{How, Request};
use super::stage::Client;
use super::visitors::{Guest, PATIENCE, PROBE, Visit, whole};
use super::web::{Message, Talk};

/// Kinds, with the share of each.
pub const KINDS: [(&str, u64, Visit); 12] = [
    ("by name", 6, one_request),
    ("by name, HEAD", 2, head),
    ("by name, an upload", 4, upload),
    ("by name, a download", 4, download),
    ("by name, names of all by one connection", 5, many_names),
    ("by name, pipelined", 3, pipelined),
    ("by name, an upgrade", 3, upgrade),
    ("by name, gone within a body", 3, gone),
    ("by name, a slow head", 2, slow_head),
    ("by name, a head without an end", 1, endless_head),
    ("by name, the real server cuts its answer", 3, cut_answer),
    ("by name, which nobody has", 2, nobody),
];

/// Requests of one connection.
const REQUESTS: u64 = 10;
/// What a visitor of many names says and hears is small, so that all that is pipelined finds room on the way.
const SMALL: u64 = 2 << 10;
/// What says that the connection ends behind the answer.
const LAST: &str = "Connection: close\r\n";
/// A head comes in so many pieces, with pauses that let it be whole within nt's 10 s.
const PIECES: usize = 8;
const PIECE_MILLIS: u64 = 300;
/// What nt says itself where it cannot pass a request on.
const PAGES: [&str; 4] =
    ["404 Not Found", "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"];
/// Doors of names …
const ALL: [Door; 3] = [Door::Plain, Door::Ended, Door::PassedOn];
/// … and those behind which nt knows where messages end.
const BY_REQUEST: [Door; 2] = [Door::Plain, Door::Ended];

type Call = Talk<Box<dyn Line>>;

impl Guest<'_> {
    /// Somebody's name by one of these doors.
    fn name(&mut self, doors: &[Door]) -> usize {
        let names: Vec<usize> = (0..NAMES.len()).filter(|&n| doors.contains(&NAMES[n].door)).collect();
        names[self.random.below(names.len() as u64) as usize]
    }

    /// A request of the client that is visited; its sizes and how it is answered are its kind's to say.
    fn request(&mut self, doors: &[Door], method: &'static str, how: How) -> Request {
        let (name, visit, chunked) = (self.name(doors), self.ledger.number(), self.random.chance(50));
        Request { client: self.client.number, name, visit, method, up: 0, chunked, how, down: 0 }
    }

    /// Any request with bodies of less than that.
    fn any_request(&mut self, doors: &[Door], below: u64) -> Request {
        let method = ["GET", "GET", "POST", "HEAD"][self.random.below(4) as usize];
        let how = [How::Length, How::Chunked, How::Empty][self.random.below(3) as usize];
        let (up, down) = (self.random.below(below), self.random.below(below));
        Request { up, down, ..self.request(doors, method, how) }
    }

    fn call(&self, request: &Request) -> Result<Call, Trouble> {
        Ok(self.client.names.enter(&NAMES[request.name], request.client, PATIENCE)?)
    }

    fn ask(&self, talk: &mut Call, request: &Request, more: &str) -> Result<(), Trouble> {
        let end = request.say(talk.writer(), more).map_err(Trouble::from);
        self.settle(request, end.and_then(|()| hear(talk, request)))
    }

    /// A request has been answered, or not; its real server has to have seen the same.
    fn settle(&self, request: &Request, end: Result<(), Trouble>) -> Result<(), Trouble> {
        self.ledger.requested(NAMES[request.name].kind, &end);
        end.map_err(|trouble| trouble.of(request))?;
        self.agrees(request.visit, End::Whole)
    }
}

/// The answer, to its end.
fn hear(talk: &mut Call, request: &Request) -> Result<(), Trouble> {
    let answer = hear_head(talk, request)?;
    if !request.is_answered_by_bytes() {
        return Ok(());
    }
    whole(end_of(request.down, request.words_down().read(talk.body(&answer))))
}

/// The head of the answer: it has to be this request's, and the real server's.
fn hear_head(talk: &mut Call, request: &Request) -> Result<Message, Trouble> {
    let answer = Message { head: talk.head()?, ..Message::default() };
    if answer.is_end() {
        return Err(Trouble::Cut("an end instead of an answer".to_owned()));
    }
    match answer.values("x-answers")[..] {
        [] => Err(told(talk, &answer, request.method == "HEAD")?),
        [visit] if visit == request.visit.to_string() => Ok(answer),
        _ => Err(Trouble::Wrong(format!("the answer to visit {} is {:?}", request.visit, answer.head))),
    }
}

/// The page of nt's that begins with this head comes whole, and tells of a trouble that there is.
fn told(talk: &mut Call, answer: &Message, to_head: bool) -> Result<Trouble, Trouble> {
    if !to_head {
        talk.body(answer).read_to_end(&mut Vec::new())?;
    }
    let line = answer.line().to_owned();
    Ok(if PAGES.contains(&&*line) { Trouble::Told(line) } else { Trouble::Wrong(answer.head.clone()) })
}

/// Nothing follows but the end.
fn over(talk: &mut Call) -> Result<(), Trouble> {
    match talk.reader().read(&mut [0])? {
        0 => Ok(()),
        _ => Err(Trouble::Wrong("bytes behind the last answer".to_owned())),
    }
}

/// Whether every name of a client serves.
pub fn probe(ledger: &Ledger, client: &Client) -> bool {
    let mut requests = (0..NAMES.len()).map(|name| {
        let visit = ledger.number();
        Request {
            client: client.number,
            name,
            visit,
            method: "GET",
            up: 0,
            chunked: false,
            how: How::Empty,
            down: 0,
        }
    });
    requests.all(|request| {
        let talk = client.names.enter(&NAMES[request.name], request.client, PROBE).map_err(Trouble::from);
        let served = talk.and_then(|mut talk| {
            request.say(talk.writer(), "")?;
            hear(&mut talk, &request)
        });
        served.is_ok()
    })
}

/// On a connection of its own, which ends behind the answer, or by the visitor's leave.
fn alone(guest: &mut Guest<'_>, request: &Request) -> Result<(), Trouble> {
    let last = guest.random.chance(50);
    let mut talk = guest.call(request)?;
    guest.ask(&mut talk, request, if last { LAST } else { "" })?;
    if last || request.how == How::UntilEnd {
        over(&mut talk).map_err(|trouble| trouble.of(request))
    } else {
        Ok(())
    }
}

fn one_request(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let request = guest.any_request(&ALL, 64 << 10);
    alone(guest, &request)
}

fn head(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let down = guest.size();
    let how = [How::Length, How::Chunked][guest.random.below(2) as usize];
    let request = Request { down, ..guest.request(&ALL, "HEAD", how) };
    alone(guest, &request)
}

fn upload(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let up = guest.size();
    let request = Request { up, ..guest.request(&ALL, "POST", How::Length) };
    alone(guest, &request)
}

fn download(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let down = guest.size();
    let how = [How::Length, How::Chunked, How::UntilEnd][guest.random.below(3) as usize];
    let request = Request { down, ..guest.request(&ALL, "GET", how) };
    alone(guest, &request)
}

/// Somebody who has one connection for the names of all clients. What goes wrong is of the client that is asked.
fn many_names(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let door = [[Door::Plain], [Door::Ended]][guest.random.below(2) as usize];
    let mut talk = None;
    for _ in 0..1 + guest.random.below(REQUESTS) {
        guest.goes_elsewhere();
        let request = guest.any_request(&door, 64 << 10);
        let talk = match &mut talk {
            Some(talk) => talk,
            None => talk.insert(guest.call(&request)?),
        };
        guest.ask(talk, &request, "")?;
        let pause = if guest.random.chance(10) { 3_000 } else { 50 };
        thread::sleep(Duration::from_millis(guest.random.below(pause)));
    }
    Ok(())
}

/// Somebody who asks all clients at once, and hears the answers in that order.
fn pipelined(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let door = [[Door::Plain], [Door::Ended]][guest.random.below(2) as usize];
    let (mut asked, mut said) = (Vec::new(), Vec::new());
    for _ in 0..1 + guest.random.below(REQUESTS) {
        guest.goes_elsewhere();
        let request = guest.any_request(&door, SMALL);
        request.say(&mut said, "")?;
        asked.push((guest.client, request));
    }
    guest.client = asked[0].0;
    let mut talk = guest.call(&asked[0].1)?;
    talk.writer().write_all(&said)?;
    talk.writer().flush()?;
    for (client, request) in asked {
        guest.client = client;
        guest.settle(&request, hear(&mut talk, &request))?;
    }
    Ok(())
}

/// Behind a 101, bytes both ways, each with its own end.
fn upgrade(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let (up, down) = (guest.size(), guest.size());
    let request = Request { up, down, ..guest.request(&ALL, "GET", How::Switch) };
    let mut talk = guest.call(&request)?;
    request.say(talk.writer(), "")?;
    hear(&mut talk, &request)?;
    request.words_up().write(talk.writer(), up)?;
    talk.writer().flush()?;
    whole(end_of(down, request.words_down().read(talk.reader())))?;
    talk.writer().end()?;
    guest.agrees(request.visit, End::Whole)
}

/// Somebody who resets the connection, or ends it, within its body: the real server must not take that for the end.
fn gone(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let ends = guest.random.chance(50);
    let (said, more) = (guest.random.below(64 << 10), 1 + guest.random.below(64 << 10));
    // Whose TLS is passed on ends what it likes.
    let doors = if ends { &BY_REQUEST[..] } else { &ALL };
    let request = Request { up: said + more, chunked: false, ..guest.request(doors, "POST", How::Length) };
    let mut talk = guest.call(&request)?;
    talk.writer().write_all(request.head("Expect: 100-continue\r\n").as_bytes())?;
    talk.writer().flush()?;
    let interim = Message { head: talk.head()?, ..Message::default() };
    if interim.line() != "100 Continue" {
        return Err(told(&mut talk, &interim, false)?);
    }
    request.words_up().write(talk.writer(), said)?;
    talk.writer().flush()?;
    if ends {
        talk.writer().end()?;
    } else {
        drop(talk);
    }
    guest.agrees(request.visit, End::Cut)
}

fn slow_head(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let request = Request { down: guest.random.below(SMALL), ..guest.request(&ALL, "GET", How::Length) };
    let (mut talk, head) = (guest.call(&request)?, request.head(""));
    for piece in head.as_bytes().chunks(head.len().div_ceil(PIECES)) {
        talk.writer().write_all(piece)?;
        talk.writer().flush()?;
        thread::sleep(Duration::from_millis(guest.random.below(PIECE_MILLIS)));
    }
    guest.settle(&request, hear(&mut talk, &request))
}

/// Who never says all of a head is told so, and let go.
fn endless_head(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let request = guest.request(&BY_REQUEST, "GET", How::Empty);
    let (mut talk, head) = (guest.call(&request)?, request.head(""));
    talk.writer().write_all(&head.as_bytes()[..head.len() / 2])?;
    talk.writer().flush()?;
    let answer = Message { head: talk.head()?, ..Message::default() };
    if answer.line() != "408 Request Timeout" {
        return Err(Trouble::Wrong(format!("half a head is answered by {:?}", answer.head)));
    }
    talk.body(&answer).read_to_end(&mut Vec::new())?;
    over(&mut talk)
}

/// An answer that is cut must not look whole; before its head has passed, a page may come in its place.
fn cut_answer(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let how = [How::Short, How::Reset][guest.random.below(2) as usize];
    // A real server may end the TLS that is its own as it likes.
    let request = Request { down: 2 + guest.size(), ..guest.request(&BY_REQUEST, "POST", how) };
    let mut talk = guest.call(&request)?;
    request.say(talk.writer(), "")?;
    match hear(&mut talk, &request) {
        Ok(()) => Err(Trouble::Wrong("an answer that was cut came whole".to_owned())),
        Err(Trouble::Cut(_) | Trouble::Told(_)) => Ok(()),
        wrong => wrong,
    }
}

/// A name that nobody has; then one that somebody has.
fn nobody(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let request = guest.any_request(&[Door::Plain], SMALL);
    let mut talk = guest.call(&request)?;
    talk.writer().write_all(b"GET / HTTP/1.1\r\nHost: nobody.example.org\r\n\r\n")?;
    let page = talk.hear()?;
    match page.line() {
        "404 Not Found" => guest.ask(&mut talk, &request, ""),
        _ if page.is_end() => Err(Trouble::Cut("an end instead of a page".to_owned())),
        line => Err(Trouble::Wrong(format!("who has no name says {line}"))),
    }
}
