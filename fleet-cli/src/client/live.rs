//! What happens at cabinets, while it happens.

use std::sync::Arc;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Publish;
use schemas::api::{Availability, LiveEvent, LivePresence, LiveTelemetry};
use schemas::ids::{CabinetId, TenantId};
use schemas::topics::{Live, Topic};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::ClientError;
use super::link::payload;
use super::session::Waiting;

/// Messages that wait for a slow reader before they are dropped.
pub(super) const LIVE_WAITING: usize = 1024;

/// One live message, or a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveItem {
    Presence(LivePresence),
    Event(LiveEvent),
    Telemetry(LiveTelemetry),
    Availability(Availability),
    /// The reader was too slow: so many messages were dropped before the next one.
    Lost(u64),
}

/// Live messages in the order in which they come. The fleet may drop some too: what must not be lost is in the store.
pub struct LiveStream {
    news: mpsc::Receiver<LiveNews>,
    waiting: Arc<Waiting>,
}

pub(super) enum LiveNews {
    Message(Publish),
    Ended(ClientError),
}

impl LiveStream {
    pub(super) fn new(news: mpsc::Receiver<LiveNews>, waiting: Arc<Waiting>) -> Self {
        Self { news, waiting }
    }

    /// The next message. After [`ClientError::Unreadable`] the stream goes on; any other error ends it.
    pub async fn next(&mut self) -> Result<LiveItem, ClientError> {
        let lost = self.waiting.take_live_lost();
        if lost > 0 {
            return Ok(LiveItem::Lost(lost));
        }
        match self.news.recv().await {
            Some(LiveNews::Message(message)) => read(&message),
            Some(LiveNews::Ended(error)) => Err(error),
            None => Err(ClientError::Lost { reason: "the stream ended".to_owned() }),
        }
    }
}

/// The filters of one cabinet, or of all.
pub(super) fn live_filters(tenant: &TenantId, cabinet: Option<&CabinetId>) -> Vec<(String, QoS)> {
    match cabinet {
        // The wildcard of PROTOCOL.md; a topic has no way to say it.
        None => vec![(format!("v1/{tenant}/live/#"), QoS::AtMostOnce)],
        Some(cabinet) => Live::ALL
            .into_iter()
            .map(|live| Topic::Live { tenant: tenant.clone(), cabinet: cabinet.clone(), live })
            .map(|topic| (topic.to_string(), QoS::AtMostOnce))
            .collect(),
    }
}

fn read(message: &Publish) -> Result<LiveItem, ClientError> {
    let topic = std::str::from_utf8(&message.topic).ok().and_then(|topic| Topic::parse(topic).ok());
    let Some(Topic::Live { live, .. }) = topic else {
        return Err(ClientError::Unreadable { what: "a live topic", reason: "not in the published tree".to_owned() });
    };
    match live {
        Live::Presence => parse(message).map(LiveItem::Presence),
        Live::Event => parse(message).map(LiveItem::Event),
        Live::Telemetry => parse(message).map(LiveItem::Telemetry),
        Live::Availability => parse(message).map(LiveItem::Availability),
    }
}

fn parse<T: DeserializeOwned>(message: &Publish) -> Result<T, ClientError> {
    serde_json::from_slice(payload(message))
        .map_err(|error| ClientError::Unreadable { what: "a live message", reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::topics::{Filter, LiveFilter};

    #[test]
    fn the_filters_are_those_of_the_published_tree() {
        let tenant: TenantId = "acme".parse().unwrap();
        let [(all, _)] = &live_filters(&tenant, None)[..] else { panic!("one filter for all cabinets") };
        let whole = LiveFilter { tenant: tenant.clone(), cabinet: None, live: None };
        assert_eq!(Filter::parse(all), Ok(Filter::Live(whole)));
        let one = live_filters(&tenant, Some(&"c1".parse().unwrap()));
        assert_eq!(one.len(), Live::ALL.len());
        assert!(one.iter().all(|(filter, _)| matches!(Filter::parse(filter), Ok(Filter::Live(_)))));
    }

    #[test]
    fn a_live_message_is_read_by_its_topic_and_another_one_is_an_error() {
        let message = |topic: &str, json: &str| Publish::new(topic, QoS::AtMostOnce, json.to_owned(), None);
        let presence = r#"{"cabinet":"c1","online":true,"at":"2026-11-22T20:15:00.000Z"}"#;
        assert!(matches!(read(&message("v1/acme/live/c1/presence", presence)), Ok(LiveItem::Presence(_))));
        for (topic, json) in [
            ("v1/acme/live/c1/event", presence),
            ("v1/acme/live/c1/other", presence),
            ("v1/acme/cabinet/c1/down", presence),
            ("v1/acme/live/c1/presence", "{"),
        ] {
            assert!(matches!(read(&message(topic, json)), Err(ClientError::Unreadable { .. })), "{topic}");
        }
    }
}
