//! A backend that is away for a while.

use anyhow::ensure;
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{World, order};
use schemas::api::{OrderState, Reply, Request};

use OrderState::{Cancelled, Collected, Collecting, Loading, Reserved, Stored};

/// Acceptance 18.
#[tokio::test]
async fn a_backend_that_was_away_gets_every_status_although_the_broker_was_killed_meanwhile() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    for id in ["A1", "A2", "A3", "A4"] {
        world.shop.put(&order(id, "berlin-01", "S")).await?;
        world.shop.until_state(id, Reserved).await?;
    }
    site.load("shop/A1").await?;
    let code = world.shop.until_notified("A1").await?.code;

    // The shop's connection ends with this broker, and it does not come back.
    world.stage.kill_broker().await?;
    world.start_broker_alone().await?;
    world.until_online(&site, true).await?;
    site.collect(&code).await?;
    site.load("shop/A2").await?;
    let cancelled = world.operator.request(&Request::OrderCancel { order: world.shop.key("A3")? }).await?;
    ensure!(!matches!(cancelled, Reply::Error(_)), "{cancelled:?}");
    site.load("shop/A4").await?;
    world.stage.kill_broker().await?;
    world.start_broker().await?;

    for (id, last) in [("A1", Collected), ("A2", Stored), ("A3", Cancelled), ("A4", Stored)] {
        world.shop.until_state(id, last).await?;
    }
    ensure!(world.shop.states("A1") == [Reserved, Loading, Stored, Collecting, Collected]);
    ensure!(world.shop.states("A2") == [Reserved, Loading, Stored]);
    ensure!(world.shop.states("A3") == [Reserved, Cancelled]);
    ensure!(world.shop.states("A4") == [Reserved, Loading, Stored]);
    let rows: Vec<u64> = world.shop.statuses().iter().map(|row| row.n).collect();
    ensure!(rows.iter().copied().eq(1..=rows.len() as u64), "{rows:?}");
    for id in ["A2", "A4"] {
        world.shop.until_notified(id).await?;
    }
    Ok(())
}
