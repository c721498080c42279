//! Keys in tokens of SoftHSM. Each test runs in a process of its own: the library reads its settings once.

#![allow(clippy::unwrap_used, reason = "in a test, also in its helpers, a panic is the report")]

mod bench;
mod faults;
mod softhsm;
mod use_of_keys;
