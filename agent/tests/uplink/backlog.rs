//! Events that wait: more than fit into a window, too large, refused, cut off half-way. Nothing is lost, nothing overtakes.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::cabinet::{Cabinet, WINDOW, number, record};
use super::server::{Peer, Said, Server};

const EVENT: &str = "v1/acme/cabinet/berlin-01/up/event";
const HELLO: &str = "v1/acme/cabinet/berlin-01/up/hello";

/// What the fleet has, in the order in which it came.
#[derive(Default)]
struct Fleet {
    events: Vec<u64>,
}

impl Fleet {
    /// The first message of each connection is hello.
    async fn hello(peer: &mut Peer) {
        let (id, topic, payload) = peer.publish().await;
        assert_eq!((topic.as_str(), payload.as_slice()), (HELLO, &b"hello"[..]));
        peer.puback(id, 0).await;
    }

    /// Takes an event that was not taken before; one that comes again is known, a gap never comes.
    fn take(&mut self, topic: &str, payload: &[u8]) {
        assert_eq!(topic, EVENT);
        let (n, next) = (number(payload), self.events.len() as u64 + 1);
        assert!(n <= next, "event {n} came where {next} is next");
        if n == next {
            self.events.push(n);
        }
    }

    fn has(&self, count: u64) -> bool {
        self.events == (1..=count).collect::<Vec<_>>()
    }
}

#[tokio::test(start_paused = true)]
async fn a_backlog_beyond_the_window_is_delivered_through_cuts_and_slow_acknowledgements() {
    let server = Server::start().await;
    let mut cabinet = Cabinet::start(&server, 200, 300);
    let mut fleet = Fleet::default();
    let serve = async {
        // Each connection takes some events, acknowledges a part of them slowly, and is cut without a word.
        for taken in [1, 16, 17, 40] {
            let mut peer = server.greet().await;
            Fleet::hello(&mut peer).await;
            for n in 0..taken {
                let (id, topic, payload) = peer.publish().await;
                fleet.take(&topic, &payload);
                sleep(Duration::from_millis(700)).await;
                if n + 3 < taken || taken > 20 {
                    peer.puback(id, 0).await;
                }
            }
        }
        let mut peer = server.greet().await;
        Fleet::hello(&mut peer).await;
        while !fleet.has(200) {
            let (id, topic, payload) = peer.publish().await;
            fleet.take(&topic, &payload);
            peer.puback(id, 0).await;
        }
        peer
    };
    let (mut peer, ()) = tokio::join!(serve, cabinet.until_delivered());
    assert_eq!(cabinet.lost.len(), 4);
    cabinet.assert_patient();
    let (gone, ()) = tokio::join!(peer.read(), cabinet.end());
    assert_eq!(gone, Said::Disconnect, "a goodbye, so that the fleet need not wait for a timeout");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_acknowledge_gets_one_window_and_then_everything_again() {
    let server = Server::start().await;
    let mut cabinet = Cabinet::start(&server, 40, 100);
    let serve = async {
        let mut peer = server.greet().await;
        Fleet::hello(&mut peer).await;
        for n in 1..=WINDOW {
            assert_eq!(number(&peer.publish().await.2), n);
        }
        // Nothing more comes but pings, as long as nothing is acknowledged, and then the agent tries another connection.
        let began = Instant::now();
        loop {
            match peer.read_any().await {
                Said::Ping => peer.send(&[0xd0, 0]).await,
                said => {
                    assert_eq!(said, Said::Gone);
                    break;
                }
            }
        }
        assert!(began.elapsed() < Duration::from_secs(100), "given up after {:?}", began.elapsed());
        let mut peer = server.greet().await;
        Fleet::hello(&mut peer).await;
        let mut fleet = Fleet::default();
        while !fleet.has(40) {
            let (id, topic, payload) = peer.publish().await;
            fleet.take(&topic, &payload);
            peer.puback(id, 0).await;
        }
        peer
    };
    let (_peer, ()) = tokio::join!(serve, cabinet.until_delivered());
    cabinet.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_server_claims_to_remember_changes_nothing() {
    for present in [true, false] {
        let server = Server::start().await;
        let mut cabinet = Cabinet::start(&server, 30, 100);
        let mut fleet = Fleet::default();
        let serve = async {
            let mut peer = server.greet().await;
            Fleet::hello(&mut peer).await;
            for _ in 0..5 {
                let (_, topic, payload) = peer.publish().await;
                fleet.take(&topic, &payload);
            }
            drop(peer);
            let mut peer = server.accept().await;
            peer.connack(present, 0, &[]).await;
            peer.grant().await;
            // Not one event before the new hello, whatever rumqttc had left over.
            Fleet::hello(&mut peer).await;
            let mut first = None;
            while !fleet.has(30) {
                let (id, topic, payload) = peer.publish().await;
                first.get_or_insert(number(&payload));
                fleet.take(&topic, &payload);
                peer.puback(id, 0).await;
            }
            assert_eq!(first, Some(1), "what was not acknowledged comes again from the start");
            peer
        };
        let (_peer, ()) = tokio::join!(serve, cabinet.until_delivered());
        cabinet.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_is_under_way_than_the_server_receives_at_once() {
    let server = Server::start().await;
    let mut cabinet = Cabinet::start(&server, 30, 100);
    let serve = async {
        // Receive maximum (MQTT 5, 3.2.2.3.3): 3.
        let mut peer = server.greet_with(&[0x21, 0, 3]).await;
        Fleet::hello(&mut peer).await;
        let mut fleet = Fleet::default();
        let mut unanswered = Vec::new();
        while !fleet.has(30) {
            let (id, topic, payload) = peer.publish().await;
            fleet.take(&topic, &payload);
            unanswered.push(id);
            assert!(unanswered.len() <= 3, "{unanswered:?} are under way");
            assert_eq!(unanswered.iter().collect::<BTreeSet<_>>().len(), unanswered.len(), "an id is used twice");
            if unanswered.len() == 3 || fleet.events.len() > 27 {
                // As late as can be: a fourth would have come by now.
                sleep(Duration::from_secs(1)).await;
                for id in unanswered.drain(..) {
                    peer.puback(id, 0).await;
                }
            }
        }
        peer
    };
    let (_peer, ()) = tokio::join!(serve, cabinet.until_delivered());
    assert!(cabinet.lost.is_empty());
    cabinet.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_server_has_no_room_for_is_kept_until_it_has() {
    let server = Server::start().await;
    let mut cabinet = Cabinet::start(&server, 3, 4_000);
    let serve = async {
        // Maximum packet size (MQTT 5, 3.2.2.3.6): 1 KiB. Nothing larger may be sent, and the connection is of no use.
        for _ in 0..5 {
            let mut peer = server.greet_with(&[0x27, 0, 0, 4, 0]).await;
            Fleet::hello(&mut peer).await;
            assert_eq!(peer.read().await, Said::Gone);
        }
        let mut peer = server.greet().await;
        Fleet::hello(&mut peer).await;
        let mut fleet = Fleet::default();
        while !fleet.has(3) {
            let (id, topic, payload) = peer.publish().await;
            assert_eq!(payload, record(number(&payload), 4_000));
            fleet.take(&topic, &payload);
            peer.puback(id, 0).await;
        }
        peer
    };
    let (_peer, ()) = tokio::join!(serve, cabinet.until_delivered());
    assert_eq!(cabinet.lost.len(), 5);
    cabinet.assert_patient();
    cabinet.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_server_refuses_is_not_taken_for_delivered() {
    let server = Server::start().await;
    let mut cabinet = Cabinet::start(&server, 10, 100);
    let serve = async {
        let mut fleet = Fleet::default();
        // Quota exceeded, payload format invalid, unspecified error: each in the middle of a window.
        for reason in [0x97, 0x99, 0x80] {
            let mut peer = server.greet().await;
            Fleet::hello(&mut peer).await;
            let (id, topic, payload) = peer.publish().await;
            fleet.take(&topic, &payload);
            peer.puback(id, 0).await;
            let (id, ..) = peer.publish().await;
            peer.puback(id, reason).await;
            peer.gone().await;
        }
        let mut peer = server.greet().await;
        Fleet::hello(&mut peer).await;
        while !fleet.has(10) {
            let (id, topic, payload) = peer.publish().await;
            fleet.take(&topic, &payload);
            peer.puback(id, 0).await;
        }
        peer
    };
    let (_peer, ()) = tokio::join!(serve, cabinet.until_delivered());
    assert_eq!(cabinet.lost.len(), 3);
    cabinet.assert_patient();
    cabinet.end().await;
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_of_what_is_not_under_way_end_the_connection_and_lose_nothing() {
    let server = Server::start().await;
    let mut cabinet = Cabinet::start(&server, 20, 100);
    let serve = async {
        let mut fleet = Fleet::default();
        // The same one twice, one that was never given, one outside of everything, and none at all (MQTT 5, 2.2.1).
        for (second, id_of) in [(true, None), (false, Some(60)), (false, Some(40_000)), (false, Some(0))] {
            let mut peer = server.greet().await;
            Fleet::hello(&mut peer).await;
            let (id, topic, payload) = peer.publish().await;
            fleet.take(&topic, &payload);
            peer.puback(id, 0).await;
            if second {
                peer.puback(id, 0).await;
            }
            if let Some(id) = id_of {
                peer.puback(id, 0).await;
            }
            peer.gone().await;
        }
        let mut peer = server.greet().await;
        Fleet::hello(&mut peer).await;
        while !fleet.has(20) {
            let (id, topic, payload) = peer.publish().await;
            fleet.take(&topic, &payload);
            peer.puback(id, 0).await;
        }
        peer
    };
    let (_peer, ()) = tokio::join!(serve, cabinet.until_delivered());
    assert_eq!(cabinet.lost.len(), 4);
    cabinet.assert_patient();
    cabinet.end().await;
}
