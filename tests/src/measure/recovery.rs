//! How long a broker with a large store takes after kill -9: from its start to the first PUBACK.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use fleet_cli::stage::Stage;
use fleet_core::{Config, FleetCore, Input, Moment};
use fleet_store::RedbStore;
use schemas::cbor::{self, Blob};
use schemas::ids::{CabinetId, TenantId};
use schemas::messages::{
    Attributes, BootId, Challenge, Compartment, CompartmentInfo, DoorClosed, Epoch, Event, Hello, Instance, Nonce,
    Occupancy, Size, Stamp, Uplink,
};
use schemas::step::{Store as _, Write};
use schemas::topics::Up;

use super::figures::Figure;
use crate::people::order;

const CABINETS: u64 = 10_000;
const EVENTS_EACH: u64 = 100;
/// Inputs of one commit while the store is filled.
const AT_ONCE: usize = 2_000;
/// Milliseconds.
const GOAL: f64 = 2_000.0;

pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let mut stage = Stage::set_up("acme")?;
    stage.start_signer().await?;
    let store = stage.layout().broker().join("fleet.redb");
    tokio::task::spawn_blocking({
        let store = store.clone();
        move || fill(&store)
    })
    .await??;
    let size = std::fs::metadata(&store)?.len();
    stage.start_broker().await?;
    let shop = stage.integration("shop").await?;
    shop.put_order(&order("A1", "c0", "S")).await?;
    shop.close().await;
    stage.kill_broker().await?;

    let started = Instant::now();
    stage.start_broker().await?;
    let ready = started.elapsed();
    let shop = stage.integration("shop").await?;
    shop.put_order(&order("A2", "c1", "S")).await?;
    let acknowledged = started.elapsed();
    shop.close().await;
    stage.stop_broker().await?;
    Ok(vec![
        Figure::megabytes("store of 10,000 cabinets and 1,000,000 events", size as f64),
        Figure::millis("… broker after kill -9: start to ready", ready.as_secs_f64() * 1e3),
        Figure::millis("… start to the first PUBACK", acknowledged.as_secs_f64() * 1e3).at_most(GOAL),
    ])
}

/// What a broker would have on its disk, by its own core: every cabinet known, connected once, with its events.
fn fill(path: &Path) -> anyhow::Result<()> {
    let mut store = RedbStore::open(path)?;
    let mut core = FleetCore::open(Config::default(), &store)?;
    let tenant: TenantId = "acme".parse()?;
    let mut writes: Vec<Write> = Vec::new();
    let mut inputs = 0_u64;
    let mut take = |core: &mut FleetCore, store: &mut RedbStore, input: Input| -> anyhow::Result<()> {
        inputs += 1;
        let mut entropy = [0; 32];
        entropy[..8].copy_from_slice(&inputs.to_be_bytes());
        writes.extend(core.handle(input, &Moment { now: 1_795_378_500_000 + inputs, entropy }).writes);
        if inputs.is_multiple_of(AT_ONCE as u64) {
            store.commit(&std::mem::take(&mut writes))?;
        }
        Ok(())
    };
    for n in 0..CABINETS {
        let cabinet: CabinetId = format!("c{n}").parse()?;
        let hello = hello(n)?;
        let payload = format!(
            r#"{{"op":"cabinet.add","cabinet":"{cabinet}","site":"s","place":"p","instance":"{}"}}"#,
            hello.instance
        );
        let who = "operator:acme:admin".parse().context("an identity")?;
        take(&mut core, &mut store, Input::Request { ticket: n, who, payload: payload.into_bytes() })?;
        take(&mut core, &mut store, Input::CabinetConnected { tenant: tenant.clone(), cabinet: cabinet.clone() })?;
        let up = |up, payload| Input::CabinetUp { tenant: tenant.clone(), cabinet: cabinet.clone(), up, payload };
        take(&mut core, &mut store, up(Up::Hello, cbor::encode(&hello)))?;
        for event in 1..=EVENTS_EACH {
            take(&mut core, &mut store, up(Up::Event, cbor::encode(&uplink(&hello, event)?)))?;
        }
        let reason = "measured".to_owned();
        take(&mut core, &mut store, Input::CabinetGone { tenant: tenant.clone(), cabinet, reason })?;
    }
    store.commit(&writes)?;
    let (tenant, cabinet) = (tenant, format!("c{}", CABINETS - 1).parse()?);
    let last = fleet_core::event_key(&tenant, &cabinet, hello(CABINETS - 1)?.epoch, EVENTS_EACH);
    let held = store.scan(fleet_core::EVENTS, &last, 1)?;
    ensure!(held.first().is_some_and(|(key, _)| *key == last), "the events are not in the store");
    Ok(())
}

fn hello(n: u64) -> anyhow::Result<Hello> {
    let mut instance = [0; 16];
    instance[..8].copy_from_slice(&n.to_be_bytes());
    let info = |number| {
        let number = Compartment::new(number)?;
        Some(CompartmentInfo { number, size: Size::S, attributes: Attributes::default(), in_service: true })
    };
    let boot = BootId([1; 8]);
    Ok(Hello {
        minor: 0,
        agent: "0.1.0".into(),
        instance: Instance(instance),
        boot,
        challenge: Challenge { boot, counter: 1, nonce: Nonce([2; 8]) },
        epoch: Epoch(n.to_be_bytes()),
        newest: EVENTS_EACH,
        oldest: 1,
        book: 0,
        keyset: 1,
        compartments: (1..=10).map(info).collect::<Option<_>>().context("a compartment number")?,
        pepper: None,
        open_commands: Vec::new(),
        app: None,
        errands: None,
        shares: None,
        couriers: None,
    })
}

fn uplink(hello: &Hello, n: u64) -> anyhow::Result<Uplink> {
    let fact =
        DoorClosed { compartment: Compartment::new(1).context("a compartment number")?, occupancy: Occupancy::Empty };
    let at = Stamp {
        boot: hello.boot,
        boot_millis: n * 1_000,
        fleet_millis: Some(1_795_378_500_000 + n),
        uncertainty_millis: Some(20),
    };
    let record = Blob(cbor::encode(&Event { at, fact: fact.into() }));
    Ok(Uplink { challenge: hello.challenge, epoch: hello.epoch, n, record })
}
