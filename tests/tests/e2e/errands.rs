//! Orders that staff have loaded and taken out from afar, with real processes: by name, once, and never kept for later.

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{CabinetPlan, PATIENCE, Verdict};
use fleet_tests::{Look, Site, World, order, until};
use schemas::api::{OrderState, Reply, Request, UnlockRight};
use schemas::ids::Role;
use schemas::messages::{Compartment, Down};

use crate::keys::{Keeper, until_keyset};
use crate::shell::Shell;

/// Who had doors opened by command, the newest first, once `count` of them have an outcome.
async fn opened_by(world: &World, site: &Site, count: usize) -> anyhow::Result<Vec<String>> {
    until("the openings are on record", async || {
        let request = Request::UnlockList { cabinet: site.cabinet.id().clone(), before: None };
        let Reply::Unlocks(page) = world.operator.request(&request).await? else { anyhow::bail!("no list") };
        ensure!(page.unlocks.iter().all(|one| one.right != UnlockRight::Staff), "nobody was at the screen: {page:?}");
        let by = page.unlocks.iter().filter(|one| one.right == UnlockRight::Command && one.outcome.is_some());
        let by: Vec<_> = by.filter_map(|one| one.by.clone()).collect();
        Ok(Look::at((by.len() == count).then(|| by.clone()), || format!("{page:?}")))
    })
    .await
}

fn compartment(reply: &serde_json::Value) -> anyhow::Result<Compartment> {
    ensure!(reply["unlock"]["outcome"] == "opened", "{reply}");
    let number = reply["unlock"]["compartment"].as_u64().and_then(|number| u16::try_from(number).ok());
    number.and_then(Compartment::new).with_context(|| format!("no compartment: {reply}"))
}

#[tokio::test]
async fn a_member_of_staff_has_an_order_loaded_and_another_taken_out_without_the_screen() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S,3:L")).await?;
    let sam = Shell::of(&world, Role::Staff, "sam")?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    world.shop.until_state("A17", OrderState::Reserved).await?;

    sam.fails(&["order", "retrieve", "shop/A17"], 1, "not_inside").await?;
    sam.fails(&["order", "load", "shop/Z99"], 1, "there is no order shop/Z99").await?;
    sam.fails(&["order", "load", "shop/A17", "--size", "XL"], 1, "no_fitting_compartment").await?;
    sam.fails(&["order", "load", "shop/A17", "--size", "L", "--compartment", "1"], 2, "cannot be used with").await?;
    sam.fails(&["unlock", "berlin-01", "1", "--reason", "x"], 1, "role staff may not ask for unlock").await?;
    site.no_more_pulses()?;

    let door = compartment(&sam.json(&["order", "load", "shop/A17", "--size", "L"]).await?)?;
    ensure!(door.number() == 3, "{door}");
    site.until_opened_remotely(door, 1).await?;
    world.shop.until_state("A17", OrderState::Loading).await?;
    sam.fails(&["order", "load", "shop/A17"], 1, "already_inside").await?;
    sam.fails(&["order", "loaded", "shop/A17"], 1, "door_open").await?;
    site.cabinet.close_door(door)?;
    site.until_shown(door, "asking", |shown| shown["asks"] == true).await?;
    ensure!(!world.shop.states("A17").contains(&OrderState::Stored));

    // It went into a larger one by mistake.
    sam.json(&["order", "loaded", "shop/A17", "--undo"]).await?;
    site.until_free(door).await?;
    let door = compartment(&sam.json(&["order", "load", "shop/A17", "--compartment", "2"]).await?)?;
    ensure!(door.number() == 2, "{door}");
    site.until_opened_remotely(door, 2).await?;
    site.cabinet.close_door(door)?;
    site.until_shown(door, "asking", |shown| shown["asks"] == true).await?;
    ensure!(sam.json(&["order", "loaded", "shop/A17"]).await? == "done");
    world.shop.until_state("A17", OrderState::Stored).await?;
    let code = world.shop.until_notified("A17").await?.code;
    ensure!(opened_by(&world, &site, 2).await? == ["staff:acme:sam", "staff:acme:sam"]);
    let said = world.watch.of_kind("errand_taken");
    ensure!(said.iter().all(|event| event.text.starts_with("staff:acme:sam")) && said.len() == 4, "{said:?}");

    // It is the customer's, until the shop takes it back.
    sam.fails(&["order", "retrieve", "shop/A17"], 1, "not_to_be_retrieved").await?;
    let operator = Shell::of(&world, Role::Operator, "admin")?;
    operator.json(&["order", "cancel", "shop/A17"]).await?;
    let session = site.session().await?;
    let listed = |view: &serde_json::Value| view["staff"]["unwanted"][0]["why"] == "recalled";
    site.screen()?.until_in(Some(&session), PATIENCE, "it is to be taken out", listed).await?;
    ensure!(compartment(&operator.json(&["order", "retrieve", "shop/A17"]).await?)? == door);
    site.until_opened_remotely(door, 3).await?;
    let refused = site.screen()?.enter(&code).await?;
    ensure!(refused.body["result"] == "refused", "{refused:?}");
    site.cabinet.close_door(door)?;
    world.shop.until_state("A17", OrderState::Retrieved).await?;
    site.until_free(door).await?;
    ensure!(opened_by(&world, &site, 3).await?[0] == "operator:acme:admin");
    site.no_more_pulses()
}

#[tokio::test]
async fn a_load_that_comes_twice_opens_once_and_one_for_a_cabinet_that_is_away_is_not_kept() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut site = world.cabinet_behind_carrier(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    let sam = Shell::of(&world, Role::Staff, "sam")?;
    for id in ["A17", "A18"] {
        world.shop.put(&order(id, "berlin-01", "S")).await?;
        world.shop.until_state(id, OrderState::Reserved).await?;
    }
    site.carrier()?.rule(|down| if matches!(down, Down::Command(_)) { Verdict::Twice } else { Verdict::Pass });
    let door = compartment(&sam.json(&["order", "load", "shop/A17"]).await?)?;
    world.watch.until_refused("replayed", 1).await?;
    site.until_opened_remotely(door, 1).await?;
    let command = site.carrier()?.commands().pop().context("the carrier saw no command")?;
    site.cabinet.stop_agent().await?;
    world.until_online(&site, false).await?;
    sam.fails(&["order", "load", "shop/A18"], 1, "is not connected, nothing was sent").await?;
    site.start_agent().await?;
    site.cabinet.until_online().await?;
    site.carrier()?.inject(&command).await?;
    world.watch.until_refused("replayed", 2).await?;
    site.no_more_pulses()?;
    // What was half done goes on. Right behind its start the agent knows nothing of the door.
    site.until_door(door, "open").await?;
    site.cabinet.close_door(door)?;
    site.until_shown(door, "asking", |shown| shown["asks"] == true && shown["door"] == "closed").await?;
    sam.json(&["order", "loaded", "shop/A17"]).await?;
    world.shop.until_state("A17", OrderState::Stored).await?;
    site.no_more_pulses()
}

#[tokio::test]
async fn where_only_people_sign_an_order_is_loaded_and_taken_out_by_an_own_key_alone() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    let ben = Shell::of(&world, Role::Support, "ben")?;
    let keeper = Keeper::of(&world)?;
    for step in [["rotate", "admin"].as_slice(), &["people-only"], &["delegate", "support", "ben"]] {
        keeper.keys(step).await?;
    }
    world.stage.reload_signer().await?;
    until_keyset(&world, &site, 3).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    world.shop.until_state("A17", OrderState::Reserved).await?;
    let sam = Shell::of(&world, Role::Staff, "sam")?;
    sam.fails(&["order", "load", "shop/A17"], 1, "keys of their own").await?;
    site.no_more_pulses()?;

    let door = compartment(&ben.json(&["order", "load", "shop/A17"]).await?)?;
    site.until_opened_remotely(door, 1).await?;
    site.cabinet.close_door(door)?;
    site.until_shown(door, "asking", |shown| shown["asks"] == true).await?;
    ensure!(ben.json(&["order", "loaded", "shop/A17"]).await? == "done");
    world.shop.until_state("A17", OrderState::Stored).await?;
    // What the fleet could not sign is on record too, as not sent.
    ensure!(opened_by(&world, &site, 2).await? == ["support:acme:ben", "staff:acme:sam"]);
    ben.fails(&["order", "retrieve", "shop/A17"], 1, "not_to_be_retrieved").await?;
    site.no_more_pulses()
}
