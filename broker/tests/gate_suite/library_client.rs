//! rumqttc, the library that agent and CLI speak with, against the gate.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet_broker::gate::DownToken;
use rumqttc::TlsConfiguration;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, EventLoop, Incoming, MqttOptions};

use crate::fixture::{CABINET, PATIENCE, World, cabinet, client_tls, tenant};

fn client(world: &World) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(CABINET, "localhost", world.address.port());
    options.set_keep_alive(Duration::from_secs(5));
    let tls = TlsConfiguration::Rustls(Arc::new(client_tls(CABINET)));
    options.set_transport(rumqttc::Transport::tls_with_config(tls));
    AsyncClient::new(options, 16)
}

async fn incoming(events: &mut EventLoop, mut wanted: impl FnMut(&Packet) -> bool) -> Incoming {
    let find = async {
        loop {
            if let Event::Incoming(packet) = events.poll().await.unwrap()
                && wanted(&packet)
            {
                return packet;
            }
        }
    };
    tokio::time::timeout(PATIENCE, find).await.expect("the packet did not come in time")
}

#[tokio::test]
async fn a_library_client_publishes_gets_commands_and_leaves() {
    let mut world = World::new().await;
    let (client, mut events) = client(&world);
    incoming(&mut events, |packet| matches!(packet, Packet::ConnAck(_))).await;
    world.cabinet_connected().await;
    client.subscribe("v1/acme/cabinet/c1/down", QoS::AtLeastOnce).await.unwrap();
    incoming(&mut events, |packet| matches!(packet, Packet::SubAck(_))).await;
    client.publish("v1/acme/cabinet/c1/up/hello", QoS::AtLeastOnce, false, "hello").await.unwrap();
    let acknowledged = async {
        incoming(&mut events, |packet| matches!(packet, Packet::PubAck(_))).await;
    };
    let stored = async {
        let (payload, ack) = world.up().await;
        assert_eq!(payload, b"hello".as_slice());
        ack.done();
    };
    tokio::join!(acknowledged, stored);
    world.handle.down(&tenant(), &cabinet(), Bytes::from_static(b"open"), DownToken(5)).unwrap();
    let command = incoming(&mut events, |packet| matches!(packet, Packet::Publish(_))).await;
    assert!(matches!(command, Packet::Publish(publish) if publish.payload == b"open".as_slice()));
    client.disconnect().await.unwrap();
    let leaving = async { while events.poll().await.is_ok() {} };
    tokio::time::timeout(PATIENCE, leaving).await.expect("the client did not leave");
    assert!(matches!(world.input().await, fleet_broker::gate::GateInput::CabinetAcked { token: DownToken(5), .. }));
    assert_eq!(world.cabinet_gone().await.1, fleet_broker::gate::Gone::Left);
}
