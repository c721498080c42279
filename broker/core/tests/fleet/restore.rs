//! The fleet's store is put back to an earlier state, or a cabinet's: the cabinets' facts win, and what differs needs a
//! look.

use fleet_core::{Config, Input};
use schemas::api::OrderState;
use schemas::cbor;
use schemas::messages::{
    AuditRequired, Audited, BookChange, Collected, CompartmentState, DoorClosed, DoorForced, DoorState, Epoch, Finding,
    Occupancy, Retrieved, Size, Stamp, Started, Telemetry,
};
use schemas::step::{RESTORED, Store as _, Write};
use schemas::topics::{OrderChange, Stream, Up};

use crate::handover::load;
use crate::world::{FakeCabinet, MemStore, START, World, c1, door, order, shop, tenant};

fn put(world: &mut World, id: &str) {
    world.put(&format!(r#"{{"order":"{id}","cabinet":"c1","size":"S","category":"retail"}}"#));
}

/// The fleet starts on `backup`, as `fleet restore` leaves it.
pub(crate) fn restore(world: &mut World, mut backup: MemStore) {
    backup.commit(&[Write::put(RESTORED.0, RESTORED.1, cbor::encode(&START))]).unwrap();
    world.store = backup;
    world.restart();
}

/// Everything is told; `taken` are the compartments that hold something.
pub(crate) fn sample(world: &mut World, taken: &[u16], waiting: u64) {
    sample_with(world, taken, waiting, &[]);
}

/// `faulty`: compartments whose lock is at fault.
pub(crate) fn sample_with(world: &mut World, taken: &[u16], waiting: u64, faulty: &[u16]) {
    let cabinet = world.cabinet(&c1());
    let state = |number: u16| CompartmentState {
        number: door(number),
        door: DoorState::Closed,
        occupancy: Occupancy::Unknown,
        allocated: taken.contains(&number),
        fault: faulty.contains(&number).then_some(true),
    };
    let telemetry = Telemetry {
        challenge: cabinet.challenge(),
        at: Stamp { boot: cabinet.challenge().boot, boot_millis: 9, fleet_millis: None, uncertainty_millis: None },
        compartments: (1..=cabinet.sizes.len()).map(|number| state(u16::try_from(number).unwrap())).collect(),
        boards_silent: 0,
        outbox: waiting,
        book: cabinet.book,
        wrong_codes_today: 0,
        disk_low: None,
    };
    world.up(&c1(), Up::Telemetry, cbor::encode(&telemetry));
}

fn state(world: &World, id: &str) -> Option<OrderState> {
    world.statuses("shop").into_iter().rfind(|status| status.order.as_str() == id).map(|status| status.state)
}

fn collect(world: &mut World, id: &str, number: u16) {
    let credential = schemas::messages::CredentialId([1; 8]);
    world.fact(&c1(), Collected { order: order(id), compartment: door(number), credential, confirmed: true });
}

#[test]
fn a_restored_fleet_hears_again_what_it_has_forgotten() {
    let mut world = World::new(&[Size::S; 3]);
    put(&mut world, "A1");
    load(&mut world, "A1", 1);
    let backup = world.store.clone();
    put(&mut world, "A2");
    load(&mut world, "A2", 2);
    collect(&mut world, "A1", 1);
    let seen = world.statuses("shop").last().unwrap().n;

    restore(&mut world, backup);
    world.connect(&c1());
    assert_eq!(state(&world, "A1"), Some(OrderState::Collected));
    assert!(world.statuses("shop").last().unwrap().n > seen, "a number that the shop has seen is not given again");

    sample(&mut world, &[2], 0);
    put(&mut world, "B1");
    put(&mut world, "B2");
    put(&mut world, "B3");
    assert_eq!(world.reserved(), [door(1), door(3)], "what holds the forgotten order is not free");
    put(&mut world, "A2");
    assert_eq!(state(&world, "A2"), Some(OrderState::Stored), "its backend puts it again and finds it where it is");
}

/// What the fleet knows of its code is of before the backup; the cabinet may have been given another one since.
#[test]
fn a_code_that_is_sent_again_behind_a_restore_is_one_that_opens() {
    let mut world = World::new(&[Size::S; 2]);
    put(&mut world, "A1");
    load(&mut world, "A1", 1);
    let backup = world.store.clone();
    let wish = |world: &mut World, change| {
        let (tenant, integration, payload) = (tenant(), shop(), br#"{"order":"A1"}"#.to_vec());
        world.handle(Input::OrderChange { tenant, integration, change, payload });
    };
    wish(&mut world, OrderChange::Reissue);
    let replaced = world.notifications()[0].code.clone();
    restore(&mut world, backup);
    world.connect(&c1());
    wish(&mut world, OrderChange::Resend);
    let again = world.notifications().pop().unwrap().code;
    assert_ne!(again, replaced, "the cabinet refuses that one");
    wish(&mut world, OrderChange::Resend);
    assert_eq!(world.notifications().pop().unwrap().code, again, "the same one from now on");
}

/// Put for a site, it would else go to whichever cabinet has the most room.
#[test]
fn an_order_for_a_site_that_was_forgotten_is_found_at_the_cabinet_that_has_it_inside() {
    let mut world = World::new(&[Size::S; 2]);
    let c2 = "c2".parse().unwrap();
    world.add(FakeCabinet::new("c2", &[Size::S; 2]));
    let backup = world.store.clone();
    world.connect(&c2);
    let whole = r#"{"order":"A2","site":"mall","size":"S","more":["S"],"category":"retail"}"#;
    world.put(whole);
    load(&mut world, "A2", 1);
    load(&mut world, "A2.2", 2);
    restore(&mut world, backup);
    [c1(), c2].iter().for_each(|cabinet| world.connect(cabinet));
    world.put(whole);
    let row = world.statuses("shop").pop().unwrap();
    assert_eq!((row.state, row.cabinet), (OrderState::Stored, Some(c1())));
}

/// The fleet knows best what it has made for a cabinet that lost its disk.
#[test]
fn a_code_that_is_sent_again_after_a_cabinet_got_another_disk_is_the_same() {
    let mut world = World::new(&[Size::S; 2]);
    put(&mut world, "A1");
    load(&mut world, "A1", 1);
    let code = world.notifications()[0].code.clone();
    world.disconnect(&c1());
    let cabinet = world.cabinet(&c1());
    (cabinet.epoch, cabinet.newest, cabinet.oldest) = (Epoch([8; 8]), 0, 1);
    cabinet.history.clear();
    world.connect(&c1());
    let (tenant, integration, payload) = (tenant(), shop(), br#"{"order":"A1"}"#.to_vec());
    world.handle(Input::OrderChange { tenant, integration, change: OrderChange::Resend, payload });
    let again = world.notifications();
    assert_eq!((again.len(), &again[1].code), (2, &code));
}

/// Its backend knows it as not ready yet; the cabinet knows better.
#[test]
fn an_order_that_was_forgotten_and_is_put_again_before_it_is_ready_is_found_where_it_is() {
    let mut world = World::new(&[Size::S; 2]);
    put(&mut world, "A1");
    let backup = world.store.clone();
    put(&mut world, "A2");
    load(&mut world, "A2", 2);
    restore(&mut world, backup);
    world.connect(&c1());
    world.put(r#"{"order":"A2","cabinet":"c1","size":"S","category":"retail","ready":false}"#);
    let told = world.statuses("shop").into_iter().filter(|status| status.order.as_str() == "A2");
    assert_eq!(told.map(|status| status.state).collect::<Vec<_>>(), [OrderState::Created, OrderState::Stored]);
}

#[test]
fn a_compartment_of_which_the_sample_says_nothing_readable_needs_a_look() {
    let mut world = World::new(&[Size::S; 2]);
    put(&mut world, "A1");
    let backup = world.store.clone();
    restore(&mut world, backup);
    world.connect(&c1());
    world.cabinet(&c1()).sizes.truncate(1);
    let alarms = world.alarms();
    sample(&mut world, &[], 0);
    assert_eq!(world.alarms(), alarms + 1);
    put(&mut world, "B1");
    assert_eq!(state(&world, "B1"), Some(OrderState::Rejected), "compartment 2 is not given out");
}

#[test]
fn where_events_are_lost_the_cabinets_word_about_its_compartments_counts() {
    let mut world = World::new(&[Size::S; 3]);
    put(&mut world, "A1");
    load(&mut world, "A1", 1);
    let backup = world.store.clone();
    put(&mut world, "A2");
    load(&mut world, "A2", 2);
    collect(&mut world, "A1", 1);
    let cabinet = world.cabinet(&c1());
    cabinet.oldest = cabinet.newest;
    cabinet.history.retain(|n, _| *n == cabinet.newest);

    restore(&mut world, backup);
    world.connect(&c1());
    let before = world.alarms();
    sample(&mut world, &[2], 1);
    assert_eq!(world.alarms(), before, "it has not told everything yet");
    sample(&mut world, &[2], 0);
    sample(&mut world, &[2], 0);
    assert_eq!(world.alarms(), before + 2, "1 is free and 2 is taken, each told once");
    put(&mut world, "B1");
    put(&mut world, "B2");
    put(&mut world, "B3");
    assert!(!world.reserved().contains(&door(2)), "{:?}", world.reserved());
}

/// An order that the backup has in a compartment and the cabinet has not: it is not given out as if nothing were wrong.
#[test]
fn a_compartment_that_is_free_by_the_cabinet_alone_needs_a_look() {
    let mut world = World::new(&[Size::S; 2]);
    put(&mut world, "A1");
    load(&mut world, "A1", 1);
    world.disconnect(&c1());
    let cabinet = world.cabinet(&c1());
    (cabinet.newest, cabinet.oldest) = (cabinet.newest + 9, cabinet.newest + 10);
    cabinet.history.clear();
    world.connect(&c1());
    sample(&mut world, &[], 0);
    put(&mut world, "B1");
    put(&mut world, "B2");
    assert_eq!(world.reserved(), [door(1), door(2)], "A1 is where it was, B1 beside it");
    assert_eq!(state(&world, "B2"), Some(OrderState::Rejected));
}

/// The versions can be equal by chance and the books different: the whole book is sent once.
#[test]
fn a_restored_fleet_sends_the_whole_book_in_a_newer_version() {
    let mut world = World::new(&[Size::S; 3]);
    put(&mut world, "A1");
    let backup = world.store.clone();
    put(&mut world, "A2");
    let held = world.cabinet(&c1()).book;

    restore(&mut world, backup);
    put(&mut world, "A3");
    world.connect(&c1());
    let book = world.cabinet(&c1()).books.iter().rfind(|book| book.base == 0).cloned().unwrap();
    assert!(book.version > held, "{} after {held}", book.version);
    let named = |id: &str| {
        book.changes.iter().any(|change| matches!(change, BookChange::PutOrder(put) if put.order == order(id)))
    };
    assert_eq!((named("A1"), named("A2"), named("A3")), (true, false, true));
    let sent = world.cabinet(&c1()).books.len();
    sample(&mut world, &[], 0);
    world.disconnect(&c1());
    world.connect(&c1());
    assert_eq!(world.cabinet(&c1()).books.len(), sent, "once they are compared, nothing is sent again");
}

/// A whole book leaves what is inside alone, so it has to say what was withdrawn.
#[test]
fn a_withdrawn_code_stays_withdrawn_in_a_whole_book() {
    let mut world = World::new(&[Size::S; 2]);
    put(&mut world, "A1");
    load(&mut world, "A1", 1);
    world.cancel(r#"{"order":"A1"}"#);
    let dropped = |changes: &[BookChange]| {
        changes.iter().filter(|change| matches!(change, BookChange::DropCredential(_))).count()
    };
    let books = &world.cabinet(&c1()).books;
    assert_eq!(dropped(&books.last().unwrap().changes), 2, "digits and QR code");

    world.disconnect(&c1());
    world.cabinet(&c1()).book = 1;
    world.connect(&c1());
    let book = world.cabinet(&c1()).books.last().unwrap().clone();
    assert_eq!((book.base, dropped(&book.changes)), (0, 2));
}

/// Its numbers would be taken for those that the fleet has.
#[test]
fn a_cabinet_that_was_put_back_hears_of_it_in_the_signed_time() {
    use fleet_core::signing::SignerRequest;
    let mut world = World::new(&[Size::S; 2]);
    world.fact(&c1(), Started { agent: "0.1.0".into(), down_since: None });
    let newest = world.cabinet(&c1()).newest;
    world.disconnect(&c1());
    world.cabinet(&c1()).newest = newest - 1;
    world.connect(&c1());
    let mark = world.signer_asked.iter().rev().find_map(|asked| match asked {
        SignerRequest::SignTime(asked) => Some(asked.time.mark),
        _ => None,
    });
    let mark = mark.flatten().unwrap();
    assert_eq!((mark.epoch, mark.high_water), (world.cabinets[&c1()].epoch, newest));
}

#[test]
fn a_restore_is_told_once() {
    let mut world = World::new(&[Size::S]);
    put(&mut world, "A1");
    let backup = world.store.clone();
    restore(&mut world, backup);
    let newest = world.core.heads(&tenant(), &"shop".parse().unwrap(), Stream::Status).1;
    assert!(newest >= world.now * 1_000, "a leap ends behind the fleet's time in microseconds");
    let alarms = world.alarms();
    assert_eq!(alarms, 1, "at once, before anything else happens");
    world.restart();
    assert_eq!(world.alarms(), alarms);
    assert_eq!(world.core.heads(&tenant(), &"shop".parse().unwrap(), Stream::Status).1, newest);
}

/// A shop whose first row came after the backup: the restored fleet does not know that it ever wrote to it.
#[test]
fn a_stream_that_is_younger_than_the_backup_begins_behind_what_its_shop_may_have_seen() {
    let mut world = World::new(&[Size::S; 3]);
    let backup = world.store.clone();
    let order = r#"{"order":"C1","cabinet":"c1","size":"S","category":"retail"}"#;
    world.put_as("cafe", order);
    let seen = world.statuses("cafe").last().unwrap().n;
    restore(&mut world, backup);
    world.put_as("cafe", order);
    assert!(world.statuses("cafe").first().unwrap().n > seen);
    world.restart();
    world.put_as("kiosk", order);
    assert!(world.statuses("kiosk").first().unwrap().n > seen, "known after a restart too");
}

/// A newer agent may have said that an order was stored, in words that this version does not know.
#[test]
fn an_event_that_was_not_understood_makes_the_compartments_be_compared() {
    use schemas::messages::{Challenge, Uplink};
    let mut world = World::new(&[Size::S; 2]);
    let cabinet = world.cabinet(&c1());
    cabinet.newest += 1;
    cabinet.next = cabinet.newest + 1;
    let challenge: Challenge = cabinet.challenge();
    let uplink = Uplink { challenge, epoch: cabinet.epoch, n: cabinet.newest, record: cbor::Blob(vec![0xf6]) };
    world.up(&c1(), Up::Event, cbor::encode(&uplink));
    sample(&mut world, &[1], 0);
    put(&mut world, "B1");
    assert_eq!(world.reserved(), [door(2)], "compartment 1 holds something that the fleet does not know");
}

#[test]
fn a_disk_that_comes_back_is_not_believed_a_second_time() {
    let mut world = World::new(&[Size::S; 2]);
    put(&mut world, "A1");
    load(&mut world, "A1", 1);
    collect(&mut world, "A1", 1);
    let (old, told) = (world.cabinets[&c1()].clone(), world.statuses("shop").len());
    world.disconnect(&c1());
    let cabinet = world.cabinet(&c1());
    (cabinet.epoch, cabinet.newest, cabinet.next, cabinet.book) = (Epoch([5; 8]), 0, 1, 0);
    cabinet.history.clear();
    world.connect(&c1());
    world.disconnect(&c1());
    let newest = old.newest;
    world.cabinets.insert(c1(), old);
    world.connect(&c1());
    assert_eq!(world.cabinets[&c1()].welcomes.last().unwrap().high_water, newest);
    assert_eq!(world.statuses("shop").len(), told, "nothing happened twice");
}

/// Between the backup and now its backend made it ready, and staff loaded it.
#[test]
fn an_order_that_was_only_created_at_the_backup_gets_its_code() {
    let mut world = World::new(&[Size::S; 2]);
    world.put(r#"{"order":"A1","cabinet":"c1","size":"S","category":"retail","ready":false}"#);
    let backup = world.store.clone();
    put(&mut world, "A1");
    load(&mut world, "A1", 1);
    restore(&mut world, backup);
    world.connect(&c1());
    assert_eq!(state(&world, "A1"), Some(OrderState::Stored));
    assert_eq!(world.notifications().len(), 1);
    world.cancel(r#"{"order":"A1"}"#);
    assert_eq!(state(&world, "A1"), Some(OrderState::Recalled), "and it can be called back");
}

/// The operator sees that the first backup was the wrong one.
#[test]
fn a_second_restore_gives_no_number_twice() {
    let mut world = World::new(&[Size::S; 4]);
    let first = world.store.clone();
    put(&mut world, "A1");
    let second = world.store.clone();
    restore(&mut world, second);
    world.now += 1_000;
    put(&mut world, "A2");
    let seen = world.statuses("shop").last().unwrap().n;
    world.now += 60_000;
    restore(&mut world, first);
    put(&mut world, "A3");
    assert!(world.statuses("shop").first().unwrap().n > seen);
}

/// The broker starts with the same wrong clock both times.
#[test]
fn two_restores_at_the_same_moment_land_apart_and_below_what_every_language_counts_exactly() {
    let mut world = World::new(&[Size::S]);
    put(&mut world, "A1");
    let newest = |world: &World| world.core.heads(&tenant(), &"shop".parse().unwrap(), Stream::Status).1;
    let backup = world.store.clone();
    restore(&mut world, backup.clone());
    let first = newest(&world);
    restore(&mut world, backup);
    let second = newest(&world);
    assert!(first.abs_diff(second) > 1_000, "{first} {second}");
    for _ in 0..50 {
        let backup = world.store.clone();
        let before = newest(&world);
        restore(&mut world, backup);
        assert!(newest(&world) >= before + fleet_core::LEAP);
    }
    assert!(newest(&world) < 1 << 53);
}

/// A restore did not help, and is made again from the backup that was taken behind the first one.
#[test]
fn two_restores_from_one_backup_of_a_restored_fleet_give_no_number_twice() {
    let mut world = World::new(&[Size::S; 4]);
    let backup = world.store.clone();
    restore(&mut world, backup);
    put(&mut world, "A1");
    world.now += 60_000;
    let backup = world.store.clone();
    restore(&mut world, backup.clone());
    put(&mut world, "A2");
    let seen = world.statuses("shop").last().unwrap().n;
    world.now += 60_000;
    restore(&mut world, backup);
    put(&mut world, "A3");
    assert!(world.statuses("shop").last().unwrap().n > seen);
}

#[test]
fn the_last_row_before_a_leap_is_removed_like_any_other() {
    let mut world = World::with(Config { acked_rows_kept: 1, ..Config::default() });
    world.add(FakeCabinet::new("c1", &[Size::S; 9]));
    world.connect(&c1());
    for id in ["A1", "A2", "A3"] {
        put(&mut world, id);
    }
    let backup = world.store.clone();
    restore(&mut world, backup);
    put(&mut world, "A4");
    put(&mut world, "A5");
    let newest = world.statuses("shop").last().unwrap().n;
    for n in [3, newest - 1, newest] {
        let integration = "shop".parse().unwrap();
        world.handle(Input::RowAcked { tenant: tenant(), integration, stream: Stream::Status, n });
    }
    let left: Vec<_> = world.statuses("shop").into_iter().map(|row| row.n).collect();
    assert_eq!(left, [newest]);
}

/// Sixteen disks that a cabinet had before are known by their marks; an older one is told as new.
#[test]
fn the_marks_of_sixteen_former_disks_are_kept() {
    for (disks, known) in [(16, true), (17, false)] {
        let mut world = World::new(&[Size::S]);
        world.fact(&c1(), Started { agent: "0.1.0".into(), down_since: None });
        let first = world.cabinets[&c1()].clone();
        let mut begin = |epoch: u8, newest: u64| {
            world.disconnect(&c1());
            let cabinet = world.cabinet(&c1());
            (cabinet.epoch, cabinet.newest, cabinet.next) = (Epoch([epoch; 8]), newest, 1);
            cabinet.history.clear();
            world.connect(&c1());
            world.cabinets[&c1()].welcomes.last().unwrap().high_water
        };
        (0..disks).for_each(|disk| assert_eq!(begin(100 + disk, 0), 0));
        assert_eq!(begin(1, first.newest), if known { first.newest } else { 0 }, "{disks} disks later");
    }
}

/// Two orders lie together in compartment 1, by the cabinet's word alone.
fn with_two_that_nobody_knows() -> World {
    let mut world = World::new(&[Size::S; 2]);
    let (backup, cabinet) = (world.store.clone(), world.cabinet(&c1()));
    (cabinet.newest, cabinet.oldest) = (cabinet.newest + 9, cabinet.newest + 10);
    cabinet.history.clear();
    restore(&mut world, backup);
    world.connect(&c1());
    sample(&mut world, &[1], 0);
    world
}

fn rejected_for_want_of_room(world: &mut World, id: &str) -> bool {
    put(world, id);
    state(world, id) == Some(OrderState::Rejected)
}

#[test]
fn what_the_cabinet_takes_for_occupied_is_not_given_out_behind_a_closed_door_and_an_empty_sensor() {
    let mut world = with_two_that_nobody_knows();
    put(&mut world, "B1");
    world.fact(&c1(), DoorForced { compartment: door(1) });
    world.fact(&c1(), AuditRequired { compartment: door(1), order: Some(order("A1")) });
    world.fact(&c1(), DoorClosed { compartment: door(1), occupancy: Occupancy::Empty });
    assert!(rejected_for_want_of_room(&mut world, "B2"));
    world.restart();
    world.connect(&c1());
    assert!(rejected_for_want_of_room(&mut world, "B3"), "a start forgets nothing of it");
    sample(&mut world, &[], 1);
    assert!(rejected_for_want_of_room(&mut world, "B4"), "an older word may still say otherwise");
    sample(&mut world, &[], 0);
    assert!(!rejected_for_want_of_room(&mut world, "B5"), "fleet and cabinet agree again");
}

type Way<'a> = &'a dyn Fn(&mut World, &str);

#[test]
fn what_nobody_knows_may_not_have_lain_alone() {
    let staff: schemas::ids::Name = "sam".parse().unwrap();
    let missing = |order| Audited { compartment: door(1), staff: staff.clone(), found: Finding::Missing, order };
    let out: [Way<'_>; 3] = [
        &|world, id| {
            drop(world.fact(&c1(), Retrieved { order: order(id), compartment: door(1), staff: staff.clone() }));
        },
        &|world, id| drop(world.fact(&c1(), missing(Some(order(id))))),
        &|world, id| collect(world, id, 1),
    ];
    for (way, take_out) in out.iter().enumerate() {
        let mut world = with_two_that_nobody_knows();
        put(&mut world, "B1");
        take_out(&mut world, "A1");
        assert!(rejected_for_want_of_room(&mut world, "B2"), "way {way}: A2 is there");
        sample(&mut world, &[1], 0);
        assert!(rejected_for_want_of_room(&mut world, "B3"), "way {way}: A2 is there");
        take_out(&mut world, "A2");
        sample(&mut world, &[], 0);
        assert!(!rejected_for_want_of_room(&mut world, "B4"), "way {way}: all is out");
    }
}

#[test]
fn who_looks_and_finds_nothing_ends_what_the_cabinet_claimed() {
    let mut world = with_two_that_nobody_knows();
    put(&mut world, "B1");
    let staff = "sam".parse().unwrap();
    world.fact(&c1(), Audited { compartment: door(1), staff, found: Finding::AsBooked, order: None });
    assert!(!rejected_for_want_of_room(&mut world, "B2"));
}
