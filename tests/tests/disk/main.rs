//! Both cores on the real store, on a disk that forgets: after a power cut at any moment the core opens, and all that it had
//! acknowledged is there.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests look for one kind among many")]
#![allow(clippy::unwrap_used, clippy::unwrap_in_result, reason = "a test's helper that finds nothing fails the test")]

#[path = "../../../schemas/store/tests/disk/forgetful.rs"]
mod forgetful;
#[path = "../../../schemas/store/tests/disk/witness.rs"]
mod witness;

mod cabinet;
mod cabinet_cuts;
mod fleet;
mod fleet_cuts;
