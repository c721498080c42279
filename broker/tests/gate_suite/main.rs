//! The gate against real TLS sockets: what it serves, and every way that was found to hurt a broker like it.

mod acks;
mod client;
mod connect;
mod downlinks;
mod fixture;
mod library_client;
mod misbehaviour;
mod overload;
mod streams;
mod takeover;
