//! The broker's own admission at the gate: whoever is revoked is out, wherever they are on their way in, and nobody watches
//! beyond their scope.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fleet_broker::admission::Registry;
use fleet_broker::gate::{CloseReason, GateInput, Gone, Rule};
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, SubscribeReasonCode};
use schemas::api::Scope;
use schemas::topics::Live;
use tokio_rustls::rustls::HandshakeKind;

use crate::client::{Client, connect};
use crate::fixture::{CABINET, EVE, World, cabinet, client_tls, client_tls_issued, tenant};

/// What the driver does for a revocation of the core: first nobody gets in, then whoever is in is cut.
fn revoke(world: &World, registry: &Registry, identity: &str) -> usize {
    let now = SystemTime::now();
    let millis = u64::try_from(now.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    registry.revoke(identity.parse().unwrap(), millis);
    world.handle.close_revoked(&identity.parse().unwrap(), now)
}

async fn is_refused(mut client: Client, client_id: &str) {
    client.send(&connect(client_id)).await;
    let connack = client.connack().await;
    assert_eq!(connack.code, ConnectReturnCode::NotAuthorized);
    let reason = connack.properties.unwrap().reason_string.unwrap();
    assert!(reason.contains("are revoked; ask for a new one"), "{reason}");
    assert_eq!(client.next().await, None, "a revoked client was kept");
}

#[tokio::test]
async fn whoever_is_revoked_is_cut_and_stays_out_in_mid_handshake_and_with_a_live_ticket() {
    let registry = Arc::new(Registry::default());
    registry.register(tenant(), cabinet(), "mall".parse().unwrap());
    let mut world = World::with_registry(&registry).await;
    for identity in [CABINET, EVE] {
        let tls = Arc::new(client_tls(identity));
        let mut live = Client::tls_with(world.address, Arc::clone(&tls)).await;
        live.send(&connect(identity)).await;
        assert_eq!(live.connack().await.code, ConnectReturnCode::Success);
        // In mid-handshake: TLS is done, CONNECT is not sent; once in full and once resumed.
        let fresh = Client::tls_with(world.address, Arc::new(client_tls(identity))).await;
        assert_eq!(fresh.handshake_kind(), HandshakeKind::Full);
        let resumed = Client::tls_with(world.address, Arc::clone(&tls)).await;
        assert_eq!(resumed.handshake_kind(), HandshakeKind::Resumed);

        let begun = Instant::now();
        assert_eq!(revoke(&world, &registry, identity), 1);
        live.expect_disconnect(0x87).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "cut after {:?}", begun.elapsed());
        is_refused(fresh, identity).await;
        is_refused(resumed, identity).await;
        let late = Client::tls_with(world.address, tls).await;
        assert_eq!(late.handshake_kind(), HandshakeKind::Resumed, "the ticket is not live, so this proves nothing");
        is_refused(late, identity).await;
        assert!(!world.handle.connected(&identity.parse().unwrap()));
    }
    let conn = world.cabinet_connected().await;
    assert_eq!(world.cabinet_gone().await, (conn, Gone::Closed(CloseReason::Revoked)));
    assert!(world.is_quiet(), "the driver heard of somebody who was not let in");
}

#[tokio::test]
async fn a_certificate_issued_after_the_revocation_gets_in_beside_the_void_one() {
    let registry = Arc::new(Registry::default());
    let mut world = World::with_registry(&registry).await;
    revoke(&world, &registry, EVE);
    let later = Arc::new(client_tls_issued(EVE, SystemTime::now() + Duration::from_secs(2)));
    let mut renewed = Client::tls_with(world.address, later).await;
    renewed.send(&connect(EVE)).await;
    assert_eq!(renewed.connack().await.code, ConnectReturnCode::Success);
    assert!(matches!(world.any_input().await, GateInput::Admitted { .. }));
    is_refused(Client::tls(&world, EVE).await, EVE).await;
    renewed.ping().await;
    // What is cut again are void certificates, not the name.
    assert_eq!(revoke_before(&world, &registry), 0);
    renewed.ping().await;
}

/// The core tells of every revocation again when the driver is built anew.
fn revoke_before(world: &World, registry: &Registry) -> usize {
    let until = SystemTime::now() - Duration::from_secs(60);
    let millis = u64::try_from(until.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    registry.revoke(EVE.parse().unwrap(), millis);
    world.handle.close_revoked(&EVE.parse().unwrap(), until)
}

/// Many who connect while the revocation is under way: each is refused at CONNECT or cut, none is left.
#[tokio::test]
async fn nobody_slips_in_while_the_revocation_is_under_way() {
    let registry = Arc::new(Registry::default());
    let world = World::with_registry(&registry).await;
    let tls = Arc::new(client_tls(EVE));
    let address = world.address;
    let mut coming = tokio::task::JoinSet::new();
    for n in 0..24 {
        let tls = Arc::clone(&tls);
        coming.spawn(async move {
            let mut client = Client::tls_with(address, tls).await;
            client.send_if_open(&connect(&format!("{EVE}~s{}", n % 8))).await;
            // CONNACK, perhaps DISCONNECT, and the end.
            while client.next().await.is_some() {}
        });
        if n == 12 {
            world.until("somebody is in", |gate| gate.counters().sessions > 0).await;
            revoke(&world, &registry, EVE);
        }
    }
    while let Some(ended) = coming.join_next().await {
        ended.unwrap();
    }
    world.until("nobody is left", |gate| gate.counters().sessions == 0).await;
}

#[tokio::test]
async fn live_topics_end_at_the_scope_whatever_was_subscribed_before() {
    let registry = Arc::new(Registry::default());
    for (cabinet, site) in [("c1", "mall"), ("c2", "port")] {
        registry.register(tenant(), cabinet.parse().unwrap(), site.parse().unwrap());
    }
    let world = World::with_registry(&registry).await;
    let mut early = Client::connect_as(&world, EVE, &format!("{EVE}~early")).await;
    early.subscribe(&["v1/acme/live/#", "v1/acme/live/c2/event"]).await;
    registry.scope(EVE.parse().unwrap(), Scope::Sites(vec!["mall".parse().unwrap()]));
    let mut late = Client::connect_as(&world, EVE, &format!("{EVE}~late")).await;
    let filters = ["v1/acme/live/c1/event", "v1/acme/live/c2/event", "v1/acme/live/c9/+", "v1/acme/live/+/telemetry"];
    let codes = late.subscribe(&filters).await;
    let granted: Vec<_> = codes.iter().map(|code| matches!(code, SubscribeReasonCode::Success(_))).collect();
    assert_eq!(granted, [true, false, false, true], "{codes:?}");
    assert_eq!(world.broken(Rule::OutOfScope), 2);
    for cabinet in ["c2", "c9", "c1"] {
        world.handle.live(&tenant(), &cabinet.parse().unwrap(), Live::Event, cabinet.into());
    }
    for client in [&mut early, &mut late] {
        assert_eq!(client.publish_from_gate().await.payload, "c1", "a cabinet outside the scope was shown");
        client.ping().await;
    }
    registry.scope(EVE.parse().unwrap(), Scope::Tenant);
    world.handle.live(&tenant(), &"c2".parse().unwrap(), Live::Event, "c2".into());
    assert_eq!(early.publish_from_gate().await.payload, "c2");
}
