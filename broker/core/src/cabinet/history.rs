//! Who opened which door, by what right, when, why, and what became of it: the record of a cabinet.
//!
//! Rows are read by the shell when somebody asks. The core keeps only the newest number, so that ten thousand cabinets
//! with a long past cost no memory.

use schemas::api::{RejectReason, Reply, Rfc3339, UnlockPage, UnlockRecord, UnlockRight};
use schemas::cbor::{self, CborError};
use schemas::cbor_map;
use schemas::ids::{CabinetId, Identity, Name, Role, TenantId};
use schemas::messages::{
    Actor, ActorCourier, ActorCredential, BREAK_GLASS_NAME, BY_COMMAND_NAME, CommandId, Compartment, CredentialId,
    DoorState, Fact, FleetMillis, OrderKey, RefusalReason, UnlockOutcome, WrongDoor,
};
use schemas::step::{Row, numbered_key};

use crate::cabinet::app::published;
use crate::cabinet::events::When;
use crate::cabinet::records::CommandRow;
use crate::cabinet::{Cabinet, UnlockWish};
use crate::tables::{CabinetRef, UNLOCKS};
use crate::turn::Turn;

/// Records of one cabinet that are kept, the newest ones.
pub const UNLOCKS_KEPT: u64 = 1_000;
/// Most records in an answer to `unlock.list`.
pub const UNLOCKS_PAGE: usize = 100;

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct UnlockRow {
        1 => n: u64,
        2 => compartment: Compartment,
        3 => right: UnlockRight,
        4 opt => by: Option<String>,
        5 opt => reason: Option<String>,
        6 opt => command: Option<CommandId>,
        7 opt => credential: Option<CredentialId>,
        /// What the fleet believed to be inside, or what was to be loaded.
        8 opt => order: Option<OrderKey>,
        9 => at: FleetMillis,
        10 => time_unverified: bool,
        11 opt => outcome: Option<UnlockOutcome>,
        12 opt => refused: Option<RefusalReason>,
        /// When the fleet heard what became of it.
        13 opt => ended: Option<FleetMillis>,
    }
}

/// Key of the newest record of a cabinet below number `before`, or of its newest one, in table [`UNLOCKS`]. Later
/// records sort first, so that a scan goes back in time.
pub fn unlock_key(tenant: &TenantId, cabinet: &CabinetId, before: Option<u64>) -> Vec<u8> {
    let newest = before.map_or(u64::MAX, |before| before.saturating_sub(1));
    key_of(&CabinetRef::new(tenant.clone(), cabinet.clone()), newest)
}

fn key_of(at: &CabinetRef, n: u64) -> Vec<u8> {
    numbered_key(&at.key(), u64::MAX - n)
}

/// The answer to [`Effect::ReplyUnlocks`](crate::Effect::ReplyUnlocks) from at most one row more than
/// [`UNLOCKS_PAGE`].
pub fn unlock_page(rows: &[Row]) -> Result<Reply, CborError> {
    let page = rows.iter().take(UNLOCKS_PAGE);
    let unlocks = page.map(|(_, value)| cbor::decode(value).map(UnlockRow::record)).collect::<Result<_, _>>()?;
    Ok(Reply::Unlocks(UnlockPage { unlocks, more: rows.len() > UNLOCKS_PAGE }))
}

/// What became of a command.
#[derive(Clone, Copy)]
pub(super) enum End {
    Done(UnlockOutcome),
    Refused(RefusalReason),
    /// It never left the fleet, for a reason that an order's backend hears.
    Unsent(RejectReason),
}

impl End {
    /// What a backend is told whose order's door was to be opened, and was not seen to.
    pub(super) fn refusal(self) -> Option<RejectReason> {
        match self {
            Self::Done(UnlockOutcome::Opened) => None,
            Self::Done(UnlockOutcome::NotOpened | UnlockOutcome::NotSent | UnlockOutcome::OutcomeUnknown) => {
                Some(RejectReason::NotOpened)
            }
            Self::Refused(reason) => Some(published(reason)),
            Self::Unsent(reason) => Some(reason),
        }
    }
}

impl Cabinet {
    /// A command is about to be signed, or carried. Returns the number of its record.
    pub(super) fn note_command(
        &mut self,
        turn: &mut Turn<'_>,
        id: CommandId,
        wish: &UnlockWish,
        (right, order): (UnlockRight, Option<OrderKey>),
    ) -> u64 {
        let row = UnlockRow {
            by: Some(wish.who.to_string()),
            reason: Some(wish.reason.clone()),
            command: Some(id),
            order,
            ..self.blank(wish.compartment, right, When::known(turn.now))
        };
        self.note(turn, row)
    }

    /// The record of a command gets its end, once. Its row has all of the record but the order.
    pub(super) fn note_end(&self, turn: &mut Turn<'_>, command: CommandRow, end: End) {
        let Some(n) = command.record else { return };
        let (outcome, refused) = match end {
            End::Done(outcome) => (Some(outcome), None),
            End::Refused(reason) => (None, Some(reason)),
            End::Unsent(_) => (Some(UnlockOutcome::NotSent), None),
        };
        let right = if command.is_by_app() { UnlockRight::App } else { UnlockRight::Command };
        let row = UnlockRow {
            n,
            by: Some(command.requester),
            reason: Some(command.reason),
            command: Some(command.id),
            order: command.order,
            outcome,
            refused,
            ended: Some(turn.now),
            ..self.blank(command.compartment, right, When::known(command.issued))
        };
        turn.put(UNLOCKS, key_of(&self.at, n), &row);
    }

    /// A fact may be that a door was opened by a right that the fleet has not written down itself.
    pub(super) fn note_fact(&mut self, turn: &mut Turn<'_>, when: When, fact: &Fact) {
        match fact {
            Fact::DoorOpened(seen) => self.note_opened(turn, when, seen.compartment, &seen.by, UnlockOutcome::Opened),
            Fact::DoorForced(seen) => {
                let row = self.blank(seen.compartment, UnlockRight::Nobody, when);
                self.note(turn, UnlockRow { outcome: Some(UnlockOutcome::Opened), ..row });
            }
            Fact::WrongDoor(seen) => self.note_wrong_door(turn, when, seen),
            Fact::Stored(load) => self.note_blind_staff(turn, when, load.compartment, Some(&load.staff)),
            Fact::LoadAborted(load) if self.is_loaded_by_command(load.compartment) => {}
            Fact::LoadAborted(load) => self.note_blind_staff(turn, when, load.compartment, None),
            Fact::Retrieved(taken) => self.note_blind_staff(turn, when, taken.compartment, Some(&taken.staff)),
            // One look, whatever is said of how many orders.
            Fact::Audited(audited) if audited.order.as_ref() != self.inside(audited.compartment) => {}
            Fact::Audited(audited) => self.note_blind_staff(turn, when, audited.compartment, Some(&audited.staff)),
            Fact::Found(found) => self.note_blind_staff(turn, when, found.compartment, Some(&found.staff)),
            Fact::Swapped(swapped) => {
                self.note_blind_staff(turn, when, swapped.one_in, Some(&swapped.staff));
                self.note_blind_staff(turn, when, swapped.other_in, Some(&swapped.staff));
            }
            // On record with its command.
            Fact::Collected(taken) if self.was_opened_for_app(taken) => {}
            // What lay together went through one door; the last one of it tells.
            Fact::Collected(taken) if self.holds_more_than(&taken.order, taken.compartment) => {}
            Fact::Collected(taken) if self.is_blind(taken.compartment) => {
                let by = ActorCredential { id: taken.credential }.into();
                self.note_opened(turn, when, taken.compartment, &by, UnlockOutcome::OutcomeUnknown);
            }
            Fact::NotTaken(left) if self.is_blind(left.compartment) => {
                let by = ActorCredential { id: left.credential }.into();
                self.note_opened(turn, when, left.compartment, &by, UnlockOutcome::OutcomeUnknown);
            }
            Fact::Deposited(put) if self.is_blind(put.compartment) => {
                let by = match put.courier.clone() {
                    Some(name) => ActorCourier { name }.into(),
                    None => ActorCredential { id: put.credential }.into(),
                };
                self.note_opened(turn, when, put.compartment, &by, UnlockOutcome::OutcomeUnknown);
            }
            Fact::Collected(_)
            | Fact::NotTaken(_)
            | Fact::Depositing(_)
            | Fact::Deposited(_)
            | Fact::Started(_)
            | Fact::DoorClosed(_)
            | Fact::DoorHeldOpen(_)
            | Fact::DoorFault(_)
            | Fact::Loading(_)
            | Fact::LoadingBeside(_)
            | Fact::UnlockDone(_)
            | Fact::CommandRefused(_)
            | Fact::CredentialRefused(_)
            | Fact::TypingLocked(_)
            | Fact::StaffLoggedIn(_)
            | Fact::CourierCame(_)
            | Fact::CourierTurnedAway(_)
            | Fact::BreakGlassUsed(_)
            | Fact::BookApplied(_)
            | Fact::BookRefused(_)
            | Fact::KeysetApplied(_)
            | Fact::KeysetRefused(_)
            | Fact::BoardHealth(_)
            | Fact::AuditRequired(_)
            | Fact::Cleaning(_)
            | Fact::Service(_)
            | Fact::Maintenance(_)
            | Fact::EmergencyOpened(_)
            | Fact::Reported(_)
            | Fact::AppClosed(_)
            | Fact::Released(_)
            | Fact::ErrandTaken(_)
            | Fact::WalkIn(_)
            | Fact::WalkInDropped(_)
            | Fact::Wiped(_) => {}
        }
    }

    /// Nobody had a right to this door; for whom another one was pulsed is on record with it.
    fn note_wrong_door(&mut self, turn: &mut Turn<'_>, when: When, seen: &WrongDoor) {
        let (by, credential) = match &seen.by {
            Some(Actor::Command(command)) => (Some(command.requester.clone()), None),
            Some(Actor::App(app)) => (Some(app.requester.clone()), None),
            Some(Actor::Staff(staff)) => (Some(self.staff_identity(&staff.name)), None),
            Some(Actor::Courier(courier)) => (Some(self.courier_text(&courier.name)), None),
            Some(Actor::Credential(credential)) => (None, Some(credential.id)),
            Some(Actor::Nobody(_)) | None => (None, None),
        };
        let row = self.blank(seen.opened, UnlockRight::Nobody, when);
        self.note(turn, UnlockRow { by, credential, outcome: Some(UnlockOutcome::Opened), ..row });
    }

    /// Staff are through with a compartment whose door nobody saw.
    fn note_blind_staff(&mut self, turn: &mut Turn<'_>, when: When, compartment: Compartment, staff: Option<&Name>) {
        // What somebody afar has had opened is on record with the command.
        let by_command = staff.is_some_and(|name| name.as_str() == BY_COMMAND_NAME);
        if !by_command && self.is_blind(compartment) {
            let by = staff.map(|name| self.staff_identity(name));
            let row = self.blank(compartment, UnlockRight::Staff, when);
            self.note(turn, UnlockRow { by, outcome: Some(UnlockOutcome::OutcomeUnknown), ..row });
        }
    }

    fn staff_identity(&self, name: &Name) -> String {
        Identity::new(Role::Staff, self.at.tenant.clone(), name.clone()).to_string()
    }

    /// No identity: nobody signs in with it.
    fn courier_text(&self, name: &Name) -> String {
        format!("courier:{}:{name}", self.at.tenant)
    }

    fn note_opened(
        &mut self,
        turn: &mut Turn<'_>,
        when: When,
        compartment: Compartment,
        by: &Actor,
        outcome: UnlockOutcome,
    ) {
        let blank = |right| UnlockRow { outcome: Some(outcome), ..self.blank(compartment, right, when) };
        let row = match by {
            // Its record waits for the outcome.
            Actor::Command(command) if self.commands.contains_key(&command.id) => return,
            // One that a restored fleet has forgotten, or whose door opened after its outcome was told.
            Actor::Command(command) => UnlockRow {
                by: Some(command.requester.clone()),
                command: Some(command.id),
                ..blank(UnlockRight::Command)
            },
            Actor::App(app) if self.commands.contains_key(&app.id) => return,
            // At another try, or behind a restore.
            Actor::App(app) => {
                UnlockRow { by: Some(app.requester.clone()), command: Some(app.id), ..blank(UnlockRight::App) }
            }
            Actor::Credential(credential) => {
                UnlockRow { credential: Some(credential.id), ..blank(UnlockRight::Credential) }
            }
            Actor::Staff(staff) if staff.name.as_str() == BREAK_GLASS_NAME => {
                let (by, reason) =
                    self.broke_the_glass().map(|shown| (shown.by.to_string(), shown.reason.clone())).unzip();
                UnlockRow { by, reason, ..blank(UnlockRight::BreakGlass) }
            }
            Actor::Staff(staff) => {
                UnlockRow { by: Some(self.staff_identity(&staff.name)), ..blank(UnlockRight::Staff) }
            }
            Actor::Courier(courier) => {
                UnlockRow { by: Some(self.courier_text(&courier.name)), ..blank(UnlockRight::Courier) }
            }
            Actor::Nobody(_) => blank(UnlockRight::Nobody),
        };
        self.note(turn, row);
    }

    /// No sensor has told of this door. Where one has, it told of every opening before anybody could be through with the
    /// compartment. Right behind a start of the fleet a record too many is better than a missing one.
    fn is_blind(&self, compartment: Compartment) -> bool {
        self.doors.get(&compartment).is_none_or(|(door, _)| *door == DoorState::Unknown)
    }

    fn blank(&self, compartment: Compartment, right: UnlockRight, when: When) -> UnlockRow {
        UnlockRow {
            n: 0,
            compartment,
            right,
            by: None,
            reason: None,
            command: None,
            credential: None,
            order: self.inside(compartment).cloned(),
            at: when.at,
            time_unverified: when.unverified,
            outcome: None,
            refused: None,
            ended: None,
        }
    }

    fn note(&mut self, turn: &mut Turn<'_>, row: UnlockRow) -> u64 {
        let n = self.progress.records.unwrap_or(0).saturating_add(1);
        self.progress.records = Some(n);
        self.put_progress(turn);
        turn.put(UNLOCKS, key_of(&self.at, n), &UnlockRow { n, ..row });
        if let Some(old) = n.checked_sub(UNLOCKS_KEPT).filter(|old| *old > 0) {
            turn.remove(UNLOCKS, key_of(&self.at, old));
        }
        n
    }

    /// Who asked for what a fact tells the end of, and why.
    pub(super) fn asked_by(&self, fact: &Fact) -> String {
        let Fact::UnlockDone(done) = fact else { return String::new() };
        let asked = self.commands.get(&done.id);
        asked.map_or_else(String::new, |row| format!(", asked for by {}: {}", row.requester, row.reason))
    }
}

impl UnlockRow {
    fn record(self) -> UnlockRecord {
        UnlockRecord {
            n: self.n,
            compartment: self.compartment,
            right: self.right,
            by: self.by,
            credential: self.credential.map(|id| id.to_string()),
            order: self.order.map(|order| order.to_string()),
            reason: self.reason,
            command: self.command,
            at: Rfc3339(self.at),
            time_unverified: self.time_unverified,
            outcome: self.outcome,
            refused: self.refused,
            ended: self.ended.map(Rfc3339),
        }
    }
}
