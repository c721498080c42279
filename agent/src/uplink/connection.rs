//! One connection from CONNECT to its end.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Packet, PubAckReason, Publish, SubscribeReasonCode};
use rumqttc::v5::mqttbytes::{self, QoS};
use rumqttc::v5::{AsyncClient, ClientError, ConnectionError, Event, MqttOptions, StateError};
use schemas::topics::{Topic, Up};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info};

use crate::identity::Slot;

use super::{AckToken, Endpoint, INFLIGHT, Order, Uplink, UplinkEvent};

/// Orders that wait in rumqttc: more than the core ever has under way.
const REQUESTS: usize = INFLIGHT as usize * 4;
/// How long the fleet may answer nothing while something waits for its answer. Pings do not count: a server can answer them
/// and be dead for everything else.
const ANSWER_MAX: Duration = Duration::from_secs(45);
/// How long an ending agent waits for its DISCONNECT to leave.
const GOODBYE: Duration = Duration::from_millis(500);

pub(super) struct Connection<'a> {
    number: u64,
    endpoint: &'a Endpoint,
    /// With which certificate.
    slot: Slot,
    /// The fleet has taken our hello: certificate and identity are good.
    welcomed: bool,
    down: String,
    client: AsyncClient,
    polled: mpsc::Receiver<Result<Event, ConnectionError>>,
    polling: JoinHandle<()>,
    /// QoS 1 messages handed to rumqttc that have no packet id yet, in order.
    handed: VecDeque<Sent>,
    /// By packet id, until the PUBACK.
    under_way: HashMap<u16, Sent>,
    unacked: HashMap<AckToken, Publish>,
    next_token: u64,
    /// The subscription is not confirmed yet.
    opening: bool,
    /// The newest answer of the fleet, or when something began to wait for one.
    answered: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Hello,
    Challenge,
    Event(u64),
}

impl<'a> Connection<'a> {
    pub(super) fn start(
        number: u64,
        options: MqttOptions,
        endpoint: &'a Endpoint,
        (slot, down): (Slot, String),
    ) -> Self {
        let (client, mut eventloop) = AsyncClient::new(options, REQUESTS);
        let (events, polled) = mpsc::channel(REQUESTS);
        // Polling is a task of its own and is never cancelled half-way; it ends with the first error, because what
        // rumqttc would do next is reconnect at once.
        let polling = tokio::spawn(async move {
            loop {
                let event = eventloop.poll().await;
                let over = event.is_err();
                if events.send(event).await.is_err() || over {
                    return;
                }
            }
        });
        Self {
            number,
            endpoint,
            slot,
            welcomed: false,
            down,
            client,
            polled,
            polling,
            handed: VecDeque::new(),
            under_way: HashMap::new(),
            unacked: HashMap::new(),
            next_token: 0,
            opening: true,
            answered: Instant::now(),
        }
    }

    /// Works until the connection ends: says why, or `None` when nobody listens or sends any more.
    pub(super) async fn converse(
        mut self,
        orders: &mut mpsc::Receiver<Order>,
        events: &mpsc::Sender<UplinkEvent>,
    ) -> Option<String> {
        let ended = loop {
            tokio::select! {
                () = sleep_until(self.answered + ANSWER_MAX), if self.waits() => {
                    break Some("the fleet does not answer".to_owned());
                }
                polled = self.polled.recv() => match polled {
                    Some(Ok(event)) => match self.take(event) {
                        Ok(Some(told)) => if events.send(told).await.is_err() { break None },
                        Ok(None) => {}
                        Err(reason) => break Some(reason),
                    },
                    Some(Err(error)) => {
                        if self.slot == Slot::Current && certificate_has_ended(&error) {
                            self.endpoint.credentials.has_ended();
                        }
                        break Some(describe(&error));
                    }
                    None => break Some("the connection ended".to_owned()),
                },
                order = orders.recv() => match order {
                    Some(Order { uplink: Uplink::Restart, .. }) => break Some("the agent starts over".to_owned()),
                    Some(order) if order.connection != self.number => {}
                    Some(order) => if let Err(reason) = self.send(order.uplink) {
                        break Some(reason);
                    },
                    None => {
                        self.say_goodbye().await;
                        break None;
                    }
                },
            }
        };
        self.polling.abort();
        if !self.welcomed {
            self.endpoint.credentials.failed(self.slot);
        }
        ended
    }

    fn waits(&self) -> bool {
        self.opening || !self.handed.is_empty() || !self.under_way.is_empty()
    }

    /// The process is ending: a DISCONNECT, if it can be said at once.
    async fn say_goodbye(&mut self) {
        if self.client.try_disconnect().is_ok() {
            let rest = async { while matches!(self.polled.recv().await, Some(Ok(_))) {} };
            let _ = tokio::time::timeout(GOODBYE, rest).await;
        }
    }

    fn take(&mut self, event: Event) -> Result<Option<UplinkEvent>, String> {
        let packet = match event {
            Event::Outgoing(Outgoing::Publish(0)) => return Ok(None),
            Event::Outgoing(Outgoing::Publish(id)) => {
                let sent = self.handed.pop_front().ok_or("rumqttc sent what it was not handed")?;
                self.under_way.insert(id, sent);
                return Ok(None);
            }
            Event::Outgoing(_) => return Ok(None),
            Event::Incoming(packet) => packet,
        };
        self.take_packet(packet)
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "the other packets mean nothing to this client")]
    fn take_packet(&mut self, packet: Packet) -> Result<Option<UplinkEvent>, String> {
        match packet {
            Packet::ConnAck(_) => {
                info!(host = self.endpoint.host, "connected");
                self.client.try_subscribe(&self.down, QoS::AtLeastOnce).map_err(|error| error.to_string())?;
                Ok(None)
            }
            Packet::SubAck(answer) => match answer.return_codes.as_slice() {
                [SubscribeReasonCode::Success(_)] => {
                    (self.opening, self.answered) = (false, Instant::now());
                    Ok(Some(UplinkEvent::Up { connection: self.number }))
                }
                refused => Err(format!("the fleet refused the subscription: {refused:?}")),
            },
            Packet::Publish(publish) => {
                let token = AckToken { connection: self.number, number: self.next_token };
                self.next_token += 1;
                let payload = publish.payload.to_vec();
                self.unacked.insert(token, publish);
                Ok(Some(UplinkEvent::Down { token, payload }))
            }
            Packet::PubAck(answer) => {
                self.answered = Instant::now();
                let sent = self.under_way.remove(&answer.pkid).ok_or("a PUBACK that nobody waits for")?;
                if answer.reason != PubAckReason::Success {
                    error!(?sent, reason = ?answer.reason, "the fleet refused a message");
                    return Err(format!("the fleet refused a message: {:?}", answer.reason));
                }
                Ok(match sent {
                    Sent::Hello => {
                        self.welcomed = true;
                        self.endpoint.credentials.worked(self.slot);
                        Some(UplinkEvent::HelloAcked)
                    }
                    Sent::Challenge => None,
                    Sent::Event(n) => Some(UplinkEvent::EventsAcked { up_to: n }),
                })
            }
            Packet::Disconnect(disconnect) => Err(format!("the fleet ended it: {:?}", disconnect.reason_code)),
            _ => Ok(None),
        }
    }

    fn send(&mut self, order: Uplink) -> Result<(), String> {
        match order {
            Uplink::Telemetry(payload) => {
                self.client.try_publish(self.topic(Up::Telemetry), QoS::AtMostOnce, false, payload).map_err(full)
            }
            Uplink::Hello(payload) => self.hand(Up::Hello, Sent::Hello, payload),
            Uplink::Challenge(payload) => self.hand(Up::Challenge, Sent::Challenge, payload),
            Uplink::Restart => Ok(()),
            Uplink::Event { n, payload } => self.hand(Up::Event, Sent::Event(n), payload),
            Uplink::Ack(token) => match self.unacked.remove(&token) {
                Some(publish) => self.client.try_ack(&publish).map_err(full),
                // Of an earlier connection: the fleet sends again what it still wants done.
                None => Ok(()),
            },
        }
    }

    fn hand(&mut self, up: Up, sent: Sent, payload: Vec<u8>) -> Result<(), String> {
        if !self.waits() {
            self.answered = Instant::now();
        }
        self.client.try_publish(self.topic(up), QoS::AtLeastOnce, false, payload).map_err(full)?;
        self.handed.push_back(sent);
        Ok(())
    }

    fn topic(&self, up: Up) -> String {
        Topic::Up { tenant: self.endpoint.tenant.clone(), cabinet: self.endpoint.cabinet.clone(), up }.to_string()
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn full(error: ClientError) -> String {
    format!("rumqttc takes no more: {error}")
}

/// Whether the fleet refused the connection because our certificate's time is over. With TLS 1.3 that is heard only
/// behind one's own handshake, where rumqttc takes it for a packet that cannot be read.
fn certificate_has_ended(error: &ConnectionError) -> bool {
    let (ConnectionError::Io(io)
    | ConnectionError::MqttState(StateError::Io(io) | StateError::Deserialization(mqttbytes::Error::Io(io)))) = error
    else {
        return false;
    };
    let tls = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::AlertReceived(rustls::AlertDescription::CertificateExpired)))
}

/// A reason in words for whoever reads the log at the site.
fn describe(error: &ConnectionError) -> String {
    if let ConnectionError::ConnectionRefused(code) = error {
        let hint = if *code == ConnectReturnCode::NotAuthorized {
            "; is this cabinet registered (`fleet cabinet add`), or was its certificate revoked?"
        } else if *code == ConnectReturnCode::ClientIdentifierNotValid {
            "; does `cabinet` in agent.toml match the certificate?"
        } else {
            ""
        };
        return format!("the fleet refused the connection: {code:?}{hint}");
    }
    error.to_string()
}
