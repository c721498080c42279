//! Ten thousand cabinets whose certificates were issued in the same minute renew them, with the fleet's real core, store and
//! signer, in simulated time.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cabinet_agent::identity::due_at;
use certs::{LeafKey, Summary};
use fleet_broker::settings::SignerSettings;
use fleet_broker::signer::{Keys, Service};
use fleet_cli::setup::{self, InitOptions};
use fleet_core::enrolment::{Issue, Right};
use fleet_core::{Config, Effect, FleetCore, Input, Moment};
use fleet_settings::Sources;
use fleet_store::RedbStore;
use p256::SecretKey;
use schemas::api::Request;
use schemas::ids::{CabinetId, TenantId};
use schemas::messages::Instance;
use schemas::step::{Store as _, Write};

const CABINETS: u32 = 10_000;
/// With 10,000 in an hour, 2.8 come in a second; this many at once would be a herd.
const HERD: u32 = 20;

struct Fleet {
    core: FleetCore,
    store: RedbStore,
    signer: Service,
    tenant: TenantId,
    now: u64,
    entropy: u64,
    issued: Vec<Vec<u8>>,
}

impl Fleet {
    fn set_up(folder: &std::path::Path) -> Self {
        let tenant: TenantId = "acme".parse().unwrap();
        let layout =
            setup::init(&InitOptions::new(folder.join("fleet"), tenant.clone(), "localhost").unwrap()).unwrap();
        let toml = layout.signer_toml();
        let settings: SignerSettings =
            fleet_settings::load(&Sources { file: Some(&toml), ..Sources::default() }).unwrap();
        let store = RedbStore::open(&folder.join("fleet.redb")).unwrap();
        Self {
            core: FleetCore::open(Config::default(), &store).unwrap(),
            store,
            signer: Service::new(tenant.clone(), Keys::read(&settings.keys).unwrap()),
            tenant,
            now: millis(SystemTime::now()),
            entropy: 0,
            issued: Vec::new(),
        }
    }

    /// Takes one input and what follows from it; the writes of all of it are returned, to be committed before anything is
    /// answered.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the other effects are for people and machines that are not here"
    )]
    fn take(&mut self, input: Input) -> Vec<Write> {
        self.entropy += 1;
        let mut entropy = [0; 32];
        entropy[..8].copy_from_slice(&self.entropy.to_be_bytes());
        let step = self.core.handle(input, &Moment { now: self.now, entropy });
        let mut writes = step.writes;
        for effect in step.effects {
            match effect {
                Effect::Signer { ticket, request } => {
                    let reply = self.signer.answer(request, self.now);
                    writes.extend(self.take(Input::Signer { ticket, reply }));
                }
                Effect::Issued { certificate, .. } => self.issued.push(certificate),
                Effect::NotIssued { refusal, .. } => panic!("{refusal}"),
                _ => {}
            }
        }
        writes
    }

    fn register(&mut self) {
        let mut writes = Vec::new();
        for n in 0..CABINETS {
            let request = Request::CabinetAdd {
                cabinet: cabinet(n),
                site: "mall".parse().unwrap(),
                place: "Main Street".into(),
                instance: Instance([7; 16]),
                enrolment: None,
            };
            let payload = serde_json::to_vec(&request).unwrap();
            let who = "operator:acme:eve".parse().unwrap();
            writes.extend(self.take(Input::Request { ticket: n.into(), who, payload }));
        }
        self.store.commit(&writes).unwrap();
    }

    /// The certificate that this cabinet gets for a key of its own, on disk.
    fn renew(&mut self, n: u32, generation: u8) -> Summary {
        let key = LeafKey::from(&key(n, generation)).spki_der().unwrap();
        let (tenant, cabinet, right) = (self.tenant.clone(), cabinet(n), Right::Certificate);
        let writes = self.take(Input::Enrol { tenant, cabinet, right, issue: Issue { ticket: n.into(), key } });
        self.store.commit(&writes).unwrap();
        let summary = Summary::read(&self.issued.pop().unwrap().into()).unwrap();
        assert_eq!(summary.public_key, self::key(n, generation).public_key());
        summary
    }
}

fn cabinet(n: u32) -> CabinetId {
    format!("c{n}").parse().unwrap()
}

fn key(n: u32, generation: u8) -> SecretKey {
    let mut bytes = [generation; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_slice(&bytes).unwrap()
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// The same each time, and as good as chance: splitmix64.
fn draw(seed: u32) -> f64 {
    let mut mixed = u64::from(seed).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap()) / f64::from(u32::MAX)
}

#[test]
fn ten_thousand_cabinets_of_one_minute_renew_within_an_hour_and_without_a_herd() {
    let folder = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::set_up(folder.path());
    fleet.register();
    let first = fleet.renew(0, 1);

    let mut order: Vec<(SystemTime, u32)> = (0..CABINETS).map(|n| (due_at(&first, draw(n)), n)).collect();
    order.sort();
    let begin = due_at(&first, 0.0);
    let mut seconds: BTreeMap<u64, u32> = BTreeMap::new();
    for (at, n) in order {
        let after = at.duration_since(begin).unwrap();
        assert!(after <= Duration::from_secs(60 * 60), "{after:?}");
        *seconds.entry(after.as_secs()).or_default() += 1;
        fleet.now = millis(at);
        let renewed = fleet.renew(n, 2);
        assert!(renewed.not_after > first.not_after, "cabinet {n} has the same time left");
    }
    assert_eq!(seconds.values().sum::<u32>(), CABINETS);
    assert!(seconds.values().all(|count| *count < HERD), "{:?} in one second", seconds.values().max());

    // Everything that was handed out is on disk, and a fleet that starts again knows it.
    drop(fleet.core);
    assert_eq!(fleet.store.scan(fleet_core::ISSUED, &[], usize::MAX).unwrap().len(), CABINETS as usize + 1);
    assert!(FleetCore::open(Config::default(), &fleet.store).is_ok());
}
