//! From the last digit at the screen to the pulse, and what checking a code takes of memory.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use fleet_cli::client::{IntegrationClient, Row};
use fleet_cli::stage::{PATIENCE, Screen};
use schemas::api::{Notification, OrderPut, OrderState, Reply, Request, StaffIssued};
use schemas::messages::Compartment;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::figures::Figure;
use super::footprint::{Memory, QUIET};
use super::samples::Samples;
use super::site::Site;
use super::unlocks::space;

const SHOP: &str = "shop";
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The people of the story: a shop that sends orders, and a member of staff who is logged in at the screen.
struct People {
    shop: IntegrationClient,
    screen: Screen,
    session: String,
}

/// Orders that staff have in hand at the same time while they fill a cabinet.
const AT_ONCE: usize = 16;

pub(super) async fn measure(site: &Site, count: usize) -> anyhow::Result<Vec<Figure>> {
    type_codes(site, People::meet(site).await?, count).await
}

/// As [`measure`], at a cabinet that holds the codes of so many others.
pub(super) async fn measure_among(site: &Site, others: usize, count: usize) -> anyhow::Result<Vec<Figure>> {
    let mut people = People::meet(site).await?;
    let ids: Vec<String> = (0..others).map(|index| format!("L{index}")).collect();
    for (batch, ids) in ids.chunks(AT_ONCE).enumerate() {
        eprintln!("  {} of {others} orders are inside", batch * AT_ONCE);
        people.load_all(site, ids).await?;
    }
    site.cabinet.until_book_held(&site.operator).await?;
    type_codes(site, people, count).await
}

async fn type_codes(site: &Site, mut people: People, count: usize) -> anyhow::Result<Vec<Figure>> {
    let agent = site.agent_id()?;
    let (mut to_pulse, mut peak) = (Vec::new(), 0);
    for index in 0..count {
        let loaded = people.load(site, &format!("M{index}")).await.with_context(|| format!("load order {index}"))?;
        space(Instant::now()).await?;
        let before = site.cabinet.pulses();
        Memory::forget_peak(agent)?;
        let begun = Instant::now();
        let answer = people.screen.enter(&loaded.code).await?;
        site.cabinet.board().until_pulses(before + 1, PATIENCE).await?;
        let compartment = loaded.compartment.context("a code without a compartment")?;
        to_pulse.push(site.pulse(before, compartment).with_context(|| format!("{answer:?}"))? - begun);
        peak = peak.max(Memory::of(agent)?.peak);
    }
    people.shop.close().await;
    sleep(QUIET).await;
    let after = Memory::of(agent)?;
    let pulse = Samples::of_durations(to_pulse).context("no codes")?;
    Ok(vec![
        Figure::millis("code typed to pulse bytes, p50", pulse.median()),
        Figure::millis("code typed to pulse bytes, p99", pulse.percentile(99)),
        Figure::mebibytes("agent: peak while codes are checked (Argon2id takes 7 MiB)", peak),
        Figure::mebibytes("agent: resident, at rest after that", after.resident),
        Figure::mebibytes("… of that heap and stacks", after.anonymous),
    ])
}

impl People {
    async fn meet(site: &Site) -> anyhow::Result<Self> {
        let reply = site.operator.request(&Request::StaffAdd { name: "sam".parse()?, until: None }).await?;
        let Reply::Staff(StaffIssued { pin, .. }) = reply else { bail!("no PIN came") };
        site.cabinet.until_book_held(&site.operator).await?;
        let shop = site.stage.integration(SHOP).await?;
        let screen = site.cabinet.screen()?;
        let session = screen.staff(&pin).await?;
        Ok(Self { shop, screen, session })
    }

    /// From an order to its code, as the shop gets it.
    async fn load(&mut self, site: &Site, id: &str) -> anyhow::Result<Notification> {
        let cabinet = site.cabinet.id();
        let order: OrderPut = schemas::api::parse(
            format!(r#"{{"order":"{id}","cabinet":"{cabinet}","size":"M","category":"retail"}}"#).as_bytes(),
        )?;
        self.shop.put_order(&order).await?;
        let key = format!("{SHOP}/{id}");
        let listed = |view: &Value| view["staff"]["waiting"].to_string().contains(&key);
        self.screen.until_in(Some(&self.session), PATIENCE, "the order is listed", listed).await?;
        self.screen.load(&self.session, &key).await?;
        let door = self.loading(id).await?;
        let asks = |view: &Value| {
            let shown = view["staff"]["compartments"].as_array();
            shown.is_some_and(|all| all.iter().any(|one| one["number"] == door.number() && one["asks"] == true))
        };
        self.screen.until_in(Some(&self.session), PATIENCE, "the screen asks", asks).await?;
        self.screen.confirm(&self.session, door.number(), true).await?;
        self.notification(id).await
    }

    /// Loads some orders together, each behind a door of its own, until all their codes are out.
    async fn load_all(&mut self, site: &Site, ids: &[String]) -> anyhow::Result<()> {
        let cabinet = site.cabinet.id();
        for id in ids {
            let json = format!(r#"{{"order":"{id}","cabinet":"{cabinet}","size":"M","category":"retail"}}"#);
            self.shop.put_order(&schemas::api::parse(json.as_bytes())?).await?;
        }
        let keys: Vec<String> = ids.iter().map(|id| format!("\"{SHOP}/{id}\"")).collect();
        let listed = |view: &Value| {
            let waiting = view["staff"]["waiting"].to_string();
            keys.iter().all(|key| waiting.contains(key))
        };
        self.screen.until_in(Some(&self.session), PATIENCE, "the orders are listed", listed).await?;
        for id in ids {
            self.screen.load(&self.session, &format!("{SHOP}/{id}")).await?;
        }
        let (mut confirmed, mut told) = (BTreeSet::new(), 0);
        while told < ids.len() {
            if confirmed.len() < ids.len() {
                let view = self.screen.view(Some(&self.session)).await?;
                let asking = view["staff"]["compartments"].as_array().into_iter().flatten();
                let asking = asking.filter(|one| one["asks"] == true).filter_map(|one| one["number"].as_u64());
                for number in asking.collect::<Vec<_>>() {
                    self.screen.confirm(&self.session, u16::try_from(number)?, true).await?;
                    confirmed.insert(number);
                }
                if confirmed.len() < ids.len() {
                    sleep(LOOK_EVERY).await;
                    continue;
                }
            }
            if let Row::Notification(_) = self.next_row().await? {
                told += 1;
            }
        }
        Ok(())
    }

    async fn loading(&mut self, id: &str) -> anyhow::Result<Compartment> {
        loop {
            if let Row::Status(status) = self.next_row().await?
                && status.order.as_str() == id
            {
                ensure!(status.state != OrderState::Rejected, "the order was rejected: {status:?}");
                if status.state == OrderState::Loading {
                    return status.compartment.context("the status names no door");
                }
            }
        }
    }

    async fn notification(&mut self, id: &str) -> anyhow::Result<Notification> {
        loop {
            if let Row::Notification(notification) = self.next_row().await?
                && notification.order.as_str() == id
            {
                return Ok(*notification);
            }
        }
    }

    async fn next_row(&mut self) -> anyhow::Result<Row> {
        let delivery = timeout(PATIENCE, self.shop.next_row()).await.context("no row came")??;
        let row = delivery.row.clone();
        self.shop.ack(delivery).await?;
        Ok(row)
    }
}
