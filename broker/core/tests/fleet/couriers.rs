//! Couriers with a PIN of their own: who makes and ends it, at which cabinets, and what an order says of who brought it.

use fleet_core::{Effect, SecretOf};
use schemas::api::{CourierDetail, OrderState, Reply, Request, RequestErrorCode, Rfc3339, Scope, UnlockRight};
use schemas::cbor::{self, Blob};
use schemas::cbor_map;
use schemas::ids::Name;
use schemas::messages::{
    ActorCourier, Attributes, BY_COURIER_NAME, BookChange, Category, Collected, CompartmentInfo, CourierCame,
    CourierTurnedAway, CredentialId, Deposited, Depositing, DoorOpened, Instance, LoadAborted, OrderKey, PepperOffer,
    PutCourier, Size, Stored, StoredBy, WalkIn, WalkInDropped, WrongDoor,
};

use schemas::step::{Store as _, Table, Write};

use crate::interrupted::{everywhere, insist};
use crate::restore::restore;
use crate::world::{FakeCabinet, START, World, c1, door, order};

const EVE: &str = "operator:acme:eve";
const PUT: &str = r#"{"order":"A1","cabinet":"c1","size":"M","category":"retail","deposit":"courier","recipient":{"phone":"+49 30 1"}}"#;

fn jo() -> Name {
    "jo".parse().unwrap()
}

fn ask(world: &mut World, json: &str) -> Option<Reply> {
    world.ask_raw(EVE, json.as_bytes())
}

fn add(world: &mut World) {
    assert_eq!(ask(world, r#"{"op":"courier.add","name":"jo"}"#), None);
}

fn add_at(world: &mut World, scope: &str) {
    assert_eq!(ask(world, &format!(r#"{{"op":"courier.add","name":"jo","scope":{scope}}}"#)), None);
}

fn remove(world: &mut World) -> Vec<CourierDetail> {
    match world.ask(EVE, &Request::CourierRemove { name: jo() }) {
        Some(Reply::Couriers(left)) => left,
        other => panic!("{other:?}"),
    }
}

fn list(world: &mut World) -> Vec<CourierDetail> {
    match world.ask("auditor:acme:amy", &Request::CourierList {}) {
        Some(Reply::Couriers(all)) => all,
        other => panic!("{other:?}"),
    }
}

fn code(reply: Option<Reply>) -> RequestErrorCode {
    let Some(Reply::Error(error)) = reply else { panic!("{reply:?} is no error") };
    error.code
}

/// What a cabinet that took all its books would hold of the courier.
fn held(world: &World, id: &str) -> Option<PutCourier> {
    let mut held = None;
    for book in &world.cabinets[&id.parse().unwrap()].books {
        if book.base == 0 {
            held = None;
        }
        for change in &book.changes {
            match change {
                BookChange::PutCourier(put) if put.name == jo() => held = Some(put.clone()),
                BookChange::DropCourier(drop) if drop.name == jo() => held = None,
                _ => {}
            }
        }
    }
    held
}

fn is_staff_anywhere(world: &World) -> bool {
    let books = world.cabinets.values().flat_map(|cabinet| &cabinet.books);
    books.flat_map(|book| &book.changes).any(|change| matches!(change, BookChange::PutStaff(_)))
}

fn two_sites() -> World {
    let mut world = World::new(&[Size::M, Size::M]);
    let add = Request::CabinetAdd {
        cabinet: "c2".parse().unwrap(),
        site: "port".parse().unwrap(),
        place: "Quay 2".into(),
        instance: Instance([7; 16]),
        enrolment: None,
    };
    assert_eq!(world.ask(EVE, &add), Some(Reply::Done));
    world.cabinets.insert("c2".parse().unwrap(), FakeCabinet::new("c2", &[Size::M]));
    world.connect(&"c2".parse().unwrap());
    world
}

#[test]
fn a_pin_is_shown_once_and_reaches_the_cabinets_as_a_courier_and_never_as_staff() {
    let mut world = two_sites();
    add(&mut world);
    let shown = |effect: &&Effect| matches!(effect, Effect::ReplySecret { of: SecretOf::CourierPin(name), .. } if *name == jo());
    assert_eq!(world.seen.iter().filter(shown).count(), 1);
    let (one, other) = (held(&world, "c1").unwrap(), held(&world, "c2").unwrap());
    assert_ne!(one.id, other.id, "an id is of one cabinet");
    assert!(!is_staff_anywhere(&world));
    assert_eq!(ask(&mut world, r#"{"op":"courier.badge","name":"jo"}"#), None);
    let badge = |effect: &&Effect| matches!(effect, Effect::ReplySecret { of: SecretOf::Badge(_), .. });
    assert_eq!(world.seen.iter().filter(badge).count(), 1);
    assert!(held(&world, "c1").unwrap().badge.is_some());
    let [told] = <[CourierDetail; 1]>::try_from(list(&mut world)).unwrap();
    assert!(told.badge && told.pending_count == 0 && told.scope == Scope::Tenant && !told.removed);
    // A new PIN leaves the badge.
    add(&mut world);
    let after = held(&world, "c1").unwrap();
    assert!(after.verifier != one.verifier && after.badge.is_some());
    world.restart();
    assert_eq!(list(&mut world).len(), 1);
}

#[test]
fn one_name_on_both_lists_is_two_people() {
    let mut world = World::new(&[Size::M]);
    add(&mut world);
    world.add_staff("jo");
    let put = |world: &World| {
        let changes = world.cabinets[&c1()].books.iter().flat_map(|book| book.changes.clone());
        changes.filter(|change| matches!(change, BookChange::PutStaff(put) if put.name == jo())).count()
    };
    assert_eq!(put(&world), 1);
    assert!(remove(&mut world).iter().all(|left| left.pending_count <= 1));
    assert_eq!(held(&world, "c1"), None);
    assert_eq!(list(&mut world), []);
    let dropped = |change: &BookChange| matches!(change, BookChange::DropStaff(_));
    assert!(!world.cabinets[&c1()].books.iter().flat_map(|book| &book.changes).any(dropped), "staff jo works on");
    match world.ask(EVE, &Request::StaffList {}) {
        Some(Reply::StaffMembers(members)) => assert!(members.len() == 1 && !members[0].revoked),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bad_requests_are_told_apart() {
    let mut world = World::new(&[Size::M]);
    for (json, expected) in [
        (r#"{"op":"courier.badge","name":"jo"}"#.to_owned(), RequestErrorCode::Unknown),
        (r#"{"op":"courier.remove","name":"jo"}"#.to_owned(), RequestErrorCode::Unknown),
        (r#"{"op":"courier.add","name":"by-courier"}"#.to_owned(), RequestErrorCode::Malformed),
        (r#"{"op":"courier.add","name":"break-glass"}"#.to_owned(), RequestErrorCode::Malformed),
        (r#"{"op":"courier.add","name":"Jo"}"#.to_owned(), RequestErrorCode::Malformed),
        (r#"{"op":"courier.add","name":"jo","pin":"1234"}"#.to_owned(), RequestErrorCode::Malformed),
        (r#"{"op":"courier.add","name":"jo","scope":{"cabinets":[]}}"#.to_owned(), RequestErrorCode::Malformed),
        (format!(r#"{{"op":"courier.add","name":"jo","until":"{}"}}"#, Rfc3339(START)), RequestErrorCode::Malformed),
        (r#"{"op":"staff.add","name":"by-courier"}"#.to_owned(), RequestErrorCode::Malformed),
    ] {
        assert_eq!(code(ask(&mut world, &json)), expected, "{json}");
    }
    assert_eq!(list(&mut world), [], "nothing of it was kept");
    let staff = world.ask_raw("staff:acme:sam", br#"{"op":"courier.list"}"#);
    assert_eq!(code(staff), RequestErrorCode::Forbidden);
    for number in 0..200 {
        ask(&mut world, &format!(r#"{{"op":"courier.add","name":"c{number}"}}"#));
    }
    assert_eq!(code(ask(&mut world, r#"{"op":"courier.add","name":"one-more"}"#)), RequestErrorCode::Conflict);
}

#[test]
fn a_courier_is_known_where_the_scope_says_and_nowhere_else() {
    let mut world = two_sites();
    add_at(&mut world, r#"{"sites":["port"]}"#);
    assert!(held(&world, "c1").is_none() && held(&world, "c2").is_some());
    ask(&mut world, r#"{"op":"courier.badge","name":"jo"}"#);
    assert!(held(&world, "c1").is_none() && held(&world, "c2").unwrap().badge.is_some());
    // Cabinets that come later.
    for (id, site) in [("c3", "port"), ("c4", "mall")] {
        let add = Request::CabinetAdd {
            cabinet: id.parse().unwrap(),
            site: site.parse().unwrap(),
            place: "Quay 3".into(),
            instance: Instance([7; 16]),
            enrolment: None,
        };
        assert_eq!(world.ask(EVE, &add), Some(Reply::Done));
        world.cabinets.insert(id.parse().unwrap(), FakeCabinet::new(id, &[Size::M]));
        world.connect(&id.parse().unwrap());
        assert_eq!(held(&world, id).is_some(), site == "port", "{id}");
    }
    // Another scope: gone at once where it does not reach, with the new PIN where it does.
    world.makes_secrets = false;
    add_at(&mut world, r#"{"cabinets":["c1"]}"#);
    assert!(held(&world, "c2").is_none(), "not one moment longer than the word");
    world.makes_secrets = true;
    world.pass(60_000);
    assert!(held(&world, "c1").is_some() && held(&world, "c2").is_none() && held(&world, "c3").is_none());
    assert_eq!(list(&mut world)[0].scope, Scope::Cabinets(vec![c1()]));
    world.restart();
    assert_eq!(list(&mut world)[0].scope, Scope::Cabinets(vec![c1()]));
}

#[test]
fn a_removed_courier_leaves_each_book_and_is_pending_where_a_cabinet_is_away() {
    let mut world = two_sites();
    let c2 = "c2".parse().unwrap();
    add(&mut world);
    world.disconnect(&c2);
    let left = remove(&mut world);
    assert!(left[0].removed && left[0].pending_count == 2, "{left:?}");
    assert_eq!(held(&world, "c1"), None, "at once where it is connected");
    for restarted in [false, true] {
        if restarted {
            world.restart();
            world.connect(&c1());
        }
        let [told] = <[CourierDetail; 1]>::try_from(list(&mut world)).unwrap();
        assert!(told.removed && told.pending == std::slice::from_ref(&c2));
    }
    world.connect(&c2);
    assert!(held(&world, "c2").is_none() && list(&mut world).is_empty());
    // Taken back: another PIN and another id.
    add(&mut world);
    assert!(held(&world, "c1").is_some() && held(&world, "c2").is_some());
}

#[test]
fn an_older_agent_gets_no_courier_and_all_of_its_book() {
    let mut world = World::empty();
    let mut old = FakeCabinet::new("c1", &[Size::M]);
    old.couriers = false;
    world.add(old);
    world.connect(&c1());
    add(&mut world);
    world.add_staff("sam");
    // The fake cabinet refuses what it does not know.
    assert!(held(&world, "c1").is_none() && is_staff_anywhere(&world));
    assert_eq!(list(&mut world)[0].pending, [c1()]);
    remove(&mut world);
    assert_eq!(list(&mut world), []);
    add(&mut world);
    world.restart();
    world.connect(&c1());
    world.put(PUT);
    assert!(world.told("shop").contains(&"A1 reserved".to_owned()));
    // A whole book has none either.
    world.disconnect(&c1());
    world.cabinet(&c1()).book += 5;
    world.connect(&c1());
    assert!(world.cabinets[&c1()].books.last().unwrap().base == 0 || held(&world, "c1").is_none());
    // It is updated: it gets them then.
    world.disconnect(&c1());
    world.cabinet(&c1()).couriers = true;
    world.connect(&c1());
    assert!(held(&world, "c1").is_some());
    assert_eq!(list(&mut world)[0].pending_count, 0);
}

#[test]
fn an_agent_that_is_put_back_and_updated_again_holds_nobody_who_was_removed_meanwhile() {
    for with_change in [false, true] {
        let mut world = World::new(&[Size::M]);
        add(&mut world);
        assert!(held(&world, "c1").is_some());
        if with_change {
            // A change that the cabinet has not confirmed waits when it comes back with an older agent.
            world.cabinet(&c1()).applies = false;
            add(&mut world);
            world.cabinet(&c1()).applies = true;
        }
        world.disconnect(&c1());
        world.cabinet(&c1()).couriers = false;
        world.connect(&c1());
        world.add_staff("sam");
        assert_eq!(list(&mut world)[0].pending, [c1()]);
        remove(&mut world);
        world.disconnect(&c1());
        world.cabinet(&c1()).couriers = true;
        let before = world.cabinets[&c1()].books.len();
        world.connect(&c1());
        let books = &world.cabinets[&c1()].books[before..];
        assert!(books.iter().any(|book| book.base == 0), "its store may hold the courier still: {books:?}");
        assert!(held(&world, "c1").is_none() && list(&mut world).is_empty());
    }
}

#[test]
fn a_removal_that_an_older_agent_could_not_take_does_not_hold_its_book_up() {
    let mut world = World::new(&[Size::M]);
    add(&mut world);
    world.disconnect(&c1());
    remove(&mut world);
    world.cabinet(&c1()).couriers = false;
    world.connect(&c1());
    world.add_staff("sam");
    assert!(is_staff_anywhere(&world));
    assert_eq!(list(&mut world), []);
}

#[test]
fn another_pepper_derives_couriers_anew() {
    let mut world = World::new(&[Size::M]);
    add(&mut world);
    let before = held(&world, "c1").unwrap();
    world.disconnect(&c1());
    world.cabinet(&c1()).pepper = Some(2);
    world.connect(&c1());
    let after = held(&world, "c1").unwrap();
    assert!(after.pepper == 2 && after.verifier != before.verifier && after.id == before.id);
}

#[test]
fn the_pin_of_somebody_else_does_not_work_for_a_courier_nor_one_of_a_courier_for_staff() {
    for staff_first in [true, false] {
        let mut world = World::new(&[Size::M]);
        if staff_first {
            world.add_staff("sam");
            world.same_again = true;
            add(&mut world);
            assert!(held(&world, "c1").is_none(), "it would let in staff");
        } else {
            add(&mut world);
            world.same_again = true;
            world.add_staff("sam");
            assert!(held(&world, "c1").is_some() && !is_staff_anywhere(&world));
        }
        assert_eq!(world.alarms(), 1);
    }
}

#[test]
fn a_secret_that_cannot_be_opened_is_an_alarm_and_holds_nobody_up() {
    let mut world = World::new(&[Size::M]);
    add(&mut world);
    world.opens_nothing = true;
    world.disconnect(&c1());
    world.cabinet(&c1()).pepper = Some(2);
    world.connect(&c1());
    assert!(world.alarms() >= 1);
    world.put(PUT);
    assert!(world.told("shop").contains(&"A1 reserved".to_owned()));
}

#[test]
fn after_a_restore_cabinets_forget_couriers_of_whom_the_fleet_knows_nothing() {
    let mut world = World::new(&[Size::M]);
    let backup = world.store.clone();
    add(&mut world);
    assert!(held(&world, "c1").is_some());
    restore(&mut world, backup);
    world.connect(&c1());
    assert!(held(&world, "c1").is_none() && list(&mut world).is_empty());
}

#[test]
fn a_pin_that_was_being_made_is_made_after_a_restart_and_for_nobody_who_was_removed() {
    let mut world = World::new(&[Size::M]);
    world.signer_works = false;
    add(&mut world);
    let first = world.ticket;
    assert_eq!(code(ask(&mut world, r#"{"op":"courier.add","name":"jo"}"#)), RequestErrorCode::Conflict);
    world.pass(40_000);
    assert_eq!(code(world.reply(first)), RequestErrorCode::Timeout);
    world.restart();
    world.connect(&c1());
    world.signer_works = true;
    world.pass(60_000);
    assert!(held(&world, "c1").is_some());
    world.signer_works = false;
    add(&mut world);
    let second = world.ticket;
    remove(&mut world);
    assert_eq!(code(world.reply(second)), RequestErrorCode::Conflict);
    world.signer_works = true;
    world.pass(120_000);
    assert!(held(&world, "c1").is_none());
}

/// An order with a deposit code is put in by the courier instead.
fn brought(world: &mut World) {
    let (credential, courier) = (CredentialId([70; 8]), Some(jo()));
    world.fact(&c1(), CourierCame { courier: jo() });
    world.fact(&c1(), Depositing { order: order("A1"), compartment: door(1), credential, courier: courier.clone() });
    world.fact(&c1(), DoorOpened { compartment: door(1), by: ActorCourier { name: jo() }.into() });
    world.fact(&c1(), Deposited { order: order("A1"), compartment: door(1), credential, seen: true, courier });
}

fn courier_of(world: &mut World, id: OrderKey) -> Option<Name> {
    match world.ask(EVE, &Request::OrderShow { order: id }) {
        Some(Reply::Order(detail)) => detail.courier,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_order_that_a_courier_brings_is_stored_says_who_it_was_and_ends_its_deposit_code() {
    let mut world = World::new(&[Size::M, Size::M]);
    world.put(PUT);
    brought(&mut world);
    assert_eq!(world.told("shop"), ["A1 reserved", "A1 loading", "A1 stored"]);
    let couriers: Vec<_> = world.statuses("shop").into_iter().map(|status| status.courier).collect();
    assert_eq!(couriers, [None, Some(jo()), Some(jo())]);
    assert_eq!(courier_of(&mut world, order("A1")), Some(jo()));
    let [invited, pickup] = world.notifications().try_into().unwrap();
    assert_ne!((invited.code, invited.kind), (pickup.code, pickup.kind));
    let openings = crate::history::list(&mut world);
    assert_eq!(
        (openings.len(), openings[0].right, openings[0].by.as_deref()),
        (1, UnlockRight::Courier, Some("courier:acme:jo"))
    );
    let credential = CredentialId([5; 8]);
    world.fact(&c1(), Collected { order: order("A1"), compartment: door(1), credential, confirmed: true });
    assert_eq!(courier_of(&mut world, order("A1")), Some(jo()), "also when it is over");
}

#[test]
fn who_brought_it_is_who_has_it_inside() {
    let mut world = World::new(&[Size::M, Size::M]);
    world.put(PUT);
    let (credential, courier) = (CredentialId([70; 8]), Some(jo()));
    let depositing = Depositing { order: order("A1"), compartment: door(1), credential, courier };
    world.fact(&c1(), depositing.clone());
    world.fact(&c1(), LoadAborted { order: order("A1"), compartment: door(1) });
    assert_eq!(courier_of(&mut world, order("A1")), None, "he has it with him");
    world.fact(&c1(), depositing);
    let (by, staff) = (StoredBy::Staff, "sam".parse().unwrap());
    world.fact(&c1(), Stored { order: order("A1"), compartment: door(1), by, staff });
    assert_eq!(courier_of(&mut world, order("A1")), Some(jo()), "staff have only looked");
    let mut world = World::new(&[Size::M, Size::M]);
    world.put(PUT);
    crate::handover::load(&mut world, "A1", 1);
    assert_eq!(courier_of(&mut world, order("A1")), None);
}

#[test]
fn openings_without_a_sensor_and_wrong_doors_name_the_courier() {
    let mut world = World::new(&[Size::M, Size::M]);
    world.put(PUT);
    let (credential, courier) = (CredentialId([70; 8]), Some(jo()));
    world.fact(&c1(), Depositing { order: order("A1"), compartment: door(1), credential, courier: courier.clone() });
    world.fact(&c1(), Deposited { order: order("A1"), compartment: door(1), credential, seen: false, courier });
    let by = Some(ActorCourier { name: jo() }.into());
    world.fact(&c1(), WrongDoor { pulsed: door(1), opened: door(2), by });
    let told: Vec<_> = crate::history::list(&mut world).into_iter().map(|one| (one.right, one.by)).collect();
    let jo = || Some("courier:acme:jo".to_owned());
    assert_eq!(told, [(UnlockRight::Nobody, jo()), (UnlockRight::Courier, jo())]);
}

#[test]
fn nothing_free_is_an_alarm_and_tells_the_backend() {
    let mut world = World::new(&[Size::M]);
    world.put(PUT);
    world.fact(&c1(), CourierTurnedAway { courier: jo(), order: Some(order("A1")), size: Size::M });
    assert_eq!(world.told("shop"), ["A1 reserved", "A1 reserved no_fitting_compartment"]);
    assert_eq!(world.alarms(), 1);
    world.fact(&c1(), CourierTurnedAway { courier: jo(), order: None, size: Size::L });
    world.fact(&c1(), CourierTurnedAway { courier: jo(), order: Some(order("A9")), size: Size::L });
    assert_eq!((world.alarms(), world.told("shop").len()), (3, 2));
}

fn parcel() -> OrderKey {
    OrderKey::walk_in("P1".parse().unwrap())
}

fn parcels() -> World {
    let mut world = World::new(&[Size::M, Size::M]);
    let certificate = fleet_core::CertificateSeen {
        id: schemas::api::CertificateId([1; 32]),
        issued: START,
        expires: START + 1_000_000,
    };
    world.handle(fleet_core::Input::Admitted { who: crate::world::who("integration:acme:shop"), certificate });
    world
}

fn begin_parcel(world: &mut World) {
    let (staff, courier) = (BY_COURIER_NAME.parse().unwrap(), Some(jo()));
    let phone = Blob(b"+4915112345678".to_vec());
    let (size, category, wants) = (Size::M, Category::Courier, Attributes::default());
    world.fact(&c1(), WalkIn { order: parcel(), size, category, wants, phone, staff, courier: courier.clone() });
    let credential = CredentialId([70; 8]);
    world.fact(&c1(), Depositing { order: parcel(), compartment: door(1), credential, courier });
}

fn bring_parcel(world: &mut World) {
    begin_parcel(world);
    let (credential, courier) = (CredentialId([70; 8]), Some(jo()));
    world.fact(&c1(), Deposited { order: parcel(), compartment: door(1), credential, seen: true, courier });
}

#[test]
fn a_parcel_for_a_phone_number_is_a_walk_in_that_names_its_courier() {
    let mut world = parcels();
    bring_parcel(&mut world);
    let last = world.statuses("shop").pop().unwrap();
    assert_eq!((last.state, last.walk_in, last.courier), (OrderState::Stored, true, Some(jo())));
    let [told] = world.notifications().try_into().unwrap();
    assert_eq!((told.recipient.phone.as_deref(), told.walk_in), (Some("+4915112345678"), true));
}

#[test]
fn a_parcel_that_its_courier_took_back_is_cancelled_and_nobody_is_told() {
    let mut world = parcels();
    begin_parcel(&mut world);
    world.fact(&c1(), LoadAborted { order: parcel(), compartment: door(1) });
    let (staff, courier) = (BY_COURIER_NAME.parse().unwrap(), Some(jo()));
    world.fact(&c1(), WalkInDropped { order: parcel(), staff, courier });
    assert_eq!(world.statuses("shop").pop().unwrap().state, OrderState::Cancelled);
    assert_eq!(world.notifications(), []);
    assert_eq!(world.reserved(), [], "nothing is kept for it");
}

#[test]
fn a_courier_and_a_parcel_survive_a_crash_behind_any_commit() {
    let story = |world: &mut World| {
        insist(world, |world| {
            ask(world, r#"{"op":"courier.add","name":"jo"}"#);
        });
        bring_parcel(world);
    };
    let check = |world: &mut World, what: &str| {
        if world.crashed {
            world.restart();
            world.connect(&c1());
            world.pass(120_000);
        }
        assert!(held(world, "c1").is_some(), "{what}");
        assert_eq!(world.statuses("shop").pop().unwrap().state, OrderState::Stored, "{what}");
        assert_eq!(world.statuses("shop").pop().unwrap().courier, Some(jo()), "{what}");
        assert_eq!(world.notifications().len(), 1, "{what}");
    };
    let tried = everywhere(parcels, story, check);
    assert!(tried.commits > 5 && tried.cuts > 3, "{tried:?}");
    let story = |world: &mut World| {
        insist(world, |world| {
            world.ask(EVE, &Request::CourierRemove { name: jo() });
        });
    };
    let begin = || {
        let mut world = two_sites();
        add(&mut world);
        world
    };
    let check = |world: &mut World, what: &str| {
        if world.crashed {
            world.restart();
            for id in ["c1", "c2"] {
                world.connect(&id.parse().unwrap());
            }
            world.pass(120_000);
        }
        assert!(held(world, "c1").is_none() && held(world, "c2").is_none(), "{what}");
        assert_eq!(list(world), [], "{what}");
    };
    let tried = everywhere(begin, story, check);
    assert!(tried.commits > 2 && tried.cuts >= 2, "{tried:?}");
}

#[test]
fn couriers_are_of_one_tenant() {
    let mut world = World::new(&[Size::M]);
    assert_eq!(world.ask_raw("operator:umbra:max", br#"{"op":"courier.add","name":"jo"}"#), None);
    assert!(held(&world, "c1").is_none() && list(&mut world).is_empty());
    add(&mut world);
    assert!(held(&world, "c1").is_some());
    let gone = world.ask("operator:umbra:max", &Request::CourierRemove { name: jo() });
    assert!(matches!(gone, Some(Reply::Couriers(_))), "his own");
    assert!(held(&world, "c1").is_some() && list(&mut world).len() == 1);
}

#[test]
fn a_change_of_an_older_pepper_that_waits_is_not_sent() {
    let mut world = World::new(&[Size::M]);
    world.disconnect(&c1());
    add(&mut world);
    world.cabinet(&c1()).pepper = Some(2);
    world.connect(&c1());
    let books = &world.cabinets[&c1()].books;
    let peppers = books.iter().flat_map(|book| &book.changes).filter_map(|change| match change {
        BookChange::PutCourier(put) => Some(put.pepper),
        _ => None,
    });
    assert_eq!(peppers.collect::<Vec<_>>(), [2]);
}

cbor_map! {
    /// What fleets wrote down of a hello before there were couriers.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct FormerSaid {
        1 => agent: String,
        2 => keyset: u64,
        3 opt => pepper: Option<PepperOffer>,
        4 => compartments: Vec<CompartmentInfo>,
    }
}

/// An older fleet that ran in between has written down a hello without what it does not know, and another pepper; of couriers it
/// knew nothing.
#[test]
fn a_fleet_that_was_older_in_between_sends_no_courier_of_a_former_pepper() {
    let mut world = World::new(&[Size::M]);
    add(&mut world);
    assert!(held(&world, "c1").is_some());
    world.disconnect(&c1());
    world.cabinet(&c1()).pepper = Some(2);
    let (table, key) = (Table("said"), b"acme/c1".to_vec());
    let rows = world.store.rows(table).unwrap();
    let (_, row) = rows.iter().find(|(held, _)| *held == key).unwrap();
    let said = FormerSaid { pepper: world.cabinets[&c1()].hello().pepper, ..cbor::decode(row).unwrap() };
    world.store.commit(&[Write::put(table, key, cbor::encode(&said))]).unwrap();
    world.restart();
    let before = world.cabinets[&c1()].books.len();
    world.connect(&c1());
    let books = &world.cabinets[&c1()].books[before..];
    let peppers: Vec<_> = books
        .iter()
        .flat_map(|book| &book.changes)
        .filter_map(|change| if let BookChange::PutCourier(put) = change { Some(put.pepper) } else { None })
        .collect();
    assert_eq!(peppers, [2], "{books:?}");
    assert_eq!(list(&mut world)[0].pending_count, 0);
}
