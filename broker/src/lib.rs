//! The fleet's broker: gate, bus, driver, store, signer.

pub mod bus;
pub mod gate;
pub mod settings;
