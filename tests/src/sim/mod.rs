//! The whole fleet in one process from a seed: both cores, their stores, a network, lock boards, people and an adversary.
//!
//! Nothing here knows real time, threads or sockets. A schedule is a list of happenings ordered by simulated time; what
//! happens next and which fault strikes comes from a [`Dice`]. After each happening the named invariants judge what was
//! seen ([`invariants`]); at the end everything is healed, and what must become true eventually is checked.

#![allow(clippy::wildcard_enum_match_arm, reason = "an observer picks what concerns it out of many kinds")]

mod adversary;
mod apps;
mod board;
mod cabinet;
mod changes;
mod clocks;
mod couriers;
mod coverage;
mod crash;
mod decisions;
mod dice;
mod end;
mod errands;
mod factors;
mod faults;
mod fleet;
mod forger;
mod glass;
mod invariants;
mod ledger;
mod messages;
mod names;
mod others;
mod people;
mod reach;
mod restore;
mod rounds;
mod sabotage;
mod schedule;
mod screen;
mod shared;
mod shrink;
mod signer;
mod store;
mod time;
mod times;
mod walk_ins;
mod wholes;
mod wire;
mod world;

pub use coverage::Coverage;
pub use decisions::{Decision, NotADecision};
pub use dice::Dice;
pub use invariants::Holds;
pub use reach::{REACH, Reach};
pub use sabotage::{SABOTAGES, Sabotage};
pub use schedule::{FAULTS_MIN, Failure, INPUTS_MIN, Options, Report, run, run_kept};
pub use shrink::{NotARegression, Regression, shrink};

/// The invariants and the checks at the end: their names, and whom they hold against.
pub fn invariants() -> impl Iterator<Item = (&'static str, Holds)> {
    invariants::INVARIANTS.iter().map(|(name, holds, _)| (*name, *holds)).chain(end::CHECKS)
}
