//! The signer: the only process that holds signing keys, with a user of its own behind a Unix socket, or on another host behind TLS.
//!
//! It signs nothing that it was handed as bytes: every message is built here from typed fields, for the one tenant of
//! its keys, with the purpose that the kind of request has. Whoever takes over the broker can ask it for commands and
//! books (counted, limited, logged) and gets no key: `tests/tests/e2e/taken_over_gate.rs` tries what there is to try.

mod accounts;
mod client;
mod frame;
mod limits;
mod listener;
mod server;
mod service;

pub use accounts::AccountError;
pub use client::{Route, SignerAnswer, SignerClient};
pub use frame::FrameError;
pub use limits::Limits;
pub use listener::{Door, ListenError, Listener, SocketDoor, TlsDoor};
pub use server::serve;
pub use service::{Keys, Service};

/// Argon2id evaluations (7 MiB each) that run at once, however many codes and PINs are asked for.
pub(crate) const DERIVATIONS_AT_ONCE: usize = 2;
