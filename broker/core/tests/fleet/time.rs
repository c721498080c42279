//! What time does to stored orders: reminders, the end of the window, the grace.

use fleet_core::ORDERS;
use schemas::api::{NotificationKind, OrderState, Reply, Request, Rfc3339};
use schemas::cbor;
use schemas::cbor_map;
use schemas::ids::CabinetId;
use schemas::messages::{
    Actor, ActorCredential, Attributes, BookChange, Category, Collected, Compartment, CredentialId, DoorOpened,
    LoadAborted, Loading, OrderKey, Retrieved, Size, TakeBack,
};

use schemas::step::{Store as _, Write};

use crate::handover::load;
use crate::world::{START, World, c1, door, order};

pub(crate) const MINUTE: u64 = 60_000;
pub(crate) const HOUR: u64 = 60 * MINUTE;

pub(crate) fn stored(category: &str) -> World {
    let mut world = World::new(&[Size::M, Size::M]);
    world.put(&format!(r#"{{"order":"A17","cabinet":"c1","size":"M","category":"{category}"}}"#));
    load(&mut world, "A17", 1);
    world
}

/// What the recipient was told, and how long after storing.
pub(crate) fn messages(world: &World) -> Vec<(NotificationKind, u64)> {
    world.notifications().iter().map(|told| (told.kind, told.at.0 - START)).collect()
}

pub(crate) fn last(world: &World) -> (OrderState, u64, Option<u64>) {
    let last = world.statuses("shop").pop().unwrap();
    (last.state, last.at.0 - START, last.until.map(|until| until.0 - START))
}

pub(crate) fn collect(world: &mut World, id: &str) {
    let credential = CredentialId([1; 8]);
    world.fact(&c1(), DoorOpened { compartment: door(1), by: Actor::Credential(ActorCredential { id: credential }) });
    world.fact(&c1(), Collected { order: order(id), compartment: door(1), credential, confirmed: true });
}

/// Until when the book that was sent last lets credentials open, and how many of them it puts.
pub(crate) fn ends_in_book(world: &mut World) -> (usize, Option<Option<u64>>) {
    let books = &world.cabinet(&c1()).books;
    let puts: Vec<_> = books
        .iter()
        .flat_map(|book| &book.changes)
        .filter_map(|change| match change {
            BookChange::PutCredential(put) => Some(put.expires.map(|expires| expires - START)),
            _ => None,
        })
        .collect();
    (puts.len(), puts.last().copied())
}

fn overdue_orders(world: &mut World) -> Vec<String> {
    let request = Request::OrderList { cabinet: None, overdue: true };
    let Some(Reply::Orders(orders)) = world.ask("support:acme:sue", &request) else { panic!() };
    orders.into_iter().map(|one| one.order.to_string()).collect()
}

/// What the cabinet was told last about taking the order out.
fn unwanted(world: &mut World, id: &str) -> Option<TakeBack> {
    let changes = world.cabinet(&c1()).books.iter().flat_map(|book| &book.changes);
    let about = changes.filter_map(|change| match change {
        BookChange::PutOrder(put) if put.order == order(id) => Some(put.take_back),
        _ => None,
    });
    about.collect::<Vec<_>>().pop().flatten()
}

#[test]
fn the_cabinet_is_told_which_orders_staff_are_to_take_out_and_which_not_any_more() {
    let mut world = stored("retail");
    world.pass(72 * HOUR - 1);
    assert_eq!(unwanted(&mut world, "A17"), None);
    world.disconnect(&c1());
    world.pass(1);
    world.connect(&c1());
    assert_eq!(unwanted(&mut world, "A17"), Some(TakeBack::Overdue));
    let until = Rfc3339(START + 96 * HOUR);
    let extend = Request::OrderExtend { order: order("A17"), until };
    assert!(!matches!(world.ask("support:acme:sue", &extend), Some(Reply::Error(_))));
    assert_eq!(unwanted(&mut world, "A17"), None, "extended, it may wait again");
    world.restart();
    world.connect(&c1());
    world.cancel(r#"{"order":"A17"}"#);
    assert_eq!(unwanted(&mut world, "A17"), Some(TakeBack::Recalled));
}

/// Acceptance 4, but for the end of the code, which the cabinet decides when staff open the door.
#[test]
fn a_retail_order_is_reminded_at_36_and_64_8_hours_and_overdue_at_72() {
    let mut world = stored("retail");
    assert_eq!(last(&world), (OrderState::Stored, 0, Some(72 * HOUR)));
    world.pass(72 * HOUR - 1);
    let expected = [
        (NotificationKind::PickupCode, 0),
        (NotificationKind::Reminder, 36 * HOUR),
        (NotificationKind::Reminder, 64 * HOUR + 48 * MINUTE),
    ];
    assert_eq!(messages(&world), expected);
    assert_eq!((last(&world).0, overdue_orders(&mut world)), (OrderState::Stored, vec![]));
    let told = world.notifications();
    assert!(told.iter().all(|one| (&one.code, &one.qr) == (&told[0].code, &told[0].qr)), "a reminder has another code");
    assert!(told[1].id != told[2].id && told.iter().all(|one| one.until == Some(Rfc3339(START + 72 * HOUR))));
    world.pass(1);
    assert_eq!(last(&world), (OrderState::Overdue, 72 * HOUR, Some(72 * HOUR)));
    assert_eq!(overdue_orders(&mut world), ["shop/A17"]);
    let books = ends_in_book(&mut world);
    world.pass(1_000 * HOUR);
    assert_eq!((messages(&world), ends_in_book(&mut world)), (expected.to_vec(), books), "the code works on");
    assert_eq!(books, (2, Some(None)));
}

#[test]
fn an_overdue_order_can_be_collected_or_taken_back() {
    let mut world = stored("retail");
    world.pass(80 * HOUR);
    let mut other = stored("retail");
    other.pass(80 * HOUR);
    collect(&mut world, "A17");
    let states: Vec<_> = world.statuses("shop").iter().rev().take(3).map(|row| row.state).collect();
    assert_eq!(states, [OrderState::Collected, OrderState::Collecting, OrderState::Overdue]);
    other.fact(&c1(), Retrieved { order: order("A17"), compartment: door(1), staff: "sam".parse().unwrap() });
    assert_eq!(last(&other).0, OrderState::Retrieved);
    for mut world in [world, other] {
        assert_eq!(overdue_orders(&mut world), [""; 0]);
        let dropped = world.cabinet(&c1()).books.last().unwrap().changes.len();
        assert_eq!(dropped, 3, "two credentials and the order");
    }
}

#[test]
fn an_overdue_order_that_is_cancelled_is_recalled_and_its_code_dies() {
    let mut world = stored("retail");
    world.pass(80 * HOUR);
    world.cancel(r#"{"order":"A17"}"#);
    assert_eq!(last(&world).0, OrderState::Recalled);
    let changes = &world.cabinet(&c1()).books.last().unwrap().changes;
    let (wanted, dropped) = changes.split_at(1);
    assert!(dropped.len() == 2, "{changes:?}");
    assert!(dropped.iter().all(|change| matches!(change, BookChange::DropCredential(_))), "{changes:?}");
    assert!(matches!(wanted, [BookChange::PutOrder(put)] if put.take_back == Some(TakeBack::Recalled)), "{changes:?}");
    world.pass(1_000 * HOUR);
    assert_eq!(messages(&world).len(), 3);
}

#[test]
fn food_is_overdue_after_30_minutes_and_its_code_ends_in_the_book() {
    let mut world = stored("food");
    assert_eq!(ends_in_book(&mut world), (2, Some(Some(30 * MINUTE))));
    world.pass(30 * MINUTE);
    assert_eq!(messages(&world).iter().map(|(_, at)| *at).collect::<Vec<_>>(), [0, 15 * MINUTE, 27 * MINUTE]);
    assert_eq!(last(&world), (OrderState::Overdue, 30 * MINUTE, Some(30 * MINUTE)));
}

#[test]
fn an_order_that_is_out_or_called_back_is_not_reminded() {
    for end in ["collected", "recalled"] {
        let mut world = stored("retail");
        world.pass(35 * HOUR);
        match end {
            "collected" => collect(&mut world, "A17"),
            _ => drop(world.cancel(r#"{"order":"A17"}"#)),
        }
        world.pass(60 * HOUR);
        assert_eq!((messages(&world).len(), last(&world).0.to_string().as_str()), (1, end));
    }
}

#[test]
fn what_came_due_while_the_fleet_was_down_is_done_once_and_with_its_own_time() {
    let mut world = stored("retail");
    world.now += 70 * HOUR;
    world.restart();
    let expected = [(NotificationKind::PickupCode, 0), (NotificationKind::Reminder, 70 * HOUR)];
    assert_eq!(messages(&world), expected, "one reminder for both that were missed");
    world.restart();
    world.now += 10 * HOUR;
    world.restart();
    assert_eq!(
        (messages(&world), last(&world)),
        (expected.to_vec(), (OrderState::Overdue, 72 * HOUR, Some(72 * HOUR)))
    );
    let told = world.statuses("shop").len();
    world.restart();
    world.pass(200 * HOUR);
    assert_eq!((messages(&world).len(), world.statuses("shop").len()), (2, told));
}

cbor_map! {
    /// An order as a version without windows wrote it.
    struct OldOrder {
        1 => order: OrderKey,
        2 => cabinet: CabinetId,
        3 => size: Size,
        4 => category: Category,
        5 => wants: Attributes,
        7 => content: String,
        8 => state: OrderState,
        9 => since: u64,
        10 opt => compartment: Option<Compartment>,
        11 => history: Vec<OldPassed>,
        12 => notified: bool,
    }
}
cbor_map! {
    struct OldPassed { 1 => state: OrderState, 2 => at: u64 }
}

#[test]
fn an_order_that_a_version_without_windows_has_stored_gets_one() {
    let mut world = stored("retail");
    let rows = world.store.rows(ORDERS).unwrap().into_iter();
    let old = rows.map(|(key, row)| Write::put(ORDERS, key, cbor::encode(&cbor::decode::<OldOrder>(&row).unwrap())));
    world.store.commit(&old.collect::<Vec<_>>()).unwrap();
    world.restart();
    world.pass(40 * HOUR);
    world.restart();
    world.pass(40 * HOUR);
    assert_eq!((messages(&world).len(), last(&world)), (3, (OrderState::Overdue, 72 * HOUR, Some(72 * HOUR))));
}

#[test]
fn a_clock_that_goes_back_repeats_nothing() {
    let mut world = stored("retail");
    world.pass(40 * HOUR);
    world.now -= 30 * HOUR;
    world.settle();
    world.pass(50 * HOUR);
    assert_eq!(messages(&world).len(), 2);
}

#[test]
fn nobody_is_reminded_of_a_code_that_was_never_sent() {
    let mut world = World::new(&[Size::M]);
    world.put(r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail"}"#);
    world.makes_secrets = false;
    load(&mut world, "A17", 1);
    world.pass(50 * HOUR);
    assert_eq!(messages(&world), []);
    world.makes_secrets = true;
    world.pass(15 * HOUR);
    let kinds: Vec<_> = messages(&world).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [NotificationKind::PickupCode, NotificationKind::Reminder]);
}

/// A door that was opened and closed with the order inside, or a move to another compartment, gives no new window.
#[test]
fn an_order_that_stays_inside_keeps_its_window_and_one_that_was_outside_begins_another() {
    let mut world = stored("food");
    world.pass(10 * MINUTE);
    load(&mut world, "A17", 2);
    assert_eq!(last(&world), (OrderState::Stored, 10 * MINUTE, Some(30 * MINUTE)));
    let sam: schemas::ids::Name = "sam".parse().unwrap();
    world.fact(&c1(), Loading { order: order("A17"), compartment: door(2), staff: sam });
    world.fact(&c1(), LoadAborted { order: order("A17"), compartment: door(2) });
    world.pass(60 * MINUTE);
    assert_eq!(last(&world).0, OrderState::Reserved);
    load(&mut world, "A17", 1);
    assert_eq!(last(&world), (OrderState::Stored, 70 * MINUTE, Some(100 * MINUTE)));
    assert_eq!(ends_in_book(&mut world).1, Some(Some(100 * MINUTE)));
}

#[test]
fn many_orders_that_are_due_at_once_take_several_small_steps() {
    let mut world = World::new(&[Size::M; 900]);
    world.makes_secrets = false;
    for n in 0..900 {
        world.put(&format!(r#"{{"order":"A{n}","cabinet":"c1","size":"M","category":"laundry"}}"#));
        load(&mut world, &format!("A{n}"), n + 1);
    }
    world.now += 200 * HOUR;
    let mut steps = 0;
    while world.core.poll_timeout().is_some_and(|at| at <= world.now) {
        let before = world.statuses("shop").len();
        world.handle(fleet_core::Input::Tick);
        assert!(world.statuses("shop").len() <= before + 200);
        (steps, world.now) = (steps + 1, world.now + 1);
    }
    let overdue = world.statuses("shop").iter().filter(|row| row.state == OrderState::Overdue).count();
    assert!(overdue == 900 && (5..10).contains(&steps), "{overdue} in {steps} steps");
}
