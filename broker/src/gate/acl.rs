//! Who may publish and subscribe to what: pure functions over parsed topics and filters.
//!
//! | role        | publishes (own)               | subscribes                                   |
//! |-------------|-------------------------------|----------------------------------------------|
//! | cabinet     | `up/*`                        | own `down`                                   |
//! | integration | `orders/*`, `request`         | own `status`, `notifications`, `response`    |
//! | operator, support, technician, auditor | `request` | own `response`; `live/…` of the tenant |
//! | staff       | `request`                     | own `response`                               |

use schemas::ids::{Identity, Role};
use schemas::topics::{Filter, Live, LiveFilter, OrderChange, Stream, Topic, Up};

use super::rule::Rule;

/// What an allowed PUBLISH is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publication {
    Up(Up),
    OrderPut,
    OrderCancel,
    OrderChange(OrderChange),
    Request,
}

/// What an allowed filter of a SUBSCRIBE is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subscription {
    Down,
    Stream(Stream),
    Response,
    Live(LiveFilter),
}

/// May `who` publish to `topic`, with QoS 1 or else 0?
pub(super) fn publish(who: &Identity, topic: &Topic, at_least_once: bool) -> Result<Publication, Rule> {
    if *topic.tenant() != who.tenant {
        return Err(Rule::ForeignTenant);
    }
    let publication = match topic {
        Topic::Up { cabinet, up, .. } => match who.role {
            Role::Cabinet if cabinet.as_str() == who.name.as_str() => Publication::Up(*up),
            Role::Cabinet => return Err(Rule::ForeignTopic),
            Role::Server
            | Role::Integration
            | Role::Operator
            | Role::Staff
            | Role::Support
            | Role::Technician
            | Role::Auditor => return Err(Rule::NotForRole),
        },
        Topic::OrderPut { integration, .. } => {
            own_integration(who, integration.as_str())?;
            Publication::OrderPut
        }
        Topic::OrderCancel { integration, .. } => {
            own_integration(who, integration.as_str())?;
            Publication::OrderCancel
        }
        Topic::OrderChange { integration, change, .. } => {
            own_integration(who, integration.as_str())?;
            Publication::OrderChange(*change)
        }
        Topic::Request { who: owner } => {
            own_conversation(who, owner)?;
            Publication::Request
        }
        Topic::Down { .. } | Topic::Stream { .. } | Topic::Response { .. } | Topic::Live { .. } => {
            return Err(Rule::NotForRole);
        }
    };
    if at_least_once == wants_at_least_once(publication) { Ok(publication) } else { Err(Rule::WrongQos) }
}

/// Telemetry may be lost; all else is acknowledged once it is on disk.
fn wants_at_least_once(publication: Publication) -> bool {
    match publication {
        Publication::Up(Up::Telemetry) => false,
        Publication::Up(Up::Hello | Up::Event | Up::Challenge)
        | Publication::OrderPut
        | Publication::OrderCancel
        | Publication::OrderChange(_)
        | Publication::Request => true,
    }
}

/// May `who` subscribe to `filter`? `suffix` says whether the session's client id has one.
pub(super) fn subscribe(who: &Identity, suffix: bool, filter: Filter) -> Result<Subscription, Rule> {
    match filter {
        Filter::Live(live) => {
            if live.tenant != who.tenant {
                return Err(Rule::ForeignTenant);
            }
            if sees_live(who.role, live.live) { Ok(Subscription::Live(live)) } else { Err(Rule::NotForRole) }
        }
        Filter::Exact(topic) => {
            if *topic.tenant() != who.tenant {
                return Err(Rule::ForeignTenant);
            }
            subscribe_exact(who, suffix, topic)
        }
    }
}

fn subscribe_exact(who: &Identity, suffix: bool, topic: Topic) -> Result<Subscription, Rule> {
    match topic {
        Topic::Down { cabinet, .. } => match who.role {
            Role::Cabinet if cabinet.as_str() == who.name.as_str() => Ok(Subscription::Down),
            Role::Cabinet => Err(Rule::ForeignTopic),
            Role::Server
            | Role::Integration
            | Role::Operator
            | Role::Staff
            | Role::Support
            | Role::Technician
            | Role::Auditor => Err(Rule::NotForRole),
        },
        Topic::Stream { integration, stream, .. } => {
            own_integration(who, integration.as_str())?;
            if suffix { Err(Rule::SuffixStream) } else { Ok(Subscription::Stream(stream)) }
        }
        Topic::Response { who: owner } => {
            own_conversation(who, &owner)?;
            Ok(Subscription::Response)
        }
        Topic::Up { .. }
        | Topic::OrderPut { .. }
        | Topic::OrderCancel { .. }
        | Topic::OrderChange { .. }
        | Topic::Request { .. }
        | Topic::Live { .. } => Err(Rule::NotForRole),
    }
}

fn own_integration(who: &Identity, integration: &str) -> Result<(), Rule> {
    if who.role != Role::Integration {
        return Err(Rule::NotForRole);
    }
    if who.name.as_str() == integration { Ok(()) } else { Err(Rule::ForeignTopic) }
}

fn own_conversation(who: &Identity, owner: &Identity) -> Result<(), Rule> {
    if who.role != Role::Integration && !who.role.is_person() {
        return Err(Rule::NotForRole);
    }
    if who == owner { Ok(()) } else { Err(Rule::ForeignTopic) }
}

/// `kind`: the only one that is asked for.
fn sees_live(role: Role, kind: Option<Live>) -> bool {
    match role {
        Role::Operator | Role::Support | Role::Technician | Role::Auditor => true,
        Role::Integration => kind == Some(Live::Availability),
        Role::Server | Role::Cabinet | Role::Staff => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(text: &str) -> Identity {
        text.parse().unwrap()
    }

    /// Every topic of the tree that an outsider could try, in the own tenant and in a foreign one.
    fn topics() -> Vec<String> {
        let mut topics = Vec::new();
        for tenant in ["acme", "umbra"] {
            for up in Up::ALL {
                topics.push(format!("v1/{tenant}/cabinet/c1/up/{}", up.as_str()));
            }
            topics.push(format!("v1/{tenant}/cabinet/c1/down"));
            for leaf in ["orders/put", "orders/cancel", "status", "notifications"] {
                topics.push(format!("v1/{tenant}/integration/c1/{leaf}"));
            }
            for change in OrderChange::ALL {
                topics.push(format!("v1/{tenant}/integration/c1/orders/{}", change.as_str()));
            }
            for role in ["integration", "operator", "staff", "support", "technician", "auditor"] {
                for leaf in ["request", "response"] {
                    topics.push(format!("v1/{tenant}/{role}/c1/{leaf}"));
                }
            }
            for live in ["presence", "event", "telemetry", "availability"] {
                topics.push(format!("v1/{tenant}/live/c1/{live}"));
            }
        }
        topics
    }

    fn publishable(who: &str) -> Vec<String> {
        let who = identity(who);
        let allowed = |topic: &String| {
            let topic = Topic::parse(topic).unwrap();
            publish(&who, &topic, true).is_ok() || publish(&who, &topic, false).is_ok()
        };
        topics().into_iter().filter(allowed).collect()
    }

    fn subscribable(who: &str, suffix: bool) -> Vec<String> {
        let who = identity(who);
        let allowed = |filter: &String| subscribe(&who, suffix, Filter::parse(filter).unwrap()).is_ok();
        topics().into_iter().filter(allowed).collect()
    }

    const LIVE: [&str; 4] = [
        "v1/acme/live/c1/presence",
        "v1/acme/live/c1/event",
        "v1/acme/live/c1/telemetry",
        "v1/acme/live/c1/availability",
    ];

    #[test]
    fn of_the_whole_tree_each_role_publishes_only_its_own() {
        assert_eq!(
            publishable("cabinet:acme:c1"),
            [
                "v1/acme/cabinet/c1/up/hello",
                "v1/acme/cabinet/c1/up/event",
                "v1/acme/cabinet/c1/up/telemetry",
                "v1/acme/cabinet/c1/up/challenge"
            ]
        );
        assert_eq!(
            publishable("integration:acme:c1"),
            [
                "v1/acme/integration/c1/orders/put",
                "v1/acme/integration/c1/orders/cancel",
                "v1/acme/integration/c1/orders/extend",
                "v1/acme/integration/c1/orders/resend",
                "v1/acme/integration/c1/orders/reissue",
                "v1/acme/integration/c1/orders/move",
                "v1/acme/integration/c1/orders/bundle",
                "v1/acme/integration/c1/orders/unbundle",
                "v1/acme/integration/c1/orders/change",
                "v1/acme/integration/c1/orders/quarantine",
                "v1/acme/integration/c1/orders/open",
                "v1/acme/integration/c1/request"
            ]
        );
        for role in ["operator", "staff", "support", "technician", "auditor"] {
            assert_eq!(publishable(&format!("{role}:acme:c1")), [format!("v1/acme/{role}/c1/request")]);
        }
        assert!(publishable("server:acme:c1").is_empty());
    }

    #[test]
    fn of_the_whole_tree_each_role_subscribes_only_to_its_own_and_some_to_live() {
        assert_eq!(subscribable("cabinet:acme:c1", false), ["v1/acme/cabinet/c1/down"]);
        assert_eq!(
            subscribable("integration:acme:c1", false),
            [
                "v1/acme/integration/c1/status",
                "v1/acme/integration/c1/notifications",
                "v1/acme/integration/c1/response",
                "v1/acme/live/c1/availability"
            ]
        );
        assert_eq!(
            subscribable("integration:acme:c1", true),
            ["v1/acme/integration/c1/response", "v1/acme/live/c1/availability"]
        );
        for all in ["v1/acme/live/#", "v1/acme/live/+/#", "v1/acme/live/c1/+"] {
            let filter = Filter::parse(all).unwrap();
            assert_eq!(subscribe(&identity("integration:acme:c1"), false, filter), Err(Rule::NotForRole), "{all}");
        }
        let each = Filter::parse("v1/acme/live/+/availability").unwrap();
        assert!(subscribe(&identity("integration:acme:c1"), false, each).is_ok());
        assert_eq!(subscribable("staff:acme:c1", false), ["v1/acme/staff/c1/response"]);
        for role in ["operator", "support", "technician", "auditor"] {
            let mut expected = vec![format!("v1/acme/{role}/c1/response")];
            expected.extend(LIVE.map(str::to_owned));
            assert_eq!(subscribable(&format!("{role}:acme:c1"), false), expected);
        }
        assert!(subscribable("server:acme:c1", false).is_empty());
    }

    #[test]
    fn the_same_name_of_another_cabinet_or_integration_is_foreign() {
        let topic = Topic::parse("v1/acme/cabinet/c1/up/event").unwrap();
        assert_eq!(publish(&identity("cabinet:acme:c2"), &topic, true), Err(Rule::ForeignTopic));
        assert_eq!(publish(&identity("cabinet:umbra:c1"), &topic, true), Err(Rule::ForeignTenant));
        let topic = Topic::parse("v1/acme/integration/shop/orders/put").unwrap();
        assert_eq!(publish(&identity("integration:acme:other"), &topic, true), Err(Rule::ForeignTopic));
        let filter = Filter::parse("v1/acme/cabinet/c1/down").unwrap();
        assert_eq!(subscribe(&identity("cabinet:acme:c2"), false, filter), Err(Rule::ForeignTopic));
        let filter = Filter::parse("v1/umbra/live/#").unwrap();
        assert_eq!(subscribe(&identity("operator:acme:eve"), false, filter), Err(Rule::ForeignTenant));
    }

    #[test]
    fn telemetry_is_qos_0_and_all_else_qos_1() {
        let who = identity("cabinet:acme:c1");
        for up in Up::ALL {
            let topic = Topic::parse(&format!("v1/acme/cabinet/c1/up/{}", up.as_str())).unwrap();
            let lossy = up == Up::Telemetry;
            assert_eq!(publish(&who, &topic, !lossy), Ok(Publication::Up(up)));
            assert_eq!(publish(&who, &topic, lossy), Err(Rule::WrongQos));
        }
        let topic = Topic::parse("v1/acme/operator/eve/request").unwrap();
        assert_eq!(publish(&identity("operator:acme:eve"), &topic, false), Err(Rule::WrongQos));
    }
}
