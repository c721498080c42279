//! What a person may sign: an admin key names the person, the person's own key, and where and until when it opens doors.

use ed25519_dalek::VerifyingKey;

use crate::cbor::Blob;
use crate::crypto::envelope::key_id;
use crate::ids::{CabinetId, Identity, Role, TenantId};
use crate::{cbor_map, cbor_union};

use super::{FleetMillis, Key, KeyPurpose};

/// Cabinets in one delegation at most.
pub const DELEGATED_CABINETS_MAX: usize = 128;

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct DelegatedTenant {}
}

cbor_map! {
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct DelegatedCabinets { 1 => cabinets: Vec<CabinetId> }
}

cbor_union! {
    /// Where the person's key opens doors.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum DelegationScope {
        1 => Tenant(DelegatedTenant),
        2 => Cabinets(DelegatedCabinets),
    }
}

cbor_map! {
    /// Payload of a COSE_Sign1 with purpose `admin`, for the whole tenant.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Delegation {
        1 => tenant: TenantId,
        2 => person: Identity,
        /// Ed25519, 32 bytes.
        3 => public: Blob,
        4 => scope: DelegationScope,
        /// Void as soon as the keyset names a higher one.
        5 => epoch: u64,
        /// In the fleet's time. Void while a cabinet does not know it.
        6 => not_after: FleetMillis,
    }
}

/// A delegation that breaks a rule of its form, whoever signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DelegationError {
    #[error("it is of another tenant")]
    Tenant,
    #[error("it is for somebody who may not open doors; operators and support may")]
    Role,
    #[error("its key is no Ed25519 key")]
    Key,
    #[error("it names no cabinet, or more than {DELEGATED_CABINETS_MAX}")]
    Cabinets,
}

impl Delegation {
    /// Checks everything but signature, epoch and date.
    pub fn check(&self, tenant: &TenantId) -> Result<(), DelegationError> {
        if self.tenant != *tenant || self.person.tenant != *tenant {
            return Err(DelegationError::Tenant);
        }
        if ![Role::Operator, Role::Support].contains(&self.person.role) {
            return Err(DelegationError::Role);
        }
        let bytes = <&[u8; 32]>::try_from(self.public.0.as_slice()).ok();
        if !bytes.is_some_and(|bytes| VerifyingKey::from_bytes(bytes).is_ok_and(|key| !key.is_weak())) {
            return Err(DelegationError::Key);
        }
        match &self.scope {
            DelegationScope::Cabinets(some) if !(1..=DELEGATED_CABINETS_MAX).contains(&some.cabinets.len()) => {
                Err(DelegationError::Cabinets)
            }
            DelegationScope::Tenant(_) | DelegationScope::Cabinets(_) => Ok(()),
        }
    }

    /// The person's key as one that signs unlocks.
    pub fn key(&self) -> Key {
        Key { id: key_id(&self.public.0), purpose: KeyPurpose::Unlock, public: self.public.clone() }
    }

    pub fn covers(&self, cabinet: &CabinetId) -> bool {
        match &self.scope {
            DelegationScope::Tenant(_) => true,
            DelegationScope::Cabinets(some) => some.cabinets.contains(cabinet),
        }
    }
}
