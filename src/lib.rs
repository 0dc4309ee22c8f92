//! nt publishes services that live behind NAT.
//!
//! The map, in reading order; each layer knows only those above it in this list.
#![deny(unsafe_code)]
// Without a role it is a library of parts; and what stands for a part is often nothing at all.
#![cfg_attr(not(any(feature = "server", feature = "client")), allow(unused, unreachable_code))]
#![cfg_attr(
    not(feature = "full"),
    allow(clippy::default_constructed_unit_structs, clippy::large_enum_variant)
)]

// Words.
pub mod features;
pub mod limits;
pub mod proxy_protocol;
pub mod reason;
pub mod time;
pub mod wire;

// Stores.
pub mod arena;
pub mod entropy;
pub mod meter;
pub mod slots;
pub mod sorted;
pub mod timers;

// What the operator says.
#[cfg(feature = "server")]
pub mod api;
pub mod calendar;
#[cfg(feature = "server")]
pub mod dashboard;
pub mod directory;
pub mod door;
#[cfg(feature = "server")]
pub mod dry;
pub mod edit;
pub mod exit;
pub mod http;
#[cfg(feature = "server")]
pub mod ledger;
pub mod license;
pub mod mapping;
pub mod names;
#[cfg(feature = "server")]
pub mod plan;
pub mod policy;
pub mod table;
pub mod text;
pub mod via;

// Decisions.
pub mod channel;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "demo")]
pub mod demo;
pub mod note;
pub mod role;
#[cfg(feature = "server")]
pub mod server;

// The world.
pub mod budget;
pub mod driver;
#[cfg(all(feature = "files", unix))]
pub mod files;
#[cfg_attr(not(feature = "udp"), path = "left_out/flow.rs")]
pub mod flow;
#[cfg(feature = "server")]
pub mod fuzz;
#[cfg_attr(not(feature = "http"), path = "left_out/gateway.rs")]
pub mod gateway;
pub mod link;
pub mod net;
pub mod os;
pub mod relay;
#[cfg_attr(not(feature = "tls"), path = "left_out/tls.rs")]
pub mod tls;

// The edge.
#[cfg(feature = "doctor")]
pub mod bench;
#[cfg(feature = "server")]
pub mod certificates;
pub mod cli;
#[cfg_attr(not(feature = "admin"), path = "left_out/clients.rs")]
pub mod clients;
pub mod commands;
pub mod config;
#[cfg(feature = "server")]
pub mod control;
#[cfg(feature = "doctor")]
pub mod doctor;
#[cfg(feature = "server")]
pub mod identity;
pub mod run;
pub mod server_ref;
#[cfg(feature = "install")]
pub mod service;
#[cfg(feature = "server")]
pub mod state;
#[cfg(feature = "admin")]
pub mod status;
