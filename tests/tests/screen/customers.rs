//! Customers: by touch, by keyboard alone and with a scanner.

use anyhow::{Context as _, ensure};
use fleet_tests::{Look, World, order, until};
use schemas::api::{OrderPut, OrderState, SecondFactor};
use schemas::crypto::answers::Answer;
use schemas::messages::Prompt;
use sim_board::LockFault;

use crate::browser::{Browser, LARGE, SMALL};
use crate::people::{badge, opened, plan, stored, taken, wrong};
use crate::words;

#[tokio::test]
async fn a_code_is_touched_typed_or_scanned_and_a_door_opens() -> anyhow::Result<()> {
    let Some(mut browser) = Browser::start(SMALL).await? else { return Ok(()) };
    let mut world = World::start().await?;
    let site = world.cabinet(plan("1-6:S", 0)).await?;
    let codes = stored(&mut world, &site, &["A1", "A2", "A3", "A4", "A5"]).await?;
    browser.open(&site.screen()?.url()).await?;

    // By touch: one for each digit and one for the door. Nobody has to touch anything afterwards.
    let before = site.cabinet.pulses();
    browser.tap_each(&codes[0].code).await?;
    browser.tap(words::OPEN_THE_DOOR).await?;
    taken(&mut browser, &site, &codes[0], before).await?;
    let touches = browser.take_touches();
    ensure!(touches == codes[0].code.len() + 1, "{touches} touches for a code of {} digits", codes[0].code.len());
    browser.heading(words::TYPE_CODE).await?;

    // By digits of a keyboard and Enter.
    let before = site.cabinet.pulses();
    browser.scan(&codes[1].code).await?;
    let door = opened(&site, before).await?;
    ensure!(codes[1].compartment == Some(door), "{door} instead of {:?}", codes[1].compartment);
    browser.heading(&words::door_is(door.number(), "open")).await?;
    browser.tab_to(words::ANOTHER_CODE).await?;
    browser.press("Enter").await?;
    browser.heading(words::TYPE_CODE).await?;
    site.cabinet.close_door(door)?;

    // By Tab and Space alone: the focus stays where it was while the page is drawn anew.
    let before = site.cabinet.pulses();
    for digit in codes[2].code.chars() {
        let key = digit.to_string();
        if browser.focus().await?.is_none_or(|focus| focus.name != key) {
            browser.tab_to(&key).await?;
        }
        browser.press("Space").await?;
        browser.stays_at(&key).await?;
    }
    browser.tab_to(words::OPEN_THE_DOOR).await?;
    browser.press("Space").await?;
    taken(&mut browser, &site, &codes[2], before).await?;

    // By a scanner, while the page of the customer before still stands there.
    let before = site.cabinet.pulses();
    browser.scan(&codes[3].qr).await?;
    taken(&mut browser, &site, &codes[3], before).await?;

    // A door that jams opens at the second try.
    let door = codes[4].compartment.context("no door")?;
    let (board, lock) = site.cabinet.place(door)?;
    let fault = |fault| site.cabinet.board().set_lock_fault(board, lock, fault).map_err(anyhow::Error::msg);
    fault(LockFault::Stuck)?;
    browser.scan(&codes[4].qr).await?;
    browser.button(&words::try_again(door.number())).await?;
    browser.good("real-door-push").await?;
    fault(LockFault::None)?;
    browser.tap(&words::try_again(door.number())).await?;
    browser.heading(&words::door_is(door.number(), "open")).await?;
    site.cabinet.close_door(door)?;
    for told in &codes {
        world.shop.until_state(told.order.as_str(), OrderState::Collected).await?;
    }
    Ok(())
}

#[tokio::test]
async fn wrong_codes_are_told_and_five_of_them_pause_the_keypad() -> anyhow::Result<()> {
    let Some(mut browser) = Browser::start(LARGE).await? else { return Ok(()) };
    let mut world = World::start().await?;
    let site = world.cabinet(plan("1-4:S", 0)).await?;
    let codes = stored(&mut world, &site, &["A1", "A2"]).await?;
    browser.open(&site.screen()?.url()).await?;

    // A finger that rests while the page is drawn anew presses its key all the same.
    browser.heading(words::TYPE_CODE).await?;
    browser.hold("5", "import('/app.js').then(({ state, show }) => show(state.page))").await?;
    ensure!(browser.text("output").await?.trim() == "5", "the page shows {:?}", browser.text("output").await?);
    browser.press("Escape").await?;

    browser.tap_each(&wrong(&codes, 0)?).await?;
    browser.tab_to(words::OPEN_THE_DOOR).await?;
    browser.press("Enter").await?;
    browser.read(words::WRONG_CODE).await?;
    browser.element("[role=alert].refusal").await?;
    browser.good("real-wrong-code").await?;
    // The button is off until the next code is typed, and has the focus again then.
    browser.types("123456").await?;
    browser.stays_at(words::OPEN_THE_DOOR).await?;
    browser.press("Escape").await?;
    // A code that was used is told too, and counts as no guess.
    let before = site.cabinet.pulses();
    browser.scan(&codes[0].code).await?;
    taken(&mut browser, &site, &codes[0], before).await?;
    browser.heading(words::TYPE_CODE).await?;
    browser.scan(&codes[0].code).await?;
    browser.button(words::NOT_HERE).await?;

    for attempt in 1..=4 {
        browser.button(words::OPEN_THE_DOOR).await?;
        browser.scan(&wrong(&codes, attempt)?).await?;
        if attempt < 4 {
            browser.read(words::WRONG_CODE).await?;
        }
    }
    browser.heading(words::LOCKED).await?;
    browser.good("real-locked").await?;
    let first = browser.text("[role=timer]").await?;
    let shown = tokio::sync::Mutex::new(&mut browser);
    until("the countdown goes on", async || {
        let now = shown.lock().await.text("[role=timer]").await?;
        Ok(Look::at((now < first).then_some(()), || now))
    })
    .await?;
    let before = site.cabinet.pulses();
    browser.scan(&codes[1].qr).await?;
    taken(&mut browser, &site, &codes[1], before).await
}

#[tokio::test]
async fn restricted_goods_ask_for_an_answer_or_for_staff() -> anyhow::Result<()> {
    let Some(mut browser) = Browser::start(SMALL).await? else { return Ok(()) };
    let mut world = World::start().await?;
    let badge = badge(&world).await?;
    let site = world.cabinet(plan("1-4:S", 0)).await?;
    let factor = SecondFactor { prompt: Prompt::DocumentNumber, answer: Answer::parse("L01X00T47K")? };
    world.shop.put(&OrderPut { second_factor: Some(factor), ..order("R1", "berlin-01", "S") }).await?;
    world.shop.put(&OrderPut { staff_release: true, ..order("R2", "berlin-01", "S") }).await?;
    for id in ["R1", "R2"] {
        site.load(&format!("shop/{id}")).await?;
    }
    browser.open(&site.screen()?.url()).await?;

    let told = world.shop.until_notified("R1").await?;
    let before = site.cabinet.pulses();
    browser.button(words::OPEN_THE_DOOR).await?;
    browser.scan(&told.code).await?;
    browser.heading(words::DOCUMENT_NUMBER).await?;
    browser.tap_each("L01X").await?;
    let shown = browser.text("output").await?;
    ensure!(shown.trim() == "••••", "somebody who looks over a shoulder reads {shown}");
    browser.good("real-answer").await?;
    browser.scan("00T47Z").await?;
    browser.element("[role=alert].refusal").await?;
    browser.scan("l01x00t47k").await?;
    taken(&mut browser, &site, &told, before).await?;

    let told = world.shop.until_notified("R2").await?;
    let before = site.cabinet.pulses();
    browser.scan(&told.qr).await?;
    browser.heading(words::ASK_STAFF).await?;
    browser.good("real-release").await?;
    browser.take_touches();
    browser.scan(&badge).await?;
    browser.tap("Release R2").await?;
    let door = opened(&site, before).await?;
    ensure!(told.compartment == Some(door) && browser.take_touches() == 1, "{door}, {:?}", told.compartment);
    // The customer has the screen again, and staff are logged out.
    browser.heading(&words::door_is(door.number(), "open")).await?;
    browser.button(words::STAFF).await?;
    site.cabinet.close_door(door)?;
    world.shop.until_state("R2", OrderState::Collected).await.map(drop)
}
