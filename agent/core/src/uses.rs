//! Uses of an authority: journalled, then pulsed, then settled by the sensor; exactly one outcome for each.
//!
//! A door that the sensor calls open is pulsed all the same: a cut sensor cable must not trap goods. Its outcome is then
//! unknown, because open afterwards proves nothing, and the authority counts as used, because the pulse was sent.

use schemas::messages::{Compartment, DoorFault, UnlockDone, UnlockOutcome};

use crate::bay::{ActiveUse, Bay, LastPulse, Offer, Phase};
use crate::core::CabinetCore;
use crate::records::{Fault, PULSE_KEY, Purpose, UseRow};
use crate::tables::{META, USES, bay_key};
use crate::turn::Turn;
use crate::{DoorSeen, Effect, ScreenNote};

/// Presses of "try again" for one authority, the first pulse included.
pub const ATTEMPTS_MAX: u32 = 3;
/// How long a customer's or a staff member's pulse may wait for the bus, and how long "try again" is offered.
pub const PERSON_MILLIS: u64 = 30_000;
const OFFER_MILLIS: u64 = 60_000;
/// How long a former run's use waits for a first report of its door.
pub const RECOVERY_MILLIS: u64 = 10_000;

impl CabinetCore {
    /// Journals the use and orders its pulse. The caller has checked that no use is in progress there.
    pub(crate) fn start_use(
        &mut self,
        turn: &mut Turn,
        compartment: Compartment,
        purpose: Purpose,
        not_after: u64,
        attempt: u32,
    ) {
        self.end_offer(turn, compartment);
        let pulse = self.next_pulse(turn);
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        let row = UseRow { pulse, purpose, attempt, not_after };
        turn.put(USES, bay_key(compartment), &row);
        bay.active = Some(ActiveUse { row, phase: Phase::Pulsing { retried: false } });
        turn.effect(Effect::Pulse { pulse, compartment, not_after });
    }

    /// Numbers of pulses are never given twice, in no run.
    fn next_pulse(&mut self, turn: &mut Turn) -> u64 {
        self.pulses += 1;
        turn.put(META, PULSE_KEY, &self.pulses);
        self.pulses
    }

    pub(crate) fn handle_pulse_result(&mut self, turn: &mut Turn, pulse: u64, sent: bool) {
        let Some((compartment, retried)) = self.pulsing(pulse) else { return };
        if sent {
            self.pulse_sent(turn, compartment);
        } else if !retried {
            self.retry(turn, compartment);
        } else {
            self.settle(turn, compartment, UnlockOutcome::NotSent);
        }
    }

    fn pulsing(&self, pulse: u64) -> Option<(Compartment, bool)> {
        self.bays.iter().find_map(|(compartment, bay)| match bay.active.as_ref()? {
            ActiveUse { row, phase: Phase::Pulsing { retried } } if row.pulse == pulse => {
                Some((*compartment, *retried))
            }
            _ => None,
        })
    }

    fn pulse_sent(&mut self, turn: &mut Turn, compartment: Compartment) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        let Some(active) = &mut bay.active else { return };
        active.phase = Phase::Sent { at: turn.now };
        let purpose = active.row.purpose.clone();
        // A sensor that never said a word is none. One that is only silent now may say yet what the pulse did.
        let blind = bay.has_no_sensor() && matches!(purpose, Purpose::Collect(_));
        bay.last_pulse = Some(LastPulse { at: turn.now, purpose });
        if blind {
            // No sensor: a code is used up by the pulse.
            self.settle(turn, compartment, UnlockOutcome::OutcomeUnknown);
        }
    }

    /// Certainly not sent: once more by itself, as long as the authority is young enough.
    fn retry(&mut self, turn: &mut Turn, compartment: Compartment) {
        let young = |active: &ActiveUse| turn.now <= active.row.not_after;
        if !self.bays.get(&compartment).and_then(|bay| bay.active.as_ref()).is_some_and(young) {
            return self.settle(turn, compartment, UnlockOutcome::NotSent);
        }
        let pulse = self.next_pulse(turn);
        let Some(active) = self.bays.get_mut(&compartment).and_then(|bay| bay.active.as_mut()) else { return };
        active.row.pulse = pulse;
        active.phase = Phase::Pulsing { retried: true };
        turn.put(USES, bay_key(compartment), &active.row);
        turn.effect(Effect::Pulse { pulse, compartment, not_after: active.row.not_after });
    }

    /// The time of a use is over: what the sensor says now is the outcome.
    pub(crate) fn use_due(&mut self, turn: &mut Turn, compartment: Compartment) {
        let Some(bay) = self.bays.get(&compartment) else { return };
        let Some(active) = &bay.active else { return };
        if turn.now < active.deadline() {
            return;
        }
        let outcome = match (active.phase, bay.seen) {
            (Phase::Sent { .. }, DoorSeen::Closed) => UnlockOutcome::NotOpened,
            (Phase::Sent { .. }, DoorSeen::Open | DoorSeen::Unknown)
            | (Phase::Pulsing { .. } | Phase::Recovering { .. }, _) => UnlockOutcome::OutcomeUnknown,
        };
        self.settle(turn, compartment, outcome);
    }

    /// Ends the use in progress with its one outcome.
    pub(crate) fn settle(&mut self, turn: &mut Turn, compartment: Compartment, outcome: UnlockOutcome) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        let Some(ActiveUse { mut row, phase }) = bay.active.take() else { return };
        self.tell_command_outcome(turn, compartment, &mut row, outcome);
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        if outcome == UnlockOutcome::NotOpened && bay.may_try_again(&row) {
            return self.offer_again(turn, compartment, row);
        }
        turn.remove(USES, bay_key(compartment));
        if outcome == UnlockOutcome::Opened && matches!(bay.fault, Some(Fault::Stuck | Fault::WrongDoor)) {
            // The pulse opened its own door: whatever was wrong with the lock is no longer.
            bay.fault = None;
            self.save_bay(turn, compartment);
        }
        if let Purpose::Command(by) = &row.purpose {
            return self.record(turn, UnlockDone { id: by.id, compartment, outcome });
        }
        match (outcome, phase) {
            (UnlockOutcome::Opened, _) => self.unlocked(turn, compartment, &row.purpose, true),
            (UnlockOutcome::OutcomeUnknown, Phase::Sent { .. }) if !self.is_silent(compartment) => {
                let seen = self.bays.get(&compartment).is_some_and(|bay| bay.seen == DoorSeen::Open);
                self.unlocked(turn, compartment, &row.purpose, seen);
            }
            (UnlockOutcome::OutcomeUnknown, _) => self.left_in_doubt(turn, compartment, row),
            (UnlockOutcome::NotOpened | UnlockOutcome::NotSent, _) if row.purpose.is_of_somebody_away() => {
                self.gave_up(turn, compartment, &row);
            }
            (UnlockOutcome::NotOpened, _) => self.call_staff(turn, compartment, &row),
            (UnlockOutcome::NotSent, _) => self.offer_unsent(turn, compartment, row),
        }
    }

    /// The outcome of a command, told once. What comes of the order is told as it happens.
    fn tell_command_outcome(
        &mut self,
        turn: &mut Turn,
        compartment: Compartment,
        row: &mut UseRow,
        outcome: UnlockOutcome,
    ) {
        let Some(right) = row.purpose.right_mut() else { return };
        if std::mem::replace(&mut right.told, true) {
            return;
        }
        let id = right.id;
        turn.put(USES, bay_key(compartment), row);
        self.record(turn, UnlockDone { id, compartment, outcome });
    }

    /// It has a sensor, and nothing is heard of it.
    fn is_silent(&self, compartment: Compartment) -> bool {
        self.bays.get(&compartment).is_some_and(|bay| bay.seen == DoorSeen::Unknown && !bay.has_no_sensor())
    }

    /// A power cut, a silent board or a dead bus came between the journal and the outcome. The credential stays valid: to
    /// refuse a customer whose order may be behind the door is worse than to open twice for the same right.
    fn left_in_doubt(&mut self, turn: &mut Turn, compartment: Compartment, row: UseRow) {
        self.record(turn, DoorFault { compartment, by: row.purpose.actor(), attempts: row.attempt });
        // Somebody may have taken the order out and closed the door unseen, or nobody may have opened it at all.
        if let Some(bay) = self.bays.get(&compartment).filter(|bay| !bay.sensor_agrees()) {
            let order = row.purpose.order().or(bay.content.order()).cloned();
            self.require_audit(turn, compartment, order);
        }
        match &row.purpose {
            Purpose::Load(_) | Purpose::Retrieve(_) | Purpose::Look(_) | Purpose::Swap(_) | Purpose::Deposit(_) => {
                self.unlocked(turn, compartment, &row.purpose, false)
            }
            Purpose::Collect(_) | Purpose::Command(_) => {}
        }
    }

    /// The person may push the door and try again, twice. The use stays in the journal meanwhile: the door may open late, and
    /// a run that ends before it hears of that must not leave the next one sure of what is inside.
    fn offer_again(&mut self, turn: &mut Turn, compartment: Compartment, row: UseRow) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        turn.note(ScreenNote::PushDoor { compartment, attempt: row.attempt });
        bay.offer = Some(Offer { row, until: turn.now + OFFER_MILLIS, journalled: true });
    }

    fn call_staff(&mut self, turn: &mut Turn, compartment: Compartment, row: &UseRow) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        bay.fault = bay.fault.or(Some(Fault::Stuck));
        turn.note(ScreenNote::CallStaff { compartment, order: row.purpose.order().cloned() });
        self.gave_up(turn, compartment, row);
        self.save_bay(turn, compartment);
    }

    /// No byte reached the lock, so nothing is known against it: the press does not count, and the lock is not called stuck.
    fn offer_unsent(&mut self, turn: &mut Turn, compartment: Compartment, row: UseRow) {
        let Some(bay) = self.bays.get_mut(&compartment) else { return };
        turn.note(ScreenNote::LockSilent { compartment });
        let row = UseRow { attempt: row.attempt - 1, ..row };
        bay.offer = Some(Offer { row, until: turn.now + OFFER_MILLIS, journalled: false });
    }

    fn gave_up(&mut self, turn: &mut Turn, compartment: Compartment, row: &UseRow) {
        self.record(turn, DoorFault { compartment, by: row.purpose.actor(), attempts: row.attempt });
        self.never_unlocked(turn, compartment);
    }

    /// Nobody pressed "try again", or something else is asked of the door.
    pub(crate) fn end_offer(&mut self, turn: &mut Turn, compartment: Compartment) {
        if let Some(offer) = self.take_offer(turn, compartment) {
            self.gave_up(turn, compartment, &offer.row);
        }
    }

    pub(crate) fn take_offer(&mut self, turn: &mut Turn, compartment: Compartment) -> Option<Offer> {
        let offer = self.bays.get_mut(&compartment)?.offer.take()?;
        if offer.journalled {
            turn.remove(USES, bay_key(compartment));
        }
        Some(offer)
    }

    pub(crate) fn offer_due(&mut self, turn: &mut Turn, compartment: Compartment) {
        let over = |bay: &Bay| bay.offer.as_ref().is_some_and(|offer| offer.until <= turn.now);
        if self.bays.get(&compartment).is_some_and(over) {
            self.end_offer(turn, compartment);
        }
    }

    pub(crate) fn handle_try_again(&mut self, turn: &mut Turn, compartment: Compartment) {
        let Some(offer) = self.take_offer(turn, compartment) else { return };
        if turn.now > offer.until || !self.still_entitled(compartment, &offer.row.purpose) {
            return self.gave_up(turn, compartment, &offer.row);
        }
        let not_after = turn.now + PERSON_MILLIS;
        self.start_use(turn, compartment, offer.row.purpose, not_after, offer.row.attempt + 1);
    }
}
