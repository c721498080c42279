//! Signed commands: verified, never carried out twice, journalled before anything moves.

use std::collections::{BTreeMap, VecDeque};

use schemas::cbor;
use schemas::crypto::envelope::{self, Scope};
use schemas::messages::{
    Action, COMMAND_AGE_MAX_MILLIS, Challenge, Command, CommandId, CommandRefused, Expect, Key, KeyPurpose,
    RefusalReason, RetrieveOrder, Unlock,
};
use schemas::step::number_of_key;

use crate::core::CabinetCore;
use crate::keyset::refusal;
use crate::records::{AcceptedCommand, CommandRight, CommandUse, Content, Purpose};
use crate::tables::{COMMANDS, command_key};
use crate::turn::Turn;

/// Ids of accepted commands that are remembered.
pub const COMMANDS_MAX: usize = 4_096;
/// Longest requester in bytes: an identity of the longest names.
pub(crate) const REQUESTER_MAX: usize = 96;

struct Accepted {
    n: u64,
    id: CommandId,
    /// Boot clock of this run; `None` for a former run, whose challenges are void.
    at: Option<u64>,
}

/// The newest accepted commands. One whose challenge may still be honoured is never forgotten: before that, new
/// commands are refused as busy.
pub(crate) struct Commands {
    by_id: BTreeMap<CommandId, u64>,
    order: VecDeque<Accepted>,
    next: u64,
}

impl Commands {
    /// From the rows of [`COMMANDS`] in ascending order; `None` if a key is not one.
    pub(crate) fn open(rows: Vec<(Vec<u8>, AcceptedCommand)>) -> Option<Self> {
        let mut commands = Self { by_id: BTreeMap::new(), order: VecDeque::new(), next: 1 };
        for (key, row) in rows {
            let n = number_of_key(&key)?;
            commands.by_id.insert(row.id, n);
            commands.order.push_back(Accepted { n, id: row.id, at: None });
            commands.next = n + 1;
        }
        Some(commands)
    }

    fn was_accepted(&self, id: &CommandId) -> bool {
        self.by_id.contains_key(id)
    }

    fn is_full(&self, now: u64) -> bool {
        let fresh = |at: u64| now.saturating_sub(at) <= COMMAND_AGE_MAX_MILLIS;
        self.order.len() >= COMMANDS_MAX && self.order.front().and_then(|oldest| oldest.at).is_some_and(fresh)
    }

    pub(crate) fn accept(&mut self, turn: &mut Turn, id: CommandId) {
        while self.order.len() >= COMMANDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest.id);
            turn.remove(COMMANDS, command_key(oldest.n));
        }
        turn.put(COMMANDS, command_key(self.next), &AcceptedCommand { id });
        self.by_id.insert(id, self.next);
        self.order.push_back(Accepted { n: self.next, id, at: Some(turn.now) });
        self.next += 1;
    }
}

impl CabinetCore {
    pub(crate) fn handle_command(&mut self, turn: &mut Turn, bytes: &[u8]) {
        match self.verified(bytes, self.keys.keys()) {
            Err(reason) => self.refuse_command(turn, None, reason),
            Ok(command) => self.take_command(turn, command),
        }
    }

    /// A command of somebody who may give it.
    pub(crate) fn take_command(&mut self, turn: &mut Turn, command: Command) {
        let id = command.id;
        let fresh = self.fresh(id, &command.challenge, turn.now);
        if let Err(reason) = fresh.and_then(|not_after| self.carry_out(turn, command, not_after)) {
            self.refuse_command(turn, Some(id), reason);
        }
    }

    /// The id and the intent are in the same step as the PUBACK; the pulse comes behind both. Nothing may be pulsed after
    /// `not_after` by the boot clock. What is refused has changed nothing.
    fn carry_out(&mut self, turn: &mut Turn, command: Command, not_after: u64) -> Result<(), RefusalReason> {
        let Command { id, action, requester, .. } = command;
        let right = |requester| CommandRight { id, requester, told: false };
        match action {
            Action::Unlock(unlock) => {
                self.may_unlock(&unlock)?;
                self.commands.accept(turn, id);
                let purpose = CommandUse { id, requester }.into();
                self.start_use(turn, unlock.compartment, purpose, not_after, 1);
                Ok(())
            }
            Action::Load(load) => self.load_by_command(turn, right(requester), load, not_after),
            Action::Confirm(word) => self.confirm_by_command(turn, &right(requester), &word),
            Action::Retrieve(RetrieveOrder { order }) => {
                self.retrieve_by_command(turn, right(requester), order, not_after)
            }
        }
    }

    /// What one of `keys` has signed for this cabinet.
    pub(crate) fn verified<'k>(
        &self,
        bytes: &[u8],
        keys: impl IntoIterator<Item = &'k Key>,
    ) -> Result<Command, RefusalReason> {
        let scope = self.scope(KeyPurpose::Unlock);
        let opened = envelope::open(bytes, scope, keys).map_err(refusal)?;
        let command: Command = cbor::decode(&opened.payload).map_err(|_| RefusalReason::Malformed)?;
        if command.requester.len() > REQUESTER_MAX { Err(RefusalReason::Malformed) } else { Ok(command) }
    }

    /// In the order of PROTOCOL.md.
    fn may_unlock(&self, unlock: &Unlock) -> Result<(), RefusalReason> {
        let bay = self.bays.get(&unlock.compartment).ok_or(RefusalReason::UnknownCompartment)?;
        // An order that its recipient has not closed the door on is out for the fleet.
        let left = matches!(bay.content, Content::Leaving(_)) && unlock.expects == Expect::empty();
        let expected = match bay.content.order() {
            None => unlock.expects == Expect::empty(),
            Some(_) => bay.orders().any(|order| unlock.expects == Expect::of(Some(order))),
        };
        if !left && !expected {
            return Err(RefusalReason::WrongContent);
        }
        // Whoever may still press "try again" holds the order in their hands: it must not end up in a door that the
        // command has opened for something else.
        let loads = |purpose: &Purpose| matches!(purpose, Purpose::Load(_) | Purpose::Deposit(_));
        let loading = bay.offer.as_ref().is_some_and(|offer| loads(&offer.row.purpose));
        if bay.active.is_some() || loading {
            return Err(RefusalReason::Busy);
        }
        Ok(())
    }

    /// Whether it was not seen before and names a challenge that is young enough. Returns the boot clock after which nothing may
    /// be pulsed for it.
    pub(crate) fn fresh(&self, id: CommandId, challenge: &Challenge, now: u64) -> Result<u64, RefusalReason> {
        if self.commands.was_accepted(&id) {
            return Err(RefusalReason::Replayed);
        }
        if let Some(reason) = self.refusals.of_command(&id) {
            return Err(reason);
        }
        let made = self.challenges.check(challenge, now)?;
        // Behind the checks of the challenge: whoever sends old ones is told so.
        if self.commands.is_full(now) { Err(RefusalReason::Busy) } else { Ok(made + COMMAND_AGE_MAX_MILLIS) }
    }

    pub(crate) fn refuse_command(&mut self, turn: &mut Turn, id: Option<CommandId>, reason: RefusalReason) {
        if self.refusals.admit_command(id, reason, turn.now) {
            self.record(turn, CommandRefused { id, reason });
        }
    }

    /// Commands that are journalled and have no outcome yet.
    pub(crate) fn open_commands(&self) -> Vec<CommandId> {
        let active = self.bays.values().filter_map(|bay| bay.active.as_ref());
        active
            .filter_map(|active| {
                let right = active.row.purpose.right().filter(|right| !right.told).map(|right| right.id);
                if let Purpose::Command(by) = &active.row.purpose { Some(by.id) } else { right }
            })
            .collect()
    }

    pub(crate) fn scope(&self, purpose: KeyPurpose) -> Scope<'_> {
        let config = &self.config;
        Scope::Cabinet { tenant: &config.tenant, cabinet: &config.cabinet, instance: config.instance, purpose }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Moment;

    fn id(n: usize) -> CommandId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        CommandId(id)
    }

    fn accept(commands: &mut Commands, now: u64, n: usize) -> Turn {
        let mut turn = Turn::new(&Moment { boot_millis: now, entropy: [0; 32] });
        commands.accept(&mut turn, id(n));
        turn
    }

    #[test]
    fn an_id_is_not_forgotten_while_its_challenge_may_be_honoured() {
        let mut commands = Commands::open(Vec::new()).unwrap();
        for n in 0..COMMANDS_MAX {
            assert!(!commands.is_full(0));
            accept(&mut commands, 0, n);
        }
        assert!(commands.is_full(COMMAND_AGE_MAX_MILLIS));
        assert!(!commands.is_full(COMMAND_AGE_MAX_MILLIS + 1));
        let step = accept(&mut commands, COMMAND_AGE_MAX_MILLIS + 1, COMMANDS_MAX).finish();
        assert_eq!(step.writes.len(), 2, "the oldest row goes as the newest comes");
        assert!(commands.was_accepted(&id(COMMANDS_MAX)) && !commands.was_accepted(&id(0)));
    }

    #[test]
    fn ids_of_a_former_run_are_known_and_make_room_first() {
        let rows = (1..=COMMANDS_MAX).map(|n| (command_key(n as u64), AcceptedCommand { id: id(n) })).collect();
        let mut commands = Commands::open(rows).unwrap();
        assert!(commands.was_accepted(&id(7)));
        assert!(!commands.is_full(0), "their challenges went with their run");
        accept(&mut commands, 0, 0);
        assert!(!commands.was_accepted(&id(1)));
        assert!(Commands::open(vec![(vec![1], AcceptedCommand { id: id(1) })]).is_none());
    }
}
