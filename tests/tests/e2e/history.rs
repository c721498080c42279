//! Who opened what: every opening of a door is on record with a person or a credential.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Look, World, order, until};
use schemas::ids::Role;
use schemas::messages::Compartment;
use serde_json::Value;

use crate::shell::Shell;

/// What the auditor reads of each opening, the oldest first.
async fn on_record(auditor: &Shell, count: usize) -> anyhow::Result<Vec<Value>> {
    until(&format!("{count} openings are on record"), async || {
        let answer = auditor.json(&["unlocks", "berlin-01"]).await?;
        let mut all = answer["unlocks"]["unlocks"].as_array().cloned().context("no list")?;
        all.reverse();
        Ok(Look::at((all.len() == count && all.iter().all(|one| one["outcome"] == "opened")).then_some(all), || {
            answer.to_string()
        }))
    })
    .await
}

#[tokio::test]
async fn every_opening_is_on_record_with_who_did_it_also_what_happened_offline() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let auditor = Shell::of(&world, Role::Auditor, "amy")?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    let door = site.load("shop/A17").await?;
    let code = world.shop.until_notified("A17").await?.code;

    // Collected while the fleet is away: it hears of it later.
    world.stage.stop_broker().await?;
    world.until_alone(&site).await?;
    ensure!(site.collect(&code).await? == door);
    world.start_broker().await?;
    world.until_online(&site, true).await?;
    on_record(&auditor, 2).await?;

    let empty = Compartment::new(4).context("a door")?;
    let result = world.unlock(&site, empty).await?.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    site.until_opened_remotely(empty, 3).await?;

    let all = on_record(&auditor, 3).await?;
    let told = |at: usize, field: &str| all[at][field].clone();
    ensure!(told(0, "by") == "staff:acme:sam" && told(0, "right") == "staff", "{all:?}");
    ensure!(told(1, "right") == "credential" && told(1, "order") == "shop/A17", "{all:?}");
    ensure!(told(1, "credential").as_str().is_some_and(|id| id.len() == 16), "{all:?}");
    ensure!(told(2, "by") == "operator:acme:admin" && told(2, "reason") == "test", "{all:?}");
    ensure!(told(2, "command") == serde_json::to_value(result.command)?, "{all:?}");
    ensure!([0, 1].map(|at| told(at, "compartment")) == [door.number(), door.number()].map(Value::from), "{all:?}");
    ensure!(!serde_json::to_string(&all)?.contains(&code), "the record shows a code");

    let technician = Shell::of(&world, Role::Technician, "tim")?;
    technician.fails(&["unlocks", "berlin-01"], 1, "role technician may not ask for unlock.list").await?;
    auditor.fails(&["unlocks", "nowhere"], 1, "there is no cabinet nowhere").await
}
