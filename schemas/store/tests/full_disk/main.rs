//! A store on a disk that is full, on small file systems of the test's own.

#![allow(clippy::unwrap_used, reason = "a test's helper that finds nothing fails the test")]

mod latency;
mod lost_pages;
mod room;
mod small_disk;
