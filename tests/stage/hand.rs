//! A driver's world in the hand of a test: connections come when it says so, and carry what it puts there.

#![allow(dead_code, unreachable_pub)] // Each test uses what it needs.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use nt::directory::Directory;
use nt::limits::DATAGRAM_BYTES_MAX;
use nt::net::{self, Accept, Event, Net, Ready};
use nt::note::Note;
use nt::reason::Reason;
use nt::role::{Manner, Place, Query, Speech};
use nt::slots::Key;
use nt::time::{Span, Time};

/// One connection: what goes in, and what came out.
#[derive(Clone, Default)]
pub struct Pipe(pub Rc<RefCell<Ends>>);

#[derive(Default)]
pub struct Ends {
    pub input: VecDeque<u8>,
    pub output: Vec<u8>,
    /// It takes no more for now.
    pub full: bool,
    /// Nothing comes behind `input`.
    pub ended: bool,
    /// The program has closed it.
    pub closed: bool,
}

impl Ends {
    /// What a read of a dry socket says.
    fn dry(&self) -> io::Result<usize> {
        if self.ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }
}

/// Datagrams, and whom each is from.
type Letters = Vec<(net::Ends, Vec<u8>)>;

#[derive(Clone)]
pub struct Hand {
    /// Connections that wait to be accepted, by door.
    coming: Rc<RefCell<BTreeMap<usize, Vec<Pipe>>>>,
    /// Datagrams that wait to be received, by door: there is an entry for each door that takes them.
    letters: Rc<RefCell<BTreeMap<usize, Letters>>>,
    tokens: Rc<RefCell<BTreeSet<usize>>>,
    /// Listeners there were, of either kind, in the order they were made, and whether they are open.
    pub doors: Rc<RefCell<Vec<bool>>>,
    pub clock: Rc<Cell<Time>>,
}

impl Default for Hand {
    fn default() -> Self {
        let clock = Rc::new(Cell::new(Time::from_micros(1_000_000)));
        let (coming, letters, tokens, doors) = Default::default();
        Self { coming, letters, tokens, doors, clock }
    }
}

impl Hand {
    /// A connection comes to the door that was opened as number `door`.
    pub fn arrive(&self, door: usize) -> Pipe {
        let pipe = Pipe::default();
        self.coming.borrow_mut().entry(door).or_default().push(pipe.clone());
        pipe
    }

    /// Whether a door takes datagrams.
    pub fn takes_datagrams(&self, door: usize) -> bool {
        self.letters.borrow().contains_key(&door)
    }

    /// A datagram comes to such a door.
    pub fn post(&self, door: usize, from: SocketAddr, datagram: Vec<u8>) {
        let ends = net::Ends { peer: from, local: None };
        self.letters.borrow_mut().entry(door).or_default().push((ends, datagram));
    }

    /// A listener was opened.
    fn open(&self, key: Key) -> usize {
        self.tokens.borrow_mut().insert(key.token());
        self.doors.borrow_mut().push(true);
        self.doors.borrow().len() - 1
    }

    pub fn pass(&self, span: Span) {
        self.clock.set(self.clock.get() + span);
    }
}

impl Net for Hand {
    type Stream = Pipe;
    type Listener = usize;
    type Socket = usize;
    type Pipe = VecDeque<u8>;

    fn now(&mut self) -> Time {
        self.clock.get()
    }
    fn wait(&mut self, _: Time, events: &mut Vec<Event>) {
        for &token in self.tokens.borrow().iter() {
            events.push(Event::Ready(Ready { token, read: true, write: true, ended: true, failed: false }));
        }
    }
    fn listen(&mut self, key: Key, at: SocketAddr, _: Speech) -> Result<(usize, SocketAddr), Reason> {
        Ok((self.open(key), at))
    }
    fn accept(&mut self, _: Key, door: &mut usize) -> Accept<Pipe> {
        match self.coming.borrow_mut().get_mut(door).and_then(Vec::pop) {
            Some(pipe) => Accept::Came(pipe, SocketAddr::from(([192, 0, 2, 1], 1))),
            None => Accept::Empty,
        }
    }
    fn watch(&mut self, key: Key, _: &Pipe) -> Result<(), Reason> {
        self.tokens.borrow_mut().insert(key.token());
        Ok(())
    }
    fn dial(&mut self, _: Key, _: &Place, _: Speech, _: bool) -> Result<Pipe, Reason> {
        Err(Reason::System)
    }
    fn dialed(&mut self, _: Key, _: &mut Pipe) -> io::Result<()> {
        Ok(())
    }
    fn read(&mut self, _: Key, stream: &mut Pipe, into: &mut [u8]) -> io::Result<usize> {
        let mut ends = stream.0.borrow_mut();
        match io::Read::read(&mut ends.input, into)? {
            0 => ends.dry(),
            n => Ok(n),
        }
    }
    fn write(&mut self, _: Key, stream: &mut Pipe, from: &[u8], _: bool) -> io::Result<usize> {
        if stream.0.borrow().full {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        stream.0.borrow_mut().output.extend_from_slice(from);
        Ok(from.len())
    }
    fn lend_pipe(&mut self) -> Option<Self::Pipe> {
        Some(VecDeque::new())
    }
    fn splice_in(
        &mut self,
        _: Key,
        stream: &mut Pipe,
        pipe: &mut Self::Pipe,
        most: usize,
    ) -> io::Result<usize> {
        let mut ends = stream.0.borrow_mut();
        let n = most.min(ends.input.len());
        pipe.extend(ends.input.drain(..n));
        if n == 0 { ends.dry() } else { Ok(n) }
    }
    fn splice_out(
        &mut self,
        key: Key,
        pipe: &mut Self::Pipe,
        stream: &mut Pipe,
        most: usize,
    ) -> io::Result<usize> {
        let n = most.min(pipe.len());
        self.write(key, stream, &pipe.make_contiguous()[..n], false)?;
        pipe.drain(..n);
        Ok(n)
    }
    fn listen_udp(&mut self, key: Key, at: SocketAddr) -> Result<(usize, SocketAddr), Reason> {
        let door = self.open(key);
        self.letters.borrow_mut().insert(door, Letters::new());
        Ok((door, at))
    }
    fn receive(
        &mut self,
        _: Key,
        door: &mut usize,
        into: &mut [u8],
    ) -> io::Result<(usize, Option<net::Ends>)> {
        let mut letters = self.letters.borrow_mut();
        let letter = letters.get_mut(door).and_then(Vec::pop);
        let (ends, datagram) = letter.ok_or(io::ErrorKind::WouldBlock)?;
        into[..datagram.len()].copy_from_slice(&datagram);
        Ok((datagram.len(), Some(ends)))
    }
    /// Of several half are lost.
    fn send(&mut self, _: Key, _: &mut usize, _: Option<net::Ends>, datagrams: &[&[u8]]) -> usize {
        assert!(datagrams.iter().all(|datagram| datagram.len() <= DATAGRAM_BYTES_MAX));
        datagrams.len().div_ceil(2)
    }
    fn close_socket(&mut self, key: Key, door: usize) {
        self.tokens.borrow_mut().remove(&key.token());
        self.letters.borrow_mut().remove(&door);
        self.doors.borrow_mut()[door] = false;
    }
    fn shut(&mut self, _: &mut Pipe) {}
    fn close(&mut self, key: Key, stream: Pipe, _: Manner) {
        self.tokens.borrow_mut().remove(&key.token());
        stream.0.borrow_mut().closed = true;
    }
    fn close_listener(&mut self, key: Key, door: usize) {
        self.tokens.borrow_mut().remove(&key.token());
        self.doors.borrow_mut()[door] = false;
        // Who was not accepted is gone with the listener.
        for pipe in self.coming.borrow_mut().remove(&door).unwrap_or_default() {
            pipe.0.borrow_mut().closed = true;
        }
    }
    fn resolve(&mut self, _: usize, _: Query, _: &str, _: u16) {}
    fn poll_licenses(&mut self) -> Option<Result<Directory, String>> {
        None
    }
    fn note(&mut self, _: Time, _: &Note) {}
}
