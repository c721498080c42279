//! PUBACK means on disk, and comes in the order of PUBLISH.

use fleet_broker::gate::{AckRefusal, Count, GateInput, Gone, Rule};
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use schemas::topics::{OrderChange, Up};

use crate::client::{Client, packet, publish, publish0};
use crate::fixture::{CABINET, SHOP, World};

const EVENT: &str = "v1/acme/cabinet/c1/up/event";
const TELEMETRY: &str = "v1/acme/cabinet/c1/up/telemetry";

#[tokio::test]
async fn an_event_is_acknowledged_only_after_the_driver_has_stored_it() {
    let mut world = World::new().await;
    let mut cabinet = Client::connect(&world, CABINET).await;
    world.cabinet_connected().await;
    cabinet.send(&publish(7, EVENT, b"opened")).await;
    let (payload, ack) = world.up().await;
    assert_eq!(payload, b"opened".as_slice());
    // The answer to a ping overtakes the PUBACK that is still owed.
    cabinet.ping().await;
    std::thread::spawn(move || ack.done()).join().unwrap();
    cabinet.expect_puback(7, PubAckReason::Success).await;
}

#[tokio::test]
async fn pubacks_leave_in_publish_order_whatever_the_order_of_commits() {
    let mut world = World::new().await;
    let mut cabinet = Client::connect(&world, CABINET).await;
    world.cabinet_connected().await;
    let mut acks = Vec::new();
    for pkid in [3, 1, 2] {
        cabinet.send(&publish(pkid, EVENT, b"x")).await;
        acks.push(world.up().await.1);
    }
    let (first, second, third) = {
        let mut acks = acks.into_iter();
        (acks.next().unwrap(), acks.next().unwrap(), acks.next().unwrap())
    };
    third.done();
    second.refuse(AckRefusal::QuotaExceeded, "too many");
    cabinet.ping().await;
    first.done();
    cabinet.expect_puback(3, PubAckReason::Success).await;
    let refused = cabinet.puback().await;
    assert_eq!((refused.pkid, refused.reason), (1, PubAckReason::QuotaExceeded));
    assert_eq!(refused.properties.unwrap().reason_string.unwrap(), "too many");
    cabinet.expect_puback(2, PubAckReason::Success).await;
}

#[tokio::test]
async fn a_refusal_by_the_gate_waits_for_its_turn_among_pubacks() {
    let mut world = World::new().await;
    let mut cabinet = Client::connect(&world, CABINET).await;
    world.cabinet_connected().await;
    cabinet.send(&publish(1, EVENT, b"x")).await;
    let (_, ack) = world.up().await;
    cabinet.send(&publish(2, "v1/acme/cabinet/c2/up/event", b"x")).await;
    cabinet.ping().await;
    ack.done();
    cabinet.expect_puback(1, PubAckReason::Success).await;
    cabinet.expect_puback(2, PubAckReason::NotAuthorized).await;
    assert_eq!(world.broken(Rule::ForeignTopic), 1);
}

#[tokio::test]
async fn an_ack_that_the_driver_drops_closes_the_connection_without_puback() {
    let mut world = World::new().await;
    let mut cabinet = Client::connect(&world, CABINET).await;
    let conn = world.cabinet_connected().await;
    cabinet.send(&publish(1, EVENT, b"x")).await;
    drop(world.up().await);
    cabinet.expect_disconnect(0x89).await;
    assert_eq!(world.cabinet_gone().await, (conn, Gone::NotStored));
    assert_eq!(world.count(Count::NotStored), 1);
}

#[tokio::test]
async fn an_ack_that_outlives_its_connection_does_no_harm() {
    let mut world = World::new().await;
    let mut cabinet = Client::connect(&world, CABINET).await;
    world.cabinet_connected().await;
    cabinet.send(&publish(1, EVENT, b"x")).await;
    let (_, ack) = world.up().await;
    drop(cabinet);
    assert_eq!(world.cabinet_gone().await.1, Gone::PeerClosed);
    ack.done();
    Client::connect(&world, CABINET).await;
}

#[tokio::test]
async fn telemetry_comes_without_an_ack_and_keeps_its_place_among_events() {
    let mut world = World::new().await;
    let mut cabinet = Client::connect(&world, CABINET).await;
    world.cabinet_connected().await;
    let mut bytes = publish(1, EVENT, b"first");
    bytes.extend(publish0(TELEMETRY, b"second"));
    cabinet.send(&bytes).await;
    let (first, ack) = world.up().await;
    assert_eq!(first, b"first".as_slice());
    match world.input().await {
        GateInput::CabinetUp { up: Up::Telemetry, payload, ack: None, .. } => assert_eq!(payload, b"second".as_slice()),
        other => panic!("{other:?}"),
    }
    ack.done();
    cabinet.expect_puback(1, PubAckReason::Success).await;
}

#[tokio::test]
async fn a_driver_that_is_behind_holds_the_socket_up_and_loses_nothing() {
    let mut world = World::with_queue(1, |settings| settings.receive_maximum = 64).await;
    let mut cabinet = Client::connect(&world, CABINET).await;
    let bytes: Vec<u8> = (1..=64).flat_map(|pkid: u16| publish(pkid, EVENT, &pkid.to_be_bytes())).collect();
    cabinet.send(&bytes).await;
    world.cabinet_connected().await;
    for pkid in 1..=64_u16 {
        let (payload, ack) = world.up().await;
        assert_eq!(payload, pkid.to_be_bytes().as_slice());
        ack.done();
    }
    for pkid in 1..=64 {
        cabinet.expect_puback(pkid, PubAckReason::Success).await;
    }
}

#[tokio::test]
async fn more_than_receive_maximum_and_a_packet_id_in_use_end_the_connection() {
    let mut world = World::with(|settings| settings.receive_maximum = 2).await;
    let mut cabinet = Client::connect(&world, CABINET).await;
    world.cabinet_connected().await;
    let bytes: Vec<u8> = (1..=3).flat_map(|pkid| publish(pkid, EVENT, b"x")).collect();
    cabinet.send(&bytes).await;
    let _owed = [world.up().await, world.up().await];
    cabinet.expect_disconnect(0x93).await;
    assert_eq!(world.cabinet_gone().await.1, Gone::Misbehaved(Rule::ReceiveMaximum));

    let mut cabinet = Client::connect(&world, CABINET).await;
    world.cabinet_connected().await;
    cabinet.send(&publish(1, EVENT, b"x")).await;
    let _owed = world.up().await;
    cabinet.send(&publish(1, EVENT, b"x")).await;
    cabinet.expect_disconnect(0x82).await;
    assert_eq!(world.cabinet_gone().await.1, Gone::Misbehaved(Rule::PacketIdInUse));
}

#[tokio::test]
async fn orders_and_requests_carry_what_the_driver_needs() {
    let mut world = World::new().await;
    let mut shop = Client::connect(&world, SHOP).await;
    let json = [&[3_u8][..], &crate::client::text("application/json")].concat();
    let put = "v1/acme/integration/shop/orders/put";
    shop.send(&crate::client::publish_with(0x32, 1, put.as_bytes(), &json, b"{}")).await;
    match world.input().await {
        GateInput::OrderPut { integration, payload, content_type, ack, .. } => {
            assert_eq!(integration.to_string(), SHOP);
            assert_eq!(payload, b"{}".as_slice());
            assert_eq!(content_type.as_deref(), Some("application/json"));
            ack.done();
        }
        other => panic!("{other:?}"),
    }
    shop.expect_puback(1, PubAckReason::Success).await;
    shop.send(&publish(2, "v1/acme/integration/shop/orders/cancel", b"{}")).await;
    match world.input().await {
        GateInput::OrderCancel { ack, .. } => ack.refuse(AckRefusal::PayloadInvalid, "no such key"),
        other => panic!("{other:?}"),
    }
    shop.expect_puback(2, PubAckReason::PayloadFormatInvalid).await;
    shop.send(&publish(3, "v1/acme/integration/shop/orders/reissue", b"{}")).await;
    match world.input().await {
        GateInput::OrderChange { integration, change: OrderChange::Reissue, ack, .. } => {
            assert_eq!(integration.to_string(), SHOP);
            ack.done();
        }
        other => panic!("{other:?}"),
    }
    shop.expect_puback(3, PubAckReason::Success).await;
}

#[tokio::test]
async fn reason_strings_are_left_out_for_a_client_that_does_not_want_them() {
    let mut world = World::new().await;
    let mut cabinet = Client::tls(&world, CABINET).await;
    // Request Problem Information = 0
    cabinet.send(&crate::client::connect_with(5, 0b10, 30, &[23, 0], &crate::client::text(CABINET))).await;
    cabinet.connack().await;
    world.cabinet_connected().await;
    cabinet.send(&publish(1, "v1/acme/cabinet/c2/up/event", b"x")).await;
    let refused = cabinet.puback().await;
    assert_eq!((refused.reason, refused.properties), (PubAckReason::NotAuthorized, None));
    cabinet.send(&packet(0xe0, &[0x04])).await;
    assert_eq!(world.cabinet_gone().await.1, Gone::Left);
}
