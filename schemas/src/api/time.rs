//! Times in JSON: RFC 3339 in UTC with milliseconds.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::messages::FleetMillis;

/// A moment of the fleet's clock, `2026-11-22T20:15:00.000Z` in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rfc3339(pub FleetMillis);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = i64::try_from(self.0).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
        // Beyond the year 9999 there is nothing sensible to print.
        write!(f, "{:.3}", at.unwrap_or(jiff::Timestamp::MAX))
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rfc3339 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at: jiff::Timestamp = text.parse().map_err(|_| serde::de::Error::custom("not an RFC 3339 time"))?;
        u64::try_from(at.as_millisecond()).map(Self).map_err(|_| serde::de::Error::custom("a time before 1970"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_with_milliseconds_and_read_back() {
        let at = Rfc3339(1_795_378_500_007);
        assert_eq!(at.to_string(), "2026-11-22T20:15:00.007Z");
        assert_eq!(serde_json::from_str::<Rfc3339>(&serde_json::to_string(&at).unwrap()).unwrap(), at);
        assert!(serde_json::from_str::<Rfc3339>("\"yesterday\"").is_err());
        assert!(serde_json::from_str::<Rfc3339>("\"1969-12-31T23:59:59Z\"").is_err());
    }
}
