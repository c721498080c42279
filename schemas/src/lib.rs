//! What the parts of the fleet say to each other: ids, topics, messages, their CBOR and their signatures.
//!
//! Pure: no clock, no random numbers, no sockets, no files. PROTOCOL.md is the same in prose.

pub mod api;
pub mod cbor;
pub mod crypto;
pub mod enrolment;
pub mod ids;
pub mod messages;
pub mod phone;
pub mod step;
pub mod topics;
pub mod web;

mod words;

pub use words::{NotHex, UnknownWord};
