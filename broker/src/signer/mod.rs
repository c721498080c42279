//! The signer: the only process that holds signing keys, behind a Unix socket.
//!
//! It signs nothing that it was handed as bytes: every message is built here from typed fields, for the one tenant of
//! its keys, with the purpose that the kind of request has. Whoever takes over the broker can ask it for commands and
//! books (counted, limited, logged). That he cannot also read the key files needs a second user for this process, which the
//! socket does not allow yet (ARCHITECTURE.md, Known limits).

mod client;
mod frame;
mod server;
mod service;

pub use client::{SignerAnswer, SignerClient};
pub use frame::FrameError;
pub use server::{Limits, ServeError, serve};
pub use service::{Keys, Service};

/// Argon2id evaluations (7 MiB each) that run at once, however many codes and PINs are asked for.
pub(crate) const DERIVATIONS_AT_ONCE: usize = 2;
