//! Couriers and customers put orders in with codes of their own.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Site, World, order};
use schemas::api::{NotificationKind, OrderPut, OrderState};
use schemas::messages::{Category, Compartment, DepositKind};
use serde_json::json;

fn brought(id: &str, size: &str, by: DepositKind) -> OrderPut {
    OrderPut { deposit: Some(by), ..order(id, "berlin-01", size) }
}

/// Somebody enters a deposit code; returns their session and the door that opens for it.
async fn begin(site: &Site, code: &str) -> anyhow::Result<(String, Compartment)> {
    let before = site.cabinet.pulses();
    let answer = site.screen()?.enter(code).await?;
    ensure!(answer.body["result"] == "deposit", "{answer:?}");
    let door = site.until_pulses(before + 1).await?;
    ensure!(answer.body["compartment"] == json!(door.number()), "{answer:?}, and door {door} opened");
    site.until_door(door, "open").await?;
    let session = answer.body["session"].as_str().context("a session")?.to_owned();
    Ok((session, door))
}

#[tokio::test]
async fn a_courier_leaves_a_parcel_without_a_network_and_its_recipient_gets_a_code() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut plan = CabinetPlan::new("berlin-01", "1-2:S,3:M");
    plan.sensors = vec![(1, 1, 21), (2, 1, 22), (3, 1, 23)];
    let site = world.cabinet(plan).await?;
    world.shop.put(&brought("A17", "S", DepositKind::Courier)).await?;
    let invited = world.shop.until_notified("A17").await?;
    ensure!(invited.kind == NotificationKind::DepositCode && invited.compartment.is_none(), "{invited:?}");

    world.stage.stop_broker().await?;
    world.until_alone(&site).await?;
    // The first door is closed on nothing: the courier is asked, and the code stays good.
    let (_, door) = begin(&site, &invited.code).await?;
    site.cabinet.close_door(door)?;
    site.until_shown(door, "asking", |shown| shown["asks"] == true && shown["occupancy"] == "empty").await?;
    let (session, same) = begin(&site, &invited.qr).await?;
    ensure!(same == door, "the parcel was on its way into {door}, not {same}");
    let before = site.cabinet.pulses();
    site.screen()?.post("deposit", Some(&session), &json!({ "wish": "too_small" })).await?;
    let larger = site.until_pulses(before + 1).await?;
    ensure!(larger.number() == 3, "door {larger} is not larger than {door}");
    site.cabinet.close_door(door)?;
    site.until_door(larger, "open").await?;
    site.cabinet.set_inside(larger, true)?;
    site.cabinet.close_door(larger)?;
    site.until_shown(larger, "stored", |shown| shown["door"] == "closed" && shown["asks"] == false).await?;
    let again = site.screen()?.enter(&invited.code).await?;
    ensure!(again.body["reason"] == "used", "{again:?}");

    world.start_broker().await?;
    let stored = world.shop.until_state("A17", OrderState::Stored).await?;
    ensure!(stored.compartment == Some(larger), "{stored:?}");
    let pickup = world.shop.until_messages("A17", 2).await?;
    ensure!(pickup.kind == NotificationKind::PickupCode && pickup.compartment == Some(larger), "{pickup:?}");
    ensure!(pickup.code != invited.code && pickup.qr != invited.qr);
    ensure!(site.enter(&pickup.code).await? == larger);
    site.until_door(larger, "open").await?;
    site.cabinet.set_inside(larger, false)?;
    site.cabinet.close_door(larger)?;
    world.shop.until_state("A17", OrderState::Collected).await?;
    site.no_more_pulses()
}

#[tokio::test]
async fn what_a_customer_drops_off_is_told_to_the_backend_and_taken_out_by_staff() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1:S,2:L")).await?;
    let put = OrderPut { category: Category::Laundry, ..brought("W1", "S", DepositKind::DropOff) };
    world.shop.put(&put).await?;
    let invited = world.shop.until_notified("W1").await?;

    // The agent is killed with the door open; whoever comes back to the keypad goes on at the same door.
    let (_, door) = begin(&site, &invited.code).await?;
    site.cabinet.kill_agent().await?;
    site.start_agent().await?;
    site.until_door(door, "open").await?;
    let answer = site.screen()?.enter(&invited.code).await?;
    ensure!(answer.body["compartment"] == json!(door.number()), "{answer:?}");
    let session = answer.body["session"].as_str().context("a session")?.to_owned();
    site.cabinet.close_door(door)?;
    site.until_shown(door, "asking", |shown| shown["asks"] == true).await?;
    ensure!(world.watch.of_kind("deposited").is_empty(), "stored before anybody said so");
    site.screen()?.post("deposit", Some(&session), &json!({ "wish": "inside" })).await?;
    world.shop.until_state("W1", OrderState::Stored).await?;

    // Staff are told to take it out; no second code was sent.
    let (screen, staff) = (site.screen()?, site.session().await?);
    let listed = |view: &serde_json::Value| {
        let unwanted = view["staff"]["unwanted"].as_array().cloned().unwrap_or_default();
        unwanted.iter().any(|one| one["order"] == "shop/W1" && one["why"] == "dropped_off")
    };
    screen.until_in(Some(&staff), fleet_cli::stage::PATIENCE, "the order is listed to staff", listed).await?;
    let before = site.cabinet.pulses();
    screen.retrieve(&staff, "shop/W1").await?;
    ensure!(site.until_pulses(before + 1).await? == door);
    site.until_door(door, "open").await?;
    site.cabinet.close_door(door)?;
    world.shop.until_state("W1", OrderState::Retrieved).await?;
    ensure!(world.shop.notifications().len() == 1, "{:?}", world.shop.notifications());
    site.no_more_pulses()
}
