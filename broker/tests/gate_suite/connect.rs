//! Who gets in: certificate, client id, protocol version, admission; and what CONNACK announces.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fleet_broker::gate::{CloseReason, Count, GateInput, Gone, Rule};
use rumqttc::v5::mqttbytes::v5::ConnectReturnCode;
use tokio_rustls::rustls::HandshakeKind;

use crate::client::{Client, connect, connect_with, publish, text};
use crate::fixture::{CABINET, EVE, SHOP, World, client_tls, fingerprint};

/// Sends a CONNECT and returns the code that refuses it.
async fn refusal(world: &World, identity: &str, bytes: &[u8]) -> (ConnectReturnCode, String) {
    let mut client = Client::tls(world, identity).await;
    client.send(bytes).await;
    let connack = client.connack().await;
    assert_eq!(client.next().await, None, "a refused client was kept");
    (connack.code, connack.properties.unwrap().reason_string.unwrap())
}

#[tokio::test]
async fn connack_announces_what_the_gate_does_and_does_not_do() {
    let mut world = World::with(|settings| {
        settings.keep_alive_max = 20;
        settings.receive_maximum = 9;
        settings.cabinet_packet_max = 5_000;
    })
    .await;
    let mut cabinet = Client::tls(&world, CABINET).await;
    // It asks for a session of an hour, and there are none.
    cabinet.send(&connect_with(5, 0, 600, &[17, 0, 0, 0x0e, 0x10], &text(CABINET))).await;
    let connack = cabinet.connack().await;
    assert!(!connack.session_present);
    let announced = connack.properties.unwrap();
    assert_eq!(announced.session_expiry_interval, Some(0));
    assert_eq!(announced.receive_max, Some(9));
    assert_eq!(announced.max_qos, Some(1));
    assert_eq!(announced.retain_available, Some(0));
    assert_eq!(announced.max_packet_size, Some(5_000));
    assert_eq!(announced.topic_alias_max, Some(0));
    assert_eq!(announced.subscription_identifiers_available, Some(0));
    assert_eq!(announced.shared_subscription_available, Some(0));
    assert_eq!(announced.server_keep_alive, Some(20));
    match world.input().await {
        GateInput::CabinetConnected { tenant, cabinet, fingerprint: of, .. } => {
            assert_eq!((tenant.as_str(), cabinet.as_str(), of), ("acme", "c1", fingerprint(CABINET)));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_older_protocol_is_refused_in_its_own_words() {
    let world = World::new().await;
    for (name, level) in [("MQTT", 4), ("MQIsdp", 3)] {
        let mut client = Client::tls(&world, CABINET).await;
        let body = [text(name), vec![level, 2, 0, 30], text(CABINET)].concat();
        client.send(&crate::client::packet(0x10, &body)).await;
        assert_eq!(client.rest().await, [0x20, 0x02, 0x00, 0x01]);
    }
    let (code, _) = refusal(&world, CABINET, &connect_with(6, 2, 30, &[], &text(CABINET))).await;
    assert_eq!(code, ConnectReturnCode::UnsupportedProtocolVersion);
    assert_eq!(world.broken(Rule::OldProtocol), 2);
    assert_eq!(world.broken(Rule::UnknownProtocol), 1);
}

#[tokio::test]
async fn a_client_id_that_is_not_the_certificates_identity_is_refused() {
    let mut world = World::new().await;
    let foreign = [
        (CABINET, "cabinet:acme:c2"),
        (CABINET, "cabinet:umbra:c1"),
        (CABINET, "operator:acme:c1"),
        (EVE, "operator:acme:mallory"),
        (EVE, "operator:acme:mallory~tui"),
        (SHOP, "cabinet:acme:c1"),
    ];
    for (identity, client_id) in foreign {
        let (code, _) = refusal(&world, identity, &connect(client_id)).await;
        assert_eq!(code, ConnectReturnCode::NotAuthorized, "{client_id}");
    }
    let invalid =
        ["", "x", "cabinet:acme:c1~two", "cabinet:acme:c1/x", "cabinet:acme:+", "#", "$SYS", "cabinet:acme:é"];
    for client_id in invalid {
        let (code, _) = refusal(&world, CABINET, &connect(client_id)).await;
        assert_eq!(code, ConnectReturnCode::ClientIdentifierNotValid, "{client_id}");
    }
    assert_eq!(world.broken(Rule::ClientIdForeign), foreign.len() as u64);
    assert_eq!(world.broken(Rule::ClientIdInvalid), invalid.len() as u64);
    assert!(world.is_quiet(), "somebody got in");
    // Kill 4 of the findings: such ids twice, and the listener still listens.
    Client::connect(&world, CABINET).await;
}

#[tokio::test]
async fn people_may_have_a_bounded_number_of_sessions_beside_each_other() {
    let world = World::with(|settings| settings.sessions_per_identity = 3).await;
    let mut sessions = Vec::new();
    for suffix in ["", "~tui", "~phone"] {
        sessions.push(Client::connect_as(&world, EVE, &format!("{EVE}{suffix}")).await);
    }
    let (code, _) = refusal(&world, EVE, &connect(&format!("{EVE}~more"))).await;
    assert_eq!(code, ConnectReturnCode::QuotaExceeded);
    // A takeover needs no new place.
    let mut again = Client::connect_as(&world, EVE, &format!("{EVE}~tui")).await;
    sessions[1].expect_disconnect(0x8e).await;
    sessions[0].ping().await;
    again.ping().await;
    drop(sessions);
    world.until("the sessions are gone", |gate| gate.counters().sessions == 1).await;
    Client::connect_as(&world, EVE, &format!("{EVE}~more")).await;
}

#[tokio::test]
async fn wills_logins_and_extended_authentication_are_refused_with_their_reason() {
    let world = World::new().await;
    let will = [text(CABINET), vec![0], text("v1/acme/cabinet/c1/up/event"), text("gone")].concat();
    let cases: [(Vec<u8>, ConnectReturnCode, Rule); 6] = [
        (connect_with(5, 0b110, 30, &[], &will), ConnectReturnCode::ImplementationSpecificError, Rule::Will),
        (connect_with(5, 0b10_0110, 30, &[], &will), ConnectReturnCode::RetainNotSupported, Rule::RetainedWill),
        (connect_with(5, 0b1_0110, 30, &[], &will), ConnectReturnCode::QoSNotSupported, Rule::QosTwoWill),
        (
            connect_with(5, 0b1000_0010, 30, &[], &[text(CABINET), text("root")].concat()),
            ConnectReturnCode::BadUserNamePassword,
            Rule::Login,
        ),
        (
            connect_with(5, 2, 30, &[&[21][..], &text("SCRAM-SHA-1")].concat(), &text(CABINET)),
            ConnectReturnCode::BadAuthenticationMethod,
            Rule::ExtendedAuth,
        ),
        (
            connect_with(5, 2, 30, &[39, 0, 0, 0, 100], &text(CABINET)),
            ConnectReturnCode::PacketTooLarge,
            Rule::PacketMaximumTooSmall,
        ),
    ];
    for (bytes, expected, rule) in cases {
        let (code, reason) = refusal(&world, CABINET, &bytes).await;
        assert_eq!(code, expected, "{rule}: {reason}");
        assert_eq!(world.broken(rule), 1, "{rule}");
    }
    // A will with a topic that kills rumqttd's router (kill 2 of the findings).
    let will = [text(CABINET), vec![0], text("é/x"), text("gone")].concat();
    refusal(&world, CABINET, &connect_with(5, 0b110, 30, &[], &will)).await;
    Client::connect(&world, CABINET).await;
}

#[tokio::test]
async fn a_malformed_connect_is_refused_as_such() {
    let world = World::new().await;
    let duplicate_property = [33, 0, 5, 33, 0, 5];
    for bytes in [
        connect_with(5, 0b11, 30, &[], &text(CABINET)),
        connect_with(5, 0b0000_1010, 30, &[], &text(CABINET)),
        connect_with(5, 2, 30, &[1, 0], &text(CABINET)),
        connect_with(5, 2, 30, &[], &[text(CABINET), vec![0]].concat()),
        connect_with(5, 2, 30, &[], &text("cabinet:acme:c1\0")),
        connect_with(5, 2, 30, &[], &crate::client::binary(&[0xff, 0xfe])),
        connect_with(5, 2, 30, &[], &[0, 200, b'c']),
    ] {
        let (code, reason) = refusal(&world, CABINET, &bytes).await;
        assert_eq!(code, ConnectReturnCode::MalformedPacket, "{reason}: {bytes:02x?}");
    }
    for properties in [&duplicate_property[..], &[33, 0, 0]] {
        let (code, _) = refusal(&world, CABINET, &connect_with(5, 2, 30, properties, &text(CABINET))).await;
        assert_eq!(code, ConnectReturnCode::ProtocolError);
    }
}

#[tokio::test]
async fn a_first_packet_that_is_no_connect_gets_no_answer() {
    let mut world = World::new().await;
    for kind in (0..16_u8).filter(|kind| *kind != 1) {
        let mut client = Client::tls(&world, CABINET).await;
        client.send_if_open(&[kind << 4, 2, 0, 1]).await;
        assert_eq!(client.rest().await, [0_u8; 0], "packet type {kind}");
    }
    let mut client = Client::tls(&world, CABINET).await;
    client.send_if_open(&publish(1, "v1/acme/cabinet/c1/up/event", b"x")).await;
    assert_eq!(client.rest().await, [0_u8; 0]);
    assert!(world.is_quiet());
}

#[tokio::test]
async fn an_identity_that_is_not_admitted_stays_out_on_a_resumed_session_too() {
    let mut world = World::new().await;
    let tls = Arc::new(client_tls(CABINET));
    let mut first = Client::tls_with(world.address, Arc::clone(&tls)).await;
    assert_eq!(first.handshake_kind(), HandshakeKind::Full);
    first.send(&connect(CABINET)).await;
    first.connack().await;
    let conn = world.cabinet_connected().await;

    // Resumption works for somebody who is admitted ...
    let mut resumed = Client::tls_with(world.address, Arc::clone(&tls)).await;
    assert_eq!(resumed.handshake_kind(), HandshakeKind::Resumed);

    // ... and is worth nothing to somebody who is not: neither in mid-handshake ...
    world.doorman.bar(CABINET);
    assert_eq!(world.handle.close_revoked(&CABINET.parse().unwrap(), SystemTime::now()), 1);
    first.expect_disconnect(0x87).await;
    assert_eq!(world.cabinet_gone().await, (conn, Gone::Closed(CloseReason::Revoked)));
    resumed.send(&connect(CABINET)).await;
    assert_eq!(resumed.connack().await.code, ConnectReturnCode::NotAuthorized);

    // ... nor with a ticket that is still good.
    let mut late = Client::tls_with(world.address, tls).await;
    assert_eq!(late.handshake_kind(), HandshakeKind::Resumed);
    late.send(&connect(CABINET)).await;
    let connack = late.connack().await;
    assert_eq!(connack.code, ConnectReturnCode::NotAuthorized);
    assert_eq!(connack.properties.unwrap().reason_string.unwrap(), "certificate is revoked");
    assert!(world.is_quiet());
    assert_eq!(world.broken(Rule::NotAdmitted), 2);
    assert!(!world.handle.connected(&CABINET.parse().unwrap()));
}

#[tokio::test]
async fn the_driver_hears_first_with_which_certificate_somebody_was_let_in() {
    let mut world = World::new().await;
    for identity in [EVE, SHOP, CABINET] {
        let mut client = Client::connect(&world, identity).await;
        match world.any_input().await {
            GateInput::Admitted { peer, .. } => {
                assert_eq!((peer.identity.to_string().as_str(), peer.fingerprint), (identity, fingerprint(identity)));
                let age = SystemTime::now().duration_since(peer.issued).unwrap();
                assert!(age < Duration::from_secs(600), "issued {age:?} ago, and not when its validity began");
                assert!(peer.expires > SystemTime::now() + Duration::from_secs(30 * 86_400));
            }
            other => panic!("{other:?}"),
        }
        client.ping().await;
    }
}

#[tokio::test]
async fn only_sessions_with_a_certificate_from_before_are_cut() {
    let world = World::new().await;
    let mut eve = Client::connect(&world, EVE).await;
    let mut second = Client::connect_as(&world, EVE, &format!("{EVE}~tui")).await;
    let hour = Duration::from_secs(3_600);
    assert_eq!(world.handle.close_revoked(&EVE.parse().unwrap(), SystemTime::now() - hour), 0);
    eve.ping().await;
    second.ping().await;
    assert_eq!(world.handle.close_revoked(&EVE.parse().unwrap(), SystemTime::now()), 2);
    eve.expect_disconnect(0x87).await;
    second.expect_disconnect(0x87).await;
}

#[tokio::test]
async fn connections_have_a_bound_and_shutdown_tells_everybody() {
    let mut world = World::with(|settings| settings.connections_max = 2).await;
    let mut cabinet = Client::connect(&world, CABINET).await;
    let conn = world.cabinet_connected().await;
    let mut eve = Client::connect(&world, EVE).await;
    let (code, _) = refusal(&world, SHOP, &connect(SHOP)).await;
    assert_eq!(code, ConnectReturnCode::ServerBusy);
    world.handle.shutdown();
    cabinet.expect_disconnect(0x8b).await;
    eve.expect_disconnect(0x8b).await;
    assert_eq!(world.cabinet_gone().await, (conn, Gone::ShuttingDown));
    (&mut world.running).await.unwrap();
    assert!(tokio::net::TcpStream::connect(world.address).await.is_err(), "the port is still open");
    assert_eq!(world.count(Count::Connected), 2);
}

#[tokio::test]
async fn a_new_certificate_serves_from_the_next_handshake_on() {
    let mut world = World::new().await;
    let mut old = Client::connect(&world, CABINET).await;
    world.cabinet_connected().await;
    world.handle.set_tls(crate::fixture::another_server());
    old.ping().await;
    let mut new = Client::connect(&world, EVE).await;
    new.ping().await;
}
