//! A cabinet that is to forget everything: how long the order stands, what it refuses, and what counts as done.

use std::convert::Infallible;

use fleet_core::Effect;
use schemas::api::{CabinetDetail, Reply, Request, RequestErrorCode, WipeDetail};
use schemas::cbor::Blob;
use schemas::crypto::receipt;
use schemas::messages::{
    CommandRefused, Epoch, Instance, Loading, Receipt, RefusalReason, Size, Started, Stored, StoredBy, Wiped,
};

use crate::world::{FakeCabinet, World, c1, door, order};

const EVE: &str = "operator:acme:eve";
const MINUTE: u64 = 60_000;

fn wipe(world: &mut World, with_orders: bool) -> Option<Reply> {
    world.ask(EVE, &Request::CabinetWipe { cabinet: c1(), reason: "stolen".into(), with_orders })
}

fn keep(world: &mut World) -> Option<Reply> {
    world.ask(EVE, &Request::CabinetKeep { cabinet: c1() })
}

fn code(reply: Option<Reply>) -> Option<RequestErrorCode> {
    match reply {
        Some(Reply::Error(error)) => Some(error.code),
        _ => None,
    }
}

fn detail(world: &mut World) -> CabinetDetail {
    match world.ask(EVE, &Request::CabinetShow { cabinet: c1() }) {
        Some(Reply::Cabinet(detail)) => *detail,
        other => panic!("{other:?}"),
    }
}

fn state(world: &mut World) -> WipeDetail {
    detail(world).wipe.unwrap()
}

fn wipes(world: &World) -> usize {
    world.cabinets[&c1()].wipes.len()
}

/// What the cabinet would say of the newest command.
fn receipt(world: &World, cabinet: &str, instance: Instance) -> Vec<u8> {
    let receipt = Receipt {
        tenant: "acme".parse().unwrap(),
        cabinet: cabinet.parse().unwrap(),
        instance,
        command: world.cabinets[&c1()].wipes.last().unwrap().id,
        requester: EVE.into(),
        at: None,
        orders: 1,
        credentials: 2,
        staff: 0,
        events: 9,
        unsent: 0,
    };
    let signed = receipt::sign(&receipt, &[vec![0x30]], |_| Ok::<_, Infallible>([1; 64]));
    signed.unwrap_or_else(|never| match never {})
}

/// The cabinet is erased: another store, no compartments, and a receipt.
fn carry_out(world: &mut World) {
    let instance = world.cabinets[&c1()].instance;
    let receipt = receipt(world, "c1", instance);
    world.disconnect(&c1());
    let before = world.cabinets[&c1()].clone();
    let empty = FakeCabinet { epoch: Epoch([0xee; 8]), pepper: None, keyset: 0, ..FakeCabinet::new("c1", &[]) };
    *world.cabinet(&c1()) = FakeCabinet { challenge: before.challenge + 1, wipes: before.wipes, ..empty };
    world.connect(&c1());
    world.fact(&c1(), Started { agent: "0.1.0".into(), down_since: None });
    world.fact(&c1(), Wiped { receipt: Blob(receipt) });
}

fn load(world: &mut World) {
    world.put(r#"{"order":"A1","cabinet":"c1","size":"S","category":"retail"}"#);
    let (compartment, staff) = (door(1), "kim".parse().unwrap());
    world.fact(&c1(), Loading { order: order("A1"), compartment, staff });
    let staff = "kim".parse().unwrap();
    world.fact(&c1(), Stored { order: order("A1"), compartment, by: StoredBy::Staff, staff });
}

#[test]
fn a_wiped_cabinet_leaves_a_receipt_and_takes_no_orders_until_it_is_replaced() {
    let mut world = World::new(&[Size::S]);
    assert_eq!(wipe(&mut world, false), Some(Reply::Done));
    assert_eq!(wipes(&world), 1, "at once");
    assert_eq!(world.cabinets[&c1()].wipes[0].requester, EVE);
    assert_eq!(wipe(&mut world, false), Some(Reply::Done), "the same again");
    assert_eq!((wipes(&world), state(&mut world).done), (1, None));
    world.put(r#"{"order":"A1","cabinet":"c1","size":"S","category":"retail"}"#);
    assert_eq!(world.told("shop"), ["A1 rejected no_fitting_compartment"]);
    carry_out(&mut world);
    let after = state(&mut world);
    assert!(after.done.is_some() && after.receipt.is_some(), "{after:?}");
    world.put(r#"{"order":"A2","cabinet":"c1","size":"S","category":"retail"}"#);
    assert!(world.told("shop").contains(&"A2 rejected no_fitting_compartment".to_owned()));
    world.pass(60 * MINUTE);
    assert_eq!(wipes(&world), 1, "it is not told again");
    world.restart();
    assert_eq!(state(&mut world), after, "the receipt is on disk");
}

#[test]
fn a_cabinet_that_is_away_is_wiped_when_it_comes_back() {
    let mut world = World::new(&[Size::S]);
    world.disconnect(&c1());
    assert_eq!(wipe(&mut world, false), Some(Reply::Done));
    assert!(!state(&mut world).sent);
    world.pass(400 * 24 * 60 * MINUTE);
    world.restart();
    assert_eq!(wipes(&world), 0);
    world.connect(&c1());
    assert_eq!(wipes(&world), 1);
    assert!(state(&mut world).sent);
}

#[test]
fn an_order_that_was_not_heard_can_be_taken_back_and_no_other() {
    let mut world = World::new(&[Size::S]);
    assert_eq!(keep(&mut world), Some(Reply::Done), "there is nothing to take back");
    world.disconnect(&c1());
    wipe(&mut world, false);
    assert_eq!(keep(&mut world), Some(Reply::Done));
    assert_eq!(detail(&mut world).wipe, None);
    world.connect(&c1());
    assert_eq!(wipes(&world), 0);
    wipe(&mut world, false);
    assert_eq!(code(keep(&mut world)), Some(RequestErrorCode::Conflict), "the cabinet has it");
    carry_out(&mut world);
    assert_eq!(code(keep(&mut world)), Some(RequestErrorCode::Conflict));
}

#[test]
fn a_cabinet_that_refuses_is_asked_again_with_another_command() {
    let mut world = World::new(&[Size::S]);
    wipe(&mut world, false);
    let first = world.cabinets[&c1()].wipes[0].id;
    world.fact(&c1(), CommandRefused { id: Some(first), reason: RefusalReason::Busy });
    let said = format!("{:?}", world.seen);
    assert!(said.contains("refused to be wiped and is asked again: busy"), "{said}");
    assert_eq!(wipes(&world), 1, "not at once");
    world.cabinet(&c1()).challenge += 1;
    world.pass(MINUTE);
    let challenge = schemas::cbor::encode(&world.cabinets[&c1()].challenge());
    world.up(&c1(), schemas::topics::Up::Challenge, challenge);
    assert_eq!(wipes(&world), 2);
    assert_ne!(world.cabinets[&c1()].wipes[1].id, first, "a refusal is final");
    assert_eq!(world.cabinets[&c1()].wipes[1].challenge.counter, 2);
}

#[test]
fn a_signer_without_a_config_key_leaves_the_order_standing() {
    let mut world = World::new(&[Size::S]);
    world.signer_works = false;
    wipe(&mut world, false);
    assert_eq!(wipes(&world), 0);
    world.signer_works = true;
    world.pass(1_000);
    assert_eq!(wipes(&world), 1);
}

#[test]
fn orders_inside_are_not_buried_by_mistake() {
    let mut world = World::new(&[Size::S]);
    load(&mut world);
    assert_eq!(code(wipe(&mut world, false)), Some(RequestErrorCode::Conflict));
    assert_eq!(detail(&mut world).wipe, None);
    assert_eq!(wipe(&mut world, true), Some(Reply::Done));
    carry_out(&mut world);
    assert!(state(&mut world).done.is_some());
}

#[test]
fn what_is_no_receipt_of_this_installation_is_not_taken_for_one() {
    let mut world = World::new(&[Size::S]);
    wipe(&mut world, false);
    let instance = world.cabinets[&c1()].instance;
    for bytes in [vec![0x80], receipt(&world, "c2", instance), receipt(&world, "c1", Instance([9; 16]))] {
        let before = world.alarms();
        world.fact(&c1(), Wiped { receipt: Blob(bytes) });
        assert_eq!((state(&mut world).done, world.alarms()), (None, before + 1));
    }
}

#[test]
fn a_disk_that_was_put_back_is_wiped_again() {
    let mut world = World::new(&[Size::S]);
    wipe(&mut world, false);
    let before = world.cabinets[&c1()].clone();
    carry_out(&mut world);
    world.disconnect(&c1());
    world.reconnect(&before);
    assert_eq!(wipes(&world), before.wipes.len() + 1);
    assert_eq!(state(&mut world).done, None);
    assert!(world.seen.iter().any(|effect| matches!(effect, Effect::Alarm { .. })));
}
