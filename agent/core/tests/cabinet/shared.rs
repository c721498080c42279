//! Several orders in one compartment, where each of them says so: they lie together and go together.

use cabinet_core::{DoorSeen, Effect, EntryRefusal, EntryResult, Input, ScreenNote, SessionId, StaffRefusal};
use schemas::messages::*;

use crate::loading::{load, refused, with_orders};
use crate::pickup::refusal;
use crate::rig::*;

/// Of `shop`, sharing by this word.
pub(crate) fn sharing(id: &str, size: Size, shares: &str) -> PutOrder {
    let BookChange::PutOrder(put) = put_order(id, size) else { unreachable!() };
    PutOrder { shares: Some(shares.parse().unwrap()), ..put }
}

fn two(first: PutOrder, second: PutOrder) -> (Rig, SessionId) {
    with_orders(vec![
        first.into(),
        second.into(),
        credential(1, "11111112", &["A1"]).into(),
        credential(2, "22222223", &["A2"]).into(),
    ])
}

/// A1 is stored in compartment 1, which has a sensor, and A2 may lie beside it.
fn waiting() -> (Rig, SessionId) {
    let (mut rig, session) = two(sharing("A1", Size::M, "house-7"), sharing("A2", Size::M, "house-7"));
    rig.load(session, "A1");
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    (rig, session)
}

/// Both are stored in compartment 1.
fn together() -> (Rig, SessionId) {
    let (mut rig, session) = waiting();
    assert_eq!(rig.load(session, "A2").compartment, 1);
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    rig.send(Input::ConfirmLoaded { session, compartment: number(1), inside: true });
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Stored(_))), 2);
    rig.wait(cabinet_core::PULSE_WINDOW_MILLIS + 1);
    (rig, session)
}

fn collected(id: &str, credential: u8) -> Fact {
    let (compartment, credential) = (number(1), CredentialId([credential; 8]));
    Collected { order: order(id), compartment, credential, confirmed: true }.into()
}

/// Types a code, and the door is seen open.
fn open(rig: &mut Rig, code: &str) -> Pulse {
    let pulse = only_pulse(&rig.enter(code));
    rig.sent(pulse);
    rig.open_door(pulse.compartment);
    pulse
}

#[test]
fn a_second_order_that_says_so_goes_into_the_compartment_of_the_first() {
    let (mut rig, session) = waiting();
    assert_eq!(rig.core.waiting(session)[0].compartment, Some(number(1)), "staff see where it goes");
    let effects = load(&mut rig, session, "A2", false);
    let pulse = only_pulse(&effects);
    assert_eq!(pulse.compartment, 1);
    let beside = ScreenNote::Beside { order: order("A2"), compartment: number(1), others: vec![order("A1")] };
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Screen(note) if *note == beside)));
    let others = vec![order("A1")];
    let staff = "ann".parse().unwrap();
    assert_eq!(rig.last(), LoadingBeside { order: order("A2"), compartment: number(1), staff, others }.into());
    rig.sent(pulse);
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert!(rig.view(1).asks, "the sensor saw something before, too");
    rig.send(Input::ConfirmLoaded { session, compartment: number(1), inside: true });
    let staff = "ann".parse().unwrap();
    let stored = Stored { order: order("A2"), compartment: number(1), by: StoredBy::Staff, staff };
    assert_eq!(rig.last(), stored.into());
}

#[test]
fn either_code_opens_the_door_and_ends_both() {
    for (code, by) in [("11111112", 1), ("22222223", 2)] {
        let (mut rig, _) = together();
        open(&mut rig, code);
        rig.close_door(1);
        assert!(rig.has(collected("A1", by)) && rig.has(collected("A2", by)), "{:?}", rig.events());
        assert!(!rig.view(1).allocated && !rig.view(1).audit_required);
        for code in ["11111112", "22222223"] {
            assert_eq!(refusal(&rig.enter(code)), EntryRefusal::Used);
        }
    }
}

#[test]
fn what_the_sensor_still_sees_is_there_for_the_next_time() {
    let (mut rig, _) = together();
    open(&mut rig, "22222223");
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    let credential = CredentialId([2; 8]);
    assert_eq!(rig.last(), NotTaken { order: order("A2"), compartment: number(1), credential }.into());
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 0);
    rig.wait(20_000);
    open(&mut rig, "11111112");
    rig.close_door(1);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 2);
}

#[test]
fn a_door_that_is_never_closed_ends_both_unconfirmed() {
    let (mut rig, _) = together();
    open(&mut rig, "11111112");
    rig.wait(900_001);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(Collected { confirmed: false, .. }))), 2);
    rig.close_door(1);
    assert!(!rig.view(1).allocated);
}

/// A second order that only looks alike gets a compartment of its own.
#[test]
fn only_orders_that_say_the_same_lie_together() {
    let first = sharing("A1", Size::M, "house-7");
    let same = sharing("A2", Size::M, "house-7");
    let cases = [
        ("another word", PutOrder { shares: Some("house-8".parse().unwrap()), ..same.clone() }),
        ("no word", PutOrder { shares: None, ..same.clone() }),
        ("another kind of goods", PutOrder { category: Category::Food, ..same.clone() }),
        ("too large", PutOrder { size: Size::L, ..same.clone() }),
        ("cold", PutOrder { wants: Attributes { refrigerated: true, ..Attributes::default() }, ..same.clone() }),
    ];
    for (what, second) in cases {
        let (mut rig, session) = two(first.clone(), second);
        rig.load(session, "A1");
        rig.open_door(1);
        rig.door(1, DoorSeen::Closed, OCCUPIED);
        let elsewhere = pulses(&load(&mut rig, session, "A2", false)).first().map(|pulse| pulse.compartment);
        assert_ne!(elsewhere, Some(1), "{what}");
    }
    // The same word of another integration.
    let (mut rig, session) =
        with_orders(vec![first.into(), PutOrder { order: "pos/A2".parse().unwrap(), ..same }.into()]);
    rig.load(session, "A1");
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    let effects = rig.send(Input::Load { session, order: "pos/A2".parse().unwrap(), larger: false });
    assert_eq!(only_pulse(&effects).compartment, 2);
}

#[test]
fn what_does_not_fit_beside_it_gets_a_compartment_of_its_own() {
    let (mut rig, session) = waiting();
    rig.load(session, "A2");
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    let pulse = only_pulse(&load(&mut rig, session, "A2", true));
    assert_eq!(pulse.compartment, 2, "one of its own size is large enough");
    assert!(rig.has(LoadAborted { order: order("A2"), compartment: number(1) }));
    let own = Loading { order: order("A2"), compartment: number(2), staff: "ann".parse().unwrap() };
    assert_eq!(rig.last(), own.into());
    open(&mut rig, "11111112");
    rig.close_door(1);
    assert!(rig.has(collected("A1", 1)));
}

#[test]
fn who_puts_nothing_in_leaves_the_other_as_it_was() {
    let (mut rig, session) = waiting();
    rig.load(session, "A2");
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    rig.send(Input::ConfirmLoaded { session, compartment: number(1), inside: false });
    assert!(rig.has(LoadAborted { order: order("A2"), compartment: number(1) }));
    assert!(rig.view(1).allocated && !rig.view(1).audit_required);
    assert_eq!(rig.core.waiting(session).len(), 1);
    assert_eq!(refusal(&rig.enter("22222223")), EntryRefusal::NotHere);
    open(&mut rig, "11111112");
    rig.close_door(1);
    assert!(rig.has(collected("A1", 1)));
}

/// The one with the order in their hands can have said nothing and gone.
#[test]
fn whoever_comes_does_not_wait_for_staff_who_have_left_without_a_word() {
    let (mut rig, session) = waiting();
    let pulse = only_pulse(&load(&mut rig, session, "A2", false));
    assert_eq!(refusal(&rig.enter("11111112")), EntryRefusal::Busy, "it is just being opened");
    rig.sent(pulse);
    rig.open_door(1);
    assert_eq!(refusal(&rig.enter("11111112")), EntryRefusal::Busy, "staff stand there");
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    rig.wait(30_000);
    assert_eq!(refusal(&rig.enter("11111112")), EntryRefusal::Busy, "they are about to say whether it is inside");
    rig.wait(40_000);
    open(&mut rig, "11111112");
    assert!(rig.has(LoadAborted { order: order("A2"), compartment: number(1) }));
    rig.close_door(1);
    assert!(rig.has(collected("A1", 1)));
    assert!(rig.view(1).audit_required, "whether A2 was inside somebody has to find out");
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Stored(_))), 1, "nobody said that A2 was stored");
}

#[test]
fn nothing_opens_while_something_beside_it_must_not_be_handed_out() {
    for why in [TakeBack::Recalled, TakeBack::Quarantined] {
        let (mut rig, session) = together();
        rig.book(vec![
            PutOrder { take_back: Some(why), ..sharing("A2", Size::M, "house-7") }.into(),
            DropCredential { id: CredentialId([2; 8]) }.into(),
        ]);
        let effects = rig.enter("11111112");
        assert_eq!(refusal(&effects), EntryRefusal::OutOfService, "{why:?}");
        assert!(told(&effects).iter().any(|note| note.contains("CallStaff")));
        let unwanted = rig.core.unwanted(session);
        assert!(unwanted.iter().map(|one| &one.order).eq([&order("A2")]));
        let session = rig.log_in("111111");
        let pulse = only_pulse(&rig.send(Input::Retrieve { session, order: order("A2") }));
        assert_eq!(refusal(&rig.enter("11111112")), EntryRefusal::Busy);
        rig.sent(pulse);
        rig.open_door(1);
        rig.door(1, DoorSeen::Closed, OCCUPIED);
        assert!(rig.view(1).asks, "the sensor sees the other one in any case");
        rig.send(Input::ConfirmLoaded { session, compartment: number(1), inside: true });
        assert_eq!(refusal(&rig.enter("11111112")), EntryRefusal::OutOfService, "it is still inside");
        let pulse = only_pulse(&rig.send(Input::Retrieve { session, order: order("A2") }));
        rig.sent(pulse);
        rig.open_door(1);
        rig.door(1, DoorSeen::Closed, OCCUPIED);
        rig.send(Input::ConfirmLoaded { session, compartment: number(1), inside: false });
        let staff = "ann".parse().unwrap();
        assert_eq!(rig.last(), Retrieved { order: order("A2"), compartment: number(1), staff }.into());
        assert!(rig.view(1).allocated && !rig.view(1).audit_required);
        rig.wait(20_000);
        open(&mut rig, "11111112");
        rig.close_door(1);
        assert!(rig.has(collected("A1", 1)));
    }
}

/// A person has ended it in the fleet, which knows nothing of it any more.
#[test]
fn one_that_is_in_no_book_any_more_is_taken_out_before_the_other_goes() {
    let (mut rig, _) = together();
    rig.book(vec![DropOrder { order: order("A2") }.into(), DropCredential { id: CredentialId([2; 8]) }.into()]);
    assert_eq!(refusal(&rig.enter("11111112")), EntryRefusal::OutOfService);
    let session = rig.log_in("111111");
    let unwanted: Vec<_> = rig.core.unwanted(session).into_iter().map(|one| (one.order, one.why)).collect();
    assert_eq!(unwanted, [(order("A2"), TakeBack::Recalled)]);
    let pulse = only_pulse(&rig.send(Input::Retrieve { session, order: order("A2") }));
    rig.sent(pulse);
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    rig.send(Input::ConfirmLoaded { session, compartment: number(1), inside: false });
    assert!(rig.core.unwanted(session).is_empty());
    rig.wait(20_000);
    open(&mut rig, "11111112");
    rig.close_door(1);
    assert!(rig.has(collected("A1", 1)));
}

#[test]
fn one_that_is_overdue_goes_along_until_its_own_code_has_ended() {
    let (mut rig, _) = together();
    rig.set_time(1_000_000);
    let overdue = PutOrder { take_back: Some(TakeBack::Overdue), ..sharing("A2", Size::M, "house-7") };
    rig.book(vec![
        overdue.into(),
        PutCredential { expires: Some(2_000_000), generation: 2, ..credential(3, "33333334", &["A2"]) }.into(),
    ]);
    rig.wait(2_000_000);
    assert_eq!(refusal(&rig.enter("11111112")), EntryRefusal::OutOfService, "its time is over");
    rig.book(vec![
        PutCredential { expires: Some(9_000_000_000), generation: 3, ..credential(4, "44444445", &["A2"]) }.into(),
    ]);
    assert!(matches!(result(&rig.enter("11111112")), EntryResult::Opening { .. }));
}

#[test]
fn one_that_has_no_code_yet_goes_along() {
    let (mut rig, _) = together();
    rig.book(vec![DropCredential { id: CredentialId([2; 8]) }.into()]);
    open(&mut rig, "11111112");
    rig.close_door(1);
    assert!(rig.has(collected("A2", 1)));
    // The fleet had made its code before it heard of that.
    rig.book(vec![PutCredential { generation: 2, ..credential(3, "33333334", &["A2"]) }.into()]);
    assert_eq!(refusal(&rig.enter("33333334")), EntryRefusal::Used);
}

#[test]
fn a_driver_with_both_gets_the_door_once() {
    let (mut rig, _) = together();
    let right = |id: &str| BundleRight { order: order(id), expires: None, needs_time: false };
    let rights = Some(vec![right("A1"), right("A2")]);
    let both = PutCredential {
        kind: CredentialKind::Qr,
        generation: 2,
        rights,
        ..credential(9, token(5).reveal(), &["A1", "A2"])
    };
    rig.book(vec![both.into()]);
    let pulse = only_pulse(&rig.scan(token(5)));
    rig.sent(pulse);
    rig.open_door(1);
    rig.close_door(1);
    assert!(rig.has(collected("A1", 9)) && rig.has(collected("A2", 9)));
}

#[test]
fn staff_find_one_of_them_missing() {
    let (mut rig, session) = together();
    let session = rig.core.waiting(session).is_empty().then(|| rig.log_in("111111")).unwrap();
    let pulse = only_pulse(&rig.send(Input::Look { session, compartment: number(1) }));
    rig.sent(pulse);
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    // They are asked about one after another.
    rig.send(Input::ConfirmLoaded { session, compartment: number(1), inside: false });
    let missing = |id: &str, found| -> Fact {
        let (compartment, staff) = (number(1), "ann".parse().unwrap());
        Audited { compartment, staff, found, order: Some(order(id)) }.into()
    };
    assert!(rig.has(missing("A2", Finding::Missing)));
    assert!(rig.view(1).asks && rig.view(1).allocated && rig.view(1).audit_required);
    rig.send(Input::ConfirmLoaded { session, compartment: number(1), inside: true });
    assert_eq!(rig.last(), missing("A1", Finding::AsBooked));
    assert!(!rig.view(1).asks && !rig.view(1).audit_required);
    assert_eq!(refusal(&rig.enter("22222223")), EntryRefusal::Missing);
    open(&mut rig, "11111112");
    rig.close_door(1);
    assert!(rig.has(collected("A1", 1)));
}

/// The one that is there was asked about first.
#[test]
fn staff_are_asked_about_each_of_them_before_a_doubt_ends() {
    for cut in [false, true] {
        let (mut rig, _) = together();
        let mut session = rig.log_in("111111");
        let pulse = only_pulse(&rig.send(Input::Look { session, compartment: number(1) }));
        rig.sent(pulse);
        rig.open_door(1);
        rig.door(1, DoorSeen::Closed, OCCUPIED);
        rig.send(Input::ConfirmLoaded { session, compartment: number(1), inside: true });
        assert_eq!(rig.count(|fact| matches!(fact, Fact::Audited(_))), 0, "the other one was not asked about yet");
        if cut {
            rig.restart();
            rig.doors_closed();
            rig.door(1, DoorSeen::Closed, OCCUPIED);
            session = rig.log_in("111111");
        }
        assert!(rig.view(1).asks);
        rig.send(Input::ConfirmLoaded { session, compartment: number(1), inside: false });
        let told: Vec<_> = rig
            .events()
            .into_iter()
            .filter_map(
                |fact| if let Fact::Audited(told) = fact { Some((told.order.unwrap(), told.found)) } else { None },
            )
            .collect();
        assert_eq!(told, [(order("A1"), Finding::Missing), (order("A2"), Finding::AsBooked)]);
        assert!(!rig.view(1).asks && rig.view(1).allocated && !rig.view(1).audit_required);
        assert_eq!(refusal(&rig.enter("11111112")), EntryRefusal::Missing);
    }
}

#[test]
fn staff_who_find_all_of_them_say_so_of_each() {
    let (mut rig, _) = together();
    let session = rig.log_in("111111");
    let pulse = only_pulse(&rig.send(Input::Look { session, compartment: number(1) }));
    rig.sent(pulse);
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    for _ in 0..2 {
        rig.send(Input::ConfirmLoaded { session, compartment: number(1), inside: true });
    }
    let booked = |fact: &Fact| matches!(fact, Fact::Audited(told) if told.found == Finding::AsBooked);
    assert_eq!(rig.count(booked), 2);
    assert!(!rig.view(1).asks);
    let effects = rig.send(Input::ConfirmLoaded { session, compartment: number(1), inside: true });
    assert_eq!(refused(&effects), StaffRefusal::UnknownOrder, "nobody asks any more");
}

/// Staff have gone in the middle of it, and nobody knows whether it is out.
#[test]
fn whoever_comes_behind_a_forgotten_retrieval_is_sent_to_staff() {
    let (mut rig, _) = together();
    let session = rig.log_in("111111");
    let pulse = only_pulse(&rig.send(Input::Retrieve { session, order: order("A2") }));
    rig.sent(pulse);
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert_eq!(refusal(&rig.enter("11111112")), EntryRefusal::Busy);
    rig.restart();
    rig.doors_closed();
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    rig.wait(20_000);
    let effects = rig.enter("11111112");
    assert_eq!(refusal(&effects), EntryRefusal::OutOfService);
    assert!(told(&effects).iter().any(|note| note.contains("CallStaff")));
    let session = rig.log_in("111111");
    rig.send(Input::ConfirmLoaded { session, compartment: number(1), inside: false });
    open(&mut rig, "11111112");
    rig.close_door(1);
    assert!(
        rig.has(collected("A1", 1))
            && rig.has(Retrieved { order: order("A2"), compartment: number(1), staff: "ann".parse().unwrap() })
    );
}

/// It may be inside, and nobody is to get it.
#[test]
fn what_was_half_loaded_and_must_not_be_handed_out_closes_the_door() {
    let (mut rig, session) = waiting();
    rig.load(session, "A2");
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    rig.send(Input::StaffLogout { session });
    rig.book(vec![DropOrder { order: order("A2") }.into()]);
    assert_eq!(refusal(&rig.enter("11111112")), EntryRefusal::OutOfService);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::LoadAborted(_))), 0, "nothing was ended for nothing");
}

#[test]
fn nothing_opens_by_the_code_of_another_what_needs_more_than_its_own() {
    let (mut rig, _) = together();
    let own = PutCredential { generation: 2, ..credential(3, "33333334", &["A2"]) };
    rig.book(vec![PutGuarded { credential: own, guarded: vec![order("A2")], factor: None }.into()]);
    assert_eq!(refusal(&rig.enter("11111112")), EntryRefusal::OutOfService);
}

/// It was undone, and nobody has said that it is wanted here again.
#[test]
fn what_is_to_be_taken_out_is_not_put_beside_another() {
    let (mut rig, session) = waiting();
    rig.book(vec![PutOrder { take_back: Some(TakeBack::Recalled), ..sharing("A2", Size::M, "house-7") }.into()]);
    assert_eq!(only_pulse(&load(&mut rig, session, "A2", false)).compartment, 2);
}

#[test]
fn they_are_not_exchanged_with_another() {
    let (mut rig, _) = together();
    rig.book(vec![put_order("A3", Size::S)]);
    let session = rig.log_in("111111");
    rig.load(session, "A3");
    rig.open_door(3);
    rig.door(3, DoorSeen::Closed, UNKNOWN);
    rig.send(Input::ConfirmLoaded { session, compartment: number(3), inside: true });
    let effects = rig.send(Input::Swap { session, one: number(1), other: number(3) });
    assert_eq!(refused(&effects), StaffRefusal::Shared);
}

#[test]
fn a_command_may_name_any_of_them_and_none_else() {
    for (expected, opens) in [(Some("A1"), true), (Some("A2"), true), (Some("A3"), false), (None, false)] {
        let (mut rig, _) = together();
        let named = expected.map(order);
        let command = rig.command(1, Expect::of(named.as_ref()));
        assert_eq!(pulses(&rig.send_command(&command)).len(), usize::from(opens), "{expected:?}");
    }
}

#[test]
fn a_whole_book_that_knows_nothing_of_them_leaves_what_is_inside() {
    let (mut rig, _) = together();
    rig.send_book(Book { version: 50, base: 0, issued: 0, changes: vec![put_staff("ann", "111111")] });
    rig.book = 50;
    open(&mut rig, "22222223");
    rig.close_door(1);
    assert!(rig.has(collected("A1", 2)) && rig.has(collected("A2", 2)));
}

#[test]
fn a_compartment_takes_eight_and_no_more() {
    let puts: Vec<BookChange> = (1..=9).map(|at| sharing(&format!("B{at}"), Size::L, "house-7").into()).collect();
    let (mut rig, session) = with_orders(puts);
    for at in 1..=8 {
        assert_eq!(rig.load(session, &format!("B{at}")).compartment, 5);
        rig.open_door(5);
        rig.door(5, DoorSeen::Closed, UNKNOWN);
        rig.send(Input::ConfirmLoaded { session, compartment: number(5), inside: true });
    }
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Stored(_))), 8);
    assert_eq!(refused(&load(&mut rig, session, "B9", false)), StaffRefusal::NoFittingCompartment);
}

/// Cut off behind every commit: no order is lost, none is in two compartments, and what was stored is collected.
#[test]
fn a_power_cut_anywhere_leaves_each_order_where_the_disk_says() {
    for cut in 0..40 {
        let (mut rig, session) = waiting();
        let mut steps = 0;
        let mut go = |rig: &mut Rig, act: &mut dyn FnMut(&mut Rig)| {
            if steps == cut {
                rig.restart();
                rig.doors_closed();
                rig.door(1, DoorSeen::Closed, OCCUPIED);
                rig.connect();
                rig.wait(10_000);
            }
            steps += 1;
            act(rig);
        };
        go(&mut rig, &mut |rig| drop(load(rig, session, "A2", false)));
        go(&mut rig, &mut |rig| drop(rig.send(Input::PulseResult { pulse: 2, sent: true })));
        go(&mut rig, &mut |rig| drop(rig.open_door(1)));
        go(&mut rig, &mut |rig| drop(rig.door(1, DoorSeen::Closed, OCCUPIED)));
        let inside = Input::ConfirmLoaded { session, compartment: number(1), inside: true };
        go(&mut rig, &mut |rig| drop(rig.send(inside.clone())));
        rig.wait(20_000);
        go(&mut rig, &mut |_| {});
        let stored = rig.count(|fact| matches!(fact, Fact::Stored(_)));
        open(&mut rig, "11111112");
        rig.close_door(1);
        let taken = rig.count(|fact| matches!(fact, Fact::Collected(_)));
        assert_eq!(taken, stored, "cut {cut}: {:?}", rig.events());
    }
}
