//! The whole fleet from outside: the shipped binaries, real TLS and MQTT, simulated lock boards behind serial ports.
//!
//! Each test has a world of its own and runs beside the others. Nothing waits for a fixed time; what is waited for in vain is
//! said with what was seen last.

#![allow(clippy::unwrap_used, reason = "tests")]

mod app;
mod attacks;
mod backends;
mod break_glass;
mod bundles;
mod cable;
mod cli;
mod clocks;
mod codes;
mod commands;
mod corrections;
mod couriers;
mod crashes;
mod deposits;
mod disks;
mod doctor;
mod enrolment;
mod enrolment_flood;
mod errands;
mod factor;
mod gateways;
mod handover;
mod history;
mod input;
mod integrate;
mod interventions;
mod isolation;
mod jams;
mod keys;
mod lockout;
mod machine;
mod notifications;
mod offline;
mod parts;
mod policies;
mod power;
mod processes;
mod quotas;
mod release;
mod renewal;
mod restore;
mod revocation;
mod rounds;
mod runbooks;
mod secrets;
mod security;
mod shared;
mod shell;
mod signer_over_tls;
mod signer_talk;
mod sites;
mod staff;
mod taken_over_gate;
mod tokens;
mod two_users;
mod units;
mod walk_ins;
mod wiping;
mod wishes;
