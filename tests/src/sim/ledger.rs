//! What an all-seeing observer has noted. The cores never read it; the invariants judge by it.

use std::collections::{BTreeMap, BTreeSet};

use cabinet_core::EntryResult;
use schemas::api::{OrderState, Policies, RejectReason, Status};
use schemas::ids::Name;
use schemas::messages::{
    BootId, Category, Challenge, Collected, Command, CommandId, Compartment, CredentialId, Epoch, Errand, Event, Fact,
    Finding, Found, Loading, LoadingBeside, OpenOrder, OrderKey, Stored, UnlockOutcome, Verifier,
};
use schemas::topics::Stream;

use super::apps::Tokens;
use super::changes::{self, Contents, Layout, Said, Wanted};
use super::clocks::Site;
use super::couriers::{CourierBook, Keypad, KnownCouriers};
use super::factors::{FactorBook, Factors, WrongAnswers};
use super::glass::Broken;
use super::messages::Messages;
use super::times::{Put, Term, Times};
use super::walk_ins::key_of_status;
use super::wholes::Whole;

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
    /// Staff with a session begin an order; which one its step says.
    Begins,
    /// Staff with a session let the holder of this order's code in.
    Release(OrderKey),
    /// A deposit code of this order was entered, or whoever has entered it pressed something.
    Deposit(OrderKey),
    /// A person answered what is asked for behind the code of this order.
    Answer { order: OrderKey, verifier: Option<Verifier> },
    /// The genuine envelope of an opening by an app arrived.
    App(Box<OpenOrder>),
    /// A courier with a session brings something; who and where the step says.
    Brings,
    /// A courier with a session, for what they have on its way in.
    Courier(Name),
    /// Staff with a session want to look inside, or have all doors open.
    Look,
    /// Staff with a session exchange these two.
    Swap(Vec<OrderKey>),
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
        /// Orders behind the door that must not be handed out, by the cabinet's book.
        held_back: Vec<OrderKey>,
    },
    /// These orders were collected in one step, in one compartment.
    TakenTogether {
        at: At,
        orders: Vec<OrderKey>,
        credentials: usize,
    },
    /// A lock was really pulsed.
    Pulsed {
        cab: Cab,
        boot: BootId,
        boot_millis: u64,
        pulse: u64,
        at: Compartment,
    },
    /// A message with the deposit code of an order: the first book that has it.
    DepositCodeWritten {
        order: OrderKey,
        cab: Cab,
        first_book: Option<u64>,
    },
    EventWritten {
        cab: Cab,
        n: u64,
        record: Vec<u8>,
    },
    EventStored {
        cab: Cab,
        epoch: String,
        n: u64,
        row: Vec<u8>,
    },
    /// The fleet takes it that these events exist nowhere any more.
    GapAccepted {
        cab: Cab,
        epoch: String,
        from: u64,
        to: u64,
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
    /// A cabinet acknowledged a message of the fleet; `on_disk`: its store held each row of the step just then.
    DownAcked {
        on_disk: bool,
    },
    /// The screen offers to try again at a door.
    Offered {
        at: At,
        boot_millis: u64,
    },
    /// The step of a typed entry that was looked at is on disk. `now`: simulated time.
    TypedLookedAt {
        cab: Cab,
        now: u64,
        wrong: bool,
    },
    /// Whoever typed is told that typing is locked, or no longer enough.
    TypingRefused {
        cab: Cab,
        now: u64,
        locked: bool,
    },
    /// A tick came before its time.
    TickedEarly {
        who: String,
        writes: usize,
        effects: usize,
    },
    StatusWritten {
        integration: Name,
        status: Status,
        /// Where it says that the order is.
        cab: Option<Cab>,
    },
    /// The fleet has written how far one compartment of an order in several is.
    PartWritten {
        order: OrderKey,
        state: OrderState,
        cab: Option<Cab>,
        compartment: Option<Compartment>,
    },
    OrderRemoved {
        order: OrderKey,
    },
    NotificationWritten {
        order: OrderKey,
        cab: Cab,
        first_book: Option<u64>,
    },
    ReminderWritten {
        order: OrderKey,
    },
    /// A message with the code of an order in several compartments: each door, and the first book that has the code for what is
    /// behind it.
    WholeAnnounced {
        order: OrderKey,
        cab: Cab,
        doors: BTreeMap<Compartment, Option<u64>>,
    },
    /// A message says that the credential of a bundle opens the door of this order.
    BundleWritten {
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
        typed: bool,
        busy: bool,
        /// The book in force at the cabinet holds the code, as far as anybody can know.
        held: bool,
        result: EntryResult,
    },
    /// A cabinet has taken a book that says this of couriers.
    CouriersTaken {
        cab: Cab,
        couriers: CourierBook,
    },
    /// The same of staff.
    StaffAnswered {
        cab: Cab,
        typed: bool,
        verifier: Verifier,
        result: EntryResult,
    },
    /// A cabinet has taken a book that says this of second factors.
    FactorsTaken {
        cab: Cab,
        book: FactorBook,
    },
    /// An answer was compared with the book.
    AnswerLookedAt {
        cab: Cab,
        wrong: bool,
    },
    /// Whoever has shown a PIN or a badge of a courier got an answer.
    CourierAnswered {
        cab: Cab,
        keypad: Keypad,
        typed: bool,
        verifier: Verifier,
        result: EntryResult,
    },
    /// A message is handed to a gateway, with the id of its notification.
    MessageSent {
        id: String,
        integration: Name,
        notification: String,
        code: String,
    },
    /// That a gateway has it is on the fleet's disk.
    MessageAccepted {
        id: String,
    },
    /// In one step of the fleet.
    NotificationsWritten {
        notifications: u32,
        messages: u32,
    },
    /// Whoever has entered a break-glass code of a cabinet got an answer.
    GlassAnswered {
        cab: Cab,
        of: Cab,
        result: EntryResult,
    },
    /// Whoever came in by one has left.
    GlassOver {
        cab: Cab,
    },
    /// The same, as far as its backend has said what it is.
    ContentWritten {
        order: OrderKey,
        content: Box<changes::Content>,
    },
    /// An order has become another in this step, and perhaps its backend hears of it.
    ChangeTold {
        order: OrderKey,
        before: String,
        now: String,
        told: bool,
    },
    /// A message with the code of an order that lies alone goes to somebody.
    CodeTold {
        order: OrderKey,
        code: String,
        phone: Option<String>,
    },
    /// The row of an order is written. `now`: of the fleet, when it decided.
    TermWritten {
        order: OrderKey,
        category: Category,
        state: OrderState,
        term: Option<Term>,
        now: u64,
    },
    PoliciesWritten {
        version: u64,
        live: bool,
        policies: Box<Policies>,
    },
    SiteWritten(Box<Site>),
    /// A backend was told when an order has to be taken.
    EndTold {
        order: OrderKey,
        until: u64,
    },
    /// A message says when that is, and what the clock at the site shows then, with the name of its zone.
    LocalTold {
        order: OrderKey,
        until: u64,
        text: Option<(String, String)>,
    },
    /// Policies that somebody had looked at were put for stored orders.
    PoliciesPut(Put),
    Opened(Result<(), String>),
}

impl Seen {
    /// Others may have to react to it.
    fn is_progress(&self) -> bool {
        match self {
            Self::PulseOrdered { .. }
            | Self::Pulsed { .. }
            | Self::EventWritten { .. }
            | Self::EventStored { .. }
            | Self::GapAccepted { .. }
            | Self::EventAcked { .. }
            | Self::PutAcked { .. }
            | Self::DownAcked { .. }
            | Self::StatusWritten { .. }
            | Self::OrderRemoved { .. }
            | Self::PartWritten { .. }
            | Self::WholeAnnounced { .. }
            | Self::NotificationWritten { .. }
            | Self::ReminderWritten { .. }
            | Self::BundleWritten { .. }
            | Self::DepositCodeWritten { .. }
            | Self::RowReceived { .. }
            | Self::Answered { .. }
            | Self::CouriersTaken { .. }
            | Self::FactorsTaken { .. }
            | Self::TermWritten { .. }
            | Self::ContentWritten { .. }
            | Self::PoliciesWritten { .. }
            | Self::SiteWritten(_)
            | Self::Opened(_) => true,
            Self::ChallengeMade { .. }
            | Self::MessageSent { .. }
            | Self::MessageAccepted { .. }
            | Self::NotificationsWritten { .. }
            | Self::GlassAnswered { .. }
            | Self::GlassOver { .. }
            | Self::EndTold { .. }
            | Self::ChangeTold { .. }
            | Self::CodeTold { .. }
            | Self::LocalTold { .. }
            | Self::PoliciesPut(_)
            | Self::TakenTogether { .. }
            | Self::Offered { .. }
            | Self::TypedLookedAt { .. }
            | Self::TypingRefused { .. }
            | Self::CourierAnswered { .. }
            | Self::StaffAnswered { .. }
            | Self::AnswerLookedAt { .. }
            | Self::TickedEarly { .. }
            | Self::Ticked { .. } => false,
        }
    }
}

/// A right to open that was taken up.
#[derive(Debug, Clone)]
pub(super) struct Use {
    pub(super) command: Option<(CommandId, Challenge)>,
    /// For which orders somebody may open.
    pub(super) orders: Vec<OrderKey>,
    /// Of staff who look inside, whatever is there.
    pub(super) looks: bool,
    /// Of a customer.
    pub(super) collects: bool,
    /// The run that took it up: nothing is tried again in another.
    pub(super) boot: BootId,
    pub(super) pulses: u32,
    /// Boot clock at which the screen last offered to try again; taken away by the press.
    pub(super) offered: Option<u64>,
    /// Its door was seen to open by it.
    pub(super) over: bool,
}

/// Wrong codes typed at a cabinet, as its store must have counted them.
#[derive(Debug, Clone, Default)]
pub(super) struct Guesses {
    wrong: u32,
    /// No simulation is as long as a day.
    today: usize,
    /// Simulated time until which typing is locked.
    locked_until: Option<u64>,
}

impl Guesses {
    pub(super) fn are_locked(&self, now: u64) -> bool {
        self.locked_until.is_some_and(|until| now < until)
    }

    pub(super) fn are_spent(&self) -> bool {
        self.today >= cabinet_core::WRONG_A_DAY_MAX
    }

    fn count(&mut self, now: u64) {
        self.today += 1;
        self.wrong += 1;
        if self.wrong == cabinet_core::WRONG_MAX {
            self.wrong = 0;
            self.locked_until = Some(now + cabinet_core::LOCK_MILLIS);
        }
    }
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
    /// For which cabinet its backend has put it.
    pub(super) cab: Cab,
    pub(super) category: Category,
    /// The backend has asked to cancel it.
    pub(super) cancelled: bool,
    /// Staff have looked, and it was not there.
    pub(super) missing: bool,
    /// Somebody has said that it is not there.
    pub(super) missed: bool,
    /// An operator wanted to end it, wherever it is.
    pub(super) ended: bool,
    /// Somebody has it, or had it: it does not come again.
    pub(super) gone: bool,
    /// Where staff pressed "take back".
    pub(super) retrieved: bool,
    /// Its code has ordered a pulse.
    pub(super) opened: bool,
    /// Its code has unlocked its door, or perhaps: it may be used up.
    pub(super) released: bool,
    /// A cabinet has lost what it knew of it, and nobody else may have known it.
    pub(super) astray: bool,
    /// Its cabinet was put back and counted a fact of it with a number that the fleet had heard before.
    pub(super) unheard: bool,
    /// It may have got another code by itself: one was asked for, it was in quarantine, or staff have undone its loading.
    pub(super) renewed: bool,
    /// It was to go to another cabinet: for a while two of them may have it in their books.
    pub(super) moved: bool,
    /// With which others its backend has ever asked for one credential.
    pub(super) bundle: Option<Vec<OrderKey>>,
    /// By which word its backend lets it lie with others.
    pub(super) shares: Option<&'static str>,
    /// How its backend wants it now.
    pub(super) wanted: Wanted,
    /// Its code may end by itself, or may not work while its cabinet does not know the time.
    pub(super) ends: bool,
    /// All parts of the order in several compartments that it is one of, the first one first.
    pub(super) whole: Option<Vec<OrderKey>>,
    /// How often it was put in by a deposit code.
    pub(super) deposited: u32,
    /// Digits and QR code, each time that whoever brings it was told.
    pub(super) deposit_codes: Vec<[String; 2]>,
    /// Digits and QR code, each time that its customer was told.
    pub(super) codes: Vec<[String; 2]>,
    /// By the fleet's word.
    pub(super) told: Told,
}

impl OrderTruth {
    /// That it is put for this cabinet.
    pub(super) fn new(cab: Cab, category: Category) -> Self {
        Self {
            cab,
            category,
            cancelled: false,
            ended: false,
            missing: false,
            missed: false,
            gone: false,
            retrieved: false,
            opened: false,
            released: false,
            renewed: false,
            moved: false,
            wanted: Wanted::default(),
            ends: matches!(category, Category::Food | Category::Pharmacy),
            astray: false,
            unheard: false,
            deposited: 0,
            codes: Vec::new(),
            bundle: None,
            shares: None,
            whole: None,
            deposit_codes: Vec::new(),
            told: Told::default(),
        }
    }

    /// At which cabinet it is, or is to be.
    pub(super) fn at(&self) -> Cab {
        self.told.cab.unwrap_or(self.cab)
    }
}

/// What the fleet has said of an order. A restored fleet may say it again.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// Its put was acknowledged.
    pub(super) accepted: bool,
    pub(super) state: Option<OrderState>,
    /// Where it is, or is to go.
    pub(super) cab: Option<Cab>,
    pub(super) compartment: Option<Compartment>,
    pub(super) was_stored: bool,
    pub(super) collected: u32,
    pub(super) notified: u32,
    /// Its code may have been replaced since the backup: with the next reminder comes another one.
    pub(super) outdated: bool,
}

/// What the fleet's store stands for.
#[derive(Debug, Clone, Default)]
pub(super) struct FleetPart {
    told: BTreeMap<OrderKey, Told>,
    wholes: BTreeMap<OrderKey, Whole>,
    times: Times,
    contents_told: Contents,
    stored: BTreeMap<(Cab, String), u64>,
    statuses: BTreeMap<Name, (u64, bool)>,
    streams: BTreeMap<(Name, Stream), StreamPart>,
    restores: u64,
    /// The PIN of the staff that was told last.
    pub(super) pin: Option<String>,
}

/// Rows of a stream in the life of the fleet's store that is going on.
#[derive(Debug, Clone, Default)]
pub(super) struct StreamPart {
    /// The number before its first row.
    base: u64,
    /// Newest row that was written.
    pub(super) newest: u64,
    /// Numbers that a restore left out: the row before them, and the last of them.
    leaps: Vec<(u64, u64)>,
    /// The store was put back, and no row was written since.
    leaping: bool,
}

impl StreamPart {
    /// The number of the row behind `n`.
    pub(super) fn next(&self, n: u64) -> u64 {
        let mut last = n.max(self.base);
        while let Some((_, to)) = self.leaps.iter().find(|(from, _)| *from == last) {
            last = *to;
        }
        last + 1
    }
}

/// What a cabinet's store stands for.
#[derive(Debug, Clone, Default)]
pub(super) struct CabinetPart {
    pub(super) epoch: Option<Epoch>,
    written: BTreeMap<u64, Vec<u8>>,
    newest: u64,
    contents: BTreeMap<Compartment, Content>,
    beside: BTreeMap<Compartment, BTreeSet<OrderKey>>,
    applied: u64,
    accepted: BTreeSet<CommandId>,
    outcomes: BTreeMap<CommandId, UnlockOutcome>,
    collected: BTreeMap<OrderKey, u32>,
    left: BTreeMap<Compartment, OrderKey>,
    guesses: Guesses,
    couriers: KnownCouriers,
    wrong_answers: WrongAnswers,
    glass: Broken,
}

impl CabinetPart {
    /// What its compartments held.
    fn all_held(&self) -> Vec<(Compartment, Content)> {
        let beside = self.beside.iter().flat_map(|(at, orders)| orders.iter().map(|order| (*at, order.clone())));
        let main = self.contents.iter().map(|(at, held)| (*at, held.clone()));
        main.chain(beside.map(|(at, order)| (at, Content::Stored(order)))).collect()
    }
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) orders: BTreeMap<OrderKey, OrderTruth>,
    /// What backends were told of orders in several compartments, by their first part.
    pub(super) wholes: BTreeMap<OrderKey, Whole>,
    pub(super) times: Times,
    pub(super) messages: Messages,
    /// By which break-glass codes somebody came in.
    pub(super) glass: Broken,
    /// By which one last.
    pub(super) entered: BTreeMap<Cab, CredentialId>,
    /// What orders are by the fleet's word.
    pub(super) contents_told: Contents,
    /// What backends have ever said of them.
    pub(super) said: BTreeMap<OrderKey, Said>,
    /// To whom the code of an order went.
    pub(super) codes_to: BTreeMap<(OrderKey, String), Option<String>>,
    /// The compartments of every cabinet.
    pub(super) layout: Layout,
    /// Ends of windows that somebody has asked for.
    pub(super) asked_ends: BTreeSet<u64>,
    pub(super) challenges: BTreeMap<(Cab, Challenge), u64>,
    pub(super) uses: Vec<Use>,
    pub(super) pulses: BTreeMap<(Cab, BootId, u64), Ordered>,
    /// In which run of a cabinet, and when by its boot clock, the right code of an order was entered there last.
    pub(super) shown: BTreeMap<(Cab, OrderKey), (BootId, u64)>,
    /// The newest use of a door.
    pub(super) last_use: BTreeMap<At, usize>,
    /// What somebody has closed a door on, when, and in which run.
    left_inside: BTreeMap<At, (OrderKey, BootId, u64)>,
    /// Events of the store that a cabinet has now, and of former epochs.
    pub(super) written: BTreeMap<(Cab, String), BTreeMap<u64, Vec<u8>>>,
    /// The newest event that the store of a cabinet has counted, under whichever epoch.
    newest: BTreeMap<Cab, u64>,
    /// Up to which number of its epoch the fleet had heard a cabinet that was put back.
    heard_before: BTreeMap<Cab, u64>,
    /// Up to which number of its epoch a cabinet tells what it had counted under a former one.
    told_again: BTreeMap<Cab, u64>,
    /// Under which epoch a cabinet counts.
    pub(super) epochs: BTreeMap<Cab, Epoch>,
    pub(super) stored: BTreeMap<(Cab, String), u64>,
    /// Cabinets that may have lost codes which the fleet has lost, too: their book was put back, or their salt and pepper are
    /// not those of the first one.
    pub(super) unsure: BTreeSet<Cab>,
    /// Orders whose code a cabinet holds by a book of a life of the fleet's store that is lost.
    pub(super) held_before: BTreeSet<(Cab, OrderKey)>,
    pub(super) guesses: BTreeMap<Cab, Guesses>,
    pub(super) couriers: KnownCouriers,
    pub(super) factors: Factors,
    pub(super) tokens: Tokens,
    /// Orders that were collected there last.
    pub(super) left: BTreeMap<At, OrderKey>,
    /// Collections that cabinets have on record.
    pub(super) collected: BTreeMap<OrderKey, u32>,
    /// What compartments hold; of several orders one of them.
    pub(super) contents: BTreeMap<At, Content>,
    /// Orders that are stored besides that one.
    pub(super) beside: BTreeMap<At, BTreeSet<OrderKey>>,
    pub(super) applied: BTreeMap<Cab, u64>,
    /// Versions of books that the signer signed for a cabinet.
    pub(super) signed_books: BTreeSet<(Cab, u64)>,
    /// Commands that the signer signed for a cabinet.
    pub(super) signed_commands: BTreeMap<CommandId, (Cab, Command)>,
    pub(super) accepted: BTreeMap<CommandId, Cab>,
    pub(super) outcomes: BTreeMap<CommandId, UnlockOutcome>,
    /// Rows that consumers have, also of a life of the fleet's store that is lost.
    pub(super) rows: BTreeMap<(Name, Stream), BTreeMap<u64, Vec<u8>>>,
    /// How far consumers have got in this life of the fleet's store.
    pub(super) heard: BTreeMap<(Name, Stream), u64>,
    pub(super) streams: BTreeMap<(Name, Stream), StreamPart>,
    pub(super) statuses: BTreeMap<Name, (u64, bool)>,
    /// When something last happened that others may have to react to.
    pub(super) active_at: u64,
    /// A process of the fleet was started with a clock that was months off, and believed it.
    pub(super) misled: bool,
    /// How often this life of the fleet's store was put back.
    restores: u64,
    pub(super) audits: BTreeSet<At>,
    /// Doors whose orders staff are exchanging.
    pub(super) swapping: BTreeSet<At>,
    /// Orders that have changed places.
    pub(super) swapped: BTreeSet<[OrderKey; 2]>,
    /// Doors of which the cabinet has said that a pulse moved another one: staff must help there.
    pub(super) wrong_doors: BTreeSet<At>,
    /// Doors that were pulsed, opened or closed while no agent was running or their contact was worth nothing: what is
    /// behind them nobody can tell.
    pub(super) unnoticed: BTreeSet<At>,
}

impl Ledger {
    pub(super) fn with(layout: Layout) -> Self {
        Self { layout, ..Self::default() }
    }

    /// Takes a fact that broke no invariant.
    pub(super) fn note(&mut self, seen: Seen, now: u64) {
        if seen.is_progress() {
            self.active_at = now;
        }
        match seen {
            Seen::ChallengeMade { cab, challenge, boot_millis } => {
                self.challenges.entry((cab, challenge)).or_insert(boot_millis);
            }
            Seen::PulseOrdered { cab, boot, pulse, at, not_after, cause, .. } => {
                if let Cause::App(open) = &cause {
                    self.tokens.use_up(cab, open);
                }
                let mut opened = match &cause {
                    Cause::App(open) => vec![open.order.clone()],
                    Cause::Entry { orders, .. } => orders.clone(),
                    Cause::Release(order) | Cause::Answer { order, .. } => vec![order.clone()],
                    _ => Vec::new(),
                };
                if opened.iter().any(|order| self.lies_in(&(cab, at), order)) {
                    opened.extend(self.orders_in(&(cab, at)).cloned());
                }
                for order in opened {
                    if let Some(order) = self.orders.get_mut(&order) {
                        order.opened = true;
                    }
                }
                let taken_out = match &cause {
                    Cause::Staff(order) => vec![order.clone()],
                    Cause::Command(command) => {
                        command.action.order().map(|order| self.parts_of(order)).unwrap_or_default()
                    }
                    _ => Vec::new(),
                };
                let stored = self.all_held().filter(|(held_in, held)| {
                    *held_in == (cab, at) && matches!(held, Content::Stored(order) if taken_out.contains(order))
                });
                for (_, held) in stored.collect::<Vec<_>>() {
                    if let Some(order) = self.orders.get_mut(held.order()) {
                        order.retrieved = true;
                    }
                }
                let by = self.take_up((cab, at), boot, cause);
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
                    let again = self.heard_before.get(&cab).is_some_and(|heard| n <= *heard);
                    // From here on nobody finds out that the cabinet has lost anything.
                    if self.heard_before.get(&cab) == Some(&n) {
                        for truth in self.orders.values_mut().filter(|truth| truth.astray && truth.at() == cab) {
                            truth.unheard = true;
                        }
                    }
                    // That names what lies there, too.
                    let others = match &event.fact {
                        Fact::LoadingBeside(load) => load.others.as_slice(),
                        _ => &[],
                    };
                    for order in order_of(&event.fact).into_iter().chain(others).filter(|_| again) {
                        if let Some(truth) = self.orders.get_mut(order) {
                            truth.unheard = true;
                        }
                    }
                    self.believe(cab, &event.fact);
                    if let Fact::Collected(Collected { order, compartment, confirmed: false, .. }) = &event.fact {
                        let left = (order.clone(), event.at.boot, event.at.boot_millis);
                        self.left_inside.insert((cab, *compartment), left);
                    }
                }
                self.written.entry((cab, self.epoch(cab))).or_default().insert(n, record);
                self.newest.insert(cab, n);
            }
            Seen::EventStored { cab, epoch, n, .. } | Seen::GapAccepted { cab, epoch, to: n, .. } => {
                self.stored.insert((cab, epoch), n);
            }
            Seen::OrderRemoved { order } => {
                self.contents_told.rows.remove(&order);
                if let Some(order) = self.orders.get_mut(&order) {
                    order.told = Told::default();
                }
            }
            Seen::PutAcked { order, .. } => self.each_part(&order, |truth| truth.told.accepted = true),
            Seen::PartWritten { order, state, cab, compartment } => self.part_told(&order, state, cab, compartment),
            Seen::WholeAnnounced { order, doors, .. } => self.whole_announced(&order, doors),
            Seen::StatusWritten { integration, status, cab } => self.told(integration, &status, cab),
            Seen::DepositCodeWritten { .. } => {}
            Seen::NotificationWritten { order, .. } => {
                if let Some(order) = self.orders.get_mut(&order) {
                    order.told.outdated &= order.told.notified == 0;
                    order.told.notified += 1;
                }
            }
            Seen::RowReceived { integration, stream, n, payload } => {
                let at = (integration, stream);
                let heard = self.heard.entry(at.clone()).or_default();
                *heard = n.max(*heard);
                self.rows.entry(at).or_default().insert(n, payload);
            }
            Seen::Offered { at, boot_millis } => {
                if let Some(by) = self.last_use.get(&at) {
                    self.uses[*by].offered = Some(boot_millis);
                }
            }
            Seen::TypedLookedAt { cab, now, wrong } => {
                if wrong {
                    self.guesses.entry(cab).or_default().count(now);
                }
            }
            Seen::FactorsTaken { cab, book } => self.factors_taken(cab, book),
            Seen::AnswerLookedAt { cab, wrong } => self.answer_looked_at(cab, wrong),
            Seen::CouriersTaken { cab, couriers } => self.couriers.taken(cab, couriers),
            Seen::GlassOver { cab } => self.glass_over(cab),
            Seen::ContentWritten { order, content } => drop(self.contents_told.rows.insert(order, *content)),
            Seen::CodeTold { order, code, phone } => drop(self.codes_to.insert((order, code), phone)),
            Seen::TermWritten { order, category, state, term, now } => {
                self.term_written(order, category, state, term, now);
            }
            Seen::PoliciesWritten { version, live, policies } => self.policies_written(version, live, *policies),
            Seen::SiteWritten(site) => self.times.site = Some(*site),
            Seen::MessageSent { id, code, .. } => self.messages.sent(id, code),
            Seen::MessageAccepted { id } => self.messages.accepted(id),
            Seen::EventAcked { .. }
            | Seen::NotificationsWritten { .. }
            | Seen::EndTold { .. }
            | Seen::GlassAnswered { .. }
            | Seen::ChangeTold { .. }
            | Seen::LocalTold { .. }
            | Seen::PoliciesPut(_)
            | Seen::CourierAnswered { .. }
            | Seen::StaffAnswered { .. }
            | Seen::DownAcked { .. }
            | Seen::TakenTogether { .. }
            | Seen::TypingRefused { .. }
            | Seen::TickedEarly { .. }
            | Seen::Ticked { .. }
            | Seen::Answered { .. }
            | Seen::ReminderWritten { .. }
            | Seen::BundleWritten { .. }
            | Seen::Opened(_) => {}
        }
    }

    /// The name of a cabinet's epoch, as it is in keys of the fleet's store.
    pub(super) fn epoch(&self, cab: Cab) -> String {
        self.epochs.get(&cab).map(Epoch::to_string).unwrap_or_default()
    }

    /// The newest event that a cabinet has counted.
    pub(super) fn newest_written(&self, cab: Cab) -> u64 {
        self.newest.get(&cab).copied().unwrap_or(0)
    }

    pub(super) fn begin_epoch(&mut self, cab: Cab, epoch: Epoch, held: BTreeMap<u64, Vec<u8>>) {
        self.epochs.insert(cab, epoch);
        self.heard_before.remove(&cab);
        self.told_again.insert(cab, held.keys().next_back().copied().unwrap_or(0));
        self.written.insert((cab, self.epoch(cab)), held);
    }

    /// The fleet hears of this cabinet what was, and may have heard it before.
    pub(super) fn hears_history(&self, cab: Cab) -> bool {
        let heard = self.stored.get(&(cab, self.epoch(cab))).copied().unwrap_or(0);
        self.told_again.get(&cab).is_some_and(|last| heard <= *last)
    }

    /// A row of a stream was written.
    pub(super) fn grown(&mut self, integration: Name, stream: Stream, n: u64) {
        let new = StreamPart { base: n - 1, newest: n - 1, ..StreamPart::default() };
        let part = self.streams.entry((integration, stream)).or_insert(new);
        if std::mem::take(&mut part.leaping) {
            part.leaps.push((part.newest, n - 1));
        }
        part.newest = n;
    }

    /// Whether a status row may have this number: the next one, or one far away behind a restore.
    pub(super) fn may_be_next(&self, integration: &Name, n: u64) -> bool {
        match self.statuses.get(integration) {
            Some((last, leaping)) if *leaping => n > last + fleet_core::LEAP,
            Some((last, _)) => n == last + 1,
            None => n == 1 || self.restores > 0 && n > fleet_core::LEAP,
        }
    }

    /// A stream as it is, also one that has not begun.
    pub(super) fn stream(&self, at: &(Name, Stream)) -> StreamPart {
        self.streams.get(at).cloned().unwrap_or_default()
    }

    pub(super) fn fleet_part(&self, pin: Option<String>) -> FleetPart {
        FleetPart {
            told: self.orders.iter().map(|(order, truth)| (order.clone(), truth.told.clone())).collect(),
            wholes: self.wholes.clone(),
            times: self.times.clone(),
            contents_told: self.contents_told.clone(),
            stored: self.stored.clone(),
            statuses: self.statuses.clone(),
            streams: self.streams.clone(),
            restores: self.restores,
            pin,
        }
    }

    /// The fleet knows what it knew at the backup, and goes on behind a leap of its numbers.
    pub(super) fn fleet_put_back(&mut self, mut part: FleetPart) {
        for (order, truth) in &mut self.orders {
            let before = truth.at();
            truth.told = part.told.remove(order).unwrap_or_default();
            if truth.told.state.is_none() {
                // Its backend may put it again, and then it may be put in anew.
                truth.deposited = 0;
            }
            truth.told.outdated = truth.told.accepted || truth.told.was_stored;
            // What staff began its cabinet tells again, and the fleet makes another code for it.
            truth.renewed |= order.is_walk_in() && truth.told.notified == 0;
            // It looks for the order where it was put (ARCHITECTURE.md, Known limits).
            truth.astray |= truth.at() != before;
        }
        self.messages.put_back();
        self.wholes = part.wholes;
        self.times = part.times;
        self.contents_told = part.contents_told;
        self.stored = part.stored;
        self.lose_former_epochs();
        self.restores = part.restores + 1;
        self.statuses = part.statuses;
        self.statuses.values_mut().for_each(|(_, leaping)| *leaping = true);
        part.streams.values_mut().for_each(|stream| stream.leaping = true);
        self.streams = part.streams;
        for (at, heard) in &mut self.heard {
            let last = self.streams.get(at).map_or(0, |stream| stream.newest);
            *heard = last.min(*heard);
        }
    }

    /// What cabinets had counted under a former epoch, and the fleet has forgotten, nobody will tell it again.
    fn lose_former_epochs(&mut self) {
        let mut lost = BTreeSet::new();
        for ((cab, epoch), rows) in &self.written {
            if *epoch != self.epoch(*cab) {
                let known = self.stored.get(&(*cab, epoch.clone())).copied().unwrap_or(0);
                let facts = rows.range(known + 1..).filter_map(|(_, row)| schemas::cbor::decode::<Event>(row).ok());
                lost.extend(facts.flat_map(|event| orders_of(&event.fact)));
            }
        }
        for order in lost {
            if let Some(truth) = self.orders.get_mut(&order) {
                truth.astray = true;
            }
        }
    }

    pub(super) fn cabinet_part(&self, cab: Cab) -> CabinetPart {
        let mine = |(id, of): (&CommandId, &Cab)| (*of == cab).then_some(*id);
        let accepted: BTreeSet<CommandId> = self.accepted.iter().filter_map(mine).collect();
        CabinetPart {
            epoch: self.epochs.get(&cab).copied(),
            written: self.written.get(&(cab, self.epoch(cab))).cloned().unwrap_or_default(),
            newest: self.newest_written(cab),
            contents: self
                .contents
                .iter()
                .filter(|((of, _), _)| *of == cab)
                .map(|((_, at), held)| (*at, held.clone()))
                .collect(),
            beside: self
                .beside
                .iter()
                .filter(|((of, _), _)| *of == cab)
                .map(|((_, at), orders)| (*at, orders.clone()))
                .collect(),
            applied: self.applied.get(&cab).copied().unwrap_or(0),
            outcomes: self
                .outcomes
                .iter()
                .filter(|(id, _)| accepted.contains(id))
                .map(|(id, outcome)| (*id, *outcome))
                .collect(),
            accepted,
            collected: self.collected.clone(),
            left: self
                .left
                .iter()
                .filter(|((of, _), _)| *of == cab)
                .map(|((_, at), order)| (*at, order.clone()))
                .collect(),
            guesses: self.guesses.get(&cab).cloned().unwrap_or_default(),
            couriers: self.couriers.of(cab),
            wrong_answers: self.factors.wrong_of(cab),
            glass: self.glass_of(cab),
        }
    }

    /// A book was taken up since that a cabinet's store knows nothing of.
    pub(super) fn has_applied_since(&self, cab: Cab, part: &CabinetPart) -> bool {
        self.applied.get(&cab).copied().unwrap_or(0) != part.applied
    }

    /// The cabinet knows what it knew then. Whatever it has lost a word of is astray.
    pub(super) fn cabinet_put_back(&mut self, cab: Cab, part: CabinetPart) {
        for order in self.lost_with(cab, &part) {
            if let Some(truth) = self.orders.get_mut(&order) {
                truth.astray = true;
            }
        }
        for (order, truth) in &self.orders {
            if truth.at() == cab {
                match part.collected.get(order) {
                    Some(count) => self.collected.insert(order.clone(), *count),
                    None => self.collected.remove(order),
                };
            }
        }
        self.guesses.insert(cab, part.guesses.clone());
        self.couriers.put_back(cab, part.couriers.clone());
        self.factors.put_back(cab, part.wrong_answers.clone());
        self.glass_put_back(cab, part.glass.clone());
        self.left.retain(|(of, _), _| *of != cab);
        self.left.extend(part.left.iter().map(|(at, order)| ((cab, *at), order.clone())));
        self.contents.retain(|(of, _), _| *of != cab);
        self.swapping.retain(|(of, _)| *of != cab);
        self.contents.extend(part.contents.into_iter().map(|(at, held)| ((cab, at), held)));
        self.beside.retain(|(of, _), _| *of != cab);
        self.beside.extend(part.beside.into_iter().map(|(at, orders)| ((cab, at), orders)));
        self.applied.insert(cab, part.applied);
        self.newest.insert(cab, part.newest);
        let accepted = &self.accepted;
        self.outcomes.retain(|id, _| accepted.get(id).is_some_and(|of| *of != cab));
        self.outcomes.extend(part.outcomes);
        self.accepted.retain(|_, of| *of != cab);
        self.accepted.extend(part.accepted.iter().map(|id| (*id, cab)));
        match part.epoch {
            Some(epoch) => {
                self.begin_epoch(cab, epoch, part.written);
                // By the number alone nobody can tell that another event has it now (ARCHITECTURE.md, Known limits).
                let heard = self.stored.get(&(cab, self.epoch(cab))).copied().unwrap_or(0);
                self.heard_before.insert(cab, heard);
            }
            None => {
                self.heard_before.remove(&cab);
                self.epochs.remove(&cab);
                self.written.insert((cab, String::new()), BTreeMap::new());
            }
        }
    }

    /// Somebody has asked for this door, and it was not seen to open by that.
    pub(super) fn awaits_opening(&self, at: At) -> bool {
        self.last_use.get(&at).is_some_and(|by| !self.uses[*by].over)
    }

    /// Whoever has one of these orders has closed the door on something a moment ago, and nothing was put there since.
    pub(super) fn reopens(&self, at: &At, orders: &[OrderKey], boot: BootId, boot_millis: u64) -> bool {
        self.left_inside.get(at).is_some_and(|(order, run, since)| {
            let recent = *run == boot && boot_millis < since + cabinet_core::REOPEN_MILLIS;
            recent && orders.contains(order) && !self.contents.contains_key(at)
        })
    }

    /// The door was opened last for somebody who looks after it, whatever is behind it.
    pub(super) fn was_looked_at(&self, at: At) -> bool {
        self.last_use.get(&at).is_some_and(|by| self.uses[*by].looks)
    }

    /// What the fleet and the cabinet say of an order may differ, and nobody but staff can find out.
    pub(super) fn is_beyond_knowing(&self, order: &OrderKey) -> bool {
        self.orders.get(order).is_some_and(|truth| truth.astray || truth.unheard)
    }

    pub(super) fn has_collected(&self, order: &OrderKey) -> bool {
        self.collected.get(order).is_some_and(|count| *count > 0)
    }

    /// Orders of which a cabinet's store knows less, or something else, once it is put back.
    fn lost_with(&self, cab: Cab, part: &CabinetPart) -> BTreeSet<OrderKey> {
        let then = part.epoch.map(|epoch| epoch.to_string()).unwrap_or_default();
        let now = self.epoch(cab);
        let rows = |epoch: &String| self.written.get(&(cab, epoch.clone())).into_iter().flatten();
        let since: Vec<&Vec<u8>> = rows(&then).filter(|(n, _)| **n > part.newest).map(|(_, record)| record).collect();
        let other = rows(&now).filter(|_| now != then).map(|(_, record)| record);
        let facts = since.into_iter().chain(other).filter_map(|record| schemas::cbor::decode::<Event>(record).ok());
        let mut lost: BTreeSet<OrderKey> = facts.filter_map(|event| order_of(&event.fact).cloned()).collect();
        let before: Vec<(Compartment, Content)> =
            self.all_held().filter(|((of, _), _)| *of == cab).map(|((_, at), held)| (at, held)).collect();
        let after = part.all_held();
        let other = |one: &[(Compartment, Content)], held: &(Compartment, Content)| !one.contains(held);
        lost.extend(before.iter().filter(|held| other(&after, held)).map(|(_, held)| held.order().clone()));
        lost.extend(after.iter().filter(|held| other(&before, held)).map(|(_, held)| held.order().clone()));
        lost
    }

    /// The process of a cabinet starts: a lock that was in force begins again.
    pub(super) fn cabinet_started(&mut self, cab: Cab, now: u64) {
        self.factors.cabinet_started(cab);
        if let Some(locked_until) = self.guesses.get_mut(&cab).and_then(|guesses| guesses.locked_until.as_mut()) {
            *locked_until = now + cabinet_core::LOCK_MILLIS;
        }
    }

    /// A step of a cabinet is on disk: a lock whose time was over is none any more.
    pub(super) fn cabinet_stepped(&mut self, cab: Cab, now: u64) {
        if let Some(guesses) = self.guesses.get_mut(&cab) {
            guesses.locked_until = guesses.locked_until.filter(|until| now < *until);
        }
    }

    /// The number of the use that a pulse belongs to.
    fn take_up(&mut self, at: At, boot: BootId, cause: Cause) -> usize {
        let looks = matches!(cause, Cause::Look);
        let collects = matches!(cause, Cause::Entry { .. });
        let (command, orders) = match cause {
            Cause::Again | Cause::Retry { .. } => {
                let by = self.last_use.get(&at).copied().unwrap_or(0);
                self.uses[by].offered = None;
                return by;
            }
            Cause::Command(command) => {
                self.accepted.insert(command.id, at.0);
                let orders = command.action.order().map(|order| self.parts_of(order)).unwrap_or_default();
                (Some((command.id, command.challenge)), orders)
            }
            Cause::Entry { orders, .. } | Cause::Swap(orders) => (None, orders),
            Cause::Staff(order) | Cause::Release(order) | Cause::Deposit(order) => (None, vec![order]),
            Cause::Answer { order, .. } => (None, vec![order]),
            Cause::App(open) => {
                self.accepted.insert(open.id, at.0);
                (None, vec![open.order])
            }
            Cause::Courier(_) => (None, self.contents.get(&at).map(|held| held.order().clone()).into_iter().collect()),
            Cause::Look | Cause::Begins | Cause::Brings | Cause::Nobody(_) => (None, Vec::new()),
        };
        self.uses.push(Use { command, orders, looks, collects, boot, pulses: 0, offered: None, over: false });
        self.uses.len() - 1
    }

    fn believe(&mut self, cab: Cab, fact: &Fact) {
        self.couriers.believe(cab, fact);
        if let Fact::Loading(Loading { order, .. })
        | Fact::LoadingBeside(LoadingBeside { order, .. })
        | Fact::Stored(Stored { order, .. })
        | Fact::Found(Found { order, from: None, .. }) = fact
        {
            let elsewhere = self.all_held().any(|((of, _), held)| of != cab && held.order() == order);
            if let Some(truth) = self.orders.get_mut(order) {
                // It was to go elsewhere. Staff load it where they are, and may not be the only ones.
                truth.astray |= elsewhere || truth.at() != cab;
            }
        }
        match fact {
            Fact::Loading(load) => {
                self.contents.insert((cab, load.compartment), Content::Loading(load.order.clone()));
            }
            Fact::Stored(load) => {
                self.contents.insert((cab, load.compartment), Content::Stored(load.order.clone()));
            }
            Fact::Depositing(load) => {
                self.contents.insert((cab, load.compartment), Content::Loading(load.order.clone()));
            }
            Fact::Deposited(load) => {
                if let Some(order) = self.orders.get_mut(&load.order) {
                    order.deposited += 1;
                }
                self.contents.insert((cab, load.compartment), Content::Stored(load.order.clone()));
            }
            Fact::LoadingBeside(load) => {
                self.loaded_beside((cab, load.compartment), load.order.clone(), &load.others);
            }
            Fact::LoadAborted(load) => self.taken_out((cab, load.compartment), &load.order),
            Fact::Retrieved(taken) => self.taken_out((cab, taken.compartment), &taken.order),
            Fact::DoorOpened(opened) => {
                if let Some(by) = self.last_use.get(&(cab, opened.compartment)) {
                    self.uses[*by].over = true;
                }
            }
            Fact::Audited(found) => {
                if found.found == Finding::Missing {
                    match &found.order {
                        Some(order) => self.taken_out((cab, found.compartment), order),
                        None => drop(self.contents.remove(&(cab, found.compartment))),
                    }
                    if let Some(order) = found.order.as_ref().and_then(|order| self.orders.get_mut(order)) {
                        order.missing = true;
                    }
                }
            }
            Fact::Collected(taken) => {
                self.taken_out((cab, taken.compartment), &taken.order);
                self.left.insert((cab, taken.compartment), taken.order.clone());
                *self.collected.entry(taken.order.clone()).or_default() += 1;
                if let Some(order) = self.orders.get_mut(&taken.order) {
                    order.gone = true;
                }
            }
            Fact::WalkIn(begun) => {
                let truth = || OrderTruth::new(cab, begun.category);
                self.orders.entry(begun.order.clone()).or_insert_with(truth);
            }
            Fact::Found(said) => {
                if let Some(from) = said.from {
                    self.taken_out((cab, from), &said.order);
                }
                self.contents.insert((cab, said.compartment), Content::Stored(said.order.clone()));
            }
            Fact::Swapped(said) => self.swapped(cab, (&said.one, said.one_in), (&said.other, said.other_in)),
            Fact::ErrandTaken(taken) => {
                if matches!(taken.errand, Errand::Load | Errand::Retrieve) {
                    self.accepted.insert(taken.id, cab);
                }
            }
            Fact::Reported(said) => {
                if let Some(order) = self.orders.get_mut(&said.order) {
                    order.missed = true;
                }
            }
            Fact::WalkInDropped(dropped) => {
                if let Some(order) = self.orders.get_mut(&dropped.order) {
                    order.gone = true;
                }
            }
            Fact::UnlockDone(done) => {
                self.outcomes.insert(done.id, done.outcome);
            }
            Fact::BreakGlassUsed(used) => self.glass_broken(cab, used.id, used.begun),
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
            | Fact::DoorClosed(_)
            | Fact::DoorForced(_)
            | Fact::DoorHeldOpen(_)
            | Fact::DoorFault(_)
            | Fact::CommandRefused(_)
            | Fact::CredentialRefused(_)
            | Fact::TypingLocked(_)
            | Fact::StaffLoggedIn(_)
            | Fact::CourierCame(_)
            | Fact::CourierTurnedAway(_)
            | Fact::BookRefused(_)
            | Fact::KeysetApplied(_)
            | Fact::KeysetRefused(_)
            | Fact::BoardHealth(_)
            | Fact::Wiped(_)
            | Fact::Cleaning(_)
            | Fact::Service(_)
            | Fact::Maintenance(_)
            | Fact::EmergencyOpened(_)
            | Fact::NotTaken(_)
            | Fact::AppClosed(_)
            | Fact::Released(_) => {}
        }
    }

    fn told(&mut self, integration: Name, status: &Status, cab: Option<Cab>) {
        self.statuses.insert(integration.clone(), (status.n, false));
        let key = key_of_status(&integration, status);
        if !status.parts.is_empty() {
            return self.whole_told(key, status);
        }
        let Some(order) = self.orders.get_mut(&key).filter(|_| moves(status)) else { return };
        let order = &mut order.told;
        (order.state, order.cab) = (Some(status.state), cab);
        order.compartment = status.compartment;
        order.was_stored |= status.state == OrderState::Stored;
        let collected = matches!(status.state, OrderState::Collected | OrderState::CollectedUnconfirmed);
        order.collected += u32::from(collected);
    }
}

/// Whether a row tells a state of an order in one compartment, and not only that a wish was not done.
pub(super) fn moves(status: &Status) -> bool {
    let closed = status.reason == Some(RejectReason::ForceClosed);
    let moved = status.reason.is_none() || status.state == OrderState::Rejected || closed;
    status.parts.is_empty() && status.cabinet.is_some() && moved
}

/// All orders whose places a fact changes.
fn orders_of(fact: &Fact) -> Vec<OrderKey> {
    match fact {
        Fact::Swapped(said) => vec![said.one.clone(), said.other.clone()],
        _ => order_of(fact).cloned().into_iter().collect(),
    }
}

/// The order whose place a fact changes.
fn order_of(fact: &Fact) -> Option<&OrderKey> {
    match fact {
        Fact::Loading(load) => Some(&load.order),
        Fact::LoadingBeside(load) => Some(&load.order),
        Fact::Stored(load) => Some(&load.order),
        Fact::Depositing(load) => Some(&load.order),
        Fact::Deposited(load) => Some(&load.order),
        Fact::LoadAborted(load) => Some(&load.order),
        Fact::Collected(taken) => Some(&taken.order),
        Fact::Retrieved(taken) => Some(&taken.order),
        Fact::WalkIn(begun) => Some(&begun.order),
        Fact::WalkInDropped(dropped) => Some(&dropped.order),
        Fact::Audited(found) => found.order.as_ref().filter(|_| found.found == Finding::Missing),
        _ => None,
    }
}
