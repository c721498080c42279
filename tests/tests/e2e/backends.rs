//! A backend that is away for a while.

use anyhow::ensure;
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{RawClient, World, order};
use schemas::api::{Availability, CBOR_TYPE, OrderState, Reply, Request, Status, as_json};
use schemas::ids::Role;
use schemas::messages::Size;

use OrderState::{Cancelled, Collected, Collecting, Loading, Reserved, Stored};

/// Acceptance 18.
#[tokio::test]
async fn a_backend_that_was_away_gets_every_status_although_the_broker_was_killed_meanwhile() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    for id in ["A1", "A2", "A3", "A4"] {
        world.shop.put(&order(id, "berlin-01", "S")).await?;
        world.shop.until_state(id, Reserved).await?;
    }
    site.load("shop/A1").await?;
    let code = world.shop.until_notified("A1").await?.code;

    // The shop's connection ends with this broker, and it does not come back.
    world.stage.kill_broker().await?;
    world.start_broker_alone().await?;
    world.until_online(&site, true).await?;
    site.collect(&code).await?;
    site.load("shop/A2").await?;
    let cancelled = world.operator.request(&Request::OrderCancel { order: world.shop.key("A3")? }).await?;
    ensure!(!matches!(cancelled, Reply::Error(_)), "{cancelled:?}");
    site.load("shop/A4").await?;
    world.stage.kill_broker().await?;
    world.start_broker().await?;

    for (id, last) in [("A1", Collected), ("A2", Stored), ("A3", Cancelled), ("A4", Stored)] {
        world.shop.until_state(id, last).await?;
    }
    ensure!(world.shop.states("A1") == [Reserved, Loading, Stored, Collecting, Collected]);
    ensure!(world.shop.states("A2") == [Reserved, Loading, Stored]);
    ensure!(world.shop.states("A3") == [Reserved, Cancelled]);
    ensure!(world.shop.states("A4") == [Reserved, Loading, Stored]);
    let rows: Vec<u64> = world.shop.statuses().iter().map(|row| row.n).collect();
    ensure!(rows.iter().copied().eq(1..=rows.len() as u64), "{rows:?}");
    for id in ["A2", "A4"] {
        world.shop.until_notified(id).await?;
    }
    Ok(())
}

/// What a backend of another make does: CBOR instead of JSON, and a look at what is free before it asks.
#[tokio::test]
async fn a_backend_that_speaks_cbor_sees_what_is_free_and_takes_some_of_it() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let _site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S,3:M")).await?;
    let person = world.stage.person(Role::Integration, "shop")?;
    let mut raw = RawClient::connect(&person, "integration:acme:shop~other").await?;
    ensure!(raw.subscribe("v1/acme/live/berlin-01/event").await?.is_refused());
    ensure!(raw.subscribe("v1/acme/live/+/availability").await?.is_taken());

    let cbor = map_of(&[("order", "C1"), ("cabinet", "berlin-01"), ("size", "M"), ("category", "retail")])?;
    let topic = "v1/acme/integration/shop/orders/put";
    let refused = raw.publish_as(topic, "text/csv", "C1;berlin-01").await?;
    ensure!(format!("{refused:?}").contains("application/cbor"), "{refused:?}");
    ensure!(raw.publish_as(topic, "application/json", cbor.clone()).await?.is_refused());
    ensure!(raw.publish_as(topic, "application/cbor", cbor).await?.is_taken());
    world.shop.until_state("C1", Reserved).await?;
    let told = raw.until_published("v1/acme/live/berlin-01/availability").await?;
    let free: Availability = serde_json::from_slice(&told)?;
    let kinds: Vec<_> = free.free.iter().map(|kind| (kind.size, kind.count)).collect();
    ensure!(free.online && kinds == [(Size::S, 2)], "{free:?}");
    Ok(())
}

fn map_of(fields: &[(&str, &str)]) -> anyhow::Result<Vec<u8>> {
    let text = |text: &str| ciborium::Value::Text(text.to_owned());
    let map = ciborium::Value::Map(fields.iter().map(|(key, value)| (text(key), text(value))).collect());
    let mut cbor = Vec::new();
    ciborium::into_writer(&map, &mut cbor)?;
    Ok(cbor)
}

/// Answers and rows too are what the backend speaks, and a row that comes again is the same row, byte for byte.
#[tokio::test]
async fn a_backend_that_speaks_cbor_is_answered_and_told_in_cbor() -> anyhow::Result<()> {
    const STATUS: &str = "v1/acme/integration/oms/status";
    const RESPONSE: &str = "v1/acme/integration/oms/response";
    let world = World::start().await?;
    let _site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    let person = world.stage.person(Role::Integration, "oms")?;
    let mut raw = RawClient::connect_without_acks(&person, "integration:acme:oms").await?;
    ensure!(raw.subscribe_as(STATUS, "text/xml").await?.is_refused());
    ensure!(raw.subscribe_as(STATUS, CBOR_TYPE).await?.is_taken());
    let put = map_of(&[("order", "C1"), ("cabinet", "berlin-01"), ("size", "S"), ("category", "retail")])?;
    ensure!(raw.publish_as("v1/acme/integration/oms/orders/put", CBOR_TYPE, put).await?.is_taken());
    let (content_type, first) = raw.until_message(STATUS).await?;
    ensure!(content_type.as_deref() == Some(CBOR_TYPE), "{content_type:?}");
    let row: Status = serde_json::from_slice(&as_json(Some(CBOR_TYPE), &first)?)?;
    ensure!(row.n == 1 && row.state == Reserved, "{row:?}");

    ensure!(raw.subscribe(RESPONSE).await?.is_taken());
    let request = "v1/acme/integration/oms/request";
    let show = map_of(&[("op", "order.show"), ("order", "oms/C1")])?;
    ensure!(raw.publish_as(request, CBOR_TYPE, show).await?.is_taken());
    let (content_type, answer) = raw.until_message(RESPONSE).await?;
    ensure!(content_type.as_deref() == Some(CBOR_TYPE), "{content_type:?}");
    let in_cbor: Reply = serde_json::from_slice(&as_json(Some(CBOR_TYPE), &answer)?)?;
    let show = serde_json::to_vec(&serde_json::json!({ "op": "order.show", "order": "oms/C1" }))?;
    ensure!(raw.publish_as(request, "application/json", show).await?.is_taken());
    let (content_type, answer) = raw.until_message(RESPONSE).await?;
    ensure!(content_type.as_deref() == Some("application/json"), "{content_type:?}");
    let in_json: Reply = serde_json::from_slice(&answer)?;
    ensure!(in_cbor == in_json && matches!(in_json, Reply::Order(_)), "{in_cbor:?}");

    // Nothing of it was acknowledged: it comes again, and as JSON to whoever wants that.
    drop(raw);
    let mut again = RawClient::connect_without_acks(&person, "integration:acme:oms").await?;
    ensure!(again.subscribe_as(STATUS, CBOR_TYPE).await?.is_taken());
    ensure!(again.until_published(STATUS).await? == first);
    drop(again);
    let mut other = RawClient::connect(&person, "integration:acme:oms").await?;
    ensure!(other.subscribe(STATUS).await?.is_taken());
    let (content_type, json) = other.until_message(STATUS).await?;
    ensure!(content_type.as_deref() == Some("application/json"), "{content_type:?}");
    ensure!(serde_json::from_slice::<Status>(&json)? == row);
    Ok(())
}
