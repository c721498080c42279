//! An order that staff begin at the screen, from the phone number to the empty compartment.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{CabinetPlan, PATIENCE};
use fleet_tests::{Site, World};
use schemas::api::OrderState;
use schemas::messages::Compartment;
use serde_json::{Value, json};

const PHONE: &str = "+49 151 1234-5678";

/// Staff type the number, put the order in and close the door. Returns the order's id.
pub(crate) async fn begin(site: &Site, reference: &str) -> anyhow::Result<(String, Compartment)> {
    let (screen, session) = (site.screen()?, site.session().await?);
    let body = json!({ "phone": PHONE, "reference": reference, "size": "S", "category": "retail" });
    let before = site.cabinet.pulses();
    let answer = screen.post("walk-in", Some(&session), &body).await?;
    ensure!(answer.status == 202, "{answer:?}");
    let door = site.until_pulses(before + 1).await?;
    site.until_door(door, "open").await?;
    let begun = |view: &Value| view["staff"]["waiting"].to_string().contains(&format!("walk-in/{reference}-"));
    let view = screen.until_in(Some(&session), PATIENCE, "the walk-in is listed", begun).await?;
    let waiting = view["staff"]["waiting"].as_array().cloned().unwrap_or_default();
    let order = waiting.iter().filter_map(|one| one["order"].as_str());
    let order = order.filter_map(|key| key.strip_prefix("walk-in/")).find(|id| id.starts_with(reference));
    let order = order.context("no walk-in is listed")?.to_owned();
    site.cabinet.close_door(door)?;
    site.confirm(door, true).await?;
    site.until_shown(door, "stored", |shown| shown["asks"] == false && shown["allocated"] == true).await?;
    Ok((order, door))
}

#[tokio::test]
async fn a_walk_in_gets_its_code_also_when_it_was_begun_without_a_network() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-3:S")).await?;
    let (order, door) = begin(&site, "A17").await?;
    let told = world.shop.until_notified(&order).await?;
    ensure!(told.walk_in && told.compartment == Some(door));
    ensure!(told.recipient.phone.as_deref() == Some("+4915112345678"));
    ensure!(site.collect(&told.code).await? == door);
    world.shop.until_state(&order, OrderState::Collected).await?;

    world.stage.stop_broker().await?;
    let (order, door) = begin(&site, "B2").await?;
    // The cabinet loses its power before the fleet has heard of it.
    site.cabinet.kill_agent().await?;
    site.start_agent().await?;
    world.start_broker().await?;
    let told = world.shop.until_notified(&order).await?;
    ensure!((told.compartment, told.recipient.phone.as_deref()) == (Some(door), Some("+4915112345678")));
    site.collect(&told.code).await?;
    world.shop.until_state(&order, OrderState::Collected).await?;
    ensure!(world.shop.notifications().len() == 2, "{:?}", world.shop.notifications());

    let logs = std::fs::read_to_string(site.cabinet.log()).context("read the agent's log")?
        + &std::fs::read_to_string(world.stage.log("broker")).context("read the broker's log")?
        + &std::fs::read_to_string(world.stage.log("signer")).context("read the signer's log")?;
    ensure!(!logs.contains("15112345678"), "the number is in a log");
    Ok(())
}

/// The customer has thought better of it: nothing was put in, and the number goes nowhere.
#[tokio::test]
async fn a_walk_in_that_staff_give_up_is_over_and_its_compartment_free() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1:S")).await?;
    let (screen, session) = (site.screen()?, site.session().await?);
    let body = json!({ "phone": PHONE, "reference": "A17", "size": "S", "category": "retail" });
    let before = site.cabinet.pulses();
    screen.post("walk-in", Some(&session), &body).await?;
    let door = site.until_pulses(before + 1).await?;
    site.until_door(door, "open").await?;
    let listed = |view: &Value| view["staff"]["waiting"].to_string().contains("walk-in/A17-");
    let view = screen.until_in(Some(&session), PATIENCE, "the walk-in is listed", listed).await?;
    let order = view["staff"]["waiting"][0]["order"].as_str().context("its name")?.to_owned();
    let id = order.strip_prefix("walk-in/").context("a walk-in")?.to_owned();

    // While its door is open it is being loaded.
    let mut heard = site.listen().await?;
    let give_up = async || screen.post("drop-walk-in", Some(&session), &json!({ "order": order })).await;
    give_up().await?;
    let refused = site.until_said("staff_refused", &mut heard).await?;
    ensure!(refused["reason"] == "already_here", "{refused}");
    site.cabinet.close_door(door)?;
    site.confirm(door, false).await?;
    site.until_free(door).await?;
    give_up().await?;
    let gone = |view: &Value| !view["staff"]["waiting"].to_string().contains("walk-in/A17-");
    screen.until_in(Some(&session), PATIENCE, "the walk-in is gone", gone).await?;
    world.shop.until_state(&id, OrderState::Cancelled).await?;
    let event = world.watch.until("the fleet hears of it", |event| event.kind == "walk_in_dropped").await?;
    ensure!(event.order.as_deref() == Some(order.as_str()), "{event:?}");
    // What the fleet had told of it before may bring it back for a moment: then it is given up once more.
    let refused = async || {
        give_up().await?;
        let (notes, _) = site.notes(Some(heard)).await?;
        let refused = notes.iter().any(|note| note["note"] == "staff_refused");
        Ok(fleet_tests::Look::at(refused.then_some(()), || format!("{notes:?}")))
    };
    fleet_tests::until("what is gone cannot be given up", refused).await?;

    world.shop.put(&fleet_tests::order("B1", "berlin-01", "S")).await?;
    ensure!(site.load("shop/B1").await? == door, "its compartment is another order's");
    world.shop.until_notified("B1").await?;
    ensure!(world.shop.notifications().len() == 1, "nobody is told of what was given up");
    site.no_more_pulses()
}
