//! What the driver can ask of the gate, from any thread and without waiting.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use schemas::ids::{CabinetId, Identity, TenantId};
use schemas::topics::{Live, Stream, Topic};
use tokio_rustls::rustls::ServerConfig;

use super::codec::encode;
use super::conn::{Conn, Durable, DurableKind, LiveMessage, QueueBounds};
use super::counters::{Count, CountersSnapshot};
use super::port::{CloseReason, ConnId, DownToken, Gone, SendError};
use super::shared::Shared;

/// The driver's end of the gate. Cheap to clone.
#[derive(Clone)]
pub struct GateHandle {
    pub(super) shared: Arc<Shared>,
}

impl GateHandle {
    /// Sends a command to a cabinet (QoS 1). `CabinetAcked` brings the token back; if it does not come within the
    /// setting's time, the cabinet is closed with `CabinetGone { reason: Gone::Unreachable }`.
    pub fn down(
        &self,
        tenant: &TenantId,
        cabinet: &CabinetId,
        payload: Bytes,
        token: DownToken,
    ) -> Result<(), SendError> {
        let who = Identity::cabinet(tenant, cabinet);
        let conn = self.shared.table.main_session(&who).ok_or(SendError::NotConnected)?;
        let topic = Topic::Down { tenant: tenant.clone(), cabinet: cabinet.clone() };
        self.queue(&conn, DurableKind::Down(token), topic, payload, None, None)
    }

    /// Sends row `n` of a stream to its consumer (QoS 1, `n` also as user property).
    pub fn row(
        &self,
        conn: ConnId,
        stream: Stream,
        n: u64,
        payload: Bytes,
        content_type: &str,
    ) -> Result<(), SendError> {
        let conn = self.shared.table.conn(conn).ok_or(SendError::NotConnected)?;
        let who = &conn.claim.who;
        let topic = Topic::Stream { tenant: who.tenant.clone(), integration: who.name.clone(), stream };
        self.queue(&conn, DurableKind::Row { stream, n }, topic, payload, Some(content_type), None)
    }

    /// Answers a request on the response topic of the session that asked (QoS 1).
    pub fn respond(
        &self,
        conn: ConnId,
        payload: Bytes,
        correlation: Option<Bytes>,
        content_type: &str,
    ) -> Result<(), SendError> {
        let conn = self.shared.table.conn(conn).ok_or(SendError::NotConnected)?;
        let topic = Topic::Response { who: Identity::clone(&conn.claim.who) };
        self.queue(&conn, DurableKind::Response, topic, payload, Some(content_type), correlation)
    }

    /// Shows something to the people who watch a cabinet (QoS 0). Those who read too slowly miss it.
    pub fn live(&self, tenant: &TenantId, cabinet: &CabinetId, live: Live, payload: Bytes) {
        let watchers = self.shared.table.watchers(tenant, cabinet, live);
        if watchers.is_empty() {
            return;
        }
        let topic = Topic::Live { tenant: tenant.clone(), cabinet: cabinet.clone(), live }.to_string();
        let message = Arc::new(LiveMessage { topic, payload });
        let size = live_publish(&message).size_bound();
        for conn in watchers {
            if !self.shared.admission.sees(&conn.claim.who, cabinet) {
                continue;
            }
            let fits = size <= conn.terms.packet_max;
            if !fits || !conn.queue_live(Arc::clone(&message), self.shared.settings.live_queue_max) {
                self.shared.counters.add(Count::LiveDropped);
            }
        }
    }

    /// Whether a cabinet is connected, or the session without suffix of anybody else.
    pub fn connected(&self, who: &Identity) -> bool {
        self.shared.table.main_session(who).is_some()
    }

    /// Closes those sessions of an identity whose certificate was issued up to `until`, and says how many there were.
    pub fn close_revoked(&self, who: &Identity, until: SystemTime) -> usize {
        let mut conns = self.shared.table.sessions_of(who);
        conns.retain(|conn| conn.claim.issued <= until);
        conns.iter().for_each(|conn| conn.close(Gone::Closed(CloseReason::Revoked)));
        conns.len()
    }

    /// Closes one connection; false if it is gone already.
    pub fn close_conn(&self, conn: ConnId, reason: CloseReason) -> bool {
        let conn = self.shared.table.conn(conn);
        conn.is_some_and(|conn| {
            conn.close(Gone::Closed(reason));
            true
        })
    }

    /// Uses this for all handshakes from now on: a renewed certificate, other CAs, a new revocation list.
    pub fn set_tls(&self, tls: Arc<ServerConfig>) {
        self.shared.set_tls(tls);
    }

    pub fn counters(&self) -> CountersSnapshot {
        let (cabinets, sessions) = self.shared.table.sizes();
        self.shared.counters.snapshot(cabinets, sessions, self.shared.half_open.len())
    }

    /// Takes no more connections and closes those that are there; [`super::Gate::run`] then ends.
    pub fn shutdown(&self) {
        self.shared.stop.send_replace(true);
        for conn in self.shared.table.stop() {
            conn.close(Gone::ShuttingDown);
        }
    }

    fn queue(
        &self,
        conn: &Conn,
        kind: DurableKind,
        topic: Topic,
        payload: Bytes,
        content_type: Option<&str>,
        correlation: Option<Bytes>,
    ) -> Result<(), SendError> {
        let settings = &self.shared.settings;
        let message = Durable {
            kind,
            topic: topic.to_string(),
            payload,
            content_type: content_type.map(Into::into),
            correlation,
            queued: Instant::now(),
        };
        if message.publish(None).size_bound() > conn.terms.packet_max {
            return Err(SendError::TooLarge);
        }
        let bounds = QueueBounds { downs: settings.down_queue_max, responses: settings.response_queue_max };
        conn.queue(message, bounds)
    }
}

/// How a live message goes out.
pub(super) fn live_publish(message: &LiveMessage) -> encode::Publish<'_> {
    let LiveMessage { topic, payload } = message;
    encode::Publish { pkid: None, topic, payload, content_type: None, correlation: None, n: None }
}
