//! From the order to its collection.

use fleet_core::signing::SignerRequest;
use fleet_core::{Effect, Input, STREAM};
use schemas::api::Reply;
use schemas::messages::{
    Actor, ActorCredential, BookChange, Collected, CredentialKind, DoorOpened, Loading, Retrieved, Size, Stored,
    StoredBy,
};

use schemas::step::Store as _;
use schemas::topics::Stream;

use crate::world::{World, c1, door, order, shop, tenant};

const A17: &str = r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail","recipient":{"phone":"+49 30 1"}}"#;

pub(crate) fn load(world: &mut World, id: &str, number: u16) {
    let staff: schemas::ids::Name = "sam".parse().unwrap();
    world.fact(&c1(), Loading { order: order(id), compartment: door(number), staff: staff.clone() });
    world.fact(&c1(), Stored { order: order(id), compartment: door(number), by: StoredBy::Sensor, staff });
}

/// The step of a new order, whole: the order's rows, then the cabinet's, then the order's again, each part behind
/// the intent that it takes. Only what is on disk is told.
#[test]
fn a_new_order_is_one_step_of_three_parts() {
    let mut world = World::new(&[Size::M]);
    let payload = A17.as_bytes().to_vec();
    let step = world.step(Input::OrderPut { tenant: tenant(), integration: shop(), payload });
    let writes: Vec<String> = step
        .writes
        .iter()
        .map(|write| {
            let verb = if write.value.is_some() { "put" } else { "remove" };
            let text = write.key.split(|byte| *byte == 0).next().unwrap_or_default();
            format!("{verb} {} {}", write.table.0, String::from_utf8_lossy(text))
        })
        .collect();
    assert_eq!(
        writes,
        [
            "put orders acme/shop/A17",
            "put intents cabinet/acme/c1",
            "remove intents cabinet/acme/c1",
            "put booked acme/c1/shop/A17",
            "put book acme/c1",
            "put progress acme/c1",
            "put intents order/acme/shop/A17",
            "remove intents order/acme/shop/A17",
            "put orders acme/shop/A17",
            "put stream acme/shop/status",
            "put streams acme/shop/status",
        ]
    );
    // What changes about free compartments is told on the way; the rest is in this order.
    let effects: Vec<_> = step.effects.iter().filter(|effect| !matches!(effect, Effect::Live { .. })).collect();
    assert!(matches!(
        effects.as_slice(),
        [
            Effect::Signer { request: SignerRequest::SignBook(_), .. },
            Effect::RowsGrew { stream: Stream::Status, newest: 1, .. }
        ]
    ));
}

#[test]
fn a_loaded_order_is_told_as_stored_and_its_code_is_announced_once() {
    let mut world = World::new(&[Size::S, Size::M, Size::M]);
    world.put(A17);
    assert_eq!(world.told("shop"), ["A17 reserved"]);
    load(&mut world, "A17", 2);
    assert_eq!(world.told("shop"), ["A17 reserved", "A17 loading", "A17 stored"]);
    let [notification] = world.notifications().try_into().unwrap();
    assert_eq!((notification.n, notification.compartment), (1, Some(door(2))));
    assert_eq!(notification.place, "Main Street 1");
    assert_eq!(notification.recipient.phone.as_deref(), Some("+49 30 1"));
    assert!(notification.instruction.contains("Door 2 opens"));
    assert_eq!(notification.code.len(), 8);
    assert!(notification.qr.starts_with('Q'));
    let json = br#"{"op":"order.show","order":"shop/A17"}"#;
    let Some(Reply::Order(shown)) = world.ask_raw("support:acme:sue", json) else { panic!() };
    assert!(shown.notified);
}

#[test]
fn the_code_is_announced_only_after_the_cabinet_holds_it() {
    let mut world = World::new(&[Size::M]);
    world.cabinet(&c1()).applies = false;
    world.put(A17);
    load(&mut world, "A17", 1);
    assert!(world.notifications().is_empty());
    let version = world.cabinet(&c1()).books.last().unwrap().version;
    world.apply(&c1(), version);
    assert!(world.notifications().is_empty(), "the book without the code was confirmed");
    let book = world.cabinet(&c1()).books.last().unwrap().clone();
    let kinds: Vec<_> = book
        .changes
        .iter()
        .filter_map(|change| match change {
            BookChange::PutCredential(put) => Some((put.kind, put.orders.clone(), put.expires, put.needs_time)),
            _ => None,
        })
        .collect();
    let of = |kind| (kind, vec![order("A17")], None, false);
    assert_eq!(kinds, [of(CredentialKind::Digits), of(CredentialKind::Qr)]);
    world.apply(&c1(), book.version);
    assert_eq!(world.notifications().len(), 1);
}

#[test]
fn a_collected_order_frees_its_compartment_and_its_credentials() {
    let mut world = World::new(&[Size::M]);
    world.put(A17);
    load(&mut world, "A17", 1);
    let credential = schemas::messages::CredentialId([1; 8]);
    world.fact(&c1(), DoorOpened { compartment: door(1), by: Actor::Credential(ActorCredential { id: credential }) });
    world.fact(&c1(), Collected { order: order("A17"), compartment: door(1), credential, confirmed: true });
    assert_eq!(world.told("shop"), ["A17 reserved", "A17 loading", "A17 stored", "A17 collecting", "A17 collected"]);
    let changes = world.cabinet(&c1()).books.last().unwrap().changes.clone();
    assert!(matches!(
        changes.as_slice(),
        [BookChange::DropCredential(_), BookChange::DropCredential(_), BookChange::DropOrder(_)]
    ));
    world.put(r#"{"order":"A18","cabinet":"c1","size":"M","category":"retail"}"#);
    assert_eq!(world.told("shop").last().unwrap(), "A18 reserved");
}

#[test]
fn an_unconfirmed_collection_is_told_as_such() {
    let mut world = World::new(&[Size::M]);
    world.put(A17);
    load(&mut world, "A17", 1);
    let credential = schemas::messages::CredentialId([1; 8]);
    world.fact(&c1(), Collected { order: order("A17"), compartment: door(1), credential, confirmed: false });
    assert_eq!(world.told("shop").last().unwrap(), "A17 collected_unconfirmed");
}

#[test]
fn an_order_that_staff_take_back_is_retrieved() {
    let mut world = World::new(&[Size::M]);
    world.put(A17);
    load(&mut world, "A17", 1);
    world.fact(&c1(), Retrieved { order: order("A17"), compartment: door(1), staff: "sam".parse().unwrap() });
    assert_eq!(world.told("shop").last().unwrap(), "A17 retrieved");
}

/// It holds a phone number and a sealed code, and nobody is handed it a second time.
#[test]
fn an_acknowledged_notification_leaves_the_store() {
    let mut world = World::new(&[Size::M]);
    world.put(A17);
    load(&mut world, "A17", 1);
    assert_eq!(world.notifications().len(), 1);
    let held = |world: &World| {
        world.store.rows(STREAM).unwrap().iter().filter(|(_, row)| row.windows(6).any(|part| part == b"+49 30")).count()
    };
    assert_eq!(held(&world), 1);
    world.handle(Input::RowAcked { tenant: tenant(), integration: shop(), stream: Stream::Notifications, n: 1 });
    assert_eq!(held(&world), 0);
    assert!(!world.statuses("shop").is_empty(), "statuses are kept for who asks again");
}
