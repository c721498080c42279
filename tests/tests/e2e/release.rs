//! Restricted goods: a code and, at the same screen, staff.

use anyhow::ensure;
use fleet_cli::stage::{CabinetPlan, PATIENCE};
use fleet_tests::{World, order};
use schemas::api::{OrderPut, OrderState};
use schemas::messages::Category;
use serde_json::json;

#[tokio::test]
async fn a_restricted_order_is_handed_over_without_a_network_by_its_code_and_a_release() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1:S,2:L")).await?;
    let put = OrderPut { staff_release: true, category: Category::Retail, ..order("R1", "berlin-01", "S") };
    world.shop.put(&put).await?;
    let stored = site.load("shop/R1").await?;
    let told = world.shop.until_notified("R1").await?;

    world.stage.stop_broker().await?;
    world.until_alone(&site).await?;
    let before = site.cabinet.pulses();
    for code in [&told.code, &told.qr] {
        let answer = site.screen()?.enter(code).await?;
        ensure!(answer.body == json!({ "result": "release_needed" }), "{answer:?}");
    }
    let (screen, staff) = (site.screen()?, site.session().await?);
    let listed =
        |view: &serde_json::Value| view["staff"]["releases"] == json!([{ "order": "shop/R1", "compartment": 1 }]);
    screen.until_in(Some(&staff), PATIENCE, "staff see who waits", listed).await?;
    ensure!(site.cabinet.pulses() == before, "a door was opened by a code alone");
    screen.post("release", Some(&staff), &json!({ "order": "shop/R1" })).await?;
    ensure!(site.until_pulses(before + 1).await? == stored);
    site.until_door(stored, "open").await?;
    site.cabinet.close_door(stored)?;

    world.start_broker().await?;
    world.shop.until_state("R1", OrderState::Collected).await?;
    let released = world.watch.until("the release", |event| event.kind == "released").await?;
    ensure!(released.compartment == Some(stored) && released.text.contains("shop/R1"), "{released:?}");
    site.no_more_pulses()
}
