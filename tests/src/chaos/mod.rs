//! Real processes, killed at bad moments behind bad networks, and a record of what everybody was told to hold their disks
//! against.
//!
//! The simulation ([`crate::sim`]) plays far more schedules, but with a store, a network and processes of its own; here
//! SIGKILL, TLS, redb's files, sockets and serial lines are those of the shipped programs. A seed fixes who does what and
//! what breaks where, not the order in which the machine lets it happen.

#[allow(clippy::wildcard_enum_match_arm, reason = "a check names the kinds that it judges")]
mod authority;
mod backend;
#[allow(clippy::wildcard_enum_match_arm, reason = "a check names the kinds that it judges")]
mod checker;
mod front;
mod hall;
mod history;
mod knowledge;
mod pace;
mod proxy;
mod run;
mod stores;
mod town;

pub use proxy::{Damage, Proxy, Weather};
pub use run::{Options, Report, run};
