//! Remote unlocks: fresh, once, for what should be inside, and never kept for later.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{CabinetPlan, Verdict};
use fleet_tests::{Look, World, order, since_boot, until};
use schemas::api::{Reply, Request, RequestErrorCode};
use schemas::messages::{COMMAND_AGE_MAX_MILLIS, Compartment, Down, UnlockOutcome};

#[tokio::test]
async fn a_full_and_an_empty_compartment_open_on_command() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    let full = site.load("shop/A17").await?;
    let code = world.shop.until_notified("A17").await?.code;
    for (count, door) in [(2, full), (3, Compartment::new(4).unwrap())] {
        let result = world.unlock(&site, door).await?.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        ensure!(result.outcome == UnlockOutcome::Opened && result.compartment == door, "{result:?}");
        site.until_opened_remotely(door, count).await?;
        site.cabinet.close_door(door)?;
        site.until_door(door, "closed").await?;
    }
    // The order is still there for whoever has its code.
    ensure!(site.collect(&code).await? == full);
    Ok(())
}

#[tokio::test]
async fn a_command_that_comes_twice_opens_once() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut site = world.cabinet_behind_carrier(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let door = Compartment::new(2).unwrap();
    site.carrier()?.rule(|down| if matches!(down, Down::Command(_)) { Verdict::Twice } else { Verdict::Pass });
    let result = world.unlock(&site, door).await?.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    ensure!(result.outcome == UnlockOutcome::Opened, "{result:?}");
    world.watch.until_refused("replayed", 1).await?;

    let command = site.carrier()?.commands().pop().context("the carrier saw no command")?;
    site.carrier()?.inject(&command).await?;
    site.cabinet.stop_agent().await?;
    site.start_agent().await?;
    site.cabinet.until_online().await?;
    site.carrier()?.inject(&command).await?;
    // Reported once for each run of the agent.
    world.watch.until_refused("replayed", 2).await?;
    site.until_pulses(1).await?;
    Ok(())
}

#[tokio::test]
async fn a_command_that_was_held_back_is_refused_as_expired() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet_behind_carrier(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let carrier = site.carrier()?;
    carrier.rule(|down| if matches!(down, Down::Command(_)) { Verdict::Drop } else { Verdict::Pass });
    let held_back = async {
        carrier.until_commands(1).await?;
        let sent = since_boot();
        until("the command is too old", async || {
            let age = since_boot() - sent;
            Ok(Look::at((age > Duration::from_millis(COMMAND_AGE_MAX_MILLIS)).then_some(()), || format!("{age:?}")))
        })
        .await?;
        // The fleet cut a connection that does not acknowledge; the agent is back on another.
        site.cabinet.until_online().await?;
        carrier.inject(&carrier.commands()[0]).await
    };
    let (reply, injected) = tokio::join!(world.unlock(&site, Compartment::new(2).unwrap()), held_back);
    injected?;
    let error = reply?.err().context("an old command was carried out")?;
    ensure!(error.code == RequestErrorCode::Refused && error.message.contains("expired"), "{error:?}");
    world.watch.until_refused("expired", 1).await?;
    site.no_more_pulses()
}

#[tokio::test]
async fn an_unlock_for_a_cabinet_that_is_away_is_not_kept() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    site.cabinet.stop_agent().await?;
    world.until_online(&site, false).await?;
    let error = world.unlock(&site, Compartment::new(1).unwrap()).await?.err().context("it was unlocked")?;
    ensure!(error.code == RequestErrorCode::CabinetOffline && error.hint.is_some(), "{error:?}");

    site.start_agent().await?;
    world.until_online(&site, true).await?;
    // Whatever had been kept would have come before this.
    let door = Compartment::new(2).unwrap();
    let result = world.unlock(&site, door).await?.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    ensure!(result.outcome == UnlockOutcome::Opened, "{result:?}");
    site.until_opened_remotely(door, 1).await
}

#[tokio::test]
async fn an_unlock_of_what_is_not_there_says_so() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let error = world.unlock(&site, Compartment::new(5).unwrap()).await?.err().context("it was unlocked")?;
    ensure!(error.code == RequestErrorCode::Unknown && error.message.contains("compartment 5"), "{error:?}");
    let elsewhere = Request::Unlock {
        cabinet: "hamburg-01".parse()?,
        compartment: Compartment::new(1).unwrap(),
        reason: "test".to_owned(),
    };
    let reply = world.operator.request(&elsewhere).await?;
    ensure!(matches!(&reply, Reply::Error(error) if error.message.contains("hamburg-01")), "{reply:?}");
    site.no_more_pulses()
}
