//! Couriers with a PIN of their own: what their sessions put in, and that they do nothing else.

use cabinet_core::{
    COURIER_IDLE_MILLIS, COURIERS_MAX, DEPOSIT_ANSWER_MILLIS, DepositRefusal, DepositWish, DoorSeen, Effect,
    EntryRefusal, EntryResult, Input, NewParcel, ScreenNote, SessionId, StaffRefusal, UNKNOWN_LABELS_MAX, WALK_INS_MAX,
};
use schemas::ids::Name;
use schemas::messages::*;
use schemas::phone::Phone;
use schemas::step::Table;

use crate::deposits::{brought, put_deposit};
use crate::rig::*;

const PIN: &str = "55555555";
const ID: CredentialId = CredentialId([70; 8]);

pub(crate) fn put_courier(name: &str, id: u8, pin: &str) -> PutCourier {
    PutCourier {
        id: CredentialId([id; 8]),
        name: name.parse().unwrap(),
        verifier: verifier(pin),
        pepper: 1,
        until: None,
        badge: None,
    }
}

fn jo() -> Name {
    "jo".parse().unwrap()
}

/// Courier `jo`, staff `ann`, `A1` of this size for a courier, and `S1`, which staff load.
fn awaiting(size: Size) -> Rig {
    let mut rig = Rig::online();
    rig.book(vec![
        put_staff("ann", "111111"),
        put_courier("jo", 70, PIN).into(),
        brought("A1", size, DepositKind::Courier),
        put_order("S1", Size::S),
    ]);
    rig
}

fn came(effects: &[Effect]) -> (SessionId, Option<u16>) {
    match result(effects) {
        EntryResult::CourierSession { session, name, compartment } if name == jo() => {
            (session, compartment.map(Compartment::number))
        }
        other => panic!("no courier: {other:?}"),
    }
}

fn come(rig: &mut Rig) -> SessionId {
    let (session, compartment) = came(&rig.enter_courier(PIN));
    assert_eq!(compartment, None);
    session
}

fn bring(rig: &mut Rig, session: SessionId, label: &str) -> Vec<Effect> {
    rig.send(Input::Bring { session, label: label.parse().unwrap() })
}

fn parcel(size: Size) -> NewParcel {
    NewParcel { phone: Phone::parse("+49 151 1234-5678").unwrap(), reference: None, size }
}

fn bring_to(rig: &mut Rig, session: SessionId, size: Size) -> Vec<Effect> {
    rig.send(Input::BringTo { session, parcel: parcel(size) })
}

fn wish(rig: &mut Rig, session: SessionId, wish: DepositWish) -> Vec<Effect> {
    rig.send(Input::Deposit { session, wish })
}

fn refused(effects: &[Effect]) -> DepositRefusal {
    assert!(pulses(effects).is_empty());
    let refusals = effects.iter().filter_map(|effect| match effect {
        Effect::Screen(ScreenNote::DepositRefused { reason, .. }) => Some(*reason),
        _ => None,
    });
    let refusals: Vec<_> = refusals.collect();
    let [only] = refusals.as_slice() else { panic!("not refused: {effects:?}") };
    *only
}

fn ended(effects: &[Effect], session: SessionId) -> bool {
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::Screen(ScreenNote::SessionEnded { session: of }) if *of == session))
}

/// The door of what was begun is opened. Returns its compartment.
fn open(rig: &mut Rig, effects: &[Effect]) -> u16 {
    let pulse = only_pulse(effects);
    rig.sent(pulse);
    rig.open_door(pulse.compartment);
    pulse.compartment
}

fn deposited(id: &str, compartment: u16, seen: bool) -> Deposited {
    Deposited { order: order(id), compartment: number(compartment), credential: ID, seen, courier: Some(jo()) }
}

fn own(rig: &Rig) -> Vec<WalkIn> {
    let facts = rig.events().into_iter();
    facts.filter_map(|fact| if let Fact::WalkIn(began) = fact { Some(began) } else { None }).collect()
}

#[test]
fn a_courier_types_a_pin_names_an_order_and_the_sensor_stores_it_offline_too() {
    let mut rig = awaiting(Size::M);
    rig.send(Input::Disconnected);
    let session = come(&mut rig);
    assert_eq!(rig.last(), CourierCame { courier: jo() }.into());
    let effects = bring(&mut rig, session, "A1");
    let (at, courier) = (number(1), Some(jo()));
    assert!(effects.iter().any(
        |effect| matches!(effect, Effect::Screen(ScreenNote::Depositing { session: of, compartment }) if *of == session && *compartment == at)
    ));
    open(&mut rig, &effects);
    assert!(rig.has(Depositing { order: order("A1"), compartment: at, credential: ID, courier }));
    assert!(rig.has(DoorOpened { compartment: at, by: ActorCourier { name: jo() }.into() }));
    let effects = rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert!(effects.iter().any(
        |effect| matches!(effect, Effect::Screen(ScreenNote::DepositOver { session: of, stored: true, .. }) if *of == session)
    ));
    assert_eq!(rig.last(), deposited("A1", 1, true).into());
    assert_eq!(refused(&bring(&mut rig, session, "A1")), DepositRefusal::NotExpected, "it is inside");
}

#[test]
fn several_parcels_follow_one_another_and_never_two_at_a_time() {
    let mut rig = awaiting(Size::M);
    rig.book(vec![brought("A2", Size::M, DepositKind::Courier)]);
    let session = come(&mut rig);
    let effects = bring(&mut rig, session, "shop/A1");
    let first = open(&mut rig, &effects);
    assert_eq!(refused(&bring(&mut rig, session, "A2")), DepositRefusal::Unfinished);
    assert_eq!(refused(&bring_to(&mut rig, session, Size::S)), DepositRefusal::Unfinished);
    let (again, at) = came(&rig.enter_courier(PIN));
    assert_eq!(at, Some(first), "nor by another session");
    assert_eq!(refused(&bring(&mut rig, again, "A2")), DepositRefusal::Unfinished);
    rig.door(first, DoorSeen::Closed, OCCUPIED);
    let effects = bring(&mut rig, again, "A2");
    let second = open(&mut rig, &effects);
    rig.door(second, DoorSeen::Closed, OCCUPIED);
    assert!(first != second && rig.has(deposited("A1", first, true)) && rig.has(deposited("A2", second, true)));
}

#[test]
fn a_courier_session_does_nothing_that_staff_do() {
    let mut rig = awaiting(Size::M);
    rig.book(vec![brought("A2", Size::M, DepositKind::Courier)]);
    let staff = rig.log_in("111111");
    let pulse = rig.load(staff, "S1");
    rig.open_door(pulse.compartment);
    rig.door(pulse.compartment, DoorSeen::Closed, UNKNOWN);
    rig.send(Input::ConfirmLoaded { session: staff, compartment: number(pulse.compartment), inside: true });
    let session = come(&mut rig);
    let effects = bring(&mut rig, session, "A1");
    let at = open(&mut rig, &effects);
    assert!(rig.core.waiting(session).is_empty() && rig.core.unwanted(session).is_empty());
    let before = rig.store.clone();
    let (held, order_of) = (number(pulse.compartment), order("S1"));
    let inputs = [
        Input::Load { session, order: order("A2"), larger: false },
        Input::Load { session, order: order("A1"), larger: true },
        Input::WalkIn { session, order: crate::walk_in::new(None, Size::S) },
        Input::DropWalkIn { session, order: order_of.clone() },
        Input::Retrieve { session, order: order_of.clone() },
        Input::Release { session, order: order_of.clone() },
        Input::Undo { session, order: order_of.clone() },
        Input::Swap { session, one: held, other: number(at) },
        Input::ConfirmSwap { session, compartment: held, swapped: true },
        Input::Look { session, compartment: held },
        Input::OpenAll { session },
        Input::Cleaning { session, compartment: held, needed: true },
        Input::ConfirmLoaded { session, compartment: number(at), inside: true },
        Input::ConfirmLoaded { session, compartment: held, inside: false },
    ];
    for input in inputs {
        let effects = rig.send(input.clone());
        assert_eq!(crate::loading::refused(&effects), StaffRefusal::NoSession, "{input:?}");
        assert!(pulses(&effects).is_empty(), "{input:?}");
    }
    assert!(rig.store == before, "nothing was written");
    for stranger in [staff, SessionId(7)] {
        assert_eq!(
            refused(&bring(&mut rig, stranger, "A2")),
            DepositRefusal::NoSession,
            "nor is staff's one of a courier"
        );
        assert_eq!(refused(&bring_to(&mut rig, stranger, Size::S)), DepositRefusal::NoSession);
    }
}

#[test]
fn pins_are_known_only_where_their_kind_is_typed_and_count_in_one_lockout() {
    let mut rig = awaiting(Size::M);
    let wrong = EntryResult::Refused(EntryRefusal::Wrong);
    assert_eq!(result(&rig.enter(PIN)), wrong, "no customer's code");
    assert_eq!(result(&rig.enter_staff(PIN)), wrong);
    assert_eq!(result(&rig.enter_courier("111111")), wrong);
    assert_eq!(result(&rig.enter_courier("99999999")), wrong);
    assert!(matches!(result(&rig.enter_courier("99999998")), EntryResult::Locked { .. }));
    assert!(matches!(result(&rig.enter_courier(PIN)), EntryResult::Locked { .. }));
}

#[test]
fn a_badge_is_known_wherever_it_is_scanned_and_begins_a_session_of_its_kind() {
    let mut rig = awaiting(Size::M);
    let badge = |byte: u8| Some(verifier(token(byte).reveal()));
    let staff = PutStaff {
        name: "ann".parse().unwrap(),
        verifier: verifier("111111"),
        pepper: 1,
        until: None,
        badge: badge(8),
    };
    rig.book(vec![PutCourier { badge: badge(7), ..put_courier("jo", 70, PIN) }.into(), staff.into()]);
    for effects in [rig.scan(token(7)), rig.scan_staff(token(7)), rig.scan_courier(token(7))] {
        came(&effects);
    }
    for effects in [rig.scan(token(8)), rig.scan_staff(token(8)), rig.scan_courier(token(8))] {
        assert!(matches!(result(&effects), EntryResult::StaffSession { .. }));
    }
    assert_eq!(result(&rig.scan_courier(token(9))), EntryResult::Refused(EntryRefusal::Wrong));
}

#[test]
fn no_two_secrets_of_staff_and_couriers_are_the_same_and_no_two_couriers_have_one_id() {
    let badge = Some(verifier(token(7).reveal()));
    let staffed =
        PutStaff { name: "bob".parse().unwrap(), verifier: verifier("222222"), pepper: 1, until: None, badge };
    let bad: [Vec<BookChange>; 5] = [
        vec![put_courier("kim", 71, "111111").into()],
        vec![put_courier("kim", 71, PIN).into()],
        vec![put_courier("kim", 70, "66666666").into()],
        vec![staffed.into(), PutCourier { badge, ..put_courier("kim", 71, "66666666") }.into()],
        vec![put_staff("kim", PIN)],
    ];
    for changes in bad {
        let mut rig = awaiting(Size::M);
        rig.book(changes);
        let refused = BookRefused { version: Some(2), reason: RefusalReason::Malformed };
        assert_eq!(rig.last(), refused.into());
        come(&mut rig);
    }
    // One name may be of both: each is told by its own kind of fact.
    let mut rig = awaiting(Size::M);
    rig.book(vec![put_staff("jo", "222222")]);
    come(&mut rig);
    rig.log_in("222222");
    rig.book(vec![DropCourier { name: jo() }.into()]);
    rig.log_in("222222");
    assert_eq!(result(&rig.enter_courier(PIN)), EntryResult::Refused(EntryRefusal::Wrong));
}

#[test]
fn a_label_counts_only_as_a_whole_and_only_of_what_waits_for_a_courier() {
    let mut rig = awaiting(Size::M);
    let other: OrderKey = "other/B1".parse().unwrap();
    let BookChange::PutOrder(put) = brought("B1", Size::M, DepositKind::Courier) else { unreachable!() };
    rig.book(vec![
        put.clone().into(),
        PutOrder { order: other.clone(), ..put.clone() }.into(),
        brought("D1", Size::M, DepositKind::DropOff),
        PutOrder { order: order("T1"), take_back: Some(TakeBack::Recalled), ..put }.into(),
    ]);
    let unknown = ["A", "a1", "A12", "shop", "other/A1", "S1", "D1", "T1", "B1"];
    let session = come(&mut rig);
    for label in unknown {
        assert_eq!(refused(&bring(&mut rig, session, label)), DepositRefusal::NotExpected, "{label}");
    }
    let effects = bring(&mut rig, session, "other/B1");
    let at = open(&mut rig, &effects);
    rig.door(at, DoorSeen::Closed, OCCUPIED);
    assert!(rig.events().iter().any(|fact| matches!(fact, Fact::Deposited(put) if put.order == other)));
    // One more is a guess too many: each is one of a session.
    let effects = bring(&mut rig, session, "nope");
    assert_eq!(refused(&effects), DepositRefusal::NoSession);
    assert!(ended(&effects, session) && unknown.len() + 1 == UNKNOWN_LABELS_MAX as usize);
    for text in ["", "a b", "a/b/c", "ä", &"x".repeat(200)] {
        assert!(text.parse::<cabinet_core::ParcelLabel>().is_err(), "{text}");
    }
}

#[test]
fn what_staff_found_missing_is_loaded_by_staff() {
    let mut rig = awaiting(Size::M);
    let session = come(&mut rig);
    let effects = bring(&mut rig, session, "A1");
    let at = open(&mut rig, &effects);
    rig.door(at, DoorSeen::Closed, OCCUPIED);
    let staff = rig.log_in("111111");
    let effects = rig.send(Input::Look { session: staff, compartment: number(at) });
    open(&mut rig, &effects);
    rig.close_door(at);
    rig.send(Input::ConfirmLoaded { session: staff, compartment: number(at), inside: false });
    assert!(rig.events().iter().any(|fact| matches!(fact, Fact::Audited(word) if word.found == Finding::Missing)));
    assert_eq!(refused(&bring(&mut rig, session, "A1")), DepositRefusal::NotExpected);
    assert_eq!(rig.core.waiting(staff).len(), 2);
}

#[test]
fn a_parcel_for_a_phone_number_is_sealed_and_says_who_brought_it() {
    let mut rig = awaiting(Size::M);
    rig.send(Input::Disconnected);
    let session = come(&mut rig);
    let effects = bring_to(&mut rig, session, Size::L);
    let at = open(&mut rig, &effects);
    assert_eq!(at, 5, "the size that was chosen");
    rig.door(at, DoorSeen::Closed, UNKNOWN);
    wish(&mut rig, session, DepositWish::Inside);
    let began = own(&rig);
    let [began] = began.as_slice() else { panic!("{began:?}") };
    assert!(began.order.is_walk_in());
    assert_eq!((began.staff.as_str(), &began.courier), (BY_COURIER_NAME, &Some(jo())));
    assert_eq!((began.size, began.category), (Size::L, Category::Courier));
    let aad =
        schemas::crypto::seal::phone_aad(&"acme".parse().unwrap(), &"c1".parse().unwrap(), INSTANCE, &began.order);
    let phone = schemas::crypto::seal::open(&began.phone.0, &pepper_key(), &aad).unwrap();
    assert_eq!(phone.as_slice(), b"+4915112345678");
    assert!(!rig.store.holds(b"15112345678"), "nowhere in the clear");
    let by = (number(5), ID);
    let stored =
        Deposited { order: began.order.clone(), compartment: by.0, credential: by.1, seen: false, courier: Some(jo()) };
    assert_eq!(rig.last(), stored.into());
    // Its recipient comes with the code that the fleet makes.
    let put = PutOrder {
        order: began.order.clone(),
        size: Size::L,
        category: Category::Courier,
        wants: Attributes::default(),
        reserved: None,
        take_back: None,
        deposit: None,
        part: None,
        shares: None,
    };
    let code = PutCredential { orders: vec![began.order.clone()], ..credential(3, "30000000", &[]) };
    rig.connect();
    rig.book(vec![put.into(), code.into()]);
    rig.pick_up("30000000");
    assert!(rig.events().iter().any(|fact| matches!(fact, Fact::Collected(taken) if taken.order == began.order)));
}

#[test]
fn a_new_key_seals_the_number_again_with_the_courier() {
    let mut rig = awaiting(Size::M);
    let session = come(&mut rig);
    let effects = bring_to(&mut rig, session, Size::M);
    let at = open(&mut rig, &effects);
    rig.door(at, DoorSeen::Closed, OCCUPIED);
    let other = p256::SecretKey::from_slice(&[33; 32]).unwrap();
    let point = p256::elliptic_curve::sec1::ToSec1Point::to_sec1_point(&other.public_key(), false).as_bytes().to_vec();
    let id = schemas::crypto::envelope::key_id(&point);
    let pepper = Key { id, purpose: KeyPurpose::Pepper, public: schemas::cbor::Blob(point) };
    let codes = schemas::crypto::envelope::public_entry(&codes_key(), KeyPurpose::Codes);
    let next = Keyset::new("acme".parse().unwrap(), 2, 0, vec![codes, pepper]);
    rig.send(Input::Keyset(signed_keyset(&next)));
    let told = own(&rig);
    let [first, second] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((&second.order, &second.courier, &second.staff), (&first.order, &Some(jo()), &first.staff));
    assert_ne!(first.phone, second.phone);
}

#[test]
fn too_small_opens_a_larger_one_while_the_door_stands_open_and_keeps_the_order() {
    let mut rig = awaiting(Size::M);
    let session = come(&mut rig);
    let effects = bring_to(&mut rig, session, Size::S);
    assert_eq!(open(&mut rig, &effects), 3);
    let effects = wish(&mut rig, session, DepositWish::TooSmall);
    let larger = only_pulse(&effects);
    assert_eq!(larger.compartment, 1);
    rig.sent(larger);
    rig.close_door(3);
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    let began = own(&rig);
    assert_eq!(began.len(), 1);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::WalkInDropped(_))), 0, "it went elsewhere");
    assert!(rig.events().iter().any(|fact| matches!(fact, Fact::Deposited(put) if put.order == began[0].order)));
}

#[test]
fn a_stranger_is_not_believed_that_a_closed_door_without_a_sensor_hides_nothing() {
    let mut rig = awaiting(Size::S);
    let session = come(&mut rig);
    let effects = bring(&mut rig, session, "A1");
    assert_eq!(open(&mut rig, &effects), 3);
    assert_eq!(refused(&wish(&mut rig, session, DepositWish::Inside)), DepositRefusal::DoorOpen);
    rig.door(3, DoorSeen::Closed, UNKNOWN);
    assert_eq!(refused(&wish(&mut rig, session, DepositWish::TooSmall)), DepositRefusal::DoorClosed);
    let effects = wish(&mut rig, session, DepositWish::Again);
    assert_eq!(open(&mut rig, &effects), 3, "the same door");
    rig.close_door(3);
    wish(&mut rig, session, DepositWish::GiveUp);
    assert!(rig.has(LoadAborted { order: order("A1"), compartment: number(3) }));
    assert!(rig.view(3).audit_required, "staff have to look");
    let effects = bring(&mut rig, session, "A1");
    assert_eq!(open(&mut rig, &effects), 1, "it may be brought again");
}

#[test]
fn what_a_courier_takes_back_is_no_order_any_more() {
    // By their word, by a sensor that sees nothing, and behind a door that never opened.
    for way in 0..3 {
        let mut rig = awaiting(Size::M);
        let session = come(&mut rig);
        let effects = bring_to(&mut rig, session, Size::M);
        if way < 2 {
            assert_eq!(open(&mut rig, &effects), 1);
            rig.close_door(1);
        } else {
            rig.sent(only_pulse(&effects));
            rig.wait(3_000);
        }
        if way == 0 {
            wish(&mut rig, session, DepositWish::GiveUp);
        } else {
            rig.wait(DEPOSIT_ANSWER_MILLIS + 61_000);
        }
        let began = own(&rig);
        let dropped = WalkInDropped {
            order: began[0].order.clone(),
            staff: BY_COURIER_NAME.parse().unwrap(),
            courier: Some(jo()),
        };
        assert!(rig.has(dropped), "way {way}: {:?}", rig.events());
        let staff = rig.log_in("111111");
        assert!(rig.core.waiting(staff).iter().all(|waiting| !waiting.walk_in), "way {way}");
        assert!(!rig.view(1).allocated && rig.store.len(Table("uses")) == 0);
    }
}

#[test]
fn an_order_of_a_backend_waits_on_when_its_courier_takes_it_back() {
    let mut rig = awaiting(Size::M);
    let session = come(&mut rig);
    let effects = bring(&mut rig, session, "A1");
    open(&mut rig, &effects);
    rig.close_door(1);
    wish(&mut rig, session, DepositWish::GiveUp);
    assert_eq!(rig.last(), LoadAborted { order: order("A1"), compartment: number(1) }.into());
    let staff = rig.log_in("111111");
    assert_eq!(rig.core.waiting(staff).len(), 2);
}

#[test]
fn who_walks_away_from_a_closed_door_without_a_sensor_leaves_a_question_for_staff_and_the_number_with_it() {
    let mut rig = awaiting(Size::M);
    let session = come(&mut rig);
    let effects = bring_to(&mut rig, session, Size::S);
    assert_eq!(open(&mut rig, &effects), 3);
    rig.door(3, DoorSeen::Closed, UNKNOWN);
    rig.wait(DEPOSIT_ANSWER_MILLIS);
    assert!(rig.view(3).audit_required && rig.view(3).asks);
    let staff = rig.log_in("111111");
    rig.send(Input::ConfirmLoaded { session: staff, compartment: number(3), inside: true });
    let began = own(&rig);
    assert!(rig.events().iter().any(|fact| matches!(fact, Fact::Stored(put) if put.order == began[0].order)));
    assert_eq!(rig.count(|fact| matches!(fact, Fact::WalkInDropped(_))), 0);
    // Staff take it out again for another compartment, whose door sticks: they hold it, and its number is not lost.
    let effects = rig.send(Input::Undo { session: staff, order: began[0].order.clone() });
    open(&mut rig, &effects);
    rig.close_door(3);
    let load = Input::Load { session: staff, order: began[0].order.clone(), larger: false };
    let first = only_pulse(&rig.send(load));
    let second = only_pulse(&rig.not_sent(first));
    rig.not_sent(second);
    rig.wait(120_000);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::WalkInDropped(_))), 0);
    let session = rig.log_in("111111");
    let order = began[0].order.clone();
    assert_eq!(pulses(&rig.send(Input::Load { session, order, larger: false })).len(), 1);
}

/// A wrong button behind a closed door, and nobody can see inside.
#[test]
fn what_may_be_inside_after_all_keeps_its_number() {
    let mut rig = awaiting(Size::M);
    let session = come(&mut rig);
    let effects = bring_to(&mut rig, session, Size::S);
    assert_eq!(open(&mut rig, &effects), 3);
    rig.door(3, DoorSeen::Closed, UNKNOWN);
    wish(&mut rig, session, DepositWish::GiveUp);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::WalkInDropped(_))), 0);
    assert!(rig.view(3).audit_required);
    let staff = rig.log_in("111111");
    assert!(
        rig.core.waiting(staff).iter().any(|waiting| waiting.walk_in),
        "staff find it, and give it up if it is not there"
    );
}

/// Sessions cost whoever has the badge nothing.
#[test]
fn guesses_are_counted_over_the_sessions_of_a_courier_and_so_are_parcels_that_were_turned_away() {
    let mut rig = awaiting(Size::M);
    for at in 0..UNKNOWN_LABELS_MAX {
        let session = come(&mut rig);
        let reason = refused(&bring(&mut rig, session, &format!("N{at}")));
        let last = at + 1 == UNKNOWN_LABELS_MAX;
        assert_eq!(reason, if last { DepositRefusal::NoSession } else { DepositRefusal::NotExpected });
    }
    let session = come(&mut rig);
    assert_eq!(refused(&bring(&mut rig, session, "A1")), DepositRefusal::NoSession, "a right label tells nothing now");
    rig.wait(cabinet_core::TRIES_MILLIS);
    let session = come(&mut rig);
    assert_eq!(pulses(&bring(&mut rig, session, "A1")).len(), 1);

    let mut rig = awaiting(Size::L);
    rig.book(vec![brought("A2", Size::L, DepositKind::Courier)]);
    let session = come(&mut rig);
    let effects = bring(&mut rig, session, "A1");
    let at = open(&mut rig, &effects);
    rig.door(at, DoorSeen::Closed, UNKNOWN);
    wish(&mut rig, session, DepositWish::Inside);
    for _ in 0..3 {
        let session = come(&mut rig);
        assert_eq!(refused(&bring(&mut rig, session, "A2")), DepositRefusal::NoRoom);
    }
    assert_eq!(rig.count(|fact| matches!(fact, Fact::CourierTurnedAway(_))), 1);
}

#[test]
fn a_code_or_a_badge_is_no_label() {
    let token = token(7).reveal().to_owned();
    for text in [token.clone(), token.to_lowercase(), "1234567890123456789012345".into()] {
        assert!(text.parse::<cabinet_core::ParcelLabel>().is_err(), "{text}");
        assert!(cabinet_core::is_scanned_code(&text));
    }
    for text in ["A17", "00340434161094021501", "QUITE-A-LABEL", "12345678"] {
        assert!(text.parse::<cabinet_core::ParcelLabel>().is_ok(), "{text}");
    }
}

#[test]
fn nothing_free_is_said_and_told_once_for_each_order() {
    let mut rig = awaiting(Size::L);
    rig.book(vec![brought("A2", Size::L, DepositKind::Courier), brought("A3", Size::L, DepositKind::Courier)]);
    let session = come(&mut rig);
    let effects = bring(&mut rig, session, "A1");
    let at = open(&mut rig, &effects);
    rig.door(at, DoorSeen::Closed, UNKNOWN);
    wish(&mut rig, session, DepositWish::Inside);
    for label in ["A2", "A2", "A3"] {
        assert_eq!(refused(&bring(&mut rig, session, label)), DepositRefusal::NoRoom);
    }
    for _ in 0..2 {
        assert_eq!(refused(&bring_to(&mut rig, session, Size::L)), DepositRefusal::NoRoom);
    }
    let told: Vec<_> = rig.events().into_iter().filter(|fact| matches!(fact, Fact::CourierTurnedAway(_))).collect();
    let away = |id: Option<&str>| CourierTurnedAway { courier: jo(), order: id.map(order), size: Size::L }.into();
    assert_eq!(told, [away(Some("A2")), away(Some("A3")), away(None)]);
    assert!(own(&rig).is_empty(), "nothing was begun");
    let effects = bring_to(&mut rig, session, Size::S);
    assert_eq!(only_pulse(&effects).compartment, 3, "a smaller one is");
}

#[test]
fn a_full_disk_takes_nothing_new_and_ends_what_is_half_in() {
    let mut rig = awaiting(Size::M);
    let session = come(&mut rig);
    let effects = bring(&mut rig, session, "A1");
    open(&mut rig, &effects);
    rig.send(Input::Disk { low: true });
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert_eq!(rig.last(), deposited("A1", 1, true).into());
    rig.book(vec![brought("A2", Size::M, DepositKind::Courier)]);
    assert_eq!(refused(&bring(&mut rig, session, "A2")), DepositRefusal::DiskFull);
    assert_eq!(refused(&bring_to(&mut rig, session, Size::M)), DepositRefusal::DiskFull);
}

#[test]
fn more_parcels_are_begun_than_a_book_holds_in_no_way() {
    let mut rig = awaiting(Size::M);
    let session = come(&mut rig);
    for _ in 0..WALK_INS_MAX {
        let effects = bring_to(&mut rig, session, Size::M);
        let at = open(&mut rig, &effects);
        rig.door(at, DoorSeen::Closed, OCCUPIED);
        let staff = rig.log_in("111111");
        // Found missing: the order is the cabinet's still, and the compartment is free.
        let effects = rig.send(Input::Look { session: staff, compartment: number(at) });
        open(&mut rig, &effects);
        rig.close_door(at);
        rig.send(Input::ConfirmLoaded { session: staff, compartment: number(at), inside: false });
    }
    assert_eq!(refused(&bring_to(&mut rig, session, Size::M)), DepositRefusal::TooMany);
}

#[test]
fn a_cabinet_without_a_key_to_seal_to_takes_no_number() {
    let mut rig = Rig::blank();
    let keys = [codes_key(), unlock_key()];
    let purposes = [KeyPurpose::Codes, KeyPurpose::Unlock];
    let public = keys.iter().zip(purposes).map(|(key, purpose)| schemas::crypto::envelope::public_entry(key, purpose));
    let keyset = Keyset::new("acme".parse().unwrap(), 1, 0, public.collect());
    rig.send(Input::Keyset(signed_keyset(&keyset)));
    rig.connect();
    rig.doors_closed();
    rig.book(vec![put_courier("jo", 70, PIN).into()]);
    let session = come(&mut rig);
    assert_eq!(refused(&bring_to(&mut rig, session, Size::M)), DepositRefusal::NeverOnline);
    assert!(own(&rig).is_empty() && !rig.view(1).allocated);
}

#[test]
fn a_session_ends_after_a_minute_and_not_while_something_is_on_its_way_in() {
    let mut rig = awaiting(Size::M);
    let session = come(&mut rig);
    let effects = rig.wait(COURIER_IDLE_MILLIS);
    assert!(ended(&effects, session));
    assert_eq!(refused(&bring(&mut rig, session, "A1")), DepositRefusal::NoSession);
    let session = come(&mut rig);
    let effects = bring(&mut rig, session, "A1");
    open(&mut rig, &effects);
    let effects = rig.wait(COURIER_IDLE_MILLIS + 1_000);
    assert!(!ended(&effects, session), "both hands full");
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert!(ended(&rig.wait(2 * COURIER_IDLE_MILLIS), session));
    // A door that is left open keeps no session for whoever comes by.
    rig.book(vec![brought("A2", Size::M, DepositKind::Courier)]);
    let session = come(&mut rig);
    let effects = bring(&mut rig, session, "A2");
    open(&mut rig, &effects);
    assert!(ended(&rig.wait(600_000), session));
}

#[test]
fn logging_out_ends_the_session_and_its_questions() {
    let mut rig = awaiting(Size::M);
    let session = come(&mut rig);
    let effects = bring(&mut rig, session, "A1");
    open(&mut rig, &effects);
    assert!(ended(&rig.send(Input::StaffLogout { session }), session));
    assert_eq!(refused(&wish(&mut rig, session, DepositWish::TooSmall)), DepositRefusal::NoSession);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert!(rig.has(deposited("A1", 1, true)), "the door counts all the same");
}

#[test]
fn who_is_removed_opens_nothing_more_and_can_say_what_is_behind_the_open_door() {
    for expires in [false, true] {
        let mut rig = awaiting(Size::S);
        if expires {
            rig.set_time(1_000_000);
            rig.book(vec![PutCourier { until: Some(1_020_000), ..put_courier("jo", 70, PIN) }.into()]);
        }
        let session = come(&mut rig);
        let effects = bring(&mut rig, session, "A1");
        assert_eq!(open(&mut rig, &effects), 3);
        let effects = if expires { rig.wait(60_000) } else { rig.book(vec![DropCourier { name: jo() }.into()]) };
        assert!(ended(&effects, session), "expires {expires}");
        for wanted in [DepositWish::TooSmall, DepositWish::NotEmpty, DepositWish::Again] {
            assert_eq!(refused(&wish(&mut rig, session, wanted)), DepositRefusal::NoSession);
        }
        assert_eq!(refused(&bring_to(&mut rig, session, Size::S)), DepositRefusal::NoSession);
        let refusal = if expires { EntryRefusal::Expired } else { EntryRefusal::Wrong };
        assert_eq!(result(&rig.enter_courier(PIN)), EntryResult::Refused(refusal));
        rig.door(3, DoorSeen::Closed, UNKNOWN);
        wish(&mut rig, session, DepositWish::Inside);
        assert_eq!(rig.last(), deposited("A1", 3, false).into(), "expires {expires}");
    }
}

#[test]
fn a_door_that_does_not_open_is_tried_again_and_not_for_somebody_who_was_removed() {
    for removed in [false, true] {
        let mut rig = awaiting(Size::M);
        let session = come(&mut rig);
        let effects = bring(&mut rig, session, "A1");
        rig.sent(only_pulse(&effects));
        rig.wait(3_000);
        assert!(rig.view(1).try_again);
        if removed {
            rig.book(vec![DropCourier { name: jo() }.into()]);
        }
        let effects = rig.send(Input::TryAgain { compartment: number(1) });
        assert_eq!(pulses(&effects).len(), usize::from(!removed));
        if removed {
            assert!(!rig.view(1).allocated, "free again");
        }
    }
}

#[test]
fn a_door_that_never_opens_is_given_up_and_another_one_is_taken() {
    let mut rig = awaiting(Size::S);
    let session = come(&mut rig);
    let effects = bring(&mut rig, session, "A1");
    rig.sent(only_pulse(&effects));
    for _ in 0..2 {
        rig.wait(3_000);
        let pulse = only_pulse(&rig.send(Input::TryAgain { compartment: number(3) }));
        rig.sent(pulse);
    }
    rig.wait(3_000);
    assert_eq!(rig.last(), LoadAborted { order: order("A1"), compartment: number(3) }.into());
    assert!(rig.has(DoorFault { compartment: number(3), by: ActorCourier { name: jo() }.into(), attempts: 3 }));
    assert_eq!(only_pulse(&bring(&mut rig, session, "A1")).compartment, 1, "3 is out of order");
}

#[test]
fn a_deposit_code_and_a_courier_do_not_meet_at_one_door() {
    let mut rig = awaiting(Size::M);
    rig.book(vec![put_deposit(1, "20000000", "A1").into(), put_courier("kim", 71, "66666666").into()]);
    let session = come(&mut rig);
    let effects = bring(&mut rig, session, "A1");
    open(&mut rig, &effects);
    assert_eq!(result(&rig.enter("20000000")), EntryResult::Refused(EntryRefusal::Busy));
    let kim = match result(&rig.enter_courier("66666666")) {
        EntryResult::CourierSession { session, compartment: None, .. } => session,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&bring(&mut rig, kim, "A1")), DepositRefusal::NotExpected);
    assert_eq!(refused(&wish(&mut rig, kim, DepositWish::TooSmall)), DepositRefusal::NoSession);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert_eq!(result(&rig.enter("20000000")), EntryResult::Refused(EntryRefusal::Used), "it is inside");
    // And the other way round.
    let mut rig = awaiting(Size::M);
    rig.book(vec![put_deposit(1, "20000000", "A1").into()]);
    let effects = rig.enter("20000000");
    open(&mut rig, &effects);
    let session = come(&mut rig);
    assert_eq!(refused(&bring(&mut rig, session, "A1")), DepositRefusal::NotExpected);
}

#[test]
fn typed_again_the_pin_goes_on_at_the_same_door() {
    let mut rig = awaiting(Size::S);
    let first = come(&mut rig);
    let effects = bring(&mut rig, first, "A1");
    assert_eq!(open(&mut rig, &effects), 3);
    rig.door(3, DoorSeen::Closed, UNKNOWN);
    let effects = rig.enter_courier(PIN);
    let (second, at) = came(&effects);
    assert!(at == Some(3) && ended(&effects, first) && pulses(&effects).is_empty());
    assert_eq!(refused(&wish(&mut rig, first, DepositWish::Inside)), DepositRefusal::NoSession);
    wish(&mut rig, second, DepositWish::Inside);
    assert_eq!(rig.last(), deposited("A1", 3, false).into());
}

#[test]
fn a_whole_book_forgets_couriers_that_it_does_not_name_and_keeps_what_they_began() {
    let mut rig = awaiting(Size::M);
    let session = come(&mut rig);
    let effects = bring_to(&mut rig, session, Size::M);
    open(&mut rig, &effects);
    rig.book += 1;
    let changes = vec![Rules { code_digits: 8, break_glass: None, code_letters: None }.into()];
    let effects = rig.send_book(Book { version: rig.book, base: 0, issued: 0, changes });
    assert!(ended(&effects, session));
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    let began = own(&rig);
    assert!(rig.events().iter().any(|fact| matches!(fact, Fact::Deposited(put) if put.order == began[0].order)));
    assert_eq!(result(&rig.enter_courier(PIN)), EntryResult::Refused(EntryRefusal::Wrong));
}

/// Each step on the way in, with its rows on the disk or not.
#[test]
fn a_power_cut_at_any_step_pulses_nothing_again_and_stores_nothing_twice() {
    for (cut, phone) in (0..8).flat_map(|cut| [(cut, false), (cut, true)]) {
        let mut rig = awaiting(Size::M);
        let session = come(&mut rig);
        let begin = if phone {
            Input::BringTo { session, parcel: parcel(Size::M) }
        } else {
            Input::Bring { session, label: "A1".parse().unwrap() }
        };
        let steps = [
            begin,
            Input::PulseResult { pulse: 1, sent: true },
            Input::Door { compartment: number(1), door: DoorSeen::Open, occupancy: UNKNOWN },
            Input::Door { compartment: number(1), door: DoorSeen::Closed, occupancy: OCCUPIED },
        ];
        for input in &steps[..cut / 2] {
            rig.send(input.clone());
        }
        let step = rig.step(steps[cut / 2].clone());
        if cut % 2 == 1 {
            rig.commit(&step.writes);
        }
        let effects = rig.restart();
        assert!(pulses(&effects).is_empty(), "cut {cut}");
        rig.connect();
        let moved = cut >= 3;
        let effects = rig.door(1, DoorSeen::Closed, if moved { OCCUPIED } else { EMPTY });
        assert!(pulses(&effects).is_empty(), "cut {cut}");
        assert!(pulses(&rig.wait(DEPOSIT_ANSWER_MILLIS * 2)).is_empty(), "cut {cut}");
        let stored = rig.count(|fact| matches!(fact, Fact::Deposited(_)));
        assert_eq!(stored, usize::from(moved), "cut {cut}: {:?}", rig.events());
        assert_eq!(rig.store.len(Table("uses")), 0, "cut {cut}");
        let began = usize::from(phone && cut >= 1);
        assert_eq!(own(&rig).len(), began, "cut {cut}");
        let dropped = rig.count(|fact| matches!(fact, Fact::WalkInDropped(_)));
        assert_eq!(dropped, if moved { 0 } else { began }, "cut {cut}: a courier who is gone has it with them");
        let session = come(&mut rig);
        let again = bring(&mut rig, session, "A1");
        if moved && !phone {
            assert_eq!(refused(&again), DepositRefusal::NotExpected, "cut {cut}");
        } else {
            assert_eq!(pulses(&again).len(), 1, "cut {cut}");
        }
    }
}

#[test]
fn nothing_secret_of_a_courier_is_on_disk_or_in_a_text() {
    let mut rig = awaiting(Size::M);
    let input = Input::BringTo { session: SessionId(5), parcel: parcel(Size::S) };
    let entered = Input::CourierEntered { entry: 1, secret: schemas::crypto::codes::Secret::parse(PIN).unwrap() };
    let shown = format!("{input:?} {entered:?}");
    assert!(!shown.contains("1234") && !shown.contains(PIN), "{shown}");
    let effects = rig.enter_courier(PIN);
    assert!(!format!("{effects:?}").contains(PIN));
    assert!(!rig.store.holds(&verifier(PIN).0), "the verifier is under the device key");
}

#[test]
fn what_a_sensor_sees_behind_a_door_that_nobody_saw_open_keeps_its_number() {
    let mut rig = awaiting(Size::M);
    let session = come(&mut rig);
    let effects = bring_to(&mut rig, session, Size::M);
    rig.sent(only_pulse(&effects));
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    rig.wait(120_000);
    assert!(rig.view(1).audit_required && !rig.view(1).allocated);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::WalkInDropped(_))), 0);
    let staff = rig.log_in("111111");
    assert!(rig.core.waiting(staff).iter().any(|waiting| waiting.walk_in), "staff find it and have its order");
}

#[test]
fn an_order_that_is_over_is_nobodys_to_bring() {
    let mut rig = awaiting(Size::M);
    let session = come(&mut rig);
    let effects = bring(&mut rig, session, "A1");
    let at = open(&mut rig, &effects);
    rig.door(at, DoorSeen::Closed, OCCUPIED);
    rig.book(vec![credential(2, "30000000", &["A1"]).into()]);
    rig.pick_up("30000000");
    assert!(!rig.view(at).allocated);
    assert_eq!(refused(&bring(&mut rig, session, "A1")), DepositRefusal::NotExpected);
}

#[test]
fn what_staff_look_after_is_not_the_couriers_any_more() {
    let mut rig = awaiting(Size::S);
    let session = come(&mut rig);
    let effects = bring(&mut rig, session, "A1");
    assert_eq!(open(&mut rig, &effects), 3);
    rig.door(3, DoorSeen::Closed, UNKNOWN);
    rig.wait(DEPOSIT_ANSWER_MILLIS);
    let session = come(&mut rig);
    assert_eq!(refused(&wish(&mut rig, session, DepositWish::Inside)), DepositRefusal::NoSession);
    assert_eq!(pulses(&bring_to(&mut rig, session, Size::S)).len(), 1, "the next one may be brought");
}

#[test]
fn a_book_has_so_many_couriers_and_none_of_another_pepper() {
    let mut rig = Rig::online();
    let couriers = |count: u16| {
        let put = |n: u16| {
            let id = CredentialId(u64::from(n).to_be_bytes());
            BookChange::from(PutCourier { id, ..put_courier(&format!("c{n}"), 0, &format!("{n:08}")) })
        };
        (0..count).map(put).collect::<Vec<_>>()
    };
    rig.book(couriers(COURIERS_MAX as u16 + 1));
    assert_eq!(rig.last(), BookRefused { version: Some(1), reason: RefusalReason::Malformed }.into());
    rig.book = 0;
    rig.wait(1_000);
    rig.book(vec![PutCourier { pepper: 2, ..put_courier("jo", 70, PIN) }.into()]);
    assert_eq!(rig.last(), BookRefused { version: Some(1), reason: RefusalReason::WrongBase }.into());
    rig.book = 0;
    rig.book(couriers(COURIERS_MAX as u16));
    assert_eq!(rig.last(), BookApplied { version: 1 }.into());
}

#[test]
fn of_many_couriers_at_one_screen_whoever_was_there_first_is_sent_away() {
    let mut rig = Rig::online();
    let put = |n: u8| put_courier(&format!("c{n}"), n, &format!("5555555{n}")).into();
    rig.book((0..9).map(put).collect());
    let mut sessions = Vec::new();
    for n in 0..9 {
        rig.wait(1_000);
        match result(&rig.enter_courier(&format!("5555555{n}"))) {
            EntryResult::CourierSession { session, .. } => sessions.push(session),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused(&bring(&mut rig, sessions[0], "A1")), DepositRefusal::NoSession);
    for session in &sessions[1..] {
        assert_eq!(refused(&bring(&mut rig, *session, "A1")), DepositRefusal::NotExpected);
    }
}

#[test]
fn hello_says_that_couriers_may_be_in_the_book() {
    let mut rig = Rig::online();
    rig.send(Input::Disconnected);
    assert_eq!(rig.connect().couriers, Some(true));
}
