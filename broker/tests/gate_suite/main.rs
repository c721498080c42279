//! The gate against real TLS sockets: what it serves, and every way that was found to hurt a broker like it.

#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::wildcard_enum_match_arm,
    reason = "a test that fails has nothing to recover, and its helpers name what they expected"
)]

mod acks;
mod client;
mod connect;
mod downlinks;
mod fixture;
mod library_client;
mod misbehaviour;
mod overload;
mod revocation;
mod streams;
mod takeover;
