//! Several orders in one compartment, with real processes.

use anyhow::ensure;
use fleet_cli::stage::CabinetPlan;
use fleet_tests::World;
use schemas::api::OrderState;
use schemas::ids::Role;
use serde_json::json;

use crate::shell::Shell;

/// Staff put the second order of a customer beside the first one, in the only compartment that there is. Its code opens the door
/// while the fleet is away, and both are collected; the other code is used up with it.
#[tokio::test]
async fn two_orders_of_one_customer_lie_in_one_compartment_and_are_collected_together() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut plan = CabinetPlan::new("berlin-01", "1-1:M");
    plan.sensors = vec![(1, 1, 21)];
    let site = world.cabinet(plan).await?;
    let shell = Shell::of(&world, Role::Operator, "admin")?;
    let put = ["order", "put", "--cabinet", "berlin-01", "--size", "M", "--shares"];
    for order in ["A1", "A2"] {
        shell.json(&[&put[..], &["customer-4711", &format!("shop/{order}")]].concat()).await?;
        world.shop.until_state(order, OrderState::Reserved).await?;
    }
    shell.fails(&[&put[..], &["customer-4712", "shop/B1"]].concat(), 1, "no_fitting_compartment").await?;

    let door = site.open_for("shop/A1").await?;
    site.cabinet.set_inside(door, true)?;
    site.cabinet.close_door(door)?;
    let first = world.shop.until_notified("A1").await?;
    ensure!(site.open_for("shop/A2").await? == door);
    site.cabinet.close_door(door)?;
    site.until_door(door, "closed").await?;
    // The sensor sees the first one: only staff know of the second.
    site.confirm(door, true).await?;
    let second = world.shop.until_notified("A2").await?;
    ensure!(first.code != second.code && second.compartment == Some(door), "{second:?}");
    let seen = shell.json(&["cabinet", "show", "berlin-01"]).await?;
    let inside = &seen["cabinet"]["compartments"][0];
    ensure!(inside["order"] == "shop/A2" && inside["beside"] == json!(["shop/A1"]), "{seen}");

    site.cabinet.until_book_held(&world.operator).await?;
    world.stage.kill_broker().await?;
    let before = site.cabinet.pulses();
    let answer = site.screen()?.enter(&first.code).await?;
    ensure!(answer.body["compartments"] == json!([door]), "{answer:?}");
    site.until_pulses(before + 1).await?;
    site.until_door(door, "open").await?;
    site.cabinet.set_inside(door, false)?;
    site.cabinet.close_door(door)?;
    site.until_door(door, "closed").await?;
    let refused = site.screen()?.enter(&second.code).await?;
    ensure!(refused.body["reason"] == "used", "{refused:?}");
    world.start_broker().await?;
    for order in ["A1", "A2"] {
        world.shop.until_state(order, OrderState::Collected).await?;
    }
    site.no_more_pulses()
}
