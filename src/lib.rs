#![doc = "nt publishes services that live behind NAT."]

pub mod cli;
pub mod commands;
pub mod config;
pub mod directory;
pub mod entropy;
pub mod identity;
pub mod license;
pub mod mapping;
pub mod names;
pub mod policy;
pub mod server_ref;
pub mod state;
pub mod table;
pub mod text;
