//! Disks that answer with errors.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{CabinetPlan, PATIENCE};
use fleet_tests::{DiskFault, FailingDisk, World, order};
use schemas::api::OrderState;
use schemas::messages::{Compartment, Fact, UnlockOutcome};

use super::waits::{is_out_of_order, put_again, until_in_order, until_out_of_order};

/// An order for each way in which a disk fails.
fn rounds() -> impl Iterator<Item = (DiskFault, String)> {
    DiskFault::ALL.into_iter().map(|fault| (fault, format!("A-{fault:?}")))
}

#[tokio::test]
async fn a_cabinet_whose_disk_fails_opens_nothing_and_recovers_by_itself() -> anyhow::Result<()> {
    if !FailingDisk::is_possible().await? {
        return Ok(());
    }
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let cabinet = site.cabinet.folder().path.join("cabinet.redb");
    for (_, id) in rounds() {
        world.shop.put(&order(&id, "berlin-01", "S")).await?;
        site.load(&format!("shop/{id}")).await?;
    }
    let (empty, mut opened) = (Compartment::new(4).unwrap(), 0);
    for (fault, id) in rounds() {
        let code = world.shop.until_notified(&id).await?.code;
        let agent = site.cabinet.agent().context("no agent")?;
        let disk = FailingDisk::under(agent, &cabinet, fault, world.stage.log("strace")).await?;
        let answer = site.screen()?.enter(&code).await?;
        ensure!(answer.status == 503, "{fault:?}: the code was answered with {answer:?}");
        until_out_of_order(&site).await?;
        let answer = site.screen()?.enter(&code).await?;
        ensure!(is_out_of_order(&answer), "{fault:?}: {answer:?}");
        let pulses = site.cabinet.pulses();
        let unlocked = if fault == DiskFault::Sync {
            let unlocked = world.unlock(&site, empty).await?;
            ensure!(unlocked.is_err(), "an unlock was carried out: {unlocked:?}");
            disk.heal().await?;
            unlocked
        } else {
            // The disk heals while the unlock is on its way: it is refused, or carried out once and said to be.
            let (unlocked, healed) = tokio::join!(world.unlock(&site, empty), disk.heal());
            healed?;
            unlocked?
        };
        until_in_order(&site).await?;
        site.cabinet.until_online().await?;
        if let Ok(result) = unlocked {
            opened += 1;
            ensure!(result.outcome == UnlockOutcome::Opened, "{result:?}");
            site.until_opened_remotely(empty, pulses + 1).await?;
            site.cabinet.close_door(empty)?;
            site.until_door(empty, "closed").await?;
        }
        site.no_more_pulses()?;
        site.collect(&code).await.with_context(|| format!("{fault:?}: the code is not used up"))?;
        world.shop.until_state(&id, OrderState::Collected).await?;
        site.no_more_pulses()?;
    }
    let fleet = world.stage.layout().broker().join("fleet.redb");
    let facts = world.same_journals(&mut site, &fleet, &cabinet).await?;
    let count = |wanted: fn(&Fact) -> bool| facts.iter().filter(|fact| wanted(fact)).count();
    ensure!(count(|fact| matches!(fact, Fact::Collected(_))) == 3, "{facts:?}");
    ensure!(count(|fact| matches!(fact, Fact::UnlockDone(_))) == opened, "{facts:?}");
    Ok(())
}

#[tokio::test]
async fn a_broker_whose_disk_fails_acknowledges_nothing_and_recovers_by_itself() -> anyhow::Result<()> {
    if !FailingDisk::is_possible().await? {
        return Ok(());
    }
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-8:S")).await?;
    let fleet = world.stage.layout().broker().join("fleet.redb");
    for (_, id) in rounds() {
        world.shop.put(&order(&id, "berlin-01", "S")).await?;
        site.load(&format!("shop/{id}")).await?;
        world.shop.until_notified(&id).await?;
    }
    for (fault, id) in rounds() {
        let code = world.shop.until_notified(&id).await?.code;
        let broker = world.stage.broker().context("no broker")?;
        let disk = FailingDisk::under(broker, &fleet, fault, world.stage.log("strace")).await?;
        let next = order(&format!("B-{fault:?}"), "berlin-01", "S");
        let put = world.shop.put(&next).await;
        ensure!(put.is_err(), "{fault:?}: a put was acknowledged that is not on disk");
        broker.wait_for_line("the store failed", PATIENCE).await?;
        world.until_alone(&site).await?;
        site.collect(&code).await?;

        disk.heal().await?;
        put_again(&mut world, &next).await?;
        world.shop.until_decided(next.order.as_str()).await?;
        world.shop.until_state(&id, OrderState::Collected).await?;
        site.cabinet.until_online().await?;
    }
    for (fault, id) in rounds() {
        let told = world.shop.states(&id);
        ensure!(told.iter().filter(|state| **state == OrderState::Collected).count() == 1, "{fault:?}: {told:?}");
        let told = world.shop.states(&format!("B-{fault:?}"));
        ensure!(told.iter().filter(|state| **state == OrderState::Reserved).count() == 1, "{fault:?}: {told:?}");
    }
    let cabinet = site.cabinet.folder().path.join("cabinet.redb");
    world.same_journals(&mut site, &fleet, &cabinet).await?;
    Ok(())
}
