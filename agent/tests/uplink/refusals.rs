//! Servers that do not let the cabinet in: attempts are few, whatever the reason.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpListener;

use super::cabinet::{BACKOFF_MAX, Cabinet};
use super::server::{Said, Server, tls};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(start_paused = true)]
async fn a_refused_port_is_tried_a_few_hundred_times_an_hour_at_uneven_times() {
    // No other socket is in play, so time may leap from one attempt to the next.
    let (_, tls) = tls();
    let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = unused.local_addr().unwrap().port();
    drop(unused);
    let mut cabinet = Cabinet::at(tls, port, 0, 0);
    cabinet.work_for(HOUR).await;
    // Full jitter below the longest pause: 240 an hour on average; rumqttc alone made 15,305 a second.
    assert!((180..=330).contains(&cabinet.lost.len()), "{} attempts", cabinet.lost.len());
    cabinet.assert_patient();
    let mut pauses: Vec<Duration> = cabinet.lost.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| *pause <= BACKOFF_MAX + Duration::from_secs(1)), "{pauses:?}");
    // Not all cabinets of a fleet come back in the same second.
    pauses.sort();
    assert!(pauses[pauses.len() / 4] < BACKOFF_MAX / 3 && pauses[pauses.len() * 3 / 4] > BACKOFF_MAX / 2, "{pauses:?}");
    cabinet.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_connect_is_tried_again_after_a_pause_and_loses_nothing() {
    let server = Server::start().await;
    let mut cabinet = Cabinet::start(&server, 3, 100);
    let serve = async {
        // Not authorized, client identifier not valid, server busy, banned, unspecified, use another server.
        for reason in [0x87, 0x85, 0x89, 0x8a, 0x80, 0x9c] {
            let mut peer = server.accept().await;
            peer.connack(false, reason, &[]).await;
            peer.gone().await;
        }
        let mut peer = server.greet().await;
        for _ in 0..4 {
            let (id, ..) = peer.publish().await;
            peer.puback(id, 0).await;
        }
        peer
    };
    let (_peer, ()) = tokio::join!(serve, cabinet.until_delivered());
    assert_eq!(cabinet.lost.len(), 6);
    cabinet.assert_patient();
    cabinet.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_subscription_is_no_connection() {
    let server = Server::start().await;
    let mut cabinet = Cabinet::start(&server, 0, 0);
    let serve = async {
        for code in [0x87, 0x97, 0x80] {
            let mut peer = server.accept().await;
            peer.connack(false, 0, &[]).await;
            let Said::Subscribe { id, .. } = peer.read().await else { panic!("no SUBSCRIBE") };
            peer.suback(id, code).await;
            peer.gone().await;
        }
        server.greet().await
    };
    let (_peer, ()) = tokio::join!(serve, cabinet.until("it is up", |cabinet| cabinet.connection() > 0));
    assert_eq!((cabinet.connection(), cabinet.lost.len()), (4, 3), "those before were never up");
    cabinet.assert_patient();
    cabinet.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_without_a_certificate_of_the_fleet_is_told_nothing() {
    let (fleet, stranger) = (Server::start().await, Server::start().await);
    let mut cabinet = Cabinet::at(fleet.tls.clone(), stranger.address().port(), 1, 100);
    let serve = async {
        for _ in 0..5 {
            assert!(stranger.try_accept().await.is_err(), "the handshake went through");
        }
    };
    tokio::join!(serve, cabinet.until("five attempts failed", |cabinet| cabinet.lost.len() == 5));
    assert_eq!(cabinet.connection(), 0);
    cabinet.assert_patient();
    cabinet.end().await;
}
