//! Keys in tokens (smart cards, HSMs, TPMs) that are spoken to by PKCS#11. A key is made in its token and never leaves it.
//!
//! Names of keys are read in every build. With the feature `pkcs11` the token's library is loaded when the program runs;
//! without it nothing of that is built, and each use says so.

mod error;
mod uri;

#[cfg(feature = "pkcs11")]
mod keys;
#[cfg(feature = "pkcs11")]
mod session;

#[cfg(not(feature = "pkcs11"))]
mod absent;

#[cfg(not(feature = "pkcs11"))]
pub use absent::{Ed25519Token, P256Token, sweep_token};
pub use error::TokenError;
#[cfg(feature = "pkcs11")]
pub use keys::{Ed25519Token, P256Token, sweep_token};
/// Whether this build can use tokens at all.
pub const TOKENS: bool = cfg!(feature = "pkcs11");

pub use uri::{TokenUri, URI_MAX, UriError};
