//! Staff at the screen: how long a session lasts, and when their word counts.

use cabinet_core::{DoorSeen, EntryRefusal, EntryResult, Input, StaffRefusal};
use schemas::messages::*;

use crate::loading::{load, refused, with_orders};
use crate::rig::*;

#[test]
fn a_session_lives_on_while_it_is_used_and_no_longer() {
    let (mut rig, session) = with_orders(vec![]);
    rig.wait(50_000);
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::UnknownOrder);
    rig.wait(59_999);
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::UnknownOrder);
    rig.wait(60_000);
    assert_eq!(refused(&load(&mut rig, session, "A1", false)), StaffRefusal::NoSession);
}

#[test]
fn an_idle_session_ends_by_itself_and_the_screen_hears_of_it() {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::S)]);
    let began = rig.now;
    assert!(rig.core.poll_timeout().is_some_and(|at| at <= began + 60_000), "nobody wakes the core for it");
    let effects = rig.wait(60_000);
    assert!(told(&effects).contains(&"Screen(SessionEnded { session: SessionId(..) })".to_owned()), "{effects:?}");
    assert!(rig.core.waiting(session).is_empty());
}

#[test]
fn whoever_stands_at_an_open_door_is_not_idle() {
    let (mut rig, session) = with_orders(vec![put_order("A1", Size::S), put_order("A2", Size::S)]);
    let pulse = only_pulse(&load(&mut rig, session, "A1", false));
    rig.sent(pulse);
    rig.open_door(3);
    rig.wait(200_000);
    assert_eq!(rig.core.waiting(session).len(), 2, "logged out with the hands full");
    rig.close_door(3);
    rig.wait(120_001);
    assert!(rig.core.waiting(session).is_empty());
}

fn put_sam(until: Option<u64>, badge: Option<u8>) -> BookChange {
    let badge = badge.map(|byte| verifier(token(byte).reveal()));
    PutStaff { name: "sam".parse().unwrap(), verifier: verifier("222222"), pepper: 1, until, badge }.into()
}

#[test]
fn a_badge_logs_in_wherever_it_is_scanned_and_while_typing_is_locked() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.book(vec![put_sam(None, Some(7))]);
    let logged_in = |effects: &[cabinet_core::Effect]| matches!(result(effects), EntryResult::StaffSession { name, .. } if name.as_str() == "sam");
    assert!(logged_in(&rig.scan_staff(token(7))));
    assert!(logged_in(&rig.scan(token(7))), "at the customer's page it is the same badge");
    assert_eq!(result(&rig.scan_staff(token(8))), EntryResult::Refused(EntryRefusal::Wrong));
    // A vandal types until nobody may any more today.
    for _ in 0..4 {
        for _ in 0..5 {
            rig.enter("00000000");
        }
        rig.wait(300_000);
    }
    assert_eq!(result(&rig.enter_staff("222222")), EntryResult::SecondPartNeeded);
    assert!(logged_in(&rig.scan_staff(token(7))), "a vandal keeps staff out");
    rig.restart();
    assert!(logged_in(&rig.scan_staff(token(7))));
    let sam = StaffLoggedIn { staff: "sam".parse().unwrap() };
    assert_eq!(rig.count(|fact| *fact == sam.clone().into()), 4);
}

#[test]
fn a_pin_is_no_badge_and_a_pickup_code_no_pin() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.book(vec![put_sam(None, Some(7))]);
    assert_eq!(result(&rig.enter("222222")), EntryResult::Refused(EntryRefusal::Wrong));
    assert_eq!(result(&rig.enter_staff("12345678")), EntryResult::Refused(EntryRefusal::Wrong));
}

#[test]
fn who_has_left_the_book_is_logged_out_and_the_badge_opens_nothing() {
    let (mut rig, ann) = with_orders(vec![put_order("A1", Size::S), put_sam(None, Some(7))]);
    let EntryResult::StaffSession { session: sam, .. } = result(&rig.scan_staff(token(7))) else { panic!() };
    rig.book(vec![DropStaff { name: "sam".parse().unwrap() }.into()]);
    assert_eq!(refused(&load(&mut rig, sam, "A1", false)), StaffRefusal::NoSession);
    assert!(rig.core.waiting(sam).is_empty() && rig.core.waiting(ann).len() == 1);
    assert_eq!(result(&rig.scan_staff(token(7))), EntryResult::Refused(EntryRefusal::Wrong));
    assert_eq!(result(&rig.enter_staff("222222")), EntryResult::Refused(EntryRefusal::Wrong));
}

#[test]
fn a_pin_ends_with_its_date_also_while_the_cabinet_is_offline() {
    let (mut rig, _) = with_orders(vec![put_order("A1", Size::S)]);
    let now = 1_795_378_500_000;
    rig.set_time(now);
    rig.book(vec![put_sam(Some(now + 100_000), Some(7))]);
    rig.send(Input::Disconnected);
    let EntryResult::StaffSession { session, .. } = result(&rig.enter_staff("222222")) else { panic!() };
    rig.wait(50_000);
    assert_eq!(refused(&load(&mut rig, session, "A9", false)), StaffRefusal::UnknownOrder);
    assert_eq!(rig.core.waiting(session).len(), 1);
    rig.wait(55_000);
    rig.send(Input::Tick);
    assert!(rig.core.waiting(session).is_empty(), "the session outlived its PIN");
    assert_eq!(result(&rig.enter_staff("222222")), EntryResult::Refused(EntryRefusal::Expired));
    assert_eq!(result(&rig.scan_staff(token(7))), EntryResult::Refused(EntryRefusal::Expired));
    assert_eq!(rig.core.view().locked_until, None, "a PIN that was right counts as no guess");
}

#[test]
fn a_ninth_session_ends_the_one_that_was_idle_longest() {
    let (mut rig, first) = with_orders(vec![put_order("A1", Size::S)]);
    let mut sessions = vec![first];
    for _ in 1..8 {
        rig.wait(1_000);
        sessions.push(rig.log_in("111111"));
    }
    assert!(sessions.iter().all(|session| rig.core.waiting(*session).len() == 1));
    rig.wait(1_000);
    let ninth = rig.log_in("111111");
    assert!(rig.core.waiting(first).is_empty());
    assert!(sessions[1..].iter().chain([&ninth]).all(|session| rig.core.waiting(*session).len() == 1));
}

#[test]
fn an_audit_ends_by_the_word_of_staff_unless_a_sensor_contradicts() {
    let (mut rig, session) = with_orders(vec![]);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::AuditRequired(_))), 1, "told once");
    let empty = Input::ConfirmLoaded { session, compartment: number(1), inside: false };
    rig.send(empty.clone());
    assert!(rig.view(1).audit_required);
    rig.close_door(1);
    assert!(rig.view(1).audit_required, "never freed by itself");
    rig.send(empty);
    assert!(!rig.view(1).audit_required);
}

#[test]
fn the_word_of_staff_counts_once_they_could_have_looked() {
    let mut rig = Rig::holding(&[(1, "A1", "12345678")]);
    rig.book(vec![put_order("A2", Size::S)]);
    let session = rig.log_in("111111");
    let word = |at: u16, inside: bool| Input::ConfirmLoaded { session, compartment: number(at), inside };
    rig.load(session, "A2");
    let pulse = only_pulse(&rig.send(Input::Retrieve { session, order: order("A1") }));
    rig.sent(pulse);
    rig.wait(3_000);
    assert!(rig.view(1).try_again && rig.view(3).try_again);
    for (at, inside) in [(1, true), (1, false), (3, true), (3, false)] {
        assert_eq!(refused(&rig.send(word(at, inside))), StaffRefusal::UnknownOrder, "{at} was not opened");
    }
    let pulse = only_pulse(&rig.send(Input::TryAgain { compartment: number(1) }));
    rig.sent(pulse);
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    rig.send(word(1, true));
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Retrieved(_))), 0);
    assert_eq!(only_pulse(&rig.enter("12345678")).compartment, 1, "it was left where it is");
}

#[test]
fn an_order_that_a_sensor_still_saw_inside_is_out_only_by_the_word_of_staff() {
    let mut rig = Rig::holding(&[(1, "A1", "12345678")]);
    let session = rig.log_in("111111");
    let pulse = only_pulse(&rig.send(Input::Retrieve { session, order: order("A1") }));
    rig.sent(pulse);
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    rig.close_door(1);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Retrieved(_))), 0, "nobody has opened the door since");
    rig.send(Input::ConfirmLoaded { session, compartment: number(1), inside: false });
    let staff = "ann".parse().unwrap();
    assert!(rig.has(Retrieved { order: order("A1"), compartment: number(1), staff }));
}

#[test]
fn staff_can_say_that_nothing_is_left_behind_a_door_that_its_recipient_left_open() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.open_door(4);
    rig.wait(900_000);
    let session = rig.log_in("111111");
    let word = |inside| Input::ConfirmLoaded { session, compartment: number(4), inside };
    assert_eq!(refused(&rig.send(word(false))), StaffRefusal::DoorOpen);
    rig.door(4, DoorSeen::Unknown, UNKNOWN);
    assert_eq!(refused(&rig.send(word(true))), StaffRefusal::UnknownOrder, "for the fleet it is out");
    rig.send(word(false));
    let staff = "ann".parse().unwrap();
    assert!(rig.has(Retrieved { order: order("A1"), compartment: number(4), staff }));
    assert!(!rig.view(4).allocated);
}

#[test]
fn an_order_in_doubt_is_sound_again_by_the_word_of_staff_unless_a_sensor_contradicts() {
    let mut rig = Rig::holding(&[(1, "A1", "12345678")]);
    let session = rig.log_in("111111");
    let word = |at: u16, inside: bool| Input::ConfirmLoaded { session, compartment: number(at), inside };
    assert_eq!(refused(&rig.send(word(1, true))), StaffRefusal::UnknownOrder, "nothing is in doubt");
    assert_eq!(refused(&rig.send(word(2, false))), StaffRefusal::UnknownOrder);
    rig.open_door(1);
    rig.close_door(1);
    assert!(rig.view(1).audit_required);
    assert_eq!(refused(&rig.send(word(1, true))), StaffRefusal::SensorDisagrees, "the sensor sees nothing");
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert_eq!(
        refused(&rig.send(word(1, false))),
        StaffRefusal::UnknownOrder,
        "it was neither collected nor taken back"
    );
    rig.send(word(1, true));
    assert!(!rig.view(1).audit_required);
}
