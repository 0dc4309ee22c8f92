//! A bad link between two hosts on one machine: the frames between two network devices are carried by a thread, which does
//! to them what a bad network does. Needs root, and neither netem nor a packet filter.
//!
//! ```text
//!   host A ── device ═ veth ═ tap ── this thread ── tap ═ veth ═ device ── host B
//! ```
//! A host is a network namespace, or the one that this process lives in. B is the host behind NAT.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, eth, netdevice, recv, send,
    socket_with, sockopt,
};

use super::dice::Random;

pub mod frame;

use frame::{Flow, answer_with_reset, is_icmp, opens, repair};

/// What the link does to frames now. Without any of it, it is a good one.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// What is added each way …
    pub delay: Duration,
    /// … and up to how much more: frames overtake each other.
    pub jitter: Duration,
    /// Of a thousand frames, so many are lost …
    pub lost: u64,
    /// … and so many come twice.
    pub doubled: u64,
    /// What each way lets through, if it is bounded …
    pub bytes_per_second: Option<u64>,
    /// … and what it queues before it.
    pub queue_bytes: u64,
    /// Nothing gets from A to B …
    pub a_to_b_cut: bool,
    /// … or from B to A.
    pub b_to_a_cut: bool,
    /// Longer packets vanish without a word …
    pub packet_bytes_max: usize,
    /// … as does all ICMP.
    pub icmp_lost: bool,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            lost: 0,
            doubled: 0,
            bytes_per_second: None,
            queue_bytes: 256 * 1024,
            a_to_b_cut: false,
            b_to_a_cut: false,
            packet_bytes_max: usize::MAX,
            icmp_lost: false,
        }
    }
}

/// Frames that are kept from their way because the NAT between the hosts knows their connection no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Amnesia {
    /// They vanish.
    #[default]
    Silent,
    /// Their sender is told by a reset.
    Reset,
}

#[derive(Default)]
struct State {
    conditions: Conditions,
    /// Connections that the NAT knows …
    known: BTreeSet<Flow>,
    /// … and those it has forgotten.
    forgotten: BTreeSet<Flow>,
    amnesia: Amnesia,
    /// Frames that the conditions took.
    lost: u64,
}

/// The link, until it is dropped.
pub struct Wire {
    state: Arc<Mutex<State>>,
    over: Arc<AtomicBool>,
    carrier: Option<JoinHandle<()>>,
}

impl Wire {
    /// Carries frames between two taps: A's, and that of B.
    pub fn between(taps: [&str; 2], conditions: Conditions, seed: u64) -> std::io::Result<Self> {
        let taps = [open_tap(taps[0])?, open_tap(taps[1])?];
        let state = Arc::new(Mutex::new(State { conditions, ..State::default() }));
        let over = Arc::new(AtomicBool::new(false));
        let (shared, ended) = (Arc::clone(&state), Arc::clone(&over));
        let carrier = thread::Builder::new().name("wire".into()).spawn(move || {
            let mut carrier = Carrier::new(&taps, seed);
            while !ended.load(Ordering::Relaxed) {
                carrier.turn(&shared);
            }
        })?;
        Ok(Self { state, over, carrier: Some(carrier) })
    }

    /// Changes what the link does from now on.
    pub fn change(&self, change: impl FnOnce(&mut Conditions)) {
        change(&mut self.state().conditions);
    }

    /// The NAT forgets every connection of now.
    pub fn forget(&self, amnesia: Amnesia) {
        let mut state = self.state();
        let known = std::mem::take(&mut state.known);
        state.forgotten.extend(known);
        state.amnesia = amnesia;
    }

    /// Frames that its conditions took so far.
    pub fn lost(&self) -> u64 {
        self.state().lost
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(carrier) = self.carrier.take() {
            let _ = carrier.join();
        }
    }
}

/// A frame on its way: it arrives at this time, after others of the same moment with lower numbers, at this tap.
type Travelling = Reverse<(Instant, u64, usize, Vec<u8>)>;

struct Carrier<'a> {
    taps: &'a [OwnedFd; 2],
    dice: Random,
    travelling: BinaryHeap<Travelling>,
    number: u64,
    /// When each way has let through what it was given.
    free_at: [Instant; 2],
    buffer: Vec<u8>,
}

/// So often the carrier looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Frames taken from one side before the other has its turn.
const FRAMES_PER_TURN: usize = 256;

impl<'a> Carrier<'a> {
    fn new(taps: &'a [OwnedFd; 2], seed: u64) -> Self {
        let now = Instant::now();
        let buffer = vec![0; FRAME_BYTES_MAX];
        Self { taps, dice: Random(seed), travelling: BinaryHeap::new(), number: 0, free_at: [now; 2], buffer }
    }

    fn turn(&mut self, state: &Mutex<State>) {
        let next = self
            .travelling
            .peek()
            .map_or(LOOK, |Reverse((at, ..))| at.saturating_duration_since(Instant::now()));
        let wait = Timespec::try_from(next.min(LOOK)).unwrap();
        let mut fds = self.taps.each_ref().map(|tap| PollFd::new(tap, PollFlags::IN));
        let _ = poll(&mut fds, Some(&wait));
        for from in 0..2 {
            for _ in 0..FRAMES_PER_TURN {
                let Ok((count, _)) = recv(&self.taps[from], &mut self.buffer[..], RecvFlags::DONTWAIT) else {
                    break;
                };
                let frame = self.buffer[..count].to_vec();
                self.came(from, frame, &mut state.lock().unwrap());
            }
        }
        let now = Instant::now();
        while self.travelling.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((_, _, to, frame))) = self.travelling.pop() else { break };
            // What a device does not take is lost, as on any link.
            let _ = send(&self.taps[to], &frame, SendFlags::DONTWAIT);
        }
    }

    /// A frame came from this tap: it is sent on its way, or not.
    fn came(&mut self, from: usize, mut frame: Vec<u8>, state: &mut State) {
        let State { conditions, known, forgotten, amnesia, lost } = state;
        if let Some(flow) = Flow::of(&frame) {
            if opens(&frame) {
                forgotten.remove(&flow);
            }
            if forgotten.contains(&flow) {
                if *amnesia == Amnesia::Reset
                    && let Some(reset) = answer_with_reset(&frame)
                {
                    let _ = send(&self.taps[from], &reset, SendFlags::DONTWAIT);
                }
                return;
            }
            known.insert(flow);
        }
        let cut = [conditions.a_to_b_cut, conditions.b_to_a_cut][from];
        let too_long = frame.len() > conditions.packet_bytes_max.saturating_add(frame::ETHERNET_BYTES);
        let taken =
            cut || too_long || conditions.icmp_lost && is_icmp(&frame) || self.happens(conditions.lost);
        let leaves = if taken { None } else { self.leaves(from, frame.len() as u64, conditions) };
        let Some(leaves) = leaves else {
            *lost += 1;
            return;
        };
        repair(&mut frame);
        if self.happens(conditions.doubled) {
            self.travel(leaves, from, frame.clone(), conditions);
        }
        self.travel(leaves, from, frame, conditions);
    }

    /// When the link has let a frame through, if it takes it at all.
    fn leaves(&mut self, from: usize, bytes: u64, conditions: &Conditions) -> Option<Instant> {
        let now = Instant::now();
        let Some(rate) = conditions.bytes_per_second else { return Some(now) };
        let free_at = self.free_at[from].max(now);
        let queued = (free_at - now).as_secs_f64() * rate as f64;
        if queued > conditions.queue_bytes as f64 {
            return None;
        }
        self.free_at[from] = free_at + Duration::from_secs_f64(bytes as f64 / rate as f64);
        Some(self.free_at[from])
    }

    fn travel(&mut self, leaves: Instant, from: usize, frame: Vec<u8>, conditions: &Conditions) {
        let jitter = self.dice.below(conditions.jitter.as_micros() as u64 + 1);
        let arrives = leaves + conditions.delay + Duration::from_micros(jitter);
        self.number += 1;
        self.travelling.push(Reverse((arrives, self.number, 1 - from, frame)));
    }

    fn happens(&mut self, of_a_thousand: u64) -> bool {
        of_a_thousand > 0 && self.dice.below(1000) < of_a_thousand
    }
}

/// A socket that takes and sends whole frames of a device.
fn open_tap(device: &str) -> std::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let tap = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
    let index = netdevice::name_to_index(&tap, device)?;
    bind(&tap, &frame::DeviceAddress::new(index, eth::ALL))?;
    // A burst must not be lost here: losing is the business of the conditions.
    sockopt::set_socket_recv_buffer_size_force(&tap, 8 << 20)?;
    Ok(tap)
}

/// Runs `ip` with these words, without a word of its own; whether it did what it was asked.
pub fn ip(words: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(words.split_whitespace()).stdin(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Gives a host a device with an address; its far end is here, for [`Wire::between`]. Frames leave it as they would leave
/// for a cable, one segment each, and this system's own stack does not answer in the other host's place.
pub fn plug(namespace: Option<&str>, device: &str, address: &str, tap: &str) -> bool {
    let inside = namespace.map_or_else(String::new, |name| format!("-n {name} "));
    let place = namespace.map_or_else(String::new, |name| format!("netns {name}"));
    ip(&format!("link add {tap} type veth peer name {device} {place}"))
        && ip(&format!("link set {tap} addrgenmode none gso_max_segs 1 arp off up"))
        && ip(&format!("{inside}link set {device} addrgenmode none gso_max_segs 1 up"))
        && ip(&format!("{inside}addr add {address} dev {device}"))
}
