//! Couriers with a PIN, and customers who bring something.

use anyhow::ensure;
use fleet_tests::{World, order};
use schemas::api::{OrderPut, OrderState};
use schemas::messages::DepositKind;

use crate::browser::{Browser, UPRIGHT};
use crate::people::{courier, opened, plan};
use crate::words;

fn brought(id: &str, by: DepositKind) -> OrderPut {
    OrderPut { deposit: Some(by), ..order(id, "berlin-01", "S") }
}

#[tokio::test]
async fn a_courier_puts_parcels_in_and_a_customer_drops_one_off() -> anyhow::Result<()> {
    let Some(mut browser) = Browser::start(UPRIGHT).await? else { return Ok(()) };
    let mut world = World::start().await?;
    let pin = courier(&world).await?;
    let site = world.cabinet(plan("1-2:S,3:M,4:S", 3)).await?;
    world.shop.put(&brought("A17", DepositKind::Courier)).await?;
    world.shop.until_notified("A17").await?;
    browser.open(&site.screen()?.url()).await?;
    browser.tap(words::STAFF).await?;
    browser.tap(words::COURIER).await?;
    browser.heading(words::COURIER_PIN).await?;
    browser.tap_each(&pin).await?;
    browser.tap(words::GO_ON).await?;
    browser.heading(words::BRING).await?;
    browser.take_touches();

    // A label that is scanned: no touch but the one for the next parcel.
    let before = site.cabinet.pulses();
    browser.scan("A17").await?;
    let door = opened(&site, before).await?;
    browser.read(words::PUT_IN).await?;
    browser.good("real-courier-door").await?;
    site.cabinet.set_inside(door, true)?;
    site.cabinet.close_door(door)?;
    browser.read(words::DEPOSITED).await?;
    world.shop.until_state("A17", OrderState::Stored).await?;
    ensure!(browser.take_touches() == 0);
    browser.tap(words::NEXT_PARCEL).await?;

    // A phone number and a size.
    let before = site.cabinet.pulses();
    browser.tap_each("4915112345678").await?;
    browser.good("real-courier-phone").await?;
    browser.tap(words::OPEN_A_DOOR).await?;
    let door = opened(&site, before).await?;
    ensure!(door.number() == 3, "an M was asked for, and {door} opened");
    browser.read(words::PUT_IN).await?;
    site.cabinet.set_inside(door, true)?;
    site.cabinet.close_door(door)?;
    browser.read(words::DEPOSITED).await?;
    browser.tap(words::LOG_OUT).await?;
    browser.heading(words::TYPE_CODE).await?;

    world.shop.put(&brought("W1", DepositKind::DropOff)).await?;
    let told = world.shop.until_notified("W1").await?;
    let before = site.cabinet.pulses();
    browser.scan(&told.code).await?;
    let door = opened(&site, before).await?;
    browser.read(words::PUT_IN).await?;
    site.cabinet.close_door(door)?;
    browser.button(words::YES_INSIDE).await?;
    browser.good("real-did-you").await?;
    browser.tap(words::YES_INSIDE).await?;
    browser.read(words::DEPOSITED).await?;
    world.shop.until_state("W1", OrderState::Stored).await?;
    site.no_more_pulses()
}
