//! Certificates that renew themselves, and hardware that takes another's place.

use std::ffi::OsString;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use certs::{CertificateAuthority, LeafKey, LeafRequest, TlsIdentity, read_private};
use fleet_cli::setup;
use fleet_cli::stage::CabinetPlan;
use fleet_tests::{Look, Site, World, order, until};
use schemas::api::{OrderState, Reply};
use schemas::ids::Identity;

use crate::machine::faketime;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Gives the cabinet a certificate as if it had been issued so long ago for so long, while its agent is down.
fn age(world: &World, site: &Site, issued_ago: Duration, lifetime: Duration) -> anyhow::Result<()> {
    let signer = world.stage.layout().signer();
    let authority = CertificateAuthority::open(&signer.join("cabinets.crt"), &signer.join("cabinets.key"), None)?;
    let tenant = &world.stage.layout().settings().tenant;
    let identity = Identity::cabinet(tenant, site.cabinet.id());
    let request = LeafRequest { lifetime: Some(lifetime), ..LeafRequest::client(identity) };
    let key = certs::generate_p256()?;
    let issued = authority.issue(&request, &LeafKey::from(&key), SystemTime::now() - issued_ago)?;
    TlsIdentity::write_bundle(&current(site), &key.into(), &[issued.certificate])?;
    Ok(())
}

pub(crate) fn current(site: &Site) -> std::path::PathBuf {
    site.cabinet.folder().path.join("identity/current.pem")
}

/// The moment at which the cabinet's certificate ends.
fn ends(site: &Site) -> anyhow::Result<SystemTime> {
    Ok(TlsIdentity::read_bundle(&current(site))?.summary().not_after)
}

/// Waits until a certificate of full length is in use and nothing of the renewal is left.
pub(crate) async fn until_renewed(world: &World, site: &Site) -> anyhow::Result<()> {
    let folder = current(site).with_file_name("");
    until("the certificate is renewed", async || {
        let is_new = ends(site)? > SystemTime::now() + 600 * DAY;
        let left = ["next.pem", "request.key"].map(|name| folder.join(name).exists());
        if is_new && left == [false, false] {
            Ok(Look::Seen(()))
        } else {
            Ok(Look::NotYet(format!("{is_new} {left:?}")))
        }
    })
    .await?;
    world.until_online(site, true).await
}

#[tokio::test]
async fn a_certificate_renews_itself_and_the_cabinet_works_on() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    site.cabinet.stop_agent().await?;
    // Backdated by an hour: two thirds of 70 minutes are over.
    age(&world, &site, Duration::ZERO, HOUR / 6)?;
    let before = read_private(&current(&site))?;
    site.start_agent().await?;
    until_renewed(&world, &site).await?;
    ensure!(*read_private(&current(&site))? != *before, "the key is another one, too");
    // Said once the folder is on disk, which may be a while after the file is there.
    until("it was proven first", async || {
        let log = std::fs::read_to_string(site.cabinet.log())?;
        let said = log.contains("the new certificate works and is in use");
        Ok(Look::at(said.then_some(()), || log.lines().last().unwrap_or_default().to_owned()))
    })
    .await?;
    world.shop.put(&order("A1", "berlin-01", "S")).await?;
    site.load("shop/A1").await?;
    world.shop.until_state("A1", OrderState::Stored).await?;
    // What is renewed is not renewed again.
    site.cabinet.stop_agent().await?;
    site.start_agent().await?;
    site.cabinet.until_online().await?;
    let issued = std::fs::read_to_string(world.stage.log("broker"))?.matches("certificate issued").count();
    ensure!(issued == 2, "one enrolment, one renewal, and not {issued}");
    Ok(())
}

#[tokio::test]
async fn a_cabinet_that_was_away_renews_within_the_grace_and_not_behind_it() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    site.cabinet.stop_agent().await?;
    age(&world, &site, 300 * DAY, 121 * DAY)?;
    site.start_agent().await?;
    until_renewed(&world, &site).await?;

    site.cabinet.stop_agent().await?;
    age(&world, &site, 300 * DAY, 119 * DAY)?;
    let ended = ends(&site)?;
    site.start_agent().await?;
    until("the agent says that it was refused", async || {
        let log = std::fs::read_to_string(site.cabinet.log())?;
        let refused = log.contains("the certificate was not renewed");
        if refused { Ok(Look::Seen(())) } else { Ok(Look::NotYet(log.lines().last().unwrap_or_default().to_owned())) }
    })
    .await?;
    ensure!(ends(&site)? == ended && !site.cabinet.folder().path.join("identity/next.pem").exists());
    Ok(())
}

/// Without a battery it believes to be in 1970 and its certificate to be young: the fleet's refusal tells it otherwise.
#[tokio::test]
async fn a_cabinet_without_a_clock_whose_certificate_has_ended_finds_its_way_back() -> anyhow::Result<()> {
    let Some(faketime) = faketime()? else { return Ok(()) };
    let world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    site.cabinet.stop_agent().await?;
    age(&world, &site, 2 * DAY, DAY)?;
    let mut preload = OsString::from("LD_PRELOAD=");
    preload.push(&faketime);
    let words =
        ["env".into(), preload, "FAKETIME=@2026-01-02 00:00:00".into(), "FAKETIME_DONT_FAKE_MONOTONIC=1".into()];
    site.cabinet.launch_through(words);
    // A store that has never heard of a time: only the wall clock is left.
    std::fs::remove_file(site.cabinet.folder().path.join("cabinet.redb"))?;
    site.start_agent().await?;
    until_renewed(&world, &site).await
}

#[tokio::test]
async fn an_agent_killed_while_it_renews_has_a_certificate_that_works() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    site.cabinet.stop_agent().await?;
    for part in ["request.key", "next.pem", "next.pem", "request.key"] {
        age(&world, &site, Duration::ZERO, HOUR / 6)?;
        let half_done = current(&site).with_file_name(part);
        site.start_agent().await?;
        until("the renewal is under way, or over", async || {
            let over = ends(&site)? > SystemTime::now() + 600 * DAY;
            if half_done.exists() || over { Ok(Look::Seen(())) } else { Ok(Look::NotYet("nothing yet".to_owned())) }
        })
        .await?;
        site.cabinet.kill_agent().await?;
        site.start_agent().await?;
        until_renewed(&world, &site).await?;
        site.cabinet.kill_agent().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_new_certificate_that_the_fleet_refuses_does_not_cost_the_old_one() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    site.cabinet.stop_agent().await?;
    let good = read_private(&current(&site))?;
    // The next one has ended, as after a clock that was wrong at the fleet.
    let next = current(&site).with_file_name("next.pem");
    age(&world, &site, 2 * DAY, DAY)?;
    std::fs::rename(current(&site), &next)?;
    certs::create_private(&current(&site), &good)?;
    site.start_agent().await?;
    world.until_online(&site, true).await?;
    ensure!(*read_private(&current(&site))? == *good, "the one that works is kept");
    // Half a file is no certificate either.
    site.cabinet.kill_agent().await?;
    std::fs::remove_file(&next)?;
    certs::create_private(&next, &good[..good.len() / 2])?;
    site.start_agent().await?;
    site.cabinet.until_online().await
}

#[tokio::test]
async fn other_hardware_takes_over_and_the_former_finds_no_way_back() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut former = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    world.shop.put(&order("A1", "berlin-01", "S")).await?;
    let named = (former.cabinet.id().clone(), "demo-site".parse()?);
    let layout = world.stage.layout();
    let made = setup::new_cabinet_token(layout, named, "LF-0002", setup::TOKEN_LIFE, SystemTime::now())?;
    ensure!(world.operator.request(&made.replacement()).await? == Reply::Done);
    former.cabinet.until_online().await?;

    // The same cabinet with a new computer: its own folder, the old doors.
    let new = world.stage.folder().join("new-computer");
    certs::ensure_private_dir(&new)?;
    for file in ["agent.toml", "board.toml"] {
        std::fs::copy(made.path.join(file), new.join(file))?;
    }
    let token = new.join("token");
    certs::create_private(&token, made.token.to_string().as_bytes())?;
    let settings = new.join("agent.toml");
    let words = ["enroll", "--settings", settings.to_str().context("a path")?, "--serial", "LF-0002", "--token-file"];
    let words = words.map(OsString::from).into_iter().chain([token.into()]);
    let agent = &world.stage.binaries().agent;
    let enrolling = fleet_cli::stage::Process::start("enroll", agent, words, new.join("enroll.log"))?;
    enrolling.wait_for_success(fleet_cli::stage::PATIENCE).await?;

    // The former agent is cut, and what it says is not heard any more.
    world.until_alone(&former).await?;
    until("the former one is told that it is shut out", async || {
        let log = std::fs::read_to_string(former.cabinet.log())?;
        Ok(Look::at(log.contains("NotAuthorized").then_some(()), || log.lines().last().unwrap_or_default().to_owned()))
    })
    .await?;
    former.cabinet.stop_agent().await?;
    let arguments = ["--settings", settings.to_str().context("a path")?, "--set", "fleet.backoff_max_seconds=1"];
    let running =
        fleet_cli::stage::Process::start("agent", agent, arguments.map(OsString::from), new.join("agent.log"))?;
    running.wait_for_line("agent ready", fleet_cli::stage::PATIENCE).await?;
    world.until_online(&former, true).await?;
    former.cabinet.until_book_held(&world.operator).await?;
    let shown = world.show(&former).await?;
    ensure!(shown.instance == made.instance(), "the new instance is the cabinet's");
    running.stop(fleet_cli::stage::PATIENCE).await
}
