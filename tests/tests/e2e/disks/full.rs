//! Disks that somebody else fills while the fleet works. Stores are on small file systems of the test's own.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{Cabinet, CabinetPlan, PATIENCE, Stage};
use fleet_tests::{Look, Site, World, order, until};
use schemas::api::OrderState;
use schemas::messages::{Compartment, Fact};
use serde_json::Value;

use super::small_disk::{Ballast, Kind, on_small_disk};
use super::waits::{is_out_of_order, put_again, until_in_order, until_out_of_order};

/// Address and locks of each board.
const BOARDS: [(u8, u8); 2] = [(1, 24), (2, 24)];
const COMPARTMENTS: u16 = 48;
/// Kilobytes of the disk that the stores keep here: little enough for a test to use it up.
const RESERVE: u32 = 128;

const FULL: &str = "is full, the store lives on its reserve";

pub(super) fn run(test: impl AsyncFnOnce() -> anyhow::Result<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test()).unwrap_or_else(|error| panic!("{error:?}"));
}

/// Has the store in another folder, with a small reserve.
pub(super) fn place(settings: &Path, store: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join(store);
    let placed: String = std::fs::read_to_string(settings)?
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some((key, value)) if value == format!("\"{store}\"") => format!("{key} = \"{}\"\n", path.display()),
            Some(("reserve_kilobytes", _)) => format!("reserve_kilobytes = {RESERVE}\n"),
            Some(_) | None => format!("{line}\n"),
        })
        .collect();
    std::fs::write(settings, placed)?;
    Ok(path)
}

/// People pry doors open and close them again, and the cabinet writes each of it down, until `seen` holds.
async fn pry_until(site: &Site, from: u16, what: &str, seen: impl Fn() -> bool) -> anyhow::Result<()> {
    let (board, screen) = (site.cabinet.board(), site.screen()?);
    let all_are = |view: &Value, state: &str| {
        let doors = view["doors"].as_array().cloned().unwrap_or_default();
        doors.iter().filter(|door| door["number"].as_u64() >= Some(from.into())).all(|door| door["door"] == state)
    };
    let give_up = Instant::now() + 3 * PATIENCE;
    while !seen() {
        ensure!(Instant::now() < give_up, "doors were opened and closed in vain until {what}");
        for state in ["forced", "closed"] {
            for number in from..=COMPARTMENTS {
                let (address, lock) = site.cabinet.place(Compartment::new(number).unwrap())?;
                let done = if state == "forced" { board.pry(address, lock) } else { board.close(address, lock) };
                done.map_err(|error| anyhow::anyhow!("{error}"))?;
            }
            until(&format!("every door is {state}, or {what}"), async || {
                // A screen that is out of order shows no doors.
                let view = screen.view(None).await.unwrap_or_default();
                Ok(Look::at((seen() || all_are(&view, state)).then_some(()), || view.to_string()))
            })
            .await?;
        }
    }
    Ok(())
}

async fn a_cabinet_on_a_full_disk(disk: &Path) -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut store = PathBuf::new();
    let prepare = |cabinet: &Cabinet| {
        store = place(&cabinet.folder().agent_toml(), "cabinet.redb", disk)?;
        Ok(())
    };
    let plan = CabinetPlan { boards: BOARDS.into(), ..CabinetPlan::new("berlin-01", "1-48:S") };
    let mut site = world.cabinet_prepared(plan, prepare).await?;
    for id in ["A1", "A2", "B1"] {
        world.shop.put(&order(id, "berlin-01", "S")).await?;
    }
    for id in ["A1", "A2"] {
        site.load(&format!("shop/{id}")).await?;
    }
    let (first, second) = (world.shop.until_notified("A1").await?, world.shop.until_notified("A2").await?);
    let others = 4;

    // The network is gone and the disk is full: pickups go on, loading does not.
    world.stage.stop_broker().await?;
    world.until_alone(&site).await?;
    let ballast = Ballast::fill(disk);
    let agent = site.cabinet.agent().context("no agent")?;
    pry_until(&site, others, "the agent says that it lives on its reserve", || agent.output().contains(FULL)).await?;
    let refused = site.load_refused("shop/B1").await?;
    ensure!(refused.contains("disk_full"), "loading was refused for {refused}");
    ensure!(Some(site.collect(&first.code).await?) == first.compartment);

    world.start_broker().await?;
    let broker = world.stage.broker().context("no broker")?;
    broker.wait_for_line("its disk is full: it takes no new orders", PATIENCE).await?;
    world.shop.until_state("A1", OrderState::Collected).await?;

    // When the reserve is used up too, nothing opens and the screen says so.
    world.stage.stop_broker().await?;
    world.until_alone(&site).await?;
    pry_until(&site, others, "the store fails", || agent.output().contains("no door opens until it works")).await?;
    until_out_of_order(&site).await?;
    let answer = site.screen()?.enter(&second.code).await?;
    ensure!(is_out_of_order(&answer), "{answer:?}");

    // Somebody cleans up.
    ballast.remove();
    until_in_order(&site).await?;
    world.start_broker().await?;
    world.until_online(&site, true).await?;
    ensure!(Some(site.collect(&second.code).await?) == second.compartment, "the code is not used up");
    let loaded = site.load("shop/B1").await?;
    ensure!(world.shop.until_notified("B1").await?.compartment == Some(loaded));
    world.shop.until_state("A2", OrderState::Collected).await?;
    site.no_more_pulses()?;
    let fleet = world.stage.layout().broker().join("fleet.redb");
    let facts = world.same_journals(&mut site, &fleet, &store).await?;
    let collected = facts.iter().filter(|fact| matches!(fact, Fact::Collected(_))).count();
    ensure!(collected == 2, "{collected} collections were written down");
    Ok(())
}

#[test]
fn a_cabinet_on_a_full_disk_gives_out_what_it_holds_and_takes_nothing_new() {
    on_small_disk(
        Kind::Ext4,
        "disks::full::a_cabinet_on_a_full_disk_gives_out_what_it_holds_and_takes_nothing_new",
        |disk| run(async || a_cabinet_on_a_full_disk(disk).await),
    );
}

async fn a_broker_on_a_full_disk(disk: &Path) -> anyhow::Result<()> {
    let stage = Stage::set_up("acme")?;
    let store = place(&stage.layout().broker_toml(), "fleet.redb", disk)?;
    let mut world = World::start_on(stage).await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-24:S")).await?;
    world.shop.put(&order("A1", "berlin-01", "S")).await?;
    let held = site.load("shop/A1").await?;
    let code = world.shop.until_notified("A1").await?.code;

    let ballast = Ballast::fill(disk);
    let mut acknowledged = 0;
    let refused = loop {
        let next = order(&format!("B{acknowledged}"), "berlin-01", "L");
        if world.shop.put(&next).await.is_err() {
            break next;
        }
        acknowledged += 1;
        ensure!(acknowledged < 100_000, "the disk does not get full");
    };
    let broker = world.stage.broker().context("no broker")?;
    broker.wait_for_line("the store failed", PATIENCE).await?;
    let said = broker.output();
    let reserve = said.find(&format!("alarm: the disk {FULL}")).context("no alarm")?;
    ensure!(said.find("the store failed").context("no failure")? > reserve, "{said}");
    world.until_alone(&site).await?;
    ensure!(site.collect(&code).await? == held, "pickups need no broker");

    ballast.remove();
    put_again(&mut world, &refused).await?;
    world.until_online(&site, true).await?;
    world.shop.until_state("A1", OrderState::Collected).await?;
    for n in 0..=acknowledged {
        world.shop.until_state(&format!("B{n}"), OrderState::Rejected).await?;
    }
    let told = world.shop.statuses().iter().filter(|row| row.state == OrderState::Rejected).count();
    ensure!(told == acknowledged + 1, "{told} orders were decided on, {acknowledged} and one were acknowledged");
    let cabinet = site.cabinet.folder().path.join("cabinet.redb");
    world.same_journals(&mut site, &store, &cabinet).await?;
    Ok(())
}

#[test]
fn a_broker_on_a_full_disk_acknowledges_nothing_more_and_loses_nothing_that_it_did() {
    on_small_disk(
        Kind::Ext4,
        "disks::full::a_broker_on_a_full_disk_acknowledges_nothing_more_and_loses_nothing_that_it_did",
        |disk| run(async || a_broker_on_a_full_disk(disk).await),
    );
}
