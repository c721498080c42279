//! Orders that nobody is to get, and orders that a person ends because they hang.

use fleet_core::{Effect, Input};
use schemas::api::{
    Availability, ClosedAs, OrderDetail, OrderState, RejectReason, Reply, Request, RequestErrorCode, Rfc3339,
};
use schemas::messages::{
    Audited, BookChange, Collected, CredentialId, Finding, LoadAborted, Loading, Retrieved, Size, Stored, StoredBy,
    TakeBack,
};
use schemas::topics::OrderChange;

use crate::handover::load;
use crate::interrupted::{everywhere, insist};
use crate::time::{HOUR, last, stored};
use crate::world::{START, World, c1, door, order, refusal, shop, tenant};

const EVE: &str = "operator:acme:eve";
const SUE: &str = "support:acme:sue";

fn publish(world: &mut World, change: OrderChange, json: &str) -> Vec<Effect> {
    let payload = json.as_bytes().to_vec();
    world.handle(Input::OrderChange { tenant: tenant(), integration: shop(), change, payload })
}

fn quarantine(world: &mut World) {
    publish(world, OrderChange::Quarantine, r#"{"order":"A17","reason":"not cooled"}"#);
}

fn release(world: &mut World) -> Reply {
    world.ask(SUE, &Request::OrderRelease { order: order("A17"), reason: "was cooled".into() }).unwrap()
}

fn close(world: &mut World, closed_as: ClosedAs) -> Reply {
    let request = Request::OrderClose { order: order("A17"), closed_as, reason: "customer called".into() };
    world.ask(SUE, &request).unwrap()
}

fn code(reply: &Reply) -> RequestErrorCode {
    let Reply::Error(error) = reply else { panic!("{reply:?}") };
    error.code
}

fn show(world: &mut World) -> OrderDetail {
    let Some(Reply::Order(shown)) = world.ask(EVE, &Request::OrderShow { order: order("A17") }) else { panic!() };
    *shown
}

/// The newest status: order, state and reason.
fn answer(world: &World) -> String {
    world.told("shop").pop().unwrap()
}

fn dropped(world: &mut World) -> usize {
    let changes = world.cabinet(&c1()).books.iter().flat_map(|book| &book.changes);
    changes.filter(|change| matches!(change, BookChange::DropCredential(_))).count()
}

fn unwanted(world: &mut World) -> Option<TakeBack> {
    let changes = world.cabinet(&c1()).books.iter().flat_map(|book| &book.changes);
    let mut puts = changes.filter_map(|change| match change {
        BookChange::PutOrder(put) => Some(put.take_back),
        _ => None,
    });
    puts.next_back().flatten()
}

fn staff() -> schemas::ids::Name {
    "sam".parse().unwrap()
}

fn needs_a_look(world: &mut World) -> bool {
    let Some(Reply::Cabinet(shown)) = world.ask(EVE, &Request::CabinetShow { cabinet: c1() }) else { panic!() };
    shown.compartments[0].audit_required
}

#[test]
fn in_quarantine_the_code_dies_at_once_and_staff_are_to_take_the_order_out() {
    let mut world = stored("food");
    quarantine(&mut world);
    assert_eq!(answer(&world), "A17 quarantined");
    assert_eq!((dropped(&mut world), unwanted(&mut world)), (2, Some(TakeBack::Quarantined)));
    let shown = show(&mut world);
    assert!(!shown.revoke_pending, "the cabinet holds the book without it");
    let intervened = shown.intervened.unwrap();
    assert_eq!((intervened.by.as_str(), intervened.reason.as_str()), ("integration:acme:shop", "not cooled"));
    // Time brings nothing: no reminder of a code that is dead, no overdue.
    let (rows, messages) = (world.told("shop").len(), world.notifications().len());
    quarantine(&mut world);
    world.pass(HOUR);
    assert_eq!((world.told("shop").len(), world.notifications().len()), (rows, messages));
    world.fact(&c1(), Retrieved { order: order("A17"), compartment: door(1), staff: staff() });
    assert_eq!(answer(&world), "A17 retrieved");
}

#[test]
fn what_a_cabinet_has_not_heard_of_is_said_and_what_it_tells_then_wins() {
    let mut world = stored("retail");
    world.disconnect(&c1());
    quarantine(&mut world);
    assert!(show(&mut world).revoke_pending);
    world.connect(&c1());
    assert!(!show(&mut world).revoke_pending);

    let mut world = stored("retail");
    world.disconnect(&c1());
    quarantine(&mut world);
    let taken =
        Collected { order: order("A17"), compartment: door(1), credential: CredentialId([1; 8]), confirmed: true };
    world.fact(&c1(), taken);
    world.connect(&c1());
    assert_eq!(answer(&world), "A17 collected");
}

#[test]
fn a_released_order_has_another_code_and_the_end_that_it_had() {
    let mut world = stored("retail");
    let old = world.notifications().pop().unwrap();
    quarantine(&mut world);
    world.pass(HOUR);
    let Reply::Order(shown) = release(&mut world) else { panic!() };
    assert_eq!((shown.summary.state, shown.intervened), (OrderState::Stored, None));
    assert_eq!(last(&world), (OrderState::Stored, HOUR, Some(72 * HOUR)));
    let new = world.notifications().pop().unwrap();
    assert!(new.code != old.code && new.qr != old.qr && world.notifications().len() == 2);
    assert_eq!(unwanted(&mut world), None);
    world.pass(40 * HOUR);
    assert_eq!(world.notifications().pop().unwrap().code, new.code, "it is reminded of its new code");
}

#[test]
fn an_order_is_released_as_long_as_its_code_could_work() {
    let mut world = stored("retail");
    quarantine(&mut world);
    world.pass(80 * HOUR);
    assert!(matches!(release(&mut world), Reply::Order(_)));
    world.pass(1_000);
    assert_eq!((answer(&world).as_str(), world.notifications().len()), ("A17 overdue", 2));
    assert_eq!(unwanted(&mut world), Some(TakeBack::Overdue));

    let mut world = stored("food");
    quarantine(&mut world);
    world.pass(HOUR);
    assert_eq!(code(&release(&mut world)), RequestErrorCode::Conflict);
    assert_eq!(show(&mut world).summary.state, OrderState::Quarantined);
}

#[test]
fn nothing_but_a_release_gives_an_order_in_quarantine_a_code() {
    let mut world = stored("pharmacy");
    quarantine(&mut world);
    let until = Rfc3339(START + 60 * HOUR);
    for (change, json) in [
        (OrderChange::Extend, format!(r#"{{"order":"A17","until":"{until}"}}"#)),
        (OrderChange::Resend, r#"{"order":"A17"}"#.to_owned()),
        (OrderChange::Reissue, r#"{"order":"A17"}"#.to_owned()),
    ] {
        publish(&mut world, change, &json);
        assert_eq!(answer(&world), "A17 quarantined quarantined", "{json}");
    }
    world.fact(&c1(), schemas::messages::BoardHealth { board: 1, answering: false });
    world.pass(HOUR);
    world.fact(&c1(), schemas::messages::BoardHealth { board: 1, answering: true });
    assert_eq!((world.notifications().len(), unwanted(&mut world)), (1, Some(TakeBack::Quarantined)));
    // It is not where it should be, and then it is there again.
    let missing = Audited { compartment: door(1), found: Finding::Missing, order: Some(order("A17")), staff: staff() };
    world.fact(&c1(), missing);
    assert_eq!(answer(&world), "A17 disputed");
    world.fact(&c1(), Stored { order: order("A17"), compartment: door(2), by: StoredBy::Sensor, staff: staff() });
    assert_eq!((answer(&world).as_str(), world.notifications().len()), ("A17 quarantined", 1));
    world.fact(&c1(), LoadAborted { order: order("A17"), compartment: door(2) });
    assert_eq!(answer(&world), "A17 retrieved");
}

#[test]
fn only_what_is_stored_gets_into_quarantine_and_a_reason_is_a_line() {
    let mut world = World::new(&[Size::M]);
    quarantine(&mut world);
    assert_eq!(answer(&world), "A17 rejected unknown_order");
    world.put(r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail"}"#);
    quarantine(&mut world);
    assert_eq!(answer(&world), "A17 reserved no_code_yet");
    load(&mut world, "A17", 1);
    let effects = publish(&mut world, OrderChange::Quarantine, r#"{"order":"A17","reason":" "}"#);
    assert!(refusal(&effects).contains("reason is empty"));
    world.cancel(r#"{"order":"A17"}"#);
    quarantine(&mut world);
    assert_eq!(answer(&world), "A17 recalled too_late");
    let others = Request::OrderQuarantine { order: order("A17"), reason: "x".into() };
    assert_eq!(code(&world.ask("integration:acme:other", &others).unwrap()), RequestErrorCode::Unknown);
    let own = Request::OrderRelease { order: order("A17"), reason: "x".into() };
    assert_eq!(code(&world.ask("integration:acme:shop", &own).unwrap()), RequestErrorCode::Forbidden);
}

#[test]
fn an_order_that_hangs_is_ended_with_a_name_and_its_compartment_is_looked_at() {
    let mut world = stored("retail");
    world.pass(80 * HOUR);
    let alarms = world.alarms();
    let Reply::Order(shown) = close(&mut world, ClosedAs::Collected) else { panic!() };
    let intervened = shown.intervened.unwrap();
    assert_eq!((intervened.by.as_str(), intervened.reason.as_str()), (SUE, "customer called"));
    assert_eq!((answer(&world).as_str(), world.alarms()), ("A17 collected force_closed", alarms + 1));
    assert!(needs_a_look(&mut world));
    let free = |world: &mut World| {
        let asked = Request::Availability { cabinet: Some(c1()), after: None };
        let Some(Reply::Availability(page)) = world.ask(EVE, &asked) else { panic!() };
        let Availability { free, .. } = page.cabinets[0].clone();
        free.iter().map(|kind| kind.count).sum::<u32>()
    };
    assert_eq!(free(&mut world), 1, "nothing is loaded behind its door");
    let rows = world.told("shop").len();
    assert!(matches!(close(&mut world, ClosedAs::Collected), Reply::Order(_)), "the same again");
    assert_eq!(code(&close(&mut world, ClosedAs::Retrieved)), RequestErrorCode::Conflict);
    // Staff look, and what the cabinet tells of it is no news.
    let missing = Audited { compartment: door(1), found: Finding::Missing, order: Some(order("A17")), staff: staff() };
    world.fact(&c1(), missing);
    assert_eq!((world.told("shop").len(), needs_a_look(&mut world), free(&mut world)), (rows, false, 2));
}

#[test]
fn what_is_stored_after_it_was_ended_is_there_after_all() {
    let mut world = World::new(&[Size::M]);
    world.put(r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail"}"#);
    world.fact(&c1(), Loading { order: order("A17"), compartment: door(1), staff: staff() });
    assert!(matches!(close(&mut world, ClosedAs::Cancelled), Reply::Order(_)));
    assert_eq!(world.statuses("shop").pop().unwrap().reason, Some(RejectReason::ForceClosed));
    world.fact(&c1(), Stored { order: order("A17"), compartment: door(1), by: StoredBy::Sensor, staff: staff() });
    assert_eq!((answer(&world).as_str(), world.notifications().len()), ("A17 recalled", 0));
    world.fact(&c1(), Retrieved { order: order("A17"), compartment: door(1), staff: staff() });
    assert_eq!(answer(&world), "A17 retrieved");
}

/// Support has let its recipient in, and no sensor tells that it is gone.
#[test]
fn a_stored_order_that_was_handed_over_by_hand_is_ended_and_its_compartment_looked_at() {
    let mut world = stored("retail");
    assert_eq!(
        code(&close(&mut world, ClosedAs::Cancelled)),
        RequestErrorCode::Conflict,
        "it would never be taken out"
    );
    assert!(matches!(close(&mut world, ClosedAs::Collected), Reply::Order(_)));
    assert_eq!(answer(&world), "A17 collected force_closed");
    assert!(needs_a_look(&mut world));
}

#[test]
fn what_does_not_hang_is_not_ended() {
    let mut world = World::new(&[Size::M]);
    world.put(r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail"}"#);
    assert_eq!(code(&close(&mut world, ClosedAs::Collected)), RequestErrorCode::Conflict, "it can be cancelled");
    load(&mut world, "A17", 1);
    quarantine(&mut world);
    assert!(matches!(close(&mut world, ClosedAs::Retrieved), Reply::Order(_)));
    assert_eq!(answer(&world), "A17 retrieved force_closed");
    world.pass(100 * HOUR);
    assert_eq!(answer(&world), "A17 retrieved force_closed", "its window is over");
}

fn story(world: &mut World) {
    let steps: [fn(&mut World); 3] = [
        quarantine,
        |world| drop(world.ask(SUE, &Request::OrderRelease { order: order("A17"), reason: "fine".into() })),
        quarantine,
    ];
    for step in steps {
        insist(world, step);
    }
}

#[test]
fn a_quarantine_that_was_cut_between_order_and_cabinet_converges() {
    let check = |world: &mut World, what: &str| {
        assert_eq!(show(world).summary.state, OrderState::Quarantined, "{what}");
        assert_eq!(unwanted(world), Some(TakeBack::Quarantined), "{what}");
        assert_eq!(world.notifications().len(), 2, "{what}");
        assert!(!show(world).revoke_pending, "{what}");
    };
    let tried = everywhere(|| stored("retail"), story, check);
    assert!(tried.cuts >= 6, "{tried:?}");
}
