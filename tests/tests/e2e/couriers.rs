//! Couriers with a PIN of their own: what they put in, with the fleet and without it, and what they cannot do.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Look, Site, World, order, until};
use schemas::api::{NotificationKind, OrderPut, OrderState};
use schemas::ids::Role;
use schemas::messages::{Compartment, DepositKind};
use serde_json::{Value, json};

use crate::shell::Shell;

fn plan(name: &str) -> CabinetPlan {
    let mut plan = CabinetPlan::new(name, "1-2:S,3:M");
    plan.sensors = vec![(1, 1, 21), (2, 1, 22), (3, 1, 23)];
    plan
}

fn awaited(id: &str) -> OrderPut {
    OrderPut { deposit: Some(DepositKind::Courier), ..order(id, "berlin-01", "S") }
}

/// Every cabinet knows the newest of the courier, or has forgotten him.
async fn until_told(operator: &Shell, name: &str, listed: bool) -> anyhow::Result<()> {
    until(&format!("every cabinet knows of {name}"), async || {
        let answer = operator.json(&["courier", "list"]).await?;
        let all = answer["couriers"].as_array().cloned().context("no list")?;
        let told = match all.iter().find(|one| one["name"] == name) {
            Some(one) => listed && one["pending_count"] == 0,
            None => !listed,
        };
        Ok(Look::at(told.then_some(()), || answer.to_string()))
    })
    .await
}

async fn add(operator: &Shell, arguments: &[&str]) -> anyhow::Result<String> {
    let said = operator.json(&[&["courier", "add", "jo"], arguments].concat()).await?;
    until_told(operator, "jo", true).await?;
    Ok(said["courier"]["pin"].as_str().context("no PIN")?.to_owned())
}

/// The courier types the PIN; returns the session, and the door at which something of theirs is half in.
async fn come(site: &Site, secret: &str) -> anyhow::Result<(String, Value)> {
    let answer = site.screen()?.post("courier", None, &json!({ "secret": secret })).await?;
    ensure!(answer.body["result"] == "courier" && answer.body["name"] == "jo", "{answer:?}");
    let session = answer.body["session"].as_str().context("a session")?.to_owned();
    Ok((session, answer.body["compartment"].clone()))
}

async fn refused(site: &Site, secret: &str) -> anyhow::Result<()> {
    let answer = site.screen()?.post("courier", None, &json!({ "secret": secret })).await?;
    ensure!(answer.body["reason"] == "wrong", "{answer:?}");
    Ok(())
}

/// One lock is pulsed for what the courier has, and its door stands open.
async fn opened(site: &Site, session: &str, path: &str, body: &Value) -> anyhow::Result<Compartment> {
    let before = site.cabinet.pulses();
    let answer = site.screen()?.post(path, Some(session), body).await?;
    ensure!(answer.status == 202, "{answer:?}");
    let door = site.until_pulses(before + 1).await?;
    site.until_door(door, "open").await?;
    Ok(door)
}

async fn put_in(site: &Site, door: Compartment) -> anyhow::Result<()> {
    site.cabinet.set_inside(door, true)?;
    site.cabinet.close_door(door)?;
    let stored = |shown: &Value| shown["door"] == "closed" && shown["asks"] == false && shown["allocated"] == true;
    site.until_shown(door, "stored", stored).await.map(drop)
}

async fn collect(site: &Site, code: &str, door: Compartment) -> anyhow::Result<()> {
    ensure!(site.enter(code).await? == door);
    site.until_door(door, "open").await?;
    site.cabinet.set_inside(door, false)?;
    site.cabinet.close_door(door)?;
    site.until_free(door).await
}

#[tokio::test]
async fn a_courier_brings_an_order_and_a_parcel_and_both_recipients_get_a_code() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut site = world.cabinet(plan("berlin-01")).await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    let pin = add(&operator, &[]).await?;
    world.shop.put(&awaited("A17")).await?;
    world.shop.until_notified("A17").await?;

    let (session, half) = come(&site, &pin).await?;
    ensure!(half.is_null(), "{half}");
    let door = opened(&site, &session, "bring", &json!({ "label": "A17" })).await?;
    put_in(&site, door).await?;
    let stored = world.shop.until_state("A17", OrderState::Stored).await?;
    ensure!(stored.courier.as_ref().is_some_and(|name| name.as_str() == "jo"), "{stored:?}");
    let told = world.shop.until_messages("A17", 2).await?;
    ensure!(told.kind == NotificationKind::PickupCode && told.compartment == Some(door), "{told:?}");
    collect(&site, &told.code, door).await?;
    world.shop.until_state("A17", OrderState::Collected).await?;

    // Without a network, for a phone number; the agent is killed while the door stands open.
    world.stage.stop_broker().await?;
    world.until_alone(&site).await?;
    let badge = site.screen()?.post("logout", Some(&session), &json!({})).await?;
    ensure!(badge.status == 202, "{badge:?}");
    let (session, _) = come(&site, &pin).await?;
    let body = json!({ "phone": "+49 151 1234-5678", "size": "M", "reference": "DHL-1" });
    let door = opened(&site, &session, "bring-to", &body).await?;
    ensure!(door.number() == 3, "an M was asked for, and {door} opened");
    site.cabinet.kill_agent().await?;
    site.start_agent().await?;
    site.until_door(door, "open").await?;
    let (session, half) = come(&site, &pin).await?;
    ensure!(half == json!(door.number()), "{half}");
    put_in(&site, door).await?;
    // What he named wrongly opens nothing.
    site.screen()?.post("bring", Some(&session), &json!({ "label": "A1" })).await?;
    world.start_broker().await?;
    let begun = world.watch.until("the parcel is told", |event| event.kind == "walk_in").await?;
    ensure!(begun.text.contains("courier jo"), "{begun:?}");
    let id = begun.order.as_deref().and_then(|key| key.strip_prefix("walk-in/")).context("no walk-in")?.to_owned();
    ensure!(id.starts_with("DHL-1-"), "{id}");
    let told = world.shop.until_notified(&id).await?;
    ensure!(told.walk_in && told.recipient.phone.as_deref() == Some("+4915112345678"), "{told:?}");
    collect(&site, &told.code, door).await?;
    world.shop.until_state(&id, OrderState::Collected).await?;
    site.no_more_pulses()?;

    let unlocks = operator.json(&["unlocks", "berlin-01"]).await?.to_string();
    ensure!(unlocks.matches("courier:acme:jo").count() == 2, "{unlocks}");
    let logs = std::fs::read_to_string(site.cabinet.log()).context("read the agent's log")?
        + &std::fs::read_to_string(world.stage.log("broker")).context("read the broker's log")?
        + &std::fs::read_to_string(world.stage.log("signer")).context("read the signer's log")?;
    ensure!(!logs.contains(&pin) && !logs.contains("15112345678"), "a PIN or a number is in a log");
    Ok(())
}

#[tokio::test]
async fn a_courier_is_known_where_he_comes_does_nothing_else_and_is_gone_at_once() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(plan("berlin-01")).await?;
    let other = world.cabinet(plan("berlin-02")).await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    let pin = add(&operator, &["--cabinets", "berlin-01"]).await?;
    refused(&other, &pin).await?;
    let staff = site.screen()?.staff(&pin).await.err().context("a courier became staff")?;
    ensure!(staff.to_string().contains("wrong"), "{staff:#}");
    let entered = site.screen()?.enter(&pin).await?;
    ensure!(entered.body["reason"] == "wrong", "{entered:?}");

    // Staff have something inside, and an order waits for them.
    world.shop.put(&order("S1", "berlin-01", "S")).await?;
    let held = site.open_for("shop/S1").await?;
    put_in(&site, held).await?;
    world.shop.until_state("S1", OrderState::Stored).await?;
    world.shop.put(&order("S2", "berlin-01", "S")).await?;
    world.shop.until_state("S2", OrderState::Reserved).await?;
    let (session, _) = come(&site, &pin).await?;
    let (screen, at) = (site.screen()?, held.number());
    ensure!(screen.view(Some(&session)).await?["staff"].is_null(), "a courier sees what is inside");
    for (path, body) in [
        ("load", json!({ "order": "shop/S2", "larger": false })),
        ("bring", json!({ "label": "S2" })),
        ("bring", json!({ "label": "shop/S1" })),
        ("retrieve", json!({ "order": "shop/S1" })),
        ("release", json!({ "order": "shop/S1" })),
        ("undo", json!({ "order": "shop/S1" })),
        ("look", json!({ "compartment": at })),
        ("swap", json!({ "one": at, "other": 2 })),
        ("open-all", json!({ "confirm": "open all doors" })),
        ("confirm", json!({ "compartment": at, "inside": false })),
        ("walk-in", json!({ "phone": "+4915112345678", "size": "S", "category": "retail" })),
    ] {
        screen.post(path, Some(&session), &body).await?;
    }
    site.no_more_pulses()?;

    // Removed in the middle: his door counts, and nothing else opens for him.
    world.shop.put(&awaited("A18")).await?;
    world.shop.until_notified("A18").await?;
    let door = opened(&site, &session, "bring", &json!({ "label": "shop/A18" })).await?;
    operator.json(&["courier", "remove", "jo"]).await?;
    until_told(&operator, "jo", false).await?;
    screen.post("bring-to", Some(&session), &json!({ "phone": "+4915112345678", "size": "M" })).await?;
    screen.post("deposit", Some(&session), &json!({ "wish": "too_small" })).await?;
    put_in(&site, door).await?;
    world.shop.until_state("A18", OrderState::Stored).await?;
    refused(&site, &pin).await?;
    site.no_more_pulses()
}
