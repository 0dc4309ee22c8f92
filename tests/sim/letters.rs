//! Visitors who send datagrams and real servers that answer them, and what must hold: whatever comes is whole, was sent by
//! whom it names, and comes where it was meant to; a source that a real server sees is one visitor, and stays so.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::actors::fill;
use crate::net::{SocketId, World};
use crate::world::{REAL, SERVER, VISITOR, address, host_of};

/// Sizes that are told apart somewhere on the way: none, one, whole pieces and one more, what the queue holds, the largest.
pub const SIZES: [usize; 9] = [0, 1, 100, 1_472, 2_044, 2_045, 9_000, 17_000, 65_507];

/// A datagram says whose it is and which, as far as it is long enough.
fn datagram(id: u32, number: u32, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fill(id, false, 0, &mut bytes);
    let head = id.to_be_bytes().into_iter().chain(number.to_be_bytes());
    bytes.iter_mut().zip(head).for_each(|(byte, of_head)| *byte = of_head);
    bytes
}

/// Whose it is and which; `None` where it is too short to say.
fn read(bytes: &[u8]) -> Option<(u32, u32)> {
    let (id, rest) = bytes.split_first_chunk::<4>()?;
    let number = rest.first_chunk::<4>()?;
    Some((u32::from_be_bytes(*id), u32::from_be_bytes(*number)))
}

/// A visitor who sends datagrams.
pub struct Correspondent {
    socket: SocketId,
    pub id: u32,
    /// The public port.
    port: u16,
    sizes: Vec<usize>,
    pub answers: usize,
}

impl Correspondent {
    pub fn new(world: &mut World, id: u32, port: u16) -> Option<Self> {
        let (own, server) = (world.own_address(VISITOR), address(SERVER, port));
        let socket = world.mailbox(VISITOR, own, Some(server), None)?;
        Some(Self { socket, id, port, sizes: Vec::new(), answers: 0 })
    }

    pub fn say(&mut self, world: &mut World, size: usize) {
        let bytes = datagram(self.id, self.sizes.len() as u32, size);
        self.sizes.push(size);
        world.letter(self.socket, (SERVER, address(SERVER, self.port)), &bytes);
    }

    pub fn leave(self, world: &mut World) {
        world.unbox(self.socket);
    }

    pub fn poke(&mut self, world: &mut World) -> bool {
        let Some((bytes, _)) = world.open_letter(self.socket) else { return false };
        match read(&bytes) {
            Some((id, number)) => {
                assert_eq!(id, self.id, "an answer that is somebody else's");
                let size = self.sizes[number as usize];
                assert_eq!(bytes, datagram(id, number, size), "an answer is not what was sent");
            }
            None => assert!(self.sizes.contains(&bytes.len()), "an answer to nothing"),
        }
        self.answers += 1;
        true
    }
}

/// A real server that sends back what comes, none to three times.
pub struct Answerer {
    socket: SocketId,
    port: u16,
    /// Who each source is.
    sources: BTreeMap<SocketAddr, u32>,
}

impl Answerer {
    pub fn new(world: &mut World, port: u16) -> Self {
        let socket = world.mailbox(REAL, address(REAL, port), None, None).expect("nobody else is there");
        Self { socket, port, sources: BTreeMap::new() }
    }

    /// With `meant`, the real server that each visitor is meant for.
    pub fn poke(&mut self, world: &mut World, meant: &BTreeMap<u32, u16>) -> bool {
        let Some((bytes, ends)) = world.open_letter(self.socket) else { return false };
        if let Some((id, number)) = read(&bytes) {
            assert_eq!(bytes, datagram(id, number, bytes.len()), "a datagram was changed");
            assert_eq!(meant.get(&id), Some(&self.port), "a datagram went elsewhere");
            let known = *self.sources.entry(ends.peer).or_insert(id);
            assert_eq!(known, id, "two visitors have one source");
        }
        let times = if world.rng.chance(80) { 1 } else { world.rng.below(4) };
        for _ in 0..times {
            world.letter(self.socket, (host_of(ends.peer), ends.peer), &bytes);
        }
        true
    }
}
