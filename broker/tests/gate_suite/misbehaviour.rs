//! Clients that are in and do what they may not: each is answered as MQTT 5 says, and nobody else notices.

use std::time::Duration;

use fleet_broker::gate::{Count, Gone, Rule};
use rumqttc::v5::mqttbytes::v5::PubAckReason;

use crate::client::{
    Client, PINGREQ, binary, connect, connect_with, packet, puback, publish, publish_with, publish0, subscribe, text,
};
use crate::fixture::{CABINET, EVE, SHOP, World};

const EVENT: &str = "v1/acme/cabinet/c1/up/event";

/// Every case is sent by a new connection; it must be answered with this code, and the neighbour must not notice.
async fn answered(cases: &[(&str, Vec<u8>, u8)]) -> World {
    let mut world = World::new().await;
    let mut neighbour = Client::connect(&world, "cabinet:acme:neighbour").await;
    world.cabinet_connected().await;
    for (name, bytes, code) in cases {
        let mut cabinet = Client::connect(&world, CABINET).await;
        world.cabinet_connected().await;
        cabinet.send_if_open(bytes).await;
        let disconnect = cabinet.disconnect().await;
        assert_eq!(disconnect.reason_code as u8, *code, "{name}: {disconnect:?}");
        assert_eq!(cabinet.next().await, None, "{name}: the connection stayed open");
        assert!(matches!(world.cabinet_gone().await.1, Gone::Misbehaved(_)), "{name}");
    }
    neighbour.ping().await;
    world
}

#[tokio::test]
async fn every_packet_type_that_a_client_may_not_send_is_a_protocol_error() {
    let cases: Vec<(&str, Vec<u8>, u8)> = vec![
        ("type 0", packet(0x00, &[]), 0x81),
        ("second CONNECT", connect(CABINET), 0x82),
        ("CONNACK", packet(0x20, &[0, 0, 0]), 0x82),
        ("PUBREC", packet(0x50, &[0, 1]), 0x82),
        ("PUBREL", packet(0x62, &[0, 1]), 0x82),
        ("PUBCOMP", packet(0x70, &[0, 1]), 0x82),
        ("SUBACK", packet(0x90, &[0, 1, 0, 0]), 0x82),
        // kill 6 of the findings
        ("UNSUBACK", packet(0xb0, &[0, 1, 0, 0]), 0x82),
        ("PINGRESP", packet(0xd0, &[]), 0x82),
        ("AUTH", packet(0xf0, &[]), 0x82),
    ];
    let world = answered(&cases).await;
    assert_eq!(world.broken(Rule::UnexpectedPacket), 9);
}

#[tokio::test]
async fn what_connack_said_is_not_supported_ends_the_connection() {
    let with_id = packet(0x82, &[&[0, 1, 2, 11, 5][..], &text("v1/acme/cabinet/c1/down"), &[1]].concat());
    let cases = [
        ("retained", publish_with(0x33, 1, EVENT.as_bytes(), &[], b"x"), 0x9a),
        ("QoS 2", publish_with(0x34, 1, EVENT.as_bytes(), &[], b"x"), 0x9b),
        ("topic alias", publish_with(0x32, 1, EVENT.as_bytes(), &[35, 0, 1], b"x"), 0x94),
        ("topic alias instead of a topic", publish_with(0x32, 1, b"", &[35, 0, 1], b"x"), 0x94),
        ("subscription id", with_id, 0xa1),
        ("shared subscription", subscribe(1, &["$share/g/v1/acme/cabinet/c1/down"]), 0x9e),
    ];
    answered(&cases).await;
}

#[tokio::test]
async fn malformed_packets_end_the_connection() {
    let long_length = vec![0x32, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let options = packet(0x82, &[&[0, 1, 0][..], &text("v1/acme/cabinet/c1/down"), &[0xc1]].concat());
    let cases = [
        ("QoS 3", publish_with(0x36, 1, EVENT.as_bytes(), &[], b"x"), 0x81),
        ("DUP with QoS 0", publish_with(0x38, 0, EVENT.as_bytes(), &[], b"x"), 0x81),
        ("NUL in a topic", publish(1, "v1/acme/cabinet/c1/up/ev\0ent", b"x"), 0x81),
        ("topic not UTF-8", publish_with(0x32, 1, &[0xff, 0xfe], &[], b"x"), 0x81),
        ("empty topic", publish(1, "", b"x"), 0x82),
        ("packet id 0", publish(0, EVENT, b"x"), 0x82),
        ("property of another packet", publish_with(0x32, 1, EVENT.as_bytes(), &[33, 0, 1], b"x"), 0x81),
        ("property twice", publish_with(0x32, 1, EVENT.as_bytes(), &[1, 0, 1, 0], b"x"), 0x82),
        ("topic longer than the packet", packet(0x32, &[0xff, 0xff, b'a']), 0x81),
        ("property list longer than the packet", packet(0x32, &[&text(EVENT)[..], &[0, 1, 0x7f]].concat()), 0x81),
        ("five bytes of length", long_length, 0x81),
        ("flags of SUBSCRIBE", packet(0x80, &subscribe(1, &["v1/acme/cabinet/c1/down"])[2..]), 0x81),
        ("reserved subscription options", options, 0x81),
        ("SUBSCRIBE without a filter", packet(0x82, &[0, 1, 0]), 0x82),
        ("UNSUBSCRIBE without a filter", packet(0xa2, &[0, 1, 0]), 0x82),
        ("PUBACK with trailing bytes", packet(0x40, &[0, 1, 0, 0, 9]), 0x81),
        ("PINGREQ with a body", packet(0xc0, &[1]), 0x81),
        ("PINGREQ with flags", packet(0xc1, &[]), 0x81),
        ("PUBACK with an unknown reason", packet(0x40, &[0, 1, 0x55]), 0x81),
        ("hundred filters", subscribe(1, &["v1/acme/live/#"; 100]), 0x97),
        ("correlation data that ends early", publish_with(0x32, 1, EVENT.as_bytes(), &[9, 0, 9, 1], b"x"), 0x81),
        (
            "content type not UTF-8",
            publish_with(0x32, 1, EVENT.as_bytes(), &[&[3][..], &binary(&[0xc0])].concat(), b""),
            0x81,
        ),
    ];
    answered(&cases).await;
}

#[tokio::test]
async fn an_oversize_packet_is_refused_by_its_header_alone() {
    let mut world = World::with(|settings| {
        settings.cabinet_packet_max = 2_000;
        settings.session_packet_max = 4_000;
    })
    .await;
    let mut cabinet = Client::connect(&world, CABINET).await;
    world.cabinet_connected().await;
    let overhead = publish(1, EVENT, &[0; 1_000]).len() - 1_000;
    cabinet.send(&publish(1, EVENT, &vec![0; 2_000 - overhead])).await;
    let (payload, ack) = world.up().await;
    assert_eq!(payload.len(), 2_000 - overhead);
    ack.done();
    cabinet.expect_puback(1, PubAckReason::Success).await;
    // One byte too many; no byte of the body is sent.
    let oversize = publish(2, EVENT, &vec![0; 2_001 - overhead]);
    cabinet.send(&oversize[..3]).await;
    cabinet.expect_disconnect(0x95).await;
    assert_eq!(world.cabinet_gone().await.1, Gone::Misbehaved(Rule::PacketTooLarge));
    // 256 MiB announced by somebody else.
    let mut shop = Client::connect(&world, SHOP).await;
    shop.send(&[0x32, 0xff, 0xff, 0xff, 0x7f]).await;
    shop.expect_disconnect(0x95).await;
}

#[tokio::test]
async fn publishing_outside_the_own_prefix_is_refused_in_the_puback() {
    let mut world = World::new().await;
    let mut cabinet = Client::connect(&world, CABINET).await;
    world.cabinet_connected().await;
    let not_authorized = [
        "v1/acme/cabinet/c2/up/event",
        "v1/umbra/cabinet/c1/up/event",
        "v1/acme/cabinet/c1/down",
        "v1/acme/live/c1/event",
        "v1/acme/integration/shop/orders/put",
        "v1/acme/operator/eve/request",
        "v1/acme/cabinet/c1/up/telemetry",
    ];
    let invalid =
        ["é/x", "$SYS/x", "v1/acme/cabinet/c1/up/+", "v1/acme/cabinet/c1/up/#", "v1/acme/cabinet/c1/up/event/"];
    let all = not_authorized.map(|topic| (topic, PubAckReason::NotAuthorized)).into_iter();
    for (topic, reason) in all.chain(invalid.map(|topic| (topic, PubAckReason::TopicNameInvalid))) {
        cabinet.send(&publish(5, topic, b"x")).await;
        cabinet.expect_puback(5, reason).await;
    }
    for topic in ["v1/acme/cabinet/c2/up/telemetry", EVENT, "é/x"] {
        let mut cabinet = Client::connect(&world, "cabinet:acme:c3").await;
        cabinet.send(&publish0(topic, b"x")).await;
        cabinet.expect_disconnect(if topic == "é/x" { 0x90 } else { 0x87 }).await;
        world.cabinet_connected().await;
        world.cabinet_gone().await;
    }
    for (who, topic) in [
        (SHOP, "v1/acme/integration/other/orders/put"),
        (SHOP, "v1/acme/integration/shop/status"),
        (SHOP, EVENT),
        (EVE, "v1/acme/integration/shop/orders/put"),
        (EVE, "v1/acme/operator/mallory/request"),
        (EVE, "v1/acme/live/c1/event"),
        ("operator:umbra:eve", "v1/acme/operator/eve/request"),
    ] {
        let mut client = Client::connect(&world, who).await;
        client.send(&publish(1, topic, b"x")).await;
        client.expect_puback(1, PubAckReason::NotAuthorized).await;
    }
    cabinet.ping().await;
    assert!(world.is_quiet(), "something got through");
    assert_eq!(world.broken(Rule::ForeignTenant), 2);
}

#[tokio::test]
async fn a_silent_client_is_closed_after_one_and_a_half_keepalives_whatever_it_is_sent() {
    let mut world = World::new().await;
    let mut eve = Client::tls(&world, EVE).await;
    eve.send(&connect_with(5, 2, 1, &[], &text(EVE))).await;
    eve.connack().await;
    eve.subscribe(&["v1/acme/live/#"]).await;
    let start = tokio::time::Instant::now();
    // Outgoing packets all the time, which keep rumqttd's timer from ever ending.
    let ended = loop {
        let (tenant, cabinet) = (crate::fixture::tenant(), crate::fixture::cabinet());
        world.handle.live(&tenant, &cabinet, schemas::topics::Live::Event, bytes::Bytes::from_static(b"x"));
        match eve.next().await {
            Some(rumqttc::v5::mqttbytes::v5::Packet::Publish(_)) => {}
            other => break other,
        }
    };
    assert!(start.elapsed() >= Duration::from_millis(1_400), "closed after {:?}", start.elapsed());
    match ended {
        Some(rumqttc::v5::mqttbytes::v5::Packet::Disconnect(packet)) => assert_eq!(packet.reason_code as u8, 0x8d),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.count(Count::KeepaliveExpired), 1);
    assert!(world.is_quiet());
}

#[tokio::test]
async fn bytes_that_are_no_whole_packet_do_not_keep_a_client_alive() {
    let mut world = World::new().await;
    let mut cabinet = Client::tls(&world, CABINET).await;
    cabinet.send(&connect_with(5, 2, 1, &[], &text(CABINET))).await;
    cabinet.connack().await;
    world.cabinet_connected().await;
    // The header of a packet of 60,000 bytes, and then one byte after the other.
    cabinet.send(&packet(0x32, &[0; 60_000])[..4]).await;
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let dripping = async {
        loop {
            pace.tick().await;
            cabinet.send_if_open(&[0]).await;
        }
    };
    tokio::select! {
        () = dripping => {}
        gone = world.cabinet_gone() => assert_eq!(gone.1, Gone::KeepaliveExpired),
    }
}

#[tokio::test]
async fn a_sender_over_its_quota_is_slowed_and_its_telemetry_dropped() {
    let mut world = World::with(|settings| {
        settings.packets_per_second = 50;
        settings.packet_burst = 4;
    })
    .await;
    let mut cabinet = Client::connect(&world, CABINET).await;
    world.cabinet_connected().await;
    let flood: Vec<u8> = (0..200).flat_map(|_| publish0("v1/acme/cabinet/c1/up/telemetry", b"x")).collect();
    cabinet.send(&flood).await;
    cabinet.send(&PINGREQ.repeat(8)).await;
    for _ in 0..8 {
        assert!(matches!(cabinet.next().await, Some(rumqttc::v5::mqttbytes::v5::Packet::PingResp(_))));
    }
    assert!(world.count(Count::TelemetryDropped) > 100, "{:?}", world.handle.counters());
    assert!(world.count(Count::Throttled) > 0);
    // Another session of anybody else has its own quota; a PUBACK costs nothing and is still judged.
    let mut eve = Client::connect(&world, EVE).await;
    eve.send(&puback(1)).await;
    eve.expect_disconnect(0x82).await;
}
