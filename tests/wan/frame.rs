//! As much of Ethernet, IPv4 and TCP as a bad link has to know: which connection a frame belongs to, how to end it, and
//! checksums.

use rustix::net::Protocol;
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};

pub const ETHERNET_BYTES: usize = 14;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// A TCP connection between two hosts: both ends, the lower first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow([[u8; 6]; 2]);

/// Where the parts of an IPv4 packet stand in its frame.
struct Parts {
    protocol: u8,
    /// The first byte of TCP, UDP or ICMP …
    body: usize,
    /// … and the first that belongs to the packet no more.
    end: usize,
}

fn parts(frame: &[u8]) -> Option<Parts> {
    let ip = frame.get(ETHERNET_BYTES..)?;
    if frame[12..14] != [0x08, 0x00] || ip.len() < 20 || ip[0] >> 4 != 4 {
        return None;
    }
    let body = ETHERNET_BYTES + usize::from(ip[0] & 15) * 4;
    let end = ETHERNET_BYTES + usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let least = match ip[9] {
        TCP => 20,
        _ => 8,
    };
    (body + least <= end && end <= frame.len()).then_some(Parts { protocol: ip[9], body, end })
}

fn tcp(frame: &[u8]) -> Option<Parts> {
    parts(frame).filter(|parts| parts.protocol == TCP)
}

impl Flow {
    pub fn of(frame: &[u8]) -> Option<Self> {
        let Parts { body, .. } = tcp(frame)?;
        let end = |ip: usize, port: usize| {
            let mut end = [0; 6];
            end[..4].copy_from_slice(&frame[ip..ip + 4]);
            end[4..].copy_from_slice(&frame[port..port + 2]);
            end
        };
        let mut ends = [end(ETHERNET_BYTES + 12, body), end(ETHERNET_BYTES + 16, body + 2)];
        ends.sort_unstable();
        Some(Self(ends))
    }
}

/// Whether a connection begins here.
pub fn opens(frame: &[u8]) -> bool {
    tcp(frame).is_some_and(|parts| frame[parts.body + 13] & (SYN | ACK) == SYN)
}

pub fn is_icmp(frame: &[u8]) -> bool {
    parts(frame).is_some_and(|parts| parts.protocol == ICMP)
}

/// What a NAT that does not know this connection answers its sender.
pub fn answer_with_reset(frame: &[u8]) -> Option<Vec<u8>> {
    let Parts { body, .. } = tcp(frame)?;
    let flags = frame[body + 13];
    // A reset is not answered; and only what was acknowledged tells a sequence number that its sender believes.
    if flags & RST != 0 || flags & ACK == 0 {
        return None;
    }
    let mut reset = frame[..body + 20].to_vec();
    let (ip, total) = (ETHERNET_BYTES, body + 20 - ETHERNET_BYTES);
    let swap = |bytes: &mut [u8], one: usize, other: usize, count: usize| {
        for n in 0..count {
            bytes.swap(one + n, other + n);
        }
    };
    swap(&mut reset, 0, 6, 6);
    swap(&mut reset, ip + 12, ip + 16, 4);
    swap(&mut reset, body, body + 2, 2);
    reset[ip + 2..ip + 4].copy_from_slice(&(total as u16).to_be_bytes());
    reset[ip + 10..ip + 12].fill(0);
    let header = !folded(sum(&reset[ip..body]));
    reset[ip + 10..ip + 12].copy_from_slice(&header.to_be_bytes());
    let acknowledged: [u8; 4] = frame[body + 8..body + 12].try_into().ok()?;
    reset[body + 4..body + 8].copy_from_slice(&acknowledged);
    reset[body + 8..body + 12].fill(0);
    (reset[body + 12], reset[body + 13]) = (5 << 4, RST);
    repair(&mut reset);
    Some(reset)
}

/// Writes the checksum that the sender left to its device, which has no hardware for it.
pub fn repair(frame: &mut [u8]) {
    let Some(Parts { protocol, body, end }) = parts(frame) else { return };
    let at = match protocol {
        TCP => body + 16,
        UDP => body + 6,
        _ => return,
    };
    frame[at..at + 2].fill(0);
    let pseudo =
        sum(&frame[ETHERNET_BYTES + 12..ETHERNET_BYTES + 20]) + u32::from(protocol) + (end - body) as u32;
    let checksum = !folded(pseudo + sum(&frame[body..end]));
    // For UDP, 0 says that there is none.
    let checksum = if protocol == UDP && checksum == 0 { 0xFFFF } else { checksum };
    frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

fn sum(bytes: &[u8]) -> u32 {
    let words =
        bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)));
    words.sum()
}

fn folded(sum: u32) -> u16 {
    let once = (sum & 0xFFFF) + (sum >> 16);
    ((once & 0xFFFF) + (once >> 16)) as u16
}

/// The address of a device itself, as packet(7) has it; rustix has no type for it.
#[repr(C)]
pub struct DeviceAddress {
    family: u16,
    protocol: u16,
    index: i32,
    hardware: u16,
    packet: u8,
    length: u8,
    address: [u8; 8],
}

impl DeviceAddress {
    pub fn new(index: u32, protocol: Protocol) -> Self {
        let family = rustix::net::AddressFamily::PACKET.as_raw();
        let protocol = protocol.as_raw().get() as u16;
        Self { family, protocol, index: index as i32, hardware: 0, packet: 0, length: 0, address: [0; 8] }
    }
}

#[allow(unsafe_code, reason = "what rustix asks of an address of one's own")]
// SAFETY: the pointer is to the whole of `self`, which has the layout of `sockaddr_ll`.
unsafe impl SocketAddrArg for DeviceAddress {
    unsafe fn with_sockaddr<R>(&self, f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R) -> R {
        f(std::ptr::from_ref(self).cast(), size_of::<Self>() as SocketAddrLen)
    }
}
