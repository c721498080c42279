//! A cabinet's core driven as its shell drives it: commit, then effects, then the next input.

// Clippy exempts only functions marked as tests; these are their helpers.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod app;
mod audit;
mod books;
mod break_glass;
mod bundles;
mod couriers;
mod deposits;
mod doors;
mod emergency;
mod errands;
mod factor;
mod found;
mod letters;
mod link;
mod loading;
mod lockout;
mod month;
mod people;
mod pickup;
mod random;
mod release;
mod report;
mod restarts;
mod rig;
mod service;
mod shared;
mod staff;
mod swapping;
mod undoing;
mod unlocking;
mod walk_in;
mod wiping;
