//! Shards: the few topics that all cabinets share.
//!
//! Routers remember every topic for ever and scan all filters for each new one, so a topic per cabinet is out of reach.

use std::fmt;

use schemas::ids::{CabinetId, TenantId};

/// One of [`Shard::COUNT`] topics. All processes of a fleet must agree, so the count and the hash are part of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard(u8);

impl Shard {
    pub const COUNT: u8 = 16;

    /// The shard of a cabinet: FNV-1a (64 bit) over `<tenant>/<cabinet>`.
    pub fn of(tenant: &TenantId, cabinet: &CabinetId) -> Self {
        let text = tenant.as_str().bytes().chain([b'/']).chain(cabinet.as_str().bytes());
        let hash = text
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        Self::turn(hash)
    }

    /// The shards one after another. Heartbeats go round so that each topic is proved.
    pub(super) fn turn(n: u64) -> Self {
        let remainder = (n % u64::from(Self::COUNT)).to_le_bytes();
        Self(remainder[0])
    }

    /// Reads what [`fmt::Display`] writes, and nothing else: no sign, no leading zero.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number: u8 = text.parse().ok()?;
        let shard = (number < Self::COUNT).then_some(Self(number))?;
        (shard.to_string() == text).then_some(shard)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_of_a_cabinet_is_pinned_because_processes_must_agree() {
        let shard = |tenant: &str, cabinet: &str| Shard::of(&tenant.parse().unwrap(), &cabinet.parse().unwrap()).0;
        assert_eq!([shard("acme", "c1"), shard("acme", "c2"), shard("umbra", "c1")], [8, 1, 7]);
    }

    #[test]
    fn only_the_canonical_number_of_a_shard_is_read() {
        assert_eq!(Shard::parse("0"), Some(Shard(0)));
        assert_eq!(Shard::parse("15"), Some(Shard(15)));
        for bad in ["", "16", "255", "256", "-1", "+1", "01", " 1", "1/", "é", "٣"] {
            assert_eq!(Shard::parse(bad), None, "{bad:?} was taken");
        }
    }
}
