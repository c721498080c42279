//! The pages of the cabinet's screen in a real browser: broker, agent and simulated boards as they ship, people who touch, type
//! and scan, and a look at each page for those who cannot see, reach or read it.
//!
//! The browser is Debian's Chromium, driven by the script in `tests/screen`; where either is missing the tests say so and are
//! skipped. Pictures of each page are left below the target folder (`tmp/screens`). Nothing waits for a fixed time.

#![allow(clippy::unwrap_used, reason = "tests")]

mod brand;
mod browser;
mod couriers;
mod customers;
mod flows;
mod hostile;
mod pages;
mod paired;
mod people;
mod restarts;
mod staff;
mod tongue;
mod words;
