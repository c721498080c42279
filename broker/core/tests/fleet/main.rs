//! The fleet's rules, seen from outside: inputs in, rows and effects out.
#![allow(clippy::wildcard_enum_match_arm, reason = "tests look for one effect among many")]

mod handover;
mod world;
