//! The signer on another host: TLS with certificates on both sides, and nobody but the broker is heard.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use certs::{CertificateAuthority, LeafKey, LeafRequest, ServerPeer, ServerRoots, TlsIdentity};
use fleet_cli::stage::{CabinetPlan, PATIENCE, Stage, free_port};
use fleet_core::signing::{MakeSealed, SignerReply, SignerRequest};
use fleet_tests::{Look, Site, World, order, until};
use rustls::ClientConfig;
use schemas::api::OrderState;
use schemas::cbor;
use schemas::ids::{Identity, Role};
use schemas::messages::{Compartment, CredentialKind};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::keys::opens;
use crate::signer_talk::{Talk, frame};

fn far_away() -> anyhow::Result<(Stage, u16)> {
    let port = free_port()?;
    let stage = Stage::set_up_with("acme", |options| {
        options.signer = Some(format!("127.0.0.1:{port}"));
        Ok(())
    })?;
    Ok((stage, port))
}

/// A connection whose handshake is over on this side; in TLS 1.3 the other one judges afterwards.
async fn shake(config: ClientConfig, port: u16) -> anyhow::Result<Talk<TlsStream<TcpStream>>> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1")?;
    Ok(Talk::over(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?))
}

fn question() -> anyhow::Result<SignerRequest> {
    Ok(MakeSealed { tenant: "acme".parse()?, kind: CredentialKind::Digits, digits: 8 }.into())
}

/// Asks, and gets no frame.
async fn not_heard(what: &str, config: ClientConfig, port: u16) -> anyhow::Result<()> {
    // Refused in the handshake is as good.
    let Ok(mut talk) = shake(config, port).await else { return Ok(()) };
    let _ = talk.say(&frame(&cbor::encode(&(1u64, question()?)))).await;
    ensure!(talk.until_closed().await? == 0, "{what} was answered");
    Ok(())
}

/// What a client of the fleet has, speaking the signer's protocol.
fn as_client(stage: &Stage, own: &TlsIdentity) -> anyhow::Result<ClientConfig> {
    let roots = ServerRoots::from_file(&stage.layout().public().join("root.crt"), "acme".parse()?)?;
    let mut config = certs::client_config(own, &roots, certs::system_clock())?;
    config.alpn_protocols = vec![certs::ALPN_SIGNER.to_vec()];
    Ok(config)
}

fn as_server(stage: &Stage, own: &TlsIdentity) -> anyhow::Result<ClientConfig> {
    let signer = Identity::new(Role::Server, "acme".parse()?, "signer".parse()?);
    let peer = ServerPeer::from_file(&stage.layout().public().join("root.crt"), signer)?;
    Ok(certs::signer_client_config(own, &peer, certs::system_clock())?)
}

/// Another server of the fleet, as its operator could make one.
fn other_server(stage: &Stage, name: &str) -> anyhow::Result<TlsIdentity> {
    let layout = stage.layout();
    let authority =
        CertificateAuthority::open(&layout.ca().join("servers.crt"), &layout.ca().join("servers.key"), None)?;
    let key = certs::generate_p256()?;
    let identity = Identity::new(Role::Server, "acme".parse()?, name.parse()?);
    let request = LeafRequest::server(identity, vec!["127.0.0.1".try_into()?]);
    let issued = authority.issue(&request, &LeafKey::from(&key), SystemTime::now())?;
    let folder = stage.folder().join(name);
    certs::ensure_private_dir(&folder)?;
    certs::write_public(&folder.join("own.crt"), issued.pem().as_bytes())?;
    certs::write_p256(&folder.join("own.key"), &key, None)?;
    Ok(TlsIdentity::read(&folder.join("own.crt"), &folder.join("own.key"), None)?)
}

fn owned(folder: &Path, name: &str) -> anyhow::Result<TlsIdentity> {
    Ok(TlsIdentity::read(&folder.join(format!("{name}.crt")), &folder.join(format!("{name}.key")), None)?)
}

async fn opens_again(world: &World, site: &Site) -> anyhow::Result<()> {
    let door = Compartment::new(2).context("a door")?;
    until("a door opens again", async || {
        let result = world.unlock(site, door).await?;
        Ok(Look::at(result.is_ok().then_some(()), || format!("{result:?}")))
    })
    .await
}

#[tokio::test]
async fn a_fleet_works_with_its_signer_on_another_host_and_finds_it_again() -> anyhow::Result<()> {
    let (stage, _) = far_away()?;
    let mut world = World::start_on(stage).await?;
    ensure!(!world.stage.layout().signer().join("signer.sock").exists(), "there is a socket, too");
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    opens(&world, &site, 1).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    site.load("shop/A17").await?;
    let code = world.shop.until_notified("A17").await?.code;
    site.collect(&code).await?;
    world.shop.until_state("A17", OrderState::Collected).await?;
    ensure!(world.stage.signer().is_some_and(|signer| signer.output().contains("server:acme:broker")));

    world.stage.kill_signer().await?;
    let refused = world.unlock(&site, Compartment::new(2).context("a door")?).await?;
    ensure!(refused.is_err(), "nobody signed, and yet {refused:?}");
    world.stage.start_signer().await?;
    opens_again(&world, &site).await
}

#[tokio::test]
async fn only_the_broker_is_heard() -> anyhow::Result<()> {
    let (stage, port) = far_away()?;
    let world = World::start_on(stage).await?;
    let stage = &world.stage;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;

    let asked = || anyhow::Ok(stage.signer().context("no signer")?.output().matches("make sealed").count());
    let before = asked()?;
    let operator = stage.person(Role::Operator, "admin")?;
    let operator = owned(operator.path(), "person")?;
    not_heard("an operator", as_client(stage, &operator)?, port).await?;
    let cabinet = TlsIdentity::read_bundle(&site.cabinet.folder().path.join("identity/current.pem"))?;
    not_heard("a cabinet", as_client(stage, &cabinet)?, port).await?;
    not_heard("another server", as_server(stage, &other_server(stage, "gate-2")?)?, port).await?;
    not_heard("the signer itself", as_server(stage, &owned(&stage.layout().signer(), "signer")?)?, port).await?;
    let foreign = Stage::set_up("acme")?;
    let theirs = owned(&foreign.layout().broker(), "server")?;
    not_heard("the broker of another fleet of that name", as_server(stage, &theirs)?, port).await?;
    let mut nobody = certs::first_contact_config()?;
    nobody.alpn_protocols = vec![certs::ALPN_SIGNER.to_vec()];
    not_heard("nobody", nobody, port).await?;
    let mut mqtt = as_server(stage, &owned(&stage.layout().broker(), "server")?)?;
    mqtt.alpn_protocols = Vec::new();
    not_heard("a client of another protocol", mqtt, port).await?;
    // Without TLS.
    let mut plain = Talk::over(TcpStream::connect(("127.0.0.1", port)).await?);
    plain.say(&frame(&cbor::encode(&(1u64, question()?)))).await?;
    plain.until_closed().await?;
    ensure!(!plain.heard.windows(4).any(|part| part == b"seal"), "{:?}", plain.heard);

    let said = stage.signer().context("no signer")?.output();
    ensure!(said.contains("a peer that is not the broker is refused"), "{said}");
    ensure!(asked()? == before, "something was asked: {said}");
    // With the broker's own certificate the same question is answered: they were refused for what they are.
    let own = owned(&stage.layout().broker(), "server")?;
    let reply = shake(as_server(stage, &own)?, port).await?.ask(question()?).await?;
    ensure!(matches!(reply, SignerReply::Sealed(_)), "{reply:?}");
    opens(&world, &site, 1).await
}

#[tokio::test]
async fn silent_strangers_and_lost_connections_of_the_broker_keep_it_out_no_longer_than_a_moment() -> anyhow::Result<()>
{
    let (mut stage, port) = far_away()?;
    stage.start_signer().await?;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(("127.0.0.1", port)).await?);
    }
    let own = owned(&stage.layout().broker(), "server")?;
    // Connections whose other end is gone without a word, as after a power cut of the broker's host.
    let mut lost = Vec::new();
    for _ in 0..12 {
        let mut talk = shake(as_server(&stage, &own)?, port).await?;
        let reply = talk.ask(question()?).await?;
        ensure!(matches!(reply, SignerReply::Sealed(_)), "{reply:?}");
        lost.push(talk);
    }
    let open = fs::read_dir(format!("/proc/{}/fd", stage.signer().and_then(|one| one.id()).context("gone")?))?.count();
    ensure!(open < 64 + 4 + 32, "{open} descriptors");
    Ok(())
}

#[tokio::test]
async fn the_broker_asks_nobody_but_its_signer() -> anyhow::Result<()> {
    let (stage, _) = far_away()?;
    let mut world = World::start_on(stage).await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    world.stage.kill_signer().await?;
    // Somebody who has the address, and a certificate of this very fleet for that host, though not the signer's.
    other_server(&world.stage, "gate-2")?;
    let path = world.stage.layout().signer_toml();
    let genuine = fs::read_to_string(&path)?;
    let folder = world.stage.folder().join("gate-2");
    let posing = genuine
        .replace("\"signer.crt\"", &format!("\"{}\"", folder.join("own.crt").display()))
        .replace("\"signer.key\"", &format!("\"{}\"", folder.join("own.key").display()));
    ensure!(posing != genuine);
    fs::write(&path, &posing)?;
    world.stage.start_signer().await?;
    let broker = world.stage.broker().context("no broker")?;
    broker.wait_for_line("server:acme:gate-2 is not server:acme:signer", PATIENCE).await?;
    let refused = world.unlock(&site, Compartment::new(1).context("a door")?).await?;
    ensure!(refused.is_err(), "{refused:?}");
    ensure!(world.stage.signer().is_some_and(|signer| !signer.output().contains("sign command")), "it was asked");

    world.stage.kill_signer().await?;
    fs::write(&path, &genuine)?;
    world.stage.start_signer().await?;
    opens_again(&world, &site).await
}
