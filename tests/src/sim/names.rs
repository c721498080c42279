//! Names of what schedules can reach: each variant is written here, so that a new one cannot be forgotten.

use cabinet_core::{DepositRefusal, EntryRefusal, EntryResult, StaffRefusal};
use schemas::messages::Fact;

pub(super) fn of_fact(fact: &Fact) -> &'static str {
    match fact {
        Fact::Started(_) => "Started",
        Fact::DoorOpened(_) => "DoorOpened",
        Fact::DoorClosed(_) => "DoorClosed",
        Fact::DoorForced(_) => "DoorForced",
        Fact::DoorHeldOpen(_) => "DoorHeldOpen",
        Fact::DoorFault(_) => "DoorFault",
        Fact::WrongDoor(_) => "WrongDoor",
        Fact::Loading(_) => "Loading",
        Fact::Stored(_) => "Stored",
        Fact::LoadAborted(_) => "LoadAborted",
        Fact::Collected(_) => "Collected",
        Fact::Retrieved(_) => "Retrieved",
        Fact::UnlockDone(_) => "UnlockDone",
        Fact::CommandRefused(_) => "CommandRefused",
        Fact::CredentialRefused(_) => "CredentialRefused",
        Fact::TypingLocked(_) => "TypingLocked",
        Fact::StaffLoggedIn(_) => "StaffLoggedIn",
        Fact::BreakGlassUsed(_) => "BreakGlassUsed",
        Fact::BookApplied(_) => "BookApplied",
        Fact::BookRefused(_) => "BookRefused",
        Fact::KeysetApplied(_) => "KeysetApplied",
        Fact::KeysetRefused(_) => "KeysetRefused",
        Fact::BoardHealth(_) => "BoardHealth",
        Fact::AuditRequired(_) => "AuditRequired",
        Fact::Wiped(_) => "Wiped",
        Fact::Audited(_) => "Audited",
        Fact::Cleaning(_) => "Cleaning",
        Fact::EmergencyOpened(_) => "EmergencyOpened",
        Fact::Swapped(_) => "Swapped",
        Fact::NotTaken(_) => "NotTaken",
        Fact::WalkIn(_) => "WalkIn",
        Fact::WalkInDropped(_) => "WalkInDropped",
        Fact::Depositing(_) => "Depositing",
        Fact::Deposited(_) => "Deposited",
        Fact::Reported(_) => "Reported",
        Fact::AppClosed(_) => "AppClosed",
        Fact::Released(_) => "Released",
    }
}

pub(super) fn of_result(result: &EntryResult) -> &'static str {
    match result {
        EntryResult::Opening { .. } => "Opening",
        EntryResult::Depositing { .. } => "Depositing",
        EntryResult::Locked { .. } => "Locked",
        EntryResult::StaffSession { .. } => "StaffSession",
        EntryResult::SecondPartNeeded => "SecondPartNeeded",
        EntryResult::ReleaseNeeded => "ReleaseNeeded",
        EntryResult::Refused(EntryRefusal::Wrong) => "Wrong",
        EntryResult::Refused(EntryRefusal::Busy) => "Busy",
        EntryResult::Refused(EntryRefusal::Used) => "Used",
        EntryResult::Refused(EntryRefusal::Expired) => "Expired",
        EntryResult::Refused(EntryRefusal::Revoked) => "Revoked",
        EntryResult::Refused(EntryRefusal::TimeUnknown) => "TimeUnknown",
        EntryResult::Refused(EntryRefusal::NotHere) => "NotHere",
        EntryResult::Refused(EntryRefusal::OutOfService) => "OutOfService",
        EntryResult::Refused(EntryRefusal::Missing) => "Missing",
        EntryResult::Refused(EntryRefusal::NoRoom) => "NoRoom",
    }
}

pub(super) fn of_deposit_refusal(refusal: DepositRefusal) -> &'static str {
    match refusal {
        DepositRefusal::NoSession => "NoSession",
        DepositRefusal::Busy => "Busy",
        DepositRefusal::DoorOpen => "DoorOpen",
        DepositRefusal::DoorClosed => "DoorClosed",
        DepositRefusal::NoFittingCompartment => "NoFittingCompartment",
        DepositRefusal::TooOften => "TooOften",
    }
}

pub(super) fn of_staff_refusal(refusal: StaffRefusal) -> &'static str {
    match refusal {
        StaffRefusal::NoSession => "NoSession",
        StaffRefusal::UnknownOrder => "UnknownOrder",
        StaffRefusal::UnknownCompartment => "UnknownCompartment",
        StaffRefusal::AlreadyHere => "AlreadyHere",
        StaffRefusal::Over => "Over",
        StaffRefusal::NobodyAsks => "NobodyAsks",
        StaffRefusal::NotJustStored => "NotJustStored",
        StaffRefusal::NoFittingCompartment => "NoFittingCompartment",
        StaffRefusal::Busy => "Busy",
        StaffRefusal::DoorOpen => "DoorOpen",
        StaffRefusal::InDoubt => "InDoubt",
        StaffRefusal::SensorDisagrees => "SensorDisagrees",
        StaffRefusal::DiskFull => "DiskFull",
        StaffRefusal::NeverOnline => "NeverOnline",
        StaffRefusal::TooMany => "TooMany",
    }
}

pub(super) const FACTS: &[&str] = &[
    "Started",
    "DoorOpened",
    "DoorClosed",
    "DoorForced",
    "DoorHeldOpen",
    "DoorFault",
    "WrongDoor",
    "Loading",
    "Stored",
    "LoadAborted",
    "Collected",
    "Retrieved",
    "UnlockDone",
    "CommandRefused",
    "CredentialRefused",
    "TypingLocked",
    "StaffLoggedIn",
    "BookApplied",
    "BookRefused",
    "KeysetApplied",
    "KeysetRefused",
    "BoardHealth",
    "AuditRequired",
    "Wiped",
    "BreakGlassUsed",
    "Audited",
    "Cleaning",
    "EmergencyOpened",
    "Swapped",
    "NotTaken",
    "WalkIn",
    "WalkInDropped",
    "Depositing",
    "Deposited",
    "Reported",
    "AppClosed",
    "Released",
];
