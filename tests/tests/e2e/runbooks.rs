//! The commands of RUNBOOKS.md, executed as they stand there, and what has to be true afterwards.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use fleet_cli::client::Client;
use fleet_cli::stage::{CabinetPlan, PATIENCE};
use fleet_tests::{Look, World, until};
use schemas::api::{Reply, Request};
use schemas::ids::Role;
use tokio::process::Command;

const RUNBOOKS: &str = include_str!("../../../RUNBOOKS.md");

/// All commands of a section, in their order.
fn commands(title: &str) -> anyhow::Result<String> {
    let section = RUNBOOKS.split("\n## ").find(|section| section.starts_with(title)).context("no such section")?;
    let blocks: Vec<&str> = section.split("```sh\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    ensure!(!blocks.is_empty(), "no commands in {title}");
    Ok(blocks.concat())
}

/// Executes a section as an operator does, who has the roots at hand.
async fn follow(world: &World, title: &str) -> anyhow::Result<String> {
    let (layout, programs) = (world.stage.layout(), &world.stage.binaries().fleet);
    let folder = programs.parent().context("the programs are in a folder")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path)))?;
    let child = Command::new("sh")
        .args(["-eu", "-c", &commands(title)?])
        .env("PATH", path)
        .env("FLEET", layout.dir())
        .env("FLEET_AS", layout.people().join("operator-admin"))
        .env("SAFE", layout.offline())
        .current_dir(world.stage.folder())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("start sh")?;
    let out = tokio::time::timeout(PATIENCE * 2, child.wait_with_output()).await.context(title.to_owned())??;
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    ensure!(out.status.success(), "{title}: {said}{}", String::from_utf8_lossy(&out.stderr));
    Ok(said)
}

#[test]
fn every_section_has_commands_that_are_tried() {
    let titles: Vec<&str> = RUNBOOKS.split("\n## ").skip(1).filter_map(|section| section.lines().next()).collect();
    assert_eq!(
        titles,
        [
            "The first ten cabinets",
            "A lost root",
            "A stolen cabinet",
            "A cabinet that leaves",
            "Nobody got the code of a walk-in",
            "A cabinet that nobody reaches",
            "A courier who cannot leave a parcel",
            "Wrong local times in messages",
            "A leaked operator key"
        ]
    );
    assert!(titles.iter().all(|title| commands(title).is_ok()));
}

#[tokio::test]
async fn the_first_ten_cabinets() -> anyhow::Result<()> {
    let world = World::start().await?;
    let said = follow(&world, "The first ten cabinets").await?;
    ensure!(said.matches("Enrolled as cabinet berlin-").count() == 10, "{said}");
    let reply = world.operator.request(&Request::CabinetList {}).await?;
    let Reply::Cabinets(cabinets) = reply else { anyhow::bail!("{reply:?}") };
    ensure!(cabinets.len() == 10, "{cabinets:?}");
    for cabinet in &cabinets {
        let folder = world.stage.layout().cabinet(&cabinet.cabinet);
        ensure!(folder.join("identity/current.pem").exists() && !folder.join("identity/request.key").exists());
    }
    Ok(())
}

#[tokio::test]
async fn nobody_got_the_code_of_a_walk_in() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    let (order, _) = crate::walk_ins::begin(&site, "A17").await?;
    until("the fleet lists what staff began", async || {
        let said = follow(&world, "Nobody got the code of a walk-in").await?;
        Ok(Look::at(said.contains(&format!("walk-in/{order}")).then_some(()), || said))
    })
    .await
}

#[tokio::test]
async fn a_lost_root() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    std::fs::remove_file(world.stage.layout().offline().join("keyset-root-1.key"))?;
    follow(&world, "A lost root").await?;
    until("the cabinet holds the new roots", async || {
        let held = world.show(&site).await?.keyset_held;
        Ok(Look::at((held >= 2).then_some(()), || format!("keyset {held}")))
    })
    .await
}

#[tokio::test]
async fn a_stolen_cabinet() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    let before = site.cabinet.instance();
    let said = follow(&world, "A stolen cabinet").await?;
    ensure!(said.contains("LF1"), "{said}");
    world.until_online(&site, false).await?;
    let folder = fleet_cli::setup::CabinetFolder::open(&site.cabinet.folder().path)?;
    ensure!(folder.instance() != before && folder.token.device_serial == "LF-0099");
    Ok(())
}

#[tokio::test]
async fn a_cabinet_that_leaves() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-02", "1-2:S")).await?;
    let said = follow(&world, "A cabinet that leaves").await?;
    ensure!(said.matches("Cabinet berlin-02 was wiped for operator:acme:admin").count() == 2, "{said}");
    ensure!(!site.cabinet.folder().path.join("identity/current.pem").exists());
    Ok(())
}

#[tokio::test]
async fn a_leaked_operator_key() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    let door = schemas::messages::Compartment::new(2).context("a door")?;
    world.unlock(&site, door).await?.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let eve = world.stage.person(Role::Operator, "eve")?;
    let leaked = world.stage.folder().join("leaked");
    copy(eve.path(), &leaked)?;
    let thief = fleet_cli::folder::PersonFolder::open(&leaked)?;
    let connected = Client::connect_within(&thief, PATIENCE).await?;
    connected.request(&Request::CabinetList {}).await?;
    let said = follow(&world, "A leaked operator key").await?;
    ensure!(said.contains("eve"), "{said}");
    ensure!(said.contains("operator admin  opened"), "the record of what was opened: {said}");
    ensure!(connected.request(&Request::CabinetList {}).await.is_err(), "the thief was not cut");
    ensure!(Client::connect(&thief).await.is_err(), "the thief came back");
    let eve = world.stage.client(Role::Operator, "eve").await?;
    ensure!(matches!(eve.request(&Request::CabinetList {}).await?, Reply::Cabinets(_)));
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    certs::ensure_private_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_cabinet_that_nobody_reaches() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    site.cabinet.stop_agent().await?;
    world.until_online(&site, false).await?;
    let said = follow(&world, "A cabinet that nobody reaches").await?;
    ensure!(said.contains("Break-glass code of cabinet berlin-01: "), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_courier_who_cannot_leave_a_parcel() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1:S")).await?;
    world.shop.put(&fleet_tests::order("A17", "berlin-01", "S")).await?;
    site.load("shop/A17").await?;
    let said = follow(&world, "A courier who cannot leave a parcel").await?;
    ensure!(said.contains("shop/A17"), "{said}");
    Ok(())
}

#[tokio::test]
async fn wrong_local_times_in_messages() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.cabinet(CabinetPlan::new("berlin-01", "1:S")).await?;
    let said = follow(&world, "Wrong local times in messages").await?;
    ensure!(said.contains("not set") && said.contains("Europe/Berlin"), "{said}");
    Ok(())
}
