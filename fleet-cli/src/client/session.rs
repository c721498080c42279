//! A person or an integration that asks the fleet something.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Publish, PublishProperties};
use schemas::api::{OrderCancel, OrderPut, Reply, Request};
use schemas::ids::{CabinetId, Identity, SessionSuffix};
use schemas::topics::Topic;
use tokio::sync::{mpsc, oneshot};

use super::link::{Inbox, Link, Use, payload};
use super::live::{LIVE_WAITING, LiveNews, LiveStream, live_filters};
use super::{ClientError, cancel_order, json_properties, patiently, put_order, to_json};
use crate::folder::PersonFolder;

const REPLY_TIMEOUT: Duration = Duration::from_secs(20);
/// A store of many gigabytes takes its time.
const BACKUP_TIMEOUT: Duration = Duration::from_secs(1_800);
/// A command waits for a fresh challenge, for the cabinet and for its door.
const UNLOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// A session beside others of the same identity: its client id is `<identity>~cli-<random>`.
///
/// One connection that never comes back by itself: after [`ClientError::Lost`] connect anew.
pub struct Client {
    link: Link,
    waiting: Arc<Waiting>,
}

/// Who waits for which answer.
#[derive(Default)]
pub(super) struct Waiting {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    replies: HashMap<Bytes, oneshot::Sender<Bytes>>,
    live: Option<mpsc::Sender<LiveNews>>,
    live_lost: u64,
    /// Nothing comes any more.
    ended: bool,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is complete in itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Connects within 15 s.
    pub async fn connect(folder: &PersonFolder) -> Result<Self, ClientError> {
        let mut random = [0; 4];
        getrandom::fill(&mut random)?;
        let suffix: SessionSuffix = format!("cli-{}", data_encoding::HEXLOWER.encode(&random)).parse()?;
        let (link, inbox) = Link::open(folder, Some(suffix), Use::Ask).await?;
        let responses = Topic::Response { who: link.identity().clone() }.to_string();
        link.subscribe(&[(responses.clone(), QoS::AtLeastOnce)]).await?;
        let waiting = Arc::new(Waiting::default());
        tokio::spawn(sort(inbox, responses, Arc::clone(&waiting)));
        Ok(Self { link, waiting })
    }

    /// Connects, and tries again for as long as `patience` while the broker is not there yet.
    pub async fn connect_within(folder: &PersonFolder, patience: Duration) -> Result<Self, ClientError> {
        patiently(patience, || Self::connect(folder)).await
    }

    pub fn identity(&self) -> &Identity {
        self.link.identity()
    }

    /// Asks, and waits for the answer as long as the question deserves. A [`Reply::Error`] is an answer.
    pub async fn request(&self, request: &Request) -> Result<Reply, ClientError> {
        let timeout = match request {
            Request::Unlock { .. }
            | Request::UnlockSigned { .. }
            | Request::OrderOpen { .. }
            | Request::OrderLoad { .. }
            | Request::OrderConfirm { .. }
            | Request::ChannelTest { .. }
            | Request::OrderRetrieve { .. } => UNLOCK_TIMEOUT,
            Request::Backup {} => BACKUP_TIMEOUT,
            Request::CabinetAdd { .. }
            | Request::CabinetReplace { .. }
            | Request::CabinetWipe { .. }
            | Request::CabinetKeep { .. }
            | Request::CabinetBreakGlass { .. }
            | Request::CabinetList {}
            | Request::CabinetShow { .. }
            | Request::OrderPut { .. }
            | Request::OrderList { .. }
            | Request::Availability { .. }
            | Request::OrderShow { .. }
            | Request::OrderCancel { .. }
            | Request::OrderChange { .. }
            | Request::OrderQuarantine { .. }
            | Request::OrderRelease { .. }
            | Request::OrderClose { .. }
            | Request::OrderExtend { .. }
            | Request::OrderResend { .. }
            | Request::OrderReissue { .. }
            | Request::OrderMove { .. }
            | Request::BundlePut { .. }
            | Request::BundleShow { .. }
            | Request::BundleRelease { .. }
            | Request::UnlockList { .. }
            | Request::StaffAdd { .. }
            | Request::KeysetPut { .. }
            | Request::KeysetList {}
            | Request::StaffBadge { .. }
            | Request::StaffList {}
            | Request::StaffRevoke { .. }
            | Request::CourierAdd { .. }
            | Request::CourierBadge { .. }
            | Request::CourierList {}
            | Request::CourierRemove { .. }
            | Request::IdentityRevoke { .. }
            | Request::IdentityList { .. }
            | Request::PersonScope { .. }
            | Request::IntegrationQuota { .. }
            | Request::PolicyShow {}
            | Request::PolicyPut { .. }
            | Request::PolicyPreview { .. }
            | Request::ChannelPut { .. }
            | Request::ChannelList {}
            | Request::ChannelRemove { .. }
            | Request::TemplatePut { .. }
            | Request::TemplateShow { .. }
            | Request::TemplateRemove { .. }
            | Request::MessageList { .. }
            | Request::SiteSet { .. }
            | Request::SiteShow { .. }
            | Request::SiteList { .. }
            | Request::Challenge { .. }
            | Request::FleetStatus { .. }
            | Request::Rows { .. } => REPLY_TIMEOUT,
        };
        self.request_within(request, timeout).await
    }

    /// Asks, and waits for the answer for `timeout` after the fleet has taken the question.
    pub async fn request_within(&self, request: &Request, timeout: Duration) -> Result<Reply, ClientError> {
        let who = self.identity().clone();
        let (correlation, answer) = self.expect_answer();
        let asked = Asked { waiting: &self.waiting, correlation: correlation.clone() };
        let properties = PublishProperties {
            response_topic: Some(Topic::Response { who: who.clone() }.to_string()),
            correlation_data: Some(correlation),
            ..json_properties()
        };
        self.link.publish(&Topic::Request { who }.to_string(), to_json(request)?, properties).await?;
        let answered = tokio::time::timeout(timeout, answer).await;
        drop(asked);
        match answered {
            Ok(Ok(reply)) => serde_json::from_slice(&reply)
                .map_err(|error| ClientError::Unreadable { what: "an answer", reason: error.to_string() }),
            Ok(Err(_)) => Err(self.link.lost_reason()),
            Err(_) => Err(ClientError::Timeout { what: "the answer", after: timeout }),
        }
    }

    /// Follows one cabinet, or all of the tenant. A second call replaces the first stream.
    pub async fn subscribe_live(&self, cabinet: Option<&CabinetId>) -> Result<LiveStream, ClientError> {
        let (sender, news) = mpsc::channel(LIVE_WAITING);
        self.waiting.lock().live = Some(sender);
        self.link.subscribe(&live_filters(&self.identity().tenant, cabinet)).await?;
        Ok(LiveStream::new(news, Arc::clone(&self.waiting)))
    }

    /// Puts an order as the integration that this is; returns when it is on the fleet's disk.
    pub async fn put_order(&self, order: &OrderPut) -> Result<(), ClientError> {
        put_order(&self.link, order).await
    }

    /// Cancels an order of the integration that this is.
    pub async fn cancel_order(&self, order: &OrderCancel) -> Result<(), ClientError> {
        cancel_order(&self.link, order).await
    }

    /// Publishes any JSON with QoS 1 and waits for its PUBACK.
    pub async fn publish(&self, topic: &Topic, json: Vec<u8>) -> Result<(), ClientError> {
        self.link.publish(&topic.to_string(), json, json_properties()).await
    }

    /// Says goodbye.
    pub async fn close(self) {
        self.link.close().await;
    }

    fn expect_answer(&self) -> (Bytes, oneshot::Receiver<Bytes>) {
        let (sender, answer) = oneshot::channel();
        let mut state = self.waiting.lock();
        state.next += 1;
        let correlation = Bytes::copy_from_slice(&state.next.to_be_bytes());
        if !state.ended {
            state.replies.insert(correlation.clone(), sender);
        }
        (correlation, answer)
    }
}

/// A question on its way; given up, nobody waits for its answer any more.
struct Asked<'a> {
    waiting: &'a Waiting,
    correlation: Bytes,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.waiting.lock().replies.remove(&self.correlation);
    }
}

/// Hands each message to whoever waits for it, until the link ends.
async fn sort(mut inbox: Inbox, responses: String, waiting: Arc<Waiting>) {
    let reason = loop {
        match inbox.next().await {
            Ok(message) => {
                let lost = inbox.take_lost();
                let mut state = waiting.lock();
                state.live_lost += lost;
                if message.topic == responses.as_bytes() { state.settle(&message) } else { state.pass_on(&message) }
            }
            Err(error) => break error,
        }
    };
    let mut state = waiting.lock();
    state.ended = true;
    state.replies.clear();
    if let Some(live) = state.live.take() {
        // A reader that is behind finds the end of the channel instead.
        let _ = live.try_send(LiveNews::Ended(reason));
    }
}

impl State {
    fn settle(&mut self, message: &Publish) {
        let correlation = message.properties.as_ref().and_then(|properties| properties.correlation_data.as_ref());
        if let Some(sender) = correlation.and_then(|correlation| self.replies.remove(correlation)) {
            // Whoever gave up waiting does not want to know.
            let _ = sender.send(payload(message).clone());
        }
    }

    fn pass_on(&mut self, message: &Publish) {
        let Some(live) = &self.live else { return };
        if live.try_send(LiveNews::Message(message.clone())).is_err() {
            self.live_lost += 1;
        }
    }
}

impl Waiting {
    pub(super) fn take_live_lost(&self) -> u64 {
        std::mem::take(&mut self.lock().live_lost)
    }
}
