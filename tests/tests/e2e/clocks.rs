//! Machines whose clocks are wrong.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{World, order};
use schemas::api::OrderState;
use schemas::messages::Category;

/// Acceptance 17.
#[tokio::test]
async fn a_cabinet_that_boots_in_1970_serves_what_needs_no_time_and_finds_its_way_back() -> anyhow::Result<()> {
    let Some(faketime) = faketime()? else { return Ok(()) };
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let mut food = order("F1", "berlin-01", "S");
    food.category = Category::Food;
    world.shop.put(&order("R1", "berlin-01", "S")).await?;
    world.shop.put(&food).await?;
    site.load("shop/R1").await?;
    site.load("shop/F1").await?;
    let retail = world.shop.until_notified("R1").await?;
    let food = world.shop.until_notified("F1").await?;

    world.stage.stop_broker().await?;
    world.until_alone(&site).await?;
    site.cabinet.kill_agent().await?;
    let boot = world.stage.folder().join("boot_id");
    std::fs::write(&boot, "11111111-2222-4333-8444-555555555555\n")?;
    site.cabinet.launch_through(machine_of_1970(&boot, &faketime));
    site.start_agent().await?;
    let refused = site.screen()?.enter(&food.code).await?.body;
    ensure!(refused["result"] == "refused" && refused["reason"] == "time_unknown", "{refused}");
    ensure!(site.collect(&retail.code).await? == retail.compartment);

    world.start_broker().await?;
    let collected = world.shop.until_state("R1", OrderState::Collected).await?;
    ensure!(collected.time_unverified, "{collected:?}");
    ensure!(site.collect(&food.code).await? == food.compartment, "the fleet has told the time");
    let collected = world.shop.until_state("F1", OrderState::Collected).await?;
    ensure!(!collected.time_unverified, "{collected:?}");
    let log = std::fs::read_to_string(site.cabinet.log())?;
    ensure!(log.contains("1970-01-02T"), "the agent was not in 1970");
    Ok(())
}

/// Another start of the machine, with a wall clock that lost its battery; the boot clock goes on.
fn machine_of_1970(boot: &Path, faketime: &Path) -> Vec<OsString> {
    let bind = r#"mount --bind "$1" /proc/sys/kernel/random/boot_id && shift && exec "$@""#;
    let mut preload = OsString::from("LD_PRELOAD=");
    preload.push(faketime);
    let mut words: Vec<OsString> = ["unshare", "--mount", "sh", "-c", bind, "sh"].map(OsString::from).into();
    words.push(boot.into());
    words.extend(["env".into(), preload]);
    words.extend(["FAKETIME=@1970-01-02 03:04:05", "FAKETIME_DONT_FAKE_MONOTONIC=1"].map(OsString::from));
    words
}

/// The library that fakes the wall clock, if this test can use it here.
fn faketime() -> anyhow::Result<Option<PathBuf>> {
    let found = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
        .map(|folder| Path::new(folder).join("faketime/libfaketime.so.1"))
        .into_iter()
        .find(|path| path.exists());
    let may_mount = || std::process::Command::new("unshare").args(["--mount", "true"]).status();
    let usable = found.filter(|_| may_mount().is_ok_and(|status| status.success()));
    if usable.is_none() {
        ensure!(std::env::var_os("REQUIRE_TOOLS").is_none(), "libfaketime and a mount namespace are required");
        eprintln!("SKIPPED: there is no libfaketime here, or no right to a mount namespace");
    }
    Ok(usable)
}
