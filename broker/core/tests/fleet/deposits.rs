//! Orders that somebody who is no staff puts in: their code, and what their backend hears.

use fleet_core::Input;
use schemas::api::{Notification, NotificationKind, OrderState, Rfc3339};
use schemas::messages::{
    Actor, ActorCredential, BookChange, CredentialId, CredentialRefused, DepositKind, Deposited, Depositing,
    DoorOpened, DropCredential, LoadAborted, PutDeposit, RefusalReason, Retrieved, Size, TakeBack,
};
use schemas::topics::OrderChange;

use crate::handover::load;
use crate::restore::restore;
use crate::time::HOUR;
use crate::world::{START, World, c1, door, order, shop, tenant};

const COURIER: &str = r#"{"order":"A1","cabinet":"c1","size":"M","category":"retail","deposit":"courier","recipient":{"phone":"+49 30 1"}}"#;
const DROP_OFF: &str = r#"{"order":"A1","cabinet":"c1","size":"M","category":"laundry","deposit":"drop_off","recipient":{"phone":"+49 30 1"}}"#;

fn awaiting(put: &str) -> World {
    let mut world = World::new(&[Size::M, Size::M]);
    world.put(put);
    world
}

fn changes(world: &mut World) -> Vec<BookChange> {
    world.cabinet(&c1()).books.iter().flat_map(|book| book.changes.clone()).collect()
}

fn invitations(world: &mut World) -> Vec<PutDeposit> {
    let put = |change| match change {
        BookChange::PutDeposit(put) => Some(put),
        _ => None,
    };
    changes(world).into_iter().filter_map(put).collect()
}

fn pickups(world: &mut World) -> usize {
    changes(world).iter().filter(|change| matches!(change, BookChange::PutCredential(_))).count()
}

fn begin(world: &mut World, at: u16) -> CredentialId {
    let id = invitations(world)[0].id;
    world.fact(&c1(), Depositing { order: order("A1"), compartment: door(at), credential: id, courier: None });
    let by = Actor::from(ActorCredential { id });
    world.fact(&c1(), DoorOpened { compartment: door(at), by });
    id
}

fn deposit(world: &mut World, at: u16) {
    let credential = begin(world, at);
    world.fact(&c1(), Deposited { order: order("A1"), compartment: door(at), credential, seen: true, courier: None });
}

fn messages(world: &World) -> Vec<(NotificationKind, String)> {
    world.notifications().into_iter().map(|one| (one.kind, one.id)).collect()
}

#[test]
fn whoever_brings_the_order_gets_a_code_and_the_recipient_another_once_it_is_stored() {
    let mut world = awaiting(COURIER);
    let put = changes(&mut world).into_iter().find_map(|change| match change {
        BookChange::PutOrder(put) => put.deposit,
        _ => None,
    });
    assert_eq!(put, Some(DepositKind::Courier));
    let [invited] = <[Notification; 1]>::try_from(world.notifications()).unwrap();
    assert_eq!((invited.kind, invited.id.as_str()), (NotificationKind::DepositCode, "deposit-code/shop/A1/1"));
    assert_eq!((invited.compartment, invited.until), (None, Some(Rfc3339(START + 72 * HOUR))));
    assert_eq!(invited.recipient.phone, None, "the recipient is not who brings it");
    assert!(invited.instruction.contains("Put the order in") && !invited.instruction.contains("Door "));

    deposit(&mut world, 2);
    assert_eq!(world.told("shop"), ["A1 reserved", "A1 loading", "A1 stored"]);
    assert_eq!(world.statuses("shop").last().unwrap().compartment, Some(door(2)));
    let [_, pickup] = <[Notification; 2]>::try_from(world.notifications()).unwrap();
    assert_eq!((pickup.kind, pickup.compartment), (NotificationKind::PickupCode, Some(door(2))));
    assert_eq!(pickup.recipient.phone.as_deref(), Some("+49 30 1"));
    assert_ne!((pickup.code, pickup.qr), (invited.code, invited.qr));
}

#[test]
fn nobody_hears_of_a_code_before_the_cabinet_holds_it() {
    let mut world = World::new(&[Size::M]);
    world.cabinet(&c1()).applies = false;
    world.put(COURIER);
    assert_eq!(world.notifications(), []);
    for version in 2..=3 {
        world.apply(&c1(), version);
    }
    assert_eq!(messages(&world).len(), 1);
    world.restart();
    world.connect(&c1());
    world.settle();
    assert_eq!(messages(&world).len(), 1, "told twice");
}

#[test]
fn what_a_customer_has_dropped_off_has_no_pickup_code_and_is_for_staff_to_take_out() {
    let mut world = awaiting(DROP_OFF);
    assert_eq!(world.notifications()[0].recipient.phone.as_deref(), Some("+49 30 1"), "the customer brings it");
    deposit(&mut world, 1);
    assert_eq!(world.told("shop").last().unwrap(), "A1 stored");
    assert_eq!((messages(&world).len(), pickups(&mut world)), (1, 0));
    let last = changes(&mut world).into_iter().rev().find_map(|change| match change {
        BookChange::PutOrder(put) => put.take_back,
        _ => None,
    });
    assert_eq!(last, Some(TakeBack::DroppedOff));
    world.pass(8 * 24 * HOUR);
    assert_eq!(world.told("shop").last().unwrap(), "A1 overdue");
    let until = Rfc3339(START + 20 * 24 * HOUR);
    let payload = format!(r#"{{"order":"A1","until":"{until}"}}"#).into_bytes();
    world.handle(Input::OrderChange { tenant: tenant(), integration: shop(), change: OrderChange::Extend, payload });
    assert_eq!(world.statuses("shop").last().unwrap().state, OrderState::Stored);
    assert_eq!(pickups(&mut world), 0, "more time makes no code of it");
    world.fact(&c1(), Retrieved { order: order("A1"), compartment: door(1), staff: "sam".parse().unwrap() });
    assert_eq!(world.told("shop").last().unwrap(), "A1 retrieved");
    assert_eq!(messages(&world).len(), 1, "{:?}", messages(&world));
}

#[test]
fn a_deposit_that_was_given_up_leaves_the_code_as_it_is() {
    let mut world = awaiting(COURIER);
    begin(&mut world, 1);
    world.fact(&c1(), LoadAborted { order: order("A1"), compartment: door(1) });
    assert_eq!(world.told("shop"), ["A1 reserved", "A1 loading", "A1 ready", "A1 reserved"]);
    deposit(&mut world, 2);
    assert_eq!(world.told("shop").last().unwrap(), "A1 stored");
    assert_eq!(invitations(&mut world).len(), 2, "digits and token, once");
    assert_eq!(messages(&world).len(), 2);
}

#[test]
fn an_order_that_is_cancelled_takes_its_deposit_code_with_it() {
    let mut world = awaiting(COURIER);
    let ids: Vec<_> = invitations(&mut world).iter().map(|put| put.id).collect();
    world.cancel(r#"{"order":"A1"}"#);
    let dropped = changes(&mut world);
    for id in ids {
        assert!(dropped.contains(&DropCredential { id }.into()));
    }
    assert_eq!(world.told("shop").last().unwrap(), "A1 cancelled");
}

#[test]
fn an_order_that_is_cancelled_under_the_hands_of_its_courier_is_to_be_taken_out() {
    let mut world = awaiting(COURIER);
    let credential = invitations(&mut world)[0].id;
    world.cancel(r#"{"order":"A1"}"#);
    world.fact(&c1(), Depositing { order: order("A1"), compartment: door(1), credential, courier: None });
    world.fact(&c1(), Deposited { order: order("A1"), compartment: door(1), credential, seen: true, courier: None });
    assert_eq!(world.told("shop").last().unwrap(), "A1 recalled");
    assert_eq!(pickups(&mut world), 0);
}

#[test]
fn the_backend_hears_that_whoever_came_was_sent_away() {
    let mut world = awaiting(COURIER);
    let id = invitations(&mut world)[1].id;
    world.fact(&c1(), CredentialRefused { id, reason: RefusalReason::NoFittingCompartment });
    assert_eq!(world.told("shop").last().unwrap(), "A1 reserved no_fitting_compartment");
    world.fact(&c1(), CredentialRefused { id, reason: RefusalReason::Expired });
    let other = CredentialId([0xee; 8]);
    world.fact(&c1(), CredentialRefused { id: other, reason: RefusalReason::NoFittingCompartment });
    assert_eq!(world.told("shop").len(), 2);
}

#[test]
fn the_same_deposit_code_is_sent_again_on_request() {
    let mut world = awaiting(COURIER);
    let ask = |world: &mut World| {
        let payload = br#"{"order":"A1"}"#.to_vec();
        world.handle(Input::OrderChange {
            tenant: tenant(),
            integration: shop(),
            change: OrderChange::Resend,
            payload,
        });
    };
    ask(&mut world);
    let [first, again] = <[Notification; 2]>::try_from(world.notifications()).unwrap();
    assert_eq!((&first.code, &first.qr, first.until), (&again.code, &again.qr, again.until));
    assert_eq!((again.kind, again.id.as_str()), (NotificationKind::DepositCode, "deposit-code/shop/A1/again-1"));
    deposit(&mut world, 1);
    ask(&mut world);
    let last = world.notifications().pop().unwrap();
    assert_eq!(last.kind, NotificationKind::PickupCode);
}

#[test]
fn an_order_that_was_stored_by_mistake_and_taken_out_gets_another_deposit_code() {
    let mut world = awaiting(COURIER);
    load(&mut world, "A1", 1);
    world.fact(&c1(), LoadAborted { order: order("A1"), compartment: door(1) });
    world.settle();
    let told = messages(&world);
    let ids: Vec<_> = told.iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!(ids, ["deposit-code/shop/A1/1", "pickup-code/shop/A1", "deposit-code/shop/A1/2"]);
    let generations: Vec<_> = invitations(&mut world).iter().map(|put| put.generation).collect();
    assert_eq!(generations, [1, 1, 2, 2]);
}

#[test]
fn a_door_that_opens_late_for_whoever_put_the_order_in_is_no_collection() {
    let mut world = awaiting(COURIER);
    let id = invitations(&mut world)[0].id;
    deposit(&mut world, 1);
    let by = Actor::from(ActorCredential { id });
    world.fact(&c1(), DoorOpened { compartment: door(1), by });
    assert_eq!(world.told("shop").last().unwrap(), "A1 stored");
}

#[test]
fn a_whole_book_has_the_deposit_codes_of_orders_that_wait_and_withdraws_the_others() {
    let mut world = awaiting(COURIER);
    world.put(&COURIER.replace("A1", "A2"));
    let ids: Vec<_> = invitations(&mut world).iter().map(|put| (put.order.clone(), put.id)).collect();
    deposit(&mut world, 1);
    world.disconnect(&c1());
    let mut lost = world.cabinets[&c1()].clone();
    lost.book = 0;
    world.reconnect(&lost);
    world.settle();
    let books = &world.cabinets[&c1()].books;
    let whole = books.iter().rposition(|book| book.base == 0).unwrap();
    let held: Vec<_> = books[whole..].iter().flat_map(|book| &book.changes).collect();
    for (of, id) in ids {
        let put = held.iter().any(|change| matches!(change, BookChange::PutDeposit(put) if put.id == id));
        let dropped = held.contains(&&DropCredential { id }.into());
        assert_eq!((put, dropped), if of == order("A2") { (true, false) } else { (false, true) }, "{of}");
    }
    assert_eq!(messages(&world).len(), 3, "nobody is told twice");
}

#[test]
fn a_code_that_comes_after_the_order_is_inside_is_told_to_nobody() {
    let mut world = World::new(&[Size::M]);
    world.signer_works = false;
    world.put(COURIER);
    load(&mut world, "A1", 1);
    world.signer_works = true;
    world.pass(60_000);
    world.settle();
    let told = messages(&world);
    assert_eq!(told, [(NotificationKind::PickupCode, "pickup-code/shop/A1".to_owned())]);
}

#[test]
fn a_door_that_an_older_pickup_code_has_opened_is_a_collection() {
    let mut world = awaiting(COURIER);
    deposit(&mut world, 1);
    let first = changes(&mut world).into_iter().find_map(|change| match change {
        BookChange::PutCredential(put) => Some(put.id),
        _ => None,
    });
    let payload = br#"{"order":"A1"}"#.to_vec();
    world.handle(Input::OrderChange { tenant: tenant(), integration: shop(), change: OrderChange::Reissue, payload });
    world.settle();
    assert_eq!(messages(&world).len(), 3, "{:?}", messages(&world));
    // The cabinet says what happened before it had the book with the other code.
    let by = Actor::from(ActorCredential { id: first.unwrap() });
    world.fact(&c1(), DoorOpened { compartment: door(1), by });
    assert_eq!(world.told("shop").last().unwrap(), "A1 collecting");
}

#[test]
fn another_deposit_code_takes_the_place_of_the_one_before() {
    let mut world = awaiting(COURIER);
    let ask = |world: &mut World, change, json: &str| {
        let payload = json.as_bytes().to_vec();
        world.handle(Input::OrderChange { tenant: tenant(), integration: shop(), change, payload });
    };
    ask(&mut world, OrderChange::Reissue, r#"{"order":"A1"}"#);
    world.settle();
    let [first, other] = <[Notification; 2]>::try_from(world.notifications()).unwrap();
    assert_eq!((other.kind, other.id.as_str()), (NotificationKind::DepositCode, "deposit-code/shop/A1/2"));
    assert!(first.code != other.code && first.qr != other.qr && first.until == other.until);
    let generations: Vec<_> = invitations(&mut world).iter().map(|put| put.generation).collect();
    assert_eq!(generations, [1, 1, 2, 2]);
    // By the older code, before the cabinet had the book with the other one.
    deposit(&mut world, 1);
    assert_eq!(world.told("shop").last().unwrap(), "A1 stored");
    let until = Rfc3339(START + HOUR);
    world.put(&COURIER.replace("A1", "A2"));
    ask(&mut world, OrderChange::Extend, &format!(r#"{{"order":"A2","until":"{until}"}}"#));
    assert_eq!(world.told("shop").last().unwrap(), "A2 reserved no_code_yet");
}

#[test]
fn an_order_that_is_not_ready_any_more_gets_a_new_code_and_a_new_message_when_it_is() {
    let mut world = awaiting(COURIER);
    let change = |world: &mut World, ready: bool| {
        let payload = format!(r#"{{"order":"A1","change":{{"ready":{ready}}}}}"#).into_bytes();
        world.handle(Input::OrderChange {
            tenant: tenant(),
            integration: shop(),
            change: OrderChange::Content,
            payload,
        });
        world.settle();
    };
    change(&mut world, false);
    assert_eq!(world.told("shop").last().unwrap(), "A1 created");
    world.pass(HOUR);
    change(&mut world, true);
    let [first, other] = <[Notification; 2]>::try_from(world.notifications()).unwrap();
    assert!(first.id != other.id && first.code != other.code, "{first:?} {other:?}");
    assert_eq!(other.until, Some(Rfc3339(world.now + 72 * HOUR)));
}

/// The backup is older than the code that the cabinet has.
#[test]
fn a_restored_fleet_makes_codes_to_bring_an_order_that_are_newer_than_those_it_has_forgotten() {
    let mut world = awaiting(COURIER);
    let backup = world.store.clone();
    let reissue = |world: &mut World| {
        let payload = br#"{"order":"A1"}"#.to_vec();
        let change = OrderChange::Reissue;
        world.handle(Input::OrderChange { tenant: tenant(), integration: shop(), change, payload });
    };
    reissue(&mut world);
    let forgotten = invitations(&mut world).last().unwrap().generation;
    restore(&mut world, backup);
    world.connect(&c1());
    reissue(&mut world);
    assert!(invitations(&mut world).last().unwrap().generation > forgotten);
    world.put(&COURIER.replace("A1", "A2"));
    let new = invitations(&mut world).pop().unwrap();
    assert!(new.order.order.as_str() == "A2" && new.generation > forgotten);
}
