//! A second factor: the right code, and then the answer that was given with the order.

use cabinet_core::{
    ANSWER_MILLIS, ANSWERS_AT_ONCE, DoorSeen, Effect, EntryRefusal, EntryResult, Input, LOCK_MILLIS, WRONG_ANSWERS_MAX,
};
use schemas::crypto::answers::Answer;
use schemas::crypto::codes::Secret;
use schemas::messages::*;
use schemas::step::Store as _;

use crate::pickup::refusal;
use crate::rig::*;

const CODE: &str = "99999999";
const PIN: &str = "111111";
const ANSWER: &str = "24121980";
const WRONG: &str = "24121981";
const NEEDED: EntryResult = EntryResult::AnswerNeeded { prompt: Prompt::BirthDate };

/// Stands for Argon2id: of the answer, for this order.
fn answered(id: &str, answer: &str) -> Verifier {
    verifier(&format!("{id}:{answer}"))
}

fn asking(credential: PutCredential, answer: &str, release: bool) -> BookChange {
    let [order] = credential.orders.as_slice() else { panic!("of one order") };
    let verifier = answered(order.order.as_str(), answer);
    let factor = Some(Factor { prompt: Prompt::BirthDate, verifier, release });
    PutGuarded { guarded: credential.orders.clone(), credential, factor }.into()
}

/// A code and a token of the order's next generation.
fn codes(id: &str, code: &str, answer: &str, release: bool) -> Vec<BookChange> {
    let typed = PutCredential { generation: 2, ..credential(9, code, &[id]) };
    let scanned = PutCredential { generation: 2, kind: CredentialKind::Qr, ..credential(10, token(5).reveal(), &[id]) };
    [typed, scanned].map(|one| asking(one, answer, release)).into()
}

/// A1 in compartment 4, whose newest code asks for a date of birth.
fn restricted(release: bool) -> Rig {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.book(codes("A1", CODE, ANSWER, release));
    rig
}

fn answer(rig: &mut Rig, answer: &str) -> Vec<Effect> {
    let parsed = Answer::parse(answer).unwrap();
    let mut effects = rig.send(Input::Answered { entry: 900, answer: parsed });
    let asked = effects.iter().find_map(|effect| match effect {
        Effect::DeriveAnswer { entry, order, .. } => Some((*entry, order.clone())),
        _ => None,
    });
    if let Some((entry, order)) = asked {
        effects.extend(rig.send(Input::Derived { entry, verifier: answered(order.order.as_str(), answer) }));
    }
    effects
}

fn opens(rig: &mut Rig, compartment: u16) {
    let effects = answer(rig, ANSWER);
    let pulse = only_pulse(&effects);
    let opening = EntryResult::Opening { compartments: vec![number(compartment)] };
    assert_eq!((pulse.compartment, result(&effects)), (compartment, opening));
    rig.sent(pulse);
    rig.open_door(compartment);
    rig.close_door(compartment);
}

#[test]
fn the_code_alone_opens_nothing_and_the_answer_behind_it_opens_the_door() {
    for scanned in [false, true] {
        let mut rig = restricted(false);
        rig.send(Input::Disconnected);
        let shown = if scanned { rig.scan(token(5)) } else { rig.enter(CODE) };
        assert_eq!((result(&shown), pulses(&shown).len()), (NEEDED, 0));
        opens(&mut rig, 4);
        assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 1);
        assert_eq!(rig.count(|fact| matches!(fact, Fact::Released(_))), 0);
        assert_eq!(refusal(&rig.enter(CODE)), EntryRefusal::Used);
    }
}

#[test]
fn an_answer_is_nothing_without_the_code_ahead_of_it() {
    let mut rig = restricted(false);
    assert_eq!(refusal(&answer(&mut rig, ANSWER)), EntryRefusal::CodeFirst);
    assert_eq!(result(&rig.enter(CODE)), NEEDED);
    // Another code, right or wrong, and the answer is not for the one before.
    rig.enter("00000000");
    assert_eq!(refusal(&answer(&mut rig, ANSWER)), EntryRefusal::CodeFirst);
    // A minute later.
    assert_eq!(result(&rig.enter(CODE)), NEEDED);
    rig.wait(ANSWER_MILLIS);
    assert_eq!(refusal(&answer(&mut rig, ANSWER)), EntryRefusal::CodeFirst);
    // Behind a restart.
    assert_eq!(result(&rig.enter(CODE)), NEEDED);
    rig.restart();
    (1..=5).for_each(|number| drop(rig.close_door(number)));
    assert_eq!(refusal(&answer(&mut rig, ANSWER)), EntryRefusal::CodeFirst);
    assert_eq!(result(&rig.enter(CODE)), NEEDED);
    opens(&mut rig, 4);
}

#[test]
fn an_answer_that_is_checked_while_another_code_comes_opens_neither() {
    let mut rig = Rig::holding(&[(3, "A3", "12345673"), (4, "A1", "12345678")]);
    rig.book(codes("A1", CODE, ANSWER, false));
    let other = PutCredential { generation: 2, ..credential(11, "88888888", &["A3"]) };
    rig.book(vec![asking(other, ANSWER, false)]);
    rig.enter(CODE);
    let parsed = Answer::parse(ANSWER).unwrap();
    rig.send(Input::Answered { entry: 900, answer: parsed });
    assert_eq!(result(&rig.scan(token(5))), NEEDED, "the same order again");
    let late = rig.send(Input::Derived { entry: 900, verifier: answered("A1", ANSWER) });
    assert_eq!(pulses(&late).len(), 1, "it is the answer to what is asked for now");
    let mut rig = Rig::holding(&[(3, "A3", "12345673"), (4, "A1", "12345678")]);
    rig.book(codes("A1", CODE, ANSWER, false));
    rig.enter(CODE);
    rig.send(Input::Answered { entry: 900, answer: Answer::parse(ANSWER).unwrap() });
    rig.scan(token(6));
    let late = rig.send(Input::Derived { entry: 900, verifier: answered("A1", ANSWER) });
    assert_eq!((refusal(&late), pulses(&late).len()), (EntryRefusal::CodeFirst, 0));
}

#[test]
fn wrong_answers_are_wrong_codes_for_the_lockout_also_behind_a_qr_code() {
    let mut rig = restricted(false);
    rig.enter("00000000");
    rig.scan(token(5));
    for _ in 0..ANSWERS_AT_ONCE - 1 {
        assert_eq!(refusal(&answer(&mut rig, WRONG)), EntryRefusal::WrongAnswer);
    }
    assert_eq!(refusal(&answer(&mut rig, WRONG)), EntryRefusal::CodeFirst, "the code comes first again");
    assert_eq!(refusal(&answer(&mut rig, ANSWER)), EntryRefusal::CodeFirst);
    rig.scan(token(5));
    let fifth = answer(&mut rig, WRONG);
    assert!(matches!(result(&fifth), EntryResult::Locked { .. }), "{fifth:?}");
    assert_eq!(rig.count(|fact| matches!(fact, Fact::TypingLocked(_))), 1);
    let told = CredentialRefused { id: CredentialId([10; 8]), reason: RefusalReason::WrongAnswer };
    assert!(rig.has(told), "the fleet hears of it");
    // Locked is locked: the QR code brings its holder to staff, and no answer is looked at.
    rig.restart();
    (1..=5).for_each(|number| drop(rig.close_door(number)));
    assert_eq!(result(&rig.scan(token(5))), EntryResult::ReleaseNeeded);
    assert_eq!(refusal(&answer(&mut rig, ANSWER)), EntryRefusal::CodeFirst);
    rig.wait(LOCK_MILLIS);
    assert_eq!(result(&rig.scan(token(5))), NEEDED);
    opens(&mut rig, 4);
}

/// Ten wrong answers, each on disk before it is told.
fn guess(rig: &mut Rig) {
    for n in 0..WRONG_ANSWERS_MAX {
        rig.wait(LOCK_MILLIS);
        if n % 3 == 0 {
            rig.restart();
            (1..=5).for_each(|number| drop(rig.close_door(number)));
            rig.wait(LOCK_MILLIS);
        }
        assert_eq!(result(&rig.scan(token(5))), NEEDED, "{n}");
        answer(rig, WRONG);
    }
    rig.wait(LOCK_MILLIS);
}

#[test]
fn an_order_takes_ten_wrong_answers_and_then_its_holder_needs_staff() {
    let mut rig = restricted(false);
    guess(&mut rig);
    assert_eq!(result(&rig.scan(token(5))), EntryResult::ReleaseNeeded);
    assert_eq!(refusal(&answer(&mut rig, ANSWER)), EntryRefusal::CodeFirst);
    // The same answer in a later book, by another code too: nothing begins anew.
    let again = PutCredential { generation: 3, ..credential(12, "77777777", &["A1"]) };
    rig.book(vec![put_order("A1", Size::S), asking(again, ANSWER, false)]);
    assert_eq!(result(&rig.enter("77777777")), EntryResult::ReleaseNeeded);
    let session = rig.log_in(PIN);
    let pulse = only_pulse(&rig.send(Input::Release { session, order: order("A1") }));
    assert_eq!(pulse.compartment, 4);
    // Its backend corrects the answer.
    let mut rig = restricted(false);
    guess(&mut rig);
    let other = PutCredential { generation: 3, ..credential(12, "77777777", &["A1"]) };
    rig.book(vec![asking(other, WRONG, false)]);
    assert_eq!(result(&rig.enter("77777777")), NEEDED);
    assert_eq!(pulses(&answer(&mut rig, WRONG)).len(), 1);
}

#[test]
fn staff_release_in_the_place_of_the_answer_with_their_name_on_record() {
    let mut rig = restricted(false);
    rig.enter(CODE);
    let session = rig.log_in(PIN);
    let pulse = only_pulse(&rig.send(Input::Release { session, order: order("A1") }));
    let (credential, staff) = (CredentialId([9; 8]), "ann".parse().unwrap());
    assert!(rig.has(Released { order: order("A1"), compartment: number(4), credential, staff }));
    rig.sent(pulse);
    rig.open_door(4);
    // Nobody opens it a second time with the answer.
    assert_eq!(pulses(&answer(&mut rig, ANSWER)).len(), 0);
}

#[test]
fn where_both_are_asked_for_neither_is_enough() {
    let mut rig = restricted(true);
    let session = rig.log_in(PIN);
    let release = |rig: &mut Rig| rig.send(Input::Release { session, order: order("A1") });
    assert_eq!(result(&rig.enter(CODE)), NEEDED);
    assert!(pulses(&release(&mut rig)).is_empty(), "the answer was not given yet");
    let said = answer(&mut rig, ANSWER);
    assert_eq!((result(&said), pulses(&said).len()), (EntryResult::ReleaseNeeded, 0));
    assert_eq!(pulses(&release(&mut rig)).len(), 1);
    // Where nothing more can be answered staff have no way around it.
    let mut rig = restricted(true);
    guess(&mut rig);
    assert_eq!(refusal(&rig.scan(token(5))), EntryRefusal::AnswersUsedUp);
    assert!(rig.core.asked_releases().is_empty());
}

#[test]
fn a_code_that_died_or_an_answer_that_changed_meanwhile_opens_nothing() {
    let mut rig = restricted(false);
    rig.enter(CODE);
    rig.book(vec![DropCredential { id: CredentialId([9; 8]) }.into()]);
    assert_eq!(pulses(&answer(&mut rig, ANSWER)).len(), 0);
    let mut rig = restricted(false);
    rig.enter(CODE);
    rig.book(codes("A1", CODE, "01011990", false));
    assert_eq!(refusal(&answer(&mut rig, ANSWER)), EntryRefusal::WrongAnswer);
    assert_eq!(pulses(&answer(&mut rig, "01011990")).len(), 1);
    let mut rig = restricted(false);
    rig.set_time(1_000_000);
    let ends = PutCredential { generation: 3, expires: Some(1_030_000), ..credential(12, "77777777", &["A1"]) };
    rig.book(vec![asking(ends, ANSWER, false)]);
    rig.enter("77777777");
    rig.wait(40_000);
    assert_eq!(refusal(&answer(&mut rig, ANSWER)), EntryRefusal::Expired);
}

#[test]
fn a_book_with_an_answer_that_is_for_no_one_order_is_refused_whole() {
    let factor = Some(Factor { prompt: Prompt::Pin, verifier: answered("A1", "4711"), release: false });
    let one = PutCredential { generation: 2, ..credential(9, CODE, &["A1"]) };
    let right = |id: &str| BundleRight { order: order(id), expires: None, needs_time: false };
    let two = PutCredential { rights: Some(vec![right("A1"), right("A2")]), ..credential(9, CODE, &["A1", "A2"]) };
    let bundle = PutCredential { rights: Some(vec![right("A1")]), ..one.clone() };
    for (credential, guarded) in [(one, vec![]), (two, vec![order("A1")]), (bundle, vec![order("A1")])] {
        let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
        rig.book(vec![PutGuarded { credential, guarded, factor }.into()]);
        let Fact::BookRefused(refused) = rig.last() else { panic!("it was taken") };
        assert_eq!(refused.reason, RefusalReason::Malformed);
    }
}

#[test]
fn an_agent_that_knows_no_answers_asks_staff() {
    let BookChange::PutGuarded(put) = codes("A1", CODE, ANSWER, false).remove(0) else { panic!() };
    // What an agent reads that passes over the key.
    let read = PutGuarded { factor: None, ..put };
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.book(vec![read.into()]);
    let shown = rig.enter(CODE);
    assert_eq!((result(&shown), pulses(&shown).len()), (EntryResult::ReleaseNeeded, 0));
}

#[test]
fn no_answer_and_no_verifier_of_one_is_on_disk() {
    let mut rig = restricted(false);
    rig.enter(CODE);
    answer(&mut rig, WRONG);
    for needle in [ANSWER.as_bytes(), WRONG.as_bytes(), &answered("A1", ANSWER).0] {
        assert!(!rig.store.holds(needle));
    }
    let effects = rig.send(Input::Answered { entry: 900, answer: Answer::parse(ANSWER).unwrap() });
    assert!(!format!("{effects:?}").contains(ANSWER));
}

/// Somebody types the code and the answer, the door opens and closes. `None`: the power is gone.
fn handed_over(rig: &mut Rig, send: &mut dyn FnMut(&mut Rig, Input) -> Option<Vec<Effect>>) -> Option<()> {
    send(rig, Input::Entered { entry: 500, secret: Secret::parse(CODE).unwrap() })?;
    send(rig, Input::Derived { entry: 500, verifier: verifier(CODE) })?;
    send(rig, Input::Answered { entry: 501, answer: Answer::parse(WRONG).unwrap() })?;
    send(rig, Input::Derived { entry: 501, verifier: answered("A1", WRONG) })?;
    send(rig, Input::Answered { entry: 502, answer: Answer::parse(ANSWER).unwrap() })?;
    let effects = send(rig, Input::Derived { entry: 502, verifier: answered("A1", ANSWER) })?;
    let pulse = only_pulse(&effects).pulse;
    send(rig, Input::PulseResult { pulse, sent: true })?;
    let door = |door, occupancy| Input::Door { compartment: number(4), door, occupancy };
    send(rig, door(DoorSeen::Open, UNKNOWN))?;
    send(rig, door(DoorSeen::Closed, UNKNOWN))?;
    Some(())
}

#[test]
fn a_power_cut_anywhere_opens_nothing_without_the_answer_and_loses_no_order_and_no_count() {
    const STEPS: usize = 9;
    for (at, committed) in (0..STEPS).flat_map(|at| [(at, false), (at, true)]) {
        let mut rig = restricted(false);
        let (mut steps, mut pulsed, mut told_wrong) = (0, 0, false);
        let over = handed_over(&mut rig, &mut |rig, input| {
            let right = matches!(&input, Input::Derived { entry: 502, .. });
            steps += 1;
            if steps <= at {
                let effects = rig.send(input);
                assert!(pulses(&effects).is_empty() || right);
                told_wrong |= told_result(&effects) == Some(EntryResult::Refused(EntryRefusal::WrongAnswer));
                pulsed += pulses(&effects).len();
                return Some(effects);
            }
            let step = rig.step(input);
            if committed {
                rig.store.commit(&step.writes).unwrap();
            }
            None
        });
        assert_eq!(over, None, "{at}");
        let woken = rig.restart();
        assert!(pulses(&woken).is_empty(), "{at} {committed}");
        (1..=5).for_each(|number| drop(rig.close_door(number)));
        assert!(pulses(&rig.wait(120_000)).is_empty(), "{at} {committed}");
        assert_eq!(refusal(&answer(&mut rig, ANSWER)), EntryRefusal::CodeFirst, "{at} {committed}");
        if rig.count(|fact| matches!(fact, Fact::Collected(_))) == 0 {
            assert_eq!(result(&rig.enter(CODE)), NEEDED, "{at} {committed}");
            // Four more lock typing where the first one was told, five where not.
            let wrong = (0..4).filter(|_| {
                rig.enter(CODE);
                matches!(result(&answer(&mut rig, WRONG)), EntryResult::Locked { .. })
            });
            let locked = wrong.count();
            assert!(locked == 1 || !told_wrong, "{at} {committed}");
            rig.wait(LOCK_MILLIS);
            rig.enter(CODE);
            assert_eq!(pulses(&answer(&mut rig, ANSWER)).len(), 1, "{at} {committed}");
        } else {
            assert_eq!(pulsed, 1, "{at} {committed}");
        }
    }
}

fn told_result(effects: &[Effect]) -> Option<EntryResult> {
    effects.iter().find_map(|effect| match effect {
        Effect::EntryResult { result, .. } => Some(result.clone()),
        _ => None,
    })
}
