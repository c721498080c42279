//! A fleet of very many orders, filled by its own core, input by input, as cabinets and backends would.
//!
//! Every order is put, stored and has its code. Only the signer is left out; its answers are as long as real ones.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use fleet_core::signing::{Envelope, MakeSecrets, SecretMade, Secrets, SignerReply, SignerRequest};
use fleet_core::{Config, Effect, FleetCore, Input, Moment};
use fleet_store::RedbStore;
use schemas::api::QuotaLimits;
use schemas::cbor::{self, Blob};
use schemas::ids::{CabinetId, Name, TenantId};
use schemas::messages::{
    Attributes, BookApplied, BootId, Challenge, Compartment, CompartmentInfo, Epoch, Event, Fact, Hello, Instance,
    Nonce, OrderKey, PepperOffer, Salt, Size, Stamp, Stored, StoredBy, Uplink, Verifier,
};
use schemas::step::{Store as _, Write};
use schemas::topics::{Stream, Up};

/// Compartments of each cabinet that hold an order, and those that are free for more.
pub(super) const LOADED: u32 = 100;
const FREE: u32 = 10;
/// Integrations that share the orders.
const SHOPS: u32 = 20;
/// Inputs of one commit while the store is filled.
const AT_ONCE: usize = 5_000;
/// Bytes of a sealed secret.
const SEALED: usize = 120;
const BOOT: BootId = BootId([1; 8]);

pub(super) struct Filled {
    core: FleetCore,
    store: RedbStore,
    tenant: TenantId,
    pub(super) now: u64,
    inputs: u64,
    writes: Vec<Write>,
    /// Newest rows that no shop has acknowledged.
    grown: BTreeMap<(Name, Stream), u64>,
    /// Notifications so far.
    pub(super) messages: u64,
    /// Newest book that was signed for the cabinet that is being filled.
    book: u64,
}

impl Filled {
    pub(super) fn open(path: &Path, now: u64) -> anyhow::Result<Self> {
        let store = RedbStore::open(path)?;
        let most = u32::MAX;
        let quota =
            QuotaLimits { orders_per_minute: most, orders_per_day: most, open_orders: most, requests_per_minute: most };
        let core = FleetCore::open(Config { quota, acked_rows_kept: 0, ..Config::default() }, &store)?;
        Ok(Self {
            core,
            store,
            tenant: "acme".parse()?,
            now,
            inputs: 0,
            writes: Vec::new(),
            grown: BTreeMap::new(),
            messages: 0,
            book: 0,
        })
    }

    /// Takes an input and what follows from it at once. Nothing is on disk before a commit.
    pub(super) fn take(&mut self, input: Input) -> anyhow::Result<()> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.inputs += 1;
            let mut entropy = [0; 32];
            entropy[..8].copy_from_slice(&(self.now + self.inputs).to_be_bytes());
            entropy[8..16].copy_from_slice(&self.inputs.to_be_bytes());
            let step = self.core.handle(input, &Moment { now: self.now, entropy });
            self.writes.extend(step.writes);
            for effect in step.effects {
                inputs.extend(self.act(effect)?);
            }
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "nobody is connected who would hear of the rest")]
    fn act(&mut self, effect: Effect) -> anyhow::Result<Option<Input>> {
        match effect {
            Effect::Signer { ticket, request } => Ok(Some(Input::Signer { ticket, reply: self.sign(request)? })),
            Effect::RowsGrew { integration, stream, newest, .. } => {
                let before = self.grown.insert((integration, stream), newest);
                if stream == Stream::Notifications {
                    self.messages += newest - before.unwrap_or(newest - 1);
                }
                Ok(None)
            }
            Effect::Refuse { reason } | Effect::CloseCabinet { reason, .. } => bail!("the fleet refused: {reason}"),
            _ => Ok(None),
        }
    }

    fn sign(&mut self, request: SignerRequest) -> anyhow::Result<SignerReply> {
        let envelope = |bytes| Envelope { envelope: Blob(vec![0; bytes]) }.into();
        match request {
            SignerRequest::SignBook(asked) => {
                self.book = asked.book.version;
                Ok(envelope(1))
            }
            SignerRequest::SignTime(_) => Ok(envelope(1)),
            SignerRequest::MakeSecrets(MakeSecrets { items, .. }) => {
                let made = items.iter().map(|item| {
                    // Different for each secret, as real ones are.
                    let bytes: Vec<u8> = item.id.0.iter().copied().cycle().take(SEALED).collect();
                    let verifier = std::array::from_fn(|at| bytes[at]);
                    let sealed = item.sealed.clone().unwrap_or(Blob(bytes));
                    SecretMade { id: item.id, verifier: Verifier(verifier), sealed }
                });
                Ok(Secrets { items: made.collect() }.into())
            }
            SignerRequest::SignCommand(_)
            | SignerRequest::SignOpen(_)
            | SignerRequest::MakeSealed(_)
            | SignerRequest::Reveal(_)
            | SignerRequest::IssueCertificate(_)
            | SignerRequest::OpenPhone(_)
            | SignerRequest::KeepAnswer(_)
            | SignerRequest::SignConfig(_) => bail!("nobody asked for this of the signer"),
        }
    }

    pub(super) fn commit(&mut self) -> anyhow::Result<()> {
        Ok(self.store.commit(&std::mem::take(&mut self.writes))?)
    }

    pub(super) fn uncommitted(&self) -> usize {
        self.writes.len()
    }

    pub(super) fn is_due(&self) -> bool {
        self.core.poll_timeout().is_some_and(|at| at <= self.now)
    }

    /// That the store holds this many orders.
    pub(super) fn check_open(&self, orders: u32) -> anyhow::Result<()> {
        let held = self.store.rows(fleet_core::ORDERS)?.len();
        ensure!(held == usize::try_from(orders)?, "{held} orders are in the store instead of {orders}");
        Ok(())
    }

    /// Makes a cabinet, loads its orders, and lets it go.
    pub(super) fn add_cabinet(&mut self, n: u32) -> anyhow::Result<()> {
        let (tenant, cabinet, hello) = (self.tenant.clone(), cabinet(n)?, hello(n)?);
        let payload = format!(
            r#"{{"op":"cabinet.add","cabinet":"{cabinet}","site":"s","place":"Main Street {n}","instance":"{}"}}"#,
            hello.instance
        );
        let who = "operator:acme:admin".parse().context("an identity")?;
        self.take(Input::Request { ticket: n.into(), who, payload: payload.into_bytes() })?;
        self.take(Input::CabinetConnected { tenant: tenant.clone(), cabinet: cabinet.clone() })?;
        self.book = 0;
        self.up(&cabinet, Up::Hello, cbor::encode(&hello))?;
        let mut events = Events { cabinet: cabinet.clone(), hello, newest: 0, book: 0 };
        for k in 0..LOADED {
            self.put(&cabinet, n, k)?;
        }
        events.apply_books(self)?;
        for k in 0..LOADED {
            let (order, compartment) = (order_key(n, k)?, compartment(k)?);
            let staff = "sam".parse()?;
            events.tell(self, Stored { order, compartment, by: StoredBy::Sensor, staff })?;
        }
        events.apply_books(self)?;
        let reason = "filled".to_owned();
        self.take(Input::CabinetGone { tenant: tenant.clone(), cabinet, reason })?;
        for ((integration, stream), n) in std::mem::take(&mut self.grown) {
            self.take(Input::RowAcked { tenant: tenant.clone(), integration, stream, n })?;
        }
        if self.writes.len() > AT_ONCE { self.commit() } else { Ok(()) }
    }

    /// The `n`th order more, each at another cabinet than the one before.
    pub(super) fn put_another(&mut self, n: u32, cabinets: u32) -> anyhow::Result<()> {
        let to = n.wrapping_mul(7_919) % cabinets;
        self.put(&cabinet(to)?, to, LOADED + n)
    }

    fn put(&mut self, cabinet: &CabinetId, n: u32, k: u32) -> anyhow::Result<()> {
        let OrderKey { integration, order } = order_key(n, k)?;
        let payload = format!(
            r#"{{"order":"{order}","cabinet":"{cabinet}","size":"M","category":"retail","recipient":{{"phone":"+49 170 1234567"}}}}"#
        );
        let (tenant, payload) = (self.tenant.clone(), payload.into_bytes());
        self.take(Input::OrderPut { tenant, integration, payload })
    }

    fn up(&mut self, cabinet: &CabinetId, up: Up, payload: Vec<u8>) -> anyhow::Result<()> {
        self.take(Input::CabinetUp { tenant: self.tenant.clone(), cabinet: cabinet.clone(), up, payload })
    }
}

/// What the cabinet tells that is being filled.
struct Events {
    cabinet: CabinetId,
    hello: Hello,
    newest: u64,
    book: u64,
}

impl Events {
    fn tell(&mut self, fleet: &mut Filled, fact: impl Into<Fact>) -> anyhow::Result<()> {
        self.newest += 1;
        let at =
            Stamp { boot: BOOT, boot_millis: self.newest, fleet_millis: Some(fleet.now), uncertainty_millis: Some(20) };
        let record = Blob(cbor::encode(&Event { at, fact: fact.into() }));
        let uplink = Uplink { challenge: self.hello.challenge, epoch: self.hello.epoch, n: self.newest, record };
        fleet.up(&self.cabinet, Up::Event, cbor::encode(&uplink))
    }

    fn apply_books(&mut self, fleet: &mut Filled) -> anyhow::Result<()> {
        while self.book < fleet.book {
            self.book = fleet.book;
            self.tell(fleet, BookApplied { version: self.book })?;
        }
        Ok(())
    }
}

fn cabinet(n: u32) -> anyhow::Result<CabinetId> {
    Ok(format!("c{n}").parse()?)
}

fn order_key(n: u32, k: u32) -> anyhow::Result<OrderKey> {
    Ok(OrderKey { integration: format!("shop-{}", n % SHOPS).parse()?, order: format!("2026-11-{n}-{k}").parse()? })
}

fn compartment(k: u32) -> anyhow::Result<Compartment> {
    Compartment::new(u16::try_from(k + 1)?).context("a compartment number")
}

fn hello(n: u32) -> anyhow::Result<Hello> {
    let mut instance = [0; 16];
    instance[..4].copy_from_slice(&n.to_be_bytes());
    let info = |k| {
        let attributes = Attributes::default();
        anyhow::Ok(CompartmentInfo { number: compartment(k)?, size: Size::M, attributes, in_service: true })
    };
    Ok(Hello {
        minor: 0,
        agent: "0.1.0".into(),
        instance: Instance(instance),
        boot: BOOT,
        challenge: Challenge { boot: BOOT, counter: 1, nonce: Nonce([2; 8]) },
        epoch: Epoch(u64::from(n).to_be_bytes()),
        newest: 0,
        oldest: 1,
        book: 0,
        keyset: 1,
        compartments: (0..LOADED + FREE).map(info).collect::<anyhow::Result<_>>()?,
        pepper: Some(PepperOffer { version: 1, salt: Salt(instance), sealed: Blob(vec![3; SEALED]) }),
        open_commands: Vec::new(),
        app: None,
        errands: None,
        shares: None,
        couriers: None,
    })
}
