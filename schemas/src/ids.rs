//! Names of tenants, cabinets, people and orders, valid by construction.
//!
//! Every name that can reach a topic, a client id or a certificate is parsed here once. The alphabet leaves
//! out every separator that MQTT, URIs or the identity text use, so a valid name can be joined without escaping.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest [`Name`] in bytes.
pub const NAME_MAX: usize = 32;
/// Longest [`OrderId`] in bytes.
pub const ORDER_ID_MAX: usize = 64;
/// Longest session suffix of a person's or an integration's client id, in bytes.
pub const SUFFIX_MAX: usize = 16;

/// Why a text is not a valid name, id or identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("{what} is empty")]
    Empty { what: &'static str },
    #[error("{what} is longer than {max} bytes")]
    TooLong { what: &'static str, max: usize },
    #[error("{what} has a character outside {allowed}")]
    BadCharacter { what: &'static str, allowed: &'static str },
    #[error("identity is not `<role>:<tenant>:<name>`")]
    NotAnIdentity,
    #[error("no integration may have the name of walk-ins")]
    Reserved,
    #[error("unknown role `{0}`")]
    UnknownRole(String),
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr, $allowed:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks `text` and takes it.
            pub fn new(text: &str) -> Result<Self, IdError> {
                if text.is_empty() {
                    return Err(IdError::Empty { what: $what });
                }
                if text.len() > $max {
                    return Err(IdError::TooLong { what: $what, max: $max });
                }
                let check: fn(&[u8]) -> bool = $check;
                if !check(text.as_bytes()) {
                    return Err(IdError::BadCharacter { what: $what, allowed: $allowed });
                }
                Ok(Self(text.into()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

fn is_name(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphanumeric)
        && text.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

fn is_order_id(text: &[u8]) -> bool {
    text.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

text_id!(
    /// A tenant: one operator's customers, sites and cabinets, apart from all others.
    TenantId, "tenant", NAME_MAX, "a-z, 0-9, `-`", is_name
);
text_id!(
    /// A cabinet: one agent's installation. Unique within its tenant.
    CabinetId, "cabinet", NAME_MAX, "a-z, 0-9, `-`", is_name
);
text_id!(
    /// The name part of a person, an integration or a server within its tenant.
    Name, "name", NAME_MAX, "a-z, 0-9, `-`", is_name
);
text_id!(
    /// A location with one or more cabinets.
    SiteId, "site", NAME_MAX, "a-z, 0-9, `-`", is_name
);
text_id!(
    /// The backend's own id of an order. Unique within one integration.
    OrderId, "order", ORDER_ID_MAX, "A-Z, a-z, 0-9, `-`, `_`, `.`", is_order_id
);
text_id!(
    /// What follows `~` in a client id of a person or an integration: one of several sessions.
    SessionSuffix, "session suffix", SUFFIX_MAX, "a-z, 0-9, `-`", is_name
);

/// What the holder of a certificate is. Decides the plane and the ACL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Server,
    Cabinet,
    Integration,
    Operator,
    Staff,
    Support,
    Technician,
    Auditor,
}

impl Role {
    pub const ALL: [Self; 8] = [
        Self::Server,
        Self::Cabinet,
        Self::Integration,
        Self::Operator,
        Self::Staff,
        Self::Support,
        Self::Technician,
        Self::Auditor,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Cabinet => "cabinet",
            Self::Integration => "integration",
            Self::Operator => "operator",
            Self::Staff => "staff",
            Self::Support => "support",
            Self::Technician => "technician",
            Self::Auditor => "auditor",
        }
    }

    /// A human being, as opposed to a machine.
    pub fn is_person(self) -> bool {
        match self {
            Self::Operator | Self::Staff | Self::Support | Self::Technician | Self::Auditor => true,
            Self::Server | Self::Cabinet | Self::Integration => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| IdError::UnknownRole(text.chars().take(NAME_MAX).collect()))
    }
}

/// Who a certificate speaks for: `<role>:<tenant>:<name>`.
///
/// The certificate carries it as the only URI of its subject alternative name, with the prefix [`Identity::URN`].
/// A cabinet's MQTT client id is exactly this text; people and integrations may add `~<suffix>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    pub role: Role,
    pub tenant: TenantId,
    pub name: Name,
}

impl Identity {
    pub const URN: &'static str = "urn:locker-fleet:";

    pub fn new(role: Role, tenant: TenantId, name: Name) -> Self {
        Self { role, tenant, name }
    }

    pub fn cabinet(tenant: &TenantId, cabinet: &CabinetId) -> Self {
        Self { role: Role::Cabinet, tenant: tenant.clone(), name: Name(cabinet.0.clone()) }
    }

    /// Whoever had it could speak for orders that staff began at cabinets: it is no identity that is read anywhere.
    pub fn is_reserved(&self) -> bool {
        self.role == Role::Integration && self.name.as_str() == crate::messages::WALK_IN
    }

    /// The cabinet that this identity is, if it is one.
    pub fn as_cabinet(&self) -> Option<CabinetId> {
        (self.role == Role::Cabinet).then(|| CabinetId(self.name.0.clone()))
    }

    /// The URI for the certificate's subject alternative name.
    pub fn to_urn(&self) -> String {
        format!("{}{self}", Self::URN)
    }

    /// Reads the URI of a certificate's subject alternative name.
    pub fn from_urn(urn: &str) -> Result<Self, IdError> {
        urn.strip_prefix(Self::URN).ok_or(IdError::NotAnIdentity)?.parse()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.role, self.tenant, self.name)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Identity {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut parts = text.split(':');
        let (Some(role), Some(tenant), Some(name), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(IdError::NotAnIdentity);
        };
        let identity = Self { role: role.parse()?, tenant: tenant.parse()?, name: name.parse()? };
        if identity.is_reserved() { Err(IdError::Reserved) } else { Ok(identity) }
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An MQTT client id: an identity, and for people and integrations perhaps `~<suffix>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientId {
    pub identity: Identity,
    pub suffix: Option<SessionSuffix>,
}

impl FromStr for ClientId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.split_once('~') {
            None => Ok(Self { identity: text.parse()?, suffix: None }),
            Some((identity, suffix)) => {
                let identity: Identity = identity.parse()?;
                if identity.role == Role::Cabinet {
                    return Err(IdError::NotAnIdentity);
                }
                Ok(Self { identity, suffix: Some(suffix.parse()?) })
            }
        }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.suffix {
            None => write!(f, "{}", self.identity),
            Some(suffix) => write!(f, "{}~{suffix}", self.identity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_separators_wildcards_and_other_alphabets() {
        for bad in ["", "-a", "A", "a/b", "a+", "#", "a:b", "a~b", "é", "a b", "a.b", "a\0", "$sys"] {
            assert!(Name::new(bad).is_err(), "{bad:?} was taken");
        }
        assert!(Name::new(&"a".repeat(NAME_MAX)).is_ok());
        assert!(Name::new(&"a".repeat(NAME_MAX + 1)).is_err());
    }

    #[test]
    fn identity_survives_its_urn() {
        let identity: Identity = "cabinet:acme:berlin-01".parse().unwrap();
        assert_eq!(identity.to_urn(), "urn:locker-fleet:cabinet:acme:berlin-01");
        assert_eq!(Identity::from_urn(&identity.to_urn()), Ok(identity));
        for bad in ["cabinet:acme", "cabinet:acme:a:b", "boss:acme:a", "urn:locker-fleet:cabinet:acme:a"] {
            assert!(bad.parse::<Identity>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn nobody_speaks_for_walk_ins() {
        assert_eq!("integration:acme:walk-in".parse::<Identity>(), Err(IdError::Reserved));
        assert_eq!(Identity::from_urn("urn:locker-fleet:integration:acme:walk-in"), Err(IdError::Reserved));
        assert!("staff:acme:walk-in".parse::<Identity>().is_ok());
    }

    #[test]
    fn only_people_and_integrations_may_have_a_session_suffix() {
        assert!("operator:acme:eve~tui".parse::<ClientId>().is_ok());
        assert!("cabinet:acme:c1~two".parse::<ClientId>().is_err());
        assert!("operator:acme:eve~".parse::<ClientId>().is_err());
        assert!("operator:acme:eve~a~b".parse::<ClientId>().is_err());
    }
}
