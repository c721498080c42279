//! Zones and opening hours of sites, as an operator says them.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{World, order};
use schemas::api::{OrderState, Rfc3339};
use schemas::ids::Role;

use crate::shell::Shell;

const DAY: u64 = 24 * 60 * 60 * 1_000;
/// Of Kolkata, which knows no summer time.
const AHEAD: u64 = (5 * 60 + 30) * 60 * 1_000;

/// Midnight at the begin of the day that it is in Kolkata at a moment.
fn midnight(at: u64) -> u64 {
    (at + AHEAD) / DAY * DAY - AHEAD
}

#[tokio::test]
async fn an_operator_closes_a_site_and_no_order_ends_behind_its_shut_doors() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let cabinet = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    let shell = Shell::of(&world, Role::Operator, "admin")?;
    let list = shell.json(&["site", "list"]).await?;
    let site = list["sites"]["sites"][0]["site"].as_str().context("a site")?.to_owned();
    shell.fails(&["site", "set", &site, "--zone", "Kolkata"], 1, "is it Asia/Kolkata?").await?;
    shell.fails(&["site", "set", "nowhere", "--zone", "UTC"], 1, "no cabinet stands at a site nowhere").await?;
    shell.fails(&["site", "set", &site, "--hours", "mo-fr 9-5"], 2, "entry 1 of the opening hours").await?;

    // The day on which the window would end, and the one after: it may be nearly midnight there.
    let status = shell.json(&["site", "set", &site, "--zone", "asia/kolkata"]).await?;
    ensure!(status["site"]["zone"] == "Asia/Kolkata", "{status}");
    let set_at: Rfc3339 = serde_json::from_value(status["site"]["at"].clone())?;
    let first = midnight(set_at.0 + 3 * DAY);
    let date = |at: u64| Rfc3339(at + AHEAD).to_string()[..10].to_owned();
    let closed = format!("{},{}", date(first), date(first + DAY));
    shell.json(&["site", "set", &site, "--closed", &closed]).await?;

    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    cabinet.load("shop/A17").await?;
    let stored = world.shop.until_state("A17", OrderState::Stored).await?;
    let end = first + 3 * DAY;
    ensure!(stored.until == Some(Rfc3339(end)), "{stored:?} instead of {}", Rfc3339(end));
    let local = format!("{} 00:00 IST", date(end));
    let told = world.shop.until_notified("A17").await?;
    ensure!(told.until_local.as_deref() == Some(local.as_str()), "{:?} instead of {local}", told.until_local);
    ensure!(told.instruction.ends_with(&format!("It is kept until {local}.")), "{}", told.instruction);
    let shown = shell.json(&["order", "show", "shop/A17"]).await?;
    ensure!(shown["order"]["summary"]["until_local"] == local.as_str(), "{shown}");

    world.stage.kill_broker().await?;
    world.start_broker().await?;
    let kept = shell.json(&["site", "show", &site]).await?;
    ensure!(kept["site"]["closed"] == serde_json::json!([date(first), date(first + DAY)]), "{kept}");
    Ok(())
}
