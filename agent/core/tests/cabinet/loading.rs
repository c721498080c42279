//! Staff: logging in, loading into the right compartment, taking back.

use cabinet_core::{
    Config, DoorSeen, EntryRefusal, EntryResult, Input, PULSE_WINDOW_MILLIS, STAFF_ANSWER_MILLIS, SessionId,
    StaffRefusal,
};
use schemas::cbor;
use schemas::messages::*;

use crate::rig::*;

pub(crate) fn with_orders(changes: Vec<BookChange>) -> (Rig, SessionId) {
    let mut rig = Rig::online();
    rig.book([vec![put_staff("ann", "111111")], changes].concat());
    let session = rig.log_in("111111");
    (rig, session)
}

fn stored(id: &str, compartment: u16, by: StoredBy) -> Stored {
    Stored { order: order(id), compartment: number(compartment), by, staff: "ann".parse().unwrap() }
}

pub(crate) fn load(rig: &mut Rig, session: SessionId, id: &str, larger: bool) -> Vec<cabinet_core::Effect> {
    rig.send(Input::Load { session, order: order(id), larger })
}

pub(crate) fn refused(effects: &[cabinet_core::Effect]) -> StaffRefusal {
    effects
        .iter()
        .find_map(|effect| match effect {
            cabinet_core::Effect::Screen(cabinet_core::ScreenNote::StaffRefused { reason, .. }) => Some(*reason),
            _ => None,
        })
        .unwrap()
}

/// Acceptance 1, the cabinet's part, without network.
#[test]
fn an_order_is_stored_when_its_door_has_closed_on_it() {
    let (mut rig, session) = with_orders(vec![put_order("A17", Size::M)]);
    rig.send(Input::Disconnected);
    let pulse = only_pulse(&load(&mut rig, session, "A17", false));
    assert_eq!(pulse.compartment, 1, "the smallest that fits");
    let staff: schemas::ids::Name = "ann".parse().unwrap();
    assert_eq!(rig.last(), Loading { order: order("A17"), compartment: number(1), staff }.into());
    rig.sent(pulse);
    rig.open_door(1);
    let effects = rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert_eq!(
        told(&effects),
        ["Screen(Closed { compartment: 1 })", "Screen(Stored { order: shop/A17, compartment: 1 })"]
    );
    assert_eq!(rig.last(), stored("A17", 1, StoredBy::Sensor).into());
    assert!(rig.core.waiting(session).is_empty());
}

#[test]
fn staff_see_which_orders_wait_and_where_one_is_being_loaded() {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::S), put_order("A2", Size::S)]);
    rig.load(session, "A1");
    let waiting: Vec<_> =
        rig.core.waiting(session).into_iter().map(|one| (one.order, one.compartment, one.loading)).collect();
    assert_eq!(waiting, [(order("A1"), Some(number(3)), true), (order("A2"), None, false)]);
}

/// Acceptance 7.
#[test]
fn an_empty_compartment_is_asked_about_and_the_order_stays_loadable() {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::M)]);
    let pulse = rig.load(session, "A1");
    rig.open_door(pulse.compartment);
    let effects = rig.close_door(1);
    assert_eq!(told(&effects)[1], "Screen(AskLoaded { order: shop/A1, compartment: 1, empty: true })");
    assert!(rig.view(1).asks);
    rig.wait(50_000);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Stored(_))), 0);
    rig.send(Input::ConfirmLoaded { session, compartment: number(1), inside: false });
    assert_eq!(rig.last(), LoadAborted { order: order("A1"), compartment: number(1) }.into());
    assert_eq!(rig.core.waiting(session).len(), 1);
    assert!(!rig.view(1).allocated);
}

#[test]
fn where_no_sensor_can_tell_the_word_of_staff_counts_once_the_door_is_closed() {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::S)]);
    let pulse = rig.load(session, "A1");
    assert_eq!(pulse.compartment, 3);
    rig.open_door(3);
    let confirm = Input::ConfirmLoaded { session, compartment: number(3), inside: true };
    assert_eq!(refused(&rig.send(confirm.clone())), StaffRefusal::DoorOpen);
    rig.door(3, DoorSeen::Closed, OCCUPIED);
    assert!(rig.view(3).asks, "compartment 3 has no sensor, whatever the bus says");
    rig.send(confirm);
    assert_eq!(rig.last(), stored("A1", 3, StoredBy::Staff).into());
}

#[test]
fn the_reserved_compartment_is_taken_if_it_fits_and_left_to_its_order_otherwise() {
    let reserved = |id: &str, size, at| -> BookChange {
        let BookChange::PutOrder(put) = put_order(id, size) else { unreachable!() };
        PutOrder { reserved: Some(number(at)), ..put }.into()
    };
    let orders = vec![
        reserved("A1", Size::S, 5),
        reserved("A2", Size::L, 3),
        reserved("A3", Size::S, 3),
        put_order("A4", Size::S),
    ];
    let (mut rig, session) = with_orders(orders);
    assert_eq!(rig.load(session, "A4").compartment, 1, "3 and 5 are waited for");
    assert_eq!(rig.load(session, "A1").compartment, 5);
    assert_eq!(refused(&load(&mut rig, session, "A2", false)), StaffRefusal::NoFittingCompartment);
    assert_eq!(rig.load(session, "A3").compartment, 3);
}

/// Found by the simulation of the fleet, seed 42.
#[test]
fn a_door_that_stuck_for_one_order_ends_no_later_loading_of_another() {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::S), put_order("A2", Size::S)]);
    let pulse = rig.load(session, "A1");
    assert_eq!(pulse.compartment, 3, "the smallest");
    rig.sent(pulse);
    rig.wait(3_000);
    assert!(rig.view(3).try_again);
    load(&mut rig, session, "A1", true);
    assert!(!rig.view(3).try_again, "nobody tries that door again for A1");
    assert_eq!(rig.load(session, "A2").compartment, 3);
    assert!(!rig.has(LoadAborted { order: order("A2"), compartment: number(3) }));
    assert!(rig.view(3).allocated);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::LoadAborted(_))), 1, "A1 left its first compartment once");
}

#[test]
fn a_larger_compartment_replaces_the_one_that_was_too_small() {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::S)]);
    rig.load(session, "A1");
    assert_eq!(refused(&load(&mut rig, session, "A1", true)), StaffRefusal::Busy, "its door is just being opened");
    rig.open_door(3);
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::DoorOpen);
    assert_eq!(only_pulse(&load(&mut rig, session, "A1", true)).compartment, 1);
    assert!(rig.has(LoadAborted { order: order("A1"), compartment: number(3) }));
    assert!(!rig.view(3).allocated && rig.view(1).allocated);
}

#[test]
fn only_a_free_closed_sound_compartment_in_service_is_loaded() {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::M)]);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    rig.close_door(1);
    rig.door(2, DoorSeen::Unknown, OCCUPIED);
    rig.door(4, DoorSeen::Unknown, UNKNOWN);
    rig.door(5, DoorSeen::Open, UNKNOWN);
    assert!(rig.view(1).audit_required);
    assert_eq!(rig.load(session, "A1").compartment, 4, "a door without a sensor counts as closed");

    let (mut rig, session) = with_orders(vec![put_order("A2", Size::Xl)]);
    assert_eq!(refused(&load(&mut rig, session, "A2", false)), StaffRefusal::NoFittingCompartment);
    assert_eq!(refused(&load(&mut rig, session, "A9", false)), StaffRefusal::UnknownOrder);
}

#[test]
fn an_order_goes_where_its_wishes_are_met_and_no_better_place_is_wasted() {
    let mut config = config(1);
    let cold = Attributes { refrigerated: true, ..Attributes::default() };
    config.compartments[0].info.attributes = cold;
    config.compartments[1].info.in_service = false;
    let mut rig = Rig::with(config).go_online();
    let put = |id: &str, wants: Attributes| -> BookChange {
        let BookChange::PutOrder(put) = put_order(id, Size::M) else { unreachable!() };
        PutOrder { wants, ..put }.into()
    };
    let low = Attributes { accessible: true, ..Attributes::default() };
    rig.book(vec![put_staff("ann", "111111"), put("A1", Attributes::default()), put("A2", cold), put("A3", low)]);
    let session = rig.log_in("111111");
    assert_eq!(rig.load(session, "A1").compartment, 4, "1 is cold, 2 is out of service");
    assert_eq!(rig.load(session, "A2").compartment, 1);
    assert_eq!(refused(&load(&mut rig, session, "A3", false)), StaffRefusal::NoFittingCompartment);
}

#[test]
fn two_orders_never_share_a_compartment() {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::L), put_order("A2", Size::L)]);
    assert_eq!(rig.load(session, "A1").compartment, 5);
    assert_eq!(refused(&load(&mut rig, session, "A2", false)), StaffRefusal::NoFittingCompartment);
}

#[test]
fn a_load_whose_door_never_opens_is_aborted_and_blocks_the_compartment() {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::S)]);
    let mut pulse = rig.load(session, "A1");
    for _ in 0..2 {
        rig.wait(3_000);
        pulse = only_pulse(&rig.send(Input::TryAgain { compartment: number(3) }));
        rig.sent(pulse);
    }
    rig.wait(3_000);
    assert_eq!(pulse.compartment, 3);
    assert_eq!(rig.last(), LoadAborted { order: order("A1"), compartment: number(3) }.into());
    assert_eq!(rig.load(session, "A1").compartment, 1);
}

#[test]
fn a_session_ends_after_five_idle_minutes_and_opens_nothing_afterwards() {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::S)]);
    rig.send(Input::Disconnected);
    let ended = [format!("Screen({:?})", cabinet_core::ScreenNote::SessionEnded { session })];
    let effects = rig.wait(300_000);
    assert!(told(&effects).contains(&ended[0]));
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::NoSession);
    assert!(rig.core.waiting(session).is_empty());
    let session = rig.log_in("111111");
    rig.now += 300_000;
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::NoSession, "although no tick has come");
    let session = rig.log_in("111111");
    assert_eq!(
        told(&rig.send(Input::StaffLogout { session })),
        [format!("Screen({:?})", cabinet_core::ScreenNote::SessionEnded { session })]
    );
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::NoSession);
}

#[test]
fn staff_that_left_the_book_can_do_nothing_with_an_open_session() {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::S)]);
    rig.book(vec![DropStaff { name: "ann".parse().unwrap() }.into()]);
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::NoSession);
    assert_eq!(result(&rig.enter_staff("111111")), EntryResult::Refused(EntryRefusal::Wrong));
}

#[test]
fn a_pin_opens_no_door_and_a_code_no_session() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    assert_eq!(result(&rig.enter("111111")), EntryResult::Refused(EntryRefusal::Wrong));
    assert_eq!(result(&rig.enter_staff("12345678")), EntryResult::Refused(EntryRefusal::Wrong));
}

/// Acceptance 4, the cabinet's part.
#[test]
fn a_code_is_refused_once_staff_start_to_retrieve_and_the_compartment_is_free_afterwards() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let session = rig.log_in("111111");
    let pulse = only_pulse(&rig.send(Input::Retrieve { session, order: order("A1") }));
    assert_eq!(result(&rig.enter("12345678")), EntryResult::Refused(EntryRefusal::TakenOut));
    let early = Input::ConfirmLoaded { session, compartment: number(4), inside: false };
    assert_eq!(refused(&rig.send(early)), StaffRefusal::Busy);
    rig.sent(pulse);
    rig.open_door(4);
    rig.close_door(4);
    let staff = "ann".parse().unwrap();
    assert_eq!(rig.last(), Retrieved { order: order("A1"), compartment: number(4), staff }.into());
    assert!(!rig.view(4).allocated);
    assert_eq!(result(&rig.enter("12345678")), EntryResult::Refused(EntryRefusal::Revoked));
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::Over);
}

#[test]
fn a_session_shows_in_no_debug_output() {
    let (_, session) = with_orders(vec![]);
    assert_eq!(format!("{session:?}"), "SessionId(..)");
    assert_eq!(session.to_string().parse::<SessionId>(), Ok(session));
    for bad in ["", "1", "+0000000000000000000000000000001", &"g".repeat(32)] {
        assert!(bad.parse::<SessionId>().is_err());
    }
}

/// Found by the simulation of the fleet, seed 247.
#[test]
fn taking_back_twice_does_not_store_an_order_that_may_be_out() {
    let mut rig = Rig::holding(&[(1, "A1", "11111111")]);
    let session = rig.log_in("111111");
    let retrieve = || Input::Retrieve { session, order: order("A1") };
    let effects = rig.send(retrieve());
    rig.sent(only_pulse(&effects));
    rig.open_door(1);
    // Pressed again while the door is closing; then the lock sticks.
    let effects = rig.send(retrieve());
    let pulse = only_pulse(&effects);
    rig.close_door(1);
    assert!(rig.has(Retrieved { order: order("A1"), compartment: number(1), staff: "ann".parse().unwrap() }));
    rig.sent(pulse);
    rig.wait(120_000);
    assert!(!rig.view(1).allocated);
}

/// Pressed again while the door was closing, and the lock could not be reached: what is left of that must not end the
/// loading of the next order, whose door opens all the same.
#[test]
fn an_offer_that_is_left_of_a_retrieval_does_not_abort_the_next_loading() {
    let mut rig = Rig::holding(&[(3, "A1", "11111111")]);
    rig.book(vec![put_order("A2", Size::S)]);
    let session = rig.log_in("111111");
    let retrieve = || Input::Retrieve { session, order: order("A1") };
    let first = only_pulse(&rig.send(retrieve()));
    rig.sent(first);
    rig.open_door(3);
    let second = only_pulse(&rig.send(retrieve()));
    let third = only_pulse(&rig.not_sent(second));
    rig.not_sent(third);
    rig.close_door(3);
    assert!(!rig.view(3).allocated && !rig.view(3).try_again);
    let effects = load(&mut rig, session, "A2", false);
    assert_eq!(only_pulse(&effects).compartment, 3);
    assert!(rig.view(3).allocated);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::LoadAborted(_))), 0);
}

/// Nobody heard what became of the pulse; later an operator opens the door for somebody, who closes it again.
#[test]
fn an_order_that_was_perhaps_never_taken_back_does_not_leave_a_compartment_that_looks_free() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let session = rig.log_in("111111");
    rig.send(Input::Retrieve { session, order: order("A1") });
    rig.wait(60_000);
    let command = rig.command(4, Expect::order(order("A1")));
    let pulse = only_pulse(&rig.send_command(&command));
    rig.sent(pulse);
    rig.open_door(4);
    rig.close_door(4);
    assert!(rig.view(4).audit_required);
    rig.book(vec![put_order("A2", Size::S)]);
    let session = rig.log_in("111111");
    let effects = rig.send(Input::Load { session, order: order("A2"), larger: false });
    assert_ne!(only_pulse(&effects).compartment, 4);
}

/// Who has opened the door and not closed it has the order; staff who look after it must not bring it back.
#[test]
fn taking_back_what_was_left_open_and_cannot_be_opened_brings_no_order_back() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.open_door(4);
    rig.wait(900_000);
    rig.door(4, DoorSeen::Unknown, UNKNOWN);
    let session = rig.log_in("111111");
    let mut effects = rig.send(Input::Retrieve { session, order: order("A1") });
    for _ in 0..2 {
        let first = only_pulse(&effects);
        let second = only_pulse(&rig.not_sent(first));
        rig.not_sent(second);
        effects = rig.send(Input::TryAgain { compartment: number(4) });
    }
    rig.send(Input::Disconnected);
    rig.restart();
    rig.close_door(4);
    rig.wait(20_000);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 1);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Stored(_))), 1, "loaded once, and never again");
    assert_eq!(result(&rig.enter("12345678")), EntryResult::Refused(EntryRefusal::Used));
}

/// What is left of the disk is for those whose orders are inside.
#[test]
fn a_full_disk_stops_loading_and_no_pickup() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.book(vec![put_order("A2", Size::S)]);
    let session = rig.log_in("111111");
    rig.send(Input::Disk { low: true });
    assert_eq!(refused(&load(&mut rig, session, "A2", false)), StaffRefusal::DiskFull);
    let samples = rig.wait(Config::TELEMETRY_EVERY_MILLIS);
    let low = |effects: &[cabinet_core::Effect]| {
        effects.iter().rev().find_map(|effect| match effect {
            cabinet_core::Effect::SendTelemetry(bytes) => Some(cbor::decode::<Telemetry>(bytes).unwrap().disk_low),
            _ => None,
        })
    };
    assert_eq!(low(&samples), Some(Some(true)));
    rig.pick_up("12345678");
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 1);
    rig.send(Input::Disk { low: false });
    assert_eq!(low(&rig.wait(Config::TELEMETRY_EVERY_MILLIS)), Some(None));
    let session = rig.log_in("111111");
    only_pulse(&load(&mut rig, session, "A2", false));
}

#[test]
fn an_order_whose_door_never_opened_for_taking_back_is_what_it_was_before() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let session = rig.log_in("111111");
    let pulse = only_pulse(&rig.send(Input::Retrieve { session, order: order("A1") }));
    rig.sent(pulse);
    rig.close_door(4);
    rig.wait(63_000);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Retrieved(_))), 0);
    assert_eq!(only_pulse(&rig.enter("12345678")).compartment, 4, "its recipient can collect it");

    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.open_door(4);
    rig.wait(900_000);
    let session = rig.log_in("111111");
    let first = only_pulse(&rig.send(Input::Retrieve { session, order: order("A1") }));
    let second = only_pulse(&rig.not_sent(first));
    rig.not_sent(second);
    rig.wait(60_000);
    rig.close_door(4);
    assert!(!rig.view(4).allocated, "its recipient had it, and now the door is closed");
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Retrieved(_))), 0);
}

/// A door that was not opened can have let nothing in or out, whatever is reported of it.
#[test]
fn a_sensor_decides_nothing_before_the_door_was_opened_for_staff() {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::M)]);
    only_pulse(&load(&mut rig, session, "A1", false));
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Stored(_))), 0);

    let mut rig = Rig::holding(&[(1, "A1", "12345678")]);
    let session = rig.log_in("111111");
    only_pulse(&rig.send(Input::Retrieve { session, order: order("A1") }));
    rig.close_door(1);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Retrieved(_))), 0);
}

#[test]
fn a_compartment_that_stands_open_is_not_loaded_also_when_its_sensor_falls_silent() {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::L)]);
    let command = rig.command(5, Expect::empty());
    let pulse = only_pulse(&rig.send_command(&command));
    rig.sent(pulse);
    rig.open_door(5);
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::NoFittingCompartment);
    rig.door(5, DoorSeen::Unknown, UNKNOWN);
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::NoFittingCompartment);
    rig.close_door(5);
    assert_eq!(rig.load(session, "A1").compartment, 5);
}

#[test]
fn staff_are_asked_at_once_only_where_no_sensor_can_see_the_door_close() {
    let asks = |effects: &[cabinet_core::Effect]| told(effects).iter().any(|note| note.starts_with("Screen(AskLoaded"));
    let mut rig = crate::pickup::without_sensor();
    let session = rig.log_in("111111");
    let pulse = only_pulse(&rig.send(Input::Retrieve { session, order: order("A1") }));
    rig.sent(pulse);
    assert!(asks(&rig.wait(3_000)));

    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.book(vec![put_order("A2", Size::S)]);
    let session = rig.log_in("111111");
    rig.load(session, "A2");
    assert!(!asks(&rig.open_door(3)));
    let pulse = only_pulse(&rig.send(Input::Retrieve { session, order: order("A1") }));
    rig.sent(pulse);
    assert!(!asks(&rig.open_door(4)));
}

#[test]
fn a_larger_compartment_is_larger_and_not_another_of_the_same_size() {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::M)]);
    assert_eq!(rig.load(session, "A1").compartment, 1);
    rig.wait(3_000);
    assert_eq!(only_pulse(&load(&mut rig, session, "A1", true)).compartment, 5);
}

/// What is cooled, restricted or low is left for those who need it.
#[test]
fn of_two_compartments_that_fit_the_one_with_fewer_unasked_attributes_is_taken() {
    let of = |letters: &str| Attributes {
        refrigerated: letters.contains('c'),
        restricted: letters.contains('r'),
        accessible: letters.contains('a'),
    };
    for (one, two, wants) in [
        ("c", "", ""),
        ("r", "", ""),
        ("a", "", ""),
        ("cr", "a", ""),
        ("ca", "r", ""),
        ("ra", "c", ""),
        ("cra", "ca", ""),
        ("cr", "c", "c"),
        ("ra", "r", "r"),
        ("ca", "a", "a"),
        ("cra", "ra", "a"),
    ] {
        let mut config = config(1);
        config.compartments.truncate(2);
        config.compartments[0].info.attributes = of(one);
        config.compartments[1].info.attributes = of(two);
        let mut rig = Rig::with(config).go_online();
        let BookChange::PutOrder(put) = put_order("A1", Size::M) else { unreachable!() };
        rig.book(vec![put_staff("ann", "111111"), PutOrder { wants: of(wants), ..put }.into()]);
        let session = rig.log_in("111111");
        assert_eq!(rig.load(session, "A1").compartment, 2, "{one:?} or {two:?} for {wants:?}");
    }
}

/// The pulse for an order that went elsewhere meanwhile opens the door at last, and staff stand there with the next one.
#[test]
fn a_door_that_opens_late_does_not_leave_the_next_order_where_nobody_can_end_it() {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::S), put_order("A2", Size::S)]);
    rig.load(session, "A1");
    rig.wait(3_000);
    load(&mut rig, session, "A1", true);
    let first = only_pulse(&load(&mut rig, session, "A2", false));
    assert_eq!(first.compartment, 3);
    let second = only_pulse(&rig.not_sent(first));
    rig.not_sent(second);
    rig.open_door(3);
    rig.close_door(3);
    assert!(rig.view(3).asks, "staff can say whether it is inside: {:?}", rig.view(3));
    rig.send(Input::ConfirmLoaded { session, compartment: number(3), inside: true });
    assert!(rig.count(|fact| matches!(fact, Fact::Stored(stored) if stored.order == order("A2"))) == 1);
}

/// The third try was given up; the lock gives way right after that, and staff take the order out.
#[test]
fn a_door_that_opens_just_after_the_last_try_leaves_nothing_that_looks_certain() {
    for loads in [false, true] {
        let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
        rig.book(vec![put_order("A2", Size::S)]);
        let session = rig.log_in("111111");
        let mut effects = match loads {
            true => load(&mut rig, session, "A2", false),
            false => rig.send(Input::Retrieve { session, order: order("A1") }),
        };
        let door = only_pulse(&effects).compartment;
        for _ in 0..3 {
            rig.sent(only_pulse(&effects));
            rig.wait(3_000);
            effects = rig.send(Input::TryAgain { compartment: number(door) });
        }
        rig.wait(200);
        rig.open_door(door);
        rig.close_door(door);
        assert!(rig.view(door).audit_required, "loads: {loads}");
    }
}

#[test]
fn staff_see_which_stored_orders_to_take_out_and_nobody_else_does() {
    let mut rig = Rig::holding(&[(3, "A1", "12345678"), (4, "A2", "87654321")]);
    let take_back = |rig: &mut Rig, id: &str, why| {
        let BookChange::PutOrder(put) = put_order(id, Size::S) else { unreachable!() };
        rig.book(vec![PutOrder { take_back: why, ..put }.into()]);
    };
    take_back(&mut rig, "A1", Some(TakeBack::Overdue));
    let session = rig.log_in("111111");
    let unwanted = |rig: &Rig, session| {
        let all = rig.core.unwanted(session).into_iter();
        all.map(|one| (one.order.order.to_string(), one.compartment.number(), one.why)).collect::<Vec<_>>()
    };
    assert_eq!(unwanted(&rig, session), [("A1".to_owned(), 3, TakeBack::Overdue)]);
    assert!(rig.core.unwanted(SessionId(1)).is_empty());
    rig.restart();
    assert!(rig.core.unwanted(session).is_empty(), "a session of the run before");
    let session = rig.log_in("111111");
    assert_eq!(unwanted(&rig, session).len(), 1);
    // Its code works as far as the book says; once staff begin to take it out, it does not, and nobody is asked again.
    let pulse = only_pulse(&rig.send(Input::Retrieve { session, order: order("A1") }));
    assert!(unwanted(&rig, session).is_empty());
    rig.sent(pulse);
    rig.open_door(3);
    rig.close_door(3);
    assert!(unwanted(&rig, session).is_empty());
    take_back(&mut rig, "A2", Some(TakeBack::Recalled));
    take_back(&mut rig, "A2", None);
    assert!(unwanted(&rig, session).is_empty());
}

/// Whoever closes the door too early has it opened again by the same scan.
#[test]
fn a_second_scan_of_a_half_loaded_order_opens_its_door_again() {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::M)]);
    let pulse = rig.load(session, "A1");
    rig.open_door(1);
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::DoorOpen);
    rig.close_door(1);
    rig.wait(PULSE_WINDOW_MILLIS + 1);
    let begun = rig.count(|fact| matches!(fact, Fact::Loading(_)));
    let again = rig.load(session, "A1");
    assert_eq!((again.compartment, again.pulse != pulse.pulse), (1, true));
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Loading(_))), begun, "it is still the same loading");
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert_eq!(rig.last(), stored("A1", 1, StoredBy::Sensor).into());
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::AlreadyHere);
}

/// Staff close the door, walk away and never say whether the order is inside: the fleet hears that somebody has to look.
#[test]
fn a_loading_that_nobody_ends_needs_a_look_and_ends_with_the_word_of_whoever_looks() {
    for inside in [true, false] {
        let (mut rig, session) = with_orders(vec![put_order("A1", Size::S)]);
        assert_eq!(rig.load(session, "A1").compartment, 3);
        rig.open_door(3);
        rig.wait(STAFF_ANSWER_MILLIS * 2);
        let audit = Fact::from(AuditRequired { compartment: number(3), order: Some(order("A1")) });
        assert!(!rig.has(audit.clone()), "an open door is told of by itself");
        rig.close_door(3);
        rig.restart();
        rig.doors_closed();
        rig.wait(STAFF_ANSWER_MILLIS - 1);
        assert!(!rig.has(audit.clone()));
        rig.wait(1);
        assert!(rig.has(audit.clone()) && rig.view(3).asks);
        rig.wait(STAFF_ANSWER_MILLIS * 3);
        assert_eq!(rig.count(|fact| *fact == audit), 1, "told once");
        let session = rig.log_in("111111");
        rig.send(Input::ConfirmLoaded { session, compartment: number(3), inside });
        let is_stored = rig.has(stored("A1", 3, StoredBy::Staff));
        assert_eq!((is_stored, rig.view(3).audit_required), (inside, false));
    }
}
