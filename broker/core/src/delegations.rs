//! What a person has signed, looked at before it is carried: the cabinet decides, the fleet only tells sooner what is wrong.

use schemas::api::{ReplyError, RequestErrorCode, Rfc3339};
use schemas::cbor;
use schemas::crypto::envelope::{self, EnvelopeError, Scope};
use schemas::ids::Identity;
use schemas::messages::{Command, Delegation, FleetMillis, Instance, KeyPurpose, Keyset};

use crate::requests::error;
use crate::tables::CabinetRef;

/// Largest envelope of a command, in bytes: a challenge, an order's key and a requester.
const COMMAND_BYTES_MAX: usize = 1_024;

/// Whoever asks for an unlock that is signed already.
pub(crate) struct Signed<'a> {
    pub(crate) who: &'a Identity,
    pub(crate) at: &'a CabinetRef,
    pub(crate) instance: Instance,
    pub(crate) now: FleetMillis,
}

impl Signed<'_> {
    /// The command, if a cabinet with this keyset would take it from the one who asks.
    pub(crate) fn judge(&self, keyset: &Keyset, envelope: &[u8], delegation: &[u8]) -> Result<Command, ReplyError> {
        let delegation = self.delegation(keyset, delegation)?;
        if envelope.len() > COMMAND_BYTES_MAX {
            return Err(malformed("the command is longer than any"));
        }
        let CabinetRef { tenant, cabinet } = self.at;
        let scope = Scope::Cabinet { tenant, cabinet, instance: self.instance, purpose: KeyPurpose::Unlock };
        let opened = envelope::open(envelope, scope, [&delegation.key()]).map_err(|why| match why {
            EnvelopeError::Malformed | EnvelopeError::Header => malformed("the command is no COSE_Sign1"),
            EnvelopeError::UnknownKey | EnvelopeError::Signature => {
                refused("the command is not signed for this cabinet by the key of the delegation", "sign it again")
            }
        })?;
        let command: Command =
            cbor::decode(&opened.payload).map_err(|why| malformed(format!("the command cannot be read: {why}")))?;
        if command.requester != self.who.to_string() {
            let text = format!("the command is of {}, and {} asks", command.requester, self.who);
            return Err(error(RequestErrorCode::Forbidden, text, "everybody signs for himself"));
        }
        Ok(command)
    }

    fn delegation(&self, keyset: &Keyset, bytes: &[u8]) -> Result<Delegation, ReplyError> {
        const RENEW: &str = "`fleet keys delegate` makes another";
        let scope = Scope::Tenant { tenant: &self.at.tenant, purpose: KeyPurpose::Admin };
        let opened = envelope::open(bytes, scope, &keyset.keys).map_err(|why| match why {
            EnvelopeError::Malformed | EnvelopeError::Header => malformed("the delegation is no COSE_Sign1"),
            EnvelopeError::UnknownKey | EnvelopeError::Signature => {
                let text = format!("the delegation is signed by no admin key of keyset {}", keyset.version);
                refused(text, RENEW)
            }
        })?;
        let delegation: Delegation =
            cbor::decode(&opened.payload).map_err(|why| malformed(format!("the delegation cannot be read: {why}")))?;
        delegation.check(&self.at.tenant).map_err(|why| malformed(format!("the delegation is refused: {why}")))?;
        if delegation.epoch < keyset.epoch.unwrap_or(0) {
            return Err(refused("the delegation is void: it was made before the newest epoch", RENEW));
        }
        if delegation.not_after < self.now {
            return Err(refused(format!("the delegation has ended at {}", Rfc3339(delegation.not_after)), RENEW));
        }
        if !delegation.covers(&self.at.cabinet) {
            return Err(refused(format!("the delegation does not cover cabinet {}", self.at.cabinet), RENEW));
        }
        Ok(delegation)
    }
}

fn malformed(text: impl Into<String>) -> ReplyError {
    error(RequestErrorCode::Malformed, text, "PROTOCOL.md, Keys, says what is in one")
}

fn refused(text: impl Into<String>, hint: &str) -> ReplyError {
    error(RequestErrorCode::Refused, text, hint)
}
