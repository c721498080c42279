//! How much one integration may ask for, and that it is its own affair.

use fleet_core::{Config, QUOTAS};
use schemas::api::{QuotaDetail, QuotaLimits, QuotaOverrides, Reply, Request, RequestErrorCode};
use schemas::messages::Size;

use crate::handover::load;
use crate::world::{FakeCabinet, World, c1};

const EVE: &str = "operator:acme:eve";
const MINUTE: u64 = 60_000;

fn world(quota: QuotaLimits) -> World {
    let mut world = World::with(Config { quota, ..Config::default() });
    world.add(FakeCabinet::new("c1", &[Size::S; 12]));
    world.connect(&c1());
    world
}

fn limits(per_minute: u32, per_day: u32, open: u32, requests: u32) -> QuotaLimits {
    QuotaLimits {
        orders_per_minute: per_minute,
        orders_per_day: per_day,
        open_orders: open,
        requests_per_minute: requests,
    }
}

fn put(world: &mut World, integration: &str, id: &str) -> String {
    world.put_as(integration, &format!(r#"{{"order":"{id}","cabinet":"c1","size":"S","category":"retail"}}"#));
    world.told(integration).pop().unwrap()
}

fn quota(world: &mut World, set: Option<QuotaOverrides>) -> QuotaDetail {
    let request = Request::IntegrationQuota { integration: "shop".parse().unwrap(), limits: set };
    match world.ask(EVE, &request) {
        Some(Reply::Quota(detail)) => detail,
        other => panic!("{other:?}"),
    }
}

#[test]
fn orders_beyond_the_minute_are_rejected_and_put_again_later_they_are_taken() {
    let mut world = world(limits(3, 100, 100, 100));
    for id in ["A1", "A2", "A3"] {
        assert_eq!(put(&mut world, "shop", id), format!("{id} reserved"));
    }
    assert_eq!(put(&mut world, "shop", "A4"), "A4 rejected quota");
    // The same order again is none.
    assert_eq!(put(&mut world, "shop", "A1"), "A4 rejected quota");
    assert_eq!(world.told("shop").len(), 4);
    // Somebody else has a minute of his own.
    assert_eq!(put(&mut world, "kiosk", "A4"), "A4 reserved");
    world.pass(MINUTE / 3);
    assert_eq!(put(&mut world, "shop", "A4"), "A4 reserved");
    assert_eq!(put(&mut world, "shop", "A5"), "A5 rejected quota");
    assert_eq!(quota(&mut world, None).orders_refused, 2);
}

#[test]
fn a_day_is_counted_beside_the_minutes() {
    let mut world = world(limits(2, 4, 100, 100));
    let mut taken = 0;
    for n in 0..20 {
        taken += u32::from(put(&mut world, "shop", &format!("A{n}")).ends_with("reserved"));
        world.pass(MINUTE);
    }
    assert_eq!(taken, 4, "of the day");
    world.pass(24 * 60 * MINUTE);
    assert_eq!(put(&mut world, "shop", "B1"), "B1 reserved");
}

#[test]
fn open_orders_are_those_that_are_not_over() {
    let mut world = world(limits(100, 100, 2, 100));
    put(&mut world, "shop", "A1");
    assert_eq!(put(&mut world, "shop", "A2"), "A2 reserved");
    assert_eq!(put(&mut world, "shop", "A3"), "A3 rejected quota");
    assert_eq!(quota(&mut world, None).open_orders, 2);
    load(&mut world, "A1", 1);
    assert_eq!(put(&mut world, "shop", "A3"), "A3 rejected quota", "what is in a compartment is open");
    world.cancel(r#"{"order":"A2"}"#);
    assert_eq!(put(&mut world, "shop", "A3"), "A3 reserved");
    // The count follows from the orders, also when it is made anew.
    world.restart();
    world.connect(&c1());
    assert_eq!(put(&mut world, "shop", "A4"), "A4 rejected quota");
    assert_eq!(quota(&mut world, None).open_orders, 2);
    world.cancel(r#"{"order":"A3"}"#);
    world.put(r#"{"order":"A5","cabinet":"c1","size":"S","category":"retail","ready":false}"#);
    assert_eq!(quota(&mut world, None).open_orders, 2);
    // It has its place already: to say that it is ready takes none.
    assert_eq!(put(&mut world, "shop", "A5"), "A5 reserved");
    // One that found no compartment is over.
    world.cancel(r#"{"order":"A5"}"#);
    world.put(r#"{"order":"A6","cabinet":"c9","size":"S","category":"retail"}"#);
    assert_eq!(world.told("shop").pop().unwrap(), "A6 rejected unknown_cabinet");
    assert_eq!(quota(&mut world, None).open_orders, 1);
}

#[test]
fn an_operator_gives_one_integration_limits_that_outlive_a_restart() {
    let mut world = world(limits(100, 100, 100, 100));
    let own = QuotaOverrides { orders_per_minute: Some(1), ..QuotaOverrides::default() };
    let detail = quota(&mut world, Some(own));
    assert_eq!((detail.own, detail.limits), (true, limits(1, 100, 100, 100)));
    world.restart();
    world.connect(&c1());
    put(&mut world, "shop", "A1");
    assert_eq!(put(&mut world, "shop", "A2"), "A2 rejected quota");
    put(&mut world, "kiosk", "A1");
    assert_eq!(put(&mut world, "kiosk", "A2"), "A2 reserved");
    // The later ones replace all of the earlier ones.
    let own = QuotaOverrides { open_orders: Some(5), ..QuotaOverrides::default() };
    assert_eq!(quota(&mut world, Some(own)).limits, limits(100, 100, 5, 100));
    assert_eq!(put(&mut world, "shop", "A2"), "A2 reserved");
    let detail = quota(&mut world, Some(QuotaOverrides::default()));
    assert_eq!((detail.own, detail.limits, world.row_count(QUOTAS)), (false, limits(100, 100, 100, 100), 0));
    // Nothing at all is a limit, too.
    quota(&mut world, Some(QuotaOverrides { open_orders: Some(0), ..QuotaOverrides::default() }));
    assert_eq!(put(&mut world, "shop", "A9"), "A9 rejected quota");
}

#[test]
fn an_integration_that_asks_too_often_is_told_so_and_nobody_else_is() {
    let mut world = world(limits(100, 100, 100, 3));
    let list = Request::OrderList { cabinet: None, overdue: false };
    for _ in 0..3 {
        assert!(matches!(world.ask("integration:acme:shop", &list), Some(Reply::Orders(_))));
    }
    let Some(Reply::Error(error)) = world.ask("integration:acme:shop", &list) else { panic!("it was answered") };
    assert_eq!(
        (error.code, error.message.as_str()),
        (RequestErrorCode::Unavailable, "quota: more than 3 requests in a minute")
    );
    // What cannot be read counts, too.
    assert!(
        matches!(world.ask_raw("integration:acme:shop", b"{"), Some(Reply::Error(error)) if error.message.contains("quota"))
    );
    for _ in 0..3 {
        assert!(matches!(world.ask("integration:acme:kiosk", &list), Some(Reply::Orders(_))));
    }
    for _ in 0..10 {
        assert!(matches!(world.ask(EVE, &list), Some(Reply::Orders(_))), "people have no quota");
    }
    assert_eq!(quota(&mut world, None).requests_refused, 2);
    world.pass(MINUTE / 3);
    assert!(matches!(world.ask("integration:acme:shop", &list), Some(Reply::Orders(_))));
}
