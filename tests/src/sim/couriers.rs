//! Couriers who come again and again, with a PIN or a badge of their own: they put in, and do nothing else.

use std::collections::BTreeMap;

use cabinet_core::{EntryRefusal, EntryResult, Input, NewParcel, SessionId};
use schemas::api::Reply;
use schemas::crypto::codes::Secret;
use schemas::ids::Name;
use schemas::messages::{Book, BookChange, Category, Compartment, Depositing, Fact, OrderKey, Size, Verifier};
use schemas::phone::Phone;
use schemas::step::Write;

use super::invariants::{Verdict, ensure};
use super::ledger::{At, Cab, Cause, Content, Ledger, OrderTruth, Seen};
use super::sabotage::Sabotage;
use super::schedule::Pace;
use super::screen::Entry;
use super::walk_ins::facts_in;
use super::world::{CABS, Happening, SHOPS, World, constant};

const NAMES: [&str; 2] = ["kim", "lee"];
/// Orders of one backend that a courier is to bring, besides those that it puts anyway.
const ORDERS_MAX: u64 = 4;
/// Orders that couriers of one cabinet begin in a schedule.
const BEGUN_MAX: usize = 4;
/// A person's right waits for the bus at most this long.
const PERSON_MILLIS: u64 = cabinet_core::PERSON_MILLIS;

/// How often it is drawn, its name, and what is done, perhaps at this cabinet.
type Deed = (u64, &'static str, fn(&mut World, Cab));

const DEEDS: &[Deed] = &[
    (3, "operator adds a courier", |world, _| world.courier_is_added()),
    (2, "operator gives a courier a badge", |world, _| world.courier_gets_badge()),
    (1, "operator removes a courier", |world, _| world.courier_is_removed()),
    (3, "backend puts for a courier", |world, _| world.backend_puts_for_courier()),
    (8, "courier comes", World::courier_shows),
    (6, "courier brings", World::courier_brings),
    (2, "courier errs", World::courier_errs),
    (1, "courier logs out", World::courier_logs_out),
    (1, "operator gives staff a badge", |world, _| world.staff_get_badge()),
    (2, "staff show a badge", World::staff_show_badge),
];

/// What of this the deeds leave over is for those to come.
const DRAWN: u64 = 32;

/// Where somebody has shown a courier's PIN or badge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keypad {
    Couriers,
    Staff,
    Customers,
}

/// By what a cabinet knows a courier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pin: Verifier,
    badge: Option<Verifier>,
}

/// What a book that was signed says of couriers.
#[derive(Debug, Clone)]
pub(super) struct CourierBook {
    whole: bool,
    /// The same of staff.
    staff: Vec<(Name, Option<Known>)>,
    changes: Vec<(Name, Option<Known>)>,
}

impl CourierBook {
    pub(super) fn of(book: &Book) -> Self {
        let changes = book.changes.iter().filter_map(|change| match change {
            BookChange::PutCourier(put) => {
                Some((put.name.clone(), Some(Known { pin: put.verifier, badge: put.badge })))
            }
            BookChange::DropCourier(drop) => Some((drop.name.clone(), None)),
            _ => None,
        });
        let staff = book.changes.iter().filter_map(|change| match change {
            BookChange::PutStaff(put) => Some((put.name.clone(), Some(Known { pin: put.verifier, badge: put.badge }))),
            BookChange::DropStaff(drop) => Some((drop.name.clone(), None)),
            _ => None,
        });
        Self { whole: book.base == 0, staff: staff.collect(), changes: changes.collect() }
    }
}

/// Couriers by the book that is in force at each cabinet, and what they have on its way in.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownCouriers {
    rows: BTreeMap<(Cab, Name), Known>,
    staff: BTreeMap<(Cab, Name), Known>,
    bringing: BTreeMap<At, Name>,
}

impl KnownCouriers {
    pub(super) fn of(&self, cab: Cab) -> Self {
        let of = |rows: &BTreeMap<(Cab, Name), Known>| {
            rows.iter().filter(|((of, _), _)| *of == cab).map(|(at, known)| (at.clone(), known.clone())).collect()
        };
        let bringing = self.bringing.iter().filter(|((of, _), _)| *of == cab);
        let bringing = bringing.map(|(at, name)| (*at, name.clone())).collect();
        Self { rows: of(&self.rows), staff: of(&self.staff), bringing }
    }

    /// The disk of a cabinet is that of then.
    pub(super) fn put_back(&mut self, cab: Cab, then: Self) {
        self.rows.retain(|(of, _), _| *of != cab);
        self.bringing.retain(|(of, _), _| *of != cab);
        self.staff.retain(|(of, _), _| *of != cab);
        self.rows.extend(then.rows);
        self.staff.extend(then.staff);
        self.bringing.extend(then.bringing);
    }

    pub(super) fn taken(&mut self, cab: Cab, book: CourierBook) {
        for (rows, changes) in [(&mut self.rows, book.changes), (&mut self.staff, book.staff)] {
            if book.whole {
                rows.retain(|(of, _), _| *of != cab);
            }
            for (name, known) in changes {
                match known {
                    Some(known) => rows.insert((cab, name), known),
                    None => rows.remove(&(cab, name)),
                };
            }
        }
    }

    pub(super) fn believe(&mut self, cab: Cab, fact: &Fact) {
        match fact {
            Fact::Depositing(Depositing { compartment, courier: Some(name), .. }) => {
                self.bringing.insert((cab, *compartment), name.clone());
            }
            Fact::Depositing(load) => {
                self.bringing.remove(&(cab, load.compartment));
            }
            Fact::Deposited(load) => {
                self.bringing.remove(&(cab, load.compartment));
            }
            Fact::LoadAborted(load) => {
                self.bringing.remove(&(cab, load.compartment));
            }
            Fact::Stored(load) => {
                self.bringing.remove(&(cab, load.compartment));
            }
            Fact::Loading(load) => {
                self.bringing.remove(&(cab, load.compartment));
            }
            _ => {}
        }
    }

    pub(super) fn is_bringing(&self, at: At, name: &Name) -> bool {
        self.bringing.get(&at) == Some(name)
    }

    fn knows(&self, cab: Cab, name: &Name) -> bool {
        self.rows.contains_key(&(cab, name.clone()))
    }

    fn whose(&self, cab: Cab, verifier: Verifier) -> Option<&Name> {
        whose(&self.rows, cab, verifier)
    }
}

fn whose(rows: &BTreeMap<(Cab, Name), Known>, cab: Cab, verifier: Verifier) -> Option<&Name> {
    let held = |known: &Known| known.pin == verifier || known.badge == Some(verifier);
    rows.iter().find(|((of, _), known)| *of == cab && held(known)).map(|((_, name), _)| name)
}

/// The same of staff: by their newest PIN where staff type, and by their newest badge wherever it is scanned.
pub(super) fn invariant_staff_come_by_the_book(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::StaffAnswered { cab, typed, verifier, result } = seen else { return Ok(()) };
    let whose = whose(&ledger.couriers.staff, *cab, *verifier);
    let fine = match result {
        EntryResult::StaffSession { name, .. } => whose == Some(name),
        EntryResult::Refused(EntryRefusal::Wrong) => whose.is_none(),
        EntryResult::Refused(EntryRefusal::Busy) => true,
        // Whether wrong ones explain it is judged by `guess_budget_holds`.
        EntryResult::Locked { .. } | EntryResult::SecondPartNeeded => *typed,
        EntryResult::CourierSession { .. }
        | EntryResult::Opening { .. }
        | EntryResult::Depositing { .. }
        | EntryResult::ReleaseNeeded
        | EntryResult::AnswerNeeded { .. }
        | EntryResult::Refused(_) => false,
    };
    ensure(fine, || format!("a secret of staff at cabinet {cab}, {whose:?} by its book, brings {result:?}"))
}

/// A door opens for a courier while that courier's parcel is on its way in there, and while the cabinet's book has them.
pub(super) fn invariant_courier_only_puts_in(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::PulseOrdered { cab, at, boot_millis, not_after, cause, .. } = seen else { return Ok(()) };
    let at = (*cab, *at);
    let known = &ledger.couriers;
    match cause {
        Cause::Courier(name) => {
            let held = ledger.contents.get(&at);
            let on_its_way = matches!(held, Some(Content::Loading(_))) && known.is_bringing(at, name);
            ensure(on_its_way, || format!("courier {name} opens {at:?} with {held:?}"))?;
            ensure(known.knows(*cab, name), || format!("courier {name}, who is in no book, opens {at:?}"))?;
            let waits = not_after.saturating_sub(*boot_millis);
            ensure(waits <= PERSON_MILLIS, || format!("a courier's deposit that may wait {waits} ms"))
        }
        Cause::Again => match known.bringing.get(&at).filter(|_| !ledger.was_looked_at(at)) {
            Some(name) => {
                ensure(known.knows(*cab, name), || format!("{at:?} is tried again for {name}, who is in no book"))
            }
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Who comes by a PIN or a badge is whoever the book in force says, with and without a network, and nobody else.
pub(super) fn invariant_courier_comes_by_the_book(ledger: &Ledger, seen: &Seen) -> Verdict {
    match seen {
        Seen::EventWritten { cab, record, .. } => {
            match schemas::cbor::decode::<schemas::messages::Event>(record).map(|event| event.fact) {
                Ok(Fact::CourierCame(came)) => {
                    let known = ledger.couriers.knows(*cab, &came.courier);
                    ensure(known, || format!("courier {} comes to cabinet {cab}, in no book of it", came.courier))
                }
                _ => Ok(()),
            }
        }
        Seen::CourierAnswered { cab, keypad, typed, verifier, result } => {
            let whose = ledger.couriers.whose(*cab, *verifier);
            let works = whose.is_some() && (!typed || *keypad == Keypad::Couriers);
            let fine = match result {
                EntryResult::CourierSession { name, .. } => works && whose == Some(name),
                EntryResult::Refused(EntryRefusal::Wrong) => !works,
                EntryResult::Refused(EntryRefusal::Busy) => true,
                // Whether wrong ones explain it is judged by `guess_budget_holds`.
                EntryResult::Locked { .. } | EntryResult::SecondPartNeeded => *typed,
                EntryResult::Opening { .. }
                | EntryResult::Depositing { .. }
                | EntryResult::StaffSession { .. }
                | EntryResult::ReleaseNeeded
                | EntryResult::AnswerNeeded { .. }
                | EntryResult::Refused(_) => false,
            };
            ensure(fine, || {
                format!("a courier's secret at {keypad:?} of cabinet {cab}, {whose:?} by its book, brings {result:?}")
            })
        }
        _ => Ok(()),
    }
}

/// By whom a door is opened in the step in which a courier begins: that one is on record with it.
pub(super) fn brought_in(writes: &[Write]) -> Cause {
    let mut brought = facts_in(writes).filter_map(|fact| match fact {
        Fact::Depositing(Depositing { courier: Some(name), .. }) => Some(name),
        _ => None,
    });
    brought.next_back().map_or(Cause::Nobody("a parcel that is on no record"), Cause::Courier)
}

/// Orders that a backend puts for a courier to bring, besides the others.
pub(super) fn is_for_courier(order: &OrderKey) -> bool {
    order.order.as_str().starts_with('C') && !order.is_walk_in()
}

impl World {
    pub(super) fn couriers_act(&mut self) {
        if !self.rough {
            return;
        }
        let rest = if self.pace == Pace::Busy { 25 } else { 6 };
        let wait = if self.dice.one_in(rest) { self.draw_wait(20_000, 900_000) } else { self.draw_wait(250, 24_000) };
        self.later(wait, Happening::CouriersAct);
        let cab = self.dice.index(CABS);
        let mut drawn = self.dice.below(DRAWN);
        for (often, what, act) in DEEDS {
            if drawn < *often {
                if self.decides(what) {
                    act(self, cab);
                }
                return;
            }
            drawn -= often;
        }
    }

    fn some_courier(&mut self) -> &'static str {
        NAMES[self.dice.index(NAMES.len())]
    }

    /// Again it is another PIN, perhaps for other cabinets.
    fn courier_is_added(&mut self) {
        let name = self.some_courier();
        let scope = match self.dice.below(8) {
            0 => format!(r#","scope":{{"cabinets":["{}"]}}"#, self.name_of(0)),
            1 => r#","scope":{"sites":["mall"]}"#.to_owned(),
            _ => String::new(),
        };
        self.tell(|| format!("the operator adds courier {name}{scope}"));
        self.ask(format!(r#"{{"op":"courier.add","name":"{name}"{scope}}}"#));
    }

    fn courier_gets_badge(&mut self) {
        let name = self.some_courier();
        self.tell(|| format!("the operator gives courier {name} a badge"));
        self.ask(format!(r#"{{"op":"courier.badge","name":"{name}"}}"#));
    }

    fn courier_is_removed(&mut self) {
        let name = self.some_courier();
        self.tell(|| format!("the operator removes courier {name}"));
        self.ask(format!(r#"{{"op":"courier.remove","name":"{name}"}}"#));
    }

    fn backend_puts_for_courier(&mut self) {
        let shop = self.dice.index(SHOPS.len());
        let cab = self.dice.index(CABS);
        let theirs: Vec<OrderKey> =
            self.shops[shop].orders.iter().filter(|order| is_for_courier(order)).cloned().collect();
        let made = theirs.len() as u64;
        if made >= ORDERS_MAX || made > 0 && self.dice.one_in(4) {
            let Some(order) = self.dice.pick(&theirs).cloned() else { return };
            return self.publish(&order, true);
        }
        let order = OrderKey { integration: self.shops[shop].name.clone(), order: constant(&format!("C{made}")) };
        self.shops[shop].orders.push(order.clone());
        self.ledger.orders.insert(order.clone(), OrderTruth::new(cab, Category::Courier));
        self.publish(&order, true);
    }

    /// Mostly the newest secret; most couriers type where couriers do.
    fn courier_shows(&mut self, cab: Cab) {
        let newest = self.courier_secrets.len().saturating_sub(4);
        let from = if self.dice.one_in(4) { 0 } else { newest };
        let secrets = self.courier_secrets[from..].to_vec();
        let Some(text) = self.dice.pick(&secrets) else { return };
        let Ok(secret) = Secret::parse(text) else { return };
        let keypad = match self.dice.below(12) {
            0 => Keypad::Staff,
            1 => Keypad::Customers,
            _ => Keypad::Couriers,
        };
        self.tell(|| format!("a courier shows a secret at {keypad:?} of cabinet {cab}"));
        let entry = Entry { courier: Some(keypad), ..Entry::of(&secret, keypad == Keypad::Staff) };
        self.enter(cab, secret, entry);
    }

    /// What a courier's secret brought.
    pub(super) fn courier_answered(&mut self, cab: Cab, entry: &Entry, result: &EntryResult) {
        if let (Some(keypad), Some(verifier)) = (entry.courier, entry.verifier) {
            let result = result.clone();
            self.see(Seen::CourierAnswered { cab, keypad, typed: entry.typed, verifier, result });
        }
        if let (true, Some(verifier)) = (entry.member.is_some(), entry.verifier) {
            self.see(Seen::StaffAnswered { cab, typed: entry.typed, verifier, result: result.clone() });
        }
        if let EntryResult::CourierSession { session, name, compartment } = result {
            self.cabs[cab].couriers.insert(*session, name.clone());
            match compartment {
                // What they had begun comes first.
                Some(at) => self.courier_stands_at(cab, *session, *at),
                None if self.rough => self.later(2_000, Happening::CourierBrings(cab)),
                None => {}
            }
        }
    }

    /// The door of a courier's parcel.
    pub(super) fn courier_stands_at(&mut self, cab: Cab, session: SessionId, at: Compartment) {
        let Some(order) = self.ledger.contents.get(&(cab, at)).map(|content| content.order().clone()) else { return };
        self.cabs[cab].depositor = Some((session, order.clone()));
        self.depositor_stands_at(cab, at, order);
    }

    fn courier_at(&mut self, cab: Cab) -> Option<SessionId> {
        let sessions: Vec<SessionId> = self.cabs[cab].couriers.keys().copied().collect();
        self.dice.pick(&sessions).copied()
    }

    /// Mostly a parcel that is waited for; some are for a phone number, and some labels nobody knows.
    pub(super) fn courier_brings(&mut self, cab: Cab) {
        let Some(session) = self.courier_at(cab) else { return self.courier_shows(cab) };
        if self.rough && self.dice.one_in(2) {
            self.later(20_000, Happening::CourierBrings(cab));
        }
        let here = self.ledger.orders.iter().filter(|(_, truth)| truth.at() == cab);
        let begun = here.clone().filter(|(order, _)| order.is_walk_in()).count();
        if begun < BEGUN_MAX && self.dice.one_in(3) {
            return self.courier_begins(cab, session);
        }
        let waiting = here.filter(|(order, _)| is_for_courier(order) && !self.goods_are_somewhere(order));
        let waiting: Vec<OrderKey> = waiting.map(|(order, _)| order.clone()).collect();
        let label = match self.dice.below(12) {
            0 => "X9".to_owned(),
            1 => {
                let orders: Vec<OrderKey> = self.ledger.orders.keys().cloned().collect();
                let Some(order) = self.dice.pick(&orders) else { return };
                order.to_string()
            }
            at => {
                let Some(order) = self.dice.pick(&waiting) else { return };
                if at < 6 { order.to_string() } else { order.order.to_string() }
            }
        };
        let Ok(label) = label.parse() else { return };
        self.tell(|| format!("a courier brings {label:?} to cabinet {cab}"));
        self.take_cabinet(cab, Input::Bring { session, label }, None);
    }

    fn courier_begins(&mut self, cab: Cab, session: SessionId) {
        let Ok(phone) = Phone::parse(&format!("+4917111{:05}", self.dice.below(100_000))) else { return };
        let reference = self.dice.one_in(2).then(|| constant("label"));
        let size = if self.dice.one_in(3) { Size::M } else { Size::S };
        self.tell(|| format!("a courier brings something for a phone number to cabinet {cab}"));
        self.take_cabinet(cab, Input::BringTo { session, parcel: NewParcel { phone, reference, size } }, None);
    }

    /// A courier presses what only staff may, by whatever means. Nothing of it opens a door.
    fn courier_errs(&mut self, cab: Cab) {
        let Some(mut session) = self.courier_at(cab) else { return };
        let orders: Vec<OrderKey> = self.ledger.orders.keys().cloned().collect();
        let Some(order) = self.dice.pick(&orders).cloned() else { return };
        let (compartment, other) = (self.some_door(cab), self.some_door(cab));
        if self.sabotage == Some(Sabotage::CourierIsStaff) {
            self.cabs[cab].mixed_up = self.cabs[cab].couriers.get(&session).cloned();
            session = self.cabs[cab].session.unwrap_or(session);
        }
        let input = match self.dice.below(7) {
            0 => Input::Load { session, order, larger: false },
            1 => Input::Retrieve { session, order },
            2 => Input::Swap { session, one: compartment, other },
            3 => Input::OpenAll { session },
            4 => Input::Release { session, order },
            5 => Input::Undo { session, order },
            _ => Input::Look { session, compartment },
        };
        self.tell(|| format!("a courier errs at cabinet {cab}"));
        self.take_cabinet(cab, input, None);
        self.cabs[cab].mixed_up = None;
    }

    fn courier_logs_out(&mut self, cab: Cab) {
        if let Some(session) = self.courier_at(cab) {
            self.take_cabinet(cab, Input::StaffLogout { session }, None);
        }
    }

    fn staff_get_badge(&mut self) {
        self.tell(|| "the operator gives staff a badge".to_owned());
        self.ask(r#"{"op":"staff.badge","name":"ann"}"#.to_owned());
    }

    /// A PIN or a badge was made, and the operator is told.
    pub(super) fn badge_told(&mut self, of: &Name, text: Option<String>) {
        if NAMES.contains(&of.as_str()) {
            self.courier_secrets.extend(text);
        } else {
            self.staff_badges.extend(text);
        }
    }

    /// Mostly the newest one; some scan a badge that was replaced since.
    fn staff_show_badge(&mut self, cab: Cab) {
        let newest = self.staff_badges.len().saturating_sub(1);
        let from = if self.dice.one_in(3) { 0 } else { newest };
        let badges = self.staff_badges[from..].to_vec();
        let Some(secret) = self.dice.pick(&badges).and_then(|text| Secret::parse(text).ok()) else { return };
        let keypad = [Keypad::Couriers, Keypad::Staff, Keypad::Customers][self.dice.index(3)];
        self.tell(|| format!("staff show a badge at {keypad:?} of cabinet {cab}"));
        let entry = Entry { member: Some(keypad), ..Entry::of(&secret, keypad == Keypad::Staff) };
        self.enter(cab, secret, entry);
    }

    /// Once everything is quiet: each cabinet knows the couriers that the fleet has for it, and no others.
    pub(super) fn check_couriers(&mut self) {
        let ticket = self.ask(r#"{"op":"courier.list"}"#.to_owned());
        self.pass(100);
        let Some(Reply::Couriers(listed)) = self.fleet.replies.remove(&ticket) else {
            return self.break_off("courier_comes_by_the_book", "the fleet does not list its couriers".to_owned());
        };
        let site = constant("mall");
        for cab in 0..CABS {
            let cabinet = self.name_of(cab);
            for name in NAMES {
                let name: Name = constant(name);
                let known = self.ledger.couriers.knows(cab, &name);
                let row = listed.iter().find(|row| row.name == name);
                let wanted = row.is_some_and(|row| !row.removed && row.scope.covers(&cabinet, Some(&site)));
                let pending = row.is_some_and(|row| row.pending.contains(&cabinet));
                if known != wanted || pending {
                    let text = format!("courier {name}: cabinet {cab} knows: {known}, pending: {pending}, {row:?}");
                    self.break_off("courier_comes_by_the_book", text);
                }
            }
        }
    }
}
