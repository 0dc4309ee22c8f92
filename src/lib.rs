#![doc = "nt publishes services that live behind NAT."]

pub mod directory;
pub mod entropy;
pub mod license;
pub mod mapping;
pub mod names;
pub mod policy;
pub mod table;
pub mod text;
