//! The gateway: HTTP between a visitor and the ProxyChannel that carries its present visit. What [`relay`] is for
//! streams: bodies are opaque here, too, and go where they go by the same ways; heads are looked at, and counted.
//!
//! 1. [`next`] reads the head of a request, which the role then routes and writes anew.
//! 2. [`outbound`] passes its body, and no byte more: what follows is another request.
//! 3. [`inbound`] passes the answer as it is, and tells where it begins and ends.

use crate::arena::Arena;
use crate::http::{Answers, Asks, Body, Exchange, HeaderSpace, Request, Status};
use crate::limits::{
    FRAMES_PER_TURN, HTTP_HEAD_BYTES_MAX, PAYLOAD_BYTES_MAX, PUMP_BYTES_PER_TURN, SPLICE_BYTES_MIN,
};
use crate::link::{Fill, Held, Incoming, Link, Payload, Phase};
use crate::net::{Net, reason_of};
use crate::reason::Reason;
use crate::relay::{self, Delivery, Fault, Side, Stop};
use crate::role::Talk;

/// What [`next`] found at the front of what a visitor has said.
pub enum Next<'a> {
    /// A request, and how long its head is.
    Request(Request<'a>, usize),
    /// What came is none.
    Malformed(Status),
    /// Not a whole one yet; whether it has begun.
    Unfinished(bool),
}

/// Reads the head of a request.
pub fn next<'a>(exchange: &mut Exchange, bytes: &'a [u8], space: &'a mut HeaderSpace<'a>) -> Next<'a> {
    if bytes.is_empty() {
        return Next::Unfinished(false);
    }
    let parsed = if exchange.may_be_whole(bytes) { Request::parse(bytes, space) } else { Ok(None) };
    match parsed {
        Ok(Some((_, length))) if length > HTTP_HEAD_BYTES_MAX => Next::Malformed(Status::HeadTooLarge),
        Ok(Some((request, length))) => {
            exchange.asked(&request);
            Next::Request(request, length)
        }
        Ok(None) if bytes.len() > HTTP_HEAD_BYTES_MAX => Next::Malformed(Status::HeadTooLarge),
        Ok(None) => Next::Unfinished(true),
        Err(status) => Next::Malformed(status),
    }
}

/// Passes the body of a request to the tunnel: `left` bytes of it at most, and counts them off.
///
/// # Errors
/// The side that failed.
pub fn outbound<N: Net>(
    (raw_key, raw): Side<'_, N>,
    (proxy_key, proxy): Side<'_, N>,
    net: &mut N,
    arena: &mut Arena,
    scratch: &mut [u8],
    left: &mut usize,
) -> Result<Stop, Fault> {
    let (mut moved, mut pieces) = (0, 0);
    loop {
        if !relay::has_room((proxy_key, proxy), net, arena)? {
            return Ok(Stop::Blocked);
        }
        // Who sends it byte by byte has its turn, and no more.
        if moved >= PUMP_BYTES_PER_TURN || pieces >= FRAMES_PER_TURN {
            return Ok(Stop::Budget);
        }
        if *left == 0 {
            return Ok(Stop::Spent);
        }
        pieces += 1;
        let Some(body) = raw.exchange.as_ref().and_then(|exchange| exchange.body()) else { break };
        if body.is_over() || raw.phase != Phase::Up || raw.incoming == Incoming::Ended || !raw.may_say_more()
        {
            break;
        }
        if !raw.rx.is_empty() {
            let n = pass_body(raw, proxy, *left, arena, scratch)?;
            (moved, *left) = (moved + n, *left - n);
            continue;
        }
        let ended = if raw.tls.is_none() && body.opaque() > 0 {
            if !raw.readable {
                break;
            }
            let most = usize::try_from(body.opaque()).unwrap_or(usize::MAX).min(*left);
            let came = relay::take((raw_key, raw), proxy, most, net, arena, scratch)?;
            let n = came.unwrap_or_default();
            if let Some(Asks::Body(body)) = raw.exchange.as_mut().map(|exchange| &mut exchange.asks) {
                body.skip(n as u64);
            }
            (moved, *left) = (moved + n, *left - n);
            came == Some(0)
        } else {
            match raw.fill(raw_key, net, arena).map_err(Fault::Raw)? {
                Fill::More => false,
                Fill::Dry => break,
                Fill::End => true,
            }
        };
        if ended {
            raw.incoming = Incoming::Ended;
            // Less came than was announced: that is no request.
            return if body == Body::UntilEnd { Ok(Stop::Ended) } else { Err(Fault::Raw(Reason::Ended)) };
        }
    }
    let flushed = proxy.flush(proxy_key, net, arena).map_err(Fault::Proxy)?;
    Ok(if flushed { Stop::Dry } else { Stop::Blocked })
}

/// Passes what has been read of a body already, `most` bytes of it.
fn pass_body<N: Net>(
    raw: &mut Link<N>,
    proxy: &mut Link<N>,
    most: usize,
    arena: &mut Arena,
    scratch: &mut [u8],
) -> Result<usize, Fault> {
    let ready = raw.rx.len().min(PAYLOAD_BYTES_MAX - raw.held.len()).min(most);
    let bytes = &raw.rx.bytes()[..ready];
    let Some(Asks::Body(body)) = raw.exchange.as_mut().map(|exchange| &mut exchange.asks) else {
        return Ok(0);
    };
    let n = body.pass(bytes).map_err(|_| Fault::Raw(Reason::Protocol))?;
    if matches!(raw.held, Held::Kept(..)) {
        raw.held.push(&bytes[..n], arena);
    }
    relay::transfer(proxy, &bytes[..n], arena, scratch).map_err(Fault::Proxy)?;
    raw.rx.consume(n, arena);
    Ok(n)
}

/// What [`inbound`] came to.
pub enum Passed {
    /// As for a stream.
    Delivered(Delivery),
    /// The role must know first.
    Told(Talk<'static>),
}

/// Passes the real server's answer to the visitor: `most` bytes of it.
///
/// # Errors
/// The side that failed.
pub fn inbound<N: Net>(
    (raw_key, raw): Side<'_, N>,
    proxy: Side<'_, N>,
    net: &mut N,
    arena: &mut Arena,
    most: usize,
) -> Result<Passed, Fault> {
    // What was said before leaves before.
    if !raw.is_flushed() && !raw.flush(raw_key, net, arena).map_err(Fault::Raw)? {
        return Ok(Passed::Delivered(Delivery::Wait));
    }
    let (proxy_key, proxy) = proxy;
    let Some(mut exchange) = raw.exchange.take() else { return Ok(Passed::Delivered(Delivery::Nothing)) };
    let passed = pass_answer((raw_key, raw), (proxy_key, proxy), &mut exchange, net, arena, most);
    raw.exchange = Some(exchange);
    passed
}

fn pass_answer<N: Net>(
    (raw_key, raw): Side<'_, N>,
    (proxy_key, proxy): Side<'_, N>,
    exchange: &mut Exchange,
    net: &mut N,
    arena: &mut Arena,
    most: usize,
) -> Result<Passed, Fault> {
    if let Some(last) = exchange.take_over() {
        return Ok(Passed::Told(Talk::Answered { last }));
    }
    let ready = proxy.rx.len().min(proxy.transfer_left as usize);
    let passes = proxy.payload == Payload::Passed && raw.phase == Phase::Up;
    if ready == 0 {
        let bulk = raw.tls.is_none() && exchange.opaque() >= SPLICE_BYTES_MIN as u64;
        let most = usize::try_from(exchange.opaque()).unwrap_or(usize::MAX).min(most);
        let spliced = if passes && bulk { relay::splice((proxy_key, proxy), raw, most, net) } else { None };
        exchange.skip(spliced.unwrap_or(0));
        return Ok(Passed::Delivered(spliced.map_or(Delivery::Nothing, Delivery::Some)));
    }
    if !passes {
        return Ok(Passed::Delivered(Delivery::Wait));
    }
    match exchange.answers {
        Answers::Nothing => return Ok(Passed::Told(Talk::Nonsense { begun: false })),
        Answers::First => {
            exchange.answers = Answers::Head;
            raw.free_held(arena);
            return Ok(Passed::Told(Talk::Answering));
        }
        Answers::Head | Answers::Body(_) | Answers::Switched => {}
    }
    let switched = exchange.answers == Answers::Switched;
    if *exchange.cleared() == 0 && !clear(raw, proxy, exchange, ready, arena) {
        return Ok(Passed::Told(Talk::Nonsense { begun: exchange.begun }));
    }
    if !switched && exchange.answers == Answers::Switched {
        return Ok(Passed::Told(Talk::Switched));
    }
    let cleared = *exchange.cleared();
    if cleared == 0 {
        // All that was at hand is part of a head, and was put aside.
        return Ok(Passed::Delivered(Delivery::Some(ready)));
    }
    let n = write((raw_key, raw), &proxy.rx.bytes()[..cleared.min(most)], net, arena).map_err(Fault::Raw)?;
    if n == 0 {
        return Ok(Passed::Delivered(Delivery::Wait));
    }
    exchange.begun = true;
    *exchange.cleared() -= n;
    proxy.rx.consume(n, arena);
    proxy.transfer_left -= n as u32;
    Ok(Passed::Delivered(Delivery::Some(n)))
}

/// Finds out how much of what has come may be passed on; a head that is not whole is put aside, and leaves when it is.
/// `false` where it can never be.
fn clear<N: Net>(
    raw: &mut Link<N>,
    proxy: &mut Link<N>,
    exchange: &mut Exchange,
    ready: usize,
    arena: &mut Arena,
) -> bool {
    let aside = raw.held.len();
    if aside == 0 {
        match exchange.examine(&proxy.rx.bytes()[..ready]) {
            Err(_) => return false,
            Ok(cleared @ 1..) => {
                *exchange.cleared() = cleared;
                return true;
            }
            Ok(0) => {}
        }
    }
    let taken = ready.min(PAYLOAD_BYTES_MAX - aside);
    raw.held.push(&proxy.rx.bytes()[..taken], arena);
    let Held::Kept(Some(buf), length) = std::mem::replace(&mut raw.held, Held::Free) else { return false };
    let good = match exchange.examine(&buf.bytes()[..usize::from(length)]) {
        Err(_) => false,
        Ok(0) if usize::from(length) == PAYLOAD_BYTES_MAX => false,
        Ok(0) => {
            proxy.rx.consume(taken, arena);
            proxy.transfer_left -= taken as u32;
            raw.held = Held::Kept(Some(buf), length);
            return true;
        }
        // What was put aside leaves first; of what is at hand, the rest that is good.
        Ok(cleared) => {
            *exchange.cleared() = cleared - aside;
            raw.send(&buf.bytes()[..aside], arena).is_ok()
        }
    };
    arena.give(buf);
    good
}

/// Writes to the visitor; how much was taken.
fn write<N: Net>(
    (key, raw): Side<'_, N>,
    bytes: &[u8],
    net: &mut N,
    arena: &mut Arena,
) -> Result<usize, Reason> {
    if raw.tls.is_some() || !raw.is_flushed() {
        let most = bytes.len().min(PAYLOAD_BYTES_MAX);
        raw.send(&bytes[..most], arena)?;
        raw.flush(key, net, arena)?;
        return Ok(most);
    }
    while raw.writable {
        match net.write(key, &mut raw.stream, bytes, false) {
            Ok(n) => {
                raw.writable = n == bytes.len();
                return Ok(n);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => raw.writable = false,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(reason_of(&error)),
        }
    }
    Ok(0)
}
