//! The gate: one TLS 1.3 port that speaks MQTT 5 to cabinets, integrations and people.
//!
//! It owns the sockets, the MQTT sessions, identity (from the certificate alone), the access list, quotas, keepalive and
//! the power to cut a connection; it stores nothing. What clients send goes to the driver as [`GateInput`] and is
//! acknowledged when the driver redeems the [`Ack`]; what the driver sends goes through the [`GateHandle`].
//!
//! ```text
//! accept → half_open → greet (TLS, CONNECT, admission) → table → session ⇄ driver
//!                                                         wire ─┘  codec, acl, quota
//! ```

mod accept;
mod acl;
mod codec;
mod conn;
mod counters;
mod greet;
mod half_open;
mod handle;
mod limits;
mod port;
mod quota;
mod requests;
mod rule;
mod session;
mod shared;
mod table;
mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use accept::Gate;
pub use counters::{Count, CountersSnapshot};
pub use handle::GateHandle;
pub use limits::GateSettings;
pub use port::{
    Ack, AckRefusal, Admission, CloseReason, ConnId, DownToken, GateInput, Gone, Holder, Identify, Peer, Refused,
    SendError, identify_with,
};
pub use rule::Rule;

/// Locks without regard to poisoning: no critical section of the gate leaves a half-made change when it panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
