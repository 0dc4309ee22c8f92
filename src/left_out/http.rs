//! In the place of HTTP: nobody asks, and nothing is under way.

use std::convert::Infallible;
use std::marker::PhantomData;

/// A body: there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {}

impl Body {
    /// Whether its last byte has passed.
    pub fn is_over(&self) -> bool {
        match *self {}
    }
}

/// A request: there is none.
#[derive(Debug)]
pub struct Request<'a>(#[allow(dead_code, reason = "it cannot be")] Infallible, PhantomData<&'a ()>);

/// An exchange: there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {}

/// What the end of a real server's direction means to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in `http/exchange.rs`")]
pub enum Ending {
    Answer,
    Early,
    Ours,
}

#[allow(missing_docs, reason = "as in `http/exchange.rs`")]
impl Exchange {
    pub fn begun_with(_http: bool) -> Option<Box<Self>> {
        None
    }

    pub fn of_body(body: Body) -> Self {
        match body {}
    }

    pub fn is_in_head(&self) -> bool {
        match *self {}
    }

    pub fn has_begun(&self) -> bool {
        match *self {}
    }

    pub fn end(&self) -> Ending {
        match *self {}
    }
}
