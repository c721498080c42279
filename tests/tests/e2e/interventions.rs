//! Somebody steps in: an order is held back, handed out after all, missed by its customer, or ended.

use anyhow::ensure;
use fleet_cli::stage::{CabinetPlan, PATIENCE};
use fleet_tests::{World, order};
use schemas::api::{OrderState, RejectReason};
use schemas::ids::Role;
use serde_json::{Value, json};

use crate::shell::Shell;

#[tokio::test]
async fn an_order_in_quarantine_is_handed_out_to_nobody_until_it_is_released() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    let door = site.load("shop/A17").await?;
    let first = world.shop.until_notified("A17").await?;

    operator.json(&["order", "quarantine", "shop/A17", "--reason", "the cooling failed"]).await?;
    world.shop.until_state("A17", OrderState::Quarantined).await?;
    let session = site.session().await?;
    let listed = |view: &Value| view["staff"]["unwanted"][0]["why"] == "quarantined";
    site.screen()?.until_in(Some(&session), PATIENCE, "staff are to take it out", listed).await?;
    let refused = site.screen()?.enter(&first.code).await?;
    ensure!(refused.body["result"] == "refused", "{refused:?}");
    site.no_more_pulses()?;

    operator.json(&["order", "release", "shop/A17", "--reason", "it was a false alarm"]).await?;
    let second = world.shop.until_messages("A17", 2).await?;
    ensure!(second.code != first.code && second.compartment == Some(door));
    ensure!(site.collect(&second.code).await? == door);
    world.shop.until_state("A17", OrderState::Collected).await?;
    Ok(())
}

#[tokio::test]
async fn an_order_that_its_customer_misses_is_disputed_and_a_person_ends_it() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    let door = site.load("shop/A17").await?;
    let told = world.shop.until_notified("A17").await?;

    // Of a door that nobody has opened this says nothing.
    site.screen()?.post("not-here", None, &json!({ "compartment": door })).await?;
    ensure!(site.enter(&told.code).await? == door);
    site.until_door(door, "open").await?;
    site.screen()?.post("not-here", None, &json!({ "compartment": door })).await?;
    site.cabinet.close_door(door)?;
    world.shop.until_state("A17", OrderState::Disputed).await?;
    ensure!(world.shop.states("A17").iter().filter(|state| **state == OrderState::Disputed).count() == 1);
    ensure!(!world.shop.states("A17").contains(&OrderState::Collected));

    let ended = operator.json(&["order", "close", "shop/A17", "--end", "cancelled", "--reason", "refunded"]).await?;
    ensure!(ended["order"]["summary"]["state"] == "cancelled", "{ended}");
    let last = world.shop.until_state("A17", OrderState::Cancelled).await?;
    ensure!(last.reason == Some(RejectReason::ForceClosed), "{last:?}");
    // What is in there somebody has to see first.
    let shown = world.show(&site).await?;
    ensure!(shown.compartments.iter().any(|one| one.number == door && one.audit_required), "{shown:?}");
    site.no_more_pulses()
}
