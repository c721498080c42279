//! The drill: a backup of a working fleet, a broker that loses its disk, and the same fleet on the backup.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Look, World, order, until};
use schemas::api::OrderState;
use schemas::ids::Role;
use schemas::messages::Compartment;

use crate::shell::Shell;

/// Acceptance 16.
#[tokio::test]
async fn a_fleet_on_last_nights_backup_learns_from_its_cabinets_what_happened_since() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    world.shop.put(&order("A1", "berlin-01", "S")).await?;
    site.load("shop/A1").await?;
    let first = world.shop.until_notified("A1").await?;
    let backup = operator.json(&["backup"]).await?;
    let backup = backup["backup"]["file"].as_str().context("no file")?.to_owned();

    // What happens after the backup, and is lost with the disk of the broker.
    world.shop.put(&order("A2", "berlin-01", "S")).await?;
    let held = site.load("shop/A2").await?;
    let second = world.shop.until_notified("A2").await?;
    ensure!(Some(site.collect(&first.code).await?) == first.compartment);
    world.shop.until_state("A1", OrderState::Collected).await?;
    world.stage.stop_broker().await?;
    let store = world.stage.layout().broker().join("fleet.redb");
    let text = store.to_str().context("the folder has a name")?;
    operator.fails(&["restore", &backup, "--to", text], 1, "exists already").await?;
    std::fs::remove_file(&store)?;
    let restored = operator.json(&["restore", &backup, "--to", text]).await?;
    ensure!(restored["backup"]["rows"].as_u64() > Some(0), "{restored}");

    world.shop.expect_leap();
    world.start_broker().await?;
    world.until_online(&site, true).await?;
    let doubted = until_audit(&world, &site, held).await?;
    ensure!(doubted == [held], "only the order that nobody put is in doubt, not {doubted:?}");
    for id in ["B1", "B2", "B3", "B4"] {
        world.shop.put(&order(id, "berlin-01", "S")).await?;
    }
    let mut given = Vec::new();
    for id in ["B1", "B2", "B3", "B4"] {
        given.extend(world.shop.until_decided(id).await?.compartment);
    }
    ensure!(given.len() == 3 && !given.contains(&held), "{given:?} although an order is in {held}");
    ensure!(site.collect(&second.code).await? == held, "the code of the forgotten order opens its door");
    site.no_more_pulses()?;
    let told = world.shop.states("A1").into_iter().filter(|state| *state == OrderState::Collected).count();
    ensure!(told == 2, "A1 is collected for the restored fleet too: {:?}", world.shop.states("A1"));
    Ok(())
}

/// Waits until this compartment is in doubt; returns all that are.
async fn until_audit(world: &World, site: &fleet_tests::Site, wanted: Compartment) -> anyhow::Result<Vec<Compartment>> {
    until("the fleet doubts what it does not know", async || {
        let shown = world.show(site).await?.compartments;
        let doubted: Vec<_> = shown.iter().filter(|one| one.audit_required).map(|one| one.number).collect();
        Ok(Look::at(doubted.contains(&wanted).then(|| doubted.clone()), || format!("{doubted:?}")))
    })
    .await
}

#[tokio::test]
async fn what_is_no_backup_makes_no_store() -> anyhow::Result<()> {
    let world = World::start().await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    let folder = world.stage.folder();
    let junk = folder.join("junk");
    std::fs::write(&junk, b"not a backup")?;
    let (junk, store) = (junk.display().to_string(), folder.join("new.redb").display().to_string());
    operator.fails(&["restore", &junk], 1, "is no backup").await?;
    operator.fails(&["restore", &junk, "--to", &store], 1, "is no backup").await?;
    operator.fails(&["restore", "nowhere.backup"], 1, "nowhere.backup").await?;
    ensure!(!folder.join("new.redb").exists());
    let made = operator.json(&["backup"]).await?;
    let file = made["backup"]["file"].as_str().context("no file")?;
    let mut bytes = std::fs::read(file)?;
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0);
    std::fs::write(folder.join("damaged"), bytes)?;
    let damaged = folder.join("damaged").display().to_string();
    operator.fails(&["restore", &damaged, "--to", &store], 1, "damaged").await?;
    let checked = operator.json(&["restore", file]).await?;
    ensure!(checked["backup"]["sha256"] == made["backup"]["sha256"], "{checked} is not {made}");
    Ok(())
}
