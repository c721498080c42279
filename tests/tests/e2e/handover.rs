//! From an order on a topic to an empty compartment.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{World, order};
use schemas::api::OrderState;
use schemas::messages::Compartment;

#[tokio::test]
async fn a_loaded_order_is_stored_and_its_code_is_sent_once() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S,5-8:M,9:L")).await?;
    world.shop.put(&order("A17", "berlin-01", "M")).await?;
    let reserved = world.shop.until_state("A17", OrderState::Reserved).await?;

    let door = site.open_for("shop/A17").await?;
    ensure!((5..=8).contains(&door.number()) && reserved.compartment == Some(door), "{door}, {reserved:?}");
    site.cabinet.close_door(door)?;
    site.until_shown(door, "asking", |shown| shown["asks"] == true).await?;
    ensure!(world.watch.of_kind("stored").is_empty(), "stored before anybody said so");
    site.confirm(door, true).await?;

    let stored = world.shop.until_state("A17", OrderState::Stored).await?;
    ensure!(stored.compartment == Some(door), "{stored:?}");
    let notification = world.shop.until_notified("A17").await?;
    ensure!(notification.compartment == Some(door) && notification.place.contains("Market Square"), "{notification:?}");
    ensure!(notification.instruction.contains(&door.to_string()), "{}", notification.instruction);
    ensure!(notification.at >= stored.at, "the code went out before the order was stored");
    let states =
        [OrderState::Created, OrderState::Ready, OrderState::Reserved, OrderState::Loading, OrderState::Stored];
    let seen = world.shop.states("A17");
    ensure!(states.ends_with(&seen) || seen == states, "{seen:?}");

    // The next row of the stream is that of the next order: there was no second one for this.
    world.shop.put(&order("A18", "berlin-01", "S")).await?;
    site.load("shop/A18").await?;
    ensure!(world.shop.until_notified("A18").await?.n == 2);
    ensure!(world.shop.notifications().len() == 2);
    Ok(())
}

#[tokio::test]
async fn a_sensor_decides_whether_something_was_loaded() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut plan = CabinetPlan::new("berlin-01", "1-2:S");
    plan.sensors = vec![(1, 1, 21), (2, 1, 22)];
    let site = world.cabinet(plan).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;

    let door = site.open_for("shop/A17").await?;
    site.cabinet.close_door(door)?;
    site.until_shown(door, "asking", |shown| shown["asks"] == true && shown["occupancy"] == "empty").await?;
    site.confirm(door, false).await?;
    site.until_free(door).await?;
    ensure!(world.watch.of_kind("stored").is_empty() && world.shop.notifications().is_empty());

    let door = site.open_for("shop/A17").await?;
    site.cabinet.set_inside(door, true)?;
    site.cabinet.close_door(door)?;
    let notification = world.shop.until_notified("A17").await?;
    ensure!(notification.n == 1 && notification.compartment == Some(door), "{notification:?}");

    // Taken out by the customer, whose door closes on an empty compartment.
    site.enter(&notification.code).await?;
    site.until_door(door, "open").await?;
    site.cabinet.set_inside(door, false)?;
    site.cabinet.close_door(door)?;
    world.shop.until_state("A17", OrderState::Collected).await?;
    Ok(())
}

#[tokio::test]
async fn a_code_opens_its_door_and_no_other_and_only_once() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut plan = CabinetPlan::new("berlin-01", "1-60:S,61-90:M,91-100:L");
    plan.boards = vec![(1, 50), (2, 50)];
    let site = world.cabinet(plan).await?;
    for (id, size) in [("A17", "L"), ("A18", "S"), ("A19", "M")] {
        world.shop.put(&order(id, "berlin-01", size)).await?;
        site.load(&format!("shop/{id}")).await?;
    }
    let notification = world.shop.until_notified("A17").await?;
    ensure!(notification.code.len() == 8, "a code of {} digits for 100 compartments", notification.code.len());
    ensure!(notification.compartment.is_some_and(|door| door.number() > 90), "{notification:?}");

    let door = site.enter(&notification.code).await?;
    ensure!(
        Some(door) == notification.compartment,
        "the code of door {:?} opened door {door}",
        notification.compartment
    );
    site.until_door(door, "open").await?;
    ensure!(!world.shop.states("A17").contains(&OrderState::Collected), "collected before the door closed");
    site.cabinet.close_door(door)?;
    let collected = world.shop.until_state("A17", OrderState::Collected).await?;
    ensure!(collected.compartment == Some(door) && !collected.time_unverified, "{collected:?}");

    let again = site.screen()?.enter(&notification.code).await?;
    ensure!(again.body["result"] == "refused", "{again:?}");
    let scanned = site.screen()?.enter(&notification.qr).await?;
    ensure!(scanned.body["result"] == "refused", "{scanned:?}");
    site.no_more_pulses()?;

    // The neighbours kept theirs; a scanned code opens as well as a typed one.
    for id in ["A18", "A19"] {
        let notification = world.shop.until_notified(id).await?;
        ensure!(Some(site.collect(&notification.qr).await?) == notification.compartment);
        world.shop.until_state(id, OrderState::Collected).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_staff_take_back_frees_the_compartment_and_kills_the_code() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1:S")).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    let door = site.load("shop/A17").await?;
    let notification = world.shop.until_notified("A17").await?;

    let before = site.cabinet.pulses();
    site.screen()?.retrieve(&site.session().await?, "shop/A17").await?;
    site.until_pulses(before + 1).await?;
    site.until_door(door, "open").await?;
    let refused = site.screen()?.enter(&notification.code).await?;
    ensure!(refused.body["result"] == "refused", "{refused:?}");
    site.cabinet.close_door(door)?;
    let retrieved = world.shop.until_state("A17", OrderState::Retrieved).await?;
    ensure!(retrieved.compartment == Some(door), "{retrieved:?}");
    site.until_free(door).await?;
    site.no_more_pulses()?;

    world.shop.put(&order("A18", "berlin-01", "S")).await?;
    ensure!(world.shop.until_state("A18", OrderState::Reserved).await?.compartment == Some(door));
    Ok(())
}

#[tokio::test]
async fn the_last_compartment_goes_to_one_of_two_backends() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let _site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S,3:L")).await?;
    let mut other = fleet_tests::Shop::connect(&world.stage, "other").await?;
    let (mine, theirs) = (order("A17", "berlin-01", "L"), order("B1", "berlin-01", "L"));
    let (first, second) = tokio::join!(world.shop.put(&mine), other.put(&theirs));
    first.and(second)?;

    let (a, b) = (world.shop.until_decided("A17").await?, other.until_decided("B1").await?);
    let (won, lost) = if a.state == OrderState::Reserved { (a, b) } else { (b, a) };
    ensure!(won.state == OrderState::Reserved && won.compartment == Compartment::new(3), "{won:?}");
    ensure!(lost.state == OrderState::Rejected, "{lost:?}");
    let reason = lost.reason.context("a rejection without a reason")?;
    ensure!(reason.as_str() == "no_fitting_compartment", "{reason}");
    Ok(())
}
