//! Revocation as an operator does it: who was in is cut, and stays out over a restart and a restore; a certificate of later
//! works.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use fleet_cli::client::Client;
use fleet_cli::setup::{self, PersonOptions};
use fleet_cli::stage::{CabinetPlan, PATIENCE};
use fleet_tests::{Site, World};
use schemas::api::{Reply, Request};
use schemas::ids::Role;

use crate::shell::Shell;

/// Later than any revocation until now, whatever part of a second it fell on.
fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(2)
}

/// The agent keeps trying, and this run of the broker does not let it in.
async fn stays_out(world: &World, site: &Site) -> anyhow::Result<()> {
    let broker = world.stage.broker().context("the broker does not run")?;
    let refused = format!("certificates of cabinet:acme:{} issued up to ", site.name());
    broker.wait_for_line(&refused, PATIENCE).await?;
    let agent = site.cabinet.agent().context("the agent does not run")?;
    agent.wait_for_line("was its certificate revoked?", PATIENCE).await
}

#[tokio::test]
async fn a_revoked_cabinet_is_cut_and_stays_out_over_a_restart_and_a_restore() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    let begun = Instant::now();
    let told = operator.json(&["cabinet", "revoke", "berlin-01", "--reason", "stolen"]).await?;
    ensure!(told["identity"]["certificates"][0]["revoked"] == true, "{told}");
    ensure!(told["identity"]["revocation"]["by"] == "operator:acme:admin", "{told}");
    world.until_online(&site, false).await?;
    ensure!(begun.elapsed() < Duration::from_secs(5), "cut after {:?}", begun.elapsed());
    stays_out(&world, &site).await?;

    let backup = operator.json(&["backup"]).await?;
    let backup = backup["backup"]["file"].as_str().context("no file")?.to_owned();
    world.stage.stop_broker().await?;
    world.start_broker().await?;
    site.cabinet.stop_agent().await?;
    site.cabinet.start_agent().await?;
    stays_out(&world, &site).await?;

    world.stage.stop_broker().await?;
    let store = world.stage.layout().broker().join("fleet.redb");
    std::fs::remove_file(&store)?;
    operator.json(&["restore", &backup, "--to", store.to_str().context("the folder has a name")?]).await?;
    world.shop.expect_leap();
    world.start_broker().await?;
    site.cabinet.stop_agent().await?;
    site.cabinet.start_agent().await?;
    stays_out(&world, &site).await?;
    ensure!(!world.show(&site).await?.summary.online);
    Ok(())
}

#[tokio::test]
async fn a_technician_sees_and_touches_one_site_only() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    let technician = Shell::of(&world, Role::Technician, "tom")?;
    let seen = async || anyhow::Ok(technician.json(&["cabinet", "list"]).await?.to_string().contains("berlin-01"));
    ensure!(seen().await?, "without a scope the whole tenant is seen");
    operator.json(&["person", "scope", "technician", "tom", "--sites", "potsdam"]).await?;
    ensure!(!seen().await?);
    technician.fails(&["cabinet", "show", "berlin-01"], 1, "is outside the scope of technician:acme:tom").await?;
    technician.fails(&["watch", "berlin-01"], 1, "does not let technician:acme:tom read").await?;
    operator.json(&["person", "scope", "technician", "tom", "--cabinets", "berlin-01"]).await?;
    ensure!(seen().await?);
    site.no_more_pulses()
}

#[tokio::test]
async fn a_revoked_person_is_cut_and_refused_until_renewed() -> anyhow::Result<()> {
    let world = World::start().await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    let bob = world.stage.client(Role::Operator, "bob").await?;
    let begun = Instant::now();
    operator.json(&["operator", "revoke", "bob", "--reason", "left the company"]).await?;
    let cut = async { while bob.request(&Request::CabinetList {}).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, cut).await.context("a revoked operator works on")?;
    ensure!(begun.elapsed() < Duration::from_secs(5), "cut after {:?}", begun.elapsed());
    let shell = Shell::of(&world, Role::Operator, "bob")?;
    shell.fails(&["cabinet", "list"], 1, "it was revoked or belongs").await?;
    operator.fails(&["operator", "revoke", "admin", "--reason", "x"], 1, "cannot revoke himself").await?;
    operator.fails(&["person", "revoke", "server", "gate", "--reason", "x"], 2, "a server is no person").await?;

    let listed = operator.json(&["operator", "list"]).await?;
    let of_bob = listed["identities"]["identities"]
        .as_array()
        .and_then(|all| all.iter().find(|known| known["identity"] == "operator:acme:bob"))
        .context("bob is not listed")?;
    ensure!(of_bob["revocation"]["reason"] == "left the company", "{of_bob}");
    let shown = operator.run(&["person", "list"]).await?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    ensure!(shown.contains("by admin:") && shown.contains("left the company"), "{shown}");

    let layout = world.stage.layout();
    let name = "bob".parse()?;
    let options = PersonOptions { layout, role: Role::Operator, name, passphrase: None, now: later() };
    let renewed = Client::connect_within(&setup::renew_person(&options)?, PATIENCE).await?;
    ensure!(matches!(renewed.request(&Request::CabinetList {}).await?, Reply::Cabinets(_)));
    Ok(())
}
