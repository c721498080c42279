//! The agent of one cabinet: lock boards, the connection to the fleet, the screen, and the core between them.

pub mod boards;
pub mod derivations;
pub mod device_key;
pub mod driver;
pub mod fleet_time;
pub mod identity;
pub mod process;
pub mod screen;
pub mod settings;
pub mod setup;
pub mod uplink;
pub mod wipe;
