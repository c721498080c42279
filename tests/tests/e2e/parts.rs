//! One order in several compartments, with real processes.

use anyhow::ensure;
use fleet_cli::stage::CabinetPlan;
use fleet_tests::World;
use schemas::api::{NotificationKind, OrderState};
use schemas::ids::Role;
use serde_json::json;

use crate::shell::Shell;

/// Staff load both parts, the customer opens both doors with one code while the fleet is away, and leaves one of them for later.
#[tokio::test]
async fn a_customer_collects_an_order_in_two_compartments_with_one_code_and_without_a_network() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut plan = CabinetPlan::new("berlin-01", "1-3:S");
    plan.sensors = vec![(1, 1, 21), (2, 1, 22)];
    let site = world.cabinet(plan).await?;
    let shell = Shell::of(&world, Role::Operator, "admin")?;
    let put = ["order", "put", "shop/A17", "--cabinet", "berlin-01", "--size", "S", "--more"];
    shell.fails(&[&put[..], &["S,S,S"]].concat(), 1, "no_fitting_compartment").await?;
    let other = ["order", "put", "shop/A18", "--cabinet", "berlin-01", "--size", "S", "--more", "S"];
    shell.json(&other).await?;
    world.shop.until_state("A18", OrderState::Reserved).await?;

    let mut doors = Vec::new();
    for part in ["shop/A18", "shop/A18.2"] {
        let door = site.open_for(part).await?;
        site.cabinet.set_inside(door, true)?;
        site.cabinet.close_door(door)?;
        doors.push(door);
    }
    let stored = world.shop.until_state("A18", OrderState::Stored).await?;
    ensure!(stored.parts.len() == 2 && stored.bundle.is_none(), "{stored:?}");
    let told = world.shop.until_notified("A18").await?;
    ensure!(told.kind == NotificationKind::PickupCode && told.doors.len() == 2, "{told:?}");
    ensure!(world.shop.notifications().len() == 1, "one message for one order");
    let shown = shell.json(&["order", "show", "shop/A18"]).await?;
    ensure!(shown["order"]["parts"].as_array().is_some_and(|parts| parts.len() == 2), "{shown}");

    site.cabinet.until_book_held(&world.operator).await?;
    world.stage.kill_broker().await?;
    let before = site.cabinet.pulses();
    let answer = site.screen()?.enter(&told.code).await?;
    ensure!(answer.body["compartments"] == json!(doors), "{answer:?}");
    site.until_pulses(before + 2).await?;
    for door in &doors {
        site.until_door(*door, "open").await?;
    }
    site.cabinet.set_inside(doors[1], false)?;
    for door in &doors {
        site.cabinet.close_door(*door)?;
        site.until_door(*door, "closed").await?;
    }
    world.start_broker().await?;
    let left = world.shop.until_state("A18", OrderState::PartlyCollected).await?;
    ensure!(left.parts.iter().map(|part| part.state).eq([OrderState::Stored, OrderState::Collected]), "{left:?}");

    let before = site.cabinet.pulses();
    let answer = site.screen()?.enter(&told.qr).await?;
    ensure!(answer.body["compartments"] == json!([doors[0]]), "what is left of it: {answer:?}");
    site.until_pulses(before + 1).await?;
    site.until_door(doors[0], "open").await?;
    site.cabinet.set_inside(doors[0], false)?;
    site.cabinet.close_door(doors[0])?;
    world.shop.until_state("A18", OrderState::Collected).await?;
    let refused = site.screen()?.enter(&told.code).await?;
    ensure!(refused.body["reason"] == "used", "{refused:?}");
    ensure!(world.shop.notifications().len() == 1);
    site.no_more_pulses()
}
