//! Stores that released versions have left: each opens, and holds what it held.
//!
//! They are in `schemas/store/vectors`, a folder for each version, and are never made anew. A version that writes another
//! form adds its own with `cargo test -p fleet-tests --test old_stores -- --ignored`.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests look for one kind among many")]
#![allow(clippy::unwrap_used, clippy::unwrap_in_result, reason = "a test's helper that finds nothing fails the test")]
#![allow(dead_code, reason = "the tests of power cuts need more of a cabinet and a fleet")]

#[path = "../disk/cabinet.rs"]
mod cabinet;
#[path = "../disk/fleet.rs"]
mod fleet;

mod pages;
mod stores;
