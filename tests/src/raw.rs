//! An MQTT client that says what it likes: nothing is checked before it is sent.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use certs::{ServerRoots, TlsIdentity};
use fleet_cli::folder::PersonFolder;
use fleet_cli::stage::PATIENCE;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    Packet, PubAckReason, Publish, PublishProperties, SubscribeProperties, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use tokio::time::timeout;

/// What the gate did with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    Taken,
    /// An error code, with the reason string where there is one.
    Refused(String),
    /// The connection was ended.
    Cut(String),
}

/// A connected client.
pub struct RawClient {
    mqtt: AsyncClient,
    events: EventLoop,
    /// What came meanwhile.
    published: Vec<Publish>,
}

impl Answered {
    pub fn is_taken(&self) -> bool {
        *self == Self::Taken
    }

    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

impl RawClient {
    /// Connects with the certificate of `folder` as `client_id`.
    pub async fn connect(folder: &PersonFolder, client_id: &str) -> anyhow::Result<Self> {
        Self::connect_with(folder, client_id, false).await
    }

    /// One that acknowledges nothing of what it gets.
    pub async fn connect_without_acks(folder: &PersonFolder, client_id: &str) -> anyhow::Result<Self> {
        Self::connect_with(folder, client_id, true).await
    }

    async fn connect_with(folder: &PersonFolder, client_id: &str, without_acks: bool) -> anyhow::Result<Self> {
        let path = folder.path();
        let own = TlsIdentity::read(&path.join("person.crt"), &path.join("person.key"), None)?;
        let roots = ServerRoots::from_file(&path.join("root.crt"), folder.identity().tenant.clone())?;
        let tls = certs::client_config(&own, &roots, certs::system_clock())?;
        let mut options = MqttOptions::new(client_id, folder.host(), folder.port());
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls))));
        options.set_keep_alive(Duration::from_secs(30));
        options.set_manual_acks(without_acks);
        options.set_max_packet_size(Some(1024 * 1024));
        let (mqtt, events) = AsyncClient::new(options, 16);
        let mut client = Self { mqtt, events, published: Vec::new() };
        loop {
            if let Packet::ConnAck(_) = client.next().await? {
                return Ok(client);
            }
        }
    }

    /// Publishes with QoS 1.
    pub async fn publish(&mut self, topic: &str, payload: impl Into<Vec<u8>>) -> anyhow::Result<Answered> {
        self.mqtt.publish(topic, QoS::AtLeastOnce, false, payload.into()).await?;
        self.answer().await
    }

    /// The same with a content type.
    pub async fn publish_as(
        &mut self,
        topic: &str,
        content_type: &str,
        payload: impl Into<Vec<u8>>,
    ) -> anyhow::Result<Answered> {
        let properties =
            PublishProperties { content_type: Some(content_type.to_owned()), ..PublishProperties::default() };
        self.mqtt.publish_with_properties(topic, QoS::AtLeastOnce, false, payload.into(), properties).await?;
        self.answer().await
    }

    /// Waits for a message of this topic.
    pub async fn until_published(&mut self, topic: &str) -> anyhow::Result<Vec<u8>> {
        Ok(self.until_message(topic).await?.1)
    }

    /// The same, with its content type.
    pub async fn until_message(&mut self, topic: &str) -> anyhow::Result<(Option<String>, Vec<u8>)> {
        loop {
            if let Some(at) = self.published.iter().position(|message| message.topic == topic.as_bytes()) {
                let Publish { payload, properties, .. } = self.published.remove(at);
                return Ok((properties.and_then(|properties| properties.content_type), payload.to_vec()));
            }
            self.next().await?;
        }
    }

    async fn answer(&mut self) -> anyhow::Result<Answered> {
        loop {
            match self.next().await {
                Ok(Packet::PubAck(ack)) => {
                    let text = ack.properties.and_then(|properties| properties.reason_string);
                    return Ok(if ack.reason == PubAckReason::Success {
                        Answered::Taken
                    } else {
                        Answered::Refused(format!("{:?}: {}", ack.reason, text.unwrap_or_default()))
                    });
                }
                Ok(Packet::Disconnect(left)) => return Ok(Answered::Cut(format!("{:?}", left.reason_code))),
                Ok(_) => {}
                Err(error) => return Ok(Answered::Cut(format!("{error:#}"))),
            }
        }
    }

    pub async fn subscribe(&mut self, filter: &str) -> anyhow::Result<Answered> {
        self.mqtt.subscribe(filter, QoS::AtLeastOnce).await?;
        self.suback().await
    }

    /// Wants rows of this stream in this form.
    pub async fn subscribe_as(&mut self, filter: &str, content_type: &str) -> anyhow::Result<Answered> {
        let user_properties = vec![("content-type".to_owned(), content_type.to_owned())];
        let properties = SubscribeProperties { id: None, user_properties };
        self.mqtt.subscribe_with_properties(filter, QoS::AtLeastOnce, properties).await?;
        self.suback().await
    }

    async fn suback(&mut self) -> anyhow::Result<Answered> {
        loop {
            match self.next().await {
                Ok(Packet::SubAck(ack)) => {
                    let [code] = ack.return_codes.as_slice() else { bail!("not one code: {ack:?}") };
                    return Ok(if matches!(code, SubscribeReasonCode::Success(_)) {
                        Answered::Taken
                    } else {
                        Answered::Refused(format!("{code:?}"))
                    });
                }
                Ok(Packet::Disconnect(left)) => return Ok(Answered::Cut(format!("{:?}", left.reason_code))),
                Ok(_) => {}
                Err(error) => return Ok(Answered::Cut(format!("{error:#}"))),
            }
        }
    }

    async fn next(&mut self) -> anyhow::Result<Packet> {
        loop {
            let event = timeout(PATIENCE, self.events.poll()).await.context("the gate did not answer")??;
            if let Event::Incoming(packet) = event {
                if let Packet::Publish(message) = &packet {
                    self.published.push(message.clone());
                }
                return Ok(packet);
            }
        }
    }
}
