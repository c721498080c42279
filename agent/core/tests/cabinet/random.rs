//! Random histories: people, doors that stick, a fleet that repeats itself, power cuts. Named invariants after each step.

use std::collections::{BTreeMap, BTreeSet};

use cabinet_core::{DepositWish, DoorSeen, Effect, EntryRefusal, EntryResult, Input, SessionId};
use schemas::messages::*;
use schemas::step::{Step, Store as _, Table};

use crate::couriers::put_courier;
use crate::deposits::{brought, put_deposit};
use crate::rig::*;

/// xorshift64*: the same history for the same seed, on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % below
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }
}

const ORDERS: [&str; 6] = ["A0", "A1", "A2", "A3", "A4", "A5"];
/// These are brought by couriers, with codes behind those of the recipients; staff load them as well.
const BROUGHT: [usize; 2] = [4, 5];

fn code(at: u64) -> String {
    format!("{:08}", 10_000_000 + at)
}

/// In every third history most orders may lie together.
fn put(seed: u64, at: usize, take_back: Option<TakeBack>) -> BookChange {
    let BookChange::PutOrder(put) = put_order(ORDERS[at], Size::S) else { unreachable!() };
    let shares = (seed.is_multiple_of(3) && at > 0).then(|| "house-7".parse().unwrap());
    PutOrder { take_back, shares, ..put }.into()
}

struct History {
    seed: u64,
    rig: Rig,
    dice: Dice,
    waiting: Vec<Pulse>,
    open: BTreeSet<u16>,
    session: Option<SessionId>,
    depositor: Option<SessionId>,
    courier: Option<SessionId>,
    sent: Vec<Command>,
    ordered: BTreeSet<u64>,
    /// Wrong answers since the last restart, by boot clock.
    wrong: Vec<u64>,
}

impl History {
    fn new(seed: u64) -> Self {
        // Every other one begins with two orders inside.
        let [first, second] = [code(0), code(1)];
        let stored = [(3, ORDERS[0], first.as_str()), (4, ORDERS[1], second.as_str())];
        let held = if seed.is_multiple_of(2) { stored.len() } else { 0 };
        let mut rig = Rig::holding(&stored[..held]);
        let mut changes = vec![put_courier("jo", 70, "55555555").into()];
        for (at, _) in ORDERS.iter().enumerate().take(held) {
            changes.push(put(seed, at, None));
        }
        for (at, id) in ORDERS.iter().enumerate().skip(held) {
            if BROUGHT.contains(&at) {
                changes.push(brought(id, Size::S, DepositKind::Courier));
                changes.push(put_deposit(at as u8 + 20, &code(at as u64 + 2), id).into());
            } else {
                changes.push(put(seed, at, None));
            }
            changes.push(credential(at as u8 + 1, &code(at as u64), &[id]).into());
        }
        rig.book(changes);
        let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Self {
            seed,
            rig,
            dice,
            waiting: Vec::new(),
            open: BTreeSet::new(),
            session: None,
            depositor: None,
            courier: None,
            sent: Vec::new(),
            ordered: BTreeSet::new(),
            wrong: Vec::new(),
        }
    }

    fn input(&mut self, input: Input) -> Vec<Effect> {
        let is_down = matches!(input, Input::Down { .. });
        let step = self.rig.step(input);
        self.invariant_an_acknowledgement_comes_first(is_down, &step);
        self.invariant_a_pulse_is_journalled_in_its_own_step(&step);
        let deadline = self.rig.core.poll_timeout();
        assert!(deadline.is_none_or(|at| at > self.rig.now), "a deadline that is over stays");
        self.rig.store.commit(&step.writes).unwrap();
        for pulse in pulses(&step.effects) {
            assert!(self.ordered.insert(pulse.pulse), "pulse {} ordered twice", pulse.pulse);
            self.waiting.push(pulse);
        }
        step.effects
    }

    fn invariant_an_acknowledgement_comes_first(&self, is_down: bool, step: &Step<Effect>) {
        let acked = step.effects.iter().position(|effect| matches!(effect, Effect::AckDown { .. }));
        assert_eq!(acked, is_down.then_some(0));
    }

    fn invariant_a_pulse_is_journalled_in_its_own_step(&self, step: &Step<Effect>) {
        for pulse in pulses(&step.effects) {
            let key = pulse.compartment.to_be_bytes();
            let journalled = step
                .writes
                .iter()
                .any(|write| write.table == Table("uses") && write.key == key && write.value.is_some());
            assert!(journalled, "{pulse:?} is not journalled");
            assert!(pulse.not_after >= self.rig.now);
        }
    }

    fn act(&mut self) {
        match self.dice.roll(100) {
            0..=14 => self.enter(),
            15 | 16 => self.deposit(),
            17 | 18 => self.courier(),
            19..=34 => self.staff(),
            35..=39 => self.command(),
            40..=42 => self.replay(),
            43..=60 => self.bus(),
            61..=74 => self.push_or_close(),
            75 => self.power_cut(),
            76..=78 => self.sensor(),
            79..=81 => self.fleet(),
            82..=86 => {
                let compartment = number(1 + self.dice.roll(5) as u16);
                let reported = self.dice.one_in(2).then_some(compartment);
                let again = self.dice.roll(5) > 0;
                let report = Input::Report { compartment: reported };
                self.input(if again { Input::TryAgain { compartment } } else { report });
            }
            _ => self.pass_time(),
        }
    }

    fn pass_time(&mut self) {
        let until = self.rig.now + [10, 100, 500, 1_000, 3_000, 3_000, 70_000, 1_000_000][self.dice.roll(8) as usize];
        while let Some(at) = self.rig.core.poll_timeout().filter(|at| *at <= until) {
            self.rig.now = at;
            self.input(Input::Tick);
        }
        self.rig.now = until;
    }

    fn enter(&mut self) {
        let text = if self.dice.one_in(8) { "00000000".to_owned() } else { code(self.dice.roll(8)) };
        let secret = schemas::crypto::codes::Secret::parse(&text).unwrap();
        let entry = self.rig.now << 8 | self.dice.roll(256);
        let effects = self.input(Input::Entered { entry, secret });
        if effects.iter().any(|effect| matches!(effect, Effect::Derive { .. })) && !self.dice.one_in(10) {
            let effects = self.input(Input::Derived { entry, verifier: verifier(&text) });
            let result = result(&effects);
            if let EntryResult::Depositing { session, .. } = result {
                self.depositor = Some(session);
            }
            self.invariant_guesses_are_few(&result);
        }
    }

    /// Whoever has entered a deposit code last presses something.
    fn deposit(&mut self) {
        let Some(session) = self.depositor else { return self.enter() };
        self.wish(session);
    }

    fn wish(&mut self, session: SessionId) -> Vec<Effect> {
        let wishes = [
            DepositWish::TooSmall,
            DepositWish::NotEmpty,
            DepositWish::Again,
            DepositWish::Inside,
            DepositWish::Inside,
            DepositWish::GiveUp,
        ];
        let wish = wishes[self.dice.roll(6) as usize];
        self.input(Input::Deposit { session, wish })
    }

    /// A courier comes, brings something, or says what became of it; the book may lose him, and get him back.
    fn courier(&mut self) {
        let Some(session) = self.courier else {
            if self.dice.one_in(4) {
                self.rig.book(vec![put_courier("jo", 70, "55555555").into()]);
                self.rig.book = self.rig.core.view().book;
            }
            let effects = self.rig.enter_courier("55555555");
            if let EntryResult::CourierSession { session, .. } = result(&effects) {
                self.courier = Some(session);
            }
            return;
        };
        let effects = match self.dice.roll(12) {
            0..=2 => {
                let label = ORDERS[BROUGHT[self.dice.roll(2) as usize]].parse().unwrap();
                self.input(Input::Bring { session, label })
            }
            3 => {
                let phone = schemas::phone::Phone::parse("+4915112345678").unwrap();
                let parcel = cabinet_core::NewParcel { phone, reference: None, size: Size::S };
                self.input(Input::BringTo { session, parcel })
            }
            4 => self.input(Input::StaffLogout { session }),
            5 => {
                let effects = self.rig.book(vec![DropCourier { name: "jo".parse().unwrap() }.into()]);
                self.rig.book = self.rig.core.view().book;
                effects
            }
            _ => self.wish(session),
        };
        if told(&effects).iter().any(|note| note.contains("NoSession")) {
            self.courier = None;
        }
    }

    fn invariant_guesses_are_few(&mut self, result: &EntryResult) {
        if matches!(result, EntryResult::Refused(EntryRefusal::Wrong) | EntryResult::Locked { .. }) {
            self.wrong.push(self.rig.now);
        }
        let day = self.wrong.iter().filter(|at| self.rig.now - **at < 86_400_000).count();
        assert!(day <= 20, "{day} guesses in a day");
        let recent = self.wrong.iter().filter(|at| self.rig.now - **at < 300_000).count();
        assert!(recent <= 9, "{recent} guesses in five minutes");
    }

    fn staff(&mut self) {
        let order = order(ORDERS[self.dice.roll(6) as usize]);
        let Some(session) = self.session else {
            let effects = self.rig.enter_staff("111111");
            if let EntryResult::StaffSession { session, .. } = result(&effects) {
                self.session = Some(session);
            }
            return;
        };
        let compartment = number(1 + self.dice.roll(5) as u16);
        let inside = self.dice.one_in(2);
        let swapping = self.rig.core.view().compartments.iter().any(|seen| seen.swaps_with.is_some());
        let input = match self.dice.roll(24) {
            // Whoever is asked answers sooner or later.
            _ if swapping && self.dice.one_in(2) => {
                Input::ConfirmSwap { session, compartment: self.swapping(), swapped: inside }
            }
            0..=6 => Input::Load { session, order, larger: self.dice.one_in(4) },
            7..=11 => Input::ConfirmLoaded { session, compartment, inside },
            12..=14 => Input::Retrieve { session, order },
            15 => Input::Undo { session, order },
            16 | 17 => Input::Look { session, compartment },
            18..=20 => Input::Swap { session, one: self.taken(), other: self.taken() },
            21 => match self.dice.roll(9) {
                0 => Input::OpenAll { session },
                6 | 7 => Input::WalkIn { session, order: crate::walk_in::new(None, Size::S) },
                8 => self.of_walk_in(session),
                more => Input::Cleaning { session, compartment, needed: more == 1 },
            },
            _ => {
                self.session = None;
                Input::StaffLogout { session }
            }
        };
        let effects = self.input(input);
        if told(&effects).iter().any(|note| note.contains("NoSession")) {
            self.session = None;
        }
    }

    /// Gives a walk-in up, loads it again, or takes it out.
    fn of_walk_in(&mut self, session: SessionId) -> Input {
        let order = self.walk_ins().pop().unwrap_or_else(|| order(ORDERS[0]));
        match self.dice.roll(4) {
            0 => Input::DropWalkIn { session, order },
            1 => Input::Load { session, order, larger: false },
            _ => Input::Retrieve { session, order },
        }
    }

    /// Those that were begun and not given up, the newest last.
    fn walk_ins(&self) -> Vec<OrderKey> {
        let mut live = Vec::new();
        for fact in self.rig.events() {
            match fact {
                Fact::WalkIn(began) => live.push(began.order),
                Fact::WalkInDropped(given_up) => live.retain(|order| *order != given_up.order),
                Fact::Collected(over) => live.retain(|order| *order != over.order),
                Fact::Retrieved(over) => live.retain(|order| *order != over.order),
                _ => {}
            }
        }
        live
    }

    /// A compartment that holds something, if there is one.
    fn taken(&mut self) -> Compartment {
        self.one_of(|seen| seen.allocated)
    }

    fn swapping(&mut self) -> Compartment {
        self.one_of(|seen| seen.swaps_with.is_some())
    }

    fn one_of(&mut self, wanted: impl Fn(&cabinet_core::CompartmentView) -> bool) -> Compartment {
        let seen = self.rig.core.view().compartments;
        let found: Vec<_> = seen.iter().filter(|seen| wanted(seen)).map(|seen| seen.number).collect();
        let drawn = self.dice.roll(found.len().max(1) as u64) as usize;
        found.get(drawn).copied().unwrap_or(number(1))
    }

    fn fresh_command(&mut self) -> Command {
        let at = 1 + self.dice.roll(5) as u16;
        let held = ORDERS.iter().map(|id| order(id)).nth(self.dice.roll(6) as usize);
        let expects = Expect::of(held.filter(|_| self.dice.one_in(2)).as_ref());
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(self.sent.len() as u64 + 1).to_be_bytes());
        let challenge =
            self.rig.challenge.unwrap_or(Challenge { boot: BootId([0; 8]), counter: 1, nonce: Nonce([0; 8]) });
        let action = match self.dice.roll(8) {
            0 | 1 => self.errand(at),
            _ => Unlock { compartment: number(at), expects }.into(),
        };
        Command { id: CommandId(id), challenge, issued: 0, action, requester: "operator:acme:eve".into() }
    }

    /// Somebody who is elsewhere has an order loaded, or taken out, or says what is inside.
    fn errand(&mut self, at: u16) -> Action {
        let order = order(ORDERS[self.dice.roll(6) as usize]);
        match self.dice.roll(6) {
            0 | 1 => {
                let compartment = self.dice.one_in(3).then(|| number(at));
                let size = (compartment.is_none() && self.dice.one_in(3)).then_some(Size::M);
                LoadOrder { order, compartment, size }.into()
            }
            2 => RetrieveOrder { order }.into(),
            _ => ConfirmOrder { order, inside: self.dice.one_in(2), retrieving: self.dice.one_in(4) }.into(),
        }
    }

    fn send_command(&mut self, command: &Command) {
        let envelope = signed(command, KeyPurpose::Unlock, &unlock_key());
        let payload = schemas::cbor::encode(&Down::from(Signed { envelope }));
        self.input(Input::Down { token: 1, payload });
    }

    fn command(&mut self) {
        self.rig.down(Ask {});
        let command = self.fresh_command();
        self.sent.push(command.clone());
        self.send_command(&command);
    }

    fn replay(&mut self) {
        if !self.sent.is_empty() {
            let command = self.sent[self.dice.roll(self.sent.len() as u64) as usize].clone();
            self.send_command(&command);
        }
    }

    /// The bus carries out what waits; locks stick now and then, and once in a while another one moves.
    fn bus(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let Pulse { pulse, compartment, not_after } = self.waiting.remove(0);
        let sent = self.rig.now <= not_after && !self.dice.one_in(6);
        self.input(Input::PulseResult { pulse, sent });
        if sent && !self.dice.one_in(4) {
            let moved = if self.dice.one_in(15) { 1 + self.dice.roll(5) as u16 } else { compartment };
            self.move_door(moved, true);
        }
    }

    fn move_door(&mut self, compartment: u16, open: bool) {
        let changed = if open { self.open.insert(compartment) } else { self.open.remove(&compartment) };
        if changed {
            self.report(compartment);
        }
    }

    fn report(&mut self, compartment: u16) {
        let door = if self.open.contains(&compartment) { DoorSeen::Open } else { DoorSeen::Closed };
        let occupancy = [UNKNOWN, EMPTY, EMPTY, EMPTY, OCCUPIED][self.dice.roll(5) as usize];
        self.input(Input::Door { compartment: number(compartment), door, occupancy });
    }

    fn push_or_close(&mut self) {
        match self.open.first().copied() {
            Some(compartment) if !self.dice.one_in(8) => self.move_door(compartment, false),
            _ if self.dice.one_in(10) => {
                let pried = 1 + self.dice.roll(5) as u16;
                self.move_door(pried, true);
            }
            _ => {}
        }
    }

    fn sensor(&mut self) {
        let compartment = 1 + self.dice.roll(5) as u16;
        if self.dice.one_in(2) {
            self.input(Input::Door { compartment: number(compartment), door: DoorSeen::Unknown, occupancy: UNKNOWN });
        } else {
            self.report(compartment);
        }
    }

    fn fleet(&mut self) {
        let newest = self.rig.events().len() as u64;
        match self.dice.roll(4) {
            0 => drop(self.input(Input::Disconnected)),
            1 => drop(self.rig.connect()),
            2 => drop(self.rig.send(Input::EventsAcked { up_to: newest })),
            _ => {
                let at = self.dice.roll(6) as usize;
                let why = [TakeBack::Overdue, TakeBack::Overdue, TakeBack::Recalled, TakeBack::Quarantined];
                let why = why[self.dice.roll(4) as usize];
                let take_back = self.dice.one_in(3).then_some(why);
                self.rig.book(vec![put(self.seed, at, take_back)]);
            }
        }
        self.rig.book = self.rig.core.view().book;
    }

    /// In the middle of a step: its rows may be on the disk or not, its effects never happen.
    fn power_cut(&mut self) {
        let compartment = number(1 + self.dice.roll(5) as u16);
        let step = self.rig.step(Input::TryAgain { compartment });
        if self.dice.one_in(2) {
            self.rig.store.commit(&step.writes).unwrap();
            self.ordered.extend(pulses(&step.effects).iter().map(|pulse| pulse.pulse));
        }
        // What the bus had not yet carried out dies with the agent; some of it has moved a lock without a report.
        for pulse in std::mem::take(&mut self.waiting) {
            if self.dice.one_in(3) {
                self.open.insert(pulse.compartment);
            }
        }
        self.rig.restart();
        self.wrong.clear();
        (self.session, self.depositor, self.courier) = (None, None, None);
        for compartment in 1..=5 {
            if !self.dice.one_in(4) {
                self.report(compartment);
            }
        }
        self.rig.connect();
    }

    fn check(&self) {
        self.invariant_an_order_is_in_one_compartment();
        self.invariant_a_command_has_at_most_one_outcome();
        self.invariant_a_deposit_code_stores_once();
        self.invariant_what_a_courier_began_is_somewhere();
        self.invariant_an_order_is_collected_at_most_once();
        self.invariant_a_command_opens_once();
        self.invariant_the_facts_tell_one_story();
    }

    /// A compartment that exchanges its order and has lost its partner was opened, and its own order is asked for.
    /// What a fleet that hears the facts would believe is never contradicted by the next one.
    fn invariant_the_facts_tell_one_story(&self) {
        let [mut inside, mut left] = [BTreeMap::<OrderKey, Compartment>::new(), BTreeMap::new()];
        for fact in self.rig.events() {
            let told = format!("{fact:?} with {inside:?}");
            match fact {
                Fact::Loading(load) => {
                    assert!(inside.values().all(|at| *at != load.compartment), "{told}");
                    assert!(inside.insert(load.order, load.compartment).is_none(), "{told}");
                }
                Fact::LoadingBeside(load) => {
                    let held = inside.iter().filter(|(_, at)| **at == load.compartment).map(|(order, _)| order.clone());
                    let held: BTreeSet<OrderKey> = held.collect();
                    assert!(!held.is_empty() && held == load.others.into_iter().collect(), "{told}");
                    assert!(inside.insert(load.order, load.compartment).is_none(), "{told}");
                }
                Fact::Stored(load) => assert_eq!(inside.get(&load.order), Some(&load.compartment), "{told}"),
                Fact::Depositing(load) => {
                    assert!(inside.values().all(|at| *at != load.compartment), "{told}");
                    assert!(inside.insert(load.order, load.compartment).is_none(), "{told}");
                }
                Fact::Deposited(load) => assert_eq!(inside.get(&load.order), Some(&load.compartment), "{told}"),
                Fact::LoadAborted(load) => assert_eq!(inside.remove(&load.order), Some(load.compartment), "{told}"),
                Fact::Collected(taken) => {
                    assert_eq!(inside.remove(&taken.order), Some(taken.compartment), "{told}");
                    if !taken.confirmed {
                        left.insert(taken.order, taken.compartment);
                    }
                }
                // Staff may look after what somebody has left open.
                Fact::Retrieved(taken) => {
                    let held = inside.remove(&taken.order).or_else(|| left.remove(&taken.order));
                    assert_eq!(held, Some(taken.compartment), "{told}");
                }
                Fact::Audited(found) => {
                    let mut booked = inside.iter().filter(|(_, at)| **at == found.compartment).map(|(order, _)| order);
                    match &found.order {
                        Some(order) => assert!(booked.any(|held| held == order), "{told}"),
                        None => assert_eq!(booked.next(), None, "{told}"),
                    }
                    if found.found == Finding::Missing {
                        inside.remove(&found.order.unwrap());
                    }
                }
                Fact::Swapped(swapped) => {
                    let before = (inside.get(&swapped.one).copied(), inside.get(&swapped.other).copied());
                    assert_eq!(before, (Some(swapped.other_in), Some(swapped.one_in)), "{told}");
                    inside.extend([(swapped.one, swapped.one_in), (swapped.other, swapped.other_in)]);
                }
                _ => {}
            }
        }
    }

    fn invariant_an_order_is_in_one_compartment(&self) {
        let mut held = BTreeSet::new();
        for (_, row) in self.rig.store.rows(Table("bays")).unwrap() {
            for id in ORDERS {
                let name = order(id).to_string();
                if row.windows(name.len()).any(|window| window == name.as_bytes()) {
                    assert!(held.insert(id), "{id} is in two compartments");
                }
            }
        }
    }

    fn outcomes(&self) -> BTreeMap<CommandId, usize> {
        let mut outcomes = BTreeMap::new();
        for fact in self.rig.events() {
            if let Fact::UnlockDone(done) = fact {
                *outcomes.entry(done.id).or_default() += 1;
            }
        }
        outcomes
    }

    fn invariant_a_command_has_at_most_one_outcome(&self) {
        assert!(self.outcomes().values().all(|count| *count == 1));
    }

    /// Nobody but the courier has it otherwise: it waits in no list, unless staff were told to look.
    fn invariant_what_a_courier_began_is_somewhere(&self) {
        let mut live = BTreeSet::new();
        for fact in self.rig.events() {
            match fact {
                Fact::WalkIn(began) if began.courier.is_some() => drop(live.insert(began.order)),
                Fact::WalkInDropped(over) => drop(live.remove(&over.order)),
                Fact::Collected(over) => drop(live.remove(&over.order)),
                Fact::Retrieved(over) => drop(live.remove(&over.order)),
                Fact::Audited(Audited { found: Finding::Missing, order: Some(order), .. }) => {
                    live.remove(&order);
                }
                // Staff have to look, and may need its number.
                Fact::AuditRequired(AuditRequired { order: Some(order), .. }) => drop(live.remove(&order)),
                _ => {}
            }
        }
        let bays = self.rig.store.rows(Table("bays")).unwrap();
        for order in live {
            let name = order.to_string();
            let held = bays.iter().any(|(_, row)| row.windows(name.len()).any(|window| window == name.as_bytes()));
            assert!(held, "{name} is nowhere");
        }
    }

    /// What was stored by a deposit code is not put in by it again.
    fn invariant_a_deposit_code_stores_once(&self) {
        let mut used = BTreeSet::new();
        for fact in self.rig.events() {
            match fact {
                Fact::Deposited(put) => assert!(used.insert(put.order.clone()), "{} deposited twice", put.order),
                Fact::Depositing(put) => assert!(!used.contains(&put.order), "{} is put in again", put.order),
                _ => {}
            }
        }
    }

    fn invariant_an_order_is_collected_at_most_once(&self) {
        let mut collected = BTreeSet::new();
        for fact in self.rig.events() {
            if let Fact::Collected(fact) = fact {
                assert!(collected.insert(fact.order.clone()), "{} collected twice", fact.order);
            }
        }
    }

    /// Counted by the journal: one acceptance for each id.
    fn invariant_a_command_opens_once(&self) {
        let accepted: Vec<_> = self.rig.store.rows(Table("commands")).unwrap().into_iter().map(|row| row.1).collect();
        let distinct: BTreeSet<_> = accepted.iter().collect();
        assert_eq!(accepted.len(), distinct.len());
    }

    fn tally(&self, seen: &mut BTreeMap<String, usize>) {
        for fact in self.rig.events() {
            let kind = format!("{fact:?}").split('(').next().unwrap_or_default().to_owned();
            *seen.entry(kind).or_default() += 1;
        }
    }

    /// Everything comes to rest: no use is left, and each accepted command has its outcome.
    fn rest(&mut self) {
        self.waiting.clear();
        self.rig.wait(2_000_000);
        assert_eq!(self.rig.store.len(Table("uses")), 0);
        let is_word = |fact: &Fact| matches!(fact, Fact::ErrandTaken(taken) if matches!(taken.errand, Errand::Inside | Errand::NotInside));
        let words = self.rig.count(is_word);
        assert_eq!(self.outcomes().len() + words, self.rig.store.len(Table("commands")));
        self.check();
    }
}

#[test]
fn invariants_hold_in_random_histories() {
    let mut seen = BTreeMap::new();
    for seed in 1..=240 {
        let mut history = History::new(seed);
        for _ in 0..250 {
            history.act();
        }
        history.check();
        history.rest();
        history.tally(&mut seen);
    }
    // A history that never comes to something proves nothing about it.
    for kind in [
        "Stored",
        "Collected",
        "Retrieved",
        "LoadAborted",
        "UnlockDone",
        "CommandRefused",
        "CredentialRefused",
        "TypingLocked",
        "DoorForced",
        "WrongDoor",
        "DoorFault",
        "DoorHeldOpen",
        "AuditRequired",
        "Audited",
        "Cleaning",
        "EmergencyOpened",
        "Depositing",
        "Deposited",
        "CourierCame",
        "ErrandTaken",
        "LoadingBeside",
    ] {
        assert!(seen.get(kind).is_some_and(|count| *count >= 10), "too few {kind} in {seen:?}");
    }
    assert!(seen.contains_key("Swapped"), "two doors that both open, close and are answered for are rare: {seen:?}");
}

#[test]
fn the_same_history_gives_the_same_disk() {
    let run = || {
        let mut history = History::new(42);
        for _ in 0..250 {
            history.act();
        }
        history.rig.store
    };
    assert!(run() == run());
}
