//! What a backend wants of its orders by topic once they are put, and what becomes of one that nobody comes for.

use anyhow::ensure;
use fleet_cli::stage::{CabinetPlan, PATIENCE};
use fleet_tests::{Site, World, order};
use schemas::api::{Minutes, OrderState, Policies, RejectReason, Reply, Request, Rfc3339};
use schemas::topics::{OrderChange, Topic};
use serde_json::Value;

async fn wish(world: &World, change: OrderChange, payload: &str) -> anyhow::Result<()> {
    let topic = Topic::OrderChange { tenant: "acme".parse()?, integration: "shop".parse()?, change };
    Ok(world.shop.client().publish(&topic, payload.as_bytes().to_vec()).await?)
}

async fn cancel(world: &World, id: &str) -> anyhow::Result<()> {
    let topic = Topic::OrderCancel { tenant: "acme".parse()?, integration: "shop".parse()? };
    Ok(world.shop.client().publish(&topic, format!(r#"{{"order":"{id}"}}"#).into_bytes()).await?)
}

/// Staff are shown why they are to take something out, and do so.
async fn taken_out(world: &mut World, site: &Site, id: &str, why: &str) -> anyhow::Result<()> {
    let session = site.session().await?;
    let listed = |view: &Value| {
        let all = view["staff"]["unwanted"].as_array().cloned().unwrap_or_default();
        all.iter().any(|one| one["order"] == format!("shop/{id}") && one["why"] == why)
    };
    site.screen()?.until_in(Some(&session), PATIENCE, "staff are to take it out", listed).await?;
    let before = site.cabinet.pulses();
    site.screen()?.retrieve(&session, &format!("shop/{id}")).await?;
    let door = site.until_pulses(before + 1).await?;
    site.until_door(door, "open").await?;
    site.cabinet.close_door(door)?;
    let retrieved = world.shop.until_state(id, OrderState::Retrieved).await?;
    ensure!(retrieved.compartment == Some(door), "{retrieved:?}");
    site.until_free(door).await
}

#[tokio::test]
async fn a_backend_extends_cancels_and_recalls_by_topic() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-3:S")).await?;
    for id in ["A1", "A2"] {
        world.shop.put(&order(id, "berlin-01", "S")).await?;
        world.shop.until_state(id, OrderState::Reserved).await?;
    }
    let door = site.load("shop/A1").await?;
    let told = world.shop.until_notified("A1").await?;

    // More time: the code stays, and the same wish once more is nothing. One that is no extension is refused.
    let stored = world.shop.until_state("A1", OrderState::Stored).await?;
    let later = Rfc3339(stored.at.0 + 10 * 24 * 60 * 60 * 1_000);
    let extension = format!(r#"{{"order":"A1","until":"{later}"}}"#);
    wish(&world, OrderChange::Extend, &extension).await?;
    wish(&world, OrderChange::Extend, &extension).await?;
    wish(&world, OrderChange::Extend, &format!(r#"{{"order":"A1","until":"{}"}}"#, stored.at)).await?;
    world.shop.until_reason("A1", RejectReason::DeadlineNotLater).await?;
    let ends: Vec<_> = world.shop.statuses().iter().filter_map(|row| row.until).collect();
    ensure!(ends.iter().filter(|end| **end == later).count() >= 1 && ends.last() == Some(&later), "{ends:?}");

    // Cancelled before it is loaded, it is over, and its compartment is free for another one.
    cancel(&world, "A2").await?;
    world.shop.until_state("A2", OrderState::Cancelled).await?;
    for id in ["A3", "A4"] {
        world.shop.put(&order(id, "berlin-01", "S")).await?;
        world.shop.until_state(id, OrderState::Reserved).await?;
    }

    // Cancelled while it is inside, it is recalled: its code is dead, and staff take it out.
    cancel(&world, "A1").await?;
    world.shop.until_state("A1", OrderState::Recalled).await?;
    let session = site.session().await?;
    let listed = |view: &Value| view["staff"]["unwanted"][0]["why"] == "recalled";
    site.screen()?.until_in(Some(&session), PATIENCE, "staff are to take it out", listed).await?;
    for secret in [&told.code, &told.qr] {
        let refused = site.screen()?.enter(secret).await?;
        ensure!(refused.body["result"] == "refused", "{refused:?}");
    }
    site.no_more_pulses()?;
    taken_out(&mut world, &site, "A1", "recalled").await?;
    wish(&world, OrderChange::Extend, &extension).await?;
    world.shop.until_reason("A1", RejectReason::TooLate).await?;
    ensure!(site.load("shop/A3").await? != door || site.load("shop/A4").await? != door);
    ensure!(world.shop.notifications().iter().filter(|row| row.order.as_str() == "A1").count() == 1);
    Ok(())
}

/// Acceptance 4, with the shortest window that a policy can have.
#[tokio::test]
async fn an_order_that_nobody_comes_for_is_overdue_and_goes_back_to_staff() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    let mut policies = Policies::default();
    policies.retail.window_minutes = Minutes::try_from(1).map_err(anyhow::Error::msg)?;
    policies.retail.reminders_percent.clear();
    let put = Request::PolicyPut { replaces: 0, policies: Box::new(policies), live: false };
    let reply = world.operator.request(&put).await?;
    ensure!(matches!(reply, Reply::Policy(_)), "{reply:?}");
    for id in ["A1", "A2"] {
        world.shop.put(&order(id, "berlin-01", "S")).await?;
        site.load(&format!("shop/{id}")).await?;
    }
    let (first, second) = (world.shop.until_notified("A1").await?, world.shop.until_notified("A2").await?);
    for id in ["A1", "A2"] {
        let stored = world.shop.until_state(id, OrderState::Stored).await?;
        let overdue = world.shop.until_state(id, OrderState::Overdue).await?;
        ensure!(overdue.until == stored.until && stored.until == Some(overdue.at), "{stored:?}, {overdue:?}");
    }
    let listed = world.operator.request(&Request::OrderList { cabinet: None, overdue: true }).await?;
    let Reply::Orders(orders) = listed else { anyhow::bail!("{listed:?}") };
    ensure!(orders.len() == 2, "{orders:?}");

    // Whoever comes late is not refused in front of their order; the other one staff take back, and with that its code is dead.
    ensure!(Some(site.collect(&first.code).await?) == first.compartment);
    world.shop.until_state("A1", OrderState::Collected).await?;
    taken_out(&mut world, &site, "A2", "overdue").await?;
    let refused = site.screen()?.enter(&second.code).await?;
    ensure!(refused.body["result"] == "refused", "{refused:?}");
    site.no_more_pulses()
}
