//! Machines whose clocks are wrong.

use std::ffi::OsString;
use std::path::Path;

use anyhow::ensure;
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{World, order};
use schemas::api::OrderState;
use schemas::messages::Category;

use crate::machine::{can_be_started_again, faketime, started_again};

/// Acceptance 17.
#[tokio::test]
async fn a_cabinet_that_boots_in_1970_serves_what_needs_no_time_and_finds_its_way_back() -> anyhow::Result<()> {
    let (true, Some(faketime)) = (can_be_started_again()?, faketime()?) else { return Ok(()) };
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let mut food = order("F1", "berlin-01", "S");
    food.category = Category::Food;
    world.shop.put(&order("R1", "berlin-01", "S")).await?;
    world.shop.put(&food).await?;
    site.load("shop/R1").await?;
    site.load("shop/F1").await?;
    let retail = world.shop.until_notified("R1").await?;
    let food = world.shop.until_notified("F1").await?;

    world.stage.stop_broker().await?;
    world.until_alone(&site).await?;
    site.cabinet.kill_agent().await?;
    site.cabinet.launch_through(machine_of_1970(&world, &faketime)?);
    site.start_agent().await?;
    let refused = site.screen()?.enter(&food.code).await?.body;
    ensure!(refused["result"] == "refused" && refused["reason"] == "time_unknown", "{refused}");
    ensure!(site.collect(&retail.code).await? == retail.compartment);

    world.start_broker().await?;
    let collected = world.shop.until_state("R1", OrderState::Collected).await?;
    ensure!(collected.time_unverified, "{collected:?}");
    ensure!(site.collect(&food.code).await? == food.compartment, "the fleet has told the time");
    let collected = world.shop.until_state("F1", OrderState::Collected).await?;
    ensure!(!collected.time_unverified, "{collected:?}");
    let log = std::fs::read_to_string(site.cabinet.log())?;
    ensure!(log.contains("1970-01-02T"), "the agent was not in 1970");
    Ok(())
}

/// Another start of the machine, with a wall clock that lost its battery; the boot clock goes on.
fn machine_of_1970(world: &World, faketime: &Path) -> anyhow::Result<Vec<OsString>> {
    let mut preload = OsString::from("LD_PRELOAD=");
    preload.push(faketime);
    let mut words = started_again(world, 1)?;
    words.extend(["env".into(), preload]);
    words.extend(["FAKETIME=@1970-01-02 03:04:05", "FAKETIME_DONT_FAKE_MONOTONIC=1"].map(OsString::from));
    Ok(words)
}
