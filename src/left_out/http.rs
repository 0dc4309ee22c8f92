//! In the place of HTTP: nobody asks, and nothing is under way.

use std::convert::Infallible;
use std::marker::PhantomData;

/// A body: there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body(Infallible);

impl Body {
    /// Whether its last byte has passed.
    pub fn is_over(&self) -> bool {
        match self.0 {}
    }
}

/// A request: there is none.
#[derive(Debug)]
pub struct Request<'a>(#[allow(dead_code, reason = "it cannot be")] Infallible, PhantomData<&'a ()>);

/// An exchange: there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange(Infallible);

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
        match body.0 {}
    }

    pub fn is_in_head(&self) -> bool {
        match self.0 {}
    }

    pub fn has_begun(&self) -> bool {
        match self.0 {}
    }

    pub fn end(&self) -> Ending {
        match self.0 {}
    }
}
