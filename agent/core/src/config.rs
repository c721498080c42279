//! What a cabinet's core is told at start, and what it is told with each input.

use schemas::ids::{CabinetId, TenantId};
use schemas::messages::{BootId, CompartmentInfo, Instance, Key};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Time and randomness of one call.
pub struct Moment {
    /// Milliseconds of the boot clock (CLOCK_BOOTTIME, counts through suspend).
    pub boot_millis: u64,
    /// Fresh random bytes, never used for a second call.
    pub entropy: [u8; 32],
}

/// One start of the machine (Linux: `/proc/sys/kernel/random/boot_id`): as long as it is the same, the boot clock has gone
/// on, however often the agent was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineStart(pub [u8; 16]);

/// The key under which a cabinet keeps verifiers and its pepper. Has no `Debug` on purpose.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DeviceKey(pub [u8; 32]);

/// A compartment as the settings describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompartmentConfig {
    pub info: CompartmentInfo,
    /// Without one, whatever the bus reports as occupancy is taken as unknown.
    pub occupancy_sensor: bool,
}

/// What does not change while the agent runs.
pub struct Config {
    pub tenant: TenantId,
    pub cabinet: CabinetId,
    pub instance: Instance,
    /// The pinned roots, purpose `keyset`.
    pub roots: [Key; 2],
    pub compartments: Vec<CompartmentConfig>,
    pub device_key: DeviceKey,
    /// The agent's version, for people.
    pub agent: String,
    /// This run. A new one each time, or a command to an earlier run could be carried out by this one.
    pub boot: BootId,
    pub machine: MachineStart,
    /// Between two samples while connected and something changes; [`Config::TELEMETRY_EVERY_MILLIS`] unless there is a
    /// reason.
    pub telemetry_every_millis: u64,
    /// The screen shows a token, and the fleet opens an order for whoever passes it on.
    pub app_token: bool,
    /// This cabinet was wiped, and this is what it says of it: nothing else is left to do.
    pub receipt: Option<Vec<u8>>,
}

impl Config {
    pub const TELEMETRY_EVERY_MILLIS: u64 = 30_000;
    /// A sample that says the same as the last one is sent this much later: a cabinet on a metered link is mostly idle.
    pub const TELEMETRY_IDLE_MILLIS: u64 = 15 * 60_000;
}
