//! What each kind of certificate is for, who issues it and how long it lasts: plain data.

use std::fmt;
use std::time::Duration;

use schemas::ids::Role;

/// A holder of a CA key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Authority {
    /// Kept offline; issues the other three.
    Root,
    Servers,
    /// The only one that is online: cabinets enrol and renew by themselves.
    Cabinets,
    /// People and integrations; called the operators' CA.
    People,
}

impl Authority {
    pub const ALL: [Self; 4] = [Self::Root, Self::Servers, Self::Cabinets, Self::People];

    /// The authority that issues certificates of `role`, and the only one that may.
    pub fn of(role: Role) -> Self {
        profile(role).authority
    }

    /// The word in a CA certificate's marker.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Servers => "servers",
            Self::Cabinets => "cabinets",
            Self::People => "people",
        }
    }

    /// How long the authority's own certificate lasts.
    pub fn lifetime(self) -> Duration {
        match self {
            Self::Root => days(20 * 365),
            Self::Servers | Self::Cabinets | Self::People => days(6 * 365),
        }
    }

    /// What the leaves below this authority are for; nothing for the root, which issues none.
    pub fn usage(self) -> Option<Usage> {
        match self {
            Self::Root => None,
            Self::Servers => Some(Usage::Server),
            Self::Cabinets | Self::People => Some(Usage::Client),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root CA",
            Self::Servers => "servers' CA",
            Self::Cabinets => "cabinets' CA",
            Self::People => "operators' CA",
        })
    }
}

/// The side of a TLS connection that a certificate may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Usage {
    Server,
    Client,
}

/// How certificates of one role are issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    pub role: Role,
    pub authority: Authority,
    pub usage: Usage,
    /// The longest lifetime; a request may ask for less.
    pub lifetime: Duration,
}

/// The profile of `role`.
pub fn profile(role: Role) -> Profile {
    let (authority, usage, lifetime) = match role {
        Role::Server => (Authority::Servers, Usage::Server, days(397)),
        // Long enough for a cabinet that waits in a warehouse or is offline for a season.
        Role::Cabinet => (Authority::Cabinets, Usage::Client, days(2 * 365)),
        Role::Integration => (Authority::People, Usage::Client, days(397)),
        Role::Operator | Role::Staff | Role::Support | Role::Auditor => (Authority::People, Usage::Client, days(365)),
        // Often people of another company.
        Role::Technician => (Authority::People, Usage::Client, days(90)),
    };
    Profile { role, authority, usage, lifetime }
}

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 60 * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cabinets_come_from_the_online_authority() {
        for role in Role::ALL {
            assert_eq!(Authority::of(role) == Authority::Cabinets, role == Role::Cabinet, "{role}");
        }
    }

    #[test]
    fn a_leaf_has_the_usage_of_its_authority_and_ends_before_it() {
        for role in Role::ALL {
            let profile = profile(role);
            assert_eq!(profile.authority.usage(), Some(profile.usage), "{role}");
            assert!(profile.lifetime < profile.authority.lifetime(), "{role}");
        }
    }
}
