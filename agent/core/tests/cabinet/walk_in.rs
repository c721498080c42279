//! Orders that staff begin at the screen with a phone number.

use cabinet_core::{DoorSeen, Effect, Input, NewWalkIn, ScreenNote, SessionId, StaffRefusal, WALK_INS_MAX};
use p256::SecretKey;
use schemas::crypto::seal;
use schemas::messages::*;
use schemas::phone::Phone;

use crate::rig::*;

const PHONE: &str = "+4915112345678";

pub(crate) fn new(reference: Option<&str>, size: Size) -> NewWalkIn {
    NewWalkIn {
        phone: Phone::parse("+49 151 1234-5678").unwrap(),
        reference: reference.map(|text| text.parse().unwrap()),
        size,
        category: Category::Retail,
        wants: Attributes::default(),
    }
}

fn staffed() -> (Rig, SessionId) {
    let mut rig = Rig::online();
    rig.book(vec![put_staff("ann", "111111")]);
    let session = rig.log_in("111111");
    (rig, session)
}

fn begin(rig: &mut Rig, session: SessionId, size: Size) -> Vec<Effect> {
    rig.send(Input::WalkIn { session, order: new(Some("A17"), size) })
}

fn began(rig: &Rig) -> Vec<WalkIn> {
    let facts = rig.events().into_iter();
    facts.filter_map(|fact| if let Fact::WalkIn(began) = fact { Some(began) } else { None }).collect()
}

fn opened(began: &WalkIn, key: &SecretKey) -> Option<String> {
    let (tenant, cabinet) = ("acme".parse().unwrap(), "c1".parse().unwrap());
    let aad = seal::phone_aad(&tenant, &cabinet, INSTANCE, &began.order);
    let plain = seal::open(&began.phone.0, key, &aad).ok()?;
    Some(String::from_utf8(plain.to_vec()).unwrap())
}

fn refused(effects: &[Effect]) -> Option<StaffRefusal> {
    effects.iter().find_map(|effect| match effect {
        Effect::Screen(ScreenNote::StaffRefused { reason, .. }) => Some(*reason),
        _ => None,
    })
}

fn store(rig: &mut Rig, effects: &[Effect]) -> u16 {
    let pulse = only_pulse(effects);
    rig.sent(pulse);
    rig.open_door(pulse.compartment);
    rig.door(pulse.compartment, DoorSeen::Closed, OCCUPIED);
    pulse.compartment
}

/// Staff open the door, change their mind and close it again.
fn begin_and_take_out(rig: &mut Rig, session: SessionId) {
    let effects = begin(rig, session, Size::S);
    let pulse = only_pulse(&effects);
    rig.sent(pulse);
    rig.open_door(pulse.compartment);
    rig.close_door(pulse.compartment);
    rig.send(Input::ConfirmLoaded { session, compartment: number(pulse.compartment), inside: false });
}

#[test]
fn a_walk_in_takes_a_fitting_compartment_and_is_stored_when_its_door_is_closed() {
    let (mut rig, session) = staffed();
    let effects = begin(&mut rig, session, Size::M);
    let compartment = store(&mut rig, &effects);
    let began = began(&rig);
    let [began] = began.as_slice() else { panic!("{began:?}") };
    assert!(began.order.is_walk_in() && began.order.order.as_str().starts_with("A17-"), "{}", began.order);
    assert_eq!(opened(began, &pepper_key()).as_deref(), Some(PHONE));
    let own = rig.events().into_iter().filter(|fact| match fact {
        Fact::WalkIn(fact) => fact.order == began.order,
        Fact::Loading(fact) => fact.order == began.order,
        Fact::Stored(fact) => fact.order == began.order && fact.compartment == number(compartment),
        _ => false,
    });
    let own: Vec<_> = own.collect();
    assert!(matches!(own.as_slice(), [Fact::WalkIn(_), Fact::Loading(_), Fact::Stored(_)]), "{own:?}");
}

#[test]
fn the_number_is_nowhere_in_the_clear() {
    let (mut rig, session) = staffed();
    let input = Input::WalkIn { session, order: new(None, Size::S) };
    assert!(!format!("{input:?}").contains("1234"));
    let effects = rig.send(input);
    let shown = format!("{effects:?} {:?} {:?}", rig.core.view(), rig.core.waiting(session));
    assert!(!shown.contains("15112345678"), "{shown}");
    for part in [PHONE, "4915112345678", "15112345678"] {
        assert!(!rig.store.holds(part.as_bytes()), "{part} is on disk");
    }
}

#[test]
fn two_with_one_reference_are_two_orders() {
    let (mut rig, session) = staffed();
    for _ in 0..2 {
        let effects = begin(&mut rig, session, Size::S);
        store(&mut rig, &effects);
    }
    let began = began(&rig);
    assert_eq!(began.len(), 2);
    assert_ne!(began[0].order, began[1].order);
    let long = rig.send(Input::WalkIn { session, order: new(Some(&"R".repeat(64)), Size::S) });
    assert_eq!(refused(&long), None, "a long reference is shortened");
}

#[test]
fn what_cannot_be_begun_leaves_nothing_behind() {
    let (mut rig, session) = staffed();
    let before = rig.store.clone();
    let stranger = begin(&mut rig, SessionId(1), Size::M);
    let too_large = begin(&mut rig, session, Size::Xl);
    rig.send(Input::Disk { low: true });
    let full = begin(&mut rig, session, Size::M);
    let reasons = [stranger, too_large, full].map(|effects| refused(&effects).unwrap());
    assert_eq!(reasons, [StaffRefusal::NoSession, StaffRefusal::NoFittingCompartment, StaffRefusal::DiskFull]);
    assert!(rig.store == before, "something was written");
}

#[test]
fn more_than_a_book_takes_are_refused_and_giving_some_up_makes_room() {
    let (mut rig, session) = staffed();
    for _ in 0..WALK_INS_MAX {
        begin_and_take_out(&mut rig, session);
    }
    let waiting = rig.core.waiting(session);
    assert_eq!((waiting.len(), waiting.iter().all(|one| one.walk_in && !one.loading)), (WALK_INS_MAX, true));
    assert_eq!(refused(&begin(&mut rig, session, Size::S)), Some(StaffRefusal::TooMany));
    rig.send(Input::DropWalkIn { session, order: waiting[0].order.clone() });
    let staff = "ann".parse().unwrap();
    assert_eq!(rig.last(), WalkInDropped { order: waiting[0].order.clone(), staff, courier: None }.into());
    assert_eq!(refused(&begin(&mut rig, session, Size::S)), None);
}

#[test]
fn only_a_walk_in_outside_of_every_compartment_is_given_up() {
    let (mut rig, session) = staffed();
    rig.book(vec![put_order("A1", Size::S)]);
    let effects = begin(&mut rig, session, Size::S);
    store(&mut rig, &effects);
    let inside = began(&rig)[0].order.clone();
    for (order, reason) in [(order("A1"), StaffRefusal::UnknownOrder), (inside, StaffRefusal::AlreadyHere)] {
        assert_eq!(refused(&rig.send(Input::DropWalkIn { session, order })), Some(reason));
    }
    assert_eq!(rig.count(|fact| matches!(fact, Fact::WalkInDropped(_))), 0);
}

#[test]
fn a_cabinet_that_knows_no_key_to_seal_to_begins_none() {
    let mut rig = Rig::blank();
    let key = schemas::crypto::envelope::public_entry(&codes_key(), KeyPurpose::Codes);
    rig.send(Input::Keyset(signed_keyset(&Keyset::new("acme".parse().unwrap(), 1, 0, vec![key]))));
    rig.connect();
    rig.doors_closed();
    rig.book(vec![put_staff("ann", "111111")]);
    let session = rig.log_in("111111");
    assert_eq!(refused(&begin(&mut rig, session, Size::S)), Some(StaffRefusal::NeverOnline));
    assert_eq!(rig.core.waiting(session), []);
}

#[test]
fn an_order_that_the_fleet_does_not_know_yet_survives_a_whole_book_and_one_that_it_knows_follows_it() {
    let (mut rig, session) = staffed();
    begin_and_take_out(&mut rig, session);
    let whole = |rig: &mut Rig, changes: Vec<BookChange>| {
        rig.book += 1;
        rig.send_book(Book { version: rig.book, base: 0, issued: 0, changes });
    };
    whole(&mut rig, vec![put_staff("ann", "111111")]);
    let order = rig.core.waiting(session).remove(0).order;
    let BookChange::PutOrder(put) = put_order("x", Size::S) else { unreachable!() };
    whole(&mut rig, vec![put_staff("ann", "111111"), PutOrder { order, ..put }.into()]);
    assert_eq!(rig.core.waiting(session).len(), 1);
    whole(&mut rig, vec![put_staff("ann", "111111")]);
    assert_eq!(rig.core.waiting(session).len(), 0);
}

fn other_pepper_keyset(version: u64, key: &SecretKey) -> Vec<u8> {
    use schemas::crypto::envelope::{key_id, public_entry};
    let point = p256::elliptic_curve::sec1::ToSec1Point::to_sec1_point(&key.public_key(), false);
    let public = schemas::cbor::Blob(point.as_bytes().to_vec());
    let keys = vec![
        public_entry(&unlock_key(), KeyPurpose::Unlock),
        public_entry(&codes_key(), KeyPurpose::Codes),
        Key { id: key_id(point.as_bytes()), purpose: KeyPurpose::Pepper, public },
    ];
    signed_keyset(&Keyset::new("acme".parse().unwrap(), version, 0, keys))
}

#[test]
fn the_number_is_sealed_again_to_another_key_until_the_fleet_has_made_a_code() {
    let (mut rig, session) = staffed();
    let effects = begin(&mut rig, session, Size::S);
    store(&mut rig, &effects);
    rig.restart();
    rig.doors_closed();
    let key = SecretKey::from_slice(&[21; 32]).unwrap();
    rig.send(Input::Keyset(other_pepper_keyset(2, &key)));
    let told = began(&rig);
    let [first, again] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((&again.order, &again.staff), (&first.order, &first.staff));
    assert_eq!((opened(again, &pepper_key()), opened(again, &key).as_deref()), (None, Some(PHONE)));

    rig.connect();
    let BookChange::PutOrder(put) = put_order("x", Size::S) else { unreachable!() };
    let code = PutCredential { orders: vec![first.order.clone()], ..credential(1, "12345678", &["x"]) };
    rig.book(vec![PutOrder { order: first.order.clone(), ..put }.into(), code.into()]);
    let third = SecretKey::from_slice(&[22; 32]).unwrap();
    rig.send(Input::Keyset(other_pepper_keyset(3, &third)));
    assert_eq!(began(&rig).len(), 2, "the number is not kept for longer than it is needed");
}

/// The power goes at each step, before and after its commit.
#[test]
fn a_walk_in_cut_anywhere_is_begun_once_or_not_at_all() {
    for at in 0..4 {
        for committed in [false, true] {
            let (mut rig, session) = staffed();
            let mut steps = 0;
            let mut send = |rig: &mut Rig, input: Input| {
                steps += 1;
                if steps <= at {
                    return Some(rig.send(input));
                }
                let step = rig.step(input);
                if committed {
                    rig.commit(&step.writes);
                }
                None
            };
            let mut story = || {
                let effects = send(&mut rig, Input::WalkIn { session, order: new(Some("A17"), Size::S) })?;
                let Pulse { pulse, compartment, .. } = only_pulse(&effects);
                let compartment = number(compartment);
                send(&mut rig, Input::PulseResult { pulse, sent: true })?;
                send(&mut rig, Input::Door { compartment, door: DoorSeen::Open, occupancy: UNKNOWN })?;
                send(&mut rig, Input::Door { compartment, door: DoorSeen::Closed, occupancy: OCCUPIED })
            };
            assert!(story().is_none());
            let mut effects = rig.restart();
            for door in 1..=5 {
                let inside = if door < 3 && at >= 2 { OCCUPIED } else { EMPTY };
                effects.extend(rig.door(door, DoorSeen::Closed, inside));
            }
            effects.extend(rig.wait(20_000));
            assert!(pulses(&effects).is_empty(), "cut {at} {committed}: pulsed by itself");
            let exists = at > 0 || committed;
            let told = began(&rig);
            assert_eq!(told.len(), usize::from(exists), "cut {at} {committed}");
            let loading = |fact: &Fact| matches!(fact, Fact::Loading(fact) if fact.order.is_walk_in());
            assert_eq!(rig.count(loading), usize::from(exists), "cut {at} {committed}");
            assert!(!rig.store.holds(PHONE.as_bytes()));
            let session = rig.log_in("111111");
            let held = rig.core.view().compartments.iter().filter(|bay| bay.allocated).count();
            let waiting = rig.core.waiting(session).iter().filter(|one| one.walk_in && !one.loading).count();
            assert_eq!(held + waiting, usize::from(exists), "cut {at} {committed}: doubled or lost");
        }
    }
}
