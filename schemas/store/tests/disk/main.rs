//! The store on a disk that forgets and fails: what `commit` promised is there, whatever a power cut leaves.

#![allow(clippy::unwrap_used, clippy::unwrap_in_result, reason = "a test's helper that finds nothing fails the test")]

mod forgetful;
mod power_cuts;
mod witness;
