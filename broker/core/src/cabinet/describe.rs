//! Facts as one line for a person who watches.

use schemas::ids::Name;
use schemas::messages::{
    Actor, BY_COMMAND_NAME, Compartment, Deposited, Depositing, Errand, ErrandTaken, Fact, Finding, HeldStage,
    OrderKey, StoredBy, UnlockOutcome,
};

/// Name of a fact in JSON.
pub(super) fn kind(fact: &Fact) -> &'static str {
    match fact {
        Fact::Started(_) => "started",
        Fact::DoorOpened(_) => "door_opened",
        Fact::DoorClosed(_) => "door_closed",
        Fact::DoorForced(_) => "door_forced",
        Fact::DoorHeldOpen(_) => "door_held_open",
        Fact::DoorFault(_) => "door_fault",
        Fact::WrongDoor(_) => "wrong_door",
        Fact::Loading(_) | Fact::LoadingBeside(_) => "loading",
        Fact::Stored(_) => "stored",
        Fact::LoadAborted(_) => "load_aborted",
        Fact::Collected(_) => "collected",
        Fact::Retrieved(_) => "retrieved",
        Fact::UnlockDone(_) => "unlock_done",
        Fact::CommandRefused(_) => "command_refused",
        Fact::CredentialRefused(_) => "credential_refused",
        Fact::TypingLocked(_) => "typing_locked",
        Fact::StaffLoggedIn(_) => "staff_logged_in",
        Fact::BreakGlassUsed(_) => "break_glass_used",
        Fact::BookApplied(_) => "book_applied",
        Fact::BookRefused(_) => "book_refused",
        Fact::KeysetApplied(_) => "keyset_applied",
        Fact::KeysetRefused(_) => "keyset_refused",
        Fact::BoardHealth(_) => "board_health",
        Fact::AuditRequired(_) => "audit_required",
        Fact::Wiped(_) => "wiped",
        Fact::Audited(_) => "audited",
        Fact::Cleaning(_) => "cleaning",
        Fact::EmergencyOpened(_) => "emergency_opened",
        Fact::Swapped(_) => "swapped",
        Fact::Found(_) => "found",
        Fact::Service(_) => "service",
        Fact::Maintenance(_) => "maintenance",
        Fact::NotTaken(_) => "not_taken",
        Fact::WalkIn(_) => "walk_in",
        Fact::WalkInDropped(_) => "walk_in_dropped",
        Fact::Depositing(_) => "depositing",
        Fact::Deposited(_) => "deposited",
        Fact::Reported(_) => "reported",
        Fact::AppClosed(_) => "app_closed",
        Fact::Released(_) => "released",
        Fact::ErrandTaken(_) => "errand_taken",
        Fact::CourierCame(_) => "courier_came",
        Fact::CourierTurnedAway(_) => "courier_turned_away",
    }
}

/// The compartment and the order that a fact is about.
pub(super) fn subject(fact: &Fact) -> (Option<Compartment>, Option<&OrderKey>) {
    match fact {
        Fact::DoorOpened(f) => (Some(f.compartment), None),
        Fact::DoorClosed(f) => (Some(f.compartment), None),
        Fact::DoorForced(f) => (Some(f.compartment), None),
        Fact::DoorHeldOpen(f) => (Some(f.compartment), None),
        Fact::DoorFault(f) => (Some(f.compartment), None),
        Fact::WrongDoor(f) => (Some(f.opened), None),
        Fact::UnlockDone(f) => (Some(f.compartment), None),
        Fact::Loading(f) => (Some(f.compartment), Some(&f.order)),
        Fact::LoadingBeside(f) => (Some(f.compartment), Some(&f.order)),
        Fact::Stored(f) => (Some(f.compartment), Some(&f.order)),
        Fact::LoadAborted(f) => (Some(f.compartment), Some(&f.order)),
        Fact::Collected(f) => (Some(f.compartment), Some(&f.order)),
        Fact::Retrieved(f) => (Some(f.compartment), Some(&f.order)),
        Fact::AuditRequired(f) => (Some(f.compartment), f.order.as_ref()),
        Fact::Audited(f) => (Some(f.compartment), f.order.as_ref()),
        Fact::Cleaning(f) => (Some(f.compartment), None),
        Fact::Swapped(f) => (Some(f.one_in), Some(&f.one)),
        Fact::Service(f) => (Some(f.compartment), None),
        Fact::Found(f) => (Some(f.compartment), Some(&f.order)),
        Fact::NotTaken(f) => (Some(f.compartment), Some(&f.order)),
        Fact::WalkIn(f) => (None, Some(&f.order)),
        Fact::WalkInDropped(f) => (None, Some(&f.order)),
        Fact::Depositing(f) => (Some(f.compartment), Some(&f.order)),
        Fact::Deposited(f) => (Some(f.compartment), Some(&f.order)),
        Fact::Reported(f) => (f.compartment, Some(&f.order)),
        Fact::Released(f) => (Some(f.compartment), Some(&f.order)),
        Fact::ErrandTaken(f) => (Some(f.compartment), Some(&f.order)),
        Fact::CourierTurnedAway(f) => (None, f.order.as_ref()),
        Fact::Started(_)
        | Fact::CommandRefused(_)
        | Fact::CredentialRefused(_)
        | Fact::TypingLocked(_)
        | Fact::AppClosed(_)
        | Fact::StaffLoggedIn(_)
        | Fact::CourierCame(_)
        | Fact::BreakGlassUsed(_)
        | Fact::BookApplied(_)
        | Fact::BookRefused(_)
        | Fact::KeysetApplied(_)
        | Fact::KeysetRefused(_)
        | Fact::BoardHealth(_)
        | Fact::EmergencyOpened(_)
        | Fact::Maintenance(_)
        | Fact::Wiped(_) => (None, None),
    }
}

/// A fact in plain words.
pub(super) fn text(fact: &Fact) -> String {
    match fact {
        Fact::Started(f) => format!("agent {} started", f.agent),
        Fact::DoorOpened(f) => format!("door {} opened by {}", f.compartment, actor(&f.by)),
        Fact::DoorClosed(f) => format!("door {} closed, occupancy {}", f.compartment, f.occupancy),
        Fact::DoorForced(f) => format!("door {} was opened by force", f.compartment),
        Fact::DoorHeldOpen(f) => format!("door {} stands open: {} should look", f.compartment, watcher(f.stage)),
        Fact::DoorFault(f) => {
            format!("door {} did not open for {}, tried {} times", f.compartment, actor(&f.by), f.attempts)
        }
        Fact::WrongDoor(f) => {
            let by = f.by.as_ref().map(|by| format!(" by {}", actor(by))).unwrap_or_default();
            format!("door {} opened when door {} was unlocked{by}", f.opened, f.pulsed)
        }
        Fact::Loading(f) => {
            format!("{} loads order {} into compartment {}", hand(&f.staff), f.order, f.compartment)
        }
        Fact::LoadingBeside(f) => {
            let others: Vec<String> = f.others.iter().map(OrderKey::to_string).collect();
            let (who, others) = (hand(&f.staff), others.join(", "));
            format!("{who} loads order {} into compartment {}, beside {others}", f.order, f.compartment)
        }
        Fact::Stored(f) => {
            let by = match f.by {
                StoredBy::Sensor => "seen by the sensor",
                StoredBy::Staff => "confirmed by staff",
            };
            format!("order {} is stored in compartment {}, {by}", f.order, f.compartment)
        }
        Fact::LoadAborted(f) => format!("loading order {} into compartment {} was given up", f.order, f.compartment),
        Fact::Collected(f) => {
            let doubt = if f.confirmed { "" } else { ", unconfirmed" };
            format!("order {} was collected from compartment {}{doubt}", f.order, f.compartment)
        }
        Fact::Retrieved(f) => {
            format!("{} took order {} back from compartment {}", hand(&f.staff), f.order, f.compartment)
        }
        Fact::UnlockDone(f) => format!("door {} {}", f.compartment, outcome(f.outcome)),
        Fact::ErrandTaken(f) => errand(f),
        Fact::CommandRefused(f) => format!("a command was refused: {}", f.reason),
        Fact::CredentialRefused(f) => format!("credential {} was refused: {}", f.id, f.reason),
        Fact::TypingLocked(f) => format!("typing is locked after wrong codes, {} today", f.wrong_today),
        Fact::AppClosed(f) => format!("no token of the screen is taken for a time, after {} wrong ones", f.wrong),
        Fact::StaffLoggedIn(f) => format!("{} logged in", f.staff),
        Fact::BreakGlassUsed(f) if f.begun > 1 => {
            format!("somebody came in again by the break-glass code, time {}", f.begun)
        }
        Fact::BreakGlassUsed(_) => "somebody came in by the break-glass code".into(),
        Fact::BookApplied(f) => format!("book {} is in force", f.version),
        Fact::BookRefused(f) => format!("a book was refused: {}", f.reason),
        Fact::KeysetApplied(f) => format!("keyset {} is in force", f.version),
        Fact::KeysetRefused(f) => format!("a keyset was refused: {}", f.reason),
        Fact::BoardHealth(f) => format!("board {} {}", f.board, if f.answering { "answers" } else { "is silent" }),
        Fact::AuditRequired(f) => format!("compartment {} needs a look: book and sensor disagree", f.compartment),
        Fact::Wiped(_) => "everything was erased".to_owned(),
        Fact::NotTaken(f) => format!("order {} was left in compartment {}", f.order, f.compartment),
        Fact::Swapped(f) => format!(
            "{} exchanged two orders: {} is in compartment {} now, {} in {}",
            f.staff, f.one, f.one_in, f.other, f.other_in
        ),
        Fact::Service(f) => {
            let is = if f.in_service { "is in service again" } else { "is out of service" };
            format!("{}: compartment {} {is}", f.staff, f.compartment)
        }
        Fact::Maintenance(f) if f.minutes == 0 => format!("{} has ended the work at the doors", f.staff),
        Fact::Maintenance(f) => format!("{} works at the doors with a key for {} min", f.staff, f.minutes),
        Fact::Found(f) => {
            let before = f.from.map_or_else(String::new, |from| format!(", and no more in {from}"));
            format!("{} found order {} in compartment {}{before}", f.staff, f.order, f.compartment)
        }
        Fact::CourierCame(f) => format!("courier {} has come", f.courier),
        Fact::CourierTurnedAway(f) => {
            let what = f.order.as_ref().map_or_else(|| "a parcel".to_owned(), |order| format!("order {order}"));
            format!("courier {} has brought {what} of size {}, and nothing that fits is free", f.courier, f.size)
        }
        Fact::Depositing(Depositing { courier: Some(courier), order, compartment, .. }) => {
            format!("courier {courier} puts order {order} into compartment {compartment}")
        }
        Fact::Deposited(Deposited { courier: Some(courier), order, compartment, seen, .. }) => {
            let by = if *seen { "seen by the sensor" } else { "by their word" };
            format!("courier {courier} has put order {order} into compartment {compartment}, {by}")
        }
        Fact::Depositing(f) => {
            format!("somebody puts order {} into compartment {} by its deposit code", f.order, f.compartment)
        }
        Fact::Deposited(f) => {
            let by = if f.seen { "seen by the sensor" } else { "by their word" };
            format!("somebody has put order {} into compartment {}, {by}", f.order, f.compartment)
        }
        Fact::EmergencyOpened(f) if f.passed_over.is_empty() => format!("{} opens all doors", f.staff),
        Fact::EmergencyOpened(f) => {
            let doors: Vec<_> = f.passed_over.iter().map(Compartment::to_string).collect();
            format!("{} opens all doors but {}, which stand open or are out of order", f.staff, doors.join(", "))
        }
        Fact::WalkIn(f) => format!("{} began walk-in {}", brought_by(&f.staff, f.courier.as_ref()), f.order.order),
        Fact::Reported(f) => match f.compartment {
            Some(at) => format!("somebody with its code says that order {} is not in compartment {at}", f.order),
            None => format!("somebody with its code says that order {} was taken by another person", f.order),
        },
        Fact::WalkInDropped(f) => {
            format!("{} gave walk-in {} up", brought_by(&f.staff, f.courier.as_ref()), f.order.order)
        }
        Fact::Released(f) => format!("{} released order {} in compartment {}", f.staff, f.order, f.compartment),
        Fact::Cleaning(f) if f.needed => format!("{}: compartment {} needs cleaning", f.staff, f.compartment),
        Fact::Cleaning(f) => format!("{}: compartment {} is clean", f.staff, f.compartment),
        Fact::Audited(f) => {
            format!("{} looked into compartment {}: {}", f.staff, f.compartment, finding(f.found, f.order.as_ref()))
        }
    }
}

fn errand(taken: &ErrandTaken) -> String {
    let ErrandTaken { requester, order, compartment, .. } = taken;
    match taken.errand {
        Errand::Load => format!("{requester} has order {order} loaded into compartment {compartment}"),
        Errand::Retrieve => format!("{requester} has order {order} taken out of compartment {compartment}"),
        Errand::Inside => format!("{requester} says that order {order} is inside compartment {compartment}"),
        Errand::NotInside => format!("{requester} says that order {order} is not inside compartment {compartment}"),
    }
}

/// Who has done what staff do.
fn hand(name: &Name) -> &str {
    if name.as_str() == BY_COMMAND_NAME { "somebody, by command," } else { name.as_str() }
}

fn brought_by(staff: &Name, courier: Option<&Name>) -> String {
    courier.map_or_else(|| staff.to_string(), |name| format!("courier {name}"))
}

fn watcher(stage: HeldStage) -> &'static str {
    match stage {
        HeldStage::Staff => "staff",
        HeldStage::Technician => "a technician",
    }
}

fn finding(found: Finding, order: Option<&OrderKey>) -> String {
    match (found, order) {
        (Finding::AsBooked, Some(order)) => format!("order {order} is inside"),
        (Finding::AsBooked, None) => "it is empty".to_owned(),
        (Finding::Missing, Some(order)) => format!("order {order} is missing"),
        (Finding::Occupied | Finding::Missing, _) => "something is inside that is in no book".to_owned(),
    }
}

fn outcome(outcome: UnlockOutcome) -> &'static str {
    match outcome {
        UnlockOutcome::Opened => "was unlocked and opened",
        UnlockOutcome::NotOpened => "was unlocked and did not open",
        UnlockOutcome::NotSent => "was not unlocked",
        UnlockOutcome::OutcomeUnknown => "was unlocked; no sensor says whether it opened",
    }
}

fn actor(by: &Actor) -> String {
    match by {
        Actor::Command(by) => format!("a command of {}", by.requester),
        Actor::App(by) => format!("the app, for {}", by.requester),
        Actor::Credential(by) => format!("credential {}", by.id),
        Actor::Staff(by) => format!("staff {}", by.name),
        Actor::Courier(by) => format!("courier {}", by.name),
        Actor::Nobody(_) => "nobody".into(),
    }
}

#[cfg(test)]
mod tests {
    use schemas::messages::{
        ActorCommand, ActorNobody, ActorStaff, CommandId, DoorClosed, DoorFault, DoorOpened, Occupancy, UnlockDone,
        WrongDoor,
    };

    use super::*;

    fn door(number: u16) -> Compartment {
        Compartment::new(number).unwrap()
    }

    #[test]
    fn people_read_which_door_and_by_whom() {
        let command = Actor::Command(ActorCommand { id: CommandId([1; 16]), requester: "operator:acme:eve".into() });
        let facts: [(Fact, &str, &str, u16); 5] = [
            (
                DoorOpened { compartment: door(7), by: command }.into(),
                "door_opened",
                "door 7 opened by a command of operator:acme:eve",
                7,
            ),
            (
                DoorClosed { compartment: door(7), occupancy: Occupancy::Empty }.into(),
                "door_closed",
                "door 7 closed, occupancy empty",
                7,
            ),
            (
                WrongDoor {
                    pulsed: door(7),
                    opened: door(9),
                    by: Some(Actor::Staff(ActorStaff { name: "sam".parse().unwrap() })),
                }
                .into(),
                "wrong_door",
                "door 9 opened when door 7 was unlocked by staff sam",
                9,
            ),
            (
                DoorFault { compartment: door(7), by: Actor::Nobody(ActorNobody {}), attempts: 3 }.into(),
                "door_fault",
                "door 7 did not open for nobody, tried 3 times",
                7,
            ),
            (
                UnlockDone { id: CommandId([1; 16]), compartment: door(7), outcome: UnlockOutcome::NotSent }.into(),
                "unlock_done",
                "door 7 was not unlocked",
                7,
            ),
        ];
        for (fact, name, words, number) in facts {
            assert_eq!((kind(&fact), text(&fact).as_str()), (name, words));
            assert_eq!(subject(&fact), (Some(door(number)), None));
        }
    }
}
