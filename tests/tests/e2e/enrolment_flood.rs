//! Somebody who takes every place of the enrolment port and holds it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{CabinetPlan, PATIENCE, Stage};
use fleet_tests::{Look, World, until};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Places of the port as shipped.
const PLACES: usize = 64;
/// How long he keeps others from enrolling, at most. As shipped a place is held for 40 s.
const KEPT_OUT: Duration = Duration::from_secs(10);
/// How fast he is: what a processor shakes hands for is not what this is about.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// One of his addresses; 127.0.0.1 is everybody else's.
fn address(number: usize) -> anyhow::Result<IpAddr> {
    Ok(Ipv4Addr::new(127, 0, 1, u8::try_from(number)?).into())
}

async fn connect(from: IpAddr, port: u16) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Ok(timeout(PATIENCE, socket.connect(to)).await.context("no connection")??)
}

/// Through the handshake, which asks for no certificate: he is where a device with a token is.
async fn shaken(from: IpAddr, port: u16) -> anyhow::Result<TlsStream<TcpStream>> {
    let tls = TlsConnector::from(Arc::new(certs::first_contact_config()?));
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1")?;
    Ok(timeout(PATIENCE, tls.connect(name, connect(from, port).await?)).await.context("no handshake")??)
}

/// Keeps a place for as long as he is let, and takes another one whenever he loses it.
async fn hold(from: IpAddr, port: u16, shake: bool) {
    loop {
        let mut rest = [0; 64];
        if shake {
            if let Ok(mut stream) = shaken(from, port).await {
                while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
            }
        } else if let Ok(mut stream) = connect(from, port).await {
            while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Connections to the port that the broker holds, as the kernel sees them.
fn held(port: u16) -> anyhow::Result<usize> {
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let local = format!(":{port:04X}");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    Ok(lines.filter(|fields| fields[1].ends_with(&local) && fields[3] == "01").count())
}

/// A whole fleet beside him: a cabinet gets its token, its key and its certificate, and is online.
async fn enrols_beside(addresses: usize, each: usize, shake: bool) -> anyhow::Result<Duration> {
    let world = World::start_on(Stage::set_up("acme")?).await?;
    let port = world.stage.layout().settings().enrolment_port;
    let mut attack = JoinSet::new();
    for number in 1..=addresses {
        for _ in 0..each {
            attack.spawn(hold(address(number)?, port, shake));
        }
    }
    until("he has all places", async || {
        let held = held(port)?;
        Ok(Look::at((held >= PLACES).then_some(()), || format!("{held} connections")))
    })
    .await?;
    let begun = Instant::now();
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    let took = begun.elapsed();
    world.until_online(&site, true).await?;
    ensure!(held(port)? >= PLACES / 2, "he had gone");
    attack.abort_all();
    Ok(took)
}

#[tokio::test]
async fn an_address_that_takes_all_places_keeps_nobody_from_enrolling() -> anyhow::Result<()> {
    for shake in [false, true] {
        let took = enrols_beside(1, 2 * PLACES, shake).await?;
        ensure!(took < KEPT_OUT, "{took:?} (handshakes: {shake})");
    }
    Ok(())
}

#[tokio::test]
async fn a_handful_of_addresses_that_take_all_places_keep_nobody_from_enrolling() -> anyhow::Result<()> {
    let took = enrols_beside(8, PLACES / 4, true).await?;
    ensure!(took < KEPT_OUT, "{took:?}");
    Ok(())
}
