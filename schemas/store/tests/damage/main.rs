//! Store files that were damaged from outside: the rows are right, or an error names the file.

#![allow(clippy::unwrap_used, reason = "a test's helper that finds nothing fails the test")]

mod copies;
mod cost;
mod while_open;
