//! One credential for several orders, with real processes.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Shop, World, order};
use schemas::api::{NotificationKind, OrderState};
use schemas::messages::Compartment;
use schemas::topics::{OrderChange, Topic};
use serde_json::json;

/// Acceptance 6, with one more order at another cabinet: a delivery platform gets the credential, and the driver opens four
/// doors, one behind another. He takes three; of the others one stays by the sensor's word and one, where there is no sensor, by his own.
#[tokio::test]
async fn a_driver_takes_three_of_four_orders_and_what_stays_opens_with_the_same_credential() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut plan = CabinetPlan::new("berlin-01", "1-5:S");
    plan.sensors = vec![(1, 1, 21), (2, 1, 22)];
    let site = world.cabinet(plan).await?;
    let other = world.cabinet(CabinetPlan::new("berlin-02", "1-2:S")).await?;
    let mut platform = Shop::connect(&world.stage, "rides").await?;

    let run = ["A1", "A2", "A3", "A4"];
    for id in run {
        world.shop.put(&order(id, "berlin-01", "S")).await?;
    }
    world.shop.put(&order("B1", "berlin-02", "S")).await?;
    world.shop.until_state("B1", OrderState::Reserved).await?;
    let tenant = world.operator.identity().tenant.clone();
    let topic = Topic::OrderChange { tenant, integration: "shop".parse()?, change: OrderChange::Bundle };
    let bundle = json!({ "bundle": "run-7", "orders": ["A1", "A2", "A3", "A4", "B1"], "deliver_to": "rides" });
    world.shop.client().publish(&topic, bundle.to_string().into_bytes()).await?;
    let mut doors = Vec::new();
    for id in run {
        let door = site.open_for(&format!("shop/{id}")).await?;
        if door.number() <= 2 {
            site.cabinet.set_inside(door, true)?;
        }
        site.cabinet.close_door(door)?;
        if door.number() > 2 {
            site.confirm(door, true).await?;
        }
        world.shop.until_state(id, OrderState::Stored).await?;
        doors.push(door);
    }
    ensure!(platform.notifications().is_empty(), "announced although one order is not inside");
    other.load("shop/B1").await?;
    let told = platform.until_notified("A1").await?;
    ensure!(told.kind == NotificationKind::BundleCode && told.doors.len() == 5, "{told:?}");
    ensure!(world.shop.notifications().is_empty(), "the shop does not deliver this one");

    let before = site.cabinet.pulses();
    let answer = site.screen()?.enter(&told.qr).await?;
    ensure!(answer.body["compartments"] == json!([1, 2, 3, 4]), "{answer:?}");
    site.until_pulses(before + 4).await?;
    let pulses = site.cabinet.board().pulses();
    for pair in pulses.get(before..).context("pulses")?.windows(2) {
        let [first, second] = pair else { continue };
        ensure!(second.at - first.at >= Duration::from_millis(450), "two locks draw their current at once: {pulses:?}");
    }
    for door in &doors {
        site.until_door(*door, "open").await?;
    }
    let (by_sensor, by_word) = (doors[0], doors[3]);
    site.screen()?.post("not-taken", None, &json!({ "compartment": by_word })).await?;
    for door in &doors[1..] {
        if door.number() == 2 {
            site.cabinet.set_inside(*door, false)?;
        }
    }
    for door in &doors {
        site.cabinet.close_door(*door)?;
    }
    for id in ["A2", "A3"] {
        world.shop.until_state(id, OrderState::Collected).await?;
    }
    for (id, door) in [("A1", by_sensor), ("A4", by_word)] {
        world
            .watch
            .until("it was left inside", |event| event.kind == "not_taken" && event.compartment == Some(door))
            .await?;
        world.shop.until_state(id, OrderState::Collecting).await?;
        ensure!(world.shop.until_state(id, OrderState::Stored).await?.bundle.is_some());
    }

    let before = site.cabinet.pulses();
    let answer = site.screen()?.enter(&told.code).await?;
    ensure!(answer.body["compartments"] == json!([1, 4]), "exactly what stayed: {answer:?}");
    site.until_pulses(before + 2).await?;
    for door in [by_sensor, by_word] {
        site.until_door(door, "open").await?;
        if door == by_sensor {
            site.cabinet.set_inside(door, false)?;
        }
        site.cabinet.close_door(door)?;
    }
    other.collect(&told.qr).await?;
    for id in ["A1", "A4", "B1"] {
        world.shop.until_state(id, OrderState::Collected).await?;
    }
    let refused = site.screen()?.enter(&told.qr).await?;
    ensure!(refused.body["reason"] == "used", "{refused:?}");
    site.no_more_pulses()?;
    ensure!(platform.notifications().len() == 1, "what the driver took is no news to him");
    ensure!(Compartment::new(5).is_some_and(|free| !doors.contains(&free)));
    Ok(())
}
