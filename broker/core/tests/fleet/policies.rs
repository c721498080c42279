//! Policies of time: versions, previews, and what they do to orders that are stored already.

use schemas::api::{Grace, Minutes, OrderState, Percent, Policies, PolicyChange, Reply, Request, RequestErrorCode};
use schemas::messages::{Category, Size};

use crate::handover::load;
use crate::time::{HOUR, MINUTE, ends_in_book, last, messages, stored};
use crate::world::{World, order};

const EVE: &str = "operator:acme:eve";

fn minutes(minutes: u32) -> Minutes {
    Minutes::new(minutes).unwrap()
}

/// The defaults with another window for retail.
fn retail(hours: u32) -> Policies {
    let mut policies = Policies::default();
    policies.retail.window_minutes = minutes(hours * 60);
    policies
}

fn put(world: &mut World, replaces: u64, policies: Policies, live: bool) -> Result<u64, RequestErrorCode> {
    let request = Request::PolicyPut { replaces, policies: Box::new(policies), live };
    match world.ask(EVE, &request) {
        Some(Reply::Policy(detail)) => Ok(detail.version),
        Some(Reply::Error(error)) => Err(error.code),
        other => panic!("{other:?}"),
    }
}

fn preview(world: &mut World, policies: Policies) -> Vec<PolicyChange> {
    match world.ask(EVE, &Request::PolicyPreview { policies: Box::new(policies) }) {
        Some(Reply::PolicyPreview(changes)) => changes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tenant_begins_with_the_defaults_and_keeps_what_an_operator_puts() {
    let mut world = World::new(&[Size::M]);
    let show = |world: &mut World, by: &str| match world.ask(by, &Request::PolicyShow {}) {
        Some(Reply::Policy(detail)) => *detail,
        other => panic!("{other:?}"),
    };
    let first = show(&mut world, "auditor:acme:ada");
    assert_eq!((first.version, first.by, &first.policies), (0, None, &Policies::default()));
    assert_eq!(put(&mut world, 0, retail(48), false), Ok(1));
    world.restart();
    let kept = show(&mut world, EVE);
    assert_eq!((kept.version, kept.by.unwrap().to_string().as_str(), kept.policies), (1, EVE, retail(48)));
    assert_eq!(show(&mut world, "operator:umbra:max").version, 0);
}

#[test]
fn policies_that_were_made_from_an_older_version_are_a_conflict_and_the_same_again_is_not() {
    let mut world = World::new(&[Size::M]);
    assert_eq!(put(&mut world, 1, retail(48), false), Err(RequestErrorCode::Conflict));
    assert_eq!(put(&mut world, 0, retail(48), false), Ok(1));
    let before = world.store.clone();
    assert_eq!(put(&mut world, 0, retail(48), false), Ok(1), "its answer was lost");
    assert_eq!(put(&mut world, 0, retail(24), false), Err(RequestErrorCode::Conflict));
    assert!(world.store == before);
    assert_eq!(put(&mut world, 1, retail(24), false), Ok(2));
}

#[test]
fn policies_that_contradict_themselves_are_refused_in_a_put_and_in_a_preview() {
    let mut world = World::new(&[Size::M]);
    let mut bad = Policies::default();
    bad.food.pauses = true;
    for request in [
        Request::PolicyPut { replaces: 0, policies: Box::new(bad.clone()), live: false },
        Request::PolicyPreview { policies: Box::new(bad) },
    ] {
        let Some(Reply::Error(error)) = world.ask(EVE, &request) else { panic!("{request:?} was taken") };
        assert_eq!((error.code, error.message.starts_with("food: pauses")), (RequestErrorCode::Malformed, true));
    }
    let unknown = serde_json::to_string(&Request::PolicyPreview { policies: Box::default() }).unwrap();
    let unknown = unknown.replacen("window_minutes", "windows_minutes", 1);
    let Some(Reply::Error(error)) = world.ask_raw(EVE, unknown.as_bytes()) else { panic!() };
    assert!(error.message.contains("`windows_minutes`"), "{}", error.message);
}

#[test]
fn a_stored_order_keeps_its_window_and_the_next_one_gets_the_new_one() {
    let mut world = stored("retail");
    put(&mut world, 0, retail(48), false).unwrap();
    world.put(r#"{"order":"B1","cabinet":"c1","size":"M","category":"retail"}"#);
    load(&mut world, "B1", 2);
    assert_eq!(last(&world), (OrderState::Stored, 0, Some(48 * HOUR)));
    world.pass(72 * HOUR);
    assert_eq!(world.told("shop")[6..], ["B1 overdue", "A17 overdue"]);
}

#[test]
fn a_preview_counts_what_a_live_put_then_does() {
    let mut world = World::new(&[Size::M; 40]);
    for n in 1..=30 {
        let category = if n > 25 { "laundry" } else { "retail" };
        world.put(&format!(r#"{{"order":"A{n:02}","cabinet":"c1","size":"M","category":"{category}"}}"#));
        load(&mut world, &format!("A{n:02}"), n);
    }
    world.pass(50 * HOUR);
    let before = world.store.clone();
    let changes = preview(&mut world, retail(48));
    let first = (1..=20).map(|n| order(&format!("A{n:02}"))).collect();
    assert_eq!(changes, [PolicyChange { category: Category::Retail, orders: 25, overdue: 25, first }]);
    assert_eq!(preview(&mut world, Policies::default()), []);
    assert!(world.store == before, "a preview left rows");
    assert_eq!(
        preview(&mut world, retail(60)).iter().map(|one| (one.orders, one.overdue)).collect::<Vec<_>>(),
        [(25, 0)]
    );
    put(&mut world, 0, retail(48), true).unwrap();
    world.pass(MINUTE);
    let overdue: Vec<_> = world.statuses("shop").into_iter().filter(|row| row.state == OrderState::Overdue).collect();
    assert_eq!(overdue.len(), 25);
    assert_eq!(preview(&mut world, retail(48)), [], "it was done");
}

#[test]
fn a_longer_window_for_live_orders_takes_overdue_ones_back_and_repeats_no_reminder() {
    let mut world = stored("retail");
    world.pass(80 * HOUR);
    assert_eq!((last(&world).0, messages(&world).len()), (OrderState::Overdue, 3));
    put(&mut world, 0, retail(100), true).unwrap();
    assert_eq!(last(&world), (OrderState::Stored, 80 * HOUR, Some(100 * HOUR)));
    world.pass(20 * HOUR);
    let times: Vec<_> = messages(&world).into_iter().map(|(_, at)| at / HOUR).collect();
    assert_eq!(times, [0, 36, 64, 90], "half of the longer window was over already");
    assert_eq!(last(&world), (OrderState::Overdue, 100 * HOUR, Some(100 * HOUR)));
}

#[test]
fn another_grace_for_live_orders_reaches_the_book_and_an_extended_end_stays() {
    let mut world = stored("retail");
    let until = schemas::api::Rfc3339(crate::world::START + 90 * HOUR);
    let extend = Request::OrderExtend { order: order("A17"), until };
    assert_eq!(world.ask(EVE, &extend), Some(Reply::Done));
    let mut policies = retail(48);
    policies.retail.grace = Grace::Minutes(minutes(120));
    policies.retail.needs_time = true;
    policies.retail.reminders_percent = vec![Percent::new(10).unwrap()];
    let told = world.told("shop").len();
    put(&mut world, 0, policies, true).unwrap();
    assert_eq!(ends_in_book(&mut world), (4, Some(Some(92 * HOUR))));
    assert_eq!(world.told("shop").len(), told, "its end has not moved");
    world.pass(90 * HOUR);
    assert_eq!((last(&world).0, messages(&world).len()), (OrderState::Overdue, 3), "with the reminders that it had");
}

#[test]
fn moving_many_stored_orders_takes_small_steps_and_goes_on_after_a_restart() {
    let mut world = World::new(&[Size::M; 700]);
    world.makes_secrets = false;
    for n in 0..700 {
        world.put(&format!(r#"{{"order":"A{n}","cabinet":"c1","size":"M","category":"retail"}}"#));
        load(&mut world, &format!("A{n}"), n + 1);
    }
    let moved = |world: &World| {
        let moved = Some(schemas::api::Rfc3339(crate::world::START + 100 * HOUR));
        world.statuses("shop").iter().filter(|row| row.until == moved).count()
    };
    put(&mut world, 0, retail(100), true).unwrap();
    assert_eq!(moved(&world), 200);
    assert_eq!(put(&mut world, 1, retail(101), false), Err(RequestErrorCode::Conflict), "the first is not done yet");
    world.now += 1;
    world.handle(fleet_core::Input::Tick);
    assert_eq!(moved(&world), 400);
    world.restart();
    world.pass(10);
    assert_eq!(moved(&world), 700);
    world.restart();
    assert_eq!((moved(&world), put(&mut world, 1, retail(101), false)), (700, Ok(2)));
}

/// What moves no end is a change of an order all the same.
#[test]
fn a_preview_names_orders_that_get_other_reminders_or_need_a_known_time() {
    let mut world = stored("retail");
    let mut stricter = Policies::default();
    stricter.retail.needs_time = true;
    let mut quieter = Policies::default();
    quieter.retail.reminders_percent.clear();
    for policies in [stricter, quieter] {
        let changes = preview(&mut world, policies);
        let found: Vec<_> = changes.iter().map(|one| (one.category, one.orders, one.overdue)).collect();
        assert_eq!(found, [(Category::Retail, 1, 0)]);
    }
}
