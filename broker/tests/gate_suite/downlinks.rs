//! Commands to cabinets: the window, their PUBACKs, and the verdict over a cabinet that does not answer.

use std::time::Duration;

use bytes::Bytes;
use fleet_broker::gate::{Count, DownToken, GateInput, Gone, Rule, SendError};
use rumqttc::v5::mqttbytes::QoS;

use crate::client::{Client, connect_with, puback, puback_with, text, unsubscribe};
use crate::fixture::{CABINET, EVE, World, cabinet, tenant};

const DOWN: &str = "v1/acme/cabinet/c1/down";

fn send(world: &World, token: u64) -> Result<(), SendError> {
    let payload = Bytes::from(token.to_string());
    world.handle.down(&tenant(), &cabinet(), payload, DownToken(token))
}

async fn acked(world: &mut World) -> (u64, bool) {
    match world.input().await {
        GateInput::CabinetAcked { token, taken, .. } => (token.0, taken),
        other => panic!("expected an acknowledgement, got {other:?}"),
    }
}

#[tokio::test]
async fn a_command_arrives_and_its_puback_brings_the_token_back() {
    let mut world = World::new().await;
    assert_eq!(send(&world, 1), Err(SendError::NotConnected));
    let mut cabinet = Client::subscribed(&world, CABINET, &[DOWN]).await;
    world.cabinet_connected().await;
    send(&world, 41).unwrap();
    let command = cabinet.publish_from_gate().await;
    assert_eq!((command.qos, command.retain, command.dup), (QoS::AtLeastOnce, false, false));
    assert_eq!((&command.topic[..], &command.payload[..]), (DOWN.as_bytes(), b"41".as_slice()));
    cabinet.send(&puback(command.pkid)).await;
    assert_eq!(acked(&mut world).await, (41, true));
    send(&world, 42).unwrap();
    let command = cabinet.publish_from_gate().await;
    cabinet.send(&puback_with(command.pkid, 0x83)).await;
    assert_eq!(acked(&mut world).await, (42, false));
}

#[tokio::test]
async fn commands_wait_for_the_subscription_and_for_the_clients_window() {
    let mut world = World::with(|settings| settings.down_queue_max = 4).await;
    let mut cabinet = Client::tls(&world, CABINET).await;
    // Receive Maximum 2
    cabinet.send(&connect_with(5, 2, 30, &[33, 0, 2], &text(CABINET))).await;
    cabinet.connack().await;
    world.cabinet_connected().await;
    for token in 1..=4 {
        send(&world, token).unwrap();
    }
    assert_eq!(send(&world, 5), Err(SendError::QueueFull));
    cabinet.ping().await;
    cabinet.subscribe(&[DOWN]).await;
    let first = cabinet.publish_from_gate().await;
    let second = cabinet.publish_from_gate().await;
    cabinet.ping().await;
    cabinet.send(&puback(second.pkid)).await;
    assert_eq!(acked(&mut world).await, (2, true));
    let third = cabinet.publish_from_gate().await;
    assert_eq!(&third.payload[..], b"3");
    assert_ne!(third.pkid, first.pkid);
    cabinet.ping().await;
    cabinet.send(&[puback(first.pkid), puback(third.pkid)].concat()).await;
    assert_eq!(acked(&mut world).await, (1, true));
    assert_eq!(acked(&mut world).await, (3, true));
    assert_eq!(&cabinet.publish_from_gate().await.payload[..], b"4");
}

#[tokio::test]
async fn a_cabinet_that_leaves_a_command_unacknowledged_is_closed_as_unreachable() {
    let mut world = World::with(|settings| settings.downlink_timeout = Duration::from_millis(200)).await;
    let mut cabinet = Client::subscribed(&world, CABINET, &[DOWN]).await;
    let conn = world.cabinet_connected().await;
    send(&world, 1).unwrap();
    cabinet.publish_from_gate().await;
    cabinet.expect_disconnect(0x80).await;
    assert_eq!(world.cabinet_gone().await, (conn, Gone::Unreachable));
    assert_eq!(world.count(Count::Unreachable), 1);
    assert_eq!(send(&world, 2), Err(SendError::NotConnected));
}

#[tokio::test]
async fn a_cabinet_that_never_subscribes_is_unreachable_too() {
    let mut world = World::with(|settings| settings.downlink_timeout = Duration::from_millis(200)).await;
    let mut cabinet = Client::connect(&world, CABINET).await;
    world.cabinet_connected().await;
    send(&world, 1).unwrap();
    cabinet.expect_disconnect(0x80).await;
    assert_eq!(world.cabinet_gone().await.1, Gone::Unreachable);

    let mut cabinet = Client::subscribed(&world, CABINET, &[DOWN]).await;
    world.cabinet_connected().await;
    cabinet.send(&unsubscribe(2, &[DOWN, "v1/acme/cabinet/c1/up/event"])).await;
    assert!(matches!(cabinet.next().await, Some(rumqttc::v5::mqttbytes::v5::Packet::UnsubAck(_))));
    send(&world, 2).unwrap();
    cabinet.expect_disconnect(0x80).await;
}

#[tokio::test]
async fn a_command_that_the_cabinet_cannot_take_for_its_size_is_refused_at_once() {
    let mut world = World::new().await;
    let mut cabinet_client = Client::tls(&world, CABINET).await;
    // Maximum Packet Size 2048
    cabinet_client.send(&connect_with(5, 2, 30, &[39, 0, 0, 8, 0], &text(CABINET))).await;
    cabinet_client.connack().await;
    world.cabinet_connected().await;
    let down = |size| world.handle.down(&tenant(), &cabinet(), Bytes::from(vec![0; size]), DownToken(1));
    assert_eq!(down(2048), Err(SendError::TooLarge));
    assert_eq!(down(1024), Ok(()));
}

#[tokio::test]
async fn a_puback_that_nobody_waits_for_ends_its_sender_alone_on_each_plane() {
    let mut world = World::new().await;
    let mut neighbour = Client::subscribed(&world, "cabinet:acme:c2", &["v1/acme/cabinet/c2/down"]).await;
    world.cabinet_connected().await;
    let mut cabinet = Client::subscribed(&world, CABINET, &[DOWN]).await;
    world.cabinet_connected().await;
    cabinet.send(&puback(1)).await;
    cabinet.expect_disconnect(0x82).await;
    assert_eq!(world.cabinet_gone().await.1, Gone::Misbehaved(Rule::UnawaitedPuback));

    let mut eve = Client::connect(&world, EVE).await;
    eve.send(&puback(77)).await;
    eve.expect_disconnect(0x82).await;
    assert_eq!(world.broken(Rule::UnawaitedPuback), 2);

    // The second PUBACK of one message is one too many.
    let mut cabinet = Client::subscribed(&world, CABINET, &[DOWN]).await;
    world.cabinet_connected().await;
    send(&world, 1).unwrap();
    let command = cabinet.publish_from_gate().await;
    cabinet.send(&[puback(command.pkid), puback(command.pkid)].concat()).await;
    assert_eq!(acked(&mut world).await, (1, true));
    cabinet.expect_disconnect(0x82).await;

    neighbour.ping().await;
}
