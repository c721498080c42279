//! Machines whose clocks are wrong.

use std::ffi::OsString;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Look, World, order, until};
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
    ensure!(Some(site.collect(&retail.code).await?) == retail.compartment);

    world.start_broker().await?;
    let collected = world.shop.until_state("R1", OrderState::Collected).await?;
    ensure!(collected.time_unverified, "{collected:?}");
    ensure!(Some(site.collect(&food.code).await?) == food.compartment, "the fleet has told the time");
    let collected = world.shop.until_state("F1", OrderState::Collected).await?;
    ensure!(!collected.time_unverified, "{collected:?}");
    let log = std::fs::read_to_string(site.cabinet.log())?;
    ensure!(log.contains("1970-01-02T"), "the agent was not in 1970");
    Ok(())
}

/// The wall clock of the broker's machine jumps by ten years and back: nobody is shut out, and no time is told that is not.
#[tokio::test]
async fn a_fleet_whose_wall_clock_jumps_ten_years_goes_on_by_its_own_time() -> anyhow::Result<()> {
    let Some(faketime) = faketime()? else { return Ok(()) };
    let mut world = World::start().await?;
    let jump = world.stage.folder().join("jump");
    std::fs::write(&jump, "+0\n")?;
    world.stage.stop_broker().await?;
    world.stage.launch_broker_through(machine_with_clock_of(&jump, &faketime));
    world.start_broker().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    for (id, by) in [("A1", "+10y"), ("A2", "-10y")] {
        std::fs::write(&jump, format!("{by}\n"))?;
        let fleet_log = world.stage.log("broker");
        let alarms = if by.starts_with('+') { "ahead=true" } else { "ahead=false" };
        site.cabinet.stop_agent().await?;
        site.start_agent().await?;
        site.cabinet.until_online().await?;
        world.shop.reconnect(&world.stage).await?;
        world.shop.put(&order(id, "berlin-01", "S")).await?;
        site.load(&format!("shop/{id}")).await?;
        let code = world.shop.until_notified(id).await?;
        site.collect(&code.code).await?;
        let collected = world.shop.until_state(id, OrderState::Collected).await?;
        ensure!(!collected.time_unverified && is_now(collected.at.0), "{collected:?}");
        ensure!(world.shop.statuses().iter().all(|status| is_now(status.at.0)), "{:?}", world.shop.statuses());
        let log = std::fs::read_to_string(fleet_log)?;
        ensure!(log.contains("the wall clock has jumped") && log.contains(alarms), "{log}");
        std::fs::write(&jump, "+0\n")?;
        until("the wall clock is believed again", async || {
            let log = std::fs::read_to_string(world.stage.log("broker"))?;
            let back = log.rfind("believed again") > log.rfind("has jumped");
            Ok(Look::at(back.then_some(()), || "it is not".to_owned()))
        })
        .await?;
    }
    Ok(())
}

/// Within the time that a test may take, and nowhere near a jump.
fn is_now(millis: u64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    now.abs_diff(u128::from(millis)) < 3_600_000
}

/// What the wall clock is off by stands in a file and is read each time.
fn machine_with_clock_of(file: &Path, faketime: &Path) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["env".into()];
    words.push(setting("LD_PRELOAD=", faketime));
    words.push(setting("FAKETIME_TIMESTAMP_FILE=", file));
    words.extend(["FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"].map(OsString::from));
    words
}

/// Another start of the machine, with a wall clock that lost its battery; the boot clock goes on.
fn machine_of_1970(world: &World, faketime: &Path) -> anyhow::Result<Vec<OsString>> {
    let mut words = started_again(world, 1)?;
    words.extend(["env".into(), setting("LD_PRELOAD=", faketime)]);
    words.extend(["FAKETIME=@1970-01-02 03:04:05", "FAKETIME_DONT_FAKE_MONOTONIC=1"].map(OsString::from));
    Ok(words)
}

fn setting(name: &str, path: &Path) -> OsString {
    let mut word = OsString::from(name);
    word.push(path);
    word
}
