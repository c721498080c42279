//! Loading and taking out by command: the rules of staff at the screen, one pulse, one outcome, and who asked for it.

use cabinet_core::{DoorSeen, Effect, EntryRefusal, EntryResult, Input};
use schemas::messages::*;

use crate::rig::*;

const EVE: &str = "operator:acme:eve";

fn load(id: &str) -> LoadOrder {
    LoadOrder { order: order(id), compartment: None, size: None }
}

fn retrieve(id: &str) -> RetrieveOrder {
    RetrieveOrder { order: order(id) }
}

fn word(id: &str, inside: bool, retrieving: bool) -> ConfirmOrder {
    ConfirmOrder { order: order(id), inside, retrieving }
}

fn errand(rig: &mut Rig, action: impl Into<Action>) -> Command {
    Command { action: action.into(), ..rig.command(1, Expect::empty()) }
}

fn send(rig: &mut Rig, action: impl Into<Action>) -> (Command, Vec<Effect>) {
    let command = errand(rig, action);
    let effects = rig.send_command(&command);
    (command, effects)
}

/// Carried out as far as its pulse.
fn pulsed(rig: &mut Rig, action: impl Into<Action>) -> (Command, Pulse) {
    let (command, effects) = send(rig, action);
    let pulse = only_pulse(&effects);
    rig.sent(pulse);
    (command, pulse)
}

/// Nothing moves, and this is why.
fn refusal(rig: &mut Rig, action: impl Into<Action>) -> RefusalReason {
    let command = errand(rig, action);
    refusal_of(rig, &command)
}

fn refusal_of(rig: &mut Rig, command: &Command) -> RefusalReason {
    let effects = rig.send_command(command);
    assert!(pulses(&effects).is_empty());
    match rig.last() {
        Fact::CommandRefused(CommandRefused { id: Some(id), reason }) if id == command.id => reason,
        other => panic!("not refused: {other:?}"),
    }
}

fn taken(command: &Command, id: &str, compartment: u16, errand: Errand) -> ErrandTaken {
    let (order, compartment) = (order(id), number(compartment));
    ErrandTaken { id: command.id, requester: EVE.into(), order, compartment, errand }
}

fn done(command: &Command, compartment: u16, outcome: UnlockOutcome) -> UnlockDone {
    UnlockDone { id: command.id, compartment: number(compartment), outcome }
}

fn stored(id: &str, compartment: u16, by: StoredBy) -> Stored {
    Stored { order: order(id), compartment: number(compartment), by, staff: BY_COMMAND_NAME.parse().unwrap() }
}

fn with_orders(changes: Vec<BookChange>) -> Rig {
    let mut rig = Rig::online();
    rig.book([vec![put_staff("ann", "111111")], changes].concat());
    rig
}

fn unwanted(rig: &mut Rig, id: &str, why: TakeBack) {
    let BookChange::PutOrder(put) = put_order(id, Size::S) else { unreachable!() };
    rig.book(vec![PutOrder { take_back: Some(why), ..put }.into()]);
}

#[test]
fn an_order_is_loaded_by_command_into_the_smallest_that_fits_and_stored_when_its_door_closes_on_it() {
    let mut rig = with_orders(vec![put_order("A17", Size::M)]);
    let (command, effects) = send(&mut rig, load("A17"));
    let pulse = only_pulse(&effects);
    assert_eq!(pulse.compartment, 1);
    assert!(rig.has(taken(&command, "A17", 1, Errand::Load)));
    let staff = BY_COMMAND_NAME.parse().unwrap();
    assert_eq!(rig.last(), Loading { order: order("A17"), compartment: number(1), staff }.into());
    rig.sent(pulse);
    rig.open_door(1);
    let by = ActorCommand { id: command.id, requester: EVE.into() }.into();
    assert!(rig.has(DoorOpened { compartment: number(1), by }));
    assert_eq!(rig.last(), done(&command, 1, UnlockOutcome::Opened).into());
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert_eq!(rig.last(), stored("A17", 1, StoredBy::Sensor).into());
    assert_eq!(rig.count(|fact| matches!(fact, Fact::UnlockDone(_))), 1);
}

/// Its parts are loaded, and taken out, one behind the other; the command names it as its label does.
#[test]
fn an_order_in_two_compartments_is_meant_part_by_part() {
    let part = |number: u32, why| {
        let id = if number == 1 { "A17".to_owned() } else { format!("A17.{number}") };
        let BookChange::PutOrder(put) = put_order(&id, Size::S) else { unreachable!() };
        let part = Some(PartOf { whole: order("A17"), number, of: 2 });
        BookChange::from(PutOrder { part, take_back: why, ..put })
    };
    let mut rig = with_orders(vec![part(2, None), part(1, None)]);
    for (id, at) in [("A17", 3), ("A17.2", 1)] {
        let (command, pulse) = pulsed(&mut rig, load("A17"));
        assert_eq!(pulse.compartment, at);
        assert!(rig.has(taken(&command, id, at, Errand::Load)));
        rig.open_door(at);
        rig.door(at, DoorSeen::Closed, UNKNOWN);
        let (command, _) = send(&mut rig, word("A17", true, false));
        assert!(rig.has(taken(&command, id, at, Errand::Inside)));
        assert!(rig.has(stored(id, at, StoredBy::Staff)));
    }
    assert_eq!(refusal(&mut rig, load("A17")), RefusalReason::AlreadyInside);
    assert_eq!(refusal(&mut rig, retrieve("A17")), RefusalReason::NotToBeRetrieved);
    rig.book(vec![part(1, Some(TakeBack::Recalled)), part(2, Some(TakeBack::Recalled))]);
    for (id, at) in [("A17", 3), ("A17.2", 1)] {
        let (command, pulse) = pulsed(&mut rig, retrieve("A17"));
        assert!(rig.has(taken(&command, id, at, Errand::Retrieve)) && pulse.compartment == at);
        rig.open_door(at);
        rig.close_door(at);
    }
    assert_eq!(rig.count(|fact| matches!(fact, Fact::Retrieved(_))), 2);
    assert_eq!(refusal(&mut rig, retrieve("A17")), RefusalReason::NotHere);
}

/// What lies beside it was not asked about.
#[test]
fn a_word_about_another_order_in_the_same_compartment_is_no_answer() {
    let both = ["A1", "A2"].map(|id| crate::shared::sharing(id, Size::M, "house-7").into());
    let mut rig = with_orders(both.to_vec());
    pulsed(&mut rig, load("A1"));
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    let (command, pulse) = pulsed(&mut rig, load("A2"));
    assert_eq!(pulse.compartment, 1);
    assert!(rig.has(taken(&command, "A2", 1, Errand::Load)));
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    assert_eq!(refusal(&mut rig, word("A1", false, false)), RefusalReason::NotAsked);
    send(&mut rig, word("A2", true, false));
    assert_eq!(rig.last(), stored("A2", 1, StoredBy::Staff).into());
}

#[test]
fn the_command_and_all_that_it_changes_are_in_the_step_of_its_pulse() {
    let mut rig = with_orders(vec![put_order("A1", Size::S)]);
    let command = errand(&mut rig, load("A1"));
    let made = rig.now;
    let envelope = signed(&command, KeyPurpose::Unlock, &unlock_key());
    let payload = schemas::cbor::encode(&Down::from(Signed { envelope }));
    let step = rig.step(Input::Down { token: 7, payload });
    let written: Vec<_> = step.writes.iter().map(|write| write.table.0).collect();
    for table in ["commands", "events", "bays", "uses"] {
        assert!(written.contains(&table), "{table}: {written:?}");
    }
    assert!(matches!(&step.effects[0], Effect::AckDown { token: 7 }));
    assert_eq!(only_pulse(&step.effects).not_after, made + 30_000);
}

#[test]
fn the_same_command_again_opens_nothing_and_neither_does_another_one_for_the_same_order() {
    let mut rig = with_orders(vec![put_order("A1", Size::S), put_order("A2", Size::S)]);
    let other = errand(&mut rig, load("A1"));
    let (command, pulse) = pulsed(&mut rig, load("A1"));
    assert_eq!(pulse.compartment, 3);
    assert_eq!(refusal_of(&mut rig, &command), RefusalReason::Replayed);
    assert_eq!(refusal_of(&mut rig, &other), RefusalReason::AlreadyInside);
    rig.open_door(3);
    rig.close_door(3);
    assert_eq!(refusal(&mut rig, load("A1")), RefusalReason::AlreadyInside);
    rig.restart();
    rig.connect();
    rig.doors_closed();
    assert!(pulses(&rig.send_command(&command)).is_empty(), "after a restart");
    assert_eq!(pulsed(&mut rig, load("A2")).1.compartment, 1, "the next one is still free");
}

#[test]
fn what_cannot_be_loaded_is_refused_with_its_reason() {
    let mut rig = with_orders(vec![put_order("A1", Size::S), put_order("A2", Size::L), put_order("A3", Size::L)]);
    let at = |id: &str, compartment| LoadOrder { compartment: Some(number(compartment)), ..load(id) };
    assert_eq!(refusal(&mut rig, load("Z9")), RefusalReason::NotHere);
    assert_eq!(refusal(&mut rig, at("A2", 3)), RefusalReason::NoFittingCompartment, "3 is small");
    assert_eq!(refusal(&mut rig, at("A1", 99)), RefusalReason::UnknownCompartment);
    assert_eq!(
        refusal(&mut rig, LoadOrder { size: Some(Size::L), ..at("A1", 3) }),
        RefusalReason::Malformed,
        "both a compartment and a size"
    );
    assert_eq!(
        refusal(&mut rig, LoadOrder { size: Some(Size::Xl), ..load("A1") }),
        RefusalReason::NoFittingCompartment
    );
    assert_eq!(pulsed(&mut rig, at("A1", 5)).1.compartment, 5);
    rig.open_door(5);
    assert_eq!(refusal(&mut rig, load("A2")), RefusalReason::NoFittingCompartment);
    assert_eq!(refusal(&mut rig, at("A3", 5)), RefusalReason::NoFittingCompartment, "it is taken");
    rig.send(Input::Disk { low: true });
    assert_eq!(refusal(&mut rig, at("A2", 4)), RefusalReason::StorageFailed);
}

#[test]
fn a_size_asks_for_a_larger_one_and_never_for_one_that_the_order_does_not_fit() {
    let mut rig = with_orders(vec![put_order("A1", Size::S), put_order("A2", Size::L)]);
    assert_eq!(pulsed(&mut rig, LoadOrder { size: Some(Size::M), ..load("A1") }).1.compartment, 1);
    assert_eq!(pulsed(&mut rig, LoadOrder { size: Some(Size::S), ..load("A2") }).1.compartment, 5);
}

#[test]
fn only_people_of_this_tenant_who_may_do_so_are_obeyed_whoever_has_signed() {
    let mut rig = with_orders(vec![put_order("A1", Size::S)]);
    for (requester, reason) in [
        ("integration:acme:shop", RefusalReason::OutOfScope),
        ("technician:acme:tom", RefusalReason::OutOfScope),
        ("cabinet:acme:c1", RefusalReason::OutOfScope),
        ("operator:umbra:eve", RefusalReason::OutOfScope),
        ("eve", RefusalReason::Malformed),
    ] {
        let command = Command { requester: requester.into(), ..errand(&mut rig, load("A1")) };
        assert!(pulses(&rig.send_command(&command)).is_empty(), "{requester}");
        assert_eq!(rig.last(), CommandRefused { id: Some(command.id), reason }.into(), "{requester}");
    }
    for requester in ["staff:acme:sam", "support:acme:ben"] {
        let mut rig = with_orders(vec![put_order("A1", Size::S)]);
        let command = Command { requester: requester.into(), ..errand(&mut rig, load("A1")) };
        only_pulse(&rig.send_command(&command));
    }
}

#[test]
fn a_command_that_has_waited_too_long_opens_nothing() {
    let mut rig = with_orders(vec![put_order("A1", Size::S)]);
    let command = errand(&mut rig, load("A1"));
    rig.wait(30_001);
    assert!(pulses(&rig.send_command(&command)).is_empty());
    assert_eq!(rig.last(), CommandRefused { id: Some(command.id), reason: RefusalReason::Expired }.into());
    assert!(!rig.view(3).allocated);
}

#[test]
fn a_door_that_stays_closed_or_a_silent_board_ends_the_loading_and_nobody_presses_again() {
    for sent in [true, false] {
        let mut rig = with_orders(vec![put_order("A1", Size::S)]);
        let (command, effects) = send(&mut rig, load("A1"));
        let pulse = only_pulse(&effects);
        if sent {
            rig.sent(pulse);
            rig.wait(3_000);
        } else {
            let retried = only_pulse(&rig.not_sent(pulse));
            rig.not_sent(retried);
        }
        let outcome = if sent { UnlockOutcome::NotOpened } else { UnlockOutcome::NotSent };
        assert!(rig.has(done(&command, 3, outcome)));
        assert_eq!(rig.last(), LoadAborted { order: order("A1"), compartment: number(3) }.into());
        let view = rig.view(3);
        assert!(!view.allocated && !view.try_again && !view.fault, "one pulse says nothing for certain of a lock");
        assert!(pulses(&rig.send(Input::TryAgain { compartment: number(3) })).is_empty());
        assert_eq!(pulsed(&mut rig, load("A1")).1.compartment, 3, "asked for again it is another command");
    }
}

/// Acceptance 7, from afar.
#[test]
fn where_the_sensor_sees_nothing_or_there_is_none_a_word_is_waited_for() {
    for (compartment, inside) in [(1, false), (3, true), (3, false)] {
        let size = if compartment == 1 { Size::M } else { Size::S };
        let mut rig = with_orders(vec![put_order("A1", size)]);
        assert_eq!(refusal(&mut rig, word("A1", true, false)), RefusalReason::NotHere);
        let early = errand(&mut rig, word("A1", inside, false));
        let (_, pulse) = pulsed(&mut rig, load("A1"));
        assert_eq!(pulse.compartment, compartment);
        assert_eq!(refusal_of(&mut rig, &early), RefusalReason::Busy);
        rig.open_door(compartment);
        assert_eq!(refusal(&mut rig, word("A1", inside, false)), RefusalReason::DoorOpen);
        rig.close_door(compartment);
        assert_eq!(rig.count(|fact| matches!(fact, Fact::Stored(_))), 0);
        assert_eq!(refusal(&mut rig, word("A1", inside, true)), RefusalReason::NotAsked, "nobody takes it out");
        let (command, effects) = send(&mut rig, word("A1", inside, false));
        assert!(pulses(&effects).is_empty());
        let errand = if inside { Errand::Inside } else { Errand::NotInside };
        assert!(rig.has(taken(&command, "A1", compartment, errand)));
        let after: Fact = if inside {
            stored("A1", compartment, StoredBy::Staff).into()
        } else {
            LoadAborted { order: order("A1"), compartment: number(compartment) }.into()
        };
        assert_eq!(rig.last(), after);
        let events = rig.events().len();
        rig.send_command(&command);
        assert_eq!(rig.last(), CommandRefused { id: Some(command.id), reason: RefusalReason::Replayed }.into());
        assert_eq!(rig.events().len(), events + 1, "a word is taken once");
        let again = if inside { RefusalReason::NotAsked } else { RefusalReason::NotHere };
        assert_eq!(refusal(&mut rig, word("A1", inside, false)), again);
    }
}

#[test]
fn somebody_at_the_screen_may_say_what_is_inside_and_undoes_nothing_that_others_have_loaded() {
    let mut rig = with_orders(vec![put_order("A1", Size::S), put_order("A2", Size::M)]);
    pulsed(&mut rig, load("A1"));
    rig.open_door(3);
    rig.close_door(3);
    let session = rig.log_in("111111");
    rig.send(Input::ConfirmLoaded { session, compartment: number(3), inside: true });
    let staff = "ann".parse().unwrap();
    let stored = Stored { order: order("A1"), compartment: number(3), by: StoredBy::Staff, staff };
    assert_eq!(rig.last(), stored.into());
    pulsed(&mut rig, load("A2"));
    rig.open_door(1);
    rig.door(1, DoorSeen::Closed, OCCUPIED);
    let effects = rig.send(Input::Undo { session, order: order("A2") });
    assert!(pulses(&effects).is_empty(), "not stored in this session");
}

#[test]
fn an_order_that_nobody_waits_for_is_taken_out_by_command_and_its_code_dies_at_once() {
    for why in [TakeBack::Overdue, TakeBack::Recalled, TakeBack::Quarantined, TakeBack::DroppedOff] {
        let mut rig = Rig::holding(&[(1, "A1", "12345678")]);
        assert_eq!(refusal(&mut rig, retrieve("A1")), RefusalReason::NotToBeRetrieved);
        assert_eq!(refusal(&mut rig, retrieve("Z9")), RefusalReason::NotHere);
        unwanted(&mut rig, "A1", why);
        let (command, pulse) = pulsed(&mut rig, retrieve("A1"));
        assert!(rig.has(taken(&command, "A1", 1, Errand::Retrieve)));
        assert!(matches!(
            result(&rig.enter("12345678")),
            EntryResult::Refused(EntryRefusal::Busy | EntryRefusal::TakenOut)
        ));
        assert_eq!(pulse.compartment, 1);
        rig.open_door(1);
        assert!(rig.has(done(&command, 1, UnlockOutcome::Opened)));
        rig.door(1, DoorSeen::Closed, EMPTY);
        let staff = BY_COMMAND_NAME.parse().unwrap();
        assert_eq!(rig.last(), Retrieved { order: order("A1"), compartment: number(1), staff }.into());
        assert!(!rig.view(1).allocated);
        assert_eq!(refusal(&mut rig, retrieve("A1")), RefusalReason::NotHere);
        assert_eq!(refusal(&mut rig, load("A1")), RefusalReason::Used);
    }
}

#[test]
fn whether_an_order_was_taken_out_is_said_from_afar_where_the_sensor_still_sees_it() {
    let mut rig = Rig::holding(&[(3, "A1", "12345678")]);
    unwanted(&mut rig, "A1", TakeBack::Overdue);
    pulsed(&mut rig, retrieve("A1"));
    rig.open_door(3);
    // A door that was opened for it and closed is enough, as at the screen.
    rig.close_door(3);
    let staff = BY_COMMAND_NAME.parse().unwrap();
    assert!(rig.has(Retrieved { order: order("A1"), compartment: number(3), staff }));
    // With a sensor that still sees it somebody has to say so.
    for inside in [true, false] {
        let mut rig = Rig::holding(&[(1, "A1", "12345678")]);
        unwanted(&mut rig, "A1", TakeBack::Overdue);
        pulsed(&mut rig, retrieve("A1"));
        rig.open_door(1);
        rig.door(1, DoorSeen::Closed, OCCUPIED);
        assert_eq!(refusal(&mut rig, word("A1", inside, false)), RefusalReason::NotAsked, "nobody loads it");
        send(&mut rig, word("A1", inside, true));
        assert_eq!(rig.count(|fact| matches!(fact, Fact::Retrieved(_))), usize::from(!inside));
        assert_eq!(rig.view(1).allocated, inside);
        assert_eq!(rig.view(1).audit_required, !inside, "the sensor says otherwise");
    }
}

#[test]
fn a_power_cut_leaves_a_loading_that_is_told_once_and_never_pulsed_again() {
    for cut in 0..2 {
        let mut rig = with_orders(vec![put_order("A1", Size::S)]);
        let (command, effects) = send(&mut rig, load("A1"));
        let pulse = only_pulse(&effects);
        if cut == 1 {
            rig.sent(pulse);
        }
        assert!(pulses(&rig.restart()).is_empty());
        let hello = rig.connect();
        assert_eq!(hello.open_commands, [command.id]);
        assert_eq!(hello.errands, Some(true));
        let effects = rig.close_door(3);
        assert!(pulses(&effects).is_empty());
        assert!(rig.has(done(&command, 3, UnlockOutcome::OutcomeUnknown)));
        rig.wait(60_000);
        assert_eq!(rig.count(|fact| matches!(fact, Fact::UnlockDone(_))), 1);
        assert!(rig.view(3).allocated && rig.view(3).asks, "somebody may have put it in");
        assert!(pulses(&rig.send_command(&command)).is_empty());
        send(&mut rig, word("A1", false, false));
        assert!(rig.has(LoadAborted { order: order("A1"), compartment: number(3) }));
        assert!(!rig.view(3).audit_required, "whoever says so has looked");
    }
}

#[test]
fn a_command_for_an_order_is_signed_for_this_cabinet_and_with_the_key_that_opens() {
    let mut rig = with_orders(vec![put_order("A1", Size::S)]);
    for (purpose, key) in [(KeyPurpose::Codes, codes_key()), (KeyPurpose::Unlock, codes_key())] {
        let command = errand(&mut rig, load("A1"));
        let envelope = signed(&command, purpose, &key);
        assert!(pulses(&rig.down(Signed { envelope })).is_empty());
        assert!(matches!(rig.last(), Fact::CommandRefused(CommandRefused { id: None, .. })), "{purpose}");
        rig.wait(1_000);
    }
}
