//! Sites: their clocks in messages, and windows that end while people get in.

use fleet_core::{Effect, FleetCore, Input, OpenError};
use schemas::api::{
    NotificationKind, OrderState, Policies, Reply, Request, RequestErrorCode, Rfc3339, Scope, SiteDetail,
};
use schemas::ids::CabinetId;
use schemas::messages::{BoardHealth, Loading, Size, Stored, StoredBy};
use schemas::step::{Store as _, Table, Write};
use schemas::topics::OrderChange;

use crate::handover::load;
use crate::interrupted::{everywhere, insist, survived};
use crate::time::{HOUR, MINUTE, ends_in_book, last, messages};
use crate::world::{FakeCabinet, START, World, c1, door, order, shop, tenant, who};

const EVE: &str = "operator:acme:eve";
const SITES: Table = Table("sites");
/// The world begins on a Sunday at 21:15 there.
const BERLIN: &str = r#""zone":"Europe/Berlin","hours":"mo-fr 07:00-20:00, sa 08:00-18:00""#;
/// From then on, the Thursday at 20:00: 72 hours later it is a quarter past nine in the evening.
const THURSDAY: u64 = 94 * HOUR + 45 * MINUTE;

fn set(world: &mut World, site: &str, fields: &str) -> Result<SiteDetail, RequestErrorCode> {
    let request = format!(r#"{{"op":"site.set","site":"{site}",{fields}}}"#);
    match world.ask_raw(EVE, request.as_bytes()) {
        Some(Reply::Site(detail)) => Ok(*detail),
        Some(Reply::Error(error)) => Err(error.code),
        other => panic!("{other:?}"),
    }
}

/// An order that was stored when its site had these settings.
fn stored_at(fields: &str, category: &str) -> World {
    let mut world = World::new(&[Size::M, Size::M]);
    set(&mut world, "mall", fields).unwrap();
    world.put(&format!(r#"{{"order":"A17","cabinet":"c1","size":"M","category":"{category}"}}"#));
    load(&mut world, "A17", 1);
    world
}

fn ends(world: &World) -> Option<u64> {
    last(world).2
}

fn show(world: &mut World) -> SiteDetail {
    match world.ask("technician:acme:tom", &Request::SiteShow { site: "mall".parse().unwrap() }) {
        Some(Reply::Site(detail)) => *detail,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_site_keeps_what_an_operator_says_of_it_and_who_it_was() {
    let mut world = World::new(&[Size::M]);
    let bare = show(&mut world);
    assert_eq!((bare.zone, bare.hours.is_always(), bare.open, bare.by), (None, true, true, None));
    set(&mut world, "mall", BERLIN).unwrap();
    let before = world.store.clone();
    set(&mut world, "mall", r#""zone":"europe/berlin""#).unwrap();
    assert!(world.store == before, "said a second time, it was written again");
    set(&mut world, "mall", r#""closed":["2026-12-25"]"#).unwrap();
    world.restart();
    let kept = show(&mut world);
    assert_eq!(kept.zone.map(|zone| zone.to_string()).as_deref(), Some("Europe/Berlin"));
    assert_eq!(kept.hours.to_string(), "mo-fr 07:00-20:00, sa 08:00-18:00");
    assert_eq!(kept.closed.iter().map(|date| date.to_string()).collect::<Vec<_>>(), ["2026-12-25"]);
    assert_eq!((kept.open, kept.local.as_deref()), (false, Some("2026-11-22 21:15 CET")));
    assert_eq!((kept.by, kept.at, kept.cabinets), (Some(who(EVE)), Some(Rfc3339(START)), 1));
    let again = set(&mut world, "mall", r#""hours":"always","closed":[]"#).unwrap();
    assert_eq!((again.open, again.closed.is_empty(), again.zone.is_some()), (true, true, true));
}

#[test]
fn what_is_no_site_or_zone_is_refused_with_a_way_out_and_leaves_nothing() {
    let mut world = World::new(&[Size::M]);
    let before = world.store.clone();
    for (site, fields, message, hint) in [
        ("mal", r#""zone":"UTC""#, "no cabinet stands at a site mal", "fleet site list"),
        ("mall", r#""zone":"Berlin""#, "there is no time zone Berlin", "is it Europe/Berlin?"),
        (
            "mall",
            r#""zone":"Atlantis/Poseidonis""#,
            "there is no time zone Atlantis/Poseidonis",
            "such as Europe/Berlin",
        ),
        ("mall", r#""zone":"../etc/passwd""#, "a zone has a name such as", ""),
        ("mall", r#""hours":"mo-fr 7-20""#, "entry 1 of the opening hours", ""),
        ("mall", r#""closed":["2026-02-30"]"#, "a date is written as", ""),
        ("mall", r#""zones":"UTC""#, "unknown field `zones`", ""),
    ] {
        let request = format!(r#"{{"op":"site.set","site":"{site}",{fields}}}"#);
        let Some(Reply::Error(error)) = world.ask_raw(EVE, request.as_bytes()) else { panic!("{request} was taken") };
        assert!(error.message.contains(message), "{}", error.message);
        assert!(error.hint.unwrap_or_default().contains(hint), "{request}");
    }
    assert!(world.store == before);
    assert_eq!(set(&mut world, "mall", r#""zone":"Berlin""#), Err(RequestErrorCode::Unknown));
}

#[test]
fn sites_are_of_their_tenant_and_inside_the_scope() {
    let mut world = World::new(&[Size::M]);
    set(&mut world, "mall", BERLIN).unwrap();
    let port = Request::CabinetAdd {
        cabinet: "c2".parse().unwrap(),
        site: "port".parse().unwrap(),
        place: "Pier 1".into(),
        instance: schemas::messages::Instance([7; 16]),
        enrolment: None,
    };
    assert_eq!(world.ask(EVE, &port), Some(Reply::Done));
    let mall = Scope::Sites(vec!["mall".parse().unwrap()]);
    let limit = Request::PersonScope { identity: who("operator:acme:kim"), scope: mall };
    assert!(matches!(world.ask(EVE, &limit), Some(Reply::Identity(_))));
    let list = |world: &mut World, by: &str, after: Option<&str>| {
        let after = after.map(|site| site.parse().unwrap());
        match world.ask(by, &Request::SiteList { after }) {
            Some(Reply::Sites(page)) => page.sites.iter().map(|one| one.site.to_string()).collect::<Vec<_>>().join(" "),
            Some(Reply::Error(error)) => error.code.to_string(),
            other => panic!("{other:?}"),
        }
    };
    for (by, seen) in [
        (EVE, "mall port"),
        ("auditor:acme:ada", "mall port"),
        ("operator:acme:kim", "mall"),
        ("operator:umbra:max", ""),
        ("staff:acme:sam", "forbidden"),
        ("integration:acme:shop", "forbidden"),
    ] {
        assert_eq!(list(&mut world, by, None), seen, "{by}");
    }
    assert_eq!(list(&mut world, EVE, Some("mall")), "port");
    for (by, site, code) in [
        ("operator:acme:kim", "mall", None),
        ("operator:acme:kim", "port", Some(RequestErrorCode::Forbidden)),
        ("support:acme:sue", "mall", Some(RequestErrorCode::Forbidden)),
        ("operator:umbra:max", "mall", Some(RequestErrorCode::Unknown)),
    ] {
        let request = format!(r#"{{"op":"site.set","site":"{site}","zone":"Europe/Berlin"}}"#);
        let refused = match world.ask_raw(by, request.as_bytes()) {
            Some(Reply::Error(error)) => Some(error.code),
            _ => None,
        };
        assert_eq!(refused, code, "{by} {site}");
    }
}

#[test]
fn messages_and_people_are_told_the_end_by_the_clock_of_the_site() {
    let mut world = stored_at(r#""zone":"Asia/Kolkata""#, "retail");
    world.pass(72 * HOUR - 1);
    let told = world.notifications();
    assert_eq!(told.len(), 3, "the code and two reminders");
    for one in &told {
        assert_eq!(one.until_local.as_deref(), Some("2026-11-26 01:45 IST"));
        assert_eq!(one.zone.as_deref(), Some("Asia/Kolkata"));
        assert!(one.instruction.ends_with("It is kept until 2026-11-26 01:45 IST."), "{}", one.instruction);
    }
    let shown = match world.ask(EVE, &Request::OrderShow { order: order("A17") }) {
        Some(Reply::Order(detail)) => detail.summary,
        other => panic!("{other:?}"),
    };
    assert_eq!(shown.until_local.as_deref(), Some("2026-11-26 01:45 IST"));
    assert_eq!(shown.until, Some(Rfc3339(START + 72 * HOUR)), "and by UTC as before");
    // A message says the same each time that it is sent, whatever is said of the site meanwhile.
    set(&mut world, "mall", r#""zone":"UTC""#).unwrap();
    assert_eq!(world.notifications(), told);
}

#[test]
fn without_a_zone_messages_are_what_they_were() {
    let world = crate::time::stored("retail");
    let [told] = world.notifications().try_into().unwrap();
    assert_eq!((told.until_local, told.zone, ends(&world)), (None, None, Some(72 * HOUR)));
    assert!(!told.instruction.contains("until"), "{}", told.instruction);
}

#[test]
fn a_window_that_would_end_behind_shut_doors_ends_with_the_next_opening() {
    let mut world = stored_at(BERLIN, "retail");
    assert_eq!(ends(&world), Some(THURSDAY));
    world.pass(THURSDAY - 1);
    let half = THURSDAY / 2;
    let expected = [
        (NotificationKind::PickupCode, 0),
        (NotificationKind::Reminder, half),
        (NotificationKind::Reminder, THURSDAY / 10 * 9),
    ];
    assert_eq!(messages(&world), expected, "shares of the time that there is");
    assert!(world.notifications()[0].instruction.ends_with("It is kept until 2026-11-26 20:00 CET."));
    world.restart();
    world.pass(1);
    assert_eq!(last(&world), (OrderState::Overdue, THURSDAY, Some(THURSDAY)));
}

#[test]
fn food_ends_whatever_the_hours_and_the_code_of_medicine_with_its_window() {
    assert_eq!(ends(&stored_at(BERLIN, "food")), Some(30 * MINUTE));
    let mut pharmacy = stored_at(BERLIN, "pharmacy");
    let wednesday = 70 * HOUR + 45 * MINUTE;
    assert_eq!((ends(&pharmacy), ends_in_book(&mut pharmacy).1), (Some(wednesday), Some(Some(wednesday))));
}

/// The defaults with another retail.
fn retail(change: impl FnOnce(&mut schemas::api::Policy)) -> Policies {
    let mut policies = Policies::default();
    change(&mut policies.retail);
    policies
}

fn put(world: &mut World, replaces: u64, policies: Policies, live: bool) {
    let request = Request::PolicyPut { replaces, policies: Box::new(policies), live };
    assert!(matches!(world.ask(EVE, &request), Some(Reply::Policy(_))));
}

#[test]
fn the_longest_time_of_the_policy_bounds_what_hours_bring_and_a_policy_may_do_without() {
    for (policies, end) in [
        (retail(|rules| rules.longest_minutes = schemas::api::Minutes::new(80 * 60).unwrap()), 80 * HOUR),
        (retail(|rules| rules.ends_when_open = Some(false)), 72 * HOUR),
        (retail(|rules| rules.ends_when_open = None), THURSDAY),
    ] {
        let mut world = World::new(&[Size::M]);
        set(&mut world, "mall", BERLIN).unwrap();
        put(&mut world, 0, policies, false);
        world.put(r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail"}"#);
        load(&mut world, "A17", 1);
        assert_eq!(ends(&world), Some(end));
    }
}

#[test]
fn where_the_policy_says_so_reminders_wait_for_the_opening_and_never_for_one_behind_the_end() {
    let quiet = |rules: &mut schemas::api::Policy| rules.reminds_when_open = Some(true);
    let stored = |category: &str, policies: Policies| {
        let mut world = World::new(&[Size::M]);
        set(&mut world, "mall", BERLIN).unwrap();
        put(&mut world, 0, policies, false);
        world.put(&format!(r#"{{"order":"A17","cabinet":"c1","size":"M","category":"{category}"}}"#));
        load(&mut world, "A17", 1);
        world
    };
    let reminders = |world: &World| messages(world).into_iter().skip(1).map(|(_, at)| at).collect::<Vec<_>>();
    let mut world = stored("retail", retail(quiet));
    // Half of it would be on the Tuesday at half past eight in the evening.
    let wednesday = 57 * HOUR + 45 * MINUTE;
    world.pass(wednesday - 1);
    assert_eq!(reminders(&world), [0; 0]);
    world.restart();
    world.pass(THURSDAY);
    assert_eq!(reminders(&world), [wednesday, THURSDAY / 10 * 9]);
    // Food is over before anybody opens: it is said at night.
    let mut policies = Policies::default();
    quiet(&mut policies.food);
    let mut food = stored("food", policies);
    food.pass(HOUR);
    assert_eq!(reminders(&food), [15 * MINUTE, 27 * MINUTE]);
    // An outage brings one into the evening, from which it goes on to the morning.
    let mut world = stored("retail", retail(quiet));
    world.pass(30 * HOUR);
    world.fact(&c1(), BoardHealth { board: 1, answering: false });
    world.pass(14 * HOUR);
    world.fact(&c1(), BoardHealth { board: 1, answering: true });
    world.pass(46 * HOUR);
    assert_eq!(reminders(&world), [81 * HOUR + 45 * MINUTE]);
    // More time: the last one would be on Saturday at a quarter past three, and the order ends before the shop opens.
    let until = Rfc3339(START + 130 * HOUR);
    assert_eq!(world.ask(EVE, &Request::OrderExtend { order: order("A17"), until }), Some(Reply::Done));
    world.pass(40 * HOUR);
    assert_eq!(reminders(&world)[1..], [110 * HOUR, 126 * HOUR]);
}

#[test]
fn an_end_that_somebody_names_is_taken_as_it_is() {
    let mut world = stored_at(BERLIN, "retail");
    let until = Rfc3339(START + 97 * HOUR);
    assert_eq!(world.ask(EVE, &Request::OrderExtend { order: order("A17"), until }), Some(Reply::Done));
    assert_eq!(ends(&world), Some(97 * HOUR));
    // An outage gives back what it took, and no policy moves it.
    world.fact(&c1(), BoardHealth { board: 1, answering: false });
    world.pass(5 * HOUR);
    world.fact(&c1(), BoardHealth { board: 1, answering: true });
    assert_eq!(ends(&world), Some(102 * HOUR));
    put(&mut world, 0, retail(|rules| rules.pauses = false), true);
    assert_eq!(ends(&world), Some(102 * HOUR));
}

#[test]
fn an_outage_gives_its_time_back_and_then_the_hours_count() {
    for (hours, end) in [(20, THURSDAY + 20 * HOUR), (5, THURSDAY + 24 * HOUR)] {
        let mut world = stored_at(BERLIN, "retail");
        world.pass(30 * HOUR);
        world.fact(&c1(), BoardHealth { board: 1, answering: false });
        world.pass(hours * HOUR);
        world.fact(&c1(), BoardHealth { board: 1, answering: true });
        assert_eq!(ends(&world), Some(end), "{hours} hours");
        // The same policies once more come to the same.
        put(&mut world, 0, retail(|rules| rules.needs_time = true), true);
        assert_eq!(ends(&world), Some(end), "{hours} hours");
    }
}

#[test]
fn other_hours_are_for_orders_that_are_stored_from_then_on_and_for_live_policies() {
    let mut world = stored_at(BERLIN, "retail");
    set(&mut world, "mall", r#""hours":"always""#).unwrap();
    world.put(r#"{"order":"B1","cabinet":"c1","size":"M","category":"retail"}"#);
    load(&mut world, "B1", 2);
    world.restart();
    let until = |world: &mut World, id| match world.ask(EVE, &Request::OrderShow { order: order(id) }) {
        Some(Reply::Order(detail)) => detail.summary.until.map(|until| until.0 - START),
        other => panic!("{other:?}"),
    };
    assert_eq!((until(&mut world, "A17"), until(&mut world, "B1")), (Some(THURSDAY), Some(72 * HOUR)));
    let preview = world.ask(EVE, &Request::PolicyPreview { policies: Box::default() });
    let Some(Reply::PolicyPreview(changes)) = preview else { panic!() };
    assert_eq!(changes.iter().map(|one| (one.orders, one.overdue)).collect::<Vec<_>>(), [(1, 0)]);
    put(&mut world, 0, Policies::default(), true);
    assert_eq!(until(&mut world, "A17"), Some(72 * HOUR));
}

#[test]
fn a_preview_counts_what_hours_move() {
    let mut world = stored_at(BERLIN, "retail");
    let moved = |world: &mut World, policies: Policies| -> Vec<(u32, u32)> {
        let request = Request::PolicyPreview { policies: Box::new(policies) };
        match world.ask(EVE, &request) {
            Some(Reply::PolicyPreview(changes)) => changes.iter().map(|one| (one.orders, one.overdue)).collect(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(moved(&mut world, Policies::default()), []);
    world.pass(80 * HOUR);
    assert_eq!(moved(&mut world, retail(|rules| rules.ends_when_open = Some(false))), [(1, 1)]);
    let mut waits = Policies::default();
    waits.food.ends_when_open = Some(true);
    let request = Request::PolicyPreview { policies: Box::new(waits) };
    let Some(Reply::Error(error)) = world.ask(EVE, &request) else { panic!("food waits for nobody") };
    assert!(error.message.starts_with("food: ends_when_open"), "{}", error.message);
}

#[test]
fn a_window_over_the_change_to_summer_time_ends_by_the_clock_on_the_wall() {
    let mut world = World::new(&[Size::M]);
    set(&mut world, "mall", BERLIN).unwrap();
    let at = |text: &str| {
        let at: jiff::Timestamp = text.parse().unwrap();
        u64::try_from(at.as_millisecond()).unwrap() - START
    };
    world.pass(at("2027-03-25T20:30+01:00"));
    world.put(r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail"}"#);
    load(&mut world, "A17", 1);
    let monday = at("2027-03-29T20:00+02:00");
    assert_eq!(ends(&world), Some(monday), "72 hours are over on a Sunday");
    assert_eq!(world.notifications()[0].until_local.as_deref(), Some("2027-03-29 20:00 CEST"));
    // The machine's clock leaps over the end: it is over, once, and with its own moment.
    world.now = START + monday + 200 * HOUR;
    world.settle();
    assert_eq!(last(&world), (OrderState::Overdue, monday, Some(monday)));
    world.now = START + monday - HOUR;
    world.settle();
    assert_eq!(last(&world).0, OrderState::Overdue, "a clock that is put back takes nothing back");
}

fn c2() -> CabinetId {
    "c2".parse().unwrap()
}

fn two_sites(world: &mut World) {
    set(world, "mall", BERLIN).unwrap();
    let port = Request::CabinetAdd {
        cabinet: c2(),
        site: "port".parse().unwrap(),
        place: "Pier 1".into(),
        instance: schemas::messages::Instance([7; 16]),
        enrolment: None,
    };
    assert_eq!(world.ask(EVE, &port), Some(Reply::Done));
    set(world, "port", r#""zone":"Australia/Lord_Howe""#).unwrap();
    world.cabinets.insert(c2(), FakeCabinet::new("c2", &[Size::M]));
    world.connect(&c2());
}

#[test]
fn each_door_of_a_bundle_has_the_time_of_its_own_site() {
    let mut world = World::new(&[Size::M]);
    two_sites(&mut world);
    for (id, cabinet) in [("A1", c1()), ("A2", c2())] {
        world.put(&format!(r#"{{"order":"{id}","cabinet":"{cabinet}","size":"M","category":"retail"}}"#));
        let staff: schemas::ids::Name = "sam".parse().unwrap();
        world.fact(&cabinet, Loading { order: order(id), compartment: door(1), staff: staff.clone() });
        world.fact(&cabinet, Stored { order: order(id), compartment: door(1), by: StoredBy::Sensor, staff });
    }
    for to in ["", r#","deliver_to":"riders""#] {
        let id = if to.is_empty() { "run-1" } else { "run-2" };
        let payload = format!(r#"{{"bundle":"{id}","orders":["A1","A2"]{to}}}"#).into_bytes();
        world.handle(Input::OrderChange {
            tenant: tenant(),
            integration: shop(),
            change: OrderChange::Bundle,
            payload,
        });
        let told = match to {
            "" => world.notifications().pop().unwrap(),
            _ => world.notifications_of("riders").pop().unwrap(),
        };
        let doors: Vec<_> = told.doors.iter().map(|door| (door.until_local.as_deref(), door.zone.as_deref())).collect();
        let [mall, port] = [
            (Some("2026-11-26 20:00 CET"), Some("Europe/Berlin")),
            (Some("2026-11-26 07:15 UTC+11:00"), Some("Australia/Lord_Howe")),
        ];
        assert_eq!(doors, [mall, port]);
        assert_eq!((told.until_local.as_deref(), told.zone.as_deref()), port, "that ends first");
        let ends = "Main Street 1: 1 until 2026-11-26 20:00 CET; Pier 1: 1 until 2026-11-26 07:15 UTC+11:00.";
        assert!(told.instruction.contains(ends), "{}", told.instruction);
        let payload = format!(r#"{{"bundle":"{id}"}}"#).into_bytes();
        let change = OrderChange::Unbundle;
        world.handle(Input::OrderChange { tenant: tenant(), integration: shop(), change, payload });
    }
}

/// Puts other bytes into the row of the site.
fn spoil(world: &mut World, from: &str, to: &str) {
    let (key, row) = world.store.scan(SITES, &[], 1).unwrap().pop().unwrap();
    let at = row.windows(from.len()).position(|bytes| bytes == from.as_bytes()).unwrap();
    let spoiled = [&row[..at], to.as_bytes(), &row[at + from.len()..]].concat();
    world.store.commit(&[Write::put(SITES, key, spoiled)]).unwrap();
}

#[test]
fn a_zone_that_there_is_no_more_is_an_alarm_and_stops_nothing() {
    let mut world = stored_at(BERLIN, "retail");
    spoil(&mut world, "Europe/Berlin", "Europe/Merlin");
    world.seen.clear();
    world.restart();
    let alarms = |world: &World| -> Vec<String> {
        let texts = world.seen.iter().filter_map(|effect| match effect {
            Effect::Alarm { text } => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    };
    let [alarm] = alarms(&world).try_into().unwrap();
    assert!(alarm.contains("acme/mall (Europe/Merlin)") && alarm.contains("fleet site set"), "{alarm}");
    let shown = show(&mut world);
    assert_eq!((shown.zone_unknown, shown.local.as_deref()), (true, Some("2026-11-22 20:15 UTC")));
    assert_eq!(ends(&world), Some(THURSDAY));
    // Other hours do not ask for another zone; another zone mends it.
    assert!(set(&mut world, "mall", r#""hours":"always""#).unwrap().zone_unknown);
    assert!(!set(&mut world, "mall", r#""zone":"Europe/Berlin""#).unwrap().zone_unknown);
    world.seen.clear();
    world.restart();
    assert_eq!(alarms(&world), [""; 0]);
}

#[test]
fn a_damaged_row_of_a_site_is_refused_by_its_name() {
    let mut world = stored_at(BERLIN, "retail");
    spoil(&mut world, "07:00-20:00", "07:00-25:00");
    let refused = FleetCore::open(world.config.clone(), &world.store).map(|_| ()).unwrap_err();
    assert!(matches!(&refused, OpenError::Row { table: "sites", key, .. } if key == "acme/mall"), "{refused:?}");
}

#[test]
fn a_crash_anywhere_neither_forgets_a_site_nor_tells_two_ends() {
    let story = |world: &mut World| {
        insist(world, |world| {
            let request = format!(r#"{{"op":"site.set","site":"mall",{BERLIN}}}"#).into_bytes();
            world.ticket += 1;
            world.handle(Input::Request { ticket: world.ticket, who: who(EVE), payload: request });
        });
        insist(world, |world| drop(world.put(r#"{"order":"A17","cabinet":"c1","size":"M","category":"pharmacy"}"#)));
        load(world, "A17", 1);
        survived(world);
        world.settle();
        survived(world);
    };
    let wednesday = 70 * HOUR + 45 * MINUTE;
    let check = |world: &mut World, what: &str| {
        assert_eq!(ends(world), Some(wednesday), "{what}");
        assert_eq!(ends_in_book(world).1, Some(Some(wednesday)), "{what}");
        let [told] = world.notifications().try_into().unwrap_or_else(|told| panic!("{what}: {told:?}"));
        assert_eq!(told.until_local.as_deref(), Some("2026-11-25 20:00 CET"), "{what}");
        world.pass(wednesday);
        let over = world.statuses("shop").into_iter().filter(|row| row.state == OrderState::Overdue);
        assert_eq!(over.count(), 1, "{what}");
    };
    let tried = everywhere(|| World::new(&[Size::M]), story, check);
    assert!(tried.commits >= 6 && tried.cuts >= 3, "{tried:?}");
}
