//! Thirty days without a network, on the real store: everything works, nothing is lost, the disk stays small.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cabinet_core::{CompartmentConfig, Config, DoorSeen, EVENTS, Effect, HISTORY, Input, OUTBOX_WINDOW};
use fleet_store::RedbStore;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use schemas::messages::*;
use schemas::step::{Store as _, Write};

use crate::rig::*;

const DAY: u64 = 86_400_000;
const ORDERS: u64 = 1_000;
const COMPARTMENTS: u16 = 100;
/// Of the store's file, with a full book and all events of the month. Stated in ARCHITECTURE.md.
const FILE_MAX: u64 = 4 * 1024 * 1024;

/// A disk in memory that says how large its file is.
#[derive(Debug, Clone, Default)]
struct Disk {
    file: Arc<InMemoryBackend>,
    largest: Arc<AtomicU64>,
}

impl StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.largest.fetch_max(len, Ordering::Relaxed);
        self.file.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.file.write(offset, data)
    }
}

fn large(mut config: Config) -> Config {
    let sizes = (1..=COMPARTMENTS).map(|n| CompartmentConfig {
        info: CompartmentInfo { number: number(n), size: Size::M, attributes: Attributes::default(), in_service: true },
        occupancy_sensor: n % 2 == 0,
    });
    config.compartments = sizes.collect();
    config
}

fn code(n: u64) -> String {
    format!("{}", 10_000_000 + n)
}

/// A book as large as a cabinet takes: 1,000 orders, each with digits and a QR code.
fn full_book(rig: &mut Rig) {
    rig.book(vec![put_staff("ann", "111111")]);
    let orders: Vec<u64> = (0..ORDERS).collect();
    for part in orders.chunks(30) {
        let changes = part.iter().flat_map(|n| {
            let (order, id) = (format!("A{n}"), |kind: u8| {
                let mut id = [kind; 8];
                id[..7].copy_from_slice(&n.to_be_bytes()[1..]);
                CredentialId(id)
            });
            let digits = PutCredential { id: id(1), ..credential(1, &code(*n), &[&order]) };
            let qr =
                PutCredential { id: id(2), kind: CredentialKind::Qr, ..credential(1, &format!("Q{n}"), &[&order]) };
            [put_order(&order, Size::S), digits.into(), qr.into()]
        });
        rig.book(changes.collect());
    }
}

#[test]
fn thirty_days_offline_lose_nothing_and_fit_the_disk() {
    let mut rig = Rig::with(large(config(1)));
    rig.send(Input::Keyset(keyset(1)));
    rig.connect();
    let disk = Disk::default();
    let mut mirror = RedbStore::with_backend(disk.clone()).unwrap();
    for table in cabinet_core::TABLES {
        let rows = rig.store.rows(table).unwrap();
        let writes: Vec<_> = rows.into_iter().map(|(key, value)| Write::put(table, key, value)).collect();
        mirror.commit(&writes).unwrap();
    }
    rig.mirror = Some(mirror);
    full_book(&mut rig);
    rig.set_time(1_795_378_500_000);
    rig.send(Input::Disconnected);
    for n in 1..=COMPARTMENTS {
        rig.close_door(n);
    }
    let told = rig.store.len(EVENTS) as u64;

    // What happens on the first day is still there on the last.
    rig.open_door(7);
    rig.close_door(7);
    for day in 0..30 {
        let session = rig.log_in("111111");
        for n in (day..ORDERS).step_by(30) {
            let pulse = rig.load(session, &format!("A{n}"));
            rig.open_door(pulse.compartment);
            rig.door(pulse.compartment, DoorSeen::Closed, OCCUPIED);
            if rig.view(pulse.compartment).asks {
                let at = number(pulse.compartment);
                rig.send(Input::ConfirmLoaded { session, compartment: at, inside: true });
            }
        }
        rig.wait(DAY / 2);
        for n in (day..ORDERS).step_by(30) {
            rig.pick_up(&code(n));
        }
        // A door that somebody rattles at.
        for _ in 0..50 {
            rig.open_door(100);
            rig.close_door(100);
        }
        for guess in 0..3 {
            rig.enter(&format!("{}", 99_000_000 + day * 10 + guess));
        }
        rig.wait(DAY / 2);
    }
    let facts = rig.events();
    let collected = facts.iter().filter(|fact| matches!(fact, Fact::Collected(taken) if taken.confirmed)).count();
    assert_eq!(collected as u64, ORDERS, "every code opened its door");
    assert!(rig.has(DoorForced { compartment: number(7) }));
    let events = facts.len() as u64 - told;
    assert!(events >= 10_000, "{events} events");

    let file = disk.largest.load(Ordering::Relaxed);
    let mirrored = rig.mirror.as_ref().unwrap().rows(EVENTS).unwrap().len();
    assert_eq!(mirrored, rig.store.len(EVENTS));
    assert!(file <= FILE_MAX, "the file has grown to {file} bytes");

    let commits = drain(&mut rig);
    assert!(commits <= events / 16, "{commits} commits for {events} acknowledged events");
    assert!((HISTORY..HISTORY + 64).contains(&(rig.store.len(EVENTS) as u64)));
}

/// The fleet takes everything, a window at a time; in the middle an operator opens a door, at once. Returns how many
/// acknowledgements wrote to the disk.
fn drain(rig: &mut Rig) -> u64 {
    let hello = hello(&rig.send(Input::Connected)).unwrap();
    let effects = rig.down(Welcome { epoch: hello.epoch, high_water: hello.oldest - 1 });
    let mut under_way: VecDeque<u64> = sent(&effects);
    let (mut commits, mut acked) = (0, hello.oldest - 1);
    while let Some(n) = under_way.pop_front() {
        assert_eq!(n, acked + 1, "in order, without a gap");
        assert!((under_way.len() as u64) < OUTBOX_WINDOW);
        acked = n;
        let step = rig.step(Input::EventsAcked { up_to: n });
        commits += u64::from(!step.writes.is_empty());
        rig.commit(&step.writes);
        under_way.extend(sent(&step.effects));
        if n == hello.newest / 2 {
            let command = rig.command(3, Expect::empty());
            let effects = rig.send_command(&command);
            assert_eq!(only_pulse(&effects).compartment, 3, "an unlock does not wait for the rest");
        }
    }
    assert!(acked >= hello.newest);
    commits
}

fn sent(effects: &[Effect]) -> VecDeque<u64> {
    let batch = |effect: &Effect| match effect {
        Effect::SendEvents { from, to, .. } => Some(*from..=*to),
        _ => None,
    };
    effects.iter().filter_map(batch).flatten().collect()
}
