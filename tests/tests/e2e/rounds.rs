//! Staff on their round through the compartments of a real cabinet.

use anyhow::ensure;
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{World, order};
use schemas::api::{LiveEvent, OrderState};
use schemas::messages::Compartment;
use serde_json::json;

#[tokio::test]
async fn an_order_that_staff_miss_is_disputed_and_good_again_once_it_is_loaded() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-3:S")).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    let door = site.load("shop/A17").await?;
    let notification = world.shop.until_notified("A17").await?;

    let before = site.cabinet.pulses();
    let session = site.session().await?;
    site.screen()?.post("look", Some(&session), &json!({ "compartment": door })).await?;
    ensure!(site.until_pulses(before + 1).await? == door);
    site.until_door(door, "open").await?;
    site.cabinet.close_door(door)?;
    site.confirm(door, false).await?;
    world.shop.until_state("A17", OrderState::Disputed).await?;
    site.until_free(door).await?;
    let refused = site.screen()?.enter(&notification.code).await?;
    ensure!(refused.body["reason"] == "missing", "{refused:?}");
    ensure!(world.show(&site).await?.compartments.iter().all(|one| one.order.is_none() && !one.audit_required));

    site.load("shop/A17").await?;
    world.shop.until_state("A17", OrderState::Stored).await?;
    site.collect(&notification.code).await?;
    world.shop.until_state("A17", OrderState::Collected).await?;
    ensure!(world.shop.notifications().len() == 1, "the code that the customer had is good again");
    Ok(())
}

#[tokio::test]
async fn in_an_emergency_every_door_opens_and_orders_are_looked_at_afterwards() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-3:S")).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    let door = site.load("shop/A17").await?;
    world.shop.until_notified("A17").await?;

    let session = site.session().await?;
    let stray = site.screen()?.post("open-all", Some(&session), &json!({ "confirm": "" })).await?;
    ensure!(stray.status == 400, "{stray:?}");
    site.screen()?.post("open-all", Some(&session), &json!({ "confirm": "open all doors" })).await?;
    let doors: Vec<Compartment> = (1..=3).filter_map(Compartment::new).collect();
    for at in &doors {
        site.until_door(*at, "open").await?;
    }
    doors.iter().try_for_each(|at| site.cabinet.close_door(*at))?;
    for at in &doors {
        site.confirm(*at, *at == door).await?;
    }
    world.watch.until("the fleet hears of the emergency", |event| event.kind == "emergency_opened").await?;
    for at in &doors {
        let looked = |event: &LiveEvent| event.kind == "audited" && event.compartment == Some(*at);
        let seen = world.watch.until("staff have looked", looked).await?;
        ensure!(seen.order.is_some() == (*at == door), "{seen:?}");
    }
    ensure!(world.show(&site).await?.compartments.iter().all(|one| !one.audit_required));
    Ok(())
}
