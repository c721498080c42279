//! The integration plane: durable rows with a cursor, requests with their answers, live messages.

use bytes::Bytes;
use fleet_broker::gate::{ConnId, Count, GateInput, Rule, SendError};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason, SubscribeReasonCode};
use schemas::api::ContentType;
use schemas::topics::{Live, Stream};

use crate::client::{
    Client, connect_with, puback, puback_with, publish_with, subscribe, subscribe_as, text, unsubscribe,
};
use crate::fixture::{EVE, SHOP, World, cabinet, tenant};

const STATUS: &str = "v1/acme/integration/shop/status";
const RESPONSE: &str = "v1/acme/operator/eve/response";

async fn opened(world: &mut World) -> (ConnId, Stream, u16) {
    match world.input().await {
        GateInput::StreamOpened { conn, stream, window, .. } => (conn, stream, window),
        other => panic!("expected an opened stream, got {other:?}"),
    }
}

async fn row_acked(world: &mut World) -> u64 {
    match world.input().await {
        GateInput::StreamAcked { n, .. } => n,
        other => panic!("expected an acknowledged row, got {other:?}"),
    }
}

async fn closed(world: &mut World) -> Stream {
    match world.input().await {
        GateInput::StreamClosed { stream, .. } => stream,
        other => panic!("expected a closed stream, got {other:?}"),
    }
}

fn row(world: &World, conn: ConnId, n: u64) -> Result<(), SendError> {
    world.handle.row(conn, Stream::Status, n, Bytes::from(format!("row {n}")), "application/json")
}

#[tokio::test]
async fn rows_carry_their_number_and_move_the_cursor_when_they_are_acknowledged() {
    let mut world = World::new().await;
    let mut shop = Client::tls(&world, SHOP).await;
    // Receive Maximum 2
    shop.send(&connect_with(5, 2, 30, &[33, 0, 2], &text(SHOP))).await;
    shop.connack().await;
    shop.subscribe(&[STATUS]).await;
    let (conn, stream, window) = opened(&mut world).await;
    assert_eq!((stream, window), (Stream::Status, 2));
    row(&world, conn, 100).unwrap();
    row(&world, conn, 101).unwrap();
    assert_eq!(row(&world, conn, 102), Err(SendError::QueueFull));
    let first = shop.publish_from_gate().await;
    assert_eq!((&first.topic[..], first.qos), (STATUS.as_bytes(), QoS::AtLeastOnce));
    let properties = first.properties.unwrap();
    assert_eq!(properties.user_properties, [("n".to_owned(), "100".to_owned())]);
    assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    shop.publish_from_gate().await;
    shop.send(&puback(first.pkid)).await;
    assert_eq!(row_acked(&mut world).await, 100);
    row(&world, conn, 102).unwrap();
    assert_eq!(&shop.publish_from_gate().await.payload[..], b"row 102");
    drop(shop);
    assert_eq!(closed(&mut world).await, Stream::Status);
    assert_eq!(row(&world, conn, 103), Err(SendError::NotConnected));
}

#[tokio::test]
async fn a_consumer_chooses_the_form_of_its_rows_when_it_subscribes_and_no_open_stream_changes_it() {
    let mut world = World::new().await;
    let mut shop = Client::subscribed(&world, SHOP, &["v1/acme/integration/shop/response"]).await;
    let mut wish = async |pkid, content_type, filters: &[&str]| {
        shop.send(&subscribe_as(pkid, content_type, filters)).await;
        shop.suback().await.return_codes
    };
    let taken = SubscribeReasonCode::Success(QoS::AtLeastOnce);
    let refused = SubscribeReasonCode::ImplementationSpecific;
    assert_eq!(wish(1, "text/xml", &[STATUS]).await, [refused]);
    assert_eq!(wish(2, "application/cbor", &[STATUS]).await, [taken]);
    assert_eq!(wish(3, "application/json", &[STATUS]).await, [refused], "rows of it are on their way");
    assert_eq!(wish(4, "application/cbor; x=1", &[STATUS]).await, [taken], "the same again");
    let opened = world.input().await;
    assert!(
        matches!(opened, GateInput::StreamOpened { content: ContentType::Cbor, stream: Stream::Status, .. }),
        "{opened:?}"
    );
    assert_eq!(world.broken(Rule::ContentType), 2);
    shop.send(&unsubscribe(5, &[STATUS])).await;
    shop.next().await;
    assert_eq!(closed(&mut world).await, Stream::Status);
    shop.subscribe(&[STATUS]).await;
    let opened = world.input().await;
    assert!(matches!(opened, GateInput::StreamOpened { content: ContentType::Json, .. }), "{opened:?}");
}

#[tokio::test]
async fn a_row_that_its_consumer_refuses_is_not_taken_for_delivered() {
    let mut world = World::new().await;
    let mut shop = Client::subscribed(&world, SHOP, &[STATUS]).await;
    let (conn, ..) = opened(&mut world).await;
    row(&world, conn, 1).unwrap();
    let publish = shop.publish_from_gate().await;
    shop.send(&puback_with(publish.pkid, 0x80)).await;
    shop.expect_disconnect(0x83).await;
    assert_eq!(closed(&mut world).await, Stream::Status);
    assert_eq!(world.broken(Rule::RowRefused), 1);
}

#[tokio::test]
async fn a_stream_closes_with_unsubscribe_and_opens_once_per_subscription() {
    let mut world = World::new().await;
    let mut shop = Client::subscribed(&world, SHOP, &[STATUS]).await;
    let (conn, ..) = opened(&mut world).await;
    shop.subscribe(&[STATUS]).await;
    assert!(world.is_quiet(), "a repeated SUBSCRIBE opened the stream again");
    row(&world, conn, 1).unwrap();
    let publish = shop.publish_from_gate().await;
    shop.send(&unsubscribe(2, &[STATUS])).await;
    assert!(matches!(shop.next().await, Some(Packet::UnsubAck(_))));
    assert_eq!(closed(&mut world).await, Stream::Status);
    assert_eq!(row(&world, conn, 2), Err(SendError::NotConnected));
    // Its PUBACK comes late: no offence, and no news either.
    shop.send(&puback(publish.pkid)).await;
    shop.ping().await;
    assert!(world.is_quiet());
}

#[tokio::test]
async fn only_the_session_without_suffix_consumes_streams() {
    let mut world = World::new().await;
    let mut second = Client::connect_as(&world, SHOP, &format!("{SHOP}~two")).await;
    assert_eq!(second.subscribe(&[STATUS]).await, [SubscribeReasonCode::NotAuthorized]);
    assert_eq!(world.broken(Rule::SuffixStream), 1);
    let granted = second.subscribe(&["v1/acme/integration/shop/response"]).await;
    assert_eq!(granted, [SubscribeReasonCode::Success(QoS::AtLeastOnce)]);
    assert!(world.is_quiet());
}

#[tokio::test]
async fn a_request_is_answered_on_the_session_that_asked_with_its_correlation() {
    let mut world = World::new().await;
    let mut other = Client::connect_as(&world, EVE, &format!("{EVE}~phone")).await;
    other.subscribe(&[RESPONSE]).await;
    let mut eve = Client::connect_as(&world, EVE, &format!("{EVE}~tui")).await;
    let request = |pkid, response: &str| {
        let properties = [&[9][..], &text("q1"), &[8], &text(response)].concat();
        publish_with(0x32, pkid, b"v1/acme/operator/eve/request", &properties, b"{}")
    };
    eve.send(&request(1, RESPONSE)).await;
    let (conn, correlation) = match world.input().await {
        GateInput::Request { conn, who, suffix, correlation, ack, .. } => {
            assert_eq!((who.to_string().as_str(), suffix.unwrap().as_str()), (EVE, "tui"));
            ack.done();
            (conn, correlation)
        }
        other => panic!("{other:?}"),
    };
    eve.expect_puback(1, PubAckReason::Success).await;
    let respond = || world.handle.respond(conn, Bytes::from_static(b"done"), correlation.clone(), "application/json");
    assert_eq!(respond(), Err(SendError::NotConnected), "there is no subscription yet");
    eve.subscribe(&[RESPONSE]).await;
    respond().unwrap();
    let response = eve.publish_from_gate().await;
    assert_eq!((&response.topic[..], &response.payload[..]), (RESPONSE.as_bytes(), b"done".as_slice()));
    assert_eq!(response.properties.unwrap().correlation_data.as_deref(), Some(b"q1".as_slice()));
    eve.send(&puback(response.pkid)).await;
    // An answer cannot be led elsewhere.
    eve.send(&request(2, "v1/acme/operator/mallory/response")).await;
    eve.expect_puback(2, PubAckReason::NotAuthorized).await;
    assert_eq!(world.broken(Rule::ForeignResponseTopic), 1);
    other.ping().await;
}

#[tokio::test]
async fn live_messages_reach_those_whose_filter_matches_within_the_tenant() {
    let mut world = World::new().await;
    let mut all = Client::connect(&world, EVE).await;
    assert_eq!(all.subscribe(&["v1/acme/live/#"]).await, [SubscribeReasonCode::Success(QoS::AtMostOnce)]);
    let mut events = Client::subscribed(&world, "auditor:acme:ann", &["v1/acme/live/+/event"]).await;
    let mut stranger = Client::subscribed(&world, "operator:umbra:eve", &["v1/umbra/live/#"]).await;
    world.handle.live(&tenant(), &cabinet(), Live::Telemetry, Bytes::from_static(b"21 C"));
    world.handle.live(&tenant(), &cabinet(), Live::Event, Bytes::from_static(b"opened"));
    let first = all.publish_from_gate().await;
    assert_eq!((&first.topic[..], first.qos), (b"v1/acme/live/c1/telemetry".as_slice(), QoS::AtMostOnce));
    assert_eq!(&all.publish_from_gate().await.payload[..], b"opened");
    assert_eq!(&events.publish_from_gate().await.payload[..], b"opened");
    stranger.ping().await;
    all.send(&unsubscribe(3, &["v1/acme/live/#", "v1/acme/live/+/event"])).await;
    match all.next().await {
        Some(Packet::UnsubAck(unsuback)) => {
            assert_eq!(unsuback.reasons.iter().map(|r| *r as u8).collect::<Vec<_>>(), [0, 1])
        }
        other => panic!("{other:?}"),
    }
    world.handle.live(&tenant(), &cabinet(), Live::Event, Bytes::from_static(b"closed"));
    assert_eq!(&events.publish_from_gate().await.payload[..], b"closed");
    all.ping().await;
    assert!(world.is_quiet());
}

#[tokio::test]
async fn a_slow_reader_loses_live_messages_and_nobody_waits_for_it() {
    let world = World::with(|settings| settings.live_queue_max = 8).await;
    let slow = Client::subscribed(&world, EVE, &["v1/acme/live/#"]).await;
    let mut quick = Client::subscribed(&world, "support:acme:sue", &["v1/acme/live/+/event"]).await;
    let payload = Bytes::from(vec![7; 64 * 1024]);
    // The quick one reads each; sooner or later the slow one's socket and queue are full.
    while world.count(Count::LiveDropped) == 0 {
        world.handle.live(&tenant(), &cabinet(), Live::Event, payload.clone());
        assert_eq!(quick.publish_from_gate().await.payload.len(), payload.len());
    }
    quick.ping().await;
    drop(slow);
}

#[tokio::test]
async fn filters_outside_the_own_rights_are_refused_one_by_one() {
    let mut world = World::with(|settings| settings.live_filters_max = 1).await;
    let mut eve = Client::connect(&world, EVE).await;
    let filters = [
        RESPONSE,
        "v1/acme/operator/mallory/response",
        "v1/acme/cabinet/c1/down",
        "v1/umbra/live/#",
        "#",
        "v1/+/live/#",
        "v1/acme/cabinet/+/up/event",
        "$SYS/broker/uptime",
        "no/topic/of/ours",
        "v1/acme/live/c1/event",
        "v1/acme/live/c2/event",
    ];
    eve.send(&subscribe(1, &filters)).await;
    let suback = eve.suback().await;
    let wildcard = SubscribeReasonCode::WildcardSubscriptionsNotSupported;
    assert_eq!(
        suback.return_codes,
        [
            SubscribeReasonCode::Success(QoS::AtLeastOnce),
            SubscribeReasonCode::NotAuthorized,
            SubscribeReasonCode::NotAuthorized,
            SubscribeReasonCode::NotAuthorized,
            wildcard,
            wildcard,
            wildcard,
            SubscribeReasonCode::TopicFilterInvalid,
            SubscribeReasonCode::TopicFilterInvalid,
            SubscribeReasonCode::Success(QoS::AtMostOnce),
            SubscribeReasonCode::QuotaExceeded,
        ]
    );
    assert_eq!(suback.properties.unwrap().reason_string.unwrap(), "foreign-topic");
    for staff in ["staff:acme:sam", SHOP] {
        let mut client = Client::connect(&world, staff).await;
        assert_eq!(client.subscribe(&["v1/acme/live/#"]).await, [SubscribeReasonCode::NotAuthorized]);
    }
    // What must not be lost is not sent with QoS 0.
    let mut shop = Client::connect(&world, SHOP).await;
    let mut at_most_once = subscribe(1, &[STATUS]);
    *at_most_once.last_mut().unwrap() = 0;
    shop.send(&at_most_once).await;
    assert_eq!(shop.suback().await.return_codes, [SubscribeReasonCode::ImplementationSpecific]);
    assert!(world.is_quiet());
}
