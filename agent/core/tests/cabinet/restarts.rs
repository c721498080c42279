//! Power cuts at every point: before a commit, after it and before the effects, and between an effect and its report.

use cabinet_core::{CabinetCore, Config, DoorSeen, Effect, EntryRefusal, EntryResult, Input, Moment, OpenError};
use schemas::cbor;
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
        let payload = cbor::encode(&Down::from(Signed { envelope }));
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
fn the_first_certain_word_of_a_door_settles_a_former_use() {
    let mut rig = Rig::online();
    let command = rig.command(4, Expect::empty());
    rig.send_command(&command);
    rig.restart();
    rig.door(4, DoorSeen::Unknown, UNKNOWN);
    assert_eq!(rig.count(|fact| matches!(fact, Fact::UnlockDone(_))), 0, "silence says nothing");
    rig.close_door(4);
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

/// In doubt it is what staff say; the order is never both inside and waiting, and the fleet hears of it once.
#[test]
fn an_undo_cut_anywhere_ends_with_the_order_stored_or_waiting() {
    for (cut, closed) in cuts(4) {
        let mut rig = Rig::online();
        rig.book(vec![put_staff("ann", "111111"), put_order("A1", Size::S)]);
        let session = rig.log_in("111111");
        assert_eq!(rig.load(session, "A1").compartment, 3);
        rig.open_door(3);
        rig.close_door(3);
        rig.send(Input::ConfirmLoaded { session, compartment: number(3), inside: true });
        rig.wait(cabinet_core::PULSE_WINDOW_MILLIS + 1);
        let mut doomed = Doomed::new(rig, cut);
        if let Some(effects) = doomed.send(Input::Undo { session, order: order("A1") }) {
            doomed.use_door(&effects, UNKNOWN);
        }
        doomed.restart(3, closed, UNKNOWN);
        assert_eq!(doomed.pulsed, usize::from(cut.at > 0), "{cut:?}");
        let rig = &mut doomed.rig;
        let begun = cut.at > 0 || cut.committed;
        let session = rig.log_in("111111");
        if rig.view(3).asks {
            rig.send(Input::ConfirmLoaded { session, compartment: number(3), inside: false });
        }
        assert_eq!(rig.view(3).allocated, !begun, "{cut:?} closed: {closed}");
        let aborted = LoadAborted { order: order("A1"), compartment: number(3) };
        assert_eq!(rig.count(|fact| *fact == aborted.clone().into()), usize::from(begun), "{cut:?} closed: {closed}");
        assert_eq!(rig.core.waiting(session).len(), usize::from(begun));
    }
}

/// What was free takes nothing, and what was inside stays collectable, until staff have said what they found.
#[test]
fn a_look_cut_anywhere_pulses_once_and_leaves_the_book_as_it_is() {
    for (at, id) in [(3, None), (4, Some("A1"))] {
        for (cut, closed) in cuts(4) {
            let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
            let session = rig.log_in("111111");
            let mut doomed = Doomed::new(rig, cut);
            if let Some(effects) = doomed.send(Input::Look { session, compartment: number(at) }) {
                doomed.use_door(&effects, UNKNOWN);
            }
            doomed.restart(at, closed, UNKNOWN);
            assert_eq!(doomed.pulsed, usize::from(cut.at > 0), "{cut:?}");
            let rig = &mut doomed.rig;
            assert_eq!(rig.store.len(schemas::step::Table("uses")), 0);
            assert_eq!(rig.view(at).allocated, id.is_some(), "{cut:?} closed: {closed}");
            let journalled = cut.at > 0 || cut.committed;
            assert_eq!(rig.view(at).asks, journalled, "{cut:?} closed: {closed}");
            assert_eq!(rig.count(|fact| matches!(fact, Fact::Audited(_))), 0, "nobody has said anything");
            let session = rig.log_in("111111");
            rig.send(Input::ConfirmLoaded { session, compartment: number(at), inside: id.is_some() });
            assert_eq!(rig.count(|fact| matches!(fact, Fact::Audited(_))), usize::from(journalled), "{cut:?}");
            assert!(!rig.view(at).audit_required && !rig.view(at).asks, "{cut:?} closed: {closed}");
            assert!(matches!(result(&rig.enter("12345678")), EntryResult::Opening { .. }), "{cut:?}");
        }
    }
}

#[test]
fn a_cut_behind_the_word_of_staff_keeps_it() {
    for committed in [false, true] {
        let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
        let session = rig.log_in("111111");
        let mut doomed = Doomed::new(rig, Cut { at: 4, committed });
        let effects = doomed.send(Input::Look { session, compartment: number(4) }).unwrap();
        doomed.use_door(&effects, UNKNOWN);
        let missing = Input::ConfirmLoaded { session, compartment: number(4), inside: false };
        assert!(doomed.send(missing).is_none());
        doomed.restart(4, true, UNKNOWN);
        let rig = &mut doomed.rig;
        assert_eq!(rig.count(|fact| matches!(fact, Fact::Audited(_))), usize::from(committed));
        assert_eq!((rig.view(4).allocated, rig.view(4).asks), (!committed, !committed));
        let refused = EntryResult::Refused(EntryRefusal::Missing);
        assert_eq!(result(&rig.enter("12345678")) == refused, committed, "the fact and the refusal go together");
    }
}

#[test]
fn a_cut_between_two_tries_that_never_reached_the_lock_gives_the_compartment_back() {
    let mut rig = Rig::online();
    rig.book(vec![put_staff("ann", "111111"), put_order("A1", Size::S)]);
    let session = rig.log_in("111111");
    let first = only_pulse(&rig.send(Input::Load { session, order: order("A1"), larger: false }));
    let second = only_pulse(&rig.not_sent(first));
    rig.not_sent(second);
    assert!(rig.view(3).try_again);
    rig.restart();
    assert_eq!(rig.last(), LoadAborted { order: order("A1"), compartment: number(3) }.into());
    assert!(!rig.view(3).allocated && !rig.view(3).audit_required);
}

/// It may have opened late, behind the first try, with nobody there to hear of it.
#[test]
fn a_cut_between_two_tries_leaves_open_what_people_did_at_the_door() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678"), (5, "A2", "87654321")]);
    rig.book(vec![put_order("A3", Size::S)]);
    let session = rig.log_in("111111");
    assert_eq!(rig.load(session, "A3").compartment, 3);
    let taken_back = only_pulse(&rig.send(Input::Retrieve { session, order: order("A1") }));
    let collected = only_pulse(&rig.enter("87654321"));
    rig.sent(taken_back);
    rig.sent(collected);
    rig.wait(3_000);
    assert!([3, 4, 5].iter().all(|at| rig.view(*at).try_again));
    rig.restart();
    rig.doors_closed();
    for (at, id) in [(3, "A3"), (4, "A1"), (5, "A2")] {
        assert!(rig.has(AuditRequired { compartment: number(at), order: Some(order(id)) }), "{at}");
        assert!(rig.view(at).allocated && !rig.view(at).try_again, "{at}");
    }
    assert!(rig.view(3).asks && rig.view(4).asks, "staff say what they did");
    assert_eq!(result(&rig.enter("12345678")), EntryResult::Refused(EntryRefusal::TakenOut), "it may be out");
    assert!(matches!(result(&rig.enter("87654321")), EntryResult::Opening { .. }), "its customer is not turned away");
    let session = rig.log_in("111111");
    for (at, inside) in [(3, true), (4, false)] {
        rig.send(Input::ConfirmLoaded { session, compartment: number(at), inside });
    }
    assert!(!rig.view(4).allocated && rig.view(3).allocated);
    assert_eq!(rig.store.len(schemas::step::Table("uses")), 1, "only what is under way is in the journal");
}

#[test]
fn a_try_that_was_given_up_is_not_taken_up_by_the_next_run() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    let pulse = only_pulse(&rig.enter("12345678"));
    rig.sent(pulse);
    rig.wait(3_000);
    assert_eq!(rig.store.len(schemas::step::Table("uses")), 1);
    rig.wait(60_000);
    assert_eq!(rig.store.len(schemas::step::Table("uses")), 0);
    rig.restart();
    rig.doors_closed();
    assert!(!rig.view(4).audit_required);
}

#[test]
fn what_was_being_loaded_or_taken_back_at_an_open_door_is_not_forgotten_in_a_power_cut() {
    let mut rig = Rig::holding(&[(4, "A1", "12345678")]);
    rig.book(vec![put_order("A2", Size::S)]);
    let session = rig.log_in("111111");
    rig.load(session, "A2");
    rig.open_door(3);
    let pulse = only_pulse(&rig.send(Input::Retrieve { session, order: order("A1") }));
    rig.sent(pulse);
    rig.open_door(4);
    rig.restart();
    assert_eq!(result(&rig.enter("12345678")), EntryResult::Refused(EntryRefusal::TakenOut), "it may be out");
    rig.close_door(4);
    assert_eq!(
        rig.last(),
        Retrieved { order: order("A1"), compartment: number(4), staff: "ann".parse().unwrap() }.into()
    );
    rig.close_door(3);
    assert!(rig.view(3).asks, "it may be inside");
    let session = rig.log_in("111111");
    rig.send(Input::ConfirmLoaded { session, compartment: number(3), inside: true });
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Stored(_))), 2);
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

/// Marks and events are written together: where they disagree, tables of different times lie side by side.
#[test]
fn a_store_whose_marks_do_not_fit_its_events_is_refused() {
    use cabinet_core::{EVENTS, event_key};
    use schemas::step::{Table, Write};
    let marks = |newest: u64, oldest: u64, acked: u64| {
        let row = std::collections::BTreeMap::from([(1u64, newest), (2, oldest), (3, acked)]);
        Write::put(Table("meta"), "outbox", cbor::encode(&row))
    };
    let event = |n| Write::put(EVENTS, event_key(n), vec![0]);
    let gone = |n| Write::remove(EVENTS, event_key(n));
    for (what, writes, sound) in [
        ("three events", vec![marks(3, 1, 0)], true),
        ("all acknowledged, one kept", vec![gone(1), gone(2), marks(3, 3, 3)], true),
        ("no number before 1", vec![marks(3, 0, 0)], false),
        ("oldest behind newest", vec![marks(3, 5, 3)], false),
        ("acknowledged what is not there", vec![marks(3, 1, 4)], false),
        ("dropped and never acknowledged", vec![marks(3, 3, 1)], false),
        ("a newer event than the mark", vec![marks(2, 1, 0)], false),
        ("the newest is gone, another is there", vec![gone(3), event(4), marks(3, 1, 0)], false),
        ("an event before the first", vec![gone(1), gone(2), gone(3), event(0), marks(0, 1, 0)], false),
        ("no number is left", vec![event(u64::MAX), marks(u64::MAX, 1, 0)], false),
    ] {
        let mut rig = Rig::blank();
        rig.send(Input::Board { board: 1, answering: false });
        rig.send(Input::Board { board: 1, answering: true });
        rig.store.commit(&writes).unwrap();
        let opened = rig.reopen(config(2));
        assert_eq!(opened.is_ok(), sound, "{what}: {opened:?}");
        assert!(sound || matches!(opened, Err(OpenError::Outbox { .. })), "{what}: {opened:?}");
    }
    assert!(Rig::blank().reopen(config(2)).is_ok(), "its first event is its only one");
}

/// So that the fleet gives customers the time back in which nobody could open.
#[test]
fn a_machine_that_was_without_power_says_until_when_it_was_alive() {
    let down = |fact: &Fact| match fact {
        Fact::Started(started) => Some(started.down_since),
        _ => None,
    };
    let mut rig = Rig::online();
    rig.set_time(1_000_000);
    rig.wait(10_000);
    rig.restart();
    rig.restart();
    let told: Vec<_> = rig.events().iter().filter_map(down).collect();
    assert_eq!(told[told.len() - 2..], [Some(1_000_000); 2], "it knows no more than before: {told:?}");
    rig.connect();
    rig.set_time(3_000_000);
    let moment = Moment { boot_millis: rig.now + 1, entropy: [7; 32] };
    let (_, again) = CabinetCore::open(config(rig.boot), &rig.store, &moment).unwrap();
    let events = again.writes.iter().filter_map(|write| cbor::decode::<Event>(write.value.as_ref()?).ok());
    assert_eq!(
        events.filter_map(|event| down(&event.fact)).collect::<Vec<_>>(),
        [None],
        "only the agent was started again"
    );
}
