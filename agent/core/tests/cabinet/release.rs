//! Restricted goods: the right code, and then staff who let its holder in.

use cabinet_core::{Effect, EntryRefusal, EntryResult, Input, RELEASE_MILLIS, ScreenNote, SessionId};
use schemas::crypto::codes::Secret;
use schemas::messages::*;
use schemas::step::Store as _;

use crate::pickup::refusal;
use crate::rig::*;

const CODE: &str = "99999999";
const PIN: &str = "111111";

fn guarded(credential: PutCredential, ids: &[&str]) -> BookChange {
    PutGuarded { credential, guarded: ids.iter().map(|id| order(id)).collect(), factor: None }.into()
}

/// A1 in compartment 4, whose newest code is guarded.
fn restricted() -> Rig {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.book(vec![guarded(PutCredential { generation: 2, ..credential(9, CODE, &["A1"]) }, &["A1"])]);
    rig
}

fn release(rig: &mut Rig, session: SessionId, id: &str) -> Vec<Effect> {
    rig.send(Input::Release { session, order: order(id) })
}

fn released(id: &str, compartment: u16) -> Fact {
    let (credential, staff) = (CredentialId([9; 8]), "ann".parse().unwrap());
    Released { order: order(id), compartment: number(compartment), credential, staff }.into()
}

fn is_refused(effects: &[Effect], reason: &str) -> bool {
    pulses(effects).is_empty()
        && told(effects).iter().any(|told| told.contains("StaffRefused") && told.contains(reason))
}

#[test]
fn the_code_alone_opens_nothing_and_a_release_opens_the_door_with_a_name_on_the_event() {
    let mut rig = restricted();
    let effects = rig.enter(CODE);
    assert_eq!((result(&effects), pulses(&effects).len()), (EntryResult::ReleaseNeeded, 0));
    let asked = |effect: &Effect| matches!(effect, Effect::Screen(ScreenNote::AskRelease { compartments }) if *compartments == [number(4)]);
    assert!(effects.iter().any(asked));
    let session = rig.log_in(PIN);
    assert_eq!(rig.core.asked_releases().len(), 1);
    let pulse = only_pulse(&release(&mut rig, session, "A1"));
    assert_eq!((pulse.compartment, rig.last()), (4, released("A1", 4)));
    rig.sent(pulse);
    rig.open_door(4);
    let by = Actor::from(ActorCredential { id: CredentialId([9; 8]) });
    assert!(rig.has(DoorOpened { compartment: number(4), by }), "it is the customer's door, not a look of staff");
    rig.close_door(4);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 1);
    assert_eq!(refusal(&rig.enter(CODE)), EntryRefusal::Used);
    assert!(rig.core.asked_releases().is_empty());
}

#[test]
fn a_release_is_for_one_opening_and_for_somebody_who_has_shown_the_code() {
    let mut rig = restricted();
    let session = rig.log_in(PIN);
    assert!(is_refused(&release(&mut rig, session, "A1"), "NobodyAsks"), "nobody has shown the code");
    rig.enter(CODE);
    assert!(is_refused(&release(&mut rig, session, "A2"), "NobodyAsks"));
    assert!(is_refused(&release(&mut rig, SessionId(7), "A1"), "NoSession"));
    let pulse = only_pulse(&release(&mut rig, session, "A1"));
    assert!(is_refused(&release(&mut rig, session, "A1"), "NobodyAsks"), "it is used up");
    rig.sent(pulse);
    // The door did not open: its holder tries again, as with any code.
    rig.wait(3_000);
    assert_eq!(pulses(&rig.send(Input::TryAgain { compartment: number(4) })).len(), 1);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Released(_))), 1);
}

#[test]
fn whoever_has_shown_the_code_is_waited_for_two_minutes() {
    let mut rig = restricted();
    rig.enter(CODE);
    rig.wait(RELEASE_MILLIS);
    let session = rig.log_in(PIN);
    assert!(is_refused(&release(&mut rig, session, "A1"), "NobodyAsks"));
    assert_eq!(result(&rig.enter(CODE)), EntryResult::ReleaseNeeded);
    assert_eq!(pulses(&release(&mut rig, session, "A1")).len(), 1);
}

#[test]
fn a_code_that_died_while_its_holder_waited_is_not_released() {
    for change in [
        BookChange::from(DropCredential { id: CredentialId([9; 8]) }),
        guarded(PutCredential { generation: 3, ..credential(8, "88888888", &["A1"]) }, &["A1"]),
    ] {
        let mut rig = restricted();
        rig.enter(CODE);
        let session = rig.log_in(PIN);
        rig.book(vec![change]);
        assert!(is_refused(&release(&mut rig, session, "A1"), "NobodyAsks"));
    }
    let mut rig = restricted();
    rig.set_time(1_000_000);
    rig.book(vec![guarded(
        PutCredential { generation: 3, expires: Some(1_060_000), ..credential(9, CODE, &["A1"]) },
        &["A1"],
    )]);
    rig.enter(CODE);
    rig.wait(70_000);
    let session = rig.log_in(PIN);
    assert!(is_refused(&release(&mut rig, session, "A1"), "NobodyAsks"), "it has ended meanwhile");
}

#[test]
fn wrong_codes_are_counted_as_ever_and_a_right_one_that_waits_counts_for_nothing() {
    let mut rig = restricted();
    for _ in 0..4 {
        rig.enter("00000000");
        assert_eq!(result(&rig.enter(CODE)), EntryResult::ReleaseNeeded);
    }
    assert!(matches!(result(&rig.enter("00000000")), EntryResult::Locked { .. }));
}

#[test]
fn of_a_bundle_the_other_doors_open_and_the_restricted_one_waits() {
    let mut rig = Rig::holding(&[(1, "A1", "11111112"), (2, "A2", "22222223"), (3, "A3", "33333334")]);
    let ids = ["A1", "A2", "A3"];
    let right = |id: &&str| BundleRight { order: order(id), expires: None, needs_time: false };
    let rights = Some(ids.iter().map(right).collect());
    let kind = CredentialKind::Qr;
    let bundle = PutCredential { kind, generation: 2, rights, ..credential(9, token(5).reveal(), &ids) };
    rig.book(vec![guarded(bundle, &["A2"])]);
    let effects = rig.scan(token(5));
    let opened: Vec<_> = pulses(&effects).iter().map(|pulse| pulse.compartment).collect();
    assert_eq!(
        (opened, result(&effects)),
        (vec![1, 3], EntryResult::Opening { compartments: vec![number(1), number(3)] })
    );
    let session = rig.log_in(PIN);
    assert_eq!(only_pulse(&release(&mut rig, session, "A2")).compartment, 2);
    assert_eq!(rig.last(), released("A2", 2));
}

#[test]
fn a_book_that_guards_what_it_does_not_open_is_refused_whole() {
    for ids in [&[][..], &["A2"], &["A1", "A2"]] {
        let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
        rig.book(vec![guarded(PutCredential { generation: 2, ..credential(9, CODE, &["A1"]) }, ids)]);
        let Fact::BookRefused(refused) = rig.last() else { panic!("{ids:?} was taken") };
        assert_eq!(refused.reason, RefusalReason::Malformed);
    }
}

/// Somebody types the code, staff type the PIN and release, the door opens and closes. `None`: the power is gone.
fn handed_over(rig: &mut Rig, send: &mut dyn FnMut(&mut Rig, Input) -> Option<Vec<Effect>>) -> Option<()> {
    send(rig, Input::Entered { entry: 500, secret: Secret::parse(CODE).unwrap() })?;
    send(rig, Input::Derived { entry: 500, verifier: verifier(CODE) })?;
    send(rig, Input::StaffEntered { entry: 501, secret: Secret::parse(PIN).unwrap() })?;
    let effects = send(rig, Input::Derived { entry: 501, verifier: verifier(PIN) })?;
    let EntryResult::StaffSession { session, .. } = result(&effects) else { panic!("{effects:?}") };
    let effects = send(rig, Input::Release { session, order: order("A1") })?;
    let pulse = only_pulse(&effects).pulse;
    send(rig, Input::PulseResult { pulse, sent: true })?;
    let door = |door, occupancy| Input::Door { compartment: number(4), door, occupancy };
    send(rig, door(cabinet_core::DoorSeen::Open, UNKNOWN))?;
    send(rig, door(cabinet_core::DoorSeen::Closed, UNKNOWN))?;
    Some(())
}

#[test]
fn a_power_cut_anywhere_opens_nothing_without_a_release_and_loses_no_order() {
    const STEPS: usize = 8;
    for (at, committed) in (0..STEPS).flat_map(|at| [(at, false), (at, true)]) {
        let mut rig = restricted();
        let (mut steps, mut pulsed, mut opened) = (0, 0, false);
        let over = handed_over(&mut rig, &mut |rig, input| {
            opened |= matches!(input, Input::Door { .. });
            steps += 1;
            if steps <= at {
                let effects = rig.send(input);
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
        assert!(pulses(&woken).is_empty() && rig.core.asked_releases().is_empty(), "{at} {committed}");
        (1..=5).for_each(|number| drop(rig.close_door(number)));
        let later = rig.wait(120_000);
        assert!(pulses(&later).is_empty(), "{at} {committed}");
        assert!(pulsed <= rig.count(|fact| matches!(fact, Fact::Released(_))), "{at} {committed}");
        // What was not taken is there still, for the code and another release.
        if rig.count(|fact| matches!(fact, Fact::Collected(_))) == 0 {
            assert!(rig.view(4).allocated, "{at} {committed}");
            assert_eq!(result(&rig.enter(CODE)), EntryResult::ReleaseNeeded, "{at} {committed}");
            let session = rig.log_in(PIN);
            assert_eq!(pulses(&release(&mut rig, session, "A1")).len(), 1, "{at} {committed}");
        } else {
            assert!(opened && pulsed == 1, "{at} {committed}");
        }
    }
}
