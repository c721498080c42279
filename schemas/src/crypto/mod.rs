//! Signatures, sealing and verifiers. Keys and random bytes come in as arguments.

pub mod answers;
pub mod codes;
pub mod envelope;
pub mod receipt;
pub mod rest;
pub mod seal;
