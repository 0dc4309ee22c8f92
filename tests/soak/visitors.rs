//! Visitors of every kind. Each knows how its visit has to end, and asks the real server whether it saw the same.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::callers;
use super::data::Pattern;
use super::datagrams::{ANSWER, Talk};
use super::detours;
use super::dice::Random;
use super::ledger::{End, Ledger, Trouble};
use super::real::{Act, Order, end_of, is_cut};
use super::stage::Client;

/// A visitor who hears nothing for so long hangs: a frozen end is given up after 30 s, and few wait for two.
pub const PATIENCE: Duration = Duration::from_secs(100);
/// The two sides of a visit learn its end at about the same time; one of them may be frozen.
const AGREEMENT: Duration = Duration::from_secs(60);
/// A probe that takes longer is tried again.
pub const PROBE: Duration = Duration::from_secs(3);
/// Between two visits of one visitor …
const PAUSE_MILLIS: Range<u64> = 0..300;
/// … and after one that was cut.
const DISAPPOINTED_MILLIS: Range<u64> = 1_000..3_000;
/// Visitors of a burst.
const BURST: u64 = 100;
/// Those that send a datagram: each leaves a flow that is there for a minute.
const DATAGRAM_BURST: u64 = 30;
/// Datagrams of one conversation, and of those how many at once.
const CONVERSATION: u64 = 20;
const DATAGRAMS_AT_ONCE: u64 = 8;

/// One burst at a time, so that the greatest crowd is as great at the beginning as at the end.
static BURSTING: Mutex<()> = Mutex::new(());

/// Kinds, with the share of each; those by name, and by detours, follow.
const KINDS: [(&str, u64, Visit); 20] = [
    ("echo", 20, echo),
    ("up only", 9, up_only),
    ("down only", 11, down_only),
    ("both ways at once", 6, both_ways),
    ("the visitor ends first", 6, visitor_ends_first),
    ("the real server ends first", 6, real_server_ends_first),
    ("the visitor resets", 6, visitor_resets),
    ("the real server resets", 5, real_server_resets),
    ("the real server speaks first", 4, real_server_speaks_first),
    ("a slow reader", 3, slow_reader),
    ("silent for a while", 4, silent),
    ("idle in the midst", 3, idle),
    ("the real server never speaks", 2, unheard),
    ("nobody listens there", 4, refused),
    ("a hundred at once", 1, burst),
    ("datagrams", 4, datagrams),
    ("datagrams after a while", 2, datagrams_after_a_while),
    ("one datagram, and gone", 2, datagram_and_gone),
    ("datagrams to nobody", 1, datagrams_to_nobody),
    ("a datagram each of thirty", 1, datagram_burst),
];

pub type Visit = fn(&mut Guest<'_>) -> Result<(), Trouble>;

/// Somebody who visits one client, or, by name, now this one and now that.
pub struct Guest<'a> {
    pub ledger: &'a Ledger,
    pub client: &'a Client,
    /// Another one, that it is visited by.
    by: Option<usize>,
    clients: &'a [Client],
    pub random: Random,
}

/// Visits as long as there is churn.
pub fn visit(ledger: &Ledger, clients: &[Client], client: &Client, mut random: Random) {
    let all = || KINDS.iter().chain(&callers::KINDS).chain(&detours::KINDS);
    while ledger.churns() {
        let mut at = random.below(all().map(|(_, share, _)| share).sum());
        let mut kinds = all();
        let kind = kinds.find(|(_, share, _)| at.checked_sub(*share).inspect(|rest| at = *rest).is_none());
        let (name, _, visit) = kind.unwrap_or(&KINDS[0]);
        let begun = Instant::now();
        let mut guest = Guest { ledger, client, by: None, clients, random: Random(random.next()) };
        let end = visit(&mut guest);
        let pause = if end.is_ok() { PAUSE_MILLIS } else { DISAPPOINTED_MILLIS };
        let clients = [Some(guest.client.number), guest.by];
        ledger.visited(name, clients.into_iter().flatten(), begun, end);
        ledger.pause(&mut random, pause, Ledger::churns);
    }
}

/// Whether the client's mappings serve.
pub fn probe(ledger: &Ledger, client: &Client) -> bool {
    let first = || -> std::io::Result<()> {
        let order = Order::hear(&connect(client.ports.first, PROBE)?)?;
        // It is not visited for its words: leaving is right.
        (order.act == Act::Tell).then_some(()).ok_or_else(|| ErrorKind::InvalidData.into())
    };
    let echo = || -> std::io::Result<()> {
        let stream = connect(client.ports.obedient, PROBE)?;
        let order = Order { visit: 0, act: Act::Echo, up: 64, down: 64 };
        order.send(&stream)?;
        order.words_up().write(&stream, order.up)?;
        stream.shutdown(Shutdown::Write)?;
        let heard = order.words_up().read(&stream);
        (heard == (order.up, Ok(()))).then_some(()).ok_or_else(|| ErrorKind::InvalidData.into())
    };
    let datagram = || -> Result<(), Trouble> {
        let mut talk = Talk::begin(ledger.number(), client.ports.datagrams)?;
        talk.say(1)?;
        // What is wrong with an answer is for visitors to tell.
        talk.hear(PROBE)?.then_some(()).ok_or_else(|| Trouble::Cut("no answer".to_owned()))
    };
    echo().and_then(|()| first()).is_ok()
        && datagram().is_ok()
        && callers::probe(ledger, client)
        && detours::probe(client)
}

pub fn connect(port: u16, patience: Duration) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    // Whoever leaves before the end does not leave by an end.
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    Ok(stream)
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        if is_cut(&error) { Self::Cut(error.to_string()) } else { Self::Wrong(error.to_string()) }
    }
}

/// Everything is to have come.
pub fn whole(end: Result<End, String>) -> Result<(), Trouble> {
    match end {
        Ok(End::Whole) => Ok(()),
        Ok(End::Cut) => Err(Trouble::Cut("it was reset".to_owned())),
        Err(why) => Err(Trouble::Wrong(why)),
    }
}

impl Guest<'_> {
    fn order(&mut self, act: Act, up: u64, down: u64) -> Order {
        Order { visit: self.ledger.number(), act, up, down }
    }

    fn enter(&self, order: &Order) -> Result<TcpStream, Trouble> {
        let stream = connect(self.client.ports.obedient, PATIENCE)?;
        order.send(&stream)?;
        Ok(stream)
    }

    /// Now it visits any client.
    pub fn goes_elsewhere(&mut self) {
        self.client = &self.clients[self.random.below(self.clients.len() as u64) as usize];
    }

    /// The client before leads to its own; the port of that one's door.
    pub fn goes_by_another(&mut self) -> u16 {
        let before = &self.clients[(self.client.number + self.clients.len() - 1) % self.clients.len()];
        self.by = Some(before.number);
        before.ports.door
    }

    /// Mostly little, sometimes much.
    pub fn size(&mut self) -> u64 {
        let most = match self.random.below(100) {
            0..50 => 2 << 10,
            50..80 => 64 << 10,
            80..96 => 1 << 20,
            _ => 16 << 20,
        };
        self.random.below(most)
    }

    /// The real server has to have seen the same end.
    pub fn agrees(&self, visit: u64, wanted: End) -> Result<(), Trouble> {
        match (self.ledger.verdict(visit, AGREEMENT), wanted) {
            (Some(End::Whole), End::Whole) | (Some(End::Cut), End::Cut) => Ok(()),
            (Some(End::Cut), End::Whole) => Err(Trouble::Cut("the real server was cut".to_owned())),
            (Some(End::Whole), End::Cut) => {
                Err(Trouble::Wrong("the visitor reset, and the real server saw an end".to_owned()))
            }
            (None, _) if self.ledger.has_failed() => Ok(()),
            (None, _) => Err(Trouble::Cut(format!("the real server knows of no end {AGREEMENT:?} later"))),
        }
    }
}

fn echo(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    echo_by(guest, |guest, order| guest.enter(order))
}

/// Speaks to an echo, on a connection that leads there.
pub fn echo_by(
    guest: &mut Guest<'_>,
    enter: impl FnOnce(&Guest<'_>, &Order) -> Result<TcpStream, Trouble>,
) -> Result<(), Trouble> {
    let size = guest.size();
    let order = guest.order(Act::Echo, size, size);
    let stream = enter(guest, &order)?;
    speak_and_hear(&stream, &order, order.words_up())?;
    guest.agrees(order.visit, End::Whole)
}

fn both_ways(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let (up, down) = (guest.size(), guest.size());
    let order = guest.order(Act::Talk, up, down);
    let stream = guest.enter(&order)?;
    speak_and_hear(&stream, &order, order.words_down())?;
    guest.agrees(order.visit, End::Whole)
}

/// Hears `words` to their end, while all is said.
fn speak_and_hear(stream: &TcpStream, order: &Order, mut words: Pattern) -> Result<(), Trouble> {
    thread::scope(|scope| {
        let speaker = scope.spawn(|| {
            let said = order.words_up().write(stream, order.up);
            said.and_then(|()| stream.shutdown(Shutdown::Write))
        });
        let heard = end_of(order.down, words.read(stream));
        // A reset is told once: where the speaker was told, the listener takes it for an end.
        speaker.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        whole(heard)
    })
}

fn up_only(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let up = guest.size();
    answered(guest, up, 0)
}

fn visitor_ends_first(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let (up, down) = (guest.size(), guest.size());
    answered(guest, up, down)
}

fn answered(guest: &mut Guest<'_>, up: u64, down: u64) -> Result<(), Trouble> {
    let order = guest.order(Act::Answer, up, down);
    let stream = guest.enter(&order)?;
    order.words_up().write(&stream, up)?;
    stream.shutdown(Shutdown::Write)?;
    whole(end_of(down, order.words_down().read(&stream)))?;
    guest.agrees(order.visit, End::Whole)
}

fn down_only(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let down = guest.size();
    told(guest, 0, down, |_| {})
}

fn real_server_ends_first(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let (up, down) = (guest.size(), guest.size());
    told(guest, up, down, |_| {})
}

/// A reader whose pauses fill every buffer on the way.
fn slow_reader(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let down = (4 << 20) + guest.size();
    told(guest, 0, down, |random| thread::sleep(Duration::from_millis(random.below(100))))
}

fn told(guest: &mut Guest<'_>, up: u64, down: u64, pause: impl Fn(&mut Random)) -> Result<(), Trouble> {
    const READ_AT_ONCE: u64 = 256 << 10;
    let order = guest.order(Act::Tell, up, down);
    let stream = guest.enter(&order)?;
    let (mut words, mut left) = (order.words_down(), down);
    while left > READ_AT_ONCE {
        whole(end_of(READ_AT_ONCE, words.read_some(&stream, READ_AT_ONCE)))?;
        left -= READ_AT_ONCE;
        pause(&mut guest.random);
    }
    whole(end_of(left, words.read(&stream)))?;
    order.words_up().write(&stream, up)?;
    stream.shutdown(Shutdown::Write)?;
    guest.agrees(order.visit, End::Whole)
}

fn idle(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let order = guest.order(Act::Echo, 2, 2);
    let stream = guest.enter(&order)?;
    let (mut said, mut heard) = (order.words_up(), order.words_up());
    said.write(&stream, 1)?;
    whole(end_of(1, heard.read_some(&stream, 1)))?;
    guest.ledger.pause(&mut guest.random, 1_000..30_000, Ledger::churns);
    said.write(&stream, 1)?;
    stream.shutdown(Shutdown::Write)?;
    whole(end_of(1, heard.read(&stream)))?;
    guest.agrees(order.visit, End::Whole)
}

fn visitor_resets(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let (heard, more) = (1 + guest.random.below(64 << 10), guest.random.below(64 << 10));
    let order = guest.order(Act::Echo, heard + more + 1, 0);
    let stream = guest.enter(&order)?;
    let mut words = order.words_up();
    words.write(&stream, heard)?;
    whole(end_of(heard, order.words_up().read_some(&stream, heard)))?;
    words.write(&stream, more)?;
    drop(stream);
    guest.agrees(order.visit, End::Cut)
}

fn real_server_resets(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let up = guest.size();
    let order = guest.order(Act::Reset, up, 0);
    let stream = guest.enter(&order)?;
    match order.words_up().write(&stream, up) {
        Ok(()) => is_reset(&stream),
        Err(error) if is_cut(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn refused(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    match connect(guest.client.ports.nobody, PATIENCE) {
        Ok(stream) => is_reset(&stream),
        // The reset may be as fast as the connection.
        Err(error) if is_cut(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The other end has to reset the connection, without a word.
fn is_reset(mut stream: &TcpStream) -> Result<(), Trouble> {
    match stream.read(&mut [0]) {
        Ok(0) => Err(Trouble::Wrong("a reset came as an end".to_owned())),
        Ok(_) => Err(Trouble::Wrong("bytes came instead of a reset".to_owned())),
        Err(error) if is_cut(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn real_server_speaks_first(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let stream = connect(guest.client.ports.first, PATIENCE)?;
    let order = Order::hear(&stream)?;
    whole(end_of(order.down, order.words_down().read(&stream)))?;
    stream.shutdown(Shutdown::Write)?;
    guest.agrees(order.visit, End::Whole)
}

/// Somebody who comes, says nothing, and leaves one way or the other.
fn silent(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let stream = connect(guest.client.ports.mute, PATIENCE)?;
    stays(&stream, Duration::from_millis(1 + guest.random.below(8_000)))?;
    if guest.random.chance(50) {
        set_socket_linger(&stream, None).map_err(std::io::Error::from)?;
    }
    Ok(())
}

/// Somebody who speaks to one who never answers, and gives up.
fn unheard(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let mut stream = connect(guest.client.ports.mute, PATIENCE)?;
    stream.write_all(b"Is anybody there?")?;
    stays(&stream, Duration::from_secs(1))
}

/// Nothing comes for so long, no end either.
fn stays(mut stream: &TcpStream, long: Duration) -> Result<(), Trouble> {
    stream.set_read_timeout(Some(long))?;
    match stream.read(&mut [0]) {
        Ok(count) => Err(Trouble::Wrong(format!("{count} bytes came from one who never speaks"))),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn burst(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let Ok(_alone) = BURSTING.try_lock() else { return echo(guest) };
    let orders: Vec<Order> = (0..BURST)
        .map(|_| {
            let size = guest.random.below(512);
            guest.order(Act::Echo, size, size)
        })
        .collect();
    let streams: Vec<TcpStream> = orders.iter().map(|order| guest.enter(order)).collect::<Result<_, _>>()?;
    for (order, stream) in orders.iter().zip(&streams) {
        order.words_up().write(stream, order.up)?;
        stream.shutdown(Shutdown::Write)?;
    }
    for (order, stream) in orders.iter().zip(&streams) {
        whole(end_of(order.down, order.words_up().read(stream)))?;
        guest.agrees(order.visit, End::Whole)?;
    }
    Ok(())
}

/// A conversation in datagrams, whose last answers are waited for.
fn talk(
    guest: &mut Guest<'_>,
    converse: impl FnOnce(&mut Guest<'_>, &mut Talk) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let mut talk = Talk::begin(guest.ledger.number(), guest.client.ports.datagrams)?;
    let end = converse(guest, &mut talk).and_then(|()| talk.hear_out());
    guest.ledger.talked(talk.said, talk.answered());
    end
}

fn datagrams(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    talk(guest, |guest, talk| {
        let length = 1 + guest.random.below(CONVERSATION);
        (0..length).try_for_each(|_| talk.ask(1 + guest.random.below(DATAGRAMS_AT_ONCE)))
    })
}

/// Somebody whose flow is quiet, but not for long enough to be forgotten, except to make room: it is answered all the same.
fn datagrams_after_a_while(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    talk(guest, |guest, talk| {
        talk.ask(1)?;
        guest.ledger.pause(&mut guest.random, 1_000..30_000, Ledger::churns);
        talk.ask(1)
    })
}

/// Somebody who does not wait for the answer, which finds nobody.
fn datagram_and_gone(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    Talk::begin(guest.ledger.number(), guest.client.ports.datagrams)?.say(1)
}

/// Nobody answers, and nobody says so.
fn datagrams_to_nobody(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let mut talk = Talk::begin(guest.ledger.number(), guest.client.ports.datagrams_to_nobody)?;
    for _ in 0..1 + guest.random.below(3) {
        talk.say(1)?;
        if talk.hear(ANSWER)? {
            return Err(Trouble::Wrong("an answer of nobody".to_owned()));
        }
    }
    Ok(())
}

fn datagram_burst(guest: &mut Guest<'_>) -> Result<(), Trouble> {
    let Ok(_alone) = BURSTING.try_lock() else { return datagrams(guest) };
    let begin = |_| Talk::begin(guest.ledger.number(), guest.client.ports.datagrams);
    let mut talks: Vec<Talk> = (0..DATAGRAM_BURST).map(begin).collect::<Result<_, _>>()?;
    talks.iter_mut().try_for_each(|talk| talk.say(1))?;
    // Who was not answered asks again.
    let heard = |talk: &mut Talk| if talk.hear(ANSWER)? { Ok(()) } else { talk.ask(1) };
    let end = talks.iter_mut().try_for_each(heard);
    talks.iter().for_each(|talk| guest.ledger.talked(talk.said, talk.answered()));
    end
}
