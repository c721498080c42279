//! A client id that comes again: the new connection is served at once, and a cabinet's is reported.

use std::sync::Arc;

use bytes::Bytes;
use fleet_broker::gate::{Count, DownToken, GateInput, Gone};
use schemas::topics::Live;

use crate::client::{Client, connect};
use crate::fixture::{CABINET, EVE, World, cabinet, client_tls, fingerprint, tenant};

#[tokio::test]
async fn the_new_connection_of_a_cabinet_ends_the_old_one_and_is_reported() {
    let mut world = World::new().await;
    let mut first = Client::connect(&world, CABINET).await;
    let first_conn = world.cabinet_connected().await;
    let mut second = Client::connect(&world, CABINET).await;
    first.expect_disconnect(0x8e).await;
    let mut gone = None;
    let mut connected = None;
    for _ in 0..3 {
        match world.input().await {
            GateInput::DuplicateIdentity { old, new, in_a_row, cabinet, .. } => {
                assert_eq!((old.conn, in_a_row, cabinet.as_str()), (first_conn, 1, "c1"));
                assert_eq!((old.fingerprint, new.fingerprint), (fingerprint(CABINET), fingerprint(CABINET)));
                assert_ne!(old.peer, new.peer);
                assert!(connected.is_none(), "the report came after the arrival");
            }
            GateInput::CabinetGone { conn, reason, .. } => gone = Some((conn, reason)),
            GateInput::CabinetConnected { conn, .. } => connected = Some(conn),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(gone, Some((first_conn, Gone::TakenOver)));
    assert!(connected.unwrap() > first_conn);
    second.ping().await;
    assert!(world.handle.connected(&CABINET.parse().unwrap()), "the old one took the new one out of the table");
    assert_eq!(world.handle.counters().cabinets, 1);
    assert_eq!(world.count(Count::TakenOver), 1);
}

#[tokio::test]
async fn two_holders_of_one_certificate_are_counted_while_they_fight() {
    let mut world = World::new().await;
    let mut holders = vec![Client::connect(&world, CABINET).await];
    for _ in 0..5 {
        holders.push(Client::connect(&world, CABINET).await);
    }
    let mut rows = Vec::new();
    while rows.len() < 5 {
        if let GateInput::DuplicateIdentity { in_a_row, .. } = world.input().await {
            rows.push(in_a_row);
        }
    }
    rows.sort_unstable();
    assert_eq!(rows, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_holder_that_does_not_read_cannot_keep_its_place_or_hold_up_anybody() {
    let mut world = World::with(|settings| settings.live_queue_max = 4).await;
    // Kill 5 of the findings: a stalled QoS 0 subscriber, and a takeover.
    let mut stalled = Client::subscribed(&world, EVE, &["v1/acme/live/#"]).await;
    let payload = Bytes::from(vec![7; 64 * 1024]);
    while world.count(Count::LiveDropped) < 100 {
        world.handle.live(&tenant(), &cabinet(), Live::Event, payload.clone());
        tokio::task::yield_now().await;
    }
    let mut eve = Client::connect(&world, EVE).await;
    eve.subscribe(&["v1/acme/live/#"]).await;
    world.handle.live(&tenant(), &cabinet(), Live::Event, Bytes::from_static(b"new"));
    assert_eq!(&eve.publish_from_gate().await.payload[..], b"new");
    world.until("the stalled one is gone", |gate| gate.counters().count(Count::TakenOver) == 1).await;
    while stalled.next().await.is_some() {}

    // The same with a cabinet that does not read its commands.
    let cabinet_client = Client::subscribed(&world, CABINET, &["v1/acme/cabinet/c1/down"]).await;
    world.cabinet_connected().await;
    for token in 0..200 {
        // The window and the queue behind it are bounded; what does not fit is told to the driver.
        let _ = world.handle.down(&tenant(), &cabinet(), Bytes::from(vec![1; 60_000]), DownToken(token));
        tokio::task::yield_now().await;
    }
    let mut again = Client::connect(&world, CABINET).await;
    again.ping().await;
    drop(cabinet_client);
}

#[tokio::test]
async fn a_resumed_tls_session_takes_over_like_any_other() {
    let mut world = World::new().await;
    let tls = Arc::new(client_tls(CABINET));
    let mut first = Client::tls_with(world.address, Arc::clone(&tls)).await;
    first.send(&connect(CABINET)).await;
    first.connack().await;
    world.cabinet_connected().await;
    let mut second = Client::tls_with(world.address, tls).await;
    second.send(&connect(CABINET)).await;
    second.connack().await;
    first.expect_disconnect(0x8e).await;
    second.ping().await;
}
