//! A simulated lock-control bus: boards of the XOR family behind a pseudo-terminal, with doors, people and faults.
//!
//! The other side opens [`SimBus::path`] as its serial port, from this process or another one, and sees real bytes.
//! The frames follow `vectors.tsv`, not the agent's driver, so that one checks the other.

mod board;
mod bus;
mod config;
mod frames;
mod pty;
mod seen;

pub use board::{Door, NoSuchLock};
pub use bus::SimBus;
pub use config::{BoardConfig, BoardFaults, LockFault, Push, SimConfig, StatusOrder, Wiring};
pub use seen::{Direction, Pulse, PulseKind, Snapshot, TimedOut, WireBytes};

/// Every known frame of every family, one per line: family, meaning, request, response, separated by tabs.
pub const VECTORS: &str = include_str!("../vectors.tsv");
