//! Backends that put and cancel orders and read their rows, and operators who unlock doors, all over a bad network.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleet_cli::client::{Client, ClientError, Delivery, IntegrationClient, Row};
use fleet_cli::folder::PersonFolder;
use schemas::api::{OrderCancel, OrderPut, OrderState, Reply, Request};
use schemas::ids::{CabinetId, Name};
use schemas::messages::{Compartment, OrderKey};
use tokio::time::timeout;

use super::history::{Happening, Heard, History};
use super::knowledge::{Knowledge, Known};
use super::pace::{Mode, Pace};
use crate::people::order as order_put;
use crate::sim::Dice;

/// Orders of a backend that are not over.
const UNDER_WAY: usize = 5;
/// Longest pause between two acts, in milliseconds.
const PAUSE: u64 = 400;
/// A reader looks up from its stream this often.
const READ: Duration = Duration::from_millis(150);
const CONNECT: Duration = Duration::from_secs(8);
const ANSWER: Duration = Duration::from_secs(12);

/// What everybody at a desk has.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) folder: PersonFolder,
    pub(super) history: History,
    pub(super) known: Knowledge,
    pub(super) pace: Pace,
}

/// Doors that staff have asked the operator to open.
#[derive(Clone, Default)]
pub(super) struct Wanted(Arc<Mutex<BTreeSet<(CabinetId, Compartment)>>>);

impl Wanted {
    pub(super) fn ask(&self, cabinet: &CabinetId, compartment: Compartment) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((cabinet.clone(), compartment));
    }

    fn take(&self) -> Option<(CabinetId, Compartment)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_first()
    }
}

/// The reader of a backend: takes rows, and sometimes dies between reading one and acknowledging it.
pub(super) async fn read_rows(desk: Desk, integration: Name, mut dice: Dice) -> anyhow::Result<()> {
    let mut client = None;
    while let Some(_acting) = desk.pace.next(&mut dice, 20).await {
        let Some(reader) = client.as_mut() else {
            client = timeout(CONNECT, IntegrationClient::connect(&desk.folder)).await.ok().and_then(Result::ok);
            continue;
        };
        if take_rows(&desk, &integration, reader, &mut dice).await.is_none() {
            client = None;
        }
    }
    Ok(())
}

/// Takes what comes for a moment; `None` when the connection is over.
async fn take_rows(desk: &Desk, integration: &Name, reader: &mut IntegrationClient, dice: &mut Dice) -> Option<()> {
    while let Ok(came) = timeout(READ, reader.next_row()).await {
        let delivery: Delivery = came.ok()?;
        note_row(desk, integration, &delivery.row);
        if desk.pace.mode() == Mode::Busy && dice.one_in(25) {
            return None;
        }
        reader.ack(delivery).await.ok()?;
    }
    Some(())
}

fn note_row(desk: &Desk, integration: &Name, row: &Row) {
    match row {
        Row::Status(row) => {
            let order = OrderKey { integration: integration.clone(), order: row.order.clone() };
            desk.history.note(Happening::StatusTold { integration: integration.clone(), row: row.clone() });
            desk.known.status_told(&order, row);
        }
        Row::Notification(row) => {
            let order = OrderKey { integration: integration.clone(), order: row.order.clone() };
            let (n, id) = (row.n, row.order.clone());
            desk.history.note(Happening::NotificationTold { integration: integration.clone(), n, order: id });
            desk.known.code_told(&order, row);
        }
    }
}

/// The writer of a backend: puts orders, puts again what was not acknowledged, cancels some.
pub(super) async fn write_orders(
    desk: Desk,
    integration: Name,
    cabinets: Vec<CabinetId>,
    mut dice: Dice,
) -> anyhow::Result<()> {
    let mut client = None;
    while let Some(_acting) = desk.pace.next(&mut dice, PAUSE).await {
        let Some(writer) = client.as_ref() else {
            client = timeout(CONNECT, Client::connect(&desk.folder)).await.ok().and_then(Result::ok);
            continue;
        };
        let done = match desk.pace.mode() {
            Mode::Busy => write_something(&desk, &integration, &cabinets, writer, &mut dice).await?,
            Mode::Finishing | Mode::Over => finish_something(&desk, &integration, writer, &mut dice).await,
        };
        if done.is_err() {
            client = None;
        }
    }
    Ok(())
}

type Written = Result<(), ClientError>;

async fn write_something(
    desk: &Desk,
    integration: &Name,
    cabinets: &[CabinetId],
    writer: &Client,
    dice: &mut Dice,
) -> anyhow::Result<Written> {
    let own = |order: &OrderKey| order.integration == *integration;
    let under_way = desk.known.all(|order, known| own(order) && !known.is_over());
    let again = dice.one_in(4);
    let repeated = under_way.iter().find(|(_, known)| !known.acknowledged || again);
    if let Some((order, known)) = repeated.filter(|_| under_way.len() >= UNDER_WAY || dice.one_in(3)) {
        return Ok(put(desk, writer, order, known).await);
    }
    if dice.one_in(7)
        && let Some((order, _)) = dice.pick(&under_way)
    {
        return Ok(cancel(desk, writer, order).await);
    }
    if under_way.len() >= UNDER_WAY {
        return Ok(Ok(()));
    }
    let Some(cabinet) = dice.pick(cabinets) else { return Ok(Ok(())) };
    let size = if dice.one_in(4) { "M" } else { "S" };
    let order = desk.known.order_made(integration, cabinet.clone(), size)?;
    Ok(match desk.known.get(&order) {
        Some(known) => put(desk, writer, &order, &known).await,
        None => Ok(()),
    })
}

/// Puts again what nobody has acknowledged, and cancels what was not loaded.
async fn finish_something(desk: &Desk, integration: &Name, writer: &Client, dice: &mut Dice) -> Written {
    use OrderState::{Created, Ready, Reserved};
    let own = |order: &OrderKey| order.integration == *integration;
    if let Some((order, known)) = desk.known.any(dice, |order, known| own(order) && !known.acknowledged) {
        return put(desk, writer, &order, &known).await;
    }
    let idle = |known: &Known| matches!(known.state, None | Some(Created | Ready | Reserved));
    match desk.known.any(dice, |order, known| own(order) && idle(known)) {
        Some((order, _)) => cancel(desk, writer, &order).await,
        None => Ok(()),
    }
}

async fn put(desk: &Desk, writer: &Client, order: &OrderKey, known: &Known) -> Written {
    let put: OrderPut = order_put(order.order.as_str(), known.cabinet.as_str(), known.size);
    desk.history.note(Happening::PutAsked { order: order.clone() });
    writer.put_order(&put).await?;
    desk.history.note(Happening::PutAcknowledged { order: order.clone() });
    desk.known.change(order, |known| known.acknowledged = true);
    Ok(())
}

async fn cancel(desk: &Desk, writer: &Client, order: &OrderKey) -> Written {
    desk.history.note(Happening::CancelAsked { order: order.clone() });
    desk.known.change(order, |known| known.cancelled = true);
    writer.cancel_order(&OrderCancel { order: order.order.clone() }).await
}

/// An operator: opens doors that staff want opened, and some that nobody does.
pub(super) async fn unlock_doors(
    desk: Desk,
    wanted: Wanted,
    doors: Vec<(CabinetId, Compartment)>,
    mut dice: Dice,
) -> anyhow::Result<()> {
    let mut client = None;
    while let Some(_acting) = desk.pace.next(&mut dice, PAUSE * 2).await {
        let Some(operator) = client.as_ref() else {
            client = timeout(CONNECT, Client::connect(&desk.folder)).await.ok().and_then(Result::ok);
            continue;
        };
        let idly = || if desk.pace.mode() == Mode::Busy { dice.pick(&doors).cloned() } else { None };
        let Some((cabinet, compartment)) = wanted.take().or_else(idly) else { continue };
        if !unlock(&desk, operator, cabinet, compartment).await {
            client = None;
        }
    }
    Ok(())
}

/// False if the connection is over.
async fn unlock(desk: &Desk, operator: &Client, cabinet: CabinetId, compartment: Compartment) -> bool {
    let id = desk.history.next_try();
    desk.history.note(Happening::UnlockAsked { id, cabinet: cabinet.clone(), compartment });
    let request = Request::Unlock { cabinet, compartment, reason: "chaos".to_owned() };
    let reply = timeout(ANSWER, operator.request_within(&request, ANSWER)).await;
    let heard = match &reply {
        Ok(Ok(Reply::Unlock(result))) => Heard::Outcome(result.outcome),
        Ok(Ok(Reply::Error(error))) => Heard::Error(error.code),
        Ok(Ok(_) | Err(_)) | Err(_) => Heard::Nothing,
    };
    desk.history.note(Happening::UnlockReplied { id, heard });
    matches!(reply, Ok(Ok(_)))
}
