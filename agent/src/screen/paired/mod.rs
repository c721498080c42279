//! A screen that is a computer of its own, such as a tablet in the door, at the other end of a cable.
//!
//! It gets what the browser on the cabinet gets, under four conditions: its address is the only one that is answered, the
//! cable is under TLS by a certificate that vouches for nothing else, a technician has paired it by a code that works
//! once, and it shows the key of its own that it got by that. There is one such screen: the next one takes its place.

mod command;
mod files;
mod line;
mod pairing;

pub use command::{PairArguments, PairError, pair};
pub(crate) use files::Folder;
pub(super) use line::Line;
pub(super) use pairing::{Offer, Pairing, PairingError};
