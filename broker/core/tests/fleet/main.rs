//! The fleet's rules, seen from outside: inputs in, rows and effects out.
#![allow(clippy::wildcard_enum_match_arm, reason = "tests look for one effect among many")]
#![allow(clippy::unwrap_used, reason = "a test's helper that finds nothing fails the test")]

mod app;
mod audits;
mod availability;
mod books;
mod break_glass;
mod bundles;
mod cabinets;
mod changes;
mod crashes;
mod deposits;
mod enrolment;
mod errands;
mod factor;
mod handover;
mod history;
mod identities;
mod interrupted;
mod keysets;
mod letters;
mod orders;
mod outages;
mod parts;
mod people;
mod places;
mod policies;
mod quarantine;
mod quotas;
mod release;
mod report;
mod requests;
mod restore;
mod roles;
mod secrets;
mod sites;
mod staff;
mod status;
mod swaps;
mod time;
mod time_crashes;
mod undoing;
mod walk_in;
mod wiping;
mod wishes;
mod world;
