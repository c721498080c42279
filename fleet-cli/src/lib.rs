//! The `fleet` command and what it is made of: setting up a fleet's files, and speaking to a running fleet.
//!
//! Tests, the demo and integrations written in Rust use the same parts as the command.

pub mod cli;
pub mod client;
pub mod demo;
pub mod folder;
pub mod setup;
pub mod stage;
