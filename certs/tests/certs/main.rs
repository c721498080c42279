//! Tests of the whole package, as one program.

#![allow(clippy::unwrap_used, reason = "in a test, also in its helpers, a panic is the report")]

mod fleet;
mod handshakes;
mod issuing;
