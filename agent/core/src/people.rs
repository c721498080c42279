//! Commands that people sign with keys of their own: an admin key vouches for the person, nobody else for the command.

use schemas::cbor;
use schemas::crypto::envelope::{self, Scope};
use schemas::messages::{Delegation, KeyPurpose, PersonalCommand, RefusalReason};

use crate::core::CabinetCore;
use crate::keyset::refusal;
use crate::turn::Turn;

impl CabinetCore {
    /// Who it is comes first, then what the fleet's commands go through as well.
    pub(crate) fn handle_personal(&mut self, turn: &mut Turn, personal: &PersonalCommand) {
        let delegation = match self.delegation(&personal.delegation.0) {
            Ok(delegation) => delegation,
            Err(reason) => return self.refuse_command(turn, None, reason),
        };
        match self.verified(&personal.envelope.0, [&delegation.key()]) {
            Err(reason) => self.refuse_command(turn, None, reason),
            Ok(command) => match self.vouched(&delegation, &command.requester, turn.now) {
                Err(reason) => self.refuse_command(turn, Some(command.id), reason),
                Ok(()) => self.take_command(turn, command),
            },
        }
    }

    /// A delegation that an admin key in force has signed for this tenant.
    fn delegation(&self, bytes: &[u8]) -> Result<Delegation, RefusalReason> {
        let scope = Scope::Tenant { tenant: &self.config.tenant, purpose: KeyPurpose::Admin };
        let opened = envelope::open(bytes, scope, self.keys.keys()).map_err(refusal)?;
        let delegation: Delegation = cbor::decode(&opened.payload).map_err(|_| RefusalReason::Malformed)?;
        delegation.check(&self.config.tenant).map_err(|_| RefusalReason::Malformed)?;
        Ok(delegation)
    }

    /// Whether the delegation holds here and now for this requester.
    ///
    /// While the fleet's time is not known nobody can tell whether it has ended, so it opens nothing. Whoever keeps the time
    /// from a cabinet can keep the command from it too.
    fn vouched(&self, delegation: &Delegation, requester: &str, now: u64) -> Result<(), RefusalReason> {
        if delegation.epoch < self.keys.epoch() {
            return Err(RefusalReason::Revoked);
        }
        if !delegation.covers(&self.config.cabinet) || delegation.person.to_string() != requester {
            return Err(RefusalReason::OutOfScope);
        }
        match self.clock.now(now) {
            None => Err(RefusalReason::TimeUnknown),
            Some(time) if time > delegation.not_after => Err(RefusalReason::Expired),
            Some(_) => Ok(()),
        }
    }
}
