//! Couriers who come again and again: a PIN or a badge of the book begins a session that puts parcels in, and does nothing
//! else.
//!
//! It is no session of staff: what staff ask for is refused in it, it sees no order and no compartment, and it names an order
//! only by the whole of its label. What is on its way in is a deposit (`deposit`): the same doors, questions and words, with
//! the courier in the place of the deposit code.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use schemas::crypto::codes::Secret;
use schemas::ids::{Name, OrderId};
use schemas::messages::{
    Attributes, BY_COURIER_NAME, Category, Compartment, CourierCame, CourierTurnedAway, CredentialId, CredentialKind,
    DepositKind, OrderKey, RefusalReason, Size, WalkInDropped,
};
use schemas::phone::Phone;

use crate::book::{COURIERS_MAX, HeldBook};
use crate::core::CabinetCore;
use crate::deposit::Bringer;
use crate::records::{Content, Depositing, OrderRow};
use crate::turn::Turn;
use crate::{DepositRefusal, DepositWish, EntryRefusal, EntryResult, NewWalkIn, ScreenNote, SessionId, StaffRefusal};

/// A session ends this long after the last thing done in it, or after what was on its way in is inside.
pub const COURIER_IDLE_MILLIS: u64 = 60_000;
/// Labels of a courier of which no order is waited for, within [`TRIES_MILLIS`]: more are guesses.
pub const UNKNOWN_LABELS_MAX: u32 = 10;
/// How long what a courier has tried counts.
pub const TRIES_MILLIS: u64 = 600_000;
const SESSIONS_MAX: usize = 8;

/// What is on a parcel: the order as its backend calls it, with or without the integration before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParcelLabel {
    whole: Option<OrderKey>,
    id: Option<OrderId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no label of an order")]
pub struct NotALabel;

impl FromStr for ParcelLabel {
    type Err = NotALabel;
    fn from_str(text: &str) -> Result<Self, NotALabel> {
        if is_scanned_code(text) {
            return Err(NotALabel);
        }
        let (whole, id) = (text.parse().ok(), OrderId::new(text).ok());
        if whole.is_none() && id.is_none() { Err(NotALabel) } else { Ok(Self { whole, id }) }
    }
}

impl ParcelLabel {
    fn names(&self, order: &OrderKey) -> bool {
        self.whole.as_ref() == Some(order) || self.id.as_ref() == Some(&order.order)
    }
}

/// Whether a text could be a code or a badge: it is scanned like a label, and must not become the name of anything.
pub fn is_scanned_code(text: &str) -> bool {
    Secret::parse(text).is_ok_and(|secret| secret.kind() == CredentialKind::Qr)
}

/// What a courier enters for a parcel that no backend has announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewParcel {
    pub phone: Phone,
    /// What is on its label; its first letters become the beginning of the order's id.
    pub reference: Option<OrderId>,
    pub size: Size,
}

#[derive(Debug)]
struct Session {
    name: Name,
    until: u64,
}

/// What a courier has tried lately. It outlives sessions: whoever has the badge begins as many as they like.
#[derive(Debug, Default)]
struct Tries {
    until: u64,
    /// Labels of which no order is waited for.
    unknown: u32,
    /// Orders of which was told that nothing was free.
    turned_away: BTreeSet<OrderKey>,
}

/// In memory only: entered again, a PIN goes on where its courier was.
#[derive(Debug, Default)]
pub(crate) struct Couriers {
    by_id: BTreeMap<SessionId, Session>,
    tries: BTreeMap<Name, Tries>,
    /// Orders that couriers began and that did not stay where they were; at the end of the step they are elsewhere, or over.
    given_up: BTreeSet<OrderKey>,
}

impl Couriers {
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.by_id.values().map(|session| session.until).min()
    }

    fn oldest(&self) -> Option<SessionId> {
        self.by_id.iter().min_by_key(|(_, session)| session.until).map(|(id, _)| *id)
    }

    /// What this courier has tried within the last minutes. None: too many others have, just now.
    fn tries_of(&mut self, name: &Name, now: u64) -> Option<&mut Tries> {
        self.tries.retain(|_, tries| now < tries.until);
        if self.tries.len() >= COURIERS_MAX && !self.tries.contains_key(name) {
            return None;
        }
        let tries = self.tries.entry(name.clone()).or_default();
        if tries.until == 0 {
            tries.until = now + TRIES_MILLIS;
        }
        Some(tries)
    }

    /// What was on its way in is not put in after all: nothing was ever inside, or the sensor says so. Of what else a courier
    /// leaves behind staff say what it is.
    pub(crate) fn not_put_in(&mut self, book: &HeldBook, order: &OrderKey) {
        if book.courier_of(order).is_some() {
            self.given_up.insert(order.clone());
        }
    }
}

impl CabinetCore {
    /// Somebody showed the PIN or the badge of a courier.
    pub(crate) fn courier_came(&mut self, turn: &mut Turn, name: Name) -> EntryResult {
        if !self.may_bring(&name) {
            return EntryResult::Refused(EntryRefusal::Expired);
        }
        self.record(turn, CourierCame { courier: name.clone() });
        let before = self.couriers.by_id.iter().filter(|(_, held)| held.name == name).map(|(id, _)| *id);
        before.collect::<Vec<_>>().into_iter().for_each(|id| self.courier_leaves(turn, id));
        while self.couriers.by_id.len() >= SESSIONS_MAX
            && let Some(oldest) = self.couriers.oldest()
        {
            self.courier_leaves(turn, oldest);
        }
        let session = SessionId(u128::from_be_bytes(turn.draws.bytes()));
        let until = turn.now + COURIER_IDLE_MILLIS;
        let begun = Session { name: name.clone(), until };
        self.couriers.by_id.insert(session, begun);
        let unfinished = self.on_its_way(&name).map(|(compartment, order)| (compartment, order.clone()));
        let compartment = unfinished.map(|(compartment, order)| {
            self.deposits.begin(session, order, turn.now);
            compartment
        });
        EntryResult::CourierSession { session, name, compartment }
    }

    /// In the book, and not beyond the end that it names.
    pub(crate) fn may_bring(&self, name: &Name) -> bool {
        let row = self.book.courier(name);
        row.is_some_and(|row| row.until.is_none_or(|until| !self.clock.has_passed(until, self.now)))
    }

    /// What this courier has in a compartment and has not finished. What staff have to look after is not theirs any more.
    fn on_its_way(&self, name: &Name) -> Option<(Compartment, &OrderKey)> {
        self.bays.values().find_map(|bay| match &bay.content {
            Content::Depositing(held) if held.courier.as_ref() == Some(name) && !bay.audit => {
                Some((bay.number(), &held.order))
            }
            Content::Depositing(_)
            | Content::Free(_)
            | Content::Loading(_)
            | Content::Stored(_)
            | Content::Collecting(_)
            | Content::Leaving(_)
            | Content::Retrieving(_)
            | Content::Swapping(_) => None,
        })
    }

    /// Who has logged out, or came again: nothing more is done by the session, not even about what is half in.
    pub(crate) fn courier_leaves(&mut self, turn: &mut Turn, session: SessionId) {
        if self.couriers.by_id.remove(&session).is_some() {
            self.deposits.end(session);
            turn.note(ScreenNote::SessionEnded { session });
        }
    }

    pub(crate) fn couriers_due(&mut self, turn: &mut Turn) {
        let all: Vec<_> = self.couriers.by_id.iter().map(|(id, held)| (*id, held.name.clone(), held.until)).collect();
        for (session, name, until) in all {
            if !self.may_bring(&name) {
                // The session about the one door stays: what is half in can be closed.
                self.couriers.by_id.remove(&session);
                turn.note(ScreenNote::SessionEnded { session });
            } else if until <= turn.now {
                let at_work = self.on_its_way(&name).and_then(|(_, order)| self.deposits.of(order)) == Some(session);
                match self.couriers.by_id.get_mut(&session).filter(|_| at_work) {
                    // Whoever stands at an open door with both hands full is not idle.
                    Some(held) => held.until = turn.now + COURIER_IDLE_MILLIS,
                    None => self.courier_leaves(turn, session),
                }
            }
        }
    }

    /// Who that is, and by what id; being active keeps the session alive.
    fn courier(&mut self, session: SessionId, now: u64) -> Result<(Name, CredentialId), DepositRefusal> {
        let held = self.couriers.by_id.get_mut(&session).filter(|held| now < held.until);
        let held = held.ok_or(DepositRefusal::NoSession)?;
        held.until = now + COURIER_IDLE_MILLIS;
        let name = held.name.clone();
        let row = self.book.courier(&name).filter(|_| self.may_bring(&name));
        row.map(|row| (name, row.id)).ok_or(DepositRefusal::NoSession)
    }

    /// A wish of a deposit that is a courier's: whoever was removed meanwhile has no door opened any more, and may say what is
    /// behind the one that was.
    pub(crate) fn courier_wishes(
        &mut self,
        session: SessionId,
        held: &Depositing,
        wish: DepositWish,
        now: u64,
    ) -> Result<(), DepositRefusal> {
        let Some(name) = &held.courier else { return Ok(()) };
        let opens = match wish {
            DepositWish::TooSmall | DepositWish::NotEmpty | DepositWish::Again => true,
            DepositWish::Inside | DepositWish::GiveUp => false,
        };
        if opens && !self.may_bring(name) {
            return Err(DepositRefusal::NoSession);
        }
        if let Some(held) = self.couriers.by_id.get_mut(&session) {
            held.until = now + COURIER_IDLE_MILLIS;
        }
        Ok(())
    }

    pub(crate) fn handle_bring(&mut self, turn: &mut Turn, session: SessionId, label: &ParcelLabel) {
        if let Err(reason) = self.bring(turn, session, label) {
            turn.note(ScreenNote::DepositRefused { session, reason });
        }
    }

    fn bring(&mut self, turn: &mut Turn, session: SessionId, label: &ParcelLabel) -> Result<(), DepositRefusal> {
        let by = self.ready_to_bring(session, turn.now)?;
        if self.disk_low {
            return Err(DepositRefusal::DiskFull);
        }
        if self.has_guessed_enough(&by, turn.now) {
            return Err(self.unknown_label(turn, session));
        }
        let Some((order, row)) = self.expected(label).map(|(order, row)| (order.clone(), row.clone())) else {
            return Err(self.unknown_label(turn, session));
        };
        match self.place(&order, &row, None) {
            Ok(compartment) => {
                self.begin_bringing(turn, session, &by, &order, compartment);
                Ok(())
            }
            Err(_) => Err(self.turned_away(turn, &by, Some(order), row.size)),
        }
    }

    /// The one order with this label that waits for a courier. Of two nobody could say which it is.
    fn expected(&self, label: &ParcelLabel) -> Option<(&OrderKey, &OrderRow)> {
        let waits = |order: &OrderKey, row: &OrderRow| {
            row.deposit == Some(DepositKind::Courier)
                && !row.over
                && row.missing != Some(true)
                && row.take_back.is_none()
                && self.compartment_of(order).is_none()
        };
        let mut named = self.book.orders.iter().filter(|(order, row)| label.names(order) && waits(order, row));
        match (named.next(), named.next()) {
            (Some(only), None) => Some(only),
            (Some(_) | None, _) => None,
        }
    }

    /// Nothing is looked up for them any more, so that no label can be told from another.
    fn has_guessed_enough(&mut self, by: &Bringer, now: u64) -> bool {
        let Some(name) = &by.courier else { return false };
        self.couriers.tries_of(name, now).is_some_and(|tries| tries.unknown >= UNKNOWN_LABELS_MAX)
    }

    fn unknown_label(&mut self, turn: &mut Turn, session: SessionId) -> DepositRefusal {
        let Some(name) = self.couriers.by_id.get(&session).map(|held| held.name.clone()) else {
            return DepositRefusal::NoSession;
        };
        let tries = self.couriers.tries_of(&name, turn.now);
        let unknown = tries.map_or(UNKNOWN_LABELS_MAX, |tries| {
            tries.unknown += 1;
            tries.unknown
        });
        if unknown < UNKNOWN_LABELS_MAX {
            return DepositRefusal::NotExpected;
        }
        self.courier_leaves(turn, session);
        DepositRefusal::NoSession
    }

    pub(crate) fn handle_bring_to(&mut self, turn: &mut Turn, session: SessionId, parcel: NewParcel) {
        if let Err(reason) = self.bring_to(turn, session, parcel) {
            turn.note(ScreenNote::DepositRefused { session, reason });
        }
    }

    /// One step: the order, its number and the taken compartment are on disk together, or not at all.
    fn bring_to(&mut self, turn: &mut Turn, session: SessionId, parcel: NewParcel) -> Result<(), DepositRefusal> {
        let by = self.ready_to_bring(session, turn.now)?;
        let NewParcel { phone, reference, size } = parcel;
        let (category, wants) = (Category::Courier, Attributes::default());
        let new = NewWalkIn { phone, reference, size, category, wants };
        match self.take_walk_in(turn, by_courier(), by.courier.clone(), new) {
            Ok((order, compartment)) => {
                self.begin_bringing(turn, session, &by, &order, compartment);
                Ok(())
            }
            Err(StaffRefusal::NoFittingCompartment) => Err(self.turned_away(turn, &by, None, size)),
            Err(why) => Err(refusal(why)),
        }
    }

    /// One after another: nobody has several doors open, of which one is forgotten.
    fn ready_to_bring(&mut self, session: SessionId, now: u64) -> Result<Bringer, DepositRefusal> {
        let (name, credential) = self.courier(session, now)?;
        if self.on_its_way(&name).is_some() {
            return Err(DepositRefusal::Unfinished);
        }
        Ok(Bringer { credential, courier: Some(name) })
    }

    fn begin_bringing(
        &mut self,
        turn: &mut Turn,
        session: SessionId,
        by: &Bringer,
        order: &OrderKey,
        compartment: Compartment,
    ) {
        self.deposits.begin(session, order.clone(), turn.now);
        self.take_for_deposit(turn, compartment, by, order);
        turn.note(ScreenNote::Depositing { session, compartment });
    }

    /// Nothing is free. Of an order that is told once in a while, of other parcels once a minute.
    fn turned_away(&mut self, turn: &mut Turn, by: &Bringer, order: Option<OrderKey>, size: Size) -> DepositRefusal {
        let told_now = match &order {
            Some(order) => {
                let tries = by.courier.as_ref().and_then(|name| self.couriers.tries_of(name, turn.now));
                tries.is_some_and(|tries| tries.turned_away.insert(order.clone()))
            }
            None => {
                let reason = RefusalReason::NoFittingCompartment;
                self.refusals.admit_credential(by.credential, reason, turn.now)
            }
        };
        if let Some(courier) = by.courier.clone().filter(|_| told_now) {
            self.record(turn, CourierTurnedAway { courier, order, size });
        }
        DepositRefusal::NoRoom
    }

    /// What a courier began with a phone number and did not leave here is no order any more: nobody else has it.
    pub(crate) fn drop_given_up(&mut self, turn: &mut Turn) {
        for order in std::mem::take(&mut self.couriers.given_up) {
            if self.compartment_of(&order).is_some() {
                continue;
            }
            let Some(courier) = self.book.courier_of(&order).cloned() else { continue };
            self.book.drop_own(turn, &order);
            self.record(turn, WalkInDropped { order, staff: by_courier(), courier: Some(courier) });
        }
    }
}

fn by_courier() -> Name {
    BY_COURIER_NAME.parse().unwrap_or_else(|error| unreachable!("a name of letters: {error}"))
}

fn refusal(why: StaffRefusal) -> DepositRefusal {
    match why {
        StaffRefusal::DiskFull => DepositRefusal::DiskFull,
        StaffRefusal::NeverOnline => DepositRefusal::NeverOnline,
        StaffRefusal::TooMany => DepositRefusal::TooMany,
        StaffRefusal::NoFittingCompartment => DepositRefusal::NoRoom,
        StaffRefusal::NoSession
        | StaffRefusal::UnknownOrder
        | StaffRefusal::UnknownCompartment
        | StaffRefusal::AlreadyHere
        | StaffRefusal::Over
        | StaffRefusal::NobodyAsks
        | StaffRefusal::NotJustStored
        | StaffRefusal::Busy
        | StaffRefusal::DoorOpen
        | StaffRefusal::InDoubt
        | StaffRefusal::Shared
        | StaffRefusal::SensorDisagrees => DepositRefusal::NoSession,
    }
}
