//! One MQTT 5 connection to the fleet, from CONNECT to its first error.
//!
//! It never reconnects by itself: rumqttc throws pending messages away when a session is new, so whoever uses the link
//! has to know that it ended and what was not acknowledged.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    Filter, Packet, PubAck, PubAckReason, Publish, PublishProperties, SubAck, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use rumqttc::{Outgoing, TlsConfiguration, Transport};
use schemas::ids::{ClientId, Identity, SessionSuffix};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

use super::error::{Attempt, ClientError, ended, words};
use crate::folder::PersonFolder;

/// Messages of ours without PUBACK at a time, as the gate allows; rumqttc never holds more.
const WINDOW: u16 = 32;
/// Rows of a stream without PUBACK at a time.
const RECEIVE_MAX: u16 = 32;
/// Largest packet, both ways: that of the gate for people and integrations.
const PACKET_MAX: usize = 256 * 1024;
/// What a packet holds besides its payload, at most: topic, response topic, correlation.
const HEADERS_MAX: usize = 1024;
/// Received messages that wait for whoever reads them.
const INBOX: usize = 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const ACK_TIMEOUT: Duration = Duration::from_secs(20);

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Messages are acknowledged when they come.
    Ask,
    /// Messages are acknowledged by whoever got them.
    Consume,
}

/// The connection, for sending. Dropped, it is cut.
pub(super) struct Link {
    identity: Identity,
    mqtt: AsyncClient,
    shared: Arc<Shared>,
    window: Semaphore,
    poll: AbortHandle,
}

/// What comes in, in order.
pub(super) struct Inbox {
    messages: mpsc::Receiver<Publish>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Publishes handed to rumqttc that have no packet id yet, in order.
    unnumbered: VecDeque<oneshot::Sender<PubAck>>,
    unacknowledged: HashMap<u16, oneshot::Sender<PubAck>>,
    unnumbered_filters: VecDeque<oneshot::Sender<SubAck>>,
    unacknowledged_filters: HashMap<u16, oneshot::Sender<SubAck>>,
    /// Messages that found the inbox full, since the last that did not.
    lost: u64,
    /// Why the link ended. Nothing waits any more then.
    ended: Option<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is complete in itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost_reason(&self) -> ClientError {
        let reason = self.lock().ended.clone();
        ClientError::Lost { reason: reason.unwrap_or_else(|| "closed".to_owned()) }
    }

    fn end(&self, reason: String) {
        // Dropping the senders wakes everyone who waits.
        let state = State { ended: Some(reason), ..State::default() };
        let lost = std::mem::replace(&mut *self.lock(), state).lost;
        self.lock().lost = lost;
    }
}

impl Link {
    /// Connects; returns after CONNACK.
    pub(super) async fn open(
        folder: &PersonFolder,
        suffix: Option<SessionSuffix>,
        use_: Use,
    ) -> Result<(Self, Inbox), ClientError> {
        let address = format!("{}:{}", folder.host(), folder.port());
        let attempt = Attempt { address: &address, identity: folder.identity() };
        let (mqtt, mut events) = AsyncClient::new(options(folder, suffix, use_)?, usize::from(WINDOW) * 4);
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect(&mut events)).await;
        match connected {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(attempt.failed(&error)),
            Err(_) => return Err(ClientError::Unreachable { address, reason: "no answer".to_owned() }),
        }
        let shared = Arc::new(Shared::default());
        let (sender, messages) = mpsc::channel(INBOX);
        let poll = tokio::spawn(drive(events, Arc::clone(&shared), sender, use_)).abort_handle();
        let link = Self {
            identity: folder.identity().clone(),
            mqtt,
            shared: Arc::clone(&shared),
            window: Semaphore::new(usize::from(WINDOW)),
            poll,
        };
        Ok((link, Inbox { messages, shared }))
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Why the link ended.
    pub(super) fn lost_reason(&self) -> ClientError {
        self.shared.lost_reason()
    }

    /// Publishes with QoS 1 and waits for the PUBACK.
    pub(super) async fn publish(
        &self,
        topic: &str,
        payload: Vec<u8>,
        properties: PublishProperties,
    ) -> Result<(), ClientError> {
        let (size, max) = (payload.len(), PACKET_MAX - HEADERS_MAX);
        if size > max {
            return Err(ClientError::TooLong { size, max });
        }
        // Never closed while the link is there.
        let Ok(_place) = self.window.acquire().await else { return Err(self.shared.lost_reason()) };
        let acknowledged = self.hand_over(|state, sender| {
            let given = self.mqtt.try_publish_with_properties(topic, QoS::AtLeastOnce, false, payload, properties);
            state.unnumbered.extend(given.is_ok().then_some(sender));
            given.is_ok()
        })?;
        let ack = self.wait(acknowledged, "the fleet's acknowledgement").await?;
        if [PubAckReason::Success, PubAckReason::NoMatchingSubscribers].contains(&ack.reason) {
            return Ok(());
        }
        let text = ack.properties.and_then(|properties| properties.reason_string);
        Err(ClientError::Refused { reason: text.unwrap_or_else(|| words(&format!("{:?}", ack.reason))) })
    }

    /// Subscribes and waits for the SUBACK; all filters have to be granted.
    pub(super) async fn subscribe(&self, filters: &[(String, QoS)]) -> Result<(), ClientError> {
        let wishes: Vec<_> = filters.iter().map(|(filter, qos)| Filter::new(filter.clone(), *qos)).collect();
        let acknowledged = self.hand_over(|state, sender| {
            let given = self.mqtt.try_subscribe_many(wishes);
            state.unnumbered_filters.extend(given.is_ok().then_some(sender));
            given.is_ok()
        })?;
        let ack = self.wait(acknowledged, "the subscription").await?;
        let text = ack.properties.and_then(|properties| properties.reason_string);
        for ((filter, _), code) in filters.iter().zip(&ack.return_codes) {
            if !matches!(code, SubscribeReasonCode::Success(_)) {
                return Err(ClientError::Subscription {
                    identity: self.identity.clone(),
                    filter: filter.clone(),
                    reason: text.unwrap_or_else(|| words(&format!("{code:?}"))),
                });
            }
        }
        Ok(())
    }

    /// Acknowledges a message of a [`Use::Consume`] link.
    pub(super) async fn ack(&self, message: &Publish) -> Result<(), ClientError> {
        self.mqtt.ack(message).await.map_err(|_| self.shared.lost_reason())
    }

    /// Says goodbye, so that the fleet does not wait for the connection to time out.
    pub(super) async fn close(self) {
        // A link that ended already has nobody to say it to.
        if self.mqtt.disconnect().await.is_ok() {
            let _ = tokio::time::timeout(Duration::from_secs(2), self.ended()).await;
        }
    }

    async fn ended(&self) {
        while !self.poll.is_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Hands a packet to rumqttc and notes who waits for its answer, in one step: packet ids are given in this order.
    fn hand_over<T>(
        &self,
        give: impl FnOnce(&mut State, oneshot::Sender<T>) -> bool,
    ) -> Result<oneshot::Receiver<T>, ClientError> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.shared.lock();
        if state.ended.is_none() && give(&mut state, sender) {
            return Ok(receiver);
        }
        drop(state);
        Err(self.shared.lost_reason())
    }

    async fn wait<T>(&self, answer: oneshot::Receiver<T>, what: &'static str) -> Result<T, ClientError> {
        match tokio::time::timeout(ACK_TIMEOUT, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(self.shared.lost_reason()),
            Err(_) => Err(ClientError::Timeout { what, after: ACK_TIMEOUT }),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.poll.abort();
    }
}

impl Inbox {
    /// The next message; an error when the link ended and everything that came before was read.
    pub(super) async fn next(&mut self) -> Result<Publish, ClientError> {
        match self.messages.recv().await {
            Some(message) => Ok(message),
            None => Err(self.shared.lost_reason()),
        }
    }

    /// How many messages were dropped since the last call because nobody read them.
    pub(super) fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.shared.lock().lost)
    }
}

fn options(folder: &PersonFolder, suffix: Option<SessionSuffix>, use_: Use) -> Result<MqttOptions, ClientError> {
    let client_id = ClientId { identity: folder.identity().clone(), suffix };
    let mut options = MqttOptions::new(client_id.to_string(), folder.host(), folder.port());
    let packet_max = u32::try_from(PACKET_MAX).ok();
    options
        .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(folder.tls()?)))
        .set_clean_start(true)
        .set_keep_alive(KEEP_ALIVE)
        .set_connection_timeout(CONNECT_TIMEOUT.as_secs())
        // rumqttc reserves a slot for each packet id otherwise.
        .set_outgoing_inflight_upper_limit(WINDOW)
        .set_receive_maximum(Some(RECEIVE_MAX))
        .set_max_packet_size(packet_max)
        .set_manual_acks(use_ == Use::Consume);
    Ok(options)
}

async fn connect(events: &mut EventLoop) -> Result<(), ConnectionError> {
    loop {
        if let Event::Incoming(Packet::ConnAck(_)) = events.poll().await? {
            return Ok(());
        }
    }
}

/// Carries packets until the connection ends.
async fn drive(mut events: EventLoop, shared: Arc<Shared>, inbox: mpsc::Sender<Publish>, use_: Use) {
    let reason = loop {
        match events.poll().await {
            Ok(Event::Outgoing(Outgoing::Publish(id))) => shared.lock().number_publish(id),
            Ok(Event::Outgoing(Outgoing::Subscribe(id))) => shared.lock().number_filters(id),
            Ok(Event::Outgoing(Outgoing::Disconnect)) => break "closed".to_owned(),
            Ok(Event::Incoming(Packet::PubAck(ack))) => shared.lock().settle_publish(ack),
            Ok(Event::Incoming(Packet::SubAck(ack))) => shared.lock().settle_filters(ack),
            Ok(Event::Incoming(Packet::Publish(message))) => {
                if inbox.try_send(message).is_err() {
                    // Live messages may be lost. Rows come again, and more than the window of them is nobody's right.
                    if use_ == Use::Consume {
                        break "more rows than were asked for".to_owned();
                    }
                    shared.lock().lost += 1;
                }
            }
            Ok(_) => {}
            Err(error) => break ended(&error),
        }
    };
    shared.end(reason);
}

impl State {
    fn number_publish(&mut self, id: u16) {
        if let Some(waiting) = self.unnumbered.pop_front() {
            self.unacknowledged.insert(id, waiting);
        }
    }

    fn number_filters(&mut self, id: u16) {
        if let Some(waiting) = self.unnumbered_filters.pop_front() {
            self.unacknowledged_filters.insert(id, waiting);
        }
    }

    fn settle_publish(&mut self, ack: PubAck) {
        if let Some(waiting) = self.unacknowledged.remove(&ack.pkid) {
            // Whoever gave up waiting does not want to know.
            let _ = waiting.send(ack);
        }
    }

    fn settle_filters(&mut self, ack: SubAck) {
        if let Some(waiting) = self.unacknowledged_filters.remove(&ack.pkid) {
            let _ = waiting.send(ack);
        }
    }
}

/// The payload of a message.
pub(super) fn payload(message: &Publish) -> &Bytes {
    &message.payload
}
