//! Orders that people have loaded and taken out from afar: a signed command for each, as fresh and as final as an unlock. The
//! cabinet decides about all of it; the fleet tells sooner what cannot be.

use schemas::api::{RejectReason, Reply, ReplyError, RequestErrorCode, UnlockRight};
use schemas::ids::Identity;
use schemas::messages::{Action, CommandId, Compartment, Errand, ErrandTaken, LoadOrder, OrderKey, RefusalReason};

use crate::cabinet::commands::UnlockWish;
use crate::cabinet::records::Inside;
use crate::cabinet::{Cabinet, Link};
use crate::requests::{self, error};
use crate::turn::Turn;

/// Why its door is on record.
const TO_LOAD: &str = "to load it";
const TO_RETRIEVE: &str = "to take it out";
const WORD: &str = "what is inside";

impl Cabinet {
    /// Starts what a person wants done about an order. The answer comes by the ticket.
    pub(crate) fn errand(
        &mut self,
        turn: &mut Turn<'_>,
        (ticket, who): (u64, Identity),
        action: Action,
    ) -> Result<(), ReplyError> {
        self.can_command()?;
        self.knows_errands()?;
        let compartment = self.expected(&action)?;
        let reason = match &action {
            Action::Unlock(_) | Action::Load(_) => TO_LOAD,
            Action::Confirm(_) => WORD,
            Action::Retrieve(_) => TO_RETRIEVE,
        };
        let wish = UnlockWish { ticket: Some(ticket), who, compartment, reason: reason.to_owned() };
        self.begin_unlock(turn, wish, Some(action));
        Ok(())
    }

    /// An agent of before there were such commands would refuse one without a word that tells which.
    pub(super) fn knows_errands(&self) -> Result<(), ReplyError> {
        match &self.link {
            Link::Open(open) if !open.errands => {
                let text = format!("the agent of cabinet {} is of a version that cannot do this", self.at.cabinet);
                Err(error(RequestErrorCode::Refused, text, "update it; until then staff do it at the screen"))
            }
            Link::Open(_) | Link::Offline | Link::Silent => Ok(()),
        }
    }

    /// Which door the cabinet will open, as far as the fleet can say.
    pub(crate) fn expected(&self, action: &Action) -> Result<Compartment, ReplyError> {
        match action {
            Action::Unlock(unlock) => Ok(unlock.compartment),
            Action::Load(load) => self.expected_for(load),
            Action::Confirm(word) => self.where_is(&word.order),
            Action::Retrieve(retrieve) => self.where_is(&retrieve.order),
        }
    }

    fn expected_for(&self, load: &LoadOrder) -> Result<Compartment, ReplyError> {
        let booked = self.booked.get(&load.order).ok_or_else(|| {
            let text = format!("order {} is not to be loaded at cabinet {}", load.order, self.at.cabinet);
            error(RequestErrorCode::Conflict, text, "`fleet order show` tells how far it is")
        })?;
        if let Some(named) = load.compartment {
            return self.has(named).map(|()| named);
        }
        let size = load.size.map_or(booked.size, |wanted| wanted.max(booked.size));
        let large = |compartment: &Compartment| self.info(*compartment).is_some_and(|info| info.size >= size);
        let reserved = booked.reserved.as_ref().map(|kept| kept.compartment).filter(large);
        let beside = self.room_beside(size, booked.wants, booked.sharing()).filter(|_| load.size.is_none());
        let place = booked.loaded.or(beside).or(reserved).or_else(|| self.fitting(size, booked.wants));
        place.ok_or_else(|| refused(RejectReason::NoFittingCompartment))
    }

    fn where_is(&self, order: &OrderKey) -> Result<Compartment, ReplyError> {
        self.holder_of(order).map(|(compartment, _)| compartment).ok_or_else(|| refused(RejectReason::NotInside))
    }

    /// Who asks for what is on disk before the command goes out. A word opens nothing, so it is in no record of openings.
    pub(super) fn record_errand(&mut self, turn: &mut Turn<'_>, id: CommandId, wish: &UnlockWish, errand: &Action) {
        let record = match errand {
            Action::Confirm(_) => None,
            Action::Unlock(_) | Action::Load(_) | Action::Retrieve(_) => {
                Some(self.note_command(turn, id, wish, (UnlockRight::Command, errand.order().cloned())))
            }
        };
        self.await_outcome(turn, id, wish, (record, errand.order().cloned(), None, Some(true)));
    }

    /// The cabinet has taken it. Of a door the outcome is still to come.
    pub(super) fn errand_taken(&mut self, turn: &mut Turn<'_>, taken: &ErrandTaken) {
        match taken.errand {
            Errand::Load | Errand::Retrieve => {}
            Errand::Inside | Errand::NotInside => self.end_word(turn, &taken.id, Reply::Done),
        }
    }

    pub(super) fn loaded_by_command(&mut self, turn: &mut Turn<'_>, compartment: Compartment) {
        let held = self.inside.get(&compartment).cloned().unwrap_or_default();
        self.replace_inside(turn, compartment, Inside { by_command: Some(true), ..held });
    }

    pub(super) fn is_loaded_by_command(&self, compartment: Compartment) -> bool {
        self.inside.get(&compartment).is_some_and(|inside| inside.by_command == Some(true))
    }
}

fn refused(reason: RejectReason) -> ReplyError {
    let (code, hint) = requests::way_out(reason);
    error(code, format!("nothing was opened: {reason}"), hint)
}

/// The way out of a refusal that is no fault of anybody. None for those that a person should look at.
pub(super) fn way_out(reason: RefusalReason) -> Option<&'static str> {
    match reason {
        RefusalReason::NotHere => Some("`fleet order show` tells where it is, and how far"),
        RefusalReason::AlreadyInside => {
            Some("`fleet order loaded --undo` ends its loading where nothing is inside; then load it again")
        }
        RefusalReason::NotToBeRetrieved => {
            Some("its recipient may still come: cancel it, or put it into quarantine, before it is taken out")
        }
        RefusalReason::NotAsked => {
            Some("`fleet order show` tells how far it is; a word is good for a door that was opened")
        }
        RefusalReason::DoorOpen => Some("have the door closed first, then say it again"),
        RefusalReason::NoFittingCompartment => {
            Some("name another compartment, or wait until one is free: `fleet cabinet show` tells what is inside")
        }
        RefusalReason::Used => Some("it was collected or taken out: `fleet order show` tells when"),
        RefusalReason::Busy => Some("the door is just being opened, or somebody stands at it: ask again in a minute"),
        RefusalReason::Malformed
        | RefusalReason::BadSignature
        | RefusalReason::UnknownKey
        | RefusalReason::Expired
        | RefusalReason::UnknownChallenge
        | RefusalReason::Replayed
        | RefusalReason::WrongContent
        | RefusalReason::UnknownCompartment
        | RefusalReason::OutOfService
        | RefusalReason::OldVersion
        | RefusalReason::WrongBase
        | RefusalReason::Revoked
        | RefusalReason::TimeUnknown
        | RefusalReason::StorageFailed
        | RefusalReason::AlreadyOpen
        | RefusalReason::OutOfScope
        | RefusalReason::WrongAnswer
        | RefusalReason::NotEnabled
        | RefusalReason::NoSuchToken
        | RefusalReason::TooOften => None,
    }
}
