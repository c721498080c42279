//! What the programs say when they cannot start, or are not let in: what is wrong, where, and the way out.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::ensure;
use certs::{CertificateAuthority, LeafKey, LeafRequest, TlsIdentity};
use fleet_cli::setup::{self, CabinetFolder, CabinetOptions, InitOptions};
use fleet_cli::stage::{Binaries, CabinetPlan, PATIENCE, Process, Stage};
use fleet_tests::World;
use schemas::ids::Identity;

/// Runs a program to its end; returns its exit code and what it said.
async fn ended(program: &Path, arguments: &[&str], log: &Path) -> anyhow::Result<(Option<i32>, String)> {
    let arguments = arguments.iter().map(OsString::from);
    let mut process = Process::start("a program", program, arguments, log.to_owned())?;
    let code = process.exit_code(PATIENCE).await?;
    Ok((code, process.output()))
}

/// The program ended with `code`, and each text is in a line of its own words.
fn said((code, output): &(Option<i32>, String), expected: i32, texts: &[&str]) -> anyhow::Result<()> {
    ensure!(*code == Some(expected), "exit code {code:?} instead of {expected}: {output}");
    for text in texts {
        ensure!(output.lines().any(|line| line.contains(text)), "no line says `{text}`: {output}");
    }
    ensure!(!output.contains("panicked"), "{output}");
    Ok(())
}

/// A cabinet whose agent has never run and whose serial port is not there.
fn cabinet_files(stage: &Stage, name: &str) -> anyhow::Result<String> {
    let port = stage.folder().join("no-such-port");
    let named = (name.parse()?, "site".parse()?);
    let mut options = CabinetOptions::new(stage.layout(), named, "LF-0001", "1-2:S".parse()?, port);
    options.screen = ([127, 0, 0, 1], 0).into();
    let made = setup::cabinet(&options)?;
    enroll_by_hand(stage, &made)?;
    Ok(made.agent_toml().to_string_lossy().into_owned())
}

/// What `cabinet-agent enroll` leaves behind, without a broker.
fn enroll_by_hand(stage: &Stage, made: &CabinetFolder) -> anyhow::Result<()> {
    let (signer, token) = (stage.layout().signer(), &made.token);
    let authority = CertificateAuthority::open(&signer.join("cabinets.crt"), &signer.join("cabinets.key"), None)?;
    let folder = made.path.join("identity");
    certs::ensure_private_dir(&folder)?;
    let key = certs::generate_p256()?;
    let request = LeafRequest::client(Identity::cabinet(&token.tenant, &token.cabinet));
    let issued = authority.issue(&request, &LeafKey::from(&key), SystemTime::now())?;
    TlsIdentity::write_bundle(&folder.join("current.pem"), &key.into(), &[issued.certificate])?;
    std::fs::copy(stage.layout().public().join("root.crt"), folder.join("root.crt"))?;
    let roots = token.keyset_roots.map(|root| data_encoding::HEXLOWER.encode(&root));
    let text = format!(
        "tenant = \"{}\"\ncabinet = \"{}\"\ninstance = \"{}\"\n[fleet]\nhost = \"{}\"\nport = {}\n[keys]\nroots = {roots:?}\n",
        token.tenant, token.cabinet, token.instance, token.host, token.mqtt_port
    );
    Ok(std::fs::write(folder.join("identity.toml"), text)?)
}

#[tokio::test]
async fn every_mistake_in_the_settings_is_listed() -> anyhow::Result<()> {
    let stage = Stage::set_up("acme")?;
    let Binaries { broker, agent, .. } = stage.binaries().clone();
    let log = stage.log("settings");

    let settings = stage.layout().broker_toml();
    let text = std::fs::read_to_string(&settings)?;
    let wrong = text.replace("[log]\nfilter = \"info\"", "packets = 1\n[log]\nfilter = \"===\"");
    ensure!(wrong != text);
    std::fs::write(&settings, wrong)?;
    let path = settings.to_string_lossy();
    let output = ended(&broker, &["--settings", &path, "--set", "gate.packets_per_second=0"], &log).await?;
    said(&output, 2, &["signer.packets", "log.filter", "gate.packets_per_second", "broker.toml"])?;

    let path = stage.layout().signer_toml();
    let path = path.to_string_lossy();
    let sets = ["--set", "tenant=ACME", "--set", "commands_per_minute=0", "--set", "keys.unlok=x"];
    let output = ended(&broker, &[&["signer", "--settings", &path], &sets[..]].concat(), &log).await?;
    said(&output, 2, &["`tenant`", "`commands_per_minute`", "`keys.unlok` is not a known setting"])?;

    let path = cabinet_files(&stage, "berlin-01")?;
    let sets = ["--set", "tenant=ACME", "--set", "instance=zz", "--set", "data.stor=x"];
    let output = ended(&agent, &[&["--settings", &path], &sets[..]].concat(), &log).await?;
    said(&output, 2, &["`tenant`", "`instance`", "`data.stor` is not a known setting"])?;
    let output = ended(&agent, &["--settings", &path, "--set", "screen.listen=0.0.0.0:8080"], &log).await?;
    said(&output, 2, &["`screen.listen` must be a loopback address"])?;

    let boards = Path::new(&path).with_file_name("board.toml");
    let text = std::fs::read_to_string(&boards)?.replace("lock = 2", "lock = 99");
    std::fs::write(&boards, text)?;
    let output = ended(&agent, &["--settings", &path], &log).await?;
    said(&output, 2, &["board.toml", "compartment 2: board 1 has no lock 99"])?;

    let output = ended(&broker, &["--settings", "/nowhere/broker.toml"], &log).await?;
    said(&output, 2, &["/nowhere/broker.toml: cannot be read"])
}

#[tokio::test]
async fn a_key_that_others_can_read_or_that_is_missing_stops_the_start() -> anyhow::Result<()> {
    let stage = Stage::set_up("acme")?;
    let Binaries { broker, agent, .. } = stage.binaries().clone();
    let log = stage.log("keys");
    let cabinet = cabinet_files(&stage, "berlin-01")?;
    let (layout, broker_toml, signer_toml) =
        (stage.layout(), stage.layout().broker_toml(), stage.layout().signer_toml());
    let (broker_toml, signer_toml) = (broker_toml.to_string_lossy(), signer_toml.to_string_lossy());
    for (key, program, arguments) in [
        (layout.broker().join("server.key"), &broker, vec!["--settings", &*broker_toml]),
        (layout.signer().join("unlock.key"), &broker, vec!["signer", "--settings", &*signer_toml]),
        (Path::new(&cabinet).with_file_name("identity/current.pem"), &agent, vec!["--settings", &*cabinet]),
    ] {
        let name = key.to_string_lossy().into_owned();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640))?;
        said(&ended(program, &arguments, &log).await?, 1, &[&format!("run `chmod 600 {name}`")])?;
        std::fs::remove_file(&key)?;
        said(&ended(program, &arguments, &log).await?, 1, &[&format!("`{name}` does not exist")])?;
    }
    Ok(())
}

#[tokio::test]
async fn an_expired_server_certificate_stops_the_broker() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    let mut options = InitOptions::new(folder.path().join("fleet"), "acme".parse()?, "127.0.0.1")?;
    options.now = yesterday;
    let layout = setup::init(&options)?;
    let (certificate, settings) = (layout.broker().join("server.crt"), layout.broker_toml());
    let authority =
        CertificateAuthority::open(&layout.ca().join("servers.crt"), &layout.ca().join("servers.key"), None)?;
    let key = certs::read_p256(&layout.broker().join("server.key"), None)?;
    let mut request = LeafRequest::server("server:acme:gate".parse()?, vec!["127.0.0.1".try_into()?]);
    request.lifetime = Some(Duration::from_secs(3_600));
    let issued = authority.issue(&request, &LeafKey::from(&key), yesterday + Duration::from_secs(60))?;
    certs::write_public(&certificate, issued.pem().as_bytes())?;
    let broker = Binaries::find()?.broker;
    let output = ended(&broker, &["--settings", &settings.to_string_lossy()], &folder.path().join("log")).await?;
    said(&output, 1, &["server.crt` expired on", "replace it with a newly issued one"])
}

#[tokio::test]
async fn what_is_in_use_is_not_shared() -> anyhow::Result<()> {
    let world = World::start().await?;
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    let Binaries { broker, agent, .. } = world.stage.binaries().clone();
    let log = world.stage.log("second");
    let (broker_toml, signer_toml, agent_toml) =
        (world.stage.layout().broker_toml(), world.stage.layout().signer_toml(), site.cabinet.folder().agent_toml());

    let port = world.stage.port().to_string();
    let output = ended(&broker, &["--settings", &broker_toml.to_string_lossy()], &log).await?;
    said(&output, 1, &[&port, "stop the other process or set gate.listen"])?;
    let elsewhere = ["--settings", &broker_toml.to_string_lossy(), "--set", "gate.listen=127.0.0.1:0"];
    let output = ended(&broker, &elsewhere, &log).await?;
    said(&output, 1, &["for enrolment; if the port is in use, set enrolment.listen to another one"])?;
    let elsewhere = [&elsewhere[..], &["--set", "enrolment.listen=127.0.0.1:0"]].concat();
    let output = ended(&broker, &elsewhere, &log).await?;
    said(&output, 1, &["fleet.redb` is in use by another process; stop that one first"])?;
    let output = ended(&broker, &["signer", "--settings", &signer_toml.to_string_lossy()], &log).await?;
    said(&output, 1, &["is in use by a running signer; stop that one first"])?;
    let output = ended(&agent, &["--settings", &agent_toml.to_string_lossy()], &log).await?;
    said(&output, 1, &["cabinet.redb` is in use by another process; stop that one first"])?;

    // Those that run were not disturbed.
    ensure!(world.show(&site).await?.summary.online);
    site.screen()?.view(None).await?;
    Ok(())
}

#[tokio::test]
async fn a_cabinet_that_nobody_registered_learns_what_to_do() -> anyhow::Result<()> {
    let world = World::start().await?;
    let settings = cabinet_files(&world.stage, "berlin-07")?;
    let arguments = ["--settings", &settings].map(OsString::from);
    let log = world.stage.log("unregistered");
    let process = Process::start("agent", &world.stage.binaries().agent, arguments, log)?;
    process.wait_for_line("fleet cabinet add", PATIENCE).await?;
    process.stop(PATIENCE).await
}
