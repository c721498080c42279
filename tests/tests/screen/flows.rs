//! Each flow in German, by touch and by keyboard alone, with what it takes: touches, keys, and seconds of the machines.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use fleet_tests::{Site, World, order};
use schemas::api::{OrderPut, OrderState};
use schemas::messages::{Compartment, DepositKind};
use schemas::topics::{OrderChange, Topic};
use serde_json::json;

use crate::browser::{Browser, LARGE, SMALL, Size, pictures};
use crate::people::{courier, opened, plan, waiting};
use crate::words;

const PHONE: &str = "4915112345678";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Touch,
    Keys,
}

/// Somebody who uses either a finger or a keyboard.
struct Person {
    browser: Browser,
    by: By,
    began: Instant,
    /// Of the table.
    lines: String,
}

impl Person {
    async fn chooses(&mut self, button: &str) -> anyhow::Result<()> {
        match self.by {
            By::Touch => self.browser.tap(button).await,
            By::Keys => {
                self.browser.tab_to(button).await?;
                self.browser.press("Enter").await
            }
        }
    }

    async fn chooses_row(&mut self, name: &str) -> anyhow::Result<()> {
        match self.by {
            By::Touch => self.browser.tap_row(name).await,
            By::Keys => {
                self.browser.tab_to_row(name).await?;
                self.browser.press("Space").await
            }
        }
    }

    async fn types(&mut self, text: &str) -> anyhow::Result<()> {
        match self.by {
            By::Touch => self.browser.tap_each(text).await,
            By::Keys => self.browser.types(text).await,
        }
    }

    /// On a page of digits of its own, only a finger reaches those of a phone number: what is typed is a label, unless it begins
    /// with a plus.
    async fn types_phone(&mut self) -> anyhow::Result<()> {
        match self.by {
            By::Touch => self.browser.tap_each(PHONE).await,
            By::Keys => self.browser.scan(&format!("+{PHONE}")).await,
        }
    }

    async fn comes_to(&mut self, heading: &str) -> anyhow::Result<()> {
        self.browser.heading(heading).await?;
        self.browser.begins_at_heading().await
    }

    fn begins(&mut self) {
        self.browser.take_touches();
        self.browser.take_keys();
        self.began = Instant::now();
    }

    fn ends(&mut self, flow: &str, most: usize) -> anyhow::Result<()> {
        let (touches, keys) = (self.browser.take_touches(), self.browser.take_keys());
        let seconds = self.began.elapsed().as_secs_f64();
        writeln!(self.lines, "| {flow} | {:?} | {touches} | {keys} | {seconds:.1} |", self.by)?;
        ensure!(self.by == By::Keys || (keys == 0 && touches <= most), "{flow}: {touches} touches and {keys} keys");
        ensure!(self.by == By::Touch || touches == 0, "{flow}: {touches} touches of somebody without fingers");
        Ok(())
    }

    async fn logs_in(&mut self, pin: &str) -> anyhow::Result<()> {
        self.chooses(words::STAFF).await?;
        self.comes_to(words::STAFF_PIN).await?;
        self.types(pin).await?;
        self.chooses(words::LOG_IN).await?;
        self.comes_to(words::ORDERS).await
    }

    async fn logs_out(&mut self) -> anyhow::Result<()> {
        self.chooses(words::LOG_OUT).await?;
        self.comes_to(words::TYPE_CODE).await
    }

    /// Puts something into the one door that opens, closes it and says so.
    async fn puts_in(&mut self, site: &Site, before: usize) -> anyhow::Result<Compartment> {
        let door = opened(site, before).await?;
        self.browser.element(".tile.open").await?;
        site.cabinet.close_door(door)?;
        self.chooses(words::YES_INSIDE).await?;
        Ok(door)
    }
}

struct Told {
    staff: String,
    courier: String,
}

async fn put(world: &mut World, id: &str, by: Option<DepositKind>) -> anyhow::Result<String> {
    world.shop.put(&OrderPut { deposit: by, ..order(id, "berlin-01", "S") }).await?;
    Ok(if by.is_some() { world.shop.until_notified(id).await?.code } else { String::new() })
}

async fn all(world: &mut World, site: &Site, told: &Told, who: &mut Person) -> anyhow::Result<()> {
    let id = |name: &str| format!("{name}{:?}", who.by).to_uppercase();
    let (loaded, brought, dropped, runs) = (id("L"), id("C"), id("D"), [id("R1"), id("R2")]);
    waiting(world, site, &[&loaded], "S").await?;

    who.begins();
    who.logs_in(&told.staff).await?;
    let before = site.cabinet.pulses();
    who.chooses_row(&loaded).await?;
    who.puts_in(site, before).await?;
    who.browser.read(words::STORED).await?;
    who.chooses(words::NEXT_ORDER).await?;
    who.logs_out().await?;
    who.ends("staff load one order", told.staff.len() + 6)?;

    let code = world.shop.until_notified(&loaded).await?.code;
    who.begins();
    let before = site.cabinet.pulses();
    who.types(&code).await?;
    who.chooses(words::OPEN_THE_DOOR).await?;
    let door = opened(site, before).await?;
    who.comes_to(&words::door_is(door.number(), "open")).await?;
    site.cabinet.close_door(door)?;
    who.browser.read(words::GOODBYE).await?;
    who.ends("customer collects", code.len() + 1)?;
    who.chooses(words::ANOTHER_CODE).await?;

    for id in &runs {
        world.shop.put(&order(id, site.name(), "S")).await?;
        world.shop.until_state(id, OrderState::Reserved).await?;
    }
    let tenant = world.operator.identity().tenant.clone();
    let topic = Topic::OrderChange { tenant, integration: "shop".parse()?, change: OrderChange::Bundle };
    let bundle = json!({ "bundle": format!("run-{:?}", who.by), "orders": runs });
    world.shop.client().publish(&topic, bundle.to_string().into_bytes()).await?;
    for id in &runs {
        site.load(&format!("shop/{id}")).await?;
    }
    let code = world.shop.until_notified(&runs[0]).await?.code;
    who.begins();
    let before = site.cabinet.pulses();
    who.types(&code).await?;
    who.chooses(words::OPEN_THE_DOOR).await?;
    site.until_pulses(before + 2).await?;
    who.browser.element(".tile.open ~ .tile.open").await?;
    who.browser.begins_at_heading().await?;
    for pulse in site.cabinet.board().pulses().iter().skip(before) {
        site.cabinet.close_door(site.cabinet.compartment_at(pulse.board, pulse.lock)?)?;
    }
    who.browser.read(words::GOODBYE).await?;
    who.ends("driver takes two orders", code.len() + 1)?;
    who.chooses(words::ANOTHER_CODE).await?;

    put(world, &brought, Some(DepositKind::Courier)).await?;
    who.begins();
    who.chooses(words::STAFF).await?;
    who.chooses(words::COURIER).await?;
    who.comes_to(words::COURIER_PIN).await?;
    who.types(&told.courier).await?;
    who.chooses(words::GO_ON).await?;
    who.comes_to(words::BRING).await?;
    who.chooses(words::TYPE_LABEL).await?;
    who.browser.button(words::LOOK_FOR_IT).await?;
    who.browser.begins_at_heading().await?;
    who.types(&brought).await?;
    let before = site.cabinet.pulses();
    who.chooses(words::LOOK_FOR_IT).await?;
    who.puts_in(site, before).await?;
    who.browser.read(words::DEPOSITED).await?;
    who.chooses(words::NEXT_PARCEL).await?;
    who.logs_out().await?;
    who.ends("courier brings one parcel", told.courier.len() + brought.len() + 8)?;

    let code = put(world, &dropped, Some(DepositKind::DropOff)).await?;
    who.begins();
    let before = site.cabinet.pulses();
    who.types(&code).await?;
    who.chooses(words::OPEN_THE_DOOR).await?;
    who.puts_in(site, before).await?;
    who.browser.read(words::DEPOSITED).await?;
    who.ends("customer drops something off", code.len() + 2)?;
    who.chooses(words::ANOTHER_CODE).await?;
    who.comes_to(words::TYPE_CODE).await?;

    who.begins();
    who.logs_in(&told.staff).await?;
    who.chooses(words::WALK_IN).await?;
    who.browser.button("Retail").await?;
    who.browser.begins_at_heading().await?;
    who.chooses("S").await?;
    who.types_phone().await?;
    let before = site.cabinet.pulses();
    who.chooses(words::OPEN_A_DOOR).await?;
    who.puts_in(site, before).await?;
    who.browser.read(words::STORED).await?;
    who.chooses(words::NEXT_ORDER).await?;
    who.logs_out().await?;
    who.ends("staff begin an order with a phone number", told.staff.len() + PHONE.len() + 8)
}

#[tokio::test]
async fn every_flow_in_german_by_touch_and_by_keyboard_alone() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let courier = courier(&world).await?;
    let site = world.cabinet(plan("1-16:S", 0)).await?;
    let told = Told { staff: world.pin().to_owned(), courier };
    let mut table = String::from("| flow | by | touches | keys | s |\n|---|---|--:|--:|--:|\n");
    let ways: [(By, Size); 2] = [(By::Touch, SMALL), (By::Keys, LARGE)];
    for (by, size) in ways {
        let Some(mut browser) = Browser::start(size).await? else { return Ok(()) };
        browser.speak("de")?;
        browser.open(&site.screen()?.url()).await?;
        browser.heading(words::TYPE_CODE).await?;
        let mut who = Person { browser, by, began: Instant::now(), lines: String::new() };
        all(&mut world, &site, &told, &mut who).await.with_context(|| format!("by {by:?}"))?;
        let errors = who.browser.errors().await?;
        ensure!(errors.is_empty(), "scripts fail: {errors:?}");
        table += &who.lines;
    }
    println!("{table}");
    std::fs::create_dir_all(pictures())?;
    std::fs::write(pictures().join("flows.md"), table)?;
    site.no_more_pulses()
}
