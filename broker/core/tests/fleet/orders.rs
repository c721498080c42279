//! What backends ask for, and what they are told.

use fleet_core::{Config, Effect, Input, ORDERS};
use schemas::api::Reply;
use schemas::messages::{BookChange, Category, LoadAborted, Loading, Size, Stored, StoredBy};
use schemas::step::Store as _;
use schemas::topics::Stream;

use crate::handover::load;
use crate::world::{FakeCabinet, World, c1, door, order, refusal, shop, tenant};

fn put(id: &str, size: &str) -> String {
    format!(r#"{{"order":"{id}","cabinet":"c1","size":"{size}","category":"retail"}}"#)
}

#[test]
fn a_payload_that_cannot_be_read_is_refused_with_its_field_and_changes_nothing() {
    let mut world = World::new(&[Size::M]);
    let before = world.store.clone();
    let long = "1".repeat(129);
    for (json, named) in [
        ("", "EOF"),
        ("[]", "invalid"),
        (r#"{"order":"A/1","cabinet":"c1","size":"M","category":"retail"}"#, "order has a character"),
        (r#"{"order":"A1","cabinet":"c1","size":"m","category":"retail"}"#, "`m` is none of"),
        (r#"{"order":"A1","cabinet":"c1","size":"M","category":"retail","redy":true}"#, "`redy`"),
        (r#"{"order":"A1","cabinet":"c1","size":"M"}"#, "`category`"),
        (
            &format!(
                r#"{{"order":"A1","cabinet":"c1","size":"M","category":"retail","recipient":{{"phone":"{long}"}}}}"#
            ),
            "recipient",
        ),
        (&"x".repeat(17 * 1024), "longer than"),
    ] {
        let effects = world.put(json);
        assert!(refusal(&effects).contains(named), "{effects:?}");
    }
    assert!(refusal(&world.cancel(r#"{"ordre":"A1"}"#)).contains("`ordre`"));
    assert!(world.store == before, "a refused payload left rows");
}

#[test]
fn the_same_order_twice_is_one_order() {
    let mut world = World::new(&[Size::M, Size::M]);
    world.put(&put("A17", "M"));
    let spaced = r#"{ "category":"retail", "cabinet":"c1", "size":"M", "order":"A17", "ready":true }"#;
    let before = world.store.clone();
    assert_eq!(world.put(spaced), []);
    assert!(world.store == before, "it was written anew");
    assert_eq!(world.told("shop"), ["A17 reserved"]);
}

#[test]
fn the_same_id_with_other_content_is_rejected_with_both_hashes() {
    let mut world = World::new(&[Size::M, Size::L]);
    world.put(&put("A17", "M"));
    world.put(&put("A17", "L"));
    assert_eq!(world.told("shop"), ["A17 reserved", "A17 rejected other_content"]);
    let [held, came] = world.statuses("shop").pop().unwrap().content.unwrap();
    assert!(held != came && held.len() == 64 && came.len() == 64);
    assert!(world.put(&put("A17", "M")).is_empty(), "the order itself was changed");
    load(&mut world, "A17", 1);
    assert_eq!(world.told("shop").last().unwrap(), "A17 stored");
}

#[test]
fn an_order_for_an_unknown_cabinet_is_rejected_until_the_cabinet_is_known() {
    let mut world = World::empty();
    world.put(&put("A17", "M"));
    world.add(FakeCabinet::new("c1", &[Size::M]));
    world.connect(&c1());
    world.put(&put("A17", "M"));
    assert_eq!(world.told("shop"), ["A17 rejected unknown_cabinet", "A17 reserved"]);
}

/// Acceptance 13.
#[test]
fn of_two_backends_that_claim_the_last_large_compartment_one_is_told_that_there_is_none() {
    let mut world = World::new(&[Size::S, Size::L]);
    world.put_as("shop", &put("A1", "L"));
    world.put_as("deli", &put("A1", "L"));
    assert_eq!(world.told("shop"), ["A1 reserved"]);
    assert_eq!(world.told("deli"), ["A1 rejected no_fitting_compartment"]);
    world.cancel(r#"{"order":"A1"}"#);
    world.put_as("deli", &put("A1", "L"));
    assert_eq!(world.told("deli").last().unwrap(), "A1 reserved");
}

#[test]
fn an_order_gets_the_smallest_compartment_that_fits_in_number_order() {
    let mut world = World::new(&[Size::L, Size::M, Size::S, Size::M]);
    for (id, size, number) in [("A1", "S", 3), ("A2", "S", 2), ("A3", "M", 4), ("A4", "S", 1)] {
        world.put(&put(id, size));
        assert_eq!(world.statuses("shop").pop().unwrap().compartment, Some(door(number)), "{id}");
    }
}

#[test]
fn an_order_that_is_not_ready_holds_no_compartment_until_it_is() {
    let mut world = World::new(&[Size::M]);
    let created = r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail","ready":false}"#;
    world.put(created);
    world.put(&put("B1", "M"));
    world.cancel(r#"{"order":"B1"}"#);
    world.put(&put("A17", "M"));
    world.put(created);
    assert_eq!(world.told("shop"), ["A17 created", "B1 reserved", "B1 cancelled", "A17 reserved"]);
}

#[test]
fn a_reservation_past_its_time_goes_to_an_order_that_needs_it() {
    let mut world = World::new(&[Size::M]);
    world.put(&put("A1", "M"));
    world.pass(30 * 60 * 1_000 - 1);
    world.put(&put("A2", "M"));
    world.pass(1);
    world.put(&put("A3", "M"));
    assert_eq!(world.told("shop"), ["A1 reserved", "A2 rejected no_fitting_compartment", "A1 ready", "A3 reserved"]);
    world.cancel(r#"{"order":"A3"}"#);
    assert_eq!(world.told("shop")[4..], ["A3 cancelled", "A1 reserved"]);
}

#[test]
fn a_reservation_is_safe_as_long_as_its_backend_says_and_other_orders_lose_theirs_first() {
    let mut world = World::new(&[Size::M, Size::M]);
    let held = |id: &str, minutes| {
        format!(r#"{{"order":"{id}","cabinet":"c1","size":"M","category":"retail","hold_minutes":{minutes}}}"#)
    };
    world.put(&held("A1", 120));
    world.put(&held("A2", 1));
    world.restart();
    world.connect(&c1());
    world.pass(60_000);
    world.put(&put("B1", "M"));
    assert_eq!(world.told("shop")[2..], ["A2 ready", "B1 reserved"]);
    world.pass(118 * 60_000);
    world.put(&put("B2", "M"));
    assert_eq!(
        world.told("shop")[4..],
        ["B1 ready", "B2 reserved"],
        "thirty minutes were over for B1, two hours not for A1"
    );
    world.pass(60_000);
    world.put(&put("B3", "M"));
    assert_eq!(world.told("shop")[6..], ["A1 ready", "B3 reserved"]);
}

#[test]
fn a_reservation_past_its_time_stays_while_nobody_needs_it() {
    let mut world = World::new(&[Size::M, Size::M]);
    world.put(&put("A1", "M"));
    world.pass(24 * 60 * 60 * 1_000);
    world.put(&put("A2", "M"));
    assert_eq!(world.told("shop"), ["A1 reserved", "A2 reserved"]);
}

#[test]
fn staff_who_load_elsewhere_win_over_the_reservation() {
    let mut world = World::new(&[Size::M, Size::M, Size::L]);
    world.put(&put("A1", "M"));
    world.put(&put("A2", "M"));
    load(&mut world, "A1", 2);
    let told = world.told("shop");
    assert!(told.contains(&"A2 ready".into()), "{told:?}");
    assert_eq!(
        world.statuses("shop").iter().rfind(|row| row.order == order("A2").order).unwrap().compartment,
        Some(door(1))
    );
    assert_eq!(world.notifications()[0].compartment, Some(door(2)));
}

#[test]
fn a_load_that_is_given_up_sends_no_message_and_keeps_the_order_ready() {
    let mut world = World::new(&[Size::M]);
    world.put(&put("A1", "M"));
    world.fact(&c1(), Loading { order: order("A1"), compartment: door(1), staff: "sam".parse().unwrap() });
    world.fact(&c1(), LoadAborted { order: order("A1"), compartment: door(1) });
    assert_eq!(world.told("shop"), ["A1 reserved", "A1 loading", "A1 ready", "A1 reserved"]);
    assert!(world.notifications().is_empty());
}

#[test]
fn cancelling_depends_on_how_far_the_order_is() {
    let mut world = World::new(&[Size::M, Size::M]);
    let cancel = r#"{"order":"A1"}"#;
    world.cancel(cancel);
    world.put(&put("A1", "M"));
    world.fact(&c1(), Loading { order: order("A1"), compartment: door(1), staff: "sam".parse().unwrap() });
    world.cancel(cancel);
    load(&mut world, "A1", 1);
    world.cancel(cancel);
    world.cancel(cancel);
    assert_eq!(
        world.told("shop"),
        ["A1 rejected unknown_order", "A1 reserved", "A1 loading", "A1 loading too_late", "A1 stored", "A1 recalled"]
    );
    let dropped = world.cabinet(&c1()).books.last().unwrap().changes.clone();
    assert!(matches!(
        dropped.as_slice(),
        [BookChange::PutOrder(_), BookChange::DropCredential(_), BookChange::DropCredential(_)]
    ));
}

#[test]
fn an_order_that_was_cancelled_and_is_loaded_all_the_same_is_recalled() {
    let mut world = World::new(&[Size::M]);
    world.put(&put("A1", "M"));
    world.cancel(r#"{"order":"A1"}"#);
    load(&mut world, "A1", 1);
    assert_eq!(world.told("shop"), ["A1 reserved", "A1 cancelled", "A1 recalled"]);
    assert!(world.notifications().is_empty());
    world.put(&put("A2", "M"));
    assert_eq!(world.told("shop").last().unwrap(), "A2 rejected no_fitting_compartment");
}

#[test]
fn food_and_pharmacy_end_with_their_window_and_need_the_time() {
    for (category, cooled, minutes) in [
        ("food", false, Some(30)),
        ("food", true, Some(120)),
        ("pharmacy", true, Some(48 * 60)),
        ("laundry", false, None),
        ("courier", true, None),
    ] {
        let mut world = World::empty();
        let mut cabinet = FakeCabinet::new("c1", &[Size::M]);
        cabinet.attributes.refrigerated = cooled;
        world.add(cabinet);
        world.connect(&c1());
        world.put(&format!(r#"{{"order":"A1","cabinet":"c1","size":"M","category":"{category}"}}"#));
        load(&mut world, "A1", 1);
        let changes = world.cabinet(&c1()).books.iter().flat_map(|book| book.changes.clone()).collect::<Vec<_>>();
        let limits: Vec<_> = changes
            .into_iter()
            .filter_map(|change| match change {
                BookChange::PutCredential(put) => Some((put.expires, put.needs_time)),
                _ => None,
            })
            .collect();
        let expires = minutes.map(|minutes| world.now + minutes * 60_000);
        assert_eq!(limits, [(expires, minutes.is_some()); 2], "{category}");
    }
    assert!(Category::ALL.len() == 6, "a new category needs a window");
}

#[test]
fn an_integration_may_keep_so_many_orders_and_finished_ones_are_forgotten() {
    let config = Config { orders_per_integration: 2, order_retention_millis: 1_000, ..Config::default() };
    let mut world = World::with(config);
    world.add(FakeCabinet::new("c1", &[Size::M, Size::M, Size::M]));
    world.connect(&c1());
    world.put(&put("A1", "M"));
    world.put(&put("A2", "M"));
    world.put(&put("A3", "M"));
    world.put_as("deli", &put("A3", "M"));
    assert_eq!(world.told("shop"), ["A1 reserved", "A2 reserved", "A3 rejected quota"]);
    assert_eq!(world.told("deli"), ["A3 reserved"]);
    world.cancel(r#"{"order":"A1"}"#);
    let due = world.core.poll_timeout();
    assert_eq!(due, Some(world.now + 1_000));
    world.pass(1_000);
    assert_ne!(world.core.poll_timeout(), due, "the deadline did not move");
    assert_eq!(world.store.rows(ORDERS).unwrap().len(), 2);
    world.put(&put("A3", "M"));
    assert_eq!(world.told("shop").last().unwrap(), "A3 reserved");
}

#[test]
fn many_finished_orders_are_forgotten_over_several_ticks() {
    let mut world = World::with(Config { order_retention_millis: 1_000, ..Config::default() });
    world.add(FakeCabinet::new("c1", &[Size::M]));
    world.connect(&c1());
    for number in 0..250 {
        world.put(&put(&format!("A{number}"), "M"));
        world.cancel(&format!(r#"{{"order":"A{number}"}}"#));
    }
    world.now += 1_000;
    for left in [150, 50, 0] {
        world.now = world.now.max(world.core.poll_timeout().unwrap());
        world.handle(Input::Tick);
        assert_eq!(world.store.rows(ORDERS).unwrap().len(), left);
        assert!(world.core.poll_timeout().is_some_and(|next| next > world.now), "the deadline did not move");
    }
}

#[test]
fn personal_data_of_an_order_is_dropped_when_it_is_over() {
    let mut world = World::new(&[Size::M]);
    world.put(r#"{"order":"A1","cabinet":"c1","size":"M","category":"retail","recipient":{"email":"a@example.org"}}"#);
    let holds = |world: &World| {
        let rows = world.store.rows(ORDERS).unwrap();
        rows.iter().any(|(_, row)| row.windows(13).any(|part| part == b"a@example.org"))
    };
    assert!(holds(&world));
    world.cancel(r#"{"order":"A1"}"#);
    assert!(!holds(&world));
}

/// Acceptance 18, the fleet's part.
#[test]
fn rows_wait_for_their_integration_over_a_restart_and_the_cursor_moves_in_order() {
    let mut world = World::new(&[Size::M, Size::M]);
    world.put(&put("A1", "M"));
    world.put(&put("A2", "M"));
    load(&mut world, "A1", 1);
    let told = world.told("shop");
    assert_eq!(world.core.heads(&tenant(), &shop(), Stream::Status), (0, 4));
    let ack = |world: &mut World, n| {
        world.handle(Input::RowAcked { tenant: tenant(), integration: shop(), stream: Stream::Status, n });
        world.core.heads(&tenant(), &shop(), Stream::Status)
    };
    assert_eq!(ack(&mut world, 2), (2, 4));
    assert_eq!(ack(&mut world, 1), (2, 4));
    assert_eq!(ack(&mut world, 9), (2, 4));
    let again = Input::RowAcked { tenant: tenant(), integration: shop(), stream: Stream::Status, n: 2 };
    assert!(world.step(again).writes.is_empty(), "a repeated PUBACK costs no commit");
    world.restart();
    assert_eq!(world.core.heads(&tenant(), &shop(), Stream::Status), (2, 4));
    assert_eq!(world.told("shop"), told);
    let grown = world.put(&put("A3", "M"));
    assert!(
        grown.iter().any(|effect| matches!(effect, Effect::RowsGrew { newest: 5, stream: Stream::Status, .. })),
        "{grown:?}"
    );
}

#[test]
fn times_without_the_fleets_time_are_told_as_unverified() {
    let mut world = World::new(&[Size::M]);
    world.put(&put("A1", "M"));
    let stored =
        Stored { order: order("A1"), compartment: door(1), by: StoredBy::Staff, staff: "sam".parse().unwrap() };
    let cabinet = &world.cabinets[&c1()];
    let payload = cabinet.uplink(cabinet.newest + 1, None, stored.into());
    world.up(&c1(), schemas::topics::Up::Event, payload);
    let status = world.statuses("shop").pop().unwrap();
    assert!(status.time_unverified);
    assert_eq!(status.at.0, world.now);
}

#[test]
fn an_operator_puts_orders_in_the_name_of_an_integration() {
    let mut world = World::new(&[Size::M]);
    let json = |id: &str| format!(r#"{{"op":"order.put","integration":"shop","order":{}}}"#, put(id, "M"));
    assert_eq!(world.ask_raw("operator:acme:eve", json("A1").as_bytes()), Some(Reply::Done));
    let Some(Reply::Error(error)) = world.ask_raw("operator:acme:eve", json("A2").as_bytes()) else { panic!() };
    assert!(error.message.contains("no_fitting_compartment") && error.hint.is_some());
    assert_eq!(world.told("shop"), ["A1 reserved", "A2 rejected no_fitting_compartment"]);
}

/// The broker's host came up with a clock that is years ahead.
#[test]
fn a_clock_that_was_wrong_at_the_start_makes_no_order_forgotten() {
    let mut world = World::new(&[Size::M]);
    world.put(r#"{"order":"A1","cabinet":"c1","size":"M","category":"retail"}"#);
    world.cancel(r#"{"order":"A1"}"#);
    let show = br#"{"op":"order.show","order":"shop/A1"}"#;
    world.now += 10 * 365 * 86_400_000;
    world.restart();
    world.pass(86_400_000);
    assert!(matches!(world.ask_raw("operator:acme:eve", show), Some(Reply::Order(_))), "kept in spite of the clock");
    world.pass(90 * 86_400_000);
    assert!(matches!(world.ask_raw("operator:acme:eve", show), Some(Reply::Error(_))), "and forgotten in its time");
}

#[test]
fn the_history_of_an_order_names_its_sixty_four_newest_states() {
    let mut world = World::new(&[Size::S]);
    let shown = |world: &mut World| {
        let show = br#"{"op":"order.show","order":"shop/A1"}"#;
        let Some(Reply::Order(shown)) = world.ask_raw("operator:acme:eve", show) else { panic!() };
        shown.history.into_iter().map(|(state, at)| (state.to_string(), at.0)).collect::<Vec<_>>()
    };
    for _ in 0..70 {
        world.pass(1);
        world.put(&put("A1", "M"));
    }
    let history = shown(&mut world);
    assert_eq!(history.len(), 64);
    assert!(history.iter().all(|(state, _)| state == "rejected"));
    assert!(history.windows(2).all(|pair| pair[0].1 + 1 == pair[1].1), "one for each try, the oldest first");
    assert_eq!(history[63].1, world.now);
}

#[test]
fn rows_are_handed_out_fifty_at_a_time_with_a_word_about_more() {
    let mut world = World::new(&[Size::M; 60]);
    for number in 0..60 {
        world.put(&put(&format!("A{number}"), "M"));
    }
    let page = |after: u64| {
        let first = fleet_core::stream_key(&tenant(), &shop(), Stream::Status, after + 1);
        let rows = world.store.scan(fleet_core::STREAM, &first, 100).unwrap();
        let Ok(Reply::Statuses(page)) = fleet_core::status_page(&rows, 60) else { panic!() };
        (page.rows.first().map(|row| row.n), page.rows.len(), page.more)
    };
    assert_eq!(page(0), (Some(1), 50, true));
    assert_eq!(page(9), (Some(10), 50, true));
    assert_eq!(page(10), (Some(11), 50, false));
    assert_eq!(page(60), (None, 0, false));
}

#[test]
fn an_order_that_needs_room_displaces_only_one_whose_compartment_it_fits() {
    let mut world = World::new(&[Size::S, Size::L]);
    world.put(&put("A1", "S"));
    world.pass(1);
    world.put(&put("A2", "L"));
    world.pass(24 * 60 * 60 * 1_000);
    world.put(&put("A3", "L"));
    assert_eq!(world.told("shop"), ["A1 reserved", "A2 reserved", "A2 ready", "A3 reserved"]);
    assert_eq!(world.statuses("shop")[3].compartment, Some(door(2)));
    assert_eq!(world.statuses("shop")[2].compartment, None, "it waits for the next that is free");
}

#[test]
fn a_cancelled_order_names_neither_compartment_nor_the_reason_of_an_earlier_try() {
    let mut world = World::new(&[Size::M]);
    world.put(&put("A1", "M"));
    world.put(&put("A2", "M"));
    world.cancel(r#"{"order":"A1"}"#);
    world.cancel(r#"{"order":"A2"}"#);
    assert_eq!(world.told("shop")[2..], ["A1 cancelled", "A2 cancelled"]);
    assert!(world.statuses("shop")[2..].iter().all(|row| row.compartment.is_none()));
}

#[test]
fn cabinets_hear_only_of_what_concerns_their_books() {
    let mut world = World::new(&[Size::M]);
    world.put(r#"{"order":"A1","cabinet":"c1","size":"M","category":"retail","ready":false}"#);
    world.put(&put("A2", "L"));
    world.put(&put("A3", "M"));
    let heard = |world: &World| world.intents.iter().filter(|write| write.key.starts_with(b"cabinet/")).count();
    let before = heard(&world);
    world.cancel(r#"{"order":"A1"}"#);
    world.cancel(r#"{"order":"A2"}"#);
    assert_eq!(heard(&world), before, "neither was in a book");
    load(&mut world, "A3", 1);
    assert_eq!(heard(&world), before + 1, "that its code may be made");
}

#[test]
fn the_hundred_newest_orders_are_listed_and_those_of_one_cabinet_if_it_is_named() {
    let mut world = World::new(&[Size::S; 105]);
    world.add(FakeCabinet::new("c2", &[Size::S]));
    world.connect(&"c2".parse().unwrap());
    world.put(r#"{"order":"C","cabinet":"c2","size":"S","category":"retail"}"#);
    let listed = |world: &mut World, json: &str| {
        let Some(Reply::Orders(orders)) = world.ask_raw("support:acme:sue", json.as_bytes()) else { panic!() };
        orders.into_iter().map(|one| one.order.order.to_string()).collect::<Vec<_>>()
    };
    for number in 1..=99 {
        world.pass(1);
        world.put(&put(&format!("A{number}"), "S"));
    }
    let all = listed(&mut world, r#"{"op":"order.list"}"#);
    assert_eq!((all.len(), all[0].as_str(), all[99].as_str()), (100, "A99", "C"));
    world.pass(1);
    world.put(&put("A100", "S"));
    let all = listed(&mut world, r#"{"op":"order.list"}"#);
    assert_eq!((all.len(), all[0].as_str(), all[99].as_str()), (100, "A100", "A1"));
    assert_eq!(listed(&mut world, r#"{"op":"order.list","cabinet":"c2"}"#), ["C"]);
}
