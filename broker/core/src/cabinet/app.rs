//! Openings by the app. The cabinet compares the token with its screen; the fleet carries it, for as long as somebody waits.
//!
//! Who asks and for what is on disk before a challenge is asked for: after a restart nothing of it is signed again, but whoever
//! asked is told.

use schemas::api::{RejectReason, Reply};
use schemas::messages::{
    Collected, CommandId, Compartment, CredentialId, FleetMillis, OpenOrder, OrderKey, PresenceToken, RefusalReason,
    UnlockDone,
};

use crate::cabinet::commands::{COMMANDS_MAX, OUTCOME_WITHIN_MILLIS, Unlock, UnlockWish};
use crate::cabinet::hello::CHALLENGE_FRESH_MILLIS;
use crate::cabinet::history::End;
use crate::cabinet::records::{CommandRow, Inside};
use crate::cabinet::{Cabinet, Link};
use crate::deadlines::Deadline;
use crate::effect::Effect;
use crate::intents::{Intent, NotOpened, OpenByApp};
use crate::requests::{error, way_out};
use crate::signing::{SignOpen, SignerRequest};
use crate::tables::COMMANDS;
use crate::turn::Turn;

/// Why it is on record.
const REASON: &str = "token of the screen";

impl Cabinet {
    /// Somebody waits for what becomes of an opening that is under way to this cabinet.
    pub(crate) fn await_opening(&mut self, command: CommandId, ticket: u64) {
        self.openings.insert(command, ticket);
    }

    pub(super) fn open_by_app(&mut self, turn: &mut Turn<'_>, wish: OpenByApp) {
        let OpenByApp { order, command, token, by } = wish;
        let ticket = self.openings.remove(&command);
        match self.openable(&order) {
            Err(reason) => {
                self.refuse_opening(turn, ticket, reason);
                turn.send(Intent::to_order(&self.at, &order, NotOpened { command, reason }));
            }
            Ok(compartment) => {
                let wish = UnlockWish { ticket, who: by, compartment, reason: REASON.to_owned() };
                self.record_use(turn, command, &wish, (Some(order), Some(true)));
                self.unlocks.insert(command, Unlock::by_app(wish, token));
                if self.fresh_challenge(turn.now).is_some() {
                    self.sign_waiting_unlocks(turn);
                } else {
                    let at = turn.now.saturating_add(CHALLENGE_FRESH_MILLIS);
                    turn.due(Deadline::Asked(self.at.clone(), command), at);
                    self.ask_challenge(turn);
                }
            }
        }
    }

    /// Where the order is, if its door could be opened now.
    fn openable(&self, order: &OrderKey) -> Result<Compartment, RejectReason> {
        let Link::Open(open) = &self.link else { return Err(RejectReason::CabinetOffline) };
        if !open.app {
            return Err(RejectReason::NotEnabled);
        }
        if self.unlocks.len() >= COMMANDS_MAX {
            return Err(RejectReason::TooOften);
        }
        self.booked.get(order).and_then(|booked| booked.loaded).ok_or(RejectReason::NotInside)
    }

    /// The command to sign, as long as somebody waits for it.
    pub(super) fn next_opening(
        &self,
        row: &CommandRow,
        token: PresenceToken,
        now: FleetMillis,
    ) -> Option<SignerRequest> {
        let (tenant, cabinet) = (self.at.tenant.clone(), self.at.cabinet.clone());
        let open = OpenOrder {
            id: row.id,
            challenge: self.fresh_challenge(now)?,
            issued: now,
            order: row.order.clone()?,
            compartment: row.compartment,
            token,
            requester: row.requester.clone(),
        };
        Some(SignOpen { tenant, cabinet, instance: self.registration.instance, open }.into())
    }

    /// The order hears that its door was not opened, once for each command.
    pub(super) fn tell_not_opened(&self, turn: &mut Turn<'_>, row: &CommandRow, reason: RejectReason) {
        if let (Some(true), Some(order)) = (row.app, &row.order) {
            turn.send(Intent::to_order(&self.at, order, NotOpened { command: row.id, reason }));
        }
    }

    /// Nothing was heard for so long that nobody waits any more. What becomes of the door is told by its events.
    pub(super) fn opening_late(&mut self, turn: &mut Turn<'_>, id: &CommandId) {
        let Some(row) = self.commands.get_mut(id).filter(|row| row.app == Some(true)) else { return };
        let told = CommandRow { app: Some(false), ..row.clone() };
        let waited = std::mem::replace(row, told.clone());
        turn.put(COMMANDS, self.at.key_of(&id.to_string()), &told);
        self.tell_not_opened(turn, &waited, RejectReason::NotOpened);
    }

    /// The cabinet has pulsed for it, or may have: what is collected then is collected by it.
    pub(super) fn opened_by_app(&mut self, turn: &mut Turn<'_>, done: &UnlockDone) {
        let Some(row) = self.commands.get(&done.id).filter(|row| row.is_by_app()) else { return };
        let Some(booked) = row.order.as_ref().and_then(|order| self.booked.get_mut(order)) else { return };
        booked.opened_by = Some(done.id);
        let order = booked.order.clone();
        self.put_booked(turn, &order);
    }

    /// Whether this is what the cabinet calls the credential of an opening by the app.
    pub(super) fn was_opened_by_app(&self, order: &OrderKey, credential: CredentialId) -> bool {
        let by = self.booked.get(order).and_then(|booked| booked.opened_by);
        by.is_some_and(|id| OpenOrder::credential(id) == credential)
    }

    /// The same of what lay beside the order that was asked for.
    pub(super) fn was_opened_for_app(&self, taken: &Collected) -> bool {
        let beside = self.inside.get(&taken.compartment).into_iter().flat_map(Inside::orders);
        beside.chain([&taken.order]).any(|order| self.was_opened_by_app(order, taken.credential))
    }

    /// It will not be sent.
    pub(super) fn opening_unsent(&mut self, turn: &mut Turn<'_>, id: &CommandId, reason: RejectReason) {
        if self.commands.get(id).is_some_and(CommandRow::is_by_app) {
            self.end_command(turn, id, End::Unsent(reason));
        }
    }

    fn refuse_opening(&self, turn: &mut Turn<'_>, ticket: Option<u64>, reason: RejectReason) {
        let Some(ticket) = ticket else { return };
        let reply = if reason == RejectReason::CabinetOffline {
            self.offline()
        } else {
            let (code, hint) = way_out(reason);
            error(code, format!("nothing was opened: {reason}"), hint)
        };
        turn.effect(Effect::Reply { ticket, reply: Reply::Error(reply) });
    }

    /// Openings of a former run whose outcome is still to come, and when nobody waits for it any more.
    pub(crate) fn awaited_openings(&self) -> impl Iterator<Item = (CommandId, FleetMillis)> {
        let awaited = self.commands.values().filter(|row| row.app == Some(true));
        awaited.map(|row| (row.id, row.issued.saturating_add(OUTCOME_WITHIN_MILLIS)))
    }
}

/// A cabinet's word in that of the published list.
pub(super) fn published(reason: RefusalReason) -> RejectReason {
    match reason {
        RefusalReason::NotEnabled => RejectReason::NotEnabled,
        RefusalReason::NoSuchToken => RejectReason::NoSuchToken,
        RefusalReason::TooOften => RejectReason::TooOften,
        RefusalReason::WrongContent | RefusalReason::UnknownCompartment => RejectReason::NotInside,
        RefusalReason::Used | RefusalReason::Revoked | RefusalReason::Expired => RejectReason::TooLate,
        RefusalReason::Malformed
        | RefusalReason::BadSignature
        | RefusalReason::UnknownKey
        | RefusalReason::UnknownChallenge
        | RefusalReason::Replayed
        | RefusalReason::OutOfService
        | RefusalReason::Busy
        | RefusalReason::OldVersion
        | RefusalReason::WrongBase
        | RefusalReason::TimeUnknown
        | RefusalReason::StorageFailed
        | RefusalReason::AlreadyOpen
        | RefusalReason::OutOfScope
        | RefusalReason::NoFittingCompartment
        | RefusalReason::WrongAnswer
        | RefusalReason::NotHere
        | RefusalReason::AlreadyInside
        | RefusalReason::NotToBeRetrieved
        | RefusalReason::NotAsked
        | RefusalReason::DoorOpen => RejectReason::NotOpened,
    }
}
