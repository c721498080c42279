//! Who stands in front of the cabinet, and what they carry.

use anyhow::{Context as _, bail, ensure};
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Site, World, order};
use schemas::api::{BadgeIssued, CourierIssued, Notification, OrderState, Reply, Request, Scope};
use schemas::messages::Compartment;

use crate::browser::Browser;
use crate::words;

/// The locks take the first channels, so that sensors have those from here on.
const FIRST_SENSOR: u8 = 12;

/// Compartments of which the first `sensors` see what is inside.
pub(crate) fn plan(compartments: &str, sensors: u8) -> CabinetPlan {
    let mut plan = CabinetPlan::new("berlin-01", compartments);
    plan.sensors = (1..=sensors).map(|number| (number.into(), 1, FIRST_SENSOR + number)).collect();
    plan
}

/// A badge of the staff. Made before there is a cabinet, it is in the cabinet's first book.
pub(crate) async fn badge(world: &World) -> anyhow::Result<String> {
    let reply = world.operator.request(&Request::StaffBadge { name: "sam".parse()? }).await?;
    let Reply::Badge(BadgeIssued { badge, .. }) = reply else { bail!("no badge: {reply:?}") };
    Ok(badge)
}

/// The PIN of a new courier; the same.
pub(crate) async fn courier(world: &World) -> anyhow::Result<String> {
    let added = Request::CourierAdd { name: "jo".parse()?, until: None, scope: Scope::Tenant };
    let reply = world.operator.request(&added).await?;
    let Reply::Courier(CourierIssued { pin, .. }) = reply else { bail!("no PIN: {reply:?}") };
    Ok(pin)
}

/// Orders that are stored, with their codes.
pub(crate) async fn stored(world: &mut World, site: &Site, ids: &[&str]) -> anyhow::Result<Vec<Notification>> {
    let mut told = Vec::new();
    for id in ids {
        world.shop.put(&order(id, site.name(), "S")).await?;
        site.load(&format!("shop/{id}")).await?;
        told.push(world.shop.until_notified(id).await?);
    }
    Ok(told)
}

/// Orders that staff find on their list.
pub(crate) async fn waiting(world: &mut World, site: &Site, ids: &[&str], size: &str) -> anyhow::Result<()> {
    for id in ids {
        world.shop.put(&order(id, site.name(), size)).await?;
        world.shop.until_state(id, OrderState::Reserved).await?;
    }
    let known = |view: &serde_json::Value| {
        let listed = view["staff"]["waiting"].to_string();
        ids.iter().all(|id| listed.contains(&format!("/{id}\"")))
    };
    let session = site.session().await?;
    site.screen()?.until_in(Some(&session), fleet_cli::stage::PATIENCE, "orders are listed", known).await.map(drop)
}

/// One more lock was pulsed, and its door stands open.
pub(crate) async fn opened(site: &Site, before: usize) -> anyhow::Result<Compartment> {
    let door = site.until_pulses(before + 1).await?;
    site.until_door(door, "open").await?;
    Ok(door)
}

/// The customer sees that door, takes what is inside and closes it.
pub(crate) async fn taken(
    browser: &mut Browser,
    site: &Site,
    told: &Notification,
    before: usize,
) -> anyhow::Result<()> {
    let door = opened(site, before).await?;
    ensure!(told.compartment == Some(door), "{door} instead of {:?}", told.compartment);
    browser.heading(&words::door_is(door.number(), "open")).await?;
    site.cabinet.close_door(door)?;
    browser.read(words::GOODBYE).await
}

/// A code as long as this one that nobody has.
pub(crate) fn wrong(codes: &[Notification], attempt: usize) -> anyhow::Result<String> {
    let digits = codes.first().context("no code")?.code.len();
    let none = (0..).map(|n| format!("{:0digits$}", n * 10 + attempt));
    none.into_iter().find(|code| codes.iter().all(|known| known.code != *code)).context("no wrong code")
}
