//! Power cuts at every point: before a commit, after it and before the effects, and between an effect and its report.

use cabinet_core::{Config, DoorSeen, Effect, EntryResult, Input, OpenError};
use schemas::messages::*;
use schemas::step::Store as _;

use crate::rig::*;

/// Where the power goes: at the step with this number, before or after its commit; its effects never happen.
#[derive(Debug, Clone, Copy)]
struct Cut {
    at: usize,
    committed: bool,
}

/// A cabinet with one door that really opens, until the cut.
struct Doomed {
    rig: Rig,
    cut: Cut,
    steps: usize,
    pulsed: usize,
    open: bool,
}

impl Doomed {
    fn new(rig: Rig, cut: Cut) -> Self {
        Self { rig, cut, steps: 0, pulsed: 0, open: false }
    }

    /// `None`: the power is gone.
    fn send(&mut self, input: Input) -> Option<Vec<Effect>> {
        self.steps += 1;
        if self.steps <= self.cut.at {
            let effects = self.rig.send(input);
            self.pulsed += pulses(&effects).len();
            return Some(effects);
        }
        let step = self.rig.step(input);
        if self.cut.committed {
            self.rig.store.commit(&step.writes).unwrap();
        }
        None
    }

    /// The pulse that was ordered is done and reported; the door opens and is closed again.
    fn use_door(&mut self, effects: &[Effect], occupancy: Occupancy) -> Option<()> {
        let Pulse { pulse, compartment, .. } = only_pulse(effects);
        self.open = true;
        self.send(Input::PulseResult { pulse, sent: true })?;
        self.send(Input::Door { compartment: number(compartment), door: DoorSeen::Open, occupancy: UNKNOWN })?;
        self.open = false;
        self.send(Input::Door { compartment: number(compartment), door: DoorSeen::Closed, occupancy })?;
        Some(())
    }

    /// Power comes back; `closed`: somebody has closed the door meanwhile. The core pulses nothing by itself.
    fn restart(&mut self, compartment: u16, closed: bool, occupancy: Occupancy) {
        let mut effects = self.rig.restart();
        for other in (1..=5).filter(|other| *other != compartment) {
            self.rig.close_door(other);
        }
        if self.open && !closed {
            effects.extend(self.rig.open_door(compartment));
            effects.extend(self.rig.wait(20_000));
            self.open = false;
        }
        effects.extend(self.rig.door(compartment, DoorSeen::Closed, occupancy));
        effects.extend(self.rig.wait(20_000));
        assert!(pulses(&effects).is_empty(), "{:?}: {effects:?}", self.cut);
    }
}

fn cuts(steps: usize) -> impl Iterator<Item = (Cut, bool)> {
    (0..steps).flat_map(|at| {
        [(false, false), (false, true), (true, false), (true, true)]
            .map(|(committed, closed)| (Cut { at, committed }, closed))
    })
}

/// Acceptance 11.
#[test]
fn an_unlock_cut_anywhere_is_pulsed_at_most_once_and_has_one_outcome() {
    for (cut, closed) in cuts(5) {
        let mut rig = Rig::online();
        let command = rig.command(4, Expect::empty());
        let envelope = signed(&command, KeyPurpose::Unlock, &unlock_key());
        let payload = schemas::cbor::encode(&Down::from(Signed { envelope }));
        let mut doomed = Doomed::new(rig, cut);
        if let Some(effects) = doomed.send(Input::Down { token: 1, payload }) {
            doomed.use_door(&effects, UNKNOWN);
        }
        let accepted = cut.at > 0 || cut.committed;
        doomed.restart(4, closed, UNKNOWN);
        assert_eq!(doomed.pulsed, usize::from(cut.at > 0), "{cut:?}");
        let rig = &doomed.rig;
        let outcomes: Vec<_> = rig
            .events()
            .into_iter()
            .filter_map(|fact| match fact {
                Fact::UnlockDone(done) => Some(done.outcome),
                _ => None,
            })
            .collect();
        let expected = match (accepted, cut, closed) {
            (false, ..) => vec![],
            // It never opened, or was closed before anybody looked.
            (true, Cut { at: 0, .. }, _) => vec![UnlockOutcome::OutcomeUnknown],
            (true, Cut { at: 1, .. } | Cut { at: 2, committed: false }, true) => vec![UnlockOutcome::OutcomeUnknown],
            (true, ..) => vec![UnlockOutcome::Opened],
        };
        assert_eq!(outcomes, expected, "{cut:?} closed: {closed}");
        assert_eq!(rig.store.len(schemas::step::Table("uses")), 0);
    }
}

#[test]
fn a_former_use_is_settled_after_ten_seconds_when_no_sensor_speaks() {
    let mut rig = Rig::online();
    let command = rig.command(4, Expect::empty());
    rig.send_command(&command);
    rig.restart();
    rig.wait(9_999);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::UnlockDone(_))), 0);
    rig.wait(1);
    let outcome = UnlockOutcome::OutcomeUnknown;
    assert_eq!(rig.last(), UnlockDone { id: command.id, compartment: number(4), outcome }.into());
}

#[test]
fn a_pickup_cut_anywhere_ends_with_one_collection_and_no_trapped_order() {
    for (cut, closed) in cuts(5) {
        let rig = Rig::holding(&[(4, "A1", "12345678")]);
        let secret = schemas::crypto::codes::Secret::parse("12345678").unwrap();
        let mut doomed = Doomed::new(rig, cut);
        let entered = doomed.send(Input::Entered { entry: 90, secret });
        let derived = entered.and_then(|_| doomed.send(Input::Derived { entry: 90, verifier: verifier("12345678") }));
        if let Some(effects) = derived {
            doomed.use_door(&effects, UNKNOWN);
        }
        doomed.restart(4, closed, UNKNOWN);
        let rig = &mut doomed.rig;
        if rig.view(4).allocated {
            assert!(matches!(result(&rig.enter("12345678")), EntryResult::Opening { .. }), "{cut:?}");
            rig.open_door(4);
            rig.close_door(4);
        }
        assert!(!rig.view(4).allocated, "{cut:?} closed: {closed}");
        assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(_))), 1, "{cut:?} closed: {closed}");
        assert!(matches!(result(&rig.enter("12345678")), EntryResult::Refused(_)));
    }
}

#[test]
fn a_load_cut_anywhere_ends_stored_once_or_loadable_again() {
    for (cut, closed) in cuts(5) {
        let mut rig = Rig::online();
        rig.book(vec![put_staff("ann", "111111"), put_order("A1", Size::S)]);
        let session = rig.log_in("111111");
        let mut doomed = Doomed::new(rig, cut);
        if let Some(effects) = doomed.send(Input::Load { session, order: order("A1"), larger: false }) {
            doomed.use_door(&effects, UNKNOWN);
        }
        doomed.restart(3, closed, UNKNOWN);
        let rig = &mut doomed.rig;
        let session = rig.log_in("111111");
        if !rig.view(3).asks {
            assert!(!rig.view(3).allocated, "{cut:?}");
            rig.load(session, "A1");
            rig.open_door(3);
            rig.close_door(3);
        }
        rig.send(Input::ConfirmLoaded { session, compartment: number(3), inside: true });
        assert_eq!(rig.count(|fact| matches!(fact, Fact::Stored(_))), 1, "{cut:?} closed: {closed}");
    }
}

#[test]
fn a_cut_between_two_tries_gives_the_compartment_back() {
    let mut rig = Rig::online();
    rig.book(vec![put_staff("ann", "111111"), put_order("A1", Size::S)]);
    let session = rig.log_in("111111");
    rig.load(session, "A1");
    rig.wait(3_000);
    assert!(rig.view(3).try_again);
    rig.restart();
    assert_eq!(rig.last(), LoadAborted { order: order("A1"), compartment: number(3) }.into());
    assert!(!rig.view(3).allocated);
}

#[test]
fn an_unconfirmed_collection_is_ended_after_a_restart_too() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.open_door(4);
    rig.restart();
    rig.open_door(4);
    rig.wait(900_000);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Collected(Collected { confirmed: false, .. }))), 1);
}

#[test]
fn a_store_that_cannot_be_trusted_is_refused_with_a_reason() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let broken = |rig: &mut Rig, table: &'static str, key: &[u8], value: Option<Vec<u8>>| {
        let kept = rig.store.clone();
        let table = schemas::step::Table(table);
        rig.store.commit(&[schemas::step::Write { table, key: key.to_vec(), value }]).unwrap();
        let error = rig.reopen(config(2)).unwrap_err();
        rig.store = kept;
        error
    };
    assert!(matches!(broken(&mut rig, "meta", b"format", Some(vec![0x02])), OpenError::Format { found: 2 }));
    assert!(matches!(broken(&mut rig, "meta", b"format", None), OpenError::Missing("format")));
    assert!(matches!(broken(&mut rig, "meta", b"identity", None), OpenError::Missing("identity")));
    assert!(matches!(broken(&mut rig, "bays", &[0, 4], Some(vec![0xff])), OpenError::Row { table: "bays", .. }));
    assert!(matches!(broken(&mut rig, "bays", &[4], Some(vec![0xa0])), OpenError::Row { .. }));
    let next = cabinet_core::event_key(rig.events().len() as u64 + 1);
    assert!(matches!(broken(&mut rig, "events", &next, Some(vec![0x00])), OpenError::Outbox { .. }));

    let other_key = Config { device_key: cabinet_core::DeviceKey([1; 32]), ..config(2) };
    assert!(matches!(rig.reopen(other_key), Err(OpenError::DeviceKey)));
    let other_instance = Config { instance: Instance([1; 16]), ..config(2) };
    assert!(matches!(rig.reopen(other_instance), Err(OpenError::OtherInstance)));
    let mut fewer = config(2);
    fewer.compartments.remove(3);
    assert!(matches!(rig.reopen(fewer), Err(OpenError::StrayCompartment(compartment)) if compartment == number(4)));
    let mut twice = config(2);
    twice.compartments.push(twice.compartments[0].clone());
    assert!(matches!(rig.reopen(twice), Err(OpenError::DoubleCompartment(_))));
    assert!(rig.reopen(config(2)).is_ok());
}
