//! What the engine needs of a router or a broker: a way in, a way out, and a clear word when it is gone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::shard::Shard;

/// A connection through which every sent frame comes back, in order by shard.
pub struct Link {
    pub sender: Box<dyn LinkSend>,
    pub receiver: Box<dyn LinkReceive>,
}

/// Makes a link. May block: the engine calls it on a thread of its own and gives up waiting after its limit.
pub type LinkFactory = Arc<dyn Fn() -> Result<Link, LinkError> + Send + Sync>;

/// The way in. The engine keeps at most [`WINDOW_FRAMES`] frames and about [`WINDOW_BYTES`] bytes under way.
pub trait LinkSend: Send {
    /// Hands over one frame. May block; an error means that the link is dead.
    fn send(&mut self, shard: Shard, frame: Bytes) -> Result<(), LinkError>;
}

/// The way out.
pub trait LinkReceive: Send {
    /// Waits up to `wait` for one message. An error means that the link is dead.
    fn receive(&mut self, wait: Duration) -> Result<Option<Received>, LinkError>;
}

/// A message from the bus, not yet looked at.
#[derive(Debug)]
pub struct Received {
    /// The shard that its topic names; `None` when the topic names none.
    pub shard: Option<Shard>,
    pub frame: Bytes,
}

/// Why a link could not be made, or is dead.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("router is gone")]
    Gone,
    #[error("{0} was not answered in time")]
    NotAnswered(&'static str),
    #[error("connect to external broker")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("external broker takes packets of at most {max} bytes, live packets need {needed}")]
    PacketLimit { max: u32, needed: u32 },
    #[error("external broker refused the subscription to `{filter}`")]
    SubscriptionRefused { filter: String },
    #[error("start link thread")]
    Thread(#[source] std::io::Error),
}

/// Most frames under way. Far below the router's event channel (1,000) and its outgoing buffer (200), so that a send
/// into a router that lives never blocks.
pub(super) const WINDOW_FRAMES: usize = 64;

/// Most bytes under way; one frame may always go. A router's log segment must hold as much, or it would drop what
/// nobody has read yet.
pub(super) const WINDOW_BYTES: usize = 256 << 10;
