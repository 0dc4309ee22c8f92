//! One host's operating system: what a driver may ask for, answered by the simulated world, and counted.

use std::cell::{RefCell, RefMut};
use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use nt::directory::Directory;
use nt::net::{Accept, Ends, Event, Net};
use nt::note::Note;
use nt::reason::Reason;
use nt::role::{Manner, Place, Query, Speech};
use nt::slots::Key;
use nt::time::Time;

use crate::meter::{Cost, Counting};
use crate::net::{EndId, Host, SNAPS, SocketId, World};
use crate::world;

/// Why nothing listens, where it fails without a reason of this world …
const UNHEARD: [Reason; 3] = [Reason::InUse, Reason::NoPrivilege, Reason::System];
/// … and why nobody is dialled.
const UNDIALED: [Reason; 2] = [Reason::Unreachable, Reason::System];

/// One host's operating system.
pub struct SimNet {
    pub world: Rc<RefCell<World>>,
    pub host: Host,
    /// Who serves a port that is dialled: everything below 1000 is the client's own network.
    pub route: fn(Host, SocketAddr) -> Host,
}

/// The world while it is asked for something: what it allocates then is its own affair.
struct Inside<'a> {
    world: RefMut<'a, World>,
    _uncounted: Counting,
}

impl Deref for Inside<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Inside<'_> {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl SimNet {
    /// The world, for what a real system answers without a call.
    fn world(&self) -> Inside<'_> {
        let _uncounted = Counting::set(false);
        Inside { world: self.world.borrow_mut(), _uncounted }
    }

    /// The world, for one system call of this kind.
    fn call(&self, kind: Cost) -> Inside<'_> {
        let mut world = self.world();
        world.costs_of(self.host).add(kind, 1);
        world
    }

    /// As [`Self::call`], with the one of so many ways in which it fails, if it does.
    fn try_call(&self, kind: Cost, ways: usize) -> (Inside<'_>, Option<u64>) {
        let mut world = self.call(kind);
        let way = world.fails(ways as u64);
        (world, way)
    }

    /// As [`Self::call`], for what a connection does; it may break over that.
    fn try_use(&self, kind: Cost, stream: EndId) -> io::Result<Inside<'_>> {
        match self.try_call(kind, SNAPS.len()) {
            (mut world, Some(way)) => Err(world.snap(stream, way)),
            (world, None) => Ok(world),
        }
    }
}

impl Net for SimNet {
    type Stream = EndId;
    type Listener = u16;
    type Pipe = Vec<u8>;
    type Socket = SocketId;

    fn now(&mut self) -> Time {
        self.world().now
    }

    fn wait(&mut self, _until: Time, events: &mut Vec<Event>) {
        let mut world = self.call(Cost::Wait);
        world.take_events(self.host, events);
    }

    fn listen(
        &mut self,
        key: Key,
        address: SocketAddr,
        _speech: Speech,
    ) -> Result<(u16, SocketAddr), Reason> {
        let (mut world, way) = self.try_call(Cost::Listen, UNHEARD.len());
        if let Some(way) = way {
            return Err(UNHEARD[way as usize]);
        }
        if !world.listen(self.host, address.port(), key.token()) {
            return Err(Reason::InUse);
        }
        world.opened(self.host);
        Ok((address.port(), address))
    }

    fn accept(&mut self, _key: Key, listener: &mut u16) -> Accept<EndId> {
        let (mut world, way) = self.try_call(Cost::Accept, 2);
        match way {
            Some(0) => return Accept::Exhausted(Reason::System),
            Some(_) => {
                // It came and went again, if there was one; whether more wait is not known yet.
                let gone = world.accept(*listener);
                gone.into_iter().for_each(|(end, _)| world.close(end, Manner::Cut));
                return Accept::Again;
            }
            None => {}
        }
        match world.accept(*listener) {
            Some((end, peer)) => {
                world.opened(self.host);
                Accept::Came(end, peer)
            }
            None => Accept::Empty,
        }
    }

    fn came_to(&mut self, stream: &EndId) -> Option<SocketAddr> {
        Some(self.world().came_to(*stream))
    }

    fn watch(&mut self, key: Key, stream: &EndId) -> Result<(), Reason> {
        let (mut world, way) = self.try_call(Cost::Watch, 1);
        world.watch(*stream, key.token());
        if way.is_some() { Err(Reason::System) } else { Ok(()) }
    }

    fn dial(&mut self, key: Key, place: &Place, speech: Speech, speaks: bool) -> Result<EndId, Reason> {
        // There are no Unix sockets here: nothing about them takes time.
        let Place::Ip(address) = *place else { return Err(Reason::NoSuchSocket) };
        let target = (self.route)(self.host, address);
        let (mut world, way) =
            self.try_call(if speaks { Cost::DialSpeaking } else { Cost::Dial }, UNDIALED.len());
        if let Some(way) = way {
            return Err(UNDIALED[way as usize]);
        }
        world.opened(self.host);
        let end = world.connect(self.host, target, address);
        world.watch(end, key.token());
        if matches!(speech, Speech::Tls | Speech::Plain) {
            world.keep_alive(end);
        }
        Ok(end)
    }

    fn dialed(&mut self, _key: Key, stream: &mut EndId) -> io::Result<()> {
        self.try_use(Cost::Dialed, *stream)?.dialed(*stream)
    }

    fn read(&mut self, _key: Key, stream: &mut EndId, into: &mut [u8]) -> io::Result<usize> {
        self.try_use(Cost::Read, *stream)?.read(*stream, into)
    }

    fn write(&mut self, _key: Key, stream: &mut EndId, from: &[u8], _more: bool) -> io::Result<usize> {
        self.try_use(Cost::Write, *stream)?.write(*stream, from)
    }

    fn lend_pipe(&mut self) -> Option<Vec<u8>> {
        let mut world = self.world();
        let pipeless = world.nasty.pipeless;
        let lent = !world.rng.chance(pipeless) && world.fails(1).is_none();
        world.pipes += usize::from(lent);
        lent.then(Vec::new)
    }

    fn take_pipe(&mut self, pipe: Vec<u8>, empty: bool) {
        assert!(pipe.is_empty() || !empty, "a pipe was not empty");
        self.world().pipes -= 1;
    }

    fn splice_in(
        &mut self,
        _: Key,
        stream: &mut EndId,
        pipe: &mut Vec<u8>,
        most: usize,
    ) -> io::Result<usize> {
        assert!(pipe.is_empty(), "what is in the pipe would be overtaken");
        let mut world = self.try_use(Cost::SpliceIn, *stream)?;
        pipe.resize(most, 0);
        let result = world.read(*stream, pipe);
        let n = *result.as_ref().unwrap_or(&0);
        pipe.truncate(n);
        world.spliced += n;
        result
    }

    fn splice_out(
        &mut self,
        _: Key,
        pipe: &mut Vec<u8>,
        stream: &mut EndId,
        most: usize,
    ) -> io::Result<usize> {
        let n = self.try_use(Cost::SpliceOut, *stream)?.write(*stream, &pipe[..most])?;
        pipe.drain(..n);
        Ok(n)
    }

    fn listen_udp(&mut self, key: Key, address: SocketAddr) -> Result<(SocketId, SocketAddr), Reason> {
        let (mut world, way) = self.try_call(Cost::Listen, UNHEARD.len());
        if let Some(way) = way {
            return Err(UNHEARD[way as usize]);
        }
        let here = world::address(self.host, address.port());
        let socket = world.mailbox(self.host, here, None, Some(key.token())).ok_or(Reason::InUse)?;
        world.opened(self.host);
        Ok((socket, address))
    }

    fn dial_udp(&mut self, key: Key, address: SocketAddr) -> Result<SocketId, Reason> {
        let (mut world, way) = self.try_call(Cost::Dial, 1);
        if way.is_some() {
            return Err(Reason::System);
        }
        let here = world.own_address(self.host);
        let socket = world.mailbox(self.host, here, Some(address), Some(key.token())).ok_or(Reason::InUse)?;
        world.opened(self.host);
        Ok(socket)
    }

    fn receive(
        &mut self,
        _key: Key,
        socket: &mut SocketId,
        into: &mut [u8],
    ) -> io::Result<(usize, Option<Ends>)> {
        let (mut world, way) = self.try_call(Cost::Read, 1);
        if way.is_some() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (bytes, ends) = world.open_letter(*socket).ok_or(io::ErrorKind::WouldBlock)?;
        into[..bytes.len()].copy_from_slice(&bytes);
        Ok((bytes.len(), Some(ends)))
    }

    fn send(&mut self, _key: Key, socket: &mut SocketId, to: Option<Ends>, datagrams: &[&[u8]]) -> usize {
        let (mut world, way) = self.try_call(Cost::Write, 1);
        if let Some(Ends { local, .. }) = to {
            assert_eq!(local, Some(world::address(self.host, 0).ip()), "an answer from another address");
        }
        let to = to.map(|ends| ends.peer).or_else(|| world.box_peer(*socket)).expect("somebody is meant");
        let first = datagrams.first().map_or(0, |first| first.len());
        for (n, datagram) in datagrams.iter().enumerate() {
            let short = n + 1 == datagrams.len() && (1..first).contains(&datagram.len());
            assert!(datagram.len() == first || short, "they are not of one length");
            if way.is_none() {
                world.letter(*socket, (world::host_of(to), to), datagram);
            }
        }
        if way.is_none() { datagrams.len() } else { 0 }
    }

    fn close_socket(&mut self, _key: Key, socket: SocketId) {
        let mut world = self.call(Cost::Close);
        world.unbox(socket);
        world.closed(self.host);
    }

    /// Whoever relied on what stood there would send this.
    fn forget(&mut self, bytes: &mut [u8]) {
        drop(self.call(Cost::Forget));
        bytes[..512].fill(0xEE);
    }

    fn shut(&mut self, stream: &mut EndId) {
        self.call(Cost::Shut).shut(*stream);
    }

    fn close(&mut self, _key: Key, stream: EndId, manner: Manner) {
        let mut world = self.call(Cost::Close);
        // An event that was told already comes late, for a connection that has gone.
        let (token, spurious) = (world.token(stream), world.nasty.spurious);
        world.close(stream, manner);
        world.closed(self.host);
        if let (Some(token), true) = (token, world.rng.chance(spurious)) {
            world.tell(self.host, token, true, true, false, false);
        }
    }

    fn close_listener(&mut self, _key: Key, listener: u16) {
        let mut world = self.call(Cost::Close);
        world.unlisten(listener);
        world.closed(self.host);
    }

    fn resolve(&mut self, role: usize, query: Query, _host: &str, port: u16) {
        let (mut inside, way) = self.try_call(Cost::Resolve, 3);
        inside.lookups += 1;
        let [nobody, real] = [world::NOBODY, world::REAL].map(|host| world::address(host, port));
        let addresses = match way {
            None => vec![real],
            Some(0) => vec![],
            Some(1) => vec![nobody],
            Some(_) => vec![nobody, real],
        };
        inside.inform(self.host, Event::Resolved(role, query, addresses));
    }

    fn poll_licenses(&mut self) -> Option<Result<Directory, String>> {
        let (mut world, way) = self.try_call(Cost::PollLicenses, 1);
        if way.is_some() {
            return Some(Err("the file cannot be read".to_owned()));
        }
        world.licenses.take().map(Ok)
    }

    fn note(&mut self, now: Time, note: &Note) {
        self.call(Cost::Note).notes.push((now, self.host, note.to_string()));
    }
}
