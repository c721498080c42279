//! The command as it is called, and the files that it makes.

#![allow(clippy::unwrap_used, reason = "in a test, also in its helpers, a panic is the report")]

mod commands;
mod files;
mod helps;
