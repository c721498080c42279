//! The one consumer of an integration: orders out, numbered rows in, each until it is acknowledged.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Publish;
use schemas::api::{Notification, OrderCancel, OrderPut, Status};
use schemas::ids::Identity;
use schemas::topics::{Stream, Topic};
use serde::de::DeserializeOwned;

use super::link::{Inbox, Link, Use, payload};
use super::{ClientError, cancel_order, integration, json_properties, patiently, put_order};
use crate::folder::PersonFolder;

/// The session that reads the streams of an integration: its client id has no suffix, so there is only one.
///
/// One connection that never comes back by itself: after [`ClientError::Lost`] connect anew. Rows that were not
/// acknowledged come again then.
pub struct IntegrationClient {
    link: Link,
    inbox: Inbox,
}

/// A row of one of the two streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    Status(Status),
    Notification(Box<Notification>),
}

impl Row {
    /// Its number within its stream, from 1 without gaps.
    pub fn n(&self) -> u64 {
        match self {
            Self::Status(status) => status.n,
            Self::Notification(notification) => notification.n,
        }
    }
}

/// A row on its way. Acknowledge it with [`IntegrationClient::ack`] once it is safe with you.
pub struct Delivery {
    pub row: Row,
    message: Publish,
}

impl Delivery {
    /// The JSON as it came.
    pub fn payload(&self) -> &Bytes {
        payload(&self.message)
    }
}

/// The row's own Debug hides the code of a notification; the message would not.
impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.row.fmt(f)
    }
}

impl IntegrationClient {
    /// Connects within 15 s and subscribes to both streams.
    pub async fn connect(folder: &PersonFolder) -> Result<Self, ClientError> {
        let Identity { tenant, name, .. } = integration(folder.identity())?;
        let (link, inbox) = Link::open(folder, None, Use::Consume).await?;
        let filters: Vec<_> = Stream::ALL
            .iter()
            .map(|stream| Topic::Stream { tenant: tenant.clone(), integration: name.clone(), stream: *stream })
            .map(|topic| (topic.to_string(), QoS::AtLeastOnce))
            .collect();
        link.subscribe(&filters).await?;
        Ok(Self { link, inbox })
    }

    /// Connects, and tries again for as long as `patience` while the broker is not there yet.
    pub async fn connect_within(folder: &PersonFolder, patience: Duration) -> Result<Self, ClientError> {
        patiently(patience, || Self::connect(folder)).await
    }

    /// Puts an order; returns when it is on the fleet's disk. What became of it is a row of the status stream.
    pub async fn put_order(&self, order: &OrderPut) -> Result<(), ClientError> {
        put_order(&self.link, order).await
    }

    /// Cancels an order; what became of it is a row of the status stream.
    pub async fn cancel_order(&self, order: &OrderCancel) -> Result<(), ClientError> {
        cancel_order(&self.link, order).await
    }

    /// Publishes any JSON with QoS 1 and waits for its PUBACK.
    pub async fn publish(&self, topic: &Topic, json: Vec<u8>) -> Result<(), ClientError> {
        self.link.publish(&topic.to_string(), json, json_properties()).await
    }

    /// The next row. At most 32 of a stream come without being acknowledged.
    pub async fn next_row(&mut self) -> Result<Delivery, ClientError> {
        let message = self.inbox.next().await?;
        Ok(Delivery { row: read(&message)?, message })
    }

    /// Moves the cursor of the row's stream, so that it does not come again. MQTT has no answer to this: an
    /// acknowledgement that is lost with the connection lets the row come once more.
    pub async fn ack(&self, delivery: Delivery) -> Result<(), ClientError> {
        self.link.ack(&delivery.message).await
    }

    /// Says goodbye.
    pub async fn close(self) {
        self.link.close().await;
    }
}

fn read(message: &Publish) -> Result<Row, ClientError> {
    let topic = std::str::from_utf8(&message.topic).ok().and_then(|topic| Topic::parse(topic).ok());
    let Some(Topic::Stream { stream, .. }) = topic else {
        return Err(ClientError::Unreadable { what: "a row's topic", reason: "not a stream".to_owned() });
    };
    match stream {
        Stream::Status => parse(message).map(Row::Status),
        Stream::Notifications => parse(message).map(Box::new).map(Row::Notification),
    }
}

fn parse<T: DeserializeOwned>(message: &Publish) -> Result<T, ClientError> {
    serde_json::from_slice(payload(message))
        .map_err(|error| ClientError::Unreadable { what: "a row", reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_delivery_shows_no_code() {
        let json = r#"{"n":7,"id":"x","kind":"pickup_code","order":"A17","at":"2026-11-22T20:15:00.000Z",
            "cabinet":"c1","compartment":4,"place":"Depot","instruction":"Type","code":"90817263","qr":"QR-90817263",
            "recipient":{"phone":"+491701234567"}}"#;
        let message = Publish::new("v1/acme/integration/shop/notifications", QoS::AtLeastOnce, json, None);
        let delivery = Delivery { row: read(&message).unwrap(), message };
        let shown = format!("{delivery:?}");
        assert_eq!(delivery.row.n(), 7);
        assert!(shown.contains("A17") && !shown.contains("90817263") && !shown.contains("+49"), "{shown}");
    }

    #[test]
    fn a_row_on_another_topic_or_with_unknown_fields_is_an_error() {
        let status = r#"{"n":1,"order":"A17","state":"stored","at":"2026-11-22T20:15:00.000Z"}"#;
        let message = |topic: &str, json: &str| Publish::new(topic, QoS::AtLeastOnce, json.to_owned(), None);
        assert!(matches!(read(&message("v1/acme/integration/shop/status", status)), Ok(Row::Status(_))));
        for (topic, json) in [
            ("v1/acme/integration/shop/response", status),
            ("v1/acme/integration/shop/notifications", status),
            ("v1/acme/integration/shop/status", "[]"),
        ] {
            assert!(matches!(read(&message(topic, json)), Err(ClientError::Unreadable { .. })), "{topic}");
        }
    }
}
