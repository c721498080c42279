//! The line to a screen that is a computer of its own, where it is not there or not asked for.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Output;

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{CabinetPlan, free_port};
use fleet_tests::{Look, Site, World, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

fn settings(port: u16) -> [OsString; 3] {
    [
        "env".into(),
        format!("CABINET_AGENT__SCREEN__PAIRED__LISTEN=127.0.0.1:{port}").into(),
        "CABINET_AGENT__SCREEN__PAIRED__PEER=127.0.0.1".into(),
    ]
}

async fn pair_screen(world: &World, site: &Site, through: &[OsString]) -> anyhow::Result<Output> {
    let mut words = through.iter().cloned().chain([world.stage.binaries().agent.clone().into()]);
    let mut command = Command::new(words.next().context("a program")?);
    command.args(words).arg("pair-screen").arg("--settings").arg(site.cabinet.folder().agent_toml());
    command.output().await.context("run cabinet-agent pair-screen")
}

fn says(output: &Output, words: &str) -> anyhow::Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains(words) && output.stdout.is_empty(), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn a_line_that_is_not_there_yet_is_waited_for_and_keeps_nobody_from_an_order() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let port = free_port()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // The address cannot be had, as long as something else has it or the interface is not there.
    let taken = TcpListener::bind(address).await?;
    let launcher = settings(port).into();
    let site = world.cabinet(CabinetPlan { launcher, ..CabinetPlan::new("berlin-01", "1:S") }).await?;
    world.shop.put(&fleet_tests::order("A17", "berlin-01", "S")).await?;
    let door = site.load("shop/A17").await?;
    let code = world.shop.until_notified("A17").await?.code;
    ensure!(site.collect(&code).await? == door);
    drop(taken);
    until("the line is served", async || {
        let Ok(mut stream) = TcpStream::connect(address).await else { return Ok(Look::at(None, || "nobody".into())) };
        // TLS says what it thinks of plain text.
        let mut said = Vec::new();
        let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
        let _ = stream.read_to_end(&mut said).await;
        Ok(Look::at(said.starts_with(&[0x15, 3, 3]).then_some(()), || format!("{said:?}")))
    })
    .await?;
    let made = pair_screen(&world, &site, &settings(port)).await?;
    ensure!(made.status.success() && !made.stdout.is_empty(), "{made:?}");
    Ok(())
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_costs_the_paired_screen_and_no_order() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let with = settings(free_port()?);
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1:S")).await?;
    world.shop.put(&fleet_tests::order("A17", "berlin-01", "S")).await?;
    let door = site.load("shop/A17").await?;
    let code = world.shop.until_notified("A17").await?.code;
    site.cabinet.stop_agent().await?;
    let folder = site.cabinet.folder().agent_toml().with_file_name("paired-screen");
    std::fs::create_dir(&folder)?;
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    site.cabinet.launch_through(with.clone());
    site.start_agent().await?;
    ensure!(site.collect(&code).await? == door);
    says(&pair_screen(&world, &site, &with).await?, "the agent refuses (404")?;
    let log = std::fs::read_to_string(site.cabinet.log())?;
    ensure!(log.contains("chmod 700"), "the log does not say what to do");
    Ok(())
}

#[tokio::test]
async fn whoever_wants_to_pair_a_screen_is_told_what_is_missing() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1:S")).await?;
    let with = settings(free_port()?);
    says(&pair_screen(&world, &site, &["env".into()]).await?, "set `screen.paired.listen` and `screen.paired.peer`")?;
    says(&pair_screen(&world, &site, &with).await?, "is it running by these settings since they were changed?")?;
    let public = ["env".into(), "CABINET_AGENT__SCREEN__PAIRED__LISTEN=0.0.0.0:8443".into(), with[2].clone()];
    says(&pair_screen(&world, &site, &public).await?, "is an address of a network")?;
    site.cabinet.stop_agent().await?;
    says(&pair_screen(&world, &site, &with).await?, "is it running?")?;
    std::fs::remove_file(site.cabinet.folder().agent_toml().with_file_name("screen.url"))?;
    says(&pair_screen(&world, &site, &with).await?, "the agent is not running, or not by these settings")
}
