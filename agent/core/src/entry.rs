//! What people type and scan: checked against the lockout, derived by the shell, compared with the book.

use std::collections::BTreeMap;

use schemas::crypto::codes::{Pepper, Secret};
use schemas::ids::Name;
use schemas::messages::{
    Compartment, CredentialId, CredentialKind, CredentialRefused, FleetMillis, OrderKey, RefusalReason, TypingLocked,
    Verifier,
};

use crate::bay::Bay;
use crate::core::CabinetCore;
use crate::lockout::Typing;
use crate::records::{CollectUse, Content, CredentialRow, Fault, LOCKOUT_KEY, Life};
use crate::tables::META;
use crate::turn::Turn;
use crate::uses::PERSON_MILLIS;
use crate::{Effect, EntryRefusal, EntryResult, ScreenNote};

/// A derivation that has not come back until then is given up.
const DERIVE_MILLIS: u64 = 10_000;
const SCANS_MAX: usize = 8;
/// The bus leaves at least half a second between two doors of a bundle; a later one may wait longer.
pub(crate) const DOOR_MILLIS: u64 = 1_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    Customer,
    Staff,
    Courier,
    /// Somebody who was asked for more behind the credential of this order.
    Asked(OrderKey),
}

#[derive(Debug)]
struct Pending {
    who: Who,
    kind: CredentialKind,
    until: u64,
}

/// Entries whose verifier is being computed. One typed code at a time: many at once would all be tried before the first
/// wrong one is counted.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pending: BTreeMap<u64, Pending>,
}

impl Entries {
    fn is_busy(&self, entry: u64, kind: CredentialKind) -> bool {
        let alike = self.pending.values().filter(|pending| pending.kind.is_typed() == kind.is_typed()).count();
        let most = if kind.is_typed() { 1 } else { SCANS_MAX };
        alike >= most || self.pending.contains_key(&entry)
    }

    pub(crate) fn begin(&mut self, entry: u64, who: Who, kind: CredentialKind, now: u64) {
        self.pending.insert(entry, Pending { who, kind, until: now + DERIVE_MILLIS });
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        self.pending.values().map(|pending| pending.until).min()
    }

    /// Entries whose derivation is given up.
    fn take_due(&mut self, now: u64) -> Vec<u64> {
        self.pending.extract_if(.., |_, pending| pending.until <= now).map(|(entry, _)| entry).collect()
    }
}

impl CabinetCore {
    pub(crate) fn handle_entered(&mut self, turn: &mut Turn, entry: u64, secret: Secret, who: Who) {
        match self.may_try(turn.now, entry, secret.kind()) {
            Err(result) => turn.effect(Effect::EntryResult { entry, result }),
            Ok(()) => {
                if who == Who::Customer {
                    // Whoever was asked for more is gone, or begins again.
                    self.asked.forget();
                }
                self.entries.begin(entry, who, secret.kind(), turn.now);
                let (salt, pepper) = (self.identity.salt, Pepper(self.identity.pepper.0));
                turn.effect(Effect::Derive { entry, secret, salt, pepper });
            }
        }
    }

    pub(crate) fn may_try(&self, now: u64, entry: u64, kind: CredentialKind) -> Result<(), EntryResult> {
        if kind.is_typed() {
            match self.lockout.typing(now, self.clock.now(now)) {
                Typing::Locked { until } => return Err(EntryResult::Locked { until_boot_millis: until }),
                Typing::SecondPart => return Err(EntryResult::SecondPartNeeded),
                Typing::Free => {}
            }
        }
        if self.entries.is_busy(entry, kind) { Err(EntryResult::Refused(EntryRefusal::Busy)) } else { Ok(()) }
    }

    pub(crate) fn handle_derived(&mut self, turn: &mut Turn, entry: u64, verifier: &Verifier) {
        let Some(pending) = self.entries.pending.remove(&entry) else { return };
        if let Who::Asked(order) = &pending.who {
            let result = self.answer_derived(turn, order, verifier);
            return turn.effect(Effect::EntryResult { entry, result });
        }
        let key = &self.config.device_key;
        let customer = match pending.who {
            Who::Customer => self.book.find(key, verifier, pending.kind),
            Who::Staff | Who::Courier | Who::Asked(_) => None,
        };
        // A badge is known wherever it is scanned; a PIN only where staff or couriers type theirs, so that a customer's code
        // never is one.
        let scanned = pending.kind == CredentialKind::Qr;
        let staff = (scanned || pending.who == Who::Staff).then(|| self.book.find_staff(key, verifier, pending.kind));
        let courier =
            (scanned || pending.who == Who::Courier).then(|| self.book.find_courier(key, verifier, pending.kind));
        let result = match (customer, staff.flatten(), courier.flatten()) {
            (Some(id), _, _) => self.use_credential(turn, id),
            (None, Some((name, until)), _) => self.staff_came(turn, name, until),
            (None, None, Some(name)) => self.courier_came(turn, name),
            (None, None, None) if pending.who == Who::Courier => self.wrong(turn, pending.kind),
            (None, None, None) => self
                .enter_by_break_glass(turn, verifier, pending.kind)
                .unwrap_or_else(|| self.wrong(turn, pending.kind)),
        };
        turn.effect(Effect::EntryResult { entry, result });
    }

    /// Somebody showed a PIN or a badge of the book.
    fn staff_came(&mut self, turn: &mut Turn, name: Name, until: Option<FleetMillis>) -> EntryResult {
        if until.is_some_and(|until| self.clock.has_passed(until, turn.now)) {
            return EntryResult::Refused(EntryRefusal::Expired);
        }
        self.log_in(turn, name)
    }

    /// Counted on disk before the person hears of it. What was scanned cannot be guessed, so it is not counted.
    pub(crate) fn wrong(&mut self, turn: &mut Turn, kind: CredentialKind) -> EntryResult {
        if !kind.is_typed() {
            return EntryResult::Refused(EntryRefusal::Wrong);
        }
        let fleet = self.clock.now(turn.now);
        let locked = self.lockout.count_wrong(turn.now, fleet);
        turn.put(META, LOCKOUT_KEY, &self.lockout.row());
        let Some(until_boot_millis) = locked else { return EntryResult::Refused(EntryRefusal::Wrong) };
        let wrong_today = u32::try_from(self.lockout.wrong_today(turn.now, fleet)).unwrap_or(u32::MAX);
        self.record(turn, TypingLocked { until_boot_millis, wrong_today });
        EntryResult::Locked { until_boot_millis }
    }

    fn use_credential(&mut self, turn: &mut Turn, id: CredentialId) -> EntryResult {
        let Some(row) = self.book.credential(&id).cloned() else {
            return EntryResult::Refused(EntryRefusal::Wrong);
        };
        if row.is_deposit() {
            return self.use_deposit(turn, id, &row);
        }
        let behind = match valid(&row).and_then(|()| self.behind(turn, &row)) {
            Ok(behind) => behind,
            Err(EntryRefusal::Used) if self.reopened_by(id, &row, turn.now).is_some() => {
                return self.reopen(turn, id, &row);
            }
            Err(refusal) => return self.refuse_credential(turn, id, refusal),
        };
        let (guarded, opening): (Vec<_>, Vec<_>) = behind.into_iter().partition(|(_, order)| row.is_guarded(order));
        if let Some(factor) = &row.factor {
            return self.ask_answer(turn, id, factor, guarded);
        }
        self.ask_release(turn, id, guarded);
        if opening.is_empty() {
            return EntryResult::ReleaseNeeded;
        }
        for (ahead, (compartment, order)) in (0..).zip(&opening) {
            self.end_forgotten_load(turn, *compartment);
            let purpose = CollectUse { credential: id, order: order.clone(), app: None, released: None }.into();
            let not_after = turn.now + PERSON_MILLIS + ahead * DOOR_MILLIS;
            self.start_use(turn, *compartment, purpose, not_after, 1);
        }
        EntryResult::Opening { compartments: opening.into_iter().map(|(number, _)| number).collect() }
    }

    /// The door that this credential has opened a moment ago and opens again, and for which order. Where more than the code was
    /// asked for, it is not enough this time either.
    fn reopened_by(&self, id: CredentialId, row: &CredentialRow, now: u64) -> Option<(Compartment, OrderKey)> {
        let theirs = |bay: &Bay| Some((bay.number(), bay.reopens_for(id, now)?.clone()));
        let (compartment, order) = self.bays.values().find_map(theirs)?;
        (row.factor.is_none() && !row.is_guarded(&order)).then_some((compartment, order))
    }

    fn reopen(&mut self, turn: &mut Turn, id: CredentialId, row: &CredentialRow) -> EntryResult {
        let Some((compartment, order)) = self.reopened_by(id, row, turn.now) else {
            return EntryResult::Refused(EntryRefusal::Used);
        };
        if self.bays.get(&compartment).is_some_and(|bay| bay.active.is_some()) {
            return EntryResult::Refused(EntryRefusal::Busy);
        }
        self.end_offer(turn, compartment);
        let purpose = CollectUse { credential: id, order, app: None, released: None }.into();
        self.start_use(turn, compartment, purpose, turn.now + PERSON_MILLIS, 1);
        EntryResult::Opening { compartments: vec![compartment] }
    }

    pub(crate) fn refuse_credential(
        &mut self,
        turn: &mut Turn,
        id: CredentialId,
        refusal: EntryRefusal,
    ) -> EntryResult {
        if refusal == EntryRefusal::Used {
            self.used_before(turn.now, id);
        }
        if let Some(reason) = reported(refusal)
            && self.refusals.admit_credential(id, reason, turn.now)
        {
            self.record(turn, CredentialRefused { id, reason });
        }
        EntryResult::Refused(refusal)
    }

    /// Whether a right that ends then, and may need the time to be known, holds now.
    pub(crate) fn in_time(&self, expires: Option<FleetMillis>, needs_time: bool, now: u64) -> Result<(), EntryRefusal> {
        if expires.is_some_and(|expires| self.clock.has_passed(expires, now)) {
            return Err(EntryRefusal::Expired);
        }
        if needs_time && self.clock.now(now).is_none() {
            return Err(EntryRefusal::TimeUnknown);
        }
        Ok(())
    }

    /// The compartments that this right opens now, or why there are none.
    fn behind(&self, turn: &mut Turn, row: &CredentialRow) -> Result<Vec<(Compartment, OrderKey)>, EntryRefusal> {
        let mut opening = Vec::new();
        let mut refusal = EntryRefusal::NotHere;
        for order in &row.orders {
            let right = self.right_to(row, order, turn.now).map_err(|why| (why, None));
            match right.and_then(|()| self.behind_one(order)) {
                // One use opens it for all that lie there.
                Ok(compartment) if opening.iter().any(|(open, _)| *open == compartment) => {}
                Ok(compartment) => opening.push((compartment, order.clone())),
                Err((why, stuck)) => {
                    refusal = why;
                    if let Some(compartment) = stuck {
                        turn.note(ScreenNote::CallStaff { compartment, order: Some(order.clone()) });
                    }
                }
            }
        }
        if opening.is_empty() { Err(refusal) } else { Ok(opening) }
    }

    /// Where to pulse for one order. With a refusal comes the compartment that only staff can open.
    pub(crate) fn behind_one(&self, order: &OrderKey) -> Result<Compartment, (EntryRefusal, Option<Compartment>)> {
        let Some(bay) = self.compartment_of(order).and_then(|compartment| self.bays.get(&compartment)) else {
            let missing = self.book.is_missing(order);
            return Err((if missing { EntryRefusal::Missing } else { EntryRefusal::NotHere }, None));
        };
        match &bay.content {
            Content::Stored(_) if bay.active.is_some() => Err((EntryRefusal::Busy, None)),
            Content::Stored(_) if matches!(bay.fault, Some(Fault::WrongDoor | Fault::PutBack)) => {
                Err((EntryRefusal::OutOfService, Some(bay.number())))
            }
            // Something beside it is not to be handed out.
            Content::Stored(_) if !self.others_may_go(bay, order) => {
                Err((EntryRefusal::OutOfService, Some(bay.number())))
            }
            Content::Stored(_) => Ok(bay.number()),
            Content::Loading(_) | Content::Retrieving(_) if bay.beside.contains(order) => {
                match self.past_staff(bay, order) {
                    Ok(()) => Ok(bay.number()),
                    Err(why) => Err((why, (why == EntryRefusal::OutOfService).then(|| bay.number()))),
                }
            }
            Content::Free(_) | Content::Loading(_) | Content::Depositing(_) => Err((EntryRefusal::NotHere, None)),
            Content::Collecting(_) | Content::Leaving(_) => Err((EntryRefusal::Used, None)),
            Content::Retrieving(_) => Err((EntryRefusal::TakenOut, None)),
            // Somebody was interrupted, and only staff can tell where it is.
            Content::Swapping(_) if bay.audit => Err((EntryRefusal::OutOfService, Some(bay.number()))),
            Content::Swapping(_) => Err((EntryRefusal::Busy, None)),
        }
    }

    /// Nobody waits for an answer that will not come.
    pub(crate) fn give_up_entries(&mut self, turn: &mut Turn) {
        for entry in self.entries.take_due(u64::MAX) {
            turn.effect(Effect::EntryResult { entry, result: EntryResult::Refused(EntryRefusal::OutOfService) });
        }
    }

    pub(crate) fn entries_due(&mut self, turn: &mut Turn) {
        for entry in self.entries.take_due(turn.now) {
            turn.effect(Effect::EntryResult { entry, result: EntryResult::Refused(EntryRefusal::Busy) });
        }
    }
}

pub(crate) fn valid(row: &CredentialRow) -> Result<(), EntryRefusal> {
    match row.life {
        Life::Used => Err(EntryRefusal::Used),
        Life::Revoked => Err(EntryRefusal::Revoked),
        Life::Live => Ok(()),
    }
}

/// What the fleet is told; that nothing is here or a door is busy is no offence.
fn reported(refusal: EntryRefusal) -> Option<RefusalReason> {
    match refusal {
        EntryRefusal::Used => Some(RefusalReason::Used),
        EntryRefusal::Expired => Some(RefusalReason::Expired),
        EntryRefusal::Revoked | EntryRefusal::TakenOut => Some(RefusalReason::Revoked),
        EntryRefusal::TimeUnknown => Some(RefusalReason::TimeUnknown),
        EntryRefusal::OutOfService | EntryRefusal::Missing => Some(RefusalReason::OutOfService),
        EntryRefusal::NoRoom => Some(RefusalReason::NoFittingCompartment),
        EntryRefusal::WrongAnswer | EntryRefusal::AnswersUsedUp => Some(RefusalReason::WrongAnswer),
        EntryRefusal::Wrong | EntryRefusal::Busy | EntryRefusal::NotHere | EntryRefusal::CodeFirst => None,
    }
}
