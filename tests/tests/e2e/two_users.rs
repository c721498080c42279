//! Broker and signer as two users of one host, as the units in `broker/systemd` have them.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use fleet_cli::stage::{CabinetPlan, PATIENCE, Process, Stage};
use fleet_tests::{Look, Site, World, order, until};
use schemas::api::OrderState;
use schemas::messages::Compartment;

use crate::keys::opens;
use crate::machine::{root, tool};
use crate::signer_talk::Talk;

/// Numbers that are nobody's elsewhere.
const BROKER: u32 = 64_101;
const SIGNER: u32 = 64_102;
const STRANGER: u32 = 64_103;
/// The group that the socket is shared with.
const SIGNING: u32 = 64_110;

/// Words before a program that then runs as this user.
fn as_user(user: u32, groups: &[u32]) -> Vec<OsString> {
    let (user, groups) = (user.to_string(), groups.iter().map(u32::to_string).collect::<Vec<_>>().join(","));
    let mut words: Vec<OsString> = ["setpriv", "--reuid", &user, "--regid", &user].map(OsString::from).into();
    match groups.as_str() {
        "" => words.push("--clear-groups".into()),
        groups => words.extend(["--groups".into(), groups.into()]),
    }
    words.push("--no-new-privs".into());
    words
}

/// Runs a command as a user; its exit code and what it said.
async fn run_as(world: &World, who: (u32, &[u32]), command: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let words = as_user(who.0, who.1);
    let arguments = words[1..].iter().cloned().chain(command.iter().map(OsString::from));
    let mut process = Process::start("a command", Path::new(&words[0]), arguments, world.stage.log("commands"))?;
    let code = process.exit_code(PATIENCE).await?;
    Ok((code, process.output()))
}

fn give(path: &Path, user: u32) -> anyhow::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    chown(path, Some(user), Some(user)).with_context(|| format!("give {}", path.display()))
}

/// A fleet whose two processes have a user each; they meet at a socket in a folder of its own.
fn two_users() -> anyhow::Result<(Stage, PathBuf)> {
    let mut stage = Stage::set_up("acme")?;
    let layout = stage.layout().clone();
    for open in [stage.folder(), layout.dir()] {
        fs::set_permissions(open, Permissions::from_mode(0o711))?;
    }
    let run = stage.folder().join("run");
    fs::create_dir(&run)?;
    fs::set_permissions(&run, Permissions::from_mode(0o710))?;
    chown(&run, Some(SIGNER), Some(SIGNING))?;
    let socket = run.join("signer.sock");
    let shown = socket.display();
    let text = fs::read_to_string(layout.signer_toml())?;
    let lines = format!("socket = \"{shown}\"\nsocket_group = \"{SIGNING}\"\npeer_user = \"{BROKER}\"");
    fs::write(layout.signer_toml(), text.replace("socket = \"signer.sock\"", &lines))?;
    let text = fs::read_to_string(layout.broker_toml())?;
    fs::write(layout.broker_toml(), text.replace("../signer/signer.sock", &shown.to_string()))?;
    give(&layout.signer(), SIGNER)?;
    give(&layout.broker(), BROKER)?;
    // Where it was built may be closed to others.
    let program = stage.folder().join("fleet-broker");
    fs::copy(&stage.binaries().broker, &program)?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))?;
    stage.broker_program(program);
    stage.launch_broker_through(as_user(BROKER, &[SIGNING]));
    stage.launch_signer_through(as_user(SIGNER, &[SIGNING]));
    Ok((stage, socket))
}

fn user_of(process: Option<&Process>) -> anyhow::Result<String> {
    let id = process.and_then(Process::id).context("it does not run")?;
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).context("no Uid")?;
    Ok(line.split_whitespace().next().context("no user")?.to_owned())
}

#[tokio::test]
async fn a_fleet_works_with_two_users_and_neither_reads_what_is_the_others() -> anyhow::Result<()> {
    if !root()? || !tool("setpriv")? || !tool("curl")? {
        return Ok(());
    }
    let (stage, socket) = two_users()?;
    let mut world = World::start_on(stage).await?;
    ensure!(user_of(world.stage.signer())? == SIGNER.to_string());
    ensure!(user_of(world.stage.broker())? == BROKER.to_string());

    // Everything that the signer is there for: a command, a book, codes, their notification, a certificate.
    let site = world.cabinet(CabinetPlan::new("berlin-01", "1-4:S")).await?;
    opens(&world, &site, 1).await?;
    world.shop.put(&order("A17", "berlin-01", "S")).await?;
    site.load("shop/A17").await?;
    let code = world.shop.until_notified("A17").await?.code;
    site.collect(&code).await?;
    world.shop.until_state("A17", OrderState::Collected).await?;

    // Whoever takes over the broker reads no key, nor the signer's settings, nor which files there are.
    let signer = world.stage.layout().signer();
    for name in ["unlock.key", "codes.key", "secrets.key", "pepper.key", "cabinets.key", "signer.toml", ""] {
        let path = signer.join(name);
        let path = path.to_str().context("a path that is text")?;
        let (code, said) = run_as(&world, (BROKER, &[SIGNING]), &["ls", path]).await?;
        ensure!(code != Some(0) && said.contains("Permission denied"), "{path}: {said}");
        let (code, said) = run_as(&world, (BROKER, &[SIGNING]), &["cat", path]).await?;
        ensure!(code != Some(0) && said.contains("Permission denied"), "{path}: {said}");
        let (code, said) = run_as(&world, (SIGNER, &[]), &["ls", path]).await?;
        ensure!(code == Some(0), "its owner: {said}");
    }
    let key = world.stage.layout().broker().join("server.key");
    let key = key.to_str().context("a path that is text")?;
    let (code, said) = run_as(&world, (SIGNER, &[SIGNING]), &["cat", key]).await?;
    ensure!(code != Some(0) && said.contains("Permission denied"), "the signer reads the broker's key: {said}");

    strangers_are_not_heard(&world, &socket).await?;

    // And the fleet has noticed nothing of it; a signer that is gone and comes back is found again.
    world.stage.kill_signer().await?;
    world.stage.start_signer().await?;
    opens_at_last(&world, &site).await
}

async fn strangers_are_not_heard(world: &World, socket: &Path) -> anyhow::Result<()> {
    let path = socket.to_str().context("a path that is text")?;
    let curl = ["curl", "--silent", "--show-error", "--max-time", "20", "--unix-socket", path, "http://signer/"];
    // Not a member of the group: the folder is closed.
    let signer = world.stage.signer().context("no signer")?;
    let (code, said) = run_as(world, (STRANGER, &[]), &curl).await?;
    ensure!(code == Some(7), "a third user could connect: {code:?} {said}");
    ensure!(!signer.output().contains("another user"), "it came as far as the signer");
    // A member comes that far, and the signer hangs up before a byte is read. So it does with root.
    let (code, said) = run_as(world, (STRANGER, &[SIGNING]), &curl).await?;
    ensure!(code != Some(0), "a member of the group: {said}");
    let refused = format!("user=\"{STRANGER}\" expected={BROKER}");
    signer.wait_for_line(&refused, PATIENCE).await?;
    let mut talk = Talk::to(socket).await?;
    ensure!(talk.until_closed().await? == 0, "root was heard");
    Ok(())
}

/// The broker may be on its way back to the signer.
async fn opens_at_last(world: &World, site: &Site) -> anyhow::Result<()> {
    let door = Compartment::new(2).context("a door")?;
    let before = site.cabinet.pulses();
    until("a door opens again", async || {
        let result = world.unlock(site, door).await?;
        Ok(Look::at(result.is_ok().then_some(()), || format!("{result:?}")))
    })
    .await?;
    ensure!(site.cabinet.pulses() > before);
    Ok(())
}
