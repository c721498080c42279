//! What the parts of the fleet say to each other: ids, topics, messages, their CBOR and their signatures.
//!
//! Pure: no clock, no random numbers, no sockets, no files. PROTOCOL.md is the same in prose.

pub mod ids;
pub mod topics;
