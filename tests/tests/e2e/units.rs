//! The systemd units and what belongs to them: systemd itself reads them, and says how much a unit lets its process do.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{CabinetPlan, PATIENCE, Stage};
use fleet_tests::World;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use crate::machine::tool;

/// The units, and the exposure that each may have at most: systemd's figure, from 0 (nothing) to 10 (everything).
const UNITS: [(&str, f64); 3] = [
    ("broker/systemd/fleet-signer.service", 1.0),
    ("broker/systemd/fleet-broker.service", 1.5),
    ("agent/systemd/cabinet-agent.service", 1.6),
];

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<(bool, String)> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("run {program}"))?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

/// A copy whose programs exist here: systemd looks for them.
fn copied(folder: &Path) -> anyhow::Result<Vec<(PathBuf, f64)>> {
    let mut copies = Vec::new();
    for (unit, bound) in UNITS {
        let text = fs::read_to_string(source(unit))?;
        let text = text.replace("/usr/bin/fleet-broker", "/bin/true").replace("/usr/bin/cabinet-agent", "/bin/true");
        let path = folder.join(Path::new(unit).file_name().context("a name")?);
        fs::write(&path, text)?;
        copies.push((path, bound));
    }
    let drop_in = folder.join("fleet-signer.service.d");
    fs::create_dir(&drop_in)?;
    Ok(copies)
}

#[test]
fn systemd_takes_every_unit_and_each_lets_its_process_do_little() -> anyhow::Result<()> {
    if !tool("systemd-analyze")? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let units = copied(folder.path())?;
    for (path, bound) in &units {
        let path = path.to_str().context("a path that is text")?;
        let (good, said) = run("systemd-analyze", &["verify", path])?;
        ensure!(good && !said.contains(path), "{path}: {said}");
        // Above the bound the exit code says so.
        let threshold = format!("--threshold={}", (bound * 10.0).round());
        let arguments = ["security", "--offline=true", &threshold, "--no-pager", path];
        let (good, said) = run("systemd-analyze", &arguments)?;
        ensure!(good, "{path}: {}", said.lines().last().unwrap_or_default());
    }
    // The same with the signer on a host of its own.
    let drop_in = fs::read_to_string(source("broker/systemd/fleet-signer-on-its-own-host.conf"))?;
    let drop_in = drop_in.replace("/usr/bin/fleet-broker", "/bin/true");
    fs::write(folder.path().join("fleet-signer.service.d/own-host.conf"), drop_in)?;
    let path = units[0].0.to_str().context("a path that is text")?;
    let (good, said) = run("systemd-analyze", &["verify", path])?;
    ensure!(good && !said.contains("fleet-signer"), "{said}");
    Ok(())
}

#[test]
fn users_groups_and_folders_of_the_units_are_made_by_the_files_beside_them() -> anyhow::Result<()> {
    let read = |path: &str| fs::read_to_string(source(path));
    for (unit, users) in [
        ("broker/systemd/fleet-signer.service", "broker/systemd/fleet.sysusers.conf"),
        ("broker/systemd/fleet-broker.service", "broker/systemd/fleet.sysusers.conf"),
        ("agent/systemd/cabinet-agent.service", "agent/systemd/cabinet.sysusers.conf"),
    ] {
        let (unit, users) = (read(unit)?, read(users)?);
        let value = |key: &str| {
            let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.with_context(|| format!("no {key}"))
        };
        let (user, shared) = (value("User")?, value("SupplementaryGroups")?);
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let made = |kind: &str, name: &str| {
            users.lines().map(words).any(|line| line.first().is_some_and(|k| k == kind) && line[1] == name)
        };
        ensure!(made("u", user), "user {user}");
        let member =
            |line: Vec<String>| line.first().is_some_and(|kind| kind == "m") && line[1] == user && line[2] == shared;
        ensure!(users.lines().map(words).any(member), "{user} in {shared}");
    }
    let signer = read("broker/systemd/fleet-signer.service")?;
    let folders = read("broker/systemd/fleet.tmpfiles.conf")?;
    ensure!(signer.contains("--set socket=/run/fleet-signer/signer.sock --set socket_group=fleet-signing"));
    ensure!(signer.contains("--set peer_user=fleet-broker"));
    ensure!(folders.contains("d /run/fleet-signer         0710 fleet-signer fleet-signing -"));
    ensure!(read("broker/systemd/fleet-broker.service")?.contains("--set signer.socket=/run/fleet-signer/signer.sock"));
    for tool_name in ["systemd-sysusers", "systemd-tmpfiles"] {
        if !tool(tool_name)? {
            return Ok(());
        }
    }
    // Into a root of its own, so that this machine keeps the users that it has.
    let root = tempfile::tempdir()?;
    let root = root.path().to_str().context("a path that is text")?;
    let option = format!("--root={root}");
    for file in ["broker/systemd/fleet.sysusers.conf", "agent/systemd/cabinet.sysusers.conf"] {
        let inside = format!("{root}/usr/lib/sysusers.d");
        fs::create_dir_all(&inside)?;
        fs::create_dir_all(format!("{root}/etc"))?;
        let name = format!("{}.conf", file.replace('/', "-"));
        fs::copy(source(file), format!("{inside}/{name}"))?;
        let (good, said) = run("systemd-sysusers", &[&option, &name])?;
        ensure!(good, "{file}: {said}");
    }
    let groups = fs::read_to_string(format!("{root}/etc/group"))?;
    let signing = groups.lines().find(|line| line.starts_with("fleet-signing:")).context("no group fleet-signing")?;
    ensure!(signing.contains("fleet-broker") && signing.contains("fleet-signer"), "{signing}");
    Ok(())
}

/// Waits for a message to systemd's socket.
async fn told(socket: &UnixDatagram, what: &str) -> anyhow::Result<()> {
    let mut heard = Vec::new();
    let mut message = [0; 256];
    while !heard.iter().any(|text: &String| text.contains(what)) {
        let length = timeout(PATIENCE, socket.recv(&mut message)).await;
        let length = length.with_context(|| format!("nobody said {what}, but {heard:?}"))??;
        heard.push(String::from_utf8_lossy(&message[..length]).into_owned());
    }
    Ok(())
}

#[tokio::test]
async fn each_process_says_when_it_is_ready_and_that_it_still_works() -> anyhow::Result<()> {
    let mut stage = Stage::set_up("acme")?;
    let folder = stage.folder().to_owned();
    let under_systemd = |name: &str| -> anyhow::Result<(UnixDatagram, Vec<OsString>)> {
        let path = folder.join(format!("{name}.notify"));
        let socket = UnixDatagram::bind(&path)?;
        let words = ["env".to_owned(), format!("NOTIFY_SOCKET={}", path.display()), "WATCHDOG_USEC=600000".to_owned()];
        Ok((socket, words.map(OsString::from).into()))
    };
    let (signer, launcher) = under_systemd("signer")?;
    stage.launch_signer_through(launcher);
    let (broker, launcher) = under_systemd("broker")?;
    stage.launch_broker_through(launcher);
    let world = World::start_on(stage).await?;
    for socket in [&signer, &broker] {
        told(socket, "READY=1").await?;
        told(socket, "WATCHDOG=1").await?;
        told(socket, "WATCHDOG=1").await?;
    }
    let mut site = world.cabinet(CabinetPlan::new("berlin-01", "1-2:S")).await?;
    site.cabinet.stop_agent().await?;
    let (agent, launcher) = under_systemd("agent")?;
    site.cabinet.launch_through(launcher);
    site.start_agent().await?;
    told(&agent, "READY=1").await
}
