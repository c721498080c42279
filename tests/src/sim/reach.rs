//! What schedules can reach, what they reach seldom, and what nothing reaches, with the reason.

use cabinet_core::{EntryRefusal, EntryResult};
use schemas::api::{OrderState, RejectReason, RequestErrorCode};
use schemas::messages::{RefusalReason, UnlockOutcome};

use super::coverage::Coverage;
use super::names;

/// A group of the coverage.
pub struct Reach {
    pub group: &'static str,
    /// The bounded run of the tests reaches them.
    pub often: &'static [&'static str],
    /// Only some thousand schedules reach them.
    pub seldom: &'static [&'static str],
    pub never: &'static [(&'static str, &'static str)],
    /// More of these, where several groups have the same.
    nor: &'static [(&'static str, &'static str)],
    /// Every name that the code has for it, where it has a list.
    all: fn() -> Vec<&'static str>,
}

impl Reach {
    /// Names of the code that this list has forgotten, and names that were seen and are not in it or should not be.
    pub fn mistakes(&self, seen: &Coverage) -> Vec<String> {
        let never = |name: &str| self.never.iter().chain(self.nor).any(|(unreached, _)| *unreached == name);
        let listed = |name: &str| self.often.contains(&name) || self.seldom.contains(&name);
        let forgotten = (self.all)().into_iter().filter(|name| !listed(name) && !never(name));
        let forgotten = forgotten.map(|name| format!("{}: {name} is in no list", self.group));
        let strange = seen.names(self.group).filter(|name| !listed(name));
        let strange =
            strange.map(|name| format!("{}: {name} was reached and is in no list of what can be", self.group));
        forgotten.chain(strange).collect()
    }

    /// What can be reached and was not.
    pub fn missing<'a>(&'a self, names: &'a [&'static str], seen: &'a Coverage) -> impl Iterator<Item = String> + 'a {
        names.iter().filter(|name| seen.of(self.group, name) == 0).map(|name| format!("{}: {name}", self.group))
    }
}

fn refusals() -> Vec<&'static str> {
    RefusalReason::ALL.iter().map(|reason| reason.as_str()).collect()
}

const OF_A_CREDENTIAL: &str = "said of a credential";
const OF_A_COMMAND: &str = "said of a command";
const OF_A_BOOK: &str = "said of a book";
const OF_A_PERSON: &str = "said of a command by a person's own key, which no schedule has";
const OF_AN_APP: &str = "no backend of a schedule has an app";
const OF_A_FACTOR: &str = "no order of a schedule has a second factor";
const OF_PARTS: &str =
    "every order of a schedule is in one compartment; tests of the fleet's core break others off everywhere";
const OF_SHARING: &str = "no order of a schedule shares its compartment; random histories of the cabinet's core do";
const OF_AN_ERRAND: &str = "nobody in a schedule loads or takes out from afar";
const NOBODY: &str = "no rule says it";

/// Of what no schedule has, whoever is refused.
const REFUSALS_OF_NOTHING_HERE: &[(&str, &str)] = &[
    ("storage_failed", NOBODY),
    ("already_open", NOBODY),
    ("out_of_scope", OF_A_PERSON),
    ("not_enabled", OF_AN_APP),
    ("no_such_token", OF_AN_APP),
    ("too_often", OF_AN_APP),
    ("wrong_answer", OF_A_FACTOR),
    ("not_here", OF_AN_ERRAND),
    ("already_inside", OF_AN_ERRAND),
    ("not_to_be_retrieved", OF_AN_ERRAND),
    ("not_asked", OF_AN_ERRAND),
    ("door_open", OF_AN_ERRAND),
];

/// All groups in which every name is accounted for.
pub const REACH: &[Reach] = &[
    Reach {
        group: "order states",
        often: &[
            "created",
            "ready",
            "reserved",
            "loading",
            "stored",
            "collecting",
            "collected",
            "cancelled",
            "rejected",
            "retrieved",
            "recalled",
        ],
        seldom: &["collected_unconfirmed", "disputed", "overdue", "quarantined"],
        never: &[("partly_collected", OF_PARTS)],
        nor: &[],
        all: || OrderState::ALL.iter().map(|state| state.as_str()).collect(),
    },
    Reach {
        group: "outcomes",
        often: &["opened", "not_opened", "not_sent", "outcome_unknown"],
        seldom: &[],
        never: &[],
        nor: &[],
        all: || UnlockOutcome::ALL.iter().map(|outcome| outcome.as_str()).collect(),
    },
    Reach {
        group: "facts",
        often: &[
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
            "Audited",
            "Depositing",
            "Deposited",
        ],
        seldom: &["NotTaken", "Released", "Reported"],
        never: &[
            ("Wiped", "no cabinet of a schedule comes to its end"),
            ("BreakGlassUsed", "the fleet of a schedule gives its cabinets no such code"),
            ("Cleaning", "no staff of a schedule clean"),
            ("Swapped", "no staff of a schedule exchange orders"),
            ("EmergencyOpened", "no schedule has an emergency"),
            ("WalkIn", "no staff of a schedule begin an order; random histories of the cabinet's core do"),
            ("WalkInDropped", "no staff of a schedule begin an order"),
            ("AppClosed", OF_AN_APP),
            ("ErrandTaken", OF_AN_ERRAND),
            ("LoadingBeside", OF_SHARING),
        ],
        nor: &[],
        all: || names::FACTS.to_vec(),
    },
    Reach {
        group: "entries",
        often: &[
            "Opening",
            "Depositing",
            "Locked",
            "StaffSession",
            "Wrong",
            "Busy",
            "Used",
            "Revoked",
            "NotHere",
            "OutOfService",
        ],
        seldom: &["Expired", "TimeUnknown", "SecondPartNeeded", "ReleaseNeeded", "Missing", "NoRoom"],
        never: &[],
        nor: &[],
        all: || {
            let refusals = [
                EntryRefusal::Wrong,
                EntryRefusal::Busy,
                EntryRefusal::Used,
                EntryRefusal::Expired,
                EntryRefusal::Revoked,
                EntryRefusal::TimeUnknown,
                EntryRefusal::NotHere,
                EntryRefusal::OutOfService,
                EntryRefusal::Missing,
                EntryRefusal::NoRoom,
            ];
            refusals.into_iter().map(|refusal| names::of_result(&EntryResult::Refused(refusal))).collect()
        },
    },
    Reach {
        group: "staff refused",
        often: &["AlreadyHere", "Busy", "DiskFull", "DoorOpen", "NoFittingCompartment", "NoSession", "UnknownOrder"],
        seldom: &["NobodyAsks", "NotJustStored", "Over"],
        never: &[],
        nor: &[],
        all: Vec::new,
    },
    Reach {
        group: "commands refused",
        often: &["malformed", "bad_signature", "unknown_key", "replayed", "unknown_challenge"],
        seldom: &["expired", "busy", "wrong_content"],
        never: &[
            ("unknown_compartment", "the fleet knows the compartments from hello, and asks for no other"),
            ("old_version", "the tenant has one keyset"),
            ("wrong_base", OF_A_BOOK),
            ("used", OF_A_CREDENTIAL),
            ("revoked", OF_A_CREDENTIAL),
            ("time_unknown", OF_A_CREDENTIAL),
            ("out_of_service", OF_A_CREDENTIAL),
            ("no_fitting_compartment", OF_A_CREDENTIAL),
        ],
        nor: REFUSALS_OF_NOTHING_HERE,
        all: refusals,
    },
    Reach {
        group: "books refused",
        often: &["malformed", "bad_signature", "unknown_key", "expired", "unknown_challenge", "old_version"],
        seldom: &["wrong_base"],
        never: &[
            ("replayed", OF_A_COMMAND),
            ("wrong_content", OF_A_COMMAND),
            ("unknown_compartment", OF_A_COMMAND),
            ("busy", OF_A_COMMAND),
            ("used", OF_A_CREDENTIAL),
            ("revoked", OF_A_CREDENTIAL),
            ("time_unknown", OF_A_CREDENTIAL),
            ("out_of_service", OF_A_CREDENTIAL),
            ("no_fitting_compartment", OF_A_CREDENTIAL),
        ],
        nor: REFUSALS_OF_NOTHING_HERE,
        all: refusals,
    },
    Reach {
        group: "credentials refused",
        often: &["used", "revoked", "out_of_service"],
        seldom: &["expired", "time_unknown", "no_fitting_compartment"],
        never: &[
            ("malformed", OF_A_COMMAND),
            ("bad_signature", OF_A_COMMAND),
            ("unknown_key", OF_A_COMMAND),
            ("unknown_challenge", OF_A_COMMAND),
            ("replayed", OF_A_COMMAND),
            ("wrong_content", OF_A_COMMAND),
            ("unknown_compartment", OF_A_COMMAND),
            ("busy", "a door that is just being opened is no offence"),
            ("old_version", OF_A_BOOK),
            ("wrong_base", OF_A_BOOK),
        ],
        nor: REFUSALS_OF_NOTHING_HERE,
        all: refusals,
    },
    Reach {
        group: "rejections",
        often: &["no_fitting_compartment", "unknown_cabinet", "other_content", "unknown_order", "too_late"],
        seldom: &["deadline_not_later", "deadline_too_far", "in_bundle", "no_code_yet", "quarantined"],
        never: &[
            ("malformed", "a put that cannot be read is refused as a packet"),
            ("unknown_site", "every order here is put for a cabinet"),
            ("force_closed", "no operator of a schedule ends an order"),
            ("not_enabled", OF_AN_APP),
            ("no_such_token", OF_AN_APP),
            ("cabinet_offline", OF_AN_APP),
            ("not_inside", OF_AN_APP),
            ("not_opened", OF_AN_APP),
            ("several_compartments", OF_PARTS),
            ("shares_compartment", OF_SHARING),
            ("other_answer", OF_A_FACTOR),
            ("has_second_factor", OF_A_FACTOR),
            ("no_sealing_key", OF_A_FACTOR),
            ("not_collected", "no order of a schedule is dropped off and bundled"),
            ("quota", "no backend here has so many orders"),
            ("too_often", "no backend here has so many wishes for one order"),
        ],
        nor: &[],
        all: || RejectReason::ALL.iter().map(|reason| reason.as_str()).collect(),
    },
    Reach {
        group: "requests refused",
        often: &["malformed", "forbidden", "unknown", "cabinet_offline", "timeout"],
        seldom: &["conflict", "refused", "unavailable"],
        never: &[],
        nor: &[],
        all: || RequestErrorCode::ALL.iter().map(|code| code.as_str()).collect(),
    },
    Reach {
        group: "adversary",
        often: &[
            "repeated",
            "misdirected",
            "changed",
            "reordered",
            "forged",
            "held back",
            "event taken away",
            "forged upwards",
            "repeated upwards",
        ],
        seldom: &[],
        never: &[],
        nor: &[],
        all: Vec::new,
    },
    Reach {
        group: "crash positions",
        often: &[
            "fleet before commit",
            "fleet in commit, kept",
            "fleet in commit, lost",
            "fleet disk full",
            "fleet before effects",
            "fleet between effects",
            "fleet before acknowledgement",
            "cabinet before commit",
            "cabinet in commit, kept",
            "cabinet in commit, lost",
            "cabinet disk full",
            "cabinet before effects",
            "cabinet between effects",
            "cabinet after effects",
        ],
        seldom: &[],
        never: &[],
        nor: &[],
        all: Vec::new,
    },
    Reach {
        group: "faults",
        often: &[
            "agent crash",
            "backend dies before its ack",
            "bus slow",
            "cabinet disk low",
            "cabinet power cut",
            "cabinet put back",
            "cabinet store failed",
            "cabinet suspends",
            "cabinet with a new disk",
            "connection broken one way",
            "contact always says open",
            "contacts of two doors exchanged",
            "derivation lost",
            "downlink doubled",
            "downlink slow",
            "fleet clock jumps minutes ahead",
            "fleet clock jumps minutes back",
            "fleet clock jumps years ahead",
            "fleet clock jumps years back",
            "fleet crash",
            "fleet does not start with such a clock",
            "fleet restored",
            "fleet store failed",
            "fleet restarted by its operator",
            "late board",
            "locks of two doors exchanged",
            "port lost",
            "pulse not sent",
            "pulse to a lost port",
            "sample lost",
            "signer failed",
            "silent board that sends nothing",
            "silent board with dead locks",
            "silent board with live locks",
            "uplink doubled",
            "uplink slow",
        ],
        seldom: &["pulse in the last moment", "pulse too late"],
        never: &[],
        nor: &[],
        all: Vec::new,
    },
    Reach {
        group: "order transitions",
        often: &[
            "new>created",
            "new>reserved",
            "new>rejected",
            "created>reserved",
            "created>cancelled",
            "ready>reserved",
            "reserved>loading",
            "reserved>ready",
            "reserved>cancelled",
            "loading>stored",
            "loading>ready",
            "stored>collecting",
            "stored>retrieved",
            "collecting>collected",
        ],
        // Mostly behind a restore, a put-back disk or a cancelling that comes too late.
        seldom: &[
            "cancelled>collected",
            "cancelled>collected_unconfirmed",
            "cancelled>recalled",
            "cancelled>retrieved",
            "collected>disputed",
            "collected>recalled",
            "collected_unconfirmed>disputed",
            "collected_unconfirmed>recalled",
            "collecting>collected_unconfirmed",
            "collecting>disputed",
            "collecting>loading",
            "collecting>retrieved",
            "collecting>stored",
            "created>collected",
            "created>collected_unconfirmed",
            // To another cabinet.
            "created>created",
            "created>loading",
            "created>rejected",
            "created>retrieved",
            "created>stored",
            "loading>collected",
            "loading>collected_unconfirmed",
            "loading>retrieved",
            "new>loading",
            "new>stored",
            "disputed>cancelled",
            "disputed>loading",
            "disputed>retrieved",
            "disputed>stored",
            "overdue>collected",
            "overdue>collected_unconfirmed",
            "overdue>collecting",
            "overdue>loading",
            "overdue>quarantined",
            "overdue>ready",
            "overdue>recalled",
            "overdue>retrieved",
            "overdue>stored",
            "quarantined>collected",
            "quarantined>collected_unconfirmed",
            "quarantined>recalled",
            "quarantined>retrieved",
            "quarantined>stored",
            "ready>cancelled",
            "ready>collected",
            "ready>collected_unconfirmed",
            "ready>loading",
            "ready>rejected",
            "ready>retrieved",
            "ready>stored",
            "recalled>collected",
            "recalled>collected_unconfirmed",
            "recalled>retrieved",
            "stored>disputed",
            "stored>overdue",
            "stored>quarantined",
            // A cabinet that was put back gives up a loading whose end the fleet has heard.
            "stored>ready",
            "stored>stored",
            "rejected>cancelled",
            "rejected>collected",
            "rejected>collected_unconfirmed",
            "rejected>created",
            "rejected>loading",
            "rejected>recalled",
            "rejected>rejected",
            "rejected>reserved",
            "rejected>retrieved",
            "reserved>collected",
            "reserved>collected_unconfirmed",
            "reserved>reserved",
            "reserved>retrieved",
            "reserved>stored",
            "retrieved>recalled",
            "stored>collected",
            "stored>collected_unconfirmed",
            "stored>loading",
            "stored>recalled",
        ],
        never: &[
            ("stored>cancelled", "a stored order is recalled instead"),
            ("collected>stored", "what is stored though it is over for its backend is recalled"),
            ("retrieved>loading", "an order that is over is not loaded for the fleet"),
        ],
        nor: &[],
        all: Vec::new,
    },
];
