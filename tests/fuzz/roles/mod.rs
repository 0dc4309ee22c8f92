//! Fuzz targets that play with whole roles, and with a whole driver: bytes are a script of what happens.

#![allow(dead_code, unreachable_pub)] // Each includer uses what it needs.

#[path = "../../stage/hand.rs"]
mod hand;
#[path = "../../stage/mod.rs"]
mod stage;

mod client;
mod script;
mod server;
mod whole;

pub use client::play as client;
use nt::fuzz::Target;
pub use server::play as server;
pub use whole::play as whole;

/// All targets that are a script.
pub const TARGETS: &[Target] = &[("server", server), ("client", client), ("whole", whole)];
