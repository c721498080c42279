//! An integration that runs wild meets its limits; the others do not notice.

use anyhow::ensure;
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Shop, World, order};
use schemas::api::{OrderState, RejectReason};
use schemas::ids::Role;

use crate::shell::Shell;

#[tokio::test]
async fn an_integration_at_its_limit_is_told_so_and_delays_nobody() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let _site = world.cabinet(CabinetPlan::new("berlin-01", "1-8:S")).await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    let set = operator.json(&["integration", "quota", "shop", "--orders-per-minute", "2"]).await?;
    ensure!(set["quota"]["own"] == true && set["quota"]["limits"]["orders_per_minute"] == 2, "{set}");
    // The limits are the fleet's, not the process's.
    world.stage.stop_broker().await?;
    world.start_broker().await?;

    let mut kiosk = Shop::connect(&world.stage, "kiosk").await?;
    for number in 0..200 {
        world.shop.put(&order(&format!("A{number}"), "berlin-01", "S")).await?;
    }
    // All of these are told, while another one gets what it asks for.
    kiosk.put(&order("B1", "berlin-01", "S")).await?;
    kiosk.until_state("B1", OrderState::Reserved).await?;
    let last = world.shop.until_state("A199", OrderState::Rejected).await?;
    ensure!(last.reason == Some(RejectReason::Quota), "{last:?}");
    let taken = world.shop.statuses().iter().filter(|status| status.state == OrderState::Reserved).count();
    // Two at once, and one for each half minute that this has taken.
    ensure!((2..6).contains(&taken), "{taken} orders were taken");
    let shown = operator.json(&["integration", "quota", "shop"]).await?;
    ensure!(shown["quota"]["orders_refused"] == 200 - taken, "{shown}");
    ensure!(shown["quota"]["open_orders"] == taken, "{shown}");
    let other = operator.json(&["integration", "quota", "kiosk"]).await?;
    ensure!(other["quota"]["orders_refused"] == 0 && other["quota"]["own"] == false, "{other}");

    operator.json(&["integration", "quota", "shop", "--default"]).await?;
    world.shop.put(&order("A199", "berlin-01", "S")).await?;
    world.shop.until_state("A199", OrderState::Reserved).await?;
    // It is the operator's to say.
    let support = Shell::of(&world, Role::Support, "sue")?;
    support.fails(&["integration", "quota", "shop", "--default"], 1, "may not ask for integration.quota").await
}
