//! Flows: the datagrams between one visitor and the service. Each has a ProxyChannel of its own, so that what one of
//! them loses or waits for holds up no other.
//!
//! Towards the tunnel, datagrams are queued as frames, and leave together as soon as the ProxyChannel takes them. Who
//! finds the queue full has the oldest dropped. From the tunnel, a datagram is sent when its last piece is there; what
//! the socket does not take is dropped. None is ever cut, and all that are dropped are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::arena::{Arena, Large, Window};
use crate::limits::{
    BUFFERS_PER_RAW, CONTROL_FRAME_BYTES_MAX, FLOW_IDLE, FLOW_UNANSWERED, FLOW_UNHEARD, HEADER_BYTES,
    HELD_BYTES_MAX, LARGES_MAX, LARGES_PER_SESSION_MAX, PIECE_BYTES_MAX, TLS_PLAIN_BYTES_MAX,
};
use crate::link::Link;
use crate::net::{Ends, Net};
use crate::reason::Reason;
use crate::slots::Key;
use crate::sorted::Sorted;
use crate::time::Time;
use crate::wire::{self, Frame, datagram_header};

/// Buffers of the arena that a flow has a right to: its queue.
pub const RIGHTS: usize = BUFFERS_PER_RAW;

/// A public port for datagrams.
#[derive(Debug)]
pub struct Port<S> {
    /// Its socket, which all its flows share.
    pub socket: S,
    /// The address it is open at.
    pub address: SocketAddr,
    /// Whose it is.
    pub role: usize,
    /// Whose flows count together, and how many they may be.
    pub group: Key,
    /// See `group`.
    pub most: usize,
    /// Its flows.
    pub flows: BTreeMap<Ends, Key>,
    /// It stands in the run queue.
    pub queued: bool,
}

impl<S> Port<S> {
    /// The flows of one address, or of the /64 of an IPv6 one.
    pub fn of(&self, ip: IpAddr) -> impl Iterator<Item = Key> {
        let home = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
        };
        let first = Ends { peer: SocketAddr::new(home(ip), 0), local: None };
        let same = move |ends: &Ends| home(ends.peer.ip()) == home(ip);
        self.flows.range(first..).take_while(move |(ends, _)| same(ends)).map(|(_, key)| *key)
    }
}

/// One flow.
#[derive(Debug)]
pub struct Flow<S> {
    /// Whose it is.
    pub role: usize,
    /// Its socket.
    pub end: End<S>,
    /// The ProxyChannel that carries it.
    pub proxy: Option<Key>,
    /// The group of its public port.
    pub group: Option<Key>,
    /// What counts what passes.
    pub meter: Option<Key>,
    /// It stands in the run queue.
    pub queued: bool,
    /// What has passed.
    pub counts: Counts,
    /// When a datagram last passed, either way …
    passed: Time,
    /// … and when one last came to the socket.
    heard: Time,
    /// What stands before the first datagram that a ProxyChannel carries, and whether that has left.
    header: Option<(Vec<u8>, bool)>,
    /// Frames of whole datagrams that wait to leave, oldest first …
    held: Window,
    /// … and then one that is too large for that.
    large: Option<Going>,
    coming: Coming,
}

/// A flow's socket.
#[derive(Debug)]
pub enum End<S> {
    /// That of a public port, and when the flow is looked at for its silence.
    Shared(Key, Ends, Time),
    /// Its own, towards a real server.
    Own(S),
}

/// A large datagram that waits to leave, or is on its way: nothing stands between its pieces.
#[derive(Debug)]
struct Going {
    large: Large,
    /// How much of it has left.
    gone: usize,
    /// The flow's header stands before it.
    headed: bool,
}

/// A datagram that comes in pieces.
#[derive(Debug)]
enum Coming {
    Nothing,
    Part(Large),
    /// There was no buffer for it.
    Skipped,
}

/// What has passed through a flow, in datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Towards the tunnel.
    pub taken: u64,
    /// From the tunnel.
    pub sent: u64,
    /// Of both, those that were dropped.
    pub dropped: u64,
}

/// What came of a piece.
#[derive(Debug)]
pub enum Whole {
    /// More of the datagram is to come, or it is dropped.
    NotYet,
    /// The piece is the whole datagram.
    Piece,
    /// This is.
    Large(Large),
}

impl<S> Flow<S> {
    /// A flow that nothing has passed yet.
    pub fn new(role: usize, end: End<S>, group: Option<Key>, now: Time) -> Self {
        Self {
            role,
            end,
            proxy: None,
            group,
            meter: None,
            queued: false,
            counts: Counts::default(),
            passed: now,
            heard: now,
            header: None,
            held: Window::default(),
            large: None,
            coming: Coming::Nothing,
        }
    }

    /// Whoever gets its first datagram is told this before: a header of the PROXY protocol.
    pub fn introduce(&mut self, header: Vec<u8>) {
        self.header = Some((header, false));
    }

    /// A large buffer, within what its group may have; the flows of a client are all of one server's making.
    fn take_large(&self, arena: &mut Arena) -> Option<Large> {
        match self.group {
            Some(group) => arena.take_large(group.token(), LARGES_PER_SESSION_MAX),
            None => arena.take_large(0, LARGES_MAX),
        }
    }

    /// When it has been quiet for too long, if nothing passes until then.
    pub fn deadline(&self) -> Time {
        let idle = if self.counts.sent > 0 { FLOW_IDLE } else { FLOW_UNANSWERED };
        (self.passed + idle).min(self.heard + FLOW_UNHEARD)
    }

    /// Whether the queue has room for a datagram of this length without dropping another.
    pub fn has_room(&self, datagram: usize) -> bool {
        let framed = framed(datagram);
        if framed > HELD_BYTES_MAX {
            self.large.is_none()
        } else {
            self.held.len() + framed <= HELD_BYTES_MAX
        }
    }

    /// Queues a datagram that came to the socket; the oldest are dropped for it where there is no room.
    pub fn hold(&mut self, now: Time, datagram: &[u8], arena: &mut Arena) {
        (self.passed, self.heard) = (now, now);
        self.counts.taken += 1;
        if framed(datagram.len()) > HELD_BYTES_MAX {
            return self.hold_large(datagram, arena);
        }
        while !self.has_room(datagram.len()) {
            self.drop_oldest(arena);
        }
        for_each_piece(datagram, |header, piece| {
            let held = self.held.push(&header, arena) && self.held.push(piece, arena);
            debug_assert!(held, "room was asked for");
        });
    }

    fn hold_large(&mut self, datagram: &[u8], arena: &mut Arena) {
        self.counts.dropped += u64::from(self.large.is_some());
        let large = match self.large.take() {
            // A part of it is on its way, and the rest must follow.
            Some(begun) if begun.gone > 0 => return self.large = Some(begun),
            Some(Going { large: mut old, .. }) => {
                old.clear();
                Some(old)
            }
            None => self.take_large(arena),
        };
        let Some(mut large) = large else {
            self.counts.dropped += 1;
            return;
        };
        let fits = large.push(datagram);
        debug_assert!(fits, "no datagram is longer");
        self.large = Some(Going { large, gone: 0, headed: false });
    }

    fn drop_oldest(&mut self, arena: &mut Arena) {
        while let Ok(Some((frame, used))) = wire::next(self.held.bytes()) {
            let more = matches!(frame, Frame::Piece(_));
            self.held.consume(used, arena);
            if !more {
                break;
            }
        }
        self.counts.dropped += 1;
    }

    /// The first datagram that is to leave, behind its header, if it must have one; it does not wait any more. A large
    /// one goes on waiting, with its header.
    fn first_with_header(&mut self, arena: &mut Arena) -> Option<Vec<u8>> {
        let (header, told) = self.header.as_mut().filter(|(_, told)| !*told)?;
        *told = true;
        if self.held.is_empty() {
            if let Some(going) = &mut self.large {
                going.headed = going.large.prepend(header);
                // One that is as long as any may be has no room for it, and is not sent without.
                if !going.headed {
                    *told = false;
                    self.drop_large(arena);
                }
            }
            return None;
        }
        let mut first = header.clone();
        while let Ok(Some((frame, used))) = wire::next(self.held.bytes()) {
            let (piece, more) = match frame {
                Frame::Datagram(piece) => (piece, false),
                Frame::Piece(piece) => (piece, true),
                _ => break,
            };
            first.extend(piece);
            self.held.consume(used, arena);
            if !more {
                break;
            }
        }
        Some(first)
    }

    /// A piece came from the tunnel.
    ///
    /// # Errors
    /// [`Reason::Protocol`]: the datagram is longer than any.
    pub fn assemble(
        &mut self,
        now: Time,
        more: bool,
        piece: &[u8],
        arena: &mut Arena,
    ) -> Result<Whole, Reason> {
        self.passed = now;
        let coming = match std::mem::replace(&mut self.coming, Coming::Nothing) {
            Coming::Nothing if !more => return Ok(Whole::Piece),
            Coming::Nothing => self.take_large(arena).map_or(Coming::Skipped, Coming::Part),
            coming => coming,
        };
        match (coming, more) {
            (Coming::Part(mut large), _) => {
                if !large.push(piece) {
                    arena.give_large(large);
                    return Err(Reason::Protocol);
                }
                if !more {
                    return Ok(Whole::Large(large));
                }
                self.coming = Coming::Part(large);
            }
            (_, true) => self.coming = Coming::Skipped,
            (_, false) => self.counts.dropped += 1,
        }
        Ok(Whole::NotYet)
    }

    /// Whether the next piece belongs to a datagram that has begun to come.
    pub fn is_assembling(&self) -> bool {
        !matches!(self.coming, Coming::Nothing)
    }

    /// Whether nothing waits to leave.
    pub fn is_flushed(&self) -> bool {
        self.held.is_empty() && self.large.is_none()
    }

    /// Whether it holds a buffer of the arena, and how many large ones.
    pub fn holds(&self) -> (bool, usize) {
        let coming = matches!(self.coming, Coming::Part(_));
        (self.held.holds_buffer(), usize::from(self.large.is_some()) + usize::from(coming))
    }

    /// It has lost its ProxyChannel: what was on its way there begins anew on the next, and what came of a datagram is
    /// all that will come.
    pub fn part(&mut self, arena: &mut Arena) {
        if let Some(going) = &mut self.large {
            going.gone = 0;
        }
        // Another ProxyChannel has another socket behind it, and the real server takes that for another visitor.
        if let Some((header, told)) = &mut self.header {
            *told = false;
            if let Some(going) = &mut self.large
                && std::mem::take(&mut going.headed)
            {
                going.large.strip(header.len());
            }
        }
        if let Coming::Part(large) = std::mem::replace(&mut self.coming, Coming::Nothing) {
            arena.give_large(large);
            self.counts.dropped += 1;
        }
    }

    /// Gives all its buffers back.
    pub fn clear(&mut self, arena: &mut Arena) {
        self.part(arena);
        self.held.clear(arena);
        if let Some(going) = self.large.take() {
            arena.give_large(going.large);
        }
    }

    fn drop_large(&mut self, arena: &mut Arena) {
        if let Some(going) = self.large.take() {
            arena.give_large(going.large);
            self.counts.dropped += 1;
        }
    }
}

/// Flows by when each is looked at for its silence: not later than it is over.
#[derive(Debug, Default)]
pub struct Quiet {
    all: BTreeSet<(Time, Key)>,
    groups: Sorted<Key, BTreeSet<(Time, Key)>>,
}

impl Quiet {
    /// A flow of this group is looked at then.
    pub fn insert(&mut self, group: Key, at: Time, key: Key) {
        self.all.insert((at, key));
        self.groups.get_or_default(group).insert((at, key));
    }

    /// A flow that stands under this time is not looked at.
    pub fn remove(&mut self, group: Key, at: Time, key: Key) {
        self.all.remove(&(at, key));
        if let Some(flows) = self.groups.get_mut(&group) {
            flows.remove(&(at, key));
            if flows.is_empty() {
                self.groups.remove(&group);
            }
        }
    }

    /// Whether a flow stands under this time.
    pub fn has(&self, group: Key, at: Time, key: Key) -> bool {
        self.all.contains(&(at, key))
            && self.groups.get(&group).is_some_and(|flows| flows.contains(&(at, key)))
    }

    /// The first that is looked at, of a group or of all.
    pub fn first(&self, group: Option<Key>) -> Option<Key> {
        let flows = group.map_or(Some(&self.all), |group| self.groups.get(&group))?;
        flows.first().map(|(_, key)| *key)
    }

    /// When the first is looked at.
    pub fn next(&self) -> Time {
        self.all.first().map_or(Time::NEVER, |(at, _)| *at)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many a group has.
    pub fn count(&self, group: Key) -> usize {
        self.groups.get(&group).map_or(0, BTreeSet::len)
    }

    /// The group that has most.
    pub fn richest(&self) -> Option<Key> {
        self.groups.iter().max_by_key(|(_, flows)| flows.len()).map(|(group, _)| *group)
    }
}

/// Passes what a flow holds to its ProxyChannel, as far as that takes it.
///
/// # Errors
/// Why the ProxyChannel failed.
pub fn outbound<N: Net>(
    flow: &mut Flow<N::Socket>,
    (key, proxy): (Key, &mut Link<N>),
    net: &mut N,
    arena: &mut Arena,
    scratch: &mut [u8],
) -> Result<(), Reason> {
    while !flow.is_flushed() {
        if proxy.tx.len() > CONTROL_FRAME_BYTES_MAX && !proxy.flush(key, net, arena)? {
            return Ok(());
        }
        if let Some(first) = flow.first_with_header(arena) {
            let mut used = 0;
            for_each_piece(&first, |header, piece| {
                for part in [&header[..], piece] {
                    scratch[used..][..part.len()].copy_from_slice(part);
                    used += part.len();
                }
            });
            proxy.send(&scratch[..used], arena)?;
            continue;
        }
        match &mut flow.large {
            Some(Going { large, gone, .. }) if *gone > 0 || flow.held.is_empty() => {
                let used = fill(&mut scratch[..TLS_PLAIN_BYTES_MAX], large.bytes(), gone);
                proxy.send(&scratch[..used], arena)?;
                if *gone == large.bytes().len()
                    && let Some(going) = flow.large.take()
                {
                    arena.give_large(going.large);
                }
            }
            _ => {
                proxy.send(flow.held.bytes(), arena)?;
                flow.held.clear(arena);
            }
        }
    }
    Ok(())
}

/// Puts as many frames of a datagram of which `gone` bytes have left into `space` as fit; how many bytes.
fn fill(space: &mut [u8], datagram: &[u8], gone: &mut usize) -> usize {
    let mut used = 0;
    while *gone < datagram.len() && space.len() - used > HEADER_BYTES {
        let room = (space.len() - used - HEADER_BYTES).min(PIECE_BYTES_MAX);
        let piece = &datagram[*gone..][..room.min(datagram.len() - *gone)];
        *gone += piece.len();
        space[used..][..HEADER_BYTES].copy_from_slice(&datagram_header(piece.len(), *gone < datagram.len()));
        space[used + HEADER_BYTES..][..piece.len()].copy_from_slice(piece);
        used += HEADER_BYTES + piece.len();
    }
    used
}

/// Length of a datagram with the headers of its frames.
fn framed(datagram: usize) -> usize {
    datagram + HEADER_BYTES * datagram.div_ceil(PIECE_BYTES_MAX).max(1)
}

fn for_each_piece(datagram: &[u8], mut each: impl FnMut([u8; HEADER_BYTES], &[u8])) {
    let mut rest = datagram;
    loop {
        let (piece, after) = rest.split_at(rest.len().min(PIECE_BYTES_MAX));
        rest = after;
        each(datagram_header(piece.len(), !rest.is_empty()), piece);
        if rest.is_empty() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::DATAGRAM_BYTES_MAX;

    fn arena() -> Arena {
        let mut arena = Arena::new(1);
        assert!(arena.reserve(1));
        arena
    }

    fn flow() -> Flow<()> {
        Flow::new(0, End::Own(()), None, Time::default())
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n * 7 + n / 300) as u8).collect()
    }

    /// What comes of these frames at the far end.
    fn assembled(frames: &[u8], arena: &mut Arena) -> Vec<Vec<u8>> {
        let (mut far, mut rest, mut all) = (flow(), frames, Vec::new());
        while let Some((frame, used)) = wire::next(rest).expect("good frames") {
            let (more, piece) = match frame {
                Frame::Datagram(piece) => (false, piece),
                Frame::Piece(piece) => (true, piece),
                other => panic!("{other:?}"),
            };
            match far.assemble(Time::default(), more, piece, arena) {
                Ok(Whole::NotYet) => {}
                Ok(Whole::Piece) => all.push(piece.to_vec()),
                Ok(Whole::Large(large)) => {
                    all.push(large.bytes().to_vec());
                    arena.give_large(large);
                }
                Err(reason) => panic!("{reason}"),
            }
            rest = &rest[used..];
        }
        assert!(rest.is_empty(), "all of it was frames");
        all
    }

    #[test]
    fn datagrams_come_back_whole() {
        let mut arena = arena();
        for length in
            [0, 1, PIECE_BYTES_MAX, PIECE_BYTES_MAX + 1, 9_000, 16_352, 16_353, 65_507, DATAGRAM_BYTES_MAX]
        {
            let (mut flow, mut frames) = (flow(), Vec::new());
            flow.hold(Time::default(), &bytes(length), &mut arena);
            frames.extend(flow.held.bytes());
            if let Some(Going { large, gone, .. }) = &mut flow.large {
                let mut space = [0; TLS_PLAIN_BYTES_MAX];
                while *gone < large.bytes().len() {
                    let used = fill(&mut space, large.bytes(), gone);
                    frames.extend(&space[..used]);
                }
            }
            assert_eq!(frames.len(), framed(length));
            assert_eq!(assembled(&frames, &mut arena), [bytes(length)], "{length} bytes");
            flow.clear(&mut arena);
            assert_eq!((arena.lent(), arena.larges_lent()), (0, 0));
        }
    }

    #[test]
    fn the_oldest_make_room() {
        let (mut arena, mut flow) = (arena(), flow());
        let all: Vec<Vec<u8>> = (0..30).map(|n| bytes(1_000 + n * 100)).collect();
        all.iter().for_each(|datagram| flow.hold(Time::default(), datagram, &mut arena));
        let left = assembled(flow.held.bytes(), &mut arena);
        assert!(left.len() > 3 && all.ends_with(&left), "the last ones are there, whole and in order");
        assert_eq!(flow.counts, Counts { taken: 30, sent: 0, dropped: 30 - left.len() as u64 });
        // A large one gives way to the next, unless a part of it has left.
        let waits = |flow: &Flow<()>| flow.large.as_ref().map(|going| going.large.bytes().len());
        flow.hold(Time::default(), &bytes(20_000), &mut arena);
        flow.hold(Time::default(), &bytes(30_000), &mut arena);
        assert_eq!((waits(&flow), flow.counts.dropped), (Some(30_000), 31 - left.len() as u64));
        flow.large.as_mut().expect("it waits").gone = 5;
        flow.hold(Time::default(), &bytes(40_000), &mut arena);
        assert_eq!((waits(&flow), flow.counts.dropped), (Some(30_000), 32 - left.len() as u64));
        flow.clear(&mut arena);
        assert_eq!((arena.lent(), arena.larges_lent()), (0, 0));
    }

    #[test]
    fn pieces_without_a_buffer_are_dropped_to_the_last() {
        let (mut arena, mut flow) = (arena(), flow());
        let all: Vec<Large> = (0..LARGES_MAX).map_while(|_| arena.take_large(0, LARGES_MAX)).collect();
        assert!(arena.take_large(0, LARGES_MAX).is_none());
        for more in [true, true, false] {
            assert!(matches!(flow.assemble(Time::default(), more, b"piece", &mut arena), Ok(Whole::NotYet)));
        }
        assert!(matches!(flow.assemble(Time::default(), false, b"next", &mut arena), Ok(Whole::Piece)));
        assert_eq!(flow.counts.dropped, 1);
        flow.hold(Time::default(), &bytes(20_000), &mut arena);
        assert_eq!(flow.counts.dropped, 2);
        all.into_iter().for_each(|large| arena.give_large(large));
        // Nor is there one that is longer than any datagram.
        let piece = bytes(PIECE_BYTES_MAX);
        let result =
            (0..).map(|_| flow.assemble(Time::default(), true, &piece, &mut arena)).find(Result::is_err);
        assert!(matches!(result, Some(Err(Reason::Protocol))));
        assert_eq!(arena.larges_lent(), 0);
    }
}
