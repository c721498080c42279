//! Customers: the right code opens the right door once, also without network and without time.

use cabinet_core::{
    DoorSeen, Effect, EntryRefusal, EntryResult, Input, PULSE_WINDOW_MILLIS, REOPEN_MILLIS, ScreenNote,
};
use schemas::messages::*;

use crate::rig::*;

pub(crate) fn refusal(effects: &[Effect]) -> EntryRefusal {
    match result(effects) {
        EntryResult::Refused(why) => why,
        other => panic!("not refused: {other:?}"),
    }
}

fn collected(id: &str, compartment: u16, code: u8, confirmed: bool) -> Collected {
    let credential = CredentialId([code; 8]);
    Collected { order: order(id), compartment: number(compartment), credential, confirmed }
}

/// Acceptance 2.
#[test]
fn a_code_opens_its_door_once() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678"), (3, "A2", "87654321")]);
    rig.send(Input::Disconnected);
    let effects = rig.enter("12345678");
    assert_eq!(result(&effects), EntryResult::Opening { compartments: vec![number(4)] });
    let pulse = only_pulse(&effects);
    assert_eq!(pulse.compartment, 4);
    rig.sent(pulse);
    rig.open_door(4);
    assert!(rig.has(DoorOpened { compartment: number(4), by: ActorCredential { id: CredentialId([1; 8]) }.into() }));
    assert_eq!(refusal(&rig.enter("12345678")), EntryRefusal::Used, "the door stands open");
    rig.close_door(4);
    assert!(rig.has(collected("A1", 4, 1, true)));
    assert!(!rig.view(4).allocated);
    assert_eq!(refusal(&rig.enter("12345678")), EntryRefusal::Used);
    assert!(rig.view(3).allocated, "the neighbour's order stays");
    let used = CredentialRefused { id: CredentialId([1; 8]), reason: RefusalReason::Used }.into();
    assert_eq!(rig.count(|fact| *fact == used), 1, "told once, however often it is typed");
}

#[test]
fn a_code_that_was_wrong_says_nothing_and_one_whose_order_is_not_here_yet_is_no_offence() {
    let mut rig = Rig::online();
    rig.book(vec![put_order("A1", Size::S), credential(1, "12345678", &["A1"]).into()]);
    assert_eq!(refusal(&rig.enter("00000000")), EntryRefusal::Wrong);
    let before = rig.events().len();
    assert_eq!(refusal(&rig.enter("12345678")), EntryRefusal::NotHere);
    assert_eq!(rig.events().len(), before);
}

/// Acceptance 6, the cabinet's part.
#[test]
fn a_bundle_opens_all_its_doors_and_each_order_completes_alone() {
    let mut rig =
        Rig::holding(&[(1, "A1", "11111112"), (2, "A2", "22222223"), (3, "A3", "33333334"), (4, "A4", "44444445")]);
    let mut bundle = credential(9, token(5).reveal(), &["A1", "A2", "A3", "A4"]);
    bundle.kind = CredentialKind::Qr;
    rig.book(vec![bundle.into()]);
    let effects = rig.scan(token(5));
    let opening = pulses(&effects);
    assert_eq!(opening.iter().map(|pulse| pulse.compartment).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let late = opening.iter().map(|pulse| pulse.not_after - rig.now).collect::<Vec<_>>();
    assert_eq!(late, [30_000, 31_000, 32_000, 33_000], "the bus opens one door a second");
    for pulse in &opening {
        rig.sent(*pulse);
    }
    for compartment in [1, 3, 4] {
        rig.open_door(compartment);
        rig.close_door(compartment);
    }
    rig.wait(120_000);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 3);
    assert!(rig.view(2).allocated, "exactly one remains");
    let again = only_pulse(&rig.scan(token(5)));
    assert_eq!(again.compartment, 2);
}

#[test]
fn a_bundle_does_not_open_a_compartment_again_while_another_order_is_still_inside() {
    let mut rig = Rig::holding(&[(3, "A1", "11111112"), (4, "A2", "22222223")]);
    rig.book(vec![credential(9, "99999999", &["A1", "A2"]).into()]);
    let effects = rig.enter("99999999");
    for pulse in pulses(&effects) {
        rig.sent(pulse);
    }
    rig.open_door(3);
    rig.wait(3_000);
    assert_eq!(only_pulse(&rig.enter("99999999")).compartment, 4, "3 stands open");
    rig.close_door(3);
    rig.wait(60_000);
    let by = Actor::from(ActorCredential { id: CredentialId([9; 8]) });
    assert!(rig.has(DoorFault { compartment: number(4), by, attempts: 1 }), "the bus never answered");
    assert!(rig.view(4).audit_required, "whether it was opened and closed again nobody can say");
    assert_eq!(only_pulse(&rig.enter("99999999")).compartment, 4, "3 is collected");
}

#[test]
fn digits_and_qr_code_of_one_order_are_used_up_together() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let qr = PutCredential { kind: CredentialKind::Qr, ..credential(9, token(5).reveal(), &["A1"]) };
    rig.book(vec![qr.into()]);
    rig.pick_up("12345678");
    assert_eq!(refusal(&rig.scan(token(5))), EntryRefusal::Used);
}

#[test]
fn typed_digits_never_match_a_scanned_credential() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let qr = PutCredential { kind: CredentialKind::Qr, ..credential(9, "99999999", &["A1"]) };
    rig.book(vec![qr.into()]);
    assert_eq!(refusal(&rig.enter("99999999")), EntryRefusal::Wrong);
}

#[test]
fn a_door_that_does_not_open_is_offered_twice_more_and_then_staff_are_called() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let mut pulse = only_pulse(&rig.enter("12345678"));
    for attempt in 1..=2 {
        rig.sent(pulse);
        let effects = rig.wait(3_000);
        assert_eq!(told(&effects), [format!("Screen(PushDoor {{ compartment: 4, attempt: {attempt} }})")]);
        let again = rig.send(Input::TryAgain { compartment: number(4) });
        assert_ne!(only_pulse(&again).pulse, pulse.pulse);
        pulse = only_pulse(&again);
        assert_eq!(pulse.not_after, rig.now + 30_000);
    }
    rig.sent(pulse);
    let effects = rig.wait(3_000);
    assert_eq!(told(&effects), ["Screen(CallStaff { compartment: 4, order: Some(shop/A1) })"]);
    let by = Actor::from(ActorCredential { id: CredentialId([1; 8]) });
    assert!(rig.has(DoorFault { compartment: number(4), by, attempts: 3 }));
    assert!(rig.view(4).fault && rig.view(4).allocated);
    assert!(pulses(&rig.send(Input::TryAgain { compartment: number(4) })).is_empty());
    rig.pick_up("12345678");
    assert!(rig.has(collected("A1", 4, 1, true)), "the code was never used up");
    assert!(!rig.view(4).fault, "its own door has opened");
}

#[test]
fn an_offer_to_try_again_ends_after_a_minute_and_with_the_right_to_open() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.wait(3_000);
    assert!(rig.view(4).try_again);
    rig.book(vec![DropCredential { id: CredentialId([1; 8]) }.into()]);
    assert!(pulses(&rig.send(Input::TryAgain { compartment: number(4) })).is_empty());
    assert_eq!(refusal(&rig.enter("12345678")), EntryRefusal::Revoked);

    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.wait(63_000);
    assert!(!rig.view(4).try_again);
    assert!(pulses(&rig.send(Input::TryAgain { compartment: number(4) })).is_empty());

    for (late, opens) in [(0, true), (1, false)] {
        let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
        let pulse = only_pulse(&rig.enter("12345678"));
        rig.sent(pulse);
        rig.wait(3_000);
        rig.now += 60_000 + late;
        let again = rig.send(Input::TryAgain { compartment: number(4) });
        assert_eq!(!pulses(&again).is_empty(), opens, "{late} ms late, and no tick has come");
    }
}

#[test]
fn a_door_pushed_open_late_still_counts_as_opened_by_the_code() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.wait(6_000);
    rig.open_door(4);
    rig.close_door(4);
    assert!(rig.has(collected("A1", 4, 1, true)));
    assert_eq!(rig.count(|fact| matches!(fact, Fact::DoorForced(_))), 0);
}

/// Order A1 in compartment 4, of whose door no word was ever heard.
pub(crate) fn without_sensor() -> Rig {
    let mut rig = Rig::blank();
    rig.send(Input::Keyset(keyset(1)));
    rig.connect();
    let kept = BookChange::from(PutOrder {
        order: order("A1"),
        size: Size::M,
        category: Category::Retail,
        wants: Attributes::default(),
        reserved: Some(number(4)),
        take_back: None,
        deposit: None,
        part: None,
        shares: None,
    });
    rig.book(vec![put_staff("ann", "111111"), kept, credential(1, "12345678", &["A1"]).into()]);
    let session = rig.log_in("111111");
    assert_eq!(rig.load(session, "A1").compartment, 4);
    let asked = "Screen(AskLoaded { order: shop/A1, compartment: 4, empty: false })".to_owned();
    assert!(told(&rig.wait(3_000)).contains(&asked), "no sensor will tell");
    rig.send(Input::ConfirmLoaded { session, compartment: number(4), inside: true });
    assert!(rig.has(Stored {
        order: order("A1"),
        compartment: number(4),
        by: StoredBy::Staff,
        staff: "ann".parse().unwrap()
    }));
    rig
}

#[test]
fn without_a_door_sensor_a_code_is_used_up_by_the_pulse() {
    let mut rig = without_sensor();
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    assert_eq!(refusal(&rig.enter("12345678")), EntryRefusal::Used);
    rig.wait(900_000);
    assert!(rig.has(collected("A1", 4, 1, false)));
    assert!(rig.view(4).allocated, "never freed by time");
    rig.close_door(4);
    assert!(!rig.view(4).allocated);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 1);
}

#[test]
fn a_collection_that_no_sensor_saw_is_not_confirmed_by_a_closed_door() {
    let mut rig = without_sensor();
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.wait(60_000);
    rig.close_door(4);
    assert!(rig.has(collected("A1", 4, 1, false)));
}

/// The board has no power: the lock may not have moved at all.
#[test]
fn a_code_is_not_used_up_while_the_board_is_silent() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.door(4, DoorSeen::Unknown, UNKNOWN);
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    assert_eq!(refusal(&rig.enter("12345678")), EntryRefusal::Busy);
    rig.wait(3_000);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 0);
    assert!(rig.has(AuditRequired { compartment: number(4), order: Some(order("A1")) }));
    rig.close_door(4);
    assert!(rig.view(4).allocated, "a closed door says nothing about what was taken");
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.open_door(4);
    rig.close_door(4);
    assert!(rig.has(collected("A1", 4, 1, true)));
}

#[test]
fn a_lock_that_cannot_be_reached_is_not_called_stuck_and_the_press_does_not_count() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let mut effects = rig.enter("12345678");
    for _ in 0..5 {
        let first = only_pulse(&effects);
        let second = only_pulse(&rig.not_sent(first));
        let unreached = rig.not_sent(second);
        let silent = |effect: &Effect| matches!(effect, Effect::Screen(ScreenNote::LockSilent { .. }));
        assert!(unreached.iter().any(silent), "{unreached:?}");
        effects = rig.send(Input::TryAgain { compartment: number(4) });
    }
    rig.sent(only_pulse(&effects));
    let effects = rig.wait(3_000);
    assert_eq!(told(&effects), ["Screen(PushDoor { compartment: 4, attempt: 1 })"], "the first that the lock heard of");
    let effects = rig.send(Input::TryAgain { compartment: number(4) });
    rig.sent(only_pulse(&effects));
    rig.open_door(4);
    rig.close_door(4);
    assert!(rig.has(collected("A1", 4, 1, true)));
    assert!(!rig.view(4).fault);

    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let first = only_pulse(&rig.enter("12345678"));
    let second = only_pulse(&rig.not_sent(first));
    rig.not_sent(second);
    rig.wait(59_999);
    assert!(rig.view(4).try_again);
    rig.wait(1);
    assert!(!rig.view(4).try_again, "nobody pressed");
}

/// The pulse has done its work when the customer closes the door.
#[test]
fn a_door_that_is_pried_open_right_after_its_customer_closed_it_is_forced() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.pick_up("12345678");
    rig.wait(3_000);
    rig.open_door(4);
    assert!(rig.has(DoorForced { compartment: number(4) }));
}

#[test]
fn a_door_whose_sensor_always_says_open_does_not_trap_the_order() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.open_door(4);
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.wait(3_000);
    assert_eq!(refusal(&rig.enter("12345678")), EntryRefusal::Used);
    rig.close_door(4);
    assert!(rig.has(collected("A1", 4, 1, true)));
}

#[test]
fn an_order_left_inside_is_collected_without_confirmation_and_asks_for_an_audit() {
    let mut rig = Rig::holding(&[(1, "A1", "12345678")]);
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert!(rig.has(collected("A1", 1, 1, false)));
    assert!(rig.has(AuditRequired { compartment: number(1), order: Some(order("A1")) }));
    assert!(rig.view(1).audit_required);
}

/// A1 in compartment 1, whose customer has closed the door on it.
fn closed_too_early() -> Rig {
    let mut rig = Rig::holding(&[(1, "A1", "12345678"), (3, "A2", "22222222")]);
    rig.pick_up("22222222");
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    rig.wait(PULSE_WINDOW_MILLIS + 1);
    rig
}

#[test]
fn whoever_closes_the_door_on_the_order_opens_it_again_with_the_same_code_for_two_minutes() {
    let mut rig = closed_too_early();
    assert_eq!(refusal(&rig.enter("22222222")), EntryRefusal::Used, "nobody sees whether A2 is there");
    for _ in 0..2 {
        let effects = rig.enter("12345678");
        assert_eq!(result(&effects), EntryResult::Opening { compartments: vec![number(1)] });
        let pulse = only_pulse(&effects);
        assert_eq!(refusal(&rig.enter("12345678")), EntryRefusal::Busy, "one pulse at a time");
        rig.sent(pulse);
        rig.open_door(1);
        let by = ActorCredential { id: CredentialId([1; 8]) };
        assert_eq!(rig.last(), DoorOpened { compartment: number(1), by: by.into() }.into());
        rig.door(1, DoorSeen::Closed, OCCUPIED);
        rig.wait(PULSE_WINDOW_MILLIS + 1);
    }
    assert_eq!(rig.count(|fact| *fact == collected("A1", 1, 1, false).into()), 1, "told once");
    rig.wait(REOPEN_MILLIS);
    assert_eq!(refusal(&rig.enter("12345678")), EntryRefusal::Used);
}

#[test]
fn a_door_is_not_opened_again_where_nothing_is_inside_or_somebody_else_has_been_at_it() {
    let session = |rig: &mut Rig| {
        rig.book(vec![put_staff("ann", "111111"), put_order("A3", Size::M)]);
        rig.log_in("111111")
    };
    let happenings: [&dyn Fn(&mut Rig); 6] = [
        &|rig| drop(rig.door(1, DoorSeen::Closed, Occupancy::Empty)),
        &|rig| drop(rig.door(1, DoorSeen::Open, OCCUPIED)),
        &|rig| {
            rig.door(1, DoorSeen::Open, OCCUPIED);
            rig.door(1, DoorSeen::Closed, OCCUPIED);
        },
        &|rig| {
            drop(rig.restart());
            rig.door(1, DoorSeen::Closed, OCCUPIED);
        },
        &|rig| {
            let session = session(rig);
            let pulse = only_pulse(&rig.send(Input::Look { session, compartment: number(1) }));
            rig.sent(pulse);
            rig.open_door(1);
            rig.door(1, DoorSeen::Closed, OCCUPIED);
        },
        &|rig| drop(rig.wait(REOPEN_MILLIS)),
    ];
    for (n, happens) in happenings.iter().enumerate() {
        let mut rig = closed_too_early();
        happens(&mut rig);
        let effects = rig.enter("12345678");
        assert_eq!((refusal(&effects), pulses(&effects).len()), (EntryRefusal::Used, 0), "happening {n}");
    }
}

#[test]
fn a_power_cut_while_a_door_is_opened_again_opens_nothing_by_itself() {
    let mut rig = closed_too_early();
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    let effects = rig.restart();
    assert!(pulses(&effects).is_empty());
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert!(pulses(&rig.wait(REOPEN_MILLIS)).is_empty());
    assert!(rig.view(1).audit_required);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 2, "A1 and A2, once each");
}

#[test]
fn a_door_left_open_beeps_tells_staff_and_ends_the_collection_unconfirmed() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.open_door(4);
    let beep = |effect: &Effect| matches!(effect, Effect::Screen(ScreenNote::Beep { .. }));
    assert!(!rig.wait(59_999).iter().any(beep));
    assert!(rig.wait(1).iter().any(beep));
    rig.wait(240_000);
    assert!(rig.has(DoorHeldOpen { compartment: number(4), stage: HeldStage::Staff }));
    rig.wait(600_000);
    assert!(rig.has(DoorHeldOpen { compartment: number(4), stage: HeldStage::Technician }));
    assert!(rig.has(collected("A1", 4, 1, false)));
    assert!(rig.view(4).allocated);
    rig.close_door(4);
    assert!(!rig.view(4).allocated);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 1);
}

/// Acceptance 17, the cabinet's part.
#[test]
fn without_time_a_retail_code_opens_and_a_food_code_does_not() {
    let mut rig = Rig::holding(&[(3, "A1", "12345678"), (4, "F1", "55555555")]);
    let food = PutCredential { needs_time: true, ..credential(2, "55555555", &["F1"]) };
    rig.book(vec![food.into()]);
    rig.restart();
    rig.doors_closed();
    assert_eq!(refusal(&rig.enter("55555555")), EntryRefusal::TimeUnknown);
    rig.pick_up("12345678");
    assert!(rig.has(collected("A1", 3, 1, true)));
    rig.connect();
    rig.set_time(1_800_000_000_000);
    assert_eq!(only_pulse(&rig.enter("55555555")).compartment, 4);
}

#[test]
fn a_code_expires_by_fleet_time_and_stays_expired_by_its_floor_after_a_restart() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let dated = PutCredential { expires: Some(1_000_000), ..credential(1, "12345678", &["A1"]) };
    rig.book(vec![dated.clone().into()]);
    rig.set_time(1_000_001);
    assert_eq!(refusal(&rig.enter("12345678")), EntryRefusal::Expired);
    rig.restart();
    assert_eq!(refusal(&rig.enter("12345678")), EntryRefusal::Expired);
    rig.connect();
    rig.book(vec![PutCredential { expires: Some(9_000_000), ..dated }.into()]);
    assert!(!pulses(&rig.enter("12345678")).is_empty(), "extended: the same code works");
}

#[test]
fn a_door_that_is_just_being_opened_is_not_pulsed_twice() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    only_pulse(&rig.enter("12345678"));
    assert_eq!(refusal(&rig.enter("12345678")), EntryRefusal::Busy);
}

#[test]
fn no_code_verifier_or_pepper_is_on_the_disk() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let effects =
        rig.send(Input::Entered { entry: 99, secret: schemas::crypto::codes::Secret::parse("12345678").unwrap() });
    let pepper = effects.iter().find_map(|effect| match effect {
        Effect::Derive { pepper, .. } => Some(pepper.0),
        _ => None,
    });
    for secret in [&b"12345678"[..], b"111111", &verifier("12345678").0, &pepper.unwrap()] {
        assert!(!rig.store.holds(secret));
    }
    assert!(rig.store.holds(b"shop/A1"), "the search finds what is there");
}

#[test]
fn a_used_code_that_is_typed_again_is_told_once_a_minute() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.pick_up("12345678");
    let told = |rig: &mut Rig| {
        rig.enter("12345678");
        rig.count(|fact| matches!(fact, Fact::CredentialRefused(_)))
    };
    assert_eq!(told(&mut rig), 1);
    rig.wait(59_999);
    assert_eq!(told(&mut rig), 1);
    rig.wait(1);
    assert_eq!(told(&mut rig), 2);
}
