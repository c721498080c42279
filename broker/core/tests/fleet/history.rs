//! The record of who opened what.

use fleet_core::{Effect, UNLOCKS, UNLOCKS_KEPT, UNLOCKS_PAGE, unlock_key, unlock_page};
use schemas::api::{Reply, Request, RequestErrorCode, UnlockPage, UnlockRecord, UnlockRight};
use schemas::cbor;
use schemas::messages::{
    Actor, ActorCommand, ActorCredential, ActorNobody, ActorStaff, BootId, Collected, CommandId, CommandRefused,
    CompartmentState, CredentialId, DoorClosed, DoorForced, DoorOpened, DoorState, LoadAborted, Loading, Occupancy,
    RefusalReason, Retrieved, Size, Stamp, Telemetry, UnlockDone, UnlockOutcome, WrongDoor,
};
use schemas::step::Store as _;
use schemas::topics::Up;

use crate::handover::load;
use crate::world::{FakeCabinet, START, World, c1, door, order};

const EVE: &str = "operator:acme:eve";
const UNLOCK: &str = r#"{"op":"unlock","cabinet":"c1","compartment":1,"reason":"customer called"}"#;

/// Asks, and does what the shell would do.
fn page(world: &mut World, cabinet: &str, before: Option<u64>) -> UnlockPage {
    let request = Request::UnlockList { cabinet: cabinet.parse().unwrap(), before };
    assert_eq!(world.ask("auditor:acme:amy", &request), None);
    let Some(Effect::ReplyUnlocks { tenant, cabinet, before, .. }) = world.seen.last() else { panic!() };
    let from = unlock_key(tenant, cabinet, *before);
    let mut rows = world.store.scan(UNLOCKS, &from, UNLOCKS_PAGE + 1).unwrap();
    rows.retain(|(key, _)| key.starts_with(&from[..from.len() - 8]));
    let Ok(Reply::Unlocks(page)) = unlock_page(&rows) else { panic!() };
    page
}

pub(crate) fn list(world: &mut World) -> Vec<UnlockRecord> {
    page(world, "c1", None).unlocks
}

fn outcome(world: &mut World, outcome: UnlockOutcome) {
    let id = world.last_command(&c1());
    world.fact(&c1(), UnlockDone { id, compartment: door(1), outcome });
}

fn opened(number: u16, by: impl Into<Actor>) -> DoorOpened {
    DoorOpened { compartment: door(number), by: by.into() }
}

/// The sensors speak: no opening has to be guessed.
fn sensors(world: &mut World) {
    let cabinet = &world.cabinets[&c1()];
    let closed = |number| CompartmentState {
        number,
        door: DoorState::Closed,
        occupancy: Occupancy::Unknown,
        allocated: false,
        fault: None,
    };
    let doors: Vec<_> = cabinet.hello().compartments.items.iter().map(|info| closed(info.number)).collect();
    let sample = Telemetry {
        challenge: cabinet.challenge(),
        at: Stamp { boot: BootId([9; 8]), boot_millis: 5, fleet_millis: None, uncertainty_millis: None },
        compartments: doors.into(),
        boards_silent: 0,
        outbox: 0,
        book: 0,
        wrong_codes_today: 0,
        disk_low: None,
    };
    world.up(&c1(), Up::Telemetry, cbor::encode(&sample));
}

#[test]
fn a_command_is_on_record_with_who_why_and_its_outcome() {
    let mut world = World::new(&[Size::S]);
    world.put(r#"{"order":"A1","cabinet":"c1","size":"S","category":"retail"}"#);
    sensors(&mut world);
    load(&mut world, "A1", 1);
    world.ask_raw(EVE, UNLOCK.as_bytes());
    let asked = UnlockRecord {
        n: 1,
        compartment: door(1),
        right: UnlockRight::Command,
        by: Some(EVE.into()),
        credential: None,
        order: Some("shop/A1".into()),
        reason: Some("customer called".into()),
        command: Some(world.last_command(&c1())),
        at: schemas::api::Rfc3339(START),
        time_unverified: false,
        outcome: None,
        refused: None,
        ended: None,
    };
    assert_eq!(list(&mut world), std::slice::from_ref(&asked), "without its end while nobody knows it");
    world.now += 1_500;
    let command = ActorCommand { id: world.last_command(&c1()), requester: EVE.into() };
    world.fact(&c1(), opened(1, command));
    outcome(&mut world, UnlockOutcome::Opened);
    let told = world.seen.iter().rev().find_map(|effect| match effect {
        Effect::Live { payload, .. } => Some(String::from_utf8(payload.clone()).unwrap()),
        _ => None,
    });
    assert!(told.unwrap().contains("asked for by operator:acme:eve: customer called"));
    world.restart();
    let ended = Some(schemas::api::Rfc3339(START + 1_500));
    let outcome = Some(UnlockOutcome::Opened);
    assert_eq!(list(&mut world), [UnlockRecord { outcome, ended, ..asked }], "one record for one opening");
}

#[test]
fn a_refusal_and_an_unlock_that_never_went_out_are_on_record_as_such() {
    let mut world = World::new(&[Size::S]);
    world.ask_raw("support:acme:sue", UNLOCK.as_bytes());
    let id = Some(world.last_command(&c1()));
    world.restart();
    world.connect(&c1());
    world.fact(&c1(), CommandRefused { id, reason: RefusalReason::WrongContent });
    world.signer_works = false;
    world.ask_raw(EVE, UNLOCK.as_bytes());
    let ends = |record: &UnlockRecord| (record.n, record.outcome, record.refused, record.ended.is_some());
    let ends: Vec<_> = list(&mut world).iter().map(ends).collect();
    assert_eq!(ends[0], (2, Some(UnlockOutcome::NotSent), None, true));
    assert_eq!(ends[1], (1, None, Some(RefusalReason::WrongContent), true));
}

#[test]
fn every_opening_at_the_cabinet_is_on_record_with_its_right() {
    let mut world = World::new(&[Size::S, Size::S]);
    world.put(r#"{"order":"A1","cabinet":"c1","size":"S","category":"retail"}"#);
    sensors(&mut world);
    let sam: schemas::ids::Name = "sam".parse().unwrap();
    let credential = CredentialId([0xc1; 8]);
    world.fact(&c1(), Loading { order: order("A1"), compartment: door(1), staff: sam.clone() });
    world.fact(&c1(), opened(1, ActorStaff { name: sam }));
    world.fact(&c1(), DoorClosed { compartment: door(1), occupancy: Occupancy::Unknown });
    world.fact(&c1(), opened(1, ActorCredential { id: credential }));
    world.fact(&c1(), DoorClosed { compartment: door(1), occupancy: Occupancy::Unknown });
    world.fact(&c1(), Collected { order: order("A1"), compartment: door(1), credential, confirmed: true });
    world.fact(&c1(), DoorForced { compartment: door(2) });
    let by = Some(ActorStaff { name: "ann".parse().unwrap() }.into());
    world.fact(&c1(), WrongDoor { pulsed: door(1), opened: door(2), by });
    world.fact(&c1(), opened(2, ActorNobody {}));
    let forgotten = ActorCommand { id: CommandId([9; 16]), requester: "operator:acme:old".into() };
    world.fact(&c1(), opened(2, forgotten));
    let shown = |record: UnlockRecord| {
        let who = record.by.or(record.credential).unwrap_or_default();
        (record.compartment, record.right, who, record.order.unwrap_or_default(), record.outcome)
    };
    let row = |number: u16, right, who: &str, order: &str| {
        (door(number), right, who.to_owned(), order.to_owned(), Some(UnlockOutcome::Opened))
    };
    assert_eq!(
        list(&mut world).into_iter().rev().map(shown).collect::<Vec<_>>(),
        [
            row(1, UnlockRight::Staff, "staff:acme:sam", "shop/A1"),
            row(1, UnlockRight::Credential, "c1c1c1c1c1c1c1c1", "shop/A1"),
            row(2, UnlockRight::Nobody, "", ""),
            row(2, UnlockRight::Nobody, "staff:acme:ann", ""),
            row(2, UnlockRight::Nobody, "", ""),
            row(2, UnlockRight::Command, "operator:acme:old", ""),
        ]
    );
}

/// Boards without sensors never tell that a door has opened.
#[test]
fn where_no_sensor_tells_what_people_did_is_on_record_with_an_unknown_outcome() {
    let mut world = World::new(&[Size::S]);
    world.put(r#"{"order":"A1","cabinet":"c1","size":"S","category":"retail"}"#);
    let credential = CredentialId([1; 8]);
    load(&mut world, "A1", 1);
    world.fact(&c1(), Collected { order: order("A1"), compartment: door(1), credential, confirmed: false });
    world.fact(&c1(), Retrieved { order: order("A1"), compartment: door(1), staff: "sam".parse().unwrap() });
    world.fact(&c1(), LoadAborted { order: order("A1"), compartment: door(1) });
    let rights: Vec<_> = list(&mut world).iter().rev().map(|record| (record.right, record.outcome)).collect();
    let unknown = |right| (right, Some(UnlockOutcome::OutcomeUnknown));
    let expected = [UnlockRight::Staff, UnlockRight::Credential, UnlockRight::Staff, UnlockRight::Staff].map(unknown);
    assert_eq!(rights, expected);
}

#[test]
fn an_opening_that_the_cabinet_could_not_date_says_so() {
    let mut world = World::new(&[Size::S]);
    world.now += 7;
    let n = world.cabinets[&c1()].next;
    let payload = world.cabinets[&c1()].uplink(n, None, DoorForced { compartment: door(1) }.into());
    world.up(&c1(), Up::Event, payload);
    let [record] = list(&mut world).try_into().unwrap();
    assert_eq!((record.at.0, record.time_unverified), (START + 7, true));
}

#[test]
fn the_newest_thousand_are_kept_and_read_in_pages_of_their_own_cabinet() {
    let mut world = World::new(&[Size::S]);
    for neighbour in ["c0", "c10", "c2"] {
        world.add(FakeCabinet::new(neighbour, &[Size::S]));
        let id = neighbour.parse().unwrap();
        world.connect(&id);
        world.fact(&id, DoorForced { compartment: door(1) });
    }
    for _ in 0..UNLOCKS_KEPT + 10 {
        world.fact(&c1(), DoorForced { compartment: door(1) });
    }
    world.restart();
    assert_eq!(u64::try_from(world.store.rows(UNLOCKS).unwrap().len()).unwrap(), UNLOCKS_KEPT + 3);
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = page(&mut world, "c1", before);
        assert!(page.unlocks.len() == UNLOCKS_PAGE);
        before = page.unlocks.last().map(|last| last.n);
        seen.extend(page.unlocks.iter().map(|record| record.n));
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, (11..=UNLOCKS_KEPT + 10).rev().collect::<Vec<_>>());
    assert_eq!(page(&mut world, "c1", Some(11)).unlocks, []);
    assert_eq!(page(&mut world, "c1", Some(0)).unlocks, []);
    assert_eq!(page(&mut world, "c10", None).unlocks.len(), 1);
}

#[test]
fn the_record_of_a_cabinet_that_is_not_there_is_refused() {
    let mut world = World::new(&[Size::S]);
    let request = Request::UnlockList { cabinet: "c9".parse().unwrap(), before: None };
    let Some(Reply::Error(error)) = world.ask(EVE, &request) else { panic!() };
    assert_eq!(error.code, RequestErrorCode::Unknown);
    let own = Request::UnlockList { cabinet: c1(), before: None };
    let Some(Reply::Error(error)) = world.ask("operator:umbra:max", &own) else { panic!() };
    assert_eq!(error.code, RequestErrorCode::Unknown);
}
