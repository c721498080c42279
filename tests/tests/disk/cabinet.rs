//! A cabinet's core on any store, with the keys of a fleet and doors that do what a history says.

use cabinet_core::{
    CabinetCore, CompartmentConfig, Config, DeviceKey, DoorSeen, EVENTS, Effect, EntryResult, Input, MachineStart,
    Moment, PULSE_WINDOW_MILLIS,
};
use ed25519_dalek::SigningKey;
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use schemas::cbor::{self, Blob};
use schemas::crypto::codes::Secret;
use schemas::crypto::envelope::{Scope, key_id, public_entry, sign};
use schemas::messages::*;
use schemas::step::{Step, Store, StoreError, number_of_key};

const INSTANCE: Instance = Instance([7; 16]);
const COMPARTMENTS: u16 = 5;

/// What has become certain with a step, because its commit returned `Ok`.
#[derive(Debug, Clone)]
pub(crate) enum Promise {
    Event { n: u64, record: Vec<u8> },
    Book(u64),
    Accepted(CommandId),
}

/// How far an order has come, as its cabinet journalled it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Stored {
        compartment: Compartment,
    },
    /// Somebody with the right to it is at the door.
    Leaving,
    Gone,
}

pub(crate) struct Cabinet<S> {
    core: CabinetCore,
    pub(crate) store: S,
    now: u64,
    boot: u8,
    moments: u64,
    entries: u64,
    commands: u8,
    book: u64,
    challenge: Option<Challenge>,
    pub(crate) hello: Option<Hello>,
    /// Steps so far; each is one commit.
    pub(crate) steps: usize,
    pub(crate) promises: Vec<(usize, Promise)>,
    pub(crate) orders: Vec<(usize, OrderKey, Progress)>,
    pub(crate) pulses: usize,
}

pub(crate) fn order(id: &str) -> OrderKey {
    format!("shop/{id}").parse().unwrap()
}

/// The code of an order's customer.
pub(crate) fn code(id: &str) -> String {
    format!("{:0>8}", &id[1..])
}

fn number(n: u16) -> Compartment {
    Compartment::new(n).unwrap()
}

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

fn config(boot: u8) -> Config {
    let compartments = (1..=COMPARTMENTS).map(|n| CompartmentConfig {
        info: CompartmentInfo { number: number(n), size: Size::M, attributes: Attributes::default(), in_service: true },
        occupancy_sensor: n > 1,
    });
    Config {
        tenant: "acme".parse().unwrap(),
        cabinet: "c1".parse().unwrap(),
        instance: INSTANCE,
        roots: [1, 2].map(|byte| public_entry(&key(byte), KeyPurpose::Keyset)),
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

fn keyset() -> Vec<u8> {
    let pepper = SecretKey::from_slice(&[13; 32]).unwrap().public_key().to_sec1_point(false);
    let pepper =
        Key { id: key_id(pepper.as_bytes()), purpose: KeyPurpose::Pepper, public: Blob(pepper.as_bytes().to_vec()) };
    let keys = vec![public_entry(&key(11), KeyPurpose::Unlock), public_entry(&key(12), KeyPurpose::Codes), pepper];
    let keyset = Keyset::new("acme".parse().unwrap(), 1, 0, keys);
    let scope = Scope::Tenant { tenant: &keyset.tenant, purpose: KeyPurpose::Keyset };
    sign(cbor::encode(&keyset), scope, &key(1))
}

fn signed<T: serde::Serialize>(message: &T, purpose: KeyPurpose, key: &SigningKey) -> Blob {
    let (tenant, cabinet) = ("acme".parse().unwrap(), "c1".parse().unwrap());
    let scope = Scope::Cabinet { tenant: &tenant, cabinet: &cabinet, instance: INSTANCE, purpose };
    Blob(sign(cbor::encode(message), scope, key))
}

/// Stands for Argon2id.
fn verifier(text: &str) -> Verifier {
    let mut bytes = [0; 32];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    Verifier(bytes)
}

/// Fails when the store does; the core is then of no use any more.
type Done<T> = Result<T, StoreError>;

fn moment(boot: u8, count: u64, now: u64) -> Moment {
    let mut entropy = [boot; 32];
    entropy[..8].copy_from_slice(&count.to_be_bytes());
    Moment { boot_millis: now, entropy }
}

impl<S: Store> Cabinet<S> {
    /// Power on: opens the core on what the store holds, connects and reports every door as closed and sound.
    pub(crate) fn start(mut store: S, boot: u8) -> Result<Self, String> {
        let opened = CabinetCore::open(config(boot), &store, &moment(boot, 0, 500));
        let (core, step) = opened.map_err(|error| format!("the cabinet's core does not open: {error}"))?;
        store.commit(&step.writes).map_err(|error| error.to_string())?;
        let mut cabinet = Self {
            core,
            store,
            now: 500,
            boot,
            moments: 0,
            entries: 0,
            commands: 0,
            book: 0,
            challenge: None,
            hello: None,
            steps: 0,
            promises: Vec::new(),
            orders: Vec::new(),
            pulses: 0,
        };
        cabinet.committed(&step);
        cabinet.send(Input::Keyset(keyset())).map_err(|error| error.to_string())?;
        Ok(cabinet)
    }

    pub(crate) fn send(&mut self, input: Input) -> Done<Vec<Effect>> {
        self.moments += 1;
        let step = self.core.handle(input, &moment(self.boot, self.moments, self.now));
        self.store.commit(&step.writes)?;
        self.committed(&step);
        Ok(step.effects)
    }

    /// Notes what the step makes certain.
    fn committed(&mut self, step: &Step<Effect>) {
        for write in step.writes.iter().filter(|write| write.table == EVENTS) {
            let (Some(n), Some(record)) = (number_of_key(&write.key), write.value.clone()) else { continue };
            let fact = cbor::decode::<Event>(&record).unwrap().fact;
            self.promises.push((self.steps, Promise::Event { n, record }));
            self.note(fact);
        }
        for effect in &step.effects {
            match effect {
                Effect::SendHello(bytes) => {
                    let hello: Hello = cbor::decode(bytes).unwrap();
                    self.challenge = Some(hello.challenge);
                    self.hello = Some(hello);
                }
                Effect::SendChallenge(bytes) => self.challenge = Some(cbor::decode(bytes).unwrap()),
                Effect::SendTelemetry(bytes) => {
                    self.challenge = Some(cbor::decode::<Telemetry>(bytes).unwrap().challenge);
                }
                Effect::SendEvents { challenge, .. } => self.challenge = Some(*challenge),
                Effect::Pulse { .. } => self.pulses += 1,
                Effect::Erase(_) | Effect::Discard => panic!("nobody wipes this cabinet"),
                Effect::AckDown { .. }
                | Effect::Derive { .. }
                | Effect::DeriveAnswer { .. }
                | Effect::EntryResult { .. }
                | Effect::Screen(_) => {}
            }
        }
        self.steps += 1;
    }

    fn note(&mut self, fact: Fact) {
        let (order, progress) = match fact {
            Fact::Stored(Stored { order, compartment, .. }) => (order, Progress::Stored { compartment }),
            Fact::Collected(Collected { order, .. }) | Fact::Retrieved(Retrieved { order, .. }) => {
                (order, Progress::Gone)
            }
            _ => return,
        };
        self.orders.push((self.steps, order, progress));
    }

    /// Lets time pass, with ticks where the core asks for them.
    pub(crate) fn wait(&mut self, millis: u64) -> Done<()> {
        let until = self.now + millis;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.send(Input::Tick)?;
        }
        self.now = until;
        Ok(())
    }

    fn down(&mut self, down: impl Into<Down>) -> Done<Vec<Effect>> {
        let payload = cbor::encode(&down.into());
        let effects = self.send(Input::Down { token: 1, payload })?;
        assert!(effects.iter().any(|effect| matches!(effect, Effect::AckDown { .. })), "{effects:?}");
        Ok(effects)
    }

    pub(crate) fn connect(&mut self) -> Done<()> {
        self.send(Input::Connected)?;
        let hello = self.hello.clone().unwrap();
        self.book = hello.book;
        self.send(Input::HelloAcked)?;
        self.down(Welcome { epoch: hello.epoch, high_water: hello.newest })?;
        Ok(())
    }

    fn door(&mut self, at: Compartment, door: DoorSeen) -> Done<()> {
        let held = self.core.view().compartments.iter().any(|held| held.number == at && held.allocated);
        let occupancy = match door {
            DoorSeen::Closed if at.number() > 1 => {
                if held {
                    Occupancy::Occupied
                } else {
                    Occupancy::Empty
                }
            }
            DoorSeen::Closed | DoorSeen::Open | DoorSeen::Unknown => Occupancy::Unknown,
        };
        self.send(Input::Door { compartment: at, door, occupancy })?;
        Ok(())
    }

    /// Every door is reported closed; compartments hold what the cabinet believes.
    pub(crate) fn doors_closed(&mut self) -> Done<()> {
        for n in 1..=COMPARTMENTS {
            self.door(number(n), DoorSeen::Closed)?;
        }
        Ok(())
    }

    /// Brings a book with these orders, and staff with the PIN 111111 in the first one.
    pub(crate) fn send_book(&mut self, ids: &[&str]) -> Done<()> {
        let mut changes: Vec<BookChange> = Vec::new();
        if self.book == 0 {
            let (name, verifier) = ("ann".parse().unwrap(), verifier("111111"));
            changes.push(PutStaff { name, verifier, pepper: 1, until: None, badge: None }.into());
        }
        for id in ids {
            let (category, wants) = (Category::Retail, Attributes::default());
            changes.push(
                PutOrder {
                    order: order(id),
                    size: Size::M,
                    category,
                    wants,
                    reserved: None,
                    take_back: None,
                    deposit: None,
                    part: None,
                    shares: None,
                }
                .into(),
            );
            changes.push(
                PutCredential {
                    id: CredentialId([id.as_bytes()[1]; 8]),
                    kind: CredentialKind::Digits,
                    verifier: verifier(&code(id)),
                    orders: vec![order(id)],
                    generation: 1,
                    expires: None,
                    needs_time: false,
                    pepper: 1,
                    rights: None,
                }
                .into(),
            );
        }
        let base = self.book;
        self.book += 1;
        let message = CodesMessage::from(Book { version: self.book, base, issued: 0, changes });
        self.down(CodesEnvelope { envelope: signed(&message, KeyPurpose::Codes, &key(12)) })?;
        self.promises.push((self.steps - 1, Promise::Book(self.book)));
        Ok(())
    }

    /// Types a code or a PIN. The doors that open, with their pulses.
    fn enter(&mut self, text: &str, staff: bool) -> Done<Vec<Effect>> {
        self.entries += 1;
        let (entry, secret) = (self.entries, Secret::parse(text).unwrap());
        let mut effects =
            self.send(if staff { Input::StaffEntered { entry, secret } } else { Input::Entered { entry, secret } })?;
        if effects.iter().any(|effect| matches!(effect, Effect::Derive { .. })) {
            effects.extend(self.send(Input::Derived { entry, verifier: verifier(text) })?);
        }
        Ok(effects)
    }

    /// Carries out the one pulse: the door opens, and closes with the compartment `left`.
    fn use_door(&mut self, effects: &[Effect], left: Occupancy) -> Done<Compartment> {
        let [(pulse, at)] = pulses(effects)[..] else { panic!("no pulse in {effects:?}") };
        self.send(Input::PulseResult { pulse, sent: true })?;
        self.door(at, DoorSeen::Open)?;
        let occupancy = if at.number() > 1 { left } else { Occupancy::Unknown };
        self.send(Input::Door { compartment: at, door: DoorSeen::Closed, occupancy })?;
        Ok(at)
    }

    /// Staff load the orders, each into a compartment that the cabinet chooses, or take one back.
    pub(crate) fn staff(&mut self, load: &[&str], retrieve: Option<&str>) -> Done<()> {
        let effects = self.enter("111111", true)?;
        let session = effects.iter().find_map(|effect| match effect {
            Effect::EntryResult { result: EntryResult::StaffSession { session, .. }, .. } => Some(*session),
            _ => None,
        });
        let session = session.unwrap_or_else(|| panic!("no session: {effects:?}"));
        for id in load {
            let effects = self.send(Input::Load { session, order: order(id), larger: false })?;
            let compartment = self.use_door(&effects, Occupancy::Occupied)?;
            self.send(Input::ConfirmLoaded { session, compartment, inside: true })?;
        }
        if let Some(id) = retrieve {
            self.orders.push((self.steps, order(id), Progress::Leaving));
            let effects = self.send(Input::Retrieve { session, order: order(id) })?;
            self.use_door(&effects, Occupancy::Empty)?;
        }
        self.send(Input::StaffLogout { session })?;
        self.wait(PULSE_WINDOW_MILLIS + 1)
    }

    /// The customer takes the order out.
    pub(crate) fn pick_up(&mut self, id: &str) -> Done<()> {
        self.orders.push((self.steps, order(id), Progress::Leaving));
        let effects = self.enter(&code(id), false)?;
        self.use_door(&effects, Occupancy::Empty)?;
        self.wait(PULSE_WINDOW_MILLIS + 1)
    }

    /// The compartment that the order's code opens now.
    pub(crate) fn opens(&mut self, id: &str) -> Done<Option<Compartment>> {
        Ok(pulses(&self.enter(&code(id), false)?).first().map(|(_, at)| *at))
    }

    /// A remote unlock of an empty compartment: accepted, pulsed, opened and closed.
    pub(crate) fn remote_unlock(&mut self, n: u16) -> Done<()> {
        let before = self.challenge;
        while self.challenge == before {
            self.wait(1_000)?;
            self.down(Ask {})?;
        }
        self.commands += 1;
        let command = Command {
            id: CommandId([self.boot, self.commands].repeat(8).try_into().unwrap()),
            challenge: self.challenge.unwrap(),
            issued: 0,
            action: Unlock { compartment: number(n), expects: Expect::empty() }.into(),
            requester: "operator:acme:eve".into(),
        };
        let effects = self.down(Signed { envelope: signed(&command, KeyPurpose::Unlock, &key(11)) })?;
        self.promises.push((self.steps - 1, Promise::Accepted(command.id)));
        self.use_door(&effects, Occupancy::Empty)?;
        self.wait(PULSE_WINDOW_MILLIS + 1)
    }

    /// Facts on disk.
    pub(crate) fn facts(&self) -> Vec<Fact> {
        let rows = self.store.rows(EVENTS).unwrap();
        rows.iter().map(|(_, record)| cbor::decode::<Event>(record).unwrap().fact).collect()
    }
}

fn pulses(effects: &[Effect]) -> Vec<(u64, Compartment)> {
    let pulse = |effect: &Effect| match effect {
        Effect::Pulse { pulse, compartment, .. } => Some((*pulse, *compartment)),
        _ => None,
    };
    effects.iter().filter_map(pulse).collect()
}
