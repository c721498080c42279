//! The topic tree: one prefix per identity, parsed into an enum before anything else looks at it.
//!
//! ```text
//! v1/<tenant>/cabinet/<cabinet>/up/{hello,event,telemetry,challenge}    cabinet → fleet   CBOR
//! v1/<tenant>/cabinet/<cabinet>/down                                    fleet → cabinet   CBOR
//! v1/<tenant>/integration/<name>/orders/{put,cancel}                    backend → fleet   JSON
//! v1/<tenant>/integration/<name>/orders/{extend,resend,reissue}         backend → fleet   JSON
//! v1/<tenant>/integration/<name>/orders/{change,move,open,quarantine}   backend → fleet   JSON
//! v1/<tenant>/integration/<name>/orders/{bundle,unbundle}               backend → fleet   JSON
//! v1/<tenant>/integration/<name>/{status,notifications}                 fleet → backend   JSON, durable
//! v1/<tenant>/<role>/<name>/request                                     person → fleet    JSON, MQTT 5 request
//! v1/<tenant>/<role>/<name>/response                                    fleet → person    JSON, MQTT 5 response
//! v1/<tenant>/live/<cabinet>/{presence,event,telemetry,availability}                 fleet → people    JSON, may be lost
//! ```

use std::fmt;

use crate::cbor_code;
use crate::ids::{CabinetId, Identity, Name, Role, TenantId};

/// Longest topic or filter that the gate looks at, in bytes.
pub const TOPIC_MAX: usize = 160;

const VERSION: &str = "v1";

/// What a cabinet sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Up {
    Hello,
    Event,
    Telemetry,
    Challenge,
}

impl Up {
    pub const ALL: [Self; 4] = [Self::Hello, Self::Event, Self::Telemetry, Self::Challenge];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Event => "event",
            Self::Telemetry => "telemetry",
            Self::Challenge => "challenge",
        }
    }
}

/// What a backend asks for orders that it has put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OrderChange {
    /// More time, with the same code.
    Extend,
    /// The same code in another message.
    Resend,
    /// Another code.
    Reissue,
    /// Another cabinet, before it is loaded.
    Move,
    /// One credential for several orders.
    Bundle,
    /// A code of its own for each of them again.
    Unbundle,
    /// Another content: a size, a recipient …
    Content,
    /// Nobody is to get it.
    Quarantine,
    /// Its door is to be opened for whoever stands at the screen.
    Open,
}

impl OrderChange {
    pub const ALL: [Self; 9] = [
        Self::Extend,
        Self::Resend,
        Self::Reissue,
        Self::Move,
        Self::Bundle,
        Self::Unbundle,
        Self::Content,
        Self::Quarantine,
        Self::Open,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Extend => "extend",
            Self::Resend => "resend",
            Self::Reissue => "reissue",
            Self::Move => "move",
            Self::Bundle => "bundle",
            Self::Unbundle => "unbundle",
            Self::Content => "change",
            Self::Quarantine => "quarantine",
            Self::Open => "open",
        }
    }
}

cbor_code! {
    /// A durable stream of an integration: rows in the store, a cursor that its PUBACKs move.
    pub enum Stream { 0 => Status = "status", 1 => Notifications = "notifications" }
}

/// What is fanned out about a cabinet while it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Live {
    Presence,
    Event,
    Telemetry,
    /// What is free for new orders. The one kind that integrations see, too.
    Availability,
}

impl Live {
    pub const ALL: [Self; 4] = [Self::Presence, Self::Event, Self::Telemetry, Self::Availability];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Event => "event",
            Self::Telemetry => "telemetry",
            Self::Availability => "availability",
        }
    }
}

/// A topic of the tree. Anything else is not a topic of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    Up { tenant: TenantId, cabinet: CabinetId, up: Up },
    Down { tenant: TenantId, cabinet: CabinetId },
    OrderPut { tenant: TenantId, integration: Name },
    OrderCancel { tenant: TenantId, integration: Name },
    OrderChange { tenant: TenantId, integration: Name, change: OrderChange },
    Stream { tenant: TenantId, integration: Name, stream: Stream },
    Request { who: Identity },
    Response { who: Identity },
    Live { tenant: TenantId, cabinet: CabinetId, live: Live },
}

/// Why a text is not a topic of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    #[error("topic is longer than {TOPIC_MAX} bytes")]
    TooLong,
    #[error("topic is not in the published tree")]
    Unknown,
}

impl Topic {
    /// Reads a topic name. Wildcards, empty levels, `$`, NUL and other alphabets fail because no id may hold them.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        if text.len() > TOPIC_MAX {
            return Err(TopicError::TooLong);
        }
        let levels: Vec<&str> = text.split('/').collect();
        let [VERSION, tenant, rest @ ..] = levels.as_slice() else {
            return Err(TopicError::Unknown);
        };
        let tenant: TenantId = parse_id(tenant)?;
        match rest {
            ["cabinet", cabinet, "down"] => Ok(Self::Down { tenant, cabinet: parse_id(cabinet)? }),
            ["cabinet", cabinet, "up", up] => {
                let up = Up::ALL.into_iter().find(|known| known.as_str() == *up).ok_or(TopicError::Unknown)?;
                Ok(Self::Up { tenant, cabinet: parse_id(cabinet)?, up })
            }
            ["live", cabinet, live] => {
                let live = Live::ALL.into_iter().find(|known| known.as_str() == *live).ok_or(TopicError::Unknown)?;
                Ok(Self::Live { tenant, cabinet: parse_id(cabinet)?, live })
            }
            ["integration", name, "orders", "put"] => Ok(Self::OrderPut { tenant, integration: parse_id(name)? }),
            ["integration", name, "orders", "cancel"] => Ok(Self::OrderCancel { tenant, integration: parse_id(name)? }),
            ["integration", name, "orders", change] => {
                let known = OrderChange::ALL.into_iter().find(|known| known.as_str() == *change);
                let change = known.ok_or(TopicError::Unknown)?;
                Ok(Self::OrderChange { tenant, integration: parse_id(name)?, change })
            }
            [role, name, leaf] => Self::parse_own(tenant, role, name, leaf),
            _ => Err(TopicError::Unknown),
        }
    }

    fn parse_own(tenant: TenantId, role: &str, name: &str, leaf: &str) -> Result<Self, TopicError> {
        let role: Role = parse_id(role)?;
        let name: Name = parse_id(name)?;
        if role == Role::Integration
            && let Some(stream) = Stream::ALL.iter().copied().find(|known| known.as_str() == leaf)
        {
            return Ok(Self::Stream { tenant, integration: name, stream });
        }
        if role != Role::Integration && !role.is_person() {
            return Err(TopicError::Unknown);
        }
        let who = Identity::new(role, tenant, name);
        match leaf {
            "request" => Ok(Self::Request { who }),
            "response" => Ok(Self::Response { who }),
            _ => Err(TopicError::Unknown),
        }
    }

    pub fn tenant(&self) -> &TenantId {
        match self {
            Self::Up { tenant, .. }
            | Self::Down { tenant, .. }
            | Self::OrderPut { tenant, .. }
            | Self::OrderCancel { tenant, .. }
            | Self::OrderChange { tenant, .. }
            | Self::Stream { tenant, .. }
            | Self::Live { tenant, .. } => tenant,
            Self::Request { who } | Self::Response { who } => &who.tenant,
        }
    }
}

fn parse_id<T: std::str::FromStr>(text: &str) -> Result<T, TopicError> {
    text.parse().map_err(|_| TopicError::Unknown)
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up { tenant, cabinet, up } => write!(f, "{VERSION}/{tenant}/cabinet/{cabinet}/up/{}", up.as_str()),
            Self::Down { tenant, cabinet } => write!(f, "{VERSION}/{tenant}/cabinet/{cabinet}/down"),
            Self::OrderPut { tenant, integration } => {
                write!(f, "{VERSION}/{tenant}/integration/{integration}/orders/put")
            }
            Self::OrderCancel { tenant, integration } => {
                write!(f, "{VERSION}/{tenant}/integration/{integration}/orders/cancel")
            }
            Self::OrderChange { tenant, integration, change } => {
                write!(f, "{VERSION}/{tenant}/integration/{integration}/orders/{}", change.as_str())
            }
            Self::Stream { tenant, integration, stream } => {
                write!(f, "{VERSION}/{tenant}/integration/{integration}/{}", stream.as_str())
            }
            Self::Request { who } => write!(f, "{VERSION}/{}/{}/{}/request", who.tenant, who.role, who.name),
            Self::Response { who } => write!(f, "{VERSION}/{}/{}/{}/response", who.tenant, who.role, who.name),
            Self::Live { tenant, cabinet, live } => {
                write!(f, "{VERSION}/{tenant}/live/{cabinet}/{}", live.as_str())
            }
        }
    }
}

/// A subscription to live topics: one cabinet or all, one kind or all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LiveFilter {
    pub tenant: TenantId,
    pub cabinet: Option<CabinetId>,
    pub live: Option<Live>,
}

impl LiveFilter {
    pub fn matches(&self, tenant: &TenantId, cabinet: &CabinetId, live: Live) -> bool {
        self.tenant == *tenant
            && self.cabinet.as_ref().is_none_or(|only| only == cabinet)
            && self.live.is_none_or(|only| only == live)
    }
}

/// A subscription filter of the tree. Wildcards exist below `live/` only, everything else is one exact topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Filter {
    Exact(Topic),
    Live(LiveFilter),
}

impl Filter {
    /// Reads a subscription filter: a topic, or `v1/<tenant>/live/{<cabinet>,+}/{<kind>,+}`, or `v1/<tenant>/live/#`.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        if text.len() > TOPIC_MAX {
            return Err(TopicError::TooLong);
        }
        let levels: Vec<&str> = text.split('/').collect();
        let [VERSION, tenant, "live", rest @ ..] = levels.as_slice() else {
            return Topic::parse(text).map(Self::Exact);
        };
        let tenant: TenantId = parse_id(tenant)?;
        match rest {
            ["#"] => Ok(Self::Live(LiveFilter { tenant, cabinet: None, live: None })),
            [cabinet, live] => {
                let cabinet = if *cabinet == "+" { None } else { Some(parse_id(cabinet)?) };
                let live = match *live {
                    "+" | "#" => None,
                    text => {
                        Some(Live::ALL.into_iter().find(|known| known.as_str() == text).ok_or(TopicError::Unknown)?)
                    }
                };
                Ok(Self::Live(LiveFilter { tenant, cabinet, live }))
            }
            _ => Err(TopicError::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_reads_back_as_itself() {
        for text in [
            "v1/acme/cabinet/c1/up/hello",
            "v1/acme/cabinet/c1/up/event",
            "v1/acme/cabinet/c1/up/telemetry",
            "v1/acme/cabinet/c1/up/challenge",
            "v1/acme/cabinet/c1/down",
            "v1/acme/integration/shop/orders/put",
            "v1/acme/integration/shop/orders/cancel",
            "v1/acme/integration/shop/orders/extend",
            "v1/acme/integration/shop/orders/resend",
            "v1/acme/integration/shop/orders/reissue",
            "v1/acme/integration/shop/orders/move",
            "v1/acme/integration/shop/orders/bundle",
            "v1/acme/integration/shop/orders/unbundle",
            "v1/acme/integration/shop/orders/change",
            "v1/acme/integration/shop/orders/quarantine",
            "v1/acme/integration/shop/orders/open",
            "v1/acme/integration/shop/status",
            "v1/acme/integration/shop/notifications",
            "v1/acme/integration/shop/request",
            "v1/acme/operator/eve/request",
            "v1/acme/technician/tom/response",
            "v1/acme/live/c1/telemetry",
        ] {
            assert_eq!(Topic::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_in_the_tree_is_refused() {
        let long = format!("v1/acme/live/{}/event", "a".repeat(TOPIC_MAX));
        for text in [
            "",
            "v1",
            "v2/acme/cabinet/c1/down",
            "é/x",
            "$SYS/broker",
            "$share/g/v1/acme/live/c1/event",
            "v1/acme/cabinet/c1/up/+",
            "v1/acme/cabinet/#",
            "v1/acme/cabinet/c1/up/event/",
            "/v1/acme/cabinet/c1/up/event",
            "v1/acme/cabinet/c1/request",
            "v1/acme/integration/shop/orders/store",
            "v1/acme/integration/shop/orders/extend/now",
            "v1/acme/server/s1/request",
            "v1/acme/operator/eve/status",
            "v1/acme/live/c1/ev\0ent",
            &long,
        ] {
            assert!(Topic::parse(text).is_err(), "{text:?} was taken as a topic");
            assert!(Filter::parse(text).is_err(), "{text:?} was taken as a filter");
        }
    }

    #[test]
    fn live_filters_take_wildcards_for_cabinet_and_kind() {
        let tenant: TenantId = "acme".parse().unwrap();
        let cabinet: CabinetId = "c1".parse().unwrap();
        for (filter, hit) in [
            ("v1/acme/live/#", true),
            ("v1/acme/live/+/+", true),
            ("v1/acme/live/c1/#", true),
            ("v1/acme/live/c1/event", true),
            ("v1/acme/live/+/telemetry", false),
            ("v1/acme/live/c2/event", false),
            ("v1/umbra/live/#", false),
        ] {
            let Filter::Live(live) = Filter::parse(filter).unwrap() else { panic!("{filter} is no live filter") };
            assert_eq!(live.matches(&tenant, &cabinet, Live::Event), hit, "{filter}");
        }
        for bad in ["v1/+/live/#", "v1/acme/live/+", "v1/acme/live/c1/event/#", "v1/#", "#", "+/+/+"] {
            assert!(Filter::parse(bad).is_err(), "{bad} was taken");
        }
    }
}
