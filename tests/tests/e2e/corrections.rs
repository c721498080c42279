//! What staff put right: a door that is too small, one that was closed too early, a mistake, two orders that were mixed up, and a
//! compartment that has to be cleaned.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Site, World, order};
use schemas::api::OrderState;
use schemas::messages::Compartment;
use serde_json::{Value, json};

/// Presses something in the session of staff, after which this many locks are pulsed; the door of the last one.
async fn press(site: &Site, path: &str, body: Value, pulses: usize) -> anyhow::Result<Compartment> {
    let before = site.cabinet.pulses();
    let answer = site.screen()?.post(path, Some(&site.session().await?), &body).await?;
    ensure!(answer.status.is_success(), "{path}: {answer:?}");
    let door = site.until_pulses(before + pulses).await?;
    site.until_door(door, "open").await?;
    Ok(door)
}

#[tokio::test]
async fn a_door_that_is_too_small_and_one_that_was_closed_too_early_cost_no_order() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S,3:M")).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    let small = site.open_for("shop/A17").await?;
    site.cabinet.close_door(small)?;
    site.until_door(small, "closed").await?;
    ensure!(
        press(&site, "load", json!({ "order": "shop/A17", "larger": false }), 1).await? == small,
        "the same once more"
    );
    let large = press(&site, "load", json!({ "order": "shop/A17", "larger": true }), 1).await?;
    ensure!(large.number() == 3, "{large} instead of the only one that is larger");
    site.cabinet.close_door(small)?;
    site.cabinet.close_door(large)?;
    site.confirm(large, true).await?;
    let told = world.shop.until_notified("A17").await?;
    ensure!(told.compartment == Some(large));
    site.until_free(small).await?;
    ensure!(site.collect(&told.code).await? == large);
    world.shop.until_state("A17", OrderState::Collected).await?;
    Ok(())
}

#[tokio::test]
async fn orders_that_were_mixed_up_are_exchanged_and_a_mistake_is_undone() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-3:S")).await?;
    let mut doors = Vec::new();
    for id in ["A1", "A2"] {
        world.shop.put(&order(id, "berlin-01", "S")).await?;
        doors.push(site.load(&format!("shop/{id}")).await?);
        world.shop.until_notified(id).await?;
    }
    press(&site, "swap", json!({ "one": doors[0], "other": doors[1] }), 2).await?;
    for door in &doors {
        site.until_door(*door, "open").await?;
        site.cabinet.close_door(*door)?;
    }
    site.until_shown(doors[1], "exchanging", |shown| shown["swaps_with"] == json!(doors[0])).await?;
    site.until_door(doors[1], "closed").await?;
    let session = site.session().await?;
    site.screen()?.post("confirm-swap", Some(&session), &json!({ "compartment": doors[0], "swapped": true })).await?;
    site.until_shown(doors[0], "exchanged", |shown| shown["swaps_with"].is_null()).await?;
    let code = world.shop.until_notified("A1").await?.code;
    ensure!(site.collect(&code).await? == doors[1], "A1 is where A2 was");

    world.shop.put(&order("A3", "berlin-01", "S")).await?;
    let door = site.load("shop/A3").await?;
    let first = world.shop.until_notified("A3").await?.code;
    ensure!(press(&site, "undo", json!({ "order": "shop/A3" }), 1).await? == door);
    site.cabinet.close_door(door)?;
    world.shop.until_state("A3", OrderState::Ready).await?;
    let refused = site.screen()?.enter(&first).await?;
    ensure!(refused.body["result"] == "refused", "{refused:?}");
    site.until_free(door).await?;
    let door = site.load("shop/A3").await?;
    let code = world.shop.until_messages("A3", 2).await?.code;
    ensure!(code != first, "the code of what was undone");
    ensure!(site.collect(&code).await? == door);
    world.shop.until_state("A3", OrderState::Collected).await?;
    Ok(())
}

#[tokio::test]
async fn a_compartment_that_has_to_be_cleaned_takes_no_order_until_somebody_says_that_it_is() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1:S")).await?;
    let session = site.session().await?;
    let word = async |needed: bool| {
        site.screen()?.post("cleaning", Some(&session), &json!({ "compartment": 1, "needed": needed })).await
    };
    word(true).await?;
    world.watch.until("the fleet hears that it is dirty", |event| event.kind == "cleaning").await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    world.shop.until_state("A17", OrderState::Rejected).await?;
    word(false).await?;
    fleet_tests::until("it is clean", async || {
        let shown = world.show(&site).await?;
        let clean = shown.compartments.iter().all(|one| !one.needs_cleaning);
        Ok(fleet_tests::Look::at(clean.then_some(()), || "still dirty".into()))
    })
    .await?;
    world.shop.put(&order("A18", "berlin-01", "S")).await?;
    site.load("shop/A18").await?;
    world.shop.until_state("A18", OrderState::Stored).await?;
    Ok(())
}

#[tokio::test]
async fn a_door_is_taken_out_of_service_and_opened_with_a_key_without_an_alarm() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1:S")).await?;
    let (session, door) = (site.session().await?, Compartment::new(1).context("a door")?);
    let post = async |path: &str, body: Value| -> anyhow::Result<()> {
        let answer = site.screen()?.post(path, Some(&session), &body).await?;
        ensure!(answer.status.is_success(), "{path}: {answer:?}");
        Ok(())
    };
    post("service", json!({ "compartment": 1, "in_service": false })).await?;
    world.watch.until("the fleet hears that it is out of service", |event| event.kind == "service").await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    world.shop.until_state("A17", OrderState::Rejected).await?;

    post("maintenance", json!({ "minutes": 30 })).await?;
    site.cabinet.board().pry(1, 1).map_err(anyhow::Error::msg)?;
    world.watch.until("opened with a key", |event| event.kind == "door_opened").await?;
    site.cabinet.close_door(door)?;
    site.until_door(door, "closed").await?;
    post("confirm", json!({ "compartment": 1, "inside": false })).await?;
    post("maintenance", json!({ "minutes": 0 })).await?;
    post("service", json!({ "compartment": 1, "in_service": true })).await?;
    site.cabinet.board().pry(1, 1).map_err(anyhow::Error::msg)?;
    world.watch.until("the work is over", |event| event.kind == "door_forced").await?;
    Ok(())
}
