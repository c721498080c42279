//! The app flow with real processes: whoever stands at the screen passes on what it shows, and a backend opens its order.

use std::fs;

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{CabinetPlan, PATIENCE, Stage};
use fleet_tests::{Look, Site, World, order, until};
use schemas::api::{OrderState, RejectReason, Reply, Request, UnlockRight};
use schemas::topics::{OrderChange, Topic};

/// Broker and cabinet are both set to it.
async fn world() -> anyhow::Result<(World, Site)> {
    let stage = Stage::set_up("acme")?;
    let settings = stage.layout().broker_toml();
    let text = fs::read_to_string(&settings)?;
    fs::write(&settings, format!("{text}\n[orders]\nopen_by_app = true\n"))?;
    let world = World::start_on(stage).await?;
    let prepare = |cabinet: &fleet_cli::stage::Cabinet| {
        let settings = cabinet.folder().agent_toml();
        let text = fs::read_to_string(&settings)?;
        Ok(fs::write(&settings, text.replace("[screen]\n", "[screen]\napp_token = true\n"))?)
    };
    let site = world.cabinet_prepared(CabinetPlan::new("berlin-01", "1-2:S"), prepare).await?;
    Ok((world, site))
}

/// What the screen shows to everybody.
async fn shown(site: &Site) -> anyhow::Result<String> {
    let seen = |view: &serde_json::Value| view["app"]["token"].is_string();
    let view = site.screen()?.until(PATIENCE, "the screen shows a token", seen).await?;
    let path = view["app"]["path"].as_str().context("a QR code")?;
    ensure!(path.len() > 500 && path.bytes().all(|byte| b"Mhvz -0123456789".contains(&byte)), "{path}");
    Ok(view["app"]["token"].as_str().context("a token")?.to_owned())
}

async fn ask(world: &World, order: &str, token: &str) -> anyhow::Result<()> {
    let topic = Topic::OrderChange { tenant: "acme".parse()?, integration: "shop".parse()?, change: OrderChange::Open };
    let payload = format!(r#"{{"order":"{order}","token":"{token}"}}"#);
    Ok(world.shop.client().publish(&topic, payload.into_bytes()).await?)
}

#[tokio::test]
async fn the_token_on_the_screen_opens_the_order_of_the_backend_that_passes_it_on() -> anyhow::Result<()> {
    let (mut world, site) = world().await?;
    for id in ["A17", "A18"] {
        world.shop.put(&order(id, "berlin-01", "S")).await?;
        world.shop.until_state(id, OrderState::Reserved).await?;
        site.load(&format!("shop/{id}")).await?;
        world.shop.until_notified(id).await?;
    }
    let door = world.shop.until_state("A17", OrderState::Stored).await?.compartment.context("a compartment")?;
    let before = site.cabinet.pulses();

    ask(&world, "A17", "ZZZZ-ZZZZ").await?;
    world.shop.until_reason("A17", RejectReason::NoSuchToken).await?;
    let token = shown(&site).await?;
    // Twice, as a backend does that has seen no PUBACK.
    ask(&world, "A17", &token).await?;
    ask(&world, "A17", &token).await?;
    world.shop.until_state("A17", OrderState::Collecting).await?;
    ensure!(site.until_pulses(before + 1).await? == door);
    ask(&world, "A18", &token).await?;
    world.shop.until_reason("A18", RejectReason::NoSuchToken).await?;
    site.cabinet.close_door(door)?;
    world.shop.until_state("A17", OrderState::Collected).await?;

    // Support does the same for a customer on the phone, and is on record for it.
    let request = Request::OrderOpen { order: world.shop.key("A18")?, token: shown(&site).await?.parse()? };
    let reply = world.operator.request(&request).await?;
    ensure!(matches!(reply, Reply::Unlock(_)), "{reply:?}");
    let rights = until("both openings are on record", async || {
        let request = Request::UnlockList { cabinet: site.cabinet.id().clone(), before: None };
        let Reply::Unlocks(page) = world.operator.request(&request).await? else { anyhow::bail!("no list") };
        let by: Vec<_> =
            page.unlocks.iter().filter(|one| one.right == UnlockRight::App && one.outcome.is_some()).collect();
        let by: Vec<_> = by.into_iter().filter_map(|one| one.by.clone()).collect();
        Ok(Look::at((by.len() == 2).then(|| by.clone()), || format!("{by:?}")))
    })
    .await?;
    ensure!(rights == ["operator:acme:admin", "integration:acme:shop"], "{rights:?}");
    ensure!(site.cabinet.pulses() == before + 2);
    Ok(())
}
