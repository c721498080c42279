//! A page that is loaded again, an agent that starts again, and a network that is gone.

use fleet_tests::World;
use schemas::api::OrderState;

use crate::browser::{Browser, SMALL};
use crate::people::{badge, opened, plan, stored, taken, waiting};
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
    browser.good("real-offline").await?;
    let before = site.cabinet.pulses();
    browser.scan(&codes[2].code).await?;
    taken(&mut browser, &site, &codes[2], before).await?;
    world.start_broker().await?;
    browser.read(words::ONLINE).await?;
    world.shop.until_state("A3", OrderState::Collected).await?;
    site.no_more_pulses()
}
