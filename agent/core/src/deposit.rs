//! Somebody who is no staff puts an order in: a code for just that opens a compartment that is free, and the cabinet
//! chooses which. The code is used up when the order is stored, and not with the first door.

use std::collections::BTreeMap;

use schemas::ids::Name;
use schemas::messages::{
    Compartment, CredentialId, Deposited, Depositing as DepositingFact, Occupancy, OrderKey, Size, StoredBy,
};

use crate::core::CabinetCore;
use crate::entry::valid;
use crate::records::{Content, CredentialRow, DepositUse, Depositing, Fault, Stored};
use crate::turn::Turn;
use crate::uses::PERSON_MILLIS;
use crate::{DepositRefusal, DepositWish, DoorSeen, EntryRefusal, EntryResult, ScreenNote, SessionId};

/// How long whoever has closed the door is waited for to say what they did, where the sensor does not.
pub const DEPOSIT_ANSWER_MILLIS: u64 = 120_000;
/// A session ends this long after the last thing done in it.
pub const DEPOSIT_IDLE_MILLIS: u64 = 300_000;
/// Compartments of one session that turned out to be too small or not empty.
pub const DEPOSIT_MOVES_MAX: u32 = 3;
const SESSIONS_MAX: usize = 8;

#[derive(Debug)]
struct Depositor {
    order: OrderKey,
    until: u64,
    moves: u32,
}

/// Whoever has entered a deposit code lately. In memory only: entered again, it goes on where it was.
#[derive(Debug, Default)]
pub(crate) struct Deposits {
    by_id: BTreeMap<SessionId, Depositor>,
}

impl Deposits {
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.by_id.values().map(|held| held.until).min()
    }

    pub(crate) fn end_due(&mut self, now: u64) {
        self.by_id.retain(|_, held| now < held.until);
    }

    pub(crate) fn of(&self, order: &OrderKey) -> Option<SessionId> {
        self.by_id.iter().find(|(_, held)| held.order == *order).map(|(id, _)| *id)
    }

    /// The same person again, or another one in their place: the session before is over.
    pub(crate) fn begin(&mut self, session: SessionId, order: OrderKey, now: u64) {
        let moves = self.of(&order).and_then(|old| self.by_id.remove(&old)).map_or(0, |old| old.moves);
        while self.by_id.len() >= SESSIONS_MAX
            && let Some(oldest) = self.by_id.iter().min_by_key(|(_, held)| held.until).map(|(id, _)| *id)
        {
            self.by_id.remove(&oldest);
        }
        self.by_id.insert(session, Depositor { order, until: now + DEPOSIT_IDLE_MILLIS, moves });
    }

    pub(crate) fn end(&mut self, session: SessionId) {
        self.by_id.remove(&session);
    }
}

/// By what right somebody puts an order in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bringer {
    /// A deposit code, or the id of the courier.
    pub(crate) credential: CredentialId,
    pub(crate) courier: Option<Name>,
}

impl Bringer {
    fn of(held: &Depositing) -> Self {
        Self { credential: held.credential, courier: held.courier.clone() }
    }
}

impl CabinetCore {
    /// A deposit code was typed or scanned.
    pub(crate) fn use_deposit(&mut self, turn: &mut Turn, id: CredentialId, row: &CredentialRow) -> EntryResult {
        let in_time = valid(row).and_then(|()| self.in_time(row.expires, row.needs_time, turn.now));
        let began = in_time.and_then(|()| {
            let order = row.orders.first().ok_or(EntryRefusal::Used)?;
            self.begin_deposit(turn, &Bringer { credential: id, courier: None }, order)
                .map(|compartment| (order.clone(), compartment))
        });
        match began {
            Err(refusal) => self.refuse_credential(turn, id, refusal),
            Ok((order, compartment)) => {
                let session = SessionId(u128::from_be_bytes(turn.draws.bytes()));
                self.deposits.begin(session, order, turn.now);
                EntryResult::Depositing { session, compartment }
            }
        }
    }

    fn begin_deposit(&mut self, turn: &mut Turn, by: &Bringer, order: &OrderKey) -> Result<Compartment, EntryRefusal> {
        if let Some(compartment) = self.compartment_of(order) {
            return self.go_on(turn, by, order, compartment);
        }
        let row = self.book.orders.get(order).ok_or(EntryRefusal::Revoked)?;
        // What is left of a full disk is for pickups.
        let place = if self.disk_low { None } else { self.place(order, row, None).ok() };
        let compartment = place.ok_or(EntryRefusal::NoRoom)?;
        self.take_for_deposit(turn, compartment, by, order);
        Ok(compartment)
    }

    /// Entered again while the order is on its way into this compartment: the same door, never another one.
    fn go_on(
        &mut self,
        turn: &mut Turn,
        by: &Bringer,
        order: &OrderKey,
        compartment: Compartment,
    ) -> Result<Compartment, EntryRefusal> {
        let bay = self.bays.get(&compartment).ok_or(EntryRefusal::NotHere)?;
        match &bay.content {
            Content::Depositing(_) if bay.active.is_some() => return Err(EntryRefusal::Busy),
            // Somebody else stands at it.
            Content::Depositing(held) if held.courier != by.courier => return Err(EntryRefusal::Busy),
            Content::Depositing(_) if matches!(bay.fault, Some(Fault::WrongDoor | Fault::PutBack)) => {
                return Err(EntryRefusal::OutOfService);
            }
            Content::Depositing(_) => {}
            Content::Loading(_) => return Err(EntryRefusal::Busy),
            Content::Free(_)
            | Content::Stored(_)
            | Content::Collecting(_)
            | Content::Leaving(_)
            | Content::Retrieving(_)
            | Content::Swapping(_) => return Err(EntryRefusal::Used),
        }
        if bay.offer.is_some() {
            self.handle_try_again(turn, compartment);
            if self.compartment_of(order) != Some(compartment) {
                return Err(EntryRefusal::Busy);
            }
        } else if bay.seen != DoorSeen::Open {
            self.open_for_deposit(turn, compartment, by, order);
        }
        Ok(compartment)
    }

    pub(crate) fn take_for_deposit(
        &mut self,
        turn: &mut Turn,
        compartment: Compartment,
        by: &Bringer,
        order: &OrderKey,
    ) {
        let Bringer { credential, courier } = by.clone();
        let content = Depositing { order: order.clone(), credential, opened: false, courier: courier.clone() };
        self.set_content(turn, compartment, content);
        self.record(turn, DepositingFact { order: order.clone(), compartment, credential, courier });
        self.open_for_deposit(turn, compartment, by, order);
    }

    fn open_for_deposit(&mut self, turn: &mut Turn, compartment: Compartment, by: &Bringer, order: &OrderKey) {
        let Bringer { credential, courier } = by.clone();
        let purpose = DepositUse { credential, order: order.clone(), courier }.into();
        self.start_use(turn, compartment, purpose, turn.now + PERSON_MILLIS, 1);
    }

    /// Whoever is at it presses something on the screen.
    pub(crate) fn handle_deposit(&mut self, turn: &mut Turn, session: SessionId, wish: DepositWish) {
        if let Err(reason) = self.deposit(turn, session, wish) {
            turn.note(ScreenNote::DepositRefused { session, reason });
        }
    }

    fn deposit(&mut self, turn: &mut Turn, session: SessionId, wish: DepositWish) -> Result<(), DepositRefusal> {
        let (compartment, held) = self.depositing(session, turn.now)?;
        self.courier_wishes(session, &held, wish, turn.now)?;
        match wish {
            DepositWish::TooSmall | DepositWish::NotEmpty => self.deposit_elsewhere(turn, session, compartment, wish),
            DepositWish::Again => {
                self.go_on(turn, &Bringer::of(&held), &held.order, compartment).map_err(|_| DepositRefusal::Busy)?;
                turn.note(ScreenNote::Depositing { session, compartment });
                Ok(())
            }
            DepositWish::Inside => {
                let empty = self.answered(compartment)? == Occupancy::Empty;
                self.deposited(turn, compartment, held, false);
                if empty {
                    // The word of somebody nobody knows against the sensor's: good enough until staff have looked.
                    let order = self.bays.get(&compartment).and_then(|bay| bay.content.order().cloned());
                    self.require_audit(turn, compartment, order);
                }
                Ok(())
            }
            DepositWish::GiveUp => {
                let known_empty = self.answered(compartment)? == Occupancy::Empty;
                self.abort_load(turn, compartment, held.order);
                if held.opened && !known_empty {
                    self.require_audit(turn, compartment, None);
                }
                Ok(())
            }
        }
    }

    /// What the session is about, as long as its order is still on its way in.
    fn depositing(&mut self, session: SessionId, now: u64) -> Result<(Compartment, Depositing), DepositRefusal> {
        let held = self.deposits.by_id.get_mut(&session).filter(|held| now < held.until);
        let held = held.ok_or(DepositRefusal::NoSession)?;
        held.until = now + DEPOSIT_IDLE_MILLIS;
        let order = held.order.clone();
        let bay = self.compartment_of(&order).and_then(|compartment| self.bays.get(&compartment));
        match bay.map(|bay| (bay, &bay.content)) {
            Some((bay, _)) if bay.active.is_some() => Err(DepositRefusal::Busy),
            Some((bay, Content::Depositing(content))) => Ok((bay.number(), content.clone())),
            Some((_, _)) | None => Err(DepositRefusal::NoSession),
        }
    }

    /// A person can say what is inside only of a door that was opened for them and is closed. Returns what the sensor says.
    fn answered(&self, compartment: Compartment) -> Result<Occupancy, DepositRefusal> {
        let bay = self.bays.get(&compartment).ok_or(DepositRefusal::NoSession)?;
        if bay.seen == DoorSeen::Open {
            return Err(DepositRefusal::DoorOpen);
        }
        if bay.offer.is_some() {
            return Err(DepositRefusal::Busy);
        }
        Ok(bay.occupancy)
    }

    /// The order goes into another compartment. What is too small is believed while its door stands open: whoever says so
    /// has the order in their hands.
    fn deposit_elsewhere(
        &mut self,
        turn: &mut Turn,
        session: SessionId,
        compartment: Compartment,
        why: DepositWish,
    ) -> Result<(), DepositRefusal> {
        let bay = self.bays.get(&compartment).ok_or(DepositRefusal::NoSession)?;
        let Content::Depositing(held) = bay.content.clone() else { return Err(DepositRefusal::NoSession) };
        if held.opened && bay.seen == DoorSeen::Closed && bay.occupancy != Occupancy::Empty {
            return Err(DepositRefusal::DoorClosed);
        }
        let too_small = why == DepositWish::TooSmall;
        let row = self.book.orders.get(&held.order).ok_or(DepositRefusal::NoSession)?;
        let above: Option<Size> = too_small.then_some(bay.size());
        let place = self.place(&held.order, row, above).map_err(|_| DepositRefusal::NoFittingCompartment)?;
        let moves = self.deposits.by_id.get_mut(&session).map(|held| &mut held.moves);
        match moves {
            Some(moves) if *moves < DEPOSIT_MOVES_MAX => *moves += 1,
            Some(_) | None => return Err(DepositRefusal::TooOften),
        }
        self.leave_smaller(turn, &held.order);
        if !too_small {
            self.require_audit(turn, compartment, None);
        }
        self.take_for_deposit(turn, place, &Bringer::of(&held), &held.order);
        turn.note(ScreenNote::Depositing { session, compartment: place });
        Ok(())
    }

    /// The door of a deposit has closed, and no sensor sees the order inside.
    pub(crate) fn ask_deposited(&mut self, turn: &mut Turn, compartment: Compartment) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        bay.unconfirmed_at = Some(turn.now + DEPOSIT_ANSWER_MILLIS);
        let empty = bay.occupancy == Occupancy::Empty;
        if let Some(session) = bay.content.order().and_then(|order| self.deposits.of(order)) {
            turn.note(ScreenNote::AskDeposited { session, compartment, empty });
        }
    }

    /// Nobody has said what they did behind a door that is closed. A sensor that sees nothing frees the compartment, and the
    /// code stays good; without one only staff can tell.
    pub(crate) fn deposit_due(&mut self, turn: &mut Turn, compartment: Compartment) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        if bay.unconfirmed_at.is_none_or(|at| turn.now < at) {
            return;
        }
        let Content::Depositing(held) = bay.content.clone() else { return };
        bay.unconfirmed_at = None;
        if bay.active.is_some() || bay.offer.is_some() {
            bay.unconfirmed_at = Some(turn.now + DEPOSIT_ANSWER_MILLIS);
        } else if bay.seen == DoorSeen::Closed && bay.occupancy == Occupancy::Empty {
            self.abort_load(turn, compartment, held.order);
        } else if bay.seen != DoorSeen::Open {
            self.require_audit(turn, compartment, Some(held.order));
        }
    }

    /// `seen`: by the sensor.
    pub(crate) fn deposited(&mut self, turn: &mut Turn, compartment: Compartment, held: Depositing, seen: bool) {
        let Depositing { order, credential, courier, .. } = held;
        self.set_content(turn, compartment, Stored { order: order.clone() });
        self.book.set_missing(turn, &order, false);
        self.book.end_deposits(turn, &order);
        self.record(turn, Deposited { order: order.clone(), compartment, credential, seen, courier });
        self.end_deposit_session(turn, compartment, &order, true);
    }

    /// The screen of whoever was at it says how it ended.
    pub(crate) fn end_deposit_session(
        &mut self,
        turn: &mut Turn,
        compartment: Compartment,
        order: &OrderKey,
        stored: bool,
    ) {
        if let Some(session) = self.deposits.of(order) {
            turn.note(ScreenNote::DepositOver { session, compartment, stored });
        }
    }

    /// Staff say what is in a compartment that somebody left without a word.
    pub(crate) fn settle_deposit(
        &mut self,
        turn: &mut Turn,
        compartment: Compartment,
        held: Depositing,
        inside: bool,
        staff: Name,
    ) {
        if inside {
            self.store(turn, compartment, held.order, StoredBy::Staff, staff.clone());
        } else {
            self.abort_load(turn, compartment, held.order);
        }
        self.end_doubt_by_word(turn, compartment, staff);
    }
}
