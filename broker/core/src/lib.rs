//! The fleet's rules: what is booked where, who may open what, and what is on disk before anyone is told.
//!
//! Pure: no clock, no random numbers, no sockets, no files. [`FleetCore::handle`] takes a fact and returns a
//! [`Step`](schemas::step::Step); the shell commits its writes in one transaction and only then runs its effects.
//!
//! Two aggregates: a cabinet (`cabinet`), and an order with the streams of its integration (`order`). They speak
//! through intents (`intents`) that are rows themselves, so that each can be committed alone. What the signer is
//! asked for (`jobs`) is no row: it follows from the state.

mod cabinet;
mod clock;
mod config;
mod core;
mod deadlines;
mod delegations;
mod effect;
pub mod enrolment;
mod identities;
mod input;
mod intents;
mod jobs;
mod keysets;
mod notify;
mod open;
mod order;
mod policy;
mod quotas;
mod requests;
mod roles;
mod rows;
pub mod signing;
mod site;
mod staff;
mod streams;
mod tables;
mod turn;

pub use crate::core::{FleetCore, OpenError};
pub use cabinet::{UNLOCKS_KEPT, UNLOCKS_PAGE, unlock_key, unlock_page};
pub use clock::{ClockNotice, GuardedClock, JUMP_MILLIS, Reading};
pub use config::{CodeForm, Config};
pub use effect::{Effect, SecretOf};
pub use input::{CertificateSeen, Input, Moment};
pub use keysets::ROOT_CHANGES_MAX;
pub use notify::{Codes, Dispatch, Outcome, Receipt, ReceiptAsk};
pub use rows::{ROWS_PAGE, RenderError, render_row, sealed_in_row, status_page};
pub use streams::LEAP;
pub use tables::{
    BOOK, BOOKED, CABINETS, COMMANDS, COMPARTMENTS, EVENTS, IDENTITIES, INTENTS, ISSUED, KEYSETS, MESSAGES, META,
    OFFERS, ORDERS, PROGRESS, QUOTAS, SAID, STAFF, STAFF_AT, STREAM, STREAMS, UNLOCKS, event_key, stream_key,
};
