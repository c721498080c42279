//! Disks that nothing can be written to.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{CabinetPlan, PATIENCE, Stage};
use fleet_tests::{Look, World, order, until};
use schemas::api::OrderState;

use super::full::{place, run};
use super::small_disk::{Kind, on_small_disk};
use super::waits::{is_out_of_order, put_again, refuses_to_start, until_in_order, until_out_of_order};

/// Runs a command of the system; whether it succeeded.
fn succeeds(program: &str, args: &[&str], paths: &[&Path]) -> anyhow::Result<bool> {
    Ok(Command::new(program).args(args).args(paths).status().with_context(|| format!("run {program}"))?.success())
}

/// A fleet and a cabinet with one order inside, both with their stores on `disk`.
async fn world_on(disk: &Path) -> anyhow::Result<(World, fleet_tests::Site)> {
    let stage = Stage::set_up("acme")?;
    place(&stage.layout().broker_toml(), "fleet.redb", disk)?;
    let mut world = World::start_on(stage).await?;
    let prepare =
        |cabinet: &fleet_cli::stage::Cabinet| place(&cabinet.folder().agent_toml(), "cabinet.redb", disk).map(drop);
    let site = world.cabinet_prepared(CabinetPlan::new("berlin-01", "1-4:S"), prepare).await?;
    world.shop.put(&order("A1", "berlin-01", "S")).await?;
    site.load("shop/A1").await?;
    world.shop.until_notified("A1").await?;
    Ok((world, site))
}

/// The kernel finds an error and stops writing. An administrator repairs the file system while the processes wait: for a
/// while there is no disk at all, and nobody makes a store in the folder below it.
async fn an_error_of_the_file_system(disk: &Path) -> anyhow::Result<()> {
    let (mut world, mut site) = world_on(disk).await?;
    let code = world.shop.until_notified("A1").await?.code;
    ensure!(succeeds("mount", &["-o", "remount,abort"], &[disk])?);
    let answer = site.screen()?.enter(&code).await?;
    ensure!(answer.status == 503, "a code was answered with {answer:?}");
    until_out_of_order(&site).await?;
    let answer = site.screen()?.enter(&code).await?;
    ensure!(is_out_of_order(&answer), "{answer:?}");
    site.no_more_pulses()?;
    let next = order("A2", "berlin-01", "S");
    ensure!(world.shop.put(&next).await.is_err(), "a put was acknowledged on a read-only disk");
    let (agent, broker) = (site.cabinet.agent().context("no agent")?, world.stage.broker().context("no broker")?);
    for process in [agent, broker] {
        process.wait_for_line("the store cannot be opened yet", PATIENCE).await?;
    }

    until("nobody uses the disk", async || {
        Ok(Look::at(succeeds("umount", &[], &[disk])?.then_some(()), || "it is in use".into()))
    })
    .await?;
    for process in [agent, broker] {
        process.wait_for_line("No such file or directory", PATIENCE).await?;
    }
    ensure!(fs::read_dir(disk)?.next().is_none(), "a store was made below the disk that was gone");
    let image = disk.with_extension("img");
    // Says with 1 that it has repaired something.
    succeeds("e2fsck", &["-p"], &[&image])?;
    ensure!(succeeds("mount", &["-o", "loop"], &[&image, disk])?);

    until_in_order(&site).await?;
    put_again(&mut world, &next).await?;
    world.until_online(&site, true).await?;
    site.collect(&code).await.context("the code is not used up")?;
    world.shop.until_state("A1", OrderState::Collected).await?;
    world.shop.until_decided("A2").await?;
    site.no_more_pulses()?;
    let (fleet, cabinet) = (disk.join("fleet.redb"), disk.join("cabinet.redb"));
    world.same_journals(&mut site, &fleet, &cabinet).await?;
    Ok(())
}

#[test]
fn a_file_system_that_became_read_only_is_repaired_while_broker_and_agent_wait() {
    on_small_disk(
        Kind::Ext4,
        "disks::read_only::a_file_system_that_became_read_only_is_repaired_while_broker_and_agent_wait",
        |disk| run(async || an_error_of_the_file_system(disk).await),
    );
}

async fn a_start_on_a_read_only_disk(disk: &Path) -> anyhow::Result<()> {
    let (mut world, mut site) = world_on(disk).await?;
    site.cabinet.stop_agent().await?;
    world.stage.stop_broker().await?;
    let (programs, log) = (world.stage.binaries().clone(), world.stage.log("read-only"));
    let folder = fs::read_dir(disk)?.count();
    ensure!(succeeds("mount", &["-o", "remount,bind,ro"], &[disk])?);
    let (broker_toml, agent_toml) = (world.stage.layout().broker_toml(), site.cabinet.folder().agent_toml());
    for (program, settings, store) in
        [(&programs.broker, &broker_toml, "fleet.redb"), (&programs.agent, &agent_toml, "cabinet.redb")]
    {
        let text = fs::read_to_string(settings)?;
        for name in [store.to_owned(), format!("new-{store}")] {
            fs::write(settings, text.replace(&format!("/{store}\""), &format!("/{name}\"")))?;
            let path = disk.join(&name).display().to_string();
            let texts = [&*path, "check that its folder exists and is writable", "Read-only file system"];
            refuses_to_start(program, settings, &texts, &log).await?;
            let beside = settings.with_file_name(&name);
            ensure!(!beside.exists(), "a store was made at {}", beside.display());
        }
        fs::write(settings, text)?;
    }
    ensure!(fs::read_dir(disk)?.count() == folder);

    ensure!(succeeds("mount", &["-o", "remount,bind,rw"], &[disk])?);
    world.start_broker().await?;
    site.start_agent().await?;
    world.until_online(&site, true).await?;
    let code = world.shop.until_notified("A1").await?.code;
    site.collect(&code).await.map(drop)
}

#[test]
fn a_start_on_a_read_only_disk_names_the_store_and_makes_no_other() {
    on_small_disk(
        Kind::Tmpfs,
        "disks::read_only::a_start_on_a_read_only_disk_names_the_store_and_makes_no_other",
        |disk| run(async || a_start_on_a_read_only_disk(disk).await),
    );
}
