//! A cabinet's process, its lock board and its doors, as the agent's driver and bus do it.

use std::collections::{BTreeMap, BTreeSet};

use cabinet_core::{
    CabinetCore, CompartmentConfig, Config, DeviceKey, EVENTS, Effect, EntryRefusal, EntryResult, Input, MachineStart,
    Moment, SessionId, event_key,
};
use schemas::cbor::{self, Blob};
use schemas::crypto::codes::Pepper;
use schemas::ids::{CabinetId, Name};
use schemas::messages::{
    BootId, Challenge, Compartment, CompartmentInfo, Down, Epoch, Event, Fact, Hello, Instance, OrderKey, Salt,
    Telemetry, Uplink, Verifier,
};
use schemas::step::{Step, Store as _, Write, number_of_key};
use schemas::topics::Up;

use super::board::Bus;
use super::changes::{FIVE, Layout};
use super::couriers::{CourierBook, brought_in};
use super::crash::Place;
use super::dice::Dice;
use super::factors::{FactorBook, derive_answer};
use super::ledger::{Cab, Cause, Seen};
use super::names;
use super::people::Attendant;
use super::sabotage::Sabotage;
use super::screen::Entry;
use super::signer::derive;
use super::store::MemStore;
use super::walk_ins::{begun_in, facts_in};
use super::world::{Happening, Mark, World, constant};

/// A compartment as it really is.
#[derive(Debug, Default)]
pub(super) struct Door {
    pub(super) open: bool,
    pub(super) goods: BTreeSet<OrderKey>,
    pub(super) sensor: bool,
    pub(super) attendant: Option<Attendant>,
    /// The agent has heard that it is open.
    pub(super) noticed: bool,
    /// The last pulse of its lock was a remote one.
    pub(super) remote: bool,
    /// Counts the visits: who waited for this door before closes it no more.
    pub(super) visit: u64,
}

/// Where a step comes from.
struct Origin {
    /// Name of its input.
    kind: &'static str,
    cause: Cause,
    /// The entry whose verifier was computed.
    derived: Option<u64>,
    /// What the book that came says of couriers, and of second factors.
    book: Option<(CourierBook, FactorBook)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    Crash,
    Power,
    /// The store failed: the process goes on, and builds everything anew a second later.
    Store,
}

impl Death {
    fn name(self) -> &'static str {
        match self {
            Self::Crash => "agent crash",
            Self::Power => "cabinet power cut",
            Self::Store => "cabinet store failed",
        }
    }
}

pub(super) struct Cabinet {
    pub(super) id: CabinetId,
    instance: Instance,
    device_key: [u8; 32],
    pub(super) store: MemStore,
    core: Option<CabinetCore>,
    pub(super) run: u64,
    boot: BootId,
    machine: MachineStart,
    /// When the boot clock was zero.
    booted: u64,
    /// Its store lives on the reserve.
    pub(super) disk_low: bool,
    /// The machine is suspended until then.
    pub(super) asleep_until: u64,
    pub(super) conn: Option<u64>,
    pub(super) epoch: Option<Epoch>,
    tokens: BTreeMap<u64, (u64, u64)>,
    next_token: u64,
    pub(super) doors: BTreeMap<Compartment, Door>,
    pub(super) entries: BTreeMap<u64, Entry>,
    /// Whoever has entered a deposit code last, and the order that they bring.
    pub(super) depositor: Option<(SessionId, OrderKey)>,
    pub(super) next_entry: u64,
    pub(super) session: Option<SessionId>,
    /// The session of whoever came in by a break-glass code, and the same while they are leaving.
    pub(super) by_glass: Option<SessionId>,
    pub(super) leaving: Option<SessionId>,
    /// Sessions of couriers.
    pub(super) couriers: BTreeMap<SessionId, Name>,
    /// The sabotage of a shell that has a courier's presses done in the session of staff.
    pub(super) mixed_up: Option<Name>,
    /// By what it derives what is typed, as its last entry had it.
    pub(super) binding: Option<(Salt, Pepper)>,
    pub(super) bus: Bus,
    /// Doors of which this run has heard.
    heard: BTreeSet<Compartment>,
    /// Doors that an emergency has still to open.
    pub(super) emergency: BTreeSet<Compartment>,
    /// What lay in these was exchanged, and staff have still to say so.
    pub(super) exchanged: BTreeSet<Compartment>,
    /// Somebody looks into both of these to carry what is in the first to the second.
    pub(super) carrying: Option<[Compartment; 2]>,
    /// A lock may stick for a while.
    pub(super) stuck: BTreeMap<Compartment, u64>,
}

impl Cabinet {
    pub(super) fn new(cab: Cab, dice: &mut Dice) -> Self {
        Self {
            id: constant(["north", "south"][cab]),
            instance: Instance(dice.bytes()),
            device_key: dice.bytes(),
            store: MemStore::default(),
            core: None,
            run: 0,
            boot: BootId([0; 8]),
            machine: MachineStart(dice.bytes()),
            booted: 0,
            disk_low: false,
            asleep_until: 0,
            conn: None,
            epoch: None,
            tokens: BTreeMap::new(),
            next_token: 0,
            doors: doors_of(FIVE),
            entries: BTreeMap::new(),
            depositor: None,
            next_entry: 0,
            session: None,
            by_glass: None,
            leaving: None,
            couriers: BTreeMap::new(),
            mixed_up: None,
            binding: None,
            bus: Bus::default(),
            heard: BTreeSet::new(),
            emergency: BTreeSet::new(),
            exchanged: BTreeSet::new(),
            carrying: None,
            stuck: BTreeMap::new(),
        }
    }

    /// Before it is started for the first time.
    pub(super) fn furnish(&mut self, layout: Layout) {
        self.doors = doors_of(layout);
    }

    pub(super) fn is_up(&self) -> bool {
        self.core.is_some()
    }

    pub(super) fn instance(&self) -> Instance {
        self.instance
    }

    pub(super) fn core(&self) -> Option<&CabinetCore> {
        self.core.as_ref()
    }

    pub(super) fn boot_millis(&self, now: u64) -> u64 {
        now - self.booted
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        let due = self.core.as_ref()?.poll_timeout()?.saturating_add(self.booted);
        Some(due.max(self.asleep_until))
    }

    pub(super) fn boot(&self) -> BootId {
        self.boot
    }

    /// This run has heard of the door.
    pub(super) fn hear(&mut self, at: Compartment) {
        self.heard.insert(at);
    }

    pub(super) fn has_heard(&self, at: Compartment) -> bool {
        self.heard.contains(&at)
    }
}

fn doors_of(layout: Layout) -> BTreeMap<Compartment, Door> {
    let door = |((_, _, sensor), number): (&(_, _, bool), u16)| {
        Some((Compartment::new(number)?, Door { sensor: *sensor, ..Door::default() }))
    };
    layout.iter().zip(1..).filter_map(door).collect()
}

impl World {
    fn config(&self, cab: Cab) -> Config {
        let cabinet = &self.cabs[cab];
        let layout = self.ledger.layout;
        let mixed_up = self.sabotage == Some(Sabotage::SizesMixedUp);
        let compartments = layout.iter().zip(1..).filter_map(|((size, attributes, sensor), number)| {
            let number = Compartment::new(number)?;
            let size = if mixed_up { layout[layout.len() - usize::from(number.number())].0 } else { *size };
            let info = CompartmentInfo { number, size, attributes: *attributes, in_service: true };
            Some(CompartmentConfig { info, occupancy_sensor: *sensor })
        });
        Config {
            tenant: self.tenant.clone(),
            cabinet: cabinet.id.clone(),
            instance: cabinet.instance,
            roots: self.signer.roots(),
            compartments: compartments.collect(),
            device_key: DeviceKey(cabinet.device_key),
            agent: "sim".into(),
            boot: cabinet.boot,
            machine: cabinet.machine,
            telemetry_every_millis: 60_000,
            app_token: self.apps,
            receipt: None,
        }
    }

    pub(super) fn start_cabinet(&mut self, cab: Cab) {
        if self.cabs[cab].is_up() {
            return;
        }
        if self.cabs[cab].store.is_full() {
            // It would open, and fail with its first commit.
            return self.later(1_000, Happening::CabinetStarts(cab));
        }
        if self.sabotage == Some(Sabotage::HistoryAgain) && self.rough {
            self.tell_history_again(cab);
        }
        let boot = BootId(self.dice.bytes());
        let cabinet = &mut self.cabs[cab];
        cabinet.run += 1;
        cabinet.heard.clear();
        cabinet.boot = boot;
        let config = self.config(cab);
        let moment = Moment { boot_millis: self.cabs[cab].boot_millis(self.now), entropy: self.dice.bytes() };
        let opened = CabinetCore::open(config, &self.cabs[cab].store, &moment);
        let (core, step) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.see(Seen::Opened(Err(format!("the store of cabinet {cab}: {error:?}")))),
        };
        self.tell(|| format!("cabinet {cab} starts at boot clock {}", moment.boot_millis));
        self.cabs[cab].core = Some(core);
        self.ledger.cabinet_started(cab, self.now);
        self.finish(
            cab,
            step,
            &Origin { kind: "start", cause: Cause::Nobody("a start"), derived: None, book: None },
            None,
        );
        let keyset = self.signer.keyset();
        self.take_cabinet(cab, Input::Keyset(keyset), None);
        self.report_silent_boards(cab);
        if self.cabs[cab].disk_low {
            self.set_disk_low(cab, true);
        }
        let run = self.cabs[cab].run;
        let doors: Vec<_> = self.cabs[cab].doors.keys().copied().collect();
        for at in doors {
            let wait = self.dice.between(300, 900);
            self.later(wait, Happening::SensorReports { cab, run, at });
        }
        let wait = self.dice.between(10, 3_000);
        self.later(wait, Happening::Connects(cab));
    }

    pub(super) fn crash_cabinet(&mut self, cab: Cab, power: bool) {
        self.end_cabinet(cab, if power { Death::Power } else { Death::Crash });
    }

    /// The agent is gone, or what it had in memory: after a failed commit nothing of it is trusted.
    fn end_cabinet(&mut self, cab: Cab, death: Death) {
        if self.cabs[cab].core.take().is_none() {
            return;
        }
        self.crashes += u64::from(death != Death::Store);
        self.coverage.count("faults", death.name());
        self.tell(|| format!("cabinet {cab}: {}", death.name()));
        let cabinet = &mut self.cabs[cab];
        cabinet.session = None;
        cabinet.by_glass = None;
        cabinet.tokens.clear();
        cabinet.entries.clear();
        cabinet.depositor = None;
        cabinet.couriers.clear();
        cabinet.emergency.clear();
        let under_way = cabinet.bus.abandon();
        // The last bytes to the bus may have left just before the end.
        for (pulse, at, not_after) in under_way {
            if self.cabs[cab].boot_millis(self.now) <= not_after && self.dice.one_in(2) {
                self.coverage.count("faults", "pulse in the last moment");
                self.pulse_lock(cab, pulse, at);
            }
        }
        if let Some(conn) = self.cabs[cab].conn.take() {
            let notices = self.dice.below(90_000);
            self.cut(conn, notices, 0);
        }
        let wait = match death {
            Death::Crash | Death::Power => self.dice.between(500, 120_000),
            Death::Store => self.dice.between(1_000, 1_500),
        };
        self.later(wait, Happening::CabinetStarts(cab));
        if death == Death::Power {
            self.cabs[cab].asleep_until = 0;
            // The boot clock begins when the machine does.
            self.cabs[cab].machine = MachineStart(self.dice.bytes());
            self.cabs[cab].booted = self.now;
        }
    }

    pub(super) fn tick_cabinet(&mut self, cab: Cab) {
        if self.sabotage != Some(Sabotage::NoTicks) || self.now < 600_000 {
            self.take_cabinet(cab, Input::Tick, None);
        }
        if let Some(core) = self.cabs[cab].core() {
            let (now, next) = (self.cabs[cab].boot_millis(self.now), core.poll_timeout());
            self.see(Seen::Ticked { who: format!("cabinet {cab}"), now, next });
        }
    }

    /// Somebody's timer fires before its time.
    pub(super) fn tick_cabinet_early(&mut self, cab: Cab) {
        let mut moment = Moment { boot_millis: self.cabs[cab].boot_millis(self.now), entropy: self.dice.bytes() };
        let hasty = self.sabotage == Some(Sabotage::HastyTimer);
        if let Some(due) = self.cabs[cab].core().and_then(CabinetCore::poll_timeout).filter(|_| hasty) {
            moment.boot_millis = due;
        }
        let is_early = |core: &CabinetCore| core.poll_timeout().is_none_or(|due| moment.boot_millis < due);
        if self.cabs[cab].asleep_until <= self.now
            && let Some(core) = self.cabs[cab].core.as_mut().filter(|core| hasty || is_early(core))
        {
            let step = core.handle(Input::Tick, &moment);
            let (writes, effects) = (step.writes.len(), step.effects.len());
            self.see(Seen::TickedEarly { who: format!("cabinet {cab}"), writes, effects });
        }
    }

    /// Hands one fact to the core, commits, acts. `down`: the token of a message, for its acknowledgement.
    pub(super) fn take_cabinet(&mut self, cab: Cab, input: Input, down: Option<u64>) {
        if self.cabs[cab].asleep_until > self.now {
            // Whoever stands there gets no answer. What comes over a wire waits (`sleeps_through`).
            return;
        }
        let derived = if let Input::Derived { entry, .. } = &input { Some(*entry) } else { None };
        let origin =
            Origin { kind: kind_of(&input), cause: self.cause(cab, &input), derived, book: self.book_of(&input) };
        let boot_millis = self.cabs[cab].boot_millis(self.now);
        let moment = Moment { boot_millis, entropy: self.dice.bytes() };
        let Some(core) = &mut self.cabs[cab].core else { return };
        let line = self.shows.then(|| match &input {
            Input::Down { payload, .. } => format!("message of {} bytes", payload.len()),
            Input::Keyset(_) | Input::Tick | Input::HelloAcked | Input::EventsAcked { .. } => origin.kind.to_owned(),
            other => format!("{other:?}"),
        });
        let step = core.handle(input, &moment);
        self.note_step(origin.kind, &step);
        let routine = step.writes.is_empty()
            && step.effects.iter().all(|effect| matches!(effect, Effect::SendTelemetry(_) | Effect::AckDown { .. }));
        if let Some(line) = line.filter(|_| !routine) {
            self.tell(|| format!("cabinet {cab} <- {line}: {} writes, {:?}", step.writes.len(), Brief(&step.effects)));
        }
        self.finish(cab, step, &origin, down);
    }

    fn book_of(&self, input: &Input) -> Option<(CourierBook, FactorBook)> {
        let Input::Down { payload, .. } = input else { return None };
        let Ok(Down::Codes(signed)) = cbor::decode::<Down>(payload) else { return None };
        self.signer.signed_books.get(&signed.envelope.0).cloned()
    }

    /// What gives a right to open in this input, as an observer knows it.
    fn cause(&self, cab: Cab, input: &Input) -> Cause {
        if let Some(name) = &self.cabs[cab].mixed_up {
            return Cause::Courier(name.clone());
        }
        match input {
            Input::Down { payload, .. } => match cbor::decode::<Down>(payload) {
                Ok(Down::Command(signed)) => match self.signer.commands.get(&signed.envelope.0) {
                    Some((to, command)) if *to == self.cabs[cab].id => Cause::Command(Box::new(command.clone())),
                    Some(_) => Cause::Nobody("a command for another cabinet"),
                    None => Cause::Nobody("a forged command"),
                },
                Ok(Down::Codes(signed)) => match self.signer.opens.get(&signed.envelope.0) {
                    Some((to, open)) if *to == self.cabs[cab].id => Cause::App(Box::new(open.clone())),
                    Some(_) => Cause::Nobody("an opening at another cabinet"),
                    None => Cause::Nobody("a message of the codes key that opens nothing"),
                },
                _ => Cause::Nobody("a message that is no command"),
            },
            Input::Derived { entry, .. } => match self.cabs[cab].entries.get(entry) {
                Some(Entry { deposit: Some(order), .. }) => Cause::Deposit(order.clone()),
                Some(Entry { answer: Some(order), verifier, .. }) => {
                    Cause::Answer { order: order.clone(), verifier: *verifier }
                }
                Some(held) => Cause::Entry { entry: *entry, orders: held.orders.clone() },
                None => Cause::Nobody("an entry of nobody"),
            },
            Input::Load { session, order, .. }
            | Input::Retrieve { session, order }
            | Input::Undo { session, order } => {
                if self.cabs[cab].session == Some(*session) {
                    Cause::Staff(order.clone())
                } else {
                    Cause::Nobody("a session of nobody")
                }
            }
            Input::Release { session, order } if self.cabs[cab].session == Some(*session) => {
                Cause::Release(order.clone())
            }
            Input::Release { .. } => Cause::Nobody("a session of nobody"),
            Input::Look { session, .. } | Input::OpenAll { session } if self.cabs[cab].session == Some(*session) => {
                Cause::Look
            }
            Input::Swap { session, one, other } if self.cabs[cab].session == Some(*session) => {
                self.swapped_by(cab, [*one, *other])
            }
            Input::Look { .. } | Input::Swap { .. } | Input::OpenAll { .. } => Cause::Nobody("a session of nobody"),
            Input::WalkIn { session, .. } if self.cabs[cab].session == Some(*session) => Cause::Begins,
            Input::WalkIn { .. } => Cause::Nobody("a session of nobody"),
            Input::Deposit { session, .. } if self.cabs[cab].couriers.contains_key(session) => {
                Cause::Courier(self.cabs[cab].couriers[session].clone())
            }
            Input::Deposit { session, .. } => match &self.cabs[cab].depositor {
                Some((held, order)) if held == session => Cause::Deposit(order.clone()),
                Some(_) | None => Cause::Nobody("a session of nobody"),
            },
            Input::Bring { .. } | Input::BringTo { .. } => Cause::Brings,
            Input::TryAgain { .. } => Cause::Again,
            Input::Report { .. } => Cause::Nobody("a report"),
            Input::PulseResult { pulse, sent: false } => Cause::Retry { pulse: *pulse },
            Input::PulseResult { .. } => Cause::Nobody("a pulse that was sent"),
            Input::Tick => Cause::Nobody("time"),
            Input::Door { .. } | Input::Board { .. } | Input::Disk { .. } => Cause::Nobody("a sensor"),
            Input::Keyset(_)
            | Input::Connected
            | Input::Disconnected
            | Input::EventsAcked { .. }
            | Input::HelloAcked
            | Input::Entered { .. }
            | Input::StaffEntered { .. }
            | Input::CourierEntered { .. }
            | Input::Answered { .. }
            | Input::StaffLogout { .. }
            | Input::ConfirmLoaded { .. }
            | Input::ConfirmSwap { .. }
            | Input::Found { .. }
            | Input::Cleaning { .. }
            | Input::Service { .. }
            | Input::Maintenance { .. }
            | Input::DropWalkIn { .. }
            | Input::NotTaken { .. } => Cause::Nobody("an input that opens nothing"),
        }
    }

    /// Commits, then acts, unless the agent dies or its store fails on the way.
    fn finish(&mut self, cab: Cab, step: Step<Effect>, of: &Origin, down: Option<u64>) {
        self.see_challenges(cab, &step.effects);
        self.sabotage_before_commit(cab, &step, down);
        let dies = self.strikes("the agent dies in a step", 150).then(|| self.dice.index(step.effects.len() + 3));
        let often = if self.sabotage == Some(Sabotage::SpeakAfterFailedCommit) { 9 } else { 400 };
        let fails = self.strikes("a commit of a cabinet fails", often);
        let ends = dies.is_some() || fails || self.cabs[cab].store.is_full();
        let shape = if ends { self.cabinet_shape(cab, of.kind, &step.writes, &step.effects) } else { 0 };
        if dies == Some(0) {
            self.process_ends("cabinet", Place::BeforeCommit, shape);
            return self.crash_cabinet(cab, self.now.is_multiple_of(2));
        }
        let writes = self.sabotage_writes(step.writes);
        if dies == Some(1) || fails {
            let (reached, death) = (self.dice.one_in(2), if fails { Death::Store } else { Death::Crash });
            self.process_ends("cabinet", if reached { Place::CommitKept } else { Place::CommitLost }, shape);
            return self.cut_commit(cab, &Step { writes, effects: step.effects }, of, reached, death);
        }
        if self.cabs[cab].store.commit(&writes).is_err() {
            self.process_ends("cabinet", Place::DiskFull, shape);
            return self.end_cabinet(cab, Death::Store);
        }
        self.see_cabinet_step(cab, &writes, &step.effects, of);
        for (done, effect) in step.effects.into_iter().enumerate() {
            if dies == Some(done + 2) {
                self.process_ends("cabinet", Place::BeforeEffect(done), shape);
                return self.crash_cabinet(cab, done.is_multiple_of(2));
            }
            match effect {
                Effect::AckDown { token } => self.ack_down(cab, token, &writes),
                effect => self.act_cabinet(cab, effect),
            }
        }
        if dies.is_some() {
            self.process_ends("cabinet", Place::AfterEffects, shape);
            self.crash_cabinet(cab, false);
        }
    }

    /// The end comes in the middle of a commit. The step may be on the disk or not; it is neither said nor done.
    fn cut_commit(&mut self, cab: Cab, step: &Step<Effect>, of: &Origin, reached: bool, death: Death) {
        let Step { writes, effects } = step;
        let store = &mut self.cabs[cab].store;
        store.begin(writes);
        store.break_off(reached);
        if reached {
            self.see_cabinet_step(cab, writes, effects, of);
        }
        if self.sabotage == Some(Sabotage::SpeakAfterFailedCommit) && death == Death::Store {
            for effect in effects {
                if let Effect::Pulse { pulse, compartment, .. } = effect {
                    self.pulse_lock(cab, *pulse, *compartment);
                }
            }
        }
        self.end_cabinet(cab, death);
    }

    /// A step is on the disk.
    fn see_cabinet_step(&mut self, cab: Cab, writes: &[Write], effects: &[Effect], of: &Origin) {
        self.ledger.cabinet_stepped(cab, self.now);
        self.see_epoch(cab, writes);
        self.see_cabinet_writes(cab, writes);
        if let Some((couriers, book)) = &of.book
            && facts_in(writes).any(|fact| matches!(fact, Fact::BookApplied(_)))
        {
            self.see(Seen::CouriersTaken { cab, couriers: couriers.clone() });
            self.see(Seen::FactorsTaken { cab, book: book.clone() });
        }
        let begun = match of.cause {
            Cause::Begins => Some(begun_in(writes)),
            Cause::Brings => Some(brought_in(writes)),
            _ => None,
        };
        self.see_pulses(cab, effects, begun.as_ref().unwrap_or(&of.cause));
        self.see_typed(cab, (writes, effects), of);
        self.see_screen(cab);
    }

    /// A typed code was compared with the book.
    fn see_typed(&mut self, cab: Cab, (writes, effects): (&[Write], &[Effect]), of: &Origin) {
        let typed = |number: &u64| self.cabs[cab].entries.get(number).is_some_and(|entry| entry.typed);
        let Some(number) = of.derived.filter(typed) else { return };
        for effect in effects {
            if let Effect::EntryResult { entry, result } = effect
                && *entry == number
            {
                if self.cabs[cab].entries.get(&number).is_some_and(|entry| entry.answer.is_some()) {
                    let wrong = writes.iter().any(|write| write.key == b"lockout");
                    self.see_answer(cab, result, wrong);
                    continue;
                }
                let wrong = matches!(result, EntryResult::Refused(EntryRefusal::Wrong) | EntryResult::Locked { .. });
                self.see(Seen::TypedLookedAt { cab, now: self.now, wrong });
            }
        }
    }

    fn sabotage_before_commit(&mut self, cab: Cab, step: &Step<Effect>, down: Option<u64>) {
        if let (Some(Sabotage::CabinetAckBeforeCommit), Some(token)) = (self.sabotage, down) {
            self.ack_down(cab, token, &step.writes);
        }
        if self.sabotage == Some(Sabotage::PulseBeforeCommit) {
            for effect in &step.effects {
                if let Effect::Pulse { pulse, compartment, .. } = effect {
                    self.pulse_lock(cab, *pulse, *compartment);
                }
            }
        }
    }

    fn sabotage_writes(&mut self, mut writes: Vec<Write>) -> Vec<Write> {
        if let Some(Sabotage::CabinetForgets(table)) = self.sabotage
            && self.rough
        {
            let dice = &mut self.dice;
            writes.retain(|write| write.table.0 != table || !dice.one_in(3));
        }
        let forgets = match self.sabotage {
            Some(Sabotage::CabinetForgetsLoads) => writes.iter().any(|write| has_fact(write, is_load)),
            Some(Sabotage::CabinetForgetsCollections) => writes.iter().any(|write| has_fact(write, is_collection)),
            _ => false,
        };
        if forgets {
            writes.retain(|write| !["bays", "credentials", "orders"].contains(&write.table.0));
        }
        if self.sabotage == Some(Sabotage::OneOfSeveralLeft) {
            let collected = writes.iter().enumerate().filter(|(_, write)| has_fact(write, is_collection));
            if let Some((last, _)) = collected.skip(1).last() {
                writes.remove(last);
            }
        }
        if self.sabotage == Some(Sabotage::GlassMended) && writes.iter().any(|write| has_fact(write, is_broken_glass)) {
            writes.retain(|write| write.key != b"book");
        }
        if self.sabotage == Some(Sabotage::LockoutForgotten) && self.rough {
            writes.retain(|write| write.key != b"lockout");
        }
        if self.sabotage == Some(Sabotage::EpochReused) && self.rough {
            writes.retain(|write| write.key != b"identity");
        }
        writes
    }

    fn see_challenges(&mut self, cab: Cab, effects: &[Effect]) {
        for effect in effects {
            let made: Option<Challenge> = match effect {
                Effect::SendHello(bytes) => cbor::decode::<Hello>(bytes).ok().map(|hello| {
                    self.cabs[cab].epoch = Some(hello.epoch);
                    hello.challenge
                }),
                Effect::SendChallenge(bytes) => cbor::decode(bytes).ok(),
                Effect::SendTelemetry(bytes) => cbor::decode::<Telemetry>(bytes).ok().map(|sample| sample.challenge),
                Effect::SendEvents { challenge, .. } => Some(*challenge),
                Effect::AckDown { .. }
                | Effect::Derive { .. }
                | Effect::DeriveAnswer { .. }
                | Effect::Pulse { .. }
                | Effect::EntryResult { .. }
                | Effect::Screen(_)
                | Effect::Erase(_)
                | Effect::Discard => None,
            };
            if let Some(challenge) = made {
                let boot_millis = self.cabs[cab].boot_millis(self.now);
                self.see(Seen::ChallengeMade { cab, challenge, boot_millis });
            }
        }
    }

    fn see_cabinet_writes(&mut self, cab: Cab, writes: &[Write]) {
        let mut facts = Vec::new();
        for write in writes.iter().filter(|write| write.table == EVENTS) {
            if let (Some(record), Some(n)) = (&write.value, number_of_key(&write.key)) {
                if let Ok(event) = cbor::decode::<Event>(record) {
                    self.count_fact(&event);
                    self.tell(|| format!("cabinet {cab} records {n}: {:?}", event.fact));
                    facts.push(event.fact);
                }
                self.see(Seen::EventWritten { cab, n, record: record.clone() });
            }
        }
        self.see_collections(cab, &facts);
    }

    fn count_fact(&mut self, event: &Event) {
        self.coverage.count("facts", names::of_fact(&event.fact));
        match &event.fact {
            Fact::CommandRefused(refused) => self.coverage.count("commands refused", refused.reason.as_str()),
            Fact::CredentialRefused(refused) => self.coverage.count("credentials refused", refused.reason.as_str()),
            Fact::BookRefused(refused) => self.coverage.count("books refused", refused.reason.as_str()),
            Fact::UnlockDone(done) => self.coverage.count("outcomes", done.outcome.as_str()),
            _ => {}
        }
    }

    fn see_pulses(&mut self, cab: Cab, effects: &[Effect], cause: &Cause) {
        for effect in effects {
            if let Effect::Pulse { pulse, compartment, not_after } = effect {
                let cabinet = &self.cabs[cab];
                let (boot, boot_millis) = (cabinet.boot, cabinet.boot_millis(self.now));
                let (pulse, at, not_after) = (*pulse, *compartment, *not_after);
                let cause = self.cause_of_pulse(cab, at, cause);
                let held_back = self.held_back_in(cab, at);
                let cause_seen = cause.clone();
                let seen =
                    Seen::PulseOrdered { cab, boot, boot_millis, pulse, at, not_after, cause: cause_seen, held_back };
                self.see(seen);
                if let Cause::Command(command) = &cause {
                    self.somebody_was_sent(cab, at, command);
                }
                if let Cause::App(open) = &cause {
                    self.app_user_waits(cab, at, &open.order);
                }
            }
        }
    }

    /// The PUBACK of a message, whose step wrote these rows.
    fn ack_down(&mut self, cab: Cab, token: u64, writes: &[Write]) {
        let store = &self.cabs[cab].store;
        let on_disk = writes.iter().enumerate().all(|(at, write)| {
            let again = |later: &Write| later.table == write.table && later.key == write.key;
            writes[at + 1..].iter().any(again) || store.get(write.table, &write.key) == write.value.as_ref()
        });
        self.see(Seen::DownAcked { on_disk });
        let Some((conn, packet)) = self.cabs[cab].tokens.remove(&token) else { return };
        let delay = self.dice.between(5, 200);
        if let Some(wire) = self.wires.get_mut(&conn) {
            let at = wire.up(self.now, delay);
            self.at(at, Happening::DownAcked { conn, packet });
        }
    }

    fn act_cabinet(&mut self, cab: Cab, effect: Effect) {
        match effect {
            // Answered in `finish`, where its rows are known.
            Effect::AckDown { .. } => {}
            // Nobody wipes a cabinet here: a schedule's invariants are about what goes on.
            Effect::Erase(_) | Effect::Discard => {}
            Effect::SendHello(payload) => self.send_up(cab, Up::Hello, payload, Mark::Hello),
            Effect::SendChallenge(payload) => self.send_up(cab, Up::Challenge, payload, Mark::Challenge),
            Effect::SendTelemetry(payload) => self.send_up(cab, Up::Telemetry, payload, Mark::Telemetry),
            Effect::SendEvents { from, to, challenge, epoch } => self.send_events(cab, (from, to), challenge, epoch),
            Effect::Derive { entry, secret, salt, pepper } => {
                let verifier = derive(&secret, &salt, &pepper);
                self.cabs[cab].binding = Some((salt, pepper));
                self.derived_soon(cab, entry, verifier, verifier);
            }
            Effect::DeriveAnswer { entry, answer, order, salt, pepper } => {
                let typed = derive_answer(answer.reveal(), &order, &salt, &pepper);
                let told = self.believed_answer(cab).unwrap_or(typed);
                self.shell_tries_answers(cab);
                self.derived_soon(cab, entry, typed, told);
            }
            Effect::Pulse { pulse, compartment, not_after } => self.order_pulse(cab, pulse, compartment, not_after),
            Effect::EntryResult { entry, result } => self.answered(cab, entry, result),
            Effect::Screen(note) => self.screen(cab, note),
        }
    }

    /// What somebody typed is derived; the core is told `told`, which is the same but for a sabotage.
    fn derived_soon(&mut self, cab: Cab, entry: u64, typed: Verifier, told: Verifier) {
        let lost = self.fails("derivation lost", 60);
        if let Some(entered) = self.cabs[cab].entries.get_mut(&entry) {
            entered.verifier = Some(typed);
            // Whoever waits for it is told to come again.
            entered.busy |= lost;
        }
        if !lost {
            let (wait, run) = (self.dice.between(20, 400), self.cabs[cab].run);
            self.later(wait, Happening::Derives { cab, run, entry, verifier: told });
        }
    }

    fn send_up(&mut self, cab: Cab, up: Up, payload: Vec<u8>, mark: Mark) {
        let Some(conn) = self.cabs[cab].conn else { return };
        self.mix(&payload);
        let slow = self.fails("uplink slow", 20);
        let delay = if slow { self.dice.below(9_000) } else { self.dice.between(5, 200) };
        let double = mark != Mark::Telemetry && self.fails("uplink doubled", 20);
        // A sample goes with QoS 0 and may be lost alone.
        if mark == Mark::Telemetry && self.fails("sample lost", 5) {
            return;
        }
        let taken_away = self.forger_sees(cab, up, &payload, mark);
        let Some(wire) = self.wires.get_mut(&conn) else { return };
        if taken_away {
            let at = wire.down(self.now, delay);
            return self.at(at, Happening::UpAcked { conn, mark, taken: true });
        }
        let at = wire.up(self.now, delay);
        self.at(at, Happening::UpArrives { conn, up, payload: payload.clone(), mark });
        if double {
            self.at(at, Happening::UpArrives { conn, up, payload, mark: Mark::Double });
        }
    }

    fn send_events(&mut self, cab: Cab, (from, to): (u64, u64), challenge: Challenge, epoch: Epoch) {
        let count = usize::try_from(to + 1 - from).unwrap_or(0);
        let rows = self.cabs[cab].store.scan(EVENTS, &event_key(from), count).unwrap_or_default();
        for ((_, record), n) in rows.into_iter().zip(from..=to) {
            let payload = cbor::encode(&Uplink { challenge, epoch, n, record: Blob(record) });
            self.send_up(cab, Up::Event, payload, Mark::Event { n, epoch });
        }
    }

    pub(super) fn up_acked(&mut self, conn: u64, mark: Mark, taken: bool) {
        let Some(cab) = self.wires.get(&conn).filter(|wire| wire.down).map(|wire| wire.cab) else { return };
        if self.cabs[cab].conn != Some(conn) {
            return;
        }
        match (mark, taken) {
            (_, false) => self.cut(conn, 200, 0),
            (Mark::Hello, true) => self.take_cabinet(cab, Input::HelloAcked, None),
            (Mark::Event { .. }, true) if self.sabotage == Some(Sabotage::AcksLost) => {}
            (Mark::Event { n: up_to, .. }, true) => self.take_cabinet(cab, Input::EventsAcked { up_to }, None),
            (Mark::Challenge | Mark::Telemetry | Mark::Double, true) => {}
        }
    }

    pub(super) fn down_arrives(&mut self, conn: u64, payload: Vec<u8>, packet: Option<u64>) {
        let Some(cab) = self.wires.get(&conn).filter(|wire| wire.down).map(|wire| wire.cab) else { return };
        if self.cabs[cab].conn != Some(conn) {
            return;
        }
        self.hand_down(cab, payload, packet.map(|packet| (conn, packet)));
    }

    /// A message on the down topic, from whoever.
    pub(super) fn hand_down(&mut self, cab: Cab, payload: Vec<u8>, packet: Option<(u64, u64)>) {
        let cabinet = &mut self.cabs[cab];
        cabinet.next_token += 1;
        let token = cabinet.next_token;
        if let Some(packet) = packet {
            cabinet.tokens.insert(token, packet);
        }
        self.take_cabinet(cab, Input::Down { token, payload }, Some(token));
    }

    pub(super) fn cabinet_notices(&mut self, conn: u64) {
        let Some(cab) = self.cabs.iter().position(|cabinet| cabinet.conn == Some(conn)) else { return };
        self.cabs[cab].conn = None;
        self.cabs[cab].tokens.clear();
        self.take_cabinet(cab, Input::Disconnected, None);
        let wait = self.dice.between(500, 20_000);
        self.later(wait, Happening::Connects(cab));
    }
}

fn has_fact(write: &Write, is: fn(&Fact) -> bool) -> bool {
    let record = write.value.as_ref().filter(|_| write.table == EVENTS);
    record.and_then(|record| cbor::decode::<Event>(record).ok()).is_some_and(|event| is(&event.fact))
}

fn is_load(fact: &Fact) -> bool {
    matches!(fact, Fact::Loading(_) | Fact::Stored(_))
}

fn is_broken_glass(fact: &Fact) -> bool {
    matches!(fact, Fact::BreakGlassUsed(_))
}

fn is_collection(fact: &Fact) -> bool {
    matches!(fact, Fact::Collected(_))
}

fn kind_of(input: &Input) -> &'static str {
    match input {
        Input::Tick => "tick",
        Input::Keyset(_) => "keyset",
        Input::Connected => "connected",
        Input::Disconnected => "disconnected",
        Input::Down { .. } => "message",
        Input::EventsAcked { .. } => "events acknowledged",
        Input::HelloAcked => "hello acknowledged",
        Input::Entered { .. } | Input::StaffEntered { .. } | Input::CourierEntered { .. } => "entry",
        Input::Answered { .. } => "answer",
        Input::Derived { .. } => "derived",
        Input::StaffLogout { .. } => "logout",
        Input::Load { .. } => "load",
        Input::Retrieve { .. } => "retrieve",
        Input::ConfirmLoaded { .. } => "confirm",
        Input::TryAgain { .. } => "try again",
        Input::NotTaken { .. } => "not taken",
        Input::Door { .. } => "door",
        Input::PulseResult { .. } => "pulse result",
        Input::Board { .. } => "board",
        Input::Release { .. } => "release",
        Input::Undo { .. } => "undo",
        Input::Swap { .. } => "swap",
        Input::ConfirmSwap { .. } => "confirm swap",
        Input::Look { .. } => "look",
        Input::Found { .. } => "found",
        Input::Cleaning { .. } => "cleaning",
        Input::Service { .. } => "service",
        Input::Maintenance { .. } => "maintenance",
        Input::OpenAll { .. } => "open all",
        Input::Deposit { .. } => "deposit",
        Input::Bring { .. } | Input::BringTo { .. } => "courier",
        Input::Disk { .. } => "disk",
        Input::WalkIn { .. } => "walk-in",
        Input::DropWalkIn { .. } => "drop walk-in",
        Input::Report { .. } => "report",
    }
}

/// Effects by name: some hold codes.
struct Brief<'a>(&'a [Effect]);

impl std::fmt::Debug for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for effect in self.0 {
            match effect {
                Effect::AckDown { .. } => f.write_str("AckDown ")?,
                Effect::SendHello(_) => f.write_str("Hello ")?,
                Effect::SendChallenge(_) => f.write_str("Challenge ")?,
                Effect::SendTelemetry(_) => f.write_str("Telemetry ")?,
                Effect::SendEvents { from, to, .. } => write!(f, "Events({from}..={to}) ")?,
                Effect::Derive { entry, .. } | Effect::DeriveAnswer { entry, .. } => write!(f, "Derive({entry}) ")?,
                other => write!(f, "{other:?} ")?,
            }
        }
        Ok(())
    }
}
