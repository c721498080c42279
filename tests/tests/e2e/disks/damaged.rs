//! Stores that were damaged from outside or that a later version wrote: the program says which file it is and ends.
//! Nothing of it is used, and no other store is made in its place.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{CabinetPlan, PATIENCE};
use fleet_store::RedbStore;
use fleet_tests::{DiskFault, FailingDisk, Look, Site, World, order, until};
use schemas::cbor;
use schemas::ids::Role;
use schemas::step::{Store as _, Table, Write};

use super::waits::refuses_to_start;
use crate::shell::Shell;

const PAGE: usize = 4096;

/// Changes a bit of each page but the first, which says where the others are.
fn damage(store: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = fs::read(store)?;
    for page in bytes.chunks_mut(PAGE).skip(1) {
        page[PAGE / 2] ^= 1;
    }
    // In place, as a disk does it: who has the file open sees it too.
    File::options().write(true).open(store)?.write_all_at(&bytes, 0)?;
    Ok(bytes)
}

#[tokio::test]
async fn a_damaged_store_is_named_and_nothing_of_it_is_used() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    world.shop.put(&order("A1", "berlin-01", "S")).await?;
    let held = site.load("shop/A1").await?;
    let code = world.shop.until_notified("A1").await?.code;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    let backup = operator.json(&["backup"]).await?;
    let backup = backup["backup"]["file"].as_str().context("no file")?.to_owned();

    // The fleet's: a backup takes its place.
    world.stage.stop_broker().await?;
    let (programs, log) = (world.stage.binaries().clone(), world.stage.log("damaged"));
    let fleet = world.stage.layout().broker().join("fleet.redb");
    let name = fleet.to_str().context("the folder has a name")?.to_owned();
    let damaged = damage(&fleet)?;
    let texts = [&*format!("store `{name}` is damaged"), "restore a fleet's from its newest backup"];
    refuses_to_start(&programs.broker, &world.stage.layout().broker_toml(), &texts, &log).await?;
    ensure!(fs::read(&fleet)? == damaged, "a damaged store was written to");
    fs::rename(&fleet, fleet.with_extension("damaged"))?;
    operator.json(&["restore", &backup, "--to", &name]).await?;
    world.shop.expect_leap();
    world.start_broker().await?;
    world.until_online(&site, true).await?;

    // The cabinet's: it begins a new history, of which the fleet hears.
    site.cabinet.stop_agent().await?;
    let cabinet = site.cabinet.folder().path.join("cabinet.redb");
    let damaged = damage(&cabinet)?;
    let texts = [&*format!("store `{}` is damaged", cabinet.display()), "empty a cabinet's compartments"];
    refuses_to_start(&programs.agent, &site.cabinet.folder().agent_toml(), &texts, &log).await?;
    ensure!(fs::read(&cabinet)? == damaged, "a damaged store was written to");
    fs::rename(&cabinet, cabinet.with_extension("damaged"))?;
    site.start_agent().await?;
    site.cabinet.until_online().await?;
    until_audit(&world, &site, held.number()).await?;
    let answer = site.screen()?.enter(&code).await?;
    ensure!(answer.body["result"] == "refused", "a cabinet without its history opened a door: {answer:?}");
    site.no_more_pulses()
}

/// The fleet believes that an order is there of which the cabinet knows nothing.
async fn until_audit(world: &World, site: &Site, compartment: u16) -> anyhow::Result<()> {
    until("the fleet doubts what is in the compartment", async || {
        let shown = world.show(site).await?.compartments;
        let doubted = shown.iter().any(|one| one.number.number() == compartment && one.audit_required);
        Ok(Look::at(doubted.then_some(()), || format!("{shown:?}")))
    })
    .await
}

#[tokio::test]
async fn a_store_that_is_found_damaged_while_it_works_ends_the_process_with_its_name() -> anyhow::Result<()> {
    if !FailingDisk::is_possible().await? {
        return Ok(());
    }
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let log = world.stage.log("strace");
    let cabinet = site.cabinet.folder().path.join("cabinet.redb");
    let agent = site.cabinet.agent().context("no agent")?;
    let disk = FailingDisk::under(agent, &cabinet, DiskFault::Sync, log.clone()).await?;
    site.screen()?.enter("12345678").await?;
    agent.wait_for_line("the store cannot be opened yet", PATIENCE).await?;
    damage(&cabinet)?;
    disk.heal().await?;
    agent.wait_for_line(&format!("error: store `{}` is damaged", cabinet.display()), PATIENCE).await?;
    let ended = site.cabinet.stop_agent().await.err().context("the agent goes on with a damaged store")?;
    ensure!(ended.to_string().contains("Some(1)"), "{ended}");

    let fleet = world.stage.layout().broker().join("fleet.redb");
    let broker = world.stage.broker().context("no broker")?;
    let disk = FailingDisk::under(broker, &fleet, DiskFault::Sync, log).await?;
    ensure!(world.shop.put(&order("A1", "berlin-01", "S")).await.is_err());
    broker.wait_for_line("the store cannot be opened yet", PATIENCE).await?;
    damage(&fleet)?;
    disk.heal().await?;
    broker.wait_for_line(&format!("error: store `{}` is damaged", fleet.display()), PATIENCE).await?;
    let ended = world.stage.stop_broker().await.err().context("the broker goes on with a damaged store")?;
    ensure!(ended.to_string().contains("Some(1)"), "{ended}");
    Ok(())
}

#[tokio::test]
async fn a_store_of_a_later_version_is_refused_and_stays_as_it_is() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    site.cabinet.stop_agent().await?;
    world.stage.stop_broker().await?;
    let (programs, log) = (world.stage.binaries().clone(), world.stage.log("later"));
    let fleet = world.stage.layout().broker().join("fleet.redb");
    let cabinet = site.cabinet.folder().path.join("cabinet.redb");
    let (broker_toml, agent_toml) = (world.stage.layout().broker_toml(), site.cabinet.folder().agent_toml());
    for (store, program, settings) in [(&fleet, &programs.broker, broker_toml), (&cabinet, &programs.agent, agent_toml)]
    {
        let later = Write::put(Table("meta"), "format", cbor::encode(&2u64));
        RedbStore::open(store)?.commit(&[later])?;
        let rows = RedbStore::open(store)?.rows(Table("meta"))?;
        let texts = [&*store.to_string_lossy(), "has format 2", "reads format 1"];
        refuses_to_start(program, &settings, &texts, &log).await?;
        ensure!(RedbStore::open(store)?.rows(Table("meta"))? == rows);
    }
    Ok(())
}
