//! The relay: payload between a raw connection and a ProxyChannel. Opaque to everybody above.
//!
//! Towards the tunnel, what the raw side says is read right behind the header it will travel under, and
//! leaves in one write with whatever control frames stand before it. From the tunnel, payload goes from the
//! buffer it was received (or decrypted) in straight to the raw socket. Where the far side does not take
//! more, nothing more is read: the bytes wait in the kernel, and one stalled visitor stalls nobody else.

use std::io;

use crate::arena::{Arena, Buf};
use crate::limits::{CONTROL_FRAME_BYTES_MAX, HEADER_BYTES, PAYLOAD_BYTES_MAX, PUMP_BYTES_PER_TURN};
use crate::link::{Held, Incoming, Link, Payload, Phase};
use crate::net::{Net, reason_of};
use crate::reason::Reason;
use crate::slots::Key;
use crate::wire::transfer_header;

/// Why [`outbound`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The raw side has nothing more for now, or may say no more before the far end has answered.
    Dry,
    /// The tunnel takes no more for now.
    Blocked,
    /// The raw side ended its direction.
    Ended,
    /// Others have their turn.
    Budget,
}

/// Which side failed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The visitor or real server.
    Raw(Reason),
    /// The tunnel connection.
    Proxy(Reason),
}

/// One side of a pair.
pub type Side<'a, S> = (Key, &'a mut Link<S>);

/// Passes what the raw side says to the tunnel.
///
/// # Errors
/// The side that failed.
pub fn outbound<N: Net>(
    (raw_key, raw): Side<'_, N::Stream>,
    (proxy_key, proxy): Side<'_, N::Stream>,
    net: &mut N,
    arena: &mut Arena,
    scratch: &mut [u8],
) -> Result<Stop, Fault> {
    let mut moved = 0;
    loop {
        // A full buffer must leave before more is read; a few control frames may share a write with what
        // follows.
        if proxy.tx.len() > CONTROL_FRAME_BYTES_MAX
            && !proxy.flush(proxy_key, net, arena).map_err(Fault::Proxy)?
        {
            return Ok(Stop::Blocked);
        }
        if moved >= PUMP_BYTES_PER_TURN {
            return Ok(Stop::Budget);
        }
        if !raw.readable || raw.incoming == Incoming::Ended || raw.phase != Phase::Up {
            break;
        }
        let result = match (&mut raw.held, &mut proxy.tls) {
            (Held::Kept(buf, len), _) if *len < PAYLOAD_BYTES_MAX => {
                let kept = buf.get_or_insert_with(|| arena.take()).bytes_mut();
                let result = net.read(raw_key, &mut raw.stream, &mut kept[*len..PAYLOAD_BYTES_MAX]);
                if let Ok(n @ 1..) = result {
                    transfer(proxy, &kept[*len..*len + n], arena, scratch).map_err(Fault::Proxy)?;
                    *len += n;
                }
                result
            }
            (Held::Kept(..), _) => break,
            (Held::Free, Some(_)) => {
                let space = &mut scratch[..HEADER_BYTES + PAYLOAD_BYTES_MAX];
                let result = net.read(raw_key, &mut raw.stream, &mut space[HEADER_BYTES..]);
                if let Ok(n @ 1..) = result {
                    space[..HEADER_BYTES].copy_from_slice(&transfer_header(n));
                    proxy.send(&space[..HEADER_BYTES + n], arena).map_err(Fault::Proxy)?;
                }
                result
            }
            (Held::Free, None) => {
                let space = proxy.tx.space(arena);
                let end = space.len().min(HEADER_BYTES + PAYLOAD_BYTES_MAX);
                let result = net.read(raw_key, &mut raw.stream, &mut space[HEADER_BYTES..end]);
                if let Ok(n @ 1..) = result {
                    space[..HEADER_BYTES].copy_from_slice(&transfer_header(n));
                    proxy.tx.filled(HEADER_BYTES + n);
                } else if proxy.tx.is_empty() {
                    proxy.tx.clear(arena);
                }
                result
            }
        };
        match result {
            Ok(0) => {
                raw.incoming = Incoming::Ended;
                return Ok(Stop::Ended);
            }
            Ok(n) => moved += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => raw.readable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::Raw(reason_of(&error))),
        }
    }
    let flushed = proxy.flush(proxy_key, net, arena).map_err(Fault::Proxy)?;
    Ok(if flushed { Stop::Dry } else { Stop::Blocked })
}

/// Passes payload that stands in the ProxyChannel's `rx` to the raw side; how many bytes it took, 0 when it
/// takes none.
///
/// # Errors
/// The side that failed.
pub fn inbound<N: Net>(
    (raw_key, raw): Side<'_, N::Stream>,
    (_, proxy): Side<'_, N::Stream>,
    net: &mut N,
    arena: &mut Arena,
) -> Result<usize, Fault> {
    let ready = proxy.rx.len().min(proxy.transfer_left as usize);
    if raw.phase != Phase::Up || !raw.writable || proxy.payload != Payload::Passed {
        return Ok(0);
    }
    loop {
        match net.write(raw_key, &mut raw.stream, &proxy.rx.bytes()[..ready]) {
            Ok(n) => {
                proxy.rx.consume(n, arena);
                proxy.transfer_left -= n as u32;
                return Ok(n);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                raw.writable = false;
                return Ok(0);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::Raw(reason_of(&error))),
        }
    }
}

/// Sends once more what a visitor said, on the ProxyChannel that replaces a dead one.
///
/// # Errors
/// Why the ProxyChannel failed.
pub fn repeat<S>(
    held: &Held,
    proxy: &mut Link<S>,
    arena: &mut Arena,
    scratch: &mut [u8],
) -> Result<(), Reason> {
    match held {
        Held::Kept(Some(buf), len @ 1..) => transfer(proxy, &Buf::bytes(buf)[..*len], arena, scratch),
        Held::Kept(..) | Held::Free => Ok(()),
    }
}

/// Queues payload under its header, as one piece: over TLS they share a record.
fn transfer<S>(
    proxy: &mut Link<S>,
    payload: &[u8],
    arena: &mut Arena,
    scratch: &mut [u8],
) -> Result<(), Reason> {
    let frame = &mut scratch[..HEADER_BYTES + payload.len()];
    frame[..HEADER_BYTES].copy_from_slice(&transfer_header(payload.len()));
    frame[HEADER_BYTES..].copy_from_slice(payload);
    proxy.send(frame, arena)
}
