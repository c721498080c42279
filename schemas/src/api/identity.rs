//! Who has certificates of the fleet, and whose are void.

use serde::{Deserialize, Serialize};

use crate::byte_id;
use crate::ids::{CabinetId, Identity, SiteId};

use super::Rfc3339;

byte_id! {
    /// SHA-256 of a certificate's DER.
    pub struct CertificateId([u8; 32]);
}

/// A certificate that somebody connected with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateDetail {
    pub certificate: CertificateId,
    pub issued: Rfc3339,
    pub expires: Rfc3339,
    pub first_seen: Rfc3339,
    pub last_seen: Rfc3339,
    /// It was issued before a revocation of its identity.
    pub revoked: bool,
}

/// Since when, why and by whom certificates of an identity are void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationDetail {
    /// Certificates issued up to this moment are void. Later than `at` only if one that was seen was issued later.
    pub until: Rfc3339,
    pub at: Rfc3339,
    pub by: Identity,
    pub reason: String,
}

/// What of a tenant a person sees and touches.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    #[default]
    Tenant,
    Sites(Vec<SiteId>),
    Cabinets(Vec<CabinetId>),
}

impl Scope {
    /// Whether a cabinet is in it; `site` is where that stands, if it is known.
    pub fn covers(&self, cabinet: &CabinetId, site: Option<&SiteId>) -> bool {
        match self {
            Self::Tenant => true,
            Self::Sites(sites) => site.is_some_and(|site| sites.contains(site)),
            Self::Cabinets(cabinets) => cabinets.contains(cabinet),
        }
    }

    /// Whether every cabinet of a site is in it.
    pub fn covers_site(&self, site: &SiteId) -> bool {
        match self {
            Self::Tenant => true,
            Self::Sites(sites) => sites.contains(site),
            Self::Cabinets(_) => false,
        }
    }

    pub fn is_tenant(&self) -> bool {
        *self == Self::Tenant
    }
}

/// An identity that connected, was revoked, or has a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityDetail {
    pub identity: Identity,
    /// The newest ones that were seen, by the moment of their issue.
    pub certificates: Vec<CertificateDetail>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<RevocationDetail>,
    #[serde(default, skip_serializing_if = "Scope::is_tenant")]
    pub scope: Scope,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityPage {
    pub identities: Vec<IdentityDetail>,
    /// More follow behind the last one.
    pub more: bool,
}
