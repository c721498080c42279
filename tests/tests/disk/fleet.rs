//! A fleet's core on any store, with a signer that answers at once and one cabinet that says what a history says.

use std::collections::BTreeMap;

use fleet_core::signing::{
    AnswerKept, Certificate, Envelope, PhoneOpened, Sealed, SecretMade, Secrets, SignerReply, SignerRequest,
};
use fleet_core::{Config, Effect, FleetCore, Input, Moment};
use schemas::api::{OrderState, Reply, Request};
use schemas::cbor::{self, Blob};
use schemas::ids::{CabinetId, Name, TenantId};
use schemas::messages::*;
use schemas::step::{Step, Store, StoreError};
use schemas::topics::{Stream, Up};

const INSTANCE: Instance = Instance([7; 16]);

/// What the fleet has told somebody, because its commit returned `Ok`.
#[derive(Debug, Clone)]
pub(crate) enum Promise {
    /// The cabinet is known.
    Known,
    /// A put of this order was acknowledged.
    Order(String),
    /// The cabinet's events up to here were acknowledged.
    Events(u64),
    /// The stream has rows up to here.
    Rows(Stream, u64),
    /// Certificates of this identity are void.
    Revoked(String),
}

/// What the cabinet would know.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeCabinet {
    pub(crate) facts: Vec<Fact>,
    /// The next event to send.
    next: u64,
    book: u64,
    online: bool,
}

pub(crate) struct Fleet<S> {
    core: FleetCore,
    pub(crate) store: S,
    pub(crate) now: u64,
    moments: u64,
    tickets: u64,
    secrets: u8,
    pub(crate) cabinet: FakeCabinet,
    /// The cabinet as it was before each commit.
    pub(crate) cabinets: Vec<FakeCabinet>,
    replies: BTreeMap<u64, Reply>,
    pub(crate) welcomed: Option<u64>,
    /// Steps so far; each is one commit.
    pub(crate) steps: usize,
    pub(crate) promises: Vec<(usize, Promise)>,
}

/// Fails when the store does; the core is then of no use any more.
type Done<T> = Result<T, StoreError>;

fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

pub(crate) fn shop() -> Name {
    "shop".parse().unwrap()
}

fn c1() -> CabinetId {
    "c1".parse().unwrap()
}

fn key(id: &str) -> OrderKey {
    OrderKey { integration: shop(), order: id.parse().unwrap() }
}

fn door(number: u16) -> Compartment {
    Compartment::new(number).unwrap()
}

impl<S: Store> Fleet<S> {
    pub(crate) fn start(store: S, now: u64, cabinet: FakeCabinet) -> Result<Self, String> {
        let core = FleetCore::open(Config { break_glass: false, ..Config::default() }, &store);
        Ok(Self {
            core: core.map_err(|error| format!("the fleet's core does not open: {error}"))?,
            store,
            now,
            moments: now,
            tickets: 0,
            secrets: 0,
            cabinet,
            cabinets: Vec::new(),
            replies: BTreeMap::new(),
            welcomed: None,
            steps: 0,
            promises: Vec::new(),
        })
    }

    /// Takes one input, then whatever follows from its effects. Whether the publisher of the input got a PUBACK.
    fn handle(&mut self, input: Input) -> Done<bool> {
        self.moments += 1;
        let mut entropy = [0; 32];
        entropy[..8].copy_from_slice(&self.moments.to_be_bytes());
        let Step { writes, effects } = self.core.handle(input, &Moment { now: self.now, entropy });
        self.cabinets.push(self.cabinet.clone());
        self.store.commit(&writes)?;
        self.steps += 1;
        let taken = !effects.iter().any(|effect| matches!(effect, Effect::Refuse { .. }));
        for effect in effects {
            self.carry_out(effect)?;
        }
        Ok(taken)
    }

    fn carry_out(&mut self, effect: Effect) -> Done<()> {
        match effect {
            Effect::Signer { ticket, request } => {
                let reply = self.sign(&request);
                self.handle(Input::Signer { ticket, reply })?;
            }
            Effect::Down { payload, .. } if self.cabinet.online => self.down(&payload)?,
            Effect::CloseCabinet { .. } => self.cabinet.online = false,
            Effect::RowsGrew { stream, newest, .. } => self.promise(Promise::Rows(stream, newest)),
            Effect::Reply { ticket, reply } => {
                self.replies.insert(ticket, reply);
            }
            Effect::Revoked { identity, .. } => self.promise(Promise::Revoked(identity.to_string())),
            Effect::Down { .. }
            | Effect::ReplySecret { .. }
            | Effect::ReplyRows { .. }
            | Effect::ReplyUnlocks { .. }
            | Effect::ReplyStatus { .. }
            | Effect::Backup { .. }
            | Effect::Notify(_)
            | Effect::AskReceipt(_)
            | Effect::ReplyTested { .. }
            | Effect::Live { .. }
            | Effect::Refuse { .. }
            | Effect::Registered { .. }
            | Effect::Issued { .. }
            | Effect::NotIssued { .. }
            | Effect::Scoped { .. }
            | Effect::Alarm { .. } => {}
        }
        Ok(())
    }

    /// Told after the newest commit.
    fn promise(&mut self, promise: Promise) {
        self.promises.push((self.steps - 1, promise));
    }

    fn sign(&mut self, request: &SignerRequest) -> SignerReply {
        match request {
            SignerRequest::SignCommand(_)
            | SignerRequest::SignOpen(_)
            | SignerRequest::SignBook(_)
            | SignerRequest::SignTime(_)
            | SignerRequest::SignConfig(_) => Envelope { envelope: Blob(cbor::encode(request)) }.into(),
            SignerRequest::MakeSecrets(asked) => {
                let items = asked.items.iter().map(|item| {
                    let sealed = item.sealed.clone().unwrap_or_else(|| self.seal());
                    SecretMade { id: item.id, verifier: Verifier([sealed.0[1]; 32]), sealed }
                });
                Secrets { items: items.collect() }.into()
            }
            SignerRequest::MakeSealed(_) => Sealed { sealed: self.seal() }.into(),
            SignerRequest::IssueCertificate(asked) => Certificate { certificate: asked.key.clone() }.into(),
            SignerRequest::OpenPhone(_) => PhoneOpened { phone: None }.into(),
            SignerRequest::KeepAnswer(asked) => {
                AnswerKept { sealed: asked.sealed.clone(), tag: asked.sealed.clone() }.into()
            }
            SignerRequest::Reveal(_) => panic!("the core never reveals"),
        }
    }

    fn seal(&mut self) -> Blob {
        self.secrets += 1;
        Blob(vec![0xee, self.secrets])
    }

    /// What the cabinet does with a message: books are applied at once, commands opened at once.
    fn down(&mut self, payload: &[u8]) -> Done<()> {
        match cbor::decode(payload).unwrap() {
            Down::Welcome(welcome) => {
                self.welcomed = Some(welcome.high_water);
                self.cabinet.next = welcome.high_water + 1;
                self.send_events()
            }
            Down::Ask(_) => self.up(Up::Challenge, cbor::encode(&self.challenge())).map(drop),
            Down::Command(signed) => {
                let SignerRequest::SignCommand(signed) = cbor::decode(&signed.envelope.0).unwrap() else { panic!() };
                let outcome = UnlockOutcome::Opened;
                self.fact(UnlockDone { id: signed.command.id, compartment: door(3), outcome })
            }
            Down::Codes(signed) => match cbor::decode(&signed.envelope.0).unwrap() {
                SignerRequest::SignBook(signed) => {
                    self.cabinet.book = signed.book.version;
                    self.fact(BookApplied { version: signed.book.version })
                }
                SignerRequest::SignTime(_) => Ok(()),
                other => panic!("{other:?} as a message of the codes key"),
            },
            Down::Keyset(_) | Down::Personal(_) | Down::Config(_) => {
                panic!("nobody has put a keyset, signed a command or wiped a cabinet")
            }
        }
    }

    fn challenge(&self) -> Challenge {
        Challenge { boot: BootId([9; 8]), counter: self.moments, nonce: Nonce([4; 8]) }
    }

    fn up(&mut self, up: Up, payload: Vec<u8>) -> Done<bool> {
        self.handle(Input::CabinetUp { tenant: tenant(), cabinet: c1(), up, payload })
    }

    /// A new fact of the cabinet, now.
    pub(crate) fn fact(&mut self, fact: impl Into<Fact>) -> Done<()> {
        self.cabinet.facts.push(fact.into());
        self.send_events()
    }

    fn send_events(&mut self) -> Done<()> {
        while self.cabinet.online && self.cabinet.next <= self.cabinet.facts.len() as u64 {
            let n = self.cabinet.next;
            self.cabinet.next += 1;
            let at = Stamp {
                boot: BootId([9; 8]),
                boot_millis: 5,
                fleet_millis: Some(self.now),
                uncertainty_millis: Some(10),
            };
            let fact = self.cabinet.facts[n as usize - 1].clone();
            let record = Blob(cbor::encode(&Event { at, fact }));
            let uplink = Uplink { challenge: self.challenge(), epoch: Epoch([1; 8]), n, record };
            if self.up(Up::Event, cbor::encode(&uplink))? {
                self.promise(Promise::Events(n));
            }
        }
        Ok(())
    }

    pub(crate) fn connect(&mut self) -> Done<()> {
        self.handle(Input::CabinetConnected { tenant: tenant(), cabinet: c1() })?;
        self.cabinet.online = true;
        let compartments = (1..=4).map(|n| CompartmentInfo {
            number: door(n),
            size: Size::M,
            attributes: Attributes::default(),
            in_service: true,
        });
        let hello = Hello {
            minor: 0,
            agent: "0.1.0".into(),
            instance: INSTANCE,
            boot: BootId([9; 8]),
            challenge: self.challenge(),
            epoch: Epoch([1; 8]),
            newest: self.cabinet.facts.len() as u64,
            oldest: 1,
            book: self.cabinet.book,
            keyset: 1,
            compartments: compartments.collect(),
            pepper: Some(PepperOffer { version: 1, salt: Salt([3; 16]), sealed: Blob(vec![5]) }),
            open_commands: Vec::new(),
            app: None,
            errands: None,
            shares: None,
            couriers: None,
        };
        self.up(Up::Hello, cbor::encode(&hello)).map(drop)
    }

    pub(crate) fn disconnect(&mut self) -> Done<()> {
        self.cabinet.online = false;
        self.handle(Input::CabinetGone { tenant: tenant(), cabinet: c1(), reason: "keepalive".into() }).map(drop)
    }

    pub(crate) fn put(&mut self, id: &str) -> Done<()> {
        let payload = format!(r#"{{"order":"{id}","cabinet":"c1","size":"M","category":"retail"}}"#).into_bytes();
        if self.handle(Input::OrderPut { tenant: tenant(), integration: shop(), payload })? {
            self.promise(Promise::Order(id.into()));
        }
        Ok(())
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Done<Option<Reply>> {
        self.tickets += 1;
        let (ticket, payload) = (self.tickets, serde_json::to_vec(request).unwrap());
        self.handle(Input::Request { ticket, who: "operator:acme:eve".parse().unwrap(), payload })?;
        Ok(self.replies.remove(&ticket))
    }

    pub(crate) fn add_cabinet(&mut self) -> Done<()> {
        let request = Request::CabinetAdd {
            cabinet: c1(),
            site: "mall".parse().unwrap(),
            place: "Main Street 1".into(),
            instance: INSTANCE,
            enrolment: None,
        };
        assert_eq!(self.ask(&request)?, Some(Reply::Done));
        self.promise(Promise::Known);
        Ok(())
    }

    /// What somebody is told who asks for this order.
    pub(crate) fn state_of(&mut self, id: &str) -> Done<Option<OrderState>> {
        let reply = self.ask(&Request::OrderShow { order: key(id) })?;
        Ok(match reply {
            Some(Reply::Order(shown)) => Some(shown.summary.state),
            Some(_) | None => None,
        })
    }

    pub(crate) fn knows_cabinet(&mut self) -> Done<bool> {
        Ok(matches!(self.ask(&Request::CabinetShow { cabinet: c1() })?, Some(Reply::Cabinet(_))))
    }

    pub(crate) fn unlock(&mut self, n: u16) -> Done<()> {
        let request = Request::Unlock { cabinet: c1(), compartment: door(n), reason: "stuck".into() };
        let reply = self.ask(&request)?;
        assert!(matches!(reply, Some(Reply::Unlock(_))), "{reply:?}");
        Ok(())
    }

    pub(crate) fn revoke(&mut self, identity: &str) -> Done<()> {
        let request = Request::IdentityRevoke { identity: identity.parse().unwrap(), reason: "stolen".into() };
        let reply = self.ask(&request)?;
        assert!(matches!(reply, Some(Reply::Identity(_))), "{reply:?}");
        Ok(())
    }

    pub(crate) fn has_revoked(&self, identity: &str) -> bool {
        self.core.revocations().any(|(known, _)| known.to_string() == identity)
    }

    pub(crate) fn load(&mut self, id: &str, n: u16) -> Done<()> {
        let staff: Name = "sam".parse().unwrap();
        self.fact(Loading { order: key(id), compartment: door(n), staff: staff.clone() })?;
        self.fact(Stored { order: key(id), compartment: door(n), by: StoredBy::Sensor, staff })
    }

    pub(crate) fn collect(&mut self, id: &str, n: u16) -> Done<()> {
        let credential = CredentialId([1; 8]);
        self.fact(Collected { order: key(id), compartment: door(n), credential, confirmed: true })
    }

    /// The backend acknowledges every row of a stream.
    pub(crate) fn take_rows(&mut self, stream: Stream) -> Done<()> {
        let (_, n) = self.newest(stream);
        self.handle(Input::RowAcked { tenant: tenant(), integration: shop(), stream, n }).map(drop)
    }

    /// Newest acknowledged row and newest row.
    pub(crate) fn newest(&self, stream: Stream) -> (u64, u64) {
        self.core.heads(&tenant(), &shop(), stream)
    }

    /// Lets time pass, with a tick at each deadline.
    pub(crate) fn pass(&mut self, millis: u64) -> Done<()> {
        let end = self.now + millis;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.handle(Input::Tick)?;
        }
        self.now = end;
        Ok(())
    }
}
