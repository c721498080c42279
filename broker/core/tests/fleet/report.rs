//! A recipient says that the order was not there: the dispute, who hears of it and how it ends.

use schemas::messages::{
    ActorCredential, Collected, CredentialId, DoorOpened, Loading, Reported, Retrieved, Size, Stored, StoredBy,
};

use crate::world::{World, c1, door, order};

const A17: &str = r#"{"order":"A17","cabinet":"c1","size":"M","category":"retail"}"#;
const CREDENTIAL: CredentialId = CredentialId([3; 8]);

fn stored() -> World {
    let mut world = World::new(&[Size::M]);
    world.put(A17);
    let staff: schemas::ids::Name = "sam".parse().unwrap();
    world.fact(&c1(), Loading { order: order("A17"), compartment: door(1), staff: staff.clone() });
    world.fact(&c1(), Stored { order: order("A17"), compartment: door(1), by: StoredBy::Sensor, staff });
    world
}

fn open(world: &mut World) {
    world.fact(&c1(), DoorOpened { compartment: door(1), by: ActorCredential { id: CREDENTIAL }.into() });
}

fn collect(world: &mut World) {
    let (order, compartment) = (order("A17"), door(1));
    world.fact(&c1(), Collected { order, compartment, credential: CREDENTIAL, confirmed: true });
}

fn report(world: &mut World, at: Option<u16>) {
    world.fact(&c1(), Reported { order: order("A17"), compartment: at.map(door), credential: CREDENTIAL });
}

#[test]
fn an_order_that_is_missed_is_disputed_and_closing_its_door_does_not_end_that() {
    let mut world = stored();
    open(&mut world);
    let alarms = world.alarms();
    report(&mut world, Some(1));
    assert!(world.alarms() > alarms);
    collect(&mut world);
    report(&mut world, Some(1));
    let told = world.told("shop");
    assert_eq!(told[told.len() - 2..], ["A17 collecting", "A17 disputed"]);
    world.restart();
    world.connect(&c1());
    assert_eq!(world.told("shop").last().unwrap(), "A17 disputed");
}

#[test]
fn one_that_was_collected_is_disputed_too_and_its_backend_ends_that() {
    let mut world = stored();
    open(&mut world);
    collect(&mut world);
    report(&mut world, None);
    let status = world.statuses("shop").pop().unwrap();
    assert_eq!((status.state.as_str(), status.compartment), ("disputed", Some(door(1))));
    world.cancel(r#"{"order":"A17"}"#);
    assert_eq!(world.told("shop").last().unwrap(), "A17 cancelled");
    report(&mut world, None);
    assert_eq!(world.told("shop").last().unwrap(), "A17 cancelled", "what its backend has ended stays ended");
}

#[test]
fn one_that_staff_took_back_stays_so() {
    let mut world = stored();
    world.fact(&c1(), Retrieved { order: order("A17"), compartment: door(1), staff: "sam".parse().unwrap() });
    let alarms = world.alarms();
    report(&mut world, None);
    assert_eq!(world.told("shop").last().unwrap(), "A17 retrieved");
    assert!(world.alarms() > alarms, "somebody still hears of it");
}
