//! The agent's uplink against a server that follows a script over real TLS: what rumqttc does badly when left to itself,
//! and what a server can do wrong.
//!
//! Time is paused and moved on faster than it passes, so that pauses and timeouts cost little and can be counted.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by panicking")]

mod backlog;
mod cabinet;
mod downlinks;
mod refusals;
mod server;
mod silence;
