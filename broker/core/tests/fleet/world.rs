//! A fleet core with a store in memory, a signer that always answers, and cabinets that say what a test tells them.

use std::collections::BTreeMap;

use fleet_core::signing::{
    AnswerKept, Certificate, Envelope, Failed, PhoneOpened, Sealed, SecretMade, Secrets, SignerReply, SignerRequest,
};
use fleet_core::{Config, Effect, FleetCore, INTENTS, Input, MESSAGES, Moment, STREAM, render_row, stream_key};
use schemas::api::{Notification, Reply, Request, Status};
use schemas::cbor::{self, Blob};
use schemas::crypto::codes::{NotASecret, Secret};
use schemas::crypto::seal;
use schemas::ids::{CabinetId, Identity, Name, TenantId};
use schemas::messages::{
    Attributes, Book, BookChange, BootId, Challenge, Command, CommandId, Compartment, CompartmentInfo, ConfigCommand,
    CredentialKind, Down, Epoch, Event, Fact, Hello, Instance, Nonce, OpenOrder, OrderKey, PepperOffer,
    PersonalCommand, Salt, Size, Stamp, Uplink, Verifier, Welcome,
};
use schemas::step::{Row, Step, Store, StoreError, Table, Write};
use schemas::topics::{Stream, Up};
use sha2::{Digest as _, Sha256};

#[derive(Default, Clone, PartialEq)]
pub(crate) struct MemStore {
    tables: BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Store for MemStore {
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        for write in writes {
            let table = self.tables.entry(write.table.0).or_default();
            match &write.value {
                Some(value) => table.insert(write.key.clone(), value.clone()),
                None => table.remove(&write.key),
            };
        }
        Ok(())
    }

    fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let rows = self.tables.get(table.0).into_iter().flat_map(|rows| rows.range(from.to_vec()..));
        Ok(rows.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl MemStore {
    /// Each row, with the name of its table.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &Vec<u8>, &Vec<u8>)> {
        self.tables.iter().flat_map(|(table, rows)| rows.iter().map(|(key, value)| (*table, key, value)))
    }
}

pub(crate) fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

pub(crate) fn shop() -> Name {
    "shop".parse().unwrap()
}

pub(crate) fn c1() -> CabinetId {
    "c1".parse().unwrap()
}

pub(crate) fn order(id: &str) -> OrderKey {
    OrderKey { integration: shop(), order: id.parse().unwrap() }
}

pub(crate) fn door(number: u16) -> Compartment {
    Compartment::new(number).unwrap()
}

pub(crate) fn who(text: &str) -> Identity {
    text.parse().unwrap()
}

/// To which answers are sealed, and peppers would be.
pub(crate) fn pepper_key() -> p256::SecretKey {
    p256::SecretKey::from_slice(&[13; 32]).unwrap()
}

fn kept_prefix(order: &OrderKey) -> Vec<u8> {
    Sha256::digest(order.to_string())[..10].to_vec()
}

/// What the signer of the tests keeps of an answer: no two have the same, and nobody reads it.
pub(crate) fn kept_answer(order: &OrderKey, answer: &str) -> Vec<u8> {
    [kept_prefix(order), Sha256::digest(answer.trim_end()).to_vec()].concat()
}

pub(crate) const START: u64 = 1_795_378_500_000;

/// What a cabinet would have: enough to speak for it.
#[derive(Clone)]
pub(crate) struct FakeCabinet {
    pub(crate) id: CabinetId,
    pub(crate) instance: Instance,
    pub(crate) epoch: Epoch,
    pub(crate) challenge: u64,
    pub(crate) newest: u64,
    pub(crate) oldest: u64,
    /// Everything that it ever told, and the next of it to send.
    pub(crate) history: BTreeMap<u64, (u64, Fact)>,
    pub(crate) next: u64,
    pub(crate) book: u64,
    pub(crate) sizes: Vec<Size>,
    /// Of all its compartments.
    pub(crate) attributes: Attributes,
    pub(crate) pepper: Option<u32>,
    pub(crate) keyset: u64,
    pub(crate) personal: Vec<PersonalCommand>,
    /// Every keyset that came, applied or not.
    pub(crate) keysets: Vec<Vec<u8>>,
    pub(crate) online: bool,
    /// What it would report by itself: books are applied at once.
    pub(crate) applies: bool,
    pub(crate) welcomes: Vec<Welcome>,
    pub(crate) books: Vec<Book>,
    pub(crate) commands: Vec<Command>,
    /// Its screen shows tokens.
    pub(crate) app: bool,
    /// It takes commands about orders.
    pub(crate) errands: bool,
    pub(crate) shares: bool,
    /// Couriers may be in its book.
    pub(crate) couriers: bool,
    pub(crate) opens: Vec<OpenOrder>,
    pub(crate) wipes: Vec<ConfigCommand>,
    pub(crate) asks: usize,
    pub(crate) times: usize,
}

impl FakeCabinet {
    pub(crate) fn new(id: &str, sizes: &[Size]) -> Self {
        Self {
            id: id.parse().unwrap(),
            instance: Instance([7; 16]),
            epoch: Epoch([1; 8]),
            challenge: 1,
            newest: 0,
            oldest: 1,
            history: BTreeMap::new(),
            next: 1,
            book: 0,
            sizes: sizes.to_vec(),
            attributes: Attributes::default(),
            pepper: Some(1),
            keyset: 1,
            personal: Vec::new(),
            keysets: Vec::new(),
            online: false,
            applies: true,
            welcomes: Vec::new(),
            books: Vec::new(),
            commands: Vec::new(),
            app: false,
            errands: true,
            shares: true,
            couriers: true,
            opens: Vec::new(),
            wipes: Vec::new(),
            asks: 0,
            times: 0,
        }
    }

    pub(crate) fn challenge(&self) -> Challenge {
        Challenge { boot: BootId([9; 8]), counter: self.challenge, nonce: Nonce([4; 8]) }
    }

    pub(crate) fn hello(&self) -> Hello {
        let info = |(at, size): (usize, &Size)| CompartmentInfo {
            number: door(u16::try_from(at).unwrap() + 1),
            size: *size,
            attributes: self.attributes,
            in_service: true,
        };
        Hello {
            minor: 0,
            agent: "0.1.0".into(),
            instance: self.instance,
            boot: BootId([9; 8]),
            challenge: self.challenge(),
            epoch: self.epoch,
            newest: self.newest,
            oldest: self.oldest,
            book: self.book,
            keyset: self.keyset,
            compartments: self.sizes.iter().enumerate().map(info).collect(),
            pepper: self.pepper.map(|version| PepperOffer { version, salt: Salt([3; 16]), sealed: Blob(vec![5]) }),
            open_commands: Vec::new(),
            app: self.app.then_some(true),
            errands: self.errands.then_some(true),
            shares: self.shares.then_some(true),
            couriers: self.couriers.then_some(true),
        }
    }

    pub(crate) fn uplink(&self, n: u64, at: Option<u64>, fact: Fact) -> Vec<u8> {
        let stamp =
            Stamp { boot: BootId([9; 8]), boot_millis: 5, fleet_millis: at, uncertainty_millis: at.map(|_| 10) };
        let record = Blob(cbor::encode(&Event { at: stamp, fact }));
        cbor::encode(&Uplink { challenge: self.challenge(), epoch: self.epoch, n, record })
    }
}

pub(crate) struct World {
    pub(crate) core: FleetCore,
    pub(crate) store: MemStore,
    pub(crate) config: Config,
    pub(crate) now: u64,
    entropy: u64,
    pub(crate) signer_works: bool,
    /// It signs, but makes no codes.
    pub(crate) makes_secrets: bool,
    /// It leaves one secret out of its next answer.
    pub(crate) leaves_one_out: bool,
    /// The key of the sealed secrets is another one.
    pub(crate) opens_nothing: bool,
    pub(crate) signer_asked: Vec<SignerRequest>,
    made: u8,
    /// The next secret is the same as the last one, by a bad chance.
    pub(crate) same_again: bool,
    secrets: BTreeMap<Vec<u8>, String>,
    pub(crate) cabinets: BTreeMap<CabinetId, FakeCabinet>,
    /// Replies, closes, alarms, refusals and lives, in order.
    pub(crate) seen: Vec<Effect>,
    pub(crate) ticket: u64,
    /// Stops after a commit, as a crash does: no effect is carried out.
    pub(crate) crash_after: Option<usize>,
    pub(crate) handled: usize,
    /// Commits of the step of this input only the writes before this intent that is taken, and crashes.
    pub(crate) cut_at: Option<(usize, usize)>,
    pub(crate) crashed: bool,
    /// Every intent that was ever written.
    pub(crate) intents: Vec<Write>,
}

impl World {
    pub(crate) fn empty() -> Self {
        // A book for each cabinet that nobody asked for would stand in the way of counting books.
        Self::with(Config { break_glass: false, ..Config::default() })
    }

    pub(crate) fn with(config: Config) -> Self {
        let store = MemStore::default();
        Self {
            core: FleetCore::open(config.clone(), &store).unwrap(),
            store,
            config,
            now: START,
            entropy: 0,
            signer_works: true,
            makes_secrets: true,
            leaves_one_out: false,
            opens_nothing: false,
            signer_asked: Vec::new(),
            made: 0,
            same_again: false,
            secrets: BTreeMap::new(),
            cabinets: BTreeMap::new(),
            seen: Vec::new(),
            ticket: 0,
            crash_after: None,
            handled: 0,
            cut_at: None,
            crashed: false,
            intents: Vec::new(),
        }
    }

    /// A fleet with one connected cabinet `c1`.
    pub(crate) fn new(sizes: &[Size]) -> Self {
        let mut world = Self::empty();
        world.add(FakeCabinet::new("c1", sizes));
        world.connect(&c1());
        world
    }

    pub(crate) fn add(&mut self, cabinet: FakeCabinet) {
        let request = Request::CabinetAdd {
            cabinet: cabinet.id.clone(),
            site: "mall".parse().unwrap(),
            place: "Main Street 1".into(),
            instance: cabinet.instance,
            enrolment: None,
        };
        assert_eq!(self.ask("operator:acme:eve", &request), Some(Reply::Done));
        self.cabinets.insert(cabinet.id.clone(), cabinet);
    }

    pub(crate) fn connect(&mut self, id: &CabinetId) {
        self.handle(Input::CabinetConnected { tenant: tenant(), cabinet: id.clone() });
        self.cabinet(id).online = true;
        let hello = cbor::encode(&self.cabinets[id].hello());
        self.up(id, Up::Hello, hello);
    }

    pub(crate) fn disconnect(&mut self, id: &CabinetId) {
        self.cabinet(id).online = false;
        let reason = "keepalive".to_owned();
        self.handle(Input::CabinetGone { tenant: tenant(), cabinet: id.clone(), reason });
    }

    pub(crate) fn cabinet(&mut self, id: &CabinetId) -> &mut FakeCabinet {
        self.cabinets.get_mut(id).unwrap()
    }

    pub(crate) fn up(&mut self, id: &CabinetId, up: Up, payload: Vec<u8>) -> Vec<Effect> {
        self.handle(Input::CabinetUp { tenant: tenant(), cabinet: id.clone(), up, payload })
    }

    /// A new fact of the cabinet, now. It is sent at once, or after the next hello.
    pub(crate) fn fact(&mut self, id: &CabinetId, fact: impl Into<Fact>) -> Vec<Effect> {
        let now = self.now;
        let cabinet = self.cabinet(id);
        cabinet.newest += 1;
        cabinet.history.insert(cabinet.newest, (now, fact.into()));
        self.send_events(id)
    }

    fn send_events(&mut self, id: &CabinetId) -> Vec<Effect> {
        let mut effects = Vec::new();
        loop {
            let cabinet = self.cabinet(id);
            let n = cabinet.next;
            let Some((at, fact)) = cabinet.history.get(&n).filter(|_| cabinet.online).cloned() else {
                return effects;
            };
            cabinet.next += 1;
            let payload = cabinet.uplink(n, Some(at), fact);
            effects.extend(self.up(id, Up::Event, payload));
        }
    }

    /// Takes one input, then whatever follows from its effects. Returns the effects of the input itself.
    pub(crate) fn handle(&mut self, input: Input) -> Vec<Effect> {
        if self.crashed {
            return Vec::new();
        }
        let step = self.step(input);
        for effect in &step.effects {
            // It is on disk before anybody hears of it.
            if let Effect::Notify(dispatch) = effect {
                let written = |write: &Write| write.table == MESSAGES && write.key.ends_with(dispatch.id.as_bytes());
                assert!(step.writes.iter().any(written), "{dispatch:?} is not written");
            }
        }
        let cut = self.cut_at.filter(|(input, _)| *input == self.handled).and_then(|(_, cut)| {
            let taken = |at: &usize| step.writes[*at].table == INTENTS && step.writes[*at].value.is_none();
            (0..step.writes.len()).filter(taken).nth(cut)
        });
        if let Some(cut) = cut {
            self.store.commit(&step.writes[..cut]).unwrap();
            self.crashed = true;
            return Vec::new();
        }
        self.store.commit(&step.writes).unwrap();
        let written = step.writes.iter().filter(|write| write.table == INTENTS && write.value.is_some());
        self.intents.extend(written.cloned());
        self.handled += 1;
        if self.crash_after.is_some_and(|last| self.handled > last) {
            self.crashed = true;
            return Vec::new();
        }
        self.run(step.effects.clone());
        step.effects
    }

    /// Takes one input without committing or running anything.
    pub(crate) fn step(&mut self, input: Input) -> Step<Effect> {
        self.entropy += 1;
        let mut entropy = [0; 32];
        entropy[..8].copy_from_slice(&self.entropy.to_be_bytes());
        self.core.handle(input, &Moment { now: self.now, entropy })
    }

    pub(crate) fn run(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Signer { ticket, request } => {
                    let reply = self.sign(&request);
                    self.signer_asked.push(request);
                    self.handle(Input::Signer { ticket, reply });
                }
                Effect::Down { cabinet, payload, .. } => self.down(&cabinet, &payload),
                Effect::CloseCabinet { ref cabinet, .. } => {
                    if let Some(cabinet) = self.cabinets.get_mut(cabinet) {
                        cabinet.online = false;
                    }
                    self.seen.push(effect);
                }
                other => self.seen.push(other),
            }
        }
    }

    /// The process dies and starts again from what is on disk.
    pub(crate) fn restart(&mut self) {
        (self.crashed, self.crash_after, self.cut_at) = (false, None, None);
        self.core = FleetCore::open(self.config.clone(), &self.store).unwrap();
        self.cabinets.values_mut().for_each(|cabinet| cabinet.online = false);
        self.settle();
    }

    /// Ticks as long as something is due now.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1_000 {
            match self.core.poll_timeout() {
                Some(at) if at <= self.now => {
                    self.handle(Input::Tick);
                }
                Some(_) | None => return,
            }
        }
        panic!("deadlines at {:?} do not move", self.core.poll_timeout());
    }

    /// Lets time pass, with a tick at each deadline.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = self.now + millis;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.settle();
        }
        self.now = end;
    }

    fn sign(&mut self, request: &SignerRequest) -> SignerReply {
        if !self.signer_works || !self.makes_secrets && matches!(request, SignerRequest::MakeSecrets(_)) {
            return Failed { reason: "the key file is gone".into() }.into();
        }
        match request {
            SignerRequest::SignCommand(_)
            | SignerRequest::SignOpen(_)
            | SignerRequest::SignBook(_)
            | SignerRequest::SignTime(_)
            | SignerRequest::SignConfig(_) => Envelope { envelope: Blob(cbor::encode(request)) }.into(),
            SignerRequest::MakeSecrets(asked) => {
                let opens_nothing = self.opens_nothing;
                let items = asked.items.iter().filter(|item| !opens_nothing || item.sealed.is_none()).map(|item| {
                    let sealed = item.sealed.clone().unwrap_or_else(|| self.make(item.kind));
                    // Different for each secret and each pepper, the same for the same.
                    let mut verifier = [sealed.0[1]; 32];
                    if let Some(order) = &item.answers {
                        assert_eq!(sealed.0[..10], kept_prefix(order), "an answer is for its order only");
                        verifier[1..].copy_from_slice(&sealed.0[1..32]);
                    }
                    verifier[0] = u8::try_from(asked.pepper.version).unwrap();
                    SecretMade { id: item.id, verifier: Verifier(verifier), sealed }
                });
                let mut items: Vec<_> = items.collect();
                if std::mem::take(&mut self.leaves_one_out) {
                    items.pop();
                }
                Secrets { items }.into()
            }
            SignerRequest::MakeSealed(asked) => Sealed { sealed: self.make(asked.kind) }.into(),
            SignerRequest::IssueCertificate(asked) => Certificate { certificate: asked.key.clone() }.into(),
            // What stands for a sealed number is the number.
            SignerRequest::OpenPhone(asked) => {
                let text = String::from_utf8(asked.sealed.0.clone()).ok();
                PhoneOpened { phone: text.filter(|text| text.starts_with('+')) }.into()
            }
            SignerRequest::KeepAnswer(asked) => {
                let aad = seal::answer_aad(&asked.tenant, &asked.order);
                let plain = seal::open(&asked.sealed.0, &pepper_key(), &aad).expect("it is sealed to the pepper's key");
                let hash = kept_answer(&asked.order, std::str::from_utf8(&plain).unwrap());
                AnswerKept { sealed: Blob(hash.clone()), tag: Blob(hash) }.into()
            }
            SignerRequest::Reveal(_) => panic!("the core never reveals"),
        }
    }

    pub(crate) fn signed_certificates(&self) -> usize {
        self.signer_asked.iter().filter(|asked| matches!(asked, SignerRequest::IssueCertificate(_))).count()
    }

    pub(crate) fn row_count(&self, table: Table) -> usize {
        self.store.scan(table, &[], usize::MAX).unwrap().len()
    }

    /// This device connects in the place of whatever was connected as this cabinet.
    pub(crate) fn reconnect(&mut self, device: &FakeCabinet) {
        self.cabinets.insert(device.id.clone(), device.clone());
        self.connect(&device.id);
    }

    fn make(&mut self, kind: CredentialKind) -> Blob {
        if !std::mem::take(&mut self.same_again) {
            self.made += 1;
        }
        let text = match kind {
            CredentialKind::Digits => format!("{:08}", self.made),
            CredentialKind::Letters => {
                Secret::letters_from(&[self.made; 16], 7).map(|code| code.reveal().to_owned()).unwrap()
            }
            CredentialKind::Qr => Secret::token_from(&[self.made; 16]).reveal().to_owned(),
        };
        let sealed = vec![0xee, self.made];
        self.secrets.insert(sealed.clone(), text);
        Blob(sealed)
    }

    fn down(&mut self, id: &CabinetId, payload: &[u8]) {
        let cabinet = self.cabinets.get_mut(id).unwrap();
        if !cabinet.online {
            return;
        }
        match cbor::decode(payload).unwrap() {
            Down::Welcome(welcome) => {
                cabinet.next = welcome.high_water + 1;
                cabinet.welcomes.push(welcome);
                self.send_events(id);
            }
            Down::Ask(_) => cabinet.asks += 1,
            Down::Personal(personal) => cabinet.personal.push(personal),
            Down::Keyset(update) => cabinet.keysets.push(update.envelope.0),
            Down::Command(signed) => {
                let SignerRequest::SignCommand(signed) = cbor::decode(&signed.envelope.0).unwrap() else { panic!() };
                cabinet.commands.push(signed.command);
            }
            Down::Config(signed) => {
                let SignerRequest::SignConfig(signed) = cbor::decode(&signed.envelope.0).unwrap() else { panic!() };
                assert_eq!(signed.instance, cabinet.instance);
                cabinet.wipes.push(signed.command);
            }
            Down::Codes(signed) => match cbor::decode(&signed.envelope.0).unwrap() {
                SignerRequest::SignTime(_) => cabinet.times += 1,
                SignerRequest::SignOpen(signed) => cabinet.opens.push(signed.open),
                SignerRequest::SignBook(signed) => self.book(id, signed.book),
                other => panic!("{other:?} as a message of the codes key"),
            },
        }
    }

    fn book(&mut self, id: &CabinetId, book: Book) {
        let cabinet = self.cabinet(id);
        assert!(book.base == 0 || book.base == cabinet.book, "base {} at version {}", book.base, cabinet.book);
        assert!(book.version > cabinet.book, "version {} at version {}", book.version, cabinet.book);
        assert!(book.changes.len() <= 100 && cbor::encode(&book).len() <= 44 * 1024);
        let of_couriers =
            |change: &BookChange| matches!(change, BookChange::PutCourier(_) | BookChange::DropCourier(_));
        assert!(
            cabinet.couriers || !book.changes.iter().any(of_couriers),
            "an agent that does not know them refuses it"
        );
        let version = book.version;
        cabinet.books.push(book);
        if cabinet.applies {
            self.apply(id, version);
        }
    }

    pub(crate) fn apply(&mut self, id: &CabinetId, version: u64) {
        self.cabinet(id).book = version;
        self.fact(id, schemas::messages::BookApplied { version });
    }

    /// Adds a member of staff.
    pub(crate) fn add_staff(&mut self, name: &str) -> Vec<Effect> {
        self.ticket += 1;
        let payload = format!(r#"{{"op":"staff.add","name":"{name}"}}"#).into_bytes();
        self.handle(Input::Request { ticket: self.ticket, who: who("operator:acme:eve"), payload })
    }

    pub(crate) fn put(&mut self, json: &str) -> Vec<Effect> {
        self.put_as("shop", json)
    }

    pub(crate) fn put_as(&mut self, integration: &str, json: &str) -> Vec<Effect> {
        let integration = integration.parse().unwrap();
        self.handle(Input::OrderPut { tenant: tenant(), integration, payload: json.as_bytes().to_vec() })
    }

    pub(crate) fn cancel(&mut self, json: &str) -> Vec<Effect> {
        self.handle(Input::OrderCancel { tenant: tenant(), integration: shop(), payload: json.as_bytes().to_vec() })
    }

    /// Asks, and returns the answer if it came at once.
    pub(crate) fn ask(&mut self, by: &str, request: &Request) -> Option<Reply> {
        self.ask_raw(by, &serde_json::to_vec(request).unwrap())
    }

    pub(crate) fn ask_raw(&mut self, by: &str, payload: &[u8]) -> Option<Reply> {
        self.ticket += 1;
        let ticket = self.ticket;
        self.handle(Input::Request { ticket, who: who(by), payload: payload.to_vec() });
        self.reply(ticket)
    }

    pub(crate) fn reply(&self, ticket: u64) -> Option<Reply> {
        self.seen.iter().find_map(|effect| match effect {
            Effect::Reply { ticket: of, reply } if *of == ticket => Some(reply.clone()),
            _ => None,
        })
    }

    fn rows<T: serde::de::DeserializeOwned>(&self, integration: &str, stream: Stream) -> Vec<T> {
        let integration: Name = integration.parse().unwrap();
        let first = stream_key(&tenant(), &integration, stream, 1);
        let mut rows = self.store.scan(STREAM, &first, usize::MAX).unwrap();
        rows.retain(|(key, _)| key.starts_with(&first[..first.len() - 8]));
        let reveal = |sealed: &Blob| self.secrets.get(&sealed.0).map_or(Err(NotASecret), |text| Secret::parse(text));
        rows.iter()
            .map(|(_, value)| serde_json::from_slice(&render_row(stream, value, reveal).unwrap()).unwrap())
            .collect()
    }

    pub(crate) fn statuses(&self, integration: &str) -> Vec<Status> {
        self.rows(integration, Stream::Status)
    }

    pub(crate) fn notifications(&self) -> Vec<Notification> {
        self.notifications_of("shop")
    }

    pub(crate) fn notifications_of(&self, integration: &str) -> Vec<Notification> {
        self.rows(integration, Stream::Notifications)
    }

    /// `A17 reserved`, `A17 rejected no_fitting_compartment` …
    pub(crate) fn told(&self, integration: &str) -> Vec<String> {
        let rows = self.statuses(integration);
        assert!(rows.iter().zip(1..).all(|(row, n)| row.n == n), "rows are not numbered from 1");
        rows.iter()
            .map(|row| {
                let reason = row.reason.map_or_else(String::new, |reason| format!(" {reason}"));
                format!("{} {}{reason}", row.order, row.state)
            })
            .collect()
    }

    /// Compartments that hold an order or are kept for one.
    pub(crate) fn reserved(&self) -> Vec<Compartment> {
        let mut last = BTreeMap::new();
        for row in self.statuses("shop") {
            let live = !row.state.is_final() && row.reason.is_none();
            last.insert(row.order, row.compartment.filter(|_| live));
        }
        last.into_values().flatten().collect()
    }

    pub(crate) fn alarms(&self) -> usize {
        self.seen.iter().filter(|effect| matches!(effect, Effect::Alarm { .. })).count()
    }

    pub(crate) fn last_command(&mut self, id: &CabinetId) -> CommandId {
        self.cabinet(id).commands.last().unwrap().id
    }
}

pub(crate) fn closes(effects: &[Effect]) -> bool {
    let refused = effects.iter().any(|effect| matches!(effect, Effect::Refuse { .. }));
    let closed = effects.iter().any(|effect| matches!(effect, Effect::CloseCabinet { .. }));
    assert_eq!(refused, closed, "a connection is cut and its message acknowledged: {effects:?}");
    closed
}

pub(crate) fn refusal(effects: &[Effect]) -> &str {
    let [Effect::Refuse { reason }] = effects else { panic!("{effects:?} is no refusal") };
    reason
}
