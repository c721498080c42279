//! The fleet's broker: gate, bus, driver, store, signer.

pub mod admission;
pub mod bus;
pub mod driver;
pub mod enrolment;
pub mod gate;
pub mod notifier;
mod places;
pub mod process;
pub mod settings;
pub mod signer;
mod supervisor;
