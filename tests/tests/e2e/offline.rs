//! Hours without a network: every pickup works, and afterwards the fleet knows each of them once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use cabinet_core::EVENTS;
use fleet_cli::stage::CabinetPlan;
use fleet_store::RedbStore;
use fleet_tests::{Site, World, order};
use schemas::api::{Notification, OrderState};
use schemas::cbor;
use schemas::messages::{Compartment, Event, Fact};
use schemas::step::{Store as _, number_of_key};

const CABINETS: usize = 4;
const ORDERS: usize = 10;
/// The agent of each cabinet is killed in front of this customer.
const KILLED_AT: usize = 5;
/// A door's report is two polls old when it comes, and the cabinet's time is off by the way of a message.
const CLOCK: u64 = 2_000;

/// What somebody beside the cabinet wrote down.
struct Pickup {
    order: String,
    compartment: Compartment,
    /// Between these two moments the door was closed, in milliseconds of Unix time.
    closed: [u64; 2],
}

#[tokio::test]
async fn forty_pickups_without_a_network_are_told_once_and_in_order() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut sites = Vec::new();
    for n in 0..CABINETS {
        let mut plan = CabinetPlan::new(&format!("berlin-{n}"), &format!("1-{ORDERS}:S"));
        plan.boards = vec![(1, 6), (2, 24)];
        sites.push(world.cabinet(plan).await?);
        for id in ids(n) {
            world.shop.put(&order(&id, &format!("berlin-{n}"), "S")).await?;
        }
    }
    let loaded = sites.iter().enumerate().map(|(n, site)| async move {
        for id in ids(n) {
            site.load(&format!("shop/{id}")).await?;
        }
        anyhow::Ok(())
    });
    all(loaded).await?;
    let mut codes: Vec<Vec<Notification>> = Vec::new();
    for n in 0..CABINETS {
        let mut own = Vec::new();
        for id in ids(n) {
            own.push(world.shop.until_notified(&id).await?);
        }
        codes.push(own);
    }

    world.stage.stop_broker().await?;
    for site in &sites {
        world.until_alone(site).await?;
    }
    let collected = all(sites.iter_mut().zip(&codes).map(|(site, codes)| collect(site, codes))).await?;
    world.start_broker().await?;
    for pickup in collected.iter().flatten() {
        let status = world.shop.until_state(&pickup.order, OrderState::Collected).await?;
        ensure!(status.compartment == Some(pickup.compartment), "{status:?}");
    }
    let told = world.shop.statuses();
    let of_all = told.iter().filter(|status| status.state == OrderState::Collected).count();
    ensure!(of_all == CABINETS * ORDERS, "{of_all} collections were told");
    for (n, pickups) in collected.iter().enumerate() {
        let cabinet = format!("berlin-{n}");
        let rows: Vec<_> = told
            .iter()
            .filter(|row| {
                row.state == OrderState::Collected && row.cabinet.as_ref().is_some_and(|of| of.as_str() == cabinet)
            })
            .collect();
        let (order, expected): (Vec<_>, Vec<_>) =
            rows.iter().zip(pickups).map(|(row, pickup)| (row.order.as_str(), pickup.order.as_str())).unzip();
        ensure!(order == expected, "{cabinet} told {order:?} instead of {expected:?}");
        // The agent was killed in between: the machine's boot clock went on, so it still knows the time.
        for (row, pickup) in rows.iter().zip(pickups) {
            let [from, to] = pickup.closed;
            ensure!(
                !row.time_unverified && (from - CLOCK..=to + CLOCK).contains(&row.at.0),
                "{row:?}, closed {from} to {to}"
            );
        }
    }
    for site in &mut sites {
        same_events(&world, site).await?;
    }
    Ok(())
}

/// Customers come one after another; between two of them the agent is killed.
async fn collect(site: &mut Site, codes: &[Notification]) -> anyhow::Result<Vec<Pickup>> {
    let mut pickups = Vec::new();
    for (customer, notification) in codes.iter().enumerate() {
        let door = site.enter(&notification.code).await?;
        ensure!(Some(door) == notification.compartment, "door {door} opened for {notification:?}");
        site.until_door(door, "open").await?;
        if customer == KILLED_AT {
            site.cabinet.kill_agent().await?;
            site.start_agent().await?;
        }
        let from = now();
        site.cabinet.close_door(door)?;
        site.until_free(door).await?;
        pickups.push(Pickup { order: notification.order.to_string(), compartment: door, closed: [from, now()] });
    }
    let pulses = site.cabinet.board().pulses();
    let close = pulses
        .windows(2)
        .find(|pair| pair[0].board == pair[1].board && pair[1].at - pair[0].at < Duration::from_millis(450));
    ensure!(close.is_none(), "two pulses too close to each other: {close:?}");
    Ok(pickups)
}

/// The fleet has every event that the cabinet wrote, under its number, and collected each order once.
async fn same_events(world: &World, site: &mut Site) -> anyhow::Result<()> {
    let known = fleet_tests::until("the fleet has every event", async || {
        let view = site.screen()?.view(Some(&site.session().await?)).await?;
        let events = world.show(site).await?.events;
        Ok(fleet_tests::Look::at((view["staff"]["outbox"] == 0).then_some(events), || {
            view["staff"]["outbox"].to_string()
        }))
    })
    .await?;
    site.cabinet.stop_agent().await?;
    let store = RedbStore::open(&site.cabinet.folder().path.join("cabinet.redb"))?;
    let rows = store.rows(EVENTS)?;
    let numbers: Vec<u64> = rows.iter().filter_map(|(key, _)| number_of_key(key)).collect();
    ensure!(numbers.iter().zip(1..).all(|(found, expected)| *found == expected), "a gap in {numbers:?}");
    ensure!(numbers.last() == Some(&known), "the fleet has {known} events, the cabinet {:?}", numbers.last());
    let mut collected = 0;
    for (_, record) in rows {
        let event: Event = cbor::decode(&record).context("an event of the cabinet")?;
        collected += usize::from(matches!(event.fact, Fact::Collected(_)));
    }
    ensure!(collected == ORDERS, "the cabinet wrote {collected} collections down");
    Ok(())
}

fn ids(cabinet: usize) -> impl Iterator<Item = String> {
    (0..ORDERS).map(move |n| format!("C{cabinet}-{n}"))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// All at the same time, to the end of the last or the first that fails.
async fn all<T, F: Future<Output = anyhow::Result<T>>>(futures: impl Iterator<Item = F>) -> anyhow::Result<Vec<T>> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (future, done) in &mut running {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(Ok(value)) => *done = Some(value),
                    std::task::Poll::Ready(Err(error)) => return std::task::Poll::Ready(Err(error)),
                    std::task::Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { std::task::Poll::Pending } else { std::task::Poll::Ready(Ok(())) }
    })
    .await?;
    Ok(running.into_iter().filter_map(|(_, done)| done).collect())
}
