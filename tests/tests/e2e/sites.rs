//! Zones and opening hours of sites, as an operator says them.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{World, order};
use schemas::api::{OrderPut, OrderState, RejectReason, Rfc3339};
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

/// Put for a site by topic: the first cabinet has nothing that fits, so it goes to the other one, and staff load it there.
#[tokio::test]
async fn an_order_for_a_site_goes_to_the_cabinet_that_has_room() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let small = world.cabinet(CabinetPlan::new("berlin-01", "1:S,2:M")).await?;
    let large = world.cabinet(CabinetPlan::new("berlin-02", "1:S,2:L")).await?;
    let for_site = |id: &str, size: &str| -> anyhow::Result<OrderPut> {
        Ok(OrderPut { cabinet: None, site: Some("demo-site".parse()?), ..order(id, "berlin-01", size) })
    };
    world.shop.put(&for_site("A1", "L")?).await?;
    let reserved = world.shop.until_decided("A1").await?;
    ensure!(reserved.cabinet.as_ref() == Some(large.cabinet.id()), "{reserved:?}");
    world.shop.put(&for_site("A1", "L")?).await?;
    // Two more of that size are one too many; what is small goes wherever there is room.
    world.shop.put(&for_site("A2", "L")?).await?;
    let rejected = world.shop.until_decided("A2").await?;
    ensure!(rejected.reason == Some(RejectReason::NoFittingCompartment), "{rejected:?}");
    let mut places = Vec::new();
    for id in ["B1", "B2", "B3"] {
        world.shop.put(&for_site(id, "S")?).await?;
        places.push(world.shop.until_decided(id).await?.cabinet);
    }
    ensure!(places.contains(&Some(small.cabinet.id().clone())) && places.iter().all(Option::is_some), "{places:?}");

    let door = large.load("shop/A1").await?;
    ensure!(door.number() == 2, "it was loaded into {door}");
    let told = world.shop.until_notified("A1").await?;
    ensure!(told.cabinet == *large.cabinet.id() && told.compartment == Some(door), "{told:?}");
    let elsewhere = small.screen()?.enter(&told.code).await?;
    ensure!(elsewhere.body["result"] == "refused", "{elsewhere:?}");
    ensure!(large.collect(&told.code).await? == door);
    world.shop.until_state("A1", OrderState::Collected).await?;
    small.no_more_pulses()?;
    large.no_more_pulses()
}
