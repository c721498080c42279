//! The state of a simulation and the order in which things happen.

use std::collections::{BTreeMap, VecDeque};

use cabinet_core::DepositWish;
use fleet_core::Outcome;
use fleet_core::signing::SignerReply;
use schemas::ids::{CabinetId, Name, TenantId};
use schemas::messages::{Compartment, Epoch, OrderKey, Verifier};
use schemas::step::Step;
use schemas::topics::{Stream, Up};

use super::adversary::Adversary;
use super::cabinet::Cabinet;
use super::changes::FIVE;
use super::coverage::Coverage;
use super::decisions::{Decision, Decisions};
use super::dice::Dice;
use super::fleet::Fleet;
use super::invariants::{Holds, INVARIANTS};
use super::ledger::{Cab, Ledger, Seen};
use super::restore::Copies;
use super::sabotage::Sabotage;
use super::schedule::{Options, Pace};
use super::signer::Signer;
use super::wire::Wire;

/// Cabinets of a simulation.
pub(super) const CABS: usize = 2;
pub(super) const SHOPS: [&str; 2] = ["shop", "cafe"];
/// Fleet time at the beginning.
pub(super) const START: u64 = 1_795_378_500_000;

/// What a PUBACK to the cabinet stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Hello,
    Challenge,
    Event {
        n: u64,
        epoch: Epoch,
    },
    Telemetry,
    /// A second delivery of the same packet; its PUBACK is that of the first.
    Double,
}

/// Something that happens at a moment.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    FleetCommits { run: u64 },
    FleetStarts,
    CabinetStarts(Cab),
    Connects(Cab),
    UpArrives { conn: u64, up: Up, payload: Vec<u8>, mark: Mark },
    UpAcked { conn: u64, mark: Mark, taken: bool },
    DownArrives { conn: u64, payload: Vec<u8>, packet: Option<u64> },
    DownAcked { conn: u64, packet: u64 },
    DownLate { conn: u64, packet: u64 },
    Cuts { conn: u64, fleet_after: u64, cabinet_after: u64 },
    CabinetNotices { conn: u64 },
    FleetNotices { conn: u64 },
    SignerAnswers { run: u64, ticket: u64, reply: SignerReply },
    GatewayAnswers { run: u64, id: String, attempt: u32, outcome: Outcome },
    BusPulses { cab: Cab, run: u64, pulse: u64, at: Compartment, not_after: u64 },
    BusAnswers { cab: Cab, run: u64, pulse: u64, sent: bool },
    DoorOpens { cab: Cab, at: Compartment },
    Attends { cab: Cab, at: Compartment },
    DoorCloses { cab: Cab, at: Compartment, visit: u64 },
    SensorReports { cab: Cab, run: u64, at: Compartment },
    Derives { cab: Cab, run: u64, entry: u64, verifier: Verifier },
    TriesAgain { cab: Cab, at: Compartment },
    StaffActs(Cab),
    StaffRelease(Cab),
    Guesses { cab: Cab, tries: u64 },
    StaffAnswers { cab: Cab, at: Compartment },
    StaffAnswersSwap { cab: Cab, at: Compartment },
    CourierComes { order: OrderKey },
    DepositorSays { cab: Cab, at: Compartment, wish: DepositWish },
    ShopOpens { shop: usize },
    RowArrives { conn: u64, shop: usize, stream: Stream, n: u64, payload: Vec<u8> },
    RowAcked { conn: u64, shop: usize, stream: Stream, n: u64 },
    SomebodyActs,
    OthersAct,
    CouriersAct,
    CourierBrings(Cab),
    AnswerersAct,
    AppsAct,
    ManagersAct,
    AppAsks { order: OrderKey, token: String },
    CustomerAnswers { cab: Cab, tries: u64 },
    GuessesAnswers { order: OrderKey, tries: u64 },
    StaffShare { cab: Cab, rounds: u64 },
    AdversaryActs,
    FaultStrikes,
    CopiesAreMade,
    NetworkReturns(Cab),
    SignerReturns,
    CabinetDiskFree(Cab),
    CabinetDiskRoom(Cab),
    FleetDiskFree,
    FleetClockSetRight,
    OperatorRestartsFleet,
    StaffAreAddedAgain,
    BoardMended { cab: Cab, board: u32 },
    WiringMended { cab: Cab, at: Compartment },
}

impl Happening {
    /// Who keeps acting from chance alone has a chance of their own: what else happens at the moment changes nothing.
    fn actor(&self) -> Option<u64> {
        match self {
            Self::SomebodyActs => Some(u64::MAX),
            Self::AdversaryActs => Some(u64::MAX - 1),
            Self::FaultStrikes => Some(u64::MAX - 2),
            Self::CopiesAreMade => Some(u64::MAX - 3),
            Self::OthersAct => Some(u64::MAX - 4),
            Self::CouriersAct => Some(u64::MAX - 5),
            Self::AnswerersAct => Some(u64::MAX - 6),
            Self::AppsAct => Some(u64::MAX - 7),
            Self::StaffShare { .. } => Some(u64::MAX - 8),
            Self::ManagersAct => Some(u64::MAX - 9),
            _ => None,
        }
    }

    /// What came later than the first schedules that are kept as files leaves the chance of all else as it was there.
    fn counts(&self) -> bool {
        !matches!(
            self,
            Self::OthersAct
                | Self::CouriersAct
                | Self::AnswerersAct
                | Self::AppsAct
                | Self::ManagersAct
                | Self::StaffShare { .. }
        )
    }
}

/// A named invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) invariant: &'static str,
    pub(super) text: String,
}

pub(super) struct World {
    pub(super) now: u64,
    seed: u64,
    pub(super) pace: Pace,
    pub(super) rough_millis: u64,
    /// The chance of what happens just now.
    pub(super) dice: Dice,
    /// Happenings of the moment `counted_at` so far.
    at_once: u64,
    counted_at: u64,
    pub(super) decisions: Decisions,
    queue: BTreeMap<(u64, u64), Happening>,
    queued: u64,
    pub(super) tenant: TenantId,
    pub(super) fleet: Fleet,
    pub(super) cabs: Vec<Cabinet>,
    pub(super) wires: BTreeMap<u64, Wire>,
    pub(super) next_wire: u64,
    pub(super) blocked: [bool; CABS],
    pub(super) signer: Signer,
    pub(super) shops: Vec<Shop>,
    /// Whose bundles were asked for, by number.
    pub(super) bundles: Vec<Name>,
    /// PINs and badges of couriers that the operator was told.
    pub(super) courier_secrets: Vec<String>,
    /// Badges of staff that the operator was told, the newest last.
    pub(super) staff_badges: Vec<String>,
    /// Backends of this schedule have apps, and the cabinets' screens show tokens.
    pub(super) apps: bool,
    /// Staff carry orders from one compartment to another, and scan what they find.
    pub(super) scans: bool,
    /// The fleet of this schedule sends messages to people itself.
    pub(super) has_channels: bool,
    /// Rows of notifications that this step of the fleet has written.
    pub(super) notifications: u32,
    /// Cabinets of this schedule have break-glass codes.
    pub(super) has_glass: bool,
    /// Those that the operator was shown, and of which cabinet.
    pub(super) glass: Vec<(Cab, String)>,
    /// The time zone of the site in this schedule, once somebody sets it.
    pub(super) zone: &'static str,
    /// Contents of orders that have become others in this step of the fleet, with both hashes, and those that backends heard of.
    pub(super) content_changes: Vec<(OrderKey, [String; 2])>,
    pub(super) contents_told: Vec<(OrderKey, [String; 2])>,
    /// Tickets of policies that were put, and those of the previews of the same policies just before.
    pub(super) previews: BTreeMap<u64, u64>,
    /// Ends of windows that backends were told last in a step of the fleet.
    pub(super) ends_told: BTreeMap<OrderKey, u64>,
    /// What backends have given with orders that ask for more than a code, the newest last.
    pub(super) answers: BTreeMap<OrderKey, Vec<String>>,
    pub(super) adversary: Adversary,
    pub(super) ledger: Ledger,
    pub(super) coverage: Coverage,
    pub(super) copies: Copies,
    pub(super) sabotage: Option<Sabotage>,
    /// Faults, people and the adversary are at work.
    pub(super) rough: bool,
    pub(super) broken: Option<Violation>,
    pub(super) steps: u64,
    pub(super) crashes: u64,
    /// Facts that were handed to a core.
    pub(super) inputs: u64,
    /// Faults that were drawn, and crashes within a step.
    pub(super) faults: u64,
    /// The history is written down: it takes as long as everything else together.
    pub(super) shows: bool,
    shown: usize,
    history: VecDeque<String>,
    hash: u64,
}

/// A backend and its consumer.
#[derive(Debug)]
pub(super) struct Shop {
    pub(super) name: Name,
    pub(super) put: u64,
    /// The same of orders in several compartments.
    pub(super) put_wholes: u64,
    /// The same of orders that may lie with others.
    pub(super) put_sharing: u64,
    pub(super) orders: Vec<OrderKey>,
}

impl World {
    pub(super) fn new(seed: u64, options: &Options, kept: Option<&[Decision]>) -> Self {
        let mut dice = Dice::new(seed);
        let tenant: TenantId = constant("acme");
        let signer = Signer::new(tenant.clone(), &mut dice);
        let cabs = (0..CABS).map(|cab| Cabinet::new(cab, &mut dice)).collect();
        let shops =
            SHOPS.map(|name| Shop { name: constant(name), put: 0, put_wholes: 0, put_sharing: 0, orders: Vec::new() });
        Self {
            now: 0,
            seed,
            pace: Pace::of(seed),
            rough_millis: 0,
            dice,
            at_once: 0,
            counted_at: 0,
            decisions: Decisions::new(kept, &options.without),
            queue: BTreeMap::new(),
            queued: 0,
            tenant,
            fleet: Fleet::default(),
            cabs,
            wires: BTreeMap::new(),
            next_wire: 0,
            blocked: [false; CABS],
            signer,
            shops: shops.into(),
            bundles: Vec::new(),
            courier_secrets: Vec::new(),
            staff_badges: Vec::new(),
            apps: false,
            scans: false,
            has_channels: false,
            notifications: 0,
            has_glass: false,
            glass: Vec::new(),
            zone: "UTC",
            content_changes: Vec::new(),
            contents_told: Vec::new(),
            previews: BTreeMap::new(),
            ends_told: BTreeMap::new(),
            answers: BTreeMap::new(),
            adversary: Adversary::new(seed),
            ledger: Ledger::with(FIVE),
            coverage: Coverage::default(),
            copies: Copies::default(),
            sabotage: options.sabotage,
            shows: options.shown > 0,
            shown: options.shown,
            rough: false,
            broken: None,
            steps: 0,
            crashes: 0,
            inputs: 0,
            faults: 0,
            history: VecDeque::new(),
            hash: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// When the fleet's clock will say this, if it goes on as it does.
    pub(super) fn when_fleet_says(&self, fleet_millis: u64) -> u64 {
        let away = i128::from(fleet_millis) - i128::from(self.fleet.time.says(self.now));
        self.now.saturating_add(u64::try_from(away).unwrap_or(0))
    }

    /// Draws how long something takes that takes longer in a calm schedule.
    pub(super) fn draw_wait(&mut self, from: u64, to: u64) -> u64 {
        self.pace.wait(self.dice.between(from, to)).max(1)
    }

    pub(super) fn later(&mut self, delay: u64, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    pub(super) fn at(&mut self, time: u64, happening: Happening) {
        self.queued += 1;
        self.queue.insert((time, self.queued), happening);
    }

    /// Judges a fact and takes it. The first broken invariant ends the schedule.
    pub(super) fn see(&mut self, seen: Seen) {
        if self.broken.is_some() {
            return;
        }
        for (name, holds, judge) in INVARIANTS {
            if holds == Holds::WithoutAnAdversary && self.adversary.was_believed {
                continue;
            }
            if let Err(text) = judge(&self.ledger, &seen) {
                self.tell(|| format!("BROKEN {name}: {text}"));
                self.broken = Some(Violation { invariant: name, text });
                return;
            }
        }
        self.ledger.note(seen, self.now);
    }

    pub(super) fn break_off(&mut self, invariant: &'static str, text: String) {
        self.tell(|| format!("BROKEN {invariant}: {text}"));
        self.broken.get_or_insert(Violation { invariant, text });
    }

    /// Adds a line to the history.
    pub(super) fn tell(&mut self, line: impl FnOnce() -> String) {
        if !self.shows {
            return;
        }
        let line = format!("{:>10.3} {}", self.now as f64 / 1_000.0, line());
        if self.history.len() == self.shown {
            self.history.pop_front();
        }
        self.history.push_back(line);
    }

    /// A core has taken a fact. What it writes is part of what two runs of a seed have in common.
    pub(super) fn note_step<E>(&mut self, kind: &'static str, step: &Step<E>) {
        self.inputs += 1;
        self.mix(kind.as_bytes());
        self.mix(&self.now.to_le_bytes());
        self.mix(&(step.effects.len() as u64).to_le_bytes());
        for write in &step.writes {
            self.mix(write.table.0.as_bytes());
            self.mix(&write.key);
            self.mix(write.value.as_deref().unwrap_or(b"none"));
        }
    }

    /// Takes bytes into the digest of everything that happened.
    pub(super) fn mix(&mut self, bytes: &[u8]) {
        self.hash = digest(self.hash, bytes);
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn history(&self) -> Vec<String> {
        self.history.iter().cloned().collect()
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn name_of(&self, cab: Cab) -> CabinetId {
        self.cabs[cab].id.clone()
    }

    pub(super) fn cab_of(&self, id: &CabinetId) -> Option<Cab> {
        self.cabs.iter().position(|cabinet| cabinet.id == *id)
    }

    /// Whether something goes wrong that goes wrong once in `one_in` times while times are rough.
    pub(super) fn strikes(&mut self, what: &'static str, one_in: u64) -> bool {
        // Drawn in any case: what is drawn later must not depend on the decisions that are left out.
        let strikes = self.dice.one_in(one_in);
        self.rough && strikes && self.decides(what)
    }

    /// As [`Self::strikes`], and counted as a fault.
    pub(super) fn fails(&mut self, what: &'static str, one_in: u64) -> bool {
        let fails = self.strikes(what, one_in);
        if fails {
            self.coverage.count("faults", what);
        }
        fails
    }

    pub(super) fn decides(&mut self, what: &'static str) -> bool {
        self.decisions.decide(self.now, what)
    }

    /// Lets everything happen that is due until `end`.
    pub(super) fn run_until(&mut self, end: u64) {
        while self.broken.is_none() {
            let queued = self.queue.first_key_value().map(|((time, _), _)| *time);
            let fleet = self.fleet.deadline().map(|at| self.when_fleet_says(at));
            let cab = (0..CABS).filter_map(|cab| Some((self.cabs[cab].deadline()?, cab))).min();
            let next = [queued, fleet, cab.map(|(at, _)| at)].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            let counts = queued != Some(next) || self.queue.first_key_value().is_none_or(|(_, first)| first.counts());
            if counts {
                self.at_once = if next > self.counted_at { 0 } else { self.at_once + 1 };
                self.counted_at = self.now.max(next);
                self.steps += 1;
            }
            self.now = self.now.max(next);
            self.dice = Dice::at(self.seed, self.now, self.at_once);
            if queued == Some(next) {
                if let Some((_, happening)) = self.queue.pop_first() {
                    if let Some(actor) = happening.actor() {
                        self.dice = Dice::at(self.seed, self.now, actor);
                    }
                    self.happen(happening);
                }
            } else if fleet == Some(next) {
                self.tick_fleet();
            } else if let Some((_, cab)) = cab {
                self.tick_cabinet(cab);
            }
        }
        self.now = self.now.max(end);
        self.counted_at = self.now;
    }

    fn happen(&mut self, happening: Happening) {
        if let Some(until) = self.sleeps_through(&happening) {
            return self.at(until, happening);
        }
        match happening {
            Happening::FleetCommits { run } => self.commit_fleet(run),
            Happening::FleetStarts => self.start_fleet(),
            Happening::CabinetStarts(cab) => self.start_cabinet(cab),
            Happening::Connects(cab) => self.connect(cab),
            Happening::UpArrives { conn, up, payload, mark } => self.up_arrives(conn, up, payload, mark),
            Happening::UpAcked { conn, mark, taken } => self.up_acked(conn, mark, taken),
            Happening::DownArrives { conn, payload, packet } => self.down_arrives(conn, payload, packet),
            Happening::DownAcked { conn, packet } => {
                if self.wires.get(&conn).is_some_and(|wire| wire.up) {
                    self.fleet.packet_acked(conn, packet);
                }
            }
            Happening::Cuts { conn, fleet_after, cabinet_after } => self.cut(conn, fleet_after, cabinet_after),
            Happening::DownLate { conn, packet } => {
                if self.fleet.is_unacked(conn, packet) && self.wires.get(&conn).is_some_and(|wire| !wire.is_over()) {
                    self.tell(|| format!("gate: connection {conn} leaves a packet unacknowledged"));
                    self.cut(conn, 0, 1_000);
                }
            }
            Happening::CabinetNotices { conn } => self.cabinet_notices(conn),
            Happening::FleetNotices { conn } => self.fleet_notices(conn),
            Happening::SignerAnswers { run, ticket, reply } => self.signer_answers(run, ticket, reply),
            Happening::GatewayAnswers { run, id, attempt, outcome } => self.gateway_answers(run, id, attempt, outcome),
            Happening::BusPulses { cab, run, pulse, at, not_after } => self.bus_pulses(cab, run, pulse, at, not_after),
            Happening::BusAnswers { cab, run, pulse, sent } => self.bus_answers(cab, run, pulse, sent),
            Happening::DoorOpens { cab, at } => self.door_opens(cab, at),
            Happening::Attends { cab, at } => self.attends(cab, at),
            Happening::DoorCloses { cab, at, visit } => self.door_closes(cab, at, visit),
            Happening::StaffActs(cab) => self.staff_acts(cab),
            Happening::StaffRelease(cab) => self.staff_release(cab),
            Happening::Guesses { cab, tries } => self.guesses(cab, tries),
            Happening::SensorReports { cab, run, at } => self.sensor_reports(cab, run, at),
            Happening::Derives { cab, run, entry, verifier } => self.derives(cab, run, entry, verifier),
            Happening::TriesAgain { cab, at } => self.tries_again(cab, at),
            Happening::StaffAnswers { cab, at } => self.staff_answers(cab, at),
            Happening::StaffAnswersSwap { cab, at } => self.staff_answer_swap(cab, at),
            Happening::CourierComes { order } => self.courier_comes(&order),
            Happening::DepositorSays { cab, at, wish } => self.depositor_says(cab, at, wish),
            Happening::ShopOpens { shop } => self.shop_opens(shop),
            Happening::RowArrives { conn, shop, stream, n, payload } => {
                self.row_arrives(conn, shop, stream, n, payload)
            }
            Happening::RowAcked { conn, shop, stream, n } => self.row_acked(conn, shop, stream, n),
            Happening::SomebodyActs => self.somebody_acts(),
            Happening::OthersAct => self.others_act(),
            Happening::CouriersAct => self.couriers_act(),
            Happening::CourierBrings(cab) => self.courier_brings(cab),
            Happening::AnswerersAct => self.answerers_act(),
            Happening::AppsAct => self.apps_act(),
            Happening::ManagersAct => self.managers_act(),
            Happening::AppAsks { order, token } => self.app_asks(&order, &token),
            Happening::CustomerAnswers { cab, tries } => self.customer_answers(cab, tries),
            Happening::GuessesAnswers { order, tries } => self.guesses_answers(&order, tries),
            Happening::StaffShare { cab, rounds } => self.staff_share(cab, rounds),
            Happening::AdversaryActs => self.adversary_acts(),
            Happening::FaultStrikes => self.fault_strikes(),
            Happening::CopiesAreMade => self.copies_are_made(),
            Happening::NetworkReturns(cab) => self.blocked[cab] = false,
            Happening::SignerReturns => self.signer.works = true,
            Happening::CabinetDiskRoom(cab) => self.set_disk_low(cab, false),
            Happening::CabinetDiskFree(cab) => self.cabs[cab].store.set_full(false),
            Happening::BoardMended { cab, board } => self.board_mended(cab, board),
            Happening::WiringMended { cab, at } => self.wiring_mended(cab, at),
            Happening::FleetClockSetRight => self.fleet_clock_set_right(),
            Happening::OperatorRestartsFleet => self.operator_restarts_fleet(),
            Happening::StaffAreAddedAgain => self.staff_are_added_again(),
            Happening::FleetDiskFree => self.fleet.store.set_full(false),
        }
    }

    /// When the machine that this is for wakes up, if it sleeps.
    fn sleeps_through(&self, happening: &Happening) -> Option<u64> {
        let until = self.cabs[self.machine_of(happening)?].asleep_until;
        (until > self.now).then_some(until)
    }

    /// Whatever was put off because the machine slept happens now.
    pub(super) fn wake(&mut self, cab: Cab) {
        let until = std::mem::replace(&mut self.cabs[cab].asleep_until, self.now);
        if until <= self.now {
            return;
        }
        let here: Vec<_> = self.queue.range((until, 0)..=(until, u64::MAX)).map(|(key, _)| *key).collect();
        for key in here {
            if self.queue.get(&key).and_then(|happening| self.machine_of(happening)) == Some(cab)
                && let Some(happening) = self.queue.remove(&key)
            {
                self.at(self.now, happening);
            }
        }
    }

    /// The machine that takes notice of this.
    fn machine_of(&self, happening: &Happening) -> Option<Cab> {
        match happening {
            Happening::UpAcked { conn, .. }
            | Happening::DownArrives { conn, .. }
            | Happening::CabinetNotices { conn } => self.wires.get(conn).map(|wire| wire.cab),
            Happening::CabinetStarts(cab)
            | Happening::Connects(cab)
            | Happening::BusPulses { cab, .. }
            | Happening::BusAnswers { cab, .. }
            | Happening::SensorReports { cab, .. }
            | Happening::BoardMended { cab, .. }
            | Happening::CabinetDiskRoom(cab)
            | Happening::Derives { cab, .. } => Some(*cab),
            _ => None,
        }
    }

    /// Ends a connection. Each side notices after a while; what is on the way is lost.
    pub(super) fn cut(&mut self, conn: u64, fleet_after: u64, cabinet_after: u64) {
        let Some(wire) = self.wires.get_mut(&conn).filter(|wire| !wire.is_over()) else { return };
        wire.end();
        self.later(fleet_after, Happening::FleetNotices { conn });
        self.later(cabinet_after, Happening::CabinetNotices { conn });
    }

    fn connect(&mut self, cab: Cab) {
        if !self.cabs[cab].is_up() || self.cabs[cab].conn.is_some() {
            return;
        }
        if self.blocked[cab] || !self.fleet.is_up() {
            let wait = self.dice.between(1_000, 20_000);
            return self.later(wait, Happening::Connects(cab));
        }
        self.next_wire += 1;
        let conn = self.next_wire;
        self.wires.insert(conn, Wire::new(cab));
        self.wires.retain(|other, wire| !wire.is_over() || *other + 8 > conn);
        self.tell(|| format!("cabinet {cab} connects as {conn}"));
        self.cabs[cab].conn = Some(conn);
        self.fleet_connected(cab, conn);
        self.take_cabinet(cab, cabinet_core::Input::Connected, None);
    }
}

/// FNV-1a with eight bytes at once, and the length, so that bytes cannot move from one part to the next unseen.
pub(super) fn digest(so_far: u64, bytes: &[u8]) -> u64 {
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(step(so_far, bytes.len() as u64), |hash, word| step(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| step(hash, u64::from(*byte)))
}

/// A name that is written in this file and known to be valid.
pub(super) fn constant<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| unreachable!("`{text}` is a valid name"))
}
