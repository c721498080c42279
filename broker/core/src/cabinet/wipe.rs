//! The end of a cabinet, as the fleet sees it: an order that stands until it is carried out, and the receipt.

use schemas::api::{HexBytes, Reply, ReplyError, RequestErrorCode, Rfc3339, WipeDetail};
use schemas::cbor::Blob;
use schemas::cbor_map;
use schemas::crypto::receipt::Unverified;
use schemas::ids::Identity;
use schemas::messages::{
    CommandId, CommandRefused, ConfigCommand, ConfigEnvelope, Down, FleetMillis, Hello, Instance, Wipe, Wiped,
};

use crate::cabinet::Cabinet;
use crate::cabinet::records::Inside;
use crate::deadlines::Deadline;
use crate::jobs::Job;
use crate::requests::error;
use crate::signing::{SignConfig, SignerRequest};
use crate::tables::WIPES;
use crate::turn::Turn;

/// A cabinet that did not take the command is asked again this much later, as long as it is connected.
const AGAIN_MILLIS: u64 = 60_000;

cbor_map! {
    /// This installation is to be wiped. Unlike an unlock this may wait: a cabinet that was stolen is wiped when it is heard
    /// of again.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct WipeRow {
        1 => instance: Instance,
        2 => by: Identity,
        3 => reason: String,
        4 => ordered: FleetMillis,
        /// The command that was sent last.
        5 opt => command: Option<CommandId>,
        6 opt => done: Option<FleetMillis>,
        7 opt => receipt: Option<Blob>,
    }
}

impl Cabinet {
    pub(crate) fn restore_wipe(&mut self, row: WipeRow) {
        self.wipe = Some(row);
    }

    /// Repeating it does nothing. `with_orders`: although the fleet believes something to be inside.
    pub(crate) fn order_wipe(
        &mut self,
        turn: &mut Turn<'_>,
        by: Identity,
        reason: String,
        with_orders: bool,
    ) -> Result<Reply, ReplyError> {
        if self.wipe.is_some() {
            return Ok(Reply::Done);
        }
        let inside = self.inside.values().flat_map(Inside::orders).count();
        if inside > 0 && !with_orders {
            let text = format!("{inside} orders are in cabinet {}, and nobody could open their doors", self.at.cabinet);
            let hint = "have them collected or taken back first; or say --with-orders";
            return Err(error(RequestErrorCode::Conflict, text, hint));
        }
        turn.alarm_of(&self.at, format!("cabinet {} is to be wiped, says {by}: {reason}", self.at));
        let instance = self.registration.instance;
        self.wipe = Some(WipeRow { instance, by, reason, ordered: turn.now, command: None, done: None, receipt: None });
        self.put_wipe(turn);
        self.wipe_due(turn);
        Ok(Reply::Done)
    }

    /// Takes the order back, if the cabinet cannot have heard of it.
    pub(crate) fn take_back_wipe(&mut self, turn: &mut Turn<'_>, who: &Identity) -> Result<Reply, ReplyError> {
        let Some(row) = &self.wipe else { return Ok(Reply::Done) };
        if row.done.is_some() || row.command.is_some() {
            let text = format!("cabinet {} was told already to forget everything", self.at.cabinet);
            let hint = "`fleet cabinet show` tells whether it has; `fleet cabinet replace` puts it into service again";
            return Err(error(RequestErrorCode::Conflict, text, hint));
        }
        turn.alarm_of(&self.at, format!("cabinet {} is to be kept, says {who}", self.at));
        self.forget_wipe(turn);
        Ok(Reply::Done)
    }

    /// Another installation has the cabinet's place.
    pub(super) fn forget_wipe(&mut self, turn: &mut Turn<'_>) {
        if self.wipe.take().is_some() {
            turn.remove(WIPES, self.at.key());
            turn.not_due(&Deadline::Wipe(self.at.clone()));
        }
    }

    fn put_wipe(&self, turn: &mut Turn<'_>) {
        if let Some(row) = &self.wipe {
            turn.put(WIPES, self.at.key(), row);
        }
    }

    fn is_wipe_standing(&self) -> bool {
        self.wipe.as_ref().is_some_and(|row| row.done.is_none())
    }

    /// Nobody expects to hear of it any more.
    pub(crate) fn is_wiped(&self) -> bool {
        self.wipe.as_ref().is_some_and(|row| row.done.is_some())
    }

    /// Nothing new is put into a cabinet that is about to forget it.
    pub(super) fn takes_orders(&self) -> bool {
        self.wipe.is_none()
    }

    /// A hello came. Whoever has a copy of the disk has what was erased.
    pub(super) fn compare_wipe(&mut self, turn: &mut Turn<'_>, hello: &Hello) {
        let is_alive = !hello.compartments.items.is_empty();
        if let Some(row) = self.wipe.as_mut().filter(|row| is_alive && row.done.is_some()) {
            (row.done, row.receipt) = (None, None);
            turn.alarm_of(
                &self.at,
                format!("cabinet {} was wiped and is back with a former disk: it is wiped again", self.at),
            );
        }
        // One without compartments has its receipt on the way.
        if is_alive {
            self.wipe_due(turn);
        }
    }

    /// Says it again, under an id of its own: a cabinet never takes back a refusal.
    pub(crate) fn wipe_due(&mut self, turn: &mut Turn<'_>) {
        if !self.is_wipe_standing() || !self.is_online() {
            return;
        }
        turn.due(Deadline::Wipe(self.at.clone()), turn.now.saturating_add(AGAIN_MILLIS));
        if let Some(row) = &mut self.wipe {
            row.command = Some(CommandId(turn.draw()));
        }
        self.put_wipe(turn);
        if self.fresh_challenge(turn.now).is_none() {
            self.ask_challenge(turn);
        }
        self.wipe_unsigned = true;
        self.sign_wipe(turn);
    }

    /// A challenge came.
    pub(super) fn sign_wipe(&mut self, turn: &mut Turn<'_>) {
        if self.wipe_unsigned && self.fresh_challenge(turn.now).is_some() {
            turn.want(Job::Wipe(self.at.clone()));
        }
    }

    pub(crate) fn next_wipe(&self, now: FleetMillis) -> Option<SignerRequest> {
        let row = self.wipe.as_ref().filter(|_| self.is_wipe_standing() && self.wipe_unsigned)?;
        let command = ConfigCommand {
            id: row.command?,
            challenge: self.fresh_challenge(now)?,
            issued: now,
            action: Wipe {}.into(),
            requester: row.by.to_string(),
        };
        let (tenant, cabinet) = (self.at.tenant.clone(), self.at.cabinet.clone());
        Some(SignConfig { tenant, cabinet, instance: row.instance, command }.into())
    }

    pub(crate) fn wipe_signed(&mut self, turn: &mut Turn<'_>, envelope: Blob) {
        if self.is_wipe_standing() && self.is_online() {
            self.wipe_unsigned = false;
            self.down(turn, &Down::Config(ConfigEnvelope { envelope }));
        }
    }

    /// Whether what the cabinet refused was the wipe. It is asked again.
    pub(super) fn is_wipe(&self, refused: &CommandRefused) -> bool {
        refused.id.is_some() && self.wipe.as_ref().is_some_and(|row| row.command == refused.id)
    }

    /// The cabinet vouches for its end. Whether the signature is that of its certificate is checked by whoever asks for the
    /// receipt: he trusts neither this fleet's connection nor its memory.
    pub(super) fn wiped(&mut self, turn: &mut Turn<'_>, wiped: Wiped) {
        let read = Unverified::read(&wiped.receipt.0);
        let is_ours = read.as_ref().is_ok_and(|read| {
            let says = read.claims();
            (&says.tenant, &says.cabinet, says.instance)
                == (&self.at.tenant, &self.at.cabinet, self.registration.instance)
        });
        if !is_ours {
            return turn
                .alarm_of(&self.at, format!("cabinet {} says that it was wiped, and has no receipt of it", self.at));
        }
        match &mut self.wipe {
            Some(row) => (row.done, row.receipt) = (Some(turn.now), Some(wiped.receipt)),
            // A fleet on an old backup: the order is among what it has lost.
            None => {
                return turn.alarm_of(&self.at, format!("cabinet {} was wiped, and nobody here had said so", self.at));
            }
        }
        self.put_wipe(turn);
        turn.not_due(&Deadline::Wipe(self.at.clone()));
        turn.alarm_of(&self.at, format!("cabinet {} was wiped", self.at));
    }

    pub(super) fn wipe_detail(&self) -> Option<WipeDetail> {
        let row = self.wipe.clone()?;
        Some(WipeDetail {
            ordered: Rfc3339(row.ordered),
            by: row.by,
            reason: row.reason,
            sent: row.command.is_some(),
            done: row.done.map(Rfc3339),
            receipt: row.receipt.map(|receipt| HexBytes(receipt.0)),
        })
    }
}
