//! Remote unlocks: a fresh challenge, a signed command, one outcome.
//!
//! After a restart of the fleet no unlock is signed again: nobody waits for it any more, and a door that opens late
//! is worse than one that has to be asked for twice. The row stays until its outcome comes, for the record.

use schemas::api::{RejectReason, Reply, ReplyError, RequestErrorCode, UnlockResult, UnlockRight};
use schemas::cbor::Blob;
use schemas::ids::Identity;
use schemas::messages::{
    Action, CodesEnvelope, Command, CommandId, CommandRefused, Compartment, Down, Expect, FleetMillis, OrderKey,
    PresenceToken, RefusalReason, Signed, UnlockDone,
};

use crate::cabinet::hello::CHALLENGE_FRESH_MILLIS;
use crate::cabinet::history::End;
use crate::cabinet::records::CommandRow;
use crate::cabinet::{Cabinet, errands};
use crate::deadlines::Deadline;
use crate::effect::Effect;
use crate::jobs::Job;
use crate::requests::error;
use crate::signing::{SignCommand, SignerRequest};
use crate::tables::COMMANDS;
use crate::turn::Turn;

/// Unlocks of one cabinet that are asked for and have no outcome.
pub(super) const COMMANDS_MAX: usize = 32;
/// How long a requester waits for the outcome.
pub(super) const OUTCOME_WITHIN_MILLIS: u64 = 40_000;
/// No outcome comes any more after this time.
const FORGET_AFTER_MILLIS: u64 = 24 * 60 * 60 * 1_000;

/// An unlock that somebody asks for.
pub(crate) struct UnlockWish {
    /// Left out where the stream of the order tells what comes of it.
    pub(crate) ticket: Option<u64>,
    pub(crate) who: Identity,
    pub(crate) compartment: Compartment,
    pub(crate) reason: String,
}

/// An unlock that somebody waits for.
pub(crate) struct Unlock {
    wish: UnlockWish,
    /// It waits for a challenge, or went to the signer and from there to the cabinet.
    sent: bool,
    /// By the app. In memory only: after a restart nothing of it is signed again.
    token: Option<PresenceToken>,
    /// Something about an order, and more than a door. In memory only, as well.
    errand: Option<Action>,
}

impl Unlock {
    /// One that goes out at once.
    pub(super) fn sent(wish: UnlockWish) -> Self {
        Self { wish, sent: true, token: None, errand: None }
    }

    /// One of the app, which was written down already.
    pub(super) fn by_app(wish: UnlockWish, token: PresenceToken) -> Self {
        Self { wish, sent: false, token: Some(token), errand: None }
    }

    fn asked(wish: UnlockWish, errand: Option<Action>) -> Self {
        Self { wish, sent: false, token: None, errand }
    }
}

impl Cabinet {
    /// Starts an unlock. The answer comes by the wish's ticket.
    pub(crate) fn unlock(&mut self, turn: &mut Turn<'_>, wish: UnlockWish) -> Result<(), ReplyError> {
        self.can_unlock(wish.compartment)?;
        self.begin_unlock(turn, wish, None);
        Ok(())
    }

    pub(super) fn begin_unlock(&mut self, turn: &mut Turn<'_>, wish: UnlockWish, errand: Option<Action>) {
        let id = CommandId(turn.draw());
        self.unlocks.insert(id, Unlock::asked(wish, errand));
        if self.fresh_challenge(turn.now).is_some() {
            self.sign_waiting_unlocks(turn);
        } else {
            turn.due(Deadline::Asked(self.at.clone(), id), turn.now.saturating_add(CHALLENGE_FRESH_MILLIS));
            self.ask_challenge(turn);
        }
    }

    /// Whether an unlock of this compartment could go out now.
    pub(super) fn can_unlock(&self, compartment: Compartment) -> Result<(), ReplyError> {
        self.has(compartment)?;
        self.can_command()
    }

    pub(super) fn has(&self, compartment: Compartment) -> Result<(), ReplyError> {
        if self.info(compartment).is_none() {
            let text = format!("cabinet {} has no compartment {compartment}", self.at.cabinet);
            return Err(error(RequestErrorCode::Unknown, text, "`fleet cabinet show` lists its compartments"));
        }
        Ok(())
    }

    /// Whether a command could go out now.
    pub(super) fn can_command(&self) -> Result<(), ReplyError> {
        if !self.is_online() {
            return Err(self.offline());
        }
        if self.unlocks.len() >= COMMANDS_MAX {
            let text = format!("{COMMANDS_MAX} unlocks of cabinet {} have no outcome yet", self.at.cabinet);
            return Err(error(RequestErrorCode::Unavailable, text, "wait for their outcomes, then ask again"));
        }
        Ok(())
    }

    /// A fresh challenge is known: sends the unlocks that waited for one to the signer.
    pub(super) fn sign_waiting_unlocks(&mut self, turn: &mut Turn<'_>) {
        if self.fresh_challenge(turn.now).is_none() {
            return;
        }
        for (id, mut unlock) in std::mem::take(&mut self.unlocks) {
            if !unlock.sent {
                unlock.sent = true;
                match (&unlock.token, &unlock.errand) {
                    (Some(_), _) => {}
                    (None, Some(errand)) => self.record_errand(turn, id, &unlock.wish, errand),
                    (None, None) => self.record_command(turn, id, &unlock.wish),
                }
                turn.not_due(&Deadline::Asked(self.at.clone(), id));
                turn.want(Job::Command(self.at.clone(), id));
            }
            self.unlocks.insert(id, unlock);
        }
    }

    /// Who opens what, and why, is on disk before the command goes out.
    pub(super) fn record_command(&mut self, turn: &mut Turn<'_>, id: CommandId, wish: &UnlockWish) {
        let order = self.inside(wish.compartment).cloned();
        self.record_use(turn, id, wish, (order, None));
    }

    /// `app`: of an opening by the app.
    pub(super) fn record_use(
        &mut self,
        turn: &mut Turn<'_>,
        id: CommandId,
        wish: &UnlockWish,
        (order, app): (Option<OrderKey>, Option<bool>),
    ) {
        let right = if app.is_some() { UnlockRight::App } else { UnlockRight::Command };
        let record = Some(self.note_command(turn, id, wish, (right, order.clone())));
        self.await_outcome(turn, id, wish, (record, order, app, None));
    }

    /// `record`: number of its record, `app` as above.
    pub(super) fn await_outcome(
        &mut self,
        turn: &mut Turn<'_>,
        id: CommandId,
        wish: &UnlockWish,
        (record, order, app, errand): (Option<u64>, Option<OrderKey>, Option<bool>, Option<bool>),
    ) {
        let (compartment, requester, reason) = (wish.compartment, wish.who.to_string(), wish.reason.clone());
        let row = CommandRow { id, compartment, requester, reason, issued: turn.now, record, order, app, errand };
        turn.put(COMMANDS, self.at.key_of(&id.to_string()), &row);
        self.commands.insert(id, row);
        turn.due(Deadline::Unlocked(self.at.clone(), id), turn.now.saturating_add(OUTCOME_WITHIN_MILLIS));
        while self.commands.len() > COMMANDS_MAX {
            self.forget_oldest_command(turn);
        }
    }

    /// The command to sign. It names what the fleet believes to be inside; the cabinet compares.
    pub(crate) fn next_command(&self, id: &CommandId, now: FleetMillis) -> Option<SignerRequest> {
        let row = self.commands.get(id)?;
        if row.is_by_app() {
            return self.next_opening(row, self.unlocks.get(id)?.token?, now);
        }
        let action = match self.unlocks.get(id).and_then(|unlock| unlock.errand.clone()) {
            Some(errand) => errand,
            None if row.errand == Some(true) => return None,
            None => {
                let expects = Expect::of(self.inside(row.compartment));
                schemas::messages::Unlock { compartment: row.compartment, expects }.into()
            }
        };
        let command = Command {
            id: *id,
            challenge: self.fresh_challenge(now)?,
            issued: now,
            action,
            requester: row.requester.clone(),
        };
        let (tenant, cabinet) = (self.at.tenant.clone(), self.at.cabinet.clone());
        Some(SignCommand { tenant, cabinet, instance: self.registration.instance, command }.into())
    }

    pub(crate) fn command_signed(&mut self, turn: &mut Turn<'_>, id: &CommandId, envelope: Blob) {
        if !self.is_online() {
            self.end_command(turn, id, End::Unsent(RejectReason::CabinetOffline));
            let offline = self.offline();
            self.answer_unlock(turn, id, Reply::Error(offline));
        } else if let Some(unlock) = self.unlocks.get(id) {
            match unlock.token {
                None => self.down(turn, &Down::Command(Signed { envelope })),
                Some(_) => self.down(turn, &Down::Codes(CodesEnvelope { envelope })),
            }
        }
    }

    /// The signer did not sign. Nobody is left to wait in front of a door for its next try.
    pub(crate) fn command_unsigned(&mut self, turn: &mut Turn<'_>, id: &CommandId, reason: &str) {
        self.end_command(turn, id, End::Unsent(RejectReason::NotOpened));
        let text = format!("the signer did not sign the unlock: {reason}");
        let reply = Reply::Error(error(RequestErrorCode::Unavailable, text, "ask again once the signer works"));
        self.answer_unlock(turn, id, reply);
    }

    pub(super) fn unlock_done(&mut self, turn: &mut Turn<'_>, done: &UnlockDone) {
        self.opened_by_app(turn, done);
        if let Some(row) = self.commands.get_mut(&done.id) {
            // Where an order is loaded is up to the cabinet.
            row.compartment = done.compartment;
        }
        self.end_command(turn, &done.id, End::Done(done.outcome));
        let result = UnlockResult {
            cabinet: self.at.cabinet.clone(),
            compartment: done.compartment,
            outcome: done.outcome,
            command: done.id,
        };
        self.answer_unlock(turn, &done.id, Reply::Unlock(result));
    }

    pub(super) fn command_refused(&mut self, turn: &mut Turn<'_>, refused: &CommandRefused) {
        let known = refused.id.and_then(|id| self.commands.get(&id));
        if !known.is_some_and(|row| row.errand == Some(true) && errands::way_out(refused.reason).is_some()) {
            let what = if self.is_wipe(refused) { "to be wiped and is asked again" } else { "a command" };
            turn.alarm_of(&self.at, format!("cabinet {} refused {what}: {}", self.at, refused.reason));
        }
        // A replayed command was taken before: its outcome is still to come.
        let ended = refused.reason != RefusalReason::Replayed;
        let Some(id) = refused.id.filter(|id| ended && self.commands.contains_key(id)) else {
            return;
        };
        let errand = self.commands.get(&id).is_some_and(|row| row.errand == Some(true));
        self.end_command(turn, &id, End::Refused(refused.reason));
        let text = format!("the cabinet refused {}: {}", if errand { "it" } else { "the unlock" }, refused.reason);
        let look = "`fleet cabinet show` tells what the fleet believes to be inside; then ask again";
        let hint = errands::way_out(refused.reason).unwrap_or(look);
        self.answer_unlock(turn, &id, Reply::Error(error(RequestErrorCode::Refused, text, hint)));
    }

    /// No challenge came in time.
    pub(crate) fn not_challenged(&mut self, turn: &mut Turn<'_>, id: &CommandId) {
        self.opening_unsent(turn, id, RejectReason::CabinetOffline);
        let text = format!("cabinet {} did not answer in time, nothing was sent", self.at.cabinet);
        let reply = Reply::Error(error(RequestErrorCode::Timeout, text, "ask again"));
        self.answer_unlock(turn, id, reply);
    }

    /// No outcome came in time. The command stays on record: the outcome may come with the next connection.
    pub(crate) fn not_unlocked(&mut self, turn: &mut Turn<'_>, id: &CommandId) {
        self.opening_late(turn, id);
        let text = "the cabinet has not said what happened".to_owned();
        let reply = Reply::Error(error(RequestErrorCode::Timeout, text, "it will appear in `fleet watch`"));
        self.answer_unlock(turn, id, reply);
    }

    /// The connection is gone: unlocks that wait for a challenge have nothing to wait for.
    pub(super) fn abandon_unsent_unlocks(&mut self, turn: &mut Turn<'_>) {
        let unsent = self.unlocks.iter().filter(|(_, unlock)| !unlock.sent);
        for id in unsent.map(|(id, _)| *id).collect::<Vec<_>>() {
            let offline = self.offline();
            self.opening_unsent(turn, &id, RejectReason::CabinetOffline);
            self.answer_unlock(turn, &id, Reply::Error(offline));
        }
    }

    pub(super) fn forget_old_commands(&mut self, turn: &mut Turn<'_>) {
        let before = turn.now.saturating_sub(FORGET_AFTER_MILLIS);
        let old = self.commands.values().filter(|row| row.issued < before);
        for id in old.map(|row| row.id).collect::<Vec<_>>() {
            self.forget_command(turn, &id);
        }
    }

    fn forget_oldest_command(&mut self, turn: &mut Turn<'_>) {
        if let Some((_, id)) = self.commands.values().map(|row| (row.issued, row.id)).min() {
            self.opening_late(turn, &id);
            self.forget_command(turn, &id);
        }
    }

    /// Its end is known, and goes on record.
    pub(super) fn end_command(&mut self, turn: &mut Turn<'_>, id: &CommandId, end: End) {
        if let Some(row) = self.forget_command(turn, id) {
            if let Some(reason) = end.refusal() {
                self.tell_not_opened(turn, &row, reason);
            }
            self.note_end(turn, row, end);
        }
    }

    fn forget_command(&mut self, turn: &mut Turn<'_>, id: &CommandId) -> Option<CommandRow> {
        let row = self.commands.remove(id)?;
        turn.remove(COMMANDS, self.at.key_of(&id.to_string()));
        Some(row)
    }

    /// What was said is taken: nothing else comes of it.
    pub(super) fn end_word(&mut self, turn: &mut Turn<'_>, id: &CommandId, reply: Reply) {
        // Of a door only its outcome is the end.
        let is_word = self.commands.get(id).is_some_and(|row| row.errand == Some(true) && row.record.is_none());
        if is_word {
            self.forget_command(turn, id);
            self.answer_unlock(turn, id, reply);
        }
    }

    fn answer_unlock(&mut self, turn: &mut Turn<'_>, id: &CommandId, reply: Reply) {
        turn.not_due(&Deadline::Asked(self.at.clone(), *id));
        turn.not_due(&Deadline::Unlocked(self.at.clone(), *id));
        if let Some(ticket) = self.unlocks.remove(id).and_then(|unlock| unlock.wish.ticket) {
            turn.effect(Effect::Reply { ticket, reply });
        }
    }

    pub(super) fn offline(&self) -> ReplyError {
        let text = format!("cabinet {} is not connected, nothing was sent", self.at.cabinet);
        let hint = "an unlock is never kept for later: ask again when it is back (`fleet cabinet list`)";
        error(RequestErrorCode::CabinetOffline, text, hint)
    }
}
