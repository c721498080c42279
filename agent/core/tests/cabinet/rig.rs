//! A cabinet with a store in memory, a fleet that signs for it and a bus that does what a test says.

use std::collections::BTreeMap;

use cabinet_core::{
    CabinetCore, CompartmentConfig, Config, DeviceKey, DoorSeen, EVENTS, Effect, EntryResult, Input, MachineStart,
    Moment, OpenError, SessionId,
};
use ed25519_dalek::SigningKey;
use fleet_store::RedbStore;
use p256::SecretKey;
use schemas::cbor::{self, Blob};
use schemas::crypto::codes::Secret;
use schemas::crypto::envelope::{Scope, key_id, public_entry, sign};
use schemas::messages::*;
use schemas::step::{Row, Step, Store, StoreError, Table, Write};

pub(crate) const INSTANCE: Instance = Instance([7; 16]);
pub(crate) const OCCUPIED: Occupancy = Occupancy::Occupied;
pub(crate) const EMPTY: Occupancy = Occupancy::Empty;
pub(crate) const UNKNOWN: Occupancy = Occupancy::Unknown;

#[derive(Clone, Default, PartialEq)]
pub(crate) struct MemStore {
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

impl Store for MemStore {
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        for write in writes {
            let at = (write.table, write.key.clone());
            match &write.value {
                Some(value) => self.rows.insert(at, value.clone()),
                None => self.rows.remove(&at),
            };
        }
        Ok(())
    }

    fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let rows = self.rows.range((table, from.to_vec())..).take_while(|((held, _), _)| *held == table);
        Ok(rows.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }
}

impl MemStore {
    pub(crate) fn holds(&self, needle: &[u8]) -> bool {
        self.rows.values().any(|value| value.windows(needle.len()).any(|window| window == needle))
    }

    pub(crate) fn len(&self, table: Table) -> usize {
        self.rows.keys().filter(|(held, _)| *held == table).count()
    }
}

/// One pulse that the core ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pulse {
    pub(crate) pulse: u64,
    pub(crate) compartment: u16,
    pub(crate) not_after: u64,
}

pub(crate) struct Rig {
    pub(crate) core: CabinetCore,
    pub(crate) store: MemStore,
    pub(crate) now: u64,
    pub(crate) boot: u8,
    calls: u64,
    entries: u64,
    commands: u8,
    /// Newest challenge that the cabinet showed.
    pub(crate) challenge: Option<Challenge>,
    pub(crate) book: u64,
    /// Whether the screen shows tokens, from the next start on.
    pub(crate) app: bool,
    /// A real store that gets every commit too.
    pub(crate) mirror: Option<RedbStore>,
}

/// Where somebody types or scans.
#[derive(Clone, Copy)]
enum Keypad {
    Customer,
    Staff,
    Courier,
}

pub(crate) fn root(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

pub(crate) fn unlock_key() -> SigningKey {
    SigningKey::from_bytes(&[11; 32])
}

pub(crate) fn codes_key() -> SigningKey {
    SigningKey::from_bytes(&[12; 32])
}

pub(crate) fn config_key() -> SigningKey {
    SigningKey::from_bytes(&[14; 32])
}

pub(crate) fn pepper_key() -> SecretKey {
    SecretKey::from_slice(&[13; 32]).unwrap()
}

pub(crate) fn number(n: u16) -> Compartment {
    Compartment::new(n).unwrap()
}

pub(crate) fn order(id: &str) -> OrderKey {
    format!("shop/{id}").parse().unwrap()
}

pub(crate) fn config(boot: u8) -> Config {
    // 1 and 2 have an occupancy sensor, 3 to 5 have none.
    let sizes = [Size::M, Size::M, Size::S, Size::M, Size::L];
    let compartments = sizes.into_iter().enumerate().map(|(at, size)| CompartmentConfig {
        info: CompartmentInfo {
            number: number(at as u16 + 1),
            size,
            attributes: Attributes::default(),
            in_service: true,
        },
        occupancy_sensor: at < 2,
    });
    Config {
        tenant: "acme".parse().unwrap(),
        cabinet: "c1".parse().unwrap(),
        instance: INSTANCE,
        roots: [1, 2].map(|byte| public_entry(&root(byte), KeyPurpose::Keyset)),
        compartments: compartments.collect(),
        device_key: DeviceKey([9; 32]),
        agent: "test".into(),
        boot: BootId([boot; 8]),
        machine: MachineStart([boot; 16]),
        telemetry_every_millis: Config::TELEMETRY_EVERY_MILLIS,
        app_token: false,
        receipt: None,
    }
}

pub(crate) fn keyset(version: u64) -> Vec<u8> {
    let tenant = "acme".parse().unwrap();
    let point = p256::elliptic_curve::sec1::ToSec1Point::to_sec1_point(&pepper_key().public_key(), false);
    let pepper =
        Key { id: key_id(point.as_bytes()), purpose: KeyPurpose::Pepper, public: Blob(point.as_bytes().to_vec()) };
    let keys = vec![
        public_entry(&unlock_key(), KeyPurpose::Unlock),
        public_entry(&codes_key(), KeyPurpose::Codes),
        public_entry(&config_key(), KeyPurpose::Config),
        pepper,
    ];
    signed_keyset(&Keyset::new(tenant, version, 0, keys))
}

/// By the root of this cabinet's tenant, whatever the keyset says.
pub(crate) fn signed_keyset(keyset: &Keyset) -> Vec<u8> {
    keyset_by(keyset, 1)
}

pub(crate) fn keyset_by(keyset: &Keyset, by: u8) -> Vec<u8> {
    let scope = Scope::Tenant { tenant: &"acme".parse().unwrap(), purpose: KeyPurpose::Keyset };
    sign(cbor::encode(keyset), scope, &root(by))
}

pub(crate) fn signed<T: serde::Serialize>(message: &T, purpose: KeyPurpose, key: &SigningKey) -> Blob {
    let (tenant, cabinet) = ("acme".parse().unwrap(), "c1".parse().unwrap());
    let scope = Scope::Cabinet { tenant: &tenant, cabinet: &cabinet, instance: INSTANCE, purpose };
    Blob(sign(cbor::encode(message), scope, key))
}

/// Stands for Argon2id, which is the shell's work.
pub(crate) fn verifier(text: &str) -> Verifier {
    let mut bytes = [0; 32];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    Verifier(bytes)
}

pub(crate) fn put_order(id: &str, size: Size) -> BookChange {
    let (category, wants) = (Category::Retail, Attributes::default());
    PutOrder {
        order: order(id),
        size,
        category,
        wants,
        reserved: None,
        take_back: None,
        deposit: None,
        part: None,
        shares: None,
    }
    .into()
}

pub(crate) fn credential(id: u8, code: &str, orders: &[&str]) -> PutCredential {
    PutCredential {
        id: CredentialId([id; 8]),
        kind: CredentialKind::Digits,
        verifier: verifier(code),
        orders: orders.iter().map(|id| order(id)).collect(),
        generation: 1,
        expires: None,
        needs_time: false,
        pepper: 1,
        rights: None,
    }
}

pub(crate) fn put_staff(name: &str, pin: &str) -> BookChange {
    PutStaff { name: name.parse().unwrap(), verifier: verifier(pin), pepper: 1, until: None, badge: None }.into()
}

pub(crate) fn token(byte: u8) -> Secret {
    Secret::token_from(&[byte; 16])
}

impl Rig {
    /// An empty store, nothing connected.
    pub(crate) fn blank() -> Self {
        Self::with(config(1))
    }

    pub(crate) fn with(config: Config) -> Self {
        let mut store = MemStore::default();
        let moment = Moment { boot_millis: 1_000, entropy: [1; 32] };
        let (core, step) = CabinetCore::open(config, &store, &moment).unwrap();
        store.commit(&step.writes).unwrap();
        Self {
            core,
            store,
            now: 1_000,
            boot: 1,
            calls: 1,
            entries: 0,
            commands: 0,
            challenge: None,
            book: 0,
            app: false,
            mirror: None,
        }
    }

    /// With keys, connected, welcomed, all doors reported closed.
    pub(crate) fn online() -> Self {
        Self::blank().go_online()
    }

    pub(crate) fn go_online(mut self) -> Self {
        self.send(Input::Keyset(keyset(1)));
        self.connect();
        self.doors_closed();
        self
    }

    /// Online, with staff `ann` (PIN 111111) and these orders, each stored: (compartment, order, code).
    pub(crate) fn holding(stored: &[(u16, &str, &str)]) -> Self {
        let mut rig = Self::online();
        let mut changes = vec![put_staff("ann", "111111")];
        for (at, (_, id, code)) in stored.iter().enumerate() {
            changes.push(put_order(id, Size::S));
            changes.push(credential(at as u8 + 1, code, &[id]).into());
        }
        rig.book(changes);
        let session = rig.log_in("111111");
        for (compartment, id, _) in stored {
            rig.reserve(id, *compartment);
            rig.load(session, id);
            rig.open_door(*compartment);
            rig.door(*compartment, DoorSeen::Closed, OCCUPIED);
            let inside = Input::ConfirmLoaded { session, compartment: number(*compartment), inside: true };
            rig.send(inside);
            assert!(rig.view(*compartment).allocated);
        }
        // Until the pulses of loading no longer explain an open door.
        rig.wait(cabinet_core::PULSE_WINDOW_MILLIS + 1);
        rig
    }

    fn reserve(&mut self, id: &str, compartment: u16) {
        let BookChange::PutOrder(put) = put_order(id, Size::S) else { unreachable!() };
        self.book(vec![PutOrder { reserved: Some(number(compartment)), ..put }.into()]);
    }

    fn moment(&mut self) -> Moment {
        self.calls += 1;
        let mut entropy = [self.boot; 32];
        entropy[..8].copy_from_slice(&self.calls.to_be_bytes());
        Moment { boot_millis: self.now, entropy }
    }

    /// The step alone, neither committed nor carried out.
    pub(crate) fn step(&mut self, input: Input) -> Step<Effect> {
        let moment = self.moment();
        self.core.handle(input, &moment)
    }

    pub(crate) fn commit(&mut self, writes: &[Write]) {
        self.store.commit(writes).unwrap();
        if let Some(mirror) = &mut self.mirror {
            mirror.commit(writes).unwrap();
        }
    }

    pub(crate) fn send(&mut self, input: Input) -> Vec<Effect> {
        let step = self.step(input);
        self.commit(&step.writes);
        self.watch(&step.effects);
        step.effects
    }

    fn watch(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::SendHello(bytes) => self.challenge = Some(cbor::decode::<Hello>(bytes).unwrap().challenge),
                Effect::SendChallenge(bytes) => self.challenge = Some(cbor::decode(bytes).unwrap()),
                Effect::SendTelemetry(bytes) => {
                    self.challenge = Some(cbor::decode::<Telemetry>(bytes).unwrap().challenge);
                }
                Effect::SendEvents { challenge, .. } => self.challenge = Some(*challenge),
                _ => {}
            }
        }
    }

    /// Lets time pass, with ticks where the core asks for them.
    pub(crate) fn wait(&mut self, millis: u64) -> Vec<Effect> {
        let until = self.now + millis;
        let mut effects = Vec::new();
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            effects.extend(self.send(Input::Tick));
            assert!(self.core.poll_timeout().is_none_or(|next| next > self.now), "a deadline that is over stays");
        }
        self.now = until;
        effects
    }

    pub(crate) fn down(&mut self, down: impl Into<Down>) -> Vec<Effect> {
        let payload = cbor::encode(&down.into());
        self.send(Input::Down { token: 1, payload })
    }

    pub(crate) fn connect(&mut self) -> Hello {
        let effects = self.send(Input::Connected);
        let hello = hello(&effects).unwrap();
        self.send(Input::HelloAcked);
        self.down(Welcome { epoch: hello.epoch, high_water: hello.newest });
        hello
    }

    /// A challenge that is made at this moment.
    pub(crate) fn ask(&mut self) -> Challenge {
        for _ in 0..1_000 {
            self.wait(1_000);
            let before = self.challenge;
            self.down(Ask {});
            if self.challenge != before {
                return self.challenge.unwrap();
            }
        }
        panic!("the cabinet gives no challenge: it is not connected and welcomed")
    }

    /// Power off, power on: memory and effects are gone, the boot clock starts again.
    pub(crate) fn restart(&mut self) -> Vec<Effect> {
        self.restart_with(None)
    }

    pub(crate) fn restart_with(&mut self, receipt: Option<Vec<u8>>) -> Vec<Effect> {
        self.boot += 1;
        self.now = 500;
        self.challenge = None;
        let moment = self.moment();
        let config = Config { receipt, app_token: self.app, ..config(self.boot) };
        let (core, step) = CabinetCore::open(config, &self.store, &moment).unwrap();
        self.core = core;
        self.store.commit(&step.writes).unwrap();
        step.effects
    }

    pub(crate) fn reopen(&mut self, config: Config) -> Result<(), OpenError> {
        let moment = self.moment();
        CabinetCore::open(config, &self.store, &moment).map(|_| ())
    }

    pub(crate) fn book(&mut self, changes: Vec<BookChange>) -> Vec<Effect> {
        let base = self.book;
        self.book += 1;
        self.send_book(Book { version: self.book, base, issued: 0, changes })
    }

    pub(crate) fn send_book(&mut self, book: Book) -> Vec<Effect> {
        let message = CodesMessage::from(book);
        let envelope = signed(&message, KeyPurpose::Codes, &codes_key());
        self.down(CodesEnvelope { envelope })
    }

    pub(crate) fn set_time(&mut self, now: u64) {
        let challenge = self.ask();
        let message = CodesMessage::from(FleetTime { challenge, now, mark: None });
        let envelope = signed(&message, KeyPurpose::Codes, &codes_key());
        self.down(CodesEnvelope { envelope });
    }

    pub(crate) fn command(&mut self, compartment: u16, expects: Expect) -> Command {
        self.commands += 1;
        let challenge = self.ask();
        Command {
            id: CommandId([self.commands; 16]),
            challenge,
            issued: 0,
            action: Unlock { compartment: number(compartment), expects }.into(),
            requester: "operator:acme:eve".into(),
        }
    }

    pub(crate) fn send_command(&mut self, command: &Command) -> Vec<Effect> {
        let envelope = signed(command, KeyPurpose::Unlock, &unlock_key());
        self.down(Signed { envelope })
    }

    pub(crate) fn door(&mut self, compartment: u16, door: DoorSeen, occupancy: Occupancy) -> Vec<Effect> {
        self.send(Input::Door { compartment: number(compartment), door, occupancy })
    }

    pub(crate) fn doors_closed(&mut self) {
        for compartment in 1..=5 {
            self.door(compartment, DoorSeen::Closed, EMPTY);
        }
    }

    pub(crate) fn open_door(&mut self, compartment: u16) -> Vec<Effect> {
        self.door(compartment, DoorSeen::Open, UNKNOWN)
    }

    pub(crate) fn close_door(&mut self, compartment: u16) -> Vec<Effect> {
        self.door(compartment, DoorSeen::Closed, EMPTY)
    }

    pub(crate) fn sent(&mut self, pulse: Pulse) -> Vec<Effect> {
        self.send(Input::PulseResult { pulse: pulse.pulse, sent: true })
    }

    pub(crate) fn not_sent(&mut self, pulse: Pulse) -> Vec<Effect> {
        self.send(Input::PulseResult { pulse: pulse.pulse, sent: false })
    }

    /// Enters and derives; all effects of both steps.
    fn enter_as(&mut self, secret: Secret, who: Keypad) -> Vec<Effect> {
        self.entries += 1;
        let (entry, verifier) = (self.entries, verifier(secret.reveal()));
        let input = match who {
            Keypad::Customer => Input::Entered { entry, secret },
            Keypad::Staff => Input::StaffEntered { entry, secret },
            Keypad::Courier => Input::CourierEntered { entry, secret },
        };
        let mut effects = self.send(input);
        if effects.iter().any(|effect| matches!(effect, Effect::Derive { .. })) {
            effects.extend(self.send(Input::Derived { entry, verifier }));
        }
        effects
    }

    pub(crate) fn enter(&mut self, code: &str) -> Vec<Effect> {
        self.enter_as(Secret::parse(code).unwrap(), Keypad::Customer)
    }

    pub(crate) fn scan(&mut self, secret: Secret) -> Vec<Effect> {
        self.enter_as(secret, Keypad::Customer)
    }

    pub(crate) fn enter_staff(&mut self, pin: &str) -> Vec<Effect> {
        self.enter_as(Secret::parse(pin).unwrap(), Keypad::Staff)
    }

    pub(crate) fn scan_staff(&mut self, secret: Secret) -> Vec<Effect> {
        self.enter_as(secret, Keypad::Staff)
    }

    pub(crate) fn enter_courier(&mut self, pin: &str) -> Vec<Effect> {
        self.enter_as(Secret::parse(pin).unwrap(), Keypad::Courier)
    }

    pub(crate) fn scan_courier(&mut self, secret: Secret) -> Vec<Effect> {
        self.enter_as(secret, Keypad::Courier)
    }

    pub(crate) fn log_in(&mut self, pin: &str) -> SessionId {
        let effects = self.enter_staff(pin);
        match result(&effects) {
            EntryResult::StaffSession { session, .. } => session,
            other => panic!("no session: {other:?}"),
        }
    }

    /// Takes a compartment for the order and has it pulsed.
    pub(crate) fn load(&mut self, session: SessionId, id: &str) -> Pulse {
        let effects = self.send(Input::Load { session, order: order(id), larger: false });
        let pulse = only_pulse(&effects);
        self.sent(pulse);
        pulse
    }

    /// A whole pickup, door opened and closed.
    pub(crate) fn pick_up(&mut self, code: &str) {
        let effects = self.enter(code);
        for pulse in pulses(&effects) {
            self.sent(pulse);
            self.open_door(pulse.compartment);
            self.close_door(pulse.compartment);
        }
    }

    pub(crate) fn events(&self) -> Vec<Fact> {
        let rows = self.store.rows(EVENTS).unwrap();
        rows.iter().map(|(_, value)| cbor::decode::<Event>(value).unwrap().fact).collect()
    }

    pub(crate) fn count(&self, wanted: impl Fn(&Fact) -> bool) -> usize {
        self.events().iter().filter(|fact| wanted(fact)).count()
    }

    pub(crate) fn has(&self, fact: impl Into<Fact>) -> bool {
        let fact = fact.into();
        self.events().contains(&fact)
    }

    pub(crate) fn last(&self) -> Fact {
        self.events().pop().unwrap()
    }

    pub(crate) fn view(&self, compartment: u16) -> cabinet_core::CompartmentView {
        let view = self.core.view();
        view.compartments.into_iter().find(|held| held.number == number(compartment)).unwrap()
    }
}

pub(crate) fn hello(effects: &[Effect]) -> Option<Hello> {
    effects.iter().find_map(|effect| match effect {
        Effect::SendHello(bytes) => cbor::decode(bytes).ok(),
        _ => None,
    })
}

pub(crate) fn pulses(effects: &[Effect]) -> Vec<Pulse> {
    let pulse = |effect: &Effect| match effect {
        Effect::Pulse { pulse, compartment, not_after } => {
            Some(Pulse { pulse: *pulse, compartment: compartment.number(), not_after: *not_after })
        }
        _ => None,
    };
    effects.iter().filter_map(pulse).collect()
}

pub(crate) fn only_pulse(effects: &[Effect]) -> Pulse {
    match pulses(effects).as_slice() {
        [pulse] => *pulse,
        other => panic!("{} pulses in {effects:?}", other.len()),
    }
}

pub(crate) fn result(effects: &[Effect]) -> EntryResult {
    let results = effects.iter().filter_map(|effect| match effect {
        Effect::EntryResult { result, .. } => Some(result.clone()),
        _ => None,
    });
    let results: Vec<_> = results.collect();
    assert_eq!(results.len(), 1, "{effects:?}");
    results[0].clone()
}

/// What the shell is to do, in order, without the events on their way.
pub(crate) fn told(effects: &[Effect]) -> Vec<String> {
    let quiet = |effect: &&Effect| !matches!(effect, Effect::SendEvents { .. });
    effects.iter().filter(quiet).map(|effect| format!("{effect:?}")).collect()
}
