//! A backend that keeps every row it was given and notices one that is lost or doubled.

use anyhow::{Context as _, ensure};
use fleet_cli::client::{IntegrationClient, Row};
use fleet_cli::stage::{PATIENCE, Stage};
use schemas::api::{Notification, OrderPut, OrderState, RejectReason, Status};
use schemas::messages::OrderKey;
use tokio::time::timeout;

/// An integration and its two streams.
pub struct Shop {
    name: String,
    client: IntegrationClient,
    statuses: Vec<Status>,
    notifications: Vec<Notification>,
    /// The fleet was restored: the next row of each stream may leap ahead, once.
    leaps: [bool; 2],
}

impl Shop {
    pub async fn connect(stage: &Stage, name: &str) -> anyhow::Result<Self> {
        let client = stage.integration(name).await?;
        Ok(Self { name: name.to_owned(), client, statuses: Vec::new(), notifications: Vec::new(), leaps: [false; 2] })
    }

    /// Connects anew, and still knows every row.
    pub async fn reconnect(&mut self, stage: &Stage) -> anyhow::Result<()> {
        self.client = stage.integration(&self.name).await?;
        Ok(())
    }

    /// The fleet was restored from a backup: numbers that this shop may have seen are left out.
    pub fn expect_leap(&mut self) {
        self.leaps = [true; 2];
    }

    pub fn client(&self) -> &IntegrationClient {
        &self.client
    }

    /// The key of an order of this shop.
    pub fn key(&self, order: &str) -> anyhow::Result<OrderKey> {
        Ok(OrderKey { integration: self.name.parse()?, order: order.parse()? })
    }

    pub async fn put(&self, order: &OrderPut) -> anyhow::Result<()> {
        Ok(self.client.put_order(order).await?)
    }

    /// Rows of the status stream so far.
    pub fn statuses(&self) -> &[Status] {
        &self.statuses
    }

    pub fn notifications(&self) -> &[Notification] {
        &self.notifications
    }

    /// The states of an order in the order of their rows.
    pub fn states(&self, order: &str) -> Vec<OrderState> {
        self.statuses.iter().filter(|status| status.order.as_str() == order).map(|status| status.state).collect()
    }

    /// Takes rows until the order has this state.
    pub async fn until_state(&mut self, order: &str, state: OrderState) -> anyhow::Result<Status> {
        loop {
            let known = self.statuses.iter().find(|status| status.order.as_str() == order && status.state == state);
            if let Some(status) = known {
                return Ok(status.clone());
            }
            let row = self.take().await;
            row.with_context(|| {
                format!("waiting for {order} to be {state}; it went through {:?}", self.states(order))
            })?;
        }
    }

    /// Takes rows until something that was asked for the order was refused for this reason.
    pub async fn until_reason(&mut self, order: &str, reason: RejectReason) -> anyhow::Result<Status> {
        loop {
            let told = |status: &&Status| status.order.as_str() == order && status.reason == Some(reason);
            if let Some(status) = self.statuses.iter().find(told) {
                return Ok(status.clone());
            }
            self.take().await.with_context(|| format!("waiting for {order} to be told {reason}"))?;
        }
    }

    /// Takes rows until the order has a compartment, or was rejected.
    pub async fn until_decided(&mut self, order: &str) -> anyhow::Result<Status> {
        loop {
            let decided = |status: &&Status| {
                status.order.as_str() == order && [OrderState::Reserved, OrderState::Rejected].contains(&status.state)
            };
            if let Some(status) = self.statuses.iter().find(decided) {
                return Ok(status.clone());
            }
            self.take().await.with_context(|| format!("waiting for the fleet to decide on {order}"))?;
        }
    }

    /// Takes rows until the code of the order has come.
    pub async fn until_notified(&mut self, order: &str) -> anyhow::Result<Notification> {
        loop {
            if let Some(known) = self.notifications.iter().find(|known| known.order.as_str() == order) {
                return Ok(known.clone());
            }
            let row = self.take().await;
            row.with_context(|| format!("waiting for the code of {order}; it went through {:?}", self.states(order)))?;
        }
    }

    /// Takes rows until that many messages about the order have come; returns the newest.
    pub async fn until_messages(&mut self, order: &str, count: usize) -> anyhow::Result<Notification> {
        loop {
            let about: Vec<_> = self.notifications.iter().filter(|known| known.order.as_str() == order).collect();
            if let Some(newest) = about.last().filter(|_| about.len() >= count) {
                return Ok((*newest).clone());
            }
            let seen = about.len();
            self.take().await.with_context(|| format!("waiting for message {count} about {order}, {seen} came"))?;
        }
    }

    /// Takes the next row, whatever it is.
    async fn take(&mut self) -> anyhow::Result<()> {
        let delivery = timeout(PATIENCE, self.client.next_row()).await.context("no row came")??;
        match delivery.row.clone() {
            Row::Status(row) => keep(&mut self.statuses, row, |row| row.n, &mut self.leaps[0])?,
            Row::Notification(row) => keep(&mut self.notifications, *row, |row| row.n, &mut self.leaps[1])?,
        }
        Ok(self.client.ack(delivery).await?)
    }
}

/// Rows have numbers from 1 without gaps; one whose acknowledgement was lost may come again, unchanged.
fn keep<T: PartialEq + std::fmt::Debug>(
    rows: &mut Vec<T>,
    row: T,
    n: impl Fn(&T) -> u64,
    leap: &mut bool,
) -> anyhow::Result<()> {
    let (last, number) = (rows.last().map_or(0, &n), n(&row));
    if number <= last {
        ensure!(rows.contains(&row), "row {number} came again with other content: {row:?}");
        return Ok(());
    }
    let leapt = number > last + 1 && std::mem::take(leap);
    ensure!(number == last + 1 || leapt, "row {number} came after row {last}");
    rows.push(row);
    Ok(())
}

/// A retail order without attributes.
pub fn order(id: &str, cabinet: &str, size: &str) -> OrderPut {
    let json = format!(r#"{{"order":"{id}","cabinet":"{cabinet}","size":"{size}","category":"retail"}}"#);
    schemas::api::parse(json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error}"))
}
