//! People at a cabinet's screen, keypad and scanner.

use cabinet_core::{EntryResult, Input, ScreenNote};
use schemas::crypto::codes::Secret;
use schemas::messages::{Finding, OrderKey, Verifier};

use super::couriers::Keypad;
use super::ledger::{Cab, Seen};
use super::names;
use super::people::Attendant;
use super::world::{Happening, World};

/// Somebody at the keypad or the scanner.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) orders: Vec<OrderKey>,
    /// The secret that the order's customer was told, and whether it was typed.
    pub(super) right: Option<(OrderKey, bool)>,
    /// The order that a courier has a deposit code for.
    pub(super) deposit: Option<OrderKey>,
    /// Where it was shown, if it is the PIN or the badge of a courier.
    pub(super) courier: Option<Keypad>,
    /// The same of staff.
    pub(super) member: Option<Keypad>,
    /// The order of which it is an answer, behind its code.
    pub(super) answer: Option<OrderKey>,
    /// Of which cabinet it is the break-glass code.
    pub(super) glass: Option<Cab>,
    pub(super) busy: bool,
    pub(super) staff: bool,
    /// It was typed and not scanned.
    pub(super) typed: bool,
    /// What the cabinet compares with its book, once it asks for it.
    pub(super) verifier: Option<Verifier>,
}

impl Entry {
    /// Of somebody who is not known to have a right to anything.
    pub(super) fn of(secret: &Secret, staff: bool) -> Self {
        Self { typed: secret.kind().is_typed(), staff, ..Self::nothing() }
    }

    /// What somebody types behind the code of this order.
    pub(super) fn of_answer(order: OrderKey) -> Self {
        Self { answer: Some(order), typed: true, ..Self::nothing() }
    }

    fn nothing() -> Self {
        Self {
            orders: Vec::new(),
            right: None,
            deposit: None,
            courier: None,
            member: None,
            answer: None,
            glass: None,
            busy: false,
            staff: false,
            typed: false,
            verifier: None,
        }
    }
}

impl World {
    pub(super) fn derives(&mut self, cab: Cab, run: u64, entry: u64, verifier: Verifier) {
        if self.cabs[cab].run == run {
            self.take_cabinet(cab, Input::Derived { entry, verifier }, None);
        }
    }

    /// Somebody types or scans.
    pub(super) fn enter(&mut self, cab: Cab, secret: Secret, mut entry: Entry) {
        let cabinet = &mut self.cabs[cab];
        if !cabinet.is_up() || cabinet.asleep_until > self.now {
            return;
        }
        entry.busy = !cabinet.entries.is_empty();
        cabinet.next_entry += 1;
        let number = cabinet.next_entry;
        let input = if entry.courier.or(entry.member) == Some(Keypad::Couriers) {
            Input::CourierEntered { entry: number, secret }
        } else if entry.staff {
            Input::StaffEntered { entry: number, secret }
        } else {
            Input::Entered { entry: number, secret }
        };
        cabinet.entries.insert(number, entry);
        self.take_cabinet(cab, input, None);
    }

    pub(super) fn answered(&mut self, cab: Cab, number: u64, result: EntryResult) {
        let Some(entry) = self.cabs[cab].entries.remove(&number) else { return };
        self.coverage.count("entries", names::of_result(&result));
        let locked = matches!(result, EntryResult::Locked { .. });
        if locked || result == EntryResult::SecondPartNeeded {
            self.see(Seen::TypingRefused { cab, now: self.now, locked });
        }
        self.courier_answered(cab, &entry, &result);
        self.glass_answered(cab, &entry, &result);
        if let Some((order, typed)) = entry.right {
            // A door that is just being opened, or another entry that is checked, is a reason to wait.
            let door = self.ledger.place_at(cab, &order).map(|((_, at), _)| at);
            let busy = entry.busy
                || door
                    .is_some_and(|at| self.cabs[cab].doors[&at].attendant.is_some() || self.cabs[cab].bus.pulses(at));
            let held = entry.verifier.is_none_or(|verifier| self.holds_code(cab, &order, verifier));
            self.see(Seen::Answered { cab, order, typed, busy, held, result: result.clone() });
        }
        if matches!(result, EntryResult::AnswerNeeded { .. }) {
            self.answer_is_needed(cab, entry.verifier);
        }
        if matches!(result, EntryResult::ReleaseNeeded | EntryResult::AnswerNeeded { .. })
            || matches!(result, EntryResult::Opening { .. })
        {
            let shown = (self.cabs[cab].boot(), self.cabs[cab].boot_millis(self.now));
            for order in entry.orders {
                self.ledger.shown.insert((cab, order), shown);
            }
        }
        if let (EntryResult::Depositing { session, compartment }, Some(order)) = (&result, entry.deposit) {
            self.cabs[cab].depositor = Some((*session, order.clone()));
            self.depositor_stands_at(cab, *compartment, order);
        }
        if let EntryResult::StaffSession { session, .. } = result {
            self.cabs[cab].session = Some(session);
            if self.rough {
                self.later(2_000, Happening::StaffActs(cab));
            }
        }
    }

    /// Whether a code that was told is in the book that the cabinet holds.
    fn holds_code(&self, cab: Cab, order: &OrderKey, verifier: Verifier) -> bool {
        let applied = self.ledger.applied.get(&cab).copied().unwrap_or(0);
        match self.signer.verifiers.get(&(self.name_of(cab), verifier)) {
            Some(first) => *first <= applied,
            // Of a life of the fleet's store that is lost: the cabinet has it, unless it has lost something as well, or has got
            // another code of that order in this life.
            None => {
                let other = self.signer.books.get(&(self.name_of(cab), order.clone()));
                !self.ledger.unsure.contains(&cab) && other.is_none_or(|first| *first > applied)
            }
        }
    }

    pub(super) fn screen(&mut self, cab: Cab, note: ScreenNote) {
        match note {
            ScreenNote::PushDoor { compartment, .. } | ScreenNote::LockSilent { compartment } => {
                let silent = matches!(note, ScreenNote::LockSilent { .. });
                self.coverage.count("screen", if silent { "lock silent" } else { "push door" });
                let boot_millis = self.cabs[cab].boot_millis(self.now);
                self.see(Seen::Offered { at: (cab, compartment), boot_millis });
                if !self.dice.one_in(4) {
                    let wait = self.dice.between(1_000, 20_000);
                    self.later(wait, Happening::TriesAgain { cab, at: compartment });
                }
            }
            ScreenNote::CallStaff { .. } => self.coverage.count("screen", "call staff"),
            ScreenNote::Reported { .. } => {}
            ScreenNote::AskRelease { .. } => {
                self.coverage.count("screen", "asks for a release");
                let wait = if self.rough { self.dice.between(1_000, 150_000) } else { 3_000 };
                self.later(wait, Happening::StaffRelease(cab));
            }
            ScreenNote::Loading { order, compartment, .. } => {
                self.stand_at(cab, compartment, Attendant::Loader { order })
            }
            ScreenNote::Retrieving { order, compartment, .. } => {
                self.doubt_if_just_closed(cab, compartment);
                self.stand_at(cab, compartment, Attendant::Retriever { order });
            }
            ScreenNote::Looking { compartment, .. } => {
                // Whoever is at work there goes on with what they came for.
                let door = &self.cabs[cab].doors[&compartment];
                if matches!(door.attendant, None | Some(Attendant::Looker | Attendant::Collector { .. })) {
                    self.stand_at(cab, compartment, Attendant::Looker);
                }
            }
            ScreenNote::AskLoaded { compartment, .. } | ScreenNote::AskFound { compartment, .. } => {
                self.coverage.count("screen", "asks");
                let wait = self.dice.between(1_000, 30_000);
                self.later(wait, Happening::StaffAnswers { cab, at: compartment });
            }
            ScreenNote::Audited { compartment: at, found: Finding::Occupied } if self.scans => {
                self.later(5_000, Happening::StaffAnswers { cab, at });
            }
            ScreenNote::Audited { .. } => {}
            ScreenNote::Found { from, .. } => {
                self.coverage.count("screen", if from.is_some() { "found elsewhere" } else { "found" });
            }
            ScreenNote::OpeningAll { compartments, .. } => self.all_are_opened(cab, &compartments),
            ScreenNote::Swapping { compartments, .. } => self.swap_begins(cab, compartments),
            ScreenNote::AskSwapped { compartments: [at, _] } => {
                self.coverage.count("screen", "asks about an exchange");
                let wait = self.dice.between(1_000, 30_000);
                self.later(wait, Happening::StaffAnswersSwap { cab, at });
            }
            ScreenNote::SwapOver { compartments, .. } => self.swap_over(cab, compartments),
            ScreenNote::StaffRefused { reason, .. } => {
                self.coverage.count("staff refused", names::of_staff_refusal(reason));
            }
            ScreenNote::SessionEnded { session } => {
                self.glass_left(cab, session);
                if self.cabs[cab].session == Some(session) {
                    self.cabs[cab].session = None;
                }
                self.cabs[cab].couriers.remove(&session);
            }
            ScreenNote::Depositing { session, compartment } => {
                if self.cabs[cab].couriers.contains_key(&session) {
                    return self.courier_stands_at(cab, session, compartment);
                }
                self.coverage.count("screen", "another door");
                if let Some((_, order)) = self.cabs[cab].depositor.clone().filter(|(held, _)| *held == session) {
                    self.depositor_stands_at(cab, compartment, order);
                }
            }
            ScreenNote::AskDeposited { compartment, .. } => {
                self.coverage.count("screen", "asks a depositor");
                self.depositor_is_asked(cab, compartment);
            }
            ScreenNote::DepositRefused { reason, .. } => {
                self.coverage.count("deposit refused", names::of_deposit_refusal(reason));
            }
            ScreenNote::DepositOver { stored, .. } => {
                self.coverage.count("screen", if stored { "deposit stored" } else { "deposit given up" });
            }
            ScreenNote::Opened { .. }
            | ScreenNote::Closed { .. }
            | ScreenNote::Beep { .. }
            | ScreenNote::Released { .. }
            | ScreenNote::Stored { .. }
            | ScreenNote::Beside { .. }
            | ScreenNote::LoadAborted { .. } => {}
        }
    }
}
