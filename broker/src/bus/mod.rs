//! Fan-out of live packets: what the gate made about a cabinet reaches every process that shows it to people.
//!
//! A bus carries packets that this project's gate *made*, never packets that it passed on. What comes back from it is
//! for **live display only**. It is no input to the core: on an external broker anybody with the right topic can write,
//! so a packet from the bus may colour a screen but can never cause a signature, a code, a write or a command.
//!
//! Both implementations are one [engine](engine) over a [`link::Link`]: a queue that never blocks its caller, a window of
//! frames that are under way, a watchdog. A frame counts as routed when it has come back to its own sender, so the
//! engine needs no trust in acknowledgements, and a link that dies gives up nothing but time: what had not come back is sent
//! again over the next one.

mod counts;
mod engine;
mod external;
mod frame;
mod link;
mod queue;
mod router;
mod shard;
mod state;

use std::sync::Arc;

use bytes::Bytes;
use schemas::ids::{CabinetId, TenantId};
use schemas::topics::Live;

pub use counts::{Counts, Dropped};
pub use engine::{OnFatal, Timing};
pub use external::{ExternalBus, ExternalError, ExternalSettings, ExternalTransport};
pub use frame::PAYLOAD_MAX;
pub use link::{Link, LinkError, LinkFactory, LinkReceive, LinkSend, Received};
pub use router::{RouterBus, router_link};
pub use shard::Shard;

/// Something that happened at a cabinet, for people who are watching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivePacket {
    pub tenant: TenantId,
    pub cabinet: CabinetId,
    pub live: Live,
    /// At most [`PAYLOAD_MAX`] bytes of any content. It is copied, so a slice of a receive buffer pins nothing.
    pub payload: Bytes,
}

/// Takes what the bus delivers. Called on a thread of the bus, one packet after another.
///
/// It must be quick and must not wait (hand over with `try_send`): while it runs nothing else is delivered.
pub type Sink = Arc<dyn Fn(LivePacket) + Send + Sync>;

/// Fan-out of live packets to this process's own sink and, on an external broker, to those of the others.
///
/// Packets of one cabinet arrive in the order they were published. Events and presence are kept over telemetry: a full
/// queue loses its oldest telemetry first, and no amount of telemetry displaces an event.
pub trait Bus: Send + Sync {
    /// Queues `packet` and returns at once.
    fn publish(&self, packet: LivePacket) -> Result<(), BusError>;

    fn health(&self) -> Health;

    fn counts(&self) -> Counts;

    /// Ends the bus without waiting for what is queued. A delivery that is under way may still finish.
    fn shutdown(&self);
}

/// Why a packet was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    #[error("live payload of {bytes} bytes is over the limit of {PAYLOAD_MAX}")]
    TooLarge { bytes: usize },
    #[error("bus queue is full of events, the {} packet was dropped", .live.as_str())]
    Full { live: Live },
    #[error("bus is dead: its router could not be replaced")]
    Dead,
    #[error("bus is shut down")]
    Closed,
}

/// What the watchdog knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// No packet has been routed yet.
    Starting,
    /// The last packet that was due came back in time.
    Up,
    /// The link died and a new one is being made. Packets wait in the queue.
    Replacing,
    /// Replacing failed too often; the process should end.
    Dead,
    Closed,
}
