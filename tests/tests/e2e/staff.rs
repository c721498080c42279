//! Staff: badges, ends and revocation, at the screen, with the fleet and without it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Look, Site, World, until};
use schemas::api::{Reply, Request, Rfc3339, StaffIssued};
use schemas::ids::Role;

use crate::shell::Shell;

/// What the operator reads of a member of staff once every cabinet knows the newest.
async fn until_told(operator: &Shell, name: &str, listed: bool) -> anyhow::Result<()> {
    until(&format!("every cabinet knows of {name}"), async || {
        let answer = operator.json(&["staff", "list"]).await?;
        let members = answer["staff_members"].as_array().cloned().context("no list")?;
        let found = members.iter().find(|member| member["name"] == name);
        let told = match found {
            Some(member) => listed && member["pending_count"] == 0,
            None => !listed,
        };
        Ok(Look::at(told.then_some(()), || answer.to_string()))
    })
    .await
}

async fn refused(site: &Site, secret: &str, reason: &str) -> anyhow::Result<()> {
    let error = site.screen()?.staff(secret).await.err().context("a session began")?;
    ensure!(error.to_string().contains(reason), "{error:#}");
    Ok(())
}

#[tokio::test]
async fn a_badge_works_offline_and_is_dead_offline_once_its_revocation_came() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    let pin = operator.json(&["staff", "add", "kim"]).await?["staff"]["pin"].as_str().context("no PIN")?.to_owned();
    let badge = operator.json(&["staff", "badge", "kim"]).await?["badge"]["badge"].as_str().context("none")?.to_owned();
    until_told(&operator, "kim", true).await?;

    world.stage.stop_broker().await?;
    world.until_alone(&site).await?;
    site.screen()?.staff(&badge).await?;
    site.screen()?.staff(&pin).await?;
    let session = site.screen()?.staff(&badge).await?;
    ensure!(!site.screen()?.view(Some(&session)).await?["staff"].is_null());

    world.start_broker().await?;
    world.until_online(&site, true).await?;
    let said = operator.json(&["staff", "revoke", "kim"]).await?;
    ensure!(said["staff_members"][0]["revoked"] == true, "{said}");
    until_told(&operator, "kim", false).await?;
    world.stage.stop_broker().await?;
    world.until_alone(&site).await?;
    refused(&site, &badge, "wrong").await?;
    refused(&site, &pin, "wrong").await?;
    // Others are not touched.
    site.session().await.map(drop)
}

#[tokio::test]
async fn a_pin_ends_at_its_time_also_where_the_fleet_is_away() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    let soon = SystemTime::now().duration_since(UNIX_EPOCH)? + Duration::from_secs(8);
    let until_then = Some(Rfc3339(u64::try_from(soon.as_millis())?));
    let reply = world.operator.request(&Request::StaffAdd { name: "tim".parse()?, until: until_then }).await?;
    let Reply::Staff(StaffIssued { pin, .. }) = reply else { anyhow::bail!("no PIN: {reply:?}") };
    until_told(&operator, "tim", true).await?;
    world.stage.stop_broker().await?;
    world.until_alone(&site).await?;
    until("the PIN has ended", async || {
        let tried = site.screen()?.staff(&pin).await;
        let said = tried.map_or_else(|error| error.to_string(), |_| "a session".to_owned());
        Ok(Look::at(said.contains("expired").then_some(()), || said))
    })
    .await?;
    ensure!(site.screen()?.view(None).await?["locked_millis"].is_null(), "a right PIN that has ended was counted");
    Ok(())
}
