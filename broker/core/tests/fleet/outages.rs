//! Windows stand still while the cabinet could not open.

use schemas::api::OrderState;
use schemas::messages::{BoardHealth, Size, Started};
use schemas::topics::Up;

use crate::handover::load;
use crate::time::{HOUR, MINUTE, ends_in_book, last, messages, stored};
use crate::world::{START, World, c1};

fn board(world: &mut World, board: u32, answering: bool) {
    world.fact(&c1(), BoardHealth { board, answering });
}

fn states(world: &World) -> Vec<OrderState> {
    world.statuses("shop").iter().map(|row| row.state).collect()
}

#[test]
fn a_window_stands_still_from_the_first_silent_board_until_all_answer() {
    let mut world = stored("retail");
    world.pass(30 * HOUR);
    board(&mut world, 1, false);
    world.pass(5 * HOUR);
    board(&mut world, 2, false);
    board(&mut world, 1, true);
    world.pass(100 * HOUR);
    assert_eq!((messages(&world).len(), last(&world).0), (1, OrderState::Stored), "time went on for it");
    board(&mut world, 2, true);
    assert_eq!(last(&world), (OrderState::Stored, 135 * HOUR, Some(177 * HOUR)));
    world.pass(42 * HOUR);
    let times: Vec<_> = messages(&world).into_iter().map(|(_, at)| at / HOUR).collect();
    assert_eq!(times, [0, 141, 169]);
    assert_eq!(last(&world), (OrderState::Overdue, 177 * HOUR, Some(177 * HOUR)));
}

#[test]
fn food_does_not_wait_and_neither_does_what_a_cabinet_without_network_could_open() {
    let mut food = stored("food");
    board(&mut food, 1, false);
    food.pass(30 * MINUTE);
    assert_eq!(last(&food).0, OrderState::Overdue);
    let mut retail = stored("retail");
    retail.disconnect(&c1());
    retail.pass(72 * HOUR);
    assert_eq!(last(&retail).0, OrderState::Overdue);
}

#[test]
fn a_code_with_an_end_of_its_own_gets_the_lost_time_back_in_the_book() {
    let mut world = stored("pharmacy");
    world.pass(HOUR);
    board(&mut world, 1, false);
    world.pass(3 * HOUR);
    assert_eq!(ends_in_book(&mut world), (2, Some(Some(48 * HOUR))));
    board(&mut world, 1, true);
    assert_eq!(ends_in_book(&mut world), (4, Some(Some(51 * HOUR))));
}

/// The cabinet was offline meanwhile, and tells afterwards when its board fell silent and when it was back.
#[test]
fn an_outage_that_is_heard_of_late_takes_back_that_an_order_is_overdue() {
    let mut world = stored("retail");
    world.disconnect(&c1());
    world.pass(70 * HOUR);
    board(&mut world, 1, false);
    world.pass(10 * HOUR);
    board(&mut world, 1, true);
    assert_eq!(last(&world).0, OrderState::Overdue);
    world.connect(&c1());
    assert_eq!(last(&world), (OrderState::Stored, 80 * HOUR, Some(82 * HOUR)));
    world.pass(2 * HOUR);
    assert_eq!(last(&world), (OrderState::Overdue, 82 * HOUR, Some(82 * HOUR)));
}

#[test]
fn an_outage_that_began_after_the_end_gives_no_time_back() {
    let mut world = stored("retail");
    world.pass(73 * HOUR);
    let told = states(&world);
    board(&mut world, 1, false);
    world.pass(HOUR);
    board(&mut world, 1, true);
    assert_eq!(states(&world), told);
}

#[test]
fn a_pause_outlives_the_fleet_and_ends_with_the_agent_that_begins_anew() {
    let mut world = stored("retail");
    world.pass(HOUR);
    board(&mut world, 1, false);
    world.pass(HOUR);
    world.restart();
    world.connect(&c1());
    world.pass(100 * HOUR);
    assert_eq!(last(&world).0, OrderState::Stored);
    world.fact(&c1(), Started { agent: "0.1.0".into(), down_since: None });
    assert_eq!(last(&world), (OrderState::Stored, 102 * HOUR, Some(173 * HOUR)));
    board(&mut world, 1, true);
    assert_eq!(last(&world), (OrderState::Stored, 102 * HOUR, Some(173 * HOUR)), "counted twice");
}

#[test]
fn an_order_that_is_stored_during_an_outage_stands_still_at_once_and_only_for_its_own_time() {
    let mut world = World::new(&[Size::M]);
    world.put(r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail"}"#);
    board(&mut world, 2, false);
    world.pass(5 * HOUR);
    load(&mut world, "A17", 1);
    world.pass(100 * HOUR);
    board(&mut world, 2, true);
    assert_eq!(last(&world), (OrderState::Stored, 105 * HOUR, Some(177 * HOUR)));
}

#[test]
fn an_end_that_is_set_during_an_outage_moves_only_by_what_comes_after() {
    let mut world = stored("retail");
    world.pass(10 * HOUR);
    board(&mut world, 1, false);
    world.pass(10 * HOUR);
    let until = schemas::api::Rfc3339(START + 100 * HOUR);
    let extend = schemas::api::Request::OrderExtend { order: crate::world::order("A17"), until };
    assert_eq!(world.ask("support:acme:sue", &extend), Some(schemas::api::Reply::Done));
    world.pass(5 * HOUR);
    board(&mut world, 1, true);
    assert_eq!(last(&world).2, Some(105 * HOUR));
}

/// The cabinet has power again, and does not know the time yet.
fn has_power_again(world: &mut World, alive_until: u64) {
    let cabinet = world.cabinet(&c1());
    cabinet.newest += 1;
    cabinet.next = cabinet.newest + 1;
    let started = Started { agent: "0.1.0".into(), down_since: Some(START + alive_until) };
    let payload = cabinet.uplink(cabinet.newest, None, started.into());
    world.up(&c1(), Up::Event, payload);
}

#[test]
fn a_window_stands_still_while_the_cabinet_has_no_power() {
    for restart in [false, true] {
        let mut world = stored("retail");
        world.pass(10 * HOUR);
        world.disconnect(&c1());
        world.pass(20 * HOUR);
        world.connect(&c1());
        has_power_again(&mut world, 9 * HOUR);
        world.pass(2 * HOUR);
        if restart {
            world.restart();
            world.connect(&c1());
        }
        assert_eq!(last(&world).2, Some(72 * HOUR), "nobody knows when it had power again");
        board(&mut world, 1, true);
        let ends = 72 + 32 - 9;
        assert_eq!(last(&world), (OrderState::Stored, 32 * HOUR, Some(ends * HOUR)), "told in the same run, {restart}");
        has_power_again(&mut world, 33 * HOUR);
        board(&mut world, 1, true);
        assert_eq!(last(&world).2, Some(ends * HOUR), "no time without power that is of the future");
    }
}

/// Its disk is of an earlier day: what the fleet has heard of it since counts.
#[test]
fn no_window_stands_still_for_a_time_in_which_the_cabinet_was_heard() {
    let mut world = stored("retail");
    world.pass(50 * HOUR);
    board(&mut world, 1, true);
    world.disconnect(&c1());
    world.pass(2 * HOUR);
    world.connect(&c1());
    has_power_again(&mut world, HOUR);
    board(&mut world, 1, true);
    assert_eq!(last(&world), (OrderState::Stored, 52 * HOUR, Some(74 * HOUR)));
}

#[test]
fn a_board_that_is_silent_behind_a_time_without_power_goes_on_with_it() {
    let mut world = stored("retail");
    world.pass(10 * HOUR);
    world.disconnect(&c1());
    world.pass(HOUR);
    world.connect(&c1());
    has_power_again(&mut world, 10 * HOUR);
    board(&mut world, 1, false);
    world.pass(4 * HOUR);
    board(&mut world, 1, true);
    assert_eq!(last(&world), (OrderState::Stored, 15 * HOUR, Some(77 * HOUR)));
}
