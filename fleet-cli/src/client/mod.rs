//! Speaks to a running fleet: requests of people and integrations, live messages, orders and the rows about them.

mod error;
mod integration;
pub mod keysets;
mod link;
mod live;
mod session;

pub use error::ClientError;
pub use integration::{Delivery, IntegrationClient, Row};
pub use live::{LiveItem, LiveStream};
pub use session::Client;

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::PublishProperties;
use schemas::api::{JSON_MAX, OrderCancel, OrderPut};
use schemas::ids::{Identity, Role};
use schemas::topics::Topic;
use serde::Serialize;

use link::Link;

/// Tries again while the broker cannot be reached, for as long as `patience`.
async fn patiently<T, F>(patience: Duration, mut attempt: impl FnMut() -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let give_up = tokio::time::Instant::now() + patience;
    let mut pause = Duration::from_millis(50);
    loop {
        match attempt().await {
            Err(error) if error.may_pass() && tokio::time::Instant::now() + pause < give_up => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
            other => return other,
        }
    }
}

fn json_properties() -> PublishProperties {
    PublishProperties { content_type: Some("application/json".to_owned()), ..PublishProperties::default() }
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, ClientError> {
    let json = serde_json::to_vec(value)
        .map_err(|error| ClientError::Unreadable { what: "a message", reason: error.to_string() })?;
    if json.len() > JSON_MAX {
        return Err(ClientError::TooLong { size: json.len(), max: JSON_MAX });
    }
    Ok(json)
}

/// Publishes as the integration that the link belongs to.
async fn put_order(link: &Link, order: &OrderPut) -> Result<(), ClientError> {
    let Identity { tenant, name, .. } = integration(link.identity())?;
    let topic = Topic::OrderPut { tenant, integration: name };
    link.publish(&topic.to_string(), to_json(order)?, json_properties()).await
}

async fn cancel_order(link: &Link, order: &OrderCancel) -> Result<(), ClientError> {
    let Identity { tenant, name, .. } = integration(link.identity())?;
    let topic = Topic::OrderCancel { tenant, integration: name };
    link.publish(&topic.to_string(), to_json(order)?, json_properties()).await
}

fn integration(identity: &Identity) -> Result<Identity, ClientError> {
    match identity.role == Role::Integration {
        true => Ok(identity.clone()),
        false => Err(ClientError::NotAnIntegration(identity.clone())),
    }
}
