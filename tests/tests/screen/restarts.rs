//! A page that is loaded again, an agent that starts again, and a network that is gone.

use anyhow::ensure;
use fleet_tests::{Site, World, order};
use schemas::api::{OrderPut, OrderState, SecondFactor};
use schemas::crypto::answers::Answer;
use schemas::messages::{DepositKind, Prompt};
use serde_json::json;

use crate::browser::{Browser, SMALL};
use crate::people::{badge, courier, opened, plan, stored, taken, waiting};
use crate::words;

#[tokio::test]
async fn work_goes_on_behind_a_reload_a_restart_and_without_a_network() -> anyhow::Result<()> {
    let Some(mut browser) = Browser::start(SMALL).await? else { return Ok(()) };
    let mut world = World::start().await?;
    let badge = badge(&world).await?;
    let mut site = world.cabinet(plan("1-6:S", 0)).await?;
    let codes = stored(&mut world, &site, &["A1", "A2", "A3"]).await?;
    waiting(&mut world, &site, &["B1"], "S").await?;
    browser.open(&site.screen()?.url()).await?;
    browser.heading(words::TYPE_CODE).await?;

    // In the middle of a code, and in front of an open door: the key is kept, the address bar does not show it.
    browser.types("123").await?;
    browser.reload().await?;
    let before = site.cabinet.pulses();
    browser.button(words::OPEN_THE_DOOR).await?;
    browser.scan(&codes[0].code).await?;
    let door = opened(&site, before).await?;
    browser.heading(&words::door_is(door.number(), "open")).await?;
    browser.reload().await?;
    browser.heading(words::TYPE_CODE).await?;
    let address: String = browser.run("location.href + '|' + history.length").await?;
    anyhow::ensure!(!address.contains("key"), "{address}");
    site.cabinet.close_door(door)?;
    world.shop.until_state("A1", OrderState::Collected).await?;

    // Staff with an open door: the badge again, and the question comes, on the list or as a page of its own.
    let before = site.cabinet.pulses();
    browser.scan(&badge).await?;
    browser.heading(words::ORDERS).await?;
    browser.scan("B1").await?;
    let door = opened(&site, before).await?;
    browser.element(".tile.open").await?;
    browser.reload().await?;
    browser.heading(words::TYPE_CODE).await?;
    site.cabinet.close_door(door)?;
    browser.scan(&badge).await?;
    browser.tap(words::YES_INSIDE).await?;
    world.shop.until_state("B1", OrderState::Stored).await?;
    browser.tap(words::LOG_OUT).await?;

    // Another start has another key: the page of the one before says that it is cut off.
    browser.heading(words::TYPE_CODE).await?;
    site.cabinet.kill_agent().await?;
    browser.heading(words::LOST).await?;
    browser.good("real-lost").await?;
    site.start_agent().await?;
    browser.open(&site.screen()?.url()).await?;
    browser.heading(words::TYPE_CODE).await?;
    let before = site.cabinet.pulses();
    browser.scan(&codes[1].code).await?;
    taken(&mut browser, &site, &codes[1], before).await?;

    world.stage.kill_broker().await?;
    world.until_alone(&site).await?;
    browser.read(words::OFFLINE).await?;
    browser.element(".away").await?;
    browser.read("Offline since ").await?;
    browser.good("real-offline").await?;
    let before = site.cabinet.pulses();
    browser.scan(&codes[2].code).await?;
    taken(&mut browser, &site, &codes[2], before).await?;
    world.start_broker().await?;
    browser.read(words::ONLINE).await?;
    world.shop.until_state("A3", OrderState::Collected).await?;
    site.no_more_pulses()
}

/// What is on the screen while the power goes, and what somebody does there.
async fn power_cut(browser: &mut Browser, site: &mut Site) -> anyhow::Result<()> {
    site.cabinet.kill_agent().await?;
    browser.heading(words::LOST).await?;
    browser.begins_at_heading().await?;
    site.start_agent().await?;
    browser.open(&site.screen()?.url()).await?;
    browser.button(words::OPEN_THE_DOOR).await
}

#[tokio::test]
async fn a_power_cut_on_a_screen_loses_nothing_and_opens_nothing() -> anyhow::Result<()> {
    let Some(mut browser) = Browser::start(SMALL).await? else { return Ok(()) };
    let mut world = World::start().await?;
    let badge = badge(&world).await?;
    let pin = courier(&world).await?;
    let mut site = world.cabinet(plan("1-8:S", 0)).await?;
    let codes = stored(&mut world, &site, &["A1"]).await?;
    let factor = SecondFactor { prompt: Prompt::DocumentNumber, answer: Answer::parse("L01X00T47K")? };
    world.shop.put(&OrderPut { second_factor: Some(factor), ..order("R1", "berlin-01", "S") }).await?;
    world.shop.put(&OrderPut { staff_release: true, ..order("R2", "berlin-01", "S") }).await?;
    for id in ["R1", "R2"] {
        site.load(&format!("shop/{id}")).await?;
    }
    waiting(&mut world, &site, &["B1"], "S").await?;
    world.shop.put(&OrderPut { deposit: Some(DepositKind::DropOff), ..order("D1", "berlin-01", "S") }).await?;
    let dropped = world.shop.until_notified("D1").await?;
    browser.open(&site.screen()?.url()).await?;
    browser.button(words::OPEN_THE_DOOR).await?;
    browser.types("1234").await?;
    power_cut(&mut browser, &mut site).await?;
    let typed = browser.text("output").await?;
    ensure!(typed.trim().is_empty(), "somebody's digits are still there: {typed}");

    // An answer that was asked for: the code is asked for again, and the answer opens.
    let told = world.shop.until_notified("R1").await?;
    browser.scan(&told.code).await?;
    browser.heading(words::DOCUMENT_NUMBER).await?;
    browser.types("l01x").await?;
    power_cut(&mut browser, &mut site).await?;
    browser.scan(&told.code).await?;
    browser.heading(words::DOCUMENT_NUMBER).await?;
    let before = site.cabinet.pulses();
    browser.scan("l01x00t47k").await?;
    let door = opened(&site, before).await?;

    // An open door: it stays open, and closed behind the restart it is collected.
    browser.heading(&words::door_is(door.number(), "open")).await?;
    power_cut(&mut browser, &mut site).await?;
    site.cabinet.close_door(door)?;
    world.shop.until_state("R1", OrderState::Collected).await?;

    let told = world.shop.until_notified("R2").await?;
    browser.scan(&told.code).await?;
    browser.heading(words::ASK_STAFF).await?;
    power_cut(&mut browser, &mut site).await?;
    browser.scan(&badge).await?;
    browser.heading(words::ORDERS).await?;
    browser.read(words::CHECK_DOORS).await?;
    let asks: usize = browser.run("[...document.querySelectorAll('.task')].length").await?;
    ensure!(asks == 0, "nobody stands there with the code any more");

    // Staff: the list, the page of a walk-in, the round, the emergency. Each ends with the session, and nothing opens.
    for page in ["", words::WALK_IN, words::CHECK_DOORS, words::EMERGENCY] {
        if page == words::EMERGENCY {
            browser.tap(words::CHECK_DOORS).await?;
        }
        if !page.is_empty() {
            browser.tap(page).await?;
        }
        power_cut(&mut browser, &mut site).await?;
        browser.scan(&badge).await?;
        browser.heading(words::ORDERS).await?;
    }
    site.no_more_pulses()?;

    // An order on its way in, with its door open: staff are asked about it.
    let before = site.cabinet.pulses();
    browser.scan("B1").await?;
    let door = opened(&site, before).await?;
    browser.element(".tile.open").await?;
    power_cut(&mut browser, &mut site).await?;
    site.cabinet.close_door(door)?;
    browser.scan(&badge).await?;
    browser.tap(words::YES_INSIDE).await?;
    world.shop.until_state("B1", OrderState::Stored).await?;
    browser.tap(words::LOG_OUT).await?;

    // A deposit, likewise: the same code asks whether it is inside.
    browser.heading(words::TYPE_CODE).await?;
    let before = site.cabinet.pulses();
    browser.scan(&dropped.code).await?;
    let door = opened(&site, before).await?;
    browser.read(words::PUT_IN).await?;
    power_cut(&mut browser, &mut site).await?;
    site.cabinet.close_door(door)?;
    site.until_door(door, "closed").await?;
    site.until_shown(door, "held", |shown| shown["allocated"] == true).await?;

    // A courier: another login.
    browser.tap(words::STAFF).await?;
    browser.tap(words::COURIER).await?;
    browser.scan(&pin).await?;
    browser.heading(words::BRING).await?;
    browser.tap(words::TYPE_LABEL).await?;
    browser.types("DHL-1").await?;
    power_cut(&mut browser, &mut site).await?;

    let before = site.cabinet.pulses();
    browser.scan(&codes[0].code).await?;
    taken(&mut browser, &site, &codes[0], before).await?;
    site.no_more_pulses()
}

/// Staff have logged in at a page whose clock the test turns.
async fn staff_at_a_clock(browser: &mut Browser, url: &str, badge: &str) -> anyhow::Result<()> {
    browser.open_with(url, json!({ "clock": true })).await?;
    browser.button(words::OPEN_THE_DOOR).await?;
    browser.scan(badge).await?;
    browser.heading(words::ORDERS).await
}

#[tokio::test]
async fn a_screen_that_slept_shows_what_is_true_when_it_wakes() -> anyhow::Result<()> {
    let Some(mut browser) = Browser::start(SMALL).await? else { return Ok(()) };
    let mut world = World::start().await?;
    let badge = badge(&world).await?;
    let site = world.cabinet(plan("1-4:S", 0)).await?;
    let codes = stored(&mut world, &site, &["A1", "A2", "A3", "A4"]).await?;
    let url = site.screen()?.url();

    // Frozen before an open door, which is closed meanwhile: it is shown as open at no time.
    browser.open(&url).await?;
    browser.button(words::OPEN_THE_DOOR).await?;
    let before = site.cabinet.pulses();
    browser.scan(&codes[0].code).await?;
    let door = opened(&site, before).await?;
    browser.heading(&words::door_is(door.number(), "open")).await?;
    browser.freeze().await?;
    site.cabinet.close_door(door)?;
    site.until_free(door).await?;
    browser.thaw().await?;
    let stale: usize = browser.run("document.querySelectorAll('.tile.open').length").await?;
    ensure!(stale == 0, "the door that was closed long ago is shown as open");
    browser.read(words::GOODBYE).await?;
    browser.tap(words::ANOTHER_CODE).await?;

    // It opens while nobody sees it, for somebody who typed in time.
    browser.heading(words::TYPE_CODE).await?;
    browser.freeze().await?;
    let before = site.cabinet.pulses();
    site.enter(&codes[1].code).await?;
    let door = opened(&site, before).await?;
    browser.thaw().await?;
    browser.heading(&words::door_is(door.number(), "open")).await?;
    site.cabinet.close_door(door)?;
    browser.read(words::GOODBYE).await?;

    // Two minutes later nobody is logged in, nothing is typed and no door is shown.
    staff_at_a_clock(&mut browser, &url, &badge).await?;
    browser.sleep(120).await?;
    browser.heading(words::TYPE_CODE).await?;
    browser.types("1234").await?;
    browser.sleep(120).await?;
    browser.read("Or scan your QR code.").await?;
    let typed = browser.text("output").await?;
    ensure!(typed.trim().is_empty(), "{typed}");
    let before = site.cabinet.pulses();
    browser.scan(&codes[2].code).await?;
    let door = opened(&site, before).await?;
    browser.heading(&words::door_is(door.number(), "open")).await?;
    site.cabinet.close_door(door)?;
    site.until_free(door).await?;
    browser.sleep(3_600).await?;
    browser.heading(words::TYPE_CODE).await?;

    // The same where the page's own clock stood still; a door that is open is no reason to send somebody away.
    staff_at_a_clock(&mut browser, &url, &badge).await?;
    browser.leap(120).await?;
    browser.heading(words::TYPE_CODE).await?;
    let before = site.cabinet.pulses();
    browser.scan(&codes[3].code).await?;
    let door = opened(&site, before).await?;
    browser.heading(&words::door_is(door.number(), "open")).await?;
    browser.leap(3_600).await?;
    site.cabinet.close_door(door)?;
    browser.read(words::GOODBYE).await?;

    let errors = browser.errors().await?;
    ensure!(errors.is_empty(), "{errors:?}");
    site.no_more_pulses()
}
