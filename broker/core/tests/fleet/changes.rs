//! A backend changes an order that it has put.

use fleet_core::{Effect, Input};
use schemas::api::{OrderState, Reply, Request, RequestErrorCode, Status};
use schemas::messages::{BookChange, Category, Collected, CredentialId, Loading, PutOrder, Size};
use schemas::topics::OrderChange;

use crate::handover::load;
use crate::interrupted::{everywhere, insist};
use crate::time::{HOUR, stored};
use crate::world::{World, c1, door, order, refusal, shop, tenant};

fn change(world: &mut World, json: &str) -> Vec<Effect> {
    let payload = json.as_bytes().to_vec();
    world.handle(Input::OrderChange { tenant: tenant(), integration: shop(), change: OrderChange::Content, payload })
}

/// `A17` with these fields changed.
fn a17(world: &mut World, fields: &str) {
    change(world, &format!(r#"{{"order":"A17","change":{{{fields}}}}}"#));
}

fn put(world: &mut World, id: &str, size: &str) {
    world.put(&format!(
        r#"{{"order":"{id}","cabinet":"c1","size":"{size}","category":"retail","recipient":{{"phone":"1"}}}}"#
    ));
}

fn last(world: &World) -> Status {
    world.statuses("shop").pop().unwrap()
}

/// State, compartment and reason of the newest status.
fn answer(world: &World) -> String {
    let last = last(world);
    let door = last.compartment.map_or_else(String::new, |door| format!(" in {door}"));
    let reason = last.reason.map_or_else(String::new, |reason| format!(": {reason}"));
    format!("{}{door}{reason}", last.state)
}

/// What the cabinet was told last of an order.
fn in_book(world: &mut World, id: &str) -> Option<PutOrder> {
    let changes = world.cabinet(&c1()).books.iter().flat_map(|book| &book.changes);
    let mut about = changes.filter_map(|change| match change {
        BookChange::PutOrder(put) if put.order == order(id) => Some(Some(put.clone())),
        BookChange::DropOrder(drop) if drop.order == order(id) => Some(None),
        _ => None,
    });
    about.next_back().flatten()
}

fn content(world: &mut World) -> String {
    let Some(Reply::Order(shown)) = world.ask("operator:acme:eve", &Request::OrderShow { order: order("A17") }) else {
        panic!()
    };
    shown.content.unwrap()
}

#[test]
fn a_larger_size_moves_the_reservation_and_frees_the_old_compartment() {
    let mut world = World::new(&[Size::S, Size::L]);
    put(&mut world, "A17", "S");
    let before = content(&mut world);
    a17(&mut world, r#""size":"L""#);
    assert_eq!(answer(&world), "reserved in 2");
    let now = content(&mut world);
    assert_eq!(last(&world).content, Some([before.clone(), now.clone()]));
    assert!(before != now);
    let booked = in_book(&mut world, "A17").unwrap();
    assert_eq!((booked.size, booked.reserved), (Size::L, Some(door(2))));
    put(&mut world, "A18", "S");
    assert_eq!(answer(&world), "reserved in 1");
}

#[test]
fn a_smaller_size_gives_the_large_compartment_to_whoever_waits_for_it() {
    let mut world = World::new(&[Size::S, Size::L]);
    put(&mut world, "A17", "L");
    world.pass(HOUR);
    put(&mut world, "A18", "L");
    assert_eq!(answer(&world), "reserved in 2", "A17 held it for longer than its time");
    a17(&mut world, r#""size":"S""#);
    assert_eq!(
        world.told("shop").split_off(3),
        ["A17 ready", "A17 reserved"],
        "no more than its turn to wait has ended"
    );
    assert_eq!(last(&world).compartment, Some(door(1)));
    assert_eq!(in_book(&mut world, "A17").unwrap().reserved, Some(door(1)));
}

#[test]
fn where_there_is_no_room_everything_stays_as_it_was() {
    let mut world = World::new(&[Size::S, Size::S]);
    put(&mut world, "A17", "S");
    let before = content(&mut world);
    let booked = in_book(&mut world, "A17");
    a17(&mut world, r#""size":"XL","recipient":{"phone":"2"}"#);
    assert_eq!(answer(&world), "reserved in 1: no_fitting_compartment");
    assert_eq!((content(&mut world), in_book(&mut world, "A17")), (before, booked));
    load(&mut world, "A17", 1);
    assert_eq!(world.notifications()[0].recipient.phone.as_deref(), Some("1"));
}

#[test]
fn an_attribute_and_a_category_follow_where_its_compartment_has_them() {
    let mut world = World::new(&[Size::M, Size::M]);
    world.disconnect(&c1());
    world.cabinet(&c1()).attributes.refrigerated = true;
    world.connect(&c1());
    put(&mut world, "A17", "M");
    a17(&mut world, r#""wants":{"refrigerated":true},"category":"food""#);
    assert_eq!(answer(&world), "reserved in 1");
    let booked = in_book(&mut world, "A17").unwrap();
    assert!(booked.wants.refrigerated && booked.category == Category::Food);
    load(&mut world, "A17", 1);
    assert_eq!(last(&world).until.unwrap().0 - last(&world).at.0, 2 * HOUR, "as cooled food");
}

#[test]
fn what_its_own_compartment_is_good_for_stays_there() {
    let mut world = World::new(&[Size::M, Size::M]);
    put(&mut world, "A16", "M");
    put(&mut world, "A17", "M");
    world.cancel(r#"{"order":"A16"}"#);
    a17(&mut world, r#""size":"S""#);
    assert_eq!(answer(&world), "reserved in 2", "a move to an equal compartment helps nobody");
}

#[test]
fn the_same_change_again_is_nothing_and_one_for_another_content_is_refused() {
    let mut world = World::new(&[Size::M, Size::L]);
    put(&mut world, "A17", "M");
    let first = content(&mut world);
    let one = format!(r#"{{"order":"A17","replaces":"{first}","change":{{"size":"L"}}}}"#);
    change(&mut world, &one);
    let (rows, second) = (world.told("shop").len(), content(&mut world));
    change(&mut world, &one);
    assert_eq!(world.told("shop").len(), rows, "repeated, as a publisher does that was not acknowledged");
    change(&mut world, &format!(r#"{{"order":"A17","replaces":"{first}","change":{{"size":"S"}}}}"#));
    assert_eq!(answer(&world), "reserved in 2: other_content");
    assert_eq!(last(&world).content, Some([second.clone(), first]));
    change(&mut world, &format!(r#"{{"order":"A17","replaces":"{second}","change":{{"size":"S"}}}}"#));
    assert_eq!(answer(&world), "reserved in 1");
    // A put of what the order is now is a repetition, one of what it was is not.
    let rows = world.told("shop").len();
    put(&mut world, "A17", "S");
    assert_eq!(world.told("shop").len(), rows);
    put(&mut world, "A17", "M");
    assert_eq!(answer(&world), "rejected: other_content");
}

#[test]
fn an_order_that_is_not_ready_any_more_gives_its_compartment_back_until_it_is() {
    let mut world = World::new(&[Size::M]);
    put(&mut world, "A17", "M");
    a17(&mut world, r#""ready":false"#);
    assert_eq!(answer(&world), "created");
    assert_eq!(in_book(&mut world, "A17"), None);
    put(&mut world, "A18", "M");
    assert_eq!(answer(&world), "reserved in 1");
    world.cancel(r#"{"order":"A18"}"#);
    a17(&mut world, r#""size":"S","ready":true"#);
    assert_eq!(answer(&world), "reserved in 1");
    assert_eq!(in_book(&mut world, "A17").unwrap().size, Size::S);
}

#[test]
fn once_it_is_loaded_only_the_recipient_may_be_another() {
    let mut world = World::new(&[Size::M, Size::M]);
    put(&mut world, "A17", "M");
    let staff: schemas::ids::Name = "sam".parse().unwrap();
    world.fact(&c1(), Loading { order: order("A17"), compartment: door(1), staff });
    for fields in [r#""size":"L""#, r#""category":"food""#, r#""ready":false"#, r#""hold_minutes":90"#] {
        a17(&mut world, fields);
        assert_eq!(answer(&world), "loading in 1: too_late", "{fields}");
    }
    a17(&mut world, r#""recipient":{"phone":"2"},"size":"M""#);
    assert_eq!((answer(&world).as_str(), last(&world).content.is_some()), ("loading in 1", true));
    load(&mut world, "A17", 1);
    let told = world.notifications();
    assert_eq!((told.len(), told[0].recipient.phone.as_deref()), (1, Some("2")));
    a17(&mut world, r#""size":"L""#);
    assert_eq!(answer(&world), "stored in 1: too_late");
}

#[test]
fn another_number_after_the_code_went_out_brings_another_code_and_the_old_one_dies() {
    let mut world = stored("retail");
    let old = world.notifications().pop().unwrap();
    a17(&mut world, r#""recipient":{"phone":"2"}"#);
    let new = world.notifications().pop().unwrap();
    assert_eq!((world.notifications().len(), new.recipient.phone.as_deref()), (2, Some("2")));
    assert!(new.code != old.code && new.qr != old.qr);
    let held = world.cabinet(&c1()).books.iter().flat_map(|book| &book.changes);
    let generations = held.filter_map(|change| match change {
        BookChange::PutCredential(put) => Some(put.generation),
        _ => None,
    });
    assert_eq!(generations.max(), Some(2), "a cabinet keeps the newest alone");
    // The language is no contact.
    a17(&mut world, r#""recipient":{"phone":"2","language":"de"}"#);
    assert_eq!((answer(&world).as_str(), world.notifications().len()), ("stored in 1", 2));
}

#[test]
fn a_number_changed_before_the_cabinet_holds_the_code_gets_that_code() {
    let mut world = World::new(&[Size::M]);
    put(&mut world, "A17", "M");
    world.makes_secrets = false;
    load(&mut world, "A17", 1);
    a17(&mut world, r#""recipient":{"email":"kim@example.com"}"#);
    world.makes_secrets = true;
    world.pass(HOUR);
    let told = world.notifications();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].recipient.phone.as_deref(), told[0].recipient.email.as_deref()),
        (None, Some("kim@example.com"))
    );
}

#[test]
fn a_number_that_changes_too_often_or_too_late_is_refused_and_stays() {
    let mut world = stored("retail");
    for n in 0..20 {
        a17(&mut world, &format!(r#""recipient":{{"phone":"n{n}"}}"#));
        assert_eq!(answer(&world), "stored in 1");
    }
    a17(&mut world, r#""recipient":{"phone":"once more"}"#);
    assert_eq!(answer(&world), "stored in 1: too_often");
    assert_eq!(world.notifications().pop().unwrap().recipient.phone.as_deref(), Some("n19"));

    let mut world = stored("food");
    world.pass(HOUR);
    a17(&mut world, r#""recipient":{"phone":"2"}"#);
    assert_eq!(answer(&world), "overdue in 1: too_late", "its code has ended");
    world.fact(
        &c1(),
        Collected { order: order("A17"), compartment: door(1), credential: CredentialId([1; 8]), confirmed: true },
    );
    a17(&mut world, r#""recipient":{"phone":"2"}"#);
    assert_eq!(answer(&world), "collected in 1: too_late");
}

#[test]
fn a_change_that_cannot_be_meant_is_refused_with_a_reason() {
    let mut world = World::new(&[Size::M]);
    put(&mut world, "A17", "M");
    let long = format!(r#"{{"order":"A17","change":{{"recipient":{{"phone":"{}"}}}}}}"#, "1".repeat(129));
    for (json, said) in [
        (r#"{"order":"A17","change":{}}"#, "names nothing"),
        (r#"{"order":"A17","change":{"size":"m"}}"#, "none of S, M, L, XL"),
        (r#"{"order":"A17","change":{"cabinet":"c2"}}"#, "unknown field `cabinet`"),
        (long.as_str(), "longer than 128"),
    ] {
        assert!(refusal(&change(&mut world, json)).contains(said), "{json}");
    }
    change(&mut world, r#"{"order":"A18","change":{"size":"S"}}"#);
    assert_eq!(answer(&world), "rejected: unknown_order");
}

#[test]
fn people_are_answered_with_the_order_as_it_is_then() {
    let mut world = World::new(&[Size::S, Size::L]);
    put(&mut world, "A17", "S");
    let ask = |world: &mut World, by: &str, change: &str| {
        world
            .ask_raw(by, format!(r#"{{"op":"order.change","order":"shop/A17","change":{change}}}"#).as_bytes())
            .unwrap()
    };
    let Reply::Order(shown) = ask(&mut world, "support:acme:sue", r#"{"size":"L"}"#) else { panic!() };
    assert_eq!((shown.size, shown.summary.state), (Size::L, OrderState::Reserved));
    assert_eq!(shown.content, Some(content(&mut world)));
    for (by, change, code) in [
        ("integration:acme:shop", r#"{"size":"XL"}"#, RequestErrorCode::Refused),
        ("integration:acme:other", r#"{"size":"S"}"#, RequestErrorCode::Unknown),
        ("operator:acme:eve", "{}", RequestErrorCode::Malformed),
        ("technician:acme:tom", r#"{"size":"S"}"#, RequestErrorCode::Forbidden),
    ] {
        let Reply::Error(error) = ask(&mut world, by, change) else { panic!("{by} {change}") };
        assert_eq!(error.code, code, "{by} {change}: {error:?}");
    }
}

fn story(world: &mut World) {
    for fields in [r#""size":"L""#, r#""ready":false"#, r#""ready":true,"size":"M""#, r#""wants":{"accessible":true}"#]
    {
        insist(world, |world| {
            a17(world, fields);
        });
    }
}

#[test]
fn a_change_that_was_cut_between_order_and_cabinet_converges() {
    let begin = || {
        let mut world = World::new(&[Size::M, Size::L]);
        put(&mut world, "A17", "M");
        world
    };
    let check = |world: &mut World, what: &str| {
        assert_eq!(answer(world), "reserved in 1: no_fitting_compartment", "{what}");
        let booked = in_book(world, "A17").unwrap();
        assert_eq!((booked.size, booked.reserved), (Size::M, Some(door(1))), "{what}");
        put(world, "A18", "L");
        assert_eq!(answer(world), "reserved in 2", "{what}: nothing is kept twice");
    };
    let tried = everywhere(begin, story, check);
    assert!(tried.cuts >= 6, "{tried:?}");
}
