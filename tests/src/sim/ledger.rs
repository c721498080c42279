//! What an all-seeing observer has noted. The cores never read it; the invariants judge by it.

use std::collections::{BTreeMap, BTreeSet};

use cabinet_core::EntryResult;
use schemas::api::{OrderState, Status};
use schemas::ids::Name;
use schemas::messages::{
    BootId, Category, Challenge, Command, CommandId, Compartment, Event, Fact, OrderKey, UnlockOutcome,
};
use schemas::topics::Stream;

/// Number of a cabinet in the simulation.
pub(super) type Cab = usize;
/// A door of a cabinet.
pub(super) type At = (Cab, Compartment);

/// By what the core was moved to order a pulse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// The genuine envelope of this command arrived.
    Command(Box<Command>),
    /// A person entered a secret that stands for these orders.
    Entry { entry: u64, orders: Vec<OrderKey> },
    /// Staff with a session pressed "load" or "take back".
    Staff(OrderKey),
    /// Somebody pressed "try again" at this door.
    Again,
    /// The bus said that a pulse was not sent.
    Retry { pulse: u64 },
    /// Nothing that gives a right to open.
    Nobody(&'static str),
}

/// One fact, seen from outside.
#[derive(Debug, Clone)]
pub(super) enum Seen {
    ChallengeMade {
        cab: Cab,
        challenge: Challenge,
        boot_millis: u64,
    },
    /// A pulse was ordered and its step is on disk.
    PulseOrdered {
        cab: Cab,
        boot: BootId,
        boot_millis: u64,
        pulse: u64,
        at: Compartment,
        not_after: u64,
        cause: Cause,
    },
    /// A lock was really pulsed.
    Pulsed {
        cab: Cab,
        boot: BootId,
        boot_millis: u64,
        pulse: u64,
        at: Compartment,
    },
    EventWritten {
        cab: Cab,
        n: u64,
        record: Vec<u8>,
    },
    EventStored {
        cab: Cab,
        n: u64,
        row: Vec<u8>,
    },
    /// The fleet acknowledged event `n`.
    EventAcked {
        cab: Cab,
        n: u64,
        on_disk: bool,
    },
    /// The fleet acknowledged a put of an order.
    PutAcked {
        order: OrderKey,
        on_disk: bool,
    },
    /// A cabinet acknowledged a message of the fleet; `on_disk`: its step was committed before.
    DownAcked {
        on_disk: bool,
    },
    StatusWritten {
        integration: Name,
        status: Status,
    },
    OrderRemoved {
        order: String,
    },
    NotificationWritten {
        order: OrderKey,
        cab: Cab,
        first_book: Option<u64>,
    },
    RowReceived {
        integration: Name,
        stream: Stream,
        n: u64,
        payload: Vec<u8>,
    },
    Ticked {
        who: String,
        now: u64,
        next: Option<u64>,
    },
    /// A customer with the right code of an order got an answer.
    Answered {
        cab: Cab,
        order: OrderKey,
        digits: bool,
        busy: bool,
        result: EntryResult,
    },
    Opened(Result<(), String>),
}

/// A right to open that was taken up.
#[derive(Debug, Clone)]
pub(super) struct Use {
    pub(super) command: Option<(CommandId, Challenge)>,
    pub(super) pulses: u32,
}

#[derive(Debug, Clone)]
pub(super) struct Ordered {
    pub(super) by: usize,
    pub(super) at: Compartment,
    pub(super) not_after: u64,
    pub(super) done: bool,
}

/// What a compartment holds by the events that its cabinet wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Loading(OrderKey),
    Stored(OrderKey),
}

impl Content {
    pub(super) fn order(&self) -> &OrderKey {
        match self {
            Self::Loading(order) | Self::Stored(order) => order,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct OrderTruth {
    pub(super) cab: Cab,
    pub(super) category: Category,
    /// The backend has asked to cancel it.
    pub(super) cancelled: bool,
    /// Its put was acknowledged.
    pub(super) accepted: bool,
    pub(super) state: Option<OrderState>,
    pub(super) compartment: Option<Compartment>,
    pub(super) was_stored: bool,
    pub(super) collected: u32,
    pub(super) told_collected: u32,
    /// Where staff pressed "take back".
    pub(super) retrieved: bool,
    pub(super) notified: u32,
    /// Its code has ordered a pulse.
    pub(super) opened: bool,
    /// Its code has unlocked its door, or perhaps: it may be used up.
    pub(super) released: bool,
    /// Digits and QR code, once its customer was told.
    pub(super) codes: Option<[String; 2]>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) orders: BTreeMap<OrderKey, OrderTruth>,
    pub(super) challenges: BTreeMap<(Cab, Challenge), u64>,
    pub(super) uses: Vec<Use>,
    pub(super) pulses: BTreeMap<(Cab, BootId, u64), Ordered>,
    /// The newest use of a door.
    pub(super) last_use: BTreeMap<At, usize>,
    pub(super) written: BTreeMap<Cab, BTreeMap<u64, Vec<u8>>>,
    pub(super) stored: BTreeMap<Cab, u64>,
    pub(super) contents: BTreeMap<At, Content>,
    pub(super) applied: BTreeMap<Cab, u64>,
    pub(super) accepted: BTreeMap<CommandId, Cab>,
    pub(super) outcomes: BTreeMap<CommandId, UnlockOutcome>,
    pub(super) rows: BTreeMap<(Name, Stream), Vec<Vec<u8>>>,
    pub(super) statuses: BTreeMap<Name, u64>,
    pub(super) audits: BTreeSet<At>,
    /// Doors of which the cabinet has said that a pulse moved another one: staff must help there.
    pub(super) wrong_doors: BTreeSet<At>,
    /// Doors that were pulsed, opened or closed while no agent was running or their contact was worth nothing: what is
    /// behind them nobody can tell.
    pub(super) unnoticed: BTreeSet<At>,
}

impl Ledger {
    /// Takes a fact that broke no invariant.
    pub(super) fn note(&mut self, seen: Seen) {
        match seen {
            Seen::ChallengeMade { cab, challenge, boot_millis } => {
                self.challenges.entry((cab, challenge)).or_insert(boot_millis);
            }
            Seen::PulseOrdered { cab, boot, pulse, at, not_after, cause, .. } => {
                if let Cause::Entry { orders, .. } = &cause {
                    for order in orders {
                        if let Some(order) = self.orders.get_mut(order) {
                            order.opened = true;
                        }
                    }
                }
                if let (Cause::Staff(order), Some(Content::Stored(held))) = (&cause, self.contents.get(&(cab, at)))
                    && order == held
                    && let Some(order) = self.orders.get_mut(order)
                {
                    order.retrieved = true;
                }
                let by = self.take_up((cab, at), cause, cab);
                self.last_use.insert((cab, at), by);
                self.pulses.insert((cab, boot, pulse), Ordered { by, at, not_after, done: false });
            }
            Seen::Pulsed { cab, boot, pulse, .. } => {
                if let Some(ordered) = self.pulses.get_mut(&(cab, boot, pulse)) {
                    ordered.done = true;
                    self.uses[ordered.by].pulses += 1;
                }
            }
            Seen::EventWritten { cab, n, record } => {
                if let Ok(event) = schemas::cbor::decode::<Event>(&record) {
                    self.believe(cab, &event.fact);
                }
                self.written.entry(cab).or_default().insert(n, record);
            }
            Seen::EventStored { cab, n, .. } => {
                self.stored.insert(cab, n);
            }
            Seen::PutAcked { order, .. } => {
                if let Some(order) = self.orders.get_mut(&order) {
                    order.accepted = true;
                }
            }
            Seen::StatusWritten { integration, status } => self.told(integration, &status),
            Seen::NotificationWritten { order, .. } => {
                if let Some(order) = self.orders.get_mut(&order) {
                    order.notified += 1;
                }
            }
            Seen::RowReceived { integration, stream, n, payload } => {
                let rows = self.rows.entry((integration, stream)).or_default();
                if n == rows.len() as u64 + 1 {
                    rows.push(payload);
                }
            }
            Seen::EventAcked { .. }
            | Seen::DownAcked { .. }
            | Seen::OrderRemoved { .. }
            | Seen::Ticked { .. }
            | Seen::Answered { .. }
            | Seen::Opened(_) => {}
        }
    }

    /// The number of the use that a pulse belongs to.
    fn take_up(&mut self, at: At, cause: Cause, cab: Cab) -> usize {
        let command = match cause {
            Cause::Again | Cause::Retry { .. } => return self.last_use.get(&at).copied().unwrap_or(0),
            Cause::Command(command) => {
                self.accepted.insert(command.id, cab);
                Some((command.id, command.challenge))
            }
            Cause::Entry { .. } | Cause::Staff(_) | Cause::Nobody(_) => None,
        };
        self.uses.push(Use { command, pulses: 0 });
        self.uses.len() - 1
    }

    fn believe(&mut self, cab: Cab, fact: &Fact) {
        match fact {
            Fact::Loading(load) => {
                self.contents.insert((cab, load.compartment), Content::Loading(load.order.clone()));
            }
            Fact::Stored(load) => {
                self.contents.insert((cab, load.compartment), Content::Stored(load.order.clone()));
            }
            Fact::LoadAborted(load) => {
                self.contents.remove(&(cab, load.compartment));
            }
            Fact::Retrieved(taken) => {
                self.contents.remove(&(cab, taken.compartment));
            }
            Fact::Collected(taken) => {
                self.contents.remove(&(cab, taken.compartment));
                if let Some(order) = self.orders.get_mut(&taken.order) {
                    order.collected += 1;
                }
            }
            Fact::UnlockDone(done) => {
                self.outcomes.insert(done.id, done.outcome);
            }
            Fact::BookApplied(applied) => {
                self.applied.insert(cab, applied.version);
            }
            Fact::WrongDoor(found) => {
                self.wrong_doors.extend([(cab, found.pulsed), (cab, found.opened)]);
            }
            Fact::AuditRequired(found) => {
                self.audits.insert((cab, found.compartment));
            }
            Fact::Started(_)
            | Fact::DoorOpened(_)
            | Fact::DoorClosed(_)
            | Fact::DoorForced(_)
            | Fact::DoorHeldOpen(_)
            | Fact::DoorFault(_)
            | Fact::CommandRefused(_)
            | Fact::CredentialRefused(_)
            | Fact::TypingLocked(_)
            | Fact::StaffLoggedIn(_)
            | Fact::BookRefused(_)
            | Fact::KeysetApplied(_)
            | Fact::BoardHealth(_) => {}
        }
    }

    fn told(&mut self, integration: Name, status: &Status) {
        self.statuses.insert(integration.clone(), status.n);
        let key = OrderKey { integration, order: status.order.clone() };
        let Some(order) = self.orders.get_mut(&key).filter(|_| moves(status)) else { return };
        order.state = Some(status.state);
        order.compartment = status.compartment;
        order.was_stored |= status.state == OrderState::Stored;
        let collected = matches!(status.state, OrderState::Collected | OrderState::CollectedUnconfirmed);
        order.told_collected += u32::from(collected);
    }
}

/// Whether a row tells a state of the order, and not only that a wish was not done.
pub(super) fn moves(status: &Status) -> bool {
    status.cabinet.is_some() && status.reason != Some(schemas::api::RejectReason::TooLate)
}
