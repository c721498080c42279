//! Peers that connect and say nothing, or little, or rubbish: everybody else is served.

use std::time::Duration;

use fleet_broker::gate::Count;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Client;
use crate::fixture::{CABINET, PATIENCE, World};

async fn silent_peers(world: &World, count: usize) -> Vec<TcpStream> {
    let mut peers = Vec::with_capacity(count);
    for _ in 0..count {
        peers.push(TcpStream::connect(world.address).await.unwrap());
    }
    peers
}

async fn closed(peer: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is as closed as an end.
    let _ = tokio::time::timeout(PATIENCE, peer.read_to_end(&mut rest)).await.expect("was not closed in time");
}

#[tokio::test]
async fn two_hundred_silent_peers_stop_nobody() {
    let world = World::new().await;
    let _silent = silent_peers(&world, 200).await;
    world.until("all are taken in", |gate| gate.counters().half_open == 200).await;
    let mut cabinet = Client::connect(&world, CABINET).await;
    cabinet.ping().await;
}

#[tokio::test]
async fn silent_peers_beyond_the_bound_push_each_other_out_and_nobody_else() {
    let world = World::with(|settings| settings.half_open_max = 50).await;
    let mut silent = silent_peers(&world, 200).await;
    let mut cabinet = Client::connect(&world, CABINET).await;
    cabinet.ping().await;
    closed(&mut silent[0]).await;
    assert!(world.count(Count::HalfOpenEvicted) >= 150);
    assert!(world.handle.counters().half_open <= 50);
}

#[tokio::test]
async fn one_address_has_a_bound_unless_it_is_allowed() {
    let world = World::with(|settings| {
        settings.half_open_per_address = 3;
        settings.address_allow_list.clear();
    })
    .await;
    let mut silent = silent_peers(&world, 4).await;
    closed(&mut silent[3]).await;
    assert_eq!(world.count(Count::AddressRefused), 1);
    silent.clear();
    world.until("their places are free", |gate| gate.counters().half_open == 0).await;
    Client::connect(&world, CABINET).await.ping().await;
}

#[tokio::test]
async fn silence_before_tls_and_before_connect_ends_with_the_time_for_both() {
    let world = World::with(|settings| settings.greeting_timeout = Duration::from_millis(300)).await;
    let mut before_tls = TcpStream::connect(world.address).await.unwrap();
    let mut dripping = TcpStream::connect(world.address).await.unwrap();
    // The start of a TLS record that never ends.
    dripping.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.unwrap();
    let mut before_connect = Client::tls(&world, CABINET).await;
    before_connect.send(&[0x10, 0x20, 0x00]).await;
    closed(&mut before_tls).await;
    closed(&mut dripping).await;
    assert_eq!(before_connect.rest().await, [0_u8; 0]);
    assert_eq!(world.count(Count::GreetingTimeout), 3);
}

#[tokio::test]
async fn rubbish_instead_of_tls_is_closed_and_counted() {
    let world = World::new().await;
    for rubbish in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0x10, 0x0e, 0x00, 0x04, b'M', b'Q', b'T', b'T', 5]] {
        let mut peer = TcpStream::connect(world.address).await.unwrap();
        peer.write_all(rubbish).await.unwrap();
        closed(&mut peer).await;
    }
    world.until("all are counted", |gate| gate.counters().count(Count::HandshakeFailed) == 3).await;
    Client::connect(&world, CABINET).await.ping().await;
}

#[tokio::test]
async fn a_peer_that_takes_no_byte_is_given_up() {
    let mut world = World::with(|settings| {
        settings.write_stall = Duration::from_millis(300);
        settings.packets_per_second = 1_000_000;
        settings.packet_burst = 1_000_000;
    })
    .await;
    let mut cabinet = Client::connect(&world, CABINET).await;
    world.cabinet_connected().await;
    // It asks and asks and never reads an answer.
    let pings = crate::client::PINGREQ.repeat(8 * 1024);
    let asking = async {
        loop {
            cabinet.send_if_open(&pings).await;
        }
    };
    tokio::select! {
        () = asking => {}
        gone = world.cabinet_gone() => assert_eq!(gone.1, fleet_broker::gate::Gone::WriteStalled),
    }
    assert_eq!(world.count(Count::WriteStalled), 1);
}
