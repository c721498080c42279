//! Each check on a history made by hand: the sound one passes, and one thing wrong with it is found by the right name.

use schemas::api::{RejectReason, RequestErrorCode, Rfc3339, Status};
use schemas::messages::{
    BootId, Collected, CommandId, CredentialId, LoadAborted, Loading, Retrieved, Stamp, Stored, StoredBy, UnlockDone,
};

use super::super::history::{Errand, Victim};
use super::super::stores::{HeadSeen, NotificationSeen, OrderSeen, StatusSeen, Stored as StoredBay};
use super::*;

const EPOCH: &str = "0101010101010101";

fn cabinet() -> CabinetId {
    "berlin-01".parse().unwrap()
}

fn order(name: &str) -> OrderKey {
    format!("shop/{name}").parse().unwrap()
}

fn door(number: u16) -> Compartment {
    Compartment::new(number).unwrap()
}

fn record(fact: impl Into<Fact>) -> Vec<u8> {
    let at = Stamp { boot: BootId([1; 8]), boot_millis: 5, fleet_millis: None, uncertainty_millis: None };
    cbor::encode(&Event { at, fact: fact.into() })
}

fn loading(name: &str, at: u16) -> Vec<u8> {
    record(Loading { order: order(name), compartment: door(at), staff: "sam".parse().unwrap() })
}

fn stored(name: &str, at: u16) -> Vec<u8> {
    let staff = "sam".parse().unwrap();
    record(Stored { order: order(name), compartment: door(at), by: StoredBy::Sensor, staff })
}

fn collected(name: &str, at: u16) -> Vec<u8> {
    let credential = CredentialId([3; 8]);
    record(Collected { order: order(name), compartment: door(at), credential, confirmed: true })
}

fn status(n: u64, name: &str, state: OrderState) -> Status {
    Status {
        n,
        order: name.parse().unwrap(),
        state,
        at: Rfc3339(1_000),
        time_unverified: false,
        cabinet: Some(cabinet()),
        compartment: Some(door(1)),
        reason: None,
        until: None,
        walk_in: false,
        content: None,
        bundle: None,
        parts: Vec::new(),
        courier: None,
    }
}

fn seen(row: &Status) -> StatusSeen {
    StatusSeen {
        n: row.n,
        order: row.order.clone(),
        state: row.state,
        compartment: row.compartment,
        reason: row.reason,
    }
}

fn shop() -> Name {
    "shop".parse().unwrap()
}

/// One order: put, loaded, stored, told, collected by its code; and one unlock of another door.
fn sound() -> Evidence {
    use OrderState::{Collected, Loading, Reserved, Stored};
    let mut evidence = Evidence::default();
    let (entered, unlocked) = (1, 2);
    let states = [Reserved, Loading, Stored, Collected];
    let rows: Vec<Status> = states.into_iter().zip(1..).map(|(state, n)| status(n, "A1", state)).collect();
    let tell = |row: &Status| Happening::StatusTold { integration: shop(), row: row.clone() };
    let history = vec![
        (100, Happening::PutAsked { order: order("A1") }),
        (110, Happening::PutAcknowledged { order: order("A1") }),
        (120, tell(&rows[0])),
        (200, Happening::StaffAsked { id: 3, cabinet: cabinet(), order: order("A1"), errand: Errand::Load }),
        (400, tell(&rows[1])),
        (500, tell(&rows[2])),
        (600, Happening::NotificationTold { integration: shop(), n: 1, order: "A1".parse().unwrap() }),
        (700, Happening::Entered { id: entered, cabinet: cabinet(), order: order("A1"), compartment: door(1) }),
        (720, Happening::Answered { id: entered, shown: Shown::Opening(vec![1]) }),
        (900, tell(&rows[3])),
        (950, Happening::UnlockAsked { id: unlocked, cabinet: cabinet(), compartment: door(4) }),
        (1_200, Happening::UnlockReplied { id: unlocked, heard: Heard::Outcome(UnlockOutcome::Opened) }),
    ];
    evidence.told = history.into_iter().map(|(at, what)| Entry { at, what }).collect();
    let pulse = |at, number| PulseSeen { at, cabinet: cabinet(), compartment: door(number) };
    evidence.pulses = vec![pulse(210, 1), pulse(725, 1), pulse(1_000, 4)];
    let seen_order = OrderSeen { order: order("A1"), cabinet: cabinet(), state: Collected };
    evidence.fleet.orders.insert(order("A1"), seen_order);
    evidence.fleet.statuses.insert(shop(), rows.iter().map(|row| (row.n, seen(row))).collect());
    let told = NotificationSeen { n: 1, order: "A1".parse().unwrap() };
    evidence.fleet.notifications.insert(shop(), [(1, told)].into());
    evidence.fleet.heads.insert((shop(), STATUS.to_owned()), HeadSeen { newest: 4, cursor: 3, oldest: 1 });
    evidence.fleet.heads.insert((shop(), NOTIFICATIONS.to_owned()), HeadSeen { newest: 1, cursor: 0, oldest: 1 });
    let unlock = UnlockDone { id: CommandId([9; 16]), compartment: door(4), outcome: UnlockOutcome::Opened };
    set_events(&mut evidence, vec![loading("A1", 1), stored("A1", 1), collected("A1", 1), record(unlock)]);
    evidence
}

/// The same events at the cabinet and at the fleet.
fn set_events(evidence: &mut Evidence, records: Vec<Vec<u8>>) {
    let numbered: Vec<(u64, Vec<u8>)> = (1..).zip(records).collect();
    let bays = [(door(1), Content::Free(super::super::stores::Free {}))].into();
    let events = numbered.iter().cloned().collect();
    let disk = CabinetDisk { epoch: EPOCH.to_owned(), events, bays, uses: 0, pulses: 3 };
    evidence.cabinets.insert(cabinet(), disk);
    evidence.fleet.events.insert((cabinet(), EPOCH.to_owned()), numbered);
}

fn all() -> Vec<Check> {
    ALWAYS.into_iter().chain(AT_REST).collect()
}

/// The sound history with one thing wrong is refused by the check `name`.
fn broken(name: &str, spoil: impl FnOnce(&mut Evidence)) {
    let mut evidence = sound();
    spoil(&mut evidence);
    let said = judge(&evidence, &all()).expect_err(name);
    assert!(said.starts_with(&format!("{name}: ")), "{name} was expected, but {said}");
}

fn told(evidence: &mut Evidence, at: At, what: Happening) {
    evidence.told.push(Entry { at, what });
    evidence.told.sort_by_key(|entry| entry.at);
}

fn fleet_events(evidence: &mut Evidence) -> &mut Vec<(u64, Vec<u8>)> {
    evidence.fleet.events.get_mut(&(cabinet(), EPOCH.to_owned())).unwrap()
}

#[test]
fn a_sound_history_passes_all_checks() {
    judge(&sound(), &all()).unwrap();
}

#[test]
fn an_acknowledged_order_that_is_not_on_disk_is_found() {
    broken("acknowledged_orders_are_stored", |evidence| drop(evidence.fleet.orders.remove(&order("A1"))));
    broken("acknowledged_orders_are_stored", |evidence| {
        told(evidence, 300, Happening::PutAcknowledged { order: order("A2") });
    });
}

#[test]
fn a_row_that_was_told_and_is_not_on_disk_is_found() {
    broken("rows_told_are_stored", |evidence| {
        evidence.fleet.statuses.get_mut(&shop()).unwrap().remove(&4);
    });
    broken("rows_told_are_stored", |evidence| {
        evidence.fleet.statuses.get_mut(&shop()).unwrap().get_mut(&2).unwrap().state = OrderState::Stored;
    });
    broken("rows_told_are_stored", |evidence| drop(evidence.fleet.notifications.remove(&shop())));
    broken("rows_told_are_stored", |evidence| head(evidence, NOTIFICATIONS).cursor = 2);
    // Removed before it was acknowledged.
    broken("rows_told_are_stored", |evidence| {
        evidence.fleet.notifications.remove(&shop());
        head(evidence, NOTIFICATIONS).oldest = 2;
    });
}

#[test]
fn a_row_that_was_acknowledged_may_be_removed() {
    let mut evidence = sound();
    evidence.fleet.notifications.remove(&shop());
    *head(&mut evidence, NOTIFICATIONS) = HeadSeen { newest: 1, cursor: 1, oldest: 2 };
    judge(&evidence, &all()).unwrap();
}

fn head<'a>(evidence: &'a mut Evidence, stream: &str) -> &'a mut HeadSeen {
    evidence.fleet.heads.get_mut(&(shop(), stream.to_owned())).unwrap()
}

#[test]
fn a_gap_in_the_rows_and_a_row_that_changes_are_found() {
    broken("rows_come_in_order_without_gaps", |evidence| {
        evidence.told.retain(|entry| !matches!(&entry.what, Happening::StatusTold { row, .. } if row.n == 2));
    });
    let other = Status { time_unverified: true, ..status(2, "A1", OrderState::Loading) };
    broken("rows_come_in_order_without_gaps", |evidence| {
        told(evidence, 410, Happening::StatusTold { integration: shop(), row: other });
    });
}

#[test]
fn a_row_that_comes_again_unchanged_is_no_fault() {
    let mut evidence = sound();
    let row = status(2, "A1", OrderState::Loading);
    told(&mut evidence, 410, Happening::StatusTold { integration: shop(), row });
    judge(&evidence, &all()).unwrap();
}

#[test]
fn an_order_that_moves_behind_its_end_is_found() {
    broken("states_follow_each_other", |evidence| {
        let row = status(5, "A1", OrderState::Stored);
        evidence.fleet.statuses.get_mut(&shop()).unwrap().insert(5, seen(&row));
    });
    let mut evidence = sound();
    let late = Status { reason: Some(RejectReason::TooLate), ..status(5, "A1", OrderState::Collected) };
    evidence.fleet.statuses.get_mut(&shop()).unwrap().insert(5, seen(&late));
    told(&mut evidence, 1_300, Happening::StatusTold { integration: shop(), row: late });
    judge(&evidence, &all()).expect("an answer to what came too late moves nothing");
}

#[test]
fn a_doubled_a_lost_and_a_changed_event_are_found() {
    let name = "events_arrive_once_and_in_order";
    broken(name, |evidence| {
        let doubled = fleet_events(evidence)[1].clone();
        fleet_events(evidence).insert(2, doubled);
    });
    broken(name, |evidence| drop(fleet_events(evidence).remove(1)));
    broken(name, |evidence| fleet_events(evidence)[0].1[3] ^= 1);
    broken(name, |evidence| {
        evidence.cabinets.get_mut(&cabinet()).unwrap().events.pop_last();
    });
    broken(name, |evidence| {
        evidence.fleet.events.insert((cabinet(), "0202020202020202".to_owned()), Vec::new());
    });
}

#[test]
fn two_orders_in_a_compartment_and_a_second_collection_are_found() {
    let name = "one_order_a_compartment_and_collected_once";
    let taken = Retrieved { order: order("A2"), compartment: door(1), staff: "sam".parse().unwrap() };
    let aborted = LoadAborted { order: order("A2"), compartment: door(2) };
    let done = UnlockDone { id: CommandId([9; 16]), compartment: door(4), outcome: UnlockOutcome::Opened };
    for records in [
        vec![loading("A1", 1), loading("A2", 1)],
        vec![loading("A1", 1), loading("A1", 2)],
        vec![stored("A1", 1)],
        vec![loading("A1", 1), stored("A1", 1), record(taken)],
        vec![loading("A1", 1), record(aborted)],
        vec![loading("A1", 1), stored("A1", 1), collected("A1", 1), collected("A1", 1)],
        (0..2).flat_map(|_| [loading("A1", 1), stored("A1", 1), collected("A1", 1)]).collect(),
        vec![record(done.clone()), record(done)],
    ] {
        broken(name, |evidence| set_events(evidence, records));
    }
}

#[test]
fn somebody_who_finds_other_goods_is_heard() {
    let text = "who came for shop/A1 finds shop/A2".to_owned();
    broken("nobody_was_surprised", |evidence| {
        told(evidence, 730, Happening::Surprised { cabinet: cabinet(), compartment: door(1), text });
    });
}

#[test]
fn a_pulse_that_nobody_asked_for_is_found() {
    let name = "no_pulse_without_authority";
    let pulse = |at, number| PulseSeen { at, cabinet: cabinet(), compartment: door(number) };
    broken(name, |evidence| evidence.pulses.push(pulse(800, 3)));
    // Two for one code, before it was typed, and of another cabinet.
    broken(name, |evidence| evidence.pulses.push(pulse(730, 1)));
    broken(name, |evidence| evidence.pulses[1].at = 690);
    broken(name, |evidence| evidence.pulses[1].cabinet = "berlin-02".parse().unwrap());
    // Behind the outcome of the unlock, and twice for it.
    broken(name, |evidence| evidence.pulses.push(pulse(1_250, 4)));
    broken(name, |evidence| evidence.pulses.push(pulse(1_100, 4)));
    // Staff were never given another door for this order.
    broken(name, |evidence| evidence.pulses[0].compartment = door(2));
}

#[test]
fn what_was_refused_or_has_died_with_its_agent_opens_nothing() {
    let name = "no_pulse_without_authority";
    broken(name, |evidence| {
        evidence.told.retain(|entry| !matches!(entry.what, Happening::Answered { .. }));
        told(evidence, 720, Happening::Answered { id: 1, shown: Shown::Refused("used".into()) });
    });
    broken(name, |evidence| {
        evidence.told.retain(|entry| !matches!(entry.what, Happening::UnlockReplied { .. }));
        let heard = Heard::Error(RequestErrorCode::CabinetOffline);
        told(evidence, 1_200, Happening::UnlockReplied { id: 2, heard });
    });
    broken(name, |evidence| {
        evidence.pulses[1].at = 5_000;
        told(evidence, 730, Happening::Killed { victim: Victim::Agent(cabinet()) });
    });
}

#[test]
fn a_use_may_pulse_once_for_each_press_and_three_times_at_most() {
    let pressed = |presses: u64, pulses: u64| {
        let mut evidence = sound();
        for n in 0..presses {
            told(&mut evidence, 740 + n, Happening::Pressed { id: 1 });
        }
        let again = |n| PulseSeen { at: 760 + n, cabinet: cabinet(), compartment: door(1) };
        evidence.pulses.extend((0..pulses).map(again));
        judge(&evidence, &AT_REST)
    };
    pressed(2, 2).unwrap();
    assert!(pressed(1, 2).is_err(), "two presses of one");
    assert!(pressed(5, 3).is_err(), "a fourth pulse");
}

#[test]
fn pulses_are_laid_to_the_rights_that_leave_room_for_the_others() {
    // The earlier unlock could take either pulse, the later one only the second.
    let mut evidence = sound();
    told(&mut evidence, 960, Happening::UnlockAsked { id: 7, cabinet: cabinet(), compartment: door(4) });
    told(&mut evidence, 1_005, Happening::UnlockReplied { id: 7, heard: Heard::Outcome(UnlockOutcome::Opened) });
    evidence.pulses.push(PulseSeen { at: 1_150, cabinet: cabinet(), compartment: door(4) });
    judge(&evidence, &all()).unwrap();
}

#[test]
fn an_unlock_that_is_told_as_opened_without_a_pulse_is_found() {
    broken("an_unlock_told_as_opened_was_pulsed", |evidence| drop(evidence.pulses.pop()));
}

#[test]
fn an_entry_that_opens_another_door_is_found() {
    broken("an_entry_opens_the_door_of_its_order", |evidence| {
        evidence.told.retain(|entry| !matches!(entry.what, Happening::Answered { .. }));
        told(evidence, 720, Happening::Answered { id: 1, shown: Shown::Opening(vec![2]) });
    });
}

#[test]
fn what_is_still_under_way_is_no_rest() {
    let name = "everything_has_come_to_rest";
    broken(name, |evidence| evidence.fleet.intents = 1);
    broken(name, |evidence| evidence.fleet.orders.get_mut(&order("A1")).unwrap().state = OrderState::Stored);
    broken(name, |evidence| drop(fleet_events(evidence).pop()));
    broken(name, |evidence| evidence.cabinets.get_mut(&cabinet()).unwrap().uses = 1);
    broken(name, |evidence| {
        let bay = Content::Stored(StoredBay { order: order("A1") });
        evidence.cabinets.get_mut(&cabinet()).unwrap().bays.insert(door(1), bay);
    });
    broken(name, |evidence| {
        evidence.told.retain(|entry| !matches!(&entry.what, Happening::StatusTold { row, .. } if row.n == 4));
    });
}

#[test]
fn a_cabinet_that_forgets_is_found() {
    let disk = sound().cabinets.remove(&cabinet()).unwrap();
    let judged = |now: &CabinetDisk, seen| cabinet_forgets_nothing(&cabinet(), Some(&disk), now, seen);
    judged(&disk, 3).unwrap();
    assert!(judged(&disk, 4).is_err(), "a pulse that is not journalled");
    let mut now = disk.clone();
    now.events.pop_last();
    assert!(judged(&now, 3).is_err(), "an event is gone");
    let mut now = disk.clone();
    now.events.remove(&2);
    assert!(judged(&now, 3).is_err(), "a gap");
    let mut now = disk.clone();
    now.events.insert(2, loading("A9", 3));
    assert!(judged(&now, 3).is_err(), "an event was rewritten");
    let now = CabinetDisk { epoch: "0202020202020202".to_owned(), ..disk.clone() };
    assert!(judged(&now, 3).is_err(), "another epoch");
}
