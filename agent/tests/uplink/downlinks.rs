//! What the server sends: again, too large, unreadable. Each delivery is acknowledged by the core or not at all.

use cabinet_agent::uplink::Uplink;

use super::cabinet::Cabinet;
use super::server::{PATIENCE, Said, Server};

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_again_is_handed_in_again_and_acknowledged_again() {
    let server = Server::start().await;
    let mut cabinet = Cabinet::start(&server, 0, 0);
    let mut peer = {
        let (mut peer, ()) = tokio::join!(server.greet(), cabinet.until("it is up", |it| it.connection() == 1));
        peer.down(9, false, b"open door 4").await;
        peer.down(9, true, b"open door 4").await;
        peer
    };
    cabinet.until("both came", |cabinet| cabinet.downs.len() == 2).await;
    assert_eq!(cabinet.downs[0].1, cabinet.downs[1].1);
    assert_ne!(cabinet.downs[0].0, cabinet.downs[1].0, "each delivery has an acknowledgement of its own");
    // Nothing is acknowledged before the core says so: the first packet is its hello.
    assert!(matches!(peer.read().await, Said::Publish { qos: 1, .. }));
    for (token, _) in cabinet.downs.clone() {
        cabinet.order(Uplink::Ack(token));
        assert_eq!(peer.read().await, Said::PubAck { id: 9 });
    }
    cabinet.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_for_an_earlier_connection_is_never_sent() {
    let server = Server::start().await;
    let mut cabinet = Cabinet::start(&server, 0, 0);
    let (mut peer, ()) = tokio::join!(server.greet(), cabinet.until("it is up", |it| it.connection() == 1));
    peer.down(7, false, b"first").await;
    cabinet.until("it came", |cabinet| cabinet.downs.len() == 1).await;
    drop(peer);
    let (mut peer, ()) = tokio::join!(server.greet(), cabinet.until("it is up again", |it| it.connection() == 2));
    let stale = cabinet.downs[0].0;
    // Late, as an order of its time and as one of now; and an event that was meant for the connection before.
    cabinet.order_on(1, Uplink::Ack(stale));
    cabinet.order_on(1, Uplink::Event { n: 5, payload: b"stale".to_vec() });
    cabinet.order(Uplink::Ack(stale));
    peer.down(7, false, b"second").await;
    cabinet.until("the other came", |cabinet| cabinet.downs.len() == 2).await;
    cabinet.order(Uplink::Ack(cabinet.downs[1].0));
    let Said::Publish { payload, .. } = peer.read().await else { panic!("no hello") };
    assert_eq!(payload, b"hello");
    assert_eq!(peer.read().await, Said::PubAck { id: 7 });
    assert_eq!(peer.read_any().await, Said::Ping, "one acknowledgement, and nothing of the earlier connection");
    cabinet.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_packet_over_the_limit_costs_the_connection_and_no_more() {
    let server = Server::start().await;
    let mut cabinet = Cabinet::start(&server, 0, 0);
    let serve = async {
        for _ in 0..4 {
            let mut peer = server.greet().await;
            peer.down(3, false, &vec![0; 64 * 1024]).await;
            peer.gone().await;
        }
        let mut peer = server.greet().await;
        peer.down(4, false, &vec![1; 48 * 1024]).await;
        peer
    };
    let (_peer, ()) = tokio::join!(serve, cabinet.until("a sound one came", |cabinet| !cabinet.downs.is_empty()));
    assert_eq!(cabinet.downs[0].1.len(), 48 * 1024, "the largest message that there is fits");
    assert_eq!(cabinet.lost.len(), 4);
    cabinet.assert_patient();
    cabinet.end().await;
}

#[tokio::test(start_paused = true)]
async fn packets_that_make_no_sense_cost_the_connection_and_no_more() {
    let server = Server::start().await;
    let mut cabinet = Cabinet::start(&server, 0, 0);
    let senseless: [&[u8]; 7] = [
        // Reserved type; a second CONNACK; a client's packet; a length of five bytes.
        &[0x00, 0x00],
        &[0x20, 0x03, 0x00, 0x00, 0x00],
        &[0x82, 0x05, 0x00, 0x01, 0x00, 0x00, 0x00],
        &[0x30, 0xff, 0xff, 0xff, 0xff, 0x7f],
        // PUBLISH with both QoS bits; with a topic longer than the packet; DISCONNECT.
        &[0x36, 0x05, 0x00, 0x01, b'x', 0x00, 0x01],
        &[0x30, 0x04, 0x00, 0x50, b'x', 0x00],
        &[0xe0, 0x02, 0x8b, 0x00],
    ];
    let serve = async {
        for bytes in senseless {
            let mut peer = server.greet().await;
            peer.send(bytes).await;
            // Passed over or the end: a server that goes on with nonsense goes away at last.
            drop(peer);
        }
        let mut peer = server.greet().await;
        peer.down(4, false, b"sound").await;
        peer
    };
    let came = cabinet.until("a sound one came", |cabinet| !cabinet.downs.is_empty());
    let (_peer, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(serve, came) }).await.unwrap();
    assert_eq!(cabinet.downs[0].1, b"sound");
    cabinet.assert_patient();
    cabinet.end().await;
}
