//! A break-glass code, from the operator's shell to a screen without a network.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Look, World, until};
use schemas::api::{Reply, Request};
use schemas::ids::Role;

use crate::shell::Shell;

/// The newest alarm about the one cabinet.
async fn alarm(world: &World) -> anyhow::Result<String> {
    let reply = world.operator.request(&Request::FleetStatus { after: None }).await?;
    let Reply::Status(status) = reply else { anyhow::bail!("{reply:?}") };
    Ok(status.cabinets.into_iter().find_map(|cabinet| cabinet.alarm).map_or_else(String::new, |alarm| alarm.text))
}

const ASK: [&str; 5] = ["cabinet", "break-glass", "berlin-01", "--reason", "no network since noon"];

#[tokio::test]
async fn a_code_read_out_lets_somebody_in_once_at_a_cabinet_without_a_network() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    site.cabinet.until_book_held(&world.operator).await?;
    operator.fails(&ASK, 1, "is connected").await?;

    // The agent loses its way to the fleet, and the fleet its cabinet.
    site.cabinet.stop_agent().await?;
    world.until_online(&site, false).await?;
    let shown = operator.json(&ASK).await?;
    let code = shown["break_glass"]["code"].as_str().context("no code")?.to_owned();
    ensure!(code.len() == 25 && code.bytes().all(|digit| digit.is_ascii_digit()), "{shown}");
    let said = alarm(&world).await?;
    ensure!(said.contains("operator:acme:admin is shown its break-glass code: no network since noon"), "{said}");

    world.stage.stop_broker().await?;
    site.start_agent().await?;
    let wrong = code.chars().rev().collect::<String>();
    ensure!(site.screen()?.staff(&wrong).await.is_err());
    let session = site.screen()?.staff(&code).await?;
    ensure!(!site.screen()?.view(Some(&session)).await?["staff"].is_null());
    // A power cut gives it back to whoever stands there.
    site.cabinet.kill_agent().await?;
    site.start_agent().await?;
    let session = site.screen()?.staff(&code).await?;
    site.screen()?.logout(&session).await?;
    let again = site.screen()?.staff(&code).await.err().context("it let somebody in twice")?;
    ensure!(again.to_string().contains("used"), "{again:#}");

    // Back again: the fleet says who it was, and has put another one in its place.
    world.start_broker().await?;
    world.until_online(&site, true).await?;
    until("the fleet has heard of it", async || {
        let said = alarm(&world).await?;
        let heard = said.contains("came in") && said.contains("that operator:acme:admin was shown: no network");
        Ok(Look::at(heard.then_some(()), || said))
    })
    .await?;
    site.cabinet.until_book_held(&world.operator).await?;
    site.cabinet.stop_agent().await?;
    until("another code is in the book", async || {
        let shown = operator.run(&[&ASK[..], &["--json"]].concat()).await?;
        let said = String::from_utf8_lossy(&shown.stdout).into_owned();
        let other = shown.status.success() && !said.contains(&code);
        Ok(Look::at(other.then_some(()), || format!("{said}{}", String::from_utf8_lossy(&shown.stderr))))
    })
    .await
}
