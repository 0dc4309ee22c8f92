//! The relay: payload between a raw connection and a ProxyChannel. Opaque to everybody above.
//!
//! Towards the tunnel, what the raw side says is read right behind the header it will travel under, and
//! leaves in one write with whatever control frames stand before it. From the tunnel, payload goes from the
//! buffer it was received (or decrypted) in straight to the raw socket. Where much is to be moved and no TLS
//! is spoken, it is spliced: from socket to socket through a pipe, never through this program. Where the far
//! side does not take more, nothing more is read: the bytes wait in the kernel, and one stalled visitor
//! stalls nobody else.

use std::io;

use crate::arena::{Arena, Buf};
use crate::limits::{
    CONTROL_FRAME_BYTES_MAX, HEADER_BYTES, PAYLOAD_BYTES_MAX, PUMP_BYTES_PER_TURN, SPLICE_BYTES_MAX,
    SPLICE_BYTES_MIN,
};
use crate::link::{Held, Incoming, Link, Payload, Phase, Spliced};
use crate::net::{Net, reason_of};
use crate::reason::Reason;
use crate::slots::Key;
use crate::wire::{begins_with_fin, transfer_header};

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
    /// A rate lets no more pass for now.
    Spent,
}

/// Which side failed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The visitor or real server.
    Raw(Reason),
    /// The tunnel connection.
    Proxy(Reason),
}

/// What [`inbound`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// So many bytes left the ProxyChannel; there may be more.
    Some(usize),
    /// The raw side takes none for now, and whatever follows must wait, too.
    Wait,
    /// No payload is at hand: more is to be received.
    Nothing,
}

/// One side of a pair.
pub type Side<'a, N> = (Key, &'a mut Link<N>);

/// Passes what the raw side says to the tunnel: `left` bytes of it at most, and counts them off.
///
/// # Errors
/// The side that failed.
pub fn outbound<N: Net>(
    raw: Side<'_, N>,
    (proxy_key, proxy): Side<'_, N>,
    net: &mut N,
    arena: &mut Arena,
    scratch: &mut [u8],
    left: &mut usize,
) -> Result<Stop, Fault> {
    let (raw_key, raw) = raw;
    let mut moved = 0;
    loop {
        if !has_room((proxy_key, proxy), net, arena)? {
            return Ok(Stop::Blocked);
        }
        if moved >= PUMP_BYTES_PER_TURN {
            return Ok(Stop::Budget);
        }
        if *left == 0 {
            return Ok(Stop::Spent);
        }
        if !raw.readable || raw.incoming == Incoming::Ended || raw.phase != Phase::Up || !raw.may_say_more() {
            break;
        }
        match take((raw_key, raw), proxy, *left, net, arena, scratch)? {
            Some(0) => {
                raw.incoming = Incoming::Ended;
                return Ok(Stop::Ended);
            }
            came => {
                moved += came.unwrap_or_default();
                *left -= came.unwrap_or_default();
            }
        }
    }
    let flushed = proxy.flush(proxy_key, net, arena).map_err(Fault::Proxy)?;
    Ok(if flushed { Stop::Dry } else { Stop::Blocked })
}

/// Whether more may be queued for the tunnel: a full buffer must leave before more is read; a few control frames may
/// share a write with what follows.
///
/// # Errors
/// The tunnel connection failed.
pub fn has_room<N: Net>((key, proxy): Side<'_, N>, net: &mut N, arena: &mut Arena) -> Result<bool, Fault> {
    let full = proxy.spliced.is_some() || proxy.tx.len() > CONTROL_FRAME_BYTES_MAX;
    Ok(!full || proxy.flush(key, net, arena).map_err(Fault::Proxy)?)
}

/// Reads once from the raw side, `most` bytes of it, and queues what came for the tunnel: how much, 0 at the end,
/// `None` where there is nothing for now.
///
/// # Errors
/// The side that failed.
pub fn take<N: Net>(
    (key, raw): Side<'_, N>,
    proxy: &mut Link<N>,
    most: usize,
    net: &mut N,
    arena: &mut Arena,
    scratch: &mut [u8],
) -> Result<Option<usize>, Fault> {
    let (mut room, mut copied) = (PAYLOAD_BYTES_MAX.min(most), true);
    let result = match (&mut raw.held, &mut proxy.tls) {
        (Held::Kept(buf, len), _) => {
            let old = usize::from(*len);
            room = room.min(PAYLOAD_BYTES_MAX - old);
            let kept = &mut buf.get_or_insert_with(|| arena.take()).bytes_mut()[old..][..room];
            let result = net.read(key, &mut raw.stream, kept);
            if let Ok(n @ 1..) = result {
                // Counted first: should the tunnel fail now, the next one must have these bytes too.
                *len += n as u16;
                transfer(proxy, &kept[..n], arena, scratch).map_err(Fault::Proxy)?;
            }
            result
        }
        (Held::Free, Some(_)) => {
            let space = &mut scratch[..HEADER_BYTES + room];
            let result = net.read(key, &mut raw.stream, &mut space[HEADER_BYTES..]);
            if let Ok(n @ 1..) = result {
                space[..HEADER_BYTES].copy_from_slice(&transfer_header(n));
                proxy.send(&space[..HEADER_BYTES + n], arena).map_err(Fault::Proxy)?;
            }
            result
        }
        (Held::Free, None) => {
            let bulk = raw.bulk && most >= SPLICE_BYTES_MIN && proxy.tx.is_empty();
            let pipe = if bulk { net.lend_pipe() } else { None };
            if let Some(mut pipe) = pipe {
                copied = false;
                let result = net.splice_in(key, &mut raw.stream, &mut pipe, SPLICE_BYTES_MAX.min(most));
                match result {
                    Ok(n @ 1..) => proxy.spliced = Some(Spliced::new(pipe, n, Some(transfer_header(n)))),
                    _ => net.take_pipe(pipe, true),
                }
                result
            } else {
                let space = proxy.tx.space(arena);
                room = room.min(space.len() - HEADER_BYTES);
                let result = net.read(key, &mut raw.stream, &mut space[HEADER_BYTES..][..room]);
                if let Ok(n @ 1..) = result {
                    space[..HEADER_BYTES].copy_from_slice(&transfer_header(n));
                    proxy.tx.filled(HEADER_BYTES + n);
                    proxy.corked = false;
                } else if proxy.tx.is_empty() {
                    proxy.tx.clear(arena);
                }
                result
            }
        }
    };
    match result {
        Ok(n) => {
            raw.bulk = n >= if copied { room } else { SPLICE_BYTES_MIN };
            raw.readable = n == room || !copied || raw.ending;
            Ok(Some(n))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            raw.readable = error.kind() == io::ErrorKind::Interrupted;
            Ok(None)
        }
        Err(error) => Err(Fault::Raw(reason_of(&error))),
    }
}

/// Passes payload of the ProxyChannel to the raw side, which may be another tunnel connection: `most` bytes of it.
///
/// # Errors
/// The side that failed.
pub fn inbound<N: Net>(
    (raw_key, raw): Side<'_, N>,
    proxy: Side<'_, N>,
    net: &mut N,
    arena: &mut Arena,
    scratch: &mut [u8],
    most: usize,
) -> Result<Delivery, Fault> {
    if raw.is_framed() {
        return bridge((raw_key, raw), proxy.1, net, arena, scratch, most);
    }
    // What was spliced, or said to the real server first, goes before everything behind it.
    if !raw.is_flushed() && !raw.flush(raw_key, net, arena).map_err(Fault::Raw)? {
        return Ok(Delivery::Wait);
    }
    let (proxy_key, proxy) = proxy;
    let passes = proxy.payload == Payload::Passed && raw.phase == Phase::Up;
    let ready = proxy.rx.len().min(proxy.transfer_left as usize).min(most);
    if ready == 0 {
        let spliced = if passes { splice((proxy_key, proxy), raw, most, net) } else { None };
        return Ok(spliced.map_or(Delivery::Nothing, Delivery::Some));
    }
    while passes && raw.writable {
        // The last bytes and the end that follows them leave together.
        let (payload, rest) = proxy.rx.bytes().split_at(ready);
        let last = ready == proxy.transfer_left as usize;
        match net.write(raw_key, &mut raw.stream, payload, last && begins_with_fin(rest)) {
            Ok(n) => {
                raw.writable = n == ready;
                proxy.rx.consume(n, arena);
                proxy.transfer_left -= n as u32;
                return Ok(Delivery::Some(n));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => raw.writable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::Raw(reason_of(&error))),
        }
    }
    Ok(Delivery::Wait)
}

/// Passes payload of one tunnel connection on to another, which brings it to a visitor or real server of its own. The
/// side that takes it stands for the raw one.
fn bridge<N: Net>(
    (to_key, to): Side<'_, N>,
    from: &mut Link<N>,
    net: &mut N,
    arena: &mut Arena,
    scratch: &mut [u8],
    most: usize,
) -> Result<Delivery, Fault> {
    let of_taker = |fault| match fault {
        Fault::Raw(reason) | Fault::Proxy(reason) => Fault::Raw(reason),
    };
    let ready = from.rx.len().min(from.transfer_left as usize).min(PAYLOAD_BYTES_MAX).min(most);
    if ready == 0 {
        to.flush(to_key, net, arena).map_err(Fault::Raw)?;
        return Ok(Delivery::Nothing);
    }
    if from.payload != Payload::Passed || !has_room((to_key, to), net, arena).map_err(of_taker)? {
        return Ok(Delivery::Wait);
    }
    transfer(to, &from.rx.bytes()[..ready], arena, scratch).map_err(Fault::Raw)?;
    from.rx.consume(ready, arena);
    from.transfer_left -= ready as u32;
    Ok(Delivery::Some(ready))
}

/// Takes payload that is still in the ProxyChannel's socket into a pipe, `most` bytes of it, for the raw side; how
/// much. `None` where it is to be received like everything else: it is little, or an end or a failure stands before it.
pub fn splice<N: Net>(
    (key, proxy): Side<'_, N>,
    raw: &mut Link<N>,
    most: usize,
    net: &mut N,
) -> Option<usize> {
    let left = most.min(proxy.transfer_left as usize);
    if left < SPLICE_BYTES_MIN || !proxy.readable || proxy.tls.is_some() {
        return None;
    }
    let mut pipe = net.lend_pipe()?;
    let result = net.splice_in(key, &mut proxy.stream, &mut pipe, left.min(SPLICE_BYTES_MAX));
    if let Ok(n @ 1..) = result {
        raw.spliced = Some(Spliced::new(pipe, n, None));
        proxy.transfer_left -= n as u32;
        return Some(n);
    }
    net.take_pipe(pipe, true);
    proxy.readable &= !matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    None
}

/// Sends once more what a visitor said, on the ProxyChannel that replaces a dead one.
///
/// # Errors
/// Why the ProxyChannel failed.
pub fn repeat<N: Net>(
    held: &Held,
    proxy: &mut Link<N>,
    arena: &mut Arena,
    scratch: &mut [u8],
) -> Result<(), Reason> {
    match held {
        Held::Kept(Some(buf), len @ 1..) => {
            transfer(proxy, &Buf::bytes(buf)[..usize::from(*len)], arena, scratch)
        }
        Held::Kept(..) | Held::Free => Ok(()),
    }
}

/// Queues payload under its header, as one piece: over TLS they share a record.
///
/// # Errors
/// Why the ProxyChannel failed.
pub fn transfer<N: Net>(
    proxy: &mut Link<N>,
    payload: &[u8],
    arena: &mut Arena,
    scratch: &mut [u8],
) -> Result<(), Reason> {
    let frame = &mut scratch[..HEADER_BYTES + payload.len()];
    frame[..HEADER_BYTES].copy_from_slice(&transfer_header(payload.len()));
    frame[HEADER_BYTES..].copy_from_slice(payload);
    proxy.send(frame, arena)
}
