//! nt publishes services that live behind NAT.
//!
//! The map, in reading order; each layer knows only those above it in this list.
#![deny(unsafe_code)]

// Words.
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
pub mod timers;

// What the operator says.
pub mod api;
pub mod calendar;
pub mod dashboard;
pub mod directory;
pub mod door;
pub mod dry;
pub mod edit;
pub mod exit;
pub mod http;
pub mod ledger;
pub mod license;
pub mod mapping;
pub mod names;
pub mod plan;
pub mod policy;
pub mod table;
pub mod text;
pub mod via;

// Decisions.
pub mod channel;
pub mod client;
pub mod demo;
pub mod note;
pub mod role;
pub mod server;

// The world.
pub mod budget;
pub mod driver;
#[cfg_attr(windows, path = "os/windows/files.rs")]
pub mod files;
pub mod flow;
pub mod fuzz;
pub mod gateway;
pub mod link;
pub mod net;
pub mod os;
pub mod relay;
pub mod tls;

// The edge.
pub mod bench;
pub mod certificates;
pub mod cli;
pub mod clients;
pub mod commands;
pub mod config;
pub mod control;
pub mod doctor;
pub mod identity;
pub mod run;
pub mod server_ref;
pub mod service;
pub mod state;
pub mod status;
