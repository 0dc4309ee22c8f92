//! Runs a server, a client or the demo: puts settings, state and roles together, and starts the loop.

#[cfg(feature = "client")]
#[cfg_attr(not(feature = "ca"), path = "left_out/ca.rs")]
mod ca;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "demo")]
mod demo;
#[cfg(feature = "server")]
mod server;

use crate::budget::{End, Means, Plan, plan};
use crate::net::Net;
use crate::note::{Format, Level, Note};
use crate::os::{self, Os, Sources};
use crate::server_ref::Source;
#[cfg(feature = "doctor")]
pub use client::connect_beside;
#[cfg(feature = "client")]
pub use client::{Ways, connect, ways};
#[cfg(feature = "demo")]
pub use demo::demo;
#[cfg(feature = "server")]
pub use server::{own_address, serve};

/// Gives the text of a file, or of standard input.
pub trait Read: FnMut(Source<'_>) -> Result<String, String> {}

impl<R: FnMut(Source<'_>) -> Result<String, String>> Read for R {}

fn means(end: End, visitors: Option<u32>, buffer_bytes: Option<u64>) -> Result<Plan, String> {
    let (files, memory_bytes) = (os::raise_open_files(), os::memory_bytes());
    let visitors = visitors.map(|visitors| visitors as usize);
    let buffer_bytes = buffer_bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    plan(end, Means { files, memory_bytes, visitors, buffer_bytes })
}

/// How much is logged: `NT_LOG`, or everything but single visits.
fn level() -> Result<Level, String> {
    match std::env::var("NT_LOG").as_deref() {
        Err(_) | Ok("" | "info") => Ok(Level::Info),
        Ok("error") => Ok(Level::Error),
        Ok("warn") => Ok(Level::Warn),
        Ok("debug") => Ok(Level::Debug),
        Ok(other) => Err(format!("NT_LOG is {other:?}, which is none of error, warn, info, debug")),
    }
}

fn start_os(format: Format, sources: Box<dyn Sources>) -> Result<Os, String> {
    Os::new(level()?, format, sources)
        .map_err(|error| format!("the operating system gives no poller or signals: {error}"))
}

fn tell(os: &mut Os, level: Level, text: String) {
    let now = os.now();
    os.note(now, &Note::Plain(level, text));
}
