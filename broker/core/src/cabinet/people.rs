//! Unlocks that people sign themselves: the fleet hands out a challenge, carries the command, and tells the outcome.

use schemas::api::{ChallengeIssued, ChallengeText, Reply, ReplyError, RequestErrorCode};
use schemas::messages::{Action, Command, Compartment, Down, Instance, PersonalCommand};

use crate::cabinet::Cabinet;
use crate::cabinet::commands::{COMMANDS_MAX, Unlock, UnlockWish};
use crate::cabinet::hello::CHALLENGE_FRESH_MILLIS;
use crate::deadlines::Deadline;
use crate::effect::Effect;
use crate::requests::error;
use crate::turn::Turn;

impl Cabinet {
    pub(crate) fn instance(&self) -> Instance {
        self.registration.instance
    }

    /// `challenge`: what a person needs to sign an unlock. The answer comes by the ticket.
    pub(crate) fn challenge_for(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: u64,
        compartment: Option<Compartment>,
    ) -> Result<(), ReplyError> {
        compartment.map_or(Ok(()), |named| self.has(named))?;
        self.can_command()?;
        if self.asking.len() >= COMMANDS_MAX {
            let text = format!("{COMMANDS_MAX} people wait for a challenge of cabinet {}", self.at.cabinet);
            return Err(error(RequestErrorCode::Unavailable, text, "ask again in some seconds"));
        }
        self.asking.insert(ticket, compartment);
        turn.due(Deadline::Challenge(self.at.clone(), ticket), turn.now.saturating_add(CHALLENGE_FRESH_MILLIS));
        if self.fresh_challenge(turn.now).is_none() {
            self.ask_challenge(turn);
        }
        self.hand_out_challenge(turn);
        Ok(())
    }

    /// A fresh challenge is known: everybody who waits for one gets it.
    pub(super) fn hand_out_challenge(&mut self, turn: &mut Turn<'_>) {
        let Some(challenge) = self.fresh_challenge(turn.now) else { return };
        for (ticket, compartment) in std::mem::take(&mut self.asking) {
            let issued = ChallengeIssued {
                cabinet: self.at.cabinet.clone(),
                compartment,
                instance: self.registration.instance,
                challenge: ChallengeText::from(challenge),
                order: compartment.and_then(|named| self.inside(named)).cloned(),
            };
            turn.not_due(&Deadline::Challenge(self.at.clone(), ticket));
            turn.effect(Effect::Reply { ticket, reply: Reply::Challenge(issued) });
        }
    }

    /// The cabinet did not answer in time.
    pub(crate) fn challenge_late(&mut self, turn: &mut Turn<'_>, ticket: u64) {
        if self.asking.remove(&ticket).is_some() {
            let text = format!("cabinet {} did not answer in time", self.at.cabinet);
            let reply = Reply::Error(error(RequestErrorCode::Timeout, text, "ask again"));
            turn.effect(Effect::Reply { ticket, reply });
        }
    }

    /// The connection is gone, and with it whom to ask.
    pub(super) fn abandon_challenges(&mut self, turn: &mut Turn<'_>) {
        for ticket in std::mem::take(&mut self.asking).into_keys() {
            turn.not_due(&Deadline::Challenge(self.at.clone(), ticket));
            let reply = Reply::Error(self.offline());
            turn.effect(Effect::Reply { ticket, reply });
        }
    }

    /// `unlock.signed`: carries a command that its person has signed. The answer comes by the wish's ticket.
    pub(crate) fn unlock_signed(
        &mut self,
        turn: &mut Turn<'_>,
        wish: UnlockWish,
        command: Command,
        message: PersonalCommand,
    ) -> Result<(), ReplyError> {
        self.can_unlock(wish.compartment)?;
        if self.commands.contains_key(&command.id) {
            let text = "a command with this id was sent before";
            return Err(error(RequestErrorCode::Conflict, text, "sign a new one with an id of its own"));
        }
        match &command.action {
            Action::Unlock(_) => self.record_command(turn, command.id, &wish),
            errand @ (Action::Load(_) | Action::Confirm(_) | Action::Retrieve(_)) => {
                self.knows_errands()?;
                self.record_errand(turn, command.id, &wish, errand);
            }
        }
        self.unlocks.insert(command.id, Unlock::sent(wish));
        self.down(turn, &Down::Personal(message));
        Ok(())
    }
}
