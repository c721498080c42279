//! The end of a cabinet: erased when the fleet says so, wherever it is cut off, with a receipt that anybody can check.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{CabinetPlan, PATIENCE, Process, Stage};
use fleet_tests::{Look, Site, World, order, until};
use schemas::api::OrderState;
use schemas::ids::Role;
use serde_json::Value;

use crate::shell::Shell;

const KEPT: [&str; 5] = ["agent.toml", "board.toml", "enrolment.token", "given.token", "identity"];

fn folder(site: &Site) -> PathBuf {
    site.cabinet.folder().path.clone()
}

pub(crate) async fn until_discarded(site: &Site) -> anyhow::Result<Vec<u8>> {
    let receipt = folder(site).join("identity/wiped.cose");
    until("the cabinet has nothing left", async || {
        let log = || std::fs::read_to_string(site.cabinet.log()).unwrap_or_default();
        Ok(Look::at(receipt.exists().then_some(()), || log().lines().last().unwrap_or_default().to_owned()))
    })
    .await?;
    Ok(std::fs::read(receipt)?)
}

/// Every file below `folder`.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

pub(crate) async fn wipe(world: &World, more: &[&str]) -> anyhow::Result<Value> {
    let operator = Shell::of(world, Role::Operator, "admin")?;
    let fleet = world.stage.layout().dir().to_str().context("a path")?.to_owned();
    let words = ["cabinet", "wipe", "berlin-01", "--fleet", &fleet, "--reason", "sold"];
    operator.json(&[&words, more].concat()).await
}

#[tokio::test]
async fn a_wiped_cabinet_leaves_a_receipt_and_nothing_else() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    world.shop.put(&order("A1", "berlin-01", "S")).await?;
    let compartment = site.load("shop/A1").await?;
    let code = world.shop.until_notified("A1").await?.code;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    let fleet = world.stage.layout().dir().to_str().context("a path")?.to_owned();
    let words = ["cabinet", "wipe", "berlin-01", "--fleet", &fleet, "--reason", "sold"];
    operator.fails(&words, 1, "1 orders are in cabinet berlin-01").await?;
    ensure!(site.screen()?.enter("00000000").await?.body["result"] == "refused", "it works as before");

    let told = wipe(&world, &["--with-orders"]).await?;
    ensure!(told["wiped"] == true && told["orders"] == 1 && told["credentials"] == 2 && told["staff"] == 1, "{told}");
    ensure!(told["requester"] == "operator:acme:admin" && told["unsent"] == 0, "{told}");
    let kept = told["receipt"].as_str().context("a path")?.to_owned();
    ensure!(std::fs::read(&kept)? == until_discarded(&site).await?);
    site.cabinet.stop_agent().await?;
    site.no_more_pulses()?;

    let left = files(&folder(&site))?;
    for path in &left {
        let bytes = std::fs::read(path)?;
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        let secret = path.file_name().is_some_and(|name| name != "enrolment.token");
        ensure!(!secret || !holds(b"PRIVATE KEY") && !holds(b"shop/A1") && !holds(code.as_bytes()), "{path:?}");
    }
    let names: Vec<_> =
        left.iter().map(|path| path.strip_prefix(folder(&site)).unwrap().display().to_string()).collect();
    for gone in [
        "cabinet.redb",
        "device.key",
        "identity/current.pem",
        "identity/identity.toml",
        "identity/receipt.cose",
        "identity/discard.cose",
    ] {
        ensure!(!names.iter().any(|name| name == gone), "{gone} is still there: {names:?}");
    }

    // The receipt is worth something to whoever has the fleet's CA, and nothing to others.
    let checked = operator.json(&["cabinet", "receipt", &kept, "--fleet", &fleet]).await?;
    ensure!(checked["wiped"] == true && checked["cabinet"] == "berlin-01", "{checked}");
    let other = Stage::set_up("acme")?;
    let other = other.layout().dir().to_str().context("a path")?.to_owned();
    operator.fails(&["cabinet", "receipt", &kept, "--fleet", &other], 2, "none of this fleet's cabinets").await?;
    let mut forged = std::fs::read(&kept)?;
    *forged.last_mut().context("bytes")? ^= 1;
    let path = world.stage.folder().join("forged.cose");
    std::fs::write(&path, forged)?;
    let forged = path.to_str().context("a path")?;
    operator.fails(&["cabinet", "receipt", forged, "--fleet", &fleet], 2, "the signature is not of").await?;
    let large = world.stage.folder().join("large.cose");
    std::fs::write(&large, vec![0; 1 << 20])?;
    operator
        .fails(&["cabinet", "receipt", large.to_str().context("a path")?, "--fleet", &fleet], 2, "too large")
        .await?;

    let shown = world.show(&site).await?;
    ensure!(shown.wipe.is_some_and(|wipe| wipe.done.is_some()) && !shown.summary.online);
    ensure!(shown.summary.compartments == 0 && compartment.number() > 0);
    let again = wipe(&world, &[]).await?;
    ensure!(again["receipt"] == told["receipt"], "the same receipt: {again}");
    Ok(())
}

#[tokio::test]
async fn a_wiped_cabinet_starts_only_with_a_new_token_and_then_as_another_installation() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    wipe(&world, &[]).await?;
    until_discarded(&site).await?;
    site.cabinet.stop_agent().await?;
    let agent = &world.stage.binaries().agent;
    let settings = site.cabinet.folder().agent_toml();
    let run = |words: Vec<std::ffi::OsString>| Process::start("agent", agent, words, site.cabinet.log().to_owned());
    let mut idle = run(vec!["--settings".into(), settings.clone().into()])?;
    ensure!(idle.exit_code(PATIENCE).await? == Some(2), "{}", idle.output());
    ensure!(idle.output().contains("cabinet-agent enroll"), "{}", idle.output());

    let operator = Shell::of(&world, Role::Operator, "admin")?;
    let fleet = world.stage.layout().dir().to_str().context("a path")?.to_owned();
    let words = ["cabinet", "replace", "berlin-01", "--fleet", &fleet, "--serial", "LF-0001"];
    let made = operator.json(&words).await?;
    let token = world.stage.folder().join("token");
    certs::create_private(&token, made["token"].as_str().context("a token")?.as_bytes())?;
    let words = ["enroll", "--serial", "LF-0001", "--settings"].map(Into::into).into_iter();
    let words = words.chain([settings.into(), "--token-file".into(), token.into()]);
    run(words.collect())?.wait_for_success(PATIENCE).await?;
    site.start_agent().await?;
    site.cabinet.until_online().await?;
    world.until_online(&site, true).await?;
    site.cabinet.until_book_held(&world.operator).await?;
    let shown = world.show(&site).await?;
    ensure!(shown.wipe.is_none() && shown.instance.to_string() == made["instance"], "{shown:?}");
    world.shop.put(&order("B1", "berlin-01", "S")).await?;
    site.load("shop/B1").await?;
    world.shop.until_state("B1", OrderState::Stored).await.map(drop)
}

#[tokio::test]
async fn a_cabinet_that_is_away_is_wiped_when_it_comes_back_however_often_it_is_killed() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    site.cabinet.kill_agent().await?;
    world.until_online(&site, false).await?;
    let told = wipe(&world, &["--wait", "0"]).await?;
    ensure!(told["wiped"] == false && told["sent"] == false, "{told}");
    let settings = site.cabinet.folder().agent_toml();
    for pause in [20, 40, 60, 80, 100, 120, 140, 160, 200, 240] {
        let words =
            ["--settings".into(), settings.clone().into(), "--set".into(), "fleet.backoff_max_seconds=1".into()];
        let log = site.cabinet.log().to_owned();
        let running = Process::start("agent", &world.stage.binaries().agent, words, log)?;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        running.kill().await?;
    }
    if !folder(&site).join("identity/wiped.cose").exists() {
        site.start_agent().await?;
    }
    let receipt = until_discarded(&site).await?;
    let told = wipe(&world, &[]).await?;
    ensure!(told["wiped"] == true && std::fs::read(told["receipt"].as_str().context("a path")?)? == receipt, "{told}");
    for name in files(&folder(&site))? {
        let top = name.strip_prefix(folder(&site))?.components().next().context("a name")?;
        let top = top.as_os_str().to_string_lossy().into_owned();
        let receipt = top.starts_with("wiped-");
        ensure!(
            KEPT.contains(&top.as_str()) || receipt || top.ends_with(".log") || top == "screen.url",
            "{name:?} is left"
        );
    }
    Ok(())
}
