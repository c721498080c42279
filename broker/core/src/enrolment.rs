//! Certificates for cabinets: a token or a former certificate in, a certificate or a refusal out.

use schemas::cbor::Blob;
use schemas::enrolment::SecretHash;
use schemas::ids::{CabinetId, Identity, TenantId};

use crate::cabinet::Replaced;
use crate::core::FleetCore;
use crate::effect::Effect;
use crate::tables::CabinetRef;
use crate::turn::Turn;

/// A certificate that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Comes back in [`Effect::Issued`] or [`Effect::NotIssued`].
    pub ticket: u64,
    /// SubjectPublicKeyInfo in DER; the shell has checked it, and that the sender holds the key.
    pub key: Vec<u8>,
}

/// By what right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Right {
    /// The secret of a token, and the serial number that the device told.
    Token { secret: SecretHash, device_serial: Option<String> },
    /// A certificate of this cabinet, presented in the TLS handshake and admitted by the shell.
    Certificate,
}

/// Why no certificate is issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnrolRefusal {
    #[error("the enrolment token is not known: it is of another cabinet or fleet, or a newer one was made")]
    UnknownToken,
    #[error("the enrolment token has expired; `fleet cabinet replace` makes a new one")]
    ExpiredToken,
    #[error("the enrolment token was used already; `fleet cabinet replace` makes a new one")]
    UsedToken,
    #[error("the enrolment token was made for a device with another serial number")]
    OtherDevice,
    #[error("the cabinet's certificates are revoked; `fleet cabinet replace` makes a token for a new one")]
    Revoked,
    #[error("a certificate for this cabinet is being made; ask again in a moment")]
    Busy,
    #[error("the certificate cannot be made now: {0}")]
    NotSigned(String),
}

impl FleetCore {
    pub(crate) fn issue(
        &mut self,
        turn: &mut Turn<'_>,
        (tenant, cabinet): (TenantId, CabinetId),
        right: Right,
        issue: Issue,
    ) {
        let ticket = issue.ticket;
        let identity = Identity::cabinet(&tenant, &cabinet);
        let shut_out = self.identities.is_shut_out(&identity);
        let void_until = self.identities.void_until(&identity);
        let taken = match (self.cabinets.get_mut(&CabinetRef::new(tenant, cabinet)), right) {
            (Some(cabinet), Right::Token { secret, device_serial }) => {
                cabinet.enrol(turn, secret, device_serial.as_deref(), issue, void_until)
            }
            // Whoever was let in just before it was revoked gets no successor that is good again.
            (Some(_), Right::Certificate) if shut_out => Err(EnrolRefusal::Revoked),
            (Some(cabinet), Right::Certificate) => cabinet.renew(turn, issue),
            // Whether a cabinet of that name exists is nobody's business who has no token for it.
            (None, _) => Err(EnrolRefusal::UnknownToken),
        };
        if let Err(refusal) = taken {
            turn.effect(Effect::NotIssued { ticket, refusal });
        }
    }

    pub(crate) fn certificate_made(&mut self, turn: &mut Turn<'_>, at: &CabinetRef, certificate: Blob) {
        let Some(cabinet) = self.cabinets.get_mut(at) else {
            return;
        };
        if let Some(Replaced { by, until }) = cabinet.certificate_made(turn, certificate) {
            let reason = "another device is this cabinet now".to_owned();
            let (tenant, cabinet) = (at.tenant.clone(), at.cabinet.clone());
            let identity = Identity::cabinet(&tenant, &cabinet);
            if let Err(error) = self.identities.void(turn, &by, identity, reason.clone(), until) {
                // Its instance alone keeps the former one out.
                turn.alarm(error.message);
            }
            turn.effect(Effect::CloseCabinet { tenant, cabinet, reason });
        }
    }
}
