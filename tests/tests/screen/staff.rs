//! Staff: how often they have to touch the screen, and all of it by keyboard alone.

use anyhow::{Context as _, ensure};
use fleet_tests::World;
use schemas::api::OrderState;
use schemas::messages::Compartment;
use sim_board::LockFault;

use crate::browser::{Browser, LARGE, SMALL, UPRIGHT};
use crate::people::{badge, opened, plan, stored, waiting};
use crate::words;

/// What staff may have to touch for an order that does not go as it should.
const TOUCHES_MAX: usize = 3;

#[tokio::test]
async fn orders_that_are_scanned_are_loaded_without_a_touch() -> anyhow::Result<()> {
    let Some(mut browser) = Browser::start(UPRIGHT).await? else { return Ok(()) };
    let mut world = World::start().await?;
    let badge = badge(&world).await?;
    let site = world.cabinet(plan("1-6:S,7:M,8-9:L", 7)).await?;
    waiting(&mut world, &site, &["A1", "A2", "A3", "A4", "A5", "A6"], "S").await?;
    waiting(&mut world, &site, &["L1"], "L").await?;
    browser.open(&site.screen()?.url()).await?;
    browser.button(words::OPEN_THE_DOOR).await?;
    browser.scan(&badge).await?;
    browser.heading(words::ORDERS).await?;
    browser.good("real-staff-list").await?;

    // Badge, label, door, label, door: nothing is touched.
    for id in ["A1", "A2", "A3"] {
        let before = site.cabinet.pulses();
        browser.scan(id).await?;
        let door = opened(&site, before).await?;
        browser.read(&format!("Put {id} into door")).await?;
        browser.element(".tile.open").await?;
        site.cabinet.set_inside(door, true)?;
        site.cabinet.close_door(door)?;
        browser.read(words::STORED).await?;
    }
    ensure!(browser.take_touches() == 0);
    browser.good("real-stored").await?;

    // Too small: one touch, and the larger door opens.
    let before = site.cabinet.pulses();
    browser.scan("A4").await?;
    let small = opened(&site, before).await?;
    browser.tap(words::LARGER).await?;
    let larger = opened(&site, before + 1).await?;
    ensure!(larger.number() >= 7, "{larger} is not larger than {small}");
    site.cabinet.close_door(small)?;
    site.cabinet.set_inside(larger, true)?;
    site.cabinet.close_door(larger)?;
    world.shop.until_state("A4", OrderState::Stored).await?;
    browser.read(words::STORED).await?;
    let touches = browser.take_touches();
    ensure!((1..=TOUCHES_MAX).contains(&touches), "{touches} touches for another door");

    // No sensor sees what is inside: one touch says it.
    let before = site.cabinet.pulses();
    browser.scan("L1").await?;
    let door = opened(&site, before).await?;
    site.cabinet.close_door(door)?;
    browser.button(words::YES_INSIDE).await?;
    browser.good("real-is-it-inside").await?;
    browser.tap(words::YES_INSIDE).await?;
    browser.read(words::STORED).await?;
    let touches = browser.take_touches();
    ensure!((1..=TOUCHES_MAX).contains(&touches), "{touches} touches for a question");

    // A door that jams: one touch more.
    let free = site.session().await?;
    let view = site.screen()?.view(Some(&free)).await?;
    let rows = view["staff"]["compartments"].as_array().cloned().unwrap_or_default();
    for row in rows.iter().filter(|row| row["allocated"] == false) {
        let lock = u8::try_from(row["number"].as_u64().unwrap_or_default())?;
        site.cabinet.board().set_lock_fault(1, lock, LockFault::Stuck).map_err(anyhow::Error::msg)?;
    }
    browser.scan("A5").await?;
    browser.element(".tile.push").await?;
    for row in &rows {
        let lock = u8::try_from(row["number"].as_u64().unwrap_or_default())?;
        site.cabinet.board().set_lock_fault(1, lock, LockFault::None).map_err(anyhow::Error::msg)?;
    }
    let name = browser.text(".next .primary").await?;
    browser.tap(&name).await?;
    browser.element(".tile.open").await?;
    let number = browser.text(".tile b").await?;
    let door = Compartment::new(number.trim().parse()?).unwrap();
    site.cabinet.set_inside(door, true)?;
    site.cabinet.close_door(door)?;
    browser.read(words::STORED).await?;
    let touches = browser.take_touches();
    ensure!((1..=TOUCHES_MAX).contains(&touches), "{touches} touches for a door that jams");

    // By tapping: the way back to the list, and the order.
    browser.tap(words::NEXT_ORDER).await?;
    let before = site.cabinet.pulses();
    browser.tap_row("A6").await?;
    let door = opened(&site, before).await?;
    site.cabinet.set_inside(door, true)?;
    site.cabinet.close_door(door)?;
    browser.read(words::STORED).await?;
    let touches = browser.take_touches();
    ensure!(touches == 2, "{touches} touches for an order that is tapped");

    // The list on the page is older than this order.
    waiting(&mut world, &site, &["A7"], "S").await?;
    let before = site.cabinet.pulses();
    browser.scan("A7").await?;
    opened(&site, before).await?;
    browser.read("Put A7 into door").await
}

#[tokio::test]
async fn staff_work_by_keyboard_alone() -> anyhow::Result<()> {
    let Some(mut browser) = Browser::start(LARGE).await? else { return Ok(()) };
    let mut world = World::start().await?;
    let site = world.cabinet(plan("1-3:S", 0)).await?;
    waiting(&mut world, &site, &["A1", "A2"], "S").await?;
    browser.open(&site.screen()?.url()).await?;
    browser.tab_to(words::STAFF).await?;
    browser.press("Enter").await?;
    browser.heading(words::STAFF_PIN).await?;
    browser.scan(world.pin()).await?;
    browser.heading(words::ORDERS).await?;

    let before = site.cabinet.pulses();
    browser.tab_to_row("A1").await?;
    browser.press("Enter").await?;
    let door = opened(&site, before).await?;
    browser.element(".tile.open").await?;
    site.cabinet.close_door(door)?;
    browser.tab_to(words::YES_INSIDE).await?;
    browser.press("Enter").await?;
    browser.tab_to(words::NEXT_ORDER).await?;
    browser.press("Enter").await?;
    world.shop.until_state("A1", OrderState::Stored).await?;

    // The round: the door is opened, looked into and closed.
    browser.tab_to(words::CHECK_DOORS).await?;
    browser.press("Enter").await?;
    browser.heading(words::CHECK_DOORS).await?;
    browser.good("real-round").await?;
    let before = site.cabinet.pulses();
    browser.tab_to_row(&format!("Door {door}")).await?;
    browser.press("Space").await?;
    ensure!(opened(&site, before).await? == door);
    browser.element(".tile.open").await?;
    site.cabinet.close_door(door)?;
    browser.tab_to(words::YES_INSIDE).await?;
    browser.press("Space").await?;
    browser.heading(words::CHECK_DOORS).await?;
    // Two touches at different places, and a way back between them.
    browser.tab_to(words::EMERGENCY).await?;
    browser.press("Enter").await?;
    browser.button(words::EMERGENCY_YES).await?;
    browser.tab_to(words::GO_BACK).await?;
    browser.press("Enter").await?;
    browser.tab_to(words::BACK_TO_LIST).await?;
    browser.press("Enter").await?;
    browser.tab_to(words::LOG_OUT).await?;
    browser.press("Enter").await?;
    browser.heading(words::TYPE_CODE).await?;
    site.no_more_pulses()
}

#[tokio::test]
async fn an_order_is_carried_to_another_door_and_scanned_there() -> anyhow::Result<()> {
    let Some(mut browser) = Browser::start(SMALL).await? else { return Ok(()) };
    let mut world = World::start().await?;
    let badge = badge(&world).await?;
    let site = world.cabinet(plan("1-3:S", 0)).await?;
    let told = stored(&mut world, &site, &["A1"]).await?;
    let from = told[0].compartment.context("a door")?;
    let to = Compartment::new(if from.number() == 3 { 2 } else { 3 }).context("a door")?;
    browser.open(&site.screen()?.url()).await?;
    browser.heading(words::TYPE_CODE).await?;
    browser.scan(&badge).await?;
    browser.heading(words::ORDERS).await?;
    browser.tap(words::CHECK_DOORS).await?;
    for door in [from, to] {
        let before = site.cabinet.pulses();
        browser.tap_row(&format!("Door {door}")).await?;
        ensure!(opened(&site, before).await? == door);
        browser.element(".tile.open").await?;
        if door == from {
            browser.tap(words::BACK_TO_DOORS).await?;
        }
    }
    site.cabinet.close_door(from)?;
    site.cabinet.close_door(to)?;
    browser.read(words::SCAN_IT).await?;
    browser.good("real-look-asking").await?;
    browser.scan("A9").await?;
    browser.read("No order A9 is known here.").await?;
    browser.scan("shop/A1").await?;
    browser.read(words::CORRECTED).await?;
    browser.read(&format!("Door {from}, where it was booked, needs a look.")).await?;
    browser.good("real-found").await?;
    let before = site.cabinet.pulses();
    ensure!(site.collect(&told[0].code).await? == to, "the same code opens the other door");
    ensure!(site.cabinet.pulses() == before + 1);
    world.shop.until_state("A1", OrderState::Collected).await?;
    let stored = world.shop.statuses().iter().filter(|status| status.state == OrderState::Stored);
    let doors: Vec<_> = stored.filter_map(|status| status.compartment).collect();
    ensure!(doors == [from, to], "its backend was told {doors:?}");
    Ok(())
}
