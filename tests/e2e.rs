//! The built binary, whole: real kernels, real programs, real faults.
//!
//! Each test starts its own server and client on ports and in a directory of its own, so all may run at once. What a
//! machine lacks (a program, root, `ip`) is said by a line `skipped: …`.
//!
//! - `NT_E2E_BIN=PATH` tests that binary instead of the one cargo has just built. Where `release` is a folder of its
//!   path, the tests that need an optimised build run too: more than 4 GiB in one stream, memory at rest.
//! - `NT_E2E_LONG=1` (`make faults`) does some things more often.
//! - What must hold after every test is asked in one place: `rest.rs`. Which fault is shown where: `docs/TESTING.md`.
//! - Nothing is benchmarked: a bound on time is a promise of nt, taken generously.

#![cfg(target_os = "linux")]
#![allow(unreachable_pub, clippy::disallowed_methods, clippy::unwrap_used)]

#[path = "e2e/api.rs"]
mod api;
#[path = "e2e/bad_links.rs"]
mod bad_links;
#[path = "e2e/between.rs"]
mod between;
#[path = "e2e/bounds.rs"]
mod bounds;
#[path = "e2e/certificates.rs"]
mod certificates;
#[path = "e2e/command_line.rs"]
mod command_line;
#[path = "e2e/dashboard.rs"]
mod dashboard;
#[path = "e2e/data.rs"]
mod data;
#[path = "e2e/demand.rs"]
mod demand;
#[path = "dice/mod.rs"]
mod dice;
#[path = "e2e/doctor.rs"]
mod doctor;
#[path = "bench/echo.rs"]
#[allow(dead_code, reason = "the benchmark uses more of it")]
mod echo;
#[path = "e2e/exits.rs"]
mod exits;
#[path = "e2e/failback.rs"]
mod failback;
#[path = "e2e/faults.rs"]
mod faults;
#[path = "e2e/groups.rs"]
mod groups;
#[path = "e2e/harness.rs"]
mod harness;
#[path = "e2e/herd.rs"]
mod herd;
#[path = "e2e/http.rs"]
mod http;
#[path = "e2e/http_attack.rs"]
mod http_attack;
#[path = "e2e/http_ends.rs"]
mod http_ends;
#[path = "e2e/http_limits.rs"]
mod http_limits;
#[path = "e2e/http_programs.rs"]
mod http_programs;
#[path = "e2e/https.rs"]
mod https;
#[path = "e2e/machine.rs"]
mod machine;
#[path = "e2e/names.rs"]
mod names;
#[path = "e2e/netns.rs"]
mod netns;
#[path = "e2e/notify.rs"]
mod notify;
#[path = "e2e/operator.rs"]
mod operator;
#[path = "e2e/picture.rs"]
mod picture;
#[path = "e2e/private.rs"]
mod private;
#[path = "e2e/process.rs"]
mod process;
#[path = "e2e/programs.rs"]
mod programs;
#[path = "e2e/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "e2e/ranges.rs"]
mod ranges;
#[path = "e2e/relay.rs"]
mod relay;
#[path = "e2e/reload.rs"]
mod reload;
#[path = "e2e/rest.rs"]
mod rest;
#[path = "e2e/roots.rs"]
mod roots;
#[path = "e2e/scratch.rs"]
mod scratch;
#[path = "e2e/servers.rs"]
mod servers;
#[path = "e2e/settings.rs"]
mod settings;
#[path = "e2e/strangers.rs"]
mod strangers;
#[path = "e2e/tcp.rs"]
mod tcp;
#[path = "e2e/trial.rs"]
mod trial;
#[path = "e2e/udp.rs"]
mod udp;
#[path = "e2e/unix.rs"]
mod unix;
#[path = "e2e/via.rs"]
mod via;
#[path = "e2e/waiting.rs"]
mod waiting;
#[path = "wan/mod.rs"]
mod wan;
#[path = "e2e/web.rs"]
mod web;
#[path = "e2e/webdriver.rs"]
mod webdriver;
#[path = "e2e/welcome.rs"]
mod welcome;
