//! One credential for several orders: each door completes alone, and what is left inside stays for the next time.

use cabinet_core::{DoorSeen, Effect, EntryRefusal, EntryResult, Input, ScreenNote};
use schemas::messages::*;

use crate::books::book;
use crate::pickup::refusal;
use crate::rig::*;

fn bundle(generation: u32, orders: &[&str]) -> PutCredential {
    let right = |id: &&str| BundleRight { order: order(id), expires: None, needs_time: false };
    let rights = Some(orders.iter().map(right).collect());
    let kind = CredentialKind::Qr;
    PutCredential { kind, generation, rights, ..credential(9, token(5).reveal(), orders) }
}

/// Compartments 1 and 2 have an occupancy sensor, 3 and 4 have none.
fn four() -> Rig {
    let mut rig =
        Rig::holding(&[(1, "A1", "11111112"), (2, "A2", "22222223"), (3, "A3", "33333334"), (4, "A4", "44444445")]);
    rig.book(vec![bundle(2, &["A1", "A2", "A3", "A4"]).into()]);
    rig
}

/// Shows the credential; every door that it opens is pulsed and seen open.
fn open_all(rig: &mut Rig) -> Vec<u16> {
    let opening = pulses(&rig.scan(token(5)));
    for pulse in &opening {
        rig.sent(*pulse);
        rig.open_door(pulse.compartment);
    }
    opening.iter().map(|pulse| pulse.compartment).collect()
}

fn not_taken(id: &str, compartment: u16) -> Fact {
    NotTaken { order: order(id), compartment: number(compartment), credential: CredentialId([9; 8]) }.into()
}

/// Acceptance 6, with all four doors opened.
#[test]
fn what_a_sensor_still_sees_is_there_for_the_next_time() {
    let mut rig = four();
    assert_eq!(open_all(&mut rig), [1, 2, 3, 4]);
    rig.door(2, DoorSeen::Closed, OCCUPIED);
    assert_eq!(rig.last(), not_taken("A2", 2));
    for compartment in [1, 3, 4] {
        rig.close_door(compartment);
    }
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 3);
    assert!(rig.view(2).allocated && !rig.view(2).audit_required, "exactly one remains");
    assert_eq!(open_all(&mut rig), [2]);
    rig.close_door(2);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 4);
    assert_eq!(refusal(&rig.scan(token(5))), EntryRefusal::Used);
}

#[test]
fn without_a_sensor_the_holder_says_what_stays_inside() {
    let mut rig = four();
    open_all(&mut rig);
    assert!(rig.view(3).may_stay && !rig.view(5).may_stay);
    rig.send(Input::NotTaken { compartment: number(3) });
    assert!(!rig.view(3).may_stay, "said once");
    rig.door(3, DoorSeen::Closed, UNKNOWN);
    assert_eq!(rig.last(), not_taken("A3", 3));
    rig.door(4, DoorSeen::Closed, UNKNOWN);
    assert!(matches!(rig.last(), Fact::Collected(_)), "nobody said so of this one");
    assert_eq!(open_all(&mut rig), [3]);
}

#[test]
fn a_sensor_that_sees_nothing_is_believed_more_than_who_says_that_something_stays() {
    let mut rig = four();
    open_all(&mut rig);
    rig.send(Input::NotTaken { compartment: number(1) });
    rig.door(1, DoorSeen::Closed, EMPTY);
    assert!(matches!(rig.last(), Fact::Collected(Collected { confirmed: true, .. })));
}

#[test]
fn the_word_holds_through_a_power_cut_and_however_long_the_door_stands_open() {
    let mut rig = four();
    open_all(&mut rig);
    rig.send(Input::NotTaken { compartment: number(3) });
    rig.restart();
    rig.open_door(3);
    rig.wait(2 * 900_000);
    assert!(rig.view(3).allocated);
    rig.door(3, DoorSeen::Closed, UNKNOWN);
    assert_eq!(rig.last(), not_taken("A3", 3));
    assert_eq!(rig.count(|fact| *fact == not_taken("A3", 3)), 1);
}

#[test]
fn nobody_says_it_of_a_door_that_a_single_code_opened_or_that_is_closed() {
    let mut rig = Rig::holding(&[(3, "A1", "11111112"), (4, "A2", "22222223")]);
    let pulse = only_pulse(&rig.enter("11111112"));
    rig.sent(pulse);
    rig.open_door(3);
    for compartment in [3, 4, 99] {
        rig.send(Input::NotTaken { compartment: number(compartment) });
    }
    rig.door(3, DoorSeen::Closed, UNKNOWN);
    assert!(matches!(rig.last(), Fact::Collected(_)));
    rig.send(Input::NotTaken { compartment: number(3) });
    assert!(!rig.view(3).allocated);
}

#[test]
fn each_order_has_an_end_of_its_own() {
    let mut rig = Rig::holding(&[(3, "A1", "11111112"), (4, "A2", "22222223")]);
    rig.set_time(1_000_000);
    let mut put = bundle(2, &["A1", "A2"]);
    let rights = put.rights.as_mut().unwrap();
    rights[0].expires = Some(1_060_000);
    rig.book(vec![put.into()]);
    rig.wait(120_000);
    let effects = rig.scan(token(5));
    assert_eq!(only_pulse(&effects).compartment, 4, "the time of the other one is over");
}

#[test]
fn an_order_that_needs_the_time_waits_for_it_and_the_others_do_not() {
    let mut rig = Rig::holding(&[(3, "A1", "11111112"), (4, "A2", "22222223")]);
    let mut put = bundle(2, &["A1", "A2"]);
    put.rights.as_mut().unwrap()[1].needs_time = true;
    rig.book(vec![put.into()]);
    let pulse = only_pulse(&rig.scan(token(5)));
    assert_eq!(pulse.compartment, 3);
    rig.sent(pulse);
    rig.open_door(3);
    rig.close_door(3);
    assert_eq!(refusal(&rig.scan(token(5))), EntryRefusal::TimeUnknown);
    rig.set_time(1_000_000);
    assert_eq!(only_pulse(&rig.scan(token(5))).compartment, 4);
}

#[test]
fn the_own_codes_of_its_orders_are_over_once_the_bundle_is_in_force() {
    let mut rig = four();
    assert_eq!(refusal(&rig.enter("11111112")), EntryRefusal::Revoked);
}

#[test]
fn one_more_order_is_opened_by_a_credential_that_had_opened_all_it_could() {
    let mut rig = Rig::holding(&[(3, "A1", "11111112"), (4, "A2", "22222223")]);
    rig.book(vec![bundle(2, &["A1"]).into()]);
    open_all(&mut rig);
    rig.close_door(3);
    assert_eq!(refusal(&rig.scan(token(5))), EntryRefusal::Used);
    rig.book(vec![bundle(3, &["A1", "A2"]).into()]);
    assert_eq!(open_all(&mut rig), [4], "what was collected stays so");
}

#[test]
fn rights_that_do_not_fit_the_orders_refuse_the_book() {
    let mut rig = Rig::holding(&[(3, "A1", "11111112"), (4, "A2", "22222223")]);
    let whole = bundle(2, &["A1", "A2"]);
    for wrong in [Vec::new(), bundle(2, &["A1"]).rights.unwrap(), bundle(2, &["A2", "A1"]).rights.unwrap()] {
        let put = PutCredential { rights: Some(wrong), ..whole.clone() };
        rig.book(vec![put.into()]);
        assert!(matches!(rig.last(), Fact::BookRefused(BookRefused { reason: RefusalReason::Malformed, .. })));
        rig.book -= 1;
    }
    assert!(matches!(result(&rig.enter("11111112")), EntryResult::Opening { .. }));
}

/// Power fails behind each step of a visit, with and without what came after the commit.
#[test]
fn a_power_cut_at_any_step_neither_loses_an_order_nor_opens_for_one_that_is_gone() {
    for cut in 0..7 {
        let mut rig = Rig::holding(&[(3, "A1", "11111112"), (4, "A2", "22222223")]);
        rig.book(vec![bundle(2, &["A1", "A2"]).into()]);
        let mut opening = Vec::new();
        for step in 0..=cut {
            match step {
                0 => opening = pulses(&rig.scan(token(5))),
                1 => drop(rig.sent(opening[0])),
                2 => drop(rig.open_door(3)),
                3 => drop(rig.sent(opening[1])),
                4 => drop(rig.open_door(4)),
                5 => drop(rig.send(Input::NotTaken { compartment: number(3) })),
                6 => drop(rig.door(3, DoorSeen::Closed, UNKNOWN)),
                _ => unreachable!(),
            }
        }
        assert!(pulses(&rig.restart()).is_empty(), "a door was pulsed by itself after cut {cut}");
        rig.doors_closed();
        rig.wait(60_000);
        let collected = rig.count(|fact| matches!(fact, Fact::Collected(_)));
        let inside = [3, 4].iter().filter(|door| rig.view(**door).allocated).count();
        assert_eq!(collected + inside, 2, "after cut {cut}: {:?}", rig.events());
        for pulse in pulses(&rig.scan(token(5))) {
            assert!(rig.view(pulse.compartment).allocated, "after cut {cut}");
        }
    }
}

/// An order in several compartments is a bundle of parts; its new code comes under new credentials.
#[test]
fn another_credential_of_a_later_generation_takes_the_place_of_the_one_before_for_all_of_its_orders() {
    let mut rig = four();
    let next = PutCredential { id: CredentialId([10; 8]), ..bundle(3, &["A1", "A2"]) };
    rig.book(vec![PutCredential { verifier: verifier(token(6).reveal()), ..next }.into()]);
    assert_eq!(pulses(&rig.scan(token(6))).len(), 2);
    let mut rig = four();
    let all = PutCredential { id: CredentialId([10; 8]), ..bundle(3, &["A1", "A2", "A3", "A4"]) };
    rig.book(vec![PutCredential { verifier: verifier(token(6).reveal()), ..all }.into()]);
    assert_eq!(refusal(&rig.scan(token(5))), EntryRefusal::Revoked);
    assert_eq!(pulses(&rig.scan(token(6))).len(), 4);
}

#[test]
fn staff_see_which_part_of_which_order_they_load() {
    let mut rig = Rig::online();
    let part = |id: &str, number, of| {
        let BookChange::PutOrder(put) = put_order(id, Size::S) else { panic!() };
        let whole = order("A7");
        BookChange::from(PutOrder { part: Some(PartOf { whole, number, of }), ..put })
    };
    rig.book(vec![put_staff("ann", "111111"), part("A7", 1, 2), part("A7.2", 2, 2)]);
    let ann = rig.log_in("111111");
    let waiting = rig.core.waiting(ann);
    let shown: Vec<_> = waiting.iter().map(|one| one.part.as_ref().map(|part| (part.number, part.of))).collect();
    assert_eq!(shown, [Some((1, 2)), Some((2, 2))]);
    for (number, of) in [(0, 2), (3, 2), (1, 9)] {
        let refused = rig.book(vec![part("B1", number, of)]);
        assert!(rig.core.waiting(ann).len() == 2, "{number} of {of}: {refused:?}");
        rig.book -= 1;
    }
}

/// A fleet that was restored to before the first credential of a bundle makes its secret known under another id.
#[test]
fn a_restored_fleet_puts_a_bundle_under_another_id_and_nothing_that_is_inside_loses_its_right() {
    let mut rig = Rig::holding(&[(3, "A1", "11111112"), (4, "A2", "22222223")]);
    let guarded = vec![order("A2")];
    rig.book(vec![PutGuarded { credential: bundle(2, &["A1", "A2"]), guarded, factor: None }.into()]);
    let again = |generation| PutCredential { id: CredentialId([8; 8]), ..bundle(generation, &["A1"]) };
    let version = rig.book + 1;
    rig.send_book(book(version, 0, vec![put_order("A1", Size::S), again(7).into()]));
    assert_eq!(rig.last(), BookApplied { version }.into());
    rig.restart();
    let effects = rig.scan(token(5));
    assert_eq!(only_pulse(&effects).compartment, 3);
    let asks = |effect: &Effect| matches!(effect, Effect::Screen(ScreenNote::AskRelease { compartments }) if *compartments == [number(4)]);
    assert!(effects.iter().any(asks), "what staff have to release they still have to");
}

#[test]
fn two_bundles_with_one_typed_code_are_refused_as_long_as_one_of_them_is_a_single_order() {
    let mut rig = Rig::holding(&[(3, "A1", "11111112"), (4, "A2", "22222223")]);
    let put = PutCredential { kind: CredentialKind::Digits, ..credential(9, "11111112", &["A2"]) };
    let rights = Some(vec![BundleRight { order: order("A2"), expires: None, needs_time: false }]);
    rig.book(vec![PutCredential { rights, generation: 2, ..put }.into()]);
    assert_eq!(rig.last(), BookRefused { version: Some(rig.book), reason: RefusalReason::Malformed }.into());
    assert_eq!(only_pulse(&rig.enter("11111112")).compartment, 3);
}
