//! In the place of flows: no datagram passes.

use std::collections::BTreeMap;
use std::convert::Infallible;

use crate::arena::Arena;
use crate::link::Link;
use crate::net::{Ends, Net};
use crate::reason::Reason;
use crate::slots::Key;
use crate::time::Time;

/// Buffers of the arena that a flow has a right to.
pub const RIGHTS: usize = 0;

/// A public port for datagrams: there is none.
#[derive(Debug)]
#[allow(missing_docs, reason = "as in `flow.rs`")]
pub struct Port<S> {
    pub never: Infallible,
    pub socket: S,
    pub group: Key,
    pub flows: BTreeMap<Ends, Key>,
    pub queued: bool,
}

/// A flow: there is none.
#[derive(Debug)]
#[allow(missing_docs, reason = "as in `flow.rs`")]
pub struct Flow<S> {
    pub never: Infallible,
    pub role: usize,
    pub end: End<S>,
    pub proxy: Option<Key>,
    pub meter: Option<Key>,
    pub queued: bool,
}

/// A flow's socket.
#[derive(Debug)]
#[allow(missing_docs, reason = "as in `flow.rs`")]
pub enum End<S> {
    Shared(Key, Ends, Time),
    Own(S),
}

#[allow(missing_docs, reason = "as in `flow.rs`")]
impl<S> Flow<S> {
    pub fn holds(&self) -> (bool, usize) {
        match self.never {}
    }

    pub fn part(&mut self, _: &mut Arena) {
        match self.never {}
    }

    pub fn clear(&mut self, _: &mut Arena) {
        match self.never {}
    }
}

/// Flows by when each is over: there are none.
#[derive(Debug, Default)]
pub struct Quiet;

#[allow(missing_docs, reason = "as in `flow.rs`")]
impl Quiet {
    pub fn has(&self, _group: Key, _at: Time, _: Key) -> bool {
        false
    }

    pub fn next(&self) -> Time {
        Time::NEVER
    }

    pub fn len(&self) -> usize {
        0
    }

    pub fn is_empty(&self) -> bool {
        true
    }
}

/// Passes what a flow holds: there is none.
///
/// # Errors
/// There is none.
pub fn outbound<N: Net>(
    flow: &mut Flow<N::Socket>,
    _: (Key, &mut Link<N>),
    _: &mut N,
    _: &mut Arena,
    _scratch: &mut [u8],
) -> Result<(), Reason> {
    match flow.never {}
}
