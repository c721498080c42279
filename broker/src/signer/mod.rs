//! The signer: the only process that holds signing keys, behind a Unix socket.
//!
//! It signs nothing that it was handed as bytes: every message is built here from typed fields, for the one tenant of
//! its keys, with the purpose that the kind of request has. Whoever takes over the broker can ask it for commands and
//! books (counted, limited, logged), but cannot take the keys away.

mod client;
mod frame;
mod server;
mod service;

pub use client::{SignerAnswer, SignerClient};
pub use frame::FrameError;
pub use server::{ServeError, serve};
pub use service::{Keys, Service};

/// Whether the signer could be asked to derive codes and PINs so fast that it exhausts the machine: at most so many
/// Argon2id evaluations (7 MiB each) run at once.
pub(crate) const DERIVATIONS_AT_ONCE: usize = 2;
