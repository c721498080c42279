//! The end of a cabinet: what it knows goes to the fleet, then all of it is erased, and a receipt is the last that it says.
//!
//! The core decides when; erasing and signing are the shell's. Between [`Effect::Erase`] and the next opening lies a new,
//! empty store, which knows of the receipt alone.

use schemas::cbor::{self, Blob};
use schemas::cbor_map;
use schemas::crypto::envelope;
use schemas::messages::{
    CommandId, ConfigAction, ConfigCommand, Down, KeyPurpose, MESSAGE_MAX, Receipt, RefusalReason, Wipe, Wiped,
};

use crate::commands::REQUESTER_MAX;
use crate::core::CabinetCore;
use crate::emergency::Emergency;
use crate::keyset::refusal;
use crate::records::{WIPE_KEY, WIPED_KEY};
use crate::tables::META;
use crate::turn::Turn;
use crate::{Effect, EntryRefusal, EntryResult, Input};

/// How long a cabinet that is to be wiped tries to tell the fleet what it has not told yet.
pub const LAST_WORDS_MILLIS: u64 = 10 * 60_000;

cbor_map! {
    /// The cabinet is to be wiped, whatever happens.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct WipeRow { 1 => command: CommandId, 2 => requester: String }
}

/// What is left to do for a cabinet that has no other work any more.
#[derive(Debug)]
pub(crate) enum End {
    /// Nobody opens anything; events go out until all are acknowledged, or until then by the boot clock.
    Ordered { row: WipeRow, until: u64 },
    /// The store is an empty one, and the receipt is among its events.
    Wiped,
}

impl End {
    pub(crate) fn ordered(row: WipeRow, now: u64) -> Self {
        Self::Ordered { row, until: now + LAST_WORDS_MILLIS }
    }

    /// None once it is over: what follows is the shell's.
    pub(crate) fn deadline(&self, now: u64) -> Option<u64> {
        match self {
            Self::Ordered { until, .. } => Some(*until).filter(|until| now < *until),
            Self::Wiped => None,
        }
    }
}

impl CabinetCore {
    /// Whether this cabinet has no other work than its end.
    pub fn is_ending(&self) -> bool {
        self.end.is_some()
    }

    pub(crate) fn handle_config(&mut self, turn: &mut Turn, bytes: &[u8]) {
        let opened = envelope::open(bytes, self.scope(KeyPurpose::Config), self.keys.keys()).map_err(refusal);
        let command = opened.and_then(|opened| {
            let command = cbor::decode::<ConfigCommand>(&opened.payload).ok();
            command.filter(|command| command.requester.len() <= REQUESTER_MAX).ok_or(RefusalReason::Malformed)
        });
        match command {
            Err(reason) => self.refuse_command(turn, None, reason),
            Ok(command) => match self.may_end(&command, turn.now) {
                Err(reason) => self.refuse_command(turn, Some(command.id), reason),
                Ok(()) => self.begin_end(turn, command),
            },
        }
    }

    /// A door that is just being opened is somebody's hand in a compartment: the fleet asks again.
    fn may_end(&self, command: &ConfigCommand, now: u64) -> Result<(), RefusalReason> {
        if let Some(reason) = self.refusals.of_command(&command.id) {
            return Err(reason);
        }
        self.challenges.check(&command.challenge, now)?;
        if self.bays.values().any(|bay| bay.active.is_some()) { Err(RefusalReason::Busy) } else { Ok(()) }
    }

    fn begin_end(&mut self, turn: &mut Turn, command: ConfigCommand) {
        let ConfigAction::Wipe(Wipe {}) = command.action;
        let row = WipeRow { command: command.id, requester: command.requester };
        turn.put(META, WIPE_KEY, &row);
        self.end = Some(End::ordered(row, turn.now));
        self.end_all_sessions(turn);
        self.emergency = Emergency::default();
        self.give_up_entries(turn);
    }

    /// The first opening of the store that follows the erased one.
    pub(crate) fn record_receipt(&mut self, turn: &mut Turn, receipt: Vec<u8>) {
        turn.put(META, WIPED_KEY, &true);
        self.record(turn, Wiped { receipt: Blob(receipt) });
    }

    /// Instead of everything else: the connection goes on for the events, and whoever asks is sent away.
    pub(crate) fn dispatch_ending(&mut self, input: Input, turn: &mut Turn) {
        match input {
            Input::Connected => self.handle_connected(turn),
            Input::Disconnected => self.handle_disconnected(turn),
            Input::Down { token, payload } => {
                turn.effect(Effect::AckDown { token });
                let down = if payload.len() > MESSAGE_MAX { None } else { cbor::decode(&payload).ok() };
                if let Some(Down::Welcome(welcome)) = down {
                    self.handle_welcome(turn, &welcome);
                }
            }
            Input::EventsAcked { up_to } => self.outbox.acknowledged(turn, up_to),
            Input::HelloAcked => self.handle_hello_acked(turn.now),
            Input::Entered { entry, .. }
            | Input::StaffEntered { entry, .. }
            | Input::CourierEntered { entry, .. }
            | Input::Answered { entry, .. } => {
                turn.effect(Effect::EntryResult { entry, result: EntryResult::Refused(EntryRefusal::OutOfService) });
            }
            // A door that somebody moves is told as before: that is no secret of anybody.
            Input::Door { compartment, door, occupancy } => self.handle_door(turn, compartment, door, occupancy),
            Input::Disk { low } => self.disk_low = low,
            Input::Tick
            | Input::Keyset(_)
            | Input::Derived { .. }
            | Input::StaffLogout { .. }
            | Input::Load { .. }
            | Input::Retrieve { .. }
            | Input::Release { .. }
            | Input::Undo { .. }
            | Input::Swap { .. }
            | Input::ConfirmSwap { .. }
            | Input::Look { .. }
            | Input::Found { .. }
            | Input::OpenAll { .. }
            | Input::Cleaning { .. }
            | Input::Service { .. }
            | Input::Maintenance { .. }
            | Input::ConfirmLoaded { .. }
            | Input::TryAgain { .. }
            | Input::NotTaken { .. }
            | Input::PulseResult { .. }
            | Input::Deposit { .. }
            | Input::Bring { .. }
            | Input::BringTo { .. }
            | Input::Board { .. }
            | Input::WalkIn { .. }
            | Input::Report { .. }
            | Input::DropWalkIn { .. } => {}
        }
    }

    /// Says what the shell has to do next; again after a restart, until it is done.
    pub(crate) fn end_due(&mut self, turn: &mut Turn) {
        let told = self.outbox.waiting() == 0;
        match &self.end {
            Some(End::Ordered { row, until }) if told || *until <= turn.now => {
                let receipt = self.receipt(row, turn.now);
                turn.effect(Effect::Erase(Box::new(receipt)));
            }
            Some(End::Wiped) if told => turn.effect(Effect::Discard),
            Some(End::Ordered { .. } | End::Wiped) | None => {}
        }
    }

    fn receipt(&self, row: &WipeRow, now: u64) -> Receipt {
        let config = &self.config;
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Receipt {
            tenant: config.tenant.clone(),
            cabinet: config.cabinet.clone(),
            instance: config.instance,
            command: row.command,
            requester: row.requester.clone(),
            at: self.clock.now(now),
            orders: count(self.book.orders.len()),
            credentials: count(self.book.credentials()),
            staff: count(self.book.staff()),
            events: self.outbox.newest() + 1 - self.outbox.oldest(),
            unsent: self.outbox.waiting(),
        }
    }
}
