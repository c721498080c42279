//! Servers that are there and do not answer: the uplink gives them up in time and tries again.

use std::time::Duration;

use tokio::time::Instant;

use super::cabinet::Cabinet;
use super::server::{Said, Server};

/// Connecting takes 20 s at most, a connection without an answer to a ping two keep-alives.
const GIVEN_UP: Duration = Duration::from_secs(100);

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_never_speaks_is_given_up() {
    let server = Server::start().await;
    let mut cabinet = Cabinet::start(&server, 2, 100);
    let serve = async {
        let mut silent = Vec::new();
        for _ in 0..2 {
            silent.push(server.accept_tcp().await);
        }
        answer_two(&server).await
    };
    let began = Instant::now();
    let (_peer, ()) = tokio::join!(serve, cabinet.until_delivered());
    assert_eq!(cabinet.lost.len(), 2);
    assert!(began.elapsed() < GIVEN_UP * 2, "{:?}", began.elapsed());
    cabinet.assert_patient();
    cabinet.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_connect_is_given_up() {
    let server = Server::start().await;
    let mut cabinet = Cabinet::start(&server, 2, 100);
    let serve = async {
        for _ in 0..2 {
            let mut peer = server.accept().await;
            assert_eq!(peer.read_any().await, Said::Gone);
        }
        answer_two(&server).await
    };
    let (_peer, ()) = tokio::join!(serve, cabinet.until_delivered());
    assert_eq!(cabinet.lost.len(), 2);
    cabinet.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_behind_connack_is_given_up() {
    let server = Server::start().await;
    let mut cabinet = Cabinet::start(&server, 2, 100);
    let serve = async {
        for _ in 0..2 {
            let mut peer = server.accept().await;
            peer.connack(false, 0, &[]).await;
            let began = Instant::now();
            while peer.read_any().await != Said::Gone {}
            assert!(began.elapsed() < GIVEN_UP, "given up after {:?}", began.elapsed());
        }
        answer_two(&server).await
    };
    let (_peer, ()) = tokio::join!(serve, cabinet.until_delivered());
    assert_eq!((cabinet.lost.len(), cabinet.connection()), (2, 3));
    cabinet.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_half_packet_that_never_ends_is_given_up() {
    let server = Server::start().await;
    let mut cabinet = Cabinet::start(&server, 2, 100);
    let serve = async {
        let mut peer = server.greet().await;
        // PUBLISH of 40 bytes, of which three come.
        peer.send(&[0x32, 40, 0, 30, b'v']).await;
        while peer.read_any().await != Said::Gone {}
        answer_two(&server).await
    };
    let (_peer, ()) = tokio::join!(serve, cabinet.until_delivered());
    assert_eq!(cabinet.lost.len(), 1);
    cabinet.end().await;
}

/// The next client is served: hello and two events.
async fn answer_two(server: &Server) -> super::server::Peer {
    let mut peer = server.greet().await;
    for _ in 0..3 {
        let (id, ..) = peer.publish().await;
        peer.puback(id, 0).await;
    }
    peer
}
#[tokio::test(start_paused = true)]
async fn a_server_that_answers_pings_and_no_subscribe_is_given_up() {
    let server = Server::start().await;
    let mut cabinet = Cabinet::start(&server, 2, 100);
    let serve = async {
        let mut peer = server.accept().await;
        peer.connack(false, 0, &[]).await;
        assert!(matches!(peer.read().await, Said::Subscribe { .. }));
        let began = Instant::now();
        assert_eq!(peer.read().await, Said::Gone);
        assert!(began.elapsed() < GIVEN_UP, "given up after {:?}", began.elapsed());
        answer_two(&server).await
    };
    let (_peer, ()) = tokio::join!(serve, cabinet.until_delivered());
    cabinet.end().await;
}
