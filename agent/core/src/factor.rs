//! A second factor for restricted goods: behind the right credential the screen asks for something that its holder knows or brings, such
//! as a date of birth. A wrong answer counts as a wrong code does, also behind a QR code, and an order takes so many of them and no more.
//!
//! Who is asked is in memory only: after a power cut, a minute, three wrong answers or anybody else's code, the credential comes first
//! again. Staff can release the order in the place of the answer, unless it asks for both.

use schemas::crypto::answers::Answer;
use schemas::crypto::codes::Pepper;
use schemas::messages::{Compartment, CredentialId, CredentialKind, OrderKey, Verifier};

use crate::core::CabinetCore;
use crate::entry::{Who, valid};
use crate::lockout::Typing;
use crate::records::{CollectUse, CredentialRow, FactorRow};
use crate::turn::Turn;
use crate::uses::PERSON_MILLIS;
use crate::{Effect, EntryRefusal, EntryResult};

/// How long the screen waits for an answer, from the credential on.
pub const ANSWER_MILLIS: u64 = 60_000;
/// Wrong answers after one entry of the credential.
pub const ANSWERS_AT_ONCE: u32 = 3;
/// Wrong answers to one order, as long as it asks for the same: then only staff let its holder in. What is asked for has ten thousand
/// possible values at the least.
pub const WRONG_ANSWERS_MAX: u32 = 10;

#[derive(Debug)]
struct Asking {
    order: OrderKey,
    credential: CredentialId,
    until: u64,
    wrong: u32,
}

/// Whoever has shown the credential last, if that was not enough.
#[derive(Debug, Default)]
pub(crate) struct Asked(Option<Asking>);

impl Asked {
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.0.as_ref().map(|asking| asking.until)
    }

    pub(crate) fn end_due(&mut self, now: u64) {
        self.0.take_if(|asking| asking.until <= now);
    }

    /// Somebody comes with another credential.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }

    fn is_of(&self, order: &OrderKey) -> bool {
        self.0.as_ref().is_some_and(|asking| asking.order == *order)
    }
}

impl CabinetCore {
    /// The right credential of an order that asks for more.
    pub(crate) fn ask_answer(
        &mut self,
        turn: &mut Turn,
        credential: CredentialId,
        factor: &FactorRow,
        guarded: Vec<(Compartment, OrderKey)>,
    ) -> EntryResult {
        let Some((_, order)) = guarded.first().cloned() else { return EntryResult::Refused(EntryRefusal::NotHere) };
        let typing = self.lockout.typing(turn.now, self.clock.now(turn.now));
        let used_up = self.book.wrong_answers(&order, factor) >= WRONG_ANSWERS_MAX;
        if !factor.release {
            self.ask_release(turn, credential, guarded);
        }
        match typing {
            Typing::Free if !used_up => {
                let until = turn.now + ANSWER_MILLIS;
                self.asked.0 = Some(Asking { order, credential, until, wrong: 0 });
                EntryResult::AnswerNeeded { prompt: factor.prompt }
            }
            // Nothing can be typed, so only staff let anybody in.
            Typing::Free | Typing::Locked { .. } | Typing::SecondPart if !factor.release => EntryResult::ReleaseNeeded,
            Typing::Locked { until } => EntryResult::Locked { until_boot_millis: until },
            Typing::Free | Typing::SecondPart => EntryResult::Refused(EntryRefusal::AnswersUsedUp),
        }
    }

    pub(crate) fn handle_answered(&mut self, turn: &mut Turn, entry: u64, answer: Answer) {
        let who = self.asked.0.as_ref().map(|asking| Who::Asked(asking.order.clone()));
        let Some(who) = who else {
            let result = EntryResult::Refused(EntryRefusal::CodeFirst);
            return turn.effect(Effect::EntryResult { entry, result });
        };
        match self.may_try(turn.now, entry, CredentialKind::Digits) {
            Err(result) => turn.effect(Effect::EntryResult { entry, result }),
            Ok(()) => {
                let Who::Asked(order) = &who else { return };
                let (order, salt, pepper) = (order.clone(), self.identity.salt, Pepper(self.identity.pepper.0));
                self.entries.begin(entry, who, CredentialKind::Digits, turn.now);
                turn.effect(Effect::DeriveAnswer { entry, answer, order, salt, pepper });
            }
        }
    }

    /// All that held when the credential was shown has to hold still.
    pub(crate) fn answer_derived(&mut self, turn: &mut Turn, order: &OrderKey, verifier: &Verifier) -> EntryResult {
        let code_first = EntryResult::Refused(EntryRefusal::CodeFirst);
        if !self.asked.is_of(order) {
            return code_first;
        }
        let Some(asking) = self.asked.0.take() else { return code_first };
        let held = self.book.credential(&asking.credential).cloned();
        let Some((row, factor)) = held.and_then(|row| Some((row.clone(), row.factor?))) else { return code_first };
        if !row.orders.contains(order) {
            return code_first;
        }
        if !self.book.is_answer(&self.config.device_key, &factor, verifier) {
            return self.wrong_answer(turn, asking, &factor);
        }
        let credential = asking.credential;
        let compartment = match self.behind_answer(turn, &row, order) {
            Ok(compartment) => compartment,
            Err(refusal) => return self.refuse_credential(turn, credential, refusal),
        };
        if factor.release {
            self.ask_release(turn, credential, vec![(compartment, order.clone())]);
            return EntryResult::ReleaseNeeded;
        }
        let purpose = CollectUse { credential, order: order.clone(), app: None, released: None }.into();
        self.start_use(turn, compartment, purpose, turn.now + PERSON_MILLIS, 1);
        EntryResult::Opening { compartments: vec![compartment] }
    }

    fn behind_answer(&self, turn: &Turn, row: &CredentialRow, order: &OrderKey) -> Result<Compartment, EntryRefusal> {
        valid(row)?;
        self.right_to(row, order, turn.now)?;
        self.behind_one(order).map_err(|(refusal, _)| refusal)
    }

    /// Counted on disk, twice, before the person hears of it.
    fn wrong_answer(&mut self, turn: &mut Turn, asking: Asking, factor: &FactorRow) -> EntryResult {
        let Asking { order, credential, until, wrong } = asking;
        let wrong = wrong + 1;
        let of_order = self.book.count_wrong_answer(turn, &order, factor);
        let refused = self.refuse_credential(turn, credential, EntryRefusal::WrongAnswer);
        let locked = self.wrong(turn, CredentialKind::Digits);
        if matches!(locked, EntryResult::Locked { .. }) {
            return locked;
        }
        if of_order >= WRONG_ANSWERS_MAX {
            return EntryResult::Refused(EntryRefusal::AnswersUsedUp);
        }
        if wrong >= ANSWERS_AT_ONCE {
            return EntryResult::Refused(EntryRefusal::CodeFirst);
        }
        self.asked.0 = Some(Asking { order, credential, until, wrong });
        refused
    }
}
