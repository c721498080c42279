//! The published contract (grammars, vectors, integrators' document) held against the code that ships.
#![allow(clippy::unwrap_used, clippy::unwrap_in_result, reason = "helpers of tests fail as tests do")]

mod diagnostic;
mod examples;
mod grammar;
mod hostile;
mod integrators;
mod page;
mod vectors;
