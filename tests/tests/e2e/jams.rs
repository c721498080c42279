//! A door that does not open although its lock was pulsed.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{World, order};
use schemas::api::OrderState;
use serde_json::json;
use sim_board::LockFault;

#[tokio::test]
async fn a_door_that_jams_is_tried_three_times_and_then_staff_are_called() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-3:S")).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    let door = site.load("shop/A17").await?;
    let told = world.shop.until_notified("A17").await?;
    let (board, lock) = site.cabinet.place(door)?;
    let fault = |fault| site.cabinet.board().set_lock_fault(board, lock, fault).map_err(anyhow::Error::msg);
    fault(LockFault::Stuck)?;

    let mut heard = site.listen().await?;
    let again = async || site.screen()?.post("again", None, &json!({ "compartment": door })).await;
    ensure!(site.enter(&told.code).await? == door);
    for attempt in [1, 2] {
        let said = site.until_said("push_door", &mut heard).await?;
        ensure!(said["compartment"] == door.number() && said["attempt"] == attempt, "{said}");
        let before = site.cabinet.pulses();
        again().await?;
        ensure!(site.until_pulses(before + 1).await? == door);
    }
    let said = site.until_said("call_staff", &mut heard).await?;
    ensure!(said["compartment"] == door.number() && said["order"] == "shop/A17", "{said}");
    world.watch.until("the fleet hears of the door", |event| event.kind == "door_fault").await?;

    // A fourth press moves no lock. The order is still its customer's: the code is a new use, and now the door moves.
    again().await?;
    let shown = world.show(&site).await?;
    let shown = shown.compartments.iter().find(|one| one.number == door).context("the compartment")?;
    ensure!(shown.order == Some(world.shop.key("A17")?), "{shown:?}");
    site.no_more_pulses()?;
    fault(LockFault::None)?;
    ensure!(site.collect(&told.code).await? == door);
    world.shop.until_state("A17", OrderState::Collected).await?;
    let refused = site.screen()?.enter(&told.code).await?;
    ensure!(refused.body["result"] == "refused", "{refused:?}");
    site.no_more_pulses()
}
