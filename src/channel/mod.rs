//! The channels: what each kind of connection may do next.
//!
//! Each machine is an enum whose variants own the data that is valid in them, with one method that takes an
//! event, changes the state and returns what must be done; doing it never changes the state. None of them
//! knows another: a role carries effects from one to the next. `tests/machines.rs` runs every event in
//! every state.

pub mod cmd;
pub mod proxy;
pub mod real;
pub mod visitor;
