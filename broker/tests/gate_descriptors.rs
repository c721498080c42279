//! The gate without file descriptors. A binary of its own, because the limit is the process's.
#![expect(clippy::unwrap_used, clippy::unwrap_in_result, reason = "a test that fails has nothing to recover")]

#[expect(dead_code, reason = "the other suite uses the rest")]
#[path = "gate_suite/client.rs"]
mod client;
#[expect(dead_code, reason = "the other suite uses the rest")]
#[expect(clippy::wildcard_enum_match_arm, reason = "its helpers name what they expected")]
#[path = "gate_suite/fixture.rs"]
mod fixture;

use fleet_broker::gate::Count;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;

use client::Client;
use fixture::{CABINET, EVE, World};

#[tokio::test]
async fn accept_survives_a_lack_of_file_descriptors() {
    let mut world = World::new().await;
    let mut cabinet = Client::connect(&world, CABINET).await;
    world.cabinet_connected().await;
    // Made while files can still be opened.
    let eve = std::sync::Arc::new(fixture::client_tls(EVE));
    let mut ballast = Some(std::fs::File::open("/dev/null").unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();
    let mut peers = Vec::new();
    // Both ends of every connection are in this process. If it is our end that finds no descriptor, the ballast gives it
    // the last one, and the gate's end finds none.
    while world.count(Count::AcceptFailed) == 0 {
        match TcpStream::connect(world.address).await {
            Ok(peer) => peers.push(peer),
            Err(_) => {
                drop(ballast.take());
                tokio::task::yield_now().await;
            }
        }
    }
    cabinet.ping().await;
    drop(peers);
    world.until("the silent ones are gone", |gate| gate.counters().half_open == 0).await;
    let mut eve = Client::tls_with(world.address, eve).await;
    eve.send(&client::connect(EVE)).await;
    eve.connack().await;
    eve.ping().await;
}
