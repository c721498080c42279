//! Orders with a second factor: whoever has their code is asked for what their backend has given with them.

use std::collections::BTreeMap;

use cabinet_core::{ANSWER_MILLIS, EntryRefusal, EntryResult, Input, RELEASE_MILLIS, WRONG_ANSWERS_MAX};
use schemas::cbor;
use schemas::crypto::answers::Answer;
use schemas::crypto::codes::{Pepper, Secret, TOKEN_BYTES};
use schemas::messages::Book;
use schemas::messages::{BookChange, BootId, Category, Factor, OrderKey, PutCredential, PutGuarded, Salt, Verifier};
use schemas::topics::OrderChange;

use super::invariants::{Verdict, ensure};
use super::ledger::{Cab, Cause, Content, Ledger, OrderTruth, Seen};
use super::people::is_restricted;
use super::sabotage::Sabotage;
use super::schedule::Pace;
use super::screen::Entry;
use super::world::{CABS, Happening, SHOPS, World, constant, digest};

/// Of one backend; staff have to release the last one as well.
const NAMES: [&str; 3] = ["F0", "F1", "F5"];
/// A derivation that has not come back until then is given up.
const DERIVE_MILLIS: u64 = 10_000;

/// How often it is drawn, its name, and what is done.
type Deed = (u64, &'static str, fn(&mut World));

const DEEDS: &[Deed] = &[
    (4, "backend puts with a second factor", World::backend_puts_with_factor),
    (1, "backend puts with another answer", World::backend_puts_another_answer),
    (1, "backend changes an answer", World::backend_changes_answer),
    (12, "customer is to answer", World::customer_is_to_answer),
    (2, "somebody answers", World::somebody_answers),
    (2, "somebody guesses answers", World::somebody_guesses_answers),
];

/// What of this the deeds leave over is for those to come.
const DRAWN: u64 = 32;

/// What a book that was signed says of codes of such orders, by the code's verifier.
#[derive(Debug, Clone)]
pub(super) struct FactorBook {
    whole: bool,
    put: Vec<OrderKey>,
    dropped: Vec<OrderKey>,
    codes: Vec<(OrderKey, Verifier, Option<Factor>)>,
}

impl FactorBook {
    pub(super) fn of(book: &Book) -> Self {
        let mut said = Self { whole: book.base == 0, put: Vec::new(), dropped: Vec::new(), codes: Vec::new() };
        for change in &book.changes {
            match change {
                BookChange::PutOrder(put) => said.put.push(put.order.clone()),
                BookChange::DropOrder(drop) => said.dropped.push(drop.order.clone()),
                BookChange::PutCredential(put) => said.code(put, None),
                BookChange::PutGuarded(PutGuarded { credential, factor, .. }) => said.code(credential, *factor),
                _ => {}
            }
        }
        said
    }

    fn code(&mut self, put: &PutCredential, factor: Option<Factor>) {
        let asked = put.orders.iter().filter(|order| asks_for_more(order));
        self.codes.extend(asked.map(|order| (order.clone(), put.verifier, factor)));
    }
}

/// What an observer knows of second factors.
#[derive(Debug, Default)]
pub(super) struct Factors {
    /// By the book in force at each cabinet, and by the verifier of the code.
    known: BTreeMap<(Cab, Verifier), (OrderKey, Factor)>,
    wrong: WrongAnswers,
    /// Whose code was shown last and was not enough.
    asked: BTreeMap<Cab, (OrderKey, Verifier)>,
    /// In which run of a cabinet, and when by its boot clock, the right answer was given last.
    answered: BTreeMap<(Cab, OrderKey), (BootId, u64)>,
}

/// Wrong answers to what an order asks for, as the store of a cabinet must have counted them.
pub(super) type WrongAnswers = BTreeMap<(Cab, OrderKey), (Verifier, u32)>;

impl Factors {
    pub(super) fn wrong_of(&self, cab: Cab) -> WrongAnswers {
        self.wrong.iter().filter(|((of, _), _)| *of == cab).map(|(at, wrong)| (at.clone(), *wrong)).collect()
    }

    /// The disk of a cabinet is that of then. What its book knew it hears again, or goes on knowing.
    pub(super) fn put_back(&mut self, cab: Cab, wrong: WrongAnswers) {
        self.wrong.retain(|(of, _), _| *of != cab);
        self.wrong.extend(wrong);
    }

    /// What a former run had in memory is gone.
    pub(super) fn cabinet_started(&mut self, cab: Cab) {
        self.asked.remove(&cab);
    }

    fn asked(&self, cab: Cab) -> Option<&(OrderKey, Factor)> {
        let (_, code) = self.asked.get(&cab)?;
        self.known.get(&(cab, *code))
    }

    fn count(&self, cab: Cab, order: &OrderKey, factor: &Factor) -> u32 {
        let wrong = self.wrong.get(&(cab, order.clone()));
        wrong.filter(|(to, _)| *to == factor.verifier).map_or(0, |(_, count)| *count)
    }

    /// Nobody can answer any more: staff have to help, or nobody can.
    fn are_used_up(&self, cab: Cab, order: &OrderKey) -> bool {
        self.wrong.get(&(cab, order.clone())).is_some_and(|(_, count)| *count >= WRONG_ANSWERS_MAX)
    }
}

impl Ledger {
    pub(super) fn factors_taken(&mut self, cab: Cab, book: FactorBook) {
        let inside: Vec<OrderKey> =
            self.contents.iter().filter(|((of, _), _)| *of == cab).map(|(_, held)| held.order().clone()).collect();
        let forgotten = |order: &OrderKey| {
            book.dropped.contains(order) || book.whole && !book.put.contains(order) && !inside.contains(order)
        };
        self.factors.wrong.retain(|(of, order), _| *of != cab || !forgotten(order));
        for (order, code, factor) in book.codes {
            if let Some(factor) = factor {
                self.factors.known.insert((cab, code), (order, factor));
            }
        }
    }

    pub(super) fn answer_looked_at(&mut self, cab: Cab, wrong: bool) {
        let Some((order, factor)) = self.factors.asked(cab).cloned() else { return };
        if wrong {
            let count = self.factors.count(cab, &order, &factor) + 1;
            self.factors.wrong.insert((cab, order), (factor.verifier, count));
        }
    }

    /// Somebody with the right code may be told this, instead of being let in.
    pub(super) fn asks_instead(&self, cab: Cab, order: &OrderKey, result: &EntryResult) -> bool {
        let spent = || self.guesses.get(&cab).is_some_and(super::ledger::Guesses::are_spent);
        match result {
            EntryResult::AnswerNeeded { .. } | EntryResult::Locked { .. } => asks_for_more(order),
            EntryResult::ReleaseNeeded => asks_for_more(order) && !is_restricted(order),
            EntryResult::Refused(EntryRefusal::AnswersUsedUp) => {
                asks_for_more(order) && (self.factors.are_used_up(cab, order) || spent())
            }
            _ => false,
        }
    }

    /// Nobody may type an answer to this just now, so that nothing but staff opens it.
    pub(super) fn bars_answers(&self, cab: Cab, order: &OrderKey, now: u64) -> bool {
        let none = |guesses: &super::ledger::Guesses| guesses.are_locked(now) || guesses.are_spent();
        asks_for_more(order) && (self.factors.are_used_up(cab, order) || self.guesses.get(&cab).is_some_and(none))
    }
}

/// Orders that ask for an answer behind their code: always the same ones.
pub(super) fn asks_for_more(order: &OrderKey) -> bool {
    order.order.as_str().starts_with('F') && !order.is_walk_in()
}

/// No order with a second factor opens by its code alone, by a wrong answer, or by staff where it asks for both.
pub(super) fn invariant_second_factor_is_asked(ledger: &Ledger, seen: &Seen) -> Verdict {
    match seen {
        Seen::FactorsTaken { cab, book } => {
            let alone = book.codes.iter().find(|(_, _, factor)| factor.is_none());
            ensure(alone.is_none(), || format!("a book of cabinet {cab} has a code alone of {alone:?}"))
        }
        Seen::PulseOrdered { cab, boot, boot_millis, at, cause, .. } => {
            let Some(Content::Stored(order)) = ledger.contents.get(&(*cab, *at)) else { return Ok(()) };
            let recent = |given: Option<&(BootId, u64)>, within: u64| {
                given.is_some_and(|given| given.0 == *boot && boot_millis.saturating_sub(given.1) <= within)
            };
            match cause {
                Cause::Answer { order: meant, verifier } => {
                    let asked = ledger.factors.asked(*cab).filter(|(asked, _)| asked == order && asked == meant);
                    let right = asked.is_some_and(|(_, factor)| Some(factor.verifier) == *verifier && !factor.release);
                    ensure(right, || format!("{order} in {at} of cabinet {cab} opens by a wrong answer: {asked:?}"))?;
                    let shown = ledger.shown.get(&(*cab, order.clone()));
                    ensure(recent(shown, ANSWER_MILLIS + DERIVE_MILLIS), || {
                        format!("{order} opens by an answer at {boot_millis}, its code was shown {shown:?}")
                    })
                }
                Cause::Entry { .. } => ensure(!asks_for_more(order), || {
                    format!("{order} in {at} of cabinet {cab} opens by its code alone")
                }),
                Cause::Release(_) if asks_for_more(order) && is_restricted(order) => {
                    let given = ledger.factors.answered.get(&(*cab, order.clone()));
                    ensure(recent(given, RELEASE_MILLIS), || format!("{order} is released without an answer"))
                }
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// At most ten wrong answers to what an order asks for.
pub(super) fn invariant_ten_wrong_answers_at_most(ledger: &Ledger, seen: &Seen) -> Verdict {
    let Seen::AnswerLookedAt { cab, .. } = seen else { return Ok(()) };
    let Some((order, factor)) = ledger.factors.asked(*cab) else {
        return Err(format!("cabinet {cab} looks at an answer that it asks nobody for"));
    };
    let before = ledger.factors.count(*cab, order, factor);
    ensure(before < WRONG_ANSWERS_MAX, || format!("an answer to {order} is looked at after {before} wrong ones"))
}

/// A verifier that binds answer, order, salt and pepper as the real one does, without Argon2id.
pub(super) fn derive_answer(answer: &str, order: &OrderKey, salt: &Salt, pepper: &Pepper) -> Verifier {
    let bound = cbor::encode(&("answer of a simulation", order, answer));
    let mut short = [0; TOKEN_BYTES];
    for (half, part) in short.chunks_mut(8).enumerate() {
        part.copy_from_slice(&digest(half as u64, &bound).to_be_bytes());
    }
    Secret::token_from(&short).verifier(salt, pepper)
}

impl World {
    pub(super) fn answerers_act(&mut self) {
        if !self.rough {
            return;
        }
        let rest = if self.pace == Pace::Busy { 25 } else { 6 };
        let wait = if self.dice.one_in(rest) { self.draw_wait(20_000, 900_000) } else { self.draw_wait(250, 24_000) };
        self.later(wait, Happening::AnswerersAct);
        let mut drawn = self.dice.below(DRAWN);
        for (often, what, act) in DEEDS {
            if drawn < *often {
                if self.decides(what) {
                    act(self);
                }
                return;
            }
            drawn -= often;
        }
    }

    fn some_answer(&mut self) -> String {
        format!("{:04}", self.dice.below(10_000))
    }

    fn some_with_factor(&mut self) -> Option<OrderKey> {
        let orders: Vec<OrderKey> = self.answers.keys().cloned().collect();
        self.dice.pick(&orders).cloned()
    }

    fn backend_puts_with_factor(&mut self) {
        let shop = self.dice.index(SHOPS.len());
        let (cab, answer) = (self.dice.index(CABS), self.some_answer());
        let order = OrderKey {
            integration: self.shops[shop].name.clone(),
            order: constant(NAMES[self.dice.index(NAMES.len())]),
        };
        if !self.answers.contains_key(&order) {
            self.answers.insert(order.clone(), vec![answer]);
            self.ledger.orders.insert(order.clone(), OrderTruth::new(cab, Category::Retail));
            return self.publish(&order, true);
        }
        match self.dice.below(6) {
            0 => self.publish(&order, true),
            // Such an order is in no bundle.
            1 => {
                let other = OrderKey { order: constant("A0"), ..order.clone() };
                self.bundle(vec![order, other]);
            }
            _ => {}
        }
    }

    /// What the put of an order says of its second factor.
    pub(super) fn factor_of(&self, order: &OrderKey) -> String {
        match self.answers.get(order).and_then(|given| given.last()) {
            Some(answer) => format!(r#","second_factor":{{"answer":"{answer}"}}"#),
            None => String::new(),
        }
    }

    /// To seal answers the fleet has to know the key of the pepper; a restored one may have forgotten it.
    pub(super) fn fleet_gets_keyset(&mut self) {
        let hex: String = self.signer.fleet_keyset.iter().map(|byte| format!("{byte:02x}")).collect();
        self.ask(format!(r#"{{"op":"keyset.put","envelope":"{hex}"}}"#));
    }

    /// The same order with another answer, which is no change of it. A fleet that has forgotten it takes that one.
    fn backend_puts_another_answer(&mut self) {
        let Some(order) = self.some_with_factor() else { return };
        let answer = self.some_answer();
        let Some(given) = self.answers.get_mut(&order) else { return };
        given.push(answer);
        self.publish(&order, true);
    }

    fn backend_changes_answer(&mut self) {
        let Some(order) = self.some_with_factor() else { return };
        let answer = self.some_answer();
        let payload = format!(r#"{{"order":"{}","change":{{"second_factor":{{"answer":"{answer}"}}}}}}"#, order.order);
        if let Some(given) = self.answers.get_mut(&order) {
            given.push(answer);
        }
        self.tell(|| format!("backend changes the answer of {order}"));
        self.fleet_gets_keyset();
        self.change_orders(order.integration.clone(), OrderChange::Content, payload);
    }

    fn customer_is_to_answer(&mut self) {
        let told = |(order, truth): &(&OrderKey, &OrderTruth)| asks_for_more(order) && !truth.codes.is_empty();
        let told: Vec<OrderKey> = self.ledger.orders.iter().filter(told).map(|(order, _)| order.clone()).collect();
        let Some(order) = self.dice.pick(&told).cloned() else { return };
        let typed = self.dice.one_in(4);
        self.collect(&order, typed, false);
    }

    /// Whoever has a code and not the answer, and is in no hurry.
    fn somebody_guesses_answers(&mut self) {
        if let Some(order) = self.some_with_factor() {
            self.guesses_answers(&order, 40);
        }
    }

    pub(super) fn guesses_answers(&mut self, order: &OrderKey, tries: u64) {
        if !self.rough {
            return;
        }
        if tries > 1 {
            let wait = self.dice.between(5_000, 60_000);
            self.later(wait, Happening::GuessesAnswers { order: order.clone(), tries: tries - 1 });
        }
        let Some(cab) = self.ledger.orders.get(order).map(OrderTruth::at) else { return };
        match self.ledger.factors.asked.get(&cab) {
            Some((asked, _)) if asked == order && !self.dice.one_in(3) => self.answers_now(cab, false),
            Some(_) | None => self.collect(order, false, false),
        }
    }

    /// Whoever is asked, or nobody at all.
    fn somebody_answers(&mut self) {
        let cab = self.dice.index(CABS);
        self.answers_now(cab, false);
    }

    /// The screen asks for an answer: most know it, some guess.
    pub(super) fn answer_is_needed(&mut self, cab: Cab, code: Option<Verifier>) {
        let known = code.and_then(|code| Some((code, self.ledger.factors.known.get(&(cab, code))?)));
        let Some((code, (order, _))) = known else {
            let text = format!("cabinet {cab} asks for an answer that is in no book of it");
            return self.break_off("second_factor_is_asked", text);
        };
        self.ledger.factors.asked.insert(cab, (order.clone(), code));
        let wait = if self.rough { self.dice.between(500, 30_000) } else { 1_000 };
        self.later(wait, Happening::CustomerAnswers { cab, tries: 4 });
    }

    pub(super) fn customer_answers(&mut self, cab: Cab, tries: u64) {
        let knows = !self.rough || !self.dice.one_in(2);
        if !knows && tries > 1 {
            let wait = self.dice.between(500, 5_000);
            self.later(wait, Happening::CustomerAnswers { cab, tries: tries - 1 });
        }
        self.answers_now(cab, knows);
    }

    fn answers_now(&mut self, cab: Cab, knows: bool) {
        let asked = self.ledger.factors.asked(cab).cloned();
        let order = self.ledger.factors.asked.get(&cab).map(|(order, _)| order.clone());
        let (Some(order), Some((salt, pepper))) = (order, self.cabs[cab].binding.clone()) else { return };
        let given = self.answers.get(&order).cloned().unwrap_or_default();
        let right = asked.and_then(|(_, factor)| {
            given.iter().rev().find(|answer| derive_answer(answer, &order, &salt, &pepper) == factor.verifier)
        });
        if !self.rough && right.is_none() {
            let text = format!("{order} of cabinet {cab} asks for what its backend never gave");
            return self.break_off("second_factor_is_asked", text);
        }
        let guess = self.some_answer();
        let text = right.filter(|_| knows).cloned().unwrap_or(guess);
        let Ok(answer) = Answer::parse(&text) else { return };
        self.tell(|| format!("somebody answers about {order} at cabinet {cab} (knows it: {knows})"));
        self.enter_answer(cab, order, answer);
    }

    fn enter_answer(&mut self, cab: Cab, order: OrderKey, answer: Answer) {
        let cabinet = &mut self.cabs[cab];
        if !cabinet.is_up() || cabinet.asleep_until > self.now {
            return;
        }
        cabinet.next_entry += 1;
        let entry = cabinet.next_entry;
        cabinet.entries.insert(entry, Entry::of_answer(order));
        self.take_cabinet(cab, Input::Answered { entry, answer }, None);
    }

    /// The sabotage of a shell that takes any answer for the right one.
    pub(super) fn believed_answer(&self, cab: Cab) -> Option<Verifier> {
        let believes = self.sabotage == Some(Sabotage::AnswersBelieved);
        self.ledger.factors.asked(cab).filter(|_| believes).map(|(_, factor)| factor.verifier)
    }

    /// The sabotage of a shell that does not ask the core.
    pub(super) fn shell_tries_answers(&mut self, cab: Cab) {
        if self.sabotage == Some(Sabotage::AnswersTriedByShell) {
            (0..=WRONG_ANSWERS_MAX).for_each(|_| self.see(Seen::AnswerLookedAt { cab, wrong: true }));
        }
    }

    /// An answer was compared with the book. `wrong`: it was counted.
    pub(super) fn see_answer(&mut self, cab: Cab, result: &EntryResult, wrong: bool) {
        let passed_over = matches!(result, EntryResult::Refused(EntryRefusal::CodeFirst)) && !wrong;
        if passed_over {
            return;
        }
        self.see(Seen::AnswerLookedAt { cab, wrong });
        self.see(Seen::TypedLookedAt { cab, now: self.now, wrong });
        if *result == EntryResult::ReleaseNeeded
            && let Some((order, _)) = self.ledger.factors.asked.get(&cab).cloned()
        {
            let given = (self.cabs[cab].boot(), self.cabs[cab].boot_millis(self.now));
            self.ledger.shown.insert((cab, order.clone()), given);
            self.ledger.factors.answered.insert((cab, order), given);
        }
    }
}
