//! `asyncapi.yaml` says what the strict types of `schemas::api` do: topics, words, payloads, rights.

use std::collections::{BTreeMap, BTreeSet};

use schemas::api::{
    Availability, BodyFormat, BundleNamed, BundlePut, ClosedAs, LiveEvent, LivePresence, LiveTelemetry, MessageState,
    Notification, NotificationKind, OrderCancel, OrderExtend, OrderMove, OrderNamed, OrderOpen, OrderPut,
    OrderQuarantine, OrderState, OrderUpdate, RejectReason, Reply, Request, RequestErrorCode, Status,
    UndeliveredReason, UnlockRight,
};
use schemas::api::{JSON_MAX, parse};
use schemas::ids::{Identity, Role};
use schemas::messages::{
    Category, DepositKind, DoorState, KeyPurpose, Occupancy, Prompt, RefusalReason, Size, UnlockOutcome,
};
use schemas::topics::{Filter, Live, OrderChange, Stream, Topic};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const DOCUMENT: &str = include_str!("../../asyncapi.yaml");
const PROTOCOL: &str = include_str!("../../../PROTOCOL.md");

fn document() -> Value {
    yaml_serde::from_str(DOCUMENT).unwrap()
}

/// A message of the document and the type that reads it here.
struct Payload {
    message: &'static str,
    schema: &'static str,
    /// Whether the fleet reads it, so that document and parser must refuse the same.
    read_by_fleet: bool,
    /// Parses strictly and writes again what was understood.
    rewrite: fn(&Value) -> Result<Value, String>,
}

fn rewrite<T: Serialize + DeserializeOwned>(value: &Value) -> Result<Value, String> {
    let payload = serde_json::to_vec(value).unwrap();
    let read: T = parse(&payload).map_err(|error| error.to_string())?;
    Ok(serde_json::to_value(read).unwrap())
}

const PAYLOADS: [Payload; 18] = [
    Payload { message: "orderOpen", schema: "OrderOpen", read_by_fleet: true, rewrite: rewrite::<OrderOpen> },
    Payload { message: "orderPut", schema: "OrderPut", read_by_fleet: true, rewrite: rewrite::<OrderPut> },
    Payload { message: "orderCancel", schema: "OrderCancel", read_by_fleet: true, rewrite: rewrite::<OrderCancel> },
    Payload { message: "orderExtend", schema: "OrderExtend", read_by_fleet: true, rewrite: rewrite::<OrderExtend> },
    Payload { message: "orderUpdate", schema: "OrderUpdate", read_by_fleet: true, rewrite: rewrite::<OrderUpdate> },
    Payload {
        message: "orderQuarantine",
        schema: "OrderQuarantine",
        read_by_fleet: true,
        rewrite: rewrite::<OrderQuarantine>,
    },
    Payload { message: "orderNamed", schema: "OrderNamed", read_by_fleet: true, rewrite: rewrite::<OrderNamed> },
    Payload { message: "orderMove", schema: "OrderMove", read_by_fleet: true, rewrite: rewrite::<OrderMove> },
    Payload { message: "bundlePut", schema: "BundlePut", read_by_fleet: true, rewrite: rewrite::<BundlePut> },
    Payload { message: "bundleNamed", schema: "BundleNamed", read_by_fleet: true, rewrite: rewrite::<BundleNamed> },
    Payload { message: "request", schema: "Request", read_by_fleet: true, rewrite: rewrite::<Request> },
    Payload { message: "status", schema: "Status", read_by_fleet: false, rewrite: rewrite::<Status> },
    Payload { message: "notification", schema: "Notification", read_by_fleet: false, rewrite: rewrite::<Notification> },
    Payload { message: "reply", schema: "Reply", read_by_fleet: false, rewrite: rewrite::<Reply> },
    Payload { message: "livePresence", schema: "LivePresence", read_by_fleet: false, rewrite: rewrite::<LivePresence> },
    Payload { message: "liveEvent", schema: "LiveEvent", read_by_fleet: false, rewrite: rewrite::<LiveEvent> },
    Payload {
        message: "liveAvailability",
        schema: "Availability",
        read_by_fleet: false,
        rewrite: rewrite::<Availability>,
    },
    Payload {
        message: "liveTelemetry",
        schema: "LiveTelemetry",
        read_by_fleet: false,
        rewrite: rewrite::<LiveTelemetry>,
    },
];

impl Payload {
    fn examples(&self, document: &Value) -> Vec<(String, Value)> {
        let message = &document["components"]["messages"][self.message];
        let examples = message["examples"].as_array().unwrap();
        examples
            .iter()
            .map(|example| (format!("{} `{}`", self.message, example["name"]), example["payload"].clone()))
            .collect()
    }

    fn validator(&self, document: &Value) -> jsonschema::Validator {
        let pointer = format!("#/components/schemas/{}", self.schema);
        assert_eq!(document["components"]["messages"][self.message]["payload"]["$ref"], pointer.as_str());
        let schema = json!({ "$ref": pointer, "components": { "schemas": document["components"]["schemas"] } });
        jsonschema::options().with_draft(jsonschema::Draft::Draft7).build(&schema).unwrap()
    }
}

/// Whether `whole` has everything that `part` has; more is what defaults add.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, inner)| whole.get(key).is_some_and(|outer| contains(outer, inner)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(outer, inner)| contains(outer, inner))
        }
        _ => whole == part,
    }
}

#[test]
fn the_types_table_names_every_message_of_the_document() {
    let document = document();
    let named: BTreeSet<_> = document["components"]["messages"].as_object().unwrap().keys().cloned().collect();
    let known: BTreeSet<_> = PAYLOADS.iter().map(|payload| payload.message.to_owned()).collect();
    assert_eq!(named, known);
}

#[test]
fn every_example_goes_through_the_strict_types_and_its_schema() {
    let document = document();
    for payload in &PAYLOADS {
        let validator = payload.validator(&document);
        let examples = payload.examples(&document);
        assert!(!examples.is_empty(), "{} has no example", payload.message);
        for (name, example) in examples {
            let rewritten = (payload.rewrite)(&example).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(contains(&rewritten, &example), "{name} lost something: {rewritten}");
            assert_eq!((payload.rewrite)(&rewritten).as_ref(), Ok(&rewritten), "{name} changes when read again");
            for (what, value) in [("as written", &example), ("as the fleet writes it", &rewritten)] {
                let verdict = validator.validate(value).map_err(|error| error.to_string());
                assert_eq!(verdict, Ok(()), "{name} {what}");
            }
        }
    }
}

/// Every way to spoil one place: a field missing, an unknown one, another type, a word that is none, a number too large.
fn spoiled(value: &Value) -> Vec<(String, Value)> {
    let replacements =
        [Value::Null, json!("A B"), json!(-1), json!(70_000_000_000_u64), json!(0), json!([]), json!({}), json!(true)];
    let mut all: Vec<(String, Value)> = replacements
        .into_iter()
        .filter(|other| other != value)
        .map(|other| (format!(" replaced by {other}"), other))
        .collect();
    if let Value::Object(fields) = value {
        for (key, inner) in fields {
            let mut without = fields.clone();
            without.remove(key);
            all.push((format!(".{key} missing"), without.into()));
            for (what, inner) in spoiled(inner) {
                let mut changed = fields.clone();
                changed.insert(key.clone(), inner);
                all.push((format!(".{key}{what}"), changed.into()));
            }
        }
        let mut more = fields.clone();
        more.insert(UNKNOWN_FIELD.into(), json!(1));
        all.push((format!(".{UNKNOWN_FIELD}"), more.into()));
    }
    if let Value::Array(elements) = value {
        for (at, inner) in elements.iter().enumerate() {
            for (what, inner) in spoiled(inner) {
                let mut changed = elements.clone();
                changed[at] = inner;
                all.push((format!("[{at}]{what}"), changed.into()));
            }
        }
    }
    all
}

const UNKNOWN_FIELD: &str = "newer";

#[test]
fn document_and_types_refuse_the_same_payloads() {
    let document = document();
    let (mut taken, mut refused) = (0, 0);
    let mut differences = Vec::new();
    for payload in &PAYLOADS {
        let validator = payload.validator(&document);
        for (name, example) in payload.examples(&document) {
            for (what, value) in spoiled(&example) {
                let (document, types) = (validator.is_valid(&value), (payload.rewrite)(&value).is_ok());
                // What the fleet sends may grow, and the document may promise more of it than a reader checks.
                let fine = if payload.read_by_fleet { document == types } else { !document || types };
                if !fine {
                    differences.push(format!("{name}{what}: document {document}, types {types}"));
                }
                if document { taken += 1 } else { refused += 1 }
            }
        }
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    assert!(taken > 50 && refused > 1_000, "{taken} taken, {refused} refused");
}

fn words<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

#[test]
fn every_list_of_words_is_that_of_the_code() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let expected = BTreeMap::from([
        ("Size", words(Size::ALL)),
        ("Category", words(Category::ALL)),
        ("DepositKind", words(DepositKind::ALL)),
        ("Prompt", words(Prompt::ALL)),
        ("Role", words(&Role::ALL)),
        ("OrderState", words(OrderState::ALL)),
        ("RejectReason", words(RejectReason::ALL)),
        ("ClosedAs", words(ClosedAs::ALL)),
        ("NotificationKind", words(NotificationKind::ALL)),
        ("DoorState", words(DoorState::ALL)),
        ("Occupancy", words(Occupancy::ALL)),
        ("UnlockOutcome", words(UnlockOutcome::ALL)),
        ("RefusalReason", words(RefusalReason::ALL)),
        ("UnlockRight", words(UnlockRight::ALL)),
        ("Stream", words(Stream::ALL)),
        ("RequestErrorCode", words(RequestErrorCode::ALL)),
        ("KeyPurpose", words(KeyPurpose::ALL)),
        ("BodyFormat", words(BodyFormat::ALL)),
        ("MessageState", words(MessageState::ALL)),
        ("UndeliveredReason", words(UndeliveredReason::ALL)),
    ]);
    let listed: BTreeMap<&str, Vec<String>> = schemas
        .iter()
        .filter_map(|(name, schema)| {
            let words = schema["enum"].as_array()?.iter().map(|word| word.as_str().unwrap().to_owned());
            Some((name.as_str(), words.collect()))
        })
        .collect();
    assert_eq!(listed, expected);
    let meanings: BTreeSet<_> = schemas["RejectReason"]["x-meaning"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(meanings, words(RejectReason::ALL).into_iter().collect(), "a reason without a meaning");
}

/// The variants that serde lists when it is given one that does not exist.
fn variants<T: DeserializeOwned + std::fmt::Debug>(unknown: &Value) -> BTreeSet<String> {
    let error = serde_json::from_value::<T>(unknown.clone()).unwrap_err().to_string();
    let (_, expected) = error.split_once("expected one of").unwrap_or_else(|| panic!("{error}"));
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_operation_and_every_reply_has_an_example() {
    let document = document();
    let shown = |message: &str| {
        let payload = PAYLOADS.iter().find(|payload| payload.message == message).unwrap();
        payload.examples(&document).into_iter().map(|(_, example)| example).collect::<Vec<_>>()
    };
    let operations = variants::<Request>(&json!({ "op": "?" }));
    let examples: BTreeSet<_> =
        shown("request").iter().map(|example| example["op"].as_str().unwrap().to_owned()).collect();
    assert_eq!(examples, operations);
    let replies: BTreeSet<_> = shown("reply")
        .iter()
        .map(|example| match example.as_object() {
            Some(fields) => fields.keys().next().unwrap().clone(),
            None => example.as_str().unwrap().to_owned(),
        })
        .collect();
    assert_eq!(replies, variants::<Reply>(&json!({ "?": 1 })));
}

/// The topics of the integration plane, as the code writes them, by the name of their channel.
fn topics() -> BTreeMap<String, Topic> {
    let tenant = || "acme".parse().unwrap();
    let integration = || "shop".parse().unwrap();
    let who = || Identity::new(Role::Operator, tenant(), "eve".parse().unwrap());
    let live = |live| Topic::Live { tenant: tenant(), cabinet: "berlin-01".parse().unwrap(), live };
    let change = |change| Topic::OrderChange { tenant: tenant(), integration: integration(), change };
    let stream = |stream| Topic::Stream { tenant: tenant(), integration: integration(), stream };
    BTreeMap::from([
        ("orderPut".into(), Topic::OrderPut { tenant: tenant(), integration: integration() }),
        ("orderCancel".into(), Topic::OrderCancel { tenant: tenant(), integration: integration() }),
        ("orderExtend".into(), change(OrderChange::Extend)),
        ("orderResend".into(), change(OrderChange::Resend)),
        ("orderReissue".into(), change(OrderChange::Reissue)),
        ("orderMove".into(), change(OrderChange::Move)),
        ("orderBundle".into(), change(OrderChange::Bundle)),
        ("orderUnbundle".into(), change(OrderChange::Unbundle)),
        ("orderChange".into(), change(OrderChange::Content)),
        ("orderQuarantine".into(), change(OrderChange::Quarantine)),
        ("orderOpen".into(), change(OrderChange::Open)),
        ("status".into(), stream(Stream::Status)),
        ("notifications".into(), stream(Stream::Notifications)),
        ("request".into(), Topic::Request { who: who() }),
        ("response".into(), Topic::Response { who: who() }),
        ("livePresence".into(), live(Live::Presence)),
        ("liveEvent".into(), live(Live::Event)),
        ("liveTelemetry".into(), live(Live::Telemetry)),
        ("liveAvailability".into(), live(Live::Availability)),
    ])
}

#[test]
fn every_address_is_a_topic_of_the_tree_and_every_topic_has_a_channel() {
    let document = document();
    let parameters = document["components"]["parameters"].as_object().unwrap();
    let mut addressed = BTreeMap::new();
    for (channel, body) in document["channels"].as_object().unwrap() {
        let mut address = body["address"].as_str().unwrap().to_owned();
        for name in body["parameters"].as_object().unwrap().keys() {
            assert_eq!(body["parameters"][name]["$ref"], format!("#/components/parameters/{name}"));
            let example = parameters[name]["examples"][0].as_str().unwrap();
            address = address.replace(&format!("{{{name}}}"), example);
        }
        let topic = Topic::parse(&address).unwrap_or_else(|error| panic!("{channel}: {address}: {error}"));
        assert!(Filter::parse(&address).is_ok(), "{address} cannot be subscribed");
        assert_eq!(topic.to_string(), address);
        addressed.insert(channel.clone(), topic);
    }
    assert_eq!(addressed, topics());
}

#[test]
fn every_operation_has_a_known_channel_quality_of_service_and_roles() {
    let document = document();
    let mut used = BTreeSet::new();
    for (name, operation) in document["operations"].as_object().unwrap() {
        let channel = operation["channel"]["$ref"].as_str().unwrap().strip_prefix("#/channels/").unwrap();
        let qos = if channel.starts_with("live") { 0 } else { 1 };
        assert_eq!(operation["bindings"]["mqtt"]["qos"], qos, "{name}");
        assert_eq!(operation["bindings"]["mqtt"]["retain"], false, "{name}");
        for role in operation["x-roles"].as_array().unwrap() {
            let role: Role = role.as_str().unwrap().parse().unwrap();
            assert!(role == Role::Integration || role.is_person(), "{name}: {role}");
        }
        used.insert(channel.to_owned());
        if let Some(reply) = operation["reply"]["channel"]["$ref"].as_str() {
            used.insert(reply.strip_prefix("#/channels/").unwrap().to_owned());
        }
    }
    assert_eq!(used, topics().into_keys().collect());
    assert!(DOCUMENT.contains("at most 16,384 bytes") && JSON_MAX == 16_384);
}

/// The table "who may ask what" of PROTOCOL.md: operation, role, `all` or `own`.
fn rights_in_prose() -> BTreeSet<(String, String, String)> {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let mut lines = PROTOCOL.lines().skip_while(|line| !line.starts_with("| op |"));
    let roles = cells(lines.next().unwrap());
    let mut rights = BTreeSet::new();
    for row in lines.skip(1).take_while(|line| line.starts_with('|')).map(cells) {
        for op in row[0].split(", ").map(|op| op.trim_matches('`')) {
            for (role, right) in roles.iter().zip(&row).skip(1).filter(|(_, right)| !right.is_empty()) {
                let right = if right == "own" { "own" } else { "all" };
                rights.insert((op.to_owned(), role.clone(), right.to_owned()));
            }
        }
    }
    rights
}

#[test]
fn rights_are_those_of_the_protocol() {
    let document = document();
    let mut rights = BTreeSet::new();
    for (op, roles) in document["operations"]["answerRequest"]["x-rights"].as_object().unwrap() {
        for (role, right) in roles.as_object().unwrap() {
            rights.insert((op.clone(), role.clone(), right.as_str().unwrap().to_owned()));
        }
    }
    assert_eq!(rights, rights_in_prose());
    let operations: BTreeSet<_> = rights.into_iter().map(|(op, _, _)| op).collect();
    assert_eq!(operations, variants::<Request>(&json!({ "op": "?" })));
}
