//! Processes that are killed at bad moments.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{CabinetPlan, Verdict};
use fleet_tests::{World, order};
use schemas::api::{OrderState, Request, RequestErrorCode};
use schemas::messages::{Compartment, Down, UnlockOutcome};

#[tokio::test]
async fn a_broker_killed_while_staff_load_loses_nothing() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    let door = site.open_for("shop/A17").await?;
    world.stage.kill_broker().await?;
    world.until_alone(&site).await?;
    site.cabinet.close_door(door)?;
    site.confirm(door, true).await?;

    world.start_broker().await?;
    let stored = world.shop.until_state("A17", OrderState::Stored).await?;
    ensure!(stored.compartment == Some(door) && !stored.time_unverified, "{stored:?}");
    let notification = world.shop.until_notified("A17").await?;
    ensure!(site.collect(&notification.code).await? == door);
    world.shop.until_state("A17", OrderState::Collected).await?;
    let stored = world.shop.states("A17").into_iter().filter(|state| *state == OrderState::Stored).count();
    ensure!(stored == 1 && world.shop.notifications().len() == 1, "{:?}", world.shop.states("A17"));
    Ok(())
}

#[tokio::test]
async fn a_broker_killed_during_an_unlock_opens_nothing_later() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet_behind_carrier(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    site.carrier()?.rule(|down| if matches!(down, Down::Command(_)) { Verdict::Drop } else { Verdict::Pass });
    let (lost, opened) = (Compartment::new(1).unwrap(), Compartment::new(2).unwrap());
    let cabinet = site.cabinet.id().clone();
    let request = Request::Unlock { cabinet: cabinet.clone(), compartment: lost, reason: "test".to_owned() };
    let (asked, killed) = tokio::join!(world.operator.request(&request), async {
        site.carrier()?.until_commands(1).await?;
        world.stage.kill_broker().await
    });
    killed?;
    ensure!(asked.is_err(), "{asked:?}");
    site.carrier()?.rule(|_| Verdict::Pass);
    world.start_broker().await?;
    world.until_online(&site, true).await?;

    // And once more, killed after the pulse: what was done is not done again.
    let request = Request::Unlock { cabinet, compartment: opened, reason: "test".to_owned() };
    let (asked, killed) = tokio::join!(world.operator.request(&request), async {
        site.cabinet.until_pulsed(opened, 1).await?;
        world.stage.kill_broker().await
    });
    killed?;
    // The outcome may have come before the kill.
    drop(asked);
    world.start_broker().await?;
    world.until_online(&site, true).await?;
    site.cabinet.close_door(opened)?;
    site.until_door(opened, "closed").await?;
    let result = world.unlock(&site, lost).await?.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    ensure!(result.outcome == UnlockOutcome::Opened, "{result:?}");
    site.until_opened_remotely(lost, 2).await
}

#[tokio::test]
async fn without_its_signer_the_fleet_says_so_and_recovers() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    world.shop.until_decided("A17").await?;
    let door = Compartment::new(4).unwrap();
    world.stage.kill_signer().await?;
    let error = world.unlock(&site, door).await?.err().context("it was unlocked without a signer")?;
    ensure!(error.code == RequestErrorCode::Unavailable && error.message.contains("signer"), "{error:?}");
    site.no_more_pulses()?;

    world.stage.start_signer().await?;
    let result = fleet_tests::until("the signer signs again", async || {
        Ok(match world.unlock(&site, door).await? {
            Ok(result) => fleet_tests::Look::Seen(result),
            Err(error) => fleet_tests::Look::NotYet(format!("{error:?}")),
        })
    })
    .await?;
    ensure!(result.outcome == UnlockOutcome::Opened, "{result:?}");
    site.until_opened_remotely(door, 1).await?;
    site.cabinet.close_door(door)?;
    site.until_door(door, "closed").await?;
    let stored = site.load("shop/A17").await?;
    ensure!(world.shop.until_notified("A17").await?.compartment == Some(stored));
    Ok(())
}

#[tokio::test]
async fn an_agent_killed_while_the_customers_door_is_open_finishes_the_collection() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    let door = site.load("shop/A17").await?;
    let notification = world.shop.until_notified("A17").await?;
    site.enter(&notification.code).await?;
    site.until_door(door, "open").await?;
    site.cabinet.kill_agent().await?;
    site.start_agent().await?;
    site.cabinet.close_door(door)?;
    world.shop.until_state("A17", OrderState::Collected).await?;
    let again = site.screen()?.enter(&notification.code).await?;
    ensure!(again.body["result"] == "refused", "{again:?}");
    let collected = world.shop.states("A17").into_iter().filter(|state| *state == OrderState::Collected).count();
    ensure!(collected == 1, "collected {collected} times");
    site.no_more_pulses()
}
